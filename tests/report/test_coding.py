"""Grey values as a page takes them: every bit comes back, by a reader that shares no line with the writer."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from packed_pixels import unpacked
from PIL import Image

from longexposure.report.coding import packed, png_of

Array = np.ndarray[Any, Any]


def odd_floats() -> Array:
    values = np.random.default_rng(2).normal(0, 1e6, (7, 5)).astype(np.float32)
    values[0] = np.nan, np.inf, -np.inf, -0.0, 1e-45
    return values


@pytest.mark.parametrize(
    "image",
    [
        np.array([[0]], np.uint8),
        np.array([[255], [0], [255]], np.uint8),
        np.array([[0, 65535, 0, 32768, 32767]], np.uint16),
        np.random.default_rng(0).integers(0, 65536, (13, 17)).astype(np.uint16),
        np.random.default_rng(1).integers(0, 256, (6, 9)).astype(np.uint8),
        np.random.default_rng(3).integers(0, 65536, (8, 10)).astype(np.uint16)[::2, ::-1],
        odd_floats(),
    ],
    ids=lambda image: f"{image.dtype}-{image.shape}",
)
def test_every_bit_comes_back(image: Array) -> None:
    copy = image.copy()
    found = unpacked(packed(image), image.dtype, image.shape)
    np.testing.assert_array_equal(found.view(np.uint8), np.ascontiguousarray(copy).view(np.uint8))
    np.testing.assert_array_equal(image, copy)


def test_noise_takes_less_room_than_deflated_alone() -> None:
    noise = np.random.default_rng(0).normal(20_000, 200, (256, 256)).astype(np.uint16)
    assert len(packed(noise)) < 0.95 * len(zlib.compress(noise.tobytes(), 9))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (12, 31)])
def test_thumbnail_is_a_png_that_others_read(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = Image.open(io.BytesIO(png_of(image)))
    read.load()
    assert read.mode == "L"
    np.testing.assert_array_equal(np.asarray(read), image)
