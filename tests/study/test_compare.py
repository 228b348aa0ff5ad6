"""The comparison: equal time, what each method costs, and what EDCNN was trained with."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature import RESNET, TINY, document, perceptual_of, resnet_file
from PIL import Image
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.errors import CheckpointError, RecipeError
from longexposure.report import pictures
from longexposure.study import compare
from longexposure.study import suite as studying
from longexposure.study.sets import Stock
from longexposure.study.suite import study
from longexposure.study.workbench import Workbench
from longexposure.train.losses import PerceptualConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_peers_get_the_steps_that_fit_into_the_frameworks_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"framework": 3.0, "fast": 0.5, "EDCNN": 1.0, "NAFNet": 2.0, "DnCNN": 4.0}
    asked: dict[str, int] = {}
    monkeypatch.setattr(Workbench, "seconds_per_step", lambda self, kind, *_: seconds[kind])
    monkeypatch.setattr(
        Workbench, "train", lambda self, name, values, _: asked.setdefault(name, values["steps"])
    )
    bench = Workbench(tmp_path / "out", TINY.model_copy(update={"steps": 8}))
    compare.equal_time_trainings(bench, Stock(data, TINY).selection("S1"))
    assert list(asked.values()) == [8, 48, 24, 12, 6]


def test_the_comparison_has_speed_memory_and_pictures_of_every_method(everything: Path) -> None:
    found = document(everything, "compare")
    methods = ["framework", "fast", "EDCNN", "NAFNet", "DnCNN", "non-local means", "Gaussian"]
    assert [row[0] for row in found["tables"][0]["rows"]] == ["LQ", *methods]
    cost = found["results"]["cost"]
    assert all(cost[name]["s per Mpx"] > 0 and cost[name]["peak MiB"] == 1 for name in methods)
    assert cost["EDCNN"]["parameters"] > 0
    assert any("EDCNN was trained with its mean squared error alone" in line for line in found["limits"])
    for machine in ("S1", "S2", "S3"):
        picture = np.asarray(Image.open(everything / "figures" / f"compare-{machine}.png"))
        columns, tile = 5, 2 * TINY.picture_px + pictures.GAP_PX
        assert picture.shape == (2 * (tile + pictures.LABEL_PX), columns * tile)


def test_edcnn_without_imagenet_weights_says_so_in_its_row_below_the_table_and_in_the_limits(
    everything: Path,
) -> None:
    told = (
        "EDCNN was trained with its mean squared error alone: the perceptual term of its loss needs ImageNet"
    )
    found = document(everything, "compare")
    table = found["tables"][0]
    losses = {row[0]: row[table["columns"].index("loss")] for row in table["rows"]}
    assert losses == {
        "LQ": "",
        "framework": "L1 + 10 FFL + 0.1 WHFL",
        "fast": "pseudo-Huber alone, weighed by noise^-0.9",
        "EDCNN": "MSE alone",
        "NAFNet": "MSE alone, weighed by noise^-1",
        "DnCNN": "MSE alone",
        "non-local means": "",
        "Gaussian": "",
    }
    assert told in table["note"]
    assert any(line.startswith(told) for line in found["limits"])


def test_edcnn_takes_weights_that_are_given_and_nothing_else_is_trained_anew(
    everything: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "peak_memory", lambda model, side_px: 1.0)
    monkeypatch.setattr(studying, "PerceptualConfig", functools.partial(PerceptualConfig, **RESNET))
    shutil.copytree(everything, tmp_path / "out")
    weights, told = resnet_file(tmp_path / "resnet.safetensors"), list[str]()
    study(
        "compare",
        out=tmp_path / "out",
        data=data,
        budget=TINY,
        device="cpu",
        edcnn_weights=weights,
        tell=told.append,
    )
    assert {line.partition(":")[0] for line in told if line.startswith("training ")} == {
        "training EDCNN, seed 1"
    }
    before, after = document(everything, "compare"), document(tmp_path / "out", "compare")
    hashes = [found["results"]["hashes"] for found in (before, after)]
    assert {name for name in hashes[0] if hashes[0][name] != hashes[1][name]} == {"EDCNN"}
    digest = perceptual_of(weights).sha256
    (run,) = [run for run in after["trainings"] if run["name"] == "EDCNN, seed 1"]
    kept = run["recipe"]["loss"]["perceptual"]
    assert kept == {"weight": 0.01, "width": 4, "blocks": [1, 1, 1, 1], "sha256": digest}
    table = after["tables"][0]
    (row,) = [row for row in table["rows"] if row[0] == "EDCNN"]
    assert row[table["columns"].index("loss")] == "MSE + 0.01 perceptual"
    assert digest in table["note"]
    assert any(digest in line for line in after["limits"])
    assert "mean squared error alone" not in json.dumps(after)


def test_wrong_weights_and_studies_without_edcnn_are_refused_before_anything_is_done(
    data: Path, tmp_path: Path
) -> None:
    out, narrow = tmp_path / "out", resnet_file(tmp_path / "narrow.safetensors")
    with pytest.raises(CheckpointError, match=r"conv1.weight \(4, 3, 7, 7\) instead of \(64, 3, 7, 7\)"):
        study("compare", out=out, data=data, budget=TINY, edcnn_weights=narrow)
    with pytest.raises(RecipeError, match="compare, all, found table1; leave --edcnn-weights out"):
        study("table1", out=out, data=data, budget=TINY, edcnn_weights=narrow)
    arguments = ["study", "compare", "--data", data, "--out", out, "--edcnn-weights", tmp_path / "none"]
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == CheckpointError.exit_code
    assert "No such file" in result.stderr
    assert not out.exists()


@pytest.mark.slow
def test_memory_is_that_of_the_image_and_not_of_the_libraries() -> None:
    small, large = (compare.peak_memory("gaussian", side_px=side) for side in (256, 2048))
    two_images_mib = 2 * 2048**2 * 4 / 2**20  # what goes into the filter and what comes out, float32
    assert small < two_images_mib / 2
    assert two_images_mib < large < 2000
