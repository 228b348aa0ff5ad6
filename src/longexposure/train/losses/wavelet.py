"""Wavelet-domain high-frequency loss, reconstructed."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Literal

import torch
from torch.nn import functional

from longexposure.train.losses.difference import difference

WaveletVariant = Literal["bands", "packet"]


def wavelet_high_frequency_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    levels: int = 3,
    variant: WaveletVariant = "bands",
) -> torch.Tensor:
    """Mean absolute difference in the Haar wavelet domain, weighted by the frequency of the band.

    This is a RECONSTRUCTION: the X-ray paper says that the loss lives in the wavelet domain and that its
    weights grow with frequency; wavelet, distance, weights and normalisation are our choice. The
    transform is orthonormal and the sum is divided by the number of pixels, not by the number of
    coefficients of each band, which would undo the weights. White noise of mean absolute value m
    gives about 0.71 m. A constant offset gives 0. Computed in float32 under autocast.

    Variant "bands": `levels` of the discrete wavelet transform; the weight of a detail band is its
    radial centre frequency relative to the finest diagonal band (`band_weights`), the last low-pass
    band counts nothing. Variant "packet": the full wavelet packet of that depth, 2^levels x 2^levels
    equal bands, weighted by their radial centre frequency, the lowest band counts nothing.

    A size that is no multiple of 2^levels is extended at the bottom and right by repeating the last
    row and column of the difference; the mean is then over the extended image.

    Args:
        prediction: (B, C, H, W), any size.
        target: same shape.
        levels: depth of the transform, >= 1.
        variant: see above.

    Returns:
        Scalar.

    Raises:
        InputError: shapes differ.

    Source: after Kim and Cho, WACV 2023, as described in the X-ray paper.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        residual = difference(prediction, target)
        bottom, right = (-side % 2**levels for side in residual.shape[-2:])
        if bottom or right:
            residual = functional.pad(residual, (0, right, 0, bottom), mode="replicate")
        if variant == "packet":
            return _packet_sum(residual, levels) / residual.numel()
        return _band_sum(residual, levels) / residual.numel()


def band_weights(levels: int) -> list[tuple[float, float]]:
    """Weight of (LH and HL, HH) at each level, finest first; the finest HH is 1.

    Per axis the centre of a detail band of level l is 0.75 * 2^-l cycles per pixel, that of a
    low-pass band 0.25 * 2^-l; the weight is the length of that vector.
    """
    mixed = math.hypot(0.75, 0.25) / math.hypot(0.75, 0.75)
    return [(mixed * 2.0**-level, 2.0**-level) for level in range(levels)]


def _band_sum(image: torch.Tensor, levels: int) -> torch.Tensor:
    total = image.new_zeros(())
    for mixed, diagonal in band_weights(levels):
        even, odd = image[..., 0::2, :], image[..., 1::2, :]
        low, high = (even + odd) / 2, (even - odd) / 2
        image = low[..., 0::2] + low[..., 1::2]
        across = (low[..., 0::2] - low[..., 1::2]).abs().sum()
        down = (high[..., 0::2] + high[..., 1::2]).abs().sum()
        both = (high[..., 0::2] - high[..., 1::2]).abs().sum()
        total = total + mixed * (across + down) + diagonal * both
    return total


def _packet_sum(image: torch.Tensor, levels: int) -> torch.Tensor:
    size = 2**levels
    basis = torch.tensor(_walsh(levels), dtype=image.dtype, device=image.device)
    centre = (torch.arange(size, dtype=image.dtype, device=image.device) + 0.5) / size
    weight = torch.hypot(centre[:, None], centre[None, :])
    weight = weight / weight[-1, -1]
    weight[0, 0] = 0.0
    batch, channels, height, width = image.shape
    blocks = image.reshape(batch, channels, height // size, size, width // size, size)
    coefficients = basis @ blocks.transpose(3, 4) @ basis.T
    return (weight * coefficients.abs()).sum()


@cache
def _walsh(levels: int) -> tuple[tuple[float, ...], ...]:
    """The Haar packet's orthonormal basis, one function a row, frequency (number of sign changes) rising."""
    rows: list[tuple[float, ...]] = [(1.0,)]
    for _ in range(levels):
        rows = [tuple(s * v for s in (1.0, sign) for v in row) for row in rows for sign in (1.0, -1.0)]
    rows.sort(key=lambda row: sum(a != b for a, b in pairwise(row)))
    scale = 2.0 ** (-levels / 2)
    return tuple(tuple(scale * v for v in row) for row in rows)
