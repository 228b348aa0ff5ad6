"""The folder beside a page: every image whole and lossless, in scripts that a page may load without a server.

A browser lets a page that was opened from a disk read no file beside it, but run a script from there: each
tile is one that hands its grey values over. Tiles are named after what is in them, so that a page of before
stays right until the next one replaces it, and what is there already is not written again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

from longexposure.errors import OutputError
from longexposure.io.writing import failing_as_output_error, remove_temporaries, write_whole
from longexposure.radiograph import Pixels
from longexposure.report.coding import packed

TILE_PX = 1024
"""Sides of tiles, at most."""

ABOUT = "about.txt"
_FIRST_LINE = b"longexposure report images, format 1"
_TILE = re.compile(r"[0-9a-f]{24}\.js")


class ImageFolder:
    """The folder of a page's images: NAME_files for NAME.html, as browsers name it too.

    Attributes:
        path: the folder; it is made with the first image.
        url: its address as the page gives it.
    """

    def __init__(self, page: Path) -> None:
        """Take the folder of that page.

        Raises:
            OutputError: something of that name is there that is not this page's folder.
        """
        self.path = page.with_name(f"{page.stem}_files")
        self.url = quote(os.fsencode(self.path.name))
        self._about = b"\n".join(
            (
                _FIRST_LINE,
                b"of " + os.fsencode(page.name),
                b"",
                b"The images that this page shows, every grey value as it was, loaded when looked at.",
                b"The page works without this folder, too, with less to see.",
                b"",
            )
        )
        self._used: set[str] = set()
        self._written: list[Path] = []
        self._check()

    def put(self, images: Mapping[str, Pixels]) -> dict[str, Any]:
        """Write images of one shape (H, W) and type, by role; what of them is there already stays.

        Returns:
            Where they lie: edges of the tiles along y (`rows`) and x (`columns`), and their names row by row.

        Raises:
            OutputError: something cannot be written.
        """
        self._make()
        height, width = next(iter(images.values())).shape
        rows, columns = (_edges(length) for length in (height, width))
        names = []
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                tile = {role: pixels[top:bottom, left:right] for role, pixels in images.items()}
                names.append(self._put_tile(tile))
        return {"rows": rows, "columns": columns, "names": names}

    def _put_tile(self, images: Mapping[str, Pixels]) -> str:
        digest = hashlib.blake2b(digest_size=12)
        for role, pixels in images.items():
            digest.update(f"{role} {pixels.dtype.str} {pixels.shape}\n".encode())
            digest.update(np.ascontiguousarray(pixels).data)
        name = digest.hexdigest()

        def script(file: BinaryIO) -> None:
            file.write(f'longexposureTile("{name}", {{'.encode())
            for role, pixels in images.items():
                file.write(f'"{role}": "'.encode() + base64.b64encode(packed(pixels)) + b'",\n')
            file.write(b"});\n")

        self._used.add(name)
        path = self.path / f"{name}.js"
        if not path.exists():
            write_whole(path, script)
            self._written.append(path)
        return name

    def tidy(self) -> None:
        """Delete the tiles of earlier pages of this name; what else lies in the folder stays."""
        if self.path.is_dir():
            remove_temporaries([self.path])
            self._remove([path for path in self._tiles() if path.stem not in self._used])

    def undo(self) -> None:
        """Delete what was written since this folder was taken."""
        self._remove(self._written)

    def _remove(self, paths: list[Path]) -> None:
        """Delete these tiles, and the folder with the last of them."""
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        if not self._tiles():
            with suppress(OSError):
                if {entry.name for entry in self.path.iterdir()} == {ABOUT}:
                    (self.path / ABOUT).unlink()
                self.path.rmdir()

    def _tiles(self) -> list[Path]:
        with suppress(OSError):
            return [path for path in self.path.iterdir() if _TILE.fullmatch(path.name)]
        return []

    def _check(self) -> None:
        if not os.path.lexists(self.path):
            return
        with suppress(OSError):
            whole = not self.path.is_symlink() and self.path.is_dir()
            if whole and not any(self.path.iterdir()):
                return
            if whole and (self.path / ABOUT).read_bytes().startswith(
                b"\n".join(self._about.split(b"\n")[:2]) + b"\n"
            ):
                return
        raise OutputError(
            where=str(self.path),
            expected="a free name for the folder of the report's images, or that folder of an earlier run",
            found="something else of that name",
            advice="choose another name for the report, or write it without that folder (--no-report-images)",
        )

    def _make(self) -> None:
        about = self.path / ABOUT
        if not about.exists():
            with failing_as_output_error(self.path):
                self.path.mkdir(exist_ok=True)
            write_whole(about, self._about)


def _edges(length: int) -> list[int]:
    """Where tiles of nearly one size, at most `TILE_PX` wide, begin and end."""
    count = -(-length // TILE_PX)
    return [length * number // count for number in range(count + 1)]
