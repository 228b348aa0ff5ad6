"""How many pixels a file declares is told before one of them is unpacked, for every format."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from quick import noisy

from longexposure.errors import InputError
from longexposure.io import FORMATS, read_radiograph, write_radiograph
from longexposure.io.declared import declared_pixels, format_of
from longexposure.radiograph import Radiograph


def png_that_claims(side: int) -> bytes:
    """A small PNG whose header promises side x side pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", [form.name for form in FORMATS.values() if form.writes])
def test_formats_that_are_written_declare_the_pixels_they_hold(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{FORMATS[name].suffixes[0]}"
    write_radiograph(Radiograph(noisy(0, (40, 56))), path)
    assert format_of(path).name == name
    assert declared_pixels(path) == 40 * 56


def test_all_pages_of_a_stack_count(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, noisy(0, (3, 40, 56)), compression="zlib", photometric="minisblack")
    assert declared_pixels(path) == 3 * 40 * 56


def test_formats_that_are_only_read_declare_the_pixels_they_hold(tmp_path: Path) -> None:
    grey = (noisy(0, (40, 56)) >> 8).astype(np.uint8)
    np.save(tmp_path / "a.npy", grey)
    for name in ("a.pgm", "a.bmp", "a.jpg"):
        Image.fromarray(grey).save(tmp_path / name)
    his = struct.pack("<HHHIHHHHHHHdH", 0x7000, 68, 100, 0, 32, 1, 1, 56, 40, 2, 0, 1e6, 4).ljust(100, b"\0")
    (tmp_path / "a.his").write_bytes(his + bytes(2 * 2 * 40 * 56))
    for name, frames in {"a.npy": 1, "a.pgm": 1, "a.bmp": 1, "a.jpg": 1, "a.his": 2}.items():
        assert declared_pixels(tmp_path / name) == frames * 40 * 56, name
        assert read_radiograph(tmp_path / name).pixels.size == frames * 40 * 56


def test_what_a_header_claims_is_told_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "claims.png"
    path.write_bytes(png_that_claims(100_000))
    assert declared_pixels(path) == 100_000**2


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file"), (b"no image", "a text file"), (b"II*\0\x08\0\0\0\x01", "cut off")],
)
def test_what_is_no_whole_image_is_refused_in_one_line(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        declared_pixels(path)


def test_a_file_that_is_cut_off_in_its_head_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    tifffile.imwrite(whole, noisy(0, (40, 56)), compression="zlib")
    path = tmp_path / "half.tif"
    path.write_bytes(whole.getvalue()[:100])
    with pytest.raises(InputError):
        declared_pixels(path)
