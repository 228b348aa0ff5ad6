"""Which noise a network knows: the ranges of what it was told while it was trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from longexposure.models.checkpoint import Header
from longexposure.noise import CONDITION, NoiseProfile

Range = tuple[float, float]

WIDENED = (1.5, 8 / 7)
"""The noise told goes beyond the noise drawn by these factors, downwards and upwards, as estimates err."""

SLACK = {"sigma": 0.0, "signal_share": 0.2, "corr_x": 0.05, "corr_y": 0.05}
"""What lies beyond a range by this little is not told: measuring errs by as much."""

_WORDS = {
    "sigma": ("noise is {:.4f} of the image's contrast", "fainter", "stronger"),
    "signal_share": ("the share of the noise's variance that goes with the signal is {:.2f}", "less", "more"),
    "corr_x": ("neighbours in a row correlate by {:.2f}", "less", "more"),
    "corr_y": ("neighbours in a column correlate by {:.2f}", "less", "more"),
}


class Conditions(BaseModel):
    """What a network was told of the noise in training, from lowest to highest.

    Attributes:
        model: whose they are, for messages.
        sigma: standard deviation in the unit domain.
        signal_share: slope / (2 variance) there.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "the shipped network"
    sigma: Range = (0.001, 0.4)
    signal_share: Range = (-0.5, 1.0)
    corr_x: Range = (-0.25, 0.87)
    corr_y: Range = (-0.25, 0.87)

    @classmethod
    def seen(cls, told: npt.NDArray[np.floating], *, model: str = "the network") -> Conditions:
        """The ranges of conditions (N, 5) that a training told: their 1st to 99th percentile."""
        low, high = np.percentile(told, (1, 99), axis=0)
        ranges = {name: (float(low[k]), float(high[k])) for k, name in enumerate(CONDITION) if name in _WORDS}
        return cls(model=model, **ranges)

    def ranges(self) -> dict[str, Range]:
        """By name, for a checkpoint's header."""
        return {name: getattr(self, name) for name in _WORDS}

    def outside(self, noise: NoiseProfile) -> Iterator[str]:
        """What of a profile in the unit domain was not in the training, a line each."""
        found = {
            "sigma": float(noise.variance(0.5)) ** 0.5,
            "signal_share": noise.signal_share,
            "corr_x": noise.corr_x,
            "corr_y": noise.corr_y,
        }
        for name, value in found.items():
            low, high = getattr(self, name)
            text, below, above = _WORDS[name]
            if not low - SLACK[name] <= value <= high + SLACK[name]:
                kind = below if value < low else above
                yield (
                    f"{text.format(value)}, {kind} than the {low:.3g} to {high:.3g} "
                    f"that {self.model} was trained for"
                )


SHIPPED = Conditions()
"""Those of the network that ships, and of any that does not say."""


def conditions_of(header: Header, *, model: str) -> Conditions:
    """The noise that the network of a checkpoint was trained for.

    What the header states counts; else what its recipe drew; else what the shipped network knows stands in.

    Args:
        header: of the checkpoint.
        model: its name, for messages.
    """
    if header.conditions:
        return Conditions(model=model, **header.conditions)
    data = header.recipe.get("data", {})
    if data.get("kind") == "simulated" and "sigma" in data:
        low, high = data["sigma"]
        return Conditions(model=model, sigma=(low / WIDENED[0], high * WIDENED[1]))
    return SHIPPED
