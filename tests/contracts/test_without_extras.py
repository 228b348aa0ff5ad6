"""Enhancing needs none of the extras, and what does need one says which.

The packages of all extras are hidden from children; that an environment without them is enough is what
`make test-wheel` shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from quick import noisy

from longexposure import load_enhancer
from longexposure.models.registry import shipped_weights
from longexposure.system import EXTRAS, as_missing, installing

ROOT = Path(__file__).parents[2]
HIDDEN = f"""
from importlib.machinery import PathFinder
HIDDEN, found = {set(EXTRAS)!r}, PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else found(name, path, target)
PathFinder.find_spec = classmethod(find_spec)
"""


CHILD = """
import json, sys
from typer.testing import CliRunner
from longexposure.cli.app import app
results = [CliRunner().invoke(app, line.split()) for line in sys.argv[1:]]
print(json.dumps([[result.exit_code, result.stderr] for result in results]))
"""
WORKS = (
    "enhance in.tif --out out --report out.html",
    "enhance in.tif --out out2 --model gaussian",
    "info in.tif",
    "info mine.safetensors",
    "models",
    "machines show S1",
    "recipes list",
    "recipes show own-pairs",
    "evaluate --data pairs --data-range 65535 --model fast --model gaussian --out scores.json",
    "watch pairs/LQ --out out3 --once --settle 0",
)
NEEDS = {
    "train fast --out run": "torch",
    "adapt in.tif --out run": "torch",
    "study noise --out no": "torch",
    "assess --out no": "skimage",
    "export fast --out no.onnx": "torch",
    "bench": "torch",
    "check-pairs pairs": "skimage",
    "noise pairs pairs --out no": "matplotlib",
    "enhance in.tif --out no --engine torch": "torch",
    "enhance in.tif --out no --engine openvino": "openvino",
    "enhance in.tif --out no --precision bf16": "openvino",
    "enhance in.tif --out no --device cuda": "torch",
    "enhance in.tif --out no --model nlm": "skimage",
    "enhance in.tif --out no --model mine.safetensors": "torch",
    "watch pairs/LQ --out no": "watchfiles",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bare")
    (made / "sitecustomize.py").write_text(HIDDEN, encoding="utf-8")
    tifffile.imwrite(made / "in.tif", noisy(shape=(72, 80)))
    for part in ("LQ", "HQ"):
        (made / "pairs" / part).mkdir(parents=True)
        tifffile.imwrite(made / "pairs" / part / "a.tif", noisy(shape=(72, 80)))
    (made / "mine.safetensors").write_bytes(shipped_weights()["fast"].read_bytes())
    return made


@pytest.fixture(scope="module")
def came_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Exit code and stderr of every line, in one child from which the extras are hidden."""
    lines = [*WORKS, *NEEDS]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *lines],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "src")))},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line: tuple(found) for line, found in zip(lines, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("line", WORKS)
def test_enhancing_and_what_is_round_it_works(line: str, came_of: dict[str, tuple[int, str]]) -> None:
    code, said = came_of[line]
    assert code == 0, said


def test_an_image_is_enhanced_to_the_same_pixels(folder: Path, came_of: dict[str, tuple[int, str]]) -> None:
    expected = load_enhancer(engine="onnx").enhance(tifffile.imread(folder / "in.tif"))
    assert np.array_equal(tifffile.imread(folder / "out" / "in.tif"), expected)


@pytest.mark.parametrize(("line", "package"), NEEDS.items())
def test_what_needs_an_extra_names_it_in_one_line(
    line: str, package: str, folder: Path, came_of: dict[str, tuple[int, str]]
) -> None:
    code, said = came_of[line]
    assert code == 7, said
    assert [line.startswith("error: ") for line in said.splitlines()] == [True]
    assert installing(package) in said
    assert not (folder / "no").exists()


def test_weights_without_an_export_are_told_how_to_get_one(came_of: dict[str, tuple[int, str]]) -> None:
    assert "`longexposure export" in came_of["enhance in.tif --out no --model mine.safetensors"][1]


def test_a_package_that_no_extra_brings_stays_an_error_of_its_own() -> None:
    assert as_missing(ModuleNotFoundError("x", name="nothing_of_ours"), where="a test") is None
    assert as_missing(ModuleNotFoundError("x", name="numpy"), where="a test") is None
    assert as_missing(ImportError("cannot import name"), where="a test") is None


def test_every_extra_package_stands_in_its_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {"skimage": "scikit-image"}
    for package, extra in EXTRAS.items():
        name = names.get(package, package).replace("_", "-")
        assert any(line.startswith(name) for line in extras[extra]), package
