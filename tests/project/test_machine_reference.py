"""The page of machine recipes is what the code says, and the reference names every scene and defect."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longexposure.simulation.defects.catalogue import DEFECTS
from longexposure.simulation.machine import MachineParameters, machine_names, recipe_text
from longexposure.simulation.scenes.catalogue import SCENES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "reference.py"
PAGE = (ROOT / "docs" / "machine-recipes.md").read_text(encoding="utf-8")


def headings() -> dict[str, list[str]]:
    """Keys that the page's tables name, by heading; the page read as a reader does."""
    found: dict[str, list[str]] = {}
    for part in PAGE.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
        found[title.strip()] = [cell.strip("`") for cell in cells]
    return found


def keys(table: dict[str, Any], name: str = "") -> Iterator[tuple[str, str]]:
    """Tables and keys of a document; ranges are values."""
    for key, value in table.items():
        yield name, key
        if isinstance(value, dict) and not {"uniform", "log", "one_of"} & set(value):
            yield from keys(value, f"{name}.{key}" if name else key)
        if isinstance(value, list):
            for inner in value:
                yield from keys(inner, f"{name}.{key}") if isinstance(inner, dict) else ()


def test_the_page_is_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("machine", machine_names())
def test_every_key_of_a_machine_that_ships_is_on_the_page(machine: str) -> None:
    told = headings()
    for table, key in keys(tomllib.loads(recipe_text(machine))):
        title = {"": "Top level", "tube.filters": "each of `[[tube.filters]]`"}.get(table, f"[{table}]")
        assert key in told[title], f"{table}.{key}"


def test_the_page_tells_ranges_and_defaults() -> None:
    assert "| `tube_kv` | number, >= 40, <= 160 | required | voltage, kV |" in PAGE
    assert "| `long_s` | number, > 0, <= 36000 | 90 |" in PAGE
    assert "None" not in PAGE
    assert set(headings()["Top level"]) == set(MachineParameters.model_fields)


def test_the_reference_names_every_scene_and_every_defect() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [kind for kind in DEFECTS if f"| {kind} |" not in reference] == []
    assert headings()["[scenes]"] == list(SCENES)
