"""The trainings of the studies as recipe documents: the paper's rows, and its peers as they were published.

At full size they are the recipes in `recipes/` (a test compares them), but for what wants noise-free
targets; a smaller budget changes sizes, steps and learning rate alone.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch

from longexposure.study.budgets import Budget
from longexposure.train.losses import PerceptualConfig

Kind = Literal["framework", "fast", "edcnn", "nafnet", "dncnn"]
Document = dict[str, Any]

NO_FREQUENCY = {"focal_frequency_weight": 0.0, "wavelet_weight": 0.0}

ROWS: dict[str, tuple[str, Document]] = {
    "bicubic": ("bicubic", NO_FREQUENCY),
    "bicubic + FFL": ("bicubic", {"wavelet_weight": 0.0}),
    "DM + FFL": ("learned", {"wavelet_weight": 0.0}),
    "DM + FFL + WHFL": ("learned", {}),
}
"""Encoder and change of the loss for the rows of the paper's Table I."""
FULL_ROW = "DM + FFL + WHFL"

_PIXELS_SQUARED = {"kind": "l2", **NO_FREQUENCY}

PUBLISHED: dict[Kind, Document] = {
    "framework": {
        "loss": {
            "kind": "l1",
            "focal_frequency_weight": 10.0,
            "wavelet_weight": 0.1,
            "wavelet_variant": "bands",
            "wavelet_levels": 3,
        },
        "optimiser": {
            "lr": 2e-4,
            "betas": [0.9, 0.999],
            "batch": 16,
            "clip_norm": 1.0,
            "warmup_steps": 0,
            "minimum_lr": 1e-6,
            "ema_decay": 0.999,
        },
    },
    "fast": {
        # no structure_weight: in targets that are long exposures it would take noise for structure
        "loss": {"kind": "pseudo_huber", "delta": 0.1, **NO_FREQUENCY, "noise_exponent": 0.9},
        "optimiser": {
            "lr": 1.5e-3,
            "betas": [0.9, 0.99],
            "batch": 16,
            "clip_norm": 1.0,
            "warmup_steps": 500,
            "minimum_lr": 1e-6,
            "ema_decay": 0.999,
        },
    },
    "edcnn": {
        "loss": _PIXELS_SQUARED,
        "optimiser": {
            "lr": 1e-3,
            "betas": [0.9, 0.999],
            "weight_decay": 0.01,
            "batch": 16,
            "clip_norm": 1.0,
            "warmup_steps": 0,
            "minimum_lr": 1e-6,
            "ema_decay": 0.999,
        },
    },
    "nafnet": {
        "loss": {**_PIXELS_SQUARED, "noise_exponent": 1.0},
        "optimiser": {
            "lr": 1e-3,
            "betas": [0.9, 0.9],
            "batch": 32,
            "clip_norm": 0.01,
            "warmup_steps": 0,
            "minimum_lr": 1e-7,
            "ema_decay": 0.999,
        },
    },
    "dncnn": {
        "loss": _PIXELS_SQUARED,
        "optimiser": {
            "lr": 1e-3,
            "betas": [0.9, 0.999],
            "weight_decay": 1e-4,
            "batch": 16,
            "clip_norm": 1.0,
            "warmup_steps": 0,
            "minimum_lr": 1e-5,
            "ema_decay": 0.0,
        },
    },
}
"""Loss and optimiser of every network, on its own schedule; EDCNN's loss without its perceptual term."""


def document(
    kind: Kind,
    budget: Budget,
    *,
    seed: int,
    steps: int | None = None,
    precision: Literal["bf16", "f32"],
    perceptual: PerceptualConfig | None = None,
) -> Document:
    """The recipe of a network in a budget, without its data.

    Args:
        kind: the network.
        budget: sizes.
        seed: of first weights and patches.
        steps: other than the budget's.
        precision: arithmetic.
        perceptual: the second term of EDCNN's loss, which no other network has; None leaves it out.
    """
    wanted = budget.steps if steps is None else steps
    values = copy.deepcopy(PUBLISHED[kind])
    if kind == "edcnn" and perceptual is not None:
        values["loss"]["perceptual"] = perceptual.model_dump(mode="json")
    optimiser = values["optimiser"]
    if budget.batch is not None:
        optimiser["batch"] = budget.batch
    if kind == "framework" and budget.lr is not None:
        optimiser |= {"lr": budget.lr, "warmup_steps": wanted // 20}
    optimiser["warmup_steps"] = min(optimiser["warmup_steps"], wanted // 10)
    network: Document = getattr(budget, kind).model_dump(mode="json")
    if kind == "nafnet":
        network["patch_px"] = budget.patch_px
    return {
        "name": kind,
        "seed": seed,
        "network": network,
        "steps": wanted,
        "precision": precision,
        "workers": budget.workers,
        "checkpoint_every_steps": max(1, min(1000, wanted // 4)),
        "validation": {"every_steps": max(1, wanted // budget.validations)},
        "data": {"kind": "pairs", "patch_px": budget.patch_px, "target": "hq"},
        **values,
    }


def row_document(
    row: str, budget: Budget, *, seed: int, scale: int | None = None, precision: Literal["bf16", "f32"]
) -> Document:
    """The recipe of a row of Table I; `scale` is another factor of downsampling."""
    values = document("framework", budget, seed=seed, precision=precision)
    encoder, loss = ROWS[row]
    values["network"]["encoder"] = encoder
    if scale is not None:
        values["network"]["scale"] = scale
    values["loss"] |= loss
    return values


def resolved_precision(wanted: str, device: str) -> Literal["bf16", "f32"]:
    """bf16 where it is asked for, or where auto finds a processor or GPU that has it."""
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "f32"
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "f32"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "f32"
