"""Who may upload: as many as there is room for; others are told when to come again."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from longexposure.service.http.limits import MEGA, RefusedError

RESERVE_BYTES = 200 * MEGA
"""Room on the disk that uploads leave."""

COPIES = 3
"""An upload, its enhanced file and a report take so many times its bytes."""

FIRST_GUESS_S = 2.0
"""Seconds an image is taken to need before one was measured."""

LONGEST_S = 600
"""Nobody is told to come later than that."""


class Admission:
    """Places for images that are uploaded, wait or run.

    Args:
        places: how many there are.
        most_bytes: of an upload.
        open_jobs: tells how many jobs wait or run, of all who share the ledger.
        free_bytes: tells the room on the disk.
    """

    def __init__(
        self,
        places: int,
        *,
        most_bytes: int,
        open_jobs: Callable[[], Awaitable[int]],
        free_bytes: Callable[[], int],
    ) -> None:
        self.places, self.uploads = places, 0
        self._most_bytes, self._open_jobs, self._free_bytes = most_bytes, open_jobs, free_bytes
        self._one_at_a_time = asyncio.Lock()
        self._seconds, self._ended_at = FIRST_GUESS_S, 0.0
        self._promised = 0.0

    @contextlib.asynccontextmanager
    async def place(self, declared: int | None) -> AsyncIterator[None]:
        """A place for one upload, asked for before a byte of it is read.

        Args:
            declared: bytes that the client announces, None where it does not.

        Raises:
            RefusedError: too large, no room on the disk, or no place free.
        """
        if declared is not None and declared > self._most_bytes:
            raise too_large(f"{declared} bytes", f"at most {self._most_bytes} bytes")
        async with self._one_at_a_time:
            needed = COPIES * (declared or self._most_bytes) * (self.uploads + 1) + RESERVE_BYTES
            if (free := self._free_bytes()) < needed:
                raise no_room(f"{free} free bytes on the disk of the server", self.retry_after())
            taken = self.uploads + await self._open_jobs()
            if taken >= self.places:
                raise RefusedError(
                    429,
                    where="queue",
                    expected=f"one of {self.places} places free",
                    found=f"{taken} taken",
                    advice="send the image again after the seconds that Retry-After says; nothing was kept",
                    retry_after=self.retry_after(),
                )
            self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    def ended(self) -> None:
        """Take note that an image is done, of which the pace is told."""
        now = time.monotonic()
        since = now - self._ended_at
        if self._ended_at and since < 60:  # it was not idle between
            self._seconds += 0.2 * (since - self._seconds)
        self._ended_at = now

    def retry_after(self) -> int:
        """Seconds after which there may be a place; each who asks is given the next one."""
        now = time.monotonic()
        self._promised = min(max(now, self._promised) + self._seconds, now + LONGEST_S)
        return max(1, math.ceil(self._promised - now))


def too_large(found: str, expected: str) -> RefusedError:
    """What is said of an image beyond the limits."""
    return RefusedError(
        413,
        where="image",
        expected=expected,
        found=found,
        advice="cut it into several files, or start the server with other limits (--max-mb, --max-mpx)",
    )


def no_room(found: str, retry_after: int | None) -> RefusedError:
    """What is said while the disk is full."""
    return RefusedError(
        507,
        where="data folder",
        expected="room for the image, its enhanced one and a report",
        found=found,
        advice="make room, or delete jobs that were fetched; nothing was kept",
        retry_after=retry_after,
    )
