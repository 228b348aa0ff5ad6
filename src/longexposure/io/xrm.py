"""The X-ray microscope's own files, .xrm (one image) and .txrm (a tomography): OLE compound files."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import check_finite, check_plausible, damaged, wrong_type
from longexposure.radiograph import Pixels, Radiograph, Source

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_TYPES = {3: "<u1", 5: "<u2", 10: "<f4"}
_PER_FOLDER = 100


def is_xrm(start: bytes) -> bool:
    """Whether a file that starts so is an OLE compound file."""
    return start.startswith(SIGNATURE)


def read_xrm(data: bytes, source: Source) -> Radiograph:
    """Read all images as stored, rows in the order of the file; the reference image is not applied.

    The exposure says `exposure_s`, `angle_deg` and `acquired` (one value, or one per image where
    they differ) and `energy_kev`. The file keeps the energy without a unit: synchrotron instruments
    write eV, so that values below 1000 are left out rather than guessed at.

    Raises:
        InputError: damaged, incomplete, or another program's compound file.
    """
    import olefile

    with olefile.OleFileIO(io.BytesIO(data)) as ole:
        file = _File(ole, source.path)
        pixels = file.images(len(data))
        check_finite(pixels, source.path)
        pitch = file.number("ImageInfo/PixelSize")
        return Radiograph(
            pixels=pixels,
            pitch_um=(pitch, pitch) if pitch else None,
            exposure=file.exposure(1 if pixels.ndim == 2 else pixels.shape[0]),
            source=source,
        )


class _File:
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
        """All images, as many as planned, or as made where the file says that a scan was stopped.

        (H, W) for one, (N, H, W) for more, of a file of `size` bytes.
        """
        width, height = self.whole("ImageInfo/ImageWidth"), self.whole("ImageInfo/ImageHeight")
        kind = self.whole("ImageInfo/DataType") if self.ole.exists("ImageInfo/DataType") else 5
        if kind not in _TYPES:
            raise wrong_type(self.where, f"data type {kind}")
        counts = ("ImageInfo/NoOfImages", "ImageInfo/ImagesTaken")
        stated = [self.whole(name) for name in counts if self.ole.exists(name)]
        count = 0
        while self.ole.exists(_image_name(count)):
            count += 1
        if count == 0 or (stated and count not in stated):
            promised = " or ".join(map(str, stated)) or "at least one"
            raise damaged(self.where, expected=f"{promised} image(s)", found=str(count))
        dtype = np.dtype(_TYPES[kind])
        needed = width * height * dtype.itemsize
        if needed <= 0:
            raise damaged(self.where, expected="at least one pixel", found=f"{width} x {height}")
        check_plausible(self.where, needed=count * needed, stored=size, packed=False)
        pixels = np.empty((count, height, width), dtype=dtype.newbyteorder("="))
        for index in range(count):
            stored = self.stream(_image_name(index))
            if len(stored) != needed:
                expected = f"{needed} bytes in image {index + 1}"
                raise damaged(self.where, expected=expected, found=str(len(stored)))
            pixels[index] = np.frombuffer(stored, dtype).reshape(height, width)
        return pixels[0] if count == 1 else pixels

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

    def whole(self, name: str) -> int:
        """One 32-bit integer, which must be there."""
        return int(struct.unpack_from("<i", self.stream(name))[0])

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


def _image_name(index: int) -> str:
    return f"ImageData{math.ceil((index + 1) / _PER_FOLDER)}/Image{index + 1}"


def _common(values: list[Any]) -> Any:
    """One value where all are equal, None where there is none."""
    if not values:
        return None
    return values[0] if all(value == values[0] for value in values) else values
