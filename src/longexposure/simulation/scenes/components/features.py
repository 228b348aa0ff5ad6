"""Boxes in a part's own axes; what slabs, traces and vias say of themselves, which defects must know."""

from __future__ import annotations

from collections.abc import Sequence

from longexposure.simulation.geometry.frame import Frame
from longexposure.simulation.geometry.primitives import Feature, Place, Primitive, Slab, Track


def box(
    material: str,
    frame: Frame,
    sides: Place,
    bottom: float,
    top: float,
    *,
    x: float = 0.0,
    y: float = 0.0,
    amount: float = 1.0,
) -> Slab:
    """A slab along the axes of a part, its middle at the part's own (x, y), um."""
    return Slab(
        material=material,
        amount=amount,
        at=frame.place(x, y),
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


def slab_feature(
    kind: str,
    slab: Slab,
    others: Sequence[Primitive] = (),
    *,
    size_um: float | None = None,
    z: float | None = None,
) -> Feature:
    """A slab and what belongs to it; as large as its longer side, at half its height, unless said."""
    middle = (slab.bottom + slab.top) / 2 if z is None else z
    about = about_box(slab.sides, slab.turn_deg, slab.bottom, slab.top)
    return Feature(kind, (*slab.at, middle), size_um or max(slab.sides), (slab, *others), about)


def trace_feature(
    points: tuple[Place, ...],
    width: float,
    gap: float,
    *,
    bottom: float,
    top: float,
    z: float,
    middle: int = 1,
    others: Sequence[Primitive] = (),
) -> Feature:
    """A copper trace of this width along places, with the gap to its neighbours; it is at one of its places.

    Args:
        points: of the trace.
        width: of the trace, um.
        gap: to its neighbours, um.
        bottom: height of its lower face.
        top: of its upper face.
        z: height of the feature.
        middle: number of the place where the feature is.
        others: what else belongs to it.
    """
    track = Track(material="Cu", points=points, width=width, bottom=bottom, top=top)
    about = {"width_um": width, "gap_um": gap, "bottom_um": bottom, "top_um": top}
    return Feature("trace", (*points[middle], z), width, (track, *others), about)


def via_feature(
    at: Place,
    radius: float,
    primitives: Sequence[Primitive],
    *,
    bottom: float,
    top: float,
    size_um: float | None = None,
) -> Feature:
    """A via of this outer radius between two heights, as large as its outer diameter unless said."""
    about = {"radius_um": radius, "bottom_um": bottom, "top_um": top}
    return Feature("via", (*at, (bottom + top) / 2), size_um or 2 * radius, tuple(primitives), about)
