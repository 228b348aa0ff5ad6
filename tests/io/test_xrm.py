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


def emptied(source: Path, target: Path, *names: str) -> Path:
    """A copy of a file in whose directory streams of these names have no bytes, in whatever storage."""
    data = bytearray(source.read_bytes())
    for name in names:
        wanted, at = name.encode("utf-16-le") + bytes(2), -1
        while (at := data.find(wanted, at + 1)) >= 0:
            if at % 128 == 0:  # [MS-CFB] 2.6.1: name, then at 116 the first sector and at 120 the size
                struct.pack_into("<IQ", data, at + 116, 0xFFFFFFFE, 0)
    target.write_bytes(data)
    return target


def test_images_equal_the_tiff_copies_of_the_stored_rows_turned_upright():
    pixels = read_radiograph(TOMOGRAPHY).pixels
    assert pixels.dtype == np.uint16
    assert pixels.shape == (7, 256, 256)
    for index in range(7):
        copy = np.asarray(Image.open(EXAMPLES / f"ic_5s_view{index + 1}.tif"))
        np.testing.assert_array_equal(pixels[index], copy[::-1])


def test_history_says_that_the_rows_were_turned(tmp_path):
    radiograph = read_radiograph(TOMOGRAPHY)
    (step,) = radiograph.history
    assert step.action == "turn upright"
    assert "bottom to top" in step.settings["rows"]
    copy = read_radiograph(write_radiograph(radiograph, tmp_path / "a.tif"))
    assert copy.history == (step,)
    np.testing.assert_array_equal(copy.pixels, radiograph.pixels)


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
    np.testing.assert_array_equal(pixels[2], np.frombuffer(stored, "<f4").reshape(256, 128)[::-1])


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


@pytest.mark.parametrize(("planned", "taken"), [(0, 7), (7, 0), (0, 0)])
def test_a_number_of_zero_says_nothing(planned, taken, altered):
    path = altered(NoOfImages=number(planned), ImagesTaken=number(taken))
    np.testing.assert_array_equal(read_radiograph(path).pixels, read_radiograph(TOMOGRAPHY).pixels)


@pytest.mark.parametrize(
    "names",
    [
        ["DataType"],
        ["NoOfImages"],
        ["ImagesTaken"],
        ["NoOfImages", "ImagesTaken"],
        ["DataType", "NoOfImages", "ImagesTaken"],
        ["ExpTimes", "Angles", "PixelSize", "Energy", "Date"],
        ["DataType", "NoOfImages", "ImagesTaken", "ExpTimes", "Angles", "PixelSize", "Energy", "Date"],
    ],
    ids=" ".join,
)
def test_streams_without_a_byte_say_nothing(names, tmp_path):
    sound = read_radiograph(TOMOGRAPHY)
    radiograph = read_radiograph(emptied(TOMOGRAPHY, tmp_path / "a.txrm", *names))
    np.testing.assert_array_equal(radiograph.pixels, sound.pixels)
    told = {"ExpTimes": "exposure_s", "Angles": "angle_deg", "Energy": "energy_kev", "Date": "acquired"}
    gone = {key for stream, key in told.items() if stream in names}
    assert radiograph.exposure == {key: sound.exposure[key] for key in sound.exposure if key not in gone}
    assert (radiograph.pitch_um is None) == ("PixelSize" in names)


@pytest.mark.parametrize("kind", [0, None])
@pytest.mark.parametrize(("width", "dtype"), [(512, "<u1"), (256, "<u2"), (128, "<f4")])
def test_bytes_and_pixels_tell_a_type_that_is_not_stated(kind, width, dtype, altered, tmp_path):
    stated = {} if kind is None else {"DataType": number(kind)}
    path = altered(ImageWidth=number(width), **stated)
    path = emptied(path, tmp_path / "b.txrm", "DataType") if kind is None else path
    with olefile.OleFileIO(str(TOMOGRAPHY)) as ole:
        stored = ole.openstream("ImageData1/Image7").read()
    pixels = read_radiograph(path).pixels
    assert pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(pixels[6], np.frombuffer(stored, dtype).reshape(256, width)[::-1])


@pytest.mark.parametrize("width", [192, 64, 255])
def test_bytes_that_fit_no_type_are_refused(width, altered, tmp_path):
    path = emptied(altered(ImageWidth=number(width)), tmp_path / "b.txrm", "DataType")
    with pytest.raises(InputError, match="1, 2 or 4 bytes a pixel"):
        read_radiograph(path)


def test_type_that_contradicts_the_bytes_is_refused(altered):
    with pytest.raises(InputError, match="262144 bytes in image 1, found 131072"):
        read_radiograph(altered(DataType=number(10)))


@pytest.mark.parametrize(("last", "counts"), [("Image7", (7, 6)), ("Image7", (0, 0)), ("Image7", (9, 6))])
def test_planned_images_without_a_byte_were_not_made(last, counts, altered, tmp_path):
    planned, taken = counts
    path = altered(NoOfImages=number(planned), ImagesTaken=number(taken))
    pixels = read_radiograph(emptied(path, tmp_path / "b.txrm", last)).pixels
    np.testing.assert_array_equal(pixels, read_radiograph(TOMOGRAPHY).pixels[:6])


@pytest.mark.parametrize("name", ["Image1", "Image4"])
def test_image_that_is_empty_before_others_is_noticed(name, altered, tmp_path):
    path = altered(NoOfImages=number(0), ImagesTaken=number(0))
    with pytest.raises(InputError, match="found 6, the last of them number 7"):
        read_radiograph(emptied(path, tmp_path / "b.txrm", name))


@pytest.mark.parametrize("name", ["ImageWidth", "ImageHeight"])
def test_size_that_is_not_stated_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="at least one pixel"):
        read_radiograph(emptied(TOMOGRAPHY, tmp_path / "a.txrm", name))


@pytest.mark.parametrize("stated", [1, 6, 8, -1])
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
    with pytest.raises(InputError, match=r"7 or 7 image\(s\), found 6, the last of them number 7"):
        read_radiograph(without("Image3", tmp_path))


@pytest.mark.parametrize(("at", "value"), [(30, 13), (32, 7), (44, 2**14), (64, 2**14), (72, 2**14)])
def test_tables_longer_than_the_file_are_refused_before_they_are_read(at, value, tmp_path, monkeypatch):
    data = bytearray(TOMOGRAPHY.read_bytes())
    struct.pack_into("<H" if at < 40 else "<I", data, at, value)
    (tmp_path / "a.txrm").write_bytes(data)
    monkeypatch.setattr(olefile, "OleFileIO", lambda *_: pytest.fail("opened"))
    with pytest.raises(InputError, match=r"bytes of tables|sectors of"):
        read_radiograph(tmp_path / "a.txrm")


def test_optional_streams_may_be_missing(tmp_path):
    assert "exposure_s" not in read_radiograph(without("ExpTimes", tmp_path)).exposure
    assert read_radiograph(without("DataType", tmp_path)).pixels.dtype == np.uint16
    assert read_radiograph(without("NoOfImages", tmp_path)).pages == 7
    assert "acquired" not in read_radiograph(without("Date", tmp_path)).exposure
