"""Power modules: dies soldered on copper on ceramic, with thick aluminium wires.

Typical figures: dies of 4 to 12.5 mm, soldered with 70 to 120 um on copper of 0.2 to 0.3 mm on alumina of
0.38 or 0.63 mm (DCB), wires of 125 to 400 um with loops of 0.9 to 2.4 mm, voids of a few per cent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import pi

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Lattice, Place, Primitive, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import Bonding, Loop, bond
from longexposure.simulation.scenes.components.features import box, slab_feature
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

Rectangle = tuple[float, float, float, float]
"""Middle x and y, width and height, um."""


@dataclass(frozen=True, kw_only=True)
class _Module:
    """A ceramic with copper on both sides, um; z = 0 is the upper side of its islands.

    Attributes:
        sides: of the ceramic.
        copper, ceramic: thicknesses.
        gap: between islands.
        islands: pieces of the upper copper.
        solder, layer: alloy below the dies and its thickness.
        thickness: of the dies.
        wire, loop: diameter and largest height of the wires.
        void: radius of the largest void.
    """

    sides: Place
    copper: float
    ceramic: float
    gap: float
    islands: tuple[Rectangle, ...]
    solder: str
    layer: float
    thickness: float
    wire: float
    loop: float
    void: float

    @classmethod
    def drawn(cls, random: Random) -> _Module:
        sides = uniform(random, 22e3, 45e3), uniform(random, 20e3, 40e3)
        gap = uniform(random, 600, 1000)
        return cls(
            sides=sides,
            copper=choice(random, (200.0, 300.0, 300.0)),
            ceramic=choice(random, (380.0, 630.0)),
            gap=gap,
            islands=tuple(_split(random, (0.0, 0.0, sides[0] - 3000, sides[1] - 3000), gap, deep=3)),
            solder=choice(random, ("SAC305", "SAC305", "Pb", "Sn63Pb37")),
            layer=uniform(random, 70, 120),
            thickness=uniform(random, 70, 250),
            wire=choice(random, (125.0, 200.0, 250.0, 300.0, 375.0, 400.0)),
            loop=uniform(random, 900, 2400),
            void=log_uniform(random, 60, 350),
        )

    def substrate(self, random: Random, unit: Frame) -> Iterator[Primitive]:
        """The ceramic, the copper below it, the islands above it with their rows of dimples."""
        low = -self.copper - self.ceramic
        yield box("alumina", unit, self.sides, low, -self.copper)
        below = self.sides[0] - 2000, self.sides[1] - 2000
        yield box("Cu", unit, below, low - self.copper, low)
        for x, y, width, height in self.islands:
            yield box("Cu", unit, (width, height), -self.copper, 0.0, x=x, y=y)
        pitch = uniform(random, 900, 1300)
        for side, frame in enumerate(unit.quarters()):
            yield Lattice(
                material="Cu",
                amount=-1,
                at=frame.place(0.0, below[1 - side % 2] / 2 - 450),
                sides=(below[side % 2] - 2000, pitch),
                pitch=(pitch, pitch),
                cell=(550.0, 550.0),
                bottom=low - self.copper,
                top=low - 0.3 * self.copper,
                turn_deg=frame.turn_deg,
                pattern="dot",
            )

    def die(self, random: Random, unit: Frame, sight: Sight, chip: Rectangle) -> Iterator[Feature]:
        """The solder below a die with its voids, and the die.

        Gas in the solder: few large voids, many small ones, of half the layer's thickness to all of it.
        """
        (x, y, *sides), layer = chip, self.layer
        frame = unit.inner(x, y)
        if not sight.sees((*frame.at, 0.0), max(sides)):
            return
        fraction, covered, voids = log_uniform(random, 0.01, 0.15), 0.0, list[Primitive]()
        for _ in range(400):
            radius = self.void * max(random.random() ** 2, 0.05)
            covered += pi * radius**2
            if covered > fraction * sides[0] * sides[1]:
                break
            at = frame.place(*(uniform(random, -0.49, 0.49) * side for side in sides))
            top = layer * min(uniform(random, 0.5, 1.4), 1.0)
            if sight.sees((*at, 0.0), radius):
                voids.append(
                    Cylinder(material=self.solder, amount=-1, at=at, radius=radius, bottom=0.0, top=top)
                )
        solder = box(self.solder, frame, (sides[0] + 200, sides[1] + 200), 0.0, layer)
        yield slab_feature("thermal pad", solder, voids)
        yield slab_feature("die", box("Si", frame, (sides[0], sides[1]), layer, layer + self.thickness))

    def wires(
        self, random: Random, unit: Frame, sight: Sight, *, chip: Rectangle, island: Rectangle
    ) -> Iterator[Feature]:
        """Parallel thick wires: from stitch to stitch over the die, then down onto another island."""
        quarter, land = self.landing(random, chip, island)
        if not land:
            return
        loop = Loop(kink=0.28, fall=2.2)
        bonding = Bonding(material="Al", diameter=self.wire, ball=0.0, loop=loop, sway=0.01)
        top = self.layer + self.thickness
        frame = unit.inner(chip[0], chip[1], 90.0 * quarter)
        along, half = chip[2 + quarter % 2], chip[3 - quarter % 2] / 2
        number = min(integer(random, 3, 12), int(0.8 * along / (1.8 * self.wire)))
        for index in range(number):
            x = ((index + 0.5) / number - 0.5) * 0.8 * along
            end = land + uniform(random, -150, 150)
            for start, stop in pairwise(((x, -0.55 * half, top), (x, 0.35 * half, top), (x, end, 0.0))):
                span = stop[1] - start[1]
                if sight.sees(frame.point(x, (start[1] + stop[1]) / 2, top), span / 2 + self.loop):
                    ends = frame.point(*start), frame.point(*stop)
                    yield bond(random, bonding, *ends, loop_um=min(self.loop, 0.4 * span))

    def landing(self, random: Random, chip: Rectangle, island: Rectangle) -> tuple[int, float]:
        """Where a die's wires leave to, in quarters of a turn from y, and how far; 0 um for nowhere."""
        for quarter in random.permutation(4).tolist():
            own = Frame((chip[0], chip[1]), 90.0 * quarter)
            dx, dy = own.place(0.0, 1.0)[0] - chip[0], own.place(0.0, 1.0)[1] - chip[1]
            edge = island[3 - quarter % 2] / 2 - (dx * (chip[0] - island[0]) + dy * (chip[1] - island[1]))
            land, wide = edge + self.gap + 700, 0.4 * chip[2 + quarter % 2]
            corners = own.places(((-wide, land - 650), (wide, land + 650), (wide, land - 650)))
            for x, y, width, height in self.islands:
                if all(abs(u - x) <= width / 2 and abs(v - y) <= height / 2 for u, v in corners):
                    return quarter, land
        return 0, 0.0


def power_module(random: Random, *, view: View) -> Scene:
    """Power dies soldered on copper islands on alumina, thick aluminium wires, solder full of voids."""
    sight, module = Sight(view), _Module.drawn(random)
    chips = [(island, chip) for island in module.islands for chip in _chips(random, island)]
    x, y, width, height = chips[integer(random, 0, len(chips) - 1)][1]
    focus = x + uniform(random, -0.5, 0.5) * width, y + uniform(random, -0.5, 0.5) * height
    frame = sight.aimed((*focus, 0.0), part_angle_deg(random))
    pitch = module.sides[0] + 3000, module.sides[1] + 3000
    features: list[Feature] = []
    surroundings: list[Primitive] = []
    for unit in sight.copies(frame, pitch, z=0.0, most=4):
        surroundings += module.substrate(random, unit)
        for island, chip in chips:
            features += module.die(random, unit, sight, chip)
            features += module.wires(random, unit, sight, chip=chip, island=island)
    facts: dict[str, float | str] = {
        "width_um": module.sides[0],
        "height_um": module.sides[1],
        "copper_um": module.copper,
        "ceramic_um": module.ceramic,
        "islands": len(module.islands),
        "dies": len(chips),
        "solder": module.solder,
        "solder_um": module.layer,
        "wire_um": module.wire,
        "turn_deg": frame.turn_deg,
    }
    return Scene("power_module", tuple(features), tuple(surroundings), facts)


def _split(random: Random, area: Rectangle, gap: float, *, deep: int) -> Iterator[Rectangle]:
    """A rectangle of copper cut into islands, across its longer side, again and again."""
    x, y, width, height = area
    if deep == 0 or max(width, height) < 14e3 or (deep < 3 and bernoulli(random, 0.3)):
        yield area
        return
    long = max(width, height)
    first = uniform(random, 0.3, 0.7) * (long - gap)
    second = long - gap - first
    before, after = -(long - first) / 2, (long - second) / 2
    for shift, side in ((before, first), (after, second)):
        piece = (x + shift, y, side, height) if width >= height else (x, y + shift, width, side)
        yield from _split(random, piece, gap, deep=deep - 1)


def _chips(random: Random, island: Rectangle) -> Iterator[Rectangle]:
    """One to three dies in a row along an island that is large enough."""
    x, y, width, height = island
    long, short = max(width, height), min(width, height)
    side = min(uniform(random, 4000, 12500), short - 1600)
    number = min(integer(random, 1, 3), int((long - 1000) / (side + 800)))
    for index in range(number):
        along = ((index + 0.5) / number - 0.5) * long
        at = (x + along, y) if width >= height else (x, y + along)
        yield (*at, side, side * uniform(random, 0.8, 1.0))
