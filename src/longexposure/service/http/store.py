"""What a server keeps, under names of its own: no text of a client's is ever part of a path."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from longexposure.errors import LongExposureError
from longexposure.format import finite, printable
from longexposure.io import check_writable_folder, remove_temporaries, writable_suffix, write_whole
from longexposure.io.declared import format_of
from longexposure.io.formats import format_of_suffix
from longexposure.io.plain import RAW_SUFFIXES
from longexposure.io.writing import failing_as_output_error, temporary_in

LONGEST_NAME = 255
"""Letters of a client's name for an image that are kept."""

REMEMBERED = 4096
"""Of so many images is remembered what is read again and again, for lists."""

SUMMARY = ("shape", "dtype", "noise_sigma", "seconds", "bad_pixels")
REPORT = "report.html"
_ID = re.compile(r"[0-9a-f]{16}")
_TILE = re.compile(r"[0-9a-f]{24}\.js")


class Store:
    """The data folder of a server; its files are told by an id of 16 hex digits.

    Attributes:
        originals: images as they came.
        enhanced: enhanced ones, of the same names.
        ledger: the ledger's file.

    Raises:
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        check_writable_folder(data)
        self.originals, self.enhanced, self._about, self._reports = (
            check_writable_folder(data / name) for name in ("originals", "enhanced", "about", "reports")
        )
        for folder in (data, self.originals, self.enhanced, self._about, self._reports):
            with contextlib.suppress(OSError):  # a file system without permissions
                folder.chmod(0o700)
        self.ledger = data / "ledger.sqlite"
        remove_temporaries([self.originals, self._about])
        self._abouts: dict[str, dict[str, Any]] = {}
        self._summaries: dict[str, dict[str, Any]] = {}

    def receiving(self) -> Path:
        """A name for a file that is being uploaded; what a killed process leaves of it goes."""
        return temporary_in(self.originals)

    def take(self, received: Path, about: dict[str, Any]) -> Path:
        """Keep an uploaded file as an original.

        Args:
            received: the file, whole.
            about: what is kept beside it; its `name` may say the format, as its suffix does for the commands.

        Returns:
            The original, whose stem is its id.

        Raises:
            InputError: of no known format.
            OutputError: it cannot be kept.
        """
        told = format_of_suffix(Path(about["name"]).suffix)
        suffix = Path(about["name"]).suffix.lower()
        if told is None or suffix in RAW_SUFFIXES:
            suffix = format_of(received).suffixes[0]
        original = self.originals / f"{secrets.token_hex(8)}{suffix}"
        self._put(original.stem, {**about, "suffix": suffix})
        try:
            with failing_as_output_error(original):
                received.rename(original)
        except BaseException:
            self.forget(original.stem)
            raise
        return original

    def about(self, job: str) -> dict[str, Any] | None:
        """What is kept beside an original: its name, bytes and suffix."""
        return _remembered(self._abouts, job, self._about / f"{job}.json")

    def original(self, job: str) -> Path | None:
        """The original of an id, whatever a client gives for one; None where there is none."""
        about = self.about(job) if _ID.fullmatch(job) else None
        return None if about is None else self.originals / f"{job}{about['suffix']}"

    def target(self, original: Path) -> Path:
        """Where the enhanced file of an original belongs."""
        return self.enhanced / f"{original.stem}{writable_suffix(original.name)}"

    def kept(self) -> list[Path]:
        """All originals that are kept; those that are being deleted go."""
        found = []
        for path in sorted(self.originals.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            if _ID.fullmatch(path.stem):
                if self.about(path.stem) is not None:
                    found.append(path)
                else:
                    path.unlink(missing_ok=True)
        return found

    def keep_result(self, job: str, result: dict[str, Any]) -> None:
        """Keep what there is to say of an enhanced file (raises OutputError)."""
        content = json.dumps(finite(result, 12)).encode()
        write_whole(self._about / f"{job}.result.json", content, overwrite=True)

    def result(self, job: str) -> dict[str, Any] | None:
        """What was kept of an enhanced file."""
        return _read(self._about / f"{job}.result.json")

    def summary(self, job: str) -> dict[str, Any] | None:
        """The short of it."""
        if job not in self._summaries:
            result = self.result(job)
            if result is None:
                return None
            if len(self._summaries) >= REMEMBERED:
                self._summaries.clear()
            told = {name: result.get(name) for name in SUMMARY}
            self._summaries[job] = {**told, "warnings": len(result.get("warnings") or ())}
        return self._summaries[job]

    def tile(self, job: str, name: str) -> Path | None:
        """A tile of a report's images, whatever a client gives for its name."""
        if not (_ID.fullmatch(job) and _TILE.fullmatch(name)):
            return None
        path = self.report(job).with_name("report_files") / name
        return path if path.is_file() else None

    def report(self, job: str) -> Path:
        """Where the report on an image belongs."""
        return self._reports / job / REPORT

    def forget(self, job: str) -> None:
        """Let nobody find an image any more."""
        with failing_as_output_error(self._about):
            (self._about / f"{job}.json").unlink(missing_ok=True)
        self._abouts.pop(job, None)

    def find_again(self, job: str, about: dict[str, Any]) -> None:
        """Undo `forget`."""
        self._put(job, about)

    def remove(self, original: Path) -> None:
        """Delete all that is kept of an image, as far as it can be."""
        job = original.stem
        self.forget(job)
        shutil.rmtree(self._reports / job, ignore_errors=True)
        note = self.enhanced / "quarantine" / f"{original.name}.txt"
        for path in (self.target(original), note, self._about / f"{job}.result.json", original):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._summaries.pop(job, None)

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self.data).free

    def _put(self, job: str, about: dict[str, Any]) -> None:
        write_whole(self._about / f"{job}.json", json.dumps(about).encode(), overwrite=True)


def _remembered(memory: dict[str, dict[str, Any]], job: str, path: Path) -> dict[str, Any] | None:
    if job not in memory:
        read = _read(path)
        if read is None:
            return None
        if len(memory) >= REMEMBERED:
            memory.clear()
        memory[job] = read
    return memory[job]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def readable_name(name: str) -> str:
    """What a client calls an image, as a label: its last part, in letters that can be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return printable(last.encode(errors="replace").decode())[-LONGEST_NAME:].strip() or "image"


def without_paths(error: LongExposureError | str, name: str, *paths: Path) -> str:
    """What an error says, with a client's name for an image in place of ours."""
    text = str(error)
    for path in paths:
        text = text.replace(str(path), name)
    return text
