"""The network for quality: `Fast`, and then a second look at half the resolution.

What the small network leaves out lies at the finest scale: gaps and wires of one or two pixels. The second
stage sees 2 x 2 blocks of the image, what the first would add to each of their pixels, and the first's
features, and corrects the correction. Both stages work in units of the noise and take the local mean out of
what they add, so what `models.fast` promises of grey values holds here too. Before it is trained the second
stage adds nothing: a training may begin from the weights of the first.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.fast import (
    LOCK_PX,
    Fast,
    FastConfig,
    ResidualBlock,
    in_noise_units,
    without_local_mean,
)
from longexposure.models.spec import ModelSpec

SCALE = 2
"""Side of the blocks of the second stage."""


class RefinedConfig(BaseModel):
    """Sizes of both stages.

    Attributes:
        first: the first stage, at a quarter of the resolution.
        width: channels of the second.
        blocks: its residual blocks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["refined"] = "refined"
    first: FastConfig = FastConfig()
    width: int = Field(default=32, ge=4, le=256)
    blocks: int = Field(default=4, ge=0, le=64)

    @field_validator("first")
    @classmethod
    def _first_is_coarser(cls, first: FastConfig) -> FastConfig:
        if first.scale != 2 * SCALE or first.width % (first.scale // SCALE) ** 2:
            raise ValueError("a first stage of scale 4 whose width is a multiple of 4")
        return first


class Refined(nn.Module):
    """Maps a noisy image in the unit domain and five numbers about its noise to a clean image.

    Input and output as those of `models.fast.Fast`, H and W multiples of 4.
    """

    def __init__(self, config: RefinedConfig) -> None:
        super().__init__()
        self.config = config
        self.first = Fast(config.first)
        seen = SCALE**2 + 1 + SCALE**2 + config.first.width // SCALE**2
        self.head = nn.Conv2d(seen, config.width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.tail = nn.Conv2d(config.width, SCALE**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    @property
    def spec(self) -> ModelSpec:
        first, convolutions = self.first.spec, 2 + 2 * self.config.blocks
        return ModelSpec(
            size_multiple=first.size_multiple,
            receptive_field=first.receptive_field + SCALE * convolutions + 2 * LOCK_PX,
            conditioned=first.conditioned,
            bytes_per_px=first.bytes_per_px + 64 + 32 * self.config.width // SCALE**2,
        )

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        features, sigma, correction = self.first.look(image, condition)
        pixels = functional.pixel_unshuffle(image, SCALE)
        mean = pixels.mean(dim=1, keepdim=True)
        seen = [
            *in_noise_units(pixels, mean, sigma, SCALE),
            functional.pixel_unshuffle(correction, SCALE) / sigma,
            functional.pixel_shuffle(features, SCALE),
        ]
        stacked = torch.cat(seen, dim=1).contiguous(memory_format=torch.channels_last)
        blocks = self.tail(functional.relu(self.body(self.head(stacked)))).float() * sigma
        return image + correction + functional.pixel_shuffle(without_local_mean(blocks, SCALE), SCALE)
