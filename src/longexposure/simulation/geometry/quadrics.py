"""Balls, ellipsoids and half balls: a ray's interval in them is a quadratic's, cut by heights or a plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from longexposure.simulation.geometry.parts import Canvas, Image, Indices, Numbers, Parts, PixelFrame, Terms
from longexposure.simulation.geometry.primitives import Ball, Ellipsoid, Primitive
from longexposure.simulation.geometry.prisms import axes_of, blur_of, disc_area, passed

FINEST_PX = 0.4
"""Thinner round things that are sampled are drawn with this radius and as much fainter."""

_SMALL_PX = 4.0
"""Whole quadrics with a smaller silhouette are integrated over the pixel and not sampled."""

_NODES = np.array([-np.sqrt(0.6), 0.0, np.sqrt(0.6)], np.float32)
_WEIGHTS = np.array([5, 8, 5], np.float32) / 18
"""Gauss's quadrature on an interval from -1 to 1, the weights adding to 1."""


def ball_parts(primitives: Sequence[Ball], canvas: Canvas) -> Iterator[Parts]:
    """Spheres, whole or cut by two heights."""
    rows = [
        (*ball.at, ball.bottom, ball.top, ball.radius, ball.radius, ball.radius, 0.0) for ball in primitives
    ]
    yield from _ellipsoid_parts(primitives, np.array(rows, np.float64), canvas)


def ellipsoid_parts(primitives: Sequence[Ellipsoid], canvas: Canvas) -> Iterator[Parts]:
    """Ellipsoids, whole or cut by two heights."""
    rows = [
        (*primitive.at, primitive.bottom, primitive.top, *primitive.radii, primitive.turn_deg)
        for primitive in primitives
    ]
    yield from _ellipsoid_parts(primitives, np.array(rows, np.float64), canvas)


def _ellipsoid_parts(primitives: Sequence[Primitive], table: Numbers, canvas: Canvas) -> Iterator[Parts]:
    frame = canvas.frame(primitives, table[:, :3])
    cut = (table[:, 3:5] - table[:, 2:3]) / frame.pitch[:, None]
    radii = table[:, 5:8] / frame.pitch[:, None]
    whole = (cut[:, 0] <= -radii[:, 2]) & (cut[:, 1] >= radii[:, 2])
    some = (cut[:, 0] < radii[:, 2]) & (cut[:, 1] > -radii[:, 2])
    if np.any(whole):
        yield from _whole(frame.pick(np.flatnonzero(whole)), radii[whole], table[whole, 8])
    chosen = some & ~whole
    if np.any(chosen):
        yield _cut(frame.pick(np.flatnonzero(chosen)), radii[chosen], table[chosen, 8], cut[chosen])


def _quadratic(
    frame: PixelFrame, radii: Numbers, turn_deg: Numbers
) -> tuple[dict[str, Numbers], Numbers, Numbers]:
    """Half chord^2 = size - xx x^2 - xy x y - yy y^2; the chord's middle (N, 2) times (x, y); reach (N, 2).

    From |M (q - s t)|^2 + t^2 / rz^2 <= 1 with M turning and dividing by the footprint's half axes: with
    A = |M s|^2 + 1 / rz^2 the discriminant is A - |M q|^2 / rz^2 - (M q x M s)^2, free of cancellation.
    """
    axes = axes_of(turn_deg) / radii[:, :2, None]
    slope = np.einsum("nij,nj->ni", axes, frame.slope)
    flat = radii[:, 2] ** -2
    a = flat + np.sum(slope**2, axis=1)
    cross = axes[:, 0] * slope[:, 1:] - axes[:, 1] * slope[:, :1]
    form = np.einsum("nik,nil->nkl", axes, axes) * flat[:, None, None] + cross[:, :, None] * cross[:, None, :]
    form = form / (a**2)[:, None, None]
    middle = np.einsum("nik,ni->nk", axes, slope) / a[:, None]
    terms = {"size": 1 / a, "xx": form[:, 0, 0], "xy": 2 * form[:, 0, 1], "yy": form[:, 1, 1]}
    size = form[:, 0, 0] * form[:, 1, 1] - form[:, 0, 1] ** 2
    reach = np.sqrt(np.stack([form[:, 1, 1], form[:, 0, 0]], -1) / (size * a)[:, None])
    return terms, middle, reach


def _smallest(terms: dict[str, Numbers]) -> Numbers:
    """Smaller half axis of the silhouette, px."""
    mean, half = 0.5 * (terms["xx"] + terms["yy"]), 0.5 * (terms["xx"] - terms["yy"])
    return np.sqrt(terms["size"] / (mean + np.hypot(half, 0.5 * terms["xy"])))


def _whole(frame: PixelFrame, radii: Numbers, turn_deg: Numbers) -> Iterator[Parts]:
    terms, _, reach = _quadratic(frame, radii, turn_deg)
    least = _smallest(terms)
    small = least < _SMALL_PX
    if np.any(small):
        mine = {name: value[small] for name, value in terms.items()}
        # the square completed in x: size - yy' y^2 - xx (x + lean y)^2
        mine["lean"] = 0.5 * mine.pop("xy") / mine["xx"]
        mine["yy"] = mine["yy"] / mine["xx"] - mine["lean"] ** 2
        mine["size"] = mine["size"] / mine["xx"]
        mine["high"] = np.sqrt(mine["size"] / mine["yy"])
        mine["steep"] = np.sqrt(mine.pop("xx"))
        chosen = np.flatnonzero(small)
        yield Parts(frame.pick(chosen), _dome, mine, reach[small], np.ones(len(chosen), np.intp))
    if not np.all(small):
        chosen = np.flatnonzero(~small)
        mine = {name: value[chosen] for name, value in terms.items()}
        grid = np.where(least[chosen] < 6, 3, 2)
        yield Parts(frame.pick(chosen), _quadric, mine, reach[chosen], grid)


def _cut(frame: PixelFrame, radii: Numbers, turn_deg: Numbers, cut: Numbers) -> Parts:
    tiny = np.minimum(radii.min(axis=1) / FINEST_PX, 1.0)
    frame.weight = frame.weight * tiny**3
    radii, cut = radii / tiny[:, None], cut / tiny[:, None]
    terms, middle, reach = _quadratic(frame, radii, turn_deg)
    limits = np.clip(cut, -radii[:, 2:], radii[:, 2:])
    terms |= {"bottom": limits[:, 0], "top": limits[:, 1], "mx": middle[:, 0], "my": middle[:, 1]}
    return Parts(frame, _quadric, terms, reach, round_grid(_smallest(terms)))


def round_grid(radius_px: Numbers) -> Indices:
    """Side of the grid of samples in a pixel for sampled round things."""
    return np.select([radius_px < 1.0, radius_px < 2.0, radius_px < 5.0], [8, 5, 3], 2).astype(np.intp)


def _half_chord(terms: Terms, x: Image, y: Image) -> Image:
    square = terms["size"] - terms["xx"] * (x * x) - (terms["yy"] * y + terms["xy"] * x) * y
    np.maximum(square, np.float32(0), out=square)
    return np.sqrt(square, out=square)


def _quadric(terms: Terms, x: Image, y: Image) -> Image:
    """Chord in a quadric, whole or cut at two heights."""
    half = _half_chord(terms, x, y)
    if "bottom" not in terms:
        half += half
        return half
    middle = terms["mx"] * x + terms["my"] * y
    top = np.minimum(middle + half, terms["top"])
    middle -= half
    top -= np.maximum(middle, terms["bottom"], out=middle)
    return np.maximum(top, np.float32(0), out=top)


def _dome(terms: Terms, x: Image, y: Image) -> Image:
    """Mean chord over the pixel in a whole quadric: along x in closed form, along y by quadrature."""
    low = np.clip(y - np.float32(0.5), -terms["high"], terms["high"])
    high = np.clip(y + np.float32(0.5), -terms["high"], terms["high"])
    edges = np.concatenate([x - np.float32(0.5), x[..., -1:] + np.float32(0.5)], axis=-1)
    total = np.zeros(1, np.float32)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        row = 0.5 * (low + high) + 0.5 * node * (high - low)
        width = np.sqrt(np.maximum(terms["size"] - terms["yy"] * row * row, np.float32(1e-12)))
        fraction = np.clip((edges + terms["lean"] * row) / width, np.float32(-1), np.float32(1))
        total = total + np.diff(disc_area(fraction), axis=-1) * (
            weight * width * width * (high - low) * terms["steep"]
        )
    return total


def half_balls(frame: PixelFrame, radius_px: Numbers, outward: Numbers) -> Parts:
    """Half balls at the origins of frames, on the side that (N, 3) points to."""
    tiny = np.minimum(radius_px / FINEST_PX, 1.0)
    frame.weight = frame.weight * tiny**3
    radius = radius_px / tiny
    count = len(radius)
    terms, middle, reach = _quadratic(frame, np.repeat(radius[:, None], 3, axis=1), np.zeros(count))
    ray = np.column_stack([-frame.slope, np.ones(count)])
    along = np.sum(outward * ray, axis=1)
    form = outward[:, :2] + along[:, None] * middle
    form[:, 0] += np.where(np.all(form == 0, axis=1), 1e-2, 0.0)
    terms |= {"px": form[:, 0], "py": form[:, 1], "go": np.abs(along)}
    return Parts(frame, _half_ball, terms, reach, round_grid(radius))


def _half_ball(terms: Terms, x: Image, y: Image) -> Image:
    chord = _half_chord(terms, x, y)
    chord += chord
    blur = blur_of(terms["px"], terms["py"], terms["soft"])
    chord *= passed(terms["px"] * x + terms["py"] * y, terms["go"] * chord, blur)
    return chord
