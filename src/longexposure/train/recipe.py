"""Recipes: everything a training needs to know, in one TOML document that is checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longexposure.config import parsed, read_document
from longexposure.data.pairs import PairsConfig
from longexposure.data.shots import ShotsConfig
from longexposure.data.simulated_patches import SimulatedPatchesConfig
from longexposure.errors import RecipeError, as_path
from longexposure.models.networks import NetworkConfig, build_network
from longexposure.system import kept_private
from longexposure.train.losses import LossConfig
from longexposure.train.optimiser import OptimiserConfig
from longexposure.train.recipes import shipped_recipes

DataConfig = Annotated[SimulatedPatchesConfig | PairsConfig | ShotsConfig, Field(discriminator="kind")]


FREE_TO_CHANGE = (
    "workers",
    "checkpoint_every_steps",
    "preview.every_steps",
    "preview.count",
    "preview.size_px",
)
"""Settings a resumed run may change, because no number depends on them."""


class RecipeSection(BaseModel):
    """A table of a recipe: frozen, and it knows every key it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ValidationConfig(RecipeSection):
    """When and on what the weights are scored.

    Attributes:
        count: number of validation images; of held-out pairs at most as many as there are.
        size_px: side of a validation image, cut from the middle of short exposures; pairs on disk are
            scored whole.
        every_steps: steps between two scorings; the last step is always scored.
        seed: seed of the simulated validation images; it differs from the recipe's own.
    """

    count: int = Field(default=16, ge=1, le=1000)
    size_px: int = Field(default=256, ge=16, le=4096)
    every_steps: int = Field(default=1000, ge=1)
    seed: int = Field(default=1_000_003, ge=0, lt=2**63)


class PreviewConfig(RecipeSection):
    """Pictures of a few validation images while the training runs; no number depends on them.

    Attributes:
        every_steps: steps between two previews, and one more after the last step; 0 is never.
        count: number of images, spread evenly over those for validation.
        size_px: side of the most detailed region of an image, which is what is shown.
    """

    every_steps: int = Field(default=500, ge=0)
    count: int = Field(default=3, ge=1, le=16)
    size_px: int = Field(default=192, ge=16, le=1024)


class Recipe(RecipeSection):
    """What the user writes to train a network, and what a checkpoint says it was trained with.

    Attributes:
        name: short name, also the default name of the checkpoint.
        seed: seed of the weights and of the stream of patches.
        summary: one line for the catalogue of models.
        licence: licence of the weights.
        network: kind and sizes of the network.
        loss: weights of the terms of the loss.
        data: where the patches come from: simulated machines, pairs on disk, or short exposures alone.
        validation: when and on what the weights are scored.
        preview: when and of what pictures are written, for eyes only.
        optimiser: how the weights move.
        steps: number of steps.
        precision: arithmetic of the network; loss, moments and average are always float32.
        workers: processes that prepare patches, for each device; 0 prepares them between the steps.
        checkpoint_every_steps: steps between two saves of the run state.
        start_from: checkpoint to take the first weights from; random weights where it is left out.

    Raises:
        RecipeError: two settings contradict each other.
    """

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        max_length=60,
        description="small letters, digits, . _ -, at most 60, a letter or digit first",
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    summary: str = ""
    licence: str = "Apache-2.0"
    network: NetworkConfig
    loss: LossConfig = Field(default_factory=LossConfig)
    data: DataConfig
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    preview: PreviewConfig = Field(default_factory=PreviewConfig)
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)
    steps: int = Field(ge=1)
    precision: Literal["bf16", "f32"] = "bf16"
    workers: int = Field(default=1, ge=0, le=256)
    checkpoint_every_steps: int = Field(default=500, ge=1)
    start_from: str | None = None

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        optimiser, multiple = self.optimiser, size_multiple(self.network)
        if optimiser.warmup_steps >= self.steps:
            raise _contradiction(
                "optimiser.warmup_steps",
                f"fewer than steps = {self.steps}",
                optimiser.warmup_steps,
                advice="train longer or warm up for fewer steps",
            )
        if optimiser.minimum_lr > optimiser.lr:
            raise _contradiction(
                "optimiser.minimum_lr",
                f"at most optimiser.lr = {optimiser.lr}",
                optimiser.minimum_lr,
                advice="lower the one or raise the other",
            )
        if self.data.patch_px % multiple:
            lower = max(self.data.patch_px // multiple, 1) * multiple
            raise _contradiction(
                "data.patch_px",
                f"a multiple of {multiple} px, which network.kind = {self.network.kind!r} takes",
                self.data.patch_px,
                advice=f"use {lower} or {lower + multiple}",
            )
        if (
            self.data.kind == "machines"
            and self.data.exposed_on == "device"
            and optimiser.batch % self.data.group
        ):
            raise _contradiction(
                "optimiser.batch",
                f"a multiple of data.group = {self.data.group}, which are exposed together on a device",
                optimiser.batch,
                advice="change one of them",
            )
        if self.data.kind == "shots" and not self.loss.least_squares:
            raise _contradiction(
                "loss",
                'kind = "l2" and nothing else, which noisy targets do not draw aside',
                self.loss.model_dump(mode="json"),
                advice="take over the [loss] table of `longexposure recipes show adapt`",
            )
        if self.data.kind != "pairs" and self.validation.seed == self.seed:
            raise _contradiction(
                "validation.seed",
                f"another number than seed = {self.seed}",
                self.validation.seed,
                advice="change one of them, or the network is scored on what it was trained on",
            )
        return self


@lru_cache(maxsize=64)
def size_multiple(network: NetworkConfig) -> int:
    """Height and width, in pixels, of which the network's patches must be multiples."""
    with kept_private(), torch.device("meta"):  # which imports torch's compiler
        return build_network(network).spec.size_multiple


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, put the overrides in place and check the whole document.

    Paths inside a recipe are relative to the folder the command runs in.

    Args:
        path: a name that `longexposure recipes list` shows, or a TOML file of your own.
        overrides: "dotted.key=value", the value written as in TOML; what is no TOML is taken as text.

    Raises:
        RecipeError: not readable, not TOML, an unknown key, a wrong type, a value out of range, or two
            settings that contradict each other.
    """
    path = as_path(path, where="recipe", error=RecipeError)
    file, names = shipped_recipes().get(str(path), path), ", ".join(shipped_recipes())
    advice = f"name a file or one of {names}; `longexposure recipes show own-pairs` prints one to start from"
    return recipe_from(read_document(file, overrides, advice=advice), where=str(path))


def recipe_from(values: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe that a mapping describes; numbers in quotes and other near misses are refused.

    Raises:
        RecipeError: as `load_recipe`, with `where` before the dotted key.
    """
    return parsed(Recipe, values, where=where)


def first_difference(first: Recipe, second: Recipe, *, ignore: Sequence[str] = ()) -> str | None:
    """Dotted key and both values of the first setting that differs, or None."""
    ones, others = (dict(_flat(recipe.model_dump(mode="json"))) for recipe in (first, second))
    for key in [*ones, *(key for key in others if key not in ones)]:
        if key not in ignore and ones.get(key) != others.get(key):
            return f"{key} = {ones.get(key)!r} and {others.get(key)!r}"
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _contradiction(key: str, expected: str, found: object, *, advice: str) -> RecipeError:
    return RecipeError(where=key, expected=expected, found=repr(found), advice=advice)
