"""The noise that a network was trained for: what is outside is a warning, whatever told it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from longexposure.data.simulated import SimulatedConfig, draw_noise, told
from longexposure.enhancing import Enhancer, load_enhancer
from longexposure.grey import measure_grey
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes
from longexposure.models.classical import Identity
from longexposure.models.conditions import SHIPPED, Conditions, conditions_of
from longexposure.models.fast import Fast, FastConfig
from longexposure.noise import CONDITION, NoiseProfile

SIMULATED = {"data": {"kind": "simulated", "sigma": [0.0015, 0.35]}}


def unit(**changes: float) -> NoiseProfile:
    """A profile in the unit domain that every network knows, but for the changes."""
    return NoiseProfile(**{"level": 0.5, "sigma": 0.05, **changes})


def header(recipe: dict[str, object]) -> Header:
    return Header(format=FORMAT, model={"kind": "fast"}, recipe=recipe)


@pytest.mark.parametrize(
    ("noise", "word"),
    [
        (unit(sigma=0.0005), "noise is 0.0005 of the image's contrast, fainter than the 0.001 to 0.4"),
        (unit(sigma=0.8), "noise is 0.8000 of the image's contrast, stronger than the 0.001 to 0.4"),
        (unit(slope=-2 * 0.05**2), "goes with the signal is -1.00, less than the -0.5 to 1 "),
        (unit(slope=3 * 0.05**2), "goes with the signal is 1.50, more than the -0.5 to 1 "),
        (unit(corr_x=0.97), "neighbours in a row correlate by 0.97, more than the -0.25 to 0.87"),
        (unit(corr_y=-0.6), "neighbours in a column correlate by -0.60, less than the -0.25 to 0.87"),
    ],
)
def test_noise_outside_the_training_is_told_in_one_line(noise: NoiseProfile, word: str) -> None:
    (line,) = SHIPPED.outside(noise)
    assert word in line
    assert line.endswith("that the shipped network was trained for")


@pytest.mark.parametrize(
    "noise", [unit(), unit(slope=2 * 0.05**2), unit(corr_x=0.85, corr_y=0.85), unit(sigma=0.002)]
)
def test_noise_inside_the_training_is_not_told(noise: NoiseProfile) -> None:
    assert list(SHIPPED.outside(noise)) == []


def test_what_the_condition_cuts_is_told_and_not_silent() -> None:
    """A share above 1 is handed to the network as 1."""
    noise = unit(slope=3 * 0.05**2)
    assert noise.condition()[2] == 1
    assert noise.signal_share == pytest.approx(1.5)
    assert len(list(SHIPPED.outside(noise))) == 1


def test_ranges_of_the_simulated_recipe_are_those_of_what_it_tells() -> None:
    random = np.random.default_rng(0)
    config = SimulatedConfig(told_error=0.1)
    conditions = [
        told(draw_noise(random, config=config).profile(), random, error=config.told_error)
        for _ in range(6000)
    ]
    seen = Conditions.seen(np.array(conditions), model="it")
    stated = conditions_of(header(SIMULATED), model="it")
    for name, (low, high) in seen.model_dump(exclude={"model"}).items():
        first, last = getattr(stated, name)
        tolerance = 0.3 * (low + high) if name == "sigma" else 0.1
        assert first == pytest.approx(low, abs=0.001 if name == "sigma" else tolerance), name
        assert last == pytest.approx(high, abs=tolerance), name


def test_the_ranges_of_what_was_told_are_its_first_and_last_percentiles() -> None:
    columns = np.linspace(0, 1, 101)[:, None] * np.ones(len(CONDITION))
    seen = Conditions.seen(columns, model="it")
    assert (seen.sigma, seen.corr_y) == (pytest.approx((0.01, 0.99)), pytest.approx((0.01, 0.99)))


def test_a_recipe_that_draws_other_noise_moves_the_warning() -> None:
    narrow = {"data": {"kind": "simulated", "sigma": [0.02, 0.1]}}
    conditions = conditions_of(header(narrow), model="narrow")
    assert list(conditions.outside(unit(sigma=0.05))) == []
    (line,) = conditions.outside(unit(sigma=0.2))
    assert "stronger than the 0.0133 to 0.114 that narrow was trained for" in line


def test_what_a_header_states_counts_before_its_recipe() -> None:
    stated = SimpleNamespace(conditions={"sigma": (0.1, 0.2)}, recipe=SIMULATED)
    assert conditions_of(stated, model="it").sigma == (0.1, 0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [{}, {"data": {"kind": "pairs", "path": "pairs"}}])
def test_a_recipe_that_does_not_say_stands_in_with_the_shipped_ranges(recipe: dict[str, object]) -> None:
    assert conditions_of(header(recipe), model="it") == SHIPPED


def test_a_loaded_model_warns_of_noise_that_its_own_training_had_not(tmp_path: Path) -> None:
    network = Fast(FastConfig(width=8, blocks=1))
    path = tmp_path / "narrow.safetensors"
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    recipe = {"data": {"kind": "simulated", "sigma": [0.2, 0.3]}}
    model = {"kind": "fast", "width": 8, "blocks": 1}
    path.write_bytes(checkpoint_bytes(weights, Header(format=FORMAT, model=model, recipe=recipe)))
    image = np.random.default_rng(0).normal(np.linspace(1000, 9000, 64), 300, (64, 64)).astype(np.float32)
    noise = NoiseProfile(level=5000, sigma=300)
    enhancer = load_enhancer(path, device="cpu")
    _, (found,) = enhancer.enhance_pages(image, noise=noise)
    (warning,) = found.warnings
    assert f"noise is {300 * measure_grey(image).scale:.4f}" in warning
    assert f"{path} was trained for" in warning
    _, (found,) = Enhancer(Identity(), name="identity").enhance_pages(image, noise=noise)
    assert found.warnings == ()
