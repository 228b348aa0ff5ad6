"""NAFNet: published size and layout, local attention by a second implementation, and a truthful reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from longexposure.engines.torch import TorchEngine
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import CheckpointError, InputError
from longexposure.models import nafnet
from longexposure.models.checkpoint import FORMAT, Header
from longexposure.models.nafnet import LayerNorm2d, LocalMean, NAFNet, NAFNetConfig
from longexposure.models.networks import parse_config, restore_network
from longexposure.train.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "src" / "longexposure" / "train" / "recipes"
SMALL = NAFNetConfig(width=4, encoder_blocks=(1, 2), middle_blocks=1, decoder_blocks=(1, 1), patch_px=8)
"""Squares of 12, 6 and 3 px."""


pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def randomised(config: NAFNetConfig = SMALL, std: float = 0.4) -> NAFNet:
    """As if trained, so that no block is the identity; double precision."""
    network = NAFNet(config).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network


def block_shapes(prefix: str, c: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}.{name}": (1, c, 1, 1) for name in ("beta", "gamma")}
    kernels = {
        "conv1": (2 * c, c, 1, 1),
        "conv2": (2 * c, 1, 3, 3),
        "conv3": (c, c, 1, 1),
        "sca.1": (c, c, 1, 1),
        "conv4": (2 * c, c, 1, 1),
        "conv5": (c, c, 1, 1),
        "norm1": (c,),
        "norm2": (c,),
    }
    for name, shape in kernels.items():
        shapes[f"{prefix}.{name}.weight"] = shape
        shapes[f"{prefix}.{name}.bias"] = shape[:1]
    return shapes


def published_shapes(
    *, width: int, down: tuple[int, ...], middle: int, up: tuple[int, ...], channels: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes by the rule of the authors' files."""
    shapes: dict[str, tuple[int, ...]] = {
        "intro.weight": (width, channels, 3, 3),
        "intro.bias": (width,),
        "ending.weight": (channels, width, 3, 3),
        "ending.bias": (channels,),
    }
    c = width
    for i, count in enumerate(down):
        for j in range(count):
            shapes |= block_shapes(f"encoders.{i}.{j}", c)
        shapes |= {f"downs.{i}.weight": (2 * c, c, 2, 2), f"downs.{i}.bias": (2 * c,)}
        c *= 2
    for j in range(middle):
        shapes |= block_shapes(f"middle_blks.{j}", c)
    for i, count in enumerate(up):
        shapes[f"ups.{i}.0.weight"] = (2 * c, c, 1, 1)
        c //= 2
        for j in range(count):
            shapes |= block_shapes(f"decoders.{i}.{j}", c)
    return shapes


PUBLISHED = [
    (32, (2, 2, 4, 8), 12, (2, 2, 2, 2), 29_158_561),
    (64, (2, 2, 4, 8), 12, (2, 2, 2, 2), 115_980_609),
    (32, (1, 1, 1, 28), 1, (1, 1, 1, 1), 17_110_753),
    (64, (1, 1, 1, 28), 1, (1, 1, 1, 1), 67_886_529),
]


@pytest.mark.parametrize(("width", "down", "middle", "up", "parameters"), PUBLISHED)
def test_published_sizes_have_their_parameters_names_and_shapes(width, down, middle, up, parameters):
    config = NAFNetConfig(width=width, encoder_blocks=down, middle_blocks=middle, decoder_blocks=up)
    with torch.device("meta"):
        network = NAFNet(config)
    assert sum(p.numel() for p in network.parameters()) == parameters
    expected = published_shapes(width=width, down=down, middle=middle, up=up, channels=1)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == expected
    assert len(expected) == 664
    assert network.spec.size_multiple == 16


def test_default_is_the_published_width_32():
    width, down, middle, up, _ = PUBLISHED[0]
    assert NAFNetConfig() == NAFNetConfig(
        width=width, encoder_blocks=down, middle_blocks=middle, decoder_blocks=up, patch_px=256
    )


@pytest.mark.parametrize(
    ("channels", "parameters"), [(32, 8224), (64, 30_784), (128, 118_912), (256, 467_200), (512, 1_851_904)]
)
def test_blocks_have_the_published_number_of_parameters(channels, parameters):
    with torch.device("meta"):
        block = nafnet.NAFBlock(channels, 384)
    assert sum(p.numel() for p in block.parameters()) == parameters


def test_attention_averages_over_384_pixels_of_the_image_at_every_level_as_published():
    with torch.device("meta"):
        network = NAFNet(NAFNetConfig())
    squares = {name: m.square_px for name, m in network.named_modules() if isinstance(m, LocalMean)}
    assert len(squares) == 36
    sides = {"encoders": (384, 192, 96, 48), "decoders": (48, 96, 192, 384)}
    for name, side in squares.items():
        part, index = name.split(".")[:2]
        assert side == (24 if part == "middle_blks" else sides[part][int(index)])


def naive_local_mean(x: torch.Tensor, k: int) -> torch.Tensor:
    """One square after the other, where they lie inside; then the outermost ones again up to the border."""
    height, width = x.shape[-2:]
    tall, wide = min(k, height), min(k, width)
    rows = []
    for top in range(height - tall + 1):
        places = range(width - wide + 1)
        row = [x[:, :, top : top + tall, left : left + wide].mean(dim=(2, 3)) for left in places]
        rows.append(torch.stack(row, dim=-1))
    inside = torch.stack(rows, dim=-2)
    missing = (wide - 1, tall - 1)
    before = [n // 2 for n in missing]
    after = [n - n // 2 for n in missing]
    padding = (before[0], after[0], before[1], after[1])
    return functional.pad(inside, padding, mode="replicate")


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(9, 12), (8, 5), (3, 11), (6, 1)])
def test_local_mean_equals_a_naive_one(size, k):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    ours = LocalMean(k)(x).expand_as(x)
    torch.testing.assert_close(ours, naive_local_mean(x, k), rtol=0, atol=1e-13)


def test_a_square_that_covers_the_map_gives_the_global_mean():
    x = torch.randn(2, 3, 6, 8)
    for k in (8, 9, 100):
        assert LocalMean(k)(x).shape == (2, 3, 1, 1)
        torch.testing.assert_close(LocalMean(k)(x), functional.adaptive_avg_pool2d(x, 1))


def test_local_mean_is_differentiable():
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalMean(3), (x,))
    assert torch.autograd.gradcheck(LocalMean(9), (x,))


def test_local_mean_keeps_single_precision_far_from_the_corner_of_a_large_map():
    x = 1000 + torch.rand(1, 1, 700, 900)
    mean = LocalMean(24)(x)
    exact = x[0, 0, 600:624, 800:824].double().mean()
    assert abs(mean[0, 0, 600 + 11, 800 + 11].item() - exact.item()) < 1e-4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LocalMean(24)(x), mean)


def test_layer_norm_equals_its_formula_and_is_differentiable():
    norm = LayerNorm2d(5).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    centred = x - x.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    expected = expected * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(norm(x), expected)
    assert torch.autograd.gradcheck(norm, (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layer_norm_of_equal_channels_has_a_finite_gradient(dtype):
    norm = LayerNorm2d(6).to(dtype)
    x = torch.full((1, 6, 2, 2), 0.3, dtype=dtype, requires_grad=True)
    y = norm(x)
    (y * torch.arange(6, dtype=dtype).view(1, 6, 1, 1)).sum().backward()
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert 0 < x.grad.abs().max() < 1e4


def reference(weights: dict[str, torch.Tensor], image: torch.Tensor, config: NAFNetConfig) -> torch.Tensor:
    """The published description on plain tensors, any number of channels, squares as in `squares`."""

    def conv(name: str, x: torch.Tensor, **options: int) -> torch.Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **options)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        affine = [weights[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias")]
        return (x - mean) / (variance + 1e-6).sqrt() * affine[0] + affine[1]

    def block(name: str, x: torch.Tensor, k: int) -> torch.Tensor:
        y = conv(f"{name}.conv1", norm(f"{name}.norm1", x))
        y = conv(f"{name}.conv2", y, padding=1, groups=y.shape[1])
        y = y[:, : y.shape[1] // 2] * y[:, y.shape[1] // 2 :]
        y = y * conv(f"{name}.sca.1", naive_local_mean(y, k))
        x = x + weights[f"{name}.beta"] * conv(f"{name}.conv3", y)
        y = conv(f"{name}.conv4", norm(f"{name}.norm2", x))
        y = y[:, : y.shape[1] // 2] * y[:, y.shape[1] // 2 :]
        return x + weights[f"{name}.gamma"] * conv(f"{name}.conv5", y)

    def blocks(name: str, count: int, x: torch.Tensor, level: int) -> torch.Tensor:
        for j in range(count):
            x = block(f"{name}.{j}", x, int(1.5 * config.patch_px) // 2**level)
        return x

    levels = len(config.encoder_blocks)
    x, skips = conv("intro", image, padding=1), []
    for i, count in enumerate(config.encoder_blocks):
        x = blocks(f"encoders.{i}", count, x, i)
        skips.append(x)
        x = conv(f"downs.{i}", x, stride=2)
    x = blocks("middle_blks", config.middle_blocks, x, levels)
    for i, count in enumerate(config.decoder_blocks):
        x = functional.pixel_shuffle(conv(f"ups.{i}.0", x), 2) + skips.pop()
        x = blocks(f"decoders.{i}", count, x, levels - 1 - i)
    return image + conv("ending", x, padding=1)


@pytest.mark.parametrize("size", [(8, 8), (4, 24), (28, 20)])
def test_equals_a_second_implementation_below_and_above_the_square(size):
    network = randomised()
    image = torch.randn(2, 1, *size, dtype=torch.float64)
    expected = reference(network.state_dict(), image, SMALL)
    torch.testing.assert_close(network(image), expected)
    assert (expected - image).std() > 0.1


def test_an_image_larger_than_the_square_is_treated_locally_and_a_smaller_one_as_a_whole():
    local = randomised()
    whole = NAFNet(SMALL.model_copy(update={"patch_px": 4096})).double()
    whole.load_state_dict(local.state_dict())
    small, large = torch.rand(1, 1, 12, 12).double(), torch.rand(1, 1, 32, 32).double()
    torch.testing.assert_close(local(small), whole(small))
    assert (local(large) - whole(large)).abs().max() > 1e-3


def test_starts_with_every_block_as_the_identity():
    network = NAFNet(SMALL)
    x = torch.rand(1, 4, 8, 8)
    assert torch.equal(network.encoders[0](x), x)
    kernel = network.intro.weight
    assert 0.8 / 3 < kernel.abs().max() <= 1 / 3  # torch's default: uniform within 1 / sqrt(fan in)


@pytest.mark.parametrize("border", [True, False], ids=["border", "inside"])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("sizes", [((1,), 1, (1,), 8), ((1, 0), 0, (2, 0), 8), ((0, 1), 1, (0, 1), 4)])
def test_receptive_field_is_exactly_the_stated_radius(sizes, axis, border, monkeypatch):
    """Gradients through the naive means are exactly zero where nothing reaches."""
    monkeypatch.setattr(LocalMean, "forward", lambda self, x: naive_local_mean(x, self.square_px))
    keys = ("encoder_blocks", "middle_blocks", "decoder_blocks", "patch_px")
    network = randomised(NAFNetConfig(width=4, **dict(zip(keys, sizes, strict=True))))
    radius, cell = network.spec.receptive_field, network.spec.size_multiple
    shape = [1, 1, cell, cell]
    start = 0 if border else -(-2 * radius // cell) * cell
    shape[axis] = 2 * start + -(-2 * radius // cell) * cell + cell
    image = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    farthest = 0
    for place in range(start, start + cell):
        (gradient,) = torch.autograd.grad(network(image).select(axis, place).sum(), image)
        touched = gradient.sum(dim=5 - axis).flatten().nonzero().flatten()
        farthest = max(farthest, (touched - place).abs().max().item())
    if border:
        assert farthest == radius
    else:
        assert radius - 1.5 * sizes[-1] < farthest <= radius  # here squares are centred


def test_receptive_field_of_the_published_network_covers_an_image_of_seven_thousand_pixels():
    """36 squares of 384 px, half of each, the whole of one at a border, and the convolutions."""
    with torch.device("meta"):
        radius = NAFNet(NAFNetConfig()).spec.receptive_field
    means = 35 * 192 + 383
    depthwise = 4 * 1 + 4 * 2 + 6 * 4 + 10 * 8 + 12 * 16
    assert means + depthwise + 2 <= radius < means + depthwise + 2 + 16


def test_a_window_with_halo_equals_the_whole():
    network = randomised()
    halo = network.spec.halo
    image = torch.rand(1, 1, 8, 2 * halo + 40, dtype=torch.float64)
    with torch.inference_mode():
        whole = network(image)
        middle = network(image[..., 8 : 2 * halo + 16])[..., halo : halo + 8]
        border = network(image[..., : halo + 4])[..., :4]
        end = network(image[..., -halo - 4 :])[..., -4:]
    torch.testing.assert_close(middle, whole[..., halo + 8 : halo + 16], rtol=0, atol=1e-11)
    torch.testing.assert_close(border, whole[..., :4], rtol=0, atol=1e-11)
    torch.testing.assert_close(end, whole[..., -4:], rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", [(37, 51), (1, 1), (3, 130)])
def test_odd_sizes_pass_the_enhance_path(size):
    enhancer = Enhancer(TorchEngine(randomised(std=0.2).float(), device="cpu"), name="nafnet")
    image = np.random.default_rng(0).normal(900, 30, size).astype(np.float32)
    result = enhancer.enhance(image)
    assert result.shape == size
    assert np.isfinite(result).all()


@pytest.mark.parametrize("size", [(6, 8), (8, 13)])
def test_refuses_a_size_that_the_levels_do_not_divide(size):
    with pytest.raises(InputError, match=f"multiples of 4, found {size[0]} x {size[1]}"):
        NAFNet(SMALL)(torch.zeros(1, 1, *size))


def test_condition_is_not_looked_at():
    network, image = randomised(), torch.rand(1, 1, 8, 8).double()
    assert torch.equal(network(image), network(image, torch.rand(1, 5)))


@pytest.mark.parametrize("size", [8, 24], ids=["global", "local"])
def test_every_parameter_learns_once_the_blocks_are_open(size):
    network = NAFNet(SMALL)
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.ones_(parameter)
    (network(torch.rand(2, 1, size, size)) - 0.5).square().mean().backward()
    bad = [n for n, p in network.named_parameters() if not p.grad.any() or not p.grad.isfinite().all()]
    assert bad == []


def test_closed_blocks_open_at_the_first_step():
    network = NAFNet(SMALL)
    (network(torch.rand(2, 1, 8, 8)) - 0.5).square().mean().backward()
    gates = [p for name, p in network.named_parameters() if name.endswith(("beta", "gamma"))]
    assert len(gates) == 2 * 6
    assert all(gate.grad.any() for gate in gates)


@pytest.mark.parametrize("size", [8, 24], ids=["global", "local"])
def test_runs_in_bfloat16_both_ways(size):
    network = randomised(std=0.2).float()
    image = torch.rand(1, 1, size, size)
    plain = network(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(image)
        half.square().mean().backward()
    assert half.dtype == torch.float32
    assert (half - plain).square().mean().sqrt() < 0.05 * (plain - image).std()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert network.bfloat16()(image.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"encoder_blocks": (1, 1)}, "2 and 4 entries"),
        ({"encoder_blocks": (1,) * 7, "decoder_blocks": (1,) * 7}, "at most 6"),
        ({"patch_px": 200}, "multiple of 16"),
        ({"width": 0}, "greater than"),
        ({"encoder_blocks": (1, 1, 1, -1)}, "greater than"),
        ({"depth": 3}, "Extra"),
    ],
)
def test_config_refuses_what_does_not_fit_together(wrong, words):
    with pytest.raises(ValidationError, match=words):
        NAFNetConfig(**wrong)


def test_config_and_weights_survive_a_checkpoint():
    assert parse_config(NAFNetConfig().model_dump(mode="json")) == NAFNetConfig()
    network = randomised().float()
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    back = restore_network(Header(format=FORMAT, model=SMALL.model_dump(mode="json")), weights, where="x")
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(back(image), network(image))


def test_an_impossible_config_in_a_checkpoint_is_refused_as_such():
    header = Header(format=FORMAT, model={"kind": "nafnet", "patch_px": 100})
    with pytest.raises(CheckpointError, match="multiple of 16"):
        restore_network(header, {}, where="x")


def test_the_recipe_is_the_published_network_on_the_papers_data():
    recipe = load_recipe(RECIPES / "nafnet.toml")
    assert recipe.network == NAFNetConfig()
    assert recipe.data == load_recipe(RECIPES / "paper.toml").data
    assert recipe.network.patch_px == recipe.data.patch_px
