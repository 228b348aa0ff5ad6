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
    Place,
    Primitive,
    Scene,
    Track,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.arrays import bundle, joint_budget
from longexposure.simulation.scenes.components.board import cloth
from longexposure.simulation.scenes.components.dies import about_box, box
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
class _Kind:
    """What the parts of one group have in common, um."""

    name: str
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


def chip_parts(random: Random, *, view: View) -> Scene:
    """Rows of chip capacitors and resistors from 01005 to 1206 at any angle, with fillets, pads and lines.

    Capacitors: barium titanate with inner electrodes over 15 to 40 % of the active height, nickel as copper;
    resistors: alumina with printed silver ends. Terminations of 8 to 35 um; joints of 15 to 50 um; fillets
    that rise over 25 to 90 % of the end, with pads 0.4 to 1.2 times a termination beyond it (IPC-7351).
    """
    board = uniform(random, 800, 1600)
    sight, taken = Sight(view), list[tuple[float, float, float]]()
    features: list[Feature] = []
    others: list[Primitive] = [cloth(random, board)]
    least, most = _sizes(view)
    for group in range(60):
        kind = _kind(random, choice(random, list(SIZES)[least : most + 1]), view)
        for frame in _row(random, view, kind, first=group == 0):
            radius = hypot(kind.size.length + 2 * kind.toe, kind.size.width) / 2
            free = all(hypot(frame.at[0] - x, frame.at[1] - y) > radius + r for x, y, r in taken)
            if not free or len(features) > 2 * joint_budget(view):
                continue
            taken.append((*frame.at, radius))
            if sight.sees((*frame.at, 0.0), radius + kind.height):
                features += _part(random, view, frame, kind)
                others += _lines(random, frame, kind, board)
    for _ in range(integer(random, 0, 3)):
        low = -uniform(random, 100, board)
        others += bundle(random, view, line_um=uniform(random, 75, 150), bottom=low, top=low + 18)
    facts: dict[str, float | str] = {
        "parts": float(sum(f.kind == "body" for f in features)),
        "board_um": board,
    }
    return Scene("chip_parts", tuple(features), tuple(others), facts)


def _sizes(view: View) -> tuple[int, int]:
    """First and last of `SIZES` that are 8 px wide at least and no longer than 0.8 of the view."""
    sizes = list(SIZES.values())
    wide = [i for i, size in enumerate(sizes) if size.width >= 8 * view.pixel_um]
    short = [i for i, size in enumerate(sizes) if size.length <= 0.8 * max(view.extent_um)]
    least = min(wide, default=len(sizes) - 1)
    return least, max(max(short, default=0), least)


def _kind(random: Random, name: str, view: View) -> _Kind:
    size, capacitor = SIZES[name], bernoulli(random, 0.6)
    height = size.capacitor * uniform(random, 0.6, 1.0) if capacitor else size.resistor
    return _Kind(
        name=name,
        size=size,
        capacitor=capacitor,
        height=height,
        solder="SAC305" if bernoulli(random, 0.85) else "Sn63Pb37",
        copper=uniform(random, 18, 50),
        joint=uniform(random, 15, 50) * min(1.0, size.width / 500),
        toe=size.end * uniform(random, 0.4, 1.2),
        rise=uniform(random, 0.25, 0.9),
        electrodes=uniform(random, 0.15, 0.4),
        metal=uniform(random, 8, 35) * min(1.0, size.width / 500),
    )


def _row(random: Random, view: View, kind: _Kind, *, first: bool) -> Iterator[Frame]:
    """One to ten parts side by side or end to end; the first row passes near the middle of the view."""
    near = 0.15 if first else 0.55
    x, y = (random.uniform(-near, near, 2) * view.extent_um).tolist()
    start = Frame((x, y), part_angle_deg(random))
    gap = uniform(random, 150, 500)
    count = integer(random, 1, 10)
    radius = hypot(kind.size.length + 2 * kind.toe, kind.size.width)
    step: Place = (0.0, radius + gap) if bernoulli(random, 0.8) else (radius + gap, 0.0)
    for index in range(count):
        turn = 180.0 * integer(random, 0, 1) + float(random.normal(0.0, 0.8))
        yield start.inner(step[0] * index, step[1] * index, turn)


def _part(random: Random, view: View, frame: Frame, kind: _Kind) -> Iterator[Feature]:
    """The body with its terminations, and a joint at each end."""
    seat = kind.copper + kind.joint
    bottom, top = seat + kind.metal, seat + kind.height - kind.metal
    inside = _capacitor(frame, kind, bottom, top) if kind.capacitor else _resistor(frame, kind, bottom, top)
    ends = [primitive for side in (-1, 1) for primitive in _termination(frame, kind, side)]
    about = about_box((kind.size.length, kind.size.width), frame.turn_deg, seat, seat + kind.height)
    middle = (*frame.at, seat + kind.height / 2)
    yield Feature("body", middle, kind.size.length, (*inside, *ends), about)
    for turn in (0.0, 180.0):
        yield _joint(random, view, frame.inner(0.0, 0.0, turn), kind)


def _capacitor(frame: Frame, kind: _Kind, bottom: float, top: float) -> list[Primitive]:
    """Ceramic, and the electrodes within it: half of them reach one end, half the other."""
    size, cover = kind.size, 0.12 * (top - bottom)
    length, width = size.length - 2 * kind.metal, size.width - 2 * kind.metal
    margin = min(0.3 * size.end, 100.0)
    low, high = bottom + cover, top - cover
    active = (length - margin, width - 2 * min(0.12 * width, 100.0))
    material, amount = TITANATE
    ceramic = box(frame, 0.0, (length, width), bottom=bottom, top=top, of=material, amount=amount)
    halves = [
        box(frame, side * margin / 2, active, bottom=low, top=high, of="Ni", amount=kind.electrodes / 2)
        for side in (-1, 1)
    ]
    displaced = [
        box(
            frame,
            side * margin / 2,
            active,
            bottom=low,
            top=high,
            of=material,
            amount=-amount * kind.electrodes / 2,
        )
        for side in (-1, 1)
    ]
    return [ceramic, *halves, *displaced]


def _resistor(frame: Frame, kind: _Kind, bottom: float, top: float) -> list[Primitive]:
    """Alumina with printed silver at both ends of its upper and lower face."""
    size = kind.size
    length, width = size.length - 2 * kind.metal, size.width - 2 * kind.metal
    body = box(frame, 0.0, (length, width), bottom=bottom, top=top, of="alumina")
    reach = size.end * 0.9
    silver: list[Primitive] = [
        box(frame, side * (length - reach) / 2, (reach, width), bottom=top - 14, top=top, of="Ag", amount=0.8)
        for side in (-1, 1)
    ]
    return [body, *silver]


def _termination(frame: Frame, kind: _Kind, side: int) -> list[Primitive]:
    """A cap of metal over an end: a block without its inside."""
    size, seat = kind.size, kind.copper + kind.joint
    metal = kind.metal
    outer = box(
        frame,
        side * (size.length - size.end) / 2,
        (size.end, size.width),
        bottom=seat,
        top=seat + kind.height,
        of="Cu",
    )
    inner = box(
        frame,
        side * (size.length - size.end - metal) / 2,
        (size.end - metal, size.width - 2 * metal),
        bottom=seat + metal,
        top=seat + kind.height - metal,
        of="Cu",
        amount=-1.0,
    )
    return [outer, inner]


def _joint(random: Random, view: View, end: Frame, kind: _Kind) -> Feature:
    """Solder at the +x end: a hollow fillet of two wedges, what spread beside it, the film below, the pad."""
    size, seat = kind.size, kind.copper + kind.joint
    half, wide, reach = size.length / 2, size.width, kind.toe * uniform(random, 0.8, 1.0)
    top = seat + kind.height * kind.rise * uniform(random, 0.85, 1.1)
    low = kind.copper + (top - kind.copper) * uniform(random, 0.3, 0.55)
    main = _wedge(end, kind, half, (reach, wide), low)
    steep = reach * uniform(random, 0.25, 0.5)
    upper = _wedge(end, kind, half, (steep, 0.94 * wide), kind.copper + top - low)
    film = box(end, half - size.end / 2, (size.end, wide), bottom=kind.copper, top=seat, of=kind.solder)
    brim = Ellipsoid(
        material=kind.solder,
        at=end.point(half + 0.35 * reach, 0.0, kind.copper),
        radii=(0.6 * reach, 0.56 * wide, 0.3 * (low - kind.copper)),
        turn_deg=end.turn_deg,
        bottom=kind.copper,
    )
    pad = box(
        end,
        half + (kind.toe - size.end) / 2,
        (size.end + kind.toe, 1.12 * wide),
        bottom=0.0,
        top=kind.copper,
        of="Cu",
    )
    pores = Pores(
        fraction=uniform(random, 0.02, 0.25), median=log_uniform(random, 15, 80), sigma=0.6, round=0.6
    )
    shown = size.end > 8 * view.pixel_um and bernoulli(random, 0.6)
    voids = pad_voids(random, view, film, pores=pores, most=8) if shown else []
    about = about_box(main.sides, end.turn_deg, kind.copper, top)
    at = end.point(half + reach / 2, 0.0, (kind.copper + top) / 2)
    return Feature("joint", at, wide, (main, upper, brim, film, pad, *voids), about)


def _wedge(end: Frame, kind: _Kind, start: float, sides: Place, top: float) -> Wedge:
    return Wedge(
        material=kind.solder,
        at=end.place(start + sides[0] / 2, 0.0),
        sides=sides,
        bottom=kind.copper,
        top=top,
        turn_deg=end.turn_deg,
    )


def _lines(random: Random, frame: Frame, kind: _Kind, board: float) -> Iterator[Primitive]:
    """From each pad a line to a via, or none."""
    edge = kind.size.length / 2 + kind.toe
    width = kind.size.width * uniform(random, 0.25, 0.6)
    radius = uniform(random, 120, 200) * min(1.0, kind.size.width / 500)
    for turn in (0.0, 180.0):
        if bernoulli(random, 0.25):
            continue
        end = frame.inner(0.0, 0.0, turn)
        away = edge + uniform(random, 1.2, 4.0) * radius
        points = end.places(((edge - width, 0.0), (away, uniform(random, -1, 1) * (away - edge))))
        yield Track(material="Cu", points=points, width=width, bottom=0.0, top=kind.copper)
        yield Cylinder(
            material="Cu",
            at=points[1],
            radius=radius,
            inner_radius=0.8 * radius,
            bottom=-board,
            top=kind.copper,
        )
