"""The folders of a service: whether they are there, and lie so that no original is at risk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from longexposure.errors import InputError, OutputError
from longexposure.io.formats import format_of_suffix
from longexposure.service.quarantine import EARLIER, FOLDER


@dataclass
class Place:
    """A folder, which may vanish: removed, or the share that it lies on unmounted.

    A mount point that is empty because its share is gone is not taken for the folder.
    """

    path: Path
    mount: str = field(init=False)

    def __post_init__(self) -> None:
        self.mount = _mount_of(self.path)

    def is_there(self) -> bool:
        return os.path.isdir(self.path) and self.is_mounted()  # noqa: PTH112 (never raises)

    def is_mounted(self) -> bool:
        """Whether it would lie on the same disk or share as it did, should it be made again."""
        return _mount_of(self.path) == self.mount


def _mount_of(path: Path) -> str:
    """The mount point that a path lies below."""
    folder = os.path.realpath(path)
    while not os.path.ismount(folder) and os.path.dirname(folder) != folder:  # noqa: PTH120
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def identity_of(path: Path | str) -> tuple[int, int] | None:
    """What tells a file or folder from all others, whatever its name; None where there is none."""
    try:
        facts = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, whatever links and mounts lead there."""
    real, top = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    known = identity_of(top)
    return any(
        each == top or (known is not None and identity_of(each) == known) for each in (real, *real.parents)
    )


@dataclass(frozen=True)
class Layout:
    """Where originals are and where enhanced files go, as absolute paths.

    Attributes:
        source: the folder that is watched.
        out: the output folder, which need not be there.
        recursive: whether subfolders are watched too.
    """

    source: Path
    out: Path
    recursive: bool = False

    def check(self, ledger: Path) -> None:
        """Refuse folders in which an enhanced file could land among originals, or pass for one.

        Raises:
            InputError: a path cannot be written down in a ledger.
            OutputError: the output folder is that of the originals or would put files among them, something
                else has the name of a folder in it, or the ledger would lie among originals.
        """
        for path in (self.source, self.out, ledger):
            _check_utf8(path)
        if lies_in(self.source, self.out):
            if lies_in(self.out, self.source):
                raise self._mixed("the same")
            below = Path(os.path.relpath(os.path.realpath(self.source), os.path.realpath(self.out)))
            if self.recursive or below.parts[0].casefold() in (FOLDER, EARLIER, os.pardir):
                raise self._mixed("in the output folder, where enhanced files may go")
        for name in (FOLDER, EARLIER):
            self._check_own(self.out / name)
        self._check_ledger(ledger)

    def refuse(self, source: Path, target: Path) -> None:
        """Refuse one file whose enhanced file would land among originals, or that is no original.

        Raises:
            InputError: it is a link to a file in the output folder.
            OutputError: links lead its enhanced file into the watched folder.
        """
        if os.path.islink(source) and self._is_foreign(source, self.out, self.source):  # noqa: PTH114
            raise InputError(
                where=str(source),
                expected="an original",
                found="a link into the output folder",
                advice="remove the link",
            )
        if target.parent != self.out and self._is_foreign(target.parent, self.source, self.out):
            raise OutputError(
                where=str(target),
                expected="a place outside of the watched folder",
                found="links that lead into it",
                advice="make the subfolder of the output folder one of its own",
            )

    def _is_foreign(self, path: Path, folder: Path, inner: Path) -> bool:
        """Whether a path leads into a folder, but not into the other one, should that lie in it."""
        return lies_in(path, folder) and not (lies_in(inner, folder) and lies_in(path, inner))

    def _mixed(self, how: str) -> OutputError:
        return OutputError(
            where=str(self.out),
            expected="an output folder that holds none of the inputs, now or later",
            found=f"the watched folder {self.source} {how}",
            advice="choose another folder for --out, so that no original is at risk",
        )

    def _check_own(self, path: Path) -> None:
        """Refuse what is in the way of a folder that this package makes below the output folder."""
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 (never raises)
            raise OutputError(
                where=str(path), expected="a folder or nothing", found="a file", advice="move it away"
            )
        if os.path.isdir(path) and self._is_foreign(path, self.source, self.out):  # noqa: PTH112
            raise OutputError(
                where=str(path),
                expected="a folder outside of the watched one",
                found="a link into it",
                advice="remove the link",
            )

    def _check_ledger(self, path: Path) -> None:
        if format_of_suffix(path.suffix) is not None:
            found = f"the name of an image ({path.suffix})"
        elif self._is_foreign(path, self.source, self.out):
            found = "a place in the watched folder"
        else:
            return
        raise OutputError(
            where=str(path),
            expected="a ledger beside the originals' folder, FILE.sqlite say",
            found=found,
            advice="choose another --ledger",
        )


def _check_utf8(path: Path) -> None:
    """Refuse what neither ledger nor history can hold (raises InputError)."""
    try:
        str(path).encode()
        os.path.realpath(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            where=readable(path),
            expected="a path in UTF-8",
            found="other bytes",
            advice="rename the folder, or name it by a link where all names are UTF-8",
        ) from None


def readable(path: Path) -> str:
    """A path as text that can be written anywhere; bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
