"""The video chain against filters worked out by hand and against many repeats."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from longexposure.errors import InputError, LongExposureError
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.detector.panel_noise import PanelNoise
from longexposure.simulation.detector.video import REACH_PX, VideoConfig, filtered_rows, line_taps
from longexposure.simulation.random_source import NumpyRandom, TorchRandom, as_numpy

SHAPE = (128, 160)
RANGE = {"black": 100.0, "white": 1100.0}
ALL_STRENGTHS = VideoConfig(
    **RANGE, agc=0.02, gamma=0.6, line_lag=0.4, field_mix=0.2, field_gain=0.03, field_offset=0.02,
    field_shift_px=0.3, jitter_px=0.2, noise=0.05, noise_lag=0.5, field_noise=0.02, frame_s=0.5, bits=8,
    stored_bits=16,
)  # fmt: skip


def _scene(shape=SHAPE, seed=1):
    return (100 + 1000 * np.random.default_rng(seed).random(shape)).astype(np.float32)


def _flat(fraction=0.5, shape=SHAPE):
    return np.full(shape, 100 + 1000 * fraction, np.float32)


def _through(video, image, *, seed=0, seconds=5.0):
    return video.through(image, exposure_s=seconds, rng=NumpyRandom(seed))


def _lag(noise, lag, axis=-1):
    noise = np.moveaxis(noise.astype(float) - noise.mean(), axis, -1)
    return (noise[..., lag:] * noise[..., : noise.shape[-1] - lag]).mean() / (noise**2).mean()


# Laws


def test_without_strengths_the_chain_is_the_identity_and_draws_nothing():
    scene = _scene()
    for config in (VideoConfig(), VideoConfig(**RANGE)):
        rng = NumpyRandom(3)
        np.testing.assert_allclose(config.through(scene, exposure_s=5, rng=rng), scene, rtol=1e-6)
        np.testing.assert_allclose(config.expectation(scene), scene, rtol=1e-6)
        np.testing.assert_array_equal(rng.normal((4,)), NumpyRandom(3).normal((4,)))


def test_image_is_not_modified_and_equal_seeds_give_equal_bits():
    scene = _scene()
    copy = scene.copy()
    first, again, other = (_through(ALL_STRENGTHS, scene, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(scene, copy)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


class _AsTorch(NumpyRandom):
    def array(self, values):
        return torch.from_numpy(super().array(values))

    def normal(self, shape):
        return torch.from_numpy(super().normal(shape))


@pytest.mark.parametrize("shape", [SHAPE, (3, *SHAPE)])
def test_tensors_and_arrays_pass_the_same_arithmetic(shape):
    scene = _scene(shape)
    config = ALL_STRENGTHS.model_copy(update={"bits": None, "stored_bits": None})
    array = config.through(scene, exposure_s=5, rng=NumpyRandom(2))
    tensor = config.through(torch.from_numpy(scene), exposure_s=5, rng=_AsTorch(2))
    assert array.dtype == np.float32
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(as_numpy(tensor), array, rtol=2e-4, atol=1e-2)
    clean = config.expectation(torch.from_numpy(scene))
    np.testing.assert_allclose(as_numpy(clean), config.expectation(scene), rtol=1e-5)


def test_items_of_a_batch_have_noise_of_their_own():
    config = VideoConfig(**RANGE, noise=0.05, field_noise=0.02, agc=0.05)
    images = config.through(
        torch.full((2, *SHAPE), 600.0), exposure_s=5, rng=TorchRandom(torch.Generator().manual_seed(0))
    )
    assert abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.2
    assert abs(float(images[0].mean() - images[1].mean())) > 1


# The line


@pytest.mark.parametrize("lag_one", [0.0, 0.2, 0.5, 0.7, 0.8])
def test_line_gives_white_noise_the_correlation_asked_for_and_none_after_five_pixels(lag_one):
    config = VideoConfig(**RANGE, line_lag=lag_one)
    white = (600 + 50 * np.random.default_rng(1).standard_normal((400, 500))).astype(np.float32)
    smeared = _through(config, white)
    assert _lag(smeared, 1) == pytest.approx(lag_one, abs=0.01)
    assert abs(_lag(smeared, REACH_PX)) < 0.01
    assert abs(_lag(smeared, 1, axis=0)) < 0.01
    assert smeared.mean() == pytest.approx(600, abs=0.5)
    np.testing.assert_allclose(_through(config, _flat()), _flat(), rtol=1e-5)


@pytest.mark.parametrize("lag_one", [0.0, 0.3, 0.8])
def test_own_noise_has_the_size_and_correlation_asked_for(lag_one):
    config = VideoConfig(**RANGE, noise=0.04, noise_lag=lag_one)
    noise = _through(config, _flat(shape=(500, 500))) - 600
    assert noise.std() == pytest.approx(40, rel=0.02)
    assert _lag(noise, 1) == pytest.approx(lag_one, abs=0.01)
    assert abs(_lag(noise, 1, axis=0)) < 0.01
    assert noise[:, :3].std() == pytest.approx(40, rel=0.1)
    assert noise[:, -3:].std() == pytest.approx(40, rel=0.1)


def test_taps_fall_to_one_side_and_sum_to_one():
    taps = np.array(line_taps(0.5))
    assert taps.sum() == pytest.approx(1)
    assert (np.diff(taps) < 0).all()
    smeared = filtered_rows(np.eye(1, 20, 8, dtype=np.float32), line_taps(0.5), middle=1)[0]
    np.testing.assert_allclose(smeared[7 : 7 + len(taps)], taps, rtol=1e-6)
    assert smeared[:7].sum() == 0


def test_filter_is_numpys_convolution_away_from_the_ends():
    image = np.random.default_rng(0).random((3, 40)).astype(np.float32)
    taps = (0.5, 0.2, 0.2, 0.1)
    found = filtered_rows(image, taps, middle=2)
    for row, line in zip(found, image, strict=True):
        np.testing.assert_allclose(row[4:-4], np.convolve(line, taps)[2:-1][4:-4], rtol=1e-5)
    mirrored = np.pad(image, ((0, 0), (4, 4)), mode="symmetric")
    np.testing.assert_allclose(found, filtered_rows(mirrored, taps, middle=2)[:, 4:-4], rtol=1e-5)


# Fields


def test_fields_differ_by_the_gain_and_offset_given():
    config = VideoConfig(**RANGE, field_gain=0.04, field_offset=0.03)
    image = _through(config, _flat(0.5))
    assert image[1::2].mean() - image[::2].mean() == pytest.approx(1000 * (0.5 * 0.04 + 0.03), rel=1e-4)
    assert image.mean() == pytest.approx(600, rel=1e-5)
    assert image[::2].std() < 1e-3


@pytest.mark.parametrize("shift", [1.0, 0.5, -0.25])
def test_odd_field_lies_shifted_by_a_part_of_a_pixel(shift):
    ramp = np.tile(np.linspace(200, 1000, SHAPE[1], dtype=np.float32), (SHAPE[0], 1))
    image = _through(VideoConfig(**RANGE, field_shift_px=shift), ramp)
    np.testing.assert_allclose(image[::2], ramp[::2], rtol=1e-5)
    slope = ramp[0, 1] - ramp[0, 0]
    np.testing.assert_allclose((ramp - image)[1::2, 2:-2], slope * shift, rtol=1e-2)


def test_lines_jitter_as_told_and_less_over_many_frames():
    ramp = np.tile(np.linspace(100, 1100, 201, dtype=np.float32), (2000, 1))
    config = VideoConfig(**RANGE, jitter_px=0.2, frame_s=0.2)
    for seconds, frames in ((0.2, 1), (5, 25)):
        places = (ramp - _through(config, ramp, seconds=seconds))[:, 100] / 5
        assert places.std() == pytest.approx(0.2 / frames**0.5, rel=0.06)
        assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.1


def test_deinterlacing_correlates_neighbouring_lines():
    white = (600 + 50 * np.random.default_rng(1).standard_normal((400, 400))).astype(np.float32)
    image = _through(VideoConfig(**RANGE, field_mix=0.4), white)
    taps = np.array([0.2, 0.6, 0.2])
    assert _lag(image, 1, axis=0) == pytest.approx(2 * 0.2 * 0.6 / (taps @ taps), abs=0.01)
    assert abs(_lag(image, 1)) < 0.01


def test_each_field_has_a_random_offset():
    config = VideoConfig(**RANGE, field_noise=0.01, frame_s=1.0)
    images = [_through(config, _flat(), seed=k, seconds=4) - 600 for k in range(300)]
    fields = np.array([[image[::2].mean(), image[1::2].mean()] for image in images])
    np.testing.assert_allclose(fields.std(0), 10 / 2, rtol=0.15)
    assert abs(np.corrcoef(fields.T)[0, 1]) < 0.2


# Camera and grabber


def test_gamma_and_gain_act_on_the_range_from_black_to_white():
    scene = _scene()
    fraction = (scene.astype(float) - 100) / 1000
    np.testing.assert_allclose(
        _through(VideoConfig(**RANGE, gamma=0.45), scene), 100 + 1000 * fraction**0.45, rtol=1e-4
    )
    config = VideoConfig(**RANGE, agc=0.05)
    gains = [
        np.log((_through(config, scene, seed=k).mean() - 100) / (scene.mean() - 100)) for k in range(300)
    ]
    assert np.std(gains) == pytest.approx(0.05, rel=0.12)
    assert np.mean(gains) == pytest.approx(0, abs=0.012)


def test_grabber_clips_at_both_ends_and_stores_few_levels():
    ramp = np.tile(np.linspace(-200, 1400, SHAPE[1], dtype=np.float32), (SHAPE[0], 1))
    for config, top, step in (
        (VideoConfig(**RANGE, bits=8, stored_bits=8), 255, 1),
        (VideoConfig(**RANGE, bits=8, stored_bits=16), 65535, 257),
        (VideoConfig(**RANGE, bits=6, stored_bits=16), 65535, 65535 / 63),
    ):
        image = _through(config, ramp)
        assert image.min() == 0
        assert image.max() == top
        levels = np.unique(image)
        np.testing.assert_array_equal(levels, np.round(levels))
        np.testing.assert_allclose(
            np.diff(levels)[:20] / step, np.round(np.diff(levels)[:20] / step), atol=0.01
        )
        expected = np.clip((ramp.astype(float) - 100) / 1000, 0, 1) * top
        np.testing.assert_allclose(config.expectation(ramp), expected, rtol=1e-4, atol=1e-3)
        assert np.abs(image - expected).max() <= step / 2 + 0.51
    kept = VideoConfig(**RANGE, bits=8)
    assert _through(kept, ramp).min() == 100
    assert _through(kept, ramp).max() == pytest.approx(1100)


def test_noise_falls_where_the_signal_clips():
    config = VideoConfig(**RANGE, noise=0.05, bits=8, stored_bits=8)
    spread = {fraction: _through(config, _flat(fraction)).std() for fraction in (-0.02, 0.3, 0.7, 1.02)}
    assert spread[0.3] == pytest.approx(spread[0.7], rel=0.05)
    assert spread[0.3] == pytest.approx((12.75**2 + 1 / 12) ** 0.5, rel=0.03)
    assert max(spread[-0.02], spread[1.02]) < 0.6 * spread[0.3]


def test_averaging_divides_noise_until_the_grabbers_limit():
    config = VideoConfig(**RANGE, noise=0.05, frame_s=0.1, most_frames=100)
    for seconds, frames in ((0.1, 1), (5, 50), (90, 100)):
        spread = (_through(config, _flat(), seconds=seconds) - 600).std()
        assert spread == pytest.approx(50 / frames**0.5, rel=0.03)


# The true profile


def _panel(config, *, shape, seed=5):
    return Panel(config, shape=shape, quanta_per_px_s=200, rng=NumpyRandom(seed))


@pytest.mark.parametrize("gamma", [1.0, 0.5])
@pytest.mark.parametrize("shape", [(64, 80), (64, 81)])
def test_profile_behind_the_chain_is_what_repeats_show(gamma, shape):
    panel = _panel(PanelConfig(gain=1.0, read_noise=15, row_noise=4, offset=100, bits=None), shape=shape)
    video = VideoConfig(
        **RANGE, gamma=gamma, line_lag=0.3, field_mix=0.25, noise=0.02, noise_lag=0.6, field_noise=0.01,
        frame_s=2.5, bits=8, stored_bits=16,
    )  # fmt: skip
    seen = {}
    for fraction in (0.45, 0.55):
        frames = []
        for k in range(150):
            rng = NumpyRandom((k, 1))
            quanta = panel.collect(np.full(shape, fraction, np.float32), exposure_s=5, rng=rng)
            grey = panel.read_out(quanta, exposure_s=5, rng=rng)
            frames.append(video.through(grey, exposure_s=5, rng=rng))
        frames = np.stack(frames).astype(float)
        noise = frames - frames.mean((1, 2), keepdims=True)
        seen[fraction] = frames.mean(), noise.var(), _lag(noise, 1), _lag(noise, 1, axis=-2)

    def spectrum(grey):
        return PanelNoise(panel).power_spectrum(grey, exposure_s=5)

    for fraction, (mean, variance, corr_x, corr_y) in seen.items():
        true = video.profile(100 + 1000 * fraction, spectrum=spectrum, shape=shape, exposure_s=5)
        assert true.level == pytest.approx(mean, rel=2e-3)
        assert true.sigma**2 == pytest.approx(variance, rel=0.03)
        assert true.corr_x == pytest.approx(corr_x, abs=0.02)
        assert true.corr_y == pytest.approx(corr_y, abs=0.03)
    middle = video.profile(600.0, spectrum=spectrum, shape=shape, exposure_s=5)
    (low, below, *_), (high, above, *_) = seen.values()
    assert middle.slope == pytest.approx(
        (above - below) / (high - low), abs=0.06 * middle.sigma**2 / (high - low)
    )


def test_square_root_gamma_makes_quantum_noise_flat():
    shape = (64, 64)
    panel = _panel(PanelConfig(gain=1.0, offset=100, bits=None), shape=shape)
    video = VideoConfig(**RANGE, gamma=0.5)
    fractions = (0.3, 0.6, 0.9)
    profiles = [
        video.profile(
            100 + 1000 * fraction,
            spectrum=lambda grey: PanelNoise(panel).power_spectrum(grey, exposure_s=5),
            shape=shape,
            exposure_s=5,
        )
        for fraction in fractions
    ]
    assert profiles[0].sigma == pytest.approx(profiles[2].sigma, rel=1e-3)
    assert profiles[1].slope * 1000 / profiles[1].sigma ** 2 == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("digitiser", [{"bits": 5}, {"bits": 5, "stored_bits": 8}, {"stored_bits": 8}])
def test_rounding_is_part_of_the_profile(digitiser):
    video = VideoConfig(**RANGE, noise=0.004, **digitiser)
    levels = np.linspace(0.4, 0.4 + 6 / 31, 60, endpoint=False)
    errors = [_through(video, _flat(x), seed=k) - video.expectation(_flat(x)) for k, x in enumerate(levels)]
    silent = np.zeros((SHAPE[0], SHAPE[1] // 2 + 1))
    true = video.profile(600.0, spectrum=lambda grey: silent, shape=SHAPE, exposure_s=5)
    assert true.sigma == pytest.approx(np.std(errors), rel=0.02)


def test_field_difference_is_part_of_the_profile():
    video = VideoConfig(**RANGE, field_offset=0.02)
    image = _through(video, _flat())
    silent = np.zeros((SHAPE[0], SHAPE[1] // 2 + 1))
    true = video.profile(600.0, spectrum=lambda grey: silent, shape=SHAPE, exposure_s=5)
    assert true.sigma == pytest.approx(image.std(), rel=1e-3) == pytest.approx(10, rel=1e-3)
    assert true.corr_x == pytest.approx(1, abs=1e-6)
    assert true.corr_y == pytest.approx(-1, abs=1e-6)


# Bad input


@pytest.mark.parametrize(
    "wrong",
    [
        {"black": 1.0, "white": 1.0},
        {"bits": 12, "stored_bits": 8},
        {"line_lag": 0.9},
        {"gamma": 0},
        {"nois": 1},
        {"black": -1e7},
        {"white": 1e300},
        {"frame_s": 1e5},
    ],
)
def test_impossible_configs_are_refused(wrong):
    with pytest.raises((ValidationError, LongExposureError)):
        VideoConfig(**wrong)


def test_without_frames_noise_of_a_long_exposure_is_as_strong_as_that_of_a_short_one():
    for frame_s, factor in ((None, 1), (1.0, 4)):
        video = VideoConfig(**RANGE, noise=0.02, frame_s=frame_s)
        short, long = (_through(video, _flat(), seconds=seconds).std() for seconds in (1, 16))
        assert short / long == pytest.approx(factor, rel=0.05)


def test_impossible_times_and_images_are_refused_in_one_line():
    for seconds in (0, -1, float("nan")):
        with pytest.raises(LongExposureError, match="exposure_s"):
            _through(VideoConfig(), _scene(), seconds=seconds)
    with pytest.raises(InputError, match="at least 6 pixels"):
        _through(VideoConfig(line_lag=0.5), _scene((4, 4)))
