"""Where an image has structure about as strong as the noise: what a mean over pixels hardly counts."""

from __future__ import annotations

import torch
from torch.nn import functional

REACH_PX = 3
"""Structure is what differs from the mean of the square of this reach."""
FAINT = 2.0
"""Structure of this many times the noise counts most: far weaker is not seen, far stronger not in danger."""


def faint_structure(clean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """How much each pixel belongs to structure at the limit of visibility, from 0 to 1.

    With t the distance of a pixel from the mean of its 7 x 7 surroundings, in units of `FAINT` times the
    noise, that is t exp(1 - t): 1 at t = 1, and little on strong edges as well as in plain areas.

    Args:
        clean: (B, 1, H, W) noise-free images in the unit domain; noise would be taken for structure.
        sigma: (B,), the noise of the exposures that go with them, same domain, above 0.

    Returns:
        (B, 1, H, W), without a gradient.
    """
    with torch.no_grad():
        surroundings = functional.avg_pool2d(
            clean, 2 * REACH_PX + 1, stride=1, padding=REACH_PX, count_include_pad=False
        )
        t = (clean - surroundings).abs() / (FAINT * sigma.reshape(-1, 1, 1, 1))
        return t * torch.exp(1 - t)
