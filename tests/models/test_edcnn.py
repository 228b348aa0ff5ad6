"""EDCNN: the published size, layout and edge layer, and the same function as a second implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import correlate, sobel
from torch.nn import functional

from longexposure.engines.torch import TorchEngine
from longexposure.enhance.enhancer import Enhancer
from longexposure.models.base import ModelSpec
from longexposure.models.edcnn import EDCNN, EDCNNConfig, TrainableSobel
from longexposure.train.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "src" / "longexposure" / "train" / "recipes"


pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "conv_sobel.bias": (32,),
        "conv_sobel.sobel_weight": (32, 1, 3, 3),
        "conv_sobel.sobel_factor": (32, 1, 1, 1),
    }
    for block in range(1, 9):
        last = 1 if block == 8 else 32
        shapes[f"conv_p{block}.weight"] = (32, 33 if block == 1 else 65, 1, 1)
        shapes[f"conv_p{block}.bias"] = (32,)
        shapes[f"conv_f{block}.weight"] = (last, 32, 3, 3)
        shapes[f"conv_f{block}.bias"] = (last,)
    return shapes


def randomised(config: EDCNNConfig) -> EDCNN:
    network = EDCNN(config).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def test_has_80_961_parameters_and_288_fixed_template_values():
    network = EDCNN(EDCNNConfig())
    assert sum(p.numel() for p in network.parameters()) == 80_961
    assert all(p.requires_grad for p in network.parameters())
    assert sum(b.numel() for b in network.buffers()) == 288


def test_tensors_are_named_and_shaped_as_published():
    state = EDCNN(EDCNNConfig()).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published_shapes()
    assert len(state) == 35


def test_published_tensors_load_strictly():
    theirs = {name: torch.randn(shape) for name, shape in published_shapes().items()}
    network = EDCNN(EDCNNConfig())
    network.load_state_dict(theirs)
    assert torch.equal(network.conv_p8.weight, theirs["conv_p8.weight"])


def test_first_sobel_kernels_are_gradients_in_four_directions_turned_by_45_degrees():
    """Closed form: a tap weighs the projection on the direction, 2 on its axis, 1 beside it."""
    kernels = TrainableSobel(32).sobel_weight[:, 0].numpy()
    y, x = np.mgrid[-1:2, -1:2]
    straight = {0: y * (2 - np.abs(x)), 1: x * (2 - np.abs(y))}
    diagonal = {2: x + y, 3: x - y}
    for index, kernel in enumerate(kernels):
        assert np.array_equal(kernel, {**straight, **diagonal}[index % 4]), index


def test_the_untrained_layer_gives_scipys_sobel_and_two_diagonals():
    image = torch.rand(1, 1, 9, 12, dtype=torch.float64)
    edges = TrainableSobel(8).double()(image)[0].detach().numpy()
    plain = image[0, 0].numpy()
    inside = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(edges[0][inside], sobel(plain, axis=0)[inside], atol=1e-12)
    np.testing.assert_allclose(edges[1][inside], sobel(plain, axis=1)[inside], atol=1e-12)
    turned = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]])
    np.testing.assert_allclose(edges[2], correlate(plain, turned, mode="constant"), atol=1e-12)
    np.testing.assert_allclose(edges[3], correlate(plain, turned[::-1], mode="constant"), atol=1e-12)
    assert np.array_equal(edges[:4], edges[4:])


def test_factor_and_bias_learn_and_the_template_does_not():
    layer = TrainableSobel(4).double()
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    before = layer(image)
    with torch.no_grad():
        layer.sobel_factor[2] = -3
        layer.bias[1] = 0.5
    after = layer(image)
    torch.testing.assert_close(after[:, 2], -3 * before[:, 2])
    torch.testing.assert_close(after[:, 1], before[:, 1] + 0.5)
    assert torch.equal(after[:, [0, 3]], before[:, [0, 3]])
    assert not layer.sobel_weight.requires_grad


def reference(weights: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """From the published description, with every convolution written as a matrix over its patches."""

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    def conv(kernel: torch.Tensor, bias: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        size = kernel.shape[-1]
        columns = functional.unfold(x, size, padding=size // 2)
        return (kernel.flatten(1) @ columns + bias[:, None]).unflatten(2, x.shape[2:])

    sobel_kernel = weights["conv_sobel.sobel_weight"] * weights["conv_sobel.sobel_factor"]
    edges = torch.cat([image, conv(sobel_kernel, weights["conv_sobel.bias"], image)], dim=1)
    x = edges
    for block in range(1, 9):
        for letter in "pf":
            name = f"conv_{letter}{block}"
            x = conv(weights[f"{name}.weight"], weights[f"{name}.bias"], x)
            if (block, letter) != (8, "f"):
                x = leaky(x)
        if block < 8:
            x = torch.cat([edges, x], dim=1)
    return leaky(image + x)


@pytest.mark.parametrize("width", [4, 32])
def test_equals_a_second_implementation(width):
    network = randomised(EDCNNConfig(width=width))
    image = torch.randn(2, 1, 7, 10, dtype=torch.float64)
    expected = reference(network.state_dict(), image)
    torch.testing.assert_close(network(image), expected)
    assert (expected < 0).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (13, 2), (31, 45)])
def test_takes_any_size_and_looks_at_no_condition(size):
    network = EDCNN(EDCNNConfig(width=4))
    image = torch.rand(2, 1, *size)
    assert network(image).shape == image.shape
    assert torch.equal(network(image), network(image, torch.rand(2, 5)))


def test_odd_sizes_pass_the_enhance_path():
    enhancer = Enhancer(TorchEngine(EDCNN(EDCNNConfig(width=4)), device="cpu"), name="edcnn")
    image = np.random.default_rng(0).normal(900, 30, (37, 51)).astype(np.float32)
    assert enhancer.enhance(image).shape == (37, 51)


@pytest.mark.parametrize("axis", [2, 3])
def test_receptive_field_is_exactly_nine_pixels(axis):
    network = randomised(EDCNNConfig(width=4))
    assert network.spec == ModelSpec(1, 9, False, bytes_per_px=network.spec.bytes_per_px)
    image = torch.randn(1, 1, 41, 41, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 20, 20].backward()
    touched = image.grad.sum(dim=5 - axis).flatten().nonzero().flatten()
    assert (touched - 20).abs().max() == 9


def test_every_parameter_learns_and_gradients_are_finite():
    network = EDCNN(EDCNNConfig())
    (network(torch.rand(2, 1, 16, 16)) - 0.5).square().mean().backward()
    bad = [n for n, p in network.named_parameters() if not p.grad.any() or not p.grad.isfinite().all()]
    assert bad == []


def test_runs_in_bfloat16_both_ways():
    network = EDCNN(EDCNNConfig(width=8))
    image = torch.rand(1, 1, 24, 24)
    plain = network(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(image)
        half.square().mean().backward()
    assert half.dtype == torch.float32
    assert (half - plain).abs().max() < 0.03 * plain.std()
    assert network.bfloat16()(image.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("wrong", [{"width": 30}, {"width": 0}, {"blocks": 8}])
def test_config_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        EDCNNConfig(**wrong)


def test_the_recipe_is_the_published_network_on_the_papers_data():
    recipe = load_recipe(RECIPES / "edcnn.toml")
    assert recipe.network == EDCNNConfig()
    assert recipe.data == load_recipe(RECIPES / "paper.toml").data
    assert (recipe.loss.kind, recipe.loss.focal_frequency_weight, recipe.loss.wavelet_weight) == ("l2", 0, 0)
