"""What a defect is, and what all makers of defects use: limits, sizes, places that are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from longexposure.simulation.geometry.extent import Body
from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import Feature, Place, Point, Primitive, Scene, Slab, Wedge
from longexposure.simulation.geometry.view import Numbers, View
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform

ROUND = ("ball", "bump", "pillar")
"""Kinds of features that are round joints."""
BORDER = 0.05
"""No defect lies nearer to the border than this fraction of the image's height or width."""
MOST = 255
"""So many defects have a number of their own in a mask."""
LEAST_PX = 2.5
"""No defect is made smaller than this."""
_FAINT = 0.2
"""Fraction of the defects that are made as small as an image can just show."""


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


def seen_place(random: Random, view: View, body: Body, z: float) -> Place:
    """A place above the body or near it, in the part of the image where defects may lie at this height."""
    wide = body.sides if isinstance(body, Slab | Wedge) else (2 * body.radius,) * 2
    if max(wide) <= 0.5 * min(view.extent_um):
        own = random.uniform(-0.5, 0.5, 2) * wide
        return Frame(body.at[:2], getattr(body, "turn_deg", 0.0)).place(*own.tolist())
    x, y = (random.uniform(-1, 1, 2) * ((0.5 - BORDER) * np.array(view.extent_um))).tolist()
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


def ways_along(points: Numbers) -> Numbers:
    """Length of the way along a line from its first point to each."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def as_points(points: Numbers) -> tuple[Point, ...]:
    """Points (N, 3) as plain numbers."""
    return tuple((x, y, z) for x, y, z in points.tolist())


def as_point(point: Numbers) -> Point:
    """One point (3,) as plain numbers."""
    x, y, z = point.tolist()
    return x, y, z
