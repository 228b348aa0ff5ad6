"""Writing a TIFF: pixels, and what else the source's file says, as it says it."""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

import numpy as np

from longexposure.io import microscopy
from longexposure.io.carried import (
    RESOLUTION,
    TiffParts,
    as_fractions,
    from_fractions,
    resolution_tags,
    text_of_tag,
)
from longexposure.io.record import is_misread, is_plain, record_json, stated_resolution
from longexposure.io.segments import CODES, Segments
from longexposure.io.tags import ASCII, DESCRIPTION, LONG, LONG8, SHORT, Layout, Tag, directory_bytes
from longexposure.radiograph import Pixels, Radiograph, Resolution, ends_of

CLASSIC_BYTES = 2**32 - 2**26
"""Pixels beyond this go into a BigTIFF: offsets of a classic TIFF have 32 bits; tags need room too."""

RECORD = 65360
"""Private tag of the first page for the history and whatever else has no tag of its own, as JSON; a lower one
where another program has this."""

_USUAL = ((317, (1,)), (339, (1,)))
"""Tags that a page need not have, with the values that are meant where they are missing."""

_NATIVE = "<" if sys.byteorder == "little" else ">"
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
_BLOCK_BYTES = 1 << 22

Item = TypeVar("Item")
Made = TypeVar("Made")


def write_tiff(radiograph: Radiograph, file: BinaryIO, *, compress: str | None = None) -> None:
    """Write every image as one page, in the type, byte order, layout and compression of the source's TIFF.

    Its tags are carried over, description and resolution too, and our record is put beside them. An array
    made in memory, or read from another format, is written uncompressed, with the tags of its pitch.

    Args:
        radiograph: what is written.
        file: open for writing, empty.
        compress: compression instead of the source's, see `longexposure.io.segments.Compression`.

    Raises:
        RecipeError: an unknown compression.
        OutputError: a history that cannot be written.
    """
    stored = radiograph.stored if radiograph.stored and radiograph.stored.format == "tiff" else None
    parts = stored.parts if stored else TiffParts()
    same = stored is not None and stored.shape == radiograph.pixels.shape
    images = radiograph.pixels if radiograph.pixels.ndim == 3 else radiograph.pixels[None]
    dtype = np.dtype(radiograph.dtype)
    segments = parts.segments if compress is None else parts.segments.with_compression(compress)
    if segments.bits and (dtype != np.uint16 or ends_of(images)[1] >= 2**segments.bits):
        segments = Segments(segments.compression, tile=segments.tile, rows=segments.rows)
    single = parts.single and same and segments.compression == "none"
    room = CLASSIC_BYTES if segments.compression == "none" else CLASSIC_BYTES // 2  # noise grows when packed
    big = parts.layout.big or (images.size * dtype.itemsize > room and not single)
    layout = Layout(parts.layout.order, big=big)
    tags = _page_tags(radiograph, parts, layout, same=same, single=single)
    convert = radiograph.stored.file_values if radiograph.stored else lambda share: share
    pages = _Pages(file, layout, segments, dtype=dtype, convert=convert)
    photometric = 0 if radiograph.polarity == "white-is-zero" else 1
    pages.write(images, tags, photometric=photometric, single=single)


def _page_tags(
    radiograph: Radiograph, parts: TiffParts, layout: Layout, *, same: bool, single: bool
) -> list[list[Tag]]:
    """The tags of each page beside those of its pixels: the source's, and our record in the first."""
    pages = [list(tags) for tags in parts.pages[: radiograph.pages]]
    pages += [[] for _ in range(radiograph.pages - len(pages))]
    keeps = bool(parts.pages) and not parts.turned and radiograph.resolution == parts.resolution
    resolution = parts.resolution
    if not keeps:
        resolution = from_fractions(as_fractions(stated_resolution(radiograph)))
        ours = resolution_tags(resolution, layout)
        pages = [[*(tag for tag in tags if tag.code not in RESOLUTION), *ours] for tags in pages]
    if not same:
        pages = [[tag for tag in tags if not _of_shape(tag)] for tags in pages]
    elif parts.single and not single:
        pages[0] = [_whole(tag) for tag in pages[0]]
    description, pages[0] = _described(radiograph, parts, pages[0], same=same)
    keeps = bool(parts.pages) and radiograph.resolution == parts.resolution and description == parts.placed
    own_pitch = parts.pitch_um if keeps else _pitch(resolution)
    record = record_json(
        radiograph,
        description=description,
        resolution=resolution,
        pitch_um=own_pitch,
        polarity=radiograph.polarity,
    )
    if record:
        taken = {tag.code for tag in pages[0]}
        code = next(code for code in range(RECORD, 0, -1) if code not in taken)
        pages[0].append(_text(code, record))
    return pages


def _described(
    radiograph: Radiograph, parts: TiffParts, tags: list[Tag], *, same: bool
) -> tuple[str, list[Tag]]:
    """The description that the first page has, and its tags with that.

    What ImageJ, OME and other programs read stays only where it is the source's own, of the same pages.
    """
    text, placed = radiograph.description, parts.placed
    at = next((i for i, tag in enumerate(tags) if tag.code == DESCRIPTION and not _of_shape(tag)), None)
    if at is not None and placed and text == parts.description and (same or not is_misread(placed)):
        if placed == text_of_tag(tags[at]):
            return placed, tags
        return placed, [*tags[:at], _text(DESCRIPTION, placed), *tags[at + 1 :]]
    tags = tags if at is None else [*tags[:at], *tags[at + 1 :]]
    if text and is_plain(text) and not is_misread(text):
        return text, [_text(DESCRIPTION, text), *tags]
    return "", tags


def _of_shape(tag: Tag) -> bool:
    return tag.code == DESCRIPTION and microscopy.is_shaped(text_of_tag(tag))


def _whole(tag: Tag) -> Tag:
    return _text(DESCRIPTION, microscopy.whole_shape(text_of_tag(tag))) if _of_shape(tag) else tag


def _pitch(resolution: Resolution | None) -> tuple[float, float] | None:
    return resolution.pitch_um if resolution else None


def _text(code: int, text: str) -> Tag:
    value = text.encode() + b"\0"
    return Tag(code, ASCII, len(value), value)


class _Pages:
    """Writes into an empty file all pixels, so that plain pages lie together, and then the directories."""

    def __init__(
        self,
        file: BinaryIO,
        layout: Layout,
        segments: Segments,
        *,
        dtype: np.dtype[Any],
        convert: Callable[[Pixels], Pixels],
    ) -> None:
        self.file, self.layout, self.segments = file, layout, segments
        self.dtype, self.convert = dtype, convert
        self.at = 0

    def write(self, images: Pixels, tags: Sequence[Sequence[Tag]], *, photometric: int, single: bool) -> None:
        """Write images (N, H, W) with the tags of each page; `single` puts all behind one page."""
        shape = images.shape[1], images.shape[2]
        first = len(self.layout.header) + struct.calcsize(self.layout.place)
        self._put(self.layout.header + struct.pack(self.layout.place, first if single else 0))
        if single:  # its directory goes first: it has a place that is small, however many images follow
            self.segments, size = Segments(), images.size // len(images) * self.dtype.itemsize
            length = len(self._directory(shape, tags[0], photometric, [(0, size)], following=0))
            self._put(self._directory(shape, tags[0], photometric, [(first + length, size)], following=0))
            for image in images:
                self._pixels(image)
            return
        places_of = [self._pixels(image) for image in images]
        self._put(bytes(self.at % 2))
        first, shared = self.at, dict[bytes, int]()
        for number, (page, places) in enumerate(zip(tags, places_of, strict=True), start=1):
            following = 0 if number == len(images) else None
            self._put(self._directory(shape, page, photometric, places, following=following, shared=shared))
        self.file.seek(len(self.layout.header))
        self.file.write(struct.pack(self.layout.place, first))
        self.file.seek(self.at)

    def _pixels(self, image: Pixels) -> list[tuple[int, int]]:
        """Write one image; returns place and size of each of its strips or tiles."""
        places = []
        if self.segments.compression == "none" and not self.segments.bits:
            for share in self.segments.shares(image, self.dtype):
                start, step = self.at, max(1, _BLOCK_BYTES // (share.shape[1] * self.dtype.itemsize))
                if self.dtype == share.dtype and self.layout.order == _NATIVE:
                    step = len(share)
                for row in range(0, len(share), step):
                    self._put(self.segments.packed(self.convert(share[row : row + step]), self.layout))
                places.append((start, self.at - start))
            return places
        shares = self.segments.shares(image, self.dtype)
        for data in _in_order(lambda share: self.segments.packed(self.convert(share), self.layout), shares):
            start = self.at
            self._put(data)
            places.append((start, self.at - start))
        return places

    def _directory(
        self,
        shape: tuple[int, int],
        tags: Sequence[Tag],
        photometric: int,
        places: Sequence[tuple[int, int]],
        *,
        following: int | None,
        shared: dict[bytes, int] | None = None,
    ) -> bytes:
        """The directory of one page, to stand here."""
        height, width = shape
        tag, segments, tiled = self.layout.tag, self.segments, self.segments.tile is not None
        place = LONG8 if self.layout.big else LONG
        own = [
            tag(256, LONG, (width,)),
            tag(257, LONG, (height,)),
            tag(258, SHORT, (segments.bits or 8 * self.dtype.itemsize,)),
            tag(259, SHORT, (CODES[segments.compression],)),
            tag(262, SHORT, (photometric,)),
            tag(324 if tiled else 273, place, [start for start, _ in places]),
            tag(277, SHORT, (1,)),
            tag(325 if tiled else 279, place, [size for _, size in places]),
            tag(317, SHORT, (segments.predictor_tag(self.dtype),)),
            tag(339, SHORT, (_SAMPLE_FORMATS[self.dtype.kind],)),
        ]
        if segments.tile is None:
            own.append(tag(278, LONG, (segments.rows_of(height, width, self.dtype.itemsize),)))
        else:
            own += [tag(322, LONG, segments.tile[1:]), tag(323, LONG, segments.tile[:1])]
        own = [each for each in own if (each.code, each.numbers(self.layout.order)) not in _USUAL]
        return directory_bytes(
            [*own, *tags],
            self.layout,
            at=self.at,
            shared={} if shared is None else shared,
            following=following,
        )

    def _put(self, data: Any) -> None:
        plain = memoryview(data).cast("B")
        self.file.write(plain)
        self.at += plain.nbytes


def _in_order(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What a function makes of each item, in order, computed by several threads a little ahead."""
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, "longexposure-packer") as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
