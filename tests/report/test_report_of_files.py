"""What a report shows of an enhanced file: every page of it, and why there is none of a failed one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longexposure.enhance.files import FileResult
from longexposure.errors import InputError
from longexposure.io import write_radiograph
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph, Step
from longexposure.report.comparison import Comparison, Unseen, comparisons_of, write_report

FAILURE = InputError(where="a.tif", expected="an image", found="text", advice="look at it")


def result(pages: int) -> FileResult:
    shape = (pages, 4, 5) if pages > 1 else (4, 5)
    before = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    step = Step(tool="longexposure", version="0", action="enhance", settings={"model": "m"})
    return FileResult(
        source=Path("shots/a.tif"),
        output=Path("out/a.tif"),
        shape=shape,
        dtype="uint16",
        seconds=0.5,
        megapixels=before.size / 1e6,
        before=Radiograph(before),
        after=Radiograph(before + np.uint16(1), history=(step,)),
    )


def test_a_single_image_is_one_comparison_under_its_own_name() -> None:
    [shown] = comparisons_of(result(1))
    assert shown.name == "a.tif"
    assert np.array_equal(shown.after - shown.before, np.ones((4, 5)))
    assert shown.history == [{"tool": "longexposure", "version": "0", "action": "enhance", "model": "m"}]
    assert shown.note == ""


def test_every_page_of_a_stack_is_a_comparison() -> None:
    file = result(200)
    shown = list(comparisons_of(file))
    assert [(each.name, each.stack, each.page) for each in shown] == [
        (f"a.tif, page {page}", "a.tif", page) for page in range(1, 201)
    ]
    assert file.before is not None
    assert np.array_equal(shown[199].before, file.before.pixels[199])


def test_noise_is_that_of_the_page_where_the_history_says_it() -> None:
    file = result(2)
    assert file.after is not None
    noise = [NoiseProfile(level=100, sigma=sigma) for sigma in (3.0, 4.0)]
    settings = {"pages": [{"noise": each.as_dict()} for each in noise]}
    step = Step(tool="longexposure", version="0", action="enhance", settings=settings)
    told = replace(file, after=replace(file.after, history=(step,)))
    assert [each.noise for each in comparisons_of(told)] == noise
    assert [each.noise for each in comparisons_of(replace(file, noise=noise[0]))] == [noise[0]] * 2
    odd = Step(
        tool="longexposure", version="0", action="enhance", settings={"pages": [{"noise": {"odd": 1}}]}
    )
    told = replace(file, after=replace(file.after, history=(odd,)))
    assert [each.noise for each in comparisons_of(told)] == [None, None]


def test_a_reference_and_further_facts_are_passed_on() -> None:
    reference = np.zeros((4, 5), np.uint16)
    [shown] = comparisons_of(result(1), reference=reference, facts={"PSNR after": 41.234})
    assert shown.reference is reference
    assert shown.facts["PSNR after"] == "41.23"
    assert shown.facts["output"] == "a.tif"


def test_a_failed_file_is_in_it_with_its_reason() -> None:
    failed = FileResult(source=Path("shots/a.tif"), error=FAILURE)
    assert list(comparisons_of(failed)) == [Unseen("a.tif", "failed", str(FAILURE))]
    assert failed.as_row() == {"file": "a.tif", "output": "failed"}


def test_images_of_a_skipped_file_are_read_from_its_files(tmp_path: Path) -> None:
    file = result(3)
    assert file.before is not None
    assert file.after is not None
    paths = tmp_path / "a.tif", tmp_path / "out.tif"
    for path, image in zip(paths, (file.before, file.after), strict=True):
        write_radiograph(image, path)
    skipped = replace(file, skipped=True, source=paths[0], output=paths[1], before=None, after=None)
    for number, each in enumerate(comparisons_of(skipped)):
        assert isinstance(each, Comparison)
        assert each.state == "skipped"
        assert np.array_equal(each.before, file.before.pixels[number])
        assert np.array_equal(each.after, file.after.pixels[number])


@pytest.mark.parametrize("output", [None, Path("nowhere.tif")])
def test_where_there_is_nothing_to_read_the_reason_is_told(output: Path | None) -> None:
    lost = replace(result(1), output=output, before=None, after=None)
    [shown] = comparisons_of(lost)
    assert isinstance(shown, Unseen)
    assert shown.state == "not shown"
    assert shown.reason


def test_warnings_and_chosen_places_are_passed_on_and_warnings_are_no_column() -> None:
    told = replace(result(1), warnings=("quite dark",))
    [shown] = comparisons_of(told, facts={"warnings": "quite dark", "noise from": "x"}, places=[(1, 2)])
    assert isinstance(shown, Comparison)
    assert (shown.warnings, shown.places) == (("quite dark",), [(1, 2)])
    assert "warnings" not in shown.facts
    assert shown.facts["noise from"] == "x"


def test_a_name_that_is_no_text_does_not_stop_the_report(tmp_path: Path) -> None:
    odd = "lat\udcff.tif"
    image = np.zeros((4, 5), np.uint16)
    shown = Comparison(name=odd, before=image, after=image, note=odd, history=[{"file": odd}])
    text = write_report([shown], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "lat?.tif" in text
