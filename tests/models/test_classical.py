import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import convolve
from skimage.restoration import denoise_nl_means

from longexposure.errors import InputError, RecipeError
from longexposure.models.base import ModelSpec
from longexposure.models.classical import Gaussian, Identity, NonLocalMeans

SIGMA = 0.05
NOISE = np.array([SIGMA, 0.28, 0.0, 0.0, 0.0], np.float32)
ENHANCERS = [
    Identity(),
    Gaussian(),
    Gaussian(sigma_px=0.3),
    Gaussian(sigma_px=2.7),
    NonLocalMeans(),
    NonLocalMeans(strength=1.5, patch_px=3, distance_px=2),
]
every_enhancer = pytest.mark.parametrize("enhancer", ENHANCERS, ids=repr)


def _noisy(height: int, width: int, batch: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    clean = 0.5 + 0.3 * (((x // 8) + (y // 8)) % 2)
    return (clean + SIGMA * rng.standard_normal((batch, height, width))).astype(np.float32)


@every_enhancer
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 40), (33, 64)])
def test_any_size_keeps_shape_and_type(enhancer, size):
    result = enhancer.run(_noisy(*size), NOISE)
    assert result.shape == (2, *size)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@every_enhancer
def test_input_is_not_modified_and_not_handed_back(enhancer):
    for noise in (NOISE, np.zeros(5, np.float32)):
        tile = _noisy(20, 20)
        before = tile.copy()
        tile.flags.writeable = False
        result = enhancer.run(tile, noise)
        assert np.array_equal(tile, before)
        assert not np.shares_memory(result, tile)


@every_enhancer
def test_a_window_with_halo_equals_the_whole(enhancer):
    whole = _noisy(90, 110)
    halo = enhancer.spec.halo
    window = whole[:, 30 - halo : 55 + halo, 40 - halo : 77 + halo]
    inside = enhancer.run(window, NOISE)[:, halo : halo + 25, halo : halo + 37]
    np.testing.assert_allclose(inside, enhancer.run(whole, NOISE)[:, 30:55, 40:77], rtol=0, atol=1e-5)


@every_enhancer
def test_a_window_at_the_image_border_equals_the_whole(enhancer):
    whole = _noisy(60, 60)
    halo = enhancer.spec.halo
    corner = enhancer.run(whole[:, : 20 + halo, : 15 + halo], NOISE)[:, :20, :15]
    np.testing.assert_allclose(corner, enhancer.run(whole, NOISE)[:, :20, :15], rtol=0, atol=1e-5)


@every_enhancer
def test_receptive_field_is_exactly_the_stated_radius(enhancer):
    rng = np.random.default_rng(0)
    tile = (0.5 + 1.5 * SIGMA * rng.standard_normal((1, 64, 64))).astype(np.float32)
    plain = enhancer.run(tile, NOISE)
    farthest = 0
    for y, x in rng.integers(24, 40, (8, 2)):
        changed = tile.copy()
        changed[0, y, x] += np.float32(0.3 * SIGMA)
        ys, xs = np.nonzero(np.abs(enhancer.run(changed, NOISE) - plain)[0] > 1e-7)
        farthest = max(farthest, np.abs(ys - y).max(), np.abs(xs - x).max())
    radius = enhancer.spec.receptive_field
    cut = 1 if isinstance(enhancer, Gaussian) else 0  # the last tap of the kernel may be below rounding
    assert radius - cut <= farthest <= radius


@every_enhancer
def test_pages_of_a_batch_do_not_mix(enhancer):
    batch = _noisy(20, 24, batch=3)
    together = enhancer.run(batch, NOISE)
    for page, alone in zip(together, batch, strict=True):
        assert np.array_equal(page, enhancer.run(alone[None], NOISE)[0])


@every_enhancer
def test_grey_scale_and_offset_pass_through(enhancer):
    tile = _noisy(32, 32)
    scaled = enhancer.run(3 * tile - 1, 3 * NOISE)
    np.testing.assert_allclose(scaled, 3 * enhancer.run(tile, NOISE) - 1, atol=2e-5)


@every_enhancer
def test_a_constant_stays_constant(enhancer):
    tile = np.full((1, 17, 9), 0.37, np.float32)
    np.testing.assert_allclose(enhancer.run(tile, NOISE), tile, atol=1e-6)


@pytest.mark.parametrize("enhancer", [e for e in ENHANCERS if not isinstance(e, Identity)], ids=repr)
def test_noise_in_a_flat_area_falls(enhancer):
    tile = np.random.default_rng(0).normal(0.5, SIGMA, (1, 64, 64)).astype(np.float32)
    smooth = enhancer.run(tile, NOISE)
    assert smooth.std() < (0.99 if enhancer == Gaussian(sigma_px=0.3) else 0.5) * tile.std()
    assert smooth.mean() == pytest.approx(tile.mean(), abs=1e-3)


def test_gaussian_equals_direct_convolution_with_a_mirrored_border():
    tile = _noisy(20, 23)
    offsets = np.arange(-4, 5)
    taps = np.exp(-(offsets**2) / 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    expected = np.stack([convolve(page.astype(np.float64), kernel, mode="reflect") for page in tile])
    np.testing.assert_allclose(Gaussian().run(tile, NOISE), expected, atol=1e-6)
    assert Gaussian().spec == ModelSpec(size_multiple=1, receptive_field=4, conditioned=False)


def test_gaussian_does_not_look_at_the_noise():
    tile = _noisy(12, 12)
    assert np.array_equal(Gaussian().run(tile, NOISE), Gaussian().run(tile, 9 * NOISE))


def test_non_local_means_equals_scikit_image_told_the_noise():
    tile = _noisy(24, 20, batch=1)
    expected = denoise_nl_means(
        tile[0].astype(np.float64),
        patch_size=5,
        patch_distance=6,
        h=0.8 * SIGMA,
        sigma=SIGMA,
        preserve_range=True,
    )
    np.testing.assert_allclose(NonLocalMeans().run(tile, NOISE)[0], expected, atol=1e-6)


def test_non_local_means_without_noise_is_the_identity():
    tile = _noisy(12, 12)
    assert np.array_equal(NonLocalMeans().run(tile, np.zeros(5, np.float32)), tile)


def test_non_local_means_keeps_edges_that_a_gaussian_blurs():
    y, x = np.mgrid[:64, :64]
    clean = (0.3 + 0.4 * ((x // 16 + y // 16) % 2)).astype(np.float32)
    tile = (clean + np.random.default_rng(0).normal(0, 0.02, clean.shape)).astype(np.float32)[None]
    noise = np.array([0.02, 0, 0, 0, 0], np.float32)
    errors = [
        np.square(e.run(tile, noise)[0] - clean).mean() for e in (NonLocalMeans(), Gaussian(), Identity())
    ]
    assert errors[0] < 0.5 * errors[2] < errors[1]


@pytest.mark.parametrize("sigma", [-0.1, np.nan, np.inf])
def test_non_local_means_refuses_an_impossible_noise(sigma):
    with pytest.raises(InputError, match="noise sigma"):
        NonLocalMeans().run(_noisy(8, 8), np.array([sigma, 0, 0, 0, 0], np.float32))


@every_enhancer
@pytest.mark.parametrize(
    "tile", [np.zeros((4, 4), np.float32), np.zeros((1, 4, 4)), np.zeros((1, 0, 4), np.float32)]
)
def test_refuses_what_is_not_a_batch_of_tiles(enhancer, tile):
    with pytest.raises(InputError, match=r"\(B, H, W\) of float32"):
        enhancer.run(tile, NOISE)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Gaussian, {"sigma_px": 0}),
        (Gaussian, {"sigma_px": float("nan")}),
        (Gaussian, {"sigma_px": 51}),
        (NonLocalMeans, {"strength": 0}),
        (NonLocalMeans, {"strength": float("inf")}),
        (NonLocalMeans, {"patch_px": 4}),
        (NonLocalMeans, {"patch_px": 1}),
        (NonLocalMeans, {"distance_px": 0}),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings):
    with pytest.raises(RecipeError):
        kind(**settings)


def test_needs_no_torch():
    code = "import sys, longexposure.models.classical; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
