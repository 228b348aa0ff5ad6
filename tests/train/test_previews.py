"""Previews: what they show, when, and that no number depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning_fabric import Fabric
from tiny_runs import CrashError, crash_at, lines, tiny, weights

from longexposure.errors import RecipeError
from longexposure.io import read_radiograph
from longexposure.models.networks import build_network
from longexposure.report.pictures import GAP_PX, LABEL_PX
from longexposure.train.batches import datasets
from longexposure.train.loop import train
from longexposure.train.previews import Previews
from longexposure.train.recipe import Recipe, recipe_from

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 48


def previewed(preview: dict[str, Any] | None = None) -> Recipe:
    return tiny(
        loss={},
        validation={"count": 4, "size_px": SIDE, "every_steps": 6},
        preview={"every_steps": 2, "count": 2, "size_px": SIDE, **(preview or {})},
    )


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "previews").iterdir()) if (run / "previews").exists() else []


def content(run: Path) -> dict[str, bytes]:
    return {name: (run / "previews" / name).read_bytes() for name in names(run)}


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The pixels below a label."""
    top, left = row * (LABEL_PX + SIDE + GAP_PX) + LABEL_PX, column * (SIDE + GAP_PX)
    return sheet[top : top + SIDE, left : left + SIDE].astype(float)


def test_previews_are_written_every_so_many_steps_and_after_the_last(tmp_path: Path) -> None:
    train(previewed({"every_steps": 4}), tmp_path / "run")
    assert names(tmp_path / "run") == ["step-000004.png", "step-000006.png"]


def test_zero_steps_between_previews_is_no_preview(tmp_path: Path) -> None:
    train(previewed({"every_steps": 0}), tmp_path / "run")
    assert not (tmp_path / "run/previews").exists()


def test_without_a_table_there_is_a_preview_every_500_steps() -> None:
    values = previewed().model_dump(exclude={"preview"})
    assert recipe_from(values, where="test").preview.every_steps == 500
    with pytest.raises(RecipeError, match=r"preview\.every_steps"):
        previewed({"every_steps": -1})


def test_a_preview_shows_short_enhanced_and_target_in_one_window(tmp_path: Path) -> None:
    recipe = previewed()
    images = datasets(recipe)[1]
    network = build_network(recipe.network).eval()  # untrained it changes nothing
    fabric = Fabric(accelerator="cpu", devices=1)
    sheet = Previews(recipe, images, tmp_path).write(network, step=7, fabric=fabric)
    assert sheet.shape == (2 * (LABEL_PX + SIDE + GAP_PX), 3 * (SIDE + GAP_PX))
    assert sheet.dtype == np.uint8
    for row, number in enumerate((0, 3)):
        noisy, target = (images[number][name][0].numpy() for name in ("noisy", "target"))
        np.testing.assert_array_equal(tile(sheet, row, 0), tile(sheet, row, 1))
        grey = [tile(sheet, row, column) for column in (0, 2)]
        inside = [(g > 0) & (g < 255) for g in grey]
        fits = [
            np.polyfit(unit[mask], shown[mask], 1)
            for unit, shown, mask in zip((noisy, target), grey, inside, strict=True)
        ]
        assert fits[0] == pytest.approx(fits[1], rel=0.02, abs=1)
        for fit, unit, shown in zip(fits, (noisy, target), grey, strict=True):
            assert np.clip(np.polyval(fit, unit), 0, 255) == pytest.approx(shown, abs=1.5)
        assert np.mean(inside[1]) > 0.9


def test_a_preview_says_in_its_file_what_it_shows(tmp_path: Path) -> None:
    train(previewed(), tmp_path / "run")
    preview = read_radiograph(tmp_path / "run/previews/step-000004.png")
    assert preview.pixels.dtype == np.uint8
    for words in (
        "tiny after 4 of 6 steps",
        "short exposure, enhanced",
        "target",
        "image 0:",
        "image 3:",
        "dB",
    ):
        assert words in preview.description


def test_only_the_most_detailed_region_of_a_large_image_is_shown(tmp_path: Path) -> None:
    recipe = previewed({"size_px": 24, "count": 1})
    train(recipe, tmp_path / "run")
    shape = read_radiograph(tmp_path / "run/previews/step-000002.png").pixels.shape
    assert shape == (LABEL_PX + 24 + GAP_PX, 3 * (24 + GAP_PX))


def test_there_are_no_more_rows_than_validation_images(tmp_path: Path) -> None:
    train(previewed({"count": 16}), tmp_path / "run")
    assert len(read_radiograph(tmp_path / "run/previews/step-000002.png").pixels) == 4 * (
        LABEL_PX + SIDE + GAP_PX
    )


def test_previews_change_no_number(tmp_path: Path) -> None:
    for name, every in (("with", 1), ("without", 0)):
        train(previewed({"every_steps": every}), tmp_path / name)
    for file in ("checkpoint.safetensors", "last.safetensors"):
        assert weights(tmp_path / "with" / file) == weights(tmp_path / "without" / file)
    scores = [
        [
            {key: value for key, value in line.items() if key not in ("seconds", "mpx_per_s")}
            for line in lines(tmp_path / name)
        ]
        for name in ("with", "without")
    ]
    assert scores[0] == scores[1]


def test_a_resumed_run_gives_the_same_previews(tmp_path: Path) -> None:
    train(previewed(), tmp_path / "whole")

    with pytest.raises(CrashError):
        train(previewed(), tmp_path / "halved", on_step=crash_at(5))
    assert names(tmp_path / "halved") == ["step-000002.png", "step-000004.png"]
    train(previewed(), tmp_path / "halved", resume=True)
    assert content(tmp_path / "halved") == content(tmp_path / "whole")
    assert len(content(tmp_path / "whole")) == 3


def test_a_resumed_run_may_write_more_previews(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(previewed({"every_steps": 0}), tmp_path / "run", on_step=crash_at(4))
    train(previewed({"every_steps": 1, "count": 1, "size_px": 32}), tmp_path / "run", resume=True)
    assert names(tmp_path / "run") == ["step-000004.png", "step-000005.png", "step-000006.png"]
