"""What several test files need."""

from __future__ import annotations

import pytest

from longexposure.enhancing import Enhancer, load_enhancer
from longexposure.models import DEFAULT, shipped_weights


@pytest.fixture(scope="session")
def default_enhancer() -> Enhancer:
    """The model that ships, on the CPU."""
    if DEFAULT not in shipped_weights():
        pytest.skip(f"no weights named {DEFAULT} in src/longexposure/weights")
    return load_enhancer(device="cpu")
