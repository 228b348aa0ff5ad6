"""Areas that are no picture of the part: they are left out of every measurement, and come back to the bit.

Until the image is enhanced, a smooth continuation of what lies around stands in their place, so that
nothing of them reaches the pixels beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from longexposure.masks import Mask
from longexposure.radiograph import Pixels

CELL = 16
"""Side of the cells, px, whose means the continuation is made of."""


@dataclass(frozen=True, eq=False)
class SetAside:
    """What of one image (H, W) is set aside.

    Attributes:
        mask: the pixels.
        kinds: number of pixels by what they are, in words.
        around: smooth continuation of the other pixels, a value for every cell of `CELL` x `CELL` px, in grey
            values; empty where nothing is set aside.
    """

    mask: Mask
    kinds: Mapping[str, int] = field(default_factory=dict)
    around: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def replace(self, grey: npt.NDArray[np.float64], rows: slice, columns: slice) -> None:
        """Put the continuation in the place of what is set aside, in some rows and columns of the image."""
        if not self.mask.count:
            return
        y, x = np.nonzero(self.mask.within(rows, columns))
        grey[y, x] = self.around[(y + rows.start) // CELL, (x + columns.start) // CELL]


def find_set_aside(pixels: Pixels) -> SetAside:
    """What of one image (H, W) is no picture of the part; the image is not modified."""
    return SetAside(Mask.empty((pixels.shape[0], pixels.shape[1])))
