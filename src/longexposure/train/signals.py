"""Signals that ask a training or a service to stop, held back until a step or a file is done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Holds SIGINT and SIGTERM back while it is entered; `caught` is the first of them, 0 before.

    Args:
        second_stops: whether a second one takes effect at once; not for a process that others depend on, and
            that another process can still end.
        hangup: whether SIGHUP, the end of the terminal, is one of them, where nobody has it ignored (nohup).
    """

    def __init__(self, *, second_stops: bool = True, hangup: bool = False) -> None:
        self.caught = 0
        self._numbers = list(STOPS)
        if hangup and hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._numbers.append(signal.SIGHUP)
        self._second_stops = second_stops
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._catch) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught and self._second_stops:
            raise_signal(self.caught)
        self.caught = self.caught or number


def raise_signal(number: int) -> None:
    """Raise what a caught signal asks for; 0 asks for nothing.

    Raises:
        KeyboardInterrupt: for SIGINT.
        SystemExit: for any other, with the code that shells give it (143 for SIGTERM).
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise SystemExit(128 + number)
