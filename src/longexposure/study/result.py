"""What a study found: statements, tables, figures and every number; as JSON, Markdown and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longexposure.format import finite
from longexposure.io import write_whole
from longexposure.report.pages import TEMPLATES
from longexposure.study.workbench import StudyRun

FIGURES = "figures"
PAGE = "index.html"


@dataclass(frozen=True)
class Table:
    """A table as it is shown, a cell by its column; the numbers behind it are in `StudyResult.results`."""

    title: str
    rows: Sequence[Mapping[str, str]]
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
        trained: what was trained for it, all random starts by the name of the setting.
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
    trained: Mapping[str, Sequence[StudyRun]] = field(default_factory=dict)
    limits: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def as_document(result: StudyResult, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a study, from which its Markdown and its section of the page are made."""
    hashes = {name: [run.key for run in runs] for name, runs in result.trained.items()}
    document: dict[str, Any] = finite(
        {
            "study": result.name,
            "title": result.title,
            "question": result.question,
            "statements": result.statements,
            "limits": result.limits,
            "tables": [
                {
                    "title": table.title,
                    "columns": list(table.rows[0]),
                    "rows": [list(row.values()) for row in table.rows],
                    "note": table.note,
                }
                for table in result.tables
            ],
            "figures": [
                {"file": f"{FIGURES}/{figure.name}", "caption": figure.caption} for figure in result.figures
            ],
            "results": {**result.results, **({"hashes": hashes} if hashes else {})},
            "data": result.data,
            "trainings": [run.facts for runs in result.trained.values() for run in runs],
            **setting,
        }
    )
    return document


def write(result: StudyResult, out: Path, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Write `out/<study>.json`, `out/<study>.md` and the figures; earlier ones of the study are replaced.

    Returns:
        The JSON.

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


def markdown(document: Mapping[str, Any], *, level: int = 1) -> str:
    """A study as Markdown that links its figures, from its JSON; `level` is that of its heading."""
    text = TEMPLATES.get_template("study.md.j2")
    return text.render(document=document, level=level, limits=limits, provenance=provenance)


def write_page(documents: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write `out/index.html`: all studies on one page that asks nothing of any network.

    Raises:
        OutputError: it cannot be written.
    """
    page = TEMPLATES.get_template("study.html").render(
        studies=documents,
        content=lambda name: (out / name).read_bytes(),
        limits=limits,
        provenance=provenance,
    )
    write_whole(out / PAGE, page.encode(), overwrite=True, parents=True)
    return out / PAGE


def limits(document: Mapping[str, Any]) -> list[str]:
    """What was not measured, with what the budget took away."""
    lines = list(document["limits"])
    if document.get("reduced"):
        reduced = "; ".join(document["reduced"])
        lines.append(f"Budget {document['budget']['name']}, smaller than the paper's schedule: {reduced}.")
    return lines


def provenance(document: Mapping[str, Any]) -> str:
    """Host, versions, commit and time, in a line."""
    at = document["host"]
    versions = ", ".join(f"{name} {number}" for name, number in at["versions"].items())
    where = at["gpu"] if at["gpu"] and document["device"] != "cpu" else at["processor"]
    seconds = sum(run["seconds"] for run in document["trainings"])
    return (
        f"{len(document['trainings'])} trainings of {seconds / 60:.1f} minutes in all, budget "
        f"{document['budget']['name']}; {where}, {at['threads']} threads of {at['cores']} cores; {versions}; "
        f"commit {(at['commit'] or 'unknown')[:10]}; written {document['written']}. Every number with the "
        f"hash of its training: {document['study']}.json."
    )
