"""The grey map: robust, exactly invertible, and equivariant under any rescaling."""

from __future__ import annotations

import numpy as np
import pytest

from longexposure import grey
from longexposure.grey import GreyMap, evenly_sampled, measure_grey, to_type


def back(found: GreyMap, unit: np.ndarray) -> np.ndarray:
    """The grey values that the map takes there."""
    return (unit.astype(np.float64) - found.offset) / found.scale


def scene(seed: int = 0, shape: tuple[int, int] = (90, 120)) -> np.ndarray:
    return np.random.default_rng(seed).normal(20000, 3000, shape).clip(0, 65535)


def test_1st_and_99th_percentile_become_0_and_1():
    ramp = np.linspace(100, 1100, 1001, dtype=np.float32)[None].repeat(3, axis=0)
    unit = measure_grey(ramp).to_unit(ramp)
    assert unit[0, 10] == pytest.approx(0, abs=1e-5)
    assert unit[0, 990] == pytest.approx(1, abs=1e-5)
    assert unit.min() < 0 < 1 < unit.max(), "values beyond the percentiles are not cut off"
    assert (unit.dtype, unit.shape) == (np.float32, ramp.shape)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_constant_image_is_only_shifted(dtype, level):
    image = np.full((4, 5), level, dtype)
    found = measure_grey(image)
    assert found == GreyMap(scale=1.0, offset=-float(level))
    assert not found.to_unit(image).any()


@pytest.mark.parametrize(("low", "high"), [(0, 255), (3, 4), (100, 65535)])
@pytest.mark.parametrize("fraction", [0.5, 0.001, 0.999])
def test_two_grey_values_become_0_and_1_however_rare_one_is(low, high, fraction):
    image = np.where(np.arange(4000).reshape(40, 100) < 4000 * fraction, low, high).astype(np.uint16)
    assert np.array_equal(np.unique(measure_grey(image).to_unit(image)), [0.0, 1.0])


@pytest.mark.parametrize("value", [0, 65535])
def test_hot_or_dead_pixels_below_1_percent_do_not_move_it(value):
    image = scene().round().astype(np.uint16)
    spoilt = image.copy()
    spoilt.flat[:: image.size // 80] = value  # 0.75 %
    clean, moved = measure_grey(image), measure_grey(spoilt)
    assert moved.scale == pytest.approx(clean.scale, rel=0.15)
    assert moved.to_unit(image).mean() == pytest.approx(clean.to_unit(image).mean(), abs=0.15)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_comes_back_exactly(dtype):
    top = np.iinfo(dtype).max
    every = np.arange(top + 1, dtype=dtype).reshape(16, -1)
    found = measure_grey(every)
    assert np.array_equal(to_type(back(found, found.to_unit(every)), dtype), every)


def test_float_values_come_back_within_float_rounding():
    image = scene().astype(np.float32)
    found = measure_grey(image)
    np.testing.assert_allclose(back(found, found.to_unit(image)), image, rtol=0, atol=4e-7 / found.scale)


def test_values_outside_an_integer_type_are_cut_at_its_ends_and_rounded():
    values = np.array([-3.0, -0.4, 0.6, 254.5, 255.4, 400.0])
    assert to_type(values, np.uint8).tolist() == [0, 0, 1, 254, 255, 255]
    assert to_type(values, "float32").tolist() == values.astype(np.float32).tolist()
    assert to_type(values, np.uint8).dtype == np.uint8


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.0), (0.001, -4.0), (1e25, 0.0), (1e-30, 0.0), (1.0, 1e5)])
def test_the_map_follows_a_rescaling_of_the_grey_values(a, b):
    image = scene().astype(np.float32)
    scaled = (a * image.astype(np.float64) + b).astype(np.float32)
    unit = measure_grey(image).to_unit(image)
    rounding = 1e-5 * max(1.0, abs(b) / (a * 20000))
    np.testing.assert_allclose(measure_grey(scaled).to_unit(scaled), unit, rtol=0, atol=rounding)


def test_input_is_not_modified():
    image = scene().astype(np.float32)
    before = image.copy()
    image.flags.writeable = False
    found = measure_grey(image)
    found.to_unit(image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (100, 1), (37, 53)])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_sample_is_even_and_no_larger_than_asked(shape, count):
    image = np.arange(np.prod(shape)).reshape(shape)
    sample = evenly_sampled(image, count)
    assert 1 <= sample.size <= count
    rows, columns = np.divmod(sample, shape[1])
    steps = {*np.diff(rows[:, 0]).tolist(), *np.diff(columns[0]).tolist()}
    assert len(steps) <= 1, "as many rows are left out as columns"
    step = max(steps, default=max(shape))
    assert image[:: step - 1, :: step - 1].size > count if step > 1 else sample.size == image.size
    assert sample[0, 0] == image[0, 0]
    assert np.shares_memory(sample, image)


def test_an_image_with_few_pixels_is_taken_whole():
    image = np.arange(12).reshape(3, 4)
    assert np.array_equal(evenly_sampled(image, 12), image)


def test_huge_images_are_sampled_with_nearly_the_same_map(monkeypatch):
    image = scene(shape=(400, 500)).round().astype(np.uint16)
    whole = measure_grey(image)
    seen = []
    percentile = np.percentile

    def watched(values, *args):
        seen.append(values.size)
        return percentile(values, *args)

    monkeypatch.setattr(grey, "SAMPLE", 10000)
    monkeypatch.setattr(np, "percentile", watched)
    sampled = measure_grey(image)
    assert 2000 < seen[0] <= 10000
    assert sampled.scale == pytest.approx(whole.scale, rel=0.03)
