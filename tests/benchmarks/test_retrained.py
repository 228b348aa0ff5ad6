"""The bench of networks trained beside the default: fair plans, and scores that mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import retrained
import torch
from retrained import (
    PLANS,
    SLOW,
    Plan,
    Shown,
    against,
    as_the_paper_scores,
    in_eight_ways,
    recipe_of,
    structures,
    train_one,
    trained,
)
from torch import nn
from torch.nn import functional
from variants import FORMS, MergedConvolution, taken

from longexposure.models.fast import FINE, FastConfig
from longexposure.models.networks import build_network
from longexposure.train.recipe import load_recipe

STEPS = 400


@pytest.mark.parametrize("name", PLANS)
def test_every_network_sees_the_default_s_exposures(name: str) -> None:
    recipe, fast = recipe_of(name, steps=STEPS), load_recipe(retrained.RECIPES / "fast.toml")
    assert recipe.data.model_dump(exclude={"group"}) == fast.data.model_dump(exclude={"group"})
    assert recipe.steps == recipe.validation.every_steps == STEPS
    assert recipe.start_from is None


def test_the_first_plan_is_the_default_s_own_recipe() -> None:
    recipe, fast = recipe_of("fast", steps=22000), load_recipe(retrained.RECIPES / "fast-first.toml")
    assert recipe.network == fast.network
    assert recipe.loss == fast.loss
    assert recipe.optimiser == fast.optimiser


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if plan.what == "peer"])
def test_peers_have_their_own_network_loss_and_rates(name: str) -> None:
    plan = PLANS[name]
    recipe, own = recipe_of(name, steps=STEPS), load_recipe(retrained.RECIPES / f"{plan.recipe}.toml")
    assert recipe.loss == own.loss
    assert recipe.optimiser.model_copy(update={"batch": own.optimiser.batch}) == own.optimiser
    left_open = {"patch_px"}
    assert recipe.network.model_dump(exclude=left_open) == own.network.model_dump(exclude=left_open)
    assert recipe.optimiser.batch == SLOW["optimiser"]["batch"]


@pytest.mark.parametrize("name", [name for name in PLANS if name.startswith("fast, ")])
def test_variants_change_one_table_of_the_default_alone(name: str) -> None:
    variant, fast = recipe_of(name, steps=STEPS), recipe_of("fast", steps=STEPS)
    different = {key for key, value in variant.model_dump().items() if value != fast.model_dump()[key]}
    assert different == set(PLANS[name].changes)


def test_equal_arithmetic_is_equal() -> None:
    def products_per_px(name: str) -> float:
        config = recipe_of(name, steps=STEPS).network
        assert isinstance(config, FastConfig)
        with taken(PLANS[name].form):
            network = build_network(config)
        convolutions = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
        sides = {n: FINE if n.startswith("fine") else config.scale for n in convolutions}
        return sum(m.weight.numel() / sides[n] ** 2 for n, m in convolutions.items())

    own = products_per_px("fast")
    for name, plan in PLANS.items():
        if plan.recipe == "fast-first":
            assert products_per_px(name) == pytest.approx(own, rel=0.08), name


@pytest.mark.parametrize("form", [None, *FORMS])
def test_a_form_holds_only_while_it_is_taken(form: str | None) -> None:
    with taken(form):
        inside = {type(module).__name__ for module in build_network(FastConfig()).modules()}
    outside = {type(module).__name__ for module in build_network(FastConfig()).modules()}
    assert outside == {"Fast", "Conv2d", "Sequential", "ResidualBlock"}
    assert (inside == outside) == (form is None)


@pytest.mark.parametrize("form", ["modulated", "merged"])
def test_forms_that_only_add_begin_where_the_default_does(form: str) -> None:
    torch.manual_seed(3)
    own = build_network(FastConfig(width=8, blocks=2, fine_width=8))
    for tail in (own.tail, own.fine_tail):
        nn.init.normal_(tail.weight, std=0.1)
    with taken(form):
        other = build_network(FastConfig(width=8, blocks=2, fine_width=8))
    missing = other.load_state_dict(own.state_dict(), strict=False)
    assert missing.missing_keys
    assert not missing.unexpected_keys
    image, told = torch.rand(2, 1, 64, 48), torch.rand(2, 5)
    torch.testing.assert_close(other(image, told), own(image, told), rtol=0, atol=1e-6)


def test_a_modulated_network_scales_each_image_by_its_own_noise() -> None:
    with taken("modulated"):
        network = build_network(FastConfig(width=8, blocks=2, fine_width=0, fine_blocks=0))
    for part in (network.tail.weight, network.scales.weight):
        nn.init.normal_(part, std=0.3)
    image, told = torch.rand(2, 1, 64, 48), torch.rand(2, 5)
    both = network(image, told)
    for k in range(2):
        alone = network(image[k : k + 1], told[k : k + 1])
        torch.testing.assert_close(both[k : k + 1], alone, rtol=0, atol=1e-5)
    halved = told * torch.tensor([1.0, 1, 1, 1, 0.5])
    assert (network(image, halved) - both).abs().max() > 1e-6


def test_merged_convolutions_are_three_added_up() -> None:
    torch.manual_seed(5)
    merged = MergedConvolution(6)
    nn.init.normal_(merged.point)
    nn.init.normal_(merged.factor)
    features = torch.randn(2, 6, 9, 7)
    apart = functional.conv2d(features, merged.weight, merged.bias, padding=1)
    apart = apart + functional.conv2d(features, merged.point[:, :, None, None])
    apart = apart + features * merged.factor[:, None, None]
    torch.testing.assert_close(merged(features), apart, rtol=1e-5, atol=1e-5)


def test_scores_are_those_of_the_images_they_name() -> None:
    random = np.random.default_rng(3)
    clean = np.full((64, 64), 20000.0)
    lq, hq = (np.rint(clean + sigma * random.standard_normal(clean.shape)) for sigma in (2000.0, 500.0))
    pairs = [Shown(lq, hq, clean, 65535.0)]
    found = as_the_paper_scores(pairs, lambda pair: pair.lq)
    # the noise of both exposures is between them, that of one alone between it and what it expects
    assert found["against clean"]["psnr"] == pytest.approx(20 * np.log10(65535 / 2000), abs=0.2)
    assert found["against HQ"]["psnr"] == pytest.approx(10 * np.log10(65535**2 / (2000**2 + 500**2)), abs=0.2)
    ceiling = against(pairs, lambda pair: pair.clean, lambda pair: pair.hq)
    assert ceiling["psnr"] == pytest.approx(20 * np.log10(65535 / 500), abs=0.2)


def test_an_image_left_as_it_is_keeps_all_contrast_and_a_flat_one_none() -> None:
    kept = structures(lambda image: image, draws=2)
    assert len(kept) == 6
    assert all(value == pytest.approx(1.0) for value in kept.values())
    lost = structures(lambda image: np.full_like(image, image.mean()), draws=2)
    assert all(abs(value) < 0.05 for value in lost.values())


def test_eight_ways_turn_the_image_and_turn_it_back() -> None:
    random = np.random.default_rng(7)
    lq = random.integers(0, 65535, (12, 20)).astype(np.uint16)
    seen: list[np.ndarray] = []

    def enhance(image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return image

    assert np.array_equal(in_eight_ways(enhance, lq), lq)
    assert len({image.tobytes() + bytes(image.shape) for image in seen}) == 8
    # what looks along one direction alone looks along all four
    shifted = in_eight_ways(lambda image: np.roll(image, 1, axis=0), lq)
    crosswise = sum(np.roll(lq.astype(float), by, axis=axis) for by in (1, -1) for axis in (0, 1)) / 4
    assert np.allclose(shifted, crosswise)


@pytest.mark.slow
def test_a_training_takes_its_time_and_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Plan("fast-first", "peer", {"network": {"width": 8, "blocks": 1}, "data": {"pool": 4}})
    monkeypatch.setattr(retrained, "PLANS", {"tiny": tiny})
    train_one("tiny", minutes=0.2, work=tmp_path)
    plan = json.loads((tmp_path / "tiny.json").read_text())
    assert plan["steps"] == max(10, round(12 / plan["seconds per step"]))  # ten, however slow the host
    [(name, facts, enhancer)] = trained(tmp_path)
    assert name == "tiny"
    assert facts["megapixels"] == pytest.approx(plan["steps"] * 16 * 144**2 / 1e6)
    assert enhancer.describe()["weights_sha256"] == facts["weights_sha256"]
    before = (tmp_path / "tiny" / "last.safetensors").read_bytes()
    train_one("tiny", minutes=0.2, work=tmp_path)
    assert (tmp_path / "tiny" / "last.safetensors").read_bytes() == before
