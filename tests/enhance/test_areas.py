"""What is no picture of the part is found, whatever its value and place, and comes back to the bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, rotate

from longexposure.enhance import areas, constant
from longexposure.enhance.areas import REACH, find_set_aside
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.statistics import examine
from longexposure.errors import InputError
from longexposure.grey import measure_grey
from longexposure.models.classical import Gaussian
from longexposure.radiograph import Radiograph

N, SIGMA = 256, 800.0
Y, X = np.mgrid[:N, :N]


def balls(size: int = N) -> np.ndarray:
    """A package of dark balls without noise, float64."""
    y, x = np.mgrid[:size, :size]
    scene = np.full((size, size), 20000.0)
    for cy, cx in itertools.product(range(40, size, 60), repeat=2):
        scene[(y - cy) ** 2 + (x - cx) ** 2 <= 15**2] = 9000
    return gaussian_filter(scene, 1.2)


CLEAN = balls()
NOISY = np.random.default_rng(1).normal(CLEAN, SIGMA)

NO_DATA = [np.nan, np.inf, -np.inf, np.finfo(np.float32).min, -9999.0, -1.0, 0.0, 65535.0]
PLACES = {
    "a corner": (Y < 40) & (X < 40),
    "half a per cent": (abs(Y - 100) < 10) & (abs(X - 70) < 9),
    "a frame": (Y < 9) | (Y >= N - 9) | (X < 9) | (X >= N - 9),
    "half": X < N // 2,
    "nine tenths": (Y >= 80) | (X >= 80),
    "outside a disc": (Y - 128) ** 2 + (X - 128) ** 2 > 120**2,
    "several": ((Y < 30) & (X < 50)) | ((Y > 200) & (X > 210)) | ((Y - 130) ** 2 + (X - 130) ** 2 < 20**2),
    "a slanting band": abs(Y - X) < 8,
}
VALUES = {
    "black": 0,
    "a ball's": 9000,
    "grey": 15000,
    "the mean": 18100,
    "the background's": 20000,
    "white": 65535,
}


def stored(scene: np.ndarray, dtype: str) -> np.ndarray:
    """Grey values of 16 bits in a type, the same scene in each."""
    if dtype == "float32":
        return (scene / 65535).astype(np.float32)
    return np.rint(scene / (257 if dtype == "uint8" else 1)).clip(0, 65535).astype(dtype)


def left(enhanced: np.ndarray, given: np.ndarray, clean: np.ndarray, where: np.ndarray) -> float:
    """What is left of the noise there."""
    error, noise = (image.astype(np.float64) - clean for image in (enhanced, given))
    return float(np.sqrt((error[where] ** 2).mean() / (noise[where] ** 2).mean()))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_fill_is_found_wherever_it_lies_and_whatever_its_value(place, value, dtype):
    image = stored(np.where(place, value, NOISY), dtype)
    found = find_set_aside(image).mask.within()
    assert found[place].all()
    assert found[~place].mean() < 0.005
    noise = examine(image).noise
    scale = {"uint8": 257, "uint16": 1, "float32": 65535}[dtype]
    assert noise.sigma * scale == pytest.approx(SIGMA, rel=0.12)


@pytest.mark.parametrize("value", [0, 15000, 18100, 65535])
@pytest.mark.parametrize("place", ["a corner", "half", "outside a disc"])
def test_noise_goes_as_without_the_fill_and_the_fill_comes_back(default_enhancer, place, value):
    area = PLACES[place]
    plain = stored(NOISY, "uint16")
    image = np.where(area, value, plain).astype(np.uint16)
    enhanced, free = default_enhancer.enhance(image), default_enhancer.enhance(plain)
    assert np.array_equal(enhanced[area], image[area])
    assert left(enhanced, image, CLEAN, ~area) < 1.15 * left(free, plain, CLEAN, ~area)
    beside = ~area & (distance_transform_edt(~area) <= 10)
    assert left(enhanced, image, CLEAN, beside) < left(free, plain, CLEAN, beside) + 0.08


@pytest.mark.parametrize("cval", [0, 15000, 65535])
@pytest.mark.parametrize(
    ("order", "mode"), [(0, "constant"), (1, "constant"), (3, "constant"), (1, "grid-constant")]
)
def test_the_corners_of_a_turned_image_are_set_aside_with_their_mixed_border(order, mode, cval):
    turned = rotate(NOISY, 7, reshape=False, order=order, mode=mode, cval=cval).clip(0, 65535)
    outside = rotate(np.ones((N, N)), 7, reshape=False, order=1, mode="grid-constant") < 1e-6
    found = find_set_aside(np.rint(turned).astype(np.uint16)).mask.within()
    deep = binary_erosion(outside, iterations=4, border_value=1)
    assert found[deep].all()
    inside = binary_erosion(~outside, iterations=4, border_value=1)
    assert found[inside].mean() < 0.002


@pytest.mark.parametrize(
    ("dtype", "top"), [("uint16", 4095), ("uint16", 65535), ("uint8", 255), ("float32", 1.0)]
)
def test_saturated_air_is_set_aside_and_comes_back(default_enhancer, dtype, top):
    scene = gaussian_filter(np.where(X < 110, 1.6, np.where(Y < 128, 0.5, 0.3)), 1.2)
    noisy = np.random.default_rng(2).normal(scene, 0.03).clip(0, 1) * top
    image = noisy.astype(dtype) if dtype == "float32" else np.rint(noisy).astype(dtype)
    found = examine(image)
    assert found.aside.mask.within()[:, :100].all()
    assert found.aside.mask.within()[:, 125:].mean() < 0.002
    assert found.noise.sigma == pytest.approx(0.03 * top, rel=0.15)
    enhanced = default_enhancer.enhance(image)
    assert np.array_equal(enhanced[:, :100], image[:, :100])


@pytest.mark.parametrize(
    ("dtype", "top"), [("uint16", 4095), ("uint16", 65535), ("uint8", 255), ("float32", 1.0)]
)
@pytest.mark.parametrize(("width", "noise"), [(0.9, 0.015), (1.2, 0.015), (1.2, 0.04), (2.0, 0.04)])
def test_pixels_beside_saturated_air_are_measured_ones(default_enhancer, dtype, top, width, noise):
    part = (abs(Y - X + 60) < 14) | ((Y - 150) ** 2 + (X - 190) ** 2 < 40**2) | (Y > 226)
    scene = gaussian_filter(np.where(part, 0.5, 1.1 + 5 * noise), width)
    noisy = np.random.default_rng(3).normal(scene, noise).clip(0, 1) * top
    image = noisy.astype(dtype) if dtype == "float32" else np.rint(noisy).astype(dtype)
    found = find_set_aside(image)
    assert found.mask.within()[scene > 1 + 5 * noise].mean() > 0.99
    measured = (image < image.max()) & (scene < 1)
    assert found.mask.within()[measured].mean() < 0.02
    rim = (scene < 0.95) & ~binary_erosion(scene < 0.95, iterations=3, border_value=1)
    enhanced = default_enhancer.enhance(image)
    assert np.mean(enhanced[rim] != image[rim]) > 0.8
    assert left(enhanced, image, scene * top, rim) < 0.9


@pytest.mark.parametrize(
    ("dtype", "top"), [("uint16", 4095), ("uint16", 65535), ("uint8", 255), ("float32", 1.0)]
)
@pytest.mark.parametrize("over", [2.5, 3.0, 3.5])
def test_no_spot_comes_up_in_air_that_is_saturated_but_for_specks(default_enhancer, dtype, top, over):
    noise = 0.012
    scene = gaussian_filter(balls() / 20000 * (1 + over * noise), 0.5)
    noisy = np.random.default_rng(4).normal(scene, noise).clip(0, 1) * top
    image = noisy.astype(dtype) if dtype == "float32" else np.rint(noisy).astype(dtype)
    air = binary_erosion(scene > 1 + (over - 0.3) * noise, iterations=3, border_value=1)
    assert 0 < np.mean(image[air] < image.max()) < 0.02
    change = (default_enhancer.enhance(image).astype(float) - image)[air] / top
    assert change.min() > -2 * noise


@pytest.mark.parametrize("cval", [0, 15000, 65535])
@pytest.mark.parametrize("angle", [3, -11, 30])
def test_what_turning_mixed_with_the_corners_is_set_aside(angle, cval):
    kinds = {"mode": "grid-constant", "reshape": False, "order": 1}
    turned = rotate(NOISY, angle, cval=cval, **kinds)
    share = rotate(np.ones((N, N)), angle, **kinds)
    found = find_set_aside(np.rint(turned).astype(np.uint16)).mask.within()
    assert found[(share > 1e-6) & (share < 0.8)].mean() > 0.65


def quiet(sigma: float, steps: int) -> np.ndarray:
    scene = (balls() - 9000) / 11000 * steps + 4
    return np.rint(np.random.default_rng(3).normal(scene, sigma)).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.3, 0.5, 0.8, 1.5])
@pytest.mark.parametrize("steps", [10, 60, 200])
def test_noise_below_a_grey_step_is_no_fill(sigma, steps):
    assert find_set_aside(quiet(sigma, steps)).mask.fraction < 0.01


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64), 7, np.uint8),
        np.full((64, 64), 0.5, np.float32),
        np.full((1, 1), 3, np.uint16),
        np.zeros((1, 90), np.uint8),
        np.zeros((90, 1), np.float32),
        np.arange(35, dtype=np.float32).reshape(5, 7),
        np.where(X > 100, 9, 4).astype(np.uint8),
        CLEAN.astype(np.float32),
        CLEAN.astype(np.uint16),
        np.rint(NOISY / 4096).astype(np.uint8) * 17,
        np.random.default_rng(0).poisson(0.05, (N, N)).astype(np.uint16),
    ],
    ids=[
        "constant", "float", "a pixel", "a row", "a column", "tiny", "two values", "clean float", "clean",
        "4 bits", "few quanta",
    ],
)  # fmt: skip
def test_what_is_a_picture_is_not_set_aside(image):
    assert find_set_aside(image).mask.fraction < 0.01


def holes(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    return {
        "scattered": rng.random((N, N)) < 0.003,
        "a fifth": rng.random((N, N)) < 0.2,
        "rows": (Y >= 100) & (Y < 120),
        "a corner": (Y < 40) & (X < 50),
    }[kind]


@pytest.mark.parametrize("value", NO_DATA)
@pytest.mark.parametrize("kind", ["scattered", "a fifth", "rows", "a corner"])
def test_no_data_comes_back_and_ruins_nothing(default_enhancer, kind, value):
    hole = holes(kind)
    plain = stored(NOISY, "float32")
    image = np.where(hole, np.float32(value), plain)
    found = examine(image)
    assert found.aside.mask.within()[hole].all()
    assert found.aside.mask.count <= hole.sum() + 5
    enhanced = default_enhancer.enhance(image)
    assert enhanced[hole].tobytes() == image[hole].tobytes()
    assert np.isfinite(enhanced[~hole]).all()
    free = default_enhancer.enhance(plain)
    allowed = 0.1 if kind == "a fifth" else 0.03
    assert left(enhanced, image, CLEAN / 65535, ~hole) < left(free, plain, CLEAN / 65535, ~hole) + allowed


def test_the_bits_of_a_nan_stay(default_enhancer):
    image = stored(NOISY, "float32")
    image.view(np.uint32)[::40, 3::50] = 0x7FC12345
    enhanced = default_enhancer.enhance(np.stack([image, image]), strength=0.5)
    assert (enhanced.view(np.uint32)[:, ::40, 3::50] == 0x7FC12345).all()


@pytest.mark.parametrize("value", [1e30, -1e30, 3e38])
def test_one_value_out_of_all_proportion_ruins_nothing(default_enhancer, value):
    image = stored(NOISY, "float32")
    plain = default_enhancer.enhance(image)
    image[100, 60] = value
    enhanced = default_enhancer.enhance(image)
    assert enhanced[100, 60] == np.float32(value)
    enhanced[100, 60] = plain[100, 60]
    assert np.abs(enhanced - plain).max() < 0.5 * SIGMA / 65535


@pytest.mark.parametrize("count", [0, 40])
def test_an_image_of_which_too_little_is_left_is_refused(count):
    image = np.full((N, N), np.nan, np.float32)
    image.flat[:count] = np.arange(count)
    with pytest.raises(
        InputError, match=rf"pixels that hold a grey value, found {count} \(.* not a number\)"
    ):
        load_enhancer("identity").enhance(image)


def test_a_picture_of_a_few_pixels_with_a_hole_is_taken():
    image = np.arange(35, dtype=np.float32).reshape(5, 7)
    image[2, 2] = np.nan
    assert np.isnan(load_enhancer("gaussian").enhance(image)[2, 2])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_tiles_meet_beside_what_is_set_aside(dtype, strength):
    image = stored(np.where(PLACES["several"] | PLACES["a slanting band"], 15000, NOISY), dtype)
    if dtype == "float32":
        image[holes("scattered")] = np.nan
    whole, cut = (Enhancer(Gaussian(3.0), name="g", core_px=core) for core in (512, 28))
    first, second = (each.enhance(image, strength=strength) for each in (whole, cut))
    assert first.tobytes() == second.tobytes()


def test_strips_change_nothing(monkeypatch):
    image = stored(np.where(PLACES["several"] | PLACES["a frame"], 15000, NOISY), "float32")
    image[200:230, 20:60] = np.nan
    image[7::50, 9::40] = -9999
    whole = find_set_aside(image)
    monkeypatch.setattr(constant, "STRIP_PX", 1)
    monkeypatch.setattr(constant, "LEAST_ROWS", 8)
    monkeypatch.setattr(constant, "CACHE_PX", 1)
    monkeypatch.setattr(areas, "STRIP_PX", 1)
    cut = find_set_aside(image)
    assert np.array_equal(whole.mask.within(), cut.mask.within())
    assert whole.kinds == cut.kinds
    np.testing.assert_array_equal(whole.around, cut.around)


@pytest.mark.parametrize(("a", "b"), [(3.0, 0.0), (0.01, 40.0), (1e-20, 0.0)])
def test_rescaling_grey_values_changes_nothing_but_these(a, b):
    image = stored(np.where(PLACES["several"], 15000, NOISY), "float32")
    image[7::50, 9::40] = np.nan
    scaled = (a * image.astype(np.float64) + b).astype(np.float32)
    first, second = find_set_aside(image), find_set_aside(scaled)
    assert np.array_equal(first.mask.within(), second.mask.within())
    np.testing.assert_allclose((second.around - b) / a, first.around, rtol=0, atol=1e-4 * max(1, b))


def test_the_continuation_carries_structure_on():
    """A ball cut by a fill goes on in it, and so does the ground beside it."""
    area = X < 40  # through the middle of a column of balls
    found = find_set_aside(stored(np.where(area, 65535, NOISY), "uint16"))
    grey = np.where(area, 65535, CLEAN)
    found.replace(grey, slice(0, N), slice(0, N))
    assert abs(grey[:, 38] - CLEAN[:, 42]).max() < 1500
    assert grey[40, 32] == pytest.approx(9000, abs=1000)
    assert grey[70, 32] == pytest.approx(20000, abs=1000)
    assert 9000 < grey[:, :5].min() <= grey[:, :5].max() < 20001


def test_the_continuation_is_the_same_for_every_window_that_reaches_far_enough():
    found = find_set_aside(stored(np.where(PLACES["several"], 0, NOISY), "uint16"))
    whole = NOISY.copy()
    found.replace(whole, slice(0, N), slice(0, N))
    rows, columns = slice(10, 250), slice(30, 256)
    part = NOISY[rows, columns].copy()
    found.replace(part, rows, columns)
    inner = np.s_[REACH : 240 - REACH, REACH:]
    assert np.array_equal(part[inner], whole[rows, columns][inner])


def test_the_grey_map_is_that_of_what_is_left():
    area = PLACES["half"]
    image = stored(np.where(area, 65535, NOISY), "uint16")
    found = measure_grey(image, find_set_aside(image).mask)
    assert found == measure_grey(image[:, N // 2 :])


def test_history_and_words_say_what_was_set_aside():
    image = stored(np.where(PLACES["a corner"], 15000, NOISY), "float32")
    image[::64, ::64] = np.nan
    found = examine(image).aside
    assert found.in_words() == "2.4 % constant at 0.228885, 0.024 % not a number"
    step = load_enhancer("gaussian").enhance(Radiograph(image)).history[-1]
    assert step.settings["pages"][0]["set_aside"] == {"constant at 0.228885": 1599, "not a number": 16}


@pytest.mark.parametrize("cval", [0, 15000, 65535])
@pytest.mark.parametrize(("angle", "order"), [(0.5, 1), (-0.7, 3), (90.8, 1), (179.3, 0)])
def test_the_thin_wedges_of_a_slight_turn_are_set_aside(angle, order, cval):
    turned = rotate(NOISY, angle, reshape=False, order=order, cval=cval).clip(0, 65535)
    outside = rotate(np.ones((N, N)), angle, reshape=False, order=0) == 0
    image = np.rint(turned).astype(np.uint16)
    found = examine(image)
    wedge = outside & (image == cval)
    assert wedge.sum() > 200
    assert found.aside.mask.within()[wedge].mean() > 0.98
    assert found.aside.mask.within()[~outside].mean() < 0.01
    assert not found.bad_pixels.places


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("value", [0, 9000, 20000])
def test_a_narrow_frame_of_one_value_comes_back(default_enhancer, value, width):
    frame = (np.minimum(Y, X) < width) | (np.maximum(Y, X) >= N - width)
    image = np.where(frame, value, stored(NOISY, "uint16")).astype(np.uint16)
    assert np.array_equal(default_enhancer.enhance(image)[frame], image[frame])


def test_a_dead_row_at_the_border_is_none():
    image = stored(NOISY, "uint16")
    image[0] = image[:120, -1] = 0
    assert not find_set_aside(image).mask.count
