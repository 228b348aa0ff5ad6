"""Lines of conductors and the clear distances between them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import KDTree

from longexposure.simulation.scenes.components.conductors import (
    Conductors,
    gaps_um,
    meandered,
    parallel,
    rounded,
    segments,
)


def _sampled(points, step):
    points = np.asarray(points, float)
    pieces = [
        a + np.linspace(0, 1, max(int(np.hypot(*(b - a)) / step), 1) + 1)[:, None] * (b - a)
        for a, b in pairwise(points)
    ]
    return np.vstack(pieces)


def _length(points):
    return np.hypot(*np.diff(points, axis=0).T).sum()


def test_parallel_line_keeps_its_distance_everywhere():
    line = np.array([[0, 0], [100, 0], [170, 70], [170, 200]], float)
    for offset in (-12.0, 12.0):
        points = _sampled(parallel(line, offset), 1.0)
        reference = _sampled(line, 0.1)
        distance = np.min(np.hypot(*(points[:, None] - reference[None]).transpose(2, 0, 1)), axis=1)
        assert np.abs(distance).min() == pytest.approx(12.0, abs=0.05)
        assert distance.max() <= 12.0 / np.cos(np.radians(22.5)) + 0.05  # the mitres of 45 degrees
    np.testing.assert_allclose(parallel(line, 12.0)[0], [0, 12])


def test_rounded_corner_is_the_arc_that_touches_both_legs():
    points = rounded([[0, 0], [100, 0], [100, 100]], 30.0, 0.05)
    np.testing.assert_allclose(points[[0, -1]], [[0, 0], [100, 100]])
    arc = points[1:-1]
    np.testing.assert_allclose(arc[[0, -1]], [[70, 0], [100, 30]], atol=1e-9)
    np.testing.assert_allclose(np.hypot(*(arc - [70, 30]).T), 30.0)
    assert np.hypot(*((arc[1:] + arc[:-1]) / 2 - [70, 30]).T).min() >= 30.0 - 0.05


def test_rounding_leaves_a_straight_line_and_fits_short_legs():
    straight = np.array([[0, 0], [50, 0], [100, 0]], float)
    np.testing.assert_array_equal(rounded(straight, 20.0, 0.1), straight)
    tight = rounded([[0, 0], [10, 0], [10, 10], [20, 10]], 500.0, 0.01)
    assert tight[:, 0].min() >= 0
    assert tight[:, 0].max() <= 20
    assert _length(tight) < 30


def test_meander_lengthens_the_line_within_its_rise():
    line = np.array([[-2000.0, 0.0], [2000.0, 0.0]])
    longer = meandered(line, np.random.default_rng(3), rise=200.0, tooth=80.0)
    np.testing.assert_array_equal(longer[[0, -1]], line)
    assert longer[:, 1].min() == pytest.approx(0.0, abs=1e-9)
    assert longer[:, 1].max() == pytest.approx(200.0, rel=0.1)
    assert _length(longer) > _length(line) + 3 * 200.0
    assert np.all(np.diff(longer[:, 0]) > -1e-9), "no tooth leans back"


def test_clear_distance_is_that_of_dense_samples():
    random = np.random.default_rng(11)
    copper, lines = Conductors(), []
    for _ in range(12):
        points = np.cumsum(random.normal(0, 60, (4, 2)), axis=0) + random.uniform(-400, 400, 2)
        lines.append((points, float(random.uniform(5, 20)), int(random.integers(2))))
        copper.add(*lines[-1])
    for _ in range(20):
        points, width = np.cumsum(random.normal(0, 50, (3, 2)), axis=0), 8.0
        tree = KDTree(_sampled(points, 0.1))
        expected = min(
            tree.query(_sampled(p, 0.1))[0].min() - w / 2 - 4 for p, w, level in lines if level == 1
        )
        found = copper.clear_um(points, width, 1, within=1e4)
        assert found == pytest.approx(expected, abs=0.15)


def test_discs_are_checked_on_every_level_that_they_lie_on():
    copper = Conductors()
    copper.add(np.array([[0.0, 0.0], [100.0, 0.0]]), 10.0, 1)
    at = np.array([50.0, 40.0])
    assert copper.clear_of_discs_um(at, np.array([9.0, 15.0, 9.0])) == pytest.approx(20.0)
    assert copper.clear_of_discs_um(at, np.array([9.0, 0.0, 9.0])) == np.inf
    copper.add_discs(at, np.array([5.0, 0.0, 0.0]))
    assert copper.clear_of_discs_um(np.array([50.0, 70.0]), np.array([5.0, 0.0, 0.0])) == pytest.approx(20.0)


def test_gaps_of_known_strips():
    strips = [
        segments(np.array([[0.0, y], [100.0, y]]), 10.0, level)
        for y, level in ((0, 0), (30, 0), (45, 0), (5, 1))
    ]
    assert gaps_um(strips, [0, 1, 3], within=1000.0) == [20.0, 5.0, np.inf]
    assert gaps_um(strips, [0], within=10.0) == [np.inf]
