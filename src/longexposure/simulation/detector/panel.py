"""A flat panel or camera: from transmission to grey values, quantum by quantum.

One exposure of t seconds passes, in this order,

1. quanta: the transmission (after focal spot, scatter and shading, before the screen) times the open beam's
   quanta per pixel is the mean of a Poisson number; the Swank factor A widens it to variance = mean / A;
2. the screen, which blurs the image and its noise alike, so that the noise is coloured: its power spectrum
   is the screen's |OTF|^2 times the white one (Cunningham, in Handbook of Medical Imaging 1, 2000, ch. 2);
3. gain to raw grey values, lag, the pixels' own gain, the full well;
4. electronics: read noise of every frame, shot noise of the dark current, noise of whole rows and columns,
   and zingers, the tracks of stray quanta that hit the sensor itself;
5. flat-field correction, which divides by gains that were measured with a finite number of flats and have
   drifted since, and normalisation to the reference exposure: a longer one has equal brightness, less noise;
6. the offset: its pattern left by a finite number of dark frames, its drift from exposure to exposure;
7. bad pixels, shown or interpolated, and the digitiser.

A sum of n frames has sqrt(n) times the noise of one; frames are not drawn one by one, so the full well cuts
their sum at n wells. Lag adds an after-image but takes no noise away. Everything works on (H, W) or
(B, H, W), on NumPy arrays and on PyTorch tensors on any device, and no argument is modified.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from longexposure.errors import InputError, RecipeError
from longexposure.noise.profile import NoiseProfile
from longexposure.simulation.random_source import Array, RandomSource, Shape, as_numpy, floats, namespace

Screen = Callable[[Array], Array]
"""Linear blur of (H, W) and (B, H, W) that keeps the mean and leaves its argument alone."""
Numbers = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

DEAD, HOT, NOISY, LINE = 1, 2, 3, 4
"""Kinds of bad pixels; LINE is a dead one of a broken line."""


class BadPixelConfig(BaseModel):
    """Bad pixels of one panel, none by default.

    A real one, of PerkinElmer with 2000 x 2000 px (map of the DetectorChecker project), had 212 lone ones, 26
    small groups, 17 broken lines and 8 groups of 6 to 230 px at its edge.

    Attributes:
        single: lone bad pixels, as a fraction of all.
        small: groups of 2 to 4 neighbours, as a fraction of all pixels.
        lines: fraction of the half columns that have a broken data line. Columns are read out at the upper
            and the lower edge; a broken one is dead from the break to the middle of the panel.
        edge_groups: groups of tens to hundreds of pixels per pixel of the panel's rim, where they lie.
        hot: fraction of the faults, lines apart, that are too bright.
        noisy: share that are too noisy; the others are dead. hot + noisy is 1 at most.
        hot_level: mean excess of hot pixels as a fraction of the open beam's grey.
        noisy_level: standard deviation of noisy pixels in the reference exposure, as such a fraction.
        interpolated: known bad pixels are replaced from their nearest good neighbours.
        unmapped: fraction of the bad pixels, lines apart, that the panel's map does not know, so that they show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    single: float = Field(default=0.0, ge=0, le=0.1)
    small: float = Field(default=0.0, ge=0, le=0.1)
    lines: float = Field(default=0.0, ge=0, le=0.5)
    edge_groups: float = Field(default=0.0, ge=0, le=0.1)
    hot: float = Field(default=0.4, ge=0, le=1)
    noisy: float = Field(default=0.2, ge=0, le=1)
    hot_level: float = Field(default=0.3, ge=0, le=10)
    noisy_level: float = Field(default=0.05, ge=0, le=10)
    interpolated: bool = False
    unmapped: float = Field(default=0.0, ge=0, le=1)

    @property
    def any(self) -> bool:
        """Whether there are bad pixels at all."""
        return max(self.single, self.small, self.lines, self.edge_groups) > 0


class PanelConfig(BaseModel):
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
        zinger_level: mean brightness of a track in the reference exposure as a fraction of the open beam's grey;
            exponentially distributed.
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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


class Variances(NamedTuple):
    """Variance of an even image by its colour, in squared grey values; floats.

    Attributes:
        coloured: with the screen's spectrum.
        white: independent from pixel to pixel.
        rows: equal along each row.
        columns: equal along each column.
    """

    coloured: float
    white: float
    rows: float
    columns: float

    @property
    def total(self) -> float:
        return self.coloured + self.white + self.rows + self.columns


class Panel:
    """One panel with its own pixels: fixed pattern and bad pixels are the same in all its exposures.

    Args:
        config: the detector.
        shape: (H, W), or (B, H, W) for B panels at once; images have this shape, or (B, H, W) for (H, W).
        quanta_per_px_s: quanta that the open beam leaves in a pixel each second, above 0: a number or an
            array that broadcasts against the images.
        rng: the panel's own; equal chances make equal panels, and say what arrays it works on.
        screen: the screen's blur of image and noise; None for none.

    Raises:
        RecipeError: no pixels, no quanta, or more than all bad pixels hot or noisy.
    """

    def __init__(
        self,
        config: PanelConfig,
        *,
        shape: Shape,
        quanta_per_px_s: float | Array,
        rng: RandomSource,
        screen: Screen | None = None,
    ) -> None:
        _check_panel(config, shape, quanta_per_px_s)
        self.config, self.shape, self.screen = config, tuple(shape), screen
        self._array = rng.array
        self.quanta_per_px_s = self._number_or_map(quanta_per_px_s)
        self._gain = self._true_gain(rng)
        self._correction, self._drifted = self._calibrated(rng)
        self._offset = self._offset_left(rng)
        self._dark_left = rng.normal(self.shape) if config.dark_frames else None
        self._fill: tuple[Array, Array, Array] | None = None
        self._noisy: Array | None = None
        if config.bad.any:
            self._spoil(rng)

    # What one exposure passes

    def expose(
        self,
        transmission: Array,
        *,
        exposure_s: float,
        rng: RandomSource,
        dose: float | Array = 1.0,
        previous: Array | None = None,
    ) -> Array:
        """Grey values of one exposure, float32, of the transmission's shape.

        Args:
            transmission: I/I0 before the screen; what is below 0 counts as 0.
            exposure_s: seconds, above 0.
            rng: of this exposure.
            dose: the tube's output as a fraction of the nominal one.
            previous: transmission that the panel saw before, for lag; None for the open beam.

        Raises:
            InputError: an image of another shape.
            RecipeError: an exposure time that is not above 0.
        """
        quanta = self.collect(transmission, exposure_s=exposure_s, rng=rng, dose=dose)
        return self.read_out(quanta, exposure_s=exposure_s, rng=rng, previous=previous)

    def collect(
        self, transmission: Array, *, exposure_s: float, rng: RandomSource, dose: float | Array = 1.0
    ) -> Array:
        """Quanta per pixel, float32, before the screen. Exposures add up: sum what they collected.

        A long exposure that contains a short one is `read_out(short + rest)`. Arguments and errors as
        for `expose`.
        """
        seconds, swank = _checked_seconds(exposure_s), self.config.swank
        self._check_image(transmission, "transmission")
        mean = self._open(self._number_or_map(dose) * (seconds * swank)) * floats(transmission)
        quanta = rng.poisson(namespace(mean).clip(mean, 0.0, None))
        return quanta if swank == 1 else quanta / swank

    def read_out(
        self, quanta: Array, *, exposure_s: float, rng: RandomSource, previous: Array | None = None
    ) -> Array:
        """Grey values, float32, of quanta that were collected in `exposure_s` seconds; see `expose`."""
        seconds = _checked_seconds(exposure_s)
        self._check_image(quanta, "quanta")
        config, frames = self.config, self.config.frames(seconds)
        raw = self._blurred(floats(quanta)) * config.gain
        if config.lag:
            raw = self._with_lag(raw, seconds, previous)
        if self._drifted is not None:
            raw = raw * self._drifted
        if config.full_well is not None:
            raw = namespace(raw).clip(raw, None, config.full_well * frames)
        raw = self._with_electronics(raw, seconds, rng)
        image = raw * (config.reference_s / seconds)
        if self._correction is not None:
            image = image * self._correction
        image = self._with_offset(image, seconds, rng)
        return self._digitised(self._with_bad_pixels(image, seconds, rng))

    def expectation(self, transmission: Array) -> Array:
        """Grey values without noise and faults, float32, not rounded: the `clean` image of any exposure.

        Raises:
            InputError: an image of another shape.
        """
        self._check_image(transmission, "transmission")
        config = self.config
        seconds = config.reference_s
        raw = self._blurred(self._open(config.gain * seconds) * floats(transmission))
        highest = np.inf if config.full_well is None else config.full_well * config.frames(seconds)
        if config.bits is not None:
            highest = min(highest, 2**config.bits - 1 - config.offset)
        return namespace(raw).clip(raw, 0.0, float(highest)) + config.offset

    # What the noise of an exposure is

    def variances(self, grey: float, *, exposure_s: float | None = None, fixed: bool = True) -> Variances:
        """Variance at this expected grey value, by colour.

        Saturation, bad pixels, zingers, steps between blocks and offsets of the whole image are left out.

        Args:
            grey: expected grey value.
            exposure_s: None for the reference exposure.
            fixed: count the fixed pattern, as one image shows it; False: what repeats differ by.
        """
        config = self.config
        seconds = config.reference_s if exposure_s is None else _checked_seconds(exposure_s)
        frames, norm = config.frames(seconds), config.reference_s / seconds
        signal = max(grey - config.offset, 0.0)
        spread = 1.0 if self._correction is None else float((self._correction**2).mean())
        summed = frames * norm**2 * spread
        coloured = config.gain * norm * signal * self.screen_power / config.swank
        white = summed * config.electronic_variance(seconds / frames) + (config.bits is not None) / 12
        if fixed:
            pattern_white, pattern_coloured = self._pattern(signal, seconds)
            coloured, white = coloured + pattern_coloured, white + pattern_white
        return Variances(coloured, white, summed * config.row_noise**2, summed * config.column_noise**2)

    def profile(self, level: float, *, exposure_s: float | None = None, fixed: bool = True) -> NoiseProfile:
        """The true profile of an exposure around a grey value; arguments as for `variances`.

        For the profile of an image, `level` is the mean of its `expectation`.
        """
        level = float(level)
        here = self.variances(level, exposure_s=exposure_s, fixed=fixed)
        lag_x, lag_y = self._screen_lags
        step = max(0.01 * (level - self.config.offset), 1.0)
        ends = level + step, min(max(level - step, self.config.offset), level)
        above, below = (self.variances(end, exposure_s=exposure_s, fixed=fixed).total for end in ends)
        total = max(here.total, 1e-20)
        return NoiseProfile(
            level=level,
            sigma=here.total**0.5,
            slope=(above - below) / (ends[0] - ends[1]),
            corr_x=(here.coloured * lag_x + here.rows) / total,
            corr_y=(here.coloured * lag_y + here.columns) / total,
        )

    def noise_power_spectrum(
        self, grey: float, *, exposure_s: float | None = None, fixed: bool = True
    ) -> Numbers:
        """The true spectrum (H, W // 2 + 1) at an expected grey value; arguments as for `variances`.

        It is the mean of |rfft2(noise)|^2 / (H W): the mean over all frequencies is the variance.
        """
        height, width = self.shape[-2:]
        parts = self.variances(grey, exposure_s=exposure_s, fixed=fixed)
        spectrum = parts.coloured / self.screen_power * self._screen_mtf**2 + parts.white
        spectrum[:, 0] += width * parts.rows
        spectrum[0, :] += height * parts.columns
        return spectrum

    @cached_property
    def screen_power(self) -> float:
        """Share of the variance of white noise that the screen leaves, 1 without screen."""
        return float((self._spread**2).sum())

    @cached_property
    def _screen_lags(self) -> tuple[float, float]:
        """Autocorrelation at lag 1, along x and along y, of white noise behind the screen."""
        spread, power = self._spread, self.screen_power
        return (
            float((spread[:, 1:] * spread[:, :-1]).sum()) / power,
            float((spread[1:] * spread[:-1]).sum()) / power,
        )

    @cached_property
    def _spread(self) -> Numbers:
        """The screen's image of a point in the middle, (H, W)."""
        point = np.zeros(self.shape[-2:], dtype=np.float32)
        point[point.shape[0] // 2, point.shape[1] // 2] = 1
        return as_numpy(self._blurred(self._array(point))).astype(np.float64)

    @property
    def _screen_mtf(self) -> Numbers:
        return np.abs(np.fft.rfft2(self._spread))

    def _pattern(self, signal: float, seconds: float) -> tuple[float, float]:
        """Variance of the fixed pattern at this signal: its white part, its part with the screen's colour."""
        config = self.config
        relative, coloured = config.gain_drift**2, 0.0
        if config.flat_frames == 0:
            relative += config.pixel_gain**2
        elif config.flat_frames is not None:
            flat_coloured, flat_white = self._flat_variances()
            relative, coloured = relative + flat_white, signal**2 * self.screen_power * flat_coloured
        offset = config.offset_pattern**2
        if config.dark_frames:
            offset += self._dark_left_sigma(seconds) ** 2
        return signal**2 * relative + offset, coloured

    def _flat_variances(self) -> tuple[float, float]:
        """Relative variance of the averaged flats: of quanta before the screen, of the electronics."""
        config = self.config
        seconds, frames = config.frame_s or config.reference_s, config.flat_frames or 1
        quanta = self._mean_open(seconds * frames)
        electronic = config.electronic_variance(seconds) * frames
        return 1 / (config.swank * quanta), electronic / (config.gain * quanta) ** 2

    def _dark_left_sigma(self, seconds: float) -> float:
        """Standard deviation of the pattern that the dark frames' noise leaves, in grey values."""
        config, frames = self.config, self.config.frames(seconds)
        one = config.electronic_variance(seconds / frames) / (config.dark_frames or 1)
        return one**0.5 * frames * config.reference_s / seconds

    # The panel's own pixels

    def _number_or_map(self, given: float | Array) -> float | Array:
        if getattr(given, "ndim", 0) == 0:
            return float(given)
        return self._array(given) if isinstance(given, np.ndarray) else floats(given)

    def _open(self, factor: float | Array) -> float | Array:
        """The open beam's quanta per second times a factor."""
        return self.quanta_per_px_s * factor

    def _mean_open(self, factor: float) -> float:
        quanta = self._open(factor)
        return quanta if isinstance(quanta, float) else float(quanta.mean())

    def _blurred(self, image: Array) -> Array:
        return image if self.screen is None else self.screen(image)

    def _blocks(self, rng: RandomSource, leading: Shape) -> Array:
        """A normal number for each block of columns, (..., 1, W)."""
        width, block = self.shape[-1], self.config.block_px
        drawn = rng.normal((*leading, 1, -(-width // block)))
        return drawn[..., rng.array(np.arange(width) // block)]

    def _uneven(self, rng: RandomSource, pixel: float, block: float) -> Array | None:
        """Gains around 1, at least 0.1: white and by block; None where both are even."""
        if not pixel and not block:
            return None
        gains = 1.0 + pixel * rng.normal(self.shape)
        if block:
            gains = gains + block * self._blocks(rng, self.shape[:-2])
        return namespace(gains).clip(gains, 0.1, None)

    def _true_gain(self, rng: RandomSource) -> Array | None:
        return self._uneven(rng, self.config.pixel_gain, self.config.block_gain)

    def _calibrated(self, rng: RandomSource) -> tuple[Array | None, Array | None]:
        """What the correction multiplies with, and the gains of today."""
        config = self.config
        drift = self._uneven(rng, config.gain_drift, config.block_gain_drift)
        today = drift if self._gain is None else self._gain if drift is None else self._gain * drift
        if config.flat_frames == 0:
            return None, today
        flat = self._gain
        if config.flat_frames:
            noise = self._flat_noise(rng)
            flat = noise if flat is None else flat * noise
        return None if flat is None else 1.0 / flat, today

    def _flat_noise(self, rng: RandomSource) -> Array:
        """The averaged flats divided by their expectation."""
        config = self.config
        seconds = (config.frame_s or config.reference_s) * (config.flat_frames or 1)
        quanta = self._open(seconds)
        coloured = self._blurred(rng.normal(self.shape) * (config.swank * quanta) ** -0.5)
        electronic = self._flat_variances()[1] ** 0.5
        flat = 1.0 + coloured + electronic * rng.normal(self.shape)
        return namespace(flat).clip(flat, 0.1, None)

    def _offset_left(self, rng: RandomSource) -> Array | float:
        pattern = self.config.offset_pattern
        return self.config.offset + (pattern * rng.normal(self.shape) if pattern else 0.0)

    # Steps of the readout

    def _with_lag(self, raw: Array, seconds: float, previous: Array | None) -> Array:
        config = self.config
        fraction = config.lag / config.frames(seconds)
        before = self._open(config.gain * seconds)
        if previous is not None:
            self._check_image(previous, "previous")
            before = self._blurred(before * floats(previous))
        return raw * (1 - fraction) + before * fraction

    def _with_electronics(self, raw: Array, seconds: float, rng: RandomSource) -> Array:
        config, frames = self.config, self.config.frames(seconds)
        *leading, height, width = raw.shape
        sigma = (frames * config.electronic_variance(seconds / frames)) ** 0.5
        if sigma:
            raw = raw + sigma * rng.normal((*leading, height, width))
        if config.row_noise:
            raw = raw + config.row_noise * frames**0.5 * rng.normal((*leading, height, 1))
        if config.column_noise:
            raw = raw + config.column_noise * frames**0.5 * rng.normal((*leading, 1, width))
        if config.zingers:
            raw = raw + rng.array(self._tracks(tuple(raw.shape), seconds, rng.host()))
        return raw

    def _tracks(self, shape: Shape, seconds: float, random: np.random.Generator) -> npt.NDArray[np.float32]:
        """What stray quanta add, raw grey values; where two cross, one counts."""
        config = self.config
        added = np.zeros((int(np.prod(shape[:-2])), *shape[-2:]), np.float32)
        count = int(random.poisson(config.zingers * seconds * added.size))
        start = random.integers(0, added.shape, (count, 3))
        turn, length = random.uniform(0, 2 * np.pi, count), random.integers(1, config.zinger_px + 1, count)
        bright = random.exponential(config.zinger_level * self._open_grey(), count)
        for step in range(config.zinger_px):
            away = np.rint(step * np.stack([np.sin(turn), np.cos(turn)], -1)).astype(np.int64)
            at = start[:, 1:] + away
            hit = (step < length) & (at >= 0).all(-1) & (at < shape[-2:]).all(-1)
            added[start[hit, 0], at[hit, 0], at[hit, 1]] = bright[hit]
        return added.reshape(shape)

    def _with_offset(self, image: Array, seconds: float, rng: RandomSource) -> Array:
        config, leading = self.config, tuple(image.shape[:-2])
        image = image + self._offset
        if self._dark_left is not None:
            image = image + self._dark_left_sigma(seconds) * self._dark_left
        if config.offset_drift:
            image = image + config.offset_drift * rng.normal((*leading, 1, 1))
        if config.block_offset_drift:
            image = image + config.block_offset_drift * self._blocks(rng, leading)
        return image

    def _with_bad_pixels(self, image: Array, seconds: float, rng: RandomSource) -> Array:
        if self._noisy is None and self._fill is None:
            return image
        leading = tuple(image.shape[: image.ndim - len(self.shape)])
        flat = image.reshape((*leading, -1))
        if self._noisy is not None:
            reference = self.config.bad.noisy_level * self._open_grey()
            sigma = reference * (self.config.reference_s / seconds) ** 0.5
            flat[..., self._noisy] += sigma * rng.normal((*leading, len(self._noisy)))
        if self._fill is not None:
            at, near, weight = self._fill
            flat[..., at] = (flat[..., near] * weight).sum(-1)
        return flat.reshape(image.shape)

    def _digitised(self, image: Array) -> Array:
        if self.config.bits is None:
            return image
        xp = namespace(image)
        return xp.clip(xp.round(image), 0.0, 2.0**self.config.bits - 1)

    def _open_grey(self) -> float:
        """Mean grey value of the open beam above the offset."""
        return self._mean_open(self.config.gain * self.config.reference_s)

    def _spoil(self, rng: RandomSource) -> None:
        """Give the panel its bad pixels."""
        bad, random = self.config.bad, rng.host()
        maps = [draw_bad_pixels(bad, self.shape[-2:], random) for _ in range(int(np.prod(self.shape[:-2])))]
        kinds = np.stack(maps).reshape(self.shape)
        mapped = (kinds == LINE) | (random.random(self.shape) >= bad.unmapped)
        known = (kinds > 0) & mapped & bad.interpolated
        if known.any():
            self._fill = tuple(map(rng.array, _neighbours(known)))
        shown = np.where(known, 0, kinds)
        if (shown == HOT).any():
            excess = np.zeros(self.shape, np.float32)
            count = int((shown == HOT).sum())
            excess[shown == HOT] = random.exponential(bad.hot_level * self._open_grey(), count)
            self._offset = self._offset + rng.array(excess)
        if (shown == NOISY).any():
            self._noisy = rng.array(np.flatnonzero(shown == NOISY))
        dead = (shown == DEAD) | (shown == LINE)
        if dead.any():
            alive = rng.array(~dead)
            self._drifted = alive if self._drifted is None else self._drifted * alive
            if self._correction is not None:
                self._correction = self._correction * alive + (1 - alive)

    def _check_image(self, image: Array, name: str) -> None:
        if tuple(image.shape[-len(self.shape) :]) != self.shape or image.ndim > 3:
            raise InputError(
                where=name,
                expected=f"the panel's shape {self.shape}",
                found=f"shape {tuple(image.shape)}",
                advice="make a panel for images of this size",
            )


def draw_bad_pixels(
    config: BadPixelConfig, shape: Shape, random: np.random.Generator
) -> npt.NDArray[np.int8]:
    """Faults of one panel (H, W): 0 for good pixels, else DEAD, HOT, NOISY or LINE."""
    height, width = shape
    kinds = np.zeros(shape, np.int8)
    for fraction, largest in ((config.single, 1), (config.small, 4)):
        for _ in range(int(random.poisson(fraction * height * width))):
            _add_small(kinds, config, largest, random)
    for _ in range(int(random.poisson(config.edge_groups * 2 * (height + width)))):
        _add_at_edge(kinds, config, random)
    for column in np.flatnonzero(random.random(2 * width) < config.lines):
        reach = int(random.integers(1, height // 2 + 1))
        start = height // 2 - (reach if column < width else 0)
        kinds[start : start + reach, column % width] = LINE
    return kinds


def _kind(config: BadPixelConfig, random: np.random.Generator) -> int:
    drawn = random.random()
    return HOT if drawn < config.hot else NOISY if drawn < config.hot + config.noisy else DEAD


def _add_small(
    kinds: npt.NDArray[np.int8], config: BadPixelConfig, largest: int, random: np.random.Generator
) -> None:
    """A walk over 1 pixel, or over 2 to `largest`; the more, the rarer."""
    height, width = kinds.shape
    y, x = int(random.integers(height)), int(random.integers(width))
    kind = _kind(config, random)
    for _ in range(1 if largest == 1 else int(random.choice((2, 3, 4), p=(0.69, 0.27, 0.04)))):
        kinds[y, x] = kind
        y, x = min(y + int(random.integers(2)), height - 1), min(x + 1, width - 1)


def _add_at_edge(kinds: npt.NDArray[np.int8], config: BadPixelConfig, random: np.random.Generator) -> None:
    """Half an ellipse of 6 to some hundred pixels at one of the four edges."""
    sides = kinds if random.random() < 0.5 else kinds.T
    rows = sides if random.random() < 0.5 else sides[::-1]
    area = float(np.clip(np.exp(random.normal(np.log(15), 1.2)), 6, 400))
    deep = np.sqrt(area / np.pi)
    middle = random.uniform(0, rows.shape[1])
    near = rows[: int(deep) + 1]
    y, x = np.ogrid[: near.shape[0], : near.shape[1]]
    near[(y / deep) ** 2 + ((x - middle) / (2 * deep)) ** 2 < 1] = _kind(config, random)


def _neighbours(bad: _Mask) -> tuple[_Indices, _Indices, npt.NDArray[np.float64]]:
    """For each of K bad pixels the nearest good ones to the left, right, up and down.

    Returns:
        Flat indices (K,) of the bad pixels, (K, 4) of their neighbours, and weights (K, 4), which fall with
        the distance squared and add up to 1 (to 0 where no neighbour is good).
    """
    at = np.nonzero(bad)
    near, weight = [], []
    for axis in (-1, -2):
        length = bad.shape[axis]
        place = np.moveaxis(np.broadcast_to(np.arange(length), np.moveaxis(bad, axis, -1).shape), -1, axis)
        stride = 1 if axis == -1 else bad.shape[-1]
        before = np.maximum.accumulate(np.where(bad, -1, place), axis)[at]
        after = np.flip(np.minimum.accumulate(np.flip(np.where(bad, length, place), axis), axis), axis)[at]
        here = at[axis]
        index = np.ravel_multi_index(at, bad.shape)
        for found in (before, after):
            good = (found >= 0) & (found < length)
            near.append(np.where(good, index + (found - here) * stride, index))
            weight.append(np.where(good, 1.0 / np.maximum(np.abs(found - here), 1) ** 2, 0.0))
    weights = np.stack(weight, -1)
    total = np.maximum(weights.sum(-1, keepdims=True), 1e-20)
    return np.ravel_multi_index(at, bad.shape), np.stack(near, -1), weights / total


def _check_panel(config: PanelConfig, shape: Shape, quanta: float | Array) -> None:
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise RecipeError(
            where="panel, shape",
            expected="(H, W) or (B, H, W), each 1 or more",
            found=str(tuple(shape)),
            advice="give the panel's size in pixels",
        )
    lowest = float(np.min(as_numpy(quanta) if getattr(quanta, "ndim", 0) > 0 else quanta))
    if not 0 < lowest < np.inf:
        raise RecipeError(
            where="panel, quanta_per_px_s",
            expected="a finite number above 0",
            found=f"{lowest:g}",
            advice="check tube current, distance and filters",
        )
    if config.bad.hot + config.bad.noisy > 1:
        raise RecipeError(
            where="panel, bad",
            expected="hot + noisy of 1 at most",
            found=f"{config.bad.hot:g} + {config.bad.noisy:g}",
            advice="lower one of them",
        )


def _checked_seconds(exposure_s: float) -> float:
    if not 0 < exposure_s < np.inf:
        raise RecipeError(
            where="exposure_s",
            expected="a finite time above 0 s",
            found=str(exposure_s),
            advice="give the exposure time in seconds",
        )
    return float(exposure_s)
