"""What waits until its trouble may be over: a file, the files of a folder, or everything."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass

FIRST_WAIT_S = 1.0
"""Before the second try; each wait is twice the one before."""

FORGOTTEN_S = 3600.0
"""So long after a try was due and not made, another watcher has made it."""


@dataclass
class _Hold:
    reason: Hashable
    wait_s: float
    due: float


class Holds:
    """What is held back, for how long, and why; each further try comes later than the one before.

    Args:
        for_good: hold as long as this lives, as whoever tries each file once does.
    """

    def __init__(self, *, for_good: bool = False) -> None:
        self._for_good = for_good
        self._holds: dict[Hashable, _Hold] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def put(self, key: Hashable, reason: Hashable, *, longest_s: float) -> bool:
        """Hold something back after a failure.

        Args:
            key: what.
            reason: why; the same for all that one fault concerns.
            longest_s: that is waited for.

        Returns:
            Whether nothing was held for that reason before.
        """
        now = time.monotonic()
        for old in [each for each, hold in self._holds.items() if hold.due + FORGOTTEN_S < now]:
            del self._holds[old]
        new = all(hold.reason != reason for hold in self._holds.values())
        before = self._holds.get(key)
        if before is None or before.due <= now:
            wait_s = min(FIRST_WAIT_S if before is None else 2 * before.wait_s, longest_s)
            self._holds[key] = _Hold(reason, wait_s, math.inf if self._for_good else now + wait_s)
        return new

    def release(self, key: Hashable) -> bool:
        """Hold something back no longer; whether it was (also where its time was over)."""
        return self._holds.pop(key, None) is not None

    def holds(self, key: Hashable) -> bool:
        """Whether something is to wait still."""
        hold = self._holds.get(key)
        return hold is not None and time.monotonic() < hold.due

    def turn(self, *keys: Hashable) -> int | None:
        """0 for what never failed, 1 for what is to be tried again, None for what is to wait still."""
        if any(self.holds(key) for key in keys):
            return None
        return int(any(key in self._holds for key in keys))
