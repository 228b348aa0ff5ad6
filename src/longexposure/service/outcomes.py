"""What becomes of a file: done, in quarantine, struck out, or held back until its trouble may be over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from longexposure.enhance.files import FileResult
from longexposure.errors import LongExposureError, OutputError
from longexposure.models.checkpoint import sha256_of
from longexposure.service.asking import Asking
from longexposure.service.holds import Holds
from longexposure.service.hot_folder import Telling
from longexposure.service.ledger import Entry
from longexposure.service.places import Place, identity_of
from longexposure.service.quarantine import Quarantine
from longexposure.service.settling import Ended, stamp_of
from longexposure.service.verdict import NO_ROOM, errno_of, is_its_own

LONGEST_WAIT_S = 15.0
"""Between two tries while a folder or everything is waited for."""

LONGEST_FILE_WAIT_S = 600.0
"""Between two tries of a file that is not to blame for failing."""

EVERYTHING = "everything"
"""What is held while a disk is full or a folder is gone."""

FOLDERS = "folders"
"""What is held while output folder or ledger are not there, beside which nothing is tried."""


class Outcomes:
    """Enters and tells what became of files.

    Args:
        source: the folder that is watched.
        out: the output folder.
        ask: asks the ledger.
        telling: takes what is to be said.
        quarantine: for files that cannot be enhanced.
        forget: told of files that have changed, to be looked at anew.
        once: whether each file is tried once.
    """

    def __init__(
        self,
        source: Place,
        out: Place,
        ask: Asking,
        *,
        telling: Telling,
        quarantine: Quarantine,
        forget: Callable[[Path], None],
        once: bool,
    ) -> None:
        self._source, self._out, self._ask = source, out, ask
        self._telling, self._quarantine, self._forget, self._once = telling, quarantine, forget, once
        self._holds = Holds(for_good=once)
        self.at_hand: dict[Path, Entry] = {}
        """What was claimed and has not ended."""

    def name_of(self, source: Path) -> str:
        """A file's path below the folder that is watched."""
        return str(source.relative_to(self._source.path))

    def all_wait(self) -> bool:
        """Whether everything is held back."""
        return self._holds.holds(EVERYTHING)

    def is_any_held(self) -> bool:
        """Whether anything has failed and not been made up for."""
        return len(self._holds) > 0

    def turn(self, number: int, target: Path) -> int | None:
        """When a job may be claimed, see `Ledger.claim`."""
        return self._holds.turn(number, target.parent)

    def end(self, result: FileResult) -> None:
        """Enter what became of a file that was tried."""
        entry = self.at_hand[result.source]
        if result.error is not None:
            self.judge(entry, result.error)
        else:
            self.finish(entry, result.history[-1].settings.get("source_sha256", ""), result)

    def finish(self, entry: Entry, source_sha256: str, result: FileResult | None) -> None:
        """Enter that a file is enhanced; without a result it was before."""
        name, output_sha256 = self.name_of(entry.source), ""
        if not self._out.is_there():
            self._hold(entry, self.gone())
            return
        with contextlib.suppress(OSError):  # someone who collects enhanced files was quick
            output_sha256 = sha256_of(entry.target)
        try:
            entered = self._ask(
                lambda ledger: ledger.finish(entry, source_sha256=source_sha256, output_sha256=output_sha256),
                at_the_end=True,
            )
        except Ended:  # it cannot be entered; the next start finds the enhanced file
            self._tell_done(entry, name, result)
            raise
        finally:
            self.at_hand.pop(entry.source, None)
        if entered:
            self._tell_done(entry, name, result)
        else:
            self._telling.say("warning", f"{name}: another watcher has taken it over meanwhile", name=name)

    def judge(self, entry: Entry, error: LongExposureError) -> None:
        """Enter that a file was not enhanced: it is later, not at all, or in quarantine."""
        name = self.name_of(entry.source)
        try:
            changed = stamp_of(entry.source) != entry.stamp
        except FileNotFoundError:
            if self._source.is_there():
                self._withdraw(entry, f"{name}: was removed before it was enhanced")
                self._quarantine.take_out(name)
            else:
                self._hold(entry, error)
            return
        except OSError:
            changed = False
        if changed:
            self._forget(entry.source)
            self._withdraw(entry, f"{name}: has changed meanwhile; it is taken when it is whole")
        elif is_its_own(error):
            self._refuse(entry, name, error)
        else:
            self._hold(entry, error)

    def give_all_back(self) -> None:
        """Let wait what was claimed ahead and not begun."""
        for entry in list(self.at_hand.values()):
            self._give_back(entry)

    def wait_for_folders(self, error: OutputError | None) -> None:
        """Take note that output folder or ledger are not there, or (None) that they are."""
        if error is not None:
            self._trouble(FOLDERS, (EVERYTHING, error.found), str(error), longest_s=LONGEST_WAIT_S)
        elif self._holds.release(FOLDERS):
            self._holds.release(EVERYTHING)
            self._telling.say("going on", "going on")

    def gone(self) -> OutputError:
        """What is said of an output folder that is not there."""
        return OutputError(
            where=str(self._out.path),
            expected="the output folder",
            found="it gone (removed, or its share is not mounted)",
            advice="mount the share, or make the folder again",
        )

    def _tell_done(self, entry: Entry, name: str, result: FileResult | None) -> None:
        self._quarantine.take_out(name)
        waited_s = time.time() - entry.arrived_at
        self._holds.release(entry.number)
        if result is None:
            self._telling.count("found", f"{name}: enhanced before", name=name)
            return
        everything, its_folder = self._holds.release(EVERYTHING), self._holds.release(entry.target.parent)
        if everything or its_folder:
            self._telling.say("going on", "going on")
        for warning in result.warnings:
            self._telling.say("warning", f"{name}: {warning}", name=name)
        text = f"{name}: enhanced in {result.seconds:.2f} s, there {waited_s:.2f} s after it was whole"
        result = replace(result, before=None, after=None)
        self._telling.count("enhanced", text, name=name, waited_s=waited_s, result=result)

    def _refuse(self, entry: Entry, name: str, error: LongExposureError) -> None:
        """Into quarantine; the ledger is told last, so that no note is missing."""
        try:
            self._quarantine.put(name, entry.source, error, sha256=entry.source_sha256)
        except OutputError as unwritten:
            if errno_of(unwritten) in NO_ROOM or not self._out.is_there():
                self._hold(entry, unwritten)
                return
            self._telling.say("warning", f"no note on {name}: {unwritten}", name=name)
        self._ask(lambda ledger: ledger.fail(entry, str(error)), at_the_end=True)
        self.at_hand.pop(entry.source, None)
        self._holds.release(entry.number)
        self._telling.count("failed", str(error), name=name, error=error.with_traceback(None))

    def _withdraw(self, entry: Entry, text: str) -> None:
        self._ask(lambda ledger: ledger.withdraw(entry))
        self.at_hand.pop(entry.source, None)
        self._holds.release(entry.number)
        self._telling.count("put off", text, name=self.name_of(entry.source))

    def _give_back(self, entry: Entry, error: str = "") -> None:
        self._ask(lambda ledger: ledger.give_back(entry, error), at_the_end=True)
        self.at_hand.pop(entry.source, None)

    def _hold(self, entry: Entry, error: LongExposureError) -> None:
        """Let a file wait at its place, and with it whatever its trouble concerns."""
        if not self._out.is_there():
            error = self.gone()
        key = self._concerned(entry, error)
        reason: tuple[object, ...] = type(error), error.expected, error.found
        if isinstance(error, OutputError):  # of one place; what else goes wrong does so with many files
            reason = (error.where if isinstance(key, int) else key, error.found)
        longest_s = LONGEST_FILE_WAIT_S if isinstance(key, int) else LONGEST_WAIT_S
        self._give_back(entry, str(error))
        self._trouble(key, reason, str(error), longest_s=longest_s)

    def _concerned(self, entry: Entry, error: LongExposureError) -> int | str | Path:
        """What waits for a trouble to pass: everything, an output folder, or the one file."""
        if not (self._source.is_there() and self._out.is_there()):
            return EVERYTHING
        number = errno_of(error)
        if not isinstance(error, OutputError) or number is None:
            return entry.number
        if number in NO_ROOM and self._is_on_disk_of_out(entry.target.parent):
            return EVERYTHING
        return entry.target.parent

    def _is_on_disk_of_out(self, folder: Path) -> bool:
        """Whether a folder, which may be missing, lies on the same disk as the output folder."""
        ours, its = identity_of(self._out.path), identity_of(folder)
        return its is None or ours is None or its[0] == ours[0]

    def _trouble(self, key: int | str | Path, reason: object, text: str, *, longest_s: float) -> None:
        if self._holds.put(key, reason, longest_s=longest_s):
            end = "tried again later" if isinstance(key, int) else "waiting, nothing is lost"
            self._telling.say("waiting", f"{text}; {'left for the next start' if self._once else end}")
