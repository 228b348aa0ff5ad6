"""Every error the package raises on purpose, in one tree.

LongExposureError
├── InputError        a file, array or folder that cannot be used        exit code 3
├── OutputError       a result that cannot be written                    exit code 4
├── RecipeError       a recipe or a setting that contradicts itself      exit code 5
├── CheckpointError   weights that are missing, foreign or damaged       exit code 6
└── ResourceError     memory, device or time that is not there           exit code 7

Exit code 0 is success, 1 a programming error, 2 a wrong command line. A command that works through
several files goes on after a bad one and ends with the exit code of the first.
"""

from __future__ import annotations

from typing import ClassVar


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
