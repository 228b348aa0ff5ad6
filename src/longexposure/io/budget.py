"""What containers promise, summed up before memory is taken for it: pages, tags, planes, tables.

A reader takes at most `RATIO` times the bytes of the pixels that a file declares, and `ALWAYS_BYTES` more.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

from longexposure.errors import InputError
from longexposure.io.checks import damaged

RATIO = 8
ALWAYS_BYTES = 48 * 2**20
"""Of 64 MB; the rest is for what the libraries keep whatever they read."""

_PAGE_BYTES = 6000
"""What the library keeps of a page, beside its pixels."""
_ELEMENT_BYTES = 1000
"""The same of an element of XML."""
_MOST_TAGS = 4096
"""Beyond it a page is taken for damaged."""

_TYPES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of a value by the type of its tag (TIFF 6.0, BigTIFF)."""

_BYTE_TYPES = (1, 2, 6, 7)
_WIDTH, _LENGTH, _BITS, _SAMPLES, _UIC2, _UIC1 = 256, 257, 258, 277, 33629, 33628
_COMPOUND_SHIFTS = (9, 12)
_CHUNKS, _CHUNK_BYTES = 2**16, 2**12
_OME_PLACES = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")


class Promise(NamedTuple):
    """What the headers of all pages declare."""

    pages: int
    declared: int
    """Bytes of their unpacked pixels."""

    samples: int
    """Grey values, or samples of colours, of all pages."""


def count_pages(file: BinaryIO, size: int, where: str) -> Promise:
    """Follow the chain of pages to its end (TIFF 6.0, section 2), which libraries do not insist on.

    Args:
        file: a TIFF or BigTIFF of either byte order.
        size: its bytes.
        where: its name.

    Raises:
        InputError: a chain that is cut off, runs in a circle or is empty, or pages and tags that would take
            more memory than the pixels they declare.
    """
    head = _bytes_at(file, 0, 4, size=size, where=where)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    start, number, entry, link = (8, "Q", "HHQ8s", "Q") if big else (4, "H", "HHI4s", "I")
    seen: set[int] = set()
    declared = samples = kept = 0
    at = start
    while True:
        (offset,) = struct.unpack(order + link, _bytes_at(file, at, 8 if big else 4, size=size, where=where))
        if offset == 0:
            break
        if offset in seen:
            raise damaged(where, expected="a chain of pages that ends", found="one that runs in a circle")
        seen.add(offset)
        (tags,) = struct.unpack(
            order + number, _bytes_at(file, offset, 8 if big else 2, size=size, where=where)
        )
        at = offset + (8 if big else 2)
        length = tags * struct.calcsize(order + entry)
        entries = struct.iter_unpack(order + entry, _bytes_at(file, at, length, size=size, where=where))
        at += length
        count, pixels, values = _page(list(entries), order) if tags <= _MOST_TAGS else (0, 0, 0)
        samples, declared = samples + count, declared + pixels
        kept += _PAGE_BYTES + values
        if kept > RATIO * declared + ALWAYS_BYTES:
            raise _too_much(where, f"{len(seen)} pages and their tags that take {kept} bytes", declared)
    if not seen:
        raise damaged(where, expected="at least one page", found="none")
    return Promise(len(seen), declared, samples)


def check_ome(text: str, promise: Promise, where: str) -> None:
    """Refuse OME metadata that speak of other planes than the file can have, before any are looked for.

    Args:
        text: the description of the first page, OME-XML or not.
        promise: what the pages declare; each may have up to 4 samples.
        where: the file.

    Raises:
        InputError: as said, or text that takes too much memory or defines words and dimensions of its own.
    """
    if not text.rstrip().endswith("OME>"):
        return
    planes = furthest = 0
    taken = 6 * len(text)

    def own(*_: object) -> None:
        raise InputError(
            where=where,
            expected="plain OME metadata",
            found="definitions or dimensions of its own in it",
            advice="save it as a plain multi-page TIFF",
        )

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal planes, furthest, taken
        taken += _ELEMENT_BYTES
        if taken > RATIO * promise.declared + ALWAYS_BYTES:
            raise _too_much(where, f"OME metadata that take {taken} bytes", promise.declared)
        if "ModuloAlong" in name:
            own()
        if name.endswith("Pixels"):
            planes += math.prod(abs(int(attributes.get(f"Size{axis}", 1))) for axis in "ZCT")
        if name.endswith("TiffData"):
            furthest = max(furthest, *(int(attributes.get(place, 0)) for place in _OME_PLACES))

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, own
    parser.Parse(text, True)
    if max(planes, furthest) > 4 * promise.pages:
        found = f"{max(planes, furthest)}, of which some are missing"
        raise damaged(where, expected=f"OME metadata of the planes in {promise.pages} page(s)", found=found)


def check_compound(file: BinaryIO, size: int, where: str) -> None:
    """Refuse a compound file whose tables are longer than the file ([MS-CFB], section 2.2).

    Raises:
        InputError: as said, or sectors of another size than the format has.
    """
    head = _bytes_at(file, 0, 512, size=size, where=where)
    shift, mini = struct.unpack_from("<HH", head, 30)
    (tables,) = struct.unpack_from("<I", head, 44)
    mini_tables, _, chained = struct.unpack_from("<III", head, 64)
    if shift not in _COMPOUND_SHIFTS or mini != 6:
        expected = "sectors of 512 or 4096 bytes, short ones of 64"
        raise damaged(where, expected=expected, found=f"2**{shift} and 2**{mini}")
    needed = (tables + mini_tables + chained) << shift
    if needed > size:
        raise damaged(where, expected=f"{needed} bytes of tables", found=f"a file of {size} bytes")


def check_png(file: BinaryIO, size: int, where: str) -> int:
    """Refuse a PNG that is far longer than its pixels; returns how many chunks it may have.

    Raises:
        InputError: as said.
    """
    head = _bytes_at(file, 0, 33, size=size, where=where)
    width, height, bits, colour = struct.unpack_from(">IIBB", head, 16)
    declared = width * height * (2 if bits == 16 else 1) * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    if size > declared * 5 // 4 + ALWAYS_BYTES // 4:
        raise _too_much(where, f"a file of {size} bytes", declared)
    return _CHUNKS + declared // _CHUNK_BYTES


def _page(entries: list[tuple[int, int, int, bytes]], order: str) -> tuple[int, int, int]:
    """Samples that a page declares, their bytes, and what its tags take in memory."""
    inline = (each for each in entries if _TYPES.get(each[1], 9) * each[2] <= len(each[3]))
    values = {code: _first(kind, value, order) for code, kind, count, value in inline if count}
    bits = values.get(_BITS, 8)
    planes = max((count for code, _, count, _ in entries if code in (_UIC1, _UIC2)), default=1)
    samples = values.get(_WIDTH, 0) * values.get(_LENGTH, 0) * values.get(_SAMPLES, 1) * max(1, planes)
    taken = 0
    for _, kind, count, value in entries:
        each = _TYPES.get(kind, 0)
        if each * count > len(value):  # inline values are part of the page
            taken += count * (4 if kind in _BYTE_TYPES else 36)
    return samples, samples * -(-bits // 8), taken


def _first(kind: int, value: bytes, order: str) -> int:
    letter = {3: "H", 4: "I", 16: "Q"}.get(kind, "B")
    return int(struct.unpack_from(order + letter, value)[0]) if len(value) >= struct.calcsize(letter) else 0


def _bytes_at(file: BinaryIO, offset: int, length: int, *, size: int, where: str) -> bytes:
    end = offset + length
    if end > size:
        raise damaged(where, expected=f"page data up to byte {end}", found=f"a file of {size} bytes, cut off")
    file.seek(offset)
    return file.read(length)


def _too_much(where: str, found: str, declared: int) -> InputError:
    return InputError(
        where=where,
        expected=f"at most {RATIO * declared + ALWAYS_BYTES} bytes beside {declared} bytes of pixels",
        found=found,
        advice="if the file is sound, save it without what is not pixels",
    )
