"""Faults of a panel against a real map of bad pixels, and what they do to images."""

import numpy as np
import pytest
from panels import SIDE, expose, flat, make_panel
from scipy import ndimage

from longexposure.errors import RecipeError
from longexposure.simulation.detector.bad_pixels import LINE, BadPixelConfig, draw_bad_pixels
from longexposure.simulation.detector.panel_config import PanelConfig


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
    panel = make_panel(PanelConfig(gain=2.0, offset=300, bad=bad))
    image = expose(panel, flat())
    dead = image == 300
    assert 0.02 < dead.mean() < 0.3
    in_middle = dead[SIDE // 2 - 1] | dead[SIDE // 2]
    np.testing.assert_array_equal(dead.any(0), in_middle)
    upper, lower = (half.any(0) for half in np.split(dead, 2))
    assert 3 < upper.sum() < 60
    assert 3 < lower.sum() < 60
    assert (upper != lower).any()


def test_hot_pixels_stay_hot_and_noisy_ones_change():
    hot = make_panel(PanelConfig(gain=2.0, bad=BadPixelConfig(single=0.01, hot=1, noisy=0, hot_level=2.0)))
    images = [expose(hot, flat(0.3), seed=k) for k in (1, 2)]
    bright = [image > 450 for image in images]
    assert 0.004 < bright[0].mean() < 0.012
    assert (bright[0] & bright[1]).sum() > 0.9 * bright[0].sum()
    noisy = make_panel(
        PanelConfig(gain=2.0, bits=None, bad=BadPixelConfig(single=0.01, hot=0, noisy=1, noisy_level=1))
    )
    spread = np.std([expose(noisy, flat(0.3), seed=k) for k in range(30)], 0)
    assert np.quantile(spread, 0.5) == pytest.approx((4 * 150) ** 0.5, rel=0.05)
    assert (spread > 500).mean() == pytest.approx(0.01, abs=0.004)


def test_interpolated_pixels_take_the_value_of_the_slope_around_them():
    bad = BadPixelConfig(single=0.01, lines=0.1, interpolated=True)
    scene = np.broadcast_to(np.linspace(0.5, 1, SIDE, dtype=np.float32)[:, None], (SIDE, SIDE))
    panel = make_panel(PanelConfig(gain=0.1, bits=None, bad=bad), quanta=1e8)
    image, clean = expose(panel, scene), panel.expectation(scene)
    assert np.abs(image / clean - 1).max() < 0.02
    shown = make_panel(
        PanelConfig(gain=0.1, bits=None, bad=bad.model_copy(update={"interpolated": False})), quanta=1e8
    )
    assert (np.abs(expose(shown, scene) / clean - 1) > 0.5).mean() > 0.01


def test_more_than_all_faults_hot_or_noisy_are_refused():
    with pytest.raises(RecipeError, match="hot \\+ noisy"):
        BadPixelConfig(hot=0.9, noisy=0.5)
