"""Chips of the dimensions that are made; what all builders promise is in test_boards.py."""

import numpy as np
import pytest

from longexposure.simulation.geometry.primitives import Cylinder, Lattice, Track
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.catalogue import SCENES
from longexposure.simulation.scenes.components.conductors import line_end_um

SEEDS = range(10)


def _drawn(name, seed, *, size=128, tilt=0.0):
    kind = SCENES[name]
    random = np.random.default_rng(seed)
    low, high = kind.pixel_um
    pixel = low * (high / low) ** random.random()
    view = View(size, size, pixel, tilt_deg=tilt, azimuth_deg=float(seed * 40))
    return kind.builder(random, view=view), view


@pytest.mark.parametrize("seed", SEEDS)
def test_through_vias_are_of_real_size_and_pitch(seed):
    scene, _ = _drawn("tsv_array", seed)
    assert 2.5 <= scene.facts["radius_um"] <= 25
    assert 10 <= scene.facts["pitch_um"] <= 200
    assert scene.facts["pitch_um"] > 2 * scene.facts["radius_um"]
    assert 30 <= scene.facts["deep_um"] <= 200
    places = np.array([f.at[:2] for f in scene.features if f.kind == "via"]).reshape(-1, 2)
    for place in places:
        others = np.sort(np.hypot(*(places - place).T))[1:2]
        assert np.all(others > 2 * scene.facts["radius_um"]), "two vias overlap"


@pytest.mark.parametrize("seed", SEEDS)
def test_through_vias_take_the_place_of_silicon(seed):
    scene, _ = _drawn("tsv_array", seed)
    die = next(f.primitives[0] for f in scene.features if f.kind == "die")
    for feature in scene.features:
        if feature.kind == "via":
            copper, hole = feature.primitives[:2]
            assert (hole.material, hole.amount) == ("Si", -1)
            assert (hole.at, hole.radius) == (copper.at, copper.radius)
            assert (hole.bottom, hole.top) == (die.bottom, die.top)
            assert copper.inner_radius < copper.radius


def test_vias_as_lattice_and_as_features_are_both_drawn_and_at_times_annular():
    scenes = [_drawn("tsv_array", seed)[0] for seed in range(40)]
    tall = [any(isinstance(s, Lattice) and s.top == 0.0 for s in scene.surroundings) for scene in scenes]
    features = [any(f.kind == "via" for f in scene.features) for scene in scenes]
    annular = [
        any(f.kind == "via" and f.primitives[0].inner_radius > 0 for f in scene.features) for scene in scenes
    ]
    assert any(tall)
    assert any(features)
    assert any(annular)


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_cells_repeat_every_3_to_30_px(seed):
    scene, view = _drawn("memory_cells", seed)
    blocks = [f for f in scene.features if f.kind == "cell block"]
    assert blocks
    for block in blocks:
        cells = block.primitives[0]
        assert isinstance(cells, Lattice)
        for axis in (0, 1):
            assert 2.99 <= cells.pitch[axis] / view.pixel_um <= 30.01
            assert 12 <= cells.sides[axis] / cells.pitch[axis] <= 64.01
            assert cells.cell[axis] < cells.pitch[axis]
        assert (cells.sides[0], cells.sides[1]) == (block.about["width_um"], block.about["height_um"])


def test_memory_repeats_in_the_image():
    view = View(128, 128, 1.0)
    for seed in range(6):
        scene = SCENES["memory_cells"].builder(np.random.default_rng(seed), view=view)
        block = next(f for f in scene.features if f.kind == "cell block")
        cells, turn = block.primitives[0], np.radians(block.about["turn_deg"])
        if cells.stagger:
            continue
        copper = thickness_maps([cells], view)["Cu"]
        x, y = np.round(2 * cells.pitch[0] * np.array([np.cos(turn), np.sin(turn)])).astype(int)
        spectrum = np.abs(np.fft.fft2(copper - copper.mean())) ** 2
        correlation = np.fft.ifft2(spectrum).real
        if copper.std() > 0 and 2 * cells.pitch[0] < 40:
            assert correlation[y % 128, x % 128] > 0.2 * correlation[0, 0]


def test_memory_blocks_do_not_overlap():
    for seed in SEEDS:
        scene, _ = _drawn("memory_cells", seed)
        blocks = [f for f in scene.features if f.kind == "cell block"]
        turn = -np.radians(blocks[0].about["turn_deg"])
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        places = np.array([block.at[:2] for block in blocks]) @ axes
        sides = np.array([blocks[0].about["width_um"], blocks[0].about["height_um"]])
        for a in range(len(blocks)):
            for b in range(a):
                assert np.any(np.abs(places[a] - places[b]) > sides)


@pytest.mark.parametrize("seed", SEEDS)
def test_redistribution_lines_are_of_real_size(seed):
    scene, _ = _drawn("redistribution", seed)
    traces = [f for f in scene.features if f.kind == "trace"]
    assert 2 <= scene.facts["width_um"] <= 20
    assert 3 <= scene.facts["copper_um"] <= 10
    for trace in traces:
        assert trace.about["gap_um"] == 0 or trace.about["gap_um"] > 0.99 * scene.facts["gap_um"]
    levels = {trace.about["bottom_um"] for trace in traces}
    assert len(levels) <= scene.facts["levels"] <= 3


def test_redistribution_bends_are_rounded():
    turns = []
    for seed in SEEDS:
        for feature in _drawn("redistribution", seed)[0].features:
            if feature.kind == "trace":
                steps = np.diff(np.array(feature.primitives[0].points), axis=0)
                steps = steps / np.hypot(*steps.T)[:, None]
                turns += np.degrees(
                    np.arccos(np.clip(np.sum(steps[1:] * steps[:-1], axis=1), -1, 1))
                ).tolist()
    assert np.mean(np.array(turns) > 40) < 0.05, "few bends are sharp"


@pytest.mark.parametrize("seed", SEEDS)
def test_dies_of_an_interposer_stand_side_by_side_on_their_bumps(seed):
    scene, _ = _drawn("interposer", seed)
    base, left, right = (f for f in scene.features if f.kind == "die")
    assert base.about["top_um"] == 0.0
    gap = np.hypot(left.at[0] - right.at[0], left.at[1] - right.at[1])
    assert gap >= left.about["width_um"] + scene.facts["street_um"] - 1e-6
    bumps = [s for s in scene.surroundings if isinstance(s, Lattice) and s.material == "Sn"]
    assert len(bumps) == 2
    for bump, die in zip(bumps, (left, right), strict=True):
        assert bump.top == die.about["bottom_um"]
        assert bump.sides[0] <= die.about["width_um"]
        assert bump.sides[1] <= die.about["height_um"]
        assert 20 <= bump.pitch[0] <= 60


def test_line_joins_its_land_without_a_lens_of_double_copper():
    view = View(200, 200, 1.0)
    land, width = 40.0, 30.0
    disc = Cylinder(material="Cu", at=(0.0, 0.0), radius=land, bottom=0.0, top=10.0)
    track = Track(
        material="Cu",
        points=((line_end_um(land, width), 0.0), (80.0, 0.0)),
        width=width,
        bottom=0.0,
        top=10.0,
    )
    copper = thickness_maps([disc, track], view)["Cu"]
    union_um2 = (
        np.pi * land**2 + width * (80 - np.sqrt(land**2 - (width / 2) ** 2)) + np.pi * (width / 2) ** 2 / 2
    )
    cap = land**2 * np.arcsin(width / 2 / land) - width / 2 * np.sqrt(land**2 - (width / 2) ** 2)
    assert copper.sum() / 10 == pytest.approx(union_um2 - cap, rel=0.003)
    assert np.mean(copper > 10.5) < 0.003
