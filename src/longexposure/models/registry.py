"""The catalogue of models, and how a name or a file becomes one; nothing here needs torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from longexposure.errors import CheckpointError, as_path
from longexposure.models.checkpoint import read_header
from longexposure.models.classical import Gaussian, Identity, NonLocalMeans

Classical = Identity | Gaussian | NonLocalMeans

DEFAULT = "fast"
CLASSICAL: Mapping[str, Classical] = {
    "identity": Identity(),
    "gaussian": Gaussian(),
    "nlm": NonLocalMeans(),
}
"""Models that need no weights, with the settings that their names stand for."""

CHECKPOINT = "checkpoint.safetensors"
"""Name of the best checkpoint in a training run's folder."""


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue; kind is "network" or "classical"."""

    name: str
    kind: str
    summary: str
    trained_on: str = "needs no training"
    parameters: int | None = None
    size_bytes: int | None = None
    licence: str = "Apache-2.0"
    scores: Mapping[str, Any] = field(default_factory=dict)
    shipped: bool = True


PAPER = Entry(
    name="paper",
    kind="network",
    summary="the paper's framework at its full size, to compare with",
    trained_on="nothing: it ships without weights; the recipe paper trains it",
    parameters=5_547_777,
    size_bytes=4 * 5_547_777,
    shipped=False,
)


def shipped_weights() -> Mapping[str, Path]:
    """Names and files of the weights that came with the package."""
    folder = Path(str(resources.files("longexposure.models"))) / "weights"
    return {file.stem: file for file in sorted(folder.glob("*.safetensors"))}


def catalogue() -> Sequence[Entry]:
    """Every model by name, networks first."""
    networks = []
    for name, file in shipped_weights().items():
        header = read_header(file)
        with safe_open(file, framework="numpy") as tensors:
            parameters = sum(prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
        entry = Entry(
            name=name,
            kind="network",
            summary=header.summary,
            trained_on=header.trained_on,
            parameters=parameters,
            size_bytes=file.stat().st_size,
            licence=header.licence,
            scores=header.scores,
        )
        networks.append(entry)
    classical = [
        Entry(name=name, kind="classical", summary=(type(model).__doc__ or "").splitlines()[0])
        for name, model in CLASSICAL.items()
    ]
    return [*networks, PAPER, *classical]


def find_weights(model: str | Path) -> Path:
    """The checkpoint that a name, a file or a training run's folder stands for.

    Raises:
        CheckpointError: no such name, file or folder.
    """
    model = as_path(model, where="model", error=CheckpointError)
    shipped = shipped_weights()
    if str(model) in shipped:
        return shipped[str(model)]
    path = Path(model)
    if os.path.isfile(path / CHECKPOINT):  # noqa: PTH113 (never raises, unlike Path.is_file)
        return path / CHECKPOINT
    if os.path.isfile(path):  # noqa: PTH113
        return path
    names = ", ".join([*shipped, *CLASSICAL])
    raise CheckpointError(
        where=str(model),
        expected=f"a model's name ({names}), a .safetensors file or the folder of a training run",
        found="a folder without " + CHECKPOINT if os.path.isdir(path) else "nothing of that name",  # noqa: PTH112
        advice="it ships without weights: run `longexposure train paper`, give the run's folder"
        if str(model) == PAPER.name
        else "choose one of the names, or check the path",
    )
