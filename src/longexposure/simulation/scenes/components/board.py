"""A board while it is drawn: its layers, plated vias with their lands, traces that keep clear.

Widths and gaps of 35 to 250 um, copper of 9 to 70 um, drills of 75 to 500 um and boards of 0.2 to 2.4 mm are
those of makers' design rules (IPC-2221, IPC-2226 for microvias). A board lies symmetric about z = 0. Copper
of one layer keeps its clear distance: what does not fit is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import hypot, sqrt
from typing import NamedTuple

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame
from longexposure.simulation.geometry.primitives import (
    Cylinder,
    Feature,
    Primitive,
    Scene,
    Slab,
    Weave,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.conductors import Conductors, gaps_um, segments
from longexposure.simulation.scenes.components.features import trace_feature, via_feature
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    log_uniform,
    part_angle_deg,
    resolved_um,
    uniform,
)


class Hole(NamedTuple):
    """A drilled hole: where in own coordinates, its radius, the layers that it passes."""

    at: Numbers
    radius: float
    crossed: range


@dataclass(frozen=True)
class Layer:
    """One layer of copper: its heights, the least width of its traces, the least gap."""

    bottom: float
    top: float
    width: float
    gap: float

    @property
    def heights(self) -> dict[str, float]:
        """For the primitives of the layer."""
        return {"bottom": self.bottom, "top": self.top}

    @property
    def middle(self) -> float:
        """Height of its middle."""
        return (self.bottom + self.top) / 2


class Line(NamedTuple):
    """A trace in own coordinates; without a gap where that has to be looked up."""

    level: int
    points: Numbers
    width: float
    gap: float | None = None


@dataclass
class Board:
    """A board while it is drawn.

    Attributes:
        layers: from the top down.
        drill: radius of its vias' barrels, outside.
        land: radius of their lands.
        plug: what fills them, nothing where it is empty.
        budget: primitives that it may still get, so that a scene is built in time.
    """

    random: Random
    view: View
    frame: ViewFrame
    layers: list[Layer]
    drill: float
    land: float
    thickness: float
    plug: str
    budget: int
    copper: Conductors = field(default_factory=Conductors)
    features: list[Feature] = field(default_factory=list)
    primitives: list[Primitive] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def trace(self, line: Line) -> None:
        """Lay a trace that keeps clear."""
        self.lines.append(line)
        self.budget -= 1

    def via(self, at: Numbers, levels: Sequence[int], *, first: int = 0, last: int | None = None) -> bool:
        """Drill a via with lands on these levels and its outer ones, where it keeps clear of all copper."""
        last = len(self.layers) - 1 if last is None else last
        crossed, lands = range(first, last + 1), sorted({first, last, *levels})
        radii = np.zeros(len(self.layers))
        radii[first : last + 1] = self.drill
        radii[lands] = self.land
        if self.copper.clear_of_discs_um(at, radii) < self.layers[0].gap * 0.999:
            return False
        self.copper.add_discs(at, radii)
        self.holes.append(Hole(at, self.drill, crossed))
        if self.frame.sees(at, self.land):
            self.features.append(self._barrel(at, lands, first=first, last=last))
            self.budget -= 2 + len(lands)
        return True

    def _barrel(self, at: Numbers, lands: Sequence[int], *, first: int, last: int) -> Feature:
        place, radius = self.frame.places(at)[0], self.drill
        bottom, top = self.layers[last].bottom, self.layers[first].top
        wall = uniform(self.random, 18, 28)
        inner = max(radius - wall, 0.0) if radius > 70 or bernoulli(self.random, 0.3) else 0.0
        barrel = Cylinder(material="Cu", at=place, radius=radius, inner_radius=inner, bottom=bottom, top=top)
        rings = [
            replace(barrel, radius=self.land, inner_radius=radius, bottom=layer.bottom, top=layer.top)
            for layer in (self.layers[level] for level in lands)
        ]
        hole = replace(barrel, material="FR-4", inner_radius=0.0, amount=-1)
        primitives = [barrel, *rings, hole]
        if inner and self.plug:
            primitives.append(replace(barrel, material=self.plug, radius=inner, inner_radius=0.0))
        return via_feature(place, radius, primitives, bottom=bottom, top=top)

    def scene(self, kind: str) -> Scene:
        """What has been drawn on its laminate."""
        pieces = [segments(line.points, line.width, line.level) for line in self.lines]
        wanted = [index for index, line in enumerate(self.lines) if line.gap is None]
        for within in (1.5 * self.layers[0].gap, 3000.0):
            found = gaps_um(pieces, wanted, within=within)
            for index, gap in zip(wanted, found, strict=True):
                self.lines[index] = self.lines[index]._replace(gap=gap if np.isfinite(gap) else None)
            wanted = [index for index in wanted if self.lines[index].gap is None]
        traces = []
        for level, line, width, clear in self.lines:
            points, layer = self.frame.places(line), self.layers[level]
            bottom, top, middle = layer.bottom, layer.top, len(line) // 2
            traces.append(
                trace_feature(
                    points, width, clear or 0.0, bottom=bottom, top=top, z=layer.middle, middle=middle
                )
            )
        facts = {"thickness_um": self.thickness, "layers": len(self.layers), "turn_deg": self.frame.turn_deg}
        facts |= {"width_um": self.layers[0].width, "gap_um": self.layers[0].gap, "drill_um": 2 * self.drill}
        ground = laminate(self.random, self.view, top_um=self.thickness / 2, thickness_um=self.thickness)
        return Scene(kind, (*traces, *self.features), (*ground, *self.primitives), facts)


def empty_board(
    random: Random, view: View, *, layers: tuple[int, int], drills_px: tuple[float, float] = (3, 10)
) -> Board:
    """An empty board whose traces, and at least the larger of its vias, the view resolves."""
    width = resolved_um(random, view, um=(35, 250), px=(1.6, 7))
    gap = float(np.clip(width * log_uniform(random, 0.8, 1.8), 35, 250))
    count = int(random.integers(layers[0], layers[1] + 1))
    thickness = uniform(random, 200, 700) if width < 75 and count < 7 else uniform(random, 800, 2400)
    fine = 0.5 if width < 75 else 1.0
    outer, inner = uniform(random, 30, 70) * fine, float(random.choice([17.5, 17.5, 35.0])) * fine
    drill = resolved_um(random, view, um=(75, 250), px=(drills_px[0] / 2, drills_px[1] / 2))
    tops = np.linspace(thickness / 2, outer - thickness / 2, count)
    copper = [outer, *[inner] * (count - 2), outer]
    found = [Layer(top - high, top, width, gap) for top, high in zip(tops.tolist(), copper, strict=True)]
    frame = ViewFrame.drawn(random, view, height_um=thickness / 2)
    budget = int(240 * max(1.0, sqrt(view.height * view.width) / 256))
    land = drill + uniform(random, 60, 140)
    plug = str(random.choice(["", "epoxy", "FR-4"]))
    return Board(random, view, frame, found, drill, land, thickness, plug, budget)


_CLOTHS_UM = ((450, 450, 50), (420, 540, 75), (425, 440, 115), (578, 820, 190))
"""Distance of warp and weft yarns and thickness of a ply: styles 106, 1080, 2116 and 7628."""


def laminate(
    random: Random, view: View, *, top_um: float = 0.0, thickness_um: float | None = None
) -> tuple[Primitive, ...]:
    """FR-4 under all that is seen: a slab, and several plies of glass cloth in it, each a little turned.

    Args:
        random: of the scene.
        view: of the image.
        top_um: height of the upper face.
        thickness_um: of the board; none draws 0.2 to 1.6 mm.
    """
    thickness = log_uniform(random, 200, 1600) if thickness_um is None else thickness_um
    warp, weft, ply = _CLOTHS_UM[int(random.integers(len(_CLOTHS_UM)))]
    plies = int(np.clip(0.7 * thickness / ply, 1, 7))
    fraction, turn = 0.6 * thickness / plies, uniform(random, 0, 360)
    side = 3 * hypot(*view.extent_um) + 8 * thickness * (1 + hypot(*view.slope))
    slab = {"bottom": top_um - thickness, "top": top_um - 0.6 * thickness}
    cloth = [
        Weave(
            material="FR-4",
            period=(warp * uniform(random, 0.97, 1.03), weft * uniform(random, 0.97, 1.03)),
            mean=fraction,
            swing=min(fraction, ply) * uniform(random, 0.15, 0.35),
            turn_deg=turn + 0.8 * float(random.standard_normal()),
            seed=int(random.integers(1 << 31)),
        )
        for _ in range(plies)
    ]
    return (Slab(material="FR-4", at=(0.0, 0.0), sides=(side, side), **slab), *cloth)


def cloth(random: Random, thick: float) -> Weave:
    """Laminate of this thickness in um and its glass cloth, yarns 0.34 to 0.8 mm apart (1080 to 7628)."""
    period = uniform(random, 400, 600)
    return Weave(
        material="FR-4",
        period=(period, period * uniform(random, 0.85, 1.35)),
        mean=thick,
        swing=thick * log_uniform(random, 0.015, 0.06),
        turn_deg=part_angle_deg(random),
        seed=int(random.integers(2**31)),
    )
