"""Through-hole joints: the pins of connectors and sockets in plated holes.

Typical figures (IPC-2222, IPC-A-610): pins of 0.3 to 0.7 mm every 1.0 to 2.54 mm, holes 0.2 to 0.35 mm wider,
barrels of 20 to 30 um of copper, lands 0.15 to 0.35 mm around the hole, boards of 1.0 to 2.4 mm, filled
with solder to 75 % or more. z = 0 is the surface that faces the connector; the board lies below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from longexposure.simulation.geometry.frame import Frame, Sight
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Feature,
    Place,
    Primitive,
    Scene,
    Slab,
    Track,
    Weave,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import (
    Random,
    bernoulli,
    choice,
    integer,
    log_uniform,
    part_angle_deg,
    uniform,
)

_COPPER_UM = 35.0
_PINS_UM = {1000.0: 300.0, 1270.0: 400.0, 2000.0: 500.0, 2540.0: 640.0}
"""Pitch of pin headers to the width of their pins."""


@dataclass(frozen=True, kw_only=True)
class _Connector:
    """What was drawn for a connector, um.

    Attributes:
        pitch, rows, columns: of the pins; `stagger` shifts every second row by half a pitch.
        pin, square: width of a pin, and whether it is square or round.
        hole: radius of the drilled hole.
        land: radius of the lands.
        board: thickness.
        below, above: how far the pins stick out of the board.
        fill: fraction of the barrel that is full of solder.
        planes: heights of the inner planes' undersides.
        line: width of the traces.
        empty: fraction of the holes without a pin.
        solder: alloy.
    """

    pitch: float
    rows: int
    columns: int
    stagger: bool
    pin: float
    square: bool
    hole: float
    land: float
    board: float
    below: float
    above: float
    fill: float
    planes: tuple[float, ...]
    line: float
    empty: float
    solder: str


def connector_pins(random: Random, *, view: View) -> Scene:
    """Rows of soldered pins in plated holes, with planes, thermal reliefs and traces around them."""
    sight, drawn = Sight(view), _connector(random)
    focus = uniform(random, -0.3, 0.3) * drawn.pitch, uniform(random, -0.5, 0.5) * drawn.pitch
    frame = sight.aimed((*focus, -0.4 * drawn.board), part_angle_deg(random))
    features: list[Feature] = []
    surroundings = list(_board(random, drawn, frame, view))
    most = int(200 * max(1.0, max(view.height, view.width) / 400))
    for x, y, place in _places(drawn, frame, sight)[:most]:
        grounded = bernoulli(random, 0.15)
        features.append(
            _hole(drawn, place) if bernoulli(random, drawn.empty) else _joint(random, drawn, frame, place)
        )
        surroundings += _around(drawn, place, frame, grounded=grounded)
        if bernoulli(random, 0.75) and not grounded:
            features.append(_trace(random, drawn, frame, (x, y)))
    if bernoulli(random, 0.6):
        surroundings += _housing(random, drawn, frame)
    return Scene("connector_pins", tuple(features), tuple(surroundings), _facts(drawn, frame))


def _connector(random: Random) -> _Connector:
    pitch = choice(random, tuple(_PINS_UM))
    pin, board = _PINS_UM[pitch], choice(random, (1000.0, 1600.0, 1600.0, 2400.0))
    hole = (0.71 if (square := bernoulli(random, 0.65)) else 0.5) * pin + uniform(random, 90, 170)
    planes = sorted(uniform(random, -0.85, -0.15) * board for _ in range(integer(random, 0, 2)))
    return _Connector(
        pitch=pitch,
        rows=integer(random, 1, 4) if bernoulli(random, 0.7) else integer(random, 5, 12),
        columns=integer(random, 4, 40),
        stagger=bernoulli(random, 0.25),
        pin=pin,
        square=square,
        hole=min(hole, 0.35 * pitch),
        land=min(min(hole, 0.35 * pitch) + uniform(random, 130, 320), 0.42 * pitch),
        board=board,
        below=uniform(random, 300, 1200),
        above=log_uniform(random, 150, 2500),
        fill=uniform(random, 0.75, 1.0) if bernoulli(random, 0.5) else 1.0,
        planes=tuple(planes),
        line=uniform(random, 0.05, 0.12) * pitch,
        empty=uniform(random, 0.1, 0.9) if bernoulli(random, 0.5) else 0.0,
        solder=choice(random, ("SAC305", "SAC305", "Sn63Pb37")),
    )


def _places(drawn: _Connector, frame: Frame, sight: Sight) -> list[tuple[float, float, Place]]:
    """Own x and y and the place of each pin that is seen, the nearest to the middle first."""
    found = []
    for row in range(drawn.rows):
        shift = 0.5 * drawn.stagger * (row % 2)
        for column in range(drawn.columns):
            x = (column - (drawn.columns - 1) // 2 + shift) * drawn.pitch
            y = (row - (drawn.rows - 1) / 2) * drawn.pitch
            place = frame.place(x, y)
            if sight.sees((*place, -drawn.board / 2), drawn.board + drawn.above + drawn.land):
                found.append((x, y, place))
    return sorted(found, key=lambda pin: abs(pin[0]) + abs(pin[1]))


def _board(random: Random, drawn: _Connector, frame: Frame, view: View) -> Iterator[Primitive]:
    """Laminate with its weave, and planes of copper as far as the view goes."""
    period = uniform(random, 400, 700), uniform(random, 400, 700)
    swing, seed = drawn.board * uniform(random, 0.02, 0.06), integer(random, 0, 2**31)
    yield Weave(
        material="FR-4", period=period, mean=drawn.board, swing=swing, turn_deg=frame.turn_deg, seed=seed
    )
    side = 4 * (sum(view.extent_um) + 3 * drawn.board)
    for low in drawn.planes:
        yield Slab(
            material="Cu",
            at=frame.at,
            sides=(side, side),
            bottom=low,
            top=low + _COPPER_UM,
            turn_deg=frame.turn_deg,
        )


def _joint(random: Random, drawn: _Connector, frame: Frame, at: Place) -> Feature:
    """A pin with the solder in its hole, a fillet on each side, a void at times, barrel and lands."""
    low, inner = -drawn.board, drawn.hole - 25.0
    fill = min(drawn.fill * uniform(random, 0.9, 1.1), 1.0)
    top = low + fill * drawn.board
    solder = Cylinder(material=drawn.solder, at=at, radius=inner, bottom=low, top=top)
    slim, wet = 0.75 * drawn.pin, 0.93 * drawn.land
    rise = uniform(random, 0.5, 1.0) * (drawn.land - 0.5 * drawn.pin)
    primitives: list[Primitive] = [
        solder,
        Cone(material=drawn.solder, at=at, bottom_radius=slim, top_radius=wet, bottom=low - rise, top=low),
    ]
    if fill == 1.0:
        primitives.append(
            Cone(material=drawn.solder, at=at, bottom_radius=wet, top_radius=slim, bottom=0.0, top=0.5 * rise)
        )
        top = 0.5 * rise
    primitives += _pin(drawn, frame, at, wetted=(low - rise, top))
    gap = inner - (0.71 if drawn.square else 0.5) * drawn.pin
    for _ in range(integer(random, 0, 3)):
        radius = uniform(random, 0.15, 0.48) * gap
        middle = inner - radius - 2
        x, y = Frame(at, uniform(random, 0, 360)).place(middle, 0.0)
        z = uniform(random, low + radius, low + fill * drawn.board - radius)
        primitives.append(Ball(material=drawn.solder, amount=-1, at=(x, y, z), radius=radius))
    primitives += _hole(drawn, at).primitives
    about = {
        "width_um": 2 * inner,
        "height_um": 2 * inner,
        "turn_deg": frame.turn_deg,
        "bottom_um": low,
        "top_um": low + fill * drawn.board,
    }
    return Feature("joint", (*at, low / 2), 2 * drawn.land, tuple(primitives), about)


def _hole(drawn: _Connector, at: Place) -> Feature:
    """A plated hole with its lands, as it is before a pin is soldered in."""
    low = -drawn.board
    barrel = Cylinder(
        material="Cu", at=at, radius=drawn.hole, inner_radius=drawn.hole - 25.0, bottom=low, top=0.0
    )
    land = replace(barrel, radius=drawn.land, inner_radius=drawn.hole, bottom=-_COPPER_UM)
    about = {"radius_um": drawn.hole, "bottom_um": low, "top_um": 0.0}
    primitives = (barrel, land, replace(land, bottom=low, top=low + _COPPER_UM))
    return Feature("via", (*at, low / 2), 2 * drawn.hole, primitives, about)


def _pin(drawn: _Connector, frame: Frame, at: Place, *, wetted: tuple[float, float]) -> Iterator[Primitive]:
    """The pin, and the solder that it displaces within the heights `wetted`."""
    low, high = -drawn.board - drawn.below, drawn.above
    pin: Slab | Cylinder
    if drawn.square:
        sides = drawn.pin, drawn.pin
        pin = Slab(material="Cu", at=at, sides=sides, bottom=low, top=high, turn_deg=frame.turn_deg)
    else:
        pin = Cylinder(material="Cu", at=at, radius=0.5 * drawn.pin, bottom=low, top=high)
    yield pin
    bottom, top = max(wetted[0], low), min(wetted[1], high)
    yield replace(pin, material=drawn.solder, amount=-1, bottom=bottom, top=top)


def _around(drawn: _Connector, at: Place, frame: Frame, *, grounded: bool) -> Iterator[Primitive]:
    """The hole in the laminate, and in each plane its clearance; a grounded pin keeps four spokes."""
    yield Cylinder(material="FR-4", amount=-1, at=at, radius=drawn.hole, bottom=-drawn.board, top=0.0)
    wide = min(drawn.land + 180, 0.49 * drawn.pitch)
    for low in drawn.planes:
        gap = Cylinder(material="Cu", amount=-1, at=at, radius=wide, bottom=low, top=low + _COPPER_UM)
        if not grounded:
            yield gap
            continue
        yield replace(gap, radius=drawn.hole)
        yield replace(gap, inner_radius=0.8 * drawn.land)
        length = wide - 0.8 * drawn.land
        own = Frame(at, frame.turn_deg + 45)
        for quarter in range(4):
            spoke = own.inner(0.0, 0.0, 90.0 * quarter)
            middle = spoke.place(0.8 * drawn.land + length / 2, 0.0)
            yield Slab(
                material="Cu",
                at=middle,
                sides=(length, 0.35 * drawn.land),
                bottom=low,
                top=low + _COPPER_UM,
                turn_deg=spoke.turn_deg,
            )


def _trace(random: Random, drawn: _Connector, frame: Frame, own: Place) -> Feature:
    """A trace that leaves a pin between its neighbours of the next row and runs on at 45 degrees at times."""
    x, y = own
    way = 1 if y > 0 or (y == 0 and bernoulli(random, 0.5)) else -1
    half, shift = drawn.pitch / 2, choice(random, (-0.5, 0.5)) * drawn.pitch * (not drawn.stagger)
    out = (drawn.rows + 1) / 2 * drawn.pitch
    run = uniform(random, 0.5, 6.0) * drawn.pitch
    lean = choice(random, (-1.0, 0.0, 0.0, 1.0)) * run
    line = [
        (x, y + way * 0.95 * drawn.land),
        (x, y + way * drawn.land),
        (x + shift, y + way * (drawn.land + abs(shift))),
    ]
    line += [
        (x + shift, way * max(out, abs(y) + drawn.land + abs(shift) + 1)),
        (x + shift + lean, way * (out + run + half)),
    ]
    low = -drawn.board if bernoulli(random, 0.4) else -_COPPER_UM
    points = frame.places(line)
    track = Track(material="Cu", points=points, width=drawn.line, bottom=low, top=low + _COPPER_UM)
    gap = max(drawn.pitch / 2 - drawn.line, 0.0)
    about = {"width_um": drawn.line, "gap_um": gap, "bottom_um": low, "top_um": low + _COPPER_UM}
    return Feature("trace", (*points[2], low), drawn.line, (track,), about)


def _housing(random: Random, drawn: _Connector, frame: Frame) -> Iterator[Primitive]:
    """The plastic that holds the pins: a strip, at times with walls."""
    sides = (drawn.columns + 1) * drawn.pitch, (drawn.rows + 0.6) * drawn.pitch
    middle = frame.inner((drawn.columns % 2 == 0) * drawn.pitch / 2, 0.0)
    high = 300 + uniform(random, 1000, 2500)
    yield Slab(material="epoxy", at=middle.at, sides=sides, bottom=300.0, top=high, turn_deg=frame.turn_deg)
    if bernoulli(random, 0.5):
        x, y = sides[0] / 2 - 400, sides[1] / 2 + 400
        wall = middle.places(((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)))
        yield Track(material="epoxy", points=wall, width=800.0, bottom=300.0, top=high + 4000)


def _facts(drawn: _Connector, frame: Frame) -> dict[str, float | str]:
    return {
        "pitch_um": drawn.pitch,
        "rows": drawn.rows,
        "columns": drawn.columns,
        "pin_um": drawn.pin,
        "pin": "square" if drawn.square else "round",
        "hole_um": 2 * drawn.hole,
        "board_um": drawn.board,
        "fill": drawn.fill,
        "solder": drawn.solder,
        "turn_deg": frame.turn_deg,
    }
