"""Where a view shows defects, how large and how strong: the truth about an image.

A defect is the list of primitives that it takes out of the scene and puts in; what it changes follows from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError
from longexposure.simulation.defects.kind import MOST, Defect, bounds_um
from longexposure.simulation.geometry.primitives import Point, Primitive
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import Numbers, View

Image = npt.NDArray[np.float32]
Maps = Mapping[str, Image]
Transmission = Callable[[Mapping[Any, npt.ArrayLike]], npt.NDArray[np.floating[Any]]]

MASK_LEVEL = 0.1
"""The mask holds the pixels whose attenuation changes by more than this fraction of the largest change."""


@dataclass(frozen=True, eq=False)
class SeenDefect:
    """A defect in an image.

    Attributes:
        kind, feature, at_um, size_um: see `Defect`.
        at_px: centre of mass of the mask, x and y; (0, 0) is the first pixel's centre.
        size_px: diameter of the disc with the mask's area.
        box_px: first pixel (x, y), width and height of the box around the mask.
        contrast: (T - T0) / T0 where it is strongest within the mask, with the transmission T0 without the
            defect; above 0 it is brighter there.
        area_px: pixels in the mask.
        corner_px: first pixel (x, y) of the box.
        mask: bool, (height, width) of the box.
    """

    kind: str
    feature: str
    at_um: Point
    size_um: float
    at_px: tuple[float, float]
    size_px: float
    box_px: tuple[int, int, int, int]
    contrast: float
    area_px: int
    corner_px: tuple[int, int]
    mask: npt.NDArray[np.bool_] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """All but the mask, as JSON takes it."""
        return {
            "kind": self.kind,
            "feature": self.feature,
            "at_um": list(self.at_um),
            "size_um": self.size_um,
            "at_px": list(self.at_px),
            "size_px": self.size_px,
            "box_px": list(self.box_px),
            "contrast": self.contrast,
            "area_px": self.area_px,
            "corner_px": list(self.corner_px),
        }


def see(defect: Defect, view: View, *, defect_free: Maps, transmission: Transmission) -> SeenDefect:
    """What the view shows of one defect: as `see_all`."""
    return see_all((defect,), view, defect_free=defect_free, transmission=transmission)[0]


def see_all(
    defects: Sequence[Defect], view: View, *, defect_free: Maps, transmission: Transmission
) -> tuple[SeenDefect, ...]:
    """What the view shows of each defect alone, in the surroundings that it has.

    Contrast depends on all that lies on the way, since it hardens the beam; so the maps of the whole scene
    are asked for.

    Args:
        defects: from `add_defects`.
        view: that they were added for.
        defect_free: thickness maps of the scene without any defect, (H, W) each, um.
        transmission: from thickness maps to the fraction of the beam that passes.

    Returns:
        In the order of the defects. One that changes nothing in the image has an empty mask of one pixel.
    """
    largest = {name: float(map_.max(initial=0.0)) for name, map_ in defect_free.items()}
    return tuple(_seen(defect, view, defect_free, largest, transmission) for defect in defects)


def _seen(
    defect: Defect, view: View, defect_free: Maps, largest: Mapping[str, float], transmission: Transmission
) -> SeenDefect:
    window, change = _change_um(defect, view)
    if not change:
        return _unseen(defect, view)
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    shape = (window.height, window.width)
    nothing = np.zeros(shape, np.float32)
    maps = {}
    for name in dict.fromkeys((*defect_free, *change)):
        before = defect_free[name][rows, columns] if name in defect_free else nothing
        after = np.maximum(before + change.get(name, nothing), np.float32(0))
        # One call for both, with the whole image's largest thickness, so that both are made with one table.
        maps[name] = np.concatenate([before.ravel(), after.ravel(), [np.float32(largest.get(name, 0.0))]])
    passed = np.maximum(np.asarray(transmission(maps), np.float64)[:-1], 1e-300).reshape(2, *shape)
    return _measured(defect, view, window, passed)


def _measured(defect: Defect, view: View, window: _Window, passed: Numbers) -> SeenDefect:
    """Numbers and mask from the transmission without and with the defect, (2, h, w), in a window."""
    change = np.log(passed[1] / passed[0])
    size = np.abs(change)
    if not size.max() > 0:
        return _unseen(defect, view)
    mask = size > MASK_LEVEL * size.max()
    y, x = np.nonzero(mask)
    left, top = int(x.min()), int(y.min())
    right, bottom = int(x.max()) + 1, int(y.max()) + 1
    corner = window.left + left, window.top + top
    strongest = np.unravel_index(int(size.argmax()), size.shape)
    return SeenDefect(
        kind=defect.kind,
        feature=defect.feature,
        at_um=defect.at_um,
        size_um=defect.size_um,
        at_px=(float(x.mean()) + window.left, float(y.mean()) + window.top),
        size_px=float(2 * np.sqrt(len(x) / np.pi)),
        box_px=(*corner, right - left, bottom - top),
        contrast=float(np.expm1(change[strongest])),
        area_px=len(x),
        corner_px=corner,
        mask=mask[top:bottom, left:right],
    )


def _unseen(defect: Defect, view: View) -> SeenDefect:
    x, y = view.project([defect.at_um])[0].tolist()
    corner = int(np.clip(round(x), 0, view.width - 1)), int(np.clip(round(y), 0, view.height - 1))
    return SeenDefect(
        kind=defect.kind,
        feature=defect.feature,
        at_um=defect.at_um,
        size_um=defect.size_um,
        at_px=(x, y),
        size_px=0.0,
        box_px=(*corner, 1, 1),
        contrast=0.0,
        area_px=0,
        corner_px=corner,
        mask=np.zeros((1, 1), bool),
    )


@dataclass(frozen=True, kw_only=True)
class _Window(View):
    """A rectangle of another view's pixels, which sees what they see.

    Attributes:
        left, top: its first pixel in the other view.
        whole: the other view.
    """

    left: int
    top: int
    whole: View

    def project(self, points_um: npt.ArrayLike) -> Numbers:
        """As of a view."""
        pixels: Numbers = self.whole.project(points_um) - np.array([self.left, self.top])
        return pixels


def _window(view: View, box: tuple[int, int, int, int]) -> _Window:
    """The window from the first column and row to those after the last."""
    left, top, right, bottom = box
    return _Window(
        height=bottom - top,
        width=right - left,
        pixel_um=view.pixel_um,
        tilt_deg=view.tilt_deg,
        azimuth_deg=view.azimuth_deg,
        source_um=view.source_um,
        left=left,
        top=top,
        whole=view,
    )


def _change_um(defect: Defect, view: View) -> tuple[_Window, dict[str, Image]]:
    """The window in which the defect is seen, and by how much it changes the thicknesses there.

    No maps where nothing changes; less than 1 % of a material's largest change counts as nothing.
    """
    more = [*_with_amount(defect.added, 1), *_with_amount(defect.removed, -1)]
    less = [*_with_amount(defect.added, -1), *_with_amount(defect.removed, 1)]
    box = _box_px([*more, *less], view)
    if box is None:
        return _window(view, (0, 0, 1, 1)), {}
    window = _window(view, box)
    shape = (window.height, window.width)
    change = {primitive.material: np.zeros(shape, np.float32) for primitive in (*more, *less)}
    for primitives, sign in ((more, 1), (less, -1)):
        for name, map_ in thickness_maps(primitives, window).items():
            change[name] += np.float32(sign) * map_
    moved = np.zeros(shape, bool)
    for map_ in change.values():
        size = np.abs(map_)
        moved |= size > 0.01 * size.max()
    if not moved.any():
        return window, {}
    rows, columns = (np.flatnonzero(moved.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    inner = (window.left + left, window.top + top, window.left + right, window.top + bottom)
    return _window(view, inner), {name: map_[top:bottom, left:right] for name, map_ in change.items()}


def _with_amount(primitives: Sequence[Primitive], sign: int) -> Iterator[Primitive]:
    """Primitives whose amount has this sign, as primitives that are there."""
    for primitive in primitives:
        if primitive.amount * sign > 0:
            yield replace(primitive, amount=abs(primitive.amount))


def _box_px(primitives: Sequence[Primitive], view: View) -> tuple[int, int, int, int] | None:
    """First column and row, and those after the last, of the pixels that may show any of the primitives."""
    corners = [corner for primitive in primitives for corner in bounds_um(primitive)]
    if not corners:
        return None
    pixels = view.project(corners)
    limit = np.array([view.width, view.height])
    first = np.clip(np.floor(pixels.min(axis=0)).astype(int) - 1, 0, limit)
    last = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 2, 0, limit)
    if np.any(last <= first):
        return None
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def mask_of(seen: Sequence[SeenDefect], view: View) -> npt.NDArray[np.uint8]:
    """Numbers of the defects from 1 on, (H, W); 0 where there is none, the smaller one where two overlap.

    Raises:
        RecipeError: more than `MOST` defects.
    """
    if len(seen) > MOST:
        raise RecipeError(
            where="mask_of",
            expected=f"at most {MOST} defects",
            found=str(len(seen)),
            advice="put fewer defects into one image",
        )
    labels = np.zeros((view.height, view.width), np.uint8)
    for number, one in sorted(enumerate(seen, start=1), key=lambda pair: -pair[1].area_px):
        x, y, width, height = one.box_px
        labels[y : y + height, x : x + width][one.mask] = number
    return labels
