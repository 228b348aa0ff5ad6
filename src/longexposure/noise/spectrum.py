"""Noise power spectra: windowed periodograms, averaged; their integral over all frequencies is the variance.

Frequencies are in cycles per pixel, powers in grey values squared times pixels squared: the definition that
IEC 62220-1 uses, with a pixel pitch of 1. Only the mean of a patch is taken off (which halves the power next
to frequency zero), so structure must be gone before: give differences of two exposures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

AXIS_LINES = 3
"""An axis profile averages so many lines on either side of the axis, and the axis itself."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisePowerSpectrum:
    """An averaged noise power spectrum.

    Attributes:
        power: (S, S), zero frequency in the middle at [S // 2, S // 2], rows are vertical frequencies.
        patches: periodograms averaged.
    """

    power: Numbers
    patches: int

    @property
    def frequencies(self) -> Numbers:
        """(S,) of either axis, cycles per pixel, from -0.5 on."""
        return np.fft.fftshift(np.fft.fftfreq(len(self.power)))

    @property
    def variance(self) -> float:
        """The integral over all frequencies, grey values squared."""
        return float(self.power.sum()) / self.power.size

    def radial(self) -> tuple[Numbers, Numbers]:
        """Frequency and mean power (S // 2,) over rings one frequency step wide, 0 left out, up to 0.5."""
        size = len(self.power)
        f = self.frequencies
        ring = np.rint(np.hypot(f[:, None], f[None]) * size).astype(np.intp).ravel()
        power = np.bincount(ring, weights=self.power.ravel()) / np.maximum(np.bincount(ring), 1)
        rings = np.arange(1, size // 2 + 1)
        return rings / size, power[rings]

    def axes(self) -> tuple[Numbers, Numbers, Numbers]:
        """Frequency, and mean power along the horizontal and the vertical axis, (S // 2 - 1,) each."""
        middle = len(self.power) // 2
        near = slice(middle - AXIS_LINES, middle + AXIS_LINES + 1)
        right = slice(middle + 1, None)
        return self.frequencies[right], self.power[near, right].mean(0), self.power[right, near].mean(1)

    def autocorrelation(self, *, lags: int) -> Numbers:
        """(2 lags + 1, 2 lags + 1), 1 in the middle."""
        covariance = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(self.power)).real)
        middle = len(self.power) // 2
        near = slice(middle - lags, middle + lags + 1)
        top = float(covariance[middle, middle])
        return covariance[near, near] / top if top > 0 else np.zeros((2 * lags + 1,) * 2)


class SpectrumSum:
    """Adds up the periodograms of images, one image at a time.

    Args:
        patch_px: side of the square patches, which overlap by half.
    """

    def __init__(self, patch_px: int) -> None:
        self.patch_px = patch_px
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(patch_px) / patch_px)  # shifted copies add up to 1
        self._window = np.outer(hann, hann)
        self._sum = np.zeros((patch_px, patch_px))
        self.patches = 0

    def add(self, image: npt.NDArray[np.floating]) -> None:
        """Add all patches of an image (H, W); one smaller than a patch adds nothing."""
        size, window = self.patch_px, self._window
        scale = 1.0 / float((window * window).sum())
        for y in range(0, image.shape[0] - size + 1, size // 2):
            for x in range(0, image.shape[1] - size + 1, size // 2):
                patch = image[y : y + size, x : x + size].astype(np.float64)
                patch -= float((patch * window).sum() / window.sum())
                self._sum += scale * np.abs(np.fft.fft2(patch * window)) ** 2
                self.patches += 1

    def result(self) -> NoisePowerSpectrum | None:
        """The average; None before a patch was added."""
        if not self.patches:
            return None
        return NoisePowerSpectrum(power=np.fft.fftshift(self._sum) / self.patches, patches=self.patches)
