"""Textures that fill the image: glass cloth, and the random grain of a material."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import scipy.sparse

from longexposure.simulation.geometry.parts import Canvas, Image, Numbers
from longexposure.simulation.geometry.primitives import Grain, Weave
from longexposure.simulation.geometry.prisms import axes_of
from longexposure.simulation.geometry.view import View

_SECOND = 0.37
"""Second harmonic of a yarn's section, an ellipse: J1(2 pi) / 2 over J1(pi), subtracted."""

_CROSSING = 0.2
"""How much thicker every second crossing is, where warp lies over weft."""


_ROWS = 32
"""Rows of cloth that are computed at a time, so that they stay in the processor's cache."""


def add_texture(primitive: Weave | Grain, canvas: Canvas) -> None:
    """Add a texture to the whole image, with the path of the central ray."""
    field = _weave(primitive, canvas.view) if isinstance(primitive, Weave) else _grain(primitive, canvas.view)
    field *= np.float32(primitive.amount * canvas.view.path_factor(canvas.view.slope))
    canvas.add(primitive.material, (0, 0), field)


def _ticks(view: View) -> tuple[Numbers, Numbers]:
    """Places of the columns and of the rows, um."""
    x = np.arange(view.width, dtype=np.float64) - 0.5 * (view.width - 1)
    y = np.arange(view.height, dtype=np.float64) - 0.5 * (view.height - 1)
    return x * view.pixel_um, y * view.pixel_um


@dataclass
class _Field:
    """A smooth field as a product of matrices, (H, R) and (R, W): plane waves, a slope, a constant."""

    down: Image
    across: Image

    def rows(self, start: int, stop: int) -> Image:
        """Some rows of the field; not by BLAS, whose last digit may depend on the number of threads."""
        return np.einsum("hr,rw->hw", self.down[start:stop], self.across)


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


def _weave(primitive: Weave, view: View) -> Image:
    """Mean and swing of plain cloth: two sets of yarns, uneven in place and in strength from yarn to yarn."""
    random = np.random.default_rng(primitive.seed)
    places = _ticks(view)
    yarns = []
    for axis, period in zip(axes_of(np.array([primitive.turn_deg]))[0], primitive.period, strict=True):
        fade = [float(np.prod(np.sinc(n * view.pixel_um / period * axis))) for n in (0.5, 1, 2)]
        yarns.append(
            (_half_phase(random, places, axis, period), _strength(random, places, axis, period), fade)
        )
    cloth: Image = np.empty((view.height, view.width), np.float32)
    for start in range(0, view.height, _ROWS):
        stop = min(start + _ROWS, view.height)
        pattern = cloth[start:stop]
        crossing: Image = np.full((1, 1), _CROSSING, np.float32)
        pattern[:] = 0
        for phase, strength, fade in yarns:
            half = phase.rows(start, stop)
            np.cos(half, out=half)
            pattern += _profile(half, fade) * strength.rows(start, stop)
            crossing = crossing * half * np.float32(fade[0])
        pattern += crossing
    # the trough of both sets of yarns is the swing; little goes further
    cloth *= np.float32(primitive.swing / (2 * (1 + _SECOND)))
    np.clip(cloth, -primitive.swing, primitive.swing, out=cloth)
    cloth += np.float32(primitive.mean)
    return cloth


def _profile(half: Image, fade: list[float]) -> Image:
    """A yarn's section, cos - 0.37 cos 2 of its phase, as faint as the pixel leaves it; from cos of half."""
    first = half * half
    first *= np.float32(2)
    first -= np.float32(1)
    profile = first * np.float32(-2 * _SECOND * fade[2])
    profile += np.float32(fade[1])
    profile *= first
    profile += np.float32(_SECOND * fade[2])
    return profile


def _half_phase(
    random: np.random.Generator, places: tuple[Numbers, Numbers], axis: Numbers, period: float
) -> _Field:
    """Half the phase of one set of yarns: even, jittered from yarn to yarn, and bowed over the cloth."""
    x, y = places
    jitter = _waves(random, places, axis, (2.3 * period, 10 * period))
    bow = _waves(random, places, axis[::-1] * [-1, 1], (25 * period, 80 * period))
    even = pi / period * axis[0] * x + random.uniform(0, 2 * pi)
    ones = np.ones((len(y), 1))
    down = [0.05 * pi * jitter[0], 0.25 * pi * bow[0], ones, (pi / period * axis[1] * y)[:, None]]
    across = [jitter[1], bow[1], even[None], np.ones((1, len(x)))]
    return _Field(np.hstack(down).astype(np.float32), np.vstack(across).astype(np.float32))


def _strength(
    random: np.random.Generator, places: tuple[Numbers, Numbers], axis: Numbers, period: float
) -> _Field:
    """How strong each yarn is, about 1."""
    down, across = _waves(random, places, axis, (2.3 * period, 12 * period))
    down = np.hstack([0.12 * down, np.ones((len(places[1]), 1))])
    across = np.vstack([across, np.ones((1, len(places[0])))])
    return _Field(down.astype(np.float32), across.astype(np.float32))


def _grain(primitive: Grain, view: View) -> Image:
    """Gaussian random field: white noise on a grid of um, smoothed by a Gaussian and by the pixel."""
    random = np.random.default_rng(primitive.seed)
    step = max(primitive.roughness, view.pixel_um)
    spread = float(np.hypot(primitive.roughness, view.pixel_um / sqrt(12)))
    across, down = (_smoothing(places, step, spread) for places in _ticks(view))
    noise = random.standard_normal((down.shape[1], across.shape[1]), np.float32)
    field: Image = down @ np.ascontiguousarray((across @ noise.T).T)
    lag = (np.arange(200) + 0.5) / 200
    kept = 2 * np.mean((1 - lag) * np.exp(-((lag * view.pixel_um / primitive.roughness) ** 2) / 4))
    field *= np.float32(primitive.rms * kept)
    field += np.float32(primitive.mean)
    return np.maximum(field, np.float32(0), out=field)


def _smoothing(places: Numbers, step: float, spread: float) -> scipy.sparse.csr_array:
    """Matrix of Gaussian weights from a grid of `step` to the places; squares of each row add to 1."""
    reach = int(np.ceil(4 * spread / step)) + 1
    nearest = np.round(places / step).astype(int)
    index = nearest[:, None] + np.arange(-reach, reach + 1)
    weight = np.exp(-((index * step - places[:, None]) ** 2) / (2 * spread**2))
    weight /= np.sqrt(np.sum(weight**2, axis=1, keepdims=True))
    rows = np.repeat(np.arange(len(places)), index.shape[1])
    columns = (index - index.min()).ravel()
    shape = (len(places), int(columns.max()) + 1)
    return scipy.sparse.csr_array((weight.ravel().astype(np.float32), (rows, columns)), shape=shape)
