"""Memory: how much there is, and telling that it ran out, whatever the library that says so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_RAN_OUT = (
    "out of memory",
    "can't alloc",
    "allocate memory",
    "failed to allocate",
    "alloc_failed",
    "bad_alloc",
    "bad alloc",
)
"""In the messages of torch, CUDA's libraries, OpenVINO and ONNX Runtime, in small letters."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, or any library's by its message."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _RAN_OUT)


@contextlib.contextmanager
def as_memory_error() -> Iterator[None]:
    """Tell of memory that ran out as Python does, whatever a library calls it.

    Raises:
        MemoryError: in place of a library's own error inside.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) and not isinstance(error, MemoryError):
            raise MemoryError(str(error)) from error
        raise


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
