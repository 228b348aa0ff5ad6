"""What a page shows of its images when it stands alone: thumbnails of all, cut-outs of some, within a budget.

The more images there are, the smaller all of it becomes, in the steps of `DETAILS`: nothing needs to be known
of the images still to come, and no more than the budget is ever held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels
from longexposure.report.coding import packed, png_of
from longexposure.report.greys import (
    Place,
    Summary,
    changed_places,
    halved,
    summary,
    thumbnails,
    window_of,
)


class Detail(NamedTuple):
    """How much is shown of every image.

    Attributes:
        thumbnail_px: longest side of the thumbnails.
        cutout_px: sides of the cut-outs.
        changed: cut-outs of most changed places; chosen places come on top.
    """

    thumbnail_px: int
    cutout_px: int
    changed: int


# fmt: off
DETAILS = (
    Detail(1024, 1024, 4), Detail(512, 512, 4), Detail(512, 256, 4), Detail(512, 256, 2),
    Detail(256, 256, 2), Detail(256, 192, 2), Detail(256, 160, 2), Detail(256, 128, 2),
    Detail(128, 128, 2), Detail(128, 128, 1), Detail(128, 96, 1), Detail(64, 96, 1),
    Detail(64, 64, 1), Detail(32, 64, 1), Detail(32, 48, 1), Detail(32, 32, 1),
)
# fmt: on
"""From few images to many; no number ever grows, so that the next is cut from the one before."""

BASE64 = 4 / 3
LEAST_PACKING = 0.5
"""Images that take less room count as if they took so much, for their pixels are in memory as they are."""

FLAG_BYTES = 48
"""What a flag takes in a page, about."""

OVERHEAD_BYTES = 256
"""What a page spends on markup for a thumbnail or cut-out."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """The grey values of a rectangle in all images of a picture."""

    left: int
    top: int
    images: Mapping[str, Pixels]

    @property
    def width(self) -> int:
        return int(next(iter(self.images.values())).shape[1])

    @property
    def height(self) -> int:
        return int(next(iter(self.images.values())).shape[0])

    def holds(self, place: Place) -> bool:
        return 0 <= place.x - self.left < self.width and 0 <= place.y - self.top < self.height

    def around(self, place: Place, side: int) -> Cutout:
        """The square around a place of this cut-out, as far as it goes, in memory of its own."""
        left = max(0, min(place.x - self.left - side // 2, self.width - side))
        top = max(0, min(place.y - self.top - side // 2, self.height - side))
        window = np.s_[top : top + side, left : left + side]
        images = {role: pixels[window].copy() for role, pixels in self.images.items()}
        return Cutout(self.left + left, self.top + top, images)


@dataclass(eq=False)
class Picture:
    """What a page holds of one image, its original and a reference.

    Attributes:
        shape: height and width.
        dtype: type of the grey values.
        window: grey values between which it is shown at first.
        summaries: statistics by role, of all pixels.
        places: chosen places, then the most changed ones.
        factor: side of the squares that became a pixel of a thumbnail.
        ends: grey values of 0 and 254 in the thumbnails.
        thumbnails: by role; none where there was no room.
        cutouts: what is shown to the bit.
        tiles: where the whole images lie beside the page, None where they do not.
        flags: boxes that are drawn over it: x, y, width, height and what is said of them.
        name: how the page calls it among the others of a stack.
        packing: room that a byte of its pixels took when it was made; cut further, it may be more or less.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    window: tuple[float, float]
    summaries: Mapping[str, Summary]
    places: Sequence[Place]
    factor: int
    ends: tuple[float, float]
    thumbnails: dict[str, npt.NDArray[np.uint8]]
    cutouts: list[Cutout]
    tiles: Mapping[str, Any] | None = None
    flags: Sequence[tuple[Any, ...]] = ()
    name: str = ""
    packing: float = 1.0

    def nbytes(self) -> int:
        """What it takes in a page, about."""
        arrays = [*self.thumbnails.values(), *(each for cut in self.cutouts for each in cut.images.values())]
        names = sum(map(len, self.tiles["names"])) + 8 * len(self.tiles["names"]) if self.tiles else 0
        pixels = sum(each.nbytes for each in arrays) * self.packing * BASE64
        return int(pixels) + OVERHEAD_BYTES * (len(arrays) + 4) + names + FLAG_BYTES * len(self.flags)

    def reduce(self, detail: Detail) -> None:
        """Go back to so much detail; what is less already stays as it is."""
        while self.thumbnails and max(next(iter(self.thumbnails.values())).shape) > detail.thumbnail_px:
            self.thumbnails = {role: halved(each) for role, each in self.thumbnails.items()}
            self.factor *= 2
        self.cutouts = _cut(self.cutouts, self.places, detail)


def picture_of(
    images: Mapping[str, Pixels],
    *,
    detail: Detail,
    noise: NoiseProfile | None,
    chosen: Iterable[tuple[int, int]],
) -> Picture:
    """What a page holds of images of one shape (H, W) and type, the first of which is the original.

    Args:
        images: by role; "before" and "after" among them.
        detail: how much of it.
        noise: of the original, where it is known.
        chosen: places (x, y) to be cut out whatever changed there; those outside are left out.
    """
    before = images["before"]
    height, width = before.shape
    window = window_of(before)
    factor, ends, reduced = thumbnails(list(images.values()), detail.thumbnail_px, window)
    places = [Place(x, y) for x, y in chosen if 0 <= x < width and 0 <= y < height]
    places += changed_places(before, images["after"], noise)
    picture = Picture(
        shape=(height, width),
        dtype=before.dtype,
        window=window,
        summaries={role: summary(pixels) for role, pixels in images.items()},
        places=places,
        factor=factor,
        ends=ends,
        thumbnails=dict(zip(images, reduced, strict=True)),
        cutouts=_cut([Cutout(0, 0, images)], places, detail),
    )
    pixels = [each for cutout in picture.cutouts for each in cutout.images.values()]
    taken = sum(map(len, map(png_of, reduced))) + sum(map(len, map(packed, pixels)))
    picture.packing = max(LEAST_PACKING, taken / sum(each.nbytes for each in (*reduced, *pixels)))
    return picture


def _cut(sources: Sequence[Cutout], places: Iterable[Place], detail: Detail) -> list[Cutout]:
    """Squares around places that none before shows already, from what is there."""
    cutouts: list[Cutout] = []
    changed = 0
    for place in places:
        source = next((each for each in sources if each.holds(place)), None)
        if source is None or (place.change is not None and changed == detail.changed):
            continue
        if not any(each.holds(place) for each in cutouts):
            cutouts.append(source.around(place, detail.cutout_px))
            changed += place.change is not None
    return cutouts


@dataclass
class Album:
    """Pictures that fit into a page together."""

    pictures: list[Picture] = field(default_factory=list)
    step: int = 0
    nbytes: int = 0

    @property
    def detail(self) -> Detail:
        return DETAILS[self.step]

    def add(self, picture: Picture, room: int) -> None:
        """Take one more picture, made with this album's `detail`, and keep all within so many bytes."""
        self.pictures.append(picture)
        self.nbytes += picture.nbytes()
        self.fit(room)

    def fit(self, room: int) -> None:
        """Show less of every image; where that is not enough, drop what changed least, then thumbnails."""
        while self.nbytes > room and self.step + 1 < len(DETAILS):
            self.step += 1
            for picture in self.pictures:
                picture.reduce(self.detail)
            self.nbytes = sum(picture.nbytes() for picture in self.pictures)
        if self.nbytes > room:
            self._drop(int(0.95 * room))  # more than needed, so that it is not the rule from now on

    def _drop(self, room: int) -> None:
        def change(entry: tuple[Picture, Cutout]) -> float:
            changes = [place.change for place in entry[0].places if entry[1].holds(place)]
            return (
                np.inf
                if None in changes
                else max((each for each in changes if each is not None), default=0.0)
            )

        for picture, cutout in sorted(((p, c) for p in self.pictures for c in p.cutouts), key=change):
            if self.nbytes <= room:
                return
            before = picture.nbytes()
            picture.cutouts.remove(cutout)
            self.nbytes += picture.nbytes() - before
        for picture in reversed(self.pictures):
            if self.nbytes <= room:
                return
            before = picture.nbytes()
            picture.thumbnails = {}
            self.nbytes += picture.nbytes() - before
