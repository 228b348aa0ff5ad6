"""The noise of a radiograph: its profile, and how to measure it from the image alone."""

from __future__ import annotations

from longexposure.noise.estimator import estimate_noise
from longexposure.noise.flatness import flat_blocks, flat_deviation, left_in_flat_areas
from longexposure.noise.profile import NOISE_CONDITION, NoiseProfile

__all__ = [
    "NOISE_CONDITION",
    "NoiseProfile",
    "estimate_noise",
    "flat_blocks",
    "flat_deviation",
    "left_in_flat_areas",
]
