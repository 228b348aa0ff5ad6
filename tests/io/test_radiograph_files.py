"""Paths, permissions, names and atomic writing, the same for every format."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longexposure.errors import InputError, OutputError, ResourceError
from longexposure.io import (
    FORMATS,
    check_writable_folder,
    expand_inputs,
    read_radiograph,
    sidecar_path,
    writable_suffix,
    write_radiograph,
)
from longexposure.io.formats import Format
from longexposure.radiograph import Radiograph, Step

SMALL = Radiograph(np.arange(6, dtype=np.uint8).reshape(2, 3), description="small")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_importing_io_loads_no_decoder_and_no_torch():
    heavy = ("torch", "tifffile", "imagecodecs", "PIL", "olefile", "scipy", "pydicom", "h5py")
    code = f"import sys, longexposure.io; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_bytes_that_were_read_are_the_bytes_that_were_hashed(tmp_path):
    path = write_radiograph(SMALL, tmp_path / "a.tif")
    source = read_radiograph(path).source
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.path == str(path)


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_may_be_text_or_path(kind, tmp_path):
    path = write_radiograph(SMALL, kind(tmp_path / "a.TIF"))
    assert path == tmp_path / "a.TIF"
    np.testing.assert_array_equal(read_radiograph(kind(path)).pixels, SMALL.pixels)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (bytes(1), "zeros"),
        (bytes(5000), "5000 bytes that start with zeros"),
        (b"x,y\r\n1,2\r\n", "a text file"),
        (b"\xff\xd8\xff\xe0rest", "a JPEG that is cut off"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file that can be opened"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (bytes(128) + b"DICM", "cut off"),
        (b"\xfe\xdc\xba\x98\x01", "unknown kind, starting with fedcba98"),
        (b"II*\0", "cut off"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE2"),
    ],
)
@pytest.mark.parametrize("suffix", [".tif", ".png", ".dat"])
def test_file_that_is_no_image_is_refused_by_what_it_looks_like(content, found, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_radiograph(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    if found != "an OLE2":
        assert found in line


def test_missing_file_folder_and_pipe_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_radiograph(tmp_path / "none.tif")
    with pytest.raises(InputError, match="a folder"):
        read_radiograph(tmp_path)
    with pytest.raises(InputError):
        read_radiograph(tmp_path / "a\0b.tif")
    with pytest.raises(InputError):
        read_radiograph(tmp_path / ("long" * 100))
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(InputError, match="a device or pipe"):
        read_radiograph(tmp_path / "pipe.tif")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_file_that_cannot_be_opened_is_refused(code, tmp_path, monkeypatch):
    path = write_radiograph(SMALL, tmp_path / "a.tif")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=os.strerror(code)):
        read_radiograph(path)


def test_disk_that_fails_while_pixels_are_read_is_told_from_damage(tmp_path, monkeypatch):
    path = write_radiograph(SMALL, tmp_path / "a.tif")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setitem(FORMATS, "tiff", Format("tiff", (".tif",), FORMATS["tiff"].sniff, fail))
    with pytest.raises(InputError, match=r"Input/output error; check the disk"):
        read_radiograph(path)


def test_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = write_radiograph(SMALL, tmp_path / "a.tif")
    form = FORMATS["tiff"]

    def meanwhile(*given: object) -> Radiograph:
        with path.open("ab") as file:
            file.write(b"more")
        return form.read(*given)

    monkeypatch.setitem(FORMATS, "tiff", Format("tiff", (".tif",), form.sniff, meanwhile))
    with pytest.raises(InputError, match="written to"):
        read_radiograph(path)


@pytest.mark.parametrize("where", ["reading", "decoding"])
def test_too_little_memory_is_a_resource_error(where, tmp_path, monkeypatch):
    path = write_radiograph(SMALL, tmp_path / "a.tif")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    if where == "reading":
        monkeypatch.setattr(hashlib, "file_digest", fail)
    else:
        monkeypatch.setitem(FORMATS, "tiff", Format("tiff", (".tif",), FORMATS["tiff"].sniff, fail))
    with pytest.raises(ResourceError, match="memory"):
        read_radiograph(path)


@pytest.mark.parametrize("through", ["same", "relative", "symlink", "hardlink"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_source_is_never_overwritten(through, overwrite, tmp_path, monkeypatch):
    path = write_radiograph(SMALL, tmp_path / "a.tif")
    before = path.read_bytes()
    radiograph = read_radiograph(path)
    target = {"same": path, "relative": Path("a.tif")}.get(through, tmp_path / "b.tif")
    if through == "symlink":
        target.symlink_to(path)
    elif through == "hardlink":
        os.link(path, target)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"read from.*never overwritten"):
        write_radiograph(radiograph, target, overwrite=overwrite)
    assert path.read_bytes() == before


def test_source_that_is_gone_does_not_hinder_writing(tmp_path):
    path = write_radiograph(SMALL, tmp_path / "a.tif")
    radiograph = read_radiograph(path)
    path.unlink()
    assert write_radiograph(radiograph, tmp_path / "b.tif").exists()


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.tif.bak", "a.npy"])
def test_unknown_suffix_is_refused_with_those_that_work(name, tmp_path):
    with pytest.raises(OutputError, match=r"\.tif, \.tiff, \.png"):
        write_radiograph(SMALL, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_folder_or_missing_folder_as_target_is_refused(tmp_path):
    (tmp_path / "a.tif").mkdir()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="found a folder"):
            write_radiograph(SMALL, tmp_path / "a.tif", overwrite=overwrite)
    with pytest.raises(OutputError, match="no folder"):
        write_radiograph(SMALL, tmp_path / "none" / "a.tif")


def test_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "a.tif").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="existing file"):
        write_radiograph(SMALL, tmp_path / "a.tif")


def test_file_that_appears_while_writing_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    monkeypatch.setattr(os, "fsync", lambda _: path.write_bytes(b"the other process"))
    with pytest.raises(OutputError, match="existing file"):
        write_radiograph(SMALL, path)
    assert path.read_bytes() == b"the other process"
    assert names(tmp_path) == ["a.tif"]


def test_writers_let_a_full_disk_show():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="No space"), Path("/dev/full").open("wb", buffering=0) as full:
        FORMATS["tiff"].write(SMALL, full)


def test_full_disk_while_pixels_are_written_is_an_output_error(tmp_path, monkeypatch):
    def full(_: Radiograph, file: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    form = FORMATS["tiff"]
    monkeypatch.setitem(FORMATS, "tiff", Format(form.name, form.suffixes, form.sniff, form.read, full))
    with pytest.raises(OutputError, match=r"No space left on device; .*free space"):
        write_radiograph(SMALL, tmp_path / "a.tif", sidecar=True)
    assert list(tmp_path.iterdir()) == []


def test_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    path = write_radiograph(SMALL, tmp_path / "a.tif")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_sidecar_says_what_the_image_says(tmp_path):
    step = Step("longexposure", "0.1.0", "enhance", {"strength": 0.5})
    path = write_radiograph(SMALL.with_pixels(SMALL.pixels, step), tmp_path / "a.tif", sidecar=True)
    assert sidecar_path(path) == tmp_path / "a.tif.json"
    values = json.loads(sidecar_path(path).read_text())
    assert values["description"] == "small"
    assert values["longexposure"]["history"] == [step.as_dict()]
    assert names(tmp_path) == ["a.tif", "a.tif.json"]


def test_sidecar_that_exists_stays_and_hinders_the_image(tmp_path):
    (tmp_path / "a.tif.json").write_text("precious")
    with pytest.raises(OutputError, match=r"a\.tif\.json"):
        write_radiograph(SMALL, tmp_path / "a.tif", sidecar=True)
    assert (tmp_path / "a.tif.json").read_text() == "precious"
    assert names(tmp_path) == ["a.tif.json"]
    write_radiograph(SMALL, tmp_path / "a.tif", sidecar=True, overwrite=True)
    assert json.loads((tmp_path / "a.tif.json").read_text())["description"] == "small"


def test_setting_named_as_a_field_of_its_step_is_refused(tmp_path):
    step = Step("longexposure", "0.1.0", "enhance", {"tool": "other"})
    with pytest.raises(OutputError, match="rename the setting"):
        write_radiograph(SMALL.with_pixels(SMALL.pixels, step), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


def test_folder_gives_its_images_in_natural_order(tmp_path):
    names = ["view10.tif", "view2.TIF", "View1.png", "scan.txrm", "3.tiff"]
    for name in [*names, "notes.txt", ".hidden.tif", "view3.tif.json"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "folder.tif" / "deep.tif").touch()
    found = [path.name for path in expand_inputs([tmp_path])]
    assert found == ["3.tiff", "scan.txrm", "View1.png", "view2.TIF", "view10.tif"]


def test_every_suffix_that_is_claimed_is_found_in_folders(tmp_path):
    suffixes = [suffix for form in FORMATS.values() for suffix in (*form.suffixes, *form.found)]
    names = {f"chip{number}{suffix}" for number, suffix in enumerate([*suffixes, *map(str.upper, suffixes)])}
    for name in {*names, "chip.ome.tif", "chip.ome.TIFF", "chip.ome.btf"}:
        (tmp_path / name).touch()
    found = {path.name for path in expand_inputs([tmp_path])}
    assert found == {*names, "chip.ome.tif", "chip.ome.TIFF", "chip.ome.btf"}


@pytest.mark.parametrize("name", ["a.btf", "a.TF8", "a.pcoraw"])
def test_other_names_of_tiff_are_read_and_written_as_tif(name, tmp_path):
    path = write_radiograph(SMALL, tmp_path / "a.tif").rename(tmp_path / name)
    assert read_radiograph(path).source.format == "tiff"
    assert writable_suffix(path) == ".tif"
    with pytest.raises(OutputError, match=r"\.tif, \.tiff, \.png"):
        write_radiograph(SMALL, tmp_path / ("b" + path.suffix))


def test_files_stay_as_given_even_missing_ones_and_come_once(tmp_path):
    (tmp_path / "b.tif").touch()
    given = [str(tmp_path / "z.tif"), tmp_path / "b.tif", tmp_path, tmp_path / "z.tif"]
    assert expand_inputs(given) == [tmp_path / "z.tif", tmp_path / "b.tif"]


def test_folder_without_images_and_no_input_are_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"\.tif.*not searched"):
        expand_inputs([tmp_path])
    with pytest.raises(InputError, match="at least one"):
        expand_inputs([])


def test_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        expand_inputs([tmp_path])


def test_writable_folder_is_created_with_parents_and_left_empty(tmp_path):
    folder = check_writable_folder(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []
    assert check_writable_folder(str(folder)) == folder


@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_in_the_way_of_a_folder_is_named(below, tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match="a file in the way"):
        check_writable_folder(tmp_path / "a" / below)


@pytest.mark.parametrize("method", ["mkdir", "touch"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_folder_that_cannot_be_written_to_is_refused(method, code, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(OutputError, match=os.strerror(code)):
        check_writable_folder(tmp_path)


@pytest.mark.parametrize(
    ("of", "suffix"),
    [
        ("tiff", ".tif"),
        ("png", ".png"),
        ("xrm", ".tif"),
        ("a.tiff", ".tif"),
        ("a.TXRM", ".tif"),
        ("a.png", ".png"),
    ],
)
def test_writable_suffix_by_name_and_by_path(of, suffix):
    assert writable_suffix(of) == suffix
    assert writable_suffix(Path("folder") / "unknown.dat") == ".tif"
