"""The grey map: how an image's own grey values become the unit domain that models work in, and back.

The 1st and 99th percentile of the whole image become 0 and 1; values beyond go below 0 and above 1, nothing
is cut off. The map is taken once per image, so every tile sees the same one, and it follows any rescaling
a x + b of the grey values exactly, so that enhancing commutes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.masks import Mask
from longexposure.radiograph import Pixels

PERCENTILES = (1.0, 99.0)
SAMPLE = 1 << 22
"""Percentiles are taken over about this many pixels, evenly spread, of images that have more."""
STRIP_PX = 1 << 20
"""A whole image is looked through in strips of about so many pixels."""


@dataclass(frozen=True)
class GreyMap:
    """unit = scale * grey + offset, with scale > 0."""

    scale: float
    offset: float

    @property
    def middle(self) -> float:
        """The grey value in the middle of the contrast, 0.5 of the unit domain."""
        return (0.5 - self.offset) / self.scale

    def to_unit(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Grey values of any type in the unit domain, float32, same shape."""
        return (pixels.astype(np.float64) * self.scale + self.offset).astype(np.float32)


def measure_grey(pixels: Pixels, aside: Mask | None = None) -> GreyMap:
    """The map of one image (H, W); hot pixels, a bright spot or a dark corner below 1 % do not move it.

    Where the two percentiles coincide, the lowest and highest value stand in for them; a constant image
    is only shifted. Pixels that are set aside do not count.
    """
    values = sampled_values(pixels, SAMPLE, aside)
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    if high <= low:
        low, high = grey_range(pixels, aside)
    scale = 1.0 / (high - low) if high > low else 1.0
    return GreyMap(scale=scale, offset=-low * scale)


def to_type(grey: npt.NDArray[np.float64], dtype: npt.DTypeLike) -> Pixels:
    """Grey values in a type; integers are rounded, and cut at the ends of the type."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return grey.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.rint(grey), limits.min, limits.max).astype(kind)


def grey_range(pixels: Pixels, aside: Mask | None = None) -> tuple[float, float]:
    """Lowest and highest grey value of one image (H, W) over what is not set aside."""
    if aside is None or not aside.count:
        return float(pixels.min()), float(pixels.max())
    lows, highs = [], []
    rows = max(STRIP_PX // pixels.shape[1], 1)
    for top in range(0, len(pixels), rows):
        part = slice(top, top + rows)
        values = pixels[part][~aside.within(part)]
        if values.size:
            lows.append(values.min())
            highs.append(values.max())
    return float(min(lows)), float(max(highs))


def sampled_values(pixels: Pixels, count: int, aside: Mask | None = None) -> Pixels:
    """The grey values of `evenly_sampled`; those that are not set aside, (N,), where something is.

    Where every value of the sample is set aside, all that are not are taken.
    """
    values = evenly_sampled(pixels, count)
    if aside is None or not aside.count:
        return values
    step = _step(pixels, count)
    left = values[~aside.within(slice(None, None, step), slice(None, None, step))]
    return left if left.size or aside.fraction == 1 else pixels[~aside.within()]


def evenly_sampled(pixels: Pixels, count: int) -> Pixels:
    """Every k-th row and column of (H, W), with the smallest k that leaves at most `count` pixels."""
    step = _step(pixels, count)
    return pixels[::step, ::step]


def _step(pixels: Pixels, count: int) -> int:
    height, width = pixels.shape
    step = 1
    while -(-height // step) * -(-width // step) > count:
        step += 1
    return step
