"""Training: it learns, resumes to the same bits, and refuses what would spoil a run."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from lightning_fabric import Fabric
from tiny_runs import CrashError, crash_at, lines, tiny, weights

from longexposure.errors import CheckpointError, InputError, OutputError, RecipeError, ResourceError
from longexposure.models.checkpoint import read_checkpoint, read_header
from longexposure.models.networks import build_network, restore_network
from longexposure.models.noise_range import Conditions
from longexposure.train import loop as training
from longexposure.train.batches import datasets
from longexposure.train.loop import Progress, learning_rate, train
from longexposure.train.recipe import recipe_from
from longexposure.train.validation import validate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_leaves_its_recipe_log_state_and_checkpoints(tmp_path: Path) -> None:
    recipe = tiny()
    assert train(recipe, tmp_path / "run") == tmp_path / "run" / "checkpoint.safetensors"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "recipe.json",
        "log.jsonl",
        "state.safetensors",
        "checkpoint.safetensors",
        "last.safetensors",
        "previews",
    }
    assert recipe_from(json.loads((tmp_path / "run/recipe.json").read_text()), where="run") == recipe


def test_a_checkpoint_explains_itself(tmp_path: Path) -> None:
    recipe = tiny()
    header = read_header(train(recipe, tmp_path / "run"))
    assert header.model == recipe.network.model_dump()
    assert header.summary == "for a test"
    assert header.licence == "Apache-2.0"
    assert recipe_from(header.recipe, where="header") == recipe
    assert {"longexposure", "torch", "python"} <= header.versions.keys()
    step = header.scores["validation"]["step"]
    assert header.trained_on == f"simulated exposures of quick.toml: {step} steps of 2 patches of 32 x 32 px"
    assert header.scores["validation"]["images"] == 2


def test_headers_state_the_noise_that_the_network_was_told_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([{"psnr": 30.0}, {"psnr": 20.0}])
    monkeypatch.setattr(training, "validate", lambda *args, **kwargs: next(scores))
    recipe = tiny()
    best = train(recipe, tmp_path / "run")
    patches = datasets(recipe)[0]
    conditions = np.stack([patches[number]["noise_condition"].numpy() for number in range(12)])
    for file, step in ((best, 3), (best.with_name("last.safetensors"), 6)):
        header = read_header(file)
        assert header.scores["validation"]["step"] == step
        assert header.conditions == Conditions.seen(conditions[: 2 * step]).ranges()
        low, high = header.conditions["sigma"]
        assert 0 < conditions[: 2 * step, 0].min() < low < high < conditions[: 2 * step, 0].max()
    assert read_header(best).conditions != header.conditions


def test_a_network_that_is_told_nothing_states_no_noise(tmp_path: Path) -> None:
    recipe = tiny(network={"kind": "dncnn", "depth": 3, "width": 4}, steps=3)
    best = train(recipe, tmp_path / "run")
    assert read_header(best).conditions == {}
    assert read_header(best.with_name("last.safetensors")).conditions == {}


def test_a_checkpoint_loads_as_the_network_that_was_scored(tmp_path: Path) -> None:
    recipe = tiny()
    header, arrays = read_checkpoint(train(recipe, tmp_path / "run"))
    network = restore_network(header, arrays, where="run")
    images = datasets(recipe)[1]
    scores = validate(network, images, fabric=Fabric(accelerator="cpu", devices=1))
    assert scores["psnr"] == pytest.approx(header.scores["validation"]["psnr"], abs=1e-4)


def test_the_log_has_training_and_validation_lines(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    log = lines(tmp_path / "run")
    assert [(line["kind"], line["step"]) for line in log] == [
        ("validation", 3),
        ("train", 6),
        ("validation", 6),
    ]
    step = log[1]
    assert step["loss"] == pytest.approx(step["pixel"] + step["focal_frequency"] + step["wavelet"], rel=1e-5)
    assert step["lr"] == pytest.approx(1e-6)


def test_progress_counts_up_and_carries_the_scores(tmp_path: Path) -> None:
    reported: list[Progress] = []
    train(tiny(), tmp_path / "run", on_step=reported.append)
    assert [progress.step for progress in reported] == [1, 2, 3, 4, 5, 6]
    assert all(progress.steps == 6 and math.isfinite(progress.loss) for progress in reported)
    assert all(progress.mpx_per_s > 0 for progress in reported)
    assert reported[-1].seconds_left == 0
    assert not reported[1].scores
    assert reported[2].scores["psnr"] > 0


def test_the_same_recipe_gives_the_same_weights(tmp_path: Path) -> None:
    one, other = (train(tiny(), tmp_path / name) for name in ("one", "other"))
    assert weights(one) == weights(other)


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    assert weights(train(tiny(), tmp_path / "one")) != weights(train(tiny(seed=5), tmp_path / "other"))


@pytest.mark.parametrize("crash", [1, 4, 5])
def test_a_run_that_crashed_resumes_to_the_same_bits(tmp_path: Path, crash: int) -> None:
    train(tiny(), tmp_path / "whole")
    with pytest.raises(CrashError):
        train(tiny(), tmp_path / "halved", on_step=crash_at(crash))
    train(tiny(), tmp_path / "halved", resume=True)
    for name in ("checkpoint.safetensors", "last.safetensors"):
        assert weights(tmp_path / "halved" / name) == weights(tmp_path / "whole" / name)
        assert read_header(tmp_path / "halved" / name) == read_header(tmp_path / "whole" / name)
    halved, whole = (
        [line for line in lines(tmp_path / name) if line["kind"] == "validation"]
        for name in ("halved", "whole")
    )
    assert [{**line, "seconds": 0} for line in halved] == [{**line, "seconds": 0} for line in whole]


def test_exposures_on_the_device_resume_to_the_same_bits(tmp_path: Path) -> None:
    data = {
        "kind": "machines",
        "machines": {"S1": 1.0},
        "patch_px": 32,
        "scene_px": 48,
        "pool": 2,
        "group": 2,
    }
    recipe = tiny(data={**data, "exposed_on": "device"}, validation={"count": 1})
    train(recipe, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "halved", on_step=crash_at(5))
    train(recipe, tmp_path / "halved", resume=True)
    for name in ("checkpoint.safetensors", "last.safetensors"):
        assert weights(tmp_path / "halved" / name) == weights(tmp_path / "whole" / name)
    train(tiny(data=data, validation={"count": 1}), tmp_path / "workers")
    assert weights(tmp_path / "workers/last.safetensors") != weights(tmp_path / "whole/last.safetensors")


def test_patches_exposed_together_on_a_device_fill_the_batch() -> None:
    data = {"kind": "machines", "machines": {"S1": 1.0}, "patch_px": 32, "scene_px": 48, "group": 4}
    tiny(data=data, optimiser={"batch": 6})
    with pytest.raises(RecipeError, match=r"optimiser\.batch: .*data\.group = 4.*found 6"):
        tiny(data={**data, "exposed_on": "device"}, optimiser={"batch": 6})


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_lets_the_step_finish_and_saves_it(
    tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    def on_step(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(error):
        train(tiny(), tmp_path / "run", on_step=on_step)
    assert signal.getsignal(number) is before
    steps: list[int] = []
    train(tiny(), tmp_path / "run", resume=True, on_step=lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]
    assert weights(tmp_path / "run/last.safetensors") == weights(
        train(tiny(), tmp_path / "whole").with_name("last.safetensors")
    )


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bits(tmp_path: Path) -> None:
    recipe = tiny(steps=400, checkpoint_every_steps=20, validation={"every_steps": 50}, workers=1)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    code = (
        "import json, sys, torch\n"
        "from pathlib import Path; from longexposure.train.recipe import recipe_from\n"
        "from longexposure.train.loop import train\n"
        "torch.set_num_threads(1)\n"
        "train(recipe_from(json.loads(Path(sys.argv[1]).read_text()), where='x'), Path(sys.argv[2]))\n"
    )
    run = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "recipe.json"), str(run)])
    deadline = time.monotonic() + 120
    while not (run / "state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run / "last.safetensors").exists()
    train(recipe, run, resume=True)
    whole = train(recipe, tmp_path / "whole")
    assert weights(run / "last.safetensors") == weights(whole.with_name("last.safetensors"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_change_no_number(tmp_path: Path) -> None:
    none, one = (train(tiny(workers=count), tmp_path / str(count)) for count in (0, 1))
    assert weights(none) == weights(one)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    path = train(tiny(), tmp_path / "run")
    before = weights(path)
    assert train(tiny(), tmp_path / "run", resume=True) == path
    assert weights(path) == before


def test_resume_drops_the_log_of_steps_done_again_and_a_torn_line(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tiny(), tmp_path / "run", on_step=crash_at(5))
    with (tmp_path / "run/log.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 4, "loss": 1.0}\n{"kind": "tra')
    train(tiny(), tmp_path / "run", resume=True)
    assert [(line["kind"], line["step"]) for line in lines(tmp_path / "run")] == [
        ("validation", 3),
        ("train", 6),
        ("validation", 6),
    ]


def test_a_run_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = train(tiny(), tmp_path / "run")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        train(tiny(), tmp_path / "run")
    assert path.read_bytes() == before


def test_a_folder_with_other_files_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="something else"):
        train(tiny(), tmp_path)
    with pytest.raises(OutputError, match="a run to resume"):
        train(tiny(), tmp_path, resume=True)


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file"):
        train(tiny(), tmp_path / "file" / "run")


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert train(tiny(), tmp_path).parent == tmp_path


def test_resume_with_another_recipe_names_the_first_setting_that_differs(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"optimiser\.lr = 0\.001 and 0\.002"):
        train(tiny(optimiser={"lr": 2e-3}), tmp_path / "run", resume=True)


def test_resume_may_change_what_no_number_depends_on(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tiny(), tmp_path / "run", on_step=crash_at(4))
    train(tiny(checkpoint_every_steps=1), tmp_path / "run", resume=True)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    train(tiny(), tmp_path / "run")
    state = tmp_path / "run/state.safetensors"
    state.write_bytes(state.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        train(tiny(), tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def spoiled(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, terms = honest(*args, **kwargs)
        return (loss * math.nan if calls == 5 else loss), terms

    honest = training.training_loss
    monkeypatch.setattr(training, "training_loss", spoiled)
    with pytest.raises(RecipeError, match=r"step 5: .*found loss nan.*state\.safetensors \(step 3\)"):
        train(tiny(), tmp_path / "run")
    assert all(
        np.isfinite(array).all()
        for array in read_checkpoint(tmp_path / "run/checkpoint.safetensors")[1].values()
    )


def test_the_checkpoint_holds_the_best_weights_and_last_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([{"psnr": 30.0}, {"psnr": 20.0}])
    monkeypatch.setattr(training, "validate", lambda *args, **kwargs: next(scores))
    best = train(tiny(), tmp_path / "run")
    assert read_header(best).scores["validation"] == {"step": 3, "psnr": 30.0}
    assert read_header(best.with_name("last.safetensors")).scores["validation"] == {"step": 6, "psnr": 20.0}
    assert weights(best) != weights(best.with_name("last.safetensors"))


def test_the_learning_rate_rises_straight_and_falls_as_half_a_cosine() -> None:
    recipe = tiny(steps=111, optimiser={"lr": 1.0e-1, "minimum_lr": 0.0, "warmup_steps": 10})
    rates = [learning_rate(recipe, step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1 / 11)
    assert np.diff(rates[:11]) == pytest.approx(np.full(10, 0.1 / 11))
    assert rates[10] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(0.05)
    assert rates[110] == pytest.approx(0.0)
    assert max(rates) == rates[10]


def test_without_decay_the_average_is_the_network_itself(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    last = train(tiny(optimiser={"ema_decay": 0.0}), tmp_path / "run").with_name("last.safetensors")
    state = load_file(tmp_path / "run/state.safetensors")
    for name, array in read_checkpoint(last)[1].items():
        np.testing.assert_array_equal(array, state[f"network.{name}"])


def test_training_takes_the_noise_away(tmp_path: Path) -> None:
    recipe = tiny(
        steps=150,
        data={"overrides": ["tube.current_ua=0.1"], "pool": 8, "reuse": 20},
        validation={"count": 4, "every_steps": 150},
        optimiser={"lr": 3e-3, "batch": 8},
    )
    header = read_header(train(recipe, tmp_path / "run"))
    scores = header.scores["validation"]
    assert scores["psnr"] > scores["psnr_noisy"] + 1


def test_bf16_trains_to_finite_float32_weights(tmp_path: Path) -> None:
    arrays = read_checkpoint(train(tiny(precision="bf16"), tmp_path / "run"))[1]
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values())


def test_the_other_network_trains_too(tmp_path: Path) -> None:
    recipe = tiny(network={"kind": "framework", "z": 8, "width": 8}, steps=3)
    assert read_header(train(recipe, tmp_path / "run")).model["kind"] == "framework"


def test_pairs_on_disk_train_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in "abcd":
        for part, noise in (("LQ", 900), ("HQ", 90)):
            pixels = 20000 + 200.0 * np.arange(80) + random.normal(0, noise, (70, 80))
            (tmp_path / "pairs" / part).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "pairs" / part / f"{name}.tif", pixels.astype(np.uint16))
    data = {"kind": "pairs", "path": str(tmp_path / "pairs"), "patch_px": 32, "held_out": 0.3}
    header = read_header(train(tiny(data=data), tmp_path / "run"))
    assert header.scores["validation"]["images"] == 1
    assert "pairs in pairs" in header.trained_on


def test_pairs_that_cannot_be_used_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = {"kind": "pairs", "path": str(tmp_path / "none"), "patch_px": 32}
    with pytest.raises(InputError, match="LQ and HQ"):
        train(tiny(data=data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_start_from_takes_over_the_weights(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    network = training.first_network(tiny(start_from=str(first)))
    for name, array in read_checkpoint(first)[1].items():
        np.testing.assert_array_equal(network.state_dict()[name].numpy(), array)


def test_a_checkpoint_tells_what_its_first_weights_were_trained_on_after_a_crash_too(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    recipe = tiny(start_from=str(first))
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "run", on_step=crash_at(5))
    train(recipe, tmp_path / "run", resume=True)
    own, _, past = read_header(tmp_path / "run" / "last.safetensors").trained_on.partition("; before that: ")
    assert own.startswith("simulated exposures of quick.toml: 6 steps")
    assert past == read_header(first).trained_on


def test_start_from_a_smaller_network_scores_like_it_before_the_first_step(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    run = tmp_path / "run"
    train(tiny(network={"width": 12, "fine_width": 8}, start_from=str(first)), run)
    before = [line for line in lines(tmp_path / "first") if line["kind"] == "validation"]
    begun = next(line for line in lines(run) if line["kind"] == "validation")
    assert begun["step"] == 0
    assert begun["psnr"] == pytest.approx(max(line["psnr"] for line in before), abs=1e-3)


def test_first_weights_of_a_checkpoint_are_scored_and_kept_until_they_are_beaten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tiny(), tmp_path / "first")
    scores = iter([{"psnr": 30.0}, {"psnr": 20.0}, {"psnr": 25.0}])
    monkeypatch.setattr(training, "validate", lambda *args, **kwargs: next(scores))
    best = train(tiny(start_from=str(first)), tmp_path / "run")
    assert read_header(best).scores["validation"] == {"step": 0, "psnr": 30.0}
    assert weights(best) == weights(first)
    kinds = [(line["kind"], line["step"]) for line in lines(tmp_path / "run")]
    assert kinds == [("validation", 0), ("validation", 3), ("train", 6), ("validation", 6)]
    assert (tmp_path / "run/previews/step-000000.png").exists()


def test_a_run_that_starts_over_tells_of_its_first_weights_once(tmp_path: Path) -> None:
    recipe = tiny(start_from=str(train(tiny(), tmp_path / "first")))
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "run", on_step=crash_at(2))
    train(recipe, tmp_path / "run", resume=True)
    assert [line["step"] for line in lines(tmp_path / "run") if line["kind"] == "validation"] == [0, 3, 6]


def test_start_from_another_size_of_network_is_refused(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    with pytest.raises(CheckpointError, match=r"'width': 4.*'width': 8"):
        train(tiny(network={"width": 4}, start_from=str(first)), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(tiny(), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_device_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="'tpu'"):
        train(tiny(), tmp_path / "run", device="tpu")
    assert not (tmp_path / "run").exists()


def sample(height: int, width: int, *, spoiled: bool = False) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(height)
    target = torch.from_numpy(random.random((1, height, width), dtype=np.float32))
    noise = torch.from_numpy(random.normal(0, 0.05, (1, height, width)).astype(np.float32))
    noisy = target + noise
    if spoiled:
        noisy[0, 3, 3] = math.inf
    return {
        "noisy": noisy,
        "target": target,
        "noise_condition": torch.full((5,), 0.05),
        "sigma": torch.tensor(0.05),
    }


def test_data_that_is_not_finite_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = [sample(32, 32, spoiled=True)]
    monkeypatch.setattr(training, "datasets", lambda recipe: (spoiled, spoiled))
    with pytest.raises(RecipeError, match="data, noisy: expected finite"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_scores_are_those_of_scikit_image_at_any_size() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    images = [sample(30, 45), sample(33, 32)]
    network = build_network(tiny().network).eval()
    scores = validate(network, images, fabric=Fabric(accelerator="cpu", devices=1))
    arrays = [(image["noisy"][0].numpy(), image["target"][0].numpy()) for image in images]
    expected = np.mean([peak_signal_noise_ratio(target, noisy, data_range=1) for noisy, target in arrays])
    similar = np.mean(
        [
            structural_similarity(
                noisy.astype(float),
                target.astype(float),
                data_range=1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for noisy, target in arrays
        ]
    )
    assert scores["psnr_noisy"] == pytest.approx(expected, abs=1e-4)
    assert scores["psnr"] == pytest.approx(expected, abs=1e-4)  # an untrained network is the identity
    assert scores["ssim"] == pytest.approx(similar, abs=2e-2)
    assert scores["images"] == 2
    assert [(group["sigma_from"], group["count"]) for group in scores["by_sigma"]] == [(0.05, 2)]


def test_scores_without_noise_are_valid_json() -> None:
    still = {**sample(32, 32), "sigma": torch.tensor(0.0)}
    still["noisy"] = still["target"]
    network = build_network(tiny().network).eval()
    scores = validate(network, [still], fabric=Fabric(accelerator="cpu", devices=1))
    assert scores["psnr_noisy"] is None
    json.dumps(scores, allow_nan=False)
