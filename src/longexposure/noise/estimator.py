"""Measuring the noise of one image: block statistics, read by a small regression that learned from physics.

Whether a small fluctuation is coloured noise or fine texture cannot be told from one place. It can be told
from a whole image: noise is everywhere, and every kind of difference sees it in fixed proportion. How the
low quantiles of those differences point to level, dependence on signal and correlation was learned, once,
from simulated scenes whose noise is known (benchmarks/train_noise_estimator.py); the weights are in
estimator.npz with their provenance.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from longexposure.grey import GreyMap, evenly_sampled, measure_grey
from longexposure.noise.blocks import cut_blocks, features, unclipped
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

FEWEST_BLOCKS = 16
"""Images with fewer usable blocks of 8 x 8 are judged by the differences of their neighbours alone."""
CORRELATION = (-0.5, 0.95)
"""Correlations are found within these limits, and networks are told none beyond them in their training."""

Layers = tuple[npt.NDArray[np.float32], ...]


def estimate_noise(pixels: Pixels, grey: GreyMap | None = None) -> NoiseProfile:
    """Measure the noise of one image (H, W), uint8, uint16 or float32, from its own pixels.

    Blocks that touch the ends of the grey scale are left out. Hot pixels do not matter while most blocks
    are free of them. The estimate follows any rescaling a x + b of the grey values, a > 0.

    Args:
        pixels: the image.
        grey: its grey map, where that is known already.

    Returns:
        The profile in grey values; sigma is 0 for a constant image.
    """
    grey = grey or measure_grey(pixels)
    low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return NoiseProfile(level=low, sigma=0.0, origin="estimated")
    blocks = cut_blocks(pixels)
    usable = blocks[unclipped(blocks, low=low, high=high)]
    if len(usable) < FEWEST_BLOCKS:
        return _from_neighbours(pixels)
    span, zero = 1.0 / grey.scale, -grey.offset / grey.scale
    inputs, reference = features(usable, span=span, low=zero)
    log_ratio, corr_x, corr_y, fraction = _regress(inputs)
    sigma = reference * float(np.exp(log_ratio))
    return NoiseProfile(
        level=zero + 0.5 * span,
        sigma=sigma,
        slope=2.0 * fraction * sigma**2 / span,
        corr_x=corr_x,
        corr_y=corr_y,
        origin="estimated",
    )


def _from_neighbours(pixels: Pixels) -> NoiseProfile:
    """A rough profile for images without room for blocks: the median difference of neighbours."""
    values = evenly_sampled(pixels, 1 << 16).astype(np.float64)
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    together = np.concatenate(steps)
    sigma = float(np.median(together) / (0.6745 * np.sqrt(2))) if together.size else 0.0
    return NoiseProfile(level=float(np.median(values)), sigma=sigma, origin="estimated")


def _regress(inputs: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    """ln(sigma / reference), corr_x, corr_y and fraction of signal, within the limits they were learned in."""
    mean, spread, *layers = _weights()
    x = (inputs.astype(np.float64) - mean) / spread
    for index in range(0, len(layers), 2):
        x = x @ layers[index] + layers[index + 1]
        if index + 2 < len(layers):
            x = np.maximum(x, 0.0)
    log_ratio, corr_x, corr_y, fraction = (float(v) for v in x)
    return (
        float(np.clip(log_ratio, -2.0, 6.0)),
        float(np.clip(corr_x, *CORRELATION)),
        float(np.clip(corr_y, *CORRELATION)),
        float(np.clip(fraction, -0.3, 1.0)),
    )


@lru_cache(maxsize=1)
def _weights() -> Layers:
    file = resources.files("longexposure.noise") / "estimator.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        names = ("mean", "spread", "w1", "b1", "w2", "b2", "w3", "b3")
        return tuple(stored[name] for name in names)
