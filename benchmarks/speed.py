"""Speed of the default model on this host: seconds per megapixel, and ratios within this run.

- `figures`: the default's network in every engine and precision as `longexposure bench` measures it, beside a
  plain stack of convolutions in the same engine and precision (what this host can do at most); the whole
  enhance path (measuring noise, finding faulty pixels, tiles, rounding) with the default in each, with `best`,
  with a network that does nothing, and with the classical filters.
- `peers`: in the same engines, the default beside networks with random weights that are published.
- `commands`: `longexposure enhance` as a process, its start included: one 1900 x 1900 TIFF with each engine; a
  folder of such frames beside the network's own time for them; the peak of memory for one large image and for
  folders.

Each figure is the median of several runs; machines are noisy, so read the ratios.

    python benchmarks/speed.py [--short] [--frames 100] [--large 20000] [--out benchmarks/speed.json]
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from quality import Median, TotalVariation

from longexposure import load_enhancer, write_radiograph
from longexposure.engines.base import ENGINES, Engine
from longexposure.engines.choice import open_exported
from longexposure.engines.torch import TorchEngine
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.statistics import examine
from longexposure.errors import ResourceError
from longexposure.export.benchmark import bench
from longexposure.export.exporter import checkpoint_of, convert
from longexposure.models.checkpoint import FORMAT, Header, read_checkpoint
from longexposure.models.classical import Identity
from longexposure.models.dncnn import DnCNNConfig
from longexposure.models.edcnn import EDCNNConfig
from longexposure.models.framework import FrameworkConfig
from longexposure.models.nafnet import NAFNetConfig
from longexposure.models.networks import build_network, restore_network
from longexposure.models.registry import shipped_weights
from longexposure.radiograph import Radiograph
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

FILTERED_PX = 512
FOLDERS = (5, 25)
"""Frames of the folders whose memory is compared."""
PROCESS = """
import sys
from pathlib import Path
from longexposure.cli.app import app
try:
    app(sys.argv[1:], prog_name="longexposure")
finally:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    print(next((line.split()[1] for line in lines if line.startswith("VmHWM:")), 0), file=sys.stderr)
"""
"""The command line, which tells last how many KiB of memory it had at most (0 where the system does not say)."""


def median_s(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def network_figures(*, side: int, runs: int) -> dict[str, dict[str, float]]:
    """The default's network in every engine and precision that there is here."""
    found = bench("fast", size_px=side, rounds=runs)
    for name, reason in found.left_out.items():
        print(name, "left out:", reason)
    return {
        f"fast, network, {line.engine} {line.precision}": {
            "s_per_mpx": line.s_per_mpx,
            "gflops": line.gflops,
            "plain_gflops": line.plain_gflops,
            "fraction_of_plain_convolutions": line.fraction,
        }
        for line in found.lines
    }


def enhance_figures(image: np.ndarray, *, runs: int) -> dict[str, dict[str, float]]:
    """The enhance path on this image; the filters, which are slow, on a part of it."""
    enhancers: dict[str, Enhancer] = {}
    for engine, kind in ENGINES.items():
        for precision in kind.precisions if kind.installed else ():
            try:
                enhancers[f"fast, enhance, {engine} {precision}"] = load_enhancer(
                    engine=engine, precision=precision
                )
            except ResourceError as error:
                print(error)
    best = load_enhancer("best")
    enhancers[f"best, enhance, {best.engine.info}"] = best
    enhancers["nothing, enhance"] = Enhancer(Identity(), name="nothing")
    filters = {
        "median": Enhancer(Median(), name="median"),
        "gaussian": load_enhancer("gaussian"),
        "total variation": Enhancer(TotalVariation(), name="total variation"),
        "nlm": load_enhancer("nlm"),
    }
    images = dict.fromkeys(enhancers, image) | {
        f"{name}, enhance, {FILTERED_PX} px": image[:FILTERED_PX, :FILTERED_PX] for name in filters
    }
    all_of_them = [*enhancers.values(), *filters.values()]
    return {
        name: {"s_per_mpx": median_s(partial(enhancer.enhance, pixels), runs) / (pixels.size / 1e6)}
        for (name, pixels), enhancer in zip(images.items(), all_of_them, strict=True)
    }


def peers(*, side: int, runs: int) -> dict[str, dict[str, float]]:
    """Seconds per megapixel of the default and of its peers with random weights, in the same engines, by turns."""
    names: dict[str, Any] = {
        "fast": checkpoint_of("fast"),
        **shipped_weights(),
        "DnCNN": DnCNNConfig(),
        "EDCNN": EDCNNConfig(),
        "NAFNet-w32": NAFNetConfig(),
        "paper's framework": FrameworkConfig(),
    }
    rng = np.random.default_rng(0)
    tile, told = rng.random((1, side, side), np.float32), np.full(5, 0.05, np.float32)
    found: dict[str, dict[str, float]] = {}
    for name, source in names.items():
        network: Any = (
            restore_network(*read_checkpoint(source), where=name)
            if isinstance(source, Path)
            else build_network(source)
        )
        engines: dict[str, Engine] = {
            f"torch {precision}": TorchEngine(network, device="cpu", precision=precision)
            for precision in ("f32", "bf16")
        }
        if ENGINES["openvino"].installed:
            engines |= in_openvino(network)
        found[name] = {
            case: median_s(partial(engine.run, tile, told), runs) / (tile.size / 1e6)
            for case, engine in engines.items()
        }
    return found


def in_openvino(network: Any) -> dict[str, Engine]:
    """A network in OpenVINO, as it is exported, by precision."""
    from longexposure.engines.openvino import native_bf16

    header = Header(format=FORMAT, model=network.config.model_dump(mode="json"))
    exported = convert(network, header, weights_sha256="0" * 64, where="speed")
    precisions = ("f32", "bf16") if native_bf16() else ("f32",)
    return {f"openvino {each}": open_exported("openvino", exported, each) for each in precisions}


def command(source: Path, *options: str) -> dict[str, float]:
    """Seconds and peak of memory, MB, of `longexposure enhance` of a file or folder, start of the process included."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        words = [sys.executable, "-c", PROCESS, "enhance", str(source), "--out", f"{out}/out", *options]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_mb": int(done.stderr.splitlines()[-1]) * 1024 / 1e6}


def write_frames(image: np.ndarray, folder: Path, count: int) -> Path:
    """As many frames as asked for, the image shifted round by as many pixels as its number says."""
    folder.mkdir()
    for number in range(count):
        frame = Radiograph(np.roll(image, (7 * number, 3 * number), (0, 1)))
        write_radiograph(frame, folder / f"{number:03}.tif")
    return folder


def one_file(image: np.ndarray, work: Path, runs: int) -> dict[str, Any]:
    """The whole command for one frame with every engine that is installed, and with `best`, round by round."""
    source = write_radiograph(Radiograph(image), work / "frame.tif")
    names = ["auto", *(name for name, kind in ENGINES.items() if kind.installed)]
    options = {name: ("--engine", name) for name in names} | {"auto, model best": ("--model", "best")}
    rounds = [{name: command(source, *these) for name, these in options.items()} for _ in range(runs)]
    return {
        name: {figure: statistics.median(each[name][figure] for each in rounds) for figure in cost}
        for name, cost in rounds[0].items()
    }


def folder_of_frames(image: np.ndarray, work: Path, *, frames: int, runs: int) -> dict[str, float]:
    """The whole command for a folder beside the network's own time for its frames, taken before and after it."""
    engine = load_enhancer().engine
    found = examine(image)
    unit = found.grey.to_unit(np.pad(image, [(0, -side % engine.spec.size_multiple) for side in image.shape]))

    def network() -> None:
        engine.run(unit[None], found.noise_condition)

    source = write_frames(image, work / "frames", frames)
    before = median_s(network, runs)
    whole = command(source)
    own = statistics.mean((before, median_s(network, runs))) * frames
    return {"frames": frames, "network_s": own, **whole, "to_network": whole["seconds"] / own}


def memory(image: np.ndarray, work: Path, *, large: int, folders: tuple[int, ...]) -> dict[str, Any]:
    """Peaks of memory, MB: one large image, made of many of this one, and folders of frames."""
    times = -(-large // min(image.shape))
    whole = np.tile(image, (times, times))[:large, :large]
    source = write_radiograph(Radiograph(np.ascontiguousarray(whole)), work / "large.tif")
    input_mb = whole.nbytes / 1e6
    del whole
    one = command(source)
    source.unlink()
    figures = {f"one image of {large} x {large}": one | {"above_input_mb": one["peak_mb"] - input_mb}}
    for count in folders:
        figures[f"a folder of {count} frames"] = command(write_frames(image, work / f"of{count}", count))
    return figures


def commands(
    image: np.ndarray, *, frames: int, large: int, runs: int, folders: tuple[int, ...]
) -> dict[str, Any]:
    """Everything about `longexposure enhance` as a process, on this image."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        return {
            "one file": one_file(image, work, runs),
            "folder": folder_of_frames(image, work, frames=frames, runs=runs),
            "memory": memory(image, work, large=large, folders=folders),
        }


def run(*, short: bool, frames: int, large: int) -> dict[str, Any]:
    side, runs = (1024, 2) if short else (1900, 5)
    machine = load_machine("wide", [f"image.height={side}", f"image.width={side}"])
    image = draw_pair(machine, seed=1, index=0).lq
    figures = network_figures(side=side, runs=runs) | enhance_figures(image, runs=runs)
    beside = peers(side=256 if short else 1024, runs=2 if short else 3)
    processes = commands(image, frames=frames, large=large, runs=runs, folders=(2, 6) if short else FOLDERS)
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"side_px": side, "peers_side_px": 256 if short else 1024, "runs": runs, "short": short},
        "figures": figures,
        "peers": beside,
        "commands": processes,
        "ratios": {
            **{
                f"{name} to fast, {case}": seconds / beside["fast"][case]
                for name, cases in beside.items()
                if name != "fast"
                for case, seconds in cases.items()
            },
            "a folder's whole command to the network's own time": processes["folder"]["to_network"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="smaller image, fewer runs, prints only")
    parser.add_argument(
        "--frames", type=int, default=None, help="of the folder that is timed (100, short: 6)"
    )
    parser.add_argument(
        "--large", type=int, default=None, help="side of the large image, px (20000, short: 4000)"
    )
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    frames, large = (6, 4000) if arguments.short else (100, 20000)
    result = run(short=arguments.short, frames=arguments.frames or frames, large=arguments.large or large)
    processes = result["commands"]
    told = {f"enhance, one file, {name}": figure for name, figure in processes["one file"].items()}
    told |= {"enhance, folder": processes["folder"]}
    told |= {f"enhance, {name}": figure for name, figure in processes["memory"].items()}
    for name, figure in (result["figures"] | told).items():
        print(f"{name:70}", ", ".join(f"{k} {v:.4g}" for k, v in figure.items() if v is not None))
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
