"""Bridges: solder that joins two joints, a fifth of a ball's width to all of it, as inspection shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import atan2, degrees, dist, sqrt

import numpy as np

from longexposure.simulation.defects.kind import ROUND, Defect
from longexposure.simulation.geometry.extent import Body, Interval, columns, ends_um, span
from longexposure.simulation.geometry.frame import Frame
from longexposure.simulation.geometry.primitives import Ball, Cylinder, Ellipsoid, Feature, Place, Scene
from longexposure.simulation.geometry.view import Numbers, View
from longexposure.simulation.scenes.draws import Random, choice, uniform

_MOST_COLUMNS = 2500


def bridge(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Solder that joins the feature with a neighbour, thinner in the middle."""
    main, others = feature.primitives[0], list(_neighbours(feature, scene))
    if not others or isinstance(main, Cylinder):
        return None
    other = choice(random, others)
    one, two = feature.at[:2], other.at[:2]
    middle = (one[0] + two[0]) / 2, (one[1] + two[1]) / 2
    frame = Frame(middle, degrees(atan2(two[1] - one[1], two[0] - one[0])))
    shape, sides = _profile(feature, random, dist(one, two))
    taken = [s for f in (feature, other) for s in f.primitives if s.amount > 0 and isinstance(s, Body)]
    step = max(0.8 * view.pixel_um, sqrt(sides[0] * sides[1] / _MOST_COLUMNS))
    solder = columns(shape, taken, frame=frame, sides=sides, step=step, material=main.material)

    fraction = (np.arange(400) + 0.5)[:, None] / 400
    between_both = np.array(one) * (1 - fraction) + np.array(two) * fraction
    free = np.ones(len(fraction), bool)
    for body in taken:
        low, high = span(body, between_both)
        free &= high <= low
    clear = dist(one, two) * float(free.mean())
    if not solder or clear < view.pixel_um:
        return None
    mass = np.array([slab.sides[0] * slab.sides[1] * (slab.top - slab.bottom) for slab in solder])
    middles = np.array([(*slab.at, (slab.bottom + slab.top) / 2) for slab in solder])
    x, y, z = (mass @ middles / mass.sum()).tolist()
    return Defect("bridge", feature.kind, (x, y, z), clear, removed=(), added=solder)


def _neighbours(feature: Feature, scene: Scene) -> Iterator[Feature]:
    """Features of its kind beside it, of the same solder at the same height."""
    about = feature.about
    if feature.kind in ROUND:
        reach = 1.2 * about["pitch_um"]
    else:
        short, long = sorted((about["width_um"], about["height_um"]))
        reach = 3 * short + 0.5 * long
    for other in scene.features:
        if other is feature or other.kind != feature.kind or not other.primitives:
            continue
        level = abs(other.at[2] - feature.at[2]) < 0.3 * (about["top_um"] - about["bottom_um"])
        if level and 0 < dist(other.at[:2], feature.at[:2]) <= reach:
            yield other


def _profile(feature: Feature, random: Random, length: float) -> tuple[Callable[[Numbers], Interval], Place]:
    """Ends along z of what joins two joints, above places of the axes between them; its length and width.

    Between round joints a neck, as wide as 20 to 80 % of them in the middle and wider at both; between
    fillets a low ridge on the board from pad to pad.
    """
    if feature.kind in ROUND:
        main: Ball | Ellipsoid = feature.primitives[0]  # type: ignore[assignment]
        radius, (bottom, top) = main.radius, ends_um(main)
        waist = radius * uniform(random, 0.2, 0.8)
        wide = max(0.88 * radius, waist)
        middle = main.at[2] - uniform(random, 0.0, 0.25) * (top - bottom)
        steep = uniform(random, 0.6, 0.95)

        def neck(own: Numbers) -> Interval:
            half = waist + (wide - waist) * np.abs(2 * own[:, 0] / length) ** 3
            high = steep * half * np.sqrt(np.maximum(1 - (own[:, 1] / half) ** 2, 0.0))
            low = np.maximum(middle - high, bottom)
            return low, np.maximum(low, np.minimum(middle + high, top))

        return neck, (length, 2 * wide)
    about = feature.about
    wide = max(about["width_um"], about["height_um"])
    side = min(0.5 * wide, 0.6 * length) * uniform(random, 0.25, 0.8)
    most = min(uniform(random, 0.25, 0.9) * (about["top_um"] - about["bottom_um"]), 1.2 * side)
    lean = uniform(random, -0.4, 0.4)

    def ridge(own: Numbers) -> Interval:
        narrow = side * (0.6 + 0.4 * (2 * own[:, 0] / length) ** 2)
        across = (own[:, 1] - lean * (side - narrow)) / narrow
        low = np.full(len(own), about["bottom_um"])
        return low, low + most * np.sqrt(np.maximum(1 - across**2, 0.0))

    return ridge, (length, 2 * side)
