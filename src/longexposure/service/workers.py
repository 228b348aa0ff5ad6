"""Processes that share a ledger, and whether they still run."""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Worker:
    """A process that shares a ledger.

    Attributes:
        name: no other has it.
        host: the host's name; with it, on Linux, the space in which its numbers of processes count
            (containers).
        pid: number of the process there.
    """

    name: str
    host: str
    pid: int

    @classmethod
    def new(cls) -> Worker:
        """This process, once more."""
        return cls(f"{_host()}:{os.getpid()}:{secrets.token_hex(4)}", _host(), os.getpid())

    def is_gone(self) -> bool:
        """Whether it is of this host, and no process has its number; where another has, the lease tells."""
        if self.host != _host():
            return False
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def _host() -> str:
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{platform.node()}{space.removeprefix('pid:')}"
