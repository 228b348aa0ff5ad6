"""What a reader takes: at most 8 times the declared pixels and 64 MB, measured in children.

Every input is harmless: where a size is wrong, it is a few million pixels in place of a few hundred.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from longexposure.errors import InputError
from longexposure.io import codecs, read_radiograph, write_radiograph
from longexposure.io.png import SIGNATURE, png_bytes
from longexposure.radiograph import Radiograph

LIMIT = 64 * 2**20
SIDE = 2048
WIDE = np.zeros((SIDE, SIDE), np.uint8)

MEASURE = """
import json, os, resource, sys
from longexposure.io import read_radiograph
from longexposure.errors import LongExposureError
import h5py, imagecodecs, olefile, pydicom, tifffile
warm, *files = sys.argv[1:]
read_radiograph(warm)
for file in files:
    child = os.fork()
    if not child:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            pixels, said = read_radiograph(file).pixels.nbytes, ""
        except LongExposureError as error:
            pixels, said = 0, f"{type(error).__name__}: {error}"
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        print(json.dumps([file, grown, pixels, said]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def measured(folder: Path, files: list[Path]) -> dict[str, tuple[int, int, str]]:
    """Bytes taken, bytes of pixels and error of each file, each read in a process of its own."""
    warm = folder / "warm.tif"
    tifffile.imwrite(warm, np.zeros((4, 4), np.uint8), compression="zlib")
    command = [sys.executable, "-c", MEASURE, str(warm), *map(str, files)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=300)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    return {Path(file).name: (taken, pixels, said) for file, taken, pixels, said in rows}


def page(strip: bytes, compression: int, *, samples: int = 1, tags: dict[int, int] | None = None) -> bytes:
    """A TIFF of 16 x 16 pixels of 8 bits whose only strip is this."""
    entries = {256: 16, 257: 16, 258: 8, 259: compression, 262: 1 if samples == 1 else 2, 273: 8}
    entries |= {277: samples, 278: 16, 279: len(strip)} | (tags or {})
    body = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(entries.items()))
    strip += b"\0" * (len(strip) % 2)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(strip))
        + strip
        + struct.pack("<H", len(entries))
        + body
        + bytes(4)
    )


ENCODED = {
    "jpeg": (7, lambda pixels: imagecodecs.jpeg_encode(pixels)),
    "jpeg 2000 codestream": (34712, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K")),
    "jpeg 2000 file": (33005, lambda pixels: imagecodecs.jpeg2k_encode(pixels)),
    "jpeg xr": (34934, lambda pixels: imagecodecs.jpegxr_encode(pixels)),
    "jpeg xr, other number": (22610, lambda pixels: imagecodecs.jpegxr_encode(pixels)),
    "png": (34933, lambda pixels: imagecodecs.png_encode(pixels)),
    "lerc": (34887, lambda pixels: imagecodecs.lerc_encode(pixels)),
    "webp": (50001, lambda pixels: imagecodecs.webp_encode(np.stack([pixels] * 3, -1), lossless=True)),
}


@pytest.mark.parametrize("codec", ENCODED)
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (16, 17), (33, 16)], ids=str)
def test_codec_that_declares_more_than_its_strip_is_refused_before_it_runs(
    codec, shape, tmp_path, monkeypatch
):
    compression, encode = ENCODED[codec]
    strip = bytes(encode(np.ascontiguousarray(WIDE[: shape[0], : shape[1]])))
    samples = 3 if codec == "webp" else 1
    (tmp_path / "a.tif").write_bytes(page(strip, compression, samples=samples))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(
        InputError, match=f"compressed pixels of 16 x 16 .* found {shape[1]} x {shape[0]} with"
    ):
        read_radiograph(tmp_path / "a.tif")


@pytest.mark.parametrize("codec", ENCODED)
def test_codec_that_declares_its_strip_is_read(codec, tmp_path):
    compression, encode = ENCODED[codec]
    pixels = np.full((16, 16), 77, np.uint8)
    samples = 3 if codec == "webp" else 1
    (tmp_path / "a.tif").write_bytes(page(bytes(encode(pixels)), compression, samples=samples))
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("codec", ENCODED)
def test_codec_that_declares_no_size_is_refused(codec, tmp_path):
    compression, encode = ENCODED[codec]
    strip = bytes(encode(np.zeros((16, 16), np.uint8)))
    for damaged in (strip[:5], b"\xff\xd8" + bytes(40), bytes(60)):
        (tmp_path / "a.tif").write_bytes(page(damaged, compression, samples=3 if codec == "webp" else 1))
        with pytest.raises(InputError, match="say one size"):
            read_radiograph(tmp_path / "a.tif")


def test_number_of_channels_of_a_codec_is_held_against_the_page(tmp_path):
    for encode in (imagecodecs.jpeg_encode, imagecodecs.png_encode):
        strip = bytes(encode(np.zeros((16, 16, 3), np.uint8)))
        (tmp_path / "a.tif").write_bytes(page(strip, 7 if encode is imagecodecs.jpeg_encode else 34933))
        with pytest.raises(InputError, match=r"with 3 sample\(s\)"):
            read_radiograph(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [2, 6, 9, 34661, 34892, 50002, 52546, 65000, 12345])
def test_codec_that_is_not_taken_is_named_with_those_that_are(compression, tmp_path):
    (tmp_path / "a.tif").write_bytes(page(bytes(200), compression))
    with pytest.raises(InputError, match=f"JPEG 2000.*TIFF compression {compression};.*without compression"):
        read_radiograph(tmp_path / "a.tif")


def test_second_frame_of_a_jpeg_is_refused(tmp_path):
    strip = bytes(imagecodecs.jpeg_encode(np.zeros((16, 16), np.uint8)))
    frame = strip.index(b"\xff\xc0")
    again = strip[:frame] + strip[frame : frame + 13] + strip[frame:]
    (tmp_path / "a.tif").write_bytes(page(again, 7))
    with pytest.raises(InputError, match="none, or several"):
        read_radiograph(tmp_path / "a.tif")


def test_jpeg_2000_of_too_many_tiles_or_precincts_has_no_size():
    sound = bytes(imagecodecs.jpeg2k_encode(WIDE, codecformat="J2K"))
    assert codecs.jpeg2000_size(sound) == (SIDE, SIDE, 1, 8)
    tiles = bytearray(sound)
    struct.pack_into(">II", tiles, 4 + 2 + 2 + 16, 8, 8)  # XTsiz and YTsiz
    assert codecs.jpeg2000_size(bytes(tiles)) is None
    style = sound.index(b"\xff\x52")
    length, levels = sound[style + 3], sound[style + 9]
    marker = bytearray(sound[style : style + 2 + length])
    marker[3] += levels + 1
    marker[4] |= 1
    small = sound[:style] + bytes(marker) + bytes(levels + 1) + sound[style + 2 + length :]
    assert codecs.jpeg2000_size(small) is None
    usual = sound[:style] + bytes(marker) + b"\x88" * (levels + 1) + sound[style + 2 + length :]
    assert codecs.jpeg2000_size(usual) == (SIDE, SIDE, 1, 8)


def test_tile_much_larger_than_its_page_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", WIDE[:16, :16], tile=(SIDE, SIDE), compression="zlib")
    with pytest.raises(InputError, match=f"tiles of {SIDE} x {SIDE} on a page of 16 x 16"):
        read_radiograph(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", WIDE[:16, :16], tile=(512, 512), compression="zlib")
    assert read_radiograph(tmp_path / "a.tif").pixels.shape == (16, 16)


def ome(pixels: str, inside: str = "<TiffData/>") -> str:
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="16" SizeY="16" '
        f"{pixels}>{inside}</Pixels></Image></OME>"
    )


@pytest.mark.parametrize(
    "text",
    [
        ome('SizeZ="500000" SizeC="1" SizeT="1"'),
        ome('SizeZ="1" SizeC="700" SizeT="700"'),
        ome('SizeZ="&#53;00000" SizeC="1" SizeT="1"'),
        ome('SizeZ="1" SizeC="1" SizeT="1"', '<TiffData IFD="0" PlaneCount="500000"/>'),
        ome('SizeZ="1" SizeC="1" SizeT="1"', '<TiffData FirstZ="500000" PlaneCount="1"/>'),
        ome('SizeZ="1" SizeC="1" SizeT="1"').replace("<OME ", '<!DOCTYPE OME [<!ENTITY a "b">]><OME '),
        ome('SizeZ="1" SizeC="1" SizeT="1"').replace(
            "</OME>", "<ModuloAlongZ Start='0' End='9' Step='1'/></OME>"
        ),
    ],
)
def test_ome_metadata_that_promise_more_than_the_pages_are_refused_before_planes_are_made(
    text, tmp_path, monkeypatch
):
    tifffile.imwrite(tmp_path / "a.tif", WIDE[:16, :16], description=text, metadata=None)
    monkeypatch.setattr(tifffile.TiffFile, "series", property(lambda _: pytest.fail("planes made")))
    with pytest.raises(InputError, match=r"OME metadata"):
        read_radiograph(tmp_path / "a.tif")


def test_ome_metadata_do_not_make_another_file_be_opened(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "other.tif", WIDE[:16, :16] + 1)
    inside = '<TiffData IFD="0"><UUID FileName="other.tif">urn:uuid:0</UUID></TiffData>'
    text = ome('SizeZ="1" SizeC="1" SizeT="1"', inside)
    tifffile.imwrite(tmp_path / "a.tif", WIDE[:16, :16], description=text, metadata=None)
    opened, handle = [], tifffile.FileHandle

    def noted(file, *given, **options):
        opened.append(str(file))
        return handle(file, *given, **options)

    monkeypatch.setattr(tifffile.tifffile, "FileHandle", noted)
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(InputError):
        read_radiograph("a.tif")
    assert len(opened) == 1


def test_pages_and_tags_are_summed_up(tmp_path, monkeypatch):
    one = page(bytes(256), 1)
    directory, tags = one[264:], 9
    pages = [struct.pack("<2sHI", b"II", 42, 264), bytes(256)]
    for number in range(9000):
        end = struct.pack("<I", 264 + (number + 1) * len(directory) if number < 8999 else 0)
        pages.append(
            directory[:-4].replace(struct.pack("<HHII", 257, 4, 1, 16), struct.pack("<HHII", 257, 4, 1, 0))
            + end
        )
    (tmp_path / "pages.tif").write_bytes(b"".join(pages))
    long = struct.pack("<HHII", 700, 3, 2**21, 8)  # half a million values more than there are pixels
    body = struct.pack("<H", tags + 1) + directory[2:-4] + long + bytes(4)
    (tmp_path / "tag.tif").write_bytes(one[:264] + body)
    monkeypatch.setattr(tifffile, "TiffFile", lambda *_: pytest.fail("opened"))
    for name in ("pages.tif", "tag.tif"):
        with pytest.raises(InputError, match="pages and their tags"):
            read_radiograph(tmp_path / name)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def png_with(*chunks: bytes) -> bytes:
    sound = png_bytes(WIDE[:16, :16])
    return sound[: len(SIGNATURE) + 25] + b"".join(chunks) + sound[len(SIGNATURE) + 25 :]


def test_texts_of_a_png_are_capped_in_all(tmp_path):
    packed = zlib.compress(bytes(200_000).replace(b"\0", b"x"))
    texts = [chunk(b"zTXt", b"Comment %d\0\0" % number + packed) for number in range(40)]
    (tmp_path / "a.png").write_bytes(png_with(*texts))
    with pytest.raises(InputError, match="4194304 bytes in all"):
        read_radiograph(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png_with(*texts[:20]))
    assert read_radiograph(tmp_path / "a.png").pixels.shape == (16, 16)


def test_chunks_and_length_of_a_png_are_capped(tmp_path):
    (tmp_path / "a.png").write_bytes(png_with(chunk(b"vpAg", b"") * 70_000))
    with pytest.raises(InputError, match="at most 65536 chunks"):
        read_radiograph(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png_with(chunk(b"vpAg", bytes(13 * 2**20))))
    with pytest.raises(InputError, match="a file of 13"):
        read_radiograph(tmp_path / "a.png")


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


@pytest.mark.parametrize("head", [b"", b"RIFF", b"\x89HDF\r\n", b"II*\0\0\0\0\0", SIGNATURE], ids=repr)
def test_large_file_of_zeros_is_refused_by_its_head(head, tmp_path):
    path = sparse(tmp_path / "a.tif", head, 2**32)
    with pytest.raises(InputError):
        read_radiograph(path)


@pytest.mark.slow
def test_small_files_never_take_more_than_the_limit(tmp_path):
    files = []
    for codec, (compression, encode) in ENCODED.items():
        path = tmp_path / f"{codec}.tif"
        path.write_bytes(page(bytes(encode(WIDE)), compression, samples=3 if codec == "webp" else 1))
        files.append(path)
    raw = WIDE.tobytes()
    for name, compression, packed in (
        ("zlib", 8, zlib.compress(raw)),
        ("zstd", 50000, imagecodecs.zstd_encode(raw)),
        ("lzma", 34925, imagecodecs.lzma_encode(raw)),
    ):
        files.append(tmp_path / f"{name}.tif")
        files[-1].write_bytes(page(bytes(packed), compression))
    files += [
        sparse(tmp_path / "zeros.tif", b"", 2**32),
        sparse(tmp_path / "head.tif", b"II*\0\0\0\0\0", 2**32),
    ]
    found = measured(tmp_path, files)
    assert set(found) == {file.name for file in files}
    assert {name: taken for name, (taken, _, _) in found.items() if taken > LIMIT / 4} == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_large_images_take_at_most_eight_times_their_pixels(dtype, tmp_path):
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.default_rng(0).normal(0, 300, x.shape)
    pixels = (
        (20000 + 8000 * np.sin(x / 50) * np.cos(y / 70) + noise) / (256 if dtype == "uint8" else 1)
    ).astype(dtype)
    files = []
    for codec in ("none", "lzw", "zlib", "zstd", "lzma", "packbits", "jpeg2000", "jpegxr", "png", "lerc"):
        for layout, options in {"strip": {"rowsperstrip": SIDE}, "tiles": {"tile": (256, 256)}}.items():
            files.append(tmp_path / f"{codec} {layout}.tif")
            tifffile.imwrite(files[-1], pixels, compression=None if codec == "none" else codec, **options)
    files.append(tmp_path / "a.png")
    files[-1].write_bytes(png_bytes(pixels))
    found = measured(tmp_path, files)
    assert {name: said for name, (_, _, said) in found.items() if said} == {}
    assert {name: taken for name, (taken, size, _) in found.items() if taken > 8 * size + LIMIT} == {}


def dicom_of_twelve_bits(folder: Path, pixels: np.ndarray, beside: int = 0) -> Path:
    import pydicom

    path = write_radiograph(Radiograph(pixels), folder / f"12 bits {beside}.dcm")
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = (pixels >> 4 | np.uint16(beside)).tobytes()
    dataset.save_as(path)
    return path


def in_every_other_format(folder: Path, pixels: np.ndarray) -> list[Path]:
    """Files of these pixels (H, W), uint16, in the formats besides TIFF and PNG."""
    files = [write_radiograph(Radiograph(pixels), folder / "a.dcm")]
    files += [write_radiograph(Radiograph(np.stack([pixels] * 3)), folder / "three.dcm")]
    files += [dicom_of_twelve_bits(folder, pixels), dicom_of_twelve_bits(folder, pixels, 0x8000)]
    for dtype in ("u1", "i1", "u2", "i4", "u8", "f2", "f4", "f8"):
        values = (pixels >> 9 if dtype in ("u1", "i1") else pixels >> 5).astype(dtype)
        files.append(folder / f"{dtype}.npy")
        np.save(files[-1], values)
        for name, options in {
            "plain": {},
            "deflate": {"chunks": pixels.shape, "compression": "gzip", "shuffle": True, "fletcher32": True},
            "lzf": {"chunks": (256, 256), "compression": "lzf"},
        }.items():
            files.append(folder / f"{dtype} {name}.h5")
            with h5py.File(files[-1], "w") as file:
                file.create_dataset("x", data=values, **options)
    grey = Image.fromarray((pixels >> 8).astype(np.uint8))
    for mode in ("L", "RGB"):
        for name in ("a.bmp", "a.pgm", "a.jpg", "progressive.jpg"):
            files.append(folder / f"{mode} {name}")
            grey.convert(mode).save(files[-1], **({"progressive": True} if "prog" in name else {}))
    head = struct.pack("<HHHIHHHHHHHdH", 0x7000, 68, 100, 0, 32, 1, 1, *pixels.shape[::-1], 1, 0, 4e5, 4)
    files.append(folder / "a.his")
    files[-1].write_bytes(head.ljust(100, b"\0") + pixels.tobytes())
    files.append(folder / "a.raw")
    files[-1].write_bytes(pixels.tobytes())
    (folder / "a.raw.toml").write_text(f'shape = {list(pixels.shape)}\ntype = "uint16"\n')
    return files


@pytest.mark.slow
def test_every_other_format_takes_at_most_eight_times_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).normal(20000, 300, (SIDE, SIDE)).astype(np.uint16)
    files = in_every_other_format(tmp_path, pixels)
    found = measured(tmp_path, files)
    assert set(found) == {file.name for file in files}
    assert {name: said for name, (_, _, said) in found.items() if said} == {}
    assert {name: taken for name, (taken, size, _) in found.items() if taken > 8 * size + LIMIT} == {}


@pytest.mark.slow
def test_small_files_of_other_formats_never_take_more_than_the_limit(tmp_path):
    files = []
    for name, pack in {"gzip": zlib.compress, "lzf": imagecodecs.lzf_encode}.items():
        files.append(tmp_path / f"{name}.h5")
        with h5py.File(files[-1], "w") as file:
            data = file.create_dataset("x", (16, 16), "u1", chunks=(16, 16), compression=name)
            data[...] = 1
            data.id.write_direct_chunk((0, 0), bytes(pack(bytes(32 * SIDE**2))))
    files.append(tmp_path / "wide chunk.h5")
    with h5py.File(files[-1], "w") as file:
        options = {"chunks": (2 * SIDE, 4 * SIDE), "maxshape": (None, None), "compression": "gzip"}
        file.create_dataset("x", (16, 16), "u1", **options)[...] = 1
    small = {
        "a.npy": b"\x93NUMPY\1\0v\0" + b"{'descr': '<u2', 'fortran_order': False, 'shape': (40000, 40000), }",
        "a.pgm": b"P5 40000 40000 65535\n",
        "a.his": struct.pack("<HHHIHHHHHHHdH", 0x7000, 68, 100, 0, 32, 1, 1, 40000, 40000, 9, 0, 4e5, 4),
        "a.bmp": b"BM".ljust(10, b"\0") + struct.pack("<IIiiHHIIiiII", 54, 40, 40000, 40000, 1, 8, *[0] * 6),
    }
    for name, content in small.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content.ljust(300))
    found = measured(tmp_path, files)
    assert set(found) == {file.name for file in files}
    assert [name for name, (_, _, said) in found.items() if not said] == ["wide chunk.h5"]
    assert {name: taken for name, (taken, _, _) in found.items() if taken > LIMIT} == {}
