"""The run of a training: its folder, its log, and the state from which it can be taken up again.

A run folder holds `recipe.json` (the resolved recipe), `log.jsonl` (one object a line),
`state.safetensors` (all that a resumed run needs), `checkpoint.safetensors` (the averaged weights that
scored best so far), `looks/` (pictures for eyes only), `tensorboard/` where it was asked for and, at the
end, `last.safetensors` (the averaged weights of the last step).
"""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from longexposure.errors import CheckpointError, OutputError, RecipeError
from longexposure.io import remove_temporaries, write_whole
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes
from longexposure.models.noise_range import Conditions
from longexposure.noise import NOISE_CONDITION
from longexposure.train.recipe import FREE_TO_CHANGE, Recipe, first_difference, recipe_from
from longexposure.train.team import Team
from longexposure.train.tensorboard import Board
from longexposure.train.validation import Scores

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50

TOLD_KEPT = 1 << 16
"""Patches whose noise, as it was told, is kept for the checkpoint's header: the first of the run."""

RECIPE, LOG, STATE = "recipe.json", "log.jsonl", "state.safetensors"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
LOOKS, EVENTS = "previews", "tensorboard"


class Run:
    """The state of a run and its files.

    Args:
        recipe: what is trained.
        out: run folder.
        network: trained weights.
        average: their moving average.
        optimiser: with the moments.
        past: what the first weights were trained on, in words; empty for random ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        network: nn.Module,
        average: nn.Module,
        optimiser: torch.optim.Optimizer,
        past: str = "",
    ) -> None:
        self.recipe = recipe
        self.past = past
        self.out = out
        self.network = network
        self.average = average
        self.optimiser = optimiser
        self.board: Board | None = None
        self.step = 0
        self.best: float | None = None
        self.scores: Scores = {}
        self.saved_step: int | None = None
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._window: list[dict[str, torch.Tensor | float]] = []
        self._told = np.empty((0, len(NOISE_CONDITION)), np.float32)

    def elapsed(self) -> float:
        """Seconds trained so far, earlier sittings included."""
        return self.seconds + time.perf_counter() - self._started

    def due(self, every_steps: int) -> bool:
        """Whether what is done every so many steps, and after the last, is due; 0 is never."""
        return every_steps > 0 and (self.step % every_steps == 0 or self.step == self.recipe.steps)

    def set_rate(self, lr: float) -> float:
        """Take the next step at this learning rate; returns it."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        return lr

    def checked(self, loss: torch.Tensor, norm: torch.Tensor) -> float:
        """The loss as a number, before it can spoil the weights.

        Raises:
            RecipeError: loss or gradient is not finite.
        """
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

    def hear(self, noise_condition: torch.Tensor, team: Team) -> None:
        """Keep what the network was told of the noise in a step, of which this process has a part (B, 5)."""
        missing = TOLD_KEPT - len(self._told)
        if missing > 0:
            whole = team.gather(noise_condition)
            self._told = np.concatenate([self._told, whole[:missing].cpu().numpy()])

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
        tensors["told"] = torch.from_numpy(self._told)
        facts = {
            "step": self.step,
            "best": self.best,
            "scores": self.scores,
            "seconds": self.elapsed(),
            "past": self.past,
        }
        content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        _write(self.out / STATE, save(content, metadata={"run": json.dumps(facts)}))
        self.saved_step = self.step

    def restore(self) -> None:
        """Take up the saved state; a run that was stopped before its first save starts over.

        Raises:
            CheckpointError: a state that cannot be read or does not fit.
        """
        path = self.out / STATE
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            self._told = tensors.pop("told").numpy()
            self._fill(tensors)
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                where=str(path),
                expected="the state of this run",
                found=f"a file that does not fit ({error})",
                advice="start a new run; checkpoint.safetensors can serve as its start_from",
            ) from error
        self.step, self.best, self.scores = facts["step"], facts["best"], facts["scores"]
        self.seconds, self.saved_step, self.past = facts["seconds"], facts["step"], facts["past"]
        logger.info("resuming %s at step %d", self.out, self.step)

    def open_log(self, *, tensorboard: bool) -> None:
        """Drop what the log says of steps that will be done again; follow on a board where wanted."""
        _keep_log(self.out / LOG, steps=self.step)
        if tensorboard:
            self.board = Board(self.out / EVENTS, step=self.step)

    def show(self, sheet: npt.NDArray[np.uint8]) -> None:
        """Show a look on the board too."""
        if self.board is not None:
            self.board.show(sheet, step=self.step)

    def finish(self) -> None:
        """Write the weights of the last step."""
        self._write_checkpoint(LAST)

    def close_log(self) -> None:
        """Let the board write what it still holds."""
        if self.board is not None:
            self.board.close()

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

    def _write_checkpoint(self, name: str) -> None:
        weights = {key: value.detach().cpu().numpy() for key, value in self.average.state_dict().items()}
        _write(self.out / name, checkpoint_bytes(weights, self._header()))

    def _header(self) -> Header:
        recipe = self.recipe
        return Header(
            format=FORMAT,
            model=recipe.network.model_dump(mode="json"),
            summary=recipe.summary or recipe.name,
            trained_on=_trained_on(recipe, self.step) + (self.past and f"; before that: {self.past}"),
            recipe=recipe.model_dump(mode="json"),
            versions=_versions(),
            conditions=Conditions.seen(self._told).ranges() if len(self._told) else {},
            scores={"validation": {"step": self.step, **self.scores}},
            licence=recipe.licence,
        )

    def _log(self, line: Mapping[str, Any]) -> None:
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            self.board.add(line)


def open_folder(recipe: Recipe, out: Path, *, resume: bool) -> None:
    """Make the run folder, or check that the one there belongs to this recipe.

    Raises:
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has another recipe.
    """
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
    remove_temporaries([out, out / LOOKS])


def _keep_log(path: Path, *, steps: int) -> None:
    """Drop the lines of steps that will be done again, all of a run that starts over, and one cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if 0 < steps >= step:
            kept.append(line + "\n")
    _write(path, "".join(kept).encode())


def _trained_on(recipe: Recipe, step: int) -> str:
    if recipe.data.kind == "pairs":
        source = f"pairs in {Path(recipe.data.path).name}"
    else:
        source = f"simulated exposures of {', '.join(Path(name).name for name in recipe.data.machines)}"
    side = recipe.data.patch_px
    return f"{source}: {step} steps of {recipe.optimiser.batch} patches of {side} x {side} px"


def _versions() -> dict[str, str]:
    packages = ("longexposure", "torch", "numpy", "lightning-fabric")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content, overwrite=True, parents=True)
