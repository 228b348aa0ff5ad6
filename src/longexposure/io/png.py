"""PNG: one 8- or 16-bit image, checked chunk by chunk (PNG specification, third edition, W3C 2025)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from longexposure.errors import InputError, OutputError
from longexposure.io.checks import (
    check_plausible,
    damaged,
    one_channel,
    upright,
    upright_resolution,
    wrong_type,
)
from longexposure.io.record import parse_record, record_text, stated_resolution
from longexposure.radiograph import Pixels, Radiograph, Resolution, Source

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_TEXT_BYTES = 2**24
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
"""Start x, start y, step x and step y of the seven passes."""

Chunk = tuple[bytes, bytes]
"""Type and body."""


def is_png(start: bytes) -> bool:
    """Whether a file that starts so is a PNG."""
    return start.startswith(SIGNATURE)


def read_png(data: bytes, source: Source) -> Radiograph:
    """Read a greyscale PNG of 8 or 16 bits, values exactly as stored (gamma and the like are left alone).

    Colour is taken where all channels are equal, 16-bit colour and palettes of greys too; the Exif
    orientation is honoured.

    Raises:
        InputError: damaged, cut off, or holding something else, with the way out.
    """
    where = source.path
    chunks = _chunks(data, where)
    samples = _decode(chunks, _header(chunks, where), where)
    texts = _texts(chunks)
    orientation = _orientation(chunks, texts)
    record = parse_record(texts.get("Description", texts.get("Comment", "")))
    resolution = _resolution(chunks)
    if record.resolution is not None and _rounded(record.resolution) == resolution:
        resolution = record.resolution
    resolution = upright_resolution(resolution, orientation)
    return Radiograph(
        pixels=upright(samples, orientation),
        domain=record.domain,
        polarity=record.polarity,
        pitch_um=record.pitch_um or (resolution.pitch_um if resolution else None),
        resolution=resolution,
        description=record.description,
        exposure=record.exposure,
        source=source,
        history=record.history,
    )


def write_png(radiograph: Radiograph, file: BinaryIO) -> None:
    """Write one 8- or 16-bit image, its resolution rounded to pixels per metre.

    Raises:
        OutputError: a stack or float32, with the way out.
    """
    import imagecodecs

    pixels = _writable(radiograph.pixels)
    written = _rounded(stated_resolution(radiograph))
    text = record_text(radiograph, resolution=written, polarity="black-is-zero")
    encoded = bytes(imagecodecs.png_encode(pixels))
    header_end = len(SIGNATURE) + 12 + 13
    file.write(encoded[:header_end])
    if written is not None:
        file.write(_chunk(b"pHYs", _phys(written)))
    if text:
        file.write(_text_chunk(text))
    file.write(encoded[header_end:])


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all rows, each with its filter byte; interlacing makes seven images (Adam7)."""
        bits = self.depth * _SAMPLES[self.colour]
        total = 0
        for x, y, dx, dy in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if columns > 0 and rows > 0:
                total += (1 + -(-columns * bits // 8)) * rows
        return total

    def as_chunk(self) -> bytes:
        """IHDR for the decoder, to which a palette's indices are grey values."""
        colour = _GREY if self.colour == _PALETTE else self.colour
        values = (self.width, self.height, self.depth, colour, 0, 0, self.interlaced)
        return _chunk(b"IHDR", struct.pack(">IIBBBBB", *values))


def _chunks(data: bytes, where: str) -> list[Chunk]:
    """All chunks up to IEND, each with its checksum verified."""
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        head = data[at : at + 8]
        if len(head) < 8:
            raise damaged(where, expected="a PNG that ends with IEND", found=f"{len(data)} bytes, cut off")
        length, name = struct.unpack(">I4s", head)
        end = at + 12 + length
        if end > len(data):
            raise damaged(where, expected=f"data up to byte {end}", found=f"{len(data)} bytes, cut off")
        body = data[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged(where, expected="data that match their checksum", found=f"damage at byte {at}")
        chunks.append((name, body))
        at = end
    return chunks


def _header(chunks: list[Chunk], where: str) -> _Header:
    """The header; refuses what is no still image of 8 or 16 bits."""
    name, body = chunks[0]
    if name != b"IHDR" or len(body) != 13:
        raise damaged(where, expected="IHDR as first chunk", found=repr(name)[2:-1])
    width, height, depth, colour, packing, filtering, interlacing = struct.unpack(">IIBBBBB", body)
    known = colour in _SAMPLES and depth in _DEPTHS.get(colour, (8, 16)) and interlacing in (0, 1)
    if not known or not width or not height or packing or filtering:
        raise damaged(
            where,
            expected="a valid PNG header",
            found=f"{width} x {height} pixels, {depth} bits, colour type {colour}",
        )
    if colour == _GREY and depth < 8:
        raise wrong_type(where, f"{depth}-bit samples")
    if any(name == b"acTL" for name, _ in chunks):
        raise InputError(
            where=where,
            expected="one still image",
            found="an animated PNG",
            advice="save the frames as separate files or as a multi-page TIFF",
        )
    return _Header(width, height, depth, colour, bool(interlacing))


def _decode(chunks: list[Chunk], header: _Header, where: str) -> Pixels:
    """Grey values (H, W), not yet upright.

    The decoder is given header, transparency and pixels only: it prints what it thinks of other
    chunks, and widens palettes.
    """
    import imagecodecs

    body = b"".join(body for name, body in chunks if name == b"IDAT")
    needed = header.unpacked_bytes
    check_plausible(where, needed=needed, stored=len(body), packed=True)
    packed = _exact(body, needed, where)
    clear = next((body for name, body in chunks if name == b"tRNS"), None)
    parts = [SIGNATURE, header.as_chunk()]
    if clear is not None and len(clear) == 2 * _SAMPLES[header.colour] and header.colour in (_GREY, _RGB):
        parts.append(_chunk(b"tRNS", clear))
    parts += [_chunk(b"IDAT", packed), _chunk(b"IEND", b"")]
    samples = np.asarray(imagecodecs.png_decode(b"".join(parts)))
    if header.colour == _PALETTE:
        colours = next((body for name, body in chunks if name == b"PLTE"), b"")
        samples = _coloured(samples // (255 // (2**header.depth - 1)), colours, clear or b"", where)
    if samples.ndim == 3:
        samples = one_channel(samples, where, extra=1 - samples.shape[2] % 2)
    return samples


def _exact(body: bytes, needed: int, where: str) -> bytes:
    """The compressed pixels without what follows them.

    Raises:
        InputError: they unpack to fewer or more bytes than the header promises.
    """
    unpacker = zlib.decompressobj()
    found, left = 0, body
    try:
        while not unpacker.eof and found <= needed:
            step = len(unpacker.decompress(left, 2**20))
            found, left = found + step, unpacker.unconsumed_tail
            if not step and not left:
                break
    except zlib.error as error:
        raise damaged(where, expected="compressed pixels", found=str(error)) from error
    if found != needed or not unpacker.eof:
        raise damaged(where, expected=f"{needed} bytes of pixels", found=f"{found}, or more")
    return body[: len(body) - len(unpacker.unused_data)]


def _coloured(indices: Pixels, palette: bytes, clear: bytes, where: str) -> Pixels:
    """Red, green, blue and alpha (H, W, 4) of a palette image."""
    size = len(palette) // 3
    if len(palette) % 3 or int(indices.max()) >= size or len(clear) > size:
        raise damaged(where, expected=f"indices into a palette of {size}", found=str(int(indices.max())))
    table = np.full((size, 4), 255, dtype=np.uint8)
    table[:, :3] = np.frombuffer(palette, np.uint8).reshape(size, 3)
    table[: len(clear), 3] = np.frombuffer(clear, np.uint8)
    return np.asarray(table[indices])


def _texts(chunks: list[Chunk]) -> dict[str, str]:
    """Text by keyword; the first of each counts."""
    texts: dict[str, str] = {}
    for name, body in chunks:
        if name not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, _, rest = body.partition(b"\0")
        texts.setdefault(keyword.decode("latin-1"), _text(name, rest))
    return texts


def _text(name: bytes, rest: bytes) -> str:
    if name == b"tEXt":
        return rest.decode("latin-1")
    if name == b"zTXt":
        return _inflate(rest[1:]).decode("latin-1")
    packed = rest[:1] == b"\1"
    text = rest[2:].split(b"\0", 2)[2]
    return (_inflate(text) if packed else text).decode("utf-8")


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, _TEXT_BYTES)
    if not unpacker.eof:
        raise ValueError(f"text that is cut off or longer than {_TEXT_BYTES} bytes")
    return text


def _resolution(chunks: list[Chunk]) -> Resolution | None:
    for name, body in chunks:
        if name == b"pHYs":
            x, y, unit = struct.unpack(">IIB", body)
            if x and y and (unit == 1 or x != y):
                return _per_unit(x, y, metre=unit == 1)
    return None


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


def _phys(rounded: Resolution) -> bytes:
    per = 100 if rounded.unit == "cm" else 1
    return struct.pack(">IIB", round(rounded.x * per), round(rounded.y * per), rounded.unit == "cm")


def _orientation(chunks: list[Chunk], texts: dict[str, str]) -> int:
    """Orientation from the eXIf chunk, or from the text in which older tools keep the same."""
    for name, body in chunks:
        if name == b"eXIf":
            return _exif_orientation(body)
    profile = texts.get("Raw profile type exif", texts.get("Raw profile type APP1"))
    if profile is None:
        return 1
    return _exif_orientation(bytes.fromhex("".join(profile.split("\n")[3:])))


def _exif_orientation(exif: bytes) -> int:
    """Tag 274 of the first directory of a block of Exif (CIPA DC-008)."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    for index in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * index)
        if tag == 274:
            return int(value)
    return 1


def _writable(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2 and pixels.dtype.kind == "u":
        return np.ascontiguousarray(pixels)
    found = f"a stack of {pixels.shape[0]}" if pixels.ndim == 3 else str(pixels.dtype)
    raise OutputError(
        where="PNG",
        expected="one 8- or 16-bit image",
        found=found,
        advice="write a .tif, which takes stacks and float32",
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def _text_chunk(text: str) -> bytes:
    if text.isascii():
        return _chunk(b"tEXt", b"Description\0" + text.encode("ascii"))
    return _chunk(b"iTXt", b"Description\0\0\0\0\0" + text.encode("utf-8"))
