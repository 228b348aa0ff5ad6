"""The noise that a network was trained for: what is outside is a warning, whatever told it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.statistics import examine
from longexposure.errors import CheckpointError
from longexposure.grey import measure_grey
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes
from longexposure.models.classical import Identity
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.noise_range import Conditions, conditions_of
from longexposure.noise import NOISE_CONDITION, NoiseProfile

RANGES = {
    "sigma": (0.001, 0.4),
    "signal_share": (-0.5, 1.0),
    "corr_x": (-0.25, 0.87),
    "corr_y": (-0.25, 0.87),
}
KNOWN = Conditions(model="the network", **RANGES)


def unit(**changes: float) -> NoiseProfile:
    """A profile in the unit domain that the network knows, but for the changes."""
    return NoiseProfile(**{"level": 0.5, "sigma": 0.05, **changes})


def header(**changes: Any) -> Header:
    return Header(**{"format": FORMAT, "model": {"kind": "fast"}, **changes})


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
    (line,) = KNOWN.outside(noise)
    assert word in line
    assert line.endswith("that the network was trained for")


@pytest.mark.parametrize(
    "noise", [unit(), unit(slope=2 * 0.05**2), unit(corr_x=0.85, corr_y=0.85), unit(sigma=0.002)]
)
def test_noise_inside_the_training_is_not_told(noise: NoiseProfile) -> None:
    assert list(KNOWN.outside(noise)) == []


def test_what_the_condition_cuts_is_told_and_not_silent() -> None:
    """A fraction above 1 is handed to the network as 1."""
    noise = unit(slope=3 * 0.05**2)
    assert noise.noise_condition()[2] == 1
    assert noise.signal_share == pytest.approx(1.5)
    assert len(list(KNOWN.outside(noise))) == 1


def test_the_ranges_of_what_was_told_are_its_first_and_last_percentiles() -> None:
    columns = np.linspace(0, 1, 101)[:, None] * np.ones(len(NOISE_CONDITION))
    seen = Conditions.seen(columns, model="it")
    for limits in seen.ranges().values():
        assert limits == pytest.approx((0.01, 0.99))


def test_every_number_that_is_told_has_a_range_under_its_own_name() -> None:
    columns = np.arange(5.0) + np.array([[0.0], [0.0]])
    ranges = Conditions.seen(columns).ranges()
    assert ranges == {name: (k, k) for k, name in enumerate(NOISE_CONDITION) if name != "log_sigma"}


def test_a_training_that_told_other_noise_moves_the_warning() -> None:
    narrow = conditions_of(header(conditions={**RANGES, "sigma": (0.0133, 0.114)}), model="narrow")
    assert narrow is not None
    assert list(narrow.outside(unit(sigma=0.05))) == []
    (line,) = narrow.outside(unit(sigma=0.2))
    assert "stronger than the 0.0133 to 0.114 that narrow was trained for" in line


def test_what_a_header_states_comes_back_from_its_file(tmp_path: Path) -> None:
    told = np.random.default_rng(0).normal(0.3, 0.1, (50, len(NOISE_CONDITION))).astype(np.float32)
    seen = Conditions.seen(told, model="it")
    path = network_of(tmp_path, seen.ranges())
    enhancer = load_enhancer(path, device="cpu", engine="torch")
    assert enhancer.trained == seen.model_copy(update={"model": str(path)})


@pytest.mark.parametrize("recipe", [{}, {"data": {"kind": "machines"}}, {"data": {"kind": "pairs"}}])
def test_where_a_header_states_nothing_nothing_is_known_whatever_its_recipe(
    recipe: dict[str, object],
) -> None:
    assert conditions_of(header(recipe=recipe), model="it") is None


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"sigma": (0.1, 0.2)}, "signal_share: Field required"),
        ({**RANGES, "colour": (0.0, 1.0)}, "colour: Extra inputs"),
        ({**RANGES, "corr_x": (0.9, -0.2)}, "corr_x: .*lowest number first"),
        ({**RANGES, "corr_y": (float("nan"), 0.5)}, r"corr_y.*finite number"),
    ],
)
def test_ranges_that_are_none_are_refused(conditions: dict[str, tuple[float, float]], told: str) -> None:
    with pytest.raises(CheckpointError, match=told) as caught:
        conditions_of(header(conditions=conditions), model="it")
    assert str(caught.value).startswith(
        "it, conditions: expected the lowest and the highest of each of sigma"
    )


def network_of(folder: Path, ranges: dict[str, tuple[float, float]]) -> Path:
    """A network that states these ranges."""
    network = Fast(FastConfig(width=8, blocks=1))
    path = folder / "told.safetensors"
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path.write_bytes(
        checkpoint_bytes(weights, header(model={"kind": "fast", "width": 8, "blocks": 1}, conditions=ranges))
    )
    return path


def test_a_loaded_model_warns_of_noise_that_its_own_training_had_not(tmp_path: Path) -> None:
    path = network_of(tmp_path, {**RANGES, "sigma": (0.133, 0.343)})
    image = np.random.default_rng(0).normal(np.linspace(1000, 9000, 64), 300, (64, 64)).astype(np.float32)
    noise = NoiseProfile(level=5000, sigma=300)
    enhancer = load_enhancer(path, device="cpu")
    _, (found,) = enhancer.enhance_pages(image, noise=noise)
    (warning,) = found.warnings(enhancer.trained)
    assert f"noise is {300 * measure_grey(image).scale:.4f}" in warning
    assert f"{path} was trained for" in warning


def test_a_model_that_states_nothing_and_an_image_alone_warn_of_no_noise(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(np.linspace(1000, 9000, 64), 300, (64, 64)).astype(np.float32)
    noise = NoiseProfile(level=5000, sigma=1e5, slope=-1e6, corr_x=0.99)
    assert list(KNOWN.outside(noise.mapped(scale=1e-4, offset=0.0)))
    silent = load_enhancer(network_of(tmp_path, {}), device="cpu", engine="torch")
    for enhancer in (silent, Enhancer(Identity(), name="identity")):
        assert enhancer.trained is None
        _, (found,) = enhancer.enhance_pages(image, noise=noise)
        assert found.warnings(enhancer.trained) == ()
    assert examine(image, noise).warnings(None) == ()
    assert examine(image, noise).warnings(KNOWN) != ()
