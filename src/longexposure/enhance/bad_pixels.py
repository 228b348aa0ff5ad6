"""Hot and dead pixels: found by what no optics can make, and replaced before anything spreads them.

A point in the part is blurred by focal spot and screen before it reaches the pixels, so its neighbours rise
with it. A faulty pixel stands alone. A pixel is taken for faulty when it differs from the ring around its
neighbours by far more than the noise allows while the neighbours themselves do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.masks import Mask
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

NOISE_LIMIT = 7.0
"""A faulty pixel differs from its surroundings by more than this many standard deviations of the noise."""
NEIGHBOUR_FRACTION = 0.08
"""Its four neighbours follow by less than this fraction: a point blurred by 0.5 px has neighbours at 0.13."""
NEIGHBOUR_NOISE = 0.8
"""Their own noise may add this many standard deviations to that fraction."""
SKIRT_LIMIT = 2.0
"""No neighbour differs by more than this many times as much, or the pixel is the skirt of that neighbour."""
SLOPE_GAIN = 0.7
"""A slope counts as one when without it the ring spreads less than this fraction of what it did."""
SPREAD_LIMIT = 2.0
"""It differs by more than this many times the spread of the ring, so that edges and texture stay."""
STRIP_PX = 1 << 18
"""Images are searched in strips of about so many pixels, which stay in the cache."""

_RING = tuple((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dy), abs(dx)) == 2)
_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, eq=False)
class BadPixels:
    """Faulty pixels of one image: rows, columns, and the grey values (float32) to put in their place."""

    y: npt.NDArray[np.intp]
    x: npt.NDArray[np.intp]
    value: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.y)

    def within(self, window: tuple[slice, slice]) -> BadPixels:
        """Those inside a window, with positions relative to it."""
        rows, columns = window
        first, last = np.searchsorted(self.y, (rows.start, rows.stop))
        y, x, value = self.y[first:last], self.x[first:last], self.value[first:last]
        keep = (x >= columns.start) & (x < columns.stop)
        return BadPixels(y=y[keep] - rows.start, x=x[keep] - columns.start, value=value[keep])


def find_bad_pixels(pixels: Pixels, noise: NoiseProfile, aside: Mask | None = None) -> BadPixels:
    """Hot and dead pixels of one image (H, W), single or in pairs; the image is not modified.

    Without noise nothing tells a faulty pixel from the sharpest detail, and none is found.

    Args:
        pixels: uint8, uint16 or float32.
        noise: profile of this image, in its grey values.
        aside: pixels that are no picture of the part, of which none is faulty.
    """
    if noise.sigma == 0 and noise.slope == 0:
        return BadPixels(y=np.empty(0, np.intp), x=np.empty(0, np.intp), value=np.empty(0, np.float32))
    height, width = pixels.shape
    rows = max(STRIP_PX // width, 8)
    found = [_in_strip(pixels, noise, top, min(top + rows, height)) for top in range(0, height, rows)]
    return BadPixels(
        y=np.concatenate([part.y for part in found]),
        x=np.concatenate([part.x for part in found]),
        value=np.concatenate([part.value for part in found]),
    )


def _in_strip(pixels: Pixels, noise: NoiseProfile, top: int, bottom: int) -> BadPixels:
    """Bad pixels in rows top .. bottom, judged with two rows more on either side."""
    height, width = pixels.shape
    strip = pixels[_beyond(top, bottom, height)][:, _beyond(0, width, width)].astype(np.float32)
    rows, columns = bottom - top, width
    shifts = ((0, 0), *_CROSS)
    centre, *cross = (strip[2 + dy : 2 + dy + rows, 2 + dx : 2 + dx + columns] for dy, dx in shifts)
    middle = _middle_of_four(cross)
    limit = NOISE_LIMIT * (1 - NEIGHBOUR_FRACTION) - NEIGHBOUR_NOISE
    y, x = np.nonzero(np.abs(centre - middle) > limit * _lowest_sigma(noise, strip))
    if len(y) == 0:
        return BadPixels(y=y, x=x, value=np.empty(0, np.float32))
    value = centre[y, x]
    surround, spread, slope = _surroundings(np.stack([strip[y + 2 + dy, x + 2 + dx] for dy, dx in _RING]))
    level = [each[y, x] - slope[0] * dy - slope[1] * dx for each, (dy, dx) in zip(cross, _CROSS, strict=True)]
    sign = np.where(value > surround, np.float32(1), np.float32(-1))
    away = sign * (value - surround)
    follows = np.abs(_middle_of_four(level) - surround)
    beside = np.max([each * sign for each in level], axis=0) - surround * sign
    sigma = np.sqrt(noise.variance(surround))
    faulty = (away > NOISE_LIMIT * sigma) & (away > SPREAD_LIMIT * spread)
    faulty &= (follows < NEIGHBOUR_FRACTION * away + NEIGHBOUR_NOISE * sigma) & (beside < SKIRT_LIMIT * away)
    y, x = y[faulty], x[faulty]
    return BadPixels(y=y + top, x=x, value=middle[y, x].astype(np.float32))


def _surroundings(
    ring: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Grey value, spread and slope (2, N) per pixel of what surrounds a pixel, from its ring (16, N).

    The slope is that of the least-squares plane through the ring, where taking it out leaves much less
    spread, and 0 elsewhere: a shaded area has one, a line that crosses the ring has not. A sharp edge has
    one too, but leaves a wider spread, which then counts nearly in full.
    """
    places = np.array(_RING, dtype=np.float32).T
    slope = places @ ring / (places**2).sum(axis=1, keepdims=True)
    levelled = np.sort(ring - places.T @ slope, axis=0)
    plain = np.sort(ring, axis=0)
    sloping = levelled[12] - levelled[3] < SLOPE_GAIN * (plain[12] - plain[3])
    best = np.where(sloping, levelled, plain)
    spread = np.where(sloping, levelled[14] - levelled[1], plain[12] - plain[3])
    return 0.5 * (best[7] + best[8]), spread, np.where(sloping, slope, np.float32(0))


def _beyond(first: int, last: int, size: int) -> npt.NDArray[np.intp]:
    """Indices first - 2 .. last + 2 into an axis; beyond its ends stand in those two and three px inside.

    So a faulty pixel at the border, single or in a pair, has no copy among its own neighbours.
    """
    index = np.arange(first - 2, last + 2)
    index = np.where(index < 0, 1 - index, np.where(index >= size, 2 * size - 3 - index, index))
    return index.clip(0, size - 1)


def _middle_of_four(values: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Mean of the two middle values, which one faulty neighbour cannot move far."""
    a, b, c, d = values
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.float32(0.5) * (low + high)


def _lowest_sigma(noise: NoiseProfile, strip: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The least noise (rows, columns) that there may be at the grey value of a pixel's surroundings.

    It is that at the end of the 5 x 5 px about it where noise is less: where noise follows the signal, the
    faintest place of an image says little about the others.
    """
    if noise.curve:
        return np.sqrt(noise.least_variance(_around(strip, np.minimum), _around(strip, np.maximum)))
    if noise.slope == 0:
        return np.full((1, 1), noise.sigma)
    return np.sqrt(noise.variance(_around(strip, np.minimum if noise.slope > 0 else np.maximum)))


def _around(values: npt.NDArray[np.float32], end: np.ufunc) -> npt.NDArray[np.float32]:
    """The least or the largest of the 5 x 5 px about each pixel, without the two outermost on all sides."""
    for _ in range(2):  # along the columns, then along the rows
        pairs = end(values[:-1], values[1:])
        values = end(end(pairs[:-3], pairs[2:-1]), values[4:]).T
    return values
