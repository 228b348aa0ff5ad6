"""Speed of the simulator on this host: scenes, fresh exposures of them, full pairs, crops on a GPU.

Scenes of 256 x 256 are drawn and projected anew; fresh exposures of 256 x 256 are taken of scenes that are held,
as a training does. Each figure is taken over many scenes of all three machines; with 2 processes as well, each
with one thread. A full pair is taken apart into its steps.

    OMP_NUM_THREADS=1 python benchmarks/simulation.py [--short] [--out benchmarks/simulation.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longexposure.data.simulated_patches import SimulatedBatches, SimulatedPatchesConfig
from longexposure.simulation import exposure as pairs
from longexposure.simulation.exposure import draw_acquisition, draw_pair, parameters_of
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.machine import load_machine
from longexposure.simulation.random_source import NumpyRandom
from longexposure.simulation.scenes.catalogue import draw_scene
from longexposure.system import host_facts

MACHINES = ("S1", "S2", "S3")
SIDE_PX = 256
AIMS = {"scenes per second, 2 processes": 10, "exposures per second, 2 processes": 100, "full S3 pair, s": 4}


def scenes_s(first: int, count: int) -> float:
    """Seconds that drawing scenes and putting them into their machines takes."""
    loaded = [load_machine(name) for name in MACHINES]
    draw_acquisition(loaded[0], key=(1, 0, 0), size_px=(SIDE_PX, SIDE_PX))
    started = time.perf_counter()
    for number in range(first, first + count):
        draw_acquisition(loaded[number % len(loaded)], key=(0, 0, number), size_px=(SIDE_PX, SIDE_PX))
    return time.perf_counter() - started


def exposures_s(first: int, count: int) -> float:
    """Seconds that short exposures, and their expectations, of pieces of held scenes take."""
    held = [
        draw_acquisition(load_machine(name), key=(0, 0, first), size_px=(SIDE_PX + 64, SIDE_PX + 64))
        for name in MACHINES
    ]
    corners = [(0, 0), (64, 10), (20, 64), (33, 33)]
    for acquisition in held:
        acquisition.crops(corners, SIDE_PX, rng=NumpyRandom(0), long=False)
    started = time.perf_counter()
    for number in range(0, count, len(corners)):
        held[number % len(held)].crops(corners, SIDE_PX, rng=NumpyRandom(number), long=False)
    return time.perf_counter() - started


def rate(work: Callable[[int, int], float], count: int, *, processes: int) -> float:
    """Pieces of work per second by so many processes at once."""
    if processes == 1:
        return count / work(0, count)
    starts = range(0, processes * count, count)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        seconds = list(pool.map(work, starts, [count] * processes))
    return sum(count / one for one in seconds)


def full_pairs(name: str, count: int) -> dict[str, float]:
    """Seconds of a whole pair, and of its steps, each the median of several scenes."""
    loaded = load_machine(name)
    size = (loaded.image.height, loaded.image.width)
    steps: dict[str, list[float]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        steps.setdefault(step, []).append(time.perf_counter() - started)
        return result

    for index in range(count):
        key = (0, 1, index)
        parameters = parameters_of(loaded, key)
        view = parameters.view(size)
        random = np.random.default_rng((*key, pairs._SCENE))
        scene = timed(
            "drawing the scene", lambda r=random, v=view, s=parameters: draw_scene(r, view=v, kinds=s.scenes)
        )
        maps = timed("thickness maps", lambda s=scene, v=view: thickness_maps(s.primitives, v))
        shadow = timed("Beer-Lambert", lambda s=parameters, m=maps, v=view: pairs._shadows(s, [m], v)[0])
        acquisition = timed(
            "scatter and blur", lambda s=parameters, c=scene, h=shadow: pairs._acquisition(s, c, h, seed=0)
        )
        timed("the panel's pixels", lambda s=acquisition: s.panel)
        timed("both exposures", lambda s=acquisition: s.expose(NumpyRandom(0), NumpyRandom(1)))
        timed("clean image", lambda s=acquisition: s.clean)
        timed("noise profile", lambda s=acquisition: s.noise)
        timed("whole pair", lambda i=index: draw_pair(loaded, seed=0, index=i))
    return {step: statistics.median(seconds) for step, seconds in steps.items()}


def gpu_crops(patch_px: int, batches: int) -> float | str:
    """Crops per second that `SimulatedBatches` gives on the GPU."""
    if not torch.cuda.is_available():
        return "not measured: no GPU"
    config = SimulatedPatchesConfig(
        machines=dict.fromkeys(MACHINES, 1.0), patch_px=patch_px, pool=32, group=16
    )
    stream = iter(SimulatedBatches(config, seed=0, batch=64, device="cuda", workers=8))
    for _ in itertools.islice(stream, 8):
        pass
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in itertools.islice(stream, batches):
        pass
    torch.cuda.synchronize()
    return 64 * batches / (time.perf_counter() - started)


def run(*, short: bool) -> dict[str, Any]:
    scenes, exposures, fulls = (6, 48, 1) if short else (60, 480, 5)
    figures: dict[str, Any] = {}
    for processes in (1, 2):
        word = f"{processes} process" + ("es" if processes > 1 else "")
        figures[f"scenes per second, {word}"] = rate(scenes_s, scenes, processes=processes)
        figures[f"exposures per second, {word}"] = rate(exposures_s, exposures, processes=processes)
    for name in MACHINES:
        for step, seconds in full_pairs(name, fulls).items():
            figures[f"full {name} pair, s" if step == "whole pair" else f"full {name} pair, {step}, s"] = (
                seconds
            )
    figures["crops of 144 x 144 per second, GPU"] = gpu_crops(144, 4 if short else 60)
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {
            "side_px": SIDE_PX,
            "scenes": scenes,
            "exposures": exposures,
            "pairs": fulls,
            "short": short,
        },
        "aims": AIMS,
        "figures": figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="few repeats, prints only")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    result = run(short=arguments.short)
    for name, figure in result["figures"].items():
        aim = f"   (aim {AIMS[name]})" if name in AIMS else ""
        print(f"{name:48}", figure if isinstance(figure, str) else f"{figure:8.3g}", aim)
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
