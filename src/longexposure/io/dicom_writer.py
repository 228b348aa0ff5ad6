"""Writing DICOM: the source's attributes as they stand, and what an image that was changed is derived from.

What makes an image a derived one: PS3.3, C.7.6.1.1.2 (Image Type), C.12.4.1 (source images, derivation) and
C.12.1.1.5 (contributing equipment).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import math
import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.errors import OutputError
from longexposure.io.dicom import (
    COMMENTS,
    CREATOR,
    GROUP,
    ICON,
    PADDING,
    SIGNATURES,
    SPACING,
    DicomParts,
    Header,
    checksum,
    in_um,
    parsed,
    record_block,
    swapped,
)
from longexposure.io.dicom_layout import EXPLICIT, IMPLICIT, PIXEL_TAGS
from longexposure.io.record import fields_of, record_json
from longexposure.radiograph import Radiograph, Step, ends_of
from longexposure.system import require

if TYPE_CHECKING:
    from pydicom import Dataset

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Of one frame; those of more have .2 (8 bits) or .3 (16 bits) behind it."""

_CLASS, _INSTANCE, _IMAGE_TYPE = 0x00080016, 0x00080018, 0x00080008
_DERIVATION, _SOURCES, _EQUIPMENT = 0x00082111, 0x00082112, 0x0018A001
_FRAME_TYPE, _SHARED, _EACH_FRAME, _FRAMES = 0x00089007, 0x52009229, 0x52009230, 0x00280008
_SMALLEST, _LARGEST = 0x00280106, 0x00280107
_PIXEL_DATA, _FLOAT_PIXELS = 0x7FE00010, 0x7FE00008
_LONGEST_DESCRIPTION, _LONGEST_COMMENT = 1024, 10240
_MOST_BYTES = 2**32 - 2
_DERIVED_FRAME = ("DERIVED", "SECONDARY")


def write_dicom(radiograph: Radiograph, file: BinaryIO, *, compress: str | None = None) -> None:
    """Write all frames, in the type, bits, byte order and transfer syntax of the source's DICOM.

    Where something was done to the grey values, the file is an image of its own, derived from the source.
    What comes from elsewhere becomes a secondary capture. Equal radiographs give equal bytes: identifiers are
    made of what is written, and no time of writing is.

    Args:
        radiograph: what is written.
        file: open for writing, empty.
        compress: of no effect, pixels lie as they are.

    Raises:
        OutputError: grey values that DICOM's whole numbers do not hold, more than 4 GB, or a history that
            cannot be written.
        ResourceError: pydicom is not installed.
    """
    require("pydicom", where="DICOM")
    stored = radiograph.stored if radiograph.stored and radiograph.stored.format == "dicom" else None
    parts: DicomParts | None = stored.parts if stored else None
    dtype = np.dtype(radiograph.dtype)
    own_type = stored is not None and radiograph.dtype == stored.dtype
    if not own_type and (dtype.kind == "f" or dtype.itemsize > 2):
        raise OutputError(
            where="DICOM",
            expected="8- or 16-bit grey values",
            found=str(dtype),
            advice="write a .tif, which takes 32-bit grey values",
        )
    samples = _Samples(radiograph, parts if own_type else None, dtype)
    if samples.nbytes > _MOST_BYTES:
        raise OutputError(
            where="DICOM",
            expected=f"at most {_MOST_BYTES} bytes of pixels",
            found=str(samples.nbytes),
            advice="write a .tif, which takes more",
        )
    dataset = parsed(parts.header) if parts else _capture(radiograph, samples)
    order = parts.layout.order if parts else "<"
    head = Header(dataset, order)
    record = _describe(radiograph, parts, head)
    for tag in (ICON, SIGNATURES, PADDING, *PIXEL_TAGS):
        dataset.pop(tag, None)
    if parts is None or not parts.is_of(radiograph):
        _derive(radiograph, parts, head, record=record)
    samples.describe(dataset)
    _write(dataset, samples, file, parts)


class _Samples:
    """Grey values as they are to lie in the file."""

    def __init__(self, radiograph: Radiograph, parts: DicomParts | None, dtype: np.dtype[Any]) -> None:
        self.radiograph, self.parts, self.dtype = radiograph, parts, dtype
        self.pages = radiograph.pixels if radiograph.pixels.ndim == 3 else radiograph.pixels[None]
        self.order = parts.layout.order if parts else "<"
        self.allocated = parts.allocated if parts else 8 * dtype.itemsize
        self.stored, self.high = (parts.stored, parts.high) if parts else (self.allocated, self.allocated - 1)
        self.least, self.greatest = ends_of(self.pages)
        if dtype.kind == "u" and self.stored < self.allocated and self.greatest >= 2**self.stored:
            self.stored, self.high = self.allocated, self.allocated - 1
        known = radiograph.stored
        self.rest = parts.rest if parts and known and known.shape == radiograph.pixels.shape else None

    @property
    def tag(self) -> int:
        return {"f4": _FLOAT_PIXELS, "f8": 0x7FE00009}.get(self.dtype.str[1:], _PIXEL_DATA)

    @property
    def nbytes(self) -> int:
        return math.prod(self.pages.shape) * self.allocated // 8

    def describe(self, dataset: Dataset) -> None:
        """Say of the samples what must fit them; what does already stays as it stands."""
        _, rows, columns = self.pages.shape
        numbers = {0x00280010: rows, 0x00280011: columns}
        if self.dtype.kind != "f":
            numbers |= {0x00280100: self.allocated, 0x00280101: self.stored, 0x00280102: self.high}
            numbers[0x00280103] = int(self.dtype.kind == "i")
        head = Header(dataset, self.order)
        for tag, value in numbers.items():
            if head.raw(tag) is None or head.whole(tag, -1) != value:
                put(dataset, tag, "US", value)
        polarity = "MONOCHROME1" if self.radiograph.polarity == "white-is-zero" else "MONOCHROME2"
        if head.text(0x00280004) != polarity:
            put(dataset, 0x00280004, "CS", polarity)
        if (head.text(_FRAMES) or "1") != str(len(self.pages)):
            put(dataset, _FRAMES, "IS", str(len(self.pages)))
            dataset.pop(_EACH_FRAME, None)  # which speaks of each of the old frames
        offset = self.radiograph.stored.offset if self.radiograph.stored else 0
        for tag, found in ((_SMALLEST, self.least), (_LARGEST, self.greatest)):
            if head.raw(tag) is not None and self.dtype.kind != "f" and self.dtype.itemsize <= 2:
                put(dataset, tag, "SS" if self.dtype.kind == "i" else "US", int(found) + offset)

    def frames(self) -> Iterator[bytes]:
        """The bytes of each frame."""
        convert = self.radiograph.stored.file_values if self.radiograph.stored else lambda page: page
        file_type = np.dtype(self.order + self.dtype.str[1:]) if self.dtype.kind == "f" else None
        plain = np.dtype(f"{self.order}u{self.allocated // 8}")
        mask, shift = (1 << self.stored) - 1, self.high + 1 - self.stored
        for index, page in enumerate(self.pages):
            values = np.ascontiguousarray(convert(page))
            if file_type is not None:
                yield values.astype(file_type).tobytes()
                continue
            raw = values.view(plain.newbyteorder("="))
            if self.stored < self.allocated and not (self.parts and self.parts.extended):
                raw = (raw & raw.dtype.type(mask)) << raw.dtype.type(shift)
                if self.rest is not None:
                    raw |= self.rest[index]
            yield raw.astype(plain).tobytes()


def put(dataset: Dataset, tag: int, vr: str, value: Any) -> None:
    """Set one attribute; its value is not judged, since the library's judgement is a warning."""
    from pydicom import DataElement, config

    dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _describe(radiograph: Radiograph, parts: DicomParts | None, head: Header) -> str:
    """Description, pitch and record into a data set; returns the record."""
    dataset, text = head.dataset, radiograph.description
    old = (parts.text, parts.description, parts.pitch_um) if parts else ("", "", None)
    described = old[0] if text == old[1] else ""
    if text != old[1]:
        dataset.pop(COMMENTS, None)
        if (
            text
            and text.isascii()
            and text.isprintable()
            and text == text.strip()
            and len(text) <= _LONGEST_COMMENT
        ):
            described = text
        if described:
            put(dataset, COMMENTS, "LT", described)
    pitch = old[2]
    if radiograph.pitch_um is not None and radiograph.pitch_um != old[2]:
        millimetres = [f"{side / 1000.0:.10g}" for side in radiograph.pitch_um]
        put(dataset, SPACING, "DS", millimetres)
        y, x = (in_um(float(side)) for side in millimetres)
        pitch = (y, x)
    told = radiograph
    if parts and radiograph.exposure == parts.exposure:
        told = dataclasses.replace(radiograph, exposure={})
    record = record_json(
        told, description=described, resolution=None, pitch_um=pitch, polarity=radiograph.polarity
    )
    if parts and parts.is_of(radiograph) and fields_of(record) == fields_of(parts.record):
        record = parts.record  # which names what that file was made from, not the file itself
    if at := record_block(head):
        for element in (0x10, *range(0x100)):
            dataset.pop(GROUP << 16 | (at if element == 0x10 else at << 8 | element), None)
    if record:
        dataset.private_block(GROUP, CREATOR, create=True).add_new(1, "UT", record)
    return record


def _derive(radiograph: Radiograph, parts: DicomParts | None, head: Header, *, record: str) -> None:
    """Say that this is an image of its own: new identifier, what it was made from, how, and with what."""
    from pydicom.dataset import Dataset

    dataset = head.dataset
    made = hashlib.sha256(record.encode())
    source = (head.text(_CLASS), head.text(_INSTANCE)) if parts else ("", "")
    if parts is None and not radiograph.history:
        return
    kinds = head.text(_IMAGE_TYPE).split("\\") if parts else []
    put(dataset, _IMAGE_TYPE, "CS", ["DERIVED", "SECONDARY", *kinds[2:]])
    steps = radiograph.history[len(parts.history) :] if parts else radiograph.history
    put(dataset, _DERIVATION, "ST", _derivation(head.text(_DERIVATION) if parts else "", steps))
    if parts is None:
        _add(dataset, _EQUIPMENT, [_equipment(steps)])
        return
    made.update(source[1].encode() + (radiograph.source.sha256.encode() if radiograph.source else b""))
    made.update(struct.pack("<I", checksum(radiograph.pixels)))
    put(dataset, _INSTANCE, "UI", uid(made.digest()))
    if all(source):
        item = Dataset()
        put(item, 0x00081150, "UI", source[0])
        put(item, 0x00081155, "UI", source[1])
        code = _code("121322", "Source image for image processing operation")
        put(item, 0x0040A170, "SQ", [code])
        _add(dataset, _SOURCES, [item])
    _add(dataset, _EQUIPMENT, [_equipment(steps)])
    for groups in (dataset.get(_SHARED), dataset.get(_EACH_FRAME)):
        for item in groups.value if groups is not None else ():
            _derive_frames(item)


def _derive_frames(item: Dataset) -> None:
    """Give the frame types in a functional group the words of the image's type."""
    for element in list(item):
        if element.VR != "SQ":
            continue
        for inner in element.value:
            if (kind := inner.get(_FRAME_TYPE)) is not None:
                kinds = [kind.value] if isinstance(kind.value, str) else list(kind.value or ())
                put(inner, _FRAME_TYPE, "CS", [*_DERIVED_FRAME, *kinds[2:]])


def _derivation(before: str, steps: Sequence[Step]) -> str:
    """In words what was done, behind what had been done before; cut at what the attribute may hold."""
    said = [before] if before else []
    for step in steps:
        told = [f"{name} {step.settings[name]}" for name in ("model", "strength") if name in step.settings]
        said.append(f"{step.tool} {step.version}: {', '.join([step.action, *told])}")
    text = "; ".join(said) or "grey values changed"
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST_DESCRIPTION else "..." + text[3 - _LONGEST_DESCRIPTION :]


def _equipment(steps: Sequence[Step]) -> Dataset:
    """This program as equipment that contributed to the image."""
    from pydicom.dataset import Dataset

    from longexposure import __version__

    item = Dataset()
    put(item, 0x00080070, "LO", "longexposure")
    put(item, 0x00081090, "LO", "longexposure")
    put(item, 0x00181020, "LO", __version__)
    put(item, 0x0040A170, "SQ", [_code("109103", "Modifying Equipment")])
    put(item, 0x0018A003, "ST", _derivation("", steps))
    return item


def _code(value: str, meaning: str) -> Dataset:
    """A code of DICOM's own (PS3.16)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    put(item, 0x00080100, "SH", value)
    put(item, 0x00080102, "SH", "DCM")
    put(item, 0x00080104, "LO", meaning)
    return item


def _add(dataset: Dataset, tag: int, items: Sequence[Dataset]) -> None:
    """Items behind those that a sequence has."""
    there = dataset.get(tag)
    put(dataset, tag, "SQ", [*(there.value or () if there is not None else ()), *items])


def uid(digest: bytes) -> str:
    """An identifier (PS3.5, B.2) from at least 16 bytes, the same from the same ones."""
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _capture(radiograph: Radiograph, samples: _Samples) -> Dataset:
    """A secondary capture (PS3.3, A.8) of what was read from elsewhere, with nothing made up."""
    from pydicom.dataset import Dataset

    made = hashlib.sha256(struct.pack("<I", checksum(radiograph.pixels)))
    made.update(repr([step.as_dict() for step in radiograph.history]).encode())
    several = len(samples.pages) > 1
    kind = SECONDARY_CAPTURE + (f".{2 if samples.allocated == 8 else 3}" if several else "")
    names = ("instance", "study", "series")
    uids = {name: uid(hashlib.sha256(made.digest() + name.encode()).digest()) for name in names}
    dataset = Dataset()
    texts = {
        _IMAGE_TYPE: ("CS", ["DERIVED", "SECONDARY"]),
        _CLASS: ("UI", kind),
        _INSTANCE: ("UI", uids["instance"]),
        **{tag: (vr, "") for tag, vr in ((0x00080020, "DA"), (0x00080030, "TM"), (0x00080050, "SH"))},
        0x00080060: ("CS", "OT"),
        0x00080064: ("CS", "WSD"),
        **{tag: (vr, "") for tag, vr in ((0x00080090, "PN"), (0x00100010, "PN"), (0x00100020, "LO"))},
        **{tag: (vr, "") for tag, vr in ((0x00100030, "DA"), (0x00100040, "CS"), (0x00200010, "SH"))},
        0x0020000D: ("UI", uids["study"]),
        0x0020000E: ("UI", uids["series"]),
        0x00200011: ("IS", ""),
        0x00200013: ("IS", ""),
        0x00200020: ("CS", ""),
        0x00200060: ("CS", ""),
        0x00280002: ("US", 1),
    }
    if several:
        texts |= {
            0x00280009: ("AT", 0x00182001),
            0x00182001: ("IS", [str(number) for number in range(1, len(samples.pages) + 1)]),
            0x00280301: ("CS", "NO"),
            0x20500020: ("CS", "IDENTITY" if radiograph.polarity == "black-is-zero" else "INVERSE"),
        }
        texts |= {0x00281052: ("DS", "0"), 0x00281053: ("DS", "1"), 0x00281054: ("LO", "US")}
    for tag, (vr, value) in texts.items():
        put(dataset, tag, vr, value)
    return dataset


def _write(dataset: Dataset, samples: _Samples, file: BinaryIO, parts: DicomParts | None) -> None:
    """Elements, pixels frame by frame, and the elements behind them."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset as Plain
    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

    layout = parts.layout if parts else None
    syntax, order = (layout.syntax, layout.order) if layout else (EXPLICIT, "<")
    explicit = syntax != IMPLICIT
    behind = Plain()
    for tag in [tag for tag in dataset.keys() if tag > samples.tag]:  # noqa: SIM118 (without it, all values)
        behind[tag] = dataset.get_item(tag)
        del dataset[tag]
    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    put(meta, 0x00020002, "UI", _uid_of(dataset, _CLASS) or SECONDARY_CAPTURE)
    put(meta, 0x00020003, "UI", _uid_of(dataset, _INSTANCE) or uid(bytes(16)))
    put(meta, 0x00020010, "UI", syntax)
    put(meta, 0x00020012, "UI", PYDICOM_IMPLEMENTATION_UID)
    put(meta, 0x00020013, "SH", CREATOR)
    dataset.file_meta = meta
    before = io.BytesIO()
    dcmwrite(before, dataset, implicit_vr=not explicit, little_endian=order == "<", enforce_file_format=True)
    file.write(before.getvalue())
    odd = samples.nbytes % 2
    head_of_pixels = struct.pack(order + "HH", samples.tag >> 16, samples.tag & 0xFFFF)
    if explicit:
        vr = (
            layout.pixel_vr
            if layout and layout.pixel_vr
            else {_FLOAT_PIXELS: "OF", 0x7FE00009: "OD"}.get(samples.tag, "OW")
        )
        head_of_pixels += vr.encode() + bytes(2)
    file.write(head_of_pixels + struct.pack(order + "I", samples.nbytes + odd))
    half, swaps = b"", layout is not None and layout.swaps(samples.allocated)
    for frame in itertools.chain(samples.frames(), [bytes(odd)]):
        data = half + frame if swaps else frame
        half = data[len(data) // 2 * 2 :] if swaps else b""
        file.write(swapped(data[: len(data) - len(half)]) if swaps else data)
    if behind:
        rest = DicomBytesIO()
        rest.is_implicit_VR, rest.is_little_endian = not explicit, order == "<"
        behind.set_original_encoding(not explicit, order == "<", None)
        write_dataset(rest, behind)
        file.write(rest.getvalue())


def _uid_of(dataset: Dataset, tag: int) -> str:
    element = dataset.get_item(tag) if tag in dataset else None
    value = element.value if element is not None else ""
    return value.decode("latin-1").rstrip("\0 ") if isinstance(value, bytes) else str(value or "")
