"""The panel against counting statistics, the screen's spectrum and real flats."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from panels import ALL_STRENGTHS, SIDE, expose, flat, gaussian_screen, lag_one, make_panel, pair_variance
from pydantic import ValidationError
from scipy import ndimage

from longexposure.errors import InputError, RecipeError
from longexposure.simulation.detector.bad_pixels import BadPixelConfig
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.detector.panel_noise import PanelNoise
from longexposure.simulation.random_source import NumpyRandom, TorchRandom, as_numpy

GOLDEN = Path(__file__).parents[2] / "golden" / "k11_flats_darks.npz"


# Photon transfer


@pytest.mark.parametrize("patterned", [False, True])
def test_photon_transfer_of_pairs_recovers_gain_and_read_noise(patterned):
    pattern = {"pixel_gain": 0.01, "block_gain": 0.1} if patterned else {}
    panel = make_panel(PanelConfig(gain=3.2, read_noise=25, offset=400, bits=None, **pattern), quanta=400)
    levels = np.linspace(0, 1, 8)
    found = np.array([pair_variance(panel, level, pairs=8) for level in levels])
    gain, dark = np.polyfit(found[:, 1] - 400, found[:, 0], 1, w=1 / found[:, 0])
    assert gain == pytest.approx(3.2, rel=0.01)
    assert dark**0.5 == pytest.approx(25 * (1 + 0.015 * patterned), rel=0.02)


def test_photon_transfer_behind_a_screen_recovers_the_gain_at_zero_frequency():
    screen = gaussian_screen((SIDE, SIDE))
    panel = make_panel(PanelConfig(gain=3.2, bits=None), quanta=400, screen=screen)
    variance, mean = pair_variance(panel, 1.0, pairs=12)
    assert variance / mean < 0.3 * 3.2
    power = np.fft.irfft2(screen.otf**2, (SIDE, SIDE))[0, 0]
    assert variance / mean / power == pytest.approx(3.2, rel=0.01)
    assert PanelNoise(panel).screen_power == pytest.approx(power, rel=1e-4)


def test_swank_factor_widens_the_quanta_and_keeps_their_mean():
    panel = make_panel(PanelConfig(gain=1.0, swank=0.6, bits=None), shape=(400, 400))
    quanta = panel.collect(flat(0.5, panel.shape), exposure_s=2.0, rng=NumpyRandom(0))
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
        variance, _ = pair_variance(make_panel(config), 0.0, pairs=4, seconds=seconds)
        assert variance**0.5 == pytest.approx(expected, rel=0.015)


def test_dark_current_has_the_shot_noise_of_its_electrons():
    config = PanelConfig(gain=20.0, dark_e_s=40_000, electrons_per_quantum=400, bits=None)
    variance, mean = pair_variance(make_panel(config), 0.0, pairs=4)
    assert variance == pytest.approx(40_000 * 5 * (20 / 400) ** 2, rel=0.02)
    assert mean == pytest.approx(0, abs=0.5)


def test_rows_and_columns_have_their_own_noise():
    panel = make_panel(PanelConfig(gain=1.0, row_noise=6, column_noise=2, bits=None), shape=(600, 500))
    image = expose(panel, flat(0.0, panel.shape))
    assert image.mean(1).std() == pytest.approx(6, rel=0.1)
    assert image.mean(0).std() == pytest.approx(2, rel=0.12)
    assert (image - image.mean(1, keepdims=True) - image.mean(0, keepdims=True)).std() < 0.3


@pytest.mark.parametrize("seconds", [5.0, 90.0])
def test_zingers_come_with_time_and_each_counts_once(seconds):
    config = PanelConfig(gain=2.0, zingers=4e-5, zinger_level=0.3, zinger_px=1, bits=None)
    panel = make_panel(config, shape=(1000, 1000))
    image = expose(panel, flat(0.0, panel.shape), seconds=seconds)
    hit = image[image > 0].astype(float)
    expected = 1e6 * (1 - np.exp(-4e-5 * seconds))  # pixels with one or more
    assert len(hit) == pytest.approx(expected, abs=4 * expected**0.5)
    mean = 0.3 * 2.0 * 100 * 5.0 * (5.0 / seconds)  # a long exposure is divided by its time
    assert hit.mean() == pytest.approx(mean, rel=4 / len(hit) ** 0.5)
    assert hit.std() == pytest.approx(mean, rel=8 / len(hit) ** 0.5)
    assert panel.expectation(flat(0.0, panel.shape)).max() == 0


def test_zingers_are_straight_tracks_of_all_lengths_and_directions():
    config = PanelConfig(gain=1.0, zingers=2e-5, zinger_px=5, bits=None)
    panel = make_panel(config, shape=(2000, 2000))
    tracks, count = ndimage.label(expose(panel, flat(0.0, panel.shape)) > 0, structure=np.ones((3, 3)))
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
    panel, rng = make_panel(config, shape=shape, quanta=quanta), NumpyRandom(9)
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
    panel = make_panel(PanelConfig(gain=5.0, offset=200, frame_s=1))
    means = [expose(panel, flat(0.5), seconds=t).mean() for t in (1, 5, 90)]
    np.testing.assert_allclose(means, 200 + 0.5 * 100 * 5 * 5, atol=2.5)


# The fixed pattern


def test_flat_field_correction_leaves_the_noise_of_its_flats():
    config = PanelConfig(gain=1.0, pixel_gain=0.02, block_gain=0.2, block_px=20, bits=None)
    bright = {"quanta": 1e5, "shape": (200, 200)}
    residual = {}
    for flats in (0, 1, 16, None):
        panel = make_panel(config.model_copy(update={"flat_frames": flats}), **bright)
        image = np.mean([expose(panel, flat(1.0, (200, 200)), seed=k, seconds=90) for k in range(4)], 0)
        residual[flats] = (image / image.mean()).std()
    noise = (1e5 * 90 * 4) ** -0.5
    assert residual[0] > 0.1
    assert residual[None] == pytest.approx(noise, rel=0.1)
    for flats in (1, 16):
        assert residual[flats] == pytest.approx(np.hypot(noise, (5e5 * flats) ** -0.5), rel=0.05)


def test_dark_frames_leave_their_noise_as_a_pattern_that_time_does_not_average():
    config = PanelConfig(gain=1.0, read_noise=30, dark_frames=9, bits=None)
    for frame_s, seconds, pattern in ((None, 5, 10), (None, 90, 10 / 18), (1.0, 5, 50), (1.0, 90, 50)):
        panel = make_panel(config.model_copy(update={"frame_s": frame_s}))
        left = np.mean([expose(panel, flat(0), seconds=seconds, seed=k) for k in range(300)], 0)
        variances = [
            PanelNoise(panel).variances(0, exposure_s=seconds, fixed=fixed).total for fixed in (True, False)
        ]
        assert (variances[0] - variances[1]) ** 0.5 == pytest.approx(pattern)
        assert left.var() == pytest.approx(pattern**2 + variances[1] / 300, rel=0.05)


def test_uncorrected_blocks_are_steps_at_multiples_of_their_width():
    panel = make_panel(
        PanelConfig(gain=1.0, block_gain=0.1, block_px=32, flat_frames=0, bits=None), quanta=1e5
    )
    columns = expose(panel, flat(1.0)).mean(0) / 5e5
    steps = np.abs(np.diff(columns))
    assert set(np.flatnonzero(steps > 0.01) + 1) <= {32, 64, 96, 128}
    assert columns.std() > 0.02


def test_pattern_belongs_to_the_panel_and_drift_to_the_exposure():
    config = PanelConfig(gain=1.0, gain_drift=0.05, offset_pattern=20, offset_drift=30, offset=400, bits=None)
    one, same, other = (make_panel(config, seed=s, quanta=1e5) for s in (1, 1, 2))
    images = [expose(one, flat(), seed=k) for k in range(30)]
    assert np.std([image.mean() for image in images]) == pytest.approx(30, rel=0.4)
    assert np.corrcoef(images[0].ravel(), expose(same, flat(), seed=99).ravel())[0, 1] > 0.99
    assert abs(np.corrcoef(images[0].ravel(), expose(other, flat(), seed=99).ravel())[0, 1]) < 0.03


# Lag, saturation, digitiser


def test_lag_shows_the_open_beam():
    panel = make_panel(PanelConfig(gain=1.0, lag=0.04, frame_s=1, bits=None), quanta=1e5)
    assert expose(panel, flat(0.2)).mean() / 5e5 == pytest.approx(0.2 + 0.04 / 5 * 0.8, rel=1e-4)


def test_full_well_and_digitiser_bound_the_image():
    wells = make_panel(PanelConfig(gain=1.0, full_well=600, frame_s=1.0, offset=50, bits=None), quanta=1000)
    assert expose(wells, flat()).max() == 50 + 3000
    assert wells.expectation(flat()).max() == 50 + 3000
    for bits in (8, 12, 16):
        image = expose(make_panel(PanelConfig(gain=60.0, bits=bits), quanta=1000), flat())
        assert image.min() == image.max() == 2**bits - 1
    dark = expose(make_panel(PanelConfig(gain=1.0, read_noise=50)), flat(0))
    assert dark.min() == 0
    np.testing.assert_array_equal(dark, np.round(dark))


def test_transmission_below_zero_counts_as_zero():
    assert expose(make_panel(PanelConfig(gain=1.0)), flat(-0.1)).max() == 0


# Laws


class _Silent(NumpyRandom):
    """A source without fluctuation; refuses what a detector without faults does not ask for."""

    def poisson(self, mean):
        return mean

    def normal(self, shape):
        raise AssertionError("a strength of zero draws nothing")


def test_without_strengths_and_fluctuation_an_exposure_is_its_expectation():
    scene = np.random.default_rng(1).random((SIDE, SIDE), np.float32)
    panel = Panel(PanelConfig(gain=1.0, bits=None), shape=scene.shape, quanta_per_px_s=0.2, rng=_Silent(0))
    quanta = panel.collect(scene, exposure_s=5, rng=_Silent(0))
    np.testing.assert_allclose(panel.read_out(quanta, exposure_s=5, rng=_Silent(0)), scene, rtol=1e-6)
    np.testing.assert_allclose(panel.expectation(scene), scene, rtol=1e-6)


def test_expectation_passes_the_screen_and_is_the_mean_of_exposures():
    shape = (48, 48)
    scene = np.random.default_rng(1).random(shape, np.float32)
    screen = gaussian_screen(shape)
    panel = make_panel(PanelConfig(gain=3.0, offset=100), shape=shape, screen=screen)
    clean = panel.expectation(scene)
    assert clean.dtype == np.float32
    np.testing.assert_allclose(clean, 100 + 1500 * screen(scene), rtol=1e-5)
    mean = np.mean([expose(panel, scene, seed=k) for k in range(200)], 0)
    assert (mean - clean).std() == pytest.approx(
        (PanelNoise(panel).profile(clean.mean()).sigma ** 2 / 200) ** 0.5, rel=0.06
    )


def test_arguments_are_not_modified():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    copy, panel = scene.copy(), make_panel(ALL_STRENGTHS, shape=(64, 64))
    panel.expectation(scene)
    quanta = panel.collect(scene, exposure_s=5, rng=NumpyRandom(0))
    kept = quanta.copy()
    panel.read_out(quanta, exposure_s=5, rng=NumpyRandom(0))
    np.testing.assert_array_equal(scene, copy)
    np.testing.assert_array_equal(quanta, kept)


def test_equal_seeds_give_equal_bits():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    first, again, other = (
        expose(make_panel(ALL_STRENGTHS, shape=(64, 64)), scene, seed=s) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_memory_order_of_what_a_screen_returns_does_not_matter():
    scene = np.random.default_rng(1).random((64, 64), np.float32)
    config = PanelConfig(gain=2.0, bad=BadPixelConfig(single=0.02, hot=0, noisy=1, noisy_level=1))
    plain, turned = (
        expose(make_panel(config, shape=(64, 64), screen=screen), scene)
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
        source = rng(2)
        quanta = panel.collect(image, exposure_s=5, rng=source)
        exposed = panel.read_out(quanta, exposure_s=5, rng=source)
        images.append((as_numpy(exposed), as_numpy(panel.expectation(image))))
    for array, tensor in zip(*images, strict=True):
        assert array.shape == tensor.shape == (3, 64, 80)
        assert (np.abs(array - tensor) > 1e-2).mean() < 1e-3
        assert np.abs(array - tensor).max() <= 1.01


def test_exposures_of_tensors_obey_the_same_statistics():
    rng = TorchRandom(torch.Generator().manual_seed(0))
    config = PanelConfig(gain=3.0, read_noise=20, offset=200)
    panel = Panel(config, shape=(SIDE, SIDE), quanta_per_px_s=100, rng=rng)
    quanta = panel.collect(torch.full((4, SIDE, SIDE), 0.6), exposure_s=5, rng=rng)
    image = panel.read_out(quanta, exposure_s=5, rng=rng)
    assert image.dtype == torch.float32
    assert float(image.mean()) == pytest.approx(200 + 900, abs=1)
    assert float(image.var()) == pytest.approx(PanelNoise(panel).profile(1100).sigma ** 2, rel=0.02)


def test_dose_and_map_of_quanta_scale_the_brightness():
    across = np.linspace(50, 150, SIDE, dtype=np.float32)[None, :] * np.ones((SIDE, 1), np.float32)
    panel = make_panel(PanelConfig(gain=4.0, bits=None), quanta=across)
    np.testing.assert_allclose(panel.expectation(flat())[0], across[0] * 20, rtol=1e-5)
    image = expose(panel, flat(), dose=1.03, seconds=90)
    np.testing.assert_allclose(image.mean(0), across[0] * 20 * 1.03, rtol=0.01)
    items = make_panel(PanelConfig(gain=4.0, bits=None), quanta=np.array([10, 1000]).reshape(2, 1, 1))
    means = expose(items, flat(shape=(2, SIDE, SIDE))).mean((1, 2))
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
        "lag_one": lag_one(steps, -1),
    }


def test_panel_with_the_numbers_of_a_real_camera_gives_its_flats_and_darks():
    with np.load(GOLDEN) as stored:
        real = _measured(stored["flats"], stored["darks"])
    shape = (22, 26)
    config = PanelConfig(
        gain=1.56, read_noise=2.18, offset=98.8, offset_pattern=0.4, pixel_gain=0.0203, flat_frames=0
    )
    panel = make_panel(config, shape=shape, quanta=45_218 / 1.56 / 5)
    frames = [
        np.stack([expose(panel, flat(level, shape), seed=(k, n)) for k in range(100)])
        for n, level in enumerate((1.0, 0.0))
    ]
    simulated = _measured(*frames)
    assert simulated["gain"] == pytest.approx(real["gain"], rel=0.03)
    assert simulated["dark"] == pytest.approx(real["dark"], abs=0.3)
    assert simulated["dark_variance"] == pytest.approx(real["dark_variance"], rel=0.05)
    assert simulated["pattern"] == pytest.approx(real["pattern"], rel=0.12)
    assert simulated["lag_one"] == pytest.approx(real["lag_one"], abs=0.03)


# Bad input


def test_numbers_of_numpy_do_not_widen_the_image():
    panel = make_panel(PanelConfig(gain=2.0, bits=None), quanta=np.float64(50))
    assert expose(panel, flat(), seconds=np.float64(5), dose=np.float64(1.02)).dtype == np.float32
    assert type(PanelNoise(panel).profile(np.float32(300)).level) is float


@pytest.mark.slow
@pytest.mark.parametrize(("side", "most_s"), [(256, 0.008), (1900, 0.8)])
def test_an_exposure_of_every_fault_keeps_to_its_time(side, most_s):
    panel = make_panel(ALL_STRENGTHS, shape=(side, side))
    scene = flat(0.5, (side, side))
    times = []
    for seed in range(5):
        start = time.perf_counter()
        expose(panel, scene, seed=seed)
        times.append(time.perf_counter() - start)
    assert min(times) < most_s


def test_wrong_shapes_times_and_quanta_are_refused_in_one_line():
    panel = make_panel(PanelConfig(gain=1.0))
    with pytest.raises(InputError, match="the panel's shape"):
        expose(panel, flat(shape=(SIDE, SIDE + 1)))
    for seconds in (0, -5, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="exposure_s"):
            expose(panel, flat(), seconds=seconds)
    for quanta in (0, -1.0, float("nan"), np.zeros((SIDE, SIDE))):
        with pytest.raises(RecipeError, match="quanta_per_px_s"):
            make_panel(PanelConfig(gain=1.0), quanta=quanta)
    with pytest.raises(RecipeError, match="shape"):
        make_panel(PanelConfig(gain=1.0), shape=(0, 5))


@pytest.mark.parametrize(
    "wrong",
    [{"gain": 0}, {"swank": 1.2}, {"bits": 17}, {"read_noise": -1}, {"gain": float("inf")}, {"unknown": 1}],
)
def test_impossible_configs_are_refused(wrong):
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
def test_strengths_give_images_up_to_their_bounds_and_are_refused_beyond(key, lowest, highest):
    values = {"gain": 1.0, "dark_e_s": 10.0}
    for value in (lowest, highest):
        image = expose(make_panel(PanelConfig(**values | {key: value}), shape=(16, 16)), flat(shape=(16, 16)))
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
        panel = make_panel(
            PanelConfig(gain=1e-3, read_noise=100, offset=5000, reference_s=1, frame_s=frame_s)
        )
        short, long = (expose(panel, flat(0.0), seconds=seconds).std() for seconds in (1, 16))
        assert short / long == pytest.approx(factor, rel=0.05)
