"""Pixels that were repeated or interpolated before: found, named, and never seen in what detectors give."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage import transform

from longexposure.enhance.statistics import examine
from longexposure.noise import estimate_noise
from longexposure.noise.repeats import find_repeats
from longexposure.noise.resampling import is_interpolated, resampling_in_words
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine

EXAMPLES = Path(__file__).parents[2] / "examples" / "radiographs"
NOISE = 400.0


def _scene(side=256):
    """Balls in shaded light, edges over 2 px."""
    y, x = np.mgrid[:side, :side].astype(float)
    balls = np.clip(9 - np.hypot(y % 45 - 20, x % 52 - 30), 0, 1)
    return 20000 + 10 * x - 6000 * ndimage.gaussian_filter(balls, 0.8)


def _noisy(side=256, *, seed=0, noise=NOISE, width=0.0):
    field = np.random.default_rng(seed).standard_normal((side, side))
    if width:
        field = ndimage.gaussian_filter(field, width)
    return _scene(side) + noise * field / field.std()


# Repeated


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (1, 2), (5, 1), (4, 7)])
@pytest.mark.parametrize("cut", [(0, 0), (1, 0), (1, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_repeated_pixels_are_found_at_any_factor_and_phase(factors, cut, dtype):
    scaled = _noisy(100) / (128 if dtype == "uint8" else 1)
    image = scaled.astype(dtype).repeat(factors[0], axis=0).repeat(factors[1], axis=1)[cut[0] :, cut[1] :]
    found = find_repeats(image)
    assert found is not None
    assert found.factors == pytest.approx(factors)
    assert np.array_equal(found.repeated(found.originals(image)), image)
    whole = -(-np.array(image.shape) // factors)
    assert (np.abs(found.originals(image).shape - whole) <= 1).all()


@pytest.mark.parametrize("factor", [1.5, 1.25, 2.4])
def test_so_they_are_where_the_factor_is_no_whole_number(factor):
    image = _noisy(160).astype(np.uint16)
    side = int(160 * factor)
    enlarged = transform.resize(image, (side, side), order=0, preserve_range=True, anti_aliasing=False)
    found = find_repeats(enlarged.astype(np.uint16))
    assert found is not None
    assert found.factors == pytest.approx((factor, factor), rel=0.01)
    assert np.array_equal(found.originals(enlarged), image)


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (1, 2), (1.5, 1.5)])
def test_the_noise_of_repeated_pixels_is_that_of_the_originals(factors):
    image = np.rint(_noisy(200)).astype(np.uint16)
    rows, columns = (np.floor(np.arange(int(200 * each)) / each).astype(int) for each in factors)
    original, repeated = estimate_noise(image), estimate_noise(image[np.ix_(rows, columns)])
    assert repeated.sigma == pytest.approx(original.sigma, rel=0.05)
    assert repeated.corr_x == pytest.approx(1 - 1 / factors[1], abs=0.12)
    assert repeated.corr_y == pytest.approx(1 - 1 / factors[0], abs=0.12)


def test_a_filled_margin_hides_no_repetition():
    image = np.rint(_noisy(100)).astype(np.uint16).repeat(2, axis=0).repeat(2, axis=1)
    image[:70] = 0
    found = find_repeats(image)
    assert found is not None
    assert found.in_words() == "2 x 2"


def _copied_border():
    return np.pad(_noisy(100).astype(np.float32), 30, mode="edge")


def _copied_line():
    image = _noisy(100).astype(np.float32)
    image[50] = image[49]
    return image


def _stripes():
    return np.broadcast_to(np.random.default_rng(0).normal(size=(1, 90)).astype(np.float32), (80, 90))


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 50), 7, np.uint8),
        np.zeros((1, 1), np.float32),
        np.broadcast_to(np.arange(256, dtype=np.uint8), (64, 256)),
        _copied_border(),
        _copied_line(),
        _stripes(),
        np.rint(_scene() / 100).astype(np.uint8),
    ],
    ids=["constant", "one pixel", "ramp", "copied border", "copied line", "stripes", "clean, 8 bits"],
)
def test_equal_rows_of_another_kind_are_no_repetition(image):
    assert find_repeats(image) is None


# Interpolated

RESAMPLED = {
    "linear, 2 times": lambda image: ndimage.zoom(image, 2, order=1),
    "linear, 2 times, by pixel areas": lambda image: ndimage.zoom(
        image, 2, order=1, grid_mode=True, mode="nearest"
    ),
    "cubic, 2 times": lambda image: ndimage.zoom(image, 2, order=3),
    "linear, 1.5 times": lambda image: ndimage.zoom(image, 1.5, order=1),
    "linear, 3 times": lambda image: ndimage.zoom(image, 3, order=1),
    "cubic, 1.3 times": lambda image: ndimage.zoom(image, 1.3, order=3),
    "linear, one axis": lambda image: ndimage.zoom(image, (1, 2), order=1),
    "turned by 7 degrees": lambda image: ndimage.rotate(image, 7, order=1, reshape=False, mode="reflect"),
    "turned by -33 degrees, cubic": lambda image: ndimage.rotate(
        image, -33, order=3, reshape=False, mode="reflect"
    ),
    "turned, corners filled": lambda image: ndimage.rotate(image, 12, order=1, cval=0),
}


@pytest.mark.parametrize("name", RESAMPLED)
def test_interpolated_pixels_are_noticed(name):
    image = RESAMPLED[name](_noisy()).astype(np.float32)
    assert resampling_in_words(image, estimate_noise(image)) == "interpolated"


SLIGHTLY = (0.3, -0.5, 0.8, 1.2, 1.7, 90.4, 89.3, 179.3, -91.5)


@pytest.mark.parametrize("angle", SLIGHTLY)
@pytest.mark.parametrize("order", [1, 3])
def test_turning_by_little_and_by_nearly_a_quarter_turn_is_noticed(angle, order):
    turned = ndimage.rotate(_noisy(), angle, order=order, reshape=False, mode="reflect").astype(np.float32)
    assert resampling_in_words(turned, estimate_noise(turned)) == "interpolated"


@pytest.mark.parametrize("angle", [0.4, 1.0, -90.6])
def test_so_it_is_where_noise_goes_with_the_signal_and_in_real_views(angle):
    quanta = np.random.default_rng(0).poisson(_scene() / 40).astype(float)
    views = [tifffile.imread(file).astype(float) for file in sorted(EXAMPLES.glob("ic_5s_view*.tif"))]
    for image in (quanta, *views):
        turned = np.rint(ndimage.rotate(image, angle, order=1, reshape=False, mode="reflect"))
        turned = turned.clip(0).astype(np.uint16)
        assert is_interpolated(turned, estimate_noise(turned))


def test_what_was_noticed_is_said_with_what_to_do():
    image = ndimage.zoom(_noisy(), 2, order=1)
    for resampled, words in (
        (np.rint(image).astype(np.uint16), "interpolated before"),
        (_noisy(128).astype(np.float32).repeat(2, axis=0).repeat(2, axis=1), "repeated 2 x 2 before"),
    ):
        (warning,) = [text for text in examine(resampled).warnings(None) if "pixels were" in text]
        assert words in warning
        assert "as the detector gave it" in warning
    assert examine(_noisy().astype(np.float32)).warnings(None) == ()


@pytest.mark.parametrize("width", [0.0, 0.5, 0.8, 1.2])
@pytest.mark.parametrize("noise", [5.0, 100.0, 3000.0])
def test_blurred_noise_is_not_taken_for_interpolated(width, noise):
    image = _noisy(noise=noise, width=width).astype(np.float32)
    assert not is_interpolated(image, estimate_noise(image))


@pytest.mark.parametrize("pitch", [6, 8.3, 11, 16])
def test_a_lattice_is_not_taken_for_interpolated(pitch):
    y, x = np.mgrid[:256, :256].astype(float)
    for turn in (0, 0.2):
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        balls = np.clip(0.3 * pitch - np.hypot(along % pitch - pitch / 2, across % pitch - pitch / 2), 0, 1)
        noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((256, 256)), 0.6)
        image = (0.5 + 0.5 * balls + 0.05 * noise / noise.std()).astype(np.float32)
        assert not is_interpolated(image, estimate_noise(image))


@pytest.mark.parametrize("slow", ["stripes of gain", "a wavy screen", "bands of two noises"])
def test_noise_that_is_uneven_for_another_reason_is_not_taken_for_interpolated(slow):
    y, x = np.mgrid[:320, :320].astype(float)
    noise = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((320, 320)), 0.5)
    wave = np.cos(2 * np.pi * y / 64) + np.cos(2 * np.pi * x / 64)
    made = {
        "stripes of gain": 20000 * (1 + 0.05 * wave) + 1000 * noise,
        "a wavy screen": 20000 + 1000 * noise * (1 + 0.3 * wave),
        "bands of two noises": 20000 + np.where(y % 80 < 40, 1000.0, 500.0) * noise,
    }
    image = made[slow].astype(np.float32)
    assert not is_interpolated(image, estimate_noise(image))


@pytest.mark.parametrize("name", ["wide", "S1", "S2", "S3"])
def test_exposures_of_simulated_machines_are_not_taken_for_resampled(name):
    machine = load_machine(name)
    for index in range(5):
        pixels = draw_pair(machine, seed=83, index=index, size_px=(224, 224)).lq
        assert not resampling_in_words(pixels, estimate_noise(pixels))


def test_the_views_of_a_real_circuit_are_not_taken_for_resampled():
    for file in sorted(EXAMPLES.glob("ic_5s_view*.tif")):
        pixels = tifffile.imread(file)
        noise = estimate_noise(pixels)
        assert not resampling_in_words(pixels, noise)
