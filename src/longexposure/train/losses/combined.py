"""The training loss: pixels, focal frequency, wavelet high frequency and features, summed."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from longexposure.errors import InputError
from longexposure.train.losses.difference import difference
from longexposure.train.losses.focal_frequency import focal_frequency_loss
from longexposure.train.losses.perceptual import PerceptualConfig, load_trunk, perceptual_loss
from longexposure.train.losses.structure import faint_structure
from longexposure.train.losses.wavelet import WaveletVariant, wavelet_high_frequency_loss

REFERENCE_SIGMA = 0.05
"""Noise level, in the unit domain, at which `noise_exponent` changes nothing."""
FAINTEST_SIGMA = 0.004
"""Noise below this level is weighed as if it were this strong."""

PixelLoss = Literal["l1", "l2", "charbonnier", "pseudo_huber"]


class LossConfig(BaseModel):
    """What the training loss is made of; a weight of 0 leaves its term out.

    Attributes:
        kind: distance of pixels: mean absolute, mean squared, mean sqrt(d^2 + 1e-6), or mean
            delta^2 (sqrt(1 + (d / delta)^2) - 1), which is half the square well below delta and goes on
            straight beyond, so that the few huge differences of a scene of little contrast do not count
            alone.
        delta: where that turns, > 0, in the unit domain after `noise_exponent`; left out of what is written
            for other kinds.
        focal_frequency_weight: lambda_1 of the paper's equation 4.
        wavelet_weight: lambda_2 of the paper's equation 4.
        wavelet_variant: "bands" or "packet", see `wavelet_high_frequency_loss`.
        wavelet_levels: depth of the wavelet transform.
        noise_exponent: 0 takes images as they are; 1 scales each pair so that its noise is equally
            strong, whatever the exposure; values between lie between.
        structure_weight: how much more a pixel counts that belongs to structure about as strong as the
            noise, see `longexposure.train.losses.structure`; for targets without noise.
        perceptual: the second term of EDCNN's loss, for which a file of weights is needed; None leaves it
            out, here and in what is written, so that recipes without it stay what they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PixelLoss = "l1"
    delta: float = Field(default=0.1, gt=0, allow_inf_nan=False, repr=False)
    focal_frequency_weight: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    wavelet_weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    wavelet_variant: WaveletVariant = "bands"
    wavelet_levels: int = Field(default=3, ge=1, le=6)
    noise_exponent: float = Field(default=0.0, ge=0, le=2)
    structure_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False, repr=False)
    perceptual: PerceptualConfig | None = Field(default=None, repr=False)

    @property
    def least_squares(self) -> bool:
        """Whether it is the mean square alone, whose least value noise of the target does not move."""
        others = (self.focal_frequency_weight, self.wavelet_weight, self.structure_weight)
        return self.kind == "l2" and self.perceptual is None and not any(others)

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.perceptual is None:
            values.pop("perceptual", None)
        if self.kind != "pseudo_huber":
            values.pop("delta", None)
        if not self.structure_weight:
            values.pop("structure_weight", None)
        return values


def training_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    config: LossConfig,
    sigma: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the terms that add up to it.

    Computed in float32, under autocast too. Source: the X-ray paper, equation 4.

    Args:
        prediction: (B, 1, H, W) in the unit domain.
        target: same shape.
        config: terms and weights.
        sigma: noise of each input, (B,) in the unit domain; with a `noise_exponent` e > 0 both images
            of a pair are multiplied by (0.05 / max(sigma, 0.004))^e first. None scales nothing, and weighs
            no structure.
        weight: how much each pixel counts in the distance of pixels, same shape as the images; None is 1.

    Returns:
        The total, a scalar to differentiate, and its terms "pixel", "focal_frequency", "wavelet" and
        "perceptual", detached, each with its weight in it.

    Raises:
        InputError: shapes differ.
        CheckpointError: the weights of the perceptual term are no longer what they were.
    """
    if sigma is not None and sigma.shape != prediction.shape[:1]:
        raise InputError(
            where="loss, sigma",
            expected=f"one noise level for each image, shape ({prediction.shape[0]},)",
            found=f"shape {tuple(sigma.shape)}",
            advice="pass one number for each image of the batch",
        )
    with torch.autocast(prediction.device.type, enabled=False):
        weights = weight
        if sigma is not None:
            level = sigma.detach().float().to(prediction.device).clamp_min(FAINTEST_SIGMA)
            if config.structure_weight > 0:
                structure = 1 + config.structure_weight * faint_structure(target.float(), level)
                weights = structure if weights is None else weights * structure
            if config.noise_exponent > 0:
                factor = (REFERENCE_SIGMA / level).pow(config.noise_exponent).reshape(-1, 1, 1, 1)
                prediction, target = prediction.float() * factor, target.float() * factor
        distance = pixel_distance(difference(prediction, target), config)
        terms = {"pixel": (distance if weights is None else weights * distance).mean()}
        if config.focal_frequency_weight > 0:
            focal = focal_frequency_loss(prediction, target)
            terms["focal_frequency"] = config.focal_frequency_weight * focal
        if config.wavelet_weight > 0:
            wavelet = wavelet_high_frequency_loss(
                prediction, target, levels=config.wavelet_levels, variant=config.wavelet_variant
            )
            terms["wavelet"] = config.wavelet_weight * wavelet
        if config.perceptual is not None:
            trunk = load_trunk(config.perceptual, prediction.device)
            features = perceptual_loss(prediction, target, trunk=trunk)
            terms["perceptual"] = config.perceptual.weight * features
        total = torch.stack(list(terms.values())).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def pixel_distance(residual: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """The distance of each pixel, see `LossConfig.kind`, of the shape of the residual."""
    if config.kind == "l1":
        return residual.abs()
    if config.kind == "l2":
        return residual.square()
    if config.kind == "charbonnier":
        return (residual.square() + 1e-6).sqrt()
    square = (residual / config.delta).square()
    return config.delta**2 * (square / (1 + (1 + square).sqrt()))  # sqrt(1 + s) - 1, exact for small s
