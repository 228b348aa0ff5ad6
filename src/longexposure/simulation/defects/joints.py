"""Defects of whole solder joints: missing, moved, misshapen, not wetted.

Figures are what inspection shows: balls moved by a sixth to half of their radius, oval by up to a half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos, pi, sin, sqrt

import numpy as np
from scipy.optimize import brentq

from longexposure.simulation.defects.kind import Defect, drawn_um
from longexposure.simulation.geometry.extent import Body, bounds_um, ends_um
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Feature,
    Place,
    Point,
    Primitive,
    Scene,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, uniform

Rounded = Ball | Ellipsoid


def missing(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """No solder; a pillar is missing as a whole at times."""
    gone: tuple[Primitive, ...] = _solder(feature)
    if feature.kind == "pillar" and bernoulli(random, 0.5):
        gone = feature.primitives
    at = _middle(gone) if feature.kind == "joint" else feature.at
    return Defect("missing", feature.kind, at, feature.size_um, removed=gone, added=())


def shifted(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Solder that has moved sideways on its pad with its voids, not as far as its neighbours."""
    radius = feature.about["radius_um"]
    free = max(feature.about.get("pitch_um", 4 * radius) - 2 * radius, 0.2 * radius)
    size = drawn_um(random, view, 0.3 * radius, most=min(0.6 * radius, 0.9 * free))
    if size is None:
        return None
    turn = uniform(random, 0, 2 * pi)
    gone = tuple(body for body in _solder(feature) if isinstance(body, Ball | Ellipsoid))
    added = tuple(_moved(body, size, turn) for body in gone)
    x, y, z = feature.at
    at = x + size * cos(turn) / 2, y + size * sin(turn) / 2, z
    return Defect("shifted", feature.kind, at, size, removed=gone, added=added)


def small(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Too little solder: a slimmer ball between the same pads, a low fillet, a hole that is not filled."""
    if feature.kind == "joint":
        return low_joint(feature, random)
    main: Rounded = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    radius = main.radius * uniform(random, 0.55, 0.87)
    wet = [min(_radius_at(main, z), 0.93 * radius) for z in (low, high)]
    slim = _between_pads(main, radius, (low, wet[0]), (high, wet[1]))
    return _reshaped("small", feature, slim, size=2 * radius)


def low_joint(feature: Feature, random: Random) -> Defect | None:
    """Fillets lose height above the pad; a filled hole is filled from below to a lower level."""
    about, gone, added = feature.about, list[Body](), list[Body]()
    fraction = uniform(random, 0.15, 0.6)
    level = about["bottom_um"] + fraction * (about["top_um"] - about["bottom_um"])
    for body in _solder(feature):
        less: Body | None = body
        if isinstance(feature.primitives[0], Cylinder):
            low, high = ends_um(body)
            if isinstance(body, Ball | Ellipsoid | Cone):  # kept whole or not at all
                less = None if low >= level or (high > level and body.amount < 0) else body
            elif high > level:
                less = None if low >= level else replace(body, top=level)
        elif isinstance(body, Wedge) and body.amount > 0:
            less = replace(body, top=body.bottom + fraction * (body.top - body.bottom))
        elif isinstance(body, Ellipsoid) and body.amount > 0:
            less = replace(body, radii=(*body.radii[:2], fraction * body.radii[2]))
        if less != body:
            gone.append(body)
            added += [less] if less else []
    if not gone:
        return None
    wide = max(about["width_um"], about["height_um"])
    return Defect("small", "joint", _middle(gone), wide, removed=tuple(gone), added=tuple(added))


def deformed(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A joint that is oval from above, of the same volume."""
    main: Rounded = feature.primitives[0]  # type: ignore[assignment]
    radius = main.radius
    room = max(0.98 * feature.about.get("pitch_um", 4 * radius) / (2 * radius), 1.08)
    least = max(1.06, 1 + view.pixel_um / radius)
    if least > min(room, 1.4):
        return None
    stretch = min(uniform(random, least, max(1.24, least)), room)
    oval = Ellipsoid(
        material=main.material,
        at=main.at,
        radii=(radius * stretch, radius / stretch, main.radii[2]),
        turn_deg=uniform(random, 0, 360),
        bottom=main.bottom,
        top=main.top,
    )
    return _reshaped("deformed", feature, oval, size=2 * radius * stretch)


def head_in_pillow(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """The ball rests on the molten paste without joining it: two bodies beside each other's axis.

    The paste wets its pad and bulges over it; the ball touches it with a flattened end. From above the
    paste's edge is a second contour within the ball's, or a crescent beside it; obliquely there is a waist.
    """
    main: Rounded = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    radius, height = main.radius, high - low
    waist = low + height * uniform(random, 0.2, 0.38)
    gap = height * uniform(random, 0.02, 0.05) if bernoulli(random, 0.3) else 0.0
    bulge = radius * uniform(random, 0.78, 0.98)
    wet = min(_radius_at(main, low), 0.97 * bulge)
    pillow = _between_pads(main, bulge, (low, wet), (waist, bulge * uniform(random, 0.6, 0.85)))
    volume = uniform(random, 0.9, 1.0) * _volume_um3(main) - _volume_um3(pillow)
    lower = waist + gap, radius * uniform(random, 0.4, 0.6)
    head = _of_volume(main, volume, lower, (high, min(_radius_at(main, high), 0.9 * radius)))
    free = max(feature.about.get("pitch_um", 4 * radius) - 2 * head.radii[0], 0.2 * radius)
    off, turn = min(radius * uniform(random, 0.12, 0.38), 0.8 * free), uniform(random, 0, 2 * pi)
    fraction = uniform(random, 0.6, 1.0)
    added = _moved(head, fraction * off, turn), _moved(pillow, (fraction - 1) * off, turn)
    return _reshaped("head-in-pillow", feature, *added, size=2 * radius)


def non_wet(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A ball that only sits on its pad, touching little of it; a lead or part end without its fillet."""
    if feature.kind == "joint":
        fillets = tuple(s for s in _solder(feature) if s.amount > 0 and isinstance(s, Wedge | Ellipsoid))
        if not fillets:
            return None
        wide = max(feature.about["width_um"], feature.about["height_um"])
        return Defect("non-wet", "joint", _middle(fillets), wide, removed=fillets, added=())
    main: Rounded = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    touch = _radius_at(main, low) * uniform(random, 0.15, 0.4)
    seated = _of_volume(main, _volume_um3(main), (low, touch), (high, _radius_at(main, high)))
    return _reshaped("non-wet", feature, seated, size=2 * touch)


def _solder(feature: Feature) -> tuple[Body, ...]:
    """The solder of the feature and the voids in it."""
    material = feature.primitives[0].material
    return tuple(s for s in feature.primitives if isinstance(s, Body) and s.material == material)


def _middle(primitives: Sequence[Primitive]) -> Point:
    """Middle of the box around primitives."""
    corners = np.array(bounds_um(primitives))
    x, y, z = ((corners.min(axis=0) + corners.max(axis=0)) / 2).tolist()
    return x, y, z


def _reshaped(kind: str, feature: Feature, *added: Primitive, size: float) -> Defect:
    """All solder of a feature in another shape."""
    return Defect(kind, feature.kind, feature.at, size, removed=_solder(feature), added=added)


def _moved(body: Ball | Ellipsoid, by_um: float, turn: float) -> Ball | Ellipsoid:
    """The body moved sideways, the turn in radians."""
    x, y, z = body.at
    return replace(body, at=(x + by_um * cos(turn), y + by_um * sin(turn), z))


def _radius_at(main: Rounded, z: float) -> float:
    """Radius of a round primitive at a height, um."""
    return main.radius * sqrt(max(1 - ((z - main.at[2]) / main.radii[2]) ** 2, 0.0))


def _between_pads(main: Rounded, radius: float, lower: Place, upper: Place) -> Ellipsoid:
    """An upright ellipsoid of this radius, cut at two heights where it has given radii, all in um.

    Args:
        main: gives place and material.
        radius: of the equator, above both other radii.
        lower: height and radius at the lower end.
        upper: height and radius at the upper end.
    """
    rise = [sqrt(1 - min(wet / radius, 0.99) ** 2) for _, wet in (lower, upper)]
    steep = (upper[0] - lower[0]) / sum(rise)
    return Ellipsoid(
        material=main.material,
        at=(*main.at[:2], lower[0] + rise[0] * steep),
        radii=(radius, radius, steep),
        bottom=lower[0],
        top=upper[0],
    )


def _of_volume(main: Rounded, volume_um3: float, lower: Place, upper: Place) -> Ellipsoid:
    """As `_between_pads`, with the radius that gives this volume, or the next one that is possible."""
    least, most = 1.02 * max(lower[1], upper[1]), 4 * main.radius

    def excess(radius: float) -> float:
        return _volume_um3(_between_pads(main, radius, lower, upper)) - volume_um3

    radius = least if excess(least) > 0 or excess(most) < 0 else float(brentq(excess, least, most))
    return _between_pads(main, radius, lower, upper)


def _volume_um3(main: Rounded) -> float:
    """Volume of a round primitive between its two cuts."""
    rx, ry, rz = main.radii
    low, high = ((z - main.at[2]) / rz for z in ends_um(main))
    return pi * rx * ry * rz * (high - low - (high**3 - low**3) / 3)
