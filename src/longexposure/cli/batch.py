"""What `enhance` tells of a batch of files: progress, warnings, errors, table, report and JSON."""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longexposure.cli.options import put_json_text
from longexposure.cli.terminal import Bar, Lines, Silence, echo, print_table, progress
from longexposure.errors import LongExposureError
from longexposure.format import json_text

if TYPE_CHECKING:
    from longexposure.enhance.files import FileResult
    from longexposure.enhance.jobs import Job

NAMES = ("file", "output")
"""Columns of names in the table."""

EXPENDABLE = ("warnings", "engine", "output", "noise from", "s/Mpx", "set aside", "bad pixels", "size")
"""Columns of the table that are left out on a narrow terminal, the first first."""

STATES = ("enhanced", "to enhance", "skipped", "to skip", "failed", "would fail")
"""What becomes of files, in the order of the last line."""

MADE_BY = "longexposure enhance"
"""Mark of the JSON that `enhance` writes and may replace."""

REPORT = "Enhanced radiographs"
"""Title of the report, and the mark of one that may be replaced."""

logger = logging.getLogger(__name__)


class Batch:
    """Follows the results of a batch, and keeps what is said of them, not their pixels.

    Args:
        jobs: the files.
        quiet: whether to say nothing but warnings and errors.
        to_stderr: whether stdout is for the JSON.
    """

    def __init__(self, jobs: Sequence[Job], *, quiet: bool, to_stderr: bool) -> None:
        self.errors: list[LongExposureError] = []
        self._jobs = jobs
        self._quiet = quiet
        self._to_stderr = to_stderr
        self._progress: Bar | Lines | Silence = Silence()
        self._rows: list[dict[str, Any]] = []
        self._records: list[str] = []
        self._counts: Counter[str] = Counter()
        self._computed = 0
        self._ended_by: BaseException | None = None
        self._reported: Path | None = None

    def foretell(self) -> None:
        """Say what would be done with each file."""
        for job in self._jobs:
            state = "would fail" if job.error else "to skip" if job.made else "to enhance"
            self._counts[state] += 1
            if job.error:
                self._fail(job.error)
            self._rows.append({"file": job.name, "status": state, "output": str(job.target)})
        if not self._quiet:
            print_table(self._rows, to_stderr=self._to_stderr, names=NAMES)
            self._sum_up(None)

    def at_work(self, job: Job, stage: str, share: float) -> None:
        """How far the file is that is computed."""
        done = self._computed + (share if stage == "computing" else 0.0)
        self._progress.part(done, f"{job.name}, {stage}" + (f" {share:.0%}" if 0 < share < 1 else ""))

    def follow(
        self,
        stream: Iterable[FileResult],
        report: Path | None,
        *,
        images: bool,
        places: Sequence[tuple[int, int]],
    ) -> None:
        """Draw every result through, into the report where one is wanted; pixels are let go one by one.

        A report that cannot be written is told; the files go on.
        """
        results = self._told(stream)
        if report is not None:
            self._write_report(results, report, images=images, places=places)
        deque(results, maxlen=0)

    def tell(self, json_file: Path | None) -> None:
        """The table, the JSON and what it sums up to, of all results so far."""
        if not self._quiet:
            print_table(self._rows, to_stderr=self._to_stderr, names=NAMES, expendable=EXPENDABLE)
        if json_file is not None and self._records:  # or an earlier one would be lost for nothing
            text = f"[{','.join(self._records)}\n]"
            try:
                put_json_text(text, json_file, overwrite=True)
            except LongExposureError as error:
                self._fail(error)
                json_file = None
        if not self._quiet and self._counts:
            self._sum_up(self._reported or json_file)

    def _told(self, stream: Iterable[FileResult]) -> Iterator[FileResult]:
        """Pass results on, each told and kept."""
        total = sum(job.waits for job in self._jobs)
        try:
            with progress("enhancing", total=total or None, quiet=self._quiet or not total) as self._progress:
                for result in stream:
                    self._note(result)
                    yield result
                    del result
        except Exception as error:
            self._ended_by = error
            raise
        finally:
            self._progress = Silence()

    def _note(self, result: FileResult) -> None:
        self._counts[result.status] += 1
        if result.error is not None:
            self._fail(result.error)
        for warning in result.warnings:
            self._progress.say(f"warning: {result.source}: {warning}")
        if not result.skipped:
            self._computed += 1
            became = "failed" if result.error else f"{result.seconds:.2f} s"
            self._progress.update(self._computed, f"{result.name}, {became}")
        self._rows.append({"file": result.name, "status": result.status, **_facts(result)})
        record = {"made_by": MADE_BY, **result.as_dict()}
        self._records.append("\n  " + json_text(record).replace("\n", "\n  "))

    def _write_report(
        self,
        results: Iterator[FileResult],
        path: Path,
        *,
        images: bool,
        places: Sequence[tuple[int, int]],
    ) -> None:
        """Write the report of the results; where that fails, those that are left are left."""
        from longexposure.enhance.jobs import explained
        from longexposure.io import check_writable_folder
        from longexposure.report.comparison import comparisons_of, write_report

        check_writable_folder(path.parent)
        comparisons = itertools.chain.from_iterable(
            comparisons_of(result, facts=noise_facts(result), places=places) for result in results
        )
        try:
            write_report(comparisons, path, title=REPORT, overwrite=True, images=images)
            self._reported = path
        except Exception as error:  # the report's own
            if self._ended_by is not None:
                raise
            logger.debug("%s", path, exc_info=error)
            self._fail(explained(error, path))

    def _fail(self, error: LongExposureError) -> None:
        self._progress.say(f"error: {error}")
        self.errors.append(error.with_traceback(None))  # which would keep images alive

    def _sum_up(self, where: Path | None) -> None:
        parts = [f"{self._counts[state]} {state}" for state in STATES if self._counts[state]]
        see = f": see {where or 'the errors above'}" if where or self.errors else ""
        echo(", ".join(parts) + see, err=self._to_stderr)


def _facts(result: FileResult) -> dict[str, Any]:
    """The columns of the table beside the file and what became of it."""
    if result.error is not None:
        return {}
    row = {title: value for title, value in result.as_row().items() if title != "file"}
    return row | noise_facts(result) | ({"engine": result.engine} if result.engine else {})


def noise_facts(result: FileResult) -> dict[str, Any]:
    """Columns of a table: where the noise is known from, and what was warned of."""
    if result.noise is None:
        return {}
    told = {"estimated": "the image", "image": "other images"}.get(result.noise.origin, result.noise.origin)
    facts: dict[str, Any] = {"noise from": told}
    if result.set_aside:
        facts["set aside"] = sum(result.set_aside.values()) / (1e6 * result.megapixels)
    return facts | ({"warnings": "; ".join(result.warnings)} if result.warnings else {})


def is_results(path: Path) -> bool:
    """Whether a file is JSON that `enhance` wrote."""
    with path.open("rb") as file:
        start = file.read(200)
    return b"".join(start.split()).startswith((b"[]", f'[{{"made_by":"{MADE_BY}"'.replace(" ", "").encode()))


def is_report(path: Path) -> bool:
    """Whether a file is a page that `enhance` wrote."""
    with path.open("rb") as file:
        start = file.read(4096)
    return b'content="longexposure ' in start and f"<title>{REPORT}</title>".encode() in start
