"""The view against rays drawn from the source by hand."""

from __future__ import annotations

from math import cos, radians, sin, sqrt

import numpy as np
import pytest

from longexposure.errors import RecipeError
from longexposure.simulation.geometry.view import View


def test_the_origin_is_seen_in_the_middle_and_pixels_follow_the_pitch() -> None:
    view = View(10, 21, 2.5, tilt_deg=40, azimuth_deg=77, source_um=5000)
    assert view.project((0, 0, 0)) == pytest.approx(np.array([[10, 4.5]]))
    assert view.project([(5, -2.5, 0)]) == pytest.approx(np.array([[12, 3.5]]))
    assert view.extent_um == (52.5, 25)


def test_high_things_lean_towards_the_azimuth() -> None:
    view = View(64, 64, 1.0, tilt_deg=45, azimuth_deg=90)
    x, y = view.project((0, 0, 10))[0]
    assert (x, y) == pytest.approx((31.5, 41.5))
    assert view.slope == pytest.approx((0, 1))


@pytest.mark.parametrize("tilt", [0.0, 35.0])
def test_a_point_is_seen_where_the_line_from_the_source_meets_the_plane(tilt: float) -> None:
    view = View(101, 101, 2.0, tilt_deg=tilt, azimuth_deg=30, source_um=3000)
    lean = np.tan(radians(tilt)) * 3000
    source = np.array([-lean * cos(radians(30)), -lean * sin(radians(30)), 3000])
    for point in np.random.default_rng(0).uniform(-200, 200, (20, 3)):
        meets = source + (point - source) * source[2] / (source[2] - point[2])
        assert view.project(point)[0] == pytest.approx(meets[:2] / 2 + 50)


def test_a_central_beam_from_far_away_is_parallel() -> None:
    points = np.random.default_rng(1).uniform(-200, 200, (20, 3))
    near, far = (View(64, 64, 1.0, tilt_deg=30, azimuth_deg=12, source_um=h) for h in (1e10, float("inf")))
    assert near.project(points) == pytest.approx(far.project(points), abs=1e-4)
    assert near.slopes(points) == pytest.approx(far.slopes(points), abs=1e-6)


def test_a_central_beam_magnifies_what_is_near_the_source() -> None:
    view = View(64, 64, 1.0, source_um=1000)
    a, b = view.project([(0, 0, 500), (10, 0, 500)])
    assert b - a == pytest.approx([20, 0])


def test_the_path_for_each_um_of_height_is_one_over_the_cosine() -> None:
    view = View(8, 8, 1.0, tilt_deg=60)
    assert view.path_factor(view.slope) == pytest.approx(2)
    assert view.path_factor((1, 1)) == pytest.approx(sqrt(3))


def test_slopes_do_not_share_memory_with_the_view() -> None:
    view = View(8, 8, 1.0, tilt_deg=30)
    view.slopes([(0, 0, 0), (1, 1, 1)])[:] = 7
    assert view.slopes([(0, 0, 0)])[0] == pytest.approx(view.slope)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", -3),
        ("pixel_um", 0.0),
        ("pixel_um", float("nan")),
        ("pixel_um", float("inf")),
        ("tilt_deg", 80.0),
        ("tilt_deg", -1.0),
        ("tilt_deg", float("nan")),
        ("azimuth_deg", float("inf")),
        ("source_um", 0.0),
        ("source_um", float("nan")),
    ],
)
def test_an_impossible_view_is_refused_and_the_field_is_named(field: str, value: float) -> None:
    fields = {"height": 8, "width": 8, "pixel_um": 1.0} | {field: value}
    with pytest.raises(RecipeError, match=f"view, .*{field}.*correct the geometry") as refused:
        View(**fields)  # type: ignore[arg-type]
    assert str(value) in str(refused.value)
