"""Exported files: what they say of themselves, and what is refused; the gate that engines must pass."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from longexposure.engines.exported import (
    COUNTS,
    FORMAT,
    Exported,
    Probe,
    check_parity,
    deviation,
    find_exported,
    metadata_of,
    parse_exported,
    read_exported,
)
from longexposure.errors import CheckpointError, ResourceError
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import sha256_of
from longexposure.models.registry import shipped_weights

onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests")

SPEC = ModelSpec(size_multiple=4, receptive_field=9, conditioned=True, bytes_per_px=77)


def a_probe(seed: int = 0, error_left: float = 0.02) -> Probe:
    random = np.random.default_rng(seed)
    tile, expected = random.normal(0.5, 0.3, (2, 2, 8, 12)).astype(np.float32)
    return Probe(tile, random.random(5, np.float32), expected, error_left)


def a_file(metadata: dict[str, str], *, operator: str = "Identity") -> bytes:
    """An ONNX file of one node, with a weight of some size before the metadata."""
    shape = ["batch", 1, "rows", "columns"]
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name in ("image", "enhanced")]
    weight = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "weight")
    node = onnx.helper.make_node(operator, ["image"], ["enhanced"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    onnx.helper.set_model_props(model, metadata)
    return model.SerializeToString()


def metadata(**changes: str) -> dict[str, str]:
    entries = metadata_of(weights_sha256="ab" * 32, spec=SPEC, probes=(a_probe(0), a_probe(1)))
    return entries | {f"longexposure.{name}": text for name, text in changes.items()}


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(a_file(metadata() | {"empty": "", "other": "é" * 300}))
    found = read_exported(tmp_path / "m.onnx")
    assert (found.weights_sha256, found.spec) == ("ab" * 32, SPEC)
    assert found.content == (tmp_path / "m.onnx").read_bytes()
    for probe, original in zip(found.probes, (a_probe(0), a_probe(1)), strict=True):
        for name in ("tile", "noise_condition", "expected"):
            ours, theirs = getattr(probe, name), getattr(original, name)
            assert ours.dtype == np.float32
            assert np.array_equal(ours, theirs)
        assert probe.error_left == original.error_left


@pytest.mark.parametrize("cut", [1, 2, 5, 50, 2000, 4300, -1, -40])
def test_a_file_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(CheckpointError, match=r"m\.onnx: expected an ONNX file written by this version"):
        parse_exported(a_file(metadata())[:cut], where="m.onnx")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "another tool"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "no ONNX file|another tool"),
        (b"\xff" * 64, "no ONNX file"),
        (b"PK\x03\x04" + bytes(99), "no ONNX file|another tool"),
        (a_file({}), "another tool"),
        (a_file(metadata(format=str(FORMAT + 1))), f"format {FORMAT + 1}"),
        (a_file(metadata(spec="{}")), "damaged metadata"),
        (a_file(metadata(spec="nothing")), "damaged metadata"),
        (a_file(metadata(probes='[{"shape": [1, 4, 4]}]')), "damaged metadata"),
        (a_file(metadata(probes=metadata()["longexposure.probes"].replace("8, 12", "8, 13"))), "damaged"),
    ],
)
def test_what_is_no_exported_model_is_refused_in_one_line(content: bytes, found: str) -> None:
    with pytest.raises(CheckpointError, match=f"found .*({found}).*export the model anew") as caught:
        parse_exported(content, where="m.onnx")
    assert "\n" not in str(caught.value)


def test_random_bytes_never_do_anything_but_fail() -> None:
    random = np.random.default_rng(3)
    whole = a_file(metadata())
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[random.integers(0, 40)] = random.integers(0, 256)
        try:
            parse_exported(bytes(damaged), where="m.onnx")
        except CheckpointError:
            continue


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_exported(tmp_path / "none.onnx")


def test_a_file_of_other_weights_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "m.safetensors"
    assert find_exported(checkpoint, "ab" * 32) is None
    assert caplog.messages == []
    (tmp_path / "m.onnx").write_bytes(a_file(metadata()))
    with caplog.at_level(logging.WARNING):
        assert find_exported(checkpoint, "cd" * 32) is None
    (line,) = caplog.messages
    assert "m.onnx is left out: it was exported from other weights" in line
    found = find_exported(checkpoint, "ab" * 32)
    assert found is not None
    assert found.spec == SPEC


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_exports_are_of_the_shipped_weights(name: str) -> None:
    """After replacing weights: longexposure export NAME --out .../weights/NAME.onnx --overwrite."""
    checkpoint = shipped_weights()[name]
    exported = read_exported(checkpoint.with_suffix(".onnx"))
    assert exported.weights_sha256 == sha256_of(checkpoint)


class Off:
    """Gives what is expected, and something on top."""

    spec = SPEC

    def __init__(self, probe: Probe, counts: float) -> None:
        self.probe, self.counts = probe, counts

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        assert np.array_equal(tile, self.probe.tile)
        assert np.array_equal(noise_condition, self.probe.noise_condition)
        result = self.probe.expected.copy()
        result[0, 3, 5] += self.counts / COUNTS
        return result


def exported(probe: Probe) -> Exported:
    return Exported(b"", "m.onnx", "ab" * 32, SPEC, (probe,))


def test_deviation_is_told_in_counts() -> None:
    found = deviation(Off(a_probe(), 4.0), a_probe(), exact=True)
    assert found.largest == pytest.approx(4.0, abs=0.02)
    assert found.rms == pytest.approx(4.0 / (2 * 8 * 12) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("exact", "counts", "passes"),
    [(True, 0.9, True), (True, 1.1, False), (True, float("nan"), False), (False, 1.1, True)],
)
def test_gate_in_f32_is_one_count_at_any_pixel(exact: bool, counts: float, passes: bool) -> None:
    engine = Off(a_probe(), counts)
    if passes:
        check_parity(engine, exported(a_probe()), name="engine x", exact=exact)
        return
    with pytest.raises(ResourceError, match="engine x: expected the results of torch in f32 within 1 count"):
        check_parity(engine, exported(a_probe()), name="engine x", exact=exact)


@pytest.mark.parametrize(("fraction", "passes"), [(0.09, True), (0.11, False)])
def test_gate_in_bf16_is_a_tenth_of_the_error_that_is_left(fraction: float, passes: bool) -> None:
    left = 0.001
    counts = fraction * left * COUNTS * (2 * 8 * 12) ** 0.5
    probe = dataclasses.replace(a_probe(), error_left=left)
    if passes:
        check_parity(Off(probe, counts), exported(probe), name="engine x", exact=False)
        return
    with pytest.raises(ResourceError, match=r"within 6\.55 counts rms of 65535"):
        check_parity(Off(probe, counts), exported(probe), name="engine x", exact=False)
