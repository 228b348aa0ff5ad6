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
    Slab,
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


def bond_wires(random: Random, *, view: View) -> Scene:
    """Dies in mould compound with their fans of bond wires, on a lead frame or on a laminate."""
    sight, plan = Sight(view), _plan(random, view.pixel_um)
    frame = sight.aimed(_focus(random, plan, view), part_angle_deg(random))
    features: list[Feature] = []
    surroundings = list(_ground(random, plan, frame))
    most = 1 + int(_WIRES / (2 * sum(plan.die) * plan.tiers / plan.pad_pitch))
    units = list(sight.copies(frame, plan.pitch, z=plan.top, most=most))
    for unit in units:
        features.append(die(random, unit, plan.die, sight, bottom=0.0, top=plan.top, attach_um=plan.attach))
        surroundings += _package(plan, unit)
        for side in range(4):
            found, fingers = _side(random, plan, unit.inner(0.0, 0.0, 90.0 * side), sight, odd=side % 2 == 1)
            features += found
            surroundings += fingers
    return Scene("bond_wires", tuple(features), tuple(surroundings), _facts(plan, frame, len(units)))


def _plan(random: Random, pixel_um: float) -> _Plan:
    framed = bernoulli(random, 0.5)
    tiers = 1 if framed else choice(random, (1, 2, 2, 3))
    width, thickness = log_uniform(random, 1500, 7000), log_uniform(random, 75, 350)
    sides = width, min(max(width * uniform(random, 0.55, 1.8), 1200.0), 9000.0)
    finest = max(45.0, 3 * pixel_um, 2 * sum(sides) * tiers / _WIRES)
    pad_pitch = max(log_uniform(random, 45, 140), finest)
    metals = ("Au", "Au", "Cu", "Cu") if framed else ("Au", "Au", "Cu", "Cu", "Al")
    gap = uniform(random, 800, 2200) if framed else uniform(random, 550, 1500)
    return _Plan(
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


def _focus(random: Random, plan: _Plan, view: View) -> Point:
    """What stands in the middle of the image: the die where it fits, else a part of a fan."""
    if min(view.extent_um) > 1.3 * max(plan.die):
        away = 0.25 * min(plan.die)
        return uniform(random, -away, away), uniform(random, -away, away), plan.top
    side = integer(random, 0, 3)
    along, half = plan.die[side % 2], plan.die[1 - side % 2] / 2
    x, y = uniform(random, -0.55, 0.55) * along, half + plan.gap * uniform(random, -0.15, 1.0)
    return (*Frame((0.0, 0.0), 90.0 * side).place(x, y), 0.7 * plan.top)


def _ground(random: Random, plan: _Plan, frame: Frame) -> Iterator[Primitive]:
    """What the view shows everywhere: filler grain, and a laminate with its weave and a meshed plane."""
    grain, seed = log_uniform(random, 8.0, 30.0), integer(random, 0, 2**31)
    yield Grain(material="EMC", mean=60.0, rms=uniform(random, 10, 30), roughness=grain, seed=seed)
    if plan.framed:
        return
    yield Weave(
        material="FR-4",
        period=(uniform(random, 320, 520), uniform(random, 320, 520)),
        mean=plan.depth,
        swing=plan.depth * uniform(random, 0.08, 0.2),
        turn_deg=frame.turn_deg,
        seed=seed,
    )
    if bernoulli(random, 0.5):
        mesh, low = uniform(random, 250, 600), -plan.depth - plan.metal
        bar = mesh * uniform(random, 0.25, 0.5)
        yield Lattice(
            material="Cu",
            at=frame.place(40.0, 70.0),
            sides=(3e4, 3e4),
            pitch=(mesh, mesh),
            cell=(bar, bar),
            bottom=low,
            top=low + plan.metal,
            turn_deg=frame.turn_deg + choice(random, (0.0, 45.0)),
            pattern="mesh",
        )


def _package(plan: _Plan, unit: Frame) -> Iterator[Primitive]:
    """Mould compound and what the die lies on: a paddle with its tie bars, or a ground ring."""
    width, height = plan.pitch
    body = width - 300, height - 300
    low = -plan.metal if plan.framed else 0.0
    yield Slab(material="EMC", at=unit.at, sides=body, bottom=low, top=plan.ceiling, turn_deg=unit.turn_deg)
    x, y = plan.die[0] / 2 + plan.rim, plan.die[1] / 2 + plan.rim
    if not plan.framed:
        ring = unit.places(((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)))
        yield Track(material="Cu", points=ring, width=0.2 * plan.rim + 40, bottom=0.0, top=plan.metal)
        return
    yield Slab(material="Cu", at=unit.at, sides=(2 * x, 2 * y), bottom=low, top=0.0, turn_deg=unit.turn_deg)
    out, bar = plan.gap + plan.reach - plan.rim, 1.1 * plan.metal
    for dx, dy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        tie = unit.places(((dx * (x + 0.3 * bar), dy * (y + 0.3 * bar)), (dx * (x + out), dy * (y + out))))
        yield Track(material="Cu", points=tie, width=bar, bottom=low, top=0.0)


def _side(
    random: Random, plan: _Plan, frame: Frame, sight: Sight, *, odd: bool
) -> tuple[list[Feature], list[Primitive]]:
    """Wires and fingers of one side; the frame's y axis points out of it."""
    along, half = plan.die[odd], plan.die[1 - odd] / 2
    room = int((along + 1.4 * plan.gap) / plan.tip_pitch) - 2
    row = 1.05 * max(plan.bonding.ball, 2 * plan.bonding.diameter)
    free = along - 2 * (plan.inset + plan.tiers * row)
    count = max(min(int(free / plan.pad_pitch), room), 3)
    step = free / count
    features: list[Feature] = []
    primitives: list[Primitive] = []
    for tier in range(min(plan.tiers, count - 1)):
        fan = _fan(plan, tier=tier, count=count - tier, half=half, step=max(1.04 * step, plan.tip_pitch))
        pads = [
            ((i - (count - tier - 1) / 2) * step, half - plan.inset - tier * row) for i in range(count - tier)
        ]
        features += _wires(random, plan, frame, sight, pads=pads, fan=fan, tier=tier)
        if plan.framed:
            primitives += lead_fingers(fan, frame, sight)
        else:
            traces, fingers = laminate_fingers(random, fan, frame, sight, depth_um=plan.depth)
            features += traces
            primitives += fingers
    return features, primitives


def _fan(plan: _Plan, *, tier: int, count: int, half: float, step: float) -> Fan:
    """The fingers of one row, on a line that is bowed inwards or outwards."""
    widest = max((count - 1) / 2 * step, 1.0)
    own = [(i - (count - 1) / 2) * step for i in range(count)]
    base = half + plan.gap + tier * _ROW_UM
    return Fan(
        ends=tuple((x, base + plan.bow * plan.gap * (x / widest) ** 2) for x in own),
        focus_um=1.15 * max(widest, base),
        pitch=step,
        width=(0.58 if plan.framed else 0.5) * min(step, 1.3 * plan.tip_pitch),
        bottom=plan.tips - plan.metal if plan.framed else 0.0,
        top=plan.tips if plan.framed else plan.metal,
        reach=plan.reach + (plan.tiers - 1 - tier) * _ROW_UM,
    )


def _wires(
    random: Random, plan: _Plan, frame: Frame, sight: Sight, *, pads: list[Place], fan: Fan, tier: int
) -> Iterator[Feature]:
    """One tier of wires from pads to fingers; some pads are bonded down to the rim, some not at all."""
    for pad, end in zip(pads, fan.ends, strict=True):
        draw, jitter = random.random(), random.normal(0.0, 3.0, 2).tolist()
        if draw < plan.idle:
            continue
        start = frame.point(pad[0] + jitter[0], pad[1] + jitter[1], plan.top)
        down = draw < plan.idle + plan.downs
        rim = (
            pad[0] + 0.1 * (end[0] - pad[0]),
            pad[1] + plan.inset + plan.rim * (0.6 if plan.framed else 1.0),
        )
        floor = (0.0 if plan.framed else plan.metal) if down else fan.top
        stop = frame.point(*(rim if down else end), floor)
        middle = (start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2, plan.top
        if sight.sees(middle, 0.5 * abs(end[0] - pad[0]) + 0.5 * (end[1] - pad[1]) + plan.loop):
            loop = plan.loop * (1 + 0.35 * tier) * (0.8 if down else 1.0) * uniform(random, 0.97, 1.03)
            yield bond(random, plan.bonding, start, stop, loop_um=loop)


def _facts(plan: _Plan, frame: Frame, units: int) -> dict[str, float | str]:
    return {
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
        "units": units,
    }
