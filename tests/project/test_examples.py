"""Examples and documents: every example runs, and what the documents show is what there is."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from longexposure import errors
from longexposure.cli import app as cli
from longexposure.cli.options import INTERRUPTED
from longexposure.io import FORMATS
from longexposure.models.registry import CLASSICAL, DEFAULT
from longexposure.train.recipe import Recipe, load_recipe
from longexposure.train.recipes import shipped_recipes

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "demo.py")
RECIPES = sorted(shipped_recipes().values())
DOCUMENTS = [
    path
    for path in (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
    if path.name != "CHANGELOG.md"  # it tells of the past too
]
MOST_LINES = 40

APP: Any = typer.main.get_command(cli.app)
Fence = tuple[str, str]
"""Language and text of a code block."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(text: str) -> list[Fence]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(language, code) for language, code in found]


def section(document: str, heading: str) -> str:
    """The text below a heading, up to the next of the same or a higher level."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, flags=re.MULTILINE)
    assert found is not None, f"{document} has no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Cells of the tables in a text, without heads; `|` inside a cell is written `\\|`."""
    found = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[c.strip().replace(r"\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]
    heads = {index - 1 for index, row in enumerate(cells) if set("".join(row)) <= {"-", ":"}}
    return [row for index, row in enumerate(cells) if index not in heads and index - 1 not in heads]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which examples lie as they do in the repository."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_from_the_root_and_tells_what_it_did(
    example: Path, clone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capfd.readouterr().out.strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_shows(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_in_the_guide(example: Path) -> None:
    assert f"examples/{example.name}" in (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_code_said_to_be_a_file_is_that_file(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    marked = r"<!-- (examples/\S+) -->\n```(?:python|toml)\n(.*?)^```"
    shown = re.findall(marked, text, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == len(re.findall(r"<!-- examples/", text))
    for name, code in shown:
        assert code == (ROOT / name).read_text(encoding="utf-8"), name


def test_python_in_the_readme_runs(clone: Path) -> None:
    blocks = [code for language, code in fences((ROOT / "README.md").read_text()) if language == "python"]
    assert blocks
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def commands(text: str) -> Iterator[str]:
    """Command lines of the shell blocks, and those in the comments of a recipe."""
    blocks = [code for language, code in fences(text) if language in ("", "sh", "bash", "console")]
    comments = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    for line in [*"\n".join(blocks).replace("\\\n", " ").splitlines(), *comments]:
        call = re.match(
            r"(?:\S*/)?longexposure +(?=[a-z-])(.*)", line.strip().removeprefix("$ ").partition(" > ")[0]
        )
        if call:
            yield call[1]


def leaves(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its words, those of groups too."""
    for name, command in group.commands.items():
        yield from (
            leaves(command, f"{path}{name} ") if hasattr(command, "commands") else [(path + name, command)]
        )


def parse(line: str) -> None:
    """Parse as the command line would, without running a command; `--help` and the like end it well."""
    words = shlex.split(line, comments=True)
    with contextlib.suppress(typer.Exit), APP.make_context("longexposure", list(words)) as context:
        own = {option for p in APP.params for option in p.opts}
        name, command, arguments = APP.resolve_command(context, [word for word in words if word not in own])
        while hasattr(command, "commands"):
            context = command.make_context(name, list(arguments), parent=context)
            name, command, arguments = command.resolve_command(context, list(arguments))
        command.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("document", [*DOCUMENTS, *RECIPES], ids=name_of)
def test_command_lines_parse(document: Path) -> None:
    for line in commands(document.read_text(encoding="utf-8")):
        parse(line)


def test_the_check_of_command_lines_notices_a_wrong_one() -> None:
    parse("enhance shots/ --out enhanced")
    for wrong in ("enhance shots/ --out x --streng 1", "enhanse a --out b", "enhance a.tif", "train --out x"):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(wrong)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_options_named_in_the_text_exist(document: Path) -> None:
    known = {
        option
        for _, command in leaves(APP)
        for p in command.params
        for option in (*p.opts, *p.secondary_opts)
    }
    known |= {option for p in APP.params for option in p.opts} | {"--help"}
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`(longexposure [^`\n]*|--[a-z][^`\n]*)`", prose):
        assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", code)) <= known, code


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_and_tests_named_in_the_text_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    tests = {p: p.read_text() for p in (ROOT / "tests").rglob("test_*.py")}
    for name in re.findall(r"`(test_\w+)`", text):
        assert any(f"def {name}(" in code for code in tests.values()), name
    folders = "src|tests|examples|benchmarks|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_recipe_loads(recipe: Path) -> None:
    assert load_recipe(recipe).steps > 0


def test_reference_pages_are_what_the_code_says() -> None:
    script = ROOT / "scripts" / "reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reference_tells_options_keys_ranges_and_defaults() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for command, _ in leaves(APP):
        section("docs/reference.md", f"longexposure {command}")
    assert "| `--strength` | 1.0 |" in text
    assert "| `noise_exponent` | number, >= 0, <= 2 | 0 |" in text
    assert "| `betas` | list of 2 numbers, >= 0, < 1 | [0.9, 0.99] |" in text
    assert {row[0] for row in rows(section("docs/reference.md", "Top level"))} == {
        f"`{key}`" for key in Recipe.model_fields
    }


def signature_told(text: str) -> inspect.Signature:
    space: dict[str, Any] = {}
    exec(f"from __future__ import annotations\ndef f{text}: ...", space)
    return inspect.signature(space["f"])


def test_signatures_in_the_reference_are_the_real_ones() -> None:
    found = re.findall(
        r"^((?:\w+\.)+\w+)(\(.*?\)(?: -> [^\n]+)?)$",
        "\n".join(
            code for language, code in fences(section("docs/reference.md", "Python")) if language == "text"
        ),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert len(found) > 5
    for path, text in found:
        parts = path.split(".")
        depth = next(n for n in range(len(parts) - 1, 0, -1) if is_module(".".join(parts[:n])))
        thing: Any = import_module(".".join(parts[:depth]))
        for part in parts[depth:]:
            thing = getattr(thing, part)
        assert signature_told(text) == inspect.signature(thing), path


def is_module(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def test_reference_names_what_is_public() -> None:
    import longexposure

    text = section("docs/reference.md", "Python")
    assert [name for name in longexposure.__all__ if f"{name}" not in text] == []
    for kind in (longexposure.Radiograph, longexposure.NoiseProfile):
        assert [name for name in kind.__dataclass_fields__ if f"`{name}`" not in text] == []


def test_reference_lists_every_format_and_its_suffixes() -> None:
    told = {row[0]: row[1] for row in rows(section("docs/reference.md", "File formats"))}
    assert told == {form.name: ", ".join(f"`{s}`" for s in form.suffixes) for form in FORMATS.values()}


def test_reference_lists_every_classical_model() -> None:
    text = section("docs/reference.md", "Models")
    assert [name for name in (DEFAULT, *CLASSICAL) if f"`{name}`" not in text] == []


def test_guide_tells_every_exit_code() -> None:
    told = {row[0]: row[1] for row in rows(section("docs/guide.md", "Exit codes"))}
    kinds = errors.LongExposureError.__subclasses__()
    expected = {
        str(kind.exit_code): f"`{kind.__name__}`" for kind in kinds if kind.__module__ == errors.__name__
    }
    assert {code: name for code, name in told.items() if name != "-"} == expected
    assert set(told) == {"0", "1", "2", str(INTERRUPTED), *expected}


def test_architecture_names_every_room_and_none_that_is_gone() -> None:
    package = ROOT / "src" / "longexposure"
    there = {f"{p.name}/" for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"}
    there |= {p.stem for p in package.glob("*.py") if not p.stem.startswith("__")}
    named = [name for row in rows(section("ARCHITECTURE.md", "The rooms")) for name in row[0].split()]
    assert sorted(name.strip("`") for name in named) == sorted(there)
    assert len([name for name in there if name.endswith("/")]) <= 14, "rooms at the top level"
    assert len(list(package.glob("*.py"))) <= 10, "files at the top level"


def test_architecture_quotes_the_layer_rule() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    (block,) = [code for _, code in fences(section("ARCHITECTURE.md", "The rooms"))]
    assert block.splitlines() == [layer.replace("(", "").replace(")", "") for layer in layers]


def test_architecture_fits_two_screens() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 100
