"""What tests of the hot folder find there."""

from __future__ import annotations

from pathlib import Path

import pytest

from longexposure.service import asking, outcomes, working
from longexposure.service.hot_folder import HotFolder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty folder to watch."""
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def folder(source: Path, out: Path) -> HotFolder:
    return HotFolder(source, out, settle_s=0.05, poll=True)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LONGEST_WAIT_S", 0.3)
    monkeypatch.setattr(outcomes, "LONGEST_WAIT_S", 0.3)
    monkeypatch.setattr(outcomes, "LONGEST_FILE_WAIT_S", 0.3)
    monkeypatch.setattr(working, "LOOK_S", 0.1)
