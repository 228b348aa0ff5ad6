"""Shift and gain between two exposures, against shifts and gains that were put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter, shift

from longexposure.data.registration import aligned, crops_of, fit_gain, measure_shift
from longexposure.noise.separation import paired_blocks

Array = npt.NDArray[Any]


def scene(size: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(size, size)), 6, mode="reflect")
    image = (smooth - smooth.min()) / np.ptp(smooth)
    y, x = np.mgrid[:size, :size]
    for cy, cx, radius in random.uniform(0, size, (12, 3)):
        image = image * np.where((y - cy) ** 2 + (x - cx) ** 2 < (radius / 20 + 4) ** 2, 0.6, 1)
    return 6000 + 30000 * gaussian_filter(image, 1.0)


def noisy(image: Array, gain: float, seed: int) -> Array:
    random = np.random.default_rng(seed)
    return np.clip(np.rint(image + random.normal(size=image.shape) * np.sqrt(gain * image)), 0, 65535).astype(
        np.uint16
    )


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (0.3, -0.7), (2.4, 1.2), (-5.0, 0.5)])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel_under_noise(dy: float, dx: float) -> None:
    clean = scene(320, 1)
    moved = shift(clean, (dy, dx), order=5, mode="reflect")
    found = measure_shift(noisy(clean, 20, 1), noisy(moved, 20 / 18, 2))
    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((dy, dx), abs=0.05)
    assert found.error < 0.05


def test_noise_without_structure_has_no_shift() -> None:
    flat = np.full((256, 256), 20000.0)
    assert measure_shift(noisy(flat, 20, 1), noisy(flat, 1, 2)) is None


def test_inputs_are_left_as_they_are_and_whole_pixels_are_cut_away_without_interpolation() -> None:
    clean = noisy(scene(96, 2), 1, 0)
    lq, hq = clean[4:, :-3], clean[:-4, 3:]  # hq(y, x) = lq(y - 4, x + 3)
    before = lq.copy(), hq.copy()
    found = measure_shift(lq, hq)
    assert found is not None
    assert (round(found.dy), round(found.dx)) == (4, -3)
    one, other = aligned(lq, hq, found)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(lq, before[0])
    np.testing.assert_array_equal(hq, before[1])


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (1.1, 300.0), (0.5, -1000.0), (18.0, 0.0)])
def test_gain_and_offset_are_found_although_the_regressor_is_noisy(gain: float, offset: float) -> None:
    clean = scene(256, 3) / 20
    lq = clean + np.random.default_rng(1).normal(size=clean.shape) * 3 * np.sqrt(20 * clean)
    hq = gain * (clean + np.random.default_rng(2).normal(size=clean.shape) * np.sqrt(clean)) + offset
    found = fit_gain(paired_blocks(lq.astype(np.float32), hq.astype(np.float32)))
    assert found is not None
    assert found.gain == pytest.approx(gain, rel=max(0.01, 4 * found.error / gain))
    middle = float(np.median(clean))
    assert found.gain * middle + found.offset == pytest.approx(
        gain * middle + offset, abs=0.01 * gain * middle
    )


def test_ordinary_regression_would_have_found_too_small_a_gain() -> None:
    clean = 1000 + (scene(256, 3) - 20000) / 130  # contrast near the noise of block means
    lq = clean + np.random.default_rng(1).normal(size=clean.shape) * 60
    hq = clean + np.random.default_rng(2).normal(size=clean.shape) * 14
    blocks = paired_blocks(lq.astype(np.float32), hq.astype(np.float32))
    plain = float(np.polyfit(blocks.mean_lq, blocks.mean_hq, 1)[0])
    found = fit_gain(blocks)
    assert found is not None
    assert plain < 0.98
    assert abs(found.gain - 1) < 0.5 * (1 - plain)


def test_a_flat_image_has_no_gain() -> None:
    flat = np.full((256, 256), 20000.0)
    assert fit_gain(paired_blocks(noisy(flat, 20, 1), noisy(flat, 1, 2))) is None


def test_crops_lie_inside_and_small_images_are_taken_whole() -> None:
    assert crops_of((100, 80)) == [(slice(0, 100), slice(0, 80))]
    crops = crops_of((1024, 300))
    assert len(crops) == 5
    assert all(rows.stop <= 1024 and columns.stop <= 300 for rows, columns in crops)
