"""Noise fainter than a network was trained for: never worse than it was, and the same inside the range."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from longexposure.enhance import faint
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.models.registry import shipped_weights
from longexposure.noise import NoiseProfile

N = 160
Y, X = np.mgrid[:N, :N]


def balls() -> np.ndarray:
    scene = np.ones((N, N))
    for cy, cx in itertools.product(range(20, N, 40), repeat=2):
        scene[(Y - cy) ** 2 + (X - cx) ** 2 <= 12**2] = 0.2
    return gaussian_filter(scene, 1.2)


SCENES = {
    "balls": balls(),
    "lines": gaussian_filter((X % 7 < 2).astype(float), 0.6) + (Y > 80),
    "checks": gaussian_filter(((X // 2 + Y // 2) % 2).astype(float), 0.5),
    "shading": 0.5 + 0.4 * np.sin(X / 30) * np.cos(Y / 45),
}


def ratio(enhancer: Enhancer, clean: np.ndarray, sigma: float, dtype: str, told: NoiseProfile) -> float:
    """Error after over error before."""
    noisy = np.random.default_rng(1).normal(clean, sigma)
    image = noisy.astype(np.float32) if dtype == "float32" else np.rint(noisy).clip(0, 65535).astype(dtype)
    enhanced = enhancer.enhance(image, noise=told)
    after, before = (np.sqrt(((each - clean) ** 2).mean()) for each in (enhanced.astype(float), image))
    return float(after / before)


@pytest.mark.parametrize("model", ["fast", "best"])
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
@pytest.mark.parametrize(
    ("contrast", "sigma", "dtype"),
    [(24750, 3.0, "uint16"), (24750, 0.5, "uint16"), (60000, 10.0, "uint16"), (5000, 0.3, "float32")],
)
def test_a_nearly_clean_image_gets_no_worse(model, scene, contrast, sigma, dtype):
    if model not in shipped_weights():
        pytest.skip(f"no weights named {model}")
    clean = 2000 + contrast * (scene - scene.min()) / np.ptp(scene)
    stored = np.hypot(sigma, 0.29) if dtype == "uint16" else sigma
    for factor in (1.0, 1.4):  # told right, and as estimates err
        told = NoiseProfile(level=0, sigma=factor * stored)
        assert ratio(load_enhancer(model, device="cpu"), clean, sigma, dtype, told) <= 1.005


@pytest.mark.parametrize(("corr_x", "corr_y"), [(0.5, 0.0), (0.4, 0.6)])
def test_coloured_noise_gets_no_worse(default_enhancer, corr_x, corr_y):
    told = NoiseProfile(level=0, sigma=5.0, corr_x=corr_x, corr_y=corr_y)
    pattern = faint._pattern(corr_x, corr_y)[:N, :N]
    clean = 3000 + 20000 * SCENES["balls"]
    image = (clean + 5.0 * np.roll(pattern, (17, 40), (0, 1))).astype(np.float32)
    enhanced = default_enhancer.enhance(image, noise=told)
    assert (enhanced - clean).std() < (image - clean).std()


def test_inside_the_range_of_the_training_nothing_is_held_back(default_enhancer):
    clean = 3000 + 20000 * SCENES["balls"]
    image = np.random.default_rng(0).normal(clean, 100).astype(np.float32)
    free = Enhancer(default_enhancer.engine, name="free")
    assert default_enhancer.enhance(image).tobytes() == free.enhance(image).tobytes()


def test_it_sets_in_gradually(default_enhancer):
    clean = 3000 + 20000 * SCENES["balls"]
    lowest = default_enhancer.trained.sigma[0] * 17000
    free = Enhancer(default_enhancer.engine, name="free")
    image = np.random.default_rng(0).normal(clean, lowest).astype(np.float32)
    differences = []
    for factor in (0.999, 0.95, 0.5):
        told = NoiseProfile(level=0, sigma=factor * lowest)
        held, plain = (each.enhance(image, noise=told) for each in (default_enhancer, free))
        differences.append(float(np.abs(held - plain).max()) / lowest)
    assert differences == sorted(differences)
    assert differences[0] < 0.1 < differences[-1]


def test_tiles_meet_where_noise_is_faint(default_enhancer):
    scene = 3000 + 20000 * np.tile(SCENES["balls"], (2, 2))
    image = np.rint(np.random.default_rng(0).normal(scene, 5)).astype(np.uint16)
    told = NoiseProfile(level=9000, sigma=5, slope=1e-3)
    cut = Enhancer(default_enhancer.engine, name="cut", core_px=96, trained=default_enhancer.trained)
    whole = default_enhancer.enhance(image, noise=told).astype(int)
    assert np.abs(cut.enhance(image, noise=told) - whole).max() <= 1


@pytest.mark.parametrize(("corr_x", "corr_y"), [(0.0, 0.0), (0.6, 0.0), (-0.3, 0.9)])
def test_the_disturbance_is_like_the_noise(corr_x, corr_y):
    noise = NoiseProfile(level=0.5, sigma=0.01, slope=1e-4, corr_x=corr_x, corr_y=corr_y)
    unit = np.full((256, 256), 0.8, np.float32)
    found = faint.disturbance(unit, noise, 10, 20)
    assert found.std() == pytest.approx(faint.STRENGTH * noise.variance(0.8) ** 0.5, rel=0.05)
    scaled = found / found.std()
    assert (scaled[:, 1:] * scaled[:, :-1]).mean() == pytest.approx(corr_x, abs=0.05)
    assert (scaled[1:] * scaled[:-1]).mean() == pytest.approx(corr_y, abs=0.05)
    part = faint.disturbance(unit[7:90, 30:], noise, 17, 50)
    np.testing.assert_array_equal(part, found[7:90, 30:])


def test_a_change_that_undoes_the_noise_is_worth_all_and_one_that_does_not_nothing():
    rng = np.random.default_rng(0)
    noise = NoiseProfile(level=0.5, sigma=0.1)
    unit = (0.5 + 0.1 * rng.normal(size=(64, 64))).astype(np.float32)
    disturbed_by = faint.disturbance(unit, noise, 0, 0)
    wiped = faint.worth(unit, noise, 0.5 - unit, 0.5 - unit - disturbed_by, disturbed_by)
    assert wiped.mean() > 0.9
    harm = np.sin(X[:64, :64] / 2).astype(np.float32)
    assert faint.worth(unit, noise, harm, harm, disturbed_by).max() == 0


def test_models_that_state_no_range_are_never_held_back():
    condition = NoiseProfile(level=0.5, sigma=1e-5).noise_condition()
    assert faint.faintness(None, condition) == 0


def test_how_faint_noise_is(default_enhancer):
    trained = default_enhancer.trained
    steps = [
        faint.faintness(trained, NoiseProfile(level=0.5, sigma=trained.sigma[0] * each).noise_condition())
        for each in (2.0, 1.0, 0.84, 0.5)
    ]
    assert steps[:2] == [0.0, pytest.approx(0, abs=1e-5)]
    assert steps[2] == pytest.approx(0.5, abs=0.02)
    assert steps[3] == 1.0
