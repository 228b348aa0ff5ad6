"""Antialiased bicubic downsampling, the low-pass of the paper's rows without a denoising module."""

from __future__ import annotations

import torch
from torch.nn import functional

from longexposure.errors import InputError

SHARPNESS = -0.5
"""The kernel's free parameter a; -0.5 interpolates quadratics exactly (Keys, 1981)."""


def bicubic_downsample(image: torch.Tensor, scale: int) -> torch.Tensor:
    """Shrink by an integer factor with the cubic kernel stretched to that factor.

    The stretched kernel spans 4 * scale input pixels, so it suppresses what the coarse grid cannot
    hold; white noise keeps 0.041 of its variance at scale 4. At the image border the kernel is cut
    and its remaining taps scaled to sum to 1. Computed in float32 under autocast.

    Args:
        image: (B, C, H, W), H and W multiples of `scale`.
        scale: 1 (a plain copy) or an even factor.

    Returns:
        (B, C, H / scale, W / scale).

    Raises:
        InputError: an odd scale above 1.
    """
    if scale == 1:
        return image.clone()
    with torch.autocast(image.device.type, enabled=False):
        dtype = torch.promote_types(image.dtype, torch.float32)
        kernel = torch.tensor(bicubic_taps(scale), dtype=dtype, device=image.device)
        shrunk = _along_width(image.to(dtype), kernel, scale)
        shrunk = _along_width(shrunk.transpose(-1, -2), kernel, scale).transpose(-1, -2)
    return shrunk.to(image.dtype).contiguous()


def bicubic_taps(scale: int) -> list[float]:
    """The 4 * scale weights of one output pixel along one axis; they sum to 1.

    The first belongs to the input pixel 1.5 * scale before the first of the output pixel's own.

    Raises:
        InputError: an odd scale.
    """
    if scale < 2 or scale % 2:
        raise InputError(
            where="bicubic downsampling",
            expected="a scale of 1 or an even scale",
            found=str(scale),
            advice="use scale 2 or 4",
        )
    distances = [abs(k + 0.5 - 2 * scale) / scale for k in range(4 * scale)]
    weights = [_cubic(distance) for distance in distances]
    return [weight / sum(weights) for weight in weights]


def _cubic(x: float) -> float:
    a = SHARPNESS
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _along_width(image: torch.Tensor, kernel: torch.Tensor, scale: int) -> torch.Tensor:
    batch, channels, height, width = image.shape
    padding = (0, 3 * scale // 2)
    rows = image.reshape(batch * channels, 1, height, width)
    filtered = functional.conv2d(rows, kernel.view(1, 1, 1, -1), stride=(1, scale), padding=padding)
    inside = image.new_ones(1, 1, 1, width)
    covered = functional.conv2d(inside, kernel.view(1, 1, 1, -1), stride=(1, scale), padding=padding)
    return (filtered / covered).reshape(batch, channels, height, -1)
