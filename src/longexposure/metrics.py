"""How close an image is to a reference: PSNR, SSIM, RMSE.

Everything is computed in float64, in strips, so that 20 Mpx images of two bytes a pixel need little
more memory than they occupy. Nothing is clipped, rounded or cropped: that is the caller's choice,
and the data range is always given, never guessed from the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from longexposure.errors import InputError, RecipeError, as_number, described

Image = npt.NDArray[Any]
_Strip = npt.NDArray[np.float64]

SSIM_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_STRIP_PIXELS = 2**18


def rmse(image: Image, reference: Image) -> float:
    """Root mean squared error in grey values.

    Args:
        image: (H, W), any real type.
        reference: same shape.

    Raises:
        InputError: shapes differ, no pixels, or a value that is not finite.
    """
    return math.sqrt(_moments(image, reference)[1])


def psnr(image: Image, reference: Image, *, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mean squared error).

    Args:
        image: (H, W), any real type.
        reference: same shape.
        data_range: grey values from black to white, e.g. 65535 for 16-bit counts, 1 for the unit domain.

    Returns:
        dB; infinity for equal images.

    Raises:
        InputError: shapes differ, no pixels, a value that is not finite, or a data range not above 0.
    """
    check_range(data_range)
    return _decibels(_moments(image, reference)[1], data_range)


def bias_removed_psnr(image: Image, reference: Image, *, data_range: float) -> float:
    """PSNR in dB after the mean difference of the two images is taken out.

    Beside `psnr` it tells noise and lost detail from a mere shift of brightness.

    Args:
        image: (H, W), any real type.
        reference: same shape.
        data_range: as in `psnr`.

    Returns:
        dB, never less than `psnr` of the same images; infinity where they differ by a constant.

    Raises:
        InputError: as `psnr`.
    """
    check_range(data_range)
    bias, mean_square = _moments(image, reference)
    centred = 0.0
    for a, b in _strips(image, reference, overlap=0):
        difference = a - b - bias
        centred += float(np.vdot(difference, difference))
    return _decibels(min(centred / image.size, mean_square), data_range)


def ssim(image: Image, reference: Image, *, data_range: float) -> float:
    """Structural similarity: 1 for equal images, about 0 for unrelated ones.

    Gaussian window of 11 x 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, mean
    over the valid area (5 pixels less at each side). Source: Wang et al., IEEE TIP 2004.

    Args:
        image: (H, W), any real type, at least 11 pixels in each direction.
        reference: same shape.
        data_range: as in `psnr`.

    Raises:
        InputError: as `psnr`, or an image smaller than the window.
    """
    check_range(data_range)
    _check_pair(image, reference)
    if min(image.shape) < SSIM_WINDOW:
        raise InputError(
            where="ssim",
            expected=f"images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels",
            found=f"shape {image.shape}",
            advice="use psnr for smaller images",
        )
    total, count = 0.0, 0
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    for a, b in _strips(image, reference, overlap=SSIM_WINDOW - 1):
        mean_a, mean_b = _blur(a), _blur(b)
        product = mean_a * mean_b
        squares = mean_a**2 + mean_b**2
        variances = _blur(a**2 + b**2) - squares
        covariance = _blur(a * b) - product
        values = ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
        total += float(values.sum())
        count += values.size
    return total / count


def _blur(image: _Strip) -> _Strip:
    """Gaussian mean over the window, valid area only: (H, W) -> (H - 10, W - 10)."""
    radius = SSIM_WINDOW // 2
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SIGMA) ** 2)
    taps /= taps.sum()
    rows = correlate1d(image, taps, axis=0)[radius:-radius]
    result: _Strip = correlate1d(rows, taps, axis=1)[:, radius:-radius]
    return result


def _moments(image: Image, reference: Image) -> tuple[float, float]:
    """Mean and mean square of image minus reference."""
    _check_pair(image, reference)
    total = square = 0.0
    for a, b in _strips(image, reference, overlap=0):
        difference = a - b
        total += float(difference.sum())
        square += float(np.vdot(difference, difference))
    return total / image.size, square / image.size


def _strips(image: Image, reference: Image, *, overlap: int) -> Iterator[tuple[_Strip, _Strip]]:
    """Both images as float64, some rows at a time; neighbouring strips share `overlap` rows.

    Raises:
        InputError: a value that is not finite.
    """
    height, width = image.shape
    rows = max(_STRIP_PIXELS // width, 1)
    for start in range(0, height - overlap, rows):
        window = slice(start, min(start + rows + overlap, height))
        a, b = image[window].astype(np.float64), reference[window].astype(np.float64)
        for name, strip in (("image", a), ("reference", b)):
            if not np.isfinite(strip).all():
                raise InputError(
                    where=name,
                    expected="finite grey values",
                    found="NaN or infinity",
                    advice="replace or mask these pixels before comparing",
                )
        yield a, b


def _decibels(mean_square: float, data_range: float) -> float:
    return 10.0 * math.log10(data_range**2 / mean_square) if mean_square > 0 else math.inf


def check_range(data_range: float) -> float:
    """Refuse what is no range of grey values (raises InputError)."""
    try:
        return as_number(data_range, where="data_range", low=1e-100)
    except RecipeError as error:
        raise InputError(
            where="data_range",
            expected="a finite number above 0",
            found=error.found,
            advice="pass the grey values from black to white, e.g. 255, 65535 or 1",
        ) from None


def _check_pair(image: Image, reference: Image) -> None:
    for name, found in (("image", image), ("reference", reference)):
        plain = isinstance(found, np.ndarray) and not isinstance(found, np.ma.MaskedArray)
        if not plain or found.dtype.kind not in "biuf":
            raise InputError(
                where=name,
                expected="a NumPy array of real numbers, without a mask",
                found=described(found),
                advice="convert it with numpy.asarray first, or fill what is masked",
            )
    if image.shape != reference.shape or image.ndim != 2 or image.size == 0:
        raise InputError(
            where="image and reference",
            expected="two images (H, W) of one shape with at least one pixel",
            found=f"shapes {image.shape} and {reference.shape}",
            advice="compare an image with the reference of the same field of view, one page at a time",
        )
