"""What the noise estimator looks at: numbers about small blocks, the same for any grey scale.

An image is cut into blocks of 8 x 8 pixels. Several differences are taken inside each block, each blind to
some structure and sensitive to some colour of noise; low quantiles over the blocks tell what the flattest
places hold. Everything is expressed relative to one reference, the faintest diagonal second difference, so
the numbers depend neither on the grey scale nor on its zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from longexposure.radiograph import Pixels

BLOCK = 8
MAX_BLOCKS = 1 << 15
QUANTILES = (0.01, 0.03, 0.1, 0.3, 0.6)
LEVELS = 4
"""Groups of equal size into which blocks are sorted by brightness, for the dependence on signal."""

Blocks = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


def cut_blocks(pixels: Pixels) -> Blocks:
    """Blocks (N, 8, 8), float32, evenly spread when there are more than `MAX_BLOCKS`."""
    height, width = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    tiled = pixels[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    step = max(1, int(np.ceil(np.sqrt(height * width / MAX_BLOCKS))))
    chosen = tiled[::step, :, ::step].swapaxes(1, 2)
    return np.ascontiguousarray(chosen, dtype=np.float32).reshape(-1, BLOCK, BLOCK)


def unclipped(blocks: Blocks, *, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Which blocks hold at most two pixels at either end of the image's grey scale, (N,)."""
    at_low = (blocks <= low).sum(axis=(1, 2))
    at_high = (blocks >= high).sum(axis=(1, 2))
    return (at_low <= 2) & (at_high <= 2)


def energies(blocks: Blocks) -> Numbers:
    """Mean squares (N, 8) of differences inside each block, normalised to 1 for white noise of variance 1.

    In order: second difference along both axes, along x, along y; first difference along x, along y, along
    the diagonal, two pixels apart along both axes; and the variance about the block's own plane.
    """
    b = blocks
    dx, dy = b[:, :, 1:] - b[:, :, :-1], b[:, 1:] - b[:, :-1]
    ddx, ddy = dx[:, :, 1:] - dx[:, :, :-1], dy[:, 1:] - dy[:, :-1]
    both = ddx[:, 2:] - 2 * ddx[:, 1:-1] + ddx[:, :-2]
    across = b[:, 1:, 1:] - b[:, :-1, :-1]
    apart = 0.5 * (_mean_square(b[:, :, 2:] - b[:, :, :-2]) + _mean_square(b[:, 2:] - b[:, :-2]))
    columns = [
        _mean_square(both) / 36,
        _mean_square(ddx) / 6,
        _mean_square(ddy) / 6,
        _mean_square(dx) / 2,
        _mean_square(dy) / 2,
        _mean_square(across) / 2,
        apart / 2,
        about_plane(b),
    ]
    return np.stack(columns, axis=1)


def features(blocks: Blocks, *, span: float, low: float) -> tuple[npt.NDArray[np.float32], float]:
    """The estimator's input (F,), and the reference standard deviation in grey values.

    Args:
        blocks: (N, 8, 8), N >= 4, without clipped ones.
        span: grey values from 0 to 1 of the unit domain, > 0.
        low: grey value of 0 of the unit domain.
    """
    power = energies(blocks)
    floor = 1e-14 * span * span
    logs = np.log(np.maximum(power, floor))
    reference = float(np.quantile(logs[:, 0], 0.1))
    parts = [np.quantile(logs, QUANTILES, axis=0).ravel() - reference]
    for column in (0, 7):
        order = np.argsort(power[:, column], kind="stable")
        for share in (0.02, 0.08, 0.25):
            flattest = power[order[: max(2, int(share * len(order)))]].mean(axis=0)
            parts.append(np.log(np.maximum(flattest, floor)) - reference)
    levels = np.median(blocks, axis=(1, 2)).astype(np.float64)
    for group in np.array_split(np.argsort(levels, kind="stable"), LEVELS):
        parts.append(np.quantile(logs[group][:, (0, 7)], 0.1, axis=0) - reference)
        parts.append(np.array([(np.median(levels[group]) - low) / span - 0.5]))
    parts.append(np.array([0.5 * (reference - 2 * np.log(span)), np.log(len(blocks)) / 10]))
    values = np.clip(np.concatenate(parts), -12, 12)
    return values.astype(np.float32), float(np.exp(0.5 * reference))


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
