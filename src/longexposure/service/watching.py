"""A hot folder: every image that arrives is enhanced into another folder, once, in order of arrival.

One thread looks at the folder and enters what is whole into the ledger; the main thread claims, computes and
writes. What passes by itself (a full disk, a share that is gone) is waited out; what is wrong with a file is
noted in the quarantine, and the others go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from longexposure.enhance.choices import ModelChoice, check_strength
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.files import FileResult, enhance_as_they_come
from longexposure.enhance.jobs import Job, explained, looked_at, refuse_folders_of_inputs, settings_of
from longexposure.errors import InputError, LongExposureError, OutputError, ResourceError
from longexposure.io import check_writable_folder, remove_temporaries, writable_suffix
from longexposure.io.defect_maps import DefectMap
from longexposure.io.segments import check_compression
from longexposure.models.checkpoint import sha256_of
from longexposure.noise.calibration import NoiseCalibration
from longexposure.service.arrivals import Arrivals, Place, stamp_of
from longexposure.service.ledger import LEASE_S, VERSION, Entry, Ledger, OtherVersionError
from longexposure.service.quarantine import Quarantine, set_aside

LEDGER = "ledger.sqlite"
"""Name of the ledger in the output folder."""

MOST_DEATHS = 10
"""A file that so many processes ended at is put into quarantine."""

MOST_TRIES = 5
"""A file that cannot be read so often, though its folder is there, is put into quarantine."""

LOOK_S = 1.0
"""How often an idle watcher looks whether other watchers left something."""

LONGEST_WAIT_S = 15.0
"""Between two tries while something is waited out; the first comes after a second."""

PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"),
        *(
            "ECONNRESET",
            "ECONNREFUSED",
            "ENODEV",
            "ENXIO",
            "EREMOTEIO",
            "EBUSY",
            "EAGAIN",
            "ENOMEM",
            "EMFILE",
        ),
    )
    if hasattr(errno, name)
)
"""What the system says of shares and disks that may come back."""

NO_ROOM = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOENT")
    if hasattr(errno, name)
)
"""What it says besides, of an output folder that someone may put right."""

KNOWN = "enhanced files themselves tell what is done"

Value = TypeVar("Value")
Kind = Literal["enhanced", "found", "failed", "put off", "watching", "waiting", "going on", "warning"]


@dataclass(frozen=True)
class Event:
    """What a watcher tells.

    Attributes:
        kind: of a file: enhanced; found, enhanced before; failed, and in quarantine; put off, since its file
            is gone or still written to. Of the watcher: watching has begun; waiting for something; going on;
            a warning.
        text: one line.
        name: the file's path below the watched folder, "" where it is not about one.
        error: why a file failed.
        waited_s: from the file being whole to its being enhanced, seconds.
        result: what `enhance_files` tells of it, without pixels.
    """

    kind: Kind
    text: str
    name: str = ""
    error: LongExposureError | None = None
    waited_s: float = 0.0
    result: FileResult | None = None


@dataclass(frozen=True)
class HotFolder:
    """What is watched, where enhanced files go, and how they are made.

    Attributes:
        source: the folder that files arrive in.
        out: the folder for the enhanced ones.
        recursive: whether subfolders are watched too, whose structure is kept.
        settle_s: seconds between two looks at a file that arrives; two in a row must find it unchanged.
        poll: list the folder again and again instead of being told of changes, which network shares need.
        ledger: the ledger's file; None is `LEDGER` in the output folder.
        copies: keep copies of bad files in the quarantine.
        strength, noise, bad_pixels, masks, sidecar, compress: as `enhance_files`.
        lease_s: see `longexposure.service.ledger.LEASE_S`.
    """

    source: Path
    out: Path
    recursive: bool = False
    settle_s: float = 1.0
    poll: bool = False
    ledger: Path | None = None
    copies: bool = False
    strength: float = 1.0
    noise: NoiseCalibration | None = None
    bad_pixels: DefectMap | None = None
    masks: bool = False
    sidecar: bool = False
    compress: str | None = None
    lease_s: float = field(default=LEASE_S, repr=False)


def watch(
    folder: HotFolder,
    model: ModelChoice,
    *,
    tell: Callable[[Event], None],
    stopped: Callable[[], bool],
    once: bool = False,
) -> Counter[str]:
    """Enhance what is in a folder and what arrives there, until it is stopped.

    Each file is enhanced once, in order of arrival, whatever is killed when; several watchers share the work
    of one ledger. The model is loaded once. Nothing in the watched folder is modified.

    Args:
        folder: what is watched.
        model: what enhances.
        tell: takes what is to be said, from two threads.
        stopped: asked again and again; where it says so, the file at hand is finished and the rest waits.
        once: do what is there, and end.

    Returns:
        How many files there were of each kind of `Event`.

    Raises:
        InputError: the folder is not there, or the ledger is no ledger.
        OutputError: the output folder cannot be written, or is that of the originals.
        CheckpointError, ResourceError: the model cannot be loaded, or watchfiles is missing.
        RecipeError: a setting out of range.
    """
    check_strength(folder.strength)
    check_compression(folder.compress)
    source, out = Path(os.path.abspath(folder.source)), Path(os.path.abspath(folder.out))  # noqa: PTH100
    place = Place(source)
    settings = settings_of(
        model,
        folder.noise,
        strength=folder.strength,
        compress=folder.compress,
        bad_pixels=folder.bad_pixels,
    )
    loading = model.ahead()
    refuse_folders_of_inputs([Job(source / "the originals", out / "any", "")], out)
    if once:
        folder = replace(folder, poll=True)  # nobody need be told of changes
    with contextlib.closing(_Watcher(folder, place, out, settings, tell=tell, stopped=stopped)) as watcher:
        if once:
            watcher.enter_what_is_there()
            watcher.work(loading(), until_empty=True)
        else:
            watcher.arrivals.start()
            tell(Event("watching", f"watching {folder.source}: enhanced files go to {folder.out}"))
            watcher.work(loading())
        return watcher.counts


class _Watcher:
    """The main thread's work; see `watch`."""

    def __init__(
        self,
        folder: HotFolder,
        place: Place,
        out: Path,
        settings: dict[str, Any],
        *,
        tell: Callable[[Event], None],
        stopped: Callable[[], bool],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._place, self._settings = folder, place, settings
        self._tell, self._stopped = tell, stopped
        self._arrived = threading.Event()
        self._at_hand: dict[Path, Entry] = {}
        self._troubled = False
        self._wait_s = 0.0
        self.arrivals = Arrivals(
            place,
            known=lambda: self._ledger.stamps(),
            give=self._enter,
            tell=lambda text: self._say("waiting", text),
            recursive=folder.recursive,
            settle_s=folder.settle_s,
            poll=folder.poll,
            leave_out=(os.path.realpath(out),),
        )
        check_writable_folder(out)
        self._out = Place(out)
        self._quarantine = Quarantine(out, copies=folder.copies)
        remove_temporaries([out, *(Path(top) for top, _, _ in os.walk(out))])
        self._ledger = self._opened(folder.ledger or out / LEDGER)
        for other in self._ledger.others():
            self._say(
                "warning",
                f"process {other.pid} on {other.host.partition('[')[0]} watches the same folders with other "
                "settings: each file is enhanced once, by whoever is free; end one of them",
            )

    def close(self) -> None:
        """Stop looking, and let what was claimed and not done wait for the next watcher."""
        self.arrivals.end()
        if self.arrivals.is_alive():
            self.arrivals.join()
        self._ledger.close()

    def enter_what_is_there(self) -> None:
        """Enter all files that are whole, and tell of those that are not."""
        for path in self.arrivals.once():
            name = self._name_of(path)
            self._say("put off", f"{name}: is still being written; left for the next time", name=name)

    def work(self, enhancer: Enhancer, *, until_empty: bool = False) -> None:
        """Claim and enhance, until it is stopped or, if so wanted, nothing is left."""
        while not self._stopped():
            if self.arrivals.error is not None:
                raise self.arrivals.error
            self._wait_for_folders()
            self._arrived.clear()
            ended = 0
            jobs = self._claimed()
            settings = {
                name: getattr(self._folder, name)
                for name in ("noise", "strength", "sidecar", "compress", "bad_pixels", "masks")
            }
            stream = enhance_as_they_come(jobs, enhancer, ended=self._is_to_pause, **settings)
            for result in stream:
                ended += 1
                self._end(result)
                del result  # with its pixels
            self._give_all_back()
            if self._troubled:
                self._pause()
            elif not ended and not self._stopped():
                if until_empty:
                    return
                self._arrived.wait(LOOK_S)

    def _is_to_pause(self) -> bool:
        return self._troubled or self._stopped()

    def _opened(self, path: Path) -> Ledger:
        """The ledger, or where it is of another version, one beside it."""
        queue = f"{os.path.realpath(self._place.path)} -> {os.path.realpath(self._out.path)}"
        ours = {**self._settings, "sidecar": self._folder.sidecar, "masks": self._folder.masks}
        try:
            return Ledger(path, queue=queue, settings=ours, lease_s=self._folder.lease_s)
        except OtherVersionError as error:
            beside = path.with_name(f"{path.stem}-{VERSION}{path.suffix}")
            if beside == path:
                raise
            self._say("warning", f"{error}. It stays as it is; going on with {beside.name}")
            return Ledger(beside, queue=queue, settings=ours, lease_s=self._folder.lease_s)

    def _say(self, kind: Kind, text: str, **more: Any) -> None:
        self._tell(Event(kind, text, **more))

    def _name_of(self, source: Path) -> str:
        return str(source.relative_to(self._place.path))

    def _enter(self, path: Path, stamp: str) -> None:
        """Enter a file that is whole; called by the thread that looks."""
        try:
            sha256 = sha256_of(path)
        except FileNotFoundError:
            return
        except OSError:
            sha256 = ""  # its error arises when it is read
        if self._ledger.enter(path, stamp, sha256, lambda: self._targets(path)):
            self._arrived.set()

    def _targets(self, source: Path) -> Iterator[Path]:
        """Names for an enhanced file: its own, its whole own, then with numbers."""
        below = self._out.path / source.relative_to(self._place.path)
        suffix = writable_suffix(source.name)
        plain = below.with_name(f"{source.stem}{suffix}")
        yield plain
        if plain.name != source.name:
            yield below.with_name(source.name + suffix)
        number = 2
        while True:
            yield plain.with_name(f"{source.stem}-{number}{suffix}")
            number += 1

    def _claimed(self) -> Iterator[Job]:
        """Jobs with something to compute, one by one as they are claimed; the others are ended at once."""
        while not self._is_to_pause():
            entry = self._patiently(self._ledger.claim)
            if entry is None:
                return
            self._at_hand[entry.source] = entry
            job = Job(entry.source, entry.target, self._name_of(entry.source))
            try:
                if entry.deaths:
                    remove_temporaries([entry.target.parent])
                if entry.deaths >= MOST_DEATHS:
                    raise _deadly(entry)
                job = self._looked_at(job, entry)
            except Exception as error:  # of one file, which must not stop the others
                if isinstance(error.__cause__, sqlite3.Error):
                    raise
                self._judge(entry, explained(error, entry.source))
                continue
            if job.waits:
                yield job
            elif job.error is not None:
                self._judge(entry, job.error)
            else:
                self._finish(entry, job.made[-1].settings.get("source_sha256", ""), None)

    def _looked_at(self, job: Job, entry: Entry) -> Job:
        """The job with what is in its place; what was made of an earlier content of its source is moved away.

        Raises:
            OutputError: its place is among originals, or the file in it cannot be moved.
        """
        refuse_folders_of_inputs([job], self._out.path)
        if not os.path.lexists(job.target):
            return job
        before = self._patiently(lambda: self._ledger.made_before(entry))
        if before is not None and os.path.isfile(job.target) and sha256_of(job.target) == before:  # noqa: PTH113
            kept = set_aside(self._out.path, job.target, before)
            text = f"{job.name}: has changed; the enhanced file of the earlier one is {kept}"
            self._say("warning", text, name=job.name)
            return job
        options = {"sidecar": self._folder.sidecar, "masks": self._folder.masks}
        return looked_at(job, self._settings, force=False, **options)

    def _end(self, result: FileResult) -> None:
        """Enter what became of a file."""
        entry = self._at_hand[result.source]
        if result.error is not None:
            self._judge(entry, result.error)
        else:
            self._finish(entry, result.history[-1].settings.get("source_sha256", ""), result)

    def _finish(self, entry: Entry, source_sha256: str, result: FileResult | None) -> None:
        name, output_sha256 = self._name_of(entry.source), ""
        if not self._out.is_there():
            self._put_off(entry, self._gone())
            return
        with contextlib.suppress(OSError):  # someone who collects enhanced files was quick
            output_sha256 = sha256_of(entry.target)
        entered = self._patiently(
            lambda: self._ledger.finish(entry, source_sha256=source_sha256, output_sha256=output_sha256)
        )
        self._at_hand.pop(entry.source, None)
        if not entered:
            self._say("warning", f"{name}: another watcher has taken it over meanwhile", name=name)
            return
        self._quarantine.take_out(name)
        waited_s = time.time() - entry.arrived_at
        if result is None:
            self._count("found", f"{name}: enhanced before", name=name)
            return
        for warning in result.warnings:
            self._say("warning", f"{name}: {warning}", name=name)
        text = f"{name}: enhanced in {result.seconds:.2f} s, there {waited_s:.2f} s after it was whole"
        result = replace(result, before=None, after=None)
        self._count("enhanced", text, name=name, waited_s=waited_s, result=result)

    def _count(self, kind: Kind, text: str, **more: Any) -> None:
        self.counts[kind] += 1
        self._no_more_trouble()
        self._say(kind, text, **more)

    def _judge(self, entry: Entry, error: LongExposureError) -> None:
        """What becomes of a file that was not enhanced: later, not at all, or into quarantine."""
        name = self._name_of(entry.source)
        try:
            changed = stamp_of(entry.source) != entry.stamp
        except OSError:
            if not self._place.is_there():
                self._put_off(entry, error)
                return
            self._withdraw(entry, f"{name}: was removed before it was enhanced")
            return
        if changed:
            self.arrivals.forget(entry.source)
            self._withdraw(entry, f"{name}: has changed meanwhile; it is taken when it is whole")
        elif self._passes(entry, error):
            self._put_off(entry, error, its_fault=not isinstance(error, OutputError))
        else:
            self._refuse(entry, name, error)

    def _passes(self, entry: Entry, error: LongExposureError) -> bool:
        """Whether the error may pass without anything being done to the file."""
        number = _errno_of(error)
        if isinstance(error, OutputError):
            return number in PASSING | NO_ROOM
        if entry.tries >= MOST_TRIES:
            return False
        return number in PASSING or isinstance(error, ResourceError)

    def _refuse(self, entry: Entry, name: str, error: LongExposureError) -> None:
        """Into quarantine; the ledger is told last, so that no note is missing."""
        try:
            self._quarantine.put(name, entry.source, error, sha256=entry.source_sha256)
        except OutputError as unwritten:
            if _errno_of(unwritten) in PASSING | NO_ROOM:
                self._put_off(entry, unwritten)
                return
            self._say("warning", f"no note on {name}: {unwritten}", name=name)
        self._patiently(lambda: self._ledger.fail(entry, str(error)))
        self._at_hand.pop(entry.source, None)
        self._count("failed", str(error), name=name, error=error.with_traceback(None))

    def _withdraw(self, entry: Entry, text: str) -> None:
        self._patiently(lambda: self._ledger.withdraw(entry))
        self._at_hand.pop(entry.source, None)
        self._count("put off", text, name=self._name_of(entry.source))

    def _put_off(self, entry: Entry, error: LongExposureError, *, its_fault: bool = False) -> None:
        """Let the file wait at its place, and everything with it, until its trouble may be over."""
        self._patiently(lambda: self._ledger.give_back(entry, its_fault=its_fault))
        self._at_hand.pop(entry.source, None)
        self._trouble(str(error))

    def _give_all_back(self) -> None:
        """Let wait what was claimed ahead and not begun."""
        for entry in list(self._at_hand.values()):
            self._patiently(partial(self._ledger.give_back, entry))
        self._at_hand.clear()

    def _trouble(self, text: str) -> None:
        if not self._troubled and not self._wait_s:
            self._say("waiting", f"{text}; waiting, nothing is lost")
        self._troubled = True

    def _pause(self) -> None:
        """Wait before the next try, longer each time."""
        self._wait_s = min(max(2 * self._wait_s, 1.0), LONGEST_WAIT_S)
        self._sleep(self._wait_s)
        self._troubled = False

    def _no_more_trouble(self) -> None:
        if self._wait_s:
            self._say("going on", "going on")
        self._wait_s = 0.0

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopped():
            time.sleep(min(0.1, seconds))

    def _gone(self) -> OutputError:
        return OutputError(
            where=str(self._out.path),
            expected="the output folder",
            found="it gone (removed, or its share is not mounted)",
            advice="mount the share, or make the folder again",
        )

    def _wait_for_folders(self) -> None:
        """Wait until output folder and ledger are there; a ledger that was removed is begun anew."""
        waited = False
        while not self._stopped():
            try:
                if not self._out.is_there():
                    raise self._gone()
                if not self._ledger.is_there():
                    self._ledger.open_again()
                    self._say("warning", f"{self._ledger.path}: the ledger was removed or replaced; {KNOWN}")
                    self.arrivals.look_again()
            except OutputError as error:
                waited = True
                self._trouble(str(error))
                self._pause()
            else:
                if waited:
                    self._no_more_trouble()
                return

    def _patiently(self, ask: Callable[[], Value]) -> Value:
        """Ask the ledger, again and again while it cannot answer (raises OutputError where it is stopped)."""
        wait_s = 0.0
        while True:
            try:
                answer = ask()
            except OutputError as error:
                if not isinstance(error.__cause__, sqlite3.Error) or self._stopped():
                    raise
                if not wait_s:
                    self._say("waiting", f"{error}; waiting, nothing is lost")
                wait_s = min(max(2 * wait_s, 0.5), LONGEST_WAIT_S)
                self._sleep(wait_s)
                if not self._ledger.is_there() and self._out.is_there():
                    with contextlib.suppress(OutputError):
                        self._ledger.open_again()
            else:
                if wait_s:
                    self._say("going on", f"{self._ledger.path}: the ledger can be written again")
                return answer


def _deadly(entry: Entry) -> InputError:
    return InputError(
        where=str(entry.source),
        expected="a file that processes survive",
        found=f"{entry.deaths} that ended while they were at it",
        advice="try it alone with `longexposure --debug enhance`, and report it",
    )


def _errno_of(error: BaseException) -> int | None:
    """The system's number in an error or in what caused it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            return link.errno
        link = link.__cause__
    return None
