"""Clusters of faulty pixels: groups of any shape and value whose edges are sharper than optics can make them.

A blurred edge is seen twice: the pixel outside rises before it, or the pixel inside has not yet reached what
lies behind it. Summed over a whole outline both are measured far below the noise of single pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.noise import NoiseProfile

LEAST_STEP = 5.0
"""The outline of a cluster stands out by this many standard deviations of the noise."""
LEAST_SEED = 7.0
"""At one corner at least it does by so many."""
ENCLOSED = 3.0
"""Pixels that it encloses belong to it where they differ by so many."""
OUTSIDE, INSIDE = 0.1, 0.35
"""Fractions of the step at the outline by which what is outside may rise towards it, and by which what is
inside may still rise behind it. An edge blurred by 0.5 px between two pixels rises by 0.19 outside; where it
lies on a pixel, that pixel's neighbour inside is as much higher again."""
SIDE_OUTSIDE, SIDE_INSIDE = 0.2, 1.0
"""The same for each of its four sides alone."""
STRICT_OUTSIDE, STRICT_INSIDE = 0.08, 0.12
"""The same for each side of a cluster whose grey values occur elsewhere in the image."""
LEAST_STRICT = 35.0
"""Root of the sum of squares of all steps of its outline, in standard deviations of the noise, at least."""
STEEPEST = 2.5
"""A step counts for at most so many times the usual one of its outline."""
LARGEST_PX, LARGEST_SIDE_PX = 300, 52
REACHES_PX = (12, 30)
"""How far around a seed a cluster is looked for: the second where it does not end within the first."""
LEAST_PX = 3
"""Single pixels and pairs have a rule of their own."""
LEAST_SIDES = 5
"""Fewest pairs of pixels across the outline to judge by."""

Values = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

Steps = npt.NDArray[np.float64]

_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_AROUND = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class Range:
    """Grey values that an image's part takes; a fault beyond them is no part."""

    low: float
    high: float

    def beyond(self, values: Values, sigma: npt.ArrayLike) -> Marks:
        """Which grey values lie beyond those of the part."""
        margin = 0.1 * (self.high - self.low) + LEAST_STEP * np.asarray(sigma)
        return np.asarray((values < self.low - margin) | (values > self.high + margin))


def seeds_of(
    strip: Values,
    places: tuple[Places, Places],
    *,
    sigma: npt.NDArray[np.float64],
    level: Values,
    rows: range,
    usual: Range,
) -> Marks:
    """Which of these pixels may be a corner of a cluster, from what is left or right and above or below.

    Args:
        strip: grey values with three rows and columns more on either side than the places count.
        places: rows and columns.
        sigma: standard deviation of the noise at each.
        level: grey value of what surrounds each.
        usual: grey values of the part.
        rows: those of the strip that the image has, counted as y is; its columns are the image's.
    """
    y, x = places
    centre = strip[y + 3, x + 3]
    strange = usual.beyond(centre, sigma)
    sharp = []
    for dy, dx in _SIDES:
        behind, first, second, third = (strip[y + 3 + k * dy, x + 3 + k * dx] for k in (-1, 1, 2, 3))
        step = np.abs(centre - first)
        outside = np.maximum(np.abs(first - second), np.abs(first - third))
        rises = (behind - centre) * np.sign(centre - first)
        steep = (step > LEAST_SEED * sigma) & (outside < OUTSIDE * step + 3.5 * sigma)
        sharp.append(steep & (strange | (rises < INSIDE * step + 3.5 * sigma)))
    corner = (sharp[0] | sharp[1]) & (sharp[2] | sharp[3])
    others, columns = np.zeros(len(y), np.int64), strip.shape[1] - 6
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            inside = (y + dy >= rows.start) & (y + dy < rows.stop) & (x + dx >= 0) & (x + dx < columns)
            if dy or dx:  # beyond the border there are only copies
                others += inside & (np.abs(strip[y + 3 + dy, x + 3 + dx] - level) > LEAST_STEP * sigma)
    return corner & (others >= LEAST_PX - 1)


def find_cluster(
    window: Values, seed: tuple[int, int], *, noise: NoiseProfile, usual: Range, closed: Marks
) -> tuple[Marks, bool]:
    """The group that a seed belongs to, as marks of the window, and whether it is a cluster of faulty pixels.

    Args:
        window: grey values around the seed.
        seed: row and column in the window.
        noise: profile of the image.
        usual: grey values of the part.
        closed: pixels of the window that are no picture, and say nothing.
    """
    tried: list[Marks] = []
    local = _outside_level(window, seed)
    for level in (local, float(np.median(window))):
        sigma = float(np.sqrt(noise.variance(level)))
        if level != local and abs(level - local) < LEAST_STEP * sigma:
            break
        away = np.abs(window - level)
        step = float(away[seed])
        near = (away > LEAST_STEP * sigma) & ~closed
        apart = (away > max(LEAST_STEP * sigma, 0.3 * step)) & ~closed
        same = (window == window[seed]) & ~closed
        for marked, gap in ((apart, False), (apart, True), (near, True), (near, False), (same, False)):
            group = _connected(marked, seed, gap=gap)
            if group is None or any(np.array_equal(group, other) for other in tried):
                continue
            tried.append(group)
            strict = float(usual.beyond(window[group], sigma).mean()) <= 0.5
            if _is_sharp(window, group, closed, sigma=sigma, strict=strict):
                # good pixels that it encloses stay, where not some that are too noisy happen to look good
                brighter = float(np.mean(window[group & marked] > level))
                return group & (away > ENCLOSED * sigma) if brighter in (0, 1) else group, True
    return tried[-1] if tried else np.zeros(window.shape, np.bool_), False


def _outside_level(window: Values, seed: tuple[int, int]) -> float:
    """Grey value beside a corner: the middle of the two pixels beyond its steepest step each way."""
    y, x = seed
    values = []
    for sides in (_SIDES[:2], _SIDES[2:]):
        best = max(
            (side for side in sides if _inside(window, y + 2 * side[0], x + 2 * side[1])),
            key=lambda side: abs(float(window[y + side[0], x + side[1]]) - float(window[seed])),
            default=None,
        )
        if best is not None:
            values += [float(window[y + k * best[0], x + k * best[1]]) for k in (1, 2)]
    return float(np.median(values)) if values else float(np.median(window))


def _inside(window: Values, y: int, x: int) -> bool:
    return 0 <= y < window.shape[0] and 0 <= x < window.shape[1]


def _connected(marked: Marks, seed: tuple[int, int], *, gap: bool) -> Marks | None:
    """The marked pixels connected to the seed, also over a gap of 1 px, which is closed then.

    None where they are too many or too few.
    """
    wide = ndimage.binary_dilation(marked, _AROUND) if gap else marked
    labels, _ = ndimage.label(wide, _AROUND)
    if not labels[seed]:
        return None
    group = (labels == labels[seed]) & marked
    count = np.count_nonzero(group)
    if not LEAST_PX <= count <= LARGEST_PX:
        return None
    rows, columns = np.flatnonzero(group.any(axis=1)), np.flatnonzero(group.any(axis=0))
    if max(rows[-1] - rows[0], columns[-1] - columns[0]) >= LARGEST_SIDE_PX:
        return None
    if gap:
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        group[part] |= ndimage.binary_closing(np.pad(group[part], 2), _AROUND)[2:-2, 2:-2]
    return group


def _is_sharp(window: Values | Steps, group: Marks, closed: Marks, *, sigma: float, strict: bool) -> bool:
    """Whether the outline of a group is one that optics cannot make."""
    height, width = window.shape
    window = window.astype(np.float64)
    y, x = np.nonzero(group)
    sums, rough, steps = np.zeros((4, 3)), 0.0, []
    for dy, dx in _SIDES:
        keep = (y + 2 * dy >= 0) & (y + 2 * dy < height) & (x + 2 * dx >= 0) & (x + 2 * dx < width)
        keep &= (y - dy >= 0) & (y - dy < height) & (x - dx >= 0) & (x - dx < width)
        at_y, at_x = y[keep], x[keep]
        near, far = (at_y + dy, at_x + dx), (at_y + 2 * dy, at_x + 2 * dx)
        keep = ~(group[near] | group[far] | closed[near] | closed[far])
        at_y, at_x = at_y[keep], at_x[keep]
        centre = window[at_y, at_x]
        first, second = window[at_y + dy, at_x + dx], window[at_y + 2 * dy, at_x + 2 * dx]
        behind = np.where(group[at_y - dy, at_x - dx], window[at_y - dy, at_x - dx], centre)
        steps.append((first - second, behind - centre, centre - first))
    every = np.concatenate([step for *_, step in steps])
    if len(every) < LEAST_SIDES:
        return False
    pairs, largest = len(every), STEEPEST * float(np.median(np.abs(every)))
    for side, (beside, rise, step) in enumerate(steps):
        # the steepest pixel must not speak for all
        step = np.clip(step, -largest, largest)
        sums[side] = (beside * step).sum(), (rise * step).sum(), np.square(step).sum()
        rough += float(np.square(beside).sum())
    power = float(sums[:, 2].sum())
    if power < pairs * (LEAST_STEP * sigma) ** 2:
        return False
    if strict and power < (LEAST_STRICT * sigma) ** 2:
        return False
    if rough / pairs > (2.2 * sigma + OUTSIDE * (power / pairs) ** 0.5) ** 2:
        return False
    doubt = 1.5 * sigma / power**0.5
    outside, inside = sums[:, 0].sum() / power, sums[:, 1].sum() / power
    if outside + doubt > OUTSIDE:
        return False
    if not strict and _steepest_are_sharp(steps):
        return True
    if inside + doubt > INSIDE:
        return False
    each = sums[sums[:, 2] > 0]
    outsides, insides = each[:, 0] / each[:, 2], each[:, 1] / each[:, 2]
    doubts = 3 * sigma / np.sqrt(each[:, 2])
    most = (STRICT_OUTSIDE, STRICT_INSIDE) if strict else (SIDE_OUTSIDE, SIDE_INSIDE)
    return bool(np.all(outsides <= most[0] + doubts) and np.all(insides <= most[1] + doubts))


def _steepest_are_sharp(steps: list[tuple[Steps, Steps, Steps]]) -> bool:
    """Whether outside of the highest steps of an outline nothing rises: behind optics those have a skirt."""
    beside, rise, step = (np.concatenate(part) for part in zip(*steps, strict=True))
    high = np.abs(step) >= 0.3 * np.abs(step + rise).max()
    if np.count_nonzero(high) < LEAST_SIDES - 1:
        return False
    return float((beside * step)[high].sum()) < OUTSIDE * float(np.square(step[high]).sum())
