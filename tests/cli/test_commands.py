"""The command line: what it prints, what it leaves on disk, how it fails."""

from __future__ import annotations

import html
import inspect
import json
import os
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from longexposure.cli import app as cli
from longexposure.cli import images
from longexposure.engines import choice as loading
from longexposure.engines.exported import find_exported
from longexposure.enhance import enhancer as enhancing
from longexposure.enhance import files as enhancing_files
from longexposure.errors import InputError
from longexposure.models.checkpoint import Header, checkpoint_bytes, sha256_of
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.registry import catalogue

COMMANDS = ("enhance", "models", "info", "train", "evaluate")
HEAVY = ("torch", "numpy", "scipy", "skimage", "tifffile", "PIL", "pydantic", "safetensors")

RECIPE = f"""
name = "tiny"
steps = 2
precision = "f32"
workers = 0
[network]
kind = "fast"
width = 8
blocks = 1
[data]
kind = "machines"
machines = {{ "{Path(__file__).parents[1].joinpath("quick.toml").as_posix()}" = 1 }}
patch_px = 32
scene_px = 48
pool = 2
reuse = 2
defects = 0
[validation]
count = 1
size_px = 32
[optimiser]
batch = 1
warmup_steps = 1
"""


class Outcome:
    """What a run of the command line left behind."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


def run(*arguments: object) -> Outcome:
    """Run in this process."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return Outcome(result.exit_code, result.stdout, result.stderr)


def run_apart(*arguments: object) -> Outcome:
    """Run in a process of its own, with pipes for stdout and stderr."""
    command = [sys.executable, "-m", "longexposure", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def noisy(seed: int, shape: tuple[int, ...] = (48, 64)) -> np.ndarray:
    scene = np.full(shape, 30000.0)
    scene[..., 16:32, 16:40] = 20000.0
    return np.random.default_rng(seed).normal(scene, 800.0).round().astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three radiographs: a.tif, b.tif, c.tif."""
    path = tmp_path / "in"
    path.mkdir()
    for seed, name in enumerate("abc"):
        tifffile.imwrite(path / f"{name}.tif", noisy(seed), photometric="minisblack", metadata=None)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_help_names_every_command() -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(command in outcome.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help(command: str) -> None:
    assert run(command, "--help").code == 0


def test_import_loads_nothing_heavy() -> None:
    code = f"import longexposure.cli.app, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_within_half_a_second() -> None:
    def seconds(*arguments: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        return time.perf_counter() - started

    bare = min(seconds("-c", "pass") for _ in range(5))
    helped = min(seconds("-m", "longexposure", "--help") for _ in range(5))
    assert helped < max(0.5, 12 * bare), "half a second, or more where Python itself starts slowly"


def test_version_is_the_packages() -> None:
    assert run("--version").stdout == f"longexposure {cli_version()}\n"


def cli_version() -> str:
    from longexposure import __version__

    return __version__


def test_default_settings_are_those_of_the_library() -> None:
    ours = inspect.signature(images.enhance).parameters
    theirs = inspect.signature(enhancing.load_enhancer).parameters
    assert [ours[name].default for name in ("model", "device", "precision")] == [
        theirs[name].default for name in ("model", "device", "precision")
    ]
    files = inspect.signature(enhancing_files.enhance_files).parameters
    for name in ("strength", "force", "recursive", "sidecar"):
        assert ours[name].default == files[name].default


def test_enhance_writes_each_file_and_tells_what_became_of_it(folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "gaussian")
    assert outcome.code == 0
    assert outcome.errors == []
    assert sorted(content(tmp_path / "out")) == ["a.tif", "b.tif", "c.tif"]
    assert content(folder) == before
    for name in ("a", "b", "c"):
        pixels = tifffile.imread(tmp_path / "out" / f"{name}.tif")
        assert pixels.dtype == np.uint16
        assert pixels[36:, :].std() < 0.5 * 800
        assert f"{name}.tif" in outcome.stdout
    assert "48 x 64 uint16" in outcome.stdout


def test_enhance_takes_files_and_folders_together(folder: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.tif"
    tifffile.imwrite(single, noisy(9), photometric="minisblack")
    assert run("enhance", single, folder, "--out", tmp_path / "out", "--model", "identity").code == 0
    assert len(content(tmp_path / "out")) == 4


def test_missing_file_is_told_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    inputs = (folder / "a.tif", folder / "none.tif", folder / "c.tif")
    outcome = run("enhance", *inputs, "--out", tmp_path / "out", "--model", "gaussian")
    assert outcome.code == 3
    (line,) = outcome.errors
    assert "none.tif" in line
    assert sorted(content(tmp_path / "out")) == ["a.tif", "c.tif"]
    assert "failed" in outcome.stdout


def test_exit_code_is_that_of_the_first_failure(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--out", out, "--model", "identity")
    assert run("enhance", folder / "a.tif", *options).code == 0
    options = (*options, "--strength", "0.5")
    assert run("enhance", folder / "a.tif", folder / "none.tif", *options).code == 4
    assert run("enhance", folder / "none.tif", folder / "a.tif", *options).code == 3


def test_a_foreign_file_in_the_output_folder_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.tif").write_bytes(b"precious")
    command = ("enhance", folder, "--out", out, "--model", "gaussian")
    for options in ((), ("--force",)):
        outcome = run(*command, *options)
        assert outcome.code == 4
        assert "move that file away" in outcome.errors[0]
        assert (out / "b.tif").read_bytes() == b"precious"
        assert sorted(content(out)) == ["a.tif", "b.tif", "c.tif"]
    (out / "b.tif").unlink()
    assert run(*command, "--force").code == 0
    assert run(*command, "--force").code == 0
    assert tifffile.imread(out / "b.tif").shape == (48, 64)


def test_input_folder_is_refused_as_output(folder: Path) -> None:
    before = content(folder)
    for options in ((), ("--force",), ("--recursive", "--force")):
        outcome = run("enhance", folder, "--out", folder, "--model", "gaussian", *options)
        assert outcome.code == 4
        assert len(outcome.errors) == 1
        assert content(folder) == before


def test_unknown_model_names_the_known_ones(folder: Path, tmp_path: Path) -> None:
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "miracle")
    assert outcome.code == 6
    (line,) = outcome.errors
    assert "miracle" in line
    assert all(entry.name in line for entry in catalogue() if entry.shipped)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("command", ["enhance", "info"])
def test_pickle_is_refused_unopened(command: str, name: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / name
    trap = tmp_path / "trap"
    file.write_bytes(pickle.dumps(_Trap(trap)))
    options = ("enhance", folder, "--out", tmp_path / "out", "--model") if command == "enhance" else ("info",)
    outcome = run(*options, file)
    assert outcome.code == 6
    assert "pickle" in outcome.errors[0]
    assert not trap.exists()


class _Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_folder_without_images_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("enhance", tmp_path / "empty", "--out", tmp_path / "out").code == 3


@pytest.mark.parametrize("strength", ["1.5", "-0.1", "nan", "half"])
def test_strength_outside_its_range_is_a_usage_error(strength: str, folder: Path, tmp_path: Path) -> None:
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--strength", strength)
    assert outcome.code == 2
    assert "--strength" in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_strength_zero_gives_the_input_back(folder: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out", "--model", "gaussian", "--strength", "0")
    assert run("enhance", folder / "a.tif", *options).code == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a.tif"), noisy(0))


def test_json_holds_every_result_with_its_history(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    inputs = (folder / "a.tif", folder / "none.tif")
    run("enhance", *inputs, "--out", tmp_path / "out", "--model", "gaussian", "--json", file)
    good, bad = json.loads(file.read_text(encoding="utf-8"))
    assert good["source"] == str(folder / "a.tif")
    assert good["shape"] == [48, 64]
    assert 0 < good["left_in_flat_areas"] < 0.5
    assert good["noise_sigma"] > 0
    assert good["history"][-1]["model"] == "gaussian"
    assert good["error"] is None
    assert "none.tif" in bad["error"]
    assert bad["output"] is None


def test_json_on_stdout_stands_there_alone(folder: Path, tmp_path: Path) -> None:
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "identity", "--json", "-")
    assert len(json.loads(outcome.stdout)) == 3
    assert "48 x 64 uint16" in outcome.stderr


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_a_result_file_never_replaces_a_radiograph(option: str, folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    command = ("enhance", folder, "--out", tmp_path / "out", "--model", "identity", option, folder / "b.tif")
    outcome = run(*command, "--force")
    assert outcome.code == 4
    assert "name that ends in" in outcome.errors[0]
    assert content(folder) == before


def test_scores_never_replace_a_radiograph(folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    options = ("--data", folder, "--model", "identity", "--out", folder / "b.tif", "--overwrite")
    assert run("evaluate", *options).code == 4
    assert content(folder) == before


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_existing_result_file_is_refused_before_the_work(option: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / ("results.json" if option == "--json" else "results.html")
    file.write_text("precious")
    command = ("enhance", folder, "--out", tmp_path / "out", "--model", "identity", option, file)
    assert run(*command).code == 4
    assert file.read_text() == "precious"
    assert not (tmp_path / "out").exists()
    assert run(*command, "--force").code == 4
    assert file.read_text(encoding="utf-8") == "precious"
    file.unlink()
    for _ in range(2):
        assert run(*command).code == 0, "what the same command wrote is written anew"


def test_report_shows_every_file_and_may_lie_in_the_output_folder(folder: Path, tmp_path: Path) -> None:
    tifffile.imwrite(folder / "stack.tif", noisy(5, (3, 48, 64)), photometric="minisblack")
    page = tmp_path / "out" / "report.html"
    inputs = (folder, folder / "none.tif")
    outcome = run("enhance", *inputs, "--out", tmp_path / "out", "--model", "gaussian", "--report", page)
    assert outcome.code == 3
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("a.tif", "b.tif", "c.tif", "stack.tif, page 1", "stack.tif, page 3"))
    assert all(told in text for told in ("4 enhanced, 1 failed", "none.tif: expected"))


@pytest.mark.parametrize("images", [True, False])
def test_report_has_a_folder_of_whole_images_unless_declined(
    images: bool, folder: Path, tmp_path: Path
) -> None:
    options = ("--report", tmp_path / "page.html", *(() if images else ("--no-report-images",)))
    assert run("enhance", folder, "--out", tmp_path / "out", "--model", "identity", *options).code == 0
    assert (tmp_path / "page_files").is_dir() == images
    if images:
        assert len(list((tmp_path / "page_files").glob("*.js"))) == 3


def test_report_cuts_out_the_places_that_are_named(folder: Path, tmp_path: Path) -> None:
    options = ("--report", tmp_path / "page.html", "--report-place", "7,9", "--report-place", " 60, 40")
    outcome = run("enhance", folder / "a.tif", "--out", tmp_path / "out", "--model", "identity", *options)
    assert outcome.code == 0, outcome.stderr
    assert "[[7,9,null],[60,40,null]," in html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("place", ["7", "7,", "a,b", "-1,5", "1.5,2", "1,2,3", ""])
def test_a_place_that_is_no_pixel_is_refused_before_the_work(
    place: str, folder: Path, tmp_path: Path
) -> None:
    options = ("--report", tmp_path / "page.html", "--report-place", place)
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "identity", *options)
    assert outcome.code == 2
    assert "column and row" in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_warning_about_a_file_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    still = np.random.default_rng(1).normal(np.tile(np.linspace(500, 60000, 128), (128, 1)), 5.0)
    tifffile.imwrite(tmp_path / "still.tif", still.astype(np.uint16), photometric="minisblack")
    inputs = (folder / "a.tif", tmp_path / "still.tif")
    outcome = run("enhance", *inputs, "--out", tmp_path / "out", "--model", checkpoint(tmp_path))
    assert outcome.code == 0
    (line,) = [line for line in outcome.stderr.splitlines() if line.startswith("warning: ")]
    assert "still.tif" in line
    assert "fainter than the 0.001 to 0.4" in line


def checkpoint(folder: Path, **ranges: tuple[float, float]) -> Path:
    """A network that changes nothing and states which noise it was told."""
    network = Fast(FastConfig(width=4, blocks=0))
    wide = {"sigma": (0.001, 0.4), "signal_share": (-0.5, 1.0), "corr_x": (-0.3, 0.9), "corr_y": (-0.3, 0.9)}
    header = Header(format=1, model=network.config.model_dump(), conditions={**wide, **ranges})
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path = folder / "told.safetensors"
    path.write_bytes(checkpoint_bytes(weights, header))
    return path


def test_sidecar_is_written_beside_each_image(folder: Path, tmp_path: Path) -> None:
    run("enhance", folder / "a.tif", "--out", tmp_path / "out", "--model", "identity", "--sidecar")
    assert sorted(content(tmp_path / "out")) == ["a.tif", "a.tif.json"]


@pytest.mark.parametrize("reported", [False, True])
def test_pixels_are_let_go_file_by_file(
    reported: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = enhancing_files.enhance_files
    alive: list[weakref.ref[Any]] = []

    def watched(*arguments: Any, **options: Any) -> Iterator[enhancing_files.FileResult]:
        for result in real(*arguments, **options):
            alive.append(weakref.ref(result.before))
            yield result
            del result
            assert [ref() for ref in alive[:-1]] == [None] * (len(alive) - 1)

    monkeypatch.setattr(enhancing_files, "enhance_files", watched)
    report = ("--report", tmp_path / "report.html") if reported else ()
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "identity", *report)
    assert outcome.code == 0, outcome.stderr
    assert len(alive) == 3


def test_output_to_pipes_has_no_control_codes(folder: Path, tmp_path: Path) -> None:
    inputs = (folder, folder / "none.tif")
    outcome = run_apart("enhance", *inputs, "--out", tmp_path / "out", "--model", "gaussian")
    assert outcome.code == 3
    for text in (outcome.stdout, outcome.stderr):
        assert "a.tif" in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_terminal_shows_a_bar_and_keeps_the_errors(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    inputs = (folder, folder / "[red]none.tif")
    outcome = run("enhance", *inputs, "--out", tmp_path / "out", "--model", "identity")
    assert outcome.code == 3
    assert "\x1b[" in outcome.stderr
    assert f"error: {folder / '[red]none.tif'}: expected" in outcome.stderr


def test_file_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    outcome = run("enhance", tmp_path / "x\x1b[31m\n[bold].tif", "--out", tmp_path / "out", "--model", "nlm")
    assert outcome.code == 3
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert "[bold].tif" in outcome.stdout
    assert len(outcome.errors) == 1


def test_interrupt_keeps_what_was_finished_and_ends_with_130(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = enhancing_files.enhance_files

    def interrupted(*arguments: Any, **options: Any) -> Iterator[enhancing_files.FileResult]:
        yield next(real(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(enhancing_files, "enhance_files", interrupted)
    outcome = run("enhance", folder, "--out", tmp_path / "out", "--model", "identity")
    assert outcome.code == 130
    assert outcome.stderr.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in outcome.stderr
    assert sorted(content(tmp_path / "out")) == ["a.tif"]
    assert "a.tif" in outcome.stdout


def test_unexpected_error_is_one_line_with_the_way_to_the_traceback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("two\nlines")

    monkeypatch.setattr(enhancing, "enhancer_of", broken)
    command = ("enhance", folder, "--out", tmp_path / "out")
    outcome = run(*command)
    assert outcome.code == 1
    assert outcome.stderr.splitlines() == outcome.errors
    assert "ValueError: two lines" in outcome.errors[0]
    assert "--debug" in outcome.errors[0]
    debugged = run("--debug", *command)
    assert debugged.code == 1
    assert "Traceback" in debugged.stderr


def test_debug_shows_the_traceback_of_an_expected_error_too(tmp_path: Path) -> None:
    plain, debugged = run("info", tmp_path / "none.tif"), run("--debug", "info", tmp_path / "none.tif")
    assert plain.code == debugged.code == InputError.exit_code
    assert plain.stderr.splitlines() == plain.errors
    assert "Traceback" in debugged.stderr
    assert debugged.errors == plain.errors


def test_closed_pipe_is_no_traceback() -> None:
    command = [sys.executable, "-u", "-m", "longexposure", "models"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr


def test_models_lists_the_catalogue() -> None:
    outcome = run("models")
    assert outcome.code == 0
    entries = dict(
        zip([entry.name for entry in catalogue()], outcome.stdout.split("\n  kind")[1:], strict=True)
    )
    for entry in catalogue():
        text = " ".join(entries[entry.name].split())
        assert all(fact in text for fact in (entry.kind, entry.summary, entry.trained_on, entry.licence))


def test_models_shows_the_scores_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"validation": {"psnr": 31.25, "by_sigma": [{"psnr": 30.0}]}}
    header = Header(format=1, model={"kind": "fast"}, trained_on="scenes", scores=scores, licence="CC0-1.0")
    file = tmp_path / "tiny.safetensors"
    file.write_bytes(checkpoint_bytes({"w": np.zeros((3, 5), np.float32)}, header))
    monkeypatch.setattr("longexposure.models.registry.shipped_weights", lambda: {"tiny": file})
    text = " ".join(run("models").stdout.split())
    assert all(fact in text for fact in ("tiny", "scenes", "parameters 15", "CC0-1.0", "psnr 31.25", " MB"))
    assert "by_sigma" not in text


def test_info_tells_what_an_image_is(tmp_path: Path) -> None:
    file = tmp_path / "board.tif"
    pixels = noisy(3)
    pixels[5, 7] = 65535
    tifffile.imwrite(
        file, pixels, photometric="minisblack", description="board 7", resolution=(500, 400), resolutionunit=3
    )
    facts = json.loads(run("info", file, "--json").stdout)
    assert facts["format"] == "tiff"
    assert facts["shape"] == [48, 64]
    assert facts["dtype"] == "uint16"
    assert facts["pages"] == 1
    assert facts["pitch_um"] == pytest.approx([25.0, 20.0])
    assert "board 7" in facts["description"]
    page = facts["first page"]
    assert page["percentiles"]["100"] == 65535
    assert page["percentiles"]["50"] == pytest.approx(np.median(pixels), abs=1)
    assert page["noise"]["sigma"] == pytest.approx(800, rel=0.3)
    assert page["bad pixels"] >= 1
    assert page["grey map"]["scale"] > 0
    text = run("info", file).stdout
    assert all(word in text for word in ("48, 64", "uint16", "board 7", "bad pixels", "sigma"))


@pytest.mark.parametrize(("compress", "code"), [(None, 5), ("zstd", 50000), ("none", 1)])
def test_enhance_keeps_what_a_file_says_its_type_and_its_compression(
    compress: str | None, code: int, tmp_path: Path
) -> None:
    file, out = tmp_path / "board.tif", tmp_path / "out"
    pixels = np.stack([noisy(3), noisy(4)]).astype(np.int32).reshape(1, 2, 48, 64) - 30_000
    pixels = np.concatenate([pixels, pixels]).astype(np.int16)
    metadata = {"axes": "TZYX", "PhysicalSizeX": 2.0, "PhysicalSizeY": 3.0}
    with tifffile.TiffWriter(file, ome=True) as tif:
        tif.write(pixels, photometric="minisblack", compression="lzw", metadata=metadata, subifds=1)
        tif.write(pixels[..., ::2, ::2], photometric="minisblack", subfiletype=1)
    facts = json.loads(run("info", file, "--json").stdout)
    assert facts["pitch_um"] == [3.0, 2.0]
    assert facts["dtype"] == "int16"
    assert facts["axes"] == {"T": 2, "Z": 2}
    done = run(
        "enhance", file, "--out", out, "--model", "gaussian", *(("--compress", compress) if compress else ())
    )
    assert done.code == 0
    assert "not carried over: 1 image(s) in SubIFDs" in " ".join(done.stderr.split())
    with tifffile.TiffFile(file) as before, tifffile.TiffFile(out / "board.tif") as after:
        assert after.is_ome
        assert after.series[0].shape == (2, 2, 48, 64)
        assert after.series[0].dtype == np.int16
        assert after.pages[0].compression == code
        assert after.pages[0].description == before.pages[0].description
    history = json.loads(run("info", out / "board.tif", "--json").stdout)["history"]
    assert history[-1]["grey_values"] == {"stored": "int16", "computed": "float32", "offset": 0}


def test_unknown_compression_is_refused_with_those_there_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "board.tif", noisy(3), photometric="minisblack")
    done = run("enhance", tmp_path / "board.tif", "--out", tmp_path / "out", "--compress", "jpeg")
    assert done.code == 5
    assert "zstd" in done.stderr


def test_info_warns_of_noise_that_the_default_model_was_not_trained_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "board.tif", noisy(3), photometric="minisblack")
    monkeypatch.setattr(loading, "load_engine", None)  # the header is enough
    for high, told in ((0.4, 0), (0.01, 1)):
        file = checkpoint(tmp_path, sigma=(0.001, high))
        monkeypatch.setattr("longexposure.models.registry.shipped_weights", lambda file=file: {"fast": file})
        warnings = json.loads(run("info", tmp_path / "board.tif", "--json").stdout)["first page"]["warnings"]
        assert len(warnings) == told
        assert all("stronger than the 0.001 to 0.01 that fast was trained for" in text for text in warnings)


def test_info_counts_the_pages_of_a_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", noisy(3, (4, 40, 50)), photometric="minisblack")
    facts = json.loads(run("info", tmp_path / "stack.tif", "--json").stdout)
    assert (facts["pages"], facts["shape"]) == (4, [4, 40, 50])


def test_info_shows_the_history_of_an_enhanced_file(folder: Path, tmp_path: Path) -> None:
    run("enhance", folder / "a.tif", "--out", tmp_path / "out", "--model", "gaussian")
    facts = json.loads(run("info", tmp_path / "out" / "a.tif", "--json").stdout)
    assert facts["history"][-1]["action"] == "enhance"
    assert facts["history"][-1]["model"] == "gaussian"


def test_info_shows_the_header_of_a_checkpoint(tmp_path: Path) -> None:
    header = Header(format=1, model={"kind": "fast", "width": 8}, summary="for a test", trained_on="nothing")
    file = tmp_path / "tiny.safetensors"
    file.write_bytes(checkpoint_bytes({"w": np.zeros(3, np.float32)}, header))
    facts = json.loads(run("info", file, "--json").stdout)
    assert facts["model"] == {"kind": "fast", "width": 8}
    assert facts["trained_on"] == "nothing"
    assert facts["bytes"] == file.stat().st_size
    assert "for a test" in run("info", file).stdout


def test_info_refuses_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    outcome = run("info", tmp_path / "note.txt")
    assert outcome.code == 3
    assert len(outcome.errors) == 1


def test_train_prints_the_checkpoint_it_made(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    run_folder = tmp_path / "run"
    outcome = run("train", recipe, "--out", run_folder, "--set", "steps=3", "--device", "cpu")
    assert outcome.code == 0, outcome.stderr
    assert Path(outcome.stdout.strip()).is_file()
    assert json.loads((run_folder / "recipe.json").read_text())["steps"] == 3
    assert "3/3" in outcome.stderr
    assert all(word in outcome.stderr for word in ("loss", "lr", "PSNR", "Mpx/s", "left"))
    assert "first weights random" in outcome.stderr
    assert f"pictures to look at in {run_folder / 'previews'}" in outcome.stderr
    assert (run_folder / "previews" / "step-000003.png").is_file()
    checkpoint = run_folder / "checkpoint.safetensors"
    assert find_exported(checkpoint, sha256_of(checkpoint)) is not None  # so that enhancing needs no torch
    assert run("train", recipe, "--out", run_folder).code == 4


@pytest.mark.parametrize(("options", "code"), [(("--devices", "0"), 2), (("--devices", "2"), 5)])
def test_devices_that_cannot_share_a_step_are_refused(
    options: tuple[str, str], code: int, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    outcome = run("train", recipe, "--out", tmp_path / "run", "--device", "cpu", *options)
    assert outcome.code == code
    assert "devices" in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_wrong_recipe_is_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    outcome = run("train", recipe, "--out", tmp_path / "run", "--set", "steps=many")
    assert outcome.code == 5
    assert len(outcome.errors) == 1
    assert "steps" in outcome.errors[0]


def test_evaluate_writes_scores_and_shows_them(tmp_path: Path) -> None:
    for side, sigma in (("LQ", 900.0), ("HQ", 50.0)):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        rng = np.random.default_rng(3)
        for name in ("one", "two"):
            pixels = rng.normal(30000, sigma, (48, 64)).astype(np.uint16)
            tifffile.imwrite(tmp_path / "pairs" / side / f"{name}.tif", pixels, photometric="minisblack")
    out = tmp_path / "scores.json"
    options = ("--model", "identity", "--model", "gaussian", "--out", out)
    outcome = run("evaluate", "--data", tmp_path / "pairs", *options)
    assert outcome.code == 0, outcome.stderr
    assert [row["model"] for row in json.loads(out.read_text())["summary"]] == ["identity", "gaussian"]
    assert "identity" in outcome.stdout
    assert "PSNR" in outcome.stdout
    assert run("evaluate", "--data", tmp_path / "pairs", *options).code == 4


def test_evaluate_without_pairs_is_an_input_error(tmp_path: Path) -> None:
    options = ("--model", "identity", "--out", tmp_path / "scores.json")
    assert run("evaluate", "--data", tmp_path / "none", *options).code == 3
    assert not (tmp_path / "scores.json").exists()


def test_a_folder_that_may_not_be_looked_into_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root nothing is forbidden, so the refusal is played by `stat` itself."""
    original = os.stat

    def stat(path: Any, *arguments: Any, **settings: Any) -> os.stat_result:
        if "locked" in os.fspath(path if not isinstance(path, int) else ""):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *arguments, **settings)

    monkeypatch.setattr(os, "stat", stat)
    locked = tmp_path / "locked" / "l.tif"
    outcome = run("enhance", folder / "a.tif", locked, "--out", tmp_path / "out", "--model", "identity")
    assert outcome.code == 3
    assert len(outcome.errors) == 1
    assert (tmp_path / "out" / "a.tif").exists()
    model = tmp_path / "locked" / "m.safetensors"
    assert run("enhance", folder / "b.tif", "--out", tmp_path / "out", "--model", model).code == 6
