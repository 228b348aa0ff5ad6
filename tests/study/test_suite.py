"""Studying: the paper's experiments end to end in miniature, and what their numbers are held against."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.errors import CheckpointError, InputError, OutputError, RecipeError
from longexposure.models.dncnn import DnCNNConfig
from longexposure.models.edcnn import EDCNNConfig
from longexposure.models.fast import FastConfig
from longexposure.models.framework import FrameworkConfig
from longexposure.models.nafnet import NAFNetConfig
from longexposure.report import pictures
from longexposure.study import compare, noise2noise, scores, settings, table1
from longexposure.study import suite as studying
from longexposure.study.budgets import BUDGETS, Budget, Noise2NoiseBudget
from longexposure.study.result import markdown
from longexposure.study.scores import Spread
from longexposure.study.sets import PAPER, Selection, Stock, TestSet
from longexposure.study.suite import study
from longexposure.study.workbench import Workbench, run_key
from longexposure.train.losses import PerceptualConfig, ResNetTrunk
from longexposure.train.recipe import load_recipe, recipe_from

ROOT = Path(__file__).resolve().parents[2]
SIDE = 40
TINY_NAFNET = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=0, decoder_blocks=(1,), patch_px=16)
TINY = Budget(
    name="tiny",
    train_pairs=3,
    val_pairs=1,
    val_px=32,
    test_images=1,
    test_px=32,
    picture_px=24,
    framework=FrameworkConfig(width=4, z=4),
    fast=FastConfig(width=4, blocks=1),
    edcnn=EDCNNConfig(width=4),
    nafnet=TINY_NAFNET,
    dncnn=DnCNNConfig(depth=3, width=4),
    patch_px=16,
    batch=1,
    steps=2,
    lr=1e-3,
    validations=1,
    seeds=2,
    noise_pairs=2,
    timing_steps=2,
    memory_px=64,
    precision="f32",
    workers=0,
    noise2noise=Noise2NoiseBudget(
        train=2, test=1, size_px=48, patch_px=16, batch=1, steps=2, network=TINY_NAFNET, workers=0
    ),
)

Array = npt.NDArray[Any]


pytestmark = pytest.mark.usefixtures("one_thread")


def scene(seed: int, *, side: int = SIDE) -> Array:
    """A disc and a line on a slope, 0..1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    disc = (y - random.uniform(0.3, 0.7)) ** 2 + (x - random.uniform(0.3, 0.7)) ** 2 < 0.05
    line = np.abs(x - random.uniform(0.2, 0.8)) < 0.04
    return 0.6 + 0.1 * x - 0.25 * disc - 0.1 * line


def write_pair(folder: Path, name: str, seed: int, *, noise: float, clean: bool = True) -> None:
    random = np.random.default_rng((seed, 1))
    truth = 65535 * scene(seed)
    images = {
        "LQ": truth + random.normal(0, 65535 * noise, truth.shape),
        "HQ": truth + random.normal(0, 65535 * noise / math.sqrt(18), truth.shape),
        **({"clean": truth} if clean else {}),
    }
    for part, pixels in images.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        stored = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
        tifffile.imwrite(folder / part / f"{name}.tif", stored)


def write_types(root: Path, *, train: int = 4, test: int = 2, clean: bool = True) -> Path:
    for number, (machine, noise) in enumerate({"S1": 0.03, "S2": 0.04, "S3": 0.1}.items()):
        for split, count in (("train", train), ("test", test)):
            for index in range(count):
                seed = 1000 * number + 100 * (split == "test") + index
                write_pair(root / machine / split, f"{index:05}", seed, noise=noise, clean=clean)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_types(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def everything(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `study all` with a tiny budget; memory, which takes processes, is not measured."""
    out = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "peak_memory", lambda model, side_px: 1.0)
        study("all", out=out, data=data, budget=TINY, device="cpu")
    return out


def document(out: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((out / f"{name}.json").read_text(encoding="utf-8")))


def test_all_writes_every_study_and_one_page(everything: Path) -> None:
    for name in studying.STUDIES:
        assert document(everything, name)["study"] == name
        assert (everything / f"{name}.md").read_text(encoding="utf-8").startswith("# ")
    page = (everything / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in studying.STUDIES)


def test_the_page_asks_nothing_of_any_network_and_holds_every_figure(everything: Path) -> None:
    page = (everything / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    figures = sum(len(document(everything, name)["figures"]) for name in studying.STUDIES)
    assert sum(source.startswith("data:image/") for source in sources) == figures > 20


def test_every_document_tells_machine_budget_versions_and_what_was_not_measured(everything: Path) -> None:
    for name in studying.STUDIES:
        found = document(everything, name)
        assert found["host"]["processor"]
        assert found["host"]["versions"]["torch"] == torch.__version__
        assert found["budget"]["name"] == "tiny"
        assert any("steps 2 instead of 200000" in line for line in found["reduced"])
        assert found["limits"]
        text = (everything / f"{name}.md").read_text(encoding="utf-8")
        assert "Not measured, or only in part" in text
        assert markdown(found) == text


def test_every_number_of_table_one_can_be_found_again_from_its_hash(everything: Path, data: Path) -> None:
    """PSNR and SSIM against scikit-image, on what the kept weights make of the test image."""
    from longexposure.enhance.enhancer import load_enhancer

    found = document(everything, "table1")["results"]
    row = "DM + FFL + WHFL"
    for number, key in enumerate(found["hashes"][row]):
        enhancer = load_enhancer(everything / "runs" / key, engine="torch", device="cpu")
        for machine in ("S1", "S3"):
            lq, hq, clean = (
                tifffile.imread(data / machine / "test" / part / "00000.tif")[4:36, 4:36]
                for part in ("LQ", "HQ", "clean")
            )
            image = enhancer.enhance(np.ascontiguousarray(lq))
            for reference, name in ((hq, "hq"), (clean, "clean")):
                ours = found["ours"][row][name][machine]
                assert ours["psnr"]["values"][number] == pytest.approx(psnr_of(image, reference), abs=1e-6)
                assert ours["ssim"]["values"][number] == pytest.approx(ssim_of(image, reference), abs=1e-6)
                shifted = image - (image.mean(dtype=float) - reference.mean(dtype=float))
                unbiased = ours["psnr_bias_removed"]["values"][number]
                assert unbiased == pytest.approx(psnr_of(shifted, reference), abs=1e-6)


def psnr_of(image: Array, reference: Array) -> float:
    return float(peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=65535))


def ssim_of(image: Array, reference: Array) -> float:
    """Over the area that the Gaussian of 11 px covers whole."""
    found = structural_similarity(
        reference.astype(float),
        image.astype(float),
        data_range=65535,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    return float(found[5:-5, 5:-5].mean())


def test_short_exposure_and_ceiling_rows_are_those_of_scikit_image(everything: Path, data: Path) -> None:
    known = document(everything, "table1")["results"]["known"]
    for machine in ("S1", "S2", "S3"):
        lq, hq, clean = (
            tifffile.imread(data / machine / "test" / part / "00000.tif")[4:36, 4:36]
            for part in ("LQ", "HQ", "clean")
        )
        assert known["LQ"]["hq"][machine]["psnr"]["mean"] == pytest.approx(psnr_of(lq, hq), abs=1e-6)
        assert known["LQ"]["clean"][machine]["ssim"]["mean"] == pytest.approx(ssim_of(lq, clean), abs=1e-6)
        ceiling = known["ceiling (clean)"]["hq"][machine]
        assert ceiling["psnr"]["mean"] == pytest.approx(psnr_of(clean, hq), abs=1e-6)


def test_averages_are_weighted_with_the_papers_test_counts(everything: Path) -> None:
    lq = document(everything, "table1")["results"]["known"]["LQ"]["hq"]
    one, two, three = (lq[machine]["psnr"]["mean"] for machine in ("S1", "S2", "S3"))
    weighted = (427 * one + 200 * two + 208 * three) / 835
    assert lq["image-weighted"]["psnr"]["mean"] == pytest.approx(weighted)
    assert lq["plain mean"]["psnr"]["mean"] == pytest.approx((one + two + three) / 3)


@pytest.mark.parametrize("row", PAPER["rows"])
def test_the_papers_averages_are_weighted_so(row: str) -> None:
    for metric, tolerance in ((0, 0.011), (1, 0.00011)):
        values = {name: numbers[metric] for name, numbers in PAPER["rows"][row].items()}
        weighted = (427 * values["S1"] + 200 * values["S2"] + 208 * values["S3"]) / 835
        assert weighted == pytest.approx(values[scores.WEIGHTED], abs=tolerance)


def test_the_mean_and_spread_over_random_starts_are_in_the_table(everything: Path) -> None:
    found = document(everything, "table1")
    numbers = found["results"]["ours"]["bicubic"]["hq"]["S1"]["psnr"]
    assert len(numbers["values"]) == 2
    assert numbers["values"][0] != numbers["values"][1]
    assert numbers["spread"] == pytest.approx(np.std(numbers["values"], ddof=1))
    shown = next(row for row in found["tables"][0]["rows"] if row[:2] == ["bicubic", "S1"])
    assert shown[2] == f"{np.mean(numbers['values']):.2f} ± {numbers['spread']:.2f}"
    assert shown[4] == "34.91"


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


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


class CrashError(Exception):
    """Stands for a crash between two steps."""


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


def test_test_images_choose_nothing(data: Path, tmp_path: Path) -> None:
    """Neither among the training pairs nor among those that choose the weights."""
    stock = Stock(data, TINY)
    selection = stock.selection("S1", "S2", "S3")
    names = {pair.name for pair in (*selection.train, *selection.val)}
    assert len(names) == len(selection.train) + len(selection.val) == 12
    assert names.isdisjoint(pair.name for pair in stock.tests().pairs)
    manifest = selection.manifest(tmp_path / "set, with a comma")
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [row["split"] for row in rows].count("val") == 3
    assert all("test" not in Path(row["lq"]).parts for row in rows)
    crop = tifffile.imread(next(row["lq"] for row in rows if row["split"] == "val"))
    assert crop.shape == (32, 32)


def test_a_set_without_clean_images_has_no_ceiling(tmp_path: Path) -> None:
    """As the paper's own: then nothing is called a stand-in either."""
    write_types(tmp_path / "data", train=2, test=1, clean=False)
    (found,) = study(
        "table1", out=tmp_path / "out", data=tmp_path / "data", budget=TINY, device="cpu", seeds=1
    )
    assert found["results"]["known"]["ceiling (clean)"] is None
    assert found["results"]["known"]["LQ"]["clean"] == {}
    assert any(
        row[:3] == ("ceiling (clean)", "S1", "not known") for row in map(tuple, found["tables"][0]["rows"])
    )
    assert not found["data"]["simulated stand-ins"]
    assert all("spread between random starts unknown" in line for line in found["statements"][:4])


def spread(mean: float, by: float = 0.01) -> Spread:
    return Spread(mean, by, (mean - by, mean + by))


def rows(values: dict[str, float], by: float = 0.01) -> dict[str, Any]:
    names = ("S1", "S2", "S3", scores.WEIGHTED)
    return {
        row: {"hq": {name: {"psnr": spread(value, by), "ssim": spread(value, by)} for name in names}}
        for row, value in values.items()
    }


def test_agreement_with_the_paper_counts_what_lies_beyond_the_spread() -> None:
    order = ["bicubic", "bicubic + FFL", "DM + FFL", "DM + FFL + WHFL"]
    rising = rows({row: 1.0 + index for index, row in enumerate(order)})
    _, pairs = table1.agreement(rising, "ssim")
    paper = {
        name: [PAPER["rows"][row][name][1] for row in order] for name in ("S1", "S2", "S3", scores.WEIGHTED)
    }
    expected = sum(
        later > earlier
        for values in paper.values()
        for index, earlier in enumerate(values)
        for later in values[index + 1 :]
    )
    assert len(pairs) == 24
    assert sum(pair["verdict"] == "agrees" for pair in pairs) == expected == 22
    assert sum(pair["verdict"] == "contradicts" for pair in pairs) == 2  # FFL lowers SSIM in S2 and S3
    falling = rows({row: -1.0 * index for index, row in enumerate(order)})
    assert sum(pair["verdict"] == "agrees" for pair in table1.agreement(falling, "ssim")[1]) == 2
    wide = rows({row: 1.0 + index for index, row in enumerate(order)}, by=10.0)
    text, pairs = table1.agreement(wide, "ssim")
    assert {pair["verdict"] for pair in pairs} == {"undecided"}
    assert "0 agree, 0 contradict, 24 lie within" in text


def test_the_full_row_is_said_to_lose_where_it_loses() -> None:
    found = rows({"bicubic": 0.9, "bicubic + FFL": 0.8, "DM + FFL": 0.7, "DM + FFL + WHFL": 0.85})
    lines = table1.full_row_against_others(found)
    assert all("loses to the best other row (bicubic): -0.0500" in line for line in lines)
    found = rows({"bicubic": 0.9, "bicubic + FFL": 0.8, "DM + FFL": 0.7, "DM + FFL + WHFL": 0.95})
    assert all("beats" in line for line in table1.full_row_against_others(found))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("framework", "paper"),
        ("edcnn", "edcnn"),
        ("nafnet", "nafnet"),
        ("dncnn", "dncnn"),
        ("fast", "fast-first"),
    ],
)
def test_full_trainings_are_the_recipes_of_the_repository(kind: Any, file: str) -> None:
    recipe = load_recipe(ROOT / "recipes" / f"{file}.toml")
    values = settings.document(kind, BUDGETS["full"], seed=1, precision="bf16")
    ours = recipe_from({**values, "data": {**values["data"], "path": "x"}}, where="test")
    assert ours.network == recipe.network
    assert ours.loss == recipe.loss.model_copy(update={"structure_weight": 0.0})  # wants noise-free targets
    assert ours.optimiser == recipe.optimiser
    if kind in ("framework", "edcnn", "nafnet"):
        assert ours.steps == recipe.steps


def test_the_rows_of_table_one_differ_as_the_paper_says() -> None:
    documents = {
        row: settings.row_document(row, BUDGETS["full"], seed=1, precision="bf16") for row in settings.ROWS
    }
    told = {
        row: (
            values["network"]["encoder"],
            values["loss"]["focal_frequency_weight"] > 0,
            values["loss"]["wavelet_weight"] > 0,
        )
        for row, values in documents.items()
    }
    assert told == {
        "bicubic": ("bicubic", False, False),
        "bicubic + FFL": ("bicubic", True, False),
        "DM + FFL": ("learned", True, False),
        "DM + FFL + WHFL": ("learned", True, True),
    }


@pytest.mark.parametrize("name", BUDGETS)
def test_every_budget_makes_valid_recipes_and_says_what_it_reduces(name: str) -> None:
    budget = BUDGETS[name]
    for row in settings.ROWS:
        for scale in (1, 2, 4):
            values = settings.row_document(row, budget, seed=1, scale=scale, precision="f32")
            recipe_from({**values, "data": {**values["data"], "path": "x"}}, where=name)
    for kind in compare.PEERS.values():
        values = settings.document(kind, budget, seed=1, precision="f32")
        recipe_from({**values, "data": {**values["data"], "path": "x"}}, where=name)
    assert bool(budget.reductions()) == (name != "full")
    assert budget.seeds >= 3


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


RESNET = {"width": 4, "blocks": (1, 1, 1, 1)}


def resnet_file(path: Path, *, seed: int = 0) -> Path:
    """Random weights of a narrow ResNet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(ResNetTrunk(**RESNET).state_dict(), path)  # type: ignore[arg-type]
    return path


def perceptual_of(path: Path) -> PerceptualConfig:
    return PerceptualConfig(weights=str(path), **RESNET)  # type: ignore[arg-type]


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


def test_pictures_show_true_pixels_in_one_window() -> None:
    image = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 200
    picture = pictures.strip({"one": image, "other": image}, reference=image, zoom=3)
    one = picture[pictures.LABEL_PX : pictures.LABEL_PX + 48, :48]
    assert picture.shape == (pictures.LABEL_PX + 48 + pictures.GAP_PX, 2 * (48 + pictures.GAP_PX))
    np.testing.assert_array_equal(one[::3, ::3], one[2::3, 2::3])
    grey = one[::3, ::3].astype(int).ravel()
    assert (np.diff(grey) >= 0).all()
    assert grey[0] < 20
    assert grey[-1] > 235
    np.testing.assert_array_equal(one, picture[pictures.LABEL_PX : -pictures.GAP_PX, 54:102])


def test_the_region_shown_is_the_one_with_detail() -> None:
    image = np.full((120, 160), 1000.0, dtype=np.float32)
    image[70:100, 100:140] += 500 * (np.indices((30, 40)).sum(axis=0) // 4 % 2)
    image[:, 10:] += 3000  # one strong edge does not count for more
    rows_, columns = pictures.detailed_region(image, 40)
    assert 60 <= rows_.start <= 72
    assert 95 <= columns.start <= 105


def test_noisy_targets_are_independent_unless_the_condition_breaks_it(everything: Path) -> None:
    """The pairs that were simulated, against what their condition says."""
    found = {}
    for name in noise2noise.CONDITIONS:
        (folder,) = (everything / "stand-ins").glob(f"{name.replace(' ', '-')}-*/S1/train")
        errors = []
        for index in range(2):
            lq, hq, clean = (
                tifffile.imread(folder / part / f"{index:05}.tif").astype(float)
                for part in ("LQ", "HQ", "clean")
            )
            errors.append((lq - clean, hq - clean, lq))
        noisy, target, lq = (np.concatenate([one[k].ravel() for one in errors]) for k in range(3))
        found[name] = {
            "bias": abs(noisy.mean()) / noisy.std(),
            "correlation": float(np.corrcoef(noisy, target)[0, 1]),
            "ratio": target.std() / noisy.std(),
            "clipped": float((lq >= 65535).mean()),
        }
    assert found["independent"]["bias"] < 0.1
    assert abs(found["independent"]["correlation"]) < 0.06
    assert found["independent"]["ratio"] == pytest.approx(1, abs=0.05)
    assert found["independent"]["clipped"] == 0
    assert found["shared exposure"]["correlation"] > 0.3
    assert found["fixed pattern"]["correlation"] > found["independent"]["correlation"] + 0.05
    assert found["clipping"]["clipped"] > 0.05
    assert found["drift"]["bias"] > 0.3


def test_noise2noise_says_plainly_where_noisy_targets_do_not_suffice() -> None:
    def scored(noisy: float) -> dict[str, dict[str, Spread]]:
        metrics = {"noisy": noisy, "clean": 30.0, "LQ": 20.0}
        return {
            label: {"psnr": spread(value), "ssim": spread(0.5), "bias": spread(0.0)}
            for label, value in metrics.items()
        }

    near, far = noise2noise.statements({"a": scored(29.8), "b": scored(29.6)})
    assert "-0.20 dB against clean ones, within 0.3 dB" in near
    assert "-0.40 dB against clean ones, NOT within 0.3 dB" in far


def test_noise2noise_needs_no_pairs_and_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(studying.STUDIES, "noise2noise", refuse)
    with pytest.raises(AssertionError, match="computed again"):
        study("noise2noise", out=tmp_path / "alone", budget=TINY)
    with pytest.raises(InputError, match=r"longexposure simulate --machine S1 --count small --split train"):
        study("table1", out=tmp_path / "out", budget=TINY)
    assert not (tmp_path / "out").exists()


def test_missing_types_are_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    write_types(tmp_path / "data", train=2, test=1)
    shutil.rmtree(tmp_path / "data" / "S2" / "test")
    with pytest.raises(
        InputError, match=r"of S2 for test, found none; .*--machine S2 .*--split test"
    ) as caught:
        study("compare", out=tmp_path / "out", data=tmp_path / "data", budget=TINY)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"make stand-ins with `longexposure simulate"):
        study("compare", out=tmp_path / "out", data=tmp_path / "empty", budget=TINY)


def test_a_folder_of_something_else_is_not_written_to(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table1.json").write_text("mine")
    with pytest.raises(OutputError, match="choose another --out"):
        study("table1", out=tmp_path, data=data, budget=TINY)
    assert (tmp_path / "table1.json").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments", [{"name": "nothing"}, {"name": "table1", "budget": "huge"}, {"name": "table1", "seeds": 0}]
)
def test_unknown_studies_budgets_and_seeds_are_refused(
    arguments: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    with pytest.raises((InputError, RecipeError), match="expected"):
        study(**{"out": tmp_path / "out", "data": data, **arguments})


def test_float_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="16-bit TIFF"):
        scores.full_scale_of(np.zeros((4, 4), np.float32), where="a.tif")


def test_the_command_line_runs_a_study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", TINY)
    out = tmp_path / "out"
    arguments = ["study", "downsampling", "--data", data, "--out", out, "--seeds", 1, "--device", "cpu"]
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    assert "DS 4x" in result.stdout
    assert result.stdout.splitlines()[-1] == str(out / "downsampling.md")
    assert (out / "downsampling.json").exists()


def test_centre_crops_are_centred_and_small_images_stay_whole(data: Path) -> None:
    pair = Stock(data, TINY).tests().pairs[0]
    whole = tifffile.imread(pair.lq)
    np.testing.assert_array_equal(TestSet((pair,), 20).images(pair)[0], whole[10:30, 10:30])
    np.testing.assert_array_equal(TestSet((pair,), 64).images(pair)[0], whole)
    np.testing.assert_array_equal(TestSet((pair,), None).images(pair)[0], whole)
