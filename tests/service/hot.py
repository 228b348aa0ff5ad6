"""What tests of the hot folder share: a watcher in a thread, images, and what the ledger says."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile
from quick import noisy

from longexposure.enhance.choices import ModelChoice
from longexposure.service.hot_folder import Event, HotFolder
from longexposure.service.watching import watch

GAUSSIAN = ModelChoice("gaussian")


def wait_for(met: Callable[[], bool], seconds: float = 60, *, told: Callable[[], object] = str) -> None:
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until, told()
        time.sleep(0.005)


class Run:
    """A watcher in a thread."""

    def __init__(self, folder: HotFolder, model: ModelChoice, *, once: bool) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder, model, once))
        self._thread.start()

    def _watch(self, folder: HotFolder, model: ModelChoice, once: bool) -> None:
        try:
            self.counts = watch(folder, model, tell=self.events.append, stopped=self._stop.is_set, once=once)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self._stop.set()

    def end(self) -> None:
        self.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def names(self, kind: str) -> list[str]:
        return [event.name for event in self.events if event.kind == kind]

    def texts(self, kind: str) -> str:
        return "\n".join(event.text for event in self.events if event.kind == kind)

    def wait_for(self, met: Callable[[], bool], seconds: float = 30) -> None:
        wait_for(lambda: self.error is not None or met(), seconds, told=lambda: self.events)
        assert self.error is None, self.error


def image(path: Path, seed: int = 0) -> Path:
    tifffile.imwrite(path, noisy(seed, (64, 64)))
    return path


def once(folder: HotFolder, model: ModelChoice = GAUSSIAN) -> Run:
    run = Run(folder, model, once=True)
    run.join()
    assert run.error is None, run.error
    return run


@contextmanager
def running(folder: HotFolder) -> Iterator[Run]:
    run = Run(folder, GAUSSIAN, once=False)
    try:
        yield run
    finally:
        run.end()
    assert run.error is None, run.error


def jobs(out: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(out / "ledger.sqlite")
    try:
        rows = connection.execute("SELECT source, state FROM jobs ORDER BY number").fetchall()
    finally:
        connection.close()
    return [(Path(source).name, state) for source, state in rows]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
