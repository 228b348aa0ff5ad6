"""`longexposure adapt`: what it prints, what it leaves, how it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quick
import tifffile
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.models.registry import DEFAULT, shipped_weights

pytestmark = pytest.mark.usefixtures("one_thread")

MACHINE = next(iter(quick.DATA["machines"]))
SMALL = (
    "steps=2",
    "data.patch_px=32",
    "data.scene_px=48",
    f'data.machines={{ "{MACHINE}" = 1.0 }}',
    "data.pool=1",
    "optimiser.batch=1",
    "workers=0",
    "preview.every_steps=0",
)
HARM = ("optimiser.lr=0.01", "optimiser.ema_decay=0")


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in range(3):
        tifffile.imwrite(folder / f"{seed}.tif", quick.noisy(seed, (80, 80)))
    return folder


def run(*arguments: object, settings: tuple[str, ...] = SMALL) -> tuple[int, str, str]:
    sets = [part for line in settings for part in ("--set", line)]
    done = CliRunner().invoke(app, ["adapt", *map(str, arguments), *sets])
    return done.exit_code, done.stdout, done.stderr


def test_what_does_not_help_is_said_and_leaves_the_default(shots: Path, out: Path) -> None:
    code, stdout, stderr = run(shots, "--out", out, settings=(*SMALL, *HARM))
    assert code == 0, stderr
    told, checkpoint = stdout.splitlines()
    assert told.startswith("adapting did not help, fast stays as it is: held out: 1 shot; before ")
    assert "worse by" in told
    assert checkpoint == str(out / "checkpoint.safetensors")
    assert Path(checkpoint).read_bytes() == shipped_weights()[DEFAULT].read_bytes()
    assert "3 shots, noise measured on each" in stderr


def test_a_run_is_a_model_for_enhance(shots: Path, out: Path, tmp_path: Path) -> None:
    assert run(shots, "--out", out, settings=(*SMALL, *HARM))[0] == 0
    arguments = ["enhance", str(shots), "--out", str(tmp_path / "enhanced"), "--model", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--engine", "torch"])
    assert done.exit_code == 0, done.stderr
    assert len(list((tmp_path / "enhanced").glob("*.tif"))) == 3


def test_a_run_goes_on_with_the_same_command(shots: Path, out: Path) -> None:
    assert run(shots, "--out", out)[0] == 0
    code, _, stderr = run(shots, "--out", out)
    assert code != 0
    assert "go on with the run with --resume" in stderr
    assert run(shots, "--out", out, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--model", "nlm"], "a filter, which has no weights"),
        (["--model", "paper"], "longexposure train paper"),
        (["--noise", "missing.toml"], "missing.toml: expected a noise calibration"),
        (["--resume"], "a run to resume"),
        (["--set", "data.mix=2"], "data.mix: expected"),
    ],
)
def test_failures_are_one_line(arguments: list[str], found: str, shots: Path, out: Path) -> None:
    code, _, stderr = run(shots, "--out", out, *arguments)
    assert code != 0
    (line,) = (line for line in stderr.splitlines() if line.startswith("error: "))
    assert found in line
    assert not out.exists()


def test_images_that_are_too_small_are_refused(out: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((20, 20), np.uint16))
    code, _, stderr = run(tmp_path / "small.tif", "--out", out)
    assert code != 0
    assert "small.tif: expected at least 32 x 32 px" in stderr
