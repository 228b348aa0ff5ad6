"""The fast network: identity before training, honest about the mean, local, and in units of the noise."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from longexposure.models.base import ModelSpec
from longexposure.models.fast import FAINTEST, Fast, FastConfig, can_grow, grow
from longexposure.noise import NOISE_CONDITION, NoiseProfile

SIGMA = 0.05
ONE_LOOK = {"fine_width": 0, "fine_blocks": 0}
TOLD = [
    FastConfig(width=4, blocks=0, **ONE_LOOK),
    FastConfig(width=8, blocks=2, **ONE_LOOK),
    FastConfig(scale=2, width=8, blocks=2, **ONE_LOOK),
    FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=0),
    FastConfig(width=8, blocks=0, fine_width=4, fine_blocks=2),
]
SIZES = [*TOLD, FastConfig(width=8, blocks=2, told=False, **ONE_LOOK)]


def name(config: FastConfig) -> str:
    fine = f"-fine-{config.fine_width}x{config.fine_blocks}" if config.fine_width else ""
    return f"{config.scale}-{config.width}x{config.blocks}{fine}" + ("" if config.told else "-blind")


every_size = pytest.mark.parametrize("config", SIZES, ids=name)
every_told_size = pytest.mark.parametrize("config", TOLD, ids=name)


pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def randomised(config: FastConfig, std: float = 0.2) -> Fast:
    """As if trained badly: every weight random, in double precision."""
    network = Fast(config).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def told(sigma: float = SIGMA, batch: int = 1) -> torch.Tensor:
    noise_condition = NoiseProfile(level=0.5, sigma=sigma, corr_x=0.2).noise_condition()
    return torch.from_numpy(noise_condition).double().expand(batch, -1)


def noisy(*shape: int, sigma: float = SIGMA) -> torch.Tensor:
    return 0.5 + sigma * torch.randn(*shape, dtype=torch.float64)


def test_parameters_follow_from_the_layers():
    def conv(inputs: int, outputs: int) -> int:
        return inputs * outputs * 9 + outputs

    for config in (*SIZES, FastConfig()):
        channels, numbers = config.scale**2, len(NOISE_CONDITION) if config.told else 0
        expected = conv(channels + 2 + numbers, config.width) + conv(config.width, channels)
        expected += 2 * config.blocks * conv(config.width, config.width)
        if fine := config.fine_width:
            expected += conv(4 + config.width // 4, fine) + conv(fine, 4)
            expected += 2 * config.fine_blocks * conv(fine, fine)
        with torch.device("meta"):
            assert sum(parameter.numel() for parameter in Fast(config).parameters()) == expected


@every_size
def test_untrained_it_is_the_identity(config):
    image = noisy(2, 1, 16, 24).float()
    assert torch.equal(Fast(config)(image, told(batch=2).float()), image)


@every_size
def test_output_has_the_size_of_the_input(config):
    network = randomised(config)
    for size in ((4, 4), (8, 40), (52, 4)):
        assert network(noisy(2, 1, *size), told(batch=2)).shape == (2, 1, *size)


@every_size
def test_every_parameter_learns(config):
    network = randomised(config).train()
    (network(noisy(2, 1, 32, 32), told(batch=2)) - 0.5).square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@every_told_size
def test_it_looks_at_the_noise_it_is_told(config):
    network, image = randomised(config), noisy(1, 1, 16, 16)
    for index in range(len(NOISE_CONDITION)):
        other = told().clone()
        other[:, index] += 0.1
        assert not torch.equal(network(image, other), network(image, told())), NOISE_CONDITION[index]


def test_told_nothing_it_hears_nothing():
    network, image = randomised(FastConfig(width=8, blocks=2, told=False)), noisy(1, 1, 16, 16)
    assert not network.spec.conditioned
    assert torch.equal(network(image), network(image, told(0.3)))


def test_told_nothing_where_it_should_be_is_an_error():
    with pytest.raises(RuntimeError, match="channels"):
        Fast(FastConfig(width=8, blocks=2))(noisy(1, 1, 16, 16).float())


def test_correction_is_in_units_of_the_noise():
    """Blind to the absolute level and the numbers it is told, it scales with the noise exactly."""
    network = randomised(FastConfig(width=8, blocks=2))
    with torch.no_grad():
        network.head.weight[:, 17:] = 0
    pattern = torch.randn(1, 1, 32, 32, dtype=torch.float64)

    def correction(sigma: float) -> torch.Tensor:
        image = 0.5 + sigma * pattern
        return (network(image, told(sigma)) - image) / sigma

    torch.testing.assert_close(correction(0.2), correction(0.01), rtol=1e-6, atol=1e-6)
    assert correction(0.01).std() > 0.01


def test_without_noise_almost_nothing_is_changed():
    network = randomised(FastConfig(width=8, blocks=2), std=0.1)
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    for sigma in (0.0, FAINTEST / 10, FAINTEST):
        noise_condition = told(FAINTEST).clone()
        noise_condition[:, 0] = sigma
        output = network(image, noise_condition)
        assert torch.isfinite(output).all()
        torch.testing.assert_close(output, network(image, told(FAINTEST)), rtol=0, atol=1e-2 * FAINTEST)
    loud = (network(image, told(0.1)) - image).abs().max()
    assert (output - image).abs().max() < 0.1 * loud


@every_size
@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_a_large_area_is_kept_whatever_the_weights(config, seed):
    torch.manual_seed(seed)
    network = randomised(config)
    image = noisy(1, 1, 256, 256)
    change = network(image, told()) - image
    assert change.std() > 0.1 * SIGMA, "the weights do something"
    assert change[..., 40:-40, 40:-40].mean().abs() < 0.02 * change.std()
    assert change.mean().abs() < 0.02 * change.std()


@every_size
def test_a_shift_that_the_weights_want_is_taken_out_entirely(config):
    network = Fast(config).double()
    torch.nn.init.ones_(network.tail.bias)
    image = noisy(1, 1, 48, 60)
    torch.testing.assert_close(network(image, told()), image, rtol=0, atol=1e-12)


@every_size
def test_flat_grey_far_from_the_border_keeps_its_level(config):
    network = randomised(config)
    side = 8 * (network.spec.halo // 4 + 1)
    change = network(torch.full((1, 1, side, side), 0.37, dtype=torch.float64), told()) - 0.37
    block = change[..., side // 2 - 4 : side // 2, side // 2 - 4 : side // 2]
    assert block.mean().abs() < 1e-12
    assert block.std() > 1e-3, "a bad network draws a pattern, but of mean zero"


def test_a_second_look_begins_as_the_first():
    config = FastConfig(width=8, blocks=2, **ONE_LOOK)
    first, image = randomised(config), noisy(2, 1, 32, 48)
    both = Fast(config.model_copy(update={"fine_width": 4, "fine_blocks": 1})).double()
    both.load_state_dict(first.state_dict() | {k: v for k, v in both.state_dict().items() if "fine" in k})
    assert torch.equal(both(image, told(batch=2)), first(image, told(batch=2)))
    assert not torch.equal(first(image, told(batch=2)), image)


@every_size
@pytest.mark.parametrize("axis", [2, 3])
def test_receptive_field_is_exactly_the_stated_radius(config, axis):
    network = randomised(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # no ReLU closes
    radius = network.spec.receptive_field
    centre = 4 * (radius // 4 + 2)
    shape = [1, 1, 8, 8]
    shape[axis] = 2 * centre + 4
    farthest = 0
    for position in range(4):
        image = (0.5 + 0.01 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
        network(image, told()).select(axis, centre + position).sum().backward()
        touched = (image.grad.sum(dim=5 - axis).flatten() != 0).nonzero().flatten()
        farthest = max(farthest, int((touched - centre - position).abs().max()))
    assert farthest == radius


def test_default_size_and_reach():
    with torch.device("meta"):
        spec = Fast(FastConfig()).spec
    assert (spec.size_multiple, spec.conditioned) == (4, True)
    assert spec == ModelSpec(
        size_multiple=4,
        receptive_field=4 * (2 + 16 + 1 + 2 + 8) + 3,
        conditioned=True,
        bytes_per_px=spec.bytes_per_px,
    )
    assert spec.halo == 120


@every_size
def test_a_window_with_halo_equals_the_whole(config):
    network = randomised(config)
    halo = network.spec.halo
    image = noisy(1, 1, 8, 2 * halo + 24)
    whole = network(image, told())[..., halo + 8 : halo + 16]
    window = network(image[..., 8 : 2 * halo + 16], told())[..., halo : halo + 8]
    torch.testing.assert_close(window, whole, rtol=0, atol=1e-12)
    assert whole.std() > 1e-3


@every_size
def test_pages_of_a_batch_do_not_mix(config):
    network, images = randomised(config), noisy(3, 1, 16, 16)
    conditions = torch.cat([told(sigma) for sigma in (0.02, 0.05, 0.2)])
    together = network(images, conditions)
    for index in range(3):
        alone = network(images[index : index + 1], conditions[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-12)


def test_runs_in_bfloat16_with_a_correction_in_single_precision():
    network = randomised(FastConfig(width=8, blocks=2)).float()
    image = noisy(1, 1, 32, 32).float()
    exact = network(image, told().float()) - image
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(image, told().float())
    assert half.dtype == torch.float32
    assert (half - image - exact).square().mean().sqrt() < 0.05 * exact.square().mean().sqrt()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 3},
        {"scale": 8},
        {"width": 3},
        {"width": 513},
        {"blocks": -1},
        {"blocks": 65},
        {"depth": 2},
        {"kind": "framework"},
        {"fine_blocks": 1, "fine_width": 0},
        {"width": 10},
        {"scale": 2},
    ],
)
def test_config_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        FastConfig(**wrong)


def test_config_survives_json_and_does_not_change():
    config = FastConfig(width=16, blocks=3)
    assert FastConfig.model_validate_json(config.model_dump_json()) == config
    assert config.kind == "fast"
    with pytest.raises(ValidationError):
        config.width = 5


FIRST_LOOK = FastConfig(width=8, blocks=0, **ONE_LOOK)
SMALL = FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=1)
LARGER = [
    FastConfig(width=12, blocks=1, fine_width=4, fine_blocks=1),
    FastConfig(width=8, blocks=3, fine_width=4, fine_blocks=1),
    FastConfig(width=8, blocks=1, fine_width=6, fine_blocks=2),
    FastConfig(width=16, blocks=2, fine_width=8, fine_blocks=3),
    SMALL,
]


@pytest.mark.parametrize("config", LARGER, ids=name)
@pytest.mark.parametrize("small", [SMALL, FIRST_LOOK], ids=name)
def test_a_larger_network_begins_as_the_smaller_one(small: FastConfig, config: FastConfig) -> None:
    start, network = randomised(small), Fast(config).double()
    assert can_grow(small, config)
    grow(start, network)
    image, condition = noisy(2, 1, 32, 48), told(batch=2)
    torch.testing.assert_close(network(image, condition), start(image, condition), rtol=0, atol=1e-12)
    assert (start(image, condition) - image).std() > 1e-3


@pytest.mark.parametrize("config", LARGER, ids=name)
def test_every_new_weight_learns_within_three_steps(config: FastConfig) -> None:
    network = Fast(config).double()
    grow(randomised(SMALL), network)
    first = {key: weights.clone() for key, weights in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    image, condition = noisy(2, 1, 32, 48), told(batch=2)
    for _ in range(3):
        optimiser.zero_grad()
        (network(image, condition) - 0.5).square().mean().backward()
        optimiser.step()
    still = [key for key, weights in network.state_dict().items() if torch.equal(weights, first[key])]
    assert still == []


@pytest.mark.parametrize(
    "other",
    [
        FastConfig(width=4, blocks=1, fine_width=4, fine_blocks=1),
        FastConfig(width=8, blocks=0, fine_width=4, fine_blocks=1),
        FastConfig(width=8, blocks=1, fine_width=0, fine_blocks=0),
        FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=1, told=False),
        FastConfig(width=8, blocks=1, scale=2, fine_width=0, fine_blocks=0),
    ],
    ids=str,
)
def test_what_is_smaller_or_of_another_sort_is_no_growth(other: FastConfig) -> None:
    assert not can_grow(SMALL, other)
