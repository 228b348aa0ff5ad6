"""A ledger of jobs in SQLite: what came, who is at it, what became of it.

Several processes share one ledger. Each job is claimed by one worker at a time, in order of arrival. A worker
that is dead (on the same host its process is gone, on another it has not been heard of for a lease) loses its
jobs to the others. So a job is begun at least once and ended once, whatever is killed when.

A job is told by its source, the SHA-256 of its content and the settings that it is to be made with. Jobs are
kept apart in queues: for a hot folder, one for each pair of folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longexposure.enhance.naming import name_key
from longexposure.errors import InputError, OutputError
from longexposure.service.database import Database, Run
from longexposure.service.workers import Worker

LEASE_S = 60.0
"""A worker that was not heard of for so long is taken for dead."""

DEFERRED_AFTER = 3
"""A job that so many workers died at waits until no other does."""

LATEST = "number IN (SELECT MAX(number) FROM jobs WHERE queue = ? GROUP BY source)"
"""Of the jobs of each source the last, which tells what became of it."""


@dataclass(frozen=True)
class Entry:
    """A job as a worker has claimed it.

    Attributes:
        number: counts in order of arrival.
        source: the file.
        stamp: state of the file as it was when it was hashed, see `settling.stamp_of`.
        source_sha256: SHA-256 of its content; "" where it could not be read.
        target: where its enhanced file belongs.
        arrived_at: when it was entered, in seconds since 1970.
        deaths: how many workers died at it.
    """

    number: int
    source: Path
    stamp: str
    source_sha256: str
    target: Path
    arrived_at: float
    deaths: int


@dataclass(frozen=True)
class Row:
    """What a ledger says of a source: its latest job.

    Attributes:
        number: counts in order of arrival.
        source: the file.
        target: where its enhanced file belongs.
        state: waiting, running, done or failed.
        source_sha256: of its content.
        output_sha256: of the enhanced file, None before.
        error: why it failed, or why it could not be done so far.
        arrived_at: when it was entered, in seconds since 1970.
        began_at: when it was claimed last, None before.
        ended_at: when it was done or failed, None before.
    """

    number: int
    source: Path
    target: Path
    state: str
    source_sha256: str
    output_sha256: str | None
    error: str | None
    arrived_at: float
    began_at: float | None
    ended_at: float | None


ROW = (
    "number, source, target, state, source_sha256, output_sha256, error, arrived_at, began_at, ended_at "
    "FROM jobs WHERE queue = ? "
)


class Ledger:
    """One worker's view of a ledger; its methods may be called from several threads.

    Each raises an OutputError while the ledger cannot be read or written (a full disk, a share that is gone,
    another program that keeps it locked), after which it may be called again; a `DamagedLedgerError` where
    nothing can be done with it any more.

    Args:
        path: the file, made where it is missing, in a folder that is there.
        queue: whose jobs this worker enters and claims.
        settings: what it makes of them, ready for JSON.
        lease_s: see `LEASE_S`; equal for all who share a ledger.
        stopped: whether the service is to end, so that a lock is not waited for any longer.

    Raises:
        DamagedLedgerError, OtherVersionError, OutputError: see `longexposure.service.database.Database`.
    """

    def __init__(
        self,
        path: Path,
        *,
        queue: str,
        settings: Mapping[str, Any],
        lease_s: float = LEASE_S,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path, self.queue = path, queue
        self._settings = json.dumps(settings, sort_keys=True)
        self.settings = hashlib.sha256(self._settings.encode()).hexdigest()
        self._lease_s = lease_s
        self.worker = Worker.new()
        self._began_at = time.time()
        self._closed = threading.Event()
        self._database = Database(path, stopped=lambda: stopped() or self._closed.is_set())
        self._sign_on()
        self._heart = threading.Thread(target=self._beat, name="longexposure-heart", daemon=True)
        self._heart.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sign off: what this worker has claimed and not ended waits again."""
        self._closed.set()
        self._heart.join()
        with contextlib.suppress(OutputError, InputError), self._database.writing() as run:
            _free(run, self.worker.name, deaths=0)
            run("DELETE FROM workers WHERE name = ?", (self.worker.name,))
        self._database.close()

    def is_there(self) -> bool:
        """Whether the file that was opened is still the one of that name."""
        return self._database.is_there()

    def open_again(self) -> None:
        """Open the file of that name, which is another one or a new one now; raises what opening raises."""
        self._database.open_again()
        self._sign_on()

    def others(self) -> list[Worker]:
        """Living workers of the same queue that make something else of its jobs."""
        with self._database.writing() as run:
            self._bury(run)
            rows = run(
                "SELECT name, host, pid FROM workers WHERE queue = ? AND settings != ? AND name != ?",
                (self.queue, self.settings, self.worker.name),
            )
            return [Worker(*row) for row in rows]

    def enter(
        self, source: Path, stamp: str, source_sha256: str, targets: Callable[[], Iterable[Path]]
    ) -> bool:
        """Enter a file, unless its content is that of the source's latest job.

        What is done is known whatever settings made it, what failed only under the same settings.

        Args:
            source: absolute path.
            stamp: state of the file.
            source_sha256: of its content, "" where it cannot be read.
            targets: where its enhanced file may go, the first that is no other source's; a source that has
                one keeps it.

        Returns:
            Whether there is a new job.
        """
        with self._database.writing() as run:
            latest = run(
                "SELECT number, source_sha256, state, settings, target FROM jobs "
                "WHERE queue = ? AND source = ? ORDER BY number DESC LIMIT 1",
                (self.queue, str(source)),
            ).fetchone()
            if latest is not None:
                number, sha256, state, settings, _ = latest
                if sha256 == source_sha256 and (state != "failed" or settings == self.settings):
                    run("UPDATE jobs SET stamp = ? WHERE number = ?", (stamp, number))
                    return False
                if state == "waiting":  # of a content that is gone
                    run("DELETE FROM jobs WHERE number = ?", (number,))
            target = Path(latest[4]) if latest else self._free_target(run, source, targets())
            run(
                "INSERT INTO jobs (queue, source, stamp, source_sha256, settings, target, target_key, state, "
                "arrived_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?)",
                (
                    *(self.queue, str(source), stamp, source_sha256, self.settings),
                    *(str(target), name_key(target), time.time()),
                ),
            )
            return True

    def stamps(self) -> dict[str, str]:
        """Source and state of all files that need not be looked at again as long as that is their state."""
        with self._database.reading() as run:
            rows = run(
                "SELECT source, stamp FROM jobs WHERE (state != 'failed' OR settings = ?) AND "  # noqa: S608
                + LATEST,
                (self.settings, self.queue),
            )
            return dict(rows.fetchall())

    def claim(self, turn: Callable[[int, Path], int | None] = lambda number, target: 0) -> Entry | None:
        """The job that waits longest, for this worker alone; None where none waits.

        Jobs of dead workers wait again. Those that `DEFERRED_AFTER` workers died at come last.

        Args:
            turn: told a job's number and target, says when it may be claimed: 0 now, a higher number where
                there is none of a lower one, None not yet.
        """
        if not self._is_any_open():
            return None
        with self._database.writing() as run:
            self._bury(run)
            rows = run(
                "SELECT number, source, stamp, source_sha256, target, arrived_at, deaths FROM jobs "
                "WHERE queue = ? AND state = 'waiting' AND source NOT IN "
                "(SELECT source FROM jobs WHERE queue = ? AND state = 'running') "
                "ORDER BY deaths >= ?, number",
                (self.queue, self.queue, DEFERRED_AFTER),
            )
            chosen, best = None, math.inf
            for row in rows:
                rank = turn(row[0], Path(row[4]))
                if rank is not None and rank < best:
                    chosen, best = row, rank
                if best == 0:
                    break
            if chosen is None:
                return None
            run(
                "UPDATE jobs SET state = 'running', worker = ?, settings = ?, began_at = ? WHERE number = ?",
                (self.worker.name, self.settings, time.time(), chosen[0]),
            )
            return Entry(chosen[0], Path(chosen[1]), chosen[2], chosen[3], Path(chosen[4]), *chosen[5:])

    def finish(self, entry: Entry, *, source_sha256: str, output_sha256: str) -> bool:
        """Enter that a job is done.

        Args:
            entry: the job.
            source_sha256: of what was enhanced, which the file may have become since it was entered.
            output_sha256: of the enhanced file.

        Returns:
            False where the job is another worker's by now, and nothing was entered.
        """
        return self._end(entry, "done", source_sha256=source_sha256, output_sha256=output_sha256)

    def fail(self, entry: Entry, error: str) -> bool:
        """Enter that a job cannot be done; False as `finish`."""
        return self._end(entry, "failed", source_sha256=entry.source_sha256, error=error)

    def give_back(self, entry: Entry, error: str = "") -> None:
        """Let a job wait again, at its place; `error` says why it could not be done, where it was tried."""
        with self._database.writing() as run:
            _free(run, self.worker.name, deaths=0, number=entry.number)
            if error:
                run("UPDATE jobs SET tries = tries + 1, error = ? WHERE number = ?", (error, entry.number))

    def try_failed_again(self) -> int:
        """Let what failed wait again, at its place; how many jobs that are."""
        with self._database.writing() as run:
            again = run(
                "UPDATE jobs SET state = 'waiting', worker = NULL, deaths = 0, error = NULL "  # noqa: S608
                "WHERE state = 'failed' AND " + LATEST,
                (self.queue,),
            )
            return again.rowcount

    def withdraw(self, entry: Entry) -> None:
        """Strike a job out: its file is not there any more, or becomes another one."""
        with self._database.writing() as run:
            run("DELETE FROM jobs WHERE number = ? AND worker = ?", (entry.number, self.worker.name))

    def made_before(self, entry: Entry) -> str | None:
        """SHA-256 of the enhanced file that was made of an earlier content of the same source."""
        with self._database.reading() as run:
            row = run(
                "SELECT output_sha256 FROM jobs WHERE queue = ? AND source = ? AND target = ? "
                "AND state = 'done' AND source_sha256 != ? ORDER BY number DESC LIMIT 1",
                (self.queue, str(entry.source), str(entry.target), entry.source_sha256),
            ).fetchone()
            return None if row is None else row[0]

    def counts(self) -> dict[str, int]:
        """Jobs of the queue by state."""
        with self._database.reading() as run:
            rows = run("SELECT state, COUNT(*) FROM jobs WHERE queue = ? GROUP BY state", (self.queue,))
            return dict(rows.fetchall())

    def open_jobs(self) -> int:
        """How many jobs of the queue wait or run."""
        with self._database.reading() as run:
            rows = run(
                "SELECT COUNT(*) FROM jobs WHERE queue = ? AND state IN ('waiting', 'running')",
                (self.queue,),
            )
            return int(rows.fetchone()[0])

    def row(self, source: Path) -> Row | None:
        """The latest job of a source, None where there is none."""
        with self._database.reading() as run:
            found = run(
                f"SELECT {ROW} AND source = ? ORDER BY number DESC LIMIT 1",
                (self.queue, str(source)),
            ).fetchone()
            return None if found is None else _row(found)

    def rows(self, *, most: int, before: int | None = None, ended_before: float | None = None) -> list[Row]:
        """Jobs of the queue, the newest first.

        Args:
            most: how many at most.
            before: only those with a lower number.
            ended_before: only those that were done or failed before that time, in seconds since 1970.
        """
        asked, values = "", list[float]()
        if before is not None:
            asked, values = " AND number < ?", [before]
        if ended_before is not None:
            asked, values = f"{asked} AND ended_at < ?", [*values, ended_before]
        with self._database.reading() as run:
            rows = run(
                f"SELECT {ROW} {asked} ORDER BY number DESC LIMIT ?",
                (self.queue, *values, most),
            )
            return [_row(each) for each in rows.fetchall()]

    def strike(self, source: Path) -> bool:
        """Strike out all jobs of a source; False, and nothing is, while one of them is run."""
        with self._database.writing() as run:
            running = run(
                "SELECT 1 FROM jobs WHERE queue = ? AND source = ? AND state = 'running' LIMIT 1",
                (self.queue, str(source)),
            ).fetchone()
            if running is None:
                run("DELETE FROM jobs WHERE queue = ? AND source = ?", (self.queue, str(source)))
            return running is None

    def failed(self) -> list[Path]:
        """The files that cannot be enhanced as they are."""
        with self._database.reading() as run:
            failed = "SELECT source FROM jobs WHERE state = 'failed' AND " + LATEST  # noqa: S608 (our own)
            rows = run(failed, (self.queue,))
            return [Path(row[0]) for row in rows]

    def _end(
        self, entry: Entry, state: str, *, source_sha256: str, output_sha256: str = "", error: str = ""
    ) -> bool:
        with self._database.writing() as run:
            ended = run(
                "UPDATE jobs SET state = ?, source_sha256 = ?, output_sha256 = ?, error = ?, ended_at = ? "
                "WHERE number = ? AND state = 'running' AND worker = ?",
                (
                    *(state, source_sha256, output_sha256 or None, error or None, time.time()),
                    *(entry.number, self.worker.name),
                ),
            )
            return ended.rowcount == 1

    def _free_target(self, run: Run, source: Path, targets: Iterable[Path]) -> Path:
        for target in targets:
            taken = run(
                "SELECT 1 FROM jobs WHERE target_key = ? AND source != ? LIMIT 1",
                (name_key(target), str(source)),
            ).fetchone()
            if taken is None:
                return target
        raise ValueError("no end of names was promised")

    def _is_any_open(self) -> bool:
        """Whether a job waits or is run by whomever."""
        with self._database.reading() as run:
            row = run(
                "SELECT 1 FROM jobs WHERE queue = ? AND state IN ('waiting', 'running') "
                "AND (worker IS NULL OR worker != ?) LIMIT 1",
                (self.queue, self.worker.name),
            ).fetchone()
            return row is not None

    def _bury(self, run: Run) -> None:
        """Let the jobs of dead workers wait again."""
        for name, host, pid, heard_at in run(
            "SELECT name, host, pid, heard_at FROM workers WHERE name != ?", (self.worker.name,)
        ).fetchall():
            silent = time.time() - heard_at > self._lease_s
            if silent or Worker(name, host, pid).is_gone():
                _free(run, name, deaths=1)
                run("DELETE FROM workers WHERE name = ?", (name,))

    def _sign_on(self) -> None:
        with self._database.writing() as run:
            run("INSERT OR IGNORE INTO settings VALUES (?, ?)", (self.settings, self._settings))
            run(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(self.worker.name, self.worker.host, self.worker.pid, self._began_at),
                    *(self.queue, self.settings, time.time()),
                ),
            )

    def _beat(self) -> None:
        """Be heard of until this is closed; who was taken for dead meanwhile signs on again."""
        while not self._closed.wait(self._lease_s / 4):
            with contextlib.suppress(OutputError, InputError):
                now = (time.time(), self.worker.name)
                with self._database.writing() as run:
                    known = run("UPDATE workers SET heard_at = ? WHERE name = ?", now).rowcount
                if not known:
                    self._sign_on()


def _row(values: tuple[Any, ...]) -> Row:
    number, source, target, *rest = values
    return Row(number, Path(source), Path(target), *rest)


def _free(run: Run, name: str, *, deaths: int, number: int | None = None) -> None:
    """Let a worker's running jobs wait again, or one of them."""
    run(
        "UPDATE jobs SET state = 'waiting', worker = NULL, began_at = NULL, deaths = deaths + ? "
        "WHERE state = 'running' AND worker = ? AND number = COALESCE(?, number)",
        (deaths, name, number),
    )
