"""`longexposure assess`: what it prints, what it leaves, how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longexposure.cli.app import app

MACHINE = str(Path(__file__).parents[1] / "quick.toml")
TINY = ["--machine", MACHINE, "--model", "gaussian", "--defect", "particle", "--cases", "8", "--workers", "1"]


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["assess", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--out", "x", "--defect", "hole"], 5, "expected one of void"),
        (["--out", "x", "--model", "none-such"], 6, "found nothing of that name"),
        (["--out", "x", "--machine", "S9"], 5, "expected one of S1"),
        (["--out", "x", "--cases", "3"], 5, "at least 8 of each kind"),
        (["--readings", "marks.json", "--reading-kit", "none"], 3, "expected a JSON file"),
    ],
)
def test_what_cannot_be_done_is_a_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _, told = run(*arguments)
    assert found == code
    assert line in told
    assert len(told.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_one_of_both_outputs_is_needed() -> None:
    assert run()[0] == 2
    assert run("--out", "a", "--reading-kit", "b")[0] == 2
    assert run("--readings", "marks.json")[0] == 2


@pytest.mark.slow
def test_the_command_tells_the_worth_and_where_the_page_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    code, told, _ = run(*TINY, "--out", str(out))
    assert code == 0
    assert "quick, gaussian: at equal POD, one enhanced exposure of 5 s is worth" in told
    assert told.splitlines()[-1] == str(out / "index.html")
    document = json.loads((out / "assess.json").read_text(encoding="utf-8"))
    assert document["machines"][0]["defects"] == ["particle"]
