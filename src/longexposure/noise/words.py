"""What a noise profile means, in one sentence."""

from __future__ import annotations

from longexposure.grey import GreyMap
from longexposure.noise.profile import NoiseProfile

WHITE = 0.05
"""Correlation of neighbours up to which noise counts as white."""

_FROM = {
    "estimated": "measured on this image alone",
    "given": "given by hand",
    "flats": "known from flats",
    "repeats": "known from repeated exposures",
    "image": "known from single images of the machine",
}


def in_words(noise: NoiseProfile, grey: GreyMap) -> str:
    """Level, dependence on signal, colour and origin of the noise of an image.

    Args:
        noise: its profile, in grey values.
        grey: its grey map, whose span is its contrast.
    """
    if noise.sigma == 0 and noise.slope == 0:
        return f"no noise, {_FROM[noise.origin]}"
    unit = noise.mapped(scale=grey.scale, offset=grey.offset)
    sigma, from_signal = noise.sigma_at(grey.middle), unit.signal_share
    if from_signal < -0.2:
        dependence = "less in bright places"
    elif from_signal < 0.2:
        dependence = "about the same in dark and bright places"
    else:
        dependence = f"more in bright places ({'mostly' if from_signal > 0.6 else 'partly'} quanta)"
    if noise.curve:
        dark, bright = (noise.sigma_at((end - grey.offset) / grey.scale) for end in (0.0, 1.0))
        dependence = f"{dark:.3g} in dark and {bright:.3g} in bright places, off a straight line"
    colour = "white"
    if max(abs(noise.corr_x), abs(noise.corr_y)) >= WHITE:
        colour = f"neighbours correlate by {noise.corr_x:.2f} along rows and {noise.corr_y:.2f} along columns"
    return (
        f"sigma {sigma:.3g} at grey value {grey.middle:.4g}, {sigma * grey.scale:.2%} of the contrast; "
        f"{dependence}; {colour}; {_FROM[noise.origin]}"
    )
