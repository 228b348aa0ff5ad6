"""How many pixels a file declares, told by its headers before one of them is unpacked."""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from longexposure.io.budget import check_compound, check_png, count_pages
from longexposure.io.checks import damaged
from longexposure.io.codecs import jpeg_size
from longexposure.io.files import HEAD_BYTES, explained, foreign, opened
from longexposure.io.formats import FORMATS, Format
from longexposure.io.plain import raw_sidecar
from longexposure.system import require

ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
"""DICOM's tags."""


def format_of(path: Path) -> Format:
    """The format of a file, told by its first bytes.

    Raises:
        InputError: no such file, an empty one, or none of a known format. Raw samples are none here: nothing
            in them tells.
    """
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
        form = next((form for form in FORMATS.values() if form.sniff(head)), None)
        if not head:
            raise damaged(str(path), expected="an image file", found="an empty file")
        if form is None or raw_sidecar(path) is not None:
            raise foreign(path, head, file.seek(0, os.SEEK_END))
        return form


def declared_pixels(path: Path, *, dataset: str | None = None) -> int:
    """Samples of all pages that a file's headers declare; nothing of their size is taken from memory.

    Args:
        path: the file; its format is told by its content.
        dataset: path of the images in an HDF5 file, see `read_radiograph`.

    Raises:
        InputError: of no known format, damaged, or without what its headers must say.
        ResourceError: the package that reads the format is not installed.
    """
    form = format_of(path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(path))
        stack.enter_context(explained(path, form.name))
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if form.name == "hdf5":
            return _hdf5(file, size, str(path), dataset)
        return _COUNTERS[form.name](file, size, str(path))


def _tiff(file: BinaryIO, size: int, where: str) -> int:
    return count_pages(file, size, where).samples


def _png(file: BinaryIO, size: int, where: str) -> int:
    check_png(file, size, where)
    file.seek(16)
    return math.prod(struct.unpack(">II", file.read(8)))


def _xrm(file: BinaryIO, size: int, where: str) -> int:
    import olefile

    from longexposure.io.xrm import CompoundFile

    check_compound(file, size, where)
    with olefile.OleFileIO(file) as ole:
        scan = CompoundFile(ole, where)
        sides = [scan.whole(f"ImageInfo/{name}") or 0 for name in ("ImageHeight", "ImageWidth")]
        return math.prod(sides) * len(scan.image_names())


def _dicom(file: BinaryIO, size: int, where: str) -> int:
    require("pydicom", where=where)
    from longexposure.io.dicom import Header, parsed
    from longexposure.io.dicom_layout import header_bytes, layout_of

    layout = layout_of(file, size, where)
    head = Header(parsed(header_bytes(file, layout)), layout.order)
    return head.whole(ROWS) * head.whole(COLUMNS) * max(head.whole(FRAMES, 1), 1)


def _hdf5(file: BinaryIO, size: int, where: str, dataset: str | None) -> int:
    require("h5py", where=where)
    from longexposure.io.hdf5 import opened_hdf5
    from longexposure.io.hdf5_tree import Tree

    with opened_hdf5(file, where) as h5:
        tree = Tree(h5, where)
        return math.prod(tree.images(tree.path_of(dataset) if dataset is not None else tree.default()).shape)


def _npy(file: BinaryIO, size: int, where: str) -> int:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return math.prod(read(file)[0])


def _pgm(file: BinaryIO, size: int, where: str) -> int:
    words = re.sub(rb"#[^\n]*\n", b" ", file.read(HEAD_BYTES)).split(maxsplit=3)
    return int(words[1]) * int(words[2])


def _bmp(file: BinaryIO, size: int, where: str) -> int:
    file.seek(18)
    width, height = struct.unpack("<ii", file.read(8))
    return abs(width * height)


def _jpeg(file: BinaryIO, size: int, where: str) -> int:
    declared = jpeg_size(file.read())
    if declared is None:
        raise damaged(where, expected="a JPEG of one image", found="one that is cut off or holds several")
    return declared.width * declared.height


def _his(file: BinaryIO, size: int, where: str) -> int:
    file.seek(12)
    left, top, right, bottom, frames = struct.unpack("<HHHHH", file.read(10))
    return (right - left + 1) * (bottom - top + 1) * frames


_COUNTERS: dict[str, Callable[[BinaryIO, int, str], int]] = {
    "tiff": _tiff,
    "png": _png,
    "xrm": _xrm,
    "dicom": _dicom,
    "npy": _npy,
    "pgm": _pgm,
    "bmp": _bmp,
    "jpeg": _jpeg,
    "his": _his,
}
