"""What a model tells the enhance path about itself."""

from __future__ import annotations

from dataclasses import dataclass

from longexposure.errors import InputError


@dataclass(frozen=True)
class ModelSpec:
    """A model's needs, which tiles, training and export follow.

    Attributes:
        size_multiple: height and width it takes must be multiples of this many pixels.
        receptive_field: how many pixels away, in any direction, an input pixel can still change an
            output pixel (the radius, so that the field is 2 * radius + 1 wide).
        conditioned: whether it wants the noise (`longexposure.noise.NOISE_CONDITION`) beside the pixels.
        bytes_per_px: memory that computing takes at its peak for each pixel of a tile, float32, with the
            double-precision copies that the enhance path makes; measured, and rounded up.
    """

    size_multiple: int
    receptive_field: int
    conditioned: bool
    bytes_per_px: int = 1024

    @property
    def halo(self) -> int:
        """Border in pixels that a tile needs: the receptive field, rounded up to the size multiple."""
        return -(-self.receptive_field // self.size_multiple) * self.size_multiple


def check_on_grid(shape: tuple[int, ...], multiple: int, *, where: str) -> None:
    """Make sure that the last two sizes of a shape, height and width, are multiples (raises InputError)."""
    height, width = shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            where=where,
            expected=f"a height and width that are multiples of {multiple}",
            found=f"{height} x {width} pixels",
            advice="pad the image as its spec says, or use `longexposure enhance`, which does",
        )
