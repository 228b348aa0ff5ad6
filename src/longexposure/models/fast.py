"""The small network for CPUs: everything at a quarter of the resolution, told the noise, honest about grey.

Downsampling first is what the paper argues for, and what makes it fast: pixels are unshuffled 4 x 4 into
channels, plain 3x3 convolutions work there, and the correction is shuffled back and added in float32.
Two things keep it trustworthy. The correction is expressed in units of the noise that the network is told,
so an image without noise comes back unchanged. And the correction's own local mean is taken out of it, so
the mean grey value of any area much larger than 36 pixels is the input's, whatever the weights say.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.spec import ModelSpec
from longexposure.noise import CONDITION

SCALE = 4
CONTRAST_RADIUS = 2
"""Reach, in blocks of 4 px, of the local mean that block means are compared with."""
LOCK_RADIUS = 4
"""Reach, in blocks, of each of the two box means that find the correction's own local mean."""
FAINTEST = 1e-4
"""Lowest noise in the unit domain; told less, the network works as if told this."""


class FastConfig(BaseModel):
    """Width and depth.

    Attributes:
        width: channels.
        blocks: residual blocks of two convolutions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fast"] = "fast"
    width: int = Field(default=48, ge=4, le=256)
    blocks: int = Field(default=10, ge=0, le=64)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.normal_(self.second.weight, std=0.1 * (2 / (9 * width)) ** 0.5)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        correction: Tensor = self.second(functional.relu(self.first(features)))
        return features + correction


class Fast(nn.Module):
    """Maps a noisy image in the unit domain and five numbers about its noise to a clean image.

    Input (B, 1, H, W) float32 with H and W multiples of 4, condition (B, 5) as
    `NoiseProfile.condition`; output (B, 1, H, W) float32. An untrained network is the identity.
    """

    def __init__(self, config: FastConfig) -> None:
        super().__init__()
        self.config = config
        channels = SCALE * SCALE
        self.head = nn.Conv2d(channels + 2 + len(CONDITION), config.width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.tail = nn.Conv2d(config.width, channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    @property
    def spec(self) -> ModelSpec:
        convolutions = 2 + 2 * self.config.blocks
        blocks_away = convolutions + CONTRAST_RADIUS + 2 * LOCK_RADIUS
        return ModelSpec(
            size_multiple=SCALE,
            receptive_field=SCALE * blocks_away + SCALE - 1,
            conditioned=True,
            bytes_per_px=160,
        )

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        sigma = condition[:, 0].clamp_min(FAINTEST)[:, None, None, None]
        pixels = functional.pixel_unshuffle(image, SCALE)
        mean = pixels.mean(dim=1, keepdim=True)
        contrast = mean - _box_mean(mean, CONTRAST_RADIUS)
        planes = condition[:, :, None, None].expand(-1, -1, *mean.shape[2:])
        features = torch.cat(
            [_tamed((pixels - mean) / sigma), _tamed(contrast / sigma), 2.0 * mean - 1.0, planes], dim=1
        )
        features = features.contiguous(memory_format=torch.channels_last)
        correction = self.tail(functional.relu(self.body(self.head(features))))
        correction = correction.float() * sigma
        local_mean = correction.mean(dim=1, keepdim=True)
        correction = correction - _box_mean(_box_mean(local_mean, LOCK_RADIUS), LOCK_RADIUS)
        return image + functional.pixel_shuffle(correction, SCALE)


def _box_mean(blocks: Tensor, radius: int) -> Tensor:
    """Mean over the square of this radius, over what lies inside the image at its border."""
    return functional.avg_pool2d(blocks, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def _tamed(noise_units: Tensor) -> Tensor:
    """The map z / sqrt(1 + |z| / 8): linear within the noise, a root on edges, so that bf16 keeps both."""
    return noise_units * torch.rsqrt(1.0 + noise_units.abs() / 8.0)
