"""Batch norm over a whole step, of which each process of a team holds a part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def share_batch_norm(network: nn.Module) -> None:
    """Let every batch norm of a network take its statistics over all processes, as one process would.

    Weights, statistics and their names stay what they are. Does nothing where there is no batch norm.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _SharedBatchNorm(child))


class _SharedBatchNorm(nn.Module):
    """A batch norm with statistics over all processes, each with equally many pixels."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)
        self.eps, self.momentum = norm.eps, float(norm.momentum or 0.1)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (B, C, H, W); the gradient flows through the statistics into all processes."""
        values = image.float()
        mean = _mean_of_all(values.mean((0, 2, 3)))
        centred = values - mean[:, None, None]
        variance = _mean_of_all(centred.square().mean((0, 2, 3)))
        self._follow(mean.detach(), variance.detach(), count=values.numel() // values.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(image.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """Let the running statistics follow, the variance without its bias, as torch does."""
        count *= distributed.get_world_size()
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)


class _MeanOfAll(torch.autograd.Function):
    """The mean over all processes; so is the gradient, which each of them depends on."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return _averaged(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _averaged(gradient)


def _averaged(values: Tensor) -> Tensor:
    mean = values.clone()
    distributed.all_reduce(mean)
    return mean / distributed.get_world_size()


def _mean_of_all(values: Tensor) -> Tensor:
    found: Tensor = _MeanOfAll.apply(values)  # type: ignore[no-untyped-call]
    return found
