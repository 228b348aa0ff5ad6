"""Measuring the noise of one image: block statistics in, a small regression that was trained on simulations.

Whether a small fluctuation is coloured noise or fine texture cannot be decided at one place, but over a whole
image: noise is everywhere, and every kind of difference sees it in fixed proportion. How the
low quantiles of those differences point to level, dependence on signal and correlation was learned, once,
from simulated scenes whose noise is known (benchmarks/train_noise_estimator.py); the weights are in
estimator.npz with their provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from longexposure.grey import GreyMap, measure_grey
from longexposure.masks import Mask
from longexposure.noise.blocks import features, picture_blocks
from longexposure.noise.profile import NoiseProfile
from longexposure.noise.repeats import Repeats, find_repeats
from longexposure.radiograph import Pixels

FEWEST_BLOCKS = 16
"""Images with fewer usable blocks of 8 x 8 are judged by the differences of neighbours alone."""
CORRELATION, SHARE = (-0.5, 0.95), (-1.0, 1.0)
"""Limits of estimated correlations and of the signal's part, and of those that networks are trained with."""
SAMPLE = 1 << 16
"""About so many pixels, twice, tell of an image without room for blocks."""
OFF_LINE = 0.15
"""Sigma that is off the straight line by more than this fraction is given as a curve."""

ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Places in the unit domain at which the regression says the variance, over that in the middle."""
FARTHEST = (-3.0, 3.0)
"""Limits of the logarithms of these."""

Layers = Mapping[str, npt.NDArray[np.float32]]
"""The network: mean and spread of its inputs, weights and biases w1, b1, w2, b2, w3, b3."""


def estimate_noise(pixels: Pixels, grey: GreyMap | None = None, aside: Mask | None = None) -> NoiseProfile:
    """Measure the noise of one image (H, W), uint8, uint16 or float32, from its own pixels.

    Blocks that touch the ends of the grey scale or hold a fill are left out. Hot pixels do not matter while
    most blocks are free of them. Where pixels were repeated, each counts once. The estimate follows any
    rescaling a x + b of the grey values, a > 0. An image without room for blocks is judged roughly, by the
    median difference of neighbours.

    Args:
        pixels: the image.
        grey: its grey map, where that is known already.
        aside: pixels that are no picture of the part; blocks that hold one are left out.

    Returns:
        The profile in grey values; sigma is 0 for a constant image.
    """
    grey = grey or measure_grey(pixels, aside)
    repeats = find_repeats(pixels)
    if repeats is not None:
        marked = None if aside is None or not aside.count else Mask.of(repeats.originals(aside.within()))
        return _of_repeated(_estimate(repeats.originals(pixels), grey, marked), repeats)
    return _estimate(pixels, grey, aside)


def _estimate(pixels: Pixels, grey: GreyMap, aside: Mask | None) -> NoiseProfile:
    """`estimate_noise` of an image (H, W) whose pixels were not repeated."""
    usable = picture_blocks(pixels, aside)
    if len(usable) < FEWEST_BLOCKS or not (usable != usable[:, :1, :1]).any():
        return _from_neighbours(pixels, aside)
    span, zero = 1.0 / grey.scale, -grey.offset / grey.scale
    inputs, reference = features(usable, span=span, low=zero)
    limits = np.array([(-2.0, 6.0), CORRELATION, CORRELATION, SHARE, *[FARTHEST] * (len(ALONG) - 1)])
    answer = regress(_weights(), inputs)
    found = np.clip(answer, *limits[: len(answer)].T)
    log_ratio, corr_x, corr_y, share = found[:4].tolist()
    share = share if len(answer) > 4 else max(share, -0.3)
    along = (
        np.insert(found[4:], ALONG.index(0.5), 0.0)
        if len(answer) > 4
        else np.log(np.maximum(1 + 2 * share * (np.array(ALONG) - 0.5), np.exp(FARTHEST[0])))
    )
    sigma = reference * float(np.exp(log_ratio))
    levels = (np.median(usable, axis=(1, 2)) - zero) / span
    curve = tuple(
        (zero + at * span, sigma * float(np.exp(0.5 * each))) for at, each in zip(ALONG, along, strict=True)
    )
    return NoiseProfile(
        level=zero + 0.5 * span,
        sigma=sigma,
        slope=2.0 * share * sigma**2 / span,
        corr_x=corr_x,
        corr_y=corr_y,
        origin="estimated",
        curve=curve if _off_line(along, share, levels) > OFF_LINE else (),
    )


def _of_repeated(originals: NoiseProfile, repeats: Repeats) -> NoiseProfile:
    """The profile of an image whose pixels are repeats: all or part of the neighbours are equal."""
    down, across = (1 - 1 / factor for factor in repeats.factors)
    return replace(
        originals,
        corr_x=across + (1 - across) * originals.corr_x,
        corr_y=down + (1 - down) * originals.corr_y,
    )


def _off_line(along: npt.NDArray[np.float64], share: float, levels: npt.NDArray[np.floating]) -> float:
    """How far the logarithm of sigma is off that of the straight line, on average over the blocks.

    Args:
        along: logarithms of the variance at `ALONG`, over that in the middle.
        share: the signal's part of the variance in the middle, which the line has.
        levels: brightness of the blocks in the unit domain.
    """
    line = np.log(np.maximum(1 + 2 * share * (np.clip(levels, 0, 1) - 0.5), np.exp(FARTHEST[0])))
    return 0.5 * float(np.mean(np.abs(np.interp(levels, ALONG, along) - line)))


def _from_neighbours(pixels: Pixels, aside: Mask | None) -> NoiseProfile:
    """A rough profile from the median difference of neighbours, none of them set aside.

    Equal neighbours do not count where they are too many for the others, as in a fill, but not the most.
    """
    every = max(1, pixels.size // SAMPLE)
    rows, next_rows = slice(0, max(len(pixels) - 1, 1), every), slice(1, None, every)
    here, below = (pixels[each].astype(np.float64) for each in (rows, next_rows))
    free, free_below = (np.ones(each.shape, bool) for each in (here, below))
    if aside is not None and aside.count:
        free, free_below = (~aside.within(each) for each in (rows, next_rows))
    grey, count = here[free], len(below)
    across = np.diff(here)[free[:, 1:] & free[:, :-1]]
    down = (below - here[:count])[free_below & free[:count]]
    apart = np.abs(np.concatenate([across, down]))
    varied = apart[apart > 0]
    if len(apart) > len(varied) > 0.5 * len(apart):
        near = np.count_nonzero(varied <= 1.5 * varied.min())
        apart = varied if len(apart) - len(varied) > 3 * near else apart
    sigma = float(np.median(apart) / (0.6745 * np.sqrt(2))) if len(apart) else 0.0
    return NoiseProfile(level=float(np.median(grey)) if len(grey) else 0.0, sigma=sigma, origin="estimated")


def regress(layers: Layers, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What the network says, (..., 8), of inputs (..., F).

    ln(sigma / reference), corr_x, corr_y, the signal's part of the variance, all in the middle of the unit
    domain, and the logarithm of the variance at the other places of `ALONG`, over that in the middle.
    """
    x = (inputs.astype(np.float64) - layers["mean"]) / layers["spread"]
    x = np.maximum(x @ layers["w1"] + layers["b1"], 0.0)
    x = np.maximum(x @ layers["w2"] + layers["b2"], 0.0)
    return x @ layers["w3"] + layers["b3"]


@lru_cache(maxsize=1)
def _weights() -> Layers:
    file = resources.files("longexposure.noise") / "estimator.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name] for name in ("mean", "spread", "w1", "b1", "w2", "b2", "w3", "b3")}
