"""The hot folder from within: what is told, what goes into quarantine, what is waited out."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hot import GAUSSIAN, Run, content, image, jobs, once, running
from quick import noisy

from longexposure.enhance import files as pipeline
from longexposure.enhance.choices import ModelChoice
from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError, InputError, OutputError, RecipeError
from longexposure.io import read_radiograph, writing
from longexposure.models.checkpoint import sha256_of
from longexposure.service import intake, working
from longexposure.service.hot_folder import HotFolder
from longexposure.service.ledger import Entry, Ledger
from longexposure.service.watching import watch


def test_what_is_there_is_enhanced_once_as_enhance_does_it(folder: HotFolder) -> None:
    for seed, name in enumerate("ba"):
        image(folder.source / f"{name}.tif", seed)
    before = content(folder.source)
    run = once(folder)
    assert run.names("enhanced") == ["b.tif", "a.tif"]  # in order of arrival
    for name in before:
        expected = load_enhancer("gaussian").enhance(tifffile.imread(folder.source / name))
        assert np.array_equal(tifffile.imread(folder.out / name), expected)
        made = read_radiograph(folder.out / name).history[-1].settings
        assert made["source_sha256"] == sha256_of(folder.source / name)
    assert content(folder.source) == before
    assert [event.kind for event in once(folder).events] == []
    assert jobs(folder.out) == [("b.tif", "done"), ("a.tif", "done")]


def test_files_that_arrive_are_enhanced_in_order(folder: HotFolder) -> None:
    with running(folder) as run:
        for number in range(5):
            image(folder.source / f"{number}.tif", number)
            run.wait_for(lambda number=number: f"{number}.tif" in run.names("enhanced"))
    assert run.names("enhanced") == [f"{number}.tif" for number in range(5)]
    assert all(event.waited_s > 0 for event in run.events if event.kind == "enhanced")


def test_a_bad_file_is_noted_stays_where_it_is_and_is_tried_again_when_it_changes(folder: HotFolder) -> None:
    bad, note = folder.source / "bad.tif", folder.out / "quarantine" / "bad.tif.txt"
    bad.write_text("no image")
    image(folder.source / "good.tif")
    with running(folder) as run:
        run.wait_for(lambda: len(run.events) == 3)  # that it watches, too
        assert (run.names("failed"), run.names("enhanced")) == (["bad.tif"], ["good.tif"])
        assert bad.read_text() == "no image"
        text = note.read_text()
        assert "expected a TIFF file, found a text file" in text
        assert sha256_of(bad) in text
        assert sorted(content(folder.out / "quarantine")) == ["bad.tif.txt"]
        image(bad)
        run.wait_for(lambda: "bad.tif" in run.names("enhanced"))
        run.wait_for(lambda: not note.exists())
    assert once(folder).events == []


def test_a_copy_of_a_bad_file_is_kept_when_asked_for(folder: HotFolder) -> None:
    (folder.source / "bad.tif").write_text("no image")
    once(HotFolder(folder.source, folder.out, settle_s=0, poll=True, copies=True))
    assert (folder.out / "quarantine" / "bad.tif.copy").read_text() == "no image"


def test_a_half_copied_file_is_not_enhanced_as_a_half(folder: HotFolder) -> None:
    """It stalls long enough to seem whole."""
    whole = image(folder.source.parent / "whole.tif").read_bytes()
    half = folder.source / "half.tif"
    half.write_bytes(whole[: len(whole) // 2])
    with running(folder) as run:
        run.wait_for(lambda: run.names("failed") == ["half.tif"])
        assert not (folder.out / "half.tif").exists()
        half.write_bytes(whole)
        run.wait_for(lambda: run.names("enhanced") == ["half.tif"])
    assert not (folder.out / "quarantine" / "half.tif.txt").exists()


def test_a_file_that_changes_while_it_is_read_is_no_failure(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(folder.source / "a.tif", 0)
    changed = []

    def read(where: Path, **options: Any) -> object:
        if not changed:
            changed.append(1)
            path.write_bytes(path.read_bytes()[:100])  # someone copies it anew
            threading.Timer(0.3, lambda: image(path, 1)).start()
        return read_radiograph(where, **options)

    monkeypatch.setattr(pipeline, "read_radiograph", read)
    with running(folder) as run:
        run.wait_for(lambda: run.names("enhanced") == ["a.tif"])
    assert run.names("put off")[:1] == ["a.tif"]
    expected = load_enhancer("gaussian").enhance(noisy(1, (64, 64)))
    assert np.array_equal(tifffile.imread(folder.out / "a.tif"), expected)


def test_a_file_that_is_removed_before_its_turn_is_told_of(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(folder.source / "a.tif")

    def read(where: Path, **options: Any) -> object:
        path.unlink()
        return read_radiograph(where, **options)

    monkeypatch.setattr(pipeline, "read_radiograph", read)
    run = once(folder)
    assert run.texts("put off") == "a.tif: was removed before it was enhanced"
    monkeypatch.undo()
    image(path)
    assert once(folder).names("enhanced") == ["a.tif"]


def test_the_enhanced_file_of_an_earlier_original_is_kept(folder: HotFolder) -> None:
    folder = HotFolder(folder.source, folder.out, settle_s=0, poll=True, sidecar=True)
    path = image(folder.source / "current.tif", 0)
    once(folder)
    first = content(folder.out)
    image(path, 1)
    run = once(folder)
    assert run.names("enhanced") == ["current.tif"]
    kept = content(folder.out / "earlier")
    assert sorted(kept.values()) == sorted([first["current.tif"], first["current.tif.json"]])
    expected = load_enhancer("gaussian").enhance(noisy(1, (64, 64)))
    assert np.array_equal(tifffile.imread(folder.out / "current.tif"), expected)


def test_a_foreign_file_in_the_output_folder_is_never_replaced(folder: HotFolder) -> None:
    image(folder.source / "a.tif")
    folder.out.mkdir()
    (folder.out / "a.tif").write_text("mine")
    run = once(folder)
    assert (run.names("failed"), run.counts["not done"]) == ([], 1)
    assert "one that is damaged or none of ours (a text file)" in run.texts("waiting")
    assert (folder.out / "a.tif").read_text() == "mine"
    (folder.out / "a.tif").unlink()
    assert once(folder).names("enhanced") == ["a.tif"]


def test_what_other_settings_made_stays_and_what_waits_is_made_with_those_of_today(folder: HotFolder) -> None:
    image(folder.source / "a.tif")
    once(folder)
    before = (folder.out / "a.tif").read_bytes()
    image(folder.source / "b.tif")
    run = once(folder, ModelChoice("identity"))
    assert run.names("enhanced") == ["b.tif"]
    assert (folder.out / "a.tif").read_bytes() == before


def test_files_that_would_share_a_name_get_two(folder: HotFolder) -> None:
    image(folder.source / "chip.tif", 0)
    once(folder)
    image(folder.source / "chip.tiff", 1)
    once(folder)
    assert {path.name for path in folder.out.glob("*.tif")} == {"chip.tif", "chip.tiff.tif"}


def test_subfolders_keep_their_structure(folder: HotFolder) -> None:
    (folder.source / "line1").mkdir()
    image(folder.source / "line1" / "a.tif")
    (folder.source / "line1" / "bad.tif").write_text("no image")
    assert once(folder).events == []
    once(HotFolder(folder.source, folder.out, recursive=True, settle_s=0, poll=True))
    assert (folder.out / "line1" / "a.tif").is_file()
    assert (folder.out / "quarantine" / "line1" / "bad.tif.txt").is_file()


class Full:
    """A disk that is full, for writers of images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> None:
        self.full = True
        real = writing.temporary_in

        def temporary_in(folder: Path) -> Path:
            if self.full:
                raise OSError(number, os.strerror(number))
            return real(folder)

        monkeypatch.setattr(writing, "temporary_in", temporary_in)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_or_read_only_disk_is_waited_out_and_order_is_kept(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with running(folder) as run:
        image(folder.source / "first.tif")
        run.wait_for(lambda: run.names("enhanced") == ["first.tif"])
        disk = Full(monkeypatch, number)
        for seed, name in enumerate("ba"):
            image(folder.source / f"{name}.tif", seed)
            time.sleep(0.3)
        (folder.source / "c.tif").write_text("no image")  # whose note has no room either
        run.wait_for(lambda: os.strerror(number) in run.texts("waiting"))
        time.sleep(1.5)
        assert run.names("enhanced") == ["first.tif"]
        look = working.Working._folders_are_there

        def freed(watcher: working.Working) -> bool:
            disk.full = False  # while no file is at hand: one that is may overtake those that wait
            return look(watcher)

        monkeypatch.setattr(working.Working, "_folders_are_there", freed)
        run.wait_for(lambda: len(run.names("enhanced")) == 3 and run.names("failed") == ["c.tif"])
    assert run.names("enhanced") == ["first.tif", "b.tif", "a.tif"]
    assert run.texts("waiting").count(os.strerror(number)) == 1
    assert run.texts("going on") == "going on"
    assert list(folder.out.glob(".*.part")) == []


def test_folders_that_are_removed_are_waited_for_and_nothing_is_lost(folder: HotFolder) -> None:
    with running(folder) as run:
        image(folder.source / "a.tif", 0)
        run.wait_for(lambda: run.names("enhanced") == ["a.tif"])
        shutil.rmtree(folder.out)
        image(folder.source / "b.tif", 1)
        run.wait_for(lambda: str(folder.out) in run.texts("waiting"))
        time.sleep(0.5)
        assert not folder.out.exists()  # nothing is written where a share was
        folder.out.mkdir()
        run.wait_for(lambda: "b.tif" in run.names("enhanced"))
        shutil.rmtree(folder.source)
        run.wait_for(lambda: str(folder.source) in run.texts("waiting"))
        folder.source.mkdir()
        image(folder.source / "c.tif", 2)
        run.wait_for(lambda: "c.tif" in run.names("enhanced"))
    assert "the ledger was removed" in run.texts("warning")


def test_a_ledger_that_is_removed_costs_nothing_done(folder: HotFolder) -> None:
    with running(folder) as run:
        image(folder.source / "a.tif")
        run.wait_for(lambda: run.names("enhanced") == ["a.tif"])
        before = (folder.out / "a.tif").stat()
        for path in folder.out.glob("ledger.sqlite*"):
            path.unlink()
        run.wait_for(lambda: run.names("found") == ["a.tif"])
    assert run.names("enhanced") == ["a.tif"]
    assert (folder.out / "a.tif").stat().st_ino == before.st_ino


def test_a_ledger_of_another_version_stays_and_the_work_goes_on(folder: HotFolder) -> None:
    image(folder.source / "a.tif")
    once(folder)
    connection = sqlite3.connect(folder.out / "ledger.sqlite")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = (folder.out / "ledger.sqlite").read_bytes()
    image(folder.source / "b.tif", 1)
    for names in (["b.tif"], []):
        run = once(folder)
        assert "expected a ledger of version 1, found one of version 7" in run.texts("warning")
        assert run.names("enhanced") == names
    assert (folder.out / "ledger.sqlite").read_bytes() == before


def test_a_ledger_may_lie_elsewhere(folder: HotFolder, tmp_path: Path) -> None:
    image(folder.source / "a.tif")
    once(HotFolder(folder.source, folder.out, settle_s=0, poll=True, ledger=tmp_path / "mine.sqlite"))
    assert sorted(content(folder.out)) == ["a.tif"]
    assert (tmp_path / "mine.sqlite").is_file()


def test_two_services_with_other_settings_are_told_and_each_file_is_done_once(folder: HotFolder) -> None:
    with running(folder) as first:
        image(folder.source / "a.tif", 0)
        first.wait_for(lambda: first.names("enhanced") == ["a.tif"])
        second = Run(folder, ModelChoice("identity"), once=False)
        second.wait_for(lambda: "with other settings" in second.texts("warning"))
        for number in range(6):
            image(folder.source / f"{number}.tif", number)
        first.wait_for(lambda: len(first.names("enhanced")) + len(second.names("enhanced")) == 7)
        time.sleep(0.5)
        second.end()
    assert second.error is None
    done = first.names("enhanced") + second.names("enhanced")
    assert sorted(done) == [*(f"{number}.tif" for number in range(6)), "a.tif"]


def test_who_collects_enhanced_files_at_once_does_not_make_them_again(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(folder.source / "a.tif")
    real = pipeline.write_radiograph

    def write(radiograph, path, **more):
        real(radiograph, path, **more)
        path.rename(folder.out.parent / "collected.tif")

    monkeypatch.setattr(pipeline, "write_radiograph", write)
    assert once(folder).names("enhanced") == ["a.tif"]
    assert once(folder).events == []


def test_a_file_that_ends_processes_goes_into_quarantine(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(folder.source / "deadly.tif")
    image(folder.source / "good.tif", 1)
    real = Ledger.claim

    def claim(ledger: Ledger, turn: Callable[[int, Path], int | None]) -> Entry | None:
        entry = real(ledger, turn)
        deadly = entry is not None and entry.source.name == "deadly.tif"
        return replace(entry, deaths=intake.MOST_DEATHS) if deadly else entry

    monkeypatch.setattr(Ledger, "claim", claim)
    run = once(folder)
    assert "expected a file that processes survive, found 10" in run.texts("failed")
    assert run.names("enhanced") == ["good.tif"]


def test_what_cannot_be_begun_is_refused_before_anything_is_made(folder: HotFolder) -> None:
    source, out = folder.source, folder.out
    cases: list[tuple[HotFolder, ModelChoice, type[Exception]]] = [
        (HotFolder(source / "none", out, poll=True), GAUSSIAN, InputError),
        (HotFolder(source, source, poll=True), GAUSSIAN, OutputError),
        (HotFolder(source, out, poll=True, settle_s=-1), GAUSSIAN, RecipeError),
        (HotFolder(source, out, poll=True, strength=2), GAUSSIAN, RecipeError),
        (HotFolder(source, out, poll=True, compress="zip"), GAUSSIAN, RecipeError),
        (folder, ModelChoice("unknown"), CheckpointError),
    ]
    for wanted, model, error in cases:
        with pytest.raises(error):
            watch(wanted, model, tell=lambda event: None, stopped=lambda: False, once=True)
        assert not out.exists()
