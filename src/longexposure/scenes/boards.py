"""Printed boards: traces on several layers, plated vias, planes, and the laminate between them.

Widths and gaps of 35 to 250 um, copper of 9 to 70 um, drills of 75 to 500 um and boards of 0.2 to 2.4 mm are
those of makers' design rules (IPC-2221, IPC-2226 for microvias); cloth as in IPC-4412. A board lies
symmetric about z = 0. Copper of one layer keeps its clear distance: what does not fit is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, pi, sqrt
from typing import NamedTuple

import numpy as np

from longexposure.scenes.kind import SceneKind
from longexposure.scenes.layout import Numbers, Random, between, chance, spread
from longexposure.scenes.marks import Sheet, lay, marks, meandered, parallel, rounded, seen
from longexposure.scenes.silicon import Conductors, gaps_um, joined_um, segments
from longexposure.scenes.solids import Cylinder, Feature, Scene, Slab, Solid, Track, Weave
from longexposure.scenes.view import View

_COURSES = np.stack([np.cos(np.arange(8) * pi / 4), np.sin(np.arange(8) * pi / 4)], axis=1)
_CLOTHS_UM = ((450, 450, 50), (420, 540, 75), (425, 440, 115), (578, 820, 190))
"""Distance of warp and weft yarns and thickness of a ply: styles 106, 1080, 2116 and 7628."""


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
        """For the solids of the layer."""
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
        budget: solids that it may still get, so that a scene is built in time.
    """

    random: Random
    view: View
    sheet: Sheet
    layers: list[Layer]
    drill: float
    land: float
    thickness: float
    plug: str
    budget: int
    copper: Conductors = field(default_factory=Conductors)
    features: list[Feature] = field(default_factory=list)
    solids: list[Solid] = field(default_factory=list)
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
        if self.sheet.sees(at, self.land):
            self.features.append(self._barrel(at, lands, first=first, last=last))
            self.budget -= 2 + len(lands)
        return True

    def _barrel(self, at: Numbers, lands: Sequence[int], *, first: int, last: int) -> Feature:
        place, radius = self.sheet.places(at)[0], self.drill
        heights = {"bottom": self.layers[last].bottom, "top": self.layers[first].top}
        wall = between(self.random, 18, 28)
        inner = max(radius - wall, 0.0) if radius > 70 or chance(self.random, 0.3) else 0.0
        rings = [
            Cylinder(
                material="Cu", at=place, radius=self.land, inner_radius=radius, **self.layers[level].heights
            )
            for level in lands
        ]
        barrel = Cylinder(material="Cu", at=place, radius=radius, inner_radius=inner, **heights)
        hole = Cylinder(material="FR-4", at=place, radius=radius, amount=-1, **heights)
        plug = (
            [Cylinder(material=self.plug, at=place, radius=inner, **heights)] if inner and self.plug else []
        )
        return Feature(
            kind="via",
            at=(*place, (heights["bottom"] + heights["top"]) / 2),
            size_um=2 * radius,
            solids=(barrel, *rings, hole, *plug),
            about={"radius_um": radius, "bottom_um": heights["bottom"], "top_um": heights["top"]},
        )

    def scene(self, kind: str) -> Scene:
        """What has been drawn on its laminate."""
        pieces = [segments(line.points, line.width, line.level) for line in self.lines]
        wanted = [index for index, line in enumerate(self.lines) if line.gap is None]
        for within in (1.5 * self.layers[0].gap, 3000.0):
            found = gaps_um(pieces, wanted, within=within)
            for index, gap in zip(wanted, found, strict=True):
                self.lines[index] = self.lines[index]._replace(gap=gap if np.isfinite(gap) else None)
            wanted = [index for index in wanted if self.lines[index].gap is None]
        traces = [self._trace(line) for line in self.lines]
        facts = {"thickness_um": self.thickness, "layers": len(self.layers), "turn_deg": self.sheet.turn_deg}
        facts |= {"width_um": self.layers[0].width, "gap_um": self.layers[0].gap, "drill_um": 2 * self.drill}
        ground = laminate(self.random, self.view, top_um=self.thickness / 2, thickness_um=self.thickness)
        return Scene(kind, (*traces, *self.features), (*ground, *self.solids), facts)

    def _trace(self, line: Line) -> Feature:
        layer = self.layers[line.level]
        track = Track(material="Cu", points=self.sheet.places(line.points), width=line.width, **layer.heights)
        about = {"width_um": line.width, "gap_um": line.gap or 0.0}
        return Feature(
            kind="trace",
            at=(*track.points[len(line.points) // 2], (layer.bottom + layer.top) / 2),
            size_um=line.width,
            solids=(track,),
            about={**about, "bottom_um": layer.bottom, "top_um": layer.top},
        )


def _board(
    random: Random, view: View, *, layers: tuple[int, int], drills_px: tuple[float, float] = (3, 10)
) -> Board:
    """An empty board whose traces, and at least the larger of its vias, the view resolves."""
    width = seen(random, view, um=(35, 250), px=(1.6, 7))
    gap = float(np.clip(width * spread(random, 0.8, 1.8), 35, 250))
    count = int(random.integers(layers[0], layers[1] + 1))
    thickness = between(random, 200, 700) if width < 75 and count < 7 else between(random, 800, 2400)
    fine = 0.5 if width < 75 else 1.0
    outer, inner = between(random, 30, 70) * fine, float(random.choice([17.5, 17.5, 35.0])) * fine
    drill = seen(random, view, um=(75, 250), px=(drills_px[0] / 2, drills_px[1] / 2))
    tops = np.linspace(thickness / 2, outer - thickness / 2, count)
    copper = [outer, *[inner] * (count - 2), outer]
    found = [Layer(top - high, top, width, gap) for top, high in zip(tops.tolist(), copper, strict=True)]
    sheet = lay(random, view, height_um=thickness / 2)
    budget = int(240 * max(1.0, sqrt(view.height * view.width) / 256))
    land = drill + between(random, 60, 140)
    plug = str(random.choice(["", "epoxy", "FR-4"]))
    return Board(random, view, sheet, found, drill, land, thickness, plug, budget)


def laminate(
    random: Random, view: View, *, top_um: float = 0.0, thickness_um: float | None = None
) -> tuple[Solid, ...]:
    """FR-4 under all that is seen: a slab, and several plies of glass cloth in it, each a little turned.

    Args:
        random: of the scene.
        view: who looks.
        top_um: height of the upper face.
        thickness_um: of the board; none draws 0.2 to 1.6 mm.
    """
    thickness = spread(random, 200, 1600) if thickness_um is None else thickness_um
    warp, weft, ply = _CLOTHS_UM[int(random.integers(len(_CLOTHS_UM)))]
    plies = int(np.clip(0.7 * thickness / ply, 1, 7))
    share, turn = 0.6 * thickness / plies, between(random, 0, 360)
    side = 3 * hypot(*view.extent_um) + 8 * thickness * (1 + hypot(*view.slope))
    slab = {"bottom": top_um - thickness, "top": top_um - 0.6 * thickness}
    cloth = [
        Weave(
            material="FR-4",
            period=(warp * between(random, 0.97, 1.03), weft * between(random, 0.97, 1.03)),
            mean=share,
            swing=min(share, ply) * between(random, 0.15, 0.35),
            turn_deg=turn + 0.8 * float(random.standard_normal()),
            seed=int(random.integers(1 << 31)),
        )
        for _ in range(plies)
    ]
    return (Slab(material="FR-4", at=(0.0, 0.0), sides=(side, side), **slab), *cloth)


def _connect(
    board: Board,
    line: Line,
    spots: Sequence[Numbers],
    *,
    ease: tuple[int, float] = (0, 0.0),
    shape: tuple[Numbers, float] | None = None,
) -> bool:
    """Lay a trace between vias at these spots, where it, or a wider shape around it, keeps clear."""
    points, width = shape or (line.points, line.width)
    gap = board.layers[line.level].gap
    if board.budget <= 0 or not board.sheet.sees(points, width, board.layers[line.level].middle):
        return False
    if board.copper.clear_um(points, width, line.level, within=gap, ease=ease) < gap * 0.999:
        return False
    if not all(board.via(spot, [line.level]) for spot in spots):
        return False
    board.copper.add(points, width, line.level)
    board.trace(line)
    return True


def _spine(
    board: Board, level: int, *, half: float = 0.0, ends_um: float = 0.0, ending: float = 0.0
) -> tuple[Numbers, list[bool]]:
    """A line through a place that is seen, with bends of 45 degrees; which of its two ends lie in view."""
    random, reach = board.random, board.sheet.reach_um
    start, course = board.sheet.anywhere(random, board.layers[level].middle), int(random.integers(8))
    halves, ended = [], []
    for way in (0, 4):
        bends = int(random.integers(0, 3))
        courses = [course, *(course + random.integers(-1, 2, bends)).tolist()]
        lengths = [2.2 * half + spread(random, 0.06, 0.7) * reach for _ in courses]
        ended.append(chance(random, ending))
        lengths[-1] = lengths[-1] + ends_um if ended[-1] else 3 * reach
        steps = np.array(lengths)[:, None] * _COURSES[(np.array(courses) + way) % 8]
        halves.append(start + np.cumsum(steps, axis=0))
    line = np.vstack([halves[1][::-1], halves[0]])
    radius = half * 1.1 + spread(random, 0.3, 6) * half if chance(random, 0.45) and not any(ended) else 0.0
    return rounded(line, radius, 0.15 * board.view.pixel_um), ended[::-1]


def _peeled(
    board: Board, points: Numbers, *, left: bool, back: float, out: float, width: float
) -> tuple[Numbers, Numbers]:
    """The trace leaves its bundle by 45 degrees, `back` before the end; the trace, its via's spot."""
    along = (points[-1] - points[-2]) / hypot(*(points[-1] - points[-2]))
    across = np.array([-along[1], along[0]]) * (1 if left else -1)
    away, cut = (along + across) / sqrt(2), points[-1] - back * along
    spot = cut + out * away
    return np.vstack([points[:-1], cut, spot - joined_um(board.land, width) * away]), spot


def _bundle(board: Board, level: int) -> None:
    """Parallel traces, differential pairs, or tuned traces, which peel off to vias at ends in view."""
    random, layer = board.random, board.layers[level]
    width, gap, style = min(layer.width * spread(random, 1.0, 1.5), 250.0), layer.gap, random.random()
    tooth = width + max(gap, width) * 1.2
    rise = between(random, 1.2, 4) * tooth if style > 0.84 else 0.0
    near, wide = (max(gap * between(random, 0.6, 1), 35.0), 2.2 * gap) if style < 0.25 else (gap, gap)
    most = max(2, int(0.7 * board.sheet.reach_um / (width + wide + rise)))
    count = int(random.integers(2, min(most, 8 if rise else 28) + 1))
    offsets = np.cumsum([width + rise + (near if k % 2 else wide) for k in range(count)])
    offsets -= offsets.mean()
    half, step = offsets[-1] + width + rise, 2 * board.land + 2.2 * gap + width
    spine, ended = _spine(board, level, half=half, ends_um=count * step, ending=0.0 if rise else 0.4)
    before, strip = board.copper.count, (parallel(spine, rise / 2), 2 * offsets[-1] + width + rise)
    free = board.copper.clear_um(strip[0], 1.09 * strip[1], level, within=gap) >= gap
    if not free and chance(random, 0.7):
        return
    whole = free and not any(ended)
    out, kept = (board.land + gap + width) * between(random, 1.5, 4), []
    for offset in sorted(offsets.tolist(), key=abs, reverse=True):
        inner = int(np.sum((offsets * np.sign(offset) >= 0) & (np.abs(offsets) < abs(offset))))
        line = Line(level, parallel(spine, offset), width)
        shape = (parallel(spine, offset + rise / 2), width + rise)
        line, spots = _ended(board, line, ended, left=offset > 0, back=inner * step, out=out)
        if rise:
            line = line._replace(points=meandered(line.points, random, rise=rise, tooth=tooth))
        if whole and board.budget > 0 and board.sheet.sees(*shape, layer.middle):
            board.trace(line)
        elif whole or not _connect(
            board, line, spots, ease=(before, gap - near), shape=shape if rise else None
        ):
            continue
        kept.append((offset, len(board.lines) - 1))
    if whole:
        board.copper.add(*strip, level)
    for offset, owner in kept if not rise else ():
        apart = min((abs(offset - other) for other, _ in kept if other != offset), default=1e9) - width
        if apart < gap * 1.001:
            board.lines[owner] = board.lines[owner]._replace(gap=apart)


def _ended(
    board: Board, line: Line, ended: Sequence[bool], *, left: bool, back: float, out: float
) -> tuple[Line, list[Numbers]]:
    """The trace of a bundle with its ends peeled off, and the spots of their vias."""
    points, spots = line.points, []
    for end in (0, 1):
        if ended[end]:
            points, spot = _peeled(
                board,
                points[:: 2 * end - 1],
                left=left == bool(end),
                back=back,
                out=out,
                width=line.width,
            )
            points = points[:: 2 * end - 1]
            spots.append(spot)
    return line._replace(points=points), spots


def _wander(board: Board, level: int) -> bool:
    """A single trace that finds its way in steps of 45 degrees from via to via."""
    random, width = board.random, min(board.layers[level].width * spread(board.random, 1, 2), 250.0)
    stop = joined_um(board.land, width)
    courses = int(random.integers(8)) + np.cumsum(random.integers(-1, 2, int(random.integers(1, 6))))
    lengths = [2.5 * stop + spread(random, 2, 60) * width for _ in courses]
    steps = np.array(lengths)[:, None] * _COURSES[courses % 8]
    points = board.sheet.anywhere(random, board.layers[level].middle) + np.vstack(
        [np.zeros((1, 2)), np.cumsum(steps, axis=0)]
    )
    spots = [points[0].copy(), points[-1].copy()]
    points[0] += stop * _COURSES[courses[0] % 8]
    points[-1] -= stop * _COURSES[courses[-1] % 8]
    if chance(random, 0.5):
        points = rounded(points, spread(random, 1, 12) * width, 0.1 * board.view.pixel_um)
    return _connect(board, Line(level, points, width), spots)


def _ball_grid(board: Board) -> None:
    """The lands of a ball grid array, a dog-bone to a via beside each, and ways out between the rows."""
    random, top = board.random, board.layers[0]
    need = (board.land + top.gap + 20) / 0.45
    pitch = min((pitch for pitch in (400, 500, 650, 800, 1000) if pitch >= need), default=max(1270.0, need))
    shape = random.integers(3, np.clip(1.2 * board.sheet.reach_um / pitch, 4, 24).astype(int) + 1, 2)
    corner, pad = board.sheet.anywhere(random) - (shape - 1) / 2 * pitch, 0.25 * pitch
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    hollow = int(random.integers(2, 6))
    for cell in grid[np.min(np.minimum(grid, shape - 1 - grid), axis=1) < hollow]:
        if board.budget <= 0:
            return
        outward = np.where(cell * 2 >= shape - 1, 1.0, -1.0)
        spot = corner + cell * pitch
        if (
            not board.sheet.sees(spot, 2 * pitch)
            or board.copper.clear_um(spot[None], 2 * pad, 0, within=top.gap) < top.gap
        ):
            continue
        board.copper.add(spot[None], 2 * pad, 0)
        board.solids.append(
            Cylinder(material="Cu", at=board.sheet.places(spot)[0], radius=pad, **top.heights)
        )
        via = spot + outward * pitch / 2
        ends = np.array(
            [
                spot + outward / sqrt(2) * joined_um(pad, top.width),
                via - outward / sqrt(2) * joined_um(board.land, top.width),
            ]
        )
        if board.via(via, []) and (ends[1] - ends[0]) @ outward > 0:
            board.copper.add(ends, top.width, 0)
            board.trace(Line(0, ends, top.width))
            _escape(
                board, via, pitch=pitch, deep=np.where(outward > 0, shape - 1 - cell, cell), outward=outward
            )


def _escape(board: Board, via: Numbers, *, pitch: float, deep: Numbers, outward: Numbers) -> None:
    """A trace from a via of a ball grid, in the channel between the rows, out of the array."""
    axis, random = int(np.argmin(deep)), board.random
    away = np.eye(2)[axis] * outward
    side = np.eye(2)[1 - axis] * float(random.choice([-1.0, 1.0]))
    level = 1 + int(deep[axis]) % max(len(board.layers) - 2, 1)
    if level >= len(board.layers) or chance(random, 0.3):
        return
    layer = board.layers[level]
    first = (away + side) / sqrt(2) if deep[axis] else away
    corner = via + first * pitch / sqrt(2)
    out = corner + away * (deep[axis] * pitch + spread(random, 1, 12) * pitch)
    bend = out + (away + side * float(random.integers(-1, 2))) * spread(random, 1, 12) * pitch
    points = np.array([via + first * (board.land + layer.gap + layer.width / 2), corner, out, bend])
    if board.copper.clear_um(points, layer.width, level, within=layer.gap) >= layer.gap and board.sheet.sees(
        points
    ):
        points[0] = via + first * joined_um(board.land, layer.width)
        board.copper.add(points, layer.width, level)
        board.trace(Line(level, points, layer.width))


def _split(board: Board, level: int) -> None:
    """A gap through a plane, laid before the vias, which keep clear of it."""
    line, _ = _spine(board, level)
    width = between(board.random, 150, 500)
    board.copper.add(line, width + 4 * board.drill, level)
    board.solids.append(
        Track(
            material="Cu",
            points=board.sheet.places(line),
            width=width,
            amount=-1,
            **board.layers[level].heights,
        )
    )


def _plane(board: Board, level: int) -> None:
    """A copper plane over all that is seen; around each via a clearance or a thermal relief."""
    random, sheet, heights = board.random, board.sheet, board.layers[level].heights
    side = 2.5 * sheet.reach_um + 4 * board.land
    plane = Slab(material="Cu", at=(0.0, 0.0), sides=(side, side), turn_deg=sheet.turn_deg, **heights)
    board.solids.append(plane)
    holes = [hole for hole in board.holes if level in hole.crossed and sheet.sees(hole.at, 3 * board.land)]
    spots, clear = np.array([hole.at for hole in holes]).reshape(-1, 2), between(random, 90, 220)
    for hole in holes:
        apart = np.sort(np.hypot(*(spots - hole.at).T))[1:2]
        wide = min(hole.radius + clear, *(0.48 * apart), 1e9)
        if wide > hole.radius * 1.05:
            board.solids += _clearance(random, sheet, hole, wide=wide, heights=heights)


def _clearance(
    random: Random, sheet: Sheet, hole: Hole, *, wide: float, heights: dict[str, float]
) -> list[Solid]:
    """What a plane lacks around a via: a disc, the barrel alone, or a ring but for four bars."""
    at, radius = sheet.places(hole.at)[0], hole.radius
    disc = Cylinder(material="Cu", amount=-1, at=at, radius=wide, **heights)
    barrel = Cylinder(material="Cu", amount=-1, at=at, radius=radius, **heights)
    kind = random.random()
    ring = 0.45 * radius + 0.55 * wide
    if kind < 0.75 or ring - radius < 15:
        return [disc if kind < 0.9 else barrel]
    relief = Cylinder(material="Cu", amount=-1, at=at, radius=wide, inner_radius=ring, **heights)
    bars: list[Solid] = []
    for quarter in range(4):
        middle = (ring + wide) / 2 * _COURSES[2 * quarter + 1]
        size = (wide - ring, min(0.6 * radius, 200.0))
        turn = sheet.turn_deg + 90 * quarter + 45
        bars.append(
            Slab(material="Cu", at=sheet.places(hole.at + middle)[0], sides=size, turn_deg=turn, **heights)
        )
    return [barrel, relief, *bars]


def _cluster(board: Board) -> None:
    """Rows and columns of vias, here and there one missing."""
    random, need = board.random, 2 * board.land + board.layers[0].gap
    pitch = need * spread(random, 1.02, 3)
    most = int(np.clip(1.4 * board.sheet.reach_um / pitch, 3, 30))
    shape = random.integers(2, most + 1, 2)
    corner, share = board.sheet.anywhere(random) - (shape - 1) / 2 * pitch, between(random, 0.5, 1)
    levels = [level for level in range(1, len(board.layers) - 1) if chance(random, 0.4)]
    for cell in random.permutation(np.argwhere(np.ones(shape))):
        spot = corner + cell * pitch
        if board.budget > 0 and chance(random, share) and board.sheet.sees(spot, board.land):
            board.via(spot, levels)


def _microvias(board: Board) -> None:
    """Laser-drilled and filled vias of 75 to 125 um from layer to layer: single, stacked or staggered."""
    random, drill, land = board.random, board.drill, board.land
    board.drill = between(random, 37.5, 62.5)
    board.land = board.drill + between(random, 50, 90)
    last, aside = len(board.layers) - 1, 2 * board.land + board.layers[0].gap * 1.01
    for _ in range(int(random.integers(4, 40))):
        spot, first = board.sheet.anywhere(random), int(random.integers(min(last, 2)))
        end = min(first + int(random.integers(1, 4)), last)
        if board.budget <= 0:
            break
        if chance(random, 0.6):
            board.via(spot, range(first, end + 1), first=first, last=end)
            continue
        step = aside * _COURSES[int(random.integers(8))]
        for level in range(first, end):
            board.via(spot + (level - first) * step, [], first=level, last=level + 1)
    board.drill, board.land = drill, land


def _stray(board: Board) -> None:
    """A via by itself, as between two grounds."""
    board.via(board.sheet.anywhere(board.random), [])


def _repeat(board: Board, tries: tuple[int, int], draw: Callable[..., object], *levels: int) -> None:
    """Draw so often, on a large view more often, each time on one of the levels; no more when full."""
    more = (max(sqrt(board.view.height * board.view.width), 256) / 256) ** 0.7
    for _ in range(round(more * int(board.random.integers(tries[0], tries[1] + 1)))):
        if board.budget > 0:
            draw(board, *([int(board.random.choice(levels))] if levels else []))


def traces(random: Random, *, view: View) -> Scene:
    """Bundles of parallel traces on 2 to 8 layers: pairs, meanders, bends of 45 degrees and round ones."""
    board = _board(random, view, layers=(2, 8))
    for level in range(len(board.layers)):
        _repeat(board, (1, 5), _bundle, level)
    _repeat(board, (0, 8), _wander, 0)
    _repeat(board, (0, 25), _stray)
    return board.scene("traces")


def routing(random: Random, *, view: View) -> Scene:
    """Single traces from via to via on 2 to 6 layers, and the fan-out of a ball grid array with dog-bones."""
    board = _board(random, view, layers=(2, 6))
    if chance(random, 0.6):
        _ball_grid(board)
    count = len(board.layers)
    _repeat(board, (10, 110), _wander, *range(count))
    return board.scene("routing")


def planes(random: Random, *, view: View) -> Scene:
    """Copper planes with splits, clearances and thermal reliefs, or hatched, and a few traces above."""
    board = _board(random, view, layers=(3, 6))
    levels = range(1, len(board.layers) - 1)
    for level in levels:
        _repeat(board, (0, 1), _split, level)
    _repeat(board, (1, 4), _cluster)
    _repeat(board, (0, 50), _stray)
    _repeat(board, (0, 5), _bundle, 0, len(board.layers) - 1)
    for level in levels[int(random.integers(len(levels))) :]:
        _plane(board, level)
    return board.scene("planes")


def vias(random: Random, *, view: View) -> Scene:
    """Plated barrels in arrays, with lands on several layers; microvias, stacked, staggered or filled."""
    board = _board(random, view, layers=(2, 8), drills_px=(5, 30))
    _repeat(board, (1, 3), _cluster)
    if chance(random, 0.5):
        _microvias(board)
    _repeat(board, (0, 30), _stray)
    _repeat(board, (0, 12), _wander, *range(len(board.layers)))
    return board.scene("vias")


def dense_board(random: Random, *, view: View) -> Scene:
    """A multi-layer board as it comes: 4 to 10 layers of everything above, pads of parts, and marks."""
    board = _board(random, view, layers=(4, 10))
    count = len(board.layers)
    hidden = [level for level in range(1, count - 1) if level % 2 == 1 and chance(random, 0.6)]
    for level in hidden:
        _repeat(board, (0, 1), _split, level)
    free = [level for level in range(count) if level not in hidden]
    if chance(random, 0.5):
        _ball_grid(board)
    _repeat(board, (0, 2), _cluster)
    for level in random.permutation(free).tolist():
        _repeat(board, (2, 5), _bundle, level)
    _repeat(board, (5, 60), _wander, *free)
    _repeat(board, (0, 60), _stray)
    for level in hidden:
        _plane(board, level)
    if chance(random, 0.4):
        board.solids += marks(random, view, sheet=board.sheet, bottom_um=board.thickness / 2)
    return board.scene("dense_board")


BOARD_SCENES: Mapping[str, SceneKind] = {
    "traces": SceneKind(
        traces, (5.0, 80.0), "bundles of parallel traces, pairs and meanders on several layers"
    ),
    "routing": SceneKind(routing, (5.0, 80.0), "single traces from via to via, ball grid fan-out"),
    "planes": SceneKind(planes, (5.0, 80.0), "copper planes with clearances, thermal reliefs and splits"),
    "vias": SceneKind(vias, (3.0, 80.0), "arrays of plated barrels with lands, microvias"),
    "dense_board": SceneKind(dense_board, (5.0, 80.0), "4 to 10 layers of traces, vias and planes"),
}
