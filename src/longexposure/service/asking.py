"""A ledger that may not answer at once: a full disk, a share that is gone, a program that keeps it locked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from longexposure.errors import OutputError
from longexposure.service.hot_folder import Telling
from longexposure.service.ledger import Ledger
from longexposure.service.places import Place
from longexposure.service.settling import Ended

LONGEST_WAIT_S = 15.0
"""Between two tries; the first comes after half a second."""

Value = TypeVar("Value")


class Asking:
    """Asks a ledger until it answers.

    Args:
        ledger: the ledger.
        out: the folder without which it is not opened again.
        telling: takes what is to be said.
        stopped: whether the service is to end.
        once: whether nothing is waited for.
    """

    def __init__(
        self, ledger: Ledger, out: Place, telling: Telling, *, stopped: Callable[[], bool], once: bool
    ) -> None:
        self.ledger = ledger
        self._out, self._telling, self._stopped, self._once = out, telling, stopped, once

    def __call__(self, ask: Callable[[Ledger], Value], *, at_the_end: bool = False) -> Value:
        """Ask, again and again while there is no answer.

        Args:
            ask: what is asked.
            at_the_end: whether it is asked even when the service is to end.

        Raises:
            Ended: the service is to end.
            OutputError: there is no answer, and nothing is waited for.
            DamagedLedgerError: there never will be one.
        """
        wait_s = 0.0
        while at_the_end or not self._stopped():
            try:
                answer = ask(self.ledger)
            except OutputError as error:
                if self._stopped():
                    text = f"{error}; the next start finds out by itself what is done"
                    self._telling.say("warning", text)
                    raise Ended from error
                if self._once:
                    raise
                if not wait_s:
                    self._telling.say("waiting", f"{error}; waiting, nothing is lost")
                wait_s = min(max(2 * wait_s, 0.5), LONGEST_WAIT_S)
                self._sleep(wait_s)
                if not self.ledger.is_there() and self._out.is_there():
                    with contextlib.suppress(OutputError):
                        self.ledger.open_again()
            else:
                if wait_s:
                    self._telling.say("going on", f"{self.ledger.path}: the ledger answers again")
                return answer
        raise Ended

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopped():
            time.sleep(min(0.1, seconds))
