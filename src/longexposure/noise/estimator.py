"""Measuring the noise of one image: block statistics in, a small regression that was trained on simulations.

Whether a small fluctuation is coloured noise or fine texture cannot be decided at one place, but over a whole
image: noise is everywhere, and every kind of difference sees it in fixed proportion. How the
low quantiles of those differences point to level, dependence on signal and correlation was learned, once,
from simulated scenes whose noise is known (benchmarks/train_noise_estimator.py); the weights are in
estimator.npz with their provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from longexposure.grey import GreyMap, evenly_sampled, measure_grey
from longexposure.masks import Mask
from longexposure.noise.blocks import cut_blocks, features, unclipped
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

FEWEST_BLOCKS = 16
"""Images with fewer usable blocks of 8 x 8 are judged by the differences of neighbours alone."""
CORRELATION = (-0.5, 0.95)
"""Limits of estimated correlations, and of those that networks are trained with."""

Layers = Mapping[str, npt.NDArray[np.float32]]
"""The network: mean and spread of its inputs, weights and biases w1, b1, w2, b2, w3, b3."""


def estimate_noise(pixels: Pixels, grey: GreyMap | None = None, aside: Mask | None = None) -> NoiseProfile:
    """Measure the noise of one image (H, W), uint8, uint16 or float32, from its own pixels.

    Blocks that touch the ends of the grey scale are left out. Hot pixels do not matter while most blocks
    are free of them. The estimate follows any rescaling a x + b of the grey values, a > 0. An image without
    room for blocks is judged roughly, by the median difference of neighbours.

    Args:
        pixels: the image.
        grey: its grey map, where that is known already.
        aside: pixels that are no picture of the part; blocks that hold one are left out.

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
        values = evenly_sampled(pixels, 1 << 16).astype(np.float64)
        steps = np.concatenate([np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)])
        sigma = float(np.median(steps) / (0.6745 * np.sqrt(2))) if steps.size else 0.0
        return NoiseProfile(level=float(np.median(values)), sigma=sigma, origin="estimated")
    span, zero = 1.0 / grey.scale, -grey.offset / grey.scale
    inputs, reference = features(usable, span=span, low=zero)
    limits = np.array([(-2.0, 6.0), CORRELATION, CORRELATION, (-0.3, 1.0)])
    log_ratio, corr_x, corr_y, from_signal = np.clip(regress(_weights(), inputs), *limits.T).tolist()
    sigma = reference * float(np.exp(log_ratio))
    return NoiseProfile(
        level=zero + 0.5 * span,
        sigma=sigma,
        slope=2.0 * from_signal * sigma**2 / span,
        corr_x=corr_x,
        corr_y=corr_y,
        origin="estimated",
    )


def regress(layers: Layers, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """ln(sigma / reference), corr_x, corr_y and the signal's part of the variance, (..., 4), of (..., F)."""
    x = (inputs.astype(np.float64) - layers["mean"]) / layers["spread"]
    x = np.maximum(x @ layers["w1"] + layers["b1"], 0.0)
    x = np.maximum(x @ layers["w2"] + layers["b2"], 0.0)
    return x @ layers["w3"] + layers["b3"]


@lru_cache(maxsize=1)
def _weights() -> Layers:
    file = resources.files("longexposure.noise") / "estimator.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name] for name in ("mean", "spread", "w1", "b1", "w2", "b2", "w3", "b3")}
