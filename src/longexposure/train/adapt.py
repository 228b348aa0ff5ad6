"""A machine's own enhancer: a network that goes on learning from the short exposures of one machine alone."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from longexposure.config import override, read_document
from longexposure.data.shots import Shots, ShotsConfig, load_shots
from longexposure.errors import CheckpointError, OutputError, RecipeError, as_list, as_number, as_path
from longexposure.io import write_whole
from longexposure.models.checkpoint import Header, checkpoint_bytes, read_checkpoint, read_header, sha256_of
from longexposure.models.registry import CLASSICAL, DEFAULT, find_weights
from longexposure.train.judging import Judgement, judge
from longexposure.train.loop import OnStep, train
from longexposure.train.recipe import Recipe, recipe_from
from longexposure.train.recipes import shipped_recipe
from longexposure.train.run import BEST, LAST, recipe_of, refuse_other_folder, refuse_other_recipe

JUDGEMENT = "judgement.json"
FEWEST_STEPS = 20
TIMED = (4, 12)
"""Steps from whose beginning to whose end the time of a step is taken; the first ones are slower."""

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Adapted:
    """What became of an adaptation.

    Attributes:
        checkpoint: the adapted weights where they are better, else a copy of those they started from.
        judgement: of both, on what was held out.
        steps: steps trained.
        start: the model that was adapted, as it was named.
    """

    checkpoint: Path
    judgement: Judgement
    steps: int
    start: str

    def in_words(self) -> str:
        """One line for a person."""
        words = self.judgement.in_words()
        if self.judgement.helped:
            return f"adapting helped: {words}"
        return f"adapting did not help, {self.start} stays as it is: {words}"


def adapt(
    shots: Sequence[str | Path],
    out: str | Path,
    *,
    noise: str | Path | None = None,
    minutes: float = 15.0,
    model: str | Path = DEFAULT,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    on_step: OnStep | None = None,
    tell: Tell = lambda line: None,
) -> Adapted:
    """Adapt a model to the short exposures of one machine, and keep what came of it only where it is better.

    `RUN/checkpoint.safetensors`, which `--model RUN` takes, holds the adapted weights where they are better
    on held-out shots by more than two standard errors, else a copy of those they started from; the adapted
    ones are in `RUN/last.safetensors` either way, and `RUN/judgement.json` says what was measured.

    Args:
        shots: images and folders of images.
        out: run folder; it must not exist, or be empty, unless `resume`.
        noise: calibration file of the machine's noise; None measures it on each image.
        minutes: time for the training; a few steps are timed first.
        model: a network to start from, by name, checkpoint file or run folder.
        overrides: "dotted.key=value" on top of the recipe `adapt`; with "steps=..." nothing is timed.
        resume: go on where the run in `out` stopped, with the steps that it was started with.
        device: "auto", "cpu" or "cuda".
        devices: how many of them share every step.
        on_step: called after every step.
        tell: called with lines that a person should read.

    Raises:
        InputError: shots or a calibration that cannot be used, see `longexposure.data.shots.load_shots`.
        CheckpointError: a model that has no weights to go on from.
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has other settings, or an override does not fit.
        ResourceError: no such device, or a package is not installed.
    """
    out = as_path(out, where="out", error=OutputError)
    minutes = as_number(minutes, where="minutes", low=0.1, high=10_000)
    start = weights_to_adapt(model)
    if not resume:
        refuse_other_folder(out)
    before = recipe_of(out) if resume else None
    recipe = adapting_recipe(
        shots, noise=noise, model=model, overrides=overrides, before=before, on_gpu=_on_gpu(device)
    )
    data = _shots_of(recipe)
    if before is not None:
        refuse_other_recipe(before, recipe, out)
    began = time.perf_counter()
    found = load_shots(data, seed=recipe.validation.seed)
    for line in found.told:
        tell(line)
    tell(f"{found.count} shot{'s' if found.count > 1 else ''}, {noise_in_words(found)}")
    if before is None and not any(line.partition("=")[0].strip() == "steps" for line in overrides):
        seconds = seconds_per_step(recipe, device=device, devices=devices)
        left = 60 * minutes - (time.perf_counter() - began)
        recipe = _with_steps(recipe, max(int(left / seconds), FEWEST_STEPS), overrides)
        tell(f"{recipe.steps} steps of {seconds:.2f} s in about {minutes:g} minutes")
    train(recipe, out, resume=resume, device=device, devices=devices, on_step=on_step)
    judgement = judge(start, out / LAST, found.held_out, seed=recipe.validation.seed, device=device)
    _keep(recipe, found, out, start=start, judgement=judgement)
    return Adapted(out / BEST, judgement, recipe.steps, str(model))


def weights_to_adapt(model: str | Path) -> Path:
    """The checkpoint of a model that can go on learning.

    Raises:
        CheckpointError: a model without weights, one that was exported for an engine, or none.
    """
    path = as_path(model, where="model", error=CheckpointError)
    found = "a filter, which has no weights"
    if str(path) not in CLASSICAL:
        weights = find_weights(path)
        if weights.suffix.lower() not in (".onnx", ".xml"):
            read_header(weights)
            return weights
        found = "a model for an engine, whose weights are fixed"
    raise CheckpointError(
        where=str(model),
        expected="a network to go on from: fast, best, a .safetensors file or the folder of a training run",
        found=found,
        advice="leave --model out, or give the checkpoint that it was exported from",
    )


def adapting_recipe(
    shots: Sequence[str | Path],
    *,
    noise: str | Path | None,
    model: str | Path,
    overrides: Sequence[str] = (),
    before: Recipe | None = None,
    on_gpu: bool = False,
) -> Recipe:
    """The recipe `adapt` with what it is given; steps and arithmetic are those of the run that goes on.

    Raises:
        RecipeError: an override that does not fit.
        CheckpointError: no such model.
    """
    values = read_document(shipped_recipe("adapt"), advice="install longexposure anew")
    header = read_header(find_weights(model))
    values |= {"network": dict(header.model), "start_from": str(model)}
    values["precision"] = "bf16" if on_gpu else "f32"
    values["summary"] = f"{Path(model).name}, adapted to the short exposures of one machine"
    values["data"]["paths"] = [str(as_path(path, where="shots")) for path in as_list(shots, where="shots")]
    if noise is not None:
        values["data"]["noise"] = str(noise)
    for line in as_list(overrides, where="overrides"):
        override(values, line)
    recipe = recipe_from(_fitting(values, overrides), where="adapt")
    if before is None:
        return recipe
    same = {"steps": before.steps, "precision": before.precision}
    values = {**recipe.model_dump(mode="json"), **same}
    values["optimiser"]["warmup_steps"] = before.optimiser.warmup_steps
    return recipe_from(values, where="adapt")


def _with_steps(recipe: Recipe, steps: int, overrides: Sequence[str]) -> Recipe:
    values = {**recipe.model_dump(mode="json"), "steps": steps}
    return recipe_from(_fitting(values, overrides), where="adapt")


def _fitting(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values with a warm-up that is short beside the steps, where nobody says how long it is."""
    steps, warmup = values.get("steps"), values["optimiser"].get("warmup_steps")
    told = any(line.partition("=")[0].strip() == "optimiser.warmup_steps" for line in overrides)
    if not told and isinstance(steps, int) and isinstance(warmup, int):
        values["optimiser"] = {**values["optimiser"], "warmup_steps": min(warmup, steps // 5)}
    return values


def seconds_per_step(recipe: Recipe, *, device: str, devices: int) -> float:
    """Seconds that a step takes here, scenes and exposures included; a few steps are trained for it."""
    values = recipe.model_dump(mode="json")
    values |= {"steps": TIMED[1] + 1, "checkpoint_every_steps": 1000}
    values["preview"]["every_steps"] = 0
    values["validation"] |= {"count": 1, "size_px": 64}
    values["optimiser"]["warmup_steps"] = 0
    values["data"]["pool"] = 1  # so that scenes are drawn as often as they will be later
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            recipe_from(values, where="adapt"),
            Path(folder) / "timed",
            device=device,
            devices=devices,
            on_step=lambda at: times.append(time.perf_counter()),
        )
    first, last = TIMED
    return (times[last - 1] - times[first - 1]) / (last - first)


def noise_in_words(shots: Shots) -> str:
    """Where the noise is known from, and how strong it is."""
    sigmas = [one.noise.sigma_at(0.5) for one in (*shots.training, *shots.held_out)]
    source = "measured on each" if shots.calibration is None else f"of {shots.calibration.name}"
    return f"noise {source}, {min(sigmas):.3g} to {max(sigmas):.3g} of the contrast"


def _shots_of(recipe: Recipe) -> ShotsConfig:
    """The data of the recipe; raises RecipeError where an override made it another kind."""
    if isinstance(recipe.data, ShotsConfig):
        return recipe.data
    raise RecipeError(
        where="data.kind",
        expected="shots",
        found=recipe.data.kind,
        advice="adapt learns from short exposures; `longexposure train` takes other data",
    )


def _on_gpu(device: str) -> bool:
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def _keep(recipe: Recipe, found: Shots, out: Path, *, start: Path, judgement: Judgement) -> None:
    """Put the better weights where `--model RUN` takes them from, and write down why."""
    sha256 = sha256_of(start)
    facts: dict[str, Any] = {
        "kept": "adapted" if judgement.helped else "start",
        **judgement.facts(),
        "start": {"model": recipe.start_from, "weights_sha256": sha256},
        "shots": found.count,
        "noise": noise_in_words(found),
        "told": list(found.told),
    }
    content = start.read_bytes()
    if judgement.helped:
        header, weights = read_checkpoint(out / LAST)
        content = checkpoint_bytes(weights, _explained(header, recipe, found, sha256, judgement))
    for name, whole in ((JUDGEMENT, (json.dumps(facts, indent=2) + "\n").encode()), (BEST, content)):
        write_whole(out / name, whole, overwrite=True, parents=True)


def _explained(
    header: Header, recipe: Recipe, found: Shots, start_sha256: str, judgement: Judgement
) -> Header:
    """The header of a run's last weights, which says what they were adapted from, and to what."""
    data = _shots_of(recipe)
    machines = ", ".join(Path(name).name for name in data.machines)
    mixed = f", {data.mix:.0%} of the patches scenes of {machines} under that noise" if data.mix else ""
    before = header.trained_on.partition("; before that: ")[2]
    trained_on = (
        f"{found.count} short exposure{'s' if found.count > 1 else ''} without clean images "
        f"({noise_in_words(found)}{mixed}): {recipe.steps} steps of {recipe.optimiser.batch} patches of "
        f"{data.patch_px} x {data.patch_px} px; adapted from {recipe.start_from} (SHA-256 {start_sha256})"
    )
    return header.model_copy(
        update={
            "trained_on": f"{trained_on}; before that: {before}" if before else trained_on,
            "scores": {**header.scores, "held out": judgement.facts()},
        }
    )
