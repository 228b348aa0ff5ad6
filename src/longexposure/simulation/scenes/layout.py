"""What builders share: random draws, turned places, what of them a view shows."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, hypot, radians, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.primitives import Place, Weave
from longexposure.simulation.geometry.view import View

Random = np.random.Generator
Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def between(random: Random, low: float, high: float) -> float:
    """Uniform between two numbers."""
    return float(random.uniform(low, high))


def spread(random: Random, low: float, high: float) -> float:
    """Log-uniform between two positive numbers; the lower one where they are in the wrong order."""
    return float(low * (max(high, low) / low) ** random.random())


def bernoulli(random: Random, fraction: float) -> bool:
    """True for this fraction of the draws."""
    return bool(random.random() < fraction)


def part_angle_deg(random: Random) -> float:
    """Along the axes, near them, at 45 degrees, or anything: parts as they come to lie below the source."""
    kind = random.random()
    if kind < 0.35:
        return float(90 * random.integers(4) + 1.5 * random.standard_normal())
    if kind < 0.5:
        return float(45 * random.integers(8))
    return between(random, 0.0, 360.0)


def turned(places: npt.ArrayLike, turn_deg: float, at: Place = (0.0, 0.0)) -> Numbers:
    """Places (..., 2) turned about the origin, from x towards y, then moved to `at`."""
    local = np.asarray(places, np.float64)
    c, s = cos(radians(turn_deg)), sin(radians(turn_deg))
    x, y = local[..., 0], local[..., 1]
    return np.stack([c * x - s * y + at[0], s * x + c * y + at[1]], axis=-1)


def as_places(points: Numbers) -> tuple[Place, ...]:
    """Places (N, 2) as plain numbers."""
    return tuple((x, y) for x, y in points.tolist())


def reach_um(view: View, height_um: float = 0.0) -> float:
    """Radius about the origin beyond which nothing is seen that is no further than this from z = 0."""
    wide = 0.52 * hypot(*view.extent_um)
    return (wide + abs(height_um) * tan(radians(view.tilt_deg))) * (1 + abs(height_um) / view.source_um)


def in_view(view: View, places: Numbers, *, margin_um: float, heights: Sequence[float] = (0.0,)) -> Mask:
    """Which places (N, 2) are seen, within a margin, at one of the heights at least."""
    half = np.array([view.width, view.height]) / 2
    seen = np.zeros(len(places), bool)
    for height in heights:
        pixels = view.project(np.column_stack([places, np.full(len(places), height)]))
        seen |= np.all(np.abs(pixels + 0.5 - half) <= half + margin_um / view.pixel_um, axis=1)
    return seen


def cloth(random: Random, thick: float) -> Weave:
    """Laminate of this thickness in um and its glass cloth, yarns 0.34 to 0.8 mm apart (1080 to 7628)."""
    period = between(random, 400, 600)
    return Weave(
        material="FR-4",
        period=(period, period * between(random, 0.85, 1.35)),
        mean=thick,
        swing=thick * spread(random, 0.015, 0.06),
        turn_deg=part_angle_deg(random),
        seed=int(random.integers(2**31)),
    )
