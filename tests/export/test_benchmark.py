"""Benching: every engine is measured, and what is said of it is true of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.engines.base import ENGINES
from longexposure.engines.exported import COUNTS
from longexposure.errors import CheckpointError, RecipeError
from longexposure.export import benchmark as benching
from longexposure.export.benchmark import Bench, bench, operations_per_px
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.framework import Framework, FrameworkConfig


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain stack that takes milliseconds."""
    monkeypatch.setattr(benching, "SIDE_PX", 16)
    monkeypatch.setattr(benching, "DEPTH", 2)


@pytest.fixture
def result(quick: None) -> Bench:
    return bench("fast", size_px=66, rounds=2)


def test_every_installed_engine_and_precision_is_measured(result):
    measured = {(line.engine, line.precision) for line in result.lines if line.device == "cpu"}
    left_out = {tuple(name.split()) for name in result.left_out}
    expected = {(name, p) for name, kind in ENGINES.items() for p in kind.precisions}
    assert measured | left_out == expected
    assert measured >= {("torch", "f32"), ("torch", "bf16")}
    assert {n for n, kind in ENGINES.items() if kind.installed} <= {engine for engine, _ in measured}


def test_f32_is_within_a_count_and_bf16_within_a_tenth_of_the_error_left(result):
    for line in result.lines:
        assert line.error_left > 50
        if line.precision == "f32":
            assert line.largest <= 1
            assert line.rms <= line.largest
        else:
            assert 1 < line.rms < 0.1 * line.error_left


def test_first_line_is_torch_in_f32_which_the_others_are_compared_with(result):
    first = result.lines[0]
    assert (first.engine, first.precision, first.device) == ("torch", "f32", "cpu")
    assert (first.speed, first.largest, first.rms) == (1, 0, 0)
    assert all(line.s_per_mpx > 0 and line.gflops > 0 for line in result.lines)
    for line in result.lines:
        assert line.plain_gflops is not None
        assert line.fraction == pytest.approx(line.gflops / line.plain_gflops)


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes CUDA here")
def test_what_auto_takes_is_marked_once_a_precision(result):
    chosen = [(line.engine, line.precision) for line in result.lines if line.chosen]
    assert ("openvino" if ENGINES["openvino"].installed else "torch", "f32") in chosen
    assert sorted(precision for _, precision in chosen) == ["bf16", "f32"]


def test_tile_is_rounded_up_to_what_the_model_takes_and_told(result):
    assert result.setting["side_px"] == 68
    assert result.setting["rounds"] == 2
    assert result.setting["versions"]["torch"] == torch.__version__


def test_figures_follow_from_the_times(quick, monkeypatch):
    """With a clock that we hold: 0.5 s for the network, 0.25 s for the stack, in every round."""
    clock = iter(np.cumsum([0.0, 0.5, 0.0, 0.25] * 1000))
    monkeypatch.setattr(benching.time, "perf_counter", lambda: next(clock))
    found = bench("fast", size_px=64, rounds=3)
    operations = found.setting["operations_per_px"] * 64 * 64
    for line in found.lines:
        assert line.s_per_mpx == pytest.approx(0.5 / (64 * 64 / 1e6))
        assert line.gflops == pytest.approx(operations / 0.5 / 1e9)
        assert line.plain_gflops == pytest.approx(benching.PLAIN_OPERATIONS / 0.25 / 1e9)
        assert line.speed == 1


def test_rounds_take_turns(quick, monkeypatch):
    order: list[object] = []
    original = benching._seconds
    monkeypatch.setattr(benching, "_seconds", lambda work: (order.append(work), original(work))[1])
    told: list[int] = []
    bench("fast", size_px=64, rounds=2, on_round=told.append)
    one_round = len(order) // 3
    assert order[:one_round] == order[one_round : 2 * one_round] == order[2 * one_round :]
    assert len(set(map(id, order[:one_round]))) == one_round
    assert told == [1, 2]


def test_plain_stacks_compute_the_same_in_every_engine(quick):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    image = random.standard_normal((1, 64, 16, 16), np.float32)
    weights = random.standard_normal((2, 64, 64, 3, 3), np.float32) / 24
    from longexposure.engines.onnx import open_session

    (ours,) = open_session(benching.plain_onnx(weights)).run(None, {"x0": image})
    expected = torch.from_numpy(image)
    for kernel in weights:
        expected = torch.nn.functional.conv2d(expected, torch.from_numpy(kernel), padding=1)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=0, atol=1e-4)


def test_operations_of_the_networks_by_hand():
    """fast: on the grid of 4 px, its second look on that of 2; framework without encoder: on every pixel."""
    fast = Fast(FastConfig(width=8, blocks=2))
    layers = 9 * ((16 + 2 + 5) * 8 + 4 * 8 * 8 + 8 * 16)
    second = 9 * ((4 + 8 // 4) * 24 + 2 * 24 * 24 + 24 * 4)
    assert operations_per_px(fast) == 2 * (layers / 16 + second / 4)
    framework = Framework(FrameworkConfig(width=2, scale=1, encoder="bicubic"))
    dense = 9 * sum(i * 2 * 2 for i in range(1, 6)) + 12 * 2
    assert operations_per_px(framework) == 2 * (9 * 2 + 8 * dense + 9 * 4 + 9 * 2)


@pytest.mark.parametrize("settings", [{"size_px": 0}, {"size_px": 10**6}, {"rounds": 0}])
def test_senseless_sizes_are_refused(settings):
    with pytest.raises(RecipeError, match=r"expected a whole number from \d+ to \d+, found"):
        bench("fast", **settings)


def test_a_model_without_weights_is_refused():
    with pytest.raises(CheckpointError, match="expected a network with weights"):
        bench("nlm")


def test_command_prints_a_table_and_writes_json(quick, tmp_path):
    target = tmp_path / "bench.json"
    call = ["bench", "--size", "64", "--rounds", "1", "--json", str(target)]
    done = CliRunner().invoke(cli.app, call)
    assert done.exit_code == 0, done.stderr
    assert "s/Mpx" in done.stdout
    assert "torch" in done.stdout
    values = json.loads(target.read_text())
    assert values["lines"][0]["engine"] == "torch"
    assert len(values["weights_sha256"]) == 64
    again = CliRunner().invoke(cli.app, call)
    assert again.exit_code == 4
    assert "existing file" in again.stderr
    assert COUNTS == 65535


def test_json_on_stdout_is_nothing_but_json(quick):
    done = CliRunner().invoke(cli.app, ["bench", "--size", "64", "--rounds", "1", "--json", "-"])
    assert json.loads(done.stdout)["setting"]["side_px"] == 64
    assert "s/Mpx" in done.stderr


@pytest.mark.slow
def test_a_checkpoint_that_was_not_exported_is_measured_too(quick, tmp_path):
    pytest.importorskip("onnxscript")
    from longexposure.models.registry import shipped_weights

    copy = tmp_path / "m.safetensors"
    copy.write_bytes(Path(shipped_weights()["fast"]).read_bytes())
    found = bench(copy, size_px=64, rounds=1)
    assert {line.engine for line in found.lines} == {n for n, kind in ENGINES.items() if kind.installed}
    assert list(tmp_path.iterdir()) == [copy], "nothing is left beside the checkpoint"
