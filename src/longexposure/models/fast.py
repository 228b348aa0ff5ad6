"""The small network for CPUs: everything at a fraction of the resolution, told the noise, honest about grey.

Downsampling first is what the paper argues for, and what makes it fast: pixels are unshuffled, 4 x 4 as a
rule, into channels, plain 3x3 convolutions work there, and the correction is shuffled back and added in
float32.
Two things keep it trustworthy. The correction is expressed in units of the noise that the network is told,
so an image without noise comes back unchanged. And the correction's own local mean is taken out of it, so
the mean grey value of any area much larger than 36 pixels is the input's, whatever the weights say.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.spec import ModelSpec
from longexposure.noise import CONDITION

CONTRAST_PX = 8
"""Reach of the local mean that the means of blocks are compared with."""
LOCK_PX = 16
"""Reach of each of the two box means that find the correction's own local mean."""
BLIND_SIGMA = 0.05
"""What a network that is told nothing takes for the noise, in the unit domain."""
FAINTEST = 1e-4
"""Lowest noise in the unit domain; told less, the network works as if told this."""


class FastConfig(BaseModel):
    """Width and depth.

    Attributes:
        scale: side of the blocks of pixels that become channels: 4, or 2 for four times the arithmetic.
        width: channels.
        blocks: residual blocks of two convolutions.
        told: whether it is told the noise; False is for measuring what telling is worth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fast"] = "fast"
    scale: Literal[2, 4] = 4
    width: int = Field(default=48, ge=4, le=256)
    blocks: int = Field(default=10, ge=0, le=64)
    told: bool = True


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


class Look(NamedTuple):
    """What a network makes of an image on the way.

    Attributes:
        features: (B, width, H / scale, W / scale) before the last layer.
        sigma: (B, 1, 1, 1), the noise it works with, in the unit domain.
        correction: (B, 1, H, W) float32, what it adds to the image.
    """

    features: Tensor
    sigma: Tensor
    correction: Tensor


class Fast(nn.Module):
    """Maps a noisy image in the unit domain and five numbers about its noise to a clean image.

    Input (B, 1, H, W) float32 with H and W multiples of the scale, condition (B, 5) as
    `NoiseProfile.condition`, or None where it is not told; output (B, 1, H, W) float32. An untrained
    network is the identity.
    """

    def __init__(self, config: FastConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.scale**2
        told = len(CONDITION) if config.told else 0
        self.head = nn.Conv2d(channels + 2 + told, config.width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.tail = nn.Conv2d(config.width, channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    @property
    def spec(self) -> ModelSpec:
        scale, convolutions = self.config.scale, 2 + 2 * self.config.blocks
        return ModelSpec(
            size_multiple=scale,
            receptive_field=scale * convolutions + CONTRAST_PX + 2 * LOCK_PX + scale - 1,
            conditioned=self.config.told,
            bytes_per_px=64 + 32 * self.config.width // scale**2,
        )

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        return image + self.look(image, condition).correction

    def look(self, image: Tensor, condition: Tensor | None = None) -> Look:
        """What it sees in an image, and what it would add to it."""
        scale = self.config.scale
        told = condition if self.config.told else None
        pixels = functional.pixel_unshuffle(image, scale)
        mean = pixels.mean(dim=1, keepdim=True)
        if told is not None:
            sigma = told[:, 0].clamp_min(FAINTEST)[:, None, None, None]
            planes = [told[:, :, None, None].expand(-1, -1, *mean.shape[2:])]
        else:
            sigma, planes = torch.full_like(mean[:, :, :1, :1], BLIND_SIGMA), []
        seen = torch.cat([*in_noise_units(pixels, mean, sigma, scale), 2.0 * mean - 1.0, *planes], dim=1)
        features = self.body(self.head(seen.contiguous(memory_format=torch.channels_last)))
        blocks = self.tail(functional.relu(features)).float() * sigma
        return Look(features, sigma, functional.pixel_shuffle(without_local_mean(blocks, scale), scale))


def in_noise_units(pixels: Tensor, mean: Tensor, sigma: Tensor, scale: int) -> list[Tensor]:
    """The pixels of blocks less their mean, and that mean less its surroundings', tamed for bf16.

    Args:
        pixels: (B, scale^2, h, w), blocks of an image in the unit domain.
        mean: (B, 1, h, w), their means.
        sigma: (B, 1, 1, 1), noise.
        scale: side of a block.
    """
    contrast = mean - _box_mean(mean, CONTRAST_PX // scale)
    return [_tamed((pixels - mean) / sigma), _tamed(contrast / sigma)]


def without_local_mean(blocks: Tensor, scale: int) -> Tensor:
    """A correction, as blocks (B, scale^2, h, w), without the mean of its surroundings."""
    local_mean, lock = blocks.mean(dim=1, keepdim=True), LOCK_PX // scale
    return blocks - _box_mean(_box_mean(local_mean, lock), lock)


def _box_mean(blocks: Tensor, radius: int) -> Tensor:
    """Mean over the square of this radius, over what lies inside the image at its border."""
    return functional.avg_pool2d(blocks, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def _tamed(noise_units: Tensor) -> Tensor:
    """The map z / sqrt(1 + |z| / 8): linear within the noise, a root on edges, so that bf16 keeps both."""
    return noise_units * torch.rsqrt(1.0 + noise_units.abs() / 8.0)
