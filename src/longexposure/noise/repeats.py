"""Pixels that were repeated before us: an image that was enlarged without interpolating.

Rows and columns that equal the one before them to the bit give it away: noise never repeats itself over a
whole row. Enlarging by any factor without interpolation leaves runs that differ in length by at most one; a
border that was copied outwards is one long run and no enlargement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.radiograph import Pixels

PROBES = 64
"""So many pixels of every row are compared first; few images need more."""
FEWEST_RUNS, LEAST_FACTOR = 4, 1.05
MOST_OTHERS = 0.02
"""Fraction of the rows that may lie in runs of other lengths: constant ones, or borders."""
STRIP_PX = 1 << 18

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Repeats:
    """How an image (H, W) was made of fewer pixels.

    Attributes:
        y: first row of each run of equal rows, ascending from 0.
        x: first column of each run of equal columns.
        shape: (H, W).
    """

    y: Indices
    x: Indices
    shape: tuple[int, int]

    @property
    def factors(self) -> tuple[float, float]:
        """Rows and columns for one of the original."""
        return _factor(self.y, self.shape[0]), _factor(self.x, self.shape[1])

    def originals(self, pixels: Pixels) -> Pixels:
        """The pixels that were there before, (len(y), len(x))."""
        return np.ascontiguousarray(pixels[np.ix_(self.y, self.x)])

    def repeated(self, originals: Pixels) -> Pixels:
        """An image (H, W) of these, repeated as they were."""
        rows, columns = (
            np.diff(first, append=size) for first, size in zip((self.y, self.x), self.shape, strict=True)
        )
        return originals.repeat(rows, axis=0).repeat(columns, axis=1)

    def in_words(self) -> str:
        """As "2 x 2" or "1.5 x 1"."""
        return " x ".join(f"{factor:.3g}" for factor in self.factors)


def find_repeats(pixels: Pixels) -> Repeats | None:
    """How an image (H, W) was enlarged by repeating pixels; None where it was not."""
    y, x = _runs(pixels), _runs(pixels.T)
    height, width = pixels.shape
    if len(y) == height and len(x) == width:
        return None
    return Repeats(y, x, (height, width))


def _runs(pixels: Pixels) -> Indices:
    """First row of each run of equal rows; every row where they are not those of an enlargement."""
    count, width = pixels.shape
    every = np.arange(count)
    probed = pixels[:, :: max(1, width // PROBES)]
    equal = (probed[1:] == probed[:-1]).all(axis=1)
    if not _regular(equal, probed):
        return every
    rows = max(1, STRIP_PX // width)
    for top in range(0, count - 1, rows):
        strip = pixels[top : top + rows + 1]
        equal[top : top + rows] &= (strip[1:] == strip[:-1]).all(axis=1)
    return np.concatenate([[0], 1 + np.flatnonzero(~equal)]) if _regular(equal, probed) else every


def _regular(equal: npt.NDArray[np.bool_], rows: Pixels) -> bool:
    """Whether equal neighbours form runs of n or n + 1 rows, n >= 1, most of them of more than one.

    Constant rows, as of a fill, say nothing.
    """
    if not equal.any():
        return False
    first = np.concatenate([[0], 1 + np.flatnonzero(~equal)])
    lengths = np.diff(first, append=len(rows))
    varied = (rows[first] != rows[first, :1]).any(axis=1)
    varied[[0, -1]] = False  # cut off by the border
    lengths = lengths[varied]
    if len(lengths) < FEWEST_RUNS:
        return False
    shorter = int(np.median(lengths)) - (np.median(lengths) > lengths.mean())
    others = lengths[(lengths != shorter) & (lengths != shorter + 1)].sum()
    return bool(lengths.mean() > LEAST_FACTOR and others <= MOST_OTHERS * lengths.sum())


def _factor(first: Indices, size: int) -> float:
    """Mean length of the runs, without those that the border cuts."""
    return float(np.diff(first[1:]).mean()) if len(first) > 2 < size else 1.0
