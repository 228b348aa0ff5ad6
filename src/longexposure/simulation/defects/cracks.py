"""Defects of vias, dies, bodies and fillets: missing metal and cracks; and foreign particles.

Figures are what inspection shows: cracks of 2 to 15 um, a tenth to six tenths of a barrel without metal,
debris of 20 to 200 um.
"""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, radians, sin, tan

import numpy as np

from longexposure.simulation.defects.kind import (
    LEAST_PX,
    Defect,
    as_point,
    as_points,
    drawn_um,
    seen_place,
    ways_along,
    well_inside,
)
from longexposure.simulation.geometry.extent import Body, span
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
from longexposure.simulation.geometry.view import Numbers, View
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
        return plate_crack(feature, main, random, view)
    if isinstance(main, Wedge):
        return fillet_crack(feature, main, random, view)
    if not isinstance(main, Cylinder) or feature.kind != "via":
        return None
    # seen obliquely only
    lean = tan(radians(view.tilt_deg))
    wide = max(log_uniform(random, 4.0, 25.0), LEAST_PX * view.pixel_um / max(lean, 1e-9))
    if lean < 0.3 or wide > 0.1 * (main.top - main.bottom):
        return None
    z = uniform(random, main.bottom + wide, main.top - wide)
    gap = replace(main, amount=-main.amount, bottom=z - wide / 2, top=z + wide / 2)
    return Defect("crack", "via", (*main.at, z), wide, removed=(), added=(gap,))


def plate_crack(feature: Feature, main: Slab, random: Random, view: View) -> Defect | None:
    """A crack of a die or a ceramic body from face to face."""
    middle = (main.bottom + main.top) / 2
    wide = max(log_uniform(random, 2.0, 15.0), 0.7 * view.pixel_um)
    most = 0.7 * min(view.extent_um)
    long = drawn_um(random, view, 0.4 * min(*main.sides, most), most=min(most, 0.9 * max(main.sides)))
    for _ in range(_TRIES):
        place = seen_place(random, view, main, middle)
        if _thickness_um(main, place) > 0 and well_inside(view, (*place, middle)):
            break
    else:
        return None
    if long is None or long < 6 * wide:
        return None
    layers = [
        s
        for s in feature.primitives
        if isinstance(s, Slab)
        and (s.material == main.material or 0 < s.amount < 1)
        and _thickness_um(s, place) > 0
    ]
    # what the layers have in common, in the die's own axes, less half a crack's width
    away = rotated([np.subtract(layer.at, main.at) for layer in layers], -main.turn_deg)
    half = np.array([layer.sides for layer in layers]) / 2 - wide / 2
    box = (away - half).max(axis=0), (away + half).min(axis=0)
    start = rotated(np.subtract(place, main.at), -main.turn_deg).clip(*box)
    path = _jagged(random, start, long, wide, box=box)
    long = float(ways_along(path)[-1])
    if len(path) < 3 or long < 4 * wide:
        return None
    frame = Frame(main.at, main.turn_deg)
    line = frame.places(as_places(path))
    added = tuple(
        Track(material=s.material, amount=-s.amount, points=line, width=wide, bottom=s.bottom, top=s.top)
        for s in layers
    )
    x, y = path.mean(axis=0).tolist()
    at = frame.point(x, y, middle)
    return Defect("crack", feature.kind, at, long, removed=(), added=added)


def _thickness_um(body: Body, place: Place) -> float:
    """Height of the body above a place, 0 where it is not."""
    low, high = span(body, [place])
    return float(high[0] - low[0])


def _jagged(
    random: Random, start: Numbers, long: float, wide: float, *, box: tuple[Numbers, Numbers]
) -> Numbers:
    """A crack through `start`, both ways, with kinks; it ends at the box's edge."""
    heading, step = uniform(random, 0, 2 * pi), max(long / 18, 2.0 * wide)
    branches = []
    for way in (heading, heading + pi):
        points, at = [], start
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


def fillet_crack(feature: Feature, main: Wedge, random: Random, view: View) -> Defect | None:
    """A crack across a fillet, as deep as the solder is high at each place."""
    wide = max(log_uniform(random, 3.0, 15.0), 0.7 * view.pixel_um)
    reach, across = main.sides
    if reach < 4 * wide or across < LEAST_PX * view.pixel_um:
        return None
    solder = [
        s for s in feature.primitives if isinstance(s, Body) and s.material == main.material and s.amount > 0
    ]
    frame = Frame(main.at, main.turn_deg)
    x, lean = uniform(random, -0.35, 0.2) * reach, uniform(random, -0.3, 0.3)
    count = max(int(across / max(2 * wide, view.pixel_um)), 3)
    added = []
    for index in range(count):
        y = ((index + 0.5) / count - 0.5) * across
        jag = x + lean * y + 0.5 * wide * float(random.standard_normal())
        place = frame.place(min(max(jag, -0.45 * reach), 0.45 * reach), y)
        for body in solder:
            low, high = span(body, [place])
            if high[0] - low[0] > 1e-3:
                gap = Slab(
                    material=body.material,
                    amount=-body.amount,
                    at=place,
                    sides=(wide, across / count),
                    bottom=float(low[0]),
                    top=float(high[0]),
                    turn_deg=main.turn_deg,
                )
                added.append(gap)
    at = frame.point(x, 0.0, (main.bottom + main.top) / 2)
    return Defect("crack", "joint", at, across, removed=(), added=tuple(added))


def particle(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Debris: a solder ball, a chip of metal, or a fibre of it, wherever the feature's place is."""
    kind = random.random()
    most = 0.08 * min(view.extent_um)
    size = drawn_um(random, view, min(max(60.0, 5 * view.pixel_um), 15 * view.pixel_um), most=most, sigma=0.6)
    if size is None:
        return None
    primitive: Primitive
    x, y, z = feature.at
    at = x, y, z + size / 2
    metal = choice(random, ("Cu", "Al", "Sn") if size > 50 else ("Cu", "Sn"))
    if kind < 0.45:
        solder = choice(random, ("SAC305", "SAC305", "Sn63Pb37"))
        primitive = Ball(material=solder, at=at, radius=size / 2)
    elif kind < 0.75:
        sides = size, size * uniform(random, 0.3, 0.9)
        turn = uniform(random, 0, 360)
        thick = size * uniform(random, 0.15, 0.6)
        primitive = Slab(material=metal, at=(x, y), sides=sides, bottom=z, top=z + thick, turn_deg=turn)
    else:
        wide = max(min(log_uniform(random, 8.0, 40.0), 0.2 * size), 0.8 * view.pixel_um)
        size = max(min(5 * size, 3 * most), 4 * wide)
        # a fibre that lies flat in a wandering curve
        count = 14
        bend = np.cumsum(random.normal(uniform(random, -0.12, 0.12), 0.15, count))
        course = uniform(random, 0, 2 * pi) + bend
        steps = size / count * np.column_stack([np.cos(course), np.sin(course), np.zeros(count)])
        points = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
        points = points - points.mean(axis=0) + np.array([x, y, z + wide / 2])
        at = as_point(points.mean(axis=0))
        primitive = Wire(material=metal, points=as_points(points), diameter=wide)
    return Defect("particle", "", at, size, removed=(), added=(primitive,))
