"""Image quality indicators: many small details of known contrast, for the limit of what an image shows.

Plates with holes (ASTM E1742, contrast-detail grids), wires in series and duplex wires (ISO 19232-1 and -5,
ASTM E2597), lines with opens, shorts and notches, raised or cut; alone or over something whose grey range is
wider than theirs. Contrasts are those of a beam of `GUIDE_KEV`: a hole of depth d in a material of
attenuation mu makes exp(mu d) - 1. Details lie on or in faces near z = 0; what they lie over ends there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import ceil, cos, hypot, log1p, pi, sin, sqrt
from typing import NamedTuple

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, as_places, reach_um, rotated
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cylinder,
    Ellipsoid,
    Place,
    Primitive,
    Scene,
    Slab,
    Track,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import linear_attenuation_per_um
from longexposure.simulation.scenes.components.conductors import parallel
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

GUIDE_KEV = 60.0
"""Energy at which contrasts are chosen."""

CONTRAST, FAINTEST = (0.003, 0.3), 0.1
"""Contrast of details; each scene begins at one of its own, log-uniform from the lower end to `FAINTEST`."""

HOLES_PX, WIRES_PX, LINES_PX, GAPS_PX, BRIDGES_PX = (
    (1.5, 12.0),
    (0.8, 4.0),
    (2.0, 8.0),
    (1.0, 4.0),
    (1.0, 3.0),
)
"""Sizes in pixels as seen at z = 0: diameters, widths of strips, gaps and opens, bridges."""

_DETAILS, _MOST = (20.0, 150.0), 600
"""How many details 320 x 320 px have; how many a scene has at the most."""

_PLATES = ("Al", "Cu", "Si", "FR-4", "Ni", "SAC305", "Sn63Pb37", "alumina", "Ag", "Au")
_WIRES = ("Al", "Cu", "Ni", "SAC305", "Ag", "Au")
_BULK = ("epoxy", "FR-4", "Si", "Al", "Cu", "SAC305", "Sn63Pb37", "Au")
_ASPECT = 40.0
"""Depth over width of the narrowest holes and ribs that are made, by deep lithography."""
_SERIES = 10**-0.1
"""Ratio of successive diameters in a series of wires, ISO 19232-1."""


@cache
def guide_mu(material: str) -> float:
    """Attenuation in 1/um at `GUIDE_KEV`."""
    return float(linear_attenuation_per_um(material, GUIDE_KEV))


def _of_contrast(material: str, contrast: float) -> float:
    return log1p(contrast) / guide_mu(material)


class _Bench:
    """A view and what it resolves: lengths of pixels, depths that it does not smear, places behind pixels."""

    def __init__(self, random: Random, view: View) -> None:
        self.random, self.view, self.pixel = random, view, view.pixel_um
        fraction = view.height * view.width / 320**2
        self.wanted = int(np.clip(round(uniform(random, *_DETAILS) * fraction), 3, _MOST))
        self.contrast = log_uniform(random, CONTRAST[0], FAINTEST), CONTRAST[1]
        corner = hypot(*view.extent_um) / 2 / view.source_um
        self.lean = max(hypot(*view.slope) + corner, 1 / _ASPECT)

    def size(self, px: tuple[float, float]) -> float:
        """A size in um, log-uniform between the two of `px`."""
        return log_uniform(self.random, *px) * self.pixel

    def deepest(self, wide: float) -> float:
        """Largest height of a detail so wide: no ray at the corners moves it by more than its width."""
        return min(wide / self.lean, 0.1 * self.view.source_um)

    def depth(self, material: str, deepest: float) -> float:
        """A depth, its contrast log-uniform in the scene's range, as far as the deepest reaches."""
        low, high = self.contrast
        most = min(float(np.expm1(deepest * guide_mu(material))), high)
        return min(_of_contrast(material, log_uniform(self.random, low, most)), deepest)

    def material(self, names: Sequence[str], wide: float, least: float = 0.02) -> str:
        """One of these that attenuates so much in the length, or the densest."""
        strong = [name for name in names if guide_mu(name) * wide >= least]
        return choice(self.random, strong or sorted(names, key=guide_mu)[-1:])

    def anywhere(self, inner: float = 1.0) -> Numbers:
        """(2,) um from the middle of the image, as seen in z = 0."""
        return self.random.uniform(-0.5, 0.5, 2) * self.view.extent_um * inner

    def places(self, image: Numbers, z: float) -> Numbers:
        """Places (N, 2) at this height that are seen where those of z = 0 are; z below the source."""
        leant = np.asarray(image, np.float64) - np.array(self.view.slope) * z
        return leant if np.isinf(self.view.source_um) else self._nearer(image, z)

    def _nearer(self, image: Numbers, z: float) -> Numbers:
        fraction = z / self.view.source_um
        return np.asarray(image, np.float64) * (1 - fraction) - np.array(self.view.slope) * z

    def place(self, image: Numbers, z: float) -> Place:
        """The same for one place (2,)."""
        return as_places(self.places(image.reshape(1, 2), z))[0]

    def all_over(self, material: str, bottom: float, top: float) -> Slab:
        """A slab that ends outside the image."""
        side = 2.4 * reach_um(self.view, max(abs(bottom), abs(top)))
        return Slab(material=material, at=(0.0, 0.0), sides=(side, side), bottom=bottom, top=top)


# ---- what details lie over ----------------------------------------------------------------------------


def _backing(bench: _Bench, top: float) -> tuple[str, list[Primitive]]:
    """Something larger that ends at this height, or nothing: its name and its primitives."""
    random = bench.random
    name = choice(random, ("none", "none", "none", *_BACKINGS, "step plate", "wedge"))
    if name == "none":
        return name, []
    tall = min(50 * bench.pixel / bench.lean, 400 * bench.pixel)
    material = bench.material(_BULK, tall, 0.5)
    thick = min(log_uniform(random, 0.2, 1.8) / guide_mu(material), tall)
    return name, list(_BACKINGS[name](bench, material, top, thick))


def _steps(bench: _Bench, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A step plate: slabs that begin one after the other, the first over all of it."""
    count, turn = integer(bench.random, 3, 8), part_angle_deg(bench.random)
    long = hypot(*bench.view.extent_um) * uniform(bench.random, 0.5, 1.1)
    side = 3 * reach_um(bench.view, thick + abs(top))
    for step in range(count):
        z = top - thick * step / count
        start = long * ((step + 0.5) / count - 0.5)
        at = bench.place(rotated(np.array([start, 0.0]), turn), z)
        middle = rotated(np.array([side / 2, 0.0]), turn, at).tolist()
        yield Slab(
            material=material,
            at=(middle[0], middle[1]),
            sides=(side, side),
            bottom=z - thick / count,
            top=z,
            turn_deg=turn,
        )


def _wedge(bench: _Bench, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A wedge across the image."""
    side = 3 * reach_um(bench.view, thick + abs(top))
    long = hypot(*bench.view.extent_um) * uniform(bench.random, 0.6, 1.5)
    at = bench.place(bench.anywhere(0.3), top - thick)
    turn = part_angle_deg(bench.random)
    yield Wedge(material=material, at=at, sides=(long, side), bottom=top - thick, top=top, turn_deg=turn)


def _dome(bench: _Bench, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A big ball, flattened to the thickness that the beam gets through, at times two."""
    for _ in range(integer(bench.random, 1, 2)):
        radius = min(bench.view.extent_um) * uniform(bench.random, 0.2, 0.6)
        half = min(thick / 2, radius)
        at = bench.place(bench.anywhere(0.8), top - half)
        yield Ellipsoid(material=material, at=(*at, top - half), radii=(radius, radius, half))


def _rod(bench: _Bench, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A thick cylinder that lies across the image."""
    radius = min(bench.view.extent_um) * uniform(bench.random, 0.1, 0.4)
    half, long = min(thick / 2, radius), 8 * reach_um(bench.view, thick + abs(top))
    at, turn = bench.place(bench.anywhere(0.6), top - half), part_angle_deg(bench.random)
    yield Ellipsoid(material=material, at=(*at, top - half), radii=(long, radius, half), turn_deg=turn)


def _edges(bench: _Bench, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """One to three sheets, each over the half of the image beyond a straight edge."""
    count = integer(bench.random, 1, 3)
    side = 3 * reach_um(bench.view, thick + abs(top))
    for level in range(count):
        z, turn = top - thick * level / count, part_angle_deg(bench.random)
        at = bench.place(bench.anywhere(0.7), z)
        x, y = rotated(np.array([side / 2, 0.0]), turn, at).tolist()
        heights = {"bottom": z - thick / count, "top": z}
        yield Slab(material=material, at=(x, y), sides=(side, side), turn_deg=turn, **heights)


_BACKINGS = {"step plate": _steps, "wedge": _wedge, "ball": _dome, "cylinder": _rod, "edges": _edges}
"""By the name in `facts`, how each is drawn: builder(bench, material, top, thick)."""


def _base(bench: _Bench) -> Slab:
    """A plate over all the image whose upper face is z = 0."""
    material = bench.material(_PLATES, bench.deepest(4 * bench.pixel))
    thick = min(log_uniform(bench.random, 0.05, 0.8) / guide_mu(material), 300 * bench.pixel)
    return bench.all_over(material, -thick, 0.0)


def _scene(
    kind: str,
    bench: _Bench,
    plates: Sequence[Slab],
    details: Sequence[Primitive],
    facts: Mapping[str, float | str],
) -> Scene:
    """Plates and details over a backing, with what every indicator tells of itself."""
    behind, larger = _backing(bench, min((plate.bottom for plate in plates), default=0.0))
    known: dict[str, float | str] = {}
    if plates:
        known = {"plate": plates[0].material, "plate_um": plates[0].top - plates[0].bottom}
    return Scene(kind, (), (*larger, *plates, *details), {"behind": behind, **known, **facts})


# ---- holes -------------------------------------------------------------------------------------------


class _Spot(NamedTuple):
    """Where a detail is seen, um from the middle, and its radius."""

    at: Numbers
    radius: float


class _Holes:
    """Plates with the details in and on them while they are drawn."""

    def __init__(self, bench: _Bench) -> None:
        self.bench = bench
        self.plates = [_base(bench)] if bernoulli(bench.random, 0.7) else []
        for _ in range(integer(bench.random, 0 if self.plates else 1, 3)):
            self.plates.append(self._plaque())
        self.primitives: list[Primitive] = []
        self.taken = np.zeros((0, 3))
        self.counts: Counter[str] = Counter(dict.fromkeys(("holes", "pores", "discs", "balls"), 0))

    def _plaque(self) -> Slab:
        """A thin plate of its own upon the others, as in ASTM E1742."""
        bench, random = self.bench, self.bench.random
        level = self.plates[-1].top if self.plates else 0.0
        material = bench.material(_PLATES, bench.deepest(4 * bench.pixel))
        thick = bench.depth(material, bench.deepest(8 * bench.pixel))
        side = min(bench.view.extent_um)
        sides = (side * uniform(random, 0.3, 0.9), side * uniform(random, 0.2, 0.7))
        at = bench.place(bench.anywhere(0.7), level)
        heights = {"bottom": level, "top": level + thick}
        return Slab(material=material, at=at, sides=sides, turn_deg=part_angle_deg(random), **heights)

    def below(self, spot: _Spot) -> tuple[Slab | None, bool]:
        """The highest plate that holds the spot, if any, and whether no edge crosses the spot."""
        for plate in reversed(self.plates):
            away = np.subtract(self.bench.place(spot.at, plate.top), plate.at)
            inside = np.array(plate.sides) / 2 - np.abs(rotated(away, -plate.turn_deg))
            if inside.min() > spot.radius:
                return plate, True
            if inside.min() > -spot.radius:
                return plate, False
        return None, True

    def add(self, spot: _Spot, room: float, kind: str | None = None) -> bool:
        """Put a detail there, if it stays this far from all others and no plate's edge crosses it."""
        away = np.hypot(*(self.taken[:, :2] - spot.at).T) - self.taken[:, 2]
        plate, clear = self.below(spot)
        if not clear or away.min(initial=np.inf) < spot.radius + room:
            return False
        kinds = ("discs", "balls") if plate is None else ("holes",) * 6 + ("pores", "discs", "discs", "balls")
        self._make(kind or choice(self.bench.random, kinds), spot, plate)
        self.taken = np.vstack([self.taken, [*spot.at, spot.radius]])
        return True

    def _make(self, kind: str, spot: _Spot, plate: Slab | None) -> None:
        bench, wide = self.bench, 2 * spot.radius
        top = plate.top if plate else 0.0
        at = bench.place(spot.at, top)
        if plate is not None and kind in ("holes", "pores"):
            if kind == "holes" or wide > plate.top - plate.bottom:
                kind, deep = "holes", self._deep(plate, wide)
                low = {"amount": -1.0, "bottom": max(top - deep, plate.bottom), "top": top}
                self.primitives.append(Cylinder(material=plate.material, at=at, radius=spot.radius, **low))
            else:
                low = {"amount": -1.0, "radius": spot.radius}
                self.primitives.append(Ball(material=plate.material, at=(*at, top - spot.radius), **low))
        elif kind == "discs" or top + wide > 0.1 * bench.view.source_um:
            kind, material = "discs", bench.material(_PLATES, bench.deepest(wide))
            high = top + bench.depth(material, bench.deepest(wide))
            self.primitives.append(
                Cylinder(material=material, at=at, radius=spot.radius, bottom=top, top=high)
            )
        else:
            wanted = log_uniform(bench.random, *bench.contrast)
            material = min(_PLATES, key=lambda name: abs(np.log(guide_mu(name) * wide / log1p(wanted))))
            self.primitives.append(Ball(material=material, at=(*at, top + spot.radius), radius=spot.radius))
        self.counts[kind] += 1

    def _deep(self, plate: Slab, wide: float) -> float:
        """Depth of a hole: through where that is a faint enough contrast, or any."""
        bench, thick = self.bench, plate.top - plate.bottom
        least = min(bench.deepest(wide), thick)
        if thick <= min(least, _of_contrast(plate.material, CONTRAST[1])) and bernoulli(bench.random, 0.5):
            return thick
        return bench.depth(plate.material, least)

    def grid(self) -> None:
        """Holes or discs in rows and columns, diameters falling along one axis, contrast by chance."""
        bench, random = self.bench, self.bench.random
        columns, rows = integer(random, 3, 8), integer(random, 2, 6)
        sizes = np.sort([bench.size(HOLES_PX) for _ in range(columns)])
        pitch = sizes[-1] + uniform(random, 4, 16) * bench.pixel
        middle, turn = bench.anywhere(0.8), part_angle_deg(random)
        kind = "holes" if bernoulli(random, 0.75) else "discs"
        for i in range(columns):
            for j in range(rows):
                cell = np.array([i - (columns - 1) / 2, j - (rows - 1) / 2]) * pitch
                spot = _Spot(rotated(cell, turn) + middle, float(sizes[i]) / 2)
                seen = bool(np.all(np.abs(spot.at) < np.array(bench.view.extent_um) / 2))
                if seen and len(self.taken) < bench.wanted:
                    self.add(spot, bench.pixel, kind if self.below(spot)[0] else "discs")

    def scatter(self) -> None:
        """Details anywhere, some of them touching the one before."""
        bench, random = self.bench, self.bench.random
        for _ in range(8 * bench.wanted):
            if len(self.taken) >= bench.wanted:
                return
            spot, room = (
                _Spot(bench.anywhere(), bench.size(HOLES_PX) / 2),
                uniform(random, 2, 12) * bench.pixel,
            )
            if len(self.taken) and bernoulli(random, 0.12):
                x, y, radius = self.taken[-1].tolist()
                heading = uniform(random, 0, 2 * pi)
                way = np.array([cos(heading), sin(heading)]) * (radius + spot.radius)
                spot, room = _Spot(np.array([x, y]) + way, spot.radius), -1e-6 * spot.radius
            self.add(spot, room)


def hole_iqi(random: Random, *, view: View) -> Scene:
    """Plates with blind and through holes, pores, raised discs and small balls, in grids and scattered."""
    bench = _Bench(random, view)
    holes = _Holes(bench)
    for _ in range(integer(random, 0, 3)):
        holes.grid()
    holes.scatter()
    facts = {**holes.counts, "plates": len(holes.plates)}
    return _scene("hole_iqi", bench, holes.plates, holes.primitives, facts)


# ---- wires -------------------------------------------------------------------------------------------


class _Strands:
    """Wires that lie on the face z = 0 while they are drawn."""

    def __init__(self, bench: _Bench) -> None:
        self.bench = bench
        self.primitives: list[Primitive] = []
        self.counts: Counter[str] = Counter({"wires": 0, "gaps": 0, "pairs": 0})

    @property
    def full(self) -> bool:
        return self.counts["wires"] + self.counts["gaps"] >= min(self.bench.wanted, 250)

    def material(self, diameter: float) -> str:
        """One that makes a contrast in reach, or what comes nearest to that."""
        low, high = (log1p(contrast) / diameter for contrast in (CONTRAST[0], 3 * CONTRAST[1]))
        fitting = [name for name in _WIRES if low <= guide_mu(name) <= high]
        nearest = min(_WIRES, key=lambda name: abs(np.log(guide_mu(name) / sqrt(low * high))))
        return choice(self.bench.random, fitting or [nearest])

    def wire(self, course: Numbers, diameter: float, material: str, broken: float = 0.4) -> None:
        """A wire along a course (N, 2) as seen, um, at times broken by gaps of `GAPS_PX`."""
        bench, random = self.bench, self.bench.random
        length = np.append(0.0, np.cumsum(np.hypot(*np.diff(course, axis=0).T)))
        cuts = []
        if bernoulli(random, broken):
            least, wide = 0.0, bench.size(GAPS_PX)
            for at in np.sort(random.uniform(0.1, 0.9, integer(random, 1, 3))) * length[-1]:
                half = (wide + diameter) / 2
                if at - half - least > diameter and length[-1] - at - half > diameter:
                    cuts.append((at - half, at + half))
                    least, wide = at + half + 4 * bench.pixel, bench.size(GAPS_PX)
        begins, ends = [0.0, *(end for _, end in cuts)], [*(begin for begin, _ in cuts), length[-1]]
        for begin, end in zip(begins, ends, strict=True):
            along = np.concatenate([[begin], length[(length > begin) & (length < end)], [end]])
            points = np.column_stack([np.interp(along, length, course[:, axis]) for axis in (0, 1)])
            level = np.full((len(points), 1), diameter / 2)
            line = np.hstack([bench.places(points, diameter / 2), level]).tolist()
            wire = Wire(material=material, points=tuple((x, y, z) for x, y, z in line), diameter=diameter)
            self.primitives.append(wire)
        self.counts.update(wires=1, gaps=len(cuts))

    def loose(self) -> None:
        """One wire at any angle, straight or gently curved, at times with a second one beside it."""
        bench, random = self.bench, self.bench.random
        long, turn = bench.size((15, 400)), uniform(random, 0, 360)
        along = np.linspace(-0.5, 0.5, 17 if bernoulli(random, 0.5) else 2)
        bow = uniform(random, -0.15, 0.15) * (1 - 4 * along**2) if len(along) > 2 else 0 * along
        course = rotated(np.stack([along, bow], axis=1) * long, turn) + bench.anywhere()
        diameter = bench.size(WIRES_PX)
        material = self.material(diameter)
        self.wire(course, diameter, material)
        if bernoulli(random, 0.25):
            self.wire(parallel(course, diameter + bench.size(GAPS_PX)), diameter, material)
            self.counts["pairs"] += 1

    def series(self, *, duplex: bool) -> None:
        """Straight parallel wires of falling diameter, or pairs of them whose gap falls with them."""
        bench, random = self.bench, self.bench.random
        count, long, turn = integer(random, 4, 8), bench.size((30, 220)), part_angle_deg(random)
        diameter = bench.size((1.6, WIRES_PX[1]))
        material, middle = self.material(diameter), bench.anywhere(0.8)
        gap, y = float(np.clip(diameter, *np.multiply(GAPS_PX, bench.pixel))), 0.0
        pitch = uniform(random, 6, 25) * bench.pixel
        for _ in range(count):
            for aside in (0.0, diameter + gap) if duplex else (0.0,):
                course = np.array([[-long / 2, y + aside], [long / 2, y + aside]])
                self.wire(rotated(course, turn) + middle, diameter, material, 0.1)
            self.counts["pairs"] += duplex
            y += pitch + (2 * diameter + gap if duplex else diameter)
            diameter = max(diameter * _SERIES, WIRES_PX[0] * bench.pixel)
            gap = max(gap * _SERIES, GAPS_PX[0] * bench.pixel)


def wire_iqi(random: Random, *, view: View) -> Scene:
    """Wires in series, in pairs and loose, whole and broken, in free air or on a plate."""
    bench = _Bench(random, view)
    strands = _Strands(bench)
    plates = [_base(bench)] if bernoulli(random, 0.5) else []
    while not strands.full:
        kind = random.random()
        if kind < 0.12:
            strands.series(duplex=kind < 0.06)
        else:
            strands.loose()
    return _scene("wire_iqi", bench, plates, strands.primitives, dict(strands.counts))


# ---- lines -------------------------------------------------------------------------------------------


class _Lines:
    """A set of parallel strips with their faults, raised above z = 0 or cut into the plate below.

    Faults have the other sign than strips: they take metal away, or leave it where a strip is cut.
    """

    def __init__(self, bench: _Bench, plate: Slab | None) -> None:
        self.bench, random = bench, bench.random
        self.width, self.gap = bench.size(LINES_PX), bench.size((1.5, 8.0))
        self.long, self.turn = bench.size((30, 180)), part_angle_deg(random)
        self.at, self.count = bench.anywhere(), integer(random, 2, 6)
        deepest = bench.deepest(2.5 * bench.pixel)
        cut = plate if plate is not None and bernoulli(random, 0.4) else None
        self.sign = -1.0 if cut else 1.0
        self.material = cut.material if cut else bench.material(_PLATES, deepest)
        thick = (cut.top - cut.bottom) / 4 if cut else deepest
        self.height = bench.depth(self.material, min(deepest, thick))
        self.low = -self.height if cut else 0.0
        self.primitives: list[Primitive] = []
        self.counts: Counter[str] = Counter()

    def _place(self, u: float, v: float) -> Place:
        x, y = rotated(np.array([u, v]), self.turn, self.bench.place(self.at, 0.0)).tolist()
        return x, y

    def box(self, u: float, v: float, sides: Place, *, strip: bool, fraction: float = 1.0) -> None:
        """A box in the set's axes, of the strips' sign or of the other, for a fraction of their height."""
        self.primitives.append(
            Slab(
                material=self.material,
                amount=self.sign if strip else -self.sign,
                at=self._place(u, v),
                sides=sides,
                turn_deg=self.turn,
                bottom=self.low,
                top=self.low + fraction * self.height,
            )
        )

    def draw(self) -> None:
        """All strips, straight or bent at both ends, and their faults."""
        random, pitch = self.bench.random, self.width + self.gap
        bent = log_uniform(random, 0.2, 0.6) * self.long if bernoulli(random, 0.3) else 0.0
        rise = bent * float(random.choice([-1.0, 1.0]))
        reach = self.long / 2
        course = np.array([[-reach - bent, rise], [-reach, 0], [reach, 0], [reach + bent, rise]])
        often = uniform(random, 0.1, 0.8)
        for number in range(self.count):
            v = (number - (self.count - 1) / 2) * pitch
            if bent:
                places = tuple(self._place(*point) for point in parallel(course, v).tolist())
                heights = {"bottom": self.low, "top": self.low + self.height, "amount": self.sign}
                self.primitives.append(
                    Track(material=self.material, points=places, width=self.width, **heights)
                )
            else:
                self.box(0.0, v, (self.long, self.width), strip=True)
            self.counts["strips"] += 1
            free = reach - 6 * self.bench.pixel - (0.45 * self.count * pitch if bent else 0.0)
            self._faults(v, free, often, last=number == self.count - 1)

    def _faults(self, v: float, free: float, often: float, *, last: bool) -> None:
        """Faults along a strip, well apart."""
        random = self.bench.random
        step = uniform(random, 12, 28) * self.bench.pixel
        for u in np.arange(-free + step * random.random(), free, step).tolist():
            if bernoulli(random, often):
                kinds = ("opens", "opens", "notches", "bites", "pinholes", "spurs")
                self._fault(choice(random, kinds if last else (*kinds, "shorts", "shorts")), u, v)

    def _fault(self, kind: str, u: float, v: float) -> None:
        bench, random, width = self.bench, self.bench.random, self.width
        side = float(random.choice([-1.0, 1.0]))
        fraction = 1.0 if bernoulli(random, 0.7) else uniform(random, 0.3, 1.0)
        if kind == "opens":
            self.box(u, v, (bench.size(GAPS_PX), width), strip=False, fraction=fraction)
        elif kind == "shorts":
            self.box(
                u,
                v + (width + self.gap) / 2,
                (bench.size(BRIDGES_PX), self.gap),
                strip=True,
                fraction=fraction,
            )
        elif kind == "spurs":
            long = self.gap * uniform(random, 0.3, 0.7)
            self.box(u, v + (width + long) / 2, (bench.size(BRIDGES_PX), long), strip=True, fraction=fraction)
        elif kind == "notches":
            deep = width * uniform(random, 0.3, 0.8)
            self.box(u, v + side * (width - deep) / 2, (bench.size(GAPS_PX), deep), strip=False)
        elif kind == "bites":
            self._bite(u, v, side)
        else:
            heights = {"bottom": self.low, "top": self.low + self.height, "amount": -self.sign}
            radius = width * uniform(random, 0.25, 0.48)
            self.primitives.append(
                Cylinder(material=self.material, at=self._place(u, v), radius=radius, **heights)
            )
        self.counts[kind] += 1

    def _bite(self, u: float, v: float, side: float) -> None:
        """Half a disc out of the strip's edge, in bars of half a pixel or so."""
        radius = min(self.bench.size((1.0, 3.5)), 0.85 * self.width)
        bars = int(np.clip(ceil(4 * radius / self.bench.pixel), 3, 8))
        for bar in range(bars):
            along = radius * ((2 * bar + 1) / bars - 1)
            deep = sqrt(radius**2 - along**2)
            at = v + side * (self.width - deep) / 2
            self.box(u + along, at, (2 * radius / bars, deep), strip=False)


def _hairline(bench: _Bench) -> Track:
    """A thin line across the image at any angle, gently bent, as faint as any detail."""
    width, random = bench.size((0.8, 1.6)), bench.random
    along, bow = np.linspace(-0.5, 0.5, 25), uniform(random, -0.1, 0.1)
    long = hypot(*bench.view.extent_um) * uniform(random, 0.3, 1.2)
    course = rotated(np.stack([along, bow * (1 - 4 * along**2)], axis=1) * long, uniform(random, 0, 360))
    deepest = bench.deepest(2 * bench.pixel)
    material = bench.material(_PLATES, deepest)
    high = bench.depth(material, deepest)
    places = as_places(bench.places(course + bench.anywhere(0.9), 0.0))
    return Track(material=material, points=places, width=width, bottom=0.0, top=high)


def line_iqi(random: Random, *, view: View) -> Scene:
    """Sets of strips, raised or cut, with opens, shorts, notches, bites, pinholes and spurs; hairlines."""
    bench = _Bench(random, view)
    plates = [_base(bench)] if bernoulli(random, 0.6) else []
    kinds = ("strips", "opens", "shorts", "spurs", "notches", "bites", "pinholes", "hairlines")
    counts: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    primitives: list[Primitive] = []
    while counts.total() < bench.wanted:
        lines = _Lines(bench, plates[0] if plates else None)
        lines.draw()
        primitives += lines.primitives
        counts.update(lines.counts)
    for _ in range(integer(random, 0, 4)):
        primitives.append(_hairline(bench))
        counts["hairlines"] += 1
    return _scene("line_iqi", bench, plates, primitives, dict(counts))
