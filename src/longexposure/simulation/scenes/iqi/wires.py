"""Wires in series, in pairs and loose, whole and broken."""

from __future__ import annotations

from collections import Counter
from math import log1p, sqrt

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, rotated
from longexposure.simulation.geometry.primitives import Primitive, Scene, Wire
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.conductors import parallel
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    part_angle_deg,
    uniform,
)
from longexposure.simulation.scenes.iqi.indicator import CONTRAST, GAPS_PX, Indicator, guide_mu

WIRES_PX = (0.8, 4.0)
"""Diameters in pixels as seen at z = 0."""

_WIRES = ("Al", "Cu", "Ni", "SAC305", "Ag", "Au")
_SERIES = 10**-0.1
"""Ratio of successive diameters in a series of wires, ISO 19232-1."""


class _Wires(Indicator):
    """Wires that lie on the face z = 0 while they are drawn."""

    def __init__(self, random: Random, view: View) -> None:
        super().__init__(random, view)
        self.primitives: list[Primitive] = []
        self.counts: Counter[str] = Counter({"wires": 0, "gaps": 0, "pairs": 0})

    @property
    def full(self) -> bool:
        return self.counts["wires"] + self.counts["gaps"] >= min(self.wanted, 250)

    def metal(self, diameter: float) -> str:
        """One that makes a contrast in reach, or what comes nearest to that."""
        low, high = (log1p(contrast) / diameter for contrast in (CONTRAST[0], 3 * CONTRAST[1]))
        fitting = [name for name in _WIRES if low <= guide_mu(name) <= high]
        nearest = min(_WIRES, key=lambda name: abs(np.log(guide_mu(name) / sqrt(low * high))))
        return choice(self.random, fitting or [nearest])

    def wire(self, course: Numbers, diameter: float, material: str, broken: float = 0.4) -> None:
        """A wire along a course (N, 2) as seen, um, at times broken by gaps of `GAPS_PX`."""
        random = self.random
        length = np.append(0.0, np.cumsum(np.hypot(*np.diff(course, axis=0).T)))
        cuts = []
        if bernoulli(random, broken):
            least, wide = 0.0, self.size(GAPS_PX)
            for at in np.sort(random.uniform(0.1, 0.9, integer(random, 1, 3))) * length[-1]:
                half = (wide + diameter) / 2
                if at - half - least > diameter and length[-1] - at - half > diameter:
                    cuts.append((at - half, at + half))
                    least, wide = at + half + 4 * self.pixel, self.size(GAPS_PX)
        begins, ends = [0.0, *(end for _, end in cuts)], [*(begin for begin, _ in cuts), length[-1]]
        for begin, end in zip(begins, ends, strict=True):
            along = np.concatenate([[begin], length[(length > begin) & (length < end)], [end]])
            points = np.column_stack([np.interp(along, length, course[:, axis]) for axis in (0, 1)])
            level = np.full((len(points), 1), diameter / 2)
            line = np.hstack([self.places(points, diameter / 2), level]).tolist()
            wire = Wire(material=material, points=tuple((x, y, z) for x, y, z in line), diameter=diameter)
            self.primitives.append(wire)
        self.counts.update(wires=1, gaps=len(cuts))

    def loose(self) -> None:
        """One wire at any angle, straight or gently curved, at times with a second one beside it."""
        random = self.random
        long, turn = self.size((15, 400)), uniform(random, 0, 360)
        along = np.linspace(-0.5, 0.5, 17 if bernoulli(random, 0.5) else 2)
        bow = uniform(random, -0.15, 0.15) * (1 - 4 * along**2) if len(along) > 2 else 0 * along
        course = rotated(np.stack([along, bow], axis=1) * long, turn) + self.anywhere()
        diameter = self.size(WIRES_PX)
        material = self.metal(diameter)
        self.wire(course, diameter, material)
        if bernoulli(random, 0.25):
            self.wire(parallel(course, diameter + self.size(GAPS_PX)), diameter, material)
            self.counts["pairs"] += 1

    def series(self, *, duplex: bool) -> None:
        """Straight parallel wires of falling diameter, or pairs of them whose gap falls with them."""
        random = self.random
        count, long, turn = integer(random, 4, 8), self.size((30, 220)), part_angle_deg(random)
        diameter = self.size((1.6, WIRES_PX[1]))
        material, middle = self.metal(diameter), self.anywhere(0.8)
        gap, y = float(np.clip(diameter, *np.multiply(GAPS_PX, self.pixel))), 0.0
        pitch = uniform(random, 6, 25) * self.pixel
        for _ in range(count):
            for aside in (0.0, diameter + gap) if duplex else (0.0,):
                course = np.array([[-long / 2, y + aside], [long / 2, y + aside]])
                self.wire(rotated(course, turn) + middle, diameter, material, 0.1)
            self.counts["pairs"] += duplex
            y += pitch + (2 * diameter + gap if duplex else diameter)
            diameter = max(diameter * _SERIES, WIRES_PX[0] * self.pixel)
            gap = max(gap * _SERIES, GAPS_PX[0] * self.pixel)


def wire_iqi(random: Random, *, view: View) -> Scene:
    """Wires in series, in pairs and loose, whole and broken, in free air or on a plate."""
    wires = _Wires(random, view)
    plates = [wires.base()] if bernoulli(random, 0.5) else []
    while not wires.full:
        kind = random.random()
        if kind < 0.12:
            wires.series(duplex=kind < 0.06)
        else:
            wires.loose()
    return wires.scene("wire_iqi", plates, wires.primitives, dict(wires.counts))
