"""A log that outlives its file: rotated by anyone, its folder removed, its disk full."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from longexposure.errors import OutputError
from longexposure.io.checks import reason_of
from longexposure.service.places import Place, identity_of

LARGEST_BYTES = 10_000_000
"""A log of this size becomes NAME.1, and a new one is begun."""

KEPT = 5
"""So many earlier ones are kept."""


class LogFile(RotatingFileHandler):
    """Appends to the file of a name, whichever that is by now; what cannot be written stops nothing.

    Args:
        path: the file.
        on_trouble: told once when nothing can be written any more, and once when it can be again.

    Raises:
        OutputError: it cannot be opened now.
    """

    def __init__(self, path: Path, *, on_trouble: Callable[[str], None] = lambda text: None) -> None:
        self._on_trouble = on_trouble
        self._trouble = self._failed = False
        self._place = Place(Path(os.path.abspath(path)).parent)  # noqa: PTH100
        try:
            super().__init__(
                path,
                maxBytes=LARGEST_BYTES,
                backupCount=KEPT,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            raise OutputError(
                where=str(path),
                expected="a log that can be written",
                found=reason_of(error),
                advice="make its folder, correct its permissions, or choose another --log",
            ) from error
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record into the file that has the name now."""
        self._failed = False
        try:
            if self._is_another():
                self._let_go()
            if self.stream is None and self._place.is_mounted():
                self._place.path.mkdir(parents=True, exist_ok=True)
            if self.shouldRollover(record):
                with contextlib.suppress(OSError):  # it goes on growing then
                    self.doRollover()
            logging.FileHandler.emit(self, record)
        except (OSError, ValueError) as error:
            self._fail(error)
        if self._trouble and not self._failed:
            self._trouble = False
            self._on_trouble(f"{self.baseFilename}: the log is written again")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Note that a record could not be written."""
        self._fail(sys.exc_info()[1] or OSError("an error"))

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        if not self._trouble:
            self._trouble = True
            why = reason_of(error)
            self._on_trouble(f"{self.baseFilename}: the log cannot be written ({why}); going on without it")

    def _is_another(self) -> bool:
        """Whether the name is another file's by now, or none's."""
        if self.stream is None:
            return False
        facts = os.fstat(self.stream.fileno())
        return identity_of(self.baseFilename) != (facts.st_dev, facts.st_ino)

    def _let_go(self) -> None:
        """Close a file that has another name now, or none; it is opened anew with the next record."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
