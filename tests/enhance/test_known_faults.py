"""Faulty pixels that are given by a map: filled, told in the history, and written as a mask on request."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.statistics import MARKS
from longexposure.errors import InputError
from longexposure.io import read_radiograph
from longexposure.io.defect_maps import read_defect_map

SHAPE = (96, 120)


def image(seed: int = 0) -> np.ndarray:
    """Noise, a dead column, a saturated cluster, a hot pixel, and a row that shows too little to be found."""
    values = np.random.default_rng(seed).normal(30000, 300, SHAPE)
    values[30] += 250
    values[:, 70] = 0
    values[50:56, 20:27] = 65535
    values[80, 100] = 50000
    return values.round().astype(np.uint16)


def marked() -> np.ndarray:
    given = np.zeros(SHAPE, np.uint8)
    given[30] = 7
    return given


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_map_is_filled_and_told(tmp_path):
    tifffile.imwrite(tmp_path / "shot.tif", image())
    tifffile.imwrite(tmp_path / "map.tif", marked())
    out, results = tmp_path / "out", tmp_path / "results.json"
    command = ["enhance", tmp_path / "shot.tif", "--out", out, "--model", "gaussian", "--bad-pixel-masks"]
    run(*command, "--bad-pixels", tmp_path / "map.tif", "--json", results)

    mask = read_radiograph(out / "shot.bad.tif")
    expected = np.zeros(SHAPE, np.uint8)
    expected[80, 100], expected[50:56, 20:27], expected[:, 70], expected[30] = 1, 2, 3, 4
    assert np.array_equal(mask.pixels, expected)
    assert all(f"{value} {words}" in mask.description for value, words in MARKS.items())

    result = json.loads(results.read_text())[0]
    counts = {"single": 1, "cluster": 42, "line": SHAPE[0] - 1, "given": SHAPE[1]}
    assert result["bad_pixels_by_kind"] == counts
    assert result["bad_pixels"] == sum(counts.values())
    assert any("column 70, y=0 to 95; cluster of 42 px" in text for text in result["warnings"])
    assert any("% of the pixels are faulty" in text for text in result["warnings"])
    step = read_radiograph(out / "shot.tif").history[-1].settings
    assert step["bad_pixel_map"] == read_defect_map(tmp_path / "map.tif").reference()
    assert step["pages"][0]["bad_pixels"] == counts
    assert "skipped" in run(*command, "--bad-pixels", tmp_path / "map.tif")


def test_another_map_is_another_result(tmp_path):
    tifffile.imwrite(tmp_path / "shot.tif", image())
    tifffile.imwrite(tmp_path / "map.tif", marked())
    command = ["enhance", tmp_path / "shot.tif", "--out", tmp_path / "out", "--model", "identity"]
    run(*command)
    done = CliRunner().invoke(app, [str(w) for w in (*command, "--bad-pixels", tmp_path / "map.tif")])
    assert done.exit_code != 0
    assert "another map of bad pixels" in " ".join(done.output.split())


def test_an_array_and_a_map_do_the_same(tmp_path):
    tifffile.imwrite(tmp_path / "map.tif", marked())
    enhancer = load_enhancer("gaussian")
    by_array = enhancer.enhance(image(), bad_pixels=marked())
    assert np.array_equal(by_array, enhancer.enhance(image(), bad_pixels=marked().astype(bool)))
    assert np.array_equal(
        by_array, enhancer.enhance(image(), bad_pixels=read_defect_map(tmp_path / "map.tif"))
    )
    assert not np.array_equal(by_array, enhancer.enhance(image()))


@pytest.mark.parametrize("given", [np.zeros((5, 5), bool), np.zeros(SHAPE, np.float32)])
def test_what_is_no_mask_of_the_image_is_refused(given):
    with pytest.raises(InputError, match="bad_pixels"):
        load_enhancer("identity").enhance(image(), bad_pixels=given)


def test_a_map_that_does_not_suit_an_image_fails_that_image_alone(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image()[:50])
    tifffile.imwrite(tmp_path / "b.tif", image())
    tifffile.imwrite(tmp_path / "map.tif", marked())
    words = [
        "enhance",
        tmp_path / "a.tif",
        tmp_path / "b.tif",
        "--out",
        tmp_path / "out",
        "--model",
        "identity",
    ]
    done = CliRunner().invoke(app, [str(w) for w in (*words, "--bad-pixels", tmp_path / "map.tif")])
    assert done.exit_code == 3
    assert not (tmp_path / "out" / "a.tif").exists()
    assert (tmp_path / "out" / "b.tif").exists()


def test_info_counts_by_kind(tmp_path):
    tifffile.imwrite(tmp_path / "shot.tif", image())
    facts = json.loads(run("info", tmp_path / "shot.tif", "--json"))["first page"]
    assert facts["bad pixels by kind"] == {"single": 1, "cluster": 42, "line": SHAPE[0]}
    assert facts["bad pixels"] == 43 + SHAPE[0]
