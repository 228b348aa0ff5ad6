"""Forms of the default network that were tried and that it does not have, for `retrained.py` alone.

A form takes the place of the default's classes while it is asked for. Processes that training starts load the
same script anew, so the form is named in the environment, which they inherit.

- gated: one half of a block's first convolution is multiplied by the other half's sigmoid instead of cut at 0. (The plain
  product of the halves, which NAFNet has behind a normalisation, diverged within 155 steps.)
- modulated: the numbers about the noise scale the channels before each block, beside being planes of the input.
- merged: every 3x3 convolution of a block is the sum of a 3x3 one, a 1x1 one and a factor for each channel,
  which could be merged into one once it is trained.
- taught: the same network, whose target is halfway between the truth and what the `best` that ships makes of
  the same patches: a large teacher (distillation), in bf16 like the pupil.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models import fast, networks
from longexposure.models.checkpoint import read_checkpoint
from longexposure.models.fast import Fast, FastConfig, ResidualBlock
from longexposure.models.networks import restore_network
from longexposure.models.registry import shipped_weights
from longexposure.noise import NOISE_CONDITION
from longexposure.train import loop as training
from longexposure.train.losses import training_loss

NAMED_IN = "LONGEXPOSURE_BENCH_FORM"


class GatedBlock(nn.Module):
    """x + conv(a * sigmoid(b)), where a and b are the halves of conv(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.normal_(self.second.weight, std=0.1 * (2 / (9 * width)) ** 0.5)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        one, other = self.first(features).chunk(2, dim=1)
        return features + self.second(one * other.sigmoid())


class MergedConvolution(nn.Conv2d):
    """3x3 + 1x1 + a factor for each channel, added up before they are applied."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)
        self.point = nn.Parameter(torch.zeros(width, width))
        self.factor = nn.Parameter(torch.zeros(width))

    def merged(self) -> Tensor:
        return self.weight + functional.pad((self.point + self.factor.diag())[:, :, None, None], (1, 1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(features, self.merged(), self.bias, padding=1)


class MergedBlock(ResidualBlock):
    """The default's block of merged convolutions, with its first weights."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        for name in ("first", "second"):
            merged = MergedConvolution(width)
            merged.load_state_dict(getattr(self, name).state_dict(), strict=False)
            setattr(self, name, merged)


class ModulatedBlock(ResidualBlock):
    """The default's block, which sees its input times `scale`, (B, width, 1, 1)."""

    scale: Tensor

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features * self.scale)


class ModulatedFast(Fast):
    """The default whose condition also sets a scale for each channel of each block of the body."""

    def __init__(self, config: FastConfig) -> None:
        super().__init__(config)
        self.body = nn.Sequential(*(ModulatedBlock(config.width) for _ in range(config.blocks)))
        self.scales = nn.Linear(len(NOISE_CONDITION), config.width * config.blocks)
        nn.init.zeros_(self.scales.weight)
        nn.init.zeros_(self.scales.bias)

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        if noise_condition is None:
            raise ValueError("a modulated network is told the noise")
        scales = 1.0 + self.scales(noise_condition).unflatten(1, (self.config.blocks, -1))[..., None, None]
        for block, scale in zip(self.body, scales.unbind(1), strict=True):
            block.scale = scale
        return super().forward(image, noise_condition)


class TaughtFast(Fast):
    """The default, which keeps what it is shown in training, so that its teacher can be shown the same."""

    shown: tuple[Tensor, Tensor | None]

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        if self.training:
            TaughtFast.shown = (image.detach(), noise_condition)
        return super().forward(image, noise_condition)


@lru_cache(maxsize=1)
def teacher() -> nn.Module:
    network: nn.Module = restore_network(*read_checkpoint(shipped_weights()["best"]), where="best")
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def taught_loss(prediction: Tensor, target: Tensor, **options: Any) -> Any:
    """The loss against the middle of the truth and what the teacher says."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        said = teacher()(*TaughtFast.shown).float()
    return training_loss(prediction, 0.5 * (target + said), **options)


BLOCKS = {"gated": GatedBlock, "merged": MergedBlock}
NETWORKS: dict[str | None, type[Fast]] = {"modulated": ModulatedFast, "taught": TaughtFast}
FORMS = (*BLOCKS, *NETWORKS)


def take(form: str | None) -> None:
    """Build networks of this form from now on; None is the default's own."""
    fast.ResidualBlock = BLOCKS.get(form, ResidualBlock)  # type: ignore[misc, assignment]
    networks.CLASSES[fast.FastConfig] = NETWORKS.get(form, Fast)
    training.training_loss = taught_loss if form == "taught" else training_loss


@contextmanager
def taken(form: str | None) -> Iterator[None]:
    """Build networks of this form, here and in processes that are started meanwhile."""
    before = os.environ.pop(NAMED_IN, None)
    if form is not None:
        os.environ[NAMED_IN] = form
    take(form)
    try:
        yield
    finally:
        os.environ.pop(NAMED_IN, None)
        if before is not None:
            os.environ[NAMED_IN] = before
        take(before)


take(os.environ.get(NAMED_IN))
