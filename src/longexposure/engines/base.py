"""Engines: what computes a model. One protocol, so that the enhance path does not know which it is.

ONNX Runtime and OpenVINO compute the file that `longexposure export` wrote beside a checkpoint, and are held
to torch's results whenever they are loaded. torch, which an extra brings, computes every checkpoint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt

from longexposure.models.base import ModelSpec
from longexposure.system import is_out_of_memory

logger = logging.getLogger(__name__)

SMALLEST_PX = 64
"""Images are cut no smaller than into cores of this side, with a halo around each."""

Unit = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EngineInfo:
    """What computes: the engine's name and version, "cpu" or "cuda", and "f32" or "bf16"."""

    engine: str
    engine_version: str
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


class Engine(Protocol):
    """Anything that maps tiles in the unit domain to tiles in the unit domain."""

    @property
    def spec(self) -> ModelSpec:
        """What the model needs."""
        ...

    @property
    def info(self) -> EngineInfo | None:
        """What computes it now; None for models that need no engine."""
        ...

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """Tiles (B, H, W) float32, H and W multiples of the spec's size multiple, in and out.

        `noise_condition` is (5,), as `NoiseProfile.noise_condition` gives it; the input is not modified.
        """
        ...


def run_any_size(engine: Engine, tile: Unit, noise_condition: Unit) -> Unit:
    """One tile (H, W) of any size: last row and column are repeated to the model's grid and cut off."""
    height, width = tile.shape
    multiple = engine.spec.size_multiple
    down, right = -height % multiple, -width % multiple
    if down or right:
        tile = np.pad(tile, ((0, down), (0, right)), mode="edge")
    return engine.run(tile[None], noise_condition)[0, :height, :width]


class FallbackEngine:
    """An engine, and what takes its place for good when its device has no memory for the smallest of tiles.

    Args:
        engine: computes as long as it can.
        load: loads what takes its place.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine]) -> None:
        self._engine = engine
        self._load: Callable[[], Engine] | None = load

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def info(self) -> EngineInfo | None:
        return self._engine.info

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """See `Engine.run`; a tile that can be cut smaller is the caller's affair where memory runs out."""
        try:
            return self._engine.run(tile, noise_condition)
        except (MemoryError, RuntimeError) as error:
            smallest = max(SMALLEST_PX, self.spec.size_multiple) + 2 * self.spec.halo
            if self._load is None or not is_out_of_memory(error) or max(tile.shape[1:]) > smallest:
                raise
        load, self._load, full = self._load, None, self.info
        self._engine = load()
        if full and self.info:
            logger.warning(
                "no memory left on %s: going on with %s on %s", full.device, self.info, self.info.device
            )
        return self._engine.run(tile, noise_condition)


@dataclass(frozen=True)
class Kind:
    """An engine of the catalogue.

    Attributes:
        package: what must be importable.
        precisions: what it computes in.
        devices: where it computes.
    """

    package: str
    precisions: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)

    @property
    def installed(self) -> bool:
        """Whether its package is there; it is not imported for that."""
        return find_spec(self.package) is not None


ENGINES: Mapping[str, Kind] = {
    "openvino": Kind("openvino", ("f32", "bf16")),
    "onnx": Kind("onnxruntime", ("f32",)),
    "torch": Kind("torch", ("f32", "bf16"), ("cpu", "cuda")),
}
"""Every engine, fastest on a CPU first: the order in which "auto" tries them."""


def threads() -> int:
    """Threads for engines other than torch: OMP_NUM_THREADS, which torch follows too, or one a core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
