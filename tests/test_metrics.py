import math
import tracemalloc
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from longexposure import metrics as fidelity
from longexposure.errors import InputError
from longexposure.metrics import bias_removed_psnr, psnr, rmse, ssim


class Law(NamedTuple):
    """A metric as every other one is called, the score of an image beside itself, and which way is better."""

    score: Callable[..., float]
    perfect: float
    higher_is_better: bool


METRICS = {
    "psnr": Law(psnr, math.inf, higher_is_better=True),
    "ssim": Law(ssim, 1.0, higher_is_better=True),
    "rmse": Law(lambda image, reference, *, data_range: rmse(image, reference), 0.0, higher_is_better=False),
    "bias_removed_psnr": Law(bias_removed_psnr, math.inf, higher_is_better=True),
}


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = rng.random((24, 30)).astype(np.float32)
    return reference + 0.1 * rng.standard_normal((24, 30)).astype(np.float32), reference


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio as torchmetrics_psnr,
    )
    from torchmetrics.functional.image import (
        structural_similarity_index_measure as torchmetrics_ssim,
    )

SHAPES = [(11, 11), (64, 48), (37, 131)]
RANGES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def _pair(shape: tuple[int, int], dtype: str = "float32", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    reference = 0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7)
    image = np.clip(reference + 0.05 * rng.standard_normal(shape), 0, 1)
    scale = RANGES[dtype]
    return (image * scale).astype(dtype), (reference * scale).astype(dtype)


def _ssim_by_scikit_image(image: np.ndarray, reference: np.ndarray, data_range: float) -> float:
    return structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_scikit_image(shape, dtype):
    image, reference = _pair(shape, dtype)
    expected = _ssim_by_scikit_image(image, reference, RANGES[dtype])
    assert ssim(image, reference, data_range=RANGES[dtype]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rows", [1, 3, 26, 27])
def test_strips_do_not_change_a_score(monkeypatch, rows):
    image, reference = _pair((37, 131))
    whole = {name: metric.score(image, reference, data_range=1.0) for name, metric in METRICS.items()}
    monkeypatch.setattr(fidelity, "_STRIP_PIXELS", rows * 131)
    for name, metric in METRICS.items():
        assert metric.score(image, reference, data_range=1.0) == pytest.approx(whole[name], rel=1e-12)


def test_ssim_equals_torchmetrics_on_the_valid_area():
    image, reference = _pair((64, 48))
    _, full = torchmetrics_ssim(
        torch.from_numpy(image)[None, None].double(),
        torch.from_numpy(reference)[None, None].double(),
        data_range=1.0,
        return_full_image=True,
    )
    expected = full[0, 0, 5:-5, 5:-5].mean().item()
    assert ssim(image, reference, data_range=1.0) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("shape", [(1, 1), *SHAPES])
def test_psnr_equals_scikit_image_and_torchmetrics(shape, dtype):
    image, reference = _pair(shape, dtype)
    ours = psnr(image, reference, data_range=RANGES[dtype])
    wide = image.astype(np.float64), reference.astype(np.float64)
    assert ours == pytest.approx(peak_signal_noise_ratio(wide[1], wide[0], data_range=RANGES[dtype]))
    theirs = torchmetrics_psnr(torch.from_numpy(wide[0]), torch.from_numpy(wide[1]), data_range=RANGES[dtype])
    assert ours == pytest.approx(theirs.item(), rel=1e-5)


def test_unsigned_grey_values_do_not_wrap_around():
    image, reference = np.zeros((12, 12), np.uint8), np.full((12, 12), 10, np.uint8)
    assert rmse(image, reference) == 10.0
    assert rmse(image.astype(np.uint16), reference) == 10.0


def test_psnr_of_a_known_error():
    image = np.full((4, 6), 0.1)
    assert psnr(image, np.zeros((4, 6)), data_range=1.0) == pytest.approx(20.0)
    assert psnr(image, np.zeros((4, 6)), data_range=10.0) == pytest.approx(40.0)


def test_bias_removed_psnr_ignores_a_shift_of_brightness():
    image, reference = _pair((40, 40))
    shifted = image.astype(np.float64) + 0.2
    aligned = bias_removed_psnr(shifted, reference, data_range=1.0)
    assert aligned == pytest.approx(bias_removed_psnr(image, reference, data_range=1.0), rel=1e-9)
    assert aligned > psnr(shifted, reference, data_range=1.0) + 5


def test_bias_removed_psnr_equals_psnr_of_centred_images():
    image, reference = (array.astype(np.float64) for array in _pair((40, 40)))
    expected = psnr(image - image.mean(), reference - reference.mean(), data_range=1.0)
    assert bias_removed_psnr(image, reference, data_range=1.0) == pytest.approx(expected)


def test_bias_removed_psnr_is_never_below_psnr():
    image, reference = np.array([[1.0, -1.0]]), np.array([[0.1, -0.1]])
    assert bias_removed_psnr(image, reference, data_range=1.0) >= psnr(image, reference, data_range=1.0)


def test_a_constant_difference_is_infinitely_good_after_bias_removal():
    image = np.arange(144, dtype=np.uint16).reshape(12, 12)
    assert bias_removed_psnr(image + 7, image, data_range=65535) == math.inf


def test_memory_stays_far_below_a_float64_copy():
    image = np.zeros((2000, 2500), np.uint16)
    image[::3, ::5] = 60000
    reference = np.roll(image, 1)
    tracemalloc.start()
    for metric in METRICS.values():
        metric.score(image, reference, data_range=65535)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.size * 8 * 0.75


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
def test_ssim_refuses_images_smaller_than_its_window(shape):
    with pytest.raises(InputError, match="at least 11 x 11"):
        ssim(np.zeros(shape), np.zeros(shape), data_range=1.0)


@pytest.mark.parametrize("function", [psnr, ssim, bias_removed_psnr])
def test_data_range_has_no_default(function):
    with pytest.raises(TypeError, match="data_range"):
        function(np.zeros((12, 12)), np.zeros((12, 12)))


every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@every_metric
def test_an_image_scores_perfectly_against_itself(metric, pair):
    assert metric.score(pair[0], pair[0], data_range=1.0) == pytest.approx(metric.perfect, abs=1e-12)


@every_metric
def test_image_and_reference_may_trade_places(metric, pair):
    forth = metric.score(pair[0], pair[1], data_range=1.0)
    assert metric.score(pair[1], pair[0], data_range=1.0) == pytest.approx(forth, rel=1e-12)


@every_metric
def test_more_noise_scores_worse(metric, pair):
    image, reference = pair
    worse = reference + 3 * (image - reference)
    good = metric.score(image, reference, data_range=1.0)
    bad = metric.score(worse, reference, data_range=1.0)
    assert (good > bad) == metric.higher_is_better
    assert good != bad


@every_metric
def test_grey_values_of_any_type_score_as_their_float64(metric):
    rng = np.random.default_rng(0)
    image, reference = rng.integers(0, 256, (2, 16, 20)).astype(np.uint8)
    expected = metric.score(image.astype(np.float64), reference.astype(np.float64), data_range=255)
    for dtype in (np.uint8, np.uint16, np.int32, np.float16, np.float32, ">u2"):
        score = metric.score(image.astype(dtype), reference.astype(dtype), data_range=255)
        assert score == pytest.approx(expected, rel=1e-12)


@every_metric
def test_inputs_are_not_modified(metric, pair):
    before = [array.copy() for array in pair]
    for array in pair:
        array.flags.writeable = False
    metric.score(*pair, data_range=1.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, pair, strict=True))


@every_metric
@pytest.mark.parametrize("shape", [(24, 31), (30, 24), (1, 24, 30), (24,)])
def test_another_shape_is_refused_and_both_are_named(metric, pair, shape):
    with pytest.raises(InputError) as caught:
        metric.score(np.zeros(shape), pair[1], data_range=1.0)
    assert str(shape) in str(caught.value)
    assert "(24, 30)" in str(caught.value)


@every_metric
@pytest.mark.parametrize("shape", [(2, 24, 30), (0, 5), ()])
def test_what_is_not_an_image_is_refused(metric, shape):
    with pytest.raises(InputError, match=r"\(H, W\)"):
        metric.score(np.zeros(shape), np.zeros(shape), data_range=1.0)


@every_metric
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_are_refused(metric, pair, value, side):
    pair[side][3, 4] = value
    with pytest.raises(InputError, match="finite grey values"):
        metric.score(*pair, data_range=1.0)


@pytest.mark.parametrize("name", ["psnr", "ssim", "bias_removed_psnr"])
@pytest.mark.parametrize("data_range", [0, -1.0, float("nan"), float("inf")])
def test_an_impossible_data_range_is_refused(name, pair, data_range):
    with pytest.raises(InputError, match="data_range"):
        METRICS[name].score(*pair, data_range=data_range)
