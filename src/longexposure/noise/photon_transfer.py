"""Photon transfer: how the variance of the noise goes with the grey value, from frames that were repeated.

Where a linear detector counts quanta, variance against mean is a straight line: its slope is the gain in grey
values per quantum, its height in the dark the square of the read noise (Janesick 2007; EMVA standard 1288).
Points come from every series of frames and every brightness in it, and count by how sure they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError
from longexposure.noise.differences import GROUPS
from longexposure.noise.fixed_pattern import FixedPattern, measure_pattern
from longexposure.noise.frames import FrameSeries, FrameSums, compare_frames
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

MISFIT = 0.15
"""From this fraction of the variance on, a line that misses its points is noted, and leaves the dark out."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """The noise that repeated exposures show, each number with its standard error.

    Attributes:
        profile: of the temporal noise, which differs from frame to frame.
        sigma_error: standard error of `profile.sigma`.
        error_correlation: correlation of the errors of variance and slope.
        slope_error: of `profile.slope`; None where only one brightness was seen, so that the slope is
            unknown and stands as 0.
        corr_x_error: of `profile.corr_x`.
        corr_y_error: of `profile.corr_y`.
        slope_x: change of the covariance of neighbours along x per grey value: quanta behind a screen are
            coloured, electronics are not. 0 where the slope is unknown.
        slope_y: the same along y.
        grey: lowest and highest brightness that was seen, the dark included.
        points: (P, 3) brightness, variance there and its standard error.
        misfit: largest deviation of a point from the line beyond its own error, as a fraction of the
            variance.
        pattern: the fixed pattern, which flats alone show; None where there is none or it cannot be known.
        frames: exposures that were used, darks apart.
        darks: dark frames that were used.
        notes: what a person should know, a sentence each.
    """

    profile: NoiseProfile
    sigma_error: float
    slope_error: float | None
    error_correlation: float
    corr_x_error: float
    corr_y_error: float
    slope_x: float
    slope_y: float
    grey: tuple[float, float]
    points: Numbers
    misfit: float
    pattern: FixedPattern | None
    frames: int
    darks: int
    notes: tuple[str, ...] = ()


def measure_flats(
    levels: Sequence[Sequence[Pixels]], darks: Sequence[Pixels] = (), *, pattern: bool = True
) -> MeasuredNoise:
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


def measure_repeats(scenes: Sequence[Sequence[Pixels]], darks: Sequence[Pixels] = ()) -> MeasuredNoise:
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
) -> MeasuredNoise:
    series = {
        source if len(scenes) == 1 else f"{source}, series {n}": s for n, s in enumerate(scenes, start=1)
    }
    if len(darks):
        series["darks"] = darks
    notes: list[str] = []
    found: dict[str, FrameSeries] = {}
    for number, (where, frames) in enumerate(series.items(), start=1):
        try:
            found[where] = compare_frames(frames, where=where, uniform=source == "flats" or where == "darks")
        except InputError as error:
            if number == len(scenes) and not found:
                raise
            notes.append(f"{error.where} left out: expected {error.expected}, found {error.found}")
    dark, bright = found.pop("darks", None), list(found.values())
    noise = _transferred(bright, dark, source)
    if dark is not None and noise.misfit > MISFIT:
        noise = _transferred(bright, None, source)
        notes.append("the noise in the dark lies off the line of the rest and was left out")
    if noise.misfit > MISFIT:
        notes.append(f"variance against grey value is no straight line: off by up to {noise.misfit:.0%}")
    return replace(
        noise,
        notes=(*noise.notes, *notes),
        pattern=measure_pattern(bright, dark) if pattern else None,
    )


def _transferred(
    scenes: Sequence[FrameSeries], dark: FrameSeries | None, source: Literal["flats", "repeats"]
) -> MeasuredNoise:
    """The straight line of variance against grey value, with its errors."""
    every = [*scenes, *([] if dark is None else [dark])]
    sums = FrameSums.concatenated([each.sums for each in every])
    level, count, _ = sums.means(np.ones(GROUPS))
    bright = slice(0, sum(len(each.sums.count) for each in scenes))
    middle = float(np.average(level[bright], weights=count[bright]))
    found = _line(sums, np.ones(GROUPS), middle=middle)
    errors, error_correlation = _jackknife(sums, found, middle=middle)
    variance, error = found[6:], errors[6:]
    sigma = max(float(found[0]), 0.0) ** 0.5
    line = found[0] + found[1] * (level - middle)
    off = (np.abs(variance - line) - 3 * error) / np.maximum(line, 1e-12)
    corr_x, corr_y = (float(np.clip(corr, -1, 1)) for corr in found[2:4])
    return MeasuredNoise(
        profile=NoiseProfile(middle, sigma, float(found[1]), corr_x, corr_y, origin=source),
        sigma_error=float(errors[0]) / max(2 * sigma, 1e-12),
        slope_error=float(errors[1]) if len(level) > 1 else None,
        error_correlation=error_correlation,
        corr_x_error=float(errors[2]),
        corr_y_error=float(errors[3]),
        slope_x=float(found[4]),
        slope_y=float(found[5]),
        grey=(float(level.min()), float(level.max())),
        points=np.stack([level, variance, error], axis=1),
        misfit=max(0.0, float(off.max())),
        pattern=None,
        frames=sum(each.frames for each in scenes),
        darks=0 if dark is None else dark.frames,
        notes=tuple(dict.fromkeys(note for each in every for note in each.notes)),
    )


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


def _jackknife(sums: FrameSums, found: Numbers, *, middle: float) -> tuple[Numbers, float]:
    """Standard errors by leaving out one group of pixels after the other (Tukey 1958).

    Returns:
        The errors, and the correlation of the first two.
    """
    groups = np.flatnonzero(sums.count.sum(axis=0))
    every = np.arange(GROUPS)
    apart = np.array([_line(sums, 1.0 - (every == group), middle=middle) for group in groups]) - found
    errors = np.sqrt((len(groups) - 1) / len(groups) * (apart**2).sum(axis=0))
    size = float(np.sqrt((apart[:, 0] ** 2).sum() * (apart[:, 1] ** 2).sum()))
    return errors, float(apart[:, 0] @ apart[:, 1]) / size if size > 0 else 0.0
