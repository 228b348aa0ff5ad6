"""Writes docs/machine-recipes.md: every key of a machine's recipe, from its types and their docstrings.

python scripts/machine_reference.py [--check]
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types as limits
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from longexposure.simulation import machine
from longexposure.simulation.machine import MachineParameters, load_machine, machine_names
from longexposure.simulation.physics.materials import MATERIALS
from longexposure.simulation.scenes.catalogue import SCENES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "machine-recipes.md"
HEAD = """# Machine recipes

Every table and key of a machine's TOML, written by `python scripts/machine_reference.py` from the types in
the code. How to use one: [simulation](simulation.md#your-own-machine). `longexposure machines show S1`
prints a whole one.

Unknown keys, wrong types and values out of range are refused by key, value and allowed range before anything
is written. What is *required* must be there; every other key may be left out.

## Spans

In place of a value anywhere but in {fixed}, a table with one
of these keys is drawn anew for each image:

| span | draws |
|---|---|
| `{{ uniform = [60, 110] }}` | a number between the two, all equally likely |
| `{{ log = [0.2, 5.0] }}` | a number between the two, both above 0, all magnitudes equally likely |
| `{{ one_of = [0, 1, "disc"] }}` | one of these values; a value that is named twice is drawn twice as often |

With `share = 0.3, otherwise = 0` beside it, it is drawn three times in ten and is 0 else. Spans cannot hold
spans. Their ends are checked when the recipe is read; what was drawn stands in each pair's truth, as `drawn`.

## Machines that ship

| name | what it is |
|---|---|
"""
SCENES_HEAD = """| kind | pixels in um | what it shows |
|---|---|---|
"""


def attributes(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring says of each key; several keys may share a line."""
    text = inspect.getdoc(model) or ""
    block = re.search(r"^Attributes:\n((?:    .*\n?|\n)*)", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (block[1] if block else "").splitlines():
        start = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if start:
            names = start[1].split(", ")
            found |= dict.fromkeys(names, start[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def summary(model: type[BaseModel]) -> str:
    """The docstring's text before its attributes, one paragraph a line."""
    text = re.split(r"^(?:Attributes|Raises):$", inspect.getdoc(model) or "", flags=re.MULTILINE)[0]
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def kind_text(kind: Any) -> str:
    """What a key takes, without its limits."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(value_text, parts))
    if origin in (Union, UnionType):
        return kind_text(next(part for part in parts if part is not type(None)))
    if origin is dict:
        return f"table of {kind_text(parts[1])}s"
    if origin is tuple:
        return f"list of {kind_text(parts[0])}s"
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        return "table"
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}[kind.__name__]


def limit_text(info: FieldInfo) -> str:
    """Limits of a key, each after a comma."""
    signs = ((limits.Ge, "ge", ">="), (limits.Gt, "gt", ">"), (limits.Le, "le", "<="), (limits.Lt, "lt", "<"))
    found = [
        f"{sign} {getattr(data, name):g}"
        for data in info.metadata
        for kind, name, sign in signs
        if isinstance(data, kind)
    ]
    found += [
        f"at most {data.max_length} letters" for data in info.metadata if isinstance(data, limits.MaxLen)
    ]
    found += [f"`{data.pattern}`" for data in info.metadata if getattr(data, "pattern", None)]
    return "".join(f", {text}" for text in found)


def value_text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "{ " + ", ".join(f"{key} = {value_text(part)}" for key, part in value) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"' if value else "none"
    return "none" if value is None else f"{value:g}"


def default_text(info: FieldInfo, *, key: str) -> str:
    if key in FOLLOWS:
        return f"from `{FOLLOWS[key]}`"
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    return "the table's own" if isinstance(value, BaseModel) else value_text(value)


def meaning(info: FieldInfo, told: str, *, path: str) -> str:
    """What the docstring says, in TOML's words, which has no None; of a table where it is described."""
    kind = info.annotation
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        first = re.split(r"[.;:](?:\s|$)", summary(kind))[0]
        return f"{first[0].lower()}{first[1:]}: [{path}](#{path.replace('.', '')})"
    if not info.is_required() and info.get_default(call_default_factory=True) is not None:
        told = re.sub(r"[.;] None:[^.;]*", "", told)
    told = re.sub(r"\. None\b", ". Left out", told)
    if path == "tube.filters.material":
        told = "one of " + ", ".join(MATERIALS)
    return re.sub(r"\bNone\b", "left out", told).rstrip(".")


FOLLOWS = {f"panel.{key}": source for key, source in machine._FOLLOWS.items()}
"""Keys that follow from others."""


def key_rows(model: type[BaseModel], name: str) -> Iterator[str]:
    """The table of one model's keys."""
    yield "| key | takes | default | meaning |"
    yield "|---|---|---|---|"
    told = attributes(model)
    for key, info in model.model_fields.items():
        path = f"{name}.{key}" if name else key
        cells = (
            f"`{key}`",
            kind_text(info.annotation) + limit_text(info),
            default_text(info, key=path),
            meaning(info, told.get(key) or summary(model), path=path),
        )
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def tables(
    model: type[BaseModel] = MachineParameters, name: str = ""
) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table by its dotted name, the whole document first, by the name ""."""
    yield name, model
    for key, info in model.model_fields.items():
        for kind in (info.annotation, *get_args(info.annotation)):
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield from tables(kind, f"{name}.{key}" if name else key)


def page() -> str:
    """The whole page."""
    fixed = ", ".join(f"`{name}`" for name in machine.WITHOUT_SPANS)
    lines = [HEAD.format(fixed=fixed).rstrip()]
    for name in machine_names():
        lines.append(f"| `{name}` | {load_machine(name).document['summary']} |")
    for name, model in tables():
        inner = "each of `[[tube.filters]]`" if name == "tube.filters" else f"[{name}]"
        lines += ["", f"## {inner if name else 'Top level'}", ""]
        if name:
            lines += [summary(model), ""]
        lines += key_rows(model, name)
    lines += [
        "",
        "## [scenes]",
        "",
        "How often each kind of scene is drawn, relative to the others: 0 or more,",
    ]
    lines += ["one at least above 0. Only kinds are drawn that suit the image's pixels.", ""]
    lines.append(SCENES_HEAD.rstrip())
    for name, kind in SCENES.items():
        lines.append(f"| `{name}` | {kind.pixel_um[0]:g} to {kind.pixel_um[1]:g} | {kind.summary} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the code says")
    arguments = parser.parse_args()
    text = page()
    if arguments.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{PAGE.name} is not up to date: run python scripts/machine_reference.py")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
