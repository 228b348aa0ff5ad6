"""Where joints stand: turned grids, what a view shows of them, and the lines that leave them."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, radians, sin, sqrt, tan

import numpy as np
import numpy.typing as npt

from longexposure.simulation.geometry.frame import Frame, Mask, Numbers, as_places, reach_um, rotated
from longexposure.simulation.geometry.primitives import Lattice, Place, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, part_angle_deg, uniform

_JOINTS_OF_A_PATCH = 300
"""Joints that a view of 256 x 256 px may show, so that a scene is built in some 10 ms."""


def joint_budget(view: View) -> int:
    """Most joints that a scene of this view shows; grows with the side of the image."""
    return int(_JOINTS_OF_A_PATCH * max(1.0, sqrt(view.height * view.width) / 256))


def pitch_range(view: View, low_um: float, high_um: float) -> tuple[float, float]:
    """The part of a range of pitches that the view resolves with at most `joint_budget` joints.

    One end of the range where all of it is too fine or too coarse for the view.
    """
    width, height = view.extent_um
    least = max(sqrt(width * height / joint_budget(view)), 5 * view.pixel_um)
    most = max(0.8 * min(width, height), least)
    return float(np.clip(least, low_um, high_um)), float(np.clip(most, low_um, high_um))


def nearest_first(places: Numbers, at: npt.ArrayLike = 0.0) -> Numbers:
    """Places (N, 2) by their distance from a place."""
    return places[np.argsort(np.linalg.norm(places - np.asarray(at), axis=1), kind="stable")]


@dataclass(frozen=True)
class Grid:
    """Joints in rows and columns.

    Attributes:
        at: its middle.
        turn_deg: its rows run along its own x.
        pitch: from column to column and from row to row, um.
        present: (rows, columns), where a joint is.
    """

    at: Place
    turn_deg: float
    pitch: Place
    present: Mask

    @property
    def frame(self) -> Frame:
        """Its own axes."""
        return Frame(self.at, self.turn_deg)

    @property
    def sides(self) -> Place:
        """From the first to the last column and row, plus one pitch, um."""
        rows, columns = self.present.shape
        return columns * self.pitch[0], rows * self.pitch[1]

    def places(self, places: npt.ArrayLike) -> Numbers:
        """Places of its own axes as places of the part."""
        return rotated(places, self.turn_deg, self.at)

    def joints(self) -> Numbers:
        """Places (N, 2) of all joints that are present."""
        rows, columns = np.nonzero(self.present)
        middle = (np.array(self.present.shape[::-1]) - 1) / 2
        return self.places((np.stack([columns, rows], axis=-1) - middle) * self.pitch)

    def nearest_um(self) -> float:
        """Distance of neighbouring joints: the pitch, or its diagonal in a staggered array."""
        staggered = not np.any(self.present[:, 1:] & self.present[:, :-1])
        return hypot(*self.pitch) if staggered and self.present.shape[1] > 1 else min(self.pitch)


def placed_grid(random: Random, view: View, pitch: Place, present: Mask) -> Grid:
    """A grid that the view shows a part of: all of it where it fits, else a joint near the middle."""
    turn_deg = part_angle_deg(random)
    free = Grid((0.0, 0.0), turn_deg, pitch, present)
    slack = (np.array(view.extent_um) - hypot(*free.sides)) / 2
    if np.all(slack > 0):
        x, y = (random.uniform(-1, 1, 2) * slack).tolist()
        return Grid((x, y), turn_deg, pitch, present)
    joints = free.joints()
    x, y = (random.uniform(-0.5, 0.5, 2) * pitch - joints[random.integers(len(joints))]).tolist()
    return Grid((x, y), turn_deg, pitch, present)


def ring(random: Random, rows: int, columns: int, *, deep: int, core: int) -> Mask:
    """A depopulated array: `deep` rows around, at times a square of `core` joints in the middle."""
    present = np.ones((rows, columns), bool)
    if min(rows, columns) > 2 * deep:
        present[deep:-deep, deep:-deep] = False
        core = min(core, min(rows, columns) - 2 * deep - 2)
        if core > 0:
            first, left = (rows - core) // 2, (columns - core) // 2
            present[first : first + core, left : left + core] = True
    if bernoulli(random, 0.4):
        present[0, 0] = False
    return present


def escapes(
    random: Random, view: View, grid: Grid, *, land_um: float, line_um: float, bottom: float, top: float
) -> tuple[Track, ...]:
    """Copper lines from a grid's outer joints out of the array, as many between two lands as fit.

    The outermost joints leave straight, the next ones at 45 degrees into the channel between the rows;
    outside all bend by 45 degrees or run on, so that they fan out.

    Args:
        random: draws the number of lines in a channel and the bend.
        view: lines that it does not show are left out.
        grid: the joints.
        land_um: diameter of a land; the channel is what is left of the pitch.
        line_um: width of a line, and the least gap.
        bottom: height of the copper's lower face.
        top: of its upper face.
    """
    fit = int((min(grid.pitch) - land_um - line_um) // (2 * line_um))
    count = int(random.integers(0, min(fit, 4) + 1)) if fit > 0 else 0
    bend = float(random.choice((0.0, 0.0, 45.0, -45.0)))
    run = uniform(random, 0.3, 4.0) * min(grid.pitch)
    far = 2 * reach_um(view, bottom) + hypot(*grid.at)
    lines = [np.zeros((0, 4, 2))]
    for side in range(4):
        # The joints that leave by +x of the array turned so; of its two corners one leaves by the next side.
        present = np.rot90(grid.present, side)
        pitch_out, pitch_along = grid.pitch if side % 2 == 0 else grid.pitch[::-1]
        rows, columns = present.shape
        edge = columns * pitch_out / 2 + run + np.tan(np.radians(abs(bend) / 2)) * rows * pitch_along / 2
        for deep in range(min(count + 1, columns, (rows + 1) // 2)):
            row = np.arange(deep, rows - deep - 1)
            row = row[present[row, columns - 1 - deep]]
            along = (row - (rows - 1) / 2) * pitch_along
            out = np.full(len(row), ((columns - 1) / 2 - deep) * pitch_out)
            shift = pitch_along / 2 + (deep - 1 - (count - 1) / 2) * 2 * line_um if deep else 0.0
            bent = _bent(out, along, along + shift, edge=edge, bend_deg=bend, far_um=far)
            lines.append(rotated(bent, 90.0 * side))
    points = grid.places(np.concatenate(lines))
    seen = _passing(points, reach_um(view, bottom))
    most = joint_budget(view) // 2
    return tuple(
        Track(material="Cu", points=as_places(line), width=line_um, bottom=bottom, top=top)
        for line in points[seen][:most]
    )


def _bent(
    start: Numbers, along: Numbers, channel: Numbers, *, edge: float, bend_deg: float, far_um: float
) -> Numbers:
    """Lines (N, 4, 2): from (start, along) at 45 degrees to the channel, outwards, and bent about the edge.

    The bends lie on the mitre, so that the lines' distances share one factor before and after it.
    """
    c, s = cos(radians(bend_deg)), sin(radians(bend_deg))
    corner = edge - channel * tan(radians(bend_deg / 2))
    x = np.stack([start, start + np.abs(channel - along), corner, corner + c * far_um], axis=-1)
    y = np.stack([along, channel, channel, channel + s * far_um], axis=-1)
    return np.stack([x, y], axis=-1)


def bundle(random: Random, view: View, *, line_um: float, bottom: float, top: float) -> tuple[Track, ...]:
    """A bus: 4 to 30 parallel copper lines across the view, with one bend by 45 degrees at times."""
    count, pitch = int(random.integers(4, 31)), line_um * uniform(random, 1.8, 3.2)
    used = np.flatnonzero(random.random(count) > 0.08)
    channel = np.asarray((used - (count - 1) / 2) * pitch, np.float64)
    far = 2 * reach_um(view, bottom)
    lines = _bent(
        np.full(len(channel), -far),
        channel,
        channel,
        edge=uniform(random, -0.3, 0.3) * far,
        bend_deg=float(random.choice((0.0, 45.0, -45.0))),
        far_um=far,
    )
    at = tuple((random.uniform(-0.5, 0.5, 2) * view.extent_um - np.array(view.slope) * bottom).tolist())
    points = rotated(lines[:, 1:], part_angle_deg(random), (at[0], at[1]))
    seen = points[_passing(points - np.array(view.slope) * -bottom, reach_um(view))]
    return tuple(
        Track(material="Cu", points=as_places(line), width=line_um, bottom=bottom, top=top) for line in seen
    )


def _passing(lines: Numbers, radius_um: float) -> Mask:
    """Which lines (N, K, 2) come nearer to the origin than this."""
    start, along = lines[:, :-1], np.diff(lines, axis=1)
    squared = np.maximum(np.sum(along**2, axis=-1), 1e-9)
    fraction = np.clip(-np.sum(start * along, axis=-1) / squared, 0, 1)
    nearest = np.linalg.norm(start + fraction[..., None] * along, axis=-1)
    return np.asarray(nearest.min(axis=1) < radius_um)


def plane(random: Random, grid: Grid, *, low: float, pitch: float) -> Lattice:
    """A copper plane with holes for gas in rows and columns, as wide as the array."""
    bars = pitch * uniform(random, 0.45, 0.85)
    return Lattice(
        material="Cu",
        at=grid.at,
        sides=grid.sides,
        pitch=(pitch, pitch),
        cell=(bars, bars),
        bottom=low,
        top=low + uniform(random, 12, 20),
        turn_deg=grid.turn_deg,
        pattern="mesh",
    )
