"""Noise power spectra against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from longexposure.noise.spectrum import NoisePowerSpectrum, SpectrumSum


def spectrum_of(*images: Any, patch_px: int = 64) -> NoisePowerSpectrum:
    gathered = SpectrumSum(patch_px)
    for image in images:
        gathered.add(image)
    found = gathered.result()
    assert found is not None
    return found


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    image = np.random.default_rng(0).normal(0, 3, (512, 512))
    found = spectrum_of(image)
    _, radial = found.radial()
    assert found.patches == 15 * 15
    np.testing.assert_allclose(radial[3:], 9, rtol=0.12)
    assert radial[3:].mean() == pytest.approx(9, rel=0.02)


def test_the_integral_is_the_variance_whatever_the_colour() -> None:
    white = np.random.default_rng(1).normal(0, 5, (512, 512))
    coloured = (white + np.roll(white, 1, axis=0)) / 2
    for image in (white, coloured):
        assert spectrum_of(image).variance == pytest.approx(image.var(), rel=0.01)


def test_filtered_white_noise_has_the_squared_transfer_function() -> None:
    f = np.fft.fftfreq(512)
    transfer = np.exp(-2 * np.pi**2 * (f[:, None] ** 2 + f**2))  # a Gaussian blur of 1 px
    white = np.random.default_rng(2).normal(0, 10, (512, 512))
    found = spectrum_of(np.fft.ifft2(np.fft.fft2(white) * transfer).real)
    frequency, radial = found.radial()
    expected = 100 * np.exp(-4 * np.pi**2 * frequency**2)
    np.testing.assert_allclose(radial[3:20], expected[3:20], rtol=0.15)


def test_the_axes_are_kept_apart() -> None:
    white = np.random.default_rng(3).normal(0, 1, (512, 512))
    rows = (white + np.roll(white, 1, axis=1)) / np.sqrt(2)  # smooth along rows only: 1 + cos(2 pi f)
    frequency, horizontal, vertical = spectrum_of(rows).axes()
    along_rows = 1 + np.cos(2 * np.pi * frequency)
    np.testing.assert_allclose(horizontal[3:25], along_rows[3:25], rtol=0.35)
    assert vertical[3:].mean() == pytest.approx(2, rel=0.1)
    acf = spectrum_of(rows).autocorrelation(lags=2)
    assert acf[2] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=0.03)
    assert acf[:, 2] == pytest.approx([0, 0, 1, 0, 0], abs=0.03)


def test_a_wave_stands_at_its_frequency_with_its_power() -> None:
    x = np.arange(256)
    wave = np.broadcast_to(4 * np.cos(2 * np.pi * x / 8), (256, 256))
    found = spectrum_of(wave)
    top = np.unravel_index(np.argmax(found.power), found.power.shape)
    assert found.frequencies[top[0]] == 0
    assert abs(found.frequencies[top[1]]) == 1 / 8
    assert found.variance == pytest.approx(8, rel=0.02)


def test_brightness_does_not_count_and_the_image_is_left_as_it_is() -> None:
    image = np.random.default_rng(4).normal(0, 1, (128, 128))
    before = image.copy()
    lifted = spectrum_of(image + 5000).power
    np.testing.assert_allclose(lifted, spectrum_of(image).power, atol=1e-6)
    np.testing.assert_array_equal(image, before)


def test_an_image_smaller_than_a_patch_gives_none() -> None:
    gathered = SpectrumSum(64)
    gathered.add(np.zeros((63, 200)))
    assert gathered.result() is None
