"""The fixed pattern of a detector: what every frame shows alike and one image cannot distinguish from noise.

Repeats do not see it, because it stands still. In the mean of many flats it is what is left, from pixel to
pixel, once shading and the rest of the temporal noise are taken off. It goes with the signal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.noise.calibration import FixedPattern
from longexposure.noise.differences import GROUPS, blocks_of
from longexposure.noise.frames import FrameSeries
from longexposure.noise.scene import neighbours

SMOOTH_PX = 5
"""Side of the square whose mean counts as shading."""
OUTLIER = 5.0
"""Pixels beyond so many robust standard deviations are faulty, no pattern."""
SURE = 4.0
"""A pattern is one when its variance is above zero by so many standard errors."""

_AREA = SMOOTH_PX**2
_KEPT = 1 - 1 / _AREA
"""What taking a mean off leaves of the variance of white noise."""
_TAKEN = 2 / _AREA - SMOOTH_PX * (SMOOTH_PX - 1) / _AREA**2
"""What it takes off the product of neighbours."""

Numbers = npt.NDArray[np.float64]


def measure_pattern(flats: Sequence[FrameSeries], dark: FrameSeries | None) -> FixedPattern | None:
    """The fixed pattern in the means of flats; None where there is none beyond chance.

    Args:
        flats: one series for each level.
        dark: a series without signal; without it grey value 0 counts as no signal.
    """
    sums = np.sum([_sums(flat, dark) for flat in flats], axis=0)
    total = sums.sum(axis=1)
    found = total[1:] / total[0]  # variance over the signal squared, products of neighbours along x and y
    rest = [total - group for group in sums.T if group[0]]
    apart = np.array([left[1:] / left[0] for left in rest]) - found
    if len(apart) < 2:
        return None
    error = float(np.sqrt((len(apart) - 1) / len(apart) * (apart[:, 0] ** 2).sum()))
    if found[0] <= SURE * error:
        return None
    fraction = float(found[0]) ** 0.5
    lags = np.clip(found[1:] / found[0], -1, 1)
    level = 0.0 if dark is None else float(dark.level[dark.kept].mean())
    return FixedPattern(
        fraction=fraction,
        fraction_error=error / (2 * fraction),
        corr_x=float(lags[0]),
        corr_y=float(lags[1]),
        dark=level,
    )


def _sums(flat: FrameSeries, dark: FrameSeries | None) -> Numbers:
    """(4, G): signal squared; product of both halves at one pixel, and at neighbours along x and along y.

    What both halves of the frames show stands still; their noise is independent. Of each its mean over 5 x 5
    pixels is taken off.
    """
    kept, signal, halves = flat.kept, flat.level, flat.halves
    if dark is not None:
        kept, signal, halves = kept & dark.kept, signal - dark.level, halves - dark.halves
    weight = np.maximum(ndimage.uniform_filter(kept.astype(np.float64), SMOOTH_PX, mode="reflect"), 1e-9)
    one, other = (
        half - ndimage.uniform_filter(np.where(kept, half, 0.0), SMOOTH_PX, mode="reflect") / weight
        for half in halves
    )
    away = np.abs(one + other)
    kept = kept & (away <= OUTLIER * 1.4826 * np.median(away[kept])) & (signal > 0)
    groups = blocks_of(kept.shape) % GROUPS
    still = one * other / _KEPT
    found = [_grouped(signal**2, kept, groups), _grouped(still, kept, groups)]
    for axis in (0, 1):
        both = neighbours(kept, axis, 0) & neighbours(kept, axis, 1)
        near = 0.5 * (
            neighbours(one, axis, 0) * neighbours(other, axis, 1)
            + neighbours(other, axis, 0) * neighbours(one, axis, 1)
        )
        near = near + _TAKEN * neighbours(still, axis, 0)
        found.append(kept.sum() / max(int(both.sum()), 1) * _grouped(near, both, neighbours(groups, axis, 0)))
    return np.stack(found)


def _grouped(values: Numbers, kept: npt.NDArray[np.bool_], groups: npt.NDArray[np.intp]) -> Numbers:
    return np.asarray(np.bincount(groups[kept], values[kept], minlength=GROUPS), dtype=np.float64)
