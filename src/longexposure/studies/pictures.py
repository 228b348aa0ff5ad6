"""Figures of the studies: regions of real pixels side by side as PNG, numbers as small SVG plots."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from longexposure.radiograph import Pixels

Window = tuple[slice, slice]

GAP_PX, LABEL_PX = 6, 18
WINDOW = (0.5, 99.5)
"""Percentiles of the reference between which a region is shown."""
COLOURS = ("#4878a8", "#c8702c", "#4f8f4f", "#a04878", "#806850", "#606060")


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
    tiles = [_tile(image, name, low - margin, high + margin, zoom) for name, image in images.items()]
    blank = np.full_like(tiles[0], 255)
    rows = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        row += [blank] * (min(columns, len(tiles)) - len(row))
        rows.append(np.hstack(row))
    return np.vstack(rows)


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """An 8-bit picture as the bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return file.getvalue()


def dots(
    rows: Mapping[str, Mapping[str, tuple[float, float | None]]],
    *,
    unit: str,
    mark: Mapping[str, float] | None = None,
) -> str:
    """A dot plot as SVG: one line a row, one colour a series, a bar for the spread.

    Args:
        rows: name of the row to series to (value, spread or None).
        unit: what the axis shows.
        mark: named values that a thin line marks across all rows.
    """
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    values = [v + sign * (s or 0) for row in rows.values() for v, s in row.values() for sign in (-1, 1)]
    values += list((mark or {}).values())
    low, high, ticks = _axis(min(values), max(values))
    left, right, line, top = 190, 20, 26, 26 + 16 * -(-len(series) // 4)
    width, height = 720, top + line * len(rows) + 40

    def x(value: float) -> float:
        return round(left + (width - left - right) * (value - low) / (high - low), 1)

    parts = [_frame(ticks, x, top=top, bottom=height - 36, unit=unit, width=width, height=height)]
    for name, value in (mark or {}).items():
        parts.append(_line(x(value), top - 4, x(value), height - 36, "#b04040", dash="4 3"))
        parts.append(_text(x(value), top - 6, name, anchor="middle"))
    for number, name in enumerate(series):
        at = left + 130 * (number % 4)
        parts.append(_dot(at, 12 + 16 * (number // 4), number))
        parts.append(_text(at + 8, 16 + 16 * (number // 4), name))
    for place, (name, row) in enumerate(rows.items()):
        y = top + line * (place + 0.5)
        parts.append(_text(left - 10, y + 4, name, anchor="end"))
        for value_name, (value, spread) in row.items():
            which = series.index(value_name)
            down = y + 3.0 * (which - (len(series) - 1) / 2)
            if spread:
                parts.append(
                    _line(x(value - spread), down, x(value + spread), down, COLOURS[which % len(COLOURS)])
                )
            parts.append(_dot(x(value), down, which))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="system-ui, sans-serif" font-size="12">' + "".join(parts) + "</svg>\n"
    )


def _tile(image: Pixels, name: str, low: float, high: float, zoom: int) -> npt.NDArray[np.uint8]:
    grey = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    shown = np.kron(np.rint(255 * grey).astype(np.uint8), np.ones((zoom, zoom), np.uint8))
    label = Image.new("L", (shown.shape[1], LABEL_PX), 255)
    ImageDraw.Draw(label).text((2, 3), name, fill=0, font=ImageFont.load_default())
    tile = np.vstack([np.asarray(label), shown])
    return np.pad(tile, ((0, GAP_PX), (0, GAP_PX)), constant_values=255)


def _axis(low: float, high: float) -> tuple[float, float, Sequence[float]]:
    """Ends and round marks of an axis that holds both values."""
    span = max(high - low, 1e-6 * max(abs(high), 1.0))
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return first * step, last * step, [number * step for number in range(first, last + 1)]


def _frame(
    ticks: Sequence[float],
    x: Callable[[float], float],
    *,
    top: int,
    bottom: int,
    unit: str,
    width: int,
    height: int,
) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    parts = [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for tick in ticks:
        parts.append(_line(x(tick), top, x(tick), bottom, "#dddddd"))
        parts.append(_text(x(tick), bottom + 14, f"{tick:.{digits}f}", anchor="middle"))
    parts.append(_text((x(ticks[0]) + x(ticks[-1])) / 2, bottom + 30, unit, anchor="middle"))
    return "".join(parts)


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, *, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{colour}"{dashes}/>'


def _dot(x: float, y: float, number: int) -> str:
    return f'<circle cx="{x}" cy="{y}" r="3.5" fill="{COLOURS[number % len(COLOURS)]}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="#222222" text-anchor="{anchor}">{escape(text)}</text>'
