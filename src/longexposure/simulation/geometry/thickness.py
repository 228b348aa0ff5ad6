"""How far the rays of a view run inside the primitives of a scene: thickness maps in um, antialiased.

Exact for a parallel beam apart from pixels at edges, which are right to a few hundredths of the primitive's
thickness, somewhat more at sharp corners; a central beam is taken as parallel within each primitive, or each
piece of a line, with the slope and the magnification of its middle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from longexposure.simulation.geometry.canvas import Canvas, Image, Parts
from longexposure.simulation.geometry.lattices import lattice_parts
from longexposure.simulation.geometry.lines import track_parts, wire_parts
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Grain,
    Lattice,
    Primitive,
    Slab,
    Track,
    Weave,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.prisms import box_parts, cone_parts, cylinder_parts
from longexposure.simulation.geometry.quadrics import ellipsoid_parts
from longexposure.simulation.geometry.textures import grain_um, weave_um
from longexposure.simulation.geometry.view import View

_PARTS: dict[type, Callable[..., Iterator[Parts]]] = {
    Ball: ellipsoid_parts,
    Ellipsoid: ellipsoid_parts,
    Cylinder: cylinder_parts,
    Cone: cone_parts,
    Slab: box_parts,
    Wedge: box_parts,
    Track: track_parts,
    Wire: wire_parts,
    Lattice: lattice_parts,
}


def thickness_maps(primitives: Sequence[Primitive], view: View) -> dict[str, Image]:
    """Length in um that each ray runs inside each material, times `amount`, (H, W) float32, 0 or more.

    Each value is the mean over its pixel. Places where primitives overlap count twice, unless one of them
    takes away (amount -1); less than nothing becomes 0. Without primitives there are no maps.

    Raises:
        RecipeError: a primitive whose middle is as high as the source.
    """
    canvas = Canvas(view, list(dict.fromkeys(primitive.material for primitive in primitives)))
    groups: dict[type, list[Primitive]] = defaultdict(list)
    for primitive in primitives:
        groups[type(primitive)].append(primitive)
        if isinstance(primitive, Weave | Grain):
            texture = weave_um(primitive, view) if isinstance(primitive, Weave) else grain_um(primitive, view)
            texture *= np.float32(primitive.amount * view.path_factor(view.slope))
            canvas.add(primitive.material, (0, 0), texture)
    for kind, find_parts in _PARTS.items():
        if kind in groups:
            for parts in find_parts(groups[kind], canvas):
                canvas.draw(parts)
    return canvas.finish()
