"""What the guard finds, and what it flags where there is nothing to find.

- `found`: shapes at several contrasts to the noise, erased from or invented in a noise-free enhanced image under three
  kinds of noise (Poisson-like and white, white, correlated along lines with 0.5 at 1 px): the share that is flagged within
  8 px, beside the bound of an observer who knows shape, place and noise and asks for the same threshold.
- `false`: flags a megapixel where what was taken away is nothing but noise, and where the default enhanced simulated
  exposures that it was not trained on, whose own losses count as false here.
- `examples`: flags of the example radiographs under the default.
- `cost`: seconds a megapixel of the guard, and of enhancing without it, by turns; peak memory of both as processes.

    python benchmarks/guard.py [--short] [--out benchmarks/guard.json]
    python benchmarks/guard.py --only-cost    # on a quiet host: the rest of the file stays, the cost says its own commit
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, stats

from longexposure import load_enhancer, read_radiograph, write_radiograph
from longexposure.enhance.bad_pixels import BadPixels
from longexposure.enhance.guard import THRESHOLD, flags_of
from longexposure.enhance.statistics import ImageStatistics, examine
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "radiographs"
LEVEL, SIGMA, SIDE_PX, NEAR_PX = 20000.0, 300.0, 1024, 8
CNRS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
KINDS = ("white", "with the signal", "along lines")
BESIDE = np.array([0.268, 1.0, 0.268]) / np.linalg.norm([0.268, 1.0, 0.268])
"""Of what neighbours along a line share: a correlation of 0.5 at 1 px."""


def shapes() -> dict[str, np.ndarray]:
    """Defects as a detector sees them, (17, 17), 1 where they are whole."""
    y, x = (each / 4 for each in np.mgrid[-34:34, -34:34])
    drawn = {f"void, {size} px": x**2 + y**2 < size**2 / 4 for size in (3, 4, 6, 8)}
    drawn |= {
        f"gap or bridge, {size} px in a line of 4 px": (abs(x) < size / 2) & (abs(y) < 2) for size in (2, 3)
    }
    for angle in (0, 30, 45, 60, 90, 135):
        turn = np.deg2rad(angle)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        drawn[f"stroke of 1.5 x 12 px, {angle} degrees"] = (abs(along) < 6) & (abs(across) < 0.75)
    return {name: each.reshape(17, 4, 17, 4).mean((1, 3)) for name, each in drawn.items()}


def noisy(kind: str, clean: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, NoiseProfile]:
    """An image under one kind of noise, and that noise."""
    noise, told = random.normal(size=clean.shape), NoiseProfile(level=LEVEL, sigma=SIGMA)
    if kind == "with the signal":
        told = replace(told, slope=SIGMA**2 / LEVEL)
    if kind == "along lines":
        told = replace(told, corr_x=0.5)
        noise = ndimage.convolve1d(noise, BESIDE, axis=1)
    return clean + noise * np.sqrt(told.variance(clean)), told


def ideal(kind: str, shape: np.ndarray) -> float:
    """Signal to noise of the ideal observer of a shape that is as high as the noise is."""
    padded = np.pad(shape, 64)
    transfer = np.ones(padded.shape)
    if kind == "along lines":
        kernel = np.zeros(padded.shape)
        kernel[0, [-1, 0, 1]] = BESIDE
        transfer = np.abs(np.fft.fft2(kernel)) ** 2
    return float(np.sqrt((np.abs(np.fft.fft2(padded)) ** 2 / transfer).sum() / padded.size))


def statistics_of(page: np.ndarray, told: NoiseProfile) -> ImageStatistics:
    """Of an image whose noise is known, and which has no faulty pixels."""
    nowhere = np.zeros(0, np.intp)
    faultless = BadPixels(nowhere, nowhere, np.zeros(0, np.float32), np.zeros(0, np.uint8), ())
    return replace(examine(page, told), bad_pixels=faultless)


def found(kind: str, shape: np.ndarray, cnr: float, random: np.random.Generator) -> float:
    """Share of erasures and inventions that are flagged."""
    clean = np.full((SIDE_PX, SIDE_PX), LEVEL) + 4 * np.arange(SIDE_PX)
    _, told = noisy(kind, clean, random)
    added = np.zeros_like(clean)
    places = [(y, x) for y in range(30, SIDE_PX - 30, 60) for x in range(30, SIDE_PX - 30, 60)]
    for number, (y, x) in enumerate(places):
        sign = 1 if number % 2 else -1
        added[y - 8 : y + 9, x - 8 : x + 9] = sign * cnr * np.sqrt(told.variance(clean[y, x])) * shape
    hits = 0
    for in_data, in_enhanced in ((added, 0), (0, added)):
        page = np.rint(noisy(kind, clean + in_data, random)[0]).clip(0, 65535).astype(np.uint16)
        enhanced = np.rint(clean + in_enhanced).astype(np.uint16)
        flags = flags_of(page, enhanced, statistics_of(page, told))
        for y, x in places:
            hits += any(
                flag.y - NEAR_PX <= y < flag.y + flag.height + NEAR_PX
                and flag.x - NEAR_PX <= x < flag.x + flag.width + NEAR_PX
                for flag in flags
            )
    return hits / (2 * len(places))


def false_of_noise(kind: str, images: int) -> float:
    """Flags a megapixel of noise alone."""
    random, count = np.random.default_rng(7), 0
    clean = np.full((SIDE_PX, SIDE_PX), LEVEL) + 4 * np.arange(SIDE_PX)
    for _ in range(images):
        page, told = noisy(kind, clean, random)
        page = np.rint(page).clip(0, 65535).astype(np.uint16)
        count += len(flags_of(page, clean.astype(np.uint16), statistics_of(page, told)))
    return count / (images * SIDE_PX**2 / 1e6)


def false_of_machine(name: str, images: int) -> dict[str, float]:
    """Flags a megapixel of simulated exposures that the default enhanced."""
    machine = load_machine(name, ["image.height=512", "image.width=512"])
    enhancer, counts = load_enhancer(), []
    for index in range(images):
        page = draw_pair(machine, seed=9100, index=index).lq
        _, [seen] = enhancer.enhance_pages(page, guard=True)
        counts.append(len(seen.flags or ()))
    megapixels = 512**2 / 1e6
    return {"mean": statistics.mean(counts) / megapixels, "images without": counts.count(0) / images}


def examples() -> dict[str, int]:
    """Flags of each example radiograph."""
    enhancer, told = load_enhancer(), {}
    for path in sorted(EXAMPLES.glob("*.tif")):
        _, [seen] = enhancer.enhance_pages(read_radiograph(path).pixels, guard=True)
        told[path.stem] = len(seen.flags or ())
    return told


def cost(side: int, runs: int) -> dict[str, Any]:
    """Seconds a megapixel, and peaks of memory."""
    machine = load_machine("wide", [f"image.height={side}", f"image.width={side}"])
    page = draw_pair(machine, seed=1, index=0).lq
    enhancer = load_enhancer()
    seconds: dict[str, list[float]] = {"enhance": [], "guard": []}
    for _ in range(runs + 1):
        began = time.perf_counter()
        enhanced, [seen] = enhancer.enhance_pages(page)
        middle = time.perf_counter()
        flags_of(page, enhanced, seen)
        seconds["enhance"].append(middle - began)
        seconds["guard"].append(time.perf_counter() - middle)
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    figures = {f"{name}, s/Mpx": each / (page.size / 1e6) for name, each in medians.items()}
    with tempfile.TemporaryDirectory() as folder:
        source = write_radiograph(Radiograph(page), Path(folder) / "frame.tif")
        for name, options in {"enhance": [], "with guard": ["--guard"]}.items():
            command = [
                sys.executable,
                "-m",
                "longexposure",
                "enhance",
                str(source),
                "--out",
                f"{folder}/{name}",
                *options,
            ]
            script = (
                "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
            )
            told = subprocess.run(
                [sys.executable, "-c", script, *command], check=True, capture_output=True, text=True
            )
            figures[f"{name}, peak MiB"] = float(told.stdout)
    ratio = medians["guard"] / medians["enhance"]
    return {**figures, "guard to enhance": ratio, "side_px": side, "commit": host_facts()["commit"]}


def run(*, short: bool) -> dict[str, Any]:
    random = np.random.default_rng(3)
    rows = {}
    for kind in KINDS:
        rows[kind] = {
            name: {
                f"{cnr:g}": {
                    "found": found(kind, shape, cnr, random),
                    "ideal observer": float(stats.norm.cdf(cnr * ideal(kind, shape) - THRESHOLD)),
                }
                for cnr in ((3.0,) if short else CNRS)
            }
            for name, shape in shapes().items()
        }
        print(kind, json.dumps({name: row["3"] for name, row in rows[kind].items()}), flush=True)
    images = 2 if short else 16
    false = {
        "noise alone": {kind: false_of_noise(kind, images) for kind in KINDS},
        "the default": {name: false_of_machine(name, images) for name in ("wide", "S1", "S2", "S3")},
    }
    print(json.dumps(false), flush=True)
    result = {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {
            "threshold": THRESHOLD,
            "weights_sha256": load_enhancer().weights_sha256,
            "short": short,
        },
        "found": rows,
        "false": false,
        "examples": examples(),
        "cost": cost(512 if short else 1900, 2 if short else 7),
    }
    print(json.dumps({name: result[name] for name in ("examples", "cost")}), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--short", action="store_true", help="one contrast, fewer and smaller images; prints only"
    )
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--only-cost", action="store_true", help="measure the cost alone")
    arguments = parser.parse_args()
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if arguments.only_cost and target is not None:
        result = json.loads(target.read_text()) | {"cost": cost(1900, 7)}
    else:
        result = run(short=arguments.short)
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
