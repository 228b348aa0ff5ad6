"""A larger network begins as the smaller one, and all of it learns."""

from __future__ import annotations

import pytest
import torch

from longexposure.models.fast import Fast, FastConfig, can_grow, grow
from longexposure.noise import NoiseProfile

ONE_LOOK = FastConfig(width=8, blocks=0, fine_width=0, fine_blocks=0)
SMALL = FastConfig(width=8, blocks=1, fine_width=4, fine_blocks=1)
LARGER = [
    FastConfig(width=12, blocks=1, fine_width=4, fine_blocks=1),
    FastConfig(width=8, blocks=3, fine_width=4, fine_blocks=1),
    FastConfig(width=8, blocks=1, fine_width=6, fine_blocks=2),
    FastConfig(width=16, blocks=2, fine_width=8, fine_blocks=3),
    SMALL,
]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def trained(config: FastConfig) -> Fast:
    """As if trained: every weight random, in double precision."""
    network = Fast(config).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    image = 0.5 + 0.05 * torch.randn(2, 1, 32, 48, dtype=torch.float64)
    return image, torch.from_numpy(NoiseProfile(level=0.5, sigma=0.05).noise_condition()).double().expand(
        2, -1
    )


def size(config: FastConfig) -> str:
    return f"{config.width}x{config.blocks}-{config.fine_width}x{config.fine_blocks}"


@pytest.mark.parametrize("config", LARGER, ids=size)
@pytest.mark.parametrize("small", [SMALL, ONE_LOOK], ids=size)
def test_it_begins_as_the_smaller_one(small: FastConfig, config: FastConfig) -> None:
    start, network = trained(small), Fast(config).double()
    assert can_grow(small, config)
    grow(start, network)
    image, told = pair()
    torch.testing.assert_close(network(image, told), start(image, told), rtol=0, atol=1e-12)
    assert (start(image, told) - image).std() > 1e-3


@pytest.mark.parametrize("config", LARGER, ids=size)
def test_every_new_weight_learns_within_three_steps(config: FastConfig) -> None:
    network = Fast(config).double()
    grow(trained(SMALL), network)
    first = {name: weights.clone() for name, weights in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    image, told = pair()
    for _ in range(3):
        optimiser.zero_grad()
        (network(image, told) - 0.5).square().mean().backward()
        optimiser.step()
    still = [name for name, weights in network.state_dict().items() if torch.equal(weights, first[name])]
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
