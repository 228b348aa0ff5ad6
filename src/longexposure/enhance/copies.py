"""Borders that were copied: rows and columns that padding repeated, or mirrored, around a picture.

Noise never repeats itself over a whole row. Where the outermost rows equal each other to the bit they are one
row, and no picture; where they equal those behind them in reverse they are a mirror image, which is enhanced
like the picture but tells nothing new.
"""

from __future__ import annotations

import numpy as np

from longexposure.masks import Mask
from longexposure.radiograph import Pixels

FEWEST = 3
"""So many equal rows at a border are copies, where those farther in are not."""
PROBES = 64
LEAST_VALUES = 8
"""A row of fewer grey values says nothing: it may be a fill, or a drawing."""
LEAST_MIRRORED = 4


def find_copied(pixels: Pixels) -> Mask:
    """Rows and columns at the borders of an image (H, W) that repeat the next one farther in."""
    top, bottom = _repeated(pixels), _repeated(pixels[::-1])
    left, right = _repeated(pixels.T), _repeated(pixels.T[::-1])
    height, width = pixels.shape
    if not (top or bottom or left or right) or top + bottom >= height or left + right >= width:
        return Mask.empty((height, width))
    marked = np.ones((height, width), np.bool_)
    marked[top : height - bottom, left : width - right] = False
    return Mask.of(marked)


def mirrored_borders(pixels: Pixels) -> tuple[str, ...]:
    """Which borders of an image (H, W) are mirror images of what lies behind, and how wide, in words."""
    sides = {
        "top": pixels,
        "bottom": pixels[::-1],
        "left": pixels.T,
        "right": pixels.T[::-1],
    }
    return tuple(f"{width} px at the {side}" for side, rows in sides.items() if (width := _mirrored(rows)))


def _repeated(rows: Pixels) -> int:
    """How many of the first rows are copies of the one after them."""
    probed = rows[:, :: max(1, rows.shape[1] // PROBES)]
    if len(rows) <= 2 * FEWEST or not (probed[:FEWEST] == probed[FEWEST]).all() or _says_nothing(rows[0]):
        return 0
    other = np.flatnonzero((probed != probed[0]).any(axis=1))
    count = int(other[0]) - 1 if len(other) else 0
    if count < FEWEST or not (rows[:count] == rows[count]).all():
        return 0
    inside = rows[count + 1 : 2 * count + 2]  # where rows farther in are repeated too, it was enlarged
    return 0 if len(inside) > 1 and (inside[1:] == inside[:-1]).all(axis=1).any() else count


def _mirrored(rows: Pixels) -> int:
    """How many of the first rows are a mirror image of those that follow."""
    if _says_nothing(rows[0]) or (rows[0] == rows[1:2]).all():
        return 0
    probed = rows[:, :: max(1, rows.shape[1] // PROBES)]
    for behind in np.flatnonzero((probed[1:] == probed[0]).all(axis=1)) + 1:
        count = (int(behind) + 1) // 2
        if count >= LEAST_MIRRORED and (rows[:count] == rows[behind : behind - count : -1]).all():
            return count
    return 0


def _says_nothing(row: Pixels) -> bool:
    return len(np.unique(row)) < LEAST_VALUES
