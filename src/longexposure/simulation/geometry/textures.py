"""Textures that fill the image: glass cloth, and the random grain of a material."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import scipy.sparse

from longexposure.simulation.geometry.canvas import Image, Numbers
from longexposure.simulation.geometry.coverage import axes_of
from longexposure.simulation.geometry.primitives import Grain, Weave
from longexposure.simulation.geometry.view import View

_SECOND = 0.37
"""Second harmonic of a yarn's section, an ellipse: J1(2 pi) / 2 over J1(pi), subtracted."""

_CROSSING = 0.2
"""How much thicker every second crossing is, where warp lies over weft."""

_ROWS = 32
"""Rows of cloth that are computed at a time, so that they stay in the processor's cache."""


def _ticks(view: View) -> tuple[Numbers, Numbers]:
    """Places of the columns and of the rows, um."""
    x = np.arange(view.width, dtype=np.float64) - 0.5 * (view.width - 1)
    y = np.arange(view.height, dtype=np.float64) - 0.5 * (view.height - 1)
    return x * view.pixel_um, y * view.pixel_um


def weave_um(primitive: Weave, view: View) -> Image:
    """Thickness of plain cloth along z, (H, W), um: two sets of yarns, uneven in place and in strength."""
    random = np.random.default_rng(primitive.seed)
    places = _ticks(view)
    yarns = []
    for axis, period in zip(axes_of(np.array([primitive.turn_deg]))[0], primitive.period, strict=True):
        fade = [float(np.prod(np.sinc(n * view.pixel_um / period * axis))) for n in (0.5, 1, 2)]
        yarns.append((*_yarn_fields(random, places, axis, period), fade))
    cloth: Image = np.empty((view.height, view.width), np.float32)
    for start in range(0, view.height, _ROWS):
        pattern = cloth[start : start + _ROWS]
        crossing: Image = np.full((1, 1), _CROSSING, np.float32)
        pattern[:] = 0
        for phase, strength, fade in yarns:
            # not by BLAS, whose last digit may depend on the number of threads
            half, strong = (
                np.einsum("hr,rw->hw", down[start : start + _ROWS], across)
                for down, across in (phase, strength)
            )
            np.cos(half, out=half)
            # cos - 0.37 cos 2 of the phase, as faint as the pixel leaves it
            first = half * half
            first *= 2
            first -= 1
            profile = first * (-2 * _SECOND * fade[2])
            profile += fade[1]
            profile *= first
            profile += _SECOND * fade[2]
            pattern += profile * strong
            crossing = crossing * half * fade[0]
        pattern += crossing
    # the trough of both sets of yarns is the swing; little goes further
    cloth *= np.float32(primitive.swing / (2 * (1 + _SECOND)))
    np.clip(cloth, -primitive.swing, primitive.swing, out=cloth)
    cloth += np.float32(primitive.mean)
    return cloth


def _yarn_fields(
    random: np.random.Generator, places: tuple[Numbers, Numbers], axis: Numbers, period: float
) -> tuple[tuple[Image, Image], tuple[Image, Image]]:
    """Half the yarns' phase, and how strong they are: fields as products of matrices (H, R) and (R, W).

    The phase is even, jittered from yarn to yarn, and bowed over the cloth; the strength varies about 1.
    """
    x, y = places
    jitter = _waves(random, places, axis, (2.3 * period, 10 * period))
    bow = _waves(random, places, axis[::-1] * [-1, 1], (25 * period, 80 * period))
    even = pi / period * axis[0] * x + random.uniform(0, 2 * pi)
    strong = _waves(random, places, axis, (2.3 * period, 12 * period))
    tall, wide = np.ones((len(y), 1)), np.ones((1, len(x)))

    def field(down: list[Numbers], across: list[Numbers]) -> tuple[Image, Image]:
        return np.hstack(down).astype(np.float32), np.vstack(across).astype(np.float32)

    phase = [0.05 * pi * jitter[0], 0.25 * pi * bow[0], tall, (pi / period * axis[1] * y)[:, None]]
    return (
        field(phase, [jitter[1], bow[1], even[None], wide]),
        field([0.12 * strong[0], tall], [strong[1], wide]),
    )


def _waves(
    random: np.random.Generator,
    places: tuple[Numbers, Numbers],
    axis: Numbers,
    lengths_um: tuple[float, float],
) -> tuple[Numbers, Numbers]:
    """Factors of a smooth random field of rms 1: waves roughly along an axis, of lengths in this range."""
    count = 10
    turn = np.arctan2(axis[1], axis[0]) + random.normal(0, 0.15, count)
    phase = random.uniform(0, 2 * pi, count)
    low, high = lengths_um
    pulse = 2 * pi / (low * (high / low) ** random.uniform(0, 1, count))
    across = np.outer(pulse * np.cos(turn), places[0]) + phase[:, None]
    down = np.outer(places[1], pulse * np.sin(turn))
    left = np.hstack([np.cos(down), -np.sin(down)]) * sqrt(2 / count)
    return left, np.vstack([np.cos(across), np.sin(across)])


def grain_um(primitive: Grain, view: View) -> Image:
    """Thickness along z, (H, W), um: white noise on a grid, smoothed by a Gaussian and by the pixel."""
    random = np.random.default_rng(primitive.seed)
    step = max(primitive.roughness, view.pixel_um)
    spread = float(np.hypot(primitive.roughness, view.pixel_um / sqrt(12)))
    reach = int(np.ceil(4 * spread / step)) + 1
    smoothing = []
    for places in _ticks(view):
        # a matrix of Gaussian weights from the grid to the places; squares of each row add to 1
        index = np.round(places / step).astype(int)[:, None] + np.arange(-reach, reach + 1)
        weight = np.exp(-((index * step - places[:, None]) ** 2) / (2 * spread**2))
        weight /= np.sqrt(np.sum(weight**2, axis=1, keepdims=True))
        rows, columns = np.repeat(np.arange(len(places)), index.shape[1]), (index - index.min()).ravel()
        shape = (len(places), int(columns.max()) + 1)
        smoothing.append(scipy.sparse.csr_array((weight.ravel().astype(np.float32), (rows, columns)), shape))
    across, down = smoothing
    noise = random.standard_normal((down.shape[1], across.shape[1]), np.float32)
    field: Image = down @ np.ascontiguousarray((across @ noise.T).T)
    lag = (np.arange(200) + 0.5) / 200
    kept = 2 * np.mean((1 - lag) * np.exp(-((lag * view.pixel_um / primitive.roughness) ** 2) / 4))
    field *= np.float32(primitive.rms * kept)
    field += np.float32(primitive.mean)
    return np.maximum(field, 0, out=field)
