"""Panels, flats and exposures of them, for the tests of this folder."""

import numpy as np
import torch

from longexposure.simulation.detector.bad_pixels import BadPixelConfig
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.random_source import NumpyRandom

SIDE = 160
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


def make_panel(config, *, shape=(SIDE, SIDE), quanta=100.0, seed=1, screen=None):
    return Panel(config, shape=shape, quanta_per_px_s=quanta, rng=NumpyRandom(seed), screen=screen)


def flat(level=1.0, shape=(SIDE, SIDE)):
    return np.full(shape, level, np.float32)


def expose(panel, transmission, *, seconds=5.0, seed=0, **more):
    rng = NumpyRandom(seed)
    quanta = panel.collect(transmission, exposure_s=seconds, rng=rng, **more)
    return panel.read_out(quanta, exposure_s=seconds, rng=rng)


def pair_variance(panel, level, *, pairs, seconds=5.0):
    """Variance and mean of flats from the difference of two, which no fixed pattern reaches."""
    found, means = [], []
    for number in range(pairs):
        one, two = (
            expose(panel, flat(level, panel.shape), seconds=seconds, seed=(number, k)).astype(float)
            for k in (1, 2)
        )
        found.append((one - two).var() / 2)
        means.append((one + two).mean() / 2)
    return np.mean(found), np.mean(means)


def lag_one(noise, axis):
    noise = np.moveaxis(noise - noise.mean(), axis, -1).astype(float)
    return (noise[..., 1:] * noise[..., :-1]).mean() / (noise**2).mean()
