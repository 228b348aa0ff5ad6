"""Measure the noise of an image, or hand over a profile measured from repeated exposures."""

import numpy as np

from longexposure import NoiseProfile, estimate_noise, load_enhancer
from longexposure.simulation.exposure import draw_acquisition
from longexposure.simulation.machine import load_machine
from longexposure.simulation.random_source import NumpyRandom


def profile_of_repeats(repeats: np.ndarray) -> NoiseProfile:
    """Profile of one exposure, from N exposures (N, H, W) of the same part that did not move."""
    mean, variance = repeats.mean(axis=0), repeats.var(axis=0, ddof=1)
    slope, at_zero = np.polyfit(mean.ravel(), variance.ravel(), 1)
    level = float(mean.mean())
    noise = repeats - mean
    power = (noise**2).mean()
    return NoiseProfile(
        level=level,
        sigma=float(np.sqrt(at_zero + slope * level)),
        slope=float(slope),
        corr_x=float((noise[:, :, 1:] * noise[:, :, :-1]).mean() / power),
        corr_y=float((noise[:, 1:] * noise[:, :-1]).mean() / power),
    )


part = draw_acquisition(load_machine("S1"), key=(1, 0, 0), size_px=(160, 160))
repeats = np.stack([part.expose_short(NumpyRandom(number)) for number in range(8)])

measured = profile_of_repeats(repeats)
print("from one image:  ", estimate_noise(repeats[0]))
print("from 8 exposures:", measured)
print("the truth:       ", part.noise)
enhanced = load_enhancer().enhance(repeats[0], noise=measured)
