"""Noise fainter than a network was trained for: its change is applied only as far as it takes noise away.

A network errs by so much of the contrast, however faint the noise; where the noise is fainter than that, its
change harms more than it helps. How much of a change is noise that goes can be told without a clean image: by
Stein's identity it is how far the change undoes a small disturbance that is like the noise.
Sources: Stein, Annals of Statistics 9, 1981; Ramani, Blu and Unser, IEEE Trans. Image Processing 17, 2008.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.models.noise_range import Conditions
from longexposure.noise import NoiseProfile

Unit = npt.NDArray[np.float32]

REACH_PX = 8
"""Change and what it undoes are compared over squares that reach so far to each side."""
OCTAVES = 0.5
"""From the faintest noise of the training down, the comparison counts more and more over so many halvings."""
STRENGTH = 0.5
"""Standard deviation of the disturbance, over that of the noise."""
SLACK = 1.15
"""What pixels vary by is measured on few of them, and may be so many times as much."""
PERIOD_PX = 256
"""The disturbance repeats itself after so many pixels, so that it is the same for every tile."""


def faintness(trained: Conditions | None, noise_condition: Unit) -> float:
    """0 where the noise is not fainter than any in the training, or the model does not tell; up to 1."""
    if trained is None:
        return 0.0
    below = np.log2(trained.sigma[0] / max(float(noise_condition[0]), 1e-30))
    return float(np.clip(below / OCTAVES, 0.0, 1.0))


def disturbance(unit: Unit, noise: NoiseProfile, top: int, left: int) -> Unit:
    """What disturbs a window (H, W) of an image: like the noise, but weaker, and the same every time.

    Args:
        unit: the window.
        noise: of the image, in the unit domain.
        top: first row of the window in the image.
        left: first column.
    """
    pattern = _pattern(round(noise.corr_x, 3), round(noise.corr_y, 3))
    rows = (top + np.arange(unit.shape[0])) % PERIOD_PX
    columns = (left + np.arange(unit.shape[1])) % PERIOD_PX
    sigma = np.sqrt(noise.variance(unit))
    return (STRENGTH * sigma * pattern[np.ix_(rows, columns)]).astype(np.float32)


def worth(unit: Unit, noise: NoiseProfile, change: Unit, changed: Unit, disturbed_by: Unit) -> Unit:
    """The fraction of a change (H, W) at each pixel with which the least error is left, 0..1.

    Where an image varies less from pixel to pixel than the noise it is said to have, it has less of it.

    Args:
        unit: the window.
        noise: of the image, in the unit domain.
        change: what the network changes.
        changed: what it changes the disturbed window by.
        disturbed_by: the disturbance.
    """
    undone = _mean(-(changed - change).astype(np.float64) * disturbed_by / STRENGTH**2)
    power = _mean(np.square(change, dtype=np.float64))
    gain = np.divide(undone, power, out=np.ones_like(power), where=power > 0)
    wide = np.pad(unit.astype(np.float64), 1, mode="reflect" if min(unit.shape) > 1 else "edge")
    rough = np.diff(np.diff(wide, n=2, axis=0), n=2, axis=1)
    white = np.prod([6 - 8 * each + 2 * each**2 for each in (noise.corr_x, noise.corr_y)])
    there_is = _mean(rough**2) / white
    said = _mean(noise.variance(unit))
    gain *= np.clip(np.divide(SLACK * there_is, said, out=np.ones_like(said), where=said > 0), 0, 1)
    return np.clip(gain, 0, 1).astype(np.float32)


def _mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.uniform_filter(values, 2 * REACH_PX + 1, mode="reflect"))


@functools.lru_cache(maxsize=8)
def _pattern(corr_x: float, corr_y: float) -> npt.NDArray[np.float64]:
    """Signs drawn at random once, of variance 1 and with these correlations between neighbours."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (PERIOD_PX, PERIOD_PX))
    phase = 2 * np.pi * np.fft.fftfreq(PERIOD_PX)
    gain = [np.sqrt((1 - c * c) / (1 - 2 * c * np.cos(phase) + c * c)) for c in (corr_y, corr_x)]
    return np.fft.ifft2(np.fft.fft2(signs) * np.outer(*gain)).real
