"""Early looks: what they show, when, and that no number depends on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning_fabric import Fabric
from quick import DATA

from longexposure.errors import RecipeError
from longexposure.io import read_radiograph
from longexposure.models.checkpoint import read_checkpoint
from longexposure.models.networks import build_network
from longexposure.report.pictures import GAP_PX, LABEL_PX
from longexposure.train.loop import Progress, datasets, train
from longexposure.train.previews import Previews
from longexposure.train.recipe import Recipe, recipe_from

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 48


def tiny(*, preview: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    values = {
        "name": "tiny",
        "steps": 6,
        "precision": "f32",
        "workers": 0,
        "checkpoint_every_steps": 3,
        "network": {"kind": "fast", "width": 8, "blocks": 1, "fine_width": 4, "fine_blocks": 1},
        "data": DATA,
        "validation": {"count": 4, "size_px": SIDE, "every_steps": 6},
        "optimiser": {"lr": 1e-3, "batch": 2, "warmup_steps": 2, "ema_decay": 0.9},
        "preview": {"every_steps": 2, "count": 2, "size_px": SIDE, **(preview or {})},
        **changes,
    }
    return recipe_from(values, where="test")


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "previews").iterdir()) if (run / "previews").exists() else []


def content(run: Path) -> dict[str, bytes]:
    return {name: (run / "previews" / name).read_bytes() for name in names(run)}


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The pixels below a label."""
    top, left = row * (LABEL_PX + SIDE + GAP_PX) + LABEL_PX, column * (SIDE + GAP_PX)
    return sheet[top : top + SIDE, left : left + SIDE].astype(float)


def test_looks_are_written_every_so_many_steps_and_after_the_last(tmp_path: Path) -> None:
    train(tiny(preview={"every_steps": 4}), tmp_path / "run")
    assert names(tmp_path / "run") == ["step-000004.png", "step-000006.png"]


def test_zero_steps_between_looks_is_no_look(tmp_path: Path) -> None:
    train(tiny(preview={"every_steps": 0}), tmp_path / "run")
    assert not (tmp_path / "run/looks").exists()


def test_without_a_table_there_is_a_look_every_500_steps() -> None:
    values = tiny().model_dump(exclude={"preview"})
    assert recipe_from(values, where="test").preview.every_steps == 500
    with pytest.raises(RecipeError, match=r"look\.every_steps"):
        tiny(preview={"every_steps": -1})


def test_a_look_shows_short_enhanced_and_target_in_one_window(tmp_path: Path) -> None:
    recipe = tiny()
    images = datasets(recipe)[1]
    network = build_network(recipe.network).eval()  # untrained it changes nothing
    fabric = Fabric(accelerator="cpu", devices=1)
    sheet = Previews(recipe, images, tmp_path).take(network, step=7, fabric=fabric)
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


def test_a_look_says_in_its_file_what_it_shows(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    preview = read_radiograph(tmp_path / "run/looks/step-000004.png")
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
    recipe = tiny(preview={"size_px": 24, "count": 1})
    train(recipe, tmp_path / "run")
    shape = read_radiograph(tmp_path / "run/looks/step-000002.png").pixels.shape
    assert shape == (LABEL_PX + 24 + GAP_PX, 3 * (24 + GAP_PX))


def test_there_are_no_more_rows_than_validation_images(tmp_path: Path) -> None:
    train(tiny(preview={"count": 16}), tmp_path / "run")
    assert len(read_radiograph(tmp_path / "run/looks/step-000002.png").pixels) == 4 * (
        LABEL_PX + SIDE + GAP_PX
    )


def test_looks_change_no_number(tmp_path: Path) -> None:
    for name, every in (("with", 1), ("without", 0)):
        train(tiny(preview={"every_steps": every}), tmp_path / name)
    with_, without = (
        {
            file: {key: array.tobytes() for key, array in read_checkpoint(tmp_path / name / file)[1].items()}
            for file in ("checkpoint.safetensors", "last.safetensors")
        }
        for name in ("with", "without")
    )
    assert with_ == without
    scores = [
        [
            {key: value for key, value in json.loads(line).items() if key not in ("seconds", "mpx_per_s")}
            for line in (tmp_path / name / "log.jsonl").read_text().splitlines()
        ]
        for name in ("with", "without")
    ]
    assert scores[0] == scores[1]


def test_a_resumed_run_gives_the_same_looks(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "whole")

    def crash(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyError

    with pytest.raises(KeyError):
        train(tiny(), tmp_path / "halved", on_step=crash)
    assert names(tmp_path / "halved") == ["step-000002.png", "step-000004.png"]
    train(tiny(), tmp_path / "halved", resume=True)
    assert content(tmp_path / "halved") == content(tmp_path / "whole")
    assert len(content(tmp_path / "whole")) == 3


def test_a_resumed_run_may_look_more_often(tmp_path: Path) -> None:
    def crash(progress: Progress) -> None:
        if progress.step == 4:
            raise KeyError

    with pytest.raises(KeyError):
        train(tiny(preview={"every_steps": 0}), tmp_path / "run", on_step=crash)
    train(tiny(preview={"every_steps": 1, "count": 1, "size_px": 32}), tmp_path / "run", resume=True)
    assert names(tmp_path / "run") == ["step-000004.png", "step-000005.png", "step-000006.png"]
