"""Sums over the differences of successive frames, and the pixels whose noise they are.

Pixels that clip, pixels far noisier than others of their brightness (flickering, hit by a particle) and edges
that moved more than a gradient accounts for are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.errors import InputError
from longexposure.noise.scene import (
    FEWEST_KEPT,
    FEWEST_PIXELS,
    SMOOTH_PX,
    Mask,
    Numbers,
    SceneFit,
    check_enough,
    neighbours,
)
from longexposure.radiograph import Pixels

GROUPS = 32
"""Groups of pixels for the jackknife."""
BINS = 24
"""Most groups of equal size into which pixels are sorted by brightness."""
PIXELS_A_BIN = 400
TRUE_BRIGHTNESS = 0.8
"""Where less of what the brightness varies by is the scene's own, a series counts as one brightness."""
OUTLIER = 5.5
"""A pixel is left out when its variance is above that of its brightness by so many standard deviations ..."""
NOISY = 3.0
"""... and is this many times as large: pixels of one detector differ."""
FROM_ENDS = 3.0
"""Brightness nearer to an end of the grey scale than so many standard deviations counts as clipped; at that
distance clipping takes a four-hundredth off the variance."""
FLAT_PX = 5
"""Side of the square whose slopes decide which pixels are taken for noise at first."""
SLOPE_NOISE = 10.0
"""A slope counts as an edge where its square is above so many times what noise gives it."""
EDGE_EXCESS = 0.02
"""Moving edges are left out where they add more than this fraction to the variance."""
GHOST_PAIRS = 8
"""Differences that are searched for a part that shows twice in them."""
FAR_PX = 8
"""Noise of pixels so far apart along both axes is independent; structure is not."""


@dataclass(frozen=True, eq=False)
class FrameDifferences:
    """Sums over successive differences, in maps for every piece of time (T of them).

    Attributes:
        pairs: (T,) differences in each piece.
        squares: (T, H, W) of a difference.
        along: products with the next pixel along x and y, (T, H, W - 1) and (T, H - 1, W).
        fits: (N - 1, K) fits of the scene's basis.
        spectrum: sum of the power spectra of some of them, (H, W // 2 + 1).
        in_time: (H, W) sums of the products of successive differences.
        far: (H - 8, W - 8) sums of the products with the pixel 8 px away along both axes.
    """

    pairs: Numbers
    squares: Numbers
    along: tuple[Numbers, Numbers]
    fits: Numbers
    spectrum: Numbers
    in_time: Numbers
    far: Numbers

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a pixel's variance; successive differences share a frame."""
        return float(2 * self.pairs.sum() + 1) / 3

    @property
    def power(self) -> Numbers:
        """Variance of every pixel, (H, W)."""
        return np.asarray(self.squares.sum(axis=0) / (2 * self.pairs.sum()))

    def pixels_per_independent(self, kept: Mask) -> float:
        """How many pixels of this noise say as much about its variance as one of white noise."""
        total = self.squares.sum(axis=0)
        factor = 1.0
        for axis in (0, 1):
            both = neighbours(kept, axis, 0) & neighbours(kept, axis, 1)
            square = float(neighbours(total, axis, 0)[both].sum())
            lag = float(self.along[axis].sum(axis=0)[both].sum()) / max(square, 1e-12)
            factor *= (1 + lag**2) / (1 - min(lag**2, 0.9))
        return factor


def frame_differences(scene: SceneFit, frames: Sequence[Pixels]) -> FrameDifferences:
    """Sums over the differences of successive frames (H, W), without what is not noise."""
    count, (height, width) = len(frames) - 1, scene.mean.shape
    pieces = min(count, -(-GROUPS // int(blocks_of(scene.mean.shape).max() + 1)))
    pairs, squares = np.zeros(pieces), np.zeros((pieces, height, width))
    along = np.zeros((pieces, height, width - 1)), np.zeros((pieces, height - 1, width))
    fits, spectrum = np.zeros((count, len(scene.basis))), np.zeros((height, width // 2 + 1))
    in_time = np.zeros((height, width))
    far = np.zeros((max(height - FAR_PX, 0), max(width - FAR_PX, 0)))
    before = np.zeros((height, width), dtype=np.float32)
    for index in range(count):
        difference = np.subtract(frames[index + 1], frames[index], dtype=np.float32)
        rest, fits[index] = scene.residual(difference)
        piece = index * pieces // count
        pairs[piece] += 1
        squares[piece] += rest * rest
        for axis in (0, 1):
            along[axis][piece] += neighbours(rest, axis, 0) * neighbours(rest, axis, 1)
        if index < GHOST_PAIRS:
            spectrum += np.abs(np.fft.rfft2(rest)) ** 2
        in_time += rest * before
        far += rest[FAR_PX:, FAR_PX:] * rest[:-FAR_PX, :-FAR_PX]
        before = rest
    return FrameDifferences(pairs, squares, along, fits, spectrum, in_time, far)


def blocks_of(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Numbers (H, W) of up to 8 x 8 blocks of the image, each at least 8 px wide where it can be."""
    rows, columns = (
        np.arange(side) * count // side for side in shape for count in [min(8, max(1, side // 8))]
    )
    return np.asarray(rows[:, None] * (columns.max() + 1) + columns[None], dtype=np.intp)


def noise_pixels(
    scene: SceneFit, sums: FrameDifferences, where: str, *, uniform: bool
) -> tuple[Mask, Numbers, list[str]]:
    """Leave out pixels far noisier than others of their brightness, and edges that moved.

    Returns:
        The pixels that are kept, (H, W); the variance of the noise at the brightness of every pixel, (H, W);
        a note where edges were left out.

    Raises:
        InputError: too few pixels remain.
    """
    power = sums.power * scene.slack
    steep: Numbers = np.sum([slope**2 for slope in np.gradient(scene.mean)], axis=0)
    around = ndimage.uniform_filter(steep, FLAT_PX, mode="nearest")
    kept = scene.usable & (around <= np.median(around[scene.usable]))
    middle = float(scene.level[scene.usable].mean())
    level = middle + scene.reliability * (scene.level - middle)
    jitter = 0.0
    for turn in range(3):
        variance_at = _variance_by_brightness(scene, power, kept, robust=turn == 0, freedom=sums.freedom)
        here = variance_at(scene.level)
        reach = FROM_ENDS * np.sqrt(here)  # by the scene's own brightness: the mean would choose bright noise
        inside = scene.usable & (level - reach > scene.ends[0]) & (level + reach < scene.ends[1])
        edges = np.maximum(steep - SLOPE_NOISE * here / scene.frames, 0.0)
        freedom = max(sums.freedom / sums.pixels_per_independent(kept), 1.0)
        if not uniform:
            jitter = max(jitter, _edge_jitter(power, here, edges, inside, freedom=freedom))
        ratio = power / np.maximum(np.maximum(here, variance_at(scene.mean)), 1e-12)
        # what chi squared over its mean hardly ever exceeds (Wilson and Hilferty 1931)
        spreads = 2 / (9 * freedom), 2 / (9 * (freedom * SMOOTH_PX**2))
        limit, limit_around = ((1 - spread + OUTLIER * spread**0.5) ** 3 for spread in spreads)
        around = ndimage.uniform_filter(np.minimum(ratio, max(NOISY, limit)), SMOOTH_PX, mode="nearest")
        kept = inside & (jitter * edges <= EDGE_EXCESS * here)
        kept &= (ratio <= max(NOISY, limit)) & (around <= max(NOISY / 2, limit_around))
        check_enough(inside, where, "reach neither black nor white by their noise")
        if kept.sum() < max(FEWEST_PIXELS, FEWEST_KEPT * kept.size):
            raise part_moved(where, f"{1 - kept.mean():.0%} of the pixels far noisier than the others")
    lost = 1 - float(kept.sum() / inside.sum())
    note = f"edges moved by about {jitter**0.5:.2g} px; the {lost:.0%} of the pixels on them were left out"
    return kept, variance_at(scene.level), [note] if jitter and lost > 0.01 else []


def brightness_edges(level: Numbers, reliability: float) -> Numbers:
    """Inner edges of the bins of brightness; none where the brightness varies by noise alone."""
    bins = min(BINS, len(level) // PIXELS_A_BIN) if reliability >= TRUE_BRIGHTNESS else 1
    return np.unique(np.quantile(level, np.linspace(0, 1, max(bins, 1) + 1)[1:-1]))


def part_moved(where: str, found: str) -> InputError:
    """The error of a series in which something moved."""
    return InputError(
        where=where,
        expected="exposures of one part that does not move, under light that does not change",
        found=found,
        advice="fix part and stage and wait until the tube is steady, or measure from flats",
    )


def _variance_by_brightness(
    scene: SceneFit, power: Numbers, kept: Mask, *, robust: bool, freedom: float
) -> Callable[[Numbers], Numbers]:
    """Variance of the noise by brightness, from the variances of the pixels.

    Args:
        scene: gives the brightness.
        power: variance of every pixel, (H, W).
        kept: pixels that count.
        robust: whether the mean of each bin is taken from its median, which few noisy pixels do not move.
            Where noise is below the rounding, most are 0 or alike; the mean without the highest tenth is
            the least then.
        freedom: degrees of freedom of a pixel's variance.
    """
    level, power = scene.level[kept], power[kept]
    place = np.searchsorted(brightness_edges(level, scene.reliability), level)
    order = np.argsort(place, kind="stable")
    groups = [group for group in np.split(order, np.cumsum(np.bincount(place))[:-1]) if len(group)]
    variances = []
    for group in groups:
        values = power[group]
        if robust:
            median = float(np.median(values)) / (1 - 2 / (9 * freedom)) ** 3
            variances.append(max(median, float(values[values <= np.quantile(values, 0.9)].mean())))
        else:
            variances.append(values.mean())
    levels = np.array([level[group].mean() for group in groups])
    return lambda at: np.interp(at, levels, np.array(variances))


def _edge_jitter(power: Numbers, typical: Numbers, steep: Numbers, steady: Mask, *, freedom: float) -> float:
    """Mean square movement of edges in px squared that the fits have left; 0 where it may be chance."""
    weight = steep[steady] / np.maximum(typical[steady], 1e-12) ** 2
    total = float(weight @ steep[steady])
    if total <= 0:
        return 0.0
    excess = float(weight @ (power - typical)[steady])
    sure = excess > 5 * (2 / freedom * total) ** 0.5
    return excess / total if sure and excess > 2 * EDGE_EXCESS * float(weight @ typical[steady]) else 0.0
