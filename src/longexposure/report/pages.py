"""Pages from templates: all that is written as HTML or Markdown, from the files in `assets`.

In HTML every value is escaped by itself. A page carries its style, pictures and script inside, lets in these
alone by their hashes, and asks nothing of any network. Charts are pictures in it: the style attributes that
matplotlib writes would not pass a policy by hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata, resources
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

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
    return TEMPLATES.get_template("article.html").render(title=title, sections=sections)


def page_markdown(title: str, sections: Sequence[Section]) -> str:
    """The article as Markdown that shows the charts beside it."""
    return TEMPLATES.get_template("article.md.j2").render(title=title, sections=sections)


def asset(name: str) -> Markup:
    """The text of a file in `assets`, which stands in a page as it is."""
    text = (resources.files("longexposure.report") / "assets" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 (our own file)


def csp_hash(text: str) -> str:
    """The source expression that lets a Content-Security-Policy accept exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """The titles of a table in order, and whether numbers stand under them."""
    titles = dict.fromkeys(title for row in rows for title in row)
    return {title: any(isinstance(row.get(title), int | float) for row in rows) for title in titles}


def plain(text: str) -> str:
    """Text that Markdown takes as it is, in one line."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def title_of(svg: str) -> str:
    return ElementTree.fromstring(svg).findtext("{http://www.w3.org/2000/svg}title", "")  # noqa: S314 (ours)


def data_uri(content: str | bytes, kind: str) -> str:
    data = content.encode(errors="replace") if isinstance(content, str) else content
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


TEMPLATES = Environment(
    loader=PackageLoader("longexposure.report", "assets"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
"""The templates in `assets`; a value that one names and is not given is an error."""
TEMPLATES.globals |= {
    "asset": asset,
    "now": lambda: datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
    "version": metadata.version("longexposure"),
}
TEMPLATES.filters |= {
    "columns": columns,
    "csp_hash": csp_hash,
    "data_uri": data_uri,
    "plain": plain,
    "shown": shown,
    "title_of": title_of,
}
