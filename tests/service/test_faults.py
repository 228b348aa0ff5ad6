"""Faults that are not a file's own: it stays to be done, the others go on, and every start tries again."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hot import content, image, jobs, once, running

from longexposure.enhance import files as pipeline
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import CheckpointError, InputError
from longexposure.io import read_radiograph, writing
from longexposure.service import outcomes
from longexposure.service.hot_folder import HotFolder

Fault = Callable[[], object]


def raising(error: BaseException) -> Fault:
    def fault(*_: object, **__: object) -> object:
        raise error

    return fault


def misread(error: Exception) -> Fault:
    """As reading tells what a library raised."""

    def fault(path: Path) -> object:
        raise InputError(where=str(path), expected="a TIFF file", found="none", advice="look") from error

    return fault


READING = {
    "memory": raising(MemoryError()),
    "a module that is gone": misread(ModuleNotFoundError("No module named 'imagecodecs'")),
    "a package of another version": misread(AttributeError("TiffFile", name="TiffFile", obj=sys)),
    "a share": misread(OSError(errno.EIO, os.strerror(errno.EIO))),
    "too many open files": raising(OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
    "a fault of ours": raising(KeyError("ours")),
}
COMPUTING = {
    "an engine": raising(RuntimeError("engine")),
    "weights": raising(CheckpointError(where="w", expected="weights", found="none", advice="look")),
    "memory": raising(MemoryError()),
    "a module that is gone": raising(ImportError("gone")),
}


@pytest.mark.parametrize(
    ("where", "what", "fault"),
    [
        *((pipeline, "read_radiograph", fault) for fault in READING.values()),
        *((Enhancer, "enhance_pages", fault) for fault in COMPUTING.values()),
    ],
    ids=[*(f"reading: {name}" for name in READING), *(f"computing: {name}" for name in COMPUTING)],
)
def test_once_leaves_every_file_to_be_done_says_why_once_and_the_next_start_does_it(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch, where: object, what: str, fault: Fault
) -> None:
    for seed, name in enumerate("abc"):
        image(folder.source / f"{name}.tif", seed)
    with monkeypatch.context() as patch:
        patch.setattr(where, what, fault)
        for _ in range(2):
            run = once(folder)
            assert (run.counts, run.names("failed")) == ({"not done": 3}, [])
            assert run.texts("waiting").count("left for the next start") == 1
    assert not (folder.out / "quarantine").exists()
    assert jobs(folder.out) == [(f"{name}.tif", "waiting") for name in "abc"]
    run = once(folder)
    assert (run.names("enhanced"), run.counts) == (["a.tif", "b.tif", "c.tif"], {"enhanced": 3})


def test_a_service_tries_again_by_itself_and_the_others_go_on(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def read(path: Path, **options: Any) -> object:
        tries.append(path.name)
        if path.name == "huge.tif" and tries.count("huge.tif") < 4:
            raise MemoryError
        return read_radiograph(path, **options)

    monkeypatch.setattr(pipeline, "read_radiograph", read)
    with running(folder) as run:
        image(folder.source / "huge.tif")
        run.wait_for(lambda: "huge.tif" in tries)
        image(folder.source / "small.tif")
        run.wait_for(lambda: run.names("enhanced") == ["small.tif"])
        run.wait_for(lambda: run.names("enhanced") == ["small.tif", "huge.tif"])
    assert run.texts("waiting").count("huge.tif") == 1
    assert "tried again later" in run.texts("waiting")
    assert run.counts == {"enhanced": 2}


def test_what_was_noted_for_other_reasons_stays_counted_and_is_tried_again_when_asked(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(folder.source / "good.tif")
    (folder.source / "bad.tif").write_text("no image")
    (folder.source / "gone.tif").write_text("no image")
    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "is_its_own", lambda error: True)
        patch.setattr(pipeline, "read_radiograph", raising(RuntimeError("engine")))
        assert once(folder).counts == {"failed": 3, "in quarantine": 3}
    (folder.source / "gone.tif").unlink()
    run = once(folder)
    assert (run.events, run.counts) == ([], {"in quarantine": 2})
    run = once(replace(folder, retry=True))
    assert (run.names("enhanced"), run.names("failed")) == (["good.tif"], ["bad.tif"])
    assert run.counts["in quarantine"] == 1
    assert sorted(content(folder.out / "quarantine")) == ["bad.tif.txt"]
    image(folder.source / "bad.tif")
    assert once(folder).counts == {"enhanced": 1}


class Closed:
    """A subfolder of the output folder in which nothing can be made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
        self.closed = True
        real = writing.temporary_in

        def temporary_in(folder: Path) -> Path:
            if self.closed and folder == path:
                raise OSError(number, os.strerror(number))
            return real(folder)

        monkeypatch.setattr(writing, "temporary_in", temporary_in)


@pytest.fixture
def lines(folder: HotFolder) -> HotFolder:
    for line in ("line1", "line2", "line2/deep"):
        (folder.source / line).mkdir()
        for seed, name in enumerate("ab"):
            image(folder.source / line / f"{name}.tif", seed)
    return replace(folder, recursive=True)


@pytest.mark.parametrize("closed", ["line1", "line2", "line2/deep"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_once_leaves_a_subfolder_that_cannot_be_written_and_does_the_others(
    lines: HotFolder, monkeypatch: pytest.MonkeyPatch, closed: str, number: int
) -> None:
    Closed(monkeypatch, lines.out / closed, number)
    run = once(lines)
    assert run.counts == {"enhanced": 4, "not done": 2}
    assert not {f"{closed}/a.tif", f"{closed}/b.tif"} & set(run.names("enhanced"))
    assert run.texts("waiting").count(os.strerror(number)) == 1
    monkeypatch.undo()
    assert once(lines).names("enhanced") == [f"{closed}/a.tif", f"{closed}/b.tif"]


def test_a_file_in_the_way_of_a_subfolder_holds_up_that_one_only(lines: HotFolder) -> None:
    lines.out.mkdir()
    (lines.out / "line2").write_text("mine")
    run = once(lines)
    assert run.counts == {"enhanced": 2, "not done": 4}
    assert (lines.out / "line2").read_text() == "mine"


def test_a_service_waits_for_the_subfolder_alone(lines: HotFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(lines) as run:
        run.wait_for(lambda: len(run.names("enhanced")) == 6)
        line1 = Closed(monkeypatch, lines.out / "line1", errno.EACCES)
        image(lines.source / "line1" / "c.tif", 3)
        run.wait_for(lambda: "line1" in run.texts("waiting"))
        for number in range(3):
            image(lines.source / "line2" / f"{number}.tif", number)
            run.wait_for(lambda number=number: f"line2/{number}.tif" in run.names("enhanced"))
        assert "line1/c.tif" not in run.names("enhanced")
        line1.closed = False
        run.wait_for(lambda: "line1/c.tif" in run.names("enhanced"))
    assert run.texts("going on") == "going on"
    assert run.counts == {"enhanced": 10}


def test_once_ends_at_a_full_disk_and_counts_what_is_left(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        image(folder.source / f"{seed}.tif", seed)
    folder.out.mkdir()
    tries: list[Path] = []

    def full(path: Path) -> Path:
        tries.append(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "temporary_in", full)
    monkeypatch.setattr("longexposure.service.working.check_writable_folder", lambda path: path)
    run = once(folder)
    assert run.counts == {"not done": 5}
    assert run.texts("waiting").count("No space left on device") == 1
    assert len(tries) <= 2  # the one, and the one that was read ahead
    monkeypatch.undo()
    assert once(folder).counts == {"enhanced": 5}


def test_once_ends_when_the_share_of_the_output_folder_goes(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in range(3):
        image(folder.source / f"{seed}.tif", seed)
    mounted, real = {str(folder.out)}, os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounted or real(path))

    def read(path: Path, **options: Any) -> object:
        mounted.clear()
        return read_radiograph(path, **options)

    monkeypatch.setattr(pipeline, "read_radiograph", read)
    run = once(replace(folder, ledger=tmp_path / "ledger.sqlite"))
    assert run.counts == {"not done": 3}
    assert run.texts("waiting").count("found it gone") == 1
