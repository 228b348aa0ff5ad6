"""Chips: dies, vias through silicon and memory cells; `redistribution.py` has the chips with lines.

Vias of 5 to 50 um at pitches of 10 to 200 um as in stacked memory and interposers (ITRS/IRDS); dies thinned
to 30 to 200 um. Cells are drawn as lattices. A chip's upper face lies at z = 0 unless something is said.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from longexposure.simulation.geometry.frame import Numbers, ViewFrame
from longexposure.simulation.geometry.primitives import Cylinder, Feature, Lattice, Primitive, Scene, Slab
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.components.features import about_box, slab_feature, via_feature
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.draws import Random, bernoulli, log_uniform, resolved_um, uniform


def silicon_die(frame: ViewFrame, at: Numbers, sides: Numbers, *, bottom: float, top: float) -> Feature:
    """A slab of silicon."""
    width, height = (float(side) for side in sides)
    place, turn = frame.places(at)[0], frame.turn_deg
    slab = Slab(material="Si", at=place, sides=(width, height), turn_deg=turn, bottom=bottom, top=top)
    return slab_feature("die", slab, size_um=min(width, height))


def random_die(random: Random, frame: ViewFrame, *, bottom: float, top: float) -> Feature:
    """A die that fills the view, or whose edges are seen now and then."""
    wide = 2.4 * frame.reach_um
    sides = wide * random.uniform(0.3, 1.2, 2) if bernoulli(random, 0.4) else np.array([wide, wide])
    at = frame.anywhere(random) * 0.5 if sides[0] < wide else np.zeros(2)
    return silicon_die(frame, at, sides, bottom=bottom, top=top)


def lattice(
    frame: ViewFrame,
    rectangle: tuple[Numbers, Numbers],
    cells: tuple[Numbers, Numbers],
    heights: tuple[float, float],
    *,
    pattern: Literal["block", "dot", "mesh"] = "block",
    stagger: float = 0.0,
    material: str = "Cu",
) -> Lattice:
    """Cells (pitch, size) between two heights in a rectangle (middle, sides), all along x and y, um.

    Blocks and meshes of a longer pitch than the rectangle are bars from side to side.
    """
    (at, sides), (pitch, cell), (bottom, top) = rectangle, cells, heights
    if pattern != "dot":
        cell = np.where(pitch > sides, sides * 0.9999, cell)
    return Lattice(
        material=material,
        at=frame.places(at)[0],
        sides=(float(sides[0]), float(sides[1])),
        pitch=(float(pitch[0]), float(pitch[1])),
        cell=(float(cell[0]), float(cell[1])),
        bottom=bottom,
        top=top,
        turn_deg=frame.turn_deg,
        pattern=pattern,
        stagger=stagger,
    )


def dots(
    frame: ViewFrame,
    rows: tuple[Numbers, Numbers, Numbers],
    dot: tuple[float, float, float],
    material: str,
) -> Lattice:
    """Equal round dots (diameter, bottom, top) in rows: their first place, numbers, steps along x and y."""
    (corner, shape, step), (diameter, bottom, top) = rows, dot
    rectangle, cells = (corner + (shape - 1) * step / 2, shape * step), (step, np.full(2, diameter))
    return lattice(frame, rectangle, cells, (bottom, top), pattern="dot", material=material)


def primitive_budget(view: View) -> int:
    """Primitives that a scene may have, so that it is built in time."""
    return int(320 * max(1.0, (view.height * view.width) ** 0.5 / 256))


def tsv_array(random: Random, *, view: View) -> Scene:
    """Copper vias through thinned silicon in blocks and rows, at times annular, with pads or bumps."""
    radius = resolved_um(random, view, um=(2.5, 25), px=(1.2, 8))
    pitch = float(np.clip(2 * radius * log_uniform(random, 1.6, 5), 10, 200))
    deep = float(np.clip(2 * radius * uniform(random, 4, 10), 30, 200))
    inner = radius * uniform(random, 0.5, 0.75) if radius > 8 and bernoulli(random, 0.3) else 0.0
    frame = ViewFrame.drawn(random, view, height_um=deep)
    wide = np.full(2, 2.4 * frame.reach_um + 2 * pitch)
    features = [silicon_die(frame, np.zeros(2), wide, bottom=-deep, top=0.0)]
    if bernoulli(random, 0.4):
        features.append(random_die(random, frame, bottom=10.0, top=10.0 + deep))
    budget, step = (
        primitive_budget(view),
        np.array([pitch, pitch * float(random.choice([1.0, 1.0, 1.25, 0.866]))]),
    )
    primitives: list[Primitive] = []
    for corner, shape in _blocks(random, frame, step):
        spots = corner + np.argwhere(np.ones(shape)) * step
        spots = spots[[frame.sees(spot, radius) for spot in spots]] if len(spots) < 4 * budget else spots
        spots = spots[random.random(len(spots)) < uniform(random, 0.9, 1.1)]
        rows = (corner, shape, step)
        if len(spots) * 2 < budget:
            features += [_through_via(frame, spot, radius, inner, deep) for spot in spots]
            budget -= 2 * len(spots)
        else:
            primitives.append(dots(frame, rows, (2 * radius, -deep, 0.0), "Cu"))
        if bernoulli(random, 0.6):
            pad = min(2.6 * radius, 0.8 * pitch), 0.0, log_uniform(random, 2, 8)
            primitives.append(dots(frame, rows, pad, "Cu"))
        if bernoulli(random, 0.3):
            primitives.append(dots(frame, rows, (1.8 * radius, -deep - 0.8 * radius, -deep), "Sn"))
    facts = {"radius_um": radius, "pitch_um": pitch, "deep_um": deep, "turn_deg": frame.turn_deg}
    return Scene("tsv_array", tuple(features), tuple(primitives), facts)


def _through_via(frame: ViewFrame, at: Numbers, radius: float, inner: float, deep: float) -> Feature:
    """Copper in place of silicon; with an inner radius a liner around a polymer core."""
    place, heights = frame.places(at)[0], {"bottom": -deep, "top": 0.0}
    primitives = [
        Cylinder(material="Cu", at=place, radius=radius, inner_radius=inner, **heights),
        Cylinder(material="Si", amount=-1, at=place, radius=radius, **heights),
    ]
    if inner:
        primitives.append(Cylinder(material="epoxy", at=place, radius=inner, **heights))
    return via_feature(place, radius, primitives, bottom=-deep, top=0.0)


def _blocks(random: Random, frame: ViewFrame, step: Numbers) -> list[tuple[Numbers, Numbers]]:
    """First places, numbers of columns and rows: one block over all, a few rows, or blocks and streets."""
    whole, kind = 2 * frame.reach_um / step, random.random()
    count = np.array([1, 1])
    if kind < 0.3:
        size = np.ceil(whole)
    elif kind < 0.55:
        size = np.array([np.ceil(whole[0]), random.integers(2, 9)])
        count[1] = random.integers(1, 4)
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
    frame, dies = ViewFrame.drawn(random, view, height_um=50.0), int(random.integers(1, 9))
    pitch = np.array([resolved_um(random, view, um=(0.1, 60), px=(3, 30)) for _ in range(2)])
    if bernoulli(random, 0.4):
        pitch[1] = pitch[0]
    block = np.array([random.integers(12, 65), random.integers(12, 65)]) * pitch
    street = random.uniform(1.5, 6, 2) * pitch
    metal = float(np.clip(pitch.min() * uniform(random, 0.2, 0.8), 0.1, 4)) * dies
    stride, count = block + street, np.clip(2 * frame.reach_um / (block + street) + 1, 1, 6).astype(int)
    first = -(count - 1) / 2 * stride + random.uniform(-0.5, 0.5, 2) * stride
    layers = _cell_layers(random, pitch, metal)
    features, primitives = [], list[Primitive]()
    for place in np.argwhere(np.ones(count)):
        at = first + place * stride
        if not frame.sees(at, float(np.hypot(*block)) / 2):
            continue
        cell_block = tuple(
            lattice(frame, (at, block), cells, heights, pattern=pattern, stagger=stagger)
            for cells, heights, pattern, stagger in layers
        )
        (width, height), top = block.tolist(), max(layer.top for layer in cell_block)
        about = about_box((width, height), frame.turn_deg, 0.0, top)
        middle = (*cell_block[0].at, top / 2)
        features.append(Feature("cell block", middle, min(width, height), cell_block, about))
        # Sense amplifiers below a block and word line drivers beside it: coarser cells, denser metal.
        for axis in np.eye(2, dtype=bool):
            stripe: Numbers = np.where(axis, street * 0.75, block)
            coarse: Numbers = np.where(axis, street * 0.37, 2 * pitch)
            aside = at + np.where(axis, (block + street) / 2, 0.0)
            if np.all(stripe > 0.7 * coarse):
                cells = (coarse, 0.7 * coarse)
                primitives.append(lattice(frame, (aside, stripe), cells, (0.0, 1.3 * metal)))
    wide = np.full(2, 2.2 * frame.reach_um)
    primitives += _power_mesh(random, frame, wide, pitch, metal)
    if bernoulli(random, 0.4):
        primitives += marks(random, view, frame=frame, bottom_um=metal)
    die = silicon_die(frame, np.zeros(2), wide, bottom=-50.0 * dies, top=0.0)
    facts = {"pitch_um": float(pitch.min()), "metal_um": metal, "dies": dies, "turn_deg": frame.turn_deg}
    return Scene("memory_cells", (die, *features), tuple(primitives), facts)


def _power_mesh(
    random: Random, frame: ViewFrame, wide: Numbers, pitch: Numbers, metal: float
) -> list[Primitive]:
    """A power mesh over the cells, at times two of them, and dummy fill between its bars."""
    found: list[Primitive] = []
    for level in range(int(random.integers(0, 3))):
        every = np.asarray(pitch * random.integers(5, 20, 2) * 1.03, np.float64)
        bars, heights = every * uniform(random, 0.1, 0.3), ((3 + level) * metal, (4 + level) * metal)
        found.append(lattice(frame, (np.zeros(2), wide), (every, bars), heights, pattern="mesh"))
    if bernoulli(random, 0.3):
        every = pitch * uniform(random, 1.1, 2.7)
        sides, at = wide * random.uniform(0.1, 0.5, 2), frame.anywhere(random)
        heights = (2 * metal, 2.5 * metal)
        found.append(lattice(frame, (at, sides), (every, every * 0.6), heights, stagger=0.5))
    return found


_Layer = tuple[tuple[Numbers, Numbers], tuple[float, float], Literal["block", "dot"], float]
"""Pitch and size of its cells, bottom and top, pattern, stagger of one layer of a cell."""


def _cell_layers(random: Random, pitch: Numbers, metal: float) -> list[_Layer]:
    """What a cell is made of: a blob or two, bit lines along y, word lines along x."""
    pattern: Literal["block", "dot"] = "dot" if bernoulli(random, 0.4) else "block"
    stagger = 0.5 if bernoulli(random, 0.4) else 0.0
    found: list[_Layer] = [((pitch, pitch * random.uniform(0.35, 0.7, 2)), (0.0, metal), pattern, stagger)]
    if bernoulli(random, 0.6):
        every = pitch * [float(random.choice([1, 1, 2])), 0.0] + [0.0, 1e5]
        cell = every * [uniform(random, 0.25, 0.5), 0.999]
        found.append(((every, cell), (metal, 1.6 * metal), "block", 0.0))
    if bernoulli(random, 0.6):
        every = pitch * [0.0, float(random.choice([1, 2, 2]))] + [1e5, 0.0]
        cell = every * [0.999, uniform(random, 0.25, 0.5)]
        found.append(((every, cell), (1.7 * metal, 2.2 * metal), "block", 0.0))
    if bernoulli(random, 0.3):
        found.append(((pitch * 2, pitch * 0.6), (2.3 * metal, 3 * metal), "dot", 0.0))
    return found
