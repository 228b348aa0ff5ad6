"""Padding that copies the border is found; what detectors give is not."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from longexposure import load_enhancer
from longexposure.enhance.copies import find_copied, mirrored_borders
from longexposure.enhance.statistics import examine
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine

VIEWS = sorted((Path(__file__).parents[2] / "examples" / "radiographs").glob("ic_5s_view*.tif"))


def _board(side=160, dtype=np.uint16, seed=0):
    y, x = np.mgrid[:side, :side]
    balls = np.hypot(y % 50 - 25, x % 50 - 25) < 12
    image = 20000 - 6000 * balls + 600 * np.random.default_rng(seed).standard_normal((side, side))
    return (image / (100 if dtype == np.uint8 else 1)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "widths", [((20, 20), (20, 20)), ((5, 0), (0, 0)), ((0, 9), (31, 0)), ((0, 0), (0, 3))]
)
def test_rows_and_columns_that_repeat_the_border_are_found_to_the_pixel(widths, dtype):
    padded = np.pad(_board(dtype=dtype), widths, mode="edge")
    inside = np.pad(np.zeros((160, 160), bool), widths, constant_values=True)
    np.testing.assert_array_equal(find_copied(padded).within(), inside)
    assert mirrored_borders(padded) == ()


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_mirror_images_are_told_with_their_width(mode, dtype):
    padded = np.pad(_board(dtype=dtype), ((24, 0), (0, 40)), mode=mode)
    assert mirrored_borders(padded) == ("24 px at the top", "40 px at the right")
    assert find_copied(padded).count == 0


def test_padding_is_told_set_aside_and_comes_back_to_the_bit():
    padded = np.pad(_board(), 24, mode="edge")
    found = examine(padded)
    padding = padded.size - 160 * 160
    assert padding <= sum(found.set_aside.values()) < padding + 40  # corners are of one value, and grow
    assert any("copied from the next row or column" in text for text in found.warnings(None))
    enhanced = load_enhancer("fast").enhance(padded)
    outside = found.aside.mask.within()
    np.testing.assert_array_equal(enhanced[outside], padded[outside])
    before, after = padded[~outside].astype(float), enhanced[~outside].astype(float)
    assert 200 < (after - before).std() < 700
    alone = load_enhancer("fast").enhance(_board())
    assert np.abs(enhanced[64:-64, 64:-64].astype(float) - alone[40:-40, 40:-40]).mean() < 60
    mirrored = examine(np.pad(_board(), 24, mode="reflect"))
    assert mirrored.set_aside == {}
    assert any("mirror image" in text for text in mirrored.warnings(None))


def _enlarged():
    return _board().repeat(4, axis=0).repeat(4, axis=1)


def _filled():
    image = _board()
    image[:30] = 0
    return image


def _stripes():
    return np.broadcast_to(np.random.default_rng(0).normal(size=(1, 90)).astype(np.float32), (80, 90))


def _symmetric_part():
    """A part that is its own mirror image, noise is not."""
    half = np.round(20000 + 500 * np.sin(np.arange(80) / 5))
    clean = np.concatenate([half, half[::-1]])[:, None] * np.ones(160)
    return (clean + np.random.default_rng(0).normal(0, 50, clean.shape)).astype(np.uint16)


@pytest.mark.parametrize("image", [_enlarged, _filled, _stripes, _board, _symmetric_part])
def test_what_is_no_padding_is_not_taken_for_it(image):
    assert find_copied(image()).count == 0
    assert mirrored_borders(image()) == ()


@pytest.mark.parametrize("name", ["wide", "S1", "S2", "S3"])
def test_nothing_of_simulated_exposures_and_real_views_is(name):
    machine = load_machine(name)
    images = [draw_pair(machine, seed=5, index=index, size_px=(128, 160)).lq for index in range(6)]
    for image in (*images, *(tifffile.imread(file) for file in VIEWS)):
        assert find_copied(image).count == 0
        assert mirrored_borders(image) == ()
