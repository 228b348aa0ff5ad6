"""Files that are being written: their states, when they are whole, and the hash of what is in them then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from longexposure.io import natural_order

LOOKS = 2
"""A file is whole when so many looks in a row found its size and times as before."""

PIECE_BYTES = 4 << 20
"""So much of a file is hashed between two looks whether to end."""


class Ended(Exception):  # noqa: N818 (it is no error)
    """The service is to end before this is done; it is begun anew at the next start."""


def stamp_of(path: Path) -> str:
    """State of a file: size, time of the last change of its content, and of any.

    The last tells of a file that was replaced by one of the same size and time too.

    Raises:
        OSError: it is not there.
    """
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"


def sha256_unless(stopped: Callable[[], bool], path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, unless the service is to end meanwhile.

    Raises:
        Ended: it is to end.
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            if stopped():
                raise Ended
    return digest.hexdigest()


class Settling:
    """Files that are being written, until they stay as they are.

    Args:
        settle_s: seconds between two looks; 0 takes every file as it is.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._looks: dict[Path, tuple[str, int, float]] = {}

    def __len__(self) -> int:
        return len(self._looks)

    def __iter__(self) -> Iterator[Path]:
        return iter(list(self._looks))

    def add(self, path: Path, stamp: str, now: float) -> None:
        """Begin to look at a file, if that has not begun."""
        self._looks.setdefault(path, (stamp, 0 if self._settle_s else LOOKS, now))

    def drop(self, path: Path) -> None:
        self._looks.pop(path, None)

    def clear(self) -> None:
        self._looks.clear()

    def look(self, now: float) -> list[tuple[Path, str]]:
        """Look at those whose turn it is.

        Returns:
            Files that are whole, with their states, in order of the last change of their content.
        """
        whole: list[tuple[Path, str]] = []
        for path, (before, looks, looked_at) in list(self._looks.items()):
            if looks < LOOKS and now - looked_at < self._settle_s:
                continue
            try:
                stamp = stamp_of(path)
            except OSError:  # removed, or renamed
                del self._looks[path]
                continue
            looks = looks + 1 if stamp == before else 0
            self._looks[path] = stamp, looks, now
            if looks >= LOOKS or not self._settle_s:
                whole.append((path, stamp))
                del self._looks[path]
        return sorted(whole, key=lambda each: (int(each[1].split()[1]), natural_order(each[0])))
