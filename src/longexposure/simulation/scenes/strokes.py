"""Strokes: a part's own turned coordinates, sizes that a view resolves, rounded and parallel lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import acos, ceil, hypot, pi, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.primitives import Place
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.layout import Numbers, Random, as_places, spread, turned


@dataclass(frozen=True)
class Sheet:
    """Flat coordinates of a part of its own, turned about the middle of the view.

    Attributes:
        view: who looks.
        turn_deg: from the part's own x to the view's, from x towards y.
        margin_um: how far beside the view something can stand that oblique rays still reach.
    """

    view: View
    turn_deg: float
    margin_um: float

    @property
    def reach_um(self) -> float:
        """Half the side of the square, in own coordinates, that covers all that is seen."""
        return hypot(*self.view.extent_um) / 2 + self.margin_um

    def places(self, points: npt.ArrayLike) -> tuple[Place, ...]:
        """Own coordinates (N, 2) as places of the scene."""
        return as_places(self.turned(points))

    def turned(self, points: npt.ArrayLike) -> Numbers:
        """Own coordinates (N, 2) as coordinates of the scene, (N, 2)."""
        return np.asarray(points, np.float64).reshape(-1, 2) @ self.axes

    @cached_property
    def axes(self) -> Numbers:
        return turned(np.eye(2), self.turn_deg)

    def sees(self, points: npt.ArrayLike, around_um: float = 0.0, height_um: float | None = None) -> bool:
        """Whether the box around points (N, 2), own coordinates, may be seen, at one height or at any."""
        corners = self.turned(points) + self._lean(height_um)
        margin = self.margin_um if height_um is None else self._widening * abs(height_um)
        half = np.array(self.view.extent_um) / 2 + margin + around_um
        return bool(np.all(corners.min(axis=0) < half) and np.all(corners.max(axis=0) > -half))

    def anywhere(self, random: Random, height_um: float = 0.0) -> Numbers:
        """Own coordinates (2,) of a place that is seen at this height."""
        seen_at = random.uniform(-0.5, 0.5, 2) * self.view.extent_um
        return self.axes @ (seen_at - self._lean(height_um))

    def _lean(self, height_um: float | None) -> Numbers:
        return np.array(self.view.slope) * (height_um or 0.0)

    @property
    def _widening(self) -> float:
        """How much farther out than z = 0 the rays at the corners reach for each um of height."""
        return hypot(*self.view.extent_um) / 2 / self.view.source_um


def lay(random: Random, view: View, *, height_um: float) -> Sheet:
    """A sheet at a random angle, a quarter of them nearly along the view's axes.

    Args:
        random: of the scene.
        view: who looks.
        height_um: largest height above or below z = 0 of what shall lie on it.
    """
    straight = float(random.integers(4)) * 90 + 1.5 * float(random.standard_normal())
    turn = straight if random.random() < 0.25 else float(random.uniform(0, 360))
    flat = Sheet(view, turn, 0.0)
    return Sheet(view, turn, height_um * (hypot(*view.slope) + flat._widening))


def seen(random: Random, view: View, *, um: tuple[float, float], px: tuple[float, float]) -> float:
    """A real size between the two of `um`, log-uniform, of those that look as large as `px` where there are.

    The real range wins: where the view shows none of it at such a size, the nearest end is drawn.
    """
    low, high = (float(np.clip(size * view.pixel_um, *um)) for size in px)
    return spread(random, low, high)


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
        found.append(_arc(before, corner, after, radius=radius, sagitta=sagitta))
    return np.vstack([*found, line[-1:]])


def _arc(before: Numbers, corner: Numbers, after: Numbers, *, radius: float, sagitta: float) -> Numbers:
    back, ahead = before - corner, after - corner
    legs = hypot(*back), hypot(*ahead)
    back, ahead = back / legs[0], ahead / legs[1]
    half = acos(float(np.clip(back @ ahead, -1, 1))) / 2
    radius = min(radius, 0.49 * min(legs) * tan(half))
    if radius <= sagitta or half > 0.499 * pi:
        return corner[None]
    middle = corner + (back + ahead) / hypot(*(back + ahead)) * radius / sin(half)
    start, end = corner + back * radius / tan(half) - middle, corner + ahead * radius / tan(half) - middle
    angle = pi - 2 * half
    fraction = np.linspace(0, 1, ceil(angle / (2 * acos(1 - sagitta / radius))) + 1)[:, None]
    return middle + (np.sin((1 - fraction) * angle) * start + np.sin(fraction * angle) * end) / sin(angle)
