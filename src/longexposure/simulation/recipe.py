"""What the tables of a machine's recipe have in common."""

from __future__ import annotations

from math import inf

from pydantic import BaseModel, ConfigDict

from longexposure.errors import RecipeError


class RecipeTable(BaseModel):
    """A table of a machine's recipe: frozen, and it knows every key it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def refused(
    where: str, expected: str, found: object, advice: str = "correct the machine's recipe"
) -> RecipeError:
    """The error for a value that a machine cannot have."""
    return RecipeError(where=where, expected=expected, found=str(found), advice=advice)


def checked_seconds(exposure_s: float) -> float:
    """The time of an exposure.

    Raises:
        RecipeError: not finite, or not above 0.
    """
    if not 0 < exposure_s < inf:
        raise refused(
            "exposure_s", "a finite time above 0 s", exposure_s, "give the exposure time in seconds"
        )
    return float(exposure_s)
