"""Every error the package raises on purpose, in one tree.

LongExposureError
├── InputError        a file, array or folder that cannot be used        exit code 3
├── OutputError       a result that cannot be written                    exit code 4
├── RecipeError       a recipe or a setting that contradicts itself      exit code 5
├── CheckpointError   weights that are missing, foreign or damaged       exit code 6
└── ResourceError     memory, device or time that is not there           exit code 7

Exit code 0 is success, 1 a programming error (of `watch --once` also: files are left to be done), 2 a wrong
command line. A command that works through several files goes on after a bad one and ends with the exit code
of the first.

Below the tree, `as_path` and its like refuse arguments of public functions whose kind or range is wrong, by
name and before anything is done. Each gives the value back in Python's own type, or raises a `RecipeError`
(a path or a list: an `InputError`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, TypeVar


class LongExposureError(Exception):
    """What was expected, what was found, where, and what to do, as one line.

    Args:
        where: file, field or argument at fault.
        expected: what would have been right.
        found: what was there.
        advice: the next step for the person who reads it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, *, where: str, expected: str, found: str, advice: str) -> None:
        self.where = where
        self.expected = expected
        self.found = found
        self.advice = advice
        line = f"{where}: expected {expected}, found {found}; {advice}"
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes, which keyword-only arguments would not."""
        return _rebuild, (type(self), self.where, self.expected, self.found, self.advice)


def _rebuild(
    kind: type[LongExposureError], where: str, expected: str, found: str, advice: str
) -> LongExposureError:
    return kind(where=where, expected=expected, found=found, advice=advice)


class InputError(LongExposureError):
    """A file, array or folder that cannot be used."""

    exit_code = 3


class OutputError(LongExposureError):
    """A result that cannot be written, or must not be."""

    exit_code = 4


class RecipeError(LongExposureError):
    """A recipe or a setting that is unknown, out of range or contradicts another."""

    exit_code = 5


class CheckpointError(LongExposureError):
    """Weights that are missing, foreign, damaged or of another version."""

    exit_code = 6


class ResourceError(LongExposureError):
    """Memory, a device or a package that is not there."""

    exit_code = 7


Kind = TypeVar("Kind")

SHOWN = 60
"""Letters of a wrong value that are shown."""


def as_path(value: object, *, where: str, error: type[LongExposureError] = InputError) -> Path:
    """A file's or folder's path: text or a `pathlib.Path`."""
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str) and "\0" not in path:
            return Path(path)
    raise error(
        where=where,
        expected="a path, as text or pathlib.Path",
        found=described(value),
        advice="name a file or a folder",
    )


def as_number(value: object, *, where: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`; True and False are none."""
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if math.isfinite(number) and low <= number <= high:
        return number
    raise RecipeError(
        where=where,
        expected="a number" + limits(low, high),
        found=described(value),
        advice="give such a number, without quotes",
    )


def as_count(value: object, *, where: str, low: int = 0, high: float = math.inf) -> int:
    """A whole number from `low` to `high`; True and False are none."""
    if isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high:
        return int(value)
    raise RecipeError(
        where=where,
        expected="a whole number" + limits(low, high),
        found=described(value),
        advice="give such a number, without quotes",
    )


def as_list(value: object, *, where: str) -> Sequence[Any]:
    """Several things in a list or tuple, not one of them alone."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    raise InputError(where=where, expected="a list", found=described(value), advice="put it into a list")


def as_flag(value: object, *, where: str) -> bool:
    """True or False, Python's or NumPy's."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise RecipeError(
        where=where, expected="True or False", found=described(value), advice="give one of them"
    )


def as_choice(value: object, *, where: str, choices: Sequence[str]) -> str:
    """One of some words."""
    if isinstance(value, str) and value in choices:
        return value
    raise RecipeError(
        where=where,
        expected=" or ".join(choices),
        found=described(value),
        advice="choose one of these",
    )


def as_kind(
    value: object,
    kind: type[Kind],
    *,
    where: str,
    advice: str,
    error: type[LongExposureError] = RecipeError,
) -> Kind:
    """An instance of a class."""
    if isinstance(value, kind):
        return value
    name = kind.__name__
    article = "an" if name[0] in "AEIO" else "a"
    raise error(where=where, expected=f"{article} {name}", found=described(value), advice=advice)


def limits(low: float, high: float) -> str:
    """A range in words, empty for none."""
    if math.isfinite(low) and math.isfinite(high):
        return f" from {low:g} to {high:g}"
    if math.isfinite(low):
        return f" of at least {low:g}"
    return f" of at most {high:g}" if math.isfinite(high) else ""


def described(value: Any) -> str:
    """What was given, in short: numbers and texts as they are, arrays by shape and type, others by class."""
    if value is None or isinstance(value, str | bool | int | float):
        try:
            text = repr(value)
        except ValueError:  # a whole number of thousands of digits
            return "a number of thousands of digits"
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    kind = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{kind} of shape {shape}, {dtype}" if shape else f"{kind} {value}"[:SHOWN]
    return f"an object of type {kind}"
