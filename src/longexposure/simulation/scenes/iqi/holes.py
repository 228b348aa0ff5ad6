"""Plates with holes, pores, discs and balls."""

from __future__ import annotations

from collections import Counter
from math import cos, log1p, pi, sin
from typing import NamedTuple

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, rotated
from longexposure.simulation.geometry.primitives import Ball, Cylinder, Primitive, Scene, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)
from longexposure.simulation.scenes.iqi.indicator import CONTRAST, PLATES, Indicator, depth_of_um, guide_mu

HOLES_PX = (1.5, 12.0)
"""Diameters in pixels as seen at z = 0."""


class _Spot(NamedTuple):
    """Where a detail is seen, um from the middle, and its radius."""

    at: Numbers
    radius: float


class _Holes(Indicator):
    """Plates with the details in and on them while they are drawn."""

    def __init__(self, random: Random, view: View) -> None:
        super().__init__(random, view)
        self.plates = [self.base()] if bernoulli(self.random, 0.7) else []
        for _ in range(integer(self.random, 0 if self.plates else 1, 3)):
            self.plates.append(self._plaque())
        self.primitives: list[Primitive] = []
        self.occupied = np.zeros((0, 3))
        self.counts: Counter[str] = Counter(dict.fromkeys(("holes", "pores", "discs", "balls"), 0))

    def _plaque(self) -> Slab:
        """A thin plate of its own upon the others, as in ASTM E1742."""
        random = self.random
        level = self.plates[-1].top if self.plates else 0.0
        material = self.material(PLATES, self.deepest(4 * self.pixel))
        thick = self.depth(material, self.deepest(8 * self.pixel))
        side = min(self.view.extent_um)
        sides = (side * uniform(random, 0.3, 0.9), side * uniform(random, 0.2, 0.7))
        at = self.place(self.anywhere(0.7), level)
        heights = {"bottom": level, "top": level + thick}
        return Slab(material=material, at=at, sides=sides, turn_deg=part_angle_deg(random), **heights)

    def below(self, spot: _Spot) -> tuple[Slab | None, bool]:
        """The highest plate that holds the spot, if any, and whether no edge crosses the spot."""
        for plate in reversed(self.plates):
            away = np.subtract(self.place(spot.at, plate.top), plate.at)
            inside = np.array(plate.sides) / 2 - np.abs(rotated(away, -plate.turn_deg))
            if inside.min() > spot.radius:
                return plate, True
            if inside.min() > -spot.radius:
                return plate, False
        return None, True

    def add(self, spot: _Spot, room: float, kind: str | None = None) -> None:
        """Put a detail there, if it stays this far from all others and no plate's edge crosses it."""
        away = np.hypot(*(self.occupied[:, :2] - spot.at).T) - self.occupied[:, 2]
        plate, clear = self.below(spot)
        if not clear or away.min(initial=np.inf) < spot.radius + room:
            return
        kinds = ("discs", "balls") if plate is None else ("holes",) * 6 + ("pores", "discs", "discs", "balls")
        self._make(kind or choice(self.random, kinds), spot, plate)
        self.occupied = np.vstack([self.occupied, [*spot.at, spot.radius]])

    def _make(self, kind: str, spot: _Spot, plate: Slab | None) -> None:
        wide = 2 * spot.radius
        top = plate.top if plate else 0.0
        at = self.place(spot.at, top)
        if plate is not None and kind == "pores" and wide <= plate.top - plate.bottom:
            middle = (*at, top - spot.radius)
            found: Primitive = Ball(material=plate.material, amount=-1.0, at=middle, radius=spot.radius)
        elif plate is not None and kind in ("holes", "pores"):
            kind, thick = "holes", plate.top - plate.bottom
            deep = min(self.deepest(wide), thick)
            # Through where that is a faint enough contrast, or any depth.
            faint = thick <= min(deep, depth_of_um(plate.material, CONTRAST[1]))
            deep = thick if faint and bernoulli(self.random, 0.5) else self.depth(plate.material, deep)
            low = max(top - deep, plate.bottom)
            found = Cylinder(
                material=plate.material, amount=-1.0, at=at, radius=spot.radius, bottom=low, top=top
            )
        elif kind == "discs" or top + wide > 0.1 * self.view.source_um:
            kind, material = "discs", self.material(PLATES, self.deepest(wide))
            high = top + self.depth(material, self.deepest(wide))
            found = Cylinder(material=material, at=at, radius=spot.radius, bottom=top, top=high)
        else:
            wanted = log_uniform(self.random, *self.contrast)
            material = min(PLATES, key=lambda name: abs(np.log(guide_mu(name) * wide / log1p(wanted))))
            found = Ball(material=material, at=(*at, top + spot.radius), radius=spot.radius)
        self.primitives.append(found)
        self.counts[kind] += 1

    def grid(self) -> None:
        """Holes or discs in rows and columns, diameters falling along one axis, contrast by chance."""
        random = self.random
        columns, rows = integer(random, 3, 8), integer(random, 2, 6)
        sizes = np.sort([self.size(HOLES_PX) for _ in range(columns)])
        pitch = sizes[-1] + uniform(random, 4, 16) * self.pixel
        middle, turn = self.anywhere(0.8), part_angle_deg(random)
        kind = "holes" if bernoulli(random, 0.75) else "discs"
        for i in range(columns):
            for j in range(rows):
                cell = np.array([i - (columns - 1) / 2, j - (rows - 1) / 2]) * pitch
                spot = _Spot(rotated(cell, turn) + middle, float(sizes[i]) / 2)
                seen = bool(np.all(np.abs(spot.at) < np.array(self.view.extent_um) / 2))
                if seen and len(self.occupied) < self.wanted:
                    self.add(spot, self.pixel, kind if self.below(spot)[0] else "discs")

    def scatter(self) -> None:
        """Details anywhere, some of them touching the one before."""
        random = self.random
        for _ in range(8 * self.wanted):
            if len(self.occupied) >= self.wanted:
                return
            spot = _Spot(self.anywhere(), self.size(HOLES_PX) / 2)
            room = uniform(random, 2, 12) * self.pixel
            if len(self.occupied) and bernoulli(random, 0.12):
                x, y, radius = self.occupied[-1].tolist()
                heading = uniform(random, 0, 2 * pi)
                way = np.array([cos(heading), sin(heading)]) * (radius + spot.radius)
                spot, room = _Spot(np.array([x, y]) + way, spot.radius), -1e-6 * spot.radius
            self.add(spot, room)


def hole_iqi(random: Random, *, view: View) -> Scene:
    """Plates with blind and through holes, pores, raised discs and small balls, in grids and scattered."""
    holes = _Holes(random, view)
    for _ in range(integer(random, 0, 3)):
        holes.grid()
    holes.scatter()
    facts = {**holes.counts, "plates": len(holes.plates)}
    return holes.scene("hole_iqi", holes.plates, holes.primitives, facts)
