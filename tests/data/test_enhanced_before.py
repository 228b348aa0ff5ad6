"""Images that were enhanced before say so wherever noise or truth is taken from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.data.check.check import check_pairs
from longexposure.data.evaluate import evaluate
from longexposure.data.noise_pairs import analyse_noise
from longexposure.data.pairs import PairedFolder, PairsError, refuse_enhanced
from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.files import enhance_files
from longexposure.errors import InputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.noise.calibrate import measure_calibration
from longexposure.radiograph import Radiograph, Step

ENHANCED = Step("longexposure", "9.9", "enhance", {"model": "best", "strength": 1.0})
OTHERS = (Step("longexposure", "9.9", "turn upright", {}), Step("other", "1", "simulate", {"bits": 16}))


def exposure(
    folder: Path, name: str, *, seed: int = 0, noise: float = 900.0, history: tuple[Step, ...] = ()
) -> Path:
    y, x = np.mgrid[:96, :96]
    clean = 40000 - 9000.0 * ((y - 48) ** 2 + (x - 40) ** 2 < 400) + 60 * x
    pixels = np.random.default_rng(seed).normal(clean, noise).astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    return write_radiograph(Radiograph(pixels, history=history), folder / f"{name}.tif")


def pairs(folder: Path, *, enhanced: str, names: str = "ab") -> Path:
    for number, name in enumerate(names):
        for part, noise in (("LQ", 900.0), ("HQ", 200.0)):
            history = (*OTHERS, ENHANCED) if part in enhanced and name == "a" else OTHERS
            seed = 2 * number + (part == "HQ")
            exposure(folder / part, name, seed=seed, noise=noise, history=history)
    return folder


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ((), ""),
        (OTHERS, ""),
        ((ENHANCED,), "best, longexposure 9.9"),
        ((ENHANCED, *OTHERS), "best, longexposure 9.9"),
        ((Step("longexposure", "1", "enhance", {"model": "fast"}), ENHANCED), "best, longexposure 9.9"),
        ((Step("another", "2", "enhance", {}),), "a model, another 2"),
    ],
)
def test_the_last_enhancement_is_told(history, said):
    assert Radiograph(np.zeros((2, 2), np.uint8), history=history).enhanced_by == said


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_enhancing_again_is_warned_of(suffix, tmp_path):
    source = exposure(tmp_path, "a")
    write_radiograph(read_radiograph(source), tmp_path / f"b{suffix}")
    enhancer = load_enhancer("gaussian")
    once = list(enhance_files([tmp_path / f"b{suffix}"], tmp_path / "once", enhancer))
    twice = list(enhance_files([once[0].output], tmp_path / "twice", enhancer))
    assert not any("enhanced before" in warning for warning in once[0].warnings)
    assert any("enhanced before (gaussian" in warning for warning in twice[0].warnings)
    actions = [step.action for step in read_radiograph(twice[0].output).history]
    assert actions.count("enhance") == 2


def test_info_warns(tmp_path):
    path = exposure(tmp_path, "a", history=(ENHANCED,))
    facts = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)
    assert "enhanced before (best, longexposure 9.9)" in str(facts["first page"]["warnings"])
    facts = json.loads(CliRunner().invoke(app, ["info", str(exposure(tmp_path, "b")), "--json"]).stdout)
    assert "enhanced before" not in str(facts)


@pytest.mark.parametrize(("factor", "told"), [(1, "interpolated"), (2, "repeated 2 x 2")])
@pytest.mark.parametrize("history", [(), OTHERS, (ENHANCED,), (ENHANCED, *OTHERS)])
def test_what_enhancing_left_is_not_said_to_be_interpolated(history, factor, told, tmp_path):
    image = np.random.default_rng(1).normal(20000, 800, (128, 128))
    if factor == 1:
        image = zoom(image, 2, order=1)
    pixels = np.rint(image).astype(np.uint16).repeat(factor, axis=0).repeat(factor, axis=1)
    path = write_radiograph(Radiograph(pixels, history=history), tmp_path / "a.tif")
    facts = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)
    (result,) = enhance_files([path], tmp_path / "out", load_enhancer("identity"))
    expected = factor > 1 or ENHANCED not in history
    for warnings in (facts["first page"]["warnings"], result.warnings):
        assert any(f"pixels were {told} before" in warning for warning in warnings) == expected


@pytest.mark.parametrize("enhanced", ["LQ", "HQ", "LQ HQ"])
def test_training_pairs_are_refused(enhanced, tmp_path):
    folder = PairedFolder(pairs(tmp_path, enhanced=enhanced))
    with pytest.raises(PairsError, match=f"1 of 2 pairs enhanced before .{enhanced[:2]} by best"):
        refuse_enhanced(folder.pairs)
    refuse_enhanced(PairedFolder(pairs(tmp_path / "sound", enhanced="")).pairs)


@pytest.mark.parametrize("enhanced", ["LQ", "HQ"])
def test_checking_pairs_drops_them(enhanced, tmp_path):
    report = check_pairs(pairs(tmp_path, enhanced=enhanced))
    said = json.dumps(report.as_dict())
    assert f"enhanced before: {enhanced} by best" in said
    assert report.verdict == "drop"


def test_evaluating_warns(tmp_path):
    found = evaluate(pairs(tmp_path, enhanced="LQ"), ["identity"], device="cpu")
    assert found.warnings == ("a was enhanced before: LQ by best, longexposure 9.9",)
    assert found.as_dict()["warnings"] == list(found.warnings)


def test_noise_of_pairs_leaves_them_out(tmp_path):
    found = analyse_noise(pairs(tmp_path, enhanced="HQ", names="abc"))
    assert list(found.left_out) == ["a"]
    assert "enhanced before: HQ by best" in found.left_out["a"]


def test_noise_of_a_machine_is_not_measured_on_them(tmp_path):
    files = [exposure(tmp_path, name, seed=seed, history=(ENHANCED,)) for seed, name in enumerate("ab")]
    with pytest.raises(
        InputError, match=r"as the detector gave them.*best.*measure the noise on the originals"
    ):
        measure_calibration(files, source="image")
