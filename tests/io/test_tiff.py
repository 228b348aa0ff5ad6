"""TIFF as other programs write it; tifffile's own writer and Pillow make the files."""

from __future__ import annotations

import json
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from longexposure.errors import InputError, OutputError
from longexposure.io import read_finite, read_radiograph, tiff_writer, write_radiograph
from longexposure.io.tiff_writer import RECORD
from longexposure.radiograph import Radiograph, Resolution, Step

EXAMPLES = Path(__file__).parents[2] / "examples" / "radiographs"


def ramp(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    values = np.arange(np.prod(shape)).reshape(shape) * 37
    return (values % (np.iinfo(dtype).max + 1 if np.dtype(dtype).kind in "ui" else 10**6)).astype(dtype)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(path, pixels, **options)
    return path


def patched(path: Path, code: int, value: int, page: int = 0) -> Path:
    """Overwrite the first value of a tag that was written as SHORT or LONG, little-endian."""
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[page].tags[code]
        place, size = tag.valueoffset, struct.calcsize(tag.dataformat[-1:])
    data = bytearray(path.read_bytes())
    data[place : place + size] = value.to_bytes(size, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("view", range(1, 8))
def test_real_views_keep_pixels_description_and_pitch(view):
    path = EXAMPLES / f"ic_5s_view{view}.tif"
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, np.asarray(Image.open(path)))
    assert radiograph.pixels.dtype == np.uint16
    assert radiograph.description == f"integrated circuit, X-ray microscope, 5.0 s, view {view} of 7"
    assert radiograph.pitch_um == pytest.approx((0.156, 0.156))
    assert radiograph.source.format == "tiff"
    assert radiograph.history == ()


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("layout", ["strips", "tiles", "one-strip"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_layouts_and_compressions_give_the_same_pixels(compression, layout, byteorder, tmp_path):
    options = {"strips": {"rowsperstrip": 7}, "tiles": {"tile": (16, 32)}, "one-strip": {}}[layout]
    pixels = ramp((33, 45))
    path = save(tmp_path / "a.tif", pixels, compression=compression, byteorder=byteorder, **options)
    back = read_radiograph(path).pixels
    np.testing.assert_array_equal(back, pixels)
    assert back.dtype.isnative


@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("float32", 3)])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_predictors_and_bigtiff(dtype, predictor, bigtiff, tmp_path):
    pixels = ramp((3, 20, 30), dtype)
    path = save(tmp_path / "a.tif", pixels, compression="zlib", predictor=predictor, bigtiff=bigtiff)
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels)


def test_twelve_bit_packed_samples_become_uint16(tmp_path):
    pixels = ramp((10, 8)) % 4096
    path = save(tmp_path / "a.tif", pixels.astype(np.uint16), bitspersample=12)
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels)


def test_white_is_zero_keeps_values_as_stored(tmp_path):
    pixels = ramp((6, 5), "uint8")
    radiograph = read_radiograph(save(tmp_path / "a.tif", pixels, photometric="miniswhite"))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.polarity == "white-is-zero"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured_as_pillow_does(orientation, tmp_path):
    image = Image.fromarray(ramp((3, 5), "uint8"))
    plain = tmp_path / "a.tif"
    image.save(plain, tiffinfo={274: orientation}, dpi=(300, 150))
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # values of Pillow's Transpose
    expected = image.transpose(Image.Transpose(turned[orientation])) if orientation > 1 else image
    radiograph = read_radiograph(plain)
    np.testing.assert_array_equal(radiograph.pixels, np.asarray(expected))
    x, y = (150, 300) if orientation >= 5 else (300, 150)
    assert radiograph.resolution == Resolution(x, y, "inch")
    again = read_radiograph(write_radiograph(radiograph, tmp_path / "b.tif"))
    np.testing.assert_array_equal(again.pixels, np.asarray(expected))
    assert again.resolution == radiograph.resolution


def test_pages_that_differ_in_strips_and_compression_are_one_stack(tmp_path):
    pixels = ramp((3, 9, 8))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page, compression in zip(pixels, (None, "lzw", "zlib"), strict=True):
            tif.write(page, compression=compression, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("second", [ramp((4, 5)), ramp((5, 4), "uint8")], ids=["shape", "type"])
def test_pages_of_different_size_or_type_are_refused_with_the_way_out(second, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in (ramp((5, 4)), second):
            tif.write(page, photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match=r"page 2 of .* save the pages as separate files"):
        read_radiograph(tmp_path / "a.tif")


def test_pages_of_different_polarity_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for photometric in ("minisblack", "miniswhite"):
            tif.write(ramp((5, 4)), photometric=photometric, metadata=None)
    with pytest.raises(InputError, match="polarity"):
        read_radiograph(tmp_path / "a.tif")


def test_thumbnail_page_is_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(ramp((8, 8)), photometric="minisblack", metadata=None)
        tif.write(ramp((2, 2)), photometric="minisblack", metadata=None, subfiletype=1)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.tif").pixels, ramp((8, 8)))


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"metadata": {}},
        {"metadata": {"axes": "QYX"}, "contiguous": True},
    ],
    ids=str,
)
def test_stacks_of_imagej_ome_and_tifffile_are_read(options, tmp_path):
    pixels = ramp((4, 7, 6))
    np.testing.assert_array_equal(read_radiograph(save(tmp_path / "a.tif", pixels, **options)).pixels, pixels)


def test_singleton_axes_are_squeezed(tmp_path):
    pixels = ramp((1, 3, 1, 7, 6))
    path = save(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels[0, :, 0])


@pytest.mark.parametrize("kind", ["imagej", "shaped"])
def test_stack_behind_a_single_page_is_read(kind, tmp_path):
    pixels = ramp((4, 7, 6))
    options = {"imagej": True} if kind == "imagej" else {"truncate": True}
    path = save(tmp_path / "a.tif", pixels, metadata={"axes": "ZYX"}, **options)
    if kind == "imagej":  # cut the chain after page 1, as ImageJ does beyond 4 GB
        data = bytearray(path.read_bytes())
        order = "<" if data[:2] == b"II" else ">"
        (start,) = struct.unpack_from(order + "I", data, 4)
        (tags,) = struct.unpack_from(order + "H", data, start)
        struct.pack_into(order + "I", data, start + 2 + 12 * tags, 0)
        path.write_bytes(data)
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [None, 65535, 7])
def test_colour_with_equal_channels_is_grey(planar, alpha, tmp_path):
    grey = ramp((5, 4))
    channels = [grey] * 3 + ([np.full_like(grey, alpha)] if alpha is not None else [])
    samples = np.stack(channels, axis=-1 if planar == "contig" else 0)
    extra = {"extrasamples": ["unassalpha"]} if alpha is not None else {}
    path = save(tmp_path / "a.tif", samples, photometric="rgb", planarconfig=planar, **extra)
    np.testing.assert_array_equal(read_radiograph(path).pixels, grey)


def test_stack_of_colour_pages_with_equal_channels_is_grey(tmp_path):
    grey = ramp((3, 5, 4), "uint8")
    path = save(tmp_path / "a.tif", np.stack([grey] * 3, -1), photometric="rgb")
    np.testing.assert_array_equal(read_radiograph(path).pixels, grey)


@pytest.mark.parametrize("channel", [0, 1, 2, 3])
def test_colour_or_changing_alpha_is_refused_with_the_way_out(channel, tmp_path):
    samples = np.repeat(ramp((5, 4), "uint8")[..., None], 4, axis=2)
    samples[..., 3] = 255
    samples[2, 1, channel] ^= 1
    path = save(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(InputError, match="greyscale"):
        read_radiograph(path)


@pytest.mark.parametrize("factor", [257, 256])
def test_grey_palette_gives_its_greys(factor, tmp_path):
    ramp256 = (np.arange(256)[::-1] * factor).astype(np.uint16)
    indices = ramp((5, 4), "uint8")
    path = save(tmp_path / "a.tif", indices, photometric="palette", colormap=np.stack([ramp256] * 3))
    back = read_radiograph(path).pixels
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, 255 - indices)


def test_colour_palette_is_refused(tmp_path):
    table = np.stack([np.arange(256) * 257, np.zeros(256), np.arange(256)]).astype(np.uint16)
    path = save(tmp_path / "a.tif", ramp((5, 4), "uint8"), photometric="palette", colormap=table)
    with pytest.raises(InputError, match="palette"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("bool", "1-bit unsigned"),
        ("complex64", "64-bit complex"),
        ("complex128", "128-bit complex"),
    ],
)
def test_other_sample_types_are_refused_with_advice(dtype, found, tmp_path):
    path = save(tmp_path / "a.tif", ramp((5, 4), "uint8").astype(dtype))
    with pytest.raises(InputError, match=f"{found}.*convert it yourself"):
        read_radiograph(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("shape", "place"), [((6, 5), "y=3, x=2"), ((2, 6, 5), "page 2, y=3, x=2")])
def test_nan_and_infinity_are_read_and_refused_where_numbers_are_needed(bad, shape, place, tmp_path):
    pixels = np.ones(shape, np.float32)
    last = pixels if pixels.ndim == 2 else pixels[-1]
    last[3, 2] = last[5, 0] = bad
    path = save(tmp_path / "a.tif", pixels)
    assert read_radiograph(path).pixels.tobytes() == pixels.tobytes()
    with pytest.raises(InputError, match=f"found 2 NaN or infinite, the first at {place}"):
        read_finite(path)


@pytest.mark.parametrize(
    ("resolution", "unit"), [((300, 150), "inch"), ((64102.5, 1e-3), "cm"), ((2, 1), "none")]
)
def test_resolution_tags_are_carried_over(resolution, unit, tmp_path):
    names = {"inch": "INCH", "cm": "CENTIMETER", "none": "NONE"}
    path = save(tmp_path / "a.tif", ramp((5, 4)), resolution=resolution, resolutionunit=names[unit])
    radiograph = read_radiograph(path)
    assert (radiograph.resolution.x, radiograph.resolution.y) == pytest.approx(resolution)
    assert radiograph.resolution.unit == unit
    copy = write_radiograph(radiograph, tmp_path / "b.tif")
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(copy) as two:
        for code in (282, 283):
            a, b = (tif.pages[0].tags[code].value for tif in (one, two))
            assert a[0] / a[1] == b[0] / b[1]
        assert one.pages[0].tags[296].value == two.pages[0].tags[296].value


def test_one_to_one_without_a_unit_says_nothing(tmp_path):
    radiograph = read_radiograph(save(tmp_path / "a.tif", ramp((5, 4))))
    assert radiograph.resolution is None
    assert radiograph.pitch_um is None


def test_known_pitch_becomes_resolution_tags(tmp_path):
    path = write_radiograph(Radiograph(ramp((5, 4)), pitch_um=(2.0, 4.0)), tmp_path / "a.tif")
    assert read_radiograph(path).resolution == Resolution(2500.0, 5000.0, "cm")


def test_other_programs_see_pixels_polarity_pages_and_description(tmp_path):
    pixels = ramp((3, 5, 4), "uint8")
    radiograph = Radiograph(pixels, polarity="white-is-zero", description="board 7")
    path = write_radiograph(radiograph, tmp_path / "a.tif")
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.tag_v2[262] == 0
        assert image.tag_v2[270] == "board 7"
        for index in range(3):
            image.seek(index)
            np.testing.assert_array_equal(255 - np.asarray(image), pixels[index])  # Pillow inverts


def test_history_is_ascii_json_in_a_tag_of_its_own(tmp_path):
    source = read_radiograph(EXAMPLES / "ic_5s_view1.tif")
    step = Step(
        "longexposure", "0.1.0", "enhance", {"note": "µ", "level": np.float32(0.5), "odd": float("nan")}
    )
    path = write_radiograph(source.with_pixels(source.pixels, step), tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].description == source.description
        text = tif.pages[0].tags[RECORD].value
    assert text.isascii()
    ours = json.loads(text, parse_constant=pytest.fail)["longexposure"]
    assert ours["history"] == [
        {
            "tool": "longexposure",
            "version": "0.1.0",
            "action": "enhance",
            "note": "µ",
            "level": 0.5,
            "odd": "nan",
        }
    ]
    assert ours["source"] == {"name": "ic_5s_view1.tif", "sha256": source.source.sha256, "format": "tiff"}
    assert read_radiograph(path).description == source.description


def test_large_stack_becomes_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_writer, "CLASSIC_BYTES", 100)
    pixels = ramp((2, 9, 8))
    small = write_radiograph(Radiograph(pixels[0, :2]), tmp_path / "small.tif")
    large = write_radiograph(Radiograph(pixels), tmp_path / "large.tif")
    assert small.read_bytes()[2] == 42
    assert large.read_bytes()[2] == 43
    np.testing.assert_array_equal(read_radiograph(large).pixels, pixels)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
def test_header_that_claims_far_too_much_is_refused_without_memory(options, tmp_path, monkeypatch):
    path = save(tmp_path / "a.tif", ramp((20, 20)), **options)
    patched(patched(path, 256, 9_000), 257, 9_000)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(InputError):
        read_radiograph(path)


def test_strip_that_claims_too_much_is_refused_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path / "a.tif", ramp((20, 20)), compression="zlib")
    patched(patched(patched(path, 256, 9_000), 257, 9_000), 278, 9_000)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"1100 times.*162000000"):
        read_radiograph(path)


@pytest.mark.parametrize("code", [273, 279])
@pytest.mark.parametrize("value", [0, 2**31])
def test_strip_without_or_beyond_data_is_refused(code, value, tmp_path):
    path = save(tmp_path / "a.tif", ramp((200, 200)), compression="zlib")
    with pytest.raises(InputError, match=r"strips or tiles|cut off"):
        read_radiograph(patched(path, code, value))


def test_strip_that_unpacks_to_too_few_rows_is_refused(tmp_path):
    path = patched(save(tmp_path / "a.tif", ramp((20, 20)), compression="zlib", rowsperstrip=20), 257, 40)
    with pytest.raises(InputError):
        read_radiograph(patched(path, 278, 40))


def test_pages_that_share_pixels_cannot_claim_more_than_the_file_has(tmp_path):
    strip, pages, width = 8, 1000, 2000
    data = bytearray(struct.pack("<2sHI", b"II", 42, strip + width) + bytes(width))
    for page in range(pages):
        tags = {256: width, 257: 1, 258: 8, 259: 1, 262: 1, 273: strip, 277: 1, 278: 1, 279: width}
        data += struct.pack("<H", len(tags))
        for code, value in tags.items():
            data += struct.pack("<HHII", code, 4, 1, value)
        data += struct.pack("<I", 0 if page == pages - 1 else len(data) + 4)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{pages * width} bytes of pixels"):
        read_radiograph(path)


def test_lost_last_pages_are_noticed(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for page in ramp((4, 20, 20)):
            tif.write(page, photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as tif:
        last = tif.pages[3].offset
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(InputError, match="cut off"):
        read_radiograph(path)


def test_chain_of_pages_in_a_circle_is_refused(tmp_path):
    data = bytearray(save(tmp_path / "a.tif", ramp((5, 4))).read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * tags, start)
    path = tmp_path / "b.tif"
    path.write_bytes(data)
    with pytest.raises(InputError, match="circle"):
        read_radiograph(path)


def test_tiff_without_pages_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\0\0\0\0")
    with pytest.raises(InputError, match="at least one page"):
        read_radiograph(path)


def test_reading_damaged_files_logs_nothing_and_leaves_the_logger_as_it_was(tmp_path, caplog):
    logger = logging.getLogger("tifffile")
    before = list(logger.filters)
    path = patched(save(tmp_path / "a.tif", ramp((20, 20)), rowsperstrip=5), 278, 2)
    with caplog.at_level(logging.DEBUG), pytest.raises(InputError):
        read_radiograph(path)
    assert caplog.records == []
    assert logger.filters == before


def test_volume_in_one_page_is_refused(tmp_path):
    path = save(tmp_path / "a.tif", ramp((16, 32, 32)), tile=(16, 16, 16), volumetric=True, metadata=None)
    with pytest.raises(InputError, match="slice a page"):
        read_radiograph(path)


@pytest.mark.parametrize("text", [
    '{"description": "x", "longexposure": []}',
    '{"description": 5, "longexposure": {"history": []}}',
    '{"description": "x", "longexposure": {"history": 3, "domain": "counts"}}',
    '{"longexposure"',
    '["longexposure"]',
])  # fmt: skip
def test_description_that_only_looks_like_ours_is_kept_as_text(text, tmp_path):
    path = save(tmp_path / "a.tif", ramp((5, 4)), description=text)
    radiograph = read_radiograph(path)
    assert radiograph.description == text
    assert radiograph.history == ()


def test_float_values_are_exact_to_the_bit(tmp_path):
    pixels = np.array([[0.1, -0.0, 1e-45, 3.4e38]], np.float32)
    path = write_radiograph(Radiograph(pixels), tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(path).view(np.uint32), pixels.view(np.uint32))


def end_chain_after(path: Path, page: int) -> Path:
    """Make a classic TIFF end after its page of this index."""
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.get(page).offset
    (tags,) = struct.unpack_from(order + "H", data, start)
    struct.pack_into(order + "I", data, start + 2 + 12 * tags, 0)
    path.write_bytes(data)
    return path


def test_ome_file_that_lost_planes_is_refused(tmp_path):
    path = save(tmp_path / "a.tif", ramp((4, 7, 6)), ome=True, metadata={"axes": "ZYX"}, contiguous=False)
    with pytest.raises(InputError, match="planes that are missing"):
        read_radiograph(end_chain_after(path, 1))


def test_ome_file_with_planes_in_another_order_is_refused(tmp_path):
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="7" '
        'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="1" FirstZ="0" PlaneCount="1"/><TiffData IFD="0" FirstZ="1" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
    with pytest.raises(InputError, match="OME planes"):
        read_radiograph(save(tmp_path / "a.tif", ramp((2, 7, 6)), description=xml))


def test_imagej_file_that_promises_more_images_than_it_has_is_refused(tmp_path):
    text = "ImageJ=1.53t\nimages=7\nslices=7\n"
    path = save(tmp_path / "a.tif", ramp((8, 40, 40)), compression="zlib", description=text)
    with pytest.raises(InputError, match="metadata that fit the pages"):
        read_radiograph(end_chain_after(path, 0))


def test_stack_behind_a_single_page_with_a_colour_table_is_refused(tmp_path):
    path = save(tmp_path / "a.tif", ramp((4, 7, 6), "uint8"), metadata={}, truncate=True)
    with pytest.raises(InputError, match=r"4 planes.*found 1 pages"):
        read_radiograph(patched(path, 262, 3))


def test_page_with_a_damaged_tag_list_is_noticed(tmp_path):
    path = save(tmp_path / "a.tif", ramp((5, 4)))
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * tags, len(data))
    path.write_bytes(data + struct.pack("<H", 5000) + bytes(5000 * 12 + 4))
    with pytest.raises(InputError, match="2 pages"):
        read_radiograph(path)


def test_palette_of_sixteen_bit_greys_gives_sixteen_bits(tmp_path):
    greys = (np.arange(256) * 201 + 5).astype(np.uint16)
    indices = ramp((5, 4), "uint8")
    path = save(tmp_path / "a.tif", indices, photometric="palette", colormap=np.stack([greys] * 3))
    np.testing.assert_array_equal(read_radiograph(path).pixels, greys[indices])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e30])
def test_resolution_that_no_tag_can_hold_is_kept_in_our_record_only(value, tmp_path):
    path = write_radiograph(
        Radiograph(ramp((5, 4)), resolution=Resolution(value, 1.0, "cm")), tmp_path / "a.tif"
    )
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].tags[282].value == (1, 1)
        assert "resolution" in tif.pages[0].tags[RECORD].value


def test_resolution_of_zero_says_nothing(tmp_path):
    path = save(tmp_path / "a.tif", ramp((5, 4)), resolution=(300, 300), resolutionunit="INCH")
    assert read_radiograph(path).resolution == Resolution(300, 300, "inch")
    assert read_radiograph(patched(path, 282, 0)).resolution is None


@pytest.mark.parametrize(
    "broken",
    [
        {"domain": "volts"},
        {"domain": None},
        {"history": 3},
        {"history": [{"tool": "x"}]},
        {"exposure": []},
        {"pitch_um": [1]},
        {"resolution": {"z": 1}},
        {"polarity": 7},
        {"description": 5},
    ],
    ids=str,
)
def test_record_that_is_not_ours_is_left_alone_and_ours_goes_beside_it(broken, tmp_path):
    fields = {"history": [], "source": None, "domain": "counts", "polarity": "black-is-zero"}
    fields |= {"pitch_um": None, "resolution": None, "exposure": {"exposure_s": 5.0}}
    theirs = json.dumps({"longexposure": fields | broken})
    tag = (RECORD, 2, len(theirs) + 1, theirs, True)
    radiograph = read_radiograph(save(tmp_path / "a.tif", ramp((5, 4)), extratags=[tag]))
    assert (radiograph.exposure, radiograph.history) == ({}, ())
    step = Step("longexposure", "0.1.0", "enhance", {})
    copy = write_radiograph(radiograph.with_pixels(radiograph.pixels, step), tmp_path / "b.tif")
    with tifffile.TiffFile(copy) as tif:
        assert tif.pages[0].tags[RECORD].value == theirs
    assert read_radiograph(copy).history == (step,)


def test_history_nested_without_end_is_refused_when_written_and_no_history_when_read(tmp_path):
    nested: list[object] = []
    for _ in range(600):
        nested = [nested]
    step = Step("longexposure", "0.1.0", "enhance", {"nested": nested})
    with pytest.raises(OutputError, match="nested"):
        write_radiograph(Radiograph(ramp((5, 4)), history=(step,)), tmp_path / "a.tif")
    depth = 20_000
    for inner in ("[" * 600 + "]" * 600, "[" * depth + "]" * depth):
        theirs = '{"longexposure": {"history": ' + inner + "}}"
        tag = (RECORD, 2, len(theirs) + 1, theirs, True)
        assert read_radiograph(save(tmp_path / "b.tif", ramp((5, 4)), extratags=[tag])).history == ()


def test_settings_of_any_type_can_be_written(tmp_path):
    settings = {"path": Path("a") / "b", "size": (3, 4), "table": np.eye(2), "on": True, "none": None}
    step = Step("longexposure", "0.1.0", "enhance", settings)
    path = write_radiograph(Radiograph(ramp((5, 4)), history=(step,)), tmp_path / "a.tif")
    back = read_radiograph(path).history[0].settings
    assert back == {
        "path": str(Path("a/b")),
        "size": [3, 4],
        "table": [[1, 0], [0, 1]],
        "on": True,
        "none": None,
    }


@pytest.mark.parametrize("truncate", [False, True])
def test_two_stacks_in_one_file_are_joined_or_refused_but_never_cut(truncate, tmp_path):
    pixels = ramp((2, 3, 7, 6))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for stack in pixels:
            tif.write(stack, photometric="minisblack", truncate=truncate, contiguous=False)
    if truncate:  # one page stands for three images
        with pytest.raises(InputError, match="planes, as its metadata say, found 2 pages"):
            read_radiograph(tmp_path / "a.tif")
    else:
        np.testing.assert_array_equal(read_radiograph(tmp_path / "a.tif").pixels, pixels.reshape(6, 7, 6))
