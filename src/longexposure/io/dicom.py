"""Reading DICOM and DICONDE (ASTM E2339), single and multi-frame, whose pixels are not compressed."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import damaged, wrong_type
from longexposure.io.dicom_layout import PIXEL_TAGS, DicomLayout, header_bytes, layout_of
from longexposure.io.record import fields_of, radiograph_of
from longexposure.radiograph import Pages, Pixels, Polarity, Radiograph, Source, Step, Stored, computable
from longexposure.system import require

if TYPE_CHECKING:
    from pydicom import Dataset

CREATOR, GROUP = "LONGEXPOSURE", 0x0099
"""Private creator and group of the block that holds our record, in its first element."""

ICON, SIGNATURES, PADDING = 0x00880200, 0xFFFAFFFA, 0xFFFCFFFC
COMMENTS, SPACING, CHARACTERS = 0x00204000, 0x00280030, 0x00080005

_SPACINGS = (SPACING, 0x00181164, 0x00182010)
"""Pixel Spacing (of the object), Imager Pixel Spacing (of the detector), Nominal Scanned Pixel Spacing."""

_FACTS = {
    "component_id": 0x00100020,
    "component_name": 0x00100010,
    "component_manufactured": 0x00100030,
    "material": 0x00102160,
    "rescale_type": 0x00281054,
}
"""Texts. DICONDE gives the first four, which are the patient's in DICOM, these meanings (ASTM E2339)."""
_NUMBERS = {"tube_kv": 0x00180060, "tube_ma": 0x00181151}
_EXPOSURE_MS, _EXPOSURE_US, _SLOPE, _INTERCEPT = 0x00181150, 0x00188150, 0x00281053, 0x00281052
_WHEN = ((0x0008002A,), (0x00080022, 0x00080032), (0x00080023, 0x00080033))
"""Acquisition Date Time; date and time of acquisition; date and time of content."""


@dataclass(frozen=True, eq=False)
class DicomParts:
    """What a DICOM file has beside its grey values, and how these lie in it.

    Attributes:
        header: the file without its pixels.
        layout: where they lay.
        allocated: bits of a sample in the file.
        stored: of them, those that are the grey value's.
        high: number of the highest of these.
        extended: whether the bits above those of a negative value are set, as in a whole number of the
            allocated size.
        rest: bits that are none of the grey value's, such as an overlay's, as the samples hold them.
        text: the comment on the image, which is its description.
        description: of the radiograph that was read.
        pitch_um: as its own attributes say.
        exposure: the same.
        record: ours, nothing where there was none.
        history: of the radiograph that was read.
        checksum: of its pixels.
    """

    header: bytes
    layout: DicomLayout
    allocated: int
    stored: int
    high: int
    extended: bool = True
    rest: Pixels | None = None
    text: str = ""
    description: str = ""
    pitch_um: tuple[float, float] | None = None
    exposure: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""
    history: tuple[Step, ...] = ()
    checksum: int = 0

    def is_of(self, radiograph: Radiograph) -> bool:
        """Whether a radiograph is the one that was read: the same pixels, and nothing was done to them."""
        return radiograph.history == self.history and checksum(radiograph.pixels) == self.checksum


def checksum(pixels: Pixels) -> int:
    """Of grey values, their type and shape."""
    told = zlib.crc32(f"{pixels.dtype} {pixels.shape}".encode())
    for page in pixels if pixels.ndim == 3 else pixels[None]:
        told = zlib.crc32(np.ascontiguousarray(page).view(np.uint8).data, told)
    return told


def read_dicom(file: BinaryIO, source: Source, *, in_pages: bool = False) -> Radiograph:
    """Read all frames, as stored: neither rescale nor window is applied, MONOCHROME1 is not inverted.

    The exposure says `exposure_s`, `tube_kv`, `tube_ma`, `acquired`, `component_id`, `component_name`,
    `component_manufactured`, `material`, and `rescale_slope`, `rescale_intercept` and `rescale_type` where a
    rescale is no identity; keys only where the file says something.

    Raises:
        InputError: damaged, cut off, compressed, of colour, or without pixels, with the way out.
        ResourceError: pydicom is not installed.
    """
    require("pydicom", where=source.path)
    size = file.seek(0, os.SEEK_END)
    layout = layout_of(file, size, source.path)
    header = header_bytes(file, layout)
    head = Header(parsed(header), layout.order)
    notes = list[str]()
    frames = _Frames(file, head, layout, source.path)
    values, rest = frames.values(in_pages), frames.rest(in_pages)
    if frames.behind > 1:  # one byte makes the length even
        notes.append(f"{frames.behind} bytes behind the pixels")
    if size > layout.last:
        notes.append(f"{size - layout.last} bytes behind the last element")
    if head.raw(ICON) is not None:
        notes.append("the icon, a reduced copy")
    if head.raw(SIGNATURES) is not None:
        notes.append("digital signatures, which hold for the source only")
    pixels, offset = computable(values, where=source.path)
    text, pitch, exposure = head.text(COMMENTS), head.pitch_um(), head.exposure()
    record = head.record()
    told = fields_of(record)
    told = told and {**told, "exposure": {**exposure, **told["exposure"]}}
    radiograph = radiograph_of(
        pixels,
        source,
        text=text,
        told={"exposure": exposure, **told},
        resolution=None,
        pitch_um=pitch,
        rounded=lambda _: None,
        polarity=head.polarity(source.path),
    )
    parts = DicomParts(
        header=header,
        layout=layout,
        allocated=frames.allocated,
        stored=frames.stored,
        high=frames.high,
        extended=frames.extended,
        rest=rest,
        text=text,
        description=radiograph.description,
        pitch_um=pitch,
        exposure=exposure,
        record=record,
        history=radiograph.history,
        checksum=checksum(pixels),
    )
    bits = parts.stored if parts.stored < 8 * values.dtype.itemsize and values.dtype.kind in "iu" else 0
    stored = Stored(
        "dicom", pixels.shape, values.dtype.name, offset, bits=bits, parts=parts, notes=tuple(notes)
    )
    return dataclasses.replace(radiograph, stored=stored)


def swapped(data: bytes) -> bytes:
    """The bytes of every 16-bit word in the other order."""
    return np.frombuffer(data, np.uint16).byteswap().tobytes()


def in_um(millimetres: float) -> float:
    """A length without the last digits, which the conversion makes up."""
    return round(millimetres * 1000.0, 9)


def parsed(header: bytes) -> Dataset:
    """The data set of a header whose elements were counted."""
    from pydicom import dcmread

    return dcmread(io.BytesIO(header), force=True)


class Header:
    """Attributes of a data set, read from their bytes: the library warns of odd ones that it converts."""

    def __init__(self, dataset: Dataset, order: str) -> None:
        self.dataset, self.order = dataset, order

    def raw(self, tag: int) -> bytes | None:
        """The bytes of a value, empty for a sequence, None where there is none."""
        if tag not in self.dataset:
            return None
        value = self.dataset.get_item(tag).value
        if tag == CHARACTERS and not isinstance(value, bytes):  # which the library converts at once
            value = value if isinstance(value, str) else "\\".join(value or ())
            return value.encode("latin-1", "replace")
        return value if isinstance(value, bytes) else b""

    def text(self, tag: int) -> str:
        """A text without the blanks that fill it; letters of a set that is not known are shown as such."""
        value = (self.raw(tag) or b"").rstrip(b"\0 ")
        names = (self.raw(CHARACTERS) or b"").decode("latin-1").split("\\")
        return value.decode(_encoding(names[0].strip(" \0")), errors="replace").strip()

    def whole(self, tag: int, default: int = 0) -> int:
        """A 16-bit number."""
        value = self.raw(tag) or b""
        return int(struct.unpack(self.order + "H", value)[0]) if len(value) == 2 else default

    def decimals(self, tag: int) -> tuple[float, ...]:
        """Numbers that are written as text, none where one is no number."""
        try:
            numbers = tuple(float(each) for each in (self.raw(tag) or b"").decode("ascii").split("\\"))
        except ValueError:
            return ()
        return numbers if all(map(math.isfinite, numbers)) else ()

    def pitch_um(self) -> tuple[float, float] | None:
        """Pixel pitch (y, x) in um: rows apart, columns apart."""
        for tag in _SPACINGS:
            found = self.decimals(tag)
            if len(found) == 2 and min(found) > 0:
                y, x = map(in_um, found)
                return (y, x) if min(y, x) > 0 else None
        return None

    def polarity(self, where: str) -> Polarity:
        """What grey value zero is (raises InputError for colour)."""
        name, samples = self.text(0x00280004), self.whole(0x00280002, 1)
        if name not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
            raise InputError(
                where=where,
                expected="MONOCHROME1 or MONOCHROME2",
                found=f"{name or 'no photometric interpretation'}, {samples} sample(s) a pixel",
                advice="export it as greyscale",
            )
        return "white-is-zero" if name == "MONOCHROME1" else "black-is-zero"

    def exposure(self) -> dict[str, Any]:
        """What the file says of exposure and component, keys only where it says something."""
        facts: dict[str, Any] = {name: self.text(tag) for name, tag in _FACTS.items()}
        for name, tag in _NUMBERS.items():
            facts[name] = next(iter(self.decimals(tag)), None)
        exact, rounded = self.decimals(_EXPOSURE_US), self.decimals(_EXPOSURE_MS)
        facts["exposure_s"] = exact[0] / 1e6 if exact else rounded[0] / 1e3 if rounded else None
        moments = ("T".join(filter(None, map(self.text, tags))) for tags in _WHEN if self.text(tags[0]))
        facts["acquired"] = next(moments, None)
        slope, intercept = (self.decimals(tag) for tag in (_SLOPE, _INTERCEPT))
        if slope and intercept and (slope, intercept) != ((1.0,), (0.0,)):
            facts |= {"rescale_slope": slope[0], "rescale_intercept": intercept[0]}
        else:
            del facts["rescale_type"]
        return {name: value for name, value in facts.items() if value not in (None, "")}

    def record(self) -> str:
        """Our record, nothing where there is none."""
        at = record_block(self)
        return (self.raw(GROUP << 16 | at << 8 | 1) or b"").rstrip(b"\0 ").decode("latin-1") if at else ""


def record_block(head: Header) -> int:
    """The number of our block of private elements, 0 where there is none."""
    return next((at for at in range(0x10, 0x100) if head.text(GROUP << 16 | at) == CREATOR), 0)


def _encoding(name: str) -> str:
    """Python's name for a character set of DICOM (PS3.3, C.12.1.1.2)."""
    import codecs

    from pydicom.charset import python_encoding

    try:
        return codecs.lookup(python_encoding.get(name, "latin-1")).name
    except LookupError:
        return "latin-1"


class _Frames:
    """The frames of a file, and how their samples lie in it."""

    def __init__(self, file: BinaryIO, head: Header, layout: DicomLayout, where: str) -> None:
        self.file, self.layout = file, layout
        frames = head.text(0x00280008) or "1"
        self.shape = (int(frames), head.whole(0x00280010), head.whole(0x00280011))
        self.float = PIXEL_TAGS[layout.pixel_tag]
        self.signed = head.whole(0x00280103) == 1
        self.allocated = 8 * int(self.float[1:]) if self.float else head.whole(0x00280100)
        self.stored = self.allocated if self.float else head.whole(0x00280101, self.allocated)
        self.high = self.allocated - 1 if self.float else head.whole(0x00280102, self.stored - 1)
        if self.allocated not in (8, 16, 32, 64):
            raise wrong_type(where, f"{self.allocated}-bit samples")
        if not 0 < self.stored <= self.high + 1 <= self.allocated:
            found = f"{self.stored} bits up to bit {self.high} of {self.allocated}"
            raise damaged(where, expected="bits of a sample that lie in it", found=found)
        self.sample = np.dtype(layout.order + (self.float or f"u{self.allocated // 8}"))
        self.native = self.sample.newbyteorder("=")
        self.size = self.shape[1] * self.shape[2] * self.sample.itemsize
        self.plain = bool(self.float) or self.stored == self.allocated
        shift = self.high + 1 - self.stored
        self.shift, self.mask = self.native.type(shift), ((1 << self.stored) - 1) << shift
        self.extended, self.has_rest = self.plain, False
        if not self.plain:
            self._look()

    @property
    def behind(self) -> int:
        """Bytes behind the last frame."""
        return self.layout.end - self.layout.value - self.shape[0] * self.size

    @property
    def kind(self) -> np.dtype[Any]:
        """The type of the grey values."""
        return self.native if self.float else np.dtype(f"{'iu'[not self.signed]}{self.sample.itemsize}")

    def values(self, in_pages: bool) -> Pixels:
        """The grey values of all frames."""
        return Pages(self.shape, self.kind, lambda number: self._grey(self._raw(number))).held_unless(
            in_pages
        )

    def rest(self, in_pages: bool) -> Pixels | None:
        """Bits of the samples beside the grey values', such as an overlay's; None where all are 0."""
        if not self.has_rest:
            return None
        rest = Pages(self.shape, self.native, lambda number: self._rest(self._raw(number)))
        pixels = rest.held_unless(in_pages)
        return pixels[None] if pixels.ndim == 2 else pixels

    def _look(self) -> None:
        """Look through all frames for bits beside the grey values."""
        self.extended = not self.shift
        for raw in map(self._raw, range(self.shape[0])):
            self.has_rest = self.has_rest or bool(self._rest(raw).any())
            self.extended = self.extended and np.array_equal(raw, self._grey(raw).view(raw.dtype))
        self.has_rest = self.has_rest and not self.extended

    def _raw(self, number: int) -> Pixels:
        """The samples of a frame as they are, in native byte order."""
        start, odd = self.layout.value + number * self.size, 0
        if self.layout.swaps(self.allocated):
            odd = (start - self.layout.value) % 2
            self.file.seek(start - odd)
            data = swapped(self.file.read(odd + self.size + (odd + self.size) % 2))
        else:
            self.file.seek(start)
            data = self.file.read(self.size)
        samples = np.frombuffer(data, self.sample, offset=odd, count=self.shape[1] * self.shape[2])
        return samples.reshape(self.shape[1:]).astype(self.native)

    def _grey(self, raw: Pixels) -> Pixels:
        if self.plain:
            return raw.view(self.kind)
        sign = 1 << (self.stored - 1) if self.signed else 0
        found = ((raw & raw.dtype.type(self.mask)) >> self.shift) ^ raw.dtype.type(sign)
        return found.view(self.kind) - self.kind.type(sign)

    def _rest(self, raw: Pixels) -> Pixels:
        return raw & ~raw.dtype.type(self.mask)
