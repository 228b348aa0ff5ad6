"""What counts as structure at the limit of visibility, and what the loss makes of it."""

from __future__ import annotations

import math

import pytest
import torch

from longexposure.train.losses import LossConfig, training_loss
from longexposure.train.losses.structure import FAINT, faint_structure

SIGMA = torch.tensor([0.05])


def dot(height: float) -> torch.Tensor:
    """One pixel in the middle of a plain image."""
    image = torch.full((1, 1, 15, 15), 0.5, dtype=torch.float64)
    image[..., 7, 7] += height
    return image


@pytest.mark.parametrize("height", [0.02, 0.1, -0.1, 0.7])
def test_a_dot_counts_by_its_distance_from_its_surroundings(height: float) -> None:
    found = faint_structure(dot(height), SIGMA)
    t = abs(height) * 48 / 49 / (FAINT * 0.05)
    assert found[0, 0, 7, 7] == pytest.approx(t * math.exp(1 - t))
    t = abs(height) / 49 / (FAINT * 0.05)
    assert found[0, 0, 5, 9] == pytest.approx(t * math.exp(1 - t))
    assert (found[0, 0, :4] == 0).all()


def test_it_is_at_most_one_where_structure_is_twice_the_noise() -> None:
    heights = torch.linspace(0, 30, 400, dtype=torch.float64) * 0.05 * 49 / 48
    found = torch.stack([faint_structure(dot(float(height)), SIGMA)[0, 0, 7, 7] for height in heights])
    assert found.max() == pytest.approx(1, abs=1e-3)
    assert heights[found.argmax()] * 48 / 49 == pytest.approx(FAINT * 0.05, rel=0.03)
    assert found[-1] < 1e-4, "a strong edge is in no danger"


def test_plain_areas_and_slopes_do_not_count() -> None:
    slope = torch.linspace(0, 1, 64, dtype=torch.float64).expand(1, 1, 64, 64)
    assert faint_structure(slope, SIGMA)[..., 3:-3].abs().max() < 1e-12
    assert faint_structure(torch.full((1, 1, 16, 16), 0.3), SIGMA).abs().max() < 1e-5


def test_noise_of_each_image_is_its_own() -> None:
    images, sigma = torch.cat([dot(0.1), dot(0.2)]), torch.tensor([0.05, 0.1])
    found = faint_structure(images, sigma)
    torch.testing.assert_close(found[0], found[1])


def test_the_loss_weighs_each_pixel_by_it() -> None:
    target = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    prediction = target + 0.01
    sigma = torch.tensor([0.02, 0.2])
    plain = LossConfig(kind="l2", focal_frequency_weight=0, wavelet_weight=0)
    weighed = plain.model_copy(update={"structure_weight": 4.0})
    alone = training_loss(prediction, target, config=plain, sigma=sigma)[0]
    found = training_loss(prediction, target, config=weighed, sigma=sigma)[0]
    fraction = faint_structure(target, sigma).mean()
    assert found / alone == pytest.approx(float(1 + 4 * fraction), rel=1e-4)
    assert training_loss(prediction, target, config=weighed)[0] == alone, "told no noise, all count alike"


def test_no_gradient_flows_through_the_weights() -> None:
    target = dot(0.1).float().requires_grad_()
    prediction = target.detach().clone().requires_grad_()
    config = LossConfig(
        kind="l1", focal_frequency_weight=0, wavelet_weight=0, noise_exponent=0.5, structure_weight=3
    )
    training_loss(prediction + 0.01, target, config=config, sigma=SIGMA)[0].backward()
    assert target.grad is not None
    assert prediction.grad is not None
    torch.testing.assert_close(target.grad, -prediction.grad)


def test_recipes_without_it_stay_what_they_were() -> None:
    assert "structure_weight" not in LossConfig().model_dump()
    assert LossConfig(structure_weight=2).model_dump()["structure_weight"] == 2
