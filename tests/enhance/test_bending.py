"""Behind a tone curve networks see grey values whose noise is even."""

import numpy as np
import pytest
from scipy import ndimage

from longexposure import load_enhancer
from longexposure.enhance.bending import Bend
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.statistics import examine
from longexposure.models.base import ModelSpec
from longexposure.noise import NoiseProfile

CURVES = {
    "logarithm": tuple((each / 8, 0.05 * 0.03 ** (each / 8)) for each in range(9)),
    "rising": ((0.0, 0.002), (0.4, 0.01), (1.0, 0.06)),
    "dip": ((-0.2, 0.05), (0.5, 0.005), (1.3, 0.04)),
}


def _bend(name):
    return Bend(NoiseProfile(level=0.5, sigma=0.02, corr_x=0.2, curve=CURVES[name]))


@pytest.mark.parametrize("name", CURVES)
def test_bent_noise_is_as_strong_everywhere_as_is_told(name):
    bend, random = _bend(name), np.random.default_rng(0)
    assert bend.even.slope == 0
    assert bend.even.corr_x == 0.2
    for level in (0.05, 0.3, 0.5, 0.8, 1.0):
        faint = 0.1 * bend.noise.sigma_at(level)
        noisy = (level + faint * random.standard_normal(40000)).astype(np.float32)
        assert bend.bent(noisy).std() == pytest.approx(0.1 * bend.even.sigma, rel=0.03)


@pytest.mark.parametrize("name", CURVES)
def test_the_contrast_stays_from_0_to_1_and_order_stays_beyond(name):
    bend = _bend(name)
    np.testing.assert_allclose(bend.bent(np.array([0.0, 1.0], np.float32)), [0, 1], atol=1e-6)
    assert (np.diff(bend.bent(np.linspace(-5, 6, 1000, dtype=np.float32))) > 0).all()


@pytest.mark.parametrize("name", CURVES)
def test_bending_back_gives_the_grey_values_again(name):
    bend = _bend(name)
    unit = np.linspace(-3, 4, 64 * 64, dtype=np.float32).reshape(64, 64)
    other = unit[::-1]
    away = unit + bend.change(bend.bent(unit), bend.bent(unit))
    np.testing.assert_array_equal(away, unit)
    flat = np.full((64, 64), 0.3, np.float32)
    changed = bend._unbent(  # without what is put back
        bend._ends[0] + bend.bent(other).astype(np.float64) * (bend._ends[1] - bend._ends[0])
    )
    np.testing.assert_allclose(changed, other, atol=2e-5)
    assert np.abs(bend.change(bend.bent(flat), bend.bent(flat + np.float32(1e-4))) - 1e-4).max() < 2e-6


@pytest.mark.parametrize("level", [0.1, 0.4, 0.9])
def test_noise_that_is_taken_away_takes_no_mean_with_it(level):
    """The mean of the bent values, bent back, is off by a twentieth of the noise where it bends most."""
    bend = _bend("logarithm")
    sigma = bend.noise.sigma_at(level)
    noisy = (level + sigma * np.random.default_rng(1).standard_normal((256, 256))).astype(np.float32)
    bent = bend.bent(noisy)
    enhanced = noisy + bend.change(bent, np.full_like(bent, bent.mean()))
    assert enhanced.mean() - noisy.mean() == pytest.approx(0, abs=0.01 * sigma)
    assert enhanced.std() < 0.1 * sigma


class _Half:
    """An engine that takes half of the difference to the middle away; `conditioned` or not."""

    info = None

    def __init__(self, conditioned):
        self.spec = ModelSpec(size_multiple=1, receptive_field=0, conditioned=conditioned)
        self.seen = []

    def run(self, tile, noise_condition):
        self.seen.append((tile.copy(), noise_condition))
        return (0.5 * tile + 0.25).astype(np.float32)


def _logarithmic(*, side=192, high=6000.0, low=60.0, seed=0, radius=14, dtype=np.uint16):
    y, x = np.mgrid[:side, :side]
    balls = ndimage.gaussian_filter(
        (np.hypot((y - 10) % 60 - 30, (x - 10) % 60 - 30) < radius).astype(float), 1.0
    )
    expected = high * (low / high) ** balls
    quanta = np.random.default_rng(seed).poisson(expected)
    scale = 240 if dtype == np.uint8 else 60000
    return np.rint(scale * np.log(1 + quanta) / np.log(8000)).astype(dtype), balls


@pytest.mark.parametrize("conditioned", [True, False])
def test_only_a_model_that_is_told_the_noise_sees_bent_grey_values(conditioned):
    image, _ = _logarithmic()
    found = examine(image)
    assert found.noise.curve
    engine = _Half(conditioned)
    Enhancer(engine, name="half").enhance_pages(image, statistics=[found])
    tile, condition = engine.seen[0]
    unit = found.grey.to_unit(image)
    bent = np.abs(tile[0] - unit).max() > 0.1
    assert bent == conditioned
    if conditioned:
        assert condition[2] == 0
        assert condition[0] == pytest.approx(found.told.sigma)


def test_tiles_meet_without_a_seam_behind_a_curve():
    image, _ = _logarithmic(side=160)
    found = examine(image)
    whole, tiled = (
        Enhancer(_Half(True), name="half", core_px=core).enhance_pages(image, statistics=[found])[0]
        for core in (512, 48)
    )
    np.testing.assert_allclose(tiled.astype(int), whole.astype(int), atol=1)


def test_an_image_behind_a_curve_follows_a_rescaling():
    image, _ = _logarithmic(side=128)
    enhancer = load_enhancer("fast")
    first = enhancer.enhance(image.astype(np.float32))
    second = enhancer.enhance(image.astype(np.float32) * 4 + 1000)
    np.testing.assert_allclose(second, first * 4 + 1000, rtol=0, atol=0.5)


@pytest.mark.parametrize(("low", "high"), [(60.0, 6000.0), (150.0, 5000.0), (300.0, 8000.0)])
def test_dark_and_bright_places_behind_a_logarithm_lose_their_noise_and_keep_their_mean(low, high):
    image, balls = _logarithmic(low=low, high=high)
    enhanced, seen = load_enhancer("fast").enhance_pages(image)
    assert not seen[0].cautions
    for where in (balls > 0.99, balls < 0.01):
        inside = ndimage.binary_erosion(where, iterations=2)
        before, after = image[inside].astype(float), enhanced[inside].astype(float)
        assert after.std() < 0.6 * before.std()
        assert after.mean() == pytest.approx(before.mean(), abs=0.06 * before.std())
