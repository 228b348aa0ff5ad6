"""Cut-outs and thumbnails: however many images there are, they fit, and every grey value is the image's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from longexposure.report import cutouts
from longexposure.report.cutouts import DETAILS, Album, Picture, picture_of

Array = np.ndarray[Any, Any]


def pair(shape: tuple[int, int] = (300, 400), seed: int = 0, dtype: str = "uint16") -> dict[str, Array]:
    r = np.random.default_rng(seed)
    clean = np.full(shape, 20_000.0)
    images = {"before": r.normal(clean, 400), "after": r.normal(clean, 60)}
    return {role: image.astype(dtype) for role, image in images.items()}


def of(images: dict[str, Array], album: Album, chosen: tuple[tuple[int, int], ...] = ()) -> Picture:
    return picture_of(images, detail=album.detail, noise=None, chosen=chosen)


def exact(picture: Picture, images: dict[str, Array]) -> bool:
    return all(
        np.array_equal(part, images[role][cut.top : cut.top + cut.height, cut.left : cut.left + cut.width])
        for cut in picture.cutouts
        for role, part in cut.images.items()
    )


def test_details_never_grow() -> None:
    for one, other in itertools.pairwise(DETAILS):
        assert all(new <= old for old, new in zip(one, other, strict=True))
        assert one != other


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (64, 64), (500, 900)])
def test_a_few_small_images_are_whole(shape: tuple[int, int]) -> None:
    images = pair(shape)
    picture = of(images, Album())
    (cutout,) = picture.cutouts
    assert (cutout.left, cutout.top, cutout.height, cutout.width) == (0, 0, *shape)
    assert exact(picture, images)


@pytest.mark.parametrize("room", [10**7, 10**6, 3 * 10**5, 60_000])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_everything_fits_and_every_grey_value_is_the_images(room: int, count: int) -> None:
    album = Album()
    sources = [pair(seed=seed) for seed in range(count)]
    for images in sources:
        album.add(of(images, album), room)
        assert sum(picture.nbytes() for picture in album.pictures) == album.nbytes <= room
    for picture, images in zip(album.pictures, sources, strict=True):
        assert exact(picture, images)
    if room >= 3 * 10**5:
        assert all(picture.cutouts and picture.thumbnails for picture in album.pictures)


def test_pictures_that_came_first_show_as_much_as_those_that_came_last() -> None:
    album = Album()
    for seed in range(20):
        album.add(of(pair(seed=seed), album), 2 * 10**6)
    shown = {
        (picture.thumbnails["before"].shape, *((cut.width, cut.height) for cut in picture.cutouts))
        for picture in album.pictures
    }
    assert len(shown) == 1


def test_the_most_changed_place_is_among_what_is_left() -> None:
    album = Album()
    for seed in range(40):
        images = pair(seed=seed)
        images["before"][200:204, 33:37] += 3000
        album.add(of(images, album), 10**6)
    assert album.detail.cutout_px < 200
    for picture in album.pictures:
        assert any(cut.left <= 33 < 37 <= cut.left + cut.width for cut in picture.cutouts)
        assert any(cut.top <= 200 < 204 <= cut.top + cut.height for cut in picture.cutouts)


def test_chosen_places_stay_with_the_changed_ones_and_those_outside_are_left_out() -> None:
    album = Album()
    chosen = ((399, 299), (10, 150), (400, 10), (-1, 3))
    for seed in range(30):
        images = pair(seed=seed)
        album.add(of(images, album, chosen), 10**6)
    for picture in album.pictures:
        assert [place[:2] for place in picture.places if place.change is None] == [(399, 299), (10, 150)]
        assert len(picture.cutouts) > 2
        for place in picture.places[:2]:
            assert any(cut.holds(place) for cut in picture.cutouts)


def test_where_nothing_else_helps_what_changed_least_goes_first_and_chosen_places_last() -> None:
    album = Album(step=len(DETAILS) - 1)
    for seed in range(20):
        images = pair(seed=seed)
        if seed == 3:
            images["before"][100:110, 100:110] += 9000
        album.add(of(images, album, ((5, 5),) if seed == 7 else ()), 10**9)
    album.fit(album.nbytes - 30_000)
    left = [seed for seed, picture in enumerate(album.pictures) if picture.cutouts]
    assert {3, 7} <= set(left)
    assert len(left) < 20
    album.fit(24_000)
    assert album.nbytes <= 24_000
    assert not any(picture.cutouts for picture in album.pictures)


def test_cutouts_hold_no_view_of_the_image() -> None:
    images = pair()
    picture = of(images, Album(step=4))
    for part in (part for cut in picture.cutouts for part in cut.images.values()):
        assert not any(np.shares_memory(part, image) for image in images.values())


def test_no_more_than_the_room_is_ever_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    real = cutouts.Album.fit

    def watched(self: Album, room: int) -> None:
        real(self, room)
        held.append(sum(picture.nbytes() for picture in self.pictures))

    monkeypatch.setattr(cutouts.Album, "fit", watched)
    album = Album()
    for seed in range(25):
        album.add(of(pair((120, 120), seed=seed), album), 400_000)
    assert max(held) <= 400_000
