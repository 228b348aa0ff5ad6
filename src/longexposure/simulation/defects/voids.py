"""Voids: bubbles of gas in solder, single, many, or flat at an interface.

Sizes are log-normal about what inspection reports show: 10 to 60 % of a ball's diameter (more than 25 % of
its area is a reject by IPC-7095), a tenth of a soldered pad.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import hypot, sqrt

import numpy as np

from longexposure.simulation.defects.kind import ROUND, Defect, drawn_um, seen_place, well_inside
from longexposure.simulation.geometry.extent import Body, clear_height, ends_um
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cylinder,
    Ellipsoid,
    Feature,
    Place,
    Scene,
    Slab,
    Wedge,
)
from longexposure.simulation.geometry.view import Numbers, View
from longexposure.simulation.scenes.draws import Random, bernoulli, integer, uniform

Bubble = Ball | Ellipsoid

_TRIES, _FAILURES = 20, 6


def void(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """One bubble, round where there is room, flat in a thin layer; pores in its way become part of it."""
    return _bubbles("void", feature, random, view, count=1)


def voids(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Bubbles of many sizes that take 6 to 30 % of the area."""
    return _bubbles("voids", feature, random, view, count=60)


def _bubbles(kind: str, feature: Feature, random: Random, view: View, *, count: int) -> Defect | None:
    room, wide = _room(feature)
    pores, _ = _holes(feature)
    low, high = ends_um(room)
    fraction = 0.3 if feature.kind in ROUND else 0.2 if feature.kind == "joint" else 0.1
    typical, most = fraction, 0.65 if feature.kind in ROUND else 0.4
    if count > 1:
        typical, most = 0.4 * fraction, fraction
    area = uniform(random, 0.06, 0.3) * wide**2
    made: list[Bubble] = []
    failed = 0
    while len(made) < count and failed < _FAILURES and sum((2 * it.radius) ** 2 for it in made) < area:
        size = drawn_um(random, view, typical * wide * 0.75**failed, most=most * wide)
        if size is None:
            break
        radius = size / 2
        for at, bottom, top in _places(random, view, feature, radius=radius, z=(low + high) / 2, beside=made):
            thick, z = top - bottom, (bottom + top) / 2
            if thick < min(1.2 * radius, 0.4 * (high - low)) or not well_inside(view, (*at, z)):
                continue
            if _apart(at, radius, _discs(pores), swallows=True):
                made.append(_bubble(random, room, at, radius, bottom=bottom, top=top))
                break
        else:
            failed += 1
    return _defect(kind, feature, made, least=min(count, 3))


def interface_void(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Half an ellipsoid of gas flat on the pad or below the package, or a crowd of small ones."""
    room, wide = _room(feature)
    pores, _ = _holes(feature)
    low, high = ends_um(room)
    crowd = bernoulli(random, 0.35)
    typical, most, count = (0.1, 0.2, integer(random, 8, 30)) if crowd else (0.4, 0.7, 1)
    upper = bernoulli(random, 0.5) and not isinstance(room, Wedge)
    level, slack = high if upper else low, 1e-6 * (high - low)
    made: list[Bubble] = []
    for _ in range(count):
        size = drawn_um(random, view, typical * wide, most=most * wide)
        if size is None:
            break
        radius = size / 2
        for at, bottom, top in _places(random, view, feature, radius=radius, z=level, beside=[*pores, *made]):
            flat = top >= level - slack if upper else bottom <= level + slack
            if not flat or not well_inside(view, (*at, level)):
                continue
            across = radius * uniform(random, 0.75, 1.0)
            deep = min(radius * uniform(random, 0.3, 0.8), 0.85 * (top - bottom))
            dome = Ellipsoid(
                material=room.material,
                amount=-1.0,
                at=(*at, level),
                radii=(radius, across, deep),
                turn_deg=uniform(random, 0, 360),
                bottom=low,
                top=high,
            )
            made.append(dome)
            break
    return _defect("interface void", feature, made, least=min(count, 3))


def _bubble(random: Random, room: Body, at: Place, radius: float, *, bottom: float, top: float) -> Bubble:
    """A ball where it has room, else what a layer leaves of an ellipsoid."""
    thick = top - bottom
    if 2 * radius <= thick:
        z = uniform(random, bottom + radius, top - radius)
        return Ball(material=room.material, amount=-1.0, at=(*at, z), radius=radius)
    return Ellipsoid(
        material=room.material,
        amount=-1.0,
        at=(*at, (bottom + top) / 2),
        radii=(radius, radius * uniform(random, 0.7, 1.0), thick / 2 * uniform(random, 1.1, 2.0)),
        turn_deg=uniform(random, 0, 360),
        bottom=bottom,
        top=top,
    )


def _defect(kind: str, feature: Feature, bubbles: Sequence[Bubble], *, least: int) -> Defect | None:
    """The defect that so many bubbles at least make; pores that they swallow go."""
    if len(bubbles) < least:
        return None
    areas = np.array([(2 * bubble.radius) ** 2 for bubble in bubbles])
    x, y, z = np.average([bubble.at for bubble in bubbles], axis=0, weights=areas).tolist()
    discs = _discs(bubbles)
    gone = tuple(pore for pore in _holes(feature)[0] if not _apart(pore.at[:2], pore.radius, discs))
    size = float(sqrt(areas.sum()))
    return Defect(kind, feature.kind, (x, y, z), size, removed=gone, added=tuple(bubbles))


def _room(feature: Feature) -> tuple[Body, float]:
    """The solder that voids lie in and its width: a joint's layer below its part, else the main primitive."""
    main: Body = feature.primitives[0]  # type: ignore[assignment]
    if feature.kind == "joint":
        solder = [s for s in feature.primitives if s.material == main.material and s.amount > 0]
        layers = [primitive for primitive in solder if isinstance(primitive, Slab)]
        main = max(layers, key=lambda slab: slab.sides[0] * slab.sides[1], default=main)
    return main, min(main.sides) if isinstance(main, Slab | Wedge) else 2 * main.radius


def _holes(feature: Feature) -> tuple[list[Bubble | Cylinder], list[Body]]:
    """Voids of normal production, and what else takes the solder's place, such as a pin."""
    main = feature.primitives[0]
    pores: list[Bubble | Cylinder] = []
    others: list[Body] = []
    for primitive in feature.primitives:
        if not isinstance(primitive, Body) or primitive.material != main.material or primitive.amount >= 0:
            continue
        if isinstance(primitive, Ball | Ellipsoid) or (
            isinstance(primitive, Cylinder) and isinstance(main, Slab)
        ):
            pores.append(primitive)
        else:
            others.append(primitive)
    return pores, others


def _places(
    random: Random, view: View, feature: Feature, *, radius: float, z: float, beside: Sequence[Body]
) -> Iterator[tuple[Place, float, float]]:
    """Places, seen at the height z, where a cylinder fits into the solder beside others; its two ends."""
    room, _ = _room(feature)
    blocked, taken = _discs(_holes(feature)[1]), _discs(beside)
    for _ in range(_TRIES):
        at = seen_place(random, view, room, z)
        if _apart(at, 1.05 * radius, taken) and _apart(at, radius, blocked):
            bottom, top = clear_height(room, at, radius)
            if top > bottom:
                yield at, bottom, top


def _discs(bodies: Sequence[Body]) -> Numbers:
    """(N, 3): places and radii of the circles around them as seen from above."""
    rows = [
        (*it.at[:2], hypot(*it.sides) / 2 if isinstance(it, Slab | Wedge) else it.radius) for it in bodies
    ]
    return np.array(rows, np.float64).reshape(-1, 3)


def _apart(at: Place, radius: float, discs: Numbers, *, swallows: bool = False) -> bool:
    """Whether a disc touches none of the others; it may hold them wholly where it swallows them."""
    away = np.hypot(*(discs[:, :2] - at).T)
    free = away > radius + discs[:, 2]
    if swallows:
        free |= away + discs[:, 2] < 0.8 * radius
    return bool(np.all(free))
