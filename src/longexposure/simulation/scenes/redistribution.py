"""Redistribution layers and interposers: fine lines between the pads of chips.

Lines of 2 to 20 um in copper 3 to 10 um thick, as in fan-out wafer level packages. The face of the silicon
below lies at z = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame, rotated
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Primitive, Scene, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.conductors import (
    Conductors,
    gaps_um,
    joined_um,
    rounded,
    segments,
)
from longexposure.simulation.scenes.components.dies import any_die, budget_of, die_of, dots
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, resolved_um, uniform


class _Wiring:
    """Lines and pads of redistribution while they are drawn."""

    def __init__(self, random: Random, view: View) -> None:
        self.random, self.view = random, view
        self.width = resolved_um(random, view, um=(2, 20), px=(1.5, 7))
        self.gap = float(np.clip(self.width * uniform(random, 0.9, 2), 2, 30))
        self.thick = float(np.clip(self.width * uniform(random, 0.5, 1.2), 3, 10))
        self.sheet = ViewFrame.drawn(random, view, height_um=60.0)
        self.copper, self.budget = Conductors(), budget_of(view) // 2
        self.lines: list[tuple[Numbers, int]] = []
        self.pads: list[Primitive] = []

    def heights(self, level: int) -> tuple[float, float]:
        """Bottom and top: polymer of 7 um between levels."""
        bottom = 5.0 + level * (self.thick + 7.0)
        return bottom, bottom + self.thick

    def fits(self, points: Numbers, width: float, level: int) -> bool:
        """Whether a strip, or a disc at one point, is seen and keeps clear of all copper."""
        if self.budget <= 0 or not self.sheet.sees(points, width, self.heights(level)[0]):
            return False
        return self.copper.clear_um(points, width, level, within=self.gap) >= self.gap * 0.999

    def pad(self, at: Numbers, radius: float, level: int) -> None:
        """A round pad."""
        self.copper.add(at.reshape(1, 2), 2 * radius, level)
        bottom, top = self.heights(level)
        place = self.sheet.places(at)[0]
        self.pads.append(Cylinder(material="Cu", at=place, radius=radius, bottom=bottom, top=top))
        self.budget -= 1

    def line(self, points: Numbers, level: int, radii: tuple[float, ...] = ()) -> None:
        """A line with rounded corners, with round pads of these radii at its ends, where all keeps clear."""
        ends = points[[0, -1]][: len(radii)]
        cuts = [joined_um(radius, self.width) for radius in radii] or [0.0, 0.0]
        bend = uniform(self.random, 1, 6) * self.width
        if not self.sheet.sees(points, self.width, self.heights(level)[0]):
            return
        line = _cut(rounded(points, bend, 0.1 * self.view.pixel_um), cuts)
        if not self.fits(line, self.width, level):
            return
        pads = list(zip(ends, radii, strict=True))
        seen_pads = [pad for pad in pads if self.sheet.sees(pad[0], pad[1])]
        if all(self.fits(end[None], 2 * radius, level) for end, radius in seen_pads):
            self.copper.add(line, self.width, level)
            self.lines.append((line, level))
            self.budget -= 1
            for end, radius in seen_pads:
                self.pad(end, radius, level)

    def features(self) -> list[Feature]:
        """The lines with their gaps."""
        pieces = [segments(line, self.width, level) for line, level in self.lines]
        gaps = gaps_um(pieces, range(len(pieces)), within=12 * self.width)
        return [self._feature(*line, gap) for line, gap in zip(self.lines, gaps, strict=True)]

    def _feature(self, line: Numbers, level: int, gap: float) -> Feature:
        bottom, top = self.heights(level)
        track = Track(material="Cu", points=self.sheet.places(line), width=self.width, bottom=bottom, top=top)
        about = {"width_um": self.width, "gap_um": gap if np.isfinite(gap) else 0.0}
        return Feature(
            kind="trace",
            at=(*track.points[len(line) // 2], (bottom + top) / 2),
            size_um=self.width,
            primitives=(track,),
            about={**about, "bottom_um": bottom, "top_um": top},
        )


def _cut(points: Numbers, cuts: Sequence[float]) -> Numbers:
    """The line without so much of its first and of its last leg."""
    line = np.array(points, np.float64)
    for end, inner, cut in ((0, 1, cuts[0]), (-1, -2, cuts[1])):
        step = line[inner] - line[end]
        line[end] += step / hypot(*step) * min(cut, 0.95 * hypot(*step))
    return line


def _fan(wiring: _Wiring, level: int) -> None:
    """Lines from a row of narrow pads, as of a die, to a wide one, in legs of 45 degrees."""
    random, width, gap = wiring.random, wiring.width, wiring.gap
    near = (width + gap) * log_uniform(random, 1.5, 3)
    far = near * log_uniform(random, 1.1, 4)
    count = min(int(random.integers(4, 40)), max(2, int(2.4 * wiring.sheet.reach_um / near)))
    small, large = (near - gap) / 2 * uniform(random, 0.5, 0.95), (far - gap) / 2 * uniform(random, 0.4, 0.9)
    rank = np.arange(count) - (count - 1) / 2
    shift = np.abs(rank) * (far - near)
    leave = near + (np.abs(rank).max() - np.abs(rank)) * near * 0.42
    depth = float((leave + shift).max()) + log_uniform(random, 1, 10) * far
    turn = int(random.integers(4)) * 90 + float(random.choice([0.0, 0.0, 45.0]))
    middle = wiring.sheet.anywhere(random, wiring.heights(level)[0]) - rotated(
        np.array([0.0, depth / 2]), turn
    )
    for k in random.permutation(count).tolist():
        x, wide = rank[k] * near, rank[k] * far
        course = np.array([[x, 0], [x, leave[k]], [wide, leave[k] + shift[k]], [wide, depth]])
        course = course[np.r_[True, np.hypot(*np.diff(course, axis=0).T) > 0.01 * width]]
        points = rotated(course, turn) + middle
        wiring.line(points, level, (small, large))


def _strand(wiring: _Wiring, level: int) -> None:
    """A single line from pad to pad in legs of 45 degrees."""
    random, radius = wiring.random, wiring.width * uniform(wiring.random, 1, 4)
    courses = (int(random.integers(8)) + np.cumsum(random.integers(-1, 2, int(random.integers(2, 6))))) * 45.0
    legs = [
        rotated(np.array([2.5 * radius + log_uniform(random, 4, 60) * wiring.width, 0.0]), turn)
        for turn in courses
    ]
    points = wiring.sheet.anywhere(random) + np.vstack([np.zeros((1, 2)), np.cumsum(legs, axis=0)])
    wiring.line(points, level, (radius, radius))


def _coil(wiring: _Wiring, level: int) -> None:
    """A spiral inductor of octagonal turns."""
    random, pitch = wiring.random, wiring.width + wiring.gap
    turns = int(random.integers(2, 7))
    angle = np.arange(8 * turns + 1) * 45.0
    radius = pitch * (log_uniform(random, 2, 8) + angle / 360)
    spiral = np.stack([radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))], axis=1)
    wiring.line(spiral * 1.09 + wiring.sheet.anywhere(random), level)


def redistribution(random: Random, *, view: View) -> Scene:
    """Redistribution on 1 to 3 levels: fan-out from a die's pads, single lines, coils, pads for balls."""
    wiring, levels = _Wiring(random, view), int(random.integers(1, 4))
    more = max(1.0, (view.height * view.width) ** 0.5 / 256) ** 0.6
    for level in range(levels):
        for draw, most in ((_fan, 3), (_coil, 2), (_strand, 20)):
            for _ in range(round(more * int(random.integers(0 if draw is _coil else 1, most + 1)))):
                draw(wiring, level)
    for _ in range(round(more * int(random.integers(0, 30)))):
        at, radius = wiring.sheet.anywhere(random), wiring.width * log_uniform(random, 1.5, 8)
        if wiring.fits(at[None], 2 * radius, levels - 1):
            wiring.pad(at, radius, levels - 1)
    die = any_die(random, wiring.sheet, bottom=-uniform(random, 50, 300), top=0.0)
    primitives = list(wiring.pads)
    if bernoulli(random, 0.3):
        primitives += marks(random, view, sheet=wiring.sheet, bottom_um=wiring.heights(levels)[0])
    facts = {"width_um": wiring.width, "gap_um": wiring.gap, "levels": levels, "copper_um": wiring.thick}
    return Scene("redistribution", (die, *wiring.features()), tuple(primitives), facts)


def interposer(random: Random, *, view: View) -> Scene:
    """Two dies side by side on micro-bumps above silicon with vias, lines across the street between."""
    wiring = _Wiring(random, view)
    sheet, pitch = wiring.sheet, resolved_um(random, view, um=(20, 60), px=(4, 14))
    deep, reach = uniform(random, 60, 120), wiring.sheet.reach_um
    street, corner = log_uniform(random, 1.5, 8) * pitch, 0.4 * sheet.anywhere(random)
    wide = np.full(2, 2.4 * reach)
    base = die_of(sheet, np.zeros(2), wide, bottom=-deep, top=0.0)
    primitives, dies, high = list[Primitive](), list[Feature](), uniform(random, 50, 400)
    sides = np.where(random.random(2) < 0.5, 1.2 * reach, reach * random.uniform(0.4, 1, 2))
    for side in (-1, 1):
        at = corner + np.array([side * (sides[0] + street) / 2, uniform(random, -0.1, 0.1) * sides[1]])
        dies.append(die_of(sheet, at, sides, bottom=35.0, top=35.0 + high))
        shape = np.maximum(((sides - pitch) / pitch).astype(int), 1)
        first = at - (shape - 1) * pitch / 2
        for material, fraction, bottom, top in (("Cu", 0.5, 10.0, 22.0), ("Sn", 0.52, 22.0, 35.0)):
            dot = (fraction * pitch, bottom, top)
            primitives.append(dots(sheet, (first, shape, np.full(2, pitch)), dot, material))
    coarse = pitch * log_uniform(random, 2, 4)
    shape = np.full(2, int(2.2 * reach / coarse) + 1)
    first = -(shape - 1) * coarse / 2
    radius = float(np.clip(0.12 * coarse, 2.5, 25))
    primitives.append(dots(sheet, (first, shape, np.full(2, coarse)), (2 * radius, -deep, 0.0), "Cu"))
    primitives.append(
        dots(sheet, (first, shape, np.full(2, coarse)), (0.55 * coarse, -deep - 6, -deep), "Cu")
    )
    _crossing(wiring, corner, street, pitch, sides)
    facts = {"bump_pitch_um": pitch, "via_pitch_um": coarse, "width_um": wiring.width, "street_um": street}
    return Scene("interposer", (base, *dies, *wiring.features()), tuple(primitives), facts)


def _crossing(wiring: _Wiring, corner: Numbers, street: float, pitch: float, sides: Numbers) -> None:
    """Bundles of lines from die to die."""
    random, step = wiring.random, wiring.width + wiring.gap
    for level in range(int(random.integers(1, 3))):
        half, start = (
            street / 2 + log_uniform(random, 1, 6) * pitch,
            -0.4 * sides[1] * uniform(random, 0.3, 1),
        )
        for k in range(int(random.integers(8, 160))):
            y = start + step * (k + k // int(random.integers(7, 9)))
            if y < 0.45 * sides[1]:
                bend = np.array([[-half, y], [half, y]]) + corner
                wiring.line(bend, level)
