"""Traces of boards: bundles, pairs, tuned traces, single ones, the fan-out of ball grids."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, pi, sqrt

import numpy as np

from longexposure.simulation.geometry.frame import Numbers
from longexposure.simulation.geometry.primitives import Cylinder
from longexposure.simulation.scenes.components.board import Board, Line
from longexposure.simulation.scenes.components.conductors import line_end_um, meandered, parallel, rounded
from longexposure.simulation.scenes.draws import bernoulli, log_uniform, uniform

COURSES = np.stack([np.cos(np.arange(8) * pi / 4), np.sin(np.arange(8) * pi / 4)], axis=1)


def _connect(
    board: Board,
    line: Line,
    spots: Sequence[Numbers],
    *,
    ease: tuple[int, float] = (0, 0.0),
    shape: tuple[Numbers, float] | None = None,
) -> bool:
    """Lay a trace between vias at these spots, where it, or a wider shape around it, keeps clear."""
    points, width = shape or (line.points, line.width)
    gap = board.layers[line.level].gap
    if board.budget <= 0 or not board.frame.sees(points, width, board.layers[line.level].middle):
        return False
    if board.copper.clear_um(points, width, line.level, within=gap, ease=ease) < gap * 0.999:
        return False
    if not all(board.via(spot, [line.level]) for spot in spots):
        return False
    board.copper.add(points, width, line.level)
    board.trace(line)
    return True


def centre_line(
    board: Board, level: int, *, half: float = 0.0, ends_um: float = 0.0, ending: float = 0.0
) -> tuple[Numbers, list[bool]]:
    """A line through a place that is seen, with bends of 45 degrees; which of its two ends lie in view."""
    random, reach = board.random, board.frame.reach_um
    start, course = board.frame.anywhere(random, board.layers[level].middle), int(random.integers(8))
    halves, ended = [], []
    for way in (0, 4):
        bends = int(random.integers(0, 3))
        courses = [course, *(course + random.integers(-1, 2, bends)).tolist()]
        lengths = [2.2 * half + log_uniform(random, 0.06, 0.7) * reach for _ in courses]
        ended.append(bernoulli(random, ending))
        lengths[-1] = lengths[-1] + ends_um if ended[-1] else 3 * reach
        steps = np.array(lengths)[:, None] * COURSES[(np.array(courses) + way) % 8]
        halves.append(start + np.cumsum(steps, axis=0))
    line = np.vstack([halves[1][::-1], halves[0]])
    radius = (
        half * 1.1 + log_uniform(random, 0.3, 6) * half if bernoulli(random, 0.45) and not any(ended) else 0.0
    )
    return rounded(line, radius, 0.15 * board.view.pixel_um), ended[::-1]


def bundle(board: Board, level: int) -> None:
    """Parallel traces, differential pairs, or tuned traces, which peel off to vias at ends in view."""
    random, layer = board.random, board.layers[level]
    width, gap, style = min(layer.width * log_uniform(random, 1.0, 1.5), 250.0), layer.gap, random.random()
    tooth = width + max(gap, width) * 1.2
    rise = uniform(random, 1.2, 4) * tooth if style > 0.84 else 0.0
    near, wide = (max(gap * uniform(random, 0.6, 1), 35.0), 2.2 * gap) if style < 0.25 else (gap, gap)
    most = max(2, int(0.7 * board.frame.reach_um / (width + wide + rise)))
    count = int(random.integers(2, min(most, 8 if rise else 28) + 1))
    offsets = np.cumsum([width + rise + (near if k % 2 else wide) for k in range(count)])
    offsets -= offsets.mean()
    half, step = offsets[-1] + width + rise, 2 * board.land + 2.2 * gap + width
    middle, ended = centre_line(board, level, half=half, ends_um=count * step, ending=0.0 if rise else 0.4)
    before, strip = board.copper.count, (parallel(middle, rise / 2), 2 * offsets[-1] + width + rise)
    free = board.copper.clear_um(strip[0], 1.09 * strip[1], level, within=gap) >= gap
    if not free and bernoulli(random, 0.7):
        return
    whole = free and not any(ended)
    out, kept = (board.land + gap + width) * uniform(random, 1.5, 4), []
    for offset in sorted(offsets.tolist(), key=abs, reverse=True):
        inner = int(np.sum((offsets * np.sign(offset) >= 0) & (np.abs(offsets) < abs(offset))))
        line = Line(level, parallel(middle, offset), width)
        shape = (parallel(middle, offset + rise / 2), width + rise)
        line, spots = _ended(board, line, ended, left=offset > 0, back=inner * step, out=out)
        if rise:
            line = line._replace(points=meandered(line.points, random, rise=rise, tooth=tooth))
        if whole and board.budget > 0 and board.frame.sees(*shape, layer.middle):
            board.trace(line)
        elif whole or not _connect(
            board, line, spots, ease=(before, gap - near), shape=shape if rise else None
        ):
            continue
        kept.append((offset, len(board.lines) - 1))
    if whole:
        board.copper.add(*strip, level)
    for offset, owner in kept if not rise else ():
        apart = min((abs(offset - other) for other, _ in kept if other != offset), default=1e9) - width
        if apart < gap * 1.001:
            board.lines[owner] = board.lines[owner]._replace(gap=apart)


def _ended(
    board: Board, line: Line, ended: Sequence[bool], *, left: bool, back: float, out: float
) -> tuple[Line, list[Numbers]]:
    """The trace of a bundle whose ends in view leave it by 45 degrees, and the spots of their vias.

    They leave `back` before the bundle's end and run `out` to the via.
    """
    points, spots = line.points, []
    for end in (0, 1):
        if not ended[end]:
            continue
        points = points[:: 2 * end - 1]
        along = (points[-1] - points[-2]) / hypot(*(points[-1] - points[-2]))
        across = np.array([-along[1], along[0]]) * (1 if left == bool(end) else -1)
        away, cut = (along + across) / sqrt(2), points[-1] - back * along
        spot = cut + out * away
        stop = spot - line_end_um(board.land, line.width) * away
        points = np.vstack([points[:-1], cut, stop])[:: 2 * end - 1]
        spots.append(spot)
    return line._replace(points=points), spots


def single_trace(board: Board, level: int) -> bool:
    """A single trace that finds its way in steps of 45 degrees from via to via."""
    random, width = board.random, min(board.layers[level].width * log_uniform(board.random, 1, 2), 250.0)
    stop = line_end_um(board.land, width)
    courses = int(random.integers(8)) + np.cumsum(random.integers(-1, 2, int(random.integers(1, 6))))
    lengths = [2.5 * stop + log_uniform(random, 2, 60) * width for _ in courses]
    steps = np.array(lengths)[:, None] * COURSES[courses % 8]
    points = board.frame.anywhere(random, board.layers[level].middle) + np.vstack(
        [np.zeros((1, 2)), np.cumsum(steps, axis=0)]
    )
    spots = [points[0].copy(), points[-1].copy()]
    points[0] += stop * COURSES[courses[0] % 8]
    points[-1] -= stop * COURSES[courses[-1] % 8]
    if bernoulli(random, 0.5):
        points = rounded(points, log_uniform(random, 1, 12) * width, 0.1 * board.view.pixel_um)
    return _connect(board, Line(level, points, width), spots)


def ball_grid(board: Board) -> None:
    """The lands of a ball grid array, a dog-bone to a via beside each, and ways out between the rows."""
    random, top = board.random, board.layers[0]
    need = (board.land + top.gap + 20) / 0.45
    pitch = min((pitch for pitch in (400, 500, 650, 800, 1000) if pitch >= need), default=max(1270.0, need))
    shape = random.integers(3, np.clip(1.2 * board.frame.reach_um / pitch, 4, 24).astype(int) + 1, 2)
    corner, pad = board.frame.anywhere(random) - (shape - 1) / 2 * pitch, 0.25 * pitch
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    hollow = int(random.integers(2, 6))
    for cell in grid[np.min(np.minimum(grid, shape - 1 - grid), axis=1) < hollow]:
        if board.budget <= 0:
            return
        outward = np.where(cell * 2 >= shape - 1, 1.0, -1.0)
        spot = corner + cell * pitch
        if (
            not board.frame.sees(spot, 2 * pitch)
            or board.copper.clear_um(spot[None], 2 * pad, 0, within=top.gap) < top.gap
        ):
            continue
        board.copper.add(spot[None], 2 * pad, 0)
        board.primitives.append(
            Cylinder(material="Cu", at=board.frame.places(spot)[0], radius=pad, **top.heights)
        )
        via = spot + outward * pitch / 2
        ends = np.array(
            [
                spot + outward / sqrt(2) * line_end_um(pad, top.width),
                via - outward / sqrt(2) * line_end_um(board.land, top.width),
            ]
        )
        if board.via(via, []) and (ends[1] - ends[0]) @ outward > 0:
            board.copper.add(ends, top.width, 0)
            board.trace(Line(0, ends, top.width))
            _escape(
                board, via, pitch=pitch, deep=np.where(outward > 0, shape - 1 - cell, cell), outward=outward
            )


def _escape(board: Board, via: Numbers, *, pitch: float, deep: Numbers, outward: Numbers) -> None:
    """A trace from a via of a ball grid, in the channel between the rows, out of the array."""
    axis, random = int(np.argmin(deep)), board.random
    away = np.eye(2)[axis] * outward
    side = np.eye(2)[1 - axis] * float(random.choice([-1.0, 1.0]))
    level = 1 + int(deep[axis]) % max(len(board.layers) - 2, 1)
    if level >= len(board.layers) or bernoulli(random, 0.3):
        return
    layer = board.layers[level]
    first = (away + side) / sqrt(2) if deep[axis] else away
    corner = via + first * pitch / sqrt(2)
    out = corner + away * (deep[axis] * pitch + log_uniform(random, 1, 12) * pitch)
    bend = out + (away + side * float(random.integers(-1, 2))) * log_uniform(random, 1, 12) * pitch
    points = np.array([via + first * (board.land + layer.gap + layer.width / 2), corner, out, bend])
    if board.copper.clear_um(points, layer.width, level, within=layer.gap) >= layer.gap and board.frame.sees(
        points
    ):
        points[0] = via + first * line_end_um(board.land, layer.width)
        board.copper.add(points, layer.width, level)
        board.trace(Line(level, points, layer.width))
