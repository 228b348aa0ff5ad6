"""How far the default model in each engine and precision is from torch in f32, on real images and simulated ones.

Engines: all that are installed, in f32 and bf16; and int8, which the package does not have, as ONNX Runtime
quantises after training: weights by channel, activations of 8 bits whose span is taken from tiles of other
scenes, by their extremes or by their 99.99th percentile, as many of the convolutions as a plan says, computed
in OpenVINO. All through the one enhance path, on images as float32, so that nothing is rounded.

- `real`: largest and rms difference from torch in f32 over the example radiographs, in counts of 65535.
- `deviation over error left`: of the simulated machines and conditions of quality.py, rms difference from torch
  in f32 over the rms of torch in f32 less the noise-free image. The limit is what the parity gate asks of bf16
  (`engines/exported.py`).
- `loss in dB`: what that costs in PSNR.
- `times openvino f32`: time of one 1024 x 1024 tile, median of alternating runs.

    python benchmarks/precision.py [--scenes 3] [--size 256] [--out benchmarks/precision.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from quality import CASES, CONDITIONS, RADIOGRAPHS, Example, examples, spoiled_examples

from longexposure import read_radiograph
from longexposure.engines.base import ENGINES, Engine
from longexposure.engines.choice import load_engine
from longexposure.engines.exported import MOST_OF_ERROR_LEFT, read_exported
from longexposure.engines.openvino import compile_graph, compute, read_graph
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import ResourceError
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import sha256_of
from longexposure.models.registry import shipped_weights
from longexposure.system import host_facts

SPANS = {"extremes": CalibrationMethod.MinMax, "99.99 %": CalibrationMethod.Percentile}
PLANS = {
    "all": "",
    "all at quarter resolution": r"(head|body|tail)\.",
    "the body's": r"body\.",
    "the second of each of the body's blocks": r"body\.\d+\.second\.",
}
"""How the names of the convolutions' weights begin that are quantised, as regular expressions."""
CALIBRATION_SCENES, CALIBRATION_PX, CALIBRATION_SEED = 2, 192, 123
TIMED_PX, RUNS = 1024, 7

Given = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A graph in OpenVINO, as an engine; keeps what it was given where it is told to."""

    content: bytes
    spec: ModelSpec
    seen: list[Given] | None = None
    info: None = None
    request: Any = field(init=False)

    def __post_init__(self) -> None:
        request = compile_graph(read_graph(self.content), "f32").create_infer_request()
        object.__setattr__(self, "request", request)

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        told = np.tile(noise_condition, (len(tile), 1)).astype(np.float32)
        given = {"image": np.ascontiguousarray(tile[:, None], np.float32), "noise": told}
        if self.seen is not None:
            self.seen.append(given)
        result: np.ndarray = compute(self.request, given)[:, 0]
        return result


def enhanced(engine: Engine, images: list[np.ndarray]) -> list[np.ndarray]:
    enhancer = Enhancer(engine, name="fast")
    return [enhancer.enhance(image.astype(np.float32)).astype(np.float64) for image in images]


def drawn(*, count: int, size: int, seed: int) -> dict[str, list[Example]]:
    """Scenes of every row of quality.py."""
    cases = {name: examples(case, count=count, size=size, seed=seed) for name, case in CASES.items()}
    return cases | {
        name: spoiled_examples(noise_condition, count=count, size=size, seed=seed + 10_000)
        for name, noise_condition in CONDITIONS.items()
    }


class Tiles(CalibrationDataReader):  # type: ignore[misc]
    """What the quantiser asks for, once."""

    def __init__(self, tiles: list[Given]) -> None:
        self.left: Iterator[Given] = iter(tiles)

    def get_next(self) -> Given | None:
        return next(self.left, None)


def quantised(source: Path, plan: str, range_: CalibrationMethod, tiles: list[Given]) -> bytes:
    """The model with the convolutions of a plan in int8."""
    convolutions = [node for node in onnx.load(source).graph.node if node.op_type == "Conv"]
    wanted = [node.name for node in convolutions if re.match(plan, node.input[1])]
    if not wanted:
        raise ValueError(f"no convolution's weights begin like {plan!r}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(
            source,
            out,
            Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_quantize=wanted,
            calibrate_method=range_,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            extra_options={"CalibPercentile": 99.99},
        )
        return out.read_bytes()


def rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference**2)))


def times(exact: Engine, other: Engine) -> float:
    """Time of a tile, over that of the first engine."""
    tile = np.random.default_rng(0).random((1, TIMED_PX, TIMED_PX), np.float32)
    noise_condition = np.full(5, 0.05, np.float32)
    found: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * RUNS + 2):
        started = time.perf_counter()
        (other if turn % 2 else exact).run(tile, noise_condition)
        if turn > 1:
            found[bool(turn % 2)].append(time.perf_counter() - started)
    return statistics.median(found[True]) / statistics.median(found[False])


def ways(weights: Path, tiles: list[Given]) -> Iterator[tuple[str, Engine]]:
    """Every engine and precision but torch in f32, and int8 in every way that is tried."""
    for name, kind in ENGINES.items():
        for precision in kind.precisions if kind.installed else ():
            if (name, precision) == ("torch", "f32"):
                continue
            try:
                yield (
                    f"{name} {precision}",
                    load_engine(weights, engine=name, device="cpu", precision=precision),
                )
            except ResourceError as error:
                print(error)
    spec = read_exported(weights.with_suffix(".onnx")).spec
    for range_, method in SPANS.items():
        for plan, begins in PLANS.items():
            content = quantised(weights.with_suffix(".onnx"), begins, method, tiles)
            yield f"int8, {plan}, span {range_}", Compiled(content, spec)


def calibration(weights: Path) -> list[Given]:
    """What the network is given for scenes that nothing is measured on."""
    tiles: list[Given] = []
    exported = read_exported(weights.with_suffix(".onnx"))
    watched = Compiled(exported.content, exported.spec, seen=tiles)
    for pairs in drawn(count=CALIBRATION_SCENES, size=CALIBRATION_PX, seed=CALIBRATION_SEED).values():
        enhanced(watched, [pair.lq for pair in pairs])
    return tiles


def run(*, scenes: int, size: int) -> dict[str, Any]:
    weights = shipped_weights()["fast"]
    radiographs = [read_radiograph(path).pixels for path in sorted(RADIOGRAPHS.glob("*.tif"))]
    test = drawn(count=scenes, size=size, seed=50_000)
    exact = load_engine(weights, engine="torch", device="cpu")
    beside = load_engine(weights, engine="openvino")
    exactly = {name: enhanced(exact, [pair.lq for pair in pairs]) for name, pairs in test.items()}
    really = enhanced(exact, radiographs)
    tiles = calibration(weights)
    rows: dict[str, Any] = {}
    for way, engine in ways(weights, tiles):
        fractions, losses = {}, {}
        for name, pairs in test.items():
            images = enhanced(engine, [pair.lq for pair in pairs])
            trios = list(zip(images, exactly[name], (pair.clean for pair in pairs), strict=True))
            fractions[name] = statistics.mean(
                rms(image - true) / rms(true - clean) for image, true, clean in trios
            )
            losses[name] = statistics.mean(
                20 * float(np.log10(rms(image - clean) / rms(true - clean))) for image, true, clean in trios
            )
        apart = [image - true for image, true in zip(enhanced(engine, radiographs), really, strict=True)]
        rows[way] = {
            "real": {
                "largest": max(float(np.abs(difference).max()) for difference in apart),
                "rms": float(np.sqrt(np.mean([rms(difference) ** 2 for difference in apart]))),
            },
            "deviation over error left": fractions,
            "loss in dB": losses,
            "times openvino f32": times(beside, engine),
        }
        print(
            way,
            rows[way]["real"],
            f"{max(fractions.values()):.3f}",
            f"{rows[way]['times openvino f32']:.2f}",
            flush=True,
        )
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {
            "scenes": scenes,
            "size_px": size,
            "radiographs": len(radiographs),
            "calibration tiles": len(tiles),
            "limit": MOST_OF_ERROR_LEFT,
            "versions": {name: version(name) for name in ("openvino", "onnxruntime", "onnx")},
            "weights_sha256": sha256_of(weights),
        },
        "ways": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    result = run(scenes=arguments.scenes, size=arguments.size)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
