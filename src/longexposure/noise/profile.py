"""The noise profile: level, dependence on signal and correlation, in the image's own grey values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError

Origin = Literal["estimated", "given", "flats", "repeats", "image"]
"""How a profile was obtained: from the image itself, by hand, or from a calibration made of these."""

NOISE_CONDITION = ("sigma", "log_sigma", "signal_share", "corr_x", "corr_y")
"""A network's input about the noise: five numbers in this order; see `NoiseProfile.noise_condition`."""


@dataclass(frozen=True)
class NoiseProfile:
    """Level, dependence on signal and correlation of the noise, in the image's own grey values.

    The variance at grey value v is `sigma**2 + slope * (v - level)`, never below zero. Neighbouring
    pixels of the noise correlate with `corr_x` along a row and `corr_y` along a column.

    Attributes:
        level: grey value at which `sigma` holds.
        sigma: standard deviation of the noise there, in grey values, >= 0.
        slope: change of variance per grey value, in grey values; for pure quantum noise the
            detector's gain in grey values per quantum.
        corr_x: lag-1 autocorrelation along x, -1..1.
        corr_y: lag-1 autocorrelation along y, -1..1.
        origin: how it was obtained, see `Origin`.
    """

    level: float
    sigma: float
    slope: float = 0.0
    corr_x: float = 0.0
    corr_y: float = 0.0
    origin: Origin = "given"

    def __post_init__(self) -> None:
        numbers = (self.level, self.sigma, self.slope, self.corr_x, self.corr_y)
        if not all(np.isfinite(numbers)) or self.sigma < 0:
            raise InputError(
                where="noise profile",
                expected="finite numbers and sigma >= 0",
                found=str(numbers),
                advice="measure the profile again or correct the file it came from",
            )

    def variance(self, grey: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Variance of the noise at these grey values, same shape as `grey`."""
        values = np.asarray(grey, dtype=np.float64)
        return np.maximum(self.sigma**2 + self.slope * (values - self.level), 0.0)

    def mapped(self, *, scale: float, offset: float) -> NoiseProfile:
        """The profile of `scale * x + offset` when this one is the profile of x (scale > 0)."""
        level = scale * self.level + offset
        return replace(self, level=level, sigma=scale * self.sigma, slope=scale * self.slope)

    @property
    def signal_share(self) -> float:
        """Of a profile in the unit domain: slope / (2 variance) at 0.5, not cut to -1..1."""
        return self.slope / (2.0 * max(float(self.variance(0.5)), 1e-10))

    def noise_condition(self) -> npt.NDArray[np.float32]:
        """A network's input about the noise, (5,): see `NOISE_CONDITION`; of a profile in the unit domain.

        sigma is taken at the middle of the domain (0.5); log_sigma is (log2(sigma) + 6) / 6, which
        is 0 at 1/64 and 1 at 1; signal_share is slope / (2 variance), which is 1 for quantum noise
        that vanishes at 0 and 0 for noise that does not depend on the signal, cut to -1..1.
        """
        variance = max(float(self.variance(0.5)), 1e-10)
        sigma = float(np.sqrt(variance))
        fraction = float(np.clip(self.signal_share, -1.0, 1.0))
        log_sigma = (np.log2(sigma) + 6.0) / 6.0
        return np.array([sigma, log_sigma, fraction, self.corr_x, self.corr_y], dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
