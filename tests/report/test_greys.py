"""What a page says of grey values: NumPy's numbers, and the places where more changed than noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from longexposure.noise import NoiseProfile
from longexposure.report import greys
from longexposure.report.greys import (
    NOT_A_NUMBER,
    block_means,
    changed_places,
    halved,
    summary,
    thumbnails,
    window_of,
)

Array = np.ndarray[Any, Any]


def noisy(dtype: str, shape: tuple[int, int] = (61, 47)) -> Array:
    values = np.random.default_rng(5).normal(30_000, 4000, shape)
    return (values / {"uint8": 257, "uint16": 1, "float32": 65535}[dtype]).astype(dtype)


@pytest.fixture(params=[1 << 20, 100])
def band_px(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """In one piece, and in bands of a row or two."""
    monkeypatch.setattr(greys, "BAND_PX", request.param)
    return int(request.param)


@pytest.mark.usefixtures("band_px")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_statistics_and_window_are_those_of_numpy(dtype: str) -> None:
    image = noisy(dtype)
    low, high = np.percentile(image, (0.5, 99.5))
    expected = (low, high) if dtype == "float32" else (np.floor(low), np.ceil(high))
    assert window_of(image) == pytest.approx(expected, rel=1e-6)
    exact = image.astype(np.float64)
    assert summary(image) == pytest.approx((image.size, exact.mean(), exact.std(), exact.min(), exact.max()))


@pytest.mark.usefixtures("band_px")
def test_values_that_are_no_numbers_do_not_count() -> None:
    image = noisy("float32")
    image[3:9, 4], image[20, 20], image[21, 20] = np.nan, np.inf, -np.inf
    finite = image[np.isfinite(image)].astype(np.float64)
    assert summary(image) == pytest.approx(
        (finite.size, finite.mean(), finite.std(), finite.min(), finite.max()), rel=1e-6
    )
    assert window_of(image) == pytest.approx(tuple(np.percentile(finite, (0.5, 99.5))), rel=1e-6)


def test_an_image_without_a_number_has_a_window_and_an_empty_summary() -> None:
    nothing = np.full((5, 6), np.nan, np.float32)
    assert window_of(nothing) == (0, 1)
    assert summary(nothing) == (0, 0, 0, 0, 0)
    _, _, (thumbnail,) = thumbnails([nothing], 3, (0, 1))
    assert (thumbnail == NOT_A_NUMBER).all()
    assert changed_places(nothing, nothing, None) == [(3, 2, 0.0)]


@pytest.mark.usefixtures("band_px")
@pytest.mark.parametrize("side", [1, 2, 5, 16, 100])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_block_means_are_means_of_squares_and_of_what_is_left_at_the_ends(side: int, dtype: str) -> None:
    image = noisy(dtype)
    means = block_means(image, side)
    for row, top in enumerate(range(0, 61, side)):
        for column, left in enumerate(range(0, 47, side)):
            square = image[top : top + side, left : left + side].astype(np.float64)
            assert means[row, column] == pytest.approx(square.mean())
    assert means.shape == (-(-61 // side), -(-47 // side))


def test_thumbnails_share_one_window_and_fit_their_side() -> None:
    before = np.full((90, 130), 1000, np.uint16)
    after = before.copy()
    before[:45] = 3000
    factor, ends, made = thumbnails([before, after], 40, (1000, 3000))
    assert (factor, ends) == (4, (1000, 3000))
    assert [each.shape for each in made] == [(23, 33)] * 2
    assert (made[0][0, 0], made[0][-1, 0], made[1][0, 0]) == (254, 0, 0)
    assert made[0][11, 0] == round(254 / 4)  # one row of four belongs to the bright half


def test_a_hot_pixel_does_not_flatten_the_thumbnail() -> None:
    image = noisy("uint16", (200, 200))
    image[77, 99] = 65535
    _, (low, high), (thumbnail,) = thumbnails([image], 200, window_of(image))
    assert high < 45_000
    assert thumbnail.std() > 30
    assert low > 15_000


def test_halving_a_thumbnail_is_making_a_smaller_one() -> None:
    image = noisy("float32", (64, 80))
    image[8:16, 8:16] = np.nan
    _, ends, (large,) = thumbnails([image], 40, (0.2, 0.8))
    _, _, (small,) = thumbnails([image], 20, ends)
    assert halved(large).shape == small.shape
    np.testing.assert_array_equal(halved(large) == NOT_A_NUMBER, small == NOT_A_NUMBER)
    assert np.abs(halved(large).astype(int) - small).max() <= 2


@pytest.mark.usefixtures("band_px")
@pytest.mark.parametrize("known", [True, False])
def test_a_lost_void_of_four_pixels_is_the_most_changed_place(known: bool) -> None:
    r = np.random.default_rng(0)
    clean = np.full((160, 200), 20_000.0)
    before = r.normal(clean, 400)
    after = r.normal(clean, 60)
    before[48:52, 120:124] += 1600
    noise = NoiseProfile(level=20_000, sigma=400) if known else None
    place = changed_places(before.astype(np.uint16), after.astype(np.uint16), noise)[0]
    assert abs(place.x - 122) <= 8
    assert abs(place.y - 50) <= 8
    assert place.change == pytest.approx(4, rel=0.35)


def test_change_counts_by_the_noise_at_that_grey_value() -> None:
    before = np.full((160, 160), 1000, np.uint16)
    before[:, 80:] = 40_000
    after = before.copy()
    after[40:44, 40:44] += 100  # where the noise is 20
    after[100:104, 120:124] += 200  # where it is 141
    first, second = changed_places(before, after, NoiseProfile(level=0, sigma=0, slope=0.5))[:2]
    assert (first.x // 80, second.x // 80) == (0, 1)
    assert first.change == pytest.approx(100 / np.sqrt(500))
    assert second.change == pytest.approx(200 / np.sqrt(20_000))


def test_places_of_one_image_lie_apart() -> None:
    r = np.random.default_rng(0)
    places = changed_places(*(r.normal(20_000, 400, (200, 300)).astype(np.uint16) for _ in range(2)), None)
    assert len(places) == greys.PLACES
    for number, one in enumerate(places):
        for other in places[:number]:
            assert max(abs(one.x - other.x), abs(one.y - other.y)) >= greys.APART_PX


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (40, 40)])
def test_where_nothing_changed_the_middle_is_shown(shape: tuple[int, int]) -> None:
    image = np.full(shape, 7, np.uint8)
    assert changed_places(image, image, None) == [(shape[1] // 2, shape[0] // 2, 0.0)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (17, 1)])
def test_places_lie_inside_the_smallest_images(shape: tuple[int, int]) -> None:
    before = np.zeros(shape, np.float32)
    (place,) = changed_places(before, before + 1, NoiseProfile(level=0, sigma=0))[:1]
    assert 0 <= place.x < shape[1]
    assert 0 <= place.y < shape[0]
    assert place.change == greys.MOST_CHANGE
