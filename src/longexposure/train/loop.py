"""Training: from a recipe to a checkpoint, in one loop that can be stopped and taken up again.

What a step does is a function of the recipe and the step's number alone: patch k of step s is item
`s * batch + k` of the data, and the learning rate follows from s. So a resumed run continues the same
run; on a CPU in float32 it gives the same bits as one that was never stopped.

Several devices share the patches of every step in equal parts, one process each, and take the step
together: they give what one device gives, but for the order in which sums are added up.
"""

from __future__ import annotations

import copy
import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from longexposure.data.pairs import PairedFolder, PairImages, PairPatches, PairsConfig
from longexposure.data.simulated_patches import (
    SimulatedBatches,
    SimulatedImages,
    SimulatedPatches,
    SimulatedPatchesConfig,
    start_worker,
)
from longexposure.errors import CheckpointError, RecipeError, ResourceError
from longexposure.models.checkpoint import read_checkpoint, read_header
from longexposure.models.fast import Fast, can_grow, grow
from longexposure.models.networks import build_network, restore_network
from longexposure.models.registry import find_weights
from longexposure.train.losses import training_loss
from longexposure.train.previews import Previews
from longexposure.train.processes import run_together
from longexposure.train.recipe import Recipe
from longexposure.train.run import BEST, LOOKS, Run, open_folder
from longexposure.train.shared_norm import share_batch_norm
from longexposure.train.signals import Signals, obey
from longexposure.train.team import Team, check_divides, team_of_environment
from longexposure.train.tensorboard import check_tensorboard
from longexposure.train.validation import Sample, Samples, validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Progress:
    """What `on_step` is told after every step.

    Attributes:
        step: steps done.
        steps: steps in all.
        loss: loss of this step.
        lr: learning rate of this step.
        mpx_per_s: pixels trained on per second, in millions.
        seconds_left: time to the end at this speed.
        scores: scores of the latest validation, empty before the first.
    """

    step: int
    steps: int
    loss: float
    lr: float
    mpx_per_s: float
    seconds_left: float
    scores: Mapping[str, Any] = field(default_factory=dict)


OnStep = Callable[[Progress], None]


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    tensorboard: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network and return the path of the checkpoint that scored best.

    SIGTERM and Ctrl-C let the step finish and save the run state before they take effect. Under torchrun
    this is one of its processes, and `devices` is theirs.

    Args:
        recipe: what to train, checked.
        out: run folder; it must not exist, or be empty, unless `resume`.
        resume: go on where the run in `out` stopped, on as many devices as one likes.
        device: "auto", "cpu" or "cuda".
        devices: how many of them share every step, each with a new process. A script that asks for more than
            one keeps its own work under `if __name__ == "__main__":`, as Python's multiprocessing wants it.
        tensorboard: write event files for TensorBoard too.
        on_step: called after every step, in the leading process alone.

    Raises:
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has another recipe, the loss is no longer finite, or the devices cannot
            share the batch evenly.
        InputError: pairs that cannot be used.
        CheckpointError: `start_from` or the run state cannot be read or does not fit.
        ResourceError: no such device, a package is not installed, or one of several processes was killed.
    """
    out = Path(out)
    team = _team(device, devices)
    check_divides(recipe.optimiser.batch, team.size)
    if tensorboard:
        check_tensorboard()
    work = functools.partial(
        _train, recipe=recipe, out=out, resume=resume, device=device, tensorboard=tensorboard
    )
    if team.size > 1 and team_of_environment() is None:
        run_together(work, size=team.size, tell=on_step or _nobody)
    else:
        work(team, on_step)
    return out / BEST


def _train(
    team: Team,
    on_step: OnStep | None,
    *,
    recipe: Recipe,
    out: Path,
    resume: bool,
    device: str,
    tensorboard: bool,
) -> None:
    """What each process of a training does."""
    fabric = _fabric(recipe, device, team)
    patches, images = datasets(recipe)
    network: Any = first_network(recipe)
    _check_sample(patches[0], network, patch_px=recipe.data.patch_px)
    batches_from = _batches(recipe, patches, team=team, device=fabric.device)
    with team.joined(fabric.device), ExitStack() as closing:
        if team.leads:
            open_folder(recipe, out, resume=resume)
        team.wait()
        run = _begun(recipe, out, network, fabric=fabric, team=team)
        model, stepper = fabric.setup(network, run.optimiser)
        if resume:
            run.restore()
        leader = None
        if team.leads:
            run.open_log(tensorboard=tensorboard)
            closing.callback(run.close_log)
            leader = _Leader(run, images, fabric=fabric, on_step=on_step)
            leader.begin()
        signals = closing.enter_context(Signals(patient=team.size > 1))

        for batch in batches_from(run.step):
            lr = run.set_rate(learning_rate(recipe, run.step))
            batch = fabric.to_device(batch)
            noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
            noise_condition = batch["noise_condition"] if network.spec.conditioned else None
            if noise_condition is not None:
                run.hear(noise_condition, team)
            prediction = model(noisy, noise_condition)
            loss, terms = training_loss(
                prediction.float(), batch["target"], config=recipe.loss, sigma=batch["sigma"]
            )
            fabric.backward(loss)
            loss, terms = team.average(network, loss, terms)
            norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip_norm)
            value = run.checked(loss, norm)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
            run.follow()
            if leader:
                leader.report(value, terms, lr=lr)
            stop = team.strongest(signals.caught, fabric.device)
            if leader and (stop or run.due(recipe.checkpoint_every_steps)):
                run.save()
            if stop:
                team.wait()
                obey(stop)
        if leader:
            run.finish()
        obey(signals.caught)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of step 0, 1, ...: a straight warm-up, then half a cosine down to the minimum."""
    config = recipe.optimiser
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    fraction = (step - config.warmup_steps) / max(recipe.steps - 1 - config.warmup_steps, 1)
    return config.minimum_lr + (config.lr - config.minimum_lr) * 0.5 * (1 + math.cos(math.pi * fraction))


def datasets(recipe: Recipe) -> tuple[Samples, Samples]:
    """Training patches and validation images of a recipe; pairs on disk are all checked first."""
    held = recipe.validation
    if isinstance(recipe.data, PairsConfig):
        folder = PairedFolder(
            Path(recipe.data.path), include=recipe.data.include, clean=recipe.data.target == "clean"
        )
        training, held_out = folder.split(recipe.data.held_out, seed=held.seed)
        return (
            PairPatches(training, recipe.data, seed=recipe.seed),
            PairImages(held_out[: held.count], recipe.data),
        )
    images = SimulatedImages(recipe.data, seed=held.seed, count=held.count, size_px=held.size_px)
    return SimulatedPatches(recipe.data, seed=recipe.seed), images


def first_network(recipe: Recipe) -> nn.Module:
    """The network with its first weights: drawn from the recipe's seed, or those of `start_from`.

    A network of kind "fast" may start from a smaller one, see `longexposure.models.fast.grow`.

    Raises:
        CheckpointError: `start_from` cannot be read, or is another kind or size of network.
    """
    if recipe.start_from is None:
        return _drawn_network(recipe)
    header, weights = read_checkpoint(find_weights(recipe.start_from))
    start = restore_network(header, weights, where=recipe.start_from)
    if start.config == recipe.network:
        return start.train()
    network = _drawn_network(recipe)
    if isinstance(start, Fast) and isinstance(network, Fast) and can_grow(start.config, network.config):
        grow(start, network)
        return network
    raise CheckpointError(
        where=recipe.start_from,
        expected=f"the network of the recipe, {recipe.network.model_dump(mode='json')}",
        found=str(header.model),
        advice="take over its [network] table, or leave start_from out",
    )


def _drawn_network(recipe: Recipe) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build_network(recipe.network)


def _begun(recipe: Recipe, out: Path, network: nn.Module, *, fabric: Fabric, team: Team) -> Run:
    """The run before its first step; its network shares every batch norm with the rest of the team."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).to(fabric.device).eval().requires_grad_(False)
    if team.size > 1:
        share_batch_norm(network)
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.optimiser.lr,
        betas=recipe.optimiser.betas,
        weight_decay=recipe.optimiser.weight_decay,
    )
    first = recipe.start_from
    past = "" if first is None else read_header(find_weights(first)).trained_on
    return Run(recipe, out, network=network, average=average, optimiser=optimiser, past=past)


class _Leader:
    """What the first process does beside its part of the steps: log, scores, pictures, progress."""

    def __init__(self, run: Run, images: Samples, *, fabric: Fabric, on_step: OnStep | None) -> None:
        self._run, self._images, self._fabric, self._on_step = run, images, fabric, on_step
        self._looks = Previews(run.recipe, images, run.out / LOOKS)
        self._pixels = run.recipe.optimiser.batch * run.recipe.data.patch_px**2
        self._last = self._seconds_per_step = 0.0
        self._ticks = 0

    def begin(self) -> None:
        """Score and show first weights that come from a checkpoint: nothing worse is kept as the best."""
        run, recipe = self._run, self._run.recipe
        if run.step == 0 and recipe.start_from is not None:
            self._score()
            if run.due(recipe.preview.every_steps):
                self._preview()
        self._last = time.perf_counter()

    def report(self, loss: float, terms: Mapping[str, torch.Tensor], *, lr: float) -> None:
        """Tell of a step, and do what is due after it."""
        run, recipe = self._run, self._run.recipe
        self._tick()
        mpx_per_s = self._pixels / 1e6 / max(self._seconds_per_step, 1e-9)
        run.note(loss, terms, lr=lr, mpx_per_s=mpx_per_s)
        if run.due(recipe.validation.every_steps):
            self._score()
        if run.due(recipe.preview.every_steps):
            self._preview()
        if self._on_step is not None:
            left = (recipe.steps - run.step) * self._seconds_per_step
            self._on_step(Progress(run.step, recipe.steps, loss, lr, mpx_per_s, left, run.scores))

    def _score(self) -> None:
        self._run.score(validate(self._run.average, self._images, fabric=self._fabric))

    def _preview(self) -> None:
        self._run.show(self._looks.take(self._run.average, step=self._run.step, fabric=self._fabric))

    def _tick(self) -> None:
        """Seconds of a step, as a mean over about the last 30 without the first, in which all begins."""
        now = time.perf_counter()
        took, self._last = now - self._last, now
        self._ticks += 1
        self._seconds_per_step += (took - self._seconds_per_step) / min(max(self._ticks - 1, 1), 30)


class _Steps(Sampler[list[int]]):
    """The batches of indices from one step on; step s holds items s * batch to (s + 1) * batch - 1.

    Of each batch this is one of several equal parts.
    """

    def __init__(self, *, first: int, last: int, batch: int, fraction: tuple[int, int]) -> None:
        self._steps = range(first, last)
        self._batch = batch
        part, parts = fraction
        self._part = range(part * batch // parts, (part + 1) * batch // parts)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield [step * self._batch + place for place in self._part]

    def __len__(self) -> int:
        return len(self._steps)


def _batches(
    recipe: Recipe, patches: Samples, *, team: Team, device: torch.device
) -> Callable[[int], Iterable[Sample]]:
    """What gives this process's part of the batches from one step on."""
    data, fraction = recipe.data, (team.rank, team.size)
    if isinstance(data, SimulatedPatchesConfig) and data.exposed_on == "device":
        batch, workers = recipe.optimiser.batch, recipe.workers
        exposed = SimulatedBatches(
            data, seed=recipe.seed, batch=batch, device=device, workers=workers, fraction=fraction
        )
        return lambda first: itertools.islice(exposed.from_batch(first), recipe.steps - first)
    return lambda first: _loader(
        recipe, patches, first_step=first, fraction=fraction, pin=device.type == "cuda"
    )


def _loader(
    recipe: Recipe, patches: Samples, *, first_step: int, fraction: tuple[int, int], pin: bool
) -> DataLoader[Any]:
    steps = _Steps(first=first_step, last=recipe.steps, batch=recipe.optimiser.batch, fraction=fraction)
    return DataLoader(
        patches,  # type: ignore[arg-type]
        batch_sampler=steps,
        num_workers=recipe.workers,
        worker_init_fn=start_worker,
        prefetch_factor=4 if recipe.workers else None,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def _nobody(_: Progress) -> None:
    """For those who are told and do not listen."""


def _team(device: str, devices: int) -> Team:
    """This process's place under torchrun, or else a team of so many that is still to be started.

    Raises:
        ResourceError: other than torchrun's number, or more than there are.
    """
    launched = team_of_environment()
    gpus = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else None
    if launched is not None and devices in (1, launched.size):
        return launched
    if launched is None and 1 <= devices <= (gpus or devices):
        return Team(size=devices)
    expected = f"1 to {gpus}, the GPUs that torch sees" if gpus else "1 or more"
    raise ResourceError(
        where="devices",
        expected=expected if launched is None else f"{launched.size}, the processes that torchrun started",
        found=str(devices),
        advice="use fewer, or --device cpu" if launched is None else "leave --devices out under torchrun",
    )


def _fabric(recipe: Recipe, device: str, team: Team) -> Fabric:
    """Device and precision of this process; the work of a team is shared by the team itself."""
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ResourceError(
            where="training",
            expected="the package lightning-fabric",
            found=str(error),
            advice='install it with pip install "longexposure[train]"',
        ) from error
    cuda = torch.cuda.is_available()
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not cuda):
        raise ResourceError(
            where="device",
            expected="auto, cpu or cuda" if cuda else "auto or cpu (torch sees no GPU)",
            found=repr(device),
            advice="leave --device out to use what is there",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    precision: Any = "bf16-mixed" if recipe.precision == "bf16" else "32-true"
    if device == "cpu" or not cuda:
        return Fabric(accelerator="cpu", devices=1, precision=precision)
    return Fabric(accelerator="cuda", devices=[_gpu_of(team)], precision=precision)


def _gpu_of(team: Team) -> int:
    """Number of this process's GPU, which torch's calls without a number use from now on.

    Raises:
        ResourceError: more processes on this machine than GPUs.
    """
    if team.local_rank >= torch.cuda.device_count():
        raise ResourceError(
            where="devices",
            expected=f"at most {torch.cuda.device_count()} processes, one for each GPU",
            found=f"process {team.local_rank + 1}",
            advice="start fewer, or use --device cpu",
        )
    torch.cuda.set_device(team.local_rank)
    return team.local_rank


def _check_sample(sample: Sample, network: nn.Module, *, patch_px: int) -> None:
    """Hours of compute start here, so the first patch is looked at."""
    spec: Any = network.spec
    expected = {
        "noisy": (1, patch_px, patch_px),
        "target": (1, patch_px, patch_px),
        "noise_condition": (5,),
        "sigma": (),
    }
    for name, shape in expected.items():
        value = sample[name]
        if tuple(value.shape) != shape or not bool(torch.isfinite(value).all()):
            raise RecipeError(
                where=f"data, {name}",
                expected=f"finite numbers of shape {shape}",
                found=f"shape {tuple(value.shape)} from {float(value.min())} to {float(value.max())}",
                advice="check the [data] table of the recipe",
            )
    if patch_px % spec.size_multiple:
        raise RecipeError(
            where="data.patch_px",
            expected=f"a multiple of {spec.size_multiple}",
            found=str(patch_px),
            advice="change the patch",
        )
