"""DnCNN: the classic stack of convolutions that predicts the noise, a peer of the paper's study.

Source: Zhang, Zuo, Chen, Meng and Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image
Denoising", IEEE Transactions on Image Processing 26(7), 2017.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn

from longexposure.models.base import ModelSpec


class DnCNNConfig(BaseModel, frozen=True, extra="forbid"):
    """Depth and width; the defaults are the published network for one noise level.

    Attributes:
        depth: convolutions.
        width: channels between them.
        normalisation: "batch" normalises after every convolution but the first and the last, as
            published; "none" gives those convolutions a bias instead.
    """

    kind: Literal["dncnn"] = "dncnn"
    depth: int = Field(default=17, ge=3, le=64)
    width: int = Field(default=64, ge=4, le=256)
    normalisation: Literal["batch", "none"] = "batch"


class DnCNN(nn.Module):
    """Maps a short exposure to a long one, in the unit domain, by taking away the noise it predicts.

    Convolutions that batch norm follows have no bias, nor has the last one of a network with batch norm,
    as in the authors' release. Weights start by He's rule (normal, fan in), biases at 0.
    """

    def __init__(self, config: DnCNNConfig) -> None:
        super().__init__()
        self.config = config
        width, batch = config.width, config.normalisation == "batch"
        layers: list[nn.Module] = [_convolution(1, width, bias=True), nn.ReLU()]
        for _ in range(config.depth - 2):
            layers.append(_convolution(width, width, bias=not batch))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch else [nn.ReLU()]
        layers.append(_convolution(width, 1, bias=not batch))
        self.layers = nn.Sequential(*layers)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            size_multiple=1,
            receptive_field=self.config.depth,
            conditioned=False,
            bytes_per_px=128 + 8 * self.config.width,
        )

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        """Enhance (B, 1, H, W) of any size; `noise_condition` is not used."""
        noise: Tensor = self.layers(image)
        return image - noise.to(image.dtype)


def _convolution(inputs: int, outputs: int, *, bias: bool) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
