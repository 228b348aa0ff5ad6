"""Photon transfer: how the variance of the noise goes with the grey value, from frames that were repeated.

Where a linear detector counts quanta, variance against mean is a straight line: its slope is the gain in grey
values per quantum, its height in the dark the square of the read noise (Janesick 2007; EMVA standard 1288).
Points come from every series of frames and every brightness in it, and count by how sure they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from longexposure.noise.calibration import MeasuredTable, NoiseCalibration, NoiseTable
from longexposure.noise.differences import GROUPS
from longexposure.noise.fixed_pattern import measure_pattern
from longexposure.noise.frames import FrameSeries, FrameSums, compare_series
from longexposure.radiograph import Pixels

MISFIT = 0.15
"""From this fraction of the variance on, a misfit is noted, and the dark is left out.

A misfit is the largest deviation of a point from the line beyond three of its own errors."""

Numbers = npt.NDArray[np.float64]


def measure_flats(
    levels: Sequence[Sequence[Pixels]], darks: Sequence[Pixels] = (), *, pattern: bool = True
) -> NoiseCalibration:
    """The noise from flats: exposures of the open beam or of something uniform.

    Args:
        levels: for each brightness two or more frames (H, W), in the order they were taken; all of one
            shape and type.
        darks: two or more frames without X-rays, or none.
        pattern: whether to measure the fixed pattern too.

    Raises:
        InputError: see `longexposure.noise.frames.compare_frames`.
    """
    return _measured(levels, darks, source="flats", pattern=pattern)


def measure_repeats(scenes: Sequence[Sequence[Pixels]], darks: Sequence[Pixels] = ()) -> NoiseCalibration:
    """The noise from repeated exposures of any part that does not move.

    The fixed pattern of the detector stands still as the part does and is not seen.

    Args:
        scenes: for each part two or more frames (H, W), in the order they were taken; all of one shape
            and type.
        darks: two or more frames without X-rays, or none.

    Raises:
        InputError: see `longexposure.noise.frames.compare_frames`.
    """
    return _measured(scenes, darks, source="repeats", pattern=False)


def _measured(
    scenes: Sequence[Sequence[Pixels]],
    darks: Sequence[Pixels],
    *,
    source: Literal["flats", "repeats"],
    pattern: bool,
) -> NoiseCalibration:
    bright, dark, notes = compare_series(scenes, darks, source=source)
    used = bright if dark is None else [*bright, dark]
    fit = _fit(used, bright)
    if dark is not None and fit.misfit > MISFIT:
        used, fit = bright, _fit(bright, bright)
        notes.append("the noise in the dark lies off the line of the rest and was left out")
    if fit.misfit > MISFIT:
        notes.append(f"variance against grey value is no straight line: off by up to {fit.misfit:.0%}")
    variance, slope, corr_x, corr_y, slope_x, slope_y, *variances = fit.numbers.tolist()
    variance_error, slope_error, corr_x_error, corr_y_error, _, _, *errors = fit.errors.tolist()
    sigma = max(variance, 0.0) ** 0.5
    sloped = len(fit.level) > 1
    first = scenes[0][0]
    return NoiseCalibration(
        dtype=first.dtype.name,  # type: ignore[arg-type]  # checked by the model
        noise=NoiseTable(
            level=fit.middle,
            sigma=sigma,
            sigma_error=variance_error / max(2 * sigma, 1e-12),
            slope=slope if sloped else None,
            slope_error=slope_error if sloped else None,
            error_correlation=fit.error_correlation,
            corr_x=min(max(corr_x, -1.0), 1.0),
            corr_x_error=corr_x_error,
            corr_y=min(max(corr_y, -1.0), 1.0),
            corr_y_error=corr_y_error,
            slope_x=slope_x if sloped else None,
            slope_y=slope_y if sloped else None,
        ),
        pattern=measure_pattern(bright, dark) if pattern else None,
        measured=MeasuredTable.today(
            source=source,
            grey=(float(fit.level.min()), float(fit.level.max())),
            frames=sum(each.frames for each in bright),
            darks=sum(each.frames for each in used) - sum(each.frames for each in bright),
            size_px=(first.shape[0], first.shape[1]),
            misfit=fit.misfit,
            points=tuple(zip(fit.level.tolist(), variances, errors, strict=True)),
            notes=(*dict.fromkeys(note for each in used for note in each.notes), *notes),
        ),
    )


class _Fit(NamedTuple):
    """Numbers of `_line` (6 + P,), their errors, and grey values: (P,), and the mean of bright ones."""

    numbers: Numbers
    errors: Numbers
    error_correlation: float
    level: Numbers
    middle: float
    misfit: float


def _fit(series: Sequence[FrameSeries], bright: Sequence[FrameSeries]) -> _Fit:
    """The lines through all series; errors by leaving out one group of pixels after the other (Tukey 1958).

    Args:
        series: what lines are fitted to, first those of `bright`.
        bright: all but the dark.
    """
    sums = FrameSums.concatenated([each.sums for each in series])
    level, count, _ = sums.means(np.ones(GROUPS))
    lit = slice(0, sum(len(each.sums.count) for each in bright))
    middle = float(np.average(level[lit], weights=count[lit]))
    numbers = _line(sums, np.ones(GROUPS), middle=middle)
    groups, every = np.flatnonzero(sums.count.sum(axis=0)), np.arange(GROUPS)
    apart = np.array([_line(sums, 1.0 - (every == group), middle=middle) for group in groups]) - numbers
    errors = np.sqrt((len(groups) - 1) / len(groups) * (apart**2).sum(axis=0))
    size = float(np.sqrt((apart[:, 0] ** 2).sum() * (apart[:, 1] ** 2).sum()))
    together = float(apart[:, 0] @ apart[:, 1]) / size if size > 0 else 0.0
    line = numbers[0] + numbers[1] * (level - middle)
    off = (np.abs(numbers[6:] - line) - 3 * errors[6:]) / np.maximum(line, 1e-12)
    misfit = max(0.0, float(off.max()))
    return _Fit(numbers, errors, min(max(together, -1.0), 1.0), level, middle, misfit)


def _line(sums: FrameSums, weights: Numbers, *, middle: float) -> Numbers:
    """Straight lines through variances and covariances against brightness.

    A point's weight is its number of terms over its variance squared, as the line of the variance has it.

    Args:
        sums: of B levels of brightness.
        weights: (G,) of the groups of pixels.
        middle: grey value at which heights are taken.

    Returns:
        (6 + B,): variance at `middle`, its slope, correlations there, slopes of the covariances; variances.
    """
    level, count, points = sums.means(weights)
    away = level - middle
    expected, slopes = np.maximum(points[0], 1e-6 * points[0].max()), np.zeros(3)
    for _ in range(4):
        weight = np.where(count >= 1, count, 0.0) / expected**2
        total, x, xx = weight.sum(), weight @ away, weight @ away**2
        y, xy = points @ weight, points @ (weight * away)
        determinant = total * xx - x * x
        if determinant <= 1e-12 * total * xx:
            heights = y / total
            break
        heights, slopes = (xx * y - x * xy) / determinant, (total * xy - x * y) / determinant
        expected = np.maximum(heights[0] + slopes[0] * away, 0.1 * expected)
    correlations = heights[1:] / max(heights[0], 1e-12)
    return np.concatenate([[heights[0], slopes[0]], correlations, slopes[1:], points[0]])
