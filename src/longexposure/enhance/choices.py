"""What is asked of an enhancement: the model and what computes it, strength, noise. Quick to import."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longexposure.engines.base import ENGINES, Engine, FallbackEngine
from longexposure.engines.choice import load_engine
from longexposure.errors import CheckpointError, RecipeError, as_choice, as_number, as_path, described
from longexposure.models.registry import CLASSICAL, DEFAULT, find_weights
from longexposure.noise import NoiseProfile
from longexposure.noise.calibration import NoiseCalibration
from longexposure.system import require

if TYPE_CHECKING:
    from longexposure.enhance.enhancer import Enhancer


@dataclass(frozen=True)
class ModelChoice:
    """A model and what computes it, as `load_enhancer` takes them, to be loaded when there is work for it."""

    model: str | Path = DEFAULT
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"

    @property
    def name(self) -> str:
        return str(as_path(self.model, where="model", error=CheckpointError))

    @property
    def weights(self) -> Path | None:
        """The checkpoint, None for a classical model (raises CheckpointError where there is none)."""
        return None if self.name in CLASSICAL else find_weights(self.name)

    def check(self) -> None:
        """Refuse an unknown engine, device or precision (raises RecipeError)."""
        as_choice(self.engine, where="engine", choices=("auto", *ENGINES))
        as_choice(self.device, where="device", choices=("auto", "cpu", "cuda"))
        as_choice(self.precision, where="precision", choices=("auto", "f32", "bf16"))

    def load_engine(self) -> Engine:
        """The engine with the weights (raises what `longexposure.engines.choice.load_engine` raises)."""
        self.check()
        weights = self.weights
        if weights is None:
            if self.name == "nlm":
                require("skimage", where="--model nlm")
            return CLASSICAL[self.name]
        load = functools.partial(load_engine, weights, engine=self.engine, precision=self.precision)
        loaded = load(device=self.device)
        if self.device == "auto" and loaded.info and loaded.info.device != "cpu":
            return FallbackEngine(loaded, functools.partial(load, device="cpu"))
        return loaded

    def __call__(self) -> Enhancer:
        """Load it; raises what `load_enhancer` raises."""
        from longexposure.enhance.enhancer import enhancer_of

        return enhancer_of(self, self.load_engine)

    def ahead(self) -> Callable[[], Enhancer]:
        """Begin to load it in a thread; what comes back waits for it, and raises what `load_enhancer` raises.

        An engine compiles without Python's lock: the rest of the program is imported meanwhile.
        """
        thread = ThreadPoolExecutor(1, "longexposure-loader")
        engine = thread.submit(self.load_engine)
        thread.shutdown(wait=False)

        def loaded() -> Enhancer:
            from longexposure.enhance.enhancer import enhancer_of

            return enhancer_of(self, engine.result)

        return loaded


def check_strength(strength: float) -> float:
    """Refuse what is no fraction (raises RecipeError)."""
    return as_number(strength, where="strength", low=0.0, high=1.0)


def check_noise(noise: object) -> None:
    """Refuse what tells no noise (raises RecipeError)."""
    if noise is None or isinstance(noise, NoiseProfile | NoiseCalibration):
        return
    raise RecipeError(
        where="noise",
        expected="a NoiseProfile, a NoiseCalibration or None",
        found=described(noise),
        advice="write NoiseProfile(level=GREY, sigma=DEVIATION), or leave it out: it is measured then",
    )
