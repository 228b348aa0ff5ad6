"""Reading TIFF and BigTIFF: every page one image of the stack."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.budget import check_ome, count_pages
from longexposure.io.carried import Pages, as_fractions, from_fractions, parts_of, record_of
from longexposure.io.checks import (
    TRANSPOSING,
    check_plausible,
    damaged,
    one_channel,
    upright,
    wrong_type,
)
from longexposure.io.codecs import check_segments
from longexposure.io.record import radiograph_of
from longexposure.io.segments import CODES, PREDICTED, SAME, Segments
from longexposure.io.tags import Directories
from longexposure.radiograph import Pages as Stack
from longexposure.radiograph import Pixels, Polarity, Radiograph, Source, Stored, computable, ends_of

if TYPE_CHECKING:
    import tifffile

_MINISWHITE, _PALETTE = 0, 3
_PHOTOMETRIC = (0, 1, 2, 3, 6)
_REDUCED_OR_MASK = 0b101
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF or BigTIFF of either byte order.

    A DICOM file may begin like one: its preamble is free.
    """
    return start[:4] in _SIGNATURES and start[128:132] != b"DICM"


def read_tiff(file: BinaryIO, source: Source, *, in_pages: bool = False) -> Radiograph:
    """Read all pages of a TIFF; thumbnails and masks among them are left out.

    Taken: integers and floats of 8 to 64 bits whose every value float32 holds, strips or tiles, the
    compressions of `longexposure.io.codecs`, MinIsWhite, colour with all channels equal, palettes of greys,
    orientation, ImageJ, OME and tifffile files of any axes, whose images become one stack in the file's
    order. What stands in the file beside grey values is kept for `write_tiff` (see `Stored`).

    Raises:
        InputError: damaged, cut off, or holding something else, with the way out.
    """
    import tifffile

    where, directories, notes = source.path, Directories(file, source.path), list[str]()
    promise = count_pages(file, directories.size, where)
    with _silence():
        file.seek(0)
        tif = tifffile.TiffFile(file)  # which need not be closed: the file is not its own
        if len(tif.pages) != promise.pages:
            found = f"{len(tif.pages)} that can be read"
            raise damaged(where, expected=f"{promise.pages} pages", found=found)
        pages = [_Page(tif.pages.get(index), where) for index in range(promise.pages)]
        check_ome(str(pages[0].page.description), promise, where)
        pages = [page for page in pages if not page.is_reduced_or_mask] or pages
        axes, planes = _axes_promised(tif, where)
        _check_pages(pages, directories.size, where)
        for each in pages:
            check_segments(each.page, file, where)
        tags = [directories.tags(page.page.offset) for page in pages]
        values = _stack(pages, file, planes, where).held_unless(in_pages)
        first, segments = pages[0], pages[0].segments(notes)
        if len(pages) < promise.pages:
            notes.append(f"{promise.pages - len(pages)} thumbnail or mask page(s)")
    pixels, offset = computable(values, where=where)
    told, tags[0] = record_of(tags[0])
    parts = parts_of(
        tags,
        Pages(
            layout=directories.layout,
            segments=segments,
            count=1 if pixels.ndim == 2 else len(pixels),
            dtype=values.dtype,
            orientation=first.orientation,
            samples=first.samples,
            is_colour=first.is_colour,
        ),
        told=told,
        notes=notes,
    )
    notes += [f"tag {code}, which is damaged or too large" for code in sorted(directories.lost)]
    sample = 8 * values.dtype.itemsize
    bits = parts.bits if 0 < parts.bits <= sample and values.dtype.kind == "u" else 0
    return radiograph_of(
        pixels,
        source,
        text=parts.text,
        told=told,
        resolution=parts.resolution,
        pitch_um=parts.pitch_um,
        rounded=lambda exact: from_fractions(as_fractions(exact)),
        polarity=first.polarity,
        stored=Stored(
            format="tiff",
            shape=pixels.shape,
            dtype=values.dtype.name,
            offset=offset,
            bits=bits if bits == sample or (bits and ends_of(values)[1] < 2**bits) else 0,
            axes=axes,
            parts=parts,
            notes=tuple(notes),
        ),
    )


def _axes_promised(tif: tifffile.TiffFile, where: str) -> tuple[dict[str, int], int]:
    """What the metadata of ImageJ, OME, tifffile or MetaMorph speak of.

    Returns:
        The length of each axis beside y, x and samples by its name, where there are several and one series;
        and the number of images of all series, 0 without such metadata.
    """
    if not (tif.is_imagej or tif.is_ome or tif.is_shaped or tif.is_stk):
        return {}, 0
    try:
        several = [(series, list(series.pages)) for series in tif.series]
    except (LookupError, ValueError, TypeError) as error:
        raise damaged(where, expected="metadata that fit the pages", found=str(error)) from error
    several = [each for each in several if not each[0].keyframe.subfiletype & _REDUCED_OR_MASK]
    planes = [plane for _, pages in several for plane in pages]
    if any(plane is None or plane.parent is not tif for plane in planes):
        raise damaged(where, expected="all planes in this file", found="planes that are missing or elsewhere")
    if tif.is_ome and [plane.index for plane in planes if plane] != list(range(len(tif.pages))):
        raise InputError(
            where=where,
            expected="OME planes in the order of the pages",
            found="another order or number",
            advice="save it as a plain multi-page TIFF",
        )
    long = [
        {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1}
        for series, _ in several
    ]
    axes = long[0] if len(long) == 1 and len(long[0]) > 1 else {}
    counts = [
        math.prod(n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS")
        for series, _ in several
    ]
    return axes, sum(counts)


def _check_pages(pages: list[_Page], size: int, where: str) -> None:
    """Check every page before any pixel is read, and that all agree."""
    for page in pages:
        page.check_kind()
    needed = sum(page.check_segments(size) for page in pages)
    packed = any(page.page.compression != 1 for page in pages)
    check_plausible(where, needed=needed, stored=size, packed=packed)
    first = pages[0]
    for number, page in enumerate(pages, start=1):
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            found = f"page {number} of {page.shape} {page.dtype} after page 1 of {first.shape} {first.dtype}"
        elif (page.polarity, page.orientation) != (first.polarity, first.orientation):
            found = f"page {number} of another polarity or orientation than page 1"
        else:
            continue
        raise InputError(
            where=where,
            expected="pages of one size and type",
            found=found,
            advice="save the pages as separate files",
        )


def _stack(pages: list[_Page], file: BinaryIO, planes: int, where: str) -> Stack:
    """All images upright.

    Where the metadata promise more `planes` than there are pages, they lie behind one another after a single
    page, as ImageJ writes stacks of many gigabytes.
    """
    first = pages[0]
    if planes <= len(pages):
        image = first.read()

        def read(number: int) -> Pixels:
            if number == 0:
                return image
            with _silence():
                return pages[number].read()

        return Stack((len(pages), *image.shape), image.dtype, read)
    page = first.page
    simple = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    simple = simple and page.samplesperpixel == 1 and page.photometric != _PALETTE
    if len(pages) > 1 or page.is_tiled or page.bitspersample not in (8, 16, 32, 64) or not simple:
        raise damaged(where, expected=f"{planes} planes, as its metadata say", found=f"{len(pages)} pages")
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    start, size = page.dataoffsets[0], math.prod(first.shape) * dtype.itemsize
    behind = file.seek(0, os.SEEK_END) - start
    check_plausible(where, needed=planes * size, stored=behind, packed=False)

    def plane(number: int) -> Pixels:
        file.seek(start + number * size)
        stored = np.frombuffer(file.read(size), dtype=dtype).reshape(first.shape)
        return upright(stored.astype(first.dtype), first.orientation)

    height, width = first.shape[::-1] if first.orientation in TRANSPOSING else first.shape
    return Stack((planes, height, width), first.dtype, plane)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What the library says is checked here and reported as one error."""
    log, nothing = logging.getLogger("tifffile"), logging.Filter("nothing")
    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)


class _Page:
    """One page of an opened file: what it holds, whether it lies whole in the file, and its pixels."""

    def __init__(self, page: Any, where: str) -> None:
        self.page = page
        self.where = where
        self.is_reduced_or_mask = bool(page.subfiletype & _REDUCED_OR_MASK)
        self.orientation = int(page.tags.valueof(274) or 1)
        self.polarity: Polarity = "white-is-zero" if page.photometric == _MINISWHITE else "black-is-zero"
        self.shape = (page.imagelength, page.imagewidth)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored samples, in native byte order."""
        dtype: np.dtype[Any] = self.page.dtype.newbyteorder("=")
        return dtype

    @property
    def is_colour(self) -> bool:
        """Whether it is stored as colour or with a palette, of which one grey is taken."""
        return self.samples > 1 or self.page.photometric == _PALETTE

    @property
    def samples(self) -> int:
        """Of a pixel as stored."""
        return int(self.page.samplesperpixel)

    def segments(self, notes: list[str]) -> Segments:
        """How a page like this is written; what is not as here is added to `notes`."""
        page, code = self.page, int(self.page.compression)
        name = next((name for name, each in CODES.items() if each == SAME.get(code, code)), None)
        if name is None:
            lossless = "deflate, which loses nothing"
            notes.append(f"the compression ({page.compression.name}): written with {lossless}")
        tile = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else None
        if tile is not None and any(side % 16 or side > 4096 for side in tile):
            tile = None
        bits = int(page.bitspersample) if page.bitspersample in (10, 12, 14) and not self.is_colour else 0
        if self.is_colour:
            palette = page.photometric == _PALETTE
            notes.append("the palette of greys" if palette else "further channels, all equal or constant")
        if self.orientation != 1:
            notes.append("the orientation tag, which was followed")
        predictor = not bits and (name is None or (name in PREDICTED and page.predictor != 1))
        return Segments(name or "deflate", predictor, tile, int(page.rowsperstrip or 0), bits)

    def check_kind(self) -> None:
        """Refuse sample types, colour models and volumes that are no greyscale image."""
        page = self.page
        bits, kind = page.bitspersample, int(page.sampleformat)
        sizes = {1: (8, 10, 12, 14, 16, 32, 64), 2: (8, 16, 32, 64), 3: (16, 32, 64), 4: (8, 10, 12, 14, 16)}
        if page.dtype is None or bits not in sizes.get(kind, ()):
            names = {1: "unsigned integer", 2: "signed integer", 3: "floating-point"}
            names |= {5: "complex", 6: "complex"}
            raise wrong_type(self.where, f"{bits}-bit {names.get(kind, f'format {kind}')} samples")
        if int(page.photometric) not in _PHOTOMETRIC:
            raise InputError(
                where=self.where,
                expected="greyscale",
                found=f"photometric interpretation {int(page.photometric)}",
                advice="save it as greyscale",
            )
        if page.imagedepth != 1:
            raise InputError(
                where=self.where,
                expected="one image a page",
                found=f"a volume of depth {page.imagedepth} in one page",
                advice="save it with one slice a page",
            )
        if 0 in page.shape:
            raise damaged(self.where, expected="at least one pixel", found=f"a page of shape {page.shape}")

    def check_segments(self, size: int) -> int:
        """Check that all strips or tiles lie in the file; returns the bytes of the unpacked page."""
        page = self.page
        expected = math.prod(page.chunked)
        offsets, counts = page.dataoffsets[:expected], page.databytecounts[:expected]
        present = min(len(offsets), len(counts))
        if present < expected:
            raise damaged(self.where, expected=f"{expected} strips or tiles of pixels", found=str(present))
        if min(offsets) <= 0 or min(counts) <= 0:
            raise damaged(self.where, expected="strips or tiles with data", found="one without")
        end = max(map(sum, zip(offsets, counts, strict=True)))
        if end > size:
            found = f"a file of {size} bytes, cut off"
            raise damaged(self.where, expected=f"pixels up to byte {end}", found=found)
        samples, bits = int(page.samplesperpixel), int(page.bitspersample)
        if page.is_tiled:
            samples = samples if page.planarconfig == 1 else 1
            needed = -(-expected * int(page.tilewidth) * int(page.tilelength) * samples * bits // 8)
        else:
            needed = -(-int(page.imagewidth) * samples * bits // 8) * int(page.imagelength)
        stored = min(sum(counts), size)
        check_plausible(self.where, needed=needed, stored=stored, packed=page.compression != 1)
        return needed

    def read(self) -> Pixels:
        """The pixels upright, (H, W) in native byte order."""
        page = self.page
        pixels = page.asarray(maxworkers=1)
        if page.photometric == _PALETTE:
            colours = np.asarray(page.colormap)
            if pixels.ndim != 2 or colours.ndim != 2 or not np.all(colours == colours[0]):
                raise InputError(
                    where=self.where,
                    expected="greyscale",
                    found="a palette of colours",
                    advice="save it as greyscale without a colour table",
                )
            grey = colours[0].astype(np.uint16)
            high = grey >> 8
            if np.array_equal(grey, high << 8) or np.array_equal(grey, high * 257):
                grey = high.astype(np.uint8)  # an 8-bit palette; TIFF has only 16-bit colour tables
            pixels = grey[pixels]
        elif "S" in page.axes:
            samples = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
            pixels = one_channel(samples, self.where, extra=len(page.extrasamples))
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return upright(pixels, self.orientation)
