"""Documents that users write: TOML read, single values overridden, and what is wrong told in one line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from longexposure.errors import RecipeError

Document = TypeVar("Document", bound=BaseModel)

_BOUNDS = {
    "gt": "greater than",
    "ge": "greater than or equal to",
    "lt": "less than",
    "le": "less than or equal to",
}


def read_document(path: Path, overrides: Sequence[str] = (), *, advice: str) -> dict[str, Any]:
    """The tables of a TOML file with the overrides in place.

    Args:
        path: TOML file.
        overrides: "dotted.key=value", the value written as in TOML; what is no TOML is taken as text.
        advice: what to do when the file cannot be read.

    Raises:
        RecipeError: not readable, not TOML, or an override that does not fit.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(
            where=str(path), expected="a recipe in TOML", found=_unreadable(error), advice=advice
        ) from error
    for line in overrides:
        override(values, line)
    return values


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def parsed(model: type[Document], values: Mapping[str, Any], *, where: str) -> Document:
    """The model that a mapping describes; numbers in quotes and other near misses are refused.

    Raises:
        RecipeError: with `where` and the dotted key, the value and what is allowed there.
    """
    try:
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
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
    table[parts[-1]] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explained(error: ValidationError, root: type[BaseModel], *, where: str) -> RecipeError:
    """The first complaint in full, and the keys of the others."""
    complaints = error.errors()
    first, *others = complaints
    location = _location(root, first["loc"])
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    found = repr(first["input"])
    if first["type"].startswith(("greater_than", "less_than")):
        expected = _range_at(root, first["loc"]) or expected
    elif first["type"] in ("model_type", "dict_type"):
        expected = "a table"
    elif first["type"] in ("string_pattern_mismatch", "string_too_long"):
        expected = _words_at(root, first["loc"]) or expected
    elif first["type"] == "extra_forbidden":
        keys = ", ".join(_keys_at(root, first["loc"][:-1]))
        expected, found = f"one of {keys}", f"unknown key {location!r}"
    elif first["type"] == "missing":
        expected, found = f"a value for {location!r}", "none"
    advice = "correct the recipe or the --set option"
    if others:
        keys = ", ".join(sorted({_location(root, other["loc"]) for other in others}))
        advice += f", as well as {keys}"
    if len(found) > 80:
        found = f"{found[:77]}..."
    return RecipeError(where=f"{where}: {location}", expected=expected, found=found, advice=advice)


def _range_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """All that a number in a table is held to, both ends of its range."""
    field = _field_at(root, loc)
    limits = field.metadata if field is not None else []
    found = [
        f"{words} {value:g}"
        for name, words in _BOUNDS.items()
        for limit in limits
        if (value := getattr(limit, name, None)) is not None
    ]
    return " and ".join(found)


def _words_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What the field's own description says is allowed in a text; empty where it has none."""
    field = _field_at(root, loc)
    return (field.description if field is not None else None) or ""


def _field_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> FieldInfo | None:
    """The field of a table that a complaint is about, None where there is something else."""
    model = _model_at(root, loc[:-1])
    return model.model_fields.get(str(loc[-1])) if model is not None else None


def _location(root: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """Dotted key of a complaint, without the names of union members that pydantic puts in between."""
    parts: list[str] = []
    kind: Any = root
    for part in loc:
        if isinstance(part, str) and (member := _member(kind, part)) is not None:
            kind = member
            continue
        parts.append(str(part))
        kind = _field(kind, part)
    return ".".join(parts) or "recipe"


def _keys_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    model = _model_at(root, loc)
    return sorted(model.model_fields) if model is not None else []


def _model_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The table at a place of a document, None where there is something else."""
    kind: Any = root
    for part in loc:
        member = _member(kind, str(part))
        kind = member if member is not None else _field(kind, part)
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _bare(kind: Any) -> Any:
    """A type without its annotations and without the `None` of an optional one."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _field(kind: Any, part: int | str) -> Any:
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
        return kind.model_fields[str(part)].annotation
    if get_origin(kind) in (tuple, list) and isinstance(part, int):
        return get_args(kind)[0]
    return None


def _member(kind: Any, tag: str) -> Any:
    """The member of a discriminated union whose `kind` is this tag, or None."""
    kind = _bare(kind)
    if get_origin(kind) not in (Union, UnionType):
        return None
    for member in map(_bare, get_args(kind)):
        fields = member.model_fields if isinstance(member, type) and issubclass(member, BaseModel) else {}
        if "kind" in fields and tag in get_args(fields["kind"].annotation):
            return member
    return None
