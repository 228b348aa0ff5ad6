"""The radiograph: grey values together with what is known about them."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from types import NoneType
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError, as_choice, as_kind, described

Pixels = npt.NDArray[Any]
"""Grey values, (H, W) for one radiograph or (N, H, W) for a stack; uint8, uint16 or float32."""

Domain = Literal["counts", "transmission", "attenuation"]
Polarity = Literal["black-is-zero", "white-is-zero"]

DTYPES = ("uint8", "uint16", "float32")

SOFTWARE_DPI = (72.0, 96.0, 100.0)
"""Dots per inch that programs write where nobody told them any; they say nothing of the pixels."""

EXACT_FLOAT32 = 2**24
"""Whole numbers up to this are exact in float32."""

MOST_CHANNELS = 4
"""An array whose last axis is no longer, while the others are, holds colours and no stack of pages."""

IN_PAGES_BYTES = 64 * 2**20
"""Stacks that take more may be left in their file, see `Pages`."""

_CHUNK = 1 << 20


class Pages:
    """The images of a stack (N, H, W), each read when it is asked for, so that one at a time is in memory.

    It stands for an array in `shape`, `dtype`, `pages[number]` and iteration; `numpy.asarray` reads all.

    Args:
        shape: (N, H, W).
        dtype: of the grey values, in native byte order.
        page: gives the image (H, W) of a number, counted from 0.
        close: lets go what is read from; called when nobody holds the pages any more.
    """

    ndim = 3

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: npt.DTypeLike,
        page: Callable[[int], Pixels],
        close: Callable[[], object] | None = None,
    ) -> None:
        self.shape, self.dtype, self._page = shape, np.dtype(dtype), page
        if close is not None:
            weakref.finalize(self, close)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, number: int) -> Pixels:
        if not 0 <= number < len(self):
            raise IndexError(f"page {number} of {len(self)}")
        return self._page(number)

    def __iter__(self) -> Iterator[Pixels]:
        return map(self._page, range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        if copy is False:
            raise ValueError("pages that are read are a copy")  # as NumPy's protocol wants it
        return self.held().astype(self.dtype if dtype is None else dtype, copy=False)

    def map(self, function: Callable[[Pixels], Pixels], dtype: npt.DTypeLike | None = None) -> Pages:
        """Pages that a function makes of these when they are asked for."""
        return Pages(self.shape, dtype or self.dtype, lambda number: function(self[number]))

    def held(self) -> Pixels:
        """All of them in memory."""
        pixels = np.empty(self.shape, self.dtype)
        for number, page in enumerate(self):
            pixels[number] = page
        return pixels

    def held_unless(self, in_pages: bool) -> Pixels:
        """All of them in memory, (H, W) for one; themselves where that is wanted, beyond `IN_PAGES_BYTES`."""
        if len(self) == 1:
            return self[0]
        return cast(Pixels, self) if in_pages and self.nbytes > IN_PAGES_BYTES else self.held()


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit length, as the file states it (TIFF tags 282, 283 and 296)."""

    x: float
    y: float
    unit: Literal["none", "inch", "cm"] = "none"

    @property
    def pitch_um(self) -> tuple[float, float] | None:
        """Pixel pitch (y, x) in um; None without a physical unit, or where it is a program's default."""
        length = {"inch": 25400.0, "cm": 10000.0}.get(self.unit)
        if length is None or not (0 < self.x < math.inf and 0 < self.y < math.inf) or self.x == self.y == 1:
            return None
        inches = [each * 25400.0 / length for each in (self.x, self.y)]
        if any(all(abs(each - dpi) < 0.05 for each in inches) for dpi in SOFTWARE_DPI):
            return None
        pitch = length / self.y, length / self.x
        return pitch if all(0 < side < np.inf for side in pitch) else None


@dataclass(frozen=True)
class Source:
    """Where the pixels came from."""

    path: str
    sha256: str
    format: str
    """Format name as in the catalogue of formats: "tiff", "png", "dicom"."""

    called: str = ""
    """What histories call it, where that is not the path's last part."""


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
class Stored:
    """How the source's file keeps its grey values, and what else stands in it: for writing one like it.

    Attributes:
        format: the format that `parts` are of, as in `Source.format`.
        shape: of the pixels that were read.
        dtype: the type of the file's grey values, such as "int16".
        offset: what was taken off them; `pixels + offset` are the file's values.
        bits: significant bits of a sample, where the file tells them and all values fit; 0 where not.
        axes: length by name of the axes beside y and x, where there are several ("T", "Z", "C").
        parts: what the format's reader hands to its writer.
        notes: what is not carried over or not kept, each in a few words.
        warnings: what the format did to the grey values, each in a few words.
    """

    format: str
    shape: tuple[int, ...]
    dtype: str
    offset: int = 0
    bits: int = 0
    axes: Mapping[str, int] = field(default_factory=dict)
    parts: Any = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def computed(self) -> str:
        """The type in which the grey values are read and enhanced."""
        return self.dtype if self.dtype in DTYPES else "float32"

    def facts(self) -> dict[str, Any]:
        """What the history says of it; nothing for a file of which everything is taken and kept."""
        facts: dict[str, Any] = {}
        if self.dtype != self.computed:
            facts["grey_values"] = {"stored": self.dtype, "computed": self.computed, "offset": self.offset}
        if self.axes:
            facts["axes"] = dict(self.axes)
        if self.notes:
            facts["not_carried_over"] = list(self.notes)
        if self.warnings:
            facts["of_the_source"] = list(self.warnings)
        return facts

    def fitted(self, pixels: Pixels) -> Pixels:
        """Grey values as the file's type can hold them: rounded, cut at its ends and its significant bits."""
        if pixels.dtype.name != self.computed:
            return pixels
        if self.bits and np.dtype(self.dtype).kind == "u" and pixels.max() > 2**self.bits - 1:
            return np.minimum(pixels, pixels.dtype.type(2**self.bits - 1))
        if self.dtype in (self.computed, "float64"):
            return pixels
        fitted = np.empty(pixels.shape, pixels.dtype)
        given, taken = pixels.reshape(-1), fitted.reshape(-1)
        for at in range(0, given.size, _CHUNK):
            part = slice(at, at + _CHUNK)
            if self.dtype == "float16":
                taken[part] = self.file_values(given[part])
            else:
                np.clip(np.rint(given[part]), *self._ends(), out=taken[part])
        return fitted

    def file_values(self, pixels: Pixels) -> Pixels:
        """Grey values in the type of the file; those that were read come back to the bit."""
        dtype = np.dtype(self.dtype)
        if dtype == pixels.dtype or pixels.dtype.name != self.computed:
            return pixels
        if dtype.kind == "f":
            most = np.finfo(dtype).max
            within = pixels if dtype.itemsize > 4 else np.clip(pixels, -most, most)
            return np.where(np.isinf(pixels), pixels, within).astype(dtype)
        whole = np.clip(np.rint(pixels.astype(np.float64)), *self._ends()).astype(np.int64)
        return (whole.astype(np.uint64) + np.uint64(self.offset % 2**64)).astype(dtype)

    def _ends(self) -> tuple[int, int]:
        """The least and the greatest grey value that both the file's integers and float32 hold."""
        ends = np.iinfo(self.dtype)
        low, high = int(ends.min), int(ends.max)
        if self.bits and low < 0:
            low, high = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        elif self.bits:
            high = 2**self.bits - 1
        return max(low - self.offset, -EXACT_FLOAT32), min(high - self.offset, EXACT_FLOAT32)


def computable(values: npt.NDArray[Any], *, where: str) -> tuple[Pixels, int]:
    """Grey values of any real type in one that is computed in, with nothing lost: themselves, or float32.

    Returns:
        The grey values and the offset that was taken off them: 0, or the least or the middle of whole
        numbers that are too large for float32, while what is left is not.

    Raises:
        InputError: float32 cannot hold every value.
    """
    if values.dtype.name in DTYPES:
        return values, 0
    offset = 0
    if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        low, high = ends_of(values)
        if max(-low, high) > EXACT_FLOAT32:
            offset = low if high - low <= EXACT_FLOAT32 else (low + high) // 2
        if max(offset - low, high - offset) > EXACT_FLOAT32:
            raise _inexact(values, where, f"{low} to {high}")
    if isinstance(values, Pages):
        return cast(Pixels, values.map(lambda page: _as_float32(page, offset, where), np.float32)), offset
    return _as_float32(values, offset, where), offset


def ends_of(pixels: Pixels) -> tuple[Any, Any]:
    """The least and the greatest of whole grey values, as Python's numbers, or of any as they are."""
    pages = pixels if isinstance(pixels, Pages) else (pixels,)
    ends = [(page.min().item(), page.max().item()) for page in pages]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _as_float32(values: npt.NDArray[Any], offset: int, where: str) -> Pixels:
    """Grey values less an offset (raises InputError where they are not exact)."""
    pixels = np.empty(values.shape, np.float32)
    given, taken = values.reshape(-1), pixels.reshape(-1)
    for at in range(0, given.size, _CHUNK):
        part = given[at : at + _CHUNK]
        if offset:
            part = (part.astype(np.uint64) - np.uint64(offset % 2**64)).view(np.int64)
        with np.errstate(over="ignore"):
            taken[at : at + _CHUNK] = part
        if part.dtype.kind == "f" and not np.array_equal(taken[at : at + _CHUNK], part, equal_nan=True):
            raise _inexact(values, where, "with more digits")
    return pixels


def _inexact(values: npt.NDArray[Any], where: str, found: str) -> InputError:
    return InputError(
        where=where,
        expected="grey values that 32-bit floats hold exactly",
        found=f"{values.dtype.name} grey values {found}",
        advice="convert it yourself to uint8, uint16 or float32, so that you know how values are rescaled",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Radiograph:
    """One X-ray image, or a stack of images of one size, with its units and history.

    `numpy.asarray(radiograph)` gives its pixels, and `numpy.array(radiograph)` a copy of them.

    Attributes:
        pixels: (H, W) or (N, H, W), uint8, uint16 or float32, never modified by this package; arrays of
            other libraries become NumPy's, see `as_pixels`. Of a large stack they may be `Pages`.
        domain: what a grey value means: detector counts, transmission I/I0 or attenuation -ln T.
        polarity: what the file says of grey value zero; values are kept as stored either way.
        pitch_um: pixel pitch (y, x) in um at the detector or object, as the source states it.
        resolution: the source's resolution tags, carried over unchanged.
        description: the source's own free text.
        exposure: what the source tells of the exposure (keys such as `exposure_s`, `energy_kev`,
            `angle_deg`, one value or one per page).
        source: file, hash and format, None for arrays made in memory.
        history: steps so far, oldest first.
        stored: how the source's file keeps the grey values and what else stands in it, which is written
            back into a file of the same format; None for arrays made in memory.
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
    stored: Stored | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            object.__setattr__(self, "pixels", as_pixels(self.pixels, where="pixels"))
        elif not isinstance(self.pixels, Pages):  # of a file, whose pages are told apart from colours already
            source = as_kind(self.source, Source, where="source of a radiograph", advice="or give None")
            check_pixels(self.pixels, where=source.path)
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds):
                raise InputError(
                    where=f"{name} of a radiograph",
                    expected=" or ".join(kind.__name__ for kind in kinds).replace("NoneType", "None"),
                    found=described(value),
                    advice="see longexposure.Radiograph",
                )
        for name, choices in (("domain", get_args(Domain)), ("polarity", get_args(Polarity))):
            as_choice(getattr(self, name), where=f"{name} of a radiograph", choices=choices)
        if self.pitch_um is not None and not _is_pitch(self.pitch_um):
            raise InputError(
                where="pitch_um of a radiograph",
                expected="two finite numbers above 0, down and across, in um",
                found=str(self.pitch_um)[:60],
                advice="give both, like (5.2, 5.2), or None where the pitch is not known",
            )

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        """The pixels, for NumPy: a copy only where it is asked for or another type is."""
        changes = dtype is not None and self.pixels.dtype != dtype
        if changes and copy is False:
            raise ValueError(
                f"pixels of {self.pixels.dtype} as {dtype} are a copy"
            )  # as NumPy's protocol wants it
        return np.array(self.pixels, dtype=dtype) if changes or copy else self.pixels

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.pixels.shape))
        facts = [f"{size} {self.pixels.dtype.name}", self.domain]
        if self.pitch_um is not None:
            facts.append("pitch {:g} x {:g} um".format(*self.pitch_um))
        if self.source is not None:
            facts.append(f"from {self.source.path!r}")
        if self.history:
            facts.append("history: " + ", ".join(f"{step.tool} {step.action}" for step in self.history))
        return f"<Radiograph {', '.join(facts)}>"

    @property
    def pages(self) -> int:
        """Number of images: 1 for (H, W), N for (N, H, W)."""
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[0])

    @property
    def enhanced_by(self) -> str:
        """What the grey values were enhanced with before, as the history tells; empty where it does not."""
        steps = (step for step in reversed(self.history) if step.action == "enhance")
        return next(
            (f"{step.settings.get('model', 'a model')}, {step.tool} {step.version}" for step in steps), ""
        )

    def with_pixels(self, pixels: Pixels, step: Step) -> Radiograph:
        """The same radiograph with new grey values and one more step in its history.

        Where the source's file keeps other types than are computed in, the grey values are rounded to what it
        can hold, and the step says so.
        """
        if self.stored is not None:
            fitted = self.stored.fitted
            pixels = cast(Pixels, pixels.map(fitted)) if isinstance(pixels, Pages) else fitted(pixels)
            step = dataclasses.replace(step, settings={**step.settings, **self.stored.facts()})
        return dataclasses.replace(self, pixels=pixels, history=(*self.history, step))

    @property
    def dtype(self) -> str:
        """The type of the grey values in a file that is written: the source's, or that of the pixels."""
        stored = self.stored
        own = self.pixels.dtype.name
        return own if stored is None or own != stored.computed else stored.dtype


_KINDS: Mapping[str, tuple[type, ...]] = {
    "resolution": (Resolution, NoneType),
    "description": (str,),
    "exposure": (Mapping,),
    "history": (tuple,),
}


def _is_pitch(value: object) -> bool:
    numbers = value if isinstance(value, tuple | list) else ()
    reals = [float(number) for number in numbers if isinstance(number, Real)]
    return len(reals) == len(numbers) == 2 and all(0 < number < float("inf") for number in reals)


def as_pixels(image: object, *, where: str) -> Pixels:
    """Grey values as a NumPy array, without a copy where that can be.

    Taken is what hands itself to NumPy (`__array__`, as the arrays of xarray, dask and torch do, or
    `__dlpack__`), in main memory and without a gradient.

    Args:
        image: (H, W), or (N, H, W) for a stack; uint8, uint16 or float32.
        where: its name, for messages.

    Raises:
        InputError: nothing of that kind, a masked array, colours in a last axis of at most four, or as
            `check_pixels`.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise InputError(
            where=where,
            expected="an array without a mask",
            found=described(image),
            advice="give the pixels alone (image.data), or fill what is masked (image.filled(value))",
        )
    if isinstance(image, Pages):
        return cast(Pixels, image)
    pixels: Any = image
    if not isinstance(image, str | bytes | np.generic):
        try:
            if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
                pixels = np.asarray(image)
            elif hasattr(image, "__dlpack__"):
                pixels = np.from_dlpack(image)
        except Exception as error:  # of the other library's own kinds
            raise InputError(
                where=where,
                expected="an array in main memory, of a type that NumPy has",
                found=f"{described(image)} ({' '.join(str(error).split())[:200] or type(error).__name__})",
                advice="copy it there first, for torch with image.detach().cpu()",
            ) from error
    check_pixels(pixels, where=where)
    if pixels.ndim == 3 and pixels.shape[-1] <= MOST_CHANNELS < min(pixels.shape[:2]):
        raise InputError(
            where=where,
            expected="an image (H, W) or a stack (N, H, W) of grey values",
            found=f"shape {pixels.shape}, which looks like colours in the last axis",
            advice="take one channel, image[..., 0]; give a real stack of such narrow pages page by page",
        )
    return pixels


def check_single(pixels: Pixels, *, where: str) -> None:
    """Refuse a stack (raises InputError)."""
    if pixels.ndim != 2:
        raise InputError(
            where=where,
            expected="one image (H, W)",
            found=f"shape {pixels.shape}",
            advice="give the pages of a stack one by one",
        )


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
            advice="convert it with numpy.asarray first; a file is read with read_radiograph",
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
