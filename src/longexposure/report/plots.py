"""Charts as SVG, drawn by matplotlib: lines, points, maps and dot plots for screen and paper.

A chart is text that asks nothing of any network and follows from its numbers alone: no date, nothing random.
Letters stay text. Colours differ in lightness too, for those who do not see them apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from longexposure.format import printable
from longexposure.system import kept_private, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer

PX_AN_INCH = 96
COLOURS = ("#1f5fa8", "#d9772b", "#2b8a5e", "#8a3f8f", "#806850", "#555555")
DECADES = 8
"""A logarithmic axis reaches so far down at most."""

_MARKS: dict[str, dict[str, Any]] = {
    "line": {},
    "dashes": {"linestyle": "--"},
    "points": {"linestyle": "none", "marker": "o"},
    "steps": {"drawstyle": "steps-mid"},
}


@dataclass(frozen=True, eq=False)
class Series:
    """One curve.

    Attributes:
        name: in the key; empty leaves it out.
        x: (N,) numbers, in order for lines and steps.
        y: (N,); places that are not finite are left out.
        mark: how it is drawn.
        error: (N,) half length of a bar through each point.
        band: lower and upper edge (N,) of an area in the curve's colour.
    """

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    mark: Literal["line", "dashes", "points", "steps"] = "line"
    error: npt.ArrayLike | None = None
    band: tuple[npt.ArrayLike, npt.ArrayLike] | None = None


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    from_zero: bool = False,
) -> str:
    """Curves over one pair of axes.

    Args:
        series: what to draw, the first undermost.
        title: above the chart.
        x_label: with its unit.
        y_label: with its unit.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical axis is logarithmic; values of 0 and less lie below its lower end.
        from_zero: whether the vertical axis starts at 0, unless it is logarithmic.

    Returns:
        The SVG; the group of a curve is called series-0, series-1 and so on.

    Raises:
        ResourceError: matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        for number, part in enumerate(series):
            y = np.asarray(part.y, dtype=np.float64)
            there = np.isfinite(y)
            error = None if part.error is None else np.asarray(part.error, dtype=np.float64)[there]
            bars = axes.errorbar(np.asarray(part.x)[there], y[there], yerr=error, **_MARKS[part.mark])
            _named(bars, number, part.name)
            if part.band is not None:
                bottom, top = (np.asarray(edge, dtype=np.float64)[there] for edge in part.band)
                colour = bars.lines[0].get_color()
                axes.fill_between(
                    np.asarray(part.x)[there], bottom, top, color=colour, alpha=0.15, linewidth=0
                )
        if log_x:
            axes.set_xscale("log")
            first, last = axes.get_xlim()
            decades = range(int(np.floor(np.log10(first))), int(np.ceil(np.log10(last))) + 1)
            axes.set_xticks([t for d in decades for s in (1, 2, 5) if first <= (t := s * 10.0**d) <= last])
            axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set(xlabel=printable(x_label), ylabel=printable(y_label))
        if log_y:
            values = np.concatenate([np.asarray(part.y, dtype=np.float64).ravel() for part in series])
            values = values[np.isfinite(values) & (values > 0)]
            high = float(values.max(initial=0)) or 1.0
            low = max(float(values.min(initial=high)), high * 10.0**-DECADES)
            axes.set_ylim(low / 1.5, high * 1.5)
            axes.set_yscale("log", nonpositive="clip")
            axes.minorticks_off()
        elif from_zero:
            axes.set_ylim(bottom=0)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")

    return _svg(draw, title, 560, 340)


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

    Raises:
        ResourceError: matplotlib is not installed.
    """
    numbers = np.asarray(values, dtype=np.float64)
    low, high = np.percentile(numbers[np.isfinite(numbers)], (0.5, 99.5))

    def draw(axes: Axes) -> None:
        first, last = extent
        edges = (first, last, last, first)
        image = axes.imshow(numbers, cmap="gray", vmin=low, vmax=high, extent=edges, interpolation="none")
        axes.grid(visible=False)
        axes.set(xlabel=printable(x_label), ylabel=printable(y_label))
        scale = axes.figure.colorbar(image, ax=axes, label=printable(unit))
        for part in scale.ax.collections:  # else 256 shapes
            part.set_rasterized(True)

    return _svg(draw, title, 440, 340)


def dot_chart(
    rows: Mapping[str, Mapping[str, tuple[float, float | None]]],
    *,
    unit: str,
    marks: Mapping[str, float] | None = None,
) -> str:
    """A dot plot: a line for each row, a colour for each series, a bar for the spread.

    Args:
        rows: name of the row to series to (value, spread or None).
        unit: what the axis shows.
        marks: named values that a dashed line marks across all rows.

    Returns:
        The SVG; the group of a series is called series-0, series-1 and so on.

    Raises:
        ResourceError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))

    def draw(axes: Axes) -> None:
        for number, name in enumerate(names):
            shift = 0.12 * (number - (len(names) - 1) / 2)
            there = [(place + shift, *row[name]) for place, row in enumerate(rows.values()) if name in row]
            places, values, spreads = zip(*there, strict=True)
            error = [spread or 0.0 for spread in spreads]
            _named(axes.errorbar(values, places, xerr=error, **_MARKS["points"]), number, name)
        for name, value in (marks or {}).items():
            axes.axvline(value, color="#b04040", linestyle="--", linewidth=1, label=printable(name))
        axes.set_yticks(range(len(rows)), labels=[printable(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(printable(unit))

    return _svg(draw, "", 720, 110 + 28 * len(rows))


def _named(drawn: ErrorbarContainer, number: int, name: str) -> None:
    """Group and key of a series, its bars left out of both."""
    curve = drawn.lines[0]
    curve.set_gid(f"series-{number}")
    curve.set_label(printable(name) if name else "_")
    drawn.set_label("_")


def _svg(draw: Callable[[Axes], None], title: str, width_px: int, height_px: int) -> str:
    """What `draw` draws, with title and key above it, where they hide nothing."""
    require("matplotlib", where="charts")
    with kept_private():
        from cycler import cycler
        from matplotlib import style
        from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "longexposure",
        "text.parse_math": False,  # a dollar in a name is a dollar
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
        "font.size": 9,
        "axes.axisbelow": True,
        "axes.edgecolor": "#333333",
        "axes.grid": True,
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.xmargin": 0.02,
        "grid.color": "#d8d8d8",
        "lines.markersize": 4.5,
    }
    file = io.StringIO()
    with style.context(settings, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # which the viewer's font may have
        figure = Figure((width_px / PX_AN_INCH, height_px / PX_AN_INCH), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            above = (0, 1)
            widest = max(map(len, labels)) * 7 + 40  # px
            columns = max(1, min(4, (width_px - 60) // widest))
            axes.legend(handles, labels, loc="lower left", bbox_to_anchor=above, ncols=columns, frameon=False)
        if title:
            figure.suptitle(printable(title), x=0.02, ha="left", fontsize=10.5, fontweight="bold")
        figure.savefig(
            file, format="svg", metadata={"Title": printable(title), "Date": None, "Creator": None}
        )
    return file.getvalue()
