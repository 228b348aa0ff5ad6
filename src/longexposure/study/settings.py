"""The trainings of the studies as recipe documents: the paper's rows, and its peers as they were published.

Losses and optimisers are in `recipes.toml`; a smaller budget changes sizes, steps and learning rate alone.
"""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any, Literal

import torch

from longexposure.study.budgets import Budget
from longexposure.train.losses import PerceptualConfig

Kind = Literal["framework", "fast", "edcnn", "nafnet", "dncnn"]
Document = dict[str, Any]

_RECIPES = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
ROWS: dict[str, Document] = _RECIPES["rows"]
"""What the rows of the paper's Table I change in the framework's recipe."""
FULL_ROW = "DM + FFL + WHFL"


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
    values = copy.deepcopy(_RECIPES["published"][kind])
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
    for section, changes in ROWS[row].items():
        values[section] |= changes
    if scale is not None:
        values["network"]["scale"] = scale
    return values


def resolved_precision(wanted: str, device: str) -> Literal["bf16", "f32"]:
    """bf16 where it is asked for, or where auto finds a processor or GPU that has it."""
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "f32"
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "f32"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "f32"
