"""Maps of a detector's faulty pixels: masks (TIFF, PNG), coordinates (CSV), and XML as PerkinElmer's."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError
from longexposure.io.checks import damaged, reason_of
from longexposure.io.files import read_radiograph
from longexposure.masks import Mask

MAX_TEXT_BYTES = 64 * 2**20
"""Largest CSV or XML that is read: a million pixels take that much in the most verbose one."""
MAX_DEPTH = 16
MOST_FAULTY = 0.5
"""A mask that marks more of the image has good and faulty the wrong way round."""
X_NAMES, Y_NAMES = ("x", "column", "col"), ("y", "row", "line")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,2})?")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG")

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class DefectMap:
    """Pixels that are known to be faulty.

    Attributes:
        name: of the file.
        sha256: of the file.
        places: rows and columns (2, N), counted from 0.
        rows: numbers of rows that are faulty from end to end.
        columns: the same of columns.
        shape: (H, W) of the detector, where the file tells it.
    """

    name: str
    sha256: str
    places: Places
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    shape: tuple[int, int] | None = None

    def reference(self) -> dict[str, str]:
        """What an image's history says of it."""
        return {"name": self.name, "sha256": self.sha256}

    def mask_for(self, shape: tuple[int, int], *, where: str) -> Mask:
        """The faulty pixels of an image (H, W).

        Args:
            shape: of the image.
            where: what the image is called in errors.

        Raises:
            InputError: the map is of a detector of another size, or pixels lie outside of the image.
        """
        if self.shape is not None and self.shape != shape:
            raise InputError(
                where=where,
                expected=f"an image of {self.shape[1]} x {self.shape[0]} px, which {self.name} is of",
                found=f"{shape[1]} x {shape[0]} px",
                advice="give the map of this detector and mode; bin or crop the map as the image was",
            )
        y, x = self.places
        outside = (y < 0) | (x < 0) | (y >= shape[0]) | (x >= shape[1])
        lines = [("row", n) for n in self.rows if not 0 <= n < shape[0]]
        lines += [("column", n) for n in self.columns if not 0 <= n < shape[1]]
        if outside.any() or lines:
            first = int(np.argmax(outside))
            example = f"x={x[first]}, y={y[first]}" if outside.any() else f"{lines[0][0]} {lines[0][1]}"
            raise InputError(
                where=where,
                expected=f"faulty pixels inside its {shape[1]} x {shape[0]} px (x, y counted from 0)",
                found=f"{int(outside.sum()) + len(lines)} of {self.name} outside, the first at {example}",
                advice="check that the map is of this detector, and that x comes first, then y",
            )
        mask = Mask.empty(shape).with_pixels(y, x)
        for row in self.rows:
            mask = mask.with_pixels(np.full(shape[1], row), np.arange(shape[1]))
        for column in self.columns:
            mask = mask.with_pixels(np.arange(shape[0]), np.full(shape[0], column))
        return mask


def read_defect_map(path: str | Path) -> DefectMap:
    """Read a map of faulty pixels; what it is, is told by its content.

    A TIFF or PNG of one page, whose values other than 0 are faulty; text with two whole numbers a line, x and
    y counted from 0 in this order unless a first line names them otherwise; or XML whose root is BadPixelMap.

    Raises:
        InputError: missing, unreadable, empty, damaged, too large, or something else; always one line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            where=str(path),
            expected="a map of faulty pixels that can be read",
            found=reason_of(error),
            advice="check the path and the permissions",
        ) from error
    if data.startswith(_MAGIC):
        found = _from_image(path)
    elif len(data) > MAX_TEXT_BYTES:
        raise _foreign(path, f"more than {MAX_TEXT_BYTES // 2**20} MB that are no TIFF or PNG")
    elif data.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        found = _from_xml(path, data)
    else:
        found = _from_text(path, data)
    if not (found.places.shape[1] or found.rows or found.columns):
        raise InputError(
            where=str(path),
            expected="at least one faulty pixel",
            found="none",
            advice="leave the map out where there is none",
        )
    return found


def _foreign(path: Path, found: str) -> InputError:
    return InputError(
        where=str(path),
        expected="a mask (TIFF, PNG), lines of x,y (CSV) or an XML BadPixelMap",
        found=found,
        advice="export the map as a mask of the detector's size in which faulty pixels are not 0",
    )


def _from_image(path: Path) -> DefectMap:
    radiograph = read_radiograph(path)
    pixels = radiograph.pixels
    if pixels.ndim != 2:
        raise _foreign(path, f"{len(pixels)} pages")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise _foreign(path, "values that are no numbers")
    places = np.stack(np.nonzero(pixels))
    if places.shape[1] > MOST_FAULTY * pixels.size:
        raise InputError(
            where=str(path),
            expected="a mask whose values other than 0 are the faulty pixels",
            found=f"{100 * places.shape[1] / pixels.size:.0f} % of them",
            advice="invert it, if 0 stands for faulty",
        )
    sha256 = radiograph.source.sha256 if radiograph.source else ""
    return DefectMap(path.name, sha256, places, shape=(pixels.shape[0], pixels.shape[1]))


def _from_text(path: Path, data: bytes) -> DefectMap:
    """Lines of two whole numbers; comma, semicolon, tab or blanks between them, # begins a remark."""
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _foreign(path, f"{len(data)} bytes that are no text") from error
    at, places = (0, 1), []
    first = True
    for number, line in enumerate(text.splitlines(), start=1):
        words = [
            word.strip('"').lower() for word in re.split(r"\s*[,;\t]\s*|\s+", line.split("#")[0].strip())
        ]
        if words == [""]:
            continue
        if first and not _NUMBER.fullmatch(words[0]):
            at, first = _named(path, words), False
            continue
        first = False
        try:
            places.append((_whole(words[at[1]]), _whole(words[at[0]])))
        except (IndexError, ValueError) as error:
            raise damaged(
                str(path),
                expected=f"two whole numbers in line {number}, x and y",
                found=repr(line[:40]),
            ) from error
        if max(map(abs, places[-1])) > 2**31:
            raise damaged(str(path), expected=f"the place of a pixel in line {number}", found=repr(line[:40]))
    array = np.array(places, np.intp).reshape(-1, 2).T
    return DefectMap(path.name, hashlib.sha256(data).hexdigest(), array)


def _whole(word: str) -> int:
    """A whole number, also one that is written as 60.0 or 6.0e+01; raises ValueError for all else."""
    if not _NUMBER.fullmatch(word) or not float(word).is_integer():
        raise ValueError(word)
    return int(float(word))


def _named(path: Path, words: list[str]) -> tuple[int, int]:
    """Which of the named columns of a text are x and y; units in brackets behind a name are passed over."""
    words = [word for word in words if not re.fullmatch(r"[\[(].*[\])]", word)]
    words = [re.sub(r"[\[(].*[\])]$", "", word) for word in words]
    x = next((words.index(name) for name in X_NAMES if name in words), None)
    y = next((words.index(name) for name in Y_NAMES if name in words), None)
    if x is None or y is None:
        raise _foreign(path, f"text that begins with {', '.join(words)[:60]!r}")
    return x, y


def _from_xml(path: Path, data: bytes) -> DefectMap:
    """BadPixelMap: SizeX, SizeY; elements with X and Y; whole lines in BadRows and BadColumns."""
    reader = _BadPixelMap(path)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise damaged(str(path), expected="XML", found=reason_of(error)) from error
    if reader.shape is None:
        raise _foreign(path, "XML without a BadPixelMap")
    places = np.array(reader.places, np.intp).reshape(-1, 2).T
    return DefectMap(
        path.name,
        hashlib.sha256(data).hexdigest(),
        places,
        rows=tuple(reader.rows),
        columns=tuple(reader.columns),
        shape=reader.shape,
    )


class _BadPixelMap:
    """What is met in such a file; no document type is taken, so that no entity is ever expanded."""

    def __init__(self, path: PurePath) -> None:
        self._path, self._open = Path(path), [""]
        self.shape: tuple[int, int] | None = None
        self.places: list[tuple[int, int]] = []
        self.rows: list[int] = []
        self.columns: list[int] = []

    def refuse_doctype(self, *_: Any) -> None:
        raise _foreign(self._path, "XML with a document type of its own")

    def start(self, name: str, values: dict[str, str]) -> None:
        name = name.rpartition(":")[2]  # without the prefix of a namespace
        if len(self._open) == 1:
            if name != "BadPixelMap":
                raise _foreign(self._path, f"XML with {name[:40]!r} as its root")
            self.shape = self._number(name, values, "SizeY"), self._number(name, values, "SizeX")
        elif len(self._open) > MAX_DEPTH:
            raise _foreign(self._path, f"XML nested deeper than {MAX_DEPTH}")
        elif self._open[-1] in ("BadPixels", "UserDefinedBadPixels"):
            self.places.append((self._number(name, values, "Y"), self._number(name, values, "X")))
        elif self._open[-1] == "BadRows":
            self.rows.append(self._number(name, values, "Y", "Row", "Index", "Number"))
        elif self._open[-1] == "BadColumns":
            self.columns.append(self._number(name, values, "X", "Column", "Index", "Number"))
        self._open.append(name)

    def end(self, _: str) -> None:
        self._open.pop()

    def _number(self, name: str, values: dict[str, str], *keys: str) -> int:
        """A whole number of an element, under the first of these names that it has."""
        text = next((values[key] for key in keys if key in values), None)
        if text is None or not re.fullmatch(r"[0-9]{1,9}", text):
            raise damaged(
                str(self._path), expected=f"a whole number {keys[0]} in every {name[:40]}", found=repr(text)
            )
        return int(text)
