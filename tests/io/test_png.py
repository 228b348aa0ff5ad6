"""PNG as other programs write it; Pillow and hand-made chunks are the references."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from longexposure.errors import InputError, OutputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.radiograph import Radiograph, Resolution, Step


def ramp(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) * 37 % (np.iinfo(dtype).max + 1)).astype(dtype)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def handmade(
    rows: bytes,
    *,
    size: tuple[int, int],
    depth: int = 8,
    colour: int = 0,
    extra: bytes = b"",
    interlaced: int = 0,
) -> bytes:
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    body = chunk(b"IDAT", zlib.compress(rows)) if rows is not None else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + body + chunk(b"IEND", b"")


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, "PNG", **options)
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.png"


def test_sixteen_bit_values_written_by_pillow_are_exact(file):
    pixels = ramp((300, 250))
    back = read_radiograph(save(file, Image.fromarray(pixels))).pixels
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pillow_reads_what_was_written(dtype, file):
    pixels = ramp((30, 25), dtype)
    step = Step("longexposure", "0.1.0", "enhance", {})
    write_radiograph(Radiograph(pixels, resolution=Resolution(300, 300, "inch"), history=(step,)), file)
    with Image.open(file) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert '"enhance"' in image.info["longexposure"]
        assert "Description" not in image.info


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_equal_channels_and_constant_alpha_are_grey(dtype, channels, file):
    grey = ramp((9, 7), dtype)
    samples = np.repeat(grey[..., None], channels, axis=2)
    if channels % 2 == 0:
        samples[..., -1] = np.iinfo(dtype).max
    file.write_bytes(imagecodecs.png_encode(samples))
    np.testing.assert_array_equal(read_radiograph(file).pixels, grey)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("channels", "changed"), [(2, 1), (3, 0), (3, 1), (4, 2), (4, 3)])
def test_colour_and_changing_alpha_are_refused_even_by_one_count(dtype, channels, changed, file):
    samples = np.repeat(ramp((9, 7), dtype)[..., None], channels, axis=2)
    if channels % 2 == 0:
        samples[..., -1] = np.iinfo(dtype).max
    samples[4, 3, changed] ^= 1
    file.write_bytes(imagecodecs.png_encode(samples))
    with pytest.raises(InputError, match="greyscale"):
        read_radiograph(file)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fewer_than_eight_bits_are_refused(depth, file):
    file.write_bytes(handmade(bytes(2 * 3), size=(2, 3), depth=depth))
    with pytest.raises(InputError, match=f"{depth}-bit samples.*convert it yourself"):
        read_radiograph(file)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_of_greys_gives_its_greys(depth, file):
    size = 2**depth
    greys = (np.arange(size) * 7 + 3).astype(np.uint8)
    indices = (np.arange(24).reshape(3, 8) % size).astype(np.uint8)
    bits = np.unpackbits(indices[..., None], axis=-1)[..., 8 - depth :].reshape(3, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    palette = chunk(b"PLTE", np.repeat(greys, 3).tobytes())
    file.write_bytes(handmade(rows, size=(8, 3), depth=depth, colour=3, extra=palette))
    back = read_radiograph(file).pixels
    np.testing.assert_array_equal(back, greys[indices])
    np.testing.assert_array_equal(back, np.asarray(Image.open(file).convert("L")))


def test_palette_of_colours_is_refused(file):
    image = Image.fromarray(np.dstack([ramp((9, 7), "uint8")] * 2 + [np.zeros((9, 7), np.uint8)]))
    with pytest.raises(InputError, match="channels that differ"):
        read_radiograph(save(file, image.convert("P", palette=Image.Palette.ADAPTIVE)))


def test_index_beyond_the_palette_is_refused(file, capfd):
    palette = chunk(b"PLTE", bytes([1, 1, 1, 2, 2, 2]))
    file.write_bytes(handmade(b"\0\0\1\2", size=(3, 1), colour=3, extra=palette))
    with pytest.raises(InputError, match="palette of 2"):
        read_radiograph(file)
    assert capfd.readouterr().err == ""


def test_transparent_grey_value_is_refused_where_it_occurs(file):
    pixels = ramp((9, 7), "uint8")
    with pytest.raises(InputError, match="transparency"):
        read_radiograph(save(file, Image.fromarray(pixels), transparency=int(pixels[2, 2])))
    absent = next(value for value in range(256) if value not in pixels)
    path = save(file, Image.fromarray(pixels), transparency=absent)
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels)


def test_interlaced_image_is_read(file):
    # The seven passes (Adam7) of a 5 x 3 image, by the table in the specification.
    pixels = ramp((3, 5), "uint8")
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b"".join(
        b"\0" + row.tobytes()
        for x, y, dx, dy in passes
        for row in pixels[y::dy, x::dx]
        if row.size
    )  # fmt: skip
    file.write_bytes(handmade(rows, size=(5, 3), interlaced=1))
    np.testing.assert_array_equal(read_radiograph(file).pixels, pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)


@pytest.mark.parametrize("how", ["eXIf", "raw profile"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured_as_pillow_does(how, orientation, file, tmp_path):
    from PIL import ImageOps

    image = Image.fromarray(ramp((3, 5), "uint8"))
    exif = Image.Exif()
    exif[274] = orientation
    if how == "eXIf":
        save(file, image, exif=exif, dpi=(300, 150))
    else:
        info = PngInfo()
        info.add_text(
            "Raw profile type exif", f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n", zip=True
        )
        save(file, image, pnginfo=info, dpi=(300, 150))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    radiograph = read_radiograph(file)
    np.testing.assert_array_equal(radiograph.pixels, expected)
    x, y = (150, 300) if orientation >= 5 else (300, 150)
    assert (radiograph.resolution.x * 2.54, radiograph.resolution.y * 2.54) == pytest.approx((x, y), rel=1e-4)
    copy = write_radiograph(radiograph, tmp_path / "b.png")
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(Image.open(copy))), expected)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iTXt packed"])
def test_description_is_read_from_every_kind_of_text(kind, file):
    info = PngInfo()
    text = "board 7, 5 µm"
    if kind.startswith("iTXt"):
        info.add_itxt("Description", text, zip=kind.endswith("packed"))
    else:
        info.add_text("Description", text, zip=kind == "zTXt")
    assert read_radiograph(save(file, Image.fromarray(ramp((3, 5))), pnginfo=info)).description == text


def test_one_column_of_any_strides_is_written(file):
    pixels = ramp((9,))[:, None]
    np.testing.assert_array_equal(read_radiograph(write_radiograph(Radiograph(pixels), file)).pixels, pixels)


def test_other_chunks_are_left_alone_and_print_nothing(file, capfd):
    extra = (
        chunk(b"iCCP", b"broken\0\0rubbish")
        + chunk(b"gAMA", b"\0")
        + chunk(b"prVt", b"x")
        + chunk(b"sRGB", b"")
    )
    extra += chunk(b"tRNS", b"odd") + chunk(b"tIME", b"1")
    file.write_bytes(handmade(b"\0\1\2\0\3\4", size=(2, 2), extra=extra) + b"trailing bytes")
    np.testing.assert_array_equal(read_radiograph(file).pixels, [[1, 2], [3, 4]])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rows", [b"\0\1\2", b"\0\1\2\0\3", b"\0\1\2\0\3\4\5", bytes(10**6), b""])
def test_more_or_fewer_pixels_than_the_header_says_are_refused(rows, file, capfd):
    file.write_bytes(handmade(rows, size=(2, 2)))
    with pytest.raises(InputError, match="6 bytes of pixels"):
        read_radiograph(file)
    assert capfd.readouterr() == ("", "")


def test_unknown_row_filter_is_refused(file):
    file.write_bytes(handmade(b"\x09\1\2\0\3\4", size=(2, 2)))
    with pytest.raises(InputError):
        read_radiograph(file)


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (100_000, 100_000), (2**32 - 1, 1)])
def test_header_that_claims_too_much_is_refused_before_decoding(size, file, monkeypatch):
    monkeypatch.setattr(imagecodecs, "png_decode", lambda *_, **__: pytest.fail("decoded"))
    file.write_bytes(handmade(bytes(1000), size=size))
    with pytest.raises(InputError):
        read_radiograph(file)


@pytest.mark.parametrize(("depth", "colour"), [(3, 0), (16, 3), (4, 2), (8, 1), (8, 7), (0, 0)])
def test_invalid_header_is_refused(depth, colour, file):
    file.write_bytes(handmade(bytes(100), size=(2, 2), depth=depth, colour=colour))
    with pytest.raises(InputError, match="valid PNG header"):
        read_radiograph(file)


def test_every_flipped_byte_is_noticed_by_its_checksum(file):
    sound = io.BytesIO()
    Image.fromarray(ramp((6, 5))).save(sound, "PNG")
    for place in range(8, len(sound.getvalue())):
        data = bytearray(sound.getvalue())
        data[place] ^= 0x40
        file.write_bytes(data)
        with pytest.raises(InputError):
            read_radiograph(file)


def test_animation_is_refused(file):
    frames = [Image.fromarray(ramp((4, 4), "uint8") + i) for i in range(2)]
    with pytest.raises(InputError, match="animated"):
        read_radiograph(save(file, frames[0], save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("pixels", [ramp((2, 3, 4)), np.zeros((3, 4), np.float32)], ids=["stack", "float32"])
def test_stack_and_float_are_not_written_and_the_way_out_is_named(pixels, tmp_path):
    with pytest.raises(OutputError, match=r"a\.png.*write a \.tif"):
        write_radiograph(Radiograph(pixels), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_file_that_does_not_start_with_its_header_is_refused(file):
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") + chunk(b"IEND", b""))
    with pytest.raises(InputError, match="IHDR as first chunk, found tEXt"):
        read_radiograph(file)


def test_pixels_that_are_no_compressed_data_are_refused(file):
    sound = handmade(b"\0\1", size=(1, 1))
    good = chunk(b"IDAT", zlib.compress(b"\0\1"))
    for bad in (b"rubbish", zlib.compress(b"\0\1")[:-4], b""):
        file.write_bytes(sound.replace(good, chunk(b"IDAT", bad)))
        with pytest.raises(InputError, match="pixels"):
            read_radiograph(file)


@pytest.mark.parametrize(
    "text", [zlib.compress(b"x" * 100)[:-9], zlib.compress(bytes(2**22 + 1)), b"rubbish"]
)
def test_text_that_is_cut_off_or_too_long_is_refused(text, file):
    file.write_bytes(handmade(b"\0\1", size=(1, 1), extra=chunk(b"zTXt", b"Description\0\0" + text)))
    with pytest.raises(InputError):
        read_radiograph(file)


@pytest.mark.parametrize(
    ("resolution", "phys"),
    [
        (Resolution(2.0, 1.0), (2, 1, 0)),
        (Resolution(3.0, 3.0), None),
        (Resolution(0.0, 1.0, "cm"), None),
        (Resolution(1e30, 1.0, "inch"), None),
        (Resolution(100.0, 50.0, "cm"), (10000, 5000, 1)),
    ],
    ids=str,
)
def test_resolution_is_written_where_png_can_say_it_and_always_comes_back(resolution, phys, file):
    write_radiograph(Radiograph(ramp((3, 5)), resolution=resolution), file)
    data = file.read_bytes()
    assert (b"pHYs" in data) == (phys is not None)
    if phys is not None:
        assert struct.unpack_from(">IIB", data, data.index(b"pHYs") + 4) == phys
    assert read_radiograph(file).resolution == resolution


def test_square_pixels_without_unit_and_exif_without_orientation_say_nothing(file):
    exif = Image.Exif()
    exif[271] = "maker"
    extra = chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0)) + chunk(b"eXIf", exif.tobytes()[6:])
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=extra))
    radiograph = read_radiograph(file)
    assert radiograph.resolution is None
    np.testing.assert_array_equal(radiograph.pixels, [[1, 2]])


GREY_PROFILE = bytes(16) + b"GRAY" + bytes(108)
RGB_PROFILE = bytes(16) + b"RGB " + bytes(108)
CARRIED = {
    "gAMA": struct.pack(">I", 45455),
    "cHRM": struct.pack(">8I", *range(1, 9)),
    "sRGB": b"\0",
    "sBIT": b"\x06",
    "bKGD": b"\0\7",
    "tIME": struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5),
    "pHYs": struct.pack(">IIB", 20_000, 10_000, 1),
    "iCCP": b"grey\0\0" + zlib.compress(GREY_PROFILE),
    "sCAL": b"\x010.001\x000.002",
    "prVt": b"private, safe to copy",
}


def chunks_of(path: Path) -> list[tuple[str, bytes]]:
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        found.append((name.decode(), data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def enhanced(source: Path) -> tuple[Radiograph, Path]:
    radiograph = read_radiograph(source)
    step = Step("longexposure", "0.1.0", "enhance", {})
    copy = source.with_name("copy.png")
    return radiograph, write_radiograph(radiograph.with_pixels(radiograph.pixels, step), copy)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_chunks_are_carried_over_and_our_history_stands_beside_them(place, file):
    texts = [
        ("tEXt", b"Description\0board 7"),
        ("zTXt", b"Author\0\0" + zlib.compress(b"operator 4")),
        ("iTXt", "Title\0\0\0de\0Titel\0Brücke".encode()),
        ("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>"),
        ("tEXt", b"Software\0Acquire 3.1"),
        ("tEXt", b"Comment\0second"),
    ]
    theirs = [*CARRIED.items(), *texts]
    extra = b"".join(chunk(name.encode(), body) for name, body in theirs)
    data = handmade(b"\0\1\2\0\3\4", size=(2, 2), extra=extra if place == "before" else b"")
    if place == "behind":
        data = data[:-12] + extra + data[-12:]
    file.write_bytes(data)
    before, copy = enhanced(file)
    assert before.stored.notes == ()
    assert before.description == "board 7"
    found = chunks_of(copy)
    assert [each for each in found if each in theirs] == theirs
    (record,) = (body for name, body in found if body.startswith(b"longexposure\0"))
    assert b'"enhance"' in record
    assert [name for name, _ in found][-2:] == ["IDAT", "IEND"]
    back = read_radiograph(copy)
    for name in ("description", "resolution", "pitch_um"):
        assert getattr(back, name) == getattr(before, name)
    assert back.pitch_um == (100.0, 50.0)
    again = write_radiograph(back, file.with_name("again.png"))
    assert [each for each in chunks_of(again) if not each[1].startswith(b"longexposure")] == [
        each for each in found if not each[1].startswith(b"longexposure")
    ]
    with Image.open(copy) as image:
        assert image.info["Author"] == "operator 4"
        assert image.info["Title"] == "Brücke"
        assert image.info["icc_profile"] == GREY_PROFILE


@pytest.mark.parametrize("name", [name for name in CARRIED if name not in ("prVt", "sCAL")])
def test_damaged_chunk_is_left_out_and_said(name, file):
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=chunk(name.encode(), b"bad")))
    if name == "pHYs":  # which nobody can read a resolution from
        with pytest.raises(InputError):
            read_radiograph(file)
        return
    _, copy = enhanced(file)
    assert name not in [each for each, _ in chunks_of(copy)]
    said = str(read_radiograph(copy).history[-1].settings["not_carried_over"])
    assert ("ICC" if name == "iCCP" else name) in said


def test_what_cannot_be_carried_over_is_said(file):
    extra = chunk(b"prVT", b"unsafe to copy")
    extra += chunk(b"tEXt", b"longexposure\0somebody else's")
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=extra))
    _, copy = enhanced(file)
    assert b"unsafe to copy" not in copy.read_bytes()
    said = str(read_radiograph(copy).history[-1].settings["not_carried_over"])
    assert "prVT" in said
    assert "'longexposure'" in said


@pytest.mark.parametrize(
    ("profile", "kept"), [(GREY_PROFILE, True), (RGB_PROFILE, False)], ids=["grey", "rgb"]
)
def test_profile_of_colour_does_not_go_with_a_grey_image(profile, kept, file):
    image = Image.fromarray(np.stack([ramp((9, 7), "uint8")] * 3, -1))
    before, copy = enhanced(save(file, image, icc_profile=profile))
    with Image.open(copy) as written:
        assert written.mode == "L"
        assert ("icc_profile" in written.info) == kept
    assert ("ICC" in str(before.stored.notes)) == (not kept)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_resolution_turns_with_the_image(orientation, file):
    exif = Image.Exif()
    exif[274] = orientation
    extra = chunk(b"eXIf", exif.tobytes()[6:]) + chunk(b"pHYs", struct.pack(">IIB", 20_000, 10_000, 1))
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=extra))
    before, copy = enhanced(file)
    assert before.pitch_um == ((50.0, 100.0) if orientation == 6 else (100.0, 50.0))
    back = read_radiograph(copy)
    assert (back.pitch_um, back.resolution) == (before.pitch_um, before.resolution)
    assert (
        "pHYs",
        struct.pack(">IIB", *((10_000, 20_000) if orientation == 6 else (20_000, 10_000)), 1),
    ) in (chunks_of(copy))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_is_carried_over_upright_and_without_its_thumbnail(order, orientation, file):
    exif = Image.Exif()
    exif.endian = order
    exif[274], exif[271], exif[306] = orientation, "X-Ray WorX", "2026:01:02 03:04:05"
    exif.get_ifd(34665)[36867] = "2026:01:02 03:04:05"
    exif.get_ifd(34853)[1] = "N"
    body = exif.tobytes()[6:]
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=chunk(b"eXIf", body)))
    _, copy = enhanced(file)
    with Image.open(copy) as image:
        theirs = image.getexif()
        assert theirs[274] == 1
        assert (theirs[271], theirs[306]) == ("X-Ray WorX", "2026:01:02 03:04:05")
        assert theirs.get_ifd(34665)[36867] == "2026:01:02 03:04:05"
        assert theirs.get_ifd(34853)[1] == "N"
    assert read_radiograph(copy).stored.notes == ()


@pytest.mark.parametrize("per_metre", [2834, 2835, 3779, 3780, 3937, 100])
def test_default_resolution_of_programs_is_kept_and_is_no_pitch(per_metre, file):
    body = struct.pack(">IIB", per_metre, per_metre, 1)
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=chunk(b"pHYs", body)))
    before, copy = enhanced(file)
    assert before.pitch_um is None
    assert ("pHYs", body) in chunks_of(copy)


@pytest.mark.parametrize("keyword", ["Description", "Comment"])
@pytest.mark.parametrize("new", ["", "new", "neu: Brücke", "{json}"])
def test_description_that_is_set_anew_takes_the_place_of_the_old(keyword, new, file):
    extra = chunk(b"tEXt", keyword.encode() + b"\0old") + chunk(b"tEXt", b"Author\0operator 4")
    file.write_bytes(handmade(b"\0\1\2", size=(2, 1), extra=extra))
    radiograph = dataclasses.replace(read_radiograph(file), description=new)
    copy = write_radiograph(radiograph, file.with_name("b.png"))
    assert read_radiograph(copy).description == new
    with Image.open(copy) as image:
        assert image.info == ({"Author": "operator 4"} | ({"Description": new} if new else {}))
