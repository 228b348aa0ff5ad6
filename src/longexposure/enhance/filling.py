"""What stands in for faulty pixels: a smooth surface through what is around, or an edge that crosses a line.

The surface has the least second differences that the noise allows, so that in flat areas the noise around is
averaged and not carried on, and where there is structure it runs through what is around.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from longexposure.enhance.groups import groups_of
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels

Places = npt.NDArray[np.intp]
"""Rows and columns (2, N) of pixels, in reading order; or indices, or one of the two."""
Values = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]

LARGEST_SIDE_PX, PIECE_PX = 56, 24
"""Wider or higher groups of faulty pixels are filled in pieces of this side."""
MARGIN_PX = 5
"""Good pixels all around that a group is filled from."""
STIFFNESS = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)
"""Weights of smoothness; the first that leaves the surroundings as close as the noise is, or the last."""
LEVELS_OFF = 1e-3
"""Weight of slopes beside that of second differences: a surface levels off over 30 px with nothing around."""
EVEN = 10.0
"""Surroundings that so stiff a surface describes have no edge."""
AS_CLOSE = 1.15
"""Standard deviations of the noise by which the surroundings may differ from their smooth description."""
WIDEST_LINE_PX, LEAST_LINE_PX = 4, 8
"""A run of faulty pixels along a line is at most so wide and at least so long."""
SHIFTS = tuple(range(-8, 9))
"""Shifts along a line, px, between the sides of an edge that crosses it."""
LEVEL_SHIFT = 1
"""An edge that shifts by no more crosses straight."""
AGREES, CLEARLY = 0.6, 0.3
"""The sides of an edge agree by less than that fraction of how they do straight across, less some noise."""
CHUNK = 1 << 13
LEAST_COST, COST_PER_PX, COST_OF_ONE = 1e8, 500.0, 1.5e6
"""Operations that smooth surfaces may take, in all and for each pixel of the image, and that each one takes
at least. Where they would take more, the dearest groups are filled from planes."""
PLANE_REACH_PX, PLANE_WIDTH_PX, LEAST_KNOWN = 3, 1.5, 4
"""A plane goes through known pixels so far around, of so much weight, where there are so many at least."""
LEVEL_PLANE, TRACE = 1.0, 1e-9
"""Weight of its slopes, so that it does not tilt where little is known, and of anything."""


def fill(pixels: Pixels, places: Places, noise: NoiseProfile, effort: float = 1.0) -> Values:
    """Grey values (N,) for faulty pixels of one image (H, W) from its good ones; the image is not modified.

    Args:
        pixels: the image.
        places: its faulty pixels in reading order, none twice.
        noise: profile of the image.
        effort: times the operations that are taken at most.
    """
    values = np.zeros(places.shape[1], np.float32)
    if not len(values):
        return values
    image = _Known(pixels, places, values)
    groups = groups_of(places, pixels.shape[1])
    alone = np.array([group[0] for group in groups if len(group) == 1], np.intp)
    values[alone] = _from_four(image, places[:, alone])
    image.known[alone] = True
    edges, has_edge = _on_lines(image, places, noise)
    most = effort * (LEAST_COST + COST_PER_PX * pixels.size)
    surfaces, planes = _shared_out([group for group in groups if len(group) > 1], places, most)
    for pieces in surfaces:
        while pieces:  # from the rim of a large group inwards
            later = []
            for piece in pieces:
                surface, even = _smooth(image, places[:, piece], noise)
                if surface is None:
                    later.append(piece)
                    continue
                values[piece] = surface if even else np.where(has_edge[piece], edges[piece], surface)
            done = np.setdiff1d(np.concatenate(pieces), np.concatenate(later) if later else [])
            if not len(done):  # no pixel of the image is good
                values[np.concatenate(pieces)] = float(np.median(pixels))
                break
            image.known[done] = True
            pieces = later
    _fill_from_planes(image, places, planes, noise, edges=(edges, has_edge))
    return values


def _shared_out(groups: list[Places], places: Places, most: float) -> tuple[list[list[Places]], Places]:
    """The pieces of each group that a smooth surface fills, and the pixels of those that planes fill."""
    if not groups:
        return [], np.zeros(0, np.intp)
    every = np.concatenate(groups)
    start = np.cumsum([0, *(len(group) for group in groups[:-1])])
    sides = [np.maximum.reduceat(at[every], start) - np.minimum.reduceat(at[every], start) for at in places]
    large = np.maximum(*sides) >= LARGEST_SIDE_PX
    short, long = np.sort([side + 1 + 2 * MARGIN_PX for side in sides], axis=0)
    cost = COST_OF_ONE + 4.0 * long * short**3
    pieces = {number: _pieces(places, groups[number]) for number in np.flatnonzero(large).tolist()}
    for number, parts in pieces.items():
        size_of = np.array([np.ptp(places[:, part], axis=1) for part in parts]) + 1 + 2 * MARGIN_PX
        cost[number] = float(np.sum(COST_OF_ONE + 4.0 * size_of.max(axis=1) * size_of.min(axis=1) ** 3.0))
    order = np.argsort(cost, kind="stable")
    cheap = np.zeros(len(groups), np.bool_)
    cheap[order] = np.cumsum(cost[order]) <= most
    chosen = [pieces.get(number, [groups[number]]) for number in np.flatnonzero(cheap).tolist()]
    rest = [groups[number] for number in np.flatnonzero(~cheap).tolist()]
    return chosen, np.sort(np.concatenate([np.zeros(0, np.intp), *rest]))


def _fill_from_planes(
    image: _Known, places: Places, index: Places, noise: NoiseProfile, *, edges: tuple[Values, Marks]
) -> None:
    """Fill pixels, from the rim of their groups inwards, from the plane through what is around each."""
    offsets = range(-PLANE_REACH_PX, PLANE_REACH_PX + 1)
    while len(index):
        done = np.zeros(len(index), np.bool_)
        for start in range(0, len(index), CHUNK):
            part = index[start : start + CHUNK]
            y, x = places[:, part]
            read = [(dy, dx, *image.at(y + dy, x + dx)) for dy in offsets for dx in offsets if dy or dx]
            values, even, count = _planes(read, noise)
            done[start : start + CHUNK] = count >= LEAST_KNOWN
            image.values[part] = np.where(edges[1][part] & ~even, edges[0][part], values)
        if not done.any():  # next to no pixel of the image is good
            image.values[index] = float(np.median(image.pixels))
            done[:] = True
        image.known[index[done]] = True
        index = index[~done]


def _planes(
    read: list[tuple[int, int, Values, Marks]], noise: NoiseProfile
) -> tuple[Values, Marks, npt.NDArray[np.intp]]:
    """Values of planes through what was read around pixels, whether that is even, and how many are known."""
    at = np.array([(1.0, dy, dx) for dy, dx, *_ in read])
    grey = np.stack([values for *_, values, _ in read]).astype(np.float64)
    good = np.stack([good for *_, good in read])
    weight = good * np.exp(-np.square(at[:, 1:]).sum(axis=1) / (2 * PLANE_WIDTH_PX**2))[:, None]
    total = weight.sum(axis=0) + TRACE
    zero = (weight * grey).sum(axis=0) / total
    away = np.where(good, grey - zero, 0.0)
    system = np.einsum("kn,ki,kj->nij", weight, at, at) + np.diag([TRACE, LEVEL_PLANE, LEVEL_PLANE])
    plane = np.linalg.solve(system, np.einsum("kn,ki->ni", weight * away, at)[..., None])[..., 0]
    off = away - at @ plane.T
    error = (weight * np.square(off)).sum(axis=0) / total
    even = error <= AS_CLOSE**2 * noise.variance(zero)
    value = plane[:, 0].clip(away.min(axis=0), away.max(axis=0)) + zero
    return value.astype(np.float32), np.asarray(even), good.sum(axis=0)


class _Known:
    """Grey values of an image of which some pixels are not known yet."""

    def __init__(self, pixels: Pixels, places: Places, values: Values) -> None:
        self.pixels, self.values = pixels, values
        self.known = np.zeros(len(values), np.bool_)
        self._index = places[0] * pixels.shape[1] + places[1]

    def at(self, y: Places, x: Places) -> tuple[Values, Marks]:
        """Grey values, and whether they can be used; beyond the border none can."""
        height, width = self.pixels.shape
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        y, x = y.clip(0, height - 1), x.clip(0, width - 1)
        grey = self.pixels[y, x].astype(np.float32)
        flat = y * width + x
        found = np.searchsorted(self._index, flat).clip(max=len(self._index) - 1)
        faulty = self._index[found] == flat
        grey = np.where(faulty, self.values[found], grey)
        return grey, inside & (~faulty | self.known[found])


def _runs(places: Places) -> tuple[Places, Places]:
    """Lengths of the runs of faulty pixels that each pixel is part of: along its column, along its row."""
    lengths = []
    for line, at in ((places[1], places[0]), (places[0], places[1])):
        order = np.lexsort((at, line))
        new = (np.diff(line[order], prepend=-1) != 0) | (np.diff(at[order], prepend=-1) != 1)
        run = np.cumsum(new) - 1
        length = np.empty_like(run)
        length[order] = np.bincount(run)[run]
        lengths.append(length)
    return lengths[0], lengths[1]


def _pieces(places: Places, group: Places) -> list[Places]:
    """A large group in pieces, each of which is filled for itself; a small one as it is."""
    size = np.ptp(places[:, group], axis=1) + 1
    if size.max() <= LARGEST_SIDE_PX:
        return [group]
    cell = places[:, group] // PIECE_PX
    order = np.lexsort((cell[1], cell[0]))
    cell = cell[:, order]
    return np.split(group[order], np.flatnonzero((np.diff(cell, axis=1) != 0).any(axis=0)) + 1)


def _from_four(image: _Known, places: Places) -> Values:
    """The middle of the four neighbours of pixels that are alone, as many of them as there are."""
    around = []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        grey, good = image.at(places[0] + dy, places[1] + dx)
        around.append(np.where(good, grey, np.float32(np.nan)))
    if not places.shape[1]:
        return np.empty(0, np.float32)
    with np.errstate(invalid="ignore"):
        middle = np.nanmedian(np.stack(around), axis=0)
    return np.asarray(np.nan_to_num(middle), np.float32)


def _on_lines(image: _Known, places: Places, noise: NoiseProfile) -> tuple[Values, Marks]:
    """Values along the edges that cross lines at a slant, and which of the pixels have one."""
    along_y, along_x = _runs(places)
    upright = (along_x <= WIDEST_LINE_PX) & (along_y >= np.maximum(LEAST_LINE_PX, 3 * along_x))
    level = (along_y <= WIDEST_LINE_PX) & (along_x >= np.maximum(LEAST_LINE_PX, 3 * along_y))
    values, found = np.zeros(places.shape[1], np.float32), np.zeros(places.shape[1], np.bool_)
    for chosen, axis in ((upright, 1), (level & ~upright, 0)):
        index = np.flatnonzero(chosen)
        for start in range(0, len(index), CHUNK):
            part = index[start : start + CHUNK]
            values[part], found[part] = _along_edges(image, places[:, part], axis, noise)
    return values, found


def _along_edges(image: _Known, places: Places, axis: int, noise: NoiseProfile) -> tuple[Values, Marks]:
    """Values for pixels of lines along the edges that cross them at a slant, and which pixels have one.

    The two sides of a line agree best along such an edge; the smooth surface would make stairs of it.

    Args:
        image: of which the pixels are not known yet.
        places: the pixels.
        axis: 1 for columns, whose sides are left and right, 0 for rows.
        noise: profile of the image.
    """
    y, x = places if axis == 1 else places[::-1]
    read = image.at if axis == 1 else lambda a, b: image.at(b, a)
    before, after = (_reach(read, y, x, sign) for sign in (-1, 1))
    gap = before + after
    near = np.arange(-2, 3)[:, None]
    costs, ends = [], []
    for shift in SHIFTS:
        sides, usable = [], np.ones(len(y), np.bool_)
        for sign, away in ((-1, before), (1, after)):
            along = sign * shift * away / gap
            low = np.floor(along).astype(np.intp)
            part = (along - low).astype(np.float32)
            grey, good = read(y + low + np.arange(-2, 4)[:, None], x + sign * away + 0 * near[:1])
            usable &= good.all(axis=0)
            sides.append(grey[:-1] * (1 - part) + grey[1:] * part)
        difference = sides[0].astype(np.float64) - sides[1]
        costs.append(np.where(usable, np.sqrt(np.square(difference).mean(axis=0)), np.inf))
        ends.append((sides[0][2] * after + sides[1][2] * before) / gap)
    cost, middle = np.stack(costs), np.stack(ends)
    best = np.argmin(cost, axis=0)
    pick = np.arange(len(best))
    sigma = np.sqrt(noise.variance(middle[best, pick]))
    slanted = np.abs(np.array(SHIFTS))[best] > LEVEL_SHIFT
    straight = cost[SHIFTS.index(0)]
    with np.errstate(invalid="ignore"):
        clear = (cost[best, pick] + CLEARLY * sigma < AGREES * straight) & np.isfinite(straight)
    return middle[best, pick].astype(np.float32), clear & slanted & (gap <= WIDEST_LINE_PX + 1)


def _reach(read: Callable[[Places, Places], tuple[Values, Marks]], y: Places, x: Places, sign: int) -> Places:
    """Distance to the nearest usable pixel on one side of a line; more than its width where none is."""
    away = np.full(len(x), WIDEST_LINE_PX + 2)
    for distance in range(WIDEST_LINE_PX + 1, 0, -1):
        away[read(y, x + sign * distance)[1]] = distance
    return away


def _smooth(image: _Known, places: Places, noise: NoiseProfile) -> tuple[Values | None, bool]:
    """Values of a small group from a smooth surface through what is around it, and whether no edge is there.

    None where there is nothing around it.
    """
    height, width = image.pixels.shape
    (top, left), (bottom, right) = places.min(axis=1), places.max(axis=1)
    top, left = max(top - MARGIN_PX, 0), max(left - MARGIN_PX, 0)
    bottom, right = min(bottom + MARGIN_PX + 1, height), min(right + MARGIN_PX + 1, width)
    y, x = np.mgrid[top:bottom, left:right]
    grey, good = image.at(y, x)
    if not good.any():
        return None, True
    zero = float(np.median(grey[good]))
    around = np.where(good, grey.astype(np.float64) - zero, 0.0)
    expected = AS_CLOSE**2 * float(noise.variance(grey[good]).mean())
    for stiffness in STIFFNESS:
        surface = _surface(around, good, stiffness)
        if float(np.square(surface - around)[good].mean()) <= expected:
            break
    # beyond what it knows a surface must not run away
    inside = surface[places[0] - top, places[1] - left].clip(around[good].min(), around[good].max())
    return np.asarray(inside + zero, np.float32), stiffness >= EVEN


@lru_cache(maxsize=64)
def _stencil(height: int, width: int) -> npt.NDArray[np.float64]:
    """The smoothness of a window as a band matrix (diagonals from the middle down, pixels row by row).

    It is D'D of the second differences D along both axes and across, and a little of the first ones.
    """
    band = np.zeros((2 * width + 1, height, width))

    def add(places: tuple[tuple[int, int, float], ...], weight: float) -> None:
        tall = height - max(y for y, _, _ in places)
        wide = width - max(x for _, x, _ in places)
        if tall <= 0 or wide <= 0:
            return
        for y, x, own in places:
            for other_y, other_x, other in places:
                apart = (other_y - y) * width + other_x - x
                if apart >= 0:
                    band[apart, y : y + tall, x : x + wide] += weight * own * other

    add(((0, 0, 1.0), (1, 0, -2.0), (2, 0, 1.0)), 1.0)
    add(((0, 0, 1.0), (0, 1, -2.0), (0, 2, 1.0)), 1.0)
    add(((0, 0, 1.0), (0, 1, -1.0), (1, 0, -1.0), (1, 1, 1.0)), 2.0)
    add(((0, 0, -1.0), (1, 0, 1.0)), LEVELS_OFF)
    add(((0, 0, -1.0), (0, 1, 1.0)), LEVELS_OFF)
    return band.reshape(len(band), height * width)


def _surface(around: npt.NDArray[np.float64], good: Marks, stiffness: float) -> npt.NDArray[np.float64]:
    """Solves (W + stiffness D'D) x = W f for a window f and its good pixels W."""
    from scipy.linalg import solveh_banded  # slow to load, and seldom wanted

    if good.shape[0] < good.shape[1]:  # the band is as wide as two of the shorter lines
        return _surface(around.T, good.T, stiffness).T
    system = stiffness * _stencil(*good.shape)
    # a trace of a weight everywhere keeps the system regular however few pixels are good
    system[0] += good.ravel() + 1e-9
    system = system[: good.size]
    weighted = np.where(good, around, 0.0).ravel()
    solved = solveh_banded(system, weighted, lower=True, overwrite_ab=True, check_finite=False)
    return np.asarray(solved).reshape(good.shape)
