"""`longexposure simulate`: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tifffile
from quick import BALL_GRID
from typer.testing import CliRunner, Result

from longexposure.cli import app as cli
from longexposure.cli.simulation import PREVIEWED
from longexposure.cli.terminal import progress
from longexposure.data import simulated_sets as simulating
from longexposure.simulation.machine import recipe_text

SMALL = BALL_GRID + "[set]\ntest = 3\nsmall_test = 2\nsmall_train = 1\n"


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["simulate", *arguments])


@pytest.mark.parametrize(
    ("count", "split", "pairs"),
    [("small", "test", 2), ("full", "test", 3), ("small", "train", 1), ("1", "test", 1)],
)
def test_a_set_of_the_wanted_size_is_written_and_its_manifest_named(
    recipe: str, tmp_path: Path, count: str, split: str, pairs: int
) -> None:
    out = tmp_path / "out"
    result = _run(
        "--machine", recipe, "--count", count, "--split", split, "--out", str(out), "--workers", "0"
    )
    assert result.exit_code == 0, result.output
    manifest = out / "small" / split / "manifest.json"
    assert result.stdout.strip() == str(manifest)
    assert len(json.loads(manifest.read_text())["pairs"]) == pairs
    assert tifffile.imread(out / "small" / split / "LQ" / "00000.tif").shape == (48, 64)


def test_overrides_seed_and_defects_reach_the_set(recipe: str, tmp_path: Path) -> None:
    options = [
        "--set",
        "image.height=40",
        "--set",
        'name="other"',
        "--seed",
        "9",
        "--defects",
        "--workers",
        "0",
    ]
    result = _run("--machine", recipe, "--count", "1", "--out", str(tmp_path), *options)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "other" / "test" / "manifest.json").read_text())
    assert (manifest["seed"], manifest["defects"], manifest["machine"]["image"]["height"]) == (9, True, 40)
    assert tifffile.imread(tmp_path / "other/test/defect_free/00000.tif").shape == (40, 64)
    assert tifffile.imread(tmp_path / "other/test/truth/00000.tif").max() >= 1


def test_a_preview_alone_writes_no_set(recipe: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    before = set(tmp_path.iterdir())
    result = _run("--machine", recipe, "--preview", str(sheet), "--count", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(sheet)
    assert set(tmp_path.iterdir()) - before == {sheet}


def test_show_prints_the_recipe_of_a_machine_that_ships() -> None:
    result = CliRunner().invoke(cli.app, ["machines", "show", "S1"])
    assert (result.exit_code, result.stdout) == (0, recipe_text("S1"))


def test_machines_that_ship_are_listed_with_what_they_stand_for() -> None:
    result = CliRunner().invoke(cli.app, ["machines", "list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["S1", "S2", "S3", "wide"]
    assert tomllib.loads(recipe_text("S2"))["summary"] in result.stdout


def test_a_machine_that_does_not_ship_is_not_shown() -> None:
    result = CliRunner().invoke(cli.app, ["machines", "show", "S9"])
    assert result.exit_code == 5
    assert "one of" in result.stderr


def test_too_few_options_are_a_wrong_command_line(recipe: str) -> None:
    for arguments, missing in (
        ([], "--machine"),
        (["--machine", recipe], "--out"),
        (["--out", "x"], "--machine"),
    ):
        result = _run(*arguments)
        assert result.exit_code == 2
        assert missing in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--set", "exposures.short_s=0"], 5, "exposures.short_s: expected greater than 0"),
        (["--set", "geometry.source_object_mm=700"], 5, "magnification of 1 or more, found 600"),
        (["--set", "scenes.unicorn=1"], 5, "found 'unicorn'"),
        (["--set", "tube.current_ua"], 5, "key=value"),
        (["--count", "none"], 5, "small or full"),
        (["--count", "0"], 5, "small or full"),
        (["--count", "full", "--set", "set.test=0"], 5, "set.test: expected a whole number of 1"),
        (["--set", "panel.electrons_per_quantum=1e-300"], 5, "greater than or equal to 0.001"),
        (["--set", "panel.read_noise=1e300"], 5, "less than or equal to 1e+06"),
        (["--set", "panel.offset=1e300"], 5, "less than or equal to 65535"),
        (["--set", "panel.dark_e_s=1e300"], 5, "less than or equal to 1e+09"),
        (["--split", "validation"], 2, "validation"),
        (["--seed", "-1"], 2, "--seed"),
        (["--preview", "sheet.tif"], 4, "ends in .png"),
        (["--machine", "S9"], 5, "one of"),
    ],
)
def test_a_refusal_is_one_line_with_its_exit_code_and_nothing_is_written(
    recipe: str, tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    out = tmp_path / "out"
    result = _run("--machine", recipe, "--out", str(out), "--count", "1", "--workers", "0", *arguments)
    assert result.exit_code == code
    assert told in result.stderr
    if code != 2:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_an_interrupted_run_tells_how_to_go_on(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulating, "write_set", interrupted)
    result = _run("--machine", recipe, "--out", str(tmp_path / "out"))
    assert result.exit_code == 130
    assert result.stderr.splitlines() == ["interrupted: finished pairs stay, and the same command goes on"]


def test_the_help_tells_how_many_pairs_a_preview_shows() -> None:
    words = " ".join(_run("--help").output.replace("│", " ").split())
    assert PREVIEWED == 4
    assert "the first four pairs" in words


@pytest.mark.parametrize(("total", "lines"), [(1, 1), (7, 7), (100, 100), (250, 84), (1708, 96), (None, 300)])
def test_off_a_terminal_progress_is_a_line_per_item_or_per_percent(
    total: int | None, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("simulating", total=total) as shown:
        for done in range(1, (total or 300) + 1):
            shown.update(done, "00000")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert told[-1] == (f"simulating {total}/{total}: 00000" if total else "simulating 300: 00000")


def test_a_second_command_with_another_seed_into_the_same_folder_is_refused(
    recipe: str, tmp_path: Path
) -> None:
    common = ["--machine", recipe, "--out", str(tmp_path / "out"), "--count", "1", "--workers", "0"]
    assert [_run(*common).exit_code for _ in range(2)] == [0, 0]
    other = _run(*common, "--seed", "1")
    assert other.exit_code == 4
    assert "another recipe, seed or version" in other.stderr
