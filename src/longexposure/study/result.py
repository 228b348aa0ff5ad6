"""What a study found: statements, tables, figures and every number; as JSON, Markdown and a page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Any

from longexposure.format import finite
from longexposure.io import write_whole
from longexposure.study.workbench import StudyRun

FIGURES = "figures"
PAGE = "index.html"


@dataclass(frozen=True)
class Table:
    """A table as it is shown; the numbers behind it are in `StudyResult.results`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture; `name` ends in .png or .svg."""

    name: str
    caption: str
    content: bytes


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study found.

    Attributes:
        name: as the command line has it.
        title: of its section.
        question: what was done and why, in a few sentences.
        statements: what the numbers say, computed from them.
        tables: as shown.
        figures: as shown.
        results: every number, as JSON takes it.
        trainings: what was trained for it.
        limits: what was not measured, or only in part.
        data: what it was trained and tested on.
    """

    name: str
    title: str
    question: str
    statements: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    results: Mapping[str, Any]
    trainings: Sequence[StudyRun] = ()
    limits: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def as_document(result: StudyResult, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a study, from which its Markdown and its section of the page are made."""
    document = {
        "study": result.name,
        "title": result.title,
        "question": result.question,
        "statements": list(result.statements),
        "limits": list(result.limits),
        "tables": [asdict(table) for table in result.tables],
        "figures": [
            {"file": f"{FIGURES}/{figure.name}", "caption": figure.caption} for figure in result.figures
        ],
        "results": result.results,
        "data": result.data,
        "trainings": [dict(run.facts) for run in result.trainings],
        **setting,
    }
    return finite(document)


def write(result: StudyResult, out: Path, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Write `out/<study>.json`, `out/<study>.md` and the figures; earlier ones of the study are replaced.

    Raises:
        OutputError: a file cannot be written.
    """
    document = as_document(result, setting)
    for figure in result.figures:
        write_whole(out / FIGURES / figure.name, figure.content, overwrite=True, parents=True)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_whole(out / f"{result.name}.json", text.encode(), overwrite=True, parents=True)
    write_whole(out / f"{result.name}.md", markdown(document).encode(), overwrite=True, parents=True)
    return document


def markdown(document: Mapping[str, Any], *, figures: bool = True, level: int = 1) -> str:
    """A study as Markdown, from its JSON.

    Args:
        document: what `write` wrote as JSON.
        figures: whether to link the figures.
        level: of the heading.
    """
    parts = [f"{'#' * level} {document['title']}", document["question"]]
    parts.append("\n".join(f"- {line}" for line in document["statements"]))
    for table in document["tables"]:
        head = "| " + " | ".join(table["columns"]) + " |"
        rule = "|" + "|".join("---" for _ in table["columns"]) + "|"
        rows = ["| " + " | ".join(row) + " |" for row in table["rows"]]
        parts.append(f"{'#' * (level + 1)} {table['title']}\n\n" + "\n".join([head, rule, *rows]))
        if table["note"]:
            parts.append(table["note"])
    if figures:
        parts += [f"![{figure['caption']}]({figure['file']})" for figure in document["figures"]]
    parts.append("Not measured, or only in part:\n\n" + "\n".join(f"- {line}" for line in limits(document)))
    parts.append(provenance(document))
    return "\n\n".join(part for part in parts if part) + "\n"


def limits(document: Mapping[str, Any]) -> list[str]:
    """What was not measured, with what the budget took away."""
    reduced = document.get("reduced") or []
    lines = list(document["limits"])
    if reduced:
        name = document["budget"]["name"]
        lines.append(f"Budget {name}, smaller than the paper's schedule: {'; '.join(reduced)}.")
    return lines


def provenance(document: Mapping[str, Any]) -> str:
    """Host, versions, commit and time, in a line."""
    at = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in at["versions"].items())
    where = at["gpu"] if at["gpu"] and document["device"] != "cpu" else at["processor"]
    seconds = sum(run["seconds"] for run in document["trainings"])
    return (
        f"{len(document['trainings'])} trainings of {seconds / 60:.1f} minutes in all, budget "
        f"{document['budget']['name']}; {where}, {at['threads']} threads of {at['cores']} cores; {versions}; "
        f"commit {(at['commit'] or 'unknown')[:10]}; written {document['written']}. Every number with the "
        f"hash of its training: {document['study']}.json."
    )


def write_page(documents: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write `out/index.html`: all studies on one page that asks nothing of any network.

    Raises:
        OutputError: it cannot be written.
    """
    style = _asset("article.css") + _asset("study.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    links = "".join(
        f'<li><a href="#{escape(study["study"])}">{escape(study["title"])}</a></li>' for study in documents
    )
    sections = "\n".join(_section(study, out) for study in documents)
    page = Template(_asset("article.html")).substitute(
        title="The paper's experiments",
        version=metadata.version("longexposure"),
        date=escape(str(documents[-1]["written"])),
        style=style,
        style_hash=f"sha256-{digest}",
        body=f'<nav aria-label="Studies"><ul>{links}</ul></nav>\n{sections}',
    )
    write_whole(out / PAGE, page.encode(), overwrite=True, parents=True)
    return out / PAGE


def _section(document: Mapping[str, Any], out: Path) -> str:
    parts = [
        f"<h2>{escape(document['title'])}</h2>",
        f"<p>{escape(document['question'].replace('`', ''))}</p>",
    ]
    parts.append(_list(document["statements"], "statements"))
    for table in document["tables"]:
        parts.append(_table(table))
    for suffix, kind in ((".svg", "charts"), (".png", "pictures")):
        there = [figure for figure in document["figures"] if figure["file"].endswith(suffix)]
        figures = "".join(_figure(figure, out) for figure in there)
        parts.append(f'<div class="{kind}">{figures}</div>')
    parts.append("<h3>Not measured, or only in part</h3>" + _list(limits(document), "limits"))
    parts.append(f'<p class="remark">{escape(provenance(document))}</p>')
    return f'<section id="{escape(document["study"])}">' + "\n".join(parts) + "</section>"


def _figure(figure: Mapping[str, Any], out: Path) -> str:
    """A figure with its file inside."""
    content = base64.b64encode((out / figure["file"]).read_bytes()).decode()
    kind = "svg+xml" if figure["file"].endswith(".svg") else "png"
    caption = escape(figure["caption"])
    image = f'<img src="data:image/{kind};base64,{content}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _list(lines: Sequence[str], kind: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>'


def _table(table: Mapping[str, Any]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table["columns"])
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in table["rows"]
    )
    note = f'<p class="remark">{escape(table["note"])}</p>' if table["note"] else ""
    return (
        f'<h3>{escape(table["title"])}</h3><div class="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def _asset(name: str) -> str:
    return (resources.files("longexposure.report") / "assets" / name).read_text(encoding="utf-8")
