"""Grey values of types that are not computed in: taken where float32 holds each, given back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import InputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.radiograph import Step

STEP = Step("longexposure", "0.1.0", "enhance", {})
LARGE = 2**24


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", "metadata": None} | options)
    return path


def spread(dtype: str, low: int, high: int, shape: tuple[int, ...] = (9, 11)) -> np.ndarray:
    values = np.random.default_rng(0).integers(low, high, shape, endpoint=True)
    values.flat[0], values.flat[-1] = low, high
    return values.astype(dtype)


INTEGERS = {
    "int8": spread("int8", -128, 127),
    "int16": spread("int16", -32768, 32767),
    "int16, not below 0": spread("int16", 0, 4095),
    "uint32": spread("uint32", 0, LARGE),
    "uint32, high": spread("uint32", 4_000_000_000, 4_000_000_000 + LARGE),
    "int32": spread("int32", -LARGE, LARGE),
    "int32, low": spread("int32", -(2**31), -(2**31) + LARGE),
    "int32, high": spread("int32", 2**31 - 1 - LARGE, 2**31 - 1),
    "int32, wide": spread("int32", 5, 5 + 2 * LARGE),
    "int64": spread("int64", -5, LARGE),
    "int64, low": spread("int64", -(2**63), -(2**63) + LARGE),
    "uint64": spread("uint64", 0, 60_000),
    "uint64, high": (spread("uint64", 0, LARGE) + np.uint64(2**64 - 1 - LARGE)).astype("uint64"),
}
FLOATS = {
    "float16": np.float16([[0.1, -6e-8, 65504], [-0.0, 3.25, 1e-3]]),
    "float64": np.float64([[0.5, -(2.0**127), 2.0**-149], [-0.0, 2**24 + 2, 0.25]]),
    "float64 of float32": np.random.default_rng(0).normal(size=(9, 11)).astype(np.float32).astype(np.float64),
}


@pytest.mark.parametrize("name", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "predictor": True, "tile": (16, 16)}], ids=str
)
def test_every_value_comes_back_to_the_bit_in_its_type(name, byteorder, options, tmp_path):
    stored = {**INTEGERS, **FLOATS}[name]
    stored = np.stack([stored] * 2) if byteorder == ">" else stored
    if stored.dtype.kind != "f" and stored.dtype.itemsize == 8:
        options = options | ({"predictor": False} if options else {})
    radiograph = read_radiograph(save(tmp_path / "a.tif", stored, byteorder=byteorder, **options))
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.dtype == stored.dtype.name
    copy = tifffile.imread(write_radiograph(radiograph, tmp_path / "b.tif"))
    assert copy.dtype == stored.dtype
    assert copy.tobytes() == stored.tobytes()
    kept = radiograph.with_pixels(radiograph.pixels, STEP)
    np.testing.assert_array_equal(kept.pixels, radiograph.pixels)
    copy = tifffile.imread(write_radiograph(kept, tmp_path / "c.tif"))
    assert copy.tobytes() == stored.tobytes()


@pytest.mark.parametrize("name", INTEGERS)
def test_enhanced_values_are_rounded_and_cut_at_the_ends_of_their_type(name, tmp_path):
    stored = INTEGERS[name]
    radiograph = read_radiograph(save(tmp_path / "a.tif", stored))
    ends = np.iinfo(stored.dtype)
    moved = radiograph.pixels + np.float32(3.125)
    before = moved.copy()
    after = radiograph.with_pixels(moved, STEP)
    np.testing.assert_array_equal(moved, before)
    most = min(int(ends.max), radiograph.stored.offset + LARGE)
    expected = [min(int(value) + 3, most) for value in stored.ravel()]
    written = tifffile.imread(write_radiograph(after, tmp_path / "b.tif"))
    assert written.dtype == stored.dtype
    assert [int(value) for value in written.ravel()] == expected
    back = read_radiograph(tmp_path / "b.tif")
    assert back.history[-1].settings["grey_values"]["stored"] == stored.dtype.name
    assert back.history[-1].settings["grey_values"]["computed"] == "float32"
    for far in (-1e30, 1e30):
        cut = radiograph.with_pixels(np.full_like(radiograph.pixels, far), STEP)
        written = tifffile.imread(write_radiograph(cut, tmp_path / "c.tif", overwrite=True))
        least = max(int(ends.min), radiograph.stored.offset - LARGE)
        assert int(written.flat[0]) == (least if far < 0 else most)


@pytest.mark.parametrize(
    "stored",
    [
        np.int32([[0, LARGE + 2, -LARGE]]),
        np.uint32([[0, 2**32 - 1]]),
        np.int64([[-(2**63), 2**63 - 1]]),
        np.uint64([[0, 2**64 - 1]]),
        np.float64([[0.1, 0.5]]),
        np.float64([[1e300, 0.5]]),
        np.float64([[0.5, 2**24 + 1]]),
        np.float64([[1e-60, 0.5]]),
    ],
    ids=str,
)
def test_values_that_would_be_lost_are_refused_with_the_way_out(stored, tmp_path):
    with pytest.raises(InputError, match=f"{stored.dtype.name} grey values.*convert it yourself"):
        read_radiograph(save(tmp_path / "a.tif", stored))


@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {"metadata": {}}], ids=str)
@pytest.mark.parametrize("dtype", ["int16", "float64", "uint32"])
def test_hyperstacks_of_these_types_come_back(kind, dtype, tmp_path):
    if "imagej" in kind:
        dtype = "float32"  # what ImageJ has beside unsigned integers
    stored = spread(dtype, 0, 30_000, (2, 3, 9, 11))
    radiograph = read_radiograph(save(tmp_path / "a.tif", stored, **({"metadata": {"axes": "TZYX"}} | kind)))
    assert radiograph.pixels.shape == (6, 9, 11)
    with tifffile.TiffFile(write_radiograph(radiograph, tmp_path / "b.tif")) as tif:
        assert tif.series[0].shape == stored.shape
        assert tif.asarray().tobytes() == stored.tobytes()


@pytest.mark.parametrize("dtype", ["int16", "int32", "float64", "uint32"])
def test_enhancing_changes_them_as_it_changes_float32(dtype, tmp_path):
    rng = np.random.default_rng(3)
    grey = np.rint(rng.normal(9000, 300, (96, 96)))
    source = save(tmp_path / "a.tif", grey.astype(dtype))
    enhancer = load_enhancer("gaussian")
    after = enhancer.enhance(read_radiograph(source))
    plain = enhancer.enhance(grey.astype(np.float32))
    np.testing.assert_array_equal(after.pixels, plain if dtype == "float64" else np.rint(plain))
    np.testing.assert_array_equal(
        tifffile.imread(write_radiograph(after, tmp_path / "b.tif")), after.pixels.astype(dtype)
    )


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("compress", [None, "deflate"])
def test_packed_bits_come_back_packed_and_are_cut_at_their_end(bits, compress, tmp_path):
    stored = spread("uint16", 0, 2**bits - 1, (9, 13))
    source = save(tmp_path / "a.tif", stored, bitspersample=bits)
    radiograph = read_radiograph(source)
    assert radiograph.stored.bits == bits
    for pixels, expected in (
        (radiograph.pixels, stored),
        (radiograph.pixels + np.uint16(9), np.minimum(stored + 9, 2**bits - 1)),
    ):
        after = radiograph.with_pixels(pixels, STEP)
        with tifffile.TiffFile(
            write_radiograph(after, tmp_path / "b.tif", overwrite=True, compress=compress)
        ) as tif:
            assert tif.pages[0].bitspersample == bits
            np.testing.assert_array_equal(tif.asarray(), expected)


@pytest.mark.parametrize(("most", "bits"), [(4095, 12), (1023, 10), (4000, 0), (65535, 16), (255, 0)])
def test_significant_bits_are_the_files_own(most, bits, tmp_path):
    stored = spread("uint16", 0, 1000)
    source = save(tmp_path / "a.tif", stored, extratags=[(281, "H", 1, most, True)])
    radiograph = read_radiograph(source)
    assert radiograph.stored.bits == bits
    after = radiograph.with_pixels(np.full_like(radiograph.pixels, 60_000), STEP)
    assert after.pixels.max() == (min(2**bits - 1, 60_000) if bits else 60_000)
