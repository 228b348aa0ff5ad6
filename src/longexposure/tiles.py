"""Tiles: any image in pieces that fit in memory, with the same result as in one piece.

The image is cut into cores that touch and do not overlap. Each is computed from a window that is larger by
the halo, which covers the receptive field, and is cut off only where the image itself ends. So every core
pixel sees exactly what it would see in the whole image.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from longexposure.errors import ResourceError

logger = logging.getLogger(__name__)

SMALLEST_PX = 64
LARGEST_PX = 2048

Unit = npt.NDArray[np.float32]


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


def core_size(
    *, halo_px: int, multiple: int, bytes_per_px: int, free_bytes: int, longest_px: int | None = None
) -> int:
    """Side of the largest core, px, whose window takes at most a quarter of the free memory.

    Between `SMALLEST_PX` and `LARGEST_PX`, a multiple of `multiple`, so that every window starts on one.
    Where the halo covers the image, whose longer side is `longest_px`, every window is the whole image
    however small its core: then one core holds it all.
    """
    if longest_px is not None and halo_px >= longest_px:
        return -(-longest_px // multiple) * multiple
    window = int((max(free_bytes, 1) / 4 / bytes_per_px) ** 0.5)
    core = min(max(window - 2 * halo_px, SMALLEST_PX), LARGEST_PX)
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
            if not _out_of_memory(error):
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


def free_memory() -> int:
    """Bytes of main memory that can be had now, within the limit of the container where there is one."""
    free = _available()
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        return max(min(free, limit - used + _file_cache()), 0)
    except (OSError, ValueError):
        return free


def _file_cache() -> int:
    """Bytes that the container's memory holds of files: counted as used, given back when needed."""
    lines = (line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
    return sum(int(value) for name, value in lines if name in ("active_file", "inactive_file"))


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    except (ValueError, OSError, AttributeError):
        return 2 << 30


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
