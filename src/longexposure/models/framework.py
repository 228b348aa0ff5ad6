"""The paper's framework: a denoising encoder to a coarse grid, then a super-resolution network."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import nn
from torch.nn import functional

from longexposure.errors import InputError
from longexposure.models.base import ModelSpec, check_on_grid

_DENSE_LAYERS = 5
_RESIDUAL_SCALE = 0.1
_TRUNCATED_STD = 0.8796256610342398
"""Standard deviation of a unit normal cut at +-2, so that the cut does not shrink the weights."""
SHARPNESS = -0.5
"""The kernel's free parameter a; -0.5 interpolates quadratics exactly (Keys, 1981)."""


class FrameworkConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of the framework; the defaults are the paper's full setting.

    Attributes:
        z: channels of the coarse feature between the two modules; the paper asks for many more than
            the one channel of the image. Not used by the "bicubic" encoder, whose feature is an image.
        width: channels everywhere else.
        scale: how many pixels of the image, along each axis, one pixel of the coarse grid covers.
        encoder: "learned" is the denoising module; "bicubic" only shrinks the image (the paper's
            rows without DM).
    """

    kind: Literal["framework"] = "framework"
    z: int = Field(default=64, ge=1, le=1024)
    width: int = Field(default=64, ge=1, le=256)
    scale: Literal[1, 2, 4] = 4
    encoder: Literal["learned", "bicubic"] = "learned"


class Framework(nn.Module):
    """Maps a short exposure to a long one, in the unit domain; knows no noise level.

    There is no skip from the input image to the output: all brightness goes through the coarse feature.
    Source: the X-ray paper, section II.C; the super-resolution network is the fractal residual
    network of Soh et al., CVPR 2019.
    """

    def __init__(self, config: FrameworkConfig) -> None:
        super().__init__()
        self.config = config
        if config.encoder == "learned":
            self.encoder: nn.Module = Encoder(z=config.z, width=config.width, scale=config.scale)
            self.decoder = FractalResidualNetwork(config.z, width=config.width, scale=config.scale)
        else:
            self.encoder = BicubicEncoder(config.scale)
            self.decoder = FractalResidualNetwork(1, width=config.width, scale=config.scale)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            size_multiple=self.config.scale,
            receptive_field=_receptive_field(self.config.scale, self.config.encoder),
            conditioned=False,
        )

    def forward(self, image: torch.Tensor, noise_condition: torch.Tensor | None = None) -> torch.Tensor:
        """Enhance (B, 1, H, W), H and W multiples of `scale`; `noise_condition` is not used.

        Raises:
            InputError: a height or width that is no multiple of the scale.
        """
        check_on_grid(tuple(image.shape), self.config.scale, where="framework")
        enhanced: torch.Tensor = self.decoder(self.encoder(image))
        return enhanced


class Encoder(nn.Module):
    """The denoising module: (B, 1, H, W) -> (B, z, H / scale, W / scale).

    A 3x3 convolution; for each halving of the grid two residual blocks and a convolution of stride 2;
    two more residual blocks; a convolution to z channels. No normalisation, which keeps brightness.
    """

    def __init__(self, *, z: int, width: int, scale: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_linear(1, width)]
        for _ in range(_halvings(scale)):
            layers += [EncoderBlock(width), EncoderBlock(width), _linear(width, width, stride=2)]
        layers += [EncoderBlock(width), EncoderBlock(width), _linear(width, z)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        feature: torch.Tensor = self.layers(image)
        return feature


class EncoderBlock(nn.Module):
    """x + conv(ReLU(conv(x))), no normalisation; starts near the identity, so that six keep scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _before_relu(width, width)
        self.second = _linear(width, width)
        with torch.no_grad():
            self.second.weight.mul_(_RESIDUAL_SCALE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(torch.relu(self.first(x)))
        return x + change


class BicubicEncoder(nn.Module):
    """Antialiased bicubic downsampling in place of the denoising module; nothing to learn."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return bicubic_downsample(image, self.scale)


class FractalResidualNetwork(nn.Module):
    """The super-resolution module: (B, C, H, W) -> (B, 1, scale * H, scale * W).

    Eight residual dense blocks with skips over every two, four and eight of them and over the tail
    convolution, then one convolution and pixel shuffle for each doubling, and an output convolution.
    """

    def __init__(self, channels: int, *, width: int, scale: int) -> None:
        super().__init__()
        self.head = _linear(channels, width)
        self.blocks = nn.ModuleList(ResidualDenseBlock(width) for _ in range(8))
        self.tail = _linear(width, width)
        ups: list[nn.Module] = []
        for _ in range(_halvings(scale)):
            ups += [_linear(width, 4 * width), nn.PixelShuffle(2)]
        self.ups = nn.Sequential(*ups)
        self.out = _linear(width, 1)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        h = self.head(feature)
        a1 = self._two(0, h) + h
        a2 = self._two(2, a1) + a1 + h
        a3 = self._two(4, a2) + a2
        a4 = self._two(6, a3) + a3 + a2 + h
        image: torch.Tensor = self.out(self.ups(self.tail(a4) + h))
        return image

    def _two(self, first: int, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.blocks[first + 1](self.blocks[first](x))
        return result


class ResidualDenseBlock(nn.Module):
    """x + 0.1 * fusion of x and five densely connected convolutions with ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList(_before_relu(i * width, width) for i in range(1, _DENSE_LAYERS + 1))
        self.fusion = _linear((_DENSE_LAYERS + 1) * width, width, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = x
        for convolution in self.dense:
            features = torch.cat((features, torch.relu(convolution(features))), dim=1)
        change: torch.Tensor = self.fusion(features)
        return x + _RESIDUAL_SCALE * change


def _before_relu(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that a ReLU follows: He initialisation, truncated normal, fan in."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    std = math.sqrt(2.0 / (9 * inputs)) / _TRUNCATED_STD
    nn.init.trunc_normal_(convolution.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(convolution.get_parameter("bias"))
    return convolution


def _linear(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution without activation: Xavier uniform initialisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.get_parameter("bias"))
    return convolution


def _halvings(scale: int) -> int:
    return scale.bit_length() - 1


def _receptive_field(scale: int, encoder: str) -> int:
    """Farthest input pixel that reaches an output pixel, over all positions of it within a coarse pixel.

    First and last pixel that it depends on are followed back, along one axis.
    """
    reach = 0
    for position in range(scale):
        first, last = position - 1, position + 1  # out
        for _ in range(_halvings(scale)):
            first, last = first // 2 - 1, last // 2 + 1  # pixel shuffle, convolution before it
        radius = 1 + 8 * _DENSE_LAYERS + 1  # tail, blocks, head
        first, last = first - radius, last + radius
        if encoder == "bicubic":
            border = 3 * scale // 2 if scale > 1 else 0
            first, last = scale * first - border, scale * last + scale - 1 + border
        else:
            first, last = first - 1, last + 1  # to z
            for _ in range(_halvings(scale)):
                first, last = 2 * (first - 4) - 1, 2 * (last + 4) + 1  # two residual blocks, stride 2
            first, last = first - 5, last + 5  # two residual blocks, head
        reach = max(reach, position - first, last - position)
    return reach


def bicubic_downsample(image: torch.Tensor, scale: int) -> torch.Tensor:
    """Shrink by an integer factor with the cubic kernel stretched to that factor.

    The stretched kernel spans 4 * scale input pixels, so it suppresses what the coarse grid cannot
    hold; white noise keeps 0.041 of its variance at scale 4. At the image border the kernel is cut
    and its remaining taps scaled to sum to 1. Computed in float32 under autocast.

    Args:
        image: (B, C, H, W), H and W multiples of `scale`.
        scale: 1 (a plain copy) or an even factor.

    Returns:
        (B, C, H / scale, W / scale).

    Raises:
        InputError: an odd scale above 1.
    """
    if scale == 1:
        return image.clone()
    with torch.autocast(image.device.type, enabled=False):
        dtype = torch.promote_types(image.dtype, torch.float32)
        kernel = torch.tensor(bicubic_taps(scale), dtype=dtype, device=image.device)
        shrunk = _along_width(image.to(dtype), kernel, scale)
        shrunk = _along_width(shrunk.transpose(-1, -2), kernel, scale).transpose(-1, -2)
    return shrunk.to(image.dtype).contiguous()


def bicubic_taps(scale: int) -> list[float]:
    """The 4 * scale weights of one output pixel along one axis; they sum to 1.

    The first belongs to the input pixel 1.5 * scale before the first of the output pixel's own.

    Raises:
        InputError: an odd scale.
    """
    if scale < 2 or scale % 2:
        raise InputError(
            where="bicubic downsampling",
            expected="a scale of 1 or an even scale",
            found=str(scale),
            advice="use scale 2 or 4",
        )
    a, weights = SHARPNESS, []
    for tap in range(4 * scale):
        x = abs(tap + 0.5 - 2 * scale) / scale  # below 2
        inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
        weights.append(inner if x < 1 else a * (x**3 - 5 * x**2 + 8 * x - 4))
    return [weight / sum(weights) for weight in weights]


def _along_width(image: torch.Tensor, kernel: torch.Tensor, scale: int) -> torch.Tensor:
    batch, channels, height, width = image.shape
    padding = (0, 3 * scale // 2)
    rows = image.reshape(batch * channels, 1, height, width)
    filtered = functional.conv2d(rows, kernel.view(1, 1, 1, -1), stride=(1, scale), padding=padding)
    inside = image.new_ones(1, 1, 1, width)
    covered = functional.conv2d(inside, kernel.view(1, 1, 1, -1), stride=(1, scale), padding=padding)
    return (filtered / covered).reshape(batch, channels, height, -1)
