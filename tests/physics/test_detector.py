"""The detector against counting statistics: photon transfer, exposure time, panel, correlation."""

import numpy as np
import pytest
from scipy import ndimage

from longexposure.physics.detector import (
    Detector,
    Noise,
    blurred,
    coloured,
    exponential_kernel,
    gaussian_kernel,
    lag_one,
)

SIDE = 200


def _expose(detector, transmission, *, seconds=5.0, seed=0, panel=9):
    return detector.expose(
        transmission,
        exposure_s=seconds,
        random=np.random.default_rng(seed),
        panel=np.random.default_rng(panel),
    )


def _flat(level=1.0, side=SIDE):
    return np.full((side, side), level, dtype=np.float32)


def _correlation(noise, *, axis):
    """Lag-1 autocorrelation of a field of zero mean along an axis."""
    noise = np.moveaxis(np.asarray(noise, dtype=np.float64), axis, 0)
    return float((noise[1:] * noise[:-1]).mean() / (noise**2).mean())


# Exposures


@pytest.mark.parametrize("seconds", [1.0, 5.0, 90.0])
def test_photon_transfer_recovers_gain_and_read_noise(seconds):
    detector = Detector(
        quanta_per_s=800 / seconds, gain=9.0, offset=500, read_noise=60.0, reference_s=seconds
    )
    levels = np.linspace(0.0, 1.0, 9)
    means, variances = [], []
    for number, level in enumerate(levels):
        frames = [_expose(detector, _flat(level), seconds=seconds, seed=(number, k)) for k in range(2)]
        difference = frames[0].astype(float) - frames[1]
        means.append(np.mean(frames) - 500)
        variances.append(difference.var() / 2 - 1 / 12)
    weights = 1 / np.array(variances)
    gain, read_variance = np.polyfit(means, variances, 1, w=weights)
    assert gain == pytest.approx(9.0, rel=0.03)
    assert np.sqrt(read_variance) == pytest.approx(60.0, rel=0.03)
    np.testing.assert_allclose(means, 9.0 * 800 * levels, rtol=0, atol=4.0)


def test_expectation_is_the_mean_of_many_exposures():
    detector = Detector(quanta_per_s=40, gain=8.0, offset=300, read_noise=10.0)
    transmission = np.linspace(0.05, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    mean = np.mean([_expose(detector, transmission, seed=k) for k in range(400)], axis=0)
    expected = detector.expectation(transmission)
    assert expected.dtype == np.float32
    deviation = (mean - expected) / np.sqrt((8.0 * (expected - 300) + 100) / 400)
    assert abs(deviation.mean()) < 4 / 32
    assert deviation.std() == pytest.approx(1.0, rel=0.1)


def test_expectation_does_not_depend_on_the_exposure_time():
    detector = Detector(quanta_per_s=400, gain=5.0, offset=100)
    for seconds in (1.0, 5.0, 90.0):
        frame = _expose(detector, _flat(0.5), seconds=seconds)
        assert frame.mean() == pytest.approx(detector.expectation(_flat(0.5)).mean(), rel=2e-3)


def test_five_seconds_have_18_times_the_quantum_variance_of_ninety():
    detector = Detector(quanta_per_s=200, gain=20.0)
    short, long = (_expose(detector, _flat(), seconds=s, seed=s) for s in (5, 90))
    ratio = (short.var() - 1 / 12) / (long.var() - 1 / 12)
    assert ratio == pytest.approx(18, rel=0.03)


def test_psnr_against_a_long_exposure_gains_at_most_12_79_db():
    """10 log10((18 + 1) / 1): what a perfect image gains where the reference itself is 90 s of quanta."""
    detector = Detector(quanta_per_s=200, gain=20.0)
    transmission = np.tile(np.linspace(0.2, 1.0, SIDE, dtype=np.float32), (SIDE, 1))
    short, long = (_expose(detector, transmission, seconds=s, seed=s) for s in (5, 90))
    clean = detector.expectation(transmission)
    errors = [np.mean((image.astype(np.float64) - long) ** 2) for image in (short, clean)]
    assert 10 * np.log10(errors[0] / errors[1]) == pytest.approx(10 * np.log10(19), abs=0.1)


def test_read_noise_falls_with_the_square_of_the_exposure_time():
    detector = Detector(quanta_per_s=0.0, gain=1.0, offset=20000, read_noise=300.0)
    for seconds in (2.5, 5.0, 10.0, 50.0):
        frame = _expose(detector, _flat(), seconds=seconds, seed=int(10 * seconds))
        assert frame.std() == pytest.approx(300 * 5 / seconds, rel=0.02)


def test_one_panel_shares_pattern_and_hot_pixels_and_quanta_are_independent():
    detector = Detector(quanta_per_s=2000, gain=2.0, offset=100, pattern=0.05, hot=2e-3)
    first, second = (_expose(detector, _flat(0.7), seed=k).astype(float) for k in (1, 2))
    hot = [frame > 30000 for frame in (first, second)]
    assert 10 < hot[0].sum() < 200
    assert np.mean(hot[0] == hot[1]) > 0.9999
    keep = ~(ndimage.binary_dilation(hot[0] | hot[1]) | (np.minimum(first, second) > 20000))
    shared = np.corrcoef(first[keep], second[keep])[0, 1]
    quantum, pattern = 2.0 * 14000, (0.05 * 14000) ** 2
    assert shared == pytest.approx(pattern / (pattern + quantum), abs=0.02)
    third, fourth = (_expose(detector, _flat(0.7), seed=k).astype(float) for k in (3, 4))
    quanta = np.corrcoef((first - second)[keep], (third - fourth)[keep])[0, 1]
    assert abs(quanta) < 0.03


def test_quanta_of_two_exposures_do_not_correlate():
    detector = Detector(quanta_per_s=50, gain=30.0, read_noise=20.0)
    first, second = (_expose(detector, _flat(), seed=k).astype(float).ravel() for k in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / SIDE


def test_other_panels_have_other_patterns():
    detector = Detector(quanta_per_s=1e5, gain=0.1, pattern=0.05)
    first, second = (_expose(detector, _flat(0.5), panel=k).astype(float).ravel() for k in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / SIDE


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_saturation_and_type_follow_the_bit_depth(bits, dtype):
    full = 2**bits - 1
    detector = Detector(quanta_per_s=1000, gain=full / 2500, read_noise=full / 20, bits=bits)
    frame = _expose(detector, np.concatenate([_flat(0.0), _flat(4.0)]))
    assert frame.dtype == dtype
    assert (frame[SIDE:] == full).all()
    assert frame[:SIDE].min() == 0
    assert np.mean(frame[:SIDE] == 0) == pytest.approx(0.5, abs=0.05)


def test_12_bits_saturate_at_4095_in_16():
    frame = _expose(Detector(quanta_per_s=1000, gain=10.0, bits=12), _flat())
    assert frame.dtype == np.uint16
    assert frame.max() == 4095


def test_the_screen_colours_quanta_and_keeps_their_variance():
    detector = Detector(quanta_per_s=400, gain=4.0, colour=0.7)
    noise = _expose(detector, _flat()) - 8000.0
    assert noise.std() == pytest.approx(np.sqrt(4.0 * 8000), rel=0.03)
    for axis in (0, 1):
        assert _correlation(noise, axis=axis) == pytest.approx(lag_one(gaussian_kernel(0.7)), abs=0.03)


def test_equal_chance_gives_equal_bytes_and_the_scene_is_not_modified():
    detector = Detector(quanta_per_s=400, gain=4.0, read_noise=3, pattern=0.01, hot=1e-3, colour=0.5)
    transmission = _flat(0.4, side=40)
    transmission.flags.writeable = False
    first, second = (_expose(detector, transmission) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_transmission_below_zero_counts_no_quanta():
    frame = _expose(Detector(quanta_per_s=400, gain=4.0, offset=7), _flat(-0.5, side=8))
    assert (frame == 7).all()


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
