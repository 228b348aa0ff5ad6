"""The noise estimator on simulated machines, whose true noise is known: pieces that few pixels clip in.

The pieces are of the machines' test splits and of a seed that nothing about the estimator was chosen by.

- `machines`: estimated sigma over the true one at the level of the truth, and errors of the correlations.
- `loss in dB`: what that costs, PSNR of the default model with the true profile minus with the estimated
  one, against the noise-free image. Aim: a mean below 0.2 dB on every machine.

    python benchmarks/estimator.py [--count 80] [--out benchmarks/estimator.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from quality import CASES, RADIOGRAPHS, examples, halves
from scipy import ndimage
from skimage import data
from skimage.transform import downscale_local_mean

import longexposure
from longexposure import load_enhancer, read_radiograph
from longexposure.enhance.enhancer import Enhancer
from longexposure.models.checkpoint import sha256_of
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.simulation.exposure import SimulatedPair, draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

ESTIMATOR = Path(longexposure.__file__).parent / "noise" / "estimator.npz"
MACHINES = ("wide", "S1", "S2", "S3")
SIDE_PX, SEED, MOST_CLIPPED, AIM_DB = 224, 81, 0.02, 0.2
QUANTA = ("100 quanta, white", "100 quanta, blurred by the screen", "3000 quanta, blurred by the screen")
QUANTA_SEED, QUANTA_PX = 91_500, 192
PHOTOGRAPHS, SIGMAS = ("grass", "gravel", "camera"), (0.01, 0.02, 0.05, 0.1)
CLOUDS_PX, CLOUDS, CLOUDS_SIGMA = (1.0, 1.5, 2.0, 3.0), 4, 0.05


def clipped(pair: SimulatedPair) -> bool:
    """Whether more than a few pixels lie at either end of the scale."""
    full = 2**pair.parameters.bits - 1
    return bool(np.mean((pair.lq == 0) | (pair.lq == full)) > MOST_CLIPPED)


def errors(pair: SimulatedPair) -> tuple[float, float, float] | None:
    """ln(sigma estimated / true) at the true level, and the errors of both correlations; None if clipped."""
    if clipped(pair):
        return None
    found, true = estimate_noise(pair.lq), pair.noise
    ratio = np.log(np.sqrt(found.variance(true.level)) / true.sigma)
    return float(ratio), found.corr_x - true.corr_x, found.corr_y - true.corr_y


def loss_db(pair: SimulatedPair, enhancer: Enhancer) -> float:
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


def ratio(image: np.ndarray, noise: NoiseProfile) -> float:
    """Sigma as estimated over the true one, at the level of the truth."""
    return float(np.sqrt(estimate_noise(image).variance(noise.level)) / noise.sigma)


def quanta(name: str, count: int) -> list[float]:
    """Ratios on scenes of a case of quality.py."""
    drawn = examples(CASES[name], count=count, size=QUANTA_PX, seed=QUANTA_SEED)
    return [ratio(example.lq, example.noise) for example in drawn]


def photograph(name: str) -> list[float]:
    """Ratios where noise of each of `SIGMAS` is added to every 2 x 2 pixels of a photograph as one."""
    fine = downscale_local_mean(getattr(data, name)().astype(float), (2, 2))
    low, high = np.percentile(fine, (1, 99))
    scene = (fine - low) / (high - low)
    noise = np.random.default_rng(0).standard_normal(scene.shape)
    return [ratio((scene + s * noise).astype(np.float32), NoiseProfile(level=0.5, sigma=s)) for s in SIGMAS]


def clouds(width_px: float) -> list[float]:
    """Ratios where white noise lies on a smooth random field that is twice as strong."""
    found = []
    for seed in range(CLOUDS):
        random = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(random.standard_normal((256, 256)), width_px)
        image = 0.5 + CLOUDS_SIGMA * (2 * field / field.std() + random.standard_normal(field.shape))
        found.append(ratio(image.astype(np.float32), NoiseProfile(level=0.5, sigma=CLOUDS_SIGMA)))
    return found


def views() -> list[float]:
    """Ratios on the real radiographs with added noise, to what was found in them and what was added."""
    pairs = [
        halves(read_radiograph(v).pixels, seed) for seed, v in enumerate(sorted(RADIOGRAPHS.glob("*.tif")))
    ]
    return [ratio(pair.lq, pair.noise) for pair in pairs]


def elsewhere(count: int) -> dict[str, dict[str, float]]:
    found = {name: quanta(name, count) for name in QUANTA}
    found |= {f"{name}, noise of {SIGMAS[0]} to {SIGMAS[-1]}": photograph(name) for name in PHOTOGRAPHS}
    found |= {f"clouds of {width:g} px, twice as strong": clouds(width) for width in CLOUDS_PX}
    found["real radiographs, noise added"] = views()
    return {
        name: {
            "images": len(ratios),
            "lowest": min(ratios),
            "median": float(np.median(ratios)),
            "highest": max(ratios),
            "below 0.7": sum(each < 0.7 for each in ratios),
        }
        for name, ratios in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    enhancer = load_enhancer()
    found = {name: measure(name, arguments.count, enhancer) for name in MACHINES}
    result: dict[str, Any] = {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
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
    result["elsewhere"] = elsewhere(max(1, arguments.count // 2))
    for name, row in result["elsewhere"].items():
        print(name, row)
    for name, (row, loss) in found.items():
        print(name, row, loss)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
