"""The X-ray microscope's own files, .xrm (one image) and .txrm (a tomography): OLE compound files."""

from __future__ import annotations

import math
import os
import re
import struct
from typing import Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.budget import check_compound
from longexposure.io.checks import check_plausible, damaged, wrong_type
from longexposure.radiograph import Pixels, Radiograph, Source, Step

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_TYPES = {3: "<u1", 5: "<u2", 10: "<f4"}
_BYTES = {np.dtype(name).itemsize: kind for kind, name in _TYPES.items()}
_IMAGE = re.compile(r"imagedata\d+/image(\d+)")


def is_xrm(start: bytes) -> bool:
    """Whether a file that starts so is an OLE compound file."""
    return start.startswith(SIGNATURE)


def read_xrm(file: BinaryIO, source: Source) -> Radiograph:
    """Read all images, the lowest row last as the vendor's viewer shows them; no reference image is applied.

    The rows lie in the file from bottom to top (decision 25): they are turned, and the history says so. A
    stream that is missing, empty or zero says nothing: the lengths of the images then tell their type and
    number. The exposure says `exposure_s`, `angle_deg` and `acquired` (one value, or one per image where
    they differ) and `energy_kev`. The file keeps the energy without a unit: synchrotron instruments
    write eV, so that values below 1000 are left out rather than guessed at.

    Raises:
        InputError: damaged, contradicting itself, or another program's compound file.
    """
    import olefile

    from longexposure import __version__

    size = file.seek(0, os.SEEK_END)
    check_compound(file, size, source.path)
    with olefile.OleFileIO(file) as ole:
        xrm = CompoundFile(ole, source.path)
        pixels = xrm.images(size)
        pitch = xrm.number("ImageInfo/PixelSize")
        exposure = xrm.exposure(1 if pixels.ndim == 2 else pixels.shape[0])
    turned = {"rows": "reversed: they lie from bottom to top in the file"}
    return Radiograph(
        pixels=pixels,
        pitch_um=(pitch, pitch) if pitch else None,
        exposure=exposure,
        source=source,
        history=(Step("longexposure", __version__, "turn upright", turned),),
    )


class CompoundFile:
    """One opened compound file and the numbers in its streams, little-endian."""

    def __init__(self, ole: Any, where: str) -> None:
        self.ole = ole
        self.where = where
        if not ole.exists("ImageInfo/ImageWidth") or not ole.exists("ImageInfo/ImageHeight"):
            raise InputError(
                where=where,
                expected="an .xrm or .txrm file",
                found="another program's compound file",
                advice="export the radiograph as 16-bit TIFF",
            )

    def images(self, size: int) -> Pixels:
        """All images of a file of `size` bytes, upright: (H, W) for one, (N, H, W) for more."""
        shape = tuple(self.whole(f"ImageInfo/{name}") or 0 for name in ("ImageHeight", "ImageWidth"))
        if min(shape) <= 0:
            found = f"{shape[1]} x {shape[0]}"
            raise damaged(self.where, expected="at least one pixel", found=found)
        names = self.image_names()
        lengths = [self.ole.get_size(name) for name in names]
        dtype = self.dtype(lengths[0], math.prod(shape))
        needed = math.prod(shape) * dtype.itemsize
        for number, length in enumerate(lengths, start=1):
            if length != needed:
                expected = f"{needed} bytes in image {number}"
                raise damaged(self.where, expected=expected, found=str(length))
        check_plausible(self.where, needed=len(names) * needed, stored=size, packed=False)
        pixels = np.empty((len(names), *shape), dtype=dtype.newbyteorder("="))
        for image, name in zip(pixels, names, strict=True):
            image[::-1] = np.frombuffer(self.stream(name), dtype).reshape(shape)
        return pixels[0] if len(names) == 1 else pixels

    def image_names(self) -> list[str]:
        """The images in order: as many as planned, or as made where the file says that a scan was stopped.

        Images that were planned and never made may be there without a byte, behind all others.
        """
        paths = ("/".join(path) for path in self.ole.listdir())
        stored = {int(match[1]): path for path in paths if (match := _IMAGE.fullmatch(path.lower()))}
        made = sorted(number for number, name in stored.items() if self.ole.get_size(name))
        stated = [self.whole(f"ImageInfo/{name}") for name in ("NoOfImages", "ImagesTaken")]
        counts = [count for count in stated if count]
        gapless = made == list(range(1, len(made) + 1))
        if not made or not gapless or (counts and len(made) not in counts):
            promised = " or ".join(map(str, counts)) or "at least one"
            found = str(len(made)) + ("" if gapless else f", the last of them number {made[-1]}")
            raise damaged(self.where, expected=f"{promised} image(s)", found=found)
        return [stored[number] for number in made]

    def dtype(self, length: int, pixels: int) -> np.dtype[Any]:
        """The type as stated, or as bytes and pixels of the first image tell."""
        kind = self.whole("ImageInfo/DataType") or _BYTES.get(length // pixels if length % pixels == 0 else 0)
        if kind is None:
            found = f"an image of {length} bytes and {pixels} pixels"
            raise damaged(self.where, expected="1, 2 or 4 bytes a pixel", found=found)
        if kind not in _TYPES:
            raise wrong_type(self.where, f"data type {kind}")
        return np.dtype(_TYPES[kind])

    def exposure(self, count: int) -> dict[str, Any]:
        """What the file says of the exposure, keys only where it says something."""
        energy = self.number("ImageInfo/Energy")
        stored = self.stream("ImageInfo/Date") if self.ole.exists("ImageInfo/Date") else b""
        length = len(stored) // count
        dates = [
            stored[i * length : (i + 1) * length].split(b"\0")[0].decode("latin-1") for i in range(count)
        ]
        values = {
            "exposure_s": _common(self.numbers("ImageInfo/ExpTimes", count)),
            "energy_kev": round(energy / 1000.0, 6) if energy is not None and energy >= 1000.0 else None,
            "angle_deg": _common(self.numbers("ImageInfo/Angles", count)),
            "acquired": _common(dates if all(d and d.isascii() and d.isprintable() for d in dates) else []),
        }
        return {name: value for name, value in values.items() if value is not None}

    def whole(self, name: str) -> int | None:
        """One 32-bit integer, None where it is missing or empty."""
        stored = self.stream(name) if self.ole.exists(name) else b""
        return int(struct.unpack_from("<i", stored)[0]) if stored else None

    def number(self, name: str) -> float | None:
        """The first number of a stream, None where it is missing, zero or no number."""
        values = self.numbers(name, 1)
        return values[0] if values and values[0] > 0 else None

    def numbers(self, name: str, count: int) -> list[float]:
        """The first `count` 32-bit floats of a stream, nothing where they are missing or no numbers."""
        stored = self.stream(name) if self.ole.exists(name) else b""
        if len(stored) < 4 * count:
            return []
        values = np.frombuffer(stored, "<f4", count)
        # The shortest decimal that gives the same 32-bit number: 0.156, not 0.15600000321865082.
        return [float(str(value)) for value in values] if np.all(np.isfinite(values)) else []

    def stream(self, name: str) -> bytes:
        """The bytes of one stream, which must be there."""
        with self.ole.openstream(name) as stream:
            return bytes(stream.read())


def _common(values: list[Any]) -> Any:
    """One value where all are equal, None where there is none."""
    if not values:
        return None
    return values[0] if all(value == values[0] for value in values) else values
