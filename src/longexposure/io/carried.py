"""What a TIFF says beside its grey values, kept for the file that is written from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from longexposure.io import microscopy
from longexposure.io.checks import TRANSPOSING, upright_resolution
from longexposure.io.record import fields_of
from longexposure.io.segments import Segments
from longexposure.io.tags import (
    DESCRIPTION,
    ICC,
    OF_PLACES,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    SUB_IFDS,
    X_RESOLUTION,
    Y_RESOLUTION,
    Layout,
    Tag,
)
from longexposure.radiograph import Resolution

RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)

_UNITS: dict[int, Literal["none", "inch", "cm"]] = {1: "none", 2: "inch", 3: "cm"}
_SUBFILE_TYPE, _MAX_SAMPLE_VALUE = 254, 281
_IFD, _IFD8 = 13, 18
_LITTLE, _PLAIN = Layout("<", big=False), Segments()


@dataclass(frozen=True)
class Pages:
    """The pages of a TIFF as they are stored.

    Attributes:
        layout: byte order and size of the file's offsets.
        segments: how a page like the first is written.
        count: number of images.
        dtype: of the grey values.
        orientation: tag 274 of TIFF 6.0.
        samples: of a pixel.
        is_colour: whether grey was made of colour or of a palette.
    """

    layout: Layout
    segments: Segments
    count: int
    dtype: np.dtype[Any]
    orientation: int
    samples: int
    is_colour: bool


@dataclass(frozen=True)
class TiffParts:
    """What a TIFF has beside its grey values.

    Attributes:
        layout: byte order and size of its offsets.
        segments: how its pages lie in it.
        single: whether its images lie behind one another after a single page.
        pages: the tags of each image that are carried over.
        text: the description that stands in it.
        description: of the radiograph that was read.
        placed: what a file written from it has in its place, which fits the image as it is written.
        resolution: of the image upright, as its tags say.
        pitch_um: what its tags and its description say of the pitch (y, x).
        bits: significant bits, the same; 0 where nothing.
        turned: whether rows became columns, so that its tags of resolution no longer fit.
    """

    layout: Layout = _LITTLE
    segments: Segments = _PLAIN
    single: bool = False
    pages: tuple[tuple[Tag, ...], ...] = ()
    text: str = ""
    description: str = ""
    placed: str = ""
    resolution: Resolution | None = None
    pitch_um: tuple[float, float] | None = None
    bits: int = 0
    turned: bool = False


def parts_of(
    tags: Sequence[Sequence[Tag]], pages: Pages, *, told: Mapping[str, Any], notes: list[str]
) -> TiffParts:
    """What a file says.

    Args:
        tags: of each page, without our record.
        pages: how they are stored.
        told: what our record tells, as `fields_of` gives it.
        notes: takes what is not carried over, see `Stored.notes`.
    """
    turned, layout = pages.orientation in TRANSPOSING, pages.layout
    text = _description(tags[0])
    resolution = upright_resolution(_resolution(tags[0], layout), pages.orientation)
    pitch_um, bits = _pitch_and_bits(tags[0], layout, text=text, resolution=resolution, turned=turned)
    return TiffParts(
        layout=layout,
        segments=pages.segments,
        single=len(tags) < pages.count,
        pages=_carried(tags, pages, notes),
        text=text,
        description=told.get("description", text),
        placed=_placed(text, pages.dtype, turned=turned, samples=pages.samples),
        resolution=resolution,
        pitch_um=pitch_um,
        bits=bits or pages.segments.bits,
        turned=turned,
    )


def _carried(tags: Sequence[Sequence[Tag]], pages: Pages, notes: list[str]) -> tuple[tuple[Tag, ...], ...]:
    """The tags of each image that are carried over; behind a single page, those of its resolution."""
    found: dict[str, None] = {}
    shared: dict[tuple[Tag, ...], tuple[Tag, ...]] = {}
    carried = []
    for of_page in tags:
        why = [_not_carried(tag, pages) for tag in of_page]
        found.update(dict.fromkeys(each for each in why if each))
        kept = tuple(tag for tag, each in zip(of_page, why, strict=True) if each is None)
        carried.append(shared.setdefault(kept, kept))
    notes.extend(found)
    of_each = tuple(tag for tag in carried[0] if tag.code in RESOLUTION)
    return (*carried, *(of_each for _ in range(pages.count - len(carried))))


def _not_carried(tag: Tag, pages: Pages) -> str | None:
    """Why a tag is not carried over: None where it is, nothing where nobody misses it."""
    if tag.code == SUB_IFDS:
        return f"{tag.count} image(s) in SubIFDs, such as reduced copies"
    if tag.code in OF_PLACES:
        return OF_PLACES[tag.code]
    if tag.kind in (_IFD, _IFD8):
        return f"the directory of tag {tag.code}"
    if tag.code == ICC and pages.is_colour and tag.value[16:20] != b"GRAY":
        return "the ICC profile, which is not of grey"
    if tag.code == _SUBFILE_TYPE and tag.value.strip(b"\0") not in (b"", b"\2"):
        return ""
    changed = pages.is_colour or pages.orientation in TRANSPOSING
    if changed and tag.code == DESCRIPTION and microscopy.is_shaped(text_of_tag(tag)):
        return ""
    return None


def record_of(tags: Sequence[Tag]) -> tuple[dict[str, Any], tuple[Tag, ...]]:
    """What our record among the tags of the first page tells (see `fields_of`), and the other tags."""
    for tag in tags:
        if tag.code >= 65000 and tag.kind == 2 and (fields := fields_of(text_of_tag(tag))):
            return fields, tuple(other for other in tags if other is not tag)
    return {}, tuple(tags)


def text_of_tag(tag: Tag) -> str:
    """The text of a tag, up to the zeros at its end: UTF-8, or Latin-1 where it is none."""
    value = tag.value.rstrip(b"\0")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _description(tags: Sequence[Tag]) -> str:
    """The source's own text: its first description that is no note of tifffile's on the shape."""
    texts = [text_of_tag(tag) for tag in tags if tag.code == DESCRIPTION]
    return next((text for text in texts if not microscopy.is_shaped(text)), "")


def _placed(text: str, dtype: np.dtype[Any], *, turned: bool, samples: int) -> str:
    """A description that fits the image as it is written: in grey, upright, in a file of any name.

    Nothing where the text speaks of colour as of several images.
    """
    if microscopy.is_imagej(text) and samples > 1 and "channels=" in text:
        return ""
    if microscopy.is_ome(text):
        return microscopy.ome_placed(text, dtype, transposed=turned, samples=samples)
    return text


def _resolution(tags: Sequence[Tag], layout: Layout) -> Resolution | None:
    """As the tags say; 1 to 1 without a unit says nothing and is None."""
    numbers = {tag.code: tag.numbers(layout.order) for tag in tags if tag.code in RESOLUTION}
    x, y = (numbers.get(code, ()) for code in (X_RESOLUTION, Y_RESOLUTION))
    unit = numbers.get(RESOLUTION_UNIT) or (2,)
    return from_fractions((x, y, unit[0]))


def from_fractions(tags: tuple[Any, Any, int] | None) -> Resolution | None:
    """Resolution from the values of tags 282, 283 and 296."""
    if tags is None or not all(len(value) == 2 and all(value) for value in tags[:2]):
        return None
    (nx, dx), (ny, dy), unit = tags
    resolution = Resolution(x=nx / dx, y=ny / dy, unit=_UNITS.get(unit, "none"))
    return None if resolution == Resolution(1.0, 1.0) else resolution


def as_fractions(resolution: Resolution | None) -> tuple[tuple[int, int], tuple[int, int], int] | None:
    """Values of tags 282, 283 and 296: fractions of 32-bit numbers, None where they cannot hold it."""
    if resolution is None:
        return None
    most, fractions = 2**32 - 1, []
    for value in (resolution.x, resolution.y):
        if not math.isfinite(value) or not 1 / most <= value <= most:
            return None
        near = Fraction(value).limit_denominator(max(1, min(most, int(most / value))))
        fractions.append((near.numerator, near.denominator))
    x, y = fractions
    return x, y, {name: number for number, name in _UNITS.items()}[resolution.unit]


def resolution_tags(resolution: Resolution | None, layout: Layout) -> tuple[Tag, ...]:
    """Tags 282, 283 and 296, which a TIFF has in any case."""
    x, y, unit = as_fractions(resolution) or ((1, 1), (1, 1), 1)
    return (
        layout.tag(X_RESOLUTION, RATIONAL, x),
        layout.tag(Y_RESOLUTION, RATIONAL, y),
        layout.tag(RESOLUTION_UNIT, SHORT, (unit,)),
    )


def _pitch_and_bits(
    tags: Sequence[Tag], layout: Layout, *, text: str, resolution: Resolution | None, turned: bool
) -> tuple[tuple[float, float] | None, int]:
    """Pixel pitch (y, x) in um of the image upright, and significant bits, as the file tells them.

    OME's physical sizes and ImageJ's unit come before the tags of resolution. 0 bits are not known.
    """
    most = next((tag.numbers(layout.order) for tag in tags if tag.code == _MAX_SAMPLE_VALUE), ())
    bits = (most[0] + 1).bit_length() - 1 if most and (most[0] + 1).bit_count() == 1 else 0
    pitch = resolution.pitch_um if resolution else None
    if microscopy.is_ome(text):
        stated, significant = microscopy.ome_facts(text)
        bits = significant or bits
        if stated is not None:
            pitch = stated[::-1] if turned else stated
    elif microscopy.is_imagej(text):
        x, y = (_number(tags, code, layout) for code in (X_RESOLUTION, Y_RESOLUTION))
        if turned:
            x, y = y, x
        pitch = microscopy.imagej_pitch(text, x, y, without_unit=pitch)
    return pitch, bits


def _number(tags: Sequence[Tag], code: int, layout: Layout) -> float:
    """The value of a fraction, 0 where it is missing or none."""
    value = next((tag.numbers(layout.order) for tag in tags if tag.code == code), ())
    return value[0] / value[1] if len(value) == 2 and value[1] else 0.0
