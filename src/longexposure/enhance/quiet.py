"""Areas almost without noise: dithered or compressed fills, smoothed places, saturation with a step of noise.

Quanta make noise follow the grey value, upwards, or downwards where an image is inverted. An area whose noise
is far below both that of what is darker and that of what is brighter is therefore no picture of the part. At
either end of the grey values quanta allow less, in proportion to how much is left up to the end of the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.grey import sampled_values
from longexposure.masks import Marked, Mask
from longexposure.noise.blocks import BLOCK, about_plane, cut_blocks, grey_step, mixed_variance
from longexposure.radiograph import Pixels

FAR_BELOW = 100.0
"""The variance is so many times below that of the rest: amid its grey values, or by proportion at an end."""
FAR_BELOW_END = 1000.0
"""At an end of the grey values it is so many times below the rest too."""
FEWEST, LEAST, MOST = 9, 0.003, 0.5
"""An area has at least so many blocks, and this share of all; all areas together at most the last share."""
USUAL, FLATTEST, FLAT, COLOURED = 0.2, 0.1, 2.5, 8.0
"""Noise of the rest: that quantile of its flat blocks. Flat are those whose variance about the plane, over
that of mixed differences, is at most so many times the second quantile; where that is above the last, the
rest shows structure and tells nothing of noise."""
FEWEST_BESIDE, LEAST_BESIDE = 16, 0.01
"""So many flat blocks, and this share of all, must be darker or brighter."""
CALM, BETWEEN = 10.0, 0.1
"""Between an area and the rest is a gap: few blocks of its grey values, of its own number, have a variance
more than so many times above its own and below that of the rest. Those at a border do not count."""
GOES_ON = 4.0
"""Up to `REACH` blocks beyond an area its pixels go on where mixed differences, in standard deviations of
those in its nearest block, are no larger, and the grey values lie hardly beyond those of that block."""
REACH = 4
WITHIN = 0.98
"""Saturation with a step of noise: this share of its pixels has the two outermost values of the type."""
SAMPLE = 1 << 14
STRIP_BLOCKS = 1 << 14

Numbers = npt.NDArray[np.float64]
_AROUND = np.ones((3, 3), np.bool_)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Blocks (H // 8, W // 8) of an image: what is `free` of what is left out, and numbers about each."""

    free: Marked
    level: Numbers
    variance: Numbers
    plane: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class _Ends:
    """Lowest and highest grey value that a detector gives, and the highest of the integer type."""

    low: float
    high: float
    highest: float


def find_quiet(pixels: Pixels, left_out: Mask) -> Mask:
    """Areas of an image (H, W) whose noise is far below that of all else; the image is not modified.

    Args:
        pixels: the image.
        left_out: pixels that hold no grey value, or lie in areas of one value.
    """
    none = Mask.empty(left_out.shape)
    sample = cut_blocks(pixels, most=SAMPLE, aside=left_out)
    if len(sample) < 2 * FEWEST:
        return none
    least = max(grey_step(sample) ** 2 / 12, 1e-14 * float(np.ptp(sample)) ** 2)
    of_sample = np.maximum(mixed_variance(sample), least)
    usual = float(np.median(of_sample))
    few = np.count_nonzero(of_sample < usual / FAR_BELOW)
    if few < LEAST * len(sample) or few > MOST * len(sample):
        return none
    found = _measured(pixels, left_out, least)
    quiet = found.free & (found.variance < usual / FAR_BELOW)
    beside = ndimage.binary_dilation(quiet, _AROUND)
    flat = _flat(found, beside)
    if flat is None:
        return none
    labels, count = ndimage.label(quiet)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    taken = np.zeros(count + 1, np.bool_)
    ends = _ends(pixels, left_out)
    for number in np.flatnonzero(sizes >= max(FEWEST, LEAST * found.free.sum())):
        if number:
            taken[number] = _is_apart(found, labels == number, beside, flat, ends)
    area = taken[labels]
    if not area.any() or area.sum() > MOST * found.free.sum():
        return none
    return _outlined(pixels, left_out, area, found)


def _measured(pixels: Pixels, left_out: Mask, least: float) -> _Measured:
    """Numbers about all whole blocks; a variance is no less than what rounding makes."""
    height, width = (side // BLOCK for side in pixels.shape)
    parts = []
    for rows in _strips(height, width):
        part = pixels[rows.start * BLOCK : rows.stop * BLOCK]
        blocks = cut_blocks(part, most=np.inf)
        if blocks.dtype.kind == "f":
            blocks = np.nan_to_num(blocks, nan=0.0, posinf=0.0, neginf=0.0)
        parts.append(
            np.stack(
                [
                    blocks.mean(axis=(1, 2), dtype=np.float64),
                    np.maximum(mixed_variance(blocks), least),
                    np.maximum(about_plane(blocks), least),
                    blocks.min(axis=(1, 2)),
                    blocks.max(axis=(1, 2)),
                ]
            )
        )
    numbers = np.concatenate(parts, axis=1).reshape(-1, height, width)
    return _Measured(~left_out.blocks(), *numbers)


def _strips(height: int, width: int) -> Iterator[slice]:
    step = max(STRIP_BLOCKS // width, 1)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _flat(found: _Measured, beside: Marked) -> Marked | None:
    """Which blocks show the noise of the rest, without structure; None where that cannot be told."""
    rest = found.free & ~beside
    if not rest.any():
        return None
    ratio = found.plane / found.variance
    best = float(np.quantile(ratio[rest], FLATTEST))
    return rest & (ratio <= FLAT * best) if best <= COLOURED else None


def _ends(pixels: Pixels, left_out: Mask) -> _Ends:
    """Where the grey values of a detector end: at 0 and at a power of 2 in integers."""
    values = sampled_values(pixels, 1 << 16, left_out)
    low, high = float(values.min()), float(values.max())
    if pixels.dtype.kind == "f":
        return _Ends(low, high, np.inf)
    return _Ends(0.0, 2.0 ** np.ceil(np.log2(high + 1)) - 1, float(np.iinfo(pixels.dtype).max))


def _is_apart(found: _Measured, area: Marked, beside: Marked, flat: Marked, ends: _Ends) -> bool:
    """Whether the noise of an area is below what the flat rest of an image allows at its grey values.

    Args:
        found: the image's blocks.
        area: those of the area.
        beside: those that may lie in or on the border of one.
        flat: those that show the noise of the rest.
        ends: of the grey values.
    """
    own = float(np.quantile(found.variance[area], 0.9))
    start, middle, end = np.quantile(found.level[area], (0.05, 0.5, 0.95)).tolist()
    sides = [flat & (found.level <= end), flat & (found.level >= start)]
    fewest = max(FEWEST_BESIDE, LEAST_BESIDE * found.free.sum())
    usual = [
        float(np.quantile(found.variance[side], USUAL)) if side.sum() >= fewest else None for side in sides
    ]
    known = [each for each in usual if each is not None]
    if not known:
        return False
    rest = min(known)
    margin = 3 * rest**0.5
    between = found.free & ~beside
    between &= (found.level > start - margin) & (found.level < end + margin)
    between &= (found.variance > CALM * own) & (found.variance < rest / CALM)
    if between.sum() > BETWEEN * area.sum():
        return False
    if len(known) == 2:
        return own < rest / FAR_BELOW
    side = sides[0] if usual[0] is not None else sides[1]
    level, at_end = float(np.median(found.level[side])), ends.high if usual[0] is not None else ends.low
    left = abs(at_end - middle) / max(abs(at_end - level), 1e-30)
    if own < rest * min(left / FAR_BELOW, 1 / FAR_BELOW_END):
        return True
    return own < rest / FAR_BELOW and bool(np.mean(found.low[area] >= ends.highest - 1) > WITHIN)


def _outlined(pixels: Pixels, left_out: Mask, area: Marked, found: _Measured) -> Mask:
    """The pixels of areas: those of their blocks, and those around that go on alike, 4 x 4 at least."""
    height, width = (size * BLOCK for size in area.shape)
    away, nearest = ndimage.distance_transform_cdt(~area, "chessboard", return_indices=True)
    low, high = (each[tuple(nearest)] for each in (found.low, found.high))
    beyond = (away + 0.5) * (high - low)
    low, high = low - beyond, high + beyond
    most = 6 * GOES_ON * np.sqrt(found.variance)[tuple(nearest)]
    packed = np.zeros(left_out.packed.shape, np.uint8)
    column = np.minimum(np.arange(pixels.shape[1]) // BLOCK, area.shape[1] - 1)
    for rows in _strips(*area.shape):
        first = rows.start * BLOCK
        last = rows.stop * BLOCK if rows.stop < len(area) else len(pixels)
        top, bottom = max(first - BLOCK, 0), min(last + BLOCK, len(pixels))
        row = np.minimum(np.arange(top, bottom) // BLOCK, len(area) - 1)
        at = np.ix_(row, column)
        close = away[at] <= REACH
        if not close.any():
            continue
        part = pixels[top:bottom]
        grey = part.astype(np.float32)
        rough = np.abs(np.diff(np.diff(grey, n=2, axis=0), n=2, axis=1))
        calm = np.zeros(part.shape, np.bool_)
        calm[1:-1, 1:-1] = rough <= most[at][1:-1, 1:-1]
        calm = ndimage.binary_dilation(ndimage.binary_opening(calm, np.ones((2, 2))), _AROUND)
        inside = area[at]
        inside[height - top :], inside[:, width:] = False, False
        marked = inside | (calm & close & (part >= low[at]) & (part <= high[at]))
        marked &= ~left_out.within(slice(top, bottom))
        packed[first:last] = np.packbits(marked[first - top : last - top], axis=1)
    return Mask.of_packed(left_out.shape, packed)
