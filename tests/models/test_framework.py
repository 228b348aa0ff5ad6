import itertools
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from longexposure.errors import InputError
from longexposure.models.base import ModelSpec
from longexposure.models.framework import (
    Encoder,
    FractalResidualNetwork,
    Framework,
    FrameworkConfig,
    ResidualDenseBlock,
    bicubic_downsample,
    bicubic_taps,
)

ALL = [
    FrameworkConfig(z=3, width=4, scale=scale, encoder=encoder)
    for scale, encoder in itertools.product((1, 2, 4), ("learned", "bicubic"))
]
every_setting = pytest.mark.parametrize("config", ALL, ids=lambda c: f"{c.encoder}-x{c.scale}")


pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    return inputs * outputs * kernel**2 + outputs


@pytest.mark.parametrize(
    ("channels", "scale", "expected"),
    [(1, 4, 4_956_929), (64, 4, 4_993_217), (128, 4, 5_030_081), (256, 4, 5_103_809)],
)
def test_super_resolution_module_has_the_published_number_of_parameters(channels, scale, expected):
    with torch.device("meta"):
        assert _count(FractalResidualNetwork(channels, width=64, scale=scale)) == expected


def test_scale_2_differs_from_the_released_colour_network_by_its_first_and_last_channels_only():
    with torch.device("meta"):
        ours = _count(FractalResidualNetwork(1, width=64, scale=2))
    assert ours + 2 * 64 * 9 + 2 * (64 * 9 + 1) == 4_811_523


def test_dense_block_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert _count(ResidualDenseBlock(64)) == 577_920


@pytest.mark.parametrize(("scale", "halvings"), [(1, 0), (2, 1), (4, 2)])
def test_encoder_parameters_follow_from_its_layers(scale, halvings):
    blocks = 2 * (halvings + 1) * 2 * _conv(64, 64)
    expected = _conv(1, 64) + blocks + halvings * _conv(64, 64) + _conv(64, 64)
    with torch.device("meta"):
        assert _count(Encoder(z=64, width=64, scale=scale)) == expected
    if scale == 4:
        assert expected == 554_560


def test_default_is_the_papers_full_setting():
    with torch.device("meta"):
        model = Framework(FrameworkConfig())
    assert _count(model) == 554_560 + 4_993_217
    assert model.spec == ModelSpec(size_multiple=4, receptive_field=214, conditioned=False)
    assert model.spec.halo == 216


def test_bicubic_setting_has_nothing_to_learn_before_the_super_resolution_module():
    with torch.device("meta"):
        assert _count(Framework(FrameworkConfig(encoder="bicubic"))) == 4_956_929


@every_setting
def test_output_has_the_size_of_the_input(config):
    model = Framework(config)
    image = torch.rand(2, 1, 8, 12)
    assert model(image).shape == image.shape
    assert model(image[..., :4, :4]).shape == (2, 1, 4, 4)


@every_setting
def test_condition_is_not_looked_at(config):
    model = Framework(config)
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(model(image), model(image, torch.rand(1, 5)))


@every_setting
@pytest.mark.parametrize("axis", [2, 3])
def test_receptive_field_is_exactly_the_stated_radius(config, axis):
    model = Framework(config.model_copy(update={"z": 1, "width": 2})).double()
    _positive_averages(model)
    radius = model.spec.receptive_field
    centre = 4 * (radius // 4 + 2)
    shape = [1, 1, 8, 8]
    shape[axis] = 2 * centre + 4
    farthest = 0
    for position in range(config.scale):
        image = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        model(image).select(axis, centre + position).sum().backward()
        touched = (image.grad.sum(dim=5 - axis).flatten() != 0).nonzero().flatten()
        farthest = max(farthest, (touched - centre - position).abs().max().item())
    assert farthest == radius


def _positive_averages(model: torch.nn.Module) -> None:
    """Make every convolution a positive mean: no ReLU closes, nothing cancels, so every path shows."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())


@every_setting
def test_a_window_with_halo_equals_the_whole(config):
    model = Framework(config).double()
    halo = model.spec.halo
    image = torch.rand(1, 1, 8, 2 * halo + 24, dtype=torch.float64)
    whole = model(image)[..., halo + 8 : halo + 16]
    window = model(image[..., 8 : 2 * halo + 16])[..., halo : halo + 8]
    torch.testing.assert_close(window, whole, rtol=0, atol=1e-12)
    assert whole.std() > 1e-3


def _reference_decoder(weights: dict[str, torch.Tensor], feature: torch.Tensor, ups: int) -> torch.Tensor:
    """The fractal residual network from its published description, with explicit lists of skips."""

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def block(index: int, u0: torch.Tensor) -> torch.Tensor:
        u = [u0]
        for i in range(5):
            u.append(conv(f"blocks.{index}.dense.{i}", torch.cat(u, dim=1)).clamp_min(0))
        return u0 + 0.1 * conv(f"blocks.{index}.fusion", torch.cat(u, dim=1))

    nodes = [conv("head", feature)]
    skips = {2: [0], 4: [2, 0], 6: [4], 8: [6, 4, 0]}  # after block n, add these nodes
    for n in range(1, 9):
        x = block(n - 1, nodes[-1])
        nodes.append(x + sum(nodes[source] for source in skips.get(n, [])))
    x = conv("tail", nodes[8]) + nodes[0]
    for stage in range(ups):
        y = conv(f"ups.{2 * stage}", x)
        batch, channels, height, width = y.shape
        y = y.reshape(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        x = y.reshape(batch, channels // 4, 2 * height, 2 * width)
    return conv("out", x)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_super_resolution_module_equals_a_second_implementation(scale):
    network = FractalResidualNetwork(3, width=4, scale=scale).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    feature = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    weights = {name: tensor.detach() for name, tensor in network.named_parameters()}
    expected = _reference_decoder(weights, feature, ups=scale.bit_length() - 1)
    torch.testing.assert_close(network(feature), expected)


def test_encoder_equals_a_second_implementation():
    encoder = Encoder(z=3, width=4, scale=4).double()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    parameters = list(encoder.parameters())
    pairs = list(zip(parameters[0::2], parameters[1::2], strict=True))

    def conv(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return functional.conv2d(x, *pairs.pop(0), padding=1, stride=stride)

    def residual(x: torch.Tensor) -> torch.Tensor:
        return x + conv(conv(x).clamp_min(0))

    image = torch.randn(2, 1, 12, 8, dtype=torch.float64)
    x = conv(image)
    for _ in range(2):
        x = conv(residual(residual(x)), stride=2)
    x = conv(residual(residual(x)))
    assert not pairs
    assert x.shape == (2, 3, 3, 2)
    torch.testing.assert_close(encoder(image), x)


def test_there_is_no_skip_from_image_to_output():
    model = Framework(FrameworkConfig(z=2, width=4))
    for parameter in model.decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(model(torch.rand(1, 1, 8, 8)), model(torch.rand(1, 1, 8, 8)))


def test_initialisation_is_he_before_relu_xavier_elsewhere_and_zero_biases():
    block = ResidualDenseBlock(32)
    for i, convolution in enumerate(block.dense, start=1):
        variance = 2 / (9 * 32 * i)
        assert convolution.weight.var().item() == pytest.approx(variance, rel=0.06)
        std = math.sqrt(variance)
        largest = convolution.weight.abs().max().item()
        assert 2.1 * std < largest < 2.3 * std  # cut at two sigma of the wider normal it is drawn from
    bound = math.sqrt(6 / (6 * 32 + 32))
    assert 0.98 * bound < block.fusion.weight.abs().max().item() <= bound
    model = Framework(FrameworkConfig(z=4, width=8))
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert all(torch.count_nonzero(bias) == 0 for bias in biases)
    first = model.encoder.layers[1].first.weight
    assert first.var().item() == pytest.approx(2 / (9 * 8), rel=0.2)


def test_an_untrained_network_gives_values_of_the_order_of_its_input():
    model = Framework(FrameworkConfig(width=32))
    with torch.inference_mode():
        image = torch.rand(1, 1, 64, 64)
        assert 0.05 < model(image).square().mean().sqrt() / image.square().mean().sqrt() < 5


@every_setting
def test_every_parameter_learns(config):
    model = Framework(config)
    model(torch.rand(2, 1, 16, 16)).square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@every_setting
def test_runs_in_bfloat16_both_ways(config):
    model = Framework(config)
    image = torch.rand(1, 1, 8, 8)
    plain = model(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error = (model(image).float() - plain).square().mean().sqrt()
    assert error < 0.05 * plain.square().mean().sqrt()
    assert model.bfloat16()(image.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("size", [(7, 8), (8, 10)])
def test_refuses_a_size_that_the_scale_does_not_divide(size):
    model = Framework(FrameworkConfig(z=2, width=2))
    with pytest.raises(InputError, match=f"multiples of 4, found {size[0]} x {size[1]}"):
        model(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("wrong", [{"scale": 3}, {"z": 0}, {"width": 0}, {"encoder": "mean"}, {"depth": 8}])
def test_config_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        FrameworkConfig(**wrong)


def test_config_survives_json():
    config = FrameworkConfig(z=16, scale=2, encoder="bicubic")
    assert FrameworkConfig.model_validate_json(config.model_dump_json()) == config
    assert config.kind == "framework"


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -1/2, in the form printed for MATLAB's imresize."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _matrix(size: int, scale: int) -> np.ndarray:
    """(size / scale, size): each row samples the stretched kernel and sums to 1 inside the image."""
    centres = (np.arange(size // scale) + 0.5) * scale - 0.5
    weights = _cubic((np.arange(size)[None, :] - centres[:, None]) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(4, 4), (12, 32), (40, 8)])
def test_equals_sampling_the_stretched_cubic_kernel(scale, size):
    image = np.random.default_rng(0).random((2, 3, *size))
    expected = _matrix(size[0], scale) @ image @ _matrix(size[1], scale).T
    ours = bicubic_downsample(torch.from_numpy(image), scale).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 4])
def test_equals_torch_antialiased(scale):
    image = torch.rand(1, 1, 36, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(
        image, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False
    )
    torch.testing.assert_close(bicubic_downsample(image, scale), expected)


def test_white_noise_keeps_0_041_of_its_variance_at_scale_4():
    noise = torch.randn(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    factor = (bicubic_downsample(noise, 4)[..., 4:-4, 4:-4].var() / noise.var()).item()
    assert factor == pytest.approx(0.041, rel=0.03)
    assert sum(tap**2 for tap in bicubic_taps(4)) ** 2 == pytest.approx(factor, rel=0.02)


def test_keeps_a_constant_up_to_the_border():
    image = torch.full((1, 1, 8, 12), 0.7)
    torch.testing.assert_close(bicubic_downsample(image, 4), torch.full((1, 1, 2, 3), 0.7))


def test_is_float32_under_autocast_and_keeps_half_types():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bicubic_downsample(image, 4), bicubic_downsample(image, 4).float())
        under = bicubic_downsample(image, 4)
    assert torch.equal(under, bicubic_downsample(image, 4))
    assert bicubic_downsample(image.bfloat16(), 4).dtype == torch.bfloat16


@pytest.mark.parametrize("scale", [0, 3, -2])
def test_refuses_a_scale_without_a_symmetric_grid(scale):
    with pytest.raises(InputError, match=f"found {scale};"):
        bicubic_downsample(torch.zeros(1, 1, 12, 12), scale)
