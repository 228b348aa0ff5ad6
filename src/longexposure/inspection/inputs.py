"""Inputs: what is looked at. The short exposure as it is, filtered, enhanced, averaged, and the long one.

Filters and models go through the product's one enhance path, noise measured and not told, as a user's do.

Each input comes with a reference, what the part without the defect looks like in it: the mean of `REFERENCES`
good parts on other panels. For filters and models these are exposures that went the same way. For means of n
and the long exposure the noise of the same references is made fainter by sqrt(n) and not drawn anew, which is
what averaging n of each would leave, and somewhat less where the panels' fixed pattern remains.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.statistics import ImageStatistics, examine
from longexposure.inspection.cases import Case, Image
from longexposure.models.classical import Gaussian, NonLocalMeans
from longexposure.radiograph import Pixels
from longexposure.simulation.exposure import Acquisition
from longexposure.simulation.random_source import NumpyRandom

SHORT, LONG = "short", "long"
GAUSSIAN, NLM = "gaussian, tuned", "non-local means, tuned"
REFERENCES = 4
GAUSSIANS = (0.6, 0.8, 1.0, 1.4, 2.0, 2.8)
"""Standard deviations in px among which the best Gaussian is chosen."""
STRENGTHS = (0.6, 0.8, 1.0, 1.3)
"""Strengths among which the best non-local means is chosen."""
_FAULTY, _SOUND, _REFERENCE = 101, 102, 103


@dataclass(frozen=True)
class Filters:
    """The filters' settings, chosen on tuning scenes for the least error against the truth."""

    gaussian_px: float
    strength: float


@dataclass(frozen=True, eq=False)
class Views:
    """One input of one case.

    Attributes:
        name: of the input.
        faulty, sound: what it shows of the part with the defect and, in an exposure of its own, without.
        reference: what it shows of the part without the defect but for noise.
    """

    name: str
    faulty: Image
    sound: Image
    reference: Image


def mean_of(frames: int) -> str:
    """Name of the mean of so many short exposures."""
    return f"mean of {frames}"


def frames_of(name: str) -> int | None:
    """How many short exposures an input is the mean of; None where it is something else."""
    if name == SHORT:
        return 1
    return int(name.removeprefix("mean of ")) if name.startswith("mean of ") else None


def input_names(models: Sequence[str], frames: Sequence[int]) -> list[str]:
    """All inputs in the order of tables."""
    return [SHORT, *models, GAUSSIAN, NLM, *(mean_of(count) for count in frames), LONG]


def views(case: Case, models: Sequence[str], filters: Filters, frames: Sequence[int]) -> Iterator[Views]:
    """All inputs of a case; the first of the frames is the one that is filtered and enhanced."""
    faulty, sound = (
        _exposures(acquisition, case.key, stream, max(frames))
        for acquisition, stream in ((case.faulty, _FAULTY), (case.sound, _SOUND))
    )
    others = [
        replace(case.sound, seed=case.sound.seed ^ (number + 1)).expose_short(
            NumpyRandom((*case.key, _REFERENCE, number))
        )
        for number in range(REFERENCES)
    ]
    expected, times = case.expected, case.sound.parameters.exposures
    grain = np.mean(others, axis=0) - expected
    yield Views(SHORT, _real(faulty[0][0]), _real(sound[0][0]), expected + grain)
    for count in frames:
        reference = expected + grain / np.sqrt(count)
        first, second = (each[0][:count].mean(axis=0) for each in (faulty, sound))
        yield Views(mean_of(count), first, second, reference)
    reference = expected + grain / np.sqrt(times.long_s / times.short_s)
    yield Views(LONG, _real(faulty[1]), _real(sound[1]), reference)
    looked_at = (faulty[0][0], sound[0][0], *others)
    measured = [examine(image) for image in looked_at]
    for name in (*models, GAUSSIAN, NLM):
        done = [enhanced(name, filters, *each) for each in zip(looked_at, measured, strict=True)]
        yield Views(name, done[0], done[1], np.mean(done[2:], axis=0))


def enhanced(name: str, filters: Filters, image: Pixels, measured: ImageStatistics | None = None) -> Image:
    """What a model or filter makes of an image (H, W), whose statistics may have been measured before."""
    known = None if measured is None else [measured]
    return _real(enhancer_of(name, filters).enhance_pages(image, statistics=known)[0])


def enhancer_of(name: str, filters: Filters) -> Enhancer:
    """What makes this input of a short exposure."""
    if name == GAUSSIAN:
        return Enhancer(Gaussian(filters.gaussian_px), name=name)
    if name == NLM:
        return Enhancer(NonLocalMeans(filters.strength), name=name)
    return _loaded(name)


@functools.lru_cache(maxsize=8)
def _loaded(model: str) -> Enhancer:
    return load_enhancer(model, device="cpu")


def errors_of_filters(case: Case) -> dict[str, dict[float, float]]:
    """Mean square error of each setting on the case's short exposure, in units of the noise."""
    lq = case.faulty.expose_short(NumpyRandom((*case.key, _FAULTY, 0)))
    truth, sigma = case.faulty.clean.astype(np.float64), case.sigma
    tried = {
        GAUSSIAN: {value: Filters(value, 1.0) for value in GAUSSIANS},
        NLM: {value: Filters(1.0, value) for value in STRENGTHS},
    }
    measured = examine(lq)
    return {
        name: {
            value: float(np.mean(((enhanced(name, filters, lq, measured) - truth) / sigma) ** 2))
            for value, filters in settings.items()
        }
        for name, settings in tried.items()
    }


def _exposures(
    acquisition: Acquisition, key: tuple[int, int, int], stream: int, count: int
) -> tuple[npt.NDArray[np.uint8 | np.uint16], npt.NDArray[np.uint8 | np.uint16]]:
    """So many short exposures (N, H, W), each with a stream of its own, and a long one (H, W)."""
    short = [acquisition.expose_short(NumpyRandom((*key, stream, number))) for number in range(count)]
    _, long = acquisition.expose(*(NumpyRandom((*key, stream, 1000 + number)) for number in range(2)))
    return np.stack(short), long


def _real(image: npt.NDArray[np.generic]) -> Image:
    return np.asarray(image, np.float64)
