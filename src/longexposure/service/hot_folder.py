"""What a service is asked for, and what it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from longexposure.enhance.files import FileResult
from longexposure.errors import LongExposureError
from longexposure.io.defect_maps import DefectMap
from longexposure.noise.calibration import NoiseCalibration
from longexposure.service.ledger import LEASE_S

LEDGER = "ledger.sqlite"
"""Name of the ledger in the output folder."""

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
        retry: try again what lies in quarantine, though it has not changed.
        strength, noise, bad_pixels, masks, guard, sidecar, compress, dataset: as `enhance_files`.
        lease_s: see `longexposure.service.ledger.LEASE_S`.
    """

    source: Path
    out: Path
    recursive: bool = False
    settle_s: float = 1.0
    poll: bool = False
    ledger: Path | None = None
    copies: bool = False
    retry: bool = False
    strength: float = 1.0
    noise: NoiseCalibration | None = None
    bad_pixels: DefectMap | None = None
    masks: bool = False
    guard: bool = False
    sidecar: bool = False
    compress: str | None = None
    dataset: str | None = None
    lease_s: float = field(default=LEASE_S, repr=False)


class Telling:
    """Tells events, and counts those that say what became of a file; from several threads."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell

    def say(self, kind: Kind, text: str, **more: Any) -> None:
        """Tell an event; `more` are its other fields."""
        self._tell(Event(kind, text, **more))

    def count(self, kind: Kind, text: str, **more: Any) -> None:
        """Tell what became of a file."""
        self.counts[kind] += 1
        self.say(kind, text, **more)
