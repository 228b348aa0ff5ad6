"""What a defect is, and what the makers of defects share: sizes, visible places, where a solid is solid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import dist, hypot
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Feature,
    Grain,
    Place,
    Point,
    Scene,
    Slab,
    Solid,
    Track,
    Weave,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.frame import Frame, Sight
from longexposure.simulation.scenes.layout import Random, chance, spread, turned

Numbers = npt.NDArray[np.float64]
Interval = tuple[Numbers, Numbers]
Body = Ball | Ellipsoid | Cylinder | Cone | Slab | Wedge

BORDER = 0.05
"""No defect lies nearer to the border than this share of the image's height or width."""
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
        removed: solids taken out of the scene.
        added: solids put into it; where their amount is -1 they take material away.
    """

    kind: str
    feature: str
    at_um: Point
    size_um: float
    removed: tuple[Solid, ...]
    added: tuple[Solid, ...]


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


def seen_place(random: Random, view: View, solid: Body, z: float) -> Place:
    """A place above the solid or near it, in the part of the image where defects may lie at this height."""
    wide = solid.sides if isinstance(solid, Slab | Wedge) else (2 * radius_um(solid),) * 2
    if max(wide) <= 0.5 * min(view.extent_um):
        own = random.uniform(-0.5, 0.5, 2) * wide
        return Frame(solid.at[:2], getattr(solid, "turn_deg", 0.0)).place(*own.tolist())
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
    if chance(random, _FAINT):
        size = spread(random, least, 2 * least)
    return min(max(size, least), most)


def span(solid: Body, places: npt.ArrayLike) -> Interval:
    """Lowest and highest z of the solid above places (N, 2), the amount aside; both alike where it is not."""
    own = turned(np.asarray(places, np.float64) - solid.at[:2], -getattr(solid, "turn_deg", 0.0))
    x, y = own[:, 0], own[:, 1]
    if isinstance(solid, Ball | Ellipsoid):
        rx, ry, rz = (solid.radius,) * 3 if isinstance(solid, Ball) else solid.radii
        half = rz * np.sqrt(np.maximum(1 - (x / rx) ** 2 - (y / ry) ** 2, 0.0))
        low, high = np.maximum(solid.at[2] - half, solid.bottom), np.minimum(solid.at[2] + half, solid.top)
        return low, np.maximum(high, low)
    low = np.full(len(own), solid.bottom)
    thick = solid.top - solid.bottom
    if isinstance(solid, Slab | Wedge):
        inside = (np.abs(x) <= solid.sides[0] / 2) & (np.abs(y) <= solid.sides[1] / 2)
        share = 0.5 - x / solid.sides[0] if isinstance(solid, Wedge) else np.ones(len(own))
        return low, low + thick * np.where(inside, share, 0.0)
    away = np.hypot(x, y)
    if isinstance(solid, Cylinder):
        return low, low + thick * ((away <= solid.radius) & (away >= solid.inner_radius))
    share = np.clip((away - solid.bottom_radius) / (solid.top_radius - solid.bottom_radius), 0.0, 1.0)
    if solid.top_radius < solid.bottom_radius:
        return low, low + thick * share * (away < solid.bottom_radius)
    there = away < solid.top_radius
    return low + thick * share * there, low + thick * there


def ends_um(solid: Body) -> tuple[float, float]:
    """Lowest and highest z of a solid."""
    if isinstance(solid, Ball | Ellipsoid):
        half = solid.radius if isinstance(solid, Ball) else solid.radii[2]
        return max(solid.bottom, solid.at[2] - half), min(solid.top, solid.at[2] + half)
    return solid.bottom, solid.top


def radius_um(solid: Ball | Ellipsoid | Cylinder | Cone) -> float:
    """Radius of a round solid as seen from above."""
    if isinstance(solid, Cone):
        return max(solid.bottom_radius, solid.top_radius)
    return solid.radii[0] if isinstance(solid, Ellipsoid) else solid.radius


def clear_height(solid: Body, at: Place, radius: float) -> tuple[float, float]:
    """Lowest and highest z of an upright cylinder about a place that lies wholly inside a convex solid.

    The first is not below the second where there is none.
    """
    turn = np.arange(12) * np.pi / 6
    around = np.column_stack([np.cos(turn), np.sin(turn)]) * 1.04 * radius
    low, high = span(solid, np.vstack([around, np.zeros((1, 2))]) + at)
    if np.any(high <= low):
        return 0.0, 0.0
    return float(low.max()), float(high.min())


def is_body(solid: Solid) -> TypeGuard[Body]:
    """Whether `span` knows the solid."""
    return isinstance(solid, Ball | Ellipsoid | Cylinder | Cone | Slab | Wedge)


def bounds_um(solid: Solid) -> Iterator[Point]:
    """Corners of an upright box around a solid, um; none for what fills the image."""
    if isinstance(solid, Weave | Grain):
        return
    if isinstance(solid, Wire | Track):
        points = np.array(solid.points, np.float64)
        edge = (solid.diameter if isinstance(solid, Wire) else solid.width) / 2
        low, high = points.min(axis=0) - edge, points.max(axis=0) + edge
    else:
        low, high = np.array(solid.at) - _reach(solid), np.array(solid.at) + _reach(solid)
    if isinstance(solid, Wire):
        bottom, top = low[2], high[2]
    elif isinstance(solid, Ball | Ellipsoid):
        bottom, top = max(low[2], solid.bottom), min(high[2], solid.top)
    else:
        bottom, top = solid.bottom, solid.top
    yield from product((low[0], high[0]), (low[1], high[1]), (float(bottom), float(top)))


def _reach(solid: Solid) -> npt.NDArray[np.float64]:
    """How far the solid reaches from its middle, along each of the axes that its `at` has."""
    if isinstance(solid, Ellipsoid):
        wide = max(solid.radii[:2])
        return np.array([wide, wide, solid.radii[2]])
    if isinstance(solid, Ball):
        return np.full(3, solid.radius)
    if isinstance(solid, Cone):
        return np.full(2, max(solid.bottom_radius, solid.top_radius))
    if isinstance(solid, Cylinder):
        return np.full(2, solid.radius)
    return np.full(2, hypot(*solid.sides) / 2)  # type: ignore[union-attr]


def columns(
    body: Callable[[Numbers], Interval],
    taken: Sequence[Body],
    *,
    frame: Frame,
    sides: Place,
    step: float,
    material: str,
) -> tuple[Slab, ...]:
    """A body as upright slabs side by side, without what other solids take of it.

    Args:
        body: lowest and highest z above places (N, 2) of the frame; nothing where they are alike.
        taken: solids that the body must not fill again.
        frame: own axes of the body, the origin in its middle.
        sides: of the rectangle that it lies in, um.
        step: about the side of a slab, um.
        material: of the slabs.
    """
    counts = [max(int(np.ceil(side / step)), 1) for side in sides]
    cell = (sides[0] / counts[0], sides[1] / counts[1])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), -1).reshape(-1, 2)
    own = (grid - (np.array(counts) - 1) / 2) * cell
    places = turned(own, frame.turn_deg, frame.at)
    low, high = body(own)
    filled = [np.stack(span(solid, places), axis=-1).tolist() for solid in taken]
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
    """Length of the way between two places above which none of the solids lies."""
    share = (np.arange(400) + 0.5)[:, None] / 400
    places = np.array(one) * (1 - share) + np.array(two) * share
    free = np.ones(len(places), bool)
    for solid in taken:
        low, high = span(solid, places)
        free &= high <= low
    return dist(one, two) * float(free.mean())
