"""Shapes against the geometry they stand for: closed forms of chords, areas and volumes."""

from itertools import product

import numpy as np
import pytest

from longexposure.physics.canvas import Canvas, bars, edge

ANGLES = np.linspace(0.0, np.pi, 13)
POSITIONS = [(24.0, 24.0), (24.5, 24.5), (24.37, 23.81), (23.62, 24.09)]


def _depth(draw, *, side=48):
    canvas = Canvas(side, side)
    draw(canvas)
    return canvas.depth


def _total(draw, *, side=48):
    return _depth(draw, side=side).sum(dtype=np.float64)


def _ends(middle, angle, length):
    half = 0.5 * length * np.array([np.sin(angle), np.cos(angle)])
    return tuple(np.subtract(middle, half)), tuple(np.add(middle, half))


def _per_length(shape, angle, width):
    """Summed depth per px of length away from the ends: a longer stroke less a shorter one."""
    middle, sums = (48.3, 47.6), []
    for length in (12, 52):
        start, end = _ends(middle, angle, length)
        sums.append(_total(lambda c, s=start, e=end: getattr(c, shape)(s, e, width, 1.0), side=96))
    return (sums[1] - sums[0]) / 40


def test_an_empty_canvas_is_zero_float32():
    canvas = Canvas(3, 5)
    assert canvas.shape == (3, 5)
    assert canvas.depth.dtype == np.float32
    assert not canvas.depth.any()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("radius", [1.3, 4.0, 9.7])
def test_ball_carries_the_chord_of_a_sphere(position, radius):
    depth = _depth(lambda c: c.ball(*position, radius, 2.5))
    y, x = np.mgrid[:48, :48]
    distance = np.hypot(y - position[0], x - position[1])
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    np.testing.assert_allclose(depth, 2.5 * chord / (2 * radius), atol=2e-3)
    np.testing.assert_allclose(
        depth[distance < 0.9 * radius], 2.5 * (chord / (2 * radius))[distance < 0.9 * radius], atol=1e-5
    )


@pytest.mark.parametrize(("radius", "tolerance"), [(3.0, 0.05), (5.0, 0.04), (8.3, 0.005), (20.0, 0.002)])
def test_ball_holds_the_volume_of_a_sphere(radius, tolerance):
    volume = 4 / 3 * np.pi * radius**3
    for position in POSITIONS:
        assert 2 * radius * _total(lambda c, p=position: c.ball(*p, radius, 1.0)) == pytest.approx(
            volume, rel=tolerance
        )


def test_small_balls_hold_their_volume_on_average_over_positions():
    sums = [
        _total(lambda c, p=p: c.ball(24 + p[0], 24 + p[1], 1.0, 1.0))
        for p in product(np.arange(8) / 8, repeat=2)
    ]
    assert np.mean(sums) == pytest.approx(2 / 3 * np.pi, rel=0.01)


def test_a_flattened_ball_is_a_ball_cut_at_a_thickness():
    whole = _depth(lambda c: c.ball(24.2, 23.9, 9.0, 1.0))
    cut = _depth(lambda c: c.ball(24.2, 23.9, 9.0, 1.0, flat=0.6))
    np.testing.assert_allclose(cut, np.minimum(whole, 0.6) / 0.6, atol=1e-6)


@pytest.mark.parametrize("radius", [2.0, 3.0, 5.5, 12.3])
def test_disc_covers_its_area_at_any_position(radius):
    """The edge ramp of one pixel adds pi / 12 to the area whatever the radius: 2 % at 2 px, 0.3 % at 5 px."""
    positions = 24 + np.random.default_rng(0).random((40, 2))
    areas = [_total(lambda c, p=p: c.disc(*p, radius, 1.0)) for p in positions]
    assert np.mean(areas) == pytest.approx(np.pi * radius**2 + np.pi / 12, rel=0.004)
    assert np.abs(np.array(areas) / (np.pi * radius**2) - 1).max() < 0.1 / radius
    if radius >= 3:
        assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.01)


def test_disc_is_full_inside_and_empty_outside():
    depth = _depth(lambda c: c.disc(24.3, 23.6, 7.0, 0.8))
    y, x = np.mgrid[:48, :48]
    distance = np.hypot(y - 24.3, x - 23.6)
    np.testing.assert_allclose(depth[distance < 6.5], 0.8, rtol=1e-6)
    assert not depth[distance > 7.5].any()


def test_ring_is_a_disc_with_a_hole():
    area = _total(lambda c: c.ring(24.3, 24.1, 12.0, 7.0, 1.0))
    assert area == pytest.approx(np.pi * (144 - 49), rel=0.01)
    assert abs(_depth(lambda c: c.ring(24.0, 24.0, 12.0, 7.0, 1.0))[24, 24]) < 1e-6


@pytest.mark.parametrize("angle", ANGLES)
def test_slab_area_does_not_depend_on_the_angle(angle):
    assert _total(lambda c: c.slab(47.6, 48.3, (20.0, 33.3), angle, 1.0), side=96) == pytest.approx(
        20 * 33.3, rel=0.004
    )


def test_slab_sides_are_height_then_width_at_angle_zero():
    depth = _depth(lambda c: c.slab(24, 20, (9.0, 21.0), 0.0, 1.0))
    rows, columns = np.nonzero(depth)
    assert (rows.min(), rows.max()) == (20, 28)
    assert (columns.min(), columns.max()) == (10, 30)
    assert depth.sum(dtype=float) == pytest.approx(9 * 21)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_ellipse_holds_the_volume_of_an_ellipsoid(angle):
    total = _total(lambda c: c.ellipse(24.2, 23.7, (12.0, 7.0), angle, 1.0))
    assert total == pytest.approx(2 / 3 * np.pi * 12 * 7, rel=0.01)


def test_ellipse_radii_are_along_y_then_x_at_angle_zero_and_turn_with_the_angle():
    upright = _depth(lambda c: c.ellipse(24.0, 24.0, (12.0, 5.0), 0.0, 1.0))
    lying = _depth(lambda c: c.ellipse(24.0, 24.0, (12.0, 5.0), np.pi / 2, 1.0))
    rows, columns = np.nonzero(upright)
    assert np.ptp(rows) > 2 * np.ptp(columns)
    np.testing.assert_allclose(lying, upright.T, atol=2e-3)


@pytest.mark.parametrize("width", [1.0, 1.5, 2.0, 4.0, 9.3])
def test_line_covers_width_times_length(width):
    covers = [_per_length("line", angle, width) for angle in ANGLES]
    assert np.mean(covers) == pytest.approx(width, rel=0.01)
    np.testing.assert_allclose(covers, width, atol=0.08)


def test_line_ends_are_round():
    start, end = (24.0, 14.0), (24.0, 34.0)
    assert _total(lambda c: c.line(start, end, 8.0, 1.0)) == pytest.approx(8 * 20 + np.pi * 16, rel=0.01)


@pytest.mark.parametrize("width", [0.2, 0.5, 1.0, 1.5, 2.0, 4.0, 9.3])
def test_wire_holds_the_area_of_its_round_section_also_below_a_pixel(width):
    sections = [_per_length("wire", angle, width) for angle in np.linspace(0.05, np.pi - 0.05, 24)]
    assert np.mean(sections) == pytest.approx(np.pi / 4 * width, rel=0.03)


def test_wire_across_its_width_carries_the_chord_of_a_circle():
    depth = _depth(lambda c: c.wire((24.3, 4.0), (24.3, 44.0), 13.0, 1.7))
    distance = np.abs(np.arange(48) - 24.3)
    np.testing.assert_allclose(
        depth[:, 24], 1.7 * np.sqrt(np.maximum(1 - (distance / 6.5) ** 2, 0)), atol=1e-3
    )


def test_a_stroke_without_length_is_a_dot():
    assert _total(lambda c: c.line((24, 24), (24, 24), 8.0, 1.0)) == pytest.approx(np.pi * 16, rel=0.03)
    assert _total(lambda c: c.wire((24, 24), (24, 24), 8.0, 1.0)) == pytest.approx(
        2 / 3 * np.pi * 16, rel=0.03
    )


@pytest.mark.parametrize(("pitch", "width"), [(4.0, 1.0), (6.0, 2.0), (10.0, 5.0), (7.3, 3.1), (25.0, 20.0)])
def test_bars_have_their_duty_cycle(pitch, width):
    position = np.arange(0, 40 * pitch, 0.01)
    assert bars(position, pitch, width).mean() == pytest.approx(width / pitch, rel=1e-3)


def test_bars_repeat_with_their_pitch_and_are_centred_on_zero():
    position = np.linspace(-30, 30, 601)
    shape = bars(position, 7.5, 3.0)
    np.testing.assert_allclose(shape, bars(position + 7.5, 7.5, 3.0), atol=1e-5)
    assert bars(np.array([0.0, 3.75]), 7.5, 3.0).tolist() == [1.0, 0.0]


def test_edge_is_the_share_of_a_pixel_inside():
    np.testing.assert_allclose(edge(np.array([-3.0, -0.5, -0.25, 0.0, 0.5, 3.0])), [0, 0, 0.25, 0.5, 1, 1])


DRAWN = {
    "disc": lambda c, y, x: c.disc(y, x, 5.0, 1.0),
    "ring": lambda c, y, x: c.ring(y, x, 5.0, 3.0, 1.0),
    "ball": lambda c, y, x: c.ball(y, x, 5.0, 1.0),
    "ellipse": lambda c, y, x: c.ellipse(y, x, (5.0, 3.0), 0.3, 1.0),
    "slab": lambda c, y, x: c.slab(y, x, (8.0, 5.0), 0.3, 1.0),
    "line": lambda c, y, x: c.line((y - 2, x), (y + 2, x + 3), 3.0, 1.0),
    "wire": lambda c, y, x: c.wire((y - 2, x), (y + 2, x + 3), 0.7, 1.0),
}
every_shape = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


@every_shape
def test_a_shape_outside_the_canvas_does_nothing(draw):
    far = (-40.0, -9.5, 20.0, 60.5, 1e4)
    for y, x in product(far, far):
        if (y, x) != (20.0, 20.0):
            canvas = Canvas(40, 44)
            draw(canvas, y, x)
            assert not canvas.depth.any(), (y, x)


@every_shape
def test_a_shape_over_the_border_is_the_part_of_it_that_lies_inside(draw):
    for y, x in [(-1.3, 7.2), (20.4, 29.6), (0.0, 0.0), (31.4, -2.1)]:
        small, large = Canvas(30, 30), Canvas(70, 70)
        draw(small, y, x)
        draw(large, y + 20, x + 20)
        np.testing.assert_allclose(small.depth, large.depth[20:50, 20:50], atol=3e-3)


@every_shape
def test_depths_add_up(draw):
    once, twice = Canvas(30, 30), Canvas(30, 30)
    draw(once, 14.0, 15.0)
    for _ in range(2):
        draw(twice, 14.0, 15.0)
    np.testing.assert_allclose(twice.depth, 2 * once.depth, rtol=1e-6)


def test_turned_coordinates_are_a_rotation_about_the_centre():
    v, u = Canvas(20, 30).turned(0.7, centre=(4.0, 9.0))
    y, x = np.mgrid[:20, :30]
    np.testing.assert_allclose(np.hypot(v, u), np.hypot(y - 4, x - 9), atol=1e-5)
    assert (abs(v[4, 9]), abs(u[4, 9])) == (0, 0)
    v, u = Canvas(20, 30).turned(0.0)
    assert np.array_equal(v, np.broadcast_to(y, v.shape))
    assert np.array_equal(u, np.broadcast_to(x, u.shape))


def test_add_takes_a_map_of_the_canvas_shape():
    canvas = Canvas(4, 6)
    canvas.add(np.full((4, 6), 0.25))
    canvas.add(np.full((4, 6), 0.5))
    assert canvas.depth.dtype == np.float32
    assert np.array_equal(canvas.depth, np.full((4, 6), 0.75, np.float32))
