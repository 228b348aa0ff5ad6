"""What a TIFF says beside its grey values is in the enhanced file too; tifffile and ElementTree read it."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from longexposure.io import read_radiograph, write_radiograph
from longexposure.io.tiff_writer import RECORD
from longexposure.radiograph import Radiograph, Resolution, Step

STEP = Step("longexposure", "0.1.0", "enhance", {"strength": 1.0})
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def ramp(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) * 37 % 50_000).astype(dtype)


def enhanced(source: Path) -> tuple[Radiograph, Path]:
    """What was read, and a copy with other grey values and a history."""
    radiograph = read_radiograph(source)
    copy = source.with_name("copy.tif")
    return radiograph, write_radiograph(radiograph.with_pixels(radiograph.pixels + 1, STEP), copy)


def check_same_but_pixels(before: Radiograph, copy: Path) -> None:
    """Everything that is read comes back from the copy, and a copy of that is the same file."""
    back = read_radiograph(copy)
    for name in ("pitch_um", "resolution", "description", "polarity", "domain", "exposure"):
        assert getattr(back, name) == getattr(before, name), name
    np.testing.assert_array_equal(back.pixels, before.pixels + 1)
    assert [step.action for step in back.history] == ["enhance"]
    assert back.stored.parts == before.stored.parts
    again = write_radiograph(back, copy.with_name("again.tif"))
    assert read_radiograph(again).stored.parts == before.stored.parts


def icc(space: bytes) -> bytes:
    return bytes(16) + space + bytes(108)


@pytest.mark.parametrize(
    ("unit", "per_unit", "pitch"),
    [
        ("um", 2.5, 0.4),
        ("\\u00B5m", 4.0, 0.25),
        ("micron", 1.0, 1.0),
        ("nm", 0.01, 0.1),
        ("mm", 20.0, 50.0),
        ("cm", 200.0, 50.0),
        ("inch", 254.0, 100.0),
        ("pixel", 2.5, None),
        ("sec", 2.5, None),
    ],
)
@pytest.mark.parametrize("shape", [(7, 6), (3, 7, 6)])
def test_imagej_file_stays_one_with_its_pitch(unit, per_unit, pitch, shape, tmp_path):
    metadata = {"unit": unit, "Info": "line 1\nline 2", "min": 12.0, "max": 4000.0, "spacing": 3.5}
    metadata |= {"Labels": [f"slice {i}" for i in range(3)], "Properties": {"key": "value"}, "finterval": 0.5}
    metadata |= {"Overlays": [b"Ioutrest"], "ROI": b"Ioutother"}
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, ramp(shape), imagej=True, resolution=(per_unit, per_unit / 2), metadata=metadata)
    before, copy = enhanced(source)
    if pitch is None:
        assert before.pitch_um is None
    else:
        assert before.pitch_um == pytest.approx((2 * pitch, pitch))
    check_same_but_pixels(before, copy)
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(copy) as two:
        assert two.is_imagej
        assert two.imagej_metadata == one.imagej_metadata
        assert two.series[0].axes == one.series[0].axes
        for code in (270, 282, 283, 296, 305, 50838, 50839):
            assert two.pages[0].tags[code].value == one.pages[0].tags[code].value


@pytest.mark.parametrize(
    ("kind", "axes", "shape"),
    [
        ("imagej", "TZYX", (2, 3, 7, 6)),
        ("imagej", "TZCYX", (2, 3, 2, 7, 6)),
        ("imagej", "CYX", (3, 7, 6)),
        ("ome", "TZYX", (2, 3, 7, 6)),
        ("ome", "TCZYX", (2, 2, 3, 7, 6)),
        ("shaped", "TZYX", (2, 3, 7, 6)),
        ("shaped", "QQQYX", (2, 3, 2, 7, 6)),
    ],
)
def test_hyperstack_comes_back_with_its_axes(kind, axes, shape, tmp_path):
    pixels, source = ramp(shape), tmp_path / "a.tif"
    options = {} if kind == "shaped" else {kind: True}
    tifffile.imwrite(source, pixels, photometric="minisblack", metadata={"axes": axes}, **options)
    before, copy = enhanced(source)
    assert before.pixels.shape == (np.prod(shape[:-2]), 7, 6)
    long = {axis: length for axis, length in zip(axes, shape, strict=True) if axis not in "YX"}
    if len(long) > 1:
        assert before.stored.axes == long
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(copy) as two:
        assert (two.series[0].axes, two.series[0].shape) == (one.series[0].axes, one.series[0].shape)
        np.testing.assert_array_equal(two.asarray(), pixels + 1)
    if kind != "shaped":
        check_same_but_pixels(before, copy)


@pytest.mark.parametrize("compress", [None, "zstd"])
def test_imagej_stack_behind_a_single_page_stays_a_whole_stack(compress, tmp_path):
    pixels, source = ramp((4, 7, 6)), tmp_path / "a.tif"
    tifffile.imwrite(source, pixels, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"})
    data = bytearray(source.read_bytes())  # end the chain after page 1, as ImageJ does beyond 4 GB
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (tags,) = struct.unpack_from(order + "H", data, start)
    struct.pack_into(order + "I", data, start + 2 + 12 * tags, 0)
    source.write_bytes(data)
    before = read_radiograph(source)
    copy = write_radiograph(
        before.with_pixels(before.pixels + 1, STEP), tmp_path / "b.tif", compress=compress
    )
    with tifffile.TiffFile(copy) as two:
        assert len(two.pages) == (1 if compress is None else 4)
        assert two.is_imagej
        assert two.series[0].axes == "ZYX"
        np.testing.assert_array_equal(two.asarray(), pixels + 1)
    np.testing.assert_array_equal(read_radiograph(copy).pixels, pixels + 1)


@pytest.mark.parametrize("compress", [None, "lzw"])
def test_stack_that_tifffile_truncated_comes_back_with_its_shape(compress, tmp_path):
    pixels, source = ramp((2, 3, 7, 6)), tmp_path / "a.tif"
    tifffile.imwrite(source, pixels, photometric="minisblack", truncate=True, metadata={"axes": "TZYX"})
    before = read_radiograph(source)
    copy = write_radiograph(before, tmp_path / "b.tif", compress=compress)
    with tifffile.TiffFile(copy) as two:
        assert (two.series[0].axes, two.series[0].shape) == ("TZYX", pixels.shape)
        np.testing.assert_array_equal(two.asarray(), pixels)


def ome_pixels(path: Path) -> tuple[ElementTree.Element, ElementTree.Element]:
    with tifffile.TiffFile(path) as tif:
        root = ElementTree.fromstring(tif.pages[0].tags[270].value.encode())
    return root, root.find(f"{OME}Image/{OME}Pixels")


@pytest.mark.parametrize(
    ("size", "unit", "um"),
    [
        (0.25, "µm", 0.25),
        (250.0, "nm", 0.25),
        (0.127, "mm", 127.0),
        (2e-4, "m", 200.0),
        (5.0, "Å", 5e-4),
        (3.0, "pixel", None),
        (3.0, "reference frame", None),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16", "uint32"])
def test_ome_file_stays_valid_with_its_pitch(size, unit, um, dtype, tmp_path):
    source = tmp_path / "a.ome.tif"
    metadata = {"axes": "ZYX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": 2 * size}
    metadata |= {"PhysicalSizeYUnit": unit, "Description": "board 7 <µ>", "Name": "tomo"}
    tifffile.imwrite(source, ramp((3, 7, 6), dtype), ome=True, metadata=metadata)
    before, copy = enhanced(source)
    assert before.pitch_um == (None if um is None else pytest.approx((2 * um, um)))
    check_same_but_pixels(before, copy)
    root, pixels = ome_pixels(copy)
    assert root.tag == f"{OME}OME"
    assert pixels.get("Type") == {"float32": "float"}.get(dtype, dtype)
    assert [int(pixels.get(f"Size{axis}")) for axis in "XYZCT"] == [6, 7, 3, 1, 1]
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(copy) as two:
        assert two.is_ome
        assert two.series[0].axes == "ZYX"
        assert two.series[0].dtype == dtype
        assert two.pages[0].tags[270].value == one.pages[0].tags[270].value
        assert len(two.pages) == 3


def ome_xml(image: str, *, root: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{OME[1:-1]}" {root}><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="7" SizeZ="1" SizeC="1" '
        f'SizeT="1" {image}</Pixels></Image></OME>'
    ).encode()


def test_ome_file_names_no_other_file_than_itself(tmp_path):
    uuid, other = "urn:uuid:00000000-0000-0000-0000-00000000000", '<UUID FileName="b.tif">urn:uuid:1</UUID>'
    own = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="a.ome.tif">{uuid}</UUID></TiffData>'
    text = ome_xml(f'><Channel ID="C:0" SamplesPerPixel="1"/>{own}<!--{other}-->', root=f'UUID="{uuid}"')
    source = tmp_path / "a.ome.tif"
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", metadata=None, description=text)
    before, copy = enhanced(source)
    again = write_radiograph(read_radiograph(copy), tmp_path / "again.tif")
    for path in (copy, again):
        assert read_radiograph(path).description == before.description == text.decode()
        root, pixels = ome_pixels(path)
        (named,) = pixels.iter(f"{OME}UUID")
        assert (named.text, named.attrib) == (root.get("UUID"), {})
        with tifffile.TiffFile(path) as tif:
            assert other in tif.pages[0].description
            np.testing.assert_array_equal(tif.series[0].asarray(), ramp((7, 6)) + 1)


@pytest.mark.parametrize("orientation", [2, 6, 8])
def test_ome_metadata_turn_with_the_image(orientation, tmp_path):
    text = ome_xml(
        'PhysicalSizeX="2" PhysicalSizeXUnit="mm" PhysicalSizeY="3">'
        '<Channel ID="C:0" SamplesPerPixel="1"/><TiffData/>'
    )
    source = tmp_path / "a.tif"
    tag = (274, 3, 1, orientation, True)
    tifffile.imwrite(
        source, ramp((7, 6)), photometric="minisblack", metadata=None, description=text, extratags=[tag]
    )
    before, copy = enhanced(source)
    again = write_radiograph(read_radiograph(copy), tmp_path / "again.tif")
    for path in (copy, again):
        back = read_radiograph(path)
        assert back.pitch_um == before.pitch_um == ((3.0, 2000.0) if orientation == 2 else (2000.0, 3.0))
        _, pixels = ome_pixels(path)
        assert [int(pixels.get(f"Size{axis}")) for axis in "YX"] == list(before.pixels.shape)
        assert pixels.get("PhysicalSizeXUnit" if orientation == 2 else "PhysicalSizeYUnit") == "mm"
        with tifffile.TiffFile(path) as tif:
            assert tif.is_ome
            np.testing.assert_array_equal(tif.series[0].asarray(), before.pixels + 1)
        assert any("orientation" in note for note in back.history[-1].settings["not_carried_over"])
    assert before.description == text.decode()


@pytest.mark.parametrize("kind", ["ome", "imagej"])
@pytest.mark.parametrize("pages", [1, 3])
def test_grey_of_colour_stays_what_it_is(kind, pages, tmp_path):
    grey, source = ramp((pages, 7, 6)).astype(np.uint8), tmp_path / "a.tif"
    options = {"metadata": {"axes": "TYXS", "unit": "um"}, "resolution": (2, 2)} if kind == "imagej" else {}
    options = options or {"metadata": {"axes": "TYXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}}
    tifffile.imwrite(source, np.stack([grey] * 3, -1), photometric="rgb", **{kind: True}, **options)
    before, copy = enhanced(source)
    assert before.pitch_um == (0.5, 0.5)
    assert read_radiograph(copy).pitch_um == (0.5, 0.5)
    with tifffile.TiffFile(copy) as tif:
        assert getattr(tif, f"is_{kind}")
        np.testing.assert_array_equal(tif.series[0].asarray().reshape(grey.shape), grey + 1)
        assert "S" not in tif.series[0].axes
    if kind == "ome":
        _, pixels = ome_pixels(copy)
        assert pixels.get("SizeC") == "1"
        assert pixels.find(f"{OME}Channel").get("SamplesPerPixel") == "1"
        assert pixels.get("Type") == "uint8"


TAGS = {
    "make": (271, "s", 0, "X-Ray WorX"),
    "model": (272, "s", 0, "XWT-160"),
    "page name": (285, "s", 0, "page"),
    "software": (305, "s", 0, "Acquire 3.1"),
    "date": (306, "s", 0, "2026:01:02 03:04:05"),
    "artist": (315, "s", 0, "operator 4"),
    "host": (316, "s", 0, "xray-01"),
    "copyright": (33432, "s", 0, "\u00a9 us".encode()),
    "xmp": (700, "B", 11, b"<x:xmpmeta/>"[:11]),
    "icc": (34675, 7, 144, icc(b"GRAY")[:144].ljust(144, b"\0")),
    "nodata": (42113, "s", 0, "-9999"),
    "geo": (33550, "d", 3, (0.5, 0.5, 0.0)),
    "vendor numbers": (65010, "H", 3, (1, 2, 3)),
    "vendor signed": (33000, "i", 1, -5),
    "vendor fraction": (60000, "2I", 1, (3, 7)),
    "vendor float": (65501, "f", 1, 0.25),
    "vendor long": (64000, "s", 0, "x" * 3000),
    "range": (340, "H", 1, 12),
    "ours already taken": (RECORD, "s", 0, "another program's"),
}


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("pages", [1, 3])
def test_tags_of_every_page_are_carried_over(byteorder, bigtiff, pages, tmp_path):
    source, all_tags = tmp_path / "a.tif", []
    with tifffile.TiffWriter(source, byteorder=byteorder, bigtiff=bigtiff) as tif:
        for page in range(pages):
            of_page = [(*tag, True) for tag in TAGS.values()]
            of_page += [(65100, "I", 1, page, True), (297, "H", 2, (page, pages), True)]
            tif.write(
                ramp((7, 6)) + page,
                photometric="minisblack",
                metadata=None,
                software=False,
                description=f"page {page}",
                resolution=(4000 + page, 2000),
                resolutionunit="CENTIMETER",
                extratags=of_page,
            )
    before, copy = enhanced(source)
    assert before.description == "page 0"
    check_same_but_pixels(before, copy)
    layout = (256, 257, 258, 259, 262, 273, 277, 278, 279)
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(copy) as two:
        assert (two.byteorder, two.is_bigtiff) == (byteorder, bigtiff)
        for a, b in zip(one.pages, two.pages, strict=True):
            all_tags = [
                (tag.code, tag.dtype, tag.count, tag.value) for tag in a.tags if tag.code not in layout
            ]
            theirs = [(tag.code, tag.dtype, tag.count, tag.value) for tag in b.tags if tag.code not in layout]
            assert [tag for tag in theirs if tag[0] != RECORD - 1] == all_tags
            assert len(all_tags) >= len(TAGS) + 6
    assert before.stored.notes == ()
    assert read_radiograph(copy).history[-1] == STEP


@pytest.mark.parametrize("bigtiff", [False, True])
def test_exif_and_gps_are_carried_over(bigtiff, tmp_path):
    from PIL import Image, TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[34665] = {
        33434: TiffImagePlugin.IFDRational(5, 2),
        36867: "2026:01:02 03:04:05",
        37500: b"maker " * 9,
    }
    tags[34853] = {1: "N", 2: (48.0, 30.0, 1.5)}
    source = tmp_path / "a.tif"
    Image.fromarray(ramp((7, 6))).save(source, tiffinfo=tags, big_tiff=bigtiff)
    before, copy = enhanced(source)
    check_same_but_pixels(before, copy)
    with Image.open(source) as one, Image.open(copy) as two:
        for code in (34665, 34853):
            theirs = dict(one.getexif().get_ifd(code))
            assert theirs
            assert dict(two.getexif().get_ifd(code)) == theirs
    assert before.stored.notes == ()


def test_damaged_tags_are_left_out_and_named(tmp_path):
    source = tmp_path / "a.tif"
    tags = [(65010, "s", 0, "far away in the file", True), (65012, "I", 1, 10**6, True)]
    tags += [(65011, "s", 0, "sound", True)]
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", metadata=None, extratags=tags)
    with tifffile.TiffFile(source) as tif:
        place = tif.pages[0].tags[65010].offset + 8
        exif = tif.pages[0].tags[65012].offset
    data = bytearray(source.read_bytes())
    struct.pack_into("<I", data, place, 10**6)
    struct.pack_into("<H", data, exif, 34665)
    source.write_bytes(data)
    before, copy = enhanced(source)
    (step,) = read_radiograph(copy).history
    assert all(f"tag {code}" in str(step.settings["not_carried_over"]) for code in (65010, 34665))
    with tifffile.TiffFile(copy) as tif:
        assert tif.pages[0].tags[65011].value == "sound"
        assert 65010 not in tif.pages[0].tags
    np.testing.assert_array_equal(read_radiograph(copy).pixels, before.pixels + 1)


def test_what_cannot_be_carried_over_is_said(tmp_path):
    source = tmp_path / "a.tif"
    with tifffile.TiffWriter(source) as tif:
        options = {"photometric": "minisblack", "metadata": None}
        tags = [(33628, "I", 1, 5, True), (34412, "B", 4, b"abcd", True)]
        tif.write(ramp((32, 32)), subifds=1, **options, extratags=tags[1:])
        tif.write(ramp((16, 16)), subfiletype=1, **options)
        tif.write(ramp((8, 8)), subfiletype=1, **options)
    before, copy = enhanced(source)
    said = " ".join(read_radiograph(copy).history[-1].settings["not_carried_over"])
    for words in ("SubIFDs", "1 thumbnail", "LSM"):
        assert words in said
    with tifffile.TiffFile(copy) as tif:
        assert len(tif.pages) == 1
        assert not {330, 34412} & {tag.code for tag in tif.pages[0].tags}
    assert before.pixels.shape == (32, 32)


@pytest.mark.parametrize(("space", "kept"), [(b"RGB ", False), (b"GRAY", True)])
def test_profile_of_colour_does_not_go_with_a_grey_image(space, kept, tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, np.stack([ramp((7, 6))] * 3, -1), photometric="rgb", iccprofile=icc(space))
    before, copy = enhanced(source)
    with tifffile.TiffFile(copy) as tif:
        assert (34675 in tif.pages[0].tags) == kept
        assert tif.pages[0].samplesperpixel == 1
    said = " ".join(before.stored.notes)
    assert ("ICC" in said) == (not kept)
    assert "channels" in said


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [
        *[((dpi, dpi), "INCH") for dpi in (1, 72, 96, 100)],
        *[((each, each), "CENTIMETER") for each in (1, 28.35, 37.8, 39.37)],
        ((72, 96), "INCH"),
    ],
)
@pytest.mark.parametrize("options", [{"metadata": None}, {"imagej": True}], ids=str)
def test_default_resolution_of_programs_is_kept_and_is_no_pitch(resolution, unit, options, tmp_path):
    source = tmp_path / "a.tif"
    options = options | {"resolution": resolution, "resolutionunit": unit}
    if "imagej" in options:
        options |= {"metadata": {"unit": {"INCH": "inch", "CENTIMETER": "cm"}[unit]}}
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", **options)
    before, copy = enhanced(source)
    if resolution != (72, 96):
        assert before.pitch_um is None
    check_same_but_pixels(before, copy)
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(copy) as two:
        for code in (282, 283, 296):
            assert two.pages[0].tags[code].value == one.pages[0].tags[code].value


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [((73, 73), "INCH"), ((200, 200), "INCH"), ((300, 300), "INCH"), ((50, 50), "CENTIMETER")],
)
def test_other_resolutions_are_a_pitch(resolution, unit, tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(
        source,
        ramp((7, 6)),
        photometric="minisblack",
        metadata=None,
        resolution=resolution,
        resolutionunit=unit,
    )
    length = {"INCH": 25400.0, "CENTIMETER": 10000.0}[unit]
    assert read_radiograph(source).pitch_um == pytest.approx((length / resolution[1], length / resolution[0]))


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}], ids=str)
def test_part_of_a_stack_is_no_longer_what_the_metadata_promise(options, tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, ramp((3, 7, 6)), photometric="minisblack", metadata={"axes": "ZYX"}, **options)
    whole = read_radiograph(source)
    part = dataclasses.replace(whole, pixels=whole.pixels[1:], description=whole.description)
    back = read_radiograph(write_radiograph(part, tmp_path / "b.tif"))
    np.testing.assert_array_equal(back.pixels, whole.pixels[1:])
    assert back.description == whole.description
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), whole.pixels[1:])


def test_description_and_resolution_that_are_set_anew_take_the_places_of_the_old(tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", metadata=None, description="old")
    radiograph = read_radiograph(source)
    resolution = Resolution(5000.0, 2500.0, "cm")
    new = dataclasses.replace(
        radiograph, description="new", resolution=resolution, pitch_um=resolution.pitch_um
    )
    with tifffile.TiffFile(write_radiograph(new, tmp_path / "b.tif")) as tif:
        assert [tag.value for tag in tif.pages[0].tags.getall(270)] == ["new"]
        assert tif.pages[0].tags[282].value == (5000, 1)
        assert RECORD not in tif.pages[0].tags


@pytest.mark.parametrize("text", [b"Br\xfccke 5 \xb5m", "Brücke 5 µm".encode(), b" blanks \n", b"a\0b"])
def test_description_of_any_bytes_stays_as_it_is(text, tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", metadata=None, description=text)
    before, copy = enhanced(source)
    check_same_but_pixels(before, copy)
    for path in (source, copy):
        with tifffile.TiffFile(path) as tif:
            tag = tif.pages[0].tags[270]
            raw = path.read_bytes()[tag.valueoffset : tag.valueoffset + tag.count]
            assert raw.rstrip(b"\0") == text


def test_memory_for_tags_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("longexposure.io.tags.MOST_BYTES", 1000)
    source = tmp_path / "a.tif"
    tags = [(65010, "s", 0, "x" * 900, True), (65011, "s", 0, "y" * 900, True)]
    tifffile.imwrite(source, ramp((7, 6)), photometric="minisblack", metadata=None, extratags=tags)
    radiograph = read_radiograph(source)
    assert {tag.code for tag in radiograph.stored.parts.pages[0]} & {65010, 65011} == {65010}
    assert "65011" in radiograph.stored.notes[-1]
