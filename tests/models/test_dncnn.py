"""DnCNN: the published size with and without batch norm, and the same function as a second implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import correlate

from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import FORMAT, Header
from longexposure.models.dncnn import DnCNN, DnCNNConfig
from longexposure.models.networks import restore_network
from longexposure.train.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "src" / "longexposure" / "train" / "recipes"
KINDS = ("batch", "none")
both = pytest.mark.parametrize("normalisation", KINDS)


pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def randomised(normalisation: str, *, depth: int = 5, width: int = 6) -> DnCNN:
    """As if trained: weights and what batch norm has seen are random; double precision, ready to use."""
    network = DnCNN(DnCNNConfig(depth=depth, width=width, normalisation=normalisation)).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize(("depth", "width"), [(17, 64), (20, 64), (3, 8)])
@both
def test_parameters_follow_from_the_layers(depth, width, normalisation):
    """First c -> w with bias, depth - 2 times w -> w with a factor and an offset or a bias, last w -> c."""
    batch = normalisation == "batch"
    first = 9 * width + width
    middle = (depth - 2) * (9 * width**2 + (2 * width if batch else width))
    last = 9 * width + (0 if batch else 1)
    network = DnCNN(DnCNNConfig(depth=depth, width=width, normalisation=normalisation))
    assert sum(p.numel() for p in network.parameters()) == first + middle + last


def test_published_network_has_556_096_parameters():
    assert sum(p.numel() for p in DnCNN(DnCNNConfig()).parameters()) == 556_096


@both
def test_a_convolution_that_batch_norm_follows_has_no_bias(normalisation):
    network = DnCNN(DnCNNConfig(depth=6, width=8, normalisation=normalisation))
    layers = list(network.layers)
    convolutions = [m for m in layers if isinstance(m, torch.nn.Conv2d)]
    followed = [isinstance(after, torch.nn.BatchNorm2d) for after in layers[1:]]
    for layer, normed in zip(layers, followed, strict=False):
        if normed:
            assert layer.bias is None
    assert len(convolutions) == 6
    assert sum(followed) == (4 if normalisation == "batch" else 0)
    assert sum(isinstance(m, torch.nn.ReLU) for m in layers) == 5


def reference(network: DnCNN, image: np.ndarray) -> np.ndarray:
    """Image minus noise, one correlation of scipy's for each pair of channels."""
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    kernels = [name for name, tensor in tensors.items() if tensor.ndim == 4]
    x = image[None]
    for index, name in enumerate(kernels):
        place = int(name.split(".")[1])
        x = np.stack([sum(map(_zero_padded, x, kernel)) for kernel in tensors[name]])
        x += tensors.get(f"layers.{place}.bias", np.zeros(len(x)))[:, None, None]
        normed = f"layers.{place + 1}."
        if f"{normed}running_mean" in tensors:
            mean, variance = tensors[f"{normed}running_mean"], tensors[f"{normed}running_var"]
            factor = tensors[f"{normed}weight"] / np.sqrt(variance + 1e-5)
            x = (x - mean[:, None, None]) * factor[:, None, None] + tensors[f"{normed}bias"][:, None, None]
        if index < len(kernels) - 1:
            x = np.maximum(x, 0)
    return image - x[0]


def _zero_padded(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return correlate(plane, kernel, mode="constant")


@both
def test_equals_a_second_implementation(normalisation):
    network = randomised(normalisation)
    image = np.random.default_rng(0).random((9, 14))
    with torch.inference_mode():
        ours = network(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(ours, reference(network, image), atol=1e-12)


@both
@pytest.mark.parametrize("size", [(1, 1), (1, 19), (23, 2), (31, 45)])
def test_takes_any_size_and_looks_at_no_condition(normalisation, size):
    network = randomised(normalisation)
    image = torch.rand(2, 1, *size, dtype=torch.float64)
    assert network(image).shape == image.shape
    assert torch.equal(network(image), network(image, torch.rand(2, 5)))


@both
def test_receptive_field_is_exactly_the_depth(normalisation):
    network = randomised(normalisation, depth=7)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 0.2)  # nothing cancels and no ReLU closes
    assert network.spec == ModelSpec(1, 7, False, bytes_per_px=network.spec.bytes_per_px)
    image = torch.full((1, 1, 33, 33), 9.0, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 16, 16].backward()
    assert (image.grad[0, 0].nonzero() - 16).abs().amax(dim=0).tolist() == [7, 7]


def test_initialisation_is_he_normal_and_zero_biases():
    network = DnCNN(DnCNNConfig(normalisation="none"))
    convolutions = [m for m in network.layers if isinstance(m, torch.nn.Conv2d)]
    assert all(not m.bias.any() for m in convolutions)
    for convolution in convolutions[1:-1]:
        assert convolution.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.05)
    assert convolutions[0].weight.var().item() == pytest.approx(2 / 9, rel=0.25)
    assert abs(convolutions[5].weight).max() > 3.5 * (2 / 576) ** 0.5  # normal, not uniform


@both
def test_every_parameter_learns_and_gradients_are_finite(normalisation):
    network = DnCNN(DnCNNConfig(width=8, normalisation=normalisation))
    (network(torch.rand(2, 1, 24, 24)) - 0.5).square().mean().backward()
    bad = [n for n, p in network.named_parameters() if not p.grad.any() or not p.grad.isfinite().all()]
    assert bad == []


@both
def test_runs_in_bfloat16_both_ways(normalisation):
    network = DnCNN(DnCNNConfig(depth=5, width=8, normalisation=normalisation))
    image = torch.rand(1, 1, 24, 24)
    plain = network(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(image)
        half.square().mean().backward()
    assert half.dtype == torch.float32
    assert (half - plain).square().mean().sqrt() < 0.03 * (plain - image).std()
    assert network.eval().bfloat16()(image.bfloat16()).dtype == torch.bfloat16


def test_what_batch_norm_has_seen_survives_a_checkpoint():
    config = DnCNNConfig(depth=4, width=4)
    network = DnCNN(config)
    for _ in range(3):
        network(1 + torch.rand(2, 1, 16, 16))
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    back = restore_network(Header(format=FORMAT, model=config.model_dump()), weights, where="x")
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        assert torch.equal(back(image), network.eval()(image))
    back.train()(image)  # and it can be trained on


@pytest.mark.parametrize("wrong", [{"depth": 2}, {"width": 0}, {"normalisation": "layer"}, {"bias": True}])
def test_config_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        DnCNNConfig(**wrong)


def test_the_recipe_is_the_published_network_on_the_papers_data():
    recipe = load_recipe(RECIPES / "dncnn.toml")
    assert recipe.network == DnCNNConfig()
    assert recipe.data == load_recipe(RECIPES / "paper.toml").data
    assert recipe.loss.kind == "l2"
