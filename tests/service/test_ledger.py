"""The ledger: each job claimed by one, begun again when its worker dies, ended once, never lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from longexposure.errors import InputError, OutputError
from longexposure.service import database
from longexposure.service import ledger as module
from longexposure.service.database import OtherVersionError
from longexposure.service.ledger import Entry, Ledger

QUEUE = "in -> out"
CLAIMS_AND_DIES = """
import os, sys
from pathlib import Path
from longexposure.service.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), queue="in -> out", settings={})
print(ledger.claim().source, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, queue=QUEUE, settings={}) as opened:
        yield opened


def enter(ledger: Ledger, name: str, sha256: str = "a", *targets: str, stamp: str = "1") -> bool:
    named = [Path("/out", target) for target in targets or (name,)]
    return ledger.enter(Path("/in", name), stamp, sha256, lambda: named)


def claimed(ledger: Ledger) -> Entry:
    entry = ledger.claim()
    assert entry is not None
    return entry


def done(ledger: Ledger, entry: Entry) -> bool:
    return ledger.finish(entry, source_sha256=entry.source_sha256, output_sha256="out")


def test_jobs_are_claimed_in_order_of_arrival_and_each_once(ledger: Ledger, path: Path) -> None:
    for name in ("b", "a", "c"):
        assert enter(ledger, name)
    with Ledger(path, queue=QUEUE, settings={}) as other:
        entries = [claimed(ledger), claimed(other), claimed(ledger)]
        assert [entry.source.name for entry in entries] == ["b", "a", "c"]
        assert ledger.claim() is None
        assert other.claim() is None


def test_the_same_content_is_no_new_job_and_another_content_is_one(ledger: Ledger) -> None:
    assert enter(ledger, "a", "1", stamp="old")
    assert not enter(ledger, "a", "1", stamp="new")
    assert ledger.stamps() == {"/in/a": "new"}
    assert done(ledger, claimed(ledger))
    assert not enter(ledger, "a", "1")
    for sha256 in ("2", "1"):  # and back
        assert enter(ledger, "a", sha256)
        assert done(ledger, claimed(ledger))
    assert ledger.counts() == {"done": 3}


def test_of_a_file_that_changes_while_it_waits_only_the_last_content_waits(ledger: Ledger) -> None:
    for sha256 in "123":
        assert enter(ledger, "a", sha256)
    assert claimed(ledger).source_sha256 == "3"
    assert ledger.claim() is None


def test_a_source_is_at_one_worker_at_a_time(ledger: Ledger, path: Path) -> None:
    enter(ledger, "a", "1")
    first = claimed(ledger)
    enter(ledger, "a", "2")
    with Ledger(path, queue=QUEUE, settings={}) as other:
        assert other.claim() is None
        done(ledger, first)
        assert claimed(other).source_sha256 == "2"


def test_what_failed_is_tried_again_with_other_settings_and_what_is_done_is_not(
    ledger: Ledger, path: Path
) -> None:
    enter(ledger, "bad")
    enter(ledger, "good")
    assert ledger.fail(claimed(ledger), "no image")
    assert done(ledger, claimed(ledger))
    assert not enter(ledger, "bad")
    with Ledger(path, queue=QUEUE, settings={"model": "other"}) as other:
        assert other.stamps() == {"/in/good": "1"}
        assert not enter(other, "good")
        assert enter(other, "bad")


def test_targets_of_two_sources_differ_even_in_a_file_system_without_case(ledger: Ledger) -> None:
    enter(ledger, "chip.tif", "1", "chip.tif")
    enter(ledger, "chip.xrm", "2", "CHIP.TIF", "chip.xrm.tif")
    enter(ledger, "chip.tif", "3", "elsewhere.tif")
    targets = {entry.source.name: entry.target.name for entry in (claimed(ledger), claimed(ledger))}
    assert targets == {"chip.tif": "chip.tif", "chip.xrm": "chip.xrm.tif"}


def test_a_killed_process_loses_its_job_at_once_and_the_job_keeps_its_place(
    ledger: Ledger, path: Path
) -> None:
    enter(ledger, "a")
    enter(ledger, "b")
    for deaths in range(module.DEFERRED_AFTER):
        child = subprocess.run(
            [sys.executable, "-c", CLAIMS_AND_DIES, str(path)], capture_output=True, text=True, check=False
        )
        assert (child.stdout, child.returncode) == ("/in/a\n", -9)
        entry = claimed(ledger)
        ledger.give_back(entry)
        if deaths + 1 < module.DEFERRED_AFTER:
            assert (entry.source.name, entry.deaths) == ("a", deaths + 1)
    assert entry.source.name == "b"  # what kills comes last


def test_a_worker_that_is_silent_for_a_lease_loses_its_jobs_and_cannot_end_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "_beat", lambda self: None)
    with (
        Ledger(path, queue=QUEUE, settings={}, lease_s=0.2) as silent,
        Ledger(path, queue=QUEUE, settings={}, lease_s=0.2) as other,
    ):
        enter(silent, "a")
        entry = claimed(silent)
        assert other.claim() is None
        time.sleep(0.3)
        again = claimed(other)
        assert again.source == entry.source
        assert not done(silent, entry)
        assert done(other, again)
        assert other.counts() == {"done": 1}


def test_a_worker_that_is_heard_of_keeps_its_jobs(path: Path) -> None:
    with (
        Ledger(path, queue=QUEUE, settings={}, lease_s=0.4) as busy,
        Ledger(path, queue=QUEUE, settings={}, lease_s=0.4) as other,
    ):
        enter(busy, "a")
        entry = claimed(busy)
        time.sleep(0.8)
        assert other.claim() is None
        assert done(busy, entry)


def test_closing_lets_jobs_wait_again(path: Path) -> None:
    with Ledger(path, queue=QUEUE, settings={}) as first:
        enter(first, "a")
        claimed(first)
    with Ledger(path, queue=QUEUE, settings={}) as second:
        assert claimed(second).deaths == 0


def test_many_threads_and_workers_do_each_job_once(path: Path) -> None:
    ended: Counter[str] = Counter()
    workers = [Ledger(path, queue=QUEUE, settings={}) for _ in range(4)]
    for number in range(60):
        enter(workers[0], f"{number}")

    def work(ledger: Ledger) -> None:
        while (entry := ledger.claim()) is not None:
            ended[entry.source.name] += done(ledger, entry)

    threads = [threading.Thread(target=work, args=(ledger,)) for ledger in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == {f"{number}": 1 for number in range(60)}
    for ledger in workers:
        ledger.close()


def test_services_with_other_settings_on_one_queue_are_told_of(ledger: Ledger, path: Path) -> None:
    with (
        Ledger(path, queue=QUEUE, settings={}),
        Ledger(path, queue="another", settings={"model": "other"}),
        Ledger(path, queue=QUEUE, settings={"model": "other"}) as other,
    ):
        assert [worker.name for worker in ledger.others()] == [other.worker.name]
    assert ledger.others() == []


def test_a_ledger_of_another_version_is_refused_and_left_as_it_is(path: Path) -> None:
    Ledger(path, queue=QUEUE, settings={}).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OtherVersionError, match="expected a ledger of version 1, found one of version 7"):
        Ledger(path, queue=QUEUE, settings={})
    assert path.read_bytes() == before


def test_what_is_no_ledger_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"no data base at all, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="expected a ledger of longexposure, or no file, found another file"):
        Ledger(path, queue=QUEUE, settings={})
    assert path.read_bytes().startswith(b"no data base")
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE others (a)")
    connection.close()
    with pytest.raises(InputError, match="another program's data base"):
        Ledger(path, queue=QUEUE, settings={})


def test_a_ledger_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory; make its folder"):
        Ledger(tmp_path / "none" / "ledger.sqlite", queue=QUEUE, settings={})


def test_a_ledger_that_is_removed_is_noticed_and_begun_anew(ledger: Ledger, path: Path) -> None:
    enter(ledger, "a")
    assert ledger.is_there()
    for each in path.parent.glob("ledger.sqlite*"):
        each.unlink()
    assert not ledger.is_there()
    ledger.open_again()
    assert ledger.is_there()
    assert ledger.counts() == {}
    assert enter(ledger, "a")


def test_on_a_share_the_log_ahead_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_is_shared", lambda path: True)
    with Ledger(path, queue=QUEUE, settings={}) as ledger:
        enter(ledger, "a")
        assert [each.name for each in path.parent.iterdir()] == ["ledger.sqlite"]
        assert claimed(ledger).source.name == "a"


def test_it_tells_of_each_source_its_latest_job_and_of_all_the_newest_first(ledger: Ledger) -> None:
    for name in ("a", "b", "c"):
        enter(ledger, name)
    done(ledger, claimed(ledger))
    ledger.fail(claimed(ledger), "no image")
    assert ledger.open_jobs() == 1
    told = {row.source.name: (row.state, row.output_sha256, row.error) for row in ledger.rows(most=9)}
    assert told == {
        "c": ("waiting", None, None),
        "b": ("failed", None, "no image"),
        "a": ("done", "out", None),
    }
    assert [row.source.name for row in ledger.rows(most=2)] == ["c", "b"]
    third = ledger.row(Path("/in/c"))
    assert third is not None
    assert third.target == Path("/out/c")
    assert [row.source.name for row in ledger.rows(most=9, before=third.number)] == ["b", "a"]
    assert [row.source.name for row in ledger.rows(most=9, ended_before=time.time() + 1)] == ["b", "a"]
    assert ledger.rows(most=9, ended_before=time.time() - 60) == []
    assert ledger.row(Path("/in/other")) is None


def test_what_is_struck_out_is_forgotten_unless_it_is_run(ledger: Ledger) -> None:
    enter(ledger, "a")
    entry = claimed(ledger)
    assert not ledger.strike(entry.source)
    done(ledger, entry)
    assert ledger.strike(entry.source)
    assert ledger.row(entry.source) is None
    assert enter(ledger, "a")  # as one that was never there
