"""Where primitives are: lowest and highest z above places, boxes around them, slabs that fill a body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import hypot

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.frame import Frame, rotated
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Grain,
    Lattice,
    Place,
    Point,
    Primitive,
    Slab,
    Track,
    Weave,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.view import Numbers

Interval = tuple[Numbers, Numbers]
Round = Ball | Ellipsoid | Cylinder | Cone
Body = Round | Slab | Wedge
"""Primitives that `span` knows: all but lines, lattices and textures."""


def span(body: Body, places: npt.ArrayLike) -> Interval:
    """Lowest and highest z of a body above places (N, 2), the amount aside; both alike where it is not."""
    own = rotated(np.asarray(places, np.float64) - body.at[:2], -getattr(body, "turn_deg", 0.0))
    x, y = own[:, 0], own[:, 1]
    if isinstance(body, Ball | Ellipsoid):
        rx, ry, rz = body.radii
        half = rz * np.sqrt(np.maximum(1 - (x / rx) ** 2 - (y / ry) ** 2, 0.0))
        low = np.maximum(body.at[2] - half, body.bottom)
        return low, np.maximum(np.minimum(body.at[2] + half, body.top), low)
    low, thick = np.full(len(own), body.bottom), body.top - body.bottom
    if isinstance(body, Slab | Wedge):
        inside = (np.abs(x) <= body.sides[0] / 2) & (np.abs(y) <= body.sides[1] / 2)
        fraction = 0.5 - x / body.sides[0] if isinstance(body, Wedge) else np.ones(len(own))
        return low, low + thick * np.where(inside, fraction, 0.0)
    away = np.hypot(x, y)
    if isinstance(body, Cylinder):
        return low, low + thick * ((away <= body.radius) & (away >= body.inner_radius))
    fraction = np.clip((away - body.bottom_radius) / (body.top_radius - body.bottom_radius), 0.0, 1.0)
    there = away < body.radius
    if body.top_radius < body.bottom_radius:
        return low, low + thick * fraction * there
    return low + thick * fraction * there, low + thick * there


def ends_um(primitive: Body | Track | Lattice) -> tuple[float, float]:
    """Lowest and highest z of a primitive."""
    if not isinstance(primitive, Ball | Ellipsoid):
        return primitive.bottom, primitive.top
    z, half = primitive.at[2], primitive.radii[2]
    return max(primitive.bottom, z - half), min(primitive.top, z + half)


def clear_height(body: Body, at: Place, radius: float) -> tuple[float, float]:
    """Lowest and highest z of an upright cylinder about a place that lies wholly inside a convex body.

    The first is not below the second where there is none.
    """
    turn = np.arange(12) * np.pi / 6
    around = np.column_stack([np.cos(turn), np.sin(turn)]) * 1.04 * radius
    low, high = span(body, np.vstack([around, np.zeros((1, 2))]) + at)
    if np.any(high <= low):
        return 0.0, 0.0
    return float(low.max()), float(high.min())


def bounds_um(primitives: Sequence[Primitive]) -> list[Point]:
    """Corners of upright boxes around primitives, um; none for what fills the image."""
    corners: list[Point] = []
    for primitive in primitives:
        reach: float | Numbers
        if isinstance(primitive, Weave | Grain):
            continue
        if isinstance(primitive, Wire | Track):
            points = np.array(primitive.points, np.float64)
            reach = (primitive.diameter if isinstance(primitive, Wire) else primitive.width) / 2
        else:
            points = np.array([primitive.at], np.float64)
            if isinstance(primitive, Ball | Ellipsoid):
                wide = max(primitive.radii[:2])
                reach = np.array([wide, wide, primitive.radii[2]])
            elif isinstance(primitive, Cylinder | Cone):
                reach = primitive.radius
            else:
                reach = hypot(*primitive.sides) / 2
        box = np.stack([points.min(axis=0) - reach, points.max(axis=0) + reach], axis=1).tolist()
        corners += product(*box[:2], box[2] if isinstance(primitive, Wire) else ends_um(primitive))
    return corners


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
