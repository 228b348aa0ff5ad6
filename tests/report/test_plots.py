"""Charts: what is drawn lies where the numbers say, equal numbers give equal bytes."""

from __future__ import annotations

import base64
import io
import re
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from longexposure.errors import ResourceError
from longexposure.report.plots import Series, dot_chart, line_chart, map_chart

SVG = "{http://www.w3.org/2000/svg}"


def chart(*series: Series, **options: bool) -> ElementTree.Element:
    text = line_chart(series, title="T & t", x_label="x <px>", y_label="y", **options)
    return ElementTree.fromstring(text)


def group(svg: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(node for node in svg.iter(f"{SVG}g") if node.get("id") == name)


def points(svg: ElementTree.Element, name: str = "series-0") -> Any:
    path = group(svg, name).find(f"{SVG}path")
    assert path is not None
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path.attrib["d"]), dtype=float)


def dots(svg: ElementTree.Element, name: str = "series-0") -> Any:
    found = group(svg, name).iter(f"{SVG}use")
    return np.array([[float(dot.attrib[axis]) for axis in ("x", "y")] for dot in found])


def test_a_straight_line_is_drawn_straight_and_upwards() -> None:
    steps = np.diff(points(chart(Series("a", [0, 1, 2, 3], [0, 10, 20, 30]))), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], (3, 2)), atol=0.01)
    assert steps[0, 0] > 0 > steps[0, 1]


def test_a_power_of_ten_is_a_straight_line_on_a_logarithmic_axis() -> None:
    svg = chart(Series("a", [0, 1, 2, 3], [1e-3, 1e-2, 1e-1, 1]), log_y=True)
    steps = np.diff(points(svg), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], (3, 2)), atol=0.01)
    assert {"0.001", "0.01", "0.1", "1"} <= {text.text for text in svg.iter(f"{SVG}text")}


def test_places_that_are_no_numbers_are_left_out() -> None:
    assert len(dots(chart(Series("a", [0, 1, 2], [1.0, np.nan, 3.0], "points")))) == 2


def test_ticks_name_their_place() -> None:
    svg = chart(Series("a", [0, 100], [0, 1]))
    labels = {
        float(text.text or ""): float(text.attrib["x"])
        for tick in svg.iter(f"{SVG}g")
        if tick.get("id", "").startswith("xtick")
        for text in tick.iter(f"{SVG}text")
    }
    assert {0, 20, 40, 60, 80, 100} <= set(labels)
    places = points(svg)
    assert (labels[0], labels[100]) == pytest.approx((places[0, 0], places[1, 0]), abs=0.1)


@pytest.mark.parametrize("y", [[5.0, 5.0], [np.nan, np.nan], [0.0, 0.0]])
@pytest.mark.parametrize("log_y", [False, True])
def test_values_all_alike_or_none_still_give_a_chart(y: list[float], log_y: bool) -> None:
    chart(Series("a", [0, 1], y), log_y=log_y)
    chart(Series("a", [1, 1], y, "steps"), log_y=log_y)


def test_a_map_carries_its_values_as_a_picture() -> None:
    values = np.arange(64.0).reshape(8, 8)
    text = map_chart(values, title="m", x_label="x", y_label="y", extent=(-0.5, 0.5), unit="u")
    ElementTree.fromstring(text)
    found = re.search(r"data:image/png;base64,([^\"]+)", text)
    assert found is not None
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("L"))
    assert grey.shape == (8, 8)
    assert np.all(np.diff(grey.ravel().astype(int)) >= 0)
    assert (grey.min(), grey.max()) == (0, 255)


def test_dots_lie_in_the_line_of_their_row_at_their_value() -> None:
    rows = {"a < b": {"x": (1.0, 0.5), "y": (2.0, None)}, "c": {"x": (-3.0, 0.0)}}
    svg = ElementTree.fromstring(dot_chart(rows, unit="dB", marks={"limit": 0.0}))
    (first, last), (other,) = dots(svg, "series-0"), dots(svg, "series-1")
    assert (other[0] - first[0]) / (first[0] - last[0]) == pytest.approx(1 / 4)
    assert abs(other[1] - first[1]) < abs(last[1] - first[1]) / 2
    assert {"a < b", "c", "x", "y", "dB", "limit"} <= {text.text for text in svg.iter(f"{SVG}text")}


@pytest.mark.parametrize("name", ["$x", "$\\frac$", "\u6f22", "a\x01\udcff"])
def test_a_name_is_shown_as_it_is_whatever_is_in_it(name: str) -> None:
    text = line_chart([Series(name, [0, 1], [0, 1])], title=name, x_label=name, y_label=name)
    shown = [node.text for node in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert shown.count(name if name.isprintable() else "a\\x01\\udcff") == 4


def test_equal_numbers_give_equal_bytes() -> None:
    series = [Series("a", [0, 1, 2], [1, 3, 2], "points", error=[0.1, 0.2, 0.3])]
    first, second = (line_chart(series, title="t", x_label="x", y_label="y") for _ in range(2))
    assert first == second


def test_charts_without_matplotlib_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ResourceError, match=r"pip install 'longexposure\[plots\]'"):
        chart(Series("a", [0, 1], [0, 1]))
