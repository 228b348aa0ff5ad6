"""Sets of pairs on disk: equal bytes always, whole files always, and the truth beside them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from quick import BALL_GRID, SOMEWHERE

from longexposure.data import simulated_sets
from longexposure.data.pairs import PairedFolder
from longexposure.data.simulated_sets import SetPlan, preview, read_truth, write_set
from longexposure.errors import OutputError, RecipeError, ResourceError
from longexposure.io import read_radiograph, remove_temporaries
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine

SMALL = BALL_GRID.replace(*SOMEWHERE) + "vias = 1\n[screen]\nf50_lp_mm = 1.4\n[panel]\nread_noise = 20\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def _plan(recipe: Path, out: Path, **more: Any) -> SetPlan:
    return SetPlan(**{"machine": str(recipe), "split": "test", "count": 3, "seed": 0, "out": out, **more})


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_set_has_pairs_truth_recipe_and_manifest(recipe: Path, tmp_path: Path) -> None:
    manifest = write_set(_plan(recipe, tmp_path / "out"), workers=0)
    root = tmp_path / "out" / "small" / "test"
    assert manifest == root / "manifest.json"
    numbers = ("00000", "00001", "00002")
    expected = {f"{folder}/{n}.tif" for folder in ("LQ", "HQ", "clean") for n in numbers}
    expected |= {f"truth/{n}.json" for n in numbers} | {"manifest.json", "recipe.json"}
    assert set(_bytes(root)) == expected
    values = json.loads(manifest.read_text())
    assert (values["seed"], values["split"], values["defects"]) == (0, "test", False)
    assert values["versions"].keys() >= {"longexposure", "numpy", "scipy"}
    assert values["machine"]["geometry"]["source_object_mm"] == {"uniform": [40, 60]}
    for index, pair in enumerate(values["pairs"]):
        assert pair == read_truth(root / f"truth/{index:05}.json")
        assert 40 <= pair["drawn"]["geometry.source_object_mm"] <= 60
        assert set(pair["sha256"]) == {f"{folder}/{index:05}.tif" for folder in ("LQ", "HQ", "clean")}
        for name, digest in pair["sha256"].items():
            assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest


def test_the_files_hold_the_pixels_and_what_is_known_of_them(recipe: Path, tmp_path: Path) -> None:
    write_set(_plan(recipe, tmp_path, split="train", seed=7), workers=0)
    pair = draw_pair(load_machine(recipe), seed=7, index=2, split="train")
    root = tmp_path / "small" / "train"
    lq, hq, clean = (read_radiograph(root / folder / "00002.tif") for folder in ("LQ", "HQ", "clean"))
    assert np.array_equal(lq.pixels, pair.lq)
    assert np.array_equal(hq.pixels, pair.hq)
    assert clean.pixels.dtype == np.uint16
    assert np.abs(clean.pixels - pair.clean).max() <= 0.51
    assert (lq.exposure["exposure_s"], hq.exposure["exposure_s"]) == (5, 90)
    assert lq.pitch_um == pytest.approx((pair.parameters.pixel_um,) * 2)
    settings = {"machine": "small", "seed": 7, "split": "train", "index": 2, "bits": 16}
    assert lq.history[-1].settings == settings


def test_sets_are_paired_folders_that_trainings_read(recipe: Path, tmp_path: Path) -> None:
    write_set(_plan(recipe, tmp_path / "out", count=2), workers=0)
    assert len(PairedFolder(tmp_path / "out" / "small" / "test", clean=True)) == 2


def test_defects_bring_defect_free_images_masks_and_records(recipe: Path, tmp_path: Path) -> None:
    plan = _plan(recipe, tmp_path / "out", count=2, defects=True)
    write_set(plan, workers=0)
    for index in range(2):
        truth = read_truth(plan.root / f"truth/{index:05}.json")
        mask = read_radiograph(plan.root / f"truth/{index:05}.tif").pixels
        assert mask.dtype == np.uint8
        assert 0 < mask.max() <= len(truth["defects"])
        assert f"truth/{index:05}.tif" in truth["sha256"]
        clean, defect_free = (
            read_radiograph(plan.root / folder / f"{index:05}.tif").pixels.astype(int)
            for folder in ("clean", "defect_free")
        )
        assert np.abs(clean - defect_free)[mask > 0].max() > 50
        for defect in truth["defects"]:
            assert {"kind", "feature", "at_um", "size_um", "at_px", "contrast"} <= defect.keys()


def test_an_eight_bit_machine_writes_eight_bits(recipe: Path, tmp_path: Path) -> None:
    plan = _plan(recipe, tmp_path, count=1, overrides=("panel.bits=8", "panel.read_noise=0"))
    write_set(plan, workers=0)
    for folder in ("LQ", "HQ", "clean"):
        assert read_radiograph(plan.root / folder / "00000.tif").pixels.dtype == np.uint8


def test_any_number_of_workers_gives_the_same_bytes(recipe: Path, tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    for workers in (0, 2):
        plan = _plan(recipe, tmp_path / str(workers), count=4, defects=True)
        write_set(plan, workers=workers, on_pair=lambda done, path: told.append((done, path.stem)))
    assert _bytes(tmp_path / "0") == _bytes(tmp_path / "2")
    assert [done for done, _ in told] == [1, 2, 3, 4] * 2
    assert sorted(stem for _, stem in told[4:]) == [f"{n:05}" for n in range(4)]


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bytes(recipe: Path, tmp_path: Path) -> None:
    for threads in ("1", "3"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        subprocess.run(_command(recipe, tmp_path / threads, workers=0), env=environment, check=True)
    assert _bytes(tmp_path / "1") == _bytes(tmp_path / "3")


def test_a_set_grows_and_is_the_same_as_one_made_at_once(recipe: Path, tmp_path: Path) -> None:
    for count in (1, 3, 2):
        write_set(_plan(recipe, tmp_path / "grown", count=count), workers=0)
    write_set(_plan(recipe, tmp_path / "once", count=3), workers=0)
    assert _bytes(tmp_path / "grown") == _bytes(tmp_path / "once")


def test_what_is_done_is_not_done_again_and_what_is_missing_is(recipe: Path, tmp_path: Path) -> None:
    plan = _plan(recipe, tmp_path / "out")
    write_set(plan, workers=0)
    before = _bytes(plan.root)
    kept = (plan.root / "LQ/00000.tif").stat().st_mtime_ns
    (plan.root / "truth/00001.json").unlink()
    (plan.root / "HQ/00002.tif").unlink()
    (plan.root / "manifest.json").unlink()
    told: list[int] = []
    write_set(plan, workers=0, on_pair=lambda done, _: told.append(done))
    assert told == [2, 3]
    assert _bytes(plan.root) == before
    assert (plan.root / "LQ/00000.tif").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"overrides": ("tube.current_ua=31",)}, {"defects": True}],
    ids=["seed", "recipe", "defects"],
)
def test_another_set_into_the_same_folder_is_refused_and_nothing_changes(
    recipe: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    write_set(_plan(recipe, tmp_path / "out"), workers=0)
    before = _bytes(tmp_path / "out")
    folders = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="another recipe, seed or version"):
        write_set(_plan(recipe, tmp_path / "out", **other), workers=0)
    assert _bytes(tmp_path / "out") == before
    assert sorted(tmp_path.rglob("*")) == folders


def test_another_version_is_refused(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan(recipe, tmp_path / "out", count=1)
    write_set(plan, workers=0)
    monkeypatch.setattr(simulated_sets.metadata, "version", lambda _: "0.0.0")
    with pytest.raises(OutputError, match="another recipe, seed or version"):
        write_set(plan, workers=0)


@pytest.mark.parametrize("name", ["notes.txt", "LQ/00000.tif", "truth/mine.json"])
def test_a_folder_with_files_of_something_else_is_refused_and_left_as_it_is(
    recipe: Path, tmp_path: Path, name: str
) -> None:
    plan = _plan(recipe, tmp_path / "out")
    (plan.root / name).parent.mkdir(parents=True)
    (plan.root / name).write_text("mine")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(OutputError, match="something else"):
        write_set(plan, workers=0)
    assert sorted((tmp_path / "out").rglob("*")) == before
    assert (plan.root / name).read_text() == "mine"


def test_a_folder_that_cannot_be_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="folder"):
        write_set(_plan(recipe, tmp_path / "out"), workers=0)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"overrides": ("geometry.source_object_mm=700",)}, "geometry.source_detector_mm"),
        ({"overrides": ("exposures.short_s=0",)}, "exposures.short_s"),
        ({"count": 0}, "count"),
        ({"count": 100_001}, "count"),
        ({"seed": -1}, "seed"),
        ({"machine": "S9"}, "machine"),
    ],
)
def test_an_impossible_plan_is_refused_before_anything_is_written(
    recipe: Path, tmp_path: Path, more: dict[str, Any], where: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        write_set(_plan(recipe, tmp_path / "out", **more), workers=0)
    assert caught.value.where.endswith(where)
    assert not (tmp_path / "out").exists()


def test_all_parameters_of_a_set_are_drawn_before_anything_is_written(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = simulated_sets.parameters_of

    def one_is_impossible(machine: object, key: tuple[int, int, int]) -> object:
        if key[2] == 2:
            raise RecipeError(where="scenes", expected="a kind", found="none", advice="add one")
        return drawn(machine, key)  # type: ignore[arg-type]

    monkeypatch.setattr(simulated_sets, "parameters_of", one_is_impossible)
    with pytest.raises(RecipeError, match="scenes"):
        write_set(_plan(recipe, tmp_path / "out"), workers=0)
    assert not (tmp_path / "out").exists()


def test_a_failure_while_drawing_names_machine_and_pair(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(*_: object, **__: object) -> None:
        raise RecipeError(where="ball, at", expected="below the source", found="above", advice="move it")

    monkeypatch.setattr(simulated_sets, "draw_pair", impossible)
    with pytest.raises(RecipeError, match=r"small\.toml, pair 0: ball, at"):
        write_set(_plan(recipe, tmp_path / "out"), workers=0)


TORN_TRUTHS = (b"{", b"[]", b"\xff", b"{}", b'{"sha256": {}}', b'{"sha256": {"HQ/00000.tif": 1}}')


@pytest.mark.parametrize("content", TORN_TRUTHS)
def test_a_pair_with_a_torn_truth_is_made_anew(recipe: Path, tmp_path: Path, content: bytes) -> None:
    plan = _plan(recipe, tmp_path / "out", count=1)
    write_set(plan, workers=0)
    before = _bytes(plan.root)
    (plan.root / "truth/00000.json").write_bytes(content)
    write_set(plan, workers=0)
    assert _bytes(plan.root) == before


def test_a_torn_truth_beyond_the_count_is_refused_with_advice(recipe: Path, tmp_path: Path) -> None:
    write_set(_plan(recipe, tmp_path / "out", count=2), workers=0)
    plan = _plan(recipe, tmp_path / "out", count=1)
    (plan.root / "truth/00001.json").write_bytes(b"{")
    with pytest.raises(OutputError, match="run the same command again"):
        write_set(plan, workers=0)


@pytest.mark.parametrize(
    ("name", "harm"),
    [("LQ", "missing"), ("clean", "truncated"), ("defect_free", "damaged"), ("truth", "damaged")],
)
def test_a_pair_with_a_spoilt_image_is_made_anew_and_no_other(
    recipe: Path, tmp_path: Path, name: str, harm: str
) -> None:
    plan = _plan(recipe, tmp_path / "out", defects=True, count=2)
    write_set(plan, workers=0)
    before, path = _bytes(plan.root), plan.root / name / "00001.tif"
    content = path.read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    path.unlink() if harm == "missing" else path.write_bytes(content[:99] if harm == "truncated" else changed)
    told: list[str] = []
    write_set(plan, workers=0, on_pair=lambda _, truth: told.append(truth.stem))
    assert told == ["00001"]
    assert _bytes(plan.root) == before


def test_there_is_no_manifest_while_a_set_grows(recipe: Path, tmp_path: Path) -> None:
    manifest = write_set(_plan(recipe, tmp_path / "out", count=1), workers=0)
    there: list[bool] = []
    write_set(_plan(recipe, tmp_path / "out"), workers=0, on_pair=lambda *_: there.append(manifest.exists()))
    assert there == [False, False]
    assert len(json.loads(manifest.read_text())["pairs"]) == 3


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_in_one_line(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_sets, "_make", _die)
    with pytest.raises(ResourceError, match="fewer --workers"):
        write_set(_plan(recipe, tmp_path / "out"), workers=2)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _command(recipe: Path, out: Path, *, workers: int, count: int = 3) -> list[str]:
    options = [
        "--count",
        str(count),
        "--workers",
        str(workers),
        "--set",
        "image.height=400",
        "--set",
        "image.width=400",
    ]
    return [
        sys.executable,
        "-m",
        "longexposure",
        "simulate",
        "--machine",
        str(recipe),
        "--out",
        str(out),
        *options,
    ]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_no_half_file_and_is_gone_on_with_to_the_same_bytes(
    recipe: Path, tmp_path: Path, workers: int
) -> None:
    count = 12
    larger = {"count": count, "overrides": ("image.height=400", "image.width=400")}
    plan = _plan(recipe, tmp_path / "killed", **larger)
    process = subprocess.Popen(_command(recipe, tmp_path / "killed", workers=workers, count=count))
    try:
        _wait_for(lambda: len(list(plan.root.glob("truth/*.json"))) >= 2)
    finally:
        process.kill()
        process.wait()
    time.sleep(0.5 if workers else 0)
    left = _bytes(plan.root)
    assert 2 <= sum(name.startswith("truth/0") for name in left) < count
    write_set(_plan(recipe, tmp_path / "whole", **larger), workers=0)
    whole = _bytes(tmp_path / "whole" / "small" / "test")
    for name, content in left.items():
        assert name.endswith(".part") or content == whole[name]
    write_set(plan, workers=0)
    assert _bytes(plan.root) == whole


def _wait_for(holds: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "nothing was written"
        time.sleep(0.005)


def test_half_files_of_dead_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    running = os.getppid()
    names = {
        f".longexposure-{dead.pid}-0a1b.part": False,
        f".longexposure-{os.getpid()}-0a1b.part": False,
        f".longexposure-{running}-0a1b.part": True,
        ".longexposure-x-0a1b.part": True,
        ".other-1-0a1b.part": True,
        "00000.tif": True,
    }
    for name in names:
        (tmp_path / name).write_text("half")
    remove_temporaries([tmp_path, tmp_path / "missing"])
    assert {path.name for path in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}


def test_a_preview_shows_each_pair_in_a_row_with_its_mask(recipe: Path, tmp_path: Path) -> None:
    machine = load_machine(recipe)
    pairs = [draw_pair(machine, seed=0, index=index, defects=index == 1) for index in range(2)]
    preview(pairs, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet.dtype, sheet.shape) == (np.uint8, (2 * 54, 4 * 70))
    lq, hq, clean = (sheet[:48, n * 70 : n * 70 + 64].astype(float) for n in range(3))
    low, high = np.percentile(pairs[0].hq, (0.2, 99.8))
    assert np.abs(hq - np.clip((pairs[0].hq - low) / (high - low) * 255, 0, 255)).max() <= 1
    assert (lq - clean).std() > 2 * (hq - clean).std()
    assert not sheet[:48, 210:].any()
    assert set(np.unique(sheet[54:102, 210:274])) == {0, 255}
    with pytest.raises(OutputError, match="existing file"):
        preview(pairs, tmp_path / "sheet.png")
    preview(pairs, tmp_path / "sheet.png", overwrite=True)
