"""Noise2Noise: the simulated pairs against their condition, and the verdict on noisy targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from miniature import spread

from longexposure.study import noise2noise
from longexposure.study.scores import Spread

pytestmark = pytest.mark.usefixtures("one_thread")


def test_noisy_targets_are_independent_unless_the_condition_breaks_it(everything: Path) -> None:
    """The pairs that were simulated, against what their condition says."""
    found = {}
    for name in noise2noise.CONDITIONS:
        (folder,) = (everything / "stand-ins").glob(f"{name.replace(' ', '-')}-*/S1/train")
        errors = []
        for index in range(2):
            lq, hq, clean = (
                tifffile.imread(folder / part / f"{index:05}.tif").astype(float)
                for part in ("LQ", "HQ", "clean")
            )
            errors.append((lq - clean, hq - clean, lq))
        noisy, target, lq = (np.concatenate([one[k].ravel() for one in errors]) for k in range(3))
        found[name] = {
            "bias": abs(noisy.mean()) / noisy.std(),
            "correlation": float(np.corrcoef(noisy, target)[0, 1]),
            "ratio": target.std() / noisy.std(),
            "clipped": float((lq >= 65535).mean()),
        }
    assert found["independent"]["bias"] < 0.1
    assert abs(found["independent"]["correlation"]) < 0.06
    assert found["independent"]["ratio"] == pytest.approx(1, abs=0.05)
    assert found["independent"]["clipped"] == 0
    assert found["shared exposure"]["correlation"] > 0.3
    assert found["fixed pattern"]["correlation"] > found["independent"]["correlation"] + 0.05
    assert found["clipping"]["clipped"] > 0.05
    assert found["drift"]["bias"] > 0.3


def test_noise2noise_says_plainly_where_noisy_targets_do_not_suffice() -> None:
    def scored(noisy: float) -> dict[str, dict[str, Spread]]:
        metrics = {"noisy": noisy, "clean": 30.0, "LQ": 20.0}
        return {
            label: {"psnr": spread(value), "ssim": spread(0.5), "bias": spread(0.0)}
            for label, value in metrics.items()
        }

    near, far = noise2noise.statements({"a": scored(29.8), "b": scored(29.6)})
    assert "-0.20 dB against clean ones, within 0.3 dB" in near
    assert "-0.40 dB against clean ones, NOT within 0.3 dB" in far
