"""Upright primitives with an even top: cylinders, tubes, boxes, wedges, stacks of discs.

Seen obliquely, a ray sweeps over the footprint between bottom and top; heights are fractions t of the sweep,
from -1/2 to 1/2. How much of the sweep lies on one side of a straight edge, averaged over the pixel, has a
closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil

import numpy as np

from longexposure.simulation.geometry.canvas import Canvas, Image, Indices, Numbers, Parts, PixelFrames, Terms
from longexposure.simulation.geometry.coverage import (
    axes_of,
    blur_of,
    edge_terms,
    fraction_between,
    fraction_inside,
)
from longexposure.simulation.geometry.primitives import Cone, Cylinder, Slab, Wedge

_QUADRATURE = {
    2: ((-(3**-0.5), 0.5), (3**-0.5, 0.5)),
    3: ((-(0.6**0.5), 5 / 18), (0.0, 8 / 18), (0.6**0.5, 5 / 18)),
    6: tuple((float(x), float(w) / 2) for x, w in zip(*np.polynomial.legendre.leggauss(6), strict=True)),
}
"""Gauss's nodes and weights on an interval from -1 to 1, the weights adding to 1."""


# ---- boxes, wedges and straight strips --------------------------------------------------------------


def strip_law(terms: Terms, x: Image, y: Image, *, upright: bool, edges: int) -> Image:
    """Height in a strip between two ends.

    The strip leaves a part of the sweep, of which the ends see the middle and the length, except where the
    sweep is less than a pixel: then they see all of it. A term "slant" cuts the box to a wedge.
    """
    soft = terms["soft"]
    place = terms["c"] * x + terms["s"] * y
    go, blur = None if upright else terms["go"], blur_of(terms["c"], terms["s"], soft)
    above = fraction_inside(terms["half"] - place, go, blur)
    cover = fraction_inside(terms["half"] + place, go, blur)
    sharp = terms["go"] > soft
    middle = np.zeros_like(soft) if upright else (cover - above) * (terms["sign"] * sharp)
    cover += above
    cover -= 1
    np.maximum(cover, 0, out=cover)
    rest = np.ones_like(soft) if upright else 1 + sharp * (cover - 1)
    if "slant" in terms:
        slant, normal = terms["slant"], (terms["px"], terms["py"])
        depth = normal[0] * x + normal[1] * y + slant * middle
        below = fraction_inside(depth, np.abs(slant) * rest, blur_of(*normal, soft))
        middle = middle + (1 - below) * rest * (0.5 * np.sign(slant))
        cover, rest = cover * below, rest * below
    moved = (None, None) if upright else (middle, rest)
    fraction = fraction_between(terms, x, y, edges=edges, middle=moved[0], length=moved[1])
    fraction *= cover
    fraction *= terms["height"]
    return fraction


def strip_parts(
    frames: PixelFrames,
    terms: dict[str, Numbers],
    *,
    across: Numbers,
    half: Numbers,
    sweep: Numbers,
    reach: Numbers,
    grid: Indices,
    areas: Numbers | None = None,
) -> Iterator[Parts]:
    """Straight strips in two lots: those whose image does not move between bottom and top, and the others.

    Args:
        frames: of N strips.
        terms: "height", those of the edges across the strips (see `edge_terms`), and those of a slant.
        across: unit vectors (N, 2) across the strips.
        half: (N,) half widths, px.
        sweep: (N, 2), how far the image moves between bottom and top, px.
        reach: as of `Parts`.
        grid: as of `Parts`.
        areas: the two strips of `Parts`.
    """
    edges = sum(name.startswith("at") for name in terms)
    go = np.sum(across * sweep, axis=1)
    upright = np.max(np.abs([go, *(terms[f"go{i}"] for i in range(edges))]), axis=0) < 0.02
    terms = terms | {"c": across[:, 0], "s": across[:, 1], "half": half}
    terms |= {"go": np.abs(go), "sign": 0.5 * np.sign(go)}
    strips = Parts(frames, partial(strip_law, upright=True, edges=edges), terms, reach, grid, areas)
    yield strips.pick(upright)
    yield strips.pick(~upright, partial(strip_law, upright=False, edges=edges))


def box_parts(primitives: Sequence[Slab] | Sequence[Wedge], canvas: Canvas) -> Iterator[Parts]:
    """Slabs, or wedges."""
    table = np.array([(*s.at, s.bottom, s.top, *s.sides, s.turn_deg) for s in primitives], np.float64)
    frames = canvas.frames(primitives, np.column_stack([table[:, :2], table[:, 2:4].mean(axis=1)]))
    height = (table[:, 3] - table[:, 2]) / frames.pitch
    half = 0.5 * table[:, 4:6] / frames.pitch[:, None]
    axes = axes_of(table[:, 6])
    sweep = frames.slope * height[:, None]
    go = np.einsum("nij,nj->ni", axes, sweep)
    terms = {"height": height}
    plain = isinstance(primitives[0], Slab)
    if not plain:
        fall = axes[:, 0] * (-0.5 / half[:, :1])
        terms |= {"px": fall[:, 0], "py": fall[:, 1], "slant": 0.5 * go[:, 0] / half[:, 0] - 1.0}
    order = np.argsort(-np.abs(go), axis=1, kind="stable")
    go, half = np.take_along_axis(go, order, 1), np.take_along_axis(half, order, 1)
    axes = np.take_along_axis(axes, order[:, :, None], 1)
    normal, change = np.stack([-axes[:, 1], axes[:, 1]], axis=1), np.stack([-go[:, 1], go[:, 1]], axis=1)
    terms |= edge_terms(half[:, [1, 1]], normal, change)
    areas = np.concatenate([axes, np.stack([half, half, np.abs(go)], axis=2)], axis=2)
    reach = np.einsum("nij,ni->nj", np.abs(axes), half) + 0.5 * np.abs(sweep) + 0.25
    least = half.min(axis=1)
    turned = np.abs(axes).max(axis=(1, 2)) < 1 - 1e-9
    grid = np.where(turned, np.select([least < 0.75, least < 2.5], [4, 2], 1), 1)
    if not plain:
        grid = np.where(least < 2.5, 4, 2)
    yield from strip_parts(
        frames,
        terms,
        across=axes[:, 0],
        half=half[:, 0],
        sweep=sweep,
        reach=reach,
        grid=grid,
        areas=areas if plain else None,
    )


# ---- cylinders --------------------------------------------------------------------------------------


def tube_law(terms: Terms, x: Image, y: Image, *, nodes: int, upright: bool) -> Image:
    """Height in a cylinder: strips along the sweep, by quadrature across it.

    Terms "nx" and "ny" cut it at a plane through the disc's middle, of what the disc leaves of the sweep.
    """
    soft, radius = terms["soft"], terms["radius"]
    along = terms["c"] * x + terms["s"] * y
    across = terms["c"] * y - terms["s"] * x
    go, blur = None if upright else terms["go"], blur_of(terms["c"], terms["s"], soft)
    low = np.clip(across - 0.5 * blur[0], -radius, radius)
    high = np.clip(across + 0.5 * blur[0], -radius, radius)
    middle, wide = 0.5 * (low + high), 0.5 * (high - low)
    sharp = terms["go"] > soft
    total = np.zeros_like(along)
    for node, weight in _QUADRATURE[nodes]:
        row = middle + node * wide
        half = np.sqrt(np.maximum(radius * radius - row * row, 0))
        above, below = fraction_inside(half - along, go, blur), fraction_inside(half + along, go, blur)
        fraction = np.maximum(above + below - 1, 0)
        if "nx" in terms:
            normal, shift = (terms["nx"], terms["ny"]), row - across
            depth = normal[0] * (x - terms["s"] * shift) + normal[1] * (y + terms["c"] * shift)
            sweep = None
            if not upright:
                depth -= 0.5 * terms["turned"] * (below - above) * sharp
                sweep = np.abs(terms["turned"]) * (1 + sharp * (fraction - 1))
            fraction *= fraction_inside(depth, sweep, blur_of(*normal, soft))
        fraction *= 2 * weight
        total += fraction
    total *= wide * (terms["height"] / blur[0])
    return total


def disc_parts(
    frames: PixelFrames, radius: Numbers, height: Numbers, outward: Numbers | None = None
) -> Iterator[Parts]:
    """Upright discs of radius and height in px; with (N, 2) `outward` only the half on that side."""
    tiny = np.minimum(radius / 0.25, 1.0)
    frames.weight = frames.weight * tiny**2
    radius = radius / tiny
    lean = np.hypot(*frames.slope.T)
    oblique = lean * height > 0.7
    ahead = np.where(oblique[:, None], frames.slope / np.maximum(lean, 1e-12)[:, None], [1.0, 0.0])
    sweep = frames.slope * height[:, None]
    go = np.abs(np.sum(ahead * sweep, axis=1))
    terms = {"c": ahead[:, 0], "s": ahead[:, 1], "go": go, "radius": radius, "height": height}
    if outward is not None:
        terms |= {"nx": outward[:, 0], "ny": outward[:, 1], "turned": np.sum(outward * sweep, axis=1)}
    reach = radius[:, None] + 0.5 * np.abs(sweep) + 0.25
    grid = np.where(oblique & ((radius < 2) | (go < 3) & (radius < 4)), 2, 1)
    small = (radius < 4).astype(int) + (radius < 1.5)
    discs = Parts(frames, partial(tube_law, nodes=2, upright=True), terms, reach, grid)
    for size, nodes in enumerate((2, 3, 6)):
        for upright in (True, False):
            chosen = (small == size) & (oblique != upright)
            yield discs.pick(chosen, partial(tube_law, nodes=nodes, upright=upright))


def cylinder_parts(primitives: Sequence[Cylinder], canvas: Canvas) -> Iterator[Parts]:
    """Cylinders; a tube is its outer one less its inner one."""
    table = np.array([(*s.at, s.bottom, s.top, s.radius, s.inner_radius) for s in primitives], np.float64)
    frames = canvas.frames(primitives, np.column_stack([table[:, :2], table[:, 2:4].mean(axis=1)]))
    hollow = np.flatnonzero(table[:, 5] > 0)
    which = np.concatenate([np.arange(len(primitives)), hollow])
    radius = np.concatenate([table[:, 4], table[hollow, 5]])
    frames = frames.pick(which)
    frames.weight[len(primitives) :] *= -1
    height = (table[:, 3] - table[:, 2])[which]
    yield from disc_parts(frames, radius / frames.pitch, height / frames.pitch)


def cone_parts(primitives: Sequence[Cone], canvas: Canvas) -> Iterator[Parts]:
    """Each cone as a stack of discs, half a pixel apart in radius, each with the volume of its part."""
    discs = []
    for cone in primitives:
        change = abs(cone.top_radius - cone.bottom_radius) / canvas.view.pixel_um
        count = min(max(ceil(2 * change), 4), 64)
        z = np.linspace(cone.bottom, cone.top, count + 1).tolist()
        r = np.linspace(cone.bottom_radius, cone.top_radius, count + 1)
        mean = np.sqrt((r[1:] ** 2 + r[1:] * r[:-1] + r[:-1] ** 2) / 3).tolist()
        discs += [
            Cylinder(
                material=cone.material, amount=cone.amount, at=cone.at, radius=radius, bottom=low, top=high
            )
            for radius, low, high in zip(mean, z[:-1], z[1:], strict=True)
        ]
    yield from cylinder_parts(discs, canvas)
