"""Values as text: what a person reads, and JSON that any reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

SHOWN_VALUES = 8
"""Of a longer list, `info` shows this many values; `--json` has all."""

DEEPEST = 64
"""Levels of values within values that are told; files may hold more, and Python's stack ends somewhere."""

TOO_DEEP = "(nested too deep)"
"""What is told in place of the rest."""


def numbers(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores without their lists, of which `info` on the checkpoint shows all."""
    kept = {name: numbers(value) if isinstance(value, Mapping) else value for name, value in scores.items()}
    return {name: value for name, value in kept.items() if not isinstance(value, list | tuple)}


def shown(value: object, deepest: int = DEEPEST) -> str:
    """A value as a person reads it, so many levels deep."""
    if deepest == 0:
        return TOO_DEEP
    if value is None or value == "" or value == {} or value == [] or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{shown(str(name))} {shown(item, deepest - 1)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        more = f", ... ({len(value)} values)" if len(value) > SHOWN_VALUES else ""
        return ", ".join(shown(item, deepest - 1) for item in value[:SHOWN_VALUES]) + more
    return printable(" ".join(str(value).split()))


def printable(text: str) -> str:
    """The text without what a terminal would obey or an encoding would refuse."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def json_text(value: object) -> str:
    """JSON that any reader takes: numbers that are not finite become null."""
    return json.dumps(finite(value), indent=2, default=str)


def finite(value: Any, deepest: int = DEEPEST) -> Any:
    """The value for JSON: numbers that are not finite become None, keys text, sequences lists."""
    if deepest == 0:
        return TOO_DEEP
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(item, deepest - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, deepest - 1) for item in value]
    return value
