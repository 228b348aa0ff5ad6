"""What scenes of chips share: dies, rows of equal dots, how many primitives fit a view."""

from __future__ import annotations

import numpy as np

from longexposure.simulation.geometry.frame import Frame, Numbers, ViewFrame
from longexposure.simulation.geometry.primitives import Feature, Lattice, Place, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli


def die_of(sheet: ViewFrame, at: Numbers, sides: Numbers, *, bottom: float, top: float) -> Feature:
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
        primitives=(slab,),
        about={**about, "bottom_um": bottom, "top_um": top},
    )


def any_die(random: Random, sheet: ViewFrame, *, bottom: float, top: float) -> Feature:
    """A die that fills the view, or whose edges are seen now and then."""
    wide = 2.4 * sheet.reach_um
    sides = wide * random.uniform(0.3, 1.2, 2) if bernoulli(random, 0.4) else np.array([wide, wide])
    at = sheet.anywhere(random) * 0.5 if sides[0] < wide else np.zeros(2)
    return die_of(sheet, at, sides, bottom=bottom, top=top)


def dots(
    sheet: ViewFrame,
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


def budget_of(view: View) -> int:
    """Primitives that a scene may have, so that it is built in time."""
    return int(320 * max(1.0, (view.height * view.width) ** 0.5 / 256))


def box(
    frame: Frame, x: float, sides: Place, *, bottom: float, top: float, of: str, amount: float = 1.0
) -> Slab:
    """A slab of a material in the axes of a part, its middle at (x, 0)."""
    return Slab(
        material=of,
        amount=amount,
        at=frame.place(x, 0.0),
        sides=sides,
        bottom=bottom,
        top=top,
        turn_deg=frame.turn_deg,
    )


def about_box(sides: Place, turn_deg: float, bottom: float, top: float) -> dict[str, float]:
    """What a feature says of itself that is as wide and high as a slab."""
    return {
        "width_um": sides[0],
        "height_um": sides[1],
        "turn_deg": turn_deg,
        "bottom_um": bottom,
        "top_um": top,
    }
