"""One copy of the weights: a checkpoint in half precision, and an ONNX file that refers to its tensors.

ONNX calls this external data: a tensor is a place in another file of the same folder. ONNX Runtime and
OpenVINO read it where it stands, and cast it to float32 as they load.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from longexposure.errors import CheckpointError
from longexposure.models.checkpoint import Weights

HEADER_BYTES = 8
"""A safetensors file starts with its header's length, an unsigned little-endian number of so many bytes."""


def rounded(weights: Weights, *, where: str) -> Weights:
    """The weights in float16.

    Raises:
        CheckpointError: one that float16 cannot hold.
    """
    most = float(np.finfo(np.float16).max)
    largest = [float(np.abs(tensor).max(initial=0)) for tensor in weights.values()]
    too_large = [value for value in largest if not value <= most]
    if too_large:
        raise CheckpointError(
            where=where,
            expected=f"weights of at most {most:g}, which float16 can hold",
            found=f"{too_large[0]:g}",
            advice="export the model without --compact",
        )
    return {name: tensor.astype(np.float16) for name, tensor in weights.items()}


def referring(content: bytes, checkpoint: bytes, *, name: str) -> bytes:
    """An ONNX file whose weights stand in a checkpoint beside it.

    Args:
        content: the ONNX file with its weights in it, float32.
        checkpoint: safetensors with the same weights as float16, under the names that the ONNX file has.
        name: the file name of the checkpoint.
    """
    import onnx

    proto = onnx.load_from_string(content)
    graph, places = proto.graph, _places(checkpoint)
    kept, casts = [], []
    for tensor in graph.initializer:
        place = places.get(tensor.name)
        if place is None:
            kept.append(tensor)
            continue
        start, length = place
        half = onnx.TensorProto(
            name=f"{tensor.name}.half",
            data_type=onnx.TensorProto.FLOAT16,
            dims=tensor.dims,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in {"location": name, "offset": start, "length": length}.items():
            half.external_data.add(key=key, value=str(value))
        kept.append(half)
        casts.append(
            onnx.helper.make_node(
                "Cast", [half.name], [tensor.name], name=f"{tensor.name}.cast", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*casts, *nodes])
    text: bytes = proto.SerializeToString(deterministic=True)
    return text


def _places(checkpoint: bytes) -> dict[str, tuple[int, int]]:
    """Where in a safetensors file each tensor starts, and its length in bytes."""
    length = int.from_bytes(checkpoint[:HEADER_BYTES], "little")
    header: dict[str, Any] = json.loads(checkpoint[HEADER_BYTES : HEADER_BYTES + length])
    first = HEADER_BYTES + length
    return {
        name: (first + facts["data_offsets"][0], facts["data_offsets"][1] - facts["data_offsets"][0])
        for name, facts in header.items()
        if name != "__metadata__"
    }
