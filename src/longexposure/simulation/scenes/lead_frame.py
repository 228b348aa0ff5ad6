"""Parts with leads: packages on a lead frame with gull wings, and pins in plated holes.

Outlines follow JEDEC: LQFP (MS-026) of 0.4 to 0.8 mm pitch, SOIC (MS-012, MS-013) of 1.27 mm, TSSOP (MO-153)
of 0.65 mm; leads 0.13 to 0.25 mm thick. z = 0 is the surface of the board; copper lands lie on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import atan, cos

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import (
    Cylinder,
    Feature,
    Grain,
    Lattice,
    Place,
    Point,
    Primitive,
    Scene,
    Slab,
    Track,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import Bonding, bond, die, draw_bonding
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

_SOLIDS = 4500
"""Of one scene, about; packages beyond are left out."""


@dataclass(frozen=True, kw_only=True)
class _Family:
    """An outline of JEDEC in um: body width of two-sided parts, what leads stick out, and their sizes."""

    sides: int
    pitches: tuple[float, ...]
    counts: tuple[int, int]
    widths: tuple[float, ...]
    bodies: tuple[float, ...]
    out: float
    foot: float
    lead: float
    metals: tuple[float, ...]


_FAMILIES = {
    "QFP": _Family(
        sides=4,
        pitches=(400.0, 500.0, 500.0, 650.0, 800.0),
        counts=(8, 36),
        widths=(),
        bodies=(1000.0, 1400.0, 2000.0),
        out=1000.0,
        foot=600.0,
        lead=0.44,
        metals=(127.0, 150.0),
    ),
    "SOIC": _Family(
        sides=2,
        pitches=(1270.0,),
        counts=(4, 14),
        widths=(3900.0, 7500.0),
        bodies=(1500.0, 2350.0),
        out=1150.0,
        foot=650.0,
        lead=0.33,
        metals=(203.0, 254.0),
    ),
    "TSSOP": _Family(
        sides=2,
        pitches=(500.0, 650.0, 650.0),
        counts=(7, 28),
        widths=(4400.0, 6100.0),
        bodies=(900.0, 1000.0),
        out=1000.0,
        foot=600.0,
        lead=0.38,
        metals=(127.0, 150.0),
    ),
}


def lead_frame(random: Random, *, view: View) -> Scene:
    """Soldered packages with gull-wing leads: lead frame, die, wires, joints, body."""
    sight, package = Sight(view), _package(random, view.pixel_um)
    frame = sight.aimed(_focus(random, package, view), part_angle_deg(random))
    features: list[Feature] = []
    seed = integer(random, 0, 2**31)
    surroundings: list[Primitive] = [Grain(material="EMC", mean=40.0, rms=14.0, roughness=25.0, seed=seed)]
    around = 2 * package.out + log_uniform(random, 900, 3000)
    pitch = package.body[0] + around, package.body[1] + around
    most = max(_SOLIDS // (13 * package.sides * package.count), 1)
    units = list(sight.copies(frame, pitch, z=package.frame, most=most))
    for unit in units:
        features.append(_die(random, package, unit, sight))
        surroundings += _inside(random, package, unit)
        for side in range(0, 4, 1 if package.sides == 4 else 2):
            features += _side(random, package, unit.inner(0.0, 0.0, 90.0 * side), sight)
    return Scene("lead_frame", tuple(features), tuple(surroundings), _facts(package, frame, len(units)))


def _package(random: Random, pixel_um: float) -> Package:
    name = choice(random, ("QFP", "QFP", "SOIC", "TSSOP"))
    family = _FAMILIES[name]
    pitch, count = choice(random, family.pitches), integer(random, *family.counts)
    long = count * pitch + (uniform(random, 1100, 1700) if family.sides == 4 else 0.1 * pitch)
    body = (long, long if family.sides == 4 else choice(random, family.widths))
    height, metal = choice(random, family.bodies), choice(random, family.metals)
    paddle = body[0] * uniform(random, 0.4, 0.62), body[1] * uniform(random, 0.4, 0.6)
    paddle = (paddle[0], paddle[0]) if family.sides == 4 else paddle
    sides = paddle[0] * uniform(random, 0.5, 0.9), paddle[1] * uniform(random, 0.5, 0.9)
    down, thickness = uniform(random, 0, 0.14) * height, min(log_uniform(random, 120, 350), 0.2 * height)
    return Package(
        name=name,
        sides=family.sides,
        count=count,
        pitch=pitch,
        body=body,
        height=height + 120,
        frame=80 + 0.47 * height,
        metal=metal,
        lead=family.lead * pitch,
        out=family.out,
        foot=family.foot * uniform(random, 0.85, 1.1),
        paddle=paddle,
        die=sides,
        down=down,
        thickness=thickness,
        bonding=draw_bonding(random, pixel_um=min(pixel_um, 20.0), pitch_um=min(0.8 * sides[0] / count, 150)),
        loop=min(uniform(random, 120, 220), 0.2 * height),
        slots=integer(random, 0, 3) if bernoulli(random, 0.5) else 0,
        dimples=uniform(random, 350, 800) if bernoulli(random, 0.35) else 0.0,
        solder=choice(random, ("SAC305", "SAC305", "Sn63Pb37")),
        line=uniform(random, 0.25, 0.4) * pitch if bernoulli(random, 0.75) else 0.0,
        run=log_uniform(random, 600, 6000),
        lean=choice(random, (-1, 0, 1)),
    )


def _focus(random: Random, package: Package, view: View) -> Point:
    """The package's middle where it fits, else its leads or its inner fingers."""
    if min(view.extent_um) > 0.9 * max(package.body):
        return uniform(random, -800, 800), uniform(random, -800, 800), package.frame
    side = choice(random, (0, 1, 2, 3) if package.sides == 4 else (0, 2))
    x = uniform(random, -0.42, 0.42) * package.body[0]
    y = package.body[1] / 2 + uniform(random, -0.55 * (package.body[1] / 2), package.out)
    return (*Frame((0.0, 0.0), 90.0 * side).place(x, y), 0.5 * package.frame)


def _die(random: Random, package: Package, unit: Frame, sight: Sight) -> Feature:
    bottom = package.top - package.thickness - 25
    return die(random, unit, package.die, sight, bottom=bottom, top=package.top, attach_um=25.0)


def _inside(random: Random, package: Package, unit: Frame) -> Iterator[Primitive]:
    """The body with its mark of pin 1, the paddle with slots and dimples, the tie bars."""
    turn, low = unit.turn_deg, package.frame - package.down
    top = low + package.metal
    yield Slab(
        material="EMC", at=unit.at, sides=package.body, bottom=120.0, top=package.height, turn_deg=turn
    )
    corner = unit.place(-package.body[0] / 2 + 900, -package.body[1] / 2 + 900)
    yield Cylinder(
        material="EMC", amount=-1, at=corner, radius=450.0, bottom=package.height - 120, top=package.height
    )
    yield Slab(material="Cu", at=unit.at, sides=package.paddle, bottom=low, top=top, turn_deg=turn)
    yield from _slots(package, unit, low, top)
    if package.dimples:
        pitch, sides = package.dimples, (0.96 * package.paddle[0], 0.96 * package.paddle[1])
        size = uniform(random, 0.35, 0.6) * pitch
        yield Lattice(
            material="Cu",
            amount=-1,
            at=unit.at,
            sides=sides,
            pitch=(pitch, pitch),
            cell=(size, size),
            bottom=low,
            top=low + 0.45 * package.metal,
            turn_deg=turn,
            pattern="dot",
        )
    yield from _ties(package, unit, low, top)


def _slots(package: Package, unit: Frame, low: float, top: float) -> Iterator[Primitive]:
    """Slots through the paddle beside the die, which lock the mould compound."""
    for side in range(4):
        frame = unit.inner(0.0, 0.0, 90.0 * side)
        along, half = package.paddle[side % 2], package.paddle[1 - side % 2] / 2
        margin = half - package.die[1 - side % 2] / 2
        for index in range(package.slots):
            x = ((index + 0.5) / package.slots - 0.5) * 0.9 * along
            sides = 0.6 * along / package.slots, 0.35 * margin
            at = frame.place(x, half - 0.45 * margin)
            yield Slab(
                material="Cu", amount=-1, at=at, sides=sides, bottom=low, top=top, turn_deg=frame.turn_deg
            )


def _ties(package: Package, unit: Frame, low: float, top: float) -> Iterator[Primitive]:
    """Tie bars: to the corners of a body with leads all around, else to its ends."""
    bar, (x, y) = 1.6 * package.metal, (package.paddle[0] / 2, package.paddle[1] / 2)
    if package.sides == 4:
        out = (package.body[0] / 2 - x) * 0.98
        lines = [
            ((dx * (x + 0.3 * bar), dy * (y + 0.3 * bar)), (dx * (x + out), dy * (y + out)))
            for dx in (-1, 1)
            for dy in (-1, 1)
        ]
    else:
        lines = [
            ((dx * (x + bar / 2), dy * 0.5 * y), (dx * (package.body[0] / 2 - bar / 2), dy * 0.5 * y))
            for dx in (-1, 1)
            for dy in (-1, 1)
        ]
    for line in lines:
        yield Track(material="Cu", points=unit.places(line), width=bar, bottom=low, top=top)


def _side(random: Random, package: Package, frame: Frame, sight: Sight) -> Iterator[Feature]:
    """The leads of one side with their joints and wires; the frame's y axis points out of the body."""
    count, half, edge = package.count, package.body[1] / 2, package.paddle[1] / 2 + 250
    depth = half - 300 - edge
    tip_pitch, width = _tips(package, edge, depth)
    pad_pitch = (package.die[0] - 160) / count
    for index in range(count):
        place = index - (count - 1) / 2
        outer, tip = place * package.pitch, (place * tip_pitch, edge + 0.5 * depth * abs(place) / count)
        if sight.sees(frame.point(outer, half, package.frame), half + 1500):
            yield lead(package, frame, outer, tip, width=width)
            yield joint(random, package, frame, outer)
            if package.line:
                yield escape(random, package, frame, outer)
            start = frame.point(place * pad_pitch, package.die[1] / 2 - 80, package.top)
            stop = frame.point(*_along(tip, (outer, half), 150), package.frame + package.metal)
            yield bond(random, package.bonding, start, stop, loop_um=package.loop)


def _tips(package: Package, edge: float, depth: float) -> tuple[float, float]:
    """Pitch and width of the inner tips, so that no finger leans too far or touches the next."""
    count, shortest = package.count, 0.7 * depth
    least = package.pitch - 2 * shortest / max(count - 1, 1)
    room = 2 * (edge - 350) if package.sides == 4 else package.paddle[0] + 400
    pitch = min(max(room / count, least, 120.0), package.pitch)
    lean = cos(atan((package.pitch - pitch) * (count - 1) / 2 / shortest))
    return pitch, min(0.58 * pitch * lean, package.lead)


def _along(start: Place, stop: Place, way: float) -> Place:
    fraction = way / ((stop[0] - start[0]) ** 2 + (stop[1] - start[1]) ** 2) ** 0.5
    return start[0] + fraction * (stop[0] - start[0]), start[1] + fraction * (stop[1] - start[1])


def _facts(package: Package, frame: Frame, units: int) -> dict[str, float | str]:
    return {
        "outline": package.name,
        "leads": package.sides * package.count,
        "pitch_um": package.pitch,
        "lead_um": package.lead,
        "body_width_um": package.body[0],
        "body_height_um": package.body[1],
        "metal_um": package.metal,
        "wire": package.bonding.material,
        "diameter_um": package.bonding.diameter,
        "solder": package.solder,
        "turn_deg": frame.turn_deg,
        "units": units,
    }


_LAND_UM, _SOLDER_UM = 35.0, 45.0


@dataclass(frozen=True, kw_only=True)
class Package:
    """One drawn package, um.

    Attributes:
        name: of its family.
        sides: that have leads, 2 or 4.
        count, pitch: of the leads of one side.
        body: along x (the side with leads) and y.
        height: of the body's top.
        frame: height of the lead frame's underside.
        metal: its thickness.
        lead: width of an outer lead.
        out, foot: how far leads stick out, length of their feet.
        paddle, die: sides.
        down: by how much the paddle lies lower than the leads.
        thickness: of the die.
        bonding, loop: of the wires.
        slots: holes in the paddle along each side.
        dimples: pitch of its dimples, 0 without.
        solder: alloy of the joints.
        line: width of the traces that leave the lands, 0 without; `run` their length, `lean` their bend.
    """

    name: str
    sides: int
    count: int
    pitch: float
    body: Place
    height: float
    frame: float
    metal: float
    lead: float
    out: float
    foot: float
    paddle: Place
    die: Place
    down: float
    thickness: float
    bonding: Bonding
    loop: float
    slots: int
    dimples: float
    solder: str
    line: float
    run: float
    lean: int

    @property
    def top(self) -> float:
        """Height of the die's upper side."""
        return self.frame + self.metal - self.down + 25 + self.thickness


def lead(package: Package, frame: Frame, x: float, tip: Place, *, width: float) -> Feature:
    """A gull wing: inner finger, shoulder, riser down to the board, foot."""
    edge, metal, turn = package.body[1] / 2, package.metal, frame.turn_deg
    start, delta, end = edge - 300, edge + 0.32 * package.out, edge + package.out
    low = package.frame
    shoulder = Slab(
        material="Cu",
        at=frame.place(x, (start + delta) / 2),
        sides=(package.lead, delta - start),
        bottom=low,
        top=low + metal,
        turn_deg=turn,
    )
    riser = replace(
        shoulder,
        at=frame.place(x, delta - metal / 2),
        sides=(package.lead, metal),
        bottom=_SOLDER_UM,
        top=low,
    )
    foot = replace(
        shoulder,
        at=frame.place(x, (delta + end) / 2),
        sides=(package.lead, end - delta),
        bottom=_SOLDER_UM,
        top=_SOLDER_UM + metal,
    )
    inner = frame.places((tip, (x, start - 0.4 * width)))
    finger = Track(material="Cu", points=inner, width=width, bottom=low, top=low + metal)
    about = {
        "width_um": package.lead,
        "height_um": end - start,
        "turn_deg": turn,
        "bottom_um": _SOLDER_UM,
        "top_um": low + metal,
    }
    at = frame.point(x, (start + end) / 2, low)
    return Feature("lead", at, package.lead, (shoulder, riser, foot, finger), about)


def joint(random: Random, package: Package, frame: Frame, x: float) -> Feature:
    """The joint below a foot: fillets at heel and toe, a thin layer between, the land."""
    edge, wide = package.body[1] / 2, package.lead * uniform(random, 1.15, 1.3)
    delta, end = edge + 0.32 * package.out, edge + package.out
    heel, toe = uniform(random, 180, 320), uniform(random, 150, 350)
    rise, climb = uniform(random, 1.6, 3.0) * package.metal, uniform(random, 0.5, 1.0) * package.metal
    back = delta - package.metal
    fillet = Wedge(
        material=package.solder,
        at=frame.place(x, back - heel / 2),
        sides=(heel, wide),
        bottom=0.0,
        top=rise,
        turn_deg=frame.turn_deg - 90,
    )
    tip = replace(
        fillet,
        at=frame.place(x, end + toe / 2),
        sides=(toe, wide),
        top=_SOLDER_UM + climb,
        turn_deg=frame.turn_deg + 90,
    )
    layer = Slab(
        material=package.solder,
        at=frame.place(x, (back + end) / 2),
        sides=(wide, end - back),
        bottom=0.0,
        top=_SOLDER_UM,
        turn_deg=frame.turn_deg,
    )
    land = replace(
        layer,
        material="Cu",
        at=frame.place(x, (back - heel + end + toe) / 2),
        sides=(wide + 40, end + toe - back + heel + 80),
        bottom=-_LAND_UM,
        top=0.0,
    )
    about = {
        "width_um": heel,
        "height_um": wide,
        "turn_deg": frame.turn_deg - 90,
        "bottom_um": 0.0,
        "top_um": rise,
    }
    at = frame.point(x, back - heel / 2, 0.4 * rise)
    return Feature("joint", at, wide, (fillet, tip, layer, land), about)


def escape(random: Random, package: Package, frame: Frame, x: float) -> Feature:
    """A trace that leaves a land outwards and bends by 45 degrees, as its neighbours do."""
    edge, line = package.body[1] / 2 + package.out + 150, package.line
    run = package.run * (1 + 0.3 * choice(random, (0, 1, 2)))
    straight = 400 + 0.45 * abs(x) * (package.lean != 0)
    own = ((x, edge), (x, edge + straight), (x + package.lean * run, edge + straight + run))
    points = frame.places(own)
    track = Track(material="Cu", points=points, width=line, bottom=-_LAND_UM, top=0.0)
    gap = 0.7 * package.pitch - line if package.lean else package.pitch - line
    about = {"width_um": line, "gap_um": gap, "bottom_um": -_LAND_UM, "top_um": 0.0}
    return Feature("trace", (*points[1], 0.0), line, (track,), about)
