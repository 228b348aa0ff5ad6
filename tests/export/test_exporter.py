"""Exporting: what is written computes what torch computes, says what it is, and is never half there."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from longexposure import system
from longexposure.cli import app as cli
from longexposure.engines.base import ENGINES
from longexposure.engines.choice import load_engine, open_exported
from longexposure.engines.exported import COUNTS, Exported, read_exported
from longexposure.engines.torch import TorchEngine
from longexposure.errors import CheckpointError, OutputError, ResourceError
from longexposure.export import exporter as exporting
from longexposure.export.exporter import check_export, convert, export
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, sha256_of
from longexposure.models.networks import NetworkConfig, build_network, parse_config
from longexposure.noise import NoiseProfile

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.skipif(
    not all(kind.installed for kind in ENGINES.values()), reason="not every engine is installed"
)

SMALL: dict[str, dict[str, Any]] = {
    "fast": {"width": 8, "blocks": 1},
    "unet": {"widths": [8, 8], "down": [1, 1], "up": [1]},
    "framework": {"width": 4, "z": 2},
    "edcnn": {"width": 4},
    "nafnet": {
        "width": 4,
        "encoder_blocks": [1, 1],
        "middle_blocks": 1,
        "decoder_blocks": [1, 1],
        "patch_px": 8,
    },
    "dncnn": {"depth": 4, "width": 4},
}
"""Every kind of network, as small as it gets."""


def small(kind: str) -> Any:
    """Random weights, and an output that is not the input."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(parse_config({"kind": kind, **SMALL[kind]}))
        for name, parameter in network.named_parameters():
            if name.startswith("tail.") or name.endswith(("beta", "gamma")):
                torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def header(network: Any) -> Header:
    return Header(
        format=FORMAT,
        model=network.config.model_dump(),
        summary="for a test",
        trained_on="nothing at all",
        licence="CC0-1.0",
        scores={"PSNR": 31.5},
    )


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a small network, not exported."""
    folder = tmp_path_factory.mktemp("run")
    network = small("fast")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    (folder / "checkpoint.safetensors").write_bytes(checkpoint_bytes(weights, header(network)))
    return folder


@pytest.fixture(scope="module")
def converted(run_folder: Path) -> Exported:
    return convert(small("fast"), header(small("fast")), weights_sha256="0" * 64, where="small")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch, converted: Exported) -> None:
    """Conversion, which takes seconds, from the fixture; the weights are the same."""

    def same(network: Any, header: Header, *, weights_sha256: str, where: str) -> Exported:
        content = converted.content.replace(b"0" * 64, weights_sha256.encode())
        return dataclasses.replace(converted, content=content, weights_sha256=weights_sha256, where=where)

    monkeypatch.setattr(exporting, "convert", same)


def test_every_kind_of_network_is_tried_here():
    union = get_args(NetworkConfig)[0]
    assert {config.model_fields["kind"].default for config in get_args(union)} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_every_network_exports_and_gives_what_torch_gives(kind):
    network = small(kind)
    exported = convert(network, header(network), weights_sha256="0" * 64, where=kind)
    assert exported.spec == network.spec
    for name in ("openvino", "onnx"):
        assert check_export(open_exported(name, exported), network) <= 0.5


def test_command_exports_what_the_engine_then_finds(run_folder, tmp_path):
    """The only test here that converts by the command itself, without any help."""
    checkpoint = tmp_path / "m.safetensors"
    checkpoint.write_bytes((run_folder / "checkpoint.safetensors").read_bytes())
    with pytest.raises(CheckpointError) as caught:
        load_engine(checkpoint, engine="openvino")
    (advised,) = re.findall(r"run `longexposure (.*)`", str(caught.value))
    result = CliRunner().invoke(cli.app, advised.split())
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[:2] == [str(tmp_path / "m.onnx"), str(tmp_path / "m.json")]
    assert sha256_of(checkpoint) in result.stdout
    assert "largest difference, openvino" in result.stdout
    tile = np.random.default_rng(0).normal(0.5, 0.1, (2, 24, 36)).astype(np.float32)
    told = NoiseProfile(level=0.5, sigma=0.1).noise_condition()
    expected = load_engine(checkpoint, engine="torch").run(tile, told)
    for name in ("openvino", "onnx"):
        ours = load_engine(checkpoint, engine=name).run(tile, told)
        assert np.abs(ours - expected).max() * COUNTS < 0.5
    assert np.abs(expected - tile).max() * COUNTS > 20


@pytest.mark.slow
def test_converting_again_gives_the_same_bytes(converted):
    again = convert(small("fast"), header(small("fast")), weights_sha256="0" * 64, where="small")
    assert again.content == converted.content


def test_file_tells_what_another_program_must_know(converted):
    proto = onnx.load_from_string(converted.content)
    onnx.checker.check_model(proto)
    told = {entry.key.removeprefix("longexposure."): entry.value for entry in proto.metadata_props}
    inputs = json.loads(told["inputs"])
    spec = small("fast").spec
    assert "1st percentile" in inputs["image"]
    assert f"multiples of {spec.size_multiple}:" in inputs["image"]
    assert f"border of {spec.halo} pixels" in inputs["image"]
    assert "log2(s) + 6" in inputs["noise"]
    assert "g + (enhanced - image) / a" in json.loads(told["outputs"])["enhanced"]
    assert (told["trained_on"], told["licence"], told["summary"]) == (
        "nothing at all",
        "CC0-1.0",
        "for a test",
    )
    assert Header.model_validate_json(told["header"]) == header(small("fast"))
    assert told["weights_sha256"] == "0" * 64
    assert ModelSpec(**json.loads(told["spec"])) == spec


def test_batch_height_and_width_are_free(converted):
    graph = onnx.load_from_string(converted.content).graph
    shapes = {
        end.name: [size.dim_param or size.dim_value for size in end.type.tensor_type.shape.dim]
        for end in (*graph.input, *graph.output)
    }
    image = ["batch", 1, "4*rows", "4*columns"]
    assert shapes == {"image": image, "noise": ["batch", 5], "enhanced": image}


def test_file_names_no_folder_of_this_host(converted):
    assert not re.search(rb"\.py\b|/home/|/tmp/|site-packages", converted.content)
    assert str(Path(exporting.__file__).parent).encode() not in converted.content


def test_probes_hold_what_torch_gives_and_the_error_left(converted):
    engine = TorchEngine(small("fast"), device="cpu")
    for probe in converted.probes:
        np.testing.assert_allclose(engine.run(probe.tile, probe.noise_condition), probe.expected, atol=1e-6)
        assert 0.3 * probe.noise_condition[0] < probe.error_left < 3 * probe.noise_condition[0]
    assert len({probe.tile.shape for probe in converted.probes}) == len(converted.probes) > 1


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_what_exists_stays_unless_it_may_be_overwritten(run_folder, tmp_path, at_once, kind):
    out = tmp_path / ("m" + exporting.SUFFIXES[kind])
    out.write_text("mine")
    with pytest.raises(OutputError, match="found an existing file"):
        export(run_folder, out, format=kind)
    assert out.read_text() == "mine"
    written = export(run_folder, out, format=kind, overwrite=True)
    assert written.files[0] == out
    assert all(path.stat().st_size > 1000 for path in written.files)
    assert sorted(tmp_path.iterdir()) == sorted(written.files)


def test_openvino_format_is_read_by_openvino_alone_and_has_the_metadata(run_folder, tmp_path, at_once):
    openvino = pytest.importorskip("openvino")
    written = export(run_folder, tmp_path / "m.xml", format="openvino")
    assert [path.name for path in written.files] == ["m.xml", "m.bin"]
    graph = openvino.Core().read_model(tmp_path / "m.xml")
    assert graph.get_rt_info(["longexposure", "weights_sha256"]).astype(str) == written.weights_sha256
    assert "1st percentile" in graph.get_rt_info(["longexposure", "inputs"]).astype(str)
    request = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tile = np.random.default_rng(0).normal(0.5, 0.1, (1, 1, 20, 28)).astype(np.float32)
    told = NoiseProfile(level=0.5, sigma=0.1).noise_condition()
    ours = request({"image": tile, "noise": told[None]})[0][:, 0]
    assert np.abs(ours - TorchEngine(small("fast")).run(tile[:, 0], told)).max() * COUNTS < 0.5
    weights = sum(parameter.numel() for parameter in small("fast").parameters())
    assert (tmp_path / "m.bin").stat().st_size >= 4 * weights, "in f32, not silently in f16"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_nothing_is_written_when_an_engine_differs(run_folder, tmp_path, at_once, monkeypatch, kind):
    run = TorchEngine.run

    def off(self: TorchEngine, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        result = run(self, tile, noise_condition)
        result[-1, -1, -1] += np.float32(2 / COUNTS)
        return result

    monkeypatch.setattr(TorchEngine, "run", off)
    with pytest.raises(ResourceError, match=r"within 1 count of 65535, found 2.*nothing was written"):
        export(run_folder, tmp_path / ("m" + exporting.SUFFIXES[kind]), format=kind)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_onnx_cannot_express_is_a_checkpoint_error():
    class Sorting(torch.nn.Module):
        spec = ModelSpec(size_multiple=1, receptive_field=0, conditioned=True)

        def forward(self, image: torch.Tensor, noise_condition: torch.Tensor) -> torch.Tensor:
            return image * float(image.sum()) if image.sum() > 0 else image

    with pytest.raises(CheckpointError, match="sorting: expected a network that ONNX can express") as caught:
        convert(Sorting(), header(small("fast")), weights_sha256="0" * 64, where="sorting")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("out", "kind"), [("m.xml", "onnx"), ("m.onnx", "openvino"), ("m", "onnx"), ("m.safetensors", "onnx")]
)
def test_a_name_that_does_not_fit_the_format_is_refused(run_folder, tmp_path, out, kind):
    with pytest.raises(OutputError, match=f"expected a name that ends in .* for --format {kind}"):
        export(run_folder, tmp_path / out, format=kind)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("onnxscript", r"no onnxscript; run `pip install 'longexposure\[train\]'`"),
        ("onnx", r"no onnx; run `pip install 'longexposure\[train\]'`"),
    ],
)
def test_missing_packages_are_named_with_what_installs_them(run_folder, tmp_path, monkeypatch, missing, said):
    there = system.find_spec
    monkeypatch.setattr(system, "find_spec", lambda name: None if name == missing else there(name))
    with pytest.raises(ResourceError, match=said):
        export(run_folder, tmp_path / "m.onnx")


def test_classical_models_and_unknown_ones_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="gaussian: expected a network with weights"):
        export("gaussian", tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="nothing of that name"):
        export("fsat", tmp_path / "m.onnx")


def test_reading_back_needs_nothing_but_the_two_files(run_folder, tmp_path, at_once):
    written = export(run_folder, tmp_path / "deep" / "m.onnx")
    exported = read_exported(tmp_path / "deep" / "m.onnx")
    assert exported.weights_sha256 == written.weights_sha256
    assert exported.weights_sha256 == sha256_of(run_folder / "checkpoint.safetensors")
    assert all(counts < 0.5 for counts in written.largest.values())
    assert set(written.largest) == {"openvino", "onnx"}
