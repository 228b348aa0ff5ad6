"""The measures of what an enhancer draws by itself, held against closed forms and planted marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from artefacts import (
    EDGE_PX,
    SIDE_PX,
    SIGMA,
    fine_lines,
    flat_fields,
    in_dark_parts,
    on_slopes,
    pattern,
    under_shift,
)

from longexposure import load_enhancer

Y, X = np.mgrid[:96, :128].astype(float)


class Scripted:
    """An enhancer that does what a test says."""

    def __init__(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.change = change

    def enhance(self, image: np.ndarray, **_: Any) -> np.ndarray:
        return self.change(image.astype(float)).astype(image.dtype)


@pytest.mark.parametrize("period", [2, 3.3, 4, 8, 14])
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_wave_has_its_own_root_mean_square(period: float, angle: float) -> None:
    wave = np.cos(2 * np.pi * (X * np.cos(angle) + Y * np.sin(angle)) / period + 0.3)
    expected = float(np.sqrt(np.square(wave).mean()))
    assert pattern(0.1 * wave) == pytest.approx(0.1 * expected, rel=0.03)


def test_what_is_smooth_is_no_pattern() -> None:
    assert pattern(5 + 0.3 * X - 0.01 * Y + 1e-3 * X**2) < 1e-9
    assert pattern(0.1 * np.sin(2 * np.pi * X / 60)) < 1e-3


def test_planted_marks_are_counted_once_each() -> None:
    def marked(image: np.ndarray) -> np.ndarray:
        out = np.full(image.shape, 30000.0)
        out[:6], out[-6:] = image[:6], image[-6:]
        out[100, 100:106] += 0.4 * SIGMA  # 6 px: one
        out[200, 100:105] += 0.4 * SIGMA  # 5 px: none
        out[300, 100:120] += 0.2 * SIGMA  # faint: none
        for k in range(8):
            out[350 + k, 400 + k] -= 0.5 * SIGMA  # oblique: one
        out[2, 100:140] += 5 * SIGMA  # at the border: none
        return out

    found = flat_fields(Scripted(marked), 0.0, count=2)  # type: ignore[arg-type]
    assert found["hairlines"] == pytest.approx(2e6 / (SIDE_PX - 2 * EDGE_PX) ** 2)
    assert found["left"] < 0.02


def test_who_changes_nothing_draws_nothing_and_keeps_all() -> None:
    identity = load_enhancer("identity")
    assert on_slopes(identity) == in_dark_parts(identity) == 0
    assert under_shift(identity, "S1", count=1) == 0
    assert fine_lines(identity, 4.0, count=1) == pytest.approx(1, abs=1e-6)
    assert flat_fields(identity, 0.0, count=1)["left"] == pytest.approx(1, abs=0.01)


def test_a_mesh_is_seen_on_slopes_and_in_the_dark() -> None:
    def meshed(image: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        return image + 24.0 * np.where((y + x) % 4 < 2, 1, -1)

    enhancer = Scripted(meshed)
    assert on_slopes(enhancer) == pytest.approx(24 / SIGMA, rel=0.03)  # type: ignore[arg-type]
    assert in_dark_parts(enhancer) == pytest.approx(24 / (SIGMA * (4000 / 60000) ** 0.5), rel=0.03)  # type: ignore[arg-type]


def test_lines_that_are_smoothed_away_are_gone() -> None:
    flat = Scripted(lambda image: np.full(image.shape, 30000.0))
    assert fine_lines(flat, 3.0, count=1) == 0  # type: ignore[arg-type]
    half = Scripted(lambda image: 15000 + 0.5 * image)
    assert fine_lines(half, 3.0, count=1) == pytest.approx(0.5, abs=1e-5)  # type: ignore[arg-type]
