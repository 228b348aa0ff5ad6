"""OpenVINO and ONNX Runtime on the model that ships: torch's results, whatever is asked."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from longexposure.engines.base import ENGINES, Engine, threads
from longexposure.engines.choice import open_exported
from longexposure.engines.exported import COUNTS, Exported, read_exported
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.errors import CheckpointError, ResourceError
from longexposure.io import read_radiograph
from longexposure.models.registry import DEFAULT, shipped_weights
from longexposure.noise import NoiseProfile

VIEW = Path(__file__).parents[2] / "examples" / "radiographs" / "ic_5s_view4.tif"
NAMES = [name for name, kind in ENGINES.items() if name != "torch" and kind.installed]

pytestmark = pytest.mark.skipif(not NAMES, reason="no engine beside torch is installed")


@pytest.fixture(scope="module")
def exported() -> Exported:
    return read_exported(shipped_weights()[DEFAULT].with_suffix(".onnx"))


@pytest.fixture(scope="module")
def torch_engine() -> Engine:
    return load_enhancer(engine="torch", device="cpu").engine


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest, exported: Exported) -> Engine:
    return open_exported(request.param, exported)


@pytest.fixture(scope="module")
def untrained(exported: Exported) -> Exported:
    """The same network with output layers of zeros: it corrects nothing."""
    onnx = pytest.importorskip("onnx")
    proto = onnx.load_from_string(exported.content)
    ends = [weight for weight in proto.graph.initializer if weight.name.startswith(("tail.", "fine_tail."))]
    assert len(ends) == 4
    for weight in ends:
        weight.raw_data = bytes(len(weight.raw_data))
    probes = tuple(dataclasses.replace(probe, expected=probe.tile) for probe in exported.probes)
    return dataclasses.replace(exported, content=proto.SerializeToString(), probes=probes)


def bf16(exported: Exported) -> Any:
    openvino_engine = pytest.importorskip("longexposure.engines.openvino")
    if not openvino_engine.native_bf16():
        pytest.skip("this processor has no bf16")
    return openvino_engine.OpenVinoEngine(exported, precision="bf16")


def tiles(shape: tuple[int, int, int], *, sigma: float = 0.08, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[: shape[1], : shape[2]]
    clean = 0.3 + 0.4 * ((y // 11 + x // 15) % 2)
    return np.random.default_rng(seed).normal(clean, sigma, shape).astype(np.float32)


def noise_condition(sigma: float = 0.08) -> np.ndarray:
    return NoiseProfile(level=0.5, sigma=sigma, slope=0.003, corr_x=0.3).noise_condition()


def counts(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).max() * COUNTS)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 4), (2, 24, 40), (1, 4, 300), (1, 132, 76)])
@pytest.mark.parametrize("sigma", [0.002, 0.08, 0.35])
def test_gives_what_torch_gives_at_any_size(engine, torch_engine, shape, sigma):
    tile = tiles(shape, sigma=sigma)
    result = engine.run(tile, noise_condition(sigma))
    assert (result.dtype, result.shape) == (np.float32, shape)
    assert counts(result, torch_engine.run(tile, noise_condition(sigma))) <= 0.25
    assert counts(result, tile) > 20, "or nothing would have been compared"


def test_states_the_needs_of_the_model(engine, torch_engine):
    assert engine.spec == torch_engine.spec


def test_pages_of_a_batch_do_not_mix(engine):
    batch = tiles((3, 24, 32))
    together = engine.run(batch, noise_condition())
    for page, alone in zip(together, batch, strict=True):
        assert counts(engine.run(alone[None], noise_condition())[0], page) <= 0.25


@pytest.mark.parametrize(
    "view",
    [lambda a: a, lambda a: a[:, ::-1, ::-1], lambda a: a.transpose(0, 2, 1)],
    ids=["plain", "turned", "T"],
)
def test_input_is_not_modified_even_when_it_cannot_be(engine, view):
    tile, told = tiles((1, 24, 32)), noise_condition()
    before = tile.copy()
    tile.flags.writeable = told.flags.writeable = False
    result = engine.run(view(tile), told)
    assert np.array_equal(tile, before)
    assert np.array_equal(result, engine.run(np.ascontiguousarray(view(before)), noise_condition()))


def test_a_later_run_does_not_touch_an_earlier_result(engine):
    first = engine.run(tiles((1, 24, 32)), noise_condition())
    kept = first.copy()
    engine.run(tiles((1, 24, 32), seed=1), noise_condition())
    assert np.array_equal(first, kept)


def test_same_input_gives_the_same_bytes_also_after_other_sizes_and_a_reload(engine, exported):
    name = engine.info.engine
    first = engine.run(tiles((1, 40, 52)), noise_condition()).tobytes()
    engine.run(tiles((2, 64, 64)), noise_condition())
    assert engine.run(tiles((1, 40, 52)), noise_condition()).tobytes() == first
    assert open_exported(name, exported).run(tiles((1, 40, 52)), noise_condition()).tobytes() == first


def test_tiled_equals_whole_within_one_count(engine):
    image = np.rint(8000 + 40000 * tiles((1, 203, 157))[0]).clip(0, 65535).astype(np.uint16)
    small = Enhancer(engine, name="x", core_px=64).enhance(image).astype(int)
    whole = Enhancer(engine, name="x", core_px=2048).enhance(image).astype(int)
    assert np.abs(small - whole).max() <= 1


def test_a_real_radiograph_is_enhanced_as_torch_does(engine, torch_engine):
    image = read_radiograph(VIEW).pixels
    ours = Enhancer(engine, name="x").enhance(image).astype(int)
    assert np.abs(ours - Enhancer(torch_engine, name="torch").enhance(image)).max() <= 1
    assert np.abs(ours - image).max() > 5


@pytest.mark.parametrize("count", ["1", "2"])
def test_number_of_threads_changes_no_more_than_a_count(engine, exported, monkeypatch, count):
    monkeypatch.setenv("OMP_NUM_THREADS", count)
    other = open_exported(engine.info.engine, exported)
    tile = tiles((1, 132, 76))
    assert counts(other.run(tile, noise_condition()), engine.run(tile, noise_condition())) <= 0.25


@pytest.mark.parametrize(("told", "expected"), [("3", 3), ("5,2", 5), ("0", None), ("-1", None), ("x", None)])
def test_threads_are_those_of_openmp(monkeypatch, told, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    asked = threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert asked == (expected or threads())
    assert threads() >= 1


def test_engines_run_with_the_threads_that_are_asked_for(exported, monkeypatch):
    openvino_engine = pytest.importorskip("longexposure.engines.openvino")
    monkeypatch.setattr(openvino_engine, "threads", lambda: 1)
    compiled = openvino_engine.compile_graph(openvino_engine.read_graph(exported.content), "f32")
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.parametrize("wrong", [1.5, 400.0, float("nan")])
@pytest.mark.parametrize("name", NAMES)
def test_results_that_are_not_torchs_are_refused_on_loading(exported, name, wrong):
    probe = exported.probes[1]
    off = probe.expected.copy()
    off[1, 3, 5] += np.float32(wrong / COUNTS)
    lying = dataclasses.replace(exported, probes=(dataclasses.replace(probe, expected=off),))
    with pytest.raises(
        ResourceError, match=f"engine {name} f32: expected the results of torch.* --engine torch"
    ):
        open_exported(name, lying)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_that_cannot_be_computed_is_a_checkpoint_error(exported, name):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load_from_string(exported.content)
    proto.graph.node[5].op_type = "NoSuchOperator"
    for content in (proto.SerializeToString(), b"nothing"):
        broken = dataclasses.replace(exported, content=content)
        with pytest.raises(CheckpointError, match=f"expected a graph that {name} can compute") as caught:
            open_exported(name, broken)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is not told here")
def test_memory_that_really_runs_out_is_a_memory_error(name, count):
    code = f"""
import resource, numpy as np
from longexposure import load_enhancer
engine = load_enhancer(engine={name!r}).engine
told = np.array([.1, .3, 0, 0, 0], np.float32)
tile = np.zeros((1, 2048, 2048), np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)
try:
    engine.run(tile, told)
except MemoryError:
    print("MemoryError")
print(engine.run(tile[:, :64, :64], told).shape)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": str(count)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.splitlines() == ["MemoryError", "(1, 64, 64)"], done.stderr[-2000:]


@pytest.mark.parametrize("name", NAMES)
def test_enhancing_a_file_loads_no_torch(name, tmp_path):
    code = f"""
import sys
from longexposure.cli import app as cli
sys.argv = ["longexposure", "enhance", {str(VIEW)!r}, "--out", {str(tmp_path)!r}, "--engine", {name!r}]
try:
    cli.main()
finally:
    print(sorted(m for m in sys.modules if m.split(".")[0] in ("torch", "onnx", "onnxscript")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert f"{name} f32" in done.stdout


@pytest.mark.parametrize("precisions", [("f32", "f32"), ("bf16",), ("bf16", "f32", "bf16")])
def test_signals_are_handled_after_engines_were_released_in_any_order(precisions):
    """Engines come and go, the one `Core` of OpenVINO stays."""
    vino = pytest.importorskip("longexposure.engines.openvino")
    if "bf16" in precisions and not vino.native_bf16():
        pytest.skip("this processor has no bf16")
    code = f"""
import signal
from longexposure import load_enhancer
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
engines = [load_enhancer(engine="openvino", precision=precision) for precision in {precisions}]
while engines:
    del engines[0]
    signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n" * len(precisions)), done.stderr


def precisions_of(compiled: Any) -> set[str]:
    """In what the convolutions of a compiled model are computed, by its own account."""
    told = [operator.get_rt_info() for operator in compiled.get_runtime_model().get_ops()]
    return {i["runtimePrecision"].astype(str) for i in told if i["layerType"].astype(str) == "Convolution"}


def test_openvino_computes_in_the_precision_that_is_asked_for(exported):
    vino = pytest.importorskip("longexposure.engines.openvino")
    assert precisions_of(vino.OpenVinoEngine(exported)._body.get_compiled_model()) == {"f32"}
    assert precisions_of(bf16(exported)._body.get_compiled_model()) == {"bf16"}


def test_bf16_stays_within_a_tenth_of_the_error_that_is_left(exported):
    engine = bf16(exported)
    for probe in exported.probes:
        difference = engine.run(probe.tile, probe.noise_condition) - probe.expected
        assert 0 < np.sqrt(np.square(difference).mean()) < 0.1 * probe.error_left
    assert engine.info.precision == "bf16"


def test_bf16_takes_differences_of_grey_values_in_f32(exported, torch_engine):
    """Left to itself, OpenVINO rounds grey values before it subtracts them, and errs about twice as much."""
    engine = bf16(exported)
    vino = pytest.importorskip("longexposure.engines.openvino")
    whole = vino.compile_graph(vino.read_graph(exported.content), "bf16")
    tile, told = tiles((1, 128, 128), sigma=0.02), noise_condition(0.02)
    exact = torch_engine.run(tile, told)
    alone = whole({"image": tile[:, None], "noise": told[None]})[0][:, 0]
    ours, theirs = (np.sqrt(np.square(a - exact).mean()) for a in (engine.run(tile, told), alone))
    assert ours < 0.6 * theirs


def test_bf16_adds_the_correction_in_f32(untrained):
    tile = tiles((2, 24, 32))
    assert np.array_equal(bf16(untrained).run(tile, noise_condition()), tile), "untrained it corrects nothing"


def test_bf16_is_refused_where_the_processor_has_none(exported, monkeypatch):
    vino = pytest.importorskip("longexposure.engines.openvino")
    monkeypatch.setattr(vino, "native_bf16", lambda: False)
    with pytest.raises(ResourceError, match="--precision bf16: expected a processor with bf16 arithmetic"):
        open_exported("openvino", exported, "bf16")


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("flags\t: avx2 avx512f avx512_bf16", True),
        ("Features\t: asimd bf16 sve", True),
        ("flags\t: avx512f", False),
    ],
)
def test_bf16_that_is_only_emulated_does_not_count(monkeypatch, cpuinfo, native):
    vino = pytest.importorskip("longexposure.engines.openvino")

    class Core:
        def get_property(self, *_: str) -> list[str]:
            return ["FP32", "BF16"]

    monkeypatch.setattr(vino, "CORE", Core())
    monkeypatch.setattr(vino.Path, "read_text", lambda _: f"processor\t: 0\n{cpuinfo}\n")
    assert vino.native_bf16() == native


def test_a_network_that_takes_the_image_itself_needs_no_head(exported):
    onnx = pytest.importorskip("onnx")
    ends = [
        onnx.helper.make_tensor_value_info(name, 1, ["batch", 1, "rows", "columns"])
        for name in ("image", "enhanced")
    ]
    kernel = onnx.numpy_helper.from_array(np.full((1, 1, 3, 3), 0.1, np.float32), "kernel")
    node = onnx.helper.make_node("Conv", ["image", "kernel"], ["enhanced"], pads=[1, 1, 1, 1])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [kernel])
    proto = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    engine = bf16(dataclasses.replace(exported, content=proto.SerializeToString(), probes=()))
    assert engine._head is None
    tile = tiles((1, 24, 32))
    expected = 0.9 * uniform_filter(tile, (1, 3, 3), mode="constant")
    assert 1e-5 < np.abs(engine.run(tile, noise_condition()) - expected).max() < 0.01
