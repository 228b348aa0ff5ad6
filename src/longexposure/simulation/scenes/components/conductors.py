"""Lines of conductors: parallel, meandered and rounded ones, and clear distances between all of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, ceil, hypot, pi, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.frame import Mask, Numbers
from longexposure.simulation.scenes.draws import Random


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


def line_end_um(land: float, width: float) -> float:
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
    # Distances of the middle lines, pair by pair; 0 where they cross.
    p, q, u, v = a[:, :2], a[:, 2:4], b[:, :2], b[:, 2:4]
    ends = ((p, u, v), (q, u, v), (u, p, q), (v, p, q))
    apart = np.minimum.reduce([_to_segment(*three) for three in ends])
    crossing = (_side(p, u, v) * _side(q, u, v) < 0) & (_side(u, p, q) * _side(v, p, q) < 0)
    return float(np.min(np.where(crossing, 0.0, apart) - a[:, 4] - b[:, 4] + bonus))


def _to_segment(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    along, away = end - start, point - start
    squared = along[:, 0] ** 2 + along[:, 1] ** 2
    fraction = (along[:, 0] * away[:, 0] + along[:, 1] * away[:, 1]) / np.maximum(squared, 1e-12)
    rest = away - np.clip(fraction, 0, 1)[:, None] * along
    return np.hypot(rest[:, 0], rest[:, 1])


def _side(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    (x, y), (u, v) = (end - start).T, (point - start).T
    return x * v - y * u


def parallel(points: npt.ArrayLike, offset: float) -> Numbers:
    """The line (N, 2) moved sideways by `offset`, to the left hand where y points up, with mitred corners."""
    line = np.asarray(points, np.float64)
    steps = np.diff(line, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.hypot(*steps.T)[:, None]
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    return line + offset * (before + after) / (1 + np.sum(before * after, axis=1, keepdims=True))


def meandered(points: npt.ArrayLike, random: Random, *, rise: float, tooth: float) -> Numbers:
    """The line (N, 2) with teeth on its longest leg, to its left hand as in `parallel`, which lengthen it.

    Args:
        points: of the line.
        random: draws how many teeth; they lie about the middle of the leg's part nearest to the origin.
        rise: height of the teeth, at least `tooth`.
        tooth: from flank to flank, middle to middle.
    """
    line = np.asarray(points, np.float64)
    legs = np.hypot(*np.diff(line, axis=0).T)
    leg = int(np.argmax(legs))
    along = (line[leg + 1] - line[leg]) / legs[leg]
    room = legs[leg] - 4 * rise
    count = min(int(room / (2 * tooth)), int(random.integers(3, 30)))
    if count < 1:
        return line
    middle = float(
        np.clip(-along @ line[leg], count * tooth + 2 * rise, legs[leg] - count * tooth - 2 * rise)
    )
    turn = np.linspace(0, pi, 4)
    bow = tooth / 2 * np.stack([-np.cos(turn), np.sin(turn)], axis=1)
    up, down = np.add(bow, [tooth / 2, rise - tooth / 2]), np.add(bow * [1, -1], [1.5 * tooth, tooth / 2])
    waves = [np.add(both, [(2 * k - count) * tooth, 0]) for k in range(count) for both in (up, down)]
    teeth = np.vstack([[-count * tooth, 0], *waves, [count * tooth, 0]])[:-5]
    teeth = np.vstack([teeth, [teeth[-1, 0], 0]])
    return np.vstack(
        [
            line[: leg + 1],
            line[leg] + middle * along + teeth @ [along, [-along[1], along[0]]],
            line[leg + 1 :],
        ]
    )


def rounded(points: npt.ArrayLike, radius: float, sagitta: float) -> Numbers:
    """The line (N, 2) with arcs of this radius in its corners, or smaller ones where a leg is too short.

    Args:
        points: no two successive ones equal.
        radius: of the arcs, 0 leaves the corners.
        sagitta: largest distance of the chords that are drawn from the arc.
    """
    line = np.asarray(points, np.float64)
    found = [line[:1]]
    for before, corner, after in zip(line[:-2], line[1:-1], line[2:], strict=True):
        back, ahead = before - corner, after - corner
        legs = hypot(*back), hypot(*ahead)
        back, ahead = back / legs[0], ahead / legs[1]
        half = acos(float(np.clip(back @ ahead, -1, 1))) / 2
        bend = min(radius, 0.49 * min(legs) * tan(half))
        if bend <= sagitta or half > 0.499 * pi:
            found.append(corner[None])
            continue
        middle = corner + (back + ahead) / hypot(*(back + ahead)) * bend / sin(half)
        start, end = corner + back * bend / tan(half) - middle, corner + ahead * bend / tan(half) - middle
        angle = pi - 2 * half
        fraction = np.linspace(0, 1, ceil(angle / (2 * acos(1 - sagitta / bend))) + 1)[:, None]
        arc = np.sin((1 - fraction) * angle) * start + np.sin(fraction * angle) * end
        found.append(middle + arc / sin(angle))
    return np.vstack([*found, line[-1:]])
