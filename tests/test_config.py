"""Documents: reading, overriding, and how a refusal tells where, what and which range."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longexposure.config import override, parsed, read_document
from longexposure.errors import RecipeError


class Round(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["round"] = "round"
    radius: float = Field(default=1.0, gt=0, le=9)


class Square(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["square"] = "square"
    side: int = Field(default=1, ge=1)


class Sheet(BaseModel):
    """A document with all that documents have: tables, lists, unions, refusals of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    part: Annotated[Round | Square, Field(discriminator="kind")] = Round()
    holes: tuple[Round, ...] = ()
    angles: tuple[Annotated[float, Field(ge=0, lt=360)], ...] = ()
    limit: float = 1.0
    code: str = Field(default="a", pattern="^[a-z]+$", max_length=3, description="one to three small letters")
    mark: str = Field(default="a", pattern="^[a-z]+$")

    @field_validator("name")
    @classmethod
    def _not_too_short(cls, name: str) -> str:
        if len(name) < 3:
            raise ValueError("three letters or more")
        return name

    @model_validator(mode="after")
    def _within_the_limit(self) -> Sheet:
        if self.limit < 0:
            raise RecipeError(where="limit", expected="0 or more", found=str(self.limit), advice="raise it")
        return self


@pytest.fixture
def sheet_file(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.toml"
    path.write_text('name = "plate"\n[part]\nkind = "round"\nradius = 2.5\n')
    return path


def _refusal(values: object) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parsed(Sheet, values, where="sheet.toml")  # type: ignore[arg-type]
    return caught.value


def test_a_document_is_its_tables_with_the_overrides_in_place(sheet_file: Path) -> None:
    values = read_document(sheet_file, ["part.radius=4", "limit = 2.5", "name=disc"], advice="-")
    assert values == {"name": "disc", "part": {"kind": "round", "radius": 4}, "limit": 2.5}
    assert parsed(Sheet, values, where="sheet").part == Round(radius=4)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("limit=1e-3", 1e-3),
        ("limit=[1, 2]", [1, 2]),
        ('limit={ one_of = ["a", 2] }', {"one_of": ["a", 2]}),
        ("limit=true", True),
        ("limit=two words", "two words"),
        ("limit='quoted'", "quoted"),
        ("limit=a=b", "a=b"),
    ],
)
def test_an_override_is_read_as_toml_or_taken_as_text(line: str, value: object) -> None:
    values: dict[str, object] = {}
    override(values, line)
    assert values == {"limit": value}


def test_an_override_makes_the_tables_it_needs_and_leaves_the_others() -> None:
    values = {"part": {"kind": "round"}}
    override(values, "part.radius=3")
    override(values, "new.table.key=1")
    assert values == {"part": {"kind": "round", "radius": 3}, "new": {"table": {"key": 1}}}


@pytest.mark.parametrize("line", ["limit", "=3", "part..radius=3", ".limit=3", "name.first=3"])
def test_an_override_that_does_not_fit_is_refused(line: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        override({"name": "plate"}, line)


def test_what_cannot_be_read_is_refused_with_the_advice_given(tmp_path: Path) -> None:
    (tmp_path / "torn.toml").write_text("name = \n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("missing.toml", "torn.toml", "bytes.toml", "."):
        with pytest.raises(RecipeError, match="start from S1") as caught:
            read_document(tmp_path / name, advice="start from S1")
        assert str(tmp_path / name) in caught.value.where


def test_a_binary_file_is_told_to_be_no_text(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b"II*\x00\xff\xfe")
    with pytest.raises(RecipeError) as caught:
        read_document(tmp_path / "image.toml", advice="start from S1")
    assert caught.value.found == "not text in UTF-8"


ROUND = {"name": "plate", "part": {"kind": "round"}}
SQUARE = {"name": "plate", "part": {"kind": "square"}}
ABOVE_0 = "greater than 0 and less than or equal to 9"


@pytest.mark.parametrize(
    ("values", "where", "expected", "found"),
    [
        (ROUND | {"part": {"kind": "round", "radius": -1}}, "part.radius", ABOVE_0, "-1"),
        (SQUARE | {"part": {"kind": "square", "side": 0}}, "part.side", "greater than or equal to 1", "0"),
        (ROUND | {"holes": [{}, {"radius": 10}]}, "holes.1.radius", ABOVE_0, "10"),
        (ROUND | {"angles": [0, 360]}, "angles.1", "greater than or equal to 0 and less than 360", "360"),
        ({"name": "pl"}, "name", "three letters or more", "'pl'"),
        (ROUND | {"part": {"kind": "round", "radius": "2"}}, "part.radius", "a valid number", "'2'"),
        (SQUARE | {"part": {"kind": "square", "side": 1.5}}, "part.side", "a valid integer", "1.5"),
        (
            ROUND | {"part": {"kind": "round", "side": 1}},
            "part.side",
            "one of kind, radius",
            "unknown key 'part.side'",
        ),
        (ROUND | {"holes": [3]}, "holes.0", "a table", "3"),
        (ROUND | {"code": "../x"}, "code", "one to three small letters", "'../x'"),
        (ROUND | {"code": "abcd"}, "code", "one to three small letters", "'abcd'"),
        (ROUND | {"mark": "1"}, "mark", "String should match pattern '^[a-z]+$'", "'1'"),
        ({}, "name", "a value for 'name'", "none"),
        (ROUND | {"limit": -2.0}, "limit", "0 or more", "-2.0"),
    ],
)
def test_a_refusal_names_the_key_the_value_and_what_is_allowed(
    values: object, where: str, expected: str, found: str
) -> None:
    error = _refusal(values)
    assert (error.where, error.expected, error.found) == (f"sheet.toml: {where}", expected, found)


def test_a_refusal_names_the_other_wrong_keys_too() -> None:
    error = _refusal({"name": "plate", "part": {"kind": "round", "radius": -1}, "more": 2})
    assert error.where == "sheet.toml: part.radius"
    assert "as well as more" in error.advice


def test_a_long_value_is_cut_in_the_refusal() -> None:
    assert len(_refusal({"name": ["long"] * 99}).found) == 80
