"""`enhance` over a night: going on, telling of all files, never stopping for one of them or for a stream."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from rich.cells import cell_len
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.cli import settings, terminal
from longexposure.cli.images import enhance
from longexposure.cli.service import serve, watch
from longexposure.enhance import files as enhancing_files
from longexposure.errors import OutputError
from longexposure.io import writing
from longexposure.report import comparison

ESCAPE = "\x1b[31m"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def errors(outcome: Any) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]


def noisy(seed: int) -> np.ndarray:
    scene = np.tile(np.linspace(20000.0, 30000.0, 64), (48, 1))
    return np.random.default_rng(seed).normal(scene, 800.0).round().astype(np.uint16)


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, noisy(seed), photometric="minisblack", metadata=None)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.tif and c.tif, which are good, and bad.tif."""
    path = tmp_path / "in"
    for seed, name in enumerate("ac"):
        image(path / f"{name}.tif", seed)
    (path / "bad.tif").write_text("no image")
    return path


def command(folder: Path, *more: object) -> tuple[object, ...]:
    return ("enhance", folder, "--out", folder.parent / "out", "--model", "gaussian", *more)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_command_goes_on_and_its_json_and_report_tell_of_all_files(
    folder: Path, tmp_path: Path
) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.html"
    first = run(*command(folder, "--json", results, "--report", page))
    assert first.exit_code == 3
    assert first.stdout.splitlines()[-1] == f"2 enhanced, 1 failed: see {page}"
    (tmp_path / "out" / "c.tif").unlink()
    kept = content(tmp_path / "out")
    again = run(*command(folder, "--json", results, "--report", page))
    assert again.stdout.splitlines()[-1] == f"1 enhanced, 1 skipped, 1 failed: see {page}"
    assert content(tmp_path / "out").items() >= kept.items()
    told = {Path(each["source"]).name: each for each in json.loads(results.read_text())}
    assert {name: each["status"] for name, each in told.items()} == {
        "a.tif": "skipped",
        "bad.tif": "failed",
        "c.tif": "enhanced",
    }
    for name in ("a.tif", "c.tif"):
        assert told[name]["history"][-1]["model"] == "gaussian"
        assert told[name]["noise_sigma"] > 0
        assert 0 < told[name]["left_in_flat_areas"] < 1
        assert name in page.read_text(encoding="utf-8")
    assert "no image" not in (told["bad.tif"]["error"] or "")


def test_the_last_line_says_what_became_of_all(folder: Path) -> None:
    assert run(*command(folder)).stdout.splitlines()[-1] == "2 enhanced, 1 failed: see the errors above"
    (folder / "bad.tif").unlink()
    assert run(*command(folder)).stdout.splitlines()[-1] == "2 skipped"


def test_what_fails_before_the_first_file_keeps_the_json_of_the_last_run(
    folder: Path, tmp_path: Path
) -> None:
    results = tmp_path / "r.json"
    run(*command(folder, "--json", results))
    before = results.read_bytes()
    (tmp_path / "taken").write_text("a file")
    for wrong, code in ((("--model", "miracle"), 6), (("--report", tmp_path / "taken" / "r.html"), 4)):
        outcome = run(*command(folder, "--json", results, *wrong))
        assert outcome.exit_code == code
        assert outcome.stdout == ""
        assert results.read_bytes() == before


def test_force_does_all_anew(folder: Path, tmp_path: Path) -> None:
    run(*command(folder))
    assert run(*command(folder, "--strength", 0.5)).exit_code == 4
    assert "2 enhanced, 1 failed" in run(*command(folder, "--strength", 0.5, "--force")).stdout
    assert "2 skipped" in run(*command(folder, "--strength", 0.5)).stdout


@pytest.mark.parametrize("asked", ["--force", "--no-recursive"])
def test_a_plan_is_told_and_nothing_done(asked: str, folder: Path, tmp_path: Path) -> None:
    run(*command(folder))
    (tmp_path / "out" / "c.tif").unlink()
    before = content(tmp_path)
    outcome = run(*command(folder, "--dry-run", "--report", tmp_path / "r.html", asked))
    assert outcome.exit_code == 0
    expected = "3 to enhance" if asked == "--force" else "2 to enhance, 1 to skip"
    assert outcome.stdout.splitlines()[-1] == expected
    assert content(tmp_path) == before


def test_a_plan_tells_what_would_be_refused(folder: Path, tmp_path: Path) -> None:
    run(*command(folder))
    outcome = run(*command(folder, "--dry-run", "--strength", 0.5))
    assert outcome.exit_code == 4
    assert "1 to enhance, 2 would fail" in outcome.stdout
    outcome = run("enhance", folder, "--out", tmp_path / "new", "--model", "miracle", "--dry-run")
    assert outcome.exit_code == 6


def test_quiet_says_what_went_wrong_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    outcome = run(*command(folder, "--quiet"))
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines() == errors(outcome) != []
    (folder / "bad.tif").unlink()
    outcome = run(*command(folder, "--quiet", "--json", "-"))
    assert outcome.stderr == ""
    assert [each["status"] for each in json.loads(outcome.stdout)] == ["skipped"] * 2


def test_subfolders_on_request(folder: Path, tmp_path: Path) -> None:
    image(folder / "sub" / "a.tif", 7)
    run(*command(folder))
    assert sorted(content(tmp_path / "out")) == ["a.tif", "c.tif"]
    outcome = run(*command(folder, "-r"))
    assert sorted(content(tmp_path / "out")) == ["a.tif", "c.tif", "sub/a.tif"]
    assert "sub/a.tif" in outcome.stdout


def test_an_interrupt_leaves_the_json_of_what_was_finished(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = enhancing_files.enhance_files

    def interrupted(*arguments: Any, **settings: Any) -> Iterator[enhancing_files.FileResult]:
        yield next(real(*arguments, **settings))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(enhancing_files, "enhance_files", interrupted)
        outcome = run(*command(folder, "--json", tmp_path / "r.json"))
    assert outcome.exit_code == 130
    assert outcome.stderr.splitlines()[-1] == (
        "interrupted: finished files stay, and the same command goes on"
    )
    assert [each["status"] for each in json.loads((tmp_path / "r.json").read_text())] == ["enhanced"]
    assert "1 enhanced" in outcome.stdout
    run(*command(folder, "--json", tmp_path / "r.json"))
    assert len(json.loads((tmp_path / "r.json").read_text())) == 3


@pytest.mark.parametrize(
    ("arguments", "works", "told"),
    [
        (("info", "a.tif"), "longexposure.io.read_radiograph", "begins anew"),
        (
            ("train", "r.toml", "--out", "run"),
            "longexposure.train.recipe.load_recipe",
            "the run goes on with --resume",
        ),
        (
            ("simulate", "--machine", "S1", "--out", "sets"),
            "longexposure.simulation.machine.load_machine",
            "the same command goes on",
        ),
        (
            ("noise", "pairs", "x", "--out", "y"),
            "longexposure.data.noise_pairs.analyse_noise",
            "begins anew",
        ),
    ],
)
def test_an_interrupt_names_what_the_command_itself_can_do(
    arguments: tuple[str, ...],
    works: str,
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(folder)
    monkeypatch.setattr(works, interrupted)
    outcome = run(*arguments)
    assert outcome.exit_code == 130
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert told in last
    others = {"train": "simulate", "simulate": "train", "info": "train", "noise": "train"}
    assert others[arguments[0]] not in last


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_after_a_kill_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    for seed in range(6):
        image(folder / f"more{seed}.tif", seed)
    slow = """
import os, time
from longexposure.cli import app as cli
fsync = os.fsync
def slow(file):
    time.sleep(0.3)
    fsync(file)
os.fsync = slow
cli.main()
"""
    arguments = [str(each) for each in command(folder, "--json", tmp_path / "r.json")]
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    out = tmp_path / "out"
    while time.monotonic() < deadline and not (out.exists() and list(out.glob(".longexposure-*.part"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(out.glob(".longexposure-*.part")) != []
    done = [path.name for path in out.glob("*.tif")]
    kept = content(out)
    outcome = run(*arguments)
    assert outcome.exit_code == 3
    assert list(out.glob(".longexposure-*.part")) == []
    told = {
        Path(each["source"]).name: each["status"] for each in json.loads((tmp_path / "r.json").read_text())
    }
    assert len(told) == 9
    assert {name for name, state in told.items() if state == "skipped"} == set(done)
    assert all((out / name).read_bytes() == kept[name] for name in done)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RecursionError("deep"), KeyError("x")]
)
def test_a_report_that_fails_stops_no_file(
    error: Exception, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.tif").unlink()
    for seed in range(4):
        image(folder / f"more{seed}.tif", seed)

    def sick(results: Any, *_: Any, **__: Any) -> None:
        next(iter(results))
        raise error

    monkeypatch.setattr(comparison, "write_report", sick)
    outcome = run(*command(folder, "--report", tmp_path / "r.html", "--json", tmp_path / "r.json"))
    assert outcome.exit_code in (1, 4)
    assert len(errors(outcome)) == 1
    assert "r.html" in errors(outcome)[0]
    assert len(content(tmp_path / "out")) == 6
    assert [each["status"] for each in json.loads((tmp_path / "r.json").read_text())] == ["enhanced"] * 6
    assert outcome.stdout.splitlines()[-1] == f"6 enhanced: see {tmp_path / 'r.json'}"


@pytest.mark.parametrize("target", ["--json", "--report"])
def test_a_full_disk_for_report_or_json_is_told_at_the_end(
    target: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.tif").unlink()
    suffix = ".json" if target == "--json" else ".html"
    original = writing.write_together

    def sick(contents: Any, **settings: Any) -> None:
        if any(path.suffix == suffix for path in contents):
            with writing.failing_as_output_error(next(iter(contents))):
                raise OSError(28, "No space left on device")
        original(contents, **settings)

    monkeypatch.setattr(writing, "write_together", sick)
    outcome = run(*command(folder, target, tmp_path / f"r{suffix}"))
    assert outcome.exit_code == OutputError.exit_code
    assert len(errors(outcome)) == 1
    assert "No space left" in errors(outcome)[0]
    assert sorted(content(tmp_path / "out")) == ["a.tif", "c.tif"]
    assert "2 enhanced" in outcome.stdout


def apart(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "longexposure", *map(str, arguments)]
    return subprocess.run(line, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("state", ["full", "closed pipe", "closed"])
def test_streams_that_take_nothing_stop_no_file(
    stream: str, state: str, folder: Path, tmp_path: Path
) -> None:
    (folder / "bad.tif").unlink()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    results = tmp_path / "r.json"
    if state == "closed":
        number = 1 if stream == "stdout" else 2
        script = f'exec "$0" "$@" {number}>&-'
        line = ["sh", "-c", script, sys.executable, "-m", "longexposure"]
        done = subprocess.run([*line, *map(str, command(folder, "--json", results))], check=False, **pipes)
    elif state == "full":
        with Path("/dev/full").open("w") as pipes[stream]:
            done = apart(*command(folder, "--json", results), **pipes)
    else:
        reader, pipes[stream] = os.pipe()
        os.close(reader)
        done = apart(*command(folder, "--json", results), **pipes)
        os.close(pipes[stream])
    assert len(json.loads(results.read_text())) == 2
    assert sorted(content(tmp_path / "out")) == ["a.tif", "c.tif"]
    lost = stream == "stdout" and state != "closed"
    assert done.returncode == (4 if lost else 0), done.stderr
    assert b"Traceback" not in (done.stderr or b"")
    assert b"Exception ignored" not in (done.stderr or b"")
    if lost and state == "full":
        assert b"error: stdout" in done.stderr


def test_a_name_with_a_line_of_its_own_gets_none(tmp_path: Path) -> None:
    image(tmp_path / "in" / "a\nerror: all fine.tif")
    outcome = run("enhance", tmp_path / "in", "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.stderr
    assert not errors(outcome)
    assert r"a\nerror: all fine.tif" in outcome.stderr


@pytest.mark.parametrize("name", ["基板.tif", "üöß.tif", b"a\xff\xfe.tif".decode("utf-8", "surrogateescape")])
def test_an_ascii_terminal_gets_every_name_escaped_and_the_json(name: str, tmp_path: Path) -> None:
    try:
        image(tmp_path / "in" / "x.tif").rename(tmp_path / "in" / name)
    except OSError:
        pytest.skip("a file system without such names")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    for out, results in (("out1", tmp_path / "r.json"), ("out2", "-")):
        arguments = (
            "enhance",
            tmp_path / "in",
            "--out",
            tmp_path / out,
            "--model",
            "gaussian",
            "--json",
            results,
        )
        done = apart(*arguments, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode("ascii") if results == "-" else results.read_text("ascii")
        (told,) = json.loads(text)
        assert told["status"] == "enhanced"
        assert os.fsencode(Path(told["source"]).name) == os.fsencode(name)
        assert b".tif" in (done.stderr if results == "-" else done.stdout)
        assert (done.stdout + done.stderr).isascii()


def deep(levels: int) -> str:
    """A description that looks like our history, nested so deep."""
    nested = '{"a":' * levels + "1" + "}" * levels
    step = f'{{"tool":"t","version":"1","action":"x","nested":{nested}}}'
    fields = f'"history":[{step}],"source":null,"domain":"counts","polarity":"black-is-zero","pitch_um":null'
    return f'{{"description":"","longexposure":{{{fields},"resolution":null,"exposure":{{}}}}}}'


@pytest.mark.parametrize("levels", [80, 300, 600, 900, 5000])
def test_a_deep_history_stops_no_file(levels: int, folder: Path, tmp_path: Path) -> None:
    text = deep(levels)
    tifffile.imwrite(folder / "bad.tif", noisy(3), photometric="minisblack", description=text, metadata=None)
    outcome = run(*command(folder, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html"))
    told = {
        Path(each["source"]).name: each["status"] for each in json.loads((tmp_path / "r.json").read_text())
    }
    assert told["a.tif"] == told["c.tif"] == "enhanced"
    assert len(told) == 3
    assert outcome.exit_code in (0, 1, 3, 4)
    assert run("info", folder / "bad.tif").exit_code in (0, 3)


def test_what_a_file_says_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    """Escapes in descriptions, in the names and values of a history and in what an instrument tells."""
    evil = f"a{ESCAPE}b\x07\x9b31m\rc\x08\u202e"
    fields = {
        "history": [{"tool": evil, "version": evil, "action": evil, evil: {evil: [evil]}}],
        "source": None,
        "domain": "counts",
        "polarity": "black-is-zero",
        "pitch_um": None,
        "resolution": None,
        "exposure": {evil: evil, "x": {evil: evil}},
    }
    text = json.dumps({"description": evil, "longexposure": fields})
    for number, description in enumerate((text, f"line one\n{ESCAPE}")):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(
            path, noisy(0), photometric="minisblack", description=description.encode(), metadata=None
        )
        for outcome in (run("info", path), run("info", path, "--json"), run("--debug", "info", path)):
            assert all(letter.isprintable() or letter == "\n" for letter in outcome.output), outcome.output
            assert "[31m" in outcome.output


@pytest.mark.parametrize(
    "name", ["x\x1b[2J.tif", "x\x9b2J.tif", "x\r.tif", "x\u202e.tif", "x\n.tif", "x\x07.tif"]
)
@pytest.mark.parametrize("coloured", [False, True])
def test_names_are_shown_and_not_obeyed(
    name: str, coloured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "in" / "x.tif").rename(tmp_path / "in" / name)
    (tmp_path / "in" / f"bad{name}").write_text("none")
    if coloured:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
    arguments = ("enhance", tmp_path / "in", "--out", tmp_path / "out", "--model", "gaussian")
    for more in ((), ("--dry-run",), ("--strength", "0.5"), ("--json", "-")):
        outcome = run(*arguments, *more)
        harmless = re.sub(r"\x1b\[[0-9;?]*[mKAhlG]|\r", "", outcome.output)
        assert all(letter.isprintable() or letter == "\n" for letter in harmless), repr(harmless)
        assert "\x1b[2J" not in outcome.output
        assert "x\r." not in outcome.output
    for wrong in (("enhance", f"--{name}"), (f"{name}",), ("info", f"--{name}")):
        outcome = run(*wrong)
        assert outcome.exit_code == 2
        assert all(letter.isprintable() or letter == "\n" for letter in outcome.output)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("letter", ["x", "基"])
def test_on_a_terminal_each_file_is_one_line_with_its_name_cut_in_the_middle(
    width: int, letter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"board_{letter * 60}_{number}.tif" for number in range(3)]
    for number, name in enumerate(names):
        image(tmp_path / "in" / name, number)
    (tmp_path / "in" / "bad one.tif").write_text("x")
    arguments = ("enhance", tmp_path / "in", "--out", tmp_path / "out", "--model", "gaussian")
    piped = run(*arguments).stdout
    assert all(name in piped for name in names), "a pipe gets whole names"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    for more in ((), ("--dry-run",)):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", run(*arguments, *more).stdout).splitlines()
        assert all(cell_len(line) <= width for line in lines)
        rows = [line for line in lines if ".tif" in line]
        assert len(rows) == 4
        for number in range(3):
            (row,) = [row for row in rows if f"{number}.tif" in row]
            assert row.startswith("board_")
            assert "…" in row


@pytest.mark.parametrize("width", range(1, 30))
@pytest.mark.parametrize("text", ["board_17_left.tif", "基板_17_左.tif", "ü" * 40, ""])
def test_cut_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    found = terminal.cut(text, width)
    assert cell_len(found) <= width or width < 2
    if cell_len(text) <= width:
        assert found == text
    elif width > 8:
        head, tail = found.split("…")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert abs(cell_len(head) - cell_len(tail)) <= 3


def test_a_log_tells_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    lines = terminal.Lines("enhancing", total=4, every_s=0.0)
    for done in (1, 2):
        now[0] += 60
        lines.update(done, f"{done}.tif")
    lines.part(2.5, "3.tif, computing 50%")
    now[0] += 60
    lines.part(2.5, "3.tif, computing 50%")
    assert capsys.readouterr().err.splitlines() == [
        "enhancing 1/4: 1.tif, 0:03:00 left",
        "enhancing 2/4: 2.tif, 0:02:00 left",
        "enhancing: 3.tif, computing 50%, 0:01:48 left",
    ]


SETTINGS = """
model = "gaussian"
strength = 0.5
sidecar = true
out = "enhanced"
json = "results.json"
"""


def test_options_come_from_a_file_and_the_command_line_wins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "axi3").mkdir()
    file = tmp_path / "axi3" / "machine.toml"
    file.write_text(SETTINGS)
    assert run("enhance", folder / "a.tif", "--config", file).exit_code == 0
    assert sorted(content(tmp_path / "axi3" / "enhanced")) == ["a.tif", "a.tif.json"]
    (told,) = json.loads((tmp_path / "axi3" / "results.json").read_text())
    assert told["history"][-1]["strength"] == 0.5
    other = ("--strength", 0.25, "--no-sidecar", "--out", tmp_path / "other")
    assert run("enhance", folder / "a.tif", "--config", file, *other).exit_code == 0
    assert sorted(content(tmp_path / "other")) == ["a.tif"]
    (told,) = json.loads((tmp_path / "axi3" / "results.json").read_text())
    assert told["history"][-1]["strength"] == 0.25


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strength = 2", "strength: expected"),
        ('strength = "0.5"', "strength: expected"),
        ("strengh = 1", "unknown key 'strengh'"),
        ("force = true", "unknown key 'force'"),
        ('engine = "magic"', "engine"),
        ("sidecar = 1", "sidecar"),
        ("out = [", "TOML"),
        ("out = 3", "out"),
        ("model = 1", "model"),
        ('noise = "none.toml"', "none.toml"),
        ("strength = nan", "strength"),
    ],
)
def test_settings_that_are_wrong_are_one_line(text: str, told: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    file.write_text(text)
    outcome = run("enhance", folder / "a.tif", "--out", tmp_path / "out", "--config", file)
    assert outcome.exit_code in (3, 5)
    (line,) = errors(outcome)
    assert told in line
    assert not (tmp_path / "out").exists()
    assert run("enhance", folder, "--config", tmp_path / "none.toml").exit_code == 5


def test_every_option_of_a_machine_is_a_key_and_has_the_same_default() -> None:
    per_run = {"inputs", "source", "config", "force", "dry_run", "report_place"}
    signatures = [inspect.signature(command).parameters for command in (watch, serve, enhance)]
    ours = {name: each.default for parameters in signatures for name, each in parameters.items()}
    keys = settings.EnhanceSettings.model_fields
    assert set(keys) == set(ours) - per_run
    for name, key in keys.items():
        if name not in ("out", "data"):  # which must be given
            assert key.default == ours[name], name


def test_completion_can_be_shown() -> None:
    environment = {
        **os.environ,
        "_LONGEXPOSURE_COMPLETE": "complete_bash",
        "COMP_WORDS": "longexposure enh",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from longexposure.cli.app import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.stdout.split() == ["enhance"]


def test_steady_streams_write_what_they_can() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    stream = terminal.Steady(Full())
    assert stream.write("text") == 4
    assert stream.write("more") == 4
    assert stream.lost is not None
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    steady = terminal.Steady(ascii_only)
    steady.write("基\udcff")
    steady.flush()
    assert ascii_only.buffer.getvalue() == rb"\u57fa\udcff"
    with pytest.raises(TypeError):
        steady.write(b"bytes")
