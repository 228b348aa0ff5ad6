"""Speed of the default model on this machine: seconds per megapixel, and ratios within this run.

The network alone and the whole enhance path (measuring noise, finding faulty pixels, tiles, rounding), in f32
and bf16, beside a plain stack of convolutions (what this machine can do at most), the classical filters and
the paper's framework with random weights; and `longexposure enhance` of one 1900 x 1900 TIFF as a process.
Each figure is the median of several runs; machines are noisy, so read the ratios.

    python benchmarks/speed.py [--short] [--out benchmarks/speed.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine

from longexposure import load_enhancer, write_radiograph
from longexposure.machines.machine import load_machine
from longexposure.machines.pairs import draw_pair
from longexposure.models.framework import Framework, FrameworkConfig
from longexposure.radiograph import Radiograph

CHANNELS, DEPTH = 64, 20


def median_s(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def convolution_rate(*, half: bool, runs: int) -> float:
    """GFLOP/s of 20 plain 3x3 convolutions, 64 channels, 256 x 256, channels_last."""
    layers = [torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(DEPTH)]
    stack = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last).eval()
    image = torch.rand(1, CHANNELS, 256, 256).contiguous(memory_format=torch.channels_last)

    def work() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            stack(image)

    return DEPTH * 2 * 9 * CHANNELS**2 * 256**2 / median_s(work, runs) / 1e9


def operations_per_px(network: torch.nn.Module, side: int = 64) -> float:
    """Floating-point operations of the convolutions for one pixel of input."""
    total = 0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * module.weight.numel() * output.shape[-1] * output.shape[-2]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    with torch.inference_mode():
        network(torch.rand(1, 1, side, side), torch.full((1, 5), 0.05))
    for hook in hooks:
        hook.remove()
    return total / side**2


def short_exposure(side: int) -> np.ndarray:
    """What there is to enhance: a short exposure of the machine `wide`, uint16."""
    machine = load_machine("wide", [f"image.height={side}", f"image.width={side}"])
    return draw_pair(machine, seed=1, index=0).lq


def whole_process_s(image: np.ndarray, runs: int) -> float:
    """`longexposure enhance` of one uint16 TIFF, start of the process included."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_radiograph(Radiograph(image), Path(folder) / "in.tif")
        command = [sys.executable, "-m", "longexposure", "enhance", str(source), "--overwrite"]
        command += ["--out", str(Path(folder) / "out")]
        return median_s(lambda: subprocess.run(command, check=True, capture_output=True), runs)


def run(*, short: bool) -> dict[str, Any]:
    side, runs = (1024, 2) if short else (1900, 5)
    megapixels = side * side / 1e6
    image = short_exposure(side)
    figures: dict[str, Any] = {}
    for precision in ("f32", "bf16"):
        enhancer = load_enhancer(engine="torch", precision=precision)
        network = enhancer.engine._network
        unit, told = (
            np.random.default_rng(0).random((1, side, side), np.float32),
            np.full(5, 0.05, np.float32),
        )
        seconds = median_s(lambda e=enhancer, u=unit, n=told: e.engine.run(u, n), runs) / megapixels
        rate = convolution_rate(half=precision == "bf16", runs=runs)
        achieved = operations_per_px(network) / seconds * 1e6 / 1e9
        figures[f"fast, network, {precision}"] = {
            "s_per_mpx": seconds,
            "gflops": achieved,
            "share_of_plain_convolutions": achieved / rate,
        }
        figures[f"fast, enhance, {precision}"] = {
            "s_per_mpx": median_s(lambda e=enhancer: e.enhance(image), runs) / megapixels
        }
        figures[f"plain convolutions, {precision}"] = {"gflops": rate}
    crop = image[:512, :512]
    for name in ("gaussian", "nlm"):
        classical = load_enhancer(name)
        seconds = median_s(lambda e=classical: e.enhance(crop), runs) / (crop.size / 1e6)
        figures[f"{name}, enhance"] = {"s_per_mpx": seconds}
    paper = Framework(FrameworkConfig()).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    patch = torch.rand(1, 1, 256, 256).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = median_s(lambda: paper(patch), 1 if short else 3) / (patch.numel() / 1e6)
    figures["paper's framework, network, f32"] = {"s_per_mpx": seconds}
    figures[f"`longexposure enhance` of one {side} x {side} TIFF, whole process"] = {
        "seconds": whole_process_s(image, runs)
    }
    fast = figures["fast, network, f32"]["s_per_mpx"]
    return {
        "what": __doc__.split("\n")[0],
        "machine": machine() | {"torch_threads": torch.get_num_threads()},
        "settings": {"side_px": side, "runs": runs, "short": short},
        "figures": figures,
        "ratios": {"paper's framework to fast, network, f32": seconds / fast},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="smaller image, fewer runs, prints only")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    result = run(short=arguments.short)
    for name, figure in result["figures"].items():
        print(f"{name:70}", ", ".join(f"{key} {value:.3g}" for key, value in figure.items()))
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
