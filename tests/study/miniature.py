"""The studies in miniature: pairs, budget and weights so small that every study runs in seconds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from safetensors.torch import save_file

from longexposure.models.dncnn import DnCNNConfig
from longexposure.models.edcnn import EDCNNConfig
from longexposure.models.fast import FastConfig
from longexposure.models.framework import FrameworkConfig
from longexposure.models.nafnet import NAFNetConfig
from longexposure.study.budgets import Budget, Noise2NoiseBudget
from longexposure.study.scores import Spread
from longexposure.train.losses import PerceptualConfig, ResNetTrunk

ROOT = Path(__file__).resolve().parents[2]


SIDE = 40


TINY_NAFNET = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=0, decoder_blocks=(1,), patch_px=16)


TINY = Budget(
    name="tiny",
    train_pairs=3,
    val_pairs=1,
    val_px=32,
    test_images=1,
    test_px=32,
    picture_px=24,
    framework=FrameworkConfig(width=4, z=4),
    fast=FastConfig(width=4, blocks=1),
    edcnn=EDCNNConfig(width=4),
    nafnet=TINY_NAFNET,
    dncnn=DnCNNConfig(depth=3, width=4),
    patch_px=16,
    batch=1,
    steps=2,
    lr=1e-3,
    validations=1,
    seeds=2,
    noise_pairs=2,
    timing_steps=2,
    memory_px=64,
    precision="f32",
    workers=0,
    noise2noise=Noise2NoiseBudget(
        train=2, test=1, size_px=48, patch_px=16, batch=1, steps=2, network=TINY_NAFNET, workers=0
    ),
)


Array = npt.NDArray[Any]


def scene(seed: int, *, side: int = SIDE) -> Array:
    """A disc and a line on a slope, 0..1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    disc = (y - random.uniform(0.3, 0.7)) ** 2 + (x - random.uniform(0.3, 0.7)) ** 2 < 0.05
    line = np.abs(x - random.uniform(0.2, 0.8)) < 0.04
    return 0.6 + 0.1 * x - 0.25 * disc - 0.1 * line


def write_pair(folder: Path, name: str, seed: int, *, noise: float, clean: bool = True) -> None:
    random = np.random.default_rng((seed, 1))
    truth = 65535 * scene(seed)
    images = {
        "LQ": truth + random.normal(0, 65535 * noise, truth.shape),
        "HQ": truth + random.normal(0, 65535 * noise / math.sqrt(18), truth.shape),
        **({"clean": truth} if clean else {}),
    }
    for part, pixels in images.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        stored = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
        tifffile.imwrite(folder / part / f"{name}.tif", stored)


def write_types(root: Path, *, train: int = 4, test: int = 2, clean: bool = True) -> Path:
    for number, (machine, noise) in enumerate({"S1": 0.03, "S2": 0.04, "S3": 0.1}.items()):
        for split, count in (("train", train), ("test", test)):
            for index in range(count):
                seed = 1000 * number + 100 * (split == "test") + index
                write_pair(root / machine / split, f"{index:05}", seed, noise=noise, clean=clean)
    return root


def document(out: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((out / f"{name}.json").read_text(encoding="utf-8")))


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


class CrashError(Exception):
    """Stands for a crash between two steps."""


def spread(mean: float, by: float = 0.01) -> Spread:
    return Spread(mean, by, (mean - by, mean + by))


RESNET = {"width": 4, "blocks": (1, 1, 1, 1)}


def resnet_file(path: Path, *, seed: int = 0) -> Path:
    """Random weights of a narrow ResNet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(ResNetTrunk(**RESNET).state_dict(), path)  # type: ignore[arg-type]
    return path


def perceptual_of(path: Path) -> PerceptualConfig:
    return PerceptualConfig(weights=str(path), **RESNET)  # type: ignore[arg-type]
