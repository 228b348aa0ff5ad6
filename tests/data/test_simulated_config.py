"""Ranges of the simulated data that make no sense are refused before anything is drawn."""

from __future__ import annotations

from typing import Any

import pytest

from longexposure.data.simulated import SimulatedConfig
from longexposure.errors import RecipeError


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sigma": (0.0, 0.1)}, "data.sigma"),
        ({"sigma": (0.2, 0.1)}, "data.sigma"),
        ({"sigma": (-0.1, 0.1)}, "data.sigma"),
        ({"blur_px": (0.5, float("inf"))}, "data.blur_px"),
        ({"patch_px": 128, "scene_px": 64}, "data.patch_px"),
    ],
)
def test_a_range_that_is_none_is_refused_with_its_key(values: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError, match=key):
        SimulatedConfig(**values)
