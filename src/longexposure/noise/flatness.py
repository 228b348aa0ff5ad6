"""How rough the flat areas of an image are, and what of it enhancing left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from longexposure.noise.blocks import about_plane, cut_blocks, filled, grey_step
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

FLATTEST = 0.02
FEWEST = 4


def flat_blocks(pixels: Pixels, noise: NoiseProfile) -> npt.NDArray[np.intp]:
    """Indices, among the image's blocks of 8 x 8, of the fiftieth part that holds least structure.

    Averaging 2 x 2 pixels first lowers noise and keeps structure: what a block varies about its plane then,
    over what the noise accounts for at its grey value, is least where there is nothing but noise.

    Args:
        pixels: one image (H, W), the original.
        noise: its profile.
    """
    blocks = cut_blocks(pixels)
    if len(blocks) == 0:
        return np.empty(0, dtype=np.intp)
    binned = blocks.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    expected = np.maximum(noise.variance(np.median(blocks, axis=(1, 2))), 1e-6 * noise.sigma**2 + 1e-30)
    hidden = filled(blocks, step=grey_step(blocks))
    if hidden.all():
        hidden = blocks.min(axis=(1, 2)) == blocks.max(axis=(1, 2))
    order = np.argsort(np.where(hidden, np.inf, about_plane(binned) / expected), kind="stable")
    return order[: max(FEWEST, int(FLATTEST * np.count_nonzero(~hidden)))]


def flat_deviation(pixels: Pixels, flat: npt.NDArray[np.intp]) -> float:
    """Standard deviation in those blocks, each about its own plane: the median, in grey values.

    Take the blocks from the original and the deviation of original and enhanced image, so that both
    numbers speak of the same places. 0 where there are no blocks.
    """
    blocks = cut_blocks(pixels)[flat]
    return float(np.sqrt(np.median(about_plane(blocks)))) if len(blocks) else 0.0


def left_in_flat_areas(before: Pixels, after: Pixels, noise: NoiseProfile) -> float:
    """Standard deviation in flat areas after enhancing over that before, in the same places; 1 for none.

    Args:
        before: one image (H, W), the original.
        after: the same, enhanced.
        noise: profile of the original.
    """
    flat = flat_blocks(before, noise)
    rough = flat_deviation(before, flat)
    return flat_deviation(after, flat) / rough if rough > 0 else 1.0
