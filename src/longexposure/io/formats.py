"""The catalogue of formats: how each is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from longexposure.errors import OutputError
from longexposure.io import plain
from longexposure.io.dicom import read_dicom
from longexposure.io.dicom_layout import is_dicom
from longexposure.io.dicom_writer import write_dicom
from longexposure.io.hdf5 import is_hdf5, read_hdf5
from longexposure.io.hdf5_writer import write_hdf5
from longexposure.io.png import is_png, read_png, write_png
from longexposure.io.tiff import is_tiff, read_tiff
from longexposure.io.tiff_writer import write_tiff
from longexposure.io.xrm import is_xrm, read_xrm
from longexposure.radiograph import Radiograph


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: as in `Source.format`.
        suffixes: lower case with the dot; the first is the one for new files.
        sniff: whether a file with these first bytes (`HEAD_BYTES` of them) is of this format.
        read: the radiograph from the opened file and its source, which gets its hash later; may raise
            `InputError`, and on a damaged file whatever its library raises, which `read_radiograph`
            turns into one.
        write: the radiograph into a file open for writing, None for a format that is only read; takes
            `compress` (see `write_radiograph`).
        found: further suffixes of files that are read and found in folders, never written.
        datasets: whether a file may hold several images, of which `read` takes one by its path.
        stacks: whether `read` can leave the pages of a large stack in the file (`in_pages`).
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    read: Callable[..., Radiograph]
    write: Callable[..., None] | None = None
    found: tuple[str, ...] = ()
    datasets: bool = False
    stacks: bool = False

    @property
    def writes(self) -> bool:
        return self.write is not None


_OTHER_TIFF = (".btf", ".tf8", ".tf2", ".pcoraw", ".stk")
"""BigTIFF as Bio-Formats and GDAL name it, TIFF of pco cameras and of MetaMorph."""

_OTHER_DICOM = (".dcn", ".dic", ".ima")

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("tiff", (".tif", ".tiff"), is_tiff, read_tiff, write_tiff, _OTHER_TIFF, stacks=True),
        Format("png", (".png",), is_png, read_png, write_png),
        Format("xrm", (".xrm", ".txrm"), is_xrm, read_xrm),
        Format("dicom", (".dcm", ".dicom"), is_dicom, read_dicom, write_dicom, _OTHER_DICOM, stacks=True),
        Format(
            "hdf5",
            (".h5", ".hdf5", ".nxs", ".hdf"),
            is_hdf5,
            read_hdf5,
            write_hdf5,
            (".nx5", ".nexus"),
            datasets=True,
            stacks=True,
        ),
        Format("npy", (".npy",), plain.is_npy, plain.read_npy),
        Format("pgm", (".pgm", ".ppm", ".pnm"), plain.is_pgm, plain.read_pgm),
        Format("bmp", (".bmp",), plain.is_bmp, plain.read_bmp),
        Format("jpeg", (".jpg", ".jpeg"), plain.is_jpeg, plain.read_jpeg),
        Format("his", (".his",), plain.is_his, plain.read_his),
        Format("raw", plain.RAW_SUFFIXES[:1], lambda start: False, plain.read_raw),
    )
}
"""Every format by its name."""


def format_of_suffix(suffix: str) -> Format | None:
    """The format whose files end so, in upper or lower case; None for a suffix nobody claims."""
    known = ((form, (*form.suffixes, *form.found)) for form in FORMATS.values())
    return next((form for form, suffixes in known if suffix.lower() in suffixes), None)


def writer_for(path: Path) -> Callable[..., None]:
    """What writes a file of this name, told by its suffix.

    Raises:
        OutputError: no format that is written has it.
    """
    form = format_of_suffix(path.suffix)
    if form is not None and form.write is not None and path.suffix.lower() in form.suffixes:
        return form.write
    suffixes = [suffix for each in FORMATS.values() if each.writes for suffix in each.suffixes]
    raise OutputError(
        where=str(path),
        expected=f"a name that ends with {', '.join(suffixes)}",
        found=repr(path.suffix),
        advice="choose .tif, which holds everything",
    )


def writable_suffix(of: str | Path) -> str:
    """The suffix for an enhanced copy: its own for a format that is written, .tif for all else.

    Args:
        of: a format's name, or a path, of which only the suffix counts.
    """
    form = FORMATS.get(str(of)) or format_of_suffix(Path(of).suffix)
    return form.suffixes[0] if form is not None and form.writes else FORMATS["tiff"].suffixes[0]
