"""Faulty pixels: found by what no optics can make, and replaced before anything spreads them.

A point in the part is blurred by focal spot and screen before it reaches the pixels, so its neighbours rise
with it. A faulty pixel stands alone. A pixel is taken for faulty when it differs from the ring around its
neighbours by far more than the noise allows while the neighbours themselves do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.enhance.beyond import among, find_beyond, stuck_values, without_stuck
from longexposure.enhance.clusters import REACHES_PX, Range, find_cluster, seeds_of
from longexposure.enhance.filling import fill
from longexposure.enhance.graphics import find_graphics
from longexposure.enhance.lines import find_lines
from longexposure.grey import evenly_sampled
from longexposure.masks import Mask
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

NOISE_LIMIT = 7.0
"""A faulty pixel differs from its surroundings by more than this many standard deviations of the noise."""
NEIGHBOUR_FRACTION = 0.08
"""Its four neighbours follow by less than this fraction: a point blurred by 0.5 px has neighbours at 0.13."""
NEIGHBOUR_NOISE = 0.8
"""Their own noise may add this many standard deviations to that fraction."""
SKIRT_LIMIT = 2.0
"""No neighbour differs by more than this many times as much, or the pixel is the skirt of that neighbour."""
SLOPE_GAIN = 0.7
"""A slope counts as one when without it the ring spreads less than this fraction of what it did."""
SPREAD_LIMIT = 2.0
"""It differs by more than this many times the spread of the ring, so that edges and texture stay."""
MOST_LINES, MOST_CLUSTERS = 0.15, 0.05
"""Where more of an image would be faulty lines, or clusters, they are something else, and stay."""
KNOWN = 0.9
"""A line of which a map knows so much is not told again."""
LIES_ASIDE = 0.5
"""A line of which so much is set aside is the border of what is no picture."""
MOST_REFUSED = 60
"""After so many groups that are none, no more clusters are looked for: the image is full of sharp detail."""
MOST_ASIDE = 3
"""A pixel of whose neighbours so many are set aside is a good one among them."""
LITTLE_EFFORT = 0.2
"""What is filled for the search alone is filled with less effort."""
STRIP_PX = 1 << 18
"""Images are searched in strips of about so many pixels, which stay in the cache."""

Flat = npt.NDArray[np.intp]
"""Pixels as indices into the flattened image, or their rows or columns."""

Kinds = list[tuple[Flat, int]]
"""Pixels and their kind; where one is of two kinds, the first counts."""

_RING = tuple((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dy), abs(dx)) == 2)
_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))


SINGLE, CLUSTER, LINE, GIVEN, GRAPHICS = 1, 2, 3, 4, 5
"""What a pixel is: alone or one of a pair, of a cluster, of a line, given by a map, or of text and graphics.

The last is not faulty: it is replaced for the network's eyes alone, and comes back to the bit."""
NAMES = {SINGLE: "single", CLUSTER: "cluster", LINE: "line", GIVEN: "given"}


@dataclass(frozen=True)
class Place:
    """Where a found line or cluster lies, in px, and how many pixels it has."""

    kind: int
    top: int
    left: int
    bottom: int
    right: int
    count: int

    def __str__(self) -> str:
        if self.kind != LINE:
            return f"cluster of {self.count} px at y={self.top}, x={self.left}"
        column = self.bottom - self.top >= self.right - self.left
        first, last = (self.left, self.right - 1) if column else (self.top, self.bottom - 1)
        start, stop = (self.top, self.bottom - 1) if column else (self.left, self.right - 1)
        name, along = ("column", "y") if column else ("row", "x")
        which = f"{name} {first}" if first == last else f"{name}s {first} to {last}"
        return f"{which}, {along}={start} to {stop}"


@dataclass(frozen=True, eq=False)
class BadPixels:
    """Faulty pixels of one image, in reading order.

    Attributes:
        y: rows.
        x: columns.
        value: grey values (float32) to put in their place.
        kind: what each is: `SINGLE`, `CLUSTER`, `LINE` or `GIVEN`.
        places: lines and clusters that were found, largest first.
    """

    y: npt.NDArray[np.intp]
    x: npt.NDArray[np.intp]
    value: npt.NDArray[np.float32]
    kind: npt.NDArray[np.uint8]
    places: tuple[Place, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def counts(self) -> dict[str, int]:
        """Number of pixels of each kind that occurs."""
        found = {name: int(np.count_nonzero(self.kind == kind)) for kind, name in NAMES.items()}
        return {name: count for name, count in found.items() if count}

    def chosen(self, which: npt.NDArray[np.bool_]) -> BadPixels:
        """Some of them, without places."""
        return BadPixels(y=self.y[which], x=self.x[which], value=self.value[which], kind=self.kind[which])

    def within(self, window: tuple[slice, slice]) -> BadPixels:
        """Those inside a window, with positions relative to it."""
        rows, columns = window
        first, last = np.searchsorted(self.y, (rows.start, rows.stop))
        y, x, value, kind = (each[first:last] for each in (self.y, self.x, self.value, self.kind))
        keep = (x >= columns.start) & (x < columns.stop)
        return BadPixels(
            y=y[keep] - rows.start, x=x[keep] - columns.start, value=value[keep], kind=kind[keep]
        )


def find_bad_pixels(
    pixels: Pixels, noise: NoiseProfile, aside: Mask | None = None, given: Mask | None = None
) -> BadPixels:
    """Faulty pixels of one image (H, W): single or in pairs, clusters, lines; the image is not modified.

    Without noise nothing tells a faulty pixel from the sharpest detail, and none is found.

    Args:
        pixels: uint8, uint16 or float32.
        noise: profile of this image, in its grey values.
        aside: pixels that are no picture of the part, of which none is faulty.
        given: pixels that are known to be faulty.
    """
    width = pixels.shape[1]
    known: Kinds = [(np.empty(0, np.intp) if given is None else _flat(given), GIVEN)]
    if noise.sigma == 0 and noise.slope == 0:
        return _filled(pixels, noise, known)
    lines = find_lines(pixels, noise, aside)
    if aside is not None and aside.count:
        lines = [line for line in lines if aside.at(*np.divmod(line.flat(width), width)).mean() < LIES_ASIDE]
    if given is not None:  # what is known need not be found
        lines = [line for line in lines if given.at(*np.divmod(line.flat(width), width)).mean() < KNOWN]
    if sum(line.size for line in lines) > MOST_LINES * pixels.size:
        lines = []
    stuck = stuck_values(pixels, aside)
    sampled = without_stuck(evenly_sampled(pixels, 1 << 16), stuck)
    least, low, high, most = np.percentile(sampled, (1, 3, 97, 99)).tolist()
    usual = Range(least, most)
    ahead = known + [(line.flat(width), LINE) for line in lines]
    beyond = find_beyond(pixels, noise, usual, stuck, aside=aside, known=_merged(ahead)[0])
    strange = np.concatenate([beyond.singles, *beyond.clusters])
    first = _filled(pixels, noise, [*ahead, (strange, CLUSTER)], effort=LITTLE_EFFORT)
    singles, seeds, steep = _searched(pixels, noise, first, usual)
    clusters = _clusters(pixels, noise, seeds, aside=aside, known=first, usual=usual)
    if sum(len(cluster) for cluster in clusters) > MOST_CLUSTERS * pixels.size:
        clusters = []
    if aside is not None and aside.count:
        singles = singles.chosen(~aside.at(singles.y, singles.x) & (_beside(singles, aside) < MOST_ASIDE))
        steep = steep[~aside.at(*np.divmod(steep, width))]
    clusters += beyond.clusters
    alone = np.union1d(singles.y * width + singles.x, beyond.singles)
    grouped = np.concatenate([np.empty(0, np.intp), *clusters])
    faulty = np.setdiff1d(alone, beyond.scattered), np.setdiff1d(grouped, beyond.scattered)
    steep = np.setdiff1d(np.union1d(steep, strange), beyond.scattered)
    graphics, lines = find_graphics(pixels, noise, steep, faulty, lines=lines, usual=Range(low, high))
    graphics = np.setdiff1d(graphics, beyond.scattered)
    left = ~among(graphics, np.concatenate([np.empty(0, np.intp), *clusters]))
    parts = np.split(left, np.cumsum([len(cluster) for cluster in clusters])[:-1])
    clusters = [c[part] for c, part in zip(clusters, parts, strict=bool(clusters)) if part.any()]
    known += [(graphics, GRAPHICS), *((line.flat(width), LINE) for line in lines)]
    known += [(cluster, CLUSTER) for cluster in clusters]
    known.append((beyond.singles, SINGLE))
    places = [_place(LINE, line.flat(width), width) for line in lines]
    places += [_place(CLUSTER, cluster, width) for cluster in clusters]
    return _together(pixels, noise, known, singles, tuple(sorted(places, key=lambda place: -place.count)))


def _searched(
    pixels: Pixels, noise: NoiseProfile, known: BadPixels, usual: Range
) -> tuple[BadPixels, tuple[Flat, Flat], Flat]:
    """Single bad pixels, corners of clusters (rows and columns, the highest first), and all steep pixels."""
    height, width = pixels.shape
    rows = max(STRIP_PX // width, 8)
    strips = [range(top, min(top + rows, height)) for top in range(0, height, rows)]
    found = [_in_strip(pixels, noise, strip, known, usual) for strip in strips]
    y, x, value, seed_y, seed_x, high, steep = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(-high, kind="stable")
    singles = BadPixels(y=y, x=x, value=value, kind=np.full(len(y), SINGLE, np.uint8))
    return singles, (seed_y[order], seed_x[order]), steep


def _together(
    pixels: Pixels, noise: NoiseProfile, known: Kinds, singles: BadPixels, places: tuple[Place, ...]
) -> BadPixels:
    """Single pixels and all others, with what stands in for them."""
    width = pixels.shape[1]
    others, _ = _merged(known)
    if not len(others):
        return singles
    alone = _alone(singles, others, width)
    known = [*known, (singles.y[~alone] * width + singles.x[~alone], SINGLE)]
    filled = _filled(pixels, noise, known)
    # single ones beside clusters and lines were judged by these
    limit = NOISE_LIMIT * np.sqrt(noise.variance(filled.value))
    away = np.abs(pixels[filled.y, filled.x] - filled.value) > limit
    return _joined(filled.chosen(away | (filled.kind != SINGLE)), singles.chosen(alone), places)


def _flat(mask: Mask) -> Flat:
    """Marked pixels of a mask as indices into the flattened image."""
    height, width = mask.shape
    rows = max(STRIP_PX // width, 1)
    parts = [
        np.flatnonzero(mask.within(slice(top, top + rows))) + top * width for top in range(0, height, rows)
    ]
    return np.concatenate(parts)


def _merged(parts: Kinds) -> tuple[Flat, npt.NDArray[np.uint8]]:
    """Pixels in reading order, none twice, and their kind, the first one of each."""
    flat = np.concatenate([part for part, _ in parts])
    kind = np.concatenate([np.full(len(part), kind, np.uint8) for part, kind in parts])
    unique, first = np.unique(flat, return_index=True)
    return unique, kind[first]


def _filled(pixels: Pixels, noise: NoiseProfile, known: Kinds, effort: float = 1.0) -> BadPixels:
    """Faulty pixels with what stands in for them."""
    flat, kind = _merged(known)
    y, x = np.divmod(flat, pixels.shape[1])
    return BadPixels(y=y, x=x, value=fill(pixels, np.stack([y, x]), noise, effort), kind=kind)


def _beside(singles: BadPixels, aside: Mask) -> Flat:
    """How many of the four neighbours of each single pixel are set aside."""
    count, (height, width) = np.zeros(len(singles), np.intp), aside.shape
    for dy, dx in _CROSS:
        y, x = singles.y + dy, singles.x + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        count += inside & aside.at(y.clip(0, height - 1), x.clip(0, width - 1))
    return count


def _alone(singles: BadPixels, others: Flat, width: int) -> npt.NDArray[np.bool_]:
    """Which single pixels have none of the others within 2 px."""
    alone = np.ones(len(singles), np.bool_)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            x = singles.x + dx
            flat = (singles.y + dy) * width + x
            at = np.searchsorted(others, flat).clip(max=len(others) - 1)
            alone &= (others[at] != flat) | (x < 0) | (x >= width)
    return alone


def _joined(some: BadPixels, singles: BadPixels, places: tuple[Place, ...]) -> BadPixels:
    """Both in reading order."""
    y, x = np.concatenate([some.y, singles.y]), np.concatenate([some.x, singles.x])
    order = np.lexsort((x, y))
    value, kind = np.concatenate([some.value, singles.value]), np.concatenate([some.kind, singles.kind])
    return BadPixels(y=y[order], x=x[order], value=value[order], kind=kind[order], places=places)


def _place(kind: int, flat: Flat, width: int) -> Place:
    y, x = np.divmod(flat, width)
    return Place(kind, int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1, len(flat))


def _in_strip(
    pixels: Pixels, noise: NoiseProfile, part: range, known: BadPixels, usual: Range
) -> tuple[npt.NDArray[Any], ...]:
    """Single bad pixels and corners of clusters in some rows, judged with the rows around them.

    Returns:
        Rows, columns and replacements of the single ones; rows, columns and heights of the corners; indices
        into the flattened image of all steep pixels.
    """
    height, width = pixels.shape
    top, bottom = part.start, part.stop
    lowest, highest = max(top - 5, 0), min(bottom + 5, height)
    grey = pixels[lowest:highest].astype(np.float32)
    inside = known.within((slice(lowest, highest), slice(0, width)))
    grey[inside.y, inside.x] = inside.value
    wide = grey[_beyond(top, bottom, height) - lowest][:, _beyond(0, width, width)]
    strip = wide[1:-1, 1:-1]
    rows, columns = bottom - top, width
    shifts = ((0, 0), *_CROSS)
    centre, *cross = (strip[2 + dy : 2 + dy + rows, 2 + dx : 2 + dx + columns] for dy, dx in shifts)
    middle = _middle_of_four(cross)
    limit = NOISE_LIMIT * (1 - NEIGHBOUR_FRACTION) - NEIGHBOUR_NOISE
    y, x = np.nonzero(np.abs(centre - middle) > limit * _lowest_sigma(noise, strip))
    if len(y) == 0:
        none = np.empty(0, np.float32)
        return y, x, none, y, x, none, y
    value = centre[y, x]
    ring = np.stack([strip[y + 2 + dy, x + 2 + dx] for dy, dx in _RING])
    surround, spread, slope = _surroundings(ring)
    level = [each[y, x] - slope[0] * dy - slope[1] * dx for each, (dy, dx) in zip(cross, _CROSS, strict=True)]
    sign = np.where(value > surround, np.float32(1), np.float32(-1))
    away = sign * (value - surround)
    follows = np.abs(_middle_of_four(level) - surround)
    beside = np.max([each * sign for each in level], axis=0) - surround * sign
    sigma = np.sqrt(noise.variance(surround))
    faulty = (away > NOISE_LIMIT * sigma) & (away > SPREAD_LIMIT * spread)
    faulty &= (follows < NEIGHBOUR_FRACTION * away + NEIGHBOUR_NOISE * sigma) & (beside < SKIRT_LIMIT * away)
    seed = seeds_of(wide, (y, x), sigma=sigma, level=surround, rows=range(-top, height - top), usual=usual)
    found = y[faulty] + top, x[faulty], middle[y[faulty], x[faulty]].astype(np.float32)
    return *found, y[seed] + top, x[seed], away[seed], (y + top) * width + x


def _clusters(
    pixels: Pixels,
    noise: NoiseProfile,
    seeds: tuple[Flat, Flat],
    *,
    aside: Mask | None,
    known: BadPixels,
    usual: Range,
) -> list[Flat]:
    """Clusters of faulty pixels, each in reading order, from their corners."""
    if not len(seeds[0]):
        return []
    height, width = pixels.shape
    seen: set[int] = set()
    taken: set[int] = set()
    clusters = []
    refused = 0
    for y, x in zip(*(each.tolist() for each in seeds), strict=True):
        if y * width + x in seen:
            continue
        for reach in REACHES_PX:
            rows = slice(max(y - reach, 0), min(y + reach + 1, height))
            columns = slice(max(x - reach, 0), min(x + reach + 1, width))
            window = pixels[rows, columns].astype(np.float32)
            inside = known.within((rows, columns))
            window[inside.y, inside.x] = inside.value
            closed = np.zeros(window.shape, np.bool_) if aside is None else aside.within(rows, columns)
            closed[inside.y, inside.x] = True  # filled for now, from what may be faulty too
            place = (y - rows.start, x - columns.start)
            group, accepted = find_cluster(window, place, noise=noise, usual=usual, closed=closed)
            at_y, at_x = np.nonzero(group)
            if not len(at_y) or (max(abs(at_y - place[0]).max(), abs(at_x - place[1]).max()) < reach - 2):
                break
        flat = (at_y + rows.start) * width + at_x + columns.start
        seen.update(flat.tolist())
        if accepted and taken.isdisjoint(flat.tolist()):
            clusters.append(flat)
            taken.update(flat.tolist())
        refused += not accepted
        if refused > MOST_REFUSED + 2 * len(clusters):
            break
    return clusters


def _surroundings(
    ring: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Grey value, spread and slope (2, N) per pixel of what surrounds a pixel, from its ring (16, N).

    The slope is that of the least-squares plane through the ring, where taking it out leaves much less
    spread, and 0 elsewhere: a shaded area has one, a line that crosses the ring has not. A sharp edge has
    one too, but leaves a wider spread, which then counts nearly in full.
    """
    places = np.array(_RING, dtype=np.float32).T
    slope = places @ ring / (places**2).sum(axis=1, keepdims=True)
    levelled = np.sort(ring - places.T @ slope, axis=0)
    plain = np.sort(ring, axis=0)
    sloping = levelled[12] - levelled[3] < SLOPE_GAIN * (plain[12] - plain[3])
    best = np.where(sloping, levelled, plain)
    spread = np.where(sloping, levelled[14] - levelled[1], plain[12] - plain[3])
    return 0.5 * (best[7] + best[8]), spread, np.where(sloping, slope, np.float32(0))


def _beyond(first: int, last: int, size: int) -> npt.NDArray[np.intp]:
    """Indices first - 3 .. last + 3 into an axis; beyond its ends stand in those two to four px inside.

    So a faulty pixel at the border, single or in a pair, has no copy among its own neighbours.
    """
    index = np.arange(first - 3, last + 3)
    index = np.where(index < 0, 1 - index, np.where(index >= size, 2 * size - 3 - index, index))
    return index.clip(0, size - 1)


def _middle_of_four(values: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Mean of the two middle values, which one faulty neighbour cannot move far."""
    a, b, c, d = values
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.float32(0.5) * (low + high)


def _lowest_sigma(noise: NoiseProfile, strip: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The least noise (rows, columns) that there may be at the grey value of a pixel's surroundings.

    It is that at the end of the 5 x 5 px about it where noise is less: where noise follows the signal, the
    faintest place of an image says little about the others.
    """
    if noise.curve:
        return np.sqrt(noise.least_variance(_around(strip, np.minimum), _around(strip, np.maximum)))
    if noise.slope == 0:
        return np.full((1, 1), noise.sigma)
    return np.sqrt(noise.variance(_around(strip, np.minimum if noise.slope > 0 else np.maximum)))


def _around(values: npt.NDArray[np.float32], end: np.ufunc) -> npt.NDArray[np.float32]:
    """The least or the largest of the 5 x 5 px about each pixel, without the two outermost on all sides."""
    for _ in range(2):  # along the columns, then along the rows
        pairs = end(values[:-1], values[1:])
        values = end(end(pairs[:-3], pairs[2:-1]), values[4:]).T
    return values
