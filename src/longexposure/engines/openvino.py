"""The OpenVINO engine: exported models on the CPU, in f32 or bf16, without torch.

The precision is always told: left alone, OpenVINO takes bf16 wherever the processor has it. In bf16 what
no convolution comes before is computed in f32 by a model of its own, because it takes differences of
grey values that are large beside the noise; what comes after the last one, the correction's addition to the
image above all, OpenVINO leaves in f32 by itself, which the parity gate holds it to.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from longexposure.engines.base import Unit, threads
from longexposure.engines.exported import Exported, check_parity
from longexposure.errors import ResourceError
from longexposure.models.base import ModelSpec
from longexposure.system import as_memory_error


@contextlib.contextmanager
def _left_out(module: str) -> Iterator[None]:
    """Let the import of a module fail inside, as if it were not installed; one that is loaded stays."""
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]


with _left_out("openvino.tools.ovc"):
    # Its converter of models, which nothing here needs, reports every import to its maker over the network,
    # from a process that it forks for that, and takes longer to load than all the rest.
    import openvino

FloatPrecision = Literal["f32", "bf16"]
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")

CORE = openvino.Core()
"""The only one, never released: on Linux, OpenVINO 2026.4 gives each `Core` that computes a stack for signal
handlers, and puts back the stack before when the `Core` goes, also one that is gone already. Of two, released
oldest first, the next signal that Python handles (Ctrl-C, a training worker's end) would crash the process.
"""


class OpenVinoEngine:
    """An exported model in OpenVINO.

    Args:
        exported: the model.
        precision: "f32" or "bf16".
        graph: its graph in OpenVINO's own format; None reads the exported file.

    Raises:
        ResourceError: bf16 on a processor that would emulate it, or results that are not torch's here.
    """

    def __init__(
        self, exported: Exported, *, precision: FloatPrecision = "f32", graph: openvino.Model | None = None
    ) -> None:
        if precision == "bf16" and not native_bf16():
            raise ResourceError(
                where="--precision bf16",
                expected="a processor with bf16 arithmetic",
                found="one without",
                advice="use --precision f32, which is as fast there and exact",
            )
        self.settings = {
            "engine": "openvino",
            "engine_version": openvino.get_version().split("-")[0],
            "device": "cpu",
            "precision": precision,
        }
        self._spec = exported.spec
        self._parts = _Parts(read_graph(exported.content) if graph is None else graph, precision)
        check_parity(self, exported, name=f"engine openvino {precision}", exact=precision == "f32")

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """See `Engine.run`."""
        told = np.ascontiguousarray(np.tile(noise_condition, (len(tile), 1)), np.float32)
        image = np.ascontiguousarray(tile[:, None], np.float32)
        with as_memory_error():
            result: Unit = self._parts({"image": image, "noise": told})[:, 0]
        return result


class _Parts:
    """One compiled model in f32; in bf16 two, what no convolution comes before in f32 for itself."""

    def __init__(self, graph: openvino.Model, precision: FloatPrecision) -> None:
        head = _cut_head(graph) if precision == "bf16" else None
        self._head = None if head is None else compile_graph(head, "f32").create_infer_request()
        self._body = compile_graph(graph, precision).create_infer_request()
        self._lock = threading.Lock()  # a request computes one thing at a time

    def __call__(self, given: dict[str, Any]) -> Unit:
        with self._lock:
            if self._head is not None:
                before = compute_all(self._head, given)
                given = {**given, **{f"before_{number}": value for number, value in enumerate(before)}}
            return compute(self._body, given)


def read_graph(content: bytes, weights: bytes | None = None) -> openvino.Model:
    """The graph of an ONNX file, or of OpenVINO's own .xml and .bin."""
    return CORE.read_model(content, weights or b"")


def compile_graph(graph: openvino.Model, precision: FloatPrecision) -> Any:
    """A graph compiled for the CPU in this precision, with `threads()` threads.

    Raises:
        ResourceError: OpenVINO takes another precision.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
        "ENABLE_CPU_PINNING": False,
    }
    compiled = CORE.compile_model(graph, "CPU", settings)
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != precision:
        raise ResourceError(
            where="engine openvino",
            expected=f"arithmetic in {precision}",
            found=taken,
            advice="use --engine torch, or another version of openvino",
        )
    return compiled


def compute(request: Any, given: dict[str, Any]) -> Unit:
    """The first output for these inputs, as a copy; inputs that the graph does not have are left out."""
    return compute_all(request, given)[0]


def compute_all(request: Any, given: dict[str, Any]) -> list[Unit]:
    """All outputs, as `compute`.

    Waiting for what was started tells of every failure. Computing at once (`infer`) does not: with one thread
    OpenVINO 2026.4 keeps an allocation that failed to itself, and what lies there is an earlier result.
    """
    wanted = {entry.any_name: given[entry.any_name] for entry in request.model_inputs}
    request.start_async(wanted, share_inputs=True)
    request.wait()
    return [request.get_output_tensor(number).data.copy() for number in range(len(request.model_outputs))]


def native_bf16() -> bool:
    """Whether the processor computes in bf16 itself; OpenVINO also offers to emulate it."""
    if "BF16" not in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return True
    flags = " ".join(line for line in lines if line.lower().startswith(("flags", "features")))
    return "bf16" in flags


def _cut_head(graph: openvino.Model) -> openvino.Model | None:
    """Cut off what no convolution comes before; `graph` is changed to take its results as inputs.

    Returns:
        The part that was cut off, whose outputs are, in order, the graph's new inputs `before_0`, `before_1`
        and so on; None where the convolutions take the image itself.
    """
    behind: set[str] = set()
    taken: dict[str, list[Any]] = {}
    sources: dict[str, Any] = {}
    for node in graph.get_ordered_ops():
        convolution = node.get_type_name() in CONVOLUTIONS
        given = [(entry, entry.get_source_output()) for entry in node.inputs()]
        if convolution or any(source.get_node().get_name() in behind for _, source in given):
            behind.add(node.get_name())
            for entry, source in given:
                if source.get_node().get_name() not in behind and _is_computed(source):
                    key = f"{source.get_node().get_name()}:{source.get_index()}"
                    sources[key] = source
                    taken.setdefault(key, []).append(entry)
    outputs = []
    for number, (key, source) in enumerate(sources.items()):
        name = f"before_{number}"
        given_now = openvino.opset13.parameter(
            source.get_partial_shape(), source.get_element_type(), name=name
        )
        given_now.output(0).set_names({name})
        for entry in taken[key]:
            entry.replace_source_output(given_now.output(0))
        outputs.append(openvino.opset13.result(source, name=name))
        graph.add_parameters([given_now])
    return openvino.Model(outputs, graph.get_parameters()[: -len(outputs)], "head") if outputs else None


def _is_computed(source: Any) -> bool:
    """Whether this is grey values or noise that something was done to, no input, constant or shape."""
    known = source.get_node().get_type_name() in ("Parameter", "Constant")
    return not known and source.get_element_type() == openvino.Type.f32
