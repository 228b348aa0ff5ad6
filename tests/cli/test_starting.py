"""What one `longexposure enhance` does not do before it computes: load what it does not need, call home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longexposure.io import write_radiograph
from longexposure.radiograph import Radiograph

NOT_NEEDED = ("torch", "openvino.tools.ovc", "openvino_telemetry", "multiprocessing", "onnxruntime")

COMMAND = """
import json, os, sys
forks = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: forks.append(1))
from longexposure.cli.app import app
app(sys.argv[1:], prog_name="longexposure", standalone_mode=False)
print(json.dumps({"forks": len(forks), "modules": sorted(sys.modules)}))
"""
"""The command line, with what it has loaded and how often it has forked as its last line."""


@pytest.fixture
def started(tmp_path: Path) -> dict[str, object]:
    """What is left after one small image went through OpenVINO, in a home of its own."""
    pytest.importorskip("openvino")
    image = np.random.default_rng(0).normal(20000, 300, (72, 80)).round().astype(np.uint16)
    source = write_radiograph(Radiograph(image), tmp_path / "in.tif")
    home = tmp_path / "home"
    home.mkdir()
    arguments = ["enhance", str(source), "--out", str(tmp_path / "out"), "--engine", "openvino"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(home), "CI": "false"},
    )
    assert "openvino f32" in done.stdout
    return json.loads(done.stdout.splitlines()[-1]) | {"home": list(home.rglob("*"))}


def test_the_quick_engine_loads_nothing_slow_and_reports_to_nobody(started):
    """OpenVINO's converter of models would: from a forked process, with a number for the user in the home."""
    assert [name for name in NOT_NEEDED if name in started["modules"]] == []
    assert started["forks"] == 0
    assert started["home"] == []


def test_openvino_itself_is_whole_afterwards():
    pytest.importorskip("openvino")
    code = """
import sys
import longexposure.engines.openvino
assert "openvino.tools.ovc" not in sys.modules
import openvino.tools.ovc
print(openvino.tools.ovc.convert_model.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CI": "true"},
    )
    assert done.stdout == "convert_model\n"
