"""Noise from flats and darks: gain, read noise, colour and fixed pattern of detectors that are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from longexposure.errors import InputError
from longexposure.noise.calibration import NoiseCalibration
from longexposure.noise.photon_transfer import measure_flats

GOLDEN = Path(__file__).parents[1] / "golden" / "k11_flats_darks.npz"
GAIN, READ, OFFSET = 1.7, 9.0, 200.0
QUANTA = (300, 1500, 6000)
SIDE = 72

Image = np.ndarray


def exposed(
    random: np.random.Generator, quanta: float | Image, *, dtype: type = np.uint16, side: int = SIDE
) -> Image:
    """A frame of a linear detector that counts quanta: mean GAIN * quanta + OFFSET."""
    mean = np.broadcast_to(np.asarray(quanta, dtype=float), (side, side))
    grey = GAIN * random.poisson(mean) + OFFSET + READ * random.standard_normal(mean.shape)
    top = np.iinfo(dtype).max
    return np.clip(np.rint(grey), 0, top).astype(dtype)


def levels(random: np.random.Generator, *, count: int = 3, pattern: Image | float = 1.0) -> list[list[Image]]:
    return [[exposed(random, quanta * pattern) for _ in range(count)] for quanta in QUANTA]


def darks(random: np.random.Generator, count: int = 3) -> list[Image]:
    return [exposed(random, 0.0) for _ in range(count)]


def true_variance(level: float) -> float:
    return GAIN * (level - OFFSET) + READ**2 + 1 / 12


def away(result: NoiseCalibration) -> list[float]:
    """By how many of its own standard errors each number is off."""
    profile = result.temporal
    variance_error = 2 * profile.sigma * result.noise.sigma_error
    assert result.noise.slope_error is not None
    return [
        (profile.sigma**2 - true_variance(profile.level)) / variance_error,
        (profile.slope - GAIN) / result.noise.slope_error,
        profile.corr_x / result.noise.corr_x_error,
        profile.corr_y / result.noise.corr_y_error,
    ]


def test_gain_read_noise_and_colour_come_back_within_the_stated_uncertainty() -> None:
    found = []
    for seed in range(24):
        random = np.random.default_rng(seed)
        found.append(away(measure_flats(levels(random), darks(random), pattern=False)))
    off = np.array(found)
    assert (np.abs(off) < 2).mean() > 0.88, "95 % of Gaussian errors, and these are about as good"
    assert np.abs(off.mean(axis=0)).max() < 0.8, "no bias: the mean of 24 is within 4 standard errors of 0"
    assert off.std(axis=0) == pytest.approx(np.ones(4), abs=0.5)


def test_it_agrees_with_the_textbook_calculation() -> None:
    """EMVA 1288 by hand: half the variance of a difference, over the mean above the dark."""
    random = np.random.default_rng(1)
    flats, without = levels(random, count=2), darks(random, count=2)
    halves = [0.5 * float(np.var(one.astype(float) - other)) for one, other in [*flats, without]]
    means = [float(np.mean(pair)) for pair in [*flats, without]]
    bright = zip(halves[:-1], means[:-1], strict=True)
    gains = [(half - halves[-1]) / (mean - means[-1]) for half, mean in bright]
    result = measure_flats(flats, without)
    assert result.temporal.slope == pytest.approx(np.mean(gains), rel=0.02)
    assert result.temporal.variance(means[-1]) == pytest.approx(halves[-1], rel=0.02)
    assert [variance for _, variance, _ in result.measured.points] == pytest.approx(halves, rel=0.02)
    assert result.measured.grey == pytest.approx((means[-1], means[-2]), rel=1e-3)


def test_few_frames_give_larger_errors_than_many() -> None:
    random = np.random.default_rng(2)
    few, many = (measure_flats(levels(random, count=count)) for count in (2, 12))
    assert 2 < few.noise.sigma_error / many.noise.sigma_error < 6, "the root of 11 pairs is 3.3"


def test_the_colour_of_quanta_behind_a_screen_is_separated_from_white_electronics() -> None:
    """Noise of two parts: one that goes with the signal and is smeared along rows, one constant and white."""
    random = np.random.default_rng(3)
    taps = np.array([0.8, 0.6])
    lag = float(taps[0] * taps[1])

    def frame(level: float) -> Image:
        white = random.standard_normal((80, 81))
        smeared = taps[0] * white[:, 1:] + taps[1] * white[:, :-1]
        read = 40 * random.standard_normal((80, 80))
        return (level + np.sqrt(2.0 * level) * smeared + read).astype(np.float32)

    result = measure_flats([[frame(level) for _ in range(6)] for level in (500.0, 2000.0, 8000.0)])
    profile = result.temporal
    expected = lag * 2 * profile.level / (2 * profile.level + 1600)
    assert profile.corr_x == pytest.approx(expected, abs=3 * result.noise.corr_x_error)
    assert profile.corr_y == pytest.approx(0, abs=3 * result.noise.corr_y_error)
    assert result.noise.slope_x == pytest.approx(2 * lag, rel=0.1)
    assert result.noise.slope_y == pytest.approx(0, abs=0.1)


def test_a_fixed_pattern_does_not_disturb_the_noise_and_is_measured_beside_it() -> None:
    random = np.random.default_rng(4)
    pixels = 1 + 0.02 * random.standard_normal((SIDE, SIDE))
    result = measure_flats(levels(random, count=6, pattern=pixels), darks(random))
    assert np.abs(away(result)[:2]).max() < 4
    assert result.pattern is not None
    assert result.pattern.fraction == pytest.approx(0.02, abs=3 * result.pattern.fraction_error)
    assert result.pattern.fraction_error < 0.001
    assert result.pattern.dark == pytest.approx(OFFSET, abs=1)
    assert [result.pattern.corr_x, result.pattern.corr_y] == pytest.approx([0, 0], abs=0.08)


def test_a_pattern_of_rows_correlates_along_rows() -> None:
    random = np.random.default_rng(5)
    rows = 1 + 0.02 * random.standard_normal((SIDE, 1)) * np.ones((1, SIDE))
    result = measure_flats(levels(random, count=6, pattern=rows), darks(random))
    assert result.pattern is not None
    assert result.pattern.corr_x > 0.8
    assert result.pattern.corr_y < 0.2


def test_without_a_pattern_none_is_found() -> None:
    found = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        found.append(measure_flats(levels(random), darks(random)).pattern)
    assert found == [None] * 8


def test_shading_is_neither_noise_nor_pattern_and_helps_to_see_the_slope() -> None:
    random = np.random.default_rng(6)
    shading = np.linspace(0.5, 1.5, SIDE)[None] * np.linspace(0.8, 1.2, SIDE)[:, None]
    result = measure_flats([[exposed(random, 3000 * shading) for _ in range(8)]])
    assert result.noise.slope_error is not None
    assert result.temporal.slope == pytest.approx(GAIN, abs=3 * result.noise.slope_error)
    assert result.noise.slope_error < 0.1 * GAIN
    assert result.pattern is None
    assert result.measured.grey[1] / result.measured.grey[0] > 2


def test_one_brightness_gives_sigma_there_and_no_slope() -> None:
    random = np.random.default_rng(7)
    result = measure_flats([[exposed(random, 1500) for _ in range(4)]])
    assert result.noise.slope_error is None
    assert result.temporal.slope == 0
    assert result.temporal.sigma == pytest.approx(true_variance(result.temporal.level) ** 0.5, rel=0.03)
    assert result.measured.grey[0] == result.measured.grey[1] == result.temporal.level


def test_a_lamp_that_drifts_and_flickers_is_taken_off_and_noted() -> None:
    random = np.random.default_rng(8)
    shading = np.linspace(0.6, 1.4, SIDE)[None] * np.ones((SIDE, 1))
    slow = np.linspace(-1, 1, SIDE)[:, None]

    def flats(quanta: float) -> list[Image]:
        lamp = enumerate(1 + 0.02 * random.standard_normal(6))
        return [exposed(random, quanta * shading * (by + 0.004 * number * slow)) for number, by in lamp]

    result = measure_flats([flats(quanta) for quanta in QUANTA], darks(random))
    assert np.abs(away(result)[:2]).max() < 4
    assert any("brightness changed by" in note for note in result.measured.notes)
    raw = 0.5 * np.var(np.diff(np.stack(flats(6000)).astype(float), axis=0))
    assert raw > 1.3 * true_variance(OFFSET + GAIN * 6000), "without care it would be noise"


def test_hot_flickering_and_hit_pixels_are_left_out() -> None:
    random = np.random.default_rng(9)
    where = random.random((SIDE, SIDE))
    flickering = (where > 0.002) & (where < 0.006)

    def spoiled(frame: Image) -> Image:
        grey = frame.astype(float)
        grey = np.where(where < 0.002, 65000, grey)
        grey = np.where(flickering, grey + 2000 * random.standard_normal(grey.shape), grey)
        grey = np.where(random.random(grey.shape) < 2e-4, grey + 20000, grey)
        return np.clip(np.rint(grey), 0, 65535).astype(np.uint16)

    flats = [[spoiled(frame) for frame in series] for series in levels(random, count=6)]
    result = measure_flats(flats, [spoiled(frame) for frame in darks(random, 6)])
    assert np.abs(away(result)).max() < 4
    assert result.pattern is None


def test_rounding_to_eight_bits_counts_as_noise() -> None:
    random = np.random.default_rng(10)

    def frame(level: float) -> Image:
        return np.rint(level + 0.45 * random.standard_normal((96, 96)) + fine).astype(np.uint8)

    fine = np.linspace(0, 3, 96)[None]  # all fractions of a grey value
    result = measure_flats([[frame(level) for _ in range(8)] for level in (60.0, 120.0)], pattern=False)
    assert result.temporal.sigma == pytest.approx((0.45**2 + 1 / 12) ** 0.5, rel=0.02)
    assert result.temporal.slope == pytest.approx(0, abs=1e-3)


def test_a_dark_off_the_line_is_left_out_and_noted() -> None:
    """A video chain: variance the same at all mid-greys, next to nothing in the dark."""
    random = np.random.default_rng(11)

    def frames(level: float, sigma: float) -> list[Image]:
        grey = level + sigma * random.standard_normal((6, SIDE, SIDE))
        return [np.rint(frame).astype(np.uint16) for frame in grey]

    result = measure_flats([frames(level, 50.0) for level in (2000, 4000, 8000)], frames(400, 5.0))
    assert result.temporal.slope == pytest.approx(0, abs=0.03)
    assert result.temporal.sigma == pytest.approx(50, rel=0.02)
    assert result.measured.grey[0] == pytest.approx(2000, rel=0.01)
    assert any("the dark lies off the line" in note for note in result.measured.notes)


def test_a_bent_line_is_noted_with_its_size() -> None:
    random = np.random.default_rng(12)
    points = ((1000, 20.0), (3000, 60.0), (9000, 60.0), (18000, 30.0))
    flats = [
        [np.rint(level + sigma * random.standard_normal((SIDE, SIDE))).astype(np.uint16) for _ in range(4)]
        for level, sigma in points
    ]
    result = measure_flats(flats)
    assert result.measured.misfit > 0.3
    assert any("no straight line" in note for note in result.measured.notes)


def test_a_clipped_brightness_is_left_out_and_the_others_count() -> None:
    random = np.random.default_rng(13)
    white = [np.clip(exposed(random, 38500).astype(int) + 30, 0, 65535).astype(np.uint16) for _ in range(3)]
    result = measure_flats([*levels(random), white], pattern=False)
    assert result.measured.grey[1] < 11000
    assert any("left out" in note and "black nor white" in note for note in result.measured.notes)
    assert np.abs(away(result)[:2]).max() < 4
    with pytest.raises(InputError, match=r"flats: expected .* reach neither black nor white"):
        measure_flats([white])


def test_a_clip_below_the_end_of_the_type_is_seen() -> None:
    """A camera of 12 bits in 16."""
    random = np.random.default_rng(14)
    flats = [[np.minimum(exposed(random, 2270), 4095) for _ in range(3)]]
    assert np.mean(flats[0][0] == 4095) > 0.2
    with pytest.raises(InputError, match="reach neither black nor white"):
        measure_flats(flats)


def test_darks_that_clip_are_left_out() -> None:
    random = np.random.default_rng(15)
    black = [np.clip(exposed(random, 0).astype(int) - 200, 0, None).astype(np.uint16) for _ in range(3)]
    result = measure_flats(levels(random), black)
    assert result.measured.darks == 0
    assert any(note.startswith("darks left out") for note in result.measured.notes)


def frames_of(name: str) -> Sequence[Image]:
    with np.load(GOLDEN, allow_pickle=False) as stored:
        return list(stored[name])


def test_a_real_camera_has_the_gain_of_photon_transfer_pixel_by_pixel() -> None:
    flats, without = frames_of("flats"), frames_of("darks")
    result = measure_flats([flats], without)
    light, dark = (np.stack(frames).astype(float) for frames in (flats, without))
    light = light / light.mean(axis=(1, 2), keepdims=True) * light.mean()  # the lamp's drift
    half, dark_half = (0.5 * (np.diff(frames, axis=0) ** 2).mean(axis=0) for frames in (light, dark))
    gains = (half - np.median(dark_half)) / (light - dark.mean()).mean(axis=0)
    assert result.temporal.slope == pytest.approx(float(np.median(gains)), rel=0.03)
    assert result.temporal.slope == pytest.approx(1.55, rel=0.02)
    assert result.temporal.variance(float(dark.mean())) == pytest.approx(np.median(dark_half), rel=0.2)
    assert max(abs(result.temporal.corr_x), abs(result.temporal.corr_y)) < 0.02
    assert result.pattern is not None
    still = (light.mean(axis=0) - dark.mean(axis=0)) / (light - dark).mean()
    down, across = (0.5 * float(np.median(np.diff(still, axis=axis) ** 2)) / 0.4549 for axis in (0, 1))
    assert result.pattern.fraction**2 == pytest.approx(down, rel=0.4), "its beam has stripes along the rows"
    assert result.pattern.fraction**2 * (1 - result.pattern.corr_x) == pytest.approx(across, rel=0.4)


def test_frames_are_not_modified() -> None:
    random = np.random.default_rng(16)
    flats, without = levels(random), darks(random)
    before = [frame.copy() for frame in (*flats[0], *flats[1], *flats[2], *without)]
    measure_flats(flats, without)
    after = (*flats[0], *flats[1], *flats[2], *without)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
