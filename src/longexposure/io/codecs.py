"""The size that a codec's own header declares, held against the strip or tile before anything is decoded.

Codecs of bytes (LZW, Deflate, PackBits, Zstandard, LZMA) are given an output of the right size by the library
and cannot pass it. Codecs of images allocate what their own header says, whatever the file's says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from longexposure.errors import InputError
from longexposure.io.checks import damaged

BYTE_CODECS = frozenset((1, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013))
"""Compressions of bytes (TIFF tag 259, several numbers each): none, LZW, Deflate, PackBits, LZMA, Zstd."""

TAKEN = "LZW, Deflate, PackBits, Zstandard, LZMA, JPEG, JPEG 2000, JPEG XR, PNG, WebP or LERC"

_SMALL_TILE = 2**20
"""Pixels of a tile that is taken on any page."""
_LESS_THAN_TILE = 4
"""Tiles may be this many times as large as the page that they hold."""
_PADDING = 16
"""JPEG blocks may stick out below the last strip."""
_J2K_TILE_PIXELS = 4096
_J2K_PRECINCTS = 1024


class Declared(NamedTuple):
    """What a codec's header says of its image."""

    width: int
    height: int
    samples: int = 1
    bits: int = 8


def check_segments(page: Any, file: BinaryIO, where: str) -> None:
    """Refuse a TIFF page whose codec is not taken, or declares another image than strip or tile.

    Args:
        page: an opened page of tifffile, all of whose strips or tiles lie in the file.
        file: the file it was opened from.
        where: its name.

    Raises:
        InputError: as said, with the way out.
    """
    compression = int(page.compression)
    height = int(page.tilelength) if page.is_tiled else min(int(page.rowsperstrip), int(page.imagelength))
    width = int(page.tilewidth) if page.is_tiled else int(page.imagewidth)
    samples = int(page.samplesperpixel) if page.planarconfig == 1 else 1
    area, whole = width * height, int(page.imagewidth) * int(page.imagelength)
    if area > max(_SMALL_TILE, _LESS_THAN_TILE * whole):
        found = f"tiles of {width} x {height} on a page of {page.imagewidth} x {page.imagelength}"
        raise damaged(where, expected="tiles that are not much larger than their page", found=found)
    if compression in BYTE_CODECS:
        return
    read = IMAGE_CODECS.get(compression)
    if read is None:
        raise InputError(
            where=where,
            expected=f"no compression, {TAKEN}",
            found=f"TIFF compression {compression}",
            advice="save it without compression, or with Deflate",
        )
    tables = page.jpegtables
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        declared = _declared(read, file.read(count))
        if declared is None or (tables is not None and jpeg_size(tables) is not None):
            raise damaged(where, expected="compressed pixels that say one size", found="none, or several")
        fits = declared.width <= width and declared.height <= height + _PADDING
        if not fits or declared.samples > samples + 1 or min(declared) < 1:
            expected = f"compressed pixels of {width} x {height} with {samples} sample(s), as the file says"
            found = f"{declared.width} x {declared.height} with {declared.samples} sample(s)"
            raise damaged(where, expected=expected, found=found)


def _declared(read: Callable[[bytes], Declared | None], data: bytes) -> Declared | None:
    try:
        return read(data)
    except (struct.error, IndexError, ValueError):  # cut off
        return None


def jpeg_size(data: bytes) -> Declared | None:
    """Frame header of a JPEG, None where it has none or several (ITU-T T.81, B.2.2)."""
    found: Declared | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # pixels, or padding before a marker
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 4)
            if found is not None:
                return None
            found = Declared(width, height, samples, bits)
        elif marker == 0xDC:  # the height comes after the pixels
            return None
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return found


def jpeg2000_size(data: bytes) -> Declared | None:
    """Image size of a JPEG 2000 codestream or JP2 file (ITU-T T.800, A.5.1 and I.5), None where it is odd.

    Odd are palettes, and tiles and precincts of a few pixels, which cost a decoder more than the pixels do.
    """
    if data[4:8] == b"jP  ":
        boxes = dict(_boxes(data))
        if b"pclr" in boxes.get(b"jp2h", b""):
            return None
        data = boxes[b"jp2c"]
    declared: Declared | None = None
    for marker, body in _j2k_markers(data):
        if marker == 0x51:
            if declared is not None:
                return None
            right, bottom, left, top, tile_width, tile_height, _, _, samples = struct.unpack_from(
                ">8IH", body, 2
            )
            declared = Declared(right - left, bottom - top, samples, (body[36] & 127) + 1)
            tiles = -(-right // tile_width) * -(-bottom // tile_height)
            if tiles > 16 + declared.width * declared.height // _J2K_TILE_PIXELS:
                return None
        elif marker in (0x52, 0x53) and not _precincts_are_large(marker, body, declared):
            return None
    return declared


def _precincts_are_large(marker: int, body: bytes, declared: Declared | None) -> bool:
    """Whether a coding style (COD or COC, A.6.1 and A.6.2) splits the image into few enough precincts."""
    if declared is None:
        return False
    if marker == 0x52:
        defined, style = body[0] & 1, body[5:]
    else:
        wide = declared.samples > 256
        defined, style = body[1 + wide] & 1, body[2 + wide :]
    levels, columns, rows = style[0], style[1] + 2, style[2] + 2
    if columns + rows < 6 or levels > 32:
        return False
    if not defined:
        return True
    total = 0
    for level, exponents in enumerate(style[5 : 6 + levels]):
        shift = levels - level
        width, height = (-(-side >> shift) for side in declared[:2])
        across = -(-abs(width) // (1 << (exponents & 15)))
        down = -(-abs(height) // (1 << (exponents >> 4)))
        total += across * down
    return total <= 64 + declared.width * declared.height // _J2K_PRECINCTS


def _j2k_markers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of the main header and of all tile-parts, pixels left out."""
    at, part, end = 2, 0, len(data)
    while at + 4 <= end:
        lead, marker, length = struct.unpack_from(">BBH", data, at)
        if lead != 0xFF:
            raise ValueError("no marker")
        if marker == 0xD9:
            return
        if marker == 0x93:  # the pixels of a tile-part
            if part <= at:
                return
            at = part
            continue
        body = data[at + 4 : at + 2 + length]
        if marker == 0x90:
            (size,) = struct.unpack_from(">I", body, 2)
            part = at + size if size else end
        yield marker, body
        at += 2 + length


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Boxes of a JP2 file by their type."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + size if size else len(data)
        if end < start:
            raise ValueError("a box without end")
        yield kind, data[start:end]
        at = end


def jpegxr_size(data: bytes) -> Declared | None:
    """Image size of a JPEG XR file (ITU-T T.832, 8.3 and A), None where container and image differ."""
    if data[:4] != b"II\xbc\x01":
        return None
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = dict(struct.unpack_from("<H6xI", data, at + 2 + 12 * index) for index in range(count))
    if 0xBCC2 in tags or 0xBCC0 not in tags:  # a plane of transparency; no image
        return None
    image = data[tags[0xBCC0] :]
    if image[:8] != b"WMPHOTO\0":
        return None
    width, height = struct.unpack_from(">HH" if image[10] & 128 else ">II", image, 12)
    if (width + 1, height + 1) != (tags.get(0xBC80), tags.get(0xBC81)):
        return None
    samples = {0: 1, 1: 3, 2: 3, 3: 3, 4: 4}.get(image[11] >> 4, 16)
    return Declared(width + 1, height + 1, samples)


def png_size(data: bytes) -> Declared | None:
    """Header of a PNG (W3C, 11.2.1)."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return Declared(width, height, {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour], bits)


def webp_size(data: bytes) -> Declared | None:
    """Canvas of a WebP file, still images only (RFC 9649)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Declared(width & 0x3FFF, height & 0x3FFF, 3)
    if kind == b"VP8L" and data[20] == 0x2F:
        (packed,) = struct.unpack_from("<I", data, 21)
        return Declared((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, 4)
    if kind == b"VP8X" and not data[20] & 2:  # no animation
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Declared(width, height, 4)
    return None


def lerc_size(data: bytes) -> Declared | None:
    """Header of a LERC blob of version 3 to 6, one band in all of the data (Esri, Lerc2)."""
    if data[:6] != b"Lerc2 ":
        return None
    version, _, height, width = struct.unpack_from("<iIii", data, 6)
    if not 3 <= version <= 6:
        return None
    depth = struct.unpack_from("<i", data, 22)[0] if version > 3 else 1
    (size,) = struct.unpack_from("<i", data, 34 if version > 3 else 30)
    return Declared(width, height, depth) if size >= len(data) else None


IMAGE_CODECS: dict[int, Callable[[bytes], Declared | None]] = {
    7: jpeg_size,
    33007: jpeg_size,
    33003: jpeg2000_size,
    33004: jpeg2000_size,
    33005: jpeg2000_size,
    34712: jpeg2000_size,
    22610: jpegxr_size,
    34934: jpegxr_size,
    34887: lerc_size,
    34927: webp_size,
    34933: png_size,
    50001: webp_size,
}
"""Compressions of images (TIFF tag 259) and what reads their header; others are refused."""
