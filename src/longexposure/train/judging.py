"""Which of two enhancers is nearer to the truth on short exposures whose truth nobody knows.

The square distance of an enhanced image from a target of independent noise is its distance from the truth
plus the noise of the target. Of two enhancers on the same exposures the second part is the same, so that
their difference is that of the distances from the truth, and how sure it is follows from parts of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from longexposure.data.shots import LEVEL_PX, Exposure, recorrupted
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.errors import InputError
from longexposure.noise.draws import stronger

DRAWS = 4
"""Pairs of recorrupted copies of each exposure."""
RATIO = 0.5
"""Strength of what is added to an exposure, over its noise: little, so that it stays like itself."""
UNSURE = {True: 0.05, False: 0.1}
"""How sure the variance of the noise is, as a fraction: where it is calibrated, and where it is measured on
each image. Noise that is not accounted for passes for truth, and who lets more of it through seems better."""
MOST_PX = 16e6
"""So many pixels are judged, of exposures spread evenly."""
BLOCK_PX = 48
"""Errors of an enhanced image hang together over fewer pixels than this."""
SURE = 2.0
"""So many standard errors better is better."""

Numbers = npt.NDArray[np.float64]


class Compared(NamedTuple):
    """Two enhancers on one exposure, in the unit domain.

    Attributes:
        risks: mean square error of both, (2,).
        differences: how much less that of the second is, block by block; NaN where no pixel counts.
        variance: mean variance of the noise.
        unknown: what `differences` may be off by, in these variances, where the noise is not what it is said
            to be.
    """

    risks: Numbers
    differences: Numbers
    variance: float
    unknown: float


@dataclass(frozen=True)
class Judgement:
    """Two enhancers on held-out shots.

    Attributes:
        start_db: PSNR of the one that was there, dB, unit domain; None where its error is too small beside
            the noise to be told.
        adapted_db: the same of the adapted one.
        better: how much less the mean square error of the adapted one is, in variances of the noise, mean
            over shots.
        standard_error: of that, what is not known of the noise included.
        shots: how many were judged.
    """

    start_db: float | None
    adapted_db: float | None
    better: float
    standard_error: float
    shots: int

    @property
    def helped(self) -> bool:
        """Whether the adapted one is better by more than chance."""
        return self.better > SURE * self.standard_error

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "helped": self.helped}

    def in_words(self) -> str:
        """Both, and how sure the difference is."""
        start, adapted = (
            "an error too small to tell" if decibels is None else f"{decibels:.2f} dB"
            for decibels in (self.start_db, self.adapted_db)
        )
        errors = self.better / self.standard_error if self.standard_error > 0 else 0.0
        which = "better" if errors >= 0 else "worse"
        return (
            f"held out: {self.shots} shot{'s' if self.shots > 1 else ''}; before {start}, adapted {adapted}, "
            f"{which} by {abs(errors):.1f} standard errors"
        )


def judge(
    start: Path, adapted: Path, exposures: Sequence[Exposure], *, seed: int, device: str = "auto"
) -> Judgement:
    """Judge two checkpoints on exposures that neither has seen in this training.

    Both enhance the same images in the same way as `enhance` does, told the same noise.

    Args:
        start: checkpoint to compare with.
        adapted: checkpoint that was trained.
        exposures: held-out exposures.
        seed: of the draws.
        device: "auto", "cpu" or "cuda".

    Raises:
        CheckpointError: one of them cannot be loaded.
        ResourceError: no such device, or too little memory.
    """
    enhancers = [load_enhancer(path, engine="torch", device=device) for path in (start, adapted)]
    exposures = _some([one for one in exposures if one.good[one.region].any()])
    shots: dict[str, list[Compared]] = {}
    for number, exposure in enumerate(exposures):
        found = _compared(enhancers, exposure, random=np.random.default_rng((seed, number)))
        shots.setdefault(exposure.shot, []).append(found)
    risks, better, errors, unknown = [], [], [], []
    for parts in shots.values():
        risks.append(np.mean([part.risks for part in parts], axis=0))
        differences = np.mean([part.differences for part in parts], axis=0)
        differences = differences[np.isfinite(differences)] / np.mean([part.variance for part in parts])
        better.append(float(differences.mean()))
        count = len(differences)
        unknown.append(float(np.mean([part.unknown for part in parts])))
        errors.append(float(differences.std(ddof=1)) / count**0.5 if count > 1 else math.inf)
    count = len(better)
    within = float(np.sqrt(np.sum(np.square(errors))) / count)
    between = float(np.std(better, ddof=1) / count**0.5) if count > 1 else 0.0
    error = math.hypot(max(within, between), float(np.mean(unknown)))
    start_db, adapted_db = (_decibels(float(value)) for value in np.mean(risks, axis=0))
    return Judgement(start_db, adapted_db, float(np.mean(better)), error, count)


def _some(exposures: Sequence[Exposure]) -> list[Exposure]:
    """So many of them, spread evenly, that there are not too many pixels.

    Raises:
        InputError: there are none.
    """
    if not exposures:
        raise InputError(
            where="held-out shots",
            expected="pixels that are a picture of the part",
            found="none: all of them are set aside",
            advice="give more shots, or another --set validation.seed=1, which holds out others",
        )
    count = min(len(exposures), max(int(MOST_PX / exposures[0].unit.size), 1))
    return [exposures[int(k)] for k in np.linspace(0, len(exposures) - 1, count).round()]


def _compared(enhancers: Sequence[Enhancer], exposure: Exposure, *, random: np.random.Generator) -> Compared:
    """Two enhancers on one exposure."""
    variance = exposure.noise.variance(gaussian_filter(exposure.unit, LEVEL_PX))
    let_through = np.zeros_like(variance)
    if exposure.target is not None:
        target = exposure.target
        images = [_enhanced(by, exposure, exposure.unit, 1.0) for by in enhancers]
        distances = [(image - target) ** 2 - variance / exposure.others for image in images]
    else:
        distances = [np.zeros_like(variance) for _ in enhancers]
        whole = slice(0, variance.shape[0]), slice(0, variance.shape[1])
        for _ in range(DRAWS):
            noisy, _, fresh = recorrupted(exposure, whole, random, ratio=RATIO)
            for sums, by, sign in zip(distances, enhancers, (1, -1), strict=True):
                away = _enhanced(by, exposure, noisy, math.hypot(1.0, RATIO)) - exposure.unit
                # the distance from y - n / ratio, without n^2 / ratio^2, which is known
                product = 2 / RATIO * fresh * away
                sums += (away**2 + product - variance) / DRAWS
                let_through += sign * product / DRAWS
    good = exposure.good[exposure.region]
    first, second = (distance[exposure.region] for distance in distances)
    counted = _block_sums(good.astype(np.float64))
    sums = _block_sums(np.where(good, first - second, 0.0))
    differences = np.divide(sums, counted, out=np.full_like(sums, np.nan), where=counted > 0)
    risks = np.array([first[good].mean(), second[good].mean()])
    mean = float(variance[exposure.region][good].mean())
    unsure = UNSURE[exposure.found.calibration is not None]
    unknown = unsure * abs(float(let_through[exposure.region][good].mean())) / mean
    return Compared(risks, differences, mean, unknown)


def _enhanced(
    enhancer: Enhancer, exposure: Exposure, noisy: npt.NDArray[np.float32], factor: float
) -> Numbers:
    """An exposure, or a copy of it with so many times its noise, enhanced; (H, W) in the unit domain."""
    grey, found = exposure.found.grey, exposure.found
    changed = exposure.good & (noisy != exposure.unit)
    page = np.where(changed, (noisy.astype(np.float64) - grey.offset) / grey.scale, exposure.pixels)
    told = replace(found, noise=stronger(found.noise, factor))
    image, _ = enhancer.enhance_pages(page.astype(np.float32), statistics=[told])
    return np.asarray(image.astype(np.float64) * grey.scale + grey.offset)


def _block_sums(image: Numbers) -> Numbers:
    """Sums over blocks; those at the end may be smaller."""
    starts = [np.arange(0, side, BLOCK_PX) for side in image.shape]
    rows = np.add.reduceat(image, starts[0], axis=0)
    return np.asarray(np.add.reduceat(rows, starts[1], axis=1))


def _decibels(risk: float) -> float | None:
    return -10 * math.log10(risk) if risk > 0 else None
