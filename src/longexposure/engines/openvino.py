"""The OpenVINO engine: exported models on the CPU, in f32 or bf16, without torch.

The precision is always asked for: left alone, OpenVINO takes bf16 wherever the processor has it. In bf16 what
no convolution comes before is computed in f32 by a model of its own, because it takes differences of
grey values that are large beside the noise; what comes after the last one, the correction's addition to the
image above all, OpenVINO leaves in f32 by itself, which the parity gate holds it to.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np

from longexposure.engines.base import EngineInfo, Unit, threads
from longexposure.engines.exported import Exported, check_parity
from longexposure.engines.forks import check_not_forked
from longexposure.errors import ResourceError
from longexposure.system import as_memory_error, kept_private

with kept_private():
    import openvino

FloatPrecision = Literal["f32", "bf16"]
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")

CORE = openvino.Core()
"""The only one, and never released: processes on Linux whose `Core` objects came and went were seen to end
when a signal came (OpenVINO 2026.4).
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
        check_not_forked("openvino")
        if precision == "bf16" and not native_bf16():
            raise ResourceError(
                where="--precision bf16",
                expected="a processor with bf16 arithmetic",
                found="one without",
                advice="use --precision f32, which is as fast there and exact",
            )
        self.info = EngineInfo("openvino", openvino.get_version().split("-")[0], "cpu", precision)
        self.spec = exported.spec
        graph = read_graph(exported.source) if graph is None else graph
        head = cut_head(graph) if precision == "bf16" else None
        self._head = None if head is None else compile_graph(head, "f32").create_infer_request()
        self._body = compile_graph(graph, precision).create_infer_request()
        self._lock = threading.Lock()  # a request computes one thing at a time
        check_parity(self, exported)

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """See `Engine.run`."""
        check_not_forked("openvino")
        conditions = np.ascontiguousarray(np.tile(noise_condition, (len(tile), 1)), np.float32)
        given = {"image": np.ascontiguousarray(tile[:, None], np.float32), "noise": conditions}
        with as_memory_error(), self._lock:
            if self._head is not None:
                before = compute_all(self._head, given)
                given |= {f"before_{number}": value for number, value in enumerate(before)}
            result: Unit = compute(self._body, given)[:, 0]
        return result


def read_graph(source: bytes | Path, weights: bytes | None = None) -> openvino.Model:
    """The graph of an ONNX file or its bytes, or of the bytes of OpenVINO's own .xml and .bin."""
    return CORE.read_model(source) if isinstance(source, Path) else CORE.read_model(source, weights or b"")


def written_graph(graph: openvino.Model) -> tuple[bytes, bytes]:
    """A graph in OpenVINO's own format: the bytes of its .xml and its .bin."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("graph.xml", "graph.bin")]
        openvino.serialize(graph, *files)
        text, weights = (file.read_bytes() for file in files)
    return text, weights


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
    found = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != precision:
        raise ResourceError(
            where="engine openvino",
            expected=f"arithmetic in {precision}",
            found=found,
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


def cut_head(graph: openvino.Model) -> openvino.Model | None:
    """Cut off what no convolution comes before; `graph` is changed to take its results as inputs.

    Returns:
        The part that was cut off, whose outputs are, in order, the graph's new inputs `before_0`, `before_1`
        and so on; None where the convolutions take the image itself.
    """
    behind: set[str] = set()
    cuts: dict[str, tuple[Any, list[Any]]] = {}
    for node in graph.get_ordered_ops():
        inputs = [(entry, entry.get_source_output()) for entry in node.inputs()]
        follows = any(source.get_node().get_name() in behind for _, source in inputs)
        if follows or node.get_type_name() in CONVOLUTIONS:
            behind.add(node.get_name())
            for entry, source in inputs:
                # no constant, no shape and not the image or the noise itself, but what was computed from them
                constant = source.get_node().get_type_name() in ("Parameter", "Constant")
                computed = not constant and source.get_element_type() == openvino.Type.f32
                if computed and source.get_node().get_name() not in behind:
                    key = f"{source.get_node().get_name()}:{source.get_index()}"
                    cuts.setdefault(key, (source, []))[1].append(entry)
    outputs = []
    for number, (source, entries) in enumerate(cuts.values()):
        name, shape = f"before_{number}", source.get_partial_shape()
        parameter = openvino.opset13.parameter(shape, source.get_element_type(), name=name)
        parameter.output(0).set_names({name})
        for entry in entries:
            entry.replace_source_output(parameter.output(0))
        outputs.append(openvino.opset13.result(source, name=name))
        graph.add_parameters([parameter])
    return openvino.Model(outputs, graph.get_parameters()[: -len(outputs)], "head") if outputs else None
