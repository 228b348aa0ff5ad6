"""What is written on boards and chips: letters, fiducials, outlines.

Boards and chips carry part numbers and date codes etched into copper or plated with gold, fiducials for the
placing machine (IPC-7351: a disc of 1 mm; on chips crosses and squares of 20 to 100 um) and outlines. The
font is drawn for this package; each letter is one line that retraces itself, so that it is evenly thick.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, radians, sin

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame, as_places
from longexposure.simulation.geometry.primitives import Cylinder, Place, Primitive, Slab, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, log_uniform, resolved_um, uniform

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
        bold: width of the strokes as a fraction of the height.
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
    random: Random,
    view: View,
    *,
    frame: ViewFrame | None = None,
    bottom_um: float = 0.0,
    tries: tuple[int, int] = (1, 6),
) -> tuple[Primitive, ...]:
    """A few marks as a board or chip carries them, apart from one another: words, fiducials, an outline.

    Args:
        random: of the scene.
        view: of the image; sizes are real ones that it resolves, letters 60 to 2500 um tall.
        frame: whose axes they follow, a turn of their own where there is none.
        bottom_um: height that they stand on; they are 1 to 50 um thick.
        tries: least and most that are tried; what would lie on another is left out.
    """
    own = frame or ViewFrame.drawn(random, view, height_um=abs(bottom_um) + 50)
    found: list[Primitive] = []
    occupied: list[tuple[Numbers, Numbers]] = []
    for _ in range(int(random.integers(tries[0], tries[1] + 1))):
        draw = (_words, _words, _fiducial, _fiducial, _outline)[int(random.integers(5))]
        primitives = draw(random, own, bottom_um)
        # The rectangle along the frame's axes that holds them and a rim around them.
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for primitive in primitives:
            if isinstance(primitive, Track):
                points, rim = primitive.points, primitive.width
            else:
                rim = primitive.sides[0] if isinstance(primitive, Slab) else primitive.radius
                points = (primitive.at,)
            places = np.array(points) @ own.axes.T
            low, high = np.minimum(low, places.min(axis=0) - rim), np.maximum(high, places.max(axis=0) + rim)
        if not any(np.all(low < end) and np.all(high > start) for start, end in occupied):
            occupied.append((low, high))
            found += primitives
    return tuple(found)


def _words(random: Random, frame: ViewFrame, bottom: float) -> tuple[Mark, ...]:
    height = resolved_um(random, frame.view, um=(60, 2500), px=(9, 60))
    gold = random.random() < 0.2
    return text(
        code(random),
        at=frame.places(frame.anywhere(random))[0],
        height_um=height,
        bottom=bottom,
        top=bottom + (uniform(random, 1, 4) if gold else _thick(random, height)),
        turn_deg=frame.turn_deg + 90 * int(random.integers(4)),
        bold=uniform(random, 0.09, 0.2),
        material="Au" if gold else "Cu",
        mirrored=random.random() < 0.3,
    )


def _fiducial(random: Random, frame: ViewFrame, bottom: float) -> tuple[Mark, ...]:
    size = resolved_um(random, frame.view, um=(20, 2000), px=(8, 50))
    return fiducial(
        FIDUCIALS[int(random.integers(len(FIDUCIALS)))],
        at=frame.places(frame.anywhere(random))[0],
        size_um=size,
        bottom=bottom,
        top=bottom + _thick(random, size),
        turn_deg=frame.turn_deg,
    )


def _outline(random: Random, frame: ViewFrame, bottom: float) -> tuple[Mark, ...]:
    """The frame around a part, or a guard ring: closed, or with one corner cut where pin 1 is."""
    sides = [resolved_um(random, frame.view, um=(100, 20000), px=(40, 400)) for _ in range(2)]
    x, y, cut = sides[0] / 2, sides[1] / 2, min(sides) * float(random.choice([0.0, 0.15, 0.3]))
    corners = np.array([[x, y], [-x, y], [-x, cut - y], [cut - x, -y], [x, -y], [x, y]])
    keep = np.r_[True, np.hypot(*np.diff(corners, axis=0).T) > 0]
    line = Track(
        material="Cu",
        points=frame.places(corners[keep] + frame.anywhere(random)),
        width=resolved_um(random, frame.view, um=(5, 250), px=(1.5, 5)),
        bottom=bottom,
        top=bottom + _thick(random, min(sides)),
    )
    return (line,)


def _thick(random: Random, size_um: float) -> float:
    """Copper of a board for marks of a board's size, of a chip for small ones."""
    return log_uniform(random, 12, 50) if size_um > 250 else log_uniform(random, 2, 12)
