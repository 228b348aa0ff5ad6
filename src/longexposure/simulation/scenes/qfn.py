"""Lead-frame packages that are soldered to a board by a thermal pad: QFN, with voids as production has them.

z = 0 is the face of the board's laminate; the board's pads, the solder and the package lie above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

import numpy as np

from longexposure.simulation.geometry.frame import Frame, Numbers, Sight, in_view, rotated
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
from longexposure.simulation.scenes.components.arrays import joint_budget
from longexposure.simulation.scenes.components.board import cloth
from longexposure.simulation.scenes.components.bonds import Bonding, Loop, bond
from longexposure.simulation.scenes.components.dies import about_box, box
from longexposure.simulation.scenes.components.solder import Pores, pad_voids
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    log_uniform,
    part_angle_deg,
    uniform,
)


@dataclass(frozen=True, kw_only=True)
class _Package:
    """What was drawn for a QFN, um; heights from the board's laminate upwards."""

    solder: str
    body: float
    pitch: float
    leads: int
    lead: Place
    pad: float
    copper: float
    joint: float
    frame: float
    top: float
    board: float
    toe: float
    room: float

    @property
    def seat(self) -> float:
        """Height of the package's lower face."""
        return self.copper + self.joint


def qfn(random: Random, *, view: View) -> Scene:
    """Quad flat packages without leads: thermal pad with vias and voids, lead joints, die, bond wires.

    Body of 2 to 10 mm and 0.75 to 0.9 mm high, pitch 0.4, 0.5 or 0.65 mm (JEDEC MO-220), leads of 0.18 to
    0.3 by 0.3 to 0.55 mm, solder of 40 to 100 um, vias of 0.2 to 0.3 mm at 0.7 to 1.3 mm; voids over 5 to
    30 % of the pad (as IPC-7093 reports of production).
    """
    package, sight = _package(random, view), Sight(view)
    half = 0.4 * package.pad
    focus = (uniform(random, -half, half), uniform(random, -half, half), package.copper)
    frame = sight.aimed(focus, part_angle_deg(random))
    pores = Pores(
        fraction=uniform(random, 0.05, 0.3),
        median=max(log_uniform(random, 40, 260), 2.0 * view.pixel_um),
        sigma=uniform(random, 0.4, 0.85),
        round=uniform(random, 0.5, 0.9),
    )
    features: list[Feature] = []
    others: list[Primitive] = [cloth(random, package.board)]
    pitch, alone = package.body + package.room, package.room > 3000
    parts = list(sight.copies(frame, (pitch, pitch), z=package.copper, most=1 if alone else 4))
    for part in parts:
        features += _thermal_pad(random, view, part, package, pores=pores, most=joint_budget(view) * 3 // 2)
        features += _lead_joints(random, sight, part, package)
        features += _bonded_die(random, sight, part, package)
        others += _case(random, part, package)
    facts: dict[str, float | str] = {
        "solder": package.solder,
        "body_um": package.body,
        "pad_um": package.pad,
        "pitch_um": package.pitch,
        "leads": float(4 * package.leads),
        "joint_um": package.joint,
        "void_fraction": pores.fraction,
        "turn_deg": frame.turn_deg,
    }
    return Scene("qfn", tuple(features), tuple(others), facts)


def _package(random: Random, view: View) -> _Package:
    """Bodies that the view shows a fair part of: at most 8 times its width."""
    largest = float(np.clip(8 * min(view.extent_um), 3000, 10000))
    body = round(log_uniform(random, 2000, largest) / 500) * 500.0
    pitch = choice(random, (400.0, 500.0, 650.0))
    long = uniform(random, 300, 550) if body > 2500 else uniform(random, 250, 350)
    wide = pitch * uniform(random, 0.42, 0.52)
    pad = body - 2 * (long + uniform(random, 200, 400))
    copper, joint = uniform(random, 25, 60), uniform(random, 40, 100)
    return _Package(
        solder="SAC305" if bernoulli(random, 0.85) else "Sn63Pb37",
        body=body,
        pitch=pitch,
        leads=int((body - 2 * long - wide) // pitch) + 1,
        lead=(long, wide),
        pad=pad,
        copper=copper,
        joint=joint,
        frame=choice(random, (150.0, 200.0, 203.0)),
        top=copper + joint + uniform(random, 750, 900),
        board=uniform(random, 800, 1600),
        toe=uniform(random, 150, 350),
        room=8000.0 if bernoulli(random, 0.5) else uniform(random, 1500, 3000),
    )


def _thermal_pad(
    random: Random, view: View, part: Frame, package: _Package, *, pores: Pores, most: int
) -> list[Feature]:
    """The soldered pad, its copper on both sides, its voids; and the vias below it."""
    width, turn = package.pad * uniform(random, 0.96, 1.0), part.turn_deg
    bottom, seat = package.copper, package.seat
    solder = box(part, 0.0, (width, width), bottom=bottom, top=seat, of=package.solder)
    sides = (package.pad, package.pad)
    copper = (
        box(part, 0.0, sides, bottom=0.0, top=bottom, of="Cu"),
        box(part, 0.0, sides, bottom=seat, top=seat + package.frame, of="Cu"),
    )
    vias, taken = _thermal_vias(random, view, part, package)
    voids = pad_voids(random, view, solder, pores=pores, most=most, taken=taken)
    about = about_box(solder.sides, turn, solder.bottom, solder.top)
    at = (*part.at, (solder.bottom + solder.top) / 2)
    return [Feature("thermal pad", at, width, (solder, *copper, *voids), about), *vias]


def _thermal_vias(
    random: Random, view: View, part: Frame, package: _Package
) -> tuple[list[Feature], Numbers]:
    """Open vias in a raster below the pad; solder has run into a few, and left a void above some.

    Returns the vias and the discs (N, 3) of the part's own axes that such voids take.
    """
    pitch, radius, wall = uniform(random, 700, 1300), uniform(random, 80, 125), uniform(random, 18, 28)
    count = int((0.96 * package.pad - 4 * radius) // pitch) + 1
    own = (np.stack(np.meshgrid(*[np.arange(count)] * 2), -1).reshape(-1, 2) - (count - 1) / 2) * pitch
    filled, hollow = uniform(random, 0, 0.35), uniform(random, 0.0, 0.5)
    places = rotated(own, part.turn_deg, part.at)
    shown = in_view(view, places, margin_um=2 * radius, heights=(0.0, -package.board))
    features, taken = [], []
    for x, y in own[shown][: joint_budget(view) // 2].tolist():
        at = part.place(x, y)
        primitives = _via(random, at, package, radius=radius, wall=wall, filled=filled)
        if bernoulli(random, hollow):
            size = radius * uniform(random, 0.9, 1.8)
            primitives.append(_hollow(at, package, size))
            taken.append((x, y, size))
        about = {"radius_um": radius + wall, "bottom_um": -package.board, "top_um": 0.0}
        features.append(Feature("via", (*at, -package.board / 2), 2 * radius, tuple(primitives), about))
    return features, np.array(taken).reshape(-1, 3)


def _via(
    random: Random, at: Place, package: _Package, *, radius: float, wall: float, filled: float
) -> list[Primitive]:
    """The barrel, its opening in the pad, and what solder has run into it."""
    primitives: list[Primitive] = [
        Cylinder(
            material="Cu", at=at, radius=radius + wall, inner_radius=radius, bottom=-package.board, top=0.0
        ),
        Cylinder(material="Cu", amount=-1.0, at=at, radius=radius, bottom=0.0, top=package.copper),
    ]
    if bernoulli(random, filled):
        depth = package.board * (1.0 if bernoulli(random, 0.04) else log_uniform(random, 0.04, 0.4))
        primitives.append(
            Cylinder(material=package.solder, at=at, radius=radius, bottom=-depth, top=package.copper)
        )
    return primitives


def _hollow(at: Place, package: _Package, size: float) -> Ellipsoid:
    """The void that solder leaves above a via when it runs into it."""
    return Ellipsoid(
        material=package.solder,
        amount=-1.0,
        at=(*at, package.copper),
        radii=(size, size, 1.3 * package.joint),
        bottom=package.copper,
        top=package.seat,
    )


def _lead_joints(random: Random, sight: Sight, part: Frame, package: _Package) -> Iterator[Feature]:
    """Leads with their joints: solder below, a fillet at the toe; lines leave the pads."""
    line, run = package.lead[1] * uniform(random, 0.35, 0.7), uniform(random, 0.15, 0.3) * package.room
    lean = choice(random, (-0.7, 0.0, 0.0, 0.7))
    for side in range(4):
        edge = part.inner(0.0, 0.0, 90.0 * side)
        for index in range(package.leads):
            y = (index - (package.leads - 1) / 2) * package.pitch
            toe = edge.inner(package.body / 2, y)
            if sight.sees((*toe.at, package.copper), package.lead[0] + package.toe):
                yield _lead(toe, package)
                yield _joint(random, toe, package)
            if sight.sees((*toe.at, 0.0), package.room / 2):
                end = (0.46 - 0.06 * (index % 3)) * package.room
                yield _line(toe, package, ((0.0, 0.0), (run, 0.0), (end, lean * (end - run))), line)


def _line(toe: Frame, package: _Package, own: tuple[Place, ...], width: float) -> Feature:
    """A line of the board from a lead's pad to a via."""
    points, top = toe.places(own), package.copper
    track = Track(material="Cu", points=points, width=width, bottom=0.0, top=top)
    radius = 0.75 * width
    via = Cylinder(
        material="Cu",
        at=points[-1],
        radius=radius,
        inner_radius=0.75 * radius,
        bottom=-package.board,
        top=top,
    )
    about = {"width_um": width, "gap_um": package.pitch - width, "bottom_um": 0.0, "top_um": top}
    return Feature("trace", (*points[1], top / 2), width, (track, via), about)


def _lead(toe: Frame, package: _Package) -> Feature:
    top = package.seat + package.frame
    lead = box(toe, -package.lead[0] / 2, package.lead, bottom=package.seat, top=top, of="Cu")
    about = about_box(package.lead, toe.turn_deg, package.seat, top)
    return Feature("lead", (*lead.at, (package.seat + top) / 2), package.lead[1], (lead,), about)


def _joint(random: Random, toe: Frame, package: _Package) -> Feature:
    """Solder below a lead, its fillet at the cut end (as high as it wets), its pad."""
    long, wide = package.lead
    reach, turn = package.toe * uniform(random, 0.7, 1.0), toe.turn_deg
    top = package.seat + package.frame * uniform(random, 0.1, 0.9)
    fillet = Wedge(
        material=package.solder,
        at=toe.place(reach / 2, 0.0),
        sides=(reach, wide),
        bottom=package.copper,
        top=top,
        turn_deg=turn,
    )
    low = package.copper
    below = box(toe, -long / 2, package.lead, bottom=low, top=package.seat, of=package.solder)
    pad = box(toe, (package.toe - long) / 2, (long + package.toe, 1.1 * wide), bottom=0.0, top=low, of="Cu")
    about = about_box(fillet.sides, turn, package.copper, top)
    at = (*fillet.at, (package.copper + top) / 2)
    return Feature("joint", at, wide, (fillet, below, pad), about)


def _bonded_die(random: Random, sight: Sight, part: Frame, package: _Package) -> Iterator[Feature]:
    """A die on the pad and a wire from its edge to each lead."""
    sides = package.pad * uniform(random, 0.45, 0.85), package.pad * uniform(random, 0.45, 0.85)
    base, thick = package.seat + package.frame + 20, uniform(random, 150, 300)
    die = box(part, 0.0, sides, bottom=base, top=base + thick, of="Si")
    glue = box(part, 0.0, sides, bottom=base - 20, top=base, of="Ag", amount=0.25)
    about = about_box(sides, part.turn_deg, base, base + thick)
    yield Feature("die", (*part.at, base + thick / 2), max(sides), (die, glue), about)
    diameter = choice(random, (18.0, 20.0, 25.0))
    bonding = Bonding(
        material=choice(random, ("Au", "Cu")), diameter=diameter, ball=2.4 * diameter, loop=Loop()
    )
    loop = uniform(random, 120, 200)
    for side in range(4):
        edge = part.inner(0.0, 0.0, 90.0 * side)
        out, along = sides[side % 2] / 2 - 80, sides[1 - side % 2] - 200
        for index in range(package.leads):
            fraction = (index + 0.5) / package.leads - 0.5
            start = edge.point(out, fraction * along, base + thick)
            y = (index - (package.leads - 1) / 2) * package.pitch
            end = edge.point(package.body / 2 - 0.75 * package.lead[0], y, package.seat + package.frame)
            if sight.sees(end, hypot(end[0] - start[0], end[1] - start[1])):
                yield bond(random, bonding, start, end, loop_um=loop)


def _case(random: Random, part: Frame, package: _Package) -> list[Primitive]:
    """Mould compound, less what the metal takes of it, and the tie bars at the corners."""
    sides = package.body, package.body
    high = package.seat + package.frame
    near, far = package.pad / 2, package.body / 2 - package.lead[1] / 2 - 20
    bars: list[Primitive] = [
        Track(
            material="Cu",
            points=part.places(((near * x, near * y), (far * x, far * y))),
            width=package.lead[1],
            bottom=package.seat + package.frame / 2,
            top=high,
        )
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    mould = box(part, 0.0, sides, bottom=package.seat, top=package.top, of="EMC")
    pad = box(part, 0.0, (package.pad, package.pad), bottom=package.seat, top=high, of="EMC", amount=-1.0)
    return [mould, pad, *bars]
