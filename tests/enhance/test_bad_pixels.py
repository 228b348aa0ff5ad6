"""Faulty pixels: found where they stand alone, never where optics could have made them."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from longexposure.enhance import bad_pixels
from longexposure.enhance.bad_pixels import BadPixels, find_bad_pixels
from longexposure.enhance.enhancer import load_enhancer
from longexposure.noise import NoiseProfile, estimate_noise

SIGMA = 100.0
LEVEL = 30000.0
NOISE = NoiseProfile(level=LEVEL, sigma=SIGMA)
GRID = [*itertools.product(range(8, 196, 10), range(7, 196, 10))]
EDGE = [*itertools.product((0, 199), range(6, 196, 10)), *itertools.product(range(11, 196, 10), (0, 199))]
NEXT = [*itertools.product((1, 198), range(6, 196, 10)), *itertools.product(range(11, 196, 10), (1, 198))]
CORNERS = [*itertools.product((0, 199), (0, 199))]
PLACES = {"inside": GRID, "border": EDGE, "next-to-border": NEXT, "corner": CORNERS}
PARTNERS = {"single": None, "along-x": (0, 1), "along-y": (1, 0), "diagonal": (1, 1)}


def grain(seed: int, shape: tuple[int, int] = (200, 200)) -> np.ndarray:
    """A flat area with noise, float64."""
    return np.random.default_rng(seed).normal(LEVEL, SIGMA, shape)


def counts(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 65535)).astype(np.uint16)


def places(found: BadPixels) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(found.y, found.x, strict=True)}


def plant(image: np.ndarray, at: list[tuple[int, int]], depth: float, partner=None) -> set[tuple[int, int]]:
    """Make pixels hot and dead in turn, alone or with a neighbour towards the middle of the image."""
    planted = set()
    for index, (y, x) in enumerate(at):
        pixels = {(y, x)}
        if partner:
            pixels.add((y + (-1 if y > 100 else 1) * partner[0], x + (-1 if x > 100 else 1) * partner[1]))
        for place in pixels:
            image[place] += depth if index % 2 else -depth
        planted |= pixels
    return planted


@pytest.mark.parametrize("partner", PARTNERS.values(), ids=PARTNERS)
@pytest.mark.parametrize("at", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("depth", [10, 13, 100])
def test_hot_and_dead_pixels_are_found_and_nothing_else(at, partner, depth):
    found = missed = others = 0
    for seed in range(2 if at is GRID else 24):
        image = grain(seed)
        planted = plant(image, at, depth * SIGMA, partner)
        seen = places(find_bad_pixels(counts(image), NOISE))
        found += len(seen & planted)
        missed += len(planted - seen)
        others += len(seen - planted)
    least = {10: 0.9 if partner else 0.95, 13: 0.95, 100: 0.99}[depth]
    assert found / (found + missed) >= least
    assert others == 0


@pytest.mark.parametrize("partner", PARTNERS.values(), ids=PARTNERS)
@pytest.mark.parametrize("at", PLACES.values(), ids=PLACES)
def test_the_replacement_is_near_the_truth(at, partner):
    image = grain(5)
    plant(image, at, 50 * SIGMA, partner)
    found = find_bad_pixels(counts(image), NOISE)
    error = (found.value - LEVEL) / SIGMA
    assert np.abs(error).max() < 4
    if len(error) > 20:
        assert np.square(error).mean() < 1, "no worse than an ordinary pixel"


@pytest.mark.parametrize("sigmas_per_px", [1, 3, 8])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
@pytest.mark.parametrize("depth", [10, 30])
def test_faulty_pixels_on_a_slope_are_found_and_nothing_else(sigmas_per_px, direction, depth):
    y, x = np.mgrid[:200, :200]
    image = grain(0) + sigmas_per_px * SIGMA * (direction[0] * (y - 100) + direction[1] * (x - 100))
    planted = plant(image, GRID, depth * SIGMA)
    found = places(find_bad_pixels(image.astype(np.float32), NOISE))
    assert len(found & planted) >= 0.95 * len(planted)
    assert not found - planted


def test_the_replacement_follows_a_slope():
    y, x = np.mgrid[:100, :100]
    clean = LEVEL + 30 * x - 20 * y
    image = clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    at = [*itertools.product(range(5, 95, 10), range(5, 95, 10))]
    planted = plant(image, at, 30 * SIGMA)
    found = find_bad_pixels(counts(image), NOISE)
    assert places(found) == planted
    assert np.abs(found.value - clean[found.y, found.x]).mean() < 0.7 * SIGMA


@pytest.mark.parametrize("height", [63, 64, 65, 67, 130])
def test_strips_have_no_seam(height, monkeypatch):
    rows = [y for y in range(height) if min(y % 64, -y % 64) <= 3 or y >= height - 3]
    image = grain(1, (height, 12 * len(rows)))
    monkeypatch.setattr(bad_pixels, "STRIP_PX", 64 * image.shape[1])
    at = [(y, 12 * index + 6) for index, y in enumerate(rows)]
    for index, place in enumerate(at):
        image[place] += (40 if index % 2 else -40) * SIGMA
    found = find_bad_pixels(counts(image), NOISE)
    assert places(found) == set(at)
    assert np.abs(found.value - LEVEL).max() < 4 * SIGMA


def steep(sign: int) -> tuple[np.ndarray, NoiseProfile]:
    """A ramp over the whole scale with faulty pixels, whose variance goes from nothing to 800**2 along it."""
    random = np.random.default_rng(5)
    level = np.tile(np.linspace(1000.0, 60000.0, 400), (200, 1))
    if sign < 0:
        level = 61000 - level
    noise = NoiseProfile(level=30000.0, sigma=800 * 0.5**0.5, slope=sign * 800**2 / 60000)
    image = level + random.normal(size=level.shape) * np.sqrt(noise.variance(level))
    for place in itertools.product(range(8, 196, 10), range(7, 396, 10)):
        image[place] = random.uniform(0, 65535)
    return counts(image), noise


@pytest.mark.parametrize("sign", [1, -1])
def test_a_place_is_passed_over_only_where_no_pixel_can_be_faulty(sign, monkeypatch):
    image, noise = steep(sign)
    found = find_bad_pixels(image, noise)
    assert len(found) > 500
    monkeypatch.setattr(bad_pixels, "_lowest_sigma", lambda *_: 0.0)
    everywhere = find_bad_pixels(image, noise)
    assert places(found) == places(everywhere)
    assert np.array_equal(found.value, everywhere.value)


@pytest.mark.parametrize("sign", [1, -1])
def test_faint_places_do_not_make_the_others_look_faulty(sign, monkeypatch):
    image, noise = steep(sign)
    looked_at, really = [], bad_pixels._surroundings
    monkeypatch.setattr(
        bad_pixels, "_surroundings", lambda ring: looked_at.append(ring.shape[1]) or really(ring)
    )
    find_bad_pixels(image, noise)
    assert sum(looked_at) < 8 * 19 * 39


@pytest.mark.parametrize("kind", ["white", "correlated", "quantum"])
def test_pure_noise_has_no_faulty_pixels(kind):
    found = 0
    for seed in range(2):
        image = grain(seed, (512, 512))
        noise = NOISE
        if kind == "correlated":
            image = LEVEL + 3 * gaussian_filter(image - LEVEL, 0.7)
        if kind == "quantum":
            image = np.random.default_rng(seed).poisson(np.linspace(30, 400, 512), (512, 512)) * 10.0
            noise = NoiseProfile(level=0.0, sigma=0.0, slope=10.0)
        found += len(find_bad_pixels(counts(image), noise))
        found += len(find_bad_pixels(counts(image), estimate_noise(counts(image))))
    assert found <= 1e-5 * 2 * 2 * 512 * 512


def _points(contrast: float, blur_px: float, offset: tuple[float, float], seed: int) -> np.ndarray:
    image = grain(seed)
    y, x = np.mgrid[-4:5, -4:5]
    bump = np.exp(-((y - offset[0]) ** 2 + (x - offset[1]) ** 2) / (2 * blur_px**2))
    for index, (top, left) in enumerate(GRID):
        image[top - 4 : top + 5, left - 4 : left + 5] += (-1) ** index * contrast * SIGMA * bump
    return image


@pytest.mark.parametrize(
    ("contrast", "blur_px", "most_lost"),
    [(20, 0.6, 0.06), (50, 0.6, 0.005), (200, 0.6, 0.002), (100, 0.5, 0.02), (12, 0.8, 0.01)],
)
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, 0.0), (0.3, -0.4)])
def test_points_that_optics_could_have_made_stay(contrast, blur_px, most_lost, offset):
    lost = sum(len(find_bad_pixels(counts(_points(contrast, blur_px, offset, s)), NOISE)) for s in range(3))
    assert lost <= most_lost * 3 * len(GRID)


@functools.cache
def _shapes() -> dict[str, np.ndarray]:
    y, x = np.mgrid[:200, :200].astype(float)
    lines, ends, corners, balls = (np.zeros((200, 200)) for _ in range(4))
    lines[::9] = lines[:, ::11] = 1
    for row in range(5, 190, 8):
        ends[row, 20 : 30 + row // 2] = ends[row + 3, 120 : 125 + row // 4] = 1
        ends[row : row + 5, 195] = 1
    for row, column in itertools.product(range(5, 180, 12), range(5, 180, 12)):
        corners[row : row + 5, column : column + 5] = 1
        balls[np.hypot(y - row - 0.3, x - column) <= 2] = 1
    away = np.abs((x + 2 * y) % 16 - 8) / np.sqrt(5)  # distance from the nearest of many slanted lines
    diagonal = (1 - away).clip(0, 1)
    discs = ((y % 50 - 25) ** 2 + (x % 50 - 24.5) ** 2 < 17**2).astype(float)
    return {
        "lines": lines,
        "line-ends": ends,
        "corners": corners,
        "balls": balls,
        "diagonals": diagonal,
        "discs": discs,
    }


@pytest.mark.parametrize("contrast", [10, 20, 60, 250])
@pytest.mark.parametrize("name", _shapes())
def test_structure_blurred_by_0_6_px_stays(name, contrast):
    shape = _shapes()[name]
    blurred = gaussian_filter(shape, 0.6) * contrast * SIGMA
    found = 0
    for sign, seed in ((1, 0), (-1, 1)):
        bad = find_bad_pixels(counts(grain(seed) + sign * blurred), NOISE)
        found += len(bad.within((slice(2, 198), slice(2, 198))))
    ends = 2 * 3 * 24
    assert found <= 2 * (0.1 * ends if name == "line-ends" else 5e-4 * shape.sum())
    if contrast == 250:
        assert found == 0


@pytest.mark.parametrize("name", ["lines", "corners", "balls", "discs"])
def test_structure_without_any_blur_stays(name):
    for contrast in (-250, -20, 12, 20, 60, 250):
        found = find_bad_pixels(counts(grain(0) + contrast * SIGMA * _shapes()[name]), NOISE)
        assert len(found) == 0


def test_a_faulty_pixel_beside_an_edge_is_found():
    image = grain(0)
    image[:, 100:] += 40 * SIGMA
    at = [(y, x) for y, x in itertools.product(range(8, 195, 10), (94, 97, 102, 105))]
    planted = plant(image, at, 100 * SIGMA)
    assert places(find_bad_pixels(counts(image), NOISE)) == planted


@pytest.mark.parametrize(("a", "b"), [(2.0, 500.0), (0.5, 0.0), (4.0, -1000.0)])
def test_found_pixels_and_their_values_follow_a_rescaling(a, b):
    image = grain(3).astype(np.float32).round()
    planted = plant(image, GRID, 40 * SIGMA)
    plain = find_bad_pixels(image, NOISE)
    scaled = find_bad_pixels(np.float32(a) * image + np.float32(b), NOISE.mapped(scale=a, offset=b))
    assert places(plain) == planted == places(scaled)
    np.testing.assert_allclose(scaled.value, a * plain.value + b, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_type_is_taken_and_not_modified(dtype):
    image = np.random.default_rng(0).normal(120, 4, (40, 50)).round()
    image[20, 30], image[9, 5] = 250, 0
    image = image.astype(dtype)
    before = image.copy()
    image.flags.writeable = False
    found = find_bad_pixels(image, NoiseProfile(level=120, sigma=4))
    assert places(found) == {(20, 30), (9, 5)}
    assert found.value.dtype == np.float32
    assert np.array_equal(image, before)
    assert places(find_bad_pixels(image[::-1, ::-1], NoiseProfile(level=120, sigma=4))) == {
        (19, 19),
        (30, 44),
    }


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 3), (3, 3), (4, 4), (1, 600), (1100, 1)]
)
def test_tiny_and_thin_images_are_taken(shape):
    found = find_bad_pixels(counts(grain(0, shape)), NOISE)
    assert len(found) == 0
    assert np.all(found.y < shape[0])


def test_a_faulty_pixel_of_a_tiny_image_is_found():
    for y, x in itertools.product(range(4), range(4)):
        image = np.full((4, 4), LEVEL)
        image[y, x] += 50 * SIGMA
        found = find_bad_pixels(counts(image), NOISE)
        assert places(found) == {(y, x)}
        assert found.value == [LEVEL]


def test_without_noise_nothing_is_called_faulty():
    image = np.zeros((20, 20), np.uint8)
    image[10, 10] = 255
    found = find_bad_pixels(image, NoiseProfile(level=0, sigma=0))
    assert len(found) == 0
    assert find_bad_pixels(image, NoiseProfile(level=0, sigma=1)).value == [0]


def test_within_a_window_are_those_inside_with_their_places_in_it():
    image = grain(0)
    planted = plant(image, GRID, 50 * SIGMA)
    found = find_bad_pixels(counts(image), NOISE)
    window = (slice(20, 88), slice(27, 78))
    inside = found.within(window)
    assert places(inside) == {(y - 20, x - 27) for y, x in planted if 20 <= y < 88 and 27 <= x < 78}
    assert 0 < len(inside) < len(found)
    whole = found.within((slice(0, 200), slice(0, 200)))
    assert np.array_equal(whole.value, found.value)
    assert len(found.within((slice(0, 5), slice(0, 5)))) == 0


@pytest.mark.parametrize("model", ["identity", "gaussian", "nlm"])
@pytest.mark.parametrize("depth", [15, 100])
def test_faulty_pixels_do_not_spread(model, depth):
    image = grain(0, (96, 96)) + 3000 * (np.mgrid[:96, :96][1] > 50)
    at = [*itertools.product(range(8, 90, 14), (10, 24, 38, 66, 80))]
    spoilt = image.copy()
    plant(spoilt, at, depth * SIGMA)
    enhancer = load_enhancer(model)
    clean = enhancer.enhance(counts(image), noise=NOISE).astype(float)
    change = np.abs(enhancer.enhance(counts(spoilt), noise=NOISE) - clean)
    far = np.ones_like(change, dtype=bool)
    for y, x in at:
        far[y - 3 : y + 4, x - 3 : x + 4] = False
    reach = change[~far].max()
    assert change[far].max() <= 0.5 * SIGMA
    assert reach <= 5 * SIGMA, "not even at the spot itself is more than noise left"


def test_faulty_pixels_do_not_spread_through_the_default(default_enhancer):
    image = grain(0, (96, 96)) + 3000 * (np.mgrid[:96, :96][1] > 50)
    spoilt = image.copy()
    plant(spoilt, [(20, 20), (70, 30), (48, 80)], 100 * SIGMA)
    clean = default_enhancer.enhance(counts(image), noise=NOISE).astype(float)
    change = np.abs(default_enhancer.enhance(counts(spoilt), noise=NOISE) - clean)
    assert change.max() < 5 * SIGMA
    for y, x in ((20, 20), (70, 30), (48, 80)):
        change[y - 3 : y + 4, x - 3 : x + 4] = 0
    assert change.max() < 0.5 * SIGMA


def test_a_hot_pixel_is_found_by_the_noise_at_its_brightness_behind_a_curve():
    """Dark half noisy, bright half quiet: what is faulty in one is noise in the other."""
    random = np.random.default_rng(0)
    image = np.where(np.arange(128) < 64, 50.0, 200.0) + np.zeros((96, 1))
    image += np.where(image < 100, 8.0, 1.0) * random.standard_normal(image.shape)
    image[40, 20] += 20
    image[40, 100] += 20
    noise = NoiseProfile(level=125.0, sigma=5.7, slope=-0.4, curve=((50.0, 8.0), (125.0, 2.8), (200.0, 1.0)))
    found = find_bad_pixels(image.astype(np.float32), noise)
    assert list(zip(found.y.tolist(), found.x.tolist(), strict=True)) == [(40, 100)]
