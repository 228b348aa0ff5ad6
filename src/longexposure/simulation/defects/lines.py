"""Defects of wires and traces: gaps, shorts, wires that are swept or lifted.

Figures are what inspection shows: wires swept by 4 to 15 % of their span (5 % is a common limit), gaps of one
or two widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from math import atan2, cos, degrees, dist, hypot, pi, radians, sin, sqrt

import numpy as np

from longexposure.simulation.defects.kind import (
    Defect,
    DefectKind,
    Numbers,
    as_point,
    as_points,
    drawn_um,
    finer,
    on_line,
    part_of,
    ways_along,
    well_inside,
)
from longexposure.simulation.geometry.frame import Frame
from longexposure.simulation.geometry.primitives import (
    Ball,
    Ellipsoid,
    Feature,
    Point,
    Scene,
    Slab,
    Track,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, choice, uniform

_TRIES = 24


# ---- wires ------------------------------------------------------------------------------------------


def broken_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A gap, most often near one of the bonds; the free end has sprung aside."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    points, wide = np.array(wire.points), wire.diameter
    total = float(ways_along(points)[-1])
    gap = drawn_um(random, view, 2 * wide, most=0.3 * total, sigma=0.6)
    if gap is None:
        return None
    room = (gap + wide) / 2 + wide
    for _ in range(_TRIES):
        way = uniform(random, *choice(random, ((0.02, 0.15), (0.85, 0.98), (0.1, 0.9)))) * total
        at = as_point(on_line(points, way))
        if room < way < total - room and well_inside(view, at):
            break
    else:
        return None
    half = (gap + wide) / 2
    pieces = [part_of(points, 0.0, way - half), part_of(points, way + half, total)]
    longer = 0 if way > total / 2 else 1
    pieces[longer] = _sprung(random, pieces[longer], wide, free=-1 if longer == 0 else 0)
    added = tuple(replace(wire, points=as_points(piece)) for piece in pieces)
    return Defect("broken wire", "wire", at, gap, removed=(wire,), added=added)


def _sprung(random: Random, points: Numbers, wide: float, *, free: int) -> Numbers:
    """The line with its free end, the first or last point, bent across its course by up to a wire's width."""
    points = finer(points, 80)
    ways = ways_along(points)
    left = ways[-1] - ways if free == -1 else ways
    course = points[-1] - points[-2] if free == -1 else points[1] - points[0]
    course = course / np.linalg.norm(course)
    by = random.standard_normal(3)
    by -= (by @ course) * course
    by *= wide * uniform(random, 0.0, 1.0) / np.linalg.norm(by)
    long = min(6 * wide, 0.5 * ways[-1])
    bent: Numbers = points + by * np.maximum(1 - left / long, 0.0)[:, None] ** 2
    return bent


def swept_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """The middle of a wire pushed sideways by the flowing mould compound."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    points = finer(np.array(wire.points))
    along = points[-1, :2] - points[0, :2]
    chord = float(np.hypot(*along))
    if chord <= 0:
        return None
    size = drawn_um(random, view, 0.08 * chord, most=0.2 * chord)
    if size is None:
        return None
    side = np.array([-along[1], along[0], 0.0]) / chord * random.choice((-1.0, 1.0))
    fraction = np.clip((points[:, :2] - points[0, :2]) @ along / chord**2, 0.0, 1.0)
    bent = points + size * side * np.sin(pi * fraction)[:, None]
    middle = on_line(points, float(np.interp(0.5, fraction, ways_along(points)))) + size / 2 * side
    if not well_inside(view, as_point(middle)):
        return None
    new = replace(wire, points=as_points(bent))
    return Defect("swept wire", "wire", as_point(middle), size, removed=(wire,), added=(new,))


def lifted_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """An end that has come off: raised, drawn back and aside; its bond is missing."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    ends = [end for end in (0, -1) if well_inside(view, wire.points[end])]
    if not ends:
        return None
    end = choice(random, ends)
    points = finer(np.array(wire.points))
    ways = ways_along(points)
    size = drawn_um(random, view, 4 * wire.diameter, most=min(0.3 * float(ways[-1]), 12 * wire.diameter))
    if size is None:
        return None
    fraction = ways / ways[-1] if end == -1 else 1 - ways / ways[-1]
    back = points[len(points) // 2] - points[end]
    back = back / max(float(np.linalg.norm(back)), 1e-9)
    aside = np.array([-back[1], back[0], 0.0]) * uniform(random, -0.6, 0.6)
    by = 0.4 * np.array([back[0], back[1], 0.0]) + aside + np.array([0.0, 0.0, uniform(random, 0.5, 1.2)])
    by *= size / float(np.linalg.norm(by))
    bend = np.maximum((fraction - 0.4) / 0.6, 0.0)[:, None] ** 2
    raised = points + by * bend
    at = as_point(np.average(points + by * bend / 2, axis=0, weights=bend[:, 0]))
    bonds = tuple(
        primitive
        for primitive in feature.primitives[1:]
        if isinstance(primitive, Ball | Ellipsoid)
        and dist(primitive.at, wire.points[end]) < 3 * wire.diameter
    )
    new = replace(wire, points=as_points(raised))
    return Defect("lifted wire", "wire", at, size, removed=(wire, *bonds), added=(new,))


# ---- traces -----------------------------------------------------------------------------------------


def open_trace(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A gap whose ends are round, or ragged as they are etched."""
    track: Track = feature.primitives[0]  # type: ignore[assignment]
    wide = track.width
    gap = drawn_um(random, view, 0.9 * wide, most=6 * wide, sigma=0.6)
    found = gap and _spot(feature, random, view, clear=gap / 2 + wide)
    if not gap or not found:
        return None
    at, frame = found
    count = max(min(int(2 * wide / view.pixel_um), 24), 5)
    ragged = uniform(random, 0.0, 0.12) * wide
    added = []
    for index in range(count):
        across = 2 * (index + 0.5) / count - 1
        round_ = wide / 2 * (1 - sqrt(1 - across**2))
        low, high = ((gap / 2 + round_ + ragged * random.random(2)) * (-1, 1)).tolist()
        strip = Slab(
            material=track.material,
            amount=-track.amount,
            at=frame.place((low + high) / 2, across * wide / 2),
            sides=(high - low, wide / count),
            bottom=track.bottom,
            top=track.top,
            turn_deg=frame.turn_deg,
        )
        added.append(strip)
    return Defect("open trace", "trace", at, gap, removed=(), added=tuple(added))


def shorted_trace(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Copper left between the trace and its neighbour, ragged along the traces."""
    track: Track = feature.primitives[0]  # type: ignore[assignment]
    if not feature.about.get("gap_um"):
        return None
    for _ in range(5):
        found = _spot(feature, random, view, clear=2 * track.width)
        if found is None:
            return None
        at, frame = found
        for side in random.permutation((-1.0, 1.0)).tolist():
            gap = _gap_um(track, scene, frame, side)
            if gap is not None and gap >= view.pixel_um:
                return _short(feature, random, view, at=at, frame=frame, side=side, gap=gap)
    return None


def _short(
    feature: Feature, random: Random, view: View, *, at: Point, frame: Frame, side: float, gap: float
) -> Defect | None:
    """Strips across the gap, side by side, those in the middle from trace to trace."""
    track: Track = feature.primitives[0]  # type: ignore[assignment]
    long = drawn_um(random, view, 0.8 * gap, most=4 * gap + 2 * track.width, sigma=0.5)
    if long is None:
        return None
    count = max(min(int(1.5 * long / view.pixel_um), 32), 5)
    edge = track.width / 2
    strips = []
    for index in range(count):
        across = 2 * (index + 0.5) / count - 1
        outer = max(2 * abs(across) - 1, 0.0)
        reach = 0.5 * gap * min((1 - outer) ** 1.5 * uniform(random, 0.8, 1.25), 0.98) if outer else gap
        for start in (0.0, gap - reach) if outer else (0.0,):
            strip = Slab(
                material=track.material,
                at=frame.place(across * long / 2, side * (edge + start + reach / 2)),
                sides=(long / count, reach),
                bottom=track.bottom,
                top=track.top,
                turn_deg=frame.turn_deg,
            )
            strips.append(strip)
    middle = (*frame.place(0.0, side * (edge + gap / 2)), at[2])
    return Defect("shorted trace", "trace", middle, gap, removed=(), added=tuple(strips))


def _spot(feature: Feature, random: Random, view: View, *, clear: float) -> tuple[Point, Frame] | None:
    """Point and own axes (x along the trace) of a seen place, this far from corners and ends."""
    track: Track = feature.primitives[0]  # type: ignore[assignment]
    points = np.array(track.points)
    ways, level = ways_along(points), (track.bottom + track.top) / 2
    reach = 0.75 * max(view.extent_um) + abs(level) * hypot(*view.slope)
    for i in random.permutation(np.flatnonzero(np.diff(ways) > 2 * clear)).tolist():
        step, long = points[i + 1] - points[i], ways[i + 1] - ways[i]
        nearest = -float(points[i] @ step) / long
        low, high = max(clear, nearest - reach), min(long - clear, nearest + reach)
        for _ in range(_TRIES if high > low else 0):
            x, y = (points[i] + uniform(random, low, high) / long * step).tolist()
            if well_inside(view, (x, y, level)):
                return (x, y, level), Frame((x, y), degrees(atan2(step[1], step[0])))
    return None


def _gap_um(track: Track, scene: Scene, frame: Frame, side: float) -> float | None:
    """Clear distance to a parallel trace of the same layer on one side (+1: own y), None without one.

    None as well where anything else of a feature lies at that height between the two.
    """
    best: float | None = None
    c, s = cos(radians(frame.turn_deg)), sin(radians(frame.turn_deg))
    for other in (primitive for feature in scene.features for primitive in feature.primitives):
        if not isinstance(other, Track) or other == track or other.material != track.material:
            continue
        if abs(other.top - track.top) > 1e-6 * abs(track.top - track.bottom):
            continue
        line = np.array(other.points) - frame.at
        own = np.column_stack([c * line[:, 0] + s * line[:, 1], side * (c * line[:, 1] - s * line[:, 0])])
        for one, two in pairwise(own):
            away = _beside(one, two, clear=2 * track.width)
            gap = None if away is None else away - (track.width + other.width) / 2
            if gap is not None and gap > 0 and (best is None or gap < best):
                best = gap
    return best if best is not None and best < 4 * track.width else None


def _beside(one: Numbers, two: Numbers, *, clear: float) -> float | None:
    """Distance of a piece of line from the own x axis where it runs along it, beside the origin."""
    (x1, y1), (x2, y2) = one.tolist(), two.tolist()
    if abs(y2 - y1) > 0.02 * abs(x2 - x1) or not min(x1, x2) < -clear < clear < max(x1, x2):
        return None
    away = y1 + (y2 - y1) * (0 - x1) / (x2 - x1)
    return away if away > 0 else None


LINE_DEFECTS: Mapping[str, DefectKind] = {
    "broken wire": DefectKind(broken_wire, ("wire",), "a wire with a gap"),
    "swept wire": DefectKind(swept_wire, ("wire",), "a wire pushed sideways"),
    "lifted wire": DefectKind(lifted_wire, ("wire",), "a wire's end off its bond"),
    "open trace": DefectKind(open_trace, ("trace",), "a trace with a gap"),
    "shorted trace": DefectKind(shorted_trace, ("trace",), "copper between two traces"),
}
"""What can be wrong with wires and traces, by name."""
