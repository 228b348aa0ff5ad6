"""The run of a training: its folder, its log, and the state from which it can be taken up again.

A run folder holds `recipe.json` (the resolved recipe), `log.jsonl` (one object a line),
`state.safetensors` (all that a resumed run needs), `checkpoint.safetensors` (the averaged weights that
scored best so far), `previews/` (pictures for eyes only), `tensorboard/` where it was asked for and, at the
end, `last.safetensors` (the averaged weights of the last step).
"""

from __future__ import annotations

import copy
import json
import logging
import math
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from longexposure.config import json_values
from longexposure.errors import CheckpointError, OutputError, RecipeError
from longexposure.io import remove_temporaries, write_whole
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, read_header
from longexposure.models.noise_range import Conditions
from longexposure.models.registry import find_weights
from longexposure.noise import NOISE_CONDITION
from longexposure.train.optimiser import build_optimiser
from longexposure.train.recipe import FREE_TO_CHANGE, Recipe, first_difference, recipe_from
from longexposure.train.tensorboard import TensorBoardLog
from longexposure.train.validation import Scores

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50

CONDITIONS_KEPT = 1 << 16
"""Patches whose noise condition is kept for the checkpoint's header: the first of the run."""

RECIPE, LOG, STATE = "recipe.json", "log.jsonl", "state.safetensors"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
PREVIEWS, EVENTS = "previews", "tensorboard"


class Run:
    """The state of a run and its files.

    Args:
        recipe: what is trained.
        out: run folder.
        network: trained weights; the moving average of them is kept beside it.
        device: of the average.
    """

    def __init__(self, recipe: Recipe, out: Path, *, network: nn.Module, device: torch.device) -> None:
        self.recipe, self.out, self.network = recipe, out, network
        self.average = copy.deepcopy(network).to(device).eval().requires_grad_(False)
        self.optimiser = build_optimiser(network, recipe.optimiser)
        first = recipe.start_from
        self.trained_before = "" if first is None else read_header(find_weights(first)).trained_on
        self.step = 0
        self.best: float | None = None
        self.scores: Scores = {}
        self.saved_step: int | None = None
        self._events: TensorBoardLog | None = None
        self._seconds_before = 0.0
        self._started = time.perf_counter()
        self._unlogged: list[Mapping[str, torch.Tensor]] = []
        self._conditions = np.empty((0, len(NOISE_CONDITION)), np.float32)

    def seconds(self) -> float:
        """Seconds trained so far, those before a resume included."""
        return self._seconds_before + time.perf_counter() - self._started

    def due(self, every_steps: int) -> bool:
        """Whether what is done every so many steps, and after the last, is due; 0 is never."""
        return every_steps > 0 and (self.step % every_steps == 0 or self.step == self.recipe.steps)

    def set_rate(self, lr: float) -> float:
        """Take the next step at this learning rate; returns it."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        return lr

    def check_finite(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """Look at loss and gradient before they can spoil the weights.

        Raises:
            RecipeError: one of them is not finite.
        """
        value, length = torch.stack([loss, norm.detach().to(loss)]).tolist()
        if math.isfinite(value) and math.isfinite(length):
            return
        good = f"{self.out / STATE} (step {self.saved_step})" if self.saved_step else "there is none"
        raise RecipeError(
            where=f"{self.recipe.name}, step {self.step + 1}",
            expected="a finite loss and gradient",
            found=f"loss {value}, gradient norm {length}",
            advice=f"lower optimiser.lr or optimiser.clip_norm and check the data; last good state: {good}",
        )

    @property
    def records_conditions(self) -> bool:
        """Whether there is still room for noise conditions."""
        return len(self._conditions) < CONDITIONS_KEPT

    def record_conditions(self, conditions: torch.Tensor) -> None:
        """Keep the noise conditions (B, 5) that the network gets in a step, for the header's ranges."""
        kept = [self._conditions, conditions.cpu().numpy()]
        self._conditions = np.concatenate(kept)[:CONDITIONS_KEPT]

    @torch.no_grad()
    def count_step(self) -> None:
        """Count the step and move the averaged weights on; the average starts fast."""
        self.step += 1
        decay = min(self.recipe.optimiser.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def log_step(self, losses: Mapping[str, torch.Tensor], *, lr: float, mpx_per_s: float) -> None:
        """Gather a step for the log; one line is the mean of the steps since the last."""
        self._unlogged.append(losses)
        if not self.due(LOG_EVERY_STEPS):
            return
        means = {name: float(np.mean([float(row[name]) for row in self._unlogged])) for name in losses}
        self._unlogged.clear()
        line = {"lr": lr, "mpx_per_s": round(mpx_per_s, 3), "seconds": round(self.seconds(), 1)}
        self._log({"kind": "train", "step": self.step, **means, **line})

    def keep_score(self, scores: Scores) -> None:
        """Log the scores, and keep the weights where they are the best so far."""
        self.scores = scores
        self._log({"kind": "validation", "step": self.step, **scores, "seconds": round(self.seconds(), 1)})
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
        tensors["noise_conditions"] = torch.from_numpy(self._conditions)
        facts = {
            "step": self.step,
            "best": self.best,
            "scores": self.scores,
            "seconds": self.seconds(),
            "trained_before": self.trained_before,
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
                facts = json_values((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            self._conditions = tensors.pop("noise_conditions").numpy()
            self._load(tensors)
            self.step, self.best, self.scores = int(facts["step"]), facts["best"], dict(facts["scores"])
            self.saved_step, self._seconds_before = self.step, float(facts["seconds"])
            self.trained_before = facts["trained_before"]
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                where=str(path),
                expected="the state of this run",
                found=f"a file that does not fit ({error})",
                advice="start a new run; checkpoint.safetensors can serve as its start_from",
            ) from error
        logger.info("resuming %s at step %d", self.out, self.step)

    def open_log(self, *, tensorboard: bool) -> None:
        """Drop what the log says of steps that will be done again; open event files where wanted.

        All of a run that starts over is dropped, and a line that was cut off.
        """
        kept = []
        path = self.out / LOG
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(ValueError, KeyError, TypeError):
                if 0 < self.step >= json_values(line)["step"]:
                    kept.append(line + "\n")
        if path.exists():
            _write(path, "".join(kept).encode())
        if tensorboard:
            self._events = TensorBoardLog(self.out / EVENTS, step=self.step)

    def add_preview(self, sheet: npt.NDArray[np.uint8]) -> None:
        """Put a preview into the event files too."""
        if self._events is not None:
            self._events.add_preview(sheet, step=self.step)

    def finish(self) -> None:
        """Write the weights of the last step."""
        self._write_checkpoint(LAST)

    def close_log(self) -> None:
        """Let the event files take what is still held."""
        if self._events is not None:
            self._events.close()

    def _load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, parameter in self.network.named_parameters():
            kept = {
                key.split(".")[1]: value
                for key, value in tensors.items()
                if key.startswith("optimiser.") and key.split(".", 2)[2] == name
            }
            if not kept:
                raise KeyError(name)
            # zeros_like keeps the memory order of the parameter, and so the order of every sum
            self.optimiser.state[parameter] = {
                key: torch.zeros_like(parameter).copy_(value) if value.ndim else value
                for key, value in kept.items()
            }

    def _write_checkpoint(self, name: str) -> None:
        recipe, data, side = self.recipe, self.recipe.data, self.recipe.data.patch_px
        if data.kind == "pairs":
            source = f"pairs in {Path(data.path).name}"
        elif data.kind == "shots":
            source = f"short exposures in {', '.join(Path(path).name for path in data.paths)}"
        else:
            source = f"simulated exposures of {', '.join(Path(name).name for name in data.machines)}"
        trained_on = f"{source}: {self.step} steps of {recipe.optimiser.batch} patches of {side} x {side} px"
        if self.trained_before:
            trained_on += f"; before that: {self.trained_before}"
        packages = ("longexposure", "torch", "numpy", "lightning-fabric")
        header = Header(
            format=FORMAT,
            model=recipe.network.model_dump(mode="json"),
            summary=recipe.summary or recipe.name,
            trained_on=trained_on,
            recipe=recipe.model_dump(mode="json"),
            versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
            conditions=Conditions.seen(self._conditions).ranges() if len(self._conditions) else {},
            scores={"validation": {"step": self.step, **self.scores}},
            licence=recipe.licence,
        )
        weights = {key: value.detach().cpu().numpy() for key, value in self.average.state_dict().items()}
        _write(self.out / name, checkpoint_bytes(weights, header))

    def _log(self, line: Mapping[str, Any]) -> None:
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is not None:
            self._events.add_scalars(line)


def open_folder(recipe: Recipe, out: Path, *, resume: bool) -> None:
    """Make the run folder, or check that the one there belongs to this recipe.

    Raises:
        OutputError: `out` exists, or holds no run to resume.
        RecipeError: the run in `out` has another recipe.
    """
    path = out / RECIPE
    if not resume:
        refuse_other_folder(out)
        _write(path, (recipe.model_dump_json(indent=2) + "\n").encode())
        return
    refuse_other_recipe(recipe_of(out), recipe, out)
    remove_temporaries([out, out / PREVIEWS])


def refuse_other_recipe(begun: Recipe, recipe: Recipe, out: Path) -> None:
    """Refuse to go on with another recipe than that of the run in a folder (raises RecipeError)."""
    difference = first_difference(begun, recipe, ignore=FREE_TO_CHANGE)
    if difference is not None:
        raise RecipeError(
            where=str(out),
            expected="the recipe the run was started with",
            found=f"{difference} (run and recipe)",
            advice="resume with the same recipe, or start a new run with another --out",
        )


def refuse_other_folder(out: Path) -> None:
    """Refuse a folder for a new run that holds something (raises OutputError)."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            where=str(out),
            expected="a folder that does not exist yet",
            found="a run" if (out / RECIPE).exists() else "something else of that name",
            advice="choose another --out, or go on with the run with --resume",
        )


def recipe_of(out: Path) -> Recipe:
    """The recipe that the run in a folder was started with.

    Raises:
        OutputError: no run to resume.
        RecipeError: a recipe that this version does not take.
    """
    path = out / RECIPE
    try:
        values = json_values(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            where=str(out),
            expected="a run to resume",
            found=f"no readable {RECIPE} in it ({type(error).__name__})",
            advice="check the path, or leave --resume out to start a new run",
        ) from error
    return recipe_from(values, where=str(path))


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content, overwrite=True, parents=True)
