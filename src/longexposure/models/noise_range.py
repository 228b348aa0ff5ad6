"""Which noise a network has seen: the ranges of the conditions that it was given while it was trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError, field_validator

from longexposure.errors import CheckpointError
from longexposure.models.checkpoint import Header
from longexposure.noise import NOISE_CONDITION, NoiseProfile

Range = tuple[float, float]

SLACK = {"sigma": 0.0, "signal_share": 0.2, "corr_x": 0.05, "corr_y": 0.05}
"""What lies beyond a range by this little gives no warning: measuring errs by as much."""

_WORDS = {
    "sigma": ("noise is {:.4f} of the image's contrast", "fainter", "stronger"),
    "signal_share": (
        "the fraction of the noise's variance that goes with the signal is {:.2f}",
        "less",
        "more",
    ),
    "corr_x": ("neighbours in a row correlate by {:.2f}", "less", "more"),
    "corr_y": ("neighbours in a column correlate by {:.2f}", "less", "more"),
}


class Conditions(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The noise that a network has seen in training, from lowest to highest.

    Attributes:
        model: whose they are, for messages.
        sigma: standard deviation in the unit domain.
        signal_share: slope / (2 variance) there.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
    """

    model: str
    sigma: Range
    signal_share: Range
    corr_x: Range
    corr_y: Range

    @field_validator(*_WORDS)
    @classmethod
    def _low_to_high(cls, limits: Range) -> Range:
        if limits[0] > limits[1]:
            raise ValueError("the lowest number first")
        return limits

    @classmethod
    def seen(cls, conditions: npt.NDArray[np.floating], *, model: str = "the network") -> Conditions:
        """The ranges of the noise conditions (N, 5) of a training, one or more: 1st to 99th percentile."""
        low, high = np.percentile(conditions, (1, 99), axis=0)
        ranges = {
            name: (float(low[k]), float(high[k])) for k, name in enumerate(NOISE_CONDITION) if name in _WORDS
        }
        return cls(model=model, **ranges)

    def ranges(self) -> dict[str, Range]:
        """By name, for a checkpoint's header."""
        return {name: getattr(self, name) for name in _WORDS}

    def outside(self, noise: NoiseProfile) -> Iterator[str]:
        """What of a profile in the unit domain was not in the training, a line each."""
        found = {
            "sigma": float(noise.line.variance(0.5)) ** 0.5,
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


def conditions_of(header: Header, *, model: str) -> Conditions | None:
    """The noise that the network of a checkpoint was trained for, as its header states it.

    Args:
        header: of the checkpoint.
        model: its name, for messages.

    Returns:
        The ranges; None where the header states none, as that of a network that is not given the noise.

    Raises:
        CheckpointError: ranges that are missing, of other names, or none.
    """
    if not header.conditions:
        return None
    try:
        return Conditions.model_validate({**header.conditions, "model": model})
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(
            where=f"{model}, conditions",
            expected=f"the lowest and the highest of each of {', '.join(_WORDS)}",
            found=f"{dict(header.conditions)} ({'.'.join(map(str, first['loc']))}: {first['msg']})",
            advice="copy the file again, or train it anew",
        ) from error
