"""Boards as their makers' rules allow them, and what builders of boards, chips and marks promise."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import KDTree

from longexposure.simulation.geometry.primitives import Cylinder, Slab, Track, Weave
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import MATERIALS
from longexposure.simulation.scenes.catalogue import BOARDS, CHIPS, SCENES
from longexposure.simulation.scenes.components.board import laminate

ALL = {name: SCENES[name] for name in (*BOARDS, *CHIPS, "legend")}
SEEDS = range(4)
KEYS = {
    "trace": {"width_um", "gap_um", "bottom_um", "top_um"},
    "via": {"radius_um", "bottom_um", "top_um"},
    "die": {"width_um", "height_um", "turn_deg", "bottom_um", "top_um"},
    "cell block": {"width_um", "height_um", "turn_deg", "bottom_um", "top_um"},
}


def _drawn(name, seed, *, size=128):
    kind = ALL[name]
    random = np.random.default_rng(seed)
    low, high = kind.pixel_um
    pixel = low * (high / low) ** random.random()
    tilt, azimuth = float(random.choice([0, 30, 50])), random.uniform(0, 360)
    view = View(size, size, pixel, tilt_deg=tilt, azimuth_deg=azimuth, source_um=4e5 if seed % 2 else np.inf)
    return kind.builder(random, view=view), view


def _of(scene, kind):
    return [feature for feature in scene.features if feature.kind == kind]


def _sampled(points, step):
    points = np.asarray(points, float)
    if len(points) == 1:
        return points
    return np.vstack(
        [
            a + np.linspace(0, 1, int(np.hypot(*(b - a)) / step) + 2)[:, None] * (b - a)
            for a, b in pairwise(points)
        ]
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", SEEDS)
def test_features_keep_the_contract(name, seed):
    scene, _ = _drawn(name, seed)
    assert scene.kind == name
    for feature in scene.features:
        about = feature.about
        assert set(about) == KEYS[feature.kind]
        assert all(np.isfinite(value) for value in about.values())
        assert about["top_um"] > about["bottom_um"]
        assert feature.size_um > 0
        assert about["bottom_um"] <= feature.at[2] <= about["top_um"]
        main = feature.primitives[0]
        if feature.kind == "trace":
            assert isinstance(main, Track)
            assert main.width == about["width_um"] == feature.size_um
            assert (main.bottom, main.top) == (about["bottom_um"], about["top_um"])
        if feature.kind == "via":
            assert isinstance(main, Cylinder)
            assert main.radius == about["radius_um"] == feature.size_um / 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", SEEDS)
def test_primitives_are_of_known_materials_and_not_too_many(name, seed):
    scene, _ = _drawn(name, seed)
    assert {primitive.material for primitive in scene.primitives} <= set(MATERIALS)
    assert 1 < len(scene.primitives) < 1200


@pytest.mark.parametrize("name", ALL)
def test_a_large_view_is_filled_with_a_few_thousand_primitives_at_most(name):
    scene, _ = _drawn(name, 3, size=1900)
    assert len(scene.primitives) < 6000


@pytest.mark.parametrize("name", ALL)
def test_the_view_shows_structure_and_no_ray_is_shorter_than_nothing(name):
    seen = []
    for seed in SEEDS:
        scene, view = _drawn(name, seed, size=96)
        maps = thickness_maps(scene.primitives, view)
        assert all(np.all(found >= 0) for found in maps.values())
        seen.append(float(np.ptp(maps["Cu"])) if "Cu" in maps else 0.0)
    assert sum(contrast > 0.5 for contrast in seen) >= len(SEEDS) - 1


@pytest.mark.parametrize("name", ALL)
def test_parts_lie_at_all_angles(name):
    turns = [
        ALL[name].builder(np.random.default_rng(seed), view=View(32, 32, ALL[name].pixel_um[1]))
        for seed in range(24)
    ]
    angles = [float(scene.facts["turn_deg"]) % 90 for scene in turns if "turn_deg" in scene.facts]
    if angles:
        assert np.histogram(angles, bins=3, range=(0, 90))[0].min() >= 3


def _gap_by_sampling(tracks, index):
    """Clear distance to the nearest other trace of a layer, from dense samples of both middle lines."""
    own = tracks[index]
    step = min(track.width for track in tracks) / 6
    best = np.inf
    tree = KDTree(_sampled(own.points, step))
    for other, track in enumerate(tracks):
        if other != index:
            distance = tree.query(_sampled(track.points, step))[0].min()
            best = min(best, distance - own.width / 2 - track.width / 2)
    return best


@pytest.mark.parametrize(
    "name", ["traces", "routing", "planes", "dense_board", "redistribution", "interposer"]
)
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_gap_of_a_trace_is_the_clear_distance_to_the_next_on_its_layer(name, seed):
    scene, _ = _drawn(name, seed, size=96)
    layers = {}
    for feature in _of(scene, "trace"):
        layers.setdefault(feature.about["bottom_um"], []).append(feature)
    for features in layers.values():
        tracks = [feature.primitives[0] for feature in features]
        for index in range(0, len(features), max(len(features) // 6, 1)):
            gap, width = features[index].about["gap_um"], features[index].size_um
            found = _gap_by_sampling(tracks, index)
            if gap == 0:
                assert found > 10 * width
            else:
                assert gap == pytest.approx(found, rel=0.03, abs=width / 40)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("seed", range(8))
def test_boards_are_of_the_dimensions_that_makers_offer(name, seed):
    scene, _ = _drawn(name, seed)
    assert 200 <= scene.facts["thickness_um"] <= 2400
    assert 2 <= scene.facts["layers"] <= 10
    for feature in _of(scene, "trace"):
        about = feature.about
        assert 35 <= about["width_um"] <= 250
        assert about["gap_um"] == 0 or about["gap_um"] >= 34.9
        assert 8.7 <= about["top_um"] - about["bottom_um"] <= 70
    for feature in _of(scene, "via"):
        assert 37.5 <= feature.about["radius_um"] <= 250


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("seed", range(4))
def test_vias_lie_on_their_lands(name, seed):
    for feature in _of(_drawn(name, seed)[0], "via"):
        barrel, *others = feature.primitives
        lands = [primitive for primitive in others if primitive.material == "Cu"]
        assert len(lands) >= 2
        assert {barrel.bottom, barrel.top} <= {height for land in lands for height in (land.bottom, land.top)}
        for land in lands:
            assert land.at == barrel.at
            assert land.inner_radius == barrel.radius  # no copper is counted twice
            assert 45 <= land.radius - barrel.radius <= 145
            assert barrel.bottom <= land.bottom < land.top <= barrel.top
        (hole,) = [primitive for primitive in others if primitive.amount < 0]
        assert (hole.material, hole.radius, hole.at) == ("FR-4", barrel.radius, barrel.at)


@pytest.mark.parametrize("name", ["traces", "routing", "vias", "dense_board"])
@pytest.mark.parametrize("seed", [0, 3])
def test_traces_keep_clear_of_lands_or_end_at_them(name, seed):
    scene, _ = _drawn(name, seed, size=96)
    lands = [
        primitive
        for via in _of(scene, "via")
        for primitive in via.primitives[1:]
        if primitive.inner_radius > 0
    ]
    lands = [land for land in lands if land.material == "Cu"]
    for feature in _of(scene, "trace"):
        track = feature.primitives[0]
        line = _sampled(track.points, track.width / 4)
        level = [land for land in lands if land.bottom == track.bottom]
        for land in level:
            away = np.hypot(*(line - land.at).T)
            clear = away.min() - land.radius - track.width / 2
            ends = min(away[0], away[-1]) - land.radius
            joins = abs(ends - np.pi / 8 * track.width) < 0.1 * track.width
            assert clear > 30 or joins, (clear, ends / track.width)


def test_clearances_of_a_plane_surround_their_vias_and_do_not_overlap():
    found = 0
    for seed in range(8):
        scene, _ = _drawn("planes", seed)
        planes = {
            (s.bottom, s.top)
            for s in scene.surroundings
            if isinstance(s, Slab) and s.material == "Cu" and min(s.sides) > 1000
        }
        assert planes
        vias = {via.primitives[0].at: via.primitives[0].radius for via in _of(scene, "via")}
        for heights in planes:
            holes = [
                s
                for s in scene.surroundings
                if isinstance(s, Cylinder)
                and s.amount < 0
                and s.inner_radius == 0
                and (s.bottom, s.top) == heights
            ]
            assert all(hole.radius >= vias[hole.at] - 1e-9 for hole in holes if hole.at in vias)
            for a in range(len(holes)):
                for b in range(a):
                    apart = np.hypot(holes[a].at[0] - holes[b].at[0], holes[a].at[1] - holes[b].at[1])
                    assert apart >= holes[a].radius + holes[b].radius
            found += len(holes)
    assert found > 30


def test_laminate_is_as_thick_as_asked_and_woven():
    view = View(96, 96, 20.0)
    primitives = laminate(np.random.default_rng(0), view, top_um=100.0, thickness_um=1600.0)
    assert sum(isinstance(primitive, Weave) for primitive in primitives) >= 2
    assert max(primitive.top for primitive in primitives if isinstance(primitive, Slab)) <= 100.0
    thickness = thickness_maps(primitives, view)["FR-4"]
    assert thickness.mean() == pytest.approx(1600.0, rel=0.03)
    assert 0.002 < thickness.std() / thickness.mean() < 0.06, "the weave is faint, and there"
