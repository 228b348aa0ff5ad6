"""Spans: places in a machine's recipe that hold a range to draw from in place of a number.

Anywhere in the document, a table with one of these keys stands for a value:

    { uniform = [60, 110] }             a number between the two, all equally likely
    { log = [0.2, 5.0] }                a number between the two, all magnitudes equally likely
    { one_of = [0, 1, "disc"] }         one of these values

With `share = 0.3, otherwise = 0.0` beside it, it is drawn three times in ten, and is 0.0 else. There are no
spans inside spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import exp, isfinite, log, prod
from typing import Any

import numpy as np

from longexposure.errors import RecipeError

WAYS = ("uniform", "log", "one_of")
MOST_CORNERS = 64
"""So many combinations of ends are all checked."""


def is_range(value: object) -> bool:
    """Whether a value of a document is a span."""
    return isinstance(value, Mapping) and any(way in value for way in WAYS)


def drawn(document: Any, random: np.random.Generator) -> Any:
    """The document with a value drawn for every span, in the order in which they stand."""
    return _filled(document, lambda range_: _draw(range_, random))


def corners(document: Mapping[str, Any], *, where: str) -> Iterator[Any]:
    """Documents without spans that hold the ends of the spans, for checking before drawing.

    All combinations of ends where there are few; of many spans every value of each and, of any two, all
    four combinations of their first and last values.

    Raises:
        RecipeError: a span that is none: two ways at once, no two numbers in order, an empty list.
    """
    check_ranges(document, where=where)
    ends = [_ends(range_) for range_ in _ranges_of(document)]
    for chosen in _choices([len(values) for values in ends]):
        values = iter([values[number] for values, number in zip(ends, chosen, strict=True)])
        yield _filled(document, lambda _, values=values: next(values))  # type: ignore[misc]


def range_keys(document: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of all spans."""
    if is_range(document):
        yield prefix.removesuffix(".")
    elif isinstance(document, Mapping):
        for key, value in document.items():
            yield from range_keys(value, f"{prefix}{key}.")
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from range_keys(value, f"{prefix}{number}.")


def check_ranges(document: Any, *, where: str, key: str = "") -> None:
    """Refuse spans that cannot be drawn from.

    Raises:
        RecipeError: as `corners`.
    """
    if is_range(document):
        _check(document, where=f"{where}: {key}")
    elif isinstance(document, Mapping):
        for name, value in document.items():
            check_ranges(value, where=where, key=f"{key}.{name}" if key else str(name))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            check_ranges(value, where=where, key=f"{key}.{number}")


def _filled(document: Any, value_of: Callable[[Mapping[str, Any]], Any]) -> Any:
    """The document with a value in place of every span, in the order in which they stand."""
    if is_range(document):
        return value_of(document)
    if isinstance(document, Mapping):
        return {key: _filled(value, value_of) for key, value in document.items()}
    return [_filled(value, value_of) for value in document] if isinstance(document, list) else document


def _draw(range_: Mapping[str, Any], random: np.random.Generator) -> Any:
    if "fraction" in range_ and random.random() >= range_["fraction"]:
        return range_["otherwise"]
    if "one_of" in range_:
        return range_["one_of"][int(random.integers(len(range_["one_of"])))]
    if "log" in range_:
        low, high = range_["log"]
        return min(max(exp(random.uniform(log(low), log(high))), low), high)
    return float(random.uniform(*range_["uniform"]))


def _ranges_of(document: Any) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    _filled(document, found.append)
    return found


def _ends(range_: Mapping[str, Any]) -> list[Any]:
    values = next(range_[way] for way in WAYS if way in range_)
    return [*values, *([range_["otherwise"]] if "otherwise" in range_ else [])]


def _choices(sizes: list[int]) -> Iterator[Sequence[int]]:
    """Numbers of the ends that are taken together, one for each span; see `corners`.

    Any two spans differ in a bit of their numbers; that bit and its opposite set one to its first and the
    other to its last end.
    """
    if prod(sizes) <= MOST_CORNERS:
        yield from product(*map(range, sizes))
        return
    for number in range(max(sizes)):
        yield [min(number, size - 1) for size in sizes]
    for bit in range(len(sizes).bit_length()):
        for opposite in (0, 1):
            yield [(size - 1) * ((place >> bit & 1) ^ opposite) for place, size in enumerate(sizes)]


def _check(range_: Mapping[str, Any], *, where: str) -> None:
    ways = [way for way in WAYS if way in range_]
    unknown = set(range_) - {*WAYS, "fraction", "otherwise"}
    values = range_[ways[0]]
    numbers = isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for v in values
    )
    fraction = range_.get("fraction", 1.0)
    problems = (
        (len(ways) > 1, f"one of {', '.join(WAYS)}", " and ".join(ways)),
        (bool(unknown), "no other keys than share and otherwise", ", ".join(sorted(map(str, unknown)))),
        (ways == ["one_of"] and (not isinstance(values, list) or not values), "a list of values", values),
        (
            ways[0] != "one_of" and not (numbers and len(values) == 2 and values[0] <= values[1]),
            "two finite numbers, the smaller one first",
            values,
        ),
        (ways == ["log"] and numbers and min(values, default=1) <= 0, "numbers above 0", values),
        (("fraction" in range_) != ("otherwise" in range_), "share and otherwise together", sorted(range_)),
        (
            isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1,
            "a fraction of 0 to 1",
            fraction,
        ),
    )
    for wrong, expected, found in problems:
        if wrong:
            raise RecipeError(
                where=where, expected=expected, found=str(found), advice="correct the machine's recipe"
            )
