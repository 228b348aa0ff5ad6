"""Scenes: the law of attenuation, the range of transmission, and the chance they are drawn with."""

import numpy as np
import pytest

from longexposure.physics import scenes
from longexposure.physics.canvas import Canvas
from longexposure.physics.scenes import PARTS, draw_scene, illumination

SIZE = (96, 120)
every_part = pytest.mark.parametrize("part", [part for part, _ in PARTS], ids=lambda part: part.__name__)


def _scene(seed, *, size=SIZE, parts=None):
    return draw_scene(np.random.default_rng(seed), size_px=size, parts=parts)


@pytest.fixture
def flat_light(monkeypatch):
    monkeypatch.setattr(scenes, "illumination", lambda random, *, size_px: np.ones(size_px, dtype=np.float32))


@pytest.fixture
def unit_hardness(monkeypatch):
    """Optical depth of the scene is that of the canvas."""
    drawn = scenes._spread
    monkeypatch.setattr(
        scenes, "_spread", lambda r, low, high: 1.0 if (low, high) == (0.15, 1.5) else drawn(r, low, high)
    )


@pytest.mark.parametrize("depth", [0.05, 0.7, 2.5])
def test_a_slab_lets_through_exp_of_minus_its_depth(flat_light, unit_hardness, depth):
    scene = _scene(0, parts=[lambda canvas, random: canvas.slab(48, 60, (40.0, 50.0), 0.0, depth)])
    np.testing.assert_allclose(scene[30:66, 40:80], np.exp(-depth), rtol=1e-5)
    np.testing.assert_array_equal(scene[:20], 1.0)


def test_layers_multiply_in_transmission(flat_light, unit_hardness):
    def slab(depth):
        return lambda canvas, random: canvas.slab(48, 60, (40.0, 50.0), 0.3, depth)

    both = _scene(0, parts=[slab(0.4), slab(0.9)])
    np.testing.assert_allclose(both, _scene(0, parts=[slab(0.4)]) * _scene(0, parts=[slab(0.9)]), rtol=0.04)
    assert both[48, 60] == pytest.approx(np.exp(-1.3), rel=1e-5)


def test_hardness_scales_all_depths_of_a_scene_alike(flat_light):
    def step(canvas, random):
        canvas.slab(48, 30, (96.0, 40.0), 0.0, 0.5)
        canvas.slab(48, 90, (96.0, 40.0), 0.0, 1.0)

    for seed in range(5):
        scene = _scene(seed, parts=[step])
        assert np.log(scene[48, 90]) == pytest.approx(2 * np.log(scene[48, 30]), rel=1e-4)
        assert 0.15 <= -np.log(scene[48, 90]) <= 1.5


def test_nothing_in_the_beam_amplifies_it(flat_light):
    scene = _scene(0, parts=[lambda canvas, random: canvas.disc(48, 60, 20.0, -3.0)])
    np.testing.assert_array_equal(scene, 1.0)


@every_part
def test_a_part_draws_finite_depth_and_mostly_something(part):
    drawn = 0
    for seed in range(12):
        canvas = Canvas(*SIZE)
        part(canvas, np.random.default_rng(seed))
        assert canvas.depth.dtype == np.float32
        assert canvas.depth.shape == SIZE
        assert np.isfinite(canvas.depth).all()
        drawn += bool(np.abs(canvas.depth).max() > 1e-3)
    assert drawn >= 8


@every_part
def test_a_part_follows_its_seed_alone(part):
    first, second, other = Canvas(*SIZE), Canvas(*SIZE), Canvas(*SIZE)
    part(first, np.random.default_rng(4))
    part(second, np.random.default_rng(4))
    part(other, np.random.default_rng(5))
    assert first.depth.tobytes() == second.depth.tobytes()
    assert not np.array_equal(first.depth, other.depth)


def test_a_scene_is_transmission_between_0_and_1():
    for seed in range(25):
        scene = _scene(seed)
        assert scene.shape == SIZE
        assert scene.dtype == np.float32
        assert scene.min() >= 0
        assert scene.max() <= 1
        assert scene.max() > 0.02


def test_equal_seeds_draw_equal_bytes_and_others_other_scenes():
    assert _scene(3).tobytes() == _scene(3).tobytes()
    assert len({_scene(seed, size=(32, 32)).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (200, 8)])
def test_scenes_come_in_any_size(size):
    for seed in range(10):
        scene = _scene(seed, size=size)
        assert scene.shape == size
        assert np.isfinite(scene).all()


def test_every_part_is_drawn_and_has_a_weight(monkeypatch):
    assert all(weight > 0 for _, weight in PARTS)
    assert len({part for part, _ in PARTS}) == len(PARTS)
    random = np.random.default_rng(0)
    drawn = [part for _ in range(150) for part in scenes._any_parts(random)]
    assert set(drawn) == {part for part, _ in PARTS}


def test_light_is_positive_and_reaches_one():
    for seed in range(60):
        light = illumination(np.random.default_rng(seed), size_px=(40, 50))
        assert light.shape == (40, 50)
        assert light.dtype == np.float32
        assert light.min() > 0
        assert light.max() == 1


def test_light_is_mostly_uneven_and_mild_and_sometimes_has_a_dark_corner_or_a_ring():
    darkest = np.array(
        [illumination(np.random.default_rng(seed), size_px=(40, 50)).min() for seed in range(300)]
    )
    assert np.mean(darkest < 0.999) > 0.5
    assert np.median(darkest) > 0.5
    assert 0.02 < np.mean(darkest < 0.35) < 0.25
