"""Budgets: how large a study is, from an hour on a laptop to the paper's own schedule."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from longexposure.config import parsed
from longexposure.models.dncnn import DnCNNConfig
from longexposure.models.edcnn import EDCNNConfig
from longexposure.models.fast import FastConfig
from longexposure.models.framework import FrameworkConfig
from longexposure.models.nafnet import NAFNetConfig
from longexposure.models.networks import NetworkConfig


class BudgetTable(BaseModel):
    """A table of a budget: frozen, and it knows every key it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Noise2NoiseBudget(BudgetTable):
    """Size of the Noise2Noise study, which simulates its own pairs of short exposures.

    Attributes:
        machine: the simulated machine.
        train: training pairs for each condition; an eighth of them, one at least, validates.
        test: test pairs for each condition.
        size_px: side of the images.
        patch_px: side of the patches.
        batch: patches a step.
        steps: of each training.
        network: what is trained.
        workers: processes that simulate; None is one for each core.
    """

    machine: str = "S1"
    train: int = Field(default=24, ge=2)
    test: int = Field(default=6, ge=1)
    size_px: int = Field(default=256, ge=32, le=4096)
    patch_px: int = Field(default=96, ge=16, le=4096)
    batch: int = Field(default=4, ge=1, le=4096)
    steps: int = Field(default=500, ge=2)
    network: NetworkConfig
    workers: int | None = Field(default=None, ge=0)


class Budget(BudgetTable):
    """How large the networks, the trainings and the tests of all studies are.

    Attributes:
        name: name of the budget.
        train_pairs: training pairs of each machine type; None takes all.
        val_pairs: pairs of each type that are taken from the training pairs to choose the best weights.
        val_px: side of the centre crops of those; None takes whole images.
        test_images: test images of each type, evenly spread over the test set; None takes all.
        test_px: side of their centre crops; None takes whole images, as the paper does.
        picture_px: side of the regions that are shown.
        framework, fast, edcnn, nafnet, dncnn: sizes of the networks.
        patch_px: side of the training patches.
        batch: patches a step; None takes each network's published number.
        steps: steps of the framework in each setting; the comparison gives the others equal time.
        lr: learning rate of the framework; None takes the long schedule's.
        validations: how often weights are scored in the course of a training.
        seeds: random starts of each row of Table I.
        other_seeds: random starts in the other studies.
        noise_pairs: pairs of each type whose noise is analysed.
        timing_steps: steps that measure how long a step takes; the second half of them counts.
        memory_px: side of the image whose enhancing tells the memory that a network takes.
        precision: arithmetic of the networks while they train; auto: bf16 where the processor has it.
        workers: processes that prepare patches; 0 prepares them between the steps.
        noise2noise: size of that study.
    """

    name: str
    train_pairs: int | None = Field(default=None, ge=2)
    val_pairs: int = Field(default=8, ge=1)
    val_px: int | None = Field(default=512, ge=16)
    test_images: int | None = Field(default=None, ge=1)
    test_px: int | None = Field(default=None, ge=16)
    picture_px: int = Field(default=160, ge=16, le=1024)
    framework: FrameworkConfig = FrameworkConfig()
    fast: FastConfig = FastConfig()
    edcnn: EDCNNConfig = EDCNNConfig()
    nafnet: NAFNetConfig = NAFNetConfig()
    dncnn: DnCNNConfig = DnCNNConfig()
    patch_px: int = Field(default=256, ge=16, le=4096)
    batch: int | None = Field(default=None, ge=1, le=4096)
    steps: int = Field(default=200_000, ge=2)
    lr: float | None = Field(default=None, gt=0, le=0.1)
    validations: int = Field(default=40, ge=1)
    seeds: int = Field(default=3, ge=1, le=100)
    other_seeds: int = Field(default=1, ge=1, le=100)
    noise_pairs: int = Field(default=100, ge=1)
    timing_steps: int = Field(default=200, ge=2)
    memory_px: int = Field(default=1024, ge=64, le=4096)
    precision: Literal["auto", "bf16", "f32"] = "auto"
    workers: int = Field(default=8, ge=0, le=256)
    noise2noise: Noise2NoiseBudget

    def reductions(self) -> list[str]:
        """In words, everything that is smaller than in the full budget."""
        own, full = self.model_dump(mode="json"), BUDGETS["full"].model_dump(mode="json")
        trial, whole = own["noise2noise"], full["noise2noise"]
        left_out = ("name", "workers", "precision", "timing_steps", "picture_px", "memory_px", "noise2noise")
        pairs = {key: (own[key], full[key]) for key in own if key not in left_out}
        pairs |= {f"noise2noise.{key}": (trial[key], whole[key]) for key in trial if key != "workers"}
        return [
            f"{key} {_words(key, mine)} instead of {_words(key, theirs)}"
            for key, (mine, theirs) in pairs.items()
            if mine != theirs
        ]


UNLIMITED = {
    "train_pairs": "all",
    "val_px": "whole images",
    "test_images": "all",
    "test_px": "whole images",
    "batch": "each network's published one",
    "lr": "the long schedule's",
}
"""What None stands for."""


def _words(key: str, value: object) -> str:
    if value is None:
        return UNLIMITED[key]
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if name != "kind")
    return str(value)


BUDGETS: dict[str, Budget] = {
    name: parsed(Budget, {"name": name, **values}, where="budgets.toml")
    for name, values in tomllib.loads(
        Path(__file__).with_name("budgets.toml").read_text(encoding="utf-8")
    ).items()
}
"""The budgets by name: about an hour on two cores, about a night on them, the paper's schedule on a GPU."""
