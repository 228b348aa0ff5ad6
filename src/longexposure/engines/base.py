"""Engines: what computes a model. One protocol, so that the enhance path does not know which it is.

torch computes every checkpoint. OpenVINO and ONNX Runtime compute the file that `longexposure export` wrote
beside it, start without torch, and are held to torch's results whenever they are loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt

from longexposure.models.base import ModelSpec

Unit = npt.NDArray[np.float32]


class Engine(Protocol):
    """Anything that maps tiles in the unit domain to tiles in the unit domain."""

    @property
    def spec(self) -> ModelSpec:
        """What the model needs."""
        ...

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """Tiles (B, H, W) float32, H and W multiples of the spec's size multiple, in and out.

        `noise_condition` is (5,), as `NoiseProfile.condition`; the input is not modified.
        """
        ...


@dataclass(frozen=True)
class Kind:
    """An engine of the catalogue.

    Attributes:
        package: what must be importable.
        extra: what of ours installs it; None where it always is.
        precisions: what it computes in.
        devices: where it computes.
    """

    package: str
    extra: str | None
    precisions: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)

    @property
    def installed(self) -> bool:
        """Whether its package is there; it is not imported for that."""
        return find_spec(self.package) is not None


ENGINES: Mapping[str, Kind] = {
    "openvino": Kind("openvino", "engines", ("f32", "bf16")),
    "onnx": Kind("onnxruntime", "engines", ("f32",)),
    "torch": Kind("torch", None, ("f32", "bf16"), ("cpu", "cuda")),
}
"""Every engine, fastest on a CPU first: the order in which "auto" tries them."""


def threads() -> int:
    """Threads for engines other than torch: OMP_NUM_THREADS, which torch obeys too, or one a core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
