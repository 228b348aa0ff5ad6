"""Lattices of equal cells: coverage by finite combs, averaged over the sweep of an oblique view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np

from longexposure.simulation.geometry.canvas import TILE_PX, Canvas, Image, Parts, Terms
from longexposure.simulation.geometry.coverage import axes_of
from longexposure.simulation.geometry.primitives import Lattice

Cover = Callable[[Terms, Image, Image], Image]
"""Fraction of a sample that cells cover, from places along the lattice's own x and y, px."""

_MOST_SLICES = 64
"""Heights that are averaged at most where the lattice ends; inside, where it repeats, four times as many."""


def lattice_parts(primitives: Sequence[Lattice], canvas: Canvas) -> Iterator[Parts]:
    """One part for each lattice."""
    for primitive in primitives:
        middle = np.array([[*primitive.at, 0.5 * (primitive.bottom + primitive.top)]])
        frames = canvas.frames([primitive], middle)
        unit = float(frames.pitch[0])
        sides, pitch, cell = (np.array(s) / unit for s in (primitive.sides, primitive.pitch, primitive.cell))
        dots, shift = primitive.pattern == "dot", primitive.stagger % 1
        cell = cell if dots else np.minimum(cell, pitch)
        count = np.where(sides >= cell, np.floor((sides - cell) / pitch + 1e-9) + 1, 0.0)
        height = (primitive.top - primitive.bottom) / unit * bool(np.all(count > 0))
        axes = axes_of(np.array([primitive.turn_deg]))[0]
        sweep = axes @ frames.slope[0] * height
        grid = int(np.clip(np.ceil(4 / float(min(*cell, *pitch))), 1, 6)) if dots else 1
        terms = {"c": axes[0, 0], "s": axes[0, 1], "height": height, "sweepu": sweep[0], "sweepv": sweep[1]}
        terms |= {"fewer": float(shift > 0), "stagger": shift * pitch[0]}
        # a soft edge adds a twelfth of its width squared to the square of a disc's radius
        terms["edge"] = np.sqrt(max(1 - 1 / (3 * grid**2 * cell[0] * cell[1]), 0.01))
        for i, axis in enumerate("uv"):
            terms |= {"pitch" + axis: pitch[i], "cell" + axis: cell[i], "half" + axis: 0.5 * sides[i]}
            terms["start" + axis] = 0.5 * (cell[i] + (count[i] - 1) * pitch[i])
            terms["count" + axis] = max(count[i], 1.0)
        slices = max(int(np.ceil(np.abs(sweep).max())), 1)
        cover = _PATTERNS[primitive.pattern]
        inner = 0.5 * (count - 1) * pitch - [pitch[0] * (shift > 0), 0] - 1
        inside = None
        if slices * grid**2 > 2 and np.all(2 * inner - np.abs(sweep) > TILE_PX):
            inside = partial(repeated_law, table=_cell_table(terms, cover, slices=slices, grid=grid))
        yield Parts(
            frames=frames,
            law=partial(averaged_law, cover=cover, slices=min(slices, _MOST_SLICES)),
            terms={name: np.array([value]) for name, value in terms.items()},
            reach=(np.abs(axes).T @ (0.5 * sides + 0.5 * np.abs(sweep)))[None],
            grid=np.array([grid]),
            strips=np.column_stack([axes, 0.5 * sides, inner, np.abs(sweep)])[None] if inside else None,
            inside=inside,
        )


def averaged_law(terms: Terms, x: Image, y: Image, *, cover: Cover, slices: int) -> Image:
    """Height times the mean coverage of heights evenly spaced between bottom and top."""
    u = terms["c"] * x + terms["s"] * y
    v = terms["c"] * y - terms["s"] * x
    total = np.zeros_like(u)
    for i in range(slices):
        level = (i + 0.5) / slices - 0.5
        total += cover(terms, u - level * terms["sweepu"], v - level * terms["sweepv"])
    total *= terms["height"] / slices
    return total


def _cell_table(terms: dict[str, float], cover: Cover, *, slices: int, grid: int) -> Image:
    """Mean coverage over one period from the corner of a cell, at least four values for each px.

    The last row and column repeat the first. Two rows of cells make a period where they are staggered.
    """
    period = np.array([terms["pitchu"], terms["pitchv"] * (2 if terms["fewer"] else 1)])
    size = np.clip(np.ceil(4 * period), 16, 400).astype(int)
    # the middle of a lattice wide enough for the sweep
    wide = dict(terms) | {"soft": 1.0 / grid, "height": 1.0, "fewer": 0.0, "c": 1.0, "s": 0.0}
    for axis in "uv":
        before = 2 * np.ceil(0.5 * abs(terms["sweep" + axis]) / terms["pitch" + axis] + 2)
        wide |= {"start" + axis: before * terms["pitch" + axis], "count" + axis: 2 * before + 2}
        wide["half" + axis] = 1e6
    arrays = {name: np.full((1, 1, 1, 1), value, np.float32) for name, value in wide.items()}
    u, v = (np.arange(size[i]) * (period[i] / size[i]) for i in (0, 1))
    total: Image = np.zeros((size[1], size[0]), np.float32)
    offset = (np.arange(grid) + 0.5) / grid - 0.5
    for right, down in product(offset, offset):
        x, y = (u + right).astype(np.float32)[None], (v + down).astype(np.float32)[:, None]
        total += averaged_law(arrays, x, y, cover=cover, slices=min(slices, 4 * _MOST_SLICES))[0, 0]
    return np.pad(total / np.float32(grid**2), ((0, 1), (0, 1)), mode="wrap")


def repeated_law(terms: Terms, x: Image, y: Image, *, table: Image) -> Image:
    """Height times the coverage that a table gives for one period, between its values linearly."""
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    period = terms["pitchv"] * (np.float32(1) + (terms["fewer"] > 0))
    u = (terms["c"] * x + terms["s"] * y + terms["startu"]) * (columns / terms["pitchu"])
    v = (terms["c"] * y - terms["s"] * x + terms["startv"]) * (rows / period)
    left, up = np.floor(u), np.floor(v)
    u -= left
    v -= up
    place = (up.astype(np.int32) % rows) * (columns + 1) + left.astype(np.int32) % columns
    flat = table.ravel()
    near = flat[place]
    near += u * (flat[place + 1] - near)
    place += columns + 1
    far = flat[place]
    far += u * (flat[place + 1] - far)
    near += v * (far - near)
    near *= terms["height"]
    return near


def _comb(place: Image, terms: Terms, axis: str, count: Image) -> Image:
    """Fraction of a sample's width that the bars of a comb cover; place 0 is the first bar's beginning."""
    pitch, cell, soft = terms["pitch" + axis], terms["cell" + axis], terms["soft"]

    def covered(end: Image) -> Image:
        number = np.clip(np.floor(end / pitch), 0, count - 1)
        return number * cell + np.clip(end - number * pitch, 0, cell)

    half = 0.5 * soft
    return (covered(place + half) - covered(place - half)) / soft


def _cells(terms: Terms, u: Image, v: Image) -> tuple[Image, Image, Image]:
    """Places along the rows (staggered) and across them from the first cell's corner; cells in this row."""
    u, v = u + terms["startu"], v + terms["startv"]
    row = np.floor((v + 0.5 * (terms["pitchv"] - terms["cellv"])) / terms["pitchv"])
    odd = np.mod(np.clip(row, 0, terms["countv"] - 1), 2)
    return u - odd * terms["stagger"], v, np.maximum(terms["countu"] - odd * terms["fewer"], 1)


def blocks(terms: Terms, u: Image, v: Image) -> Image:
    """Coverage by upright blocks."""
    u, v, count = _cells(terms, u, v)
    return _comb(u, terms, "u", count) * _comb(v, terms, "v", terms["countv"])


def mesh(terms: Terms, u: Image, v: Image) -> Image:
    """Coverage by bars that cross, up to the edge of the lattice."""
    across = _comb(u + terms["startu"], terms, "u", terms["countu"])
    along = _comb(v + terms["startv"], terms, "v", terms["countv"])
    reach_u = np.clip((terms["halfu"] - np.abs(u)) / terms["soft"] + 0.5, 0, 1)
    reach_v = np.clip((terms["halfv"] - np.abs(v)) / terms["soft"] + 0.5, 0, 1)
    return across * reach_v + along * reach_u - across * along


def dots(terms: Terms, u: Image, v: Image) -> Image:
    """Coverage by the distance from the nearest ellipse: (edge - f) / |grad f|, f = 1 on the ellipse."""
    u, v, count = _cells(terms, u, v)
    radius_u, radius_v = 0.5 * terms["cellu"], 0.5 * terms["cellv"]
    column = np.clip(np.floor((u - radius_u) / terms["pitchu"] + 0.5), 0, count - 1)
    row = np.clip(np.floor((v - radius_v) / terms["pitchv"] + 0.5), 0, terms["countv"] - 1)
    u = (u - radius_u - column * terms["pitchu"]) / radius_u
    v = (v - radius_v - row * terms["pitchv"]) / radius_v
    far = np.maximum(np.sqrt(u * u + v * v), 1e-3)
    u /= radius_u
    v /= radius_v
    steep = np.maximum(np.sqrt(u * u + v * v) / far, 1e-3)
    return np.clip((terms["edge"] - far) / (steep * terms["soft"]) + 0.5, 0, 1)


_PATTERNS: dict[str, Cover] = {"block": blocks, "dot": dots, "mesh": mesh}
