"""Text and graphics that were drawn into an image: letters with their dots, scale bars, frames, dotted lines.

Like faulty pixels they have edges that no optics can make. But they come as strokes: thin, straight, sharp on
both sides and several beside each other, or as dots that are evenly spaced. Faulty pixels do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, find_objects, label, median_filter

from longexposure.enhance.clusters import Range
from longexposure.enhance.groups import connected, groups_of
from longexposure.enhance.lines import NEAR_PX, Line, ends_well
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

LEAST_STEP = 10.0
"""Strokes differ from what is around them by so many standard deviations of the noise."""
LEAST_PX, WIDEST_PX = 5, 4
"""A stroke is at least so long and at most so wide."""
FLANK = 0.06
"""What is beside a stroke follows it by less than this fraction; a blur by 0.5 px makes that 0.13."""
SAME_COLOUR = 1.6
"""Strokes of one text differ from what is around them by the same, but for this factor."""
NEAR_TEXT_PX = 24
"""Strokes of one text, and its dots, lie no farther apart."""
TOUCHING_PX = 3
"""Strokes are seen to so many pixels short of where they meet."""
LARGE_PX = 14
"""Strokes that touch are a text where they are together so large: clusters of faulty pixels are smaller."""
FEWEST_ALIKE = 5
"""Strokes of exactly one grey value that make a text in the range of the part."""
FAINTEST = 0.25
"""What belongs to a text differs by at least this fraction of its strokes."""
ONE_VALUE = 0.8
"""So much of a shape has its grey value; what else is there may be noise beside it."""
FEWEST_ON_LINE, LEAST_ON_LINE = 3, 12
"""Shapes of exactly one grey value that end in one row, and pixels that they have together at least."""
SHAPE_REACH_PX, MOST_SHAPE_PX = 40, 1000
"""How far a shape may reach beyond the part of it that was found, and how large that may be."""
MOST_SHAPE_ROWS = 64
"""Letters without a straight stroke are looked for in so many rows above and below a text."""
FEWEST_DOTS, SPACINGS = 5, range(2, 13)
"""Evenly spaced dots that make a line, and their distances, px."""
ALIKE = 0.2
"""Dots of a line differ by the same, but for this fraction."""
MOST_STROKES = 2000
"""Where there are more, strokes are what the image shows."""

Flat = npt.NDArray[np.intp]
Marks = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.intp]
"""Top, left, bottom, right (N, 4) of strokes; the last two are beyond them."""

_REACH = 5
_AROUND = np.ones((3, 3), np.bool_)


def find_graphics(
    pixels: Pixels,
    noise: NoiseProfile,
    steep: Flat,
    faulty: tuple[Flat, Flat],
    *,
    lines: list[Line],
    usual: Range,
) -> tuple[Flat, list[Line]]:
    """Pixels of text and graphics in one image (H, W), and the lines that are no part of them.

    Args:
        pixels: the image.
        noise: its profile.
        steep: pixels that differ from their neighbours by far more than the noise, as indices into the
            flattened image.
        faulty: those that were found alone, and those in clusters, the same way.
        lines: faulty lines.
        usual: grey values of the part.

    Returns:
        Indices into the flattened image, in order; the lines that are not drawn.
    """
    width = pixels.shape[1]
    drawn = _drawn(pixels, lines)
    boxes, step, grey = _strokes(pixels, noise, steep)
    texts = []
    if 0 < len(boxes) <= MOST_STROKES:
        strange = usual.beyond(grey, np.sqrt(noise.variance(grey)))
        texts = _texts(boxes, step, grey, strange)
    texts += _on_one_line(pixels, np.union1d(*faulty))
    texts = [text for text in texts if _is_inside(text[0], pixels.shape)]
    drawn += [line for line in lines if line not in drawn and _is_beside(pixels, line, texts)]
    rest = [line for line in lines if line not in drawn]
    found = [line.flat(width) for line in drawn]
    found.append(_dotted(pixels, np.sort(faulty[0])))
    for box, step_of, longest in texts:
        found.append(_of_text(pixels, noise, box, step_of, longest))
        found.append(_continued(pixels, np.sort(faulty[1]), found[-1]))
    shapes = _shapes(pixels, np.concatenate([*faulty, *(line.flat(width) for line in lines)]))
    rest = [line for line in rest if len(np.intersect1d(line.flat(width), shapes)) < 0.9 * line.size]
    found.append(shapes)
    through = np.concatenate([np.zeros(0, np.intp), *(line.flat(width) for line in rest)])
    return np.setdiff1d(np.concatenate(found), through), rest


def _is_inside(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    """Whether a text keeps off the border, where panels have their largest faults."""
    top, left, bottom, right = box
    return min(top, left, shape[0] - bottom, shape[1] - right) > NEAR_PX


def _strokes(
    pixels: Pixels, noise: NoiseProfile, steep: Flat
) -> tuple[Boxes, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Strokes that steep pixels are part of, how far each stands out, and its grey value."""
    height, width = pixels.shape
    y, x = np.divmod(steep, width)
    inside = (y >= _REACH) & (y < height - _REACH) & (x >= _REACH) & (x < width - _REACH)
    y, x = y[inside], x[inside]
    reach = np.arange(-_REACH, _REACH + 1)
    boxes: list[Boxes] = [np.zeros((0, 4), np.intp)]
    steps: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
    greys: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
    for start in range(0, len(y), 1 << 13):
        part = slice(start, start + (1 << 13))
        at_y, at_x = y[part, None, None] + reach[:, None], x[part, None, None] + reach
        window = pixels[at_y, at_x].astype(np.float32)
        rim = np.concatenate(
            [window[:, [0, -1]].reshape(len(window), -1), window[:, 1:-1, 0], window[:, 1:-1, -1]], 1
        )
        level = np.median(rim, axis=1)
        step = window[:, _REACH, _REACH] - level
        sigma = np.sqrt(noise.variance(level)).astype(np.float32)
        away = (window - level[:, None, None]) / np.where(step == 0, 1, step)[:, None, None]
        doubt = (sigma / np.where(step == 0, 1, np.abs(step))).astype(np.float32)
        for along in (0, 1):
            first, last, left, right, sharp = _straight(away if along == 0 else away.swapaxes(1, 2), doubt)
            good = sharp & (last - first + 1 >= LEAST_PX) & (doubt * LEAST_STEP < 1)
            lower, upper = np.stack([first, left], 1)[good], np.stack([last, right], 1)[good] + 1
            if along == 1:
                lower, upper = lower[:, ::-1], upper[:, ::-1]
            middle = np.stack([y[part][good], x[part][good]], 1)
            boxes.append(np.concatenate([middle + lower, middle + upper], 1))
            steps.append(step[good])
            greys.append(window[good, _REACH, _REACH])
    return np.concatenate(boxes), np.concatenate(steps), np.concatenate(greys)


def _straight(
    away: npt.NDArray[np.float32], doubt: npt.NDArray[np.float32]
) -> tuple[Flat, Flat, Flat, Flat, Marks]:
    """First and last row, left and right column of the upright stroke through the middle of windows, from it.

    And whether what is beside it is flat. `away` is 1 in the middle and 0 around.
    """
    middle = _REACH
    high = (away > 0.5) & (away < SAME_COLOUR)  # or it is the skirt of what is higher
    reach = np.arange(len(away))[:, None], np.arange(away.shape[1])[None]
    left, right = np.zeros(away.shape[:2], np.intp), np.zeros(away.shape[:2], np.intp)
    for side, ends in ((-1, left), (1, right)):
        on = np.ones(away.shape[:2], np.bool_)
        for distance in range(1, WIDEST_PX + 1):
            on &= high[:, :, middle + side * distance]
            ends += on
    narrow = high[:, :, middle] & (left + right < WIDEST_PX)
    far_left, far_right = (middle - left - 1).clip(min=0), (middle + right + 1).clip(max=2 * middle)
    flank = 0.5 * (away[(*reach, far_left)] + away[(*reach, far_right)])
    flat = (np.abs(away[(*reach, far_left)]) < 0.3) & (np.abs(away[(*reach, far_right)]) < 0.3)
    row = narrow & flat
    first: Flat = np.full(len(away), middle)
    last: Flat = np.full(len(away), middle)
    for side, ends in ((-1, first), (1, last)):
        on = row[:, middle].copy()
        for distance in range(1, middle + 1):
            on &= row[:, middle + side * distance]
            ends += side * on
    along = np.arange(away.shape[1])
    part = (along >= first[:, None]) & (along <= last[:, None]) & row
    count = np.maximum(part.sum(axis=1), 1)
    follows = np.abs((flank * part).sum(axis=1) / count)
    sharp = row[:, middle] & (follows + doubt / np.sqrt(2 * count) < FLANK + doubt)
    return first - middle, last - middle, -left[:, middle], right[:, middle], sharp


def _texts(
    boxes: Boxes, step: npt.NDArray[np.float32], grey: npt.NDArray[np.float32], strange: Marks
) -> list[tuple[tuple[int, int, int, int], float, int]]:
    """Box, step and longest stroke of each group of strokes near each other and of one colour."""
    boxes, first = np.unique(boxes, axis=0, return_index=True)
    step, grey, strange = step[first], grey[first], strange[first]
    gap = np.maximum(
        np.maximum(boxes[:, None, 0] - boxes[None, :, 2], boxes[:, None, 1] - boxes[None, :, 3]), 0
    )
    gap = np.maximum(gap, gap.T)
    ratio = step[:, None] / step[None]
    alike = (ratio > 1 / SAME_COLOUR) & (ratio < SAME_COLOUR)
    _, touching = connected(np.argwhere(alike & (gap <= TOUCHING_PX)).T, len(boxes))
    _, apart = connected(np.argwhere(alike & (gap <= 1)).T, len(boxes))
    count, group = connected(np.argwhere(alike & (gap <= NEAR_TEXT_PX)).T, len(boxes))
    texts = []
    for each in range(count):
        mine = group == each
        box = (*boxes[mine, :2].min(axis=0).tolist(), *boxes[mine, 2:].max(axis=0).tolist())
        size = boxes[mine, 2:] - boxes[mine, :2]
        many = len(np.unique(np.argmax(size, axis=1))) > 1 or len(np.unique(apart[mine])) > 2
        large = many and max(box[2] - box[0], box[3] - box[1]) > LARGE_PX
        # what lies in the part's own range of grey values must be of one value to be drawn
        alike_px = np.unique(grey[mine], return_counts=True)[1].max() >= max(0.5 * mine.sum(), FEWEST_ALIKE)
        if (len(np.unique(touching[mine])) > 1 or large) and (strange[mine].mean() > 0.5 or alike_px):
            texts.append((box, float(np.median(step[mine])), int(size.max())))
    return texts


def _continued(pixels: Pixels, clusters: Flat, text: Flat) -> Flat:
    """Clusters that go on where a text ends, in its colour: letters without a straight stroke."""
    width = pixels.shape[1]
    if not len(clusters) or not len(text):
        return np.zeros(0, np.intp)
    row = text // width
    clusters = clusters[(clusters >= (row.min() - MOST_SHAPE_ROWS) * width)]
    clusters = clusters[(clusters < (row.max() + MOST_SHAPE_ROWS) * width)]
    if not len(clusters):
        return clusters
    places = np.stack(np.divmod(clusters, width))
    groups = groups_of(places, width)
    boxes = np.array([[*places[:, g].min(axis=1), *places[:, g].max(axis=1)] for g in groups])
    grey = np.array([float(np.median(pixels[tuple(places[:, g])])) for g in groups])
    y, x = np.divmod(text, width)
    box = np.array([y.min(), x.min(), y.max(), x.max()])
    values = pixels[y, x].astype(np.float64)
    colour, around = (
        float(np.median(values)),
        float(np.median(pixels[y.min() : y.max() + 1, x.min() : x.max() + 1])),
    )
    alike = np.abs(grey - colour) < 0.4 * abs(colour - around)
    taken = np.zeros(len(groups), np.bool_)
    while True:
        gap = np.maximum(np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1), 0)
        # on the same line of text
        level = (boxes[:, 2] >= box[0]) & (boxes[:, 0] <= box[2])
        more = alike & level & ~taken & (gap <= NEAR_TEXT_PX // 2)
        if not more.any():
            break
        taken |= more
        box = np.array(
            [
                *np.minimum(box[:2], boxes[more, :2].min(axis=0)),
                *np.maximum(box[2:], boxes[more, 2:].max(axis=0)),
            ]
        )
    return np.concatenate([np.zeros(0, np.intp), *(clusters[groups[k]] for k in np.flatnonzero(taken))])


def _by_value(pixels: Pixels, faulty: Flat) -> dict[float, list[Flat]]:
    """Groups of neighbouring faulty pixels of one grey value, as indices into these, by that value."""
    shapes: dict[float, list[Flat]] = {}
    if len(faulty):
        grey = pixels[np.divmod(faulty, pixels.shape[1])]
        groups = groups_of(np.stack(np.divmod(faulty, pixels.shape[1])), pixels.shape[1])
        size = np.array([len(group) for group in groups])
        start = np.cumsum(size) - size
        inside = np.repeat(np.arange(len(groups)), size)
        ordered = np.concatenate(groups)
        by_value = ordered[np.lexsort((grey[ordered], inside))]
        value = grey[by_value][start + size // 2]  # what most of a group have is its median
        alike = np.add.reduceat(grey[ordered] == value[inside], start, dtype=np.intp)
        for number in np.flatnonzero(alike >= ONE_VALUE * size).tolist():
            shapes.setdefault(float(value[number]), []).append(groups[number])
    return shapes


def _on_one_line(pixels: Pixels, faulty: Flat) -> list[tuple[tuple[int, int, int, int], float, int]]:
    """The same of shapes of exactly one grey value that stand on one line, as letters and their dots do."""
    texts = _in_a_row(pixels, faulty)
    same = np.stack(np.divmod(faulty, pixels.shape[1]))
    for value, shapes in _by_value(pixels, faulty).items():
        if sum(len(shape) for shape in shapes) < LEAST_ON_LINE:
            continue
        boxes = np.array([[*same[:, s].min(axis=1), *same[:, s].max(axis=1) + 1] for s in shapes])
        size = boxes[:, 2:] - boxes[:, :2]
        letter = (size.max(axis=1) >= LEAST_PX) & (
            np.array([len(s) for s in shapes]) < 0.8 * size.prod(axis=1)
        )
        for number in np.flatnonzero(letter | (size.max(axis=1) >= 2 * size.min(axis=1))):
            beside = np.abs(boxes[:, [1, 3]] - boxes[number, [3, 1]]).min(axis=1) <= NEAR_TEXT_PX // 2
            row = np.flatnonzero(
                beside & (boxes[:, 2] == boxes[number, 2]) & (size[:, 0] <= 3 * size[number, 0])
            )
            if len(row) >= FEWEST_ON_LINE and letter[row].any() and size[row, 0].max() >= LEAST_PX:
                box = (*boxes[row, :2].min(axis=0).tolist(), *boxes[row, 2:].max(axis=0).tolist())
                around = float(
                    np.median(pixels[max(box[0] - 9, 0) : box[2] + 9, max(box[1] - 9, 0) : box[3] + 9])
                )
                texts.append((box, float(value) - around, int(size[row, 0].max())))
    return texts


def _of_text(
    pixels: Pixels, noise: NoiseProfile, box: tuple[int, int, int, int], step: float, longest: int
) -> Flat:
    """Pixels of everything small in a text's surroundings that differs as its strokes do."""
    height, width = pixels.shape
    reach = NEAR_TEXT_PX
    rows = slice(max(box[0] - reach, 0), min(box[2] + reach, height))
    columns = slice(max(box[1] - reach, 0), min(box[3] + reach, width))
    window = pixels[rows, columns].astype(np.float32)
    around = median_filter(window, 4 * WIDEST_PX + 1, mode="nearest")
    sigma = np.sqrt(noise.variance(around))
    away = (window - around) * np.sign(step)
    shapes, _ = label(away > np.maximum(5 * sigma, 0.05 * abs(step)), _AROUND)
    marked = np.zeros(window.shape, np.bool_)
    largest = max(3 * longest, 2 * LARGE_PX)
    for number, place in enumerate(find_objects(shapes), start=1):
        shape = shapes[place] == number
        size = max(shape.shape)
        if size <= largest and away[place][shape].max() >= FAINTEST * abs(step):
            marked[place] |= shape
    marked |= binary_dilation(marked, _AROUND) & (away > 3 * sigma)
    y, x = np.nonzero(marked)
    return np.asarray((y + rows.start) * width + x + columns.start, np.intp)


def _dotted(pixels: Pixels, single: Flat) -> Flat:
    """Those of some single pixels that are evenly spaced along a row or column, and of one grey value."""
    if len(single) < FEWEST_DOTS:
        return single[:0]
    height, width = pixels.shape
    y, x = np.divmod(single, width)
    value = pixels[y, x].astype(np.float64)
    spread = ALIKE * np.abs(value - float(np.median(pixels[:: max(height // 64, 1)])))
    along = np.zeros((2, len(single)), np.bool_)
    for part_of, (dy, dx) in zip(along, ((0, 1), (1, 0)), strict=True):
        for spacing in SPACINGS:
            members = [np.arange(len(single))]
            chain = np.ones(len(single), np.bool_)
            for k in range(1, FEWEST_DOTS):
                at_x = x + k * spacing * dx
                flat = (y + k * spacing * dy) * width + at_x
                found = np.searchsorted(single, flat).clip(max=max(len(single) - 1, 0))
                chain &= (single[found] == flat) & (at_x < width) & (np.abs(value[found] - value) <= spread)
                if not chain.any():
                    break
                members.append(found)
            for found in members if chain.any() else ():
                part_of[found[chain]] = True
    lattice = along.all(axis=0)  # of dots both ways, as detectors have it
    return single[:0] if 2 * lattice.sum() > along.any(axis=0).sum() else single[along.any(axis=0)]


def _in_a_row(pixels: Pixels, faulty: Flat) -> list[tuple[tuple[int, int, int, int], float, int]]:
    """The same of shapes as high as letters, alike but not of one value, that stand on one line."""
    if not len(faulty):
        return []
    places = np.stack(np.divmod(faulty, pixels.shape[1]))
    groups = [g for g in groups_of(places, pixels.shape[1]) if np.ptp(places[0, g]) >= LEAST_PX]
    if len(groups) < FEWEST_ON_LINE:
        return []
    boxes = np.array([[*places[:, g].min(axis=1), *places[:, g].max(axis=1) + 1] for g in groups])
    grey = np.array([float(np.median(pixels[tuple(places[:, g])])) for g in groups])
    thin = np.array([len(g) for g in groups]) < 0.8 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    texts = []
    for number in np.flatnonzero(thin):
        top, left, bottom, right = boxes[number]
        window = pixels[max(top - 9, 0) : bottom + 9, max(left - 9, 0) : right + 9]
        step = grey[number] - float(np.median(window))
        row = (np.abs(boxes[:, 2] - bottom) <= 1) & (np.abs(grey - grey[number]) < ALIKE * abs(step))
        row &= (boxes[:, 1] - right <= NEAR_TEXT_PX) & (left - boxes[:, 3] <= NEAR_TEXT_PX)
        if np.count_nonzero(row & thin) >= FEWEST_ON_LINE:
            box = (*boxes[row, :2].min(axis=0).tolist(), *boxes[row, 2:].max(axis=0).tolist())
            texts.append((box, step, int(bottom - top)))
    return texts


def _shapes(pixels: Pixels, faulty: Flat) -> Flat:
    """Pixels of large thin shapes of exactly one grey value: arrows, circles, frames."""
    height, width = pixels.shape
    faulty = np.unique(faulty)
    found, seen = [np.zeros(0, np.intp)], np.zeros(0, np.intp)
    for value, shapes in _by_value(pixels, faulty).items():
        for shape in shapes:
            same = faulty
            y, x = np.divmod(same[shape], width)
            if (
                len(shape) < LEAST_ON_LINE
                or same[shape[0]] in seen
                or max(np.ptp(y), np.ptp(x)) > MOST_SHAPE_PX
            ):
                continue
            top, left = max(int(y.min()) - SHAPE_REACH_PX, 0), max(int(x.min()) - SHAPE_REACH_PX, 0)
            window = pixels[top : int(y.max()) + SHAPE_REACH_PX + 1, left : int(x.max()) + SHAPE_REACH_PX + 1]
            labels, _ = label(window == value, _AROUND)
            at_y, at_x = np.nonzero(labels == labels[y[0] - top, x[0] - left])
            size = np.ptp(at_y) + 1, np.ptp(at_x) + 1
            at_y, at_x = at_y + top, at_x + left
            inside = at_y.min() > 0 and at_x.min() > 0 and at_y.max() < height - 1 and at_x.max() < width - 1
            thin = len(at_y) < 0.5 * size[0] * size[1] and min(size) > WIDEST_PX and max(size) > LARGE_PX
            flat = np.sort(at_y * width + at_x)
            seen = np.union1d(seen, flat)
            if inside and thin:
                found.append(flat)
    return np.unique(np.concatenate(found))


def _is_beside(pixels: Pixels, line: Line, texts: list[tuple[tuple[int, int, int, int], float, int]]) -> bool:
    """Whether a line inside the image belongs to a text beside it, as a scale bar does."""
    if ends_well(line.start, line.stop, pixels.shape[line.axis]):
        return False
    y, x = np.divmod(line.flat(pixels.shape[1]), pixels.shape[1])
    for (top, left, bottom, right), *_ in texts:
        gap = max(top - int(y.max()), int(y.min()) - bottom, left - int(x.max()), int(x.min()) - right)
        if gap <= NEAR_TEXT_PX:
            return True
    return False


def _drawn(pixels: Pixels, lines: list[Line]) -> list[Line]:
    """Lines that end inside the image as graphics do: in another's end, crossing one, or as thick bars."""
    drawn = []
    for line in lines:
        length, across = pixels.shape[line.axis], line.stop - line.start
        if ends_well(line.start, line.stop, length):
            continue
        part = slice(line.start, line.stop), slice(line.first, line.first + line.width)
        values = pixels[part if line.axis == 0 else part[::-1]]
        even = int(np.ptp(values.astype(np.float64))) == 0
        bar = line.width > 1 and across < length / 3
        met = any(_meet(line, other) for other in lines if other.axis != line.axis)
        if even and (bar or met):
            drawn.append(line)
    return drawn


def _meet(line: Line, other: Line) -> bool:
    """Whether a line ends where another ends, or both cross inside their ends."""
    near = NEAR_PX + line.width + other.width
    ends = [abs(end - other.first) <= near for end in (line.start, line.stop)]
    others = [abs(end - line.first) <= near for end in (other.start, other.stop)]
    crossing = line.start < other.first < line.stop and other.start < line.first < other.stop
    return (any(ends) and any(others)) or (crossing and other.start > NEAR_PX)
