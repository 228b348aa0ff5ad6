"""What a recipe trains on: patches, the validation images, and the batches of each step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from longexposure.data.pair_patches import PairImages, PairPatches
from longexposure.data.pairs import PairedFolder, PairsConfig, refuse_enhanced
from longexposure.data.shots import ShotImages, ShotPatches, ShotsConfig, load_shots
from longexposure.data.simulated_patches import (
    SimulatedBatches,
    SimulatedImages,
    SimulatedPatches,
    SimulatedPatchesConfig,
    start_worker,
)
from longexposure.errors import RecipeError
from longexposure.train.distributed import ProcessGroup
from longexposure.train.recipe import Recipe
from longexposure.train.validation import Sample, Samples


def datasets(recipe: Recipe) -> tuple[Samples, Samples]:
    """Training patches and validation images of a recipe; pairs on disk are all checked first."""
    held = recipe.validation
    if isinstance(recipe.data, PairsConfig):
        folder = PairedFolder(
            Path(recipe.data.path), include=recipe.data.include, clean=recipe.data.target == "clean"
        )
        refuse_enhanced(folder.pairs)
        training, held_out = folder.split(recipe.data.held_out, seed=held.seed)
        return (
            PairPatches(training, recipe.data, seed=recipe.seed),
            PairImages(held_out[: held.count], recipe.data),
        )
    if isinstance(recipe.data, ShotsConfig):
        shots = load_shots(recipe.data, seed=held.seed)
        return (
            ShotPatches(recipe.data, shots, seed=recipe.seed),
            ShotImages(recipe.data, shots, seed=held.seed, count=held.count, size_px=held.size_px),
        )
    images = SimulatedImages(recipe.data, seed=held.seed, count=held.count, size_px=held.size_px)
    return SimulatedPatches(recipe.data, seed=recipe.seed), images


def check_sample(sample: Sample, *, patch_px: int) -> None:
    """Hours of compute start here, so the first patch is checked.

    Raises:
        RecipeError: numbers of another shape, or that are not finite.
    """
    image = (1, patch_px, patch_px)
    for name, shape in {"noisy": image, "target": image, "noise_condition": (5,), "sigma": ()}.items():
        value = sample[name]
        if tuple(value.shape) != shape or not bool(torch.isfinite(value).all()):
            raise RecipeError(
                where=f"data, {name}",
                expected=f"finite numbers of shape {shape}",
                found=f"shape {tuple(value.shape)} from {float(value.min())} to {float(value.max())}",
                advice="check the [data] table of the recipe",
            )


def step_indices(steps: Iterable[int], *, batch: int, group: ProcessGroup) -> Iterator[list[int]]:
    """Indices of this process's part of the patches of steps; step s has s * batch to (s + 1) * batch - 1."""
    part = range(group.rank * batch // group.size, (group.rank + 1) * batch // group.size)
    for step in steps:
        yield [step * batch + place for place in part]


def batches_from(
    recipe: Recipe, patches: Samples, *, group: ProcessGroup, device: torch.device
) -> Callable[[int], Iterable[Sample]]:
    """What gives this process's part of the batches from one step on.

    Raises:
        RecipeError: patches that are exposed together on a device do not fill a part.
    """
    data, batch = recipe.data, recipe.optimiser.batch
    if isinstance(data, SimulatedPatchesConfig) and data.exposed_on == "device":
        exposed = SimulatedBatches(
            data,
            seed=recipe.seed,
            batch=batch,
            device=device,
            workers=recipe.workers,
            fraction=(group.rank, group.size),
        )
        return lambda first: itertools.islice(exposed.from_batch(first), recipe.steps - first)

    def load(first: int) -> DataLoader[Any]:
        return DataLoader(
            patches,  # type: ignore[arg-type]
            batch_sampler=step_indices(range(first, recipe.steps), batch=batch, group=group),
            num_workers=recipe.workers,
            worker_init_fn=start_worker,
            prefetch_factor=4 if recipe.workers else None,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(recipe.seed),
        )

    return load
