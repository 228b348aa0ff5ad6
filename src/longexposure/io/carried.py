"""What a TIFF says beside its grey values, kept for the file that is written from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from longexposure.io import microscopy
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
class TiffParts:
    """What a TIFF has beside its grey values.

    Attributes:
        layout: byte order and size of its offsets.
        segments: how its pages lie in it.
        single: whether its images lie behind one another after a single page.
        pages: the tags of each page that are carried over.
        text: its description, as read.
        resolution: of the image upright, as its tags say.
        pitch_um: what its tags and its description say of the pitch (y, x).
        kept: whether description and resolution fit the image as it is written: it was not turned, say.
    """

    layout: Layout = _LITTLE
    segments: Segments = _PLAIN
    single: bool = False
    pages: tuple[tuple[Tag, ...], ...] = ()
    text: str = ""
    resolution: Resolution | None = None
    pitch_um: tuple[float, float] | None = None
    kept: bool = True


def carried_tags(
    pages: Sequence[Sequence[Tag]], *, count: int, turned: bool, grey_of_colour: bool, notes: list[str]
) -> tuple[tuple[Tag, ...], ...]:
    """The tags of each image that are carried over; what is not is added to `notes`.

    Args:
        pages: the tags of each page.
        count: number of images; those behind a single page get the tags of its resolution.
        turned: whether rows became columns.
        grey_of_colour: whether the image was stored as colour or with a palette.
        notes: as in `Stored.notes`.
    """
    found: dict[str, None] = {}
    shared: dict[tuple[Tag, ...], tuple[Tag, ...]] = {}
    carried = []
    for tags in pages:
        kept = []
        for tag in tags:
            why = _not_carried(tag, turned=turned, grey_of_colour=grey_of_colour)
            if why is None:
                kept.append(tag)
            elif why:
                found[why] = None
        carried.append(shared.setdefault(tuple(kept), tuple(kept)))
    if len(carried) < count:
        of_each = tuple(tag for tag in carried[0] if tag.code in RESOLUTION)
        carried += [of_each] * (count - len(carried))
    notes.extend(found)
    return tuple(carried)


def _not_carried(tag: Tag, *, turned: bool, grey_of_colour: bool) -> str | None:
    """Why a tag is not carried over: None where it is, nothing where nobody misses it."""
    if tag.code == SUB_IFDS:
        return f"{tag.count} image(s) in SubIFDs, such as reduced copies"
    if tag.code in OF_PLACES:
        return OF_PLACES[tag.code]
    if tag.kind in (_IFD, _IFD8):
        return f"the directory of tag {tag.code}"
    if tag.code == ICC and grey_of_colour and tag.value[16:20] != b"GRAY":
        return "the ICC profile, which is not of grey"
    if tag.code == _SUBFILE_TYPE and tag.value.strip(b"\0") not in (b"", b"\2"):
        return ""
    if tag.code == DESCRIPTION and (turned or grey_of_colour) and microscopy.is_shaped(text_of_tag(tag)):
        return ""
    return None


def record_of(tags: Sequence[Tag]) -> tuple[str, tuple[Tag, ...]]:
    """Our record among the tags of the first page, nothing where there is none, and the other tags."""
    for tag in tags:
        if tag.code >= 65000 and tag.kind == 2:
            text = text_of_tag(tag)
            if fields_of(text):
                return text, tuple(other for other in tags if other is not tag)
    return "", tuple(tags)


def text_of_tag(tag: Tag) -> str:
    """The text of a tag, up to the zeros at its end: UTF-8, or Latin-1 where it is none."""
    value = tag.value.rstrip(b"\0")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def description_of(tags: Sequence[Tag]) -> str:
    """The source's own text: its first description that is no note of tifffile's on the shape."""
    texts = [text_of_tag(tag) for tag in tags if tag.code == DESCRIPTION]
    return next((text for text in texts if not microscopy.is_shaped(text)), "")


def resolution_of(tags: Sequence[Tag], layout: Layout) -> Resolution | None:
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


def pitch_and_bits(
    tags: Sequence[Tag], layout: Layout, *, text: str, resolution: Resolution | None, transposed: bool
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
            pitch = stated[::-1] if transposed else stated
    elif microscopy.is_imagej(text):
        x, y = (_number(tags, code, layout) for code in (X_RESOLUTION, Y_RESOLUTION))
        if transposed:
            x, y = y, x
        pitch = microscopy.imagej_pitch(text, x, y, without_unit=pitch)
    return pitch, bits


def _number(tags: Sequence[Tag], code: int, layout: Layout) -> float:
    """The value of a fraction, 0 where it is missing or none."""
    value = next((tag.numbers(layout.order) for tag in tags if tag.code == code), ())
    return value[0] / value[1] if len(value) == 2 and value[1] else 0.0
