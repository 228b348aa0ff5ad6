"""Dead, saturated and wild pixels of any number, shape and density: found, filled, and in bounded time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from longexposure.enhance.bad_pixels import GRAPHICS, LINE
from longexposure.enhance.beyond import stuck_values
from longexposure.enhance.statistics import examine

SIGMA, LEVEL, SIDE = 173.0, 30000.0, 320


def grain(seed: int = 1, side: int = SIDE) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(LEVEL, SIGMA, (side, side))).astype(np.uint16)


def spoilt(where: np.ndarray, value: object = 0, seed: int = 1) -> np.ndarray:
    image = grain(seed, len(where))
    image[where] = value
    return image


def found_in(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faulty pixels, and those that are no picture of the part."""
    marks = examine(image).marks()
    return (marks > 0) & (marks != GRAPHICS), marks == GRAPHICS


def part(rows: slice, columns: slice, side: int = SIDE) -> np.ndarray:
    marked = np.zeros((side, side), bool)
    marked[rows, columns] = True
    return marked


def balls(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    clean = np.where(np.hypot(y % 60 - 30, x % 60 - 30) < 15, 11000.0, 20000.0)
    return gaussian_filter(clean, 1.2)


@pytest.mark.parametrize(("share", "value"), [(0.01, 65535), (0.03, 0), (0.12, 65535), (0.3, 0)])
def test_scattered_dead_pixels_of_any_share_are_found_and_filled(share, value):
    clean = balls(256)
    image = np.rint(np.random.default_rng(2).normal(clean, 800)).astype(np.uint16)
    dead = np.random.default_rng(7).random(image.shape) < share
    image[dead] = value
    statistics = examine(image)
    faulty = statistics.bad_pixels
    assert dead[faulty.y, faulty.x].sum() >= 0.98 * dead.sum()
    assert (~dead)[faulty.y, faulty.x].sum() <= 1
    error = (faulty.value - clean[faulty.y, faulty.x]) / 800
    assert np.sqrt(np.square(error).mean()) < 0.8
    assert statistics.noise.sigma == pytest.approx(800, rel=0.1)


@pytest.mark.parametrize("kind", ["scattered", "pairs", "grid"])
def test_the_time_is_bounded_for_many_faults(kind):
    dead = np.random.default_rng(3).random((SIDE, SIDE)) < 0.04
    if kind == "pairs":
        dead[:, 1:] |= dead[:, :-1]
    if kind == "grid":
        dead = np.zeros_like(dead)
        dead[20::40] = dead[:, 17::40] = True
    image = np.rint(np.random.default_rng(2).normal(balls(SIDE), 800)).astype(np.uint16)
    image[dead] = 0
    start = time.process_time()
    examine(image)
    assert time.process_time() - start < 8  # it took more than 50


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize("value", [0, 65535])
def test_good_pixels_in_a_dense_dead_region_stay_good(density, value):
    region = part(slice(150, 173), slice(31, 50))
    dead = region & (np.random.default_rng(5).random(region.shape) < density)
    faulty, aside = found_in(spoilt(dead, value))
    assert not (faulty & ~dead).any()
    # what is nearly solid may be set aside as an area of one value
    assert (faulty | aside)[dead].mean() > 0.97 if density > 0.8 else np.array_equal(faulty, dead)


@pytest.mark.parametrize("size", [(1, 3), (2, 2), (3, 2), (2, 5)])
@pytest.mark.parametrize("value", [0, 65535])
def test_clusters_in_the_corners_are_found(size, value):
    dead = part(slice(size[0]), slice(size[1]))
    for turned in (dead, dead[::-1], dead[:, ::-1], dead[::-1, ::-1]):
        assert np.array_equal(found_in(spoilt(turned, value))[0], turned)


@pytest.mark.parametrize("value", [0, 65535, 34000])
@pytest.mark.parametrize("place", ["first", "last", "inside"])
@pytest.mark.parametrize("axis", [0, 1])
def test_bands_of_4_px_are_lines(axis, place, value):
    columns = {"first": slice(4), "last": slice(-4, None), "inside": slice(131, 135)}[place]
    band = part(slice(None), columns)
    band = band.T if axis else band
    image = spoilt(band, value)
    statistics = examine(image)
    assert np.array_equal(statistics.marks() == LINE, band)
    assert np.abs(statistics.bad_pixels.value - LEVEL).max() < 3 * SIGMA


@pytest.mark.parametrize("width", [2, 3, 4])
def test_scale_bars_up_to_4_px_come_back(width):
    bar = part(slice(250, 250 + width), slice(60, 150))
    faulty, graphics = found_in(spoilt(bar, 65535))
    assert np.array_equal(graphics, bar)
    assert not faulty.any()


def rows_of(size: int, period: int) -> np.ndarray:
    index = np.arange(SIDE)
    return (index >= 40) & (index < 200) & ((index - 40) % period < size)


REGULAR = {
    "2x2 in a row": rows_of(2, 4)[None] & rows_of(2, 400)[:, None],
    "2x2 in a column": rows_of(2, 400)[None] & rows_of(2, 5)[:, None],
    "3x3 in a row": rows_of(3, 6)[None] & rows_of(3, 400)[:, None],
    "diagonal": np.eye(SIDE, k=-21, dtype=bool),
    "other diagonal": np.eye(SIDE, k=30, dtype=bool)[:, ::-1],
    "every 5th": (np.mgrid[:SIDE, :SIDE] % 5 == 2).all(axis=0),
    "every 8th": (np.mgrid[:SIDE, :SIDE] % 8 == 3).all(axis=0),
}


@pytest.mark.parametrize("name", REGULAR)
def test_faults_in_a_regular_order_are_faults(name):
    dead = REGULAR[name]
    statistics = examine(spoilt(dead))
    marks = statistics.marks()
    assert np.array_equal((marks > 0) & (marks != GRAPHICS), dead)
    assert statistics.noise.sigma == pytest.approx(SIGMA, rel=0.05)


@pytest.mark.parametrize(("height", "width"), [(6, 9), (11, 11), (35, 60)])
def test_wild_regions_are_found(height, width):
    wild = part(slice(90, 90 + height), slice(140, 140 + width))
    value = np.random.default_rng(4).integers(0, 65536, int(wild.sum()))
    faulty, _ = found_in(spoilt(wild, value))
    assert (faulty & wild).sum() >= 0.95 * wild.sum()
    assert not (faulty & ~wild).any()


def test_values_are_stuck_only_far_from_all_others():
    assert stuck_values(grain(), None) == ()
    assert stuck_values(np.minimum(grain(), 30100), None) == ()
    dead = np.random.default_rng(0).random((SIDE, SIDE)) < 0.02
    hot = np.roll(dead, 1, axis=1)
    assert set(stuck_values(np.where(hot, 65535, spoilt(dead)).astype(np.uint16), None)) <= {0.0, 65535.0}
    assert stuck_values(spoilt(dead), None) == (0.0,)
    assert stuck_values(np.zeros((9, 9), np.uint8), None) == ()
