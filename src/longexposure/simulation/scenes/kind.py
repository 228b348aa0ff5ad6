"""A kind of scene: who builds it, and for which pixel sizes it makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.geometry.view import View


class Builder(Protocol):
    """Draws a scene that fills the view; all that is random comes from `random`."""

    def __call__(self, random: np.random.Generator, *, view: View) -> Scene: ...


@dataclass(frozen=True)
class SceneKind:
    """One entry of the catalogue.

    Attributes:
        builder: called as builder(random, view=view).
        pixel_um: smallest and largest `View.pixel_um` for which the parts are resolved and fill the view.
        summary: what it shows, in a few words.
    """

    builder: Builder
    pixel_um: tuple[float, float]
    summary: str
