"""Adapting: what helps is kept and explains itself, what does not leaves the start, and runs go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quick
import tifffile
import torch
from tiny_runs import CrashError, crash_at, weights

from longexposure import load_enhancer
from longexposure.data.shots import load_shots
from longexposure.errors import CheckpointError, LongExposureError, OutputError, RecipeError
from longexposure.metrics import psnr
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, read_header, sha256_of
from longexposure.models.fast import FastConfig
from longexposure.models.networks import build_network
from longexposure.models.registry import shipped_weights
from longexposure.train import adapt as adapting
from longexposure.train.adapt import Adapted, adapt, adapting_recipe, weights_to_adapt
from longexposure.train.judging import Judgement, judge

pytestmark = pytest.mark.usefixtures("one_thread")

MACHINE = next(iter(quick.DATA["machines"]))
SMALL = (
    "data.patch_px=32",
    "data.scene_px=48",
    f'data.machines={{ "{MACHINE}" = 1.0 }}',
    "data.pool=2",
    "data.reuse=4",
    "optimiser.batch=4",
    "optimiser.ema_decay=0.9",
    "workers=0",
    "preview.every_steps=0",
    "checkpoint_every_steps=3",
)
LEARNING = (*SMALL, "steps=150", "optimiser.lr=5e-3")
HARM = (*SMALL, "steps=2", "optimiser.lr=0.1", "optimiser.clip_norm=100", "optimiser.ema_decay=0")


def scene(seed: int) -> np.ndarray:
    """Discs on even ground."""
    random = np.random.default_rng((seed, 3))
    y, x = np.mgrid[:96, :96]
    image = np.full((96, 96), 30000.0)
    for _ in range(5):
        row, column, radius = random.uniform(0, 96), random.uniform(0, 96), random.uniform(6, 20)
        image -= 4000 / (1 + np.exp(np.hypot(y - row, x - column) - radius))
    return image


def exposed(seed: int) -> np.ndarray:
    noise = np.random.default_rng((seed, 4)).standard_normal((96, 96))
    clean = scene(seed)
    return np.rint(clean + np.sqrt(40 * clean) * noise).astype(np.uint16)


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exposures of five scenes."""
    folder = tmp_path_factory.mktemp("shots")
    for seed in range(5):
        tifffile.imwrite(folder / f"{seed}.tif", exposed(seed))
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that does nothing yet."""
    config = FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = build_network(config).state_dict()
    header = Header(format=FORMAT, model=config.model_dump(), summary="nothing", trained_on="nothing at all")
    path = tmp_path_factory.mktemp("start") / "untrained.safetensors"
    path.write_bytes(checkpoint_bytes({name: value.numpy() for name, value in state.items()}, header))
    return path


@pytest.fixture(scope="module")
def learned(shots: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """The untrained network, adapted."""
    out = tmp_path_factory.mktemp("runs") / "learned"
    return adapt([shots], out, model=untrained, overrides=LEARNING, device="cpu")


def test_a_network_that_knows_nothing_is_better_after_adapting(learned: Adapted) -> None:
    judgement = learned.judgement
    assert judgement.helped
    assert judgement.start_db is not None
    assert judgement.adapted_db is not None
    assert judgement.adapted_db > judgement.start_db + 1
    assert weights(learned.checkpoint) == weights(learned.checkpoint.with_name("last.safetensors"))
    assert "adapting helped" in learned.in_words()


def test_what_was_judged_better_is_nearer_to_the_truth(learned: Adapted, untrained: Path) -> None:
    image, clean = exposed(50), scene(50)
    before, after = (
        psnr(load_enhancer(model, engine="torch").enhance(image), clean, data_range=30000.0)
        for model in (untrained, learned.checkpoint)
    )
    assert after > before + 1


def test_the_header_says_what_was_adapted_and_to_what(learned: Adapted, untrained: Path) -> None:
    header = read_header(learned.checkpoint)
    assert "5 short exposures" in header.trained_on
    assert "noise measured on each" in header.trained_on
    assert f"adapted from {untrained} (SHA-256 {sha256_of(untrained)})" in header.trained_on
    assert header.trained_on.endswith("before that: nothing at all")
    assert header.scores["held out"]["helped"] is True
    assert header.recipe["data"]["kind"] == "shots"


def test_conditions_are_those_that_were_seen_and_others_cause_a_warning(
    learned: Adapted, shots: Path
) -> None:
    enhancer = load_enhancer(learned.checkpoint, engine="torch")
    own = tifffile.imread(shots / "0.tif")
    _, (found,) = enhancer.enhance_pages(own)
    assert not found.warnings(enhancer.trained)
    stronger = np.clip(own + 6000 * np.random.default_rng(0).standard_normal(own.shape), 0, 65535)
    _, (found,) = enhancer.enhance_pages(stronger.astype(np.uint16))
    assert any("stronger than" in line for line in found.warnings(enhancer.trained))


def test_what_does_not_help_leaves_the_weights_it_started_from(
    learned: Adapted, shots: Path, tmp_path: Path
) -> None:
    start = learned.checkpoint
    harmed = adapt([shots], tmp_path / "run", model=start, overrides=HARM, device="cpu")
    assert not harmed.judgement.helped
    assert "did not help" in harmed.in_words()
    assert harmed.checkpoint.read_bytes() == start.read_bytes()
    assert weights(tmp_path / "run" / "last.safetensors") != weights(start)
    facts = json.loads((tmp_path / "run" / "judgement.json").read_text())
    assert facts["kept"] == "start"
    assert facts["start"]["weights_sha256"] == sha256_of(start)


def test_a_model_is_not_better_than_itself(learned: Adapted, shots: Path) -> None:
    recipe = adapting_recipe([shots], noise=None, model=learned.checkpoint, overrides=SMALL)
    held = load_shots(recipe.data, seed=7).held_out  # type: ignore[arg-type]
    found = judge(learned.checkpoint, learned.checkpoint, held, seed=0, device="cpu")
    assert found.better == 0
    assert found.start_db == found.adapted_db
    assert not found.helped


def test_the_risk_is_the_distance_from_the_truth(untrained: Path, shots: Path) -> None:
    """Of a network that does nothing it is the variance of its input's noise."""
    recipe = adapting_recipe([shots], noise=None, model=untrained, overrides=SMALL)
    held = load_shots(recipe.data, seed=7).held_out  # type: ignore[arg-type]
    found = judge(untrained, untrained, held, seed=0, device="cpu")
    noise = np.mean([1.25 * one.noise.variance(one.unit).mean() for one in held])
    assert found.start_db == pytest.approx(-10 * np.log10(noise), abs=0.3)


def test_repeats_are_adapted_to_and_judged_by_each_other(untrained: Path, tmp_path: Path) -> None:
    clean = scene(0)
    random = np.random.default_rng(5)
    pages = [np.rint(clean + 1000 * random.standard_normal(clean.shape)).astype(np.uint16) for _ in range(4)]
    tifffile.imwrite(tmp_path / "repeats.tif", np.stack(pages), photometric="minisblack")
    told: list[str] = []
    found = adapt(
        [tmp_path / "repeats.tif"],
        tmp_path / "run",
        model=untrained,
        overrides=LEARNING,
        device="cpu",
        tell=told.append,
    )
    assert "4 pages are repeats of one scene" in told[0]
    assert found.judgement.helped
    assert found.judgement.shots == 1
    assert "1 short exposure without clean images" in read_header(found.checkpoint).trained_on


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    untrained: Path, shots: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"model": untrained, "overrides": (*SMALL, "steps=8"), "device": "cpu"}
    whole = adapt([shots], tmp_path / "whole", **settings)
    with pytest.raises(CrashError):
        adapt([shots], tmp_path / "stopped", on_step=crash_at(5), **settings)
    resumed = adapt([shots], tmp_path / "stopped", resume=True, **settings)
    assert resumed.judgement == whole.judgement
    assert resumed.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert weights(tmp_path / "stopped/last.safetensors") == weights(tmp_path / "whole/last.safetensors")
    again = adapt([shots], tmp_path / "stopped", resume=True, **settings)
    assert again.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_minutes_become_steps_and_a_resumed_run_keeps_them(
    untrained: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "seconds_per_step", lambda *args, **kwargs: 0.2)
    settings: dict[str, Any] = {"model": untrained, "overrides": SMALL, "device": "cpu"}
    told: list[str] = []
    with pytest.raises(CrashError):
        adapt([shots], tmp_path / "run", minutes=0.2, on_step=crash_at(4), tell=told.append, **settings)
    (line,) = (line for line in told if "minutes" in line)
    steps = int(line.split()[0])
    assert 20 <= steps <= 60
    assert adapt([shots], tmp_path / "run", minutes=5, resume=True, **settings).steps == steps


def test_a_step_is_timed_without_leaving_anything(untrained: Path, shots: Path, tmp_path: Path) -> None:
    recipe = adapting_recipe([shots], noise=None, model=untrained, overrides=SMALL)
    assert 0 < adapting.seconds_per_step(recipe, device="cpu", devices=1) < 10


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"overrides": (*SMALL, "steps=8", "data.ratio=0.7")}, "data.ratio = 1.0 and 0.7"),
        ({"noise": "other.toml"}, "data.noise = None and 'other.toml'"),
    ],
)
def test_a_run_of_other_settings_does_not_go_on(
    settings: dict[str, Any], found: str, untrained: Path, shots: Path, tmp_path: Path
) -> None:
    first: dict[str, Any] = {"model": untrained, "overrides": (*SMALL, "steps=8"), "device": "cpu"}
    with pytest.raises(CrashError):
        adapt([shots], tmp_path / "run", on_step=crash_at(4), **first)
    with pytest.raises(RecipeError, match="the recipe the run was started with") as caught:
        adapt([shots], tmp_path / "run", resume=True, **{**first, **settings})
    assert found in str(caught.value)


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(
    untrained: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="a folder that does not exist yet"):
        adapt([tmp_path / "nothing"], tmp_path / "run", model=untrained)


def test_a_run_that_is_none_cannot_go_on(untrained: Path, shots: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a run to resume"):
        adapt([shots], tmp_path / "run", model=untrained, resume=True)


def test_models_without_weights_to_go_on_from_are_refused() -> None:
    exported = next(iter(shipped_weights().values())).with_suffix(".onnx")
    for model, found in (("nlm", "a filter"), (exported, "a model for an engine"), ("fastest", "nothing")):
        with pytest.raises(CheckpointError, match=found):
            weights_to_adapt(model)


@pytest.mark.parametrize(
    "line", ["loss.kind=l1", "loss.structure_weight=2", "loss.focal_frequency_weight=1", "data.ratio=9"]
)
def test_what_noisy_targets_would_draw_aside_is_refused(line: str, untrained: Path, shots: Path) -> None:
    with pytest.raises(RecipeError):
        adapting_recipe([shots], noise=None, model=untrained, overrides=(*SMALL, line))


def test_other_data_than_shots_is_refused(untrained: Path, shots: Path, tmp_path: Path) -> None:
    pairs = ('data={ kind = "pairs", path = "pairs" }', "data.patch_px=32")
    with pytest.raises(RecipeError, match=r"data\.kind: expected shots"):
        adapt([shots], tmp_path / "run", model=untrained, overrides=pairs)


def test_no_shots_are_refused(untrained: Path, tmp_path: Path) -> None:
    with pytest.raises(LongExposureError):
        adapt([], tmp_path / "run", model=untrained)


@pytest.mark.parametrize(
    ("better", "error", "helped"),
    [(0.2, 0.09, True), (0.2, 0.11, False), (-0.2, 0.01, False), (0.0, 0.0, False)],
)
def test_better_is_better_by_more_than_two_standard_errors(better: float, error: float, helped: bool) -> None:
    judgement = Judgement(30.0, None, better, error, 2)
    assert judgement.helped is helped
    assert "an error too small to tell" in judgement.in_words()
