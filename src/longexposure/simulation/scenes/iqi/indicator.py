"""What an indicator's details are drawn on: what the view resolves, contrasts, plates, and what lies below.

Contrasts are those of a beam of `GUIDE_KEV`: a hole of depth d in a material of attenuation mu makes
exp(mu d) - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import hypot, log1p

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, as_places, reach_um, rotated
from longexposure.simulation.geometry.primitives import Ellipsoid, Place, Primitive, Scene, Slab, Wedge
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import linear_attenuation_per_um
from longexposure.simulation.scenes.draws import (
    Random,
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

GAPS_PX = (1.0, 4.0)
"""Sizes of gaps and opens, in pixels as seen at z = 0."""

PLATES = ("Al", "Cu", "Si", "FR-4", "Ni", "SAC305", "Sn63Pb37", "alumina", "Ag", "Au")
"""Materials of plates and of details."""

_BULK = ("epoxy", "FR-4", "Si", "Al", "Cu", "SAC305", "Sn63Pb37", "Au")
_DETAILS, _MOST = (20.0, 150.0), 600
"""How many details 320 x 320 px have; how many a scene has at the most."""
_ASPECT = 40.0
"""Depth over width of the narrowest holes and ribs that are made, by deep lithography."""


@cache
def guide_mu(material: str) -> float:
    """Attenuation in 1/um at `GUIDE_KEV`."""
    return float(linear_attenuation_per_um(material, GUIDE_KEV))


def depth_of_um(material: str, contrast: float) -> float:
    """Depth of a hole that makes this contrast."""
    return log1p(contrast) / guide_mu(material)


class Indicator:
    """An indicator while it is drawn: what its view resolves and does not smear, contrasts, places."""

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
        return min(depth_of_um(material, log_uniform(self.random, low, most)), deepest)

    def material(self, names: Sequence[str], wide: float, least: float = 0.02) -> str:
        """One of these that attenuates so much in the length, or the densest."""
        dense = [name for name in names if guide_mu(name) * wide >= least]
        return choice(self.random, dense or sorted(names, key=guide_mu)[-1:])

    def anywhere(self, inner: float = 1.0) -> Numbers:
        """(2,) um from the middle of the image, as seen in z = 0."""
        return self.random.uniform(-0.5, 0.5, 2) * self.view.extent_um * inner

    def places(self, image: Numbers, z: float) -> Numbers:
        """Places (N, 2) at this height that are seen where those of z = 0 are; z below the source."""
        nearer = np.asarray(image, np.float64) * (1 - z / self.view.source_um)
        return np.asarray(nearer - np.array(self.view.slope) * z)

    def place(self, image: Numbers, z: float) -> Place:
        """The same for one place (2,)."""
        return as_places(self.places(image.reshape(1, 2), z))[0]

    def base(self) -> Slab:
        """A plate over all the image whose upper face is z = 0."""
        material = self.material(PLATES, self.deepest(4 * self.pixel))
        thick = min(log_uniform(self.random, 0.05, 0.8) / guide_mu(material), 300 * self.pixel)
        side = 2.4 * reach_um(self.view, thick)
        return Slab(material=material, at=(0.0, 0.0), sides=(side, side), bottom=-thick, top=0.0)

    def scene(
        self,
        kind: str,
        plates: Sequence[Slab],
        details: Sequence[Primitive],
        facts: Mapping[str, float | str],
    ) -> Scene:
        """Plates and details over a backing, with what every indicator tells of itself."""
        top = min((plate.bottom for plate in plates), default=0.0)
        behind, backing = (
            choice(self.random, ("none", "none", "none", *BACKINGS, "step plate", "wedge")),
            list[Primitive](),
        )
        if behind in BACKINGS:
            tall = min(50 * self.pixel / self.lean, 400 * self.pixel)
            material = self.material(_BULK, tall, 0.5)
            thick = min(log_uniform(self.random, 0.2, 1.8) / guide_mu(material), tall)
            backing += BACKINGS[behind](self, material, top, thick)
        known: dict[str, float | str] = {"behind": behind}
        if plates:
            known |= {"plate": plates[0].material, "plate_um": plates[0].top - plates[0].bottom}
        return Scene(kind, (), (*backing, *plates, *details), {**known, **facts})


def step_plate(iqi: Indicator, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """Slabs that begin one after the other, the first over all of it."""
    count, turn = integer(iqi.random, 3, 8), part_angle_deg(iqi.random)
    long = hypot(*iqi.view.extent_um) * uniform(iqi.random, 0.5, 1.1)
    for step in range(count):
        z = top - thick * step / count
        start = rotated(np.array([long * ((step + 0.5) / count - 0.5), 0.0]), turn)
        heights = (z - thick / count, z)
        yield _half_plane(iqi, material, start, turn, heights=heights, deep=thick + abs(top))


def edges(iqi: Indicator, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """One to three sheets, each over the half of the image beyond a straight edge."""
    count = integer(iqi.random, 1, 3)
    for level in range(count):
        z, turn = top - thick * level / count, part_angle_deg(iqi.random)
        start = iqi.anywhere(0.7)
        heights = (z - thick / count, z)
        yield _half_plane(iqi, material, start, turn, heights=heights, deep=thick + abs(top))


def _half_plane(
    iqi: Indicator, material: str, start: Numbers, turn_deg: float, *, heights: Place, deep: float
) -> Slab:
    """A slab (bottom, top) from a straight edge, seen at `start`, to beyond the image."""
    side = 3 * reach_um(iqi.view, deep)
    x, y = rotated(np.array([side / 2, 0.0]), turn_deg, iqi.place(start, heights[1])).tolist()
    bottom, top = heights
    return Slab(material=material, at=(x, y), sides=(side, side), bottom=bottom, top=top, turn_deg=turn_deg)


def wedge(iqi: Indicator, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A wedge across the image."""
    side = 3 * reach_um(iqi.view, thick + abs(top))
    long = hypot(*iqi.view.extent_um) * uniform(iqi.random, 0.6, 1.5)
    at = iqi.place(iqi.anywhere(0.3), top - thick)
    turn = part_angle_deg(iqi.random)
    yield Wedge(material=material, at=at, sides=(long, side), bottom=top - thick, top=top, turn_deg=turn)


def dome(iqi: Indicator, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A big ball, flattened to the thickness that the beam gets through, at times two."""
    for _ in range(integer(iqi.random, 1, 2)):
        radius = min(iqi.view.extent_um) * uniform(iqi.random, 0.2, 0.6)
        half = min(thick / 2, radius)
        at = iqi.place(iqi.anywhere(0.8), top - half)
        yield Ellipsoid(material=material, at=(*at, top - half), radii=(radius, radius, half))


def rod(iqi: Indicator, material: str, top: float, thick: float) -> Iterator[Primitive]:
    """A thick cylinder that lies across the image."""
    radius = min(iqi.view.extent_um) * uniform(iqi.random, 0.1, 0.4)
    half, long = min(thick / 2, radius), 8 * reach_um(iqi.view, thick + abs(top))
    at, turn = iqi.place(iqi.anywhere(0.6), top - half), part_angle_deg(iqi.random)
    yield Ellipsoid(material=material, at=(*at, top - half), radii=(long, radius, half), turn_deg=turn)


BACKINGS = {"step plate": step_plate, "wedge": wedge, "ball": dome, "cylinder": rod, "edges": edges}
"""What is larger than the details and lies below them, by its name in `facts`."""
