"""Defects with truth: which there are, and putting them into a scene.

A new one is a maker (see `kind.Maker`) in the module of what it happens to, and an entry of `DEFECTS`; what
an image shows of it follows from the primitives that it removes and adds (`visibility`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import dist

from longexposure.errors import RecipeError
from longexposure.simulation.defects.bridges import bridge
from longexposure.simulation.defects.cracks import crack, particle, via_void
from longexposure.simulation.defects.joints import deformed, head_in_pillow, missing, non_wet, shifted, small
from longexposure.simulation.defects.kind import BORDER, MOST, ROUND, Defect, DefectKind, well_inside
from longexposure.simulation.defects.lines import (
    broken_wire,
    lifted_wire,
    open_trace,
    shorted_trace,
    swept_wire,
)
from longexposure.simulation.defects.voids import interface_void, void, voids
from longexposure.simulation.geometry.frame import Sight
from longexposure.simulation.geometry.primitives import Feature, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, bernoulli, choice, uniform

_BALLS = ("ball", "bump")
_JOINTS = (*ROUND, "joint")
_SOLDERED = (*ROUND, "thermal pad", "joint")

DEFECTS: Mapping[str, DefectKind] = {
    "void": DefectKind(void, _SOLDERED, "a bubble of gas in the solder"),
    "voids": DefectKind(voids, _SOLDERED, "many bubbles in the solder"),
    "interface void": DefectKind(interface_void, _SOLDERED, "flat gas on the pad or below the package"),
    "missing": DefectKind(missing, _JOINTS, "no solder at all"),
    "shifted": DefectKind(shifted, ROUND, "solder beside its place"),
    "small": DefectKind(small, _JOINTS, "too little solder"),
    "deformed": DefectKind(deformed, ROUND, "an oval joint"),
    "bridge": DefectKind(bridge, _JOINTS, "solder between two joints"),
    "head-in-pillow": DefectKind(head_in_pillow, _BALLS, "a ball that rests on the paste without joining it"),
    "non-wet": DefectKind(non_wet, (*_BALLS, "joint"), "solder that has not wetted pad or lead"),
    "broken wire": DefectKind(broken_wire, ("wire",), "a wire with a gap"),
    "swept wire": DefectKind(swept_wire, ("wire",), "a wire pushed sideways"),
    "lifted wire": DefectKind(lifted_wire, ("wire",), "a wire's end off its bond"),
    "open trace": DefectKind(open_trace, ("trace",), "a trace with a gap"),
    "shorted trace": DefectKind(shorted_trace, ("trace",), "copper between two traces"),
    "via void": DefectKind(via_void, ("via",), "a barrel or filling with a hole"),
    "crack": DefectKind(crack, ("die", "body", "joint", "via"), "a crack of die, part, fillet or barrel"),
    "particle": DefectKind(particle, ("",), "debris: a solder ball, a chip of metal, a fibre"),
}
"""All kinds of defects, by the name that recipes write; their order is part of what a seed draws."""

_USUAL_FRACTION = 0.03
_TRIES = 12
_EXTENDED = ("thermal pad", "wire", "trace", "die", "body")
"""Kinds of features that may be seen in part; for others their middle decides."""


def add_defects(
    scene: Scene, random: Random, *, view: View, kinds: Sequence[str] | None = None, count: int | None = None
) -> tuple[Scene, tuple[Defect, ...]]:
    """The scene with defects, all kinds that it allows about alike, each feature at most once.

    None lies within 5 % of the image's border, nor where the view would not show it.

    Args:
        scene: without defects; it is not modified.
        random: of all that is drawn; the same state gives the same defects.
        view: what is seen.
        kinds: names of `DEFECTS` to draw from; all if None.
        count: how many, at most `MOST`; if None 1 to the larger of 2 and 3 % of the features that are seen.

    Returns:
        The new scene, and the defects in the order in which they were put in: fewer than `count`, or none,
        where the features do not suffice. Foreign particles need none.

    Raises:
        RecipeError: an unknown kind, or a count below 0 or above `MOST`.
    """
    wanted = _checked(kinds, count)
    seen = [
        i
        for i, feature in enumerate(scene.features)
        if feature.primitives and (feature.kind in _EXTENDED or well_inside(view, feature.at))
    ]
    if count is None:
        most = min(max(2, round(_USUAL_FRACTION * len(seen))), MOST)
        count = int(random.integers(1, most + 1))
    pool = {name: [i for i in seen if scene.features[i].kind in DEFECTS[name].features] for name in wanted}
    free = {name for name in wanted if "" in DEFECTS[name].features}
    features, loose, found = list(scene.features), list(scene.surroundings), list[Defect]()
    while len(found) < count:
        allowed = [name for name in wanted if pool[name] or name in free]
        if not allowed:
            break
        name = choice(random, allowed)
        made = _drawn(name, scene, random, view=view, pool=pool[name], found=found)
        if made is None:
            free.discard(name)
            continue
        defect, index = made
        found.append(defect)
        if index is None:
            loose += defect.added
        else:
            primitives = list(features[index].primitives)
            for primitive in defect.removed:
                primitives.remove(primitive)
            features[index] = replace(features[index], primitives=(*primitives, *defect.added))
        # no other defect in its feature, nor in compact ones that it touches, as a bridge does
        done = {index} | {
            i
            for i, feature in enumerate(scene.features)
            if feature.kind not in _EXTENDED
            and dist(feature.at[:2], defect.at_um[:2]) < 0.52 * (defect.size_um + feature.size_um)
        }
        pool = {name: [i for i in numbers if i not in done] for name, numbers in pool.items()}
    return replace(scene, features=tuple(features), surroundings=tuple(loose)), tuple(found)


def _checked(kinds: Sequence[str] | None, count: int | None) -> list[str]:
    """The names, each once."""
    names = list(dict.fromkeys(DEFECTS if kinds is None else kinds))
    for name in names:
        if name not in DEFECTS:
            raise RecipeError(
                where=f"defects, {name!r}",
                expected=f"one of {', '.join(DEFECTS)}",
                found=repr(name),
                advice="write the name as in that list",
            )
    if count is not None and not 0 <= count <= MOST:
        raise RecipeError(
            where="defects, count",
            expected=f"0 to {MOST}",
            found=str(count),
            advice="ask for fewer defects in one image",
        )
    return names


def _drawn(
    name: str, scene: Scene, random: Random, *, view: View, pool: list[int], found: Sequence[Defect]
) -> tuple[Defect, int | None] | None:
    """A defect of this kind and the number of its feature, or None; features once tried leave the pool."""
    for _ in range(_TRIES):
        index: int | None = None
        if pool:
            index = pool.pop(int(random.integers(len(pool))))
            feature = scene.features[index]
        elif "" in DEFECTS[name].features:
            # somewhere in the image, on the highest of the surfaces where things lie, or on any
            levels = [0.0, *(each.about["top_um"] for each in scene.features if "top_um" in each.about)]
            z = max(levels) if bernoulli(random, 0.5) else choice(random, levels)
            inner, (width, height) = 0.5 - 1.2 * BORDER, view.extent_um
            image = width * uniform(random, -inner, inner), height * uniform(random, -inner, inner)
            feature = Feature("", (*Sight(view).behind(image, z), z), 0.0, (), {})
        else:
            return None
        defect = DEFECTS[name].make(feature, scene, random, view=view)
        if defect is None or not well_inside(view, defect.at_um):
            continue
        if all(dist(defect.at_um[:2], d.at_um[:2]) > (defect.size_um + d.size_um) / 2 for d in found):
            return defect, index
    return None
