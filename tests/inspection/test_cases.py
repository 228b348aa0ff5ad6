"""Cases: one defect of a known visibility, and nothing else that differs."""

from __future__ import annotations

import numpy as np
import pytest

from longexposure.errors import RecipeError
from longexposure.inspection.cases import VISIBILITIES, Case, check_kinds, draw_case, still
from longexposure.simulation.defects.catalogue import DEFECTS
from longexposure.simulation.exposure import draw_insertion, draw_pair
from longexposure.simulation.machine import load_machine

KEY = (0, 1, 0)


@pytest.fixture(scope="module")
def case() -> Case:
    return draw_case(still("S1"), "bridge", phase="test", number=3, side_px=128)


def test_a_case_has_the_visibility_of_its_place_or_its_whole_defect(case: Case) -> None:
    low, high = VISIBILITIES
    wanted = low * (high / low) ** ((0.5 + 3 * 0.6180339887498949) % 1)
    assert case.visibility == pytest.approx(min(wanted, case.whole), rel=0.5)  # thin solder attenuates more
    assert 0 < case.strength <= 1


def test_the_scenes_differ_by_the_defect_alone(case: Case) -> None:
    changed = np.abs(case.signal) > 0.05 * np.abs(case.signal).max()
    assert case.near[changed].all()
    assert 0 < case.near.mean() < 0.3
    y, x = case.middle
    assert case.near[y, x] or case.near.any()
    assert case.faulty.panel is case.sound.panel


def test_equal_arguments_give_equal_cases_and_the_phases_other_scenes(case: Case) -> None:
    again = draw_case(still("S1"), "bridge", phase="test", number=3, side_px=128)
    assert np.array_equal(again.faulty.arriving, case.faulty.arriving)
    other = draw_case(still("S1"), "bridge", phase="tuning", number=3, side_px=128)
    assert other.key[1] != case.key[1]
    assert not np.array_equal(other.sound.arriving, case.sound.arriving)


def test_strength_scales_the_change_and_none_leaves_the_sound_part() -> None:
    insertion = draw_insertion(still("S1"), key=KEY, kind="particle", size_px=(96, 96))
    assert insertion is not None
    changes = []
    for strength in (0.0, 0.01, 0.02, 1.0):
        faulty, sound = insertion.prepared(strength)
        changes.append(np.abs(faulty.arriving - sound.arriving).max())
    assert changes[0] == 0
    assert changes[2] == pytest.approx(2 * changes[1], rel=0.05)
    assert changes[3] > changes[2]
    with pytest.raises(RecipeError, match="0 to 1"):
        insertion.prepared(1.5)


def test_an_insertion_at_full_strength_is_the_pair_with_that_defect() -> None:
    """The streams of pairs are as they were: the sound scene of an insertion is that of its pair."""
    insertion = draw_insertion(load_machine("S1"), key=KEY, kind="particle", size_px=(96, 96))
    assert insertion is not None
    pair = draw_pair(load_machine("S1"), seed=0, index=0, split="test", size_px=(96, 96))
    assert insertion.prepared()[1].clean == pytest.approx(pair.clean, rel=1e-5)


def test_a_still_machine_neither_drifts_nor_moves_nor_has_faulty_pixels() -> None:
    parameters = still("S1").parameters(np.random.default_rng(0))
    assert (parameters.exposures.drift, parameters.exposures.shift_x_px) == (0, 0)
    assert parameters.panel.bad.single == 0
    assert load_machine("S1").parameters(np.random.default_rng(0)).panel.bad.single > 0


def test_unknown_defects_and_machines_that_cannot_have_one_are_refused_in_a_line() -> None:
    assert check_kinds([]) == list(DEFECTS)
    with pytest.raises(RecipeError, match="defect 'hole': expected one of void, "):
        check_kinds(["hole"])
    indicators = still("S1", ["scenes={hole_iqi=1.0}"])
    with pytest.raises(RecipeError, match="bridge: expected a scene that can have this defect"):
        draw_case(indicators, "bridge", phase="test", number=0, side_px=32)
