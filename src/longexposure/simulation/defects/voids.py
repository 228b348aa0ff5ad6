"""Voids: bubbles of gas in solder, single, many, or flat at an interface.

Sizes are log-normal about what inspection reports show: 10 to 60 % of a ball's diameter (more than 25 % of
its area is a reject by IPC-7095), a tenth of a soldered pad.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import dist, hypot, sqrt

import numpy as np

from longexposure.simulation.defects.kind import (
    Body,
    Defect,
    DefectKind,
    Numbers,
    clear_height,
    drawn_um,
    ends_um,
    is_body,
    radius_um,
    seen_place,
    well_inside,
)
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cylinder,
    Ellipsoid,
    Feature,
    Place,
    Primitive,
    Scene,
    Slab,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, integer, uniform

Bubble = Ball | Ellipsoid
Rounded = Ball | Ellipsoid | Cylinder

_ROUND = ("ball", "bump", "pillar")
_SOLDERED = (*_ROUND, "thermal pad", "joint")
_TRIES, _FAILURES = 20, 6


def void(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """One bubble, round where there is room, flat in a thin layer; pores in its way become part of it."""
    return _voided("void", feature, random, view, count=1)


def voids(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Bubbles of many sizes that take 6 to 30 % of the area."""
    return _voided("voids", feature, random, view, count=60)


def _voided(kind: str, feature: Feature, random: Random, view: View, *, count: int) -> Defect | None:
    room, wide = _room(feature), _width(feature)
    fraction = 0.3 if feature.kind in _ROUND else 0.2 if feature.kind == "joint" else 0.1
    typical, most = (
        (fraction, 0.65 if feature.kind in _ROUND else 0.4) if count == 1 else (0.4 * fraction, fraction)
    )
    area = uniform(random, 0.06, 0.3) * wide**2
    made: list[tuple[Bubble, float]] = []
    failed = 0
    while len(made) < count and failed < _FAILURES and sum(size**2 for _, size in made) < area:
        size = drawn_um(random, view, typical * wide * 0.75**failed, most=most * wide)
        if size is None:
            break
        found = _bubble(random, feature, room, size, view=view, others=[bubble for bubble, _ in made])
        if found is None:
            failed += 1
        else:
            made.append((found, size))
    if len(made) < min(count, 3):
        return None
    return _of_bubbles(kind, feature, made)


def interface_void(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A flat dome of gas on the pad or below the package, or a crowd of small ones."""
    room, wide = _room(feature), _width(feature)
    crowd = bernoulli(random, 0.35)
    typical, most, count = (0.1, 0.2, integer(random, 8, 30)) if crowd else (0.4, 0.7, 1)
    upper = bernoulli(random, 0.5) and not isinstance(room, Wedge)
    made: list[tuple[Bubble, float]] = []
    for _ in range(count):
        size = drawn_um(random, view, typical * wide, most=most * wide)
        if size is None:
            break
        taken = np.vstack([_discs(_pores(feature)), _discs(bubble for bubble, _ in made)])
        dome = _dome(random, feature, room, size, upper=upper, view=view, others=taken)
        if dome:
            made.append((dome, size))
    if len(made) < min(count, 3):
        return None
    return _of_bubbles("interface void", feature, made)


def _of_bubbles(kind: str, feature: Feature, made: Sequence[tuple[Bubble, float]]) -> Defect:
    """The defect that these bubbles, with their diameters, make; pores that they swallow go."""
    bubbles = tuple(bubble for bubble, _ in made)
    weights = np.array([size**2 for _, size in made])
    at = np.average([bubble.at for bubble in bubbles], axis=0, weights=weights).tolist()
    discs = _discs(bubbles)
    gone = tuple(pore for pore in _pores(feature) if not _apart(pore.at[:2], radius_um(pore), discs))
    return Defect(
        kind, feature.kind, (at[0], at[1], at[2]), float(sqrt(weights.sum())), removed=gone, added=bubbles
    )


def _bubble(
    random: Random, feature: Feature, room: Body, size: float, *, view: View, others: Sequence[Bubble]
) -> Bubble | None:
    """A bubble of this diameter inside the solder; pores lie apart from it or wholly in it."""
    low, high = ends_um(room)
    pores, others_at, radius = _discs(_pores(feature)), _discs(others), size / 2
    for _ in range(_TRIES):
        at = seen_place(random, view, room, (low + high) / 2)
        if not _apart(at, 1.05 * radius, others_at) or not _apart(at, radius, pores, swallows=True):
            continue
        bottom, top = clear_height(room, at, radius)
        if top - bottom < min(1.2 * radius, 0.4 * (high - low)) or top <= bottom:
            continue
        if well_inside(view, (*at, (bottom + top) / 2)) and not _blocked(feature, at, radius):
            return _shape(random, room, at, radius, bottom=bottom, top=top)
    return None


def _shape(random: Random, room: Body, at: Place, radius: float, *, bottom: float, top: float) -> Bubble:
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


def _dome(
    random: Random, feature: Feature, room: Body, size: float, *, upper: bool, view: View, others: Numbers
) -> Ellipsoid | None:
    """Half an ellipsoid with its flat face on the lower or the upper end of the solder."""
    low, high = ends_um(room)
    radius, level, slack = size / 2, high if upper else low, 1e-6 * (high - low)
    for _ in range(_TRIES):
        at = seen_place(random, view, room, level)
        if not _apart(at, 1.05 * radius, others) or not well_inside(view, (*at, level)):
            continue
        bottom, top = clear_height(room, at, radius)
        flat = top >= level - slack if upper else bottom <= level + slack
        if top <= bottom or not flat or _blocked(feature, at, radius):
            continue
        return Ellipsoid(
            material=room.material,
            amount=-1.0,
            at=(*at, level),
            radii=(
                radius,
                radius * uniform(random, 0.75, 1.0),
                min(radius * uniform(random, 0.3, 0.8), 0.85 * (top - bottom)),
            ),
            turn_deg=uniform(random, 0, 360),
            bottom=low,
            top=high,
        )
    return None


def _room(feature: Feature) -> Body:
    """The solder that voids lie in: a joint's layer below its part where it has one, else the main primitive."""
    main = feature.primitives[0]
    layers = [primitive for primitive in _solder(feature) if isinstance(primitive, Slab)]
    if feature.kind == "joint" and layers:
        return max(layers, key=lambda slab: slab.sides[0] * slab.sides[1])
    return main  # type: ignore[return-value]


def _width(feature: Feature) -> float:
    room = _room(feature)
    if isinstance(room, Slab | Wedge):
        return min(room.sides)
    return 2 * radius_um(room)


def _solder(feature: Feature) -> list[Primitive]:
    """Primitives of the feature that are made of its solder."""
    material = feature.primitives[0].material
    return [
        primitive
        for primitive in feature.primitives
        if primitive.material == material and primitive.amount > 0
    ]


def _pores(feature: Feature) -> Iterator[Rounded]:
    """Voids of normal production."""
    main = feature.primitives[0]
    kinds = Ball | Ellipsoid | Cylinder if isinstance(main, Slab) else Ball | Ellipsoid
    for primitive in feature.primitives:
        if primitive.material == main.material and primitive.amount < 0 and isinstance(primitive, kinds):
            yield primitive


def _discs(bubbles: Iterable[Rounded]) -> Numbers:
    """(N, 3): places and radii as seen from above."""
    return np.array([(*it.at[:2], radius_um(it)) for it in bubbles], np.float64).reshape(-1, 3)


def _apart(at: Place, radius: float, discs: Numbers, *, swallows: bool = False) -> bool:
    """Whether a disc touches none of the others; it may hold them wholly where it swallows them."""
    away = np.hypot(*(discs[:, :2] - at).T)
    free = away > radius + discs[:, 2]
    if swallows:
        free |= away + discs[:, 2] < 0.8 * radius
    return bool(np.all(free))


def _blocked(feature: Feature, at: Place, radius: float) -> bool:
    """Whether something else, such as a pin, takes the solder's place there."""
    main, pores = feature.primitives[0], list(_pores(feature))
    for primitive in feature.primitives:
        if (
            primitive.material == main.material
            and primitive.amount < 0
            and primitive not in pores
            and is_body(primitive)
        ):
            half = (
                hypot(*primitive.sides) / 2 if isinstance(primitive, Slab | Wedge) else radius_um(primitive)
            )
            if dist(at, primitive.at[:2]) < radius + half:
                return True
    return False


VOID_DEFECTS: Mapping[str, DefectKind] = {
    "void": DefectKind(void, _SOLDERED, "a bubble of gas in the solder"),
    "voids": DefectKind(voids, _SOLDERED, "many bubbles in the solder"),
    "interface void": DefectKind(interface_void, _SOLDERED, "flat gas on the pad or below the package"),
}
"""Voids, by name."""
