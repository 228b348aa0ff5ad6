"""The second term of EDCNN's loss: distance of features of a ResNet-50 that was trained on photographs.

The weights of that network do not come with this package: a recipe names a file of them. Without it EDCNN is
trained with the mean squared error alone.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from longexposure.errors import CheckpointError, InputError
from longexposure.system import kept_private

STAGES = 4
EXPANSION = 4
"""Channels that a block gives for each channel of its 3x3 convolution."""
CHANNELS = 3
"""Of the photographs; a grey image is repeated to as many."""
CLASSIFIER = "fc."
"""Weights of such a file that the features do without."""
COUNTER = "num_batches_tracked"
"""Buffers of batch norm that no feature depends on; some files have them and some do not."""
NAMED = 3
"""Tensors of each fault that an error names."""

Blocks = Annotated[int, Field(ge=1, le=64)]


class PerceptualConfig(BaseModel):
    """The file of weights and the factor of the perceptual term.

    Reading a config reads the file, so that a recipe that names a wrong one is refused before anything is
    computed, and so that what is kept of the recipe holds the file's SHA-256.

    Attributes:
        weights: safetensors file of a ResNet whose tensors bear torchvision's names, float of any width.
        weight: factor of the term in the loss; the published one is 0.01.
        width: channels of the ResNet's first convolution.
        blocks: bottleneck blocks of its four stages; the default is ResNet-50.
        sha256: of the file, in hex; filled in, and held against the file where it is given.

    Raises:
        CheckpointError: the file cannot be read, is a pickle, is another file than `sha256` says, or its
            tensors are not those of such a ResNet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = Field(min_length=1)
    weight: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    width: int = Field(default=64, ge=1, le=256)
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = (3, 4, 6, 3)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _file_fits(self) -> PerceptualConfig:
        digest, _ = _read(self)
        object.__setattr__(self, "sha256", digest)  # frozen for everyone else
        return self


class Bottleneck(nn.Module):
    """(B, inputs, H, W) -> (B, 4 width, H / stride, W / stride): 1x1, 3x3, 1x1 convolutions and a way past.

    The stride lies in the 3x3 convolution, as in torchvision, not in the first as in the paper.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample.append(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(features)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + self.downsample(features))


class ResNetTrunk(nn.Module):
    """A ResNet of bottleneck blocks without its classifier: grey images in, features of its stages out.

    Frozen: no weight takes a gradient, and batch norm uses the statistics that it was trained with, whatever
    `train` is called with. Weights are named as torchvision names them. Source: He, Zhang, Ren and Sun, CVPR
    2016, with the stride where torchvision has it.

    Args:
        width: channels of the first convolution, 64 in every published ResNet.
        blocks: blocks of the four stages, (3, 4, 6, 3) in ResNet-50.
    """

    def __init__(self, *, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            inner, layer = width * 2**stage, nn.Sequential()
            for block in range(count):
                layer.append(Bottleneck(inputs, inner, stride=2 if stage and not block else 1))
                inputs = EXPANSION * inner
            self.add_module(f"layer{stage + 1}", layer)
        self.train(False).requires_grad_(False)

    def train(self, mode: bool = True) -> ResNetTrunk:
        """Stay as it is."""
        super().train(False)
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, 1, H, W), any size: (B, 4 width 2^s, H / 2^(s + 2), W / 2^(s + 2)), s = 0 .. 3.

        Sizes are rounded up. The image is repeated to three channels and else taken as it is.
        """
        features = functional.relu(self.bn1(self.conv1(image.expand(-1, CHANNELS, -1, -1))))
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        found = []
        for stage in range(1, STAGES + 1):
            features = self.get_submodule(f"layer{stage}")(features)
            found.append(features)
        return found


def perceptual_loss(prediction: Tensor, target: Tensor, *, trunk: ResNetTrunk) -> Tensor:
    """Mean over the trunk's four stages of the mean squared difference of their features.

    Computed in the precision of the trunk, float32 as it is loaded, under autocast too. No gradient flows to
    the target or the trunk.

    As in the authors' code: all four stages, each of the same weight, means over all elements, grey repeated
    to three channels, no subtraction of ImageNet's mean and no division by its deviation. The range of the
    images they gave to it is not stated; their scores point to 0..1. That the unit domain stands for it here
    is our reconstruction.

    Args:
        prediction: (B, 1, H, W) in the unit domain, any size.
        target: same shape.
        trunk: gives the features.

    Returns:
        Scalar.

    Raises:
        InputError: shapes differ, or there is more than one channel.

    Source: Liang, Jin, Li and Wang, ICSP 2020, and their published code.
    """
    if prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] != 1:
        raise InputError(
            where="perceptual loss",
            expected="prediction and target of one shape (B, 1, H, W)",
            found=f"{tuple(prediction.shape)} and {tuple(target.shape)}",
            advice="compare grey images of one size and keep the batch and channel dimensions",
        )
    dtype = trunk.conv1.weight.dtype
    with torch.autocast(prediction.device.type, enabled=False):
        with torch.no_grad():
            wanted = trunk(target.to(dtype))
        found = trunk(prediction.to(dtype))
        distances = [functional.mse_loss(one, other) for one, other in zip(found, wanted, strict=True)]
        return torch.stack(distances).mean()


@lru_cache(maxsize=1)
def load_trunk(config: PerceptualConfig, device: torch.device) -> ResNetTrunk:
    """The trunk that a config describes, in float32 on a device; the last one is kept.

    Raises:
        CheckpointError: the file is no longer what it was when the config was read.
    """
    _, tensors = _read(config)
    trunk = _without_weights(config)
    trunk.load_state_dict(tensors, assign=True)
    return trunk.to(device).requires_grad_(False)


def _without_weights(config: PerceptualConfig) -> ResNetTrunk:
    with kept_private(), torch.device("meta"):
        return ResNetTrunk(width=config.width, blocks=config.blocks)


def _read(config: PerceptualConfig) -> tuple[str, dict[str, Tensor]]:
    """SHA-256 of the file, and the trunk's tensors in float32, all of them checked."""
    path = Path(config.weights)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            where=f"perceptual loss, {path}",
            expected="a safetensors file with the weights of a ResNet-50 trained on ImageNet",
            found=error.strerror or str(error),
            advice="check the path, or leave loss.perceptual out to train with the pixels alone",
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if config.sha256 not in (None, digest):
        raise CheckpointError(
            where=f"perceptual loss, {path}",
            expected=f"the file with the SHA-256 {config.sha256}",
            found=f"one with {digest}",
            advice="put that file back, or leave loss.perceptual.sha256 out and start a new run",
        )
    tensors = _tensors(content, path)
    _check_layout(tensors, config)
    damaged = [
        name
        for name, tensor in tensors.items()
        if not tensor.is_floating_point() or not tensor.isfinite().all()
    ]
    if damaged:
        raise CheckpointError(
            where=f"perceptual loss, {path}",
            expected="finite floating-point weights",
            found=f"something else in {len(damaged)} of {len(tensors)} tensors, the first {damaged[0]}",
            advice="copy or convert the file again",
        )
    return digest, {name: tensor.float() for name, tensor in tensors.items()}


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """All tensors of a file but the classifier's and the counters; pickles are not opened."""
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        pickled = content.startswith((b"PK", b"\x80"))
        raise CheckpointError(
            where=f"perceptual loss, {path}",
            expected="a safetensors file",
            found="a Python pickle (.pt, .pth), which can run code when it is opened"
            if pickled
            else f"a file that cannot be read as one ({error})",
            advice=f"convert it on a host you trust: {conversion(path)}" if pickled else "copy it again",
        ) from error
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(CLASSIFIER) and not name.endswith(COUNTER)
    }


def conversion(path: Path) -> str:
    """The shell's line that turns a pickled state dict into a safetensors file beside it."""
    target = path.with_suffix(".safetensors")
    if target == path:  # a pickle under a wrong name stays what it is
        target = path.with_suffix(".converted.safetensors")
    code = (
        "import sys, torch, safetensors.torch as s; "
        "s.save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])"
    )
    return shlex.join(["python", "-c", code, str(path), str(target)])


def _check_layout(tensors: Mapping[str, Tensor], config: PerceptualConfig) -> None:
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in _without_weights(config).state_dict().items()
        if not name.endswith(COUNTER)
    }
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = {
        "missing": [name for name in wanted if name not in found],
        "of another shape": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in wanted.items()
            if found.get(name, shape) != shape
        ],
        "that it does not have": [name for name in sorted(found) if name not in wanted],
    }
    found_faults = [
        f"{len(names)} tensor(s) {fault}: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"
        for fault, names in faults.items()
        if names
    ]
    if found_faults:
        raise CheckpointError(
            where=f"perceptual loss, {config.weights}",
            expected=f"the {len(wanted)} tensors of a ResNet of width {config.width} and blocks "
            f"{list(config.blocks)} under torchvision's names",
            found="; ".join(found_faults),
            advice="take the state dict of torchvision's resnet50, or set loss.perceptual.width and .blocks "
            "to those of the file",
        )
