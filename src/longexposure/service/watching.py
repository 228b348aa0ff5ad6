"""A hot folder: every image that arrives is enhanced into another folder, once, in order of arrival.

One thread looks at the folder and enters what is whole into the ledger; the main thread claims, computes and
writes. What is wrong with a file is noted in the quarantine. What is not its fault (a full disk, a lost
share, a fault of ours) is waited out, by the file, its folder or everything, and the others go on.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longexposure.enhance.choices import ModelChoice, check_strength
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.files import enhance_as_they_come
from longexposure.enhance.jobs import Job, explained, settings_of
from longexposure.errors import LongExposureError, OutputError
from longexposure.io import check_writable_folder, remove_temporaries
from longexposure.io.segments import check_compression
from longexposure.service.arrivals import Arrivals
from longexposure.service.asking import Asking
from longexposure.service.database import VERSION, OtherVersionError
from longexposure.service.hot_folder import LEDGER, Event, HotFolder, Telling
from longexposure.service.intake import Intake
from longexposure.service.ledger import Entry, Ledger
from longexposure.service.outcomes import Outcomes
from longexposure.service.places import Layout, Place
from longexposure.service.quarantine import Quarantine
from longexposure.service.settling import Ended

LOOK_S = 1.0
"""How often an idle watcher looks whether other watchers left something."""

KNOWN = "enhanced files themselves tell what is done"


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
        once: do what is there, and end; each file is tried once.

    Returns:
        How many files there were of each kind of `Event`; how many are "not done" still, "left out", since
        their folder cannot be listed or their name is not UTF-8, and "in quarantine".

    Raises:
        InputError: the folder is not there, or the ledger is damaged or none.
        OutputError: the output folder cannot be written, or would put enhanced files among originals.
        CheckpointError, ResourceError: the model cannot be loaded, or watchfiles is missing.
        RecipeError: a setting out of range.
    """
    check_strength(folder.strength)
    check_compression(folder.compress)
    source, out = Path(os.path.abspath(folder.source)), Path(os.path.abspath(folder.out))  # noqa: PTH100
    ledger = Path(os.path.abspath(folder.ledger or out / LEDGER))  # noqa: PTH100
    layout = Layout(source, out, recursive=folder.recursive)
    layout.check(ledger)
    settings = settings_of(
        model,
        folder.noise,
        strength=folder.strength,
        compress=folder.compress,
        bad_pixels=folder.bad_pixels,
        dataset=folder.dataset,
    )
    loading = model.ahead()
    if once:
        folder = replace(folder, poll=True)  # nobody need be told of changes
    folder = replace(folder, ledger=ledger)
    watcher = _Watcher(folder, layout, settings, tell=tell, stopped=stopped, once=once)
    with contextlib.closing(watcher), contextlib.suppress(Ended):
        if once:
            watcher.enter_what_is_there()
        else:
            watcher.arrivals.start()
            tell(Event("watching", f"watching {folder.source}: enhanced files go to {folder.out}"))
        watcher.work(loading())
    return watcher.telling.counts


class _Watcher:
    """The main thread's work; see `watch`."""

    def __init__(
        self,
        folder: HotFolder,
        layout: Layout,
        settings: dict[str, Any],
        *,
        tell: Callable[[Event], None],
        stopped: Callable[[], bool],
        once: bool,
    ) -> None:
        self.telling = Telling(tell)
        self._folder, self._settings, self._once, self._stopped = folder, settings, once, stopped
        self._arrived = threading.Event()
        source = Place(layout.source)
        self.arrivals = Arrivals(
            source,
            known=lambda: self._ledger.stamps(),
            give=lambda path, stamp: self._intake.enter(path, stamp),
            tell=partial(self.telling.say, "waiting"),
            recursive=folder.recursive,
            settle_s=folder.settle_s,
            poll=folder.poll,
            leave_out=(os.path.realpath(layout.out),),
            stopped=stopped,
        )
        check_writable_folder(layout.out)
        self._out = Place(layout.out)
        remove_temporaries([layout.out, *(Path(top) for top, _, _ in os.walk(layout.out))])
        self._ledger = self._opened(folder.ledger or layout.out / LEDGER, layout)
        self._ask = Asking(self._ledger, self._out, self.telling, stopped=stopped, once=once)
        self._intake = Intake(
            layout,
            self._ledger,
            settings,
            sidecar=folder.sidecar,
            masks=folder.masks,
            arrived=self._arrived,
            over=self.arrivals.is_over,
            stopped=stopped,
        )
        self._outcomes = Outcomes(
            source,
            self._out,
            self._ask,
            telling=self.telling,
            quarantine=Quarantine(layout.out, copies=folder.copies),
            forget=self.arrivals.forget,
            once=once,
        )
        if folder.retry:
            self._ledger.try_failed_again()
        for other in self._ledger.others():
            self.telling.say(
                "warning",
                f"process {other.pid} on {other.host.partition('[')[0]} watches the same folders with other "
                "settings: each file is enhanced once, by whoever is free; end one of them",
            )

    def close(self) -> None:
        """Stop looking, count what is left, and let what was claimed and not done wait for the next start."""
        self.arrivals.end()
        if self.arrivals.is_alive():
            self.arrivals.join()
        counts, claimed = self.telling.counts, len(self._outcomes.at_hand)
        counts["not done"] = max(claimed, self._outcomes.is_any_held())
        with contextlib.suppress(LongExposureError):
            counts["not done"] = self._ledger.counts().get("waiting", 0) + claimed
            counts["in quarantine"] = sum(map(os.path.lexists, self._ledger.failed()))
        counts["left out"] = len(self.arrivals.left_out)
        self.telling.counts = +counts  # those above 0
        self._ledger.close()

    def enter_what_is_there(self) -> None:
        """Enter all files that are whole, and tell of those that are not."""
        for path in self.arrivals.once():
            name = self._outcomes.name_of(path)
            text = f"{name}: is still being written; left for the next time"
            self.telling.count("put off", text, name=name)

    def work(self, enhancer: Enhancer) -> None:
        """Claim and enhance, until it is stopped or, if it works once, nothing can be done any more."""
        settings = {
            name: getattr(self._folder, name)
            for name in ("noise", "strength", "sidecar", "compress", "bad_pixels", "masks", "dataset")
        }
        while not self._stopped():
            if self.arrivals.error is not None:
                raise self.arrivals.error
            self._arrived.clear()
            ended = 0
            if self._folders_are_there():
                stream = enhance_as_they_come(self._claimed(), enhancer, ended=self._is_to_pause, **settings)
                for result in stream:
                    ended += 1
                    self._outcomes.end(result)
                    del result  # with its pixels
                self._outcomes.give_all_back()
            if not ended:
                if self._once:
                    return
                self._arrived.wait(LOOK_S)
                while self._outcomes.all_wait() and not self._stopped():
                    time.sleep(0.1)

    def _is_to_pause(self) -> bool:
        return self._outcomes.all_wait() or self._stopped()

    def _opened(self, path: Path, layout: Layout) -> Ledger:
        """The ledger, or where it is of another version, one beside it."""
        opened = partial(
            Ledger,
            queue=f"{os.path.realpath(layout.source)} -> {os.path.realpath(layout.out)}",
            settings={**self._settings, "sidecar": self._folder.sidecar, "masks": self._folder.masks},
            lease_s=self._folder.lease_s,
            stopped=self._stopped,
        )
        try:
            return opened(path)
        except OtherVersionError as error:
            beside = path.with_name(f"{path.stem}-{VERSION}{path.suffix}")
            if beside == path:
                raise
            text = f"{error}. It stays as it is; going on with {beside.name}: {KNOWN}"
            self.telling.say("warning", text)
            return opened(beside)

    def _claimed(self) -> Iterator[Job]:
        """Jobs with something to compute, one by one as they are claimed; the others are ended at once."""
        while not self._is_to_pause():
            entry = self._ask(lambda ledger: ledger.claim(self._outcomes.turn))
            if entry is None:
                return
            self._outcomes.at_hand[entry.source] = entry
            made_before = self._ask(partial(_made_before, entry))
            try:
                job, said = self._intake.looked_at(entry, made_before)
            except Ended:
                raise
            except Exception as error:  # of one file, which must not stop the others
                self._outcomes.judge(entry, explained(error, entry.source))
                continue
            if said:
                self.telling.say("warning", said, name=job.name)
            if job.waits:
                yield job
            elif job.error is not None:
                self._outcomes.judge(entry, job.error)
            else:
                self._outcomes.finish(entry, job.made[-1].settings.get("source_sha256", ""), None)

    def _folders_are_there(self) -> bool:
        """Whether output folder and ledger are there; a ledger that was removed is begun anew."""
        try:
            if not self._out.is_there():
                raise self._outcomes.gone()
            if not self._ledger.is_there():
                self._ledger.open_again()
                text = f"{self._ledger.path}: the ledger was removed or replaced; {KNOWN}"
                self.telling.say("warning", text)
                self.arrivals.look_again()
        except OutputError as error:
            self._outcomes.wait_for_folders(error)
            return False
        self._outcomes.wait_for_folders(None)
        return True


def _made_before(entry: Entry, ledger: Ledger) -> str | None:
    return ledger.made_before(entry)
