"""The noise estimator's input: numbers about small blocks, the same for any grey scale.

An image is cut into blocks of 8 x 8 pixels. Several differences are taken inside each block, each blind to
some structure and sensitive to some colour of noise. The flattest places of each brightness show how
the noise depends on the signal. With that the blocks are brought to the same noise, so that dark places,
which quanta make quiet, do not pass for flat ones; low quantiles over all blocks then separate noise
from structure, and the proportions of the differences in the flattest show the noise's colour. Everything
is expressed relative to one reference, the faint second differences at middle brightness but no less than the
rounding of the grey values, so the numbers depend neither on the grey scale nor on its zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from longexposure.masks import Mask
from longexposure.radiograph import Pixels

BLOCK = 8
MAX_BLOCKS = 1 << 14
STEP_SAMPLE = 1 << 16
"""Grey values, evenly spread over the blocks, from which the distance between neighbouring ones is taken."""
QUANTILES = (0.01, 0.03, 0.1, 0.3, 0.6)
FLATTEST = (0.02, 0.08, 0.25)
"""Fractions of the blocks, the flattest by one difference, over which all differences are averaged."""
COLOURS = (0.2, 0.5, 0.8)
"""Quantiles of the proportions between the differences, over the flattest quarter of the blocks."""
LEVELS = 8
"""Groups of equal size into which blocks are sorted by brightness, for the dependence on signal."""
FEWEST_IN_GROUP = 4
FAINT = 0.1
"""Quantile of a difference over the blocks of one brightness that is taken for what their flattest hold."""
BEYOND, BESIDE, PILE = 0.003, 8, 5.0
"""The end of a scale: up to this fraction of the pixels lie beyond, as hot ones do; it holds so many times as
many as the median of so many values next to it."""
MOST_EQUAL = 4
"""Equal neighbours in a block that chance explains whatever the noise."""
FEWEST_VARIED, LEAST_VARIED = 16, 0.1
"""So many blocks, and this fraction of all, must be left for the others to count as filled."""
FAINTEST, LEAST_NOISE, UNEVEN = (0.02, 0.25), 0.33, 4.0
"""Standard deviation in grey steps, rounding included, that the first quantile of what is left must reach:
with that much noise in the flattest places, nothing but a fill makes a block constant. Noise is about as
strong everywhere: where most blocks are constant and these quantiles of the variance differ by more, there
is none."""
STRUCTURED = 0.9
"""Of one brightness only structure is left where ln variance about the plane exceeds that of the faintest
differences by so much more than at the best."""
TAIL, TAIL_NOISE = 0.1, 2.0
"""Beyond the darkest and the brightest group lies what differs by more than this of the contrast, and by so
many standard deviations of the noise there."""
STANDS_OUT = 4.0
"""And by so many of its own: values that scatter over all greys are a fault of the panel, no brightness."""
TAIL_PARTS, FEWEST_IN_TAIL = 3, 24
"""Each is told in up to so many parts, none of fewer quarters of blocks."""
AS_FLAT, MOST_ROUGH = 0.25, 6.0
MOSTLY = 2 / 3
"""A quarter is flat where its variance about the plane, over that of mixed differences, is at most so many
times that quantile of all; this share of a part must be."""
TAIL_SAMPLE = 1 << 9
"""So many blocks, evenly spread, and quarters of a tail are looked at."""
ALIKE = 0.4
"""What differs by less in ln sigma from the group beside it tells nothing new."""
MEDIAN_TO_FAINT = 0.166
"""ln variance at the faint quantile of white blocks, less that of the median of squares."""
MIDDLE = 0.2
"""Distance from 0.5 of the unit domain within which the reference is mostly taken."""

AT_EACH_BRIGHTNESS = (
    "second, along both axes",
    "about the plane",
    "first, along x",
    "first, along y",
    "first, along both axes",
    "second, two apart, along x",
    "second, two apart, along y",
)
"""Differences whose low quantile over the blocks of each brightness is a feature.

The first sets the reference, the first two decide which blocks are flattest."""

Blocks = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def cut_blocks(
    pixels: Pixels, *, side: int = BLOCK, most: float = MAX_BLOCKS, aside: Mask | None = None
) -> Blocks:
    """Blocks (N, side, side), float32, evenly spread when there are more than `most`.

    Blocks that hold a pixel of `aside` are left out; `side` is a multiple of 8 then.
    """
    height, width = pixels.shape[0] // side, pixels.shape[1] // side
    tiled = pixels[: height * side, : width * side].reshape(height, side, width, side)
    step = max(1, int(np.ceil(np.sqrt(height * width / most))))
    chosen = tiled[::step, :, ::step].swapaxes(1, 2)
    if aside is not None and aside.count:
        chosen = chosen[~aside.blocks(side)[::step, ::step]]
    return np.ascontiguousarray(chosen, dtype=np.float32).reshape(-1, side, side)


def picture_blocks(pixels: Pixels, aside: Mask | None = None) -> Blocks:
    """Blocks (N, 8, 8) that show the part: without what is set aside, filled or clipped.

    A fill tells nothing of noise. Where nearly every block is constant, though, the noise lies below a
    grey step, and then they are all the evidence there is.
    """
    blocks = cut_blocks(pixels, aside=aside)
    if len(blocks) == 0:
        return blocks
    values, counts = np.unique(_sample(blocks), return_counts=True)
    low, high = scale_ends(values, counts)
    free = unclipped(blocks, low=low, high=high)
    step = grey_step(blocks[free])
    varied = blocks[free & ~filled(blocks, step=step)]
    if len(varied) == len(blocks):
        return varied
    return varied if _noisy(varied, count=len(blocks), step=step) else blocks


def _noisy(varied: Blocks, *, count: int, step: float) -> bool:
    """Whether blocks hold noise, so that others of the image, `count` in all, are none for another reason."""
    if len(varied) < max(FEWEST_VARIED, LEAST_VARIED * count):
        return False
    mixed = mixed_variance(varied)
    faintest, faint = np.quantile(mixed, FAINTEST)
    even = faint < UNEVEN * faintest or len(varied) > 0.5 * count
    return bool(faintest > (LEAST_NOISE * step) ** 2 and even)


def filled(blocks: Blocks, *, step: float) -> npt.NDArray[np.bool_]:
    """Which blocks (N,) hold a run of equal pixels along either axis that noise does not explain.

    Noise as coarse as a third of a grey step still makes neighbours that differ by one step, at most three
    times fewer than equal ones; a fill, a saturated area, a letter or a border that was copied makes equal
    neighbours only.

    Args:
        blocks: (N, S, S).
        step: distance between neighbouring grey values that occur.
    """
    found = np.zeros(len(blocks), bool)
    for axis in (1, 2):
        later, earlier = (
            (blocks[:, 1:], blocks[:, :-1]) if axis == 1 else (blocks[:, :, 1:], blocks[:, :, :-1])
        )
        equal = np.count_nonzero(later == earlier, axis=(1, 2))
        some = np.flatnonzero(equal > MOST_EQUAL)
        apart = np.abs(later[some] - earlier[some])
        near = np.count_nonzero((apart > 0) & (apart <= 1.5 * step), axis=(1, 2))
        found[some] |= equal[some] > MOST_EQUAL + 3 * near
    return found


def scale_ends(values: Blocks, counts: npt.NDArray[np.integer]) -> tuple[float, float]:
    """Lowest and highest grey value that the detector or the file could tell from others.

    Hot and dead pixels may lie beyond: an end is the outermost value, few pixels apart, at which grey values
    pile up; where there is no pile it is the outermost of all.

    Args:
        values: grey values that occur, ascending.
        counts: how often each does.
    """
    ends = []
    for order in (slice(None), slice(None, None, -1)):
        value, count = values[order], counts[order]
        at = int(np.searchsorted(np.cumsum(count), BEYOND * count.sum(), side="right"))
        inside = count[at + 1 : at + 1 + BESIDE]
        piled = len(inside) > 0 and count[at] > PILE * max(float(np.median(inside)), 1.0)
        ends.append(float(value[at] if piled else value[0]))
    return ends[0], ends[1]


def unclipped(blocks: Blocks, *, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Which blocks hold at most two pixels at or beyond either end of the grey scale, (N,)."""
    at_low = np.count_nonzero(blocks <= low, axis=(1, 2))
    at_high = np.count_nonzero(blocks >= high, axis=(1, 2))
    return (at_low <= 2) & (at_high <= 2)


def grey_step(blocks: Blocks) -> float:
    """Distance between the grey values that occur: 1 for integers, 257 where 8 bits are stored as 16.

    The lowest tenth of the gaps is taken, so that neither rare values far from the others nor values next to
    each other by rounding decide; of continuous values it is far below their noise. 0 for equal values.
    """
    values = np.unique(_sample(blocks))
    return float(np.quantile(np.diff(values), 0.1)) if len(values) > 1 else 0.0


def _sample(blocks: Blocks) -> Blocks:
    return blocks.ravel()[:: max(1, blocks.size // STEP_SAMPLE)]


def energies(blocks: Blocks) -> dict[str, Numbers]:
    """Mean squares (N,) of differences inside each block by name, 1 for white noise of variance 1.

    "About the plane" is the variance about the block's own plane.
    """
    b = blocks
    dx, dy = b[:, :, 1:] - b[:, :, :-1], b[:, 1:] - b[:, :-1]
    ddx, ddy = dx[:, :, 1:] - dx[:, :, :-1], dy[:, 1:] - dy[:, :-1]
    rows, columns = b.mean(axis=2)[:, :, None], b.mean(axis=1)[:, None, :]
    return {
        "second, along both axes": _mean_square(np.diff(ddx, n=2, axis=1)) / 36,
        "second, along x": _mean_square(ddx) / 6,
        "second, along y": _mean_square(ddy) / 6,
        "first, along x": _mean_square(dx) / 2,
        "first, along y": _mean_square(dy) / 2,
        "first, along the diagonal": _mean_square(b[:, 1:, 1:] - b[:, :-1, :-1]) / 2,
        "first, along the other diagonal": _mean_square(b[:, 1:, :-1] - b[:, :-1, 1:]) / 2,
        "about the plane": about_plane(b),
        "two apart, along x": _mean_square(b[:, :, 2:] - b[:, :, :-2]) / 2,
        "two apart, along y": _mean_square(b[:, 2:] - b[:, :-2]) / 2,
        "three apart, along x": _mean_square(b[:, :, 3:] - b[:, :, :-3]) / 2,
        "three apart, along y": _mean_square(b[:, 3:] - b[:, :-3]) / 2,
        "first, along both axes": _mean_square(dx[:, 1:] - dx[:, :-1]) / 4,
        "second, of row means": _mean_square(np.diff(rows, n=2, axis=1)) * (BLOCK / 6),
        "second, of column means": _mean_square(np.diff(columns, n=2, axis=2)) * (BLOCK / 6),
        "second, two apart, along x": _mean_square(b[:, :, 4:] - 2 * b[:, :, 2:-2] + b[:, :, :-4]) / 6,
        "second, two apart, along y": _mean_square(b[:, 4:] - 2 * b[:, 2:-2] + b[:, :-4]) / 6,
    }


def features(blocks: Blocks, *, span: float, low: float) -> tuple[npt.NDArray[np.float32], float]:
    """The estimator's input (F,), and the reference standard deviation in grey values.

    Args:
        blocks: (N, 8, 8), N >= 4, without clipped ones.
        span: grey values from 0 to 1 of the unit domain, > 0.
        low: grey value of 0 of the unit domain.
    """
    floor = 1e-14 * span * span
    found = energies(blocks)
    names, power = list(found), np.stack(list(found.values()))
    logs = np.log(np.maximum(power, floor))
    rounding = float(np.log(max(grey_step(blocks) ** 2 / 12, floor)))
    levels = (_medians(blocks).astype(np.float64) - low) / span
    groups = _by_brightness(blocks, levels)
    bright = np.array([np.median(levels[group]) for group in groups])
    chosen = logs[[names.index(name) for name in AT_EACH_BRIGHTNESS]]
    faint = np.array([np.quantile(chosen[:, group], FAINT, axis=1) for group in groups])
    near = np.exp(-0.5 * ((bright - 0.5) / MIDDLE) ** 2) + 1e-3
    reference = max(float(near @ faint[:, 0] / near.sum()), rounding)
    at_level = np.maximum(np.interp(levels, bright, faint[:, 0]), rounding)
    even, even_power = logs - at_level, power * np.exp(-at_level)
    flattest = []
    for name in AT_EACH_BRIGHTNESS[:2]:
        order = np.argsort(even_power[names.index(name)], kind="stable")
        for fraction in FLATTEST:
            mean = even_power[:, order[: max(2, int(fraction * len(order)))]].mean(axis=1)
            flattest.append(np.log(np.maximum(mean, 1e-12)))
    quarter = even[:, np.argsort(even.sum(axis=0), kind="stable")[: max(4, len(blocks) // 4)]]
    parts = [
        np.array([0.5 * (reference - 2 * np.log(span)), np.log(len(blocks)) / 10, rounding - reference]),
        (faint - reference).ravel(),
        bright - 0.5,
        np.quantile(even, QUANTILES, axis=1).ravel(),
        *flattest,
        np.quantile(quarter - quarter.mean(axis=0), COLOURS, axis=1).ravel(),
    ]
    values = np.clip(np.concatenate(parts), -12, 12)
    return values.astype(np.float32), float(np.exp(0.5 * reference))


def course(inputs: npt.NDArray[np.float32]) -> tuple[Numbers, Numbers]:
    """How the noise goes with brightness, straight from `features`: levels in the unit domain and ln sigma.

    One of each for those groups of blocks whose flattest are no rougher in the large than in the small, as
    structure is; from dark to bright, up to a constant that the noise's colour sets.
    """
    first = 3
    faint = inputs[first : first + LEVELS * len(AT_EACH_BRIGHTNESS)].reshape(LEVELS, -1).astype(np.float64)
    levels = inputs[first + faint.size : first + faint.size + LEVELS].astype(np.float64) + 0.5
    large = faint[:, 1] - faint[:, 0]
    flat = large < large.min() + STRUCTURED
    return levels[flat], 0.5 * faint[flat, 0]


def tails(
    blocks: Blocks, levels: Numbers, course: Numbers, *, span: float, low: float, reference: float
) -> tuple[Numbers, Numbers]:
    """What `course` tells, of the few blocks that are darker or brighter than all groups.

    Behind a logarithm the noise of a few dark balls is many times that of all else. They are looked at in
    quarters of blocks, of which small parts have some inside.

    Args:
        blocks: (N, 8, 8).
        levels: as `course` gives them.
        course: ln sigma there.
        span: grey values from 0 to 1 of the unit domain.
        low: grey value of 0 of the unit domain.
        reference: standard deviation in grey values that ln sigma is over.
    """
    half = BLOCK // 2
    means = _sums_of_four(_sums_of_four(blocks).swapaxes(1, 2)).swapaxes(1, 2) / half**2
    found: list[tuple[float, float]] = []
    for end, sign in ((int(np.argmin(levels)), -1.0), (int(np.argmax(levels)), 1.0)):
        apart = max(TAIL, TAIL_NOISE * reference / span * float(np.exp(course[end])))
        beyond = sign * ((means - low) / span - levels[end]) > apart
        index, row, column = np.nonzero(beyond)
        if len(index) < FEWEST_IN_TAIL:
            continue
        some = slice(None, None, max(1, len(index) // TAIL_SAMPLE))
        parts = _parts(blocks, index[some], row[some], column[some])
        squares = _squares(parts)
        if abs(_ln_sigma(squares, reference) - course[end]) < ALIKE:
            continue
        quarters = parts[:, :half, :half]
        typical = _medians(quarters)
        dark = sign * ((typical - low) / span - levels[end]) > apart
        if np.count_nonzero(dark) < FEWEST_IN_TAIL:
            continue
        evenly = blocks[:: max(1, len(blocks) // TAIL_SAMPLE), : half + 1, : half + 1]
        usual = float(np.quantile(_flatness(evenly[:, :half, :half], _squares(evenly)), AS_FLAT))
        found += [
            (level, each)
            for level, each in _along_tail(quarters[dark], squares[dark], usual=usual, reference=reference)
            if abs((level - low) / span - levels[end]) > STANDS_OUT * reference / span * float(np.exp(each))
        ]
    at = np.array([level for level, _ in found])
    return (at - low) / span, np.array([each for _, each in found])


def _along_tail(
    quarters: Blocks, squares: Numbers, *, usual: float, reference: float
) -> Iterator[tuple[float, float]]:
    """Level and ln sigma over the reference of the parts of a tail (N, 4, 4) that are flat."""
    level = _medians(quarters)
    flat = _flatness(quarters, squares) < MOST_ROUGH * usual
    order = np.argsort(level, kind="stable")
    for part in np.array_split(order, min(TAIL_PARTS, max(len(order) // FEWEST_IN_TAIL, 1))):
        if len(part) >= FEWEST_IN_TAIL and flat[part].mean() > MOSTLY:
            yield float(np.median(level[part])), _ln_sigma(squares[part[flat[part]]], reference)


def _ln_sigma(squares: Numbers, reference: float) -> float:
    """As the faint quantile of blocks tells it, over a reference; far below it where most squares are 0."""
    variance = max(float(np.median(squares)), 1e-6 * reference**2)
    return 0.5 * (float(np.log(variance)) + MEDIAN_TO_FAINT) - float(np.log(reference))


def _medians(blocks: Blocks) -> Blocks:
    """`np.median` of each block of an even number of pixels, (N,); sorting small blocks is faster."""
    middle = blocks.shape[1] * blocks.shape[2] // 2
    ordered = np.sort(blocks.reshape(len(blocks), 2 * middle), axis=1)
    return np.asarray(ordered[:, middle - 1 : middle + 1].mean(axis=1))


def _sums_of_four(blocks: Blocks) -> Blocks:
    """Sums (N, R, C / 4) of four neighbours in a row."""
    return np.asarray(blocks[:, :, ::4] + blocks[:, :, 1::4] + blocks[:, :, 2::4] + blocks[:, :, 3::4])


def _parts(blocks: Blocks, index: Places, row: Places, column: Places) -> Blocks:
    """Quarters of blocks with a pixel more towards the middle, (N, 5, 5), turned to begin outside."""
    along = np.arange(BLOCK // 2 + 1)
    y, x = (np.where(each[:, None] > 0, BLOCK - 1 - along, along) for each in (row, column))
    return blocks[index[:, None, None], y[:, :, None], x[:, None, :]]


def _squares(parts: Blocks) -> Numbers:
    """Squares (N, 9) of mixed differences, 1 for white noise of variance 1."""
    mixed = np.diff(np.diff(parts, n=2, axis=1), n=2, axis=2)
    return np.square(mixed, dtype=np.float64).reshape(len(mixed), (BLOCK // 2 - 1) ** 2) / 36


def _flatness(quarters: Blocks, squares: Numbers) -> Numbers:
    """Variance (N,) about the plane over that of mixed differences; large for structure."""
    return about_plane(quarters) / np.maximum(squares.mean(axis=1), 1e-30)


def _by_brightness(blocks: Blocks, levels: Numbers) -> list[npt.NDArray[np.intp]]:
    """Which blocks belong to each of `LEVELS` groups, from dark to bright; few blocks share some groups.

    Blocks of equal level are put in an order that a transposed image has too.
    """
    along = np.arange(1.0, BLOCK + 1)
    order = np.lexsort((np.einsum("nij,i,j->n", blocks, along, along), levels))
    groups = np.array_split(order, min(LEVELS, max(1, len(order) // FEWEST_IN_GROUP)))
    return [groups[number * len(groups) // LEVELS] for number in range(LEVELS)]


def _mean_square(values: Blocks) -> Numbers:
    return np.einsum("nij,nij->n", values, values, dtype=np.float64) / (values.shape[1] * values.shape[2])


def mixed_variance(blocks: Blocks) -> Numbers:
    """Mean square (N,) of second differences along both axes, which see noise and hardly any structure."""
    return np.asarray(_mean_square(np.diff(np.diff(blocks, n=2, axis=1), n=2, axis=2)) / 36)


def about_plane(blocks: Blocks) -> Numbers:
    """Unbiased variance (N,) of each square block (N, S, S) about its least-squares plane."""
    side = blocks.shape[-1]
    along = np.arange(side, dtype=np.float64) - 0.5 * (side - 1)
    centred = blocks - blocks.mean(axis=(1, 2), keepdims=True)
    norm = side * float(along @ along)
    slope_y = np.einsum("nij,i->n", centred, along) / norm
    slope_x = np.einsum("nij,j->n", centred, along) / norm
    total = np.einsum("nij,nij->n", centred, centred, dtype=np.float64)
    return np.maximum(total - norm * (slope_y**2 + slope_x**2), 0.0) / (side * side - 3)
