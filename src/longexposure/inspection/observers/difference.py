"""The comparison with a reference that all observers begin with: an image less what a good part looks like.

Grey values are brought to those of the reference by a line (tubes and automatic gains vary), differences are
given in standard deviations of the noise of a single short exposure at each place, the same for every input,
and what varies more slowly than `SLOW_PX` is taken out.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from longexposure.inspection.cases import Image

SLOW_PX = 32.0


def difference(image: Image, reference: Image, sigma: Image) -> Image:
    """The image less its reference, (H, W), in units of `sigma`, which is (H, W) in grey values."""
    x, y = reference - reference.mean(), image - image.mean()
    gain = float((x * y).sum() / max(float((x * x).sum()), 1e-12))
    if not 0.5 < gain < 2:  # nothing to hold it to
        gain = 1.0
    rest = (y / gain - x) / sigma
    return np.asarray(rest - ndimage.gaussian_filter(rest, SLOW_PX, mode="reflect"))
