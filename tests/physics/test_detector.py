"""Noise in the unit domain against its own profile; kernels and blur."""

import numpy as np
import pytest

from longexposure.physics.detector import (
    Noise,
    blurred,
    coloured,
    exponential_kernel,
    gaussian_kernel,
    lag_one,
)

SIDE = 200


def _flat(level=1.0, side=SIDE):
    return np.full((side, side), level, dtype=np.float32)


def _correlation(noise, *, axis):
    """Lag-1 autocorrelation of a field of zero mean along an axis."""
    noise = np.moveaxis(np.asarray(noise, dtype=np.float64), axis, 0)
    return float((noise[1:] * noise[:-1]).mean() / (noise**2).mean())


# Noise in the unit domain

KERNELS = {
    "white": ((1.0,), (1.0,)),
    "screen": (gaussian_kernel(0.6), gaussian_kernel(0.9)),
    "lines": (exponential_kernel(0.6), (1.0,)),
    "columns": (exponential_kernel(0.2), exponential_kernel(0.8)),
}
every_colour = pytest.mark.parametrize("kernels", KERNELS.values(), ids=KERNELS)


def _added(noise, level=0.5, *, side=400, seed=0):
    clean = _flat(level, side=side)
    return noise.add_to(clean, np.random.default_rng(seed)).astype(np.float64) - level


@every_colour
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_added_noise_has_the_level_and_correlation_of_its_profile(kernels, share):
    noise = Noise(sigma=0.08, signal_share=share, along_x=kernels[0], along_y=kernels[1])
    profile, added = noise.profile(), _added(noise)
    assert profile.sigma == pytest.approx(0.08)
    assert added.std() == pytest.approx(profile.sigma, rel=0.02)
    assert _correlation(added, axis=1) == pytest.approx(profile.corr_x, abs=0.02)
    assert _correlation(added, axis=0) == pytest.approx(profile.corr_y, abs=0.02)


@every_colour
def test_added_noise_depends_on_the_signal_as_its_profile_says(kernels):
    for share in (-0.2, 0.0, 0.5, 1.0):
        noise = Noise(sigma=0.05, signal_share=share, along_x=kernels[0], along_y=kernels[1])
        for level in (0.2, 0.5, 0.9):
            expected = 0.05**2 * (1 - share + 2 * share * level)
            assert noise.profile().variance(level) == pytest.approx(expected)
            assert _added(noise, level).var() == pytest.approx(expected, rel=0.05)


def test_variance_never_falls_below_a_hundredth():
    added = _added(Noise(sigma=0.05, signal_share=1.0), level=-0.3)
    assert added.std() == pytest.approx(0.005, rel=0.02)


def test_bands_and_fixed_pattern_count_in_the_profile():
    noise = Noise(sigma=0.02, bands=(0.3, 0.0), pattern=0.02, along_x=exponential_kernel(0.4))
    added, profile = _added(noise, side=600), noise.profile()
    assert added.std() == pytest.approx(profile.sigma, rel=0.02)
    assert _correlation(added, axis=1) == pytest.approx(profile.corr_x, abs=0.02)
    assert abs(_correlation(added, axis=0) - profile.corr_y) < 0.02
    upright = Noise(sigma=0.02, bands=(0.0, 0.3))
    assert _correlation(_added(upright, side=600), axis=0) == pytest.approx(
        upright.profile().corr_y, abs=0.02
    )


def test_the_slope_of_a_fixed_pattern_is_the_derivative_of_its_variance():
    noise = Noise(sigma=0.01, pattern=0.05)
    above, below = (_added(noise, level).var() for level in (0.6, 0.4))
    assert (above - below) / 0.2 == pytest.approx(noise.profile().slope, rel=0.05)


def test_a_digitiser_rounds_and_clips():
    noise = Noise(sigma=0.2, step=0.05, clip=(0.1, 0.9))
    noisy = noise.add_to(_flat(0.5), np.random.default_rng(0)).astype(np.float64)
    np.testing.assert_allclose(noisy / 0.05, np.round(noisy / 0.05), atol=1e-4)
    assert (noisy.min(), noisy.max()) == (pytest.approx(0.1), pytest.approx(0.9))


def test_rounding_adds_a_twelfth_of_the_squared_step():
    noise = Noise(sigma=0.02, step=0.05)
    added = noise.add_to(
        np.random.default_rng(3).random((400, 400), dtype=np.float32), np.random.default_rng(0)
    )
    clean = np.random.default_rng(3).random((400, 400), dtype=np.float32)
    assert (added - clean).std() == pytest.approx(noise.profile().sigma, rel=0.02)


def test_outliers_are_few_and_far():
    noise = Noise(sigma=0.01, outliers=1e-3)
    added = np.abs(_added(noise))
    far = np.mean(added > 0.01 * 4.9)
    assert 0.3e-3 < far < 1.2e-3
    assert added.max() < 0.01 * (9 + 5)
    assert noise.profile().sigma == pytest.approx(0.01)


def test_noise_of_zero_strength_changes_nothing():
    clean = np.random.default_rng(0).random((50, 60), dtype=np.float32)
    noisy = Noise(sigma=1e-9, signal_share=0.5).add_to(clean, np.random.default_rng(1))
    np.testing.assert_allclose(noisy, clean, rtol=0, atol=6e-8)


def test_adding_noise_returns_a_float32_copy_and_equal_chance_gives_equal_bytes():
    noise = Noise(
        sigma=0.05, along_x=gaussian_kernel(0.7), bands=(0.1, 0.1), pattern=0.01, outliers=1e-3, clip=(0, 1)
    )
    clean = _flat(side=40)
    clean.flags.writeable = False
    first, second = (noise.add_to(clean, np.random.default_rng(5)) for _ in range(2))
    assert (clean == 1.0).all()
    assert first.dtype == np.float32
    assert not np.shares_memory(first, clean)
    assert first.tobytes() == second.tobytes()


# Kernels and blur


@every_colour
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (300, 280)])
def test_coloured_noise_has_any_shape_and_unit_variance(kernels, shape):
    field = coloured(np.random.default_rng(0), shape, along_x=kernels[0], along_y=kernels[1])
    assert field.shape == shape
    assert field.dtype == np.float32
    if shape[0] > 9:
        assert field.var() == pytest.approx(1.0, rel=0.06)
        edges = np.concatenate([field[0], field[-1], field[:, 0], field[:, -1]])
        assert edges.var() == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
def test_exponential_kernel_has_nearly_the_correlation_asked_for(correlation):
    assert lag_one(exponential_kernel(correlation)) == pytest.approx(correlation, abs=0.01)


def test_lag_one_is_the_autocorrelation_of_the_kernel():
    for kernel in (exponential_kernel(0.7), gaussian_kernel(0.8), (1.0, -1.0), (1.0, 2.0, 1.0)):
        full = np.correlate(kernel, kernel, mode="full")
        middle = len(full) // 2
        assert lag_one(kernel) == pytest.approx(full[middle + 1] / full[middle])
    assert lag_one((1.0,)) == 0
    assert exponential_kernel(0.0) == gaussian_kernel(0.1) == (1.0,)


def test_blur_is_a_gaussian_of_that_width_and_zero_is_none():
    point = np.zeros((61, 61), dtype=np.float32)
    point[30, 30] = 1
    spread = blurred(point, 2.5).astype(np.float64)
    y = np.arange(61) - 30
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((spread.sum(axis=1) * y**2).sum()) == pytest.approx(2.5, rel=0.01)
    assert np.array_equal(blurred(point, 0.0), point)
