"""Chips: vias through silicon, memory cells, redistribution layers and interposers.

Vias of 5 to 50 um at pitches of 10 to 200 um as in stacked memory and interposers (ITRS/IRDS); redistribution
lines of 2 to 20 um in copper 3 to 10 um thick (fan-out wafer level packages); dies thinned to 30 to 200 um.
Cells are drawn as lattices. A chip's upper face lies at z = 0 unless something is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot, pi

import numpy as np
import numpy.typing as npt

from longexposure.scenes.kind import SceneKind
from longexposure.scenes.layout import Mask, Numbers, Random, between, chance, spread, turned
from longexposure.scenes.marks import Sheet, lay, marks, rounded, seen
from longexposure.scenes.solids import Cylinder, Feature, Lattice, Scene, Slab, Solid, Track
from longexposure.scenes.view import View


class Conductors:
    """Traces and lands of several layers, in a part's own coordinates, and the clear distances from them."""

    def __init__(self) -> None:
        self._rows = np.zeros((256, 10))
        self.count = 0

    def add(self, points: Numbers, width: float, level: int) -> None:
        """Add a strip of this width along points (N, 2) on one level, a disc where N is 1."""
        self._append(segments(points, width, level))

    def add_discs(self, at: Numbers, radii: Numbers) -> None:
        """Add a disc at one place on every level; radii (levels,), 0 or less where there is none."""
        for level in np.flatnonzero(radii > 0).tolist():
            self._append(segments(at.reshape(1, 2), 2 * float(radii[level]), level))

    def clear_um(
        self, points: Numbers, width: float, level: int, *, within: float, ease: tuple[int, float] = (0, 0.0)
    ) -> float:
        """Clear distance of a strip to what is on its level, negative where they overlap, at most `within`.

        Args:
            points: of the strip, (N, 2).
            width: of the strip.
            level: where both lie.
            within: what is farther away does not count.
            ease: what came after so many pieces may be so much nearer.
        """
        mine, rows = segments(points, width, level), self._rows[: self.count]
        near = (rows[:, 5] == level) & _touching(_hull(mine), rows, within)
        eased = ease[1] * (np.flatnonzero(near) >= ease[0])
        return min(within, _least_um(mine, rows[near], within=within, eased=eased))

    def clear_of_discs_um(self, at: Numbers, radii: Numbers) -> float:
        """Least clear distance of discs at one place, one of these radii (levels,) on every level above 0."""
        rows = self._rows[: self.count]
        radius = radii[rows[:, 5].astype(int)]
        gaps = _to_segment(at, rows[:, :2], rows[:, 2:4]) - rows[:, 4] - radius
        return float(np.min(gaps[radius > 0], initial=np.inf))

    def _append(self, rows: Numbers) -> None:
        if self.count + len(rows) > len(self._rows):
            self._rows = np.vstack([self._rows, np.zeros((len(self._rows) + len(rows), 10))])
        self._rows[self.count : self.count + len(rows)] = rows
        self.count += len(rows)


def gaps_um(pieces: Sequence[Numbers], wanted: Sequence[int], *, within: float) -> list[float]:
    """Clear distances of strips to the nearest other one of their level.

    Args:
        pieces: of each strip its `segments`.
        wanted: which strips.
        within: what is farther away counts as infinitely far.
    """
    if not wanted:
        return []
    hulls = np.vstack([_hull(piece) for piece in pieces])
    found = []
    for index in wanted:
        near = _touching(hulls[index : index + 1], hulls, within) & (hulls[:, 5] == hulls[index, 5])
        near[index] = False
        others = [pieces[other] for other in np.flatnonzero(near).tolist()]
        least = _least_um(pieces[index], np.vstack(others), within=within) if others else np.inf
        found.append(least if least <= within else np.inf)
    return found


def joined_um(land: float, width: float) -> float:
    """How far from the middle of a land of this radius a line ends, so that both join evenly thick."""
    return land - width * width / (24 * land) + pi / 8 * width


def segments(points: Numbers, width: float, level: int) -> Numbers:
    """A strip's pieces, (M, 10): start, end, half width, level, and the box around."""
    start, end = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    found = np.empty((len(start), 10))
    found[:, :2], found[:, 2:4], found[:, 4], found[:, 5] = start, end, width / 2, level
    found[:, 6:8] = np.minimum(start, end) - width / 2
    found[:, 8:] = np.maximum(start, end) + width / 2
    return found


def _hull(rows: Numbers) -> Numbers:
    """One row whose box holds those of all rows."""
    found = rows[:1].copy()
    found[:, 6:8], found[:, 8:] = rows[:, 6:8].min(axis=0), rows[:, 8:].max(axis=0)
    return found


def _touching(one: Numbers, rows: Numbers, within: float) -> Mask:
    """Which boxes of rows (N, 10) come so near to the box of the one row (1, 10)."""
    low, high = rows[:, 6:8] - within, rows[:, 8:] + within
    inside = (one[:, 6:8] <= high) & (one[:, 8:] >= low)
    return inside[:, 0] & inside[:, 1]


def _least_um(mine: Numbers, rows: Numbers, *, within: float, eased: npt.ArrayLike = 0.0) -> float:
    """Least clear distance between two sets of pieces, inf where all are farther apart than `within`."""
    if not len(rows):
        return float("inf")
    mine = mine[_touching(_hull(rows), mine, within)]
    left, up, right, down = (rows[:, 6:] + within * np.array([-1, -1, 1, 1])).T
    own = mine[:, 6:, None]
    close = (own[:, 0] <= right) & (own[:, 2] >= left)
    close &= (own[:, 1] <= down) & (own[:, 3] >= up)
    first, second = np.nonzero(close)
    if not len(first):
        return float("inf")
    a, b = mine[first], rows[second]
    bonus = np.broadcast_to(eased, len(rows))[second]
    return float(np.min(_apart(a, b) - a[:, 4] - b[:, 4] + bonus))


def _apart(first: Numbers, second: Numbers) -> Numbers:
    """Distances (K,) of the middle lines of pieces (K, 10), pair by pair; 0 where they cross."""
    a, b, c, d = first[:, :2], first[:, 2:4], second[:, :2], second[:, 2:4]
    ends = ((a, c, d), (b, c, d), (c, a, b), (d, a, b))
    found = np.minimum.reduce([_to_segment(*three) for three in ends])
    crossing = (_side(a, c, d) * _side(b, c, d) < 0) & (_side(c, a, b) * _side(d, a, b) < 0)
    return np.where(crossing, 0.0, found)


def _to_segment(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    along, away = end - start, point - start
    squared = along[:, 0] ** 2 + along[:, 1] ** 2
    share = (along[:, 0] * away[:, 0] + along[:, 1] * away[:, 1]) / np.maximum(squared, 1e-12)
    rest = away - np.clip(share, 0, 1)[:, None] * along
    return np.hypot(rest[:, 0], rest[:, 1])


def _side(point: Numbers, start: Numbers, end: Numbers) -> Numbers:
    (x, y), (u, v) = (end - start).T, (point - start).T
    return x * v - y * u


def _die(sheet: Sheet, at: Numbers, sides: Numbers, *, bottom: float, top: float) -> Feature:
    """A slab of silicon."""
    place = sheet.places(at)[0]
    width, height = (float(side) for side in sides)
    slab = Slab(
        material="Si", at=place, sides=(width, height), turn_deg=sheet.turn_deg, bottom=bottom, top=top
    )
    about = {"width_um": width, "height_um": height, "turn_deg": sheet.turn_deg}
    return Feature(
        kind="die",
        at=(*place, (bottom + top) / 2),
        size_um=min(width, height),
        solids=(slab,),
        about={**about, "bottom_um": bottom, "top_um": top},
    )


def _any_die(random: Random, sheet: Sheet, *, bottom: float, top: float) -> Feature:
    """A die that fills the view, or whose edges are seen now and then."""
    wide = 2.4 * sheet.reach_um
    sides = wide * random.uniform(0.3, 1.2, 2) if chance(random, 0.4) else np.array([wide, wide])
    at = sheet.anywhere(random) * 0.5 if sides[0] < wide else np.zeros(2)
    return _die(sheet, at, sides, bottom=bottom, top=top)


def _through_via(
    sheet: Sheet, at: Numbers, *, radius: float, inner: float, bottom: float, top: float
) -> Feature:
    """Copper in place of silicon; with an inner radius a liner around a polymer core."""
    place, heights = sheet.places(at)[0], {"bottom": bottom, "top": top}
    copper = Cylinder(material="Cu", at=place, radius=radius, inner_radius=inner, **heights)
    hole = Cylinder(material="Si", amount=-1, at=place, radius=radius, **heights)
    core = [Cylinder(material="epoxy", at=place, radius=inner, **heights)] if inner else []
    return Feature(
        kind="via",
        at=(*place, (bottom + top) / 2),
        size_um=2 * radius,
        solids=(copper, hole, *core),
        about={"radius_um": radius, "bottom_um": bottom, "top_um": top},
    )


def _budget(view: View) -> int:
    """Solids that a scene may have, so that it is built in time."""
    return int(320 * max(1.0, (view.height * view.width) ** 0.5 / 256))


def tsv_array(random: Random, *, view: View) -> Scene:
    """Copper vias through thinned silicon in blocks and rows, at times annular, with pads or bumps."""
    radius = seen(random, view, um=(2.5, 25), px=(1.2, 8))
    pitch = float(np.clip(2 * radius * spread(random, 1.6, 5), 10, 200))
    deep = float(np.clip(2 * radius * between(random, 4, 10), 30, 200))
    inner = radius * between(random, 0.5, 0.75) if radius > 8 and chance(random, 0.3) else 0.0
    sheet = lay(random, view, height_um=deep)
    wide = np.full(2, 2.4 * sheet.reach_um + 2 * pitch)
    features = [_die(sheet, np.zeros(2), wide, bottom=-deep, top=0.0)]
    if chance(random, 0.4):
        features.append(_any_die(random, sheet, bottom=10.0, top=10.0 + deep))
    budget, step = _budget(view), np.array([pitch, pitch * float(random.choice([1.0, 1.0, 1.25, 0.866]))])
    blocks = _blocks(random, sheet, step)
    solids: list[Solid] = []
    for corner, shape in blocks:
        spots = corner + np.argwhere(np.ones(shape)) * step
        spots = spots[[sheet.sees(spot, radius) for spot in spots]] if len(spots) < 4 * budget else spots
        spots = spots[random.random(len(spots)) < between(random, 0.9, 1.1)]
        if len(spots) * 2 < budget:
            features += [
                _through_via(sheet, spot, radius=radius, inner=inner, bottom=-deep, top=0.0) for spot in spots
            ]
            budget -= 2 * len(spots)
        else:
            solids.append(_dots(sheet, (corner, shape, step), (2 * radius, -deep, 0.0), "Cu"))
        if chance(random, 0.6):
            solids.append(_dots(sheet, (corner, shape, step), _pad(random, radius, pitch), "Cu"))
        if chance(random, 0.3):
            solids.append(
                _dots(sheet, (corner, shape, step), (1.8 * radius, -deep - 0.8 * radius, -deep), "Sn")
            )
    facts = {"radius_um": radius, "pitch_um": pitch, "deep_um": deep, "turn_deg": sheet.turn_deg}
    return Scene("tsv_array", tuple(features), tuple(solids), facts)


def _pad(random: Random, radius: float, pitch: float) -> tuple[float, float, float]:
    return min(2.6 * radius, 0.8 * pitch), 0.0, spread(random, 2, 8)


def _dots(
    sheet: Sheet,
    rows: tuple[Numbers, Numbers, Numbers],
    dot: tuple[float, float, float],
    material: str,
) -> Lattice:
    """Equal round dots (diameter, bottom, top) in rows: their first place, numbers, steps along x and y."""
    corner, shape, step = rows
    middle = corner + (shape - 1) * step / 2
    sides = shape * step
    return Lattice(
        material=material,
        at=sheet.places(middle)[0],
        sides=(float(sides[0]), float(sides[1])),
        pitch=(float(step[0]), float(step[1])),
        cell=(dot[0], dot[0]),
        bottom=dot[1],
        top=dot[2],
        turn_deg=sheet.turn_deg,
        pattern="dot",
    )


def _blocks(random: Random, sheet: Sheet, step: Numbers) -> list[tuple[Numbers, Numbers]]:
    """First places, numbers of columns and rows: one block over all, a few rows, or blocks and streets."""
    whole, kind = 2 * sheet.reach_um / step, random.random()
    if kind < 0.3:
        size, count = np.ceil(whole), np.array([1, 1])
    elif kind < 0.55:
        size, count = (
            np.array([np.ceil(whole[0]), random.integers(2, 9)]),
            np.array([1, random.integers(1, 4)]),
        )
    else:
        size = random.integers(4, np.maximum(whole * 0.6, 5).astype(int) + 1).astype(np.float64)
        count = np.clip(np.ceil(whole / (size + 2)), 1, 5).astype(int)
    stride = (size + spread(random, 1, 8)) * step
    first = -(count - 1) / 2 * stride - (size - 1) / 2 * step + random.uniform(-0.5, 0.5, 2) * step
    cells = np.argwhere(np.ones(count.astype(int)))
    return [(first + cell * stride, size.astype(int)) for cell in cells]


def memory_cells(random: Random, *, view: View) -> Scene:
    """Periodic cells in blocks between stripes of amplifiers, with lines, dummy fill and a power mesh on top.

    Up to eight thinned dies lie upon one another as in stacked memory; the metal of all is drawn as one.
    """
    sheet, dies = lay(random, view, height_um=50.0), int(random.integers(1, 9))
    pitch = np.array([seen(random, view, um=(0.1, 60), px=(3, 30)) for _ in range(2)])
    if chance(random, 0.4):
        pitch[1] = pitch[0]
    cells = np.array([random.integers(12, 65), random.integers(12, 65)])
    block, street = cells * pitch, random.uniform(1.5, 6, 2) * pitch
    metal = float(np.clip(pitch.min() * between(random, 0.2, 0.8), 0.1, 4)) * dies
    stride, count = block + street, np.clip(2 * sheet.reach_um / (block + street) + 1, 1, 6).astype(int)
    first = -(count - 1) / 2 * stride + random.uniform(-0.5, 0.5, 2) * stride
    looks = _cell_layers(random, pitch, metal)
    features, solids = [], list[Solid]()
    for place in np.argwhere(np.ones(count)):
        at = first + place * stride
        if sheet.sees(at, float(np.hypot(*block)) / 2):
            features.append(_cell_block(sheet, at, block, looks))
            solids += _stripes(sheet, at, block, street, (pitch, metal))
    wide = np.full(2, 2.2 * sheet.reach_um)
    solids += _mesh(random, sheet, wide, pitch, metal)
    if chance(random, 0.4):
        solids += marks(random, view, sheet=sheet, bottom_um=metal)
    die = _die(sheet, np.zeros(2), wide, bottom=-50.0 * dies, top=0.0)
    facts = {"pitch_um": float(pitch.min()), "metal_um": metal, "dies": dies, "turn_deg": sheet.turn_deg}
    return Scene("memory_cells", (die, *features), tuple(solids), facts)


_Look = tuple[Numbers, Numbers, str, float, float, float]
"""Pitch, cell, pattern, stagger, bottom and top of one layer of a cell."""


def _cell_layers(random: Random, pitch: Numbers, metal: float) -> list[_Look]:
    """What a cell is made of: a blob or two, bit lines along y, word lines along x."""
    pattern = "dot" if chance(random, 0.4) else "block"
    stagger = 0.5 if chance(random, 0.4) else 0.0
    found = [(pitch, pitch * random.uniform(0.35, 0.7, 2), pattern, stagger, 0.0, metal)]
    if chance(random, 0.6):
        every = pitch * [float(random.choice([1, 1, 2])), 0.0] + [0.0, 1e5]
        found.append((every, every * [between(random, 0.25, 0.5), 0.999], "block", 0.0, metal, 1.6 * metal))
    if chance(random, 0.6):
        every = pitch * [0.0, float(random.choice([1, 2, 2]))] + [1e5, 0.0]
        found.append(
            (every, every * [0.999, between(random, 0.25, 0.5)], "block", 0.0, 1.7 * metal, 2.2 * metal)
        )
    if chance(random, 0.3):
        found.append((pitch * 2, pitch * 0.6, "dot", 0.0, 2.3 * metal, 3 * metal))
    return found


def _cell_block(sheet: Sheet, at: Numbers, sides: Numbers, looks: Sequence[_Look]) -> Feature:
    place, (width, height) = sheet.places(at)[0], sides.tolist()
    layers = tuple(_lattice(sheet, at, sides, look) for look in looks)
    about = {"width_um": width, "height_um": height, "turn_deg": sheet.turn_deg}
    top = max(layer.top for layer in layers)
    return Feature(
        kind="cell block",
        at=(*place, top / 2),
        size_um=min(width, height),
        solids=layers,
        about={**about, "bottom_um": 0.0, "top_um": top},
    )


def _lattice(sheet: Sheet, at: Numbers, sides: Numbers, look: _Look) -> Lattice:
    """Cells in a rectangle; along an axis whose pitch is longer than the rectangle they are bars."""
    pitch, cell, pattern, stagger, bottom, top = look
    cell = np.where(pitch > sides, sides * 0.9999, cell)
    return Lattice(
        material="Cu",
        at=sheet.places(at)[0],
        sides=(float(sides[0]), float(sides[1])),
        pitch=(float(pitch[0]), float(pitch[1])),
        cell=(float(cell[0]), float(cell[1])),
        bottom=bottom,
        top=top,
        turn_deg=sheet.turn_deg,
        pattern="dot" if pattern == "dot" else "mesh" if pattern == "mesh" else "block",
        stagger=stagger,
    )


def _stripes(
    sheet: Sheet, at: Numbers, block: Numbers, street: Numbers, cell: tuple[Numbers, float]
) -> list[Solid]:
    """Sense amplifiers below a block and word line drivers beside it: coarser cells, denser metal."""
    pitch, metal = cell
    found: list[Solid] = []
    for axis in (0, 1):
        sides = np.where(np.arange(2) == axis, street * 0.75, block)
        every = np.where(np.arange(2) == axis, street * 0.37, 2 * pitch)
        middle = at + np.where(np.arange(2) == axis, (block + street) / 2, 0.0)
        if np.all(sides > 0.7 * every):
            found.append(_lattice(sheet, middle, sides, (every, 0.7 * every, "block", 0.0, 0.0, 1.3 * metal)))
    return found


def _mesh(random: Random, sheet: Sheet, wide: Numbers, pitch: Numbers, metal: float) -> list[Solid]:
    """Power mesh, at times two of them, and dummy fill between its bars."""
    found: list[Solid] = []
    for level in range(int(random.integers(0, 3))):
        every = pitch * random.integers(5, 20, 2) * 1.03
        look = (
            every,
            every * between(random, 0.1, 0.3),
            "mesh",
            0.0,
            (3 + level) * metal,
            (4 + level) * metal,
        )
        found.append(_lattice(sheet, np.zeros(2), wide, look))
    if chance(random, 0.3):
        every = pitch * between(random, 1.1, 2.7)
        sides, at = wide * random.uniform(0.1, 0.5, 2), sheet.anywhere(random)
        found.append(_lattice(sheet, at, sides, (every, every * 0.6, "block", 0.5, 2 * metal, 2.5 * metal)))
    return found


class _Wiring:
    """Lines and pads of redistribution while they are drawn."""

    def __init__(self, random: Random, view: View) -> None:
        self.random, self.view = random, view
        self.width = seen(random, view, um=(2, 20), px=(1.5, 7))
        self.gap = float(np.clip(self.width * between(random, 0.9, 2), 2, 30))
        self.thick = float(np.clip(self.width * between(random, 0.5, 1.2), 3, 10))
        self.sheet = lay(random, view, height_um=60.0)
        self.copper, self.budget = Conductors(), _budget(view) // 2
        self.lines: list[tuple[Numbers, int]] = []
        self.pads: list[Solid] = []

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
        bend = between(self.random, 1, 6) * self.width
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
            solids=(track,),
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
    near = (width + gap) * spread(random, 1.5, 3)
    far = near * spread(random, 1.1, 4)
    count = min(int(random.integers(4, 40)), max(2, int(2.4 * wiring.sheet.reach_um / near)))
    small, large = (near - gap) / 2 * between(random, 0.5, 0.95), (far - gap) / 2 * between(random, 0.4, 0.9)
    rank = np.arange(count) - (count - 1) / 2
    shift = np.abs(rank) * (far - near)
    leave = near + (np.abs(rank).max() - np.abs(rank)) * near * 0.42
    depth = float((leave + shift).max()) + spread(random, 1, 10) * far
    turn = int(random.integers(4)) * 90 + float(random.choice([0.0, 0.0, 45.0]))
    middle = wiring.sheet.anywhere(random, wiring.heights(level)[0]) - turned(
        np.array([0.0, depth / 2]), turn
    )
    for k in random.permutation(count).tolist():
        x, wide = rank[k] * near, rank[k] * far
        course = np.array([[x, 0], [x, leave[k]], [wide, leave[k] + shift[k]], [wide, depth]])
        course = course[np.r_[True, np.hypot(*np.diff(course, axis=0).T) > 0.01 * width]]
        points = turned(course, turn) + middle
        wiring.line(points, level, (small, large))


def _strand(wiring: _Wiring, level: int) -> None:
    """A single line from pad to pad in legs of 45 degrees."""
    random, radius = wiring.random, wiring.width * between(wiring.random, 1, 4)
    courses = (int(random.integers(8)) + np.cumsum(random.integers(-1, 2, int(random.integers(2, 6))))) * 45.0
    legs = [
        turned(np.array([2.5 * radius + spread(random, 4, 60) * wiring.width, 0.0]), turn) for turn in courses
    ]
    points = wiring.sheet.anywhere(random) + np.vstack([np.zeros((1, 2)), np.cumsum(legs, axis=0)])
    wiring.line(points, level, (radius, radius))


def _coil(wiring: _Wiring, level: int) -> None:
    """A spiral inductor of octagonal turns."""
    random, pitch = wiring.random, wiring.width + wiring.gap
    turns = int(random.integers(2, 7))
    angle = np.arange(8 * turns + 1) * 45.0
    radius = pitch * (spread(random, 2, 8) + angle / 360)
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
        at, radius = wiring.sheet.anywhere(random), wiring.width * spread(random, 1.5, 8)
        if wiring.fits(at[None], 2 * radius, levels - 1):
            wiring.pad(at, radius, levels - 1)
    die = _any_die(random, wiring.sheet, bottom=-between(random, 50, 300), top=0.0)
    solids = list(wiring.pads)
    if chance(random, 0.3):
        solids += marks(random, view, sheet=wiring.sheet, bottom_um=wiring.heights(levels)[0])
    facts = {"width_um": wiring.width, "gap_um": wiring.gap, "levels": levels, "copper_um": wiring.thick}
    return Scene("redistribution", (die, *wiring.features()), tuple(solids), facts)


def interposer(random: Random, *, view: View) -> Scene:
    """Two dies side by side on micro-bumps above silicon with vias, lines across the street between."""
    wiring = _Wiring(random, view)
    sheet, pitch = wiring.sheet, seen(random, view, um=(20, 60), px=(4, 14))
    deep, reach = between(random, 60, 120), wiring.sheet.reach_um
    street, corner = spread(random, 1.5, 8) * pitch, 0.4 * sheet.anywhere(random)
    wide = np.full(2, 2.4 * reach)
    base = _die(sheet, np.zeros(2), wide, bottom=-deep, top=0.0)
    solids, dies, high = list[Solid](), list[Feature](), between(random, 50, 400)
    sides = np.where(random.random(2) < 0.5, 1.2 * reach, reach * random.uniform(0.4, 1, 2))
    for side in (-1, 1):
        at = corner + np.array([side * (sides[0] + street) / 2, between(random, -0.1, 0.1) * sides[1]])
        dies.append(_die(sheet, at, sides, bottom=35.0, top=35.0 + high))
        shape = np.maximum(((sides - pitch) / pitch).astype(int), 1)
        first = at - (shape - 1) * pitch / 2
        for material, share, bottom, top in (("Cu", 0.5, 10.0, 22.0), ("Sn", 0.52, 22.0, 35.0)):
            dot = (share * pitch, bottom, top)
            solids.append(_dots(sheet, (first, shape, np.full(2, pitch)), dot, material))
    coarse = pitch * spread(random, 2, 4)
    shape = np.full(2, int(2.2 * reach / coarse) + 1)
    first = -(shape - 1) * coarse / 2
    radius = float(np.clip(0.12 * coarse, 2.5, 25))
    solids.append(_dots(sheet, (first, shape, np.full(2, coarse)), (2 * radius, -deep, 0.0), "Cu"))
    solids.append(_dots(sheet, (first, shape, np.full(2, coarse)), (0.55 * coarse, -deep - 6, -deep), "Cu"))
    _crossing(wiring, corner, street, pitch, sides)
    facts = {"bump_pitch_um": pitch, "via_pitch_um": coarse, "width_um": wiring.width, "street_um": street}
    return Scene("interposer", (base, *dies, *wiring.features()), tuple(solids), facts)


def _crossing(wiring: _Wiring, corner: Numbers, street: float, pitch: float, sides: Numbers) -> None:
    """Bundles of lines from die to die."""
    random, step = wiring.random, wiring.width + wiring.gap
    for level in range(int(random.integers(1, 3))):
        half, start = street / 2 + spread(random, 1, 6) * pitch, -0.4 * sides[1] * between(random, 0.3, 1)
        for k in range(int(random.integers(8, 160))):
            y = start + step * (k + k // int(random.integers(7, 9)))
            if y < 0.45 * sides[1]:
                bend = np.array([[-half, y], [half, y]]) + corner
                wiring.line(bend, level)


SILICON_SCENES: Mapping[str, SceneKind] = {
    "tsv_array": SceneKind(tsv_array, (0.5, 12.0), "copper vias through thinned silicon, with pads"),
    "memory_cells": SceneKind(memory_cells, (0.1, 8.0), "blocks of periodic cells, lines, power mesh"),
    "redistribution": SceneKind(redistribution, (0.5, 8.0), "fan-out lines with pads and coils"),
    "interposer": SceneKind(interposer, (1.0, 12.0), "dies on micro-bumps above vias, lines between them"),
}
