"""Simulated pairs: two exposures of one scene, their clean image and the true profile."""

import os

import numpy as np
import pytest
from scipy import ndimage

from longexposure.data.pairs import PairedFolder
from longexposure.errors import OutputError, RecipeError
from longexposure.io import read_radiograph
from longexposure.physics.detector import Detector, blurred
from longexposure.physics.scenes import draw_scene, slabs
from longexposure.simulating import LONG_S, SHORT_S, simulate_pair, true_profile, write_pairs

DETECTOR = Detector(quanta_per_s=100, gain=40.0, offset=400, read_noise=50.0)
SIZE = (72, 90)


def _pair(detector=DETECTOR, *, seed=1, **more):
    return simulate_pair(detector, seed=seed, **{"size_px": SIZE, **more})


def _empty(canvas, random):
    """Nothing in the beam."""


def _flat_pair(detector, *, seed=0, size=(256, 256)):
    """Of nothing but light; its unevenness is known from the clean image."""
    return simulate_pair(detector, seed=seed, size_px=size, parts=[_empty])


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_pair_is_two_integer_exposures_and_one_float_expectation(bits, dtype):
    pair = _pair(Detector(quanta_per_s=100, gain=0.4, bits=bits))
    assert pair.lq.pixels.shape == pair.hq.pixels.shape == pair.clean.pixels.shape == SIZE
    assert pair.lq.pixels.dtype == pair.hq.pixels.dtype == dtype
    assert pair.clean.pixels.dtype == np.float32


def test_equal_arguments_give_equal_pixels_and_other_seeds_others():
    first, second, other = _pair(), _pair(), _pair(seed=2)
    for name in ("lq", "hq", "clean"):
        pixels = [getattr(pair, name).pixels for pair in (first, second, other)]
        assert pixels[0].tobytes() == pixels[1].tobytes()
        assert not np.array_equal(pixels[0], pixels[2])
    assert first.noise == second.noise


def test_the_clean_image_is_the_expectation_of_both_exposures():
    pair = _pair(size_px=(200, 200))
    clean = pair.clean.pixels.astype(np.float64)
    short, long = (image.pixels - clean for image in (pair.lq, pair.hq))
    assert abs(short.mean()) < 4 * short.std() / 200
    assert abs(long.mean()) < 4 * long.std() / 200
    smooth = ndimage.gaussian_filter(short, 3)
    assert smooth.std() < 0.15 * short.std()
    assert long.std() < 0.3 * short.std()


def test_the_clean_image_is_the_blurred_scene_in_grey_values():
    pair = _pair(parts=[slabs], blur_px=1.2)
    scene = draw_scene(np.random.default_rng((1, 0)), size_px=SIZE, parts=[slabs])
    open_beam = 40.0 * 100 * 5
    np.testing.assert_allclose(pair.clean.pixels, 400 + open_beam * blurred(scene, 1.2), rtol=1e-5)


def test_noise_of_the_two_exposures_is_independent_and_the_panel_is_shared():
    quanta = _flat_pair(Detector(quanta_per_s=100, gain=40.0))
    shared = _flat_pair(Detector(quanta_per_s=2000, gain=2.0, pattern=0.03))
    for pair, low, high in ((quanta, -0.02, 0.02), (shared, 0.8, 1.0)):
        clean = pair.clean.pixels
        short, long = ((image.pixels / clean - 1).ravel() for image in (pair.lq, pair.hq))
        assert low < np.corrcoef(short, long)[0, 1] < high


@pytest.mark.parametrize(
    "detector",
    [
        Detector(quanta_per_s=100, gain=40.0),
        Detector(quanta_per_s=100, gain=20.0, offset=1000, read_noise=300.0),
        Detector(quanta_per_s=400, gain=4.0, offset=100, read_noise=40.0, pattern=0.03),
        Detector(quanta_per_s=400, gain=4.0, colour=0.6),
        Detector(quanta_per_s=10, gain=1.0, reference_s=90.0, offset=5, read_noise=1.5),
    ],
    ids=["quanta", "read noise", "pattern", "colour", "long reference"],
)
def test_the_true_profile_is_that_of_the_short_exposure(detector):
    pair = _flat_pair(detector)
    clean = pair.clean.pixels.astype(np.float64)
    noise = pair.lq.pixels - clean
    expected = pair.noise.variance(clean)
    assert pair.noise.level == pytest.approx(clean.mean(), rel=1e-4)
    assert (noise**2).mean() == pytest.approx(expected.mean(), rel=0.03)
    scaled = noise / np.sqrt(expected)
    assert (scaled[:, 1:] * scaled[:, :-1]).mean() == pytest.approx(pair.noise.corr_x, abs=0.03)
    assert (scaled[1:] * scaled[:-1]).mean() == pytest.approx(pair.noise.corr_y, abs=0.03)


def test_the_slope_of_the_profile_is_the_derivative_of_the_variance():
    detector = Detector(quanta_per_s=100, gain=30.0, offset=500, read_noise=100.0, pattern=0.02)
    variances, levels = [], np.array([0.3, 0.5])
    for level in levels:
        transmission = np.full((400, 400), level, dtype=np.float32)
        frame = detector.expose(
            transmission,
            exposure_s=SHORT_S,
            random=np.random.default_rng(1),
            panel=np.random.default_rng(2),
        )
        variances.append(frame.var())
    middle = np.full((2, 2), 500 + 15000 * levels.mean(), dtype=np.float32)
    profile = true_profile(detector, middle)
    assert np.diff(variances)[0] / (15000 * np.diff(levels)[0]) == pytest.approx(profile.slope, rel=0.05)


def test_a_pair_tells_its_exposure_times_and_how_it_was_made():
    pair = _pair(blur_px=0.6)
    assert pair.lq.exposure == {"exposure_s": SHORT_S}
    assert pair.hq.exposure == {"exposure_s": LONG_S}
    assert dict(pair.clean.exposure) == {}
    (step,) = pair.lq.history
    assert (step.tool, step.action) == ("longexposure", "simulate")
    assert step.settings["seed"] == 1
    assert step.settings["blur_px"] == 0.6
    assert step.settings["detector"]["gain"] == 40.0


@pytest.mark.parametrize(("size", "blur"), [((0, 5), 0.8), ((5, 0), 0.8), ((-1, 4), 0.8), ((5, 5), -0.1)])
def test_sizes_without_pixels_and_negative_blur_are_refused(size, blur):
    with pytest.raises(RecipeError, match="simulate_pair: expected a size"):
        simulate_pair(DETECTOR, seed=0, size_px=size, blur_px=blur)


def test_one_pixel_can_be_simulated():
    assert _pair(size_px=(1, 1)).lq.pixels.shape == (1, 1)


def test_written_pairs_are_read_back_pixel_by_pixel(tmp_path):
    pairs = [_pair(seed=seed) for seed in range(2)]
    write_pairs(pairs, tmp_path / "out")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.tif"))
    assert files == sorted(f"{f}/{n:05}.tif" for f in ("LQ", "HQ", "clean") for n in range(2))
    for number, pair in enumerate(pairs):
        for folder, image in (("LQ", pair.lq), ("HQ", pair.hq), ("clean", pair.clean)):
            back = read_radiograph(tmp_path / "out" / folder / f"{number:05}.tif")
            assert np.array_equal(back.pixels, image.pixels)
            assert back.history[-1].action == "simulate"


def test_written_pairs_are_a_folder_of_pairs(tmp_path):
    write_pairs([_pair(seed=seed) for seed in range(2)], tmp_path)
    found = PairedFolder(tmp_path).pairs
    assert [pair.name for pair in found] == ["00000", "00001"]
    assert all(pair.clean is not None for pair in found)


def test_written_pairs_are_not_overwritten_unasked(tmp_path):
    write_pairs([_pair()], tmp_path)
    before = (tmp_path / "LQ" / "00000.tif").read_bytes()
    with pytest.raises(OutputError, match="existing file"):
        write_pairs([_pair(seed=2)], tmp_path)
    assert (tmp_path / "LQ" / "00000.tif").read_bytes() == before
    write_pairs([_pair(seed=2)], tmp_path, overwrite=True)
    assert (tmp_path / "LQ" / "00000.tif").read_bytes() != before
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.startswith(".")]


def test_a_file_in_the_way_of_the_folder_is_refused(tmp_path):
    (tmp_path / "HQ").write_text("mine")
    with pytest.raises(OutputError, match="a file in the way"):
        write_pairs([_pair()], tmp_path)
    assert (tmp_path / "HQ").read_text() == "mine"
