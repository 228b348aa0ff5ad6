"""What becomes of files that cannot be enhanced, and of enhanced files whose original became another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from longexposure.enhance.jobs import mask_path
from longexposure.errors import LongExposureError
from longexposure.io import sidecar_path, write_whole
from longexposure.io.writing import failing_as_output_error

FOLDER = "quarantine"
"""Below the output folder: a note for each file that cannot be enhanced."""

EARLIER = "earlier"
"""Below the output folder: enhanced files of originals that have become others."""

LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""


class Quarantine:
    """Notes on bad files, in a folder of their own; the files themselves stay where they are.

    Args:
        out: the output folder, below which it lies.
        copies: whether a copy of each bad file is kept beside its note.
    """

    def __init__(self, out: Path, *, copies: bool = False) -> None:
        self._folder = out / FOLDER
        self._copies = copies

    def note_of(self, name: str) -> Path:
        """Where the note on a file lies; `name` is its path below the folder that is watched."""
        return _fitting(self._folder / name, ".txt")

    def _copy_of(self, name: str) -> Path:
        return _fitting(self._folder / name, ".copy")  # no image's name: nobody takes it for an enhanced one

    def put(self, name: str, source: Path, error: LongExposureError, *, sha256: str) -> None:
        """Note why a file cannot be enhanced, in place of an earlier note.

        Raises:
            OutputError: the note or the copy cannot be written.
        """
        now = time.strftime("%Y-%m-%d %H:%M:%S%z")
        facts = {"file": str(source), "sha256": sha256 or "not readable", "noted": now, "error": str(error)}
        text = "".join(f"{key:8}{value}\n" for key, value in facts.items())
        advice = "The file stays where it is and is tried again when it changes, or with --retry.\n"
        if self._copies:
            with contextlib.suppress(OSError):  # it cannot be read, which the note tells
                write_whole(self._copy_of(name), source.read_bytes(), overwrite=True, parents=True)
        write_whole(
            self.note_of(name), (text + advice).encode(errors="replace"), overwrite=True, parents=True
        )

    def take_out(self, name: str) -> None:
        """Remove note and copy: the file has been enhanced now."""
        for path in (self.note_of(name), self._copy_of(name)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def set_aside(out: Path, target: Path, sha256: str) -> Path:
    """Move an enhanced file, with what lies beside it, to where enhanced files of earlier originals are kept.

    Args:
        out: the output folder.
        target: the enhanced file, below it.
        sha256: of the enhanced file; the new name has its beginning.

    Returns:
        Where it is now.

    Raises:
        OutputError: it cannot be moved.
    """
    below = target.relative_to(out)
    ending = f"-{sha256[:8]}{target.suffix}"
    kept = _fitting((out / EARLIER / below).with_name(target.stem), ending, room=len(".bad.tif"))
    with failing_as_output_error(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = {sidecar_path(target): sidecar_path(kept), mask_path(target): mask_path(kept)}
        for old, new in {**beside, target: kept}.items():  # the image last: what is left is moved next time
            if os.path.lexists(old):
                old.replace(new)
    return kept


def _fitting(path: Path, ending: str, *, room: int = 0) -> Path:
    """The path with an ending; of a name too long for it (and `room` bytes more) the start and a hash."""
    name = os.fsencode(path.name)
    most = LONGEST_NAME - len(ending.encode()) - room
    if len(name) <= most:
        return path.with_name(path.name + ending)
    told = hashlib.sha256(name).hexdigest()[:8]
    start = name[: most - len(told) - 1].decode("utf-8", "ignore")
    return path.with_name(f"{start}-{told}{ending}")
