"""A batch of files: while one is computed, the next is read and measured and the one before is written."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from longexposure.enhance.choices import check_noise, check_strength
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.flags import flags_in, in_words
from longexposure.enhance.jobs import Job, explained, mask_path, noise_given, plan_files
from longexposure.enhance.statistics import ENHANCED_TWICE, ImageStatistics, examine, marks_of, pages_of
from longexposure.errors import LongExposureError, OutputError, ResourceError, as_list, as_path
from longexposure.io import check_writable_folder, read_radiograph, remove_temporaries, write_radiograph
from longexposure.io.defect_maps import DefectMap
from longexposure.io.formats import FORMATS
from longexposure.io.segments import check_compression
from longexposure.io.spool import Spool
from longexposure.io.writing import failing_as_output_error
from longexposure.models.noise_range import Conditions
from longexposure.noise import NoiseProfile, left_in_flat_areas
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Pages, Radiograph, Step
from longexposure.system import free_memory

logger = logging.getLogger(__name__)

AHEAD_TIMES = 16
"""The next image is read while one is computed where the free memory holds it so many times."""

TOLD_EVERY_S = 0.5
"""How often is told how far the measuring of an image is."""

Told = Callable[[Job, str, float], None]
"""Is told of progress: the file, "measuring" or "computing", and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class FileResult:
    """What became of one file: enhanced, skipped because that was done before, or failed.

    `before` and `after` hold the pixels for a report, but those of skipped files; drop the result when done
    with it, so that a folder takes no more memory than its largest file. `noise_sigma` is the standard
    deviation of the first page's noise in the middle of its contrast, in grey values; `left_in_flat_areas` is
    what is left of it where there is nothing else, as a fraction (`longexposure.noise.left_in_flat_areas`).
    `seconds` is what measuring and computing took, `engine` is the engine's name and precision. `name` is
    what tables call the file, `history` that of the enhanced one. `flags` is the number of places where what
    was taken away is not noise, None where nobody looked, `strongest_flags` where they are (x, y, height,
    width, page, ...).
    """

    source: Path
    output: Path | None = None
    error: LongExposureError | None = None
    name: str = ""
    skipped: bool = False
    shape: tuple[int, ...] = ()
    dtype: str = ""
    noise_sigma: float = 0.0
    left_in_flat_areas: float = 1.0
    bad_pixels: int = 0
    bad_pixels_by_kind: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    flags: int | None = None
    strongest_flags: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.0
    megapixels: float = 0.0
    engine: str | None = None
    noise: NoiseProfile | None = None
    warnings: tuple[str, ...] = ()
    history: tuple[Step, ...] = ()
    before: Radiograph | None = None
    after: Radiograph | None = None

    @property
    def status(self) -> Literal["enhanced", "skipped", "failed"]:
        if self.error is not None:
            return "failed"
        return "skipped" if self.skipped else "enhanced"

    def as_row(self) -> dict[str, Any]:
        """What the tables of command line and report say of the file."""
        if self.error is not None:
            return {"file": self.name or self.source.name, "output": "failed"}
        return {
            "file": self.name or self.source.name,
            "size": " x ".join(map(str, self.shape)) + f" {self.dtype}",
            "noise": self.noise_sigma,
            "left in flat areas": f"{self.left_in_flat_areas:.0%}",
            "bad pixels": self.bad_pixels,
            **({} if self.flags is None else {"flags": self.flags}),
            "s/Mpx": None if self.skipped else self.seconds / max(self.megapixels, 1e-6),
            "output": self.output.name if self.output else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "status": self.status,
            "source": str(self.source),
            "output": str(self.output) if self.output else None,
            "error": str(self.error) if self.error else None,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "noise_sigma": self.noise_sigma,
            "left_in_flat_areas": self.left_in_flat_areas,
            "bad_pixels": self.bad_pixels,
            "bad_pixels_by_kind": dict(self.bad_pixels_by_kind),
            "set_aside": dict(self.set_aside),
            "flags": self.flags,
            "strongest_flags": list(self.strongest_flags),
            "seconds": self.seconds,
            "megapixels": self.megapixels,
            "noise": self.noise.as_dict() if self.noise else None,
            "warnings": list(self.warnings),
            "history": [step.as_dict() for step in self.history],
        }


def enhance_files(
    inputs: Sequence[Path] | Sequence[Job],
    out: Path,
    enhancer: Enhancer | Callable[[], Enhancer],
    *,
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
    force: bool = False,
    recursive: bool = False,
    sidecar: bool = False,
    compress: str | None = None,
    bad_pixels: DefectMap | None = None,
    masks: bool = False,
    dataset: str | None = None,
    guard: bool = False,
    on_progress: Told | None = None,
) -> Iterator[FileResult]:
    """Enhance files into a folder, in their order; a bad file is reported and the others go on.

    What is done already and unchanged is skipped, see `plan_files`. An enhanced file keeps its name; formats
    that cannot be written (.xrm, .txrm) become TIFF. While a file is computed, the next is read and the one
    before is written, where there is memory for that; a file is there when its result is, and the results
    are those of one file at a time. What killed processes left half-written in the output folders goes.

    Args:
        inputs: image files and folders of them, or the jobs of `plan_files`, with equal settings.
        out: output folder, made where it is missing; never the folder of an input.
        enhancer: the model, or what loads it (`ModelChoice`), while the first file is read, if one is to be.
        noise: see `Enhancer.enhance`; None measures it on every image.
        strength: see `Enhancer.enhance`.
        force: enhance all files anew and replace enhanced files that are there, which their history tells;
            nothing else is ever replaced.
        recursive: look into the subfolders of folders; the structure is kept.
        sidecar: write each history beside the image too, as JSON.
        compress: compression of TIFFs, see `write_radiograph`; None keeps each file's own.
        bad_pixels: faulty pixels that are known, which are filled besides those found.
        masks: write what every pixel is beside the image too, see `mask_path`.
        dataset: path of the images in HDF5 files, see `read_radiograph`.
        guard: look for places where what was taken away is not noise, see `longexposure.enhance.guard`.
        on_progress: is told how far the file is that is computed.

    Raises:
        InputError: no input was given.
        OutputError: the folder cannot be made or written, or holds an input.
        CheckpointError, ResourceError: the model cannot be loaded.
        RecipeError: strength outside 0..1, or an unknown compression.
    """
    strength = check_strength(strength)
    check_noise(noise)
    inputs = as_list(inputs, where="inputs")
    out = as_path(out, where="out", error=OutputError)
    check_compression(compress)
    jobs = [each for each in inputs if isinstance(each, Job)]
    paths = [as_path(each, where="input") for each in inputs if not isinstance(each, Job)]
    if paths:
        jobs += plan_files(
            paths,
            out,
            enhancer,
            noise=noise,
            strength=strength,
            force=force,
            recursive=recursive,
            sidecar=sidecar,
            compress=compress,
            bad_pixels=bad_pixels,
            masks=masks,
            dataset=dataset,
            guard=guard,
        )
    waiting = [job for job in jobs if job.waits]
    with contextlib.closing(
        _Pipeline(
            noise,
            strength,
            sidecar=sidecar,
            compress=compress,
            bad_pixels=bad_pixels,
            masks=masks,
            dataset=dataset,
            guard=guard,
            on_progress=on_progress,
        )
    ) as pipeline:
        loaded = None
        if waiting:
            pipeline.read_ahead(waiting[0])
            loaded = enhancer if isinstance(enhancer, Enhancer) else enhancer()
            check_writable_folder(out)
        remove_temporaries(dict.fromkeys([Path(out), *(job.target.parent for job in jobs)]))
        yield from pipeline.results(jobs, loaded)


def enhance_as_they_come(
    jobs: Iterable[Job],
    enhancer: Enhancer,
    *,
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
    sidecar: bool = False,
    compress: str | None = None,
    bad_pixels: DefectMap | None = None,
    masks: bool = False,
    dataset: str | None = None,
    guard: bool = False,
    ended: Callable[[], bool] = lambda: False,
) -> Iterator[FileResult]:
    """`enhance_files` for jobs of which nobody knows how many come: each is taken when the one before begins.

    Args:
        jobs: asked for one more than is computed, so that it can be read ahead; it ends when none waits.
        enhancer: the model.
        noise: as `enhance_files`.
        strength: as `enhance_files`.
        sidecar: as `enhance_files`.
        compress: as `enhance_files`.
        bad_pixels: as `enhance_files`.
        masks: as `enhance_files`.
        dataset: as `enhance_files`.
        guard: as `enhance_files`.
        ended: asked before each job; where it says so, the job at hand was the last, whatever was taken.
    """
    with contextlib.closing(
        _Pipeline(
            noise,
            strength,
            sidecar=sidecar,
            compress=compress,
            bad_pixels=bad_pixels,
            masks=masks,
            dataset=dataset,
            guard=guard,
            on_progress=None,
            ended=ended,
        )
    ) as pipeline:
        yield from pipeline.results(jobs, enhancer)


@dataclass(frozen=True, eq=False)
class _Measured:
    """A file as it was read, and the statistics of its pages, which took so many seconds.

    Where the pages of a stack were left in the file, there are none: each is measured when it is computed.
    """

    before: Radiograph
    statistics: Sequence[ImageStatistics] | None
    seconds: float


@dataclass(frozen=True, eq=False)
class _Computed:
    """A file as it was read, what became of it, and what that took; `marks` of pages left in their file."""

    before: Radiograph
    after: Radiograph
    statistics: Sequence[ImageStatistics]
    trained: Conditions | None
    seconds: float
    marks: Pages | None


class _Pipeline:
    """Takes files from reading to writing, with one thread that reads ahead and one that writes behind.

    At most one image waits on either side. Nothing is read ahead of an image that leaves too little memory.
    """

    def __init__(
        self,
        noise: NoiseProfile | NoiseCalibration | None,
        strength: float,
        *,
        sidecar: bool,
        compress: str | None,
        bad_pixels: DefectMap | None,
        masks: bool,
        dataset: str | None,
        guard: bool,
        on_progress: Told | None,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ended = ended
        self._noise, self._strength = noise, strength
        self._sidecar, self._compress = sidecar, compress
        self._bad_pixels, self._masks, self._dataset = bad_pixels, masks, dataset
        self._guard = guard
        self._tell: Told = on_progress or (lambda job, stage, share: None)
        self._reader = ThreadPoolExecutor(1, "longexposure-reader")
        self._writer = ThreadPoolExecutor(1, "longexposure-writer")
        self._ahead: Future[_Measured] | None = None
        self._measured = 0.0
        self._behind: list[tuple[Job, Future[FileResult]]] = []

    def close(self) -> None:
        """Let the threads finish what they are at, so that no file is left half written."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()
        self._reader.shutdown()

    def read_ahead(self, job: Job) -> None:
        """Begin to read and measure the file that comes next."""
        self._ahead = self._reader.submit(self._read, job)

    def results(self, jobs: Iterable[Job], enhancer: Enhancer | None) -> Iterator[FileResult]:
        """The results of files in their order, one for each; the first that waits may be read already."""
        coming, ahead = itertools.tee(jobs)
        waiting = itertools.chain((job for job in ahead if job.waits), [None])
        next(waiting)
        try:
            for job in coming:
                if self._ended():
                    break
                if enhancer is None or not job.waits:
                    yield from self._rest()
                    yield _settled(job)
                    continue
                if self._ahead is None:
                    yield from self._rest()
                outcome = self._compute(job, next(waiting), enhancer)
                crowded = bool(self._behind) or self._ahead is not None
                yield from self._rest()
                if isinstance(outcome, FileResult) and isinstance(outcome.error, ResourceError) and crowded:
                    logger.info("%s: once more, with all the memory to itself", job.source)
                    if self._ahead is not None:
                        self._ahead.cancel()
                        wait([self._ahead])
                        self._ahead = None
                    outcome = self._compute(job, None, enhancer)
                if isinstance(outcome, FileResult):
                    yield outcome
                else:
                    self._behind.append((job, self._writer.submit(outcome)))
                del outcome  # or its images would wait for the end of the next
        except GeneratorExit:
            raise
        except BaseException:  # an interrupt, say: what was written before it is reported
            yield from self._rest()
            raise
        yield from self._rest()

    def _rest(self) -> Iterator[FileResult]:
        """The result of the file that is being written, if one is."""
        if self._behind:
            job, future = self._behind[0]
            wait([future])
            del self._behind[0]  # not before: an interrupt leaves it to be reported
            try:
                result = future.result()
            except Exception as error:  # of one file, which must not stop the others
                result = _failed(job, error)
            yield result

    def _compute(
        self, job: Job, following: Job | None, enhancer: Enhancer
    ) -> FileResult | Callable[[], FileResult]:
        """Enhance one file, which was read ahead or is read now, and read the following one ahead meanwhile.

        Returns:
            What writes the enhanced file; or the result, where something went wrong.
        """
        try:
            if self._ahead is not None:
                ahead, self._ahead = self._ahead, None
                while wait([ahead], TOLD_EVERY_S).not_done:
                    self._tell(job, "measuring", self._measured)
                measured = ahead.result()
            else:
                measured = self._read(job)
            before = measured.before
            if following:
                nbytes = before.pixels.nbytes
                with contextlib.suppress(OSError, ValueError):  # its reading will report what is wrong
                    nbytes = max(nbytes, following.source.stat().st_size)
                if AHEAD_TIMES * nbytes <= free_memory():
                    self.read_ahead(following)
            started = time.perf_counter()
            folder, marks = job.target.parent, None
            if isinstance(before.pixels, Pages):
                with failing_as_output_error(job.target):
                    folder.mkdir(parents=True, exist_ok=True)
                marks = Spool(before.pixels.shape, np.uint8, folder) if self._masks else None
            pixels, statistics = enhancer.enhance_pages(
                before.pixels,
                noise=self._noise,
                strength=self._strength,
                bad_pixels=self._bad_pixels,
                statistics=measured.statistics,
                on_progress=lambda share: self._tell(job, "computing", share),
                on_page=lambda found: marks.put(found.marks()) if marks else None,
                where=str(job.source),
                folder=folder,
                guard=self._guard,
            )
            step = enhancer.step(statistics, strength=self._strength)
            seconds = measured.seconds + time.perf_counter() - started
            after = before.with_pixels(pixels, step)
            done = _Computed(
                before, after, statistics, enhancer.trained, seconds, marks.pages if marks else None
            )
            return lambda: self._write(job, done)
        except Exception as error:  # of one file, which must not stop the others
            return _failed(job, error)

    def _read(self, job: Job) -> _Measured:
        """Read and measure a file (raises InputError where it does not suit the noise that is given)."""
        before = read_radiograph(job.source, dataset=self._dataset, in_pages=True)
        if job.called and before.source is not None:
            before = replace(before, source=replace(before.source, called=job.called))
        started, statistics = time.perf_counter(), []
        pages = pages_of(before.pixels)
        given = None
        if self._bad_pixels is not None:
            shape = (pages.shape[1], pages.shape[2])
            given = self._bad_pixels.mask_for(shape, where=str(job.source))
        if isinstance(pages, Pages):
            return _Measured(before, None, seconds=0.0)
        for number, page in enumerate(pages):
            self._measured = number / len(pages)
            statistics.append(examine(page, self._noise, given=given, where=str(job.source)))
        return _Measured(before, statistics, seconds=time.perf_counter() - started)

    def _write(self, job: Job, done: _Computed) -> FileResult:
        """Write the enhanced file (raises OutputError where that cannot be done), and report it."""
        before, after, statistics = done.before, done.after, done.statistics
        first = pages_of(before.pixels)[0]
        warnings = [text for found in statistics for text in found.warnings(done.trained, before.enhanced_by)]
        if before.enhanced_by:
            warnings.append(f"enhanced before ({before.enhanced_by}): {ENHANCED_TWICE}")
        if before.stored is not None:
            warnings += before.stored.warnings
        if before.stored is not None and before.stored.notes:
            warnings.append(f"not carried over: {'; '.join(before.stored.notes)}")
        flags = flags_in(after.history[-1].settings["pages"])
        if flags is not None and flags[0]:
            warnings.append(in_words(flags[0], flags[1][0], pages=len(statistics)))
        result = {
            "size": list(before.pixels.shape),
            "type": before.dtype,
            "noise_sigma": statistics[0].noise.sigma_at(statistics[0].grey.middle),
            "left_in_flat_areas": left_in_flat_areas(
                statistics[0].aside.blanked(first), pages_of(after.pixels)[0], statistics[0].noise
            ),
            "bad_pixels": sum(sum(found.bad_pixels.counts.values()) for found in statistics),
            "bad_pixels_by_kind": _summed([found.bad_pixels.counts for found in statistics]),
            "warnings": list(dict.fromkeys(warnings)),
        }
        step = after.history[-1]
        told = {"noise_given": noise_given(self._noise), "compress": self._compress, "result": result}
        looked = {"guard": True} if self._guard else {}
        source = {"source_sha256": before.source.sha256} if before.source else {}
        given = self._bad_pixels
        faulty = {"bad_pixels_given": given.sha256, "bad_pixel_map": given.reference()} if given else {}
        several = before.source is not None and FORMATS[before.source.format].datasets
        named = {"dataset": self._dataset} if several and self._dataset is not None else {}
        step = replace(step, settings={**step.settings, **source, **told, **looked, **faulty, **named})
        after = replace(after, history=(*before.history, step))
        with failing_as_output_error(job.target):
            job.target.parent.mkdir(parents=True, exist_ok=True)
        write_radiograph(
            after, job.target, overwrite=job.replaces, sidecar=self._sidecar, compress=self._compress
        )
        if self._masks:
            write_radiograph(
                marks_of(before, statistics, done.marks), mask_path(job.target), overwrite=job.replaces
            )
        return replace(result_of(job, after.history), seconds=done.seconds, before=before, after=after)


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Numbers of pixels of each kind over all pages."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def result_of(job: Job, history: tuple[Step, ...]) -> FileResult:
    """The result as the history of the enhanced file tells it."""
    settings = history[-1].settings
    result, pages = settings["result"], settings["pages"]
    flags, strongest = flags_in(pages) or (None, [])
    return FileResult(
        source=job.source,
        output=job.target,
        name=job.name,
        shape=tuple(result["size"]),
        dtype=result["type"],
        noise_sigma=float(result["noise_sigma"]),
        left_in_flat_areas=float(result["left_in_flat_areas"]),
        bad_pixels=result["bad_pixels"],
        set_aside=sum((Counter(page.get("set_aside", {})) for page in pages), Counter()),
        bad_pixels_by_kind=result.get("bad_pixels_by_kind", {}),
        flags=flags,
        strongest_flags=strongest,
        megapixels=math.prod(result["size"]) / 1e6,
        engine=f"{settings['engine']} {settings['precision']}" if "engine" in settings else None,
        noise=NoiseProfile(**pages[0]["noise"]),
        warnings=tuple(result["warnings"]),
        history=history,
    )


def _settled(job: Job) -> FileResult:
    """The result of a file that there is nothing to compute for."""
    if not job.made:
        return FileResult(source=job.source, name=job.name, error=job.error)
    try:
        return replace(result_of(job, job.made), skipped=True)
    except Exception as error:  # of one file, which must not stop the others
        return _failed(job, error)


def _failed(job: Job, error: Exception) -> FileResult:
    """The result of a file that failed; the images on the way to its error are let go."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return FileResult(source=job.source, name=job.name, error=explained(error, job.source))
