"""Defects of vias, dies, bodies and fillets: missing metal and cracks; and foreign particles.

Figures are what inspection shows: cracks of 2 to 15 um, a tenth to six tenths of a barrel without metal,
debris of 20 to 200 um.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import cos, pi, radians, sin, tan

import numpy as np

from longexposure.simulation.defects.kind import (
    LEAST_PX,
    Defect,
    DefectKind,
    Numbers,
    as_point,
    as_points,
    drawn_um,
    is_body,
    seen_place,
    span,
    ways_along,
    well_inside,
)
from longexposure.simulation.geometry.frame import Frame, as_places, rotated
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cylinder,
    Ellipsoid,
    Feature,
    Place,
    Primitive,
    Scene,
    Slab,
    Track,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, choice, log_uniform, uniform

_TRIES = 24


def via_void(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A ring of the barrel that was not plated, or a seam in the middle of a filled via."""
    barrel: Cylinder = feature.primitives[0]  # type: ignore[assignment]
    deep = barrel.top - barrel.bottom
    size = drawn_um(random, view, 0.25 * deep, most=0.6 * deep)
    if size is None:
        return None
    z = uniform(random, barrel.bottom + size / 2, barrel.top - size / 2)
    at = (*barrel.at, z)
    hole: Primitive
    if barrel.inner_radius > 0:
        hole = replace(barrel, amount=-barrel.amount, bottom=z - size / 2, top=z + size / 2)
    else:
        wide = barrel.radius * uniform(random, 0.5, 0.85)
        radii = (wide, wide, size / 2)
        hole = Ellipsoid(material=barrel.material, amount=-barrel.amount, at=at, radii=radii)
    return Defect("via void", "via", at, size, removed=(), added=(hole,))


def crack(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A thin, jagged line along which die, body or fillet is parted; a barrel breaks across."""
    main = feature.primitives[0]
    if isinstance(main, Slab):
        return _split(feature, main, random, view)
    if isinstance(main, Wedge):
        return _parted(feature, main, random, view)
    if isinstance(main, Cylinder) and feature.kind == "via":
        return _ring(feature, main, random, view)
    return None


def _split(feature: Feature, main: Slab, random: Random, view: View) -> Defect | None:
    """A crack of a die or a ceramic body from face to face."""
    layers = [
        primitive
        for primitive in feature.primitives
        if isinstance(primitive, Slab) and (primitive.material == main.material or 0 < primitive.amount < 1)
    ]
    frame = Frame(main.at, main.turn_deg)
    wide = max(log_uniform(random, 2.0, 15.0), 0.7 * view.pixel_um)
    most = 0.7 * min(view.extent_um)
    long = drawn_um(random, view, 0.4 * min(*main.sides, most), most=min(most, 0.9 * max(main.sides)))
    place = _seen_within(main, random, view)
    if long is None or long < 6 * wide or place is None:
        return None
    mine = [layer for layer in layers if _contains(layer, place)]
    start = rotated(place - np.array(main.at), -main.turn_deg)
    box = _common(mine, frame, wide)
    path = _jagged(random, start.clip(*box), long, wide, box=box)
    long = float(ways_along(path)[-1])
    if len(path) < 3 or long < 4 * wide:
        return None
    line = frame.places(as_places(path))
    added = tuple(
        Track(material=s.material, amount=-s.amount, points=line, width=wide, bottom=s.bottom, top=s.top)
        for s in mine
    )
    at = frame.place(*path.mean(axis=0).tolist())
    return Defect("crack", feature.kind, (*at, (main.bottom + main.top) / 2), long, removed=(), added=added)


def _seen_within(main: Slab, random: Random, view: View) -> Place | None:
    """A place above the slab that is seen."""
    middle = (main.bottom + main.top) / 2
    for _ in range(_TRIES):
        place = seen_place(random, view, main, middle)
        if _contains(main, place) and well_inside(view, (*place, middle)):
            return place
    return None


def _contains(layer: Slab, place: Place) -> bool:
    low, high = span(layer, [place])
    return bool(high[0] > low[0])


def _common(layers: list[Slab], frame: Frame, wide: float) -> tuple[Numbers, Numbers]:
    """Corners of what layers of one turn have in common, in the frame's axes, less half a crack's width."""
    turn = radians(-frame.turn_deg)
    c, s = cos(turn), sin(turn)
    away = [np.subtract(layer.at, frame.at) for layer in layers]
    middles = np.array([(c * x - s * y, s * x + c * y) for x, y in away])
    half = np.array([layer.sides for layer in layers]) / 2 - wide / 2
    return (middles - half).max(axis=0), (middles + half).min(axis=0)


def _jagged(
    random: Random, start: Numbers, long: float, wide: float, *, box: tuple[Numbers, Numbers]
) -> Numbers:
    """A crack through `start`, both ways, with kinks; it ends at the box's edge."""
    heading, step = uniform(random, 0, 2 * pi), max(long / 18, 2.0 * wide)
    branches = []
    for way in (heading, heading + pi):
        points, turn, at = [], way, start
        for _ in range(int(long / 2 / step) + 1):
            turn = way + 0.6 * float(random.standard_normal())
            by = step * uniform(random, 0.4, 1.6) * np.array([cos(turn), sin(turn)])
            left = np.where(by > 0, box[1] - at, box[0] - at)
            fraction = float(np.min(np.where(by != 0, left / np.where(by != 0, by, 1.0), 1.0), initial=1.0))
            at = at + max(fraction, 0.0) * by
            points.append(at)
            if fraction < 1:
                break
        branches.append(points)
    return np.array([*branches[0][::-1], start, *branches[1]])


def _parted(feature: Feature, main: Wedge, random: Random, view: View) -> Defect | None:
    """A crack across a fillet, as deep as the solder is high at each place."""
    wide = max(log_uniform(random, 3.0, 15.0), 0.7 * view.pixel_um)
    reach, across = main.sides
    if reach < 4 * wide or across < LEAST_PX * view.pixel_um:
        return None
    frame = Frame(main.at, main.turn_deg)
    x, lean = uniform(random, -0.35, 0.2) * reach, uniform(random, -0.3, 0.3)
    count = max(int(across / max(2 * wide, view.pixel_um)), 3)
    added: list[Primitive] = []
    for index in range(count):
        y = ((index + 0.5) / count - 0.5) * across
        jag = x + lean * y + 0.5 * wide * float(random.standard_normal())
        place = frame.place(min(max(jag, -0.45 * reach), 0.45 * reach), y)
        sides = wide, across / count
        added += _sawn(feature, place, sides, main.turn_deg)
    at = frame.point(x, 0.0, (main.bottom + main.top) / 2)
    return Defect("crack", "joint", at, across, removed=(), added=tuple(added))


def _sawn(feature: Feature, place: Place, sides: Place, turn_deg: float) -> Iterator[Slab]:
    """Slabs that take away the solder above a place."""
    for primitive in feature.primitives:
        if (
            primitive.material != feature.primitives[0].material
            or primitive.amount <= 0
            or not is_body(primitive)
        ):
            continue
        low, high = span(primitive, [place])
        if high[0] - low[0] > 1e-3:
            bottom, top = float(low[0]), float(high[0])
            yield Slab(
                material=primitive.material,
                amount=-primitive.amount,
                at=place,
                sides=sides,
                bottom=bottom,
                top=top,
                turn_deg=turn_deg,
            )


def _ring(feature: Feature, main: Cylinder, random: Random, view: View) -> Defect | None:
    """A barrel that is broken across, seen obliquely only."""
    lean = tan(radians(view.tilt_deg))
    wide = max(log_uniform(random, 4.0, 25.0), LEAST_PX * view.pixel_um / max(lean, 1e-9))
    if lean < 0.3 or wide > 0.1 * (main.top - main.bottom):
        return None
    z = uniform(random, main.bottom + wide, main.top - wide)
    gap = replace(main, amount=-main.amount, bottom=z - wide / 2, top=z + wide / 2)
    return Defect("crack", "via", (*main.at, z), wide, removed=(), added=(gap,))


def particle(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Debris: a solder ball, a chip of metal, or a fibre of it, wherever the feature's place is."""
    kind = random.random()
    most = 0.08 * min(view.extent_um)
    size = drawn_um(random, view, min(max(60.0, 5 * view.pixel_um), 15 * view.pixel_um), most=most, sigma=0.6)
    if size is None:
        return None
    primitive: Primitive
    x, y, z = feature.at
    metal = choice(random, ("Cu", "Al", "Sn") if size > 50 else ("Cu", "Sn"))
    if kind < 0.45:
        solder = choice(random, ("SAC305", "SAC305", "Sn63Pb37"))
        primitive = Ball(material=solder, at=(x, y, z + size / 2), radius=size / 2)
    elif kind < 0.75:
        sides = size, size * uniform(random, 0.3, 0.9)
        turn = uniform(random, 0, 360)
        thick = size * uniform(random, 0.15, 0.6)
        primitive = Slab(material=metal, at=(x, y), sides=sides, bottom=z, top=z + thick, turn_deg=turn)
    else:
        wide = max(min(log_uniform(random, 8.0, 40.0), 0.2 * size), 0.8 * view.pixel_um)
        size = max(min(5 * size, 3 * most), 4 * wide)
        points = _curl(random, size) + np.array([x, y, z + wide / 2])
        primitive = Wire(material=metal, points=as_points(points), diameter=wide)
        return Defect("particle", "", as_point(points.mean(axis=0)), size, removed=(), added=(primitive,))
    return Defect("particle", "", (x, y, z + size / 2), size, removed=(), added=(primitive,))


def _curl(random: Random, long: float) -> Numbers:
    """A fibre that lies flat about the origin in a wandering curve."""
    count = 14
    bend = np.cumsum(random.normal(uniform(random, -0.12, 0.12), 0.15, count))
    turn = uniform(random, 0, 2 * pi) + bend
    steps = long / count * np.column_stack([np.cos(turn), np.sin(turn), np.zeros(count)])
    points = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
    centred: Numbers = points - points.mean(axis=0)
    return centred


CRACK_DEFECTS: Mapping[str, DefectKind] = {
    "via void": DefectKind(via_void, ("via",), "a barrel or filling with a hole"),
    "crack": DefectKind(crack, ("die", "body", "joint", "via"), "a crack of die, part, fillet or barrel"),
    "particle": DefectKind(particle, ("",), "debris: a solder ball, a chip of metal, a fibre"),
}
"""What can be wrong with vias and bodies, and what does not belong there, by name."""
