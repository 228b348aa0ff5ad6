"""Formats that are only read: .npy, PGM, BMP, JPEG, .his of PerkinElmer and Varex, raw with a sidecar."""

from __future__ import annotations

import math
import os
import re
import struct
import sys
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import check_plausible, damaged, one_channel, wrong_type
from longexposure.io.codecs import jpeg_size
from longexposure.radiograph import Pixels, Polarity, Radiograph, Source, Step, Stored, computable

BLOCKS = "JPEG: its blocks of 8 x 8 pixels and what it rounded away are in the grey values"

RAW_SUFFIXES = (".raw", ".bin")
"""Of files that a TOML beside them may describe; .bin may be anything, and is not looked for in folders."""

_NPY, _HIS = b"\x93NUMPY", b"\x00\x70\x44\x00"
_HIS_HEAD = struct.Struct("<HHHIHHHHHHHdH")
_HIS_TYPES = {2: "u1", 4: "<u2", 8: "<u4", 64: "<f4", 128: "<f8"}
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_RAW_KEYS = {
    "shape": list,
    "type": str,
    "byte_order": str,
    "header_bytes": int,
    "polarity": str,
    "pitch_um": list,
}
_RAW_EXAMPLE = 'shape = [1, 2048, 2048], type = "uint16", byte_order = "little", header_bytes = 0'


def _radiograph(values: Pixels, source: Source, **known: Any) -> Radiograph:
    """Grey values of any real type, as the file has them, (H, W) where there is one image."""
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    notes, warnings = known.pop("notes", ()), known.pop("warnings", ())
    pixels, offset = computable(values, where=source.path)
    stored = Stored(source.format, pixels.shape, values.dtype.name, offset, notes=notes, warnings=warnings)
    return Radiograph(pixels=pixels, source=source, stored=stored, **known)


def _frames(
    file: BinaryIO, source: Source, *, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Pixels:
    """Samples that lie as they are from byte `start` on, in native byte order (raises InputError)."""
    if min(shape) < 1:
        raise damaged(source.path, expected="at least one pixel", found=" x ".join(map(str, shape)))
    needed, size = math.prod(shape) * dtype.itemsize, file.seek(0, os.SEEK_END)
    check_plausible(source.path, needed=needed, stored=max(0, size - start), packed=False)
    file.seek(start)
    return np.frombuffer(file.read(needed), dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _behind(file: BinaryIO) -> tuple[str, ...]:
    """What is to be said of bytes behind the samples, which were read last: their shape may be another."""
    at, size = file.tell(), file.seek(0, os.SEEK_END)
    return (f"{size - at} bytes behind the last sample",) if size > at else ()


def _head(file: BinaryIO, length: int, where: str) -> bytes:
    """The first bytes of a file (raises InputError where there are fewer)."""
    file.seek(0)
    head = file.read(length)
    if len(head) < length:
        raise damaged(where, expected=f"a header of {length} bytes", found=f"{len(head)} bytes, cut off")
    return head


def is_npy(start: bytes) -> bool:
    """Whether a file that starts so is a NumPy array."""
    return start.startswith(_NPY)


def read_npy(file: BinaryIO, source: Source) -> Radiograph:
    """Read a NumPy array (H, W) or (N, H, W); pickled objects are never opened (raises InputError)."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, turned, dtype = read(file)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise wrong_type(source.path, str(dtype))
    if len(shape) not in (2, 3):
        raise damaged(source.path, expected="an array (H, W) or (N, H, W)", found=f"shape {shape}")
    start, lying = file.tell(), shape[::-1] if turned else shape
    values = _frames(file, source, start=start, shape=lying, dtype=dtype)
    return _radiograph(np.ascontiguousarray(values.T) if turned else values, source)


def is_pgm(start: bytes) -> bool:
    """Whether a file that starts so is a binary PGM or PPM."""
    return re.match(rb"P[56][\s#]", start) is not None


def read_pgm(file: BinaryIO, source: Source) -> Radiograph:
    """Read a binary PGM, or a PPM whose channels are equal, of 8 or 16 bits (raises InputError)."""
    file.seek(0)
    head = re.match(
        rb"(P[56])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s", file.read(4096)
    )
    if head is None:
        raise damaged(source.path, expected="width, height and greatest value", found="something else")
    width, height, most = (int(each) for each in head.groups()[1:])
    if not 0 < most < 65536:
        raise damaged(source.path, expected="a greatest value from 1 to 65535", found=str(most))
    samples = 3 if head[1] == b"P6" else 1
    dtype = np.dtype("u1" if most < 256 else ">u2")
    values = _frames(file, source, start=head.end(), shape=(height, width, samples), dtype=dtype)
    return _radiograph(one_channel(values, source.path, extra=0), source)


def is_bmp(start: bytes) -> bool:
    """Whether a file that starts so is a Windows bitmap."""
    return start[:2] == b"BM" and start[14:18] in (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0")


def read_bmp(file: BinaryIO, source: Source) -> Radiograph:
    """Read a bitmap of 8 bits with a palette of greys, or of 24 or 32 bits with equal channels.

    Raises:
        InputError: damaged, compressed or coloured.
    """
    head = _head(file, 54, source.path)
    (start,) = struct.unpack_from("<I", head, 10)
    length, width, height, _, bits, packing, _, _, _, colours, _ = struct.unpack_from(
        "<IiiHHIIiiII", head, 14
    )
    if bits not in (8, 24, 32) or packing not in (0, 3)[: 1 + (bits == 32)]:
        raise wrong_type(source.path, f"a bitmap of {bits} bits a pixel, compression {packing}")
    row = -(-abs(width) * bits // 32) * 4
    lines = _frames(file, source, start=start, shape=(abs(height), row), dtype=np.dtype("u1"))
    samples = lines[:, : abs(width) * bits // 8].reshape(abs(height), abs(width), bits // 8)
    samples = samples[::-1] if height > 0 else samples
    if bits == 8:
        file.seek(14 + length)
        table = np.frombuffer(file.read(4 * min(colours or 256, 256)), np.uint8).reshape(-1, 4)
        if int(samples.max()) >= len(table):
            raise damaged(
                source.path, expected=f"indices into a palette of {len(table)}", found="a greater one"
            )
        samples = table[samples[..., 0]]
    return _radiograph(one_channel(samples[..., :3], source.path, extra=0), source)


def is_jpeg(start: bytes) -> bool:
    """Whether a file that starts so is a JPEG."""
    return start.startswith(b"\xff\xd8\xff")


def read_jpeg(file: BinaryIO, source: Source) -> Radiograph:
    """Read a JPEG of 8 bits, grey or with equal channels; its blocks are named in `Stored.warnings`.

    Raises:
        InputError: damaged, of more bits, or coloured.
    """
    import imagecodecs

    file.seek(0)
    data = file.read()
    declared = jpeg_size(data)
    if declared is None or b"\xff\xd9" not in data[-4096:]:
        raise damaged(
            source.path, expected="one image that ends", found="a JPEG that is cut off or holds several"
        )
    if declared.bits != 8 or declared.samples not in (1, 3):
        raise wrong_type(source.path, f"a JPEG of {declared.samples} samples of {declared.bits} bits")
    needed = declared.width * declared.height * declared.samples
    check_plausible(source.path, needed=needed, stored=len(data), packed=True)
    samples = np.asarray(imagecodecs.jpeg_decode(data))
    samples = samples if samples.ndim == 3 else samples[..., None]
    return _radiograph(one_channel(samples, source.path, extra=0), source, warnings=(BLOCKS,))


def is_his(start: bytes) -> bool:
    """Whether a file that starts so is .his: type 0x7000, a header of 68 bytes."""
    return start.startswith(_HIS)


def read_his(file: BinaryIO, source: Source) -> Radiograph:
    """Read the frames of a PerkinElmer or Varex panel; the frame time is `exposure_s` (raises InputError)."""
    head = _HIS_HEAD.unpack(_head(file, _HIS_HEAD.size, source.path))
    _, size, _, _, image_head, left, top, right, bottom, frames, _, time_us, kind = head
    if kind not in _HIS_TYPES:
        raise wrong_type(source.path, f"type of numbers {kind}")
    shape = (frames, bottom - top + 1, right - left + 1)
    values = _frames(file, source, start=size + image_head, shape=shape, dtype=np.dtype(_HIS_TYPES[kind]))
    seconds = {"exposure_s": time_us / 1e6} if 0 < time_us < 1e12 else {}
    return _radiograph(values, source, exposure=seconds, notes=_behind(file))


def raw_sidecar(path: Path) -> Path | None:
    """What describes a raw file: beside panel.raw panel.raw.toml or panel.toml; None for other files."""
    if path.suffix.lower() not in RAW_SUFFIXES:
        return None
    return next((each for each in (Path(f"{path}.toml"), path.with_suffix(".toml")) if each.is_file()), None)


def read_raw(file: BinaryIO, source: Source) -> Radiograph:
    """Read bare samples as the TOML beside them says; the history keeps what it said.

    Raises:
        InputError: no such TOML, one that says too little or nonsense, or fewer samples than it says.
    """
    beside = raw_sidecar(Path(source.path))
    if beside is None:
        raise InputError(
            where=source.path,
            expected=f"{Path(source.path).name}.toml beside it, which says how the samples lie",
            found="none",
            advice=f"write one: {_RAW_EXAMPLE} (one key a line)",
        )
    said = _sidecar(beside)
    shape = tuple(said["shape"])
    dtype = np.dtype(said["type"]).newbyteorder(
        "<" if said.get("byte_order", sys.byteorder) == "little" else ">"
    )
    values = _frames(file, source, start=said.get("header_bytes", 0), shape=shape, dtype=dtype)
    from longexposure import __version__

    pitch = said.get("pitch_um")
    polarity: Polarity = "white-is-zero" if said.get("polarity") == "white-is-zero" else "black-is-zero"
    return _radiograph(
        values,
        source,
        notes=_behind(file),
        polarity=polarity,
        pitch_um=(float(pitch[0]), float(pitch[1])) if pitch else None,
        history=(Step("longexposure", __version__, "read raw samples", said),),
    )


def _sidecar(path: Path) -> dict[str, Any]:
    """What the TOML beside a raw file says, every key checked (raises InputError)."""
    try:
        with path.open("rb") as file:
            text = file.read(65536)
        said = tomllib.loads(text.decode())
    except (OSError, ValueError) as error:
        raise _wrong(path, "TOML", str(error)) from error
    for name, value in said.items():
        if not isinstance(value, _RAW_KEYS.get(name, ())):
            raise _wrong(path, f"keys {', '.join(_RAW_KEYS)}", f"{name} = {value!r}")
    shape = said.get("shape", [])
    if len(shape) not in (2, 3) or not all(type(side) is int and side > 0 for side in shape):
        raise _wrong(path, "shape = [rows, columns] or [frames, rows, columns]", f"{shape}")
    allowed = {
        "type": _TYPES,
        "byte_order": ("little", "big"),
        "polarity": ("black-is-zero", "white-is-zero"),
    }
    for name, choices in allowed.items():
        if (name == "type" and name not in said) or (name in said and said[name] not in choices):
            raise _wrong(path, f"{name} of {', '.join(choices)}", f"{said.get(name)}")
    pitch = said.get("pitch_um", [1, 1])
    if len(pitch) != 2 or not all(isinstance(side, int | float) and 0 < side < math.inf for side in pitch):
        raise _wrong(path, "pitch_um = [down, across]", f"{pitch}")
    if said.get("header_bytes", 0) < 0:
        raise _wrong(path, "header_bytes of at least 0", f"{said['header_bytes']}")
    return said


def _wrong(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        where=str(path), expected=expected, found=found[:200], advice=f"write for example {_RAW_EXAMPLE}"
    )
