"""Masks: packed marks say what a boolean image says."""

import numpy as np
import pytest

from longexposure.masks import Mask


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (16, 24), (33, 65), (40, 7)])
def test_a_mask_says_what_was_marked(shape: tuple[int, int]) -> None:
    marked = np.random.default_rng(3).random(shape) < 0.2
    mask = Mask.of(marked)
    assert mask.count == marked.sum()
    assert mask.fraction == pytest.approx(marked.mean())
    np.testing.assert_array_equal(mask.within(), marked)
    np.testing.assert_array_equal(mask.within(slice(2, 11), slice(1, 6)), marked[2:11, 1:6])
    np.testing.assert_array_equal(mask.within(slice(None, None, 3)), marked[::3])


@pytest.mark.parametrize("side", [8, 16])
def test_blocks_are_those_with_a_mark(side: int) -> None:
    marked = np.random.default_rng(4).random((50, 70)) < 0.01
    whole = marked[: 50 // side * side, : 70 // side * side]
    expected = whole.reshape(50 // side, side, 70 // side, side).any(axis=(1, 3))
    np.testing.assert_array_equal(Mask.of(marked).blocks(side), expected)


def test_an_empty_mask_marks_nothing() -> None:
    mask = Mask.empty((5, 20))
    assert mask.count == 0
    assert not mask.within().any()
    assert mask.packed.strides == (0, 0)


@pytest.mark.parametrize("shape", [(7, 9), (16, 24)])
def test_two_masks_together_mark_what_one_of_them_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    one, other = (rng.random(shape) < 0.2 for _ in range(2))
    both = Mask.of(one) | Mask.of(other)
    np.testing.assert_array_equal(both.within(), one | other)
    assert both.count == (one | other).sum()
    assert (Mask.of(one) | Mask.empty(shape)).count == (Mask.empty(shape) | Mask.of(one)).count == one.sum()
