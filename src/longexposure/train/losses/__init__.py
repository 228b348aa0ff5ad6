"""What training minimises: pure functions on batches (B, 1, H, W), and their weighted sum."""

from __future__ import annotations

from longexposure.train.losses.combined import LossConfig, training_loss
from longexposure.train.losses.focal_frequency import focal_frequency_loss
from longexposure.train.losses.perceptual import (
    PerceptualConfig,
    ResNetTrunk,
    load_trunk,
    perceptual_loss,
)
from longexposure.train.losses.wavelet import band_weights, wavelet_high_frequency_loss

__all__ = [
    "LossConfig",
    "PerceptualConfig",
    "ResNetTrunk",
    "band_weights",
    "focal_frequency_loss",
    "load_trunk",
    "perceptual_loss",
    "training_loss",
    "wavelet_high_frequency_loss",
]
