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
from longexposure.simulation.scenes.components.features import about_box, box, trace_feature, via_feature
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

    @classmethod
    def drawn(cls, random: Random) -> _Connector:
        pitch = choice(random, tuple(_PINS_UM))
        pin, board = _PINS_UM[pitch], choice(random, (1000.0, 1600.0, 1600.0, 2400.0))
        hole = (0.71 if (square := bernoulli(random, 0.65)) else 0.5) * pin + uniform(random, 90, 170)
        hole = min(hole, 0.35 * pitch)
        planes = sorted(uniform(random, -0.85, -0.15) * board for _ in range(integer(random, 0, 2)))
        return cls(
            pitch=pitch,
            rows=integer(random, 1, 4) if bernoulli(random, 0.7) else integer(random, 5, 12),
            columns=integer(random, 4, 40),
            stagger=bernoulli(random, 0.25),
            pin=pin,
            square=square,
            hole=hole,
            land=min(hole + uniform(random, 130, 320), 0.42 * pitch),
            board=board,
            below=uniform(random, 300, 1200),
            above=log_uniform(random, 150, 2500),
            fill=uniform(random, 0.75, 1.0) if bernoulli(random, 0.5) else 1.0,
            planes=tuple(planes),
            line=uniform(random, 0.05, 0.12) * pitch,
            empty=uniform(random, 0.1, 0.9) if bernoulli(random, 0.5) else 0.0,
            solder=choice(random, ("SAC305", "SAC305", "Sn63Pb37")),
        )

    def pins(self, frame: Frame, sight: Sight) -> list[tuple[float, float, Place]]:
        """Own x and y and the place of each pin that is seen, the nearest to the middle first."""
        found = []
        for row in range(self.rows):
            shift = 0.5 * self.stagger * (row % 2)
            for column in range(self.columns):
                x = (column - (self.columns - 1) // 2 + shift) * self.pitch
                y = (row - (self.rows - 1) / 2) * self.pitch
                place = frame.place(x, y)
                if sight.sees((*place, -self.board / 2), self.board + self.above + self.land):
                    found.append((x, y, place))
        return sorted(found, key=lambda pin: abs(pin[0]) + abs(pin[1]))

    def plated_hole(self, at: Place) -> Feature:
        """A plated hole with its lands, as it is before a pin is soldered in."""
        low = -self.board
        barrel = Cylinder(
            material="Cu", at=at, radius=self.hole, inner_radius=self.hole - 25.0, bottom=low, top=0.0
        )
        land = replace(barrel, radius=self.land, inner_radius=self.hole, bottom=-_COPPER_UM)
        primitives = (barrel, land, replace(land, bottom=low, top=low + _COPPER_UM))
        return via_feature(at, self.hole, primitives, bottom=low, top=0.0)

    def joint(self, random: Random, frame: Frame, at: Place) -> Feature:
        """A pin with the solder in its hole, a fillet on each side, a void at times, barrel and lands."""
        low, inner, half = -self.board, self.hole - 25.0, (0.71 if self.square else 0.5) * self.pin
        fill = min(self.fill * uniform(random, 0.9, 1.1), 1.0)
        top = low + fill * self.board
        slim, wet = 0.75 * self.pin, 0.93 * self.land
        rise = uniform(random, 0.5, 1.0) * (self.land - 0.5 * self.pin)
        fillet = Cone(
            material=self.solder, at=at, bottom_radius=slim, top_radius=wet, bottom=low - rise, top=low
        )
        primitives: list[Primitive] = [
            Cylinder(material=self.solder, at=at, radius=inner, bottom=low, top=top),
            fillet,
        ]
        wetted = top
        if fill == 1.0:
            wetted = 0.5 * rise
            primitives.append(replace(fillet, bottom_radius=wet, top_radius=slim, bottom=0.0, top=wetted))
        heights = {"bottom": low - self.below, "top": self.above}
        pin: Slab | Cylinder = Cylinder(material="Cu", at=at, radius=0.5 * self.pin, **heights)
        if self.square:
            sides = (self.pin, self.pin)
            pin = Slab(material="Cu", at=at, sides=sides, turn_deg=frame.turn_deg, **heights)
        # The pin displaces solder where it is wetted.
        bottom, top_end = max(low - rise, low - self.below), min(wetted, self.above)
        primitives += [pin, replace(pin, material=self.solder, amount=-1, bottom=bottom, top=top_end)]
        for _ in range(integer(random, 0, 3)):
            radius = uniform(random, 0.15, 0.48) * (inner - half)
            x, y = Frame(at, uniform(random, 0, 360)).place(inner - radius - 2, 0.0)
            z = uniform(random, low + radius, top - radius)
            primitives.append(Ball(material=self.solder, amount=-1, at=(x, y, z), radius=radius))
        primitives += self.plated_hole(at).primitives
        about = about_box((2 * inner, 2 * inner), frame.turn_deg, low, top)
        return Feature("joint", (*at, low / 2), 2 * self.land, tuple(primitives), about)

    def clearances(self, at: Place, frame: Frame, *, grounded: bool) -> Iterator[Primitive]:
        """The hole in the laminate, and in each plane its clearance; a grounded pin keeps four spokes."""
        yield Cylinder(material="FR-4", amount=-1, at=at, radius=self.hole, bottom=-self.board, top=0.0)
        wide, inner = min(self.land + 180, 0.49 * self.pitch), 0.8 * self.land
        for low in self.planes:
            gap = Cylinder(material="Cu", amount=-1, at=at, radius=wide, bottom=low, top=low + _COPPER_UM)
            if not grounded:
                yield gap
                continue
            yield replace(gap, radius=self.hole)
            yield replace(gap, inner_radius=inner)
            sides = (wide - inner, 0.35 * self.land)
            for spoke in Frame(at, frame.turn_deg + 45).quarters():
                yield box("Cu", spoke, sides, low, low + _COPPER_UM, x=inner + (wide - inner) / 2)

    def trace(self, random: Random, frame: Frame, x: float, y: float) -> Feature:
        """A trace from a pin between its neighbours of the next row, which runs on at 45 degrees at times."""
        way = 1 if y > 0 or (y == 0 and bernoulli(random, 0.5)) else -1
        half, shift = self.pitch / 2, choice(random, (-0.5, 0.5)) * self.pitch * (not self.stagger)
        out = (self.rows + 1) / 2 * self.pitch
        run = uniform(random, 0.5, 6.0) * self.pitch
        lean = choice(random, (-1.0, 0.0, 0.0, 1.0)) * run
        line = (
            (x, y + way * 0.95 * self.land),
            (x, y + way * self.land),
            (x + shift, y + way * (self.land + abs(shift))),
            (x + shift, way * max(out, abs(y) + self.land + abs(shift) + 1)),
            (x + shift + lean, way * (out + run + half)),
        )
        low = -self.board if bernoulli(random, 0.4) else -_COPPER_UM
        gap = max(self.pitch / 2 - self.line, 0.0)
        return trace_feature(
            frame.places(line), self.line, gap, bottom=low, top=low + _COPPER_UM, z=low, middle=2
        )

    def housing(self, random: Random, frame: Frame) -> Iterator[Primitive]:
        """The plastic that holds the pins: a strip, at times with walls."""
        sides = (self.columns + 1) * self.pitch, (self.rows + 0.6) * self.pitch
        middle = frame.inner((self.columns % 2 == 0) * self.pitch / 2, 0.0)
        high = 300 + uniform(random, 1000, 2500)
        yield box("epoxy", middle, sides, 300.0, high)
        if bernoulli(random, 0.5):
            x, y = sides[0] / 2 - 400, sides[1] / 2 + 400
            wall = middle.places(((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)))
            yield Track(material="epoxy", points=wall, width=800.0, bottom=300.0, top=high + 4000)


def connector_pins(random: Random, *, view: View) -> Scene:
    """Rows of soldered pins in plated holes, with planes, thermal reliefs and traces around them."""
    sight, drawn = Sight(view), _Connector.drawn(random)
    focus = uniform(random, -0.3, 0.3) * drawn.pitch, uniform(random, -0.5, 0.5) * drawn.pitch
    frame = sight.aimed((*focus, -0.4 * drawn.board), part_angle_deg(random))
    weave = Weave(
        material="FR-4",
        period=(uniform(random, 400, 700), uniform(random, 400, 700)),
        mean=drawn.board,
        swing=drawn.board * uniform(random, 0.02, 0.06),
        turn_deg=frame.turn_deg,
        seed=integer(random, 0, 2**31),
    )
    side = 4 * (sum(view.extent_um) + 3 * drawn.board)
    planes = [box("Cu", frame, (side, side), low, low + _COPPER_UM) for low in drawn.planes]
    features: list[Feature] = []
    surroundings: list[Primitive] = [weave, *planes]
    most = int(200 * max(1.0, max(view.height, view.width) / 400))
    for x, y, place in drawn.pins(frame, sight)[:most]:
        grounded = bernoulli(random, 0.15)
        features.append(
            drawn.plated_hole(place) if bernoulli(random, drawn.empty) else drawn.joint(random, frame, place)
        )
        surroundings += drawn.clearances(place, frame, grounded=grounded)
        if bernoulli(random, 0.75) and not grounded:
            features.append(drawn.trace(random, frame, x, y))
    if bernoulli(random, 0.6):
        surroundings += drawn.housing(random, frame)
    facts: dict[str, float | str] = {
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
    return Scene("connector_pins", tuple(features), tuple(surroundings), facts)
