"""Scoring the averaged weights on whole images, while a training runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from longexposure.engines.base import run_any_size
from longexposure.engines.torch import TorchEngine
from longexposure.metrics import psnr, ssim

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SIGMA_EDGES = (0.0, 0.02, 0.05, 0.1, math.inf)
"""Borders of the noise levels, in the unit domain, by which validation scores are grouped."""

Sample = Mapping[str, torch.Tensor]
Scores = dict[str, Any]


class Samples(Protocol):
    """A map-style dataset of noisy (1, H, W), target (1, H, W), condition (5,) and sigma ()."""

    def __getitem__(self, index: int) -> Sample: ...

    def __len__(self) -> int: ...


def validate(network: nn.Module, images: Samples, *, fabric: Fabric) -> Scores:
    """Score a network on whole images, noisy and enhanced against the target.

    Returns:
        Means of "psnr" (dB, data range 1), "ssim", "psnr_noisy", "ssim_noisy" and "bias" (mean error,
        unit domain), and the same by level of the noise under "by_sigma".
    """
    rows = []
    for index in range(len(images)):
        image = images[index]
        before, target = image["noisy"].float().numpy()[0], image["target"].float().numpy()[0]
        after = enhanced(network, image["noisy"], image["noise_condition"], fabric=fabric)
        rows.append(
            {
                "sigma": float(image["sigma"]),
                "psnr": float(psnr(after, target, data_range=1.0)),
                "ssim": float(ssim(after, target, data_range=1.0)),
                "psnr_noisy": float(psnr(before, target, data_range=1.0)),
                "ssim_noisy": float(ssim(before, target, data_range=1.0)),
                "bias": float(np.mean(after, dtype=np.float64) - np.mean(target, dtype=np.float64)),
            }
        )
    groups = []
    for low, high in itertools.pairwise(SIGMA_EDGES):
        members = [row for row in rows if low <= row["sigma"] < high]
        if members:
            groups.append({"sigma_from": low, "count": len(members), **_means(members)})
    return {**_means(rows), "images": len(rows), "by_sigma": groups}


def enhanced(
    network: nn.Module, noisy: torch.Tensor, noise_condition: torch.Tensor, *, fabric: Fabric
) -> npt.NDArray[np.float32]:
    """One image (1, H, W) of any size through the network, as `enhance` does it; (H, W), unit domain."""
    engine = TorchEngine(
        cast(Any, network),
        device=fabric.device,
        precision="bf16" if fabric.strategy.precision.precision == "bf16-mixed" else "f32",
    )
    return run_any_size(engine, noisy[0].float().numpy(), noise_condition.float().numpy())


def _means(rows: list[dict[str, float]]) -> dict[str, float | None]:
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {key: value if math.isfinite(value) else None for key, value in means.items()}
