"""Balls, ellipsoids and half balls: a ray's interval in them is a quadratic's, cut by heights or a plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from longexposure.simulation.geometry.canvas import Canvas, Image, Indices, Numbers, Parts, PixelFrames, Terms
from longexposure.simulation.geometry.coverage import axes_of, blur_of, disc_area, fraction_inside
from longexposure.simulation.geometry.primitives import Ball, Ellipsoid

FINEST_PX = 0.4
"""Thinner round things that are sampled are drawn with this radius and as much fainter."""

_SMALL_PX = 4.0
"""Whole quadrics with a smaller silhouette are integrated over the pixel and not sampled."""

_NODES = np.array([-np.sqrt(0.6), 0.0, np.sqrt(0.6)], np.float32)
_WEIGHTS = np.array([5, 8, 5], np.float32) / 18
"""Gauss's quadrature on an interval from -1 to 1, the weights adding to 1."""


def ellipsoid_parts(primitives: Sequence[Ball] | Sequence[Ellipsoid], canvas: Canvas) -> Iterator[Parts]:
    """Balls, or ellipsoids, whole or cut by two heights."""
    rows = [(*s.at, s.bottom, s.top, *s.radii, getattr(s, "turn_deg", 0.0)) for s in primitives]
    table = np.array(rows, np.float64)
    frames = canvas.frames(primitives, table[:, :3])
    cut = (table[:, 3:5] - table[:, 2:3]) / frames.pitch[:, None]
    radii, turn_deg = table[:, 5:8] / frames.pitch[:, None], table[:, 8]
    whole = (cut[:, 0] <= -radii[:, 2]) & (cut[:, 1] >= radii[:, 2])
    some = ~whole & (cut[:, 0] < radii[:, 2]) & (cut[:, 1] > -radii[:, 2])

    mine = frames.pick(whole)
    terms, _, reach = _quadratic(mine, radii[whole], turn_deg[whole])
    least = _smallest(terms)
    sampled = Parts(mine, quadric_law, terms, reach, np.where(least < 6, 3, 2))
    small = sampled.pick(least < _SMALL_PX, small_quadric_law)
    # the square completed in x: size - yy' y^2 - xx (x + lean y)^2
    xx = small.terms.pop("xx")
    lean = 0.5 * small.terms.pop("xy") / xx
    yy, size = small.terms["yy"] / xx - lean**2, small.terms["size"] / xx
    small.terms = {"yy": yy, "size": size, "lean": lean, "high": np.sqrt(size / yy), "steep": np.sqrt(xx)}
    small.grid = np.ones_like(small.grid)
    yield small
    yield sampled.pick(least >= _SMALL_PX)

    mine, radii, cut = frames.pick(some), radii[some], cut[some]
    tiny = np.minimum(radii.min(axis=1) / FINEST_PX, 1.0)
    mine.weight = mine.weight * tiny**3
    radii, cut = radii / tiny[:, None], cut / tiny[:, None]
    terms, middle, reach = _quadratic(mine, radii, turn_deg[some])
    limits = np.clip(cut, -radii[:, 2:], radii[:, 2:])
    terms |= {"bottom": limits[:, 0], "top": limits[:, 1], "mx": middle[:, 0], "my": middle[:, 1]}
    yield Parts(mine, quadric_law, terms, reach, _round_grid(_smallest(terms)))


def half_balls(frames: PixelFrames, radius_px: Numbers, outward: Numbers) -> Parts:
    """Half balls at the origins of frames, on the side that (N, 3) points to."""
    tiny = np.minimum(radius_px / FINEST_PX, 1.0)
    frames.weight = frames.weight * tiny**3
    radius = radius_px / tiny
    count = len(radius)
    terms, middle, reach = _quadratic(frames, np.repeat(radius[:, None], 3, axis=1), np.zeros(count))
    ray = np.column_stack([-frames.slope, np.ones(count)])
    along = np.sum(outward * ray, axis=1)
    form = outward[:, :2] + along[:, None] * middle
    form[:, 0] += np.where(np.all(form == 0, axis=1), 1e-2, 0.0)
    terms |= {"px": form[:, 0], "py": form[:, 1], "go": np.abs(along)}
    return Parts(frames, half_ball_law, terms, reach, _round_grid(radius))


def _quadratic(
    frames: PixelFrames, radii: Numbers, turn_deg: Numbers
) -> tuple[dict[str, Numbers], Numbers, Numbers]:
    """Half chord^2 = size - xx x^2 - xy x y - yy y^2; the chord's middle (N, 2) times (x, y); reach (N, 2).

    From |M (q - s t)|^2 + t^2 / rz^2 <= 1 with M turning and dividing by the footprint's half axes: with
    A = |M s|^2 + 1 / rz^2 the discriminant is A - |M q|^2 / rz^2 - (M q x M s)^2, free of cancellation.
    """
    axes = axes_of(turn_deg) / radii[:, :2, None]
    slope = np.einsum("nij,nj->ni", axes, frames.slope)
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


def _round_grid(radius_px: Numbers) -> Indices:
    """Side of the grid of samples in a pixel for sampled round things."""
    return np.select([radius_px < 1.0, radius_px < 2.0, radius_px < 5.0], [8, 5, 3], 2).astype(np.intp)


def _half_chord(terms: Terms, x: Image, y: Image) -> Image:
    square = terms["size"] - terms["xx"] * (x * x) - (terms["yy"] * y + terms["xy"] * x) * y
    np.maximum(square, 0, out=square)
    return np.sqrt(square, out=square)


def quadric_law(terms: Terms, x: Image, y: Image) -> Image:
    """Chord in a quadric, whole or cut at two heights."""
    half = _half_chord(terms, x, y)
    if "bottom" not in terms:
        half += half
        return half
    middle = terms["mx"] * x + terms["my"] * y
    top = np.minimum(middle + half, terms["top"])
    middle -= half
    top -= np.maximum(middle, terms["bottom"], out=middle)
    return np.maximum(top, 0, out=top)


def small_quadric_law(terms: Terms, x: Image, y: Image) -> Image:
    """Mean chord over the pixel in a whole quadric: along x in closed form, along y by quadrature."""
    low = np.clip(y - 0.5, -terms["high"], terms["high"])
    high = np.clip(y + 0.5, -terms["high"], terms["high"])
    edges = np.concatenate([x - 0.5, x[..., -1:] + 0.5], axis=-1)
    total = np.zeros(1, np.float32)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        row = 0.5 * (low + high) + 0.5 * node * (high - low)
        width = np.sqrt(np.maximum(terms["size"] - terms["yy"] * row * row, 1e-12))
        area = np.diff(disc_area(np.clip((edges + terms["lean"] * row) / width, -1, 1)), axis=-1)
        total = total + area * (weight * width * width * (high - low) * terms["steep"])
    return total


def half_ball_law(terms: Terms, x: Image, y: Image) -> Image:
    """Chord in a ball on one side of a plane through its middle."""
    chord = _half_chord(terms, x, y)
    chord += chord
    blur = blur_of(terms["px"], terms["py"], terms["soft"])
    chord *= fraction_inside(terms["px"] * x + terms["py"] * y, terms["go"] * chord, blur)
    return chord
