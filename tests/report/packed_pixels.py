"""Grey values out of a page, by a reader that shares no line with the writer."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def unpacked(data: bytes, dtype: Any, shape: tuple[int, int]) -> Array:
    """What the docstring of `packed` says, number by number."""
    size = np.dtype(dtype).itemsize
    planes = zlib.decompress(data)
    count = shape[0] * shape[1]
    numbers = []
    for i in range(count):
        folded = sum(planes[plane * count + i] << (8 * plane) for plane in range(size))
        change = -(folded // 2) - 1 if folded % 2 else folded // 2
        numbers.append(((numbers[-1] if i % shape[1] else 0) + change) % 256**size)
    return np.array(numbers, dtype=f"u{size}").view(dtype).reshape(shape)
