"""The noise profile: level, dependence on signal and correlation, in the image's own grey values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError, RecipeError, as_choice, as_number, described

Origin = Literal["estimated", "given", "flats", "repeats", "image"]
"""How a profile was obtained: from the image itself, by hand, or from a calibration made of these."""

Curve = tuple[tuple[float, float], ...]

NOISE_CONDITION = ("sigma", "log_sigma", "signal_share", "corr_x", "corr_y")
"""A network's input about the noise: five numbers in this order; see `NoiseProfile.noise_condition`."""


_LIMITS = {
    "level": (-math.inf, math.inf),
    "sigma": (0.0, math.inf),
    "slope": (-math.inf, math.inf),
    "corr_x": (-1.0, 1.0),
    "corr_y": (-1.0, 1.0),
}


def _is_curve(curve: Curve) -> bool:
    try:
        points = np.array(curve, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    if points.ndim != 2 or points.shape[0] < 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        return False
    return bool((np.diff(points[:, 0]) > 0).all() and (points[:, 1] > 0).all())


@dataclass(frozen=True)
class NoiseProfile:
    """Level, dependence on signal and correlation of the noise, in the image's own grey values.

    The variance at grey value v is `sigma**2 + slope * (v - level)`, never below zero. Behind a tone curve
    (grey values that are logarithms, or were given a gamma) it is no straight line: then `curve` says what
    it is, and level, sigma and slope are those of the line nearest to it.
    Neighbouring pixels of the noise correlate with `corr_x` along a row and `corr_y` along a column.

    Attributes:
        level: grey value at which `sigma` holds.
        sigma: standard deviation of the noise there, in grey values, >= 0.
        slope: change of variance per grey value, in grey values; for pure quantum noise the
            detector's gain in grey values per quantum.
        corr_x: lag-1 autocorrelation along x, -1..1.
        corr_y: lag-1 autocorrelation along y, -1..1.
        origin: how it was obtained, see `Origin`.
        curve: grey value and standard deviation there, from dark to bright, two points or more, above 0; the
            logarithm of the deviation is straight between them, and the ends hold beyond. Empty for a line.
    """

    level: float
    sigma: float
    slope: float = 0.0
    corr_x: float = 0.0
    corr_y: float = 0.0
    origin: Origin = "given"
    curve: Curve = ()

    def __post_init__(self) -> None:
        try:
            for name, (low, high) in _LIMITS.items():
                as_number(getattr(self, name), where=name, low=low, high=high)
            as_choice(self.origin, where="origin", choices=get_args(Origin))
        except RecipeError as error:
            expected = (
                f"finite numbers, sigma >= 0, correlations of -1 to 1, origin {' or '.join(get_args(Origin))}"
            )
            raise self._impossible(expected, f"{error.where} {error.found}") from None
        if not isinstance(self.curve, tuple) or (self.curve and not _is_curve(self.curve)):
            raise self._impossible("a curve of ascending grey values and sigma > 0", described(self.curve))

    def variance(self, grey: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Variance of the noise at these grey values, same shape as `grey`."""
        values = np.asarray(grey, dtype=np.float64)
        if self.curve:
            at, sigma = np.array(self.curve).T
            return np.asarray(np.exp(2 * np.interp(values, at, np.log(sigma))))
        return np.maximum(self.sigma**2 + self.slope * (values - self.level), 0.0)

    def least_variance(
        self, low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """The least variance between these grey values, low <= high, same shape as they."""
        least = np.minimum(self.variance(low), self.variance(high))
        for grey, sigma in self.curve[1:-1]:
            least = np.where((low < grey) & (grey < high), np.minimum(least, sigma**2), least)
        return least

    def mapped(self, *, scale: float, offset: float) -> NoiseProfile:
        """The profile of `scale * x + offset` when this one is the profile of x (scale > 0)."""
        return replace(
            self,
            level=scale * self.level + offset,
            sigma=scale * self.sigma,
            slope=scale * self.slope,
            curve=tuple((scale * grey + offset, scale * sigma) for grey, sigma in self.curve),
        )

    @property
    def line(self) -> NoiseProfile:
        """The profile without its curve."""
        return replace(self, curve=()) if self.curve else self

    def sigma_at(self, grey: float) -> float:
        """Standard deviation of the noise at a grey value."""
        return float(self.variance(grey)) ** 0.5

    @property
    def signal_share(self) -> float:
        """Of a profile in the unit domain: slope / (2 variance) at 0.5, not cut to -1..1."""
        return self.slope / (2.0 * max(float(self.line.variance(0.5)), 1e-10))

    def noise_condition(self) -> npt.NDArray[np.float32]:
        """A network's input about the noise, (5,): see `NOISE_CONDITION`; of a profile in the unit domain.

        sigma is taken at the middle of the domain (0.5); log_sigma is (log2(sigma) + 6) / 6, which
        is 0 at 1/64 and 1 at 1; signal_share is slope / (2 variance), which is 1 for quantum noise
        that vanishes at 0 and 0 for noise that does not depend on the signal, cut to -1..1.
        """
        variance = max(float(self.line.variance(0.5)), 1e-10)
        sigma = float(np.sqrt(variance))
        fraction = float(np.clip(self.signal_share, -1.0, 1.0))
        log_sigma = (np.log2(sigma) + 6.0) / 6.0
        return np.array([sigma, log_sigma, fraction, self.corr_x, self.corr_y], dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; without `curve` where there is none."""
        values = asdict(self)
        return values if self.curve else {name: value for name, value in values.items() if name != "curve"}

    def _impossible(self, expected: str, found: str) -> InputError:
        return InputError(
            where="noise profile",
            expected=expected,
            found=found,
            advice="measure the profile again or correct the file it came from",
        )
