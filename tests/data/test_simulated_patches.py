"""Training data from machines: a function of (config, seed, index), and told what is true."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick import BALL_GRID, SOMEWHERE

from longexposure.data import simulated_patches
from longexposure.data.simulated_patches import (
    SimulatedBatches,
    SimulatedImages,
    SimulatedPatches,
    SimulatedPatchesConfig,
    draw_training_acquisition,
    estimated_condition,
)
from longexposure.errors import RecipeError
from longexposure.noise import NoiseProfile
from longexposure.simulation.exposure import prepare_acquisition
from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.machine import load_machine
from longexposure.simulation.random_source import NumpyRandom
from longexposure.train.batches import datasets
from longexposure.train.loop import train
from longexposure.train.recipe import load_recipe, recipe_from

SMALL = (
    BALL_GRID.replace("height = 48\nwidth = 64", "height = 96\nwidth = 128")
    .replace("current_ua = 30", "current_ua = 1")
    .replace(*SOMEWHERE)
    + "vias = 1\n[screen]\nf50_lp_mm = 1.0\n[panel]\nrow_noise = 400\nread_noise = 100\n"
    + "[exposures]\ndrift = { uniform = [-0.03, 0.03] }\n"
)
SHAPES = {"noisy": (1, 32, 32), "target": (1, 32, 32), "noise_condition": (5,), "sigma": ()}


@pytest.fixture
def machine(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the acquisitions as they are drawn."""
    numbers: list[int] = []
    original = simulated_patches.draw_training_acquisition

    def counted(config: SimulatedPatchesConfig, *, seed: int, number: int, size_px: int) -> object:
        numbers.append(number)
        return original(config, seed=seed, number=number, size_px=size_px)

    monkeypatch.setattr(simulated_patches, "draw_training_acquisition", counted)
    return numbers


def _config(machine: str, **more: Any) -> SimulatedPatchesConfig:
    sizes = {"patch_px": 32, "scene_px": 64, "pool": 3, "reuse": 2, "group": 2, "defects": 0.5}
    return SimulatedPatchesConfig(**{"machines": {machine: 1.0}, **sizes, **more})


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in SHAPES)


def test_samples_have_shapes_types_and_finite_values(machine: str) -> None:
    for target in ("clean", "long"):
        sample = SimulatedPatches(_config(machine, target=target), seed=0)[5]
        assert {name: tuple(tensor.shape) for name, tensor in sample.items()} == SHAPES
        for tensor in sample.values():
            assert tensor.dtype == torch.float32
            assert tensor.isfinite().all()
            assert tensor.is_contiguous()
        assert sample["sigma"] > 0


def test_an_item_is_a_function_of_config_seed_and_index_alone(machine: str) -> None:
    config = _config(machine)
    forward = SimulatedPatches(config, seed=1)
    items = [forward[index] for index in range(30)]
    other = SimulatedPatches(config, seed=1)
    for index in (29, 3, 2, 17, 0, 29):
        assert _same(items[index], other[index])
    assert not _same(items[3], SimulatedPatches(config, seed=2)[3])
    assert not any(_same(a, b) for a, b in itertools.combinations(items, 2))


def test_scenes_stay_for_a_while_and_change_one_at_a_time(machine: str, drawn: list[int]) -> None:
    config = _config(machine, pool=4, reuse=3)
    patches = SimulatedPatches(config, seed=0)
    per_group = []
    for group in range(48):
        before = len(drawn)
        patches[group * config.group]
        per_group.append(len(drawn) - before)
    assert len(drawn) == len(set(drawn))
    assert per_group[:4] == [1, 1, 1, 1]
    assert sum(per_group[12:]) == pytest.approx(36 / 3, abs=2)
    assert max(per_group) == 1


def test_train_and_test_scenes_differ_and_defects_come_as_often_as_asked(machine: str) -> None:
    train_scene, test_scene = (
        draw_training_acquisition(_config(machine, split=split), seed=0, number=0, size_px=48).scene
        for split in ("train", "test")
    )
    assert train_scene != test_scene
    bare, faulty = (
        draw_training_acquisition(_config(machine, defects=fraction), seed=0, number=1, size_px=64)
        for fraction in (0.0, 1.0)
    )
    assert bare.parameters == faulty.parameters
    assert bare.scene != faulty.scene


def test_what_is_chosen_does_not_depend_on_what_the_machine_draws(machine: str, tmp_path: Path) -> None:
    """The streams of the choice of a machine and of its ranges are not one stream."""
    other = tmp_path / "other.toml"
    other.write_text(SMALL.replace('"small"', '"other"'))
    config = _config(machine, machines={machine: 1.0, str(other): 1.0})
    parameters = [
        draw_training_acquisition(config, seed=0, number=n, size_px=16).parameters for n in range(40)
    ]
    distances = {
        name: [s.geometry.source_object_mm for s in parameters if s.name == name]
        for name in ("small", "other")
    }
    assert min(map(len, distances.values())) > 9
    for found in distances.values():
        assert min(found) < 45
        assert max(found) > 55


def _flat(machine: str, *, level: float = 0.6) -> simulated_patches._PreparedScene:
    """An even image that is not grey in the middle, of noise that is coloured and striped."""
    parameters = load_machine(machine).parameters(np.random.default_rng(0))
    acquisition = prepare_acquisition(
        parameters, Scene("empty", (), (), {}), parameters.view((64, 64)), panel_seed=0
    )
    acquisition = replace(acquisition, arriving=np.full((64, 64), level, np.float32))
    grey = simulated_patches.GreyMap(scale=1.6e-5, offset=-0.05)
    return simulated_patches._PreparedScene(acquisition, grey, acquisition.noise)


def _as_it_is(profile: NoiseProfile, random: object, *, error: float) -> np.ndarray:
    """In place of `estimated_condition`: the profile itself."""
    numbers = (profile.level, profile.sigma, profile.slope, profile.corr_x, profile.corr_y)
    return np.array(numbers, np.float32)


def test_what_is_told_is_true_under_turns_contrast_and_inversion(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_patches, "estimated_condition", _as_it_is)
    scene, config = _flat(machine), _config(machine, group=8)
    random = np.random.default_rng(3)
    by_turn: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for sample in itertools.chain.from_iterable(
        simulated_patches._samples(scene, config, random, NumpyRandom(random)) for _ in range(40)
    ):
        noise = (sample["noisy"] - sample["target"])[0].double().numpy()
        level, sigma, slope, corr_x, corr_y = sample["noise_condition"].double().tolist()
        drift = 0.05 * scene.grey.scale * 52000
        assert float(sample["target"].mean()) == pytest.approx(level, abs=drift)
        assert float(sample["sigma"]) == pytest.approx((sigma**2 + slope * (0.5 - level)) ** 0.5, rel=1e-3)
        lags = [(a * b).mean() for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]))]
        measured = np.array([(noise**2).mean(), *lags]) / sigma**2
        by_turn[corr_x > corr_y].append(np.array([*measured, corr_x, corr_y]))
    for found in by_turn.values():
        assert len(found) > 100
        power, along_x, along_y, corr_x, corr_y = np.mean(found, axis=0)
        assert power == pytest.approx(1, rel=0.04)
        assert along_x == pytest.approx(corr_x, abs=0.03)
        assert along_y == pytest.approx(corr_y, abs=0.03)
        assert abs(corr_x - corr_y) > 0.1


def test_at_every_grey_value_the_noise_told_is_that_of_the_image_as_it_is_shown(machine: str) -> None:
    scene, random = _flat(machine), np.random.default_rng(1)
    grey = np.linspace(10000, 50000, 5)
    inverted = 0
    for _ in range(100):
        shown_as = simulated_patches._Augmentation.drawn(scene, random)
        shown = shown_as.noise.variance(shown_as.scale * grey + shown_as.offset)
        assert shown == pytest.approx(scene.noise.variance(grey) * shown_as.scale**2, rel=1e-9)
        assert np.sign(shown_as.noise.slope) == np.sign(shown_as.scale)
        inverted += shown_as.scale < 0
    assert 5 < inverted < 30


def test_the_noise_that_is_told_is_never_that_of_no_light(machine: str) -> None:
    scene = _flat(machine)
    random = np.random.default_rng(0)
    for slope in (scene.noise.slope, -scene.noise.slope, 0.0):
        noise = replace(scene.noise, slope=4 * slope)
        for _ in range(300):
            shown_as = simulated_patches._Augmentation.drawn(scene._replace(noise=noise), random)
            assert float(shown_as.noise.variance(0.5)) > 0.15 * shown_as.noise.sigma**2
            level = shown_as.scale * noise.level + shown_as.offset
            assert shown_as.noise.level == pytest.approx(level, abs=1e-6)


def test_what_is_told_errs_as_the_estimator_does() -> None:
    profile = NoiseProfile(level=0.8, sigma=0.05, slope=0.002, corr_x=0.3, corr_y=0.1)
    exact = profile.noise_condition()
    random = np.random.default_rng(0)
    found = np.stack([estimated_condition(profile, random, error=0.12) for _ in range(4000)])
    errors = np.log(found[:, 0] / exact[0])
    assert abs(np.median(errors)) < 0.05
    near = np.abs(errors) < 0.3
    assert 0.8 < near.mean() < 0.95
    assert errors[near].std() == pytest.approx(0.13, abs=0.03)
    assert np.median(found[:, 2:], axis=0) == pytest.approx(exact[2:], abs=0.03)
    sure = np.stack([estimated_condition(profile, random, error=0.0) for _ in range(500)])
    assert (np.abs(sure - exact).max(1) < 1e-6).mean() == pytest.approx(5 / 6, abs=0.05)


def test_noisy_is_the_target_with_noise_and_the_target_is_smoother(machine: str) -> None:
    patches = SimulatedPatches(_config(machine), seed=0)
    for index in range(12):
        sample = patches[index]
        noise = sample["noisy"] - sample["target"]
        assert abs(noise.mean()) < 0.5 * noise.std()
        assert 0.3 < noise.std() / sample["sigma"] < 3


def test_the_target_is_without_noise_or_with_that_of_the_long_exposure(machine: str) -> None:
    scene, random = _flat(machine), np.random.default_rng(0)
    for target, low, high in (("clean", 0, 1e-4), ("long", 0.05, 0.25)):
        samples = simulated_patches._samples(
            scene, _config(machine, target=target), random, NumpyRandom(random)
        )
        for sample in samples:
            assert low <= sample["target"].std() / sample["noisy"].std() < high


def test_batches_on_a_device_are_those_of_the_patches_in_kind(machine: str) -> None:
    config = _config(machine, defects=0)
    stream = SimulatedBatches(config, seed=0, batch=6, device="cpu")
    batches = list(itertools.islice(stream, 20))
    for batch in batches:
        assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == {
            name: (6, *shape) for name, shape in SHAPES.items()
        }
        assert all(tensor.isfinite().all() for tensor in batch.values())
    patches = SimulatedPatches(config, seed=5)
    singles = [patches[index] for index in range(120)]
    ours, theirs = (
        {name: torch.cat([b[name].flatten() for b in found]) for name in SHAPES}
        for found in (batches, singles)
    )
    for name in ("noisy", "target"):
        assert abs(ours[name].mean() - theirs[name].mean()) < 0.15
        assert ours[name].std() == pytest.approx(float(theirs[name].std()), rel=0.25)
    assert ours["sigma"].log().mean() == pytest.approx(float(theirs["sigma"].log().mean()), abs=0.3)


def test_a_batch_on_a_device_is_a_function_of_config_seed_and_number_alone(machine: str) -> None:
    stream = SimulatedBatches(_config(machine), seed=1, batch=4, device="cpu")
    batches = list(itertools.islice(stream, 12))
    for number in (0, 5, 11):
        again = SimulatedBatches(_config(machine), seed=1, batch=4, device="cpu").from_batch(number)
        assert all(_same(ours, theirs) for ours, theirs in zip(again, batches[number:], strict=False))
    assert not any(_same(a, b) for a, b in itertools.combinations(batches, 2))
    assert not _same(
        batches[0], next(iter(SimulatedBatches(_config(machine), seed=2, batch=4, device="cpu")))
    )


def test_the_parts_of_a_batch_on_a_device_make_up_the_whole(machine: str) -> None:
    whole, *parts = (
        SimulatedBatches(_config(machine), seed=1, batch=8, device="cpu", fraction=fraction).from_batch(2)
        for fraction in ((0, 1), (0, 2), (1, 2))
    )
    for _ in range(4):
        ours, theirs = next(whole), [next(part) for part in parts]
        assert _same(ours, {name: torch.cat([batch[name] for batch in theirs]) for name in SHAPES})


def test_batches_on_a_device_hold_the_scenes_of_the_patches(machine: str, drawn: list[int]) -> None:
    config = _config(machine, pool=4, reuse=3)
    patches = SimulatedPatches(config, seed=0)
    for index in range(0, 40, config.group):
        patches[index]
    of_patches = drawn.copy()
    drawn.clear()
    deque(itertools.islice(SimulatedBatches(config, seed=0, batch=4, device="cpu"), 10), maxlen=0)
    assert drawn == of_patches


def test_workers_draw_the_same_scenes_in_the_same_order(machine: str) -> None:
    config = _config(machine, pool=2)
    streams = [SimulatedBatches(config, seed=0, batch=2, device="cpu", workers=workers) for workers in (0, 2)]
    for ours, theirs in itertools.islice(zip(*streams, strict=False), 5):
        assert _same(ours, theirs)


def test_a_batch_that_is_no_multiple_of_the_group_is_refused(machine: str) -> None:
    for batch in (0, 3):
        with pytest.raises(RecipeError, match=r"data\.group = 2"):
            SimulatedBatches(_config(machine), seed=0, batch=batch, device="cpu")
    with pytest.raises(RecipeError, match=r"data\.group = 2 times 4 devices"):
        SimulatedBatches(_config(machine), seed=0, batch=12, device="cpu", fraction=(0, 4))


def test_validation_images_are_whole_fixed_and_finite(machine: str) -> None:
    images = SimulatedImages(_config(machine), seed=4, count=3, size_px=96)
    assert len(images) == 3
    assert len(list(images)) == 3
    for index in range(3):
        assert images[index]["noisy"].shape == (1, 96, 96)
        assert _same(images[index], SimulatedImages(_config(machine), seed=4, count=9, size_px=96)[index])
    with pytest.raises(IndexError):
        images[3]
    with pytest.raises(RecipeError, match=r"validation\.size_px.*96 x 128"):
        SimulatedImages(_config(machine), seed=4, count=1, size_px=97)


@pytest.mark.parametrize(
    ("change", "told_of"),
    [
        ({"patch_px": 65}, "scene_px = 64"),
        ({"scene_px": 97}, "96 x 128"),
        ({"machines": {}}, "one at least above 0"),
        ({"machines": {"S9": 1.0}}, "S1, S2, S3"),
        ({"overrides": ["tube.current_ua=0"]}, "tube.current_ua"),
        ({"group": 0}, "data.group"),
        ({"target": "short"}, "data.target"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(machine: str, change: dict[str, Any], told_of: str) -> None:
    data = {"kind": "machines", "machines": {machine: 1.0}, "patch_px": 32, "scene_px": 64} | change
    values = {
        "name": "x",
        "steps": 1,
        "network": {"kind": "fast"},
        "data": data,
        "optimiser": {"warmup_steps": 0},
    }
    with pytest.raises(RecipeError) as caught:
        recipe_from(values, where="x.toml")
    assert told_of in str(caught.value)


def test_a_weight_that_is_none_is_refused(machine: str) -> None:
    for weights in ({machine: -1.0}, {machine: 0.0}):
        with pytest.raises(ValueError, match="one at least above 0"):
            _config(machine, machines=weights)
    with pytest.raises(ValueError, match="finite"):
        _config(machine, machines={machine: float("inf")})


RECIPE = """
name = "own-machine"
steps = 3
precision = "f32"
workers = 0
[network]
kind = "fast"
width = 8
blocks = 1
[data]
kind = "machines"
machines = {{ "{machine}" = 1 }}
patch_px = 32
scene_px = 64
pool = 2
group = 2
[validation]
count = 2
size_px = 64
every_steps = 3
[optimiser]
batch = 2
warmup_steps = 1
"""


def test_a_recipe_names_machines_and_its_datasets_come_from_them(machine: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(machine=machine))
    recipe = load_recipe(path, ["data.target=long"])
    assert isinstance(recipe.data, SimulatedPatchesConfig)
    patches, images = datasets(recipe)
    assert _same(patches[3], SimulatedPatches(recipe.data, seed=recipe.seed)[3])
    assert len(images) == 2
    with pytest.raises(RecipeError, match=r"validation\.seed"):
        load_recipe(path, ["validation.seed=0"])


def test_a_network_trains_on_a_machine(machine: str, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(machine=machine))
    checkpoint = train(load_recipe(path), tmp_path / "run", device="cpu")
    assert b"simulated exposures of small.toml" in checkpoint.read_bytes()


def test_scenes_that_overexpose_into_one_value_are_passed_over(machine: str) -> None:
    config = _config(machine, overrides=("video.stored_bits=16", "video.white={one_of=[10.0, 65535.0]}"))
    clipped = [
        np.ptp(draw_training_acquisition(config, seed=0, number=n, size_px=64).expose_short(NumpyRandom(n)))
        == 0
        for n in range(8)
    ]
    assert 0 < sum(clipped) < 8
    for n in range(8):
        noisy = SimulatedImages(config, seed=0, count=8, size_px=64)[n]["noisy"]
        assert float(noisy.std()) > 0.01
        assert 0.05 < float(np.ptp(np.percentile(noisy.numpy(), (1, 99)))) < 2


def test_a_machine_that_overexposes_always_is_refused_in_words(machine: str) -> None:
    config = _config(machine, overrides=("video.stored_bits=16", "video.white=10"))
    with pytest.raises(RecipeError, match="constant images in a row, the last at 65535 counts"):
        SimulatedPatches(config, seed=0)[0]
