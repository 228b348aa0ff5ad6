"""Patterns: as often as asked for, with the machine's own noise, a function of the stream alone."""

from __future__ import annotations

import numpy as np
import pytest
from quick import DATA

from longexposure.data.patterns import FADES_PX, PATTERNS, PatternsConfig, lettering, repaired, with_pattern
from longexposure.data.simulated_patches import SimulatedImages, SimulatedPatches, SimulatedPatchesConfig
from longexposure.errors import RecipeError
from longexposure.noise import NoiseProfile
from longexposure.train.recipe import recipe_from

QUANTUM = NoiseProfile(level=0.5, sigma=0.05, slope=0.005)
"""Variance 0.0025 at 0.5, and 0 at 0: quantum noise."""


def patch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    target = np.full((144, 144), 0.5, np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.05, target.shape)
    return (target + noise).astype(np.float32), target


def test_patterns_come_as_often_as_asked_for() -> None:
    random = np.random.default_rng(1)
    noisy, target = patch()
    config = PatternsConfig(flat=0.2, text=0.3)
    shown = [with_pattern(noisy, target, QUANTUM, random, config)[0] for _ in range(400)]
    kept = sum(np.array_equal(one, noisy) for one in shown)
    assert kept / 400 == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_are_drawn_by_the_stream_alone(kind: str) -> None:
    noisy, target = patch()
    config = PatternsConfig.model_validate({kind: 1.0})
    one, other = (with_pattern(noisy, target, QUANTUM, np.random.default_rng(7), config) for _ in range(2))
    np.testing.assert_array_equal(one[:2], other[:2])
    assert np.isfinite(one[:2]).all()
    assert one[2] == QUANTUM
    assert one[0].dtype == one[1].dtype == np.float32
    assert not np.array_equal(one[1], target)


def test_noise_keeps_its_colour_and_follows_the_brightness() -> None:
    noisy, target = patch()
    for seed in range(12):
        seen, pattern, _ = with_pattern(
            noisy, target, QUANTUM, np.random.default_rng(seed), PatternsConfig(flat=1.0)
        )
        expected = np.sqrt(QUANTUM.variance(pattern) / 0.0025).clip(0.25, 4)
        np.testing.assert_allclose(seen - pattern, expected * (noisy - target), atol=2e-6)


def test_lines_are_as_strong_as_said() -> None:
    target = patch()[1]
    for seed in range(20):
        made = PATTERNS["lines"](target, 0.05, np.random.default_rng(seed))
        rough = np.abs(np.diff(made, n=2, axis=1)).max()
        assert made.shape == target.shape
        assert rough < 4 * 3 * 0.05  # at most 3 sigma from line to gap, on ground that is smooth


def test_lettering_is_free_of_noise_and_of_one_value() -> None:
    noisy, target = patch()
    seen, aim, _ = with_pattern(noisy, target, QUANTUM, np.random.default_rng(3), PatternsConfig(text=1.0))
    _, covered = lettering(target, np.random.default_rng(3))
    changed = seen != noisy
    assert 0.005 < changed.mean() < 0.5
    assert len(np.unique(seen[changed])) == 1
    np.testing.assert_array_equal(seen[changed], aim[changed])
    assert covered.any()


def test_filled_areas_hold_neither_noise_nor_detail() -> None:
    noisy, target = patch()
    filled = 0
    for seed in range(20):
        seen, aim, _ = with_pattern(
            noisy, target, QUANTUM, np.random.default_rng(seed), PatternsConfig(filled=1.0)
        )
        np.testing.assert_allclose(aim, target, atol=1e-6)  # what is flat has a flat continuation
        noise = np.abs(seen - aim) / np.maximum(np.abs(noisy - target), 1e-9)
        assert (noise <= 1.001).all()
        filled += np.count_nonzero(noise < 1e-3)
    assert filled > 20 * FADES_PX**2


def test_repaired_pixels_are_means_of_their_neighbours() -> None:
    noisy, target = patch()
    for seed in range(20):
        made = repaired(noisy, np.random.default_rng(seed))
        changed = made != noisy
        assert 0 < changed.mean() < 0.12
        assert np.abs(made - target)[changed].std() < 0.05  # less than the noise of one pixel
        with_pattern(noisy, target, QUANTUM, np.random.default_rng(seed), PatternsConfig(repaired=1.0))


def test_behind_a_logarithm_the_profile_is_that_of_what_is_seen() -> None:
    for seed in range(6):
        ramp = np.linspace(0.05, 0.95, 512, dtype=np.float32)
        target = np.repeat(ramp[None], 512, axis=0)
        random = np.random.default_rng(seed)
        noisy = target + np.sqrt(QUANTUM.variance(target)) * random.standard_normal(target.shape)
        seen, aim, profile = with_pattern(
            noisy.astype(np.float32), target, QUANTUM, random, PatternsConfig(logarithm=1.0)
        )
        assert np.abs(255 * seen - np.rint(255 * seen)).max() < 1e-3
        np.testing.assert_array_equal(np.argsort(aim[0], kind="stable"), np.arange(512))
        for level in (0.3, 0.5, 0.7):
            near = np.abs(aim[0] - level) < 0.01
            if np.count_nonzero(near) >= 3:
                found = float((seen - aim)[:, near].std())
                assert found == pytest.approx(profile.sigma_at(level), rel=0.05 if level == 0.5 else 0.12)
        assert profile.slope < QUANTUM.slope  # stronger in the dark than the line before


def test_training_patches_have_them_and_validation_images_have_not() -> None:
    config = SimulatedPatchesConfig.model_validate({**DATA, "patterns": {"text": 1.0}})
    plain = SimulatedPatchesConfig.model_validate(DATA)
    ones, others = (SimulatedPatches(each, seed=1)[0] for each in (config, plain))
    assert not np.array_equal(ones["target"], others["target"])
    ones, others = (SimulatedImages(each, seed=1, count=1, size_px=32)[0] for each in (config, plain))
    np.testing.assert_array_equal(ones["target"], others["target"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"patterns": {"flat": 0.7, "foam": 0.6}}, "add up to at most 1"),
        ({"patterns": {"waves": 0.1}}, "waves"),
        ({"patterns": {"flat": 0.1}, "target": "long"}, "noise-free targets"),
    ],
)
def test_impossible_patterns_are_refused(changes: dict[str, object], says: str) -> None:
    values = {
        "name": "a",
        "steps": 600,
        "network": {"kind": "fast"},
        "data": {**DATA, **changes},
    }
    with pytest.raises(RecipeError, match=says):
        recipe_from(values, where="test")
