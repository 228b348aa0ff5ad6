"""Pairs, and all studies of them run once."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import TINY, write_types

from longexposure.study import compare
from longexposure.study.suite import study


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_types(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def everything(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `study all` with a tiny budget; memory, which takes processes, is not measured."""
    out = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "peak_memory", lambda model, side_px: 1.0)
        study("all", out=out, data=data, budget=TINY, device="cpu")
    return out
