"""One copy of the weights: a checkpoint in float16 and an ONNX file that refers to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from longexposure.engines.choice import load_engine
from longexposure.engines.exported import COUNTS, read_exported
from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError, OutputError
from longexposure.export.compact import rounded
from longexposure.export.exporter import export
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, read_checkpoint, sha256_of
from longexposure.models.fast import Fast, FastConfig
from longexposure.noise import NoiseProfile

TOLD = NoiseProfile(level=0.5, sigma=0.1).noise_condition()
TILE = np.random.default_rng(0).normal(0.5, 0.1, (2, 24, 36)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in float32."""
    torch.manual_seed(4)
    network = Fast(FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=1))
    with torch.no_grad():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    path.write_bytes(
        checkpoint_bytes(weights, Header(format=FORMAT, model=network.config.model_dump(), summary="small"))
    )
    return path


@pytest.fixture(scope="module")
def compact(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the export wrote as mine.*"""
    folder = tmp_path_factory.mktemp("compact")
    before = trained.read_bytes()
    written = export(trained, folder / "mine.onnx", compact=True)
    assert trained.read_bytes() == before
    assert set(folder.iterdir()) == set(written.files)
    assert max(written.largest.values()) < 0.5
    assert 0 < written.rounded_by < 0.01
    return folder


@pytest.fixture
def copy(compact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compact, tmp_path / "elsewhere"))


def test_the_weights_are_there_once_and_in_half_precision(trained: Path, compact: Path) -> None:
    header, weights = read_checkpoint(compact / "mine.safetensors")
    was, full = read_checkpoint(trained)
    assert header == was
    assert all(np.array_equal(weights[name], full[name].astype(np.float16)) for name in full)
    assert (compact / "mine.safetensors").stat().st_size < 0.6 * trained.stat().st_size
    proto = onnx.load(compact / "mine.onnx", load_external_data=False)
    outside = {tensor.name for tensor in proto.graph.initializer if tensor.data_location}
    assert outside == {f"{name}.half" for name in full}
    inside = [tensor for tensor in proto.graph.initializer if not tensor.data_location]
    assert sum(np.prod(tensor.dims, dtype=int) for tensor in inside) < 64
    onnx.checker.check_model(str(compact / "mine.onnx"))


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_engines_compute_what_torch_computes_wherever_the_files_lie(copy: Path, engine: str) -> None:
    found = load_engine(copy / "mine.safetensors", engine=engine, device="cpu").run(TILE, TOLD)
    expected = load_engine(copy / "mine.safetensors", engine="torch", device="cpu").run(TILE, TOLD)
    assert COUNTS * np.abs(found - expected).max() < 0.5
    assert not np.array_equal(expected, TILE)


def test_auto_takes_the_exported_file(copy: Path) -> None:
    info = load_enhancer(copy / "mine.safetensors", device="cpu").engine.info
    assert info is not None
    assert info.engine == "openvino"


def test_other_weights_beside_it_are_noticed(
    trained: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(trained, copy / "mine.safetensors")
    info = load_engine(copy / "mine.safetensors", device="cpu").info
    assert info is not None
    assert info.engine == "torch"
    assert "other weights" in caplog.text


def test_files_that_were_renamed_are_left_out_with_the_reason(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in list(copy.iterdir()):
        file.rename(file.with_stem("yours"))
    info = load_engine(copy / "yours.safetensors", device="cpu").info
    assert info is not None
    assert info.engine == "torch"
    assert "mine.safetensors" in caplog.text


def test_a_name_beside_it_alone_is_followed(copy: Path) -> None:
    exported = read_exported(copy / "mine.onnx")
    assert exported.weights_in == "mine.safetensors"
    assert exported.weights_sha256 == sha256_of(copy / "mine.safetensors")


def test_a_checkpoint_is_not_written_over_itself(trained: Path) -> None:
    with pytest.raises(OutputError, match="stays as it is"):
        export(trained, trained.with_suffix(".onnx"), compact=True, overwrite=True)
    assert list(trained.parent.iterdir()) == [trained]


def test_openvino_s_own_format_has_its_own_copy(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--format onnx"):
        export(trained, tmp_path / "a.xml", format="openvino", compact=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [7e4, -1e6, np.inf, np.nan])
def test_weights_that_float16_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(CheckpointError, match="float16"):
        rounded({"a": np.zeros(3, np.float32), "b": np.array([1, value], np.float32)}, where="test")
    assert rounded({"a": np.full(2, 65504, np.float32)}, where="test")["a"].max() == 65504
