"""Moments, histogram and normality against scipy.stats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from longexposure.noise.distribution import Histogram, Moments, gaussian, normality

SAMPLES = {
    "gaussian": np.random.default_rng(0).normal(3, 2, 20000),
    "skewed": np.random.default_rng(1).gamma(4, 2, 20000),
    "heavy": np.random.default_rng(2).standard_t(6, 20000),
    "flat": np.random.default_rng(3).uniform(-1, 1, 20000),
}


def gathered(values: Any, width: float) -> tuple[Moments, Histogram]:
    histogram = Histogram(width)
    total = Moments()
    for part in np.array_split(values, 7):
        total = total + Moments.of(part)
        histogram.add(part)
    return total, histogram


@pytest.mark.parametrize("name", SAMPLES)
def test_moments_added_up_are_those_of_scipy(name: str) -> None:
    values = SAMPLES[name]
    moments, _ = gathered(values, 0.01)
    assert moments.count == len(values)
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.variance == pytest.approx(values.var(), rel=1e-12)
    assert moments.skewness == pytest.approx(stats.skew(values), abs=1e-10)
    assert moments.kurtosis == pytest.approx(stats.kurtosis(values), abs=1e-10)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_where_values_are_cut_in_two_does_not_matter(values: list[float], cut: int) -> None:
    array = np.array(values)
    both = Moments.of(array[:cut]) + Moments.of(array[cut:])
    whole = Moments.of(array)
    assert both.count == whole.count
    assert both.sum2 == pytest.approx(whole.sum2, rel=1e-9, abs=1e-6)
    assert both.sum4 == pytest.approx(whole.sum4, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("name", SAMPLES)
def test_k2_is_that_of_scipy(name: str) -> None:
    found = normality(*gathered(SAMPLES[name], 0.001))
    assert found is not None
    statistic, p_value = stats.normaltest(SAMPLES[name])
    assert found.k2 == pytest.approx(statistic, rel=1e-6)
    assert found.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_largest_gap_is_that_of_scipy(name: str) -> None:
    values = SAMPLES[name]
    found = normality(*gathered(values, 0.001))
    assert found is not None
    expected = stats.kstest(values, "norm", (values.mean(), values.std())).statistic
    assert found.distance == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize("name", SAMPLES)
def test_anderson_and_darlings_statistic_is_that_of_its_definition(name: str) -> None:
    values = np.sort(SAMPLES[name])
    n = len(values)
    p = stats.norm.cdf(values, values.mean(), values.std())
    p = np.clip(p, 1e-300, 1 - 1e-16)
    i = np.arange(1, n + 1)
    expected = -n - np.mean((2 * i - 1) * (np.log(p) + np.log1p(-p[::-1])))
    found = normality(*gathered(values, 0.001))
    assert found is not None
    assert found.anderson_darling == pytest.approx(expected, rel=0.03, abs=0.05)


def test_a_gaussian_rounded_to_whole_grey_values_stays_one() -> None:
    values = np.rint(np.random.default_rng(5).normal(0.3, 4, 10**6)).astype(np.int32)
    found = normality(*gathered(values, 1))
    assert found is not None
    assert found.distance < 2 * found.chance_distance
    assert stats.kstest(values[:10000], "norm", (0.3, 4)).statistic > 0.04  # taken as it is, it would not


def test_a_gap_is_noticed_from_the_stated_number_of_values() -> None:
    found = normality(*gathered(SAMPLES["flat"], 0.001))
    assert found is not None
    assert found.distance == pytest.approx(0.0573, abs=0.006)  # the flat against the Gaussian distribution
    assert found.noticed_from == pytest.approx((0.895 / found.distance) ** 2)
    assert found.distance > found.chance_distance


def test_the_histogram_counts_every_value_once_and_its_density_is_one() -> None:
    values = SAMPLES["gaussian"]
    _, histogram = gathered(values, 0.05)
    assert histogram.counts.sum() == len(values)
    at = np.rint(values / 0.05)
    for centre in (3.0, 1.5, 7.05):
        index = round((centre - histogram.centres[0]) / 0.05)
        assert histogram.counts[index] == (at == round(centre / 0.05)).sum()
    centres, density = histogram.merged(80)
    assert density.sum() * (centres[1] - centres[0]) == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(density[30:50], gaussian(centres, mean=3, sd=2)[30:50], rtol=0.15)


def test_values_all_alike_or_few_have_no_distribution() -> None:
    assert normality(*gathered(np.zeros(100), 1)) is None
    assert normality(*gathered(np.arange(7.0), 1)) is None
