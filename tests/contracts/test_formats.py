"""Laws that every member of the catalogue of formats obeys."""

from __future__ import annotations

import errno
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.io import FORMATS, read_radiograph, writable_suffix, write_radiograph
from longexposure.io.files import HEAD_BYTES
from longexposure.radiograph import Radiograph, Resolution, Step

EXAMPLES = Path(__file__).parents[2] / "examples" / "radiographs"
SHAPES = [(1, 1), (3, 5), (1, 7), (7, 1), (23, 4), (64, 48)]
STACKS = [(2, 1, 1), (3, 5, 4), (4, 6, 3), (3, 4, 3), (5, 16, 9)]
TAKES = {
    "tiff": {"dtypes": ("uint8", "uint16", "float32"), "shapes": SHAPES + STACKS},
    "png": {"dtypes": ("uint8", "uint16"), "shapes": SHAPES},
    "dicom": {"dtypes": ("uint8", "uint16"), "shapes": SHAPES + STACKS},
    "hdf5": {"dtypes": ("uint8", "uint16", "float32"), "shapes": SHAPES + STACKS},
}
TOLD = [name for name in FORMATS if name != "raw"]
"""Formats that their content tells; of raw samples a TOML beside them does."""
WRITABLE = [name for name, form in FORMATS.items() if form.writes]
CASES = [
    pytest.param(name, dtype, shape, id=f"{name}-{dtype}-{'x'.join(map(str, shape))}")
    for name in WRITABLE
    for dtype in TAKES[name]["dtypes"]
    for shape in TAKES[name]["shapes"]
]
HISTORY = (
    Step("longexposure", "0.1.0", "enhance", {"model": "fast", "strength": 0.5, "sha256": "ab" * 32}),
    Step("longexposure", "0.1.0", "enhance", {"tiles": [512, 512], "profile": {"sigma": 6.6}, "seed": None}),
)


def grey(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0.5, 10.0, shape).astype(np.float32)
    top = np.iinfo(dtype).max
    values = rng.integers(0, top, shape, endpoint=True).astype(dtype)
    values.flat[0], values.flat[-1] = 0, top
    return values


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def example(name: str, folder: Path) -> Path:
    """A sound file of each format."""
    if name == "xrm":
        return EXAMPLES / "txrm_test_chip_tomo.txrm"
    if not FORMATS[name].writes:
        return only_read(name, folder / f"sound{FORMATS[name].suffixes[0]}")
    path = folder / f"sound{FORMATS[name].suffixes[0]}"
    return write_radiograph(Radiograph(grey("uint16", (24, 20)), description="sound"), path)


def only_read(name: str, path: Path) -> Path:
    """A sound file of a format that is never written."""
    pixels = grey("uint16" if name in ("npy", "his", "raw", "pgm") else "uint8", (24, 20))
    if name == "npy":
        np.save(path, pixels)
    elif name == "raw":
        path.write_bytes(pixels.tobytes())
        path.with_name(path.name + ".toml").write_text('shape = [24, 20]\ntype = "uint16"\n')
    elif name == "his":
        head = struct.pack("<HHHIHHHHHHHdH", 0x7000, 68, 100, 0, 32, 1, 1, 20, 24, 1, 0, 4e5, 4)
        path.write_bytes(head.ljust(68, b"\0") + bytes(32) + pixels.tobytes())
    elif name == "pgm":
        path.write_bytes(b"P5 20 24 65535\n" + pixels.byteswap().tobytes())
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("name", "dtype", "shape"), CASES)
def test_pixels_come_back_exactly_and_input_is_not_modified(name, dtype, shape, tmp_path):
    pixels = grey(dtype, shape)
    before = pixels.copy()
    pixels.flags.writeable = False
    path = write_radiograph(Radiograph(pixels), tmp_path / f"a{FORMATS[name].suffixes[0]}")
    back = read_radiograph(path)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(back.pixels, before)
    assert back.pixels.dtype == pixels.dtype
    assert back.pixels.dtype.isnative
    assert back.pixels.shape == shape
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pixels_that_are_not_contiguous_are_written_as_seen(name, dtype, tmp_path):
    pixels = grey(dtype, (20, 30))[::2, ::-3]
    path = write_radiograph(Radiograph(pixels), tmp_path / f"a{FORMATS[name].suffixes[0]}")
    np.testing.assert_array_equal(read_radiograph(path).pixels, pixels)


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("polarity", ["black-is-zero", "white-is-zero"])
@pytest.mark.parametrize("history", [(), HISTORY], ids=["no-history", "history"])
@pytest.mark.parametrize(
    "resolution",
    [None, Resolution(64102.5641025641, 64102.5641025641, "cm"), Resolution(300.0, 150.0, "inch")],
    ids=["none", "cm", "inch"],
)
def test_all_that_is_known_comes_back(name, polarity, history, resolution, tmp_path):
    radiograph = Radiograph(
        grey("uint16", (5, 4)),
        domain="transmission",
        polarity=polarity,
        pitch_um=(0.156, 0.2),
        resolution=resolution,
        description="Zeile 1, 5 µm\nline 2 {not json}  ",
        exposure={"exposure_s": 5.0, "angle_deg": [-45.0, 45.0], "tube_kv": 90},
        history=history,
    )
    path = write_radiograph(radiograph, tmp_path / f"a{FORMATS[name].suffixes[0]}")
    back = read_radiograph(path)
    for field in ("domain", "polarity", "pitch_um", "description", "exposure", "history"):
        assert getattr(back, field) == getattr(radiograph, field), field
    if resolution is not None:
        assert back.resolution == resolution


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize(
    "description",
    [
        "",
        "plain",
        "µm, Röntgen, 射线",
        " blanks around ",
        "nul\0inside",
        "cr\r\nlf",
        '{"shape": [3, 3]}',
        '{"description": "x", "longexposure": {}}',
        "ImageJ=1.53t\nimages=7\nslices=7\n",
        '<?xml version="1.0"?><OME></OME>',
        "lone \ud800 surrogate",
    ],
)
@pytest.mark.parametrize("history", [(), HISTORY[:1]], ids=["no-history", "history"])
def test_description_comes_back_verbatim(name, description, history, tmp_path):
    radiograph = Radiograph(grey("uint8", (3, 4)), description=description, history=history)
    back = read_radiograph(write_radiograph(radiograph, tmp_path / f"a{FORMATS[name].suffixes[0]}"))
    assert back.description == description
    assert back.history == history
    assert back.pixels.shape == (3, 4)


@pytest.mark.parametrize("name", WRITABLE)
def test_second_copy_of_what_was_read_is_the_same_file(name, tmp_path):
    suffix = FORMATS[name].suffixes[0]
    radiograph = Radiograph(grey("uint16", (9, 7)), description="plain", resolution=Resolution(100, 50, "cm"))
    first = write_radiograph(radiograph, tmp_path / f"a{suffix}")
    second = write_radiograph(read_radiograph(first), tmp_path / f"b{suffix}")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", TOLD)
def test_format_is_told_by_content_whatever_the_name(name, tmp_path):
    sound = example(name, tmp_path)
    for suffix in (".tif", ".png", ".xrm", ".dat", ""):
        renamed = tmp_path / f"renamed{suffix}"
        renamed.write_bytes(sound.read_bytes())
        assert read_radiograph(renamed).source.format == name


@pytest.mark.parametrize("name", TOLD)
def test_each_format_recognises_its_own_start_only(name, tmp_path):
    start = example(name, tmp_path).read_bytes()[:HEAD_BYTES]
    assert [other for other, form in FORMATS.items() if form.sniff(start)] == [name]
    assert FORMATS[name].name == name
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in FORMATS[name].suffixes)


@pytest.mark.parametrize("name", FORMATS)
def test_enhanced_copy_gets_a_suffix_that_can_be_written(name, tmp_path):
    suffix = writable_suffix(name)
    assert FORMATS[name].writes == (suffix in FORMATS[name].suffixes)
    for own in FORMATS[name].suffixes:
        assert writable_suffix(tmp_path / f"chip{own.upper()}") == suffix
    write_radiograph(Radiograph(grey("uint8", (2, 2))), tmp_path / f"copy{suffix}")


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if not form.writes])
def test_format_that_is_only_read_refuses_to_be_written(name, tmp_path):
    with pytest.raises(OutputError, match=r"\.tif"):
        write_radiograph(Radiograph(grey("uint8", (2, 2))), tmp_path / f"a{FORMATS[name].suffixes[0]}")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", WRITABLE)
def test_existing_file_stays_unless_overwriting_is_allowed(name, tmp_path):
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="existing file"):
        write_radiograph(Radiograph(grey("uint8", (2, 2))), path)
    assert path.read_bytes() == b"precious"
    write_radiograph(Radiograph(grey("uint8", (2, 2))), path, overwrite=True)
    assert read_radiograph(path).pixels.shape == (2, 2)
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("sidecar", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        KeyboardInterrupt(),
    ],
    ids=["full-disk", "no-permission", "interrupt"],
)
def test_failure_leaves_no_file_and_the_old_one(  # noqa: PLR0917
    name, sidecar, overwrite, call, error, tmp_path, monkeypatch
):
    raised = OutputError if isinstance(error, OSError) else type(error)
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    if overwrite:
        path.write_bytes(b"precious")
    radiograph = Radiograph(grey("uint8", (2, 2)), history=HISTORY)
    with monkeypatch.context() as patch:

        def fail(*args: object, **kwargs: object) -> None:
            raise error

        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
        with pytest.raises(raised) as caught:
            write_radiograph(radiograph, path, overwrite=overwrite, sidecar=sidecar)
    if raised is OutputError:
        assert error.strerror in str(caught.value)
    assert names(tmp_path) == ([path.name] if overwrite else [])
    if overwrite:
        assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("name", TOLD)
def test_damaged_file_gives_one_input_error_or_a_valid_radiograph(name, tmp_path, capfd):
    sound = example(name, tmp_path).read_bytes()
    rng = random.Random(7)
    path = tmp_path / "damaged"
    for _ in range(60):
        damaged = bytearray(sound)
        for _ in range(rng.choice((1, 3))):
            place = rng.randrange(min(len(sound), 600) if rng.random() < 0.7 else len(sound))
            damaged[place] = rng.randrange(256)
        path.write_bytes(damaged)
        _check_outcome(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", TOLD)
def test_file_cut_off_anywhere_is_refused_or_complete(name, tmp_path, capfd):
    sound = example(name, tmp_path)
    data, pixels = sound.read_bytes(), read_radiograph(sound).pixels
    step = max(1, len(data) // 80)
    path = tmp_path / "cut"
    refused = complete = 0
    for length in [*range(0, min(len(data), 40)), *range(40, len(data), step)]:
        path.write_bytes(data[:length])
        outcome = _check_outcome(path)
        refused += outcome is None
        if outcome is not None:  # what was cut off was no pixel
            np.testing.assert_array_equal(outcome, pixels)
            complete += 1
    assert refused > 3 * complete
    assert capfd.readouterr() == ("", "")


def _check_outcome(path: Path) -> np.ndarray | None:
    try:
        return read_radiograph(path).pixels
    except LongExposureError as error:
        caught = error
    assert type(caught) is InputError
    assert "\n" not in str(caught)
    assert str(caught).startswith(str(path))
    assert caught.advice
    return None
