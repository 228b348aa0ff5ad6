"""The X-ray microscope's files, on the real tomography that ships and on damaged copies of it."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import olefile
import pytest
from PIL import Image

from longexposure.errors import InputError
from longexposure.io import read_radiograph, write_radiograph

EXAMPLES = Path(__file__).parents[2] / "examples" / "radiographs"
TOMOGRAPHY = EXAMPLES / "txrm_test_chip_tomo.txrm"


@pytest.fixture
def altered(tmp_path):
    """A copy with some streams replaced, each by one of the same length."""

    def alter(**streams: bytes) -> Path:
        path = tmp_path / "a.txrm"
        shutil.copyfile(TOMOGRAPHY, path)
        with olefile.OleFileIO(str(path), write_mode=True) as ole:
            for name, content in streams.items():
                ole.write_stream(f"ImageInfo/{name}", content)
        return path

    return alter


def number(value: int) -> bytes:
    return struct.pack("<i", value)


def test_images_equal_the_tiff_copies_in_order():
    pixels = read_radiograph(TOMOGRAPHY).pixels
    assert pixels.dtype == np.uint16
    assert pixels.shape == (7, 256, 256)
    for index in range(7):
        copy = np.asarray(Image.open(EXAMPLES / f"ic_5s_view{index + 1}.tif"))
        np.testing.assert_array_equal(pixels[index], copy)


def test_exposure_and_pitch_are_the_instrument_s():
    radiograph = read_radiograph(TOMOGRAPHY)
    exposure = radiograph.exposure
    assert exposure["exposure_s"] == 5.0
    assert exposure["energy_kev"] == pytest.approx(9.2, abs=0.001)
    assert exposure["angle_deg"] == pytest.approx([-45, -30, -15, 0, 15, 30, 45], abs=0.05)
    assert exposure["acquired"][0] == "11/09/15 18:19:21"
    assert radiograph.pitch_um == pytest.approx((0.156, 0.156), abs=0.0005)
    assert radiograph.source.format == "xrm"


def test_tiff_copy_keeps_pixels_exposure_and_pitch(tmp_path):
    radiograph = read_radiograph(TOMOGRAPHY)
    back = read_radiograph(write_radiograph(radiograph, tmp_path / "a.tif"))
    np.testing.assert_array_equal(back.pixels, radiograph.pixels)
    assert back.exposure == radiograph.exposure
    assert back.pitch_um == radiograph.pitch_um
    assert back.resolution.pitch_um == pytest.approx(radiograph.pitch_um)


def test_float_images_are_read(altered):
    path = altered(DataType=number(10), ImageWidth=number(128))
    pixels = read_radiograph(path).pixels
    with olefile.OleFileIO(str(TOMOGRAPHY)) as ole:
        stored = ole.openstream("ImageData1/Image3").read()
    np.testing.assert_array_equal(pixels[2], np.frombuffer(stored, "<f4").reshape(256, 128))


def test_eight_bit_images_are_read(altered):
    pixels = read_radiograph(altered(DataType=number(3), ImageWidth=number(512))).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (7, 256, 512)


def test_unknown_data_type_is_refused(altered):
    with pytest.raises(InputError, match=r"data type 6.*convert it yourself"):
        read_radiograph(altered(DataType=number(6)))


@pytest.mark.parametrize(("planned", "taken"), [(7, 7), (9, 7), (7, 9)])
def test_stopped_scan_is_read_where_the_file_says_so(planned, taken, altered):
    path = altered(NoOfImages=number(planned), ImagesTaken=number(taken))
    assert read_radiograph(path).pages == 7


@pytest.mark.parametrize("stated", [0, 1, 6, 8, -1])
def test_another_number_of_images_than_stated_is_refused(stated, altered):
    with pytest.raises(InputError, match=f"{stated} or {stated} image"):
        read_radiograph(altered(NoOfImages=number(stated), ImagesTaken=number(stated)))


@pytest.mark.parametrize(
    ("width", "height"), [(0, 256), (-1, 256), (-256, -256), (255, 256), (2**31 - 1, 2**31 - 1)]
)
def test_lying_size_is_refused(width, height, altered):
    with pytest.raises(InputError):
        read_radiograph(altered(ImageWidth=number(width), ImageHeight=number(height)))


def test_numbers_that_are_none_are_left_out(altered):
    nan = struct.pack("<7f", *[float("nan")] * 7)
    radiograph = read_radiograph(
        altered(ExpTimes=nan, PixelSize=nan[:4], Energy=struct.pack("<61f", *[8.0] * 61))
    )
    assert "exposure_s" not in radiograph.exposure
    assert "energy_kev" not in radiograph.exposure
    assert radiograph.pitch_um is None


def test_energy_per_image_list_gives_the_first(altered):
    radiograph = read_radiograph(altered(Energy=struct.pack("<61f", 8000.0, *[0.0] * 60)))
    assert radiograph.exposure["energy_kev"] == 8.0


def without(name: str, folder: Path) -> Path:
    """A copy in whose directory this stream has another name."""
    path = folder / "without.txrm"
    last = name[:-1] + ("z" if name[-1] != "z" else "y")
    old, new = (text.encode("utf-16-le") + bytes(2) for text in (name, last))
    path.write_bytes(TOMOGRAPHY.read_bytes().replace(old, new))
    return path


def test_another_program_s_compound_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="another program's compound file"):
        read_radiograph(without("ImageWidth", tmp_path))


def test_image_that_is_missing_is_noticed(tmp_path):
    with pytest.raises(InputError, match=r"7 or 7 image\(s\), found 2"):
        read_radiograph(without("Image3", tmp_path))


def test_optional_streams_may_be_missing(tmp_path):
    assert "exposure_s" not in read_radiograph(without("ExpTimes", tmp_path)).exposure
    assert read_radiograph(without("DataType", tmp_path)).pixels.dtype == np.uint16
    assert read_radiograph(without("NoOfImages", tmp_path)).pages == 7
    assert "acquired" not in read_radiograph(without("Date", tmp_path)).exposure
