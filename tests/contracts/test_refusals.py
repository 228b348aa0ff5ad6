"""Every failure is a LongExposureError: functions under wrong arguments, readers under wrong content."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quick import BALL_GRID, DATA, noisy

import longexposure
from longexposure import LongExposureError, NoiseProfile, Radiograph
from longexposure.config import read_document
from longexposure.data.check.check import check_pairs
from longexposure.data.evaluate import evaluate
from longexposure.data.simulated_sets import read_truth
from longexposure.engines.exported import read_exported
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.export.exporter import export
from longexposure.io import expand_inputs
from longexposure.metrics import psnr, rmse, ssim
from longexposure.models.checkpoint import checkpoint_bytes, read_checkpoint, read_header
from longexposure.models.registry import shipped_weights
from longexposure.noise.calibration import read_calibration
from longexposure.simulation.machine import load_machine
from longexposure.train.recipe import load_recipe, recipe_from

IMAGE = noisy()
NUMBERS = (
    *(None, "0.5", b"1", [], [0.5], {}, True, object(), 1j),
    *(float("nan"), float("inf"), 10**400, np.zeros(3), np.float32("nan")),
)
"""None is a finite number from 0 on."""
PATHS = (None, 5, 0.5, b"in.tif", [], ["in.tif"], {}, object(), "a\0b", IMAGE)
"""None is a path."""
IMAGES = (
    None,
    5,
    "in.tif",
    b"",
    [],
    [[1, 2], [3, 4]],
    {},
    object(),
    IMAGE.astype(float),
    IMAGE.astype(int),
    IMAGE.astype(bool),
    IMAGE.astype(object),
    IMAGE.astype(complex),
    IMAGE.astype(">u2"),
    IMAGE.astype(str),
    IMAGE[:0],
    IMAGE[0],
    IMAGE[0, 0],
    IMAGE[None, None],
    np.ma.masked_less(IMAGE, 20000),
    np.ma.array(IMAGE),
    np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    np.full((9, 9), np.nan, np.float32),
    np.full((9, 9), np.inf, np.float32),
    np.stack([IMAGE] * 3, axis=-1),
    np.stack([IMAGE] * 4, axis=-1),
    IMAGE[..., None],
)
"""None is an image or a stack of images."""
FLAGS = (None, "yes", 1, 0.0, [], object())
WORDS = (None, 5, b"auto", "", "TORCH", ["auto"], {}, object(), IMAGE)


def _refused(call: Callable[[], object]) -> LongExposureError:
    with pytest.raises(LongExposureError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(scope="module")
def filter_() -> Enhancer:
    """The fastest there is."""
    return load_enhancer("gaussian")


ENHANCING: dict[str, tuple[tuple[object, ...], Callable[[Enhancer, Any], object]]] = {
    "image": (IMAGES, lambda enhancer, value: enhancer.enhance(value)),
    "strength": ((*NUMBERS, -0.1, 1.1), lambda enhancer, value: enhancer.enhance(IMAGE, strength=value)),
    "noise": ((50.0, "auto", IMAGE, {}, []), lambda enhancer, value: enhancer.enhance(IMAGE, noise=value)),
    "name": ((None, 5, []), lambda enhancer, value: Enhancer(enhancer.engine, name=value)),
    "core_px": (
        (0, -1, 0.5, "64", True),
        lambda enhancer, value: Enhancer(enhancer.engine, name="a", core_px=value),
    ),
    "engine": ((None, 5, "torch", object()), lambda enhancer, value: Enhancer(value, name="a")),
}
CALLS: dict[str, tuple[tuple[object, ...], Callable[[Any], object]]] = {
    "enhance image": (IMAGES, lambda value: longexposure.enhance(value, "gaussian")),
    "enhance strength": (NUMBERS, lambda value: longexposure.enhance(IMAGE, "gaussian", strength=value)),
    "enhance noise": ((50.0, "x"), lambda value: longexposure.enhance(IMAGE, "gaussian", noise=value)),
    "enhance model": (PATHS, lambda value: longexposure.enhance(IMAGE, value)),
    "enhance engine": (WORDS, lambda value: longexposure.enhance(IMAGE, engine=value)),
    "load_enhancer": ((*PATHS, "", "unknown", "."), load_enhancer),
    "load_enhancer engine": (WORDS, lambda value: load_enhancer(engine=value)),
    "load_enhancer device": (WORDS, lambda value: load_enhancer(device=value)),
    "load_enhancer precision": (WORDS, lambda value: load_enhancer(precision=value)),
    "load_enhancer core_px": ((0, "64", 1.5), lambda value: load_enhancer("gaussian", core_px=value)),
    "estimate_noise": ((*IMAGES, np.stack([IMAGE] * 9)), longexposure.estimate_noise),
    "estimate_noise grey": ((5, "a", []), lambda value: longexposure.estimate_noise(IMAGE, value)),
    "estimate_noise aside": ((5, IMAGE > 0), lambda value: longexposure.estimate_noise(IMAGE, None, value)),
    "read_radiograph": ((*PATHS, "", ".", "none.tif"), longexposure.read_radiograph),
    "write_radiograph": (
        (None, 5, IMAGE, "in.tif", object()),
        lambda value: longexposure.write_radiograph(value, "out.tif"),
    ),
    "write_radiograph path": (
        (*PATHS, "", ".", "out", "out.jpg"),
        lambda value: longexposure.write_radiograph(Radiograph(IMAGE), value),
    ),
    "write_radiograph overwrite": (
        FLAGS,
        lambda value: longexposure.write_radiograph(Radiograph(IMAGE), "out.tif", overwrite=value),
    ),
    "Radiograph": (IMAGES[:-5], Radiograph),
    "Radiograph colours": (IMAGES[-3:], Radiograph),
    "Radiograph domain": (WORDS, lambda value: Radiograph(IMAGE, domain=value)),
    "Radiograph polarity": (WORDS, lambda value: Radiograph(IMAGE, polarity=value)),
    "Radiograph pitch": (
        (5, "5", (1,), (1, 2, 3), (0, 1), (1, -1), (1, float("nan")), ("1", "1"), IMAGE),
        lambda value: Radiograph(IMAGE, pitch_um=value),
    ),
    "Radiograph resolution": ((5, "x"), lambda value: Radiograph(IMAGE, resolution=value)),
    "Radiograph description": ((5, None, b""), lambda value: Radiograph(IMAGE, description=value)),
    "Radiograph exposure": ((5, [], "x"), lambda value: Radiograph(IMAGE, exposure=value)),
    "Radiograph source": ((5, "in.tif"), lambda value: Radiograph(IMAGE, source=value)),
    "Radiograph history": ((None, 5, [], "x"), lambda value: Radiograph(IMAGE, history=value)),
    "NoiseProfile level": (NUMBERS, lambda value: NoiseProfile(level=value, sigma=1.0)),
    "NoiseProfile sigma": ((*NUMBERS, -1.0), lambda value: NoiseProfile(level=0.0, sigma=value)),
    "NoiseProfile slope": (NUMBERS, lambda value: NoiseProfile(level=0.0, sigma=1.0, slope=value)),
    "NoiseProfile corr_x": ((*NUMBERS, 1.5), lambda value: NoiseProfile(level=0.0, sigma=1.0, corr_x=value)),
    "NoiseProfile curve": (
        (
            None,
            5,
            "x",
            (1,),
            ((1, 2),),
            ((1, 2, 3), (2, 3, 4)),
            ((2, 1), (1, 1)),
            ((1, 0), (2, 1)),
            (("a", 1), (2, 1)),
        ),
        lambda value: NoiseProfile(level=0.0, sigma=1.0, curve=value),
    ),
    "NoiseProfile origin": (WORDS, lambda value: NoiseProfile(level=0.0, sigma=1.0, origin=value)),
    "read_calibration": ((*PATHS, "", ".", "none.toml"), read_calibration),
    "read_header": ((*PATHS, "", "."), read_header),
    "read_checkpoint": ((*PATHS, "", "."), read_checkpoint),
    "load_recipe": ((*PATHS, "", ".", "none.toml"), load_recipe),
    "load_recipe overrides": (
        (5, "steps=1", [5], [None], ["steps"]),
        lambda value: load_recipe("fast-first", value),
    ),
    "recipe_from": ((None, 5, "x", [], {}, {1: 2}, {"name": object()}), lambda v: recipe_from(v, where="x")),
    "load_machine": ((*PATHS, "", ".", "S9", "none.toml"), load_machine),
    "load_machine overrides": ((5, "a=1", [5], ["a"]), lambda value: load_machine("S1", value)),
    "expand_inputs": ((None, 5, "in.tif", [], [None], [5]), expand_inputs),
    "check_pairs": ((*PATHS, "", "none"), check_pairs),
    "evaluate": ((*PATHS, "none"), lambda value: evaluate(value, ["gaussian"])),
    "export": ((*PATHS, "none"), lambda value: export(value, Path("out.onnx"))),
    "export out": ((*PATHS, ".", "out.xml"), lambda value: export("fast", value)),
    "export format": (WORDS, lambda value: export("fast", "out.onnx", format=value)),
    "psnr": ((*IMAGES[:8], IMAGE[:5], IMAGES[19]), lambda value: psnr(value, IMAGE, data_range=1.0)),
    "ssim": ((*IMAGES[:8], IMAGE[:5], IMAGES[19]), lambda value: ssim(value, IMAGE, data_range=1.0)),
    "rmse": ((*IMAGES[:8], IMAGE[:5], IMAGES[19]), lambda value: rmse(value, IMAGE)),
    "psnr range": ((*NUMBERS, 0.0, -1.0), lambda value: psnr(IMAGE, IMAGE + 1, data_range=value)),
    "ssim range": ((*NUMBERS, 0.0, -1.0), lambda value: ssim(IMAGE, IMAGE + 1, data_range=value)),
}


@pytest.mark.parametrize(("values", "call"), ENHANCING.values(), ids=ENHANCING)
def test_an_enhancer_refuses_what_it_cannot_take(
    values: tuple[object, ...], call: Callable[[Enhancer, Any], object], filter_: Enhancer
) -> None:
    for value in values:
        _refused(lambda value=value: call(filter_, value))


@pytest.mark.parametrize(("values", "call"), CALLS.values(), ids=CALLS)
def test_a_function_refuses_what_it_cannot_take(
    values: tuple[object, ...],
    call: Callable[[Any], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in values:
        _refused(lambda value=value: call(value))
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_way_out(filter_: Enhancer) -> None:
    colours = _refused(lambda: filter_.enhance(np.stack([IMAGE] * 3, axis=-1)))
    assert "image[..., 0]" in colours.advice
    assert "filled" in _refused(lambda: filter_.enhance(np.ma.array(IMAGE))).advice
    assert "NoiseProfile(" in _refused(lambda: filter_.enhance(IMAGE, noise=50.0)).advice  # type: ignore[call-overload]
    assert "Radiograph(pixels)" in _refused(lambda: longexposure.write_radiograph(IMAGE, "a.tif")).advice  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape", [(9, 12), (3, 9, 12), (1, 9, 12), (4, 9, 3), (2, 2, 4), (12, 3, 9), (5, 9, 5), (4, 4, 4)]
)
def test_stacks_are_told_from_colours(shape: tuple[int, ...], filter_: Enhancer) -> None:
    assert filter_.enhance(
        noisy(shape=(40, 48))[: shape[-2], : shape[-1]][(None,) * (len(shape) - 2)]
    ).ndim == len(shape)
    image = np.resize(noisy(), shape)
    assert filter_.enhance(image).shape == shape


DEEP, LONG = "[" * 5000 + "]" * 5000, "9" * 5000
WRONG = {
    "empty": b"",
    "zeros": bytes(100),
    "binary": bytes(range(256)),
    "utf-16": "name = 1".encode("utf-16"),
    "text": b"no document",
    "number": b"5",
    "list": b"[1, 2]",
    "null": b"null",
    "deep list": DEEP.encode(),
    "deep value": f"a = {DEEP}".encode(),
    "deep table": ("[" + ".".join("a" * 3000) + "]\nb = 1").encode(),
    "deep key": (".".join("a" * 3000) + " = 1").encode(),
    "deep object": ('{"a":' * 5000 + "1" + "}" * 5000).encode(),
    "long number": f"a = {LONG}".encode(),
    "long hexadecimal number": f"a = 0x{'f' * 5000}".encode(),
    "long json number": f'{{"a": {LONG}}}'.encode(),
    "pairs is a number": b"pairs = 5",
    "pairs is a text": b'pairs = "a"',
    "pairs is a list of numbers": b"pairs = [1, 2]",
    "pairs is a table": b"[pairs]\nlq = 1\nhq = 2",
    "pairs hold numbers": b"[[pairs]]\nlq = 1\nhq = 2",
    "pairs hold tables": b"[[pairs]]\nlq = { a = 1 }\nhq = [1]",
    "pairs hold zeros": b'[[pairs]]\nlq = "\\u0000"\nhq = "\\u0000"',
    "dates": b"steps = 2020-01-01\nname = 07:32:00",
    "not finite": b"steps = nan\nname = inf",
}
READERS: dict[str, Callable[[Path], object]] = {
    "recipe.toml": load_recipe,
    "machine.toml": load_machine,
    "calibration.toml": read_calibration,
    "document.toml": lambda path: read_document(path, advice="correct it"),
    "truth.json": read_truth,
    "model.safetensors": read_header,
    "weights.safetensors": load_enhancer,
    "image.tif": longexposure.read_radiograph,
    "manifest.toml": check_pairs,
    "manifest.csv": check_pairs,
    "exported.json": lambda path: read_exported(path.with_suffix(".onnx")),
}
ACCEPTED = {
    *(
        ("document.toml", name)
        for name in WRONG
        if name in ("empty", "dates", "not finite") or "pairs" in name
    ),
    *(("manifest.toml", name) for name in WRONG if name.startswith("pairs hold")),
}
"""Tables they are, whatever they mean; of pairs the report says what is wrong."""


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_what_is_no_such_file(
    name: str, content: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).with_suffix(".onnx").write_bytes(b"onnx")
    wrong = next(key for key, value in WRONG.items() if value == content)
    if (name, wrong) not in ACCEPTED:
        _refused(lambda: READERS[name](tmp_path / name))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
RECIPE = {
    "name": "tiny",
    "steps": 2,
    "network": {"kind": "fast", "width": 8, "blocks": 1},
    "data": DATA,
    "validation": {"count": 1, "size_px": 32},
    "optimiser": {"batch": 2, "warmup_steps": 1, "betas": [0.9, 0.99]},
}


def _places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index of a document, tables and lists themselves too."""
    inner = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    return [place for key, value in inner for place in ((*path, key), *_places(value, (*path, key)))]


def _changed(values: Any, place: tuple[Any, ...], odd: Any) -> Any:
    changed = json.loads(json.dumps(values))
    table = changed
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = odd
    return changed


def _read_or_refused(call: Callable[[], object]) -> None:
    try:
        call()
    except LongExposureError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_recipe_with_an_odd_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(_places(RECIPE)))
    _read_or_refused(lambda: recipe_from(_changed(RECIPE, place, data.draw(ODD)), where="recipe"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_machine_with_an_odd_value_anywhere_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = tomllib.loads(BALL_GRID)
    changed = _changed(values, data.draw(st.sampled_from(_places(values))), data.draw(ODD.filter(_in_toml)))
    path = tmp_path_factory.mktemp("machine") / "m.toml"
    path.write_text(tomli_w.dumps(changed), encoding="utf-8")
    _read_or_refused(lambda: load_machine(path))


def _in_toml(value: Any) -> bool:
    if value is None:
        return False
    try:
        tomli_w.dumps({"a": value}).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the default's exported file, to tamper with what lies beside it."""
    folder = tmp_path_factory.mktemp("exported")
    weights = shipped_weights()["fast"]
    for suffix in (".safetensors", ".onnx", ".json"):
        shutil.copy(weights.with_suffix(suffix), folder)
    return folder / "fast.onnx"


def test_what_lies_beside_an_exported_file_is_checked(exported: Path) -> None:
    beside = exported.with_suffix(".json")
    values = json.loads(beside.read_text(encoding="utf-8"))
    read_exported(exported)
    for place in _places(values):
        for odd in (None, "x", -1, 0, 1.5, 10**9, [], {}, [1, "a"], float("nan")):
            if place[-1] == "weights_sha256" or (place[-1] == "error_left" and isinstance(odd, int | float)):
                continue
            if place[-1] in ("bytes_per_px", "receptive_field") and odd == 0:
                continue
            beside.write_text(json.dumps(_changed(values, place, odd)), encoding="utf-8")
            try:
                found = read_exported(exported)
            except LongExposureError:
                continue
            assert all(probe.tile.size and probe.tile.ndim == 3 for probe in found.probes), (place, odd)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_checkpoint_with_an_odd_header_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header, weights = read_checkpoint(shipped_weights()["fast"])
    values = header.model_dump(mode="json")
    place = data.draw(st.sampled_from(_places(values)))
    path = tmp_path_factory.mktemp("odd") / "odd.safetensors"
    try:
        changed = type(header).model_construct(**_changed(values, place, data.draw(ODD)))
        path.write_bytes(checkpoint_bytes(changed, weights))
    except Exception:  # it cannot even be written
        return
    _read_or_refused(lambda: load_enhancer(path, engine="torch"))
