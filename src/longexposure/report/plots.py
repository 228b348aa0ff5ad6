"""Charts as SVG, written by hand: lines, points and maps, readable on white paper and on a screen.

A chart is a text that stands alone as a file and inside an HTML page alike; it asks nothing of any network,
carries no script and no style sheet. Colours differ in lightness too, for those who do not see them apart.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from longexposure.io import png_bytes

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 52, 48
COLOURS = ("#1f5fa8", "#d9772b", "#2b8a5e", "#8a3f8f", "#555555")
MAP_PX = 256
DECADES = 8
"""A logarithmic axis reaches so far down at most."""

Numbers = npt.NDArray[np.float64]
Mark = Literal["line", "dashes", "points", "steps"]


@dataclass(frozen=True, eq=False)
class Series:
    """One curve.

    Attributes:
        name: in the key; empty leaves it out.
        x: (N,) numbers, in order for lines and steps.
        y: (N,); places that are not finite are left out.
        mark: how it is drawn.
        error: (N,) half length of a bar through each point.
    """

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    mark: Mark = "line"
    error: npt.ArrayLike | None = None


@dataclass(frozen=True)
class _Axis:
    """Numbers from `low` to `high` on pixels from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def at(self, values: npt.ArrayLike) -> Numbers:
        numbers = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            numbers = np.log10(np.maximum(numbers, low))
            low, high = math.log10(low), math.log10(high)
        return self.start + (numbers - low) / (high - low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        if self.log:
            exponents = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            every = max(1, math.ceil(len(exponents) / 6))
            return [10.0**exponent for exponent in exponents[::every]]
        step = nice_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    from_zero: bool = False,
) -> str:
    """Curves over one pair of axes.

    Args:
        series: what to draw, the first undermost.
        title: above the chart.
        x_label: with its unit.
        y_label: with its unit.
        log_y: whether the vertical axis is logarithmic; values of 0 and less lie on its lower end.
        from_zero: whether the vertical axis starts at 0.

    Returns:
        The SVG.
    """
    x_axis = _Axis(*_range([part.x for part in series]), LEFT, WIDTH - RIGHT)
    low, high = _range([_reach(part) for part in series], log=log_y, margin=0.06)
    y_axis = _Axis(0.0 if from_zero and not log_y else low, high, HEIGHT - BOTTOM, TOP, log=log_y)
    parts = [_frame(x_axis, y_axis, x_label=x_label, y_label=y_label)]
    parts += [_drawn(part, x_axis, y_axis, COLOURS[i % len(COLOURS)]) for i, part in enumerate(series)]
    parts.append(_key(series))
    return _svg(title, "\n".join(parts), WIDTH, HEIGHT)


def map_chart(
    values: npt.ArrayLike, *, title: str, x_label: str, y_label: str, extent: tuple[float, float], unit: str
) -> str:
    """A square map in grey, white where values are largest, with its scale.

    Args:
        values: (S, S), the first row on top.
        title: above the chart.
        x_label: with its unit.
        y_label: with its unit.
        extent: numbers at the first and the last edge of both axes.
        unit: of the values, beside the scale.

    Returns:
        The SVG.
    """
    numbers = np.asarray(values, dtype=np.float64)
    low, high = (float(mark) for mark in np.percentile(numbers[np.isfinite(numbers)], (0.5, 99.5)))
    grey = np.clip(np.nan_to_num((numbers - low) / max(high - low, 1e-300)) * 255, 0, 255).astype(np.uint8)
    right, below = LEFT + MAP_PX, TOP + MAP_PX
    x_axis = _Axis(*extent, LEFT, right)
    y_axis = _Axis(*extent, TOP, below)
    scale = np.linspace(255, 0, 64).astype(np.uint8)[:, None]
    parts = [
        _picture(grey, LEFT, TOP, MAP_PX, MAP_PX),
        _frame(x_axis, y_axis, x_label=x_label, y_label=y_label, grid=False),
        _picture(scale, right + 24, TOP, 14, MAP_PX),
        f'<rect x="{right + 24}" y="{TOP}" width="14" height="{MAP_PX}" fill="none" stroke="#333"/>',
        _text(right + 44, TOP + 10, short_number(high), anchor="start"),
        _text(right + 44, below, short_number(low), anchor="start"),
        _text(right + 44, TOP + MAP_PX / 2, unit, anchor="start"),
    ]
    return _svg(title, "\n".join(parts), right + 180, below + BOTTOM)


def nice_step(span: float, *, about: int = 6) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a span into about so many parts."""
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * (1 - 1e-9))


def short_number(value: float) -> str:
    """A number as an axis shows it."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _range(
    columns: Sequence[npt.ArrayLike], *, log: bool = False, margin: float = 0.0
) -> tuple[float, float]:
    values = np.concatenate([np.asarray(column, dtype=np.float64).ravel() for column in columns])
    values = values[np.isfinite(values) & ((values > 0) if log else True)]
    if not values.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if log:
        return max(low, high * 10.0**-DECADES) / 1.5, high * 1.5
    if high <= low:
        return low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return low - margin * (high - low), high + margin * (high - low)


def _reach(series: Series) -> Numbers:
    y = np.asarray(series.y, dtype=np.float64)
    if series.error is None:
        return y
    error = np.asarray(series.error, dtype=np.float64)
    return np.concatenate([y - error, y + error])


def _drawn(series: Series, x_axis: _Axis, y_axis: _Axis, colour: str) -> str:
    y = np.asarray(series.y, dtype=np.float64)
    there = np.isfinite(y)
    if y_axis.log and series.mark != "steps":
        there &= y >= y_axis.low
    x_px, y_px = x_axis.at(series.x)[there], y_axis.at(y)[there]
    if series.mark == "points":
        dots = [f'<circle cx="{x:.1f}" cy="{v:.1f}" r="3.2"/>' for x, v in zip(x_px, y_px, strict=True)]
        bars = _bars(series, x_px, there, y_axis)
        return f'<g fill="{colour}" stroke="{colour}">' + "".join([*bars, *dots]) + "</g>"
    places = list(zip(x_px, y_px, strict=True))
    if series.mark == "steps" and places:
        places = _steps(places)
    points = " ".join(f"{x:.1f},{v:.1f}" for x, v in places)
    dashes = ' stroke-dasharray="6 4"' if series.mark == "dashes" else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>'


def _bars(series: Series, x_px: Numbers, there: npt.NDArray[np.bool_], axis: _Axis) -> list[str]:
    if series.error is None:
        return []
    y, error = (np.asarray(part, dtype=np.float64)[there] for part in (series.y, series.error))
    ends = zip(x_px, axis.at(y - error), axis.at(y + error), strict=True)
    return [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>' for x, a, b in ends]


def _steps(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A staircase whose steps lie around the places."""
    edges = [0.5 * (a[0] + b[0]) for a, b in itertools.pairwise(places)]
    corners = []
    for (x, y), before, after in zip(places, [None, *edges], [*edges, None], strict=True):
        corners += [(x if before is None else before, y), (x if after is None else after, y)]
    return corners


def _frame(x_axis: _Axis, y_axis: _Axis, *, x_label: str, y_label: str, grid: bool = True) -> str:
    left, right = x_axis.start, x_axis.stop
    top, bottom = min(y_axis.start, y_axis.stop), max(y_axis.start, y_axis.stop)
    lines, words = [], []
    for tick in x_axis.ticks():
        x = float(x_axis.at(tick))
        lines.append(_line(x, bottom if not grid else top, x, bottom + 4))
        words.append(_text(x, bottom + 17, short_number(tick)))
    for tick in y_axis.ticks():
        y = float(y_axis.at(tick))
        lines.append(_line(left - 4, y, right if grid else left, y))
        words.append(_text(left - 8, y + 4, short_number(tick), anchor="end"))
    middle = 0.5 * (top + bottom)
    turned = f'<text transform="translate(15 {middle:.0f}) rotate(-90)" text-anchor="middle">'
    return "\n".join(
        [
            '<g stroke="#d8d8d8">' + "".join(lines) + "</g>",
            f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" '
            'stroke="#333"/>',
            *words,
            _text(0.5 * (left + right), bottom + 38, x_label),
            f"{turned}{escape(y_label)}</text>",
        ]
    )


def _key(series: Sequence[Series]) -> str:
    """The names of the curves in a line above the chart, where they hide nothing."""
    parts = []
    x, y = float(LEFT), 40.0
    for index, part in enumerate(series):
        if not part.name:
            continue
        colour = COLOURS[index % len(COLOURS)]
        if part.mark == "points":
            parts.append(f'<circle cx="{x + 10:.0f}" cy="{y - 4:.0f}" r="3.2" fill="{colour}"/>')
        else:
            dashes = ' stroke-dasharray="6 4"' if part.mark == "dashes" else ""
            at = f'x1="{x:.0f}" x2="{x + 20:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}"'
            parts.append(f'<line {at} stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(_text(x + 26, y, part.name, anchor="start"))
        x += 42 + 6.6 * len(part.name)
    return "\n".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _picture(grey: npt.NDArray[np.uint8], x: float, y: float, width: float, height: float) -> str:
    data = base64.b64encode(png_bytes(grey)).decode()
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none"'
    return f'<image {place} image-rendering="pixelated" href="data:image/png;base64,{data}"/>'


def _svg(title: str, body: str, width: float, height: float) -> str:
    size: dict[str, Any] = {"w": round(width), "h": round(height)}
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'font-family="system-ui, Segoe UI, Roboto, Arial, sans-serif" font-size="12" fill="#222">'.format(
            **size
        )
        + f"\n<title>{escape(title)}</title>\n"
        + '<rect width="100%" height="100%" fill="#fff"/>\n'
        + f'<text x="{LEFT}" y="20" font-size="14" font-weight="600">{escape(title)}</text>\n{body}\n</svg>\n'
    )
