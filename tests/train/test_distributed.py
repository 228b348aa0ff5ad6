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
from tiny_runs import CrashError, crash_at, lines
from tiny_runs import tiny as tiny_recipe
from torch import distributed, nn

from longexposure.errors import InputError, RecipeError, ResourceError
from longexposure.models.checkpoint import read_checkpoint, read_header
from longexposure.models.networks import build_network
from longexposure.train.batches import step_indices
from longexposure.train.distributed import ProcessGroup, SharedBatchNorm, choose_group, launched_group
from longexposure.train.loop import Progress, train
from longexposure.train.losses import LossConfig, training_loss
from longexposure.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CLI = [sys.executable, "-m", "longexposure", "train"]


@pytest.fixture(autouse=True)
def _not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


GENTLE = {"lr": 1e-4}
"""For many steps: Adam makes steps as long as the learning rate out of gradients that are rounding alone."""


def tiny(**changes: Any) -> Recipe:
    changes = {"loss": {"noise_exponent": 0.6}, "preview": {"every_steps": 6, "count": 1}, **changes}
    changes["optimiser"] = {"batch": 4, **changes.get("optimiser", {})}
    return tiny_recipe(**{"validation": {"count": 1}, **changes})


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


def conditions_of(run: Path, name: str = "last.safetensors") -> dict[str, Any]:
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


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_parts_of_a_step_are_the_patches_of_the_step(size: int) -> None:
    groups = [ProcessGroup(rank=rank, size=size) for rank in range(size)]
    parts = [list(step_indices(range(3, 5), batch=6, group=group)) for group in groups]
    assert {len(batch) for part in parts for batch in part} == {6 // size}
    for number in range(2):
        together = [index for part in parts for index in part[number]]
        assert together == list(range(18 + 6 * number, 24 + 6 * number))


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path: Path) -> None:
    assert choose_group("cpu", 3, batch=12) == ProcessGroup(size=3)
    with pytest.raises(RecipeError, match=r"optimiser\.batch: .*the 3 devices.*found 4; use 3 or 6"):
        train(tiny(), tmp_path / "run", devices=3)
    assert not (tmp_path / "run").exists()


def test_no_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="devices: expected a whole number of at least 1, found 0"):
        train(tiny(), tmp_path / "run", device="cpu", devices=0)


def test_torchrun_tells_which_process_this_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert launched_group() is None
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launched_group() == ProcessGroup(rank=3, size=4, local_rank=1)
    assert not ProcessGroup(rank=3, size=4).is_primary
    with pytest.raises(ResourceError, match=r"4, the processes that torchrun started.*leave --devices out"):
        train(tiny(), tmp_path / "run", devices=2)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ResourceError, match="torchrun"):
        launched_group()


def test_torchrun_with_one_process_is_a_training_in_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train(tiny(), tmp_path / "plain")
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    train(tiny(), tmp_path / "launched")
    assert apart(tmp_path / "plain", tmp_path / "launched") == 0.0


def test_shared_batch_norm_is_torchs_own_where_there_is_one_process(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = build_network(tiny(network={"kind": "dncnn", "depth": 4, "width": 8}).network).train()
    shared = build_network(plain.config).train()
    shared.load_state_dict(plain.state_dict())
    names = [name for name, _ in (*plain.named_parameters(), *plain.named_buffers())]
    store = (tmp_path / "store").as_uri()
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    images = torch.randn(3, 1, 16, 20)
    try:
        ProcessGroup(size=2).parallel(shared, torch.device("cpu"))
        norms = [module for module in shared.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {type(norm) for norm in norms} == {SharedBatchNorm}
        assert [name for name, _ in (*shared.named_parameters(), *shared.named_buffers())] == names
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
    reported: list[Progress] = []
    train(tiny(), tmp_path / "one")
    train(tiny(), tmp_path / "two", device="cpu", devices=2, on_step=reported.append)
    for name in ("checkpoint.safetensors", "last.safetensors"):
        assert apart(tmp_path / "one", tmp_path / "two", name) < 1e-5
        assert conditions_of(tmp_path / "one", name) == conditions_of(tmp_path / "two", name) != {}
    assert [progress.step for progress in reported] == [1, 2, 3, 4, 5, 6]
    assert reported[-1].scores["psnr"] > 0
    one, two = (lines(tmp_path / name) for name in ("one", "two"))
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
def test_two_devices_share_the_statistics_of_batch_norm(tmp_path: Path) -> None:
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
    assert conditions_of(tmp_path / "one") == conditions_of(tmp_path / "two")


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
    assert conditions_of(tmp_path / "run") == conditions_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_ends_all_with_code_7_and_the_run_goes_on(tmp_path: Path) -> None:
    recipe = tiny(steps=4000, checkpoint_every_steps=2)

    def on_step(progress: Progress) -> None:
        if progress.step == 4:
            max(active_children(), key=lambda child: child.pid or 0).kill()

    with pytest.raises(ResourceError, match=r"process 2 of 2: .*ended by SIGKILL.*--resume") as caught:
        train(recipe, tmp_path / "run", device="cpu", devices=2, on_step=on_step)
    assert caught.value.exit_code == 7
    assert active_children() == []
    assert facts_of_state(tmp_path / "run")["step"] >= 2
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "run", resume=True, on_step=crash_at(6))


@pytest.mark.slow
def test_an_error_of_the_caller_ends_all_processes(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tiny(steps=4000), tmp_path / "run", device="cpu", devices=2, on_step=crash_at(1))
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
    said = [line for line in done.stderr.splitlines() if not line.startswith(("training ", "pictures "))]
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
        validation={"count": 1, "every_steps": 100},
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
