"""Muon: orthogonal updates of hidden kernels at AdamW's pace, AdamW elsewhere, resumed to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import CrashError, crash_at, tiny, weights
from torch import nn

from longexposure.errors import RecipeError
from longexposure.train.loop import train
from longexposure.train.optimiser import MUON_RMS, Muon, OptimiserConfig, build_optimiser, orthogonalised

pytestmark = pytest.mark.usefixtures("one_thread")

WIDE = {"kind": "fast", "width": 16, "blocks": 1, "fine_width": 16, "fine_blocks": 1}


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 144), (2, 144, 16)])
def test_orthogonalised_matrices_keep_their_singular_vectors(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    along = left.mT @ orthogonalised(matrices).double() @ right.mT
    values = torch.diagonal(along, dim1=1, dim2=2)
    assert (along - torch.diag_embed(values)).abs().max() < 1e-4
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_kernels_move_as_torch_moves_matrices() -> None:
    random = torch.Generator().manual_seed(2)
    kernel = nn.Parameter(torch.randn(24, 16, 3, 3, generator=random).to(memory_format=torch.channels_last))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = Muon([kernel], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    torchs = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        kernel.grad = torch.randn(24, 16, 3, 3, generator=random)
        matrix.grad = kernel.grad.flatten(1).clone()
        before = matrix.detach().clone()
        ours.step()
        torchs.step()
        step = (matrix.detach() - before).norm()
        assert (kernel.detach().flatten(1) - matrix.detach()).norm() < 0.05 * step  # theirs is in bfloat16
        with torch.no_grad():
            matrix.copy_(kernel.flatten(1))


def test_a_step_is_as_long_as_that_of_adamw() -> None:
    kernel = nn.Parameter(torch.zeros(32, 32, 3, 3))
    optimiser = Muon([kernel], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    kernel.grad = 1e-3 * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(3))
    optimiser.step()
    assert kernel.detach().square().mean().sqrt() == pytest.approx(0.01 * MUON_RMS, rel=0.2)


def test_all_but_hidden_kernels_move_as_under_adamw() -> None:
    def steps(kind: str) -> list[torch.Tensor]:
        network = nn.Sequential(nn.Conv2d(7, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 4, 3))
        random = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random))
        config = OptimiserConfig.model_validate({"kind": kind, "weight_decay": 0.1})
        optimiser = build_optimiser(network, config)
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimiser.step()
        return [parameter.detach() for parameter in network.parameters()]

    for number, (one, other) in enumerate(zip(steps("muon"), steps("adamw"), strict=True)):
        assert torch.equal(one, other) == (number != 2)


def test_the_learning_rate_is_that_of_all() -> None:
    optimiser = build_optimiser(
        nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 1, 3)), OptimiserConfig(kind="muon")
    )
    assert len(optimiser.param_groups) == 2
    before = [parameter.detach().clone() for group in optimiser.param_groups for parameter in group["params"]]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    after = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("network", [WIDE, {"kind": "dncnn", "depth": 4, "width": 16}])
def test_a_run_that_crashed_resumes_to_the_same_bits(tmp_path: Path, network: dict[str, object]) -> None:
    recipe = tiny(network=network, optimiser={"kind": "muon", "lr": 1e-3, "batch": 2, "warmup_steps": 2})
    train(recipe, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "halved", on_step=crash_at(4))
    train(recipe, tmp_path / "halved", resume=True)
    assert weights(tmp_path / "halved/last.safetensors") == weights(tmp_path / "whole/last.safetensors")


def test_a_run_goes_on_with_its_own_optimiser_only(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tiny(network=WIDE), tmp_path / "run", on_step=crash_at(4))
    other = tiny(network=WIDE, optimiser={"kind": "muon", "lr": 1e-3, "batch": 2, "warmup_steps": 2})
    with pytest.raises(RecipeError, match=r"optimiser\.kind = 'adamw' and 'muon'.*another --out"):
        train(other, tmp_path / "run", resume=True)


def test_an_unknown_optimiser_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"optimiser\.kind.*'adamw' or 'muon'.*sgd"):
        tiny(optimiser={"kind": "sgd"})
