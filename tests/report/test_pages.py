"""Articles: what is written stands alone and cannot break out."""

from __future__ import annotations

import base64
import hashlib

from longexposure.report.pages import Section, page_html, page_markdown
from longexposure.report.plots import Series, line_chart


def test_what_users_call_their_things_cannot_break_out_of_the_page() -> None:
    evil = "<script>alert(1)</script>"
    svg = line_chart([Series(evil, [0, 1], [0, 1])], title=evil, x_label=evil, y_label=evil)
    page = page_html(evil, [Section(evil, [evil], [{evil: evil}], {"a.svg": svg})])
    assert "<script" not in page
    assert "<script" not in page_markdown(evil, [Section(evil, [evil], [{evil: evil}], {"a.svg": svg})])


def test_charts_are_pictures_with_their_title_in_words() -> None:
    svg = line_chart([Series("a", [0, 1], [0, 1])], title='Noise & "more"', x_label="x", y_label="y")
    page = page_html("t", [Section("s", charts={"a.svg": svg})])
    data = base64.b64encode(svg.encode()).decode()
    assert f'<img src="data:image/svg+xml;base64,{data}" alt="Noise &amp; &#34;more&#34;">' in page
    assert '![Noise & "more"](a.svg)' in page_markdown("t", [Section("s", charts={"a.svg": svg})])


def test_the_style_is_the_one_that_the_policy_lets_in() -> None:
    page = page_html("t", [])
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page


def test_a_table_in_markdown_has_one_line_a_row_and_numbers_to_the_right() -> None:
    rows = [{"name": "a|b", "n": 1.5}, {"name": "c", "n": None}]
    text = page_markdown("t", [Section("s", ["p"], rows)])
    table = ["| name | n |", "| --- | ---: |", "| a\\|b | 1.5 |", "| c | - |"]
    assert text.splitlines() == ["# t", "", "## s", "", "p", "", *table, ""]
