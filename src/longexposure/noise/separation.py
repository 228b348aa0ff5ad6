"""The noise of each of two exposures of one scene, separated without knowing the scene.

With LQ = s + n and HQ = gain s + offset + m, both noises independent, the scene's own variance in a block is
the covariance of the two images; what each image varies beyond it is noise. No flat place is searched for,
which would choose places by their noise. What both exposures share, a fixed pattern or a common frame, counts
as scene. Each block is taken about its least-squares plane, so noise slower than a block is not seen.

Structure does not bias these numbers but makes them uncertain, so they are taken from the half of the
blocks with less of it. Even columns decide for the odd ones and the other way round: a choice by the same
pixels would prefer those whose noise happens to be weak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from longexposure.noise.blocks import cut_blocks, unclipped
from longexposure.radiograph import Pixels

BLOCK_PX = 16
BINS = 8
"""Groups of equal size into which blocks are sorted by brightness."""
FEWEST_BLOCKS = 8

_MEDIAN_OF_CHI2 = (1 - 2 / (9 * 126.5)) ** 3
"""Median over mean of a variance estimate from half a block."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedBlocks:
    """Numbers about blocks of 16 x 16 pixels that lie at one place of both exposures.

    Attributes:
        mean_lq: (N,) mean of the short exposure.
        mean_hq: (N,) mean of the long exposure.
        var_lq: (N, 2) unbiased variance of the short exposure about the block's plane, in the even and in
            the odd columns.
        var_hq: (N, 2) the same of the long exposure.
        cov: (N, 2) unbiased covariance of both about their planes.
        lag_lq: (N, 2) sums at lag 1 along x and y of the short exposure, per pixel, as variances are.
        lag_hq: the same of the long exposure.
        lag_cov: the same of the short times the long exposure.
    """

    mean_lq: Numbers
    mean_hq: Numbers
    var_lq: Numbers
    var_hq: Numbers
    cov: Numbers
    lag_lq: Numbers
    lag_hq: Numbers
    lag_cov: Numbers

    def __len__(self) -> int:
        return len(self.mean_lq)

    @classmethod
    def concatenated(cls, parts: Sequence[PairedBlocks]) -> PairedBlocks:
        """The blocks of several crops as one."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, eq=False)
class SeparatedNoise:
    """The noise of both exposures, each in its own grey values.

    Attributes:
        level: median grey value of the short exposure.
        var_lq: variance of the short exposure's noise, median over the blocks; below 0 only by chance.
        var_hq: the same of the long exposure.
        corr_lq: lag-1 autocorrelation of the short exposure's noise along x and y.
        corr_hq: the same of the long exposure.
        by_level: (K, 4): grey value of the short exposure, its variance there, the long exposure's variance
            there, and the number of blocks.
    """

    level: float
    var_lq: float
    var_hq: float
    corr_lq: tuple[float, float]
    corr_hq: tuple[float, float]
    by_level: Numbers

    @property
    def sigma_lq(self) -> float:
        """Standard deviation of the short exposure's noise."""
        return float(np.sqrt(max(self.var_lq, 0.0)))

    @property
    def sigma_hq(self) -> float:
        """Standard deviation of the long exposure's noise."""
        return float(np.sqrt(max(self.var_hq, 0.0)))


def paired_blocks(lq: Pixels, hq: Pixels) -> PairedBlocks:
    """Numbers about all blocks of two images (H, W) of one size that touch no end of the grey scale."""
    short, long = (cut_blocks(image, side=BLOCK_PX, most=np.inf) for image in (lq, hq))
    free = unclipped(short, low=float(lq.min()), high=float(lq.max()))
    free &= unclipped(long, low=float(hq.min()), high=float(hq.max()))
    short, long = short[free], long[free]
    rough_short, rough_long = _about_planes(short), _about_planes(long)
    return PairedBlocks(
        mean_lq=short.mean(axis=(1, 2), dtype=np.float64),
        mean_hq=long.mean(axis=(1, 2), dtype=np.float64),
        var_lq=_by_columns(rough_short, rough_short),
        var_hq=_by_columns(rough_long, rough_long),
        cov=_by_columns(rough_short, rough_long),
        lag_lq=_lagged(rough_short, rough_short),
        lag_hq=_lagged(rough_long, rough_long),
        lag_cov=_lagged(rough_short, rough_long),
    )


def separate(blocks: PairedBlocks, *, gain: float) -> SeparatedNoise | None:
    """The noise of both exposures; medians over blocks, which edges and faulty pixels do not move.

    Args:
        blocks: of one pair, or of several of one gain.
        gain: grey values of the long exposure for one of the short exposure, > 0.

    Returns:
        None for fewer than 8 blocks.
    """
    if len(blocks) < FEWEST_BLOCKS:
        return None
    which, noise_lq, noise_hq = flatter_half_noise(blocks, gain=gain)
    var_lq, var_hq = float(np.median(noise_lq)), float(np.median(noise_hq))
    order = np.argsort(blocks.mean_hq[which], kind="stable")
    groups = np.array_split(order, min(BINS, len(order) // FEWEST_BLOCKS))
    rows = [
        [np.median(numbers[group]) for numbers in (blocks.mean_lq[which], noise_lq, noise_hq)] + [len(group)]
        for group in groups
    ]
    return SeparatedNoise(
        level=float(np.median(blocks.mean_lq)),
        var_lq=var_lq,
        var_hq=var_hq,
        corr_lq=_correlation(blocks.lag_lq - blocks.lag_cov / gain, var_lq),
        corr_hq=_correlation(blocks.lag_hq - blocks.lag_cov * gain, var_hq),
        by_level=np.array(rows, dtype=np.float64),
    )


def flatter_half_noise(blocks: PairedBlocks, *, gain: float) -> tuple[npt.NDArray[np.intp], Numbers, Numbers]:
    """Variance of both noises in the half of all half blocks that has less structure.

    Args:
        blocks: N of them.
        gain: grey values of the long exposure for one of the short exposure, > 0.

    Returns:
        About N each: the block, the variance of the short and of the long exposure's noise there; a
        single one may be negative, and its median is that of the variance.
    """
    flatter = blocks.cov <= np.median(blocks.cov, axis=0)
    which, half = np.nonzero(flatter[:, ::-1])
    short = blocks.var_lq[which, half] - blocks.cov[which, half] / gain
    long = blocks.var_hq[which, half] - blocks.cov[which, half] * gain
    return which, short / _MEDIAN_OF_CHI2, long / _MEDIAN_OF_CHI2


def _correlation(lagged: Numbers, variance: float) -> tuple[float, float]:
    """Lag-1 autocorrelation along x and y, freed of what taking planes off does to white noise."""
    if variance <= 0:
        return 0.0, 0.0
    x, y = np.median(lagged, axis=0) / variance
    _, bias = _planes()
    return float(np.clip(x + bias, -1, 1)), float(np.clip(y + bias, -1, 1))


@lru_cache(maxsize=1)
def _planes() -> tuple[Numbers, float]:
    """An orthonormal basis (256, 3) of the planes on a block, and what taking them off white noise costs.

    That is what noise of variance 1 loses in covariance of neighbours.
    """
    along = np.arange(BLOCK_PX, dtype=np.float64) - 0.5 * (BLOCK_PX - 1)
    y, x = np.meshgrid(along, along, indexing="ij")
    columns = np.stack([np.ones_like(x), x, y]).reshape(3, -1)
    basis = (columns / np.linalg.norm(columns, axis=1, keepdims=True)).T
    product = (basis @ basis.T).reshape((BLOCK_PX,) * 4)
    at = np.arange(BLOCK_PX)
    return basis, float(product[at[:, None], at[None, :-1], at[:, None], at[None, 1:]].mean())


def _about_planes(blocks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    flat = blocks.reshape(len(blocks), BLOCK_PX * BLOCK_PX).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    basis, _ = _planes()
    return (flat - (flat @ basis) @ basis.T).reshape(blocks.shape)


def _by_columns(one: Numbers, other: Numbers) -> Numbers:
    """Products summed over the even and over the odd columns, unbiased, (N, 2)."""
    halves = [_dot(one[:, :, start::2], other[:, :, start::2]) for start in (0, 1)]
    return np.stack(halves, axis=1) / ((BLOCK_PX * BLOCK_PX - 3) / 2)


def _dot(one: Numbers, other: Numbers) -> Numbers:
    return np.einsum("nij,nij->n", one, other)


def _lagged(one: Numbers, other: Numbers) -> Numbers:
    """Mean products at lag 1 along x and y, both orders of the images, (N, 2)."""
    pairs = BLOCK_PX * (BLOCK_PX - 1)
    x = _dot(one[:, :, 1:], other[:, :, :-1]) + _dot(one[:, :, :-1], other[:, :, 1:])
    y = _dot(one[:, 1:], other[:, :-1]) + _dot(one[:, :-1], other[:, 1:])
    return np.stack([x, y], axis=1) / (2 * pairs)
