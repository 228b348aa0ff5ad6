"""A ledger's file: made whole, opened only where it is one, told of in one line where it is none."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hot import GAUSSIAN, Run, image, once, running, wait_for

from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.service import database, working
from longexposure.service.arrivals import Arrivals
from longexposure.service.database import DamagedLedgerError, Database, OtherVersionError
from longexposure.service.hot_folder import HotFolder
from longexposure.service.places import Place
from longexposure.service.watching import watch
from longexposure.service.workers import Worker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@contextmanager
def locked(path: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Another program that keeps a ledger to itself."""
    with closing(
        sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    ) as connection:
        connection.execute(f"BEGIN {kind}")
        yield
        connection.execute("ROLLBACK")


def foreign(path: Path, kind: str) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "an image":
        image(path.with_suffix(".tif")).rename(path)
    elif kind == "the start of one":
        path.write_bytes(b"SQLite format 3\0")
    elif kind == "a text":
        path.write_text("notes")
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL" if "ahead" in kind else "PRAGMA user_version = 1")
            connection.execute("CREATE TABLE mine (a)")
            connection.execute("INSERT INTO mine VALUES (1)")
            connection.commit()


KINDS = ["empty", "an image", "the start of one", "a text", "another data base", "one with a log ahead"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_file_is_refused_in_a_line_and_stays_as_it_is(
    folder: HotFolder, tmp_path: Path, kind: str
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    foreign(mine / "file", kind)
    image(folder.source / "a.tif")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in mine.iterdir()}
    with pytest.raises(
        DamagedLedgerError, match="expected a ledger of longexposure, or no file, found "
    ) as told:
        watch(
            replace(folder, ledger=mine / "file"),
            GAUSSIAN,
            tell=lambda event: None,
            stopped=lambda: False,
            once=True,
        )
    assert "name another --ledger, or move that one away" in str(told.value)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in mine.iterdir()} == before


def test_what_is_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedLedgerError, match="found a folder"):
        Database(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedLedgerError, match="found a device or pipe"):
        Database(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="No such file"):
        Database(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_a_kill_while_it_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    """At every call that touches the disk."""
    code = """
import os, sys
from pathlib import Path
from longexposure.service import database
left = [int(sys.argv[2])]
def dying(call):
    def called(*arguments, **more):
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        left[0] -= 1
        return call(*arguments, **more)
    return called
os.fsync, os.link, Path.unlink = dying(os.fsync), dying(os.link), dying(Path.unlink)
database.Database(Path(sys.argv[1]))
"""
    ended = []
    for kill in range(4):
        path = tmp_path / f"{kill}.sqlite"
        done = subprocess.run([sys.executable, "-c", code, str(path), str(kill)], check=False)
        ended.append((done.returncode, path.exists()))
        Database(path).close()
    assert ended == [(-9, False), (-9, False), (-9, True), (0, True)]


def test_of_many_that_make_one_at_once_all_have_the_same(path: Path) -> None:
    made: list[Database] = []
    threads = [threading.Thread(target=lambda: made.append(Database(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.is_there() for each in made] == [True] * 8
    for each in made:
        each.close()
    assert [each.name for each in path.parent.glob(".*.part")] == []


def test_without_second_names_it_is_made_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    Database(path).close()
    Database(path).close()
    assert [each.name for each in path.parent.iterdir()] == ["ledger.sqlite"]


def test_names_that_mean_something_in_addresses_mean_nothing_here(tmp_path: Path) -> None:
    path = tmp_path / "50% ?mode=ro#ä.sqlite"
    with closing(Database(path)) as opened, opened.writing() as run:
        run("INSERT INTO settings VALUES ('a', 'b')")
    assert path.is_file()


def overwritten(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(size - 100))


def without_its_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE jobs")


def cut_off(path: Path) -> None:
    os.truncate(path, 5000)


def with_text_that_is_none(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE jobs SET state = 'waiting', source = CAST(x'ff2ffe' AS TEXT)")


DAMAGES = [overwritten, without_its_table, cut_off, with_text_that_is_none]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("at_start", [True, False])
def test_a_damaged_ledger_ends_the_service_in_a_line_that_says_what_to_do(
    folder: HotFolder, damage, at_start: bool
) -> None:
    ledger = folder.out / "ledger.sqlite"
    image(folder.source / "a.tif")
    if at_start:
        once(folder)
        damage(ledger)
        run = Run(folder, GAUSSIAN, once=True)
    else:
        run = Run(folder, GAUSSIAN, once=False)
        run.wait_for(lambda: run.names("enhanced") == ["a.tif"])
        with closing(sqlite3.connect(ledger)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(ledger)
        image(folder.source / "b.tif", 1)
    run.join()
    assert isinstance(run.error, DamagedLedgerError), run.error
    assert "expected a ledger, found a damaged one (" in str(run.error)
    assert "move it away, with ledger.sqlite-wal and -shm" in str(run.error)
    for path in folder.out.glob("ledger.sqlite*"):
        path.rename(folder.source.parent / path.name)
    image(folder.source / "c.tif", 2)
    assert "c.tif" in once(folder).names("enhanced")


def test_a_ledger_that_another_program_keeps_is_told_of_by_its_cause(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(path).close()
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    with (
        closing(Database(path)) as opened,
        locked(path),
        pytest.raises(OutputError) as told,
        opened.writing(),
    ):
        pass
    assert "found it locked by another program; end what keeps it locked: an SQLite tool" in str(told.value)


def test_a_lock_that_is_let_go_is_waited_out(path: Path) -> None:
    with closing(Database(path)) as opened:

        def write() -> None:
            with opened.writing() as run:
                run("INSERT INTO settings VALUES ('a', 'b')")

        writer = threading.Thread(target=write)
        with locked(path):
            writer.start()
            time.sleep(0.5)
            assert writer.is_alive()
        writer.join(10)
        with opened.reading() as run:
            assert run("SELECT * FROM settings").fetchall() == [("a", "b")]


@pytest.mark.parametrize("once_only", [True, False])
def test_a_service_ends_at_once_though_its_ledger_is_locked(folder: HotFolder, once_only: bool) -> None:
    image(folder.source / "a.tif")
    once(folder)
    image(folder.source / "b.tif", 1)
    if once_only:
        with locked(folder.out / "ledger.sqlite"):
            run = Run(folder, GAUSSIAN, once=True)
            time.sleep(1)
            began = time.monotonic()
            run.end()
    else:
        run = Run(folder, GAUSSIAN, once=False)
        run.wait_for(lambda: run.names("enhanced") == ["b.tif"])
        with locked(folder.out / "ledger.sqlite"):
            image(folder.source / "c.tif", 2)
            time.sleep(1)
            began = time.monotonic()
            run.end()
    assert time.monotonic() - began < 8
    assert run.error is None or "locked by another program" in str(run.error)


def test_the_file_at_hand_is_finished_though_nobody_can_enter_it(
    folder: HotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(folder.source / "a.tif")
    with running(folder) as run:
        run.wait_for(lambda: run.names("enhanced") == ["a.tif"])
        real, kept = working.enhance_as_they_come, ExitStack()

        def slow(*arguments: object, **more: object) -> Iterator[object]:
            for result in real(*arguments, **more):
                kept.enter_context(locked(folder.out / "ledger.sqlite"))
                run.stop()
                yield result

        monkeypatch.setattr(working, "enhance_as_they_come", slow)
        image(folder.source / "b.tif", 1)
        run.join()
    kept.close()
    assert run.names("enhanced") == ["a.tif", "b.tif"]
    assert "the next start finds out by itself what is done" in run.texts("warning")
    monkeypatch.setattr(Worker, "is_gone", lambda worker: True)  # as the process would be
    again = once(folder)
    assert (again.names("found"), again.names("enhanced")) == (["b.tif"], [])


def test_a_newer_and_an_older_ledger_are_left_alone_unread(path: Path) -> None:
    for version in (0, 2, 7):
        Database(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        before = path.read_bytes()
        with pytest.raises(
            OtherVersionError, match=f"found one of version {version}; use the longexposure that"
        ):
            Database(path)
        assert path.read_bytes() == before
        path.unlink()


def test_a_damaged_ledger_ends_those_who_look_for_arrivals(source: Path) -> None:
    def give(path: Path, stamp: str) -> None:
        raise DamagedLedgerError(where="ledger", expected="one", found="none", advice="move it")

    (source / "a.tif").write_bytes(b"1")
    said: list[str] = []
    arrivals = Arrivals(Place(source), known=dict, give=give, tell=said.append, settle_s=0.05, poll=True)
    arrivals.start()
    wait_for(lambda: not arrivals.is_alive())
    assert (type(arrivals.error), said) == (DamagedLedgerError, [])


def test_every_failure_of_the_system_is_no_damage() -> None:
    for code in (database.PASSING, database.LOCKED):
        for number in code:
            error = sqlite3.OperationalError("said")
            error.sqlite_errorcode = number | 0x100
            told: LongExposureError = database._told(error, Path("ledger"))
            assert isinstance(told, OutputError), number
    assert isinstance(database._told(sqlite3.DatabaseError("malformed"), Path("ledger")), InputError)
