import math

import numpy as np
import pytest
import pywt
import torch

from longexposure.errors import InputError
from longexposure.train.losses import band_weights, wavelet_high_frequency_loss


def _difference(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _bands_by_pywavelets(image: np.ndarray, levels: int) -> float:
    _, *details = pywt.wavedec2(image, "haar", mode="periodization", level=levels)
    total = 0.0
    for level, (horizontal, vertical, diagonal) in zip(range(levels, 0, -1), details, strict=True):
        high, low = 0.75 * 2.0**-level, 0.25 * 2.0**-level
        finest = math.hypot(0.375, 0.375)
        total += math.hypot(high, low) / finest * (np.abs(horizontal).sum() + np.abs(vertical).sum())
        total += math.hypot(high, high) / finest * np.abs(diagonal).sum()
    return total / image.size


def _packet_by_pywavelets(image: np.ndarray, levels: int) -> float:
    packet = pywt.WaveletPacket2D(image, "haar", mode="periodization", maxlevel=levels)
    rows = packet.get_level(levels, order="freq")
    size = 2**levels
    finest = math.hypot(size - 0.5, size - 0.5)
    total = 0.0
    for i, row in enumerate(rows):
        for j, node in enumerate(row):
            weight = math.hypot(i + 0.5, j + 0.5) / finest if i or j else 0.0
            total += weight * np.abs(node.data).sum()
    return total / image.size


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(
    ("variant", "oracle"), [("bands", _bands_by_pywavelets), ("packet", _packet_by_pywavelets)]
)
def test_equals_pywavelets(variant, oracle, levels):
    image = _difference(1, 1, 24, 40)
    image[..., 3:20, 5:9] += 2.0  # structure with a direction, so that mixed-up axes show
    ours = wavelet_high_frequency_loss(image, torch.zeros_like(image), levels=levels, variant=variant)
    assert ours.item() == pytest.approx(oracle(image[0, 0].numpy(), levels), rel=1e-12)


def test_weights_are_those_of_the_reconstruction():
    expected = [(0.745, 1.0), (0.373, 0.5), (0.186, 0.25)]
    assert band_weights(3) == [pytest.approx(pair, abs=5e-4) for pair in expected]


def test_white_residual_gives_0_71_of_its_mean_absolute_value():
    residual = _difference(1, 1, 1024, 1024)
    loss = wavelet_high_frequency_loss(residual, torch.zeros_like(residual))
    assert (loss / residual.abs().mean()).item() == pytest.approx(0.71, abs=0.005)


@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_a_finer_stripe_of_equal_size_costs_more(variant):
    x = torch.arange(64)
    losses = [
        wavelet_high_frequency_loss(
            (1.0 - 2.0 * ((x // period) % 2)).expand(1, 1, 64, 64), torch.zeros(1, 1, 64, 64), variant=variant
        ).item()
        for period in (1, 2, 4)
    ]
    assert losses[0] > losses[1] > losses[2] > 0


@pytest.mark.parametrize("variant", ["bands", "packet"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 23)])
def test_a_constant_offset_costs_nothing_at_any_size(variant, size):
    target = _difference(2, 1, *size).float()
    loss = wavelet_high_frequency_loss(target + 0.25, target, variant=variant)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_an_awkward_size_equals_repeating_the_last_row_and_column(variant):
    residual = _difference(2, 1, 13, 18)
    extended = torch.from_numpy(np.pad(residual.numpy(), ((0, 0), (0, 0), (0, 3), (0, 6)), mode="edge"))
    zero = torch.zeros_like(residual)
    loss = wavelet_high_frequency_loss(residual, zero, variant=variant)
    torch.testing.assert_close(
        loss, wavelet_high_frequency_loss(extended, torch.zeros_like(extended), variant=variant)
    )


@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_gradient_is_correct(variant):
    residual = _difference(1, 1, 4, 5).requires_grad_()

    def loss(prediction: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(prediction)
        return wavelet_high_frequency_loss(prediction, zero, levels=2, variant=variant)

    assert torch.autograd.gradcheck(loss, residual)


@pytest.mark.parametrize("variant", ["bands", "packet"])
def test_is_float32_under_autocast_and_for_half_input(variant):
    prediction, target = _difference(2, 1, 16, 16).float(), _difference(2, 1, 16, 16, seed=1).float()
    plain = wavelet_high_frequency_loss(prediction, target, variant=variant)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(wavelet_high_frequency_loss(prediction, target, variant=variant), plain)
    assert (
        wavelet_high_frequency_loss(prediction.half(), target.half(), variant=variant).dtype == torch.float32
    )


def test_refuses_another_shape_and_names_both():
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\) and \(2, 1, 8, 8\)"):
        wavelet_high_frequency_loss(torch.zeros(1, 1, 8, 8), torch.zeros(2, 1, 8, 8))
