"""Defects with truth: which there are, and putting them into a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import dist

from longexposure.errors import RecipeError
from longexposure.simulation.defects.cracks import CRACK_DEFECTS
from longexposure.simulation.defects.joints import JOINT_DEFECTS
from longexposure.simulation.defects.kind import BORDER, MOST, Defect, DefectKind, well_inside
from longexposure.simulation.defects.lines import LINE_DEFECTS
from longexposure.simulation.defects.visibility import SeenDefect, mask_of, see, see_all
from longexposure.simulation.defects.voids import VOID_DEFECTS
from longexposure.simulation.geometry.frame import Sight
from longexposure.simulation.geometry.primitives import Feature, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.draws import Random, uniform

__all__ = ["DEFECTS", "Defect", "DefectKind", "SeenDefect", "add_defects", "mask_of", "see", "see_all"]

DEFECTS: Mapping[str, DefectKind] = {**VOID_DEFECTS, **JOINT_DEFECTS, **LINE_DEFECTS, **CRACK_DEFECTS}
"""All kinds of defects, by the name that recipes write."""

_USUAL_SHARE = 0.03
_TRIES = 12
_EXTENDED = ("thermal pad", "wire", "trace", "die", "body")
"""Kinds of features that may be seen in part; for others their middle decides."""


def add_defects(
    scene: Scene,
    random: Random,
    *,
    view: View,
    kinds: Sequence[str] | None = None,
    count: int | None = None,
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
    seen = [i for i, feature in enumerate(scene.features) if _shown(feature, view)]
    if count is None:
        most = min(max(2, round(_USUAL_SHARE * len(seen))), MOST)
        count = int(random.integers(1, most + 1))
    pool = {name: [i for i in seen if scene.features[i].kind in DEFECTS[name].features] for name in wanted}
    free = {name for name in wanted if "" in DEFECTS[name].features}
    features, loose, found = list(scene.features), list(scene.surroundings), list[Defect]()
    while len(found) < count:
        allowed = [name for name in wanted if pool[name] or name in free]
        if not allowed:
            break
        name = allowed[int(random.integers(len(allowed)))]
        made = _drawn(name, scene, random, view=view, pool=pool, found=found)
        if made is None:
            free.discard(name)
            continue
        defect, index = made
        found.append(defect)
        if index is None:
            loose += defect.added
        else:
            features[index] = _with(features[index], defect)
        _retire(pool, scene, defect, index)
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
    name: str,
    scene: Scene,
    random: Random,
    *,
    view: View,
    pool: dict[str, list[int]],
    found: Sequence[Defect],
) -> tuple[Defect, int | None] | None:
    """A defect of this kind and the number of its feature, or None; features once tried leave the pool."""
    for _ in range(_TRIES):
        index: int | None = None
        if pool[name]:
            index = pool[name].pop(int(random.integers(len(pool[name]))))
            feature = scene.features[index]
        elif "" in DEFECTS[name].features:
            feature = _free_place(scene, random, view)
        else:
            return None
        defect = DEFECTS[name].make(feature, scene, random, view=view)
        if defect is not None and well_inside(view, defect.at_um) and _clear(defect, found):
            return defect, index
    return None


def _free_place(scene: Scene, random: Random, view: View) -> Feature:
    """A place without a feature, somewhere in the image, on one of the surfaces where things lie."""
    levels = [0.0, *(feature.about["top_um"] for feature in scene.features if "top_um" in feature.about)]
    z = _level(random, levels)
    width, height = view.extent_um
    inner = 0.5 - 1.2 * BORDER
    image = width * uniform(random, -inner, inner), height * uniform(random, -inner, inner)
    return Feature("", (*Sight(view).behind(image, z), z), 0.0, (), {})


def _level(random: Random, levels: Sequence[float]) -> float:
    """The highest of the surfaces, or any."""
    return max(levels) if random.random() < 0.5 else levels[int(random.integers(len(levels)))]


def _clear(defect: Defect, found: Sequence[Defect]) -> bool:
    """Whether it lies apart from those that are there."""
    return all(
        dist(defect.at_um[:2], other.at_um[:2]) > (defect.size_um + other.size_um) / 2 for other in found
    )


def _shown(feature: Feature, view: View) -> bool:
    """Whether the image may show a defect of the feature."""
    return bool(feature.primitives) and (feature.kind in _EXTENDED or well_inside(view, feature.at))


def _with(feature: Feature, defect: Defect) -> Feature:
    primitives = list(feature.primitives)
    for primitive in defect.removed:
        primitives.remove(primitive)
    return replace(feature, primitives=(*primitives, *defect.added))


def _retire(pool: dict[str, list[int]], scene: Scene, defect: Defect, index: int | None) -> None:
    """Take the defect's feature, and compact ones that it touches, as a bridge does, out of the pools."""
    for numbers in pool.values():
        numbers[:] = [i for i in numbers if i != index and not _touches(defect, scene.features[i])]


def _touches(defect: Defect, feature: Feature) -> bool:
    near = 0.52 * (defect.size_um + feature.size_um)
    return feature.kind not in _EXTENDED and dist(feature.at[:2], defect.at_um[:2]) < near
