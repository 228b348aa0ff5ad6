"""FR-4: the board's slab and the glass cloth in it, as in IPC-4412."""

from __future__ import annotations

from math import hypot

import numpy as np

from longexposure.simulation.geometry.primitives import Primitive, Slab, Weave
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.layout import Random, between, spread

_CLOTHS_UM = ((450, 450, 50), (420, 540, 75), (425, 440, 115), (578, 820, 190))
"""Distance of warp and weft yarns and thickness of a ply: styles 106, 1080, 2116 and 7628."""


def laminate(
    random: Random, view: View, *, top_um: float = 0.0, thickness_um: float | None = None
) -> tuple[Primitive, ...]:
    """FR-4 under all that is seen: a slab, and several plies of glass cloth in it, each a little turned.

    Args:
        random: of the scene.
        view: who looks.
        top_um: height of the upper face.
        thickness_um: of the board; none draws 0.2 to 1.6 mm.
    """
    thickness = spread(random, 200, 1600) if thickness_um is None else thickness_um
    warp, weft, ply = _CLOTHS_UM[int(random.integers(len(_CLOTHS_UM)))]
    plies = int(np.clip(0.7 * thickness / ply, 1, 7))
    fraction, turn = 0.6 * thickness / plies, between(random, 0, 360)
    side = 3 * hypot(*view.extent_um) + 8 * thickness * (1 + hypot(*view.slope))
    slab = {"bottom": top_um - thickness, "top": top_um - 0.6 * thickness}
    cloth = [
        Weave(
            material="FR-4",
            period=(warp * between(random, 0.97, 1.03), weft * between(random, 0.97, 1.03)),
            mean=fraction,
            swing=min(fraction, ply) * between(random, 0.15, 0.35),
            turn_deg=turn + 0.8 * float(random.standard_normal()),
            seed=int(random.integers(1 << 31)),
        )
        for _ in range(plies)
    ]
    return (Slab(material="FR-4", at=(0.0, 0.0), sides=(side, side), **slab), *cloth)
