"""HDF5 and NeXus: one dataset of images out of a file, and the file's layout again."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest

from longexposure import system
from longexposure.errors import InputError, ResourceError
from longexposure.io import hdf5, hdf5_tree, hdf5_writer, read_radiograph, write_radiograph
from longexposure.radiograph import Radiograph, Step

STEP = Step("longexposure", "0.1.0", "enhance", {"model": "fast", "strength": 0.5})
STACK = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


def nexus(path: Path, images: np.ndarray = STACK, **options: object) -> Path:
    """A scan as a beamline writes it: detector with units, flats, links, several names."""
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "data"
        entry["title"] = "board 7, µBGA"
        detector = entry.create_group("instrument/detector")
        entry["instrument"].attrs["NX_class"], detector.attrs["NX_class"] = "NXinstrument", "NXdetector"
        data = detector.create_dataset("data", data=images, **options)
        data.attrs["units"], data.attrs["long_name"], data.attrs["levels"] = "counts", "Zähler", [1.5, 2.5]
        data.attrs.create("fixed", np.bytes_(b"ASCII"))
        for name in ("x_pixel_size", "y_pixel_size"):
            detector.create_dataset(name, data=5.2e-6).attrs["units"] = "m"
        detector.create_dataset("count_time", data=[500.0]).attrs["units"] = "ms"
        detector["flats"] = np.full((6, 7), 9, np.uint16)
        group = entry.create_group("data")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "images"
        group["images"] = data
        group["shortcut"] = h5py.SoftLink("/entry/instrument/detector/data")
        group["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["notes"] = "twelve words"
    return path


def items(path: Path) -> dict[str, object]:
    """All that a file says, but the values of its images and our record."""
    said: dict[str, object] = {}
    with h5py.File(path) as file:

        def visit(name: str, one: object) -> None:
            if name.startswith("entry/longexposure"):
                return
            for key, value in one.attrs.items():
                said[f"{name}@{key}"] = (np.asarray(value).tolist(), one.attrs.get_id(key).dtype.str)
            if isinstance(one, h5py.Dataset):
                said[name] = (
                    one.shape,
                    one.dtype.str,
                    None if one.ndim == 3 else np.asarray(one[()]).tolist(),
                )
            else:
                said[name] = sorted(set(one) - {"longexposure"})
                for each in said[name]:
                    link = one.get(each, getlink=True)
                    said[f"{name}>{each}"] = type(link).__name__, getattr(link, "path", "")

        file.visititems(visit)
        visit("", file)
    return said


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 3, 7)},
        {"chunks": (1, 6, 7), "compression": "gzip", "compression_opts": 9, "shuffle": True},
        {"chunks": (2, 6, 7), "compression": "lzf", "fletcher32": True, "maxshape": (None, 6, 7)},
    ],
    ids=["plain", "chunks", "deflate", "lzf"],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", ">i4", "f4", ">f8"])
def test_layout_values_and_attributes_come_back(dtype, options, tmp_path):
    images = STACK.astype(dtype) if dtype == "u1" else (STACK.astype("f8") - (dtype[-2] != "u")).astype(dtype)
    source = nexus(tmp_path / "a.nxs", images, **options)
    radiograph = read_radiograph(source)
    np.testing.assert_array_equal(radiograph.pixels, images)
    assert radiograph.pitch_um == (5.2, 5.2)
    assert radiograph.exposure == {"exposure_s": 0.5}
    assert radiograph.description == "board 7, µBGA"
    changed = radiograph.with_pixels(radiograph.pixels[..., ::-1].copy(), STEP)
    copy = write_radiograph(changed, tmp_path / "b.nxs")
    assert items(copy) == items(source)
    with h5py.File(copy) as file:
        data = file["entry/data/images"]
        np.testing.assert_array_equal(data[()], images[..., ::-1])
        assert data.compression == options.get("compression", "gzip")
        assert data.chunks == options.get("chunks", (1, 6, 7))
        if "maxshape" in options:
            assert (data.maxshape, data.fletcher32) == ((None, 6, 7), True)
        assert file["entry/data/shortcut"] == data
        assert file["entry/instrument/detector/data"] == data
    back = read_radiograph(copy)
    assert back.history == changed.history
    assert (back.pitch_um, back.exposure) == (radiograph.pitch_um, radiograph.exposure)
    again = write_radiograph(back.with_pixels(back.pixels, STEP), tmp_path / "c.nxs")
    assert len(read_radiograph(again).history) == 2
    assert items(again) == items(source)


def test_any_dataset_is_read_by_its_path_through_links_too(tmp_path):
    source = nexus(tmp_path / "a.h5")
    for name in ("/entry/instrument/detector/flats", "entry/instrument/detector/flats/"):
        radiograph = read_radiograph(source, dataset=name)
        assert radiograph.pixels.shape == (6, 7)
        copy = write_radiograph(
            radiograph.with_pixels(radiograph.pixels + np.uint16(1), STEP), tmp_path / "b.h5", overwrite=True
        )
        with h5py.File(copy) as file:
            assert file["entry/instrument/detector/flats"][0, 0] == 10
            np.testing.assert_array_equal(file["entry/data/images"][()], STACK)
    np.testing.assert_array_equal(read_radiograph(source, dataset="/entry/data/shortcut").pixels, STACK)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/entry/nothing", "no /entry/nothing"),
        ("/entry/data", "a group"),
        ("/notes", "object in /notes"),
        ("/entry/data/elsewhere", "a link to other.h5"),
        ("/notes/more", "no /notes/more"),
        ("", "no /"),
    ],
)
def test_path_that_leads_to_no_images_here_is_refused(name, found, tmp_path):
    with pytest.raises(InputError, match=found):
        read_radiograph(nexus(tmp_path / "a.h5"), dataset=name)


def test_several_images_without_a_default_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"], file["spectrum"] = STACK, STACK[0], STACK[0, 0]
    with pytest.raises(InputError, match=r"found 2: /one, /two; name its path in the file: --dataset"):
        read_radiograph(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["only"], file["spectrum"] = STACK[:1], STACK[0, 0]
    radiograph = read_radiograph(tmp_path / "b.h5")
    assert radiograph.pixels.shape == (6, 7)
    with h5py.File(write_radiograph(radiograph, tmp_path / "c.h5")) as file:
        assert file["only"].shape == (1, 6, 7)


def test_further_axes_become_one_stack_and_come_back(tmp_path):
    images = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=images, chunks=(1, 2, 4, 5))
    radiograph = read_radiograph(tmp_path / "a.h5")
    np.testing.assert_array_equal(radiograph.pixels, images.reshape(6, 4, 5))
    assert radiograph.stored.axes == {"axis 0": 2, "axis 1": 3}
    with h5py.File(write_radiograph(radiograph, tmp_path / "b.h5")) as file:
        np.testing.assert_array_equal(file["x"][()], images)


def test_images_from_elsewhere_become_a_nexus_file(tmp_path):
    radiograph = Radiograph(STACK, pitch_um=(5.2, 10.4), description="board µ", history=(STEP,))
    path = write_radiograph(radiograph, tmp_path / "a.h5")
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        group = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], group.attrs["NX_class"]) == ("NXentry", "NXdata")
        assert list(group.attrs["axes"]) == ["frame", "y", "x"]
        np.testing.assert_array_equal(group[group.attrs["signal"]][()], STACK)
        assert entry["longexposure"].attrs["NX_class"] == "NXprocess"
        assert entry["title"][()].decode() == "board µ"


def test_images_in_other_files_are_never_opened(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = STACK
    layout = h5py.VirtualLayout(STACK.shape, "u2")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", STACK.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", STACK.shape, "u2", external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)])
    for name in ("a.h5", "b.h5"):
        with pytest.raises(InputError, match="values lie in other files"):
            read_radiograph(tmp_path / name)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["own"] = STACK
    radiograph = read_radiograph(tmp_path / "a.h5", dataset="own")
    assert radiograph.stored.notes == ("/x, which is large or lies in another file",)


def test_what_is_large_beside_the_images_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "LARGEST_BESIDE", 300)
    radiograph = read_radiograph(nexus(tmp_path / "a.h5"), dataset="/entry/instrument/detector/flats")
    assert radiograph.stored.notes == ("/entry/data/images, which is large or lies in another file",)


WRITER = """
import sys, h5py, numpy as np, os
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    data = file.create_dataset("x", (4, 8, 8), "u2", chunks=(1, 8, 8))
    data[:2] = 7
    file.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "killed":
        os._exit(9)
    data[2:] = 8
"""


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_file_that_is_being_written_is_refused_until_it_is_done(end, tmp_path):
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", WRITER, str(path), end]
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": "TRUE"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as writer:
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match="being written"):
            read_radiograph(path)
        writer.communicate("go\n", timeout=60)
    if end == "killed":
        with pytest.raises(InputError, match=r"being written, or whose writer ended.*h5clear"):
            read_radiograph(path)
    else:
        assert read_radiograph(path).pixels.shape == (4, 8, 8)


def test_images_that_are_not_all_there_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", (4, 8, 8), "u2", chunks=(1, 8, 8))
        data[:2] = 7
        file.create_dataset("y", (4, 8, 8), "u2")
    with pytest.raises(InputError, match="4 chunks of images in /x, found 2"):
        read_radiograph(tmp_path / "a.h5", dataset="x")
    with pytest.raises(InputError, match="without any"):
        read_radiograph(tmp_path / "a.h5", dataset="y")


def test_types_and_shapes_that_are_no_grey_values_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["complex"] = STACK.astype(np.complex64)
        file["bool"] = STACK > 3
        file["rgb"] = np.zeros((8, 9, 3), np.uint8)
        file["line"] = STACK[0, 0]
        file["exact"] = np.full((8, 9), 1.1)
    for name, found in {
        "complex": "complex64",
        "bool": "bool",
        "rgb": "colours in the last axis",
        "line": "shape",
        "exact": "float64",
    }.items():
        with pytest.raises(InputError, match=found):
            read_radiograph(tmp_path / "a.h5", dataset=name)


def test_small_file_that_promises_much_is_refused_before_memory_is_taken(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset(
            "x", (100_000, 2048, 2048), "u2", chunks=(1, 2048, 2048), compression="gzip"
        )
        data[0] = 0
        file.create_dataset(
            "y", (4, 4), "u2", chunks=(8192, 8192), maxshape=(None, None), compression="gzip"
        )[...] = 1
    with pytest.raises(InputError, match=r"expected 100000 chunks of images in /x, found 1;"):
        read_radiograph(tmp_path / "a.h5", dataset="x")
    with pytest.raises(InputError, match="chunks of 134217728 bytes"):
        read_radiograph(tmp_path / "a.h5", dataset="y")


def test_tree_of_too_many_objects_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_tree, "MOST_OBJECTS", 5)
    with pytest.raises(InputError, match="more than 5 objects"):
        read_radiograph(nexus(tmp_path / "a.h5"))


def test_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    path = nexus(tmp_path / "a.h5")
    monkeypatch.setattr(system, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'longexposure\[hdf5\]'"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("options", "pack"),
    [
        ({"compression": "gzip"}, zlib.compress),
        ({"compression": "gzip", "fletcher32": True}, zlib.compress),
        ({"compression": "lzf"}, imagecodecs.lzf_encode),
    ],
    ids=["deflate", "deflate and sum", "lzf"],
)
def test_chunk_that_unpacks_to_more_than_a_chunk_is_refused_before_the_library_does(
    options, pack, tmp_path, monkeypatch
):
    monkeypatch.setattr(hdf5, "ALWAYS_BYTES", 2**20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", (2, 64, 64), "u1", chunks=(1, 64, 64), **options)
        data[...] = 1
        data.id.write_direct_chunk((1, 0, 0), bytes(pack(bytes(2**21))))
    with pytest.raises(InputError, match=r"chunks of 4096 bytes, found one of .* bytes that unpacks to more"):
        read_radiograph(tmp_path / "a.h5")


def test_sound_chunks_of_every_kind_are_read_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "ALWAYS_BYTES", 0)
    noise = np.random.default_rng(0).integers(0, 60000, (5, 70, 40), dtype=np.uint16)
    for number, options in enumerate(
        [
            {"compression": "gzip"},
            {"compression": "gzip", "shuffle": True, "fletcher32": True},
            {"compression": "lzf", "shuffle": True, "fletcher32": True},
            {"compression": "lzf"},  # which noise does not get through: such chunks lie unpacked
        ]
    ):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file.create_dataset("x", data=noise, chunks=(2, 16, 33), **options)
        np.testing.assert_array_equal(read_radiograph(tmp_path / f"{number}.h5").pixels, noise)


def test_chunks_over_many_images_are_read_and_written_in_parts(tmp_path, monkeypatch):
    images = np.arange(9 * 40 * 8, dtype=np.uint16).reshape(9, 40, 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=images, chunks=(8, 8, 8), compression="gzip")
    whole = write_radiograph(read_radiograph(tmp_path / "a.h5"), tmp_path / "b.h5")
    monkeypatch.setattr(hdf5, "AT_ONCE", 3 * 40 * 8 * 2)
    monkeypatch.setattr(hdf5_writer, "AT_ONCE", 2 * 8 * 8 * 8 * 2)
    radiograph = read_radiograph(tmp_path / "a.h5")
    np.testing.assert_array_equal(radiograph.pixels, images)
    copy = write_radiograph(radiograph, tmp_path / "c.h5")
    np.testing.assert_array_equal(read_radiograph(copy).pixels, images)
    assert abs(copy.stat().st_size - whole.stat().st_size) < 4096  # no chunk lies there twice


def test_type_of_its_own_in_a_file_comes_back(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["kind"] = STACK, np.dtype("f8")
    with h5py.File(write_radiograph(read_radiograph(tmp_path / "a.h5"), tmp_path / "b.h5")) as file:
        assert file["kind"].dtype == np.float64
