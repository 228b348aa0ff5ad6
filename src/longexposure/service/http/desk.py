"""Between the requests and the work: images are entered, looked after, handed out and deleted here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from longexposure.enhance.files import FileResult, result_of
from longexposure.enhance.jobs import Job
from longexposure.errors import InputError, LongExposureError
from longexposure.io import read_radiograph
from longexposure.io.declared import declared_pixels
from longexposure.report.comparison import comparisons_of, write_report
from longexposure.service.hot_folder import Event
from longexposure.service.http.admission import Admission, too_large
from longexposure.service.http.answers import no_such
from longexposure.service.http.limits import RefusedError, Serving
from longexposure.service.http.measures import Measures
from longexposure.service.http.store import Store, without_paths
from longexposure.service.http.uploads import Pace, Sink, Upload, receive
from longexposure.service.ledger import Row
from longexposure.service.settling import stamp_of
from longexposure.service.working import Working

THREADS = 4
"""Threads for files and ledger, whatever number of clients; the one that computes is another."""

LOOK_S = 1.0
"""How often is looked whether another server on the same ledger has done what is waited for."""

TIDY_S = 60.0
"""How often is looked what was kept long enough."""

TIDIED = 1000
"""Jobs that are deleted at one time, at most."""

Value = TypeVar("Value")
logger = logging.getLogger(__name__)


class Desk:
    """One server's images.

    Args:
        serving: limits and settings.
        store: where files are kept.
        measures: what is counted.
        working: the work; asked for when it is needed first.
        stopped: whether the server is to end.
    """

    def __init__(
        self,
        serving: Serving,
        store: Store,
        measures: Measures,
        *,
        working: Callable[[], Working],
        stopped: Callable[[], bool],
    ) -> None:
        self.serving, self.store, self.measures, self.stopped = serving, store, measures, stopped
        self.model: dict[str, Any] = {}
        """What enhances, as the history says it; empty while it is being loaded."""
        self._working = working
        self._threads = ThreadPoolExecutor(THREADS, "longexposure-http")
        self._reporting = ThreadPoolExecutor(1, "longexposure-report")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awaited: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.admission: Admission

    async def threaded(self, ask: Callable[..., Value], *arguments: Any) -> Value:
        """Run in a thread what may wait for a disk or the ledger."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask, *arguments)

    async def report(self, job: str) -> Path:
        """The report on a job, written when it is first asked for, one at a time.

        Raises:
            RefusedError: there is no such job, or it is not done.
            InputError, OutputError: it cannot be written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._reporting, self._report, job)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While requests are taken."""
        self._loop = asyncio.get_running_loop()
        self.admission = Admission(
            self.serving.queue,
            most_bytes=self.serving.most_bytes,
            open_jobs=lambda: self.threaded(self._working().ledger.open_jobs),
            free_bytes=self.store.free_bytes,
        )
        tidying = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            tidying.cancel()
            self._loop = None
            for pool in (self._threads, self._reporting):
                pool.shutdown(wait=False, cancel_futures=True)

    # ---- what the work tells, in its thread

    def keep(self, result: FileResult) -> None:
        """Keep what there is to say of an enhanced file, before the ledger says that it is done."""
        if result.error is None:
            told = result.as_dict()
            for path in ("source", "output", "error"):
                del told[path]
            with contextlib.suppress(LongExposureError):  # the file itself holds its history
                self.store.keep_result(result.source.stem, {**told, "engine": result.engine})

    def told(self, event: Event) -> Event:
        """Count and tell on an event; what is returned calls the image as its client does."""
        job = Path(event.name).stem
        if event.kind in ("enhanced", "found", "failed"):
            self.measures.images.labels(event.kind).inc()
            if event.error is not None:
                self.measures.failures.labels(type(event.error).__name__).inc()
            if event.result is not None:
                self.measures.enhanced(event.result, event.waited_s)
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                    self._loop.call_soon_threadsafe(self._ended, job)
        about = self.store.about(job) if event.name else None
        if about is None:
            return event
        name = f"{job} ({about['name']})"
        text = event.text.replace(str(self.store.originals / event.name), name).replace(event.name, name)
        return replace(event, text=text)

    def _ended(self, job: str) -> None:
        self.admission.ended()
        for waiting in self._awaited.get(job, ()):
            waiting.set()

    def enter_what_is_kept(self) -> None:
        """Enter originals that the ledger does not know: it is another one, or a server was killed."""
        for original in self.store.kept():
            if self._working().ledger.row(original) is None:
                self._enter(original, None)

    # ---- images that come

    async def take(
        self, pieces: AsyncIterator[bytes], *, declared: int | None, content_type: str, name: str
    ) -> str:
        """Take an image.

        Args:
            pieces: the body of the request.
            declared: its bytes, as the client announces them.
            content_type: as it says.
            name: what it calls the image.

        Returns:
            The id of its job.

        Raises:
            RefusedError: there is no place, or the body is none that is taken.
            InputError: it is no image.
            OutputError: it cannot be kept.
        """
        if self.stopped():
            raise ending()
        async with self.admission.place(declared):
            path = self.store.receiving()
            sink = Sink(path, most_bytes=self.serving.most_bytes, threaded=self.threaded)
            try:
                pace = Pace(self.serving.upload_s, self.serving.silent_s)
                upload = await receive(pieces, sink, content_type=content_type, name=name, pace=pace)
                job = await asyncio.shield(self.threaded(self._enter_upload, path, upload))
            except BaseException:
                sink.close()
                path.unlink(missing_ok=True)
                raise
        self.measures.received.inc(upload.nbytes)
        return job

    def _enter_upload(self, path: Path, upload: Upload) -> str:
        try:
            pixels = declared_pixels(path, dataset=self.serving.dataset)
            if pixels > self.serving.most_pixels:
                most = f"at most {self.serving.most_pixels} pixels in all pages"
                raise too_large(f"a header that declares {pixels}", most)
            about = {"name": upload.name, "bytes": upload.nbytes, "received_at": time.time()}
            original = self.store.take(path, about)
        except InputError as error:
            raise InputError(
                where=upload.name, expected=error.expected, found=error.found, advice=error.advice
            ) from error
        self._enter(original, upload.sha256)
        return original.stem

    def _enter(self, original: Path, sha256: str | None) -> None:
        working = self._working()
        if sha256 is None:
            working.intake.enter(original, stamp_of(original))
        else:
            target = self.store.target(original)
            working.ledger.enter(original, stamp_of(original), sha256, lambda: [target])
            working.arrived.set()

    async def wait(self, job: str, seconds: float) -> Row:
        """The row of a job that has ended, or as it is after so many seconds.

        Raises:
            RefusedError: it was deleted meanwhile.
        """
        event, until = asyncio.Event(), time.monotonic() + seconds
        self._awaited[job].add(event)
        try:
            while True:
                row = await self.threaded(self.row, job)
                left_s = until - time.monotonic()
                if row.state in ("done", "failed") or left_s <= 0 or self.stopped():
                    return row
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left_s, LOOK_S))
        finally:
            self._awaited[job].discard(event)
            if not self._awaited[job]:
                del self._awaited[job]

    # ---- what is asked

    def row(self, job: str) -> Row:
        """What the ledger says of a job (raises RefusedError where there is none)."""
        original = self.store.original(job)
        row = None if original is None else self._working().ledger.row(original)
        if row is None:
            raise no_such(f"job {job[:40]!r}")
        return row

    def view(self, row: Row, *, whole: bool = False) -> dict[str, Any]:
        """What clients are told of a job, with all that was found where it is `whole`."""
        job = row.source.stem
        about = self.store.about(job) or {"name": job, "bytes": None}
        done = row.state == "done"
        told = (self.store.result(job) if whole else self.store.summary(job)) if done else None
        links = {"self": f"/jobs/{job}", "original": f"/jobs/{job}/original"}
        if done:
            links |= {name: f"/jobs/{job}/{name}" for name in ("result", "report")}
        error = None
        if row.error and not done:
            error = without_paths(row.error, about["name"], row.source, row.target)
            error = error.replace(str(self.store.data), "the data folder")
        return {
            "id": job,
            "name": about["name"],
            "bytes": about["bytes"],
            "state": row.state,
            "error": error,
            "arrived_at": row.arrived_at,
            "began_at": row.began_at,
            "ended_at": row.ended_at,
            "source_sha256": row.source_sha256,
            "output_sha256": row.output_sha256,
            "found": told,
            "links": links,
        }

    def listed(self, most: int, before: int | None) -> dict[str, Any]:
        """The newest jobs, with the number that the next older ones are asked for with."""
        rows = self._working().ledger.rows(most=most, before=before)
        known = [row for row in rows if self.store.about(row.source.stem) is not None]
        return {
            "jobs": [self.view(row) for row in known],
            "before": rows[-1].number if len(rows) == most else None,
            "open": self._working().ledger.open_jobs(),
        }

    def file_of(self, job: str, kind: str) -> tuple[Path, str]:
        """A file and the name that a client gets it under: the result or the original.

        Raises:
            RefusedError: there is none, or not yet.
        """
        row = self.row(job)
        if kind == "result" and row.state != "done":
            raise RefusedError(
                409,
                where=f"job {job}",
                expected="one that is done",
                found=f"one that is {row.state}",
                advice=f"ask GET /jobs/{job} what becomes of it",
            )
        path = row.target if kind == "result" else row.source
        if not os.path.isfile(path):  # noqa: PTH113 (never raises)
            raise no_such(f"{kind} of job {job}")
        name = (self.store.about(job) or {}).get("name", job)
        return path, f"{Path(name).stem or job}{path.suffix}"

    def _report(self, job: str) -> Path:
        target, _ = self.file_of(job, "result")
        path, row = self.store.report(job), self.row(job)
        if not path.exists():
            history = read_radiograph(target, in_pages=True, dataset=self.serving.dataset).history
            name = (self.store.about(job) or {}).get("name", job)
            seconds = (self.store.result(job) or {}).get("seconds", 0.0)
            result = replace(result_of(Job(row.source, target, name), history), seconds=seconds)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_report(comparisons_of(result), path, title=name)
        return path

    def delete(self, job: str) -> None:
        """Delete all that is kept of a job (raises RefusedError while it runs, or where there is none)."""
        row, about = self.row(job), self.store.about(job)
        if about is None:
            raise no_such(f"job {job}")
        self.store.forget(job)
        if not self._working().ledger.strike(row.source):
            self.store.find_again(job, about)
            raise RefusedError(
                409,
                where=f"job {job}",
                expected="one that does not run",
                found="one that is being enhanced",
                advice="delete it when it is done",
                retry_after=self.admission.retry_after(),
            )
        self.store.remove(row.source)

    def why_not_ready(self) -> str:
        """Why no image is enhanced now, "" where they are."""
        if self.stopped():
            return "the server is ending"
        if not self.model:
            return "the model is being loaded"
        if self._working().outcomes.all_wait():
            return "images wait for a disk or folder; the server's log says which"
        return ""

    def measured(self) -> bytes:
        """What Prometheus is told."""
        self.measures.ready.set(not self.why_not_ready())
        self.measures.queue.set(self._working().ledger.open_jobs())
        self.measures.uploads.set(self.admission.uploads)
        return self.measures.text()

    async def _tidy(self) -> None:
        """Delete again and again what was kept long enough."""
        while self.serving.keep_s is not None:
            try:
                await self.threaded(self._tidy_once, time.time() - self.serving.keep_s)
            except LongExposureError as error:
                logger.warning("%s", error)
            await asyncio.sleep(min(TIDY_S, max(self.serving.keep_s, 1)))

    def _tidy_once(self, before: float) -> None:
        for row in self._working().ledger.rows(most=TIDIED, ended_before=before):
            with contextlib.suppress(RefusedError):
                self.delete(row.source.stem)


def ending() -> RefusedError:
    """What is said while the server ends."""
    return RefusedError(
        503,
        where="server",
        expected="one that takes images",
        found="one that is ending",
        advice="send the image to the next one",
        retry_after=5,
    )
