"""EDCNN: an edge-enhancing layer in front of eight small convolution blocks, a peer of the paper's study.

Source: Liang, Jin, Li and Wang, "EDCNN: Edge enhancement-based Densely Connected Network with Compound Loss
for Low-Dose CT Denoising", ICSP 2020. The compound loss of that paper adds to the mean squared error a
distance of features of a ResNet-50 trained on photographs. Those weights are not part of this package:
`loss.perceptual` takes a file of them, and without one the network is trained with the mean squared error
(`loss.kind = "l2"`) or any other of our losses.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from longexposure.models.base import ModelSpec

BLOCKS = 8

_TEMPLATES = (
    ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
    ((0, 1, 2), (-1, 0, 1), (-2, -1, 0)),
)
"""Sobel's kernel in four directions, applied as cross-correlation."""


class EDCNNConfig(BaseModel, frozen=True, extra="forbid"):
    """Width of the network; the default is the published one.

    Attributes:
        width: channels of the edge layer and of every convolution, a multiple of 4.
    """

    kind: Literal["edcnn"] = "edcnn"
    width: int = Field(default=32, ge=4, le=256, multiple_of=4)


class TrainableSobel(nn.Module):
    """(B, 1, H, W) -> (B, width, H, W): Sobel's kernels in four directions, cycling over the channels.

    The kernels are fixed; each channel learns a factor, which starts at 1, and a bias, which starts at 0.
    """

    sobel_weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        templates = torch.tensor(_TEMPLATES, dtype=torch.get_default_dtype())
        self.register_buffer("sobel_weight", templates.repeat(width // 4, 1, 1)[:, None])
        self.sobel_factor = nn.Parameter(torch.ones(width, 1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return functional.conv2d(image, self.sobel_weight * self.sobel_factor, self.bias, padding=1)


class EDCNN(nn.Module):
    """Maps a short exposure to a long one, in the unit domain; knows no noise level.

    Each block is a 1x1 and a 3x3 convolution and sees, beside the block before it, the image and its
    edges. Their sum is added to the image. The leaky ReLU after that sum is the published one: values below
    0, in the unit domain the darkest hundredth of an image, are reached only by a large correction.
    Weights are named as in the authors' code and start as there (torch's default).
    """

    def __init__(self, config: EDCNNConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv_sobel = TrainableSobel(width)
        for index in range(1, BLOCKS + 1):
            seen = width + 1 if index == 1 else 2 * width + 1
            self.add_module(f"conv_p{index}", nn.Conv2d(seen, width, 1))
            self.add_module(f"conv_f{index}", nn.Conv2d(width, 1 if index == BLOCKS else width, 3, padding=1))

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            size_multiple=1,
            receptive_field=1 + BLOCKS,
            conditioned=False,
            bytes_per_px=128 + 28 * self.config.width,
        )

    def forward(self, image: Tensor, noise_condition: Tensor | None = None) -> Tensor:
        """Enhance (B, 1, H, W) of any size; `noise_condition` is not used."""
        edges = torch.cat((image, self.conv_sobel(image).to(image.dtype)), dim=1)
        seen = edges
        for index in range(1, BLOCKS):
            features = functional.leaky_relu(self._block(index, seen))
            seen = torch.cat((edges, features.to(image.dtype)), dim=1)
        return functional.leaky_relu(image + self._block(BLOCKS, seen).to(image.dtype))

    def _block(self, index: int, seen: Tensor) -> Tensor:
        """One block without the activation after it."""
        mixed = functional.leaky_relu(self.get_submodule(f"conv_p{index}")(seen))
        result: Tensor = self.get_submodule(f"conv_f{index}")(mixed)
        return result
