"""A noise profile in one sentence."""

from __future__ import annotations

import pytest

from longexposure.grey import GreyMap
from longexposure.noise import NoiseProfile
from longexposure.noise.words import in_words


@pytest.mark.parametrize(
    ("noise", "sentence"),
    [
        (NoiseProfile(500, 10, slope=0.2), "more in bright places (mostly quanta); white; given by hand"),
        (NoiseProfile(500, 10, slope=0.1), "more in bright places (partly quanta)"),
        (NoiseProfile(500, 10, corr_x=0.65, corr_y=0.4), "neighbours correlate by 0.65 along rows and 0.40"),
        (
            NoiseProfile(500, 10, slope=-0.2, origin="repeats"),
            "less in bright places; white; known from repeated",
        ),
        (
            NoiseProfile(500, 10),
            "sigma 10 at grey value 500, 1.00% of the contrast; about the same in dark and",
        ),
        (
            NoiseProfile(500, 10, slope=-0.2, curve=((0, 40.0), (500, 10.0), (1000, 3.0))),
            "sigma 10 at grey value 500, 1.00% of the contrast; 40 in dark and 3 in bright places, off a",
        ),
        (NoiseProfile(500, 0, origin="estimated"), "no noise, measured on this image alone"),
    ],
)
def test_a_profile_in_words(noise: NoiseProfile, sentence: str) -> None:
    assert sentence in in_words(noise, GreyMap(scale=0.001, offset=0.0))
