"""Several devices: they give what one gives, stop together, and leave a run that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick import DATA
from torch import distributed, nn

from longexposure.errors import InputError, RecipeError, ResourceError
from longexposure.models.checkpoint import read_checkpoint, read_header
from longexposure.models.networks import build_network
from longexposure.train.loop import Progress, _Steps, train
from longexposure.train.losses import LossConfig, training_loss
from longexposure.train.recipe import Recipe, recipe_from
from longexposure.train.shared_norm import share_batch_norm
from longexposure.train.team import Team, check_divides, team_of_environment

pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, Any] = {
    "name": "tiny",
    "steps": 6,
    "precision": "f32",
    "workers": 0,
    "checkpoint_every_steps": 3,
    "network": {"kind": "fast", "width": 8, "blocks": 1, "fine_width": 4, "fine_blocks": 1},
    "loss": {"noise_exponent": 0.6},
    "data": DATA,
    "validation": {"count": 1, "size_px": 32, "every_steps": 3},
    "optimiser": {"lr": 1e-3, "batch": 4, "warmup_steps": 2, "ema_decay": 0.9},
    "preview": {"every_steps": 6, "count": 1},
}
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CLI = [sys.executable, "-m", "longexposure", "train"]


@pytest.fixture(autouse=True)
def _not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


GENTLE = {**TINY["optimiser"], "lr": 1e-4}
"""For many steps: Adam makes steps as long as the learning rate out of gradients that are rounding alone."""


def tiny(**changes: Any) -> Recipe:
    return recipe_from({**TINY, **changes}, where="test")


def written(recipe: Recipe, path: Path) -> Path:
    """The recipe as a file; None, which TOML has not, is left out."""
    values = recipe.model_dump(mode="json", exclude_none=True)
    path.write_text("\n".join(f"{key} = {in_toml(value)}" for key, value in values.items()))
    return path


def in_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {in_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def apart(one: Path, other: Path, name: str = "last.safetensors") -> float:
    """Largest difference of two runs' weights."""
    first, second = (read_checkpoint(run / name)[1] for run in (one, other))
    return max(float(np.abs(first[key] - second[key]).max()) for key in first)


def told_in(run: Path, name: str = "last.safetensors") -> dict[str, Any]:
    """The noise that the network was told by all devices, as the header states it."""
    return dict(read_header(run / name).conditions)


def facts_of_state(run: Path) -> dict[str, Any]:
    content = (run / "state.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(json.loads(header["__metadata__"]["run"]))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize("kind", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_loss_and_gradient_are_means_over_equal_parts_of_a_batch(kind: Any, variant: Any) -> None:
    config = LossConfig(kind=kind, wavelet_variant=variant, noise_exponent=0.7)
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(6, 1, 24, 20, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.001, 0.01, 0.02, 0.1, 0.3, 0.05])

    def loss_and_gradient(rows: slice) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        leaf = prediction[rows].clone().requires_grad_()
        loss, terms = training_loss(leaf, target[rows], config=config, sigma=sigma[rows])
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), terms, gradient

    whole, terms, gradient = loss_and_gradient(slice(0, 6))
    parts = [loss_and_gradient(slice(2 * n, 2 * n + 2)) for n in range(3)]
    torch.testing.assert_close(torch.stack([part[0] for part in parts]).mean(), whole)
    for name, term in terms.items():
        torch.testing.assert_close(torch.stack([part[1][name] for part in parts]).mean(), term)
    torch.testing.assert_close(torch.cat([part[2] for part in parts]) / 3, gradient)


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_the_parts_of_a_step_are_the_patches_of_the_step(parts: int) -> None:
    fractions = [list(_Steps(first=3, last=5, batch=6, fraction=(part, parts))) for part in range(parts)]
    assert {len(batch) for fraction in fractions for batch in fraction} == {6 // parts}
    for number in range(2):
        together = [index for fraction in fractions for index in fraction[number]]
        assert together == list(range(18 + 6 * number, 24 + 6 * number))


def test_a_batch_that_the_devices_cannot_fraction_is_refused(tmp_path: Path) -> None:
    check_divides(12, 3)
    with pytest.raises(RecipeError, match=r"optimiser\.batch: .*the 3 devices.*found 4; use 3 or 6"):
        train(tiny(), tmp_path / "run", devices=3)
    assert not (tmp_path / "run").exists()


def test_no_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="devices: expected 1 or more, found 0"):
        train(tiny(), tmp_path / "run", device="cpu", devices=0)


def test_torchrun_tells_which_process_this_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert team_of_environment() is None
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert team_of_environment() == Team(rank=3, size=4, local_rank=1)
    assert not Team(rank=3, size=4).leads
    with pytest.raises(ResourceError, match=r"4, the processes that torchrun started.*leave --devices out"):
        train(tiny(), tmp_path / "run", devices=2)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ResourceError, match="torchrun"):
        team_of_environment()


def test_torchrun_with_one_process_is_a_training_in_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train(tiny(), tmp_path / "plain")
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    train(tiny(), tmp_path / "launched")
    assert apart(tmp_path / "plain", tmp_path / "launched") == 0.0


def test_shared_batch_norm_is_torchs_own_where_one_process_fractions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = build_network(tiny(network={"kind": "dncnn", "depth": 4, "width": 8}).network).train()
    shared = build_network(plain.config).train()
    shared.load_state_dict(plain.state_dict())
    names = [name for name, _ in (*plain.named_parameters(), *plain.named_buffers())]
    share_batch_norm(shared)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in shared.modules())
    assert [name for name, _ in (*shared.named_parameters(), *shared.named_buffers())] == names
    images = torch.randn(3, 1, 16, 20)
    meeting = (tmp_path / "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        outputs = [network(images) for network in (plain, shared)]
        for output in outputs:
            output.square().mean().backward()
    finally:
        distributed.destroy_process_group()
    torch.testing.assert_close(*outputs)
    for ours, theirs in zip(shared.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(shared.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.timeout(600)  # two processes that import torch
def test_two_devices_give_what_one_gives(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(tiny(), tmp_path / "one")
    train(tiny(), tmp_path / "two", device="cpu", devices=2, on_step=told.append)
    for name in ("checkpoint.safetensors", "last.safetensors"):
        assert apart(tmp_path / "one", tmp_path / "two", name) < 1e-5
        assert told_in(tmp_path / "one", name) == told_in(tmp_path / "two", name) != {}
    assert [progress.step for progress in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].scores["psnr"] > 0
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [(line["kind"], line["step"]) for line in two] == [(line["kind"], line["step"]) for line in one]
    for ours, theirs in zip(two, one, strict=True):
        for key in {"loss", "pixel", "focal_frequency", "wavelet", "psnr"} & theirs.keys():
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4)
    files = [
        sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*")) for n in ("one", "two")
    ]
    assert files[0] == files[1]
    assert active_children() == []


@pytest.mark.slow
def test_two_devices_fraction_the_statistics_of_batch_norm(tmp_path: Path) -> None:
    recipe = tiny(network={"kind": "dncnn", "depth": 4, "width": 8})
    train(recipe, tmp_path / "one")
    train(recipe, tmp_path / "two", device="cpu", devices=2)
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-5


@pytest.mark.slow
def test_exposures_on_the_device_are_shared_too(tmp_path: Path) -> None:
    data = {
        "kind": "machines",
        "machines": {"S1": 1.0},
        "patch_px": 32,
        "scene_px": 48,
        "pool": 2,
        "group": 2,
    }
    recipe = tiny(steps=3, data={**data, "exposed_on": "device"}, validation={"count": 1, "size_px": 32})
    train(recipe, tmp_path / "one")
    train(recipe, tmp_path / "two", device="cpu", devices=2)
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-5
    assert told_in(tmp_path / "one") == told_in(tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_lets_all_finish_the_step_and_the_run_goes_on_with_one_device(
    tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    recipe = tiny(
        steps=40,
        checkpoint_every_steps=40,
        validation={"count": 1, "size_px": 32, "every_steps": 40},
        optimiser=GENTLE,
    )

    def on_step(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(error) as caught:
        train(recipe, tmp_path / "run", device="cpu", devices=2, on_step=on_step)
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert active_children() == []
    saved = facts_of_state(tmp_path / "run")["step"]
    assert 5 <= saved < 40
    steps: list[int] = []
    train(recipe, tmp_path / "run", resume=True, on_step=lambda progress: steps.append(progress.step))
    assert steps == list(range(saved + 1, 41))
    train(recipe, tmp_path / "whole")
    assert apart(tmp_path / "run", tmp_path / "whole") < 1e-5
    assert told_in(tmp_path / "run") == told_in(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_ends_all_with_code_7_and_the_run_goes_on(tmp_path: Path) -> None:
    recipe = tiny(steps=4000, checkpoint_every_steps=2)

    def on_step(progress: Progress) -> None:
        if progress.step == 4:
            (second,) = (child for child in active_children() if child.name == "training 2 of 2")
            assert second.pid is not None
            os.kill(second.pid, signal.SIGKILL)

    with pytest.raises(ResourceError, match=r"process 2 of 2: .*ended by SIGKILL.*--resume") as caught:
        train(recipe, tmp_path / "run", device="cpu", devices=2, on_step=on_step)
    assert caught.value.exit_code == 7
    assert active_children() == []
    assert facts_of_state(tmp_path / "run")["step"] >= 2
    with pytest.raises(KeyError):
        train(recipe, tmp_path / "run", resume=True, on_step=stop_after(6))


def stop_after(step: int) -> Any:
    def on_step(progress: Progress) -> None:
        if progress.step >= step:
            raise KeyError(step)

    return on_step


@pytest.mark.slow
def test_an_error_of_the_caller_ends_all_processes(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        train(tiny(steps=4000), tmp_path / "run", device="cpu", devices=2, on_step=stop_after(1))
    assert active_children() == []


@pytest.mark.slow
def test_the_error_of_a_process_is_the_error_of_the_training(tmp_path: Path) -> None:
    data = {"kind": "pairs", "path": str(tmp_path / "none"), "patch_px": 32}
    with pytest.raises(InputError, match="LQ and HQ"):
        train(tiny(data=data), tmp_path / "run", device="cpu", devices=2)
    assert not (tmp_path / "run").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    done = subprocess.run(
        [*CLI, str(written(tiny(), tmp_path / "r.toml")), "-o", str(tmp_path / "taken"), "--devices", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 4
    said = [line for line in done.stderr.splitlines() if not line.startswith("training ")]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert "something else of that name" in said[0]


KILLED = """
import json, sys, torch
from multiprocessing import active_children
from pathlib import Path
from longexposure.train.recipe import recipe_from
from longexposure.train.loop import train

def on_step(progress):
    if progress.step == 1:
        (Path(sys.argv[2]) / "pids").write_text(json.dumps([child.pid for child in active_children()]))

if __name__ == "__main__":
    torch.set_num_threads(1)
    recipe = recipe_from(json.loads(Path(sys.argv[1]).read_text()), where="x")
    train(recipe, Path(sys.argv[2]) / "run", device="cpu", devices=2, on_step=on_step)
"""


@pytest.mark.slow
def test_a_run_on_two_devices_that_was_killed_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    recipe = tiny(
        steps=200,
        checkpoint_every_steps=20,
        validation={"count": 1, "size_px": 32},
        workers=1,
        optimiser=GENTLE,
    )
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "recipe.json"), str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 600
    while not (tmp_path / "run/state.safetensors").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    pids = json.loads((tmp_path / "pids").read_text())
    assert len(pids) == 2
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(runs, pids))
    assert not (tmp_path / "run/last.safetensors").exists()
    train(recipe, tmp_path / "run", resume=True, device="cpu", devices=2)
    train(recipe, tmp_path / "whole")
    assert apart(tmp_path / "run", tmp_path / "whole") < 1e-5


@pytest.mark.slow
def test_torchrun_gives_what_devices_gives_and_speaks_once(tmp_path: Path) -> None:
    recipe = written(tiny(), tmp_path / "tiny.toml")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*launcher, *CLI[1:], str(recipe), "--device", "cpu", "-o", str(tmp_path / "launched")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "launched" / "checkpoint.safetensors")]
    assert sum("6/6" in line for line in done.stderr.splitlines()) == 1
    command = [*CLI, str(recipe), "--device", "cpu", "--devices", "2", "-o", str(tmp_path / "started")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert apart(tmp_path / "launched", tmp_path / "started") == 0.0
