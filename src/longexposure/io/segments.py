"""Strips and tiles of a TIFF page, packed without loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError
from longexposure.io.tags import Layout
from longexposure.radiograph import Pixels

Compression = Literal["none", "deflate", "lzw", "zstd", "packbits", "lzma"]

CODES: dict[Compression, int] = {
    "none": 1,
    "deflate": 8,
    "lzw": 5,
    "zstd": 50000,
    "packbits": 32773,
    "lzma": 34925,
}
"""Value of the compression tag (259) by name."""

SAME = {32946: 8, 50013: 8}
"""Other numbers of a compression that is written."""

PREDICTED = ("deflate", "lzw", "zstd", "lzma")
_LZMA_LEVEL = 1
"""Noise packs no better at the usual level, and takes twice the time."""

_STRIP_BYTES = 1 << 18
_MOST_BYTES = 1 << 21
"""A compressed strip is no larger, so that packing it takes little memory."""


@dataclass(frozen=True)
class Segments:
    """How a page lies in the file.

    Attributes:
        compression: of every strip or tile.
        predictor: whether differences of neighbours are packed instead of values.
        tile: height and width of tiles, None for strips.
        rows: of a strip, 0 for as many as are natural.
        bits: of a sample of fewer bits than its type has, 0 for all of them.
    """

    compression: Compression = "none"
    predictor: bool = False
    tile: tuple[int, int] | None = None
    rows: int = 0
    bits: int = 0

    def with_compression(self, name: str) -> Segments:
        """The same with another compression and what suits it (raises as `check_compression`)."""
        check_compression(name)
        if name == self.compression:
            return self
        rows = self.rows if "none" not in (name, self.compression) else 0
        return replace(
            self,
            compression=cast(Compression, name),
            predictor=name in PREDICTED and not self.bits,
            rows=rows,
        )

    def predictor_tag(self, dtype: np.dtype[Any]) -> int:
        """Value of tag 317."""
        return (3 if dtype.kind == "f" else 2) if self.predictor else 1

    def rows_of(self, height: int, width: int, itemsize: int) -> int:
        """Rows of a strip of a page of this size."""
        row = width * itemsize
        if self.compression == "none":
            return min(self.rows or height, height)
        most = max(1, _MOST_BYTES // row)
        return min(self.rows or max(1, _STRIP_BYTES // row), height, most)

    def shares(self, page: Pixels, dtype: np.dtype[Any]) -> Iterator[Pixels]:
        """The strips or tiles of a page (H, W) in their order, tiles filled up with zeros."""
        height, width = page.shape
        if self.tile is None:
            rows = self.rows_of(height, width, dtype.itemsize)
            yield from (page[y : y + rows] for y in range(0, height, rows))
            return
        for y in range(0, height, self.tile[0]):
            for x in range(0, width, self.tile[1]):
                part = page[y : y + self.tile[0], x : x + self.tile[1]]
                missing = [(0, side - length) for side, length in zip(self.tile, part.shape, strict=True)]
                yield np.pad(part, missing) if part.shape != self.tile else part

    def packed(self, share: npt.NDArray[Any], layout: Layout) -> Any:
        """The bytes of a strip or tile, which is in the type of the file."""
        import imagecodecs

        if self.bits:
            whole = np.ascontiguousarray(share)
            return _packer(self.compression)(
                imagecodecs.packints_encode(whole, self.bits, runlen=whole.shape[1])
            )
        if self.predictor and share.dtype.kind == "f":
            ordered = share.astype(share.dtype.newbyteorder(layout.order))
            return _packer(self.compression)(imagecodecs.floatpred_encode(ordered, axis=-1).tobytes())
        if self.predictor:
            share = imagecodecs.delta_encode(np.ascontiguousarray(share), axis=-1)
        ordered = np.ascontiguousarray(share.astype(share.dtype.newbyteorder(layout.order), copy=False))
        if self.compression == "packbits":
            return b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in ordered)
        return _packer(self.compression)(ordered.data)


def check_compression(name: str | None) -> None:
    """Refuse a compression that is not written; None is the source's own.

    Raises:
        RecipeError: as said.
    """
    if name is not None and name not in CODES:
        raise RecipeError(
            where="compress", expected=" or ".join(CODES), found=repr(name), advice="choose one of these"
        )


def _packer(compression: Compression) -> Callable[[Any], Any]:
    import imagecodecs

    match compression:
        case "none":
            return lambda data: data
        case "deflate":
            return imagecodecs.deflate_encode if imagecodecs.DEFLATE.available else imagecodecs.zlib_encode
        case "lzma":
            return lambda data: imagecodecs.lzma_encode(data, level=_LZMA_LEVEL)
    packer: Callable[[Any], Any] = getattr(imagecodecs, f"{compression}_encode")
    return packer
