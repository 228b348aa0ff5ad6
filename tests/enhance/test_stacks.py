"""Stacks whose pages stay in their file: the same bytes come of them as of those that are held in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
import tifffile
from quick import noisy

from longexposure import radiograph
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.files import FileResult, enhance_files
from longexposure.errors import InputError, OutputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.io.spool import Spool
from longexposure.radiograph import Pages, Radiograph
from longexposure.report.comparison import comparisons_of, write_report

SHAPE = (7, 40, 48)
STACK = noisy(3, SHAPE)
STACK[2, 5, 6] = 65535  # a faulty pixel


@pytest.fixture(scope="module")
def gaussian() -> Enhancer:
    return load_enhancer("gaussian")


def tiff(path: Path, values: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, values, photometric="minisblack", **options)
    return path


def dicom(path: Path, values: np.ndarray, bits: int = 16) -> Path:
    whole = write_radiograph(Radiograph(values), path)
    if bits < 16:
        dataset = pydicom.dcmread(whole)
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelData = ((values >> 4) | np.uint16(0x8000)).tobytes()  # and a bit of an overlay
        dataset.save_as(whole)
    return whole


def hdf5(path: Path, values: np.ndarray, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("scan/x", data=values, **options)
    return path


SOURCES = {
    "plain tiff": lambda folder: tiff(folder / "a.tif", STACK),
    "deflated tiff": lambda folder: tiff(folder / "a.tif", STACK, compression="zlib", tile=(16, 16)),
    "big-endian tiff of int32": lambda folder: tiff(folder / "a.tif", STACK.astype("i4"), byteorder=">"),
    "tiff of far int32": lambda folder: tiff(folder / "a.tif", STACK.astype("i4") + 2**30),
    "tiff of float64": lambda folder: tiff(folder / "a.tif", STACK.astype("f8")),
    "imagej": lambda folder: tiff(folder / "a.tif", STACK, imagej=True, metadata={"axes": "ZYX"}),
    "dicom": lambda folder: dicom(folder / "a.dcm", STACK),
    "dicom of 12 bits": lambda folder: dicom(folder / "a.dcm", STACK, bits=12),
    "hdf5": lambda folder: hdf5(folder / "a.h5", STACK, chunks=(3, 16, 48), compression="gzip"),
    "hdf5 of further axes": lambda folder: hdf5(
        folder / "a.h5", STACK[:6].reshape(2, 3, 40, 48), chunks=(1, 2, 40, 48), compression="lzf"
    ),
    "hdf5 of one block": lambda folder: hdf5(folder / "a.h5", STACK.astype(">i2")),
}


@pytest.fixture
def in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radiograph, "IN_PAGES_BYTES", 0)


def enhanced(source: Path, out: Path, enhancer: Enhancer, **options: object) -> FileResult:
    (result,) = enhance_files([source], out, enhancer, masks=True, sidecar=True, **options)
    return result


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", SOURCES)
def test_same_bytes_come_of_pages_as_of_arrays(kind, gaussian, tmp_path, monkeypatch):
    source = SOURCES[kind](tmp_path)
    held = enhanced(source, tmp_path / "held", gaussian)
    assert held.error is None
    assert isinstance(held.after.pixels, np.ndarray)
    monkeypatch.setattr(radiograph, "IN_PAGES_BYTES", 0)
    result = enhanced(source, tmp_path / "paged", gaussian)
    assert result.error is None
    assert isinstance(result.before.pixels, Pages)
    assert isinstance(result.after.pixels, Pages)
    assert contents(tmp_path / "paged") == contents(tmp_path / "held")
    assert result.warnings == held.warnings
    np.testing.assert_array_equal(np.asarray(result.after.pixels), held.after.pixels)
    (again,) = enhance_files([source], tmp_path / "paged", gaussian, masks=True, sidecar=True)
    assert again.status == "skipped"


@pytest.mark.usefixtures("in_pages")
def test_report_shows_pages_that_stayed_in_their_files(gaussian, tmp_path):
    source = tiff(tmp_path / "a.tif", STACK)
    for name in ("made", "skipped"):
        result = enhanced(source, tmp_path / "out", gaussian)
        assert result.skipped == (name == "skipped")
        shown = list(comparisons_of(result))
        assert [each.page for each in shown] == [1, 2, 3, 4, 5, 6, 7]
        np.testing.assert_array_equal(shown[6].before, STACK[6])
        write_report(comparisons_of(result), tmp_path / f"{name}.html")
    assert (tmp_path / "made.html").stat().st_size > 1000


def test_dataset_of_several_is_found_again(gaussian, tmp_path):
    source = hdf5(tmp_path / "a.h5", STACK)
    with h5py.File(source, "a") as file:
        file["scan/y"] = STACK[:2]
    beside = tiff(tmp_path / "b.tif", STACK[0])  # for which it is of no meaning
    enhanced(beside, tmp_path / "out", gaussian)
    for status in ("enhanced", "skipped"):
        result, other = enhance_files([source, beside], tmp_path / "out", gaussian, dataset="/scan/x")
        assert (result.status, result.error) == (status, None)
        assert (other.status, other.error) == ("skipped", None)
        assert len(list(comparisons_of(result))) == 7
    (result,) = enhance_files([source], tmp_path / "out", gaussian, dataset="/scan/y")
    assert "dataset /scan/x, not /scan/y" in str(result.error)


@pytest.mark.usefixtures("in_pages")
@pytest.mark.parametrize("page", [0, 5])
def test_page_that_is_damaged_fails_its_file_and_leaves_nothing(page, gaussian, tmp_path):
    source = tiff(tmp_path / "a.tif", STACK, compression="zlib")
    with tifffile.TiffFile(source) as tif:
        place, size = tif.pages[page].dataoffsets[0], tif.pages[page].databytecounts[0]
    content = bytearray(source.read_bytes())
    content[place + 8 : place + size] = bytes(size - 8)
    source.write_bytes(content)
    sound = tiff(tmp_path / "b.tif", STACK[0])
    bad, good = enhance_files([source, sound], tmp_path / "out", gaussian)
    assert isinstance(bad.error, InputError)
    assert "\n" not in str(bad.error)
    assert good.error is None
    assert list(contents(tmp_path / "out")) == ["b.tif"]


@pytest.mark.usefixtures("in_pages")
@pytest.mark.parametrize("name", ["a.tif", "a.dcm", "a.h5"])
def test_file_that_is_written_to_meanwhile_is_told(name, tmp_path):
    make = {".tif": tiff, ".dcm": dicom, ".h5": hdf5}[Path(name).suffix]
    source = make(tmp_path / name, STACK)
    pages = read_radiograph(source, in_pages=True).pixels
    np.testing.assert_array_equal(pages[6], STACK[6])
    with source.open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="written to"):
        pages[1]


@pytest.mark.usefixtures("in_pages")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count open files with")
def test_file_is_closed_when_nobody_holds_its_pages(tmp_path):
    def opened() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    source = tiff(tmp_path / "a.tif", STACK.astype("i4"))
    before = opened()
    pages = read_radiograph(source, in_pages=True).pixels
    assert opened() == before + 1
    del pages
    assert opened() == before


def test_full_disk_is_told_of_a_spool(tmp_path, monkeypatch):
    class Full:
        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Full())
    with pytest.raises(OutputError, match="No space left"):
        Spool(SHAPE, np.uint16, tmp_path).put(STACK[0])


def test_pages_stand_for_an_array():
    pages = Pages(STACK.shape, STACK.dtype, STACK.__getitem__)
    assert (len(pages), pages.size, pages.nbytes) == (7, STACK.size, STACK.nbytes)
    np.testing.assert_array_equal(np.asarray(pages), STACK)
    np.testing.assert_array_equal(np.asarray(pages, np.float64), STACK.astype(np.float64))
    np.testing.assert_array_equal(pages.map(lambda page: page[::-1])[3], STACK[3, ::-1])
    with pytest.raises(IndexError):
        pages[7]
    with pytest.raises(ValueError, match="copy"):
        np.asarray(pages, copy=False)
