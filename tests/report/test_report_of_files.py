"""What a report shows of an enhanced file: every page, a long stack in part, a failure not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longexposure.enhance.files import FileResult
from longexposure.errors import InputError
from longexposure.radiograph import Radiograph, Step
from longexposure.report.comparison import PAGES, Comparison, comparisons_of, row_of, write_report

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
    file = result(3)
    shown = list(comparisons_of(file))
    assert [each.name for each in shown] == ["a.tif, page 1", "a.tif, page 2", "a.tif, page 3"]
    assert file.before is not None
    assert np.array_equal(shown[2].before, file.before.pixels[2])


def test_of_a_long_stack_the_first_pages_are_shown_and_it_says_so() -> None:
    shown = list(comparisons_of(result(PAGES + 2)))
    assert len(shown) == PAGES
    assert f"{PAGES + 2} pages" in shown[0].note


def test_a_reference_and_further_facts_are_passed_on() -> None:
    reference = np.zeros((4, 5), np.uint16)
    [shown] = comparisons_of(result(1), reference=reference, facts={"PSNR after": 41.234})
    assert shown.reference is reference
    assert shown.facts["PSNR after"] == "41.23"
    assert shown.facts["output"] == "a.tif"


@pytest.mark.parametrize("failed", [FileResult(source=Path("a.tif"), error=FAILURE)])
def test_a_failed_file_has_a_row_and_no_comparison(failed: FileResult) -> None:
    assert list(comparisons_of(failed)) == []
    assert row_of(failed) == {"file": "a.tif", "output": "failed"}


def test_a_name_that_is_no_text_does_not_stop_the_report(tmp_path: Path) -> None:
    odd = "lat\udcff.tif"
    image = np.zeros((4, 5), np.uint16)
    shown = Comparison(name=odd, before=image, after=image, note=odd, history=[{"file": odd}])
    text = write_report([shown], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "lat?.tif" in text
