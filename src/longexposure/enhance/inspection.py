"""A look at every enhanced page before anything is done with it: is it changed by more than its noise allows?

Whatever took noise away moved the mean of an area by a few of the mean's own standard deviations, and a pixel
by about one of the noise's. What moved more is no longer what was measured, whatever the weights were.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from longexposure.enhance.bad_pixels import GRAPHICS
from longexposure.enhance.statistics import ImageStatistics
from longexposure.radiograph import Pixels

BLOCK = 16
"""Pages are looked at in blocks of this side, px; what is left over at the right and at the bottom is not."""
MANY_MEAN, MANY_RMS, MANY = 6.0, 2.5, 0.005
"""A block is moved by more than the noise allows where its mean moved by so many standard deviations of the
mean, or its pixels by so many of the noise; up to this share of blocks may be, at sharp edges and dust."""
ANY_MEAN, ANY_RMS = 15.0, 6.0
"""None may be moved by more than this."""
HALF_A_VALUE = 0.5
"""So much rounding alone moves the mean of an area from which all noise was taken."""

Blocks = npt.NDArray[np.float64]


def inspect(page: Pixels, enhanced: Pixels, found: ImageStatistics) -> tuple[str, ...]:
    """What speaks against an enhanced page, a line, if anything does.

    Args:
        page: (H, W) as given.
        enhanced: what became of it.
        found: its statistics.
    """
    if min(page.shape) < BLOCK or found.noiseless:
        return ()
    means, squares, levels = (np.stack(each) for each in zip(*_blocks(page, enhanced, found), strict=True))
    noise = found.noise
    rounded = 1 / 12 if page.dtype.kind in "ui" else 0.0
    variance = np.maximum(noise.variance(levels) + rounded, 1e-300)
    of_mean = variance * _of_mean(noise.corr_x) * _of_mean(noise.corr_y)
    moved = np.maximum(np.abs(means) - (HALF_A_VALUE if rounded else 0.0), 0.0)
    mean, rms = moved / np.sqrt(of_mean), np.sqrt(squares / variance)
    many, far = (mean > MANY_MEAN) | (rms > MANY_RMS), (mean > ANY_MEAN) | (rms > ANY_RMS)
    if not far.any() and many.mean() <= MANY:
        return ()
    y, x = np.unravel_index(np.argmax(np.maximum(mean / ANY_MEAN, rms / ANY_RMS)), mean.shape)
    return (
        f"{100 * many.mean():.2g} % of the image was changed by more than its noise allows, most around "
        f"y={y * BLOCK + BLOCK // 2}, x={x * BLOCK + BLOCK // 2} (pixels by {rms[y, x]:.3g}, their mean by "
        f"{mean[y, x]:.3g} standard deviations): do not measure there, compare with the original",
    )


def _blocks(
    page: Pixels, enhanced: Pixels, found: ImageStatistics
) -> Iterator[tuple[Blocks, Blocks, Blocks]]:
    """Mean change, mean square of the change and grey value of each row of blocks.

    Faulty pixels count with what stands in for them, and what is set aside not at all.
    """
    width = page.shape[1] // BLOCK * BLOCK
    exact = np.dtype(np.float64 if page.dtype.kind == "f" else np.float32)
    for top in range(0, page.shape[0] - BLOCK + 1, BLOCK):
        part = slice(top, top + BLOCK)
        given: npt.NDArray[np.floating] = page[part].astype(exact)
        change: npt.NDArray[np.floating] = enhanced[part].astype(exact)
        bad = found.bad_pixels.within((part, slice(0, page.shape[1])))
        given[bad.y, bad.x] = bad.value
        drawn = bad.chosen(bad.kind == GRAPHICS)
        change[drawn.y, drawn.x] = drawn.value
        count = np.full(width // BLOCK, float(BLOCK**2))
        if found.aside.mask.count:
            aside = found.aside.mask.within(part)
            given[aside] = change[aside] = 0
            count -= _sums(aside.sum(axis=0), width)
        change = change - given
        sums = change.sum(axis=0), np.square(change).sum(axis=0), given.sum(axis=0)
        mean, square, level = (_sums(each, width) / np.maximum(count, 1) for each in sums)
        yield mean * np.sqrt(count) / BLOCK, square, level  # a mean of fewer pixels may move farther


def _sums(columns: npt.NDArray[np.number], width: int) -> Blocks:
    return np.asarray(columns[:width].reshape(-1, BLOCK).sum(axis=1, dtype=np.float64))


def _of_mean(correlation: float) -> float:
    """Variance of the mean of `BLOCK` pixels in a row, whose neighbours correlate so, over that of one."""
    lags = np.arange(1, BLOCK)
    return float(1 + 2 * np.sum((1 - lags / BLOCK) * float(correlation) ** lags)) / BLOCK
