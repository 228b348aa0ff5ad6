"""POD curves against closed forms, a search over a grid, and curves that are known."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import chi2

from longexposure.errors import InputError
from longexposure.inspection.pod import CONFIDENCE, Pod, fit_pod

A90, SLOPE = 20.0, 3.0
MIDDLE = log(A90) - logit(0.9) / SLOPE


def simulated(
    random: np.random.Generator, count: int = 60, *, floor: float = 0.0, ceiling: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Trials of sizes from 1 to 100, all magnitudes alike."""
    sizes = np.exp((np.arange(count) + random.random(count)) / count * log(100))
    chance = floor + (ceiling - floor) * expit(SLOPE * (np.log(sizes) - MIDDLE))
    return sizes, random.random(count) < chance


def covered(runs: int) -> float:
    """How often the upper bound of a90 lies above the true a90."""
    inside = 0
    for seed in range(runs):
        upper = fit_pod(*simulated(np.random.default_rng(seed))).bounds(0.9)[1]
        inside += upper.relation == ">" or upper.value >= A90
    return inside / runs


def by_grid(sizes: np.ndarray, hits: np.ndarray, probability: float) -> tuple[float, float, float]:
    """Estimate and both bounds by trying every curve of a fine grid."""
    at = np.linspace(log(sizes.min()), log(sizes.max()), 201)
    slopes = np.concatenate([[0.0], np.geomspace(0.02, 90, 300)])
    eta = logit(probability) + slopes[:, None, None] * (np.log(sizes) - at[:, None])
    value = -np.logaddexp(0, np.where(hits, -eta, eta)).sum(axis=-1)
    weight, x = expit(eta) * expit(-eta), np.log(sizes)
    total, first, second = (np.sum(weight * x**power, axis=-1) for power in (0, 1, 2))
    value += 0.5 * np.log(np.maximum(total * second - first**2, 1e-200))
    profile = value.max(axis=0)
    inside = at[profile >= profile.max() - chi2.ppf(0.9, 1) / 2]
    return float(np.exp(at[profile.argmax()])), float(np.exp(inside[0])), float(np.exp(inside[-1]))


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_and_its_bounds_are_those_of_a_search_over_a_grid(seed: int) -> None:
    sizes, hits = simulated(np.random.default_rng(seed), 120)
    pod = fit_pod(sizes, hits)
    assert pod.free == ()
    expected = by_grid(sizes, hits, 0.9)
    low, high = pod.bounds(0.9)
    step = np.exp(log(100) / 200)
    for found, known in zip((pod.size_at(0.9), low, high), expected, strict=True):
        assert known / step**1.5 <= found.value <= known * step**1.5


def test_two_sizes_give_the_logits_of_their_rates() -> None:
    """With two sizes Jeffreys' prior is half a hit and half a miss more at each: a closed form."""
    sizes = np.repeat([2.0, 8.0], 20)
    hits = np.concatenate([np.arange(20) < 4, np.arange(20) < 17])
    low, high = 4.5 / 21, 17.5 / 21
    pod = fit_pod(sizes, hits)
    assert pod.at([2.0, 8.0]) == pytest.approx([low, high], abs=1e-4)
    assert pod.slope == pytest.approx((logit(high) - logit(low)) / log(4), rel=1e-3)


def test_separated_data_have_finite_bounds() -> None:
    sizes = np.geomspace(1, 100, 40)
    pod = fit_pod(sizes, sizes > 10.3)
    low, high = pod.bounds(0.9)
    assert pod.as_dict()["separated"]
    assert 9.5 < pod.size_at(0.5).value < 11.2
    assert low.known
    assert high.known
    assert low.value < 12 < high.value < 50


def test_what_lies_beyond_the_sizes_tried_is_said_to_lie_there() -> None:
    sizes = np.geomspace(1, 10, 30)
    none, every = fit_pod(sizes, np.zeros(30, bool)), fit_pod(sizes, np.ones(30, bool))
    assert str(none.size_at(0.9)) == ">10"
    assert [str(limit) for limit in none.bounds(0.9)][1] == ">10"
    assert str(every.size_at(0.9)) == "<1"
    assert every.bounds(0.9)[0].relation == "<"
    falling = fit_pod(sizes, sizes < 3)
    assert falling.slope == 0
    assert falling.bounds(0.9)[1].relation == ">"


def test_false_finds_where_nothing_is_make_a_floor() -> None:
    random = np.random.default_rng(1)
    sizes, hits = simulated(random, 300, floor=0.2)
    pod = fit_pod(np.concatenate([sizes, np.zeros(300)]), np.concatenate([hits, random.random(300) < 0.2]))
    assert "floor" in pod.free
    assert pod.floor == pytest.approx(0.2, abs=0.05)
    assert pod.at(0.0) == pytest.approx(pod.floor)
    low, high = pod.bounds(0.9)
    assert low.value < pod.size_at(0.9).value < high.value
    assert pod.size_at(0.1).relation == "<"


def test_misses_that_stay_make_a_ceiling_and_no_a90() -> None:
    pod = fit_pod(*simulated(np.random.default_rng(2), 400, ceiling=0.75))
    assert "ceiling" in pod.free
    assert pod.ceiling == pytest.approx(0.75, abs=0.11)
    assert pod.size_at(0.9).relation == ">"
    assert pod.size_at(0.5).known
    assert pod.bounds(0.9)[1].relation == ">"


def test_scaling_all_sizes_scales_the_answers() -> None:
    sizes, hits = simulated(np.random.default_rng(3))
    one, other = fit_pod(sizes, hits), fit_pod(1000 * sizes, hits)
    for first, second in zip(one.bounds(0.9), other.bounds(0.9), strict=True):
        assert second.value == pytest.approx(1000 * first.value, rel=1e-3)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Of 100 runs the binomial spread is 2.2 %: two of it below."""
    assert covered(100) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bound_of_a90_covers_in_93_to_97_percent_of_1000_runs() -> None:
    assert CONFIDENCE == 0.95
    assert 0.93 <= covered(1000) <= 0.97


def test_too_few_trials_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 with a defect"):
        fit_pod([1.0, 2.0, 0.0], [True, False, False])
    with pytest.raises(InputError, match="finite and 0 or more"):
        fit_pod([1.0, -2.0, 3.0, 4.0], [True] * 4)


def test_the_numbers_go_into_json() -> None:
    import json

    pod = fit_pod(*simulated(np.random.default_rng(5)))
    assert isinstance(pod, Pod)
    assert json.loads(json.dumps(pod.as_dict()))["trials"] == 60
