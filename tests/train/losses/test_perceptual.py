"""The perceptual term: torchvision's layout, a second implementation, files that fit and that do not."""

from __future__ import annotations

import hashlib
import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from longexposure.errors import CheckpointError, InputError, RecipeError
from longexposure.models.checkpoint import read_checkpoint
from longexposure.train.loop import train
from longexposure.train.losses import (
    LossConfig,
    PerceptualConfig,
    ResNetTrunk,
    load_trunk,
    perceptual_loss,
    training_loss,
)
from longexposure.train.recipe import load_recipe, recipe_from

RESNET50 = (3, 4, 6, 3)
WIDTH, BLOCKS = 4, (1, 2, 1, 2)
CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[3] / "src" / "longexposure" / "train" / "recipes"
QUICK = Path(__file__).parents[2] / "quick.toml"

State = dict[str, Tensor]


pytestmark = pytest.mark.usefixtures("one_thread")


def layout(width: int, blocks: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict of a bottleneck ResNet, with classifier and counters."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (width, 3, 7, 7)
    norm("bn1", width)
    inputs = width
    for stage, count in enumerate(blocks, start=1):
        inner = width * 2 ** (stage - 1)
        for block in range(count):
            at = f"layer{stage}.{block}"
            shapes[f"{at}.conv1.weight"] = (inner, inputs, 1, 1)
            norm(f"{at}.bn1", inner)
            shapes[f"{at}.conv2.weight"] = (inner, inner, 3, 3)
            norm(f"{at}.bn2", inner)
            shapes[f"{at}.conv3.weight"] = (4 * inner, inner, 1, 1)
            norm(f"{at}.bn3", 4 * inner)
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                norm(f"{at}.downsample.1", 4 * inner)
            inputs = 4 * inner
    shapes["fc.weight"], shapes["fc.bias"] = (1000, inputs), (1000,)
    return shapes


def random_state(width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS, *, seed: int = 0) -> State:
    """Weights that keep features about as strong as the image, with statistics that batch norm must use."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in layout(width, blocks).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith("weight") and len(shape) == 1:
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
    return state


def written(path: Path, state: State) -> Path:
    save_file(state, path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "resnet.safetensors", random_state())


def config_of(path: Path, **changes: Any) -> PerceptualConfig:
    return PerceptualConfig(**{"weights": str(path), "width": WIDTH, "blocks": BLOCKS, **changes})


@pytest.fixture
def trunk() -> ResNetTrunk:
    trunk = ResNetTrunk(width=WIDTH, blocks=BLOCKS)
    trunk.load_state_dict(
        {name: value for name, value in random_state().items() if not name.startswith("fc.")}
    )
    return trunk


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator, dtype=dtype)
    return target + 0.1 * torch.randn(shape, generator=generator, dtype=dtype), target


def features_again(state: State, image: Tensor, blocks: tuple[int, ...] = BLOCKS) -> list[Tensor]:
    """The four stages from the state dict alone: batch norm by hand, colour by concatenation."""

    def norm(x: Tensor, at: str) -> Tensor:
        weight, bias, mean, var = (
            state[f"{at}.{part}"].to(x)[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(x: Tensor, at: str, stride: int = 1) -> Tensor:
        weight = state[f"{at}.weight"].to(x)
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    x = norm(conv(torch.cat([image] * 3, dim=1), "conv1", 2), "bn1").clamp_min(0)
    x = functional.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))
    stages = []
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(conv(x, f"{at}.conv1"), f"{at}.bn1").clamp_min(0)
            y = norm(conv(y, f"{at}.conv2", stride), f"{at}.bn2").clamp_min(0)
            y = norm(conv(y, f"{at}.conv3"), f"{at}.bn3")
            if block == 0:
                x = norm(conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            x = (x + y).clamp_min(0)
        stages.append(x)
    return stages


def test_the_default_is_a_resnet_50_without_its_classifier() -> None:
    with torch.device("meta"):
        trunk = ResNetTrunk()
    assert sum(weights.numel() for weights in trunk.parameters()) == 23_508_032
    shapes = {name: tuple(tensor.shape) for name, tensor in trunk.state_dict().items()}
    wanted = layout(64, RESNET50)
    assert len(wanted) == 320  # entries of the published file
    assert shapes == {name: shape for name, shape in wanted.items() if not name.startswith("fc.")}


@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 50), (16, 16), (1, 1)])
def test_features_halve_from_stage_to_stage_whatever_the_size(
    trunk: ResNetTrunk, height: int, width: int
) -> None:
    found = trunk(torch.rand(2, 1, height, width))
    for stage, features in enumerate(found):
        step = 4 * 2**stage
        assert features.shape == (2, 16 * 2**stage, -(-height // step), -(-width // step))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (45, 70)])
def test_value_and_gradient_are_those_of_a_second_implementation(
    trunk: ResNetTrunk, height: int, width: int
) -> None:
    double = trunk.double()
    prediction, target = images(2, 1, height, width, dtype=torch.float64)
    state = random_state()
    values, gradients = [], []
    for again in (False, True):
        image = prediction.clone().requires_grad_()
        if again:
            pairs = zip(features_again(state, image), features_again(state, target), strict=True)
            loss = sum(((a - b) ** 2).sum() / a.numel() for a, b in pairs) / 4
        else:
            loss = perceptual_loss(image, target, trunk=double)
        loss.backward()
        values.append(loss.detach())
        gradients.append(image.grad)
    assert values[0] > 1e-3
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-14)


def test_the_gradient_is_that_of_finite_differences() -> None:
    """On features without kinks near the image: in double precision, along random directions."""
    trunk = ResNetTrunk(width=WIDTH, blocks=BLOCKS).double()
    trunk.load_state_dict(
        {name: value for name, value in random_state().items() if not name.startswith("fc.")}
    )
    prediction, target = images(1, 1, 33, 40, dtype=torch.float64)
    image = prediction.clone().requires_grad_()
    perceptual_loss(image, target, trunk=trunk).backward()
    assert image.grad is not None
    for seed in range(3):
        direction = torch.randn(
            prediction.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        step = 1e-7 * direction
        rise = perceptual_loss(prediction + step, target, trunk=trunk) - perceptual_loss(
            prediction - step, target, trunk=trunk
        )
        assert float(rise) / 2e-7 == pytest.approx(float((image.grad * direction).sum()), rel=1e-3)


def test_identical_images_give_nothing_and_pull_nowhere(trunk: ResNetTrunk) -> None:
    image = torch.rand(2, 1, 40, 33).requires_grad_()
    loss = perceptual_loss(image, image.detach().clone(), trunk=trunk)
    loss.backward()
    assert loss.item() == 0
    assert image.grad is not None
    assert not image.grad.any()


def test_every_image_of_a_batch_counts_alike_and_none_sees_the_others(trunk: ResNetTrunk) -> None:
    prediction, target = images(3, 1, 32, 32)
    whole = perceptual_loss(prediction, target, trunk=trunk)
    each = [perceptual_loss(prediction[i : i + 1], target[i : i + 1], trunk=trunk) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(each).mean())


def test_gradients_reach_the_prediction_and_neither_target_nor_trunk(trunk: ResNetTrunk) -> None:
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    prediction, target = (image.requires_grad_() for image in images(2, 1, 32, 32))
    perceptual_loss(prediction, target, trunk=trunk).backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None
    assert all(not weights.requires_grad and weights.grad is None for weights in trunk.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_the_trunk_stays_in_evaluation_whatever_it_is_called_with(trunk: ResNetTrunk) -> None:
    prediction, target = images(2, 1, 32, 32)
    before = perceptual_loss(prediction, target, trunk=trunk)
    holder = torch.nn.ModuleList([trunk]).train()
    assert not any(module.training for module in trunk.modules())
    assert holder.training
    assert torch.equal(perceptual_loss(prediction, target, trunk=trunk), before)


def test_is_float32_under_autocast_and_for_half_input(trunk: ResNetTrunk) -> None:
    prediction, target = images(2, 1, 48, 40)
    half = prediction.bfloat16()
    plain = perceptual_loss(half.float(), target, trunk=trunk)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = perceptual_loss(half, target, trunk=trunk)
        rounded = trunk(half.float())[-1]
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
    assert rounded.dtype == torch.bfloat16  # autocast would have had its way


@pytest.mark.parametrize(
    ("one", "other"), [((2, 1, 8, 8), (2, 1, 8, 9)), ((2, 3, 8, 8), (2, 3, 8, 8)), ((8, 8), (8, 8))]
)
def test_refuses_shapes_it_does_not_know_and_names_both(trunk: ResNetTrunk, one: Any, other: Any) -> None:
    with pytest.raises(InputError) as caught:
        perceptual_loss(torch.zeros(one), torch.zeros(other), trunk=trunk)
    assert f"{one} and {other}" in str(caught.value)


def test_the_training_loss_is_the_mean_squared_error_and_a_hundredth_of_it(
    file: Path, trunk: ResNetTrunk
) -> None:
    prediction, target = images(2, 1, 32, 32)
    config = LossConfig(kind="l2", focal_frequency_weight=0, wavelet_weight=0, perceptual=config_of(file))
    total, terms = training_loss(prediction.clone().requires_grad_(), target, config=config)
    features = perceptual_loss(prediction, target, trunk=trunk)
    assert set(terms) == {"pixel", "perceptual"}
    torch.testing.assert_close(terms["perceptual"], 0.01 * features)
    torch.testing.assert_close(total.detach(), (prediction - target).square().mean() + 0.01 * features)
    assert total.requires_grad


def test_a_loss_without_the_term_is_told_as_before_there_was_one(file: Path) -> None:
    """Studies keep trainings under hashes of the one text and timings under the other."""
    assert json.loads(LossConfig().model_dump_json()) == {
        "kind": "l1",
        "focal_frequency_weight": 10.0,
        "wavelet_weight": 0.1,
        "wavelet_variant": "bands",
        "wavelet_levels": 3,
        "noise_exponent": 0.0,
    }
    assert str(LossConfig()) == (
        "kind='l1' focal_frequency_weight=10.0 wavelet_weight=0.1 wavelet_variant='bands' wavelet_levels=3 "
        "noise_exponent=0.0"
    )
    values = LossConfig(perceptual=config_of(file)).model_dump(mode="json")
    assert values["perceptual"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert LossConfig.model_validate(values).model_dump(mode="json") == values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_files_with_and_without_classifier_and_counters_load_as_float32(
    tmp_path: Path, trunk: ResNetTrunk, dtype: torch.dtype
) -> None:
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in random_state().items()
        if dtype != torch.float64 or not name.endswith(("fc.weight", "fc.bias", "num_batches_tracked"))
    }
    loaded = load_trunk(config_of(written(tmp_path / "some.safetensors", state)), CPU)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in loaded.parameters())
    prediction, target = images(1, 1, 32, 32)
    torch.testing.assert_close(
        perceptual_loss(prediction, target, trunk=loaded),
        perceptual_loss(prediction, target, trunk=trunk),
        rtol=0.05 if dtype in (torch.float16, torch.bfloat16) else 1e-6,
        atol=0,
    )


def test_a_file_that_changes_after_its_recipe_was_read_is_refused(file: Path) -> None:
    config = config_of(file)
    written(file, random_state(seed=1))
    with pytest.raises(CheckpointError, match=config.sha256):
        load_trunk(config, CPU)


def test_a_recipe_can_demand_one_file_by_its_hash(file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert config_of(file, sha256=found).sha256 == found
    with pytest.raises(CheckpointError, match=rf"SHA-256 {'0' * 64}, found one with {found}"):
        config_of(file, sha256="0" * 64)


def without(state: State, *ends: str) -> State:
    return {name: value for name, value in state.items() if not name.endswith(ends)}


def nan_in(state: State, name: str) -> State:
    damaged = state[name].clone()
    damaged.view(-1)[0] = torch.nan
    return {**state, name: damaged}


@pytest.mark.parametrize(
    ("state", "parts"),
    [
        (
            without(random_state(), "layer2.1.conv3.weight", "bn1.running_var"),
            ["tensor(s) missing: bn1.running_var, layer1.0.bn1.running_var", ", ..."],
        ),
        (without(random_state(), "layer4.1.conv3.weight"), ["1 tensor(s) missing: layer4.1.conv3.weight;"]),
        (
            random_state(8),
            ["of another shape: conv1.weight (8, 3, 7, 7) instead of (4, 3, 7, 7)", "width 4"],
        ),
        (
            random_state(blocks=(1, 2, 3, 2)),  # as ResNet-101 is to ResNet-50: all that is wanted is there
            ["that it does not have: layer3.1.bn1.bias", "blocks [1, 2, 1, 2]"],
        ),
        ({f"module.{name}": value for name, value in random_state().items()}, ["missing: conv1.weight"]),
        (nan_in(random_state(), "layer3.0.bn2.bias"), ["finite", "in 1 of", "the first layer3.0.bn2.bias"]),
        (
            {**random_state(), "conv1.weight": torch.zeros(4, 3, 7, 7, dtype=torch.int8)},
            ["floating-point", "the first conv1.weight"],
        ),
    ],
    ids=["statistics", "one", "width", "deeper", "prefix", "nan", "integers"],
)
def test_weights_of_something_else_are_refused_and_told_apart(
    tmp_path: Path, state: State, parts: list[str]
) -> None:
    path = written(tmp_path / "other.safetensors", state)
    with pytest.raises(CheckpointError) as caught:
        config_of(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message, message


def test_no_file_a_folder_and_a_damaged_file_are_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No such file.*leave loss\.perceptual out"):
        config_of(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="directory"):
        config_of(tmp_path)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cannot be read as one"):
        config_of(tmp_path / "cut.safetensors")
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(CheckpointError, match="cannot be read as one"):
        config_of(tmp_path / "empty.safetensors")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"conv1.weight": Trap(tmp_path / "sprung")}))
    with pytest.raises(CheckpointError, match="pickle"):
        config_of(tmp_path / "evil.pth")
    assert not (tmp_path / "sprung").exists()
    pickle.loads((tmp_path / "evil.pth").read_bytes())
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.mark.parametrize("zipped", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["zip", "legacy"])
def test_the_line_that_the_refusal_of_a_pickle_gives_converts_it(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "resnet50 of mine.pth"
    torch.save(random_state(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        config_of(path)
    command = shlex.split(str(caught.value).partition("on a host you trust: ")[2])
    assert command[0] == "python"
    subprocess.run([sys.executable, *command[1:]], check=True)
    converted = path.with_suffix(".safetensors")
    assert load_trunk(config_of(converted), CPU).conv1.weight.equal(random_state()["conv1.weight"])


def test_a_pickle_under_the_name_of_safetensors_is_not_advised_to_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    torch.save(random_state(), path)
    with pytest.raises(CheckpointError, match=r"wrong\.converted\.safetensors$"):
        config_of(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": 0},
        {"weight": float("nan")},
        {"blocks": (3, 4, 6)},
        {"width": 0},
        {"sha256": "short"},
        {"weights": ""},
        {"layers": 4},
    ],
)
def test_config_refuses_what_it_does_not_know(file: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config_of(file, **wrong)


def recipe_values(file: Path | None, **changes: Any) -> dict[str, Any]:
    loss: dict[str, Any] = {"kind": "l2", "focal_frequency_weight": 0.0, "wavelet_weight": 0.0}
    if file is not None:
        loss["perceptual"] = {"weights": str(file), "width": WIDTH, "blocks": list(BLOCKS)}
    return {
        "name": "tiny-edcnn",
        "steps": 24,
        "precision": "f32",
        "workers": 0,
        "network": {"kind": "edcnn", "width": 8},
        "loss": loss,
        "data": {
            "kind": "machines",
            "machines": {str(QUICK): 1.0},
            "overrides": ["tube.current_ua=0.1"],
            "patch_px": 32,
            "scene_px": 48,
            "pool": 2,
            "reuse": 1000,
            "defects": 0.0,
        },
        "validation": {"count": 1, "size_px": 32, "every_steps": 24},
        "optimiser": {"lr": 3e-3, "batch": 4, "warmup_steps": 0, "ema_decay": 0.5},
        **changes,
    }


def test_a_recipe_in_toml_takes_the_table_and_one_key_of_it_from_the_command_line(
    tmp_path: Path, file: Path
) -> None:
    text = (RECIPES / "edcnn.toml").read_text(encoding="utf-8")
    assert load_recipe(RECIPES / "edcnn.toml").loss.perceptual is None
    block = '# [loss.perceptual]\n# weights = "resnet50.safetensors"\n# weight = 0.01\n'
    assert block in text
    path = tmp_path / "edcnn.toml"
    path.write_text(
        text.replace(block, block.replace("# ", "") + f"width = {WIDTH}\nblocks = {list(BLOCKS)}\n")
    )
    with pytest.raises(CheckpointError, match="No such file"):
        load_recipe(path)
    found = load_recipe(path, [f"loss.perceptual.weights={file}"]).loss
    assert found == LossConfig(
        kind="l2", focal_frequency_weight=0, wavelet_weight=0, perceptual=config_of(file)
    )


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ({"weight": 0.01}, ["loss.perceptual.weights", "found none"]),
        ({"weights": "x", "weigth": 0.1}, ["unknown key 'loss.perceptual.weigth'", "weight, weights"]),
        ("resnet50.safetensors", ["loss.perceptual", "a table", "resnet50.safetensors"]),
        ({"weights": "x", "weight": -1.0}, ["loss.perceptual.weight", "greater than 0", "-1.0"]),
    ],
)
def test_a_wrong_table_is_refused_in_words(table: Any, parts: list[str]) -> None:
    values = recipe_values(None)
    values["loss"]["perceptual"] = table
    with pytest.raises(RecipeError) as caught:
        recipe_from(values, where="test")
    for part in parts:
        assert part in str(caught.value)


def losses_of(recipe: Any, out: Path, *, resume: bool = False) -> list[float]:
    losses: list[float] = []
    train(recipe, out, resume=resume, device="cpu", on_step=lambda at: losses.append(at.loss))
    return losses


def test_training_with_random_weights_lowers_the_loss_and_says_which_they_were(
    tmp_path: Path, file: Path
) -> None:
    recipe = recipe_from(recipe_values(file), where="test")
    losses = losses_of(recipe, tmp_path / "run")
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    (line,) = [
        line
        for line in map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
        if line["kind"] == "train"
    ]
    assert line["perceptual"] > 0
    assert line["loss"] == pytest.approx(line["pixel"] + line["perceptual"], rel=1e-5)
    header, weights = read_checkpoint(tmp_path / "run" / "last.safetensors")
    kept = header.recipe["loss"]["perceptual"]
    assert kept["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert kept["weight"] == 0.01
    assert not any(name.startswith(("layer", "bn1", "fc")) for name in weights)

    alone = recipe_from(recipe_values(None), where="test")
    losses_of(alone, tmp_path / "alone")
    header, others = read_checkpoint(tmp_path / "alone" / "last.safetensors")
    assert "perceptual" not in header.recipe["loss"]
    assert any((weights[name] != others[name]).any() for name in weights)


def test_a_run_is_resumed_with_the_same_weights_only(tmp_path: Path, file: Path) -> None:
    recipe = recipe_from(recipe_values(file, steps=4, checkpoint_every_steps=2), where="test")
    whole = losses_of(recipe, tmp_path / "whole")

    class CrashError(Exception):
        pass

    def crash(at: Any) -> None:
        if at.step == 3:
            raise CrashError

    with pytest.raises(CrashError):
        train(recipe, tmp_path / "run", device="cpu", on_step=crash)
    other = written(tmp_path / "other.safetensors", random_state(seed=1))
    changed = recipe_from(recipe_values(other, steps=4, checkpoint_every_steps=2), where="test")
    with pytest.raises(RecipeError, match=r"loss\.perceptual"):
        train(changed, tmp_path / "run", resume=True, device="cpu")
    assert losses_of(recipe, tmp_path / "run", resume=True) == whole[2:]


@pytest.mark.slow
def test_a_resnet_50_loads_by_default(tmp_path: Path) -> None:
    state = random_state(64, RESNET50)
    path = written(tmp_path / "resnet50.safetensors", {name: value.half() for name, value in state.items()})
    trunk = load_trunk(PerceptualConfig(weights=str(path)), CPU)
    prediction, target = images(1, 1, 40, 40)
    again = [
        ((a - b) ** 2).mean()
        for a, b in zip(
            features_again(load_file(path), prediction, RESNET50),
            features_again(load_file(path), target, RESNET50),
            strict=True,
        )
    ]
    torch.testing.assert_close(
        perceptual_loss(prediction, target, trunk=trunk), torch.stack(again).mean(), rtol=1e-4, atol=0
    )
