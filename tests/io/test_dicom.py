"""DICOM and DICONDE: grey values to the bit, attributes kept, derived images, and files that are refused."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from longexposure import system
from longexposure.errors import InputError, OutputError, ResourceError
from longexposure.io import dicom_layout, read_radiograph, write_radiograph
from longexposure.radiograph import Radiograph, Step

THEIRS = Path(pydicom.__file__).parent / "data" / "test_files"
GREY = ("CT_small", "MR_small", "MR_small_bigendian", "MR_small_implicit", "MR_small_expb", "MR_small_padded")
GREY = (*GREY, "examples_overlay", "rtdose", "rtdose_1frame", "rtdose_expb")
STEP = Step("longexposure", "0.1.0", "enhance", {"model": "fast", "strength": 0.5})
DX = "1.2.840.10008.5.1.4.1.1.1.1.1"

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)"
)


def component(raw: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **attributes: object) -> Dataset:
    """A DICONDE image of these stored samples, of one frame or several, with a private block."""
    frames, rows, columns = (1, *raw.shape) if raw.ndim == 2 else raw.shape
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = DX, "1.2.3.4"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.PatientName, dataset.PatientID = "Board 7", "PCB-7"
    dataset.PatientBirthDate = "20260131"
    dataset.add_new(0x00102160, "SH", "FR4")
    dataset.KVP, dataset.ExposureTime = "90", "5000"
    dataset.PixelSpacing = ["0.0052", "0.0104"]
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 8 * raw.itemsize
    dataset.HighBit, dataset.PixelRepresentation = 8 * raw.itemsize - 1, 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.private_block(0x0021, "ACME 1.0", create=True).add_new(3, "LO", "bay 4")
    dataset.private_block(0x7FE1, "ACME 1.0", create=True).add_new(1, "OB", bytes(range(6)))
    for name, value in attributes.items():
        setattr(dataset, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = (data := raw.astype(raw.dtype.newbyteorder(order)).tobytes()) + bytes(len(data) % 2)
    dataset["PixelData"].VR = "OB" if raw.itemsize == 1 and syntax != ImplicitVRLittleEndian else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def errors(path: Path) -> set[str]:
    """What dciodvfy calls an error."""
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


def enhanced(radiograph: Radiograph) -> Radiograph:
    """Something is done to the grey values, so that all are different."""
    return radiograph.with_pixels(radiograph.pixels[..., ::-1].copy(), STEP)


@pytest.mark.parametrize("name", GREY)
def test_values_are_those_that_pydicom_reads_and_come_back(name, tmp_path):
    source = THEIRS / f"{name}.dcm"
    radiograph = read_radiograph(source)
    theirs = pydicom.dcmread(source)
    if name == "MR_small_padded":
        theirs.PixelData = theirs.PixelData[: theirs.Rows * theirs.Columns * 2]
    np.testing.assert_array_equal(radiograph.pixels, theirs.pixel_array)
    copy = write_radiograph(radiograph.with_pixels(radiograph.pixels, STEP), tmp_path / "a.dcm")
    back = pydicom.dcmread(copy)
    np.testing.assert_array_equal(back.pixel_array, theirs.pixel_array)
    assert back.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID
    assert read_radiograph(copy).history == (*radiograph.history, read_radiograph(copy).history[-1])


@pytest.mark.parametrize("name", GREY)
@needs_dciodvfy
def test_derived_image_has_no_error_that_its_source_had_not(name, tmp_path):
    source = THEIRS / f"{name}.dcm"
    copy = write_radiograph(enhanced(read_radiograph(source)), tmp_path / "a.dcm")
    assert errors(copy) - errors(source) == set()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(6, 5), (3, 6, 5)], ids=str)
@needs_dciodvfy
def test_image_of_another_origin_is_a_secondary_capture_without_errors(dtype, shape, tmp_path):
    pixels = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    radiograph = Radiograph(pixels, pitch_um=(5.2, 5.2), description="board", history=(STEP,))
    assert errors(write_radiograph(radiograph, tmp_path / "a.dcm")) == set()


@pytest.mark.parametrize("name", GREY)
def test_every_other_attribute_is_kept_to_the_byte(name, tmp_path):
    source = THEIRS / f"{name}.dcm"
    copy = write_radiograph(enhanced(read_radiograph(source)), tmp_path / "a.dcm")
    _check_kept(source, copy)


def _check_kept(source: Path, copy: Path) -> None:
    changed = {"SOPInstanceUID", "ImageType", "SourceImageSequence", "DerivationDescription", "PixelData"}
    changed |= {"ContributingEquipmentSequence", "IconImageSequence", "DataSetTrailingPadding"}
    changed |= {"SmallestImagePixelValue", "LargestImagePixelValue"}
    before, after = pydicom.dcmread(source), pydicom.dcmread(copy)
    for tag in list(before.keys()):
        if pydicom.datadict.keyword_for_tag(tag) in changed or tag.element == 0:
            continue
        one, other = before.get_item(tag), after.get_item(tag)
        assert one.value == other.value, tag
    ours = {tag for tag in list(after.keys()) if tag not in before and tag.group != 0x0099}
    assert {pydicom.datadict.keyword_for_tag(tag) for tag in ours} <= changed


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)], ids=str)
def test_frames_of_every_syntax_come_back_with_private_blocks(syntax, dtype, shape, tmp_path):
    raw = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    source = saved(component(raw, syntax), tmp_path / "a.dcm")
    radiograph = read_radiograph(source)
    np.testing.assert_array_equal(radiograph.pixels, raw)
    copy = write_radiograph(enhanced(radiograph), tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_radiograph(copy).pixels, raw[..., ::-1])
    _check_kept(source, copy)
    after = pydicom.dcmread(copy)
    block = after.private_block(0x0021, "ACME 1.0")
    assert block[3].value in ("bay 4", b"bay 4 ")
    assert after.private_block(0x7FE1, "ACME 1.0")[1].value == bytes(range(6))
    np.testing.assert_array_equal(after.pixel_array, raw[..., ::-1])


BITS = {
    "12 of 16, unsigned": ({"BitsStored": 12, "HighBit": 11}, [0, 1, 4095, 2048], [0, 1, 4095, 2048]),
    "10 of 16, unsigned": ({"BitsStored": 10, "HighBit": 9}, [0, 1023, 512, 7], [0, 1023, 512, 7]),
    "14 of 16, unsigned": ({"BitsStored": 14, "HighBit": 13}, [0, 16383, 5, 7], [0, 16383, 5, 7]),
    "12 at the top": ({"BitsStored": 12, "HighBit": 15}, [0, 0x10, 0xFFF0, 0x8000], [0, 1, 4095, 2048]),
    "12 below an overlay": ({"BitsStored": 12, "HighBit": 11}, [0x1000, 1, 0x8FFF, 0], [0, 1, 4095, 0]),
    "12 signed, extended": (
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
        [0xF800, 0x07FF, 0xFFFF, 0],
        [-2048, 2047, -1, 0],
    ),
    "12 signed, not extended": (
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
        [0x0800, 0x07FF, 0x0FFF, 0],
        [-2048, 2047, -1, 0],
    ),
    "16 signed": ({"PixelRepresentation": 1}, [0x8000, 0x7FFF, 0xFFFF, 0], [-32768, 32767, -1, 0]),
}


@pytest.mark.parametrize("case", BITS)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_samples_of_fewer_bits_come_back_bit_by_bit(case, syntax, tmp_path):
    attributes, raw, values = BITS[case]
    stored = np.array([raw], np.uint16)
    source = saved(component(stored, syntax, **attributes), tmp_path / "a.dcm")
    radiograph = read_radiograph(source)
    assert radiograph.pixels[0].tolist() == values
    same = write_radiograph(radiograph.with_pixels(radiograph.pixels, STEP), tmp_path / "b.dcm")
    assert pydicom.dcmread(same).PixelData == pydicom.dcmread(source).PixelData
    brighter = radiograph.with_pixels((radiograph.pixels + 1e3).astype(radiograph.pixels.dtype), STEP)
    most = 2 ** (attributes.get("BitsStored", 16) - attributes.get("PixelRepresentation", 0)) - 1
    back = read_radiograph(write_radiograph(brighter, tmp_path / "c.dcm"))
    np.testing.assert_array_equal(back.pixels, brighter.pixels)
    assert back.pixels[0].tolist() == [min(value + 1000, most) for value in values]


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (2, 2)], ids=str)
def test_bytes_in_words_of_the_other_order_are_read_and_written_as_such(shape, tmp_path):
    raw = np.random.default_rng(1).integers(0, 255, shape, endpoint=True).astype(np.uint8)
    dataset = component(raw, ExplicitVRBigEndian)
    dataset["PixelData"].VR = "OW"
    source = saved(dataset, tmp_path / "a.dcm")
    theirs = pydicom.dcmread(source).pixel_array
    radiograph = read_radiograph(source)
    np.testing.assert_array_equal(radiograph.pixels, theirs)
    assert not np.array_equal(theirs, raw)
    same = write_radiograph(radiograph.with_pixels(radiograph.pixels, STEP), tmp_path / "b.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(same).pixel_array, theirs)


def test_rescale_and_polarity_are_said_and_not_applied(tmp_path):
    raw = np.array([[0, 100], [200, 255]], np.uint8)
    attributes = {"RescaleSlope": "2", "RescaleIntercept": "-10", "RescaleType": "US"}
    attributes["PhotometricInterpretation"] = "MONOCHROME1"
    radiograph = read_radiograph(saved(component(raw, **attributes), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(radiograph.pixels, raw)
    assert radiograph.polarity == "white-is-zero"
    wanted = {"rescale_slope": 2.0, "rescale_intercept": -10.0, "rescale_type": "US"}
    assert wanted.items() <= radiograph.exposure.items()
    back = pydicom.dcmread(write_radiograph(enhanced(radiograph), tmp_path / "b.dcm"))
    assert (back.PhotometricInterpretation, back.RescaleSlope) == ("MONOCHROME1", 2)


def test_component_and_exposure_are_read_under_the_names_of_diconde(tmp_path):
    radiograph = read_radiograph(saved(component(np.zeros((2, 2), np.uint8)), tmp_path / "a.dcm"))
    assert radiograph.exposure == {
        "component_id": "PCB-7",
        "component_name": "Board 7",
        "component_manufactured": "20260131",
        "material": "FR4",
        "tube_kv": 90.0,
        "exposure_s": 5.0,
    }
    assert radiograph.pitch_um == (5.2, 10.4)
    tiff = read_radiograph(write_radiograph(radiograph, tmp_path / "a.tif"))
    assert (tiff.exposure, tiff.pitch_um) == (radiograph.exposure, (5.2, 10.4))


def test_derived_image_says_what_it_is(tmp_path):
    before = component(np.arange(6, dtype=np.uint16).reshape(2, 3), DerivationDescription="flat field")
    older = Dataset()
    older.ReferencedSOPClassUID, older.ReferencedSOPInstanceUID = DX, "1.2.3.3"
    before.SourceImageSequence = Sequence([older])
    before.SmallestImagePixelValue, before.LargestImagePixelValue = 0, 5
    radiograph = read_radiograph(saved(before, tmp_path / "a.dcm"))
    changed = radiograph.with_pixels(radiograph.pixels + np.uint16(7), STEP)
    after = pydicom.dcmread(write_radiograph(changed, tmp_path / "b.dcm"))
    assert list(after.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert after.SOPInstanceUID not in ("1.2.3.4", "")
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert UID(after.SOPInstanceUID).is_valid
    sources = [item.ReferencedSOPInstanceUID for item in after.SourceImageSequence]
    assert sources == ["1.2.3.3", "1.2.3.4"]
    assert after.SourceImageSequence[1].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    wanted = "flat field; longexposure 0.1.0: enhance, model fast, strength 0.5"
    assert after.DerivationDescription == wanted
    equipment = after.ContributingEquipmentSequence[0]
    assert (equipment.Manufacturer, equipment.PurposeOfReferenceCodeSequence[0].CodeValue) == (
        "longexposure",
        "109103",
    )
    assert (after.SmallestImagePixelValue, after.LargestImagePixelValue) == (7, 12)


def test_frame_types_of_functional_groups_are_derived_too(tmp_path):
    before = component(np.zeros((2, 2, 2), np.uint16))
    kind, group = Dataset(), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    group.CTImageFrameTypeSequence = Sequence([kind])
    before.SharedFunctionalGroupsSequence = Sequence([group])
    radiograph = read_radiograph(saved(before, tmp_path / "a.dcm"))
    after = pydicom.dcmread(write_radiograph(enhanced(radiograph), tmp_path / "b.dcm"))
    inner = after.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0]
    assert list(inner.FrameType) == ["DERIVED", "SECONDARY", "VOLUME", "NONE"]


def test_image_that_nothing_was_done_to_keeps_its_identifier_and_type(tmp_path):
    source = saved(component(np.arange(6, dtype=np.uint16).reshape(2, 3)), tmp_path / "a.dcm")
    radiograph = read_radiograph(source)
    copy = pydicom.dcmread(write_radiograph(radiograph, tmp_path / "b.dcm"))
    assert (copy.SOPInstanceUID, copy.ImageType[0]) == ("1.2.3.4", "ORIGINAL")
    other = dataclasses.replace(radiograph, pixels=radiograph.pixels + np.uint16(1))
    changed = pydicom.dcmread(write_radiograph(other, tmp_path / "c.dcm"))
    assert (changed.SOPInstanceUID != "1.2.3.4", changed.ImageType[0]) == (True, "DERIVED")


def test_icon_and_signatures_are_left_out_and_said(tmp_path):
    before = component(np.zeros((2, 2), np.uint8))
    icon = Dataset()
    icon.Rows = icon.Columns = 1
    icon.PixelData = b"\0\0"
    icon["PixelData"].VR = "OW"
    before.IconImageSequence = Sequence([icon])
    before.add_new(0xFFFAFFFA, "SQ", Sequence([Dataset()]))
    radiograph = read_radiograph(saved(before, tmp_path / "a.dcm"))
    assert radiograph.pixels.shape == (2, 2)
    assert radiograph.stored.notes == (
        "the icon, a reduced copy",
        "digital signatures, which hold for the source only",
    )
    after = pydicom.dcmread(write_radiograph(enhanced(radiograph), tmp_path / "b.dcm"))
    assert "IconImageSequence" not in after
    assert 0xFFFAFFFA not in after


def test_text_in_other_letters_comes_back_as_its_bytes(tmp_path):
    before = component(np.zeros((2, 2), np.uint8), SpecificCharacterSet="ISO_IR 144")
    before.ImageComments, before.PatientName = "плата 7", "плата"
    source = saved(before, tmp_path / "a.dcm")
    radiograph = read_radiograph(source)
    assert (radiograph.description, radiograph.exposure["component_name"]) == ("плата 7", "плата")
    copy = write_radiograph(enhanced(radiograph), tmp_path / "b.dcm")
    _check_kept(source, copy)
    assert read_radiograph(copy).description == "плата 7"


def test_file_without_preamble_and_one_that_begins_like_a_tiff_are_read(tmp_path):
    raw = np.arange(6, dtype=np.uint16).reshape(2, 3)
    source = saved(component(raw), tmp_path / "a.dcm").read_bytes()
    (tmp_path / "bare.dcm").write_bytes(source[132:])
    (tmp_path / "both.dcm").write_bytes(b"II*\0" + source[4:])
    dataset = source.index(b"\x08\0\x08\0CS")
    (tmp_path / "set.dcm").write_bytes(source[dataset:])
    for name in ("bare", "both", "set"):
        radiograph = read_radiograph(tmp_path / f"{name}.dcm")
        np.testing.assert_array_equal(radiograph.pixels, raw)
        back = read_radiograph(write_radiograph(enhanced(radiograph), tmp_path / f"{name}2.dcm"))
        np.testing.assert_array_equal(back.pixels, raw[:, ::-1])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("JPEG2000", "JPEG 2000 Image Compression"),
        ("MR_small_RLE", "RLE Lossless"),
        ("MR_small_jpeg_ls_lossless", "JPEG-LS Lossless"),
        ("image_dfl", "Deflated"),
        ("rtplan", "without pixels"),
        ("reportsi", "without pixels"),
        ("MR_truncated", "cut off"),
        ("ExplVR_BigEnd", "RGB"),
        ("examples_palette", "PALETTE COLOR"),
        ("liver_1frame", "1-bit samples"),
    ],
)
def test_compressed_missing_and_coloured_pixels_are_refused_in_one_line(name, found, tmp_path):
    with pytest.raises(InputError, match=found) as caught:
        read_radiograph(THEIRS / f"{name}.dcm")
    assert "\n" not in str(caught.value)


def test_header_that_costs_more_than_its_pixels_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    sound = saved(component(np.zeros((2, 2), np.uint8)), tmp_path / "a.dcm").read_bytes()
    at = sound.index(b"\x10\0\x10\0PN")
    monkeypatch.setattr("pydicom.dcmread", lambda *_, **__: pytest.fail("parsed"))
    many = struct.pack("<HH2sH", 9, 1, b"LO", 0) * 60_000
    items = (
        struct.pack("<HH2sHI", 9, 1, b"SQ", 0, 2**32 - 1) + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 60_000
    )
    items += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    large = struct.pack("<HH2sHI", 9, 1, b"OB", 0, 30 * 2**20) + bytes(30 * 2**20)
    for more in (many, items, large):
        (tmp_path / "b.dcm").write_bytes(sound[:at] + more + sound[at:])
        with pytest.raises(InputError, match="header that is not much longer"):
            read_radiograph(tmp_path / "b.dcm")


def test_sequences_nested_without_end_are_refused(tmp_path):
    sound = saved(component(np.zeros((2, 2), np.uint8)), tmp_path / "a.dcm").read_bytes()
    at = sound.index(b"\x10\0\x10\0PN")
    deeper = struct.pack("<HH2sHI", 9, 1, b"SQ", 0, 2**32 - 1) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    (tmp_path / "b.dcm").write_bytes(sound[:at] + deeper * 5000)
    with pytest.raises(InputError, match="deep"):
        read_radiograph(tmp_path / "b.dcm")


@pytest.mark.parametrize("attribute", ["Rows", "Columns", "NumberOfFrames"])
def test_more_pixels_than_the_file_has_are_refused_before_memory_is_taken(attribute, tmp_path, monkeypatch):
    dataset = component(np.zeros((2, 4, 4), np.uint16))
    setattr(dataset, attribute, 60_000)
    monkeypatch.setattr(dicom_layout, "header_bytes", lambda *_: pytest.fail("read"))
    with pytest.raises(InputError, match="bytes of pixels, found 64"):
        read_radiograph(saved(dataset, tmp_path / "a.dcm"))


def test_float_values_and_missing_package_are_refused_with_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(
        OutputError, match=r"a\.dcm: expected 8- or 16-bit grey values, found float32; write a \.tif"
    ):
        write_radiograph(Radiograph(np.zeros((2, 2), np.float32)), tmp_path / "a.dcm")
    path = saved(component(np.zeros((2, 2), np.uint8)), tmp_path / "b.dcm")
    monkeypatch.setattr(system, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'longexposure\[dicom\]'"):
        read_radiograph(path)


def test_float_pixel_data_come_back(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    dataset = component(np.zeros((3, 4), np.uint16), BitsAllocated=32)
    del dataset.PixelData
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, name)
    dataset.FloatPixelData = values.tobytes()
    radiograph = read_radiograph(saved(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(radiograph.pixels, values)
    back = read_radiograph(write_radiograph(enhanced(radiograph), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(back.pixels, values[:, ::-1])


def test_bytes_behind_the_last_element_are_told(tmp_path):
    source = saved(component(np.arange(12, dtype=np.uint16).reshape(3, 4)), tmp_path / "a.dcm")
    whole = source.read_bytes()
    source.write_bytes(whole + bytes(7))
    radiograph = read_radiograph(source)
    assert radiograph.stored.notes == ("7 bytes behind the last element",)
    source.write_bytes(whole[:-30])  # which begins in the middle of the private block behind the pixels
    assert "behind the last element" in read_radiograph(source).stored.notes[0]


def test_fragments_under_a_plain_syntax_are_refused_with_the_way_out(tmp_path):
    dataset = component(np.zeros((3, 4), np.uint16))
    dataset.PixelData = encapsulate([b"\xff\xd8abcd"])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    content = saved(dataset, tmp_path / "a.dcm").read_bytes()
    plain = ExplicitVRLittleEndian.encode().ljust(len(JPEGLosslessSV1), b"\0")
    (tmp_path / "a.dcm").write_bytes(content.replace(JPEGLosslessSV1.encode(), plain))
    with pytest.raises(InputError, match=r"not compressed, found pixels in fragments; .*gdcmconv"):
        read_radiograph(tmp_path / "a.dcm")
