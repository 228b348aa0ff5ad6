"""Scenes: what lies in the beam, drawn at random from the parts that chips and boards are made of.

A scene is a map of transmission I/I0 (H, W), float32 in 0..1, before blur and noise. What decides how well
a network does on real parts is fine, dense, true structure at the scale of a pixel: fans of wires, bundles
of traces, lattices of cells, weave, small voids, sharp ball edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.physics.canvas import Canvas, Image, bars, edge

Random = np.random.Generator
Part = Callable[[Canvas, Random], None]


def _between(random: Random, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def _spread(random: Random, low: float, high: float) -> float:
    """Log-uniform between two positive numbers."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _chance(random: Random, share: float) -> bool:
    return bool(random.random() < share)


def _angle(random: Random) -> float:
    """Mostly along the axes or at 45 degrees, as boards are laid out, sometimes anything."""
    kind = random.random()
    if kind < 0.45:
        return float(random.integers(0, 4)) * np.pi / 2 + 0.02 * float(random.standard_normal())
    if kind < 0.6:
        return float(random.integers(0, 8)) * np.pi / 4
    return _between(random, 0.0, 2 * np.pi)


def _place(canvas: Canvas, random: Random) -> tuple[float, float]:
    height, width = canvas.shape
    return _between(random, -0.05, 1.05) * height, _between(random, -0.05, 1.05) * width


def _grid(
    canvas: Canvas, random: Random, pitch: float, *, hexagonal: bool = False
) -> npt.NDArray[np.float64]:
    """Positions (N, 2) of a turned grid that covers the canvas."""
    height, width = canvas.shape
    reach = int(np.hypot(height, width) / pitch / 1.6) + 2
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).astype(float)
    if hexagonal:
        column, row = column + 0.5 * (row % 2), row * 0.866
    angle = _angle(random)
    y = pitch * (np.cos(angle) * row - np.sin(angle) * column) + height * _between(random, 0.4, 0.6)
    x = pitch * (np.sin(angle) * row + np.cos(angle) * column) + width * _between(random, 0.4, 0.6)
    inside = (y > -pitch) & (y < height + pitch) & (x > -pitch) & (x < width + pitch)
    return np.stack([y[inside], x[inside]], axis=1)


def _voids(canvas: Canvas, random: Random, at: tuple[float, float], radius: float, depth: float) -> None:
    """Gas bubbles in solder: a few large or many small, kept inside the body that holds them."""
    for _ in range(int(random.integers(1, 12) if _chance(random, 0.3) else random.integers(1, 4))):
        size = radius * _spread(random, 0.06, 0.45)
        if size < 0.7:
            continue
        away, turn = (radius - size) * np.sqrt(random.random()), _between(random, 0, 2 * np.pi)
        lost = -depth * min(size / radius, 0.9) * _between(random, 0.5, 1.0)
        canvas.ball(at[0] + away * np.sin(turn), at[1] + away * np.cos(turn), size, lost)


def ball_array(canvas: Canvas, random: Random) -> None:
    """BGA balls, bumps or pillars on pads, with voids, missing, shifted and small ones, and bridges."""
    pitch = _spread(random, 7, 90)
    radius = pitch * _between(random, 0.22, 0.4)
    depth = _spread(random, 0.25, 3.0)
    flat = _between(random, 0.5, 1.0)
    pad = _chance(random, 0.5) and radius > 4
    voided, odd = _between(random, 0, 0.6), _between(random, 0, 0.06)
    points = _grid(canvas, random, pitch, hexagonal=_chance(random, 0.2))
    for y, x in points:
        draw = random.random()
        if draw < odd / 2:
            continue
        y, x = y + 0.01 * pitch * random.standard_normal(), x + 0.01 * pitch * random.standard_normal()
        size = radius * (_between(random, 0.6, 1.2) if draw < odd else 1 + 0.02 * random.standard_normal())
        canvas.ball(y, x, size, depth, flat=flat)
        if pad:
            canvas.disc(y, x, size * 0.75, depth * 0.15)
        if radius > 3 and random.random() < voided:
            _voids(canvas, random, (y, x), size * 0.9, depth)
    if len(points) > 1 and _chance(random, 0.2):
        y, x = points[int(random.integers(len(points)))]
        along = pitch * np.exp(1j * _angle(random))
        canvas.line(
            (y, x), (y + along.imag, x + along.real), radius * _between(random, 0.5, 1.3), depth * 0.6
        )


def traces(canvas: Canvas, random: Random) -> None:
    """A bundle of parallel traces with one bend, ends, vias and an open or a short now and then."""
    pitch = _spread(random, 2.6, 26)
    width = max(pitch * _between(random, 0.3, 0.65), 1.0)
    depth = _spread(random, 0.04, 0.7)
    first, turn = _angle(random), float(random.choice([-1, 1])) * np.pi / 4
    height, across = canvas.shape
    middle = np.array(_place(canvas, random))
    reach = float(np.hypot(height, across))
    count = min(int(random.integers(2, 40)), int(reach / pitch))
    bend = np.array([np.cos(first + turn / 2 + np.pi / 2), np.sin(first + turn / 2 + np.pi / 2)])
    one = np.array([np.sin(first), -np.cos(first)])
    step = pitch / abs(float(bend @ np.array([np.cos(first), np.sin(first)])) or 1.0)
    two = np.array([np.sin(first + turn), -np.cos(first + turn)])
    for k in range(count):
        corner = middle + (k - count / 2) * step * bend
        a, b = (
            corner + one * reach * _between(random, 0.3, 1),
            corner - two * reach * _between(random, 0.3, 1),
        )
        canvas.line((a[0], a[1]), (corner[0], corner[1]), width, depth)
        canvas.line((corner[0], corner[1]), (b[0], b[1]), width, depth)
        if width > 2 and _chance(random, 0.15):
            canvas.ring(a[0], a[1], width * 1.2, width * 0.5, depth)
        if _chance(random, 0.04):
            cut = corner + one * _between(random, 5, 60)
            canvas.disc(cut[0], cut[1], width * 0.7, -depth)


def routing(canvas: Canvas, random: Random) -> None:
    """Single traces that wander in 45 degree steps from via to via."""
    width = _spread(random, 1.2, 9)
    depth = _spread(random, 0.05, 0.6)
    for _ in range(int(random.integers(3, 22))):
        here, heading = np.array(_place(canvas, random)), int(random.integers(8))
        canvas.ring(here[0], here[1], width * 1.6, width * 0.7, depth)
        for _ in range(int(random.integers(1, 6))):
            heading += int(random.integers(-1, 2))
            turn = heading * np.pi / 4
            there = here + _spread(random, 8, 140) * np.array([np.sin(turn), np.cos(turn)])
            canvas.line((here[0], here[1]), (there[0], there[1]), width, depth)
            here = there
        canvas.ring(here[0], here[1], width * 1.6, width * 0.7, depth)


def vias(canvas: Canvas, random: Random) -> None:
    """Plated barrels: rings seen straight on, or two rings and a grey flank seen obliquely."""
    radius = _spread(random, 1.5, 14)
    depth = _spread(random, 0.1, 1.0)
    tilt = _between(random, 0, 2.5) * radius if _chance(random, 0.5) else 0.0
    turn = _angle(random)
    shift = tilt * np.array([np.sin(turn), np.cos(turn)])
    points = _grid(canvas, random, radius * _spread(random, 3, 12))
    keep = random.random(len(points)) < _between(random, 0.3, 1.0)
    for y, x in points[keep]:
        wall = _between(random, 0.55, 0.8)
        canvas.ring(y, x, radius, radius * wall, depth)
        if tilt > 1:
            canvas.ring(y + shift[0], x + shift[1], radius, radius * wall, depth)
            canvas.line((y, x), (y + shift[0], x + shift[1]), 2 * radius, depth * 0.25)


def bond_wires(canvas: Canvas, random: Random) -> None:
    """A fan of fine wires from the die to the lead fingers, balls at the die, sweep and breaks."""
    height, across = canvas.shape
    count = int(random.integers(4, 46))
    width = _spread(random, 0.7, 5)
    depth = _spread(random, 0.08, 1.2)
    turn = _angle(random)
    along, out = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
    middle = np.array([height * _between(random, 0.2, 0.8), across * _between(random, 0.2, 0.8)])
    inner, outer = _spread(random, 3, 14), _spread(random, 4, 30)
    length, sweep = _between(random, 0.25, 0.9) * max(height, across), 0.06 * random.standard_normal()
    ball, finger = width * _between(random, 1.0, 2.0), _chance(random, 0.6)
    for k in range(count):
        a = middle + (k - count / 2) * inner * along
        b = middle + (k - count / 2) * outer * along + length * out
        bow = length * (sweep + 0.01 * random.standard_normal()) * along
        share = np.linspace(0.0, 1.0, 7)[:, None]
        path = a + share * (b - a) + 4 * share * (1 - share) * bow
        last = int(random.integers(2, 6)) if _chance(random, 0.02) else 6
        for p, q in pairwise(path[: last + 1]):
            canvas.wire((p[0], p[1]), (q[0], q[1]), width, depth)
        canvas.ball(a[0], a[1], max(ball, 1.0), depth * 1.5)
        if finger:
            canvas.line((b[0], b[1]), tuple(b + 40 * out), outer * 0.6, depth * 0.7)


def cells(canvas: Canvas, random: Random) -> None:
    """A lattice of equal small cells in a bounded area: memory, logic rows, a power mesh, dummy fill."""
    pitch = np.array([_spread(random, 3.2, 34), _spread(random, 3.2, 34)])
    if _chance(random, 0.5):
        pitch[1] = pitch[0]
    v, u = canvas.turned(_angle(random), _place(canvas, random))
    kind = int(random.integers(5))
    fill = _between(random, 0.25, 0.7)
    if kind == 0:
        shape = np.maximum(bars(v, pitch[0], pitch[0] * fill), bars(u, pitch[1], pitch[1] * fill))
    elif kind == 1:
        shape = bars(v, pitch[0], pitch[0] * fill) * bars(u, pitch[1], pitch[1] * _between(random, 0.3, 0.8))
    elif kind == 2:
        shape = bars(v, pitch[0], max(pitch[0] * fill, 1.0))
    elif kind == 3:
        near = np.hypot(v - pitch[0] * np.round(v / pitch[0]), u - pitch[1] * np.round(u / pitch[1]))
        shape = edge(min(pitch) * fill * 0.6 - near)
    else:
        shift = 0.5 * pitch[1] * (np.round(v / pitch[0]) % 2)
        shape = bars(v, pitch[0], pitch[0] * fill) * bars(u + shift, pitch[1], pitch[1] * 0.6)
    if _chance(random, 0.3):
        shape = np.maximum(shape, bars(u, pitch[1] * int(random.integers(2, 7)), max(pitch[1] * 0.4, 1.0)))
    canvas.add(_spread(random, 0.03, 0.8) * shape * _area(canvas, random))


def _area(canvas: Canvas, random: Random) -> Image:
    """A part of the canvas with straight edges, or all of it."""
    if _chance(random, 0.35):
        return np.ones((1, 1), dtype=np.float32)
    v, u = canvas.turned(_angle(random), _place(canvas, random))
    size = max(canvas.shape)
    half = size * _between(random, 0.1, 0.6), size * _between(random, 0.1, 0.6)
    return edge(half[0] - np.abs(v)) * edge(half[1] - np.abs(u))


def weave(canvas: Canvas, random: Random) -> None:
    """Glass cloth in laminate: two crossed, slightly uneven yarns, faint."""
    v, u = canvas.turned(_angle(random))
    pitch = _spread(random, 5, 40)
    wander = ndimage.gaussian_filter(random.standard_normal(canvas.shape, dtype=np.float32), 12) * 14
    warp = 0.5 + 0.5 * np.cos(2 * np.pi * (v + wander) / pitch)
    weft = 0.5 + 0.5 * np.cos(2 * np.pi * (u + wander) / (pitch * _between(random, 0.8, 1.3)))
    over = 1 + 0.3 * np.cos(np.pi * (v + wander) / pitch) * np.cos(np.pi * (u + wander) / pitch)
    canvas.add(_spread(random, 0.01, 0.12) * (warp**2 + weft**2) * over)


def slabs(canvas: Canvas, random: Random) -> None:
    """Dies, packages, pads, heat spreaders: rectangles large and small."""
    for _ in range(int(random.integers(1, 6))):
        y, x = _place(canvas, random)
        sides = _spread(random, 6, 260), _spread(random, 6, 260)
        canvas.slab(y, x, sides, _angle(random), _spread(random, 0.05, 1.0))


def pads(canvas: Canvas, random: Random) -> None:
    """A row of equal pads or lead fingers."""
    pitch = _spread(random, 4, 40)
    turn = _angle(random)
    along = np.array([np.sin(turn), np.cos(turn)])
    start = np.array(_place(canvas, random))
    sides = pitch * _between(random, 0.4, 0.75), pitch * _spread(random, 0.7, 5)
    depth = _spread(random, 0.1, 1.5)
    for k in range(-int(random.integers(3, 20)), int(random.integers(3, 20))):
        y, x = start + k * pitch * along
        canvas.slab(y, x, sides, np.pi / 2 - turn, depth * (1 + 0.05 * random.standard_normal()))


def thermal_pad(canvas: Canvas, random: Random) -> None:
    """A soldered area full of voids of every size, with a grid of vias in it."""
    y, x = _place(canvas, random)
    side, turn, depth = _spread(random, 60, 320), _angle(random), _spread(random, 0.2, 1.5)
    canvas.slab(y, x, (side, side * _between(random, 0.6, 1.4)), turn, depth)
    for _ in range(int(random.integers(5, 160))):
        size = _spread(random, 0.9, 16)
        at = np.array([y, x]) + side * random.uniform(-0.45, 0.45, 2)
        radii = size, size * _between(random, 0.6, 1.0)
        lost = -depth * min(_between(random, 0.2, 0.9), size / 4)
        canvas.ellipse(at[0], at[1], radii, _between(random, 0, np.pi), lost)


def parts(canvas: Canvas, random: Random) -> None:
    """Chip capacitors and resistors: a body between two dense ends with solder fillets."""
    for _ in range(int(random.integers(1, 9))):
        y, x = _place(canvas, random)
        turn, long = _angle(random), _spread(random, 10, 90)
        wide, depth = long * _between(random, 0.4, 0.6), _spread(random, 0.2, 1.5)
        along = np.array([np.sin(turn), np.cos(turn)])
        canvas.slab(y, x, (wide, long), -turn, depth * 0.4)
        for sign in (-1, 1):
            end = np.array([y, x]) + sign * 0.42 * long * along
            canvas.slab(end[0], end[1], (wide, long * 0.22), -turn, depth)
            canvas.ellipse(end[0], end[1], (wide * 0.6, long * 0.22), -turn, depth * 0.7)


def marks(canvas: Canvas, random: Random) -> None:
    """Fiducials, part numbers as strokes, scratches, foreign particles."""
    for _ in range(int(random.integers(1, 4))):
        y, x = _place(canvas, random)
        size, depth = _spread(random, 5, 30), _spread(random, 0.05, 0.8)
        if _chance(random, 0.5):
            canvas.line((y - size, x), (y + size, x), size / 4, depth)
            canvas.line((y, x - size), (y, x + size), size / 4, depth)
        else:
            canvas.ring(y, x, size, size * 0.8, depth)
    y, x = _place(canvas, random)
    size, depth = _spread(random, 6, 22), _spread(random, 0.05, 0.5)
    for k in range(int(random.integers(0, 9))):
        for _ in range(int(random.integers(2, 5))):
            a, b = random.uniform(0, size, 2), random.uniform(0, size, 2)
            a[1], b[1] = a[1] * 0.6 + k * size * 0.8, b[1] * 0.6 + k * size * 0.8
            canvas.line((y + a[0], x + a[1]), (y + b[0], x + b[1]), max(size / 9, 1.0), depth)
    for _ in range(int(random.integers(0, 8))):
        y, x = _place(canvas, random)
        canvas.ball(y, x, _spread(random, 0.8, 5), _spread(random, 0.1, 1.0))


def grain(canvas: Canvas, random: Random) -> None:
    """Texture that is in the part: solder grain, rough copper, filler particles in the mould compound."""
    field = random.standard_normal(canvas.shape, dtype=np.float32)
    field = ndimage.gaussian_filter(field, _spread(random, 0.8, 5))
    field /= max(float(field.std()), 1e-6)
    canvas.add(_spread(random, 0.004, 0.06) * np.clip(field, -3, 3) * _area(canvas, random))


PARTS: tuple[tuple[Part, float], ...] = (
    (ball_array, 1.2),
    (traces, 1.6),
    (routing, 1.0),
    (vias, 0.8),
    (bond_wires, 1.2),
    (cells, 1.6),
    (weave, 0.6),
    (slabs, 1.2),
    (pads, 0.7),
    (thermal_pad, 0.6),
    (parts, 0.6),
    (marks, 0.6),
    (grain, 0.5),
)
"""Every part with how often it is drawn, relative to the others."""


def draw_scene(random: Random, *, size_px: tuple[int, int], parts: Sequence[Part] | None = None) -> Image:
    """Transmission (H, W), float32 in 0..1, of a scene under uneven light, before blur.

    Args:
        random: the scene's chance.
        size_px: height and width.
        parts: what to draw, in this order; None draws one to five of `PARTS` at random.
    """
    canvas = Canvas(*size_px)
    for part in _any_parts(random) if parts is None else parts:
        part(canvas, random)
    np.maximum(canvas.depth, 0.0, out=canvas.depth)
    hardness = _spread(random, 0.15, 1.5)
    return np.exp(-hardness * canvas.depth) * illumination(random, size_px=size_px)


def _any_parts(random: Random) -> list[Part]:
    weights = np.array([weight for _, weight in PARTS])
    chosen = random.choice(len(PARTS), size=int(random.integers(1, 6)), p=weights / weights.sum())
    return [PARTS[int(index)][0] for index in chosen]


def illumination(random: Random, *, size_px: tuple[int, int]) -> Image:
    """Uneven light (H, W), 0..1: a slope (heel), vignetting, now and then a bright ring or a dark corner."""
    y = np.linspace(-1, 1, size_px[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size_px[1], dtype=np.float32)[None, :]
    a, b, c = random.uniform(-0.2, 0.2, 3) * (random.random() < 0.7)
    light = 1 + a * x + b * y - abs(c) * (x * x + y * y)
    if _chance(random, 0.06):
        away = np.hypot(y - _between(random, -1, 1), x - _between(random, -1, 1))
        radius, soft = _between(random, 0.05, 0.4), _between(random, 0.02, 0.1)
        light = light + _spread(random, 0.3, 3.0) * np.exp(-(((away - radius) / soft) ** 2))
    if _chance(random, 0.05):
        turn = _angle(random)
        inside = np.cos(turn) * y + np.sin(turn) * x + _between(random, 0.5, 1.2)
        light = light * np.clip(inside / _between(random, 0.02, 0.3), 0.02, 1.0)
    light = np.clip(light, 0.01, None)
    return (light / light.max()).astype(np.float32)
