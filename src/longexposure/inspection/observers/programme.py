"""The automatic inspection: what a programme does that knows from the design what is where.

- blob: a local threshold on the smoothed difference to a good part; for voids, cracks, particles.
- amount, displacement, ovality, between: of each joint the design knows how much grey it has, where it is,
  how round, and what lies between it and its neighbour; for missing, small, shifted, deformed balls and
  bridges.
- along, beside: wires and traces are followed, and the grey on them and on either side of them is looked at.

Every rule gives finds, places with a score, at each of `SCALES`, the smoothing before. The scale is chosen
for each input and kind of defect on tuning scenes, and the threshold so that all inputs have the same rate
of false finds there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.inspection.cases import Image
from longexposure.simulation.geometry.primitives import Feature, Track, Wire
from longexposure.simulation.geometry.view import View

Finds = npt.NDArray[np.float64]
"""(N, 3): row, column, score."""

SCALES = (0.8, 1.6, 3.2)
"""Standard deviations in px of the Gaussian that smooths the difference before the rules look at it."""
MOST = 300
"""Finds that are kept of an image."""
EDGE_PX = 4
"""Nothing is looked for nearer to the border."""
JOINTS, LINES = ("ball", "bump", "pillar", "joint"), ("wire", "trace")

RULES: Mapping[str, str] = {
    "void": "blob",
    "voids": "blob",
    "interface void": "blob",
    "missing": "amount",
    "shifted": "displacement",
    "small": "amount",
    "deformed": "ovality",
    "bridge": "between",
    "head-in-pillow": "blob",
    "non-wet": "blob",
    "broken wire": "along",
    "swept wire": "along",
    "lifted wire": "along",
    "open trace": "along",
    "shorted trace": "beside",
    "via void": "blob",
    "crack": "blob",
    "particle": "blob",
}
"""The rule for each kind of defect."""


@dataclass(frozen=True, eq=False)
class Design:
    """What the programme knows of the part: joints and courses of lines in pixels.

    Attributes:
        joints: (N, 3): row, column, radius.
        pairs: (N, 2): numbers of joints that are neighbours.
        lines: of each wire or trace the rows and columns (N, 2) of its course, a pixel apart, and its width
            and the gap beside it in px.
        gradient: of the reference along rows and columns, (2, H, W), in units of the noise.
    """

    joints: npt.NDArray[np.float64]
    pairs: Sequence[tuple[int, int]]
    lines: Sequence[tuple[npt.NDArray[np.float64], float, float]]
    gradient: npt.NDArray[np.float64]


def design_of(features: Sequence[Feature], view: View, expected: Image, sigma: Image) -> Design:
    """The design of a part as a view shows it."""
    joints, lines = [], []
    for feature in features:
        if not feature.primitives:
            continue
        if feature.kind in JOINTS:
            x, y = view.project([feature.at])[0].tolist()
            sides = [feature.about[key] for key in ("width_um", "height_um") if key in feature.about]
            radius = (min(sides) if sides else feature.size_um) / 2 / view.pixel_um
            inside = EDGE_PX <= x < view.width - EDGE_PX and EDGE_PX <= y < view.height - EDGE_PX
            if inside and radius >= 1:
                joints.append((y, x, radius))
        elif feature.kind in LINES and isinstance(feature.primitives[0], Track | Wire):
            lines += _courses(feature.primitives[0], feature.about.get("gap_um", 0.0), view)
    places = np.array(joints, np.float64).reshape(-1, 3)
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(expected, 0.8))) / sigma
    return Design(places, _neighbours(places), lines, gradient)


def _neighbours(joints: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs that stand no more than 1.8 times as far apart as the nearest two of either."""
    if len(joints) < 2:
        return []
    away = np.hypot(*(joints[:, None, :2] - joints[None, :, :2]).transpose(2, 0, 1))
    np.fill_diagonal(away, np.inf)
    nearest = away.min(axis=1)
    pairs = combinations(range(len(joints)), 2)
    return [(i, j) for i, j in pairs if away[i, j] <= 1.8 * max(nearest[i], nearest[j])]


def _courses(
    line: Track | Wire, gap_um: float, view: View
) -> list[tuple[npt.NDArray[np.float64], float, float]]:
    """The parts of a line that are seen, a point each pixel, with its width and the gap beside it."""
    if isinstance(line, Wire):
        points = np.array(line.points, np.float64)
        wide = line.diameter
    else:
        level = (line.bottom + line.top) / 2
        points = np.array([(*point[:2], level) for point in line.points], np.float64)
        wide = line.width
    pixels = view.project(points)[:, ::-1]
    steps = [
        first
        + (last - first) * np.linspace(0, 1, max(int(np.hypot(*(last - first))), 1), endpoint=False)[:, None]
        for first, last in pairwise(pixels)
    ]
    course = np.concatenate(steps) if steps else np.zeros((0, 2))
    limit = np.array([view.height, view.width]) - EDGE_PX
    seen = np.all((course >= EDGE_PX) & (course < limit), axis=1)
    pieces = np.split(course, np.flatnonzero(np.diff(seen.astype(int))) + 1) if len(course) else []
    width, gap = wide / view.pixel_um, gap_um / view.pixel_um
    return [(piece, width, gap) for piece in pieces if len(piece) >= 4 and _inside(piece[0], limit)]


def _inside(point: npt.NDArray[np.float64], limit: npt.NDArray[np.int64]) -> bool:
    return bool(np.all(point >= EDGE_PX) and np.all(point < limit))


def finds(rule: str, difference: Image, design: Design) -> dict[float, Finds]:
    """What a rule finds at each scale, the most pronounced first, at most `MOST`."""
    found = {}
    for scale in SCALES:
        smooth = ndimage.gaussian_filter(difference, scale, mode="reflect")
        each = _FINDERS[rule](smooth, design, scale)
        found[scale] = each[np.argsort(-each[:, 2])][:MOST]
    return found


def _blobs(smooth: Image, design: Design, scale: float) -> Finds:
    """Places where the difference is larger than all around."""
    size = np.abs(smooth)
    reach = 2 * round(2 * scale) + 1
    peak = size == ndimage.maximum_filter(size, reach)
    peak[:EDGE_PX] = peak[-EDGE_PX:] = False
    peak[:, :EDGE_PX] = peak[:, -EDGE_PX:] = False
    y, x = np.nonzero(peak)
    return np.column_stack([y, x, size[y, x]]).astype(np.float64)


def _discs(
    design: Design, shape: tuple[int, int], grown: float
) -> list[tuple[tuple[slice, slice], Image, Image]]:
    """For each joint the window around it and, in it, rows and columns from its middle over its radius."""
    windows = []
    for y, x, radius in design.joints:
        reach = int(np.ceil(grown * radius)) + 1
        rows = slice(max(round(y) - reach, 0), min(round(y) + reach + 1, shape[0]))
        columns = slice(max(round(x) - reach, 0), min(round(x) + reach + 1, shape[1]))
        down, right = np.mgrid[rows, columns]
        windows.append(((rows, columns), (down - y) / radius, (right - x) / radius))
    return windows


def _amounts(smooth: Image, design: Design, scale: float) -> Finds:
    """How much more or less grey a joint has than its design, over what lies around it."""
    scores = []
    for window, down, right in _discs(design, smooth.shape, 1.6):
        away, part = np.hypot(down, right), smooth[window]
        inside, around = away <= 1, (away > 1.2) & (away <= 1.6)
        rest = float(part[around].mean()) if around.any() else 0.0
        scores.append(abs(float(part[inside].sum()) - rest * inside.sum()) / np.sqrt(max(inside.sum(), 1)))
    return _at_joints(design, scores)


def _displacements(smooth: Image, design: Design, scale: float) -> Finds:
    """How far in px a joint lies from its place: least squares on the reference's gradient."""
    scores = []
    for window, down, right in _discs(design, smooth.shape, 1.4):
        chosen = np.hypot(down, right) <= 1.4
        slope = np.stack([part[window][chosen] for part in design.gradient])
        matrix = slope @ slope.T + np.eye(2)
        scores.append(float(np.hypot(*np.linalg.solve(matrix, slope @ smooth[window][chosen]))))
    return _at_joints(design, scores)


def _ovalities(smooth: Image, design: Design, scale: float) -> Finds:
    """How far in px the outline of a joint is stretched one way and pressed in across it."""
    scores = []
    for window, down, right in _discs(design, smooth.shape, 1.4):
        away = np.hypot(down, right)
        chosen = (away <= 1.4) & (away > 0.3)
        unit = np.stack([down[chosen], right[chosen]]) / away[chosen]
        steep = sum(part[window][chosen] * along for part, along in zip(design.gradient, unit, strict=True))
        shapes = np.stack([steep * (unit[0] ** 2 - unit[1] ** 2), steep * 2 * unit[0] * unit[1]])
        matrix = shapes @ shapes.T + np.eye(2)
        scores.append(float(np.hypot(*np.linalg.solve(matrix, shapes @ smooth[window][chosen]))))
    return _at_joints(design, scores)


def _at_joints(design: Design, scores: Sequence[float]) -> Finds:
    return np.column_stack([design.joints[:, :2], scores]) if scores else np.zeros((0, 3))


def _between(smooth: Image, design: Design, scale: float) -> Finds:
    """Grey in the strip between two neighbours, as far as it is free: its mean over the length."""
    found = []
    for i, j in design.pairs:
        (y1, x1, r1), (y2, x2, r2) = design.joints[[i, j]]
        long = float(np.hypot(y2 - y1, x2 - x1))
        if long - r1 - r2 < 1:
            continue
        way = np.arange(0.9 * r1, long - 0.9 * r2, 0.5)
        along = np.array([y2 - y1, x2 - x1]) / long
        places = np.array([y1, x1])[:, None] + along[:, None] * way
        grey = ndimage.map_coordinates(smooth, places, order=1, mode="nearest")
        found.append((*places.mean(axis=1), abs(float(grey.mean())) * np.sqrt(len(way))))
    return np.array(found, np.float64).reshape(-1, 3)


def _lines(smooth: Image, design: Design, scale: float, *, beside: bool) -> Finds:
    """Grey along each course, or beside it; its mean over a few px, where it is larger than around."""
    found = [np.zeros((0, 3))]
    for course, width, gap in design.lines:
        step = np.gradient(course, axis=0)
        across = np.column_stack([-step[:, 1], step[:, 0]]) / np.maximum(np.hypot(*step.T), 1e-9)[:, None]
        aside = width / 2 + (gap / 2 if gap else 2.0)
        size, window = np.zeros(len(course)), max(round(2 * scale), 1)
        for offset in (aside, -aside) if beside else (0.0,):
            grey = ndimage.map_coordinates(smooth, (course + offset * across).T, order=1, mode="nearest")
            size = np.maximum(size, np.abs(ndimage.uniform_filter1d(grey, window, mode="nearest")))
        peak = size == ndimage.maximum_filter1d(size, 2 * round(3 * scale) + 1)
        found.append(np.column_stack([course[peak], size[peak]]))
    return np.concatenate(found)


_FINDERS: Mapping[str, Callable[[Image, Design, float], Finds]] = {
    "blob": _blobs,
    "amount": _amounts,
    "displacement": _displacements,
    "ovality": _ovalities,
    "between": _between,
    "along": lambda smooth, design, scale: _lines(smooth, design, scale, beside=False),
    "beside": lambda smooth, design, scale: _lines(smooth, design, scale, beside=True),
}


def best_near(found: Finds, near: npt.NDArray[np.bool_]) -> float:
    """The highest score of a find within a region; 0 without one."""
    if not len(found):
        return 0.0
    rows, columns = np.rint(found[:, :2]).astype(int).T
    inside = near[np.clip(rows, 0, near.shape[0] - 1), np.clip(columns, 0, near.shape[1] - 1)]
    return float(found[inside, 2].max(initial=0.0))
