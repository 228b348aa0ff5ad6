"""Redistribution layers and interposers: fine lines between the pads of chips.

Lines of 2 to 20 um in copper 3 to 10 um thick, as in fan-out wafer level packages. The face of the silicon
below lies at z = 0.
"""

from __future__ import annotations

from math import hypot

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame, rotated
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Primitive, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.conductors import (
    Conductors,
    gaps_um,
    line_end_um,
    rounded,
    segments,
)
from longexposure.simulation.scenes.components.features import trace_feature
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, resolved_um, uniform
from longexposure.simulation.scenes.silicon import dots, primitive_budget, random_die, silicon_die


class _Wiring:
    """Lines and pads of redistribution while they are drawn."""

    def __init__(self, random: Random, view: View) -> None:
        self.random, self.view = random, view
        self.width = resolved_um(random, view, um=(2, 20), px=(1.5, 7))
        self.gap = float(np.clip(self.width * uniform(random, 0.9, 2), 2, 30))
        self.thick = float(np.clip(self.width * uniform(random, 0.5, 1.2), 3, 10))
        self.frame = ViewFrame.drawn(random, view, height_um=60.0)
        self.copper, self.budget = Conductors(), primitive_budget(view) // 2
        self.lines: list[tuple[Numbers, int]] = []
        self.pads: list[Primitive] = []

    def heights(self, level: int) -> tuple[float, float]:
        """Bottom and top: polymer of 7 um between levels."""
        bottom = 5.0 + level * (self.thick + 7.0)
        return bottom, bottom + self.thick

    def fits(self, points: Numbers, width: float, level: int) -> bool:
        """Whether a strip, or a disc at one point, is seen and keeps clear of all copper."""
        if self.budget <= 0 or not self.frame.sees(points, width, self.heights(level)[0]):
            return False
        return self.copper.clear_um(points, width, level, within=self.gap) >= self.gap * 0.999

    def pad(self, at: Numbers, radius: float, level: int) -> None:
        """A round pad."""
        self.copper.add(at.reshape(1, 2), 2 * radius, level)
        bottom, top = self.heights(level)
        place = self.frame.places(at)[0]
        self.pads.append(Cylinder(material="Cu", at=place, radius=radius, bottom=bottom, top=top))
        self.budget -= 1

    def line(self, points: Numbers, level: int, radii: tuple[float, ...] = ()) -> None:
        """A line with rounded corners, with round pads of these radii at its ends, where all keeps clear."""
        bend = uniform(self.random, 1, 6) * self.width
        if not self.frame.sees(points, self.width, self.heights(level)[0]):
            return
        line = rounded(points, bend, 0.1 * self.view.pixel_um)
        for (end, inner), radius in zip(((0, 1), (-1, -2)), radii, strict=False):
            step = line[inner] - line[end]
            line[end] += step / hypot(*step) * min(line_end_um(radius, self.width), 0.95 * hypot(*step))
        if not self.fits(line, self.width, level):
            return
        ends = zip(points[[0, -1]][: len(radii)], radii, strict=True)
        pads = [(end, radius) for end, radius in ends if self.frame.sees(end, radius)]
        if all(self.fits(end[None], 2 * radius, level) for end, radius in pads):
            self.copper.add(line, self.width, level)
            self.lines.append((line, level))
            self.budget -= 1
            for end, radius in pads:
                self.pad(end, radius, level)

    def features(self) -> list[Feature]:
        """The lines with their gaps."""
        pieces = [segments(line, self.width, level) for line, level in self.lines]
        gaps = gaps_um(pieces, range(len(pieces)), within=12 * self.width)
        found = []
        for (line, level), gap in zip(self.lines, gaps, strict=True):
            bottom, top = self.heights(level)
            found.append(
                trace_feature(
                    self.frame.places(line),
                    self.width,
                    gap if np.isfinite(gap) else 0.0,
                    bottom=bottom,
                    top=top,
                    z=(bottom + top) / 2,
                    middle=len(line) // 2,
                )
            )
        return found

    def fan(self, level: int) -> None:
        """Lines from a row of narrow pads, as of a die, to a wide one, in legs of 45 degrees."""
        random, width, gap = self.random, self.width, self.gap
        near = (width + gap) * log_uniform(random, 1.5, 3)
        far = near * log_uniform(random, 1.1, 4)
        count = min(int(random.integers(4, 40)), max(2, int(2.4 * self.frame.reach_um / near)))
        small, large = (
            (near - gap) / 2 * uniform(random, 0.5, 0.95),
            (far - gap) / 2 * uniform(random, 0.4, 0.9),
        )
        rank = np.arange(count) - (count - 1) / 2
        shift = np.abs(rank) * (far - near)
        leave = near + (np.abs(rank).max() - np.abs(rank)) * near * 0.42
        depth = float((leave + shift).max()) + log_uniform(random, 1, 10) * far
        turn = int(random.integers(4)) * 90 + float(random.choice([0.0, 0.0, 45.0]))
        start = self.frame.anywhere(random, self.heights(level)[0])
        middle = start - rotated(np.array([0.0, depth / 2]), turn)
        for k in random.permutation(count).tolist():
            x, wide = rank[k] * near, rank[k] * far
            course = np.array([[x, 0], [x, leave[k]], [wide, leave[k] + shift[k]], [wide, depth]])
            course = course[np.r_[True, np.hypot(*np.diff(course, axis=0).T) > 0.01 * width]]
            self.line(rotated(course, turn) + middle, level, (small, large))

    def strand(self, level: int) -> None:
        """A single line from pad to pad in legs of 45 degrees."""
        random, radius = self.random, self.width * uniform(self.random, 1, 4)
        courses = (
            int(random.integers(8)) + np.cumsum(random.integers(-1, 2, int(random.integers(2, 6))))
        ) * 45.0
        lengths = [2.5 * radius + log_uniform(random, 4, 60) * self.width for _ in courses]
        legs = [rotated(np.array([long, 0.0]), turn) for long, turn in zip(lengths, courses, strict=True)]
        points = self.frame.anywhere(random) + np.vstack([np.zeros((1, 2)), np.cumsum(legs, axis=0)])
        self.line(points, level, (radius, radius))

    def coil(self, level: int) -> None:
        """A spiral inductor of octagonal turns."""
        random, pitch = self.random, self.width + self.gap
        turns = int(random.integers(2, 7))
        angle = np.arange(8 * turns + 1) * 45.0
        radius = pitch * (log_uniform(random, 2, 8) + angle / 360)
        spiral = np.stack([radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))], axis=1)
        self.line(spiral * 1.09 + self.frame.anywhere(random), level)


_SHAPES = ((_Wiring.fan, 1, 3), (_Wiring.coil, 0, 2), (_Wiring.strand, 1, 20))
"""What is drawn on a level, and how often at least and at most."""


def redistribution(random: Random, *, view: View) -> Scene:
    """Redistribution on 1 to 3 levels: fan-out from a die's pads, single lines, coils, pads for balls."""
    wiring, levels = _Wiring(random, view), int(random.integers(1, 4))
    more = max(1.0, (view.height * view.width) ** 0.5 / 256) ** 0.6
    for level in range(levels):
        for draw, least, most in _SHAPES:
            for _ in range(round(more * int(random.integers(least, most + 1)))):
                draw(wiring, level)
    for _ in range(round(more * int(random.integers(0, 30)))):
        at, radius = wiring.frame.anywhere(random), wiring.width * log_uniform(random, 1.5, 8)
        if wiring.fits(at[None], 2 * radius, levels - 1):
            wiring.pad(at, radius, levels - 1)
    die = random_die(random, wiring.frame, bottom=-uniform(random, 50, 300), top=0.0)
    primitives = list(wiring.pads)
    if bernoulli(random, 0.3):
        primitives += marks(random, view, frame=wiring.frame, bottom_um=wiring.heights(levels)[0])
    facts = {"width_um": wiring.width, "gap_um": wiring.gap, "levels": levels, "copper_um": wiring.thick}
    return Scene("redistribution", (die, *wiring.features()), tuple(primitives), facts)


def interposer(random: Random, *, view: View) -> Scene:
    """Two dies side by side on micro-bumps above silicon with vias, lines across the street between."""
    wiring = _Wiring(random, view)
    frame, pitch = wiring.frame, resolved_um(random, view, um=(20, 60), px=(4, 14))
    deep, reach = uniform(random, 60, 120), wiring.frame.reach_um
    street, corner = log_uniform(random, 1.5, 8) * pitch, 0.4 * frame.anywhere(random)
    base = silicon_die(frame, np.zeros(2), np.full(2, 2.4 * reach), bottom=-deep, top=0.0)
    primitives, dies, high = list[Primitive](), list[Feature](), uniform(random, 50, 400)
    sides = np.where(random.random(2) < 0.5, 1.2 * reach, reach * random.uniform(0.4, 1, 2))
    for side in (-1, 1):
        at = corner + np.array([side * (sides[0] + street) / 2, uniform(random, -0.1, 0.1) * sides[1]])
        dies.append(silicon_die(frame, at, sides, bottom=35.0, top=35.0 + high))
        shape = np.maximum(((sides - pitch) / pitch).astype(int), 1)
        rows = (at - (shape - 1) * pitch / 2, shape, np.full(2, pitch))
        primitives.append(dots(frame, rows, (0.5 * pitch, 10.0, 22.0), "Cu"))
        primitives.append(dots(frame, rows, (0.52 * pitch, 22.0, 35.0), "Sn"))
    coarse = pitch * log_uniform(random, 2, 4)
    shape = np.full(2, int(2.2 * reach / coarse) + 1)
    rows = (-(shape - 1) * coarse / 2, shape, np.full(2, coarse))
    radius = float(np.clip(0.12 * coarse, 2.5, 25))
    primitives.append(dots(frame, rows, (2 * radius, -deep, 0.0), "Cu"))
    primitives.append(dots(frame, rows, (0.55 * coarse, -deep - 6, -deep), "Cu"))
    step = wiring.width + wiring.gap
    for level in range(int(random.integers(1, 3))):
        half = street / 2 + log_uniform(random, 1, 6) * pitch
        start = -0.4 * sides[1] * uniform(random, 0.3, 1)
        for k in range(int(random.integers(8, 160))):
            y = start + step * (k + k // int(random.integers(7, 9)))
            if y < 0.45 * sides[1]:
                wiring.line(np.array([[-half, y], [half, y]]) + corner, level)
    facts = {"bump_pitch_um": pitch, "via_pitch_um": coarse, "width_um": wiring.width, "street_um": street}
    return Scene("interposer", (base, *dies, *wiring.features()), tuple(primitives), facts)
