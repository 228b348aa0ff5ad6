"""Strokes and what is written with them: rounded and parallel lines, letters, fiducials, outlines.

Boards and chips carry part numbers and date codes etched into copper or plated with gold, fiducials for the
placing machine (IPC-7351: a disc of 1 mm; on chips crosses and squares of 20 to 100 um) and outlines. The
font is drawn for this package; each letter is one line that retraces itself, so that it is evenly thick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import acos, ceil, cos, hypot, pi, radians, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.scenes.kind import SceneKind
from longexposure.scenes.layout import Numbers, Random, as_places, between, spread, turned
from longexposure.scenes.solids import Cylinder, Place, Scene, Slab, Solid, Track
from longexposure.scenes.view import View

Mark = Track | Cylinder | Slab

GLYPHS: Mapping[str, str] = {
    "A": "06022042440444 46", "B": "003041423303334445360600", "C": "4130100105163645",
    "D": "00304145360600", "E": "40000333030646", "F": "400003330306", "G": "41301001051636454323",
    "H": "000603434046", "I": "103020261636", "J": "4045361605", "K": "000603400346", "L": "000646",
    "M": "0600234046", "N": "06004640", "O": "103041453616050110", "P": "06003041423303",
    "Q": "1030414536243616050110", "R": "060030414233234623 03", "S": "413010010213334445361605",
    "T": "00402026", "U": "000516364540", "V": "002640", "W": "0016233640", "X": "0046234006",
    "Y": "0023402326", "Z": "00400646", "0": "41453616054130100105", "1": "1120261636",
    "2": "01103041420646", "3": "01103041423313334445361605", "4": "36300444", "5": "4000033344453606",
    "6": "4130100105163645443303", "7": "004016", "8": "13020110304142331304051636454433",
    "9": "0516364541301001021343", "-": "0343",
}  # fmt: skip
"""Each letter as the places that its pen passes, pairs of digits x and y: x 0 to 4, y 0 (top) to 6."""
_ADVANCE = 5.6
"""From one letter to the next, in the units of `GLYPHS`."""
_TALL = 6.0


@dataclass(frozen=True)
class Sheet:
    """Flat coordinates of a part of its own, turned about the middle of the view.

    Attributes:
        view: who looks.
        turn_deg: from the part's own x to the view's, from x towards y.
        margin_um: how far beside the view something can stand that oblique rays still reach.
    """

    view: View
    turn_deg: float
    margin_um: float

    @property
    def reach_um(self) -> float:
        """Half the side of the square, in own coordinates, that covers all that is seen."""
        return hypot(*self.view.extent_um) / 2 + self.margin_um

    def places(self, points: npt.ArrayLike) -> tuple[Place, ...]:
        """Own coordinates (N, 2) as places of the scene."""
        return as_places(self.turned(points))

    def turned(self, points: npt.ArrayLike) -> Numbers:
        """Own coordinates (N, 2) as coordinates of the scene, (N, 2)."""
        return np.asarray(points, np.float64).reshape(-1, 2) @ self._axes

    @cached_property
    def _axes(self) -> Numbers:
        return turned(np.eye(2), self.turn_deg)

    def sees(self, points: npt.ArrayLike, around_um: float = 0.0, height_um: float | None = None) -> bool:
        """Whether the box around points (N, 2), own coordinates, may be seen, at one height or at any."""
        corners = self.turned(points) + self._lean(height_um)
        margin = self.margin_um if height_um is None else self._widening * abs(height_um)
        half = np.array(self.view.extent_um) / 2 + margin + around_um
        return bool(np.all(corners.min(axis=0) < half) and np.all(corners.max(axis=0) > -half))

    def anywhere(self, random: Random, height_um: float = 0.0) -> Numbers:
        """Own coordinates (2,) of a place that is seen at this height."""
        seen_at = random.uniform(-0.5, 0.5, 2) * self.view.extent_um
        return self._axes @ (seen_at - self._lean(height_um))

    def _lean(self, height_um: float | None) -> Numbers:
        return np.array(self.view.slope) * (height_um or 0.0)

    @property
    def _widening(self) -> float:
        """How much farther out than z = 0 the rays at the corners reach for each um of height."""
        return hypot(*self.view.extent_um) / 2 / self.view.source_um


def lay(random: Random, view: View, *, height_um: float) -> Sheet:
    """A sheet at a random angle, a quarter of them nearly along the view's axes.

    Args:
        random: of the scene.
        view: who looks.
        height_um: largest height above or below z = 0 of what shall lie on it.
    """
    straight = float(random.integers(4)) * 90 + 1.5 * float(random.standard_normal())
    turn = straight if random.random() < 0.25 else float(random.uniform(0, 360))
    flat = Sheet(view, turn, 0.0)
    return Sheet(view, turn, height_um * (hypot(*view.slope) + flat._widening))


def seen(random: Random, view: View, *, um: tuple[float, float], px: tuple[float, float]) -> float:
    """A real size between the two of `um`, log-uniform, of those that look as large as `px` where there are.

    The real range wins: where the view shows none of it at such a size, the nearest end is drawn.
    """
    low, high = (float(np.clip(size * view.pixel_um, *um)) for size in px)
    return spread(random, low, high)


def parallel(points: npt.ArrayLike, offset: float) -> Numbers:
    """The line (N, 2) moved sideways by `offset`, to the left hand where y points up, with mitred corners."""
    line = np.asarray(points, np.float64)
    steps = np.diff(line, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.hypot(*steps.T)[:, None]
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    return line + offset * (before + after) / (1 + np.sum(before * after, axis=1, keepdims=True))


def meandered(points: npt.ArrayLike, random: Random, *, rise: float, tooth: float) -> Numbers:
    """The line (N, 2) with teeth on its longest leg, to its left hand as in `parallel`, which lengthen it.

    Args:
        points: of the line.
        random: draws how many teeth; they lie about the middle of the leg's part nearest to the origin.
        rise: height of the teeth, at least `tooth`.
        tooth: from flank to flank, middle to middle.
    """
    line = np.asarray(points, np.float64)
    legs = np.hypot(*np.diff(line, axis=0).T)
    leg = int(np.argmax(legs))
    along = (line[leg + 1] - line[leg]) / legs[leg]
    room = legs[leg] - 4 * rise
    count = min(int(room / (2 * tooth)), int(random.integers(3, 30)))
    if count < 1:
        return line
    middle = float(
        np.clip(-along @ line[leg], count * tooth + 2 * rise, legs[leg] - count * tooth - 2 * rise)
    )
    turn = np.linspace(0, pi, 4)
    bow = tooth / 2 * np.stack([-np.cos(turn), np.sin(turn)], axis=1)
    up, down = np.add(bow, [tooth / 2, rise - tooth / 2]), np.add(bow * [1, -1], [1.5 * tooth, tooth / 2])
    waves = [np.add(both, [(2 * k - count) * tooth, 0]) for k in range(count) for both in (up, down)]
    teeth = np.vstack([[-count * tooth, 0], *waves, [count * tooth, 0]])[:-5]
    teeth = np.vstack([teeth, [teeth[-1, 0], 0]])
    return np.vstack(
        [
            line[: leg + 1],
            line[leg] + middle * along + teeth @ [along, [-along[1], along[0]]],
            line[leg + 1 :],
        ]
    )


def rounded(points: npt.ArrayLike, radius: float, sagitta: float) -> Numbers:
    """The line (N, 2) with arcs of this radius in its corners, or smaller ones where a leg is too short.

    Args:
        points: no two successive ones equal.
        radius: of the arcs, 0 leaves the corners.
        sagitta: largest distance of the chords that are drawn from the arc.
    """
    line = np.asarray(points, np.float64)
    found = [line[:1]]
    for before, corner, after in zip(line[:-2], line[1:-1], line[2:], strict=True):
        found.append(_arc(before, corner, after, radius=radius, sagitta=sagitta))
    return np.vstack([*found, line[-1:]])


def _arc(before: Numbers, corner: Numbers, after: Numbers, *, radius: float, sagitta: float) -> Numbers:
    back, ahead = before - corner, after - corner
    legs = hypot(*back), hypot(*ahead)
    back, ahead = back / legs[0], ahead / legs[1]
    half = acos(float(np.clip(back @ ahead, -1, 1))) / 2
    radius = min(radius, 0.49 * min(legs) * tan(half))
    if radius <= sagitta or half > 0.499 * pi:
        return corner[None]
    middle = corner + (back + ahead) / hypot(*(back + ahead)) * radius / sin(half)
    start, end = corner + back * radius / tan(half) - middle, corner + ahead * radius / tan(half) - middle
    angle = pi - 2 * half
    share = np.linspace(0, 1, ceil(angle / (2 * acos(1 - sagitta / radius))) + 1)[:, None]
    return middle + (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / sin(angle)


def glyph(letter: str) -> Numbers:
    """The places (N, 2) that the pen passes for this letter: x 0 to 4, y 0 (top) to 6."""
    digits = GLYPHS[letter].replace(" ", "")
    return np.array([int(digit) for digit in digits], np.float64).reshape(-1, 2)


def text(
    words: str,
    *,
    at: Place,
    height_um: float,
    bottom: float,
    top: float,
    turn_deg: float = 0.0,
    bold: float = 0.14,
    material: str = "Cu",
    mirrored: bool = False,
) -> tuple[Track, ...]:
    """Words as strokes, one track for each letter; what is no letter, digit or hyphen leaves a space.

    Args:
        words: capitals are written for small letters.
        at: middle of the words.
        height_um: height of the letters, pen included.
        bottom: height of the copper's lower face.
        top: of its upper face.
        turn_deg: direction of writing.
        bold: width of the strokes as a share of the height.
        material: a name of `physics.materials`.
        mirrored: as writing on the far side of a board is seen.
    """
    pen = bold * height_um
    unit = (height_um - pen) / _TALL
    advance = _ADVANCE * unit + pen
    left = -((len(words) - 1) * advance + 4 * unit) / 2
    turn, side = radians(turn_deg), -1 if mirrored else 1
    axes = np.array([[cos(turn), sin(turn)], [-sin(turn), cos(turn)]]) * [[side], [1]]
    tracks = []
    for index, letter in enumerate(words.upper()):
        if letter in GLYPHS:
            own = glyph(letter) * unit + [left + index * advance, -_TALL * unit / 2]
            places = own @ axes + at
            tracks.append(
                Track(material=material, points=as_places(places), width=pen, bottom=bottom, top=top)
            )
    return tuple(tracks)


def fiducial(
    kind: str, *, at: Place, size_um: float, bottom: float, top: float, turn_deg: float = 0.0
) -> tuple[Mark, ...]:
    """A mark for the placing machine, in copper: "disc", "ring", "square", "cross", "diamond" or "target".

    Args:
        kind: its shape.
        at: its middle.
        size_um: its diameter or side.
        bottom: height of the copper's lower face.
        top: of its upper face.
        turn_deg: of square, cross and diamond.
    """
    copper = {"material": "Cu", "bottom": bottom, "top": top}
    half, turn = size_um / 2, radians(turn_deg)
    along, across = np.array([cos(turn), sin(turn)]), np.array([-sin(turn), cos(turn)])
    if kind in {"square", "diamond"}:
        side = (size_um, size_um) if kind == "square" else (size_um / 2**0.5,) * 2
        lean = turn_deg + (45 if kind == "diamond" else 0)
        return (Slab(at=at, sides=side, turn_deg=lean, **copper),)  # type: ignore[arg-type]
    if kind == "cross":
        arm = 0.42 * size_um
        ends = [at + arm * along, at - arm * along, at, at + arm * across, at - arm * across]
        return (Track(points=as_places(np.array(ends)), width=0.16 * size_um, **copper),)  # type: ignore[arg-type]
    outer = Cylinder(at=at, radius=half, inner_radius=0.0 if kind == "disc" else 0.72 * half, **copper)  # type: ignore[arg-type]
    if kind != "target":
        return (outer,)
    return outer, Cylinder(at=at, radius=0.36 * half, **copper)  # type: ignore[arg-type]


FIDUCIALS = ("disc", "ring", "square", "cross", "diamond", "target")


def code(random: Random) -> str:
    """A part number, a date code (year and week), a lot or a reference such as R17."""
    digits = "".join(str(digit) for digit in random.integers(0, 10, 6))
    letters = "".join(chr(65 + int(letter)) for letter in random.integers(0, 26, 4))
    week = f"{int(random.integers(18, 27))}{int(random.integers(1, 53)):02d}"
    kinds = (
        f"{letters[:2]}{digits[:4]}-{letters[2]}",
        week,
        f"{letters[:3]}{digits[:3]}",
        f"{'RCUQLJ'[int(random.integers(6))]}{int(random.integers(1, 400))}",
        f"LOT {digits[:5]}",
        f"REV {letters[0]}",
        letters,
    )
    return kinds[int(random.integers(len(kinds)))]


def marks(
    random: Random, view: View, *, sheet: Sheet | None = None, bottom_um: float = 0.0, most: int = 6
) -> tuple[Solid, ...]:
    """A few marks as a board or chip carries them, apart from one another: words, fiducials, an outline.

    Args:
        random: of the scene.
        view: who looks; sizes are real ones that it resolves, letters 60 to 2500 um tall.
        sheet: whose axes they follow, a turn of their own where there is none.
        bottom_um: height that they stand on; they are 1 to 50 um thick.
        most: so many are tried; what would lie on another is left out.
    """
    own = sheet or lay(random, view, height_um=abs(bottom_um) + 50)
    found: list[Solid] = []
    taken: list[Numbers] = []
    for _ in range(int(random.integers(1, most + 1))):
        draw = (_words, _words, _fiducial, _fiducial, _outline)[int(random.integers(5))]
        solids = draw(random, own, bottom_um)
        box = _box(own, solids)
        if not any(np.all(box[0] < other[1]) and np.all(box[1] > other[0]) for other in taken):
            taken.append(box)
            found += solids
    return tuple(found)


def _box(sheet: Sheet, solids: Sequence[Mark]) -> Numbers:
    """Corners (2, 2) of the rectangle along the sheet's axes that holds the marks and a rim around them."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for solid in solids:
        points = solid.points if isinstance(solid, Track) else (solid.at,)
        wide = solid.width if isinstance(solid, Track) else 0.0
        reach = (
            solid.sides[0]
            if isinstance(solid, Slab)
            else solid.radius
            if isinstance(solid, Cylinder)
            else wide
        )
        own = np.array(points) @ sheet._axes.T
        low, high = np.minimum(low, own.min(axis=0) - reach), np.maximum(high, own.max(axis=0) + reach)
    return np.array([low, high])


def _words(random: Random, sheet: Sheet, bottom: float) -> tuple[Mark, ...]:
    height = seen(random, sheet.view, um=(60, 2500), px=(9, 60))
    gold = random.random() < 0.2
    return text(
        code(random),
        at=sheet.places(sheet.anywhere(random))[0],
        height_um=height,
        bottom=bottom,
        top=bottom + (between(random, 1, 4) if gold else _thick(random, height)),
        turn_deg=sheet.turn_deg + 90 * int(random.integers(4)),
        bold=between(random, 0.09, 0.2),
        material="Au" if gold else "Cu",
        mirrored=random.random() < 0.3,
    )


def _fiducial(random: Random, sheet: Sheet, bottom: float) -> tuple[Mark, ...]:
    size = seen(random, sheet.view, um=(20, 2000), px=(8, 50))
    return fiducial(
        FIDUCIALS[int(random.integers(len(FIDUCIALS)))],
        at=sheet.places(sheet.anywhere(random))[0],
        size_um=size,
        bottom=bottom,
        top=bottom + _thick(random, size),
        turn_deg=sheet.turn_deg,
    )


def _outline(random: Random, sheet: Sheet, bottom: float) -> tuple[Mark, ...]:
    """The frame around a part, or a guard ring: closed, or with one corner cut where pin 1 is."""
    sides = [seen(random, sheet.view, um=(100, 20000), px=(40, 400)) for _ in range(2)]
    x, y, cut = sides[0] / 2, sides[1] / 2, min(sides) * float(random.choice([0.0, 0.15, 0.3]))
    corners = np.array([[x, y], [-x, y], [-x, cut - y], [cut - x, -y], [x, -y], [x, y]])
    keep = np.r_[True, np.hypot(*np.diff(corners, axis=0).T) > 0]
    line = Track(
        material="Cu",
        points=sheet.places(corners[keep] + sheet.anywhere(random)),
        width=seen(random, sheet.view, um=(5, 250), px=(1.5, 5)),
        bottom=bottom,
        top=bottom + _thick(random, min(sides)),
    )
    return (line,)


def _thick(random: Random, size_um: float) -> float:
    """Copper of a board for marks of a board's size, of a chip for small ones."""
    return spread(random, 12, 50) if size_um > 250 else spread(random, 2, 12)


def legend(random: Random, *, view: View) -> Scene:
    """Words, codes, fiducials and outlines densely on a plain laminate, as on the rim of a panel."""
    thickness = spread(random, 200, 1600)
    sheet = lay(random, view, height_um=thickness)
    found = marks(random, view, sheet=sheet, most=60)
    extent = max(view.extent_um) * 3 + 4 * sheet.margin_um
    ground = Slab(
        material="FR-4", at=(0.0, 0.0), sides=(extent, extent), bottom=-thickness, top=0.0, turn_deg=0.0
    )
    facts = {"laminate_um": thickness, "turn_deg": sheet.turn_deg}
    return Scene(kind="legend", features=(), surroundings=(ground, *found), facts=facts)


MARK_SCENES: Mapping[str, SceneKind] = {
    "legend": SceneKind(legend, (1.0, 80.0), "part numbers, date codes, fiducials and outlines in copper"),
}
