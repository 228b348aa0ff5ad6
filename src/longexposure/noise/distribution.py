"""How noise is distributed: moments and a histogram, gathered piece by piece, beside those of a Gaussian.

Tests of normality answer whether a deviation could be chance. With a million pixels nothing is chance any
more: a histogram off by a tenth of a per cent is "significant", and so is the rounding to whole grey values.
What matters is how large the deviation is, so the effect sizes (skewness, excess kurtosis, the largest gap of
the cumulative distributions) stand beside every statistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

MOST_BINS = 1 << 22
"""A histogram stops growing there; values beyond go to its ends."""
NOTICED = 0.895
"""The largest gap that a Kolmogorov test with fitted mean and sd takes for chance is this over the root of
the number of values (5 %, after Stephens 1974)."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and sums of powers about it; those of two sets of values add up exactly (Pebay 2008)."""

    count: int = 0
    mean: float = 0.0
    sum2: float = 0.0
    sum3: float = 0.0
    sum4: float = 0.0

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Moments:
        if values.size == 0:
            return cls()
        mean = float(values.mean(dtype=np.float64))
        away = values.astype(np.float64).ravel() - mean
        square = away * away
        return cls(int(values.size), mean, float(square.sum()), float(square @ away), float(square @ square))

    def __add__(self, other: Moments) -> Moments:
        n, m = self.count, other.count
        if n == 0 or m == 0:
            return other if n == 0 else self
        both, d = n + m, other.mean - self.mean
        d2 = d * d
        return Moments(
            count=both,
            mean=self.mean + d * m / both,
            sum2=self.sum2 + other.sum2 + d2 * n * m / both,
            sum3=self.sum3
            + other.sum3
            + d2 * d * n * m * (n - m) / both**2
            + 3 * d * (n * other.sum2 - m * self.sum2) / both,
            sum4=self.sum4
            + other.sum4
            + d2 * d2 * n * m * (n * n - n * m + m * m) / both**3
            + 6 * d2 * (n * n * other.sum2 + m * m * self.sum2) / both**2
            + 4 * d * (n * other.sum3 - m * self.sum3) / both,
        )

    @property
    def variance(self) -> float:
        return self.sum2 / self.count if self.count else 0.0

    @property
    def sd(self) -> float:
        return math.sqrt(self.variance)

    @property
    def skewness(self) -> float:
        return self.sum3 / self.count / self.variance**1.5 if self.sum2 > 0 else 0.0

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis: 0 for a Gaussian."""
        return self.sum4 / self.count / self.variance**2 - 3 if self.sum2 > 0 else 0.0


class Histogram:
    """Counts in bins of one width around multiples of it, as many as the values need.

    Args:
        width: 1 for differences of whole grey values.

    Attributes:
        counts: (B,) values in each bin.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self._first = 0
        self.counts = np.zeros(0, dtype=np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        half = MOST_BINS // 2
        scaled = np.rint(np.asarray(values, dtype=np.float64).ravel() / self.width)
        index = np.clip(scaled, -half, half - 1).astype(np.int64)
        if index.size == 0:
            return
        low = int(index.min())
        counts = np.bincount(index - low)
        first = min(low, self._first) if self.counts.size else low
        merged = np.zeros(max(low + counts.size, self._first + self.counts.size) - first, dtype=np.int64)
        merged[self._first - first :][: self.counts.size] += self.counts
        merged[low - first :][: counts.size] += counts
        self._first, self.counts = first, merged

    @property
    def centres(self) -> Numbers:
        """(B,) middles of the bins."""
        return np.arange(self._first, self._first + self.counts.size, dtype=np.float64) * self.width

    def merged(self, bins: int) -> tuple[Numbers, Numbers]:
        """Centres and density per grey value of about `bins` bins between the 0.01 % and 99.99 % marks."""
        total = self.counts.sum()
        fraction = np.cumsum(self.counts) / max(total, 1)
        low, high = np.searchsorted(fraction, (1e-4, 1 - 1e-4))
        step = max(1, math.ceil((high - low + 1) / bins))
        edges = np.arange(low, high + 1, step)
        counts = np.add.reduceat(self.counts[: edges[-1] + step], edges).astype(np.float64)
        sizes = np.minimum(edges + step, self.counts.size) - edges
        centres: Numbers = (self._first + edges + 0.5 * (sizes - 1)) * self.width
        density: Numbers = counts / (sizes * self.width * max(int(total), 1))
        return centres, density


@dataclass(frozen=True)
class Normality:
    """How far values are from a Gaussian of their mean and standard deviation.

    Attributes:
        k2: D'Agostino and Pearson's statistic; its `p_value` is of independent values, which pixels are not.
        p_value: chance of a larger one; 0 where it is too small for a float.
        anderson_darling: A squared from the histogram; 5 % of Gaussian samples exceed 0.75.
        distance: largest gap of the cumulative distributions, 0..1 (Kolmogorov).
        chance_distance: the gap that a test at 5 % would put down to chance for so many independent values.
        noticed_from: number of independent values from which the gap would be noticed.
    """

    k2: float
    p_value: float
    anderson_darling: float
    distance: float
    chance_distance: float
    noticed_from: float


def normality(moments: Moments, histogram: Histogram) -> Normality | None:
    """Compare with a Gaussian; None for fewer than 20 values or values all alike.

    Distribution functions are compared at the edges of the histogram's bins.
    """
    if moments.count < 20 or moments.sum2 <= 0:
        return None
    from scipy.special import ndtr

    k2 = dagostino_k2(moments)
    first = histogram.centres[0] - 0.5 * histogram.width
    edges = np.concatenate([[first], histogram.centres + 0.5 * histogram.width])
    standard = (edges - moments.mean) / moments.sd
    below, above = ndtr(standard), ndtr(-standard)
    gap = np.abs(np.concatenate([[0], np.cumsum(histogram.counts)]) / moments.count - below)
    inside = gap**2 / np.maximum(below * above, 1e-300)
    tails = sum(-math.log1p(-fraction) - fraction for fraction in (float(below[0]), float(above[-1])))
    within = float((0.5 * (inside[1:] + inside[:-1]) * np.diff(below)).sum())
    distance = float(gap.max())
    return Normality(
        k2=k2,
        p_value=math.exp(-0.5 * k2),
        anderson_darling=moments.count * (within + tails),
        distance=distance,
        chance_distance=NOTICED / math.sqrt(moments.count),
        noticed_from=(NOTICED / distance) ** 2 if distance > 0 else math.inf,
    )


def gaussian(at: Numbers, *, mean: float, sd: float) -> Numbers:
    """The Gaussian density."""
    return np.exp(-0.5 * ((at - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))


def dagostino_k2(moments: Moments) -> float:
    """D'Agostino and Pearson's K2: squares of skewness and kurtosis as standard normal variables, added.

    Source: D'Agostino 1970 for the skewness, Anscombe and Glynn 1983 for the kurtosis.
    """
    n = float(moments.count)
    y = moments.skewness * math.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n * n + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = math.sqrt(2 * (beta - 1)) - 1
    skewness = math.asinh(y / math.sqrt(2 / (w2 - 1))) / math.sqrt(0.5 * math.log(w2))
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (moments.kurtosis + 3 - mean) / math.sqrt(variance)
    third = 6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9))
    third *= math.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / third * (2 / third + math.sqrt(1 + 4 / third**2))
    inner = 1 + x * math.sqrt(2 / (a - 4))
    cube = math.copysign(abs((1 - 2 / a) / inner) ** (1 / 3), inner) if inner else 0.0
    kurtosis = (1 - 2 / (9 * a) - cube) / math.sqrt(2 / (9 * a))
    return skewness**2 + kurtosis**2
