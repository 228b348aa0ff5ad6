"""Micro-bumps between stacked dies. z = 0 is the upper face of the die that the lowest bumps stand on."""

from __future__ import annotations

from dataclasses import replace
from math import hypot, sqrt

import numpy as np

from longexposure.simulation.geometry.primitives import Cylinder, Primitive, Scene, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.grids import Grid, joint_budget
from longexposure.simulation.scenes.joints import (
    Joint,
    Porosity,
    array_facts,
    ball_joints,
    micro_joint,
    visible,
)
from longexposure.simulation.scenes.layout import (
    Random,
    as_places,
    bernoulli,
    between,
    in_view,
    part_angle_deg,
    reach_um,
    spread,
    turned,
)

_MOST_BUMPS = 900
"""Bumps that a small view shows at most, in one layer."""


def micro_bumps(random: Random, *, view: View) -> Scene:
    """Micro-bumps between stacked dies, in blocks with streets, through-silicon vias in line with them.

    Bumps of 10 to 40 um at 20 to 100 um, 5 to 20 um of tin-silver between copper of 3 to 10 um; dies of 30 to
    100 um; vias of 4 to 10 um (JEDEC JESD235 and published stacks). The blocks in the middle are joints of
    their own, those around them plain cylinders.
    """
    pitch = spread(random, *_pitches(view))
    diameter = float(np.clip(pitch * between(random, 0.42, 0.6), 10, 40))
    joint = micro_joint(random, diameter=diameter, pitch=pitch)
    blocks = _blocks(random, view, pitch)
    singles, masses = _shared_out(view, blocks, joint)
    porosity = Porosity(fraction=between(random, 0, 0.15), mean_count=1.0, largest=0.2)
    features = tuple(
        feature
        for grid in singles
        for feature in ball_joints(
            random, view, visible(view, grid, joint), kind="bump", joint=joint, porosity=porosity
        )
    )
    others = [primitive for grid in masses for primitive in _mass(view, grid, joint)]
    others += _stack(random, view, blocks, joint)
    facts = array_facts(joint, blocks[0], blocks=float(len(blocks)))
    return Scene("micro_bumps", features, tuple(others), facts)


def _pitches(view: View) -> tuple[float, float]:
    """Finest and coarsest pitch: 6 px and up, and so that the view does not show too many bumps."""
    width, height = view.extent_um
    finest = max(6 * view.pixel_um, sqrt(width * height / max(_MOST_BUMPS, joint_budget(view))))
    low, high = np.clip([finest, max(0.3 * min(width, height), finest)], 20, 100).tolist()
    return low, high


def _blocks(random: Random, view: View, pitch: float) -> list[Grid]:
    """Equal blocks of micro-bumps with streets between them, as many as the view shows."""
    turn, most = part_angle_deg(random), joint_budget(view) // 2
    columns = int(random.integers(6, max(most // 6, 7) + 1))
    rows = max(min(int(random.integers(4, 25)), most // columns), 2)
    size = np.array([columns, rows]) * pitch + pitch * between(random, 0.6, 5)
    count = (2 * reach_um(view) / size).astype(int) + 3
    steps = np.mgrid[: count[0], : count[1]].reshape(2, -1).T - (count - 1) / 2
    places = turned((steps + random.uniform(-0.3, 0.3, 2)) * size, turn)
    places = places[in_view(view, places, margin_um=hypot(*size.tolist()) / 2)]
    places = places[np.argsort(np.linalg.norm(places, axis=1), kind="stable")]
    # Each bump is drawn by itself, so the field is finite, as on a real die.
    places = places[: max(max(_MOST_BUMPS, joint_budget(view)) // (rows * columns), 1)]
    present = np.ones((rows, columns), bool)
    return [Grid(at, turn, (pitch, pitch), present) for at in as_places(places)]


def _shared_out(view: View, blocks: list[Grid], joint: Joint) -> tuple[list[Grid], list[Grid]]:
    """Blocks whose bumps are joints of their own, in the middle of the view, and the others."""
    left = joint_budget(view)
    for index, grid in enumerate(blocks):
        left -= len(visible(view, grid, joint))
        if left < 0:
            return blocks[: max(index, 1)], blocks[max(index, 1) :]
    return blocks, []


def _dots(view: View, grid: Grid, material: str, *, wide: float, low: float, high: float) -> list[Primitive]:
    """An upright cylinder in the place of each joint that is seen."""
    places = grid.joints()
    places = places[in_view(view, places, margin_um=wide, heights=(low, (low + high) / 2, high))]
    return [
        Cylinder(material=material, at=at, radius=wide / 2, bottom=low, top=high) for at in as_places(places)
    ]


def _mass(view: View, grid: Grid, joint: Joint, lift: float = 0.0) -> list[Primitive]:
    """A block of micro-bumps: solder between copper, all upright."""
    (lower, low), (upper, high) = joint.lower_pad, joint.upper_pad
    bottom, top = joint.bottom + lift, joint.top + lift
    return [
        *_dots(view, grid, joint.solder, wide=2 * joint.radius, low=bottom, high=top),
        *_dots(view, grid, "Cu", wide=2 * lower, low=bottom - low, high=bottom),
        *_dots(view, grid, "Cu", wide=2 * upper, low=top, high=top + high),
    ]


def _stack(random: Random, view: View, blocks: list[Grid], joint: Joint) -> list[Primitive]:
    """Silicon below and above, vias through it, and at times more layers of bumps, a little out of line."""
    thick, via = between(random, 30, 100), between(random, 4, min(10, joint.radius))
    bumps = sum(len(visible(view, grid, joint)) for grid in blocks)
    layers = int(random.integers(0, 4)) if bumps < _MOST_BUMPS // 3 else int(bernoulli(random, 0.3))
    gap, turn = joint.top + joint.upper_pad[1], blocks[0].turn_deg
    wide = 4 * reach_um(view, (layers + 1) * (thick + gap))
    primitives: list[Primitive] = []
    for layer in range(layers + 2):
        low = (thick + gap) * (layer - 1) + gap
        high = low + thick
        primitives.append(
            Slab(material="Si", at=(0.0, 0.0), sides=(wide, wide), bottom=low, top=high, turn_deg=turn)
        )
        off = 0.03 * blocks[0].pitch[0] * random.standard_normal(2) * (layer > 0)
        for grid in blocks if layer <= layers else ():
            moved = replace(grid, at=(grid.at[0] + float(off[0]), grid.at[1] + float(off[1])))
            primitives += _dots(view, moved, "Cu", wide=via, low=low, high=high)
            primitives += _mass(view, moved, joint, high) if layer else []
    return primitives
