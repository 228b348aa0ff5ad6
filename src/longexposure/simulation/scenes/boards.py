"""Printed boards: traces on several layers, plated vias, planes, and the laminate between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import numpy as np

from longexposure.simulation.geometry.primitives import Cylinder, Scene, Slab, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.board import Board, empty_board
from longexposure.simulation.scenes.components.features import box
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.components.routes import (
    COURSES,
    ball_grid,
    bundle,
    centre_line,
    single_trace,
)
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, uniform


def _split(board: Board, level: int) -> None:
    """A gap through a plane, laid before the vias, which keep clear of it."""
    line, _ = centre_line(board, level)
    width = uniform(board.random, 150, 500)
    board.copper.add(line, width + 4 * board.drill, level)
    points, heights = board.frame.places(line), board.layers[level].heights
    board.primitives.append(Track(material="Cu", amount=-1, points=points, width=width, **heights))


def plane(board: Board, level: int) -> None:
    """A copper plane over all that is seen; around each via a clearance or a thermal relief."""
    random, frame, heights = board.random, board.frame, board.layers[level].heights
    side = 2.5 * frame.reach_um + 4 * board.land
    board.primitives.append(box("Cu", frame, (side, side), heights["bottom"], heights["top"]))
    holes = [hole for hole in board.holes if level in hole.crossed and frame.sees(hole.at, 3 * board.land)]
    spots, clear = np.array([hole.at for hole in holes]).reshape(-1, 2), uniform(random, 90, 220)
    for hole in holes:
        apart = np.sort(np.hypot(*(spots - hole.at).T))[1:2]
        radius, wide = hole.radius, min(hole.radius + clear, *(0.48 * apart), 1e9)
        if wide <= radius * 1.05:
            continue
        # A disc, the barrel alone, or a ring but for four bars.
        disc = Cylinder(material="Cu", amount=-1, at=frame.places(hole.at)[0], radius=wide, **heights)
        barrel = replace(disc, radius=radius)
        kind, ring = random.random(), 0.45 * radius + 0.55 * wide
        if kind < 0.75 or ring - radius < 15:
            board.primitives.append(disc if kind < 0.9 else barrel)
            continue
        board.primitives += [barrel, replace(disc, inner_radius=ring)]
        for quarter in range(4):
            at = frame.places(hole.at + (ring + wide) / 2 * COURSES[2 * quarter + 1])[0]
            size, turn = (wide - ring, min(0.6 * radius, 200.0)), frame.turn_deg + 90 * quarter + 45
            board.primitives.append(Slab(material="Cu", at=at, sides=size, turn_deg=turn, **heights))


def _cluster(board: Board) -> None:
    """Rows and columns of vias, here and there one missing."""
    random, need = board.random, 2 * board.land + board.layers[0].gap
    pitch = need * log_uniform(random, 1.02, 3)
    most = int(np.clip(1.4 * board.frame.reach_um / pitch, 3, 30))
    shape = random.integers(2, most + 1, 2)
    corner, fraction = board.frame.anywhere(random) - (shape - 1) / 2 * pitch, uniform(random, 0.5, 1)
    levels = [level for level in range(1, len(board.layers) - 1) if bernoulli(random, 0.4)]
    for cell in random.permutation(np.argwhere(np.ones(shape))):
        spot = corner + cell * pitch
        if board.budget > 0 and bernoulli(random, fraction) and board.frame.sees(spot, board.land):
            board.via(spot, levels)


def _microvias(board: Board) -> None:
    """Laser-drilled and filled vias of 75 to 125 um from layer to layer: single, stacked or staggered."""
    random, drill, land = board.random, board.drill, board.land
    board.drill = uniform(random, 37.5, 62.5)
    board.land = board.drill + uniform(random, 50, 90)
    last, aside = len(board.layers) - 1, 2 * board.land + board.layers[0].gap * 1.01
    for _ in range(int(random.integers(4, 40))):
        spot, first = board.frame.anywhere(random), int(random.integers(min(last, 2)))
        end = min(first + int(random.integers(1, 4)), last)
        if board.budget <= 0:
            break
        if bernoulli(random, 0.6):
            board.via(spot, range(first, end + 1), first=first, last=end)
            continue
        step = aside * COURSES[int(random.integers(8))]
        for level in range(first, end):
            board.via(spot + (level - first) * step, [], first=level, last=level + 1)
    board.drill, board.land = drill, land


def _single_via(board: Board) -> None:
    """A via by itself, as between two grounds."""
    board.via(board.frame.anywhere(board.random), [])


def _repeat(board: Board, tries: tuple[int, int], draw: Callable[..., object], *levels: int) -> None:
    """Draw so often, on a large view more often, each time on one of the levels; no more when full."""
    more = (max(sqrt(board.view.height * board.view.width), 256) / 256) ** 0.7
    for _ in range(round(more * int(board.random.integers(tries[0], tries[1] + 1)))):
        if board.budget > 0:
            draw(board, *([int(board.random.choice(levels))] if levels else []))


def traces(random: Random, *, view: View) -> Scene:
    """Bundles of parallel traces on 2 to 8 layers: pairs, meanders, bends of 45 degrees and round ones."""
    board = empty_board(random, view, layers=(2, 8))
    for level in range(len(board.layers)):
        _repeat(board, (1, 5), bundle, level)
    _repeat(board, (0, 8), single_trace, 0)
    _repeat(board, (0, 25), _single_via)
    return board.scene("traces")


def routing(random: Random, *, view: View) -> Scene:
    """Single traces from via to via on 2 to 6 layers, and the fan-out of a ball grid array with dog-bones."""
    board = empty_board(random, view, layers=(2, 6))
    if bernoulli(random, 0.6):
        ball_grid(board)
    count = len(board.layers)
    _repeat(board, (10, 110), single_trace, *range(count))
    return board.scene("routing")


def planes(random: Random, *, view: View) -> Scene:
    """Copper planes with splits, clearances and thermal reliefs, or hatched, and a few traces above."""
    board = empty_board(random, view, layers=(3, 6))
    levels = range(1, len(board.layers) - 1)
    for level in levels:
        _repeat(board, (0, 1), _split, level)
    _repeat(board, (1, 4), _cluster)
    _repeat(board, (0, 50), _single_via)
    _repeat(board, (0, 5), bundle, 0, len(board.layers) - 1)
    for level in levels[int(random.integers(len(levels))) :]:
        plane(board, level)
    return board.scene("planes")


def vias(random: Random, *, view: View) -> Scene:
    """Plated barrels in arrays, with lands on several layers; microvias, stacked, staggered or filled."""
    board = empty_board(random, view, layers=(2, 8), drills_px=(5, 30))
    _repeat(board, (1, 3), _cluster)
    if bernoulli(random, 0.5):
        _microvias(board)
    _repeat(board, (0, 30), _single_via)
    _repeat(board, (0, 12), single_trace, *range(len(board.layers)))
    return board.scene("vias")


def dense_board(random: Random, *, view: View) -> Scene:
    """A multi-layer board as it comes: 4 to 10 layers of everything above, pads of parts, and marks."""
    board = empty_board(random, view, layers=(4, 10))
    count = len(board.layers)
    hidden = [level for level in range(1, count - 1) if level % 2 == 1 and bernoulli(random, 0.6)]
    for level in hidden:
        _repeat(board, (0, 1), _split, level)
    free = [level for level in range(count) if level not in hidden]
    if bernoulli(random, 0.5):
        ball_grid(board)
    _repeat(board, (0, 2), _cluster)
    for level in random.permutation(free).tolist():
        _repeat(board, (2, 5), bundle, level)
    _repeat(board, (5, 60), single_trace, *free)
    _repeat(board, (0, 60), _single_via)
    for level in hidden:
        plane(board, level)
    if bernoulli(random, 0.4):
        board.primitives += marks(random, view, frame=board.frame, bottom_um=board.thickness / 2)
    return board.scene("dense_board")


_VIAS_FROM_UM = 5.0
"""With smaller pixels the land of one via is larger than most that is written."""


def legend(random: Random, *, view: View) -> Scene:
    """Words, codes, fiducials and outlines densely on a board, with bundles of traces or a plane below."""
    board = empty_board(random, view, layers=(2, 4))
    lower = range(1, len(board.layers))
    covered = [level for level in lower if bernoulli(random, 0.4)]
    for level in lower:
        draw = bundle if bernoulli(random, 0.7) else single_trace
        for _ in range(0 if level in covered else int(random.integers(2, 9))):
            draw(board, level)
    for _ in range(int(random.integers(0, 9)) if view.pixel_um > _VIAS_FROM_UM else 0):
        board.via(board.frame.anywhere(random), [])
    for level in covered:
        plane(board, level)
    found = marks(random, view, frame=board.frame, bottom_um=board.thickness / 2, tries=(25, 60))
    board.primitives += found
    scene = board.scene("legend")
    return replace(scene, facts={**scene.facts, "marks": len(found)})
