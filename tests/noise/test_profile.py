"""The profile's own arithmetic: variance, rescaling, and the numbers that networks take."""

import dataclasses
import json

import numpy as np
import pytest

from longexposure.errors import InputError
from longexposure.noise import NOISE_CONDITION, NoiseProfile

PROFILE = NoiseProfile(level=1000.0, sigma=20.0, slope=0.3, corr_x=0.4, corr_y=-0.1, origin="estimated")


def test_variance_is_a_line_through_the_level_and_never_negative():
    grey = np.array([[1000.0, 2000.0], [0.0, -5000.0]])
    np.testing.assert_allclose(PROFILE.variance(grey), [[400.0, 700.0], [100.0, 0.0]])


def test_variance_takes_one_number():
    assert float(PROFILE.variance(1100)) == pytest.approx(430)


def test_a_mapped_profile_is_the_profile_of_the_mapped_image():
    """Poisson counts times 3 plus 50: deviation and gain are three times as large, correlation stays."""
    mapped = PROFILE.mapped(scale=3.0, offset=50.0)
    for grey in (500.0, 1000.0, 4000.0):
        assert float(mapped.variance(3 * grey + 50)) == pytest.approx(9 * float(PROFILE.variance(grey)))
    assert (mapped.corr_x, mapped.corr_y, mapped.origin) == (0.4, -0.1, "estimated")


def test_mapping_there_and_back_gives_the_same_profile():
    back = PROFILE.mapped(scale=4.0, offset=-8.0).mapped(scale=0.25, offset=2.0)
    assert back.origin == PROFILE.origin
    for field in ("level", "sigma", "slope", "corr_x", "corr_y"):
        assert getattr(back, field) == pytest.approx(getattr(PROFILE, field), rel=1e-12)


def test_condition_of_quantum_noise_has_signal_fraction_one():
    """Variance proportional to u, as of quanta without offset: at 0.5 it is 0.04^2."""
    noise_condition = NoiseProfile(level=0.0, sigma=0.0, slope=2 * 0.04**2, corr_x=0.3).noise_condition()
    assert len(noise_condition) == len(NOISE_CONDITION)
    assert noise_condition.dtype == np.float32
    assert dict(zip(NOISE_CONDITION, noise_condition.tolist(), strict=True)) == pytest.approx(
        {
            "sigma": 0.04,
            "log_sigma": (np.log2(0.04) + 6) / 6,
            "signal_share": 1.0,
            "corr_x": 0.3,
            "corr_y": 0.0,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize(("sigma", "log_sigma"), [(1 / 64, 0.0), (1 / 8, 0.5), (1.0, 1.0)])
def test_log_sigma_runs_from_0_at_a_64th_to_1_at_1(sigma, log_sigma):
    assert NoiseProfile(level=0.5, sigma=sigma).noise_condition()[1] == pytest.approx(log_sigma, abs=1e-6)


def test_condition_of_no_noise_is_finite():
    assert np.isfinite(NoiseProfile(level=0.5, sigma=0.0).noise_condition()).all()
    assert np.isfinite(NoiseProfile(level=0.5, sigma=0.0, slope=-1.0).noise_condition()).all()


def test_signal_fraction_is_cut_to_minus_1_and_1():
    assert NoiseProfile(level=0.5, sigma=0.01, slope=5.0).noise_condition()[2] == 1
    assert NoiseProfile(level=0.5, sigma=0.01, slope=-5.0).noise_condition()[2] == -1


@pytest.mark.parametrize("field", ["level", "sigma", "slope", "corr_x", "corr_y"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(field, value):
    with pytest.raises(InputError, match="noise profile: expected finite"):
        dataclasses.replace(PROFILE, **{field: value})


def test_a_negative_sigma_is_refused():
    with pytest.raises(InputError, match="sigma >= 0"):
        NoiseProfile(level=0.0, sigma=-1e-9)


def test_a_profile_survives_json():
    assert NoiseProfile(**json.loads(json.dumps(PROFILE.as_dict()))) == PROFILE


# Noise that follows no line

CURVED = NoiseProfile(
    level=100.0, sigma=4.0, slope=-0.2, origin="estimated", curve=((50.0, 9.0), (100.0, 4.0), (180.0, 1.0))
)


def test_the_curve_says_the_noise_where_there_is_one():
    """A logarithm's: straight in the logarithm of sigma between the points, the ends hold beyond."""
    grey = np.array([50, 75, 100, 140, 180, 20, 400])
    expected = np.array([9, 6, 4, 2, 1, 9, 1])
    np.testing.assert_allclose(CURVED.variance(grey), expected**2.0)


def test_a_curve_is_mapped_with_the_grey_values():
    mapped = CURVED.mapped(scale=3.0, offset=50.0)
    for grey in (30.0, 66.0, 100.0, 150.0):
        assert float(mapped.variance(3 * grey + 50)) == pytest.approx(9 * float(CURVED.variance(grey)))


def test_the_line_of_a_curve_is_what_networks_are_told():
    line = dataclasses.replace(CURVED, curve=())
    unit, curved = (each.mapped(scale=0.005, offset=0.0) for each in (line, CURVED))
    np.testing.assert_array_equal(curved.noise_condition(), unit.noise_condition())


def test_the_least_variance_between_two_grey_values():
    low, high = np.array([60.0, 110.0, 150.0, 20.0]), np.array([80.0, 110.0, 500.0, 40.0])
    for profile in (CURVED, PROFILE, dataclasses.replace(PROFILE, slope=-0.3)):
        grid = np.linspace(low, high, 400)
        np.testing.assert_allclose(profile.least_variance(low, high), profile.variance(grid).min(axis=0))
    dip = dataclasses.replace(CURVED, curve=((0.0, 5.0), (100.0, 2.0), (200.0, 5.0)))
    assert dip.least_variance(np.array([50.0]), np.array([150.0])) == pytest.approx(4.0)


def test_the_dictionary_of_a_curve_is_ready_for_json():
    assert "curve" not in PROFILE.as_dict()
    assert json.loads(json.dumps(CURVED.as_dict()))["curve"] == [[50.0, 9.0], [100.0, 4.0], [180.0, 1.0]]


@pytest.mark.parametrize(
    "curve",
    [((1.0, 2.0),), ((2.0, 1.0), (1.0, 1.0)), ((1.0, 0.0), (2.0, 1.0)), ((1.0, np.nan), (2.0, 1.0))],
)
def test_a_curve_that_is_none_is_refused(curve):
    with pytest.raises(InputError, match="ascending"):
        NoiseProfile(level=1.0, sigma=1.0, curve=curve)
