"""Voids of a flat soldered area, as production has them: flat bubbles of log-normal sizes with lobes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from longexposure.simulation.geometry.primitives import Ellipsoid, Place, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.frame import Frame, Sight, whole
from longexposure.simulation.scenes.layout import Numbers, Random, between, reach_um, turned

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
    random: Random, view: View, solder: Slab, *, pores: Pores, most: int, taken: Numbers | None = None
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
        taken: (N, 3) discs of the solder's own axes, x, y and radius, that they keep away from.
    """
    low, high = _window(view, solder)
    radius = _radii(random, pores, area=float(np.prod(high - low)), largest=0.16 * min(solder.sides))
    radius = radius[radius > 0.3 * view.pixel_um]
    inside = np.array(solder.sides) / 2 - 1.5 * radius[:, None]
    first, last = np.clip(low, -inside, inside), np.clip(high, -inside, inside)
    spots = (first + random.random((_TRIES, len(radius), 2)) * (last - first)).transpose(1, 0, 2)
    kept = _apart(spots, 1.05 * radius, np.zeros((0, 3)) if taken is None else taken)[:most]
    found: list[Ellipsoid] = []
    for x, y, r in kept.tolist():
        at = Frame(solder.at, solder.turn_deg).place(x, y)
        found += _bubble(random, solder, at, r / 1.05, round_=pores.round, lobed=r > 3 * view.pixel_um)
    return found


def _window(view: View, solder: Slab) -> tuple[Numbers, Numbers]:
    """The corners, in the solder's own axes, of the part of it that the view may show."""
    middle = (solder.bottom + solder.top) / 2
    seen = Sight(view).behind((0.0, 0.0), middle)
    centre = turned(np.subtract(seen, solder.at), -solder.turn_deg)
    half, reach = np.array(solder.sides) / 2, reach_um(view, middle)
    low = np.clip(centre - reach, -half, half - 1e-3)
    return low, np.clip(centre + reach, low + 1e-3, half)


def _radii(random: Random, pores: Pores, *, area: float, largest: float) -> Numbers:
    """Radii of the voids that take their fraction of an area, the largest first."""
    mean = pi / 4 * pores.median**2 * np.exp(2 * pores.sigma**2)
    count = int(np.clip(2 * pores.fraction * area / mean, 8, 6000))
    radius = pores.median / 2 * np.exp(pores.sigma * random.standard_normal(count).clip(-2.5, 2.5))
    radius = np.minimum(radius, largest)
    covered = np.cumsum(pi * _FULL * (1 + pores.round) / 2 * radius**2)
    return np.sort(radius[: np.searchsorted(covered, pores.fraction * area) + 1])[::-1]


def _apart(spots: Numbers, radius: Numbers, taken: Numbers) -> Numbers:
    """Discs (N, 3) at the first of each one's spots (N, tries, 2) that is free, if any is, in their order."""
    kept = np.zeros((len(taken) + len(spots), 3))
    kept[: len(taken)] = taken
    count = len(taken)
    for places, size in zip(spots, radius.tolist(), strict=True):
        away = np.hypot(*(places[:, None] - kept[:count, :2]).transpose(2, 0, 1)) - kept[:count, 2]
        free = np.flatnonzero(np.all(away > size, axis=1))
        if len(free):
            kept[count] = *places[free[0]], size
            count += 1
    return kept[len(taken) : count]


def _bubble(
    random: Random, solder: Slab, at: Place, radius: float, *, round_: float, lobed: bool
) -> Iterator[Ellipsoid]:
    """A void about a place, within 1.5 radii of it."""
    half, middle = (solder.top - solder.bottom) / 2, (solder.top + solder.bottom) / 2
    wide = radius > 0.8 * half
    shift = 0.0 if wide else between(random, -1, 1) * max(half - radius, 0.0)
    steep = half * between(random, 1.15, 2.2) if wide else min(radius, half)
    lobes = whole(random, 0, 3) if lobed and wide else 0
    turn = between(random, 0, 360)
    sizes = [(0.0, radius * (1.0 if not lobes else 0.85))]
    sizes += [(radius * between(random, 0.6, 0.9), radius * between(random, 0.3, 0.58)) for _ in range(lobes)]
    for away, size in sizes:
        heading = between(random, 0, 2 * pi)
        yield Ellipsoid(
            material=solder.material,
            amount=-1.0,
            at=(at[0] + away * cos(heading), at[1] + away * sin(heading), middle + shift),
            radii=(size, size * between(random, round_, 1.0), steep),
            turn_deg=turn,
            bottom=solder.bottom,
            top=solder.top,
        )
