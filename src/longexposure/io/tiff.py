"""TIFF and BigTIFF: every page one image of the stack."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import check_finite, check_plausible, damaged, one_channel, upright, wrong_type
from longexposure.io.record import radiograph_of, record_text, stated_resolution
from longexposure.radiograph import Pixels, Polarity, Radiograph, Resolution, Source

if TYPE_CHECKING:
    import tifffile

CLASSIC_BYTES = 2**32 - 2**26
"""Pixels beyond this go into a BigTIFF: offsets of a classic TIFF have 32 bits; tags need room too."""

_MINISWHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_PHOTOMETRIC = (0, 1, 2, 3, 6)
_UNITS: dict[int, Literal["none", "inch", "cm"]] = {1: "none", 2: "inch", 3: "cm"}
_REDUCED_OR_MASK = 0b101
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF or BigTIFF of either byte order."""
    return start[:4] in _SIGNATURES


def read_tiff(file: BinaryIO, source: Source) -> Radiograph:
    """Read all pages of a TIFF; thumbnails and masks among them are left out.

    Taken: 8- to 16-bit unsigned and 32-bit float, strips or tiles, every compression that the
    library reads, MinIsWhite, colour with all channels equal, palettes of greys, orientation,
    ImageJ, OME and tifffile files with one axis beside y and x. Tags other than resolution,
    description, orientation and photometric interpretation are not carried over.

    Raises:
        InputError: damaged, cut off, or holding something else, with the way out.
    """
    import tifffile

    where = source.path
    size = file.seek(0, os.SEEK_END)
    count = _count_directories(file, size, where)
    with contextlib.ExitStack() as stack:
        log, silence = logging.getLogger("tifffile"), logging.Filter("nothing")
        log.addFilter(silence)  # what the library says is checked here and reported as one error
        stack.callback(log.removeFilter, silence)
        file.seek(0)
        tif = stack.enter_context(tifffile.TiffFile(file, name="image"))
        if len(tif.pages) != count:
            raise damaged(where, expected=f"{count} pages", found=f"{len(tif.pages)} that can be read")
        pages = [_Page(tif.pages.get(index), where) for index in range(count)]
        pages = [page for page in pages if not page.is_reduced_or_mask] or pages
        planes = _planes_promised(tif, where)
        _check_pages(pages, size, where)
        pixels = _stack(pages, file, planes, where)
        first = pages[0]
        text, resolution = first.text, first.resolution
    check_finite(pixels, where)
    return radiograph_of(
        pixels,
        source,
        text=text,
        resolution=resolution,
        rounded=lambda exact: _from_tags(_as_tags(exact)),
        orientation=first.orientation,
        polarity=first.polarity,
    )


def write_tiff(radiograph: Radiograph, file: BinaryIO) -> None:
    """Write every image as one uncompressed page, values, polarity and resolution as they are.

    A stack of one image comes back as a single image. Pixels without resolution tags but with a
    known pitch get the tags of that pitch.
    """
    import tifffile

    resolution = _as_tags(stated_resolution(radiograph))
    text = record_text(radiograph, resolution=_from_tags(resolution), polarity=radiograph.polarity)
    with tifffile.TiffWriter(file, bigtiff=radiograph.pixels.nbytes > CLASSIC_BYTES) as tif:
        tif.write(
            radiograph.pixels,
            photometric="miniswhite" if radiograph.polarity == "white-is-zero" else "minisblack",
            resolution=resolution[:2] if resolution else None,
            resolutionunit=resolution[2] if resolution else None,
            description=text.encode() or None,
            metadata=None,
            software=False,
            contiguous=False,
        )


def _count_directories(file: BinaryIO, size: int, where: str) -> int:
    """Follow the chain of pages to its end (TIFF 6.0, section 2), which libraries do not insist on."""
    file.seek(0)
    head = file.read(4)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    start, number, entry, link = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
    seen: set[int] = set()
    at = start
    while True:
        (offset,) = _unpack(order + link, file, at, size=size, where=where)
        if offset == 0:
            break
        if offset in seen:
            raise damaged(where, expected="a chain of pages that ends", found="one that runs in a circle")
        seen.add(offset)
        (tags,) = _unpack(order + number, file, offset, size=size, where=where)
        at = offset + struct.calcsize(order + number) + tags * entry
    if not seen:
        raise damaged(where, expected="at least one page", found="none")
    return len(seen)


def _unpack(layout: str, file: BinaryIO, offset: int, *, size: int, where: str) -> tuple[Any, ...]:
    end = offset + struct.calcsize(layout)
    if end > size:
        raise damaged(where, expected=f"page data up to byte {end}", found=f"a file of {size} bytes, cut off")
    file.seek(offset)
    return struct.unpack(layout, file.read(end - offset))


def _planes_promised(tif: tifffile.TiffFile, where: str) -> int:
    """How many images the metadata of ImageJ, OME, tifffile or MetaMorph speak of, 0 without such.

    A series of them may have one axis beside y, x and samples.
    """
    if not (tif.is_imagej or tif.is_ome or tif.is_shaped or tif.is_stk):
        return 0
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
    promised = 0
    for series, _ in several:
        long = [n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1]
        if len(long) > 1:
            raise InputError(
                where=where,
                expected="one image or one stack of images",
                found=f"{len(long) + 2} dimensions: axes {series.axes}, shape {series.shape}",
                advice="export one stack at a time",
            )
        promised += long[0] if long else 1
    return promised


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


def _stack(pages: list[_Page], file: BinaryIO, planes: int, where: str) -> Pixels:
    """All images upright: (H, W) for one, (N, H, W) for more.

    Where the metadata promise more `planes` than there are pages, they lie behind one another after a single
    page, as ImageJ writes stacks of many gigabytes.
    """
    first = pages[0]
    if planes <= len(pages):
        image = first.read()
        if len(pages) == 1:
            return image
        pixels = np.empty((len(pages), *image.shape), image.dtype)
        pixels[0] = image
        for index, page in enumerate(pages[1:], start=1):
            pixels[index] = page.read()
        return pixels
    page = first.page
    simple = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    simple = simple and page.samplesperpixel == 1 and page.photometric != _PALETTE
    if len(pages) > 1 or page.is_tiled or page.bitspersample not in (8, 16, 32) or not simple:
        raise damaged(where, expected=f"{planes} planes, as its metadata say", found=f"{len(pages)} pages")
    shape = (planes, *first.shape)
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    start, count = page.dataoffsets[0], math.prod(shape)
    behind = file.seek(0, os.SEEK_END) - start
    check_plausible(where, needed=count * dtype.itemsize, stored=behind, packed=False)
    file.seek(start)
    stored = np.frombuffer(file.read(count * dtype.itemsize), dtype=dtype).reshape(shape)
    return np.stack([upright(image, first.orientation) for image in stored.astype(first.dtype)])


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
    def text(self) -> str:
        """The first description; the library's own note on the shape is no text of the source."""
        text = str(self.page.description)
        return "" if self.page.is_shaped and text == self.page.shaped_description else text

    @property
    def resolution(self) -> Resolution | None:
        """As the tags say."""
        x, y, unit = (self.page.tags.valueof(code) for code in (282, 283, 296))
        return _from_tags((x, y, unit))

    def check_kind(self) -> None:
        """Refuse sample types, colour models and volumes that are no greyscale image."""
        page = self.page
        bits, kind = page.bitspersample, int(page.sampleformat)
        unsigned = kind in (1, 4) and bits in (8, 10, 12, 14, 16)
        if page.dtype is None or not (unsigned or (kind == 3 and bits == 32)):
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


_Tags = tuple[tuple[int, int], tuple[int, int], int]


def _from_tags(tags: tuple[Any, Any, Any] | None) -> Resolution | None:
    """Resolution from tags 282, 283 and 296; 1 to 1 without a unit says nothing and is None."""
    if tags is None or not all(isinstance(value, tuple) and len(value) == 2 for value in tags[:2]):
        return None
    (nx, dx), (ny, dy), unit = tags
    if not nx or not ny or not dx or not dy:
        return None
    resolution = Resolution(x=nx / dx, y=ny / dy, unit=_UNITS.get(2 if unit is None else int(unit), "none"))
    return None if resolution == Resolution(1.0, 1.0) else resolution


def _as_tags(resolution: Resolution | None) -> _Tags | None:
    """The tags' fractions of 32-bit numbers, None where they cannot hold the values."""
    if resolution is None:
        return None
    most, fractions = 2**32 - 1, []
    for value in (resolution.x, resolution.y):
        if not math.isfinite(value) or not 1 / most <= value <= most:
            return None
        near = Fraction(value).limit_denominator(max(1, min(most, int(most / value))))
        fractions.append((near.numerator, near.denominator))
    x, y = fractions
    return x, y, {name: number for number, name in _UNITS.items()}[resolution.unit]
