"""Both kinds of random source draw what they say, from the seed alone."""

import numpy as np
import pytest
import torch
from scipy import stats

from longexposure.simulation.random_source import NumpyRandom, TorchRandom, as_numpy, floats, namespace

COUNT = 200_000


def _torch(seed=0):
    return TorchRandom(torch.Generator().manual_seed(seed))


@pytest.fixture(params=["numpy", "torch"])
def make(request):
    return NumpyRandom if request.param == "numpy" else _torch


@pytest.mark.parametrize("mean", [0.3, 4.0, 11.0, 60.0, 3000.0, 80_000.0])
def test_poisson_has_mean_variance_and_skewness_of_the_law(make, mean):
    drawn = as_numpy(make(3).poisson(make(0).array(np.full(COUNT, mean)))).astype(np.float64)
    assert drawn.mean() == pytest.approx(mean, abs=5 * (mean / COUNT) ** 0.5)
    assert drawn.var() == pytest.approx(mean, rel=5 * ((2 + 1 / mean) / COUNT) ** 0.5)
    assert stats.skew(drawn) == pytest.approx(mean**-0.5, abs=5 * ((6 + 30 / mean) / COUNT) ** 0.5)
    np.testing.assert_array_equal(drawn, np.round(drawn))


def test_poisson_of_zero_is_zero(make):
    assert float(make(0).poisson(make(0).array(np.zeros(9))).sum()) == 0


def test_normal_passes_a_kolmogorov_smirnov_test(make):
    assert stats.kstest(as_numpy(make(5).normal((COUNT,))), "norm").pvalue > 1e-4


def test_equal_seeds_give_equal_bits_and_others_do_not(make):
    def draw(seed):
        rng = make(seed)
        mean = rng.array(np.linspace(0, 50, 500))
        parts = rng.poisson(mean), rng.normal((500,))
        return np.concatenate([*map(as_numpy, parts), rng.host().random(5)])

    np.testing.assert_array_equal(draw(7), draw(7))
    assert (draw(7) != draw(8)).mean() > 0.5


def test_numbers_are_float32_and_indices_whole(make):
    rng = make(0)
    mean = rng.array(np.full((2, 3), 4.0))
    for drawn in (mean, rng.poisson(mean), rng.normal((2, 3))):
        assert as_numpy(drawn).dtype == np.float32
        assert tuple(drawn.shape) == (2, 3)
    assert as_numpy(rng.array(np.arange(3))).dtype == np.int64
    assert as_numpy(rng.array(np.array([True, False]))).dtype == np.float32


def test_namespace_is_the_module_of_the_array():
    assert namespace(np.zeros(2)) is np
    assert namespace(torch.zeros(2)) is torch


def test_floats_leaves_float32_alone_and_converts_the_rest():
    single, double = np.ones(2, np.float32), torch.ones(2, dtype=torch.float64)
    assert floats(single) is single
    assert floats(double).dtype == torch.float32


@pytest.mark.gpu
def test_numbers_lie_on_the_device_of_the_generator():
    rng = TorchRandom(torch.Generator("cuda").manual_seed(0))
    mean = rng.array(np.full(COUNT, 40.0))
    assert mean.is_cuda
    assert rng.normal((3,)).is_cuda
    assert float(rng.poisson(mean).var()) == pytest.approx(40, rel=0.02)
