"""Radiographs and enhancers beside other libraries: arrays of any make, other processes, one call for all."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from quick import noisy

import longexposure
from longexposure import Radiograph, load_enhancer, read_radiograph, write_radiograph
from longexposure.engines.base import ENGINES
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import CheckpointError, InputError, RecipeError, ResourceError
from longexposure.models.registry import CLASSICAL, shipped_weights
from longexposure.radiograph import Source, Step

IMAGE = noisy()
METHODS = multiprocessing.get_all_start_methods()


class Wrapped:
    """An array as xarray's and dask's are: something else that hands itself to NumPy."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        self._pixels = pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self._pixels


class Packed:
    """An array that knows DLPack alone."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        self._pixels = pixels

    def __dlpack__(self, **settings: Any) -> Any:
        return self._pixels.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self._pixels.__dlpack_device__()


FOREIGN = {
    "wrapped": Wrapped,
    "dlpack": Packed,
    "torch": torch.from_numpy,
    "pillow": lambda pixels: Image.fromarray(pixels.astype(np.uint8)),
    "memory map": lambda pixels: pixels.view(np.memmap),
    "matrix": lambda pixels: pixels.view(np.matrix),
    "read-only": lambda pixels: np.broadcast_to(pixels, pixels.shape),
    "strided": lambda pixels: np.repeat(pixels, 2, axis=1)[:, ::2],
}


@pytest.fixture(scope="module")
def filter_() -> Enhancer:
    return load_enhancer("gaussian")


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_arrays_of_other_libraries_are_taken_and_numpy_arrays_come_back(make: Any, filter_: Enhancer) -> None:
    pixels = (IMAGE // 256).astype(np.uint8)
    result = filter_.enhance(make(pixels.copy()))
    assert type(result) is np.ndarray
    assert np.array_equal(result, filter_.enhance(pixels))
    assert np.array_equal(Radiograph(make(pixels.copy())).pixels, pixels)


@pytest.mark.parametrize("kind", ["gradient", "bfloat16", "sparse", "meta"])
def test_what_numpy_cannot_take_is_refused_with_the_way_out(kind: str, filter_: Enhancer) -> None:
    tensors = {
        "gradient": torch.ones(9, 9, requires_grad=True),
        "bfloat16": torch.ones(9, 9, dtype=torch.bfloat16),
        "sparse": torch.ones(9, 9).to_sparse(),
        "meta": torch.ones(9, 9, device="meta"),
    }
    with pytest.raises(InputError, match="detach"):
        filter_.enhance(tensors[kind])  # type: ignore[call-overload]


def test_a_radiograph_is_an_array_for_numpy() -> None:
    radiograph = Radiograph(IMAGE)
    assert np.asarray(radiograph) is radiograph.pixels
    assert np.array(radiograph) is not radiograph.pixels
    assert np.array_equal(np.array(radiograph), IMAGE)
    assert np.asarray(radiograph, dtype=np.float64).dtype == np.float64
    assert np.asarray(radiograph, dtype=np.uint16) is radiograph.pixels
    assert np.mean(radiograph) == IMAGE.mean()
    assert np.subtract(radiograph, radiograph).sum() == 0
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert np.asarray(radiograph, copy=False) is radiograph.pixels
        with pytest.raises(ValueError, match="float64"):
            np.asarray(radiograph, dtype=np.float64, copy=False)


def test_radiographs_and_enhancers_say_what_they_are_in_a_line(default_enhancer: Enhancer) -> None:
    stack = np.stack([IMAGE, IMAGE])
    steps = (Step("longexposure", "1", "enhance", {"pages": [0] * 999}),)
    source = Source(path="shots/u7.tif", sha256="0" * 64, format="tiff")
    shown = repr(Radiograph(stack, pitch_um=(5.2, 4.8), source=source, history=steps))
    for part in ("2 x 40 x 48 uint16", "counts", "5.2 x 4.8 um", "shots/u7.tif", "longexposure enhance"):
        assert part in shown
    assert len(shown) < 200
    engine = default_enhancer.engine.info
    shown = repr(default_enhancer)
    assert engine is not None
    for part in ("fast", str(engine), "cpu", str(default_enhancer.weights_sha256)[:12]):
        assert part in shown
    assert repr(load_enhancer("nlm")) == "<Enhancer nlm>"


@pytest.mark.parametrize("name", ["fast", *CLASSICAL])
def test_an_enhancer_comes_out_of_a_pickle_as_it_was(name: str) -> None:
    enhancer = load_enhancer(name, device="cpu", core_px=64)
    again = pickle.loads(pickle.dumps(enhancer))
    assert again.describe() == enhancer.describe()
    assert (again.core_px, again.trained) == (64, enhancer.trained)
    assert np.array_equal(again.enhance(IMAGE), enhancer.enhance(IMAGE))
    assert np.array_equal(copy.deepcopy(enhancer).enhance(IMAGE), enhancer.enhance(IMAGE))


def test_a_pickle_holds_no_weights_and_finds_its_file_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(shipped_weights()["fast"], "mine.safetensors")
    enhancer = load_enhancer("mine.safetensors", engine="torch", device="cpu")
    packed = pickle.dumps(enhancer)
    assert len(packed) < 1000
    monkeypatch.chdir("/")
    assert pickle.loads(packed).name == "mine.safetensors"
    shutil.copy(shipped_weights()["best"], tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match="weights that were pickled"):
        pickle.loads(packed).enhance(IMAGE)


def test_an_enhancer_round_an_engine_of_ones_own_says_that_it_cannot_travel(filter_: Enhancer) -> None:
    with pytest.raises(RecipeError, match="load_enhancer"):
        pickle.dumps(Enhancer(filter_.engine, name="mine"))


def _enhanced(enhancer: Enhancer) -> npt.NDArray[Any]:
    result: npt.NDArray[Any] = enhancer.enhance(IMAGE)
    return result


def _loaded_and_enhanced(engine: str) -> npt.NDArray[Any]:
    result: npt.NDArray[Any] = load_enhancer("fast", engine=engine, device="cpu").enhance(IMAGE)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["executor", "pool"])
@pytest.mark.parametrize("engine", [*ENGINES, "filter"])
@pytest.mark.parametrize("method", METHODS)
def test_workers_of_every_kind_give_the_same_or_refuse_with_the_way_out(
    method: str, engine: str, pool: str
) -> None:
    if engine != "filter" and not ENGINES[engine].installed:
        pytest.skip(f"no {engine}")
    model = (
        {"model": "gaussian"} if engine == "filter" else {"model": "fast", "engine": engine, "device": "cpu"}
    )
    enhancer = load_enhancer(**model)  # type: ignore[arg-type]
    expected = enhancer.enhance(IMAGE)
    context = multiprocessing.get_context(method)
    try:
        if pool == "executor":
            with ProcessPoolExecutor(2, mp_context=context) as workers:
                found = workers.submit(_enhanced, enhancer).result(timeout=300)
        else:
            with context.Pool(2) as workers:  # type: ignore[assignment]
                found = workers.apply_async(_enhanced, (enhancer,)).get(timeout=300)
    except ResourceError as error:
        assert (method, engine) in [("fork", each) for each in ENGINES]
        assert "spawn" in error.advice  # noqa: PT017
        return
    assert np.array_equal(found, expected)


@pytest.mark.skipif("fork" not in METHODS, reason="this system cannot fork")
@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_forked_process_refuses_an_engine_of_its_parent_at_once(
    engine: str, default_enhancer: Enhancer
) -> None:
    if not ENGINES[engine].installed:
        pytest.skip(f"no {engine}")
    enhancer = load_enhancer("fast", engine=engine, device="cpu")
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as workers:
        for call in (
            workers.submit(_loaded_and_enhanced, engine),
            workers.submit(_enhanced, enhancer),
            workers.submit(_loaded_and_enhanced, "auto"),
        ):
            with pytest.raises(ResourceError, match="forkserver"):
                call.result(timeout=60)


@pytest.mark.skipif("fork" not in METHODS, reason="this system cannot fork")
def test_a_process_that_forks_before_it_loads_a_model_has_workers_that_compute() -> None:
    program = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import longexposure
image = np.random.default_rng(0).normal(20000, 300, (40, 48)).round().astype(np.uint16)
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as workers:
    found = workers.submit(longexposure.enhance, image).result(timeout=60)
assert np.array_equal(found, longexposure.enhance(image))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_one_call_enhances_files_radiographs_and_arrays(tmp_path: Path) -> None:
    path = write_radiograph(Radiograph(IMAGE, description="u7"), tmp_path / "in.tif")
    expected = load_enhancer("gaussian").enhance(IMAGE)
    array = longexposure.enhance(IMAGE, "gaussian")
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, expected)
    for image in (path, str(path), read_radiograph(path)):
        found = longexposure.enhance(image, "gaussian")
        assert isinstance(found, Radiograph)
        assert np.array_equal(found.pixels, expected)
        assert (found.description, found.history[-1].settings["model"]) == ("u7", "gaussian")
    assert np.array_equal(longexposure.enhance(IMAGE, "gaussian", strength=0.0), IMAGE)
    assert longexposure.enhance.enhancer is sys.modules["longexposure.enhance.enhancer"]  # type: ignore[attr-defined]


def test_one_call_loads_a_model_once_and_again_when_its_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    calls = []
    module = sys.modules["longexposure.enhance.enhancer"]
    monkeypatch.setattr(module, "load_enhancer", lambda *a, **k: calls.append(a) or load_enhancer("gaussian"))
    for name in ("fast", "best"):
        shutil.copy(shipped_weights()[name], path)
        for _ in range(3):
            longexposure.enhance(IMAGE, path)
    assert len(calls) == 2
