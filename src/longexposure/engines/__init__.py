"""Engines: what computes a model. One protocol, so that the enhance path does not know which it is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from longexposure.models.spec import ModelSpec

Unit = npt.NDArray[np.float32]


class Engine(Protocol):
    """Anything that maps tiles in the unit domain to tiles in the unit domain."""

    @property
    def spec(self) -> ModelSpec:
        """What the model needs."""
        ...

    def run(self, tile: Unit, condition: Unit) -> Unit:
        """Tiles (B, H, W) float32, H and W multiples of the spec's size multiple, in and out.

        `condition` is (5,), as `NoiseProfile.condition`; the input is not modified.
        """
        ...
