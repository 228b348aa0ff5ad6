"""A part's own axes, and what of them a view shows."""

from math import hypot

import numpy as np
import pytest

from longexposure.simulation.geometry.frame import Frame, Sight, ViewFrame
from longexposure.simulation.geometry.view import View


def test_a_frame_turns_from_x_towards_y_and_nests():
    frame = Frame((100.0, 50.0), 90.0)
    assert frame.place(10, 0) == pytest.approx((100, 60))
    assert frame.inner(10, 0, 90).place(1, 0) == pytest.approx((99, 60))


@pytest.mark.parametrize("source_um", [float("inf"), 2e4])
def test_sight_agrees_with_the_projection_of_the_view(source_um):
    view = View(200, 300, 5.0, tilt_deg=40, azimuth_deg=70, source_um=source_um)
    sight = Sight(view)
    for point in ((0.0, 0.0, 0.0), (300.0, -120.0, 800.0), (-50.0, 400.0, -600.0)):
        x, y = view.project(point)[0]
        expected = (x - 149.5) * 5, (y - 99.5) * 5
        assert sight.image(point) == pytest.approx(expected)
        assert sight.behind(sight.image(point), point[2]) == pytest.approx(point[:2])


@pytest.mark.parametrize("source_um", [float("inf"), 2e4])
def test_an_aimed_frame_shows_its_focus_in_the_middle(source_um):
    view = View(200, 300, 5.0, tilt_deg=40, azimuth_deg=70, source_um=source_um)
    frame = Sight(view).aimed((1200.0, -300.0, 250.0), 33.0)
    assert view.project(frame.point(1200.0, -300.0, 250.0))[0] == pytest.approx((149.5, 99.5))


def test_sight_sees_what_is_near_the_image_only():
    sight = Sight(View(100, 100, 2.0))
    assert sight.sees((99.0, 0.0, 50.0), 0.0)
    assert not sight.sees((111.0, 0.0, 0.0), 10.0)
    assert sight.sees((109.0, 0.0, 0.0), 10.0)


def test_copies_come_nearest_first_and_only_where_they_are_seen():
    sight, frame = Sight(View(100, 100, 10.0)), Frame((0.0, 0.0), 20.0)
    found = list(sight.copies(frame, (300.0, 400.0), z=0.0, most=9))
    assert found[0].at == (0.0, 0.0)
    away = [hypot(*copy.at) for copy in found]
    assert np.all(np.diff(away) > -1e-6)
    assert len(found) == 9
    assert len(list(sight.copies(frame, (5000.0, 5000.0), z=0.0, most=9))) <= 9


def test_a_view_frame_sees_what_projects_into_the_image():
    view = View(120, 160, 10.0, tilt_deg=40.0, azimuth_deg=70.0, source_um=40000.0)
    random = np.random.default_rng(0)
    frame = ViewFrame.drawn(random, view, height_um=600.0)
    for _ in range(300):
        own, height = random.uniform(-1500, 1500, 2), float(random.uniform(-600, 600))
        x, y = view.project([*frame.places(own)[0], height])[0]
        if -0.5 <= x < 159.5 and -0.5 <= y < 119.5:
            assert frame.sees(own)
            assert frame.sees(own, 0.0, height)
            assert np.abs(own).max() <= frame.reach_um


def test_a_place_drawn_in_a_view_frame_is_seen():
    view = View(120, 160, 10.0, tilt_deg=50.0, azimuth_deg=200.0)
    frame = ViewFrame.drawn(np.random.default_rng(1), view, height_um=800.0)
    for height in (-800.0, 0.0, 800.0):
        for seed in range(50):
            own = frame.anywhere(np.random.default_rng(seed), height)
            x, y = view.project([*frame.places(own)[0], height])[0]
            assert -0.5 <= x <= 159.5
            assert -0.5 <= y <= 119.5
