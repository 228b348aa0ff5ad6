"""Thickness maps against closed forms and against rays sampled point by point in this file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import cos, pi, radians, sin, sqrt, tan
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from longexposure.errors import RecipeError
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cone,
    Cylinder,
    Ellipsoid,
    Grain,
    Lattice,
    Primitive,
    Slab,
    Track,
    Weave,
    Wedge,
    Wire,
)
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View

Numbers = npt.NDArray[np.float64]
Inside = Callable[[Numbers, Numbers, Numbers], npt.NDArray[np.bool_]]

STRAIGHT = View(32, 32, 2.0)
VIEWS = {
    "straight": STRAIGHT,
    "nearly straight": View(32, 32, 2.0, tilt_deg=4, azimuth_deg=50),
    "oblique": View(32, 32, 2.0, tilt_deg=35, azimuth_deg=200),
    "along x": View(32, 32, 2.0, tilt_deg=45, azimuth_deg=0),
    "flat": View(32, 32, 2.0, tilt_deg=62, azimuth_deg=110),
}


def drawn(primitive: Primitive, view: View) -> Numbers:
    return thickness_maps([primitive], view)[primitive.material].astype(np.float64)


def sampled(
    inside: Inside, heights: tuple[float, float], view: View, *, grid: int = 7, levels: int = 40
) -> Numbers:
    """Paths from points along many rays through each pixel, straight from the definition of the view."""
    random = np.random.default_rng(0)
    lean = tan(radians(view.tilt_deg))
    slope = lean * cos(radians(view.azimuth_deg)), lean * sin(radians(view.azimuth_deg))
    offset = (np.arange(grid) + 0.5) / grid - 0.5
    x = (np.arange(view.width)[:, None] + offset).ravel() - (view.width - 1) / 2
    y = (np.arange(view.height)[:, None] + offset).ravel() - (view.height - 1) / 2
    x, y = (places[..., None] * view.pixel_um for places in np.meshgrid(x, y))
    jitter = random.uniform(-0.5, 0.5, (2, *x.shape)) / grid * view.pixel_um
    x, y = x + jitter[0], y + jitter[1]
    low, high = heights
    z = low + (high - low) * (np.arange(levels) + random.uniform(0, 1, (*x.shape[:2], 1))) / levels
    if np.isinf(view.source_um):
        right, down = np.full_like(x, slope[0]), np.full_like(y, slope[1])
    else:
        right, down = x / view.source_um + slope[0], y / view.source_um + slope[1]
    hits = inside(x - right * z, y - down * z, z).mean(axis=-1)
    path = hits * (high - low) * np.sqrt(1 + right**2 + down**2)[..., 0]
    return path.reshape(view.height, grid, view.width, grid).mean(axis=(1, 3))


def turned(x: Numbers, y: Numbers, at: tuple[float, ...], turn_deg: float) -> tuple[Numbers, Numbers]:
    c, s = cos(radians(turn_deg)), sin(radians(turn_deg))
    return c * (x - at[0]) + s * (y - at[1]), c * (y - at[1]) - s * (x - at[0])


def to_line(points: tuple[tuple[float, ...], ...], *place: Numbers) -> Numbers:
    """Distance of places from a line of points."""
    best = np.full(np.broadcast_shapes(*(p.shape for p in place)), np.inf)
    for start, end in pairwise(np.array(points, float)):
        step = end - start
        off = [p - a for p, a in zip(place, start, strict=True)]
        fraction = np.clip(sum(o * d for o, d in zip(off, step, strict=True)) / (step @ step), 0, 1)
        best = np.minimum(best, sum((o - fraction * d) ** 2 for o, d in zip(off, step, strict=True)))
    return np.sqrt(best)


TRACK = ((-22.0, -11.0), (-6.0, -12.0), (3.0, 2.0), (3.0, 14.0), (19.0, 18.0))
WIRE = ((-20.0, -6.0, -8.0), (-12.0, -4.0, 4.0), (0.0, 1.0, 8.0), (10.0, 3.0, 3.0), (17.0, 9.0, -9.0))


def lattice_cells(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    u, v = turned(x, y, (0.5, -0.7), 20)
    out = np.zeros(np.broadcast_shapes(u.shape, z.shape), bool)
    for row in range(4):
        for column in range(5 - row % 2):
            middle = (column - 2 + 0.4 * (row % 2)) * 7.0, (row - 1.5) * 9.0
            out |= (abs(u - middle[0]) < 2) & (abs(v - middle[1]) < 2.5) & (z >= 0) & (z <= 8)
    return out


def lattice_dots(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    u, v = turned(x, y, (0.5, -0.7), -30)
    out = np.zeros(np.broadcast_shapes(u.shape, z.shape), bool)
    for row in range(4):
        for column in range(3):
            far = ((u - (column - 1) * 11.0) / 4) ** 2 + ((v - (row - 1.5) * 9.0) / 3) ** 2
            out |= (far < 1) & (z >= 0) & (z <= 8)
    return out


def lattice_mesh(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    u, v = turned(x, y, (0.5, -0.7), 10)
    bars = np.zeros(np.broadcast_shapes(u.shape, z.shape), bool)
    for i in range(5):
        bars |= (abs(u - (i - 2) * 8.0) < 1.5) | (abs(v - (i - 2) * 8.0) < 1)
    return bars & (abs(u) < 18) & (abs(v) < 17) & (z >= 0) & (z <= 8)


def in_ball(x: Numbers, y: Numbers, z: Numbers, radius: float = 14) -> npt.NDArray[np.bool_]:
    return (x - 1.3) ** 2 + (y + 0.4) ** 2 + (z - 3) ** 2 < radius**2


def in_ellipsoid(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    u, v = turned(x, y, (1.3, -0.4), 35)
    return ((u / 15) ** 2 + (v / 6) ** 2 + ((z - 3) / 9) ** 2 < 1) & (z < 7)


def in_box(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    u, v = turned(x, y, (1.3, -0.4), 25)
    return (abs(u) < 11) & (abs(v) < 6.5) & (z > -6) & (z < 8)


def in_wedge(x: Numbers, y: Numbers, z: Numbers) -> npt.NDArray[np.bool_]:
    return in_box(x, y, z) & (z < 1 - 14 * turned(x, y, (1.3, -0.4), 25)[0] / 22)


def in_track(points: tuple[tuple[float, float], ...], radius: float) -> Inside:
    return lambda x, y, z: (to_line(points, x, y) < radius) & (z > -4) & (z < 6)


CU = {"material": "Cu"}
BALL = Ball(**CU, at=(1.3, -0.4, 3), radius=14)
CYLINDER = Cylinder(**CU, at=(1.3, -0.4), radius=9, bottom=-6, top=8)
BOX = {"at": (1.3, -0.4), "sides": (22, 13), "bottom": -6, "top": 8, "turn_deg": 25}
FLAT = {"bottom": -4, "top": 6}
CROSSING = ((-15, -10), (15, 8), (12, -12), (-12, 14))
RING = ((-9, -9), (9, -9), (9, 9), (-9, 9), (-9, -9))
CELLS = {"at": (0.5, -0.7), "bottom": 0, "top": 8}
BLOCKS = {"sides": (33, 33), "pitch": (7, 9), "cell": (4, 5), "turn_deg": 20, "stagger": 0.4}
DOTS = {"sides": (31, 34), "pitch": (11, 9), "cell": (8, 6), "turn_deg": -30, "pattern": "dot"}
MESH = {"sides": (36, 34), "pitch": (8, 8), "cell": (3, 2), "turn_deg": 10, "pattern": "mesh"}
CASES: dict[str, tuple[Primitive, Inside, tuple[float, float]]] = {
    "ball": (BALL, in_ball, (-12, 18)),
    "small ball": (replace(BALL, radius=2.2), partial(in_ball, radius=2.2), (0, 6)),
    "truncated ball": (
        replace(BALL, bottom=-6, top=9),
        lambda x, y, z: in_ball(x, y, z) & (z > -6) & (z < 9),
        (-8, 10),
    ),
    "ellipsoid": (
        Ellipsoid(**CU, at=(1.3, -0.4, 3), radii=(15, 6, 9), turn_deg=35, top=7),
        in_ellipsoid,
        (-7, 12),
    ),
    "cylinder": (
        CYLINDER,
        lambda x, y, z: ((x - 1.3) ** 2 + (y + 0.4) ** 2 < 81) & (z > -6) & (z < 8),
        (-7, 9),
    ),
    "tube": (
        replace(CYLINDER, inner_radius=6),
        lambda x, y, z: (abs((x - 1.3) ** 2 + (y + 0.4) ** 2 - 58.5) < 22.5) & (z > -6) & (z < 8),
        (-7, 9),
    ),
    "cone": (
        Cone(**CU, at=(1.3, -0.4), bottom_radius=12, top_radius=4, bottom=-6, top=8),
        lambda x, y, z: (np.hypot(x - 1.3, y + 0.4) < 12 - (z + 6) * 8 / 14) & (z > -6) & (z < 8),
        (-7, 9),
    ),
    "slab": (Slab(**CU, **BOX), in_box, (-7, 9)),
    "wedge": (Wedge(**CU, **BOX), in_wedge, (-7, 9)),
    "track": (Track(**CU, **FLAT, points=TRACK, width=7), in_track(TRACK, 3.5), (-5, 7)),
    "track that crosses itself": (
        Track(**CU, **FLAT, points=CROSSING, width=6),
        in_track(CROSSING, 3),
        (-5, 7),
    ),
    "ring": (Track(**CU, **FLAT, points=RING, width=5), in_track(RING, 2.5), (-5, 7)),
    "wire": (Wire(**CU, points=WIRE, diameter=8), lambda x, y, z: to_line(WIRE, x, y, z) < 4, (-14, 13)),
    "blocks": (Lattice(**CU, **CELLS, **BLOCKS), lattice_cells, (-1, 9)),
    "dots": (Lattice(**CU, **CELLS, **DOTS), lattice_dots, (-1, 9)),
    "mesh": (Lattice(**CU, **CELLS, **MESH), lattice_mesh, (-1, 9)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_primitive_equals_sampled_rays_from_every_side(
    case: tuple[Primitive, Inside, tuple[float, float]], view: View
) -> None:
    primitive, inside, heights = case
    expected = sampled(inside, heights, view)
    found = drawn(primitive, view)
    error = (found - expected) / expected.max()
    assert np.abs(error).max() < 0.12  # at the corners of lines; elsewhere half of it
    assert np.sqrt(np.mean(error**2)) < 0.014
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)


# ---- closed forms -----------------------------------------------------------------------------------


def chord_of_sphere(at: tuple[float, float, float], radius: float, view: View, grid: int = 24) -> Numbers:
    """2 sqrt(r^2 - d^2) with d the distance of ray and centre (vector algebra), finely sampled."""
    lean = tan(radians(view.tilt_deg))
    ray = np.array([-lean * cos(radians(view.azimuth_deg)), -lean * sin(radians(view.azimuth_deg)), 1.0])
    ray /= np.linalg.norm(ray)
    x = (np.arange(view.width * grid) + 0.5) / grid - view.width / 2
    y = (np.arange(view.height * grid) + 0.5) / grid - view.height / 2
    across, down = np.meshgrid(x * view.pixel_um, y * view.pixel_um)
    to = np.stack([across - at[0], down - at[1], np.full_like(across, -at[2])], axis=-1)
    square = np.sum(to**2, axis=-1) - (to @ ray) ** 2
    chord = 2 * np.sqrt(np.maximum(radius**2 - square, 0))
    return chord.reshape(view.height, grid, view.width, grid).mean(axis=(1, 3))


@pytest.mark.parametrize(
    "view", [STRAIGHT, VIEWS["oblique"], VIEWS["flat"]], ids=["straight", "oblique", "flat"]
)
@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5, 7.7, 8.3, 13.0, 25.0])
def test_a_ball_has_the_chords_of_a_sphere(radius: float, view: View) -> None:
    at = (0.7, -1.1, 3.0)
    expected = chord_of_sphere(at, radius, view)
    found = drawn(Ball(material="Cu", at=at, radius=radius), view)
    assert np.abs(found - expected).max() < 0.04 * expected.max()
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.004 * expected.max()


def test_a_truncated_ball_seen_straight_is_as_thick_as_the_cut_between_its_flats() -> None:
    view = View(41, 41, 1.0)
    found = drawn(Ball(material="Cu", at=(0, 0, 10), radius=15, bottom=2, top=21), view)
    down, across = np.indices(found.shape) - 20.0
    half = np.sqrt(np.maximum(225 - across**2 - down**2, 0))
    expected = np.minimum(half, 11) + np.minimum(half, 8)
    inner = np.hypot(across, down) < 9.8
    assert found[inner] == pytest.approx(expected[inner], abs=0.1)
    assert found[20, 20] == pytest.approx(19, abs=1e-4)


def test_a_ball_cut_off_wholly_is_nothing() -> None:
    assert not drawn(Ball(material="Cu", at=(0, 0, 0), radius=5, bottom=6), STRAIGHT).any()


def test_an_upright_cylinder_seen_straight_is_a_disc_of_its_height() -> None:
    view = View(41, 41, 1.0)
    found = drawn(Cylinder(material="Cu", at=(0, 0), radius=12.3, bottom=-5, top=6), view)
    far = np.hypot(*(np.indices(found.shape) - 20.0))
    assert found[far < 11.5] == pytest.approx(11, abs=1e-4)
    assert not found[far > 13.1].any()
    assert found.sum() == pytest.approx(pi * 12.3**2 * 11, rel=1e-3)


def test_an_oblique_cylinder_is_two_discs_apart_by_the_lean_of_the_view() -> None:
    view = View(61, 121, 1.0, tilt_deg=45)
    found = drawn(Cylinder(material="Cu", at=(0, 0), radius=10, bottom=0, top=40), view)
    row = found[30]
    # the bottom's disc spans -10 to 10, the top's 30 to 50; halfway between, the ray leaves through the walls
    assert np.flatnonzero(row > 0.01).min() == 60 - 10
    assert np.flatnonzero(row > 0.01).max() == 60 + 50
    assert row[60 + 20] == pytest.approx(20 * sqrt(2), rel=1e-3)
    assert row[60 - 10 + 5] == pytest.approx(5 * sqrt(2), rel=1e-3)
    assert found.sum() * cos(pi / 4) == pytest.approx(pi * 100 * 40, rel=1e-3)


def test_a_box_along_the_axes_covers_pixels_by_their_fraction_exactly() -> None:
    view = View(9, 9, 2.0)
    found = drawn(Slab(material="Cu", at=(0.5, -0.25), sides=(7, 0.5), bottom=3, top=13), view)
    # half side 3.5, half pixel 1
    across = np.clip(4 - np.abs(np.arange(-8, 9, 2) - 0.5)[None] + 0.5, 0, 2) / 2
    assert found[4] == pytest.approx(10 * across[0] * 0.25, abs=2e-3)
    assert not found[[0, 1, 2, 3, 5, 6, 7, 8]].any()


@pytest.mark.parametrize("tilt", [0.0, 50.0])
def test_a_slab_that_covers_the_image_is_even_to_the_last_pixel(tilt: float) -> None:
    view = View(150, 210, 1.0, tilt_deg=tilt, azimuth_deg=33)
    found = drawn(Slab(material="FR-4", at=(30, 0), sides=(900, 700), bottom=0, top=40, turn_deg=12), view)
    assert found == pytest.approx(40 / cos(radians(tilt)), rel=1e-5)


def test_a_large_slab_has_the_same_edges_in_tiles_as_in_the_middle_of_one() -> None:
    whole = View(200, 200, 1.0, tilt_deg=30, azimuth_deg=70)
    slab = Slab(material="Cu", at=(3, 4), sides=(120, 90), bottom=0, top=30, turn_deg=31)
    found = drawn(slab, whole)
    for corner in ((20, 60), (75, 30), (110, 110)):
        assert_crop(found, slab, whole, corner, 60)


def assert_crop(
    found: Numbers, primitive: Primitive, whole: View, corner: tuple[int, int], size: int
) -> None:
    """The same primitive, moved so that a smaller view shows that part of the larger one."""
    view = replace(whole, height=size, width=size)
    moved = shifted(
        primitive,
        (whole.width - size) / 2 * whole.pixel_um - corner[0] * whole.pixel_um,
        (whole.height - size) / 2 * whole.pixel_um - corner[1] * whole.pixel_um,
    )
    expected = found[corner[1] : corner[1] + size, corner[0] : corner[0] + size]
    assert drawn(moved, view) == pytest.approx(expected, abs=2e-3 * found.max())


def shifted(primitive: Primitive, dx: float, dy: float) -> Primitive:
    if isinstance(primitive, Track | Wire):
        return replace(primitive, points=tuple((p[0] + dx, p[1] + dy, *p[2:]) for p in primitive.points))
    assert not isinstance(primitive, Weave | Grain)
    return replace(primitive, at=(primitive.at[0] + dx, primitive.at[1] + dy, *primitive.at[2:]))


# ---- laws for every primitive ---------------------------------------------------------------------------

ALL = pytest.mark.parametrize("primitive", [case[0] for case in CASES.values()], ids=CASES)


@ALL
def test_a_primitive_across_the_border_equals_a_crop_of_a_larger_view(primitive: Primitive) -> None:
    whole = View(48, 48, 2.0, tilt_deg=25, azimuth_deg=40)
    found = drawn(primitive, whole)
    for corner in ((0, 0), (20, 4), (24, 24)):
        assert_crop(found, primitive, whole, corner, 24)


@ALL
def test_what_is_taken_away_leaves_nothing(primitive: Primitive) -> None:
    maps = thickness_maps([primitive, replace(primitive, amount=-1.0)], VIEWS["oblique"])
    assert maps["Cu"].max() <= 1e-4


@ALL
def test_a_mirrored_scene_has_a_mirrored_map(primitive: Primitive) -> None:
    if isinstance(primitive, Lattice | Wedge):
        pytest.skip("its own x has a direction, which no turn mirrors")
    view = View(40, 40, 2.0, tilt_deg=30, azimuth_deg=25)
    if isinstance(primitive, Track | Wire):
        other: Primitive = replace(primitive, points=tuple((-p[0], *p[1:]) for p in primitive.points))
    else:
        assert not isinstance(primitive, Weave | Grain)
        other = replace(primitive, at=(-primitive.at[0], *primitive.at[1:]))
        if isinstance(other, Ellipsoid | Slab):
            other = replace(other, turn_deg=-other.turn_deg)
    found, mirrored = drawn(primitive, view), drawn(other, replace(view, azimuth_deg=155))
    assert mirrored[:, ::-1] == pytest.approx(found, abs=5e-3 * found.max())


def test_maps_add_up_and_do_not_depend_on_the_order() -> None:
    primitives = [case[0] for case in CASES.values()]
    view = VIEWS["oblique"]
    together = thickness_maps(primitives, view)["Cu"]
    assert thickness_maps(primitives[::-1], view)["Cu"] == pytest.approx(together, rel=1e-5, abs=1e-4)
    assert sum(drawn(primitive, view) for primitive in primitives) == pytest.approx(
        together, rel=1e-5, abs=1e-4
    )


def test_each_material_has_its_own_map_in_float32() -> None:
    primitives = [Ball(material="Cu", at=(0, 0, 0), radius=9), Ball(material="Sn", at=(9, 0, 0), radius=5)]
    maps = thickness_maps(primitives, STRAIGHT)
    assert list(maps) == ["Cu", "Sn"]
    assert all(image.dtype == np.float32 and image.shape == (32, 32) for image in maps.values())
    assert maps["Sn"] == pytest.approx(drawn(primitives[1], STRAIGHT))
    assert thickness_maps([], STRAIGHT) == {}


def test_a_void_makes_its_ball_thinner_and_never_less_than_nothing() -> None:
    ball = Ball(material="SAC305", at=(0, 0, 0), radius=20)
    void = Ball(material="SAC305", at=(3, 2, 4), radius=6, amount=-1)
    with_void = thickness_maps([ball, void], STRAIGHT)["SAC305"]
    lost = drawn(ball, STRAIGHT).sum() - with_void.sum(dtype=np.float64)
    assert lost * 4 == pytest.approx(4 / 3 * pi * 6**3, rel=0.003)
    assert not thickness_maps([void], STRAIGHT)["SAC305"].any()


# ---- volumes ----------------------------------------------------------------------------------------


def random_primitives(random: np.random.Generator) -> list[tuple[Primitive, float]]:
    """Primitives of a pixel (2 um) and more at random places with their volumes."""
    x, y = random.uniform(-2, 2, 2).tolist()
    size, turn = float(random.uniform(2, 12)), float(random.uniform(0, 180))
    height = float(random.uniform(2, 16))
    c, s = cos(radians(turn)), sin(radians(turn))
    line = ((x - 11 * c, y - 11 * s), (x + 15 * c, y + 15 * s))
    low, high = -0.3 * height, 0.7 * height
    space = tuple((*p, z) for p, z in zip(line, (low, high), strict=True))
    prism: dict[str, float | str] = {"material": "Cu", "bottom": low, "top": high}
    r = size / 2
    return [
        (Ball(material="Cu", at=(x, y, 0), radius=r), 4 / 3 * pi * r**3),
        (Ellipsoid(material="Cu", at=(x, y, 0), radii=(r, 2 * r, 1.5 * r), turn_deg=turn), 4 * pi * r**3),
        (Cylinder(at=(x, y), radius=r, **prism), pi * r**2 * height),
        (Cylinder(at=(x, y), radius=2 * r, inner_radius=r, **prism), 3 * pi * r**2 * height),
        (Cone(at=(x, y), bottom_radius=2 * r, top_radius=r, **prism), 7 / 3 * pi * r**2 * height),
        (Slab(at=(x, y), sides=(size, 1.3 * size), turn_deg=turn, **prism), 1.3 * size**2 * height),
        (Wedge(at=(x, y), sides=(1.6 * size, size), turn_deg=turn, **prism), 0.8 * size**2 * height),
        (Track(points=line, width=size, **prism), (26 * size + pi * r**2) * height),
        (
            Wire(material="Cu", points=space, diameter=size),
            pi * r**2 * sqrt(26**2 + height**2) + 4 / 3 * pi * r**3,
        ),
    ]


@pytest.mark.parametrize("tilt", [0.0, 3.0, 20.0, 40.0, 60.0])
def test_volumes_are_kept_wherever_a_primitive_lies_on_the_pixels(tilt: float) -> None:
    random = np.random.default_rng(int(tilt))
    for _ in range(12):
        view = View(64, 64, 2.0, tilt_deg=tilt, azimuth_deg=float(random.uniform(0, 360)))
        for primitive, volume in random_primitives(random):
            found = drawn(primitive, view).sum() * 4 * cos(radians(tilt))
            assert found == pytest.approx(volume, rel=0.006), primitive


@pytest.mark.parametrize("tilt", [0.0, 35.0])
@pytest.mark.parametrize("thick", [0.2, 0.6, 1.2])
def test_lines_thinner_than_a_pixel_carry_their_volume(thick: float, tilt: float) -> None:
    random = np.random.default_rng(3)
    for _ in range(10):
        view = View(64, 64, 2.0, tilt_deg=tilt, azimuth_deg=float(random.uniform(0, 360)))
        x, y, turn = *random.uniform(-2, 2, 2).tolist(), float(random.uniform(0, 2 * pi))
        line = ((x, y), (x + 40 * cos(turn), y + 40 * sin(turn)))
        track = Track(material="Cu", points=line, width=thick, bottom=0, top=3)
        wire = Wire(material="Cu", points=tuple((*p, 0.0) for p in line), diameter=thick)
        scale = 4 * cos(radians(tilt))
        area = 40 * thick + pi / 4 * thick**2
        assert drawn(track, view).sum() * scale == pytest.approx(3 * area, rel=0.02)
        volume = pi / 4 * thick**2 * 40 + pi / 6 * thick**3
        assert drawn(wire, view).sum() * scale == pytest.approx(volume, rel=0.02)


def test_many_points_along_a_line_change_nothing() -> None:
    fraction = np.linspace(0, 1, 41)[:, None]
    line = np.array([-20.0, -7.0, -4.0]) * (1 - fraction) + np.array([18.0, 11.0, 9.0]) * fraction
    ends = tuple(map(tuple, line[[0, -1]].tolist()))
    many = tuple(map(tuple, line.tolist()))
    for view in (STRAIGHT, VIEWS["oblique"]):
        wire = drawn(Wire(material="Cu", points=ends, diameter=5), view)
        assert drawn(Wire(material="Cu", points=many, diameter=5), view) == pytest.approx(wire, abs=0.15)
        flat: dict[str, float | str] = {"material": "Cu", "width": 5.0, "bottom": 0.0, "top": 4.0}
        track = drawn(Track(points=tuple(p[:2] for p in ends), **flat), view)
        found = drawn(Track(points=tuple(p[:2] for p in many), **flat), view)
        assert found == pytest.approx(track, abs=0.15)


def test_a_line_of_one_place_is_a_dot() -> None:
    track = Track(material="Cu", points=((1, 2), (1, 2)), width=9, bottom=0, top=5)
    assert drawn(track, STRAIGHT).sum() * 4 == pytest.approx(pi / 4 * 81 * 5, rel=0.005)
    wire = Wire(material="Cu", points=((1, 2, 3),), diameter=9)
    assert drawn(wire, STRAIGHT).sum() * 4 == pytest.approx(pi / 6 * 9**3, rel=0.005)


def test_a_wire_that_rises_along_the_rays_is_seen_end_on() -> None:
    wire = Wire(material="Au", points=((0, 0, 0), (0, 0, 50)), diameter=10)
    found = drawn(wire, View(33, 33, 1.0))
    assert found[16, 16] == pytest.approx(60, rel=0.01)
    assert found.sum() == pytest.approx(pi * 25 * 50 + pi / 6 * 1000, rel=0.005)


# ---- central projection -----------------------------------------------------------------------------


def test_a_central_beam_shows_small_things_where_the_view_projects_them_and_enlarges_them() -> None:
    view = View(120, 160, 3.0, tilt_deg=30, azimuth_deg=65, source_um=4000)
    down, across = np.indices((120, 160))
    for at in ((-60.0, 40.0, 0.0), (70.0, -30.0, 150.0), (-90.0, -50.0, -120.0)):
        found = drawn(Ball(material="Cu", at=at, radius=12), view)
        seen = (found * across).sum() / found.sum(), (found * down).sum() / found.sum()
        assert seen == pytest.approx(view.project(at)[0], abs=0.02)
        slope = view.slopes(at)[0]
        volume = found.sum() * (3 * (1 - at[2] / 4000)) ** 2 / sqrt(1 + slope @ slope)
        assert volume == pytest.approx(4 / 3 * pi * 12**3, rel=0.005)


@pytest.mark.parametrize("name", ["truncated ball", "cylinder", "slab", "track", "wire"])
def test_a_central_beam_equals_sampled_rays(name: str) -> None:
    primitive, inside, heights = CASES[name]
    view = View(36, 36, 2.0, tilt_deg=30, azimuth_deg=130, source_um=2000)
    expected = sampled(inside, heights, view, grid=7)
    found = drawn(primitive, view)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.015 * expected.max()
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)


def test_a_primitive_above_the_source_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"source_um.*raise the source"):
        thickness_maps([Ball(material="Cu", at=(0, 0, 900), radius=5)], View(9, 9, 1.0, source_um=800))


# ---- textures ---------------------------------------------------------------------------------------

CLOTH = Weave(material="FR-4", period=(40, 60), mean=100, swing=30, turn_deg=20, seed=4)


def test_cloth_has_its_mean_keeps_its_swing_and_repeats_with_its_yarns() -> None:
    view = View(512, 512, 2.0)
    found = drawn(CLOTH, view)
    assert found.mean() == pytest.approx(100, abs=1)
    assert found.min() >= 70 - 1e-3
    assert found.max() <= 130 + 1e-3
    assert found.std() > 6
    power = np.abs(np.fft.rfft2((found - found.mean()) * np.outer(np.hanning(512), np.hanning(512)))) ** 2
    down, across = np.fft.fftfreq(512, 2.0)[:, None], np.fft.rfftfreq(512, 2.0)
    for period, turn in ((40, 20), (60, 110)):
        for_yarn = np.hypot(across - cos(radians(turn)) / period, down - sin(radians(turn)) / period)
        opposite = np.hypot(across + cos(radians(turn)) / period, down + sin(radians(turn)) / period)
        assert power[np.minimum(for_yarn, opposite) < 0.003].sum() > 0.1 * power.sum()


def test_cloth_is_a_matter_of_um_and_seed_not_of_pixels() -> None:
    fine, coarse = drawn(CLOTH, View(240, 240, 1.0)), drawn(CLOTH, View(60, 60, 4.0))
    assert fine.reshape(60, 4, 60, 4).mean(axis=(1, 3)) == pytest.approx(coarse, abs=1.2)
    assert np.array_equal(drawn(CLOTH, STRAIGHT), drawn(CLOTH, STRAIGHT))
    assert not np.array_equal(drawn(replace(CLOTH, seed=5), STRAIGHT), drawn(CLOTH, STRAIGHT))


def test_cloth_finer_than_a_pixel_is_even() -> None:
    assert drawn(replace(CLOTH, period=(3, 3)), View(64, 64, 30.0)).std() < 2


def test_textures_are_longer_in_an_oblique_view() -> None:
    oblique = VIEWS["flat"]
    for texture in (CLOTH, Grain(material="EMC", mean=50, rms=5, roughness=6, seed=1)):
        longer = drawn(texture, STRAIGHT) / cos(radians(oblique.tilt_deg))
        assert drawn(texture, oblique) == pytest.approx(longer, rel=1e-4)


@pytest.mark.parametrize("roughness", [1.5, 4.0, 15.0])
def test_grain_has_the_mean_spread_and_correlation_asked_for(roughness: float) -> None:
    grain = Grain(material="EMC", mean=100, rms=10, roughness=roughness, seed=9)
    found = drawn(grain, View(700, 700, 1.0)) - 100
    spread = 4 * roughness / 700
    assert found.mean() == pytest.approx(0, abs=10 * 3 * spread)
    # the pixel's mean of a field with correlation exp(-lag^2 / 4 sigma^2) is a little smoother
    lag = (np.arange(1000) + 0.5) / 1000
    kept = 2 * np.mean((1 - lag) * np.exp(-(lag**2) / (4 * roughness**2)))
    assert found.std() == pytest.approx(10 * kept, rel=max(0.02, 1.5 * spread))
    step = round(2 * roughness)
    alike = np.mean(found[:, :-step] * found[:, step:]) / found.var()
    assert alike == pytest.approx(
        np.exp(-(step**2) / (4 * (roughness**2 + 1 / 12))), abs=max(0.02, 3 * spread)
    )


def test_grain_finer_than_a_pixel_averages_out_and_is_never_negative() -> None:
    grain = Grain(material="EMC", mean=10, rms=10, roughness=2, seed=9)
    assert drawn(grain, View(200, 200, 1.0)).min() == 0
    # a pixel of many grains: the variance falls to (2 sqrt(pi) sigma / pixel)^2 of the point's
    found = drawn(replace(grain, mean=100), View(200, 200, 40.0))
    assert found.std() == pytest.approx(10 * 2 * sqrt(pi) * 2 / 40, rel=0.1)


@pytest.mark.parametrize("tilt", [0.0, 15.0, 50.0])
@pytest.mark.parametrize("pattern", ["block", "dot"])
def test_a_wide_lattice_equals_its_cells_drawn_one_by_one(
    pattern: Literal["block", "dot"], tilt: float
) -> None:
    view = View(160, 200, 1.0, tilt_deg=tilt, azimuth_deg=25)
    lattice = Lattice(
        material="Cu",
        at=(8, -5),
        sides=(232, 181),
        pitch=(9, 7.5),
        cell=(5, 5),
        bottom=0,
        top=14,
        turn_deg=32,
        pattern=pattern,
        stagger=0.5,
    )
    cells: list[Primitive] = []
    c, s = cos(radians(32)), sin(radians(32))
    for row in range(24):
        for column in range(26 - row % 2):
            u, v = (column - 12.5 + 0.5 * (row % 2)) * 9, (row - 11.5) * 7.5
            at = 8 + c * u - s * v, -5 + s * u + c * v
            if pattern == "dot":
                cells.append(Cylinder(material="Cu", at=at, radius=2.5, bottom=0, top=14))
            else:
                cells.append(Slab(material="Cu", at=at, sides=(5, 5), bottom=0, top=14, turn_deg=32))
    expected = thickness_maps(cells, view)["Cu"]
    found = thickness_maps([lattice], view)["Cu"]
    error = (found - expected) / expected.max()
    assert np.abs(error).max() < 0.12
    assert np.sqrt(np.mean(error**2)) < 0.02
    assert found.sum() == pytest.approx(expected.sum(), rel=0.003)
