"""Chip capacitors and resistors with their solder joints, on a board. z = 0 is the face of the laminate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import (
    Cylinder,
    Ellipsoid,
    Feature,
    Primitive,
    Scene,
    Track,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.arrays import bundle, joint_budget
from longexposure.simulation.scenes.components.board import cloth
from longexposure.simulation.scenes.components.features import about_box, box
from longexposure.simulation.scenes.components.solder import Pores, pad_voids
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

TITANATE = ("BaTiO3", 1.0)
"""The ceramic of capacitors, and how much of it there is in a full volume."""


@dataclass(frozen=True)
class Size:
    """A size of chip parts, um: length, width, heights of capacitors and of resistors, and terminations."""

    length: float
    width: float
    capacitor: float
    resistor: float
    end: float


SIZES: Mapping[str, Size] = {
    "01005": Size(400.0, 200.0, 200.0, 130.0, 100.0),
    "0201": Size(600.0, 300.0, 300.0, 230.0, 150.0),
    "0402": Size(1000.0, 500.0, 500.0, 350.0, 250.0),
    "0603": Size(1600.0, 800.0, 800.0, 450.0, 350.0),
    "0805": Size(2000.0, 1250.0, 850.0, 500.0, 450.0),
    "1206": Size(3200.0, 1600.0, 1150.0, 550.0, 500.0),
}
"""Sizes by their name in hundredths of an inch (IEC 60115-8, IEC 60384-21, makers' data sheets)."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """What the parts of one group have in common, um."""

    size: Size
    capacitor: bool
    height: float
    solder: str
    copper: float
    joint: float
    toe: float
    rise: float
    electrodes: float
    metal: float

    @classmethod
    def drawn(cls, random: Random, size: Size) -> _Group:
        capacitor, scale = bernoulli(random, 0.6), min(1.0, size.width / 500)
        return cls(
            size=size,
            capacitor=capacitor,
            height=size.capacitor * uniform(random, 0.6, 1.0) if capacitor else size.resistor,
            solder="SAC305" if bernoulli(random, 0.85) else "Sn63Pb37",
            copper=uniform(random, 18, 50),
            joint=uniform(random, 15, 50) * scale,
            toe=size.end * uniform(random, 0.4, 1.2),
            rise=uniform(random, 0.25, 0.9),
            electrodes=uniform(random, 0.15, 0.4),
            metal=uniform(random, 8, 35) * scale,
        )

    @property
    def seat(self) -> float:
        """Height of the parts' lower faces."""
        return self.copper + self.joint

    def row(self, random: Random, view: View, near: float) -> Iterator[Frame]:
        """One to ten parts side by side or end to end, the first within this fraction of the view."""
        x, y = (random.uniform(-near, near, 2) * view.extent_um).tolist()
        start = Frame((x, y), part_angle_deg(random))
        gap, count = uniform(random, 150, 500), integer(random, 1, 10)
        step = hypot(self.size.length + 2 * self.toe, self.size.width) + gap
        dx, dy = (0.0, step) if bernoulli(random, 0.8) else (step, 0.0)
        for index in range(count):
            turn = 180.0 * integer(random, 0, 1) + float(random.normal(0.0, 0.8))
            yield start.inner(dx * index, dy * index, turn)

    def body(self, frame: Frame) -> Feature:
        """The body with its terminations: caps of metal over its ends, blocks without their insides."""
        size, metal, seat, high = self.size, self.metal, self.seat, self.seat + self.height
        length, width = size.length - 2 * metal, size.width - 2 * metal
        primitives = [*self.inside(frame, length, width, seat + metal, high - metal)]
        for side in (-1, 1):
            x, sides = side * (size.length - size.end) / 2, (size.end, size.width)
            primitives.append(box("Cu", frame, sides, seat, high, x=x))
            x, sides = side * (size.length - size.end - metal) / 2, (size.end - metal, width)
            primitives.append(box("Cu", frame, sides, seat + metal, high - metal, x=x, amount=-1.0))
        about = about_box((size.length, size.width), frame.turn_deg, seat, high)
        return Feature("body", (*frame.at, seat + self.height / 2), size.length, tuple(primitives), about)

    def inside(
        self, frame: Frame, length: float, width: float, bottom: float, top: float
    ) -> Iterator[Primitive]:
        """A capacitor: ceramic and electrodes, of which half reach one end and half the other; or a resistor.

        A resistor is alumina with printed silver at both ends of its upper face.
        """
        if not self.capacitor:
            yield box("alumina", frame, (length, width), bottom, top)
            reach = self.size.end * 0.9
            for side in (-1, 1):
                x = side * (length - reach) / 2
                yield box("Ag", frame, (reach, width), top - 14, top, x=x, amount=0.8)
            return
        ceramic, amount = TITANATE
        yield box(ceramic, frame, (length, width), bottom, top, amount=amount)
        cover, margin = 0.12 * (top - bottom), min(0.3 * self.size.end, 100.0)
        active = (length - margin, width - 2 * min(0.12 * width, 100.0))
        for material, full in (("Ni", 1.0), (ceramic, -amount)):
            for side in (-1, 1):
                x, part = side * margin / 2, full * self.electrodes / 2
                yield box(material, frame, active, bottom + cover, top - cover, x=x, amount=part)

    def end_joint(self, random: Random, view: View, end: Frame) -> Feature:
        """Solder at the +x end: a hollow fillet of two wedges, its brim, the film below, the pad."""
        size, copper, half = self.size, self.copper, self.size.length / 2
        wide, reach = size.width, self.toe * uniform(random, 0.8, 1.0)
        top = self.seat + self.height * self.rise * uniform(random, 0.85, 1.1)
        low = copper + (top - copper) * uniform(random, 0.3, 0.55)
        main, upper = (
            Wedge(
                material=self.solder,
                at=end.place(half + sides[0] / 2, 0.0),
                sides=sides,
                bottom=copper,
                top=high,
                turn_deg=end.turn_deg,
            )
            for sides, high in (
                ((reach, wide), low),
                ((reach * uniform(random, 0.25, 0.5), 0.94 * wide), copper + top - low),
            )
        )
        film = box(self.solder, end, (size.end, wide), copper, self.seat, x=half - size.end / 2)
        brim = Ellipsoid(
            material=self.solder,
            at=end.point(half + 0.35 * reach, 0.0, copper),
            radii=(0.6 * reach, 0.56 * wide, 0.3 * (low - copper)),
            turn_deg=end.turn_deg,
            bottom=copper,
        )
        x, sides = half + (self.toe - size.end) / 2, (size.end + self.toe, 1.12 * wide)
        pad = box("Cu", end, sides, 0.0, copper, x=x)
        fraction, median = uniform(random, 0.02, 0.25), log_uniform(random, 15, 80)
        shown = size.end > 8 * view.pixel_um and bernoulli(random, 0.6)
        pores = Pores(fraction=fraction, median=median, sigma=0.6, round=0.6)
        voids = pad_voids(random, view, film, pores=pores, most=8) if shown else []
        about = about_box(main.sides, end.turn_deg, copper, top)
        at = end.point(half + reach / 2, 0.0, (copper + top) / 2)
        return Feature("joint", at, wide, (main, upper, brim, film, pad, *voids), about)

    def lines(self, random: Random, frame: Frame, board: float) -> Iterator[Primitive]:
        """From each pad a line to a via, or none."""
        edge, top = self.size.length / 2 + self.toe, self.copper
        width = self.size.width * uniform(random, 0.25, 0.6)
        radius = uniform(random, 120, 200) * min(1.0, self.size.width / 500)
        for turn in (0.0, 180.0):
            if bernoulli(random, 0.25):
                continue
            away = edge + uniform(random, 1.2, 4.0) * radius
            line = ((edge - width, 0.0), (away, uniform(random, -1, 1) * (away - edge)))
            points = frame.inner(0.0, 0.0, turn).places(line)
            yield Track(material="Cu", points=points, width=width, bottom=0.0, top=top)
            inner = 0.8 * radius
            yield Cylinder(
                material="Cu", at=points[1], radius=radius, inner_radius=inner, bottom=-board, top=top
            )


def chip_parts(random: Random, *, view: View) -> Scene:
    """Rows of chip capacitors and resistors from 01005 to 1206 at any angle, with fillets, pads and lines.

    Capacitors: barium titanate with inner electrodes over 15 to 40 % of the active height, nickel as copper;
    resistors: alumina with printed silver ends. Terminations of 8 to 35 um; joints of 15 to 50 um; fillets
    that rise over 25 to 90 % of the end, with pads 0.4 to 1.2 times a termination beyond it (IPC-7351).
    """
    board = uniform(random, 800, 1600)
    sight, occupied = Sight(view), list[tuple[float, float, float]]()
    features: list[Feature] = []
    others: list[Primitive] = [cloth(random, board)]
    # Sizes that are 8 px wide at least and no longer than 0.8 of the view.
    sizes = list(SIZES.values())
    wide = [i for i, size in enumerate(sizes) if size.width >= 8 * view.pixel_um]
    short = [i for i, size in enumerate(sizes) if size.length <= 0.8 * max(view.extent_um)]
    least = min(wide, default=len(sizes) - 1)
    sizes = sizes[least : max(max(short, default=0), least) + 1]
    for number in range(60):
        group = _Group.drawn(random, choice(random, sizes))
        # The first row passes near the middle of the view.
        for frame in group.row(random, view, near=0.55 if number else 0.15):
            radius = hypot(group.size.length + 2 * group.toe, group.size.width) / 2
            free = all(hypot(frame.at[0] - x, frame.at[1] - y) > radius + r for x, y, r in occupied)
            if not free or len(features) > 2 * joint_budget(view):
                continue
            occupied.append((*frame.at, radius))
            if sight.sees((*frame.at, 0.0), radius + group.height):
                features.append(group.body(frame))
                for turn in (0.0, 180.0):
                    features.append(group.end_joint(random, view, frame.inner(0.0, 0.0, turn)))
                others += group.lines(random, frame, board)
    for _ in range(integer(random, 0, 3)):
        low = -uniform(random, 100, board)
        others += bundle(random, view, line_um=uniform(random, 75, 150), bottom=low, top=low + 18)
    parts = float(sum(feature.kind == "body" for feature in features))
    return Scene("chip_parts", tuple(features), tuple(others), {"parts": parts, "board_um": board})
