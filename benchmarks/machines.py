"""The machines that ship, held against what the paper tells of its three: rows LQ against HQ over 40 test images.

Expected: S1 31.69 dB / 0.7046, S2 28.13 / 0.6707, S3 20.32 / 0.1666 within 0.3 dB and 0.02 (the paper's
table I, LQ row), and the noise-free image against HQ above the paper's best rows (37.20, 33.97, 34.68 dB;
0.9324, 0.8662, 0.8851), since no network can reach what the long exposure's own noise forbids. PSNR and SSIM
(Gaussian, 11 px, sigma 1.5) with the file's full scale as data range, whole images, mean over images.

    python benchmarks/machines.py [--count 40] [--seed 0] [--out benchmarks/machines.json]
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
    return scores(draw_pair(load_machine(name), seed=seed, index=index, split="test"))


def row(images: list[dict[str, object]], key: str) -> dict[str, float]:
    values = np.array([image[key] for image in images])
    return {"psnr": float(values[:, 0].mean()), "ssim": float(values[:, 1].mean())}


def run(*, count: int, seed: int) -> dict[str, object]:
    found = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name, paper in PAPER.items():
            images = list(pool.map(measure, [(name, seed, index) for index in range(count)]))
            rows = {key: row(images, key) for key in ("LQ", "clean", "LQ against clean")}
            off = [rows["LQ"][m] - want for m, want in zip(("psnr", "ssim"), paper["LQ"], strict=True)]
            found[name] = {
                "rows": rows,
                "paper": {
                    key: dict(zip(("psnr", "ssim"), value, strict=True)) for key, value in paper.items()
                },
                "LQ within tolerance": all(abs(o) <= t for o, t in zip(off, TOLERANCE, strict=True)),
                "clean above the paper's best": all(
                    rows["clean"][m] > best for m, best in zip(("psnr", "ssim"), paper["best"], strict=True)
                ),
                "images": images,
            }
            print(name, {k: v for k, v in found[name].items() if k != "images"}, flush=True)
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"count": count, "seed": seed, "tolerance": {"psnr": 0.3, "ssim": 0.02}},
        "machines": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = run(count=arguments.count, seed=arguments.seed)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
