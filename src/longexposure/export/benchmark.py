"""Benching: how fast every installed engine computes a model on this host, and how exactly.

All engines and precisions take turns on the same tile, so that a host that is busy with other things
slows them alike; figures are medians over the rounds. Beside each runs a plain stack of 3x3 convolutions in
the same engine and precision: what this host can do at most, of which the network reaches a fraction.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from longexposure.engines.base import ENGINES, Engine, EngineInfo, Unit, threads
from longexposure.engines.choice import check_installed, load_engine, open_exported
from longexposure.engines.exported import COUNTS, find_exported
from longexposure.errors import LongExposureError, as_count
from longexposure.export.exporter import (
    OPSET,
    check_can_convert,
    checkpoint_of,
    convert,
    on_grid,
    probe_scene,
)
from longexposure.models.checkpoint import Header, read_checkpoint, sha256_of
from longexposure.models.networks import Network, restore_network
from longexposure.models.registry import DEFAULT
from longexposure.system import host_facts

CHANNELS, DEPTH, SIDE_PX = 64, 20, 256
"""The plain stack: channels, convolutions and side."""
PLAIN_OPERATIONS = DEPTH * 2 * 9 * CHANNELS**2 * SIDE_PX**2
IR_VERSION = 10
"""Of the plain stack's ONNX file: the one that goes with `OPSET`, whatever is newest."""
SIGMA = 0.08
"""Noise of the measured tile, in the unit domain."""
ROUNDS = 5
SIDES_PX = 64, 8192

Work = Callable[[], object]


@dataclass(frozen=True)
class EngineTiming:
    """One engine in one precision.

    Attributes:
        engine: its name.
        engine_version: of its package.
        precision: "f32" or "bf16".
        device: "cpu" or "cuda".
        s_per_mpx: seconds per megapixel of the network alone, median.
        speed: how many times as fast as torch in f32 on the CPU, median of the ratios of the rounds.
        gflops: billions of operations a second in the network's convolutions.
        plain_gflops: the same of the plain stack; None where it could not be built.
        fraction: of the two; None as above.
        largest: largest difference from torch in f32, in counts of 65535.
        rms: the same, root mean square.
        error_left: rms of torch's output less the clean image, in counts of 65535; what `rms` should be small
            beside.
        chosen: whether `--engine auto` takes it, for this precision.
    """

    engine: str
    engine_version: str
    precision: str
    device: str
    s_per_mpx: float
    speed: float
    gflops: float
    plain_gflops: float | None
    fraction: float | None
    largest: float
    rms: float
    error_left: float
    chosen: bool

    def row(self) -> dict[str, Any]:
        """The line of the table."""
        return {
            "engine": f"{self.engine} {self.engine_version}",
            "precision": self.precision,
            "device": self.device,
            "s/Mpx": self.s_per_mpx,
            "times torch f32": self.speed,
            "GFLOP/s": self.gflops,
            "plain 3x3": self.plain_gflops,
            "fraction": None if self.fraction is None else f"{self.fraction:.0%}",
            "max, counts": self.largest,
            "rms": self.rms,
            "rms / error left": f"{self.rms / self.error_left:.1%}",
            "auto": {"f32": "chosen", "bf16": "chosen for bf16"}[self.precision] if self.chosen else "",
        }


@dataclass(frozen=True)
class Bench:
    """All lines, what they were measured on, and what was left out and why."""

    model: str
    weights_sha256: str
    lines: tuple[EngineTiming, ...]
    left_out: Mapping[str, str]
    setting: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Runner:
    """An engine that is ready, what it does in each round, and the seconds that took."""

    engine: Engine
    info: EngineInfo
    work: Work
    plain: Work | None
    chosen: bool
    seconds: list[float] = field(default_factory=list)
    plain_seconds: list[float] = field(default_factory=list)


def bench(
    model: str | Path = DEFAULT,
    *,
    size_px: int = 1024,
    rounds: int = ROUNDS,
    on_round: Callable[[int], None] | None = None,
) -> Bench:
    """Measure every installed engine and precision on a noisy scene.

    Args:
        model: a name, a .safetensors file or the folder of a run, as for `load_enhancer`.
        size_px: side of the tile, rounded up to what the model takes.
        rounds: how often each is measured.
        on_round: called after each round with its number.

    Raises:
        CheckpointError: no such model, or one without weights.
        RecipeError: a size or number of rounds that makes no sense.
    """
    for name, value, lowest, highest in ("size", size_px, *SIDES_PX), ("rounds", rounds, 1, 1000):
        as_count(value, where=name, low=lowest, high=highest)
    path = checkpoint_of(model)
    header, weights = read_checkpoint(path)
    network = restore_network(header, weights, where=str(path))
    shape = on_grid((1, size_px, size_px), network.spec.size_multiple)
    clean, tile, noise_condition = probe_scene(shape, sigma=SIGMA, seed=5)
    left_out: dict[str, str] = {}
    runners = _runners(path, header, network, (tile, noise_condition), left_out)
    for number in range(rounds + 1):  # the first is not counted
        for runner in runners:
            runner.seconds.append(_seconds(runner.work))
            if runner.plain is not None:
                runner.plain_seconds.append(_seconds(runner.plain))
        if on_round is not None and number > 0:
            on_round(number)
    reference = runners[0].engine.run(tile, noise_condition)
    operations = operations_per_px(network)
    lines = []
    for runner in runners:
        difference = COUNTS * (runner.engine.run(tile, noise_condition).astype(np.float64) - reference)
        seconds = statistics.median(runner.seconds[1:])
        gflops = operations * tile.size / seconds / 1e9
        plain = None
        if runner.plain_seconds:
            plain = PLAIN_OPERATIONS / statistics.median(runner.plain_seconds[1:]) / 1e9
        ratios = [torchs / own for torchs, own in zip(runners[0].seconds, runner.seconds, strict=True)]
        line = EngineTiming(
            **asdict(runner.info),
            s_per_mpx=seconds / (tile.size / 1e6),
            speed=statistics.median(ratios[1:]),
            gflops=gflops,
            plain_gflops=plain,
            fraction=None if plain is None else gflops / plain,
            largest=float(np.abs(difference).max()),
            rms=_rms(difference),
            error_left=COUNTS * _rms(reference - clean),
            chosen=runner.chosen,
        )
        lines.append(line)
    setting = {
        **host_facts(),
        "engine_threads": threads(),
        "side_px": shape[1],
        "rounds": rounds,
        "operations_per_px": operations,
    }
    return Bench(str(model), sha256_of(path), tuple(lines), left_out, setting)


def operations_per_px(network: Network) -> float:
    """Floating-point operations of a network's convolutions for one pixel of the image."""
    side = 16 * network.spec.size_multiple
    side = max(side, -(-SIDES_PX[0] // side) * side)
    total = 0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * module.weight.numel() * output.shape[-1] * output.shape[-2]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    try:
        with torch.inference_mode():
            network(torch.rand(1, 1, side, side), torch.full((1, 5), 0.05))
    finally:
        for hook in hooks:
            hook.remove()
    return total / side**2


def _runners(
    path: Path, header: Header, network: Network, task: tuple[Unit, Unit], left_out: dict[str, str]
) -> list[_Runner]:
    """Every engine, precision and device that there is, torch in f32 on the CPU first.

    A model without an exported file is exported for the occasion.
    """
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    wanted = [("torch", precision, device) for device in devices for precision in ENGINES["torch"].precisions]
    wanted += [(n, precision, "cpu") for n in ENGINES if n != "torch" for precision in ENGINES[n].precisions]
    automatic = [load_engine(path, precision=precision).info for precision in ("f32", "bf16")]
    sha256, runners = sha256_of(path), []
    for name, precision, device in wanted:
        try:
            if name == "torch":
                engine = load_engine(path, engine=name, device=device, precision=precision)
            else:
                check_installed(name)
                exported = find_exported(path, sha256)
                if exported is None:
                    check_can_convert()
                    exported = convert(network, header, weights_sha256=sha256, where=str(path))
                engine = open_exported(name, exported, precision)
        except LongExposureError as error:
            left_out[f"{name} {precision}"] = str(error)
            continue
        if engine.info is not None:
            work = functools.partial(engine.run, *task)
            plain = plain_stack(name, precision, device)
            runners.append(_Runner(engine, engine.info, work, plain, chosen=engine.info in automatic))
    return runners


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain_stack(name: str, precision: str, device: str) -> Work | None:
    """The plain stack in an engine; None where the package that describes it to the engine is missing."""
    random = np.random.default_rng(0)
    image = random.standard_normal((1, CHANNELS, SIDE_PX, SIDE_PX), np.float32)
    weights = random.standard_normal((DEPTH, CHANNELS, CHANNELS, 3, 3), np.float32) / (3 * CHANNELS**0.5)
    if name == "torch":
        entry, *kernels = (
            torch.from_numpy(array).to(device).contiguous(memory_format=torch.channels_last)
            for array in (image, *weights)
        )

        def work() -> None:
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
                torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"),
            ):
                x = entry
                for kernel in kernels:
                    x = torch.nn.functional.conv2d(x, kernel, padding=1)
                x[0, 0, 0, 0].item()  # waits for a GPU

        return work
    if find_spec("onnx") is None:
        return None
    content = plain_onnx(weights)
    if name == "onnx":
        from longexposure.engines.onnx import open_session

        session = open_session(content)
        return lambda: session.run(None, {"x0": image})
    from longexposure.engines.openvino import compile_graph, compute, read_graph

    request = compile_graph(read_graph(content), precision).create_infer_request()  # type: ignore[arg-type]
    return lambda: compute(request, {"x0": image})


def plain_onnx(weights: Unit) -> bytes:
    """3x3 convolutions with weights (depth, channels, channels, 3, 3), from "x0" on, as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1, 1, 1, 1]) for i in range(DEPTH)
    ]
    kernels = [numpy_helper.from_array(kernel, f"w{i}") for i, kernel in enumerate(weights)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, SIDE_PX, SIDE_PX])
        for name in ("x0", f"x{DEPTH}")
    ]
    graph = helper.make_graph(nodes, "plain", ends[:1], ends[1:], kernels)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def _rms(values: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(values.astype(np.float64)).mean()))
