"""The true noise of a panel against periodograms, repeats of one panel and single images of many."""

import numpy as np
import pytest
from panels import ALL_STRENGTHS, expose, flat, gaussian_screen, lag_one, make_panel

from longexposure.simulation.detector.bad_pixels import BadPixelConfig
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.detector.panel_noise import PanelNoise


def test_spectrum_of_flats_is_the_screens_mtf_squared_and_white_read_noise():
    shape, repeats, seconds = (64, 70), 150, 20.0
    screen = gaussian_screen(shape, 0.5)
    config = PanelConfig(gain=2.0, read_noise=15, row_noise=3, column_noise=2, swank=0.8, bits=None)
    panel = make_panel(config, shape=shape, screen=screen)
    periodogram = 0.0
    for seed in range(repeats):
        noise = expose(panel, flat(0.7, shape), seed=seed, seconds=seconds).astype(float)
        noise -= panel.expectation(flat(0.7, shape))
        periodogram += np.abs(np.fft.rfft2(noise)) ** 2 / (noise.size * repeats)
    norm = (5 / seconds) ** 2
    variance = 2.0**2 * 0.7 * 100 * seconds / 0.8
    expected = norm * (variance * screen.otf.astype(float) ** 2 + 15**2)
    expected[:, 0] += norm * shape[1] * 9
    expected[0, :] += norm * shape[0] * 4
    true = PanelNoise(panel).power_spectrum(700, exposure_s=seconds, fixed=False)
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
    panel = make_panel(config, shape=shape, screen=gaussian_screen(shape, 0.6))
    levels = (0.2, 0.5, 1.0)
    for level in levels:
        frames = np.stack(
            [expose(panel, flat(level, shape), seconds=seconds, seed=(k, 3)) for k in range(100)]
        )
        noise = frames.astype(float) - frames.mean(0)
        grey = float(panel.expectation(flat(level, shape)).mean())
        true = PanelNoise(panel).profile(grey, exposure_s=seconds, fixed=False)
        assert noise.var() * 100 / 99 == pytest.approx(true.sigma**2, rel=0.02)
        assert lag_one(noise, -1) == pytest.approx(true.corr_x, abs=0.01)
        assert lag_one(noise, -2) == pytest.approx(true.corr_y, abs=0.01)
        assert frames.mean() == pytest.approx(grey + 0.02 * 2000 * (1 - level) / seconds, abs=1.5)
    bright, dark = (PanelNoise(panel).profile(v, exposure_s=seconds, fixed=False) for v in (1800.0, 700.0))
    assert dark.variance(1800.0) == pytest.approx(bright.sigma**2, rel=1e-3)


def test_profile_with_the_fixed_pattern_is_what_single_images_of_many_panels_show():
    shape, level = (72, 96), 0.8
    screen = gaussian_screen(shape, 0.6)
    config = PanelConfig(
        gain=4.0, read_noise=20, offset=300, offset_pattern=10, dark_frames=4, pixel_gain=0.02, flat_frames=2,
        gain_drift=0.01, bits=None,
    )  # fmt: skip
    panels = [make_panel(config, shape=shape, seed=k, quanta=200, screen=screen) for k in range(60)]
    noise = np.stack([expose(p, flat(level, shape), seed=(k, 1)) for k, p in enumerate(panels)])
    noise = noise.astype(float) - panels[0].expectation(flat(level, shape))
    true = PanelNoise(panels[0]).profile(300 + 4 * 1000 * level)
    assert noise.var() == pytest.approx(true.sigma**2, rel=0.02)
    assert lag_one(noise, -1) == pytest.approx(true.corr_x, abs=0.01)
    assert lag_one(noise, -2) == pytest.approx(true.corr_y, abs=0.01)
    temporal = PanelNoise(panels[0]).profile(300 + 4 * 1000 * level, fixed=False)
    assert true.sigma**2 > 1.3 * temporal.sigma**2
    steeper = [PanelNoise(panels[0]).variances(300 + 4 * 1000 * (level + d)).total for d in (-0.01, 0.01)]
    assert true.slope == pytest.approx((steeper[1] - steeper[0]) / 80, rel=0.01)
