"""Strips with opens, shorts, notches and bites; hairlines."""

from __future__ import annotations

from collections import Counter
from math import ceil, hypot, sqrt

import numpy as np

from longexposure.simulation.geometry.frame import as_places, rotated
from longexposure.simulation.geometry.primitives import Cylinder, Place, Primitive, Scene, Slab, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.conductors import parallel
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)
from longexposure.simulation.scenes.iqi.indicator import GAPS_PX, PLATES, Indicator

LINES_PX, BRIDGES_PX = (2.0, 8.0), (1.0, 3.0)
"""Widths of strips and of bridges, in pixels as seen at z = 0."""


class _Lines:
    """A set of parallel strips with their faults, raised above z = 0 or cut into the plate below.

    Faults have the other sign than strips: they take metal away, or leave it where a strip is cut.
    """

    def __init__(self, iqi: Indicator, plate: Slab | None) -> None:
        self.iqi, random = iqi, iqi.random
        self.width, self.gap = iqi.size(LINES_PX), iqi.size((1.5, 8.0))
        self.long, self.turn = iqi.size((30, 180)), part_angle_deg(random)
        self.at, self.count = iqi.anywhere(), integer(random, 2, 6)
        deepest = iqi.deepest(2.5 * iqi.pixel)
        cut = plate if plate is not None and bernoulli(random, 0.4) else None
        self.sign = -1.0 if cut else 1.0
        self.material = cut.material if cut else iqi.material(PLATES, deepest)
        thick = (cut.top - cut.bottom) / 4 if cut else deepest
        self.height = iqi.depth(self.material, min(deepest, thick))
        self.low = -self.height if cut else 0.0
        self.primitives: list[Primitive] = []
        self.counts: Counter[str] = Counter()

    def _place(self, u: float, v: float) -> Place:
        x, y = rotated(np.array([u, v]), self.turn, self.iqi.place(self.at, 0.0)).tolist()
        return x, y

    def box(self, u: float, v: float, sides: Place, *, strip: bool, fraction: float = 1.0) -> None:
        """A box in the set's axes, of the strips' sign or of the other, for a fraction of their height."""
        self.primitives.append(
            Slab(
                material=self.material,
                amount=self.sign if strip else -self.sign,
                at=self._place(u, v),
                sides=sides,
                turn_deg=self.turn,
                bottom=self.low,
                top=self.low + fraction * self.height,
            )
        )

    def draw(self) -> None:
        """All strips, straight or bent at both ends, and their faults."""
        random, pitch = self.iqi.random, self.width + self.gap
        bent = log_uniform(random, 0.2, 0.6) * self.long if bernoulli(random, 0.3) else 0.0
        rise = bent * float(random.choice([-1.0, 1.0]))
        reach = self.long / 2
        course = np.array([[-reach - bent, rise], [-reach, 0], [reach, 0], [reach + bent, rise]])
        often = uniform(random, 0.1, 0.8)
        for number in range(self.count):
            v = (number - (self.count - 1) / 2) * pitch
            if bent:
                places = tuple(self._place(*point) for point in parallel(course, v).tolist())
                heights = {"bottom": self.low, "top": self.low + self.height, "amount": self.sign}
                self.primitives.append(
                    Track(material=self.material, points=places, width=self.width, **heights)
                )
            else:
                self.box(0.0, v, (self.long, self.width), strip=True)
            self.counts["strips"] += 1
            free = reach - 6 * self.iqi.pixel - (0.45 * self.count * pitch if bent else 0.0)
            self._faults(v, free, often, last=number == self.count - 1)

    def _faults(self, v: float, free: float, often: float, *, last: bool) -> None:
        """Faults along a strip, well apart."""
        random = self.iqi.random
        step = uniform(random, 12, 28) * self.iqi.pixel
        for u in np.arange(-free + step * random.random(), free, step).tolist():
            if bernoulli(random, often):
                kinds = ("opens", "opens", "notches", "bites", "pinholes", "spurs")
                self._fault(choice(random, kinds if last else (*kinds, "shorts", "shorts")), u, v)

    def _fault(self, kind: str, u: float, v: float) -> None:
        iqi, random, width = self.iqi, self.iqi.random, self.width
        side = float(random.choice([-1.0, 1.0]))
        fraction = 1.0 if bernoulli(random, 0.7) else uniform(random, 0.3, 1.0)
        if kind == "opens":
            self.box(u, v, (iqi.size(GAPS_PX), width), strip=False, fraction=fraction)
        elif kind == "shorts":
            middle, sides = v + (width + self.gap) / 2, (iqi.size(BRIDGES_PX), self.gap)
            self.box(u, middle, sides, strip=True, fraction=fraction)
        elif kind == "spurs":
            long = self.gap * uniform(random, 0.3, 0.7)
            self.box(u, v + (width + long) / 2, (iqi.size(BRIDGES_PX), long), strip=True, fraction=fraction)
        elif kind == "notches":
            deep = width * uniform(random, 0.3, 0.8)
            self.box(u, v + side * (width - deep) / 2, (iqi.size(GAPS_PX), deep), strip=False)
        elif kind == "bites":
            self._bite(u, v, side)
        else:
            heights = {"bottom": self.low, "top": self.low + self.height, "amount": -self.sign}
            radius = width * uniform(random, 0.25, 0.48)
            self.primitives.append(
                Cylinder(material=self.material, at=self._place(u, v), radius=radius, **heights)
            )
        self.counts[kind] += 1

    def _bite(self, u: float, v: float, side: float) -> None:
        """Half a disc out of the strip's edge, in bars of half a pixel or so."""
        radius = min(self.iqi.size((1.0, 3.5)), 0.85 * self.width)
        bars = int(np.clip(ceil(4 * radius / self.iqi.pixel), 3, 8))
        for bar in range(bars):
            along = radius * ((2 * bar + 1) / bars - 1)
            deep = sqrt(radius**2 - along**2)
            at = v + side * (self.width - deep) / 2
            self.box(u + along, at, (2 * radius / bars, deep), strip=False)


def _hairline(iqi: Indicator) -> Track:
    """A thin line across the image at any angle, gently bent, as faint as any detail."""
    width, random = iqi.size((0.8, 1.6)), iqi.random
    along, bow = np.linspace(-0.5, 0.5, 25), uniform(random, -0.1, 0.1)
    long = hypot(*iqi.view.extent_um) * uniform(random, 0.3, 1.2)
    course = rotated(np.stack([along, bow * (1 - 4 * along**2)], axis=1) * long, uniform(random, 0, 360))
    deepest = iqi.deepest(2 * iqi.pixel)
    material = iqi.material(PLATES, deepest)
    high = iqi.depth(material, deepest)
    places = as_places(iqi.places(course + iqi.anywhere(0.9), 0.0))
    return Track(material=material, points=places, width=width, bottom=0.0, top=high)


def line_iqi(random: Random, *, view: View) -> Scene:
    """Sets of strips, raised or cut, with opens, shorts, notches, bites, pinholes and spurs; hairlines."""
    iqi = Indicator(random, view)
    plates = [iqi.base()] if bernoulli(random, 0.6) else []
    kinds = ("strips", "opens", "shorts", "spurs", "notches", "bites", "pinholes", "hairlines")
    counts: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    primitives: list[Primitive] = []
    while counts.total() < iqi.wanted:
        lines = _Lines(iqi, plates[0] if plates else None)
        lines.draw()
        primitives += lines.primitives
        counts.update(lines.counts)
    for _ in range(integer(random, 0, 4)):
        primitives.append(_hairline(iqi))
        counts["hairlines"] += 1
    return iqi.scene("line_iqi", plates, primitives, dict(counts))
