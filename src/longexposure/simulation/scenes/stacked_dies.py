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
    Primitive,
    Scene,
    Weave,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.bonds import Bonding, Fan, bond, draw_bonding, laminate_fingers
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

    @classmethod
    def drawn(cls, random: Random, pixel_um: float) -> _Stack:
        number, thickness = integer(random, 2, 8), uniform(random, 40, 120)
        step, film = uniform(random, 180, 350), uniform(random, 8, 20)
        first = number if number < 4 or bernoulli(random, 0.4) else number // 2
        shifts = [
            -step * k if k < first else -step * (first - 1) + step * (k - first + 1) for k in range(number)
        ]
        metal, width = uniform(random, 12, 22), log_uniform(random, 3000, 11000)
        loop = uniform(random, 60, 110)
        pitch = log_uniform(random, max(55.0, 3.2 * pixel_um), 150)
        return cls(
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

    def ground(self, random: Random, frame: Frame) -> Iterator[Primitive]:
        """Mould compound with its filler, laminate with its weave, a plane of copper with holes for gas."""
        seed, high = integer(random, 0, 2**31), self.tops[-1] + self.loop + 180
        yield box("EMC", frame, (4 * self.sides[0], 4 * self.sides[1]), 0, high)
        rms, roughness = uniform(random, 10, 30), log_uniform(random, 8, 25)
        yield Grain(material="EMC", mean=60.0, rms=rms, roughness=roughness, seed=seed)
        period, swing = uniform(random, 320, 520), self.depth * uniform(random, 0.08, 0.2)
        yield Weave(
            material="FR-4",
            period=(period, period),
            mean=self.depth,
            swing=swing,
            turn_deg=frame.turn_deg,
            seed=seed,
        )
        if bernoulli(random, 0.6):
            wide, low = uniform(random, 250, 600), -self.depth - self.metal
            yield box("Cu", frame, (3e4, 3e4), low, low + self.metal)
            yield Lattice(
                material="Cu",
                amount=-1,
                at=frame.at,
                sides=(3e4, 3e4),
                pitch=(wide, wide),
                cell=(0.35 * wide, 0.35 * wide),
                bottom=low,
                top=low + self.metal,
                turn_deg=frame.turn_deg,
                pattern="dot",
                stagger=choice(random, (0.0, 0.5)),
            )

    def cascade(
        self, random: Random, frame: Frame, sight: Sight, *, edge: int, members: range
    ) -> tuple[list[Feature], list[Primitive]]:
        """Wires of dies bonded at one edge, each to the die below, the lowest to the laminate; fingers."""
        own = frame if edge == 1 else frame.inner(0.0, 0.0, 180.0)
        half, shifts = self.sides[1] / 2, [edge * shift for shift in self.shifts]
        reach = half + max(shifts) + self.gap
        fan = Fan(
            ends=tuple(((i - (self.count - 1) / 2) * self.pitch * 1.08, reach) for i in range(self.count)),
            focus_um=2.5 * self.sides[0],
            pitch=1.08 * self.pitch,
            width=0.55 * self.pitch,
            bottom=0.0,
            top=self.metal,
            reach=uniform(random, 700, 1800),
        )
        features, fingers = laminate_fingers(random, fan, own, sight, depth_um=self.depth)
        free = uniform(random, 0.0, 0.3)
        for index, (end, y) in enumerate(fan.ends):
            x, target = end / 1.08, (end, y, self.metal)
            for die in members[:1] if index % 7 == 6 else members:
                upper = die != members[0]
                if upper and bernoulli(random, free):
                    continue
                start = x, half + shifts[die] - 70, self.tops[die]
                middle = own.point((x + target[0]) / 2, (start[1] + target[1]) / 2, start[2])
                if sight.sees(middle, 0.5 * abs(target[1] - start[1]) + self.loop + 100):
                    loop = self.loop * uniform(random, 0.95, 1.05) * (0.9 if upper else 1.1)
                    ends = own.point(*start), own.point(*target)
                    features.append(bond(random, self.bonding, *ends, loop_um=loop))
                target = x, start[1] - 0.4 * self.bonding.ball, start[2]
        return features, fingers


def stacked_dies(random: Random, *, view: View) -> Scene:
    """A stack of memory dies in stairs on a laminate; wires lead from die to die and to fingers."""
    sight, stack = Sight(view), _Stack.drawn(random, view.pixel_um)
    away = 0.15 * min(view.extent_um) + uniform(random, 0.0, 600.0)
    focus = uniform(random, -0.4, 0.4) * stack.sides[0], stack.sides[1] / 2 + uniform(random, -away, away)
    turn = part_angle_deg(random)
    frame = sight.aimed((*focus, 0.6 * stack.tops[-1]), turn)
    features: list[Feature] = []
    for shift, top in zip(stack.shifts, stack.tops, strict=True):
        silicon = box("Si", frame, stack.sides, top - stack.thickness, top, y=shift)
        displaced = replace(silicon, material="EMC", amount=-1)
        features.append(slab_feature("die", silicon, (displaced,), z=top))
    surroundings = list(stack.ground(random, frame))
    for edge, members in ((1, range(stack.first)), (-1, range(stack.first, len(stack.tops)))):
        if members:
            found, fingers = stack.cascade(random, frame, sight, edge=edge, members=members)
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
