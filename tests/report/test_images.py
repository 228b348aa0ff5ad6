"""The folder of whole images: every bit is in it, what is not ours stays, and half a file is never there."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_pixels import unpacked

from longexposure.errors import OutputError
from longexposure.report import images as image_folder
from longexposure.report.images import ABOUT, ImageFolder

Array = np.ndarray[Any, Any]


def pair(dtype: str = "uint16", shape: tuple[int, int] = (23, 31), seed: int = 0) -> dict[str, Array]:
    r = np.random.default_rng(seed)
    return {role: r.uniform(0, 255, shape).astype(dtype) for role in ("before", "after")}


def read(folder: Path, tiles: dict[str, Any], dtype: str) -> dict[str, Array]:
    """The images that lie in the folder, from the text of its scripts."""
    rows, columns, names = tiles["rows"], tiles["columns"], iter(tiles["names"])
    whole: dict[str, Array] = {}
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            name = next(names)
            text = (folder / f"{name}.js").read_text(encoding="ascii")
            call = re.fullmatch(r'longexposureTile\("(\w+)", (\{.*)\}\);\n', text, re.DOTALL)
            assert call is not None
            assert call[1] == name
            for role, data in json.loads(call[2].rstrip().rstrip(",") + "}").items():
                image = whole.setdefault(role, np.zeros((rows[-1], columns[-1]), dtype))
                shape = (bottom - top, right - left)
                image[top:bottom, left:right] = unpacked(base64.b64decode(data, validate=True), dtype, shape)
    return whole


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (9, 30), (23, 7)])
def test_every_grey_value_of_every_tile_comes_back(
    dtype: str, shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder, "TILE_PX", 8)
    images = pair(dtype, shape)
    if dtype == "float32":
        images["before"][0, 0] = np.nan
    folder = ImageFolder(tmp_path / "report.html")
    tiles = folder.put(images)
    assert max(np.diff(tiles["rows"]).max(), np.diff(tiles["columns"]).max()) <= 8
    assert folder.path == tmp_path / "report_files"
    for role, image in read(folder.path, tiles, dtype).items():
        np.testing.assert_array_equal(image, images[role])


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    first = ImageFolder(tmp_path / "report.html")
    first.put(pair())
    (tile,) = first.path.glob("*.js")
    os.utime(tile, (1, 1))
    again = ImageFolder(tmp_path / "report.html")
    again.put(pair())
    again.put(pair(seed=1))
    again.tidy()
    assert tile.stat().st_mtime == 1
    assert len(list(again.path.glob("*.js"))) == 2


def test_a_rerun_removes_its_own_tiles_of_before_and_nothing_else(tmp_path: Path) -> None:
    first = ImageFolder(tmp_path / "report.html")
    first.put(pair())
    (old,) = first.path.glob("*.js")
    for other in ("notes.txt", "image.js", f"{old.stem}.txt"):
        (first.path / other).write_text("mine")
    again = ImageFolder(tmp_path / "report.html")
    tiles = again.put(pair(seed=1))
    assert old.exists()
    again.tidy()
    expected = ["about.txt", f"{tiles['names'][0]}.js", "notes.txt", "image.js", f"{old.stem}.txt"]
    assert names(again.path) == sorted(expected)


def test_what_a_failed_run_wrote_goes_and_what_was_there_stays(tmp_path: Path) -> None:
    first = ImageFolder(tmp_path / "report.html")
    first.put(pair())
    before = names(first.path)
    failed = ImageFolder(tmp_path / "report.html")
    failed.put(pair())
    failed.put(pair(seed=1))
    failed.undo()
    assert names(first.path) == before
    lone = ImageFolder(tmp_path / "lone.html")
    lone.put(pair())
    lone.undo()
    assert not lone.path.exists()


def test_without_an_image_there_is_no_folder(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path / "report.html")
    folder.tidy()
    assert names(tmp_path) == []


def foreign_file(path: Path) -> None:
    path.write_text("mine")


def foreign_folder(path: Path) -> None:
    path.mkdir()
    (path / ("ab" * 12 + ".js")).write_text("mine")


def folder_with_a_text(path: Path) -> None:
    path.mkdir()
    (path / ABOUT).write_text("about me")


def folder_of_another_page(path: Path) -> None:
    other = ImageFolder(path.with_name("report.htm"))
    other.put(pair())
    assert other.path == path


def link_to_one_of_ours(path: Path) -> None:
    real = ImageFolder(path.parent / "elsewhere" / "report.html")
    real.path.parent.mkdir()
    real.put(pair())
    path.symlink_to(real.path, target_is_directory=True)


@pytest.mark.parametrize(
    "make",
    [foreign_file, foreign_folder, folder_with_a_text, folder_of_another_page, link_to_one_of_ours],
)
def test_what_is_not_this_pages_folder_is_refused_and_never_touched(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "report_files"
    make(path)
    content = {entry: entry.read_bytes() for entry in tmp_path.rglob("*") if entry.is_file()}
    with pytest.raises(OutputError, match=r"report_files.*--no-report-images"):
        ImageFolder(tmp_path / "report.html")
    assert {entry: entry.read_bytes() for entry in tmp_path.rglob("*") if entry.is_file()} == content


def test_a_kill_before_the_first_image_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "report_files").mkdir()
    folder = ImageFolder(tmp_path / "report.html")
    folder.put(pair())
    assert len(names(folder.path)) == 2


@pytest.mark.parametrize("name", ["a b#?%&.html", "検査.html", "q\"u'o.html", "lat\udcff.html"])
def test_address_of_any_name_leads_to_the_folder(name: str, tmp_path: Path) -> None:
    try:
        (tmp_path / name).touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    folder = ImageFolder(tmp_path / name)
    folder.put(pair())
    assert re.fullmatch(r"[\w.%~-]+", folder.url, re.ASCII)
    assert folder.url in folder.path.as_uri()
    ImageFolder(tmp_path / name)
