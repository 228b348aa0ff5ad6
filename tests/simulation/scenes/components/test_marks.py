"""Strokes against closed forms; letters that fit their box and differ; marks of real sizes."""

import string
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from longexposure.simulation.geometry.primitives import Cylinder, Slab, Track
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import MATERIALS
from longexposure.simulation.scenes.boards import legend
from longexposure.simulation.scenes.components.marks import FIDUCIALS, GLYPHS, fiducial, glyph, marks, text

VIEW = View(200, 200, 10.0)


def test_every_capital_and_digit_has_a_glyph():
    assert set(string.ascii_uppercase + string.digits) <= set(GLYPHS)


@pytest.mark.parametrize("letter", GLYPHS)
def test_strokes_stay_in_their_box_and_reach_across_it(letter):
    points = glyph(letter)
    assert points.min() >= 0
    assert points[:, 0].max() <= 4
    assert points[:, 1].max() <= 6
    assert np.all(np.hypot(*np.diff(points, axis=0).T) > 0), "the pen stands still"
    if letter != "-":
        assert np.ptp(points[:, 1]) == 6


def test_no_two_letters_look_alike():
    drawn = {
        letter: np.vstack([np.linspace(a, b, 80) for a, b in pairwise(glyph(letter))]) for letter in GLYPHS
    }
    for a, b in combinations(drawn, 2):
        apart = max(directed_hausdorff(drawn[a], drawn[b])[0], directed_hausdorff(drawn[b], drawn[a])[0])
        assert apart >= 0.7, (a, b)


@pytest.mark.parametrize("height", [80.0, 1500.0])
def test_letters_are_as_tall_as_asked_pen_included(height):
    for track in text("HE8", at=(5.0, 7.0), height_um=height, bottom=0.0, top=10.0):
        y = np.array(track.points)[:, 1]
        assert np.ptp(y) + track.width == pytest.approx(height)
        assert (y.max() + y.min()) / 2 == pytest.approx(7.0)


def test_words_stand_about_their_middle_and_letters_apart():
    tracks = text("BBBB", at=(100.0, 0.0), height_um=60.0, bottom=0.0, top=1.0)
    boxes = [np.array(track.points)[:, 0] for track in tracks]
    assert boxes[0].min() + boxes[-1].max() == pytest.approx(200.0)
    for left, right in pairwise(boxes):
        assert right.min() - left.max() > tracks[0].width


def test_what_is_no_letter_leaves_a_space():
    spaced = text("A?b", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0)
    tight = text("AXB", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0)
    assert len(spaced) == 2
    assert (spaced[0], spaced[1]) == (tight[0], tight[2])


def test_turned_words_are_the_words_turned():
    plain = text("R7", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0)
    turned = text("R7", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0, turn_deg=90.0)
    for a, b in zip(plain, turned, strict=True):
        x, y = np.array(a.points).T
        np.testing.assert_allclose(np.array(b.points), np.stack([-y, x], axis=1), atol=1e-9)


def test_mirrored_words_are_the_words_seen_from_behind():
    plain = text("R7", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0)
    mirrored = text("R7", at=(0, 0), height_um=60.0, bottom=0.0, top=1.0, mirrored=True)
    for a, b in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(np.array(b.points), np.array(a.points) * [-1, 1], atol=1e-9)


@pytest.mark.parametrize("kind", FIDUCIALS)
def test_fiducials_are_as_large_as_asked(kind):
    primitive = fiducial(kind, at=(3.0, 4.0), size_um=1000.0, bottom=0.0, top=35.0, turn_deg=0.0)[0]
    if isinstance(primitive, Cylinder):
        assert 2 * primitive.radius == 1000.0
    elif isinstance(primitive, Slab):
        turn = np.radians(primitive.turn_deg)
        across = sum(primitive.sides) / 2 * (abs(np.cos(turn)) + abs(np.sin(turn)))
        assert across == pytest.approx(1000.0)
    else:
        assert np.ptp(np.array(primitive.points)[:, 0]) + primitive.width == pytest.approx(1000.0)
    assert (primitive.bottom, primitive.top) == (0.0, 35.0)


@pytest.mark.parametrize("pixel_um", [1.0, 8.0, 40.0])
def test_marks_are_of_real_sizes_and_of_known_materials(pixel_um):
    view = View(128, 128, pixel_um)
    for seed in range(20):
        for primitive in marks(np.random.default_rng(seed), view, bottom_um=12.0):
            assert primitive.material in MATERIALS
            assert primitive.bottom == 12.0
            assert 1 <= primitive.top - 12.0 <= 50
            if isinstance(primitive, Track):
                assert 0.16 * 20 <= primitive.width <= 0.2 * 2500  # from a small cross to bold letters


def test_marks_come_from_their_generator_alone():
    drawn = [marks(np.random.default_rng(seed), VIEW) for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("seed", range(4))
def test_legend_is_dense_and_stands_on_laminate_with_copper_in_it(seed):
    scene = legend(np.random.default_rng(seed), view=VIEW)
    face = scene.facts["thickness_um"] / 2
    written = [s for s in scene.surroundings if isinstance(s, Track | Cylinder | Slab) and s.bottom >= face]
    assert len(written) == scene.facts["marks"] > 3
    below = [s for s in scene.primitives if s.material == "Cu" and s not in written and s.amount > 0]
    assert below
    assert all(s.top <= face + 1e-9 for s in below)
    assert any(isinstance(s, Slab) and s.material == "FR-4" for s in scene.surroundings)
