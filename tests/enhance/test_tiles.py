"""Tiles: cover everything once, shrink with the memory, and give up only with one clear line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longexposure.enhance.tiles import (
    LARGEST_PX,
    SMALLEST_PX,
    core_size,
    plan,
    with_smaller_cores,
)
from longexposure.errors import ResourceError

GIB = 1 << 30


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (64, 64), (65, 63), (1, 300), (203, 157)])
@pytest.mark.parametrize("core_px", [1, 16, 64, 500])
@pytest.mark.parametrize("halo_px", [0, 8, 68])
def test_cores_cover_every_pixel_once_and_windows_reach_a_halo_beyond(height, width, core_px, halo_px):
    if core_px == 1 and height * width > 2000:
        core_px = 7
    covered = np.zeros((height, width), int)
    place = np.arange(height * width).reshape(height, width)
    for tile in plan(height, width, core_px=core_px, halo_px=halo_px):
        covered[tile.core] += 1
        assert np.array_equal(place[tile.window][tile.inside], place[tile.core])
        for core, window, size in zip(tile.core, tile.window, (height, width), strict=True):
            assert core.stop - core.start <= core_px
            assert window.start == max(0, core.start - halo_px)
            assert window.stop == min(size, core.stop + halo_px)
    assert (covered == 1).all()


def test_windows_start_on_the_grid_when_core_and_halo_do():
    starts = [tile.window for tile in plan(203, 157, core_px=64, halo_px=20)]
    assert all(part.start % 4 == 0 for window in starts for part in window)


@pytest.mark.parametrize("multiple", [1, 4, 24])
@pytest.mark.parametrize("halo_px", [0, 68, 216])
def test_core_grows_with_memory_within_its_limits_and_stays_a_multiple(halo_px, multiple):
    sizes = [
        core_size(halo_px=halo_px, multiple=multiple, bytes_per_px=1024, free_bytes=free)
        for free in (-5, 0, 1, 10**6, 10**9, 4 * 10**9, 10**10, 10**11, 10**15)
    ]
    assert sizes == sorted(sizes)
    assert all(size % multiple == 0 for size in sizes)
    assert sizes[0] == SMALLEST_PX // multiple * multiple
    assert sizes[-1] == LARGEST_PX // multiple * multiple
    assert len(set(sizes)) > 3


@pytest.mark.parametrize("free", [GIB, 4 * GIB, 16 * GIB])
def test_window_takes_at_most_a_quarter_of_the_free_memory(free):
    core = core_size(halo_px=68, multiple=4, bytes_per_px=1024, free_bytes=free)
    assert (core + 2 * 68) ** 2 * 1024 <= free / 4
    assert (core + 4 + 1 + 2 * 68) ** 2 * 1024 > free / 4


def test_a_core_of_less_than_two_halos_may_take_half_of_the_free_memory() -> None:
    facts = {"halo_px": 160, "multiple": 4, "bytes_per_px": 384}
    scarce = core_size(free_bytes=200 << 20, **facts)
    assert 4 * 64 < 4 * scarce < 4 * 320  # the quarter would leave 41 px
    assert (scarce + 320) ** 2 * 384 <= (200 << 20) / 2 < (scarce + 4 + 1 + 320) ** 2 * 384
    assert core_size(free_bytes=340 << 20, **facts) == 320  # half would be more, a quarter less
    assert core_size(free_bytes=2 << 30, **facts) == 862 // 4 * 4


def test_core_is_never_smaller_than_the_grid():
    assert core_size(halo_px=0, multiple=100, bytes_per_px=1, free_bytes=0) == 100


def _torch_cannot_allocate() -> None:
    torch.empty(1 << 52, dtype=torch.uint8)


def _raise(error: Exception) -> None:
    raise error


OUT_OF_MEMORY = {
    "numpy": lambda: np.empty((1 << 56,), np.uint8),
    "torch-cpu": _torch_cannot_allocate,
    "torch-cuda": lambda: _raise(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")
    ),
    "bare": lambda: _raise(MemoryError()),
}
every_way = pytest.mark.parametrize("fail", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)


@every_way
def test_out_of_memory_means_smaller_cores(fail, caplog):
    tried = []

    def attempt(core_px: int) -> None:
        tried.append(core_px)
        if core_px > 128:
            fail()

    assert with_smaller_cores(1000, 4, attempt) == 124
    assert tried == [1000, 500, 248, 124]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "124 px" in caplog.records[-1].getMessage()


@every_way
def test_no_room_for_the_smallest_core_is_a_resource_error(fail):
    tried = []

    def attempt(core_px: int) -> None:
        tried.append(core_px)
        fail()

    with pytest.raises(ResourceError, match=r"memory: expected room for a tile of 6\d px, found none; close"):
        with_smaller_cores(500, 4, attempt)
    assert tried == [500, 248, 124, 60]


def test_grid_coarser_than_the_smallest_core_ends_too():
    with pytest.raises(ResourceError, match="tile of 100 px"):
        with_smaller_cores(400, 100, lambda core_px: _raise(MemoryError()))


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("x"), KeyboardInterrupt()]
)
def test_other_errors_pass_through_at_once(error):
    tried = []

    def attempt(core_px: int) -> None:
        tried.append(core_px)
        raise error

    with pytest.raises(type(error)) as caught:
        with_smaller_cores(500, 4, attempt)
    assert caught.value is error
    assert tried == [500]


def test_one_core_holds_an_image_that_the_halo_covers() -> None:
    facts = {"multiple": 16, "bytes_per_px": 1500, "free_bytes": 2**33}
    assert core_size(halo_px=7424, longest_px=1900, **facts) == 1904
    assert core_size(halo_px=132, longest_px=1900, **facts) == core_size(halo_px=132, **facts)


def test_huge_images_have_smaller_cores() -> None:
    facts = {"halo_px": 132, "multiple": 4, "bytes_per_px": 160}
    assert core_size(longest_px=16384, free_bytes=2**35, **facts) == 2048
    assert core_size(longest_px=16385, free_bytes=2**35, **facts) == 1024
    assert core_size(longest_px=16385, free_bytes=2**20, **facts) == SMALLEST_PX
