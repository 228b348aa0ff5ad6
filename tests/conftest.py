"""What several test files need."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from longexposure.enhancing import Enhancer, load_enhancer
from longexposure.models import DEFAULT, shipped_weights


@pytest.fixture(scope="session")
def default_enhancer() -> Enhancer:
    """The model that ships, on the CPU."""
    if DEFAULT not in shipped_weights():
        pytest.skip(f"no weights named {DEFAULT} in src/longexposure/weights")
    return load_enhancer(device="cpu")


@pytest.fixture(autouse=True)
def _no_signal_handler_stays() -> Iterator[None]:
    """Take back the handler of ended children that torch's loaders leave behind.

    With OpenVINO loaded in the same process, the next child that ends would crash it.
    """
    yield
    if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other engines last: after them a signal with a handler crashes the process; why is not known."""
    items.sort(key=lambda item: item.path.name == "test_other_engines.py")
