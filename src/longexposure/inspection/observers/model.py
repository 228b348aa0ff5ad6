"""The model observer: a channelised Hotelling observer with internal noise, who knows the place.

It sees the difference to a good part through Gabor channels of four widths, four directions and two phases,
as the eye's first cells do, and weighs them as is best for this defect in the noise of this input: w = K^-1
s, with the channels' response s to the defect as it is and their covariance K in images without defects.
The eye is not
ideal: K holds internal noise, `INDUCED` of each channel's variance and a part that stays in noiseless images,
`LEAST_CONTRAST` of the grey window for each pixel, and the decision is drawn with it.

Burgess, Li and Abbey, JOSA A 14 (1997) 2420; Abbey and Barrett, JOSA A 18 (2001) 473; Eckstein, Abbey and
Whiting, JOSA A 16 (1999) 1 for Gabor channels.
"""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from longexposure.inspection.cases import Image

Numbers = npt.NDArray[np.float64]

WAVES_PX = (3.0, 6.0, 12.0, 24.0)
TURNS_DEG = (0.0, 45.0, 90.0, 135.0)
REACH_PX = 32
INDUCED = 0.5
LEAST_CONTRAST = 0.005
PLACES = 24
"""Places of an image without a defect at which the channels are read for their covariance."""


@cache
def channels() -> Numbers:
    """(C, P): unit vectors over the (2 REACH_PX + 1)^2 pixels around a place."""
    y, x = np.mgrid[-REACH_PX : REACH_PX + 1, -REACH_PX : REACH_PX + 1].astype(np.float64)
    found = []
    for wave in WAVES_PX:
        envelope = np.exp(-4 * np.log(2) * (x**2 + y**2) / wave**2)
        for turn in np.deg2rad(TURNS_DEG):
            along = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / wave
            for phase in (0.0, np.pi / 2):
                found.append((envelope * np.cos(along + phase)).ravel())
    rows = np.array(found)
    return np.asarray(rows / np.sqrt(np.square(rows).sum(axis=1, keepdims=True)))


def responses(image: Image, places: npt.ArrayLike) -> Numbers:
    """(N, C): channels around places (N, 2), rows and columns; beyond the border an image is 0."""
    padded = np.pad(image, REACH_PX)
    side = 2 * REACH_PX + 1
    patches = [
        padded[y : y + side, x : x + side].ravel() for y, x in np.asarray(places, np.int64).reshape(-1, 2)
    ]
    return np.asarray(np.array(patches).reshape(-1, side * side) @ channels().T)


def random_places(shape: tuple[int, int], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """(PLACES, 2): rows and columns, away from the border where there is room."""
    margin = [min(REACH_PX, side // 4) for side in shape]
    return np.column_stack(
        [random.integers(edge, side - edge, PLACES) for edge, side in zip(margin, shape, strict=True)]
    )


def covariance(empty: Numbers) -> Numbers:
    """(C, C): covariance of responses (N, C) to images without a defect, held to be invertible."""
    found = np.atleast_2d(np.cov(empty, rowvar=False))
    return np.asarray(
        found + 1e-6 * np.trace(found) / len(found) * np.eye(len(found)) + 1e-12 * np.eye(len(found))
    )


def decisions(
    signal: Numbers, seen: Numbers, empty: Numbers, window: float, random: np.random.Generator
) -> Numbers:
    """What the observer says of responses `seen` (N, C), in standard deviations of what it says of nothing.

    Args:
        signal: (C,) the response to the defect as it is.
        seen: (N, C).
        empty: (C, C) from `covariance`.
        window: span of the grey window in the unit of the responses.
        random: of the internal noise.
    """
    internal = INDUCED * np.diag(empty) + (LEAST_CONTRAST * window) ** 2
    whole = empty + np.diag(internal)
    weights = np.linalg.solve(whole, signal)
    scale = sqrt(max(float(weights @ whole @ weights), 1e-30))
    noise = np.sqrt(internal) * random.standard_normal(seen.shape)
    return np.asarray((seen + noise) @ weights / scale)
