"""What is found out about a file before it is enhanced: its hash, its job, what lies in its place."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longexposure.enhance.jobs import Job, looked_at, mask_path, refuse_folders_of_inputs
from longexposure.errors import InputError, OutputError
from longexposure.io import remove_temporaries, sidecar_path, writable_suffix
from longexposure.io.checks import reason_of
from longexposure.service.ledger import Entry, Ledger
from longexposure.service.places import Layout
from longexposure.service.quarantine import set_aside
from longexposure.service.settling import sha256_unless, stamp_of

MOST_DEATHS = 10
"""A file that so many processes ended at is put into quarantine."""


@dataclass(frozen=True)
class Intake:
    """Enters files into a ledger, and looks at what was claimed from it.

    Attributes:
        layout: where originals are and enhanced files go.
        ledger: where they are entered.
        settings: see `longexposure.enhance.jobs.settings_of`.
        sidecar: whether histories are to lie beside enhanced files.
        masks: whether masks of bad pixels are.
        arrived: set when there is a new job.
        over: whether files are not to be entered any more.
        stopped: whether the service is to end.
        called: what histories call an original, "" for its own name.
        replaces: whether enhanced files of ours that other settings made are made again, where nobody but the
            service has put files into the output folder.
    """

    layout: Layout
    ledger: Ledger
    settings: dict[str, Any]
    sidecar: bool
    masks: bool
    arrived: threading.Event
    over: Callable[[], bool]
    stopped: Callable[[], bool]
    called: Callable[[Path], str] = lambda source: ""
    replaces: bool = False

    def enter(self, path: Path, stamp: str) -> None:
        """Enter a file that is whole.

        Raises:
            Ended: the service is to end.
            OutputError, DamagedLedgerError: see `Ledger`.
        """
        try:
            sha256 = sha256_unless(self.over, path)
        except FileNotFoundError:
            return
        except OSError:
            sha256 = ""  # its error arises when it is read
        if self.ledger.enter(path, stamp, sha256, lambda: self._targets(path)):
            self.arrived.set()

    def _targets(self, source: Path) -> Iterator[Path]:
        """Names for an enhanced file: its own, its whole own, then with numbers."""
        below = self.layout.out / source.relative_to(self.layout.source)
        suffix = writable_suffix(source.name)
        plain = below.with_name(f"{source.stem}{suffix}")
        yield plain
        if plain.name != source.name:
            yield below.with_name(source.name + suffix)
        number = 2
        while True:
            yield plain.with_name(f"{source.stem}-{number}{suffix}")
            number += 1

    def looked_at(self, entry: Entry, made_before: str | None) -> tuple[Job, str]:
        """The job of an entry with what is in its place, and what is to be said of it.

        Args:
            entry: as it was claimed.
            made_before: see `Ledger.made_before`; such a file is moved away.

        Raises:
            Ended: the service is to end.
            InputError: the file is to blame: processes end at it, it is no original, its name is too long.
            OutputError: its place is among originals, or the file in it cannot be moved.
        """
        below = str(entry.source.relative_to(self.layout.source))
        job = Job(entry.source, entry.target, below, called=self.called(entry.source))
        if entry.deaths:
            remove_temporaries([entry.target.parent])
        if entry.deaths >= MOST_DEATHS:
            raise _deadly(entry)
        self.layout.refuse(entry.source, entry.target)
        refuse_folders_of_inputs([job], self.layout.out)
        self._check_names(job)
        if not os.path.lexists(job.target):
            return job, ""
        is_file = os.path.isfile(job.target)  # noqa: PTH113 (never raises)
        if is_file and made_before and sha256_unless(self.stopped, job.target) == made_before:
            kept = set_aside(self.layout.out, job.target, made_before)
            return job, f"{job.name}: has changed; the enhanced file of the earlier one is {kept}"
        known = entry.source_sha256 if stamp_of(entry.source) == entry.stamp else ""
        looked = looked_at(
            job,
            self.settings,
            force=False,
            sidecar=self.sidecar,
            masks=self.masks,
            source_sha256=known or None,
        )
        if self.replaces and isinstance(looked.error, OutputError):
            looked = looked_at(job, self.settings, force=True, sidecar=self.sidecar, masks=self.masks)
        return looked, ""

    def _check_names(self, job: Job) -> None:
        """Refuse a file of whose name too long ones are made (raises InputError)."""
        made = [job.target]
        made += [sidecar_path(job.target)] if self.sidecar else []
        made += [mask_path(job.target)] if self.masks else []
        for path in made:
            try:
                path.lstat()
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    raise InputError(
                        where=str(job.source),
                        expected="a name of which names of enhanced files can be made",
                        found=f"one of {len(os.fsencode(path.name))} bytes ({reason_of(error)})",
                        advice="shorten its name",
                    ) from error


def _deadly(entry: Entry) -> InputError:
    return InputError(
        where=str(entry.source),
        expected="a file that processes survive",
        found=f"{entry.deaths} that ended while they were at it",
        advice="try it alone with `longexposure --debug enhance`, and report it",
    )
