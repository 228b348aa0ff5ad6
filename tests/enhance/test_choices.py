"""What is asked of an enhancement, and a model that is loaded while the rest of the program is imported."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from longexposure.enhance.choices import ModelChoice
from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError, RecipeError

IMAGE = (20000 + np.random.default_rng(0).normal(0, 300, (64, 64))).astype(np.uint16)


@pytest.mark.parametrize("model", ["fast", "gaussian"])
def test_a_model_that_is_loaded_ahead_is_the_same(model: str) -> None:
    ahead, plain = ModelChoice(model).ahead()(), load_enhancer(model)
    assert repr(ahead) == repr(plain)
    assert ahead.trained == plain.trained
    assert np.array_equal(ahead.enhance(IMAGE), plain.enhance(IMAGE))


def test_it_is_loaded_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()
    real = ModelChoice.load_engine

    def slow(choice: ModelChoice) -> object:
        begun.set()
        assert may_end.wait(30)
        return real(choice)

    monkeypatch.setattr(ModelChoice, "load_engine", slow)
    loading = ModelChoice("identity").ahead()
    assert begun.wait(30)  # while nobody waits for it
    may_end.set()
    assert np.array_equal(loading().enhance(IMAGE), IMAGE)


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        (ModelChoice("none"), CheckpointError),
        (ModelChoice("fast", engine="abacus"), RecipeError),
        (ModelChoice("fast", device="tpu"), RecipeError),
        (ModelChoice("fast", engine="onnx", precision="bf16"), RecipeError),
        (ModelChoice("gaussian", precision="f16"), RecipeError),
    ],
)
def test_what_is_wrong_is_told_by_what_waits(choice: ModelChoice, error: type[Exception]) -> None:
    loading = choice.ahead()
    with pytest.raises(error) as ahead:
        loading()
    with pytest.raises(error) as plain:
        load_enhancer(choice.model, engine=choice.engine, device=choice.device, precision=choice.precision)
    assert str(ahead.value) == str(plain.value)


def test_planning_waits_for_no_slow_import() -> None:
    code = (
        "import sys; import longexposure.cli.app, longexposure.cli.images, longexposure.enhance.jobs;"
        "from longexposure.enhance.choices import ModelChoice; ModelChoice('fast').weights;"
        "print([name for name in ('scipy', 'torch', 'openvino') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.strip() == "[]"
