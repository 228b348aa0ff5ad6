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

from longexposure.errors import as_kind
from longexposure.grey import GreyMap, measure_grey
from longexposure.io.checks import check_finite
from longexposure.masks import Mask
from longexposure.noise.blocks import LEVELS, Blocks, Numbers, features, grey_step, picture_blocks, tails
from longexposure.noise.blocks import course as course_by_brightness
from longexposure.noise.profile import NoiseProfile
from longexposure.noise.repeats import Repeats, find_repeats
from longexposure.radiograph import Pixels, as_pixels, check_single

FEWEST_BLOCKS = 16
"""Images with fewer usable blocks of 8 x 8 are judged by the differences of neighbours alone."""
CORRELATION = (-0.5, 0.95)
"""Limits of estimated correlations, and of those that networks are trained with."""
SAMPLE = 1 << 16
"""About so many pixels, twice, tell of an image without room for blocks."""
OFF_LINE, SPREAD = 0.4, 0.8
"""ln sigma of some brightness may be off the straight line by this, and by twice its own error, which is the
second number over the root of the number of blocks."""
FAR_OFF = 0.45
"""And that of the few blocks darker or brighter than all groups by this; half the noise is noticed."""
FAINT = 0.005
"""Below this fraction of the contrast, and below half a grey step, rounding and structure have courses."""
ALONG = tuple(np.linspace(0, 1, 9).tolist())
"""Places in the unit domain at which sigma is told, where it follows a curve."""
LEAST_OF_MIDDLE = 0.05
"""The variance of a line counts as no less than this fraction of that in the middle."""
MOST_BLOCKS = (0.1, 0.9)
FAR, LARGEST = (-1.0, 2.0), 2.5
"""Reach of a curve in the unit domain, and of the logarithm of sigma along it."""

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

    Raises:
        InputError: no image (H, W) of these types, a stack of several, or NaN or infinity in it.
        RecipeError: another grey map or mask.
    """
    pixels = as_pixels(pixels, where="image")
    check_single(pixels, where="image")
    if aside is None:
        check_finite(pixels, "image")
    else:
        as_kind(aside, Mask, where="aside", advice="leave it out where every pixel counts")
    if grey is not None:
        as_kind(grey, GreyMap, where="grey", advice="leave it out: it is measured then")
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
    straight, inputs, reference = _straight(usable, span=span, zero=zero)
    levels, course = course_by_brightness(inputs)
    beyond = tails(usable, levels, course, span=span, low=zero, reference=reference)
    groups = len(levels)
    levels, course = (np.concatenate(each) for each in zip((levels, course), beyond, strict=True))
    line = straight.mapped(scale=grey.scale, offset=grey.offset)
    strongest = reference * float(np.exp(course.max()))
    plain = strongest < max(grey_step(usable) / 2, FAINT * span)
    if plain or not _off_line(levels, course, line, groups=groups, blocks=len(usable)):
        return straight
    return _curved(usable, levels, course, span=span, zero=zero)


def _straight(
    usable: Blocks, *, span: float, zero: float
) -> tuple[NoiseProfile, npt.NDArray[np.float32], float]:
    """The profile whose variance is a straight line, and the features that it was found from."""
    inputs, reference = features(usable, span=span, low=zero)
    limits = np.array([(-2.0, 6.0), CORRELATION, CORRELATION, (-0.3, 1.0)])
    log_ratio, corr_x, corr_y, from_signal = np.clip(regress(_weights(), inputs), *limits.T).tolist()
    sigma = reference * float(np.exp(log_ratio))
    slope = 2.0 * from_signal * sigma**2 / span
    profile = NoiseProfile(zero + 0.5 * span, sigma, slope, corr_x, corr_y, origin="estimated")
    return profile, inputs, reference


def _off_line(levels: Numbers, course: Numbers, line: NoiseProfile, *, groups: int, blocks: int) -> bool:
    """Whether some brightness is off the course of a straight line by more than chance explains.

    The first are of groups; of the few blocks beyond them chance and structure explain more.
    """
    if len(levels) < 2:
        return False
    least = LEAST_OF_MIDDLE * float(line.variance(0.5))
    off = course - 0.5 * np.log(np.maximum(line.variance(np.clip(levels, 0, 1)), least))
    chance = SPREAD / (blocks / LEVELS) ** 0.5
    away = np.abs(off - np.median(off[:groups]))
    return bool(away[:groups].max() > OFF_LINE + 2 * chance or away[groups:].max(initial=0) > FAR_OFF)


def _curved(usable: Blocks, levels: Numbers, course: Numbers, *, span: float, zero: float) -> NoiseProfile:
    """The profile of noise whose variance follows no straight line.

    Behind the curve that makes noise of this course the same everywhere, the network measures what it knows
    best; what it finds is brought back.
    """
    places, which = np.unique(np.round(levels, 2), return_inverse=True)
    known = np.bincount(which, weights=course - course.mean()) / np.bincount(which)
    at = np.linspace(*FAR, 2048)
    relative = np.exp(np.clip(np.interp(at, places, known), -LARGEST, LARGEST))
    even = np.concatenate([[0.0], np.cumsum(np.diff(at) / np.sqrt(relative[1:] * relative[:-1]))])
    low, high = np.interp((0.0, 1.0), at, even)
    blocks = np.interp((usable - zero) / span, at, even).astype(np.float32)
    found, *_ = _straight(blocks, span=float(high - low), zero=float(low))
    # beyond the brightnesses of most blocks a dependence on the signal would be guessed
    most = np.quantile(np.median(blocks, axis=(1, 2)), MOST_BLOCKS)
    sigma = span * relative * np.sqrt(found.variance(np.clip(even, *most)))
    curve = np.interp(ALONG, at, sigma)
    slope, middle = np.polyfit(np.array(ALONG) - 0.5, curve**2, 1).tolist()
    return NoiseProfile(
        level=zero + 0.5 * span,
        sigma=middle**0.5,
        slope=slope / span,
        corr_x=found.corr_x,
        corr_y=found.corr_y,
        origin="estimated",
        curve=tuple((zero + place * span, each) for place, each in zip(ALONG, curve.tolist(), strict=True)),
    )


def _of_repeated(originals: NoiseProfile, repeats: Repeats) -> NoiseProfile:
    """The profile of an image whose pixels are repeats: all or part of the neighbours are equal."""
    down, across = (1 - 1 / factor for factor in repeats.factors)
    return replace(
        originals,
        corr_x=across + (1 - across) * originals.corr_x,
        corr_y=down + (1 - down) * originals.corr_y,
    )


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
