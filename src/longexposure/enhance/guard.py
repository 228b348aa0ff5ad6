"""The guard: places where what was taken away does not look like the noise of the image.

Whatever was erased is in the difference of the original and the enhanced image, and what was drawn that the
data do not carry is there with the other sign. So the difference, in standard deviations of the noise at
each place and freed of the noise's own correlation, is compared with the shapes of small defects: a matched
filter for each, whose response to noise alone is known from the image itself. What is too large for noise is
told as a box. A difference does not say which of the two images is right: the original is what was measured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.enhance.flags import Flag
from longexposure.enhance.statistics import ImageStatistics
from longexposure.radiograph import Pixels

THRESHOLD = 5.5
"""Standard deviations that noise alone reaches less than once a megapixel."""
SHAPES = {
    f"{rows} x {columns}": (rows, columns)
    for rows, columns in ((3, 3), (5, 5), (1, 12), (2, 12), (12, 1), (12, 2))
}
"""Rows and columns of boxes that a defect is compared with."""
SLANTED = {"45": (2, 2), "135": (2, -2), "27": (1, 2), "63": (2, 1), "117": (2, -1), "153": (1, -2)}
"""Strokes at other angles: boxes of 2 x 2, each so many rows and columns on from the one before."""
STEPS = 4
"""So many boxes follow the first one of a stroke."""
REACH = 16
"""No response reaches farther than this, px."""
STRIP_PX, LEAST_ROWS = 1 << 21, 128
"""Pages are looked at in strips of about so many pixels, of so many rows at least, and what is around."""
BAND_ROWS, MOST_BANDS = 96, 16
"""Every response is measured in up to so many bands of so many rows to find what is usual."""
MOST_USUAL = 1.5
"""What is usual in an image is taken for noise up to so many times what its noise gives: in one from which
structure was taken everywhere, that is usual."""
JOINED_PX = 6
"""Places nearer to each other are one."""
MOST_CORRELATION = 0.6
"""More correlation is not undone: the inverse would be noise of its own."""
ROUNDING = 1 / 12

Numbers = npt.NDArray[np.float32]


def flags_of(page: Pixels, enhanced: Pixels, found: ImageStatistics) -> tuple[Flag, ...]:
    """Places of a page where what was taken away is not noise, strongest first.

    Faulty pixels that were filled and areas set aside are no such places. In an image whose noise is not what
    it was found to be, responses are compared with what they are in most places of this image.

    Args:
        page: (H, W) as given.
        enhanced: what became of it, same shape and type.
        found: its statistics.
    """
    if found.noiseless or min(page.shape) < 2 * REACH:
        return ()
    usual = _usual(page, enhanced, found)
    if usual is None:
        return ()
    height, width = page.shape
    rows = max(STRIP_PX // width, LEAST_ROWS)
    beyond = []
    for top in range(0, height, rows):
        low, high = max(top - REACH, 0), min(top + rows + REACH, height)
        white = _whitened(page, enhanced, found, slice(low, high))
        most, least = np.zeros_like(white), np.zeros_like(white)
        for name, response, (row, column) in _responses(white):
            response *= 1 / usual[name]
            part = slice(row, row + len(response)), slice(column, column + response.shape[1])
            np.maximum(most[part], response, out=most[part])
            np.minimum(least[part], response, out=least[part])
        np.copyto(most, least, where=-least > most)
        strongest = most[top - low : min(top + rows, height) - low]
        y, x = np.nonzero(np.abs(strongest) > THRESHOLD)
        beyond.append((y + top, x, strongest[y, x]))
    y, x, values = map(np.concatenate, zip(*beyond, strict=True))
    return _boxes(y, x, values, page.shape)


def _usual(page: Pixels, enhanced: Pixels, found: ImageStatistics) -> dict[str, float] | None:
    """Standard deviation of each response in most places; None where nothing was taken away."""
    samples: dict[str, list[Numbers]] = {}
    height = len(page)
    bands = int(np.clip(height // (2 * BAND_ROWS), 1, MOST_BANDS))
    for band in range(bands):
        middle = (2 * band + 1) * height // (2 * bands)
        rows = slice(max(middle - BAND_ROWS // 2, 0), middle + BAND_ROWS // 2)
        for name, response, _ in _responses(_whitened(page, enhanced, found, rows)):
            samples.setdefault(name, []).append(response[::2, ::2].ravel())
    usual = {name: 1.4826 * float(np.median(np.abs(np.concatenate(each)))) for name, each in samples.items()}
    if min(usual.values()) == 0:
        return None
    told = _of_noise(found)
    return {name: min(each, MOST_USUAL * told[name]) for name, each in usual.items()}


def _of_noise(found: ImageStatistics) -> dict[str, float]:
    """Standard deviation of each response to the noise that the image was found to have."""
    across, down = (_precision(each) for each in (found.noise.corr_x, found.noise.corr_y))
    precision = np.outer(down, across)
    return {name: float(np.sqrt((own * precision).sum())) for name, own in _overlaps().items()}


@functools.cache
def _overlaps() -> dict[str, npt.NDArray[np.float64]]:
    """How much of each shape lies on itself when it is moved by -1, 0 or 1 px along each axis, (3, 3)."""
    side = 4 * REACH
    point = np.zeros((side, side), np.float32)
    point[side // 2, side // 2] = 1
    moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return {
        name: np.array([(shape * np.roll(shape, move, (0, 1))).sum() for move in moves], float).reshape(3, 3)
        for name, shape, _ in _responses(point)
    }


def _precision(correlation: float) -> list[float]:
    """The inverse covariance of noise whose neighbours correlate so, and no more: at -1, 0 and 1 px."""
    lag = float(np.clip(correlation, -MOST_CORRELATION, MOST_CORRELATION))
    return [-lag / (1 - lag**2), (1 + lag**2) / (1 - lag**2), -lag / (1 - lag**2)]


def _whitened(page: Pixels, enhanced: Pixels, found: ImageStatistics, rows: slice) -> Numbers:
    """What was taken away from some rows, in the noise at each place, without the noise's correlation."""
    exact = np.dtype(np.float64 if page.dtype.kind == "f" else np.float32)
    after: npt.NDArray[np.floating] = enhanced[rows].astype(exact)
    taken: npt.NDArray[np.floating] = page[rows].astype(exact) - after
    variance = found.noise.variance(after) + (ROUNDING if page.dtype.kind in "ui" else 0.0)
    taken /= np.sqrt(np.maximum(variance, 1e-300))
    bad = found.bad_pixels.within((rows, slice(0, page.shape[1])))
    taken[bad.y, bad.x] = 0
    if found.aside.mask.count:
        taken[found.aside.mask.within(rows)] = 0
    white = taken.astype(np.float32)
    for axis, correlation in ((1, found.noise.corr_x), (0, found.noise.corr_y)):
        if correlation:
            white = ndimage.correlate1d(white, _precision(correlation), axis)
    return white


def _responses(white: Numbers) -> Iterator[tuple[str, Numbers, tuple[int, int]]]:
    """The sum over each shape wherever it fits, with the row and column of the first one's middle."""
    for name, (rows, columns) in SHAPES.items():
        yield name, _sums(_sums(white, rows, 0), columns, 1), (rows // 2, columns // 2)
    spot = _sums(_sums(white, 2, 0), 2, 1)
    for name, (down, right) in SLANTED.items():
        across = STEPS * abs(right)
        height, width = spot.shape[0] - STEPS * down, spot.shape[1] - across
        total = np.zeros((height, width), np.float32)
        for step in range(STEPS + 1):
            column = step * right if right > 0 else across + step * right
            total += spot[step * down : step * down + height, column : column + width]
        yield name, total, (1 + STEPS * down // 2, 1 + across // 2)


def _sums(values: Numbers, length: int, axis: int) -> Numbers:
    """Sums of so many neighbours along an axis, wherever they fit: of twice as many from those of half."""
    along = np.moveaxis(values, axis, 0)
    sums = along
    for bit in bin(length)[3:]:
        half = len(along) - len(sums) + 1
        sums = sums[:-half] + sums[half:]
        if bit == "1":
            sums = sums[:-1] + along[2 * half :]
    return np.moveaxis(sums, 0, axis)


def _boxes(
    y: npt.NDArray[np.intp], x: npt.NDArray[np.intp], values: Numbers, shape: tuple[int, ...]
) -> tuple[Flag, ...]:
    """Boxes around pixels (N,) with these responses, strongest first."""
    if not len(y):
        return ()
    near = np.zeros(tuple(-(-side // JOINED_PX) for side in shape), bool)
    near[y // JOINED_PX, x // JOINED_PX] = True
    labels, _ = ndimage.label(near, np.ones((3, 3)))
    label = labels[y // JOINED_PX, x // JOINED_PX]
    flags = []
    order = np.argsort(label, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        rows, columns = y[part], x[part]
        most = float(values[part][np.argmax(np.abs(values[part]))])
        flags.append(
            Flag(
                y=int(rows.min()),
                x=int(columns.min()),
                height=int(np.ptp(rows)) + 1,
                width=int(np.ptp(columns)) + 1,
                deviations=abs(most),
                data="brighter" if most > 0 else "darker",
            )
        )
    return tuple(sorted(flags, key=lambda flag: -flag.deviations))
