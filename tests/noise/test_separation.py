"""The noise of two exposures separated, against noise that was put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from longexposure.noise.separation import PairedBlocks, paired_blocks, separate

Array = npt.NDArray[Any]


def texture(size: int, seed: int) -> Array:
    """Structure at every place, of a standard deviation like that of the noise."""
    random = np.random.default_rng(seed)
    fine = gaussian_filter(random.normal(size=(size, size)), 1.5, mode="wrap")
    slow = gaussian_filter(random.normal(size=(size, size)), 20, mode="wrap")
    return 20000 + 400 * fine / fine.std() + 5000 * slow / slow.std()


def exposures(*, gain: float = 1.0, seed: int = 0, correlate: float = 0.0) -> tuple[Array, Array]:
    clean = texture(512, seed)
    random = np.random.default_rng(seed + 1)
    grains = [random.normal(size=clean.shape) for _ in range(2)]
    if correlate:  # a moving average over two pixels of a row: lag-1 correlation c / (1 + c^2)
        grains = [(g + correlate * np.roll(g, 1, axis=1)) / np.hypot(1, correlate) for g in grains]
    lq = clean + grains[0] * np.sqrt(20 * clean)
    hq = gain * (clean + grains[1] * np.sqrt(20 * clean / 18)) + 500
    return lq.astype(np.float32), hq.astype(np.float32)


@pytest.mark.parametrize("gain", [1.0, 1.2])
def test_levels_of_both_noises_are_found_under_texture(gain: float) -> None:
    found = separate(paired_blocks(*exposures(gain=gain)), gain=gain)
    assert found is not None
    assert found.sigma_lq == pytest.approx(np.sqrt(20 * found.level), rel=0.02)
    assert found.sigma_hq == pytest.approx(gain * np.sqrt(20 * found.level / 18), rel=0.05)


def test_variance_follows_the_signal_bin_by_bin() -> None:
    found = separate(paired_blocks(*exposures()), gain=1.0)
    assert found is not None
    level, lq, hq, count = found.by_level.T
    np.testing.assert_allclose(lq, 20 * level, rtol=0.06)
    np.testing.assert_allclose(hq, 20 * level / 18, rtol=0.25)
    assert count.sum() == len(paired_blocks(*exposures()))


def test_correlation_of_the_noise_is_found_along_the_right_axis() -> None:
    found = separate(paired_blocks(*exposures(correlate=0.5)), gain=1.0)
    assert found is not None
    assert found.corr_lq == pytest.approx((0.4, 0.0), abs=0.02)
    assert found.corr_hq == pytest.approx((0.4, 0.0), abs=0.1)


def test_white_noise_has_no_correlation_although_planes_are_taken_off() -> None:
    found = separate(paired_blocks(*exposures()), gain=1.0)
    assert found is not None
    assert found.corr_lq == pytest.approx((0.0, 0.0), abs=0.01)


def test_hot_pixels_and_clipped_blocks_do_not_move_the_result() -> None:
    lq, hq = exposures()
    hot = lq.copy()
    hot[5::61, 7::53] = 65535
    hot[:64, :64] = hot.max()
    found = separate(paired_blocks(hot, hq), gain=1.0)
    assert found is not None
    assert found.sigma_lq == pytest.approx(np.sqrt(20 * found.level), rel=0.03)


def test_blocks_of_crops_add_up_to_those_of_the_whole() -> None:
    lq, hq = exposures()
    whole = paired_blocks(lq, hq)
    parts = PairedBlocks.concatenated([paired_blocks(lq[:256], hq[:256]), paired_blocks(lq[256:], hq[256:])])
    np.testing.assert_allclose(parts.cov, whole.cov)
    np.testing.assert_allclose(parts.lag_cov, whole.lag_cov)


def test_an_image_of_few_blocks_gives_none() -> None:
    lq, hq = exposures()
    assert separate(paired_blocks(lq[:32, :32], hq[:32, :32]), gain=1.0) is None
