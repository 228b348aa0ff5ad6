"""Primitives: what a scene is made of. Plain data in um; `thickness.py` finds the rays' paths through them.

Each has a `material` (a name of `physics.materials`) and an `amount`: 1 for material that is there, -1 for
material that is taken away, as by a void. z is the height above the plane of the part, `bottom` and `top` are
heights, `at` is a place (x, y) or (x, y, z), and `turn_deg` turns about z, from x towards y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal, get_args

from longexposure.errors import RecipeError

Place = tuple[float, float]
Point = tuple[float, float, float]


_LENGTHS = {"radius", "radii", "sides", "width", "diameter", "pitch", "cell", "period", "roughness"}
"""Fields that must be above 0."""

_NOT_NEGATIVE = {"mean", "rms", "seed"}
"""Fields that must be 0 or more."""

_DEPTHS = {"at": 1, "sides": 1, "radii": 1, "pitch": 1, "cell": 1, "period": 1, "points": 2}
"""Fields that are tuples of numbers, or of places."""


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """Checks that all primitives share: finite numbers, lengths above 0, a top above the bottom."""

    material: str
    amount: float = 1.0

    def __post_init__(self) -> None:
        for name, depth in _NUMBERS[type(self)]:
            value = getattr(self, name)
            if depth == 0:
                finite, least = isfinite(value), value
            elif depth == 1:
                finite, least = isfinite(sum(value)), min(value)
            else:
                if len(value) == 0:
                    self._refuse(name, "one point or more", value)
                finite, least = isfinite(sum(map(sum, value))), 1.0
            if not finite:
                self._refuse(name, "finite numbers", value)
            if name in _LENGTHS and not least > 0:
                self._refuse(name, "lengths above 0 um", value)
            if name in _NOT_NEGATIVE and least < 0:
                self._refuse(name, "0 or more", value)
        bottom, top = getattr(self, "bottom", None), getattr(self, "top", None)
        if bottom is not None and top is not None and not top > bottom:
            self._refuse("top", f"a height above the bottom, {bottom:g} um", top)

    def _refuse(self, name: str, expected: str, found: object) -> None:
        raise RecipeError(
            where=f"{type(self).__name__.lower()}, {name}",
            expected=expected,
            found=str(found),
            advice="correct the dimensions of the part",
        )


@dataclass(frozen=True, kw_only=True)
class Ball(_Checked):
    """A sphere cut off below `bottom` and above `top`: a ball, a bump, a void."""

    at: Point
    radius: float
    bottom: float = -1e9
    top: float = 1e9

    @property
    def radii(self) -> Point:
        """As of an ellipsoid."""
        return self.radius, self.radius, self.radius


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(_Checked):
    """An ellipsoid with half axes `radii` (along its own x, y and z), cut off like a ball."""

    at: Point
    radii: Point
    turn_deg: float = 0.0
    bottom: float = -1e9
    top: float = 1e9

    @property
    def radius(self) -> float:
        """Half axis along its own x, the radius of a round one as seen from above."""
        return self.radii[0]


@dataclass(frozen=True, kw_only=True)
class Cylinder(_Checked):
    """An upright cylinder; with `inner_radius` a tube, such as the barrel of a via."""

    at: Place
    radius: float
    bottom: float
    top: float
    inner_radius: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.inner_radius < self.radius:
            self._refuse("inner_radius", f"0 to below the radius, {self.radius:g} um", self.inner_radius)


@dataclass(frozen=True, kw_only=True)
class Cone(_Checked):
    """An upright frustum of a cone, of different radii at the bottom and at the top, not both 0."""

    at: Place
    bottom_radius: float
    top_radius: float
    bottom: float
    top: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.bottom_radius, self.top_radius) < 0 or self.bottom_radius == self.top_radius:
            found = (self.bottom_radius, self.top_radius)
            self._refuse("radii", "two different radii of 0 um or more", found)

    @property
    def radius(self) -> float:
        """The larger of both radii, as seen from above."""
        return max(self.bottom_radius, self.top_radius)


@dataclass(frozen=True, kw_only=True)
class Slab(_Checked):
    """An upright box with `sides` along its own x and y: a die, a pad, a body, a plane."""

    at: Place
    sides: Place
    bottom: float
    top: float
    turn_deg: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Wedge(_Checked):
    """A slab whose top falls from `top` at its own -x side to `bottom` at its +x side: a solder fillet."""

    at: Place
    sides: Place
    bottom: float
    top: float
    turn_deg: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Track(_Checked):
    """A flat strip of one width along a line of places, round at its ends and corners: a trace, a stroke.

    Where it crosses itself it is no thicker. It is closed where its last point is its first.
    """

    points: tuple[Place, ...]
    width: float
    bottom: float
    top: float


@dataclass(frozen=True, kw_only=True)
class Wire(_Checked):
    """A round wire with round ends along a line of points in space; at its bends it is no thicker.

    It is closed where its last point is its first.
    """

    points: tuple[Point, ...]
    diameter: float


@dataclass(frozen=True, kw_only=True)
class Lattice(_Checked):
    """Equal cells in rows and columns within a rectangle: memory, a mesh, dummy fill.

    Attributes:
        at, sides, turn_deg: the rectangle, the cells turn with it.
        pitch: from cell to cell, along its own x and y.
        cell: size of a cell along x and y; of a dot, its diameters; of a mesh, the width of its bars.
        pattern: upright blocks, round dots, or a mesh of crossing bars.
        stagger: shift of every second row along x, as a fraction of the pitch.
    """

    at: Place
    sides: Place
    pitch: Place
    cell: Place
    bottom: float
    top: float
    turn_deg: float = 0.0
    pattern: Literal["block", "dot", "mesh"] = "block"
    stagger: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern not in {"block", "dot", "mesh"}:
            self._refuse("pattern", "block, dot or mesh", self.pattern)


@dataclass(frozen=True, kw_only=True)
class Weave(_Checked):
    """Glass cloth in laminate: warp and weft as a thickness that varies about its mean, all over the image.

    Attributes:
        period: distance of the yarns along x and y.
        mean: mean thickness along z.
        swing: largest deviation of the thickness from the mean, at most the mean.
        seed: of the yarns' unevenness.
    """

    period: Place
    mean: float
    swing: float
    turn_deg: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.swing <= self.mean:
            self._refuse("swing", f"0 to the mean thickness, {self.mean:g} um", self.swing)


@dataclass(frozen=True, kw_only=True)
class Grain(_Checked):
    """Random texture of the material itself, all over the image: filler in mould compound, rough copper.

    Attributes:
        mean: mean thickness along z.
        rms: standard deviation of the thickness.
        roughness: correlation length, the sigma of the Gaussian that smooths white noise.
        seed: of the noise.
    """

    mean: float
    rms: float
    roughness: float
    seed: int = 0


Primitive = Ball | Ellipsoid | Cylinder | Cone | Slab | Wedge | Track | Wire | Lattice | Weave | Grain

_NUMBERS: dict[type, list[tuple[str, int]]] = {
    kind: [
        (field.name, _DEPTHS.get(field.name, 0))
        for field in fields(kind)
        if field.name not in {"material", "pattern"}
    ]
    for kind in get_args(Primitive)
}
"""Name and depth of nesting of the fields that hold numbers; found once, since thousands of each are made."""


@dataclass(frozen=True)
class Feature:
    """One thing that an inspector can name and that can be defective.

    Attributes:
        kind: "ball", "bump", "pillar", "wire", "trace", "via", "thermal pad", "joint", "die", "body", ...
        at: its middle, um.
        size_um: its diameter or width.
        primitives: what it is made of.
        about: what a defect must know of it, such as {"height_um": 240}; see the builders.
    """

    kind: str
    at: Point
    size_um: float
    primitives: tuple[Primitive, ...]
    about: Mapping[str, float]


@dataclass(frozen=True)
class Scene:
    """What lies in the beam.

    Attributes:
        kind: name of its builder in the catalogue.
        features: things that can be defective.
        surroundings: everything else: laminate, mould compound, texture, marks.
        facts: the values that were drawn for it, in um where the name says so.
    """

    kind: str
    features: tuple[Feature, ...]
    surroundings: tuple[Primitive, ...]
    facts: Mapping[str, float | str]

    @property
    def primitives(self) -> tuple[Primitive, ...]:
        """All primitives of the scene."""
        return (
            *self.surroundings,
            *(primitive for feature in self.features for primitive in feature.primitives),
        )
