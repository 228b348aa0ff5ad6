"""Articles: text, tables and charts as one self-contained HTML page, and the same as Markdown.

The page asks nothing of any network and runs no script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib import metadata, resources
from string import Template
from typing import Any

from longexposure.format import shown


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it.

    Attributes:
        title: the heading.
        paragraphs: plain text.
        rows: a table, one row each; the titles of the columns are the keys.
        charts: SVG by the file name under which it lies beside the article.
    """

    title: str
    paragraphs: Sequence[str] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    charts: Mapping[str, str] = field(default_factory=dict)


def page_html(title: str, sections: Sequence[Section]) -> str:
    """The article as one HTML page with its charts inside."""
    frame, style = (_asset(f"article.{kind}") for kind in ("html", "css"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Template(frame).substitute(
        title=escape(title),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        version=metadata.version("longexposure"),
        style=style,
        style_hash=f"sha256-{digest}",
        body="\n".join(_section_html(section) for section in sections),
    )


def page_markdown(title: str, sections: Sequence[Section]) -> str:
    """The article as Markdown that shows the charts beside it."""
    parts = [f"# {_plain(title)}", ""]
    for section in sections:
        parts += [f"## {_plain(section.title)}", ""]
        parts += [line for text in section.paragraphs for line in (_plain(text), "")]
        parts += [markdown_table(section.rows), ""] if section.rows else []
        for name, svg in section.charts.items():
            parts += [f"![{_plain(_title_of(svg))}]({name})", ""]
    return "\n".join(parts)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown; numbers to the right, with four digits that count."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    right = [any(isinstance(row.get(title), int | float) for row in rows) for title in titles]
    lines = [
        titles,
        ["---:" if numeric else "---" for numeric in right],
        *([shown(row.get(title)) for title in titles] for row in rows),
    ]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _section_html(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    if section.rows:
        parts.append(_table_html(section.rows))
    if section.charts:
        figures = (f'<figure id="{escape(name)}">{svg}</figure>' for name, svg in section.charts.items())
        parts.append(f'<div class="charts">{"".join(figures)}</div>')
    return "\n".join([*parts, "</section>"])


def _table_html(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = list(dict.fromkeys(title for row in rows for title in row))
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    lines = []
    for row in rows:
        cells = (
            f"<td{' class=number' if isinstance(row.get(title), int | float) else ''}>"
            f"{escape(shown(row.get(title)))}</td>"
            for title in titles
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "".join(lines)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, in one line."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _title_of(svg: str) -> str:
    return svg.partition("<title>")[2].partition("</title>")[0]


def _asset(name: str) -> str:
    return (resources.files("longexposure.report") / "assets" / name).read_text(encoding="utf-8")
