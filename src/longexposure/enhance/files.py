"""A folder of files: while one is computed, the next is read and measured and the one before is written."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longexposure.enhance.enhancer import Enhancer, check_strength
from longexposure.enhance.statistics import ImageStatistics, examine, pages_of
from longexposure.errors import LongExposureError, OutputError, ResourceError
from longexposure.io import check_writable_folder, read_radiograph, writable_suffix, write_radiograph
from longexposure.io.segments import check_compression
from longexposure.io.writing import refuse_existing
from longexposure.models.noise_range import Conditions
from longexposure.noise import NoiseProfile, left_in_flat_areas
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Radiograph
from longexposure.system import free_memory

logger = logging.getLogger(__name__)

AHEAD_TIMES = 16
"""The next image is read while one is computed where the free memory holds it so many times."""


@dataclass(frozen=True, eq=False)
class FileResult:
    """What became of one file.

    `before` and `after` hold the pixels for a report; drop the result when done with it, so that a folder
    takes no more memory than its largest file. `noise_sigma` is the standard deviation of the first page's
    noise in the middle of its contrast, in grey values; `left_in_flat_areas` is what is left of it where
    there is nothing else, as a fraction (`longexposure.noise.left_in_flat_areas`). `seconds` is what
    measuring and computing took, `engine` is the engine's name and precision.
    """

    source: Path
    output: Path | None = None
    error: LongExposureError | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    noise_sigma: float = 0.0
    left_in_flat_areas: float = 1.0
    bad_pixels: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0
    engine: str | None = None
    noise: NoiseProfile | None = None
    warnings: tuple[str, ...] = ()
    before: Radiograph | None = None
    after: Radiograph | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "source": str(self.source),
            "output": str(self.output) if self.output else None,
            "error": str(self.error) if self.error else None,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "noise_sigma": self.noise_sigma,
            "left_in_flat_areas": self.left_in_flat_areas,
            "bad_pixels": self.bad_pixels,
            "seconds": self.seconds,
            "megapixels": self.megapixels,
            "noise": self.noise.as_dict() if self.noise else None,
            "warnings": list(self.warnings),
            "history": [step.as_dict() for step in self.after.history] if self.after else [],
        }


def enhance_files(
    inputs: Sequence[Path],
    out: Path,
    enhancer: Enhancer | Callable[[], Enhancer],
    *,
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
    overwrite: bool = False,
    sidecar: bool = False,
    compress: str | None = None,
) -> Iterator[FileResult]:
    """Enhance files into a folder, in their order; a bad file is reported and the others go on.

    An enhanced file keeps its name; formats that cannot be written (.xrm, .txrm) become TIFF. While a file
    is computed, the next one is read and the one before is written, where there is memory for that; a file
    is there when its result is, and the results are those of one file at a time.

    Args:
        inputs: image files.
        out: output folder, made where it is missing; never the folder of an input.
        enhancer: the model, or what loads it, which is called while the first file is read.
        noise: see `Enhancer.enhance`; None measures it on every image.
        strength: see `Enhancer.enhance`.
        overwrite: replace enhanced files from an earlier run, which their history tells; nothing else is
            ever replaced.
        sidecar: write each history beside the image too, as JSON.
        compress: compression of TIFFs, see `write_radiograph`; None keeps each file's own.

    Raises:
        OutputError: the folder cannot be made or written, or holds an input.
        RecipeError: strength outside 0..1, or an unknown compression.
    """
    check_strength(strength)
    check_compression(compress)
    sources, out = [Path(source) for source in inputs], Path(out)
    for source in sources:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # its reading will report what is wrong
            # where it lies by its own name, and by what it links to
            if out.resolve() in (source.parent.resolve(), source.resolve().parent):
                raise OutputError(
                    where=str(out),
                    expected="an output folder that holds none of the inputs",
                    found=f"the folder of {source.name}",
                    advice="choose another folder for --out, so that no original is at risk",
                )
    with contextlib.closing(
        _Pipeline(out, noise, overwrite=overwrite, sidecar=sidecar, compress=compress)
    ) as pipeline:
        if sources:
            pipeline.read_ahead(sources[0])
        loaded = enhancer if isinstance(enhancer, Enhancer) else enhancer()
        check_writable_folder(out)
        yield from pipeline.results(sources, loaded, strength)


@dataclass(frozen=True, eq=False)
class _Measured:
    """A file as it was read, and the statistics of its pages, which took so many seconds."""

    source: Path
    before: Radiograph
    statistics: Sequence[ImageStatistics]
    seconds: float


class _Pipeline:
    """Takes files from reading to writing, with one thread that reads ahead and one that writes behind.

    At most one image waits on either side. Nothing is read ahead of an image that leaves too little memory,
    nor a file whose enhanced one would have the name of another's: what becomes of that decides about it.
    """

    def __init__(
        self,
        out: Path,
        noise: NoiseProfile | NoiseCalibration | None,
        *,
        overwrite: bool,
        sidecar: bool,
        compress: str | None,
    ) -> None:
        self._out, self._noise, self._overwrite, self._sidecar = out, noise, overwrite, sidecar
        self._compress = compress
        self._reader = ThreadPoolExecutor(1, "longexposure-reader")
        self._writer = ThreadPoolExecutor(1, "longexposure-writer")
        self._ahead: Future[_Measured] | None = None
        self._behind: list[tuple[Path, Future[FileResult]]] = []
        self._written: dict[str, Path] = {}

    def close(self) -> None:
        """Let the threads finish what they are at, so that no file is left half written."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()
        self._reader.shutdown()

    def read_ahead(self, source: Path) -> None:
        """Begin to read and measure the file that comes next."""
        self._ahead = self._reader.submit(self._read, source)

    def results(self, sources: Sequence[Path], enhancer: Enhancer, strength: float) -> Iterator[FileResult]:
        """The results of files in their order, one for each; the first file may be read ahead already."""
        try:
            for source, following in zip(sources, [*sources[1:], None], strict=True):
                if self._ahead is None:
                    yield from self._rest()
                outcome = self._compute(source, following, enhancer, strength)
                crowded = bool(self._behind) or self._ahead is not None
                yield from self._rest()
                if isinstance(outcome, FileResult) and isinstance(outcome.error, ResourceError) and crowded:
                    logger.info("%s: once more, with all the memory to itself", source)
                    if self._ahead is not None:
                        self._ahead.cancel()
                        wait([self._ahead])
                        self._ahead = None
                    outcome = self._compute(source, None, enhancer, strength)
                if isinstance(outcome, FileResult):
                    yield outcome
                else:
                    self._written[self._name(source)] = source
                    self._behind.append((source, self._writer.submit(outcome)))
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
            source, future = self._behind[0]
            wait([future])
            del self._behind[0]  # not before: an interrupt leaves it to be reported
            try:
                result = future.result()
            except (LongExposureError, MemoryError) as error:
                del self._written[self._name(source)]
                result = _failed(source, error)
            yield result

    def _compute(
        self, source: Path, following: Path | None, enhancer: Enhancer, strength: float
    ) -> FileResult | Callable[[], FileResult]:
        """Enhance one file, which was read ahead or is read now, and read the following one ahead meanwhile.

        Returns:
            What writes the enhanced file; or the result, where something went wrong.
        """
        try:
            if self._ahead is not None:
                ahead, self._ahead = self._ahead, None
                measured = ahead.result()
            else:
                earlier, target = self._written.get(self._name(source)), self._target(source)
                if earlier is not None:
                    raise OutputError(
                        where=str(source),
                        expected="inputs whose enhanced files have different names",
                        found=f"{earlier}, which became {target} already",
                        advice="enhance the folders one by one, each with its own --out",
                    )
                measured = self._read(source)
            before = measured.before
            if following and self._name(following) not in (*self._written, self._name(source)):
                nbytes = before.pixels.nbytes
                with contextlib.suppress(OSError, ValueError):  # its reading will report what is wrong
                    nbytes = max(nbytes, following.stat().st_size)
                if AHEAD_TIMES * nbytes <= free_memory():
                    self.read_ahead(following)
            started = time.perf_counter()
            pixels, statistics = enhancer.enhance_pages(
                before.pixels, strength=strength, statistics=measured.statistics
            )
            step = enhancer.step(statistics, strength=strength)
            seconds = measured.seconds + time.perf_counter() - started
            engine = str(enhancer.engine.info) if enhancer.engine.info else None
            after = before.with_pixels(pixels, step)
            return lambda: self._write(measured, after, enhancer.trained, engine, seconds)
        except (LongExposureError, MemoryError) as error:
            return _failed(source, error)

    def _read(self, source: Path) -> _Measured:
        """Read and measure a file whose enhanced one may be written.

        Raises:
            InputError: a file that cannot be read or does not suit the noise that is given.
            OutputError: a file in its enhanced one's place that is not to be replaced.
        """
        before, target = read_radiograph(source), self._target(source)
        refuse_existing(target, overwrite=self._overwrite)
        if target.exists():
            ours = False
            with contextlib.suppress(LongExposureError):
                ours = any(step.action == "enhance" for step in read_radiograph(target).history)
            if not ours:
                raise OutputError(
                    where=str(target),
                    expected="an enhanced file of an earlier run, which --overwrite may replace",
                    found="a file without such a history, perhaps an original",
                    advice="use another --out, or move that file away",
                )
        started = time.perf_counter()
        statistics = [examine(page, self._noise, where=str(source)) for page in pages_of(before.pixels)]
        return _Measured(source, before, statistics, seconds=time.perf_counter() - started)

    def _write(
        self,
        measured: _Measured,
        after: Radiograph,
        trained: Conditions | None,
        engine: str | None,
        seconds: float,
    ) -> FileResult:
        """Write the enhanced file (raises OutputError where that cannot be done), and report it."""
        before, statistics = measured.before, measured.statistics
        first = pages_of(before.pixels)[0]
        warnings = [text for found in statistics for text in found.warnings(trained)]
        if before.stored is not None and before.stored.notes:
            warnings.append(f"not carried over: {'; '.join(before.stored.notes)}")
        target = self._target(measured.source)
        result = FileResult(
            source=measured.source,
            output=target,
            shape=before.pixels.shape,
            dtype=before.dtype,
            noise_sigma=statistics[0].noise.sigma_at(statistics[0].grey.middle),
            left_in_flat_areas=left_in_flat_areas(first, pages_of(after.pixels)[0], statistics[0].noise),
            bad_pixels=sum(len(found.bad_pixels) for found in statistics),
            seconds=seconds,
            megapixels=before.pixels.size / 1e6,
            engine=engine,
            noise=statistics[0].noise,
            warnings=tuple(dict.fromkeys(warnings)),
            before=before,
            after=after,
        )
        write_radiograph(
            after, target, overwrite=self._overwrite, sidecar=self._sidecar, compress=self._compress
        )
        return result

    def _target(self, source: Path) -> Path:
        return self._out / f"{source.stem}{writable_suffix(source)}"

    def _name(self, source: Path) -> str:
        """What two enhanced files must not share, on any file system."""
        return self._target(source).name.lower()


def _failed(source: Path, error: LongExposureError | MemoryError) -> FileResult:
    """The result of a file that failed; the images on the way to its error are let go."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__
    if isinstance(error, MemoryError):
        error = ResourceError(
            where=str(source),
            expected="memory for the whole image and its enhanced copy",
            found="too little",
            advice="close other programs, or cut the image or the stack into several files",
        )
    return FileResult(source=source, error=error)
