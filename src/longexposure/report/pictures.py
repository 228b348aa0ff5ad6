"""Pictures for eyes only: regions of real pixels side by side, with their names above."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from longexposure.radiograph import Pixels

Window = tuple[slice, slice]

GAP_PX, LABEL_PX = 6, 18
WINDOW = (0.5, 99.5)
"""Percentiles of the reference between which a region is shown."""


def detailed_region(image: Pixels, side: int) -> Window:
    """The square of an image with the most detail: the strongest mean gradient, no edge counted as more
    than nineteen in twenty others.

    Args:
        image: (H, W), as free of noise as there is one.
        side: of the square; a smaller image is taken whole.
    """
    height, width = image.shape
    if height <= side or width <= side:
        return slice(0, min(side, height)), slice(0, min(side, width))
    gradient = gaussian_gradient_magnitude(image.astype(np.float32), 2.0)
    sums = np.pad(np.minimum(gradient, np.percentile(gradient, 95)), ((1, 0), (1, 0))).astype(np.float64)
    sums = sums.cumsum(axis=0).cumsum(axis=1)
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(np.argmax(total)), total.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)


def windowed(image: Pixels, low: float, high: float, *, zoom: int = 1) -> npt.NDArray[np.uint8]:
    """The grey values from `low` to `high` as 0 to 255, uint8; pixels are repeated, never smoothed."""
    grey = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    return np.rint(255 * grey).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)


def joined(images: Iterable[npt.NDArray[np.uint8]], *, axis: int) -> npt.NDArray[np.uint8]:
    """Images side by side (axis 1, one height) or one below the other (axis 0, one width), white between."""
    parts: list[npt.NDArray[np.uint8]] = []
    for image in images:
        shape = (GAP_PX, image.shape[1]) if axis == 0 else (image.shape[0], GAP_PX)
        parts += [np.full(shape, 255, np.uint8), image]
    return np.concatenate(parts[1:], axis=axis)


def strip(
    images: Mapping[str, Pixels], *, reference: Pixels, columns: int = 5, zoom: int = 2
) -> npt.NDArray[np.uint8]:
    """Regions side by side with their names above, windowed by one of them, every pixel `zoom` px wide.

    Args:
        images: region by name, all of one shape (H, W).
        reference: the region whose percentiles are black and white; smoothed a little, so that its noise
            does not widen the window.
        columns: regions in a row.
        zoom: whole number; pixels are repeated, never smoothed.

    Returns:
        (H, W) uint8.
    """
    low, high = np.percentile(gaussian_filter(reference.astype(np.float64), 1.0), WINDOW)
    margin = 0.05 * max(high - low, 1.0)
    low, high = low - margin, high + margin
    tiles = []
    for name, image in images.items():
        shown = windowed(image, low, high, zoom=zoom)
        label = Image.new("L", (shown.shape[1], LABEL_PX), 255)
        ImageDraw.Draw(label).text((2, 3), name, fill=0, font=ImageFont.load_default())
        tile = np.vstack([np.asarray(label), shown])
        tiles.append(np.pad(tile, ((0, GAP_PX), (0, GAP_PX)), constant_values=255))
    blank = np.full_like(tiles[0], 255)
    rows = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        row += [blank] * (min(columns, len(tiles)) - len(row))
        rows.append(np.hstack(row))
    return np.vstack(rows)
