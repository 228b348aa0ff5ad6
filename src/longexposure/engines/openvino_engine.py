"""The OpenVINO engine: exported models on the CPU, in f32 or bf16, without torch.

The precision is always told: left alone, OpenVINO takes bf16 wherever the processor has it. In bf16 what
comes before the first convolution is computed in f32 by a model of its own, because it takes differences of
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

from longexposure.engines import Unit, as_memory_error, threads
from longexposure.engines.exported import Exported, check_parity
from longexposure.errors import ResourceError
from longexposure.models.spec import ModelSpec


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

    def run(self, tile: Unit, condition: Unit) -> Unit:
        """See `Engine.run`."""
        told = np.ascontiguousarray(np.tile(condition, (len(tile), 1)), np.float32)
        image = np.ascontiguousarray(tile[:, None], np.float32)
        with as_memory_error():
            result: Unit = self._parts({"image": image, "noise": told})[:, 0]
        return result


class _Parts:
    """One compiled model in f32; in bf16 two, what comes before the first convolution in f32 for itself."""

    def __init__(self, graph: openvino.Model, precision: FloatPrecision) -> None:
        head = _cut_head(graph) if precision == "bf16" else None
        self._head = None if head is None else compile_graph(head, "f32").create_infer_request()
        self._body = compile_graph(graph, precision).create_infer_request()
        self._lock = threading.Lock()  # a request computes one thing at a time

    def __call__(self, given: dict[str, Any]) -> Unit:
        with self._lock:
            if self._head is not None:
                given = {**given, "features": compute(self._head, given)}
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
    """The first output for these inputs, as a copy; inputs that the graph does not have are left out.

    Waiting for what was started tells of every failure. Computing at once (`infer`) does not: with one thread
    OpenVINO 2026.4 keeps an allocation that failed to itself, and what lies there is an earlier result.
    """
    wanted = {entry.any_name: given[entry.any_name] for entry in request.model_inputs}
    request.start_async(wanted, share_inputs=True)
    request.wait()
    result: Unit = request.get_output_tensor().data.copy()
    return result


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
    """Cut off what comes before the first convolution; `graph` is changed to take it as "features".

    Returns:
        The part that was cut off; None where the first convolutions take the image itself, or not all the
        same.
    """
    behind: set[str] = set()
    first = []
    for node in graph.get_ordered_ops():
        sources = [entry.get_source_output() for entry in node.inputs()]
        convolution = node.get_type_name() in CONVOLUTIONS
        if convolution and sources[0].get_node().get_name() not in behind:
            first.append(node)
        if convolution or any(source.get_node().get_name() in behind for source in sources):
            behind.add(node.get_name())
    entries = {node.input(0).get_source_output() for node in first}
    if len(entries) != 1:
        return None
    (entry,) = entries
    if entry.get_node().get_type_name() == "Parameter":
        return None
    features = openvino.opset13.parameter(
        entry.get_partial_shape(), entry.get_element_type(), name="features"
    )
    features.output(0).set_names({"features"})
    for node in first:
        node.input(0).replace_source_output(features.output(0))
    head = openvino.Model([openvino.opset13.result(entry)], graph.get_parameters(), "head")
    graph.add_parameters([features])
    return head
