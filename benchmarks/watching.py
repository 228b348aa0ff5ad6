"""The hot folder on this host: latency, throughput and memory, as ratios to enhancing alone.

- `latency`: files of two sizes arrive one by one at a running `longexposure watch`. From a file being whole to its
  enhanced file being there and entered, beside reading, enhancing and writing the same file with a model that is
  loaded, by turns; and beside the network alone on these pixels.
- `throughput`: a folder of small files: `watch --once` and `enhance` as whole commands, by turns.
- `memory`: a day of arrivals, one after the other as fast as they are done; resident memory, open files and threads of
  the process at the quarters. As a station would, originals are cleared away after a while.

    python benchmarks/watching.py [--short] [--out benchmarks/watching.json]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from longexposure import load_enhancer, write_radiograph
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.files import enhance_files
from longexposure.radiograph import Radiograph
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

SIDES_PX = (256, 1900)
DAY = 2880
"""Arrivals of a day, one every 30 s."""
KEPT = 100
"""So many originals lie in the folder at a time."""
MODULE = (sys.executable, "-m", "longexposure")


def scene(side: int) -> np.ndarray:
    """A simulated exposure of that size."""
    machine = load_machine("wide", [f"image.height={side}", f"image.width={side}"])
    pixels: np.ndarray = draw_pair(machine, seed=1, index=0).lq
    return pixels


@contextmanager
def watcher(source: Path, out: Path, *, settle_s: float) -> Iterator[psutil.Process]:
    """A running `longexposure watch` with the default model."""
    command = [*MODULE, "watch", str(source), "--out", str(out), "--settle", str(settle_s), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def arrive(source: Path, name: str, pixels: np.ndarray) -> Path:
    """Put a file into place as copying programs do: written under another name, then renamed."""
    beside = write_radiograph(Radiograph(pixels), source.parent / name)
    return beside.rename(source / name)


def entered(out: Path, name: str) -> tuple[float, float]:
    """When a file was found whole and when its enhanced one was entered; waits for it."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if (out / name).exists():
            with closing(sqlite3.connect(out / "ledger.sqlite")) as ledger:
                row = ledger.execute(
                    "SELECT arrived_at, ended_at FROM jobs WHERE target = ? AND state = 'done'",
                    (str(out / name),),
                ).fetchone()
            if row is not None:
                return row
        time.sleep(0.002)
    raise TimeoutError(name)


def network_s(enhancer: Enhancer, pixels: np.ndarray) -> float:
    """Seconds of the network alone, in tiles of at most 1024 px."""
    condition = np.full(5, 0.05, np.float32)
    began = 0.0
    for _ in range(2):  # the first of a size compiles
        began = time.perf_counter()
        for top in range(0, pixels.shape[0], 1024):
            for left in range(0, pixels.shape[1], 1024):
                tile = pixels[top : top + 1024, left : left + 1024].astype(np.float32) / 65535
                enhancer.engine.run(tile[None], condition)
    return time.perf_counter() - began


def latency(work: Path, *, side: int, files: int) -> dict[str, float]:
    """Medians over files, each beside the same work without a hot folder right after it."""
    pixels = scene(side)
    enhancer = load_enhancer()
    source, out = work / "in", work / "out"
    source.mkdir()
    waited, alone, own = [], [], []
    with watcher(source, out, settle_s=0.25):
        for number in range(files + 1):
            path = arrive(source, f"{number}.tif", np.roll(pixels, number, axis=0))
            whole, there = entered(out, path.name)
            began = time.perf_counter()
            (result,) = enhance_files([path], work / "alone", enhancer)
            seconds = time.perf_counter() - began
            assert result.error is None
            if number:  # the first of a size compiles
                waited.append(there - whole)
                alone.append(seconds)
                own.append(network_s(enhancer, pixels))
    ratios = [one / other for one, other in zip(waited, alone, strict=True)]
    return {
        "files": files,
        "waited_s": statistics.median(waited),
        "enhance_s": statistics.median(alone),
        "network_s": statistics.median(own),
        "to_enhance": statistics.median(ratios),
        "to_enhance_most": max(ratios),
        "to_network": statistics.median(waited) / statistics.median(own),
    }


def throughput(work: Path, *, files: int, runs: int) -> dict[str, float]:
    """A folder of small files through both commands, starts included."""
    source = work / "in"
    source.mkdir()
    pixels = scene(256)
    for number in range(files):
        write_radiograph(Radiograph(np.roll(pixels, number, axis=0)), source / f"{number}.tif")
    seconds: dict[str, list[float]] = {"watch": [], "enhance": []}
    for run in range(runs):
        for name, more in {"enhance": [], "watch": ["--once", "--settle", "0"]}.items():
            command = [*MODULE, name, str(source), "--out", str(work / f"{name}{run}"), "--quiet", *more]
            began = time.perf_counter()
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    own = network_s(load_enhancer(), pixels) * files
    medians = {f"{name}_s": statistics.median(each) for name, each in seconds.items()}
    return {
        "files": files,
        **medians,
        "network_s": own,
        "to_enhance": medians["watch_s"] / medians["enhance_s"],
        "to_network": medians["watch_s"] / own,
    }


def memory(work: Path, *, arrivals: int) -> dict[str, Any]:
    """A day of arrivals in a few minutes."""
    source, out = work / "in", work / "out"
    source.mkdir()
    pixels = scene(128)
    found: dict[str, Any] = {"arrivals": arrivals, "quarters": []}
    began = time.perf_counter()
    with watcher(source, out, settle_s=0.05) as process:
        for number in range(arrivals):
            arrive(source, f"{number}.tif", np.roll(pixels, number, axis=0))
            if number >= KEPT:
                entered(out, f"{number - KEPT}.tif")
                (source / f"{number - KEPT}.tif").unlink()
            if (number + 1) % (arrivals // 4) == 0:
                entered(out, f"{number}.tif")
                state = {
                    "arrivals": number + 1,
                    "rss_mib": process.memory_info().rss / 2**20,
                    "open_files": process.num_fds(),
                    "threads": process.num_threads(),
                    "ledger_mib": sum(path.stat().st_size for path in out.glob("ledger*")) / 2**20,
                }
                print(state, flush=True)
                found["quarters"].append(state)
    found["seconds"] = time.perf_counter() - began
    found["last_to_first_quarter"] = found["quarters"][-1]["rss_mib"] / found["quarters"][0]["rss_mib"]
    with closing(sqlite3.connect(out / "ledger.sqlite")) as ledger:
        found["states"] = dict(ledger.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state"))
    return found


def measured(figures: Mapping[str, Callable[[Path], Any]]) -> dict[str, Any]:
    """Figures by name, each made in a folder of its own, and printed."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in figures.items():
            work = Path(folder, name)
            work.mkdir()
            found[name] = figure(work)
            print(name, found[name], flush=True)
    return found


def run(*, short: bool) -> dict[str, Any]:
    files = 3 if short else 15
    latencies = {f"{side} px": partial(latency, side=side, files=files) for side in SIDES_PX}
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "short": short,
        "latency": measured(latencies),
        **measured(
            {
                "throughput": lambda work: throughput(
                    work, files=20 if short else 100, runs=1 if short else 3
                ),
                "memory": lambda work: memory(work, arrivals=200 if short else DAY),
            }
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer files, prints only")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    result = run(short=arguments.short)
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
