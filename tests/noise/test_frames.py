"""Noise from repeated exposures of any part: what comes back, what is taken off, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from longexposure.errors import InputError
from longexposure.noise.calibration import NoiseCalibration
from longexposure.noise.photon_transfer import measure_repeats

VIEWS = sorted((Path(__file__).parents[2] / "examples" / "radiographs").glob("ic_5s_view*.tif"))
GAIN, READ = 4.0, 6.0
SIDE = 112

Image = np.ndarray


def part() -> Image:
    """Nine balls and a wire before a slow slope, grey values 600 to 2400."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    scene = 2000 + 3.0 * y
    for row in (20, 56, 92):
        for column in (20, 56, 92):
            scene -= 900 * ((y - row) ** 2 + (x - column) ** 2 < 100)
    scene -= 500 * ((x > 37) & (x < 41))
    return ndimage.gaussian_filter(scene, 0.8)


def exposed(random: np.random.Generator, scene: Image, *, lag: float = 0.0, dtype: type = np.uint16) -> Image:
    """Noise of variance GAIN * scene + READ^2, smeared along rows: `lag` is a one-sided kernel's base."""
    taps = lag ** np.arange(6.0)
    taps /= np.sqrt(taps @ taps)
    white = random.standard_normal((scene.shape[0], scene.shape[1] + 5))
    noise = sum(tap * white[:, 5 - k : 5 - k + scene.shape[1]] for k, tap in enumerate(taps))
    top = np.iinfo(dtype).max
    return np.clip(np.rint(scene + np.sqrt(GAIN * scene + READ**2) * noise), 0, top).astype(dtype)


def kernel_lag(base: float) -> float:
    taps = base ** np.arange(6.0)
    return float(taps[:-1] @ taps[1:] / (taps @ taps))


def away(result: NoiseCalibration, *, lag: float = 0.0) -> list[float]:
    """By how many of its own standard errors each number is off."""
    profile = result.temporal
    truth = GAIN * profile.level + READ**2 + 1 / 12
    assert result.noise.slope_error is not None
    return [
        (profile.sigma**2 - truth) / (2 * profile.sigma * result.noise.sigma_error),
        (profile.slope - GAIN) / result.noise.slope_error,
        (profile.corr_x - lag) / result.noise.corr_x_error,
        profile.corr_y / result.noise.corr_y_error,
    ]


@pytest.mark.parametrize(("frames", "base"), [(2, 0.0), (6, 0.0), (4, 0.6)])
def test_noise_of_a_part_comes_back_within_the_stated_uncertainty(frames: int, base: float) -> None:
    found = []
    for seed in range(16):
        random = np.random.default_rng(seed)
        repeats = [exposed(random, part(), lag=base) for _ in range(frames)]
        found.append(away(measure_repeats([repeats]), lag=kernel_lag(base)))
    off = np.array(found)
    assert (np.abs(off) < 2).mean() > 0.85
    assert np.abs(off.mean(axis=0)).max() < 1.0
    assert off.std(axis=0) == pytest.approx(np.ones(4), abs=0.6)


def test_it_is_what_the_spread_of_every_pixel_says() -> None:
    """Pixel by pixel, over many exposures: variance against mean, a line through all of them."""
    random = np.random.default_rng(1)
    repeats = [exposed(random, part()) for _ in range(24)]
    stack = np.stack(repeats).astype(float)
    slope, height = np.polyfit(stack.mean(axis=0).ravel(), stack.var(axis=0, ddof=1).ravel(), 1)
    result = measure_repeats([repeats])
    assert result.temporal.sigma**2 == pytest.approx(height + slope * result.temporal.level, rel=0.02)
    assert result.temporal.slope == pytest.approx(slope, rel=0.15)


def test_several_parts_count_together() -> None:
    random = np.random.default_rng(2)
    dim, bright = ([exposed(random, by * part()) for _ in range(4)] for by in (0.5, 1.5))
    alone, both = measure_repeats([bright]), measure_repeats([dim, bright])
    assert alone.noise.slope_error is not None
    assert both.noise.slope_error is not None
    assert both.noise.slope_error < 0.5 * alone.noise.slope_error
    assert both.measured.grey[0] < 0.6 * alone.measured.grey[0]
    assert np.abs(away(both)).max() < 4


def test_a_part_that_creeps_by_a_tenth_of_a_pixel_is_noted_and_does_not_count_as_noise() -> None:
    random = np.random.default_rng(3)
    scenes = [ndimage.shift(part(), (0.1 * k, 0.05 * k), order=3, mode="nearest") for k in range(4)]
    result = measure_repeats([[exposed(random, scene) for scene in scenes]])
    assert np.abs(away(result)).max() < 4
    assert any("moved by up to 0.1" in note for note in result.measured.notes)


def test_one_ball_that_moves_is_left_out() -> None:
    random = np.random.default_rng(4)
    y, x = np.mgrid[:SIDE, :SIDE]
    scenes = [part() - 600 * ((y - 38) ** 2 + (x - 72 - 2 * k) ** 2 < 30) for k in range(4)]
    result = measure_repeats([[exposed(random, scene) for scene in scenes]])
    raw = 0.5 * np.var(np.diff(np.stack(scenes), axis=0))
    assert raw > 0.07 * GAIN * 2000, "left in, it would be seen"
    assert result.temporal.sigma**2 == pytest.approx(GAIN * result.temporal.level + READ**2, rel=0.05)


def test_light_that_drifts_by_a_percent_a_frame_is_taken_off() -> None:
    random = np.random.default_rng(5)
    slow = np.linspace(-1, 1, SIDE)[None]
    scenes = [part() * (1 + 0.01 * k) + 6 * k * slow for k in range(6)]
    result = measure_repeats([[exposed(random, scene) for scene in scenes]])
    assert np.abs(away(result)).max() < 4
    assert any("brightness changed by 4" in note for note in result.measured.notes)


def test_saturated_areas_are_left_out_and_not_vouched_for() -> None:
    random = np.random.default_rng(6)
    scene = part() * 20
    scene[:, :45] = 70000
    result = measure_repeats([[exposed(random, scene) for _ in range(4)]])
    assert np.abs(away(result)[:1]).max() < 4
    assert result.measured.grey[1] < 65535


def test_eight_bits_with_less_noise_than_a_grey_value_come_back() -> None:
    random = np.random.default_rng(7)
    y, x = np.mgrid[:128, :128]
    scene = 40 + 1.0 * x + 0.37 * y
    frames = [
        np.rint(scene + np.sqrt(0.1 + 0.001 * scene) * random.standard_normal(scene.shape)).astype(np.uint8)
        for _ in range(6)
    ]
    result = measure_repeats([frames])
    expected = 0.1 + 0.001 * result.temporal.level + 1 / 12
    assert result.temporal.sigma**2 == pytest.approx(expected, rel=0.05)


def shaken(by_px: int) -> list[Image]:
    random = np.random.default_rng(8)
    texture = 2000 + 300 * ndimage.gaussian_filter(random.standard_normal((SIDE, SIDE)), 1.5) / 0.19
    return [exposed(random, np.roll(texture, by_px * k, axis=1)) for k in range(3)]


def filtered_in_time() -> list[Image]:
    """A recursive filter of the camera: every frame holds half of the one before."""
    random = np.random.default_rng(9)
    frames = [exposed(random, part()).astype(float)]
    for _ in range(7):
        frames.append(0.5 * frames[-1] + 0.5 * exposed(random, part()))
    return [np.rint(frame).astype(np.uint16) for frame in frames]


def one_of(part_scene: Image) -> Image:
    return exposed(np.random.default_rng(10), part_scene)


REFUSED = {
    "one exposure": (lambda: [one_of(part())], "two or more exposures of the same thing, found 1"),
    "a copy": (
        lambda: [one_of(part()), one_of(part())],
        "same pixels in exposures 1 and 2; a copy is not a repeat",
    ),
    "a copy made brighter": (
        lambda: [(by * one_of(part())).astype(np.float32) for by in (1.0, 1.1, 1.2)],
        "a copy is not a repeat, brightened or not",
    ),
    "a texture that moves by 3 px": (lambda: shaken(3), "one part that does not move"),
    "a chip from seven angles": (lambda: list(map(tifffile.imread, VIEWS)), "one part that does not move"),
    "two neighbouring angles": (
        lambda: [tifffile.imread(v) for v in VIEWS[3:5]],
        "one part that does not move",
    ),
    "a recursive filter": (filtered_in_time, "noise that correlates by 0.[56].*running averages"),
    "all white": (
        lambda: [
            np.clip(one_of(part()).astype(int) + k + 64000, 0, 65535).astype(np.uint16) for k in range(2)
        ],
        "black nor white",
    ),
    "too small": (lambda: [one_of(part())[:12, :12] + np.uint16(k) for k in range(2)], "at least 256 pixels"),
    "not a number": (
        lambda: [np.full((32, 32), value, np.float32) for value in (1.0, np.nan)],
        "finite grey values, found NaN",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_are_no_repeats_is_refused_in_one_line(name: str) -> None:
    frames, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        measure_repeats([frames()])
    assert str(caught.value).startswith("repeats: expected ")
    assert "\n" not in str(caught.value)


def test_shaking_is_refused_however_far() -> None:
    for by_px in (1, 2, 5, 11):
        with pytest.raises(InputError, match="repeats: expected"):
            measure_repeats([shaken(by_px)])


def test_the_same_texture_standing_still_is_not_refused() -> None:
    result = measure_repeats([shaken(0)])
    assert np.abs(away(result)).max() < 4
    assert result.measured.notes == ()


def test_of_large_frames_the_middle_is_measured() -> None:
    random = np.random.default_rng(11)
    narrow = [np.rint(1000 + 30 * random.standard_normal((3, 9000))).astype(np.uint16) for _ in range(2)]
    for frame in narrow:
        frame[:, :3400] = random.integers(0, 60000, (3, 3400))
    result = measure_repeats([narrow])
    assert result.temporal.sigma == pytest.approx(30, rel=0.05)
