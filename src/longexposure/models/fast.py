"""The small network for CPUs: nearly all at a quarter of the resolution, given the noise, true to the mean.

Downsampling first is what the paper argues for, and what makes it fast: pixels are unshuffled, 4 x 4 as a
rule, into channels, plain 3x3 convolutions work there, and the correction is shuffled back and added in
float32. A few narrow convolutions then look at 2 x 2 blocks beside the features: gaps and wires of one or two
pixels are finer than what a block of 4 x 4 keeps apart.
Two things keep it trustworthy. The correction is expressed in units of the noise that the network is given,
so it goes to nothing with that noise. And the correction's own local mean is taken out of it, so
the mean grey value of any area much larger than 36 pixels is the input's, whatever the weights say.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.base import ModelSpec
from longexposure.noise import NOISE_CONDITION

CONTRAST_PX = 8
"""Reach of the local mean that the means of blocks are compared with."""
LOCK_PX = 16
"""Reach of each of the two box means that find the correction's own local mean."""
BLIND_SIGMA = 0.05
"""What a network that is not given the noise takes for it, in the unit domain."""
FINE = 2
"""Side of the blocks of pixels that the second look sees."""
FAINTEST = 1e-4
"""Lowest noise in the unit domain; the network takes less for this."""


class FastConfig(BaseModel, frozen=True, extra="forbid"):
    """Width and depth.

    Attributes:
        scale: side of the blocks of pixels that become channels: 4, or 2 for four times the arithmetic.
        width: channels; a multiple of 4 where there is a second look.
        blocks: residual blocks of two convolutions.
        fine_width: channels of the second look, at 2 x 2 blocks, which a scale of 4 can have; 0 is none.
        fine_blocks: residual blocks of it.
        told: whether it is given the noise; False is for measuring what that is worth.
    """

    kind: Literal["fast"] = "fast"
    scale: Literal[2, 4] = 4
    width: int = Field(default=48, ge=4, le=256)
    blocks: int = Field(default=8, ge=0, le=64)
    fine_width: int = Field(default=24, ge=0, le=256)
    fine_blocks: int = Field(default=1, ge=0, le=64)
    told: bool = True

    @model_validator(mode="after")
    def _second_look_fits(self) -> FastConfig:
        if self.fine_width and (self.scale != 2 * FINE or self.width % FINE**2):
            raise ValueError("a second look (fine_width) wants scale 4 and a width that is a multiple of 4")
        if self.fine_blocks and not self.fine_width:
            raise ValueError("fine_blocks wants a fine_width above 0")
        return self


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

    Input (B, 1, H, W) float32 with H and W multiples of the scale, condition (B, 5) as
    `NoiseProfile.noise_condition`, or None where it is not given; output (B, 1, H, W) float32. An untrained
    network is the identity.
    """

    def __init__(self, config: FastConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.scale**2
        conditions = len(NOISE_CONDITION) if config.told else 0
        self.head = nn.Conv2d(channels + 2 + conditions, config.width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.tail = zero_convolution(config.width, channels)
        if config.fine_width:
            seen = FINE**2 + config.width // FINE**2
            self.fine_head = nn.Conv2d(seen, config.fine_width, 3, padding=1)
            self.fine_body = nn.Sequential(
                *(ResidualBlock(config.fine_width) for _ in range(config.fine_blocks))
            )
            self.fine_tail = zero_convolution(config.fine_width, FINE**2)

    @property
    def spec(self) -> ModelSpec:
        config = self.config
        reach = config.scale * (2 + 2 * config.blocks)
        if config.fine_width:  # the second look begins at the features, one convolution before the first ends
            reach += max(0, FINE * (2 + 2 * config.fine_blocks) - config.scale)
        return ModelSpec(
            size_multiple=config.scale,
            receptive_field=reach + CONTRAST_PX + 2 * LOCK_PX + config.scale - 1,
            conditioned=config.told,
            bytes_per_px=64 + 32 * config.width // config.scale**2 + 4 * config.fine_width,
        )

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        scale = self.config.scale
        mean = functional.avg_pool2d(image, scale)
        if self.config.told and noise_condition is not None:
            sigma = noise_condition[:, 0].clamp_min(FAINTEST)[:, None, None, None]
            planes = [noise_condition[:, :, None, None].expand(-1, -1, *mean.shape[2:])]
        else:
            sigma, planes = torch.full_like(mean[:, :, :1, :1], BLIND_SIGMA), []
        detail = compressed((image - upsampled(mean, scale)) / sigma)
        contrast = compressed((mean - box_mean(mean, CONTRAST_PX // scale)) / sigma)
        seen = [functional.pixel_unshuffle(detail, scale), contrast, 2.0 * mean - 1.0, *planes]
        features = functional.relu(self.body(self.head(concatenated(seen))))
        correction = functional.pixel_shuffle(self.tail(features).float(), scale)
        if self.config.fine_width:
            correction = correction + self._second_look(detail, features)
        correction = sigma * correction
        local_mean, lock = functional.avg_pool2d(correction, scale), LOCK_PX // scale
        correction = correction - upsampled(box_mean(box_mean(local_mean, lock), lock), scale)
        return image + correction

    def _second_look(self, detail: Tensor, features: Tensor) -> Tensor:
        """What the first look cannot say, from 2 x 2 blocks; in units of the noise."""
        seen = [functional.pixel_unshuffle(detail, FINE), functional.pixel_shuffle(features, FINE)]
        fine = functional.relu(self.fine_body(self.fine_head(concatenated(seen))))
        return functional.pixel_shuffle(self.fine_tail(fine).float(), FINE)


def can_grow(small: FastConfig, large: FastConfig) -> bool:
    """Whether a network of the larger size can begin as one of the smaller."""
    same = (small.scale, small.told) == (large.scale, large.told)
    sizes = ("width", "blocks", "fine_width", "fine_blocks")
    return same and all(getattr(small, size) <= getattr(large, size) for size in sizes)


@torch.no_grad()
def grow(small: Fast, large: Fast) -> None:
    """Give the larger network weights with which it computes what the smaller one does, with room to learn.

    New channels begin at random and no old one takes them in; new residual blocks and a new second look
    add 0.
    Source of the idea: Chen, Goodfellow and Shlens, Net2Net, ICLR 2016.

    Args:
        small: a trained network.
        large: a network whose size it `can_grow` to, with first weights, which its new channels keep.
    """
    known = small.state_dict()
    for name, weights in large.state_dict().items():
        if name in known:
            old = known[name]
            outputs = len(old)
            if old.ndim > 1:
                weights[:outputs, old.shape[1] :] = 0
                weights[:outputs, : old.shape[1]] = old
            else:
                weights[:outputs] = old
    blocks = list(large.body)[small.config.blocks :]
    if large.config.fine_width:
        blocks += list(large.fine_body)[small.config.fine_blocks :]
    for block in blocks:
        for parameter in block.get_submodule("second").parameters():
            parameter.zero_()


def zero_convolution(width: int, channels: int) -> nn.Conv2d:
    """A convolution that gives 0 until it is trained."""
    convolution = nn.Conv2d(width, channels, 3, padding=1)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def concatenated(seen: list[Tensor]) -> Tensor:
    return torch.cat(seen, dim=1).contiguous(memory_format=torch.channels_last)


def upsampled(blocks: Tensor, side: int) -> Tensor:
    """A value for each block, (B, 1, h, w), at all of its pixels."""
    return functional.interpolate(blocks, scale_factor=float(side), mode="nearest")


def box_mean(blocks: Tensor, radius: int) -> Tensor:
    """Mean over the square of this radius, over what lies inside the image at its border."""
    return functional.avg_pool2d(blocks, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def compressed(noise_units: Tensor) -> Tensor:
    """The map z / sqrt(1 + |z| / 8): linear within the noise, a root on edges, so that bf16 keeps both."""
    return noise_units * torch.rsqrt(1.0 + noise_units.abs() / 8.0)
