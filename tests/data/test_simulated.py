"""Simulated training data: one item is one function of (config, seed, index), in any order."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from longexposure.data import simulated
from longexposure.data.simulated import (
    SimulatedConfig,
    SimulatedImages,
    SimulatedPatches,
    draw_clean,
    draw_noise,
    told,
)
from longexposure.noise import CONDITION, NoiseProfile

SMALL = SimulatedConfig(patch_px=24, scene_px=48, pool=4, reuse=3)
QUIET = SMALL.model_copy(update={"sigma": (1e-7, 2e-7), "told_error": 0.0})


def _bytes(sample):
    return {name: value.numpy().tobytes() for name, value in sample.items()}


# Patches


def test_an_item_does_not_depend_on_what_was_visited_before():
    forward = SimulatedPatches(SMALL, seed=3)
    expected = {index: _bytes(forward[index]) for index in range(24)}
    backward = SimulatedPatches(SMALL, seed=3)
    assert {index: _bytes(backward[index]) for index in reversed(range(24))} == expected
    order = np.random.default_rng(0).permutation(24).tolist()
    jumping = SimulatedPatches(SMALL, seed=3)
    for index in [*order[:15], 10**9, *order[15:], *order[:5]]:
        if index in expected:
            assert _bytes(jumping[index]) == expected[index]
        else:
            jumping[index]
    for index in order[:3]:
        assert _bytes(SimulatedPatches(SMALL, seed=3)[index]) == expected[index]


def test_using_an_item_up_does_not_change_the_next():
    patches = SimulatedPatches(SMALL, seed=3)
    first = patches[5]
    for value in first.values():
        value.zero_()
    assert _bytes(patches[5]) == _bytes(SimulatedPatches(SMALL, seed=3)[5])
    assert _bytes(patches[9]) == _bytes(SimulatedPatches(SMALL, seed=3)[9])


def test_items_seeds_and_configs_differ():
    items = [_bytes(SimulatedPatches(SMALL, seed=3)[index])["noisy"] for index in range(10)]
    items += [_bytes(SimulatedPatches(SMALL, seed=seed)[0])["noisy"] for seed in (4, 5)]
    other = SMALL.model_copy(update={"blur_px": (2.0, 2.5)})
    items += [_bytes(SimulatedPatches(other, seed=3)[0])["noisy"]]
    assert len(set(items)) == len(items)


def test_items_have_their_shapes_types_and_ranges():
    patches = SimulatedPatches(SMALL, seed=0)
    for index in range(0, 24, 2):
        sample = patches[index]
        assert {name: tuple(value.shape) for name, value in sample.items()} == {
            "noisy": (1, 24, 24),
            "target": (1, 24, 24),
            "condition": (len(CONDITION),),
            "sigma": (),
        }
        assert all(value.dtype == torch.float32 for value in sample.values())
        assert all(torch.isfinite(value).all() for value in sample.values())
        assert sample["noisy"].is_contiguous()
        assert SMALL.sigma[0] < sample["sigma"] < 1.1 * SMALL.sigma[1]


def test_the_pool_bounds_memory_and_scenes_change_one_at_a_time(monkeypatch):
    drawn = []

    def drawing(random, *, config, size_px):
        drawn.append(size_px)
        return np.zeros((size_px, size_px), dtype=np.float32)

    monkeypatch.setattr(simulated, "draw_clean", drawing)
    patches = SimulatedPatches(SMALL, seed=0)
    counts = []
    for index in range(30 * SMALL.pool):
        patches[index]
        counts.append(len(drawn))
    assert max(np.diff(counts)) == 1
    assert len(drawn) == pytest.approx(30 * SMALL.pool / SMALL.reuse, abs=SMALL.pool)
    assert len(patches._scenes) <= 2 * SMALL.pool


def _scene_and_patches(monkeypatch, count):
    scene = np.random.default_rng(1).random((48, 48), dtype=np.float32)
    monkeypatch.setattr(simulated, "draw_clean", lambda random, *, config, size_px: scene)
    patches = SimulatedPatches(QUIET, seed=0)
    return scene, [patches[index]["target"][0].numpy() for index in range(count)]


def test_patches_are_cut_anywhere_turned_by_all_eight_ways(monkeypatch):
    """Of noise-free random pixels, every patch is found again in the scene, up to contrast and zero."""
    scene, patches = _scene_and_patches(monkeypatch, 60)
    windows = np.lib.stride_tricks.sliding_window_view(scene, (24, 24)).reshape(-1, 24 * 24)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows /= np.linalg.norm(windows, axis=1, keepdims=True)
    ways, places = set(), set()
    for patch in patches:
        found = []
        for turns in range(4):
            for flip in (False, True):
                back = np.rot90(patch[:, ::-1] if flip else patch, -turns)
                flat = (back - back.mean()).ravel() / np.linalg.norm(back - back.mean())
                match = windows @ flat
                found.append((float(match.max()), int(match.argmax()), turns, flip))
        best, place, turns, flip = max(found)
        assert best > 0.999
        ways.add((turns, flip))
        places.add(place)
    assert len(ways) == 8
    assert len(places) > 40


def test_contrast_is_lowered_now_and_then_and_stays_inside_the_domain(monkeypatch):
    _, patches = _scene_and_patches(monkeypatch, 60)
    spans = np.array([np.ptp(patch) for patch in patches])
    assert 0.2 < np.mean(spans > 0.95) < 0.7
    assert spans.min() < 0.4
    assert min(patch.min() for patch in patches) >= 0
    assert max(patch.max() for patch in patches) <= 1


# Whole images


def test_noise_steps_through_the_range_from_image_to_image():
    images = SimulatedImages(SMALL, seed=0, count=10, size_px=32)
    assert len(images) == 10
    sigmas = np.array([float(images[index]["sigma"]) for index in range(10)])
    low, high = np.log(SMALL.sigma)
    levels = np.exp(low + (high - low) * (np.arange(10) + 0.5) / 10)
    assert (sigmas > 0.998 * levels).all()
    white_parts = (0.5 * 0.015) ** 2 + 0.02**2 / 12
    assert (sigmas < np.sqrt(1.1 * levels**2 + white_parts)).all()


def test_whole_images_are_the_same_whenever_they_are_asked_for():
    first, second = (SimulatedImages(SMALL, seed=2, count=4, size_px=40) for _ in range(2))
    expected = [_bytes(first[index]) for index in range(4)]
    assert [_bytes(second[index]) for index in (3, 2, 1, 0)] == expected[::-1]
    assert first[0]["noisy"].shape == (1, 40, 40)


def test_whole_images_end():
    images = SimulatedImages(SMALL, seed=2, count=2, size_px=24)
    assert len(list(images)) == 2
    for index in (2, -1):
        with pytest.raises(IndexError):
            images[index]


def test_validation_shows_scenes_that_training_never_sees_even_with_one_seed(monkeypatch):
    drawn = []

    def drawing(random, *, config, size_px):
        drawn.append(random.bit_generator.state["state"]["state"])
        return np.zeros((size_px, size_px), dtype=np.float32)

    monkeypatch.setattr(simulated, "draw_clean", drawing)
    patches, images = SimulatedPatches(SMALL, seed=0), SimulatedImages(SMALL, seed=0, count=40, size_px=24)
    for index in range(200):
        patches[index]
    trained = set(drawn)
    drawn.clear()
    for index in range(40):
        images[index]
    assert len(trained) > 50
    assert len(set(drawn)) == 40
    assert not trained & set(drawn)


# What is drawn


def test_clean_scenes_span_the_unit_domain():
    for seed in range(12):
        clean = draw_clean(np.random.default_rng(seed), config=SMALL, size_px=96)
        low, high = np.percentile(clean, (1, 99))
        assert clean.dtype == np.float32
        assert low == pytest.approx(0, abs=0.05)
        assert high == pytest.approx(1, abs=0.05)


def test_drawn_noise_covers_what_machines_do():
    random = np.random.default_rng(0)
    noises = [draw_noise(random, config=SMALL) for _ in range(400)]
    sigmas = np.log([noise.sigma for noise in noises])
    low, high = np.log(SMALL.sigma)
    assert low <= sigmas.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < sigmas.max() <= high
    assert np.mean(sigmas) == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    profiles = [noise.profile() for noise in noises]
    assert max(profile.corr_x for profile in profiles) > 0.6
    assert max(profile.corr_y for profile in profiles) > 0.6
    assert {noise.signal_share for noise in noises} >= {0.0, 1.0}
    for fact in ("step", "pattern", "outliers", "clip"):
        share = np.mean([bool(getattr(noise, fact)) for noise in noises])
        assert 0.02 < share < 0.5, fact
    assert all(noise.step < 3 * noise.sigma for noise in noises if noise.step)


def test_without_error_the_truth_is_told_five_times_of_six():
    truth = NoiseProfile(level=0.5, sigma=0.05, slope=0.004, corr_x=0.3, corr_y=0.1)
    random = np.random.default_rng(0)
    conditions = np.array([told(truth, random, error=0.0) for _ in range(600)])
    assert conditions.shape == (600, len(CONDITION))
    exact = np.isclose(conditions, truth.condition(), atol=1e-6).all(axis=1)
    assert exact.mean() == pytest.approx(5 / 6, abs=0.05)


def test_the_level_told_errs_as_asked_and_far_off_is_more_often_too_high():
    truth = NoiseProfile(level=0.5, sigma=0.05)
    random = np.random.default_rng(0)
    ratios = np.log([told(truth, random, error=0.12)[0] / 0.05 for _ in range(2000)])
    assert np.quantile(np.abs(ratios), 0.5) == pytest.approx(0.67 * 0.12, rel=0.35)
    far = ratios[np.abs(ratios) > 0.4]
    assert 0.02 < len(far) / 2000 < 0.15
    assert np.mean(far > 0) > 0.6


@pytest.mark.parametrize(
    "setting",
    [
        {"patch_px": 8},
        {"pool": 0},
        {"reuse": 0},
        {"told_error": -0.1},
        {"sigma": (0.1,)},
        {"kind": "paired"},
        {"colour": 1},
    ],
)
def test_settings_out_of_range_or_unknown_are_refused(setting):
    with pytest.raises(ValidationError):
        SimulatedConfig(**setting)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        SMALL.pool = 3
