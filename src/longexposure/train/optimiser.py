"""Optimisers: AdamW, or Muon for the hidden kernels with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.95
MUON_RMS = 0.2
"""Root mean square of a Muon update over the learning rate, which is what AdamW's is about."""
FEWEST_CHANNELS = 16
"""Kernels with fewer channels on either side are AdamW's: their matrices have too few directions."""


class OptimiserConfig(BaseModel):
    """How the weights move: linear warm-up of the learning rate, then a cosine to the minimum.

    "adamw" is AdamW (Loshchilov and Hutter, 2019); "muon" moves hidden kernels by their orthogonalised
    momentum, see `Muon`, at the same learning rate.

    Attributes:
        kind: "adamw" or "muon".
        lr: learning rate at the top of the schedule.
        betas: decay of AdamW's first and second moment.
        weight_decay: decoupled weight decay; 0 makes AdamW Adam.
        batch: patches a step, over all devices together.
        clip_norm: the gradient's norm is cut to this.
        warmup_steps: steps over which the learning rate rises from 0 to `lr`.
        minimum_lr: learning rate at the last step.
        ema_decay: decay of the moving average of the weights, which is what is scored and kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=5e-4, gt=0, le=0.1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    batch: int = Field(default=16, ge=1, le=4096)
    clip_norm: float = Field(default=1.0, gt=0)
    warmup_steps: int = Field(default=500, ge=0)
    minimum_lr: float = Field(default=1e-6, ge=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan and others, 2024) for hidden convolution kernels, AdamW for all other parameters.

    A kernel (out, in, h, w) with `FEWEST_CHANNELS` or more on both sides is a matrix (out, in * h * w).
    Its update is the Nesterov momentum with nearly equal singular values (five Newton-Schulz steps, float32),
    scaled to the root mean square of AdamW's (Liu and others, 2025), so that both share one learning rate.
    torch's own `torch.optim.Muon` takes matrices only and iterates in bfloat16, which costs ten times as much
    on CPUs that do not have it (torch 2.13).

    State: "momentum" of the kernels; "step", "exp_avg" and "exp_avg_sq" of the others.

    Args:
        parameters: of a network.
        lr: learning rate.
        betas: of AdamW.
        weight_decay: decoupled, of all.
    """

    def __init__(
        self, parameters: list[nn.Parameter], *, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        hidden = [one for one in parameters if one.ndim == 4 and min(one.shape[:2]) >= FEWEST_CHANNELS]
        kernels = {id(one) for one in hidden}
        rest = [one for one in parameters if id(one) not in kernels]
        super().__init__(hidden or rest, {"lr": lr, "weight_decay": weight_decay})
        self._adamw: torch.optim.Optimizer | None = None
        if rest:
            self._adamw = torch.optim.AdamW(rest, lr=lr, betas=betas, weight_decay=weight_decay)
            self._adamw.state = self.state
            self.param_groups = [*(self.param_groups if hidden else []), *self._adamw.param_groups]
        self._hidden = self.param_groups[:1] if hidden else []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; a closure is not taken."""
        if self._adamw is not None:
            self._adamw.step()
        for group in self._hidden:
            of_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    momentum = self.state[kernel].setdefault("momentum", torch.zeros_like(kernel))
                    momentum.mul_(MUON_MOMENTUM).add_(kernel.grad)
                    ahead = kernel.grad.add(momentum, alpha=MUON_MOMENTUM).flatten(1)
                    of_shape.setdefault(tuple(ahead.shape), []).append((kernel, ahead))
            for shape, members in of_shape.items():
                updates = orthogonalised(torch.stack([ahead for _, ahead in members]))
                for (kernel, _), update in zip(members, updates, strict=True):
                    kernel.mul_(1 - group["lr"] * group["weight_decay"])
                    kernel.add_(update.view(kernel.shape), alpha=-group["lr"] * MUON_RMS * max(shape) ** 0.5)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (N, R, C) with the same singular vectors, and singular values between 0.7 and 1.2, about.

    The quintic Newton-Schulz iteration of Muon: it does not converge to 1, which costs nothing in training.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def build_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of a recipe for a network's parameters."""
    build: Any = Muon if config.kind == "muon" else torch.optim.AdamW
    optimiser: torch.optim.Optimizer = build(
        list(network.parameters()), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    return optimiser
