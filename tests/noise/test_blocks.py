"""Block statistics: what they are blind to, what white noise gives, and independence of the grey scale."""

import numpy as np
import pytest
from scipy import ndimage

from longexposure.noise.blocks import (
    AT_EACH_BRIGHTNESS,
    BLOCK,
    LEVELS,
    MAX_BLOCKS,
    cut_blocks,
    energies,
    features,
    filled,
    scale_ends,
    unclipped,
)


def _blocks(image):
    return cut_blocks(np.asarray(image, dtype=np.float32))


def _mean_energies(image):
    return {kind: each.mean() for kind, each in energies(_blocks(image)).items()}


def _white(shape, seed=0, sigma=1.0):
    return sigma * np.random.default_rng(seed).standard_normal(shape)


def test_blocks_are_the_squares_of_the_image_in_reading_order():
    image = np.arange(20 * 27, dtype=np.uint16).reshape(20, 27)
    blocks = cut_blocks(image)
    assert blocks.shape == (6, BLOCK, BLOCK)
    assert blocks.dtype == np.float32
    assert np.array_equal(blocks[4], image[8:16, 8:16])


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (200, 7), (5, 5)])
def test_an_image_narrower_than_a_block_has_none(shape):
    image = np.ones(shape, dtype=np.float32)
    assert cut_blocks(image).shape == (0, BLOCK, BLOCK)


def test_of_a_large_image_blocks_are_taken_evenly_and_their_number_is_bounded():
    image = np.broadcast_to(np.arange(4096, dtype=np.float32), (1024, 4096))
    wide = np.concatenate([image, image])
    blocks = cut_blocks(wide)
    assert MAX_BLOCKS / 4 <= len(blocks) <= MAX_BLOCKS
    assert blocks.mean() == pytest.approx(2047.5, rel=0.01)


def test_white_noise_of_variance_4_has_all_energies_near_4():
    power = energies(_blocks(_white((400, 400), sigma=2.0)))
    assert {each.shape for each in power.values()} == {(2500,)}
    np.testing.assert_allclose([each.mean() for each in power.values()], 4.0, rtol=0.04)


FIRST_ORDER = {
    "first, along x": lambda x, y: x**2 / 2,
    "first, along y": lambda x, y: y**2 / 2,
    "first, along the diagonal": lambda x, y: (x + y) ** 2 / 2,
    "first, along the other diagonal": lambda x, y: (x - y) ** 2 / 2,
    "two apart, along x": lambda x, y: (2 * x) ** 2 / 2,
    "two apart, along y": lambda x, y: (2 * y) ** 2 / 2,
    "three apart, along x": lambda x, y: (3 * x) ** 2 / 2,
    "three apart, along y": lambda x, y: (3 * y) ** 2 / 2,
}
"""What differences see of a plane that rises by x and y per pixel; all others see nothing."""


def test_every_energy_is_blind_to_a_constant_and_all_but_plain_differences_to_a_plane():
    y, x = np.mgrid[:32, :40].astype(np.float32)
    np.testing.assert_allclose(list(energies(_blocks(np.full((32, 40), 7.0))).values()), 0, atol=1e-9)
    for kind, found in energies(_blocks(3 * y - 2 * x + 100)).items():
        expected = FIRST_ORDER[kind](-2, 3) if kind in FIRST_ORDER else 0
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=kind)


def test_the_transpose_of_an_image_exchanges_what_is_along_x_and_along_y():
    image = ndimage.gaussian_filter1d(_white((64, 64)), 0.8, axis=1)
    power, across = _mean_energies(image), _mean_energies(image.T)
    swap = {"x": "y", "y": "x"}
    for kind, value in power.items():
        other = (
            kind.replace("row means", "column means")
            if "row" in kind
            else kind.replace("column means", "row means")
        )
        other = f"{kind[:-1]}{swap[kind[-1]]}" if kind.endswith(("along x", "along y")) else other
        assert across[other] == pytest.approx(value, rel=1e-5), kind


def test_variance_about_the_plane_equals_least_squares():
    blocks = _blocks(_white((24, 24), seed=3))
    y, x = np.mgrid[:8, :8]
    design = np.stack([np.ones(64), y.ravel(), x.ravel()], axis=1)
    for block, power in zip(blocks, energies(blocks)["about the plane"], strict=True):
        residual = np.linalg.lstsq(design, block.ravel().astype(float), rcond=None)[1]
        assert power == pytest.approx(float(residual[0]) / (64 - 3), rel=1e-5)


def test_stripes_along_x_are_seen_along_y_only_and_eightfold_in_the_means_of_rows():
    stripes = np.repeat(_white((640, 1)), 64, axis=1)
    seen = _mean_energies(stripes)
    for kind in ("second, along both axes", "first, along both axes", "second, of column means"):
        assert seen[kind] == pytest.approx(0, abs=1e-9)
    assert all(seen[kind] == 0 for kind in seen if kind.endswith("along x"))
    for kind in (kind for kind in seen if kind.endswith("along y")):
        assert seen[kind] == pytest.approx(1, abs=0.15)
    assert seen["second, of row means"] == pytest.approx(BLOCK, rel=0.15)


def test_noise_that_neighbours_share_is_seen_less_by_their_difference():
    """Differences k apart see 1 minus the autocorrelation at lag k."""
    white = _white((400, 404))
    shared = (white[:, 1:] + white[:, :-1])[:, :400] / np.sqrt(2)
    seen = _mean_energies(shared)
    assert seen["first, along x"] == pytest.approx(0.5, rel=0.04)
    for kind in ("two apart, along x", "three apart, along x", "first, along y", "two apart, along y"):
        assert seen[kind] == pytest.approx(1, rel=0.04)


def test_smooth_noise_has_less_energy_in_higher_differences():
    smooth = ndimage.gaussian_filter(_white((256, 256)), 1.0)
    seen = _mean_energies(smooth)
    assert seen["second, along both axes"] < 0.3 * seen["first, along x"] < 0.3 * seen["about the plane"]


def test_blocks_at_either_end_of_the_scale_are_left_out_beyond_two_pixels():
    blocks = np.full((4, 8, 8), 50.0, dtype=np.float32)
    blocks[0, 0, :2] = 0
    blocks[1, 0, :3] = 0
    blocks[2, 0, :2] = 100
    blocks[3, 0, :3] = 101
    assert unclipped(blocks, low=0, high=100).tolist() == [True, False, True, False]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_ends_of_the_scale_are_where_grey_values_pile_up(dtype):
    values = np.random.default_rng(0).normal(3000, 300, 20000)
    for image, expected in (
        (values, (values.min(), values.max())),
        (np.minimum(values, 3200), (values.min(), 3200)),
        (np.append(np.minimum(values, 3200), [65000] * 20), (values.min(), 3200)),
        (np.append(np.maximum(values, 2900), [0] * 30), (2900, values.max())),
    ):
        found = scale_ends(*np.unique(image.astype(dtype), return_counts=True))
        assert found == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("sigma", [0.4, 0.7, 2.0, 30.0])
def test_noise_as_coarse_as_its_rounding_fills_no_block(sigma):
    blocks = _blocks(np.rint(_white((512, 512), sigma=sigma)))
    assert filled(blocks, step=1.0).mean() < (0.25 if sigma < 0.5 else 0.01)


def test_a_block_with_a_run_of_equal_pixels_is_filled():
    blocks = _blocks(_white((8, 48), sigma=30))
    blocks[1, :3] = 7
    blocks[2, :, 5:] = blocks[2, :, 5:6]
    blocks[3] = 0
    blocks[4, 4:, :4] = -100
    blocks[5, 1] = 3
    assert filled(blocks, step=0.0).tolist() == [False, True, True, True, True, True]
    assert filled(blocks.swapaxes(1, 2), step=0.0).tolist() == [False, True, True, True, True, True]


def test_features_do_not_depend_on_scale_and_zero_of_the_grey_values():
    image = np.round(_white((128, 128), sigma=30) + 1000)
    first, reference = features(_blocks(image), span=150.0, low=930.0)
    second, other = features(_blocks(image * 8 + 5000), span=1200.0, low=930.0 * 8 + 5000)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-6)
    assert other == pytest.approx(8 * reference, rel=1e-9)


def test_features_have_one_length_whatever_the_number_of_blocks():
    lengths = {
        features(_blocks(_white((size, 64), seed=size)), span=4.0, low=-2.0)[0].shape
        for size in (16, 64, 200)
    }
    assert len(lengths) == 1


def test_features_of_blocks_without_any_noise_are_finite():
    values, reference = features(_blocks(np.zeros((64, 64))), span=1.0, low=0.0)
    assert np.isfinite(values).all()
    assert reference < 1e-6


def _plates(sigmas, seed=0):
    """Four plates of 0.2, 0.4, 0.6 and 0.8 side by side, each with its own noise, 128 x 256."""
    noise = _white((128, 256), seed=seed)
    level = np.repeat((0.2, 0.4, 0.6, 0.8), 64)
    return level + np.repeat(sigmas, 64) * noise


def test_the_reference_is_near_the_noise_at_middle_brightness_though_a_quarter_is_forty_times_quieter():
    _, alike = features(_blocks(_plates([0.02] * 4)), span=1.0, low=0.0)
    _, quiet_in_the_dark = features(_blocks(_plates([0.0005, 0.02, 0.02, 0.02])), span=1.0, low=0.0)
    assert alike == pytest.approx(0.02, rel=0.3)
    assert 0.5 * alike < quiet_in_the_dark <= alike


def test_noise_that_follows_brightness_leaves_what_is_flat_and_its_colour_as_they_are():
    """But for what tells the dependence itself, features are those of the same noise everywhere."""
    brightness = len(AT_EACH_BRIGHTNESS) * LEVELS + LEVELS
    first = 3 + brightness
    alike, _ = features(_blocks(_plates([0.02] * 4)), span=1.0, low=0.0)
    following, _ = features(_blocks(_plates([0.005, 0.01, 0.02, 0.04])), span=1.0, low=0.0)
    assert np.abs(following[3:brightness] - alike[3:brightness]).max() > 1
    np.testing.assert_allclose(following[first:], alike[first:], atol=0.25)


def test_an_image_of_few_grey_values_and_its_transpose_have_the_same_reference():
    counts = np.random.default_rng(1).poisson(3, (256, 256))
    _, reference = features(_blocks(counts), span=6.0, low=0.0)
    _, across = features(_blocks(counts.T), span=6.0, low=0.0)
    assert across == reference
