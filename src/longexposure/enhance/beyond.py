"""Faulty pixels beyond all grey values of the part, dead, saturated or wild: judged all at once.

Their groups may be of any number, shape and density, since each is marked by its own grey values alone. As
elsewhere a group is faulty where what is beside it does not follow it, which behind optics it would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.enhance.clusters import (
    LARGEST_PX,
    LARGEST_SIDE_PX,
    LEAST_PX,
    LEAST_SIDES,
    LEAST_STEP,
    OUTSIDE,
    STEEPEST,
    Range,
)
from longexposure.enhance.groups import connected
from longexposure.masks import Mask
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

SAMPLE = 1 << 16
LEAST_STUCK, MOST_STUCK = 0.002, 0.4
"""Share of an image that is stuck at an end of its grey values where that moves what is measured on it."""
GAP = 0.25
"""Times the range of all other grey values by which these keep off the one that pixels are stuck at."""
MOST_BEYOND = 0.4
"""Where more of an image lies beyond, it is something else."""
FEW_SIDES, CLEAR_STEP = 2, 20.0
"""So few pairs of pixels across an outline tell where it stands out by so many standard deviations."""
OF_ONE_KIND = 0.8
"""Pixels of a large group are dead or wild: so many neighbours in it are equal, or differ by more."""
ENCLOSING, MOST_EQUAL = 5, 0.1
"""A pixel that so many of a wild group surround belongs to it; in such one few neighbours are equal."""
SCATTERED_SIDE_PX, DENSE, RAGGED, RAGGED_PX = 6, 0.6, 0.35, 100
"""Nobody draws what is so large both ways and, of so many pixels, so dense; nor what is less dense, where
less than `RUNS` of them are part of a straight run of `RUN_PX`."""
RUNS, RUN_PX = 0.4, 5
SPECKS, OF_SPECKS, SPECK_PX = 10, 1 / 3, 3
"""Nor what falls into so many pieces of which that share is so small."""
SPECKLED = 0.008
"""Where so much of an image falls into such pieces, nothing beyond the part is drawn."""
STRIP_PX = 1 << 18

Flat = npt.NDArray[np.intp]
Marks = npt.NDArray[np.bool_]

_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_NEXT = ((0, 1), (1, -1), (1, 0), (1, 1))
_NEAR = tuple((dy, dx) for dy in range(3) for dx in range(-2, 3) if dy or dx > 0)
_EIGHT = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


@dataclass(frozen=True)
class Beyond:
    """Faulty pixels beyond the part: those in clusters, and those alone or in pairs, in reading order.

    Those of either that are scattered as nobody draws are no text and no graphics.
    """

    clusters: list[Flat]
    singles: Flat
    scattered: Flat


def stuck_values(pixels: Pixels, aside: Mask | None) -> tuple[float, ...]:
    """Ends of the grey values at which many pixels are stuck, far from all others."""
    # no step that regular faults have
    step = next(k for k in range(max(pixels.size // SAMPLE, 1), pixels.size + 1) if np.gcd(k, 30) == 1)
    y, x = np.divmod(np.arange(0, pixels.size, step), pixels.shape[1])
    if aside is not None and aside.count:
        free = ~aside.at(y, x)
        y, x = y[free], x[free]
    grey = pixels[y, x]
    total, stuck = len(grey), list[float]()
    if not total:
        return ()
    at_ends = [np.count_nonzero(grey == end) for end in (grey.min(), grey.max())]
    if max(at_ends) < LEAST_STUCK * total:  # which needs no sorting
        return ()
    grey = np.sort(grey).astype(np.float64)
    while grey[0] < grey[-1]:
        low = int(np.searchsorted(grey, grey[0], side="right"))
        high = int(np.searchsorted(grey, grey[-1], side="left"))
        rest = grey[low:high]
        if len(rest) < (1 - MOST_STUCK) * total:
            break
        spread = float(rest[int(0.99 * len(rest))] - rest[int(0.01 * len(rest))])
        if low >= LEAST_STUCK * total and rest[0] - grey[0] > GAP * spread:
            stuck.append(float(grey[0]))
            grey = grey[low:]
        elif len(grey) - high >= LEAST_STUCK * total and grey[-1] - rest[-1] > GAP * spread:
            stuck.append(float(grey[-1]))
            grey = grey[:high]
        else:
            break
    return tuple(stuck)


def without_stuck(sampled: Pixels, stuck: tuple[float, ...]) -> Pixels:
    """Sampled grey values but for those that pixels are stuck at."""
    return sampled[~np.isin(sampled, np.array(stuck, sampled.dtype))] if stuck else sampled


def find_beyond(
    pixels: Pixels,
    noise: NoiseProfile,
    usual: Range,
    stuck: tuple[float, ...],
    *,
    aside: Mask | None,
    known: Flat,
) -> Beyond:
    """Faulty pixels of one image (H, W) beyond the grey values of its part; the image is not modified.

    Args:
        pixels: the image.
        noise: its profile.
        usual: grey values of the part.
        stuck: values that many pixels are stuck at.
        aside: pixels that are no picture of the part.
        known: pixels that are known to be faulty, in reading order.
    """
    none = Beyond([], np.zeros(0, np.intp), np.zeros(0, np.intp))
    sigma = float(np.sqrt(noise.variance(np.array([usual.low, usual.high])).max()))
    places = _Places(pixels, _strange(pixels, usual, sigma, aside, known), known, aside)
    if not len(places.flat) or len(places.flat) > MOST_BEYOND * pixels.size:
        return none
    near, next_to = (_labels(places, pixels.shape[1], steps) for steps in (_NEAR, _NEXT))
    faulty = _judged(places, near, noise, stuck)
    again = ~faulty  # what is beside something else may be judged for itself
    if again.any():
        faulty |= again & _judged(places, next_to, noise, stuck)
    return _sorted_out(places, near, faulty, 0.5 * (usual.low + usual.high))


class _Places:
    """Pixels beyond the part in reading order, and what else says nothing of it."""

    def __init__(self, pixels: Pixels, flat: Flat, known: Flat, aside: Mask | None) -> None:
        self.pixels, self.flat, self.aside = pixels, flat, aside
        self.closed = np.union1d(flat, known)
        self.y, self.x = np.divmod(flat, pixels.shape[1])

    def inside(self, y: Flat, x: Flat) -> Marks:
        """Which places the image has."""
        return np.asarray((y >= 0) & (y < self.pixels.shape[0]) & (x >= 0) & (x < self.pixels.shape[1]))

    def tells(self, y: Flat, x: Flat) -> Marks:
        """Which places, all inside the image, show the part."""
        free = ~among(self.closed, y * self.pixels.shape[1] + x)
        return free & ~self.aside.at(y, x) if self.aside is not None and self.aside.count else free


def among(sorted_ones: Flat, wanted: Flat) -> Marks:
    """Which of the wanted are among sorted ones."""
    if not len(sorted_ones):
        return np.zeros(len(wanted), np.bool_)
    return np.asarray(
        sorted_ones[np.searchsorted(sorted_ones, wanted).clip(max=len(sorted_ones) - 1)] == wanted
    )


def _strange(pixels: Pixels, usual: Range, sigma: float, aside: Mask | None, known: Flat) -> Flat:
    """Pixels beyond the part that are not known, in reading order."""
    width = pixels.shape[1]
    rows, found = max(STRIP_PX // width, 1), [np.zeros(0, np.intp)]
    for top in range(0, len(pixels), rows):
        found.append(np.flatnonzero(usual.beyond(pixels[top : top + rows], sigma)) + top * width)
    flat = np.concatenate(found)
    flat = flat[~among(known, flat)]
    if aside is not None and aside.count:
        flat = flat[~aside.at(*np.divmod(flat, width))]
    return flat


def _labels(places: _Places, width: int, steps: tuple[tuple[int, int], ...]) -> Flat:
    """The number of the group that each pixel is of, where those so many steps apart hang together."""
    edges = []
    for dy, dx in steps:
        x = places.x + dx
        wanted = places.flat + dy * width + dx
        found = np.searchsorted(places.flat, wanted).clip(max=len(places.flat) - 1)
        linked = np.flatnonzero((places.flat[found] == wanted) & (x >= 0) & (x < width))
        edges.append(np.stack([linked, found[linked]]))
    return connected(np.concatenate(edges, axis=1), len(places.flat))[1]


def _judged(places: _Places, label: Flat, noise: NoiseProfile, stuck: tuple[float, ...]) -> Marks:
    """Which pixels belong to groups whose outline optics cannot make."""
    pixels, count = places.pixels, int(label.max()) + 1
    sides = []
    for dy, dx in _SIDES:
        keep = np.flatnonzero(places.inside(places.y + 2 * dy, places.x + 2 * dx))
        y, x = places.y[keep], places.x[keep]
        good = places.tells(y + dy, x + dx) & places.tells(y + 2 * dy, x + 2 * dx)
        keep, y, x = keep[good], y[good], x[good]
        grey = [pixels[y + k * dy, x + k * dx].astype(np.float64) for k in (0, 1, 2)]
        sides.append((label[keep], grey[0] - grey[1], grey[1] - grey[2], grey[1]))
    group, step, beside, level = (np.concatenate(each) for each in zip(*sides, strict=True))
    pairs = np.bincount(group, minlength=count)
    some = np.maximum(pairs, 1)
    order = np.lexsort((np.abs(step), group))
    first = np.cumsum(pairs) - pairs
    middle = np.zeros(count)
    middle[pairs > 0] = np.abs(step)[order[(first + pairs // 2)[pairs > 0]]]
    variance = np.bincount(group, noise.variance(level), minlength=count) / some
    sigma = np.sqrt(variance)
    # the steepest pixel must not speak for all
    limit = STEEPEST * middle[group]
    step = np.clip(step, -limit, limit)
    power = np.bincount(group, np.square(step), minlength=count)
    rough = np.bincount(group, np.square(beside), minlength=count) / some
    follows = np.bincount(group, beside * step, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = follows / power + 1.5 * sigma / np.sqrt(power)
    size = np.bincount(label, minlength=count)
    small = size < LEAST_PX
    clear = (pairs >= LEAST_SIDES) | ((pairs >= FEW_SIDES) & (middle > CLEAR_STEP * sigma))
    at_end = np.isin(pixels[places.y, places.x], np.array(stuck, pixels.dtype))
    ends = np.bincount(label, at_end, minlength=count)
    clear &= ~small | (ends == size)
    good = clear & (power >= pairs * (LEAST_STEP * sigma) ** 2) & (outside <= OUTSIDE)
    good &= rough <= np.square(2.2 * sigma + OUTSIDE * np.sqrt(power / some))
    # behind optics those with the highest steps have a skirt
    highest = np.zeros(count)
    np.maximum.at(highest, group, np.abs(step))
    high = np.abs(step) >= 0.3 * highest[group]
    skirt = np.bincount(group[high], (beside * step)[high], minlength=count)
    good &= skirt < OUTSIDE * np.bincount(group[high], np.square(step[high]), minlength=count)
    return np.asarray((good & (_is_small(places, label, count) | _of_one_kind(places, label, sigma)))[label])


def _is_small(places: _Places, label: Flat, count: int) -> Marks:
    """Which groups are no larger than clusters that may have any grey values."""
    small = np.bincount(label, minlength=count) <= LARGEST_PX
    for at in (places.y, places.x):
        low, high = np.full(count, np.iinfo(np.intp).max), np.full(count, -1)
        np.minimum.at(low, label, at)
        np.maximum.at(high, label, at)
        small &= high - low < LARGEST_SIDE_PX
    return np.asarray(small)


def _of_one_kind(places: _Places, label: Flat, sigma: npt.NDArray[np.float64]) -> Marks:
    """Which groups no picture of anything is like: their pixels are equal, or differ by more than noise."""
    width, count = places.pixels.shape[1], len(sigma)
    pairs, alike = np.zeros(count), np.zeros(count)
    grey = places.pixels[places.y, places.x].astype(np.float64)
    for step in (1, width):
        found = np.searchsorted(places.flat, places.flat + step).clip(max=len(places.flat) - 1)
        linked = places.flat[found] == places.flat + step
        difference = np.abs(grey[found] - grey)[linked]
        whose = label[linked]
        pairs += np.bincount(whose, minlength=count)
        odd = (difference == 0) | (difference > LEAST_STEP * sigma[whose])
        alike += np.bincount(whose, odd, minlength=count)
    return np.asarray(alike >= OF_ONE_KIND * pairs)


def _equal(places: _Places, label: Flat, count: int) -> npt.NDArray[np.float64]:
    """Share of neighbours along rows in each group that have the same grey value."""
    grey = places.pixels[places.y, places.x]
    linked = np.flatnonzero(np.diff(places.flat) == 1)
    pairs = np.bincount(label[linked], minlength=count)
    return np.bincount(label[linked], grey[linked] == grey[linked + 1], minlength=count) / np.maximum(
        pairs, 1
    )


def _sorted_out(places: _Places, label: Flat, faulty: Marks, middle: float) -> Beyond:
    """Faulty pixels as clusters and as single ones, with what wild clusters enclose."""
    shape = places.pixels.shape
    grey = places.pixels[places.y, places.x].astype(np.float64)
    count = int(label.max()) + 1
    bright = np.bincount(label[faulty], grey[faulty] > middle, minlength=count)
    both = (bright > 0) & (bright < np.bincount(label[faulty], minlength=count))
    wild = faulty & (both & (_equal(places, label, count) < MOST_EQUAL))[label]
    flat = places.flat[faulty]
    if wild.any():
        around = [(places.y[wild] + dy, places.x[wild] + dx) for dy, dx in _EIGHT]
        inside = [(y * shape[1] + x)[places.inside(y, x)] for y, x in around]
        beside, times = np.unique(np.concatenate(inside), return_counts=True)
        enclosed = beside[times >= ENCLOSING]
        flat = np.union1d(flat, enclosed[places.tells(*np.divmod(enclosed, shape[1]))])
    if not len(flat):
        return Beyond([], flat, flat)
    found = _Places(places.pixels, flat, flat, None)
    label = _labels(found, shape[1], _NEXT)
    size = np.bincount(label)
    order = np.argsort(label, kind="stable")
    parts = np.split(flat[order], np.cumsum(size)[:-1])
    clusters = [part for part in parts if len(part) >= LEAST_PX]
    scattered = flat[_scattered(found, _labels(found, shape[1], _NEAR), label)]
    return Beyond(clusters, flat[size[label] < LEAST_PX], scattered)


def _scattered(places: _Places, whole: Flat, piece: Flat) -> Marks:
    """Which pixels belong to groups that are scattered as nobody draws, from the pieces these fall into."""
    count, size = int(whole.max()) + 1, np.bincount(whole)
    sides = np.ones((2, count), np.intp)
    for side, at in zip(sides, (places.y, places.x), strict=True):
        low, high = np.full(count, np.iinfo(np.intp).max), np.full(count, -1)
        np.minimum.at(low, whole, at)
        np.maximum.at(high, whole, at)
        side += high - low
    runs = np.zeros(len(whole), np.bool_)
    for step in (1, places.pixels.shape[1]):
        begins = np.ones(len(whole), np.bool_)
        for k in range(1, RUN_PX):
            begins &= among(places.flat, places.flat + k * step)
        for k in range(RUN_PX):
            runs[np.searchsorted(places.flat, places.flat[begins] + k * step)] = True
    small = np.bincount(piece) <= SPECK_PX
    if len(whole) >= SPECKLED * places.pixels.size and small.mean() >= OF_SPECKS:
        return np.ones(len(whole), np.bool_)
    straight = np.bincount(whole, runs, minlength=count) / size
    _, first = np.unique(piece, return_index=True)
    pieces = np.bincount(whole[first], minlength=count)
    specks = np.bincount(whole[first], small, minlength=count)
    dense = size / sides.prod(axis=0)
    odd = ((dense >= DENSE) | ((dense >= RAGGED) & (straight < RUNS))) & (size >= RAGGED_PX)
    odd |= (pieces >= SPECKS) & (specks >= OF_SPECKS * pieces)
    return np.asarray((odd & (sides.min(axis=0) >= SCATTERED_SIDE_PX))[whole])
