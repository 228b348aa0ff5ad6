"""What all frames of a scene share, and what of the difference of two of them is not noise.

Whatever stands still, part, shading and the detector's fixed pattern, falls out of a difference. What does
not is fitted to it and taken off: a lamp that drifts (a constant, the scene itself, a slow surface) and a
part that creeps by a fraction of a pixel (the scene's two gradients).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.errors import InputError
from longexposure.radiograph import Pixels

SMOOTH_PX = 5
"""Side of the square whose mean is the brightness of a pixel."""
FEWEST_PIXELS = 256
FEWEST_KEPT = 0.2
"""A series is refused when less than this fraction of its pixels can be used."""

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SceneFit:
    """A scene of (H, W) pixels, as its frames show it together.

    Attributes:
        frames: how many there are.
        mean: their mean, (H, W).
        halves: means of every other frame, from the first and from the second on, (2, H, W).
        level: brightness of every pixel: the mean of 5 x 5 pixels of `mean`.
        ends: grey values at which the scale ends.
        reliability: fraction of the brightness' variance that is the scene's own and not noise.
        basis: (K, H * W), 0 at unusable pixels: constant, slow surface, scene, its gradients along y and x.
        sizes: (K,) what the basis was divided by, in grey values.
        usable: pixels that do not clip and are not faulty.
        fitted: those to which the basis is fitted.
        inverse: (K, K), of the products of the basis there.
        slack: pixels over the degrees of freedom that the fit leaves.
    """

    frames: int
    mean: Numbers
    halves: Numbers
    level: Numbers
    ends: tuple[float, float]
    reliability: float
    basis: npt.NDArray[np.float32]
    sizes: Numbers
    usable: Mask
    fitted: Mask
    inverse: Numbers
    slack: float

    def fitted_to(self, pixels: Mask) -> SceneFit:
        """The same with the basis fitted to these pixels."""
        inside = self.basis[:, pixels.ravel()]
        products = _products(inside, inside)
        lost = int(np.linalg.matrix_rank(products, tol=1e-6 * products.max()))
        return replace(
            self,
            fitted=pixels,
            inverse=np.asarray(np.linalg.pinv(products, rcond=1e-6, hermitian=True)),
            slack=int(pixels.sum()) / (int(pixels.sum()) - lost),
        )

    def residual(self, difference: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Numbers]:
        """A difference (H, W) without what is not noise, 0 at unusable pixels; and the fit (K,)."""
        inside = np.where(self.fitted, difference, np.float32(0)).ravel()
        fit: Numbers = self.inverse @ (self.basis @ inside).astype(np.float64)
        other = (fit.astype(np.float32) @ self.basis).reshape(difference.shape)
        return np.where(self.usable, difference - other, np.float32(0)), fit

    def lost_covariance(self, axis: int) -> float:
        """What the fit takes off the product of neighbours of white noise of variance 1."""
        maps = self.basis.reshape(-1, *self.mean.shape)
        both = neighbours(self.fitted, axis, 0) & neighbours(self.fitted, axis, 1)
        products = _products(*(neighbours(maps, axis, which)[:, both] for which in (0, 1)))
        return float((self.inverse * products).sum()) / max(int(both.sum()), 1)


def fit_scene(frames: Sequence[Pixels], *, where: str) -> SceneFit:
    """The scene of frames (H, W), with the basis fitted to all usable pixels.

    Raises:
        InputError: values that are no numbers, or too few pixels that do not clip.
    """
    shape = frames[0].shape
    halves = np.stack([sum(half, np.zeros(shape)) / len(half) for half in (frames[::2], frames[1::2])])
    fraction = (len(frames) // 2) / len(frames)
    mean: Numbers = (1 - fraction) * halves[0] + fraction * halves[1]
    if not np.isfinite(mean).all():
        raise InputError(
            where=where,
            expected="finite grey values",
            found="NaN or infinity",
            advice="replace them, for example by the median of their neighbours",
        )
    ends = _ends(frames[0])
    at_ends = sum(((frame <= ends[0]) | (frame >= ends[1])).astype(np.int64) for frame in frames)
    low, high = np.percentile(mean, (1, 99))
    away = np.abs(mean - ndimage.median_filter(mean, 3, mode="nearest"))
    usable = ~(away > max(high - low, 1e-12)) & (2 * at_ends <= len(frames))
    check_enough(usable, where, "reach neither black nor white by their noise")
    level = _smoothed(mean, usable)
    total, noise = (float(np.var(part[usable])) for part in (level, _smoothed(halves[0] - halves[1], usable)))
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    maps = [np.ones_like(mean), y, x, y * y, x * y, x * x, mean - mean[usable].mean(), *np.gradient(mean)]
    basis = np.stack([np.where(usable, each, 0.0).ravel() for each in maps])
    sizes = np.sqrt((basis**2).mean(axis=1)).clip(1e-12)
    return SceneFit(
        frames=len(frames),
        mean=mean,
        halves=halves,
        level=level,
        ends=ends,
        reliability=max(0.0, 1.0 - noise / 4 / total) if total > 0 else 0.0,
        basis=(basis / sizes[:, None]).astype(np.float32),
        sizes=sizes,
        usable=usable,
        fitted=usable,
        inverse=np.zeros((len(basis), len(basis))),
        slack=1.0,
    ).fitted_to(usable)


def check_enough(kept: Mask, where: str, which: str) -> None:
    """Refuse a series of which too few pixels can be used."""
    count = int(kept.sum())
    if count < max(FEWEST_PIXELS, FEWEST_KEPT * kept.size):
        raise InputError(
            where=where,
            expected=f"at least {FEWEST_PIXELS} pixels and {FEWEST_KEPT:.0%} of the image that {which}",
            found=f"{count} of {kept.size}",
            advice="expose so that most of the image lies between black and white",
        )


def neighbours(image: npt.NDArray[Any], axis: int, which: int) -> npt.NDArray[Any]:
    """Every pixel (..., H, W) that has a next one along x (axis 0) or y, or (which = 1) that next one."""
    part = slice(1, None) if which else slice(None, -1)
    return image[..., part] if axis == 0 else image[..., part, :]


def _products(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Numbers:
    """The product of one and the other's transpose, in double precision, without copies of both in it."""
    parts = (np.array_split(each, 64, axis=1) for each in (one, other))
    return np.asarray(sum(a.astype(np.float64) @ b.astype(np.float64).T for a, b in zip(*parts, strict=True)))


def _ends(frame: Pixels) -> tuple[float, float]:
    """Values at which a frame's grey scale ends: those of the type, and where many pixels pile up.

    Of integers only the highest value of some number of bits, 4095 for example, can be such a place.
    """
    whole = frame.dtype.kind == "u"
    low, high = (0.0, float(np.iinfo(frame.dtype).max)) if whole else (-np.inf, np.inf)
    top, bottom = float(frame.max()), float(frame.min())
    full = whole and int(top) > 0 and int(top) & (int(top) + 1) == 0
    if (not whole or full) and _piled(frame, top):
        high = top
    if not whole and _piled(-frame, -bottom):
        low = bottom
    return low, high


def _piled(frame: Pixels, top: float) -> bool:
    """Whether far more pixels have the highest value than the next one below."""
    below = frame[frame < top]
    there = int((frame == top).sum())
    return below.size > 0 and there >= 20 and there >= 3 * int((below == below.max()).sum())


def _smoothed(image: Numbers, usable: Mask) -> Numbers:
    """Mean over 5 x 5 usable pixels; the pixel itself where there is none."""
    weight = ndimage.uniform_filter(usable.astype(np.float64), SMOOTH_PX, mode="nearest")
    total = ndimage.uniform_filter(np.where(usable, image, 0.0), SMOOTH_PX, mode="nearest")
    some = weight > 0.5 / SMOOTH_PX**2
    return np.where(some, total / np.where(some, weight, 1.0), image)
