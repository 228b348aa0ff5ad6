"""Files one after the other: while one is computed, the next is read and the one before is written."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from longexposure.enhance.job import Enhanced, Examined, Job
from longexposure.enhance.result import FileResult
from longexposure.errors import LongExposureError, OutputError, ResourceError
from longexposure.system import free_memory

logger = logging.getLogger(__name__)

AHEAD_SHARE = 16
"""The next image is read while one is computed where it takes less than this part of the free memory."""

Compute = Callable[[Examined], Enhanced]


class Pipeline:
    """Takes files through a job, with one thread that reads ahead and one that writes behind.

    At most one image waits on either side. Nothing is read ahead of an image that leaves too little memory,
    nor a file whose enhanced one would have the name of another's: what becomes of that decides about it.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = ThreadPoolExecutor(1, "longexposure-reader")
        self._writer = ThreadPoolExecutor(1, "longexposure-writer")
        self._ahead: Future[Examined] | None = None
        self._behind: list[tuple[Path, Future[FileResult]]] = []
        self._taken: dict[str, Path] = {}

    def close(self) -> None:
        """Let the threads finish what they are at, so that no file is left half written."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()
        self._reader.shutdown()

    def read_ahead(self, source: Path) -> None:
        """Begin to read and examine the file that comes next."""
        self._ahead = self._reader.submit(self._job.read, source)

    def results(self, sources: Sequence[Path], compute: Compute) -> Iterator[FileResult]:
        """The results of files in their order, one for each; a file is there when its result is.

        Args:
            sources: the files; the first may be read ahead already.
            compute: enhances what was read.
        """
        try:
            for source, following in zip(sources, [*sources[1:], None], strict=True):
                yield from self._enhance(source, compute, following)
        except GeneratorExit:
            raise
        except BaseException:  # an interrupt, say: what was written before it is told
            yield from self._rest()
            raise
        yield from self._rest()

    def _enhance(self, source: Path, compute: Compute, following: Path | None) -> Iterator[FileResult]:
        """Enhance one file while the one before is written, whose result comes first.

        Args:
            source: the file that was read ahead, if one was.
            compute: enhances what was read.
            following: the file to read ahead meanwhile.
        """
        if self._ahead is None:
            yield from self._rest()
        outcome = self._attempt(source, compute, following)
        crowded = bool(self._behind) or self._ahead is not None
        yield from self._rest()
        if isinstance(outcome, FileResult) and isinstance(outcome.error, ResourceError) and crowded:
            logger.info("%s: once more, with all the memory to itself", source)
            self._drop_ahead()
            outcome = self._attempt(source, compute, None)
        if isinstance(outcome, FileResult):
            yield outcome
            return
        self._taken[self._name(source)] = source
        self._behind.append((source, self._writer.submit(self._job.write, outcome)))

    def _rest(self) -> Iterator[FileResult]:
        """The result of the file that is being written, if one is."""
        if self._behind:
            yield self._written()

    def _attempt(self, source: Path, compute: Compute, following: Path | None) -> Enhanced | FileResult:
        """Enhance one file, or say why not."""
        try:
            examined = self._examined(source)
            if following is not None and self._may_be_ahead(following, source, examined.before.pixels.nbytes):
                self.read_ahead(following)
            return compute(examined)
        except (LongExposureError, MemoryError) as error:
            return _failed(source, error)

    def _examined(self, source: Path) -> Examined:
        if self._ahead is None:
            _check_new_name(source, self._job.target(source), self._taken)
            return self._job.read(source)
        ahead, self._ahead = self._ahead, None
        return ahead.result()

    def _written(self) -> FileResult:
        source, future = self._behind[0]
        wait([future])
        del self._behind[0]  # not before: an interrupt leaves it to be told
        try:
            return future.result()
        except (LongExposureError, MemoryError) as error:
            del self._taken[self._name(source)]
            return _failed(source, error)

    def _may_be_ahead(self, following: Path, source: Path, nbytes: int) -> bool:
        """Whether a file may be read while another, of so many bytes of pixels, is computed."""
        if self._name(following) in (*self._taken, self._name(source)):
            return False
        with contextlib.suppress(OSError, ValueError):  # its reading will tell what is wrong
            nbytes = max(nbytes, following.stat().st_size)
        return AHEAD_SHARE * nbytes <= free_memory()

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            wait([self._ahead])
            self._ahead = None

    def _name(self, source: Path) -> str:
        """What two enhanced files must not share, on any file system."""
        return self._job.target(source).name.lower()


def _failed(source: Path, error: LongExposureError | MemoryError) -> FileResult:
    """The result of a file that failed; the images on the way to its error are let go."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__
    return FileResult(source=source, error=_no_memory(source) if isinstance(error, MemoryError) else error)


def _check_new_name(source: Path, target: Path, written: dict[str, Path]) -> None:
    earlier = written.get(target.name.lower())
    if earlier is not None:
        raise OutputError(
            where=str(source),
            expected="inputs whose enhanced files have different names",
            found=f"{earlier}, which became {target} already",
            advice="enhance the folders one by one, each with its own --out",
        )


def _no_memory(source: Path) -> ResourceError:
    return ResourceError(
        where=str(source),
        expected="memory for the whole image and its enhanced copy",
        found="too little",
        advice="close other programs, or cut the image or the stack into several files",
    )
