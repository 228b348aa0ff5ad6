"""Fresh noise: as strong as the profile says at every grey value, and neighbours correlate as it says."""

from __future__ import annotations

import numpy as np
import pytest

from longexposure.noise import NoiseProfile
from longexposure.noise.draws import draw_noise, stronger


def draws(noise: NoiseProfile, level: np.ndarray, count: int = 24) -> np.ndarray:
    return np.stack([draw_noise(noise, level, np.random.default_rng(seed)) for seed in range(count)])


@pytest.mark.parametrize(
    ("corr_x", "corr_y"), [(0.0, 0.0), (0.2, 0.2), (0.5, 0.0), (0.1, 0.6), (-0.2, 0.0), (0.9, 0.1)]
)
def test_neighbours_correlate_as_the_profile_says(corr_x: float, corr_y: float) -> None:
    noise = NoiseProfile(level=0.5, sigma=0.1, corr_x=corr_x, corr_y=corr_y)
    drawn = draws(noise, np.full((96, 96), 0.5))
    power = (drawn**2).mean()
    assert power == pytest.approx(0.01, rel=0.05)
    assert (drawn[..., 1:] * drawn[..., :-1]).mean() / power == pytest.approx(corr_x, abs=0.02)
    assert (drawn[:, 1:] * drawn[:, :-1]).mean() / power == pytest.approx(corr_y, abs=0.02)


def test_noise_is_as_strong_as_the_grey_value_asks() -> None:
    noise = NoiseProfile(level=0.5, sigma=0.1, slope=0.018)
    level = np.repeat([[0.0, 0.25, 0.5, 1.0]], 64, axis=0).repeat(32, axis=1)
    seen = draws(noise, level).var(axis=(0, 1)).reshape(4, 32).mean(axis=1)
    assert seen == pytest.approx([0.001, 0.0055, 0.01, 0.019], rel=0.1)


def test_equal_generators_draw_equal_noise() -> None:
    noise, level = NoiseProfile(level=0.5, sigma=0.1, corr_x=0.3), np.full((31, 40), 0.5)
    first, second = draws(noise, level, 2), draws(noise, level, 2)
    assert first.tobytes() == second.tobytes()
    assert (first[0] != first[1]).all()


def test_stronger_noise_has_so_many_times_the_deviation_at_every_grey_value() -> None:
    line = NoiseProfile(level=100, sigma=5, slope=0.2, corr_x=0.1)
    curved = NoiseProfile(level=100, sigma=5, curve=((0, 2), (50, 6), (200, 4)))
    for noise in (line, curved):
        for grey in (20.0, 80.0, 170.0):
            assert stronger(noise, 1.5).sigma_at(grey) == pytest.approx(1.5 * noise.sigma_at(grey))
    assert stronger(line, 1.5).corr_x == 0.1
