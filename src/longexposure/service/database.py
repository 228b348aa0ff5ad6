"""The file of a ledger: made whole, opened only where it is one, asked again while others keep it locked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psutil

from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.io.checks import reason_of
from longexposure.io.writing import temporary_in
from longexposure.service.places import identity_of

VERSION = 1
"""Of the tables; a ledger of another is left alone."""

APPLICATION = 0x6C787067
"""SQLite's mark of a ledger of ours ("lxpg")."""

BUSY_S = 30.0
"""How long is waited for others that write."""

STEP_S = 0.1
"""How often is looked meanwhile whether to end."""

LAST_S = 1.0
"""How long is waited for them when it is to end."""

SHARED = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afpfs", "fuse.sshfs", "ceph", "glusterfs", "lustre")
"""File systems of networks, on which SQLite's log ahead (WAL), which wants shared memory, does not work."""

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
PASSING = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL),
    *(sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOLFS),
)
"""What SQLite says where the file is not to blame."""

HEAD = b"SQLite format 3\0"
"""How a data base of SQLite begins; 4 bytes at 60 are the version of its tables, 4 at 68 its mark."""

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

Value = TypeVar("Value")
Run = Callable[..., sqlite3.Cursor]
"""Runs a statement within a transaction."""


class DamagedLedgerError(InputError):
    """A ledger that is damaged, or no ledger; nothing can be done with it."""


class OtherVersionError(InputError):
    """A ledger that another version of this package wrote."""


class Database:
    """A ledger's file, for several threads and beside other processes.

    Args:
        path: the file, made where it is missing, in a folder that is there.
        stopped: whether the service is to end, so that others are not waited for any longer.

    Raises:
        DamagedLedgerError, OtherVersionError: it is no ledger, or one of another version; it stays as it is.
        OutputError: it cannot be made, read or written.
    """

    def __init__(self, path: Path, *, stopped: Callable[[], bool] = lambda: False) -> None:
        self.path, self._stopped = path, stopped
        self._lock = threading.RLock()
        self._file: tuple[int, int] | None = None
        self._connection = self._opened()

    def is_there(self) -> bool:
        """Whether the file that was opened is still the one of that name."""
        return self._file is not None and identity_of(self.path) == self._file

    def open_again(self) -> None:
        """Open the file of that name, which is another one or a new one now; raises what opening raises."""
        with self._lock:
            opened = self._opened()
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = opened

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Run]:
        """Ask without keeping others from writing."""
        with self._lock, self._failures_told():
            yield self._run

    @contextlib.contextmanager
    def writing(self) -> Iterator[Run]:
        """One change, whole or not at all, while nobody else writes."""
        with self._lock, self._failures_told():
            self._run("BEGIN IMMEDIATE")
            try:
                yield self._run
                self._run("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._unlocked(lambda: self._connection.execute(statement, values))

    def _unlocked(self, ask: Callable[[], Value]) -> Value:
        """Ask again while others keep the file locked, but not for ever."""
        began = time.monotonic()
        while True:
            try:
                return ask()
            except sqlite3.OperationalError as error:
                waited_s = time.monotonic() - began
                if _code_of(error) not in LOCKED or waited_s > (LAST_S if self._stopped() else BUSY_S):
                    raise
                time.sleep(0.01)  # SQLite itself has waited for a step

    def _opened(self) -> sqlite3.Connection:
        with self._failures_told():
            if not os.path.lexists(self.path):
                _make(self.path)
            _check_head(self.path)
            address = f"file:{quote(os.fsencode(self.path))}?mode=rw"  # which never makes one
            connection = sqlite3.connect(
                address, uri=True, timeout=STEP_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._failures_told():
                self._unlocked(lambda: _check_tables(connection, self.path))
                mode = "DELETE" if _is_shared(self.path) else "WAL"
                self._unlocked(lambda: connection.execute(f"PRAGMA journal_mode = {mode}"))
                connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is found again
                self._file = identity_of(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _told(error, self.path) from error


def _make(path: Path) -> None:
    """Make an empty ledger, whole from its first moment, so that an empty file is never one of ours."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in SCHEMA.split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        content = connection.serialize()
    temporary = temporary_in(path.parent)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike renaming, it replaces none that another made meanwhile
        except FileExistsError:
            return
        except OSError:  # a file system without second names
            if not os.path.lexists(path):
                temporary.rename(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_head(path: Path) -> None:
    """Refuse what is no ledger before SQLite touches it (raises DamagedLedgerError, OtherVersionError)."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _none_of_ours(path, "a folder" if path.is_dir() else "a device or pipe")
    with path.open("rb") as file:
        head = file.read(100)
    if not head.startswith(HEAD) or len(head) < 100:
        raise _none_of_ours(path, "another file" if head else "an empty file")
    mark, version = int.from_bytes(head[68:72], "big"), int.from_bytes(head[60:64], "big")
    if mark or not os.path.exists(f"{path}-wal"):  # noqa: PTH110 (in which mark and version may be still)
        _check_marks(path, mark, version)


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """The same, of the data base as SQLite sees it, with what stands in its log ahead."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    _check_marks(path, mark, connection.execute("PRAGMA user_version").fetchone()[0])
    for table in ("workers", "settings", "jobs"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 (our own names)


def _check_marks(path: Path, mark: int, version: int) -> None:
    if mark != APPLICATION:
        raise _none_of_ours(path, "another program's data base")
    if version != VERSION:
        raise OtherVersionError(
            where=str(path),
            expected=f"a ledger of version {VERSION}",
            found=f"one of version {version}",
            advice="use the longexposure that wrote it, or name another ledger",
        )


def _none_of_ours(path: Path, found: str) -> DamagedLedgerError:
    return DamagedLedgerError(
        where=str(path),
        expected="a ledger of longexposure, or no file",
        found=found,
        advice="name another --ledger, or move that one away",
    )


def _told(error: sqlite3.Error | OSError, path: Path) -> LongExposureError:
    """What is said of a ledger that cannot be used."""
    expected, found = "a ledger that can be read and written", reason_of(error)
    advice = "make its folder, mount the share, make room or correct the permissions"
    code = _code_of(error)
    if code in LOCKED:
        found = "it locked by another program"
        advice = "end what keeps it locked: an SQLite tool, a backup, a share that does not let go"
    elif not isinstance(error, OSError | sqlite3.ProgrammingError) and code not in PASSING:
        return DamagedLedgerError(
            where=str(path),
            expected="a ledger",
            found=f"a damaged one ({found})",
            advice=f"move it away, with {path.name}-wal and -shm where they are there: a new one is begun, "
            "and enhanced files themselves tell what is done",
        )
    return OutputError(where=str(path), expected=expected, found=found, advice=advice)


def _code_of(error: BaseException) -> int | None:
    """SQLite's number, without what it adds for details."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


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
