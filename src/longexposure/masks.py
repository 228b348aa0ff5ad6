"""Masks: which pixels of an image are no picture of the part, and what stands in for them meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Marked = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """Marked pixels of one image, eight to a byte, so that one of 400 Mpx takes 50 MB.

    Attributes:
        shape: (H, W) of the image.
        packed: uint8 (H, ceil(W / 8)), as `numpy.packbits` packs rows.
        count: number of marked pixels.
    """

    shape: tuple[int, int]
    packed: npt.NDArray[np.uint8]
    count: int

    @classmethod
    def of(cls, marked: Marked) -> Mask:
        """The mask of a boolean image (H, W)."""
        height, width = marked.shape
        return cls((height, width), np.packbits(marked, axis=1), int(np.count_nonzero(marked)))

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Mask:
        """A mask that marks nothing; it takes no memory."""
        packed = np.broadcast_to(np.uint8(0), (shape[0], -(-shape[1] // 8)))
        return cls(shape, packed, 0)

    @classmethod
    def of_packed(cls, shape: tuple[int, int], packed: npt.NDArray[np.uint8]) -> Mask:
        """The mask of marks that are packed already; bits beyond the last column are 0."""
        return cls(shape, packed, int(np.bitwise_count(packed).sum(dtype=np.int64)))

    def __or__(self, other: Mask) -> Mask:
        """What one of two masks of the same image marks."""
        if not self.count or not other.count:
            return self if self.count else other
        return Mask.of_packed(self.shape, self.packed | other.packed)

    @property
    def fraction(self) -> float:
        """Marked part of the image, 0..1."""
        return self.count / (self.shape[0] * self.shape[1])

    def within(self, rows: slice = slice(None), columns: slice = slice(None)) -> Marked:
        """The part of the mask in these rows and columns, boolean."""
        unpacked = np.unpackbits(self.packed[rows], axis=1, count=self.shape[1])
        return unpacked[:, columns].astype(bool)

    def at(self, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]) -> Marked:
        """Whether pixels are marked, boolean (N,)."""
        return (self.packed[y, x // 8] >> (7 - x % 8) & 1).astype(bool)

    def with_pixels(self, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]) -> Mask:
        """This mask with more pixels (N,) marked; it is not modified itself."""
        packed = np.array(self.packed)
        np.bitwise_or.at(packed, (y, x // 8), (128 >> (x % 8)).astype(np.uint8))
        fresh = np.unique(y * self.shape[1] + x)
        fresh = fresh[~self.at(fresh // self.shape[1], fresh % self.shape[1])]
        return Mask(self.shape, packed, self.count + len(fresh))

    def blocks(self, side: int = 8) -> Marked:
        """Which whole blocks hold a marked pixel, (H // side, W // side); side is a multiple of 8."""
        rows, columns = self.shape[0] // side, self.shape[1] // side
        bytes_across = side // 8
        whole = self.packed[: rows * side, : columns * bytes_across]
        return np.asarray(whole.reshape(rows, side, columns, bytes_across).any(axis=(1, 3)))
