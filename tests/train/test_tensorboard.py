"""TensorBoard: the event files say what the log says, and the package is asked for in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import CrashError, crash_at, lines, tiny

from longexposure.errors import ResourceError
from longexposure.train.loop import train
from longexposure.train.recipe import Recipe


def small() -> Recipe:
    return tiny(
        network={"kind": "fast", "width": 4, "blocks": 0},
        checkpoint_every_steps=2,
        validation={"count": 1},
        optimiser={"batch": 1},
        preview={"every_steps": 3, "count": 1},
    )


def events(run: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def test_events_hold_the_numbers_of_the_log_and_the_previews(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(small(), tmp_path / "run", tensorboard=True)
    found = events(tmp_path / "run")
    expected = {
        (f"{line['kind']}/{name}", line["step"]): value
        for line in lines(tmp_path / "run")
        for name, value in line.items()
        if isinstance(value, float | int) and name != "step"
    }
    read = {(tag, e.step): e.value for tag in found.Tags()["scalars"] for e in found.Scalars(tag)}
    assert read == pytest.approx(expected, rel=1e-6)
    assert {("train/loss", 6), ("validation/psnr", 3), ("validation/psnr", 6)} <= read.keys()
    assert [image.step for image in found.Images("previews")] == [3, 6]
    assert found.Images("previews")[0].encoded_image_string.startswith(b"\x89PNG")


def test_a_resumed_run_hides_what_it_does_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(CrashError):
        train(small(), tmp_path / "run", tensorboard=True, on_step=crash_at(3))
    assert [event.step for event in events(tmp_path / "run").Scalars("validation/psnr")] == [3]
    train(small(), tmp_path / "run", tensorboard=True, resume=True)
    assert [event.step for event in events(tmp_path / "run").Scalars("validation/psnr")] == [3, 6]


def test_without_the_package_training_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ResourceError, match=r"longexposure\[tensorboard\]"):
        train(small(), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_without_asking_there_are_no_event_files(tmp_path: Path) -> None:
    train(small(), tmp_path / "run")
    assert not (tmp_path / "run/tensorboard").exists()
