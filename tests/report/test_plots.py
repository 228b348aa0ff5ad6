"""Charts and articles: what is drawn lies where the numbers say, and stands alone."""

from __future__ import annotations

import base64
import io
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from longexposure.report.article import Section, markdown_table, page_html, page_markdown
from longexposure.report.plots import Series, line_chart, map_chart, nice_step, short_number

SVG = "{http://www.w3.org/2000/svg}"


def chart(*series: Series, **options: bool) -> ElementTree.Element:
    text = line_chart(series, title="T & t", x_label="x <px>", y_label="y", **options)
    return ElementTree.fromstring(text)


def points(svg: ElementTree.Element) -> Any:
    line = svg.find(f"{SVG}polyline")
    assert line is not None
    return np.array([[float(n) for n in pair.split(",")] for pair in line.attrib["points"].split()])


def test_a_straight_line_is_drawn_straight_and_upwards() -> None:
    places = points(chart(Series("a", [0, 1, 2, 3], [0, 10, 20, 30])))
    np.testing.assert_allclose(np.diff(places[:, 0]), np.diff(places[:, 0])[0], atol=0.11)
    np.testing.assert_allclose(np.diff(places[:, 1]), np.diff(places[:, 1])[0], atol=0.11)
    assert places[-1, 1] < places[0, 1]


def test_a_power_of_ten_is_a_straight_line_on_a_logarithmic_axis() -> None:
    places = points(chart(Series("a", [0, 1, 2, 3], [1e-3, 1e-2, 1e-1, 1]), log_y=True))
    np.testing.assert_allclose(np.diff(places[:, 1]), np.diff(places[:, 1])[0], atol=0.11)


def test_places_that_are_no_numbers_are_left_out() -> None:
    svg = chart(Series("a", [0, 1, 2], [1.0, np.nan, 3.0], "points"))
    key_and_two = svg.findall(f".//{SVG}circle")
    assert len(key_and_two) == 3


def test_ticks_are_at_round_numbers_that_name_their_place() -> None:
    svg = chart(Series("a", [0, 100], [0, 1]))
    labels = {
        float(text.text): float(text.attrib["x"])
        for text in svg.findall(f"{SVG}text")
        if text.text and re.fullmatch(r"\d+", text.text) and text.attrib["text-anchor"] == "middle"
    }
    assert set(labels) == {0, 20, 40, 60, 80, 100}
    places = points(svg)
    assert (labels[0], labels[100]) == pytest.approx((places[0, 0], places[1, 0]), abs=0.1)


@pytest.mark.parametrize(("span", "step"), [(1, 0.2), (6, 1), (7, 2), (100, 20), (0.03, 0.005)])
def test_steps_are_one_two_or_five_times_a_power_of_ten(span: float, step: float) -> None:
    assert nice_step(span) == pytest.approx(step)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (20000, "20000"), (1.5e6, "1.5e6"), (-2e-5, "-2e-5")]
)
def test_numbers_on_axes_are_short(value: float, text: str) -> None:
    assert short_number(value) == text


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
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    assert grey.shape == (8, 8)
    assert np.all(np.diff(grey.ravel().astype(int)) >= 0)
    assert (grey.min(), grey.max()) == (0, 255)


def test_what_users_call_their_things_cannot_break_out_of_the_page() -> None:
    evil = "<script>alert(1)</script>"
    svg = line_chart([Series(evil, [0, 1], [0, 1])], title=evil, x_label=evil, y_label=evil)
    page = page_html(evil, [Section(evil, [evil], [{evil: evil}], {"a.svg": svg})])
    assert "<script" not in page
    assert "<script" not in page_markdown(evil, [Section(evil, [evil], [{evil: evil}])])


def test_the_style_is_the_one_that_the_policy_lets_in() -> None:
    import hashlib

    page = page_html("t", [])
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page


def test_a_table_in_markdown_has_one_line_a_row_and_numbers_to_the_right() -> None:
    lines = markdown_table([{"name": "a|b", "n": 1.5}, {"name": "c", "n": None}]).splitlines()
    assert lines == ["| name | n |", "| --- | ---: |", "| a\\|b | 1.5 |", "| c | - |"]
