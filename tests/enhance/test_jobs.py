"""A night's batch: what is skipped, redone and refused, and where the files of several folders go."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import noisy

from longexposure.enhance import files as pipeline
from longexposure.enhance import jobs
from longexposure.enhance.choices import ModelChoice
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.files import FileResult, enhance_files
from longexposure.enhance.jobs import list_jobs, plan_files
from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.io import read_radiograph, sidecar_path, write_radiograph
from longexposure.models.registry import DEFAULT, find_weights
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph

GAUSSIAN = load_enhancer("gaussian")
NOISE = NoiseProfile(level=20000, sigma=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.tif, b.tif and c.tif."""
    path = tmp_path / "in"
    path.mkdir()
    for seed, name in enumerate("abc"):
        write_radiograph(Radiograph(noisy(seed)), path / f"{name}.tif")
    return path


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_radiograph(Radiograph(noisy(seed)), path)


def run(inputs: list[Path], out: Path, enhancer: Enhancer = GAUSSIAN, **settings) -> list[FileResult]:
    return list(enhance_files(inputs, out, enhancer, **settings))


def states(results: list[FileResult]) -> list[str]:
    return [result.status for result in results]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def targets(inputs: list[Path], out: Path, **settings) -> list[str]:
    return [job.target.relative_to(out).as_posix() for job in list_jobs(inputs, out, **settings)]


def test_what_is_done_is_skipped_and_its_result_is_told_again(folder, out):
    first = run([folder], out, sidecar=True)
    before = content(out)
    again = run([folder], out, sidecar=True)
    assert (states(first), states(again)) == (["enhanced"] * 3, ["skipped"] * 3)
    assert content(out) == before
    for one, other in zip(first, again, strict=True):
        seconds = {"seconds": 0, "status": ""}
        assert one.as_dict() | seconds == other.as_dict() | seconds
        assert other.before is other.after is None


def test_skipping_computes_nothing_and_loads_no_model(folder, out, monkeypatch):
    run([folder], out, ModelChoice("gaussian"))
    monkeypatch.setattr(ModelChoice, "load_engine", lambda _: pytest.fail("loaded"))
    monkeypatch.setattr(pipeline, "examine", lambda *_: pytest.fail("measured"))
    assert states(run([folder], out, ModelChoice("gaussian"))) == ["skipped"] * 3


def test_only_what_is_missing_is_done(folder, out):
    run([folder], out)
    (out / "b.tif").unlink()
    image(folder / "d.tif", 9)
    assert states(run([folder], out)) == ["skipped", "enhanced", "skipped", "enhanced"]


CHANGES: dict[str, Callable[[], dict]] = {
    "strength 1.0, not 0.5": lambda: {"strength": 0.5},
    "other noise": lambda: {"noise": NOISE},
    "model gaussian, not nlm": lambda: {"enhancer": load_enhancer("nlm")},
}


@pytest.mark.parametrize("told", CHANGES)
def test_other_settings_are_refused_and_done_anew_on_request(told, folder, out):
    run([folder], out)
    before = content(out)
    changed = CHANGES[told]()
    results = run([folder], out, **changed)
    assert states(results) == ["failed"] * 3
    assert all(isinstance(result.error, OutputError) and told in str(result.error) for result in results)
    assert content(out) == before
    assert states(run([folder], out, force=True, **changed)) == ["enhanced"] * 3
    assert states(run([folder], out, **changed)) == ["skipped"] * 3
    assert states(run([folder], out)) == ["failed"] * 3


def test_another_version_of_the_package_is_another_setting(folder, out, monkeypatch):
    run([folder], out)
    monkeypatch.setattr("longexposure.__version__", "99.0", raising=False)
    assert "version" in str(run([folder], out)[0].error)


def test_a_given_noise_profile_that_is_the_same_is_skipped(folder, out):
    run([folder], out, noise=NOISE)
    assert states(run([folder], out, noise=replace(NOISE))) == ["skipped"] * 3
    assert states(run([folder], out, noise=replace(NOISE, slope=1.0))) == ["failed"] * 3


def test_weights_decide_and_not_the_name_they_are_called_by(folder, out):
    weights = find_weights(DEFAULT)
    run([folder / "a.tif"], out, ModelChoice(DEFAULT, device="cpu"))
    same = plan_files([folder / "a.tif"], out, ModelChoice(weights))
    assert same[0].made
    (other,) = plan_files([folder / "a.tif"], out, ModelChoice("best"))
    assert "other weights" in str(other.error)
    (other,) = plan_files([folder / "a.tif"], out, ModelChoice(DEFAULT, precision="bf16"))
    assert "precision f32, not bf16" in str(other.error)
    used = same[0].made[-1].settings["engine"]
    for engine in ("torch", "openvino", "onnx"):
        (job,) = plan_files([folder / "a.tif"], out, ModelChoice(DEFAULT, engine=engine))
        assert bool(job.made) == (engine == used)


@pytest.mark.parametrize("change", ["pixels", "text", "bytes behind the image"])
def test_a_changed_source_is_told_and_its_old_result_kept(change, folder, out):
    run([folder], out)
    before = content(out)
    if change == "bytes behind the image":
        with (folder / "b.tif").open("ab") as file:
            file.write(b"\0")
    else:
        pixels, text = (noisy(8), "") if change == "pixels" else (noisy(1), "retake")
        write_radiograph(Radiograph(pixels, description=text), folder / "b.tif", overwrite=True)
    results = run([folder], out)
    assert states(results) == ["skipped", "failed", "skipped"]
    assert "another source" in str(results[1].error)
    assert "--force" in str(results[1].error)
    assert content(out) == before
    assert states(run([folder], out, force=True)) == ["enhanced"] * 3


@pytest.mark.parametrize("cut_to", [0, 7, 300, -1])
def test_an_output_that_was_cut_off_is_not_taken_for_done(cut_to, folder, out):
    run([folder], out)
    data = (out / "b.tif").read_bytes()
    (out / "b.tif").write_bytes(data[:cut_to])
    for force in (False, True):
        results = run([folder / "b.tif"], out, force=force)
        assert states(results) == ["failed"]
        assert (out / "b.tif").read_bytes() == data[:cut_to]


def test_a_missing_sidecar_is_made_and_a_foreign_one_kept(folder, out):
    run([folder], out)
    assert states(run([folder], out, sidecar=True)) == ["enhanced"] * 3
    assert states(run([folder], out, sidecar=True)) == ["skipped"] * 3
    (out / "a.tif").unlink()
    sidecar_path(out / "b.tif").write_text("[1, 2]")
    results = run([folder], out, sidecar=True, force=True)
    assert states(results) == ["enhanced", "failed", "enhanced"]
    assert sidecar_path(out / "b.tif").read_text() == "[1, 2]"


def test_halves_of_killed_processes_go_and_those_of_living_ones_stay(folder, out):
    run([folder], out)
    dead, living = (out / f".longexposure-{number}-0a.part" for number in (2**22 + 1, os.getppid()))
    for path in (dead, living):
        path.write_text("half")
    run([folder], out)
    assert (dead.exists(), living.exists()) == (False, True)


def test_a_plan_writes_nothing(folder, out):
    plan = plan_files([folder], out, ModelChoice("gaussian"))
    assert [job.waits for job in plan] == [True] * 3
    assert not out.exists()
    run(plan[1:], out)
    assert [bool(job.made) for job in plan_files([folder], out, GAUSSIAN)] == [False, True, True]


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), RecursionError(), MemoryError(), KeyError(3), UnicodeDecodeError("a", b"", 0, 1, "r")],
)
@pytest.mark.parametrize("place", ["read_radiograph", "examine", "write_radiograph", "left_in_flat_areas"])
def test_whatever_happens_to_one_file_is_its_own_error(place, error, folder, out, monkeypatch):
    real, second = getattr(pipeline, place), noisy(1)

    def is_second(given: object) -> bool:
        if isinstance(given, Path):
            return given.name == "b.tif"
        pixels = np.asarray(getattr(given, "pixels", given))
        return pixels.shape == second.shape and abs(pixels.mean() - second.mean()) < 0.01

    def sick(*given, **settings):
        if any(map(is_second, given[:2])):
            raise error
        return real(*given, **settings)

    monkeypatch.setattr(pipeline, place, sick)
    results = run([folder], out)
    assert states(results) == ["enhanced", "failed", "enhanced"]
    assert isinstance(results[1].error, LongExposureError)
    assert "b.tif" in str(results[1].error)
    assert sorted(content(out)) == ["a.tif", "c.tif"]


def test_whatever_happens_to_one_output_that_is_there_is_its_own_error(folder, out, monkeypatch):
    run([folder], out)
    real = jobs.read_radiograph

    def sick(path, **options):
        if path == out / "b.tif":
            raise RecursionError
        return real(path, **options)

    monkeypatch.setattr(jobs, "read_radiograph", sick)
    assert states(run([folder], out)) == ["skipped", "failed", "skipped"]


def test_subfolders_are_left_out_unless_asked_for_and_keep_their_structure(folder, out):
    image(folder / "day1" / "x.tif")
    image(folder / "day1" / "deep" / "x.tif")
    image(folder / ".hidden" / "x.tif")
    assert targets([folder], out) == ["a.tif", "b.tif", "c.tif"]
    deep = ["a.tif", "b.tif", "c.tif", "day1/x.tif", "day1/deep/x.tif"]
    assert targets([folder], out, recursive=True) == deep
    results = run([folder], out, recursive=True)
    assert [result.name for result in results] == deep
    assert sorted(content(out)) == sorted(deep)
    assert states(run([folder], out, recursive=True)) == ["skipped"] * 5


def test_subfolders_come_in_natural_order(tmp_path, out):
    for day in (10, 2, 1):
        image(tmp_path / "in" / f"day{day}" / "x.tif")
    assert targets([tmp_path / "in"], out, recursive=True) == ["day1/x.tif", "day2/x.tif", "day10/x.tif"]


@pytest.mark.parametrize("through", ["itself", "a link"])
def test_the_output_folder_inside_an_input_is_no_input(through, folder):
    out = folder / "enhanced"
    given = out
    if through == "a link":
        out.mkdir()
        given = folder.parent / "link"
        given.symlink_to(out)
    for expected in ("enhanced", "skipped"):
        assert states(run([folder], given, recursive=True)) == [expected] * 3
    assert sorted(content(out)) == ["a.tif", "b.tif", "c.tif"]


def test_links_to_folders_are_not_followed_round_and_round(folder, out):
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    image(folder / "sub" / "x.tif")
    assert targets([folder], out, recursive=True) == ["a.tif", "b.tif", "c.tif", "sub/x.tif"]


def test_a_folder_that_is_named_through_a_link_is_looked_into(folder, tmp_path, out):
    (tmp_path / "today").symlink_to(folder)
    assert targets([tmp_path / "today"], out) == ["a.tif", "b.tif", "c.tif"]


def test_several_folders_keep_their_names(folder, tmp_path, out):
    image(tmp_path / "other" / "a.tif")
    assert targets([folder, tmp_path / "other"], out) == ["in/a.tif", "in/b.tif", "in/c.tif", "other/a.tif"]
    image(tmp_path / "line2" / "in" / "a.tif")
    expected = [f"{tmp_path.name}/in/{name}.tif" for name in "abc"] + ["line2/in/a.tif"]
    assert targets([folder, tmp_path / "line2" / "in"], out) == expected


def test_a_single_file_goes_beside_those_of_one_folder(folder, tmp_path, out):
    assert targets([folder, image(tmp_path / "retakes" / "u7.tif")], out)[-1] == "u7.tif"


NAMES = {
    ("x/chip.tif", "y/chip.tif"): ["x/chip.tif", "y/chip.tif"],
    ("x/chip.tif", "y/CHIP.tif", "y/b.tif"): ["x/chip.tif", "y/CHIP.tif", "b.tif"],
    ("x/1/chip.tif", "y/1/chip.png", "y/1/chip.tif"): ["x/1/chip.tif", "chip.png", "y/1/chip.tif"],
    ("x/chip.tif", "x/chip.png"): ["chip.tif", "chip.png"],
    ("x/chip.xrm", "x/chip.tif"): ["chip.xrm.tif", "chip.tif"],
    ("x/chip.xrm", "x/chip.txrm", "x/chip.tiff"): ["chip.xrm.tif", "chip.txrm.tif", "chip.tiff.tif"],
    ("x/chip.xrm",): ["chip.tif"],
    ("x/chip.xrm", "x/chip.tif", "x/chip.xrm.tif"): ["chip.xrm-2.tif", "chip.tif", "chip.xrm.tif"],
    (f"x/{unicodedata.normalize('NFC', 'ü')}.tif", f"x/{unicodedata.normalize('NFD', 'ü')}.tif"): [
        f"{unicodedata.normalize('NFC', 'ü')}.tif",
        f"{unicodedata.normalize('NFD', 'ü')}-2.tif",
    ],
    ("x/a\udcff.tif", "y/a\udcff.tif"): ["x/a\udcff.tif", "y/a\udcff.tif"],
}


@pytest.mark.parametrize("names", NAMES)
def test_no_two_files_get_one_name(names, tmp_path, out):
    assert targets([tmp_path / name for name in names], out) == NAMES[names]


def test_equal_names_from_two_folders_are_enhanced_and_skipped(tmp_path, out):
    inputs = [image(tmp_path / "x" / "chip.tif", 1), image(tmp_path / "y" / "chip.tif", 2)]
    for expected in ("enhanced", "skipped"):
        results = run(inputs, out)
        assert states(results) == [expected] * 2
        assert [read_radiograph(result.output).pixels.tolist() for result in results] == [
            GAUSSIAN.enhance(noisy(seed)).tolist() for seed in (1, 2)
        ]


def test_files_of_several_formats_with_one_stem(tmp_path, out):
    image(tmp_path / "in" / "a.tif", 1)
    Image.fromarray((noisy(2) // 128).astype(np.uint8)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "A.TIFF").write_bytes((tmp_path / "in" / "a.tif").read_bytes())
    assert states(run([tmp_path / "in"], out)) == ["enhanced"] * 3
    assert sorted(content(out)) == ["A.TIFF.tif", "a.png", "a.tif"]


def test_a_file_or_folder_that_is_named_twice_is_taken_once(folder, out, monkeypatch):
    monkeypatch.chdir(folder.parent)
    inputs = [folder / "a.tif", Path("in"), folder, Path("in/../in/b.tif")]
    assert targets(inputs, out) == ["a.tif", "b.tif", "c.tif"]


def test_folders_without_images_stop_no_others(folder, tmp_path, out):
    (tmp_path / "empty").mkdir()
    results = run([tmp_path / "empty", folder], out)
    assert [result.status for result in results] == ["failed"] + ["enhanced"] * 3
    assert isinstance(results[0].error, InputError)
    (result,) = run([tmp_path / "empty"], tmp_path / "nothing")
    assert isinstance(result.error, InputError)
    assert not (tmp_path / "nothing").exists()


def test_a_subfolder_that_cannot_be_listed_is_one_error(folder, out, monkeypatch):
    image(folder / "locked" / "x.tif")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    results = run([folder], out, recursive=True)
    assert sorted(states(results)) == ["enhanced"] * 3 + ["failed"]
    assert "Permission denied" in str(next(result.error for result in results if result.error))


@pytest.mark.parametrize("deep", [False, True])
def test_the_folder_of_an_input_is_refused_for_what_would_go_into_it(deep, tmp_path):
    """`out` itself holds no input, but the subfolder of it where enhanced files would go does."""
    image(tmp_path / "data" / "a" / "x.tif")
    image(tmp_path / "data" / "a" / "a" / "x.tif")
    before = content(tmp_path)
    inputs = [tmp_path / "data" / "a"]
    if deep:
        with pytest.raises(OutputError, match="none of the inputs"):
            run(inputs, tmp_path / "data", recursive=True)
        assert content(tmp_path) == before
    else:
        assert states(run(inputs, tmp_path / "data")) == ["enhanced"]


def test_progress_is_told_within_stacks_and_large_images(tmp_path, out):
    stack = write_radiograph(Radiograph(np.stack([noisy(0), noisy(1)])), tmp_path / "stack.tif")
    large = write_radiograph(Radiograph(noisy(2, (96, 80))), tmp_path / "large.tif")
    told: list[tuple[str, str, float]] = []
    tiled = load_enhancer("gaussian", core_px=48)
    run(
        [stack, large],
        out,
        tiled,
        on_progress=lambda job, stage, share: told.append((job.name, stage, share)),
    )
    computing = [(name, share) for name, stage, share in told if stage == "computing"]
    assert computing == [
        ("stack.tif", 0.5),
        ("stack.tif", 1.0),
        *(("large.tif", n / 4) for n in (1, 2, 3, 4)),
    ]
