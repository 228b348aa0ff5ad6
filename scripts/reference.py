"""Write the pages that the code knows best, so that nobody types them: options, keys, ranges and defaults.

docs/machine-recipes.md whole, and the parts of docs/reference.md between its markers: commands from the
command line, keys of recipes from the JSON schemas of their types.

python scripts/reference.py [--check]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from longexposure.cli.app import app
from longexposure.cli.settings import EnhanceSettings
from longexposure.simulation.machine import (
    FOLLOWS,
    WITHOUT_RANGES,
    MachineParameters,
    load_machine,
    machine_names,
)
from longexposure.simulation.physics.materials import MATERIALS
from longexposure.simulation.scenes.catalogue import SCENES
from longexposure.train.recipe import Recipe

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = """# Machine recipes

Every table and key of a machine's TOML, written by `python scripts/reference.py` from the types in
the code. How to use one: [guide](guide.md#simulate-pairs). `longexposure machines show S1`
prints a whole one.

Unknown keys, wrong types and values out of range are refused by key, value and allowed range before anything
is written. What is *required* must be there; every other key may be left out.

## Ranges

In place of a value anywhere but in {fixed}, a table with one
of these keys is drawn anew for each image:

| range | draws |
|---|---|
| `{{ uniform = [60, 110] }}` | a number between the two, all equally likely |
| `{{ log = [0.2, 5.0] }}` | a number between the two, both above 0, all magnitudes equally likely |
| `{{ one_of = [0, 1, "disc"] }}` | one of these values; a value that is named twice is drawn twice as often |

With `fraction = 0.3, otherwise = 0` beside it, it is drawn three times in ten and is 0 else. Ranges cannot
hold ranges. Their ends are checked when the recipe is read; what was drawn stands in each pair's truth, as
`drawn`.

## Machines that ship

| name | what it is |
|---|---|
"""
SCENES_HEAD = """
## [scenes]

How often each kind of scene is drawn, relative to the others: 0 or more,
one at least above 0. Only kinds are drawn that suit the image's pixels.

| kind | pixels in um | what it shows |
|---|---|---|
"""
KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "minLength": "not empty",
    "maxLength": "at most {} letters",
    "pattern": "`{}`",
}


def table(titles: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table in Markdown, line by line."""
    yield from (f"| {' | '.join(titles)} |", "|" + "---|" * len(titles))
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"


class Keys:
    """The keys of a document that a pydantic type describes, as tables in Markdown.

    Args:
        model: the type of the whole document.
        level: of the headings.
        links: whether a key that is a table of its own links to its heading.
    """

    def __init__(self, model: type[BaseModel], *, level: int, links: bool) -> None:
        self.schema = model.model_json_schema()
        self.heading = "#" * level
        self.links = links

    def resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of a key's value, references followed, without the choice of leaving it out."""
        if "anyOf" in schema:
            schema = {**schema, **next(o for o in schema["anyOf"] if o.get("type") != "null")}
        if "$ref" in schema:
            schema = {**self.schema["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
        return dict(schema)

    def kind(self, schema: Mapping[str, Any]) -> str:
        """What a key takes, with its limits."""
        schema = self.resolved(schema)
        if "enum" in schema or "const" in schema:
            return " or ".join(map(value_text, schema.get("enum", [schema.get("const")])))
        if "properties" in schema or "oneOf" in schema:
            return "table"
        if schema["type"] == "object":
            return f"table of {self.kind(schema['additionalProperties'])}s"
        if schema["type"] == "array":
            parts = schema.get("prefixItems") or [schema["items"]]
            kind, comma, limits = self.kind(parts[0]).partition(", ")
            return f"list of {len(parts) if len(parts) > 1 else ''} {kind}s{comma}{limits}".replace("  ", " ")
        limits = [text.format(number_text(schema[name])) for name, text in LIMITS.items() if name in schema]
        return ", ".join([KINDS[schema["type"]], *limits])

    def default(self, schema: Mapping[str, Any], *, path: str, required: bool) -> str:
        owner, _, key = path.rpartition(".")
        if owner == "panel" and key in FOLLOWS:
            return f"from `{FOLLOWS[key]}`"
        if required:
            return "required"
        own = "default" not in schema or (
            "properties" in self.resolved(schema) and schema["default"] is not None
        )
        return "the table's own" if own else value_text(schema["default"])

    def meaning(self, schema: Mapping[str, Any], text: str, *, path: str) -> str:
        """What the docstring says, in TOML's words, which has no None; of a table where it is described."""
        if self.links and "properties" in self.resolved(schema):
            first = re.split(r"[.;:](?:\s|$)", described(self.resolved(schema))[0])[0]
            return f"{first[0].lower()}{first[1:]}: [{path}](#{path.replace('.', '')})"
        if path == "tube.filters.material":
            return "one of " + ", ".join(MATERIALS)
        if schema.get("default") is not None:
            text = re.sub(r"[.;] None:[^.;]*", "", text)
        text = re.sub(r"\. None\b", ". Left out", text)
        return re.sub(r"\bNone\b", "left out", text).rstrip(".")

    def tables(self, found: Mapping[str, Any], name: str, title: str) -> Iterator[str]:
        """A table's heading, summary and keys, and then the tables in it."""
        summary, told = described(found)
        yield from ["", f"{self.heading} {title}", ""]
        if name:
            yield from [summary, ""]
        rows, inner = [], []
        for key, schema in found["properties"].items():
            path = f"{name}.{key}" if name else key
            text = self.meaning(schema, told.get(key) or ("" if key == "kind" else summary), path=path)
            required = key in found.get("required", ())
            rows.append(
                [f"`{key}`", self.kind(schema), self.default(schema, path=path, required=required), text]
            )
            value = self.resolved(self.resolved(schema).get("items", schema))
            if "oneOf" in value:
                inner += [(self.resolved(o), path, f"{path}, kind = ") for o in value["oneOf"]]
            elif "properties" in value:
                listed = "items" in self.resolved(schema)
                inner.append((value, path, f"each of `[[{path}]]`" if listed else f"[{path}]"))
        yield from table(["key", "takes", "default", "meaning"], rows)
        for value, path, heading in inner:
            kind = value["properties"]["kind"]["default"] if heading.endswith("kind = ") else None
            yield from self.tables(value, path, f'{heading}"{kind}"' if kind else heading)

    def lines(self) -> Iterator[str]:
        """The whole document."""
        yield from self.tables(self.schema, "", "Top level")


def described(found: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """A docstring's text before its attributes, one paragraph a line, and what it says of each key."""
    text, _, rest = found["description"].partition("\n\nAttributes:\n")
    summary = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    keys: dict[str, str] = {}
    block = rest.partition("\n\n")[0]
    # Several keys may have one line in common; lines that are indented further go on with it.
    for names, meaning in re.findall(
        r"^    ([\w-]+(?:, [\w-]+)*): (.*(?:\n     .*)*)", block, flags=re.MULTILINE
    ):
        keys |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return summary, keys


def value_text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {value_text(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"' if value else "none"
    return "none" if value is None else f"{value:g}"


def number_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def commands(group: Any, name: str) -> Iterator[str]:
    """Every command with its options, those of a group in their order."""
    for command in group.commands.values():
        path = f"{name} {command.name}"
        if hasattr(command, "commands"):
            yield from commands(command, path)
            continue
        yield from ["", f"### {path}", "", " ".join((command.help or "").split()), ""]
        rows = []
        for p in command.params:
            if "--help" in p.opts:
                continue
            option = "/".join([p.opts[0], *p.secondary_opts])
            if p.param_type_name == "argument":
                option = p.metavar or p.name.upper()
            default = "required" if p.required else "-" if p.default in (None, False, "") else str(p.default)
            rows.append([f"`{option}`", default, p.help or ""])
        yield from table(["option", "default", "meaning"], rows) if rows else ()


def machine_page() -> str:
    """docs/machine-recipes.md."""
    lines = [HEAD.format(fixed=", ".join(f"`{name}`" for name in WITHOUT_RANGES)).rstrip()]
    lines += [f"| `{name}` | {load_machine(name).document['summary']} |" for name in machine_names()]
    lines += [*Keys(MachineParameters, level=2, links=True).lines(), SCENES_HEAD.rstrip()]
    for name, kind in SCENES.items():
        lines.append(f"| `{name}` | {kind.pixel_um[0]:g} to {kind.pixel_um[1]:g} | {kind.summary} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Every page as it must be."""
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    parts = {
        "commands": commands(typer.main.get_command(app), "longexposure"),
        "settings": list(Keys(EnhanceSettings, level=3, links=False).lines())[3:],
        "recipes": Keys(Recipe, level=3, links=False).lines(),
    }
    for name, lines in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, after = reference.split(start)[0], reference.split(end)[1]
        reference = f"{before}{start}\n" + "\n".join(lines) + f"\n\n{end}{after}"
    return {DOCS / "reference.md": reference, DOCS / "machine-recipes.md": machine_page()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a page is not what the code says")
    arguments = parser.parse_args()
    stale = {
        path: text
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if arguments.check and stale:
        names = ", ".join(path.name for path in stale)
        raise SystemExit(f"not up to date, run python scripts/reference.py: {names}")
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
