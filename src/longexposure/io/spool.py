"""Pages on their way into a file: a nameless file beside it holds them until all are there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from longexposure.io.writing import failing_as_output_error
from longexposure.radiograph import Pages, Pixels


class Spool:
    """A stack (N, H, W) whose pages are put one after another; nothing is left of it when nobody holds them.

    Args:
        shape: (N, H, W).
        dtype: of the grey values.
        folder: where they are kept, which takes the bytes of all pages; None is the system's for such files.

    Raises:
        OutputError: the folder cannot be written to.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: npt.DTypeLike, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        with failing_as_output_error(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".longexposure-")  # noqa: SIM115
        self.pages = Pages(shape, dtype, self._page, self._file.close)
        """What was put, to be read."""

    def put(self, page: Pixels) -> None:
        """Put the next page (H, W) (raises OutputError where there is no room)."""
        with failing_as_output_error(self._folder):
            self._file.write(np.ascontiguousarray(page, self.pages.dtype).data)

    def _page(self, number: int) -> Pixels:
        page = np.empty(self.pages.shape[1:], self.pages.dtype)
        self._file.seek(number * page.nbytes)
        self._file.readinto(page.data.cast("B"))
        return page
