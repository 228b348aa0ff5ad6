"""Ranges: what is drawn from them, which corners are checked, what is refused."""

from __future__ import annotations

from itertools import combinations, product
from math import log

import numpy as np
import pytest
from scipy import stats

from longexposure.errors import RecipeError
from longexposure.simulation.ranges import (
    MOST_CORNERS,
    check_ranges,
    corners,
    is_range,
    ranges,
    value_at,
    with_drawn_values,
)

DOCUMENT = {
    "name": "one",
    "tube": {"kv": {"uniform": [60, 110]}, "plates": [{"mm": {"log": [0.1, 10.0]}}, {"mm": 2}]},
    "shape": {"one_of": ["disc", "gaussian", 3]},
    "tilt": {"uniform": [20.0, 40.0], "fraction": 0.3, "otherwise": 0},
}


def _many(range_: dict[str, object], count: int = 4000) -> list[object]:
    random = np.random.default_rng(5)
    return [with_drawn_values({"value": range_}, random)["value"] for _ in range(count)]


def test_equal_states_draw_equal_documents_and_the_document_stays() -> None:
    before = str(DOCUMENT)
    first, second = (with_drawn_values(DOCUMENT, np.random.default_rng(3)) for _ in range(2))
    assert first == second != with_drawn_values(DOCUMENT, np.random.default_rng(4))
    assert str(DOCUMENT) == before
    assert first["name"] == "one"
    assert first["tube"]["plates"][1] == {"mm": 2}


def test_uniform_and_log_ranges_have_their_distributions() -> None:
    even = np.array(_many({"uniform": [2, 6]}), dtype=float)
    steep = np.array(_many({"log": [0.1, 10]}), dtype=float)
    assert stats.kstest(even, "uniform", args=(2, 4)).pvalue > 1e-3
    assert stats.kstest(np.log(steep), "uniform", args=(log(0.1), log(100))).pvalue > 1e-3
    assert 0.1 <= steep.min() < steep.max() <= 10


def test_choices_are_equally_likely_and_a_fraction_is_one() -> None:
    names = _many({"one_of": ["a", "b", "c"]})
    assert {name: names.count(name) / 4000 for name in "abc"} == pytest.approx(
        dict.fromkeys("abc", 1 / 3), abs=0.03
    )
    tilts = _many({"uniform": [20.0, 40.0], "fraction": 0.3, "otherwise": 0})
    assert sum(tilt != 0 for tilt in tilts) / 4000 == pytest.approx(0.3, abs=0.03)
    assert tilts.count(0) + sum(20 <= tilt <= 40 for tilt in tilts) == 4000  # type: ignore[operator]


def test_the_keys_of_all_ranges_are_told() -> None:
    found = dict(ranges(DOCUMENT))
    assert list(found) == ["tube.kv", "tube.plates.0.mm", "shape", "tilt"]
    assert all(value_at(DOCUMENT, key) == range_ for key, range_ in found.items())


def test_few_ranges_have_all_their_corners() -> None:
    found = [
        (c["tube"]["kv"], c["tube"]["plates"][0]["mm"], c["shape"], c["tilt"])
        for c in corners(DOCUMENT, where="x")
    ]
    assert sorted(map(str, found)) == sorted(
        map(str, product((60, 110), (0.1, 10.0), ("disc", "gaussian", 3), (20.0, 40.0, 0)))
    )


def test_a_document_without_ranges_is_its_own_corner() -> None:
    assert list(corners({"a": [1, {"b": 2}]}, where="x")) == [{"a": [1, {"b": 2}]}]


@pytest.mark.parametrize("count", [7, 8, 31, 32, 40])
def test_of_many_ranges_any_two_have_all_combinations_of_their_ends(count: int) -> None:
    document = {f"k{n}": {"uniform": [0, 1]} for n in range(count)}
    found = [tuple(c.values()) for c in corners(document, where="x")]
    assert len(found) <= MOST_CORNERS
    for first, second in combinations(range(count), 2):
        assert {(row[first], row[second]) for row in found} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_of_many_ranges_every_value_of_a_choice_is_in_a_corner() -> None:
    document = {"choice": {"one_of": list(range(9))}} | {f"k{n}": {"log": [1, 2]} for n in range(6)}
    assert {c["choice"] for c in corners(document, where="x")} == set(range(9))


@pytest.mark.parametrize(
    "range_",
    [
        {"uniform": [3, 1]},
        {"uniform": [1]},
        {"uniform": 3},
        {"uniform": [1, "2"]},
        {"uniform": [True, 2]},
        {"uniform": [1, float("inf")]},
        {"uniform": [float("nan"), 1]},
        {"log": [0, 1]},
        {"log": [-1, 1]},
        {"one_of": []},
        {"one_of": "ab"},
        {"uniform": [0, 1], "log": [1, 2]},
        {"uniform": [0, 1], "fractions": 0.3},
        {"uniform": [0, 1], "fraction": 0.3},
        {"uniform": [0, 1], "otherwise": 0},
        {"uniform": [0, 1], "fraction": 1.1, "otherwise": 0},
        {"uniform": [0, 1], "fraction": True, "otherwise": 0},
        {"uniform": [0, 1], "fraction": "0.3", "otherwise": 0},
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused_by_its_key(range_: dict[str, object]) -> None:
    assert is_range(range_)
    with pytest.raises(RecipeError) as caught:
        check_ranges({"list": [{"deep": range_}]}, where="own.toml")
    assert caught.value.where == "own.toml: list.0.deep"
