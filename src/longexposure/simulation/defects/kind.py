"""What a defect is, and what the makers of defects share: sizes, visible places, where a primitive is solid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import dist, hypot
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.frame import Frame, Sight, rotated
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Feature,
    Grain,
    Place,
    Point,
    Primitive,
    Scene,
    Slab,
    Track,
    Weave,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform

Numbers = npt.NDArray[np.float64]
Interval = tuple[Numbers, Numbers]
Body = Ball | Ellipsoid | Cylinder | Cone | Slab | Wedge

BORDER = 0.05
"""No defect lies nearer to the border than this fraction of the image's height or width."""
MOST = 255
"""So many defects have a number of their own in a mask."""
LEAST_PX = 2.5
"""No defect is made smaller than this."""
_FAINT = 0.2
"""Share of the defects that are made as small as an image can just show."""


@dataclass(frozen=True)
class Defect:
    """One defect as it was put in.

    Attributes:
        kind: name in the catalogue of defects.
        feature: kind of the feature that has it, "" for a foreign particle.
        at_um: its middle.
        size_um: what an inspector would give: diameter of a void or a particle, or of the disc of the same
            area for many voids; width of a gap; clear distance that a bridge spans; how far something has
            moved; length of a crack or a fibre; for other misshapen joints their diameter.
        removed: primitives taken out of the scene.
        added: primitives put into it; where their amount is -1 they take material away.
    """

    kind: str
    feature: str
    at_um: Point
    size_um: float
    removed: tuple[Primitive, ...]
    added: tuple[Primitive, ...]


class Maker(Protocol):
    """Gives a feature a defect, or None where it cannot have one that the view would show."""

    def __call__(self, feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None: ...


@dataclass(frozen=True)
class DefectKind:
    """One entry of the catalogue.

    Attributes:
        make: called as make(feature, scene, random, view=view).
        features: kinds of features that can have it; "" is a free place, for what lies just anywhere.
        summary: what it is, in a few words.
    """

    make: Maker
    features: tuple[str, ...]
    summary: str


def well_inside(view: View, point: Point) -> bool:
    """Whether the point is seen, and not within `BORDER` of the image's edge."""
    x, y = view.project([point])[0].tolist()
    return bool(
        BORDER * view.width <= x + 0.5 <= (1 - BORDER) * view.width
        and BORDER * view.height <= y + 0.5 <= (1 - BORDER) * view.height
    )


def seen_place(random: Random, view: View, primitive: Body, z: float) -> Place:
    """A place above the primitive or near it, in the part of the image where defects may lie at this height."""
    wide = primitive.sides if isinstance(primitive, Slab | Wedge) else (2 * radius_um(primitive),) * 2
    if max(wide) <= 0.5 * min(view.extent_um):
        own = random.uniform(-0.5, 0.5, 2) * wide
        return Frame(primitive.at[:2], getattr(primitive, "turn_deg", 0.0)).place(*own.tolist())
    inner = (0.5 - BORDER) * np.array(view.extent_um)
    x, y = (random.uniform(-1, 1, 2) * inner).tolist()
    return Sight(view).behind((x, y), z)


def drawn_um(random: Random, view: View, typical: float, *, most: float, sigma: float = 0.45) -> float | None:
    """A log-normal size, at least `LEAST_PX`, at times hardly above it; None where `most` is less.

    Args:
        random: of the draw.
        view: gives the size of a pixel.
        typical: median, um.
        most: largest size, um.
        sigma: of the logarithm.
    """
    least = LEAST_PX * view.pixel_um
    if least > most:
        return None
    size = typical * float(np.exp(sigma * random.standard_normal()))
    if bernoulli(random, _FAINT):
        size = log_uniform(random, least, 2 * least)
    return min(max(size, least), most)


def span(primitive: Body, places: npt.ArrayLike) -> Interval:
    """Lowest and highest z of the primitive above places (N, 2), the amount aside; both alike where it is not."""
    own = rotated(np.asarray(places, np.float64) - primitive.at[:2], -getattr(primitive, "turn_deg", 0.0))
    x, y = own[:, 0], own[:, 1]
    if isinstance(primitive, Ball | Ellipsoid):
        rx, ry, rz = (primitive.radius,) * 3 if isinstance(primitive, Ball) else primitive.radii
        half = rz * np.sqrt(np.maximum(1 - (x / rx) ** 2 - (y / ry) ** 2, 0.0))
        low, high = (
            np.maximum(primitive.at[2] - half, primitive.bottom),
            np.minimum(primitive.at[2] + half, primitive.top),
        )
        return low, np.maximum(high, low)
    low = np.full(len(own), primitive.bottom)
    thick = primitive.top - primitive.bottom
    if isinstance(primitive, Slab | Wedge):
        inside = (np.abs(x) <= primitive.sides[0] / 2) & (np.abs(y) <= primitive.sides[1] / 2)
        fraction = 0.5 - x / primitive.sides[0] if isinstance(primitive, Wedge) else np.ones(len(own))
        return low, low + thick * np.where(inside, fraction, 0.0)
    away = np.hypot(x, y)
    if isinstance(primitive, Cylinder):
        return low, low + thick * ((away <= primitive.radius) & (away >= primitive.inner_radius))
    fraction = np.clip(
        (away - primitive.bottom_radius) / (primitive.top_radius - primitive.bottom_radius), 0.0, 1.0
    )
    if primitive.top_radius < primitive.bottom_radius:
        return low, low + thick * fraction * (away < primitive.bottom_radius)
    there = away < primitive.top_radius
    return low + thick * fraction * there, low + thick * there


def ends_um(primitive: Body) -> tuple[float, float]:
    """Lowest and highest z of a primitive."""
    if isinstance(primitive, Ball | Ellipsoid):
        half = primitive.radius if isinstance(primitive, Ball) else primitive.radii[2]
        return max(primitive.bottom, primitive.at[2] - half), min(primitive.top, primitive.at[2] + half)
    return primitive.bottom, primitive.top


def radius_um(primitive: Ball | Ellipsoid | Cylinder | Cone) -> float:
    """Radius of a round primitive as seen from above."""
    if isinstance(primitive, Cone):
        return max(primitive.bottom_radius, primitive.top_radius)
    return primitive.radii[0] if isinstance(primitive, Ellipsoid) else primitive.radius


def clear_height(primitive: Body, at: Place, radius: float) -> tuple[float, float]:
    """Lowest and highest z of an upright cylinder about a place that lies wholly inside a convex primitive.

    The first is not below the second where there is none.
    """
    turn = np.arange(12) * np.pi / 6
    around = np.column_stack([np.cos(turn), np.sin(turn)]) * 1.04 * radius
    low, high = span(primitive, np.vstack([around, np.zeros((1, 2))]) + at)
    if np.any(high <= low):
        return 0.0, 0.0
    return float(low.max()), float(high.min())


def is_body(primitive: Primitive) -> TypeGuard[Body]:
    """Whether `span` knows the primitive."""
    return isinstance(primitive, Ball | Ellipsoid | Cylinder | Cone | Slab | Wedge)


def bounds_um(primitive: Primitive) -> Iterator[Point]:
    """Corners of an upright box around a primitive, um; none for what fills the image."""
    if isinstance(primitive, Weave | Grain):
        return
    if isinstance(primitive, Wire | Track):
        points = np.array(primitive.points, np.float64)
        edge = (primitive.diameter if isinstance(primitive, Wire) else primitive.width) / 2
        low, high = points.min(axis=0) - edge, points.max(axis=0) + edge
    else:
        low, high = np.array(primitive.at) - _reach(primitive), np.array(primitive.at) + _reach(primitive)
    if isinstance(primitive, Wire):
        bottom, top = low[2], high[2]
    elif isinstance(primitive, Ball | Ellipsoid):
        bottom, top = max(low[2], primitive.bottom), min(high[2], primitive.top)
    else:
        bottom, top = primitive.bottom, primitive.top
    yield from product((low[0], high[0]), (low[1], high[1]), (float(bottom), float(top)))


def _reach(primitive: Primitive) -> npt.NDArray[np.float64]:
    """How far the primitive reaches from its middle, along each of the axes that its `at` has."""
    if isinstance(primitive, Ellipsoid):
        wide = max(primitive.radii[:2])
        return np.array([wide, wide, primitive.radii[2]])
    if isinstance(primitive, Ball):
        return np.full(3, primitive.radius)
    if isinstance(primitive, Cone):
        return np.full(2, max(primitive.bottom_radius, primitive.top_radius))
    if isinstance(primitive, Cylinder):
        return np.full(2, primitive.radius)
    return np.full(2, hypot(*primitive.sides) / 2)  # type: ignore[union-attr]


def columns(
    body: Callable[[Numbers], Interval],
    taken: Sequence[Body],
    *,
    frame: Frame,
    sides: Place,
    step: float,
    material: str,
) -> tuple[Slab, ...]:
    """A body as upright slabs side by side, without what other primitives take of it.

    Args:
        body: lowest and highest z above places (N, 2) of the frame; nothing where they are alike.
        taken: primitives that the body must not fill again.
        frame: own axes of the body, the origin in its middle.
        sides: of the rectangle that it lies in, um.
        step: about the side of a slab, um.
        material: of the slabs.
    """
    counts = [max(int(np.ceil(side / step)), 1) for side in sides]
    cell = (sides[0] / counts[0], sides[1] / counts[1])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), -1).reshape(-1, 2)
    own = (grid - (np.array(counts) - 1) / 2) * cell
    places = rotated(own, frame.turn_deg, frame.at)
    low, high = body(own)
    filled = [np.stack(span(primitive, places), axis=-1).tolist() for primitive in taken]
    found = []
    for i in np.flatnonzero(high > low).tolist():
        left = [(float(low[i]), float(high[i]))]
        for other in filled:
            left = [piece for whole in left for piece in _without(whole, other[i])]
        at = (float(places[i, 0]), float(places[i, 1]))
        found += [
            Slab(material=material, at=at, sides=cell, bottom=bottom, top=top, turn_deg=frame.turn_deg)
            for bottom, top in left
        ]
    return tuple(found)


def _without(whole: tuple[float, float], taken: Sequence[float]) -> Iterator[tuple[float, float]]:
    """What is left of an interval."""
    (low, high), (bottom, top) = whole, taken
    if top <= bottom or bottom >= high or top <= low:
        yield whole
        return
    least = 1e-6 * (abs(high) + 1)
    if bottom > low + least:
        yield low, bottom
    if top < high - least:
        yield top, high


def ways_along(points: Numbers) -> Numbers:
    """Length of the way from the first point to each."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def on_line(points: Numbers, way: float) -> Numbers:
    """The point after this length of way."""
    ways = ways_along(points)
    return np.array([np.interp(way, ways, column) for column in points.T])


def part_of(points: Numbers, first: float, last: float) -> Numbers:
    """The line between two lengths of way."""
    ways = ways_along(points)
    inner = points[(ways > first) & (ways < last)]
    return np.vstack([on_line(points, first), inner, on_line(points, last)])


def finer(points: Numbers, count: int = 40) -> Numbers:
    """The same line with about this many points more."""
    ways = ways_along(points)
    all_ways = np.union1d(ways, np.linspace(0.0, ways[-1], count))
    return np.column_stack([np.interp(all_ways, ways, column) for column in points.T])


def as_points(points: Numbers) -> tuple[Point, ...]:
    return tuple((x, y, z) for x, y, z in points.tolist())


def as_point(point: Numbers) -> Point:
    x, y, z = point.tolist()
    return x, y, z


def centre_um(slabs: Sequence[Slab]) -> Point:
    """Centre of mass."""
    mass = np.array([slab.sides[0] * slab.sides[1] * (slab.top - slab.bottom) for slab in slabs])
    places = np.array([(*slab.at, (slab.bottom + slab.top) / 2) for slab in slabs])
    x, y, z = (mass @ places / mass.sum()).tolist()
    return x, y, z


def clear_um(one: Place, two: Place, taken: Sequence[Body]) -> float:
    """Length of the way between two places above which none of the primitives lies."""
    fraction = (np.arange(400) + 0.5)[:, None] / 400
    places = np.array(one) * (1 - fraction) + np.array(two) * fraction
    free = np.ones(len(places), bool)
    for primitive in taken:
        low, high = span(primitive, places)
        free &= high <= low
    return dist(one, two) * float(free.mean())
