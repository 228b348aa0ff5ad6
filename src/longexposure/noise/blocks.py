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

import numpy as np
import numpy.typing as npt

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


def cut_blocks(pixels: Pixels, *, side: int = BLOCK, most: float = MAX_BLOCKS) -> Blocks:
    """Blocks (N, side, side), float32, evenly spread when there are more than `most`."""
    height, width = pixels.shape[0] // side, pixels.shape[1] // side
    tiled = pixels[: height * side, : width * side].reshape(height, side, width, side)
    step = max(1, int(np.ceil(np.sqrt(height * width / most))))
    chosen = tiled[::step, :, ::step].swapaxes(1, 2)
    return np.ascontiguousarray(chosen, dtype=np.float32).reshape(-1, side, side)


def unclipped(blocks: Blocks, *, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Which blocks hold at most two pixels at either end of the image's grey scale, (N,)."""
    at_low = (blocks <= low).sum(axis=(1, 2))
    at_high = (blocks >= high).sum(axis=(1, 2))
    return (at_low <= 2) & (at_high <= 2)


def grey_step(blocks: Blocks) -> float:
    """Distance between the grey values that occur: 1 for integers, 257 where 8 bits are stored as 16.

    The lowest tenth of the gaps is taken, so that neither rare values far from the others nor values next to
    each other by rounding decide; of continuous values it is far below their noise. 0 for equal values.
    """
    values = np.unique(blocks.ravel()[:: max(1, blocks.size // STEP_SAMPLE)])
    return float(np.quantile(np.diff(values), 0.1)) if len(values) > 1 else 0.0


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
    levels = (np.median(blocks, axis=(1, 2)).astype(np.float64) - low) / span
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
