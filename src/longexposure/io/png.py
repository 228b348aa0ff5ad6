"""PNG: one 8- or 16-bit image, checked chunk by chunk (PNG specification, third edition, W3C 2025).

The libraries decode, encode and read Exif; what they let pass or spoil is checked here, see decision 16.
"""

from __future__ import annotations

import os
import struct
import zlib
from functools import cached_property
from typing import BinaryIO, NamedTuple

import numpy as np

from longexposure.errors import InputError, OutputError
from longexposure.io.budget import check_png
from longexposure.io.checks import (
    TRANSPOSING,
    check_plausible,
    damaged,
    one_channel,
    upright,
    upright_resolution,
    wrong_type,
)
from longexposure.io.record import KEY, fields_of, is_plain, radiograph_of, record_json, stated_resolution
from longexposure.radiograph import Pixels, Radiograph, Resolution, Source, Stored

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_TEXT_BYTES = 2**22
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _PALETTE: (1, 2, 4, 8)}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Start x, start y, step x and step y of the seven passes of an interlaced image."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"hIST", b"acTL", b"fcTL", b"fdAT")
"""Chunks that say how the pixels lie in the file, which the writer says anew."""

_SIZES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"tIME": 7, b"pHYs": 9}
_ANY_SIZE = (b"pCAL", b"sCAL")
_OF_GREY = {b"sBIT": 1, b"bKGD": 2}
_EXIF_TEXTS = ("Raw profile type exif", "Raw profile type APP1")


def is_png(start: bytes) -> bool:
    """Whether a file that starts so is a PNG."""
    return start.startswith(SIGNATURE)


def png_bytes(pixels: Pixels) -> bytes:
    """Grey values (H, W), uint8 or uint16, as the content of a PNG file without any text."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(pixels.copy()))  # which asks for usual strides even of one column


def read_png(file: BinaryIO, source: Source) -> Radiograph:
    """Read a greyscale PNG of 8 or 16 bits, values exactly as stored (gamma and the like are left alone).

    Colour is taken where all channels are equal, 16-bit colour and palettes of greys too; the Exif
    orientation is honoured.

    Raises:
        InputError: damaged, cut off, or holding something else, with the way out.
    """
    most = check_png(file, file.seek(0, os.SEEK_END), source.path)
    file.seek(0)
    chunks, notes = _File(file.read(), source.path, most=most), list[str]()
    samples, orientation = chunks.samples(), chunks.orientation()
    pixels = upright(samples, orientation)
    x, y, unit = struct.unpack(">IIB", chunks.first.get(b"pHYs", bytes(9)))
    resolution = _per_unit(x, y, metre=unit == 1) if x and y and (unit == 1 or x != y) else None
    resolution = upright_resolution(resolution, orientation)
    keyword = next((each for each in ("Description", "Comment") if each in chunks.texts), "")
    parts = PngParts(
        chunks=chunks.carried(orientation, notes),
        keyword=keyword,
        text=chunks.texts.get(keyword, ""),
        resolution=resolution,
    )
    return radiograph_of(
        pixels,
        source,
        text=parts.text,
        told=fields_of(chunks.texts.get(KEY, "")),
        resolution=resolution,
        pitch_um=resolution.pitch_um if resolution else None,
        rounded=_rounded,
        stored=Stored(
            "png",
            pixels.shape,
            pixels.dtype.name,
            bits=_significant(chunks.first.get(b"sBIT", b""), pixels),
            parts=parts,
            notes=tuple(dict.fromkeys(notes)),
        ),
    )


def write_png(radiograph: Radiograph, file: BinaryIO, *, compress: str | None = None) -> None:
    """Write one 8- or 16-bit image, a resolution of its own rounded to pixels per metre.

    The chunks of the source's PNG are carried over, and our record is put beside them as text.

    Args:
        radiograph: what is written.
        file: open for writing, empty.
        compress: of no effect, a PNG has one compression.

    Raises:
        OutputError: a stack or float32, with the way out; or a history that cannot be written.
    """
    pixels = radiograph.pixels
    if pixels.ndim != 2 or pixels.dtype.kind != "u":
        raise OutputError(
            where="PNG",
            expected="one 8- or 16-bit image",
            found=f"a stack of {pixels.shape[0]}" if pixels.ndim == 3 else str(pixels.dtype),
            advice="write a .tif, which takes stacks and float32",
        )
    stored = radiograph.stored
    parts = stored.parts if stored and stored.format == "png" else PngParts()
    if stored and stored.shape != pixels.shape:
        parts = parts._replace(chunks=tuple(each for each in parts.chunks if each[0] not in _ANY_SIZE))
    written, described = parts.resolution, radiograph.description
    if radiograph.resolution != parts.resolution or all(name != b"pHYs" for name, _ in parts.chunks):
        written = _rounded(stated_resolution(radiograph))
        parts = parts.with_resolution(written)
    if described != parts.text:
        described = described if is_plain(described) else ""
        parts = parts.with_text(described)
    record = record_json(
        radiograph,
        description=described,
        resolution=written,
        pitch_um=written.pitch_um if written else None,
        polarity="black-is-zero",
    )
    encoded = png_bytes(pixels)
    header_end = len(SIGNATURE) + 12 + 13
    file.write(encoded[:header_end])
    for name, body in parts.chunks:
        file.write(_chunk(name, body))
    if record:
        file.write(_chunk(b"iTXt", KEY.encode() + b"\0\0\0\0\0" + record.encode()))
    file.write(encoded[header_end:])


class PngParts(NamedTuple):
    """What a PNG has beside its grey values.

    Attributes:
        chunks: name and content of each that is carried over.
        keyword: under which its description stands.
        text: the description, as read.
        resolution: of the image upright, as read.
    """

    chunks: tuple[tuple[bytes, bytes], ...] = ()
    keyword: str = ""
    text: str = ""
    resolution: Resolution | None = None

    def with_resolution(self, resolution: Resolution | None) -> PngParts:
        """The same with pHYs for a resolution as `_rounded` gives it, without one for None."""
        chunks = tuple(each for each in self.chunks if each[0] != b"pHYs")
        if resolution is not None:
            metre = resolution.unit == "cm"
            per_unit = (round(each * (100 if metre else 1)) for each in (resolution.x, resolution.y))
            chunks = ((b"pHYs", struct.pack(">IIB", *per_unit, metre)), *chunks)
        return self._replace(chunks=chunks)

    def with_text(self, text: str) -> PngParts:
        """The same with another description, without one for an empty text."""
        old = (self.keyword,) if text else ("Description", "Comment")
        kept = tuple(
            (name, body)
            for name, body in self.chunks
            if name not in _TEXTS or body.split(b"\0", 1)[0].decode("latin-1") not in old
        )
        if text.isascii() and text:
            kept += ((b"tEXt", b"Description\0" + text.encode("ascii")),)
        elif text:
            kept += ((b"iTXt", b"Description\0\0\0\0\0" + text.encode("utf-8")),)
        return self._replace(chunks=kept)


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    packing: int
    filtering: int
    interlaced: int

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all rows, each with its filter byte; interlacing makes seven images."""
        bits, total = self.depth * _SAMPLES[self.colour], 0
        for x, y, dx, dy in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if columns > 0 and rows > 0:
                total += (1 + -(-columns * bits // 8)) * rows
        return total


class _File:
    """The chunks of a file up to IEND, each with its checksum verified, and what they hold."""

    def __init__(self, data: bytes, where: str, *, most: int) -> None:
        self.where = where
        self.chunks: list[tuple[bytes, bytes]] = []
        at = len(SIGNATURE)
        while not self.chunks or self.chunks[-1][0] != b"IEND":
            if len(self.chunks) == most:
                raise damaged(where, expected=f"at most {most} chunks", found="more")
            head = data[at : at + 8]
            if len(head) < 8:
                found = f"{len(data)} bytes, cut off"
                raise damaged(where, expected="a PNG that ends with IEND", found=found)
            length, name = struct.unpack(">I4s", head)
            end = at + 12 + length
            if end > len(data):
                raise damaged(where, expected=f"data up to byte {end}", found=f"{len(data)} bytes, cut off")
            body = data[at + 8 : end - 4]
            if _chunk(name, body) != data[at:end]:
                found = f"damage at byte {at}"
                raise damaged(where, expected="data that match their checksum", found=found)
            self.chunks.append((name, body))
            at = end
        self.first = dict(reversed(self.chunks))

    def header(self) -> _Header:
        """The header; refuses what is no still image of 8 or 16 bits."""
        name, body = self.chunks[0]
        if name != b"IHDR" or len(body) != 13:
            raise damaged(self.where, expected="IHDR as first chunk", found=repr(name)[2:-1])
        header = _Header(*struct.unpack(">IIBBBBB", body))
        width, height, depth, colour, packing, filtering, interlaced = header
        known = colour in _SAMPLES and depth in _DEPTHS.get(colour, (8, 16)) and interlaced in (0, 1)
        if not known or not width or not height or packing or filtering:
            found = f"{width} x {height} pixels, {depth} bits, colour type {colour}"
            raise damaged(self.where, expected="a valid PNG header", found=found)
        if colour == _GREY and depth < 8:
            raise wrong_type(self.where, f"{depth}-bit samples")
        if b"acTL" in self.first:
            raise InputError(
                where=self.where,
                expected="one still image",
                found="an animated PNG",
                advice="save the frames as separate files or as a multi-page TIFF",
            )
        return header

    def samples(self) -> Pixels:
        """Grey values (H, W), not yet upright.

        The decoder is given header, transparency and pixels only: it prints what it thinks of other chunks
        and of pixels that are too many. A palette's indices are grey values to it, since it widens palettes.
        """
        import imagecodecs

        header = self.header()
        packed = b"".join(body for name, body in self.chunks if name == b"IDAT")
        needed = header.unpacked_bytes
        check_plausible(self.where, needed=needed, stored=len(packed), packed=True)
        unpacker = zlib.decompressobj()
        try:
            found = len(unpacker.decompress(packed, needed + 1))
        except zlib.error as error:
            raise damaged(self.where, expected="compressed pixels", found=str(error)) from error
        if found != needed or not unpacker.eof:
            raise damaged(self.where, expected=f"{needed} bytes of pixels", found=f"{found}, or more")
        indexed, clear = header.colour == _PALETTE, self.first.get(b"tRNS", b"")
        head = struct.pack(">IIBBBBB", *header._replace(colour=_GREY if indexed else header.colour))
        parts = [SIGNATURE, _chunk(b"IHDR", head)]
        if header.colour in (_GREY, _RGB) and len(clear) == 2 * _SAMPLES[header.colour]:
            parts.append(_chunk(b"tRNS", clear))
        parts += [_chunk(b"IDAT", packed.removesuffix(unpacker.unused_data)), _chunk(b"IEND", b"")]
        samples = np.asarray(imagecodecs.png_decode(b"".join(parts)))
        if indexed:
            samples = self.coloured(samples // (255 // (2**header.depth - 1)))
        if samples.ndim == 3:
            samples = one_channel(samples, self.where, extra=1 - samples.shape[2] % 2)
        return samples

    def coloured(self, indices: Pixels) -> Pixels:
        """Red, green, blue and alpha (H, W, 4) of a palette image."""
        palette, clear = self.first.get(b"PLTE", b""), self.first.get(b"tRNS", b"")
        size, highest = len(palette) // 3, int(indices.max())
        if len(palette) % 3 or highest >= size or len(clear) > size:
            raise damaged(self.where, expected=f"indices into a palette of {size}", found=str(highest))
        table = np.full((size, 4), 255, dtype=np.uint8)
        table[:, :3] = np.frombuffer(palette, np.uint8).reshape(size, 3)
        table[: len(clear), 3] = np.frombuffer(clear, np.uint8)
        return np.asarray(table[indices])

    @cached_property
    def texts(self) -> dict[str, str]:
        """Text by keyword; the first of each counts, all together may be `_TEXT_BYTES` long."""
        texts: dict[str, str] = {}
        left = _TEXT_BYTES
        for name, body in self.chunks:
            keyword, _, text = body.partition(b"\0")
            encoding, packed = "latin-1", name == b"zTXt"
            if name == b"iTXt":
                encoding, packed = "utf-8", text[:1] == b"\1"
                text = text[2:].split(b"\0", 2)[2]
            elif name == b"zTXt":
                text = text[1:]
            elif name != b"tEXt":
                continue
            if packed:
                unpacker = zlib.decompressobj()
                text = unpacker.decompress(text, max(left, 1))
                if not unpacker.eof:
                    raise ValueError(f"text that is cut off or longer than {_TEXT_BYTES} bytes in all")
            left -= len(text)
            if left < 0:
                raise ValueError(f"texts longer than {_TEXT_BYTES} bytes in all")
            texts.setdefault(keyword.decode("latin-1"), text.decode(encoding))
        return texts

    def carried(self, orientation: int, notes: list[str]) -> tuple[tuple[bytes, bytes], ...]:
        """The chunks that are carried over; what is not is added to `notes`."""
        is_grey = self.chunks[0][1][9] == _GREY
        if not is_grey:
            palette = self.chunks[0][1][9] == _PALETTE
            notes.append("the palette of greys" if palette else "further channels, all equal or constant")
        if orientation != 1:
            notes.append("the orientation, which was followed")
        carried: list[tuple[bytes, bytes]] = []
        for name, body in self.chunks:
            once = name not in _TEXTS and name != b"sPLT"
            if name in _PIXELS or (once and any(name == other for other, _ in carried)):
                continue
            kept = self._kept(name, body, orientation=orientation, is_grey=is_grey)
            if isinstance(kept, bytes):
                carried.append((name, kept))
            elif kept:
                notes.append(kept)
        return tuple(carried)

    def _kept(self, name: bytes, body: bytes, *, orientation: int, is_grey: bool) -> bytes | str:
        """A chunk's content as it is carried over, or in words what is not."""
        label = name.decode("latin-1")
        if name in _TEXTS:
            keyword = body.split(b"\0", 1)[0].decode("latin-1")
            if keyword == KEY:
                return "" if fields_of(self.texts[KEY]) else f"the text {KEY!r}, which is not ours"
            return f"the text {keyword!r}" if keyword in _EXIF_TEXTS and orientation != 1 else body
        if name == b"eXIf":
            return _upright_exif(body) or "Exif, which is damaged"
        if name == b"iCCP":
            return _profile(body, is_grey=is_grey)
        if name in _OF_GREY and not is_grey:
            return f"{label}, which is of colour"
        size = {**_SIZES, **_OF_GREY}.get(name)
        if size is not None:
            fits = len(body) == size and not (name == b"pHYs" and orientation in TRANSPOSING)
            return body if fits else "" if name == b"pHYs" else f"{label}, which is damaged"
        return (
            body if name[3] & 0x20 or name in _ANY_SIZE else f"the chunk {label}, which is not safe to copy"
        )

    def orientation(self) -> int:
        """Tag 274 of Exif (CIPA DC-008), or of the text in which older tools keep the same."""
        from PIL import Image

        exif = self.first.get(b"eXIf")
        if exif is None:
            profile = self.texts.get("Raw profile type exif", self.texts.get("Raw profile type APP1", ""))
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        tags = Image.Exif()
        tags.load(exif)
        return int(tags.get(274, 1))


def _upright_exif(exif: bytes) -> bytes | None:
    """Exif (CIPA DC-008) of an image that stands upright, without a thumbnail; None where it is damaged."""
    turned = bytearray(exif)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        entries = range(start + 2, start + 2 + 12 * count, 12)
        for at in entries:
            if struct.unpack_from(f"{order}HH", exif, at) == (274, 3):
                struct.pack_into(f"{order}H", turned, at + 8, 1)
        struct.pack_into(f"{order}I", turned, entries.stop, 0)
    except struct.error:
        return None
    return bytes(turned)


def _profile(body: bytes, *, is_grey: bool) -> bytes | str:
    """The content of iCCP, where it is a profile and fits a grey image, or in words why not."""
    try:
        start = zlib.decompressobj().decompress(body.split(b"\0", 1)[1][1:], 128)
    except (zlib.error, IndexError):
        start = b""
    if len(start) < 128:
        return "the ICC profile, which is damaged"
    return body if is_grey or start[16:20] == b"GRAY" else "the ICC profile, which is not of grey"


def _significant(told: bytes, pixels: Pixels) -> int:
    """Significant bits as sBIT tells them; 0 where not, or where values were scaled up as it asks."""
    bits = told[0] if told and pixels.dtype == np.uint16 else 0
    unscaled = 0 < bits < 16 and int(pixels.max()) < 2**bits and np.any(pixels & (2 ** (16 - bits) - 1))
    return bits if unscaled else 0


def _per_unit(x: int, y: int, *, metre: bool) -> Resolution:
    return Resolution(x / 100, y / 100, "cm") if metre else Resolution(float(x), float(y))


def _rounded(resolution: Resolution | None) -> Resolution | None:
    """What is read back after whole pixels per metre, or per nothing, have been written."""
    if resolution is None:
        return None
    per = {"none": 1.0, "inch": 1 / 0.0254, "cm": 100.0}[resolution.unit]
    x, y = resolution.x * per, resolution.y * per
    if not (0.5 < x < 2**31 - 1 and 0.5 < y < 2**31 - 1):
        return None
    if resolution.unit == "none" and round(x) == round(y):
        return None
    return _per_unit(round(x), round(y), metre=resolution.unit != "none")


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)
