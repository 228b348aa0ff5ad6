"""Figures of the studies: numbers as small SVG plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

COLOURS = ("#4878a8", "#c8702c", "#4f8f4f", "#a04878", "#806850", "#606060")


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
