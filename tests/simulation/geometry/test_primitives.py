"""Primitives refuse what cannot be, and name the field; scenes give all their primitives."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from longexposure.errors import RecipeError
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Feature,
    Grain,
    Lattice,
    Primitive,
    Scene,
    Slab,
    Track,
    Weave,
    Wedge,
    Wire,
)

EACH: list[Primitive] = [
    Ball(material="Sn", at=(0, 0, 0), radius=5),
    Ellipsoid(material="Sn", at=(0, 0, 0), radii=(5, 4, 3)),
    Cylinder(material="Cu", at=(0, 0), radius=5, inner_radius=3, bottom=0, top=9),
    Cone(material="Cu", at=(0, 0), bottom_radius=5, top_radius=0, bottom=0, top=9),
    Slab(material="Si", at=(0, 0), sides=(4, 5), bottom=0, top=9),
    Wedge(material="Sn", at=(0, 0), sides=(4, 5), bottom=0, top=9),
    Track(material="Cu", points=((0, 0), (4, 5)), width=3, bottom=0, top=9),
    Wire(material="Au", points=((0, 0, 0), (4, 5, 6)), diameter=3),
    Lattice(material="Cu", at=(0, 0), sides=(40, 50), pitch=(4, 5), cell=(2, 2), bottom=0, top=9),
    Weave(material="FR-4", period=(400, 500), mean=50, swing=10),
    Grain(material="EMC", mean=50, rms=10, roughness=5),
]
IDS = [type(primitive).__name__ for primitive in EACH]
LENGTHS = {"radius", "radii", "sides", "width", "diameter", "pitch", "cell", "period", "roughness"}


def spoilt(value: object, by: float) -> object:
    """The same value with its last number replaced."""
    if isinstance(value, tuple):
        return (*value[:-1], spoilt(value[-1], by))
    return by


@pytest.mark.parametrize("primitive", EACH, ids=IDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_in_every_field(primitive: Primitive, bad: float) -> None:
    for field in fields(primitive):
        value = getattr(primitive, field.name)
        if isinstance(value, str) or field.name == "seed":
            continue
        with pytest.raises(RecipeError, match=f"{type(primitive).__name__.lower()}, "):
            replace(primitive, **{field.name: spoilt(value, bad)})


@pytest.mark.parametrize("primitive", EACH, ids=IDS)
@pytest.mark.parametrize("bad", [0.0, -2.0])
def test_lengths_must_be_above_zero(primitive: Primitive, bad: float) -> None:
    for name in LENGTHS & {field.name for field in fields(primitive)}:
        with pytest.raises(RecipeError, match=f"{name}: expected lengths above 0 um"):
            replace(primitive, **{name: spoilt(getattr(primitive, name), bad)})


@pytest.mark.parametrize("primitive", [s for s in EACH if hasattr(s, "top")], ids=lambda s: type(s).__name__)
def test_a_top_must_lie_above_the_bottom(primitive: Primitive) -> None:
    with pytest.raises(RecipeError, match="top: expected a height above the bottom"):
        replace(primitive, bottom=7.0, top=7.0)


@pytest.mark.parametrize("primitive", [EACH[6], EACH[7]], ids=["Track", "Wire"])
def test_a_line_needs_a_point(primitive: Primitive) -> None:
    with pytest.raises(RecipeError, match="points: expected one point or more"):
        replace(primitive, points=())


@pytest.mark.parametrize(
    ("primitive", "change", "field"),
    [
        (EACH[2], {"inner_radius": 5.0}, "inner_radius"),
        (EACH[2], {"inner_radius": -1.0}, "inner_radius"),
        (EACH[3], {"top_radius": 5.0}, "radii"),
        (EACH[3], {"top_radius": -1.0}, "radii"),
        (EACH[9], {"swing": 51.0}, "swing"),
        (EACH[9], {"swing": -1.0}, "swing"),
        (EACH[10], {"rms": -1.0}, "rms"),
        (EACH[10], {"mean": -1.0}, "mean"),
        (EACH[10], {"seed": -1}, "seed"),
        (EACH[9], {"seed": -1}, "seed"),
        (EACH[8], {"pattern": "star"}, "pattern"),
    ],
)
def test_shapes_that_contradict_themselves_are_refused(
    primitive: Primitive, change: dict[str, float], field: str
) -> None:
    with pytest.raises(RecipeError, match=f"{field}: expected"):
        replace(primitive, **change)  # type: ignore[arg-type]


def test_a_scene_gives_its_surroundings_and_all_that_its_features_are_made_of() -> None:
    features = tuple(
        Feature(kind="ball", at=(0, 0, 0), size_um=9, primitives=(EACH[i], EACH[i + 1]), about={})
        for i in (0, 2)
    )
    scene = Scene(kind="bga", features=features, surroundings=(EACH[9],), facts={})
    assert scene.primitives == (EACH[9], EACH[0], EACH[1], EACH[2], EACH[3])
