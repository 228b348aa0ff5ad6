"""Trainings of moments, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quick import DATA

from longexposure.models.checkpoint import read_checkpoint
from longexposure.train.loop import Progress
from longexposure.train.recipe import Recipe, recipe_from

TINY: dict[str, Any] = {
    "name": "tiny",
    "summary": "for a test",
    "steps": 6,
    "precision": "f32",
    "workers": 0,
    "checkpoint_every_steps": 3,
    "network": {"kind": "fast", "width": 8, "blocks": 1, "fine_width": 4, "fine_blocks": 1},
    "loss": {"focal_frequency_weight": 1.0, "wavelet_weight": 0.1},
    "data": DATA,
    "validation": {"count": 2, "size_px": 32, "every_steps": 3},
    "optimiser": {"lr": 1e-3, "batch": 2, "warmup_steps": 2, "ema_decay": 0.9},
}


def tiny(**changes: Any) -> Recipe:
    """The tiny recipe; a table is merged with the one that is there, unless it names its kind."""
    values = {**TINY, **changes}
    for key in changes.keys() & TINY.keys():
        if isinstance(TINY[key], dict) and "kind" not in changes[key]:
            values[key] = {**TINY[key], **changes[key]}
    return recipe_from(values, where="test")


def lines(run: Path) -> list[dict[str, Any]]:
    """The log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights(path: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in read_checkpoint(path)[1].items()}


class CrashError(Exception):
    """Stands for a crash between two steps."""


def crash_at(step: int) -> Callable[[Progress], None]:
    def on_step(progress: Progress) -> None:
        if progress.step >= step:
            raise CrashError

    return on_step
