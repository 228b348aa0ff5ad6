"""Processes of one training on this machine: started together, ended together, one result.

The process that was called computes nothing. It starts the others, passes on what the first of them tells,
hands them a signal that it gets, and ends all where one of them ends early.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

import torch

from longexposure.errors import LongExposureError, ResourceError
from longexposure.train.signals import STOPS, Signals, obey
from longexposure.train.team import PartnerError, Team

Tell = Callable[[Any], None]
Work = Callable[[Team, Tell], None]
"""What each process does: which one of the team it is, and whom to tell; a module's own function."""

POLL_S = 0.2
GRACE_S = 30.0
"""How long processes may take to end by themselves after one of them has."""


def run_together(work: Work, *, size: int, tell: Tell) -> None:
    """Do a piece of work in several new processes and return when all have done it.

    SIGINT and SIGTERM are handed on; when all processes have ended, they take effect here. A second one ends
    all at once. If this process is killed, the others end as well.

    Args:
        work: can be pickled.
        size: number of processes.
        tell: gets here what the first process told there.

    Raises:
        LongExposureError: the one that a process raised.
        ResourceError: a process was killed.
        RuntimeError: a process failed unexpectedly; its traceback is a note.
        KeyboardInterrupt, SystemExit: a signal asked for it.
    """
    with tempfile.TemporaryDirectory(prefix="longexposure-") as folder, Signals() as signals:
        meeting = Path(folder) / "meeting"
        members: list[_Member] = []
        try:
            for rank in range(size):
                members.append(_Member(work, Team(rank, size, rank, meeting)))
            first = _follow(members, signals, tell)
        finally:
            for member in members:
                member.end()
    obey(signals.caught)
    if first is not None:
        _raise_cause(members, first)


class _Member:
    """One of the processes, as the one that started it sees it."""

    def __init__(self, work: Work, team: Team) -> None:
        context = get_context("spawn")
        self.team = team
        self.failure: BaseException | None = None
        self._receiver, sender = context.Pipe(duplex=False)
        threads = max(1, torch.get_num_threads() // team.size)
        self.process = context.Process(
            target=_take_part,
            args=(work, team, sender, threads),
            name=f"training {team.rank + 1} of {team.size}",
        )
        self.process.start()
        sender.close()
        self._open = True

    @property
    def waited_for(self) -> list[Any]:
        """What becomes ready when there is news."""
        return [*([self._receiver] if self._open else []), *([self.process.sentinel] if self.lives else [])]

    @property
    def lives(self) -> bool:
        return self.process.is_alive()

    @property
    def code(self) -> int | None:
        """Exit code; below 0 the signal that killed it, None while it lives."""
        return self.process.exitcode

    def news(self) -> Iterator[Any]:
        """What the process has told since the last time; a failure is kept instead."""
        while self._open and self._receiver.poll():
            try:
                told = self._receiver.recv()
            except (EOFError, OSError):
                self._open = False
                return
            if isinstance(told, BaseException):
                self.failure = told
            else:
                yield told

    def end(self) -> None:
        """End it at once where it still runs."""
        if self.lives:
            self.process.kill()
        self.process.join()
        self._receiver.close()
        self._open = False


def _follow(members: Sequence[_Member], signals: Signals, tell: Tell) -> _Member | None:
    """Pass news and signals on until all have ended, or one has early and the others take too long to.

    Returns:
        The first that ended early, if one did.
    """
    handed_on, first, deadline = False, None, float("inf")
    while time.monotonic() < deadline:
        alive = [member for member in members if member.lives]
        for member in members:
            for told in member.news():
                tell(told)
        if first is None and (early := [member for member in members if member.code]):
            first = min(early, key=lambda member: member.failure is not None)
            deadline = time.monotonic() + GRACE_S
        if not alive:
            break
        if signals.caught and not handed_on:
            handed_on = True
            for member in alive:
                member.process.terminate()
        wait([item for member in members for item in member.waited_for], timeout=POLL_S)
    return first


def _raise_cause(members: Sequence[_Member], first: _Member) -> NoReturn:
    """Raise what the end of all others follows from."""
    failures = [member.failure for member in members if member.failure is not None]
    for kind in (LongExposureError, RuntimeError):
        for failure in failures:
            if isinstance(failure, kind) and not isinstance(failure, PartnerError):
                raise failure
    codes = {member.code or 0 for member in members}
    for number in STOPS:  # someone stopped one of them, and all agreed to
        if 128 + number in codes:
            obey(number)
    raise first.failure or _ended(first)


def _ended(member: _Member) -> ResourceError:
    code = member.code or 0
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return ResourceError(
        where=f"process {member.team.rank + 1} of {member.team.size}",
        expected="a training that runs to its end",
        found=how,
        advice="if memory ran out, lower optimiser.batch or workers; go on from the last save with --resume",
    )


def _take_part(work: Work, team: Team, sender: Connection, threads: int) -> None:
    """What a new process does first and last. Ctrl-C reaches it too, but the one that started it decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _stay_on_this_machine()
    try:
        work(team, sender.send)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except LongExposureError as error:
        _send(sender, error)
        sys.exit(error.exit_code)
    except Exception as error:
        unexpected = RuntimeError(f"{type(error).__name__}: {error}")
        unexpected.add_note(traceback.format_exc())
        _send(sender, unexpected)
        sys.exit(1)


def _send(sender: Connection, failure: BaseException) -> None:
    with suppress(OSError):
        sender.send(failure)


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone, so that nothing goes on unseen."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _stay_on_this_machine() -> None:
    """Let Gloo use the loopback interface: no name needs to be resolved, no firewall opened."""
    names = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])
