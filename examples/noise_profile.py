"""Measure the noise of an image, or hand over a profile measured from repeated exposures."""

import numpy as np

from longexposure import NoiseProfile, estimate_noise, load_enhancer
from longexposure.physics.detector import Detector
from longexposure.physics.scenes import draw_scene


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


detector = Detector(quanta_per_s=60.0, gain=140.0, offset=800.0, read_noise=400.0)
scene = draw_scene(np.random.default_rng(1), size_px=(160, 160))
random, panel = np.random.default_rng(2), np.random.default_rng(3)
repeats = np.stack([detector.expose(scene, exposure_s=5.0, random=random, panel=panel) for _ in range(8)])

measured = profile_of_repeats(repeats)
print("from one image:  ", estimate_noise(repeats[0]))
print("from 8 exposures:", measured)
enhanced = load_enhancer().enhance(repeats[0], noise=measured)
