"""What successive exposures of one scene differ by, which is their noise and nothing else.

Whatever stands still, part, shading and the detector's fixed pattern, falls out of the difference of two
frames. What does not stand still is fitted to each difference and taken off: a lamp that drifts (a constant,
the scene itself, a slow surface) and a part that creeps by a fraction of a pixel (the scene's two gradients).
Pixels that clip, pixels far noisier than others of their brightness (flickering, hit by a particle) and edges
that moved more than a gradient tells are left out.

Sums are kept by brightness and by group of pixels. Leaving out one group after the other tells how sure any
number is that follows from the sums (jackknife), whatever the noise's colour and distribution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.errors import InputError
from longexposure.radiograph import Pixels

GROUPS = 32
"""Groups of pixels for the jackknife."""
BINS = 24
"""Most groups of equal size into which pixels are sorted by brightness."""
PIXELS_A_BIN = 400
SMOOTH_PX = 5
"""Side of the square whose mean is the brightness of a pixel."""
TRUE_BRIGHTNESS = 0.8
"""Where less of what the brightness varies by is the scene's own, a series counts as one brightness."""
LARGEST_PX = 2048
"""Of larger frames the middle is measured, which tells more than enough."""
LEAST = 1e-6
"""Noise below this fraction of the grey values is rounding."""
FEWEST_PIXELS = 256
FEWEST_KEPT = 0.2
"""A series is refused when less than this fraction of its pixels can be used."""
OUTLIER = 5.5
"""A pixel is left out when its variance is above that of its brightness by so many standard deviations ..."""
NOISY = 3.0
"""... and is this many times as large: pixels of one detector differ."""
FROM_ENDS = 3.0
"""Brightness nearer to an end of the grey scale than so many standard deviations counts as clipped; at that
distance clipping takes a four-hundredth off the variance."""
CALM_PX = 5
"""Side of the square whose slopes tell where to look for noise at first."""
REFITTED = 0.99
"""Where fewer of the pixels turn out to be calm, what is not noise is fitted again, to those alone."""
SLOPE_NOISE = 10.0
"""A slope counts as an edge where its square is above so many times what noise gives it."""
EDGE_EXCESS = 0.02
"""Moving edges are left out where they add more than this fraction to the variance."""
GHOSTS = 8
"""Differences that are searched for a part that shows twice in them."""
GHOST = 0.25
"""What moved is in a difference twice, with opposite signs, and so correlates with itself by minus a half."""
FAR_PX = 8
"""Noise of pixels so far apart along both axes is independent; structure is not."""
STRUCTURE = (0.01, 0.05)
"""Share of a difference that is structure: from the first on it is told, from the second on refused."""
EVEN_PX = (16, 32)
"""Side of the places, of small and of other images, whose noise is compared."""
UNEVEN = 0.06
"""Neighbouring places of one brightness may differ by this fraction of the variance, beyond chance."""
SHARED = (0.05, 0.3)
"""Correlation of the noise from frame to frame: from the first on it is told, from the second on refused."""
MOVED_PX = (0.02, 0.5)
"""Creeping from one frame to the next: from the first on it is told, from the second on refused."""
SURELY = 6.0
"""What is told must be beyond chance by so many standard errors."""
DRIFTED = 0.005
"""A change of brightness between frames is told from this fraction on."""

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FrameSeries:
    """Noise of one series of frames, as sums over pixels and differences.

    Attributes:
        frames: how many there were.
        mean: their mean, (H, W); of frames beyond 2048 px the middle.
        halves: means of every other frame, from the first and from the second on, (2, H, W).
        level: brightness of every pixel: the mean of 5 x 5 pixels of `mean`.
        kept: pixels that were used, (H, W).
        count: (B, G) terms, by brightness and by group.
        levels: (B, G) sums of brightness.
        variances: (B, G) sums of the variance of one frame.
        neighbours: (2, B, G) pairs of neighbours along x and along y.
        covariances: (2, B, G) sums of their covariance in one frame.
        notes: what a person should know, a sentence each.
    """

    frames: int
    mean: Numbers
    halves: Numbers
    level: Numbers
    kept: Mask
    count: Numbers
    levels: Numbers
    variances: Numbers
    neighbours: Numbers
    covariances: Numbers
    notes: tuple[str, ...] = ()


def compare_frames(frames: Sequence[Pixels], *, where: str, uniform: bool = False) -> FrameSeries:
    """Gather what successive frames (H, W) of one shape and type differ by.

    Args:
        frames: in the order they were taken.
        where: what they are, for messages.
        uniform: whether there is nothing in them that could move: darks and flats. Hot pixels are noisy
            and would pass for moving edges.

    Raises:
        InputError: fewer than two frames, frames without noise, a part that moved, frames that fraction their
            noise, values that are no numbers, or too few pixels that do not clip.
    """
    if len(frames) < 2:
        raise InputError(
            where=where,
            expected="two or more exposures of the same thing",
            found=str(len(frames)),
            advice="take another, or measure roughly from single images with --from image",
        )
    _check_no_copies(frames, where)
    frames = [_middle(frame) for frame in frames]
    scene = _scene(frames, where=where)
    energy = _energy(scene, frames)
    if energy.power[scene.usable].mean() <= (LEAST * np.abs(scene.mean).max()) ** 2:
        raise InputError(
            where=where,
            expected="exposures that differ by their noise",
            found="none: they differ by their brightness at most",
            advice="a copy is not a repeat, brightened or not: expose again",
        )
    scene, left_out = _calmed(scene, energy, where, uniform=uniform)
    if scene.kept.sum() < REFITTED * scene.usable.sum():
        scene = _fitted(scene, scene.kept)
        energy = _energy(scene, frames)
        scene, left_out = _calmed(scene, energy, where, uniform=uniform)
    told = [*_brightness(frames, scene), *left_out]
    told += [] if uniform else _creep(scene, energy, where)
    told += _structure(scene, energy, where)
    if not uniform:
        _check_even(scene, energy, where)
        _check_ghosts(scene, energy, where)
    return _series(scene, energy, notes=(*told, *_shared(scene, energy, where)))


# What all frames share


@dataclass(frozen=True, eq=False)
class _Scene:
    """What all frames share, and what of a difference is not noise.

    Attributes:
        frames, mean, halves, level: as in `FrameSeries`.
        ends: grey values at which the scale ends.
        reliability: fraction of the brightness' variance that is the scene's own and not noise.
        basis: (K, H * W), 0 at unusable pixels: constant, slow surface, scene, its gradients along y and x.
        sizes: (K,) what the basis was divided by, in grey values.
        usable: pixels that do not clip and are not faulty.
        fitted: those to which the basis is fitted.
        inverse: (K, K), of the products of the basis there.
        slack: pixels over the degrees of freedom that the fit leaves.
        kept: usable pixels that are calm.
        typical: variance of the noise at the brightness of every pixel.
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
    kept: Mask
    typical: Numbers

    def residual(self, difference: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Numbers]:
        """A difference (H, W) without what is not noise, 0 at unusable pixels; and the fit (K,)."""
        inside = np.where(self.fitted, difference, np.float32(0)).ravel()
        fractions: Numbers = self.inverse @ (self.basis @ inside).astype(np.float64)
        other = (fractions.astype(np.float32) @ self.basis).reshape(difference.shape)
        return np.where(self.usable, difference - other, np.float32(0)), fractions

    def taken(self, axis: int) -> float:
        """What the fit takes off the product of neighbours of white noise of variance 1."""
        maps = self.basis.reshape(-1, *self.mean.shape)
        both = neighbours(self.fitted, axis, 0) & neighbours(self.fitted, axis, 1)
        products = _products(*(neighbours(maps, axis, which)[:, both] for which in (0, 1)))
        return float((self.inverse * products).sum()) / max(int(both.sum()), 1)


def _scene(frames: Sequence[Pixels], *, where: str) -> _Scene:
    halves = np.stack([_mean(frames[start::2]) for start in (0, 1)])
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
    usable = ~_lone(mean) & (2 * at_ends <= len(frames))
    _check_enough(usable, where, "reach neither black nor white by their noise")
    level = _smoothed(mean, usable)
    total, noise = (float(np.var(part[usable])) for part in (level, _smoothed(halves[0] - halves[1], usable)))
    basis, sizes = _basis(mean, usable)
    scene = _Scene(
        frames=len(frames),
        mean=mean,
        halves=halves,
        level=level,
        ends=ends,
        reliability=max(0.0, 1.0 - noise / 4 / total) if total > 0 else 0.0,
        basis=basis,
        sizes=sizes,
        usable=usable,
        fitted=usable,
        inverse=np.zeros((len(basis), len(basis))),
        slack=1.0,
        kept=usable,
        typical=np.ones_like(mean),
    )
    return _fitted(scene, usable)


def _fitted(scene: _Scene, to: Mask) -> _Scene:
    """The same with the basis fitted to these pixels."""
    inside = scene.basis[:, to.ravel()]
    products = _products(inside, inside)
    lost = int(np.linalg.matrix_rank(products, tol=1e-6 * products.max()))
    return replace(
        scene,
        fitted=to,
        inverse=np.asarray(np.linalg.pinv(products, rcond=1e-6, hermitian=True)),
        slack=int(to.sum()) / (int(to.sum()) - lost),
    )


def _products(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Numbers:
    """The product of one and the other's transpose, in double precision, without copies of both in it."""
    parts = (np.array_split(each, 64, axis=1) for each in (one, other))
    return np.asarray(sum(a.astype(np.float64) @ b.astype(np.float64).T for a, b in zip(*parts, strict=True)))


def _middle(frame: Pixels) -> Pixels:
    top, left = (max(0, (side - LARGEST_PX) // 2) for side in frame.shape)
    return frame[top : top + LARGEST_PX, left : left + LARGEST_PX]


def _check_no_copies(frames: Sequence[Pixels], where: str) -> None:
    for number, (one, other) in enumerate(itertools.pairwise(frames), start=1):
        if np.array_equal(one, other):
            raise InputError(
                where=where,
                expected="exposures that differ by their noise",
                found=f"the same pixels in exposures {number} and {number + 1}",
                advice="a copy is not a repeat: leave it out, or expose again",
            )


def _mean(frames: Sequence[Pixels]) -> Numbers:
    total = np.zeros(frames[0].shape)
    for frame in frames:
        total += frame
    return total / len(frames)


def _ends(frame: Pixels) -> tuple[float, float]:
    """Values at which a frame's grey scale ends: those of the type, and where many pixels pile up."""
    whole = frame.dtype.kind == "u"
    low, high = (0.0, float(np.iinfo(frame.dtype).max)) if whole else (-np.inf, np.inf)
    top, bottom = float(frame.max()), float(frame.min())
    if (not whole or _all_bits(int(top))) and _piled(frame, top):
        high = top
    if not whole and _piled(-frame, -bottom):
        low = bottom
    return low, high


def _all_bits(value: int) -> bool:
    """Whether it is the highest value of some number of bits, 4095 for example."""
    return value > 0 and value & (value + 1) == 0


def _piled(frame: Pixels, top: float) -> bool:
    """Whether far more pixels have the highest value than the next one below."""
    below = frame[frame < top]
    there = int((frame == top).sum())
    return below.size > 0 and there >= 20 and there >= 3 * int((below == below.max()).sum())


def _lone(mean: Numbers) -> Mask:
    """Pixels that stand out from their neighbours by more than all of the image's contrast."""
    low, high = np.percentile(mean, (1, 99))
    away = np.abs(mean - ndimage.median_filter(mean, 3, mode="nearest"))
    return np.asarray(away > max(high - low, 1e-12))


def _smoothed(image: Numbers, usable: Mask) -> Numbers:
    """Mean over 5 x 5 usable pixels; the pixel itself where there is none."""
    weight = ndimage.uniform_filter(usable.astype(np.float64), SMOOTH_PX, mode="nearest")
    total = ndimage.uniform_filter(np.where(usable, image, 0.0), SMOOTH_PX, mode="nearest")
    some = weight > 0.5 / SMOOTH_PX**2
    return np.where(some, total / np.where(some, weight, 1.0), image)


def _basis(mean: Numbers, usable: Mask) -> tuple[npt.NDArray[np.float32], Numbers]:
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in mean.shape), indexing="ij")
    columns = [np.ones_like(mean), y, x, y * y, x * y, x * x, mean - mean[usable].mean(), *np.gradient(mean)]
    inside = np.stack([np.where(usable, column, 0.0).ravel() for column in columns])
    sizes = np.sqrt((inside**2).mean(axis=1)).clip(1e-12)
    return (inside / sizes[:, None]).astype(np.float32), sizes


# What differs


@dataclass(frozen=True, eq=False)
class _Energy:
    """Sums over successive differences, in maps for every piece of time (T of them).

    Attributes:
        pairs: (T,) differences in each piece.
        squares: (T, H, W) of a difference.
        along: products with the next pixel along x and y, (T, H, W - 1) and (T, H - 1, W).
        fractions: (N - 1, K) fits of the basis.
        spectrum: sum of the power spectra of some of them, (H, W // 2 + 1).
        in_time: (H, W) sums of the products of successive differences.
        far: (H - 8, W - 8) sums of the products with the pixel 8 px away along both axes.
    """

    pairs: Numbers
    squares: Numbers
    along: tuple[Numbers, Numbers]
    fractions: Numbers
    spectrum: Numbers
    in_time: Numbers
    far: Numbers

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a pixel's variance; successive differences share a frame."""
        return float(2 * self.pairs.sum() + 1) / 3

    @property
    def power(self) -> Numbers:
        """Variance of every pixel, (H, W)."""
        return np.asarray(self.squares.sum(axis=0) / (2 * self.pairs.sum()))

    def colour(self, kept: Mask) -> float:
        """How many pixels of this noise tell as much of its variance as one of white noise."""
        total = self.squares.sum(axis=0)
        factor = 1.0
        for axis in (0, 1):
            both = neighbours(kept, axis, 0) & neighbours(kept, axis, 1)
            square = float(neighbours(total, axis, 0)[both].sum())
            lag = float(self.along[axis].sum(axis=0)[both].sum()) / max(square, 1e-12)
            factor *= (1 + lag**2) / (1 - min(lag**2, 0.9))
        return factor


def _energy(scene: _Scene, frames: Sequence[Pixels]) -> _Energy:
    count, (height, width) = len(frames) - 1, scene.mean.shape
    pieces = min(count, -(-GROUPS // int(blocks_of(scene.mean.shape).max() + 1)))
    pairs, squares = np.zeros(pieces), np.zeros((pieces, height, width))
    along = np.zeros((pieces, height, width - 1)), np.zeros((pieces, height - 1, width))
    fractions, spectrum = np.zeros((count, len(scene.basis))), np.zeros((height, width // 2 + 1))
    in_time = np.zeros((height, width))
    far = np.zeros((max(height - FAR_PX, 0), max(width - FAR_PX, 0)))
    before = np.zeros((height, width), dtype=np.float32)
    for index in range(count):
        difference = np.subtract(frames[index + 1], frames[index], dtype=np.float32)
        rest, fractions[index] = scene.residual(difference)
        piece = index * pieces // count
        pairs[piece] += 1
        squares[piece] += rest * rest
        for axis in (0, 1):
            along[axis][piece] += neighbours(rest, axis, 0) * neighbours(rest, axis, 1)
        if index < GHOSTS:
            spectrum += np.abs(np.fft.rfft2(rest)) ** 2
        in_time += rest * before
        far += rest[FAR_PX:, FAR_PX:] * rest[:-FAR_PX, :-FAR_PX]
        before = rest
    return _Energy(pairs, squares, along, fractions, spectrum, in_time, far)


def neighbours(image: npt.NDArray[Any], axis: int, which: int) -> npt.NDArray[Any]:
    """Every pixel (..., H, W) that has a next one along x (axis 0) or y, or (which = 1) that next one."""
    part = slice(1, None) if which else slice(None, -1)
    return image[..., part] if axis == 0 else image[..., part, :]


def blocks_of(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Numbers (H, W) of up to 8 x 8 blocks of the image, each at least 8 px wide where it can be."""
    rows, columns = (
        np.arange(side) * count // side for side in shape for count in [min(8, max(1, side // 8))]
    )
    return np.asarray(rows[:, None] * (columns.max() + 1) + columns[None], dtype=np.intp)


# What is told, and what is refused


def _brightness(frames: Sequence[Pixels], scene: _Scene) -> Iterator[str]:
    means = np.array([float(frame[scene.usable].mean(dtype=np.float64)) for frame in frames])
    change = float(np.ptp(means)) / max(abs(float(means.mean())), 1e-12)
    if change > DRIFTED and np.ptp(means) > 6 * np.sqrt(scene.slack / scene.usable.sum()):
        yield f"brightness changed by {change:.1%} between frames, which was taken off"


def _shared(scene: _Scene, energy: _Energy, where: str) -> Iterator[str]:
    """Of noise that is fresh in every frame, successive differences correlate by -1/2."""
    pairs = energy.pairs.sum()
    square = 2 * energy.power[scene.kept].sum() * (pairs - 1)
    if square <= 0:
        return
    correlation = 1 + 2 * float(energy.in_time[scene.kept].sum() / square)
    rng = 2 * _rng(scene, energy)
    if correlation > max(SHARED[1], rng):
        raise InputError(
            where=where,
            expected="frames whose noise is independent",
            found=f"noise that correlates by {correlation:.2f} from one frame to the next",
            advice="switch off running averages and recursive filters, fix the part, expose again",
        )
    if correlation > max(SHARED[0], rng):
        yield (
            f"noise correlates by {correlation:.2f} from one frame to the next (lag of the detector?), "
            f"which makes sigma about {0.5 * correlation:.0%} too low"
        )


def _structure(scene: _Scene, energy: _Energy, where: str) -> Iterator[str]:
    both = scene.kept[FAR_PX:, FAR_PX:] & scene.kept[:-FAR_PX, :-FAR_PX]
    square = energy.pairs.sum() * sum(
        float(part[both].sum()) for part in (energy.power[FAR_PX:, FAR_PX:], energy.power[:-FAR_PX, :-FAR_PX])
    )
    fraction = float(energy.far[both].sum()) / square if square > 0 else 0.0
    rng = _rng(scene, energy)
    if fraction > max(STRUCTURE[1], rng):
        raise _moved(where, f"{fraction:.0%} of what they differ by is structure")
    if fraction > max(STRUCTURE[0], rng):
        yield f"{fraction:.1%} of what frames differ by is structure: light or part did not stand still"


def _check_ghosts(scene: _Scene, energy: _Energy, where: str) -> None:
    """What moves is in every difference twice, where it was and where it is; noise is not."""
    height, width = scene.mean.shape
    with_itself = np.fft.irfft2(energy.spectrum, s=(height, width))
    down, right = (np.minimum(np.arange(side), side - np.arange(side)) for side in (height, width))
    near = (down[:, None] <= height // 4) & (right[None] <= width // 4)
    beyond = near & (np.maximum(down[:, None], right[None]) > 1)
    if not beyond.any():
        return
    least = np.where(beyond, with_itself, np.inf)
    y, x = np.unravel_index(int(np.argmin(least)), least.shape)
    fraction = -float(least[y, x] / with_itself[0, 0])
    if fraction > max(GHOST, _rng(scene, energy)):
        length = float(np.hypot(down[y], right[x]))
        raise _moved(where, f"structure that shows twice in their difference, {length:.0f} px apart")


def _check_even(scene: _Scene, energy: _Energy, where: str) -> None:
    """Noise at one brightness is alike in neighbouring places; what a moving part leaves is not."""
    side = max(EVEN_PX) if min(scene.mean.shape) >= 4 * max(EVEN_PX) else min(EVEN_PX)
    rows, columns = (length // side for length in scene.mean.shape)
    if min(rows, columns) < 4:
        return
    ratio = np.where(scene.kept, energy.power * scene.slack / np.maximum(scene.typical, 1e-12), 0.0)
    count, total = (
        image[: rows * side, : columns * side].reshape(rows, side, columns, side).sum(axis=(1, 3))
        for image in (scene.kept, ratio)
    )
    there = np.where(count > 0.5 * side**2, total / np.maximum(count, 1), np.nan)
    apart = np.abs(np.concatenate([np.diff(there, axis=axis).ravel() for axis in (0, 1)])) / 2**0.5
    apart = apart[np.isfinite(apart)]
    if len(apart) < 12:
        return
    found = float(np.quantile(apart, 0.8)) / 1.2816
    rng = float(np.sqrt(2 * energy.colour(scene.kept) / energy.freedom)) / side
    excess = max(found**2 - rng**2, 0.0) ** 0.5
    if excess > UNEVEN and found > 2 * rng:
        raise _moved(
            where, f"noise that differs by {excess:.0%} between neighbouring places of one brightness"
        )


def _rng(scene: _Scene, energy: _Energy) -> float:
    """How large a correlation may be by chance; noise that is coloured has fewer independent pixels."""
    return SURELY * float(scene.kept.sum() * energy.freedom) ** -0.5


def _creep(scene: _Scene, energy: _Energy, where: str) -> Iterator[str]:
    """How far the part moved from one frame to the next, where that is beyond chance."""
    moved = energy.fractions[:, -2:] / scene.sizes[-2:]
    variance = 2 * float(energy.power[scene.kept].mean())
    errors = np.sqrt(variance * np.diag(scene.inverse)[-2:]) / scene.sizes[-2:]
    sure = (np.abs(moved) > SURELY * errors) & (errors < MOVED_PX[0])
    length = float(np.hypot(*np.where(sure, moved, 0.0).T).max())
    if length > MOVED_PX[1]:
        raise _moved(where, f"what is seen moving by {length:.1f} px from one to the next")
    if length > MOVED_PX[0]:
        yield f"what is seen moved by up to {length:.2f} px between frames, which was taken off"


def _check_enough(kept: Mask, where: str, which: str) -> None:
    count = int(kept.sum())
    if count < max(FEWEST_PIXELS, FEWEST_KEPT * kept.size):
        raise InputError(
            where=where,
            expected=f"at least {FEWEST_PIXELS} pixels and {FEWEST_KEPT:.0%} of the image that {which}",
            found=f"{count} of {kept.size}",
            advice="expose so that most of the image lies between black and white",
        )


def _moved(where: str, found: str) -> InputError:
    return InputError(
        where=where,
        expected="exposures of one part that does not move, under light that does not change",
        found=found,
        advice="fix part and stage and wait until the tube is steady, or measure from flats",
    )


# From maps to sums


def _calmed(scene: _Scene, energy: _Energy, where: str, *, uniform: bool) -> tuple[_Scene, list[str]]:
    """Leave out pixels far noisier than others of their brightness, and edges that moved."""
    power = energy.power * scene.slack
    steep: Numbers = np.sum([slope**2 for slope in np.gradient(scene.mean)], axis=0)
    around = ndimage.uniform_filter(steep, CALM_PX, mode="nearest")
    kept = scene.usable & (around <= np.median(around[scene.usable]))
    jitter = 0.0
    for turn in range(3):
        typical = _typical(scene, power, kept, first=turn == 0, freedom=energy.freedom)
        here = typical(scene.level)
        generous = np.maximum(here, typical(scene.mean))
        inside = _off_ends(scene, here)
        edges = np.maximum(steep - SLOPE_NOISE * here / scene.frames, 0.0)
        freedom = max(energy.freedom / energy.colour(kept), 1.0)
        if not uniform:
            jitter = max(jitter, _jitter(power, here, edges, scene.usable & inside, freedom=freedom))
        still = jitter * edges <= EDGE_EXCESS * here
        kept = scene.usable & inside & still & _steady(power, generous, freedom=freedom)
        _check_enough(scene.usable & inside, where, "reach neither black nor white by their noise")
        if kept.sum() < max(FEWEST_PIXELS, FEWEST_KEPT * kept.size):
            raise _moved(where, f"{1 - kept.mean():.0%} of the pixels far noisier than the calm ones")
    lost = 1 - float((kept & still).sum() / (scene.usable & inside).sum())
    note = f"edges moved by about {jitter**0.5:.2g} px; the {lost:.0%} of the pixels on them were left out"
    return replace(scene, kept=kept, typical=typical(scene.level)), [note] if jitter and lost > 0.01 else []


def _steady(power: Numbers, typical: Numbers, *, freedom: float) -> Mask:
    """Pixels that are not far noisier than others of their brightness, alone or with those around them."""
    ratio = power / np.maximum(typical, 1e-12)
    limit = max(NOISY, _highest(freedom))
    around = ndimage.uniform_filter(np.minimum(ratio, limit), SMOOTH_PX, mode="nearest")
    return (ratio <= limit) & (around <= max(NOISY / 2, _highest(freedom * SMOOTH_PX**2)))


def _highest(freedom: float) -> float:
    """What chi squared over its mean hardly ever exceeds (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return (1 - spread + OUTLIER * spread**0.5) ** 3


def _robust_mean(power: Numbers, freedom: float) -> float:
    """Mean of chi squared from its median, which few noisy pixels do not move.

    Where noise is below the rounding, most are 0 or alike; the mean without the highest tenth is no less.
    """
    median = float(np.median(power)) / (1 - 2 / (9 * freedom)) ** 3
    return max(median, float(power[power <= np.quantile(power, 0.9)].mean()))


def _off_ends(scene: _Scene, variance: Numbers) -> Mask:
    """Pixels whose noise does not reach the ends of the grey scale.

    That is told by the scene's own brightness: by a pixel's mean, bright noise would be chosen.
    """
    middle = float(scene.level[scene.usable].mean())
    level = middle + scene.reliability * (scene.level - middle)
    beyond = FROM_ENDS * np.sqrt(variance)
    return (level - beyond > scene.ends[0]) & (level + beyond < scene.ends[1])


def _typical(
    scene: _Scene, power: Numbers, kept: Mask, *, first: bool, freedom: float
) -> Callable[[Numbers], Numbers]:
    """Variance of the noise by brightness: at first by what few noisy pixels do not move."""
    level, power = scene.level[kept], power[kept]
    place = np.searchsorted(_edges(level, scene.reliability), level)
    order = np.argsort(place, kind="stable")
    groups = [group for group in np.split(order, np.cumsum(np.bincount(place))[:-1]) if len(group)]
    variances = np.array(
        [_robust_mean(power[group], freedom) if first else power[group].mean() for group in groups]
    )
    levels = np.array([level[group].mean() for group in groups])
    return lambda at: np.interp(at, levels, variances)


def _jitter(power: Numbers, typical: Numbers, steep: Numbers, steady: Mask, *, freedom: float) -> float:
    """Mean square movement of edges in px squared that the fits have left; 0 where it may be chance."""
    worth = steep[steady] / np.maximum(typical[steady], 1e-12) ** 2
    total = float(worth @ steep[steady])
    if total <= 0:
        return 0.0
    excess = float(worth @ (power - typical)[steady])
    sure = excess > 5 * (2 / freedom * total) ** 0.5
    return excess / total if sure and excess > 2 * EDGE_EXCESS * float(worth @ typical[steady]) else 0.0


def _edges(level: Numbers, reliability: float) -> Numbers:
    """Inner edges of the bins of brightness; none where the brightness varies by noise alone."""
    bins = min(BINS, len(level) // PIXELS_A_BIN) if reliability >= TRUE_BRIGHTNESS else 1
    return np.unique(np.quantile(level, np.linspace(0, 1, max(bins, 1) + 1)[1:-1]))


def _series(scene: _Scene, energy: _Energy, *, notes: tuple[str, ...]) -> FrameSeries:
    kept, pieces = scene.kept, len(energy.pairs)
    edges = _edges(scene.level[kept], scene.reliability)
    place = np.searchsorted(edges, scene.level[kept])
    middle = float(scene.mean[kept].mean())
    level = middle + scene.reliability * (scene.mean[kept] - middle)
    own = np.zeros((3, (len(edges) + 1) * GROUPS))
    shared = np.zeros((2, 2, (len(edges) + 1) * GROUPS))
    for piece, pairs in enumerate(energy.pairs):
        group = (blocks_of(kept.shape) * pieces + piece) % GROUPS
        at = place * GROUPS + group[kept]
        variance = energy.squares[piece][kept] * (0.5 * scene.slack)
        own += _summed(at, pairs, pairs * level, variance, size=own.shape[1])
        for axis in (0, 1):
            found = _neighbour_terms(scene, energy, axis, piece)
            both = np.zeros(kept.shape, dtype=bool)
            neighbours(both, axis, 0)[...] = found[0]
            shared[axis] += _summed(at[both[kept]], pairs, found[1], size=own.shape[1])
    filled = own[0].reshape(-1, GROUPS).any(axis=1)
    count, levels, variances = own.reshape(3, -1, GROUPS)[:, filled]
    pairs, covariances = shared.swapaxes(0, 1).reshape(2, 2, -1, GROUPS)[:, :, filled]
    return FrameSeries(
        frames=len(energy.fractions) + 1,
        mean=scene.mean,
        halves=scene.halves,
        level=scene.level,
        kept=kept,
        count=count,
        levels=levels,
        variances=variances,
        neighbours=pairs,
        covariances=covariances,
        notes=notes,
    )


def _neighbour_terms(scene: _Scene, energy: _Energy, axis: int, piece: int) -> tuple[Mask, Numbers]:
    """Pixels kept together with their next one, and the covariance of each such pair in a piece of time.

    What fitting took off the covariance is given back.
    """
    both = neighbours(scene.kept, axis, 0) & neighbours(scene.kept, axis, 1)
    one, other = (neighbours(energy.squares[piece], axis, which)[both] for which in (0, 1))
    taken = scene.taken(axis) * 0.25 * scene.slack
    return both, 0.5 * energy.along[axis][piece][both] + taken * (one + other)


def _summed(at: npt.NDArray[np.intp], *values: Numbers | float, size: int) -> Numbers:
    """Sums (N, size) of each of N values over the places `at`."""
    every = [np.broadcast_to(np.asarray(value, dtype=np.float64), at.shape) for value in values]
    return np.stack([np.bincount(at, value, minlength=size) for value in every])
