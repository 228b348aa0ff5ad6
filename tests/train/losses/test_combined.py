import pytest
import torch
from pydantic import ValidationError

from longexposure.errors import InputError
from longexposure.train.losses import (
    LossConfig,
    focal_frequency_loss,
    training_loss,
    wavelet_high_frequency_loss,
)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 1, 16, 24, generator=generator)
    return target + 0.05 * torch.randn(3, 1, 16, 24, generator=generator), target


def test_default_is_equation_4_with_its_weights(pair):
    prediction, target = pair
    total, _ = training_loss(prediction, target, config=LossConfig())
    expected = (
        (prediction - target).abs().mean()
        + 10.0 * focal_frequency_loss(prediction, target)
        + 0.1 * wavelet_high_frequency_loss(prediction, target)
    )
    torch.testing.assert_close(total, expected)


def test_terms_add_up_to_the_total_and_are_detached(pair):
    prediction = pair[0].requires_grad_()
    total, terms = training_loss(prediction, pair[1], config=LossConfig())
    assert set(terms) == {"pixel", "focal_frequency", "wavelet"}
    assert total.requires_grad
    assert not any(term.requires_grad for term in terms.values())
    torch.testing.assert_close(sum(terms.values()), total.detach())


def test_a_weight_of_zero_leaves_its_term_out(pair):
    config = LossConfig(focal_frequency_weight=0, wavelet_weight=0)
    total, terms = training_loss(*pair, config=config)
    assert set(terms) == {"pixel"}
    torch.testing.assert_close(total, (pair[0] - pair[1]).abs().mean())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("l1", 0.04),
        ("l2", 0.0016),
        ("charbonnier", (0.0016 + 1e-6) ** 0.5),
        ("pseudo_huber", 0.01 * (1.16**0.5 - 1)),
    ],
)
def test_pixel_term_of_a_constant_difference(kind, expected):
    config = LossConfig(kind=kind, focal_frequency_weight=0, wavelet_weight=0)
    total, _ = training_loss(torch.full((1, 1, 4, 4), 0.54), torch.full((1, 1, 4, 4), 0.5), config=config)
    assert total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_variant_and_levels_reach_the_wavelet_term(pair, variant):
    config = LossConfig(wavelet_variant=variant, wavelet_levels=2, wavelet_weight=1.0)
    _, terms = training_loss(*pair, config=config)
    torch.testing.assert_close(
        terms["wavelet"], wavelet_high_frequency_loss(*pair, levels=2, variant=variant)
    )


def test_noise_exponent_one_makes_pairs_that_differ_only_in_noise_level_weigh_alike():
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.2, 0.05, 0.01])
    prediction = sigma.reshape(3, 1, 1, 1) * noise
    config = LossConfig(noise_exponent=1.0)
    each = [
        training_loss(prediction[i : i + 1], torch.zeros(1, 1, 32, 32), config=config, sigma=sigma[i : i + 1])
        for i in range(3)
    ]
    plain, _ = training_loss(0.05 * noise, torch.zeros(1, 1, 32, 32), config=LossConfig())
    for total, _ in each:
        torch.testing.assert_close(total, plain)


def test_noise_exponent_scales_each_sample_by_its_own_sigma(pair):
    prediction, target = pair
    sigma = torch.tensor([0.001, 0.004, 0.2])
    config = LossConfig(noise_exponent=0.5, focal_frequency_weight=0, wavelet_weight=0)
    total, _ = training_loss(prediction, target, config=config, sigma=sigma)
    factors = [(0.05 / 0.004) ** 0.5, (0.05 / 0.004) ** 0.5, (0.05 / 0.2) ** 0.5]
    means = [(p - t).abs().mean() for p, t in zip(prediction, target, strict=True)]
    expected = sum(f * m for f, m in zip(factors, means, strict=True)) / 3
    torch.testing.assert_close(total, expected)


def test_sigma_is_not_used_without_noise_exponent(pair):
    without, _ = training_loss(*pair, config=LossConfig())
    given, _ = training_loss(*pair, config=LossConfig(), sigma=torch.tensor([0.001, 0.1, 0.2]))
    assert torch.equal(without, given)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_is_float32_under_autocast_and_for_half_input(pair, exponent):
    config = LossConfig(noise_exponent=exponent)
    sigma = torch.tensor([0.1, 0.05, 0.02])
    half = pair[0].bfloat16()
    plain, _ = training_loss(half.float(), pair[1], config=config, sigma=sigma)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under, _ = training_loss(half, pair[1], config=config, sigma=sigma)
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, plain)


def test_inputs_are_not_modified(pair):
    before = [tensor.clone() for tensor in pair]
    training_loss(*pair, config=LossConfig(noise_exponent=1.0), sigma=torch.tensor([0.1, 0.2, 0.3]))
    assert all(torch.equal(a, b) for a, b in zip(before, pair, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "l3"},
        {"wavelet_weight": -0.1},
        {"focal_frequency_weight": float("nan")},
        {"wavelet_variant": "stationary"},
        {"noise_exponent": -1},
        {"lambda1": 10},
    ],
)
def test_config_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        LossConfig(**wrong)


def test_refuses_a_sigma_for_another_batch(pair):
    with pytest.raises(InputError, match=r"shape \(3,\), found shape \(2,\)"):
        training_loss(*pair, config=LossConfig(noise_exponent=1.0), sigma=torch.tensor([0.1, 0.2]))


def test_refuses_another_shape_and_names_both(pair):
    with pytest.raises(InputError, match=r"\(3, 1, 16, 24\) and \(3, 1, 16, 16\)"):
        training_loss(pair[0], pair[1][..., :16], config=LossConfig())


def test_pseudo_huber_is_half_the_square_near_zero_and_straight_far_away() -> None:
    config = LossConfig(kind="pseudo_huber", delta=0.1, focal_frequency_weight=0, wavelet_weight=0)

    def loss(distance: float) -> float:
        image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        return float(training_loss(image + distance, image, config=config)[0])

    assert loss(1e-5) == pytest.approx(0.5e-10, rel=1e-6)
    assert loss(101.0) - loss(100.0) == pytest.approx(0.1, rel=1e-5)
    assert loss(-3.0) == loss(3.0)


def test_pixels_of_weight_zero_do_not_count() -> None:
    prediction = torch.full((1, 1, 8, 8), 0.4, requires_grad=True)
    target, weight = torch.full((1, 1, 8, 8), 0.5), torch.ones(1, 1, 8, 8)
    target[..., :4], weight[..., :4] = 9.0, 0.0
    config = LossConfig(kind="l2", focal_frequency_weight=0, wavelet_weight=0)
    total, _ = training_loss(prediction, target, config=config, weight=weight)
    assert float(total.detach()) == pytest.approx(0.5 * 0.1**2)
    total.backward()  # type: ignore[no-untyped-call]
    assert prediction.grad is not None
    assert (prediction.grad[..., :4] == 0).all()
    assert (prediction.grad[..., 4:] != 0).all()


@pytest.mark.parametrize(
    ("changes", "alone"),
    [
        ({}, True),
        ({"noise_exponent": 1.0}, True),
        ({"kind": "l1"}, False),
        ({"wavelet_weight": 0.1}, False),
        ({"focal_frequency_weight": 1.0}, False),
        ({"structure_weight": 2.0}, False),
    ],
)
def test_least_squares_are_the_mean_square_alone(changes: dict[str, object], alone: bool) -> None:
    plain = {"kind": "l2", "focal_frequency_weight": 0, "wavelet_weight": 0}
    assert LossConfig.model_validate({**plain, **changes}).least_squares is alone
