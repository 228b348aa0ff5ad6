"""The tags of a TIFF as they stand in the file (TIFF 6.0, section 2; BigTIFF; Exif): read and laid out."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NamedTuple

from longexposure.errors import InputError
from longexposure.io.checks import damaged

SIZES = {
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
    16: 8,
    17: 8,
    18: 8,
    13: 4,
}
"""Bytes of one value of each type."""

_LETTERS = {1: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}

ASCII, SHORT, LONG, RATIONAL, LONG8 = 2, 3, 4, 5, 16

EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
INNER = (EXIF, GPS, INTEROPERABILITY)
"""Tags whose value is the place of another directory, which is carried over with it."""

DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ICC = 270, 282, 283, 296, 34675
SUB_IFDS = 330

OF_THE_PIXELS = frozenset((
    *(256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 288, 289, 292, 293, 317, 320),
    *(322, 323, 324, 325, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    *(32997, 32998, 50674),
))  # fmt: skip
"""Tags that say how the pixels lie in the file, which the writer says anew."""

OF_PLACES = {
    33628: "MetaMorph (UIC1) tag",
    33629: "MetaMorph (UIC2) tag",
    33630: "MetaMorph (UIC3) tag",
    33631: "MetaMorph (UIC4) tag",
    34412: "Zeiss LSM tag",
    65324: "NDPI tag",
    65325: "NDPI tag",
    65420: "NDPI tag",
    65426: "NDPI tag",
    65432: "NDPI tag",
}
"""Tags of other programs that point into their own file; in another one they would point at anything."""


MOST_BYTES, MOST_TAGS = 2**25, 2**18
"""So much of a file's tags is carried over."""


class Layout(NamedTuple):
    """Byte order ("<", ">"), and whether it is a BigTIFF."""

    order: Literal["<", ">"]
    big: bool

    @property
    def place(self) -> str:
        """Format of a place in the file."""
        return self.order + ("Q" if self.big else "I")

    @property
    def number(self) -> str:
        """Format of the number of a directory's entries."""
        return self.order + ("Q" if self.big else "H")

    @property
    def inline(self) -> int:
        """Bytes of a value that stands in the entry itself."""
        return 8 if self.big else 4

    @property
    def entry(self) -> int:
        """Bytes of an entry."""
        return 20 if self.big else 12

    @property
    def header(self) -> bytes:
        """The file's start up to the place of its first directory."""
        mark = b"II" if self.order == "<" else b"MM"
        return mark + (
            struct.pack(self.order + "HHH", 43, 8, 0) if self.big else struct.pack(self.order + "H", 42)
        )

    def tag(self, code: int, kind: int, values: Sequence[int]) -> Tag:
        """A tag of whole numbers, or of fractions given in pairs."""
        number = len(values) // 2 if kind == RATIONAL else len(values)
        return Tag(code, kind, number, struct.pack(self.order + _LETTERS[kind] * number, *values))


@dataclass(frozen=True)
class Tag:
    """One tag: number, type, number of values, and these as they stand in the file, in its byte order.

    `inner` are the tags of the directory that the value of an `INNER` tag points to.
    """

    code: int
    kind: int
    count: int
    value: bytes
    inner: tuple[Tag, ...] = ()

    def numbers(self, order: str) -> tuple[int, ...]:
        """The values of whole numbers, those of fractions in pairs; nothing for other types."""
        letter = _LETTERS.get(self.kind)
        return struct.unpack(order + letter * self.count, self.value) if letter else ()


class Directories:
    """The directories of one file; a value that several of them share is taken from its bytes once."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.file = file
        self.where = where
        self.size = file.seek(0, os.SEEK_END)
        start = self._bytes(0, 4)
        self.layout = Layout("<" if start[:2] == b"II" else ">", start[2:] in (b"+\0", b"\0+"))
        self.lost: set[int] = set()
        self._tags: dict[Tag, Tag] = {}
        self._values: dict[tuple[int, int], bytes] = {}
        self._taken = 0

    def tags(self, place: int, *, inner_of: int = 0) -> tuple[Tag, ...]:
        """The tags of a directory; those that are damaged or too many are `lost`."""
        layout = self.layout
        (count,) = self._unpack(layout.number, place)
        start = place + struct.calcsize(layout.number)
        entries = self._bytes(start, count * layout.entry)
        found = []
        for at in range(0, len(entries), layout.entry):
            code, kind, number = struct.unpack_from(
                layout.order + ("HHQ" if layout.big else "HHI"), entries, at
            )
            size = SIZES.get(kind, 0) * number
            inline = entries[at + layout.entry - layout.inline : at + layout.entry]
            if code in OF_THE_PIXELS:
                continue
            if code in INNER:
                found += self._inner(code, kind, inline, inner_of)
                continue
            value: bytes | None = inline[:size]
            if size > layout.inline:
                value = self._value(struct.unpack(layout.place, inline)[0], size)
            if not value or len(self._tags) > MOST_TAGS:
                self.lost.add(code)
                continue
            tag = Tag(code, kind, number, value)
            found.append(self._tags.setdefault(tag, tag))
        return tuple(found)

    def _inner(self, code: int, kind: int, value: bytes, inner_of: int) -> list[Tag]:
        """A tag and the directory it points to, as deep as Exif has them."""
        known = (EXIF, GPS) if inner_of == 0 else (INTEROPERABILITY,) if inner_of == EXIF else ()
        letter = {LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}.get(kind)
        if code in known and letter:
            with contextlib.suppress(InputError, struct.error):  # one that is cut off
                (place,) = struct.unpack_from(self.layout.order + letter, value)
                if tags := self.tags(place, inner_of=code):
                    return [Tag(code, LONG, 1, b"", tags)]
        self.lost.add(code)
        return []

    def _value(self, at: int, size: int) -> bytes | None:
        """The bytes of a value, None where it is not in the file, or all together would be too many."""
        if at + size > self.size:
            return None
        if (at, size) not in self._values:
            self._taken += size
            if self._taken > MOST_BYTES:
                return None
            self._values[at, size] = self._bytes(at, size)
        return self._values[at, size]

    def _unpack(self, layout: str, at: int) -> tuple[Any, ...]:
        return struct.unpack(layout, self._bytes(at, struct.calcsize(layout)))

    def _bytes(self, at: int, size: int) -> bytes:
        if at + size > self.size:
            found = f"a file of {self.size} bytes, cut off"
            raise damaged(self.where, expected=f"page data up to byte {at + size}", found=found)
        self.file.seek(at)
        return self.file.read(size)


def directory_bytes(
    tags: Sequence[Tag], layout: Layout, *, at: int, shared: dict[bytes, int], following: int | None = None
) -> bytes:
    """A directory with its values behind it, to stand at byte `at`, which is even.

    Args:
        tags: in any order; those of one number stay in theirs.
        layout: of the file.
        at: where it will stand.
        shared: places of values that were laid out before; long ones of this directory are added.
        following: place of the next directory; None is right behind this one's values, 0 is none.
    """
    tags = sorted(tags, key=lambda tag: tag.code)
    pointer = LONG8 if layout.big else LONG
    values_at = at + struct.calcsize(layout.number) + len(tags) * layout.entry + struct.calcsize(layout.place)
    entries, values = bytearray(struct.pack(layout.number, len(tags))), bytearray()
    for tag in tags:
        value, place = tag.value, values_at + len(values)
        if tag.inner:
            place += place % 2
            values += bytes(place - values_at - len(values))
            values += directory_bytes(tag.inner, layout, at=place, shared=shared, following=0)
            value = struct.pack(layout.place, place)
        elif len(value) > layout.inline:
            if value not in shared:
                place += place % 2
                values += bytes(place - values_at - len(values)) + value
                shared[value] = place
            value = struct.pack(layout.place, shared[value])
        kind = pointer if tag.inner else tag.kind
        entries += struct.pack(layout.order + ("HHQ" if layout.big else "HHI"), tag.code, kind, tag.count)
        entries += value.ljust(layout.inline, b"\0")
    values += bytes((values_at + len(values)) % 2)
    entries += struct.pack(layout.place, values_at + len(values) if following is None else following)
    return bytes(entries + values)
