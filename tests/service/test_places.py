"""Where folders may lie, so that no enhanced file lands among originals and none passes for one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hot import GAUSSIAN, content, image, once

from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.service.hot_folder import HotFolder
from longexposure.service.places import lies_in
from longexposure.service.watching import watch


def refused(folder: HotFolder) -> LongExposureError:
    with pytest.raises(LongExposureError) as told:
        watch(folder, GAUSSIAN, tell=lambda event: None, stopped=lambda: False, once=True)
    return told.value


def laid_out(tmp_path: Path, source: str, out: str, *, recursive: bool = False) -> HotFolder:
    (tmp_path / source).mkdir(parents=True, exist_ok=True)
    image(tmp_path / source / "a.tif")
    return HotFolder(tmp_path / source, tmp_path / out, recursive=recursive, settle_s=0)


@pytest.mark.parametrize(
    ("source", "out", "recursive"),
    [
        ("data/in", "data", True),
        ("data/lines/in", "data", True),
        ("data", "data", False),
        ("data/quarantine", "data", False),
        ("data/earlier/in", "data", False),
        ("data/Quarantine", "data", False),
    ],
)
def test_enhanced_files_that_could_land_among_originals_are_refused_before_any_is_made(
    tmp_path: Path, source: str, out: str, recursive: bool
) -> None:
    folder = laid_out(tmp_path, source, out, recursive=recursive)
    (folder.source / "in").mkdir()
    image(folder.source / "in" / "a.tif", 1)
    before = content(tmp_path)
    error = refused(folder)
    assert isinstance(error, OutputError)
    assert "holds none of the inputs" in str(error)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("source", "out", "recursive"),
    [("in", "in/out", True), ("in", "in/out", False), ("data/in", "data", False), ("in", "beside/out", True)],
)
def test_layouts_in_which_none_can_are_taken(tmp_path: Path, source: str, out: str, recursive: bool) -> None:
    folder = laid_out(tmp_path, source, out, recursive=recursive)
    assert once(folder).counts == {"enhanced": 1}
    assert once(folder).counts == {}


@pytest.mark.parametrize("linked", ["source", "out"])
def test_links_hide_nothing(tmp_path: Path, linked: str) -> None:
    folder = laid_out(tmp_path, "data/in", "data", recursive=True)
    (tmp_path / "link").symlink_to(getattr(folder, linked))
    refused(replace(folder, **{linked: tmp_path / "link"}))
    assert not (tmp_path / "data" / "ledger.sqlite").exists()


def test_a_subfolder_of_the_output_folder_that_leads_among_originals_is_not_written_to(
    folder: HotFolder,
) -> None:
    for line in ("line1", "line2"):
        (folder.source / line).mkdir()
    image(folder.source / "line2" / "a.tif")
    folder.out.mkdir()
    (folder.out / "line2").symlink_to(folder.source / "line1")
    before = content(folder.source)
    run = once(replace(folder, recursive=True))
    assert run.counts == {"not done": 1}
    assert "links that lead into it" in run.texts("waiting")
    assert content(folder.source) == before


def test_a_link_to_an_enhanced_file_is_no_original(folder: HotFolder) -> None:
    (folder.source / "line").mkdir()
    image(folder.source / "line" / "a.tif")
    once(replace(folder, recursive=True))
    (folder.source / "again.tif").symlink_to(folder.out / "line" / "a.tif")
    run = once(replace(folder, recursive=True))
    assert run.names("failed") == ["again.tif"]
    assert "found a link into the output folder" in run.texts("failed")


def test_a_link_to_an_original_elsewhere_is_one(folder: HotFolder, tmp_path: Path) -> None:
    (folder.source / "a.tif").symlink_to(image(tmp_path / "elsewhere.tif"))
    assert once(folder).names("enhanced") == ["a.tif"]


@pytest.mark.parametrize("name", ["quarantine", "earlier"])
def test_what_is_in_the_way_of_our_own_folders_is_refused_at_once(folder: HotFolder, name: str) -> None:
    folder.out.mkdir()
    (folder.out / name).write_text("mine")
    assert f"{name}: expected a folder or nothing, found a file; move it away" in str(refused(folder))
    assert (folder.out / name).read_text() == "mine"
    (folder.out / name).unlink()
    (folder.out / name).symlink_to(folder.source)
    assert "found a link into it" in str(refused(folder))


@pytest.mark.parametrize("which", ["source", "out", "ledger"])
def test_paths_of_other_bytes_are_refused_in_a_line(folder: HotFolder, tmp_path: Path, which: str) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin\xe9"))
    strange.mkdir()
    for path in (strange, tmp_path / "link"):
        if path != strange:
            path.symlink_to(strange)
        error = refused(replace(folder, **{which: path / "ledger.sqlite" if which == "ledger" else path}))
        assert isinstance(error, InputError)
        assert error.expected == "a path in UTF-8"
        assert str(error).isprintable()
    assert not folder.out.exists()


@pytest.mark.parametrize("name", ["in/ledger.sqlite", "ledger.tif", "out.PNG"])
def test_a_ledger_is_no_image_and_lies_not_among_originals(
    folder: HotFolder, tmp_path: Path, name: str
) -> None:
    error = refused(replace(folder, ledger=tmp_path / name))
    assert "beside the originals' folder" in error.expected
    assert content(folder.source) == {}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("n" * 251 + ".tif", {"sidecar": True}),
        ("n" * 248 + ".tif", {"masks": True}),
        ("ä" * 124 + ".tif", {"sidecar": True}),
    ],
)
def test_a_name_that_is_too_long_is_refused_and_the_others_go_on(
    folder: HotFolder, name: str, more: dict[str, bool]
) -> None:
    image(folder.source / name)
    image(folder.source / "short.tif", 1)
    run = once(replace(folder, **more))
    assert (run.names("failed"), run.names("enhanced")) == ([name], ["short.tif"])
    assert "shorten its name" in run.texts("failed")
    (note,) = (folder.out / "quarantine").iterdir()
    assert name in note.read_text()


def test_a_name_that_only_notes_cannot_hold_is_enhanced_noted_and_kept(folder: HotFolder) -> None:
    names = [letter * 251 + ".tif" for letter in "gb"]
    image(folder.source / names[0])
    (folder.source / names[1]).write_text("no image")
    run = once(replace(folder, copies=True))
    assert (run.names("enhanced"), run.names("failed")) == ([names[0]], [names[1]])
    assert {path.suffix for path in (folder.out / "quarantine").iterdir()} == {".txt", ".copy"}
    for seed, name in enumerate(names):
        image(folder.source / name, 1 + seed)
    run = once(folder)
    assert sorted(run.names("enhanced")) == sorted(names)
    assert list((folder.out / "quarantine").iterdir()) == []
    assert len(list((folder.out / "earlier").iterdir())) == 1


def test_a_place_is_known_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert lies_in(tmp_path / "link" / "b", tmp_path / "a")
    assert lies_in(tmp_path / "a", tmp_path / "link")
    assert lies_in(tmp_path / "a" / "to be made", tmp_path / "a")
    assert not lies_in(tmp_path / "a", tmp_path / "a" / "b")
    assert not lies_in(tmp_path / "ab", tmp_path / "a")
