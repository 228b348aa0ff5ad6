"""Bonds of a die: wires that loop in space, the fingers that they end on, and the die itself.

Typical figures: gold and copper wires of 15 to 50 um with balls of 2 to 3 diameters, aluminium wedges of 25
to 50 um, loops 80 to 350 um high and 0.6 to 4 mm long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import atan2, degrees, dist, hypot, pi, sin

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import (
    Cylinder,
    Ellipsoid,
    Feature,
    Place,
    Point,
    Primitive,
    Track,
    Wire,
)
from longexposure.simulation.scenes.components.features import box, slab_feature, trace_feature
from longexposure.simulation.scenes.draws import Random, bernoulli, choice, integer, log_uniform, uniform

_RISE = ((0.12, 0.45), (0.35, 0.78), (0.65, 0.95), (1.0, 1.0))
_FALL = 9
_DIAMETERS = (15.0, 18.0, 20.0, 23.0, 25.0, 28.0, 30.0, 33.0, 38.0, 50.0)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The course of a wire from its first bond to its second.

    Attributes:
        kink: fraction of the span within which the wire has risen to its full height.
        level: fraction of the span that then runs nearly level.
        fall: exponent of the fall to the second bond: 1 straight, 2 a parabola.
        sweep: largest sideways bow as a fraction of the span, to the right of its course where positive.
    """

    kink: float = 0.07
    level: float = 0.0
    fall: float = 1.8
    sweep: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Bonding:
    """What the wires of one die have in common; `ball` is the ball's diameter in um, 0 for a wedge bond."""

    material: str
    diameter: float
    ball: float
    loop: Loop
    sway: float = 0.006


def loop_points(start: Point, end: Point, *, height: float, loop: Loop) -> tuple[Point, ...]:
    """A wire's middle line in um: steeply up from `start` to `height` above it, then in an arc to `end`."""
    along = end[0] - start[0], end[1] - start[1]
    top, edge = start[2] + height, loop.kink + loop.level
    shoulder = top - 0.06 * (top - end[2]) * (loop.level > 0)
    course = [(loop.kink * fraction, start[2] + height * rise) for fraction, rise in _RISE]
    for step in range(_FALL + 1):
        fraction = step / _FALL
        if step or loop.level:
            course.append(
                (edge + (1 - edge) * fraction, end[2] + (shoulder - end[2]) * (1 - fraction**loop.fall))
            )
    middle = [
        (
            start[0] + fraction * along[0] - loop.sweep * sin(pi * fraction) * along[1],
            start[1] + fraction * along[1] + loop.sweep * sin(pi * fraction) * along[0],
            z,
        )
        for fraction, z in course[:-1]
    ]
    return (start, *middle, end)


def bond(random: Random, bonding: Bonding, start: Point, end: Point, *, loop_um: float) -> Feature:
    """A wire from a pad to a finger, both given on their surfaces, with the bonds at its two ends."""
    diameter, loop = bonding.diameter, bonding.loop
    lift = 0.3 * bonding.ball if bonding.ball else 0.4 * diameter
    sweep = loop.sweep + float(random.normal(0.0, bonding.sway))
    first, last = (*start[:2], start[2] + lift), (*end[:2], end[2] + 0.35 * diameter)
    wire = Wire(
        material=bonding.material,
        points=loop_points(first, last, height=loop_um - lift, loop=replace(loop, sweep=sweep)),
        diameter=diameter,
    )
    span = dist(start[:2], end[:2])
    wedge = Ellipsoid(
        material=bonding.material,
        at=end,
        radii=(1.7 * diameter, 0.8 * diameter, 0.45 * diameter),
        turn_deg=degrees(atan2(end[1] - start[1], end[0] - start[0])),
        bottom=end[2],
    )
    head = replace(wedge, at=start, bottom=start[2])
    if bonding.ball:
        # A ball is squashed on the pad to some two thirds of its width in height.
        radius = bonding.ball / 2
        at, radii = (*start[:2], start[2] + 0.22 * radius), (radius, radius, 0.62 * radius)
        head = Ellipsoid(material=bonding.material, at=at, radii=radii, bottom=start[2])
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, start[2] + 0.7 * loop_um)
    about = {"diameter_um": diameter, "length_um": span, "loop_um": loop_um}
    return Feature("wire", middle, diameter, (wire, head, wedge), about)


def draw_bonding(
    random: Random,
    *,
    pixel_um: float,
    pitch_um: float,
    materials: Sequence[str] = ("Au", "Au", "Cu", "Cu", "Al"),
) -> Bonding:
    """Wires of one of the materials that fit pads of this pitch and that pixels of this size can show."""
    wide = [d for d in _DIAMETERS if 1.1 * pixel_um <= d <= 0.48 * pitch_um]
    diameter = choice(random, wide or _DIAMETERS[:5])
    material = choice(random, materials)
    ball = 0.0 if material == "Al" else min(uniform(random, 2.0, 3.0) * diameter, 0.95 * pitch_um)
    level = uniform(random, 0.2, 0.5) if bernoulli(random, 0.35) else 0.0
    loop = Loop(
        kink=uniform(random, 0.03, 0.1),
        level=level,
        fall=uniform(random, 1.5, 2.6),
        sweep=float(random.normal(0.0, 0.008)),
    )
    return Bonding(
        material=material, diameter=diameter, ball=ball, loop=loop, sway=uniform(random, 0.002, 0.01)
    )


def die(
    random: Random, frame: Frame, sides: Place, sight: Sight, *, bottom: float, top: float, attach_um: float
) -> Feature:
    """A silicon die on a layer of silver-filled epoxy, of solder or of film, with a few small voids.

    Silver epoxy, with about a quarter silver by volume, is drawn as the silver that is in it.

    Args:
        random: draws the kind of layer and the voids.
        frame: its origin is the die's middle.
        sides: of the die along the frame's x and y, um.
        sight: voids that it does not show are left out.
        bottom: of the layer, um.
        top: of the die, um.
        attach_um: thickness of the layer.
    """
    attach, fraction = choice(random, (("Ag", 0.26), ("Ag", 0.26), ("Sn63Pb37", 1.0), ("epoxy", 1.0)))
    base = bottom + attach_um
    low = base - fraction * attach_um
    silicon = box("Si", frame, sides, base, top)
    others: list[Primitive] = [
        replace(silicon, material="EMC", amount=-1),
        box(attach, frame, sides, low, base),
    ]
    largest = log_uniform(random, 15, 0.03 * min(sides) + 15)
    for _ in range(int(log_uniform(random, 2, 250))):
        at = frame.place(*(uniform(random, -0.48, 0.48) * side for side in sides))
        radius = log_uniform(random, 0.15 * largest, largest)
        if sight.sees((*at, base), radius):
            others.append(Cylinder(material=attach, amount=-1, at=at, radius=radius, bottom=low, top=base))
    return slab_feature("die", silicon, others)


@dataclass(frozen=True, kw_only=True)
class Fan:
    """One row of fingers beside a die, in a frame whose y axis points outwards from the die's middle.

    Attributes:
        ends: where the wires end, own x and y.
        focus_um: distance behind the fingers from which they fan out.
        pitch, width: of the fingers.
        bottom, top: their heights.
        reach: how far their traces or shafts run outwards.
    """

    ends: tuple[Place, ...]
    focus_um: float
    pitch: float
    width: float
    bottom: float
    top: float
    reach: float

    def heading(self, end: Place) -> Place:
        """Direction of a finger, as a unit vector of the own axes."""
        length = hypot(end[0], self.focus_um)
        return end[0] / length, self.focus_um / length


def lead_fingers(fan: Fan, frame: Frame, sight: Sight) -> Iterator[Primitive]:
    """Inner leads of a lead frame: they spread from their tips, bend, and leave in parallel."""
    bend = 0.55 * fan.reach
    for end in fan.ends:
        dx, dy = fan.heading(end)
        tip = end[0] - 0.8 * fan.width * dx, end[1] - 0.8 * fan.width * dy
        corner = end[0] + bend * dx / dy, end[1] + bend
        if sight.sees(frame.point(*corner, fan.top), fan.reach):
            points = frame.places((tip, corner, (corner[0], end[1] + fan.reach)))
            yield Track(material="Cu", points=points, width=fan.width, bottom=fan.bottom, top=fan.top)


def laminate_fingers(
    random: Random, fan: Fan, frame: Frame, sight: Sight, *, depth_um: float
) -> tuple[list[Feature], list[Primitive]]:
    """Fingers of a laminate; from each a trace runs outwards to a via through `depth_um` of laminate."""
    features: list[Feature] = []
    fingers: list[Primitive] = []
    bottom, top, thick = fan.bottom, fan.top, fan.top - fan.bottom
    width, rows = uniform(random, 0.35, 0.5) * fan.width, integer(random, 2, 5)
    radius, length = uniform(random, 35.0, 60.0), uniform(random, 2.5, 4.0) * fan.width
    bend = choice(random, (-1, 0, 0, 1)) * 0.1 * fan.reach
    for index, end in enumerate(fan.ends):
        (x, y), (dx, dy) = end, fan.heading(end)
        if not sight.sees(frame.point(x, y, top), fan.reach + length):
            continue
        fingers.append(box("Cu", frame.inner(x, y, degrees(atan2(dy, dx))), (length, fan.width), bottom, top))
        run = fan.reach * (0.25 + 0.75 * (index % rows + 1) / rows)
        first, second = 0.5 * (length + width), 0.6 * run
        points = frame.places(
            (
                (x + first * dx, y + first * dy),
                (x + second * dx, y + second * dy),
                (x + run * dx + bend, y + run * dy),
            )
        )
        gap, at, low = fan.pitch - width, points[2], bottom - depth_um - thick
        features.append(trace_feature(points, width, gap, bottom=bottom, top=top, z=top))
        land = Cylinder(
            material="Cu", at=at, radius=1.7 * radius, inner_radius=radius, bottom=bottom, top=bottom + thick
        )
        via = (
            replace(land, radius=radius, inner_radius=0.7 * radius, bottom=low, top=top),
            land,
            replace(land, bottom=low, top=low + thick),
        )
        about = {"radius_um": radius, "bottom_um": low, "top_um": top}
        features.append(Feature("via", (*at, (bottom - depth_um + top) / 2), 2 * radius, via, about))
    return features, fingers
