"""What a page says of an image's grey values: statistics, window, thumbnail, the most changed places.

Images are gone through in bands of rows, so that none is copied whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from longexposure.grey import evenly_sampled
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

Means = npt.NDArray[np.float64]

BAND_PX = 1 << 20
SAMPLE_PX = 1 << 22
"""Of floating-point images that have more pixels, percentiles are taken over about so many, evenly spread."""

MARKS = (0.5, 99.5)
"""Percentiles of the original between which a page shows an image at first."""

CHANGE_PX, CELL_PX = 4, 16
"""Side of the squares whose mean change is looked at: of the smallest void that is told from noise; and of
the cells of which the one with the most changed square is named."""

APART_PX = 32
"""Most changed places of one image lie further from one another than this, in x or in y."""

PLACES = 6
"""Most changed places that are named of an image, at most."""

ROUNDING = 0.29
"""Standard deviation of what rounding to whole grey values adds: no noise of integers is fainter."""

MOST_CHANGE = 1e6
"""What a larger change is told as: that of an image without noise."""

NOT_A_NUMBER = 255
"""Where a thumbnail has no value; its values go from 0 to 254."""


class Place(NamedTuple):
    """A place worth looking at.

    Attributes:
        x, y: column and row of the pixel.
        change: mean change there over 4 x 4 pixels, in standard deviations of the noise; None where the place
            was chosen.
    """

    x: int
    y: int
    change: float | None = None


class Summary(NamedTuple):
    """Of the finite pixels of an image: number, mean, standard deviation, smallest and largest value."""

    pixels: int
    mean: float
    deviation: float
    least: float
    most: float


def summary(pixels: Pixels) -> Summary:
    """Statistics of the whole image (H, W); of one without a finite value all but the count are 0."""
    count, total, squares, least, most = 0, 0.0, 0.0, np.inf, -np.inf
    for part in map(_finite, _parts(pixels)):
        if part.size:
            count, total = count + part.size, total + float(part.sum(dtype=np.float64))
            least, most = min(least, float(part.min())), max(most, float(part.max()))
    if not count:
        return Summary(0, 0.0, 0.0, 0.0, 0.0)
    for part in map(_finite, _parts(pixels)):
        squares += float(np.square(part.astype(np.float64) - total / count).sum())
    return Summary(count, total / count, float(np.sqrt(squares / count)), least, most)


def window_of(pixels: Pixels) -> tuple[float, float]:
    """The `MARKS` of an image (H, W), of integers rounded apart to whole numbers; 0 and 1 without a value."""
    integer = pixels.dtype.kind == "u"
    if not integer:
        values = _finite(evenly_sampled(pixels, SAMPLE_PX))
        low, high = np.percentile(values, MARKS) if values.size else (0.0, 1.0)
        return float(low), float(high)
    counts = np.zeros(256**pixels.dtype.itemsize, np.int64)
    for part in _parts(pixels):
        counts += np.bincount(part.ravel(), minlength=counts.size)
    ends = np.cumsum(counts)
    places = np.asarray(MARKS) / 100 * (pixels.size - 1)
    below, above = (np.searchsorted(ends, rank, side="right") for rank in (np.floor(places), np.ceil(places)))
    low, high = below + (places - np.floor(places)) * (above - below)
    return float(np.floor(low)), float(np.ceil(high))


def block_means(pixels: Pixels, side: int) -> Means:
    """Means of the finite pixels in squares of `side` px, (ceil(H / side), ceil(W / side)), or NaN."""
    height, width = pixels.shape
    columns = np.arange(0, width, side)
    means = np.empty((-(-height // side), columns.size))
    for top, part in bands(pixels, multiple=side):
        rows = np.arange(0, len(part), side)

        def sums(values: Means, rows: npt.NDArray[np.intp] = rows) -> Means:
            by_row = np.add.reduceat(values, rows, axis=0)
            return np.asarray(np.add.reduceat(by_row, columns, axis=1))

        if pixels.dtype.kind == "u":
            counts = np.outer(
                *(np.diff([*ends, length]) for ends, length in ((rows, len(part)), (columns, width)))
            )
            totals = sums(part.astype(np.float64))
        else:
            there = np.isfinite(part)
            counts, totals = sums(there.astype(np.float64)), sums(np.where(there, part, 0).astype(np.float64))
        with np.errstate(invalid="ignore"):
            means[top // side : top // side + rows.size] = totals / counts
    return means


def thumbnails(
    images: Sequence[Pixels], side: int, window: tuple[float, float]
) -> tuple[int, tuple[float, float], list[npt.NDArray[np.uint8]]]:
    """Thumbnails of images of one shape (H, W), of one grey window, which holds nearly all their means.

    Args:
        images: of one shape and type.
        side: of the thumbnails, px, at most.
        window: grey values that the thumbnails' window holds.

    Returns:
        Side of the squares that became a pixel each, the window whose ends are 0 and 254, and the thumbnails.
    """
    factor = -(-max(images[0].shape) // side)
    means = [block_means(image, factor) for image in images]
    values = np.concatenate([each[np.isfinite(each)] for each in means])
    low, high = window
    if values.size:
        ends = np.percentile(values, (0.1, 99.9))
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    high = high if high > low else low + 1.0
    return factor, (low, high), [_quantised(each, low, high) for each in means]


def halved(thumbnail: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The thumbnail of squares twice as wide."""
    values = np.where(thumbnail == NOT_A_NUMBER, np.nan, thumbnail).astype(np.float32)
    return _quantised(block_means(values, 2), 0, NOT_A_NUMBER - 1)


def changed_places(before: Pixels, after: Pixels, noise: NoiseProfile | None) -> list[Place]:
    """The most changed places of an image, at most `PLACES`, most first; the middle where nothing changed.

    Looked at is the mean change of squares of `CHANGE_PX` px, in standard deviations of the noise at that
    square's grey value: taken away noise alone gives about a quarter. Without a noise profile the noise
    is taken from the changes, most of which are noise.
    """
    height, width = before.shape
    scores = np.zeros((-(-height // CELL_PX), -(-width // CELL_PX)))
    medians = []
    for top, part in bands(before, multiple=CELL_PX):
        level = block_means(part, CHANGE_PX)
        change = np.nan_to_num(np.abs(block_means(after[top : top + len(part)], CHANGE_PX) - level))
        if noise is None:
            medians.append(np.median(change))
        else:
            sigma = np.sqrt(noise.variance(np.nan_to_num(level)))
            change /= np.maximum(sigma, ROUNDING if before.dtype.kind == "u" else 1e-30)
        inside = [np.arange(0, length, CELL_PX // CHANGE_PX) for length in change.shape]
        cells = np.maximum.reduceat(np.maximum.reduceat(change, inside[0], axis=0), inside[1], axis=1)
        scores[top // CELL_PX : top // CELL_PX + len(cells)] = cells
    if noise is None:
        typical = float(np.median(medians)) * 1.48 * CHANGE_PX
        scores /= typical if typical > 0 else max(float(scores.max()), 1e-30)
    scores = np.minimum(scores, MOST_CHANGE)
    places: list[Place] = []
    around = APART_PX // CELL_PX
    while len(places) < PLACES and scores.max() > 0:
        row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
        x, y = (
            min(int(cell) * CELL_PX + CELL_PX // 2, size - 1)
            for cell, size in ((column, width), (row, height))
        )
        places.append(Place(x, y, float(scores[row, column])))
        scores[max(0, row - around) : row + around + 1, max(0, column - around) : column + around + 1] = 0
    return places or [Place(width // 2, height // 2, 0.0)]


def bands(pixels: Pixels, multiple: int = 1) -> Iterator[tuple[int, Pixels]]:
    """First row and view of bands of about `BAND_PX` pixels, each a multiple of so many rows but the last."""
    height, width = pixels.shape
    rows = max(1, BAND_PX // (width * multiple)) * multiple
    for top in range(0, height, rows):
        yield top, pixels[top : top + rows]


def _parts(pixels: Pixels) -> Iterator[Pixels]:
    return (part for _, part in bands(pixels))


def _finite(part: Pixels) -> Pixels:
    return part if part.dtype.kind == "u" else part[np.isfinite(part)]


def _quantised(means: Means, low: float, high: float) -> npt.NDArray[np.uint8]:
    there = np.isfinite(means)
    steps = np.clip(
        (np.where(there, means, low) - low) * ((NOT_A_NUMBER - 1) / (high - low)), 0, NOT_A_NUMBER - 1
    )
    return np.where(there, np.rint(steps), NOT_A_NUMBER).astype(np.uint8)
