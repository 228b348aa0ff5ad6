"""The bench of networks trained beside the default: fair plans, and scores that mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import retrained
from retrained import PLANS, SLOW, Plan, Shown, against, as_the_paper_scores, recipe_of, train_one, trained
from torch import nn

from longexposure.models.fast import FINE, FastConfig
from longexposure.models.networks import build_network
from longexposure.recipes import load_recipe

STEPS = 400


@pytest.mark.parametrize("name", PLANS)
def test_every_network_sees_the_default_s_exposures(name: str) -> None:
    recipe, fast = recipe_of(name, steps=STEPS), load_recipe(retrained.RECIPES / "fast.toml")
    assert recipe.data.model_dump(exclude={"group"}) == fast.data.model_dump(exclude={"group"})
    assert recipe.steps == recipe.validation.every_steps == STEPS
    assert recipe.start_from is None


def test_the_first_plan_is_the_default_s_own_recipe() -> None:
    recipe, fast = recipe_of("fast", steps=22000), load_recipe(retrained.RECIPES / "fast.toml")
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
        convolutions = {n: m for n, m in build_network(config).named_modules() if isinstance(m, nn.Conv2d)}
        sides = {n: FINE if n.startswith("fine") else config.scale for n in convolutions}
        return sum(m.weight.numel() / sides[n] ** 2 for n, m in convolutions.items())

    own = products_per_px("fast")
    for name, plan in PLANS.items():
        if plan.recipe == "fast":
            assert products_per_px(name) == pytest.approx(own, rel=0.08), name


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


@pytest.mark.slow
def test_a_training_takes_its_time_and_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Plan("fast", "peer", {"network": {"width": 8, "blocks": 1}, "data": {"pool": 4}})
    monkeypatch.setattr(retrained, "PLANS", {"tiny": tiny})
    train_one("tiny", minutes=0.2, work=tmp_path)
    plan = json.loads((tmp_path / "tiny.json").read_text())
    assert plan["steps"] == round(12 / plan["seconds per step"])
    [(name, facts, enhancer)] = trained(tmp_path)
    assert name == "tiny"
    assert facts["megapixels"] == pytest.approx(plan["steps"] * 16 * 144**2 / 1e6)
    assert enhancer.describe()["weights_sha256"] == facts["weights_sha256"]
    before = (tmp_path / "tiny" / "last.safetensors").read_bytes()
    train_one("tiny", minutes=0.2, work=tmp_path)
    assert (tmp_path / "tiny" / "last.safetensors").read_bytes() == before
