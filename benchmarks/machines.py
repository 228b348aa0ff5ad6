"""The machines that ship, held against what the paper tells of its three: rows LQ against HQ over 200 test images.

Expected: S1 31.69 dB / 0.7046, S2 28.13 / 0.6707, S3 20.32 / 0.1666 within 0.3 dB and 0.02 (the paper's
table I, LQ row), and the noise-free image against HQ above the paper's best rows (37.20, 33.97, 34.68 dB;
0.9324, 0.8662, 0.8851), since no network can reach what the long exposure's own noise forbids. PSNR and SSIM
(Gaussian, 11 px, sigma 1.5) with the file's full scale as data range, whole images, mean over images; the
ceiling on each seed too, and how far images of one machine are from each other.

    python benchmarks/machines.py [--count 40] [--seeds 5] [--machines S1 S2 S3] [--out benchmarks/machines.json]
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from longexposure.metrics import psnr, ssim
from longexposure.simulation.exposure import SimulatedPair, draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

PAPER = {
    "S1": {"LQ": (31.69, 0.7046), "best": (37.20, 0.9324)},
    "S2": {"LQ": (28.13, 0.6707), "best": (33.97, 0.8662)},
    "S3": {"LQ": (20.32, 0.1666), "best": (34.68, 0.8851)},
}
TOLERANCE = (0.3, 0.02)
MEASURES = ("psnr", "ssim")
ROWS = ("LQ", "clean", "LQ against clean")


def scores(pair: SimulatedPair) -> dict[str, object]:
    """One image: LQ and clean against HQ, and against each other."""
    full = 2.0**pair.parameters.bits - 1
    lq, hq, clean = (image.astype(np.float64) for image in (pair.lq, pair.hq, pair.clean))
    return {
        "scene": pair.scene.kind,
        "LQ": (psnr(lq, hq, data_range=full), ssim(lq, hq, data_range=full)),
        "clean": (psnr(clean, hq, data_range=full), ssim(clean, hq, data_range=full)),
        "LQ against clean": (psnr(lq, clean, data_range=full), ssim(lq, clean, data_range=full)),
        "HQ - LQ": float((hq - lq).mean() * 255 / full),
    }


def measure(task: tuple[str, int, int]) -> dict[str, object]:
    name, seed, index = task
    found = scores(draw_pair(load_machine(name), seed=seed, index=index, split="test"))
    return {"seed": seed, "index": index, **found}


def row(images: list[dict[str, object]], key: str) -> dict[str, float]:
    """Means, and the standard deviation from image to image."""
    values = np.array([image[key] for image in images])
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    return {
        "psnr": float(mean[0]),
        "ssim": float(mean[1]),
        "psnr, spread": float(spread[0]),
        "ssim, spread": float(spread[1]),
    }


def judged(name: str, images: list[dict[str, object]]) -> dict[str, object]:
    """A machine's rows beside the paper's."""
    paper = PAPER[name]
    rows = {key: row(images, key) for key in ROWS}
    seeds = sorted({image["seed"] for image in images})
    by_seed = {
        str(seed): {key: row([image for image in images if image["seed"] == seed], key) for key in ROWS}
        for seed in seeds
    }
    off = [rows["LQ"][m] - want for m, want in zip(MEASURES, paper["LQ"], strict=True)]
    return {
        "rows": rows,
        "by seed": by_seed,
        "paper": {key: dict(zip(MEASURES, value, strict=True)) for key, value in paper.items()},
        "LQ within tolerance": all(abs(o) <= t for o, t in zip(off, TOLERANCE, strict=True)),
        "clean above the paper's best": all(
            each["clean"][m] > best
            for each in by_seed.values()
            for m, best in zip(MEASURES, paper["best"], strict=True)
        ),
        "images": images,
    }


def run(*, count: int, seeds: int, names: list[str], workers: int) -> dict[str, object]:
    found = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for name in names:
            tasks = [(name, seed, index) for seed in range(seeds) for index in range(count)]
            found[name] = judged(name, list(pool.map(measure, tasks)))
            print(name, {k: v for k, v in found[name].items() if k not in ("images", "by seed")}, flush=True)
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {
            "count": count,
            "seeds": seeds,
            "tolerance": dict(zip(MEASURES, TOLERANCE, strict=True)),
        },
        "machines": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=40, help="images of each seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--machines", nargs="+", choices=list(PAPER), default=list(PAPER))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = run(
        count=arguments.count,
        seeds=arguments.seeds,
        names=arguments.machines,
        workers=arguments.workers,
    )
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
