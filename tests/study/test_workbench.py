"""Trainings and scores that are kept: taken up where they are, told apart by what decides them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tifffile
from miniature import TINY, CrashError, document, perceptual_of, refuse, resnet_file

from longexposure.data.pairs import ImagePair
from longexposure.errors import InputError
from longexposure.study import noise2noise
from longexposure.study import suite as studying
from longexposure.study.sets import Selection, Stock, TestSet
from longexposure.study.suite import study
from longexposure.study.workbench import Workbench, run_key
from longexposure.train.recipe import recipe_from

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_training_that_several_studies_need_is_done_once(everything: Path) -> None:
    rows = document(everything, "table1")["results"]["hashes"]
    assert document(everything, "compare")["results"]["hashes"]["framework"] == rows["DM + FFL + WHFL"][:1]
    assert document(everything, "one-model")["results"]["hashes"]["all"] == rows["DM + FFL + WHFL"][:1]
    assert document(everything, "downsampling")["results"]["hashes"]["DS 4x"] == rows["bicubic"][:1]
    kept = {path.name for path in (everything / "runs").iterdir()}
    told = {run["hash"] for name in studying.STUDIES for run in document(everything, name)["trainings"]}
    assert kept == told
    assert len(told) == 2 * 4 + 2 + 4 + 2 * len(noise2noise.CONDITIONS) + 6


def test_a_second_start_trains_and_scores_nothing_and_finds_the_same(
    everything: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where results and data have moved."""
    shutil.copytree(everything, tmp_path / "out")
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.setattr("longexposure.study.workbench.train", refuse)
    monkeypatch.setattr("longexposure.study.workbench.load_enhancer", refuse)
    study("table1", out=tmp_path / "out", data=tmp_path / "data", budget=TINY, device="cpu")
    before, after = document(everything, "table1"), document(tmp_path / "out", "table1")
    assert after["results"] == before["results"]
    assert after["trainings"] == before["trainings"]


def test_a_broken_study_goes_on_where_it_stopped(everything: Path, data: Path, tmp_path: Path) -> None:
    def crash(text: str) -> None:
        if text.startswith("training bicubic + FFL, seed 2: step 1 of"):
            raise CrashError

    with pytest.raises(CrashError):
        study("table1", out=tmp_path / "out", data=data, budget=TINY, device="cpu", tell=crash)
    told: list[str] = []
    study("table1", out=tmp_path / "out", data=data, budget=TINY, device="cpu", tell=told.append)
    assert not any(line.startswith(("training bicubic, ", "training bicubic + FFL, seed 1")) for line in told)
    whole, broken = (document(out, "table1") for out in (everything, tmp_path / "out"))
    assert broken["results"] == whole["results"]


def test_scores_that_were_cut_off_are_completed(everything: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(everything, tmp_path / "out")
    bench = Workbench(tmp_path / "out", TINY, device="cpu")
    test = Stock(data, TINY).tests()
    before = bench.score("gaussian", test)
    (path,) = (tmp_path / "out" / "scores").glob(f"gaussian-{test.fingerprint(bench.files)}/scores.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:1], lines[1][:20]]))
    again = bench.score("gaussian", test)
    assert [(one["name"], one["machine"], one["hq"]) for one in again] == [
        (one["name"], one["machine"], one["hq"]) for one in before
    ]
    assert again[0]["seconds"] == before[0]["seconds"]


def test_other_pixels_and_other_recipes_are_other_trainings(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    bench = Workbench(tmp_path / "out", TINY, device="cpu")

    def key(seed: int = 1, **changes: Any) -> str:
        selection = Stock(tmp_path / "data", TINY).selection("S1")
        values = {**bench.row("bicubic", seed=seed), **changes}
        recipe = recipe_from({**values, "data": {**values["data"], "path": str(tmp_path)}}, where="test")
        return run_key(recipe, selection.fingerprint(bench.files))

    first = key()
    assert key() == first
    assert key(seed=2) != first
    assert key(loss={"focal_frequency_weight": 1.0}) != first
    assert key(workers=3, checkpoint_every_steps=1) == first
    path = sorted((tmp_path / "data/S1/train/LQ").glob("*.tif"))[0]
    tifffile.imwrite(path, tifffile.imread(path) + 1)
    assert key() != first


def trained_edcnn(bench: Workbench, selection: Selection) -> Any:
    return bench.train("EDCNN", bench.document("edcnn", seed=1), selection)


def test_weights_of_the_perceptual_term_count_by_their_bytes_not_by_their_place(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of trainings and of the time that a step takes."""
    timed: list[str] = []
    monkeypatch.setattr(Workbench, "kept", lambda self, what, name, key, measure: timed.append(key) or 1.0)
    selection = Stock(data, TINY).selection("S1")
    (tmp_path / "elsewhere").mkdir()
    places = [
        None,
        resnet_file(tmp_path / "resnet.safetensors"),
        resnet_file(tmp_path / "elsewhere" / "same.safetensors"),
        resnet_file(tmp_path / "other.safetensors", seed=1),
    ]
    keys = []
    for place in places:
        perceptual = None if place is None else perceptual_of(place)
        bench = Workbench(tmp_path / "out", TINY, device="cpu", perceptual=perceptual)
        values = bench.document("edcnn", seed=1)
        keys.append(run_key(bench._recipe(values, selection)[0], "pixels"))
        bench.seconds_per_step("EDCNN", values, selection)
        for kind in ("framework", "fast", "nafnet", "dncnn"):
            assert "perceptual" not in bench.document(kind, seed=1)["loss"]  # type: ignore[arg-type]
    for found in (keys, timed):
        assert found[1] == found[2]
        assert len(set(found)) == 3


def test_a_broken_training_goes_on_where_the_weights_have_moved(data: Path, tmp_path: Path) -> None:
    def crash(text: str) -> None:
        if text.startswith("training EDCNN: step 1 of"):
            raise CrashError

    selection = Stock(data, TINY).selection("S1")
    weights = resnet_file(tmp_path / "resnet.safetensors")
    bench = Workbench(tmp_path / "out", TINY, device="cpu", perceptual=perceptual_of(weights), tell=crash)
    with pytest.raises(CrashError):
        trained_edcnn(bench, selection)
    weights = weights.rename(tmp_path / "moved.safetensors")
    bench = Workbench(tmp_path / "out", TINY, device="cpu", perceptual=perceptual_of(weights))
    assert trained_edcnn(bench, selection).facts["resumed"]
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("dtype", "highest", "bits", "span"),
    [
        ("uint8", 20, 0, 255),
        ("uint16", 40000, 0, 65535),
        ("uint16", 4000, 12, 4095),
        ("uint16", 4000, 16, 65535),
    ],
)
def test_grey_values_span_what_the_files_tell(dtype: str, highest: float, bits: int, span: float) -> None:
    pair = ImagePair("a", Path("a"), Path("b"), shape=(4, 4), dtype=dtype, highest=highest, bits=bits)
    assert TestSet((pair,), None).data_ranges == {"a": span}


@pytest.mark.parametrize(("dtype", "highest"), [("float32", 0.5), ("uint16", 4000)])
def test_grey_values_without_a_span_are_refused_with_the_way_out(dtype: str, highest: float) -> None:
    pair = ImagePair("a", Path("a"), Path("b"), shape=(4, 4), dtype=dtype, highest=highest)
    with pytest.raises(InputError, match="MaxSampleValue"):
        _ = TestSet((pair,), None).data_ranges
