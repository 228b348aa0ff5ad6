"""Formats that are only read: grey values to the bit, and what is damaged or foreign refused."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from longexposure.errors import InputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.io.plain import BLOCKS

GREY = np.random.default_rng(3).integers(0, 255, (5, 7), endpoint=True).astype(np.uint8)
DEEP = np.random.default_rng(4).integers(0, 65535, (3, 5, 7), endpoint=True).astype(np.uint16)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "<f4", ">f8"])
@pytest.mark.parametrize("fortran", [False, True])
def test_numpy_arrays_of_every_type_and_order(dtype, fortran, tmp_path):
    values = (DEEP // (256 if dtype == "u1" else 2)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(values) if fortran else values)
    radiograph = read_radiograph(tmp_path / "a.npy")
    np.testing.assert_array_equal(radiograph.pixels, values)
    tiff = write_radiograph(radiograph, tmp_path / "a.tif")
    np.testing.assert_array_equal(read_radiograph(tiff).pixels, values)


def test_pickles_and_cut_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(InputError, match="object"):
        read_radiograph(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", DEEP)
    (tmp_path / "c.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-2])
    with pytest.raises(InputError, match="210 bytes of pixels, found 208"):
        read_radiograph(tmp_path / "c.npy")


@pytest.mark.parametrize("values", [GREY, DEEP[0]], ids=["8", "16"])
@pytest.mark.parametrize("head", ["P5\n7 5\n{}\n", "P5 # a remark\n7\n# another\n5 {}\n"])
def test_pgm_with_remarks(values, head, tmp_path):
    top = np.iinfo(values.dtype).max
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    (tmp_path / "a.pgm").write_bytes(head.format(top).encode() + data)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.pgm").pixels, values)


def test_blanks_without_end_are_refused_at_once(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5" + b" " * 5000 + b"x")
    with pytest.raises(InputError, match="width, height"):
        read_radiograph(tmp_path / "a.pgm")


@pytest.mark.parametrize("suffix", [".ppm", ".bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_bitmaps_are_read_where_their_channels_are_equal(suffix, mode, tmp_path):
    Image.fromarray(GREY).convert(mode).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_radiograph(tmp_path / f"a{suffix}").pixels, GREY)
    coloured = np.stack([GREY, GREY, GREY ^ 1], -1)
    Image.fromarray(coloured).save(tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match="colour"):
        read_radiograph(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_read_and_its_blocks_are_named(progressive, tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=95, progressive=progressive)
    radiograph = read_radiograph(tmp_path / "a.jpg")
    theirs = imagecodecs.jpeg_decode((tmp_path / "a.jpg").read_bytes())
    np.testing.assert_array_equal(radiograph.pixels, theirs)
    assert radiograph.stored.warnings == (BLOCKS,)
    assert radiograph.stored.facts() == {"of_the_source": [BLOCKS]}
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-40])
    with pytest.raises(InputError, match="cut off"):
        read_radiograph(tmp_path / "b.jpg")


def his(path: Path, values: np.ndarray, kind: int) -> Path:
    frames, rows, columns = values.shape
    head = struct.pack("<HHHIHHHHHHHdH", 0x7000, 68, 100, 0, 32, 1, 1, columns, rows, frames, 0, 4e5, kind)
    path.write_bytes(head.ljust(68, b"\0") + bytes(32) + values.tobytes())
    return path


@pytest.mark.parametrize("frames", [1, 3])
def test_his_frames_and_their_time(frames, tmp_path):
    radiograph = read_radiograph(his(tmp_path / "a.his", DEEP[:frames], 4))
    np.testing.assert_array_equal(radiograph.pixels, DEEP[0] if frames == 1 else DEEP)
    assert radiograph.exposure == {"exposure_s": 0.4}
    with pytest.raises(InputError, match="type of numbers 5"):
        read_radiograph(his(tmp_path / "b.his", DEEP, 5))
    data = (tmp_path / "a.his").read_bytes()
    (tmp_path / "c.his").write_bytes(data[:-1])
    with pytest.raises(InputError, match="bytes of pixels"):
        read_radiograph(tmp_path / "c.his")


@pytest.mark.parametrize(("order", "code"), [("little", "<u2"), ("big", ">u2")])
@pytest.mark.parametrize("name", ["a.raw.toml", "a.toml"])
def test_raw_samples_are_read_as_the_toml_beside_says(order, code, name, tmp_path):
    (tmp_path / "a.raw").write_bytes(b"BM\xff\xd8head" + DEEP.astype(code).tobytes())
    (tmp_path / name).write_text(
        f'shape = [3, 5, 7]\ntype = "uint16"\nbyte_order = "{order}"\nheader_bytes = 8\n'
        'polarity = "white-is-zero"\npitch_um = [5.2, 10]\n'
    )
    radiograph = read_radiograph(tmp_path / "a.raw")
    np.testing.assert_array_equal(radiograph.pixels, DEEP)
    assert (radiograph.polarity, radiograph.pitch_um) == ("white-is-zero", (5.2, 10.0))
    assert radiograph.history[0].settings["header_bytes"] == 8
    tiff = read_radiograph(write_radiograph(radiograph, tmp_path / "a.tif"))
    assert tiff.history == radiograph.history


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, r"a\.raw\.toml beside it"),
        ("shape = [3, 5]", "type of uint8"),
        ('shape = [0, 5]\ntype = "uint8"', "shape ="),
        ('shape = [3, 5]\ntype = "uint8"\nhight = 3', "hight"),
        ('shape = [3, 50]\ntype = "uint8"', "150 bytes of pixels, found 20"),
        ('shape = [3, 5]\ntype = "uint8"\nheader_bytes = -1', "header_bytes"),
        ("shape = [", "TOML"),
    ],
)
def test_raw_samples_without_a_sound_description_are_refused(said, found, tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(range(20)))
    if said is not None:
        (tmp_path / "a.raw.toml").write_text(said)
    with pytest.raises(InputError, match=found):
        read_radiograph(tmp_path / "a.raw")


def test_bytes_behind_the_samples_are_told(tmp_path):
    pixels = np.arange(24, dtype=np.uint16).reshape(4, 6)
    (tmp_path / "a.raw").write_bytes(pixels.tobytes() + bytes(48))
    (tmp_path / "a.raw.toml").write_text('shape = [4, 6]\ntype = "uint16"\n')
    assert read_radiograph(tmp_path / "a.raw").stored.notes == ("48 bytes behind the last sample",)


@pytest.mark.parametrize(
    "start", [b"\0\x70\x44\0", b"BM".ljust(14, b"\0") + b"\x28\0\0\0"], ids=["his", "bmp"]
)
def test_header_that_is_cut_off_is_named(start, tmp_path):
    (tmp_path / "a.dat").write_bytes(start)
    with pytest.raises(InputError, match=r"a header of \d+ bytes, found \d+ bytes, cut off"):
        read_radiograph(tmp_path / "a.dat")
