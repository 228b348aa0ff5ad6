"""Connections that are not kept open for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def connections(first_s: float) -> type[asyncio.Protocol]:
    """What uvicorn speaks HTTP with: a connection without a request after so many seconds is closed."""

    class Impatient(H11Protocol):
        """HTTP/1.1, whose first request must come in time; those after it have uvicorn's own limit."""

        def connection_made(self, transport: Any) -> None:
            """Begin to wait."""
            super().connection_made(transport)
            self._patience = self.loop.call_later(first_s, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            """Wait no longer."""
            self._patience.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Impatient
