"""Focal frequency loss: the squared distance of two spectra, weighted by where they differ most."""

from __future__ import annotations

import torch

from longexposure.errors import InputError
from longexposure.train.losses.difference import difference


def focal_frequency_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    alpha: float = 1.0,
    patch_factor: int = 1,
    average_spectrum: bool = False,
    log_matrix: bool = False,
    batch_matrix: bool = False,
    weight_matrix: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of w |F(prediction) - F(target)|^2 over images and frequencies, F the orthonormal DFT.

    The weight w = |F(prediction) - F(target)|^alpha, scaled to 0..1 by its maximum, counts as a constant:
    no gradient flows through it. With w = 1 the loss is the mean squared error (Parseval). Computed
    in float32 under autocast and for half-precision input. Source: Jiang et al., ICCV 2021, eq. 8.

    Args:
        prediction: (B, C, H, W), any size.
        target: same shape.
        alpha: exponent of the weight; 0 weighs every frequency alike.
        patch_factor: cut each image into this many tiles along each side, each with its own spectrum.
        average_spectrum: compare the spectra averaged over the batch.
        log_matrix: take ln(1 + w) before scaling.
        batch_matrix: scale by one maximum over the batch instead of one for each plane.
        weight_matrix: weights to use instead, broadcastable to (B, patch_factor^2, C, h, w) of a tile.

    Returns:
        Scalar.

    Raises:
        InputError: shapes differ, or the size is not a multiple of `patch_factor`.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        residual = difference(prediction, target)
        batch, channels, height, width = residual.shape
        if patch_factor < 1 or height % patch_factor or width % patch_factor:
            raise InputError(
                where="focal frequency loss",
                expected=f"a height and width that are multiples of patch_factor {patch_factor} >= 1",
                found=f"{height} x {width} pixels",
                advice="crop the images or use patch_factor 1",
            )
        high, wide = height // patch_factor, width // patch_factor
        grid = residual.reshape(batch, channels, patch_factor, high, patch_factor, wide)
        tiles = grid.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, patch_factor^2, C, h, w), row by row
        spectrum: torch.Tensor = torch.fft.fft2(tiles, norm="ortho")  # linear: one transform, not two
        if average_spectrum:
            spectrum = spectrum.mean(dim=0, keepdim=True)
        power = spectrum.real.square() + spectrum.imag.square()
        if weight_matrix is None:
            weight = power.detach().sqrt().pow(alpha)
            if log_matrix:
                weight = torch.log1p(weight)
            peak = weight.max() if batch_matrix else weight.amax(dim=(-2, -1), keepdim=True)
            weight = torch.nan_to_num(weight / peak, nan=0.0).clamp(0.0, 1.0)
        else:
            weight = weight_matrix.detach().to(power)
        return (weight * power).mean()
