"""How a DICOM file lies on disk (PS3.5, section 7; PS3.10, section 7): walked before anything is parsed.

The library makes an object of every element and item that it meets. The walk counts them, says where the
pixels lie, and refuses what is compressed, so that the library is only ever given a header of bounded size.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from longexposure.errors import InputError
from longexposure.io.budget import ALWAYS_BYTES
from longexposure.io.checks import damaged

PREAMBLE = 128
MAGIC = b"DICM"

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
"""The transfer syntaxes in which pixels lie as they are."""

PIXEL_TAGS = {0x7FE00010: "", 0x7FE00008: "f4", 0x7FE00009: "f8"}
"""Pixel Data, Float Pixel Data, Double Float Pixel Data, and the type of the latter two."""

_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length has 32 bits."""
_UNDEFINED = 2**32 - 1
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ELEMENT_BYTES = 1000
"""What the library keeps of an element or item, beside its value."""
_MOST_DEPTH = 64
_FRAMES, _ROWS, _COLUMNS, _ALLOCATED = 0x00280008, 0x00280010, 0x00280011, 0x00280100
_DECLARING = (_FRAMES, _ROWS, _COLUMNS, _ALLOCATED)


class DicomLayout(NamedTuple):
    """Where the parts of a file lie.

    Attributes:
        syntax: the UID of its transfer syntax.
        has_preamble: whether it begins as PS3.10 says, with a preamble.
        pixel_tag: of the pixels.
        pixel_vr: their value representation, nothing in implicit files.
        start: first byte of the element that holds the pixels.
        value: first byte of the pixels.
        end: byte behind them.
        last: byte behind the last element.
    """

    syntax: str
    has_preamble: bool
    pixel_tag: int
    pixel_vr: str
    start: int
    value: int
    end: int
    last: int

    @property
    def order(self) -> str:
        return ">" if self.syntax == BIG else "<"

    @property
    def explicit(self) -> bool:
        return self.syntax != IMPLICIT

    def swaps(self, allocated: int) -> bool:
        """Whether samples of so many bits lie in words of 16 bits, the second of two first (PS3.5, 8.1.1)."""
        return allocated == 8 and self.syntax == BIG and self.pixel_vr == "OW"


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts so is DICOM: with preamble, or bare as older programs write it."""
    if start[PREAMBLE : PREAMBLE + 4] == MAGIC:
        return True
    if start[:4] in (b"\2\0\0\0", b"\2\0\1\0", b"\2\0\2\0"):  # file meta information, the preamble missing
        return start[4:6] in (b"UL", b"OB", b"UI")
    little, big = start[:2] == b"\x08\0", start[:2] == b"\0\x08"
    element = int.from_bytes(start[2:4], "little" if little else "big")
    if not (little or big) or len(start) < 12 or element > 0x18:
        return False
    if start[4:6] in (b"UL", b"CS", b"UI", b"DA", b"TM"):
        return True
    return little and start[6:8] == b"\0\0" and 0 < start[4] <= 64 and start[5] == 0


def layout_of(file: BinaryIO, size: int, where: str) -> DicomLayout:
    """Walk the elements of a file to its end.

    Raises:
        InputError: cut off, contradicting itself, compressed, without pixels, or with more elements beside
            them than memory is meant for.
    """
    file.seek(0)
    has_preamble = file.read(PREAMBLE + 4)[PREAMBLE:] == MAGIC
    walk = _Walk(file, size, where)
    walk.at = PREAMBLE + 4 if has_preamble else 0
    syntax = walk.meta()
    return walk.elements(syntax)._replace(has_preamble=has_preamble)


def header_bytes(file: BinaryIO, layout: DicomLayout) -> bytes:
    """The file without the element that holds its pixels."""
    file.seek(0)
    before = file.read(layout.start)
    file.seek(layout.end)
    return before + file.read(layout.last - layout.end)


class _Element(NamedTuple):
    tag: int
    vr: bytes
    length: int
    value: int


class _Walk:
    """One pass over the elements of a file."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self.file, self.size, self.where = file, size, where
        self.at = self.count = 0
        self.facts: dict[int, bytes] = {}

    def meta(self) -> str:
        """The transfer syntax of the file meta information (group 2), or as the first element looks."""
        syntax = ""
        while self.at < self.size:
            start = self.at
            group = self._bytes(2)
            self.at = start
            if group != b"\2\0":
                break
            element = self.element("<", explicit=True)
            if element.tag == 0x00020010:
                syntax = self._value(element, most=64).rstrip(b"\0 ").decode("latin-1")
            self._skip(element)
        if syntax == "":
            start = self.at
            head = self._bytes(8)
            self.at = start
            little = head[1] == 0
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            syntax = (EXPLICIT if little else BIG) if explicit else IMPLICIT
        if syntax not in (IMPLICIT, EXPLICIT, BIG):
            from pydicom.uid import UID

            name = UID(syntax).name
            raise self._compressed(f"transfer syntax {name if name != syntax else f'{syntax[:64]!r}'}")
        return syntax

    def elements(self, syntax: str) -> DicomLayout:
        """All elements; those of sequences of undefined length are met one by one."""
        order = ">" if syntax == BIG else "<"
        inside: list[bool] = []  # of each sequence of undefined length that is open: explicit elements
        found: DicomLayout | None = None
        explicit, last = syntax != IMPLICIT, self.at
        while self.size - self.at >= 8:
            start = self.at
            element = self.element(order, explicit=explicit)
            if found is not None and not inside and element.tag < found.pixel_tag:
                break  # bytes behind the last element
            self.count += 1
            if element.tag >> 16 == 0xFFFE:
                if not inside:
                    raise damaged(self.where, expected="elements", found=f"an item outside, at byte {start}")
                explicit = inside.pop() if element.tag == _SEQUENCE_END else explicit
            elif element.length == _UNDEFINED:
                inside.append(explicit)
                explicit = self._open(element, explicit=explicit, depth=len(inside))
            else:
                found = found or self._met(element, syntax, start=start, outside=not inside)
                self._skip(element)
            last = last if inside else self.at
        if inside:
            raise damaged(self.where, expected="sequences that end", found=f"{self.size} bytes, cut off")
        if found is None:
            raise self._without_pixels()
        found = found._replace(last=last)
        self._check_size(found)
        return found

    def _open(self, element: _Element, *, explicit: bool, depth: int) -> bool:
        """Whether the elements in a sequence of undefined length are explicit."""
        if element.tag in PIXEL_TAGS and depth == 1:
            raise self._compressed("pixels in fragments")
        if depth > _MOST_DEPTH:
            expected = f"sequences nested at most {_MOST_DEPTH} deep"
            raise damaged(self.where, expected=expected, found="deeper ones")
        return explicit and element.vr != b"UN"

    def _met(self, element: _Element, syntax: str, *, start: int, outside: bool) -> DicomLayout | None:
        """Where the pixels lie, if the element holds them; what declares their size is kept."""
        if element.tag in _DECLARING and outside and element.length <= 16:
            self.facts[element.tag] = self._value(element)
        if element.tag not in PIXEL_TAGS or not outside:
            return None
        end = element.value + element.length
        return DicomLayout(
            syntax, True, element.tag, element.vr.decode("latin-1"), start, element.value, end, end
        )

    def element(self, order: str, *, explicit: bool) -> _Element:
        """The head of the element that begins here; then the position is that of its value."""
        head = self._bytes(8)
        group, number, length = struct.unpack(order + "HHI", head)
        tag, vr = group << 16 | number, b""
        if explicit and group != 0xFFFE:
            vr = head[4:6]
            if not (vr.isalpha() and vr.isupper()):
                found = f"{vr!r} in element ({group:04x},{number:04x})"
                raise damaged(self.where, expected="a value representation", found=found)
            if vr in _LONG:
                (length,) = struct.unpack(order + "I", self._bytes(4))
            else:
                (length,) = struct.unpack(order + "H", head[6:])
        return _Element(tag, vr, length, self.at)

    def _value(self, element: _Element, *, most: int = 16) -> bytes:
        value = self._bytes(min(element.length, most))
        self.at = element.value
        return value

    def _skip(self, element: _Element) -> None:
        end = element.value + element.length
        if element.length == _UNDEFINED or end > self.size:
            what = "pixels" if element.tag in PIXEL_TAGS else f"element {element.tag:08x}"
            found = f"a file of {self.size} bytes, cut off"
            raise damaged(self.where, expected=f"{what} up to byte {end}", found=found)
        self.at = end

    def _bytes(self, length: int) -> bytes:
        self.file.seek(self.at)
        data = self.file.read(length)
        if len(data) < length:
            found = f"a file of {self.size} bytes, cut off"
            raise damaged(self.where, expected=f"an element up to byte {self.at + length}", found=found)
        self.at += length
        return data

    def _check_size(self, layout: DicomLayout) -> None:
        """Refuse fewer pixels than are declared, and elements that take more memory than they are worth."""
        stored, declared = layout.end - layout.value, self._declared(layout.order, layout.pixel_tag)
        if stored < declared:
            raise damaged(self.where, expected=f"{declared} bytes of pixels", found=str(stored))
        beside = layout.last - stored
        if self.count * _ELEMENT_BYTES + 2 * beside > ALWAYS_BYTES + 4 * declared:
            raise InputError(
                where=self.where,
                expected="a DICOM header that is not much longer than its pixels",
                found=f"{self.count} elements in {beside} bytes beside {declared} bytes of pixels",
                advice="if the file is sound, save it without what is not pixels",
            )

    def _declared(self, order: str, pixel_tag: int) -> int:
        """Bytes of the pixels that the header declares."""
        sizes = []
        for tag in (_ROWS, _COLUMNS, _ALLOCATED):
            value = self.facts.get(tag, b"")
            sizes.append(struct.unpack(order + "H", value)[0] if len(value) == 2 else 0)
        frames = self.facts.get(_FRAMES, b"1").strip(b"\0 ") or b"1"
        count = int(frames) if frames.isdigit() else 0
        bits = {0x7FE00008: 32, 0x7FE00009: 64}.get(pixel_tag, sizes[2])
        if not (sizes[0] and sizes[1] and bits and count):
            found = f"{count} of {sizes[1]} x {sizes[0]} pixels of {bits} bits"
            raise damaged(self.where, expected="at least one pixel", found=found)
        return -(-sizes[0] * sizes[1] * count * bits // 8)

    def _compressed(self, found: str) -> InputError:
        return InputError(
            where=self.where,
            expected="DICOM pixels that are not compressed",
            found=found,
            advice="have the program that exports it write it uncompressed, or unpack it (dcmdjpeg, "
            "gdcmconv --raw)",
        )

    def _without_pixels(self) -> InputError:
        return InputError(
            where=self.where,
            expected="a DICOM image",
            found="a DICOM file without pixels, such as a directory, a report or a plan",
            advice="name the image files themselves",
        )
