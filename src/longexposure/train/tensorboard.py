"""TensorBoard: what the log and the previews say, as event files for those who like curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.system import kept_private


class TensorBoardLog:
    """Event files in a folder; a run that goes on adds one, which hides what it does again.

    Args:
        folder: made where it is missing.
        step: steps done so far; later ones of earlier files are hidden.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        with kept_private():
            from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)

    def add_scalars(self, line: Mapping[str, Any]) -> None:
        """Every number of a line of the log, as `kind/name` at its step."""
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(f"{line['kind']}/{name}", value, line["step"])

    def add_preview(self, sheet: npt.NDArray[np.uint8], *, step: int) -> None:
        """A preview, (H, W)."""
        self._writer.add_image("previews", sheet, step, dataformats="HW")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
