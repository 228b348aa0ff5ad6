"""Exported models: an ONNX file that says whose weights it holds and carries its own proof.

Engines other than torch compute such files, so that they need no torch. The file of a checkpoint
`name.safetensors` is `name.onnx` beside it. It names the checkpoint by SHA-256, so a file that was left
behind by other weights is never used, and holds probes: tiles with what torch made of them, by which an
engine is judged on the machine at hand whenever it is loaded.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.engines.base import Engine, Unit
from longexposure.errors import CheckpointError, ResourceError
from longexposure.models.base import ModelSpec

logger = logging.getLogger(__name__)

FORMAT = 1
PREFIX = "longexposure."
"""Of the names of our entries in a file's metadata."""
COUNTS = 65535
"""Differences are told in counts: this many make up one unit, the contrast of an image."""
MOST_COUNTS = 1.0
"""How far an engine in f32 may be from torch in f32, in counts, at any pixel."""
MOST_OF_ERROR_LEFT = 0.1
"""How far an engine in bf16 may be, rms, as a fraction of the error that is left in torch's output."""

_STRING, _VARINT, _FIXED64, _FIXED32 = 2, 0, 1, 5  # wire types of protobuf
_METADATA_FIELD = 14  # ModelProto.metadata_props


@dataclass(frozen=True, eq=False)
class Probe:
    """Tiles with what torch in f32 made of them.

    Attributes:
        tile: (B, H, W) in the unit domain.
        noise_condition: (5,), what the network was told.
        expected: what came out, (B, H, W).
        error_left: rms of what came out less the clean image.
    """

    tile: Unit
    noise_condition: Unit
    expected: Unit
    error_left: float

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, to the bit."""
        return {
            "shape": list(self.tile.shape),
            "tile": _text_of(self.tile),
            "condition": _text_of(self.noise_condition),
            "expected": _text_of(self.expected),
            "error_left": self.error_left,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """From `as_dict` (raises KeyError, TypeError or ValueError where something is missing)."""
        shape = tuple(values["shape"])
        return cls(
            tile=_array_of(values["tile"]).reshape(shape),
            noise_condition=_array_of(values["condition"]).reshape(5),
            expected=_array_of(values["expected"]).reshape(shape),
            error_left=float(values["error_left"]),
        )


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported model: the ONNX file's bytes and what it says of itself.

    Attributes:
        content: the file.
        where: its path, for messages.
        weights_sha256: SHA-256 of the checkpoint that it was made from.
        spec: the model's needs.
        probes: what engines are judged by.
    """

    content: bytes
    where: str
    weights_sha256: str
    spec: ModelSpec
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Deviation:
    """How far an engine is from torch in f32, in counts of 65535; the limits are those of its precision."""

    largest: float
    rms: float
    largest_allowed: float = float("inf")
    rms_allowed: float = float("inf")

    @property
    def passes(self) -> bool:
        """Whether it is within both limits; NaN is not."""
        return self.largest <= self.largest_allowed and self.rms <= self.rms_allowed

    def __str__(self) -> str:
        return f"{self.largest:.3g} at most and {self.rms:.3g} rms"


def metadata_of(*, weights_sha256: str, spec: ModelSpec, probes: tuple[Probe, ...]) -> dict[str, str]:
    """The entries by which `read_exported` knows a file again."""
    return {
        PREFIX + "format": str(FORMAT),
        PREFIX + "weights_sha256": weights_sha256,
        PREFIX + "spec": json.dumps(asdict(spec), sort_keys=True),
        PREFIX + "probes": json.dumps([probe.as_dict() for probe in probes]),
    }


def exported_path(checkpoint: Path) -> Path:
    """Where the exported file of a checkpoint is looked for."""
    return checkpoint.with_suffix(".onnx")


def find_exported(checkpoint: Path, weights_sha256: str) -> Exported | None:
    """The exported file beside a checkpoint; None where there is none, or one of other weights.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = exported_path(checkpoint)
    if not path.is_file():
        return None
    exported = read_exported(path)
    if exported.weights_sha256 != weights_sha256:
        logger.warning("%s is left out: it was exported from other weights than %s", path, checkpoint)
        return None
    return exported


def read_exported(path: Path) -> Exported:
    """Read an ONNX file that `longexposure export` wrote.

    Raises:
        CheckpointError: it cannot be read, is damaged or another tool's.
    """
    try:
        return parse_exported(path.read_bytes(), where=str(path))
    except OSError as error:
        raise _unusable(str(path), error.strerror or str(error)) from error


def parse_exported(content: bytes, *, where: str) -> Exported:
    """`read_exported` of bytes; `where` is for messages."""
    try:
        metadata = dict(_metadata(memoryview(content)))
    except (ValueError, IndexError) as error:
        raise _unusable(where, "no ONNX file, or the beginning of one") from error
    found = metadata.get(PREFIX + "format")
    if found != str(FORMAT):
        raise _unusable(where, f"format {found}" if found else "a file of another tool")
    try:
        return Exported(
            content=content,
            where=where,
            weights_sha256=metadata[PREFIX + "weights_sha256"],
            spec=ModelSpec(**json.loads(metadata[PREFIX + "spec"])),
            probes=tuple(map(Probe.from_dict, json.loads(metadata[PREFIX + "probes"]))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(where, f"damaged metadata ({error})") from error


def deviation(engine: Engine, probe: Probe, *, exact: bool) -> Deviation:
    """How far an engine is from torch on a probe, and how far it may be, exact (f32) or not (bf16)."""
    difference = COUNTS * (engine.run(probe.tile, probe.noise_condition).astype(np.float64) - probe.expected)
    largest = float(np.abs(difference).max())
    rms = float(np.sqrt(np.square(difference).mean()))
    if exact:
        return Deviation(largest, rms, largest_allowed=MOST_COUNTS)
    return Deviation(largest, rms, rms_allowed=MOST_OF_ERROR_LEFT * COUNTS * probe.error_left)


def check_parity(engine: Engine, exported: Exported, *, name: str, exact: bool) -> None:
    """The gate: an engine must give, on this machine and in these versions, what torch gave.

    Args:
        engine: the loaded engine.
        exported: the model that it computes.
        name: of engine and precision, for messages.
        exact: whether it computes in f32.

    Raises:
        ResourceError: it does not.
    """
    for probe in exported.probes:
        found = deviation(engine, probe, exact=exact)
        if not found.passes:
            allowed = (
                f"{MOST_COUNTS:g} count at any pixel" if exact else f"{found.rms_allowed:.3g} counts rms"
            )
            raise ResourceError(
                where=name,
                expected=f"the results of torch in f32 within {allowed} of {COUNTS}",
                found=f"{found} on this machine",
                advice="use --engine torch --device cpu --precision f32, and report this with the output of "
                "`longexposure bench`",
            )


def _metadata(message: memoryview) -> Iterator[tuple[str, str]]:
    """Names and values of the metadata of an ONNX file, whose weights are skipped and not parsed."""
    for field, value in _fields(message):
        if field == _METADATA_FIELD:
            entry = dict(_fields(value))
            yield bytes(entry[1]).decode(), bytes(entry.get(2, memoryview(b""))).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the length-delimited fields of a protobuf message, others skipped.

    Raises:
        ValueError: no such message, or one cut short.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _STRING:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("cut short")
            yield tag >> 3, message[position : position + size]
            position += size
        elif kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends (raises IndexError, ValueError)."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number that does not end")


def _text_of(array: Unit) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def _array_of(text: str) -> Unit:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float32)


def _unusable(where: str, found: str) -> CheckpointError:
    return CheckpointError(
        where=where,
        expected="an ONNX file written by this version's `longexposure export`",
        found=found,
        advice="export the model anew, or delete the file and use --engine torch",
    )
