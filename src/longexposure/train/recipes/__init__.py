"""The recipes that ship, by name; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from longexposure.config import read_document
from longexposure.errors import as_choice


def shipped_recipes() -> Mapping[str, Path]:
    """Names and files of the recipes that came with the package."""
    folder = Path(str(resources.files("longexposure.train"))) / "recipes"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def shipped_recipe(name: str) -> Path:
    """The file of a recipe that ships.

    Raises:
        RecipeError: no such recipe.
    """
    shipped = shipped_recipes()
    as_choice(name, where="recipe", choices=tuple(shipped))
    return shipped[name]


def summaries() -> dict[str, str]:
    """What each recipe that ships trains, in a line."""
    advice = "install longexposure anew"
    return {name: read_document(file, advice=advice)["summary"] for name, file in shipped_recipes().items()}
