"""The studies end to end in miniature: what is written, what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import TINY, document, refuse
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.errors import InputError, OutputError, RecipeError, ResourceError
from longexposure.study import suite as studying
from longexposure.study.budgets import BUDGETS
from longexposure.study.result import markdown
from longexposure.study.suite import study

pytestmark = pytest.mark.usefixtures("one_thread")


def test_all_writes_every_study_and_one_page(everything: Path) -> None:
    for name in studying.STUDIES:
        assert document(everything, name)["study"] == name
        assert (everything / f"{name}.md").read_text(encoding="utf-8").startswith("# ")
    page = (everything / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in studying.STUDIES)


def test_the_page_asks_nothing_of_any_network_and_holds_every_figure(everything: Path) -> None:
    page = (everything / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    figures = sum(len(document(everything, name)["figures"]) for name in studying.STUDIES)
    assert sum(source.startswith("data:image/") for source in sources) == figures > 20


def test_every_document_tells_machine_budget_versions_and_what_was_not_measured(everything: Path) -> None:
    for name in studying.STUDIES:
        found = document(everything, name)
        assert found["host"]["processor"]
        assert found["host"]["versions"]["torch"] == torch.__version__
        assert found["budget"]["name"] == "tiny"
        assert any("steps 2 instead of 200000" in line for line in found["reduced"])
        assert found["limits"]
        text = (everything / f"{name}.md").read_text(encoding="utf-8")
        assert "Not measured, or only in part" in text
        assert markdown(found) == text


def test_noise2noise_needs_no_pairs_and_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(studying.STUDIES, "noise2noise", refuse)
    with pytest.raises(AssertionError, match="computed again"):
        study("noise2noise", out=tmp_path / "alone", budget=TINY)
    with pytest.raises(InputError, match=r"longexposure simulate --machine S1 --count small --split train"):
        study("table1", out=tmp_path / "out", budget=TINY)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_written_to(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table1.json").write_text("mine")
    with pytest.raises(OutputError, match="choose another --out"):
        study("table1", out=tmp_path, data=data, budget=TINY)
    assert (tmp_path / "table1.json").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments", [{"name": "nothing"}, {"name": "table1", "budget": "huge"}, {"name": "table1", "seeds": 0}]
)
def test_unknown_studies_budgets_and_seeds_are_refused(
    arguments: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    with pytest.raises((InputError, RecipeError), match="expected"):
        study(**{"out": tmp_path / "out", "data": data, **arguments})


def test_the_command_line_runs_a_study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", TINY)
    out = tmp_path / "out"
    arguments = ["study", "downsampling", "--data", data, "--out", out, "--seeds", 1, "--device", "cpu"]
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    assert "DS 4x" in result.stdout
    assert result.stdout.splitlines()[-1] == str(out / "downsampling.md")
    assert (out / "downsampling.json").exists()


def test_without_matplotlib_nothing_is_begun(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ResourceError, match=r"longexposure\[plots\]"):
        study("table1", out=tmp_path / "out", data=data, budget=TINY)
    assert not (tmp_path / "out").exists()
