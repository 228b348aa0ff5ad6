"""A part's own axes, and what of it a view shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, inf, radians, sin
from typing import TypeVar

from longexposure.simulation.geometry.primitives import Place, Point
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.layout import Random

_Choice = TypeVar("_Choice")


@dataclass(frozen=True)
class Frame:
    """A part's own axes: its origin lies at `at`, its x axis is turned by `turn_deg` from x towards y."""

    at: Place
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


def whole(random: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(random.integers(low, high + 1))


def pick(random: Random, choices: Sequence[_Choice]) -> _Choice:
    """One of the choices, all alike."""
    return choices[int(random.integers(len(choices)))]
