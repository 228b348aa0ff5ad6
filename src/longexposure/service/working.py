"""The work of a service: jobs are claimed from a ledger, enhanced in order of arrival, and ended there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.files import FileResult, enhance_as_they_come
from longexposure.enhance.jobs import Job, explained
from longexposure.errors import OutputError
from longexposure.io import check_writable_folder, remove_temporaries
from longexposure.service.asking import Asking
from longexposure.service.database import VERSION, OtherVersionError
from longexposure.service.hot_folder import LEDGER, HotFolder, Telling
from longexposure.service.intake import Intake
from longexposure.service.ledger import Entry, Ledger
from longexposure.service.outcomes import Outcomes
from longexposure.service.places import Layout, Place
from longexposure.service.quarantine import Quarantine
from longexposure.service.settling import Ended

LOOK_S = 1.0
"""How often an idle service looks whether others left something."""

KNOWN = "enhanced files themselves tell what is done"


class Working:
    """What one process of a service does with the jobs of a ledger.

    Args:
        folder: originals, enhanced files, and how these are made.
        layout: of the same folders, absolute and checked.
        settings: see `longexposure.enhance.jobs.settings_of`.
        telling: takes what is to be said.
        stopped: whether the service is to end.
        over: whether files are not to be entered any more.
        forget: told of originals that have changed.
        renewed: told that the ledger is another one by now.
        keep: told what became of a file before the ledger is.
        called: what histories call an original, "" for its own name.
        replaces: whether enhanced files of ours that other settings made are made again.
        once: whether each file is tried once.

    Raises:
        DamagedLedgerError: the ledger is damaged or none.
        OutputError: the output folder or the ledger cannot be written.
    """

    def __init__(
        self,
        folder: HotFolder,
        layout: Layout,
        settings: dict[str, Any],
        *,
        telling: Telling,
        stopped: Callable[[], bool],
        over: Callable[[], bool],
        forget: Callable[[Path], None],
        renewed: Callable[[], None],
        keep: Callable[[FileResult], None] = lambda result: None,
        called: Callable[[Path], str] = lambda original: "",
        replaces: bool = False,
        once: bool = False,
    ) -> None:
        self.telling = telling
        self.arrived = threading.Event()
        """Set when there is a new job."""
        self._folder, self._settings, self._once, self._stopped = folder, settings, once, stopped
        self._renewed, self._keep = renewed, keep
        check_writable_folder(layout.out)
        self._out = Place(layout.out)
        remove_temporaries([layout.out, *(Path(top) for top, _, _ in os.walk(layout.out))])
        self.ledger = self._opened(folder.ledger or layout.out / LEDGER, layout)
        self._ask = Asking(self.ledger, self._out, telling, stopped=stopped, once=once)
        self.intake = Intake(
            layout,
            self.ledger,
            settings,
            sidecar=folder.sidecar,
            masks=folder.masks,
            arrived=self.arrived,
            over=over,
            stopped=stopped,
            called=called,
            replaces=replaces,
        )
        self.outcomes = Outcomes(
            Place(layout.source),
            self._out,
            self._ask,
            telling=telling,
            quarantine=Quarantine(layout.out, copies=folder.copies),
            forget=forget,
            once=once,
        )
        if folder.retry:
            self.ledger.try_failed_again()
        for other in self.ledger.others():
            telling.say(
                "warning",
                f"process {other.pid} on {other.host.partition('[')[0]} watches the same folders with other "
                "settings: each file is enhanced once, by whoever is free; end one of them",
            )

    def run(self, enhancer: Enhancer, check: Callable[[], None] = lambda: None) -> None:
        """Claim and enhance, until it is stopped or, if it works once, nothing can be done any more.

        Args:
            enhancer: the model.
            check: asked again and again; what it raises ends the work.
        """
        settings = {
            name: getattr(self._folder, name)
            for name in (
                "noise",
                "strength",
                "sidecar",
                "compress",
                "bad_pixels",
                "masks",
                "dataset",
                "guard",
            )
        }
        while not self._stopped():
            check()
            self.arrived.clear()
            ended = 0
            if self._folders_are_there():
                stream = enhance_as_they_come(self._claimed(), enhancer, ended=self._is_to_pause, **settings)
                for result in stream:
                    ended += 1
                    self._keep(result)
                    self.outcomes.end(result)
                    del result  # with its pixels
                self.outcomes.give_all_back()
            if not ended:
                if self._once:
                    return
                self.arrived.wait(LOOK_S)
                while self.outcomes.all_wait() and not self._stopped():
                    time.sleep(0.1)

    def _is_to_pause(self) -> bool:
        return self.outcomes.all_wait() or self._stopped()

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
            entry = self._ask(lambda ledger: ledger.claim(self.outcomes.turn))
            if entry is None:
                return
            self.outcomes.at_hand[entry.source] = entry
            made_before = self._ask(partial(_made_before, entry))
            try:
                job, said = self.intake.looked_at(entry, made_before)
            except Ended:
                raise
            except Exception as error:  # of one file, which must not stop the others
                self.outcomes.judge(entry, explained(error, entry.source))
                continue
            if said:
                self.telling.say("warning", said, name=job.name)
            if job.waits:
                yield job
            elif job.error is not None:
                self.outcomes.judge(entry, job.error)
            else:
                self.outcomes.finish(entry, job.made[-1].settings.get("source_sha256", ""), None)

    def _folders_are_there(self) -> bool:
        """Whether output folder and ledger are there; a ledger that was removed is begun anew."""
        try:
            if not self._out.is_there():
                raise self.outcomes.gone()
            if not self.ledger.is_there():
                self.ledger.open_again()
                text = f"{self.ledger.path}: the ledger was removed or replaced; {KNOWN}"
                self.telling.say("warning", text)
                self._renewed()
        except OutputError as error:
            self.outcomes.wait_for_folders(error)
            return False
        self.outcomes.wait_for_folders(None)
        return True


def _made_before(entry: Entry, ledger: Ledger) -> str | None:
    return ledger.made_before(entry)
