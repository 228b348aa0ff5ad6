"""Ranges: tables in a machine's recipe that stand in place of a value, which is drawn from them.

Anywhere in the document, a table with one of these keys stands for a value:

    { uniform = [60, 110] }             a number between the two, all equally likely
    { log = [0.2, 5.0] }                a number between the two, all magnitudes equally likely
    { one_of = [0, 1, "disc"] }         one of these values

With `fraction = 0.3, otherwise = 0.0` beside it, it is drawn three times in ten, and is 0.0 else. There are
no ranges inside ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import exp, isfinite, log, prod
from typing import Any

import numpy as np

from longexposure.simulation.recipe import refused

WAYS = ("uniform", "log", "one_of")
MOST_CORNERS = 64
"""So many combinations of ends are all checked."""

Range = Mapping[str, Any]


def is_range(value: object) -> bool:
    """Whether a value of a document is a range."""
    return isinstance(value, Mapping) and any(way in value for way in WAYS)


def ranges(document: Any, prefix: str = "") -> Iterator[tuple[str, Range]]:
    """Dotted key and table of every range, in the order in which they stand."""
    if is_range(document):
        yield prefix.removesuffix("."), document
    elif isinstance(document, Mapping | list):
        parts = document.items() if isinstance(document, Mapping) else enumerate(document)
        for key, value in parts:
            yield from ranges(value, f"{prefix}{key}.")


def value_at(document: Any, key: str) -> Any:
    """The value of a document at a dotted key."""
    for part in key.split("."):
        document = document[int(part) if isinstance(document, list) else part]
    return document


def with_drawn_values(document: Any, random: np.random.Generator) -> Any:
    """The document with a value drawn for every range, in the order in which they stand."""

    def draw(range_: Range) -> Any:
        if "fraction" in range_ and random.random() >= range_["fraction"]:
            return range_["otherwise"]
        if "one_of" in range_:
            return range_["one_of"][int(random.integers(len(range_["one_of"])))]
        if "log" in range_:
            low, high = range_["log"]
            return min(max(exp(random.uniform(log(low), log(high))), low), high)
        return float(random.uniform(*range_["uniform"]))

    return _filled(document, draw)


def corners(document: Mapping[str, Any], *, where: str) -> Iterator[Any]:
    """Documents without ranges that hold the ends of the ranges, for checking before drawing.

    All combinations of ends where there are few; of many ranges every value of each and, of any two, all
    four combinations of their first and last values.

    Raises:
        RecipeError: a range that is none: two ways at once, no two numbers in order, an empty list.
    """
    check_ranges(document, where=where)
    ends = []
    for _, range_ in ranges(document):
        values = next(range_[way] for way in WAYS if way in range_)
        ends.append([*values, *([range_["otherwise"]] if "otherwise" in range_ else [])])
    sizes = [len(values) for values in ends]
    chosen: list[Sequence[int]]
    if prod(sizes) <= MOST_CORNERS:
        chosen = list(product(*map(range, sizes)))
    else:
        chosen = [[min(number, size - 1) for size in sizes] for number in range(max(sizes))]
        # Any two ranges differ in a bit of their numbers; that bit and its opposite set one to its first and
        # the other to its last end.
        for bit in range(len(sizes).bit_length()):
            for opposite in (0, 1):
                chosen.append([(size - 1) * ((n >> bit & 1) ^ opposite) for n, size in enumerate(sizes)])
    for numbers in chosen:
        values = iter([values[number] for values, number in zip(ends, numbers, strict=True)])
        yield _filled(document, lambda _, values=values: next(values))  # type: ignore[misc]


def check_ranges(document: Any, *, where: str) -> None:
    """Refuse ranges that cannot be drawn from.

    Raises:
        RecipeError: as `corners`.
    """
    for key, range_ in ranges(document):
        ways = [way for way in WAYS if way in range_]
        unknown = set(range_) - {*WAYS, "fraction", "otherwise"}
        values = range_[ways[0]]
        numbers = isinstance(values, list) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for v in values
        )
        fraction = range_.get("fraction", 1.0)
        problems = (
            (len(ways) > 1, f"one of {', '.join(WAYS)}", " and ".join(ways)),
            (unknown, "no other keys than fraction and otherwise", ", ".join(sorted(map(str, unknown)))),
            (ways == ["one_of"] and (not isinstance(values, list) or not values), "a list of values", values),
            (
                ways[0] != "one_of" and not (numbers and len(values) == 2 and values[0] <= values[1]),
                "two finite numbers, the smaller one first",
                values,
            ),
            (ways == ["log"] and numbers and min(values, default=1) <= 0, "numbers above 0", values),
            (
                ("fraction" in range_) != ("otherwise" in range_),
                "fraction and otherwise together",
                sorted(range_),
            ),
            (
                isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1,
                "a fraction of 0 to 1",
                fraction,
            ),
        )
        for wrong, expected, found in problems:
            if wrong:
                raise refused(f"{where}: {key}", expected, found)


def _filled(document: Any, value_of: Callable[[Range], Any]) -> Any:
    """The document with a value in place of every range, in the order in which they stand."""
    if is_range(document):
        return value_of(document)
    if isinstance(document, Mapping):
        return {key: _filled(value, value_of) for key, value in document.items()}
    return [_filled(value, value_of) for value in document] if isinstance(document, list) else document
