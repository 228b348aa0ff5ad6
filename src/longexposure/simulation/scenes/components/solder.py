"""Solder joints of arrays: collapsed balls, bumps and pillars between their pads, with normal voids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, dist, pi, sin, sqrt

import numpy as np
from scipy.optimize import brentq

from longexposure.simulation.geometry.frame import (
    Frame,
    Numbers,
    Sight,
    as_places,
    in_view,
    reach_um,
    rotated,
)
from longexposure.simulation.geometry.primitives import Ball, Cylinder, Ellipsoid, Feature, Place, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.arrays import Grid, joint_budget, nearest_first
from longexposure.simulation.scenes.draws import Random, bernoulli, integer, log_uniform, uniform


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
    lower_radius, upper_radius = (diameter / 2 * uniform(random, 0.72, 0.92) for _ in range(2))
    volume = pi * diameter**3 / 6 * uniform(random, 0.92, 1.0)
    radius = collapsed_radius_um(volume, lower_radius, upper_radius)
    bottom = uniform(random, *copper)
    middle = bottom + sqrt(radius**2 - lower_radius**2)
    top = middle + sqrt(radius**2 - upper_radius**2)
    return Joint(
        solder=solder,
        radius=radius,
        middle=middle,
        bottom=bottom,
        top=top,
        lower_pad=(lower_radius * uniform(random, 1.0, 1.12), bottom),
        upper_pad=(upper_radius * uniform(random, 1.0, 1.12), uniform(random, *upper)),
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
    (x, y, middle), found = room.at, list[Ball]()
    for _ in range(min(1 + int(random.poisson(porosity.mean_count)), 12)):
        radius = room.radius * log_uniform(random, least, porosity.largest)
        # Half of the bubbles lie at the upper pad.
        low = max(room.bottom, middle - room.radius) + radius
        high = max(min(room.top, middle + room.radius) - radius, low + 1e-6)
        z = high - (high - low) * random.random() ** (3.0 if bernoulli(random, 0.5) else 1.0)
        away = sqrt(max((room.radius - radius) ** 2 - (z - middle) ** 2, 0.0) * random.random())
        turn = uniform(random, 0, 2 * pi)
        at = (x + away * cos(turn), y + away * sin(turn), z)
        if all(dist(at[:2], void.at[:2]) > 0.8 * (radius + void.radius) for void in found):
            found.append(Ball(material=room.material, amount=-1.0, at=at, radius=radius))
    return tuple(found)


def visible(view: View, grid: Grid, joint: Joint) -> Numbers:
    """Places of the joints that are seen, those nearest to the middle where there are too many."""
    places = grid.joints()
    seen = places[in_view(view, places, margin_um=joint.radius, heights=(joint.bottom, joint.top))]
    return nearest_first(seen)[: 2 * joint_budget(view)]


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


_TRIES = 12
"""Places at which a void is tried before it is left out."""

_FULL = 0.9
"""Part of a bubble's outline that is through at half the layer's height, lobes included."""


@dataclass(frozen=True, kw_only=True)
class Pores:
    """Voids of a soldered area, um.

    Attributes:
        fraction: of the area that they take, about.
        median, sigma: of their diameters, which are log-normal.
        round: smallest ratio of their two diameters.
    """

    fraction: float
    median: float
    sigma: float
    round: float


def pad_voids(
    random: Random, view: View, solder: Slab, *, pores: Pores, most: int, occupied: Numbers | None = None
) -> list[Ellipsoid]:
    """Voids in a soldered area, each a flat bubble with up to three lobes, apart from each other.

    They reach from the lower to the upper face where they are wider than the layer is high; smaller ones are
    round and lie anywhere in it. Those that the view does not show are left out.

    Args:
        random: draws places, sizes and shapes.
        view: decides which are seen, and which are too small to be (below 0.6 px in diameter).
        solder: the layer.
        pores: how many and how large.
        most: voids at the most.
        occupied: (N, 3) discs of the solder's own axes, x, y and radius, that they keep away from.
    """
    # The part of the solder that the view may show, in the solder's own axes.
    middle, half = (solder.bottom + solder.top) / 2, np.array(solder.sides) / 2
    seen = Sight(view).behind((0.0, 0.0), middle)
    centre, reach = rotated(np.subtract(seen, solder.at), -solder.turn_deg), reach_um(view, middle)
    low = np.clip(centre - reach, -half, half - 1e-3)
    high = np.clip(centre + reach, low + 1e-3, half)
    # Radii that take their fraction of this area, the largest first.
    area, mean = float(np.prod(high - low)), pi / 4 * pores.median**2 * np.exp(2 * pores.sigma**2)
    count = int(np.clip(2 * pores.fraction * area / mean, 8, 6000))
    radius = pores.median / 2 * np.exp(pores.sigma * random.standard_normal(count).clip(-2.5, 2.5))
    radius = np.minimum(radius, 0.16 * min(solder.sides))
    covered = np.cumsum(pi * _FULL * (1 + pores.round) / 2 * radius**2)
    radius = np.sort(radius[: np.searchsorted(covered, pores.fraction * area) + 1])[::-1]
    radius = radius[radius > 0.3 * view.pixel_um]
    inside = half - 1.5 * radius[:, None]
    first, last = np.clip(low, -inside, inside), np.clip(high, -inside, inside)
    spots = (first + random.random((_TRIES, len(radius), 2)) * (last - first)).transpose(1, 0, 2)
    kept = _apart(spots, 1.05 * radius, np.zeros((0, 3)) if occupied is None else occupied)[:most]
    found: list[Ellipsoid] = []
    for x, y, r in kept.tolist():
        at = Frame(solder.at, solder.turn_deg).place(x, y)
        found += _bubble(random, solder, at, r / 1.05, round_=pores.round, lobed=r > 3 * view.pixel_um)
    return found


def _apart(spots: Numbers, radius: Numbers, occupied: Numbers) -> Numbers:
    """Discs (N, 3) at the first of each one's spots (N, tries, 2) that is free, if any is, in their order."""
    kept = np.zeros((len(occupied) + len(spots), 3))
    kept[: len(occupied)] = occupied
    count = len(occupied)
    for places, size in zip(spots, radius.tolist(), strict=True):
        away = np.hypot(*(places[:, None] - kept[:count, :2]).transpose(2, 0, 1)) - kept[:count, 2]
        free = np.flatnonzero(np.all(away > size, axis=1))
        if len(free):
            kept[count] = *places[free[0]], size
            count += 1
    return kept[len(occupied) : count]


def _bubble(
    random: Random, solder: Slab, at: Place, radius: float, *, round_: float, lobed: bool
) -> Iterator[Ellipsoid]:
    """A void about a place, within 1.5 radii of it."""
    half, middle = (solder.top - solder.bottom) / 2, (solder.top + solder.bottom) / 2
    wide = radius > 0.8 * half
    shift = 0.0 if wide else uniform(random, -1, 1) * max(half - radius, 0.0)
    steep = half * uniform(random, 1.15, 2.2) if wide else min(radius, half)
    lobes = integer(random, 0, 3) if lobed and wide else 0
    turn = uniform(random, 0, 360)
    sizes = [(0.0, radius * (1.0 if not lobes else 0.85))]
    sizes += [(radius * uniform(random, 0.6, 0.9), radius * uniform(random, 0.3, 0.58)) for _ in range(lobes)]
    for away, size in sizes:
        heading = uniform(random, 0, 2 * pi)
        yield Ellipsoid(
            material=solder.material,
            amount=-1.0,
            at=(at[0] + away * cos(heading), at[1] + away * sin(heading), middle + shift),
            radii=(size, size * uniform(random, round_, 1.0), steep),
            turn_deg=turn,
            bottom=solder.bottom,
            top=solder.top,
        )
