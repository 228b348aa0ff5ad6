"""Image quality indicators: sizes and contrasts as stated, details where they are said to be."""

from collections import Counter
from itertools import pairwise
from math import exp, inf, pi

import numpy as np
import pytest

from longexposure.simulation.geometry.primitives import Ball, Cylinder, Slab, Track, Wire
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import linear_attenuation_per_um
from longexposure.simulation.scenes.catalogue import INDICATORS, SCENES, draw_scene
from longexposure.simulation.scenes.iqi.indicator import CONTRAST

SEEDS = range(8)
PIXEL = 10.0


def _drawn(name, seed, *, size=128, pixel_um=PIXEL, **geometry):
    view = View(size, size, pixel_um, **geometry)
    return SCENES[name].builder(np.random.default_rng(seed), view=view), view


def _mu(material):
    return float(linear_attenuation_per_um(material, 60.0))


def _holes(scene):
    return [s for s in scene.primitives if isinstance(s, Cylinder) and s.amount < 0]


def _raised(scene, kind):
    return [s for s in scene.primitives if isinstance(s, kind) and s.amount > 0]


def _contrast(primitive):
    return exp(_mu(primitive.material) * (primitive.top - primitive.bottom)) - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_holes_discs_pores_and_balls_are_as_many_as_the_facts_say_and_1_5_to_12_px_wide(seed):
    scene, view = _drawn("hole_iqi", seed)
    pores = [s for s in scene.primitives if isinstance(s, Ball) and s.amount < 0]
    found = {"holes": _holes(scene), "discs": _raised(scene, Cylinder), "balls": _raised(scene, Ball)}
    for kind, primitives in {**found, "pores": pores}.items():
        assert len(primitives) == scene.facts[kind]
        for primitive in primitives:
            assert 1.5 <= 2 * primitive.radius / view.pixel_um <= 12


def test_contrasts_of_holes_span_two_decades_and_stay_in_their_range():
    scenes = [_drawn("hole_iqi", seed)[0] for seed in range(30)]
    contrasts = np.array([_contrast(hole) for scene in scenes for hole in _holes(scene)])
    assert len(contrasts) > 100
    assert CONTRAST[0] * 0.999 <= contrasts.min() < 0.006
    assert 0.2 < contrasts.max() <= CONTRAST[1] * 1.001
    middle = contrasts[(contrasts > 0.01) & (contrasts < 0.1)]
    assert len(middle) > 0.3 * len(contrasts)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hole_lies_in_a_plate_of_its_material_and_no_deeper(seed):
    scene, _ = _drawn("hole_iqi", seed, tilt_deg=20.0, source_um=3e4)
    plates = [s for s in scene.primitives if isinstance(s, Slab)]
    for hole in _holes(scene):
        within = [
            plate
            for plate in plates
            if (plate.material, plate.top) == (hole.material, hole.top) and plate.bottom <= hole.bottom
        ]
        assert within
        turn = [np.radians(plate.turn_deg) for plate in within]
        axes = [np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in turn]
        inside = [
            np.all(np.abs(a @ np.subtract(hole.at, plate.at)) + hole.radius <= np.array(plate.sides) / 2)
            for a, plate in zip(axes, within, strict=True)
        ]
        assert any(inside)


def test_holes_take_from_the_map_what_their_volume_says_at_their_places():
    scene, view = _drawn("hole_iqi", 3)
    removed = _holes(scene)
    assert len(removed) > 3
    rest = [primitive for primitive in scene.primitives if primitive not in removed]
    with_, without = thickness_maps(scene.primitives, view), thickness_maps(rest, view)
    lost = {name: without[name] - with_[name] for name in without}
    rows, columns = np.mgrid[: view.height, : view.width]
    for hole in removed:
        x, y = view.project([[*hole.at, hole.top]])[0]
        near = np.hypot(columns - x, rows - y) < hole.radius / view.pixel_um + 1.5
        if 10 < x < 118 and 10 < y < 118 and near.sum() > 4:
            volume = pi * hole.radius**2 * (hole.top - hole.bottom)
            assert lost[hole.material][near].sum() * view.pixel_um**2 > 0.95 * volume


def test_details_do_not_overlap_and_some_touch():
    touching = 0
    for seed in SEEDS:
        scene, view = _drawn("hole_iqi", seed)
        details = [*_holes(scene), *_raised(scene, Cylinder), *_raised(scene, Ball)]
        for k, one in enumerate(details):
            for other in details[:k]:
                away = np.hypot(*np.subtract(one.at[:2], other.at[:2])) - one.radius - other.radius
                assert away > -1e-3 * view.pixel_um
                touching += away < 1e-3 * view.pixel_um
    assert touching > 3


def test_some_holes_go_through_and_some_are_blind():
    through = []
    for seed in range(20):
        scene, _ = _drawn("hole_iqi", seed)
        slabs = [s for s in scene.primitives if isinstance(s, Slab)]
        through += [any(hole.bottom == slab.bottom for slab in slabs) for hole in _holes(scene)]
    assert 0.05 < np.mean(through) < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_wires_are_0_8_to_4_px_thick_and_broken_where_they_are_counted(seed):
    scene, view = _drawn("wire_iqi", seed)
    wires = [s for s in scene.primitives if isinstance(s, Wire)]
    assert len(wires) == scene.facts["wires"] + scene.facts["gaps"]
    for wire in wires:
        assert wire.diameter / view.pixel_um * 1.0001 >= 0.8
        assert wire.diameter / view.pixel_um <= 4.0001
    clear = []
    for one, other in pairwise(wires):
        same = (one.material, one.diameter) == (other.material, other.diameter)
        end, begin = np.array(one.points[-1]), np.array(other.points[0])
        gap = (np.sqrt(np.sum((begin - end) ** 2)) - one.diameter) / view.pixel_um
        if same and gap < 4.01:
            clear.append(gap)
    assert len(clear) >= scene.facts["gaps"]
    assert all(gap > 0.9 for gap in clear)


def test_a_gap_of_a_wire_lets_the_beam_through():
    found = 0
    for seed in range(10):
        scene, view = _drawn("wire_iqi", seed)
        wires = [s for s in scene.primitives if isinstance(s, Wire)]
        for one, other in pairwise(wires):
            end, begin = np.array(one.points[-1]), np.array(other.points[0])
            gap = np.sqrt(np.sum((begin - end) ** 2)) - one.diameter
            if one.diameter == other.diameter and 2.5 < gap / view.pixel_um < 4.0:
                thick = thickness_maps([one, other], view)[one.material]
                x, y = np.rint(view.project([(begin + end) / 2])[0]).astype(int)
                if 2 < x < 125 and 2 < y < 125:
                    assert thick[y, x] < 0.05 * one.diameter
                    found += 1
    assert found > 3


def test_wires_point_everywhere_and_some_are_curved_and_some_are_pairs():
    angles, bent, pairs = [], 0, 0
    for seed in range(20):
        scene, _ = _drawn("wire_iqi", seed)
        pairs += scene.facts["pairs"]
        for wire in (s for s in scene.primitives if isinstance(s, Wire)):
            x, y = np.subtract(wire.points[-1], wire.points[0])[:2]
            angles.append(np.degrees(np.arctan2(y, x)) % 180)
            bent += len(wire.points) > 2
    assert np.histogram(angles, bins=9, range=(0, 180))[0].min() > 0
    assert bent > 20
    assert pairs > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_strips_are_2_to_8_px_wide_and_opens_and_shorts_1_to_4_and_1_to_3_px(seed):
    scene, view = _drawn("line_iqi", seed, size=160)
    counts = Counter({name: n for name, n in scene.facts.items() if not isinstance(n, str)})
    tracks = [s for s in scene.primitives if isinstance(s, Track)]
    hairlines = [t for t in tracks if t.width < 1.61 * view.pixel_um]
    assert len(hairlines) == counts["hairlines"]
    assert counts["strips"] >= 2
    assert counts["opens"] + counts["shorts"] + counts["notches"] + counts["bites"] > 0
    for track in tracks:
        if track not in hairlines:
            assert 2 <= track.width / view.pixel_um <= 8


def test_an_open_divides_its_strip_and_a_short_joins_two():
    found = Counter()
    for seed in range(12):
        scene, view = _drawn("line_iqi", seed, size=160)
        slabs = [
            s for s in scene.primitives if isinstance(s, Slab) and max(s.sides) < 100 * view.pixel_um * 2
        ]
        raised = [s for s in slabs if s.amount > 0 and s.bottom == 0 and s.sides[0] > 25 * view.pixel_um]
        for strip in raised:
            turn = np.radians(strip.turn_deg)
            axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            for other in slabs:
                u, v = axes @ np.subtract(other.at, strip.at)
                if other.turn_deg != strip.turn_deg or other.top != strip.top or abs(u) > strip.sides[0] / 2:
                    continue
                if other.amount < 0 and other.sides[1] == strip.sides[1] and abs(v) < 1e-6:
                    assert 1 <= other.sides[0] / view.pixel_um <= 4
                    x, y = np.rint(view.project([[*other.at, 0.0]])[0]).astype(int)
                    if other.sides[0] > 2.5 * view.pixel_um and 0 <= x < 160 and 0 <= y < 160:
                        thick = thickness_maps([strip, other], view)[strip.material]
                        assert thick[y, x] < 0.05 * (strip.top - strip.bottom)
                        found["open"] += 1
                if other.amount > 0 and abs(abs(v) - (strip.sides[1] + other.sides[1]) / 2) < 1e-6:
                    assert other.sides[0] > 25 * view.pixel_um or 1 <= other.sides[0] / view.pixel_um <= 3
                    found["short or spur"] += 1
    assert min(found["open"], found["short or spur"]) > 3


@pytest.mark.parametrize("name", INDICATORS)
def test_no_ray_moves_a_detail_by_more_than_12_px_in_any_view(name):
    for seed, tilt in enumerate((0.0, 30.0, 60.0)):
        for pixel_um in (0.6, 60.0):
            scene, view = _drawn(
                name, seed, pixel_um=pixel_um, tilt_deg=tilt, source_um=5e3 * pixel_um, azimuth_deg=40.0
            )
            for primitive in scene.primitives:
                if isinstance(primitive, Cylinder):
                    ends = view.project([[*primitive.at, primitive.bottom], [*primitive.at, primitive.top]])
                    assert np.hypot(*(ends[1] - ends[0])) < 12.5


@pytest.mark.parametrize("name", INDICATORS)
def test_scenes_of_320_px_hold_20_to_150_details_or_a_set_more(name):
    kinds = {
        "hole_iqi": ("holes", "pores", "discs", "balls"),
        "wire_iqi": ("wires", "gaps"),
        "line_iqi": ("strips", "opens", "shorts", "spurs", "notches", "bites", "pinholes"),
    }
    for seed in range(6):
        scene, _ = _drawn(name, seed, size=320)
        assert 15 <= sum(scene.facts[kind] for kind in kinds[name]) <= 250


@pytest.mark.parametrize("name", INDICATORS)
def test_indicators_lie_over_larger_shapes_or_over_nothing(name):
    behind = Counter(_drawn(name, seed, size=64)[0].facts["behind"] for seed in range(60))
    assert set(behind) == {"none", "step plate", "wedge", "ball", "cylinder", "edges"}


def test_an_indicator_comes_to_lie_over_a_board_less_often_than_a_part():
    view = View(64, 64, PIXEL, source_um=3e4)
    kinds = {"hole_iqi": 1.0, "traces": 1e-9}
    below = [
        draw_scene(np.random.default_rng(seed), view=view, kinds=kinds).facts.get("below")
        for seed in range(60)
    ]
    assert 4 <= below.count("traces") <= 28


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize("source_um", [inf, 2e4])
def test_the_same_state_draws_the_same_indicator(name, source_um):
    first, second = (_drawn(name, 5, source_um=source_um)[0] for _ in range(2))
    assert first == second
