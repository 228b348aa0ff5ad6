"""Chips: vias through silicon and memory cells; with redistribution and interposers, all scenes of chips.

Vias of 5 to 50 um at pitches of 10 to 200 um as in stacked memory and interposers (ITRS/IRDS); dies thinned
to 30 to 200 um. Cells are drawn as lattices. A chip's upper face lies at z = 0 unless something is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Lattice, Primitive, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.dies import any_die, budget_of, die_of, dots
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, resolved_um, uniform


def _through_via(
    sheet: ViewFrame, at: Numbers, *, radius: float, inner: float, bottom: float, top: float
) -> Feature:
    """Copper in place of silicon; with an inner radius a liner around a polymer core."""
    place, heights = sheet.places(at)[0], {"bottom": bottom, "top": top}
    copper = Cylinder(material="Cu", at=place, radius=radius, inner_radius=inner, **heights)
    hole = Cylinder(material="Si", amount=-1, at=place, radius=radius, **heights)
    core = [Cylinder(material="epoxy", at=place, radius=inner, **heights)] if inner else []
    return Feature(
        kind="via",
        at=(*place, (bottom + top) / 2),
        size_um=2 * radius,
        primitives=(copper, hole, *core),
        about={"radius_um": radius, "bottom_um": bottom, "top_um": top},
    )


def tsv_array(random: Random, *, view: View) -> Scene:
    """Copper vias through thinned silicon in blocks and rows, at times annular, with pads or bumps."""
    radius = resolved_um(random, view, um=(2.5, 25), px=(1.2, 8))
    pitch = float(np.clip(2 * radius * log_uniform(random, 1.6, 5), 10, 200))
    deep = float(np.clip(2 * radius * uniform(random, 4, 10), 30, 200))
    inner = radius * uniform(random, 0.5, 0.75) if radius > 8 and bernoulli(random, 0.3) else 0.0
    sheet = ViewFrame.drawn(random, view, height_um=deep)
    wide = np.full(2, 2.4 * sheet.reach_um + 2 * pitch)
    features = [die_of(sheet, np.zeros(2), wide, bottom=-deep, top=0.0)]
    if bernoulli(random, 0.4):
        features.append(any_die(random, sheet, bottom=10.0, top=10.0 + deep))
    budget, step = budget_of(view), np.array([pitch, pitch * float(random.choice([1.0, 1.0, 1.25, 0.866]))])
    blocks = _blocks(random, sheet, step)
    primitives: list[Primitive] = []
    for corner, shape in blocks:
        spots = corner + np.argwhere(np.ones(shape)) * step
        spots = spots[[sheet.sees(spot, radius) for spot in spots]] if len(spots) < 4 * budget else spots
        spots = spots[random.random(len(spots)) < uniform(random, 0.9, 1.1)]
        if len(spots) * 2 < budget:
            features += [
                _through_via(sheet, spot, radius=radius, inner=inner, bottom=-deep, top=0.0) for spot in spots
            ]
            budget -= 2 * len(spots)
        else:
            primitives.append(dots(sheet, (corner, shape, step), (2 * radius, -deep, 0.0), "Cu"))
        if bernoulli(random, 0.6):
            primitives.append(dots(sheet, (corner, shape, step), _pad(random, radius, pitch), "Cu"))
        if bernoulli(random, 0.3):
            primitives.append(
                dots(sheet, (corner, shape, step), (1.8 * radius, -deep - 0.8 * radius, -deep), "Sn")
            )
    facts = {"radius_um": radius, "pitch_um": pitch, "deep_um": deep, "turn_deg": sheet.turn_deg}
    return Scene("tsv_array", tuple(features), tuple(primitives), facts)


def _pad(random: Random, radius: float, pitch: float) -> tuple[float, float, float]:
    return min(2.6 * radius, 0.8 * pitch), 0.0, log_uniform(random, 2, 8)


def _blocks(random: Random, sheet: ViewFrame, step: Numbers) -> list[tuple[Numbers, Numbers]]:
    """First places, numbers of columns and rows: one block over all, a few rows, or blocks and streets."""
    whole, kind = 2 * sheet.reach_um / step, random.random()
    if kind < 0.3:
        size, count = np.ceil(whole), np.array([1, 1])
    elif kind < 0.55:
        size, count = (
            np.array([np.ceil(whole[0]), random.integers(2, 9)]),
            np.array([1, random.integers(1, 4)]),
        )
    else:
        size = random.integers(4, np.maximum(whole * 0.6, 5).astype(int) + 1).astype(np.float64)
        count = np.clip(np.ceil(whole / (size + 2)), 1, 5).astype(int)
    stride = (size + log_uniform(random, 1, 8)) * step
    first = -(count - 1) / 2 * stride - (size - 1) / 2 * step + random.uniform(-0.5, 0.5, 2) * step
    cells = np.argwhere(np.ones(count.astype(int)))
    return [(first + cell * stride, size.astype(int)) for cell in cells]


def memory_cells(random: Random, *, view: View) -> Scene:
    """Periodic cells in blocks between stripes of amplifiers, with lines, dummy fill and a power mesh on top.

    Up to eight thinned dies lie upon one another as in stacked memory; the metal of all is drawn as one.
    """
    sheet, dies = ViewFrame.drawn(random, view, height_um=50.0), int(random.integers(1, 9))
    pitch = np.array([resolved_um(random, view, um=(0.1, 60), px=(3, 30)) for _ in range(2)])
    if bernoulli(random, 0.4):
        pitch[1] = pitch[0]
    cells = np.array([random.integers(12, 65), random.integers(12, 65)])
    block, street = cells * pitch, random.uniform(1.5, 6, 2) * pitch
    metal = float(np.clip(pitch.min() * uniform(random, 0.2, 0.8), 0.1, 4)) * dies
    stride, count = block + street, np.clip(2 * sheet.reach_um / (block + street) + 1, 1, 6).astype(int)
    first = -(count - 1) / 2 * stride + random.uniform(-0.5, 0.5, 2) * stride
    looks = _cell_layers(random, pitch, metal)
    features, primitives = [], list[Primitive]()
    for place in np.argwhere(np.ones(count)):
        at = first + place * stride
        if sheet.sees(at, float(np.hypot(*block)) / 2):
            features.append(_cell_block(sheet, at, block, looks))
            primitives += _stripes(sheet, at, block, street, (pitch, metal))
    wide = np.full(2, 2.2 * sheet.reach_um)
    primitives += _mesh(random, sheet, wide, pitch, metal)
    if bernoulli(random, 0.4):
        primitives += marks(random, view, sheet=sheet, bottom_um=metal)
    die = die_of(sheet, np.zeros(2), wide, bottom=-50.0 * dies, top=0.0)
    facts = {"pitch_um": float(pitch.min()), "metal_um": metal, "dies": dies, "turn_deg": sheet.turn_deg}
    return Scene("memory_cells", (die, *features), tuple(primitives), facts)


_Look = tuple[Numbers, Numbers, str, float, float, float]
"""Pitch, cell, pattern, stagger, bottom and top of one layer of a cell."""


def _cell_layers(random: Random, pitch: Numbers, metal: float) -> list[_Look]:
    """What a cell is made of: a blob or two, bit lines along y, word lines along x."""
    pattern = "dot" if bernoulli(random, 0.4) else "block"
    stagger = 0.5 if bernoulli(random, 0.4) else 0.0
    found = [(pitch, pitch * random.uniform(0.35, 0.7, 2), pattern, stagger, 0.0, metal)]
    if bernoulli(random, 0.6):
        every = pitch * [float(random.choice([1, 1, 2])), 0.0] + [0.0, 1e5]
        found.append((every, every * [uniform(random, 0.25, 0.5), 0.999], "block", 0.0, metal, 1.6 * metal))
    if bernoulli(random, 0.6):
        every = pitch * [0.0, float(random.choice([1, 2, 2]))] + [1e5, 0.0]
        found.append(
            (every, every * [0.999, uniform(random, 0.25, 0.5)], "block", 0.0, 1.7 * metal, 2.2 * metal)
        )
    if bernoulli(random, 0.3):
        found.append((pitch * 2, pitch * 0.6, "dot", 0.0, 2.3 * metal, 3 * metal))
    return found


def _cell_block(sheet: ViewFrame, at: Numbers, sides: Numbers, looks: Sequence[_Look]) -> Feature:
    place, (width, height) = sheet.places(at)[0], sides.tolist()
    layers = tuple(_lattice(sheet, at, sides, look) for look in looks)
    about = {"width_um": width, "height_um": height, "turn_deg": sheet.turn_deg}
    top = max(layer.top for layer in layers)
    return Feature(
        kind="cell block",
        at=(*place, top / 2),
        size_um=min(width, height),
        primitives=layers,
        about={**about, "bottom_um": 0.0, "top_um": top},
    )


def _lattice(sheet: ViewFrame, at: Numbers, sides: Numbers, look: _Look) -> Lattice:
    """Cells in a rectangle; along an axis whose pitch is longer than the rectangle they are bars."""
    pitch, cell, pattern, stagger, bottom, top = look
    cell = np.where(pitch > sides, sides * 0.9999, cell)
    return Lattice(
        material="Cu",
        at=sheet.places(at)[0],
        sides=(float(sides[0]), float(sides[1])),
        pitch=(float(pitch[0]), float(pitch[1])),
        cell=(float(cell[0]), float(cell[1])),
        bottom=bottom,
        top=top,
        turn_deg=sheet.turn_deg,
        pattern="dot" if pattern == "dot" else "mesh" if pattern == "mesh" else "block",
        stagger=stagger,
    )


def _stripes(
    sheet: ViewFrame, at: Numbers, block: Numbers, street: Numbers, cell: tuple[Numbers, float]
) -> list[Primitive]:
    """Sense amplifiers below a block and word line drivers beside it: coarser cells, denser metal."""
    pitch, metal = cell
    found: list[Primitive] = []
    for axis in (0, 1):
        sides = np.where(np.arange(2) == axis, street * 0.75, block)
        every = np.where(np.arange(2) == axis, street * 0.37, 2 * pitch)
        middle = at + np.where(np.arange(2) == axis, (block + street) / 2, 0.0)
        if np.all(sides > 0.7 * every):
            found.append(_lattice(sheet, middle, sides, (every, 0.7 * every, "block", 0.0, 0.0, 1.3 * metal)))
    return found


def _mesh(random: Random, sheet: ViewFrame, wide: Numbers, pitch: Numbers, metal: float) -> list[Primitive]:
    """Power mesh, at times two of them, and dummy fill between its bars."""
    found: list[Primitive] = []
    for level in range(int(random.integers(0, 3))):
        every = pitch * random.integers(5, 20, 2) * 1.03
        look = (
            every,
            every * uniform(random, 0.1, 0.3),
            "mesh",
            0.0,
            (3 + level) * metal,
            (4 + level) * metal,
        )
        found.append(_lattice(sheet, np.zeros(2), wide, look))
    if bernoulli(random, 0.3):
        every = pitch * uniform(random, 1.1, 2.7)
        sides, at = wide * random.uniform(0.1, 0.5, 2), sheet.anywhere(random)
        found.append(_lattice(sheet, at, sides, (every, every * 0.6, "block", 0.5, 2 * metal, 2.5 * metal)))
    return found
