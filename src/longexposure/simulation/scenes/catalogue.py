"""The catalogue of scenes: which there are, and drawing one for a view, at times one part over another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from math import inf, isfinite

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
from longexposure.simulation.scenes.boards import BOARD_SCENES
from longexposure.simulation.scenes.chips import CHIP_SCENES
from longexposure.simulation.scenes.iqi import INDICATOR_SCENES
from longexposure.simulation.scenes.kind import SceneKind
from longexposure.simulation.scenes.layout import Random, bernoulli
from longexposure.simulation.scenes.leads import LEAD_SCENES
from longexposure.simulation.scenes.legend import MARK_SCENES
from longexposure.simulation.scenes.marks import marks
from longexposure.simulation.scenes.modules import MODULE_SCENES
from longexposure.simulation.scenes.packages import PACKAGE_SCENES
from longexposure.simulation.scenes.silicon import SILICON_SCENES
from longexposure.simulation.scenes.solder import SOLDER_SCENES
from longexposure.simulation.scenes.stacks import STACK_SCENES
from longexposure.simulation.scenes.wires import WIRE_SCENES

SCENES: Mapping[str, SceneKind] = {
    **SOLDER_SCENES,
    **PACKAGE_SCENES,
    **CHIP_SCENES,
    **BOARD_SCENES,
    **SILICON_SCENES,
    **MARK_SCENES,
    **WIRE_SCENES,
    **LEAD_SCENES,
    **STACK_SCENES,
    **MODULE_SCENES,
    **INDICATOR_SCENES,
}
"""All scenes that there are, by the name that recipes write."""

_BOARDS = tuple(BOARD_SCENES)
_CHIPS = tuple(SILICON_SCENES)
GROUNDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*PACKAGE_SCENES, *CHIP_SCENES, *LEAD_SCENES, "bga"), _BOARDS),
    "bond_wires": (*_BOARDS, "bga"),
    "stacked_dies": (*_BOARDS, "bga"),
    "flip_chip": (*_BOARDS, *_CHIPS),
    "copper_pillars": (*_BOARDS, *_CHIPS),
    "micro_bumps": _CHIPS,
    **dict.fromkeys(INDICATOR_SCENES, (*_BOARDS, *_CHIPS)),
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
    wanted = _wanted(kinds)
    fitting = _fitting(wanted, view.pixel_um)
    fractions = np.array([wanted[name] for name in fitting])
    name = fitting[int(random.choice(len(fitting), p=fractions / fractions.sum()))]
    scene = SCENES[name].builder(random, view=view)
    below = [ground for ground in GROUNDS.get(name, ()) if ground in fitting]
    if below and bernoulli(random, _INDICATED if name in INDICATOR_SCENES else _LAYERED):
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
        if not isinstance(primitive, Weave | Grain) and primitive.amount > 0:
            bottom, top = _reach(primitive)
            low, high = min(low, bottom), max(high, top)
    return low, high


def _reach(primitive: Primitive) -> tuple[float, float]:
    if isinstance(primitive, Wire):
        z = [point[2] for point in primitive.points]
        return min(z) - primitive.diameter / 2, max(z) + primitive.diameter / 2
    if isinstance(primitive, Ball | Ellipsoid):
        radius = primitive.radius if isinstance(primitive, Ball) else primitive.radii[2]
        return max(primitive.bottom, primitive.at[2] - radius), min(primitive.top, primitive.at[2] + radius)
    if isinstance(primitive, Weave | Grain):
        return inf, -inf
    return primitive.bottom, primitive.top


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
    features = tuple(
        replace(
            feature,
            at=(feature.at[0] + by[0], feature.at[1] + by[1], feature.at[2] + by[2]),
            primitives=tuple(moved(primitive, by) for primitive in feature.primitives),
            about=_lifted(feature, drop),
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


def _lifted(feature: Feature, by: float) -> Mapping[str, float]:
    """What is known of the feature, its heights above z = 0 moved."""
    moves = {"bottom_um", "top_um"}
    return {key: value + by if key in moves else value for key, value in feature.about.items()}


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


def _wanted(kinds: Mapping[str, float] | None) -> dict[str, float]:
    """The kinds with a weight above 0."""
    if kinds is None:
        return dict.fromkeys(SCENES, 1.0)
    for name, weight in kinds.items():
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
    wanted = {name: float(weight) for name, weight in kinds.items() if weight > 0}
    if not wanted:
        raise RecipeError(
            where="scenes",
            expected="at least one kind with a weight above 0",
            found=str(dict(kinds)),
            advice=f"name one or more of {', '.join(SCENES)}",
        )
    return wanted


def _fitting(wanted: Mapping[str, float], pixel_um: float) -> list[str]:
    """Those of the wanted kinds that make sense with such pixels."""
    fitting = [name for name in wanted if SCENES[name].pixel_um[0] <= pixel_um <= SCENES[name].pixel_um[1]]
    if fitting:
        return fitting
    sizes = ", ".join(
        f"{name} {SCENES[name].pixel_um[0]:g} to {SCENES[name].pixel_um[1]:g}" for name in wanted
    )
    raise RecipeError(
        where="view, pixel_um",
        expected=f"pixels in um that one of the wanted kinds takes ({sizes})",
        found=f"{pixel_um:g} um",
        advice="change the magnification, or add a kind that takes such pixels",
    )
