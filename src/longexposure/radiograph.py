"""The radiograph: grey values together with what is known about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError

Pixels = npt.NDArray[Any]
"""Grey values, (H, W) for one radiograph or (N, H, W) for a stack; uint8, uint16 or float32."""

Domain = Literal["counts", "transmission", "attenuation"]
Polarity = Literal["black-is-zero", "white-is-zero"]

DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit length, as the file states it (TIFF tags 282, 283 and 296)."""

    x: float
    y: float
    unit: Literal["none", "inch", "cm"] = "none"

    @property
    def pitch_um(self) -> tuple[float, float] | None:
        """Pixel pitch (y, x) in um, or None where the file gives no physical unit."""
        length = {"inch": 25400.0, "cm": 10000.0}.get(self.unit)
        if length is None or self.x <= 0 or self.y <= 0:
            return None
        return length / self.y, length / self.x


@dataclass(frozen=True)
class Source:
    """Where the pixels came from."""

    path: str
    sha256: str
    format: str
    """Format name as in the catalogue of formats: "tiff", "png", "xrm"."""


@dataclass(frozen=True)
class Step:
    """One entry of the history: who did what to the pixels, with every setting that matters."""

    tool: str
    version: str
    action: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"tool": self.tool, "version": self.version, "action": self.action, **self.settings}


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One X-ray image, or a stack of images of one size, with its units and history.

    Attributes:
        pixels: (H, W) or (N, H, W), uint8, uint16 or float32, never modified by this package.
        domain: what a grey value means: detector counts, transmission I/I0 or attenuation -ln T.
        polarity: what the file says of grey value zero; values are kept as stored either way.
        pitch_um: pixel pitch (y, x) in um at the detector or object, as the source states it.
        resolution: the source's resolution tags, carried over unchanged.
        description: the source's own free text.
        exposure: what the source tells of the exposure (keys such as `exposure_s`, `energy_kev`,
            `angle_deg`, one value or one per page).
        source: file, hash and format, None for arrays made in memory.
        history: steps so far, oldest first.
    """

    pixels: Pixels
    domain: Domain = "counts"
    polarity: Polarity = "black-is-zero"
    pitch_um: tuple[float, float] | None = None
    resolution: Resolution | None = None
    description: str = ""
    exposure: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None
    history: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        check_pixels(self.pixels, where=self.source.path if self.source else "pixels")

    @property
    def pages(self) -> int:
        """Number of images: 1 for (H, W), N for (N, H, W)."""
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[0])

    def with_pixels(self, pixels: Pixels, step: Step) -> Radiograph:
        """The same radiograph with new grey values and one more step in its history."""
        return dataclasses.replace(self, pixels=pixels, history=(*self.history, step))


def check_pixels(pixels: object, *, where: str) -> None:
    """Refuse what is not a 2-D image, or a stack of them, in one of the three grey-value types.

    Raises:
        InputError: not an array, wrong type, wrong number of dimensions, or no pixels.
    """
    if not isinstance(pixels, np.ndarray):
        raise InputError(
            where=where,
            expected="a NumPy array",
            found=type(pixels).__name__,
            advice="convert it with numpy.asarray first",
        )
    if pixels.dtype.name not in DTYPES or not pixels.dtype.isnative:
        raise InputError(
            where=where,
            expected="uint8, uint16 or float32 grey values",
            found=str(pixels.dtype),
            advice="convert it yourself, so that no grey value is rescaled without your knowledge",
        )
    if pixels.ndim not in (2, 3):
        raise InputError(
            where=where,
            expected="an image (H, W) or a stack (N, H, W)",
            found=f"shape {pixels.shape}",
            advice="pass one radiograph or one stack of equal size at a time",
        )
    if pixels.size == 0:
        raise InputError(
            where=where,
            expected="at least one pixel",
            found=f"shape {pixels.shape}",
            advice="check how the image was cropped or written",
        )
