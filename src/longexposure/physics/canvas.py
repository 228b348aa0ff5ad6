"""Drawing optical depth: antialiased slabs, balls, wires and lattices, edges exact to a pixel's share.

Coordinates are pixels, (0, 0) at the centre of the first pixel, y down. Depths are optical depths
(attenuation coefficient times thickness, no unit) along the beam through the thickest part. A slab's edge
covers a pixel by the share that the distance to the edge gives; balls and wires carry the chord law.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


class Canvas:
    """A growing map of optical depth (H, W), float32, which starts empty."""

    def __init__(self, height: int, width: int) -> None:
        self.depth: Image = np.zeros((height, width), dtype=np.float32)
        self.y = np.arange(height, dtype=np.float32)[:, None]
        self.x = np.arange(width, dtype=np.float32)[None, :]

    @property
    def shape(self) -> tuple[int, int]:
        return self.depth.shape[0], self.depth.shape[1]

    def disc(self, y: float, x: float, radius: float, depth: float) -> None:
        """A flat disc seen face on: a pad, the land of a via, a hole when depth < 0."""
        box = self._box(y, x, radius + 1.0)
        distance = np.hypot(self.y[box[0]] - y, self.x[:, box[1]] - x)
        self.depth[box] += depth * np.clip(radius + 0.5 - distance, 0.0, 1.0)

    def ring(self, y: float, x: float, outer: float, inner: float, depth: float) -> None:
        """A flat ring: the land around a drilled hole."""
        self.disc(y, x, outer, depth)
        self.disc(y, x, inner, -depth)

    def ball(self, y: float, x: float, radius: float, depth: float, *, flat: float = 1.0) -> None:
        """A ball, truncated top and bottom to `flat` of its diameter (1 is a whole sphere).

        The chord through a sphere of radius r at distance d from its axis is 2 sqrt(r^2 - d^2).
        """
        box = self._box(y, x, radius + 1.0)
        square = ((self.y[box[0]] - y) ** 2 + (self.x[:, box[1]] - x) ** 2) / (radius * radius)
        chord = np.sqrt(np.clip(1.0 - square, 0.0, None))
        self.depth[box] += depth * np.minimum(chord, flat) / flat

    def ellipse(self, y: float, x: float, radii: tuple[float, float], angle: float, depth: float) -> None:
        """An ellipsoid lying in the plane: a void pressed flat, a ball seen from the side."""
        box = self._box(y, x, max(radii) + 1.0)
        v, u = self._turned(box, y, x, angle)
        square = (v / radii[0]) ** 2 + (u / radii[1]) ** 2
        self.depth[box] += depth * np.sqrt(np.clip(1.0 - square, 0.0, None))

    def slab(self, y: float, x: float, sides: tuple[float, float], angle: float, depth: float) -> None:
        """A rectangle of sides (height, width) turned by `angle` (radians): a die, a pad, a part."""
        box = self._box(y, x, 0.5 * float(np.hypot(*sides)) + 1.0)
        v, u = self._turned(box, y, x, angle)
        cover = np.clip(0.5 * sides[0] + 0.5 - np.abs(v), 0.0, 1.0)
        cover = cover * np.clip(0.5 * sides[1] + 0.5 - np.abs(u), 0.0, 1.0)
        self.depth[box] += depth * cover

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, depth: float) -> None:
        """A flat track of constant thickness with round ends: a copper trace."""
        box, distance = self._to_segment(start, end, 0.5 * width + 1.0)
        cover = np.clip(0.5 * width + 0.5 - distance, 0.0, 1.0) * min(width, 1.0)
        self.depth[box] += depth * cover

    def wire(self, start: tuple[float, float], end: tuple[float, float], width: float, depth: float) -> None:
        """A round wire: the chord law across it, kept true below a pixel by its area pi/4 width."""
        drawn = max(width, 1.5)
        box, distance = self._to_segment(start, end, 0.5 * drawn + 1.0)
        chord = np.sqrt(np.clip(1.0 - (2.0 * distance / drawn) ** 2, 0.0, None))
        self.depth[box] += depth * (width / drawn) * chord

    def add(self, depth: npt.NDArray[np.floating]) -> None:
        """Add a map of optical depth of the canvas's own shape."""
        self.depth += depth

    def turned(self, angle: float, centre: tuple[float, float] = (0.0, 0.0)) -> tuple[Image, Image]:
        """Coordinates (v, u) of every pixel in axes turned by `angle` around `centre`."""
        return self._turned((slice(None), slice(None)), centre[0], centre[1], angle)

    def _box(self, y: float, x: float, reach: float) -> tuple[slice, slice]:
        height, width = self.shape
        y0, y1 = max(int(y - reach), 0), min(int(y + reach) + 2, height)
        x0, x1 = max(int(x - reach), 0), min(int(x + reach) + 2, width)
        return slice(y0, max(y1, y0)), slice(x0, max(x1, x0))

    def _turned(self, box: tuple[slice, slice], y: float, x: float, angle: float) -> tuple[Image, Image]:
        down, right = self.y[box[0]] - np.float32(y), self.x[:, box[1]] - np.float32(x)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return cosine * down - sine * right, sine * down + cosine * right

    def _to_segment(
        self, start: tuple[float, float], end: tuple[float, float], reach: float
    ) -> tuple[tuple[slice, slice], Image]:
        """Distance of the pixels around a segment from it."""
        height, width = self.shape
        y0 = max(int(min(start[0], end[0]) - reach), 0)
        y1 = min(int(max(start[0], end[0]) + reach) + 2, height)
        x0 = max(int(min(start[1], end[1]) - reach), 0)
        x1 = min(int(max(start[1], end[1]) + reach) + 2, width)
        box = slice(y0, max(y1, y0)), slice(x0, max(x1, x0))
        along = np.subtract(end, start, dtype=np.float32)
        square = max(float(along @ along), 1e-6)
        down = self.y[box[0]] - np.float32(start[0])
        right = self.x[:, box[1]] - np.float32(start[1])
        share = np.clip((down * along[0] + right * along[1]) / np.float32(square), 0.0, 1.0)
        return box, np.hypot(down - share * along[0], right - share * along[1])


def edge(inside: npt.NDArray[np.floating]) -> Image:
    """Share of each pixel that is inside, from the signed distance to the edge in px (positive inside)."""
    return np.clip(inside + 0.5, 0.0, 1.0).astype(np.float32)


def bars(position: npt.NDArray[np.floating], pitch: float, width: float) -> Image:
    """Parallel bars of this width, one every `pitch` px, along the axis whose position is given."""
    offset = np.abs(position - pitch * np.round(position / pitch))
    return edge(0.5 * width - offset)
