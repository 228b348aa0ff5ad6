"""Validation goes through the code of `enhance`: any size, the recipe's precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longexposure.models.fast import Fast, FastConfig
from longexposure.train.validation import enhanced

fabric = pytest.importorskip("lightning_fabric")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_image_is_padded_by_its_last_pixels_and_cut_again(seeded: None, precision: str) -> None:
    network = Fast(FastConfig(width=8, blocks=1)).eval()
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    noisy, condition = 0.5 + 0.1 * torch.randn(1, 21, 30), torch.tensor([0.1, 0.4, 0.0, 0.0, 0.0])
    ours = enhanced(network, noisy, condition, fabric=fabric.Fabric(accelerator="cpu", precision=precision))
    padded = torch.cat((noisy, noisy[:, -1:].expand(1, 3, -1)), dim=1)
    padded = torch.cat((padded, padded[:, :, -1:].expand(1, -1, 2)), dim=2)
    half = precision == "bf16-mixed"
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        whole = network(padded[None].contiguous(memory_format=torch.channels_last), condition[None])
    assert np.array_equal(ours, whole[0, 0, :21, :30].float().numpy())
    assert np.abs(ours - noisy[0].numpy()).max() > 0.01
