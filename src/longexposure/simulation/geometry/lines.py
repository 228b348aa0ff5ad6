"""Tracks and wires: straight pieces that meet in the planes halfway between their directions and add up.

A piece ends where a neighbour begins: nothing counts twice at a corner and nothing is missing. Free ends get
half discs or half balls; sharp outer corners are bevelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.parts import Canvas, Image, Indices, Numbers, Parts, PixelFrame, Terms
from longexposure.simulation.geometry.primitives import Track, Wire
from longexposure.simulation.geometry.prisms import (
    Ends,
    blur_of,
    disc_area,
    disc_parts,
    passed,
    strip_parts,
    strips,
)
from longexposure.simulation.geometry.quadrics import FINEST_PX, half_balls

_SHARP_TRACK, _SHARP_WIRE = 2 * np.sin(np.deg2rad(25)), 2 * np.sin(np.deg2rad(10))
"""Corners are bevelled where unit vectors before and after differ by more: turns above 50 and 20 degrees."""

_OPEN = 1e6


@dataclass
class Pieces:
    """N straight pieces of lines; index 0 is the piece's beginning, 1 its end.

    Attributes:
        owner: (N,), number of the line.
        middle: (N, 3), um.
        axis: (N, 3), unit vectors.
        half: (N,), half lengths, um.
        inward: (N, 2, 3), normals of the planes at both ends, pointing into the piece.
        free: (N, 2), whether a line ends there.
        corner: (N, 2, 3), unit vectors to the outer side of sharp corners; zeros elsewhere.
    """

    owner: Indices
    middle: Numbers
    axis: Numbers
    half: Numbers
    inward: Numbers
    free: npt.NDArray[np.bool_]
    corner: Numbers


def _pieces(lines: Sequence[Numbers], wide_um: Numbers, *, pixel_um: float, sharp: float) -> Pieces:
    """Pieces of lines (n, 3), um; long oblique pieces are split, points that repeat are left out."""
    owner, start, step = _steps(lines)
    count = _splits(step, wide_um[owner], pixel_um)
    which = np.repeat(np.arange(len(owner)), count)
    number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    step = step[which] / count[which, None]
    start, owner = start[which] + step * number[:, None], owner[which]
    length = np.sqrt(np.sum(step**2, axis=1))
    axis = np.where(length[:, None] > 0, step / np.maximum(length, 1e-30)[:, None], [1.0, 0.0, 0.0])
    before, after = _neighbours(lines, owner)
    free = np.stack([before < 0, after < 0], axis=1)
    others = [axis[np.where(free[:, 0], np.arange(len(axis)), before)]]
    others += [axis[np.where(free[:, 1], np.arange(len(axis)), after)]]
    inward, corner = [], []
    for other, side in zip(others, (1.0, -1.0), strict=True):
        plane, turn = axis + other, side * (other - axis)
        size = np.sqrt(np.sum(plane**2, axis=1, keepdims=True))
        inward.append(side * np.where(size > 1e-3, plane / np.maximum(size, 1e-3), axis))
        size = np.sqrt(np.sum(turn**2, axis=1, keepdims=True))
        corner.append(np.where(size > sharp, turn / np.maximum(size, sharp), 0.0))
    return Pieces(
        owner=owner,
        middle=start + 0.5 * step,
        axis=axis,
        half=0.5 * length,
        inward=np.stack(inward, axis=1),
        free=free,
        corner=np.stack(corner, axis=1),
    )


def _steps(lines: Sequence[Numbers]) -> tuple[Indices, Numbers, Numbers]:
    """Owner, beginning and step of every piece; a line that stays in one place is one piece of no length."""
    line = np.repeat(np.arange(len(lines)), [len(points) for points in lines])
    points = np.concatenate(lines)
    step = np.diff(points, axis=0, append=points[-1:])
    last = np.append(line[1:] != line[:-1], True)
    step[last] = 0.0
    moves = np.any(step != 0, axis=1)
    still = np.bincount(line, moves, minlength=len(lines)) == 0
    keep = moves | (last & still[line])
    return line[keep], points[keep], step[keep]


def _splits(step: Numbers, wide_um: Numbers, pixel_um: float) -> Indices:
    """Into how many pieces a step is split so that their bounding boxes hold little else."""
    span = np.abs(step[:, :2]) / pixel_um
    least = (wide_um / pixel_um + 2) ** 2 + 200
    return np.maximum(np.round(np.sqrt(span[:, 0] * span[:, 1] / least)), 1).astype(np.intp)


def _neighbours(lines: Sequence[Numbers], owner: Indices) -> tuple[Indices, Indices]:
    """Numbers of the pieces before and after each, -1 at free ends; a closed line has none."""
    index = np.arange(len(owner))
    begins = np.append(True, owner[1:] != owner[:-1])
    ends = np.append(begins[1:], True)
    before, after = np.where(begins, -1, index - 1), np.where(ends, -1, index + 1)
    closed = np.array([len(points) > 3 and bool(np.all(points[0] == points[-1])) for points in lines])
    first, last = np.flatnonzero(begins), np.flatnonzero(ends)
    ring = closed[owner[first]]
    before[first[ring]], after[last[ring]] = last[ring], first[ring]
    return before, after


# ---- tracks -----------------------------------------------------------------------------------------


def track_parts(primitives: Sequence[Track], canvas: Canvas) -> Iterator[Parts]:
    """Tracks; those that cross themselves are drawn at once, by their distance from the line."""
    crossing = _crossing(primitives)
    plain = []
    for track, crosses in zip(primitives, crossing.tolist(), strict=True):
        if crosses:
            _draw_crossing(track, canvas)
        else:
            plain.append(track)
    if plain:
        yield from _plain_tracks(plain, canvas)


def _plain_tracks(primitives: Sequence[Track], canvas: Canvas) -> Iterator[Parts]:
    table = np.array([(track.bottom, track.top, track.width) for track in primitives], np.float64)
    level = table[:, :2].mean(axis=1)
    lines = [
        np.column_stack([np.array(track.points, np.float64), np.full(len(track.points), z)])
        for track, z in zip(primitives, level.tolist(), strict=True)
    ]
    pieces = _pieces(lines, table[:, 2], pixel_um=canvas.view.pixel_um, sharp=_SHARP_TRACK)
    frame = canvas.frame([primitives[i] for i in pieces.owner], pieces.middle)
    half_width = 0.5 * table[pieces.owner, 2] / frame.pitch
    height = (table[:, 1] - table[:, 0])[pieces.owner] / frame.pitch
    half = pieces.half / frame.pitch
    sweep = frame.slope * height[:, None]
    axis = pieces.axis[:, :2]
    across = np.stack([-axis[:, 1], axis[:, 0]], -1)
    reach = half[:, None] * np.abs(axis) + 1.2 * half_width[:, None] + 0.5 * np.abs(sweep)
    sharp = np.any(pieces.corner != 0, axis=(1, 2))
    for bevelled in (False, True):
        chosen = np.flatnonzero(sharp == bevelled)
        if len(chosen):
            ends = _ends(pieces, chosen, half, half_width, sweep, bevelled=bevelled)
            terms = strips(across[chosen], half_width[chosen], ends, sweep[chosen])
            terms["height"] = height[chosen]
            grid = np.full(len(chosen), 2 if bevelled else 1)
            yield from strip_parts(frame.pick(chosen), terms, reach[chosen], grid=grid)
    which, end = np.nonzero(pieces.free)
    outward = axis[which] * np.where(end == 0, -1.0, 1.0)[:, None]
    cap = frame.pick(which)
    cap.centre = cap.centre + outward * half[which, None]
    yield from disc_parts(cap, half_width[which], height[which], outward)


def _ends(
    pieces: Pieces, chosen: Indices, half: Numbers, half_width: Numbers, sweep: Numbers, *, bevelled: bool
) -> Ends:
    """Planes at both ends of the chosen pieces, and bevels."""
    half, axis, sweep = half[chosen, None], pieces.axis[chosen, :2], sweep[chosen]
    to_end = np.stack([-axis, axis], axis=1) * half[:, :, None]
    normal = pieces.inward[chosen, :, :2]
    at = -np.sum(normal * to_end, axis=2)
    if bevelled:
        corner = pieces.corner[chosen, :, :2]
        there = np.any(corner != 0, axis=2)
        bevel = np.where(
            there, np.maximum(half_width[chosen, None], 0.5) + np.sum(corner * to_end, axis=2), _OPEN
        )
        outer = np.where(there[:, :, None], -corner, [1.0, 0.0])
        normal, at = np.concatenate([normal, outer], axis=1), np.hstack([at, bevel])
    return Ends(at=at, normal=normal, go=np.einsum("nej,nj->ne", normal, sweep))


def _crossing(primitives: Sequence[Track]) -> npt.NDArray[np.bool_]:
    """Whether two pieces that are not neighbours cross or touch, for each track."""
    crossing = np.zeros(len(primitives), bool)
    sizes = np.array([len(track.points) for track in primitives])
    for size in np.unique(sizes[sizes > 3]).tolist():
        which = np.flatnonzero(sizes == size)
        step = max(1_000_000 // size**2, 1)
        for start in range(0, len(which), step):
            some = which[start : start + step]
            crossing[some] = _crosses(np.array([primitives[i].points for i in some], np.float64))
    return crossing


def _crosses(points: Numbers) -> npt.NDArray[np.bool_]:
    """The same for lines (T, n, 2): pieces meet where either's ends lie on both sides of the other."""
    start, step = points[:, :-1], np.diff(points, axis=1)
    x, y = np.moveaxis(start[:, None] - start[:, :, None], -1, 0)
    dx, dy = step[:, None, :, 0], step[:, None, :, 1]
    ex, ey = step[:, :, None, 0], step[:, :, None, 1]
    cross = ex * dy - ey * dx
    size, sign = np.abs(cross), np.sign(cross)
    mine, other = (x * dy - y * dx) * sign, (x * ey - y * ex) * sign
    meets = (size > 0) & (mine >= 0) & (mine <= size) & (other >= 0) & (other <= size)
    count = step.shape[1]
    meets &= np.triu(np.ones((count, count), bool), 2)
    meets[:, 0, -1] &= np.any(points[:, 0] != points[:, -1], axis=1)
    return np.any(meets, axis=(1, 2))


def _draw_crossing(track: Track, canvas: Canvas) -> None:
    """Coverage by the distance from the whole line, averaged over heights a pixel apart and four samples."""
    view = canvas.view
    points = np.array(track.points, np.float64)
    level = 0.5 * (track.bottom + track.top)
    line = np.column_stack([points, np.full(len(points), level)])
    frame = canvas.frame([track], np.array([[*points.mean(axis=0), level]]))
    pitch, half_width = float(frame.pitch[0]), 0.5 * track.width / float(frame.pitch[0])
    height = (track.top - track.bottom) / pitch
    sweep = frame.slope[0] * height
    seen = view.project(line)
    reach = half_width + 1.0
    limit = np.array([view.width, view.height]) - 1
    low = np.clip(np.floor(seen.min(axis=0) - reach - 0.5 * np.abs(sweep)), 0, limit).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0) + reach + 0.5 * np.abs(sweep)), 0, limit).astype(int)
    width, tall = (high - low + 1).tolist()
    count = min(max(ceil(float(np.abs(sweep).max())), 1), 32)
    total = np.zeros((tall, width), np.float32)
    samples = [(x, y) for x in (-0.25, 0.25) for y in (-0.25, 0.25)]
    for fraction, sample in product((np.arange(count) + 0.5) / count - 0.5, samples):
        away = _distance(seen - low + fraction * sweep + sample, (tall, width), reach)
        total += np.clip(2 * (half_width - away) + 0.5, 0.0, min(4 * half_width, 1.0))
    weight = float(frame.weight[0]) * height / (count * len(samples))
    canvas.add(track.material, (int(low[0]), int(low[1])), np.float32(weight) * total)


def _distance(line: Numbers, shape: tuple[int, int], reach: float) -> Image:
    """Distance (h, w) from a line of points (n, 2) in px, where it is within reach."""
    best: Image = np.full(shape, (2 * reach) ** 2, np.float32)
    for start, step in zip(line[:-1], np.diff(line, axis=0), strict=True):
        first = np.maximum(np.floor(np.minimum(start, start + step) - reach), 0).astype(int)
        last = np.maximum(np.ceil(np.maximum(start, start + step) + reach) + 1, 0).astype(int)
        place = best[first[1] : last[1], first[0] : last[0]]
        if not place.size:
            continue
        down, right = np.ogrid[: place.shape[0], : place.shape[1]]
        right = (right + (first[0] - start[0])).astype(np.float32)
        down = (down + (first[1] - start[1])).astype(np.float32)
        dx, dy = (step / max(float(step @ step), 1e-12)).astype(np.float32)
        fraction = np.clip(right * dx + down * dy, 0, 1)
        right, down = right - fraction * np.float32(step[0]), down - fraction * np.float32(step[1])
        np.minimum(place, right * right + down * down, out=place)
    return np.sqrt(best)


# ---- wires ------------------------------------------------------------------------------------------


def wire_parts(primitives: Sequence[Wire], canvas: Canvas) -> Iterator[Parts]:
    """Round wires: cylinders between planes, half balls at the free ends."""
    diameter = np.array([wire.diameter for wire in primitives], np.float64)
    lines = [np.array(wire.points, np.float64) for wire in primitives]
    pieces = _pieces(lines, diameter, pixel_um=canvas.view.pixel_um, sharp=_SHARP_WIRE)
    frame = canvas.frame([primitives[i] for i in pieces.owner], pieces.middle)
    radius, half = 0.5 * diameter[pieces.owner] / frame.pitch, pieces.half / frame.pitch
    sharp = np.any(pieces.corner != 0, axis=(1, 2))
    for bevelled in (False, True):
        chosen = np.flatnonzero(sharp == bevelled)
        if len(chosen):
            yield _rods(pieces, chosen, frame.pick(chosen), (radius[chosen], half[chosen]), bevelled=bevelled)
    which, end = np.nonzero(pieces.free)
    outward = pieces.axis[which] * np.where(end == 0, -1.0, 1.0)[:, None]
    ball = frame.pick(which)
    shift = outward * half[which, None]
    ball.centre = ball.centre + shift[:, :2] + ball.slope * shift[:, 2:]
    yield half_balls(ball, radius[which], outward)


def _rods(
    pieces: Pieces, chosen: Indices, frame: PixelFrame, sizes: tuple[Numbers, Numbers], *, bevelled: bool
) -> Parts:
    """Oblique cylinders: half chord^2 = (r^2 - across^2) / a, with `across` the distance of ray and axis."""
    radius, half = sizes
    axis = pieces.axis[chosen]
    seen = axis[:, :2] + frame.slope * axis[:, 2:]
    length = half * np.hypot(*seen.T)
    dot = (length < 2) & (radius < 1)
    least = np.where(dot, np.minimum(radius / FINEST_PX, 1.0), 1.0)
    frame.weight, radius = frame.weight * least**2, radius / least
    ray = np.column_stack([-frame.slope, np.ones(len(chosen))])
    axis = _off_the_rays(axis, ray)
    lean = np.sum(ray * axis, axis=1)
    a = np.sum(ray**2, axis=1) - lean**2
    across = np.cross(ray, axis)[:, :2] / np.sqrt(a)[:, None]
    middle = -(ray[:, :2] - axis[:, :2] * lean[:, None]) / a[:, None]
    terms = {"c": across[:, 0], "s": across[:, 1], "radius": radius, "long": 1 / np.sqrt(a)}
    planes = [(pieces.inward[chosen, i], np.zeros(len(chosen))) for i in (0, 1)]
    if bevelled:
        corners = [pieces.corner[chosen, i] for i in (0, 1)]
        planes += [(-m, np.where(np.any(m != 0, axis=1), np.maximum(radius, 0.5), _OPEN)) for m in corners]
    for i, (normal, depth) in enumerate(planes):
        to_end = axis * (half * (-1.0, 1.0)[i % 2])[:, None]
        along = np.sum(normal * ray, axis=1)
        form = normal[:, :2] + along[:, None] * middle
        terms |= {
            f"at{i}": depth - np.sum(normal * to_end, axis=1),
            f"nx{i}": form[:, 0],
            f"ny{i}": form[:, 1],
        }
        terms[f"go{i}"] = np.abs(along)
    reach = half[:, None] * np.abs(seen) + 1.6 * radius[:, None] * np.sqrt(1 + frame.slope**2)
    grid = np.where(dot, 4, np.where(radius < 0.5, 2, 1))
    return Parts(frame, partial(_rod, edges=len(planes)), terms, reach, grid)


def _off_the_rays(axis: Numbers, ray: Numbers) -> Numbers:
    """Axes (N, 3); those along the rays turned by a thousandth, so that there is a way across."""
    along = np.sum(np.cross(axis, ray) ** 2, axis=1) < 1e-6 * np.sum(ray**2, axis=1)
    aside = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis), axis=1)])
    turned = axis + 2e-3 * aside / np.sqrt(np.sum(aside**2, axis=1, keepdims=True))
    turned /= np.sqrt(np.sum(turned**2, axis=1, keepdims=True))
    return np.where(along[:, None], turned, axis)


def _rod(terms: Terms, x: Image, y: Image, *, edges: int) -> Image:
    """Mean chord over the pixel's extent across the rod, times the fraction of it between the planes."""
    across = (terms["c"] * x + terms["s"] * y) / terms["radius"]
    wide, narrow = blur_of(terms["c"] / terms["radius"], terms["s"] / terms["radius"], terms["soft"])
    # one side of the pixel in closed form, the other by two points
    area: Image = np.zeros_like(across)
    cover: Image = np.full_like(across, 1e-6)
    for shift in (narrow * np.float32(-(12**-0.5)), narrow * np.float32(12**-0.5)):
        high: Image = np.clip(across + (shift + np.float32(0.5) * wide), np.float32(-1), np.float32(1))
        low: Image = np.clip(across + (shift - np.float32(0.5) * wide), np.float32(-1), np.float32(1))
        area += disc_area(high)
        area -= disc_area(low)
        cover += high
        cover -= low
    chord: Image = area / cover
    chord *= terms["radius"] * terms["long"]
    fractions = []
    for i in range(edges):
        right, down = terms[f"nx{i}"], terms[f"ny{i}"]
        blur = blur_of(right, down, terms["soft"])
        fractions.append(passed(terms[f"at{i}"] + right * x + down * y, terms[f"go{i}"] * chord, blur))
    fraction = np.maximum(fractions[0] + fractions[1] - np.float32(1), np.float32(0))
    for bevel in fractions[2:]:
        np.minimum(fraction, bevel, out=fraction)
    fraction *= area
    fraction *= terms["radius"] * terms["long"] / (np.float32(2) * wide)
    return fraction
