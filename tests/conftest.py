"""What several test files need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.models.registry import DEFAULT, shipped_weights


@pytest.fixture(scope="session")
def default_enhancer() -> Enhancer:
    """The model that ships, on the CPU."""
    if DEFAULT not in shipped_weights():
        pytest.skip(f"no weights named {DEFAULT} in src/longexposure/models/weights")
    return load_enhancer(device="cpu")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder that is still to be made."""
    return tmp_path / "out"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums are added up in one order, and nothing small waits for threads.

    Of the module, so that it is there before what a module makes once.
    """
    import torch  # here, so that tests without it do not wait for it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seeded() -> Iterator[None]:
    """Torch's random numbers from seed 0, and as they were afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
