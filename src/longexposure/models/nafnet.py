"""NAFNet: a U-shaped network of gated blocks without activation functions, a peer of the paper's study.

Source: Chen, Chu, Zhang and Sun, "Simple Baselines for Image Restoration", ECCV 2022; the local converter
for images larger than the training patches: Chu, Chen, Chen and Lu, "Improving Image Restoration by
Revisiting Global Information Aggregation", ECCV 2022.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.base import ModelSpec, check_on_grid

DEEPEST = 6
"""Most levels that a config may ask for."""

Blocks = Annotated[int, Field(ge=0, le=64)]


class NAFNetConfig(BaseModel, frozen=True, extra="forbid"):
    """Width and depth; the defaults are the published network of width 32 for camera noise.

    Attributes:
        width: channels at full resolution; each level doubles them and halves height and width.
        encoder_blocks: blocks of each level on the way down, from full resolution on.
        middle_blocks: blocks on the coarsest grid.
        decoder_blocks: blocks of each level on the way up, from the coarsest on.
        patch_px: side of the training patches. Channel attention averages over squares 1.5 times as
            wide, so that a large image is judged by areas like those the network was trained on; a
            smaller image is averaged as a whole.
    """

    kind: Literal["nafnet"] = "nafnet"
    width: int = Field(default=32, ge=4, le=256)
    encoder_blocks: tuple[Blocks, ...] = (2, 2, 4, 8)
    middle_blocks: int = Field(default=12, ge=0, le=64)
    decoder_blocks: tuple[Blocks, ...] = (2, 2, 2, 2)
    patch_px: int = Field(default=256, ge=4, le=65536)

    @property
    def levels(self) -> int:
        """How often height and width are halved."""
        return len(self.encoder_blocks)

    @model_validator(mode="after")
    def _levels_agree(self) -> NAFNetConfig:
        down, up = len(self.encoder_blocks), len(self.decoder_blocks)
        if down != up or down > DEEPEST:
            raise ValueError(
                f"encoder_blocks and decoder_blocks of equal length, at most {DEEPEST} "
                f"(they have {down} and {up} entries)"
            )
        if self.patch_px % 2**down:
            raise ValueError(f"network.patch_px to be a multiple of {2**down} (it is {self.patch_px})")
        return self


class NAFNet(nn.Module):
    """Maps a short exposure to a long one, in the unit domain; knows no noise level.

    Weights are named as in the authors' code and start as there: torch's default, and every block as the
    identity.
    """

    def __init__(self, config: NAFNetConfig) -> None:
        super().__init__()
        self.config = config
        width, levels = config.width, config.levels
        self.intro = nn.Conv2d(1, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 1, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for level, count in enumerate(config.encoder_blocks):
            channels = width << level
            self.encoders.append(_blocks(count, channels, _square_px(config, level)))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
        self.middle_blks = _blocks(config.middle_blocks, width << levels, _square_px(config, levels))
        for level, count in zip(reversed(range(levels)), config.decoder_blocks, strict=True):
            channels = width << level
            widened = nn.Conv2d(2 * channels, 4 * channels, 1, bias=False)
            self.ups.append(nn.Sequential(widened, nn.PixelShuffle(2)))
            self.decoders.append(_blocks(count, channels, _square_px(config, level)))

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            size_multiple=1 << self.config.levels,
            receptive_field=_receptive_field(self.config),
            conditioned=False,
            bytes_per_px=128 + 60 * self.config.width,
        )

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        """Enhance (B, 1, H, W), H and W multiples of 2^levels; `noise_condition` is not used.

        Raises:
            InputError: a height or width that is no such multiple.
        """
        check_on_grid(tuple(image.shape), 1 << self.config.levels, where="nafnet")
        features = self.intro(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(up(features) + skips.pop())
        change: Tensor = self.ending(features)
        return image + change.to(image.dtype)


class NAFBlock(nn.Module):
    """Two residual steps at one resolution: a gated 3x3 step with channel attention, a gated 1x1 step.

    A gate is the product of two halves of the channels. Attention scales the channels by a linear map of
    their local means. Both steps are scaled by learned factors that start at 0.
    """

    def __init__(self, channels: int, square_px: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(LocalMean(square_px), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = LayerNorm2d(channels)
        self.norm2 = LayerNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        gated = _gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(gated * self.sca(gated))
        change: Tensor = self.conv5(_gate(self.conv4(self.norm2(x))))
        return x + self.gamma * change


class LayerNorm2d(nn.Module):
    """Zero mean and unit variance over the channels of each pixel, then a factor and a bias for each.

    Computed in float32 at least; where all channels are equal the gradient is large but finite (the
    variance is raised by 1e-6).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            last = x.to(dtype).permute(0, 2, 3, 1)
            weight, bias = self.weight.to(dtype), self.bias.to(dtype)
            normed = functional.layer_norm(last, (x.shape[1],), weight, bias, 1e-6)
        return normed.permute(0, 3, 1, 2).to(x.dtype)


class LocalMean(nn.Module):
    """Mean over the square around each pixel, moved inwards where it would leave the map.

    (B, C, H, W) -> the same, or (B, C, 1, 1) where one square covers the whole map: the global mean. Along
    an axis of n pixels and with squares of k, pixel i takes the k pixels (n if fewer) from
    i - (k - 1) // 2 on, moved inwards. Sums are taken in double precision, so that those of a tile equal
    those of the whole.
    """

    def __init__(self, square_px: int) -> None:
        super().__init__()
        self.square_px = square_px

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            if self.square_px >= max(height, width):
                return x.to(dtype).mean(dim=(2, 3), keepdim=True).to(x.dtype)
            inside = _moving_mean(_moving_mean(x, self.square_px, dim=2), self.square_px, dim=3).to(x.dtype)
        for dim, size in (
            (2, height),
            (3, width),
        ):  # the square inside that is centred best
            places = torch.arange(size, device=x.device) - (min(self.square_px, size) - 1) // 2
            inside = inside.index_select(dim, places.clamp(0, max(size - self.square_px, 0)))
        return inside


def _blocks(count: int, channels: int, square_px: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels, square_px) for _ in range(count)))


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second


def _square_px(config: NAFNetConfig, level: int) -> int:
    """Side of the squares that attention averages over, in pixels of this level."""
    return (config.patch_px >> level) * 3 // 2


def _moving_mean(x: Tensor, square_px: int, *, dim: int) -> Tensor:
    """Means over every `square_px` neighbours along an axis that lie inside it, float64."""
    length = min(square_px, x.shape[dim])
    places = x.shape[dim] - length + 1
    sums = x.cumsum(dim, dtype=torch.float64)
    until = sums.narrow(dim, length - 1, places)
    before = torch.cat((torch.zeros_like(sums.narrow(dim, 0, 1)), sums.narrow(dim, 0, places - 1)), dim=dim)
    return (until - before) / length


def _receptive_field(config: NAFNetConfig) -> int:
    """Farthest input pixel that reaches an output pixel, along one axis that never ends.

    Reaches are largest at the border, where squares are moved inwards, so both an output pixel there and
    one far from it are followed, at every position within a pixel of the coarsest grid.
    """
    cell = 1 << config.levels
    far, farthest = cell << 40, 0
    for place in (*range(cell), *range(far, far + cell)):
        last = place + 1  # ending
        for level, count in enumerate(reversed(config.decoder_blocks)):
            last = _through_blocks(last, count, _square_px(config, level)) // 2
        last = _through_blocks(last, config.middle_blocks, _square_px(config, config.levels))
        for level in reversed(range(config.levels)):
            last = _through_blocks(2 * last + 1, config.encoder_blocks[level], _square_px(config, level))
        farthest = max(farthest, last + 1 - place)  # intro
    return farthest


def _through_blocks(last: int, count: int, square_px: int) -> int:
    """Last pixel before these blocks that the pixel `last` after them depends on."""
    for _ in range(count):
        last = max(last + square_px // 2, square_px - 1) + 1
    return last
