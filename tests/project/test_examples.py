"""Examples and documents: every example runs, and what the documents show is what there is."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as limits
import pytest
import typer
from pydantic import BaseModel

from longexposure import errors
from longexposure.cli import app as cli
from longexposure.cli.options import INTERRUPTED
from longexposure.io import FORMATS
from longexposure.models.registry import CLASSICAL, DEFAULT
from longexposure.train.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
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
    """A working folder in which examples and recipes lie as they do in the repository."""
    for folder in ("examples", "recipes"):
        (tmp_path / folder).symlink_to(ROOT / folder)
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
def test_example_is_shown_in_a_document(example: Path) -> None:
    marker = f"<!-- examples/{example.name} -->"
    assert [name_of(path) for path in DOCUMENTS if marker in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_code_said_to_be_a_file_is_that_file(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    marked = r"<!-- ((?:examples|recipes)/\S+) -->\n```(?:python|toml)\n(.*?)^```"
    shown = re.findall(marked, text, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == len(re.findall(r"<!-- (?:examples|recipes)/", text))
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
        call = re.match(r"(?:\S*/)?longexposure +(?=[a-z-])(.*)", line.strip().removeprefix("$ "))
        if call:
            yield call[1]


def parse(line: str) -> None:
    """Parse as the command line would, without running a command; `--help` and the like end it well."""
    words = shlex.split(line, comments=True)
    with contextlib.suppress(typer.Exit), APP.make_context("longexposure", list(words)) as context:
        own = {option for p in APP.params for option in p.opts}
        name, command, arguments = APP.resolve_command(context, [word for word in words if word not in own])
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
    known = {option for command in APP.commands.values() for p in command.params for option in p.opts}
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
    folders = "src|tests|recipes|examples|benchmarks|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_recipe_loads(recipe: Path) -> None:
    assert load_recipe(recipe).steps > 0


@pytest.mark.parametrize("command", sorted(APP.commands))
def test_reference_lists_the_options_of_the_command(command: str) -> None:
    told = {row[0]: row[1] for row in rows(section("docs/reference.md", f"longexposure {command}"))}
    actual = {}
    for p in APP.commands[command].params:
        if "--help" in p.opts:
            continue
        required = "required" if p.required else "-" if p.default in (None, False) else str(p.default)
        option = p.opts[0] if p.param_type_name == "option" else p.metavar or p.name.upper()
        actual[f"`{option}`"] = required
    assert told == actual


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


def test_how_to_tells_every_exit_code() -> None:
    told = {row[0]: row[1] for row in rows(section("docs/how-to.md", "Exit codes"))}
    kinds = errors.LongExposureError.__subclasses__()
    expected = {
        str(kind.exit_code): f"`{kind.__name__}`" for kind in kinds if kind.__module__ == errors.__name__
    }
    assert {code: name for code, name in told.items() if name != "-"} == expected
    assert set(told) == {"0", "1", "2", str(INTERRUPTED), *expected}


def recipe_tables() -> dict[str, type[BaseModel]]:
    """Every table of a recipe by the heading it has in the reference."""
    tables: dict[str, type[BaseModel]] = {"Top level": Recipe}
    for name, info in Recipe.model_fields.items():
        members = [bare(m) for m in get_args(bare(info.annotation))] or [bare(info.annotation)]
        members = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
        for member in members:
            kind = member.model_fields["kind"].default if len(members) > 1 else None
            tables[f'{name}, kind = "{kind}"' if kind else name] = member
    return tables


def bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def key_row(model: type[BaseModel], key: str) -> list[str]:
    """Key, what it takes and its default, as the reference writes them."""
    info = model.model_fields[key]
    default = "required" if info.is_required() else value_text(info.get_default(call_default_factory=True))
    if isinstance(info.get_default(call_default_factory=True), BaseModel) or default == "required":
        default = "required" if info.is_required() else "the table's own"
    return [f"`{key}`", ", ".join([type_text(info.annotation), *limit_texts(info.metadata)]), default]


def value_text(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {value_text(inner)}" for key, inner in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def type_text(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        parts = [part for data in metadata for part in getattr(data, "metadata", [data])]
        return " ".join([type_text(inner), *limit_texts(parts)])
    if get_origin(kind) is Literal:
        return " or ".join(map(value_text, get_args(kind)))
    if get_origin(kind) is tuple:
        return "[" + ", ".join("..." if part is ... else type_text(part) for part in get_args(kind)) + "]"
    if get_origin(kind) is dict:
        return f"table of {type_text(get_args(kind)[1])}s"
    if get_origin(kind) in (Union, UnionType):
        members = [part for part in get_args(kind) if part is not type(None)]
        return (
            "table"
            if isinstance(bare(members[0]), type) and issubclass(members[0], BaseModel)
            else type_text(members[0])
        )
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "table"
    return {"bool": "true or false", "int": "whole number", "float": "number", "str": "text"}[kind.__name__]


def limit_texts(metadata: list[Any]) -> list[str]:
    signs = ((limits.Ge, "ge", ">="), (limits.Gt, "gt", ">"), (limits.Le, "le", "<="), (limits.Lt, "lt", "<"))
    found = []
    for data in metadata:
        for kind, name, sign in signs:
            if isinstance(data, kind):
                found.append(f"{sign} {getattr(data, name)}")
        if isinstance(data, limits.MinLen):
            found.append("not empty")
        if isinstance(data, limits.MaxLen):
            found.append(f"at most {data.max_length} letters")
        if getattr(data, "pattern", None):
            found.append(f"`{data.pattern}`")
    return found


@pytest.mark.parametrize("heading", recipe_tables())
def test_reference_lists_every_key_of_a_recipe_with_range_and_default(heading: str) -> None:
    model = recipe_tables()[heading]
    told = [row[:3] for row in rows(section("docs/reference.md", heading))]
    assert told == [key_row(model, key) for key in model.model_fields]


def test_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "longexposure"
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    wanted = {
        p.relative_to(package).as_posix()
        for p in files
        if p.name != "__init__.py" and p.parts[-2] != "weights"
    }
    wanted |= {f"{p.parent.relative_to(package).as_posix()}/" for p in files if p.parent != package}
    assert sorted(name for name in wanted if f"`{name}`" not in text) == []


def test_architecture_names_no_module_that_is_gone() -> None:
    package = ROOT / "src" / "longexposure"
    for row in rows(section("ARCHITECTURE.md", "The package, file by file")):
        assert (package / row[0].strip("`")).exists(), row[0]


def test_architecture_quotes_the_layer_rule() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    (block,) = [code for _, code in fences(section("ARCHITECTURE.md", "The layer rule"))]
    assert block.splitlines() == [layer.replace("(", "").replace(")", "") for layer in layers]
