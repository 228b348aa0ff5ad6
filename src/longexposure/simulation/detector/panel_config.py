"""What a machine's recipe says of its panel, and what follows from that alone."""

from __future__ import annotations

from pydantic import Field

from longexposure.simulation.detector.bad_pixels import BadPixelConfig
from longexposure.simulation.recipe import RecipeTable


class PanelConfig(RecipeTable):
    """One detector and its readout; every strength is 0 by default: pure quanta.

    Raw grey values are those of the summed frames before normalisation; an image holds the grey values of
    the reference exposure.

    Attributes:
        gain: raw grey values per quantum.
        reference_s: exposure time that keeps its raw grey values; the short exposure.
        swank: Swank factor: the variance of the quanta is mean / swank.
        frame_s: seconds of one frame; an exposure sums as many as fit. None: one frame per exposure, so that
            the read noise of a long one does not fall with the number of frames; it is only divided by the
            time, as the grey values are.
        read_noise: standard deviation of one frame's read noise, raw grey values.
        row_noise: standard deviation of each row's offset in one frame, raw grey values.
        column_noise: the same for columns.
        zingers: tracks of stray quanta per pixel and second, sharp because they never saw the screen.
        zinger_level: mean brightness of a track in the reference exposure as a fraction of the open beam's
            grey; exponentially distributed.
        zinger_px: longest track; their lengths are 1 to that, all alike, their directions any.
        dark_e_s: dark current in electrons per pixel and second; its mean is taken off, its noise stays.
        electrons_per_quantum: electrons that one quantum frees.
        offset: grey value without any quanta.
        offset_pattern: standard deviation from pixel to pixel of the offset left in the image.
        offset_drift: standard deviation of the whole image's offset from exposure to exposure.
        block_offset_drift: the same for each block of columns, independently.
        dark_frames: dark frames averaged for the offset correction, whose noise stays as a pattern;
            None: the offset is known exactly.
        pixel_gain: relative standard deviation of the pixels' own gain, before correction.
        block_gain: the same from one block of columns, read by one chip, to the next.
        block_px: columns of a block.
        flat_frames: open-beam frames averaged for the flat-field correction, whose noise stays as a
            pattern; None: the gains were known exactly; 0: no correction.
        gain_drift: relative standard deviation of the pixels' gain change since the flats.
        block_gain_drift: the same for blocks.
        lag: fraction of a frame that shows up in the next.
        full_well: raw grey value of one frame at which a pixel saturates; None: never.
        bits: 8 to 16; the image is whole numbers, 0 to 2**bits - 1. None: not digitised, for a video chain.
        bad: bad pixels.
    """

    gain: float = Field(gt=0, le=1e6)
    reference_s: float = Field(default=5.0, gt=0)
    swank: float = Field(default=1.0, gt=0, le=1)
    frame_s: float | None = Field(default=None, ge=1e-4, le=36000)
    read_noise: float = Field(default=0.0, ge=0, le=1e6)
    row_noise: float = Field(default=0.0, ge=0, le=1e6)
    column_noise: float = Field(default=0.0, ge=0, le=1e6)
    zingers: float = Field(default=0.0, ge=0, le=0.01)
    zinger_level: float = Field(default=0.5, ge=0, le=100)
    zinger_px: int = Field(default=4, ge=1, le=64)
    dark_e_s: float = Field(default=0.0, ge=0, le=1e9)
    electrons_per_quantum: float = Field(default=1000.0, ge=1e-3, le=1e9)
    offset: float = Field(default=0.0, ge=0, le=65535)
    offset_pattern: float = Field(default=0.0, ge=0, le=1e6)
    offset_drift: float = Field(default=0.0, ge=0, le=1e6)
    block_offset_drift: float = Field(default=0.0, ge=0, le=1e6)
    dark_frames: int | None = Field(default=None, ge=1, le=1_000_000)
    pixel_gain: float = Field(default=0.0, ge=0, le=0.3)
    block_gain: float = Field(default=0.0, ge=0, le=0.3)
    block_px: int = Field(default=128, ge=1, le=65536)
    flat_frames: int | None = Field(default=None, ge=0, le=1_000_000)
    gain_drift: float = Field(default=0.0, ge=0, le=0.3)
    block_gain_drift: float = Field(default=0.0, ge=0, le=0.3)
    lag: float = Field(default=0.0, ge=0, le=0.5)
    full_well: float | None = Field(default=None, gt=0, le=1e9)
    bits: int | None = Field(default=16, ge=8, le=16)
    bad: BadPixelConfig = BadPixelConfig()

    def frames(self, exposure_s: float) -> int:
        """Frames of an exposure, 1 or more."""
        return 1 if self.frame_s is None else max(1, round(exposure_s / self.frame_s))

    def electronic_variance(self, seconds: float) -> float:
        """Variance of one frame of so many seconds without light, raw grey values."""
        return self.read_noise**2 + self.dark_e_s * seconds * (self.gain / self.electrons_per_quantum) ** 2

    def dark_pattern_sigma(self, seconds: float) -> float:
        """Standard deviation of the pattern that the dark frames' noise leaves in an image, grey values."""
        frames = self.frames(seconds)
        one = self.electronic_variance(seconds / frames) / (self.dark_frames or 1)
        return one**0.5 * frames * self.reference_s / seconds
