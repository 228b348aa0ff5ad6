"""Radiographs on disk: reading by content, writing all or nothing, and lists of inputs."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from longexposure.errors import (
    InputError,
    LongExposureError,
    OutputError,
    ResourceError,
    as_flag,
    as_kind,
    as_list,
    as_path,
)
from longexposure.io.checks import check_finite, damaged, reason_of
from longexposure.io.formats import FORMATS, format_of_suffix, writer_for
from longexposure.io.plain import RAW_SUFFIXES, raw_sidecar
from longexposure.io.record import record_fields
from longexposure.io.segments import check_compression
from longexposure.io.writing import Content, write_together
from longexposure.radiograph import Pages, Pixels, Radiograph, Source

HEAD_BYTES = 4096
"""So much of a file is read to tell what it is."""

_FOREIGN = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
}


class _Stream(io.BufferedReader):
    """An opened file without name or number: no library opens others beside it or maps it into memory."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.number = raw.fileno()

    @property
    def name(self) -> str:
        raise AttributeError("name")

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def read_radiograph(path: str | Path, *, dataset: str | None = None, in_pages: bool = False) -> Radiograph:
    """Read one file; its format is told by its content, whatever its name.

    Args:
        path: the file.
        dataset: path of the images in an HDF5 file, such as "/entry/data/data"; None takes the default of a
            NeXus file or the only one. It is of no meaning for other formats.
        in_pages: leave the pages of a large stack of TIFF, DICOM or HDF5 in the file, to be read when they
            are asked for: `pixels` are `Pages` then, and each page may raise what is raised here.

    Returns:
        A radiograph of (H, W), or (N, H, W) for several pages, uint8, uint16 or float32 in native
        byte order, values exactly as stored, NaN and infinity too, turned upright, with polarity,
        resolution, pitch, description, exposure, and the history where this package wrote the file.

    Raises:
        InputError: missing, unreadable, empty, damaged, or not a radiograph; always one line.
        ResourceError: too large for the memory there is.
    """
    path = as_path(path, where="path")
    try:
        with contextlib.ExitStack() as held:
            file = held.enter_context(opened(path))
            radiograph = _read(file, path, dataset, in_pages=in_pages)
            if isinstance(radiograph.pixels, Pages):
                stack = _left_in(file, path, radiograph, close=held.pop_all().close)
                return dataclasses.replace(radiograph, pixels=cast(Pixels, stack))
            return radiograph
    except MemoryError as error:
        raise ResourceError(
            where=str(path),
            expected="memory for the whole image",
            found="too little",
            advice="close other programs, or cut the image or the stack into several files",
        ) from error


def read_finite(path: str | Path) -> Radiograph:
    """`read_radiograph` for those who compare pixels or learn from them: every value must be a number.

    Raises:
        InputError: also where a value is NaN or infinite, with the place of the first.
        ResourceError: too large for the memory there is.
    """
    radiograph = read_radiograph(path)
    check_finite(radiograph.pixels, str(path))
    return radiograph


def _left_in(file: _Stream, path: Path, radiograph: Radiograph, *, close: Callable[[], None]) -> Pages:
    """Pages that are read as long as the file stays as it is; it is closed when nobody holds them."""
    pages, state = cast(Pages, radiograph.pixels), _state(file)

    def page(number: int) -> Pixels:
        with explained(path, radiograph.source.format if radiograph.source else ""):
            image = pages[number]
        _check_state(file, state, path)
        return image

    return Pages(pages.shape, pages.dtype, page, close)


def _read(file: _Stream, path: Path, dataset: str | None, *, in_pages: bool) -> Radiograph:
    """What a file holds; its head alone tells the format, so that foreign files cost nothing."""
    before = _state(file)
    head = file.read(HEAD_BYTES)
    if not head:
        raise damaged(str(path), expected="an image file", found="an empty file")
    form = next((form for form in FORMATS.values() if form.sniff(head)), None)
    if raw_sidecar(path) is not None or (form is None and path.suffix.lower() == RAW_SUFFIXES[0]):
        form = FORMATS["raw"]  # which nothing in its content tells
    if form is None:
        raise foreign(path, head, before[0])
    options: dict[str, Any] = {"dataset": dataset} if form.datasets else {}
    options |= {"in_pages": in_pages} if form.stacks else {}
    with explained(path, form.name):
        file.seek(0)
        radiograph = form.read(file, Source(path=str(path), sha256="", format=form.name), **options)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    _check_state(file, before, path)
    source = Source(path=str(path), sha256=sha256, format=form.name)
    return dataclasses.replace(radiograph, source=source)


@contextlib.contextmanager
def explained(path: Path, form: str) -> Iterator[None]:
    """Turn whatever the libraries raise on damaged files into one line.

    Raises:
        InputError: in place of any other error but those of memory.
    """
    try:
        yield
    except (LongExposureError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise _not_a_file(
                path, reason_of(error), "check the disk or the network, then try again"
            ) from error
        expected = f"a {form.upper()} file that can be decoded"
        raise damaged(str(path), expected=expected, found=reason_of(error)) from error


def _check_state(file: _Stream, before: tuple[int, int], path: Path) -> None:
    """Refuse a file that was written to (raises InputError)."""
    if _state(file) != before:
        raise InputError(
            where=str(path),
            expected="a file that stays as it is while it is read",
            found="one that was written to",
            advice="wait until the program that writes it is done, then read it again",
        )


def _state(file: _Stream) -> tuple[int, int]:
    """Size and time of the last change, which tell whether a file was written to meanwhile."""
    facts = os.fstat(file.number)
    return facts.st_size, facts.st_mtime_ns


def write_radiograph(
    radiograph: Radiograph,
    path: str | Path,
    *,
    overwrite: bool = False,
    sidecar: bool = False,
    compress: str | None = None,
) -> Path:
    """Write one file, all or nothing: into a temporary name beside it, then renamed.

    Args:
        radiograph: not modified; a TIFF takes all, a PNG one 8- or 16-bit image.
        path: its suffix decides the format: .tif, .tiff or .png.
        overwrite: whether an existing file may be replaced; the radiograph's own source never is.
        sidecar: also write description, history and the rest as JSON to `sidecar_path(path)`.
        compress: compression of a TIFF: "none", "deflate", "lzw", "zstd", "packbits" or "lzma"; None keeps
            that of the file that the radiograph was read from.

    Returns:
        The path.

    Raises:
        RecipeError: no such compression.
        OutputError: the file exists, is the source, cannot be written, or the format cannot hold it.
    """
    as_kind(radiograph, Radiograph, where="radiograph", advice="write Radiograph(pixels)", error=InputError)
    path = as_path(path, where="path")
    overwrite, sidecar = as_flag(overwrite, where="overwrite"), as_flag(sidecar, where="sidecar")
    check_compression(compress)
    contents: dict[Path, Content] = {
        path: functools.partial(
            writer_for(path), radiograph, **({} if compress is None else {"compress": compress})
        )
    }
    if sidecar:
        values = {"description": radiograph.description, "longexposure": record_fields(radiograph)}
        contents[sidecar_path(path)] = (json.dumps(values, indent=2) + "\n").encode("ascii")
    for target in contents:
        if radiograph.source is not None and _same_file(target, Path(radiograph.source.path)):
            raise OutputError(
                where=str(target),
                expected="an output other than the input",
                found="the file the radiograph was read from",
                advice="choose another folder or name; sources are never overwritten",
            )
    if not os.path.isdir(path.parent):  # noqa: PTH112 (never raises)
        raise OutputError(
            where=str(path),
            expected="an existing folder",
            found=f"no folder {path.parent}",
            advice="create it first",
        )
    try:
        write_together(contents, overwrite=overwrite)
    except LongExposureError as error:
        if error.where.lower() in FORMATS:
            raise OutputError(
                where=str(path), expected=error.expected, found=error.found, advice=error.advice
            ) from error
        raise
    return path


def sidecar_path(path: str | Path) -> Path:
    """Where the history of `path` is written beside it: chip.tif gives chip.tif.json."""
    path = as_path(path, where="path")
    return path.with_name(path.name + ".json")


def expand_inputs(paths: Sequence[str | Path]) -> list[Path]:
    """Files as given, each folder as `images_in` it, a file that is named twice once.

    A missing path stays in the list, so that its error arises when it is read and the other files go on.

    Raises:
        InputError: a folder that cannot be listed or has no image in it, or nothing was given.
    """
    files: dict[Path, None] = {}
    for path in (as_path(each, where="input") for each in as_list(paths, where="input")):
        folder = os.path.isdir(path)  # noqa: PTH112 (never raises)
        files.update(dict.fromkeys(images_in(path) if folder else [path]))
    if not files:
        raise InputError(
            where="input", expected="at least one file or folder", found="none", advice="name some"
        )
    return list(files)


def _is_pipe(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, whose reading may never end."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # its reading will report what is wrong
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def images_in(
    folder: Path,
    *,
    recursive: bool = False,
    leave_out: Collection[str] = (),
    on_error: Callable[[OSError], object] | None = None,
) -> list[Path]:
    """The image files of a folder in natural order (view2 before view10), those of its subfolders after them.

    Hidden files and folders, links to folders, unknown suffixes, pipes and devices are left out.

    Args:
        folder: where to look.
        recursive: whether to look into its subfolders too.
        leave_out: folders that are not looked into, as `os.path.realpath` gives them.
        on_error: called with what keeps a subfolder from being listed.

    Raises:
        InputError: it cannot be listed or has no image in it.
    """
    found: list[Path] = []
    try:
        next(folder.iterdir(), None)  # os.walk does not tell this one from an empty one
        for top, folders, names in os.walk(folder, onerror=on_error):
            inside = [name for name in folders if recursive and not name.startswith(".")]
            inside = [name for name in inside if os.path.realpath(Path(top, name)) not in leave_out]
            folders[:] = sorted(inside, key=lambda name: natural_order(Path(name)))
            images = [Path(top, name) for name in names if format_of_suffix(Path(name).suffix)]
            images = [image for image in images if not (image.name.startswith(".") or _is_pipe(image))]
            found += sorted(images, key=natural_order)
    except OSError as error:
        raise InputError(
            where=str(folder),
            expected="a folder that can be listed",
            found=reason_of(error),
            advice="check its permissions",
        ) from error
    if not found:
        suffixes = ", ".join(suffix for form in FORMATS.values() for suffix in (*form.suffixes, *form.found))
        raise InputError(
            where=str(folder),
            expected=f"a folder with images ({suffixes})",
            found="none",
            advice="name the folder that holds them; folders in it are not searched without --recursive",
        )
    return found


def _same_file(path: Path, source: Path) -> bool:
    try:
        return path.samefile(source)
    except OSError:  # one of them is not there
        return path.absolute() == source.absolute()


def natural_order(path: Path) -> tuple[list[int | str], str]:
    """Sort key by a file's name under which the numbers in it count as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())  # text and number in turn
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def opened(path: Path) -> _Stream:
    """A regular file, opened for reading."""
    try:
        if path.is_dir():
            raise _not_a_file(path, "a folder", "name the files in it, or use a command that takes folders")
        if path.exists() and not path.is_file():
            raise _not_a_file(path, "a device or pipe", "copy the image into a file first")
        return _Stream(path.open("rb", buffering=0))
    except FileNotFoundError as error:
        raise _not_a_file(path, "no such file", "check the path") from error
    except (OSError, ValueError) as error:
        raise _not_a_file(path, reason_of(error), "check the path and the permissions") from error


def _not_a_file(path: Path, found: str, advice: str) -> InputError:
    return InputError(where=str(path), expected="an image file that can be read", found=found, advice=advice)


def foreign(path: Path, start: bytes, size: int) -> InputError:
    """The error for a file of no known format: what its start looks like, and what its name claims."""
    found = next((name for magic, name in _FOREIGN.items() if start.startswith(magic)), "")
    if not found and not any(start):
        found = f"{size} bytes that start with zeros"
    elif not found and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        found = "a text file"
    elif not found:
        found = f"{size} bytes of unknown kind, starting with {start[:4].hex()}"
    claimed = format_of_suffix(path.suffix)
    if claimed is not None:
        return damaged(str(path), expected=f"a {claimed.name.upper()} file", found=found)
    return InputError(
        where=str(path),
        expected=f"one of {', '.join(form.name.upper() for form in FORMATS.values())}",
        found=found,
        advice="export the radiograph as 8- or 16-bit greyscale TIFF",
    )
