"""Training: from a recipe to a checkpoint, in one loop that can be stopped and taken up again.

What a step does is a function of the recipe and the step's number alone: patch k of step s is item
`s * batch + k` of the data, and the learning rate follows from s. So a resumed run continues the same
run; on a CPU in float32 it gives the same bits as one that was never stopped.

Several devices share the patches of every step in equal parts, one process each, and take the step
together: they give what one device gives, but for the order in which sums are added up.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from longexposure.errors import CheckpointError, OutputError, ResourceError, as_count, as_kind, as_path
from longexposure.models.checkpoint import read_checkpoint
from longexposure.models.fast import Fast, can_grow, grow
from longexposure.models.networks import build_network, restore_network
from longexposure.models.registry import find_weights
from longexposure.system import kept_private, require
from longexposure.train.batches import batches_from, check_sample, datasets
from longexposure.train.distributed import ProcessGroup, choose_group, launched_group, run_processes
from longexposure.train.losses import training_loss
from longexposure.train.previews import Previews
from longexposure.train.recipe import Recipe
from longexposure.train.run import BEST, PREVIEWS, Run, open_folder
from longexposure.train.signals import Signals, raise_signal
from longexposure.train.validation import Samples, validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Progress:
    """What `on_step` gets after every step.

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
    on_step: OnStep | None = None,
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
        on_step: called after every step, in the primary process alone.

    Raises:
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has another recipe, the loss is no longer finite, or the devices cannot
            share the batch evenly.
        InputError: pairs that cannot be used.
        CheckpointError: `start_from` or the run state cannot be read or does not fit.
        ResourceError: no such device, a package is not installed, or one of several processes was killed.
    """
    as_kind(recipe, Recipe, where="recipe", advice="read one with load_recipe")
    out = as_path(out, where="out", error=OutputError)
    devices = as_count(devices, where="devices", low=1)
    group = choose_group(device, devices, batch=recipe.optimiser.batch)
    if tensorboard:
        require("tensorboard", where="--tensorboard")
    work = functools.partial(
        train_process, recipe=recipe, out=out, resume=resume, device=device, tensorboard=tensorboard
    )
    report = on_step or (lambda progress: None)
    if group.size > 1 and launched_group() is None:
        run_processes(work, size=group.size, report=report)
    else:
        work(group, report)
    return out / BEST


def train_process(
    group: ProcessGroup,
    on_step: OnStep,
    *,
    recipe: Recipe,
    out: Path,
    resume: bool,
    device: str,
    tensorboard: bool,
) -> None:
    """What each process of a training does."""
    fabric = open_device(device, recipe.precision, group=group)
    patches, images = datasets(recipe)
    network: Any = first_network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    check_sample(patches[0], patch_px=recipe.data.patch_px)
    batches = batches_from(recipe, patches, group=group, device=fabric.device)
    with group.connected(fabric.device), ExitStack() as closing:
        if group.is_primary:
            open_folder(recipe, out, resume=resume)
        group.barrier()
        run = Run(recipe, out, network=network, device=fabric.device)
        model, optimiser = fabric.setup(group.parallel(network, fabric.device), run.optimiser)
        if resume:
            run.restore()
        reporter = None
        if group.is_primary:
            run.open_log(tensorboard=tensorboard)
            closing.callback(run.close_log)
            reporter = Reporter(run, images, fabric=fabric, on_step=on_step)
        signals = closing.enter_context(Signals(second_stops=group.size == 1))

        for batch in batches(run.step):
            lr = run.set_rate(learning_rate(recipe, run.step))
            batch = fabric.to_device(batch)
            noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
            condition = batch["noise_condition"] if network.spec.conditioned else None
            if condition is not None and run.records_conditions:
                run.record_conditions(group.gather(condition))
            prediction = model(noisy, condition)
            loss, terms = training_loss(
                prediction.float(),
                batch["target"],
                config=recipe.loss,
                sigma=batch["sigma"],
                weight=batch.get("weight"),
            )
            with group.collective():
                fabric.backward(loss)
            means = group.gather(torch.stack([loss.detach(), *terms.values()])[None]).mean(0)
            norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip_norm)
            run.check_finite(means[0], norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            run.count_step()
            if reporter:
                reporter.report(dict(zip(("loss", *terms), means, strict=True)), lr=lr)
            stop = int(group.gather(torch.tensor([signals.caught], device=fabric.device)).max())
            if group.is_primary and (stop or run.due(recipe.checkpoint_every_steps)):
                run.save()
            if stop:
                group.barrier()
                raise_signal(stop)
        if group.is_primary:
            run.finish()
        raise_signal(signals.caught)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of step 0, 1, ...: a straight warm-up, then half a cosine down to the minimum."""
    config = recipe.optimiser
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    fraction = (step - config.warmup_steps) / max(recipe.steps - 1 - config.warmup_steps, 1)
    return config.minimum_lr + (config.lr - config.minimum_lr) * 0.5 * (1 + math.cos(math.pi * fraction))


def first_network(recipe: Recipe) -> nn.Module:
    """The network with its first weights: drawn from the recipe's seed, or those of `start_from`.

    A network of kind "fast" may start from a smaller one, see `longexposure.models.fast.grow`.

    Raises:
        CheckpointError: `start_from` cannot be read, or is another kind or size of network.
    """
    start = None
    if recipe.start_from is not None:
        header, weights = read_checkpoint(find_weights(recipe.start_from))
        start = restore_network(header, weights, where=recipe.start_from)
        if start.config == recipe.network:
            return start.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = build_network(recipe.network)
    if start is None:
        return network
    if isinstance(start, Fast) and isinstance(network, Fast) and can_grow(start.config, network.config):
        grow(start, network)
        return network
    raise CheckpointError(
        where=str(recipe.start_from),
        expected=f"the network of the recipe, {recipe.network.model_dump(mode='json')}",
        found=str(header.model),
        advice="take over its [network] table, or leave start_from out",
    )


def open_device(device: str, precision: str, *, group: ProcessGroup) -> Fabric:
    """Device and precision of this process; on a GPU, torch's calls without a number use its own from now on.

    Raises:
        ResourceError: lightning-fabric is missing, no such device, or more processes on this host than GPUs.
    """
    require("lightning_fabric", where="training")
    with kept_private():
        import torch._dynamo  # which optimisers import
        from lightning_fabric import Fabric

    cuda = torch.cuda.is_available()
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not cuda):
        raise ResourceError(
            where="device",
            expected="auto, cpu or cuda" if cuda else "auto or cpu (torch sees no GPU)",
            found=repr(device),
            advice="leave --device out to use what is there",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    kind: Any = "bf16-mixed" if precision == "bf16" else "32-true"
    if device == "cpu" or not cuda:
        return Fabric(accelerator="cpu", devices=1, precision=kind)
    if group.local_rank >= torch.cuda.device_count():
        raise ResourceError(
            where="devices",
            expected=f"at most {torch.cuda.device_count()} processes, one for each GPU",
            found=f"process {group.local_rank + 1}",
            advice="start fewer, or use --device cpu",
        )
    torch.cuda.set_device(group.local_rank)
    return Fabric(accelerator="cuda", devices=[group.local_rank], precision=kind)


class Reporter:
    """What the primary process does beside its part of the steps: log, scores, previews, progress.

    First weights that come from a checkpoint are scored and shown at once: nothing worse is kept as the best.
    """

    def __init__(self, run: Run, images: Samples, *, fabric: Fabric, on_step: OnStep) -> None:
        self._run, self._images, self._fabric, self._on_step = run, images, fabric, on_step
        self._previews = Previews(run.recipe, images, run.out / PREVIEWS)
        if run.step == 0 and run.recipe.start_from is not None:
            self._score()
            self._preview()
        self._last, self._seconds_per_step, self._steps = time.perf_counter(), 0.0, 0

    def report(self, losses: Mapping[str, torch.Tensor], *, lr: float) -> None:
        """Log a step, and do what is due after it.

        Args:
            losses: "loss" and the terms that add up to it.
            lr: learning rate of the step.
        """
        run, recipe = self._run, self._run.recipe
        # a mean over about the last 30 steps without the first, in which all begins
        now = time.perf_counter()
        took, self._last = now - self._last, now
        self._steps += 1
        self._seconds_per_step += (took - self._seconds_per_step) / min(max(self._steps - 1, 1), 30)
        pixels = recipe.optimiser.batch * recipe.data.patch_px**2
        mpx_per_s = pixels / 1e6 / max(self._seconds_per_step, 1e-9)
        run.log_step(losses, lr=lr, mpx_per_s=mpx_per_s)
        if run.due(recipe.validation.every_steps):
            self._score()
        self._preview()
        left = (recipe.steps - run.step) * self._seconds_per_step
        self._on_step(
            Progress(run.step, recipe.steps, float(losses["loss"]), lr, mpx_per_s, left, run.scores)
        )

    def _score(self) -> None:
        self._run.keep_score(validate(self._run.average, self._images, fabric=self._fabric))

    def _preview(self) -> None:
        run = self._run
        if run.due(run.recipe.preview.every_steps):
            run.add_preview(self._previews.write(run.average, step=run.step, fabric=self._fabric))
