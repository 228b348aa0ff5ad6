"""Bond wires: dies in mould compound, with fans of wires to a lead frame or to a laminate.

Typical figures (makers' bonding and lead-frame rules): pads every 45 to 180 um, dies 75 to 350 um thick on a
copper paddle of 127 to 200 um, its finger tips every 160 to 260 um; or on a laminate of 150 to 400 um with
copper of 12 to 25 um and fingers every 75 to 140 um, in one to three rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import (
    Feature,
    Grain,
    Lattice,
    Place,
    Point,
    Primitive,
    Scene,
    Track,
    Weave,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import (
    Bonding,
    Fan,
    bond,
    die,
    draw_bonding,
    laminate_fingers,
    lead_fingers,
)
from longexposure.simulation.scenes.components.features import box
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

_ROW_UM = 330.0
"""From one row of a laminate's fingers to the next."""
_WIRES = 640
"""Of one die at the most, and of a view with several dies, about."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What was drawn for a bonded die, um; z = 0 is the surface that it lies on.

    Attributes:
        framed: on a lead frame; else on a laminate.
        bonding: of its wires.
        die, thickness: sides and thickness of the die.
        attach: thickness of the layer below it.
        metal: thickness of the copper.
        tips: height of the fingers' surfaces.
        pad_pitch, tip_pitch: of the die's pads and of the fingers.
        inset: of the pads from the die's edge.
        gap: from the die's edge to the fingers.
        bow: by how much of the gap the outermost fingers lie further out.
        rim: from the die's edge to the edge of its paddle, or to the ground ring of a laminate.
        reach: of the fingers' shafts or traces beyond the wires' ends.
        tiers: rows of pads and of fingers.
        loop: height of the lowest tier.
        depth: thickness of the laminate.
        downs: fraction of the pads that are bonded down to the rim.
        idle: fraction of the pads that are not bonded.
    """

    framed: bool
    bonding: Bonding
    die: Place
    thickness: float
    attach: float
    metal: float
    tips: float
    pad_pitch: float
    tip_pitch: float
    inset: float
    gap: float
    bow: float
    rim: float
    reach: float
    tiers: int
    loop: float
    depth: float
    downs: float
    idle: float

    @property
    def pitch(self) -> Place:
        """From unit to unit of a strip."""
        around = 2 * (self.gap + self.reach + _ROW_UM * (self.tiers - 1)) + 500
        return self.die[0] + around, self.die[1] + around

    @property
    def top(self) -> float:
        """Height of the die's upper side."""
        return self.attach + self.thickness

    @property
    def ceiling(self) -> float:
        """Height of the mould compound's top."""
        return self.top + 200 + self.loop * (1 + 0.35 * self.tiers)

    @classmethod
    def drawn(cls, random: Random, pixel_um: float) -> _Plan:
        framed = bernoulli(random, 0.5)
        tiers = 1 if framed else choice(random, (1, 2, 2, 3))
        width, thickness = log_uniform(random, 1500, 7000), log_uniform(random, 75, 350)
        sides = width, min(max(width * uniform(random, 0.55, 1.8), 1200.0), 9000.0)
        finest = max(45.0, 3 * pixel_um, 2 * sum(sides) * tiers / _WIRES)
        pad_pitch = max(log_uniform(random, 45, 140), finest)
        metals = ("Au", "Au", "Cu", "Cu") if framed else ("Au", "Au", "Cu", "Cu", "Al")
        gap = uniform(random, 800, 2200) if framed else uniform(random, 550, 1500)
        return cls(
            framed=framed,
            bonding=draw_bonding(random, pixel_um=pixel_um, pitch_um=pad_pitch, materials=metals),
            die=sides,
            thickness=thickness,
            attach=uniform(random, 15, 40),
            metal=choice(random, (127.0, 150.0, 200.0)) if framed else uniform(random, 12, 25),
            tips=uniform(random, 120, 300) if framed and bernoulli(random, 0.4) else 0.0,
            pad_pitch=pad_pitch,
            tip_pitch=log_uniform(random, 160, 260) if framed else log_uniform(random, 75, 140),
            inset=uniform(random, 45, 110),
            gap=gap,
            bow=uniform(random, -0.25, 0.25),
            rim=max(uniform(random, 0.2, 0.5) * gap, (270 if framed else 170) + 0.6 * thickness),
            reach=uniform(random, 1500, 3500) if framed else uniform(random, 700, 2000),
            tiers=tiers,
            loop=max(log_uniform(random, 80, 230), 60 + 0.4 * thickness),
            depth=uniform(random, 150, 400),
            downs=uniform(random, 0.0, 0.15) if bernoulli(random, 0.7) else 0.0,
            idle=uniform(random, 0.0, 0.08),
        )

    def ground(self, random: Random, frame: Frame) -> Iterator[Primitive]:
        """What the view shows everywhere: filler grain, and a laminate with its weave and a meshed plane."""
        grain, seed = log_uniform(random, 8.0, 30.0), integer(random, 0, 2**31)
        yield Grain(material="EMC", mean=60.0, rms=uniform(random, 10, 30), roughness=grain, seed=seed)
        if self.framed:
            return
        yield Weave(
            material="FR-4",
            period=(uniform(random, 320, 520), uniform(random, 320, 520)),
            mean=self.depth,
            swing=self.depth * uniform(random, 0.08, 0.2),
            turn_deg=frame.turn_deg,
            seed=seed,
        )
        if bernoulli(random, 0.5):
            mesh, low = uniform(random, 250, 600), -self.depth - self.metal
            bar = mesh * uniform(random, 0.25, 0.5)
            yield Lattice(
                material="Cu",
                at=frame.place(40.0, 70.0),
                sides=(3e4, 3e4),
                pitch=(mesh, mesh),
                cell=(bar, bar),
                bottom=low,
                top=low + self.metal,
                turn_deg=frame.turn_deg + choice(random, (0.0, 45.0)),
                pattern="mesh",
            )

    def support(self, unit: Frame) -> Iterator[Primitive]:
        """Mould compound and what the die lies on: a paddle with its tie bars, or a ground ring."""
        width, height = self.pitch
        low = -self.metal if self.framed else 0.0
        yield box("EMC", unit, (width - 300, height - 300), low, self.ceiling)
        x, y = self.die[0] / 2 + self.rim, self.die[1] / 2 + self.rim
        if not self.framed:
            ring = unit.places(((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)))
            yield Track(material="Cu", points=ring, width=0.2 * self.rim + 40, bottom=0.0, top=self.metal)
            return
        yield box("Cu", unit, (2 * x, 2 * y), low, 0.0)
        out, bar = self.gap + self.reach - self.rim, 1.1 * self.metal
        for dx, dy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
            tie = ((dx * (x + 0.3 * bar), dy * (y + 0.3 * bar)), (dx * (x + out), dy * (y + out)))
            yield Track(material="Cu", points=unit.places(tie), width=bar, bottom=low, top=0.0)

    def side(
        self, random: Random, frame: Frame, sight: Sight, *, odd: bool
    ) -> tuple[list[Feature], list[Primitive]]:
        """Wires and fingers of one side; the frame's y axis points out of it."""
        along, half = self.die[odd], self.die[1 - odd] / 2
        room = int((along + 1.4 * self.gap) / self.tip_pitch) - 2
        row = 1.05 * max(self.bonding.ball, 2 * self.bonding.diameter)
        free = along - 2 * (self.inset + self.tiers * row)
        number = max(min(int(free / self.pad_pitch), room), 3)
        step = free / number
        features: list[Feature] = []
        primitives: list[Primitive] = []
        for tier in range(min(self.tiers, number - 1)):
            count = number - tier
            fan = self.fan(tier=tier, count=count, half=half, step=max(1.04 * step, self.tip_pitch))
            pads = [((i - (count - 1) / 2) * step, half - self.inset - tier * row) for i in range(count)]
            features += self.wires(random, frame, sight, pads=pads, fan=fan, tier=tier)
            if self.framed:
                primitives += lead_fingers(fan, frame, sight)
            else:
                traces, fingers = laminate_fingers(random, fan, frame, sight, depth_um=self.depth)
                features += traces
                primitives += fingers
        return features, primitives

    def fan(self, *, tier: int, count: int, half: float, step: float) -> Fan:
        """The fingers of one row, on a line that is bowed inwards or outwards."""
        widest, base = max((count - 1) / 2 * step, 1.0), half + self.gap + tier * _ROW_UM
        own = [(i - (count - 1) / 2) * step for i in range(count)]
        return Fan(
            ends=tuple((x, base + self.bow * self.gap * (x / widest) ** 2) for x in own),
            focus_um=1.15 * max(widest, base),
            pitch=step,
            width=(0.58 if self.framed else 0.5) * min(step, 1.3 * self.tip_pitch),
            bottom=self.tips - self.metal if self.framed else 0.0,
            top=self.tips if self.framed else self.metal,
            reach=self.reach + (self.tiers - 1 - tier) * _ROW_UM,
        )

    def wires(
        self, random: Random, frame: Frame, sight: Sight, *, pads: list[Place], fan: Fan, tier: int
    ) -> Iterator[Feature]:
        """One tier of wires from pads to fingers; some pads are bonded down to the rim, some not at all."""
        out, floor = (0.6, 0.0) if self.framed else (1.0, self.metal)
        for (x, y), end in zip(pads, fan.ends, strict=True):
            draw, jitter = random.random(), random.normal(0.0, 3.0, 2).tolist()
            if draw < self.idle:
                continue
            start = frame.point(x + jitter[0], y + jitter[1], self.top)
            down = draw < self.idle + self.downs
            stop = frame.point(*end, fan.top)
            if down:
                stop = frame.point(x + 0.1 * (end[0] - x), y + self.inset + self.rim * out, floor)
            middle = (start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2, self.top
            if sight.sees(middle, 0.5 * abs(end[0] - x) + 0.5 * (end[1] - y) + self.loop):
                loop = self.loop * (1 + 0.35 * tier) * (0.8 if down else 1.0) * uniform(random, 0.97, 1.03)
                yield bond(random, self.bonding, start, stop, loop_um=loop)


def bond_wires(random: Random, *, view: View) -> Scene:
    """Dies in mould compound with their fans of bond wires, on a lead frame or on a laminate."""
    sight, plan = Sight(view), _Plan.drawn(random, view.pixel_um)
    # In the middle of the image stands the die where it fits, else a part of a fan.
    if min(view.extent_um) > 1.3 * max(plan.die):
        away = 0.25 * min(plan.die)
        focus: Point = (uniform(random, -away, away), uniform(random, -away, away), plan.top)
    else:
        side = integer(random, 0, 3)
        along, half = plan.die[side % 2], plan.die[1 - side % 2] / 2
        x, y = uniform(random, -0.55, 0.55) * along, half + plan.gap * uniform(random, -0.15, 1.0)
        focus = Frame(turn_deg=90.0 * side).point(x, y, 0.7 * plan.top)
    frame = sight.aimed(focus, part_angle_deg(random))
    features: list[Feature] = []
    surroundings = list(plan.ground(random, frame))
    most = 1 + int(_WIRES / (2 * sum(plan.die) * plan.tiers / plan.pad_pitch))
    units = list(sight.copies(frame, plan.pitch, z=plan.top, most=most))
    for unit in units:
        features.append(die(random, unit, plan.die, sight, bottom=0.0, top=plan.top, attach_um=plan.attach))
        surroundings += plan.support(unit)
        for number, edge in enumerate(unit.quarters()):
            found, fingers = plan.side(random, edge, sight, odd=number % 2 == 1)
            features += found
            surroundings += fingers
    facts: dict[str, float | str] = {
        "support": "lead frame" if plan.framed else "laminate",
        "wire": plan.bonding.material,
        "diameter_um": plan.bonding.diameter,
        "loop_um": plan.loop,
        "tiers": plan.tiers,
        "pad_pitch_um": plan.pad_pitch,
        "tip_pitch_um": plan.tip_pitch,
        "die_width_um": plan.die[0],
        "die_height_um": plan.die[1],
        "die_thickness_um": plan.thickness,
        "turn_deg": frame.turn_deg,
        "units": len(units),
    }
    return Scene("bond_wires", tuple(features), tuple(surroundings), facts)
