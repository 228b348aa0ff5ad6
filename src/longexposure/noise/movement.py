"""Whether what frames differ by is noise: what is noted of a series of frames, and what is refused.

Light that changes, a part that moves and detectors with a memory leave traces in the differences of frames
that noise does not: structure, one thing twice, unequal variance of neighbours, correlation in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from longexposure.errors import InputError
from longexposure.noise.differences import FAR_PX, FrameDifferences, part_moved
from longexposure.noise.scene import Mask, Numbers, SceneFit
from longexposure.radiograph import Pixels

DRIFTED = 0.005
"""A change of brightness between frames is noted from this fraction on."""
GHOST = 0.25
"""What moved is in a difference twice, with opposite signs, and so correlates with itself by minus a half."""
STRUCTURE = (0.01, 0.05)
"""Fraction of a difference that is structure: from the first on it is noted, from the second on refused."""
EVEN_PX = (16, 32)
"""Side of the places, of small and of other images, whose noise is compared."""
UNEVEN = 0.06
"""Neighbouring places of one brightness may differ by this fraction of the variance, beyond chance."""
SHARED = (0.05, 0.3)
"""Correlation of the noise from frame to frame: from the first on it is noted, from the second on refused."""
MOVED_PX = (0.02, 0.5)
"""Creeping from one frame to the next: from the first on it is noted, from the second on refused."""
SURELY = 6.0
"""What is noted must be beyond chance by so many standard errors."""


def brightness_changes(frames: Sequence[Pixels], scene: SceneFit) -> Iterator[str]:
    """Whether the brightness changed from frame to frame, beyond noise."""
    means = np.array([float(frame[scene.usable].mean(dtype=np.float64)) for frame in frames])
    change = float(np.ptp(means)) / max(abs(float(means.mean())), 1e-12)
    if change > DRIFTED and np.ptp(means) > 6 * np.sqrt(scene.slack / scene.usable.sum()):
        yield f"brightness changed by {change:.1%} between frames, which was taken off"


def creeping(scene: SceneFit, sums: FrameDifferences, kept: Mask, where: str) -> Iterator[str]:
    """How far the part moved from one frame to the next, where that is beyond chance."""
    moved = sums.fits[:, -2:] / scene.sizes[-2:]
    variance = 2 * float(sums.power[kept].mean())
    errors = np.sqrt(variance * np.diag(scene.inverse)[-2:]) / scene.sizes[-2:]
    sure = (np.abs(moved) > SURELY * errors) & (errors < MOVED_PX[0])
    length = float(np.hypot(*np.where(sure, moved, 0.0).T).max())
    if length > MOVED_PX[1]:
        raise part_moved(where, f"what is seen moving by {length:.1f} px from one to the next")
    if length > MOVED_PX[0]:
        yield f"what is seen moved by up to {length:.2f} px between frames, which was taken off"


def structure_left(sums: FrameDifferences, kept: Mask, where: str) -> Iterator[str]:
    """How much of the differences is structure, which reaches further than noise."""
    both = kept[FAR_PX:, FAR_PX:] & kept[:-FAR_PX, :-FAR_PX]
    ends = sums.power[FAR_PX:, FAR_PX:], sums.power[:-FAR_PX, :-FAR_PX]
    square = sums.pairs.sum() * sum(float(part[both].sum()) for part in ends)
    fraction = float(sums.far[both].sum()) / square if square > 0 else 0.0
    by_chance = _by_chance(sums, kept)
    if fraction > max(STRUCTURE[1], by_chance):
        raise part_moved(where, f"{fraction:.0%} of what they differ by is structure")
    if fraction > max(STRUCTURE[0], by_chance):
        yield f"{fraction:.1%} of what frames differ by is structure: light or part did not stand still"


def check_evenness(
    scene: SceneFit, sums: FrameDifferences, kept: Mask, variance: Numbers, where: str
) -> None:
    """Over its variance by brightness (H, W), noise is alike in neighbouring places; a moving part is not."""
    side = max(EVEN_PX) if min(kept.shape) >= 4 * max(EVEN_PX) else min(EVEN_PX)
    rows, columns = (length // side for length in kept.shape)
    if min(rows, columns) < 4:
        return
    ratio = np.where(kept, sums.power * scene.slack / np.maximum(variance, 1e-12), 0.0)
    count, total = (
        image[: rows * side, : columns * side].reshape(rows, side, columns, side).sum(axis=(1, 3))
        for image in (kept, ratio)
    )
    means = np.where(count > 0.5 * side**2, total / np.maximum(count, 1), np.nan)
    apart = np.abs(np.concatenate([np.diff(means, axis=axis).ravel() for axis in (0, 1)])) / 2**0.5
    apart = apart[np.isfinite(apart)]
    if len(apart) < 12:
        return
    found = float(np.quantile(apart, 0.8)) / 1.2816
    by_chance = float(np.sqrt(2 * sums.pixels_per_independent(kept) / sums.freedom)) / side
    excess = max(found**2 - by_chance**2, 0.0) ** 0.5
    if excess > UNEVEN and found > 2 * by_chance:
        raise part_moved(
            where, f"noise that differs by {excess:.0%} between neighbouring places of one brightness"
        )


def check_ghosts(sums: FrameDifferences, kept: Mask, where: str) -> None:
    """What moves is in every difference twice, where it was and where it is; noise is not."""
    height, width = kept.shape
    with_itself = np.fft.irfft2(sums.spectrum, s=(height, width))
    down, right = (np.minimum(np.arange(side), side - np.arange(side)) for side in (height, width))
    near = (down[:, None] <= height // 4) & (right[None] <= width // 4)
    beyond = near & (np.maximum(down[:, None], right[None]) > 1)
    if not beyond.any():
        return
    least = np.where(beyond, with_itself, np.inf)
    y, x = np.unravel_index(int(np.argmin(least)), least.shape)
    fraction = -float(least[y, x] / with_itself[0, 0])
    if fraction > max(GHOST, _by_chance(sums, kept)):
        length = float(np.hypot(down[y], right[x]))
        raise part_moved(where, f"structure that shows twice in their difference, {length:.0f} px apart")


def correlation_in_time(sums: FrameDifferences, kept: Mask, where: str) -> Iterator[str]:
    """Of noise that is fresh in every frame, successive differences correlate by -1/2."""
    square = 2 * sums.power[kept].sum() * (sums.pairs.sum() - 1)
    if square <= 0:
        return
    correlation = 1 + 2 * float(sums.in_time[kept].sum() / square)
    by_chance = 2 * _by_chance(sums, kept)
    if correlation > max(SHARED[1], by_chance):
        raise InputError(
            where=where,
            expected="frames whose noise is independent",
            found=f"noise that correlates by {correlation:.2f} from one frame to the next",
            advice="switch off running averages and recursive filters, fix the part, expose again",
        )
    if correlation > max(SHARED[0], by_chance):
        yield (
            f"noise correlates by {correlation:.2f} from one frame to the next (lag of the detector?), "
            f"which makes sigma about {0.5 * correlation:.0%} too low"
        )


def _by_chance(sums: FrameDifferences, kept: Mask) -> float:
    """How large a correlation may be by chance; noise that is coloured has fewer independent pixels."""
    return SURELY * float(kept.sum() * sums.freedom) ** -0.5
