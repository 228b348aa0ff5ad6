"""The panel against counting statistics, the screen's spectrum, real flats and a real map of bad pixels."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from longexposure.errors import InputError, RecipeError
from longexposure.simulation.detector.panel import (
    LINE,
    BadPixelConfig,
    Panel,
    PanelConfig,
    draw_bad_pixels,
)
from longexposure.simulation.random_source import NumpyRandom, TorchRandom, as_numpy

SIDE = 160
GOLDEN = Path(__file__).parents[2] / "golden" / "k11_flats_darks.npz"
ALL_STRENGTHS = PanelConfig(
    gain=4.0, swank=0.85, frame_s=1.0, read_noise=12, row_noise=3, column_noise=2, dark_e_s=5e4, offset=300,
    offset_pattern=4, offset_drift=5, block_offset_drift=3, dark_frames=16, pixel_gain=0.01, block_gain=0.1,
    block_px=16, flat_frames=20, gain_drift=0.003, block_gain_drift=0.002, lag=0.02, full_well=7000,
    bad=BadPixelConfig(
        single=0.004, small=0.002, lines=0.05, edge_groups=0.01, interpolated=True, unmapped=0.5
    ),
)  # fmt: skip


def gaussian_screen(shape, sigma=0.7):
    """Periodic blur by exp(-2 pi^2 sigma^2 f^2), for both kinds of array."""
    f_y, f_x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    otf = np.exp(-2 * np.pi**2 * sigma**2 * (f_x**2 + f_y**2)).astype(np.float32)

    def screen(image):
        if isinstance(image, np.ndarray):
            return np.fft.irfft2(np.fft.rfft2(image) * otf, shape).astype(np.float32)
        return torch.fft.irfft2(torch.fft.rfft2(image) * torch.from_numpy(otf), s=shape)

    screen.otf = otf
    return screen


def _panel(config, *, shape=(SIDE, SIDE), quanta=100.0, seed=1, screen=None):
    return Panel(config, shape=shape, quanta_per_px_s=quanta, rng=NumpyRandom(seed), screen=screen)


def _flat(level=1.0, shape=(SIDE, SIDE)):
    return np.full(shape, level, np.float32)


def _expose(panel, transmission, *, seconds=5.0, seed=0, **more):
    return panel.expose(transmission, exposure_s=seconds, rng=NumpyRandom(seed), **more)


def _pair_variance(panel, level, *, pairs, seconds=5.0):
    """Variance and mean of flats from the difference of two, which no fixed pattern reaches."""
    found, means = [], []
    for number in range(pairs):
        one, two = (
            _expose(panel, _flat(level, panel.shape), seconds=seconds, seed=(number, k)).astype(float)
            for k in (1, 2)
        )
        found.append((one - two).var() / 2)
        means.append((one + two).mean() / 2)
    return np.mean(found), np.mean(means)


def _lag_one(noise, axis):
    noise = np.moveaxis(noise - noise.mean(), axis, -1).astype(float)
    return (noise[..., 1:] * noise[..., :-1]).mean() / (noise**2).mean()


# Photon transfer


@pytest.mark.parametrize("patterned", [False, True])
def test_photon_transfer_of_pairs_recovers_gain_and_read_noise(patterned):
    pattern = {"pixel_gain": 0.01, "block_gain": 0.1} if patterned else {}
    panel = _panel(PanelConfig(gain=3.2, read_noise=25, offset=400, bits=None, **pattern), quanta=400)
    levels = np.linspace(0, 1, 8)
    found = np.array([_pair_variance(panel, level, pairs=8) for level in levels])
    gain, dark = np.polyfit(found[:, 1] - 400, found[:, 0], 1, w=1 / found[:, 0])
    assert gain == pytest.approx(3.2, rel=0.01)
    assert dark**0.5 == pytest.approx(25 * (1 + 0.015 * patterned), rel=0.02)


def test_photon_transfer_behind_a_screen_recovers_the_gain_at_zero_frequency():
    screen = gaussian_screen((SIDE, SIDE))
    panel = _panel(PanelConfig(gain=3.2, bits=None), quanta=400, screen=screen)
    variance, mean = _pair_variance(panel, 1.0, pairs=12)
    assert variance / mean < 0.3 * 3.2
    power = np.fft.irfft2(screen.otf**2, (SIDE, SIDE))[0, 0]
    assert variance / mean / power == pytest.approx(3.2, rel=0.01)
    assert panel.screen_power == pytest.approx(power, rel=1e-4)


def test_swank_factor_widens_the_quanta_and_keeps_their_mean():
    panel = _panel(PanelConfig(gain=1.0, swank=0.6, bits=None), shape=(400, 400))
    quanta = panel.collect(_flat(0.5, panel.shape), exposure_s=2.0, rng=NumpyRandom(0))
    assert quanta.mean() == pytest.approx(100, abs=4 * (100 / 0.6) ** 0.5 / 400)
    assert quanta.var() == pytest.approx(100 / 0.6, rel=0.015)


def test_read_noise_adds_up_over_frames():
    one = PanelConfig(gain=1.0, read_noise=10, bits=None)
    many = one.model_copy(update={"frame_s": 0.5})
    for config, seconds, expected in (
        (one, 5, 10),
        (one, 90, 10 / 18),
        (many, 5, 10**1.5),
        (many, 90, 7.4536),
    ):
        variance, _ = _pair_variance(_panel(config), 0.0, pairs=4, seconds=seconds)
        assert variance**0.5 == pytest.approx(expected, rel=0.015)


def test_dark_current_has_the_shot_noise_of_its_electrons():
    config = PanelConfig(gain=20.0, dark_e_s=40_000, electrons_per_quantum=400, bits=None)
    variance, mean = _pair_variance(_panel(config), 0.0, pairs=4)
    assert variance == pytest.approx(40_000 * 5 * (20 / 400) ** 2, rel=0.02)
    assert mean == pytest.approx(0, abs=0.5)


def test_rows_and_columns_have_their_own_noise():
    panel = _panel(PanelConfig(gain=1.0, row_noise=6, column_noise=2, bits=None), shape=(600, 500))
    image = _expose(panel, _flat(0.0, panel.shape))
    assert image.mean(1).std() == pytest.approx(6, rel=0.1)
    assert image.mean(0).std() == pytest.approx(2, rel=0.12)
    assert (image - image.mean(1, keepdims=True) - image.mean(0, keepdims=True)).std() < 0.3


@pytest.mark.parametrize("seconds", [5.0, 90.0])
def test_zingers_come_with_time_and_each_counts_once(seconds):
    config = PanelConfig(gain=2.0, zingers=4e-5, zinger_level=0.3, zinger_px=1, bits=None)
    panel = _panel(config, shape=(1000, 1000))
    image = _expose(panel, _flat(0.0, panel.shape), seconds=seconds)
    hit = image[image > 0].astype(float)
    expected = 1e6 * (1 - np.exp(-4e-5 * seconds))  # pixels with one or more
    assert len(hit) == pytest.approx(expected, abs=4 * expected**0.5)
    mean = 0.3 * 2.0 * 100 * 5.0 * (5.0 / seconds)  # a long exposure is divided by its time
    assert hit.mean() == pytest.approx(mean, rel=4 / len(hit) ** 0.5)
    assert hit.std() == pytest.approx(mean, rel=8 / len(hit) ** 0.5)
    assert panel.expectation(_flat(0.0, panel.shape)).max() == 0


def test_zingers_are_straight_tracks_of_all_lengths_and_directions():
    config = PanelConfig(gain=1.0, zingers=2e-5, zinger_px=5, bits=None)
    panel = _panel(config, shape=(2000, 2000))
    tracks, count = ndimage.label(_expose(panel, _flat(0.0, panel.shape)) > 0, structure=np.ones((3, 3)))
    places = [np.argwhere(tracks[box] == k + 1) for k, box in enumerate(ndimage.find_objects(tracks))]
    extents = np.array([np.ptp(place, axis=0) for place in places])
    assert count == pytest.approx(2e-5 * 5 * 4e6, abs=80)
    assert extents.max() == 4
    assert extents.mean(0)[0] == pytest.approx(extents.mean(0)[1], rel=0.2)
    # one step along any direction reaches a neighbour, so single pixels are the tracks of length 1
    assert (extents.max(1) == 0).mean() == pytest.approx(0.2, abs=0.06)
    slanted = next(place for place, extent in zip(places, extents, strict=True) if (extent == (3, 3)).all())
    assert 4 <= len(slanted) <= 5


# The ceiling of a pair


def _ceiling(config, *, shared=False, quanta=200.0):
    """What the best image gains over the short exposure, against the long one, in dB.

    The best image is the noise-free one, or where the long exposure contains the short one, as many parts
    of each as there are seconds.
    """
    shape = (300, 300)
    scene = ndimage.gaussian_filter(np.random.default_rng(4).random(shape, np.float32), 4)
    scene = (0.2 + 0.8 * (scene - scene.min()) / np.ptp(scene)).astype(np.float32)
    panel, rng = _panel(config, shape=shape, quanta=quanta), NumpyRandom(9)
    short = panel.collect(scene, exposure_s=5, rng=rng)
    rest = panel.collect(scene, exposure_s=85 if shared else 90, rng=rng)
    lq = panel.read_out(short, exposure_s=5, rng=rng)
    hq = panel.read_out(short + rest if shared else rest, exposure_s=90, rng=rng)
    clean = panel.expectation(scene)
    best = (5 * lq + 85 * clean) / 90 if shared else clean
    return float(10 * np.log10(((lq - hq) ** 2).mean() / ((best - hq) ** 2).mean()))


def test_pure_quanta_let_5_s_gain_12_79_db_against_90_s():
    assert _ceiling(PanelConfig(gain=9.0, bits=None)) == pytest.approx(12.79, abs=0.1)
    assert _ceiling(PanelConfig(gain=9.0, swank=0.7, offset=500)) == pytest.approx(12.79, abs=0.1)


def test_a_short_exposure_that_is_part_of_the_long_one_gains_12_55_db():
    assert _ceiling(PanelConfig(gain=9.0, bits=None), shared=True) == pytest.approx(12.55, abs=0.1)


def test_read_noise_alone_gains_25_1_db():
    config = PanelConfig(gain=1e-3, read_noise=50, offset=500, bits=None)
    assert _ceiling(config) == pytest.approx(10 * np.log10(1 + 18**2), abs=0.1)


def test_long_exposure_has_the_brightness_of_the_short_one():
    panel = _panel(PanelConfig(gain=5.0, offset=200, frame_s=1))
    means = [_expose(panel, _flat(0.5), seconds=t).mean() for t in (1, 5, 90)]
    np.testing.assert_allclose(means, 200 + 0.5 * 100 * 5 * 5, atol=2.5)


# Spectrum and profile


def test_spectrum_of_flats_is_the_screens_mtf_squared_and_white_read_noise():
    shape, repeats, seconds = (64, 70), 150, 20.0
    screen = gaussian_screen(shape, 0.5)
    config = PanelConfig(gain=2.0, read_noise=15, row_noise=3, column_noise=2, swank=0.8, bits=None)
    panel = _panel(config, shape=shape, screen=screen)
    periodogram = 0.0
    for seed in range(repeats):
        noise = _expose(panel, _flat(0.7, shape), seed=seed, seconds=seconds).astype(float)
        noise -= panel.expectation(_flat(0.7, shape))
        periodogram += np.abs(np.fft.rfft2(noise)) ** 2 / (noise.size * repeats)
    norm = (5 / seconds) ** 2
    variance = 2.0**2 * 0.7 * 100 * seconds / 0.8
    expected = norm * (variance * screen.otf.astype(float) ** 2 + 15**2)
    expected[:, 0] += norm * shape[1] * 9
    expected[0, :] += norm * shape[0] * 4
    true = panel.noise_power_spectrum(700, exposure_s=seconds, fixed=False)
    np.testing.assert_allclose(true, expected, rtol=2e-3)
    ratio = periodogram / true
    assert ratio.mean() == pytest.approx(1, abs=4 / (ratio.size * repeats) ** 0.5)
    assert ratio[:, 1:-1].std() == pytest.approx(repeats**-0.5, rel=0.08)
    assert ratio[:, 0].mean() == pytest.approx(1, abs=0.05)
    assert ratio[0].mean() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("seconds", [5.0, 30.0])
def test_profile_is_what_repeats_of_one_panel_show(seconds):
    shape = (72, 96)
    config = ALL_STRENGTHS.model_copy(
        update={"bad": BadPixelConfig(), "full_well": None, "offset_drift": 0.0}
    )
    config = config.model_copy(update={"block_offset_drift": 0.0})
    panel = _panel(config, shape=shape, screen=gaussian_screen(shape, 0.6))
    levels = (0.2, 0.5, 1.0)
    for level in levels:
        frames = np.stack(
            [_expose(panel, _flat(level, shape), seconds=seconds, seed=(k, 3)) for k in range(100)]
        )
        noise = frames.astype(float) - frames.mean(0)
        grey = float(panel.expectation(_flat(level, shape)).mean())
        true = panel.profile(grey, exposure_s=seconds, fixed=False)
        assert noise.var() * 100 / 99 == pytest.approx(true.sigma**2, rel=0.02)
        assert _lag_one(noise, -1) == pytest.approx(true.corr_x, abs=0.01)
        assert _lag_one(noise, -2) == pytest.approx(true.corr_y, abs=0.01)
        assert frames.mean() == pytest.approx(grey + 0.02 * 2000 * (1 - level) / seconds, abs=1.5)
    bright, dark = (panel.profile(v, exposure_s=seconds, fixed=False) for v in (1800.0, 700.0))
    assert dark.variance(1800.0) == pytest.approx(bright.sigma**2, rel=1e-3)


def test_profile_with_the_fixed_pattern_is_what_single_images_of_many_panels_show():
    shape, level = (72, 96), 0.8
    screen = gaussian_screen(shape, 0.6)
    config = PanelConfig(
        gain=4.0, read_noise=20, offset=300, offset_pattern=10, dark_frames=4, pixel_gain=0.02, flat_frames=2,
        gain_drift=0.01, bits=None,
    )  # fmt: skip
    panels = [_panel(config, shape=shape, seed=k, quanta=200, screen=screen) for k in range(60)]
    noise = np.stack([_expose(p, _flat(level, shape), seed=(k, 1)) for k, p in enumerate(panels)])
    noise = noise.astype(float) - panels[0].expectation(_flat(level, shape))
    true = panels[0].profile(300 + 4 * 1000 * level)
    assert noise.var() == pytest.approx(true.sigma**2, rel=0.02)
    assert _lag_one(noise, -1) == pytest.approx(true.corr_x, abs=0.01)
    assert _lag_one(noise, -2) == pytest.approx(true.corr_y, abs=0.01)
    temporal = panels[0].profile(300 + 4 * 1000 * level, fixed=False)
    assert true.sigma**2 > 1.3 * temporal.sigma**2
    steeper = [panels[0].variances(300 + 4 * 1000 * (level + d)).total for d in (-0.01, 0.01)]
    assert true.slope == pytest.approx((steeper[1] - steeper[0]) / 80, rel=0.01)


# The fixed pattern


def test_flat_field_correction_leaves_the_noise_of_its_flats():
    config = PanelConfig(gain=1.0, pixel_gain=0.02, block_gain=0.2, block_px=20, bits=None)
    bright = {"quanta": 1e5, "shape": (200, 200)}
    residual = {}
    for flats in (0, 1, 16, None):
        panel = _panel(config.model_copy(update={"flat_frames": flats}), **bright)
        image = np.mean([_expose(panel, _flat(1.0, (200, 200)), seed=k, seconds=90) for k in range(4)], 0)
        residual[flats] = (image / image.mean()).std()
    noise = (1e5 * 90 * 4) ** -0.5
    assert residual[0] > 0.1
    assert residual[None] == pytest.approx(noise, rel=0.1)
    for flats in (1, 16):
        assert residual[flats] == pytest.approx(np.hypot(noise, (5e5 * flats) ** -0.5), rel=0.05)


def test_dark_frames_leave_their_noise_as_a_pattern_that_time_does_not_average():
    config = PanelConfig(gain=1.0, read_noise=30, dark_frames=9, bits=None)
    for frame_s, seconds, pattern in ((None, 5, 10), (None, 90, 10 / 18), (1.0, 5, 50), (1.0, 90, 50)):
        panel = _panel(config.model_copy(update={"frame_s": frame_s}))
        left = np.mean([_expose(panel, _flat(0), seconds=seconds, seed=k) for k in range(300)], 0)
        variances = [panel.variances(0, exposure_s=seconds, fixed=fixed).total for fixed in (True, False)]
        assert (variances[0] - variances[1]) ** 0.5 == pytest.approx(pattern)
        assert left.var() == pytest.approx(pattern**2 + variances[1] / 300, rel=0.05)


def test_uncorrected_blocks_are_steps_at_multiples_of_their_width():
    panel = _panel(PanelConfig(gain=1.0, block_gain=0.1, block_px=32, flat_frames=0, bits=None), quanta=1e5)
    columns = _expose(panel, _flat(1.0)).mean(0) / 5e5
    steps = np.abs(np.diff(columns))
    assert set(np.flatnonzero(steps > 0.01) + 1) <= {32, 64, 96, 128}
    assert columns.std() > 0.02


def test_pattern_belongs_to_the_panel_and_drift_to_the_exposure():
    config = PanelConfig(gain=1.0, gain_drift=0.05, offset_pattern=20, offset_drift=30, offset=400, bits=None)
    one, same, other = (_panel(config, seed=s, quanta=1e5) for s in (1, 1, 2))
    images = [_expose(one, _flat(), seed=k) for k in range(30)]
    assert np.std([image.mean() for image in images]) == pytest.approx(30, rel=0.4)
    assert np.corrcoef(images[0].ravel(), _expose(same, _flat(), seed=99).ravel())[0, 1] > 0.99
    assert abs(np.corrcoef(images[0].ravel(), _expose(other, _flat(), seed=99).ravel())[0, 1]) < 0.03


# Lag, saturation, digitiser


def test_lag_shows_the_previous_image_or_the_open_beam():
    panel = _panel(PanelConfig(gain=1.0, lag=0.04, frame_s=1, bits=None), quanta=1e5)
    before = _flat(0.0)
    before[:, 80:] = 0.5
    image = _expose(panel, _flat(0.2), previous=before)
    fraction = 0.04 / 5
    np.testing.assert_allclose(image[:, :80].mean() / 5e5, 0.2 - fraction * 0.2, rtol=1e-4)
    np.testing.assert_allclose(image[:, 80:].mean() / 5e5, 0.2 + fraction * 0.3, rtol=1e-4)
    assert _expose(panel, _flat(0.2)).mean() / 5e5 == pytest.approx(0.2 + fraction * 0.8, rel=1e-4)


def test_full_well_and_digitiser_bound_the_image():
    wells = _panel(PanelConfig(gain=1.0, full_well=600, frame_s=1.0, offset=50, bits=None), quanta=1000)
    assert _expose(wells, _flat()).max() == 50 + 3000
    assert wells.expectation(_flat()).max() == 50 + 3000
    for bits in (8, 12, 16):
        image = _expose(_panel(PanelConfig(gain=60.0, bits=bits), quanta=1000), _flat())
        assert image.min() == image.max() == 2**bits - 1
    dark = _expose(_panel(PanelConfig(gain=1.0, read_noise=50)), _flat(0))
    assert dark.min() == 0
    np.testing.assert_array_equal(dark, np.round(dark))


def test_transmission_below_zero_counts_as_zero():
    assert _expose(_panel(PanelConfig(gain=1.0)), _flat(-0.1)).max() == 0


# Laws


class _Silent(NumpyRandom):
    """RandomSource without fluctuation; refuses what a detector without faults does not ask for."""

    def poisson(self, mean):
        return mean

    def normal(self, shape):
        raise AssertionError("a strength of zero draws nothing")


def test_without_strengths_and_fluctuation_an_exposure_is_its_expectation():
    scene = np.random.default_rng(1).random((SIDE, SIDE), np.float32)
    panel = Panel(PanelConfig(gain=1.0, bits=None), shape=scene.shape, quanta_per_px_s=0.2, rng=_Silent(0))
    np.testing.assert_allclose(panel.expose(scene, exposure_s=5, rng=_Silent(0)), scene, rtol=1e-6)
    np.testing.assert_allclose(panel.expectation(scene), scene, rtol=1e-6)


def test_expectation_passes_the_screen_and_is_the_mean_of_exposures():
    shape = (48, 48)
    scene = np.random.default_rng(1).random(shape, np.float32)
    screen = gaussian_screen(shape)
    panel = _panel(PanelConfig(gain=3.0, offset=100), shape=shape, screen=screen)
    clean = panel.expectation(scene)
    assert clean.dtype == np.float32
    np.testing.assert_allclose(clean, 100 + 1500 * screen(scene), rtol=1e-5)
    mean = np.mean([_expose(panel, scene, seed=k) for k in range(200)], 0)
    assert (mean - clean).std() == pytest.approx(
        (panel.profile(clean.mean()).sigma ** 2 / 200) ** 0.5, rel=0.06
    )


def test_arguments_are_not_modified():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    copy, panel = scene.copy(), _panel(ALL_STRENGTHS, shape=(64, 64))
    _expose(panel, scene, previous=scene)
    panel.expectation(scene)
    quanta = panel.collect(scene, exposure_s=5, rng=NumpyRandom(0))
    kept = quanta.copy()
    panel.read_out(quanta, exposure_s=5, rng=NumpyRandom(0))
    np.testing.assert_array_equal(scene, copy)
    np.testing.assert_array_equal(quanta, kept)


def test_equal_seeds_give_equal_bits():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    first, again, other = (_expose(_panel(ALL_STRENGTHS, shape=(64, 64)), scene, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_memory_order_of_what_a_screen_returns_does_not_matter():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    config = PanelConfig(gain=2.0, bad=BadPixelConfig(single=0.02, hot=0, noisy=1, noisy_level=1))
    plain, turned = (
        _expose(_panel(config, shape=(64, 64), screen=screen), scene)
        for screen in (np.ascontiguousarray, np.asfortranarray)
    )
    np.testing.assert_array_equal(plain, turned)
    assert (np.abs(plain - 1000 * scene) > 300).sum() > 30


class _AsTorch(NumpyRandom):
    """NumPy's numbers as tensors."""

    def array(self, values):
        return torch.from_numpy(super().array(values))

    def poisson(self, mean):
        return torch.from_numpy(super().poisson(mean.numpy()))

    def normal(self, shape):
        return torch.from_numpy(super().normal(shape))


@pytest.mark.parametrize("shape", [(64, 80), (3, 64, 80)])
def test_tensors_and_arrays_pass_the_same_arithmetic(shape):
    scene = np.random.default_rng(1).random((3, 64, 80), np.float32)
    screen, config = gaussian_screen((64, 80)), ALL_STRENGTHS.model_copy(update={"zingers": 1e-3})
    images = []
    for rng, image in ((NumpyRandom, scene), (_AsTorch, torch.from_numpy(scene))):
        panel = Panel(config, shape=shape, quanta_per_px_s=100, rng=rng(1), screen=screen)
        exposed = panel.expose(image, exposure_s=5, rng=rng(2))
        images.append((as_numpy(exposed), as_numpy(panel.expectation(image))))
    for array, tensor in zip(*images, strict=True):
        assert array.shape == tensor.shape == (3, 64, 80)
        assert (np.abs(array - tensor) > 1e-2).mean() < 1e-3
        assert np.abs(array - tensor).max() <= 1.01


def test_exposures_of_tensors_obey_the_same_statistics():
    rng = TorchRandom(torch.Generator().manual_seed(0))
    config = PanelConfig(gain=3.0, read_noise=20, offset=200)
    panel = Panel(config, shape=(SIDE, SIDE), quanta_per_px_s=100, rng=rng)
    image = panel.expose(torch.full((4, SIDE, SIDE), 0.6), exposure_s=5, rng=rng)
    assert image.dtype == torch.float32
    assert float(image.mean()) == pytest.approx(200 + 900, abs=1)
    assert float(image.var()) == pytest.approx(panel.profile(1100).sigma ** 2, rel=0.02)


def test_dose_and_map_of_quanta_scale_the_brightness():
    across = np.linspace(50, 150, SIDE, dtype=np.float32)[None, :] * np.ones((SIDE, 1), np.float32)
    panel = _panel(PanelConfig(gain=4.0, bits=None), quanta=across)
    np.testing.assert_allclose(panel.expectation(_flat())[0], across[0] * 20, rtol=1e-5)
    image = _expose(panel, _flat(), dose=1.03, seconds=90)
    np.testing.assert_allclose(image.mean(0), across[0] * 20 * 1.03, rtol=0.01)
    items = _panel(PanelConfig(gain=4.0, bits=None), quanta=np.array([10, 1000]).reshape(2, 1, 1))
    means = _expose(items, _flat(shape=(2, SIDE, SIDE))).mean((1, 2))
    np.testing.assert_allclose(means, [200, 20000], rtol=0.01)


# Real detectors


def _measured(flats, darks):
    """Dark level, median temporal variance of the dark, fixed pattern and photon-transfer gain."""
    flats, darks = flats.astype(float), darks.astype(float)
    signal = flats - darks.mean(0)
    steps = np.diff(flats, axis=0)
    steps -= steps.mean((1, 2), keepdims=True)
    return {
        "dark": np.median(darks.mean(0)),
        "dark_variance": np.median(darks.var(0, ddof=1)),
        "pattern": signal.mean(0).std() / signal.mean(),
        "gain": np.median((steps**2).mean((1, 2)) / 2) / signal.mean(),
        "lag_one": _lag_one(steps, -1),
    }


def test_panel_with_the_numbers_of_a_real_camera_gives_its_flats_and_darks():
    with np.load(GOLDEN) as stored:
        real = _measured(stored["flats"], stored["darks"])
    shape = (22, 26)
    config = PanelConfig(
        gain=1.56, read_noise=2.18, offset=98.8, offset_pattern=0.4, pixel_gain=0.0203, flat_frames=0
    )
    panel = _panel(config, shape=shape, quanta=45_218 / 1.56 / 5)
    frames = [
        np.stack([_expose(panel, _flat(level, shape), seed=(k, n)) for k in range(100)])
        for n, level in enumerate((1.0, 0.0))
    ]
    simulated = _measured(*frames)
    assert simulated["gain"] == pytest.approx(real["gain"], rel=0.03)
    assert simulated["dark"] == pytest.approx(real["dark"], abs=0.3)
    assert simulated["dark_variance"] == pytest.approx(real["dark_variance"], rel=0.05)
    assert simulated["pattern"] == pytest.approx(real["pattern"], rel=0.12)
    assert simulated["lag_one"] == pytest.approx(real["lag_one"], abs=0.03)


def _sizes(kinds):
    """Faults as a map lists them: sizes of connected groups, apart from lines."""
    labels, count = ndimage.label((kinds > 0) & (kinds != LINE), np.ones((3, 3)))
    return ndimage.sum_labels(kinds > 0, labels, np.arange(1, count + 1)).astype(int)


def test_bad_pixels_are_as_dense_as_on_a_real_panel():
    random = np.random.default_rng(0)
    panels, side = 40, 1000
    real = BadPixelConfig(single=212 / 4e6, small=26 / 4e6, lines=17 / 4000, edge_groups=8 / 8000)
    maps = [draw_bad_pixels(real, (side, side), random) for _ in range(panels)]
    sizes = np.concatenate([_sizes(kinds) for kinds in maps])
    megapixels = panels * side * side / 1e6
    # The real map of 4 megapixels: 212 groups of 1, 26 of 2 to 4, 8 of 6 to 230 at its rim of 8000 pixels.
    assert (sizes == 1).sum() / megapixels == pytest.approx(212 / 4, rel=0.1)
    assert ((sizes > 1) & (sizes < 5)).sum() / megapixels == pytest.approx(26 / 4, rel=0.3)
    assert (sizes >= 5).sum() / (panels * 4 * side) == pytest.approx(8 / 8000, rel=0.35)
    halves = np.concatenate([[half.any(0) for half in np.split(kinds == LINE, 2)] for kinds in maps])
    assert halves.mean() == pytest.approx(17 / 4000, rel=0.2)
    # 16 of the real lines of up to 1000 px have 8,840 pixels together.
    lengths = np.concatenate([(kinds == LINE).sum(0) for kinds in maps])
    assert (lengths.sum() / halves.sum()) / (side / 2) == pytest.approx(0.5525, abs=0.1)


def test_broken_lines_reach_the_middle_and_stay_dead():
    bad = BadPixelConfig(lines=0.2)
    panel = _panel(PanelConfig(gain=2.0, offset=300, bad=bad))
    image = _expose(panel, _flat())
    dead = image == 300
    assert 0.02 < dead.mean() < 0.3
    in_middle = dead[SIDE // 2 - 1] | dead[SIDE // 2]
    np.testing.assert_array_equal(dead.any(0), in_middle)
    upper, lower = (half.any(0) for half in np.split(dead, 2))
    assert 3 < upper.sum() < 60
    assert 3 < lower.sum() < 60
    assert (upper != lower).any()


def test_hot_pixels_stay_hot_and_noisy_ones_change():
    hot = _panel(PanelConfig(gain=2.0, bad=BadPixelConfig(single=0.01, hot=1, noisy=0, hot_level=2.0)))
    images = [_expose(hot, _flat(0.3), seed=k) for k in (1, 2)]
    bright = [image > 450 for image in images]
    assert 0.004 < bright[0].mean() < 0.012
    assert (bright[0] & bright[1]).sum() > 0.9 * bright[0].sum()
    noisy = _panel(
        PanelConfig(gain=2.0, bits=None, bad=BadPixelConfig(single=0.01, hot=0, noisy=1, noisy_level=1))
    )
    spread = np.std([_expose(noisy, _flat(0.3), seed=k) for k in range(30)], 0)
    assert np.quantile(spread, 0.5) == pytest.approx((4 * 150) ** 0.5, rel=0.05)
    assert (spread > 500).mean() == pytest.approx(0.01, abs=0.004)


def test_interpolated_pixels_take_the_value_of_the_slope_around_them():
    bad = BadPixelConfig(single=0.01, lines=0.1, interpolated=True)
    scene = np.broadcast_to(np.linspace(0.5, 1, SIDE, dtype=np.float32)[:, None], (SIDE, SIDE))
    panel = _panel(PanelConfig(gain=0.1, bits=None, bad=bad), quanta=1e8)
    image, clean = _expose(panel, scene), panel.expectation(scene)
    assert np.abs(image / clean - 1).max() < 0.02
    shown = _panel(
        PanelConfig(gain=0.1, bits=None, bad=bad.model_copy(update={"interpolated": False})), quanta=1e8
    )
    assert (np.abs(_expose(shown, scene) / clean - 1) > 0.5).mean() > 0.01


# Bad input


def test_numbers_of_numpy_do_not_widen_the_image():
    panel = _panel(PanelConfig(gain=2.0, bits=None), quanta=np.float64(50))
    assert _expose(panel, _flat(), seconds=np.float64(5), dose=np.float64(1.02)).dtype == np.float32
    assert type(panel.profile(np.float32(300)).level) is float


@pytest.mark.slow
@pytest.mark.parametrize(("side", "most_s"), [(256, 0.008), (1900, 0.8)])
def test_an_exposure_of_every_fault_keeps_to_its_time(side, most_s):
    panel = _panel(ALL_STRENGTHS, shape=(side, side))
    scene = _flat(0.5, (side, side))
    times = []
    for seed in range(5):
        start = time.perf_counter()
        _expose(panel, scene, seed=seed)
        times.append(time.perf_counter() - start)
    assert min(times) < most_s


def test_wrong_shapes_times_and_quanta_are_refused_in_one_line():
    panel = _panel(PanelConfig(gain=1.0))
    with pytest.raises(InputError, match="the panel's shape"):
        _expose(panel, _flat(shape=(SIDE, SIDE + 1)))
    for seconds in (0, -5, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="exposure_s"):
            _expose(panel, _flat(), seconds=seconds)
    for quanta in (0, -1.0, float("nan"), np.zeros((SIDE, SIDE))):
        with pytest.raises(RecipeError, match="quanta_per_px_s"):
            _panel(PanelConfig(gain=1.0), quanta=quanta)
    with pytest.raises(RecipeError, match="shape"):
        _panel(PanelConfig(gain=1.0), shape=(0, 5))
    with pytest.raises(RecipeError, match="hot \\+ noisy"):
        _panel(PanelConfig(gain=1.0, bad=BadPixelConfig(hot=0.9, noisy=0.5)))


@pytest.mark.parametrize(
    "wrong",
    [{"gain": 0}, {"swank": 1.2}, {"bits": 17}, {"read_noise": -1}, {"gain": float("inf")}, {"unknown": 1}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        PanelConfig(**{"gain": 1.0, **wrong})


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [
        *((key, 0, 1e6) for key in ("read_noise", "row_noise", "column_noise", "offset_pattern")),
        *((key, 0, 1e6) for key in ("offset_drift", "block_offset_drift")),
        ("offset", 0, 65535), ("dark_e_s", 0, 1e9), ("electrons_per_quantum", 1e-3, 1e9),
        ("gain", 1e-3, 1e6), ("full_well", 1, 1e9), ("frame_s", 1, 36000), ("block_px", 1, 65536),
        ("zingers", 0, 0.01), ("zinger_level", 0, 100), ("zinger_px", 1, 64),
        ("dark_frames", 1, 1_000_000), ("flat_frames", 0, 1_000_000),
    ],
)  # fmt: skip
def test_settings_give_images_up_to_their_bounds_and_are_refused_beyond(key, lowest, highest):
    values = {"gain": 1.0, "dark_e_s": 10.0}
    for value in (lowest, highest):
        image = _expose(_panel(PanelConfig(**values | {key: value}), shape=(16, 16)), _flat(shape=(16, 16)))
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 65535
    for beyond in (highest * 2, 10**300):
        with pytest.raises(ValidationError, match="less than or equal to"):
            PanelConfig(**values | {key: beyond})


def test_electrons_that_hardly_exist_are_refused():
    with pytest.raises(ValidationError, match="greater than or equal to"):
        PanelConfig(gain=1.0, electrons_per_quantum=1e-300)


def test_without_frames_read_noise_falls_with_the_time_and_with_them_with_its_square_root():
    for frame_s, factor in ((None, 16), (1.0, 4)):
        panel = _panel(PanelConfig(gain=1e-3, read_noise=100, offset=5000, reference_s=1, frame_s=frame_s))
        short, long = (_expose(panel, _flat(0.0), seconds=seconds).std() for seconds in (1, 16))
        assert short / long == pytest.approx(factor, rel=0.05)
