"""A TIFF that is written is packed as its source; tifffile and Pillow (libtiff) unpack it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.files import enhance_files
from longexposure.errors import OutputError, RecipeError
from longexposure.io import read_radiograph, segments, write_radiograph
from longexposure.radiograph import Radiograph

KEPT = ["none", "deflate", "lzw", "zstd", "packbits", "lzma"]
CODES = {"none": 1, "deflate": 8, "lzw": 5, "zstd": 50000, "packbits": 32773, "lzma": 34925}


def noisy(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    values = np.random.default_rng(0).normal(120, 9, shape)
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(values).astype(dtype)


def save(path: Path, pixels: np.ndarray, name: str = "none", **options: object) -> Path:
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(path, pixels, compression=CODES[name] if name != "none" else None, **options)
    return path


def layout(path: Path) -> list[tuple[object, ...]]:
    with tifffile.TiffFile(path) as tif:
        return [
            (
                page.compression,
                page.predictor,
                page.is_tiled,
                page.chunks,
                page.bitspersample,
                page.sampleformat,
            )
            for page in tif.pages
        ]


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name in KEPT for how in ("strips", "tiles")]
    + [
        (name, f"{how} predicted")
        for name in ("deflate", "lzw", "zstd", "lzma")
        for how in ("strips", "tiles")
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_compression_predictor_and_layout_are_the_sources(name, dtype, how, byteorder, tmp_path):
    pixels = noisy((2, 70, 45), dtype)
    options = {"predictor": "predicted" in how, "byteorder": byteorder}
    options |= {"tile": (16, 32)} if "tiles" in how else {"rowsperstrip": 13}
    source = save(tmp_path / "a.tif", pixels, name, **options)
    copy = write_radiograph(read_radiograph(source), tmp_path / "b.tif")
    assert layout(copy) == layout(source)
    assert layout(copy)[0][0] == CODES[name]
    np.testing.assert_array_equal(tifffile.imread(copy), pixels)
    np.testing.assert_array_equal(read_radiograph(copy).pixels, pixels)
    if name != "zstd" and (dtype, byteorder) != ("float32", ">"):  # which Pillow 13 spoils, or may lack
        with Image.open(copy) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[0])


@pytest.mark.parametrize("source", ["none", "lzw"])
@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int16", "float64"])
def test_another_compression_on_request(source, name, dtype, tmp_path):
    pixels = noisy((70, 45), dtype if dtype != "float64" else "float32").astype(dtype)
    radiograph = read_radiograph(save(tmp_path / "a.tif", pixels, source))
    copy = write_radiograph(radiograph, tmp_path / "b.tif", compress=name)
    assert layout(copy)[0][0] == CODES[name]
    written = tifffile.imread(copy)
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, pixels)


@pytest.mark.parametrize("name", KEPT)
def test_arrays_and_other_formats_are_plain_unless_asked(name, tmp_path):
    pixels = noisy((70, 45))
    assert layout(write_radiograph(Radiograph(pixels), tmp_path / "a.tif"))[0][0] == 1
    copy = write_radiograph(Radiograph(pixels), tmp_path / "b.tif", compress=name)
    assert layout(copy)[0][0] == CODES[name]
    np.testing.assert_array_equal(tifffile.imread(copy), pixels)
    png = write_radiograph(Radiograph(pixels), tmp_path / "b.png", compress=name)
    np.testing.assert_array_equal(read_radiograph(png).pixels, pixels)


@pytest.mark.parametrize("name", ["jpeg", "", "LZW", "gzip"])
def test_unknown_compression_is_refused_before_anything_is_done(name, tmp_path):
    with pytest.raises(RecipeError, match=r"compress: expected none or deflate.*found"):
        write_radiograph(Radiograph(noisy((7, 5))), tmp_path / "a.tif", compress=name)
    with pytest.raises(RecipeError, match="compress"):
        list(enhance_files([tmp_path / "a.tif"], tmp_path / "out", load_enhancer("identity"), compress=name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"compression": "jpeg"}, "JPEG"),
        ({"compression": "webp", "compressionargs": {"lossless": False}}, "WEBP"),
        ({"compression": "jpeg2000"}, "JPEG2000"),
        ({"compression": "png"}, "PNG"),
        ({"compression": "lerc"}, "LERC"),
    ],
    ids=str,
)
def test_compression_that_is_not_written_becomes_a_lossless_one_and_that_is_said(options, name, tmp_path):
    shape = (64, 48, 3) if name == "WEBP" else (64, 48)
    source = tmp_path / "a.tif"
    pixels = (
        np.repeat(noisy(shape[:2], "uint8")[..., None], 3, -1) if len(shape) == 3 else noisy(shape, "uint8")
    )
    tifffile.imwrite(
        source, pixels, photometric="rgb" if len(shape) == 3 else "minisblack", metadata=None, **options
    )
    (result,) = enhance_files([source], tmp_path / "out", load_enhancer("gaussian"))
    assert any(name in warning and "deflate" in warning for warning in result.warnings)
    said = read_radiograph(result.output).history[-1].settings["not_carried_over"]
    assert any(name in each and "loses nothing" in each for each in said)
    assert layout(result.output)[0][0] == 8
    np.testing.assert_array_equal(read_radiograph(result.output).pixels, result.after.pixels)
    assert result.shape == (64, 48)


def test_enhanced_files_are_about_as_large_as_their_sources(tmp_path):
    grey = np.rint(np.random.default_rng(0).normal(9000, 40, (300, 400))).astype(np.uint16)
    grey[:200] = 9000
    for name in ("deflate", "lzw", "zstd", "none"):
        source = save(tmp_path / f"{name}.tif", grey, name, predictor=name != "none")
        (result,) = enhance_files([source], tmp_path / "out", load_enhancer("gaussian"))
        assert result.error is None
        assert result.output.stat().st_size < 1.1 * source.stat().st_size + 8000


def test_large_strips_are_packed_in_parts(tmp_path, monkeypatch):
    pixels = noisy((200, 300))
    source = save(tmp_path / "a.tif", pixels, "lzw", rowsperstrip=200)
    monkeypatch.setattr(segments, "_MOST_BYTES", 300 * 2 * 50)
    copy = write_radiograph(read_radiograph(source), tmp_path / "b.tif")
    with tifffile.TiffFile(copy) as tif:
        assert tif.pages[0].rowsperstrip == 50
    np.testing.assert_array_equal(tifffile.imread(copy), pixels)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_plain_pages_lie_together_in_the_file(bigtiff, tmp_path):
    pixels = noisy((5, 20, 30))
    copy = write_radiograph(
        read_radiograph(save(tmp_path / "a.tif", pixels, bigtiff=bigtiff)), tmp_path / "b.tif"
    )
    np.testing.assert_array_equal(tifffile.memmap(copy), pixels)


def test_tiles_of_a_size_that_tiff_does_not_know_become_strips(tmp_path):
    source = save(tmp_path / "a.tif", noisy((24, 24)), tile=(16, 16))
    with tifffile.TiffFile(source, mode="r+") as tif:
        tif.pages[0].tags[322].overwrite(12, dtype=4)
    radiograph = read_radiograph(source)
    copy = write_radiograph(radiograph, tmp_path / "b.tif")
    with tifffile.TiffFile(copy) as tif:
        assert not tif.pages[0].is_tiled
    np.testing.assert_array_equal(tifffile.imread(copy), radiograph.pixels)


def test_a_full_disk_in_the_midst_of_packing_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource", reason="no limit on file size to fill a disk with")
    radiograph = read_radiograph(save(tmp_path / "a.tif", noisy((400, 500)), "deflate"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="free space"):
            write_radiograph(radiograph, tmp_path / "b.tif")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
