"""Defects of wires and traces: gaps, shorts, wires that are swept or lifted.

Figures are what inspection shows: wires swept by 4 to 15 % of their span (5 % is a common limit), gaps of one
or two widths.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import atan2, degrees, dist, hypot, pi, sqrt

import numpy as np

from longexposure.simulation.defects.kind import (
    Defect,
    as_point,
    as_points,
    drawn_um,
    ways_along,
    well_inside,
)
from longexposure.simulation.geometry.frame import Frame, rotated
from longexposure.simulation.geometry.primitives import (
    Ball,
    Ellipsoid,
    Feature,
    Place,
    Point,
    Scene,
    Slab,
    Track,
    Wire,
)
from longexposure.simulation.geometry.view import Numbers, View
from longexposure.simulation.scenes.draws import Random, choice, uniform

_TRIES = 24


# ---- wires ------------------------------------------------------------------------------------------


def broken_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A gap, most often near one of the bonds; the free end has sprung aside by up to a wire's width."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    points, wide = np.array(wire.points), wire.diameter
    ways = ways_along(points)
    total = float(ways[-1])
    gap = drawn_um(random, view, 2 * wide, most=0.3 * total, sigma=0.6)
    if gap is None:
        return None
    half = (gap + wide) / 2
    for _ in range(_TRIES):
        way = uniform(random, *choice(random, ((0.02, 0.15), (0.85, 0.98), (0.1, 0.9)))) * total
        at = as_point(_on_line(points, way))
        if half + wide < way < total - (half + wide) and well_inside(view, at):
            break
    else:
        return None
    pieces = [_part_of(points, 0.0, way - half), _part_of(points, way + half, total)]

    # the longer piece bends across its course towards its free end
    longer = 0 if way > total / 2 else 1
    long = _finer(pieces[longer], 80)
    ways = ways_along(long)
    left = ways if longer else ways[-1] - ways
    course = long[1] - long[0] if longer else long[-1] - long[-2]
    course = course / np.linalg.norm(course)
    by = random.standard_normal(3)
    by -= (by @ course) * course
    by *= wide * uniform(random, 0.0, 1.0) / np.linalg.norm(by)
    pieces[longer] = long + by * np.maximum(1 - left / min(6 * wide, 0.5 * ways[-1]), 0.0)[:, None] ** 2
    added = tuple(replace(wire, points=as_points(piece)) for piece in pieces)
    return Defect("broken wire", "wire", at, gap, removed=(wire,), added=added)


def swept_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """The middle of a wire pushed sideways by the flowing mould compound."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    points = _finer(np.array(wire.points))
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
    half_way = float(np.interp(0.5, fraction, ways_along(points)))
    middle = as_point(_on_line(points, half_way) + size / 2 * side)
    if not well_inside(view, middle):
        return None
    new = replace(wire, points=as_points(bent))
    return Defect("swept wire", "wire", middle, size, removed=(wire,), added=(new,))


def lifted_wire(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """An end that has come off: raised, drawn back and aside; its bond is missing."""
    wire: Wire = feature.primitives[0]  # type: ignore[assignment]
    ends = [end for end in (0, -1) if well_inside(view, wire.points[end])]
    if not ends:
        return None
    end = choice(random, ends)
    points = _finer(np.array(wire.points))
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
    at = as_point(np.average(points + by * bend / 2, axis=0, weights=bend[:, 0]))
    bonds = tuple(
        bond
        for bond in feature.primitives[1:]
        if isinstance(bond, Ball | Ellipsoid) and dist(bond.at, wire.points[end]) < 3 * wire.diameter
    )
    new = replace(wire, points=as_points(points + by * bend))
    return Defect("lifted wire", "wire", at, size, removed=(wire, *bonds), added=(new,))


def _on_line(points: Numbers, way: float) -> Numbers:
    """The point after this length of way."""
    ways = ways_along(points)
    return np.array([np.interp(way, ways, column) for column in points.T])


def _part_of(points: Numbers, first: float, last: float) -> Numbers:
    """The line between two lengths of way."""
    ways = ways_along(points)
    inner = points[(ways > first) & (ways < last)]
    return np.vstack([_on_line(points, first), inner, _on_line(points, last)])


def _finer(points: Numbers, count: int = 40) -> Numbers:
    """The same line with about this many points more."""
    ways = ways_along(points)
    all_ways = np.union1d(ways, np.linspace(0.0, ways[-1], count))
    return np.column_stack([np.interp(all_ways, ways, column) for column in points.T])


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
        middle, sides = ((low + high) / 2, across * wide / 2), (high - low, wide / count)
        added.append(_strip(track, frame, middle, sides, amount=-track.amount))
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
        for side in random.permutation((-1.0, 1.0)).tolist():
            gap = _gap_um(track, scene, found[1], side)
            if gap is not None and gap >= view.pixel_um:
                return _short(track, random, view, spot=found, side=side, gap=gap)
    return None


def _short(
    track: Track, random: Random, view: View, *, spot: tuple[Point, Frame], side: float, gap: float
) -> Defect | None:
    """Strips across the gap, side by side, those in the middle from trace to trace."""
    at, frame = spot
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
            middle = across * long / 2, side * (edge + start + reach / 2)
            strips.append(_strip(track, frame, middle, (long / count, reach), amount=1.0))
    place = frame.place(0.0, side * (edge + gap / 2))
    return Defect("shorted trace", "trace", (*place, at[2]), gap, removed=(), added=tuple(strips))


def _strip(track: Track, frame: Frame, middle: Place, sides: Place, *, amount: float) -> Slab:
    """A slab as high as the track, about a place of the frame and along its axes."""
    return Slab(
        material=track.material,
        amount=amount,
        at=frame.place(*middle),
        sides=sides,
        bottom=track.bottom,
        top=track.top,
        turn_deg=frame.turn_deg,
    )


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
    """Clear distance to a parallel trace of the same layer on one side (+1: own y), None without one near."""
    gaps = [4 * track.width]
    for other in (primitive for feature in scene.features for primitive in feature.primitives):
        if not isinstance(other, Track) or other == track or other.material != track.material:
            continue
        if abs(other.top - track.top) > 1e-6 * abs(track.top - track.bottom):
            continue
        own = rotated(np.array(other.points) - frame.at, -frame.turn_deg) * (1.0, side)
        for (x1, y1), (x2, y2) in pairwise(own.tolist()):
            # a piece that runs along the own x axis, beside the origin
            along = abs(y2 - y1) <= 0.02 * abs(x2 - x1)
            if along and min(x1, x2) < -2 * track.width and 2 * track.width < max(x1, x2):
                away = y1 + (y2 - y1) * (0 - x1) / (x2 - x1)
                gap = away - (track.width + other.width) / 2
                gaps += [gap] if away > 0 and gap > 0 else []
    return min(gaps) if min(gaps) < 4 * track.width else None
