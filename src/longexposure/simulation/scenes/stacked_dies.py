"""Stacks of memory dies in stairs on a laminate, bonded in cascade from die to die.

Typical figures: two to eight dies of 3 to 11 mm, 40 to 120 um thick on films of 8 to 20 um, in stairs of 180
to 350 um, pads every 55 to 150 um, loops of 60 to 110 um; laminate of 120 to 300 um.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    Weave,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import Bonding, Fan, bond, draw_bonding, laminate_fingers
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """A stack of equal dies, um.

    Attributes:
        sides, thickness: of a die.
        shifts: where each die lies along y.
        tops: heights of their upper sides.
        first: so many dies are bonded at their +y edges, those above
            them, on a film as thick as the lower wires are high, at their -y edges.
        pitch, count: of the pads of a die.
        gap: from the lowest die to the fingers.
        metal, depth: thickness of the laminate's copper and of the laminate.
        bonding, loop: of the wires.
    """

    sides: Place
    thickness: float
    shifts: tuple[float, ...]
    tops: tuple[float, ...]
    first: int
    pitch: float
    count: int
    gap: float
    metal: float
    depth: float
    bonding: Bonding
    loop: float


def stacked_dies(random: Random, *, view: View) -> Scene:
    """A stack of memory dies in stairs on a laminate; wires lead from die to die and to fingers."""
    sight, stack = Sight(view), _stack(random, view.pixel_um)
    away = 0.15 * min(view.extent_um) + uniform(random, 0.0, 600.0)
    focus = uniform(random, -0.4, 0.4) * stack.sides[0], stack.sides[1] / 2 + uniform(random, -away, away)
    turn = part_angle_deg(random)
    frame = sight.aimed((*focus, 0.6 * stack.tops[-1]), turn)
    features: list[Feature] = [*_dies(stack, frame)]
    surroundings = list(_laminate(random, stack, frame))
    for edge, members in ((1, range(stack.first)), (-1, range(stack.first, len(stack.tops)))):
        if members:
            found, fingers = _cascade(random, stack, frame, sight, edge=edge, members=members)
            features += found
            surroundings += fingers
    facts: dict[str, float | str] = {
        "dies": len(stack.tops),
        "die_width_um": stack.sides[0],
        "die_height_um": stack.sides[1],
        "die_thickness_um": stack.thickness,
        "pad_pitch_um": stack.pitch,
        "wire": stack.bonding.material,
        "diameter_um": stack.bonding.diameter,
        "turn_deg": turn,
    }
    return Scene("stacked_dies", tuple(features), tuple(surroundings), facts)


def _stack(random: Random, pixel_um: float) -> _Stack:
    number, thickness = integer(random, 2, 8), uniform(random, 40, 120)
    step, film = uniform(random, 180, 350), uniform(random, 8, 20)
    first = number if number < 4 or bernoulli(random, 0.4) else number // 2
    shifts = [-step * k if k < first else -step * (first - 1) + step * (k - first + 1) for k in range(number)]
    metal, width = uniform(random, 12, 22), log_uniform(random, 3000, 11000)
    loop = uniform(random, 60, 110)
    pitch = log_uniform(random, max(55.0, 3.2 * pixel_um), 150)
    return _Stack(
        sides=(width, width * uniform(random, 0.6, 1.5)),
        thickness=thickness,
        shifts=tuple(shifts),
        tops=tuple(
            metal + (k + 1) * (thickness + film) + (1.3 * loop + 30) * (k >= first) for k in range(number)
        ),
        first=first,
        pitch=pitch,
        count=min(int((width - 300) / pitch), 90),
        gap=uniform(random, 250, 700),
        metal=metal,
        depth=uniform(random, 120, 300),
        bonding=draw_bonding(random, pixel_um=pixel_um, pitch_um=pitch, materials=("Au", "Au", "Cu")),
        loop=loop,
    )


def _dies(stack: _Stack, frame: Frame) -> Iterator[Feature]:
    for shift, top in zip(stack.shifts, stack.tops, strict=True):
        at, turn, base = frame.place(0.0, shift), frame.turn_deg, top - stack.thickness
        silicon = Slab(material="Si", at=at, sides=stack.sides, bottom=base, top=top, turn_deg=turn)
        about = {
            "width_um": stack.sides[0],
            "height_um": stack.sides[1],
            "turn_deg": turn,
            "bottom_um": base,
            "top_um": top,
        }
        displaced = replace(silicon, material="EMC", amount=-1)
        yield Feature("die", (*at, top), max(stack.sides), (silicon, displaced), about)


def _laminate(random: Random, stack: _Stack, frame: Frame) -> Iterator[Primitive]:
    """Mould compound with its filler, laminate with its weave, a plane of copper with holes for gas."""
    turn, seed = frame.turn_deg, integer(random, 0, 2**31)
    high = stack.tops[-1] + stack.loop + 180
    yield Slab(
        material="EMC",
        at=frame.at,
        sides=(4 * stack.sides[0], 4 * stack.sides[1]),
        bottom=0,
        top=high,
        turn_deg=turn,
    )
    yield Grain(
        material="EMC",
        mean=60.0,
        rms=uniform(random, 10, 30),
        roughness=log_uniform(random, 8, 25),
        seed=seed,
    )
    period, swing = uniform(random, 320, 520), stack.depth * uniform(random, 0.08, 0.2)
    yield Weave(
        material="FR-4", period=(period, period), mean=stack.depth, swing=swing, turn_deg=turn, seed=seed
    )
    if bernoulli(random, 0.6):
        wide, low = uniform(random, 250, 600), -stack.depth - stack.metal
        plane = Slab(
            material="Cu", at=frame.at, sides=(3e4, 3e4), bottom=low, top=low + stack.metal, turn_deg=turn
        )
        yield plane
        yield Lattice(
            material="Cu",
            amount=-1,
            at=frame.at,
            sides=(3e4, 3e4),
            pitch=(wide, wide),
            cell=(0.35 * wide, 0.35 * wide),
            bottom=low,
            top=low + stack.metal,
            turn_deg=turn,
            pattern="dot",
            stagger=choice(random, (0.0, 0.5)),
        )


def _cascade(
    random: Random, stack: _Stack, frame: Frame, sight: Sight, *, edge: int, members: range
) -> tuple[list[Feature], list[Primitive]]:
    """Wires of the dies that are bonded at one edge, each to the die below, the lowest to the laminate."""
    own = frame if edge == 1 else frame.inner(0.0, 0.0, 180.0)
    half, shifts = stack.sides[1] / 2, [edge * shift for shift in stack.shifts]
    reach = half + max(shifts) + stack.gap
    fan = Fan(
        ends=tuple(((i - (stack.count - 1) / 2) * stack.pitch * 1.08, reach) for i in range(stack.count)),
        focus_um=2.5 * stack.sides[0],
        pitch=1.08 * stack.pitch,
        width=0.55 * stack.pitch,
        bottom=0.0,
        top=stack.metal,
        reach=uniform(random, 700, 1800),
    )
    features, fingers = laminate_fingers(random, fan, own, sight, depth_um=stack.depth)
    free = uniform(random, 0.0, 0.3)
    for index, end in enumerate(fan.ends):
        x = end[0] / 1.08
        target = end[0], end[1], stack.metal
        for die in members:
            start = x, half + shifts[die] - 70, stack.tops[die]
            if die == members[0] or not bernoulli(random, free):
                features += _hop(
                    random, stack, own, sight, start=start, target=target, upper=die != members[0]
                )
                target = x, start[1] - 0.4 * stack.bonding.ball, start[2]
            if index % 7 == 6 and die == members[0]:
                break
    return features, fingers


def _hop(
    random: Random,
    stack: _Stack,
    frame: Frame,
    sight: Sight,
    *,
    start: Point,
    target: Point,
    upper: bool,
) -> Iterator[Feature]:
    middle = frame.point((start[0] + target[0]) / 2, (start[1] + target[1]) / 2, start[2])
    if sight.sees(middle, 0.5 * abs(target[1] - start[1]) + stack.loop + 100):
        loop = stack.loop * uniform(random, 0.95, 1.05) * (0.9 if upper else 1.1)
        yield bond(random, stack.bonding, frame.point(*start), frame.point(*target), loop_um=loop)
