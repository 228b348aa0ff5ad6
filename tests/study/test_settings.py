"""Recipes and budgets of the studies against the recipes of the repository and the paper."""

from __future__ import annotations

from typing import Any

import pytest

from longexposure.study import compare, settings
from longexposure.study.budgets import BUDGETS
from longexposure.train.recipe import load_recipe, recipe_from

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("framework", "paper"),
        ("edcnn", "edcnn"),
        ("nafnet", "nafnet"),
        ("dncnn", "dncnn"),
        ("fast", "fast-first"),
    ],
)
def test_full_trainings_are_the_recipes_of_the_repository(kind: Any, file: str) -> None:
    recipe = load_recipe(file)
    values = settings.document(kind, BUDGETS["full"], seed=1, precision="bf16")
    ours = recipe_from({**values, "data": {**values["data"], "path": "x"}}, where="test")
    assert ours.network == recipe.network
    assert ours.loss == recipe.loss.model_copy(update={"structure_weight": 0.0})  # wants noise-free targets
    assert ours.optimiser == recipe.optimiser
    if kind in ("framework", "edcnn", "nafnet"):
        assert ours.steps == recipe.steps


def test_the_rows_of_table_one_differ_as_the_paper_says() -> None:
    documents = {
        row: settings.row_document(row, BUDGETS["full"], seed=1, precision="bf16") for row in settings.ROWS
    }
    told = {
        row: (
            values["network"]["encoder"],
            values["loss"]["focal_frequency_weight"] > 0,
            values["loss"]["wavelet_weight"] > 0,
        )
        for row, values in documents.items()
    }
    assert told == {
        "bicubic": ("bicubic", False, False),
        "bicubic + FFL": ("bicubic", True, False),
        "DM + FFL": ("learned", True, False),
        "DM + FFL + WHFL": ("learned", True, True),
    }


@pytest.mark.parametrize("name", BUDGETS)
def test_every_budget_makes_valid_recipes_and_says_what_it_reduces(name: str) -> None:
    budget = BUDGETS[name]
    for row in settings.ROWS:
        for scale in (1, 2, 4):
            values = settings.row_document(row, budget, seed=1, scale=scale, precision="f32")
            recipe_from({**values, "data": {**values["data"], "path": "x"}}, where=name)
    for kind in compare.PEERS.values():
        values = settings.document(kind, budget, seed=1, precision="f32")
        recipe_from({**values, "data": {**values["data"], "path": "x"}}, where=name)
    assert bool(budget.reductions()) == (name != "full")
    assert budget.seeds >= 3
