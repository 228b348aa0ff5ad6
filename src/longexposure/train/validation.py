"""Scoring the averaged weights on whole images, while a training runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

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


@torch.inference_mode()
def enhanced(
    network: nn.Module, noisy: torch.Tensor, noise_condition: torch.Tensor, *, fabric: Fabric
) -> npt.NDArray[np.float32]:
    """One image (1, H, W) of any size through the network, as an array (H, W) in the unit domain."""
    spec: Any = network.spec
    height, width = noisy.shape[-2:]
    down, right = -height % spec.size_multiple, -width % spec.size_multiple
    image = fabric.to_device(noisy[None].float())
    padded = functional.pad(image, (0, right, 0, down), mode="replicate")
    with fabric.autocast():
        output = network(
            padded.contiguous(memory_format=torch.channels_last),
            fabric.to_device(noise_condition)[None].float() if spec.conditioned else None,
        )
    found: npt.NDArray[np.float32] = output[0, 0, :height, :width].float().cpu().numpy()
    return found


def _means(rows: list[dict[str, float]]) -> dict[str, float | None]:
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {key: value if math.isfinite(value) else None for key, value in means.items()}
