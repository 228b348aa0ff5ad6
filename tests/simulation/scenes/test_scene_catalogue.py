"""The catalogue: complete, every entry draws, weights hold, one part over another, faults named."""

from collections import Counter
from dataclasses import replace
from importlib import import_module
from inspect import isfunction, signature
from pkgutil import walk_packages

import numpy as np
import pytest

from longexposure.errors import RecipeError
from longexposure.simulation import scenes
from longexposure.simulation.geometry.primitives import Ball, Cylinder, Grain, Scene, Slab, Track, Weave, Wire
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import MATERIALS
from longexposure.simulation.scenes.catalogue import (
    GROUNDS,
    INDICATORS,
    SCENES,
    SceneKind,
    draw_scene,
    heights,
    lowered,
    moved,
)

ENDS = [(name, end) for name in SCENES for end in (0, 1)]
_JOINT = {"radius_um", "bottom_um", "top_um", "pitch_um"}
_BOX = {"width_um", "height_um", "turn_deg", "bottom_um", "top_um"}
ABOUT = {
    **dict.fromkeys(("ball", "bump", "pillar"), _JOINT),
    **dict.fromkeys(("thermal pad", "joint", "die", "body", "lead", "cell block"), _BOX),
    "via": {"radius_um", "bottom_um", "top_um"},
    "trace": {"width_um", "gap_um", "bottom_um", "top_um"},
    "wire": {"diameter_um", "length_um", "loop_um"},
}
FIRST = {"wire": Wire, "trace": Track, "via": Cylinder, "die": Slab, "thermal pad": Slab, "lead": Slab}


def _view(size=128, pixel_um=8.0, **geometry):
    return View(size, size, pixel_um, **geometry)


def _primitives():
    return (
        Ball(material="SAC305", at=(1, 2, 3), radius=4, bottom=0, top=5),
        Cylinder(material="Cu", at=(1, 2), radius=3, bottom=0, top=4),
        Slab(material="Si", at=(1, 2), sides=(3, 4), bottom=0, top=4, turn_deg=10),
        Track(material="Cu", points=((0, 0), (5, 5)), width=1, bottom=0, top=2),
        Wire(material="Au", points=((0, 0, 0), (5, 5, 9)), diameter=2),
    )


def test_the_catalogue_holds_every_modules_builders_once():
    modules = [module.name for module in walk_packages(scenes.__path__, scenes.__name__ + ".")]
    builders = {
        value
        for name in modules
        for value in vars(import_module(name)).values()
        if isfunction(value) and signature(value).return_annotation == "Scene" and value.__name__[0] != "_"
    } - {draw_scene}
    assert builders == {kind.builder for kind in SCENES.values()}
    assert all(kind.builder.__name__ == name for name, kind in SCENES.items())


def test_every_entry_says_what_it_is():
    for kind in SCENES.values():
        assert isinstance(kind, SceneKind)
        assert callable(kind.builder)
        assert 0 < kind.pixel_um[0] < kind.pixel_um[1]
        assert len(kind.summary) > 10


def test_what_lies_below_is_in_the_catalogue_and_takes_the_same_pixels():
    for name, grounds in GROUNDS.items():
        low, high = SCENES[name].pixel_um
        for ground in grounds:
            assert name != ground
            assert max(low, SCENES[ground].pixel_um[0]) < min(high, SCENES[ground].pixel_um[1])


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_every_kind_draws_with_contrast_at_both_ends_of_its_range(name, end):
    kind = SCENES[name]
    view = _view(pixel_um=kind.pixel_um[end], tilt_deg=20.0 * end)
    contrast = []
    for seed in range(3):
        scene = kind.builder(np.random.default_rng(seed), view=view)
        maps = thickness_maps(scene.primitives, view)
        assert all(m.shape == (128, 128) and np.isfinite(m).all() and m.min() >= 0 for m in maps.values())
        contrast.append(max(float(np.ptp(m)) for m in maps.values()))
    assert max(contrast) > 1


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tilt", [0.0, 50.0])
def test_features_hold_what_defects_ask_for_and_materials_are_known(name, fraction, tilt):
    low, high = SCENES[name].pixel_um
    for seed in range(6):
        source, azimuth = (4e4, np.inf)[seed % 2], 70.0 * seed
        view = _view(
            160, low * (high / low) ** fraction, tilt_deg=tilt, azimuth_deg=azimuth, source_um=source
        )
        scene = SCENES[name].builder(np.random.default_rng(seed), view=view)
        assert scene.kind == name
        assert scene.features or name in (*INDICATORS, "legend")
        for feature in scene.features:
            assert ABOUT[feature.kind] <= set(feature.about)
            assert np.all(np.isfinite([*feature.about.values(), *feature.at, feature.size_um]))
            assert feature.size_um > 0
            assert isinstance(feature.primitives[0], FIRST.get(feature.kind, object))
            if "bottom_um" in feature.about:
                assert feature.about["bottom_um"] < feature.about["top_um"]
        assert {primitive.material for primitive in scene.primitives} <= set(MATERIALS)
        assert all(-1 <= primitive.amount <= 1 and primitive.amount != 0 for primitive in scene.primitives)


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_the_same_state_draws_the_same_scene_and_another_one_another(name, end):
    view = _view(160, SCENES[name].pixel_um[end], tilt_deg=40)
    first, again, other = (SCENES[name].builder(np.random.default_rng(seed), view=view) for seed in (5, 5, 6))
    assert first == again
    assert first.primitives != other.primitives


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_bears_the_name_of_its_entry(name):
    kind = SCENES[name]
    scene = kind.builder(np.random.default_rng(0), view=_view(pixel_um=kind.pixel_um[0] * 1.5))
    assert scene.kind == name
    assert scene.facts


def test_the_same_state_draws_the_same_scene_from_the_catalogue():
    view = _view(tilt_deg=35, source_um=3e4)
    for seed in range(8):
        first, second = (draw_scene(np.random.default_rng(seed), view=view) for _ in range(2))
        assert first == second


def test_weights_are_obeyed():
    random, view = np.random.default_rng(0), _view(16)
    kinds = {"lead_frame": 3.0, "bond_wires": 1.0, "qfn": 0.0}
    counts = Counter(draw_scene(random, view=view, kinds=kinds).kind for _ in range(300))
    assert set(counts) == {"lead_frame", "bond_wires"}
    assert abs(counts["lead_frame"] - 225) < 4 * np.sqrt(300 * 0.75 * 0.25)


def test_all_kinds_that_fit_are_drawn_alike_by_default():
    random, view = np.random.default_rng(1), _view(16)
    fitting = {name for name, kind in SCENES.items() if kind.pixel_um[0] <= 8 <= kind.pixel_um[1]}
    counts = Counter(draw_scene(random, view=view).kind for _ in range(12 * len(fitting)))
    assert set(counts) == fitting
    assert max(counts.values()) < 30


def test_kinds_that_do_not_fit_the_pixels_are_left_out():
    random = np.random.default_rng(2)
    for _ in range(20):
        scene = draw_scene(random, view=_view(16, 35.0), kinds={"bond_wires": 100.0, "connector_pins": 1.0})
        assert scene.kind == "connector_pins"


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(RecipeError, match=r"'bga_balls'.*expected one of .*bond_wires") as caught:
        draw_scene(np.random.default_rng(0), view=_view(), kinds={"bga_balls": 1.0})
    assert caught.value.found == "'bga_balls'"


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_an_impossible_weight_is_refused(weight):
    with pytest.raises(RecipeError, match=r"'bond_wires'.*weight of 0 or more"):
        draw_scene(np.random.default_rng(0), view=_view(), kinds={"bond_wires": weight})


@pytest.mark.parametrize("kinds", [{}, {"bond_wires": 0.0}])
def test_no_kind_at_all_is_refused(kinds):
    with pytest.raises(RecipeError, match="at least one kind"):
        draw_scene(np.random.default_rng(0), view=_view(), kinds=kinds)


def test_pixels_that_no_wanted_kind_takes_are_refused_with_their_ranges():
    low, high = SCENES["bond_wires"].pixel_um
    with pytest.raises(RecipeError, match=rf"bond_wires {low:g} to {high:g}.*found 500 um"):
        draw_scene(np.random.default_rng(0), view=_view(pixel_um=500.0), kinds={"bond_wires": 1.0})


def _layered(view, kinds, seeds=40):
    scenes = (draw_scene(np.random.default_rng(seed), view=view, kinds=kinds) for seed in range(seeds))
    return [scene for scene in scenes if "below" in scene.facts]


def test_a_part_comes_to_lie_over_a_board_now_and_then():
    view, kinds = _view(64, 10.0), {"lead_frame": 1.0, "traces": 1e-9}
    found = _layered(view, kinds)
    assert 5 <= len(found) <= 30
    for scene in found:
        assert scene.kind == "lead_frame"
        assert scene.facts["below"] == "traces"
        assert any(key.startswith("below_") for key in scene.facts)


def test_a_single_wanted_kind_stays_alone():
    assert not _layered(_view(64, 10.0), {"lead_frame": 1.0})


@pytest.mark.parametrize("source_um", [float("inf"), 2e4])
def test_what_lies_below_ends_where_the_part_begins(source_um):
    view, found = _view(64, 10.0, tilt_deg=30, azimuth_deg=50, source_um=source_um), 0
    for seed in range(20):
        both, alone = (
            draw_scene(np.random.default_rng(seed), view=view, kinds=kinds)
            for kinds in ({"lead_frame": 1.0, "planes": 1e-9}, {"lead_frame": 1.0})
        )
        if "below" in both.facts:
            part, ground = alone.features, both.features[len(alone.features) :]
            below = both.surroundings[len(alone.surroundings) :]
            assert both.features[: len(part)] == part
            primitives = [*below, *(primitive for feature in ground for primitive in feature.primitives)]
            assert heights(primitives)[1] == pytest.approx(heights(alone.primitives)[0], abs=1)
            for feature in ground:
                low, high = heights(feature.primitives[:1])
                assert feature.about["bottom_um"] == pytest.approx(low)
                assert feature.about["top_um"] == pytest.approx(high)
            found += 1
    assert found > 2


@pytest.mark.parametrize("source_um", [float("inf"), 2e4])
@pytest.mark.parametrize("z", [-1600.0, 900.0])
def test_a_lowered_view_sees_in_its_plane_what_the_view_sees_there(source_um, z):
    view = View(200, 300, 5.0, tilt_deg=40, azimuth_deg=70, source_um=source_um)
    other = lowered(view, z)
    by = np.array([-view.slope[0] * z, -view.slope[1] * z, z])
    points = np.array([[0.0, 0.0, 0.0], [200.0, -100.0, 300.0], [-350.0, 20.0, -150.0]])
    assert other.project(points) == pytest.approx(view.project(points + by))


def test_moved_primitives_are_the_same_thickness_elsewhere():
    view = View(60, 60, 1.0)
    still = thickness_maps(_primitives(), view)
    there = thickness_maps([moved(primitive, (7.0, -5.0, 40.0)) for primitive in _primitives()], view)
    for material, map_ in still.items():
        assert there[material] == pytest.approx(np.roll(map_, (-5, 7), (0, 1)), abs=1e-3)


def test_moving_does_not_modify_and_keeps_what_fills_the_image():
    primitive = _primitives()[0]
    before = replace(primitive)
    moved(primitive, (1.0, 2.0, 3.0))
    assert primitive == before
    weave = Weave(material="FR-4", period=(400, 400), mean=100, swing=10)
    grain = Grain(material="EMC", mean=10, rms=1, roughness=5)
    assert moved(weave, (1.0, 2.0, 3.0)) == weave
    assert moved(grain, (1.0, 2.0, 3.0)) == grain


def test_heights_are_those_of_what_is_there():
    assert heights(_primitives()) == (-1.0, 10.0)
    void = Ball(material="SAC305", amount=-1, at=(0, 0, 500), radius=4)
    assert heights([*_primitives(), void]) == (-1.0, 10.0)
    assert heights([Ball(material="Sn", at=(0, 0, 10), radius=4, bottom=8)]) == (8.0, 14.0)


def test_marks_come_now_and_then_and_only_where_wanted():
    view = _view(64, 10.0)
    marked = [
        draw_scene(np.random.default_rng(s), view=view, kinds={"qfn": 1.0, "legend": 1e-9}) for s in range(60)
    ]
    fraction = sum("marks" in scene.facts for scene in marked) / 60
    assert 0.03 < fraction < 0.4
    plain = [draw_scene(np.random.default_rng(s), view=view, kinds={"qfn": 1.0}) for s in range(20)]
    assert not any("marks" in scene.facts for scene in plain)


@pytest.mark.parametrize("seed", range(12))
def test_drawn_scenes_can_be_seen_obliquely_from_a_near_source(seed):
    view = _view(64, 9.0, tilt_deg=50, azimuth_deg=30.0 * seed, source_um=2.5e4)
    scene = draw_scene(np.random.default_rng(seed), view=view)
    assert isinstance(scene, Scene)
    maps = thickness_maps(scene.primitives, view)
    assert all(np.isfinite(m).all() and m.min() >= 0 for m in maps.values())
