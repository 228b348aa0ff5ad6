"""Files that arrive in a folder: seen at once, taken when nobody writes to them any more."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from longexposure.errors import InputError, LongExposureError, as_number
from longexposure.io import images_in
from longexposure.io.checks import reason_of
from longexposure.io.formats import format_of_suffix
from longexposure.service.database import DamagedLedgerError
from longexposure.service.places import Place, identity_of, readable
from longexposure.service.settling import LOOKS, Ended, Settling, stamp_of
from longexposure.system import require

RESCAN_S = 60.0
"""How often the whole folder is listed though the system tells what changes: what it forgot is found then."""

IDLE_SHARE = 10
"""Where nothing tells of changes, listing the folder takes no more than one part of so many of the time."""

TICK_S = 1.0
"""How often is looked whether the folder is still there, and whether to end."""


UNLISTED = "this folder cannot be listed ({}); correct its permissions, until then what is in it"


class Arrivals(threading.Thread):
    """Looks at a folder and gives every image on once when it is whole, again when it changes.

    Args:
        place: the folder.
        known: gives the states of files that need not be given on; asked whenever the folder is begun anew.
        give: takes a file and its state; where it raises a `LongExposureError`, it is given again later, but
            with a `DamagedLedgerError` looking ends.
        tell: takes what is to be said.
        recursive: whether subfolders are looked into.
        settle_s: see `Settling`.
        poll: list the folder again and again, instead of being told of changes by the system.
        leave_out: folders that are not looked into, as `os.path.realpath` gives them.
        stopped: whether to end, asked where `once` waits.

    Raises:
        InputError: the folder is not there.
        RecipeError: `settle_s` is no such number.
        ResourceError: watchfiles is missing, and not `poll`.
    """

    def __init__(
        self,
        place: Place,
        *,
        known: Callable[[], dict[str, str]],
        give: Callable[[Path, str], None],
        tell: Callable[[str], None],
        recursive: bool = False,
        settle_s: float = 1.0,
        poll: bool = False,
        leave_out: Iterable[str] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(name="longexposure-arrivals", daemon=True)
        as_number(settle_s, where="settle", low=0, high=3600)
        if not place.is_there():
            raise InputError(
                where=str(place.path),
                expected="a folder to watch",
                found="none",
                advice="make it or mount its share first",
            )
        if not poll:
            require("watchfiles", where="watching a folder without --poll")
        self._place, self._recursive, self._poll = place, recursive, poll
        self._not_inputs = frozenset(leave_out)
        self._not_seen: set[Path] = set()
        self._known, self._give, self._tell = known, give, tell
        self._settle_s = settle_s
        self._settling = Settling(settle_s)
        self._given: dict[str, str] = {}
        self._changed_minds: set[Path] = set()
        self.left_out: set[Path] = set()
        """Subfolders that cannot be listed, and files whose names are no UTF-8; each is told once."""
        self._stopped = stopped
        self._ended = threading.Event()
        self._again = threading.Event()
        self.error: BaseException | None = None
        """What ended the thread, if something did."""

    def run(self) -> None:
        """Look until `end`; what is wrong with the folder is told and waited out."""
        try:
            told = ""
            while not self._ended.is_set():
                try:
                    self._begin()
                    self._follow()
                    told = ""
                except Ended:
                    return
                except DamagedLedgerError:
                    raise
                except (LongExposureError, OSError) as error:
                    if str(error) != told:
                        told = str(error)
                        self._tell(f"{told}; waiting")
                    self._ended.wait(TICK_S)
        except BaseException as error:  # the main thread must know
            self.error = error

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def look_again(self) -> None:
        """Forget what was given on: the ledger is another one."""
        self._again.set()

    def forget(self, path: Path) -> None:
        """Give a file on again once it is whole, though it was given on."""
        self._changed_minds.add(path)

    def once(self) -> list[Path]:
        """Look at what is there, in this thread, until each file was looked at often enough.

        Returns:
            Files that are still being written.

        Raises:
            Ended: it is to end before.
        """
        self._begin()
        self._scan()
        for _ in range(LOOKS):
            until = time.monotonic() + self._settle_s
            while (left_s := until - time.monotonic()) > 0:
                if self.is_over():
                    raise Ended
                self._ended.wait(min(left_s, TICK_S / 10))
            self._give_whole()
        return list(self._settling)

    def is_over(self) -> bool:
        """Whether looking is to end."""
        return self._ended.is_set() or self._stopped()

    def _begin(self) -> None:
        self._given = self._known()
        self._settling.clear()

    def _follow(self) -> None:
        """Look until the folder is another one, or to be begun anew."""
        self._again.clear()
        for changed in self._polled() if self._poll else self._notified():
            if self._ended.is_set() or self._again.is_set():
                return
            while self._changed_minds:
                path = self._changed_minds.pop()
                self._given.pop(str(path), None)
                changed = {path} if changed is None else changed | {path}
            for path in changed or ():
                self._see(path)
            self._give_whole()

    def _see(self, path: Path, stamp: str | None = None) -> None:
        """Begin to look at a file, unless it is known as it is."""
        try:
            stamp = stamp or stamp_of(path)
            regular = stat.S_ISREG(path.stat().st_mode)
        except OSError as error:
            self._given.pop(str(path), None)
            self._settling.drop(path)
            if isinstance(error, PermissionError):
                self._leave_out(path.parent, UNLISTED.format(reason_of(error)))
            return
        if not regular or self._is_misnamed(path):
            return
        if self._given.get(str(path)) != stamp:
            self._settling.add(path, stamp, time.monotonic())

    def _is_misnamed(self, path: Path) -> bool:
        """Whether a name below the folder is no UTF-8, which neither ledger nor history can hold."""
        if _is_utf8(str(path)):
            return False
        self._leave_out(self._first_misnamed(path), "its name is not UTF-8; rename it, until then it")
        return True

    def _first_misnamed(self, path: Path) -> Path:
        """The folder whose name is no UTF-8, or the file."""
        below = [folder for folder in path.parents if self._place.path in folder.parents]
        return next((each for each in reversed(below) if not _is_utf8(each.name)), path)

    def _leave_out(self, path: Path, why: str) -> None:
        """Leave out a subfolder or a file, and tell that once."""
        self._not_seen.add(path)
        if path not in self.left_out:
            self.left_out.add(path)
            self._tell(f"{readable(path)}: {why} is left out")

    def _give_whole(self) -> None:
        for path, stamp in self._settling.look(time.monotonic()):
            self._give(path, stamp)
            self._given[str(path)] = stamp

    def _scan(self) -> None:
        """List the folder, and begin to look at what is new.

        Raises:
            InputError: it cannot be listed.
        """
        self._not_seen = set()
        try:
            there = images_in(
                self._place.path,
                recursive=self._recursive,
                leave_out=self._not_inputs,
                on_error=lambda error: self._leave_out(
                    Path(error.filename), UNLISTED.format(reason_of(error))
                ),
            )
        except InputError as error:
            if error.__cause__ is not None:
                raise
            there = []  # no image in it
        names = set(map(str, there))
        for name in [name for name in self._given if name not in names]:
            del self._given[name]
        for path in there:
            self._see(path)
        self.left_out &= self._not_seen  # the others can be read now, or are no more

    def _here(self) -> None:
        """Wait until the folder is there, and tell that it was not."""
        if self._place.is_there():
            return
        self._tell(f"{self._place.path}: the folder is gone (removed, or its share is not mounted); waiting")
        while not self._ended.wait(TICK_S):
            if self._place.is_there():
                self._tell(f"{self._place.path}: the folder is there again; going on")
                return

    def _polled(self) -> Iterator[set[Path] | None]:
        """List the folder again and again."""
        due = 0.0
        while True:
            self._here()
            began = time.monotonic()
            if began >= due and not self._ended.is_set():
                self._scan()
                due = began + max(self._settle_s, IDLE_SHARE * (time.monotonic() - began))
            yield None
            self._ended.wait(min(self._settle_s or TICK_S, TICK_S))

    def _notified(self) -> Iterator[set[Path] | None]:
        """Be told by the system what changes; list the folder at the start, and sometimes."""
        from watchfiles import watch
        from watchfiles._rust_notify import WatchfilesRustInternalError

        self._here()
        began, identity = time.monotonic(), identity_of(self._place.path)
        events: Any = watch(
            self._place.path,
            watch_filter=None,
            step=20,
            debounce=200,
            rust_timeout=int(1000 * min(max(self._settle_s / 4, 0.01), TICK_S)) if self._settle_s else 1000,
            yield_on_timeout=True,
            stop_event=self._ended,
            raise_interrupt=False,
            recursive=self._recursive,
            force_polling=False,
            ignore_permission_denied=True,
        )
        try:
            next(events)
        except (OSError, StopIteration, WatchfilesRustInternalError) as error:
            if self._place.is_there() and not self._ended.is_set():
                self._poll = True
                self._tell(f"{self._place.path}: the system does not tell of changes ({error}); listing it")
            return
        self._scan()  # after the watch has begun, so that nothing falls between
        yield None
        while True:
            try:
                changes = next(events)
            except StopIteration:
                return
            except WatchfilesRustInternalError as error:  # a name that is no UTF-8, of whatever file
                self._poll = True
                self._tell(f"{self._place.path}: changes can no longer be told ({error}); listing it")
                return
            if time.monotonic() - began > RESCAN_S:
                self._scan()
                began = time.monotonic()
            changed = {Path(path) for _, path in changes}
            if any(os.path.isdir(path) for path in changed):  # noqa: PTH112
                self._scan()
            yield {path for path in changed if self._is_image(path)}
            if not self._place.is_there() or identity_of(self._place.path) != identity:
                return  # and is begun anew, which waits for it

    def _is_image(self, path: Path) -> bool:
        """Whether `images_in` would list it."""
        try:
            below = path.relative_to(self._place.path)
        except ValueError:
            return False
        hidden = any(part.startswith(".") for part in below.parts)
        deep = len(below.parts) > 1 and not self._recursive
        inside = any(os.path.realpath(folder) in self._not_inputs for folder in path.parents)
        return not (hidden or deep or inside) and format_of_suffix(path.suffix) is not None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
