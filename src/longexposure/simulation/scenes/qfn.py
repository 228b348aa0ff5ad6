"""Lead-frame packages that are soldered to a board by a thermal pad: QFN, with voids as production has them.

z = 0 is the face of the board's laminate; the board's pads, the solder and the package lie above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

import numpy as np

from longexposure.simulation.geometry.frame import Frame, Sight, in_view, rotated
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
from longexposure.simulation.scenes.components.features import (
    about_box,
    box,
    slab_feature,
    trace_feature,
    via_feature,
)
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

    @classmethod
    def drawn(cls, random: Random, view: View) -> _Package:
        """Bodies that the view shows a fair part of: at most 8 times its width."""
        largest = float(np.clip(8 * min(view.extent_um), 3000, 10000))
        body = round(log_uniform(random, 2000, largest) / 500) * 500.0
        pitch = choice(random, (400.0, 500.0, 650.0))
        long = uniform(random, 300, 550) if body > 2500 else uniform(random, 250, 350)
        wide = pitch * uniform(random, 0.42, 0.52)
        pad = body - 2 * (long + uniform(random, 200, 400))
        copper, joint = uniform(random, 25, 60), uniform(random, 40, 100)
        return cls(
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

    @property
    def seat(self) -> float:
        """Height of the package's lower face."""
        return self.copper + self.joint

    @property
    def metal(self) -> float:
        """Height of the lead frame's upper face."""
        return self.seat + self.frame

    def rows(self) -> list[float]:
        """Where the leads of a side stand along it."""
        return [(index - (self.leads - 1) / 2) * self.pitch for index in range(self.leads)]

    def thermal_pad(self, random: Random, view: View, part: Frame, pores: Pores) -> list[Feature]:
        """The soldered pad, its copper on both sides, its voids; and the open vias in a raster below it.

        Solder has run into a few of the vias, and left a void above some.
        """
        width, sides = self.pad * uniform(random, 0.96, 1.0), (self.pad, self.pad)
        solder = box(self.solder, part, (width, width), self.copper, self.seat)
        copper = (box("Cu", part, sides, 0.0, self.copper), box("Cu", part, sides, self.seat, self.metal))
        pitch, radius = uniform(random, 700, 1300), uniform(random, 80, 125)
        outer = radius + uniform(random, 18, 28)
        count = int((0.96 * self.pad - 4 * radius) // pitch) + 1
        own = (np.stack(np.meshgrid(*[np.arange(count)] * 2), -1).reshape(-1, 2) - (count - 1) / 2) * pitch
        filled, hollow = uniform(random, 0, 0.35), uniform(random, 0.0, 0.5)
        places = rotated(own, part.turn_deg, part.at)
        shown = in_view(view, places, margin_um=2 * radius, heights=(0.0, -self.board))
        vias, occupied = [], []
        for x, y in own[shown][: joint_budget(view) // 2].tolist():
            at = part.place(x, y)
            barrel = Cylinder(
                material="Cu", at=at, radius=outer, inner_radius=radius, bottom=-self.board, top=0.0
            )
            hole = Cylinder(material="Cu", amount=-1.0, at=at, radius=radius, bottom=0.0, top=self.copper)
            primitives: list[Primitive] = [barrel, hole]
            if bernoulli(random, filled):
                low = -self.board * (1.0 if bernoulli(random, 0.04) else log_uniform(random, 0.04, 0.4))
                primitives.append(
                    Cylinder(material=self.solder, at=at, radius=radius, bottom=low, top=self.copper)
                )
            if bernoulli(random, hollow):
                size = radius * uniform(random, 0.9, 1.8)
                primitives.append(
                    Ellipsoid(
                        material=self.solder,
                        amount=-1.0,
                        at=(*at, self.copper),
                        radii=(size, size, 1.3 * self.joint),
                        bottom=self.copper,
                        top=self.seat,
                    )
                )
                occupied.append((x, y, size))
            vias.append(via_feature(at, outer, primitives, bottom=-self.board, top=0.0, size_um=2 * radius))
        most, discs = joint_budget(view) * 3 // 2, np.array(occupied).reshape(-1, 3)
        voids = pad_voids(random, view, solder, pores=pores, most=most, occupied=discs)
        return [slab_feature("thermal pad", solder, (*copper, *voids)), *vias]

    def lead_joints(self, random: Random, sight: Sight, part: Frame) -> Iterator[Feature]:
        """Leads with their joints: solder below, a fillet at the toe; lines leave the pads for vias."""
        line, run = self.lead[1] * uniform(random, 0.35, 0.7), uniform(random, 0.15, 0.3) * self.room
        lean, radius = choice(random, (-0.7, 0.0, 0.0, 0.7)), 0.75 * line
        for edge in part.quarters():
            for index, y in enumerate(self.rows()):
                toe = edge.inner(self.body / 2, y)
                if sight.sees((*toe.at, self.copper), self.lead[0] + self.toe):
                    lead = box("Cu", toe, self.lead, self.seat, self.metal, x=-self.lead[0] / 2)
                    yield slab_feature("lead", lead, size_um=self.lead[1])
                    yield self.lead_joint(random, toe)
                if sight.sees((*toe.at, 0.0), self.room / 2):
                    end, top = (0.46 - 0.06 * (index % 3)) * self.room, self.copper
                    points = toe.places(((0.0, 0.0), (run, 0.0), (end, lean * (end - run))))
                    via = Cylinder(
                        material="Cu",
                        at=points[-1],
                        radius=radius,
                        inner_radius=0.75 * radius,
                        bottom=-self.board,
                        top=top,
                    )
                    gap = self.pitch - line
                    yield trace_feature(points, line, gap, bottom=0.0, top=top, z=top / 2, others=(via,))

    def lead_joint(self, random: Random, toe: Frame) -> Feature:
        """Solder below a lead, its fillet at the cut end (as high as it wets), its pad."""
        (long, wide), low = self.lead, self.copper
        reach = self.toe * uniform(random, 0.7, 1.0)
        top = self.seat + self.frame * uniform(random, 0.1, 0.9)
        fillet = Wedge(
            material=self.solder,
            at=toe.place(reach / 2, 0.0),
            sides=(reach, wide),
            bottom=low,
            top=top,
            turn_deg=toe.turn_deg,
        )
        below = box(self.solder, toe, self.lead, low, self.seat, x=-long / 2)
        pad = box("Cu", toe, (long + self.toe, 1.1 * wide), 0.0, low, x=(self.toe - long) / 2)
        about = about_box(fillet.sides, toe.turn_deg, low, top)
        return Feature("joint", (*fillet.at, (low + top) / 2), wide, (fillet, below, pad), about)

    def bonded_die(self, random: Random, sight: Sight, part: Frame) -> Iterator[Feature]:
        """A die on the pad and a wire from its edge to each lead."""
        sides = self.pad * uniform(random, 0.45, 0.85), self.pad * uniform(random, 0.45, 0.85)
        base, thick = self.metal + 20, uniform(random, 150, 300)
        glue = box("Ag", part, sides, base - 20, base, amount=0.25)
        die = box("Si", part, sides, base, base + thick)
        yield slab_feature("die", die, (glue,), z=base + thick / 2)
        diameter = choice(random, (18.0, 20.0, 25.0))
        metal = choice(random, ("Au", "Cu"))
        bonding = Bonding(material=metal, diameter=diameter, ball=2.4 * diameter, loop=Loop())
        loop = uniform(random, 120, 200)
        for side, edge in enumerate(part.quarters()):
            out, along = sides[side % 2] / 2 - 80, sides[1 - side % 2] - 200
            for index, y in enumerate(self.rows()):
                start = edge.point(out, ((index + 0.5) / self.leads - 0.5) * along, base + thick)
                end = edge.point(self.body / 2 - 0.75 * self.lead[0], y, self.metal)
                if sight.sees(end, hypot(end[0] - start[0], end[1] - start[1])):
                    yield bond(random, bonding, start, end, loop_um=loop)

    def case(self, part: Frame) -> list[Primitive]:
        """Mould compound, less what the metal takes of it, and the tie bars at the corners."""
        near, far = self.pad / 2, self.body / 2 - self.lead[1] / 2 - 20
        bars = [
            Track(
                material="Cu",
                points=part.places(((near * x, near * y), (far * x, far * y))),
                width=self.lead[1],
                bottom=self.seat + self.frame / 2,
                top=self.metal,
            )
            for x in (-1, 1)
            for y in (-1, 1)
        ]
        mould = box("EMC", part, (self.body, self.body), self.seat, self.top)
        pad = box("EMC", part, (self.pad, self.pad), self.seat, self.metal, amount=-1.0)
        return [mould, pad, *bars]


def qfn(random: Random, *, view: View) -> Scene:
    """Quad flat packages without leads: thermal pad with vias and voids, lead joints, die, bond wires.

    Body of 2 to 10 mm and 0.75 to 0.9 mm high, pitch 0.4, 0.5 or 0.65 mm (JEDEC MO-220), leads of 0.18 to
    0.3 by 0.3 to 0.55 mm, solder of 40 to 100 um, vias of 0.2 to 0.3 mm at 0.7 to 1.3 mm; voids over 5 to
    30 % of the pad (as IPC-7093 reports of production).
    """
    package, sight = _Package.drawn(random, view), Sight(view)
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
    for part in sight.copies(frame, (pitch, pitch), z=package.copper, most=1 if alone else 4):
        features += package.thermal_pad(random, view, part, pores)
        features += package.lead_joints(random, sight, part)
        features += package.bonded_die(random, sight, part)
        others += package.case(part)
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
