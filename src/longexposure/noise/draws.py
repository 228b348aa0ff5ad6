"""Fresh draws of the noise that a profile describes."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from longexposure.noise.profile import NoiseProfile

FALLS_PX = 1.2
"""Along both axes the correlation falls by e over this distance, px: between the screens of S1 and of S3."""

Numbers = npt.NDArray[np.float64]


def draw_noise(
    noise: NoiseProfile, level: npt.NDArray[np.floating], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Gaussian noise (H, W) with the variance that a profile has at these grey values, and its correlations.

    A profile tells the correlation of direct neighbours alone. What both axes have in common is taken for a
    screen's, which falls off with the distance in all directions; what one has more runs along its lines,
    where each further pixel correlates by the same factor again.

    Args:
        noise: the profile, in the grey values of `level`.
        level: noise-free grey values (H, W).
        random: where the draw comes from.
    """
    gain = _gain(level.shape[0], level.shape[1], round(noise.corr_x, 3), round(noise.corr_y, 3))
    white = random.standard_normal(level.shape)
    field = np.fft.irfft2(np.fft.rfft2(white) * gain, s=level.shape)
    return (np.sqrt(noise.variance(level)) * field).astype(np.float32)


def stronger(noise: NoiseProfile, factor: float) -> NoiseProfile:
    """The same noise, so many times as strong."""
    return replace(
        noise,
        sigma=factor * noise.sigma,
        slope=factor**2 * noise.slope,
        curve=tuple((grey, factor * sigma) for grey, sigma in noise.curve),
    )


@functools.lru_cache(maxsize=16)
def _gain(height: int, width: int, corr_x: float, corr_y: float) -> Numbers:
    """By what white noise is multiplied in the frequencies of `rfft2`."""
    y, x = (np.minimum(np.arange(side), side - np.arange(side)) for side in (height, width))
    screen = max(min(corr_x, corr_y), 0.0)
    covariance = screen * np.exp((1 - np.hypot(y[:, None], x)) / FALLS_PX)
    covariance[0] += (corr_x - screen) ** x
    covariance[:, 0] += (corr_y - screen) ** y
    covariance[0, 0] = 1.0
    power = np.maximum(np.fft.rfft2(covariance).real, 0.0)
    whole = np.fft.irfft2(power, s=(height, width))[0, 0]
    return np.sqrt(power / whole)
