"""Scores of a model on test images, and their means: by type, weighted as in the paper, over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longexposure.data.evaluate import FULL_SCALE
from longexposure.errors import InputError
from longexposure.metrics import bias_removed_psnr, psnr, ssim
from longexposure.radiograph import Pixels
from longexposure.study.sets import PAPER_TEST, TYPES

Record = dict[str, Any]
"""One image: "machine", "name", "megapixels", "seconds", and a score against "hq" and "clean"."""

EQUAL_DB = 100.0
"""PSNR that stands for the infinite one of equal images, so that means can be taken."""
METRICS = ("psnr", "ssim", "bias", "psnr_bias_removed")
WEIGHTED, PLAIN = "image-weighted", "plain mean"
AVERAGES = (WEIGHTED, PLAIN)


@dataclass(frozen=True)
class Spread:
    """A number over several random starts.

    Attributes:
        mean: over the starts.
        spread: their standard deviation; None where there is only one.
        values: start by start.
    """

    mean: float
    spread: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, tuple(values))

    def as_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "spread": self.spread, "values": list(self.values)}

    def text(self, digits: int) -> str:
        """Mean and spread, as tables show them."""
        if self.spread is None:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.spread:.{digits}f}"


Means = Mapping[str, Mapping[str, Spread]]
"""Machine type or average, then metric."""


def fidelity(image: Pixels, reference: Pixels, full_scale: float) -> dict[str, float]:
    """PSNR and SSIM, bias as a fraction of full scale, PSNR without it; of equal images `EQUAL_DB`."""
    unbiased = bias_removed_psnr(image, reference, data_range=full_scale)
    return {
        "psnr": min(psnr(image, reference, data_range=full_scale), EQUAL_DB),
        "ssim": ssim(image, reference, data_range=full_scale),
        "bias": float(image.mean(dtype="f8") - reference.mean(dtype="f8")) / full_scale,
        "psnr_bias_removed": min(unbiased, EQUAL_DB),
    }


def full_scale_of(pixels: Pixels, *, where: str) -> float:
    """Data range of the metrics: the full scale of the container.

    Raises:
        InputError: floats, which have none.
    """
    if pixels.dtype.name not in FULL_SCALE:
        raise InputError(
            where=where,
            expected="grey values of 8 or 16 bits, whose full scale is the data range of the metrics",
            found=pixels.dtype.name,
            advice="store the pairs as 16-bit TIFF on one common scale",
        )
    return FULL_SCALE[pixels.dtype.name]


def means(records: Sequence[Record], reference: str) -> dict[str, dict[str, float]]:
    """Mean of every metric by machine type, and both averages over the types.

    PSNR is averaged image by image in dB. "image-weighted" weighs the types with the paper's test counts.
    Types without this reference are left out, and then the averages too.

    Args:
        records: of one model.
        reference: "hq" or "clean".
    """
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(record["machine"] for record in records):
        scores = [record[reference] for record in records if record["machine"] == name]
        if scores and all(score is not None for score in scores):
            found[name] = {metric: statistics.fmean(score[metric] for score in scores) for metric in METRICS}
    if set(found) == set(TYPES):
        weights = {
            WEIGHTED: {name: PAPER_TEST[name] / sum(PAPER_TEST.values()) for name in TYPES},
            PLAIN: {name: 1 / len(TYPES) for name in TYPES},
        }
        for average, fractions in weights.items():
            found[average] = {
                metric: sum(fractions[name] * found[name][metric] for name in TYPES) for metric in METRICS
            }
    return found


def over_seeds(
    runs: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, Spread]]:
    """Mean and spread over random starts, from `means` of each of them."""
    return {
        name: {metric: Spread.of([run[name][metric] for run in runs]) for metric in scores}
        for name, scores in runs[0].items()
    }


def s_per_mpx(records: Iterable[Record]) -> float:
    """Seconds a megapixel that enhancing took."""
    records = list(records)
    return sum(record["seconds"] for record in records) / sum(record["megapixels"] for record in records)


def both_means(records: Sequence[Sequence[Record]]) -> dict[str, Means]:
    """Means over random starts, against the long exposure ("hq") and, where all have it, the clean image."""
    return {
        reference: over_seeds([means(some, reference) for some in records]) for reference in ("hq", "clean")
    }


def noise_of(one: Spread, other: Spread) -> float | None:
    """Spread of the difference of two numbers over random starts; None where one start alone was made."""
    if one.spread is None or other.spread is None:
        return None
    return math.hypot(one.spread, other.spread)


def verdict_on(margin: float, noise: float | None) -> str:
    """A margin in a word, with the spread between random starts in view."""
    if noise is None:
        return "is above" if margin > 0 else "is not above"
    if abs(margin) <= noise:
        return "cannot be told from"
    return "beats" if margin > 0 else "loses to"


def shown_noise(noise: float | None, digits: int) -> str:
    return "unknown (one start)" if noise is None else f"{noise:.{digits}f}"


def as_dict(found: Mapping[str, Mapping[str, Spread]]) -> dict[str, Any]:
    """Ready for JSON."""
    return {name: {metric: value.as_dict() for metric, value in row.items()} for name, row in found.items()}
