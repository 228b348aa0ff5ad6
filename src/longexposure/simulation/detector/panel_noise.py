"""What the noise of a panel's exposures is: its variance by colour, its profile, its power spectrum."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from longexposure.noise.profile import NoiseProfile
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.random_source import as_numpy
from longexposure.simulation.recipe import checked_seconds

Numbers = npt.NDArray[np.float64]


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


class PanelNoise:
    """The true noise of one panel."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel

    def variances(self, grey: float, *, exposure_s: float | None = None, fixed: bool = True) -> Variances:
        """Variance at this expected grey value, by colour.

        Saturation, bad pixels, zingers, steps between blocks and offsets of the whole image are left out.

        Args:
            grey: expected grey value.
            exposure_s: None for the reference exposure.
            fixed: count the fixed pattern, as one image shows it; False: what repeats differ by.
        """
        config, correction = self.panel.config, self.panel.correction
        seconds = config.reference_s if exposure_s is None else checked_seconds(exposure_s)
        frames, norm = config.frames(seconds), config.reference_s / seconds
        signal = max(grey - config.offset, 0.0)
        spread = 1.0 if correction is None else float((correction**2).mean())
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
        spread, offset = self._spread, self.panel.config.offset
        step = max(0.01 * (level - offset), 1.0)
        ends = level + step, min(max(level - step, offset), level)
        above, below = (self.variances(end, exposure_s=exposure_s, fixed=fixed).total for end in ends)
        total = max(here.total, 1e-20)
        # Autocorrelation at lag 1 of white noise behind the screen.
        lag_x = float((spread[:, 1:] * spread[:, :-1]).sum()) / self.screen_power
        lag_y = float((spread[1:] * spread[:-1]).sum()) / self.screen_power
        return NoiseProfile(
            level=level,
            sigma=here.total**0.5,
            slope=(above - below) / (ends[0] - ends[1]),
            corr_x=(here.coloured * lag_x + here.rows) / total,
            corr_y=(here.coloured * lag_y + here.columns) / total,
        )

    def power_spectrum(self, grey: float, *, exposure_s: float | None = None, fixed: bool = True) -> Numbers:
        """The true spectrum (H, W // 2 + 1) at an expected grey value; arguments as for `variances`.

        It is the mean of |rfft2(noise)|^2 / (H W): the mean over all frequencies is the variance.
        """
        height, width = self.panel.shape[-2:]
        parts = self.variances(grey, exposure_s=exposure_s, fixed=fixed)
        screen_mtf = np.abs(np.fft.rfft2(self._spread))
        spectrum = parts.coloured / self.screen_power * screen_mtf**2 + parts.white
        spectrum[:, 0] += width * parts.rows
        spectrum[0, :] += height * parts.columns
        return spectrum

    @cached_property
    def screen_power(self) -> float:
        """Fraction of the variance of white noise that the screen leaves, 1 without screen."""
        return float((self._spread**2).sum())

    @cached_property
    def _spread(self) -> Numbers:
        """The screen's image of a point in the middle, (H, W)."""
        point = np.zeros(self.panel.shape[-2:], dtype=np.float32)
        point[point.shape[0] // 2, point.shape[1] // 2] = 1
        return as_numpy(self.panel.blurred(self.panel.array(point))).astype(np.float64)

    def _pattern(self, signal: float, seconds: float) -> tuple[float, float]:
        """Variance of the fixed pattern at this signal: its white part, its part with the screen's colour."""
        config = self.panel.config
        relative, coloured = config.gain_drift**2, 0.0
        if config.flat_frames == 0:
            relative += config.pixel_gain**2
        elif config.flat_frames is not None:
            flat_coloured, flat_white = self.panel.flat_variances()
            relative, coloured = relative + flat_white, signal**2 * self.screen_power * flat_coloured
        offset = config.offset_pattern**2
        if config.dark_frames:
            offset += config.dark_pattern_sigma(seconds) ** 2
        return signal**2 * relative + offset, coloured
