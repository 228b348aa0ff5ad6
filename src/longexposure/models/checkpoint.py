"""Checkpoints: one safetensors file whose header says what it is, what it saw and what it scored."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from longexposure.errors import CheckpointError, as_path

FORMAT = 1
KEY = "longexposure"
MOST_HEADER = 2**20
"""Bytes of a header; those of real checkpoints have some ten thousand."""

Weights = dict[str, npt.NDArray[Any]]


class Header(BaseModel, frozen=True, extra="forbid"):
    """What a checkpoint says of itself.

    Attributes:
        format: version of this header, `FORMAT`.
        model: the network's own config as a mapping with its `kind`.
        summary: one line for the catalogue.
        trained_on: what data it saw, in words.
        recipe: the resolved recipe it was trained with.
        conditions: noise that it was given in training, lowest and highest by name, see
            `longexposure.models.noise_range`; empty for networks that are not given it.
        versions: package versions at training time.
        scores: scores by name of the test.
        licence: licence of the weights.
    """

    format: int
    model: dict[str, Any]
    summary: str = ""
    trained_on: str = ""
    recipe: dict[str, Any] = {}
    conditions: dict[str, tuple[float, float]] = {}
    versions: dict[str, str] = {}
    scores: dict[str, Any] = {}
    licence: str = "Apache-2.0"


def checkpoint_bytes(weights: Mapping[str, npt.NDArray[Any]], header: Header) -> bytes:
    """The file's content; equal weights and header give equal bytes."""
    tensors = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    return save(tensors, metadata={KEY: header.model_dump_json()})


def read_header(path: Path) -> Header:
    """Read the header alone.

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, not ours, or another format version.
    """
    return _open(path, weights=False)[0]


def read_checkpoint(path: Path) -> tuple[Header, Weights]:
    """Read header and weights; weights stored as float16 come back as float32.

    Raises:
        CheckpointError: as `read_header`.
    """
    return _open(path, weights=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path, *, weights: bool) -> tuple[Header, Weights]:
    path = as_path(path, where="checkpoint", error=CheckpointError)
    _check_start(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            header = _parse(path, metadata.get(KEY))
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
    # TypeError and AttributeError are for a tensor of a type that NumPy has not, bfloat16 for example
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            where=str(path),
            expected="a safetensors checkpoint",
            found=f"a file that cannot be read as one ({error})",
            advice="copy the file again, or train or export it anew",
        ) from error
    foreign = sorted({str(v.dtype) for v in tensors.values() if v.dtype.kind not in "fiub"})
    if foreign:  # ml_dtypes, where some package has loaded it, teaches NumPy bfloat16 and its like
        raise CheckpointError(
            where=str(path),
            expected="a safetensors checkpoint of types that NumPy has",
            found=", ".join(foreign),
            advice="store the weights as float32 or float16",
        )
    half = np.dtype(np.float16)
    return header, {k: v.astype(np.float32) if v.dtype == half else v for k, v in tensors.items()}


def _check_start(path: Path) -> None:
    """Tell pickles apart; safetensors start with the length of their header, which may look like one.

    A header that is longer than any of ours is refused before it is read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise CheckpointError(
            where=str(path),
            expected="a checkpoint file that can be read",
            found=error.strerror or str(error),
            advice="check the path, or run `longexposure models` for the names that ship",
        ) from error
    header = int.from_bytes(start, "little")
    if MOST_HEADER < header <= size - 8:
        raise CheckpointError(
            where=str(path),
            expected=f"a checkpoint whose header has at most {MOST_HEADER} bytes",
            found=f"one of {header} bytes",
            advice="use a checkpoint written by `longexposure train`",
        )
    if start.startswith((b"PK", b"\x80")) and header > size - 8:
        raise CheckpointError(
            where=str(path),
            expected="a safetensors checkpoint",
            found="a Python pickle (.pt, .pth, .ckpt), which can run code when it is opened",
            advice="convert it on a host you trust with safetensors.torch.save_file",
        )


def _parse(path: Path, text: str | None) -> Header:
    if text is None:
        raise CheckpointError(
            where=str(path),
            expected=f"a header named {KEY!r}",
            found="a safetensors file of another tool",
            advice="use a checkpoint written by `longexposure train`",
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    version = values.get("format") if isinstance(values, dict) else None
    if version != FORMAT:
        raise CheckpointError(
            where=str(path),
            expected=f"checkpoint format {FORMAT}",
            found=f"format {version}",
            advice="use the version of longexposure that wrote it, or train it anew",
        )
    try:
        return Header.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(
            where=str(path),
            expected="a complete header",
            found=f"{error.error_count()} field(s) missing or wrong, first: {error.errors()[0]['msg']}",
            advice="copy the file again, or train it anew",
        ) from error
