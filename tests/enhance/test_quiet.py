"""Areas almost without noise set no noise level and come back; images with little noise stay pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, minimum_filter

from longexposure.enhance import areas, constant, quiet
from longexposure.enhance.areas import find_set_aside
from longexposure.enhance.statistics import examine

N, SIGMA = 250, 800.0
Y, X = np.mgrid[:N, :N]


def balls(ground: float = 20000.0, ball: float = 9000.0) -> np.ndarray:
    scene = np.full((N, N), ground)
    for y, x in itertools.product(range(40, N, 60), repeat=2):
        scene[(Y - y) ** 2 + (X - x) ** 2 <= 15**2] = ball
    return gaussian_filter(scene, 1.2)


CLEAN = balls()
NOISY = np.random.default_rng(1).normal(CLEAN, SIGMA)
PLACES = {
    "a corner": (Y < 45) & (X < 50),
    "a third": (Y >= N - 83),
    "outside a disc": (Y - 125) ** 2 + (X - 125) ** 2 > 118**2,
    "a disc": (Y - 120) ** 2 + (X - 130) ** 2 < 30**2,
    "a frame": (Y < 26) | (Y >= N - 27) | (X < 25) | (X >= N - 29),
}


def fill(kind: str) -> np.ndarray:
    rng = np.random.default_rng(2)
    return {
        "two values": 14000 + 16.0 * (rng.random((N, N)) < 0.5),
        "noise of 3": rng.normal(17000, 3, (N, N)),
        "noise of 20": rng.normal(11000, 20, (N, N)),
        "a ramp": 10000 + 30.0 * X + 9 * Y,
        "a smoothed picture": gaussian_filter(NOISY, 8),
        "the ground's value": rng.normal(20000, 1, (N, N)),
        "brighter": rng.normal(40000, 2, (N, N)),
        "darker": rng.normal(4000, 2, (N, N)),
    }[kind]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    "kind",
    [
        "two values", "noise of 3", "noise of 20", "a ramp", "a smoothed picture", "the ground's value",
        "brighter", "darker",
    ],
)  # fmt: skip
def test_an_area_almost_without_noise_is_found_and_sets_no_noise_level(kind, place):
    image = np.rint(np.where(place, fill(kind), NOISY)).astype(np.uint16)
    found = examine(image)
    marked = found.aside.mask.within()
    assert marked[minimum_filter(place, 17)].all()
    assert marked[place].mean() > 0.95
    assert marked[~place].mean() < 0.005
    assert found.noise.sigma == pytest.approx(SIGMA, rel=0.12)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_is_found_in_every_type_and_told(dtype):
    place = PLACES["a corner"]
    scale = 100 if dtype == "uint8" else 65535
    noise = np.random.default_rng(4).integers(0, 2, (N, N)) * (1 if dtype == "uint8" else 1e-5)
    image = np.where(place, (140 if dtype == "uint8" else 0.2) + noise, NOISY / scale)
    found = find_set_aside((np.rint(image) if dtype == "uint8" else image).astype(dtype))
    assert found.mask.within()[place].all()
    assert found.in_words() == "3.6 % almost without noise"


@pytest.mark.parametrize("top", [255, 65535])
def test_saturation_with_a_step_of_noise_is_found(top):
    scene = gaussian_filter(np.where(X < 90, 1.0, 0.4), 1.2) * top
    image = np.random.default_rng(5).normal(scene, 0.025 * top)
    image = np.where(X < 86, top - np.random.default_rng(6).integers(0, 2, (N, N)), image).clip(0, top)
    found = examine(np.rint(image).astype(f"uint{8 if top == 255 else 16}"))
    assert found.aside.mask.within()[:, :80].all()
    assert found.noise.sigma == pytest.approx(0.025 * top, rel=0.12)


def test_it_comes_back_to_the_bit_and_the_rest_is_enhanced_as_without(default_enhancer):
    place = PLACES["a disc"]
    plain = np.rint(NOISY).astype(np.uint16)
    image = np.where(place, np.rint(fill("two values")), plain).astype(np.uint16)
    enhanced, free = default_enhancer.enhance(image), default_enhancer.enhance(plain)
    assert np.count_nonzero(enhanced[place] != image[place]) < 0.01 * place.sum()
    assert np.std(enhanced[~place] - CLEAN[~place]) < 1.15 * np.std(free[~place] - CLEAN[~place])


@pytest.mark.parametrize("shown", ["counts", "inverted", "over a pedestal", "logarithm"])
@pytest.mark.parametrize("ground", [400, 10000])
@pytest.mark.parametrize("ball", [1, 5, 100])
def test_dark_balls_of_few_quanta_are_no_fill(ball, ground, shown):
    rng = np.random.default_rng(7)
    counts = rng.poisson(balls(ground, ball))
    image = {
        "counts": counts.astype(np.uint16),
        "inverted": (65535 - counts).astype(np.uint16),
        "over a pedestal": np.rint(rng.normal(300 + 0.5 * counts, 2)).astype(np.uint16),
        "logarithm": np.log(ground / np.maximum(counts, 1)).astype(np.float32),
    }[shown]
    assert find_set_aside(image).mask.fraction < 0.01


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.3, 1.0, 3.0])
def test_a_picture_with_little_noise_is_no_fill(sigma):
    """Neither the ground between balls, nor that beside a rough part, however rough."""
    rng = np.random.default_rng(8)
    rough = gaussian_filter(rng.standard_normal((N, N)), 1.0)
    part = gaussian_filter(((Y - 120) ** 2 + (X - 120) ** 2 < 70**2).astype(float), 1.2)
    for scene in (CLEAN, CLEAN + part * rough / rough.std() * 900, CLEAN + part * (9000 + 4000 * rough)):
        assert not find_set_aside(np.rint(rng.normal(scene, sigma)).astype(np.uint16)).mask.count


def test_strips_change_nothing(monkeypatch):
    place = PLACES["outside a disc"] | PLACES["a corner"]
    image = np.where(place, fill("noise of 3"), NOISY).astype(np.float32)
    image[90:120, 90:130] = 15000
    whole = find_set_aside(image)
    for module, name in ((quiet, "STRIP_BLOCKS"), (constant, "STRIP_PX"), (areas, "STRIP_PX")):
        monkeypatch.setattr(module, name, 1)
    cut = find_set_aside(image)
    assert whole.kinds == cut.kinds
    assert np.array_equal(whole.mask.within(), cut.mask.within())


@pytest.mark.parametrize("sides", [(3, 400), (400, 3), (40, 40), (8, 8), (17, 300)])
def test_small_and_narrow_images_are_taken(sides):
    image = np.random.default_rng(9).normal(20000, 800, sides)
    image[: sides[0] // 3] = 15000.5
    image[: sides[0] // 3, ::2] = 15000
    quiet.find_quiet(image.astype(np.float32), areas.Mask.empty(sides))
