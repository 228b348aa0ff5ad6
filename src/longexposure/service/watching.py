"""A hot folder: every image that arrives is enhanced into another folder, once, in order of arrival.

One thread looks at the folder and enters what is whole into the ledger; the main thread claims, computes and
writes. What is wrong with a file is noted in the quarantine. What is not its fault (a full disk, a lost
share, a fault of ours) is waited out, by the file, its folder or everything, and the others go on.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longexposure.enhance.choices import ModelChoice, check_strength
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.jobs import settings_of
from longexposure.errors import LongExposureError
from longexposure.io.segments import check_compression
from longexposure.service.arrivals import Arrivals
from longexposure.service.hot_folder import LEDGER, Event, HotFolder, Telling
from longexposure.service.places import Layout, Place
from longexposure.service.settling import Ended
from longexposure.service.working import Working


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
        guard=folder.guard,
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
    """A folder that is looked at in one thread, and the work in another; see `watch`."""

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
        self.arrivals = Arrivals(
            Place(layout.source),
            known=lambda: self._working.ledger.stamps(),
            give=lambda path, stamp: self._working.intake.enter(path, stamp),
            tell=partial(self.telling.say, "waiting"),
            recursive=folder.recursive,
            settle_s=folder.settle_s,
            poll=folder.poll,
            leave_out=(os.path.realpath(layout.out),),
            stopped=stopped,
        )
        self._working = Working(
            folder,
            layout,
            settings,
            telling=self.telling,
            stopped=stopped,
            over=self.arrivals.is_over,
            forget=self.arrivals.forget,
            renewed=self.arrivals.look_again,
            once=once,
        )

    def close(self) -> None:
        """Stop looking, count what is left, and let what was claimed and not done wait for the next start."""
        self.arrivals.end()
        if self.arrivals.is_alive():
            self.arrivals.join()
        ledger, outcomes = self._working.ledger, self._working.outcomes
        counts, claimed = self.telling.counts, len(outcomes.at_hand)
        counts["not done"] = max(claimed, outcomes.is_any_held())
        with contextlib.suppress(LongExposureError):
            counts["not done"] = ledger.counts().get("waiting", 0) + claimed
            counts["in quarantine"] = sum(map(os.path.lexists, ledger.failed()))
        counts["left out"] = len(self.arrivals.left_out)
        self.telling.counts = +counts  # those above 0
        ledger.close()

    def enter_what_is_there(self) -> None:
        """Enter all files that are whole, and tell of those that are not."""
        for path in self.arrivals.once():
            name = self._working.outcomes.name_of(path)
            text = f"{name}: is still being written; left for the next time"
            self.telling.count("put off", text, name=name)

    def work(self, enhancer: Enhancer) -> None:
        """Claim and enhance, until it is stopped or, if it works once, nothing can be done any more."""
        self._working.run(enhancer, self._check)

    def _check(self) -> None:
        if self.arrivals.error is not None:
            raise self.arrivals.error
