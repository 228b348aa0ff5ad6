"""What is asked for every file: how it is read, how its enhanced file is written, what is never replaced."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longexposure.enhance.result import FileResult
from longexposure.enhance.statistics import ImageStatistics, examine, pages_of
from longexposure.errors import LongExposureError, OutputError
from longexposure.io import read_radiograph, writable_suffix, write_radiograph
from longexposure.noise import NoiseProfile, flat_blocks, flat_deviation
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Radiograph


@dataclass(frozen=True, eq=False)
class Examined:
    """A file as it was read, and what its pages were found to be in so many seconds."""

    source: Path
    before: Radiograph
    statistics: Sequence[ImageStatistics]
    seconds: float


@dataclass(frozen=True, eq=False)
class Enhanced:
    """What became of it in so many seconds, not yet written; the findings know the network by now."""

    examined: Examined
    after: Radiograph
    statistics: Sequence[ImageStatistics]
    engine: str | None
    seconds: float


@dataclass(frozen=True)
class Job:
    """What is done with every file before and after it is computed, as `enhance_files` was asked to.

    Attributes:
        out: output folder.
        noise: the noise of the images; None measures it on each.
        overwrite: replace enhanced files of an earlier run.
        sidecar: write each history beside the image too.
    """

    out: Path
    noise: NoiseProfile | NoiseCalibration | None = None
    overwrite: bool = False
    sidecar: bool = False

    def check_apart(self, sources: Iterable[Path]) -> None:
        """Refuse an output folder that holds one of the inputs.

        Raises:
            OutputError: as said.
        """
        for source in sources:
            if self.out.resolve() in _folders_of(source):
                raise OutputError(
                    where=str(self.out),
                    expected="an output folder that holds none of the inputs",
                    found=f"the folder of {source.name}",
                    advice="choose another folder for --out, so that no original is at risk",
                )

    def target(self, source: Path) -> Path:
        """The enhanced file's name."""
        return self.out / f"{source.stem}{writable_suffix(source)}"

    def read(self, source: Path) -> Examined:
        """Read and examine a file whose enhanced one may be written.

        Raises:
            InputError: a file that cannot be read or does not suit the noise that is given.
            OutputError: a file in its enhanced one's place that is not to be replaced.
        """
        before = read_radiograph(source)
        _refuse_taken(self.target(source), overwrite=self.overwrite)
        started = time.perf_counter()
        statistics = [examine(page, self.noise) for page in pages_of(before.pixels)]
        return Examined(source, before, statistics, seconds=time.perf_counter() - started)

    def write(self, enhanced: Enhanced) -> FileResult:
        """Write the enhanced file, and tell of it.

        Raises:
            OutputError: it cannot be written.
        """
        examined, after, statistics = enhanced.examined, enhanced.after, enhanced.statistics
        before = examined.before
        first = pages_of(before.pixels)[0]
        flat = flat_blocks(first, statistics[0].noise)
        result = FileResult(
            source=examined.source,
            output=self.target(examined.source),
            shape=before.pixels.shape,
            dtype=before.pixels.dtype.name,
            sigma_before=flat_deviation(first, flat),
            sigma_after=flat_deviation(pages_of(after.pixels)[0], flat),
            bad_pixels=sum(len(found.bad_pixels) for found in statistics),
            seconds=enhanced.seconds,
            megapixels=before.pixels.size / 1e6,
            engine=enhanced.engine,
            noise=statistics[0].noise,
            warnings=tuple(dict.fromkeys(text for found in statistics for text in found.warnings)),
            before=before,
            after=after,
        )
        write_radiograph(after, self.target(examined.source), overwrite=self.overwrite, sidecar=self.sidecar)
        return result


def _folders_of(source: Path) -> set[Path]:
    """Where a file lies, by its own name and by what it links to."""
    folders = set()
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # its reading will tell what is wrong
        folders.add(source.parent.resolve())
        folders.add(source.resolve().parent)
    return folders


def _refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unless that is asked for and the file is one that this package enhanced."""
    if not target.exists():
        return
    if not overwrite:
        raise OutputError(
            where=str(target),
            expected="a name that is free",
            found="an existing file",
            advice="use --overwrite or another --out",
        )
    try:
        ours = any(step.action == "enhance" for step in read_radiograph(target).history)
    except LongExposureError:
        ours = False
    if not ours:
        raise OutputError(
            where=str(target),
            expected="an enhanced file of an earlier run, which --overwrite may replace",
            found="a file without such a history, perhaps an original",
            advice="use another --out, or move that file away",
        )
