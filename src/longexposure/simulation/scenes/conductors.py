"""Clear distances between the traces, lands and pads of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np
import numpy.typing as npt

from longexposure.simulation.scenes.layout import Mask, Numbers


class Conductors:
    """Traces and lands of several layers, in a part's own coordinates, and the clear distances from them."""

    def __init__(self) -> None:
        self._rows = np.zeros((256, 10))
        self.count = 0

    def add(self, points: Numbers, width: float, level: int) -> None:
        """Add a strip of this width along points (N, 2) on one level, a disc where N is 1."""
        self._append(segments(points, width, level))

    def add_discs(self, at: Numbers, radii: Numbers) -> None:
        """Add a disc at one place on every level; radii (levels,), 0 or less where there is none."""
        for level in np.flatnonzero(radii > 0).tolist():
            self._append(segments(at.reshape(1, 2), 2 * float(radii[level]), level))

    def clear_um(
        self, points: Numbers, width: float, level: int, *, within: float, ease: tuple[int, float] = (0, 0.0)
    ) -> float:
        """Clear distance of a strip to what is on its level, negative where they overlap, at most `within`.

        Args:
            points: of the strip, (N, 2).
            width: of the strip.
            level: where both lie.
            within: what is farther away does not count.
            ease: what came after so many pieces may be so much nearer.
        """
        mine, rows = segments(points, width, level), self._rows[: self.count]
        near = (rows[:, 5] == level) & _touching(_hull(mine), rows, within)
        eased = ease[1] * (np.flatnonzero(near) >= ease[0])
        return min(within, _least_um(mine, rows[near], within=within, eased=eased))

    def clear_of_discs_um(self, at: Numbers, radii: Numbers) -> float:
        """Least clear distance of discs at one place, one of these radii (levels,) on every level above 0."""
        rows = self._rows[: self.count]
        radius = radii[rows[:, 5].astype(int)]
        gaps = _to_segment(at, rows[:, :2], rows[:, 2:4]) - rows[:, 4] - radius
        return float(np.min(gaps[radius > 0], initial=np.inf))

    def _append(self, rows: Numbers) -> None:
        if self.count + len(rows) > len(self._rows):
            self._rows = np.vstack([self._rows, np.zeros((len(self._rows) + len(rows), 10))])
        self._rows[self.count : self.count + len(rows)] = rows
        self.count += len(rows)


def gaps_um(pieces: Sequence[Numbers], wanted: Sequence[int], *, within: float) -> list[float]:
    """Clear distances of strips to the nearest other one of their level.

    Args:
        pieces: of each strip its `segments`.
        wanted: which strips.
        within: what is farther away counts as infinitely far.
    """
    if not wanted:
        return []
    hulls = np.vstack([_hull(piece) for piece in pieces])
    found = []
    for index in wanted:
        near = _touching(hulls[index : index + 1], hulls, within) & (hulls[:, 5] == hulls[index, 5])
        near[index] = False
        others = [pieces[other] for other in np.flatnonzero(near).tolist()]
        least = _least_um(pieces[index], np.vstack(others), within=within) if others else np.inf
        found.append(least if least <= within else np.inf)
    return found


def joined_um(land: float, width: float) -> float:
    """How far from the middle of a land of this radius a line ends, so that both join evenly thick."""
    return land - width * width / (24 * land) + pi / 8 * width


def segments(points: Numbers, width: float, level: int) -> Numbers:
    """A strip's pieces, (M, 10): start, end, half width, level, and the box around."""
    start, end = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    found = np.empty((len(start), 10))
    found[:, :2], found[:, 2:4], found[:, 4], found[:, 5] = start, end, width / 2, level
    found[:, 6:8] = np.minimum(start, end) - width / 2
    found[:, 8:] = np.maximum(start, end) + width / 2
    return found


def _hull(rows: Numbers) -> Numbers:
    """One row whose box holds those of all rows."""
    found = rows[:1].copy()
    found[:, 6:8], found[:, 8:] = rows[:, 6:8].min(axis=0), rows[:, 8:].max(axis=0)
    return found


def _touching(one: Numbers, rows: Numbers, within: float) -> Mask:
    """Which boxes of rows (N, 10) come so near to the box of the one row (1, 10)."""
    low, high = rows[:, 6:8] - within, rows[:, 8:] + within
    inside = (one[:, 6:8] <= high) & (one[:, 8:] >= low)
    return inside[:, 0] & inside[:, 1]


def _least_um(mine: Numbers, rows: Numbers, *, within: float, eased: npt.ArrayLike = 0.0) -> float:
    """Least clear distance between two sets of pieces, inf where all are farther apart than `within`."""
    if not len(rows):
        return float("inf")
    mine = mine[_touching(_hull(rows), mine, within)]
    left, up, right, down = (rows[:, 6:] + within * np.array([-1, -1, 1, 1])).T
    own = mine[:, 6:, None]
    close = (own[:, 0] <= right) & (own[:, 2] >= left)
    close &= (own[:, 1] <= down) & (own[:, 3] >= up)
    first, second = np.nonzero(close)
    if not len(first):
        return float("inf")
    a, b = mine[first], rows[second]
    bonus = np.broadcast_to(eased, len(rows))[second]
    return float(np.min(_apart(a, b) - a[:, 4] - b[:, 4] + bonus))


def _apart(first: Numbers, second: Numbers) -> Numbers:
    """Distances (K,) of the middle lines of pieces (K, 10), pair by pair; 0 where they cross."""
    a, b, c, d = first[:, :2], first[:, 2:4], second[:, :2], second[:, 2:4]
    ends = ((a, c, d), (b, c, d), (c, a, b), (d, a, b))
    found = np.minimum.reduce([_to_segment(*three) for three in ends])
    crossing = (_side(a, c, d) * _side(b, c, d) < 0) & (_side(c, a, b) * _side(d, a, b) < 0)
    return np.where(crossing, 0.0, found)


def _to_segment(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    along, away = end - start, point - start
    squared = along[:, 0] ** 2 + along[:, 1] ** 2
    fraction = (along[:, 0] * away[:, 0] + along[:, 1] * away[:, 1]) / np.maximum(squared, 1e-12)
    rest = away - np.clip(fraction, 0, 1)[:, None] * along
    return np.hypot(rest[:, 0], rest[:, 1])


def _side(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    (x, y), (u, v) = (end - start).T, (point - start).T
    return x * v - y * u
