"""Slabs in a part's own axes, and what defects must know of such a thing."""

from __future__ import annotations

from longexposure.simulation.geometry.primitives import Place, Slab
from longexposure.simulation.scenes.frame import Frame


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
