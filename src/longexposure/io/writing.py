"""Writing files whole or not at all: under a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from longexposure.errors import OutputError
from longexposure.io.checks import reason_of

Content = bytes | Callable[[BinaryIO], object]
"""What goes into a file: the bytes, or a function that writes them into the open file."""

_being_written: set[str] = set()
"""Names of this process's temporary files; those of an earlier one may bear its number, as in containers."""


def write_whole(path: Path, content: Content, *, overwrite: bool = False, parents: bool = False) -> None:
    """Write one file whole or not at all; see `write_together`."""
    write_together({path: content}, overwrite=overwrite, parents=parents)


def write_together(
    contents: Mapping[Path, Content], *, overwrite: bool = False, parents: bool = False
) -> None:
    """Write files that belong together: all under temporary names, and only when all are complete renamed.

    After any failure, an interrupt included, no temporary file is left, what was there before is there
    still, and without `overwrite` none of the new files is. (With it, a file renamed before the failure
    stays.)

    Args:
        contents: what goes where, renamed in this order.
        overwrite: whether existing files may be replaced.
        parents: whether missing folders are made.

    Raises:
        OutputError: a file exists, a folder is in the way, or one cannot be written.
    """
    for path in contents:
        refuse_existing(path, overwrite=overwrite)
    written: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for path, content in contents.items():
            with failing_as_output_error(path):
                if parents:
                    path.parent.mkdir(parents=True, exist_ok=True)
                written[path] = temporary_in(path.parent)
                _being_written.add(written[path].name)
                with written[path].open("x+b") as file:
                    if isinstance(content, bytes):
                        file.write(content)
                    else:
                        content(file)
                    file.flush()
                    os.fsync(file.fileno())
        for path, temporary in written.items():
            refuse_existing(path, overwrite=overwrite)
            with failing_as_output_error(path):
                temporary.replace(path)
            placed.append(path)
    except BaseException:
        for leftover in (*written.values(), *(() if overwrite else placed)):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
        raise
    finally:
        _being_written.difference_update(temporary.name for temporary in written.values())


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that must not be written to; a link that leads nowhere counts as a file.

    Raises:
        OutputError: a folder has that name, or a file has and may not be overwritten.
    """
    folder = os.path.isdir(path)  # noqa: PTH112 (never raises, unlike Path.is_dir)
    if folder or (not overwrite and os.path.lexists(path)):
        raise OutputError(
            where=str(path),
            expected="a file name that is free",
            found="a folder of that name" if folder else "an existing file",
            advice="choose another name"
            + ("" if folder else " or folder, or allow overwriting (--overwrite)"),
        )


@contextmanager
def failing_as_output_error(path: Path) -> Iterator[None]:
    """Turn what the system says while `path` is written into one line with advice.

    Raises:
        OutputError: in place of any OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            where=str(path),
            expected="a file that can be written",
            found=reason_of(error),
            advice="check that the folder exists, may be written to and has free space, or choose another",
        ) from error


def check_writable_folder(path: str | Path) -> Path:
    """Create the folder, with its parents, and prove that files can be written in it.

    Returns:
        The folder.

    Raises:
        OutputError: a file is in the way, no permission, read-only, or the disk is full.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = temporary_in(path)
        try:
            probe.touch(exist_ok=False)
        finally:
            probe.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            where=str(path),
            expected="a folder",
            found="a file in the way",
            advice="choose another output folder",
        ) from error
    except OSError as error:
        raise OutputError(
            where=str(path),
            expected="a folder that can be written to",
            found=reason_of(error),
            advice="choose another output folder or correct its permissions",
        ) from error
    return path


def temporary_in(folder: Path) -> Path:
    """A name in this folder that no one else uses, hidden from listings."""
    return folder / f".longexposure-{os.getpid()}-{secrets.token_hex(6)}.part"


def remove_temporaries(folders: Iterable[Path]) -> None:
    """Delete what killed processes of this package left half-written in these folders.

    Files of processes that still run stay, and so does everything that this package did not name.
    """
    for folder in folders:
        for path in folder.glob(".longexposure-*-*.part"):
            process = path.name.split("-")[1]
            if not process.isdecimal() or path.name in _being_written:
                continue
            if int(process) == os.getpid() or not psutil.pid_exists(int(process)):
                with suppress(OSError):
                    path.unlink()
