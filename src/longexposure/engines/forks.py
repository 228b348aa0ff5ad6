"""Forked processes: a child has its parent's engines without their threads, and waits for them for ever."""

from __future__ import annotations

import os

from longexposure.errors import ResourceError

_BEGUN: dict[str, int] = {}
"""The process in which each engine was used first."""


def check_not_forked(engine: str) -> None:
    """Note that an engine is used; refuse one that a parent process has used before it forked.

    Processes that were spawned, or forked before the first use, have engines of their own.

    Raises:
        ResourceError: the engine's threads stayed in the parent.
    """
    here = os.getpid()
    if _BEGUN.setdefault(engine, here) != here:
        raise ResourceError(
            where=f"engine {engine} in process {here}",
            expected=f"a process that was spawned, or forked before {engine} was used",
            found=f"one forked from process {_BEGUN[engine]}, whose threads stayed there",
            advice='start workers with multiprocessing.get_context("spawn") or "forkserver", or load the '
            "model in the workers alone",
        )
