"""Documents that users write: TOML read, single values overridden, and what is wrong told in one line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from longexposure.errors import RecipeError, as_kind, as_list, as_path

Document = TypeVar("Document", bound=BaseModel)

LARGEST_BYTES = 4 << 20
"""No document that a person writes is larger."""

_BOUNDS = {
    "exclusiveMinimum": "greater than",
    "minimum": "greater than or equal to",
    "exclusiveMaximum": "less than",
    "maximum": "less than or equal to",
}
"""Words for the ends of a range in a JSON schema."""


def read_document(path: Path, overrides: Sequence[str] = (), *, advice: str) -> dict[str, Any]:
    """The tables of a TOML file with the overrides in place.

    Args:
        path: TOML file.
        overrides: "dotted.key=value", the value written as in TOML; what is no TOML is taken as text.
        advice: what to do when the file cannot be read.

    Raises:
        RecipeError: not readable, not TOML, or an override that does not fit.
    """
    file = as_path(path, where="recipe", error=RecipeError)
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise ValueError(f"a file of more than {LARGEST_BYTES >> 20} MiB")
        values = toml_values(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        found = "not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        if isinstance(error, OSError):
            found = error.strerror or found
        raise RecipeError(where=str(path), expected="a recipe in TOML", found=found, advice=advice) from error
    for line in as_list(overrides, where="--set"):
        override(values, line)
    return values


def toml_values(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: no TOML, or with numbers so long or brackets so deep that no document of ours has them.
    """
    try:
        values = tomllib.loads(text)
        json.dumps(values, default=str)
    except RecursionError:
        raise ValueError("tables or lists within one another beyond all measure") from None
    return values


def json_values(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: no JSON, or with numbers so long or brackets so deep that no file of ours has them.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects within one another beyond all measure") from None


def parsed(model: type[Document], values: Mapping[str, Any], *, where: str) -> Document:
    """The model that a mapping describes; numbers in quotes and other near misses are refused.

    Raises:
        RecipeError: with `where` and the dotted key, the value and what is allowed there.
    """
    try:
        text = json.dumps(values, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError(
            where=where,
            expected="tables of numbers, texts and lists",
            found="lists within one another beyond all measure"
            if isinstance(error, RecursionError)
            else str(error),
            advice="correct the recipe",
        ) from error
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _explained(error, model, where=where) from error
    except RecipeError as error:
        raise RecipeError(
            where=f"{where}: {error.where}", expected=error.expected, found=error.found, advice=error.advice
        ) from error


def override(values: dict[str, Any], line: str) -> None:
    """Put one "dotted.key=value" in place, the value written as in TOML; what is no TOML is taken as text.

    Raises:
        RecipeError: no key, no equals sign, or a key inside what is no table.
    """
    line = as_kind(line, str, where="--set", advice="write it like optimiser.lr=2e-4")
    key, equals, text = line.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise RecipeError(
            where=f"--set {line}",
            expected="key=value with a dotted key",
            found=repr(line),
            advice="write it like --set optimiser.lr=2e-4",
        )
    table = values
    for depth, part in enumerate(parts[:-1], start=1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(
                where=f"--set {line}",
                expected=f"{'.'.join(parts[:depth])} to be a table",
                found=repr(table),
                advice=f"use --set {'.'.join(parts[:depth])}=value",
            )
    try:
        table[parts[-1]] = toml_values(f"value = {text.strip()}")["value"]
    except ValueError:
        table[parts[-1]] = text.strip()


def _explained(error: ValidationError, root: type[BaseModel], *, where: str) -> RecipeError:
    """The first complaint in full, and the keys of the others."""
    first, *others = error.errors(include_url=False)
    whole = root.model_json_schema()
    key, schema = _place(whole, first["loc"])
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    found = repr(first["input"])
    if first["type"].startswith(("greater_than", "less_than")):
        ends = [f"{words} {schema[name]:g}" for name, words in _BOUNDS.items() if name in schema]
        expected = " and ".join(ends) or expected
    elif first["type"] in ("model_type", "dict_type"):
        expected = "a table"
    elif first["type"] in ("string_pattern_mismatch", "string_too_long"):
        expected = schema.get("description") or expected
    elif first["type"] == "extra_forbidden":
        known = _place(whole, first["loc"][:-1])[1].get("properties", ())
        expected, found = f"one of {', '.join(sorted(known))}", f"unknown key {key!r}"
    elif first["type"] == "missing":
        expected, found = f"a value for {key!r}", "none"
    advice = "correct the recipe or the --set option"
    if others:
        advice += f", as well as {', '.join(sorted({_place(whole, other['loc'])[0] for other in others}))}"
    if len(found) > 80:
        found = f"{found[:77]}..."
    return RecipeError(where=f"{where}: {key}", expected=expected, found=found, advice=advice)


def _place(whole: dict[str, Any], loc: Sequence[int | str]) -> tuple[str, dict[str, Any]]:
    """Dotted key of a complaint, and the part of the JSON schema that holds there, empty where none does.

    Of a union's members pydantic puts the `kind` in between, which is no part of the key.
    """
    keys: list[str] = []
    schema = whole
    for part in loc:
        kinds = schema.get("discriminator", {}).get("mapping", {})
        fixed = schema.get("prefixItems", ())
        if part in kinds:
            schema = {"$ref": kinds[part]}
        else:
            keys.append(str(part))
            if isinstance(part, str):
                schema = schema.get("properties", {}).get(part, {})
            else:
                schema = fixed[part] if part < len(fixed) else schema.get("items", {})
        members = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
        if len(members) == 1:
            schema = schema | members[0]
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return ".".join(keys) or "recipe", schema
