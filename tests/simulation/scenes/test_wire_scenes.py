"""Bond wires: the course of a loop, what it keeps clear of, dimensions, and what features promise."""

from itertools import pairwise
from math import dist

import numpy as np
import pytest

from longexposure.simulation.geometry.primitives import Ellipsoid, Slab, Wire
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.bond_wires import bond_wires
from longexposure.simulation.scenes.catalogue import SCENES
from longexposure.simulation.scenes.components.bonds import Bonding, Loop, bond, loop_points
from longexposure.simulation.scenes.stacked_dies import stacked_dies

SEEDS = range(12)
BUILDERS = (bond_wires, stacked_dies)


def _view(size=256, pixel_um=6.0, tilt_deg=0.0, source_um=float("inf")):
    return View(size, size, pixel_um, tilt_deg=tilt_deg, azimuth_deg=25.0, source_um=source_um)


def _dense(points, steps=40):
    """The broken line, each of its pieces cut into steps."""
    points = np.array(points)
    fraction = np.linspace(0, 1, steps)[:, None]
    return np.concatenate([a + fraction * (b - a) for a, b in pairwise(points)])


def _inside(slab, places, margin):
    turn = np.radians(slab.turn_deg)
    x, y = (places[:, :2] - np.array(slab.at)).T
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    return (abs(along) < slab.sides[0] / 2 + margin) & (abs(across) < slab.sides[1] / 2 + margin)


@pytest.mark.parametrize("level", [0.0, 0.35])
def test_a_loop_starts_and_ends_where_it_is_bonded(level):
    points = loop_points((10, 20, 300), (1500, -700, 18), height=180, loop=Loop(level=level, sweep=0.01))
    assert points[0] == (10, 20, 300)
    assert points[-1] == (1500, -700, 18)


@pytest.mark.parametrize("level", [0.0, 0.35])
@pytest.mark.parametrize("end_z", [18.0, 300.0, 420.0])
def test_a_loop_is_as_high_as_asked_for_and_no_higher(level, end_z):
    points = loop_points((0, 0, 300), (1500, 0, end_z), height=180, loop=Loop(level=level))
    assert max(z for _, _, z in points) == pytest.approx(480)


def test_a_loop_rises_steeply_to_its_kink_and_then_only_falls():
    points = np.array(loop_points((0, 0, 300), (2000, 0, 0), height=200, loop=Loop(kink=0.05, fall=2.0)))
    top = int(np.argmax(points[:, 2]))
    assert points[top, 0] == pytest.approx(0.05 * 2000)
    assert np.all(np.diff(points[: top + 1, 2]) > 0)
    assert np.all(np.diff(points[top:, 2]) < 0)
    assert np.all(np.diff(points[:, 0]) > 0)


def test_the_fall_of_a_loop_is_the_parabola_it_says():
    points = np.array(loop_points((0, 0, 100), (1000, 0, 20), height=150, loop=Loop(kink=0.1, fall=2.0)))
    fall = points[points[:, 0] >= 100]
    assert fall[:, 2] == pytest.approx(20 + 230 * (1 - ((fall[:, 0] - 100) / 900) ** 2))


def test_sweep_bows_a_wire_sideways_by_its_fraction_of_the_span():
    loop = Loop(kink=0.02, sweep=0.03)
    points = np.array(loop_points((0, 0, 0), (0, 1000, 0), height=200, loop=loop))
    assert np.abs(points[:, 0]).max() == pytest.approx(30, rel=0.02)
    assert np.all(points[1:-1, 0] < 0)


def test_a_ball_bond_is_two_to_three_wires_wide_and_stands_on_its_pad():
    bonding = Bonding(material="Au", diameter=25, ball=62, loop=Loop())
    feature = bond(np.random.default_rng(0), bonding, (0, 0, 200), (1200, 0, 15), loop_um=150)
    wire, ball, stitch = feature.primitives
    assert isinstance(ball, Ellipsoid)
    assert ball.radii[0] == 31
    assert ball.bottom == 200
    assert ball.bottom < wire.points[0][2] < ball.at[2] + ball.radii[2]
    assert stitch.bottom == 15
    assert max(z for _, _, z in wire.points) == pytest.approx(200 + 150)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_wires_do_not_pass_through_a_die(builder, seed):
    scene = builder(np.random.default_rng(seed), view=_view(400, 8.0))
    dies = [
        primitive
        for primitive in scene.primitives
        if isinstance(primitive, Slab) and primitive.material == "Si"
    ]
    wires = [feature.primitives[0] for feature in scene.features if feature.kind == "wire"]
    assert dies
    for wire in wires:
        line = _dense(wire.points)
        for die in dies:
            above = line[_inside(die, line, wire.diameter / 2)]
            held = (above[:, 2] < die.top) & (above[:, 2] > die.bottom)
            assert not held.any(), (wire.diameter, die.top, above[held][:3])


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_wires_have_dimensions_that_are_made(builder, seed):
    scene = builder(np.random.default_rng(seed), view=_view(400, 8.0))
    wires = [feature for feature in scene.features if feature.kind == "wire"]
    for feature in wires:
        wire = feature.primitives[0]
        assert isinstance(wire, Wire)
        assert wire.material in ("Au", "Cu", "Al")
        assert 15 <= feature.about["diameter_um"] == wire.diameter <= 50
        assert 50 <= feature.about["loop_um"] <= 520
        assert feature.about["length_um"] <= 6500
        assert feature.about["length_um"] == pytest.approx(dist(wire.points[0][:2], wire.points[-1][:2]))
    if builder is bond_wires:
        assert 75 <= scene.facts["die_thickness_um"] <= 350
        assert 45 <= scene.facts["pad_pitch_um"] <= 180


@pytest.mark.parametrize("seed", SEEDS)
def test_balls_of_neighbouring_pads_do_not_touch(seed):
    scene = bond_wires(np.random.default_rng(seed), view=_view(400, 8.0))
    balls = [feature.primitives[1] for feature in scene.features if feature.kind == "wire"]
    places = np.array([ball.at[:2] for ball in balls])
    if scene.facts["wire"] == "Al" or len(balls) < 2:
        return
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    widths = np.array([2 * ball.radii[0] for ball in balls])
    assert np.all(apart.min(axis=1) > 0.8 * widths)


def test_fans_turn_to_all_directions():
    headings = []
    for seed in range(40):
        scene = bond_wires(np.random.default_rng(seed), view=_view())
        for feature in scene.features:
            if feature.kind == "wire":
                a, b = feature.primitives[0].points[0], feature.primitives[0].points[-1]
                headings.append(np.degrees(np.arctan2(b[1] - a[1], b[0] - a[0])))
    histogram, _ = np.histogram(headings, np.arange(-180, 181, 15))
    assert np.all(histogram > 0)


def test_most_views_of_bond_wires_show_wires():
    counts = [
        sum(feature.kind == "wire" for feature in bond_wires(np.random.default_rng(s), view=_view()).features)
        for s in range(30)
    ]
    assert np.median(counts) >= 10
    assert sum(count == 0 for count in counts) <= 2


def test_wires_are_wide_enough_for_the_largest_pixels():
    high = SCENES["bond_wires"].pixel_um[1]
    widths = [
        bond_wires(np.random.default_rng(s), view=_view(pixel_um=high)).facts["diameter_um"]
        for s in range(20)
    ]
    assert min(widths) >= high
