"""What every reader asks of pixels: known type, grey, finite, upright, no more than the file can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError
from longexposure.radiograph import Pixels, Resolution

MAX_RATIO = 1100
"""A file may unpack to this many times its own size; deflate itself cannot pass 1032."""

ALWAYS_BYTES = 64 * 2**20
"""An image of up to this many bytes may be packed tighter than `MAX_RATIO`."""

TRANSPOSING = (5, 6, 7, 8)
"""Values of the orientation tag (TIFF 6.0, tag 274) that swap rows and columns."""


def damaged(where: str, *, expected: str, found: str) -> InputError:
    """The error for a file that is cut off or contradicts itself."""
    return InputError(
        where=where,
        expected=expected,
        found=found,
        advice="copy the file again from where it came, or export it anew",
    )


def reason_of(error: BaseException) -> str:
    """One short printable line for what a library or the system said."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
    return line if len(line) <= 120 else line[:117] + "..."


def wrong_type(where: str, found: str) -> InputError:
    """The error for grey values of a type that is not taken."""
    return InputError(
        where=where,
        expected="integer or floating-point grey values of 8 to 64 bits",
        found=found,
        advice="convert it yourself to uint8, uint16 or float32, so that you know how values are rescaled",
    )


def check_plausible(where: str, *, needed: int, stored: int, packed: bool) -> None:
    """Refuse a header that promises more pixels than the file can hold, before memory is taken for them.

    Args:
        where: the file.
        needed: bytes of the unpacked pixels.
        stored: bytes of the pixels in the file.
        packed: whether they are compressed; then up to `MAX_RATIO` times `stored` is believed, and
            up to `ALWAYS_BYTES` in any case.

    Raises:
        InputError: more than that.
    """
    if not packed and needed > stored:
        raise damaged(where, expected=f"{needed} bytes of pixels", found=f"{stored} bytes")
    if packed and needed > max(ALWAYS_BYTES, MAX_RATIO * stored):
        raise InputError(
            where=where,
            expected=f"compressed pixels that unpack to at most {MAX_RATIO} times their size",
            found=f"{stored} bytes that claim to be {needed}",
            advice="if the file is sound, save it without compression",
        )


def check_finite(pixels: Pixels, where: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        InputError: with their number and the place of the first.
    """
    if pixels.dtype.kind != "f":
        return
    bad = ~np.isfinite(pixels)
    count = int(np.count_nonzero(bad))
    if count == 0:
        return
    first = np.unravel_index(int(np.argmax(bad)), pixels.shape)
    page = f"page {int(first[0]) + 1}, " if pixels.ndim == 3 else ""
    raise InputError(
        where=where,
        expected="finite grey values",
        found=f"{count} NaN or infinite, the first at {page}y={int(first[-2])}, x={int(first[-1])}",
        advice="replace them, for example with the median of their neighbours",
    )


def one_channel(samples: npt.NDArray[Any], where: str, *, extra: int) -> Pixels:
    """The grey values of a colour image whose channels are all equal.

    Args:
        samples: (H, W, S), of which the last `extra` are transparency or the like.
        where: the file.
        extra: number of samples that are no colour.

    Raises:
        InputError: channels that differ, or transparency that is not the same everywhere.
    """
    colours = samples.shape[2] - extra
    for channel in range(colours, samples.shape[2]):
        alpha = samples[..., channel]
        if not np.all(alpha == alpha.flat[0]):
            raise InputError(
                where=where,
                expected="an opaque image",
                found="transparency that changes over the image",
                advice="flatten it or remove the alpha channel, then save it as greyscale",
            )
    grey = samples[..., 0]
    if colours < 1 or not all(np.array_equal(grey, samples[..., i]) for i in range(1, colours)):
        raise InputError(
            where=where,
            expected="a greyscale image, or colour with all channels equal",
            found=f"colour: {colours} channels that differ",
            advice="save it as greyscale, or export one channel",
        )
    return np.ascontiguousarray(grey)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """One image (H, W) turned the way its orientation tag asks for; unknown values leave it as it is."""
    if orientation in TRANSPOSING:
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def upright_resolution(resolution: Resolution | None, orientation: int) -> Resolution | None:
    """The resolution of the image that `upright` gives."""
    if resolution is None or orientation not in TRANSPOSING:
        return resolution
    return Resolution(x=resolution.y, y=resolution.x, unit=resolution.unit)
