"""Numbers that say how good an image is, and their catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from longexposure.metrics.fidelity import Image, bias_removed_psnr, psnr, rmse, ssim

__all__ = ["METRICS", "Metric", "bias_removed_psnr", "psnr", "rmse", "ssim"]


class Score(Protocol):
    """What every metric of the catalogue can be called as."""

    def __call__(self, image: Image, reference: Image, *, data_range: float) -> float: ...


@dataclass(frozen=True)
class Metric:
    """A metric that compares an image (H, W) with its reference.

    Attributes:
        score: the function itself.
        unit: unit of the score, "" for a pure number.
        higher_is_better: whether a better image scores higher.
        perfect: score of an image compared with itself.
        symmetric: whether image and reference may trade places.
    """

    score: Score
    unit: str
    higher_is_better: bool
    perfect: float
    symmetric: bool


def _rmse(image: Image, reference: Image, *, data_range: float) -> float:
    return rmse(image, reference)


METRICS: dict[str, Metric] = {
    "psnr": Metric(psnr, "dB", higher_is_better=True, perfect=float("inf"), symmetric=True),
    "ssim": Metric(ssim, "", higher_is_better=True, perfect=1.0, symmetric=True),
    "rmse": Metric(_rmse, "grey values", higher_is_better=False, perfect=0.0, symmetric=True),
    "bias_removed_psnr": Metric(
        bias_removed_psnr, "dB", higher_is_better=True, perfect=float("inf"), symmetric=True
    ),
}
"""Every metric that needs a reference, by the name it has in reports."""
