"""What is held back: longer each time, told once for each reason."""

from __future__ import annotations

import pytest

from longexposure.service import holds as module
from longexposure.service.holds import Holds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_each_wait_is_longer_than_the_one_before_up_to_the_longest(clock: Clock) -> None:
    holds, waits = Holds(), []
    for _ in range(6):
        holds.put("a", "why", longest_s=10)
        began = clock.now
        while holds.holds("a"):
            clock.now += 0.5
        waits.append(clock.now - began)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_second_failure_within_a_wait_makes_it_no_longer(clock: Clock) -> None:
    holds = Holds()
    for _ in range(5):
        holds.put("a", "why", longest_s=100)
    clock.now += 1
    assert not holds.holds("a")


def test_a_reason_is_new_once_until_nothing_is_held_for_it(clock: Clock) -> None:
    holds = Holds()
    told = [holds.put(key, reason, longest_s=1) for key, reason in (("a", 1), ("b", 1), ("c", 2), ("a", 1))]
    assert told == [True, False, True, False]
    assert holds.release("a")
    assert not holds.put("d", 1, longest_s=1)
    for key in "bd":
        assert holds.release(key)
    assert holds.put("a", 1, longest_s=1)
    assert not holds.release("never")


def test_what_never_failed_comes_before_what_is_tried_again(clock: Clock) -> None:
    holds = Holds()
    holds.put(1, "why", longest_s=1)
    holds.put("folder", "full", longest_s=1)
    assert [holds.turn(1, "x"), holds.turn(2, "folder"), holds.turn(2, "x")] == [None, None, 0]
    clock.now += 1
    assert [holds.turn(1, "x"), holds.turn(2, "folder"), holds.turn(2, "x")] == [1, 1, 0]


def test_what_another_has_done_is_forgotten_and_what_is_tried_once_is_held_for_good(clock: Clock) -> None:
    holds, once = Holds(), Holds(for_good=True)
    for each in (holds, once):
        each.put("a", "why", longest_s=1)
    clock.now += module.FORGOTTEN_S + 2
    assert holds.put("b", "why", longest_s=1)
    assert len(holds) == 1
    assert not once.put("b", "why", longest_s=1)
    assert once.turn("a") is None
