"""What successive exposures of one scene differ by, which is their noise and nothing else.

Sums are kept by brightness and by group of pixels. Leaving out one group after the other shows how sure any
number is that follows from the sums (jackknife), whatever the noise's colour and distribution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError
from longexposure.noise.differences import (
    GROUPS,
    FrameDifferences,
    blocks_of,
    brightness_edges,
    frame_differences,
    noise_pixels,
)
from longexposure.noise.movement import (
    brightness_changes,
    check_evenness,
    check_ghosts,
    correlation_in_time,
    creeping,
    structure_left,
)
from longexposure.noise.scene import Mask, Numbers, SceneFit, fit_scene, neighbours
from longexposure.radiograph import Pixels

LARGEST_PX = 2048
"""Of larger frames the middle is measured, which is more than enough."""
LEAST = 1e-6
"""Noise below this fraction of the grey values is rounding."""
REFITTED = 0.99
"""Where fewer of the pixels are kept, what is not noise is fitted again, to those alone."""


@dataclass(frozen=True, eq=False)
class FrameSums:
    """Sums over pixels and differences, by brightness (B) and by group of pixels (G).

    Attributes:
        count: (B, G) terms.
        levels: (B, G) sums of brightness.
        variances: (B, G) sums of the variance of one frame.
        neighbours: (2, B, G) pairs of neighbours along x and along y.
        covariances: (2, B, G) sums of their covariance in one frame.
    """

    count: Numbers
    levels: Numbers
    variances: Numbers
    neighbours: Numbers
    covariances: Numbers

    @classmethod
    def of(cls, scene: SceneFit, differences: FrameDifferences, kept: Mask) -> FrameSums:
        """Of the kept pixels; what fitting took off their covariance is given back."""
        edges = brightness_edges(scene.level[kept], scene.reliability)
        place = np.searchsorted(edges, scene.level[kept])
        middle = float(scene.mean[kept].mean())
        level = middle + scene.reliability * (scene.mean[kept] - middle)
        size = (len(edges) + 1) * GROUPS
        own, shared = np.zeros((3, size)), np.zeros((2, 2, size))
        for piece, pairs in enumerate(differences.pairs):
            group = (blocks_of(kept.shape) * len(differences.pairs) + piece) % GROUPS
            at = place * GROUPS + group[kept]
            squares = differences.squares[piece]
            own += _binned(at, pairs, pairs * level, squares[kept] * (0.5 * scene.slack), size=size)
            for axis in (0, 1):
                both = neighbours(kept, axis, 0) & neighbours(kept, axis, 1)
                one, other = (neighbours(squares, axis, which)[both] for which in (0, 1))
                lost = scene.lost_covariance(axis) * 0.25 * scene.slack
                covariance = 0.5 * differences.along[axis][piece][both] + lost * (one + other)
                first = np.zeros(kept.shape, dtype=bool)
                neighbours(first, axis, 0)[...] = both
                shared[axis] += _binned(at[first[kept]], pairs, covariance, size=size)
        filled = own[0].reshape(-1, GROUPS).any(axis=1)
        count, levels, variances = own.reshape(3, -1, GROUPS)[:, filled]
        pairs, covariances = shared.swapaxes(0, 1).reshape(2, 2, -1, GROUPS)[:, :, filled]
        return cls(count, levels, variances, neighbours=pairs, covariances=covariances)

    @classmethod
    def concatenated(cls, parts: Sequence[FrameSums]) -> FrameSums:
        """Sums of several series, one brightness after the other."""
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts], axis=-2) for name in names}
        )

    def means(self, weights: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """(B,) brightness and number of terms, and (3, B) variance and covariances along x and y.

        Args:
            weights: (G,), 1 for groups that count and 0 for others.
        """
        count = np.maximum(self.count @ weights, 1e-12)
        pairs = np.maximum(self.neighbours @ weights, 1e-12)
        both = (self.covariances @ weights) / pairs
        return self.levels @ weights / count, count, np.stack([self.variances @ weights / count, *both])


@dataclass(frozen=True, eq=False)
class FrameSeries:
    """Noise of one series of frames.

    Attributes:
        frames: how many there were.
        mean: their mean, (H, W); of frames beyond 2048 px the middle.
        halves: means of every other frame, from the first and from the second on, (2, H, W).
        level: brightness of every pixel: the mean of 5 x 5 pixels of `mean`.
        kept: pixels that were used, (H, W).
        sums: variances and covariances of those.
        notes: what a person should know, a sentence each.
    """

    frames: int
    mean: Numbers
    halves: Numbers
    level: Numbers
    kept: Mask
    sums: FrameSums
    notes: tuple[str, ...] = ()


def compare_frames(frames: Sequence[Pixels], *, where: str, uniform: bool = False) -> FrameSeries:
    """Gather what successive frames (H, W) of one shape and type differ by.

    Args:
        frames: in the order they were taken.
        where: what they are, for messages and notes.
        uniform: whether there is nothing in them that could move: darks and flats. Hot pixels are noisy
            and would pass for moving edges.

    Raises:
        InputError: fewer than two frames, frames without noise, a part that moved, frames that share their
            noise, values that are no numbers, or too few pixels that do not clip.
    """
    if len(frames) < 2:
        raise InputError(
            where=where,
            expected="two or more exposures of the same thing",
            found=str(len(frames)),
            advice="take another, or measure roughly from single images with --from image",
        )
    for number, (one, other) in enumerate(itertools.pairwise(frames), start=1):
        if np.array_equal(one, other):
            raise InputError(
                where=where,
                expected="exposures that differ by their noise",
                found=f"the same pixels in exposures {number} and {number + 1}",
                advice="a copy is not a repeat: leave it out, or expose again",
            )
    top, left = (max(0, (side - LARGEST_PX) // 2) for side in frames[0].shape)
    frames = [frame[top : top + LARGEST_PX, left : left + LARGEST_PX] for frame in frames]
    scene = fit_scene(frames, where=where)
    differences = frame_differences(scene, frames)
    if differences.power[scene.usable].mean() <= (LEAST * np.abs(scene.mean).max()) ** 2:
        raise InputError(
            where=where,
            expected="exposures that differ by their noise",
            found="none: they differ by their brightness at most",
            advice="a copy is not a repeat, brightened or not: expose again",
        )
    kept, variance, edge_notes = noise_pixels(scene, differences, where, uniform=uniform)
    if kept.sum() < REFITTED * scene.usable.sum():
        scene = scene.fitted_to(kept)
        differences = frame_differences(scene, frames)
        kept, variance, edge_notes = noise_pixels(scene, differences, where, uniform=uniform)
    notes = [*brightness_changes(frames, scene), *edge_notes]
    notes += [] if uniform else creeping(scene, differences, kept, where)
    notes += structure_left(differences, kept, where)
    if not uniform:
        check_evenness(scene, differences, kept, variance, where)
        check_ghosts(differences, kept, where)
    notes += correlation_in_time(differences, kept, where)
    return FrameSeries(
        frames=len(frames),
        mean=scene.mean,
        halves=scene.halves,
        level=scene.level,
        kept=kept,
        sums=FrameSums.of(scene, differences, kept),
        notes=tuple(f"{where}: {note}" for note in notes),
    )


def _binned(at: npt.NDArray[np.intp], *values: Numbers | float, size: int) -> Numbers:
    """Sums (N, size) of each of N values over the places `at`."""
    every = [np.broadcast_to(np.asarray(value, dtype=np.float64), at.shape) for value in values]
    return np.stack([np.bincount(at, value, minlength=size) for value in every])


def compare_series(
    scenes: Sequence[Sequence[Pixels]], darks: Sequence[Pixels], *, source: Literal["flats", "repeats"]
) -> tuple[list[FrameSeries], FrameSeries | None, list[str]]:
    """Compare the frames of several scenes and of the dark; those that cannot be measured are left out.

    Returns:
        The scenes, the dark where there is one, and a note for each that was left out.

    Raises:
        InputError: see `compare_frames`, where no scene can be measured.
    """
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
    dark = found.pop("darks", None)
    return list(found.values()), dark, notes
