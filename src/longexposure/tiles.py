"""Tiles: any image in pieces that fit in memory, with the same result as in one piece.

The image is cut into cores that touch and do not overlap. Each is computed from a window that is larger by
the halo, which covers the receptive field, and is cut off only where the image itself ends. So every core
pixel sees exactly what it would see in the whole image.
"""

from __future__ import annotations

import contextlib
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
HUGE_PX, LARGEST_OF_HUGE_PX = 16384, 1024
"""Images with a longer side than the first have cores of at most the second: theirs and their result's pixels
take so much memory that what a tile takes must be little, though smaller tiles have more halo to compute."""

_OUT_OF_MEMORY = ("out of memory", "can't alloc", "alloc_failed")
"""In the messages of torch, of OpenVINO and of CUDA's libraries."""

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

    A core of less than two halos is more border than core: up to that size its window may take half.
    Between `SMALLEST_PX` and `LARGEST_PX`, or `LARGEST_OF_HUGE_PX`, a multiple of `multiple`, so that every
    window starts on one.
    Where the halo covers the image, whose longer side is `longest_px`, every window is the whole image
    however small its core: then one core holds it all.
    """
    if longest_px is not None and halo_px >= longest_px:
        return -(-longest_px // multiple) * multiple
    windows = (int((max(free_bytes, 1) / share / bytes_per_px) ** 0.5) for share in (4, 2))
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
    """Bytes of main memory that can be had now, within the limits of container and process, if any."""
    return max(min((_available(), *_left_in_groups(), *_left_to_process())), 0)


@dataclass(frozen=True)
class _Accounts:
    """Where a version of Linux's control groups, in which containers live, keeps account of memory.

    Attributes:
        root: folder of the outermost group.
        limit: file with the most bytes that the group may have.
        used: file with the bytes that it has.
        cached: which of them, by memory.stat, hold files: counted as used, given back when needed.
    """

    root: str
    limit: str
    used: str
    cached: tuple[str, str]


_ACCOUNTS = {
    "": _Accounts("/sys/fs/cgroup", "memory.max", "memory.current", ("active_file", "inactive_file")),
    "memory": _Accounts(
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
}
"""By the name that /proc/self/cgroup has for them: the second version, and the first."""


def _left_in_groups() -> Iterator[int]:
    """Bytes left in each group with a limit that this process is in."""
    for name, accounts in _ACCOUNTS.items():
        for folder in _groups(name, accounts.root):
            with contextlib.suppress(OSError, ValueError):  # no such group, or one without a limit
                limit = int((folder / accounts.limit).read_text())
                stat = map(str.split, (folder / "memory.stat").read_text().splitlines())
                cached = sum(int(value) for kind, value in stat if kind in accounts.cached)
                yield limit - int((folder / accounts.used).read_text()) + cached


def _groups(name: str, root: str) -> list[Path]:
    """The folders of the groups that this process is in, one inside the other, the root at last."""
    inside = Path()
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if name in names.split(","):
                inside = Path(path.lstrip("/"))
    return [Path(root) / folder for folder in dict.fromkeys((inside, *inside.parents))]


def _left_to_process() -> Iterator[int]:
    """Bytes left where the process was given a limit of its own (`ulimit -v` or `-d`)."""
    try:
        import resource
    except ImportError:  # not Unix
        return
    for kind, used in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        limit = resource.getrlimit(kind)[0]
        if limit == resource.RLIM_INFINITY:
            continue
        with contextlib.suppress(OSError, ValueError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith(used):
                    yield limit - 1024 * int(line.split()[1])


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
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
