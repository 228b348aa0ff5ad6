"""The ONNX Runtime engine: exported models on the CPU, in f32, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from longexposure.engines.base import EngineInfo, Unit, threads
from longexposure.engines.exported import Exported, check_parity
from longexposure.engines.forks import check_not_forked
from longexposure.system import as_memory_error, kept_private

with kept_private():
    import onnxruntime

ERRORS_ONLY = 3


class OnnxEngine:
    """An exported model in ONNX Runtime.

    Raises:
        ResourceError: its results are not torch's on this host.
    """

    def __init__(self, exported: Exported) -> None:
        check_not_forked("onnx")
        self.info = EngineInfo("onnx", onnxruntime.__version__, "cpu", "f32")
        self.spec = exported.spec
        self._session = open_session(exported.source)
        self._inputs = {node.name for node in self._session.get_inputs()}
        check_parity(self, exported)

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """See `Engine.run`."""
        check_not_forked("onnx")
        conditions = np.ascontiguousarray(np.tile(noise_condition, (len(tile), 1)), np.float32)
        given = {"image": np.ascontiguousarray(tile[:, None], np.float32), "noise": conditions}
        with as_memory_error():
            (output,) = self._session.run(None, {name: given[name] for name in self._inputs})
        result: Unit = output[:, 0]
        return result


def open_session(source: bytes | Path) -> Any:
    """A session of ONNX Runtime on the CPU for an ONNX file or its bytes, with `threads()` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
