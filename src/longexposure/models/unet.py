"""A U-Net for CPUs: evidence over a large area, no block of pixels that it sees the world in.

Four scales from a half to a sixteenth of the resolution, residual blocks of plain 3x3 convolutions, added
skips. What it sees is the image less its smooth mean, in units of the noise at each place: where noise goes
with the signal, dark parts under a bright surrounding are not taken for ten times noisier than they are.
As in `longexposure.models.fast`, the correction is expressed in the noise, and its own local mean is
taken out of it.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.base import ModelSpec
from longexposure.models.fast import (
    BLIND_SIGMA,
    FAINTEST,
    LOCK_PX,
    ResidualBlock,
    box_mean,
    compressed,
    concatenated,
    zero_convolution,
)
from longexposure.noise import NOISE_CONDITION

FIRST = 2
"""Side of the blocks of pixels that become channels at the finest scale."""
SMOOTH_BLOCKS = 2
"""Reach, in blocks of the finest scale, of the two box means that the detail is compared with."""
SURROUNDINGS_BLOCKS = 4
"""Reach of the box mean that this smooth mean is compared with."""
MEAN_PX = 4
"""Side of the blocks from whose means the local mean of the correction is taken."""
LEAST_VARIANCE, MOST_VARIANCE = 1 / 64, 16.0
"""Limits of the noise's variance at a place, over that at the middle of the unit domain."""

Widths = tuple[Annotated[int, Field(ge=4, le=512)], ...]
Blocks = tuple[Annotated[int, Field(ge=0, le=16)], ...]


class UNetConfig(BaseModel, frozen=True, extra="forbid"):
    """Width and depth of every scale.

    Attributes:
        widths: channels at 1/2, 1/4, ... of the resolution.
        down: residual blocks at each of these scales, on the way to the coarsest, which is the last.
        up: residual blocks at each but the coarsest, on the way back.
        local: whether the noise is taken at each place's brightness, not at the middle alone.
        told: whether it is given the noise; False is for measuring what that is worth.
    """

    kind: Literal["unet"] = "unet"
    widths: Widths = Field(default=(32, 48, 80, 112), min_length=1, max_length=5)
    down: Blocks = Field(default=(2, 1, 1, 2), max_length=5)
    up: Blocks = Field(default=(2, 1, 1), max_length=4)
    local: bool = True
    told: bool = True

    @model_validator(mode="after")
    def _scales_agree(self) -> UNetConfig:
        if len(self.down) != len(self.widths) or len(self.up) != len(self.widths) - 1:
            raise ValueError("down wants a number for each of widths, up one for each but the last")
        return self


class UNet(nn.Module):
    """Maps a noisy image in the unit domain and five numbers about its noise to a clean image.

    Input (B, 1, H, W) float32 with H and W multiples of the coarsest scale, condition (B, 5) as
    `NoiseProfile.noise_condition`, or None where it is not given; output (B, 1, H, W) float32. An untrained
    network is the identity.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        conditions = len(NOISE_CONDITION) if config.told else 0
        self.head = nn.Conv2d(FIRST**2 + 2 + conditions, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(width, n) for width, n in zip(widths, config.down, strict=True))
        self.up = nn.ModuleList(_blocks(width, n) for width, n in zip(widths, config.up, strict=False))
        steps = list(itertools.pairwise(widths))
        self.smaller = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.larger = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in steps)
        self.tail = zero_convolution(widths[0], FIRST**2)

    @property
    def spec(self) -> ModelSpec:
        config = self.config
        coarsest = 2 ** len(config.widths)
        reach = 2 * FIRST  # head and tail
        for blocks in (config.down, config.up):
            reach += sum(2 * n * 2 ** (scale + 1) for scale, n in enumerate(blocks))
        seen = FIRST * (2 * SMOOTH_BLOCKS + SURROUNDINGS_BLOCKS + 1)
        lock = 2 * (LOCK_PX + MEAN_PX)
        return ModelSpec(
            size_multiple=max(coarsest, MEAN_PX),
            receptive_field=reach + coarsest - 1 + seen + lock,
            conditioned=config.told,
            bytes_per_px=96 + 16 * config.widths[0] // FIRST**2,
        )

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        means = functional.avg_pool2d(image, FIRST)
        smooth = box_mean(box_mean(means, SMOOTH_BLOCKS), SMOOTH_BLOCKS)
        noise, planes = self._noise(smooth, noise_condition)
        sigma = _at_pixels(noise, FIRST)
        detail = compressed((image - _at_pixels(smooth, FIRST)) / sigma)
        contrast = compressed((smooth - box_mean(smooth, SURROUNDINGS_BLOCKS)) / noise)
        seen = [functional.pixel_unshuffle(detail, FIRST), contrast, 2.0 * smooth - 1.0, *planes]
        features, kept = self.head(concatenated(seen)), []
        for blocks, smaller in zip(self.down, self.smaller, strict=False):
            features = blocks(features)
            kept.append(features)
            features = smaller(features)
        features = self.down[-1](features)
        for blocks, larger, skipped in reversed(list(zip(self.up, self.larger, kept, strict=True))):
            features = blocks(skipped + functional.pixel_shuffle(larger(features), 2))
        correction = functional.pixel_shuffle(self.tail(functional.relu(features)).float(), FIRST)
        correction = sigma * correction
        local_mean, lock = functional.avg_pool2d(correction, MEAN_PX), LOCK_PX // MEAN_PX
        return image + correction - _at_pixels(box_mean(box_mean(local_mean, lock), lock), MEAN_PX)

    def _noise(self, smooth: Tensor, condition: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Standard deviation of a pixel's noise at each block (B, 1, H/2, W/2), and what the head is told."""
        if not self.config.told or condition is None:
            return torch.full_like(smooth, BLIND_SIGMA), []
        numbers = condition[:, :, None, None]
        sigma = numbers[:, 0:1].clamp_min(FAINTEST).expand_as(smooth)
        others = numbers[:, 2:].expand(-1, -1, *smooth.shape[2:])
        if self.config.local:
            variance = 1.0 + 2.0 * numbers[:, 2:3] * (smooth - 0.5)
            sigma = sigma * variance.clamp(LEAST_VARIANCE, MOST_VARIANCE).sqrt()
        return sigma, [sigma, (torch.log2(sigma) + 6.0) / 6.0, others]


def _at_pixels(blocks: Tensor, side: int) -> Tensor:
    """Values at the middles of blocks, linear between them: no step where a block ends."""
    return functional.interpolate(blocks, scale_factor=float(side), mode="bilinear", align_corners=False)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
