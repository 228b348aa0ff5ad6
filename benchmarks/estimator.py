"""The noise estimator on simulated machines, whose true noise is known: pieces that few pixels clip in.

The pieces are of the machines' test splits and of a seed that nothing about the estimator was chosen by.

- `machines`: estimated sigma over the true one at the level of the truth, and errors of the correlations.
- `loss in dB`: what that costs, PSNR of the default model told the true profile minus told the estimated
  one, against the noise-free image. Aim: a mean below 0.2 dB on every machine.

    python benchmarks/estimator.py [--count 80] [--out benchmarks/estimator.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from machine import machine

import longexposure
from longexposure import load_enhancer
from longexposure.enhancing import Enhancer
from longexposure.machines.machine import load_machine
from longexposure.machines.pairs import Pair, draw_pair
from longexposure.models.checkpoint import sha256_of
from longexposure.noise import NoiseProfile, estimate_noise

ESTIMATOR = Path(longexposure.__file__).parent / "noise" / "estimator.npz"
MACHINES = ("wide", "S1", "S2", "S3")
SIDE_PX, SEED, MOST_CLIPPED, AIM_DB = 224, 81, 0.02, 0.2


def clipped(pair: Pair) -> bool:
    """Whether more than a few pixels lie at either end of the scale."""
    full = 2**pair.setting.bits - 1
    return bool(np.mean((pair.lq == 0) | (pair.lq == full)) > MOST_CLIPPED)


def errors(pair: Pair) -> tuple[float, float, float] | None:
    """ln(sigma estimated / true) at the true level, and the errors of both correlations; None if clipped."""
    if clipped(pair):
        return None
    found, true = estimate_noise(pair.lq), pair.noise
    ratio = np.log(np.sqrt(found.variance(true.level)) / true.sigma)
    return float(ratio), found.corr_x - true.corr_x, found.corr_y - true.corr_y


def loss_db(pair: Pair, enhancer: Enhancer) -> float:
    """How much worse the enhanced image is for the noise having been estimated."""

    def square_error(noise: NoiseProfile) -> float:
        enhanced = enhancer.enhance(pair.lq, noise=noise).astype(np.float64)
        return float(np.mean((enhanced - pair.clean) ** 2))

    return float(10 * np.log10(square_error(estimate_noise(pair.lq)) / square_error(pair.noise)))


def summary(rows: np.ndarray) -> dict[str, float]:
    """Of rows of `errors`."""
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


def measure(name: str, count: int, enhancer: Enhancer) -> tuple[dict, dict]:
    """Errors and loss over those of `count` pieces that are not clipped."""
    loaded = load_machine(name)
    rows, losses = [], []
    for k in range(count):
        pair = draw_pair(loaded, seed=SEED, index=k, size_px=(SIDE_PX, SIDE_PX))
        if (row := errors(pair)) is not None:
            rows.append(row)
            losses.append(loss_db(pair, enhancer))
    loss = {
        "images": len(losses),
        "mean": float(np.mean(losses)),
        "median": float(np.median(losses)),
        "highest": float(np.max(losses)),
    }
    return summary(np.array(rows)), loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    enhancer = load_enhancer()
    found = {name: measure(name, arguments.count, enhancer) for name in MACHINES}
    result = {
        "what": __doc__.split("\n")[0],
        "machine": machine(),
        "settings": {
            "count": arguments.count,
            "side_px": SIDE_PX,
            "seed": SEED,
            "model": "fast",
            "estimator_sha256": sha256_of(ESTIMATOR),
            "loss aim, dB": AIM_DB,
        },
        "machines": {name: row for name, (row, _) in found.items()},
        "loss in dB": {name: loss for name, (_, loss) in found.items()},
    }
    for name, (row, loss) in found.items():
        print(name, row, loss)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
