"""Solder joints of arrays: collapsed balls, bumps and pillars between their pads, with normal voids."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, dist, pi, sin, sqrt

import numpy as np
from scipy.optimize import brentq

from longexposure.simulation.geometry.primitives import Ball, Cylinder, Ellipsoid, Feature, Place, Point
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.grids import Grid, joint_budget
from longexposure.simulation.scenes.layout import (
    Numbers,
    Random,
    as_places,
    bernoulli,
    between,
    in_view,
    spread,
)


@dataclass(frozen=True, kw_only=True)
class Joint:
    """One joint of an array as it was designed: a ball between a lower and an upper pad, um."""

    solder: str
    radius: float
    middle: float
    bottom: float
    top: float
    lower_pad: Place
    upper_pad: Place
    pitch: float


@dataclass(frozen=True, kw_only=True)
class Porosity:
    """Voids of normal production: which fraction of the joints has any, how many, how large."""

    fraction: float
    mean_count: float
    largest: float


def collapsed_radius_um(volume_um3: float, lower_um: float, upper_um: float) -> float:
    """Radius of the sphere whose part between two pads holds this volume of solder.

    Args:
        volume_um3: of the solder, more than a ball of the larger pad's radius cut at both pads holds.
        lower_um: radius of the lower pad as wetted.
        upper_um: of the upper one.
    """

    def excess(radius: float) -> float:
        below, above = sqrt(radius**2 - lower_um**2), sqrt(radius**2 - upper_um**2)
        return pi * (radius**2 * (below + above) - (below**3 + above**3) / 3) - volume_um3

    least = max(lower_um, upper_um)
    return float(brentq(excess, least, least + 2 * (volume_um3 ** (1 / 3))))


def collapsed_joint(
    random: Random, *, solder: str, diameter: float, pitch: float, copper: Place, upper: Place
) -> Joint:
    """A ball of 92 to 100 % of its nominal volume that melted between two pads of 72 to 92 % of its width."""
    lower_radius, upper_radius = (diameter / 2 * between(random, 0.72, 0.92) for _ in range(2))
    volume = pi * diameter**3 / 6 * between(random, 0.92, 1.0)
    radius = collapsed_radius_um(volume, lower_radius, upper_radius)
    bottom = between(random, *copper)
    middle = bottom + sqrt(radius**2 - lower_radius**2)
    top = middle + sqrt(radius**2 - upper_radius**2)
    return Joint(
        solder=solder,
        radius=radius,
        middle=middle,
        bottom=bottom,
        top=top,
        lower_pad=(lower_radius * between(random, 1.0, 1.12), bottom),
        upper_pad=(upper_radius * between(random, 1.0, 1.12), between(random, *upper)),
        pitch=pitch,
    )


def micro_joint(random: Random, *, diameter: float, pitch: float) -> Joint:
    """A flat joint: 5 to 20 um of solder, bulging a little, between copper as wide as the bump."""
    lower, upper = between(random, 3, 8), between(random, 3, 10)
    gap = min(between(random, 5, 20), diameter / 2)
    radius = sqrt((diameter / 2) ** 2 + (gap / 2) ** 2)
    return Joint(
        solder="SAC305",
        radius=radius,
        middle=lower + gap / 2,
        bottom=lower,
        top=lower + gap,
        lower_pad=(diameter / 2, lower),
        upper_pad=(diameter / 2, upper),
        pitch=pitch,
    )


def ball_joints(
    random: Random, view: View, places: Numbers, *, kind: str, joint: Joint, porosity: Porosity
) -> list[Feature]:
    """Truncated balls with pads and voids; places scatter by 1 % and radii by 0.8 %."""
    shaken = places + 0.01 * joint.radius * random.standard_normal(places.shape)
    widest = max(joint.lower_pad[0], joint.upper_pad[0])
    radii = joint.radius * (1 + 0.008 * random.standard_normal(len(places)).clip(-3, 3))
    features = []
    for (x, y), place, radius in zip(as_places(shaken), as_places(places), radii.tolist(), strict=True):
        at = (x, y, joint.middle)
        ball = Ball(material=joint.solder, at=at, radius=radius, bottom=joint.bottom, top=joint.top)
        pads = _pads(place, joint)
        voids = _voids(random, view, ball, porosity)
        size = 2 * max(radius, widest)
        features.append(Feature(kind, at, size, (ball, *pads, *voids), _about(joint, radius)))
    return features


def pillar_joints(
    random: Random, view: View, places: Numbers, *, joint: Joint, porosity: Porosity
) -> list[Feature]:
    """Solder caps between a pad and a pillar; radii scatter by 1 %."""
    radii = joint.radius * (1 + 0.01 * random.standard_normal(len(places)).clip(-3, 3))
    features = []
    half = (joint.top - joint.bottom) / 2
    for (x, y), radius in zip(as_places(places), radii.tolist(), strict=True):
        steep = half / sqrt(1 - (0.9 * joint.upper_pad[0] / max(radius, joint.upper_pad[0])) ** 2)
        cap = Ellipsoid(
            material=joint.solder,
            at=(x, y, joint.middle),
            radii=(radius, radius, steep),
            bottom=joint.bottom,
            top=joint.top,
        )
        low, copper = _pads((x, y), joint)
        ball = Ball(material=joint.solder, at=cap.at, radius=half)
        voids = _voids(random, view, ball, porosity)
        about = _about(joint, radius)
        features.append(Feature("pillar", cap.at, 2 * radius, (cap, copper, low, *voids), about))
    return features


def _about(joint: Joint, radius: float) -> dict[str, float]:
    return {
        "radius_um": radius,
        "bottom_um": joint.bottom,
        "top_um": joint.top,
        "pitch_um": joint.pitch,
    }


def _pads(at: Place, joint: Joint) -> tuple[Cylinder, Cylinder]:
    """Copper below and above the solder."""
    (low, thin), (high, thick) = joint.lower_pad, joint.upper_pad
    return (
        Cylinder(material="Cu", at=at, radius=low, bottom=joint.bottom - thin, top=joint.bottom),
        Cylinder(material="Cu", at=at, radius=high, bottom=joint.top, top=joint.top + thick),
    )


def _voids(random: Random, view: View, room: Ball, porosity: Porosity) -> tuple[Ball, ...]:
    """Bubbles inside the part of a ball that is there, apart from each other, more of them near the top.

    Those that the view could not show (below 0.7 px) are left out.
    """
    least = max(0.04, 0.35 * view.pixel_um / room.radius)
    if not bernoulli(random, porosity.fraction) or least >= porosity.largest:
        return ()
    found: list[Ball] = []
    for _ in range(min(1 + int(random.poisson(porosity.mean_count)), 12)):
        radius = room.radius * spread(random, least, porosity.largest)
        at = _within(random, room, radius)
        if all(dist(at[:2], void.at[:2]) > 0.8 * (radius + void.radius) for void in found):
            found.append(Ball(material=room.material, amount=-1.0, at=at, radius=radius))
    return tuple(found)


def _within(random: Random, room: Ball, radius: float) -> Point:
    """Where a bubble of this radius lies inside a truncated ball; half of them at the upper pad."""
    x, y, middle = room.at
    low = max(room.bottom, middle - room.radius) + radius
    high = max(min(room.top, middle + room.radius) - radius, low + 1e-6)
    z = high - (high - low) * random.random() ** (3.0 if bernoulli(random, 0.5) else 1.0)
    away = sqrt(max((room.radius - radius) ** 2 - (z - middle) ** 2, 0.0) * random.random())
    turn = between(random, 0, 2 * pi)
    return x + away * cos(turn), y + away * sin(turn), z


def visible(view: View, grid: Grid, joint: Joint) -> Numbers:
    """Places of the joints that are seen, those nearest to the middle where there are too many."""
    places = grid.joints()
    seen = places[in_view(view, places, margin_um=joint.radius, heights=(joint.bottom, joint.top))]
    return seen[np.argsort(np.linalg.norm(seen, axis=1), kind="stable")[: 2 * joint_budget(view)]]


def array_facts(joint: Joint, grid: Grid, **more: float) -> dict[str, float | str]:
    rows, columns = grid.present.shape
    return {
        "solder": joint.solder,
        "pitch_um": joint.pitch,
        "diameter_um": 2 * joint.radius,
        "stand_off_um": joint.top - joint.bottom,
        "rows": float(rows),
        "columns": float(columns),
        "turn_deg": grid.turn_deg,
        **more,
    }
