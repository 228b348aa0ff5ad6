"""Tracks and wires: straight pieces that meet in the planes halfway between their directions and add up.

A piece ends where a neighbour begins: nothing counts twice at a corner and nothing is missing. Free ends get
half discs or half balls; sharp outer corners are bevelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import numpy as np

from longexposure.simulation.geometry.canvas import (
    Canvas,
    Image,
    Indices,
    Mask,
    Numbers,
    Parts,
    PixelFrames,
    Terms,
)
from longexposure.simulation.geometry.coverage import blur_of, disc_area, edge_terms, fraction_between
from longexposure.simulation.geometry.crossings import cross_themselves, draw_crossing
from longexposure.simulation.geometry.primitives import Track, Wire
from longexposure.simulation.geometry.prisms import disc_parts, strip_parts
from longexposure.simulation.geometry.quadrics import FINEST_PX, half_balls

_SHARP_TRACK, _SHARP_WIRE = 2 * np.sin(np.deg2rad(25)), 2 * np.sin(np.deg2rad(10))
"""Corners are bevelled where unit vectors before and after differ by more: turns above 50 and 20 degrees."""

_OPEN = 1e6


@dataclass
class Pieces:
    """N straight pieces of lines; index 0 is the piece's beginning, 1 its end.

    Attributes:
        frames: their pixel coordinates.
        owner: (N,), number of the line.
        axis: (N, 3), unit vectors.
        half: (N,), half lengths, px.
        radius: (N,), half widths, px.
        inward: (N, 2, 3), normals of the planes at both ends, pointing into the piece.
        free: (N, 2), whether a line ends there.
        corner: (N, 2, 3), unit vectors to the outer side of sharp corners; zeros elsewhere.
    """

    frames: PixelFrames
    owner: Indices
    axis: Numbers
    half: Numbers
    radius: Numbers
    inward: Numbers
    free: Mask
    corner: Numbers

    @property
    def sharp(self) -> Mask:
        """Which pieces have a sharp corner, (N,)."""
        return np.any(self.corner != 0, axis=(1, 2))

    def end_planes(self) -> tuple[Numbers, Numbers]:
        """Planes at both ends of each piece, then bevels of its corners, wide open where they are not sharp.

        Returns:
            Inward normals (N, 4, 3), zeros where there is no bevel, and depths (N, 4) of the middle, px.
        """
        to_end = np.stack([-self.axis, self.axis], axis=1) * self.half[:, None, None]
        bevelled = np.any(self.corner != 0, axis=2)
        bevel = np.where(bevelled, np.maximum(self.radius, 0.5)[:, None], _OPEN)
        bevel = bevel + np.sum(self.corner * to_end, axis=2)
        depth = np.hstack([-np.sum(self.inward * to_end, axis=2), bevel])
        return np.concatenate([self.inward, -self.corner], axis=1), depth

    def free_ends(self) -> tuple[Indices, PixelFrames, Numbers]:
        """Number of the piece, pixel coordinates and direction (M, 3) of each end of a line."""
        which, end = np.nonzero(self.free)
        outward = self.axis[which] * np.where(end == 0, -1.0, 1.0)[:, None]
        frames, shift = self.frames.pick(which), outward * self.half[which, None]
        frames.centre = frames.centre + shift[:, :2] + frames.slope * shift[:, 2:]
        return which, frames, outward


def _pieces(
    primitives: Sequence[Track] | Sequence[Wire],
    lines: Sequence[Numbers],
    wide_um: Numbers,
    canvas: Canvas,
    sharp: float,
) -> Pieces:
    """Pieces of lines (n, 3), um; points that repeat are left out.

    A line that stays in one place is one piece of no length. Long oblique pieces are split so that their
    bounding boxes hold little else.
    """
    pixel_um = canvas.view.pixel_um
    line = np.repeat(np.arange(len(lines)), [len(points) for points in lines])
    points = np.concatenate(lines)
    step = np.diff(points, axis=0, append=points[-1:])
    last = np.append(line[1:] != line[:-1], True)
    step[last] = 0.0
    moves = np.any(step != 0, axis=1)
    still = np.bincount(line, moves, minlength=len(lines)) == 0
    keep = moves | (last & still[line])
    owner, start, step = line[keep], points[keep], step[keep]

    span = np.abs(step[:, :2]) / pixel_um
    least = (wide_um[owner] / pixel_um + 2) ** 2 + 200
    count = np.maximum(np.round(np.sqrt(span[:, 0] * span[:, 1] / least)), 1).astype(np.intp)
    which = np.repeat(np.arange(len(owner)), count)
    number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    step = step[which] / count[which, None]
    start, owner = start[which] + step * number[:, None], owner[which]
    length = np.sqrt(np.sum(step**2, axis=1))
    axis = np.where(length[:, None] > 0, step / np.maximum(length, 1e-30)[:, None], [1.0, 0.0, 0.0])

    inward, free, corner = [], [], []
    for neighbour, side in zip(_neighbours(lines, owner), (1.0, -1.0), strict=True):
        free.append(neighbour < 0)
        other = axis[np.where(neighbour < 0, np.arange(len(axis)), neighbour)]
        plane, turn = axis + other, side * (other - axis)
        size = np.sqrt(np.sum(plane**2, axis=1, keepdims=True))
        inward.append(side * np.where(size > 1e-3, plane / np.maximum(size, 1e-3), axis))
        size = np.sqrt(np.sum(turn**2, axis=1, keepdims=True))
        corner.append(np.where(size > sharp, turn / np.maximum(size, sharp), 0.0))
    frames = canvas.frames([primitives[i] for i in owner], start + 0.5 * step)
    half, radius = 0.5 * length / frames.pitch, 0.5 * wide_um[owner] / frames.pitch
    ends = (np.stack(each, axis=1) for each in (inward, free, corner))
    return Pieces(frames, owner, axis, half, radius, *ends)


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


def track_parts(primitives: Sequence[Track], canvas: Canvas) -> Iterator[Parts]:
    """Tracks; those that cross themselves are drawn at once, by their distance from the line."""
    crossing = cross_themselves(primitives)
    for track in compress(primitives, crossing):
        draw_crossing(track, canvas)
    primitives = list(compress(primitives, ~crossing))
    if not primitives:
        return
    table = np.array([(track.bottom, track.top, track.width) for track in primitives], np.float64)
    lines = [
        np.column_stack([np.array(track.points, np.float64), np.full(len(track.points), z)])
        for track, z in zip(primitives, table[:, :2].mean(axis=1).tolist(), strict=True)
    ]
    pieces = _pieces(primitives, lines, table[:, 2], canvas, _SHARP_TRACK)
    frames, half, half_width, axis = pieces.frames, pieces.half, pieces.radius, pieces.axis[:, :2]
    height = (table[:, 1] - table[:, 0])[pieces.owner] / frames.pitch
    sweep = frames.slope * height[:, None]
    across = np.stack([-axis[:, 1], axis[:, 0]], -1)
    reach = half[:, None] * np.abs(axis) + 1.2 * half_width[:, None] + 0.5 * np.abs(sweep)
    normal, depth = pieces.end_planes()
    normal = np.where(np.any(normal != 0, axis=2, keepdims=True), normal[:, :, :2], [1.0, 0.0])
    go = np.einsum("nej,nj->ne", normal, sweep)
    for chosen, edges, grid in ((~pieces.sharp, 2, 1), (pieces.sharp, 4, 2)):
        terms = edge_terms(depth[chosen, :edges], normal[chosen, :edges], go[chosen, :edges])
        yield from strip_parts(
            frames.pick(chosen),
            terms | {"height": height[chosen]},
            across=across[chosen],
            half=half_width[chosen],
            sweep=sweep[chosen],
            reach=reach[chosen],
            grid=np.full(np.count_nonzero(chosen), grid),
        )
    which, caps, outward = pieces.free_ends()
    yield from disc_parts(caps, half_width[which], height[which], outward[:, :2])


def wire_parts(primitives: Sequence[Wire], canvas: Canvas) -> Iterator[Parts]:
    """Round wires: cylinders between planes, half balls at the free ends."""
    diameter = np.array([wire.diameter for wire in primitives], np.float64)
    lines = [np.array(wire.points, np.float64) for wire in primitives]
    pieces = _pieces(primitives, lines, diameter, canvas, _SHARP_WIRE)
    rods = _rods(pieces)
    yield rods.pick(~pieces.sharp)
    yield rods.pick(pieces.sharp, partial(rod_law, edges=4))
    which, caps, outward = pieces.free_ends()
    yield half_balls(caps, pieces.radius[which], outward)


def _rods(pieces: Pieces) -> Parts:
    """Oblique cylinders: half chord^2 = (r^2 - across^2) / a, with `across` the distance of ray and axis."""
    frames, half, radius = pieces.frames, pieces.half, pieces.radius
    seen = pieces.axis[:, :2] + frames.slope * pieces.axis[:, 2:]
    dot = (half * np.hypot(*seen.T) < 2) & (radius < 1)
    least = np.where(dot, np.minimum(radius / FINEST_PX, 1.0), 1.0)
    frames, radius = replace(frames, weight=frames.weight * least**2), radius / least
    ray = np.column_stack([-frames.slope, np.ones(len(radius))])
    # axes along the rays are turned by a thousandth, so that there is a way across
    axis = pieces.axis
    along = np.sum(np.cross(axis, ray) ** 2, axis=1) < 1e-6 * np.sum(ray**2, axis=1)
    aside = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis), axis=1)])
    turned = axis + 2e-3 * aside / np.sqrt(np.sum(aside**2, axis=1, keepdims=True))
    turned /= np.sqrt(np.sum(turned**2, axis=1, keepdims=True))
    axis = np.where(along[:, None], turned, axis)
    lean = np.sum(ray * axis, axis=1)
    a = np.sum(ray**2, axis=1) - lean**2
    across = np.cross(ray, axis)[:, :2] / np.sqrt(a)[:, None]
    middle = -(ray[:, :2] - axis[:, :2] * lean[:, None]) / a[:, None]
    terms = {"c": across[:, 0], "s": across[:, 1], "radius": radius, "long": 1 / np.sqrt(a)}
    normal, depth = replace(pieces, axis=axis, radius=radius).end_planes()
    go = np.sum(normal * ray[:, None], axis=2)
    form = normal[:, :, :2] + go[:, :, None] * middle[:, None]
    terms |= edge_terms(depth, form, np.abs(go))
    reach = half[:, None] * np.abs(seen) + 1.6 * radius[:, None] * np.sqrt(1 + frames.slope**2)
    grid = np.where(dot, 4, np.where(radius < 0.5, 2, 1))
    return Parts(frames, partial(rod_law, edges=2), terms, reach, grid)


def rod_law(terms: Terms, x: Image, y: Image, *, edges: int) -> Image:
    """Mean chord over the pixel's extent across the rod, times the fraction of it between the planes."""
    across = (terms["c"] * x + terms["s"] * y) / terms["radius"]
    wide, narrow = blur_of(terms["c"] / terms["radius"], terms["s"] / terms["radius"], terms["soft"])
    # one side of the pixel in closed form, the other by two points
    area: Image = np.zeros_like(across)
    cover: Image = np.full_like(across, 1e-6)
    for shift in (narrow * -(12**-0.5), narrow * 12**-0.5):
        high: Image = np.clip(across + (shift + 0.5 * wide), -1, 1)
        low: Image = np.clip(across + (shift - 0.5 * wide), -1, 1)
        area += disc_area(high)
        area -= disc_area(low)
        cover += high
        cover -= low
    chord = area / cover
    chord *= terms["radius"] * terms["long"]
    fraction = fraction_between(terms, x, y, edges=edges, middle=None, length=chord)
    fraction *= area
    fraction *= terms["radius"] * terms["long"] / (2 * wide)
    return fraction
