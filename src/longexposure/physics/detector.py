"""Noise of any machine in the unit domain, described by what can be measured from outside; and plain blur.

The first simulator of training data (`data/simulated.py`) draws such noise at random and adds it to a clean
image. Machines with tube, screen and panel are in `panel.py`, `optics.py` and `machines/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.noise import NoiseProfile

Image = npt.NDArray[np.float32]
Kernel = tuple[float, ...]
Random = np.random.Generator


def blurred(image: npt.NDArray[np.floating], sigma_px: float) -> Image:
    """Gaussian unsharpness of focal spot and screen, standard deviation in px; 0 leaves the image alone."""
    if sigma_px <= 0:
        return np.asarray(image, dtype=np.float32)
    return ndimage.gaussian_filter(np.asarray(image, np.float32), sigma_px, mode="reflect", truncate=4)


def exponential_kernel(lag_one: float, *, taps: int = 5) -> Kernel:
    """One-sided kernel a**k whose filtered white noise has nearly this autocorrelation at lag 1, 0..0.95."""
    return tuple(float(lag_one) ** k for k in range(taps)) if lag_one > 0 else (1.0,)


def gaussian_kernel(sigma_px: float) -> Kernel:
    """Samples of a Gaussian, odd length, not normalised."""
    if sigma_px < 0.15:
        return (1.0,)
    reach = int(np.ceil(3 * sigma_px))
    return tuple(float(np.exp(-0.5 * (k / sigma_px) ** 2)) for k in range(-reach, reach + 1))


def lag_one(kernel: Kernel) -> float:
    """Autocorrelation at lag 1 of white noise filtered with this kernel."""
    taps = np.asarray(kernel)
    return float(taps[:-1] @ taps[1:] / (taps @ taps)) if len(taps) > 1 else 0.0


def coloured(random: Random, shape: tuple[int, int], *, along_x: Kernel, along_y: Kernel) -> Image:
    """Unit-variance normal noise (H, W) filtered with a kernel along each axis."""
    margin_y, margin_x = len(along_y) - 1, len(along_x) - 1
    field_ = random.standard_normal((shape[0] + margin_y, shape[1] + margin_x), dtype=np.float32)
    for axis, kernel in ((0, along_y), (1, along_x)):
        if len(kernel) > 1:
            taps = np.asarray(kernel, dtype=np.float32)
            taps = taps / np.sqrt(taps @ taps)
            full = ndimage.correlate1d(field_, taps, axis=axis, mode="constant")
            start = len(kernel) // 2
            keep = shape[axis]
            field_ = full[start : start + keep] if axis == 0 else full[:, start : start + keep]
    return np.ascontiguousarray(field_[: shape[0], : shape[1]])


@dataclass(frozen=True)
class Noise:
    """The noise of an image in the unit domain.

    The variance at u is sigma^2 (1 - signal_share + 2 signal_share u) + (pattern u)^2, at least a
    hundredth of sigma^2.

    Attributes:
        sigma: standard deviation at u = 0.5 without the fixed pattern.
        signal_share: share of that variance that is proportional to u.
        along_x, along_y: kernels that colour it.
        bands: standard deviation of a random offset per row and per column, as shares of sigma.
        pattern: relative standard deviation of the pixels' gain.
        outliers: share of pixels that are hot or dead.
        step: grey-value step of the digitiser in the unit domain, 0 for none.
        clip: lowest and highest value that the digitiser gives, None for none.
    """

    sigma: float
    signal_share: float = 0.0
    along_x: Kernel = (1.0,)
    along_y: Kernel = (1.0,)
    bands: tuple[float, float] = (0.0, 0.0)
    pattern: float = 0.0
    outliers: float = 0.0
    step: float = 0.0
    clip: tuple[float, float] | None = field(default=None)

    def profile(self) -> NoiseProfile:
        """The true profile: bands and pattern count in level and slope, white parts dilute correlation."""
        coloured_variance = self.sigma**2
        bands = coloured_variance * (self.bands[0] ** 2 + self.bands[1] ** 2)
        white = (0.5 * self.pattern) ** 2 + self.step**2 / 12
        variance = coloured_variance + bands + white
        rows, columns = (coloured_variance * b**2 for b in self.bands)
        return NoiseProfile(
            level=0.5,
            sigma=float(np.sqrt(variance)),
            slope=2 * self.signal_share * coloured_variance + self.pattern**2,
            corr_x=(lag_one(self.along_x) * coloured_variance + rows) / max(variance, 1e-20),
            corr_y=(lag_one(self.along_y) * coloured_variance + columns) / max(variance, 1e-20),
        )

    def add_to(self, clean: Image, random: Random) -> Image:
        """A noisy copy of a clean image (H, W) in the unit domain."""
        share = 1.0 - self.signal_share + 2.0 * self.signal_share * clean
        scale = self.sigma * np.sqrt(np.maximum(share, 0.01))
        noisy = clean + scale * coloured(random, clean.shape, along_x=self.along_x, along_y=self.along_y)
        height, width = clean.shape
        if self.bands[0]:
            noisy += self.sigma * self.bands[0] * random.standard_normal((height, 1), dtype=np.float32)
        if self.bands[1]:
            noisy += self.sigma * self.bands[1] * random.standard_normal((1, width), dtype=np.float32)
        if self.pattern:
            noisy += self.pattern * clean * random.standard_normal(clean.shape, dtype=np.float32)
        if self.outliers:
            count = random.poisson(self.outliers * clean.size)
            where = random.integers(0, height, count), random.integers(0, width, count)
            sign = np.where(random.random(count) < 0.8, 1, -1)
            noisy[where] += (sign * self.sigma * random.uniform(3, 9, count)).astype(np.float32)
        if self.clip is not None:
            noisy = np.clip(noisy, *self.clip)
        if self.step:
            noisy = np.round(noisy / self.step) * self.step
        return noisy.astype(np.float32)
