"""Small things that several test files work on: a radiograph, and training data simulated in moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DATA: dict[str, Any] = {
    "kind": "machines",
    "machines": {str(Path(__file__).with_suffix(".toml")): 1.0},
    "patch_px": 32,
    "scene_px": 48,
    "pool": 2,
    "reuse": 2,
    "defects": 0.0,
}
"""The [data] table of a recipe."""


def noisy(seed: int = 0, shape: tuple[int, ...] = (40, 48)) -> np.ndarray:
    """A square on even ground under noise, uint16."""
    scene = np.full(shape, 20000.0)
    scene[..., 8:24, 8:24] = 26000
    return np.random.default_rng(seed).normal(scene, 300).round().astype(np.uint16)


BALL_GRID = """
name = "small"
[image]
height = 48
width = 64
[tube]
tube_kv = 90
current_ua = 30
[geometry]
source_object_mm = 50
source_detector_mm = 600
[detector]
pitch_um = 200
[scenes]
bga = 1
"""
"""The recipe of a machine that counts quanta and nothing else; tests add tables at its end."""
SOMEWHERE = ("source_object_mm = 50", "source_object_mm = { uniform = [40, 60] }")
"""What makes the part lie elsewhere in every pair, to `replace`."""
