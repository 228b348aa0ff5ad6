"""The examples of programs that run an exported model without this package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from longexposure.enhance.enhancer import load_enhancer
from longexposure.models.registry import DEFAULT, shipped_weights
from longexposure.noise import NoiseProfile

SOURCE = Path(__file__).parents[2] / "examples" / "run_exported_model.cpp"


def test_program_in_cpp_is_short() -> None:
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_program_in_cpp_gives_what_the_enhance_path_gives(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    home = Path(openvino.__file__).parent
    (library,) = (home / "libs").glob("libopenvino.so.*")
    program = tmp_path / "enhance"
    build = ["g++", "-O1", "-std=c++17", str(SOURCE), "-o", str(program), f"-I{home / 'include'}"]
    subprocess.run([*build, str(library), f"-Wl,-rpath,{library.parent}"], check=True)
    height, width = 203, 157
    y, x = np.mgrid[:height, :width]
    scene = 20000 + 6000 * ((x // 40 + y // 60) % 2)
    image = np.random.default_rng(0).normal(scene, 600).astype("<u2")
    image.tofile(tmp_path / "in.raw")
    model = shipped_weights()[DEFAULT].with_suffix(".onnx")
    files = [model, tmp_path / "in.raw", tmp_path / "out.raw"]
    subprocess.run([program, *files, str(width), str(height), "600"], check=True)
    theirs = np.fromfile(tmp_path / "out.raw", "<u2").reshape(image.shape)
    told = NoiseProfile(level=23000, sigma=600)
    ours = load_enhancer(engine="torch", device="cpu").enhance(image, noise=told)
    assert np.abs(theirs.astype(int) - ours).max() <= 2, "percentiles are rounded another way"
    assert np.abs(theirs.astype(int) - image).mean() > 200
