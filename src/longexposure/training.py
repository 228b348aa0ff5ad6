"""Training: from a recipe to a checkpoint, in one loop that can be stopped and taken up again.

A run folder holds `recipe.json` (the resolved recipe), `log.jsonl` (one object a line),
`state.safetensors` (all that a resumed run needs), `checkpoint.safetensors` (the averaged weights that
scored best so far) and, at the end, `last.safetensors` (the averaged weights of the last step).

What a step does is a function of the recipe and the step's number alone: patch k of step s is item
`s * batch + k` of the data, and the learning rate follows from s. So a resumed run continues the same
run; on a CPU in float32 it gives the same bits as one that was never stopped.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler

from longexposure.data.exposures import ExposedImages, ExposedPatches, ExposuresConfig
from longexposure.data.pairs import PairedFolder, PairImages, PairPatches, PairsConfig
from longexposure.data.simulated import SimulatedImages, SimulatedPatches
from longexposure.errors import CheckpointError, OutputError, RecipeError, ResourceError
from longexposure.io import write_whole
from longexposure.losses import training_loss
from longexposure.metrics import psnr, ssim
from longexposure.models import find_weights
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, read_checkpoint
from longexposure.models.networks import build_network, restore_network
from longexposure.recipes import Recipe, first_difference, recipe_from

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50
SIGMA_EDGES = (0.0, 0.02, 0.05, 0.1, math.inf)
"""Borders of the noise levels, in the unit domain, by which validation scores are grouped."""
FREE_TO_CHANGE = ("workers", "checkpoint_every_steps")
"""Settings a resumed run may change, because no number depends on them."""

RECIPE, LOG, STATE = "recipe.json", "log.jsonl", "state.safetensors"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"

Sample = Mapping[str, torch.Tensor]
Scores = dict[str, Any]


class Samples(Protocol):
    """A map-style dataset of noisy (1, H, W), target (1, H, W), condition (5,) and sigma ()."""

    def __getitem__(self, index: int) -> Sample: ...

    def __len__(self) -> int: ...


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


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network and return the path of the checkpoint that scored best.

    SIGTERM and Ctrl-C let the step finish and save the run state before they take effect.

    Args:
        recipe: what to train, checked.
        out: run folder; it must not exist, or be empty, unless `resume`.
        resume: go on where the run in `out` stopped.
        device: "auto", "cpu" or "cuda".
        on_step: called after every step.

    Raises:
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has another recipe, or the loss is no longer finite.
        InputError: pairs that cannot be used.
        CheckpointError: `start_from` or the run state cannot be read or does not fit.
        ResourceError: no such device, or lightning-fabric is not installed.
    """
    fabric = _fabric(recipe, device)
    patches, images = datasets(recipe)
    network = first_network(recipe)
    _check_sample(patches[0], network, patch_px=recipe.data.patch_px)
    out = Path(out)
    _open_folder(recipe, out, resume=resume)

    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.optimiser.lr,
        betas=recipe.optimiser.betas,
        weight_decay=recipe.optimiser.weight_decay,
    )
    model, stepper = fabric.setup(network, optimiser)
    run = _Run(recipe, out, network=network, average=_average_of(network), optimiser=optimiser)
    if resume:
        run.restore()
    loader = _loader(recipe, patches, first_step=run.step, pin=fabric.device.type == "cuda")
    clock = _Clock(run, pixels=recipe.optimiser.batch * recipe.data.patch_px**2)

    with _Signals() as signals:
        for batch in loader:
            lr = learning_rate(recipe, run.step)
            for group in optimiser.param_groups:
                group["lr"] = lr
            batch = fabric.to_device(batch)
            noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
            condition = batch["condition"] if network.spec.conditioned else None
            prediction = model(noisy, condition)
            loss, terms = training_loss(
                prediction.float(), batch["target"], config=recipe.loss, sigma=batch["sigma"]
            )
            fabric.backward(loss)
            norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip_norm)
            value = run.checked(loss, norm)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
            run.follow()
            clock.tick()
            run.note(value, terms, lr=lr, mpx_per_s=clock.mpx_per_s)
            if run.due(recipe.validation.every_steps):
                run.score(validate(run.average, images, fabric=fabric))
            if on_step is not None:
                on_step(clock.progress(value, lr))
            stop = signals.caught is not None
            if stop or run.due(recipe.checkpoint_every_steps):
                run.save()
            if stop:
                signals.obey()
    run.finish()
    return out / BEST


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of step 0, 1, ...: a straight warm-up, then half a cosine down to the minimum."""
    config = recipe.optimiser
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    share = (step - config.warmup_steps) / max(recipe.steps - 1 - config.warmup_steps, 1)
    return config.minimum_lr + (config.lr - config.minimum_lr) * 0.5 * (1 + math.cos(math.pi * share))


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
    validation = {"seed": held.seed, "count": held.count, "size_px": held.size_px}
    if isinstance(recipe.data, ExposuresConfig):
        return ExposedPatches(recipe.data, seed=recipe.seed), ExposedImages(recipe.data, **validation)
    return SimulatedPatches(recipe.data, seed=recipe.seed), SimulatedImages(recipe.data, **validation)


def first_network(recipe: Recipe) -> nn.Module:
    """The network with its first weights: drawn from the recipe's seed, or those of `start_from`.

    Raises:
        CheckpointError: `start_from` cannot be read, or is another kind or size of network.
    """
    if recipe.start_from is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return build_network(recipe.network)
    header, weights = read_checkpoint(find_weights(recipe.start_from))
    network = restore_network(header, weights, where=recipe.start_from)
    if network.config != recipe.network:
        raise CheckpointError(
            where=recipe.start_from,
            expected=f"the network of the recipe, {recipe.network.model_dump(mode='json')}",
            found=str(header.model),
            advice="take over its [network] table, or leave start_from out",
        )
    return network.train()


def validate(network: nn.Module, images: Samples, *, fabric: Fabric) -> Scores:
    """Score a network on whole images, noisy and enhanced against the target.

    Returns:
        Means of "psnr" (dB, data range 1), "ssim", "psnr_noisy", "ssim_noisy" and "bias" (mean error,
        unit domain), and the same by level of the noise under "by_sigma".
    """
    rows = []
    for index in range(len(images)):
        image = images[index]
        noisy, target = image["noisy"][None].float(), image["target"].float().numpy()[0]
        enhanced = _enhanced(network, fabric.to_device(noisy), fabric.to_device(image["condition"]), fabric)
        before = noisy[0, 0].numpy()
        rows.append(
            {
                "sigma": float(image["sigma"]),
                "psnr": float(psnr(enhanced, target, data_range=1.0)),
                "ssim": float(ssim(enhanced, target, data_range=1.0)),
                "psnr_noisy": float(psnr(before, target, data_range=1.0)),
                "ssim_noisy": float(ssim(before, target, data_range=1.0)),
                "bias": float(np.mean(enhanced, dtype=np.float64) - np.mean(target, dtype=np.float64)),
            }
        )
    groups = []
    for low, high in itertools.pairwise(SIGMA_EDGES):
        members = [row for row in rows if low <= row["sigma"] < high]
        if members:
            groups.append({"sigma_from": low, "count": len(members), **_means(members)})
    return {**_means(rows), "images": len(rows), "by_sigma": groups}


@torch.inference_mode()
def _enhanced(network: nn.Module, noisy: torch.Tensor, condition: torch.Tensor, fabric: Fabric) -> Any:
    """One image (1, 1, H, W) of any size through the network, as a NumPy array (H, W)."""
    spec: Any = network.spec
    height, width = noisy.shape[-2:]
    down, right = -height % spec.size_multiple, -width % spec.size_multiple
    padded = functional.pad(noisy, (0, right, 0, down), mode="replicate")
    with fabric.autocast():
        output = network(
            padded.contiguous(memory_format=torch.channels_last),
            condition[None].float() if spec.conditioned else None,
        )
    return output[0, 0, :height, :width].float().cpu().numpy()


def _means(rows: list[dict[str, float]]) -> dict[str, float | None]:
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {key: value if math.isfinite(value) else None for key, value in means.items()}


class _Run:
    """The state of a run and its files."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        network: nn.Module,
        average: nn.Module,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.network = network
        self.average = average
        self.optimiser = optimiser
        self.step = 0
        self.best: float | None = None
        self.scores: Scores = {}
        self.saved_step: int | None = None
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._window: list[dict[str, torch.Tensor | float]] = []

    def elapsed(self) -> float:
        """Seconds trained so far, earlier sittings included."""
        return self.seconds + time.perf_counter() - self._started

    def due(self, every_steps: int) -> bool:
        return self.step % every_steps == 0 or self.step == self.recipe.steps

    def checked(self, loss: torch.Tensor, norm: torch.Tensor) -> float:
        """The loss as a number, before it can spoil the weights."""
        value, length = torch.stack([loss.detach(), norm.detach().to(loss)]).tolist()
        if math.isfinite(value) and math.isfinite(length):
            return float(value)
        good = f"{self.out / STATE} (step {self.saved_step})" if self.saved_step else "there is none"
        raise RecipeError(
            where=f"{self.recipe.name}, step {self.step + 1}",
            expected="a finite loss and gradient",
            found=f"loss {value}, gradient norm {length}",
            advice=f"lower optimiser.lr or optimiser.clip_norm and check the data; last good state: {good}",
        )

    @torch.no_grad()
    def follow(self) -> None:
        """Count the step and let the averaged weights follow; the average starts fast."""
        self.step += 1
        decay = min(self.recipe.optimiser.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def note(self, loss: float, terms: Mapping[str, torch.Tensor], *, lr: float, mpx_per_s: float) -> None:
        """Gather a step for the log; one line is the mean of the steps since the last."""
        self._window.append({"loss": loss, **terms})
        if not self.due(LOG_EVERY_STEPS):
            return
        means = {name: float(np.mean([float(row[name]) for row in self._window])) for name in self._window[0]}
        self._window.clear()
        line = {"lr": lr, "mpx_per_s": round(mpx_per_s, 3), "seconds": round(self.elapsed(), 1)}
        self._log({"kind": "train", "step": self.step, **means, **line})

    def score(self, scores: Scores) -> None:
        """Log the scores, and keep the weights where they are the best so far."""
        self.scores = scores
        self._log({"kind": "validation", "step": self.step, **scores, "seconds": round(self.elapsed(), 1)})
        reached = scores["psnr"]
        if self.best is None or (reached is not None and reached > self.best):
            self.best = reached
            self._write_checkpoint(BEST)

    def save(self) -> None:
        """Write the run state, whole or not at all."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = value
        facts = {
            "step": self.step,
            "best": self.best,
            "scores": self.scores,
            "seconds": self.elapsed(),
        }
        content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        _write(self.out / STATE, save(content, metadata={"run": json.dumps(facts)}))
        self.saved_step = self.step

    def restore(self) -> None:
        """Take up the saved state; a run that was stopped before its first save starts over."""
        path = self.out / STATE
        if not path.exists():
            _keep_log(self.out / LOG, steps=0)
            return
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            self._fill(tensors)
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                where=str(path),
                expected="the state of this run",
                found=f"a file that does not fit ({error})",
                advice="start a new run; checkpoint.safetensors can serve as its start_from",
            ) from error
        self.step, self.best, self.scores = facts["step"], facts["best"], facts["scores"]
        self.seconds, self.saved_step = facts["seconds"], facts["step"]
        _keep_log(self.out / LOG, steps=self.step)
        logger.info("resuming %s at step %d", self.out, self.step)

    def _fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, parameter in self.network.named_parameters():
            # zeros_like keeps the memory order of the parameter, and so the order of every sum
            moments = {
                key: torch.zeros_like(parameter).copy_(tensors[f"optimiser.{key}.{name}"])
                for key in ("exp_avg", "exp_avg_sq")
            }
            self.optimiser.state[parameter] = {"step": tensors[f"optimiser.step.{name}"], **moments}

    def finish(self) -> None:
        self._write_checkpoint(LAST)

    def _write_checkpoint(self, name: str) -> None:
        weights = {key: value.detach().cpu().numpy() for key, value in self.average.state_dict().items()}
        _write(self.out / name, checkpoint_bytes(weights, self._header()))

    def _header(self) -> Header:
        recipe = self.recipe
        return Header(
            format=FORMAT,
            model=recipe.network.model_dump(mode="json"),
            summary=recipe.summary or recipe.name,
            trained_on=_trained_on(recipe, self.step),
            recipe=recipe.model_dump(mode="json"),
            versions=_versions(),
            scores={"validation": {"step": self.step, **self.scores}},
            licence=recipe.licence,
        )

    def _log(self, line: Mapping[str, Any]) -> None:
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _Clock:
    """Speed of the run, as a mean over about the last 30 steps."""

    def __init__(self, run: _Run, *, pixels: int) -> None:
        self._run = run
        self._pixels = pixels
        self._last = time.perf_counter()
        self._seconds_per_step = 0.0

    def tick(self) -> None:
        now = time.perf_counter()
        took, self._last = now - self._last, now
        before = self._seconds_per_step or took
        self._seconds_per_step = before + (took - before) / 30

    @property
    def mpx_per_s(self) -> float:
        return self._pixels / 1e6 / max(self._seconds_per_step, 1e-9)

    def progress(self, loss: float, lr: float) -> Progress:
        run = self._run
        return Progress(
            step=run.step,
            steps=run.recipe.steps,
            loss=loss,
            lr=lr,
            mpx_per_s=self.mpx_per_s,
            seconds_left=(run.recipe.steps - run.step) * self._seconds_per_step,
            scores=run.scores,
        )


class _Signals:
    """Holds SIGINT and SIGTERM back until the step is done; a second one takes effect at once."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._catch) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught is not None:
            self.obey()
        self.caught = number

    def obey(self) -> None:
        """Raise what the caught signal asks for, if there was one."""
        if self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        if self.caught is not None:
            raise SystemExit(128 + self.caught)


class _Steps(Sampler[list[int]]):
    """The batches of indices from one step on; step s holds items s * batch to (s + 1) * batch - 1."""

    def __init__(self, *, first: int, last: int, batch: int) -> None:
        self._steps = range(first, last)
        self._batch = batch

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield list(range(step * self._batch, (step + 1) * self._batch))

    def __len__(self) -> int:
        return len(self._steps)


def _loader(recipe: Recipe, patches: Samples, *, first_step: int, pin: bool) -> DataLoader[Any]:
    return DataLoader(
        patches,  # type: ignore[arg-type]
        batch_sampler=_Steps(first=first_step, last=recipe.steps, batch=recipe.optimiser.batch),
        num_workers=recipe.workers,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if recipe.workers else None,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def _start_worker(_: int) -> None:
    """One thread a worker; signals reach the whole group, and the parent alone decides when to stop."""
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)


def _average_of(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False)


def _fabric(recipe: Recipe, device: str) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ResourceError(
            where="training",
            expected="the package lightning-fabric",
            found=str(error),
            advice='install it with pip install "longexposure[train]"',
        ) from error
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        there = "auto, cpu or cuda" if torch.cuda.is_available() else "auto or cpu (torch sees no GPU)"
        raise ResourceError(
            where="device",
            expected=there,
            found=repr(device),
            advice="leave --device out to use what is there",
        )
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=accelerator,
        devices=1,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )


def _check_sample(sample: Sample, network: nn.Module, *, patch_px: int) -> None:
    """Hours of compute start here, so the first patch is looked at."""
    spec: Any = network.spec
    expected = {
        "noisy": (1, patch_px, patch_px),
        "target": (1, patch_px, patch_px),
        "condition": (5,),
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


def _open_folder(recipe: Recipe, out: Path, *, resume: bool) -> None:
    """Make the run folder, or check that the one there belongs to this recipe."""
    path = out / RECIPE
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(
                where=str(out),
                expected="a folder that does not exist yet",
                found="a run" if path.exists() else "something else of that name",
                advice="choose another --out, or go on with the run with --resume",
            )
        _write(path, (recipe.model_dump_json(indent=2) + "\n").encode())
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            where=str(out),
            expected="a run to resume",
            found=f"no readable {RECIPE} in it ({type(error).__name__})",
            advice="check the path, or leave --resume out to start a new run",
        ) from error
    difference = first_difference(recipe_from(values, where=str(path)), recipe, ignore=FREE_TO_CHANGE)
    if difference is not None:
        raise RecipeError(
            where=str(out),
            expected="the recipe the run was started with",
            found=f"{difference} (run and recipe)",
            advice="resume with the same recipe, or start a new run with another --out",
        )


def _keep_log(path: Path, *, steps: int) -> None:
    """Drop the lines of steps that will be done again, and a last line cut off by a crash."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if step <= steps:
            kept.append(line + "\n")
    _write(path, "".join(kept).encode())


def _trained_on(recipe: Recipe, step: int) -> str:
    source = "simulated pairs"
    if recipe.data.kind == "pairs":
        source = f"pairs in {Path(recipe.data.path).name}"
    elif recipe.data.kind == "machines":
        source = f"simulated exposures of {', '.join(Path(name).name for name in recipe.data.machines)}"
    side = recipe.data.patch_px
    return f"{source}: {step} steps of {recipe.optimiser.batch} patches of {side} x {side} px"


def _versions() -> dict[str, str]:
    packages = ("longexposure", "torch", "numpy", "lightning-fabric")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content, overwrite=True, parents=True)
