import itertools

import pytest
import torch
from focal_frequency_loss import FocalFrequencyLoss

from longexposure.errors import InputError
from longexposure.train.losses import focal_frequency_loss


def _pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator)
    return target + 0.1 * torch.randn(shape, generator=generator), target


FLAGS = list(itertools.product((0.5, 1.0, 2.0), (1, 2, 3), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize(("alpha", "factor", "average", "log", "batch"), FLAGS)
def test_value_and_gradient_equal_the_authors_package(alpha, factor, average, log, batch):
    prediction, target = _pair(3, 1, 24, 18)
    theirs_input = prediction.clone().requires_grad_()
    theirs = FocalFrequencyLoss(
        alpha=alpha, patch_factor=factor, ave_spectrum=average, log_matrix=log, batch_matrix=batch
    )(theirs_input, target)
    theirs.backward()
    ours_input = prediction.clone().requires_grad_()
    ours = focal_frequency_loss(
        ours_input,
        target,
        alpha=alpha,
        patch_factor=factor,
        average_spectrum=average,
        log_matrix=log,
        batch_matrix=batch,
    )
    ours.backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours_input.grad, theirs_input.grad, rtol=1e-4, atol=1e-6)
    assert theirs > 1e-4


def test_a_given_weight_matrix_equals_the_authors_package():
    prediction, target = _pair(2, 1, 16, 16)
    matrix = torch.rand(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = FocalFrequencyLoss(patch_factor=2)(prediction, target, matrix=matrix)
    ours = focal_frequency_loss(prediction, target, patch_factor=2, weight_matrix=matrix)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_no_gradient_flows_through_the_weight():
    prediction, target = _pair(1, 1, 8, 8)
    prediction = prediction.double().requires_grad_()
    focal_frequency_loss(prediction, target.double()).backward()
    spectrum = torch.fft.fft2(prediction.detach() - target.double(), norm="ortho")
    weight = spectrum.abs() / spectrum.abs().max()
    expected = torch.fft.ifft2(2 * weight * spectrum, norm="ortho").real / 64
    torch.testing.assert_close(prediction.grad, expected)


def test_unit_weight_gives_the_mean_squared_error():
    prediction, target = _pair(2, 1, 15, 22)
    mse = torch.nn.functional.mse_loss(prediction, target)
    torch.testing.assert_close(focal_frequency_loss(prediction, target, alpha=0.0), mse)


def test_never_exceeds_the_mean_squared_error():
    prediction, target = _pair(2, 1, 32, 32)
    assert focal_frequency_loss(prediction, target) < torch.nn.functional.mse_loss(prediction, target)


@pytest.mark.parametrize("batch_matrix", [False, True])
def test_equal_images_give_zero_and_a_finite_gradient(batch_matrix):
    target = torch.rand(2, 1, 8, 8)
    prediction = target.clone().requires_grad_()
    loss = focal_frequency_loss(prediction, target, batch_matrix=batch_matrix)
    loss.backward()
    assert loss == 0
    assert torch.equal(prediction.grad, torch.zeros_like(target))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 6), (97, 31)])
def test_takes_any_size(size):
    prediction, target = _pair(1, 1, *size)
    assert torch.isfinite(focal_frequency_loss(prediction, target))


def test_is_float32_under_autocast_and_for_half_input():
    prediction, target = _pair(2, 1, 12, 20)
    plain = focal_frequency_loss(prediction, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(focal_frequency_loss(prediction, target), plain)
    half = focal_frequency_loss(prediction.bfloat16(), target)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, focal_frequency_loss(prediction.bfloat16().float(), target))


def test_refuses_another_shape_and_names_both():
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\) and \(1, 1, 8, 9\)"):
        focal_frequency_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9))


def test_refuses_a_size_that_the_patch_factor_does_not_divide():
    with pytest.raises(InputError, match="10 x 9 pixels"):
        focal_frequency_loss(torch.zeros(1, 1, 10, 9), torch.zeros(1, 1, 10, 9), patch_factor=2)
