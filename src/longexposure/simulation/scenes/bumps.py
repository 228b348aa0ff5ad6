"""Bumps and pillars of a die that lies face down on a build-up substrate.

z = 0 is the face of the substrate, which lies below; joints and die lie above. Where no drawing is public,
dimensions are typical of makers' design rules.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from longexposure.simulation.geometry.primitives import Ball, Cylinder, Primitive, Scene, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.grids import (
    Grid,
    bundle,
    escapes,
    joint_budget,
    pitch_range,
    placed_grid,
    plane,
)
from longexposure.simulation.scenes.joints import (
    Joint,
    Porosity,
    array_facts,
    ball_joints,
    collapsed_joint,
    pillar_joints,
    visible,
)
from longexposure.simulation.scenes.layout import (
    Mask,
    Numbers,
    Random,
    as_places,
    bernoulli,
    between,
    cloth,
    in_view,
    reach_um,
    spread,
    turned,
)


def flip_chip(random: Random, *, view: View) -> Scene:
    """C4 bumps below a silicon die on a build-up substrate with escapes, planes and plated holes.

    Bumps of 60 to 150 um at a pitch of 130 to 250 um, 0.5 to 0.75 of that high; die 0.2 to
    0.78 mm; lines of 9 to 20 um; core of 0.4 to 0.8 mm with plated holes of 100 to 200 um (design rules).
    """
    pitch = spread(random, *pitch_range(view, 130, 250))
    staggered = bernoulli(random, 0.3)
    present = _die_array(random, view, staggered=staggered)
    step = pitch / sqrt(2) if staggered else pitch
    grid = placed_grid(random, view, (step, step), present)
    diameter = float(np.clip(pitch * between(random, 0.44, 0.6), 60, 140))
    solder = "SAC305" if bernoulli(random, 0.8) else "Sn63Pb37"
    joint = collapsed_joint(
        random, solder=solder, diameter=diameter, pitch=grid.nearest_um(), copper=(12, 18), upper=(2, 9)
    )
    porosity = Porosity(fraction=between(random, 0, 0.35), mean_count=1.3, largest=between(random, 0.1, 0.2))
    places = visible(view, grid, joint)
    features = tuple(ball_joints(random, view, places, kind="bump", joint=joint, porosity=porosity))
    die = _die(random, grid, bottom=joint.top + joint.upper_pad[1], thick=between(random, 200, 780))
    below = _build_up(random, view, grid, land_um=2 * joint.lower_pad[0])
    return Scene("flip_chip", features, (*below, *die), array_facts(joint, grid))


def copper_pillars(random: Random, *, view: View) -> Scene:
    """Copper pillars with solder caps: rows of fine pitch along the die's edges, a coarser core.

    Pillars of 30 to 100 um, 25 to 65 um high, at 1.6 to 2.6 diameters; caps of 12 to 32 um of tin-silver,
    which bulge by up to a quarter; lines of the substrate that they stand on (makers' design rules).
    """
    low, high = pitch_range(view, 55, 220)
    pitch = spread(random, low, high)
    diameter = float(np.clip(pitch / between(random, 1.6, 2.6), 30, 100))
    pitch = max(pitch, 1.5 * diameter)
    grid = placed_grid(
        random, view, (pitch, pitch), _die_array(random, view, staggered=bernoulli(random, 0.25))
    )
    cap, copper = between(random, 12, 32), between(random, 25, 65)
    joint = Joint(
        solder="SAC305",
        radius=diameter / 2 * between(random, 1.0, 1.25),
        middle=15 + cap / 2,
        bottom=15.0,
        top=15 + cap,
        lower_pad=(diameter * between(random, 0.5, 0.62), 15.0),
        upper_pad=(diameter / 2, copper),
        pitch=grid.nearest_um(),
    )
    places = visible(view, grid, joint)
    porosity = Porosity(fraction=between(random, 0, 0.2), mean_count=1.0, largest=0.15)
    features = tuple(pillar_joints(random, view, places, joint=joint, porosity=porosity))
    die = _die(random, grid, bottom=joint.top + copper, thick=between(random, 50, 500))
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
    edge = between(random, 0.0, 2.0)
    sides = grid.sides[0] + edge * grid.pitch[0], grid.sides[1] + edge * grid.pitch[1]
    fillet = between(random, 50, 400)
    wide = sides[0] + fillet, sides[1] + fillet
    turn = grid.turn_deg
    return [
        Slab(material="Si", at=grid.at, sides=sides, bottom=bottom, top=bottom + thick, turn_deg=turn),
        Slab(material="epoxy", at=grid.at, sides=wide, bottom=0.0, top=bottom, turn_deg=turn),
    ]


def _build_up(random: Random, view: View, grid: Grid, *, land_um: float) -> list[Primitive]:
    """A substrate: lines on its face, planes with holes, a core with plated holes, at times balls below."""
    line, copper, layers = between(random, 9, 20), between(random, 10, 18), between(random, 60, 140)
    core = between(random, 400, 800)
    primitives: list[Primitive] = [cloth(random, core)]
    primitives += escapes(random, view, grid, land_um=land_um, line_um=line, bottom=0.0, top=copper)
    for _ in range(int(random.integers(0, 3))):
        low = -layers * between(random, 0.2, 1.0)
        primitives += bundle(random, view, line_um=line, bottom=low, top=low + copper)
    for layer in range(int(random.integers(0, 3))):
        low = -layers * (0.4 + 0.4 * layer)
        primitives.append(plane(random, grid, low=low, pitch=spread(random, 120, 450)))
    if bernoulli(random, 0.75):
        primitives += _plated_holes(random, view, grid, low=-layers - core, high=-layers)
    if bernoulli(random, 0.25):
        primitives += _balls_below(random, view, grid.turn_deg, top=-2 * layers - core)
    return primitives


def _square(random: Random, view: View, turn_deg: float, *, pitch: float, height: float) -> Numbers:
    """Places (N, 2) of a turned square array that fills the view at this height, nearest first."""
    count = int(2 * reach_um(view, height) / pitch) + 2
    steps = (np.mgrid[:count, :count].reshape(2, -1).T - (count - 1) / 2 + random.random(2)) * pitch
    lean = np.array(view.slope) * -height
    places = turned(steps, turn_deg) + lean
    places = places[in_view(view, places, margin_um=pitch / 2, heights=(height,))]
    return places[np.argsort(np.linalg.norm(places - lean, axis=1), kind="stable")]


def _plated_holes(random: Random, view: View, grid: Grid, *, low: float, high: float) -> list[Primitive]:
    """Some of the holes of a core's raster, 0.1 to 0.2 mm wide, with walls of 15 to 25 um."""
    pitch, radius, wall = between(random, 300, 650), between(random, 50, 100), between(random, 15, 25)
    places = _square(random, view, grid.turn_deg, pitch=pitch, height=(low + high) / 2)
    used = places[random.random(len(places)) < between(random, 0.25, 0.9)][: joint_budget(view)]
    return [
        Cylinder(material="Cu", at=at, radius=radius, inner_radius=radius - wall, bottom=low, top=high)
        for at in as_places(used)
    ]


def _balls_below(random: Random, view: View, turn_deg: float, *, top: float) -> list[Primitive]:
    """The package's own balls on its lower side."""
    pitch = float(random.choice((650.0, 800.0, 1000.0)))
    radius = pitch * between(random, 0.25, 0.31)
    places = _square(random, view, turn_deg, pitch=pitch, height=top - radius)[: joint_budget(view) // 2]
    return [
        Ball(material="SAC305", at=(x, y, top - 0.8 * radius), radius=radius, top=top)
        for x, y in as_places(places)
    ]
