"""Areas of one grey value: fills, padding, masked and saturated places, wherever they lie and of any value.

Where there is noise, equal neighbours are chance. Pixels of 2 x 2 equal ones are joined to pieces, and one of
some size is judged by its outline: noise fainter than a grey step makes pieces too, but what lies around
those is one step away, or comes nearer as smoothly as optics make it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.enhance.groups import connected
from longexposure.grey import sampled_values
from longexposure.masks import Marked, Mask
from longexposure.radiograph import Pixels

STRIP_PX = 1 << 20
"""Images are searched in strips of about so many pixels, of at least `LEAST_ROWS` rows."""
LEAST_ROWS = 64
CACHE_PX = 1 << 17
"""Neighbours are compared in strips of about so many pixels, which stay in the cache."""
CELL, CROWDED = 8, 4
"""Pieces are looked for where one of the cells of this side, px, has so many equal 2 x 2."""
FEWEST = 24
"""Pieces of fewer equal 2 x 2 are chance, unless a strip's end cuts them."""
LEAST_SIDE, LEAST_SIZE, THINNEST = 13, 126, 5
"""A piece counts when both sides of the box around it are at least the first, px; or the third, and it holds
as many equal 2 x 2 as the second. What is smaller, or a line, may be a fault of the detector."""
RINGS = 4
"""The outline is looked at up to so many pixels away."""
NEAR = 0.5
"""Where this share of the outline is at most a grey step away, noise or shading may have made the piece."""
SMOOTH, ABRUPT, MIXED, OVER, SHARP = 0.25, 0.6, 0.85, 0.9, 0.97
"""Distance in grey values from a piece to its outline, over that two pixels farther out: less than the first
behind optics; more than the second at a border; less than the third where an interpolation mixed inside and
outside, if beyond that it is more than the fourth; at saturation, where it is more than the last from the
second pixel on."""
ONE_SIDED = 0.95
"""A mixture shows where what lies around is brighter, or darker, in so far."""
SOLID_PX, SOLID = 8, 0.8
"""Solid is a piece of which this share lies in squares of this side."""
SOME_TURNS, MANY_TURNS = 0.25, 0.5
"""Noise turns the grey values up and down at two thirds of the pixels along a row, optics and shading do not.
Where it does at so many, saturation made a smooth outline, at an end of the scale, or resampling did."""
QUIET = 0.45
"""Noise of less than about two thirds of a grey step leaves this share of neighbours equal."""
CALM, CALM_NEAR, CALM_ABRUPT = 0.08, 0.25, 0.8
"""Where this share of all other 2 x 2 is equal, noise is about half a grey step or less, and an area is only
what has a border all around: less than the second of it within a grey step, and a rise above the third."""
END = 0.002
"""A value is an end of the scale where no more than this share of the image lies beyond."""
SPECK_PX = 2
"""What a saturated area encloses is set aside with it where it is no wider than twice this."""
SAMPLE = 1 << 16
RUN_PX, SIDES, RIM_PX, ELSEWHERE = 16, 3, 8, 0.005
"""A value of runs so long along so many of the four sides is what turning or padding left there: up to so
many px deep, and at no more than this share of all other pixels."""

Labels = npt.NDArray[np.int32]
Counts = npt.NDArray[np.intp]
Numbers = Mapping[str, npt.NDArray[np.float64]]
"""By name, one for each piece."""
Shares = npt.NDArray[np.float64]
_BOX = ("top", "left", "bottom", "right")


@dataclass(frozen=True, eq=False)
class Constant:
    """Areas of one value: their mask, and their values."""

    mask: Mask
    values: tuple[float, ...] = ()


def find_constant(pixels: Pixels, left_out: Mask) -> Constant:
    """Areas of one value in an image (H, W) that neither noise nor shading explains.

    Args:
        pixels: the image, which is not modified.
        left_out: pixels that hold no grey value.
    """
    levels, counts = np.unique(sampled_values(pixels, SAMPLE, left_out), return_counts=True)
    strips: list[slice] = []
    parts: list[Numbers] = []
    edges: list[Counts] = []
    first, above, equal_total = [0], np.empty(0, np.intp), 0
    for rows in _strips(*pixels.shape):
        labels, equal = _labels(pixels, left_out, rows)
        equal_total += equal
        if labels is None:
            above = np.empty(0, np.intp)
            continue
        if len(above):  # pieces that go on from the strip before
            both = (above > 0) & (labels[0] > 0)
            edges.append(np.stack([above[both], labels[0][both] + first[-1]]) - 1)
        above = np.where(labels[-1] > 0, labels[-1] + first[-1], 0)
        strips.append(rows)
        parts.append(_measured(pixels, left_out, rows, labels, levels))
        first.append(first[-1] + len(parts[-1]["size"]))
    if not strips:
        return Constant(Mask.empty(left_out.shape))
    whole, numbers = _joined(parts, edges)
    taken = _judged(numbers, levels, counts)
    inside = numbers["size"][taken].sum()
    if equal_total - inside > CALM * (pixels.size - left_out.count - inside):
        taken &= _abrupt(numbers)
    if not taken.any():
        return Constant(Mask.empty(left_out.shape))
    brighter = _beyond(numbers, levels, counts)[1]
    growth = np.where(taken, _growth(numbers, brighter), -1)
    packed = np.zeros(left_out.packed.shape, np.uint8)
    for number, rows in enumerate(strips):
        labels, _ = _labels(pixels, left_out, rows)
        if labels is not None:
            of = growth[whole[first[number] : first[number + 1]]]
            _put(packed, np.insert(of, 0, -1)[labels], rows.start, left_out.shape)
    values = np.unique(numbers["value"][taken]).tolist()
    mask = Mask.of_packed(left_out.shape, packed)
    if np.any(taken & (brighter <= END)):
        mask = closed(mask)
    return Constant(mask, tuple(values))


def closed(mask: Mask) -> Mask:
    """A mask with the specks in it: the few pixels that saturated air encloses would come out as spots."""
    height, packed = mask.shape[0], np.empty_like(mask.packed)
    for rows in _strips(height + 1, mask.shape[1]):
        first, last = max(rows.start - 2 * SPECK_PX, 0), min(rows.stop + 2 * SPECK_PX, height)
        around = np.pad(mask.within(slice(first, last)), 2 * SPECK_PX, mode="edge")
        closed = ndimage.binary_closing(around, np.ones((3, 3), np.bool_), iterations=SPECK_PX)
        inside = closed[2 * SPECK_PX : -2 * SPECK_PX, 2 * SPECK_PX : -2 * SPECK_PX]
        part = slice(rows.start - first, min(rows.stop, height) - first)
        packed[rows.start : rows.stop] = np.packbits(inside[part], axis=1)
    return Mask.of_packed(mask.shape, packed)


def find_frame(pixels: Pixels, left_out: Mask) -> Constant:
    """Narrow bands and wedges of one value along the border of an image (H, W), too thin for areas.

    What a detector's fault makes is on one side, or two.

    Args:
        pixels: the image.
        left_out: pixels that hold no grey value.
    """
    none = Constant(Mask.empty(left_out.shape))
    if min(pixels.shape) < 2 * RUN_PX:
        return none
    rims = [
        pixels[:RIM_PX],
        pixels[: -RIM_PX - 1 : -1],
        pixels[:, :RIM_PX].T,
        pixels[:, : -RIM_PX - 1 : -1].T,
    ]
    values = [set(_long_runs(rim[0])) for rim in rims]
    found = {value for each in values for value in each if sum(value in other for other in values) >= SIDES}
    marked = np.zeros(pixels.shape, np.bool_) if found else np.empty((0, 0), np.bool_)
    taken = []
    for value in sorted(found):
        at = np.zeros(pixels.shape, np.bool_)
        views = [at[:RIM_PX], at[: -RIM_PX - 1 : -1], at[:, :RIM_PX].T, at[:, : -RIM_PX - 1 : -1].T]
        for view, rim in zip(views, rims, strict=True):
            view |= np.logical_and.accumulate(rim == value, axis=0)
        elsewhere = sum(
            int(np.count_nonzero((pixels[rows] == value) & ~at[rows])) for rows in _strips(*pixels.shape)
        )
        if elsewhere <= ELSEWHERE * pixels.size:
            marked |= at
            taken.append(float(value))
    return Constant(Mask.of(marked), tuple(taken)) if taken else none


def _long_runs(line: Pixels) -> list[float]:
    """Values of the runs of equal pixels along a line that are at least `RUN_PX` long."""
    ends = np.flatnonzero(np.append(line[1:] != line[:-1], True))
    lengths = np.diff(ends, prepend=-1)
    return np.unique(line[ends[lengths >= RUN_PX]]).tolist()


def equal_2x2(pixels: Pixels) -> Marked:
    """Where a pixel equals those to the right, below, and right below, (H - 1, W - 1)."""
    height, width = pixels.shape
    equal = np.empty((height - 1, width - 1), np.bool_)
    rows = max(CACHE_PX // width, 8)
    for top in range(0, height - 1, rows):
        part = pixels[top : top + rows + 1]
        down, out = part[1:] == part[:-1], equal[top : top + rows]
        np.equal(part[:-1, 1:], part[:-1, :-1], out=out)
        out &= down[:, 1:]
        out &= down[:, :-1]
    return equal


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows of the equal 2 x 2 of an image, in strips."""
    step = max(STRIP_PX // width, LEAST_ROWS)
    for top in range(0, height - 1 if width > 1 else 0, step):
        yield slice(top, min(top + step, height - 1))


def _labels(pixels: Pixels, left_out: Mask, rows: slice) -> tuple[Labels | None, int]:
    """A number, from 1, for each piece of a strip at its equal 2 x 2, 0 elsewhere; and how many are equal.

    Pieces that lie whole in the strip and are too small have no number; None where no piece has one.
    """
    equal = equal_2x2(pixels[rows.start : rows.stop + 1])
    if left_out.count:
        equal &= ~left_out.within(rows)[:, :-1]
    total = int(np.count_nonzero(equal))
    if total < CROWDED:
        return None, total
    cells = equal.view(np.uint8)
    for axis in (0, 1):
        cells = np.add.reduceat(cells, np.arange(0, equal.shape[axis], CELL), axis=axis, dtype=np.uint8)
    if cells.max() < CROWDED:
        return None, total
    labels, count = ndimage.label(equal)
    labels = _kept(labels, np.bincount(labels.ravel(), minlength=count + 1) >= FEWEST)
    sides = [[side.stop - side.start + 1 for side in box] for box in ndimage.find_objects(labels)]
    height, width = np.array(sides).reshape(-1, 2).T
    large = _is_large(height, width, np.bincount(labels.ravel())[1:])
    labels = _kept(labels, np.insert(large, 0, False))
    return (labels if labels.any() else None), total


def _kept(labels: Labels, keep: Marked) -> Labels:
    """New numbers, from 1, for pieces that are kept, and for those that an end of the strip cuts."""
    keep[labels[0]] = keep[labels[-1]] = True
    keep[0] = False
    return labels if keep[1:].all() else np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def _is_large(
    height: npt.NDArray[np.number], width: npt.NDArray[np.number], size: npt.NDArray[np.number]
) -> Marked:
    """Which pieces count, by the box around them and their number of equal 2 x 2."""
    short = np.minimum(height, width)
    return np.asarray((short >= LEAST_SIDE) | ((size >= LEAST_SIZE) & (short >= THINNEST)))


def _measured(pixels: Pixels, left_out: Mask, rows: slice, labels: Labels, levels: Pixels) -> Numbers:
    """What pieces are, and what lies around them within a strip.

    Returns:
        By name: box (`top`, `left`, `bottom`, `right`), `value`, `size` in equal 2 x 2, how many of them are
        `solid`; of the pixels 1 px away `near`, those at most a grey step away; of those r px away
        `pixels r`, `step r` and `net r`: number, and sum of their distances in grey values without and with
        sign; of all of these `pairs` of neighbours, how many are `equal`, `triples` in a row or a column,
        and at how many of them the grey values have `turns`. Where nothing can be an area, what is farther
        away is not looked at.
    """
    boxes = ndimage.find_objects(labels)
    count = len(boxes)
    sides = np.array([[box[0].start, box[1].start, box[0].stop, box[1].stop] for box in boxes], np.float64)
    of_ring = [f"{name} {ring}" for name in ("pixels", "step", "net") for ring in range(1, RINGS + 1)]
    found = {name: np.zeros(count) for name in ("near", "pairs", "equal", "triples", "turns", *of_ring)}
    found |= dict(zip(_BOX, (sides + np.array([rows.start, 0, rows.start, 0])).T, strict=True))
    crop, inside = _around(sides, labels)
    strip, free = pixels[rows.start : rows.stop + 1][crop], inside == 0
    found["size"] = _sums(labels, labels > 0, count)
    found["solid"] = _sums(inside[:-1, :-1], _opened(~free)[:-1, :-1], count)
    ahead = [box[1].start + int(np.argmax(labels[box][0] == k)) for k, box in enumerate(boxes, 1)]
    value = pixels[found["top"].astype(np.intp), ahead].astype(np.float64)
    found["value"] = value
    if left_out.count:
        free &= ~left_out.within(slice(rows.start, rows.stop + 1))[crop]
    rank = np.searchsorted(levels, value.astype(levels.dtype))
    most = float(np.ptp(np.quantile(levels, (0.01, 0.99))))
    seen, around = inside > 0, inside
    for ring in range(1, RINGS + 1):
        around = _wider(around)
        places = np.nonzero(free & ~seen & (around > 0))
        seen[places] = True
        at, values = around[places] - 1, strip[places]
        found[f"pixels {ring}"] += np.bincount(at, minlength=count)
        if ring == 1:
            near = np.abs(np.searchsorted(levels, values) - rank[at]) <= 1
            found["near"] += np.bincount(at, near, minlength=count)
            if not _may_be(found).any():
                return found
        away = np.clip(values.astype(np.float64) - value[at], -most, most)
        found[f"step {ring}"] += np.bincount(at, np.abs(away), minlength=count)
        found[f"net {ring}"] += np.bincount(at, away, minlength=count)
    outside = free & (around > 0)
    for each, grey, whose in ((outside, strip, around), (outside.T, strip.T, around.T)):
        pair, up = each[1:] & each[:-1], grey[1:] > grey[:-1]
        same = grey[1:] == grey[:-1]
        triple = pair[1:] & pair[:-1]
        turn = triple & (up[1:] != up[:-1]) & ~same[1:] & ~same[:-1]
        found["pairs"] += _sums(whose[1:], pair, count)
        found["equal"] += _sums(whose[1:], pair & same, count)
        found["triples"] += _sums(whose[1:-1], triple, count)
        found["turns"] += _sums(whose[1:-1], turn, count)
    return found


def _sums(labels: Labels, marked: Marked, count: int) -> npt.NDArray[np.float64]:
    """How many of the marked places have each of the labels 1 .. count."""
    return np.bincount(labels[marked], minlength=count + 1)[1:].astype(np.float64)


def _around(sides: npt.NDArray[np.float64], labels: Labels) -> tuple[tuple[slice, slice], Labels]:
    """The part of a strip in which the boxes of pieces and what is around them lie; its pixels' labels."""
    top, left = (max(int(side) - RINGS, 0) for side in sides[:, :2].min(axis=0))
    ends = (int(side) + RINGS + 1 for side in sides[:, 2:].max(axis=0))
    bottom, right = (min(end, size + 1) for end, size in zip(ends, labels.shape, strict=True))
    part = labels[top:bottom, left:right]
    inside = np.zeros((bottom - top, right - left), np.int32)
    for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1)):
        corner = inside[dy : dy + part.shape[0], dx : dx + part.shape[1]]
        np.maximum(corner, part[: corner.shape[0], : corner.shape[1]], out=corner)
    return (slice(top, bottom), slice(left, right)), inside


def _opened(marked: Marked) -> Marked:
    """Those marked pixels that lie in wholly marked squares of `SOLID_PX`."""
    found = marked.view(np.uint8)
    for filtered, origin in ((ndimage.minimum_filter1d, 0), (ndimage.maximum_filter1d, -1)):
        for axis in (0, 1):
            found = filtered(found, SOLID_PX, axis=axis, origin=origin, mode="constant")
    return found.view(np.bool_)


def _wider(labels: Labels) -> Labels:
    """The highest number among each pixel and its eight neighbours."""
    wider = labels.copy()
    np.maximum(wider[1:], labels[:-1], out=wider[1:])
    np.maximum(wider[:-1], labels[1:], out=wider[:-1])
    rows = wider.copy()
    np.maximum(wider[:, 1:], rows[:, :-1], out=wider[:, 1:])
    np.maximum(wider[:, :-1], rows[:, 1:], out=wider[:, :-1])
    return wider


def _joined(parts: Sequence[Numbers], edges: Sequence[Counts]) -> tuple[Counts, Numbers]:
    """Which whole piece each part of one belongs to, and the numbers of whole pieces."""
    numbers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    count = len(numbers["size"])
    links = np.concatenate(edges, axis=1) if edges else np.empty((2, 0), np.intp)
    total, whole = connected(links, count)
    joined = {}
    for name, each in numbers.items():
        if name in (*_BOX, "value"):
            lowest = name in ("top", "left")
            joined[name] = np.full(total, np.inf if lowest else -np.inf)
            (np.minimum if lowest else np.maximum).at(joined[name], whole, each)
        else:
            joined[name] = np.bincount(whole, each, minlength=total)
    return whole, joined


def _may_be(numbers: Numbers) -> Marked:
    """Which pieces may be areas, by how solid they are and what touches them."""
    beside = numbers["near"] < NEAR * numbers["pixels 1"]
    return np.asarray(beside | (numbers["solid"] >= SOLID * numbers["size"]))


def _judged(numbers: Numbers, levels: Pixels, counts: Counts) -> Marked:
    """Which pieces are areas that neither noise nor shading made, in an image of so many of each level."""
    top, left, bottom, right = (numbers[name] for name in _BOX)
    large = _is_large(bottom - top + 1, right - left + 1, numbers["size"])
    below, above = _beyond(numbers, levels, counts)
    rise = _rise(numbers, 1, 3)
    near = numbers["near"] >= NEAR * numbers["pixels 1"]
    at_end = np.minimum(below, above) <= END
    turns = numbers["turns"] / np.maximum(numbers["triples"], 1)
    beside = ~near & ((rise >= SMOOTH) | (turns >= np.where(at_end, SOME_TURNS, MANY_TURNS)))
    noisy = numbers["equal"] < QUIET * numbers["pairs"]
    amid = near & noisy & (numbers["solid"] >= SOLID * numbers["size"]) & (rise >= ABRUPT)
    return np.asarray(large & (numbers["pixels 1"] > 0) & (beside | amid))


def _beyond(numbers: Numbers, levels: Pixels, counts: Counts) -> tuple[Shares, Shares]:
    """Which share of an image, of so many pixels of each level, is darker and brighter than each piece."""
    up_to = np.insert(np.cumsum(counts), 0, 0) / counts.sum()
    values = numbers["value"].astype(levels.dtype)
    below = up_to[np.searchsorted(levels, values, side="left")]
    return below, 1 - up_to[np.searchsorted(levels, values, side="right")]


def _abrupt(numbers: Numbers) -> Marked:
    """Which pieces have a border where noise is so faint that shading and edges make pieces too."""
    far = numbers["near"] < CALM_NEAR * numbers["pixels 1"]
    return np.asarray(far & (_rise(numbers, 1, 3) > CALM_ABRUPT))


def _growth(numbers: Numbers, above: Shares) -> Counts:
    """How many px of the outline of each piece, with such a share brighter, an interpolation mixed with it.

    Where nothing is brighter that is saturation mostly, and what optics make of its border was measured:
    there only a border as sharp as no optics make it is mixed.
    """
    one_sided = np.abs(numbers["net 3"]) > ONE_SIDED * numbers["step 3"]
    over = _rise(numbers, 3, 4) > OVER
    first, second = (_rise(numbers, ring, ring + 2) < MIXED for ring in (1, 2))
    mixed = one_sided & over & first & ((above > END) | (_rise(numbers, 2, 4) > SHARP))
    return np.where(mixed, np.where(second, 2, 1), 0)


def _rise(numbers: Numbers, near: int, far: int) -> npt.NDArray[np.float64]:
    """Mean distance in grey values at one distance in px over that at another; 1 where there is none."""
    one, other = (numbers[f"step {ring}"] / np.maximum(numbers[f"pixels {ring}"], 1) for ring in (near, far))
    return np.divide(one, other, out=np.ones_like(one), where=other > 0)


def _put(packed: npt.NDArray[np.uint8], growth: Counts, top: int, shape: tuple[int, int]) -> None:
    """Mark the pixels of equal 2 x 2 of a strip, and as many px around as their growth is; below 0 none."""
    for more in range(int(growth.max()) + 1):
        chosen = growth == more
        if not chosen.any():
            continue
        first, last = max(top - more, 0), min(top + len(chosen) + 1 + more, shape[0])
        marked = np.zeros((last - first, shape[1]), np.bool_)
        body = marked[top - first : top - first + len(chosen) + 1]
        for corner in (body[:-1, :-1], body[1:, :-1], body[:-1, 1:], body[1:, 1:]):
            corner |= chosen
        if more:
            marked = ndimage.binary_dilation(marked, np.ones((3, 3), np.bool_), iterations=more)
        packed[first:last] |= np.packbits(marked, axis=1)
