"""Gull-wing leads, their joints, and the package that they belong to.

Leads are 0.13 to 0.25 mm thick; lands reach 0.2 to 0.35 mm beyond heel and toe (IPC-7351). z = 0 is the
upper side of the lands, on which the solder begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from longexposure.simulation.geometry.primitives import Feature, Place, Slab, Track, Wedge
from longexposure.simulation.scenes.bonds import Bonding
from longexposure.simulation.scenes.frame import Frame, pick
from longexposure.simulation.scenes.layout import Random, between

_LAND_UM, _SOLDER_UM = 35.0, 45.0


@dataclass(frozen=True, kw_only=True)
class Package:
    """One drawn package, um.

    Attributes:
        name: of its family.
        sides: that have leads, 2 or 4.
        count, pitch: of the leads of one side.
        body: along x (the side with leads) and y.
        height: of the body's top.
        frame: height of the lead frame's underside.
        metal: its thickness.
        lead: width of an outer lead.
        out, foot: how far leads stick out, length of their feet.
        paddle, die: sides.
        down: by how much the paddle lies lower than the leads.
        thickness: of the die.
        bonding, loop: of the wires.
        slots: holes in the paddle along each side.
        dimples: pitch of its dimples, 0 without.
        solder: alloy of the joints.
        line: width of the traces that leave the lands, 0 without; `run` their length, `lean` their bend.
    """

    name: str
    sides: int
    count: int
    pitch: float
    body: Place
    height: float
    frame: float
    metal: float
    lead: float
    out: float
    foot: float
    paddle: Place
    die: Place
    down: float
    thickness: float
    bonding: Bonding
    loop: float
    slots: int
    dimples: float
    solder: str
    line: float
    run: float
    lean: int

    @property
    def top(self) -> float:
        """Height of the die's upper side."""
        return self.frame + self.metal - self.down + 25 + self.thickness


def lead(package: Package, frame: Frame, x: float, tip: Place, *, width: float) -> Feature:
    """A gull wing: inner finger, shoulder, riser down to the board, foot."""
    edge, metal, turn = package.body[1] / 2, package.metal, frame.turn_deg
    start, delta, end = edge - 300, edge + 0.32 * package.out, edge + package.out
    low = package.frame
    shoulder = Slab(
        material="Cu",
        at=frame.place(x, (start + delta) / 2),
        sides=(package.lead, delta - start),
        bottom=low,
        top=low + metal,
        turn_deg=turn,
    )
    riser = replace(
        shoulder,
        at=frame.place(x, delta - metal / 2),
        sides=(package.lead, metal),
        bottom=_SOLDER_UM,
        top=low,
    )
    foot = replace(
        shoulder,
        at=frame.place(x, (delta + end) / 2),
        sides=(package.lead, end - delta),
        bottom=_SOLDER_UM,
        top=_SOLDER_UM + metal,
    )
    inner = frame.places((tip, (x, start - 0.4 * width)))
    finger = Track(material="Cu", points=inner, width=width, bottom=low, top=low + metal)
    about = {
        "width_um": package.lead,
        "height_um": end - start,
        "turn_deg": turn,
        "bottom_um": _SOLDER_UM,
        "top_um": low + metal,
    }
    at = frame.point(x, (start + end) / 2, low)
    return Feature("lead", at, package.lead, (shoulder, riser, foot, finger), about)


def joint(random: Random, package: Package, frame: Frame, x: float) -> Feature:
    """The joint below a foot: fillets at heel and toe, a thin layer between, the land."""
    edge, wide = package.body[1] / 2, package.lead * between(random, 1.15, 1.3)
    delta, end = edge + 0.32 * package.out, edge + package.out
    heel, toe = between(random, 180, 320), between(random, 150, 350)
    rise, climb = between(random, 1.6, 3.0) * package.metal, between(random, 0.5, 1.0) * package.metal
    back = delta - package.metal
    fillet = Wedge(
        material=package.solder,
        at=frame.place(x, back - heel / 2),
        sides=(heel, wide),
        bottom=0.0,
        top=rise,
        turn_deg=frame.turn_deg - 90,
    )
    tip = replace(
        fillet,
        at=frame.place(x, end + toe / 2),
        sides=(toe, wide),
        top=_SOLDER_UM + climb,
        turn_deg=frame.turn_deg + 90,
    )
    layer = Slab(
        material=package.solder,
        at=frame.place(x, (back + end) / 2),
        sides=(wide, end - back),
        bottom=0.0,
        top=_SOLDER_UM,
        turn_deg=frame.turn_deg,
    )
    land = replace(
        layer,
        material="Cu",
        at=frame.place(x, (back - heel + end + toe) / 2),
        sides=(wide + 40, end + toe - back + heel + 80),
        bottom=-_LAND_UM,
        top=0.0,
    )
    about = {
        "width_um": heel,
        "height_um": wide,
        "turn_deg": frame.turn_deg - 90,
        "bottom_um": 0.0,
        "top_um": rise,
    }
    at = frame.point(x, back - heel / 2, 0.4 * rise)
    return Feature("joint", at, wide, (fillet, tip, layer, land), about)


def escape(random: Random, package: Package, frame: Frame, x: float) -> Feature:
    """A trace that leaves a land outwards and bends by 45 degrees, as its neighbours do."""
    edge, line = package.body[1] / 2 + package.out + 150, package.line
    run = package.run * (1 + 0.3 * pick(random, (0, 1, 2)))
    straight = 400 + 0.45 * abs(x) * (package.lean != 0)
    own = ((x, edge), (x, edge + straight), (x + package.lean * run, edge + straight + run))
    points = frame.places(own)
    track = Track(material="Cu", points=points, width=line, bottom=-_LAND_UM, top=0.0)
    gap = 0.7 * package.pitch - line if package.lean else package.pitch - line
    about = {"width_um": line, "gap_um": gap, "bottom_um": -_LAND_UM, "top_um": 0.0}
    return Feature("trace", (*points[1], 0.0), line, (track,), about)
