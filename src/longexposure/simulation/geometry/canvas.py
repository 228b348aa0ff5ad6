"""Parts of primitives as arrays, and the canvas on which thousands of them are added up.

A part is a primitive or a piece of one, in pixel coordinates of its own (see `PixelFrames`), where rays are
parallel: a ray is (x - a t, y - b t, t), t the height. A law, a function whose name ends so, gives the length
along t, in px, from a part's terms and the pixels' coordinates; parts of one law are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError
from longexposure.simulation.geometry.primitives import Primitive
from longexposure.simulation.geometry.view import View

Image = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Terms = dict[str, Image]
Law = Callable[[Terms, Image, Image], Image]

TILE_PX = 64
"""Larger parts are computed in tiles of this size."""

CHUNK = 1 << 15
"""So many values at a time stay in the processor's cache."""

SIZES = np.array([4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64])
COARSE_SIZES = np.array([4, 8, 12, 18, 26, 40, 64])
"""Sides of tiles; others are computed in the next larger ones, few of a kind in coarser steps."""


@dataclass
class PixelFrames:
    """Pixel coordinates of N parts: the image's axes, pixels as seen at the height of the part's middle.

    The origin is where the middle is seen, and z runs along the ray through it.

    Attributes:
        centre: (N, 2), x and y in the image where the middle is seen, px.
        pitch: (N,), a pixel in um at the middle's height.
        slope: (N, 2), how far the ray leans along x and y for each px of height.
        weight: (N,), um of path for each px of height, times the amount.
        slot: (N,), number of the material.
    """

    centre: Numbers
    pitch: Numbers
    slope: Numbers
    weight: Numbers
    slot: Indices

    def pick(self, which: Indices | Mask) -> PixelFrames:
        """Those of these numbers, repeated as given, or where a mask is set."""
        return PixelFrames(**{name: value[which] for name, value in vars(self).items()})


@dataclass
class Parts:
    """N parts of one law.

    Attributes:
        frames: their pixel coordinates.
        law: see the module.
        terms: numbers that the law needs, (N,) each, in px.
        reach: (N, 2), half of the bounding box in the image, px.
        grid: (N,), side of the grid of samples in a pixel; the law gets 1 / grid as the term "soft".
        strips: (N, 2, 5) or None: two strips that the part lies in, by direction (x, y), half width, half the
            width of what is even within, and sweep, px; tiles wholly outside or inside are cheap then.
        inside: law of tiles wholly inside; without it they get the full height, the term "height".
    """

    frames: PixelFrames
    law: Law
    terms: dict[str, Numbers]
    reach: Numbers
    grid: Indices
    strips: Numbers | None = None
    inside: Law | None = None

    def pick(self, which: Mask, law: Law | None = None) -> Parts:
        """Those where a mask is set, with a law of their own if one is given."""
        return replace(
            self,
            frames=self.frames.pick(which),
            law=law or self.law,
            terms={name: value[which] for name, value in self.terms.items()},
            reach=self.reach[which],
            grid=self.grid[which],
            strips=None if self.strips is None else self.strips[which],
        )


class Canvas:
    """The maps (M, H, W) while they grow, with a margin at their ends so that no tile must be cut."""

    def __init__(self, view: View, materials: Sequence[str]) -> None:
        self.view = view
        self.slots = {name: i for i, name in enumerate(materials)}
        shape = (len(materials), view.height + TILE_PX, view.width + TILE_PX)
        self.maps: Image = np.zeros(shape, np.float32)

    def finish(self) -> dict[str, Image]:
        """The maps without their margin, nothing below 0."""
        inner = self.maps[:, : self.view.height, : self.view.width]
        return {name: np.maximum(inner[i], 0) for name, i in self.slots.items()}

    def frames(self, primitives: Sequence[Primitive], middles: Numbers) -> PixelFrames:
        """Pixel coordinates of primitives whose middles are these points (N, 3) in um.

        Raises:
            RecipeError: a primitive whose middle is as high as the source.
        """
        view = self.view
        if middles[:, 2].max(initial=-np.inf) >= view.source_um:
            raise RecipeError(
                where="view, source_um",
                expected="a source above all primitives",
                found=f"a {type(primitives[0]).__name__.lower()} at {middles[:, 2].max():g} um",
                advice="raise the source or lower the part",
            )
        slope = view.slopes(middles)
        pitch = view.pixel_um * (1.0 - middles[:, 2] / view.source_um)
        amount = np.array([primitive.amount for primitive in primitives], np.float64)
        weight = amount * pitch * np.sqrt(1.0 + np.sum(slope**2, axis=1))
        slot = np.array([self.slots[primitive.material] for primitive in primitives], np.intp)
        return PixelFrames(view.project(middles), pitch, slope, weight, slot)

    def add(self, material: str, corner: tuple[int, int], patch: Image) -> None:
        """Add a patch (h, w) that lies inside the image, its first pixel at (x, y)."""
        x, y = corner
        self.maps[self.slots[material], y : y + patch.shape[0], x : x + patch.shape[1]] += patch

    def draw(self, parts: Parts) -> None:
        """Add all parts."""
        which, corner, size = self._tiles(parts)
        if parts.strips is not None and np.any(size >= TILE_PX):
            direction, half, even, sweep = np.split(parts.strips[which], [2, 3, 4], axis=2)
            middle = corner - parts.frames.centre[which] + 0.5 * (size - 1)
            place = np.abs(np.einsum("nij,nj->ni", direction, middle))
            extent = np.einsum("nij,nj->ni", np.abs(direction), 0.5 * size) + 0.5
            outside = np.any(place - extent > half[:, :, 0] + 0.5 * sweep[:, :, 0], axis=1)
            full = np.all(place + extent < even[:, :, 0] - 0.5 * sweep[:, :, 0], axis=1)
            if parts.inside is not None:
                self._draw_tiles(replace(parts, law=parts.inside), which[full], corner[full], size[full])
            else:
                height = (parts.terms["height"] * parts.frames.weight).astype(np.float32)
                for i, (x, y), (w, h) in zip(which[full], corner[full], size[full], strict=True):
                    self.maps[parts.frames.slot[i], y : y + h, x : x + w] += height[i]
            rest = ~(outside | full)
            which, corner, size = which[rest], corner[rest], size[rest]
        self._draw_tiles(parts, which, corner, size)

    def _tiles(self, parts: Parts) -> tuple[Indices, Indices, Indices]:
        """Which part, first pixel (x, y) and size (x, y) of every tile inside the image."""
        limit = np.array([self.view.width, self.view.height])
        first = np.maximum(np.floor(parts.frames.centre - parts.reach + 0.5), 0)
        last = np.minimum(np.ceil(parts.frames.centre + parts.reach - 0.5), limit - 1)
        which = np.flatnonzero(np.all(last >= first, axis=1))
        corner, size = first[which].astype(np.intp), (last - first + 1)[which].astype(np.intp)
        large = np.any(size > TILE_PX, axis=1)
        tiles = [(which[~large], corner[~large], size[~large])]
        for i in np.flatnonzero(large):
            places = [np.arange(0, length, TILE_PX) for length in size[i]]
            shift = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 2)
            sizes = np.minimum(size[i] - shift, TILE_PX)
            tiles.append((np.full(len(shift), which[i]), corner[i] + shift, sizes))
        which, corner, size = (np.concatenate(column) for column in zip(*tiles, strict=True))
        return which, corner, size

    def _draw_tiles(self, parts: Parts, which: Indices, corner: Indices, size: Indices) -> None:
        """Tiles of like shape together; few of a kind join those of larger sizes."""
        if not len(which):
            return
        table = np.column_stack(list(parts.terms.values())).astype(np.float32)
        fine, grid = SIZES[np.searchsorted(SIZES, size)], parts.grid[which]
        code = (grid << 16) | (fine[:, 1] << 8) | fine[:, 0]
        _, kind, count = np.unique(code, return_inverse=True, return_counts=True)
        rare = count[kind] * fine[:, 0] * fine[:, 1] * grid**2 < CHUNK // 4
        size = np.where(rare[:, None], COARSE_SIZES[np.searchsorted(COARSE_SIZES, size)], fine)
        code = (grid << 16) | (size[:, 1] << 8) | size[:, 0]
        order = np.argsort(code, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
            (width, height), side = size[group[0]].tolist(), int(grid[group[0]])
            step = max(CHUNK // (side * side * width * height), 1)
            for start in range(0, len(group), step):
                chunk = group[start : start + step]
                row = table[which[chunk], :, None, None, None]
                terms = {name: row[:, i] for i, name in enumerate(parts.terms)}
                self._add(parts, which[chunk], corner[chunk], terms=terms, shape=(side, height, width))

    def _add(
        self, parts: Parts, which: Indices, corner: Indices, *, terms: Terms, shape: tuple[int, int, int]
    ) -> None:
        """Add tiles of one shape: side of the grid of samples, height, width."""
        grid, height, width = shape
        frames = parts.frames
        offset = (np.arange(grid) + 0.5) / grid - 0.5
        first = corner - frames.centre[which]
        left, up = first[:, :1] + np.tile(offset, grid), first[:, 1:] + np.repeat(offset, grid)
        x = (left[:, :, None, None] + np.arange(width)).astype(np.float32)
        y = (up[:, :, None, None] + np.arange(height)[:, None]).astype(np.float32)
        terms["soft"] = np.full((1, 1, 1, 1), 1.0 / grid, np.float32)
        chords = parts.law(terms, x, y)
        patches = chords.sum(axis=1) if grid > 1 else chords[:, 0]
        patches *= (frames.weight[which] / grid**2)[:, None, None].astype(np.float32)
        for slot, (x0, y0), patch in zip(frames.slot[which].tolist(), corner.tolist(), patches, strict=True):
            self.maps[slot, y0 : y0 + height, x0 : x0 + width] += patch
