"""Ball grid arrays on their boards.

z = 0 is the face of the board, which lies below; balls and package lie above. Dimensions follow JEDEC
outlines and, where no drawing is public, design rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import hypot, sqrt

import numpy as np

from longexposure.simulation.geometry.frame import as_places, in_view, rotated
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Primitive, Scene, Track
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
    ring,
)
from longexposure.simulation.scenes.components.board import cloth
from longexposure.simulation.scenes.components.features import box
from longexposure.simulation.scenes.components.solder import (
    Joint,
    Porosity,
    array_facts,
    ball_joints,
    collapsed_joint,
    visible,
)
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, uniform

BALLS_UM: Mapping[float, tuple[float, ...]] = {
    300.0: (200.0,),
    400.0: (250.0, 200.0),
    500.0: (300.0, 250.0),
    650.0: (400.0, 350.0, 300.0),
    800.0: (500.0, 450.0, 400.0),
    1000.0: (600.0, 500.0),
    1270.0: (760.0, 600.0),
}
"""Pitch of a BGA to the diameters of the balls that are sold for it (JEDEC MO-192, MO-195, MO-275)."""


def bga(random: Random, *, view: View) -> Scene:
    """A ball grid array on its board: collapsed balls between pads, voids, dog-bones, escapes, weave.

    Pitch 0.3 to 1.27 mm with balls of 0.2 to 0.76 mm (JEDEC); wetted pads 72 to 92 % of the ball, copper of
    18 to 50 um, board of 0.8 to 2.4 mm, substrate of 0.2 to 0.6 mm, die of 0.1 to 0.4 mm at times.
    """
    grid, joint = _ball_array(random, view)
    porosity = Porosity(
        fraction=uniform(random, 0.1, 0.75),
        mean_count=log_uniform(random, 0.8, 5),
        largest=uniform(random, 0.1, 0.24),
    )
    board = uniform(random, 800, 2400)
    features: list[Feature] = []
    others: list[Primitive] = [cloth(random, board)]
    for _ in range(int(random.integers(0, 4))):
        low, line = -uniform(random, 100, board), uniform(random, 60, 130)
        others += bundle(random, view, line_um=line, bottom=low, top=low + uniform(random, 15, 35))
    grids = [grid]
    # Where the view has room, more of its kind stand beside it, as memory is placed.
    rooms = [side + uniform(random, 1500, 8000) for side in grid.sides]
    fit = joint_budget(view) // max(int(np.count_nonzero(grid.present)), 1)
    if fit >= 2 and max(rooms) <= 1.2 * max(view.extent_um) and not bernoulli(random, 0.3):
        places = rotated(np.mgrid[-4:5, -4:5].reshape(2, -1).T * rooms, grid.turn_deg, grid.at)
        places = places[in_view(view, places, margin_um=hypot(*grid.sides) / 2)]
        grids = [replace(grid, at=at) for at in as_places(nearest_first(places, grid.at)[:fit])]
    for part in grids:
        places = visible(view, part, joint)
        features += ball_joints(random, view, places, kind="ball", joint=joint, porosity=porosity)
        others += _package(random, part, joint)
        line = min(uniform(random, 60, 130), 0.15 * min(grid.pitch))
        land, copper = 2 * joint.lower_pad[0], joint.lower_pad[1]
        if len(grids) == 1:
            others += escapes(random, view, part, land_um=land, line_um=line, bottom=0.0, top=copper)
        if bernoulli(random, 0.6):
            others += _dog_bones(random, view, part, joint, board)
    facts = array_facts(
        joint, grid, board_um=board, void_fraction=porosity.fraction, packages=float(len(grids))
    )
    return Scene("bga", tuple(features), tuple(others), facts)


def _ball_array(random: Random, view: View) -> tuple[Grid, Joint]:
    low, high = pitch_range(view, min(BALLS_UM), max(BALLS_UM))
    fits = [pitch for pitch in BALLS_UM if low <= pitch <= high]
    pitch = float(random.choice(fits or [min(BALLS_UM, key=lambda pitch: abs(pitch - (low + high) / 2))]))
    diameter = float(random.choice(BALLS_UM[pitch]))
    most = int(sqrt(joint_budget(view)))
    rows, columns = (int(n) for n in random.integers(min(6, most), min(34, most) + 1, 2))
    if bernoulli(random, 0.6):
        columns = rows
    kind = random.random()
    deep = max(rows, columns) if kind < 0.35 else int(random.integers(2, 6))
    core = int(random.integers(2, 9)) if kind > 0.65 else 0
    grid = placed_grid(random, view, (pitch, pitch), ring(random, rows, columns, deep=deep, core=core))
    solder = "Sn63Pb37" if bernoulli(random, 0.2) else "SAC305"
    joint = collapsed_joint(
        random, solder=solder, diameter=diameter, pitch=grid.nearest_um(), copper=(18, 50), upper=(15, 30)
    )
    return grid, joint


def _dog_bones(random: Random, view: View, grid: Grid, joint: Joint, board: float) -> list[Primitive]:
    """A short line from each inner land to a via in the middle of four balls; laser vias at fine pitch."""
    through = min(grid.pitch) >= 650
    radius = min(grid.pitch) * uniform(random, 0.12, 0.17)
    depth, wall = (board, uniform(random, 18, 30)) if through else (uniform(random, 60, 100), 0.7 * radius)
    inner = grid.present.copy()
    inner[:2] = inner[-2:] = False
    inner[:, :2] = inner[:, -2:] = False
    copper, shift = joint.lower_pad[1], np.array(grid.pitch) / 2 * random.choice((-1, 1), 2)
    lands = replace(grid, present=inner).joints()
    lands = lands[in_view(view, lands, margin_um=max(grid.pitch), heights=(0.0, -depth))]
    lands = lands[: joint_budget(view)]
    vias = lands + rotated(shift, grid.turn_deg)
    primitives: list[Primitive] = []
    for land, via in zip(as_places(lands), as_places(vias), strict=True):
        barrel = Cylinder(
            material="Cu", at=via, radius=radius, inner_radius=radius - wall, bottom=-depth, top=copper
        )
        bone = Track(material="Cu", points=(land, via), width=0.8 * radius, bottom=0.0, top=copper)
        primitives += [barrel, bone]
    return primitives


def _package(random: Random, grid: Grid, joint: Joint) -> list[Primitive]:
    """The substrate with a plane at times, a die and mould compound at times."""
    bottom = joint.top + joint.upper_pad[1]
    width, height = grid.sides[0] + 0.4 * grid.pitch[0], grid.sides[1] + 0.4 * grid.pitch[1]
    thick = uniform(random, 200, 600)
    top = bottom + thick
    primitives: list[Primitive] = [box("FR-4", grid.frame, (width, height), bottom, top)]
    if bernoulli(random, 0.4):
        primitives.append(plane(random, grid, low=bottom + 0.6 * thick, pitch=uniform(random, 250, 600)))
    if bernoulli(random, 0.5):
        high, fraction = top + uniform(random, 100, 400), uniform(random, 0.25, 0.75)
        primitives.append(box("Si", grid.frame, (width * fraction, height * fraction), top, high))
        if bernoulli(random, 0.6):
            mould = high + uniform(random, 100, 500)
            primitives.append(box("EMC", grid.frame, (width, height), top, mould))
    return primitives
