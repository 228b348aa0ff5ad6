"""Exported files: what they say of themselves, and what is refused; the gate that engines must pass."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.engines.base import EngineInfo
from longexposure.engines.exported import (
    COUNTS,
    FORMAT,
    Exported,
    Probe,
    check_parity,
    find_exported,
    read_exported,
)
from longexposure.errors import CheckpointError, ResourceError
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import sha256_of
from longexposure.models.registry import shipped_weights

SPEC = ModelSpec(size_multiple=4, receptive_field=9, conditioned=True, bytes_per_px=77)


def a_probe(seed: int = 0, error_left: float = 0.02) -> Probe:
    random = np.random.default_rng(seed)
    tile, expected = random.normal(0.5, 0.3, (2, 2, 8, 12)).astype(np.float32)
    return Probe(tile, random.random(5, np.float32), expected, error_left)


CONTENT = np.random.default_rng(1).bytes(5000)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An ONNX file and the JSON beside it."""
    model = Exported(CONTENT, "m.onnx", "ab" * 32, SPEC, (a_probe(0), a_probe(1)))
    (tmp_path / "m.json").write_bytes(model.as_json())
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    return tmp_path / "m.onnx"


def refused(path: Path, found: str) -> None:
    with pytest.raises(
        CheckpointError, match=f"m.onnx: expected .*found .*({found}).*export the model anew"
    ) as caught:
        read_exported(path)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_back_to_the_bit(written: Path) -> None:
    found = read_exported(written)
    assert (found.weights_sha256, found.spec, found.content) == ("ab" * 32, SPEC, CONTENT)
    for probe, original in zip(found.probes, (a_probe(0), a_probe(1)), strict=True):
        for name in ("tile", "noise_condition", "expected"):
            ours, theirs = getattr(probe, name), getattr(original, name)
            assert ours.dtype == np.float32
            assert np.array_equal(ours, theirs)
        assert probe.error_left == original.error_left


@pytest.mark.parametrize("cut", [0, 1, 2, 50, 4300, -1])
def test_a_file_cut_short_is_refused(written: Path, cut: int) -> None:
    written.write_bytes(CONTENT[:cut])
    refused(written, r"another ONNX file, or a damaged one, than m\.json describes")
    written.write_bytes(CONTENT)
    beside = written.with_suffix(".json")
    beside.write_bytes(beside.read_bytes().rstrip()[:cut])
    refused(written, r"a damaged m\.json")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda values: values.update(format=FORMAT + 1), f"format {FORMAT + 1} in m.json"),
        (lambda values: values.update(spec={}), "damaged"),
        (lambda values: values.update(spec="nothing"), "damaged"),
        (lambda values: values.update(onnx_sha256="00"), "another ONNX file"),
        (lambda values: values.update(probes=[{"shape": [1, 4, 4]}]), "damaged"),
        (lambda values: values["probes"][0].update(shape=[2, 8, 13]), "damaged"),
        (lambda values: values["probes"][0].update(tile="?"), "damaged"),
        (dict.clear, "damaged m.json .KeyError: 'format'"),
    ],
)
def test_what_is_no_exported_model_is_refused_in_one_line(
    written: Path, change: Callable[[dict[str, Any]], None], found: str
) -> None:
    values = json.loads(written.with_suffix(".json").read_bytes())
    change(values)
    written.with_suffix(".json").write_text(json.dumps(values))
    refused(written, found)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\x89PNG\r\n\x1a\n", b"\xff" * 64, b"[" * 100_000])
def test_what_is_no_json_of_ours_is_refused_in_one_line(written: Path, content: bytes) -> None:
    written.with_suffix(".json").write_bytes(content)
    refused(written, "damaged")


def test_a_single_changed_byte_of_the_model_is_noticed(written: Path) -> None:
    random = np.random.default_rng(3)
    for place in random.integers(0, len(CONTENT), 50):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << random.integers(0, 8)
        written.write_bytes(damaged)
        refused(written, "a damaged one")


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_missing_file_is_a_checkpoint_error_that_names_it(written: Path, suffix: str) -> None:
    written.with_suffix(suffix).unlink()
    refused(written, rf"No such file or directory .*m\{suffix}")


def test_a_file_of_other_weights_is_left_out_and_told(
    written: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = written.with_suffix(".safetensors")
    assert find_exported(checkpoint.with_stem("other"), "ab" * 32) is None
    assert caplog.messages == []
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

    def __init__(self, probe: Probe, counts: float, *, exact: bool = True) -> None:
        self.probe, self.counts = probe, counts
        self.info = EngineInfo("x", "1", "cuda", "f32" if exact else "bf16")

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        assert np.array_equal(tile, self.probe.tile)
        assert np.array_equal(noise_condition, self.probe.noise_condition)
        result = self.probe.expected.copy()
        result[0, 3, 5] += self.counts / COUNTS
        return result


def exported(probe: Probe) -> Exported:
    return Exported(b"", "m.onnx", "ab" * 32, SPEC, (probe,))


def test_deviation_is_told_in_counts() -> None:
    with pytest.raises(ResourceError) as caught:
        check_parity(Off(a_probe(), 4.0), exported(a_probe()))
    largest, rms = map(float, re.findall(r"found ([0-9.]+) at most and ([0-9.]+) rms", str(caught.value))[0])
    assert largest == pytest.approx(4.0, abs=0.02)
    assert rms == pytest.approx(4.0 / (2 * 8 * 12) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("exact", "counts", "passes"),
    [(True, 0.9, True), (True, 1.1, False), (True, float("nan"), False), (False, 1.1, True)],
)
def test_gate_in_f32_is_one_count_at_any_pixel(exact: bool, counts: float, passes: bool) -> None:
    engine = Off(a_probe(), counts, exact=exact)
    if passes:
        check_parity(engine, exported(a_probe()))
        return
    said = "engine x f32 on cuda: expected the results of torch in f32 within 1 count"
    with pytest.raises(ResourceError, match=said):
        check_parity(engine, exported(a_probe()))


@pytest.mark.parametrize(("fraction", "passes"), [(0.09, True), (0.11, False)])
def test_gate_in_bf16_is_a_tenth_of_the_error_that_is_left(fraction: float, passes: bool) -> None:
    left = 0.001
    counts = fraction * left * COUNTS * (2 * 8 * 12) ** 0.5
    probe = dataclasses.replace(a_probe(), error_left=left)
    engine = Off(probe, counts, exact=False)
    if passes:
        check_parity(engine, exported(probe))
        return
    with pytest.raises(ResourceError, match=r"within 6\.55 counts rms of 65535"):
        check_parity(engine, exported(probe))
