"""Packages on a lead frame with gull wings, soldered to a board.

Outlines follow JEDEC: LQFP (MS-026) of 0.4 to 0.8 mm pitch, SOIC (MS-012, MS-013) of 1.27 mm, TSSOP (MO-153)
of 0.65 mm; leads 0.13 to 0.25 mm thick; lands reach 0.2 to 0.35 mm beyond heel and toe (IPC-7351). z = 0 is
the surface of the lands, on which the solder begins.
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
    Track,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import Bonding, bond, die, draw_bonding
from longexposure.simulation.scenes.components.features import about_box, box, trace_feature
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

_PRIMITIVES = 4500
"""Of one scene, about; packages beyond are left out."""
_LAND_UM, _SOLDER_UM = 35.0, 45.0


@dataclass(frozen=True)
class _Family:
    """An outline of JEDEC: how many sides have leads, how many leads each, and dimensions in um.

    Attributes:
        bodies: heights of bodies.
        widths: of bodies with leads on two sides.
        out: how far leads stick out.
        lead: their width as a fraction of the pitch.
        metals: thicknesses of the lead frame.
    """

    sides: int
    pitches: tuple[float, ...]
    counts: tuple[int, int]
    bodies: tuple[float, ...]
    widths: tuple[float, ...]
    out: float
    lead: float
    metals: tuple[float, float]


_QFP_PITCHES = (400.0, 500.0, 500.0, 650.0, 800.0)
_FAMILIES = {
    "QFP": _Family(4, _QFP_PITCHES, (8, 36), (1e3, 1.4e3, 2e3), (), 1e3, 0.44, (127.0, 150.0)),
    "SOIC": _Family(2, (1270.0,), (4, 14), (1.5e3, 2.35e3), (3.9e3, 7.5e3), 1.15e3, 0.33, (203.0, 254.0)),
    "TSSOP": _Family(
        2, (500.0, 650.0, 650.0), (7, 28), (0.9e3, 1e3), (4.4e3, 6.1e3), 1e3, 0.38, (127.0, 150.0)
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Package:
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
        out: how far leads stick out.
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

    @classmethod
    def drawn(cls, random: Random, pixel_um: float) -> _Package:
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
        random.random()  # unused; without it, a seed would draw other packages
        pad_pitch = min(0.8 * sides[0] / count, 150)
        return cls(
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
            paddle=paddle,
            die=sides,
            down=down,
            thickness=thickness,
            bonding=draw_bonding(random, pixel_um=min(pixel_um, 20.0), pitch_um=pad_pitch),
            loop=min(uniform(random, 120, 220), 0.2 * height),
            slots=integer(random, 0, 3) if bernoulli(random, 0.5) else 0,
            dimples=uniform(random, 350, 800) if bernoulli(random, 0.35) else 0.0,
            solder=choice(random, ("SAC305", "SAC305", "Sn63Pb37")),
            line=uniform(random, 0.25, 0.4) * pitch if bernoulli(random, 0.75) else 0.0,
            run=log_uniform(random, 600, 6000),
            lean=choice(random, (-1, 0, 1)),
        )

    @property
    def top(self) -> float:
        """Height of the die's upper side."""
        return self.frame + self.metal - self.down + 25 + self.thickness

    def feet(self) -> tuple[float, float]:
        """From where to where the feet of the leads stand, along the frame of a side."""
        return self.body[1] / 2 + 0.32 * self.out, self.body[1] / 2 + self.out

    def inside(self, random: Random, unit: Frame) -> Iterator[Primitive]:
        """The body with its mark of pin 1, the paddle with slots and dimples, the tie bars."""
        low, high = self.frame - self.down, self.height
        top = low + self.metal
        yield box("EMC", unit, self.body, 120.0, high)
        corner = unit.place(-self.body[0] / 2 + 900, -self.body[1] / 2 + 900)
        yield Cylinder(material="EMC", amount=-1, at=corner, radius=450.0, bottom=high - 120, top=high)
        yield box("Cu", unit, self.paddle, low, top)
        # Slots beside the die lock the mould compound.
        for side, frame in enumerate(unit.quarters()):
            along, half = self.paddle[side % 2], self.paddle[1 - side % 2] / 2
            margin = half - self.die[1 - side % 2] / 2
            for index in range(self.slots):
                x = ((index + 0.5) / self.slots - 0.5) * 0.9 * along
                sides = 0.6 * along / self.slots, 0.35 * margin
                yield box("Cu", frame, sides, low, top, x=x, y=half - 0.45 * margin, amount=-1)
        if self.dimples:
            size = uniform(random, 0.35, 0.6) * self.dimples
            yield Lattice(
                material="Cu",
                amount=-1,
                at=unit.at,
                sides=(0.96 * self.paddle[0], 0.96 * self.paddle[1]),
                pitch=(self.dimples, self.dimples),
                cell=(size, size),
                bottom=low,
                top=low + 0.45 * self.metal,
                turn_deg=unit.turn_deg,
                pattern="dot",
            )
        # Tie bars run to the corners of a body with leads all around, else to its ends.
        bar, (x, y) = 1.6 * self.metal, (self.paddle[0] / 2, self.paddle[1] / 2)
        out = (self.body[0] / 2 - x) * 0.98
        ends = ((x + bar / 2, 0.5 * y), (self.body[0] / 2 - bar / 2, 0.5 * y))
        if self.sides == 4:
            ends = ((x + 0.3 * bar, y + 0.3 * bar), (x + out, y + out))
        for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            line = unit.places([(dx * x, dy * y) for x, y in ends])
            yield Track(material="Cu", points=line, width=bar, bottom=low, top=top)

    def leads(self, random: Random, frame: Frame, sight: Sight) -> Iterator[Feature]:
        """The leads of one side with their joints and wires; the frame's y axis points out of the body."""
        count, half, edge = self.count, self.body[1] / 2, self.paddle[1] / 2 + 250
        depth = half - 300 - edge
        shortest = 0.7 * depth
        # No finger leans too far or touches the next.
        least = self.pitch - 2 * shortest / max(count - 1, 1)
        room = 2 * (edge - 350) if self.sides == 4 else self.paddle[0] + 400
        tip_pitch = min(max(room / count, least, 120.0), self.pitch)
        lean = cos(atan((self.pitch - tip_pitch) * (count - 1) / 2 / shortest))
        width = min(0.58 * tip_pitch * lean, self.lead)
        pad_pitch = (self.die[0] - 160) / count
        for index in range(count):
            place = index - (count - 1) / 2
            outer, tip = place * self.pitch, (place * tip_pitch, edge + 0.5 * depth * abs(place) / count)
            if sight.sees(frame.point(outer, half, self.frame), half + 1500):
                yield self.wing(frame, outer, tip, width=width)
                yield self.joint(random, frame, outer)
                if self.line:
                    yield self.escape(random, frame, outer)
                start = frame.point(place * pad_pitch, self.die[1] / 2 - 80, self.top)
                fraction = 150 / ((outer - tip[0]) ** 2 + (half - tip[1]) ** 2) ** 0.5
                x, y = tip[0] + fraction * (outer - tip[0]), tip[1] + fraction * (half - tip[1])
                stop = frame.point(x, y, self.frame + self.metal)
                yield bond(random, self.bonding, start, stop, loop_um=self.loop)

    def wing(self, frame: Frame, x: float, tip: Place, *, width: float) -> Feature:
        """A gull wing: inner finger, shoulder, riser down to the board, foot."""
        start, (delta, end), metal = self.body[1] / 2 - 300, self.feet(), self.metal
        low, high = self.frame, self.frame + metal
        shoulder = box("Cu", frame, (self.lead, delta - start), low, high, x=x, y=(start + delta) / 2)
        riser = box("Cu", frame, (self.lead, metal), _SOLDER_UM, low, x=x, y=delta - metal / 2)
        sides, level = (self.lead, end - delta), _SOLDER_UM + metal
        foot = box("Cu", frame, sides, _SOLDER_UM, level, x=x, y=(delta + end) / 2)
        inner = frame.places((tip, (x, start - 0.4 * width)))
        finger = Track(material="Cu", points=inner, width=width, bottom=low, top=high)
        about = about_box((self.lead, end - start), frame.turn_deg, _SOLDER_UM, high)
        at = frame.point(x, (start + end) / 2, low)
        return Feature("lead", at, self.lead, (shoulder, riser, foot, finger), about)

    def joint(self, random: Random, frame: Frame, x: float) -> Feature:
        """The joint below a foot: fillets at heel and toe, a thin layer between, the land."""
        wide, (delta, end) = self.lead * uniform(random, 1.15, 1.3), self.feet()
        heel, toe = uniform(random, 180, 320), uniform(random, 150, 350)
        rise, climb = uniform(random, 1.6, 3.0) * self.metal, uniform(random, 0.5, 1.0) * self.metal
        back, turn = delta - self.metal, frame.turn_deg
        fillet = Wedge(
            material=self.solder,
            at=frame.place(x, back - heel / 2),
            sides=(heel, wide),
            bottom=0.0,
            top=rise,
            turn_deg=turn - 90,
        )
        at, top = frame.place(x, end + toe / 2), _SOLDER_UM + climb
        tip = replace(fillet, at=at, sides=(toe, wide), top=top, turn_deg=turn + 90)
        layer = box(self.solder, frame, (wide, end - back), 0.0, _SOLDER_UM, x=x, y=(back + end) / 2)
        sides, middle = (wide + 40, end + toe - back + heel + 80), (back - heel + end + toe) / 2
        land = box("Cu", frame, sides, -_LAND_UM, 0.0, x=x, y=middle)
        about = about_box((heel, wide), turn - 90, 0.0, rise)
        return Feature("joint", (*fillet.at, 0.4 * rise), wide, (fillet, tip, layer, land), about)

    def escape(self, random: Random, frame: Frame, x: float) -> Feature:
        """A trace that leaves a land outwards and bends by 45 degrees, as its neighbours do."""
        edge, line = self.body[1] / 2 + self.out + 150, self.line
        run = self.run * (1 + 0.3 * choice(random, (0, 1, 2)))
        straight = 400 + 0.45 * abs(x) * (self.lean != 0)
        own = ((x, edge), (x, edge + straight), (x + self.lean * run, edge + straight + run))
        gap = 0.7 * self.pitch - line if self.lean else self.pitch - line
        return trace_feature(frame.places(own), line, gap, bottom=-_LAND_UM, top=0.0, z=0.0)


def lead_frame(random: Random, *, view: View) -> Scene:
    """Soldered packages with gull-wing leads: lead frame, die, wires, joints, body."""
    sight, package = Sight(view), _Package.drawn(random, view.pixel_um)
    # The package's middle where it fits, else its leads or its inner fingers.
    if min(view.extent_um) > 0.9 * max(package.body):
        focus: Point = (uniform(random, -800, 800), uniform(random, -800, 800), package.frame)
    else:
        side = choice(random, (0, 1, 2, 3) if package.sides == 4 else (0, 2))
        x = uniform(random, -0.42, 0.42) * package.body[0]
        y = package.body[1] / 2 + uniform(random, -0.55 * (package.body[1] / 2), package.out)
        focus = Frame(turn_deg=90.0 * side).point(x, y, 0.5 * package.frame)
    frame = sight.aimed(focus, part_angle_deg(random))
    features: list[Feature] = []
    seed = integer(random, 0, 2**31)
    surroundings: list[Primitive] = [Grain(material="EMC", mean=40.0, rms=14.0, roughness=25.0, seed=seed)]
    around = 2 * package.out + log_uniform(random, 900, 3000)
    pitch = package.body[0] + around, package.body[1] + around
    most = max(_PRIMITIVES // (13 * package.sides * package.count), 1)
    units = list(sight.copies(frame, pitch, z=package.frame, most=most))
    for unit in units:
        bottom = package.top - package.thickness - 25
        features.append(die(random, unit, package.die, sight, bottom=bottom, top=package.top, attach_um=25.0))
        surroundings += package.inside(random, unit)
        for edge in list(unit.quarters())[:: 1 if package.sides == 4 else 2]:
            features += package.leads(random, edge, sight)
    facts: dict[str, float | str] = {
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
        "units": len(units),
    }
    return Scene("lead_frame", tuple(features), tuple(surroundings), facts)
