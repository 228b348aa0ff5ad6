"""The catalogue of scenes: which there are, and drawing one for a view, at times one part over another.

A new scene is a builder in a file of its own, or in one of its kind, and a line in `SCENES`; what several
builders need lies in `components/`, random draws in `draws.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Protocol

import numpy as np

from longexposure.errors import RecipeError
from longexposure.simulation.geometry.primitives import (
    Ball,
    Ellipsoid,
    Feature,
    Grain,
    Primitive,
    Scene,
    Weave,
    Wire,
)
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.bga import bga
from longexposure.simulation.scenes.boards import dense_board, legend, planes, routing, traces, vias
from longexposure.simulation.scenes.bond_wires import bond_wires
from longexposure.simulation.scenes.bumps import copper_pillars, flip_chip, micro_bumps
from longexposure.simulation.scenes.chip_parts import chip_parts
from longexposure.simulation.scenes.components.marks import marks
from longexposure.simulation.scenes.connector_pins import connector_pins
from longexposure.simulation.scenes.draws import Random, bernoulli
from longexposure.simulation.scenes.iqi.holes import hole_iqi
from longexposure.simulation.scenes.iqi.lines import line_iqi
from longexposure.simulation.scenes.iqi.wires import wire_iqi
from longexposure.simulation.scenes.lead_frame import lead_frame
from longexposure.simulation.scenes.power_module import power_module
from longexposure.simulation.scenes.qfn import qfn
from longexposure.simulation.scenes.redistribution import interposer, redistribution
from longexposure.simulation.scenes.silicon import memory_cells, tsv_array
from longexposure.simulation.scenes.stacked_dies import stacked_dies


class Builder(Protocol):
    """Draws a scene that fills the view; all that is random comes from `random`."""

    def __call__(self, random: np.random.Generator, *, view: View) -> Scene: ...


@dataclass(frozen=True)
class SceneKind:
    """One entry of the catalogue.

    Attributes:
        builder: called as builder(random, view=view).
        pixel_um: smallest and largest `View.pixel_um` for which the parts are resolved and fill the view.
        summary: what it shows, in a few words.
    """

    builder: Builder
    pixel_um: tuple[float, float]
    summary: str


SCENES: Mapping[str, SceneKind] = {
    "bga": SceneKind(bga, (2.0, 80.0), "ball grid array on its board"),
    "flip_chip": SceneKind(flip_chip, (1.0, 30.0), "C4 bumps between a die and its substrate"),
    "micro_bumps": SceneKind(micro_bumps, (0.3, 10.0), "micro-bumps between stacked dies"),
    "copper_pillars": SceneKind(copper_pillars, (0.6, 20.0), "copper pillars with solder caps"),
    "qfn": SceneKind(qfn, (3.0, 50.0), "lead-frame packages on thermal pads with vias and voids"),
    "chip_parts": SceneKind(chip_parts, (2.0, 60.0), "chip capacitors and resistors with their fillets"),
    "traces": SceneKind(
        traces, (5.0, 80.0), "bundles of parallel traces, pairs and meanders on several layers"
    ),
    "routing": SceneKind(routing, (5.0, 80.0), "single traces from via to via, ball grid fan-out"),
    "planes": SceneKind(planes, (5.0, 80.0), "copper planes with clearances, thermal reliefs and splits"),
    "vias": SceneKind(vias, (3.0, 80.0), "arrays of plated barrels with lands, microvias"),
    "dense_board": SceneKind(dense_board, (5.0, 80.0), "4 to 10 layers of traces, vias and planes"),
    "tsv_array": SceneKind(tsv_array, (0.5, 12.0), "copper vias through thinned silicon, with pads"),
    "memory_cells": SceneKind(memory_cells, (0.1, 8.0), "blocks of periodic cells, lines, power mesh"),
    "redistribution": SceneKind(redistribution, (0.5, 8.0), "fan-out lines with pads and coils"),
    "interposer": SceneKind(interposer, (1.0, 12.0), "dies on micro-bumps above vias, lines between them"),
    "legend": SceneKind(
        legend, (1.0, 80.0), "part numbers, date codes, fiducials and outlines in copper on a board"
    ),
    "bond_wires": SceneKind(bond_wires, (1.5, 12.0), "dies with fans of bond wires"),
    "lead_frame": SceneKind(lead_frame, (4.0, 30.0), "soldered packages with gull-wing leads, die and wires"),
    "connector_pins": SceneKind(connector_pins, (8.0, 40.0), "pins in plated holes, filled with solder"),
    "stacked_dies": SceneKind(stacked_dies, (1.5, 12.0), "memory dies in stairs with wires in cascade"),
    "power_module": SceneKind(power_module, (8.0, 40.0), "power dies on ceramic with thick aluminium wires"),
    "hole_iqi": SceneKind(
        hole_iqi, (0.3, 80.0), "plates with small holes, pores, discs and balls of every contrast"
    ),
    "wire_iqi": SceneKind(
        wire_iqi, (0.3, 80.0), "thin wires in series, in pairs and loose, whole and broken"
    ),
    "line_iqi": SceneKind(line_iqi, (0.3, 80.0), "strips with opens, shorts, notches and bites, hairlines"),
}
"""All scenes that there are, by the name that recipes write. The order decides what a seed draws."""

BOARDS = ("traces", "routing", "planes", "vias", "dense_board")
CHIPS = ("tsv_array", "memory_cells", "redistribution", "interposer")
INDICATORS = ("hole_iqi", "wire_iqi", "line_iqi")
GROUNDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("qfn", "chip_parts", "lead_frame", "connector_pins", "bga"), BOARDS),
    **dict.fromkeys(("bond_wires", "stacked_dies"), (*BOARDS, "bga")),
    **dict.fromkeys(("flip_chip", "copper_pillars", *INDICATORS), (*BOARDS, *CHIPS)),
    "micro_bumps": CHIPS,
}
"""What may lie below a part, by the part's name."""

_LAYERED, _MARKED = 0.5, 0.15
"""How often something lies below a part that may lie on something, and how often a scene has marks."""

_INDICATED = 0.25
"""How often something lies below an indicator: its details must be isolated in most."""


def draw_scene(random: Random, *, view: View, kinds: Mapping[str, float] | None = None) -> Scene:
    """A scene of a random kind, at times with a board or chip below it, at times with marks.

    Args:
        random: of all that is drawn; the same state gives the same scene.
        view: what is seen; kinds that make no sense at its `pixel_um` are not drawn.
        kinds: names of `SCENES` and how often each is wanted, relative to the others; all alike if None. What
            lies below a part is one of them as well, and marks are drawn only where "legend" is wanted.

    Returns:
        A scene with the kind of its upper part, whose facts name what is "below" and how many "marks" it has.

    Raises:
        RecipeError: an unknown kind, a weight below 0, no weight above 0, or no kind for these pixels.
    """
    fitting = _fitting(kinds, view.pixel_um)
    weights = np.array([*fitting.values()])
    name = [*fitting][int(random.choice(len(fitting), p=weights / weights.sum()))]
    scene = SCENES[name].builder(random, view=view)
    below = [ground for ground in GROUNDS.get(name, ()) if ground in fitting]
    if below and bernoulli(random, _INDICATED if name in INDICATORS else _LAYERED):
        scene = _over(scene, below[int(random.integers(len(below)))], random, view)
    if "legend" in fitting and name != "legend" and bernoulli(random, _MARKED):
        found = tuple(marks(random, view))
        scene = _joined(scene, (), found, {"marks": len(found)})
    return scene


def moved(primitive: Primitive, by: tuple[float, float, float]) -> Primitive:
    """The primitive elsewhere, um; weave and grain, which fill the image, stay as they are."""
    x, y, z = by
    changes: dict[str, object] = {}
    for field in fields(primitive):
        value = getattr(primitive, field.name)
        if field.name == "at":
            changes["at"] = (value[0] + x, value[1] + y, *(height + z for height in value[2:]))
        elif field.name == "points":
            changes["points"] = tuple((p[0] + x, p[1] + y, *(height + z for height in p[2:])) for p in value)
        elif field.name in ("bottom", "top"):
            changes[field.name] = value + z
    return replace(primitive, **changes)  # type: ignore[arg-type]


def heights(primitives: Iterable[Primitive]) -> tuple[float, float]:
    """Lowest and highest z of what is there, um; (inf, -inf) where nothing has a height."""
    low, high = inf, -inf
    for primitive in primitives:
        if isinstance(primitive, Weave | Grain) or primitive.amount <= 0:
            continue
        if isinstance(primitive, Wire):
            z = [point[2] for point in primitive.points]
            bottom, top = min(z) - primitive.diameter / 2, max(z) + primitive.diameter / 2
        else:
            bottom, top = primitive.bottom, primitive.top
        if isinstance(primitive, Ball | Ellipsoid):
            radius = primitive.radius if isinstance(primitive, Ball) else primitive.radii[2]
            bottom, top = max(bottom, primitive.at[2] - radius), min(top, primitive.at[2] + radius)
        low, high = min(low, bottom), max(high, top)
    return low, high


def _over(scene: Scene, name: str, random: Random, view: View) -> Scene:
    """The scene with another one that ends just below it.

    The plane in which the lower scene's z is 0 comes to lie at another height. There the pixels of a central
    projection are larger or smaller; the lower scene is built for the view as it is in that plane.
    """
    seed = int(random.integers(2**63))
    ground = SCENES[name].builder(np.random.default_rng(seed), view=view)
    drop = heights(scene.primitives)[0] - heights(ground.primitives)[1]
    if not isfinite(drop):
        drop = 0.0
    if isfinite(view.source_um):
        ground = SCENES[name].builder(np.random.default_rng(seed), view=lowered(view, drop))
    by = (-view.slope[0] * drop, -view.slope[1] * drop, drop)
    levels = {"bottom_um", "top_um"}
    features = tuple(
        replace(
            feature,
            at=(feature.at[0] + by[0], feature.at[1] + by[1], feature.at[2] + by[2]),
            primitives=tuple(moved(primitive, by) for primitive in feature.primitives),
            about={key: value + drop if key in levels else value for key, value in feature.about.items()},
        )
        for feature in ground.features
    )
    surroundings = tuple(moved(primitive, by) for primitive in ground.surroundings)
    facts = {"below": name, **{f"below_{key}": value for key, value in ground.facts.items()}}
    return _joined(scene, features, surroundings, facts)


def lowered(view: View, z: float) -> View:
    """The same projection onto the plane at the height z, with z counted from that plane on."""
    if not isfinite(view.source_um):
        return view
    nearer = (view.source_um - z) / view.source_um
    return replace(view, pixel_um=view.pixel_um * nearer, source_um=view.source_um - z)


def _joined(
    scene: Scene,
    features: tuple[Feature, ...],
    surroundings: tuple[Primitive, ...],
    facts: Mapping[str, float | str],
) -> Scene:
    return replace(
        scene,
        features=(*scene.features, *features),
        surroundings=(*scene.surroundings, *surroundings),
        facts={**scene.facts, **facts},
    )


def _fitting(kinds: Mapping[str, float] | None, pixel_um: float) -> dict[str, float]:
    """The kinds with a weight above 0 that make sense with such pixels, and their weights."""
    wanted = dict.fromkeys(SCENES, 1.0) if kinds is None else dict(kinds)
    for name, weight in wanted.items():
        if name not in SCENES:
            raise RecipeError(
                where=f"scenes, {name!r}",
                expected=f"one of {', '.join(SCENES)}",
                found=repr(name),
                advice="write the name as in that list",
            )
        if not 0 <= weight < inf:
            raise RecipeError(
                where=f"scenes, {name!r}",
                expected="a weight of 0 or more",
                found=str(weight),
                advice="give 0 to leave the kind out, 2 to draw it twice as often as one with 1",
            )
    ranges = {name: SCENES[name].pixel_um for name, weight in wanted.items() if weight > 0}
    if not ranges:
        raise RecipeError(
            where="scenes",
            expected="at least one kind with a weight above 0",
            found=str(wanted),
            advice=f"name one or more of {', '.join(SCENES)}",
        )
    fitting = {name: float(wanted[name]) for name, (low, high) in ranges.items() if low <= pixel_um <= high}
    if not fitting:
        sizes = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in ranges.items())
        raise RecipeError(
            where="view, pixel_um",
            expected=f"pixels in um that one of the wanted kinds takes ({sizes})",
            found=f"{pixel_um:g} um",
            advice="change the magnification, or add a kind that takes such pixels",
        )
    return fitting
