"""Checkpoints: the same bytes for the same weights, and one clear line for every file that is none."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import save

from longexposure.errors import CheckpointError
from longexposure.models import networks
from longexposure.models.checkpoint import (
    FORMAT,
    KEY,
    Header,
    checkpoint_bytes,
    read_checkpoint,
    read_header,
    sha256_of,
)
from longexposure.models.dncnn import DnCNNConfig
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.framework import Framework, FrameworkConfig
from longexposure.models.nafnet import NAFNetConfig
from longexposure.models.networks import build_network, parse_config, restore_network

CONFIG = FastConfig(width=4, blocks=1, fine_width=0, fine_blocks=0)
HEADER = Header(
    format=FORMAT,
    model=CONFIG.model_dump(),
    summary="tiny, µ",
    trained_on="nothing",
    recipe={"seed": 3, "data": {"sigma": [0.1, 0.2]}},
    versions={"torch": "2"},
    scores={"psnr": 30.5},
    licence="CC0-1.0",
)


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return weights_of(Fast(CONFIG))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refusal(path: Path, *, reader=read_checkpoint) -> str:
    with pytest.raises(CheckpointError) as caught:
        reader(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: expected ")
    assert "\n" not in line
    assert caught.value.advice
    return line


def test_same_weights_give_the_same_bytes_whatever_their_order(weights):
    backwards = dict(reversed(weights.items()))
    assert list(backwards) != list(weights)
    assert checkpoint_bytes(weights, HEADER) == checkpoint_bytes(backwards, HEADER)
    strided = {name: np.asfortranarray(array) for name, array in weights.items()}
    assert checkpoint_bytes(strided, HEADER) == checkpoint_bytes(weights, HEADER)


def test_header_and_weights_come_back(weights, tmp_path):
    path = written(tmp_path / "a.safetensors", checkpoint_bytes(weights, HEADER))
    assert read_header(path) == HEADER
    header, back = read_checkpoint(path)
    assert header == HEADER
    assert set(back) == set(weights)
    for name, array in weights.items():
        assert back[name].dtype == np.float32
        assert np.array_equal(back[name], array)


def test_a_checkpoint_is_plain_safetensors(weights, tmp_path):
    path = written(tmp_path / "a.safetensors", checkpoint_bytes(weights, HEADER))
    theirs = safetensors.torch.load_file(path)
    assert set(theirs) == set(weights)
    assert np.array_equal(theirs["tail.weight"].numpy(), weights["tail.weight"])


def test_no_length_of_a_header_is_taken_for_a_pickle(tmp_path):
    """A safetensors file starts with that length, so its first bytes can be anything, \\x80 and PK too."""
    tiny = {"a": np.zeros(1, np.float32)}
    starts = set()
    for letters in [*range(0, 264, 8), *range(18600, 19100, 8)]:
        header = HEADER.model_copy(update={"summary": "x" * letters})
        content = checkpoint_bytes(tiny, header)
        starts |= {content[:1], content[:2]}
        assert read_header(written(tmp_path / "a.safetensors", content)) == header
    assert {b"\x80", b"PK"} <= starts


def test_half_precision_comes_back_as_single(weights, tmp_path):
    half = {name: array.astype(np.float16) for name, array in weights.items()}
    path = written(tmp_path / "a.safetensors", checkpoint_bytes(half, HEADER))
    _, back = read_checkpoint(path)
    for name, array in half.items():
        assert back[name].dtype == np.float32
        assert np.array_equal(back[name], array.astype(np.float32))
    assert path.stat().st_size < 0.75 * len(checkpoint_bytes(weights, HEADER))


def test_sha256_is_that_of_the_file(tmp_path):
    path = written(tmp_path / "a", b"x" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"x" * 100_000).hexdigest()


def _torch_file(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": 1}),
        pickle.dumps([1], protocol=4),
        _torch_file(legacy=False),
        _torch_file(legacy=True),
    ],
    ids=["pickle", "pickle-4", "torch", "torch-legacy"],
)
@pytest.mark.parametrize("reader", [read_header, read_checkpoint])
def test_a_pickle_is_refused_unopened(content, reader, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "load", lambda *_: pytest.fail("was opened"))
    line = refusal(written(tmp_path / "model.pth", content), reader=reader)
    assert "pickle" in line
    assert "save_file" in line


def test_a_file_cut_off_anywhere_is_refused(weights, tmp_path):
    whole = checkpoint_bytes(weights, HEADER)
    for length in (0, 1, 7, 8, 9, 200, len(whole) // 2, len(whole) - 1):
        line = refusal(written(tmp_path / "cut.safetensors", whole[:length]))
        assert "expected a safetensors checkpoint" in line


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 500, b"text", struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_other_bytes_are_refused(content, tmp_path):
    assert "expected a safetensors checkpoint" in refusal(written(tmp_path / "a.safetensors", content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.safetensors")
    assert "directory" in refusal(tmp_path)


def test_safetensors_of_another_tool_are_refused(weights, tmp_path):
    for metadata in (None, {"format": "pt"}):
        line = refusal(written(tmp_path / "a.safetensors", save(weights, metadata=metadata)))
        assert "of another tool" in line


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps(HEADER.model_dump() | {"format": FORMAT + 1}), f"format {FORMAT + 1}"),
        (json.dumps({"model": {}}), "format None"),
        ("[1]", "format None"),
        ("not json", "format None"),
        ("", "format None"),
        ("[" * 100_000, "format None"),
        (json.dumps({"format": FORMAT}), "1 field"),
        (json.dumps({"format": FORMAT, "model": 3}), "1 field"),
        (json.dumps({"format": FORMAT, "model": {}, "colour": 1}), "1 field"),
    ],
)
def test_a_header_of_another_version_or_with_wrong_fields_is_refused(weights, tmp_path, text, found):
    path = written(tmp_path / "a.safetensors", save(weights, metadata={KEY: text}))
    assert found in refusal(path)
    assert found in refusal(path, reader=read_header)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_types_that_numpy_has_not_are_refused(dtype, tmp_path):
    content = safetensors.torch.save(
        {"a": torch.zeros(3).to(dtype)}, metadata={KEY: HEADER.model_dump_json()}
    )
    assert "expected a safetensors checkpoint" in refusal(written(tmp_path / "a.safetensors", content))


@pytest.mark.parametrize("config", [CONFIG, FrameworkConfig(z=2, width=4, scale=2)], ids=lambda c: c.kind)
def test_a_network_comes_back_with_its_weights_and_ready_for_inference(config):
    network = build_network(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    header = Header(format=FORMAT, model=config.model_dump())
    back = restore_network(header, weights_of(network), where="x")
    assert type(back) is type(network)
    assert back.config == config
    assert not back.training
    image, told = torch.rand(1, 1, 16, 16), torch.rand(1, 5)
    with torch.inference_mode():
        assert torch.equal(back(image, told), network.eval()(image, told))
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_restoring_touches_neither_the_random_numbers_nor_the_arrays(weights):
    before = torch.get_rng_state()
    network = restore_network(HEADER, weights, where="x")
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        network.tail.bias.fill_(9)
    assert not weights["tail.bias"].any()


def test_building_gives_each_kind_and_follows_the_seed():
    kinds = {FastConfig: Fast, FrameworkConfig: Framework}
    for config in (CONFIG, FrameworkConfig(z=2, width=2)):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            first = build_network(config)
            torch.manual_seed(5)
            second = build_network(config)
        assert type(first) is kinds[type(config)]
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert parse_config(config.model_dump()) == config


def _restoring(model: dict[str, object], weights: dict[str, np.ndarray]) -> str:
    with pytest.raises(CheckpointError) as caught:
        restore_network(Header(format=FORMAT, model=model), weights, where="fast.safetensors")
    line = str(caught.value)
    assert line.startswith("fast.safetensors: expected ")
    assert "\n" not in line
    assert len(line) < 800
    return line


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"kind": "transformer"}, "transformer"),
        ({"width": 5}, "size mismatch"),
        ({"width": 64, "blocks": 64}, "Missing key"),
        ({"blocks": 2}, "body.1"),
        ({"blocks": 0}, "Unexpected key"),
        ({"depth": 3}, "depth"),
        ({"width": "wide"}, "width"),
        ({"width": 10**9}, "width"),
    ],
)
def test_a_config_that_is_unknown_or_does_not_fit_is_refused(weights, change, found):
    assert found in _restoring(CONFIG.model_dump() | change, weights)


def test_a_config_without_a_kind_is_refused(weights):
    assert "kind" in _restoring({}, weights)


def test_a_config_of_absurd_size_is_refused_without_taking_memory(weights):
    config = {"kind": "framework", "width": 100_000}
    assert "framework" in _restoring(config, weights)


@pytest.mark.parametrize(
    "config",
    [
        FastConfig(width=256, blocks=64),
        FrameworkConfig(z=1024, width=256),
        NAFNetConfig(width=256),
        DnCNNConfig(width=256, depth=64),
    ],
    ids=lambda config: config.kind,
)
def test_a_header_that_describes_a_giant_network_is_refused_before_weights_are_drawn(
    config, weights, monkeypatch
):
    drawn = []
    kaiming = torch.nn.init.kaiming_uniform_

    def noted(tensor, *given, **options):
        drawn.append(tensor.numel())
        return kaiming(tensor, *given, **options)

    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", noted)
    assert "far more than there are" in _restoring(config.model_dump(mode="json"), weights)
    assert sum(drawn) <= 2 * sum(array.size for array in weights.values()) + 5 * 2**20


def test_a_network_of_another_thread_is_not_counted(weights):
    inside, done, found = threading.Event(), threading.Event(), []

    def build() -> None:
        inside.wait(60)
        found.append(sum(each.numel() for each in build_network(DnCNNConfig(width=256)).parameters()))
        done.set()

    thread = threading.Thread(target=build)
    thread.start()
    with networks._at_most(1000):
        inside.set()
        assert done.wait(60)
    thread.join()
    assert found[0] > 2**20


def test_a_header_longer_than_any_of_ours_is_refused_unread(weights, tmp_path):
    text = json.dumps({"__metadata__": {KEY: "x" * 2**20}})
    path = written(tmp_path / "a.safetensors", struct.pack("<Q", len(text)) + text.encode())
    assert f"found one of {len(text)} bytes" in refusal(path)
    assert f"found one of {len(text)} bytes" in refusal(path, reader=read_header)


def test_missing_foreign_and_misshapen_tensors_are_named(weights):
    model = CONFIG.model_dump()
    assert "tail.bias" in _restoring(model, {k: v for k, v in weights.items() if k != "tail.bias"})
    assert "extra" in _restoring(model, weights | {"extra": np.zeros(3, np.float32)})
    assert "head.bias" in _restoring(model, weights | {"head.bias": np.zeros(9, np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(weights, value):
    spoilt = weights | {"head.bias": np.full(4, value, np.float32)}
    line = _restoring(CONFIG.model_dump(), spoilt)
    assert f"1 of {len(weights)} tensors, the first head.bias" in line
