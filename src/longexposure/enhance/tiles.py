"""Tiles: any image in pieces that fit in memory, with the same result as in one piece.

The image is cut into cores that touch and do not overlap. Each is computed from a window that is larger by
the halo, which covers the receptive field, and is cut off only where the image itself ends. So every core
pixel sees exactly what it would see in the whole image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from longexposure.engines.base import SMALLEST_PX
from longexposure.errors import ResourceError
from longexposure.system import is_out_of_memory

logger = logging.getLogger(__name__)

LARGEST_PX = 2048
HUGE_PX, LARGEST_OF_HUGE_PX = 16384, 1024
"""Images with a longer side than the first have cores of at most the second: theirs and their result's pixels
take so much memory that what a tile takes must be little, though smaller tiles have more halo to compute."""


@dataclass(frozen=True)
class Tile:
    """One piece: the window to compute, and where its core lies in the image and in the window."""

    window: tuple[slice, slice]
    core: tuple[slice, slice]
    inside: tuple[slice, slice]


def plan(height: int, width: int, *, core_px: int, halo_px: int) -> Iterator[Tile]:
    """Tiles of an image, row by row.

    Args:
        height: of the image, px.
        width: of the image, px.
        core_px: side of a core.
        halo_px: how far a window reaches beyond its core.
    """
    for y0 in range(0, height, core_px):
        y1 = min(y0 + core_px, height)
        top, bottom = max(y0 - halo_px, 0), min(y1 + halo_px, height)
        for x0 in range(0, width, core_px):
            x1 = min(x0 + core_px, width)
            left, right = max(x0 - halo_px, 0), min(x1 + halo_px, width)
            yield Tile(
                window=(slice(top, bottom), slice(left, right)),
                core=(slice(y0, y1), slice(x0, x1)),
                inside=(slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
            )


def beyond(
    window: tuple[slice, slice], border_px: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """A window with a border around it, cut off where the image ends; and where the window lies in that."""
    wide = tuple(
        slice(max(side.start - border_px, 0), min(side.stop + border_px, size))
        for side, size in zip(window, shape, strict=True)
    )
    inside = tuple(
        slice(side.start - outer.start, side.stop - outer.start)
        for side, outer in zip(window, wide, strict=True)
    )
    return (wide[0], wide[1]), (inside[0], inside[1])


def core_size(
    *, halo_px: int, multiple: int, bytes_per_px: int, free_bytes: int, longest_px: int | None = None
) -> int:
    """Side of the largest core, px, whose window takes at most a quarter of the free memory.

    A core of less than two halos is more border than core: up to that size its window may take half.
    Between `SMALLEST_PX` and `LARGEST_PX`, or `LARGEST_OF_HUGE_PX`, a multiple of `multiple`, so that every
    window starts on one.
    Where the halo covers the image, whose longer side is `longest_px`, every window is the whole image
    however small its core: then one core holds it all.
    """
    if longest_px is not None and halo_px >= longest_px:
        return -(-longest_px // multiple) * multiple
    windows = (int((max(free_bytes, 1) / fraction / bytes_per_px) ** 0.5) for fraction in (4, 2))
    quarter, half = (window - 2 * halo_px for window in windows)
    largest = LARGEST_OF_HUGE_PX if longest_px is not None and longest_px > HUGE_PX else LARGEST_PX
    core = min(max(quarter, min(half, 2 * halo_px), SMALLEST_PX), largest)
    return max(core // multiple, 1) * multiple


def with_smaller_cores(core_px: int, multiple: int, attempt: Callable[[int], None]) -> int:
    """Run `attempt(core_px)`; while memory runs out, halve the core and run it again.

    Returns:
        The core that worked.

    Raises:
        ResourceError: even the smallest core does not fit.
    """
    while True:
        try:
            attempt(core_px)
            return core_px
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if core_px <= max(SMALLEST_PX, multiple):
                raise ResourceError(
                    where="memory",
                    expected=f"room for a tile of {core_px} px",
                    found="none",
                    advice="close other programs, or use --device cpu or a smaller model",
                ) from error
            core_px = max(core_px // 2 // multiple, 1) * multiple
            logger.warning("out of memory: going on with tiles of %d px", core_px)
