"""Several files at once: one is computed while the next is read and the one before is written."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import noisy

from longexposure.enhance import enhancer as enhancing
from longexposure.enhance import files as pipeline
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.files import FileResult, enhance_files
from longexposure.errors import CheckpointError, InputError, OutputError, ResourceError
from longexposure.io import write_radiograph
from longexposure.models.base import ModelSpec
from longexposure.radiograph import Radiograph

PATIENCE_S = 20.0
"""How long a test waits for another thread before it fails."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """0.tif to 4.tif."""
    path = tmp_path / "in"
    path.mkdir()
    for seed in range(5):
        write_radiograph(Radiograph(noisy(seed)), path / f"{seed}.tif")
    return path


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Watched:
    """An engine that smooths nothing, after it has called `before` with the number of its image."""

    spec = ModelSpec(size_multiple=1, receptive_field=0, conditioned=False)
    info = None

    def __init__(self, before: Callable[[int], object] = lambda number: None) -> None:
        self._before = before
        self.count = 0

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        self.count += 1
        self._before(self.count - 1)
        return tile + np.float32(0.01)


def enhancer(before: Callable[[int], object] = lambda number: None) -> Enhancer:
    return Enhancer(Watched(before), name="watched")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read and written, in the order in which it begins (read) or ends (write)."""
    seen: list[str] = []
    read, write = pipeline.read_radiograph, pipeline.write_radiograph

    def reading(path: Path, **options: object) -> Radiograph:
        seen.append(f"read {path.stem}")
        return read(path, **options)

    def writing(radiograph: Radiograph, path: Path, **options: bool) -> Path:
        written = write(radiograph, path, **options)
        seen.append(f"written {path.stem}")
        return written

    monkeypatch.setattr(pipeline, "read_radiograph", reading)
    monkeypatch.setattr(pipeline, "write_radiograph", writing)
    return seen


def wait_for(event: str, events: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while event not in events:
        assert time.monotonic() < deadline, f"{event} did not happen: {events}"
        time.sleep(0.001)


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("longexposure")]


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (enhancing, pipeline):
        monkeypatch.setattr(module, "free_memory", lambda: 0)


def test_the_next_file_is_read_and_the_one_before_written_while_one_is_computed(folder, out, events):
    def during(number: int) -> None:
        if number < 4:
            wait_for(f"read {number + 1}", events)
        if number > 0:
            wait_for(f"written {number - 1}", events)

    results = list(enhance_files(files(folder), out, enhancer(during)))
    assert [result.error for result in results] == [None] * 5


def test_nothing_is_read_before_its_turn_comes_next(folder, out, events):
    def during(number: int) -> None:
        time.sleep(0.02)
        assert f"read {number + 2}" not in events
        assert f"written {number}" not in events

    assert len(list(enhance_files(files(folder), out, enhancer(during)))) == 5


def test_without_memory_to_spare_one_file_is_done_before_the_next_is_begun(folder, out, events, monkeypatch):
    no_room(monkeypatch)
    list(enhance_files(files(folder), out, enhancer(lambda number: events.append(f"compute {number}"))))
    assert events == [f"{what} {number}" for number in range(5) for what in ("read", "compute", "written")]


@pytest.mark.parametrize("free", [0, 16 * 40 * 48 * 2 - 1, 16 * 40 * 48 * 2 + 10**5])
def test_how_much_memory_an_image_must_leave_for_the_next(folder, out, events, monkeypatch, free):
    monkeypatch.setattr(pipeline, "free_memory", lambda: free)
    next(enhance_files(files(folder), out, enhancer()))
    assert ("read 1" in events) == (free > 16 * 40 * 48 * 2)


def various(folder: Path) -> list[Path]:
    """Files of all kinds, good and bad, with two that would have one name and two that are named twice."""
    write_radiograph(Radiograph(np.stack([noisy(7), noisy(8)]), description="stack"), folder / "stack.tif")
    write_radiograph(Radiograph(noisy(9).astype(np.float32) / 7), folder / "float.tif")
    Image.fromarray((noisy(10) // 128).astype(np.uint8)).save(folder / "8bit.png")
    (folder / "cut.tif").write_bytes((folder / "0.tif").read_bytes()[:300])
    (folder / "empty.tif").touch()
    again = folder / "0.TIFF"
    again.write_bytes((folder / "1.tif").read_bytes())
    good = files(folder)
    return [*good, folder / "none.tif", folder / "0.tif", folder / "1.tif"]


def test_bytes_order_and_messages_are_those_of_one_file_at_a_time(folder, out, tmp_path, monkeypatch):
    inputs = various(folder)
    together = list(enhance_files(inputs, out, load_enhancer("gaussian"), sidecar=True))
    no_room(monkeypatch)
    apart = list(enhance_files(inputs, tmp_path / "apart", load_enhancer("gaussian"), sidecar=True))
    assert [result.source for result in together] == [result.source for result in apart] == inputs[:-2]
    assert content(out) == content(tmp_path / "apart")
    for one, other in zip(together, apart, strict=True):
        facts = [json.dumps(result.as_dict()) for result in (one, other)]
        facts = [text.replace(str(tmp_path / "apart"), str(out)) for text in facts]
        for seconds in (one.seconds, other.seconds):
            facts = [text.replace(f'"seconds": {seconds}', "") for text in facts]
        assert facts[0] == facts[1]
    assert sum(result.error is None for result in together) == 9
    for single in ("1.tif", "stack.tif", "8bit.png"):
        (result,) = enhance_files([folder / single], tmp_path / "single", load_enhancer("gaussian"))
        assert result.output.read_bytes() == content(out)[result.output.name]


def test_no_more_than_three_images_are_in_memory_however_many_files(folder, out, monkeypatch):
    alive: list[weakref.ref] = []
    read = pipeline.read_radiograph

    def reading(path: Path, **options: object) -> Radiograph:
        radiograph = read(path, **options)
        alive.append(weakref.ref(radiograph))
        return radiograph

    def living() -> int:
        return sum(reference() is not None for reference in list(alive))

    monkeypatch.setattr(pipeline, "read_radiograph", reading)
    most = []
    for seed in range(5, 12):
        write_radiograph(Radiograph(noisy(seed)), folder / f"{seed}.tif")
    for result in enhance_files(files(folder), out, enhancer(lambda number: most.append(living()))):
        most.append(living())
        del result
    assert len(alive) == 12
    assert 2 <= max(most) <= 3


def test_what_failed_for_memory_beside_others_is_done_again_alone(folder, out, monkeypatch):
    """The second file cannot be read beside another, the fourth not be computed."""
    read = pipeline.read_radiograph
    tried: list[str] = []

    def reading(path: Path, **options: object) -> Radiograph:
        tried.append(path.stem)
        if tried.count("1") == 1 and path.stem == "1":
            raise ResourceError(where="1.tif", expected="memory", found="none", advice="buy some")
        return read(path, **options)

    def during(number: int) -> None:
        if number == 3:  # the first attempt at file 3
            wait_for("4", tried)
            raise MemoryError

    monkeypatch.setattr(pipeline, "read_radiograph", reading)
    monkeypatch.setattr(enhancing, "with_smaller_cores", lambda core, multiple, attempt: attempt(core))
    results = list(enhance_files(files(folder), out, enhancer(during)))
    assert [result.error for result in results] == [None] * 5
    assert [tried.count(name) for name in "01234"] == [1, 2, 1, 2, 2]
    monkeypatch.undo()
    assert content(out) == content_apart(folder, out)


def content_apart(folder: Path, out: Path) -> dict[str, bytes]:
    apart = out.parent / "one-by-one"
    for path in files(folder):
        list(enhance_files([path], apart, enhancer()))
    return content(apart)


def test_memory_that_is_never_enough_is_the_error_of_its_file_alone(folder, out, monkeypatch):
    def during(number: int) -> None:
        if np.array_equal(np.shape(at[-1]), (50, 50)):
            raise MemoryError

    at: list[np.ndarray] = []
    write_radiograph(Radiograph(noisy(3, (50, 50))), folder / "2.tif", overwrite=True)
    model = enhancer(during)
    run = model.engine.run

    def seen(tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        at.append(tile[0])
        return run(tile, noise_condition)

    monkeypatch.setattr(model.engine, "run", seen)
    results = list(enhance_files(files(folder), out, model))
    assert [type(result.error) for result in results] == [type(None)] * 2 + [ResourceError] + [type(None)] * 2
    assert sorted(content(out)) == ["0.tif", "1.tif", "3.tif", "4.tif"]


def test_a_file_that_cannot_be_written_stops_nothing_and_keeps_its_place(folder, out, monkeypatch):
    write = pipeline.write_radiograph

    def full(radiograph: Radiograph, path: Path, **options: bool) -> Path:
        if path.stem in "13":
            time.sleep(0.05)
            raise OutputError(where=str(path), expected="room", found="a full disk", advice="make room")
        return write(radiograph, path, **options)

    monkeypatch.setattr(pipeline, "write_radiograph", full)
    results = list(enhance_files(files(folder), out, enhancer()))
    assert [result.source.stem for result in results] == list("01234")
    assert [result.error is None for result in results] == [True, False, True, False, True]
    assert sorted(content(out)) == ["0.tif", "2.tif", "4.tif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_computing_leaves_whole_files_and_their_results(folder, out, error):
    def during(number: int) -> None:
        if number == 2:
            raise error

    got: list[FileResult] = []
    with pytest.raises(error):
        got.extend(iter_into(got, enhance_files(files(folder), out, enhancer(during))))
    assert [result.source.stem for result in got] == ["0", "1"]
    assert content(out) == {name: data for name, data in content_apart(folder, out).items() if name < "2"}
    assert workers() == []


def iter_into(into: list[FileResult], results: Iterator[FileResult]) -> list[FileResult]:
    for result in results:
        into.append(result)
    return []


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_who_stops_asking_finds_whole_files_and_no_thread_left(folder, out, taken):
    results = enhance_files(files(folder), out, enhancer())
    for _ in range(taken):
        next(results)
    results.close()
    assert workers() == []
    found = content(out) if out.exists() else {}
    assert [name for name in found if "part" in name] == []
    assert len(found) == taken
    assert found.items() <= content_apart(folder, out).items()


def test_no_thread_is_left_after_the_last_file(folder, out):
    list(enhance_files(files(folder), out, enhancer()))
    assert workers() == []


def test_the_model_is_loaded_once_while_the_first_file_is_read(folder, out, events):
    loads: list[int] = []

    def load() -> Enhancer:
        wait_for("read 0", events)
        loads.append(len(events))
        return enhancer()

    assert all(result.error is None for result in enhance_files(files(folder), out, load))
    assert loads == [1]


def test_a_model_that_cannot_be_loaded_leaves_neither_folder_nor_thread(folder, out):
    def load() -> Enhancer:
        raise CheckpointError(where="m", expected="weights", found="none", advice="choose another")

    with pytest.raises(CheckpointError):
        next(enhance_files(files(folder), out, load))
    assert not out.exists()
    assert workers() == []


def test_errors_keep_no_image_alive(folder, out, monkeypatch):
    alive: list[weakref.ref] = []
    read = pipeline.read_radiograph

    def reading(path: Path, **options: object) -> Radiograph:
        radiograph = read(path, **options)
        alive.append(weakref.ref(radiograph))
        return radiograph

    def refused(*_: object, **__: object) -> None:
        raise InputError(where="x", expected="y", found="z", advice="a")

    monkeypatch.setattr(pipeline, "read_radiograph", reading)
    monkeypatch.setattr(pipeline, "examine", refused)
    results = list(enhance_files(files(folder), out, enhancer()))
    gc.collect()
    assert [type(result.error) for result in results] == [InputError] * 5
    assert [reference() for reference in alive] == [None] * 5


SLOW = """
import os, signal, sys, time
from pathlib import Path
from longexposure.cli import app as cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore them
signal.signal(signal.SIGHUP, signal.SIG_DFL)
fsync, began = os.fsync, Path(sys.argv.pop())
def slow(file):
    time.sleep(0.2)
    began.touch()
    time.sleep(0.8)
    fsync(file)
os.fsync = slow
cli.main()
"""
"""The command line with a disk that takes a second a file and says when it begins."""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_a_file_is_written_leaves_it_whole(folder, out, tmp_path, number, code):
    began = tmp_path / "began"
    command = [sys.executable, "-c", SLOW, "enhance", str(folder), "--out", str(out), "--model", "identity"]
    process = subprocess.Popen(
        [*command, str(began)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not began.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    found = content(out)
    assert 1 <= len(found) < 5
    assert sorted(found) == [f"{seed}.tif" for seed in range(len(found))]
    for name in found:
        assert name in stdout, "what was finished is told"
        apart = tmp_path / "apart"
        (result,) = enhance_files([folder / name], apart, load_enhancer("identity"))
        assert result.output.read_bytes() == found[name]
