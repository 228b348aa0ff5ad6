"""Worth in exposures of inputs whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from longexposure.inspection.equivalence import Comparison, compare

NAMES = ["short", "worse", "as four", "much better", "mean of 2", "mean of 4", "mean of 8"]
WORTH = np.array([1.0, 0.3, 4.0, 60.0, 2.0, 4.0, 8.0])
FRAMES = {"short": 1, "mean of 2": 2, "mean of 4": 4, "mean of 8": 8}


@pytest.fixture(scope="module")
def compared() -> Comparison:
    random = np.random.default_rng(0)
    count = 400
    a = np.exp(random.uniform(0, np.log(100), count))
    kinds = ["one" if number % 2 else "other" for number in range(count)]
    middle = np.where(np.arange(count) % 2, 10.0, 25.0)
    effective = a[:, None] * np.sqrt(WORTH)
    hits = random.random((count, len(NAMES))) < expit(3 * np.log(effective / middle[:, None]))
    said = 0.4 * effective + random.standard_normal((count, len(NAMES)))
    return compare(NAMES, FRAMES, kinds=kinds, visibility=a, hits=hits, decisions=said, draws=100)


@pytest.mark.parametrize("worth", ["by_hits", "by_index"])
def test_an_input_is_worth_the_exposures_that_it_was_made_of(compared: Comparison, worth: str) -> None:
    found = getattr(compared, worth)["as four"]
    assert found.exposures.known
    assert found.low.value <= 4 <= found.high.value
    assert found.exposures.value == pytest.approx(4, rel=0.4)
    assert found.low.value < found.exposures.value < found.high.value


def test_beyond_what_was_tried_nothing_is_said(compared: Comparison) -> None:
    assert str(compared.by_hits["worse"].exposures) == "<1"
    assert str(compared.by_hits["much better"].exposures) == ">8"
    assert str(compared.by_hits["short"].exposures) == "1"


def test_the_size_that_is_found_as_often_goes_with_the_root_of_the_exposures(compared: Comparison) -> None:
    ratio = compared.sizes["as four"]
    assert ratio.low < 0.5 < ratio.high
    assert ratio.value == pytest.approx(0.5, rel=0.2)
    assert compared.sizes["short"].value == 1


def test_the_index_grows_with_the_root_of_the_exposures(compared: Comparison) -> None:
    assert compared.index["short"] == pytest.approx(0.4, rel=0.05)
    assert compared.index["mean of 4"] == pytest.approx(0.8, rel=0.05)


def test_hits_that_are_separated_leave_everything_finite() -> None:
    a = np.geomspace(1, 100, 24)
    hits = np.stack([a > 20, a > 10, a > 14, a > 10], axis=1)
    found = compare(["short", "x", "mean of 2", "mean of 4"], {"short": 1, "mean of 2": 2, "mean of 4": 4},
                    kinds=["one"] * 24, visibility=a, hits=hits, draws=20)  # fmt: skip
    assert np.isfinite([found.sizes["x"].value, found.sizes["x"].low, found.sizes["x"].high]).all()
    assert found.by_hits["x"].exposures.value == pytest.approx(4, rel=0.05)
