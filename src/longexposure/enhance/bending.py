"""Behind a tone curve: grey values bent until the noise is as strong everywhere, which networks know.

A network is told noise whose variance follows the grey value along a straight line. Behind a logarithm it
does not, so the grey values are bent first, and what the network makes of them is bent back. That moves the
mean of what noise there was by about a twentieth of its standard deviation; so much is put back.
Source of the bend: M. S. Bartlett, "The use of transformations", Biometrics 3, 1947.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.noise import NoiseProfile

MEAN_PX = 8
"""The mean is put back over squares that reach so far to each side."""
BEYOND = 1.0
"""The bend goes on so far below 0 and above 1 of the unit domain, and in a straight line from there on."""
POINTS = 4096

Unit = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bend:
    """From the unit domain to grey values, 0 to 1 as well, in which noise that follows a curve is even.

    Attributes:
        noise: profile with a curve, in the unit domain.
    """

    noise: NoiseProfile

    @property
    def even(self) -> NoiseProfile:
        """The noise of bent grey values."""
        low, high = self._ends
        return NoiseProfile(
            level=0.5,
            sigma=1.0 / (high - low),
            corr_x=self.noise.corr_x,
            corr_y=self.noise.corr_y,
            origin=self.noise.origin,
        )

    def bent(self, unit: Unit) -> Unit:
        """Grey values (H, W) of the unit domain, bent."""
        at, bent, sigma = self._course
        low, high = self._ends
        return ((_interpolated(unit, at, bent, 1 / sigma[[0, -1]]) - low) / (high - low)).astype(np.float32)

    def change(self, bent: Unit, output: Unit, gain: Unit | None = None) -> Numbers:
        """What a network changed bent grey values by, in the unit domain, (H, W).

        A change along the tangent at its result leaves the mean as the network does, one along the bend not;
        the mean of their difference is put back.

        Args:
            bent: what the network was given.
            output: what it made of it.
            gain: how much of the change to apply, 0..1.
        """
        low, high = self._ends
        even = low + bent.astype(np.float64) * (high - low)
        step = (output.astype(np.float64) - bent) * (high - low)
        if gain is not None:
            step *= gain
        after = self._unbent(even + step)
        change = after - self._unbent(even)
        moved = change - step * np.sqrt(self.noise.variance(after))
        return np.asarray(change - ndimage.uniform_filter(moved, 2 * MEAN_PX + 1, mode="reflect"))

    def _unbent(self, even: Numbers) -> Numbers:
        at, bent, sigma = self._course
        return _interpolated(even, bent, at, sigma[[0, -1]])

    @cached_property
    def _course(self) -> tuple[Numbers, Numbers, Numbers]:
        """Grey values of the unit domain, what they are bent to, and sigma there."""
        at = np.linspace(-BEYOND, 1 + BEYOND, POINTS)
        sigma = np.sqrt(self.noise.variance(at))
        steps = np.diff(at) / np.sqrt(sigma[1:] * sigma[:-1])
        return at, np.concatenate([[0.0], np.cumsum(steps)]), sigma

    @cached_property
    def _ends(self) -> tuple[float, float]:
        at, bent, _ = self._course
        low, high = np.interp((0.0, 1.0), at, bent).tolist()
        return low, high


def _interpolated(values: npt.NDArray[np.floating], at: Numbers, known: Numbers, slopes: Numbers) -> Numbers:
    """Linear between known points, and beyond them with these slopes."""
    inside = np.interp(values, at, known)
    return np.asarray(
        inside + slopes[0] * np.minimum(values - at[0], 0) + slopes[1] * np.maximum(values - at[-1], 0)
    )
