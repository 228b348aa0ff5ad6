"""Quality on simulated pairs whose truth is known: the default model against what an engineer has at hand.

For each machine and dose, the same short exposures go through: the default model, blind (it measures the
noise itself) and told the true profile; the best Gaussian, whose width is chosen for each case by looking
at the truth; the best non-local means, told the true noise, whose strength is chosen by looking at the
truth too. The comparison leans towards the classical filters on purpose. The 90 s exposure is scored beside
them: it is what the enhanced 5 s image competes with. PSNR and SSIM are against the noise-free image, data
range from the dark level to the open beam, means over the scenes.

    python benchmarks/quality.py [--scenes 8] [--size 320] [--model fast] [--out benchmarks/quality.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

from longexposure import load_enhancer
from longexposure.enhancing import Enhancer
from longexposure.metrics import psnr, ssim
from longexposure.models.classical import Gaussian, Identity, NonLocalMeans
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.physics.detector import Detector
from longexposure.simulating import Pair, simulate_pair

WHITE = Detector(quanta_per_s=1.0, gain=1.0, offset=1000.0, pattern=0.003, hot=1e-4)
OPEN_BEAM = 45000.0
WIDTHS_PX = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.3)


def panel(quanta: float, **changes: float) -> Detector:
    """A 16-bit panel that records this many quanta a pixel in 5 s of open beam."""
    return replace(WHITE, quanta_per_s=quanta / 5.0, gain=OPEN_BEAM / quanta, **changes)


CASES: dict[str, Detector] = {
    "20 quanta, white": panel(20),
    "100 quanta, white": panel(100),
    "500 quanta, white": panel(500),
    "3000 quanta, white": panel(3000),
    "30000 quanta, white": panel(30000),
    "100 quanta, read noise": panel(100, read_noise=4500.0),
    "100 quanta, blurred by the screen": panel(100, colour=0.7),
    "3000 quanta, blurred by the screen": panel(3000, colour=0.7),
    "8 bit, 300 quanta": Detector(quanta_per_s=60.0, gain=0.7, offset=12.0, read_noise=2.0, bits=8),
    "mean near 90 counts": Detector(quanta_per_s=80.0, gain=0.33, offset=2.0, read_noise=2.5, hot=4e-4),
}

Method = Callable[[Pair], np.ndarray]


def score(pairs: list[Pair], method: Method, *, data_range: float) -> dict[str, float]:
    results = [method(pair).astype(np.float64) for pair in pairs]
    truths = [pair.clean.pixels.astype(np.float64) for pair in pairs]
    return {
        "psnr": float(
            np.mean([psnr(a, b, data_range=data_range) for a, b in zip(results, truths, strict=True)])
        ),
        "ssim": float(
            np.mean([ssim(a, b, data_range=data_range) for a, b in zip(results, truths, strict=True)])
        ),
    }


def best(pairs: list[Pair], candidates: dict[float, Method], *, data_range: float) -> dict[str, float]:
    """The candidate of highest PSNR, and the highest SSIM of any: both chosen by looking at the truth."""
    scores = {key: score(pairs, method, data_range=data_range) for key, method in candidates.items()}
    top = max(scores, key=lambda key: scores[key]["psnr"])
    return {"setting": top, "psnr": scores[top]["psnr"], "ssim": max(s["ssim"] for s in scores.values())}


def filtered(engine: Gaussian | NonLocalMeans) -> Method:
    enhancer = Enhancer(engine, name="filter")
    return lambda pair: enhancer.enhance(pair.lq.pixels, noise=pair.noise)


def repaired(pixels: np.ndarray) -> np.ndarray:
    """Hot pixels replaced, nothing else: every method gets this, so the exposures do too."""
    return Enhancer(Identity(), name="identity").enhance(pixels)


def estimate_error(pair: Pair) -> float:
    found: NoiseProfile = estimate_noise(pair.lq.pixels)
    return float(np.log(np.sqrt(found.variance(pair.noise.level)) / pair.noise.sigma))


def run(*, scenes: int, size: int, model: str) -> dict[str, object]:
    enhancer = load_enhancer(model)
    cases = {}
    for number, (name, detector) in enumerate(CASES.items()):
        pairs = [
            simulate_pair(
                detector, seed=50_000 + k, size_px=(size, size), blur_px=(0.5, 0.7, 0.9, 1.2)[k % 4]
            )
            for k in range(scenes)
        ]
        full = detector.gain * detector.quanta_per_s * detector.reference_s
        gaussians: dict[float, Method] = {w: filtered(Gaussian(sigma_px=w)) for w in WIDTHS_PX}
        means: dict[float, Method] = {s: filtered(NonLocalMeans(strength=s)) for s in STRENGTHS}
        rows = {
            "5 s": score(pairs, lambda pair: repaired(pair.lq.pixels), data_range=full),
            "best Gaussian": best(pairs, gaussians, data_range=full),
            "best non-local means, told the noise": best(pairs, means, data_range=full),
            f"{model}, blind": score(pairs, lambda p: enhancer.enhance(p.lq.pixels), data_range=full),
            f"{model}, told the noise": score(
                pairs, lambda p: enhancer.enhance(p.lq.pixels, noise=p.noise), data_range=full
            ),
            "90 s": score(pairs, lambda pair: repaired(pair.hq.pixels), data_range=full),
        }
        errors = [estimate_error(pair) for pair in pairs]
        cases[name] = {
            "methods": rows,
            "ln sigma estimated / true": {"median": float(np.median(errors)), "worst": max(errors, key=abs)},
        }
        print(
            number, name, {k: (round(v["psnr"], 2), round(v["ssim"], 4)) for k, v in rows.items()}, flush=True
        )
    return {
        "what": __doc__.split("\n")[0],
        "machine": machine(),
        "settings": {"scenes": scenes, "size_px": size, "model": model, **enhancer.describe()},
        "cases": cases,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = run(scenes=arguments.scenes, size=arguments.size, model=arguments.model)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
