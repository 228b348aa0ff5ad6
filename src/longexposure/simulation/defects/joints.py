"""Defects of whole solder joints: missing, moved, misshapen, bridged, not wetted.

Figures are what inspection shows: balls moved by a sixth to half of their radius, oval by up to a half,
bridges of a fifth of a ball's width to all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import atan2, cos, degrees, dist, pi, sin, sqrt

import numpy as np
from scipy.optimize import brentq

from longexposure.simulation.defects.kind import (
    Body,
    Defect,
    DefectKind,
    Interval,
    Numbers,
    bounds_um,
    centre_um,
    clear_um,
    columns,
    drawn_um,
    ends_um,
    is_body,
    radius_um,
)
from longexposure.simulation.geometry.frame import Frame
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
    Slab,
    Wedge,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, choice, uniform

_BALLS = ("ball", "bump")
_ROUND = (*_BALLS, "pillar")
_MOST_COLUMNS = 2500

Round = Ball | Ellipsoid


def missing(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """No solder; a pillar is missing as a whole at times."""
    gone: tuple[Primitive, ...] = _all_solder(feature)
    if feature.kind == "pillar" and bernoulli(random, 0.5):
        gone = feature.primitives
    at = _middle(gone) if feature.kind == "joint" else feature.at
    return Defect("missing", feature.kind, at, feature.size_um, removed=gone, added=())


def _middle(primitives: Sequence[Primitive]) -> Point:
    """Middle of the box around primitives."""
    corners = np.array([corner for primitive in primitives for corner in bounds_um(primitive)])
    x, y, z = ((corners.min(axis=0) + corners.max(axis=0)) / 2).tolist()
    return x, y, z


def shifted(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Solder that has moved sideways on its pad with its voids, not as far as its neighbours."""
    radius = feature.about["radius_um"]
    free = max(feature.about.get("pitch_um", 4 * radius) - 2 * radius, 0.2 * radius)
    size = drawn_um(random, view, 0.3 * radius, most=min(0.6 * radius, 0.9 * free))
    if size is None:
        return None
    turn = uniform(random, 0, 2 * pi)
    by = size * cos(turn), size * sin(turn)
    gone = tuple(primitive for primitive in _all_solder(feature) if isinstance(primitive, Ball | Ellipsoid))
    moved = tuple(replace(s, at=(s.at[0] + by[0], s.at[1] + by[1], s.at[2])) for s in gone)
    at = (feature.at[0] + by[0] / 2, feature.at[1] + by[1] / 2, feature.at[2])
    return Defect("shifted", feature.kind, at, size, removed=gone, added=moved)


def small(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Too little solder: a slimmer ball between the same pads, a low fillet, a hole that is not filled."""
    if feature.kind == "joint":
        return _low_joint(feature, random)
    main: Round = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    radius = radius_um(main) * uniform(random, 0.55, 0.87)
    wet = [min(_radius_at(main, z), 0.93 * radius) for z in (low, high)]
    slim = _between_pads(main, radius, (low, wet[0]), (high, wet[1]))
    return _reshaped("small", feature, (slim,), size=2 * radius)


def _low_joint(feature: Feature, random: Random) -> Defect | None:
    """Fillets lose height above the pad; a filled hole is filled from below to a lower level."""
    main, bottom = feature.primitives[0], feature.about["bottom_um"]
    fraction = uniform(random, 0.15, 0.6)
    gone, added = [], []
    level = bottom + fraction * (feature.about["top_um"] - bottom)
    for primitive in feature.primitives:
        if primitive.material != main.material or (
            isinstance(primitive, Slab) and not isinstance(main, Cylinder)
        ):
            continue
        if isinstance(main, Cylinder):
            less = _below(primitive, level)
        elif isinstance(primitive, Wedge) and primitive.amount > 0:
            less = replace(primitive, top=primitive.bottom + fraction * (primitive.top - primitive.bottom))
        elif isinstance(primitive, Ellipsoid) and primitive.amount > 0:
            less = replace(primitive, radii=(*primitive.radii[:2], fraction * primitive.radii[2]))
        else:
            continue
        if less != primitive:
            gone.append(primitive)
            added += [less] if less else []
    if not gone:
        return None
    wide = max(feature.about["width_um"], feature.about["height_um"])
    return Defect("small", "joint", _middle(gone), wide, removed=tuple(gone), added=tuple(added))


def _below(primitive: Primitive, level: float) -> Primitive | None:
    """What of an upright primitive lies below a level; balls and cones are kept whole or not at all."""
    low, high = ends_um(primitive)  # type: ignore[arg-type]
    if high <= level:
        return primitive
    if low >= level or isinstance(primitive, Ball | Ellipsoid | Cone):
        return None if low >= level or primitive.amount < 0 else primitive
    return replace(primitive, top=level)  # type: ignore[arg-type]


def deformed(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A joint that is oval from above, of the same volume."""
    main: Round = feature.primitives[0]  # type: ignore[assignment]
    radius = radius_um(main)
    room = max(0.98 * feature.about.get("pitch_um", 4 * radius) / (2 * radius), 1.08)
    least = max(1.06, 1 + view.pixel_um / radius)
    if least > min(room, 1.4):
        return None
    stretch = min(uniform(random, least, max(1.24, least)), room)
    oval = Ellipsoid(
        material=main.material,
        at=main.at,
        radii=(radius * stretch, radius / stretch, radius if isinstance(main, Ball) else main.radii[2]),
        turn_deg=uniform(random, 0, 360),
        bottom=main.bottom,
        top=main.top,
    )
    return _reshaped("deformed", feature, (oval,), size=2 * radius * stretch)


def head_in_pillow(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """The ball rests on the molten paste without joining it: two bodies beside each other's axis.

    The paste wets its pad and bulges over it; the ball touches it with a flattened end. From above the
    paste's edge is a second contour within the ball's, or a crescent beside it; obliquely there is a waist.
    """
    main: Round = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    radius, height = radius_um(main), high - low
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
    added = _beside(head, fraction * off, turn), _beside(pillow, (fraction - 1) * off, turn)
    return _reshaped("head-in-pillow", feature, added, size=2 * radius)


def _beside(body: Ellipsoid, off_um: float, turn: float) -> Ellipsoid:
    """The body moved sideways, the turn in radians."""
    x, y, z = body.at
    return replace(body, at=(x + off_um * cos(turn), y + off_um * sin(turn), z))


def non_wet(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """A ball that only sits on its pad, touching little of it; a lead or part end without its fillet."""
    if feature.kind == "joint":
        fillets = tuple(s for s in _all_solder(feature) if s.amount > 0 and isinstance(s, Wedge | Ellipsoid))
        if not fillets:
            return None
        wide = max(feature.about["width_um"], feature.about["height_um"])
        return Defect("non-wet", "joint", _middle(fillets), wide, removed=fillets, added=())
    main: Round = feature.primitives[0]  # type: ignore[assignment]
    low, high = ends_um(main)
    touch = _radius_at(main, low) * uniform(random, 0.15, 0.4)
    seated = _of_volume(main, _volume_um3(main), (low, touch), (high, _radius_at(main, high)))
    return _reshaped("non-wet", feature, (seated,), size=2 * touch)


def _all_solder(feature: Feature) -> tuple[Body, ...]:
    """The solder of the feature and the voids in it."""
    material = feature.primitives[0].material
    return tuple(
        primitive for primitive in feature.primitives if primitive.material == material and is_body(primitive)
    )


def _reshaped(kind: str, feature: Feature, added: tuple[Primitive, ...], *, size: float) -> Defect:
    return Defect(kind, feature.kind, feature.at, size, removed=_all_solder(feature), added=added)


def _radius_at(main: Round, z: float) -> float:
    """Radius of a round primitive at a height, um."""
    steep = main.radius if isinstance(main, Ball) else main.radii[2]
    return radius_um(main) * sqrt(max(1 - ((z - main.at[2]) / steep) ** 2, 0.0))


def _between_pads(main: Round, radius: float, lower: Place, upper: Place) -> Ellipsoid:
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


def _of_volume(main: Round, volume_um3: float, lower: Place, upper: Place) -> Ellipsoid:
    """As `_between_pads`, with the radius that gives this volume, or the next one that is possible."""
    least = 1.02 * max(lower[1], upper[1])

    def excess(radius: float) -> float:
        return _volume_um3(_between_pads(main, radius, lower, upper)) - volume_um3

    most = 4 * radius_um(main)
    radius = least if excess(least) > 0 or excess(most) < 0 else float(brentq(excess, least, most))
    return _between_pads(main, radius, lower, upper)


def _volume_um3(main: Round) -> float:
    """Volume of a round primitive between its two cuts."""
    rx, ry, rz = (main.radius,) * 3 if isinstance(main, Ball) else main.radii
    low, high = ((z - main.at[2]) / rz for z in ends_um(main))
    return pi * rx * ry * rz * (high - low - (high**3 - low**3) / 3)


# ---- bridges ----------------------------------------------------------------------------------------


def bridge(feature: Feature, scene: Scene, random: Random, *, view: View) -> Defect | None:
    """Solder that joins the feature with a neighbour, thinner in the middle."""
    others = list(_neighbours(feature, scene))
    if not others or isinstance(feature.primitives[0], Cylinder):
        return None
    other = choice(random, others)
    one, two = feature.at, other.at
    length = dist(one[:2], two[:2])
    frame = Frame(
        ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2), degrees(atan2(two[1] - one[1], two[0] - one[0]))
    )
    if feature.kind in _ROUND:
        shape, sides = _neck(feature, random, length)
    else:
        shape, sides = _smear(feature, random, length)
    taken: list[Body] = [s for f in (feature, other) for s in f.primitives if s.amount > 0 and is_body(s)]
    step = max(0.8 * view.pixel_um, sqrt(sides[0] * sides[1] / _MOST_COLUMNS))
    solder = columns(
        shape, taken, frame=frame, sides=sides, step=step, material=feature.primitives[0].material
    )
    clear = clear_um(one[:2], two[:2], taken)
    if not solder or clear < view.pixel_um:
        return None
    middle = centre_um(solder)
    return Defect("bridge", feature.kind, middle, clear, removed=(), added=solder)


def _neighbours(feature: Feature, scene: Scene) -> Iterator[Feature]:
    """Features of its kind beside it, of the same solder at the same height."""
    about = feature.about
    if feature.kind in _ROUND:
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


def _neck(feature: Feature, random: Random, length: float) -> tuple[partial[Interval], Place]:
    """What joins two round joints: as wide as 25 to 85 % of them in the middle, wider at both."""
    main: Round = feature.primitives[0]  # type: ignore[assignment]
    radius, (low, high) = radius_um(main), ends_um(main)
    waist = radius * uniform(random, 0.2, 0.8)
    wide = max(0.88 * radius, waist)
    sag = main.at[2] - uniform(random, 0.0, 0.25) * (high - low)
    profile = partial(_neck_span, length=length, waist=waist, wide=wide, ends=(low, high), middle=sag)
    return partial(profile, steep=uniform(random, 0.6, 0.95)), (length, 2 * wide)


def _neck_span(
    own: Numbers,
    *,
    length: float,
    waist: float,
    wide: float,
    ends: tuple[float, float],
    middle: float,
    steep: float,
) -> Interval:
    half = waist + (wide - waist) * np.abs(2 * own[:, 0] / length) ** 3
    high = steep * half * np.sqrt(np.maximum(1 - (own[:, 1] / half) ** 2, 0.0))
    low, top = np.maximum(middle - high, ends[0]), np.minimum(middle + high, ends[1])
    return low, np.maximum(low, top)


def _smear(feature: Feature, random: Random, length: float) -> tuple[partial[Interval], Place]:
    """What joins two fillets: a low ridge on the board from pad to pad."""
    about = feature.about
    half = min(0.5 * max(about["width_um"], about["height_um"]), 0.6 * length) * uniform(random, 0.25, 0.8)
    high = min(uniform(random, 0.25, 0.9) * (about["top_um"] - about["bottom_um"]), 1.2 * half)
    profile = partial(_smear_span, length=length, half=half, bottom=about["bottom_um"], high=high)
    return partial(profile, lean=uniform(random, -0.4, 0.4)), (length, 2 * half)


def _smear_span(
    own: Numbers, *, length: float, half: float, bottom: float, high: float, lean: float
) -> Interval:
    along = 2 * own[:, 0] / length
    narrow = half * (0.6 + 0.4 * along**2)
    across = (own[:, 1] - lean * (half - narrow)) / narrow
    low = np.full(len(own), bottom)
    return low, low + high * np.sqrt(np.maximum(1 - across**2, 0.0))


JOINT_DEFECTS: Mapping[str, DefectKind] = {
    "missing": DefectKind(missing, (*_ROUND, "joint"), "no solder at all"),
    "shifted": DefectKind(shifted, _ROUND, "solder beside its place"),
    "small": DefectKind(small, (*_ROUND, "joint"), "too little solder"),
    "deformed": DefectKind(deformed, _ROUND, "an oval joint"),
    "bridge": DefectKind(bridge, (*_ROUND, "joint"), "solder between two joints"),
    "head-in-pillow": DefectKind(head_in_pillow, _BALLS, "a ball that rests on the paste without joining it"),
    "non-wet": DefectKind(non_wet, (*_BALLS, "joint"), "solder that has not wetted pad or lead"),
}
"""What can be wrong with a whole joint, by name."""
