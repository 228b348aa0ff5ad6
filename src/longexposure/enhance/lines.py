"""Faulty lines and columns: dead, bright, of another gain, stuck or noisy, whole or in part, 1 to 4 px wide.

Along a line many pixels say the same: the mean of 32 of them shows a step across the line far below the noise
of one. A line of the part that runs exactly along a row is blurred across, so that the rows beside it follow;
beside a faulty one they do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.grey import evenly_sampled
from longexposure.masks import Mask
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

BLOCK = 32
"""Pixels along a line whose mean is judged."""
WIDEST = 4
"""Width of the widest line that is looked for, px."""
STANDS_OUT = 8.0
"""Times the spread of such means by which that of a line differs from what is beside it."""
LEAST_NOISES = 1.5
"""Standard deviations of a single pixel's noise by which it does at least."""
NOISIER = 2.5
"""Times that a noisy line is as rough as its surroundings."""
FOLLOWS = 0.08
"""Fraction of a line's step by which the pixels beside it may follow: blurred by 0.5 px they do by 0.13."""
FOLLOWS_AT_MOST = 0.065
"""The same over the whole line, error and all: one of 1 px between two rows, blurred by 0.5 px, has 0.085."""
RISES = 1.35
"""Times the step at its sides that a line is high in the middle, at most."""
STEEPEST = 0.1
"""Fraction of a line's step by which what is beside it rises from pixel to pixel, at most."""
DOUBTS = 2.5
"""Times the spread that may be added to it in one block."""
LEAST_PX = 24
"""Shorter ones are clusters."""
MOST_OF_IT = 0.65
"""Part of a faulty line's pixels that differ by a third of what they do on average, at least."""
SOME_OF_IT = 0.35
"""The same in a block in which it may end."""
SMOOTH = 0.6
"""Pixels beside a line vary by less than this fraction of its step."""
NEAR_PX = 3
"""So near to the border, or to the middle of the panel, an end of a line lies there."""
MEANS_AT_ONCE, BLOCKS_AT_ONCE = 1 << 18, 1 << 13
CANDIDATES = 2000
"""Where so many stand out, the image is full of lines, and none of them is told from a fault."""

TINY = float(np.finfo(np.float64).tiny)
"""Stands for a variance of nothing, whatever the grey scale."""

Means = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Line:
    """A faulty line: along axis 0 (a column) or 1 (a row), its first px across, width, and extent along."""

    axis: int
    first: int
    width: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of its pixels."""
        return (self.stop - self.start) * self.width

    def flat(self, width: int) -> Index:
        """Its pixels as indices into the flattened image, whose rows have this width, in reading order."""
        along, across = np.arange(self.start, self.stop), np.arange(self.first, self.first + self.width)
        flat = along[:, None] * width + across if self.axis == 0 else across[:, None] * width + along
        return flat.ravel()


def find_lines(pixels: Pixels, noise: NoiseProfile, aside: Mask | None = None) -> list[Line]:
    """Faulty columns and rows of one image (H, W); the image is not modified."""
    usual = np.percentile(evenly_sampled(pixels, 1 << 16), (3, 97))
    least = float(np.sqrt(max(float(noise.variance(usual).min()), TINY)))
    found: list[Line] = []
    for axis in (0, 1):
        if pixels.shape[1 - axis] < 8 or pixels.shape[axis] < BLOCK:
            continue
        means, rough = _block_means(pixels, axis)
        if aside is not None and aside.count:
            _leave_out(means, aside, axis)
        view = pixels if axis == 0 else pixels.T
        for first, width, blocks in _bands(view, means, rough, least / np.sqrt(BLOCK)):
            for start, stop in _extents(view, (first, width), blocks, noise, usual):
                found.append(Line(axis, first, width, start, stop))
    return found


def _block_means(pixels: Pixels, axis: int) -> tuple[Means, Means]:
    """Means of `BLOCK` px along an axis, and of the absolute bends across it, each (K, across)."""
    along, across = pixels.shape[axis], pixels.shape[1 - axis]
    blocks = along // BLOCK
    means, rough = (np.empty((blocks, across), np.float32) for _ in range(2))
    if axis == 0:
        for k in range(blocks):
            strip = pixels[k * BLOCK : (k + 1) * BLOCK].astype(np.float32)
            means[k] = strip.sum(axis=0) / BLOCK
            rough[k] = _bends(strip[::3].T).mean(axis=1)
        return means, rough
    ones = np.full(BLOCK, 1 / BLOCK, np.float32)
    for top in range(0, across, BLOCK):
        first, stop = max(top - 1, 0), min(top + BLOCK, across)
        strip = pixels[first : min(stop + 1, across), : blocks * BLOCK].astype(np.float32)
        strip = strip.reshape(len(strip), blocks, BLOCK)
        inside = slice(top - first, stop - first)
        means[:, top:stop] = (strip[inside] @ ones).T
        rough[:, top:stop] = _bends(strip[:, :, ::3])[inside].mean(axis=2).T
    return means, rough


def _bends(values: Means) -> Means:
    """Distance of values from the mean of those before and after on the first axis, mirrored at its ends."""
    bends = np.empty(values.shape, values.dtype)
    bends[1:-1] = values[1:-1] - 0.5 * (values[:-2] + values[2:])
    bends[0], bends[-1] = values[0] - values[1], values[-1] - values[-2]
    return np.abs(bends, out=bends)


def _leave_out(means: Means, aside: Mask, axis: int) -> None:
    """Make blocks that hold a pixel which is set aside unusable."""
    for k in range(len(means)):
        part = slice(k * BLOCK, (k + 1) * BLOCK)
        touched = aside.within(part).any(axis=0) if axis == 0 else aside.within(slice(None), part).any(axis=1)
        means[k, touched] = np.nan


def _candidates(means: Means, least: float) -> npt.NDArray[np.int64]:
    """Width, 1 to 4, of the line that begins at a place of these means (K, across), 0 where none does."""
    # beyond the border stands what lies beside a line there
    padded = np.pad(means, ((0, 0), (WIDEST + 3, WIDEST + 3)), mode="reflect")
    across = means.shape[1]
    found = np.zeros(means.shape, np.int64)
    bend = np.abs(means[:, 1:-1] - 0.5 * (means[:, :-2] + means[:, 2:]))
    with np.errstate(invalid="ignore"):
        spread = np.full(len(means), least)
        known = np.isfinite(bend).any(axis=1)  # of the others no pixel is left
        middle = np.nanmedian if np.isnan(bend[known]).any() else np.median  # the latter is much faster
        spread[known] = np.maximum(middle(bend[known], axis=1) / (0.6745 * 1.2247), least)
        limit = np.maximum(STANDS_OUT * spread, LEAST_NOISES * least * BLOCK**0.5)
        # few places differ from what lies before as much as a line does whose slope is not too steep
        possible = np.ones(means.shape, np.bool_)
        steep = 0.99 * (1 - 2 * STEEPEST) * limit[:, None]
        np.greater(np.abs(means[:, 2:] - means[:, :-2]), steep, out=possible[:, 2:])
        block, place = np.nonzero(possible)
        spread, limit = spread[block], limit[block]

        def at(offset: int) -> Means:
            return padded[block, WIDEST + 3 + offset + place]

        for width in range(WIDEST, 0, -1):
            left, right = _beside(place, width, across)
            near_left, far_left, near_right, far_right = (means[block, index] for index in (*left, *right))
            slope = (far_right - far_left) / (width + 3)
            first = at(0) - far_left - 2 * slope
            last = at(width - 1) - far_left - (width + 1) * slope
            sharp = np.abs(near_left - far_left - slope) < FOLLOWS * np.abs(first) + DOUBTS * spread
            sharp &= np.abs(near_right - far_right + slope) < FOLLOWS * np.abs(last) + DOUBTS * spread
            # what is higher still behind the first or last pixel has them as its blurred edges
            behind = np.abs(at(width // 2) - far_left - (2 + width // 2) * slope)
            behind = np.maximum(behind, np.maximum(np.abs(first), np.abs(last)))
            sharp &= behind < RISES * np.minimum(np.abs(first), np.abs(last)) + DOUBTS * spread
            stands = (np.abs(first) > limit) & (np.abs(last) > limit)
            stands &= (np.abs(slope) < STEEPEST * np.abs(first)) & (place <= across - width)
            # at the border one side alone speaks: its third pixel too
            last_place = across - width
            for end, third, far in ((0, width + 2, far_right), (last_place, last_place - 3, far_left)):
                beyond = np.abs(means[block, third] - far)
                stands &= (place != end) | (beyond < FOLLOWS * np.abs(first) + DOUBTS * spread)
            found[block[sharp & stands], place[sharp & stands]] = width
    return found


def _beside(place: Index, width: int | Index, across: int) -> tuple[tuple[Index, Index], tuple[Index, Index]]:
    """Where the nearest and the next pixels on either side of a line lie; at the border the other side's."""
    left, far_left = place - 1, place - 2
    right, far_right = place + width, place + width + 1
    mirrored_left, mirrored_right = (right, far_right), (left, far_left)
    off_left, off_right = far_left < 0, far_right >= across
    # one pixel beside the border says little: it stands for both
    left_of = np.where(left < 0, mirrored_left[0], left), np.where(off_left, mirrored_left[1], far_left)
    right_of = (
        np.where(right >= across, mirrored_right[0], right),
        np.where(off_right, mirrored_right[1], far_right),
    )
    low, high = 0, across - 1
    return (
        (left_of[0].clip(low, high), left_of[1].clip(low, high)),
        (right_of[0].clip(low, high), right_of[1].clip(low, high)),
    )


def _noisy(rough: Means, means: Means) -> npt.NDArray[np.int64]:
    """Width of the rough line that begins at a place, 0 where none does."""
    # the roughness of the fifth pixel to either side, which the widest line does not reach
    across = rough.shape[1]
    place = np.arange(across)
    after = across - 1 - np.abs(across - 6 - place).clip(max=across - 1)
    before = np.abs(place - 5).clip(max=across - 1)
    beside = np.minimum(rough[:, before], rough[:, after])
    beside = np.maximum(beside, np.median(rough, axis=1, keepdims=True))
    high = rough > NOISIER * beside
    peak = np.zeros_like(rough)
    peak[:, 1:] = rough[:, :-1]
    np.maximum(peak[:, :-1], rough[:, 1:], out=peak[:, :-1])
    # a line that differs by the same all along is not rough
    beside_it = means[:, np.abs(place - 1)] + means[:, across - 1 - np.abs(across - 2 - place)]
    bend = np.abs(means - 0.5 * beside_it)
    inside = high & (rough > 0.7 * peak) & ~(bend > 0.7 * rough)
    found = np.zeros(rough.shape, np.int64)
    for width in range(1, WIDEST + 1):
        begins = inside.copy()
        begins[:, 1:] &= ~inside[:, :-1]
        for k in range(1, width):
            begins[:, : across - k] &= inside[:, k:]
            begins[:, across - k :] = False
        begins[:, : across - width] &= ~inside[:, width:]
        found[begins] = width
    return found


def _bands(view: Pixels, means: Means, rough: Means, least: float) -> Iterator[tuple[int, int, Index]]:
    """First px, width and blocks of every band that is a candidate somewhere."""
    step = max(MEANS_AT_ONCE // means.shape[1], 1)
    found = []
    for start in range(0, len(means), step):
        part = slice(start, start + step)
        candidates = _candidates(means[part], least)
        candidates |= np.where(candidates == 0, _noisy(rough[part], means[part]), 0)
        block, first = np.nonzero(candidates)
        found.append((block + start, first, candidates[block, first]))
    block, first, width = (np.concatenate(each) for each in zip(*found, strict=True))
    fits = first + width <= means.shape[1]
    block, first, width = block[fits], first[fits], width[fits]
    many = _in_many(view, block, first, width)
    block, first, width = block[many], first[many], width[many]
    key = first * (WIDEST + 1) + width
    if len(np.unique(key)) > CANDIDATES:
        return
    for each in np.unique(key):
        yield int(each // (WIDEST + 1)), int(each % (WIDEST + 1)), block[key == each]


def _extents(
    view: Pixels, band: tuple[int, int], blocks: Index, noise: NoiseProfile, usual: npt.NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Where a band, of a first px and a width, is faulty along the first axis of an image, if it is."""
    first, width = band
    (near_left, far_left), (near_right, far_right) = _beside(np.array([first]), width, view.shape[1])
    index = np.array([far_left[0], near_left[0], *range(first, first + width), near_right[0], far_right[0]])
    grey = view[:, index].astype(np.float64)
    slope = (grey[:, -1] - grey[:, 0]) / (width + 3)
    step = grey - grey[:, :1] - slope[:, None] * np.arange(width + 4)
    sigma = np.sqrt(noise.variance(0.5 * (grey[:, 0] + grey[:, -1])) + TINY)
    inside, outside = step[:, 2:-2], step[:, [1, -2]]
    lines = []
    done = np.zeros(len(view), np.bool_)
    todo = set(blocks.tolist())
    while todo:
        like = np.concatenate([np.arange(k * BLOCK, (k + 1) * BLOCK) for k in sorted(todo)])
        start, stop = _best_run(inside, like, done)
        covered = {k for k in todo if start <= k * BLOCK + BLOCK // 2 < stop}
        if not covered or stop - start < LEAST_PX:
            break
        todo -= covered
        done[start:stop] = True
        part = slice(start, stop)
        well = ends_well(start, stop, len(view)) or _beyond(grey[part, 2:-2], usual, sigma[part])
        if well and _is_fault(inside[part], outside[part], sigma[part]):
            lines.append((start, stop))
    return lines


def _in_many(view: Pixels, block: Index, first: Index, width: Index) -> npt.NDArray[np.bool_]:
    """Which blocks of bands stand out by more than a few of their pixels."""
    found = np.ones(len(block), np.bool_)
    (_, far_left), (_, far_right) = _beside(first, width, view.shape[1])
    for start in range(0, len(block), BLOCKS_AT_ONCE):
        part = slice(start, start + BLOCKS_AT_ONCE)
        rows = block[part, None] * BLOCK + np.arange(BLOCK)
        begin, end, left, right = (
            view[rows, at[part, None]].astype(np.float64)
            for at in (first, first + width - 1, far_left, far_right)
        )
        step = 0.5 * np.abs(begin + end - left - right)
        rms = np.sqrt(np.square(step).mean(axis=1, keepdims=True))
        found[part] = (step >= 0.35 * rms).mean(axis=1) >= SOME_OF_IT
    return found


def _best_run(inside: npt.NDArray[np.float64], part: Index, done: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The run along a band, outside of what is done, whose pixels are together most like those of `part`."""
    mean = inside.mean(axis=1)
    typical = float(np.median(mean[part]))
    with np.errstate(over="ignore"):  # next to nothing may divide; what is too much is cut off
        if abs(typical) > 0.7 * float(np.median(np.abs(mean[part]))):
            score = np.clip(mean / typical, -1, 2) - 0.5
        else:
            strength = np.abs(inside).mean(axis=1)
            score = np.clip(strength / (np.median(strength[part]) or np.inf), 0, 2) - 0.5
    score[done] = -len(score)
    total = np.concatenate([[0.0], np.cumsum(score)])
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    start = int(np.argmin(total[: stop + 1]))
    return start, stop


def _is_fault(
    inside: npt.NDArray[np.float64], outside: npt.NDArray[np.float64], sigma: npt.NDArray[np.float64]
) -> bool:
    """Whether the pixels beside a line (L, 2) do not follow it (L, width)."""
    length = len(inside)
    count = max(length // BLOCK, 1)
    edges = np.linspace(0, length, count + 1).astype(int)[:-1]
    follows, powers = [], []
    for beside, own in ((outside[:, 0], inside[:, 0]), (outside[:, 1], inside[:, -1])):
        product = np.add.reduceat(beside * own, edges)
        # step and what is beside it share the noise of the far pixels
        power = np.add.reduceat(np.square(own), edges)
        follows.append(product / np.where(power > 0, power, np.inf))
        powers.append(power)
    per_block = length / count
    noise = float(np.median(sigma)) ** 2
    for follow, power in zip(follows, powers, strict=True):
        if np.median(power) < per_block * 2 * noise:
            return False
        shared = 0.45 * noise * per_block / np.where(power > 0, power, np.inf)
        error = float(np.sqrt(1.5 * noise / power.mean() / count))
        typical = float(np.median(np.abs(follow - shared) if count < 3 else follow - shared))
        if abs(typical) + error > FOLLOWS_AT_MOST:
            return False
    mean = np.abs(inside.mean(axis=1)) if inside.shape[1] > 1 else np.abs(inside[:, 0])
    if np.mean(mean > 0.35 * np.sqrt(np.square(mean).mean())) < MOST_OF_IT:
        return False
    return bool(np.median(np.abs(outside)) < SMOOTH * np.median(np.abs(inside)))


def ends_well(start: int, stop: int, length: int) -> bool:
    """Whether a line goes to the border or to the middle, where halves of a panel are read out apart."""
    return min(start, length - stop, abs(start - length / 2), abs(stop - length / 2)) <= NEAR_PX


def _beyond(
    values: npt.NDArray[np.float64], usual: npt.NDArray[np.float64], sigma: npt.NDArray[np.float64]
) -> bool:
    """Whether most grey values of a line lie beyond those of the part."""
    margin = 0.1 * (usual[1] - usual[0]) + 3 * float(np.median(sigma))
    return float(np.mean((values < usual[0] - margin) | (values > usual[1] + margin))) > 0.5
