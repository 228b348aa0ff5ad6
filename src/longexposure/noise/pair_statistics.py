"""Statistics of the noise between short and long exposures, Fig. 2 of the paper, pooled over pairs.

HQ - LQ is gathered pair by pair: histogram, moments, variance and mean against the signal, noise power
spectrum. The signal is the mean of both exposures weighted so that its own noise does not correlate with that
of the difference; a bin of grey values taken from one exposure alone would pick its noise along with it and
show a bias that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from longexposure.noise.distribution import Histogram, Moments, Normality, normality
from longexposure.noise.separation import PairedBlocks, flatter_half_noise, paired_blocks
from longexposure.noise.spectrum import NoisePowerSpectrum, SpectrumSum
from longexposure.radiograph import Pixels

LEVELS = 16
"""Bins of the signal, of about equal content."""
BLOCKS = 512
"""Blocks of each pair that are kept for variance against signal."""
MEDIAN_OF_CHI2 = (1 - 2 / (9 * 253)) ** 3
"""Median over mean of a variance estimate from a block of 16 x 16 pixels about its plane."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ZeroMean:
    """Is the noise of zero mean, as Noise2Noise needs it?

    Attributes:
        mean: mean of HQ - LQ, grey values.
        error: its standard error from pair to pair, which drift and correlation are part of; infinite for
            one pair.
        error_if_independent: what it would be if pixels were independent.
        fraction_of_sd: mean over standard deviation: the effect.
        level: (K,) signal of the bins.
        by_level: (K,) mean of HQ - LQ there.
        error_by_level: (K,) standard error from pair to pair.
        pairs_by_level: (K,) how many pairs have that signal; from few of them the error says little.
    """

    mean: float
    error: float
    error_if_independent: float
    fraction_of_sd: float
    level: Numbers
    by_level: Numbers
    error_by_level: Numbers
    pairs_by_level: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NoiseAnalysis:
    """The noise of one machine type.

    Attributes:
        machine: machine type.
        pairs: pairs analysed.
        of_pairs: pairs there are.
        pixels: pixels analysed.
        moments: of HQ - LQ.
        histogram: of HQ - LQ.
        normality: how far that is from a Gaussian; None where all pixels are alike.
        within_skewness: skewness within one pair and one bin of the signal, averaged.
        within_kurtosis: excess kurtosis there.
        zero_mean: mean against its error and against the signal.
        signal: (K, 5) signal, and robust variance there of HQ - LQ, of LQ, of HQ, and number of blocks.
        line: variance of HQ - LQ at signal 0 and its slope; None where the signal hardly varies.
        gain: median gain of HQ on LQ.
        spectrum: noise power spectrum; None for images smaller than a patch.
    """

    machine: str
    pairs: int
    of_pairs: int
    pixels: int
    moments: Moments
    histogram: Histogram
    normality: Normality | None
    within_skewness: float
    within_kurtosis: float
    zero_mean: ZeroMean
    signal: Numbers
    line: tuple[float, float] | None
    gain: float | None
    spectrum: NoisePowerSpectrum | None


@dataclass(frozen=True, eq=False)
class SetAnalysis:
    """The noise of every machine type of a set.

    Attributes:
        path: of the set.
        machines: machine types.
        sampled: how many pairs were analysed.
        left_out: pairs that were not, and why.
    """

    path: str
    machines: tuple[NoiseAnalysis, ...]
    sampled: str
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SignalBins:
    """What pairs are sorted by.

    Attributes:
        edges: inner edges of the bins of the signal.
        lq_weight: weight of the short exposure in the signal, 0..1.
        gain: of HQ on LQ; None where it cannot be known.
        bin_width: of the histogram of HQ - LQ.
        patch_px: side of the patches of the power spectrum.
    """

    edges: Numbers
    lq_weight: float
    gain: float | None
    bin_width: float
    patch_px: int


class PairStatistics:
    """Gathers HQ - LQ of one machine type pair by pair; of each pair only sums and a few blocks are kept."""

    def __init__(self, bins: SignalBins) -> None:
        self.bins = bins
        self.pairs = 0
        self._histogram = Histogram(bins.bin_width)
        self._moments = [Moments()] * (len(bins.edges) + 1)
        self._sums = np.zeros(len(bins.edges) + 1)
        self._within = np.zeros(2)
        self._by_pair: list[tuple[Numbers, Numbers]] = []
        self._pair_means: list[tuple[float, int]] = []
        self._blocks: list[PairedBlocks] = []
        self._spectrum = SpectrumSum(bins.patch_px)

    def add(self, lq: Pixels, hq: Pixels) -> None:
        """Gather one pair of images (H, W) of one type."""
        weight, count = self.bins.lq_weight, len(self._moments)
        difference = hq.astype(np.float64) - lq.astype(np.float64)
        signal = weight * lq.astype(np.float64) + (1 - weight) * hq.astype(np.float64)
        where = np.searchsorted(self.bins.edges, signal.ravel())
        order = np.argsort(where, kind="stable")
        cuts = np.searchsorted(where[order], np.arange(1, count))
        new = [Moments.of(part) for part in np.split(difference.ravel()[order], cuts)]
        self._moments = [old + more for old, more in zip(self._moments, new, strict=True)]
        self._within += [sum(m.count * m.skewness for m in new), sum(m.count * m.kurtosis for m in new)]
        self._by_pair.append((np.array([m.mean for m in new]), np.array([float(m.count) for m in new])))
        self._pair_means.append((float(difference.mean()), difference.size))
        self._sums += np.bincount(where, weights=signal.ravel(), minlength=count)
        self._histogram.add(difference)
        self._spectrum.add(difference)
        blocks = paired_blocks(lq, hq)
        step = max(1, -(-len(blocks) // BLOCKS))
        self._blocks.append(PairedBlocks(**{name: each[::step] for name, each in vars(blocks).items()}))
        self.pairs += 1

    def result(self, machine: str, *, of_pairs: int) -> NoiseAnalysis:
        """The statistics of all pairs, of which there were `of_pairs`."""
        moments = sum(self._moments, Moments())
        signal, line = _variance_by_signal(PairedBlocks.concatenated(self._blocks), self.bins)
        return NoiseAnalysis(
            machine=machine,
            pairs=self.pairs,
            of_pairs=of_pairs,
            pixels=moments.count,
            moments=moments,
            histogram=self._histogram,
            normality=normality(moments, self._histogram),
            within_skewness=float(self._within[0]) / moments.count,
            within_kurtosis=float(self._within[1]) / moments.count,
            zero_mean=self._zero_mean(moments),
            signal=signal,
            line=line,
            gain=self.bins.gain,
            spectrum=self._spectrum.result(),
        )

    def _zero_mean(self, moments: Moments) -> ZeroMean:
        means, counts = (np.array(part) for part in zip(*self._by_pair, strict=True))
        filled = counts.sum(axis=0) > 0
        by_level, errors = _clustered(means[:, filled], counts[:, filled])
        whole, sizes = (
            np.array(part, dtype=np.float64)[:, None] for part in zip(*self._pair_means, strict=True)
        )
        _, error = _clustered(whole, sizes)
        return ZeroMean(
            mean=moments.mean,
            error=float(error[0]),
            error_if_independent=moments.sd / math.sqrt(moments.count),
            fraction_of_sd=moments.mean / moments.sd if moments.sd > 0 else 0.0,
            level=(self._sums / np.maximum(counts.sum(axis=0), 1))[filled],
            by_level=by_level,
            error_by_level=errors,
            pairs_by_level=(counts[:, filled] > 0).sum(axis=0),
        )


def _variance_by_signal(blocks: PairedBlocks, bins: SignalBins) -> tuple[Numbers, tuple[float, float] | None]:
    """`NoiseAnalysis.signal`, medians over blocks of about one brightness, and `NoiseAnalysis.line`.

    Each row counts in the line by the inverse of its variance's error.
    """
    if len(blocks) < 16:
        return np.zeros((0, 5)), None
    level = bins.lq_weight * blocks.mean_lq + (1 - bins.lq_weight) * blocks.mean_hq
    apart = (blocks.var_lq + blocks.var_hq - 2 * blocks.cov).mean(axis=1) / MEDIAN_OF_CHI2
    gain = bins.gain if bins.gain is not None and bins.gain > 0 else 1.0
    which, lq, hq = flatter_half_noise(blocks, gain=gain)
    edges = np.quantile(level, np.linspace(0, 1, min(LEVELS, len(level) // 8) + 1)[1:-1])
    place, flatter = np.searchsorted(edges, level), np.searchsorted(edges, level[which])
    rows = []
    for group in range(len(edges) + 1):
        here, near = place == group, flatter == group
        if here.any():
            noises = [float(np.median(noise[near])) if near.any() else np.nan for noise in (lq, hq)]
            both = float(np.median(apart[here]))
            rows.append([float(np.median(level[here])), both, *noises, float(here.sum())])
    signal = np.array(rows, dtype=np.float64)
    levels, variances, counts = signal[:, 0], signal[:, 1], signal[:, 4]
    if len(signal) < 3 or np.ptp(levels) <= 0 or variances.max() <= 0:
        return signal, None
    weight = np.sqrt(counts) / np.maximum(variances, 1e-3 * variances.max())
    slope, start = np.polyfit(levels, variances, 1, w=weight)
    return signal, (float(start), float(slope))


def _clustered(means: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Mean over all pixels and its standard error from pair to pair, of (pairs, bins) each."""
    total = counts.sum(axis=0)
    mean = (means * counts).sum(axis=0) / total
    number = (counts > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (counts**2 * (means - mean) ** 2).sum(axis=0) * number / (number - 1)
        error = np.sqrt(spread) / total
    return mean, np.where(number > 1, error, np.inf)
