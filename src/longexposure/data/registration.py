"""How two exposures of one scene lie on each other: the shift in fractions of a pixel, gain and offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.noise.separation import BLOCK_PX, PairedBlocks, flatter_half_noise
from longexposure.radiograph import Pixels

CROP_PX = 256
CROPS = 5
BAND_PX = (1.2, 12.0)
"""Gaussian widths between which structure is compared: noise is finer, uneven light is coarser."""
UPSAMPLE = 50
"""The shift is found to one part in so many of a pixel."""
OUTLIERS = 4.0
"""Hot pixels and the like are cut at so many robust standard deviations before shapes are compared."""
FEWEST_BLOCKS = 8
LEAST_CONTRAST = 20.0
"""Gain needs block means that vary by so many times the variance that noise gives them."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """Where the long exposure lies relative to the short one.

    Attributes:
        dy: pixels downwards.
        dx: pixels to the right.
        error: how far the crops disagree, as a standard error in pixels; 0 for one crop.
        crops: crops with structure that took part.
    """

    dy: float
    dx: float
    error: float
    crops: int

    @property
    def length(self) -> float:
        return float(np.hypot(self.dy, self.dx))


@dataclass(frozen=True)
class Gain:
    """HQ = gain LQ + offset.

    Attributes:
        gain: grey values of the long exposure for one of the short exposure.
        offset: grey values.
        error: standard error of the gain.
        spread: robust standard deviation of block means about the line, grey values of HQ.
        blocks: block means that the line goes through.
        middle: their mean grey value, of LQ.
    """

    gain: float
    offset: float
    error: float
    spread: float
    blocks: int
    middle: float

    def error_at(self, level: float) -> float:
        """Standard error of the line at a grey value of LQ, in grey values of HQ."""
        return float(np.hypot(self.spread / np.sqrt(max(self.blocks, 1)), self.error * (level - self.middle)))


def crops_of(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The middle of an image and of its quarters, 256 x 256 px each; the whole of a smaller image."""
    height, width = (min(side, CROP_PX) for side in shape)
    if (height, width) == shape:
        return [(slice(0, height), slice(0, width))]
    places = [(0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)][:CROPS]
    corners = dict.fromkeys(
        (round(y * (shape[0] - height)), round(x * (shape[1] - width))) for y, x in places
    )
    return [(slice(y, y + height), slice(x, x + width)) for y, x in corners]


def measure_shift(lq: Pixels, hq: Pixels) -> Shift | None:
    """Where the long exposure lies relative to the short one, by correlation of band-passed crops.

    A fixed pattern of the detector that shows in both exposures draws the answer towards zero.

    Args:
        lq: short exposure, (H, W).
        hq: long exposure, same shape.

    Returns:
        The median over crops, or None where no crop has structure that stands out of the noise.
    """
    first = _median_shift(lq, hq)
    if first is None or max(abs(first.dy), abs(first.dx)) <= 0.5 or first.length > 0.25 * min(lq.shape):
        return first
    again = _median_shift(*aligned(lq, hq, first))  # windows that do not overlap draw towards zero
    if again is None or again.length > 1:
        return first
    return replace(again, dy=again.dy + round(first.dy), dx=again.dx + round(first.dx))


def _median_shift(lq: Pixels, hq: Pixels) -> Shift | None:
    from skimage import registration

    register: Callable[..., Any] = registration.phase_cross_correlation
    shifts = []
    for crop in crops_of((lq.shape[0], lq.shape[1])):
        short, long = _band(lq[crop]), _band(hq[crop])
        if not (short.any() and long.any()):
            continue
        shift, error, _ = register(long, short, upsample_factor=UPSAMPLE, normalization=None)
        alike = np.sqrt(max(1.0 - float(error) ** 2, 0.0))
        by_chance = 6 * np.sqrt(4 * np.pi * BAND_PX[0] ** 2 / short.size)
        if alike > by_chance:
            shifts.append(shift)
    if not shifts:
        return None
    found = np.array(shifts, dtype=np.float64)
    dy, dx = np.median(found, axis=0)
    apart = 1.4826 * np.median(np.abs(found - (dy, dx)), axis=0)
    error = 1.2533 * float(np.hypot(*apart)) / np.sqrt(len(found))
    return Shift(dy=float(dy), dx=float(dx), error=float(error), crops=len(found))


def aligned(lq: Pixels, hq: Pixels, shift: Shift | None) -> tuple[Pixels, Pixels]:
    """The parts of both images that show the same, to the nearest whole pixel; nothing is interpolated."""
    if shift is None:
        return lq, hq
    ours, theirs = [], []
    for moved, side in zip((round(shift.dy), round(shift.dx)), lq.shape, strict=True):
        ours.append(slice(max(-moved, 0), side - max(moved, 0)))
        theirs.append(slice(max(moved, 0), side - max(-moved, 0)))
    return lq[tuple(ours)], hq[tuple(theirs)]


def fit_gain(blocks: PairedBlocks) -> Gain | None:
    """Gain and offset from block means of a pair, the noise of both images allowed for (Deming's regression).

    Blocks more than three robust standard deviations off the line, mostly at moving edges, are left out.

    Returns:
        None where there is too little contrast to tell.
    """
    if len(blocks) < FEWEST_BLOCKS:
        return None
    x, y = blocks.mean_lq, blocks.mean_hq
    if np.var(x) <= 0 or np.var(y) <= 0 or np.corrcoef(x, y)[0, 1] < 0.5:
        return None
    kept = np.ones(len(x), dtype=bool)
    gain = float(np.var(y) / np.cov(x, y)[0, 1])
    for _ in range(6):
        _, *noises = flatter_half_noise(blocks, gain=gain)
        noise_lq, noise_hq = (max(float(np.median(part)), 0.0) for part in noises)
        if np.var(x[kept]) < LEAST_CONTRAST * noise_lq / BLOCK_PX**2:
            return None
        gain, offset = deming(x[kept], y[kept], ratio=noise_hq / noise_lq if noise_lq > 0 else 0.0)
        away = y - gain * x - offset
        spread = 1.4826 * float(np.median(np.abs(away)))
        kept = np.abs(away) <= max(3 * spread, 1e-9 * float(np.ptp(y)))
    error = spread / float(np.sqrt(kept.sum() * np.var(x[kept]))) if kept.sum() > 2 else float("inf")
    middle = float(x[kept].mean())
    return Gain(gain=gain, offset=offset, error=error, spread=spread, blocks=int(kept.sum()), middle=middle)


def deming(x: Numbers, y: Numbers, *, ratio: float) -> tuple[float, float]:
    """Slope and offset of y on x when both have noise, that of y of `ratio` times the variance of x's."""
    (xx, xy), (_, yy) = np.cov(x, y)
    apart = yy - ratio * xx
    slope = (apart + np.sqrt(apart * apart + 4 * ratio * xy * xy)) / (2 * xy)
    return float(slope), float(y.mean() - slope * x.mean())


def _band(pixels: Pixels) -> Numbers:
    """Structure between the two widths, without outliers, fading to the borders."""
    from scipy.ndimage import gaussian_filter

    image = pixels.astype(np.float64)
    fine, coarse = (gaussian_filter(image, width, mode="reflect") for width in BAND_PX)
    band = fine - coarse
    limit = OUTLIERS * 1.4826 * float(np.median(np.abs(band)))
    if limit > 0:
        band = np.clip(band, -limit, limit)
    window = np.outer(*(np.hanning(side) for side in band.shape))
    return (band - band.mean()) * window
