"""Which pairs train, validate and test."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from miniature import TINY, write_types

from longexposure.errors import InputError
from longexposure.study.sets import Stock, TestSet
from longexposure.study.suite import study

pytestmark = pytest.mark.usefixtures("one_thread")


def test_test_images_choose_nothing(data: Path, tmp_path: Path) -> None:
    """Neither among the training pairs nor among those that choose the weights."""
    stock = Stock(data, TINY)
    selection = stock.selection("S1", "S2", "S3")
    names = {pair.name for pair in (*selection.train, *selection.val)}
    assert len(names) == len(selection.train) + len(selection.val) == 12
    assert names.isdisjoint(pair.name for pair in stock.tests().pairs)
    manifest = selection.manifest(tmp_path / "set, with a comma")
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [row["split"] for row in rows].count("val") == 3
    assert all("test" not in Path(row["lq"]).parts for row in rows)
    crop = tifffile.imread(next(row["lq"] for row in rows if row["split"] == "val"))
    assert crop.shape == (32, 32)


def test_missing_types_are_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    write_types(tmp_path / "data", train=2, test=1)
    shutil.rmtree(tmp_path / "data" / "S2" / "test")
    with pytest.raises(
        InputError, match=r"of S2 for test, found none; .*--machine S2 .*--split test"
    ) as caught:
        study("compare", out=tmp_path / "out", data=tmp_path / "data", budget=TINY)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"make stand-ins with `longexposure simulate"):
        study("compare", out=tmp_path / "out", data=tmp_path / "empty", budget=TINY)


def test_centre_crops_are_centred_and_small_images_stay_whole(data: Path) -> None:
    pair = Stock(data, TINY).tests().pairs[0]
    whole = tifffile.imread(pair.lq)
    np.testing.assert_array_equal(TestSet((pair,), 20).images(pair)[0], whole[10:30, 10:30])
    np.testing.assert_array_equal(TestSet((pair,), 64).images(pair)[0], whole)
    np.testing.assert_array_equal(TestSet((pair,), None).images(pair)[0], whole)
