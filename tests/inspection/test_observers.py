"""Observers on structures that are put there by hand, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from longexposure.inspection.created import created_regions, side
from longexposure.inspection.observers.difference import difference
from longexposure.inspection.observers.model import (
    INDUCED,
    channels,
    covariance,
    decisions,
    random_places,
    responses,
)
from longexposure.inspection.observers.programme import SCALES, Design, best_near, design_of, finds
from longexposure.simulation.geometry.primitives import Ball, Feature, Track
from longexposure.simulation.geometry.view import View

SIDE = 128
VIEW = View(height=SIDE, width=SIDE, pixel_um=10.0)
SIGMA = np.full((SIDE, SIDE), 20.0)
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)
PLACES_UM = [(x, y) for x in (-300.0, 0.0, 300.0) for y in (-300.0, 0.0, 300.0)]


def disc(y: float, x: float, radius: float) -> np.ndarray:
    """A soft-edged disc, 0 to 1."""
    return np.clip(radius + 0.5 - np.hypot(Y - y, X - x), 0, 1)


def balls(moved: dict[int, tuple[float, float]] | None = None, gone: int | None = None) -> np.ndarray:
    """Nine dark joints of 8 px radius; some moved by px, one gone."""
    image = np.full((SIDE, SIDE), 2000.0)
    for number, (x, y) in enumerate(PLACES_UM):
        right, down = VIEW.project([(x, y, 0.0)])[0]
        dy, dx = (moved or {}).get(number, (0.0, 0.0))
        if number != gone:
            image -= 1000 * disc(down + dy, right + dx, 8)
    return image


def solder() -> list[Feature]:
    return [
        Feature("ball", (x, y, 0.0), 160.0, (Ball(material="SAC305", at=(x, y, 0.0), radius=80.0),), {})
        for x, y in PLACES_UM
    ]


@pytest.fixture(scope="module")
def design() -> Design:
    track = Track(material="Cu", points=((-600.0, 150.0), (600.0, 150.0)), width=40.0, bottom=0.0, top=30.0)
    trace = Feature("trace", (0.0, 150.0, 0.0), 40.0, (track,), {"gap_um": 60.0})
    return design_of([*solder(), trace], VIEW, balls(), SIGMA)


def noisy(image: np.ndarray, seed: int = 0) -> np.ndarray:
    return image + SIGMA * np.random.default_rng(seed).standard_normal(image.shape)


def place(number: int) -> tuple[float, float]:
    right, down = VIEW.project([(*PLACES_UM[number], 0.0)])[0]
    return float(down), float(right)


def top_of(rule: str, image: np.ndarray, design: Design, scale: float = SCALES[0]) -> np.ndarray:
    return finds(rule, difference(image, balls(), SIGMA), design)[scale][0]


def test_the_difference_knows_no_gain_and_no_offset() -> None:
    image = noisy(balls(gone=4))
    plain, bright = (difference(each, balls(), SIGMA) for each in (image, 1.1 * image + 300))
    assert np.abs(bright - plain).max() < 0.6  # the gain is known as well as the noise allows
    assert difference(balls(), balls(), SIGMA) == pytest.approx(0, abs=1e-9)


def test_a_blob_is_found_where_it_is(design: Design) -> None:
    y, x, _ = top_of("blob", noisy(balls() + 150 * disc(40, 90, 3)), design, 1.6)
    assert np.hypot(y - 40, x - 90) < 2


def test_a_missing_joint_is_the_first_find_of_the_amounts(design: Design) -> None:
    y, x, score = top_of("amount", noisy(balls(gone=4)), design)
    assert (y, x) == pytest.approx(place(4))
    assert score > 10 * top_of("amount", noisy(balls()), design)[2]


@pytest.mark.parametrize("by", [0.5, 1.0])
def test_a_displacement_is_told_in_pixels(design: Design, by: float) -> None:
    y, x, score = top_of("displacement", noisy(balls({2: (0.0, by)})), design)
    assert (y, x) == pytest.approx(place(2))
    assert score == pytest.approx(by, rel=0.35)


def test_an_oval_joint_is_found_by_its_outline(design: Design) -> None:
    oval = balls(gone=6) - 1000 * np.clip(
        8.5 - np.hypot((Y - place(6)[0]) * 0.9, (X - place(6)[1]) / 0.9), 0, 1
    )
    y, x, _ = top_of("ovality", noisy(oval), design)
    assert (y, x) == pytest.approx(place(6))


def test_a_bridge_is_found_between_its_joints(design: Design) -> None:
    (y1, x1), (y2, x2) = place(3), place(4)
    middle = (y1 + y2) / 2, (x1 + x2) / 2
    strip = (np.abs(Y - middle[0]) < 16) & (np.abs(X - middle[1]) < 2)
    y, x, _ = top_of("between", noisy(balls() - 60 * strip), design)
    assert (y, x) == pytest.approx(middle, abs=1)


def test_a_gap_is_found_along_its_trace_and_a_short_beside_it(design: Design) -> None:
    down = VIEW.project([(0.0, 150.0, 15.0)])[0][1]
    gap = (np.abs(Y - down) < 2.5) & (np.abs(X - 90) < 2)
    short = (np.abs(Y - (down + 5)) < 3) & (np.abs(X - 30) < 2)
    y, x, _ = top_of("along", noisy(balls() + 120 * gap), design)
    assert (y, x) == pytest.approx((down, 90), abs=2.5)
    y, x, _ = top_of("beside", noisy(balls() - 120 * short), design)
    assert (y, x) == pytest.approx((down, 30), abs=2.5)


def test_only_finds_near_the_defect_count() -> None:
    near = np.zeros((10, 10), bool)
    near[2:4, 2:4] = True
    found = np.array([[8.0, 8.0, 9.0], [2.2, 3.4, 4.0], [3.0, 3.0, 2.0]])
    assert best_near(found, near) == 4.0
    assert best_near(found[:1], near) == 0.0
    assert best_near(np.zeros((0, 3)), near) == 0.0


def test_the_channels_are_unit_vectors_of_every_width_and_direction() -> None:
    assert channels().shape == (32, 65 * 65)
    assert np.linalg.norm(channels(), axis=1) == pytest.approx(1.0)


def test_the_model_observer_has_the_index_of_its_formula() -> None:
    """Independent channels of variance 1: d' = |s| / sqrt(1 + induced + least^2)."""
    random = np.random.default_rng(0)
    signal = random.standard_normal(32)
    seen = signal + random.standard_normal((20_000, 32))
    said = decisions(signal, seen, np.eye(32), 20.0, random)
    assert said.mean() == pytest.approx(np.linalg.norm(signal) / np.sqrt(1 + INDUCED + 0.1**2), rel=0.02)
    assert said.std() == pytest.approx(1.0, rel=0.03)
    nothing = decisions(signal, seen - signal, np.eye(32), 20.0, random)
    assert nothing.mean() == pytest.approx(0.0, abs=0.03)


def test_an_image_without_noise_leaves_the_observer_the_noise_of_the_eye() -> None:
    random = np.random.default_rng(1)
    signal = np.ones(32)
    said = decisions(signal, np.tile(signal, (4000, 1)), 1e-9 * np.eye(32), 200.0, random)
    assert said.mean() == pytest.approx(np.sqrt(32) / (0.005 * 200), rel=0.05)


def test_responses_of_white_noise_have_the_covariance_of_the_channels() -> None:
    random = np.random.default_rng(2)
    found = np.concatenate(
        [responses(random.standard_normal((160, 160)), random_places((160, 160), random)) for _ in range(60)]
    )
    assert np.abs(covariance(found) - channels() @ channels().T).max() < 0.25


def test_regions_are_counted_from_six_pixels_and_a_third_of_the_noise() -> None:
    truth = np.full((64, 64), 100.0)
    image = truth.copy()
    image[20:22, 20:23] += 8
    image[40, 40:45] += 8
    image[50:60, 50:54] += 5
    assert created_regions(image, truth, np.full((64, 64), 20.0)) == 1


def test_sides_are_zero_and_one() -> None:
    change = -2 * ndimage.gaussian_filter(disc(60, 60, 6), 1)
    assert side(np.zeros_like(change), change) == 0
    assert side(0.7 * change, change) == pytest.approx(0.7)
