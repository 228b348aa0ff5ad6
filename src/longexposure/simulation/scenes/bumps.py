"""Bumps and pillars of a die that lies face down on a build-up substrate.

z = 0 is the face of the substrate, which lies below; joints and die lie above. Where no drawing is public,
dimensions are typical of makers' design rules.
"""

from __future__ import annotations

from dataclasses import replace
from math import hypot, sqrt

import numpy as np

from longexposure.simulation.geometry.frame import Frame, Mask, Numbers, as_places, in_view, reach_um, rotated
from longexposure.simulation.geometry.primitives import Ball, Cylinder, Feature, Primitive, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.arrays import (
    Grid,
    bundle,
    escapes,
    joint_budget,
    nearest_first,
    pitch_range,
    placed_grid,
    plane,
)
from longexposure.simulation.scenes.components.board import cloth
from longexposure.simulation.scenes.components.features import box
from longexposure.simulation.scenes.components.solder import (
    Joint,
    Porosity,
    array_facts,
    ball_joints,
    collapsed_joint,
    pillar_joints,
    visible,
)
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, part_angle_deg, uniform

_MOST_BUMPS = 900
"""Micro-bumps that a small view shows at most, in one layer."""


def flip_chip(random: Random, *, view: View) -> Scene:
    """C4 bumps below a silicon die on a build-up substrate with escapes, planes and plated holes.

    Bumps of 60 to 150 um at a pitch of 130 to 250 um, 0.5 to 0.75 of that high; die 0.2 to
    0.78 mm; lines of 9 to 20 um; core of 0.4 to 0.8 mm with plated holes of 100 to 200 um (design rules).
    """
    pitch = log_uniform(random, *pitch_range(view, 130, 250))
    staggered = bernoulli(random, 0.3)
    present = _die_array(random, view, staggered=staggered)
    step = pitch / sqrt(2) if staggered else pitch
    grid = placed_grid(random, view, (step, step), present)
    diameter = float(np.clip(pitch * uniform(random, 0.44, 0.6), 60, 140))
    solder = "SAC305" if bernoulli(random, 0.8) else "Sn63Pb37"
    joint = collapsed_joint(
        random, solder=solder, diameter=diameter, pitch=grid.nearest_um(), copper=(12, 18), upper=(2, 9)
    )
    porosity = Porosity(fraction=uniform(random, 0, 0.35), mean_count=1.3, largest=uniform(random, 0.1, 0.2))
    places = visible(view, grid, joint)
    features = tuple(ball_joints(random, view, places, kind="bump", joint=joint, porosity=porosity))
    die = _die(random, grid, bottom=joint.top + joint.upper_pad[1], thick=uniform(random, 200, 780))
    below = _build_up(random, view, grid, land_um=2 * joint.lower_pad[0])
    return Scene("flip_chip", features, (*below, *die), array_facts(joint, grid))


def copper_pillars(random: Random, *, view: View) -> Scene:
    """Copper pillars with solder caps: rows of fine pitch along the die's edges, a coarser core.

    Pillars of 30 to 100 um, 25 to 65 um high, at 1.6 to 2.6 diameters; caps of 12 to 32 um of tin-silver,
    which bulge by up to a quarter; lines of the substrate that they stand on (makers' design rules).
    """
    low, high = pitch_range(view, 55, 220)
    pitch = log_uniform(random, low, high)
    diameter = float(np.clip(pitch / uniform(random, 1.6, 2.6), 30, 100))
    pitch = max(pitch, 1.5 * diameter)
    grid = placed_grid(
        random, view, (pitch, pitch), _die_array(random, view, staggered=bernoulli(random, 0.25))
    )
    cap, copper = uniform(random, 12, 32), uniform(random, 25, 65)
    joint = Joint(
        solder="SAC305",
        radius=diameter / 2 * uniform(random, 1.0, 1.25),
        middle=15 + cap / 2,
        bottom=15.0,
        top=15 + cap,
        lower_pad=(diameter * uniform(random, 0.5, 0.62), 15.0),
        upper_pad=(diameter / 2, copper),
        pitch=grid.nearest_um(),
    )
    places = visible(view, grid, joint)
    porosity = Porosity(fraction=uniform(random, 0, 0.2), mean_count=1.0, largest=0.15)
    features = tuple(pillar_joints(random, view, places, joint=joint, porosity=porosity))
    die = _die(random, grid, bottom=joint.top + copper, thick=uniform(random, 50, 500))
    below = _build_up(random, view, grid, land_um=2 * joint.lower_pad[0])
    return Scene("copper_pillars", features, (*below, *die), array_facts(joint, grid, copper_um=copper))


def _die_array(random: Random, view: View, *, staggered: bool) -> Mask:
    """Which bumps a die has: all, or some rows around and a sparser core for power and ground."""
    most = max(int(sqrt(joint_budget(view) * (2 if staggered else 1))), 4)
    rows, columns = (int(n) for n in random.integers(max(most // 3, 4), most + 1, 2))
    row, column = np.mgrid[:rows, :columns]
    present = (row + column) % 2 == 0 if staggered else np.ones((rows, columns), bool)
    if bernoulli(random, 0.5):
        deep, step = int(random.integers(2, 6)), int(random.choice((2, 3)) if not staggered else 4)
        edge = np.minimum.reduce([row, column, rows - 1 - row, columns - 1 - column]) < deep
        sparse = (row % step == 0) & (column % step == 0) if bernoulli(random, 0.7) else np.zeros_like(edge)
        present = present & (edge | sparse)
    return present


def _die(random: Random, grid: Grid, *, bottom: float, thick: float) -> list[Primitive]:
    """Silicon above the joints, and underfill up to it that reaches out as a fillet."""
    edge = uniform(random, 0.0, 2.0)
    sides = grid.sides[0] + edge * grid.pitch[0], grid.sides[1] + edge * grid.pitch[1]
    fillet = uniform(random, 50, 400)
    wide = sides[0] + fillet, sides[1] + fillet
    return [
        box("Si", grid.frame, sides, bottom, bottom + thick),
        box("epoxy", grid.frame, wide, 0.0, bottom),
    ]


def _build_up(random: Random, view: View, grid: Grid, *, land_um: float) -> list[Primitive]:
    """A substrate: lines on its face, planes with holes, a core with plated holes, at times balls below."""
    line, copper, layers = uniform(random, 9, 20), uniform(random, 10, 18), uniform(random, 60, 140)
    core = uniform(random, 400, 800)

    def raster(pitch: float, height: float) -> Numbers:
        """Places (N, 2) of a turned square array that fills the view at this height, nearest first."""
        count = int(2 * reach_um(view, height) / pitch) + 2
        steps = (np.mgrid[:count, :count].reshape(2, -1).T - (count - 1) / 2 + random.random(2)) * pitch
        lean = np.array(view.slope) * -height
        places = rotated(steps, grid.turn_deg) + lean
        return nearest_first(places[in_view(view, places, margin_um=pitch / 2, heights=(height,))], lean)

    primitives: list[Primitive] = [cloth(random, core)]
    primitives += escapes(random, view, grid, land_um=land_um, line_um=line, bottom=0.0, top=copper)
    for _ in range(int(random.integers(0, 3))):
        low = -layers * uniform(random, 0.2, 1.0)
        primitives += bundle(random, view, line_um=line, bottom=low, top=low + copper)
    for layer in range(int(random.integers(0, 3))):
        low = -layers * (0.4 + 0.4 * layer)
        primitives.append(plane(random, grid, low=low, pitch=log_uniform(random, 120, 450)))
    if bernoulli(random, 0.75):
        # Some of the holes of the core's raster, 0.1 to 0.2 mm wide, with walls of 15 to 25 um.
        pitch, radius, wall = uniform(random, 300, 650), uniform(random, 50, 100), uniform(random, 15, 25)
        low, high, inner = -layers - core, -layers, radius - wall
        places = raster(pitch, (low + high) / 2)
        used = places[random.random(len(places)) < uniform(random, 0.25, 0.9)][: joint_budget(view)]
        primitives += [
            Cylinder(material="Cu", at=at, radius=radius, inner_radius=inner, bottom=low, top=high)
            for at in as_places(used)
        ]
    if bernoulli(random, 0.25):
        # The package's own balls on its lower side.
        pitch, top = float(random.choice((650.0, 800.0, 1000.0))), -2 * layers - core
        radius = pitch * uniform(random, 0.25, 0.31)
        places = raster(pitch, top - radius)[: joint_budget(view) // 2]
        primitives += [
            Ball(material="SAC305", at=(x, y, top - 0.8 * radius), radius=radius, top=top)
            for x, y in as_places(places)
        ]
    return primitives


def micro_bumps(random: Random, *, view: View) -> Scene:
    """Micro-bumps between stacked dies, in blocks with streets, through-silicon vias in line with them.

    Bumps of 10 to 40 um at 20 to 100 um, 5 to 20 um of tin-silver between copper of 3 to 10 um; dies of 30 to
    100 um; vias of 4 to 10 um (JEDEC JESD235 and published stacks). The blocks in the middle are joints of
    their own, those around them plain cylinders.
    """
    # Pitches of 6 px and up, and so that the view does not show too many bumps.
    width, height = view.extent_um
    finest = max(6 * view.pixel_um, sqrt(width * height / max(_MOST_BUMPS, joint_budget(view))))
    pitches = np.clip([finest, max(0.3 * min(width, height), finest)], 20, 100).tolist()
    pitch = log_uniform(random, *pitches)
    diameter = float(np.clip(pitch * uniform(random, 0.42, 0.6), 10, 40))
    joint = _micro_joint(random, diameter=diameter, pitch=pitch)
    blocks = _blocks(random, view, pitch)
    porosity = Porosity(fraction=uniform(random, 0, 0.15), mean_count=1.0, largest=0.2)
    features: list[Feature] = []
    others: list[Primitive] = []
    left = joint_budget(view)
    for index, grid in enumerate(blocks):
        places = visible(view, grid, joint)
        left -= len(places)
        if left >= 0 or index == 0:
            features += ball_joints(random, view, places, kind="bump", joint=joint, porosity=porosity)
        else:
            others += _mass(view, grid, joint)
    others += _stack(random, view, blocks, joint)
    facts = array_facts(joint, blocks[0], blocks=float(len(blocks)))
    return Scene("micro_bumps", tuple(features), tuple(others), facts)


def _micro_joint(random: Random, *, diameter: float, pitch: float) -> Joint:
    """A flat joint: 5 to 20 um of solder, bulging a little, between copper as wide as the bump."""
    lower, upper = uniform(random, 3, 8), uniform(random, 3, 10)
    gap = min(uniform(random, 5, 20), diameter / 2)
    return Joint(
        solder="SAC305",
        radius=sqrt((diameter / 2) ** 2 + (gap / 2) ** 2),
        middle=lower + gap / 2,
        bottom=lower,
        top=lower + gap,
        lower_pad=(diameter / 2, lower),
        upper_pad=(diameter / 2, upper),
        pitch=pitch,
    )


def _blocks(random: Random, view: View, pitch: float) -> list[Grid]:
    """Equal blocks of micro-bumps with streets between them, as many as the view shows."""
    turn, most = part_angle_deg(random), joint_budget(view) // 2
    columns = int(random.integers(6, max(most // 6, 7) + 1))
    rows = max(min(int(random.integers(4, 25)), most // columns), 2)
    size = np.array([columns, rows]) * pitch + pitch * uniform(random, 0.6, 5)
    count = (2 * reach_um(view) / size).astype(int) + 3
    steps = np.mgrid[: count[0], : count[1]].reshape(2, -1).T - (count - 1) / 2
    places = rotated((steps + random.uniform(-0.3, 0.3, 2)) * size, turn)
    places = nearest_first(places[in_view(view, places, margin_um=hypot(*size.tolist()) / 2)])
    # Each bump is drawn by itself, so the field is finite, as on a real die.
    places = places[: max(max(_MOST_BUMPS, joint_budget(view)) // (rows * columns), 1)]
    present = np.ones((rows, columns), bool)
    return [Grid(at, turn, (pitch, pitch), present) for at in as_places(places)]


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
    thick, via = uniform(random, 30, 100), uniform(random, 4, min(10, joint.radius))
    bumps = sum(len(visible(view, grid, joint)) for grid in blocks)
    layers = int(random.integers(0, 4)) if bumps < _MOST_BUMPS // 3 else int(bernoulli(random, 0.3))
    gap, turn = joint.top + joint.upper_pad[1], blocks[0].turn_deg
    wide = 4 * reach_um(view, (layers + 1) * (thick + gap))
    primitives: list[Primitive] = []
    for layer in range(layers + 2):
        low = (thick + gap) * (layer - 1) + gap
        high = low + thick
        primitives.append(box("Si", Frame(turn_deg=turn), (wide, wide), low, high))
        off = 0.03 * blocks[0].pitch[0] * random.standard_normal(2) * (layer > 0)
        for grid in blocks if layer <= layers else ():
            moved = replace(grid, at=(grid.at[0] + float(off[0]), grid.at[1] + float(off[1])))
            primitives += _dots(view, moved, "Cu", wide=via, low=low, high=high)
            primitives += _mass(view, moved, joint, high) if layer else []
    return primitives
