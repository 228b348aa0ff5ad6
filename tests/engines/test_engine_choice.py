"""Which engine computes: the rule of "auto", what is refused, and what is told."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from longexposure.engines import base as engines
from longexposure.engines import choice as loading
from longexposure.engines.base import ENGINES
from longexposure.engines.choice import load_engine
from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError, RecipeError, ResourceError
from longexposure.models.checkpoint import sha256_of
from longexposure.models.registry import DEFAULT, shipped_weights
from longexposure.radiograph import Radiograph

pytestmark = pytest.mark.skipif(
    not all(kind.installed for kind in ENGINES.values()), reason="not every engine is installed"
)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes CUDA here")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the default model, exported."""
    source = shipped_weights()[DEFAULT]
    for suffix in (".onnx", ".json"):
        shutil.copy(source.with_suffix(suffix), (tmp_path / "m").with_suffix(suffix))
    return Path(shutil.copy(source, tmp_path / "m.safetensors"))


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """A way to make packages look as if they were not installed."""

    def hide(*packages: str) -> None:
        there = engines.find_spec
        monkeypatch.setattr(engines, "find_spec", lambda name: None if name in packages else there(name))

    return hide


def chosen(checkpoint: Path, **settings: str) -> str:
    return str(load_engine(checkpoint, **settings).info)


@needs_no_gpu
@pytest.mark.parametrize(
    ("hidden", "expected"),
    [((), "openvino f32"), (("openvino",), "onnx f32"), (("openvino", "onnxruntime"), "torch f32")],
)
def test_auto_takes_the_first_that_is_installed(checkpoint, without, caplog, hidden, expected):
    without(*hidden)
    with caplog.at_level(logging.INFO, logger="longexposure"):
        assert chosen(checkpoint) == expected
    (line,) = caplog.messages
    assert line.startswith(f"computing with {expected.split()[0]} ")


def test_the_order_of_the_catalogue_is_that_of_auto():
    assert list(ENGINES) == ["openvino", "onnx", "torch"]


@needs_no_gpu
def test_auto_in_bf16_skips_engines_without_it(checkpoint, without):
    without("openvino")
    assert chosen(checkpoint, precision="bf16") == "torch bf16"


@needs_no_gpu
def test_auto_takes_torch_for_a_checkpoint_that_was_not_exported(checkpoint, caplog):
    checkpoint.with_suffix(".onnx").unlink()
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "torch f32"
    assert caplog.messages == []


@needs_no_gpu
def test_auto_never_uses_the_export_of_other_weights(checkpoint, caplog):
    stale = sha256_of(checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-4] + bytes(4))
    assert sha256_of(checkpoint) != stale
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "torch f32"
    (line,) = caplog.messages
    assert "exported from other weights" in line


@needs_no_gpu
def test_auto_leaves_out_a_damaged_export_in_a_line(checkpoint, caplog):
    export = checkpoint.with_suffix(".onnx")
    export.write_bytes(export.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "torch f32"
    (line,) = caplog.messages
    assert line.startswith("computing with torch: ")
    assert "\n" not in line


@needs_no_gpu
def test_auto_goes_on_in_a_line_when_an_engine_does_not_pass_the_gate(checkpoint, monkeypatch, caplog):
    from longexposure.engines import openvino as openvino_engine

    def refuse(*_: object, **__: object) -> None:
        raise ResourceError(where="engine openvino f32", expected="torch's", found="others", advice="so")

    monkeypatch.setattr(openvino_engine, "check_parity", refuse)
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "onnx f32"
    (line,) = caplog.messages
    assert line.startswith("engine openvino is left out: engine openvino f32: expected torch's")
    with pytest.raises(ResourceError, match="engine openvino f32"):
        load_engine(checkpoint, engine="openvino")


@needs_no_gpu
def test_auto_goes_on_when_an_installed_engine_cannot_be_imported(checkpoint, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "longexposure.engines.openvino", None)
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "onnx f32"
    (line,) = caplog.messages
    assert "engine openvino is left out" in line
    with pytest.raises(ResourceError, match=r"expected the package openvino.*longexposure\[openvino\]"):
        load_engine(checkpoint, engine="openvino")


@pytest.mark.parametrize(
    ("name", "package", "installs"),
    [
        ("openvino", "openvino", "pip install 'longexposure[openvino]'"),
        ("onnx", "onnxruntime", "pip install onnxruntime"),
        ("torch", "torch", "pip install 'longexposure[train]'"),
    ],
)
def test_an_engine_that_is_not_installed_names_what_installs_it(checkpoint, without, name, package, installs):
    without(package)
    with pytest.raises(ResourceError) as caught:
        load_engine(checkpoint, engine=name)
    assert str(caught.value).startswith(f"--engine {name}: expected the package {package}, found none; run ")
    assert f"`{installs}`" in str(caught.value)


def test_where_no_engine_is_left_those_that_would_do_are_named(checkpoint, without):
    without("torch", "openvino")
    with pytest.raises(ResourceError, match=r"computes it in bf16 \(openvino or torch\), found none"):
        load_engine(checkpoint, precision="bf16")
    checkpoint.with_suffix(".onnx").unlink()
    with pytest.raises(ResourceError, match=r"m\.onnx beside it, or the package torch, found neither"):
        load_engine(checkpoint)


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_an_engine_that_needs_an_export_names_the_command(checkpoint, name):
    checkpoint.with_suffix(".onnx").unlink()
    with pytest.raises(CheckpointError, match=r"run `longexposure export .*m\.safetensors --out .*m\.onnx"):
        load_engine(checkpoint, engine=name)


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_an_engine_that_is_asked_for_is_taken(checkpoint, name):
    assert chosen(checkpoint, engine=name, device="cpu") == f"{name} f32"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"engine": "openvino", "device": "cuda"},
            "--device cuda: expected auto or cpu with --engine openvino",
        ),
        ({"engine": "onnx", "device": "cuda"}, "--device cuda: expected auto or cpu with --engine onnx"),
        ({"engine": "onnx", "precision": "bf16"}, "--precision bf16: expected f32 with --engine onnx"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(checkpoint, settings, said):
    with pytest.raises(RecipeError, match=f"^{said}"):
        load_engine(checkpoint, **settings)


@pytest.mark.parametrize("model", ["identity", DEFAULT])
@pytest.mark.parametrize("engine", ["tensorrt", "OpenVINO", ""])
def test_an_unknown_engine_is_refused(model, engine):
    with pytest.raises(RecipeError, match=r"^engine: expected auto or openvino or onnx or torch"):
        load_enhancer(model, engine=engine)


def test_cuda_is_torchs(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="--device cuda: expected a CUDA device"):
        load_engine(checkpoint, device="cuda")


@pytest.mark.parametrize(("driver", "there", "expected"), [(True, True, True), (True, False, False)])
def test_a_driver_is_not_enough_for_cuda(monkeypatch, driver, there, expected):
    monkeypatch.setattr(loading.os.path, "exists", lambda _: driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert loading._cuda("auto") == expected


def test_without_a_driver_nothing_is_asked_of_torch(monkeypatch):
    monkeypatch.setattr(loading.os.path, "exists", lambda _: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("was asked"))
    assert not loading._cuda("auto")
    assert not loading._cuda("cpu")
    assert loading._cuda("cuda")


def test_looking_for_an_engine_does_not_import_it():
    code = (
        "import sys; from longexposure.engines.choice import ENGINES;"
        "[kind.installed for kind in ENGINES.values()];"
        "print([m for m in ('torch', 'openvino', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_history_tells_engine_version_and_precision(checkpoint, name):
    enhancer = load_enhancer(checkpoint, engine=name, device="cpu")
    image = np.random.default_rng(0).normal(3000, 50, (16, 20)).astype(np.uint16)
    told = enhancer.enhance(Radiograph(image)).history[-1].settings
    assert (told["engine"], told["precision"], told["device"]) == (name, "f32", "cpu")
    assert told["engine_version"][0].isdigit()
    assert told["weights_sha256"] == sha256_of(checkpoint)
    assert str(enhancer.engine.info) == f"{name} f32"


def test_a_classical_model_has_no_engine():
    assert load_enhancer("gaussian", engine="openvino").engine.info is None


def _allocate(said: str):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    return fail


@needs_no_gpu
def test_auto_goes_on_in_a_line_when_there_is_no_memory_to_load_an_engine(checkpoint, monkeypatch, caplog):
    from longexposure.engines import openvino as openvino_engine

    monkeypatch.setattr(openvino_engine, "compile_graph", _allocate("Failed to allocate 8 bytes of memory"))
    with caplog.at_level(logging.WARNING):
        assert chosen(checkpoint) == "onnx f32"
    (line,) = caplog.messages
    assert line.startswith("engine openvino is left out: engine openvino: expected memory for the model")
    with pytest.raises(ResourceError, match="expected memory for the model, found none left; close other"):
        load_engine(checkpoint, engine="openvino")


def test_no_memory_for_torch_itself_is_a_resource_error(checkpoint, monkeypatch):
    monkeypatch.setattr(loading, "read_checkpoint", _allocate("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(ResourceError, match="engine torch: expected memory for the model"):
        load_engine(checkpoint, engine="torch", device="cpu")


@pytest.fixture
def gpu(monkeypatch):
    """A torch that says it has a GPU, which is the CPU under another name."""
    from longexposure.engines import torch as torch_engine

    class Gpu(torch_engine.TorchEngine):
        def __init__(self, network, *, device="auto", precision="auto") -> None:
            super().__init__(network, device="cpu", precision=precision)
            if device != "cpu":
                self.device = torch.device("cuda")

        def run(self, tile, noise_condition):
            self.device, told = torch.device("cpu"), self.device
            result = super().run(tile, noise_condition)
            self.device = told
            return result

    monkeypatch.setattr(torch_engine, "TorchEngine", Gpu)
    monkeypatch.setattr(loading, "_cuda", lambda device: device != "cpu")
    return Gpu


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_gpu_that_passes_the_gate_is_taken(checkpoint, gpu, caplog, precision):
    with caplog.at_level(logging.WARNING):
        assert load_engine(checkpoint, precision=precision).info.device == "cuda"
    assert caplog.messages == []


@pytest.mark.parametrize("fault", ["full", "wrong"])
def test_a_gpu_that_is_full_or_computes_wrongly_is_left_out_in_a_line(
    checkpoint, gpu, monkeypatch, caplog, fault
):
    def run(self, tile, noise_condition):
        if fault == "full":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return tile + np.float32(1e-3)

    monkeypatch.setattr(gpu, "run", run)
    with caplog.at_level(logging.WARNING):
        assert load_engine(checkpoint).info.device == "cpu"
    (line,) = caplog.messages
    assert line.startswith("the GPU is left out: engine torch")
    assert ("memory for the model" in line) == (fault == "full")
    with pytest.raises(ResourceError, match=r"use --device cpu|--device cpu --precision f32"):
        load_engine(checkpoint, device="cuda")


def test_a_checkpoint_without_an_export_has_no_gate(checkpoint, gpu, monkeypatch):
    checkpoint.with_suffix(".onnx").unlink()
    monkeypatch.setattr(gpu, "run", lambda *_: pytest.fail("was asked"))
    assert load_engine(checkpoint, device="cuda").info.device == "cuda"
