"""The difference of two batches of images, which every term of the loss starts from."""

from __future__ import annotations

import torch

from longexposure.errors import InputError


def difference(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Prediction minus target, (B, C, H, W), in float32 at least.

    Raises:
        InputError: shapes differ or are not four-dimensional.
    """
    if prediction.shape != target.shape or prediction.ndim != 4:
        raise InputError(
            where="loss",
            expected="prediction and target of one shape (B, C, H, W)",
            found=f"{tuple(prediction.shape)} and {tuple(target.shape)}",
            advice="compare images of one size and keep the batch and channel dimensions",
        )
    double = torch.float64 in (prediction.dtype, target.dtype)
    dtype = torch.float64 if double else torch.float32
    return prediction.to(dtype) - target.to(dtype)
