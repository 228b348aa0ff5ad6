"""The bench of structures at the limit, held against closed forms; and what the default leaves of some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from limit import (
    BACKGROUNDS,
    FORMS,
    LAG,
    NOISES,
    REACH_PX,
    SIDE_PX,
    WIRE,
    Enhance,
    Layout,
    Seen,
    background,
    coverage,
    deviation,
    images,
    judged,
    noisy,
    own_template,
    prewhitened,
    spots,
    standard_noise,
    trials,
    watched,
    wires,
)
from scipy.linalg import toeplitz
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from longexposure.enhance.enhancer import Enhancer

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def seen_by(enhance: Enhance, *, cnr: float, noise: str = "white", kind: str = "void, 6 px") -> Seen:
    drawn = trials("plain", noise, 2, wires if kind.startswith("wire") else spots)
    found = watched(background("plain"), drawn, noise=noise, cnr=cnr, enhance=enhance)
    return next(seen for (name, _), seen in found.items() if name == kind)


def a_disc(count: int, *, cnr: float, searched: bool = False, fresh: bool = False) -> Seen:
    """A disc in white noise of variance 1, many times, as an input shows it; noise alike or not."""
    shape = coverage(FORMS["void, 4 px"].inside, y=0.2, x=-0.3, turn=0, reach=REACH_PX)
    random = np.random.default_rng(0)
    absent = random.standard_normal((count, *shape.shape))
    other = random.standard_normal(absent.shape) if fresh else absent
    return Seen(
        shape=np.repeat(shape[None], count, axis=0),
        matched=np.repeat(shape[None], count, axis=0) / (shape**2).sum(),
        present=other + cnr * shape,
        absent=absent,
        kept=np.repeat(cnr * shape[None], count, axis=0),
        half=np.arange(count) % 2,
        window=(8, 8) if searched else None,
    )


@pytest.mark.parametrize("radius", [2.0, 3.0])
@pytest.mark.parametrize(("y", "x"), [(0.0, 0.0), (0.4, -0.3)])
def test_a_disc_covers_its_area(radius: float, y: float, x: float) -> None:
    fraction = coverage(lambda u, v: u**2 + v**2 <= radius**2, y=y, x=x, turn=0, reach=8)
    assert fraction.sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    assert (fraction * np.arange(-8, 9)).sum() / fraction.sum() == pytest.approx(x, abs=0.02)


@pytest.mark.parametrize("turn", [0.0, 22.0, 58.0, 90.0])
def test_a_wire_is_one_and_a_half_pixels_wide_in_every_direction(turn: float) -> None:
    fraction = coverage(WIRE.inside, y=0.3, x=0.1, turn=turn, reach=48)
    assert fraction.sum() == pytest.approx(88 * 1.5, rel=0.01)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_every_background_spans_twenty_five_times_the_noise(name: str) -> None:
    low, high = np.percentile(background(name), (1, 99))
    assert (high - low) / 1200 == pytest.approx(25, abs=0.1)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_what_it_is_called(noise: str) -> None:
    flat, random = np.full((SIDE_PX, SIDE_PX), 15000.0), np.random.default_rng(1)
    drawn = noisy(flat, noise, standard_noise(noise, random)) - flat
    assert drawn.std() == pytest.approx(1200 * (0.5**0.5 if noise == "follows the signal" else 1), rel=0.02)
    lag = (drawn[:, 1:] * drawn[:, :-1]).mean() / drawn.var()
    assert lag == pytest.approx(LAG if noise == "along lines" else 0, abs=0.02)


@pytest.mark.parametrize("make", [spots, wires])
def test_the_contrast_of_a_covered_pixel_is_the_cnr_times_the_noise_there(
    make: Callable[..., Layout],
) -> None:
    layout, clean = make("balls", np.random.default_rng(3)), background("balls")
    without, with_ = images(clean, layout, noise="follows the signal", cnr=5.0)
    covered = abs(layout.structures) == 1
    assert covered.any()
    contrast = abs(with_ - without)[covered] / deviation("follows the signal", clean)[covered]
    np.testing.assert_allclose(contrast, 5.0)


def test_pieces_of_wires_add_up_to_the_wires_between_their_ends() -> None:
    layout = wires("plain", np.random.default_rng(4))
    total = np.zeros((SIDE_PX + 2 * REACH_PX,) * 2)
    for part in layout.parts:
        size = 2 * REACH_PX + 1
        total[part.y : part.y + size, part.x : part.x + size] += part.shape
    total = total[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    assert total.sum() == pytest.approx(-12 * 72 * 1.5, rel=0.01)
    inside = total != 0
    np.testing.assert_allclose(total[inside], layout.structures[inside])


def test_prewhitening_is_the_inverse_of_the_covariance_along_lines() -> None:
    shape = np.zeros((5, 31))
    shape[1:4, 10:20] = np.random.default_rng(5).standard_normal((3, 10))
    covariance = toeplitz(LAG ** np.arange(31.0))
    np.testing.assert_allclose(
        prewhitened(shape, "along lines"), np.linalg.solve(covariance, shape.T).T, atol=1e-12
    )
    assert prewhitened(shape, "white") is shape


def test_d_prime_and_auc_of_a_disc_in_white_noise_are_those_of_theory() -> None:
    seen = a_disc(2000, cnr=0.6)
    expected = 0.6 * float(np.sqrt((seen.shape[0] ** 2).sum()))
    found = judged(seen, 0.6)
    assert found["matched"] == pytest.approx(expected, rel=0.06)
    assert found["own"] == pytest.approx(expected, rel=0.08)
    assert found["auc"] == pytest.approx(ndtr(expected / np.sqrt(2)), abs=0.02)


def test_an_observer_who_learns_from_noise_alone_sees_nothing() -> None:
    assert abs(own_template(a_disc(800, cnr=0.0, fresh=True))) < 0.25


def test_what_cannot_be_seen_is_found_by_chance_and_what_is_plain_without_error() -> None:
    nothing, plain = (judged(a_disc(150, cnr=cnr, searched=True), cnr) for cnr in (1e-6, 6.0))
    assert nothing["search"] == pytest.approx(0.5, abs=0.06)
    assert nothing["false"] == pytest.approx(0.95, abs=0.06)
    assert plain["search"] == 1
    assert plain["false"] == 0


def test_an_image_left_as_it_is_keeps_all_contrast() -> None:
    found = judged(seen_by(lambda image: image, cnr=3.0), 3.0)
    assert found["recovery"] == pytest.approx(1)
    assert found["spread"] == pytest.approx(0, abs=1e-9)
    assert found["faded"] == 0


def test_a_method_that_takes_the_structure_away_keeps_none_of_it() -> None:
    found = judged(seen_by(lambda image: background("plain"), cnr=3.0), 3.0)
    assert found["recovery"] == pytest.approx(0, abs=1e-9)
    assert found["faded"] == 1
    assert found["auc"] == 0.5


@pytest.mark.parametrize("kind", ["void, 6 px", "gap, 2 px in a line of 4 px", "wire, 1.5 px, oblique"])
def test_smoothing_keeps_what_the_smoothed_structure_has_in_common_with_it(kind: str) -> None:
    def smooth(image: np.ndarray) -> np.ndarray:
        smoothed: np.ndarray = gaussian_filter(image.astype(float), 0.8, truncate=4)
        return smoothed

    found = judged(seen_by(smooth, cnr=3.0, kind=kind), 3.0)
    common, own, size = 0.0, 0.0, 2 * REACH_PX + 1
    drawn = trials("plain", "white", 2, wires if kind.startswith("wire") else spots)
    first = next(part.turn for part in drawn[0].layout.parts if part.kind == kind)
    for trial in drawn:
        smoothed = np.pad(smooth(trial.layout.structures), REACH_PX)
        for part in trial.layout.parts:
            if (part.kind, part.turn) == (kind, first):
                common += float((smoothed[part.y : part.y + size, part.x : part.x + size] * part.shape).sum())
                own += float((part.shape**2).sum())
    assert found["recovery"] == pytest.approx(common / own, rel=0.01)


def test_the_default_keeps_structures_well_above_the_noise(default_enhancer: Enhancer) -> None:
    for kind in ("void, 6 px", "wire, 1.5 px, along an axis"):
        found = judged(seen_by(default_enhancer.enhance, cnr=8.0, kind=kind), 8.0)
        assert 0.8 < found["recovery"] < 1.1
        assert found["faded"] == 0
