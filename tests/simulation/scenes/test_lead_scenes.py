"""Packages with leads, pins in holes, power modules: dimensions, features, what lies where."""

from dataclasses import replace

import numpy as np
import pytest

from longexposure.simulation.geometry.primitives import Ball, Slab, Wedge
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.catalogue import SCENES
from longexposure.simulation.scenes.connector_pins import connector_pins
from longexposure.simulation.scenes.lead_frame import lead_frame
from longexposure.simulation.scenes.power_module import power_module

SEEDS = range(10)


def _view(size=300, pixel_um=20.0, tilt_deg=0.0, source_um=float("inf")):
    return View(size, size, pixel_um, tilt_deg=tilt_deg, azimuth_deg=-40.0, source_um=source_um)


def _own(slab, place):
    """The place in the slab's own axes."""
    turn = np.radians(slab.turn_deg)
    x, y = np.subtract(place[:2], slab.at)
    return np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x


@pytest.mark.parametrize("seed", range(24))
def test_outlines_are_those_of_jedec(seed):
    scene = lead_frame(np.random.default_rng(seed), view=_view())
    facts = scene.facts
    pitches = {"QFP": (400, 500, 650, 800), "SOIC": (1270,), "TSSOP": (500, 650)}
    assert facts["pitch_um"] in pitches[facts["outline"]]
    assert 0.3 * facts["pitch_um"] <= facts["lead_um"] <= 0.5 * facts["pitch_um"]
    assert 125 <= facts["metal_um"] <= 260
    if facts["outline"] == "QFP":
        assert facts["body_width_um"] == facts["body_height_um"]
        assert facts["leads"] % 4 == 0
    else:
        assert facts["body_height_um"] in (3900, 7500, 4400, 6100)


def test_all_outlines_are_drawn():
    drawn = {lead_frame(np.random.default_rng(s), view=_view(64)).facts["outline"] for s in range(40)}
    assert drawn == {"QFP", "SOIC", "TSSOP"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gull_wing_is_one_piece_from_the_body_to_its_foot(seed):
    scene = lead_frame(np.random.default_rng(seed), view=_view(pixel_um=25.0))
    leads = [feature for feature in scene.features if feature.kind == "lead"]
    assert leads
    for lead in leads:
        shoulder, riser, foot, _ = lead.primitives
        assert riser.top == shoulder.bottom
        assert riser.bottom == foot.bottom
        assert shoulder.top - shoulder.bottom == pytest.approx(foot.top - foot.bottom)
        outer = _own(shoulder, riser.at)[1] + riser.sides[1] / 2
        assert abs(outer) == pytest.approx(shoulder.sides[1] / 2, rel=1e-6)
        gap = abs(_own(foot, riser.at)[1]) - (foot.sides[1] + riser.sides[1]) / 2
        assert gap == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_inner_fingers_keep_clear_of_each_other(seed):
    scene = lead_frame(np.random.default_rng(seed), view=_view(pixel_um=25.0))
    fingers = [feature.primitives[3] for feature in scene.features if feature.kind == "lead"]
    fraction = np.linspace(0, 1, 60)[:, None]
    lines = [np.array(f.points[0]) + fraction * np.subtract(f.points[1], f.points[0]) for f in fingers]
    for index, line in enumerate(lines[:60]):
        for other, width in zip(lines[index + 1 : index + 3], fingers[index + 1 : index + 3], strict=False):
            apart = np.hypot(*(line[:, None] - other[None]).transpose(2, 0, 1)).min()
            assert apart > 0.97 * width.width


@pytest.mark.parametrize("seed", SEEDS)
def test_heel_fillets_are_high_at_the_riser(seed):
    scene = lead_frame(np.random.default_rng(seed), view=_view(pixel_um=25.0))
    leads = [feature for feature in scene.features if feature.kind == "lead"]
    joints = [feature for feature in scene.features if feature.kind == "joint"]
    assert len(leads) == len(joints)
    for lead, joint in zip(leads, joints, strict=True):
        heel, riser = joint.primitives[0], lead.primitives[1]
        assert isinstance(heel, Wedge)
        along, across = _own(heel, riser.at)
        assert along == pytest.approx(-(heel.sides[0] + riser.sides[1]) / 2)
        assert across == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_pins_fit_their_holes_and_holes_their_pitch(seed):
    facts = connector_pins(np.random.default_rng(seed), view=_view()).facts
    across = facts["pin_um"] * (2**0.5 if facts["pin"] == "square" else 1)
    assert across < facts["hole_um"] - 50
    assert facts["hole_um"] < 0.75 * facts["pitch_um"]
    assert 0.75 <= facts["fill"] <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_solder_fills_the_space_between_pin_and_barrel(seed):
    """Along a ray beside the pin the solder is as thick as the joint is high; in the pin there is none."""
    scene = connector_pins(np.random.default_rng(seed), view=_view())
    joint = next(feature for feature in scene.features if feature.kind == "joint")
    full = [primitive for primitive in joint.primitives if not isinstance(primitive, Ball)]
    moved = [
        replace(primitive, at=(primitive.at[0] - joint.at[0], primitive.at[1] - joint.at[1]))
        for primitive in full
    ]
    maps = thickness_maps(moved, View(201, 201, 2 * joint.size_um / 201))
    solder = maps[scene.facts["solder"]]
    assert solder[100, 100] == pytest.approx(0, abs=0.01)
    height = joint.about["top_um"] - joint.about["bottom_um"]
    assert solder.max() >= 0.97 * height
    assert maps["Cu"][100, 100] >= scene.facts["board_um"]


def test_holes_without_a_pin_are_vias():
    kinds = {
        feature.kind
        for seed in range(8)
        for feature in connector_pins(np.random.default_rng(seed), view=_view()).features
    }
    assert kinds == {"joint", "via", "trace"}


@pytest.mark.parametrize("seed", SEEDS)
def test_voids_below_a_power_die_lie_in_its_solder_and_cover_a_few_per_cent(seed):
    scene = power_module(np.random.default_rng(seed), view=_view(400, 40.0))
    pads = [feature for feature in scene.features if feature.kind == "thermal pad"]
    assert pads
    for pad in pads:
        solder, *voids = pad.primitives
        assert solder.material in ("SAC305", "Sn63Pb37", "Pb")
        area = sum(np.pi * void.radius**2 for void in voids)
        assert area <= 0.16 * solder.sides[0] * solder.sides[1]
        for void in voids:
            assert void.amount == -1
            assert void.material == solder.material
            assert solder.bottom <= void.bottom < void.top <= solder.top
            x, y = _own(solder, void.at)
            assert abs(x) <= solder.sides[0] / 2
            assert abs(y) <= solder.sides[1] / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_power_dies_lie_on_copper(seed):
    scene = power_module(np.random.default_rng(seed), view=_view(400, 40.0))
    islands = [s for s in scene.surroundings if isinstance(s, Slab) and s.material == "Cu" and s.top == 0]
    for feature in scene.features:
        if feature.kind == "thermal pad":
            pad = feature.primitives[0]
            away = [np.abs(_own(island, pad.at)) + np.array(pad.sides) / 2 for island in islands]
            halves = [np.array(island.sides) / 2 for island in islands]
            assert sum(bool(np.all(a <= half)) for a, half in zip(away, halves, strict=True)) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_power_wires_are_thick_and_start_on_their_die(seed):
    scene = power_module(np.random.default_rng(seed), view=_view(400, 40.0))
    wires = [feature for feature in scene.features if feature.kind == "wire"]
    assert wires
    for feature in wires:
        wire = feature.primitives[0]
        assert wire.material == "Al"
        assert 125 <= wire.diameter <= 400
        assert feature.about["loop_um"] <= 2500
    stands = {feature.primitives[0].points[0][2] for feature in wires}
    top = next(feature.about["top_um"] for feature in scene.features if feature.kind == "die")
    assert stands == {top + 0.4 * scene.facts["wire_um"]}


@pytest.mark.parametrize("name", ["lead_frame", "connector_pins", "power_module"])
def test_each_part_is_resolved_at_both_ends_of_its_range(name):
    kind = SCENES[name]
    low, high = kind.pixel_um
    assert 0 < low < high
    for pixel_um in kind.pixel_um:
        scene = kind.builder(np.random.default_rng(1), view=_view(128, pixel_um))
        assert scene.primitives
