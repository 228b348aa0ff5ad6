"""A larger network that begins as a smaller one: the same output, and room to learn.

Source of the idea: Chen, Goodfellow and Shlens, Net2Net, ICLR 2016. Here new channels begin at random and are
heard by nobody, new residual blocks add nothing, and so does a new second look.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longexposure.models.fast import Fast, FastConfig, ResidualBlock


def can_grow(small: FastConfig, large: FastConfig) -> bool:
    """Whether a network of the larger size can begin as one of the smaller."""
    same = (small.scale, small.told) == (large.scale, large.told)
    return same and all(
        getattr(small, size) <= getattr(large, size)
        for size in ("width", "blocks", "fine_width", "fine_blocks")
    )


@torch.no_grad()
def grow(small: Fast, large: Fast) -> None:
    """Give the larger network weights with which it computes what the smaller one does.

    Args:
        small: a trained network.
        large: a network whose size it `can_grow` to, with first weights, which its new channels keep.
    """
    known = small.state_dict()
    for name, weights in large.state_dict().items():
        if name in known:
            _take_over(known[name], weights)
    for body, blocks in ((large.body, small.config.blocks), (_fine_body(large), small.config.fine_blocks)):
        for block in list(body)[blocks:]:
            assert isinstance(block, ResidualBlock)  # noqa: S101 (for mypy)
            for parameter in block.second.parameters():
                parameter.zero_()


def _take_over(small: Tensor, large: Tensor) -> None:
    """Old outputs hear old inputs as before and no new ones; new outputs keep their first weights."""
    outputs = small.shape[0]
    if small.ndim > 1:
        large[:outputs, small.shape[1] :] = 0
        large[:outputs, : small.shape[1]] = small
    else:
        large[:outputs] = small


def _fine_body(network: Fast) -> torch.nn.Sequential:
    return network.fine_body if network.config.fine_width else torch.nn.Sequential()
