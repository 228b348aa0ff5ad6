"""Where a view shows defects, how large and how strong: the truth about an image.

A defect is the primitives that it takes out of the scene and those that it puts in; all follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError
from longexposure.simulation.defects.kind import MOST, Defect
from longexposure.simulation.geometry.extent import bounds_um
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
        box_px: first pixel (x, y), width and height of the box around the mask.
        contrast: (T - T0) / T0 where it is strongest within the mask, with the transmission T0 without the
            defect; above 0 it is brighter there.
        mask: bool, (height, width) of the box.
    """

    kind: str
    feature: str
    at_um: Point
    size_um: float
    at_px: tuple[float, float]
    box_px: tuple[int, int, int, int]
    contrast: float
    mask: npt.NDArray[np.bool_] = field(repr=False)

    @property
    def area_px(self) -> int:
        """Pixels in the mask."""
        return int(self.mask.sum())

    @property
    def size_px(self) -> float:
        """Diameter of the disc with the mask's area."""
        return float(2 * np.sqrt(self.area_px / np.pi))

    @property
    def corner_px(self) -> tuple[int, int]:
        """First pixel (x, y) of the box."""
        return self.box_px[:2]

    def as_dict(self) -> dict[str, Any]:
        """All but the mask, as JSON takes it."""
        names = ("kind", "feature", "at_um", "size_um", "at_px", "size_px", "box_px", "contrast", "area_px")
        values = {name: getattr(self, name) for name in (*names, "corner_px")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


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
    return tuple(_see(defect, view, defect_free, largest, transmission) for defect in defects)


def _see(
    defect: Defect, view: View, defect_free: Maps, largest: Mapping[str, float], transmission: Transmission
) -> SeenDefect:
    """One defect; `largest` is each material's largest thickness in the whole image."""
    window, change_um = _change_um(defect, view)
    shape = window.height, window.width
    change = np.zeros(shape)
    if change_um:
        place = slice(window.top, window.top + shape[0]), slice(window.left, window.left + shape[1])
        nothing = np.zeros(shape, np.float32)
        maps = {}
        for name in dict.fromkeys((*defect_free, *change_um)):
            before = defect_free[name][place] if name in defect_free else nothing
            after = np.maximum(before + change_um.get(name, nothing), 0)
            # one call for both, with the whole image's largest thickness, so that both have one table
            maps[name] = np.concatenate([before.ravel(), after.ravel(), [np.float32(largest.get(name, 0.0))]])
        passed = np.maximum(np.asarray(transmission(maps), np.float64)[:-1], 1e-300).reshape(2, *shape)
        change = np.log(passed[1] / passed[0])
    size = np.abs(change)
    mask = size > MASK_LEVEL * size.max()
    y, x = np.nonzero(mask)
    if len(x):
        left, top, right, bottom = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
        mask = mask[top:bottom, left:right]
        at_px = float(x.mean()) + window.left, float(y.mean()) + window.top
        corner = window.left + left, window.top + top
    else:
        mask = np.zeros((1, 1), bool)
        right, down = view.project([defect.at_um])[0].tolist()
        at_px = right, down
        corner = int(np.clip(round(right), 0, view.width - 1)), int(np.clip(round(down), 0, view.height - 1))
    return SeenDefect(
        kind=defect.kind,
        feature=defect.feature,
        at_um=defect.at_um,
        size_um=defect.size_um,
        at_px=at_px,
        box_px=(*corner, mask.shape[1], mask.shape[0]),
        contrast=float(np.expm1(change.flat[size.argmax()])) if len(x) else 0.0,
        mask=mask,
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


def _window(view: View, left: int, top: int, right: int, bottom: int) -> _Window:
    """The window from the first column and row to those after the last."""
    size = {"height": bottom - top, "width": right - left}
    return _Window(**vars(view) | size, left=left, top=top, whole=view)


def _change_um(defect: Defect, view: View) -> tuple[_Window, dict[str, Image]]:
    """The window in which the defect is seen, and by how much it changes the thicknesses there.

    No maps where nothing changes; less than 1 % of a material's largest change counts as nothing.
    """
    more = [*_with_amount(defect.added, 1), *_with_amount(defect.removed, -1)]
    less = [*_with_amount(defect.added, -1), *_with_amount(defect.removed, 1)]
    limit = np.array([view.width, view.height])
    pixels = view.project(bounds_um([*more, *less]))
    first = np.clip(np.floor(pixels.min(axis=0, initial=np.inf)) - 1, 0, limit).astype(int)
    last = np.clip(np.ceil(pixels.max(axis=0, initial=-np.inf)) + 2, 0, limit).astype(int)
    if np.any(last <= first):
        return _window(view, 0, 0, 1, 1), {}
    window = _window(view, *first.tolist(), *last.tolist())
    shape = (window.height, window.width)
    change = {primitive.material: np.zeros(shape, np.float32) for primitive in (*more, *less)}
    for primitives, sign in ((more, 1), (less, -1)):
        for name, map_ in thickness_maps(primitives, window).items():
            change[name] += np.float32(sign) * map_
    moved = np.zeros(shape, bool)
    for map_ in change.values():
        size = np.abs(map_)
        moved |= size > 0.01 * size.max()
    rows, columns = np.flatnonzero(moved.any(axis=1)).tolist(), np.flatnonzero(moved.any(axis=0)).tolist()
    if not rows:
        return window, {}
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    x, y = window.left, window.top
    inner = _window(view, x + left, y + top, x + right, y + bottom)
    return inner, {name: map_[top:bottom, left:right] for name, map_ in change.items()}


def _with_amount(primitives: Sequence[Primitive], sign: int) -> Iterator[Primitive]:
    """Primitives whose amount has this sign, as primitives that are there."""
    for primitive in primitives:
        if primitive.amount * sign > 0:
            yield replace(primitive, amount=abs(primitive.amount))


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
