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
import os
import platform
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from longexposure.enhance.naming import name_key
from longexposure.errors import InputError, OutputError

VERSION = 1
"""Of the tables; a ledger of another is left alone."""

APPLICATION = 0x6C787067
"""SQLite's mark of a ledger of ours ("lxpg")."""

LEASE_S = 60.0
"""A worker that was not heard of for so long is taken for dead."""

BUSY_S = 30.0
"""How long is waited for others that write."""

DEFERRED_AFTER = 3
"""A job that so many workers died at waits until no other does."""

SHARED = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afpfs", "fuse.sshfs", "ceph", "glusterfs", "lustre")
"""File systems of networks, on which SQLite's log ahead (WAL), which wants shared memory, does not work."""

SCHEMA = """
CREATE TABLE workers (
    name TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, began_at REAL NOT NULL,
    queue TEXT NOT NULL, settings TEXT NOT NULL, heard_at REAL NOT NULL
);
CREATE TABLE settings (sha256 TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL, source TEXT NOT NULL, stamp TEXT NOT NULL, source_sha256 TEXT NOT NULL,
    settings TEXT NOT NULL REFERENCES settings, target TEXT NOT NULL, target_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    worker TEXT, deaths INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    arrived_at REAL NOT NULL, began_at REAL, ended_at REAL, output_sha256 TEXT, error TEXT
);
CREATE INDEX of_source ON jobs (queue, source, number);
CREATE INDEX of_target ON jobs (target_key);
CREATE INDEX open_jobs ON jobs (queue, state, number) WHERE state IN ('waiting', 'running');
"""


@dataclass(frozen=True)
class Entry:
    """A job as a worker has claimed it.

    Attributes:
        number: counts in order of arrival.
        source: the file.
        stamp: state of the file as it was when it was hashed, see `arrivals.stamp_of`.
        source_sha256: SHA-256 of its content; "" where it could not be read.
        target: where its enhanced file belongs.
        arrived_at: when it was entered, in seconds since 1970.
        deaths: how many workers died at it.
        tries: how often it was given back because of itself, see `Ledger.give_back`.
    """

    number: int
    source: Path
    stamp: str
    source_sha256: str
    target: Path
    arrived_at: float
    deaths: int
    tries: int


@dataclass(frozen=True)
class Worker:
    """A process that shares the ledger."""

    name: str
    host: str
    pid: int


class Ledger:
    """One worker's view of a ledger; its methods may be called from several threads.

    Each raises an OutputError while the ledger cannot be read or written (a full disk, a share that is gone),
    after which it may be called again.

    Args:
        path: the file, made where it is missing, in a folder that is there.
        queue: whose jobs this worker enters and claims.
        settings: what it makes of them, ready for JSON.
        lease_s: see `LEASE_S`; equal for all who share a ledger.

    Raises:
        InputError: the file is damaged, none of ours, or a ledger of another version (`OtherVersionError`).
        OutputError: it cannot be made or written.
    """

    def __init__(
        self, path: Path, *, queue: str, settings: Mapping[str, Any], lease_s: float = LEASE_S
    ) -> None:
        self.path, self.queue = path, queue
        self._settings = json.dumps(settings, sort_keys=True)
        self.settings = hashlib.sha256(self._settings.encode()).hexdigest()
        self._lease_s = lease_s
        self.worker = Worker(f"{_host()}:{os.getpid()}:{secrets.token_hex(4)}", _host(), os.getpid())
        self._began_at = time.time()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._file: tuple[int, int] | None = None
        self._connection = self._opened()
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
        with contextlib.suppress(OutputError, InputError), self._transaction() as run:
            _free(run, self.worker.name, deaths=0)
            run("DELETE FROM workers WHERE name = ?", (self.worker.name,))
        self._connection.close()

    def is_there(self) -> bool:
        """Whether the file that was opened is still the one of that name."""
        try:
            facts = self.path.stat()
        except OSError:
            return False
        return self._file == (facts.st_dev, facts.st_ino)

    def open_again(self) -> None:
        """Open the file of that name, which is another one or a new one now; raises what opening raises."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = self._opened()

    def others(self) -> list[Worker]:
        """Living workers of the same queue that make something else of its jobs."""
        with self._transaction() as run:
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
        with self._transaction() as run:
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
        with self._transaction() as run:
            rows = run(
                "SELECT source, stamp, MAX(number), state, settings FROM jobs "
                "WHERE queue = ? GROUP BY source",
                (self.queue,),
            )
            return {row[0]: row[1] for row in rows if row[3] != "failed" or row[4] == self.settings}

    def claim(self) -> Entry | None:
        """The job that waits longest, for this worker alone; None where none waits.

        Jobs of dead workers wait again. Those that `DEFERRED_AFTER` workers died at come last.
        """
        with self._lock:
            if not self._anything_open():
                return None
        with self._transaction() as run:
            self._bury(run)
            row = run(
                "SELECT number, source, stamp, source_sha256, target, arrived_at, deaths, tries FROM jobs "
                "WHERE queue = ? AND state = 'waiting' AND source NOT IN "
                "(SELECT source FROM jobs WHERE queue = ? AND state = 'running') "
                "ORDER BY deaths >= ?, number LIMIT 1",
                (self.queue, self.queue, DEFERRED_AFTER),
            ).fetchone()
            if row is None:
                return None
            run(
                "UPDATE jobs SET state = 'running', worker = ?, settings = ?, began_at = ? WHERE number = ?",
                (self.worker.name, self.settings, time.time(), row[0]),
            )
            return Entry(row[0], Path(row[1]), row[2], row[3], Path(row[4]), *row[5:])

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

    def give_back(self, entry: Entry, *, its_fault: bool = False) -> None:
        """Let a job wait again, at its place; `its_fault` is counted in its `tries`."""
        with self._transaction() as run:
            _free(run, self.worker.name, deaths=0, number=entry.number)
            if its_fault:
                run("UPDATE jobs SET tries = tries + 1 WHERE number = ?", (entry.number,))

    def withdraw(self, entry: Entry) -> None:
        """Strike a job out: its file is not there any more, or becomes another one."""
        with self._transaction() as run:
            run("DELETE FROM jobs WHERE number = ? AND worker = ?", (entry.number, self.worker.name))

    def made_before(self, entry: Entry) -> str | None:
        """SHA-256 of the enhanced file that was made of an earlier content of the same source."""
        with self._transaction() as run:
            row = run(
                "SELECT output_sha256 FROM jobs WHERE queue = ? AND source = ? AND target = ? "
                "AND state = 'done' AND source_sha256 != ? ORDER BY number DESC LIMIT 1",
                (self.queue, str(entry.source), str(entry.target), entry.source_sha256),
            ).fetchone()
            return None if row is None else row[0]

    def counts(self) -> dict[str, int]:
        """Jobs of the queue by state."""
        with self._transaction() as run:
            rows = run("SELECT state, COUNT(*) FROM jobs WHERE queue = ? GROUP BY state", (self.queue,))
            return dict(rows.fetchall())

    def _end(
        self, entry: Entry, state: str, *, source_sha256: str, output_sha256: str = "", error: str = ""
    ) -> bool:
        with self._transaction() as run:
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

    def _anything_open(self) -> bool:
        """Whether a job waits or is run by whomever; asks without keeping others from writing."""
        with self._failures_told():
            row = self._connection.execute(
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
            if silent or (host == self.worker.host and not _runs(pid)):
                _free(run, name, deaths=1)
                run("DELETE FROM workers WHERE name = ?", (name,))

    def _sign_on(self, run: Run) -> None:
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
            with contextlib.suppress(OutputError, InputError), self._transaction() as run:
                now = (time.time(), self.worker.name)
                if run("UPDATE workers SET heard_at = ? WHERE name = ?", now).rowcount == 0:
                    self._sign_on(run)

    def _opened(self) -> sqlite3.Connection:
        with self._failures_told():
            connection = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._failures_told():
                _checked(connection, self.path)
                mode = "DELETE" if _is_shared(self.path) else "WAL"
                connection.execute(f"PRAGMA journal_mode = {mode}")
                connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is found again
                facts = self.path.stat()
                self._file = facts.st_dev, facts.st_ino
                self._connection = connection
                with self._transaction() as run:
                    _checked(connection, self.path)  # another may have made the tables meanwhile
                    if run("PRAGMA user_version").fetchone()[0] == 0:
                        for statement in SCHEMA.split(";")[:-1]:
                            run(statement)
                        run(f"PRAGMA application_id = {APPLICATION}")
                        run(f"PRAGMA user_version = {VERSION}")
                    self._sign_on(run)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Run]:
        """One change, whole or not at all, while no other worker writes."""
        with self._lock, self._failures_told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError) as error:
            raise OutputError(
                where=str(self.path),
                expected="a ledger that can be read and written",
                found=str(error),
                advice="make room, mount the share or correct the permissions",
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                where=str(self.path),
                expected="a ledger",
                found=f"a damaged or foreign file ({error})",
                advice="move it away: a new one is begun, and enhanced files themselves tell what is done",
            ) from error


Run = Callable[..., sqlite3.Cursor]
"""Runs a statement within a transaction."""


class OtherVersionError(InputError):
    """A ledger that another version of this package wrote."""


def _checked(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is neither empty nor a ledger of this version (raises InputError)."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if mark == APPLICATION and version != VERSION:
        raise OtherVersionError(
            where=str(path),
            expected=f"a ledger of version {VERSION}",
            found=f"one of version {version}",
            advice="use the longexposure that wrote it, or name another ledger",
        )
    if mark != APPLICATION and (mark or version or tables):
        raise InputError(
            where=str(path),
            expected="a ledger of longexposure, or no file",
            found="another program's data base",
            advice="name another file",
        )


def _free(run: Run, name: str, *, deaths: int, number: int | None = None) -> None:
    """Let a worker's running jobs wait again, or one of them."""
    run(
        "UPDATE jobs SET state = 'waiting', worker = NULL, began_at = NULL, deaths = deaths + ? "
        "WHERE state = 'running' AND worker = ? AND number = COALESCE(?, number)",
        (deaths, name, number),
    )


def _host() -> str:
    """This host's name; with it, on Linux, the space in which its numbers of processes count (containers)."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{platform.node()}{space.removeprefix('pid:')}"


def _runs(pid: int) -> bool:
    """Whether a process has that number; where it is another one by now, the lease tells."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _is_shared(path: Path) -> bool:
    """Whether a file lies on another host's file system."""
    there = os.path.realpath(path)
    with contextlib.suppress(OSError, RuntimeError):
        mounts = [each for each in psutil.disk_partitions(all=True) if _below(there, each.mountpoint)]
        if mounts:
            return max(mounts, key=lambda each: len(each.mountpoint)).fstype in SHARED
    return False


def _below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
