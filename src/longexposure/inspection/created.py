"""What an input holds that the part does not: created structures, and defects that changed sides."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from longexposure.inspection.cases import Image

STANDS_OUT, LEAST_PX, BORDER_PX = 0.3, 6, 8


def created_regions(image: Image, truth: Image, sigma: Image) -> int:
    """Connected regions of `LEAST_PX` pixels or more that are `STANDS_OUT` of the noise off the truth."""
    inner = np.s_[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    off = np.abs((image - truth) / sigma)[inner]
    labels, _ = ndimage.label(off > STANDS_OUT, np.ones((3, 3)))
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:] >= LEAST_PX))


def side(difference: Image, change: Image) -> float:
    """Which side an image is on: about 0 without the defect, about 1 with it, below 0.5 nearer to without.

    The projection of the difference to a good part onto the defect's change, both in units of the noise: the
    fraction of the defect's contrast that is there.
    """
    return float((difference * change).sum() / max(float((change * change).sum()), 1e-30))
