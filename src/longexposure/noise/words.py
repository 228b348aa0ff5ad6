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
    sigma = float(unit.variance(0.5)) ** 0.5
    middle = (0.5 - grey.offset) / grey.scale
    return (
        f"sigma {sigma / grey.scale:.3g} at grey value {middle:.4g}, {sigma:.2%} of the contrast; "
        f"{_dependence(unit.signal_share)}; {_colour(noise)}; {_FROM[noise.origin]}"
    )


def _dependence(fraction: float) -> str:
    if fraction < -0.2:
        return "less in bright places"
    if fraction < 0.2:
        return "about the same in dark and bright places"
    return f"more in bright places ({'mostly' if fraction > 0.6 else 'partly'} quanta)"


def _colour(noise: NoiseProfile) -> str:
    x, y = noise.corr_x, noise.corr_y
    if max(abs(x), abs(y)) < WHITE:
        return "white"
    return f"neighbours correlate by {x:.2f} along rows and {y:.2f} along columns"
