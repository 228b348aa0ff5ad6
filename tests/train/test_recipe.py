"""Recipes: what is accepted, what is refused and what the refusal says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.errors import RecipeError
from longexposure.train.recipe import Recipe, first_difference, load_recipe, recipe_from, size_multiple

MINIMAL = """
name = "tiny"
steps = 100
[network]
kind = "fast"
[data]
kind = "machines"
[optimiser]
warmup_steps = 10
"""
RECIPES = Path(__file__).parents[2] / "src" / "longexposure" / "train" / "recipes"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_in_the_repository_is_valid_and_bears_its_files_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_there_are_recipes_to_check() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} >= {"paper", "own-pairs"}


@pytest.mark.parametrize("name", ["fast-first", "own-pairs", "paper"])
def test_a_recipe_that_ships_is_found_by_its_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("no recipe")
    assert load_recipe(name, ["seed=5"]) == load_recipe(RECIPES / f"{name}.toml", ["seed=5"])
    shown = CliRunner().invoke(app, ["recipes", "show", name])
    (tmp_path / "mine.toml").write_text(shown.stdout)
    assert load_recipe("mine.toml") == load_recipe(name)
    assert name in CliRunner().invoke(app, ["recipes", "list"]).stdout


@pytest.mark.parametrize("name", ["fastest", "fast.toml", "recipes/fast.toml", "", "."])
def test_a_recipe_of_no_such_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(RecipeError, match="own-pairs, paper"):
        load_recipe(name)


def test_the_papers_recipe_is_the_papers_full_setting() -> None:
    recipe = load_recipe(RECIPES / "paper.toml")
    assert recipe.network.model_dump() == {
        "kind": "framework",
        "z": 64,
        "width": 64,
        "scale": 4,
        "encoder": "learned",
    }
    assert recipe.loss.focal_frequency_weight > 0
    assert recipe.loss.wavelet_weight > 0


def test_what_is_left_out_gets_its_default(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert (recipe.optimiser.batch, recipe.precision, recipe.workers) == (16, "bf16", 1)


def test_a_resolved_recipe_reads_back_as_itself(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe_from(json.loads(recipe.model_dump_json()), where="again") == recipe


def test_a_recipe_cannot_be_changed(recipe_file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(recipe_file).steps = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optimiser.lr=2e-4", "optimiser.lr", 2e-4),
        ("steps = 50", "steps", 50),
        ("optimiser.betas=[0.8, 0.9]", "optimiser.betas", (0.8, 0.9)),
        ("summary=plain words, no quotes", "summary", "plain words, no quotes"),
        ('summary="3"', "summary", "3"),
        ("validation.count=3", "validation.count", 3),
        ("start_from=runs/a/checkpoint.safetensors", "start_from", "runs/a/checkpoint.safetensors"),
    ],
)
def test_set_overrides_one_value(recipe_file: Path, override: str, key: str, value: Any) -> None:
    found: Any = load_recipe(recipe_file, [override])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_the_last_override_of_a_key_wins(recipe_file: Path) -> None:
    assert load_recipe(recipe_file, ["steps=50", "steps=60"]).steps == 60


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optimiser.learning_rate=1", ["optimiser.learning_rate", "unknown key", "lr", "warmup_steps"]),
        (
            "network.widht=3",
            ["network.widht", "unknown key", "blocks, fine_blocks, fine_width, kind, scale, told, width"],
        ),
        ("colour=1", ["colour", "unknown key", "steps"]),
        ("optimiser.lr=-1", ["optimiser.lr", "-1", "greater than 0"]),
        ("optimiser.lr=nan", ["optimiser.lr"]),
        ("optimiser.betas=[0.9, 1.5]", ["optimiser.betas.1", "1.5", "less than 1"]),
        ("validation.count=0", ["validation.count", "0", "greater than or equal to 1"]),
        ("precision=f16", ["precision", "'f16'", "'bf16' or 'f32'"]),
        ("network.kind=vnet", ["network", "vnet", "'fast', 'unet', 'framework'"]),
        ("network.width=wide", ["network.width", "'wide'", "integer"]),
        ('steps="100"', ["steps", "'100'", "integer"]),
        ("workers=true", ["workers", "True", "integer"]),
        ("data.patch_px=2000", ["data.patch_px", "2000", "1024"]),
        ("name=Not a name", ["name", "'Not a name'"]),
    ],
)
def test_a_refusal_names_key_value_and_what_is_allowed(
    recipe_file: Path, override: str, parts: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [override])
    message = str(caught.value)
    assert "\n" not in message
    assert str(recipe_file) in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["optimiser.warmup_steps=100"], ["optimiser.warmup_steps", "100", "steps = 100"]),
        (["optimiser.minimum_lr=1e-2", "optimiser.lr=1e-3"], ["minimum_lr", "0.01", "lr = 0.001"]),
        (["data.patch_px=162"], ["data.patch_px", "162", "multiple of 4", "use 160 or 164"]),
        (["seed=7", "validation.seed=7"], ["validation.seed", "7", "seed = 7"]),
    ],
)
def test_settings_that_contradict_each_other_are_both_named(
    recipe_file: Path, overrides: list[str], parts: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    for part in parts:
        assert part in str(caught.value)


def test_a_refusal_also_names_the_other_keys_at_fault(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match="as well as") as caught:
        load_recipe(recipe_file, ["steps=0", "optimiser.batch=0", "validation.count=0"])
    assert all(key in str(caught.value) for key in ("steps", "optimiser.batch", "validation.count"))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("name = 'x'\nsteps = 10\n")
    with pytest.raises(RecipeError, match="a value for 'network'"):
        load_recipe(path)


@pytest.mark.parametrize("override", ["steps", "=3", "optimiser..lr=1", "steps.more=1"])
def test_an_override_that_is_no_key_and_value_is_refused(recipe_file: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        load_recipe(recipe_file, [override])


@pytest.mark.parametrize("content", [b"steps = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match="a recipe in TOML"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "none.toml")


def test_the_size_multiple_is_the_networks_own(recipe_file: Path) -> None:
    assert size_multiple(load_recipe(recipe_file).network) == 4
    scaled = load_recipe(recipe_file, ["network.kind=framework", "network.scale=2"])
    assert size_multiple(scaled.network) == 2


def test_the_first_difference_names_the_key_and_both_values(recipe_file: Path) -> None:
    one = load_recipe(recipe_file)
    other = load_recipe(recipe_file, ["optimiser.lr=1e-3", "workers=4"])
    assert first_difference(one, one) is None
    assert first_difference(one, other, ignore=["workers"]) == "optimiser.lr = 0.0005 and 0.001"
    assert first_difference(one, load_recipe(recipe_file, ["workers=4"]), ignore=["workers"]) is None


def test_a_recipe_made_in_python_is_checked_too(recipe_file: Path) -> None:
    values = load_recipe(recipe_file).model_dump()
    with pytest.raises(RecipeError, match="warmup"):
        Recipe.model_validate({**values, "steps": 5})
