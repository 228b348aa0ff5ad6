"""Noise calibrations on the command line: measured, shown, used, and what is said when they do not fit."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from longexposure.cli import app as cli

ROOT = Path(__file__).parents[2]
GAIN, READ, OFFSET = 2.0, 10.0, 300.0


class Outcome:
    """What a run of the command line left behind."""

    def __init__(self, *arguments: object) -> None:
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        self.code, self.stdout, self.stderr = result.exit_code, result.stdout, result.stderr

    def lines(self, start: str) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith(start)]


def shot(random: np.random.Generator, quanta: float | np.ndarray, *, side: int = 64) -> np.ndarray:
    mean = np.broadcast_to(np.asarray(quanta, float), (side, side))
    grey = GAIN * random.poisson(mean) + OFFSET + READ * random.standard_normal(mean.shape)
    return np.rint(grey).clip(0, 65535).astype(np.uint16)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """flats/ and darks/ of a machine, and shots/ of a part."""
    random = np.random.default_rng(0)
    series = {"flats": (400, 400, 400, 2000, 2000, 2000, 9000, 9000, 9000), "darks": (0, 0, 0)}
    for folder, quanta in series.items():
        (tmp_path / folder).mkdir()
        for number, each in enumerate(quanta):
            path = tmp_path / folder / f"{number}.tif"
            tifffile.imwrite(path, shot(random, each), photometric="minisblack")
    part = np.where(np.hypot(*(np.indices((64, 64)) - 32)) < 15, 2000, 6000)
    (tmp_path / "shots").mkdir()
    for number in range(2):
        path = tmp_path / "shots" / f"part{number}.tif"
        tifffile.imwrite(path, shot(random, part), photometric="minisblack")
    return tmp_path


@pytest.fixture
def calibration(bench: Path) -> Path:
    path = bench / "axi3.toml"
    options = ("--darks", bench / "darks", "--name", "AXI 3", "--exposure", 5, "--out", path)
    outcome = Outcome("noise", "machine", "--from", "flats", bench / "flats", *options)
    assert outcome.code == 0, outcome.stderr
    return path


def test_flats_and_darks_become_a_file_and_words(bench: Path) -> None:
    path = bench / "axi3.toml"
    options = ("--darks", bench / "darks", "--name", "AXI 3", "--out", path)
    outcome = Outcome("noise", "machine", "--from", "flats", bench / "flats", *options)
    assert outcome.code == 0
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    assert found["noise"]["slope"] == pytest.approx(GAIN, rel=0.05)
    assert found["measured"]["frames"] == 9
    assert found["measured"]["darks"] == 3
    assert outcome.stdout.splitlines()[-1] == str(path)
    words = ("AXI 3", "variance per grey value", "+-", "9 flats, 3 darks, 64 x 64 px")
    assert all(word in outcome.stdout for word in words)
    assert "12/12" in outcome.stderr


def test_info_shows_it_in_words_and_whole(calibration: Path) -> None:
    text = Outcome("info", calibration).stdout
    assert all(word in text for word in (str(calibration), "AXI 3", "holds for", "uint16, grey values", "5"))
    whole = json.loads(Outcome("info", calibration, "--json").stdout)
    assert whole["noise"]["slope"] == pytest.approx(GAIN, rel=0.05)
    assert whole["files"][0]["sha256"]
    assert whole["exposure_s"] == 5


def test_info_tells_the_noise_of_an_image_in_words(bench: Path) -> None:
    text = Outcome("info", bench / "shots" / "part0.tif").stdout
    assert "% of the contrast; more in bright places" in text
    assert "measured on this image alone" in text


def test_enhance_takes_the_noise_from_it_and_says_so_everywhere(bench: Path, calibration: Path) -> None:
    results, page = bench / "results.json", bench / "page.html"
    options = ("--noise", calibration, "--out", bench / "out", "--json", results, "--report", page)
    outcome = Outcome("enhance", bench / "shots", *options, "--model", "nlm")
    assert outcome.code == 0, outcome.stderr
    assert "noise from" in outcome.stdout
    assert "flats" in outcome.stdout
    first, _ = json.loads(results.read_text(encoding="utf-8"))
    assert first["warnings"] == []
    assert first["noise"]["origin"] == "flats"
    middle = first["noise"]["level"]
    assert first["noise"]["sigma"] ** 2 == pytest.approx(GAIN * (middle - OFFSET) + READ**2, rel=0.05)
    (known,) = [step["calibration"] for step in first["history"][-1]["pages"]]
    assert known["sha256"] == hashlib.sha256(calibration.read_bytes()).hexdigest()
    assert (known["file"], known["machine"], known["source"]) == ("axi3.toml", "AXI 3", "flats")
    assert all(word in page.read_text(encoding="utf-8") for word in ("noise from", "axi3.toml"))
    stored = json.loads(Outcome("info", bench / "out" / "part0.tif", "--json").stdout)
    assert stored["history"][-1]["pages"][0]["calibration"]["machine"] == "AXI 3"


def test_without_it_the_table_says_that_the_image_told(bench: Path) -> None:
    outcome = Outcome("enhance", bench / "shots", "--out", bench / "out", "--model", "nlm")
    assert "the image" in outcome.stdout


def test_what_does_not_fit_is_an_error_of_that_file_and_the_others_go_on(
    bench: Path, calibration: Path
) -> None:
    eight = np.random.default_rng(1).integers(90, 110, (64, 64), dtype=np.uint8)
    tifffile.imwrite(bench / "shots" / "a_byte.tif", eight, photometric="minisblack")
    options = ("--noise", calibration, "--out", bench / "out", "--model", "nlm")
    outcome = Outcome("enhance", bench / "shots", *options)
    assert outcome.code == 3
    (line,) = outcome.lines("error: ")
    assert "noise of AXI 3: expected uint16 images" in line
    assert sorted(path.name for path in (bench / "out").iterdir()) == ["part0.tif", "part1.tif"]


def test_what_speaks_against_it_is_in_table_json_and_on_stderr(bench: Path, calibration: Path) -> None:
    random = np.random.default_rng(2)
    bright = np.where(np.indices((64, 64))[1] < 32, 8000, 16000)
    tifffile.imwrite(bench / "bright.tif", shot(random, bright), photometric="minisblack")
    results = bench / "results.json"
    options = ("--noise", calibration, "--out", bench / "out", "--model", "nlm", "--json", results)
    outcome = Outcome("enhance", bench / "bright.tif", *options)
    assert outcome.code == 0
    (line,) = outcome.lines("warning: ")
    assert "go beyond" in line
    assert "warnings" in outcome.stdout
    assert json.loads(results.read_text(encoding="utf-8"))[0]["warnings"] == [
        line.split("bright.tif: ", 1)[1]
    ]


def test_repeats_and_images_are_measured_too(bench: Path) -> None:
    for source, inputs in (("repeats", bench / "shots"), ("image", ROOT / "examples" / "radiographs")):
        path = bench / f"{source}.toml"
        files = sorted(inputs.glob("*.tif"))
        assert Outcome("noise", "machine", "--from", source, *files, "--out", path).code == 0
        assert tomllib.loads(path.read_text(encoding="utf-8"))["measured"]["source"] == source


@pytest.mark.parametrize(
    "options",
    [
        ("--from", "flats", "--include", "*"),
        ("--from", "image", "--darks", "darks"),
        ("--darks", "darks"),
        ("--name", "AXI"),
        ("--exposure", "5"),
        ("--no-pattern",),
        ("--from", "guesses"),
        ("--from", "flats", "--exposure", "0"),
    ],
)
def test_options_that_do_not_belong_together_are_a_usage_error(options: tuple[str, ...], bench: Path) -> None:
    outcome = Outcome("noise", "machine", bench / "flats", *options, "--out", bench / "x.toml")
    assert outcome.code == 2
    assert not (bench / "x.toml").exists()


def test_pairs_are_one_folder(bench: Path) -> None:
    assert Outcome("noise", "pairs", bench / "flats", bench / "darks", "--out", bench / "x").code == 2


def test_only_toml_is_written_and_nothing_is_overwritten_unasked(bench: Path, calibration: Path) -> None:
    command = ("noise", "machine", "--from", "flats", bench / "flats", "--out")
    before = (bench / "shots" / "part0.tif").read_bytes(), calibration.read_bytes()
    outcome = Outcome(*command, bench / "shots" / "part0.tif", "--overwrite")
    assert outcome.code == 4
    assert "a name that ends in .toml" in outcome.lines("error: ")[0]
    assert Outcome(*command, calibration).code == 4
    assert ((bench / "shots" / "part0.tif").read_bytes(), calibration.read_bytes()) == before
    assert Outcome(*command, calibration, "--overwrite").code == 0


@pytest.mark.parametrize("command", ["info", "enhance"])
def test_a_file_that_is_no_calibration_is_refused_before_the_work(command: str, bench: Path) -> None:
    recipe = ROOT / "src" / "longexposure" / "train" / "recipes" / "fast.toml"
    arguments = {
        "info": ("info", recipe),
        "enhance": ("enhance", bench / "shots", "--noise", recipe, "--out", bench / "out"),
    }
    outcome = Outcome(*arguments[command])
    assert outcome.code == 3
    (line,) = outcome.lines("error: ")
    assert "a TOML file of another kind" in line
    assert not (bench / "out").exists()
