"""The noise estimator against the true profile of simulated machines, which it was not trained on."""

from __future__ import annotations

import numpy as np
import pytest
from estimator import errors

from longexposure.machines.machine import load_machine
from longexposure.machines.pairs import draw_pair


@pytest.mark.parametrize(("name", "low", "high"), [("wide", 0.8, 1.15), ("S1", 0.8, 1.1), ("S3", 0.8, 1.1)])
def test_the_estimate_is_near_the_true_noise_in_the_median(name, low, high):
    machine = load_machine(name)
    pairs = (draw_pair(machine, seed=31, index=index, size_px=(192, 192)) for index in range(16))
    rows = [row for pair in pairs if (row := errors(pair)) is not None]
    assert len(rows) >= 8
    assert low < np.exp(np.median([row[0] for row in rows])) < high


def test_line_correlated_noise_is_found_too_low_but_not_by_half():
    machine = load_machine("S2")
    pairs = [draw_pair(machine, seed=31, index=index, size_px=(192, 192)) for index in range(8)]
    ratios = np.exp([row[0] for pair in pairs if (row := errors(pair)) is not None])
    assert 0.6 < np.median(ratios) < 1.0
