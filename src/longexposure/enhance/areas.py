"""Areas that are no picture of the part: they are left out of every measurement, and come back to the bit.

While an image is enhanced, a continuation of what lies around stands in their place, so that nothing of them
reaches the pixels beside them: near their border a mirror image of the picture, so that the border is none,
and smooth farther in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.enhance.constant import closed, find_constant, find_frame
from longexposure.enhance.copies import find_copied
from longexposure.enhance.quiet import find_quiet
from longexposure.errors import InputError
from longexposure.grey import sampled_values
from longexposure.masks import Marked, Mask
from longexposure.radiograph import Pixels

CELL = 16
"""Side of the cells, px, whose means the smooth part of the continuation is made of."""
DEPTH = 40
"""The mirror image reaches so far in, px; from half of that on it gives way to the smooth part."""
NARROW = 8
"""What is no wider than this, px, is bridged in a straight line."""
REACH = 2 * DEPTH
"""What lies farther away than this, px, has no part in the mirror image."""

MOST_VALUES = 6
"""No more values than these mean that there is no data."""
FAR = 60000
REPEATED = 8
"""A value that stands apart from all others means that there is no data, from so many pixels of it on."""
APART = 0.05
"""It stands apart by this fraction of the span of the other values (1st to 99th percentile)."""
APART_STEPS = 4
"""And by so many of the steps in which they come."""
BEYOND = 1e4
"""A float farther than so many spans from the middle of the image is no measured value."""
COUNTED, APART_COUNTED = 0.5, 1.0
"""Where fewer different values than this share of all occur, an integer detector counted them, whose dead and
hot pixels stand apart too: then the gap is so many spans."""
SAMPLE = 1 << 14
STRIP_PX = 1 << 20
LEAST_LEFT_PX = 64
"""So many pixels of a picture must be left, or half of an image that has fewer than twice as many."""
LEAST_LEFT_BLOCKS = 4
"""And so many blocks of 8 x 8 px that hold nothing constant: what has none is a drawing."""
NAMED = 3
"""So many values of constant areas are named."""

Grey = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SetAside:
    """What of one image (H, W) is set aside.

    Attributes:
        mask: the pixels.
        kinds: number of pixels by what they are, in words.
        around: smooth continuation of the other pixels, a value for every cell of `CELL` x `CELL` px, in grey
            values; empty where nothing is set aside.
        no_data: those of the pixels whose values are none, if there are any.
    """

    mask: Mask
    kinds: Mapping[str, int] = field(default_factory=dict)
    around: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    no_data: Mask | None = None

    def in_words(self) -> str:
        """Which share is set aside, and as what: "2.1 % constant at 15000, 0.3 % not a number"."""
        size = self.mask.shape[0] * self.mask.shape[1]
        parts = sorted(self.kinds.items(), key=lambda part: -part[1])
        return ", ".join(f"{_percent(count / size)} {kind}" for kind, count in parts)

    def sound(self, pixels: Pixels) -> Pixels:
        """The image with the smooth continuation in the place of values that are none.

        That is the image itself where all are, as in integers; else a copy, which is finite everywhere.
        """
        if self.no_data is None:
            return pixels
        sound = pixels.copy()
        for rows in _strips(pixels):
            y, x = np.nonzero(self.no_data.within(rows))
            sound[y + rows.start, x] = self._smooth(y + rows.start, x)
        return sound

    def blanked(self, pixels: Pixels) -> Pixels:
        """The image with NaN in the place of values that are none; the image itself where all are."""
        if pixels.dtype.kind != "f" or not self.mask.count:
            return pixels
        return np.where(self.mask.within(), pixels.dtype.type(np.nan), pixels)

    def replace(self, grey: Grey, rows: slice, columns: slice) -> None:
        """Put the continuation in the place of what is set aside, in a window of the image.

        What it puts at a pixel is the same for every window that reaches `REACH` px beyond that pixel, or up
        to the image's border.

        Args:
            grey: grey values of the window, which are changed.
            rows: of the image.
            columns: of the image.
        """
        if not self.mask.count:
            return
        marked = self.mask.within(rows, columns)
        y, x = np.nonzero(marked)
        if len(y):
            smooth = self._smooth(y + rows.start, x + columns.start)
            grey[y, x] = _continued(grey, ~marked, smooth, (y, x))

    def _smooth(self, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]) -> Grey:
        """The smooth continuation at some pixels, between the middles of the cells."""
        at = [(index + 0.5) / CELL - 0.5 for index in (y, x)]
        return ndimage.map_coordinates(self.around, at, np.float64, order=1, mode="nearest")


def find_set_aside(pixels: Pixels, where: str = "image") -> SetAside:
    """What of one image (H, W) is no picture of the part; the image is not modified.

    That are values that are no numbers or stand for none, areas of one value that noise and shading do not
    explain, borders that repeat the next row or column, and areas almost without noise in an image that has
    it elsewhere.

    Raises:
        InputError: nothing of a picture is left, or far too little.
    """
    no_data, kinds = _no_data(pixels)
    size = pixels.size
    if size - no_data.count < min(LEAST_LEFT_PX, 0.5 * size):
        raise InputError(
            where=where,
            expected=f"at least {LEAST_LEFT_PX} pixels that hold a grey value",
            found=f"{size - no_data.count} ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})",
            advice="check how the image was computed or cut out",
        )
    constant = find_constant(pixels, no_data)
    frame = find_frame(pixels, no_data)
    filled = constant.mask | frame.mask
    mask = no_data
    if filled.count and np.count_nonzero(~filled.blocks()) >= LEAST_LEFT_BLOCKS:
        mask = no_data | filled
        kinds |= _counted(pixels, filled, (*constant.values, *frame.values))
    copied = find_copied(pixels)
    if copied.count:
        before = mask.count
        mask = mask | copied
        kinds["copied from the next row or column"] = mask.count - before
    quiet = find_quiet(pixels, mask)
    if quiet.count:
        mask = closed(mask | quiet)
        kinds["almost without noise"] = quiet.count
    if not mask.count:
        return SetAside(mask)
    return SetAside(mask, kinds, _filled(*_means(pixels, mask)), no_data if no_data.count else None)


def _no_data(pixels: Pixels) -> tuple[Mask, dict[str, int]]:
    """Pixels that hold no grey value, and how many of what kind; integers always hold one."""
    shape = (pixels.shape[0], pixels.shape[1])
    if pixels.dtype.kind != "f":
        return Mask.empty(shape), {}
    values, low, high = _apart(pixels)
    packed = np.zeros((shape[0], -(-shape[1] // 8)), np.uint8)
    kinds: Counter[str] = Counter()
    for rows in _strips(pixels):
        part = pixels[rows]
        marked = ~((part >= low) & (part <= high))  # NaN is neither
        for value in values:
            marked |= part == value
        if marked.any():
            packed[rows] = np.packbits(marked, axis=1)
            kinds.update(_kinds(part[marked], values))
    return (Mask.of_packed(shape, packed), dict(kinds)) if kinds else (Mask.empty(shape), {})


def _kinds(found: Pixels, values: Sequence[float]) -> dict[str, int]:
    """How many of some pixels without a grey value are what."""
    counts = {"not a number": np.isnan(found), "infinite": np.isinf(found)}
    counts |= {f"no data ({value:.6g})": found == value for value in values}
    kinds = {kind: int(np.count_nonzero(where)) for kind, where in counts.items()}
    kinds["far beyond all others"] = len(found) - sum(kinds.values())
    return {kind: count for kind, count in kinds.items() if count}


def _apart(pixels: Pixels) -> tuple[list[float], float, float]:
    """Values of a float image that mean no data, and between what the others lie.

    A value means no data when it is the lowest or the highest, is repeated, and a gap lies between it and all
    others; one that lies out of all proportion is none either.
    """
    sample = sampled_values(pixels, SAMPLE).astype(np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    limits = np.finfo(pixels.dtype)
    values: list[float] = []
    low, high = float(limits.min), float(limits.max)
    ends = [False, True]
    while ends and len(values) < MOST_VALUES:
        highest = ends.pop(0)
        value = _extreme(pixels, values, low, high, highest=highest)
        count = sum(np.count_nonzero(pixels[rows] == value) for rows in _strips(pixels))
        rest = sample[(sample >= low) & (sample <= high) & ~np.isin(sample, [*values, value])]
        if not len(rest):
            continue
        start, middle, end = np.quantile(rest, (0.01, 0.5, 0.99)).tolist()
        span = end - start
        if span == 0:
            continue
        if count >= REPEATED:
            following = _extreme(pixels, [*values, value], low, high, highest=highest)
            levels = np.unique(rest)
            counted = len(levels) < COUNTED * len(rest)
            step = float(np.median(np.diff(levels)))
            if abs(value - following) > max((APART_COUNTED if counted else APART) * span, APART_STEPS * step):
                values.append(value)
                ends = [False, True]
                continue
        if abs(value - middle) > BEYOND * span:
            low, high = max(low, middle - BEYOND * span), min(high, middle + BEYOND * span)
            ends = [False, True]
    return values, low, high


def _extreme(pixels: Pixels, without: Sequence[float], low: float, high: float, *, highest: bool) -> float:
    """The lowest or highest value of a float image within limits that is none of some; NaN if all are."""
    best = np.max if highest else np.min
    found = [np.nan]
    for rows in _strips(pixels):
        part = pixels[rows]
        value = best(part)
        if not low <= value <= high or value in without:
            part = part[(part >= low) & (part <= high) & ~np.isin(part, without)]
            value = best(part) if part.size else np.nan
        found.append(float(value))
    return float((np.fmax if highest else np.fmin).reduce(found))


def _counted(pixels: Pixels, mask: Mask, values: Sequence[float]) -> dict[str, int]:
    """How many pixels of constant areas have which value, in words; the most frequent are named."""
    counts: Counter[float] = Counter()
    for rows in _strips(pixels):
        part = pixels[rows][mask.within(rows)]
        for value, count in zip(*np.unique(part, return_counts=True), strict=True):
            counts[float(value)] += int(count)
    named = [(value, n) for value, n in counts.most_common() if value in values]
    kinds = {f"constant at {value:.6g}": n for value, n in named[:NAMED]}
    if named[NAMED:]:
        kinds[f"constant at {len(named) - NAMED} other values"] = sum(n for _, n in named[NAMED:])
    mixed = mask.count - sum(kinds.values())
    return kinds | ({"mixed with that at its border": mixed} if mixed else {})


def _means(pixels: Pixels, mask: Mask) -> tuple[Grey, Grey]:
    """Sum, and number, of the pixels of each cell that are not set aside."""
    height, width = (-(-side // CELL) for side in mask.shape)
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    across = np.arange(0, mask.shape[1], CELL)
    for row in range(height):
        rows = slice(row * CELL, (row + 1) * CELL)
        free = ~mask.within(rows)
        grey = np.where(free, pixels[rows], 0).sum(axis=0, dtype=np.float64)
        sums[row] = np.add.reduceat(grey, across)
        counts[row] = np.add.reduceat(free.sum(axis=0), across)
    return sums, counts


def _filled(sums: Grey, counts: Grey) -> npt.NDArray[np.float32]:
    """Means of cells; those of cells without a pixel come from ever larger cells around them."""
    if counts.all() or counts.size == 1:
        return (sums / np.maximum(counts, 1)).astype(np.float32)
    height, width = counts.shape
    pads = ((0, height % 2), (0, width % 2))
    coarse = [np.pad(each, pads) for each in (sums, counts)]
    shape = (coarse[0].shape[0] // 2, 2, coarse[0].shape[1] // 2, 2)
    wide = _filled(*(each.reshape(shape).sum(axis=(1, 3)) for each in coarse))
    at = [(np.arange(side) + 0.5) / 2 - 0.5 for side in (height, width)]
    spread = ndimage.map_coordinates(
        wide.astype(np.float64), np.meshgrid(*at, indexing="ij"), order=1, mode="nearest"
    )
    means = sums / np.maximum(counts, 1)
    return np.where(counts > 0, means, spread).astype(np.float32)


def _distances(free: Marked) -> npt.NDArray[np.uint16]:
    """How many rows up the next free pixel lies; `FAR` where there is none. 0 where free."""
    far = np.full(free.shape[1], FAR, np.uint16)
    distances = np.empty(free.shape, np.uint16)
    for row, ahead in enumerate(free):
        np.add(far, far < FAR, out=far, casting="unsafe")
        far[ahead] = 0
        distances[row] = far
    return distances


def _continued(grey: Grey, free: Marked, smooth: Grey, marked: tuple[npt.NDArray[np.intp], ...]) -> Grey:
    """The continuation at the marked pixels of a window."""
    y, x = marked
    up, down = _distances(free), _distances(free[::-1])[::-1]
    left, right = _distances(free.T).T, _distances(free.T[::-1])[::-1].T
    away = np.stack([each[y, x].astype(np.intp) for each in (up, down, left, right)])
    steps = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
    best, value = np.full(len(y), FAR), smooth.copy()
    for far, (dy, dx) in zip(away, steps, strict=True):  # the mirror image about the nearest border
        ty, tx = y + 2 * far * dy, x + 2 * far * dx
        within = (
            (far <= DEPTH) & (far < best) & (ty >= 0) & (ty < len(free)) & (tx >= 0) & (tx < free.shape[1])
        )
        within[within] = free[ty[within], tx[within]]
        best[within] = far[within]
        value[within] = grey[ty[within], tx[within]]
    share = np.clip(2 * (DEPTH - best) / DEPTH, 0, 1)
    value = np.where(share > 0, share * value + (1 - share) * smooth, smooth)
    bridged, weights = np.zeros(len(y)), np.zeros(len(y))
    for axis in (0, 1):  # what is narrow is bridged along its short side
        before, after = away[2 * axis], away[2 * axis + 1]
        narrow = before + after <= NARROW + 1
        near, far = before[narrow], after[narrow]
        dy, dx = (1, 0) if axis == 0 else (0, 1)
        first = grey[y[narrow] - near * dy, x[narrow] - near * dx]
        last = grey[y[narrow] + far * dy, x[narrow] + far * dx]
        weight = 1.0 / (near + far) ** 2
        bridged[narrow] += weight * (first * far + last * near) / (near + far)
        weights[narrow] += weight
    return np.where(weights > 0, bridged / np.maximum(weights, 1e-9), value)


def _strips(pixels: Pixels) -> Iterator[slice]:
    rows = max(STRIP_PX // pixels.shape[1], 1)
    for top in range(0, len(pixels), rows):
        yield slice(top, top + rows)


def _percent(fraction: float) -> str:
    """A share with two digits that count."""
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.0f} %"
