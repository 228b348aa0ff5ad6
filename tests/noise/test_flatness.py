"""Standard deviation in flat areas: where it is taken, and that it is what a person would measure there."""

from __future__ import annotations

import numpy as np
import pytest

from longexposure.noise import NoiseProfile, flat_blocks, flat_deviation, left_in_flat_areas

NOISE = NoiseProfile(level=0.0, sigma=5.0)


def white(shape: tuple[int, int], *, sigma: float, seed: int = 0) -> np.ndarray:
    return sigma * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def measured(image: np.ndarray, noise: NoiseProfile = NOISE) -> float:
    return flat_deviation(image, flat_blocks(image, noise))


def test_it_is_the_noise_where_half_of_the_image_is_texture() -> None:
    image = white((256, 256), sigma=5.0)
    image[:, 128:] += white((256, 128), sigma=300.0, seed=1)
    assert measured(image) == pytest.approx(5.0, rel=0.1)


def test_flat_blocks_lie_where_there_is_no_texture() -> None:
    image = white((256, 256), sigma=5.0)
    y, x = np.mgrid[:256, :256]
    image[:, 128:] += 12 * np.sin(2 * np.pi * x / 9)[:, 128:].astype(np.float32)
    columns = flat_blocks(image, NOISE) % (256 // 8)
    assert (columns < 16).mean() > 0.95
    assert y.shape == x.shape


def test_blocks_of_strong_signal_are_not_left_out_for_their_stronger_noise() -> None:
    grey = np.repeat(np.linspace(100.0, 2000.0, 256, dtype=np.float32)[None], 256, axis=0)
    noise = NoiseProfile(level=1000.0, sigma=np.sqrt(1000.0), slope=1.0)
    image = grey + np.sqrt(grey) * white((256, 256), sigma=1.0)
    columns = flat_blocks(image, noise) % (256 // 8)
    assert (columns > 16).mean() > 0.25


def test_it_follows_the_grey_scale_and_ignores_slopes() -> None:
    image = np.round(white((160, 160), sigma=40)) + 3 * np.arange(160, dtype=np.float32)
    noise = NoiseProfile(level=200.0, sigma=40.0)
    first = measured(image, noise)
    assert first == pytest.approx(40, rel=0.15)
    assert measured(4 * image + 100, noise.mapped(scale=4, offset=100)) == pytest.approx(4 * first, rel=1e-5)


def test_a_constant_image_and_one_smaller_than_a_block_have_none() -> None:
    still = NoiseProfile(level=9.0, sigma=0.0)
    assert measured(np.full((64, 64), 9, dtype=np.uint8), still) == 0
    assert measured(np.ones((5, 5), dtype=np.float32), still) == 0
    assert measured(np.ones((1, 300), dtype=np.float32), still) == 0


def test_a_saturated_corner_is_not_taken_for_the_flat_area() -> None:
    image = 1000 + white((256, 256), sigma=5.0)
    image[:48, :48] = 60000.0
    assert measured(image) == pytest.approx(5.0, rel=0.15)


@pytest.mark.parametrize("value", [1000.0, 1200.0, 0.0])
def test_neither_is_a_fill_or_a_copied_border(value: float) -> None:
    image = 1000 + white((256, 256), sigma=5.0)
    image[:100, :128] = value
    image[100:, 200:] = image[100:, 200:201]
    assert measured(image) == pytest.approx(5.0, rel=0.15)


def test_what_is_left_is_a_fraction_of_the_same_places() -> None:
    noise = white((256, 256), sigma=5.0)
    image = 1000 + noise
    image[:, 128:] += 900
    assert left_in_flat_areas(image, 1000 + 0.2 * noise, NOISE) == pytest.approx(0.2, rel=1e-3)
    still = np.full((64, 64), 9, dtype=np.uint8)
    assert left_in_flat_areas(still, still, NoiseProfile(level=9.0, sigma=0.0)) == 1
