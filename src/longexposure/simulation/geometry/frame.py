"""A part's own axes, and what of it a view shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import cos, hypot, inf, radians, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.primitives import Place, Point
from longexposure.simulation.geometry.view import View

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def rotated(places: npt.ArrayLike, turn_deg: float, at: Place = (0.0, 0.0)) -> Numbers:
    """Places (..., 2) turned about the origin, from x towards y, then moved to `at`."""
    local = np.asarray(places, np.float64)
    c, s = cos(radians(turn_deg)), sin(radians(turn_deg))
    x, y = local[..., 0], local[..., 1]
    return np.stack([c * x - s * y + at[0], s * x + c * y + at[1]], axis=-1)


def as_places(points: Numbers) -> tuple[Place, ...]:
    """Places (N, 2) as plain numbers."""
    return tuple((x, y) for x, y in points.tolist())


def reach_um(view: View, height_um: float = 0.0) -> float:
    """Radius about the origin beyond which nothing is seen that is no further than this from z = 0."""
    wide = 0.52 * hypot(*view.extent_um)
    return (wide + abs(height_um) * tan(radians(view.tilt_deg))) * (1 + abs(height_um) / view.source_um)


def in_view(view: View, places: Numbers, *, margin_um: float, heights: Sequence[float] = (0.0,)) -> Mask:
    """Which places (N, 2) are seen, within a margin, at one of the heights at least."""
    half = np.array([view.width, view.height]) / 2
    seen = np.zeros(len(places), bool)
    for height in heights:
        pixels = view.project(np.column_stack([places, np.full(len(places), height)]))
        seen |= np.all(np.abs(pixels + 0.5 - half) <= half + margin_um / view.pixel_um, axis=1)
    return seen


@dataclass(frozen=True)
class Frame:
    """A part's own axes: its origin lies at `at`, its x axis is turned by `turn_deg` from x towards y."""

    at: Place = (0.0, 0.0)
    turn_deg: float = 0.0

    def place(self, x: float, y: float) -> Place:
        """Where the part's own (x, y) lies, um."""
        c, s = cos(radians(self.turn_deg)), sin(radians(self.turn_deg))
        return self.at[0] + c * x - s * y, self.at[1] + s * x + c * y

    def point(self, x: float, y: float, z: float) -> Point:
        """As `place`, at the height z."""
        return (*self.place(x, y), z)

    def places(self, own: Sequence[Place]) -> tuple[Place, ...]:
        """As `place`, for a line of places."""
        return tuple(self.place(x, y) for x, y in own)

    def inner(self, x: float, y: float, turn_deg: float = 0.0) -> Frame:
        """A frame within this one."""
        return Frame(self.place(x, y), self.turn_deg + turn_deg)

    def quarters(self) -> Iterator[Frame]:
        """This frame turned by 0, 90, 180 and 270 degrees: one for each side of a part."""
        return (self.inner(0.0, 0.0, 90.0 * side) for side in range(4))


@dataclass(frozen=True, kw_only=True)
class ViewFrame(Frame):
    """Axes about the middle of a view that know what of it is seen, for thousands of places at a time.

    Attributes:
        view: of the image.
        margin_um: how far beside the view something can stand that oblique rays still reach.
    """

    view: View
    margin_um: float

    @classmethod
    def drawn(cls, random: np.random.Generator, view: View, *, height_um: float) -> ViewFrame:
        """At a random angle, a quarter of them nearly along the view's axes.

        Args:
            random: of the scene.
            view: of the image.
            height_um: largest height above or below z = 0 of what shall lie in it.
        """
        straight = float(random.integers(4)) * 90 + 1.5 * float(random.standard_normal())
        turn = straight if random.random() < 0.25 else float(random.uniform(0, 360))
        return cls(turn_deg=turn, view=view, margin_um=height_um * (hypot(*view.slope) + view_widening(view)))

    @cached_property
    def axes(self) -> Numbers:
        """The own unit vectors along x and y, (2, 2)."""
        return rotated(np.eye(2), self.turn_deg)

    @property
    def reach_um(self) -> float:
        """Half the side of the square, in own coordinates, that covers all that is seen."""
        return hypot(*self.view.extent_um) / 2 + self.margin_um

    def turned(self, points: npt.ArrayLike) -> Numbers:
        """Own coordinates (N, 2) as coordinates of the scene, (N, 2)."""
        return np.asarray(points, np.float64).reshape(-1, 2) @ self.axes

    def places(self, own: npt.ArrayLike) -> tuple[Place, ...]:
        """Own coordinates (N, 2) as places of the scene."""
        return as_places(self.turned(own))

    def sees(self, points: npt.ArrayLike, around_um: float = 0.0, height_um: float | None = None) -> bool:
        """Whether the box around points (N, 2), own coordinates, may be seen, at one height or at any."""
        corners = self.turned(points) + np.array(self.view.slope) * (height_um or 0.0)
        margin = self.margin_um if height_um is None else view_widening(self.view) * abs(height_um)
        half = np.array(self.view.extent_um) / 2 + margin + around_um
        return bool(np.all(corners.min(axis=0) < half) and np.all(corners.max(axis=0) > -half))

    def anywhere(self, random: np.random.Generator, height_um: float = 0.0) -> Numbers:
        """Own coordinates (2,) of a place that is seen at this height."""
        seen_at = random.uniform(-0.5, 0.5, 2) * self.view.extent_um
        return self.axes @ (seen_at - np.array(self.view.slope) * height_um)


def view_widening(view: View) -> float:
    """How much farther out than z = 0 the rays at the corners reach for each um of height."""
    return hypot(*view.extent_um) / 2 / view.source_um


class Sight:
    """Tells in a microsecond whether a view shows a point; that decides what is worth building."""

    def __init__(self, view: View) -> None:
        self._half = view.extent_um[0] / 2, view.extent_um[1] / 2
        self._slope, self._source_um = view.slope, view.source_um

    def image(self, point: Point) -> Place:
        """Where in the plane z = 0 the point is seen, um from the middle of the image."""
        x, y, z = point
        if self._source_um == inf:
            return x + self._slope[0] * z, y + self._slope[1] * z
        nearer = z / (self._source_um - z)
        return (
            x + (x + self._slope[0] * self._source_um) * nearer,
            y + (y + self._slope[1] * self._source_um) * nearer,
        )

    def sees(self, point: Point, reach_um: float) -> bool:
        """Whether the image shows something within `reach_um` of the point."""
        x, y = self.image(point)
        return abs(x) <= self._half[0] + reach_um and abs(y) <= self._half[1] + reach_um

    def behind(self, image: Place, z: float) -> Place:
        """The place at the height z that is seen at `image`: the inverse of `image`."""
        if self._source_um == inf:
            return image[0] - self._slope[0] * z, image[1] - self._slope[1] * z
        nearer = z / (self._source_um - z)
        return (
            (image[0] - self._slope[0] * self._source_um * nearer) / (1 + nearer),
            (image[1] - self._slope[1] * self._source_um * nearer) / (1 + nearer),
        )

    def aimed(self, focus: Point, turn_deg: float) -> Frame:
        """The frame turned so, in which the part's own point `focus` is seen in the middle of the image."""
        x, y = self.behind((0.0, 0.0), focus[2])
        back_x, back_y = Frame((0.0, 0.0), turn_deg).place(focus[0], focus[1])
        return Frame((x - back_x, y - back_y), turn_deg)

    def copies(self, frame: Frame, pitch: Place, *, z: float, most: int) -> Iterator[Frame]:
        """The frame and its neighbours in rows and columns, nearest to the frame's own first.

        Args:
            frame: of the part in the middle.
            pitch: from part to part along the frame's x and y, um.
            z: height at which parts must be seen to count.
            most: parts at the most.
        """
        reach = int((self._half[0] + self._half[1]) / min(pitch)) + 1
        steps = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
        steps.sort(key=lambda step: (step[0] * pitch[0]) ** 2 + (step[1] * pitch[1]) ** 2)
        found = 0
        for i, j in steps:
            copy = frame.inner(i * pitch[0], j * pitch[1])
            if found < most and self.sees((*copy.at, z), 0.7 * max(pitch)):
                found += 1
                yield copy
