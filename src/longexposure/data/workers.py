"""Worker processes that prepare training data."""

from __future__ import annotations

import signal

import torch


def start_worker(_: int) -> None:
    """One thread a worker; signals reach the whole group, and the parent alone decides when to stop."""
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
