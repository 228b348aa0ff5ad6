"""The video chain of older machines: image intensifier, analog camera, frame grabber.

An image, whose grey values go linearly from `black` to `white`, passes

1. the camera: automatic gain, which lands a little elsewhere at each exposure, and gamma;
2. the analog line, which smears image and noise along the rows, one-sided, and de-interlacing, which mixes
   each line with its neighbours of the other field;
3. fields: one differs from the other in gain, offset and place, and lines jitter;
4. noise of its own, correlated along the lines, and a random offset of each field;
5. averaging of frames, which divides what is random in each by sqrt(frames), jitter too, which should blur;
6. clipping at black and white, the grabber's few bits, and the file's depth.

With its defaults it is the identity. (H, W) or (B, H, W), NumPy or PyTorch; no argument is modified.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.optimize import brentq

from longexposure.errors import InputError
from longexposure.noise.profile import NoiseProfile
from longexposure.simulation.random_source import Array, RandomSource, floats, namespace
from longexposure.simulation.recipe import RecipeTable, checked_seconds, refused

Taps = tuple[float, ...]
Numbers = npt.NDArray[np.float64]
REACH_PX = 6
"""Length of the line's response: correlation along lines of real chains is gone after 3 to 5 pixels."""
MOST_LAG = 0.8
"""Largest autocorrelation at lag 1 that such a response can have with room to spare."""


class VideoConfig(RecipeTable):
    """One camera and grabber. Amounts are fractions of the range from black to white.

    Attributes:
        black: grey value that comes in at the lower end of the range.
        white: grey value that comes in at the upper end.
        agc: standard deviation of ln(gain) from exposure to exposure.
        gamma: the camera's exponent; 0.45 brightens the dark.
        line_lag: autocorrelation at lag 1 along the rows that the analog line gives white noise; it
            smears the image alike.
        field_mix: fraction of each line that de-interlacing takes from its two neighbours.
        field_gain: relative gain difference of the fields.
        field_offset: offset difference of the fields.
        field_shift_px: by how much the odd field lies to the right.
        jitter_px: standard deviation of each line's place in one frame.
        noise: standard deviation of the chain's own noise in one frame.
        noise_lag: its autocorrelation at lag 1 along the rows.
        field_noise: standard deviation of each field's random offset in one frame.
        frame_s: seconds of a frame; an exposure averages as many as fit. None: one frame, so that the
            chain's noise of a long exposure does not fall with the number of frames: it is as strong as
            that of a short one.
        most_frames: the grabber averages no more than this.
        bits: depth of the averaged image before it is stored; None: not digitised, not clipped.
        stored_bits: depth of the file: black becomes 0 and white full scale. None: the grey values that
            came in, not rounded further.
    """

    black: float = Field(default=0.0, ge=-1e6, le=1e6)
    white: float = Field(default=65535.0, ge=-1e6, le=1e6)
    agc: float = Field(default=0.0, ge=0, le=0.5)
    gamma: float = Field(default=1.0, ge=0.2, le=5)
    line_lag: float = Field(default=0.0, ge=0, le=MOST_LAG)
    field_mix: float = Field(default=0.0, ge=0, le=0.7)
    field_gain: float = Field(default=0.0, ge=-0.5, le=0.5)
    field_offset: float = Field(default=0.0, ge=-0.5, le=0.5)
    field_shift_px: float = Field(default=0.0, ge=-1, le=1)
    jitter_px: float = Field(default=0.0, ge=0, le=0.5)
    noise: float = Field(default=0.0, ge=0, le=1)
    noise_lag: float = Field(default=0.0, ge=0, le=MOST_LAG)
    field_noise: float = Field(default=0.0, ge=0, le=0.5)
    frame_s: float | None = Field(default=None, ge=1e-4, le=36000)
    most_frames: int = Field(default=65536, ge=1)
    bits: int | None = Field(default=None, ge=4, le=16)
    stored_bits: int | None = Field(default=None, ge=8, le=16)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.white <= self.black:
            raise refused("video.white", f"a grey value above black = {self.black:g}", self.white)
        if self.stored_bits is not None and (self.bits or 0) > self.stored_bits:
            raise refused("video.stored_bits", f"at least bits = {self.bits}", self.stored_bits)
        return self

    def frames(self, exposure_s: float) -> int:
        """Frames that an exposure averages, 1 or more."""
        taken = 1 if self.frame_s is None else max(1, round(exposure_s / self.frame_s))
        return min(taken, self.most_frames)

    def through(self, grey: Array, *, exposure_s: float, rng: RandomSource) -> Array:
        """The image that the grabber stores, float32.

        Args:
            grey: (H, W) or (B, H, W), a detector's image that was not digitised.
            exposure_s: seconds, above 0.
            rng: of this exposure.

        Raises:
            RecipeError: an exposure time that is not above 0.
        """
        frames = self.frames(checked_seconds(exposure_s))
        signal = self._normalised(grey)
        if self.agc:
            leading = tuple(signal.shape[:-2])
            signal = signal * namespace(signal).exp(self.agc * rng.normal((*leading, 1, 1)))
        signal = self._with_fields(self._smeared(self._brightened(signal)), frames, rng)
        return self._stored(self._with_noise(signal, frames, rng), digitised=True)

    def expectation(self, grey: Array) -> Array:
        """What stays of an image without noise, fields and digitiser, float32: gamma, smear, range."""
        return self._stored(self._smeared(self._brightened(self._normalised(grey))), digitised=False)

    def profile(
        self, level: float, *, spectrum: Callable[[float], Numbers], shape: tuple[int, int], exposure_s: float
    ) -> NoiseProfile:
        """The true noise around a grey value that came in, at the grey value that it is stored as.

        Clipping, shifts of lines and fields, the error of the automatic gain are left out.

        Args:
            level: expected grey value in front of the chain.
            spectrum: noise power spectrum (H, W // 2 + 1) in front of the chain at such a grey value, as
                `PanelNoise.power_spectrum` gives it.
            shape: H and W.
            exposure_s: seconds.
        """
        level, step = float(level), 0.01 * (self.white - self.black)
        levels = (level - step, level, level + step)
        low = self.black if self.stored_bits is None else 0.0
        out = [
            max((at - self.black) / (self.white - self.black), 0.0) ** self.gamma * self._grey_per_fraction()
            + low
            for at in levels
        ]
        height, width = shape
        counted = np.full(width // 2 + 1, 2.0)  # of the two sides of a spectrum, one is stored
        counted[0] = 1
        if width % 2 == 0:
            counted[-1] = 1
        below, here, above = (
            self.noise_power_spectrum(spectrum(at), level=at, shape=shape, exposure_s=exposure_s)
            * counted
            / (height * width)
            for at in levels
        )
        # Covariances at lag 1 along x and along y.
        along_x = np.cos(2 * np.pi * np.arange(width // 2 + 1) / width)
        along_y = np.cos(2 * np.pi * np.arange(height) / height)[:, None]
        variance = max(float(here.sum()), 1e-20)
        return NoiseProfile(
            level=out[1],
            sigma=float(here.sum()) ** 0.5,
            slope=float(above.sum() - below.sum()) / (out[2] - out[0]) if out[2] > out[0] else 0.0,
            corr_x=float((here * along_x).sum()) / variance,
            corr_y=float((here * along_y).sum()) / variance,
        )

    def noise_power_spectrum(
        self, spectrum: Numbers, *, level: float, shape: tuple[int, int], exposure_s: float
    ) -> Numbers:
        """The spectrum (H, W // 2 + 1) behind the chain of noise that had this one at `level` in front."""
        height, width = shape
        frames, scale = self.frames(exposure_s), self._grey_per_fraction()
        fraction = max((level - self.black) / (self.white - self.black), 1e-3)
        contrast = self.gamma * fraction ** (self.gamma - 1) * scale / (self.white - self.black)
        seen = spectrum * contrast**2 * _power(line_taps(self.line_lag), width, rows=False)
        seen = seen * _power(_mixing(self.field_mix), height, rows=True)
        own = _power(line_taps(self.noise_lag), width, rows=False)
        own = own * width / (2 * own.sum() - own[0, 0] - (own[0, -1] if width % 2 == 0 else 0))
        seen = seen + (self.noise * scale) ** 2 / frames * own
        difference = (self.field_offset + self.field_gain * fraction**self.gamma) ** 2
        fields = (difference / 4 + self.field_noise**2 / 2 / frames) * scale**2
        seen[height // 2, 0] += fields * height * width
        # The digitiser's steps in stored grey values.
        steps = [scale / (2**self.bits - 1)] if self.bits is not None else []
        if self.stored_bits is not None and self.stored_bits != self.bits:
            steps.append(1.0)
        return seen + float(sum(step * step for step in steps)) / 12

    # The steps

    def _normalised(self, grey: Array) -> Array:
        return (floats(grey) - self.black) * (1.0 / (self.white - self.black))

    def _brightened(self, signal: Array) -> Array:
        return signal if self.gamma == 1 else namespace(signal).clip(signal, 0.0, None) ** self.gamma

    def _smeared(self, signal: Array) -> Array:
        if self.line_lag:
            taps = line_taps(self.line_lag)
            signal = filtered_rows(signal, taps, middle=round(sum(k * tap for k, tap in enumerate(taps))))
        if self.field_mix:
            across = namespace(signal).swapaxes(signal, -1, -2)
            signal = namespace(signal).swapaxes(
                filtered_rows(across, _mixing(self.field_mix), middle=1), -1, -2
            )
        return signal

    def _with_fields(self, signal: Array, frames: int, rng: RandomSource) -> Array:
        *leading, height, _ = signal.shape
        odd = rng.array(np.arange(height)[:, None] % 2.0)
        if self.field_shift_px or self.jitter_px:
            jitter = self.jitter_px / frames**0.5
            places = self.field_shift_px * odd + jitter * rng.normal((*leading, height, 1))
            # Straight lines between the pixels; at most one pixel to the right or left.
            xp = namespace(signal)
            places = xp.clip(places, -1.0, 1.0)
            before = xp.clip(places, 0.0, None) * (filtered_rows(signal, (0.0, 1.0), middle=0) - signal)
            after = xp.clip(-places, 0.0, None) * (filtered_rows(signal, (1.0, 0.0), middle=1) - signal)
            signal = signal + before + after
        if self.field_gain:
            signal = signal * (1 + self.field_gain * (odd - 0.5))
        if self.field_offset:
            signal = signal + self.field_offset * (odd - 0.5)
        if self.field_noise:
            drawn = self.field_noise / frames**0.5 * rng.normal((*leading, 2, 1, 1))
            signal = signal + drawn[..., 0, :, :] * odd + drawn[..., 1, :, :] * (1 - odd)
        return signal

    def _with_noise(self, signal: Array, frames: int, rng: RandomSource) -> Array:
        if not self.noise:
            return signal
        *leading, height, width = signal.shape
        taps = line_taps(self.noise_lag)
        scale = self.noise / (frames * sum(tap * tap for tap in taps)) ** 0.5
        margin = len(taps) - 1
        white = rng.normal((*leading, height, width + margin))
        return signal + scale * filtered_rows(white, taps, middle=0)[..., margin:]

    def _stored(self, signal: Array, *, digitised: bool) -> Array:
        xp = namespace(signal)
        if self.bits is not None:
            signal = xp.clip(signal, 0.0, 1.0)
            if digitised:
                steps = 2**self.bits - 1
                signal = xp.round(signal * steps) * (1.0 / steps)
        if self.stored_bits is None:
            return signal * (self.white - self.black) + self.black
        image = xp.clip(signal, 0.0, 1.0) * self._grey_per_fraction()
        return xp.round(image) if digitised else image

    def _grey_per_fraction(self) -> float:
        """Stored grey values from black to white."""
        return self.white - self.black if self.stored_bits is None else 2.0**self.stored_bits - 1


@lru_cache(maxsize=64)
def line_taps(lag_one: float) -> Taps:
    """Response of the analog line, one-sided and falling, sum 1.

    White noise behind it has this autocorrelation at lag 1, 0 to `MOST_LAG`, and none from `REACH_PX` on.
    """
    if lag_one == 0:
        return (1.0,)

    def missed(base: float) -> float:
        taps = base ** np.arange(REACH_PX)
        return float(taps[1:] @ taps[:-1] / (taps @ taps)) - lag_one

    taps = float(brentq(missed, 0.0, 1.0)) ** np.arange(REACH_PX)
    return tuple(float(tap) for tap in taps / taps.sum())


def filtered_rows(image: Array, taps: Taps, *, middle: int) -> Array:
    """The image filtered along x, sum over k of taps[k] * image[x + middle - k]; mirrored at the ends.

    Raises:
        InputError: fewer pixels than taps.
    """
    if len(taps) == 1:
        return image * taps[0]
    xp, width = namespace(image), image.shape[-1]
    if width < len(taps):
        raise InputError(
            where="video chain",
            expected=f"at least {len(taps)} pixels along each line",
            found=f"{width}",
            advice="use a larger image",
        )
    left, right = len(taps) - 1 - middle, middle
    start = xp.flip(image[..., :left], (-1,))
    end = xp.flip(image[..., width - right :], (-1,))
    padded = xp.concatenate([start, image, end], -1)
    total = padded[..., len(taps) - 1 :] * taps[0]
    for k in range(1, len(taps)):
        first = len(taps) - 1 - k
        total = total + padded[..., first : first + width] * taps[k]
    return total


def _mixing(fraction: float) -> Taps:
    return (fraction / 2, 1 - fraction, fraction / 2) if fraction else (1.0,)


def _power(taps: Taps, length: int, *, rows: bool) -> Numbers:
    """|DFT|^2 of a filter over `length` pixels: (length, 1) for rows, (1, length // 2 + 1) for columns."""
    found = np.abs(np.fft.fft(taps, length) if rows else np.fft.rfft(taps, length)) ** 2
    return found[:, None] if rows else found[None, :]
