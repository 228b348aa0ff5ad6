"""The noise estimator on simulated machines, whose true noise is known: pieces that few pixels clip in.

Expected: right in the median where noise is white or blurred by a screen, as its training had it (it never
saw these machines); low where noise is correlated along lines, since a texture looks like that too.

    python benchmarks/estimator.py [--count 80] [--out benchmarks/estimator.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from machine import machine

from longexposure.machines.machine import load_machine
from longexposure.machines.pairs import Pair, draw_pair
from longexposure.noise import estimate_noise

MACHINES = ("wide", "S1", "S2", "S3")
SIDE_PX, SEED, MOST_CLIPPED = 224, 77, 0.02


def errors(pair: Pair) -> tuple[float, float, float] | None:
    """ln(sigma estimated / true) at the true level, and the errors of both correlations; None if clipped."""
    full = 2**pair.setting.bits - 1
    if np.mean((pair.lq == 0) | (pair.lq == full)) > MOST_CLIPPED:
        return None
    found, true = estimate_noise(pair.lq), pair.noise
    ratio = np.log(np.sqrt(found.variance(true.level)) / true.sigma)
    return float(ratio), found.corr_x - true.corr_x, found.corr_y - true.corr_y


def measure(name: str, count: int) -> dict[str, float]:
    loaded = load_machine(name)
    pairs = (draw_pair(loaded, seed=SEED, index=k, size_px=(SIDE_PX, SIDE_PX)) for k in range(count))
    rows = np.array([row for pair in pairs if (row := errors(pair)) is not None])
    ratio = np.exp(rows[:, 0])
    return {
        "images": len(rows),
        "median": float(np.median(ratio)),
        "lowest tenth below": float(np.quantile(ratio, 0.1)),
        "highest tenth above": float(np.quantile(ratio, 0.9)),
        "within a factor of 1.5": float(np.mean(np.abs(rows[:, 0]) < np.log(1.5))),
        "mean error of corr_x": float(np.abs(rows[:, 1]).mean()),
        "mean error of corr_y": float(np.abs(rows[:, 2]).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = {
        "what": __doc__.split("\n")[0],
        "machine": machine(),
        "settings": {"count": arguments.count, "side_px": SIDE_PX, "seed": SEED},
        "machines": {name: measure(name, arguments.count) for name in MACHINES},
    }
    for name, row in result["machines"].items():
        print(name, row)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
