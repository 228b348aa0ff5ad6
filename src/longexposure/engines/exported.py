"""Exported models: an ONNX file, and beside it what our engines must know of it.

Engines other than torch compute such files, so that they need no torch. The file of a checkpoint
`name.safetensors` is `name.onnx` beside it, with `name.json`. That names checkpoint and ONNX file by SHA-256,
so a file that other weights left behind, or a damaged one, is never used. And it holds probes: tiles with
what torch made of them, by which an engine is judged on the host at hand whenever it is loaded.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.config import json_values
from longexposure.engines.base import Engine, Unit
from longexposure.errors import CheckpointError, ResourceError
from longexposure.models.base import ModelSpec

logger = logging.getLogger(__name__)

FORMAT = 2
COUNTS = 65535
"""Differences are given in counts: this many make up one unit, the contrast of an image."""
MOST_COUNTS = 1.0
"""How far an engine in f32 may be from torch in f32, in counts, at any pixel."""
MOST_OF_ERROR_LEFT = 0.1
"""How far an engine in bf16 may be, rms, as a fraction of the error that is left in torch's output."""


MOST = {"size_multiple": 1 << 10, "receptive_field": 1 << 14, "bytes_per_px": 1 << 24}
"""What a model of ours may need at most."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Tiles with what torch in f32 made of them.

    Attributes:
        tile: (B, H, W) in the unit domain.
        noise_condition: (5,), what the network was given beside it.
        expected: what came out, (B, H, W).
        error_left: rms of what came out less the clean image.
    """

    tile: Unit
    noise_condition: Unit
    expected: Unit
    error_left: float

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, to the bit."""
        arrays = {name: getattr(self, name) for name in ("tile", "noise_condition", "expected")}
        texts = {
            name: base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
            for name, array in arrays.items()
        }
        return {"shape": list(self.tile.shape), **texts, "error_left": self.error_left}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """From `as_dict` (raises KeyError, TypeError or ValueError where something is missing or wrong)."""

        def array(name: str, shape: tuple[int, ...]) -> Unit:
            content = base64.b64decode(values[name], validate=True)
            found = np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)
            if not np.isfinite(found).all():
                raise ValueError(f"{name} is not finite")
            return found

        shape = tuple(values["shape"])
        if len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
            raise ValueError("a probe of no shape")
        if not np.isfinite(float(values["error_left"])):
            raise ValueError("error_left is not finite")
        return cls(
            tile=array("tile", shape),
            noise_condition=array("noise_condition", (5,)),
            expected=array("expected", shape),
            error_left=float(values["error_left"]),
        )


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported model: the ONNX file's bytes and what lies beside it.

    Attributes:
        content: the ONNX file.
        where: its path, for messages and, where the weights are not in it, for engines.
        weights_sha256: SHA-256 of the checkpoint that it was made from.
        spec: the model's needs.
        probes: what engines are judged by.
        weights_in: name of the checkpoint beside it whose tensors it refers to; empty where it holds them.
    """

    content: bytes
    where: str
    weights_sha256: str
    spec: ModelSpec
    probes: tuple[Probe, ...]
    weights_in: str = ""

    @property
    def source(self) -> bytes | Path:
        """What an engine reads: the bytes, or the file, which leads it to the weights."""
        return Path(self.where) if self.weights_in else self.content

    def as_json(self) -> bytes:
        """The file beside the ONNX file."""
        values = {
            "format": FORMAT,
            "onnx_sha256": sha256(self.content).hexdigest(),
            "weights_sha256": self.weights_sha256,
            "spec": asdict(self.spec),
            "probes": [probe.as_dict() for probe in self.probes],
            "weights_in": self.weights_in,
        }
        return (json.dumps(values, indent=1) + "\n").encode()


def exported_path(checkpoint: Path) -> Path:
    """Where the exported file of a checkpoint is looked for."""
    return checkpoint.with_suffix(".onnx")


def find_exported(checkpoint: Path, weights_sha256: str) -> Exported | None:
    """The exported file beside a checkpoint; None where there is none, or one of other weights.

    Raises:
        CheckpointError: the file, or the one beside it, is damaged or missing.
    """
    path = exported_path(checkpoint)
    if not path.is_file():
        return None
    exported = read_exported(path)
    if exported.weights_sha256 != weights_sha256:
        logger.warning("%s is left out: it was exported from other weights than %s", path, checkpoint)
        return None
    if exported.weights_in not in ("", checkpoint.name):
        logger.warning("%s is left out: its weights stand in %s", path, exported.weights_in)
        return None
    return exported


def read_exported(path: Path) -> Exported:
    """Read the ONNX file of this path, and the JSON beside it, as `longexposure export` wrote them.

    Raises:
        CheckpointError: one of them cannot be read, or they are damaged or not of one export.
    """
    beside = path.with_suffix(".json")
    try:
        content, text = path.read_bytes(), beside.read_bytes()
        values = json_values(text)
        if values["format"] != FORMAT:
            found = f"format {values['format']} in {beside.name}"
        elif values["onnx_sha256"] != sha256(content).hexdigest():
            found = f"another ONNX file, or a damaged one, than {beside.name} describes"
        else:
            spec = spec_from_dict(values["spec"])
            probes = tuple(map(Probe.from_dict, values["probes"]))
            if not probes or any(
                side % spec.size_multiple for probe in probes for side in probe.tile.shape[1:]
            ):
                raise ValueError("no probes, or some off the grid of the model")
            return Exported(
                content=content,
                where=str(path),
                weights_sha256=str(values["weights_sha256"]),
                spec=spec,
                probes=probes,
                weights_in=str(values.get("weights_in", "")),
            )
    except OSError as error:
        found = f"{error.strerror or error} ({error.filename})"
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        found = f"a damaged {beside.name} ({type(error).__name__}: {error})"
    raise CheckpointError(
        where=str(path),
        expected=f"an ONNX file and {beside.name}, of one run of this version's `longexposure export`",
        found=found,
        advice="export the model anew, or delete the file and use --engine torch",
    )


def spec_from_dict(values: Mapping[str, Any]) -> ModelSpec:
    """From `asdict` of a spec (raises TypeError or ValueError where something is missing or wrong)."""
    spec = ModelSpec(**values)
    for name, most in MOST.items():
        number, least = getattr(spec, name), 0 if name == "receptive_field" else 1
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"{name} is no number from {least} to {most}")
    if type(spec.conditioned) is not bool:
        raise ValueError("conditioned is neither true nor false")
    return spec


def check_parity(engine: Engine, exported: Exported) -> None:
    """The gate: an engine must give, on this host and in these versions, what torch in f32 gave.

    In f32 it may differ by `MOST_COUNTS` at any pixel, in bf16 by `MOST_OF_ERROR_LEFT`.

    Args:
        engine: the loaded engine.
        exported: the model that it computes.

    Raises:
        ResourceError: it does not.
    """
    info = engine.info
    for probe in exported.probes:
        output = engine.run(probe.tile, probe.noise_condition).astype(np.float64)
        difference = COUNTS * (output - probe.expected)
        largest, rms = float(np.abs(difference).max()), float(np.sqrt(np.square(difference).mean()))
        if info and info.precision == "bf16":
            limit = MOST_OF_ERROR_LEFT * COUNTS * probe.error_left
            passes, allowed = rms <= limit, f"{limit:.3g} counts rms"
        else:
            passes, allowed = largest <= MOST_COUNTS, f"{MOST_COUNTS:g} count at any pixel"
        if not passes:  # NaN is not either
            raise ResourceError(
                where=f"engine {info}" + (f" on {info.device}" if info and info.device != "cpu" else ""),
                expected=f"the results of torch in f32 within {allowed} of {COUNTS}",
                found=f"{largest:.3g} at most and {rms:.3g} rms on this host",
                advice="use --engine torch --device cpu --precision f32, and report this with the output of "
                "`longexposure bench`",
            )
