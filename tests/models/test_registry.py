"""The catalogue: which models there are, and how a name or a path becomes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError
from longexposure.models import registry as models
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes, read_checkpoint, read_header
from longexposure.models.networks import build_network
from longexposure.models.registry import (
    CHECKPOINT,
    CLASSICAL,
    DEFAULT,
    Entry,
    catalogue,
    find_weights,
    shipped_weights,
)
from longexposure.train.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "src" / "longexposure" / "train" / "recipes"

WEIGHTS = {"a": np.zeros((3, 4), np.float32), "b": np.ones(5, np.float16), "c": np.zeros((), np.float32)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    header = Header(
        format=FORMAT,
        model={"kind": "fast"},
        summary="small",
        trained_on="scenes",
        scores={"psnr": 31.0},
        licence="CC-BY-4.0",
    )
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(checkpoint_bytes(WEIGHTS, header))
    return path


@pytest.fixture
def tiny_ships(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "shipped_weights", lambda: {"tiny": file})
    return file


def test_needs_no_torch():
    code = "import sys, longexposure.models.registry as m; m.catalogue(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_classical_models_are_listed_and_need_nothing():
    entries = {entry.name: entry for entry in catalogue() if entry.kind == "classical"}
    assert list(entries) == list(CLASSICAL) == ["identity", "gaussian", "nlm"]
    for entry in entries.values():
        assert entry.summary
        assert not entry.summary.endswith("\n")
        assert (entry.parameters, entry.size_bytes) == (None, None)
        assert entry.trained_on == "needs no training"
        assert entry.shipped


def test_names_are_unique_and_all_that_ship_load():
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names)
    for name in (entry.name for entry in catalogue() if entry.shipped):
        assert load_enhancer(name, device="cpu").name == name


def test_a_network_is_listed_with_what_its_header_says(tiny_ships):
    first = catalogue()[0]
    assert first == Entry(
        name="tiny",
        kind="network",
        summary="small",
        trained_on="scenes",
        parameters=12 + 5 + 1,
        size_bytes=tiny_ships.stat().st_size,
        licence="CC-BY-4.0",
        scores={"psnr": 31.0},
    )


def test_the_paper_s_framework_is_listed_as_what_has_to_be_trained():
    entry = next(entry for entry in catalogue() if entry.name == "paper")
    assert not entry.shipped
    network = build_network(load_recipe(RECIPES / "paper.toml").network)
    assert entry.parameters == sum(weights.numel() for weights in network.parameters())
    assert entry.size_bytes == 4 * entry.parameters
    with pytest.raises(CheckpointError, match=r"ships without weights: run `longexposure train paper`"):
        find_weights("paper")


def test_shipped_weights_are_named_after_their_files():
    for name, path in shipped_weights().items():
        assert path.stem == name
        assert path.suffix == ".safetensors"
        assert path.parent.name == "weights"


def test_weights_are_found_by_name_file_and_run_folder(tiny_ships, tmp_path):
    assert find_weights("tiny") == tiny_ships
    assert find_weights(tiny_ships) == tiny_ships
    assert find_weights(str(tiny_ships)) == tiny_ships
    run = tmp_path / "run"
    run.mkdir()
    (run / CHECKPOINT).write_bytes(tiny_ships.read_bytes())
    assert find_weights(run) == run / CHECKPOINT


def test_a_shipped_name_goes_before_a_path_of_that_name(tiny_ships, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny").write_text("mine")
    assert find_weights("tiny") == tiny_ships


@pytest.mark.parametrize("name", ["tony", "", "no/such/file.safetensors", "identity "])
def test_an_unknown_name_is_told_the_known_ones(tiny_ships, name):
    with pytest.raises(CheckpointError, match="tiny, identity, gaussian, nlm") as caught:
        find_weights(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"found a folder without checkpoint\.safetensors"):
        find_weights(tmp_path)


@pytest.mark.parametrize(
    ("multiple", "radius", "halo"), [(1, 0, 0), (1, 7, 7), (4, 0, 0), (4, 8, 8), (4, 67, 68), (8, 65, 72)]
)
def test_halo_is_the_receptive_field_rounded_up_to_the_grid(multiple, radius, halo):
    spec = ModelSpec(size_multiple=multiple, receptive_field=radius, conditioned=False)
    assert spec.halo == halo


def test_the_default_ships_small_sound_and_described(default_enhancer):
    path = shipped_weights()[DEFAULT]
    header = read_header(path)
    assert path.stat().st_size <= 16e6
    for text in (header.summary, header.trained_on, header.licence):
        assert text
    assert header.recipe
    assert header.scores
    assert header.versions
    _, weights = read_checkpoint(path)
    entry = catalogue()[[entry.name for entry in catalogue()].index(DEFAULT)]
    assert entry.parameters == sum(array.size for array in weights.values())
    assert default_enhancer.engine.spec.conditioned
