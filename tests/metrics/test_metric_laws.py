import numpy as np
import pytest

from longexposure.errors import InputError
from longexposure.metrics import METRICS


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = rng.random((24, 30)).astype(np.float32)
    return reference + 0.1 * rng.standard_normal((24, 30)).astype(np.float32), reference


every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@every_metric
def test_an_image_scores_perfectly_against_itself(metric, pair):
    assert metric.score(pair[0], pair[0], data_range=1.0) == pytest.approx(metric.perfect, abs=1e-12)


@every_metric
def test_image_and_reference_may_trade_places_where_stated(metric, pair):
    if metric.symmetric:
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
