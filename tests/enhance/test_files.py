"""Folders of files through the enhance path: names, tags, refusals, and what remains after a failure."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from quick import noisy

from longexposure.enhance import files as pipeline
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.files import FileResult, enhance_files
from longexposure.errors import InputError, OutputError, RecipeError, ResourceError
from longexposure.grey import measure_grey
from longexposure.io import read_radiograph, sidecar_path, write_radiograph
from longexposure.models.noise_range import Conditions
from longexposure.noise import estimate_noise, flat_blocks, flat_deviation
from longexposure.radiograph import Radiograph, Resolution, Step

TXRM = Path(__file__).parents[2] / "examples" / "radiographs" / "txrm_test_chip_tomo.txrm"
GAUSSIAN = load_enhancer("gaussian")
KNOWN = Conditions(
    model="it", sigma=(0.001, 0.4), signal_share=(-0.5, 1.0), corr_x=(-0.25, 0.87), corr_y=(-0.25, 0.87)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.tif, b.tif and c.tif."""
    path = tmp_path / "in"
    path.mkdir()
    for seed, name in enumerate("abc"):
        write_radiograph(Radiograph(noisy(seed), description=f"board {name}"), path / f"{name}.tif")
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def run(inputs: list[Path], out: Path, enhancer: Enhancer = GAUSSIAN, **settings) -> list[FileResult]:
    return list(enhance_files(inputs, out, enhancer, **settings))


def test_each_file_becomes_one_of_its_name_with_the_same_result_as_the_array(folder, out):
    before = content(folder)
    results = run(files(folder), out)
    assert sorted(content(out)) == ["a.tif", "b.tif", "c.tif"]
    assert content(folder) == before
    for source, result in zip(files(folder), results, strict=True):
        assert (result.source, result.output, result.error) == (source, out / source.name, None)
        pixels = tifffile.imread(source)
        assert np.array_equal(tifffile.imread(result.output), GAUSSIAN.enhance(pixels))
        assert (result.shape, result.dtype) == ((40, 48), "uint16")
        noise, grey = estimate_noise(pixels), measure_grey(pixels)
        assert result.noise_sigma == noise.sigma_at(grey.middle)
        flat = flat_blocks(pixels, noise)
        after = flat_deviation(result.after.pixels, flat)
        assert result.left_in_flat_areas == after / flat_deviation(pixels, flat)
        assert result.megapixels == pytest.approx(40 * 48 / 1e6)
        assert result.seconds > 0
        assert result.noise.sigma == pytest.approx(300, rel=0.5)
        assert np.array_equal(result.before.pixels, pixels)


def test_a_result_goes_into_json(folder, out):
    result = run(files(folder)[:1], out, strength=0.5)[0]
    values = json.loads(json.dumps(result.as_dict()))
    assert values["output"] == str(out / "a.tif")
    assert values["error"] is None
    assert values["noise"]["sigma"] == result.noise.sigma
    assert values["history"][-1]["strength"] == 0.5
    failed = json.loads(json.dumps(run([folder / "none.tif"], out)[0].as_dict()))
    assert "none.tif" in failed["error"]
    assert (failed["output"], failed["noise"], failed["history"]) == (None, None, [])


def test_multi_page_tiff_stays_one_with_its_tags_and_history(tmp_path, out):
    earlier = Step("scanner", "2", "scan", {"kv": 90})
    radiograph = Radiograph(
        np.stack([noisy(0), noisy(1), noisy(2)]),
        domain="transmission",
        polarity="white-is-zero",
        resolution=Resolution(2000.0, 1000.0, "cm"),
        description="tomo of board 7",
        exposure={"exposure_s": 5.0, "angle_deg": [0, 1, 2]},
        history=(earlier,),
    )
    source = write_radiograph(radiograph, tmp_path / "stack.tiff")
    (result,) = run([source], out, strength=0.5)
    back = read_radiograph(out / "stack.tif")
    assert np.array_equal(back.pixels, GAUSSIAN.enhance(radiograph.pixels, strength=0.5))
    for name in ("domain", "polarity", "resolution", "description", "exposure"):
        assert getattr(back, name) == getattr(radiograph, name), name
    assert back.history[0] == earlier
    step = back.history[1]
    assert (step.tool, step.action) == ("longexposure", "enhance")
    assert step.settings["model"] == "gaussian"
    assert step.settings["strength"] == 0.5
    assert len(step.settings["pages"]) == 3
    first = radiograph.pixels[0]
    assert result.noise_sigma == estimate_noise(first).sigma_at(measure_grey(first).middle)
    with tifffile.TiffFile(result.output) as tiff:
        assert tiff.pages[0].description == radiograph.description
        text = json.loads(tiff.pages[0].tags[65360].value)
    assert text["longexposure"]["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_8_bit_png_stays_an_8_bit_png(tmp_path, out):
    pixels = (noisy() // 128).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "chip.PNG")
    (result,) = run([tmp_path / "chip.PNG"], out)
    assert result.output == out / "chip.png"
    with Image.open(result.output) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), GAUSSIAN.enhance(pixels))


def test_the_instruments_own_format_becomes_tiff(out):
    (result,) = run([TXRM], out)
    source, back = read_radiograph(TXRM), read_radiograph(out / "txrm_test_chip_tomo.tif")
    assert result.output == out / "txrm_test_chip_tomo.tif"
    assert (back.pixels.shape, back.pixels.dtype) == (source.pixels.shape, source.pixels.dtype)
    assert back.exposure == json.loads(json.dumps(dict(source.exposure)))
    assert back.pitch_um == pytest.approx(source.pitch_um)
    assert result.bad_pixels > 0


def test_the_history_is_written_beside_the_image_on_request(folder, out):
    run(files(folder)[:1], out, sidecar=True)
    assert sorted(content(out)) == ["a.tif", "a.tif.json"]
    values = json.loads(sidecar_path(out / "a.tif").read_text())
    assert values["description"] == "board a"
    assert values["longexposure"]["history"][-1]["model"] == "gaussian"


@pytest.mark.parametrize("through", ["same", "relative", "link-to-folder", "link-to-file"])
@pytest.mark.parametrize("force", [False, True])
def test_the_folder_of_an_input_is_refused_as_output_before_any_work(
    folder, tmp_path, monkeypatch, through, force
):
    monkeypatch.chdir(tmp_path)
    inputs, target = files(folder), folder
    other = tmp_path / "other"
    other.mkdir()
    if through == "relative":
        target = Path("in")
    elif through == "link-to-folder":
        target = tmp_path / "link"
        target.symlink_to(folder)
    elif through == "link-to-file":
        (other / "z.tif").symlink_to(folder / "b.tif")
        inputs = [write_radiograph(Radiograph(noisy(9)), other / "b.tif"), other / "z.tif"]
    before = content(folder)
    monkeypatch.setattr(pipeline, "read_radiograph", lambda path, **options: pytest.fail("was read"))
    with pytest.raises(OutputError, match="an output folder that holds none of the inputs"):
        run(inputs, target, force=force)
    assert content(folder) == before


def test_strength_out_of_range_is_refused_before_any_work(folder, out):
    with pytest.raises(RecipeError, match="strength"):
        run(files(folder), out, strength=2)
    assert not out.exists()


def test_an_output_folder_that_cannot_be_one_is_refused(folder, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="a file in the way"):
        run(files(folder), tmp_path / "taken")


def test_an_existing_output_is_refused_and_replaced_only_on_request(folder, out):
    out.mkdir()
    (out / "b.tif").write_bytes(b"precious")
    results = run(files(folder), out)
    assert [type(result.error) for result in results] == [type(None), OutputError, type(None)]
    assert "none of ours (a text file)" in str(results[1].error)
    assert (out / "b.tif").read_bytes() == b"precious"
    results = run(files(folder), out, force=True)
    assert isinstance(results[1].error, OutputError)
    assert (out / "b.tif").read_bytes() == b"precious"
    (out / "b.tif").unlink()
    for _ in range(2):
        assert all(result.error is None for result in run(files(folder), out, force=True))
    assert np.array_equal(tifffile.imread(out / "b.tif"), GAUSSIAN.enhance(noisy(1)))
    assert sorted(content(out)) == ["a.tif", "b.tif", "c.tif"]


def test_an_existing_sidecar_keeps_the_image_from_being_written(folder, out):
    out.mkdir()
    (out / "a.tif.json").write_text("precious")
    (result,) = run(files(folder)[:1], out, sidecar=True)
    assert isinstance(result.error, OutputError)
    assert content(out) == {"a.tif.json": b"precious"}


@pytest.mark.parametrize("second", ["a.tif", "A.TIF", "a.tiff"])
def test_files_with_one_name_from_two_folders_become_two(folder, tmp_path, out, second):
    other = tmp_path / "other"
    other.mkdir()
    write_radiograph(Radiograph(noisy(7)), other / second)
    results = run([folder / "a.tif", other / second, folder / "b.tif"], out)
    assert [result.error for result in results] == [None] * 3
    assert len({str(result.output).lower() for result in results}) == 3
    assert np.array_equal(tifffile.imread(results[0].output), GAUSSIAN.enhance(noisy(0)))
    assert np.array_equal(tifffile.imread(results[1].output), GAUSSIAN.enhance(noisy(7)))


def test_a_name_is_free_again_when_its_first_file_failed(folder, tmp_path, out):
    results = run([tmp_path / "none" / "a.tif", folder / "a.tif"], out)
    assert [result.error is None for result in results] == [False, True]


def test_bad_files_in_the_middle_do_not_stop_the_others(folder, tmp_path, out):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.tif").touch()
    (bad / "cut.tif").write_bytes((folder / "a.tif").read_bytes()[:500])
    (bad / "text.png").write_text("no image")
    tifffile.imwrite(bad / "nan.tif", np.full((4, 4), np.nan, np.float32))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)).save(bad / "colour.png")
    (bad / "folder.tif").mkdir()
    (bad / "loop.tif").symlink_to(bad / "loop.tif")
    inputs = [folder / "a.tif", *files(bad), bad / "none.tif", folder / "c.tif"]
    results = run(inputs, out)
    assert [result.source for result in results] == inputs
    assert [result.error is None for result in results] == [True, *[False] * 8, True]
    for result in results[1:-1]:
        assert type(result.error) is InputError
        assert str(result.source) in str(result.error)
        assert "\n" not in str(result.error)
        assert result.output is result.before is result.after is None
    assert sorted(content(out)) == ["a.tif", "c.tif"]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_leaves_no_partial_file_and_the_others_go_on(folder, out, monkeypatch, call, force):
    out.mkdir()
    if force:
        list(enhance_files(files(folder)[1:2], out, GAUSSIAN))
    earlier = content(out)
    owner, name = (os, "fsync") if call == "fsync" else (Path, call)
    original = getattr(owner, name)
    full = []

    def fail(*args, **settings):
        if full and (call != "open" or "x" in str(args[1:])):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **settings)

    monkeypatch.setattr(owner, name, fail)
    results = []
    for result in enhance_files(files(folder), out, GAUSSIAN, force=force, sidecar=True):
        results.append(result)
        full[:] = [True] if len(results) == 1 else []
    assert [result.error is None for result in results] == [True, False, True]
    assert isinstance(results[1].error, OutputError)
    assert "No space left on device" in str(results[1].error)
    expected = {"a.tif", "a.tif.json", "c.tif", "c.tif.json"} | ({"b.tif"} if force else set())
    assert set(content(out)) == expected
    assert content(out).items() >= earlier.items()


def test_too_little_memory_for_one_image_does_not_stop_the_others(folder, out, monkeypatch):
    original, sick = pipeline.examine, noisy(1)

    def short(pixels: np.ndarray, *arguments: object, **named: object) -> object:
        if np.array_equal(pixels, sick):
            raise MemoryError
        return original(pixels, *arguments, **named)

    monkeypatch.setattr(pipeline, "examine", short)
    results = run(files(folder), out)
    assert [type(result.error) for result in results] == [type(None), ResourceError, type(None)]
    assert "b.tif: expected memory for the whole image" in str(results[1].error)
    assert sorted(content(out)) == ["a.tif", "c.tif"]


def test_results_that_are_dropped_free_their_pixels(folder, out):
    alive: list[weakref.ref] = []
    most = 0
    for result in enhance_files(files(folder), out, GAUSSIAN):
        gc.collect()
        alive.append(weakref.ref(result.after))
        most = max(most, sum(reference() is not None for reference in alive))
        del result
    assert len(alive) == 3
    assert most == 1


def test_files_are_enhanced_one_by_one_as_they_are_asked_for(folder, out):
    results = enhance_files(files(folder), out, GAUSSIAN)
    assert not out.exists()
    next(results)
    assert sorted(content(out)) == ["a.tif"]


def test_a_second_run_of_an_enhanced_file_adds_to_its_history(folder, tmp_path, out):
    run(files(folder)[:1], out)
    (again,) = run([out / "a.tif"], tmp_path / "twice")
    assert [step.settings["model"] for step in again.after.history] == ["gaussian", "gaussian"]


def test_a_warning_is_told_once_a_file_however_many_pages_give_it(tmp_path, out):
    page = np.random.default_rng(0).normal(1000, 0.05, (64, 64)).astype(np.float32)
    page[:, :32] += 400
    source = write_radiograph(Radiograph(np.stack([page, page])), tmp_path / "faint.tif")
    (result,) = run([source], out, Enhancer(GAUSSIAN.engine, name="gaussian", trained=KNOWN))
    (text,) = result.warnings
    assert "fainter" in text
    assert result.as_dict()["warnings"] == [text]


def test_warnings_are_those_of_the_model_that_enhances(folder, tmp_path):
    """The next file is examined before it is known who will enhance it."""
    told = []
    for number, high in enumerate((0.02, 0.4)):
        knows = KNOWN.model_copy(update={"sigma": (0.001, high)})
        results = run(
            files(folder), tmp_path / str(number), Enhancer(GAUSSIAN.engine, name="it", trained=knows)
        )
        told.append([result.warnings for result in results])
    assert all("stronger than the 0.001 to 0.02 that it was trained for" in text for (text,) in told[0])
    assert told[1] == [(), (), ()]
    assert [result.warnings for result in run(files(folder), tmp_path / "none")] == [(), (), ()]


def test_default_enhances_a_file(default_enhancer, folder, out):
    (result,) = run(files(folder)[:1], out, default_enhancer)
    assert result.error is None
    assert result.left_in_flat_areas < 0.5
    assert len(read_radiograph(out / "a.tif").history[-1].settings["weights_sha256"]) == 64


def test_an_original_in_the_output_folder_is_not_replaced_even_on_request(folder, out):
    out.mkdir()
    (out / "a.tif").write_bytes((folder / "c.tif").read_bytes())
    (result,) = run(files(folder)[:1], out, force=True)
    assert "perhaps an original" in str(result.error)
    assert (out / "a.tif").read_bytes() == (folder / "c.tif").read_bytes()
