"""Upright primitives with an even top: cylinders, tubes, boxes, wedges, stacks of discs.

Seen obliquely, a ray sweeps over the footprint between bottom and top; heights are shares t of the sweep,
from -1/2 to 1/2. How much of the sweep lies on one side of a straight edge, averaged over the pixel, has a
closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np

from longexposure.simulation.geometry.parts import Canvas, Image, Indices, Numbers, Parts, PixelFrame, Terms
from longexposure.simulation.geometry.primitives import Cone, Cylinder, Primitive, Slab, Wedge

_ONE, _NOUGHT, _HALF = np.float32(1), np.float32(0), np.float32(0.5)

_QUADRATURE = {
    2: ((-(3**-0.5), 0.5), (3**-0.5, 0.5)),
    3: ((-(0.6**0.5), 5 / 18), (0.0, 8 / 18), (0.6**0.5, 5 / 18)),
    6: tuple((float(x), float(w) / 2) for x, w in zip(*np.polynomial.legendre.leggauss(6), strict=True)),
}
"""Gauss's nodes and weights on an interval from -1 to 1, the weights adding to 1."""


def axes_of(turn_deg: Numbers) -> Numbers:
    """Unit vectors along a primitive's own x and y, (N, 2, 2)."""
    angle = np.deg2rad(turn_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)


def passed(depth: Image, sweep: Image | None, blur: tuple[Image, Image]) -> Image:
    """Share of a sweep on the inner side of an edge, seen through a pixel: a step, smoothed by two boxes.

    Args:
        depth: of the sweep's middle inside the edge, px.
        sweep: how far the depth changes in the sweep, 0 or more; None where that is nothing.
        blur: how far the depth changes along the sides of the pixel, see `blur_of`.
    """
    wide, narrow = blur
    if sweep is not None:
        other = np.sqrt(sweep * sweep + narrow * narrow)
        wide, narrow = np.maximum(other, wide), np.minimum(other, wide)
    fraction = np.abs(depth)
    np.minimum(fraction, _HALF * (wide + narrow), out=fraction)
    corner = fraction - _HALF * (wide - narrow)
    np.maximum(corner, _NOUGHT, out=corner)
    corner *= corner
    corner *= _HALF / (wide * narrow)
    fraction *= _ONE / wide
    fraction -= corner
    np.copysign(fraction, depth, out=fraction)
    fraction += _HALF
    return fraction


def blur_of(normal_x: Image, normal_y: Image, soft: Image) -> tuple[Image, Image]:
    """How far a depth that rises along this normal changes over a sample of side `soft`: larger, smaller."""
    x, y = np.abs(normal_x), np.abs(normal_y)
    least = np.float32(1e-3)
    return np.maximum(np.maximum(x, y), least) * soft, np.maximum(np.minimum(x, y), least) * soft


def disc_area(place: Image) -> Image:
    """Area of a disc of radius 1 between its diameter and a line that runs `place` (-1 to 1) beside it."""
    area = place * place
    np.subtract(_ONE, area, out=area)
    np.sqrt(area, out=area)
    area *= place
    area += np.arcsin(place)
    return area


# ---- boxes, wedges and straight strips --------------------------------------------------------------


@dataclass
class Ends:
    """Two straight edges across strips, and bevels of sharp corners; depth = at + (x, y) . normal - t go.

    Attributes:
        at: (N, E), depth of the strip's middle inside each edge, px.
        normal: (N, E, 2), inward and of length 1.
        go: (N, E), change of the depth in the sweep.
    """

    at: Numbers
    normal: Numbers
    go: Numbers

    def terms(self) -> dict[str, Numbers]:
        """As terms of the law."""
        out: dict[str, Numbers] = {}
        for i in range(self.at.shape[1]):
            out |= {f"at{i}": self.at[:, i], f"nx{i}": self.normal[:, i, 0], f"ny{i}": self.normal[:, i, 1]}
            out[f"go{i}"] = self.go[:, i]
        return out


def strips(across: Numbers, half: Numbers, ends: Ends, sweep: Numbers) -> dict[str, Numbers]:
    """Terms of straight strips.

    Args:
        across: unit vectors (N, 2) across the strips.
        half: (N,) half widths, px.
        ends: the edges across them.
        sweep: (N, 2), how far the image moves between bottom and top, px.
    """
    go = np.sum(across * sweep, axis=1)
    terms = {"c": across[:, 0], "s": across[:, 1], "half": half, "go": np.abs(go), "sign": 0.5 * np.sign(go)}
    return terms | ends.terms()


def _strip(terms: Terms, x: Image, y: Image, *, upright: bool, edges: int) -> Image:
    """Height in a strip between two ends.

    The strip leaves a part of the sweep, of which the ends see the middle and the length, except where the
    sweep is less than a pixel: then they see all of it. A term "slant" cuts the box to a wedge.
    """
    soft = terms["soft"]
    place = terms["c"] * x + terms["s"] * y
    go, blur = None if upright else terms["go"], blur_of(terms["c"], terms["s"], soft)
    above = passed(terms["half"] - place, go, blur)
    cover = passed(terms["half"] + place, go, blur)
    sharp = terms["go"] > soft
    middle = np.zeros_like(soft) if upright else (cover - above) * (terms["sign"] * sharp)
    cover += above
    cover -= _ONE
    np.maximum(cover, _NOUGHT, out=cover)
    rest = np.ones_like(soft) if upright else _ONE + sharp * (cover - _ONE)
    if "slant" in terms:
        below = _below_slant(terms, x, y, middle, rest)
        middle = middle + (_ONE - below) * rest * (_HALF * np.sign(terms["slant"]))
        cover, rest = cover * below, rest * below
    fractions = [_beyond(terms, str(i), x, y, None if upright else (middle, rest)) for i in range(edges)]
    fraction = np.maximum(fractions[0] + fractions[1] - _ONE, _NOUGHT)
    for bevel in fractions[2:]:
        np.minimum(fraction, bevel, out=fraction)
    fraction *= cover
    fraction *= terms["height"]
    return fraction


def _beyond(terms: Terms, edge: str, x: Image, y: Image, sweep: tuple[Image, Image] | None) -> Image:
    across, down = terms["nx" + edge], terms["ny" + edge]
    depth = terms["at" + edge] + across * x + down * y
    blur = blur_of(across, down, terms["soft"])
    if sweep is None:
        return passed(depth, None, blur)
    depth = depth - terms["go" + edge] * sweep[0]
    return passed(depth, np.abs(terms["go" + edge]) * sweep[1], blur)


def _below_slant(terms: Terms, x: Image, y: Image, middle: Image, rest: Image) -> Image:
    """Share of a chord of this middle and length that lies below the plane from edge to edge."""
    depth = terms["px"] * x + terms["py"] * y + terms["slant"] * middle
    return passed(depth, np.abs(terms["slant"]) * rest, blur_of(terms["px"], terms["py"], terms["soft"]))


def strip_parts(
    frame: PixelFrame,
    terms: dict[str, Numbers],
    reach: Numbers,
    *,
    grid: Indices,
    areas: Numbers | None = None,
) -> Iterator[Parts]:
    """Strips in two lots: those whose image does not move between bottom and top, and the others."""
    edges = sum(name.startswith("at") for name in terms)
    moves = [terms["go"]] + [np.abs(terms[f"go{i}"]) for i in range(edges)]
    upright = np.max(moves, axis=0) < 0.02
    for still in (True, False):
        chosen = np.flatnonzero(upright == still)
        if len(chosen):
            mine = {name: value[chosen] for name, value in terms.items()}
            law = partial(_strip, upright=still, edges=edges)
            area = None if areas is None else areas[chosen]
            yield Parts(frame.pick(chosen), law, mine, reach[chosen], grid[chosen], area)


def box_parts(primitives: Sequence[Slab] | Sequence[Wedge], canvas: Canvas) -> Iterator[Parts]:
    """Slabs, or wedges."""
    table = np.array([(*s.at, s.bottom, s.top, *s.sides, s.turn_deg) for s in primitives], np.float64)
    frame = canvas.frame(primitives, np.column_stack([table[:, :2], table[:, 2:4].mean(axis=1)]))
    height = (table[:, 3] - table[:, 2]) / frame.pitch
    half = 0.5 * table[:, 4:6] / frame.pitch[:, None]
    axes = axes_of(table[:, 6])
    sweep = frame.slope * height[:, None]
    go = np.einsum("nij,nj->ni", axes, sweep)
    terms = {"height": height}
    if isinstance(primitives[0], Wedge):
        fall = axes[:, 0] * (-0.5 / half[:, :1])
        terms |= {"px": fall[:, 0], "py": fall[:, 1], "slant": 0.5 * go[:, 0] / half[:, 0] - 1.0}
    order = np.argsort(-np.abs(go), axis=1, kind="stable")
    go, half = np.take_along_axis(go, order, 1), np.take_along_axis(half, order, 1)
    axes = np.take_along_axis(axes, order[:, :, None], 1)
    ends = Ends(
        at=half[:, [1, 1]],
        normal=np.stack([-axes[:, 1], axes[:, 1]], axis=1),
        go=np.stack([-go[:, 1], go[:, 1]], axis=1),
    )
    terms |= strips(axes[:, 0], half[:, 0], ends, sweep)
    areas = np.concatenate([axes, np.stack([half, half, np.abs(go)], axis=2)], axis=2)
    reach = np.einsum("nij,ni->nj", np.abs(axes), half) + 0.5 * np.abs(sweep) + 0.25
    turned = np.abs(axes).max(axis=(1, 2)) < 1 - 1e-9
    grid = np.where(turned, np.select([half.min(axis=1) < 0.75, half.min(axis=1) < 2.5], [4, 2], 1), 1)
    plain = isinstance(primitives[0], Slab)
    if not plain:
        grid = np.where(half.min(axis=1) < 2.5, 4, 2)
    yield from strip_parts(frame, terms, reach, grid=grid, areas=areas if plain else None)


# ---- cylinders --------------------------------------------------------------------------------------


def _tube(terms: Terms, x: Image, y: Image, *, nodes: int, upright: bool) -> Image:
    """Height in a cylinder: strips along the sweep, by quadrature across it, cut at a plane if any."""
    soft = terms["soft"]
    along = terms["c"] * x + terms["s"] * y
    across = terms["c"] * y - terms["s"] * x
    go, blur = None if upright else terms["go"], blur_of(terms["c"], terms["s"], soft)
    low = np.clip(across - _HALF * blur[0], -terms["radius"], terms["radius"])
    high = np.clip(across + _HALF * blur[0], -terms["radius"], terms["radius"])
    middle, wide = _HALF * (low + high), _HALF * (high - low)
    total = np.zeros_like(along)
    for node, weight in _QUADRATURE[nodes]:
        row = middle + np.float32(node) * wide
        half = np.sqrt(np.maximum(terms["radius"] * terms["radius"] - row * row, _NOUGHT))
        above, below = passed(half - along, go, blur), passed(half + along, go, blur)
        fraction = np.maximum(above + below - _ONE, _NOUGHT)
        if "nx" in terms:
            shift = row - across
            place = x - terms["s"] * shift, y + terms["c"] * shift
            fraction *= _beyond_plane(terms, place, (above, below, fraction), upright=upright)
        fraction *= np.float32(2 * weight)
        total += fraction
    total *= wide * (terms["height"] / blur[0])
    return total


def _beyond_plane(
    terms: Terms, place: tuple[Image, Image], fractions: tuple[Image, Image, Image], *, upright: bool
) -> Image:
    """Share of what the disc leaves of a sweep that lies beyond a plane through the disc's middle."""
    depth = terms["nx"] * place[0] + terms["ny"] * place[1]
    blur = blur_of(terms["nx"], terms["ny"], terms["soft"])
    if upright:
        return passed(depth, None, blur)
    above, below, fraction = fractions
    sharp = terms["go"] > terms["soft"]
    depth -= terms["turned"] * (below - above) * (_HALF * sharp)
    return passed(depth, np.abs(terms["turned"]) * (_ONE + sharp * (fraction - _ONE)), blur)


def disc_parts(
    frame: PixelFrame, radius: Numbers, height: Numbers, outward: Numbers | None = None
) -> Iterator[Parts]:
    """Upright discs of radius and height in px; with (N, 2) `outward` only the half on that side."""
    tiny = np.minimum(radius / 0.25, 1.0)
    frame.weight = frame.weight * tiny**2
    radius = radius / tiny
    lean = np.hypot(*frame.slope.T)
    oblique = lean * height > 0.7
    ahead = np.where(oblique[:, None], frame.slope / np.maximum(lean, 1e-12)[:, None], [1.0, 0.0])
    sweep = frame.slope * height[:, None]
    go = np.abs(np.sum(ahead * sweep, axis=1))
    terms = {"c": ahead[:, 0], "s": ahead[:, 1], "go": go, "radius": radius, "height": height}
    if outward is not None:
        terms |= {"nx": outward[:, 0], "ny": outward[:, 1], "turned": np.sum(outward * sweep, axis=1)}
    reach = radius[:, None] + 0.5 * np.abs(sweep) + 0.25
    grid = np.where(oblique & ((radius < 2) | (go < 3) & (radius < 4)), 2, 1)
    small = (radius < 4).astype(int) + (radius < 1.5)
    for code in range(6):
        chosen = np.flatnonzero((small == code // 2) & (oblique == code % 2))
        if len(chosen):
            mine = {name: value[chosen] for name, value in terms.items()}
            law = partial(_tube, nodes=(2, 3, 6)[code // 2], upright=code % 2 == 0)
            yield Parts(frame.pick(chosen), law, mine, reach[chosen], grid[chosen])


def cylinder_parts(primitives: Sequence[Cylinder], canvas: Canvas) -> Iterator[Parts]:
    """Cylinders; a tube is its outer one less its inner one."""
    table = np.array([(*s.at, s.bottom, s.top, s.radius, s.inner_radius) for s in primitives], np.float64)
    yield from _cylinders(primitives, table, canvas)


def _cylinders(primitives: Sequence[Primitive], table: Numbers, canvas: Canvas) -> Iterator[Parts]:
    frame = canvas.frame(primitives, np.column_stack([table[:, :2], table[:, 2:4].mean(axis=1)]))
    hollow = np.flatnonzero(table[:, 5] > 0)
    which = np.concatenate([np.arange(len(primitives)), hollow])
    radius = np.concatenate([table[:, 4], table[hollow, 5]])
    frame = frame.pick(which)
    frame.weight[len(primitives) :] *= -1
    height = (table[:, 3] - table[:, 2])[which]
    yield from disc_parts(frame, radius / frame.pitch, height / frame.pitch)


def cone_parts(primitives: Sequence[Cone], canvas: Canvas) -> Iterator[Parts]:
    """Each cone as a stack of discs, half a pixel apart in radius, each with the volume of its part."""
    owners: list[Primitive] = []
    rows: list[tuple[float, ...]] = []
    for cone in primitives:
        change = abs(cone.top_radius - cone.bottom_radius) / canvas.view.pixel_um
        count = min(max(ceil(2 * change), 4), 64)
        z = np.linspace(cone.bottom, cone.top, count + 1)
        r = np.linspace(cone.bottom_radius, cone.top_radius, count + 1)
        mean = np.sqrt((r[1:] ** 2 + r[1:] * r[:-1] + r[:-1] ** 2) / 3)
        owners += [cone] * count
        rows += [(*cone.at, z[i], z[i + 1], mean[i], 0.0) for i in range(count)]
    yield from _cylinders(owners, np.array(rows, np.float64), canvas)
