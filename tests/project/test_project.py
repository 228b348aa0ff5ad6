"""The project's own papers and tools: requirements, set-up, licence, links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = ("setup", "demo", "test", "test-slow", "test-wheel", "check", "bench", "quality", "docs", "clean")
PLATFORM_PARTS = ("nvidia-", "cuda-", "triton")
"""What only the CUDA builds of torch bring along; torch itself pins them."""

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in [*lines, *PROJECT["build-system"]["requires"]]]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins), pins
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins)}


def installed_closure() -> set[str]:
    """Every distribution that our requirements bring along here, by following what each one asks for."""
    found: set[str] = set()
    waiting = [(requirement.name, requirement.extras) for requirement in requirements()]
    while waiting:
        name, extras = waiting.pop()
        if canonicalize_name(name) in found:
            continue
        found.add(canonicalize_name(name))
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in [*extras, ""]):
                waiting.append((requirement.name, requirement.extras))
    return found


def test_constraints_pin_everything_an_install_brings() -> None:
    ours = {name for name in installed_closure() if not name.startswith(PLATFORM_PARTS)}
    assert ours - set(constraints()) == set()


def test_constraints_agree_with_the_requirements() -> None:
    pins = constraints()
    wrong = [r for r in requirements() if not r.specifier.contains(pins[canonicalize_name(r.name)])]
    assert wrong == []


def test_torchvision_is_neither_required_nor_pinned() -> None:
    named = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert "torchvision" not in named | set(constraints()) | installed_closure()


def test_requirements_come_from_an_index_not_from_addresses() -> None:
    assert [requirement for requirement in requirements() if requirement.url] == []


def test_every_file_of_the_package_is_shipped() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["longexposure"]
    package = ROOT / "src" / "longexposure"
    files = [path.relative_to(package) for path in package.rglob("*") if path.is_file()]
    data = [path for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]
    assert [str(path) for path in data if not any(path.match(pattern) for pattern in patterns)] == []


@pytest.mark.slow
def test_wheel_holds_modules_weights_pages_and_licence(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    copy = shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(tmp_path)], check=True)
    (wheel,) = tmp_path.glob("longexposure-*.whl")
    with ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("longexposure/")}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    package = copy / "longexposure"
    here = {f"longexposure/{path.relative_to(package).as_posix()}" for path in package.rglob("*.*")}
    assert shipped == {name for name in here if "__pycache__" not in name and (copy / name).is_file()}
    assert licences


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def bare_clone(tmp_path: Path) -> Path:
    """A folder with what `make setup` reads, and stand-ins for Python on a path of their own."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def make_setup(clone: Path) -> subprocess.CompletedProcess[str]:
    for tool in ("make", "sh", "touch", "mkdir", "cp", "chmod"):
        found = shutil.which(tool)
        assert found is not None
        if not (clone / "bin" / tool).exists():
            (clone / "bin" / tool).symlink_to(found)
    environment = {"PATH": str(clone / "bin"), "HOME": str(clone)}
    command = [str(clone / "bin" / "make"), "--no-print-directory", "setup"]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


@needs_make
def test_setup_with_an_old_python_says_so_in_one_line(bare_clone: Path) -> None:
    stand_in(bare_clone / "bin" / "python3", "exit 1")
    done = make_setup(bare_clone)
    said = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert done.returncode != 0
    assert len(said) == 1
    assert "Python 3.11 or newer" in said[0]
    assert not (bare_clone / ".venv").exists()


@needs_make
def test_setup_finds_a_newer_python_and_installs_once_under_the_constraints(bare_clone: Path) -> None:
    log = bare_clone / "calls"
    installed = f'echo "$PIP_CONSTRAINT: $*" >> "{log}"'
    stand_in(bare_clone / "bin" / "stand-in", installed)
    makes_venv = f'mkdir -p .venv/bin; cp "{bare_clone}/bin/stand-in" .venv/bin/python'
    stand_in(bare_clone / "bin" / "python3", "exit 1")
    stand_in(bare_clone / "bin" / "python3.12", f'if [ "$1" = -m ]; then {makes_venv}; fi')
    for _ in range(2):
        done = make_setup(bare_clone)
        assert done.returncode == 0, done.stderr
    calls = [call.split(": ") for call in log.read_text(encoding="utf-8").splitlines()]
    for constraint, arguments in calls:
        assert Path(constraint).samefile(bare_clone / "constraints.txt")
        assert arguments.split()[:3] == ["-m", "pip", "install"]
    assert [arguments.split()[-1] for _, arguments in calls] == [".", ".[openvino,train,dev]"]


def documents() -> Iterator[Path]:
    """Every Markdown file of the project, not those of installed packages or of runs."""
    for folder, names, files in os.walk(ROOT):
        hidden = {name for name in names if name.startswith(".") or name in ("runs", "demo", "build", "dist")}
        names[:] = [name for name in names if name not in hidden]
        yield from (Path(folder) / name for name in files if name.endswith(".md"))


def prose(document: Path) -> str:
    """Its text without code, in which brackets are no links."""
    text = document.read_text(encoding="utf-8")
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(document: Path) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", sorted(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_markdown_file_resolve(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)[^)]*\)|<img[^>]+src=\"([^\"]+)\"", prose(document)):
        link = "".join(target)
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        there = document.parent / name if name else document
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


def test_licence_is_apache_2_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_version_is_the_same_in_every_paper() -> None:
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_hooks_before_a_commit_download_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"- repo: (.+)", text) == ["local"]
    entries = re.findall(r"entry: (.+)", text)
    assert entries
    assert all(fnmatch(entry, ".venv/bin/*") for entry in entries)
