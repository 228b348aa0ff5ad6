"""Tracks that cross or touch themselves: which do, and drawing them by the distance from the whole line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil

import numpy as np

from longexposure.simulation.geometry.canvas import Canvas, Image, Mask, Numbers
from longexposure.simulation.geometry.primitives import Track


def cross_themselves(tracks: Sequence[Track]) -> Mask:
    """Whether two pieces that are not neighbours cross or touch, for each track."""
    crossing = np.zeros(len(tracks), bool)
    sizes = np.array([len(track.points) for track in tracks])
    for size in np.unique(sizes[sizes > 3]).tolist():
        which = np.flatnonzero(sizes == size)
        count = max(1_000_000 // size**2, 1)
        for some in np.split(which, range(count, len(which), count)):
            points = np.array([tracks[i].points for i in some], np.float64)
            start, step = points[:, :-1], np.diff(points, axis=1)
            x, y = np.moveaxis(start[:, None] - start[:, :, None], -1, 0)
            dx, dy = step[:, None, :, 0], step[:, None, :, 1]
            ex, ey = step[:, :, None, 0], step[:, :, None, 1]
            cross = ex * dy - ey * dx
            long, sign = np.abs(cross), np.sign(cross)
            mine, other = (x * dy - y * dx) * sign, (x * ey - y * ex) * sign
            # pieces meet where either's ends lie on both sides of the other
            meets = (long > 0) & (mine >= 0) & (mine <= long) & (other >= 0) & (other <= long)
            meets &= np.triu(np.ones((size - 1, size - 1), bool), 2)
            meets[:, 0, -1] &= np.any(points[:, 0] != points[:, -1], axis=1)
            crossing[some] = np.any(meets, axis=(1, 2))
    return crossing


def draw_crossing(track: Track, canvas: Canvas) -> None:
    """Coverage by the distance from the whole line, averaged over heights a pixel apart and four samples."""
    view = canvas.view
    points = np.array(track.points, np.float64)
    level = 0.5 * (track.bottom + track.top)
    frame = canvas.frames([track], np.array([[*points.mean(axis=0), level]]))
    pitch = float(frame.pitch[0])
    half_width, height = 0.5 * track.width / pitch, (track.top - track.bottom) / pitch
    sweep = frame.slope[0] * height
    seen = view.project(np.column_stack([points, np.full(len(points), level)]))
    reach = half_width + 1.0
    limit = np.array([view.width, view.height]) - 1
    low = np.clip(np.floor(seen.min(axis=0) - reach - 0.5 * np.abs(sweep)), 0, limit).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0) + reach + 0.5 * np.abs(sweep)), 0, limit).astype(int)
    width, tall = (high - low + 1).tolist()
    count = min(max(ceil(float(np.abs(sweep).max())), 1), 32)
    total = np.zeros((tall, width), np.float32)
    samples = list(product((-0.25, 0.25), (-0.25, 0.25)))
    for fraction, sample in product((np.arange(count) + 0.5) / count - 0.5, samples):
        away = _distance(seen - low + fraction * sweep + sample, (tall, width), reach)
        total += np.clip(2 * (half_width - away) + 0.5, 0.0, min(4 * half_width, 1.0))
    weight = float(frame.weight[0]) * height / (count * len(samples))
    canvas.add(track.material, (int(low[0]), int(low[1])), np.float32(weight) * total)


def _distance(line: Numbers, shape: tuple[int, int], reach: float) -> Image:
    """Distance (h, w) from a line of points (n, 2) in px, where it is within reach."""
    best: Image = np.full(shape, (2 * reach) ** 2, np.float32)
    for start, step in zip(line[:-1], np.diff(line, axis=0), strict=True):
        first = np.maximum(np.floor(np.minimum(start, start + step) - reach), 0).astype(int)
        last = np.maximum(np.ceil(np.maximum(start, start + step) + reach) + 1, 0).astype(int)
        place = best[first[1] : last[1], first[0] : last[0]]
        if not place.size:
            continue
        down, right = np.ogrid[: place.shape[0], : place.shape[1]]
        right = (right + (first[0] - start[0])).astype(np.float32)
        down = (down + (first[1] - start[1])).astype(np.float32)
        dx, dy = (step / max(float(step @ step), 1e-12)).astype(np.float32)
        fraction = np.clip(right * dx + down * dy, 0, 1)
        right, down = right - fraction * np.float32(step[0]), down - fraction * np.float32(step[1])
        np.minimum(place, right * right + down * down, out=place)
    return np.sqrt(best)
