"""Scores of a model on test images, and their means: by type, weighted as in the paper, over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longexposure.metrics import bias_removed_psnr, psnr, ssim
from longexposure.radiograph import Pixels
from longexposure.study.sets import PAPER, TYPES

Record = dict[str, Any]
"""One image: "machine", "name", "megapixels", "seconds", and a score against "hq" and "clean"."""

EQUAL_DB = 100.0
"""PSNR that stands for the infinite one of equal images, so that means can be taken."""
METRICS = ("psnr", "ssim", "bias", "psnr_bias_removed")
DIGITS = {"psnr": 2, "ssim": 4, "psnr_bias_removed": 2}
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

    def text(self, digits: int) -> str:
        """Mean and spread, as tables show them."""
        if self.spread is None:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.spread:.{digits}f}"


Means = Mapping[str, Mapping[str, Spread]]
"""Machine type or average, then metric."""
Scores = Mapping[str, Means]
"""Of one setting: against the long exposure ("hq") and the clean image ("clean", empty without them)."""


def fidelity(image: Pixels, reference: Pixels, full_scale: float) -> dict[str, float]:
    """PSNR and SSIM, bias as a fraction of full scale, PSNR without it; of equal images `EQUAL_DB`."""
    unbiased = bias_removed_psnr(image, reference, data_range=full_scale)
    return {
        "psnr": min(psnr(image, reference, data_range=full_scale), EQUAL_DB),
        "ssim": ssim(image, reference, data_range=full_scale),
        "bias": float(image.mean(dtype="f8") - reference.mean(dtype="f8")) / full_scale,
        "psnr_bias_removed": min(unbiased, EQUAL_DB),
    }


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
        images = PAPER["test_images"]
        weights = {
            WEIGHTED: {name: images[name] / sum(images.values()) for name in TYPES},
            PLAIN: {name: 1 / len(TYPES) for name in TYPES},
        }
        for average, fractions in weights.items():
            found[average] = {
                metric: sum(fractions[name] * found[name][metric] for name in TYPES) for metric in METRICS
            }
    return found


def s_per_mpx(records: Sequence[Record]) -> float:
    """Seconds a megapixel that enhancing took."""
    return sum(record["seconds"] for record in records) / sum(record["megapixels"] for record in records)


def scores_of(starts: Sequence[Sequence[Record]]) -> dict[str, dict[str, dict[str, Spread]]]:
    """Means over random starts, from the records of each, against long exposure and clean image."""
    found = {}
    for reference in ("hq", "clean"):
        each = [means(records, reference) for records in starts]
        found[reference] = {
            name: {metric: Spread.of([one[name][metric] for one in each]) for metric in METRICS}
            for name in each[0]
        }
    return found


def difference(one: Spread, other: Spread) -> tuple[float, float | None]:
    """One mean less the other, and the spread of that over random starts; None where one has one start."""
    unknown = one.spread is None or other.spread is None
    return one.mean - other.mean, None if unknown else math.hypot(one.spread or 0, other.spread or 0)


def compared(one: Spread, other: Spread, digits: int) -> tuple[str, str, str]:
    """How one number stands to another, in a word, their difference, and its spread over random starts."""
    margin, spread = difference(one, other)
    if spread is None:
        verdict = "is above" if margin > 0 else "is not above"
    elif abs(margin) <= spread:
        verdict = "cannot be told from"
    else:
        verdict = "beats" if margin > 0 else "loses to"
    return verdict, f"{margin:+.{digits}f}", spread_text(spread, digits)


def against_best(found: Mapping[str, Scores], ours: str, name: str, metric: str) -> tuple[str, str, str, str]:
    """The best of the other settings by a metric in a type or average, and how ours is `compared` with it."""
    scores = {row: both["hq"][name][metric] for row, both in found.items()}
    best = max((row for row in scores if row != ours), key=lambda row: scores[row].mean)
    return best, *compared(scores[ours], scores[best], DIGITS[metric])


def spread_text(spread: float | None, digits: int) -> str:
    return "unknown (one start)" if spread is None else f"{spread:.{digits}f}"


def cell(found: Means, name: str, metric: str) -> str:
    """What a table shows of a metric in a type or average; nothing where it has none."""
    return found[name][metric].text(DIGITS[metric]) if name in found else ""


def psnr_gain(both: Scores, lq: Scores, name: str) -> tuple[float, float | None]:
    """PSNR over that of the short exposure, dB, in a type or average, and its spread."""
    ours = both["hq"][name]["psnr"]
    return ours.mean - lq["hq"][name]["psnr"].mean, ours.spread


def as_dict(found: object) -> Any:
    """Numbers over random starts in any nesting, ready for JSON."""
    if isinstance(found, Spread):
        return {"mean": found.mean, "spread": found.spread, "values": list(found.values)}
    return {name: as_dict(item) for name, item in found.items()} if isinstance(found, Mapping) else found
