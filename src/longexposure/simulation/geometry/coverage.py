"""Closed forms that the laws share: how much of a pixel lies beyond a straight edge, or within a disc."""

from __future__ import annotations

import numpy as np

from longexposure.simulation.geometry.canvas import Image, Numbers, Terms


def axes_of(turn_deg: Numbers) -> Numbers:
    """Unit vectors along a primitive's own x and y, (N, 2, 2)."""
    angle = np.deg2rad(turn_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)


def fraction_inside(depth: Image, sweep: Image | None, blur: tuple[Image, Image]) -> Image:
    """Fraction of a sweep on the inner side of an edge, seen through a pixel: a step, smoothed by two boxes.

    Args:
        depth: of the sweep's middle inside the edge, px.
        sweep: how far the depth changes in the sweep, 0 or more; None where that is nothing.
        blur: how far the depth changes along the sides of the pixel, see `blur_of`.
    """
    wide, narrow = blur
    if sweep is not None:
        other = np.sqrt(sweep * sweep + narrow * narrow)
        wide, narrow = np.maximum(other, wide), np.minimum(other, wide)
    fraction = np.abs(depth)
    np.minimum(fraction, 0.5 * (wide + narrow), out=fraction)
    corner = fraction - 0.5 * (wide - narrow)
    np.maximum(corner, 0, out=corner)
    corner *= corner
    corner *= 0.5 / (wide * narrow)
    fraction *= 1 / wide
    fraction -= corner
    np.copysign(fraction, depth, out=fraction)
    fraction += 0.5
    return fraction


def blur_of(normal_x: Image, normal_y: Image, soft: Image) -> tuple[Image, Image]:
    """How far a depth that rises along this normal changes over a sample of side `soft`: larger, smaller."""
    x, y = np.abs(normal_x), np.abs(normal_y)
    return np.maximum(np.maximum(x, y), 1e-3) * soft, np.maximum(np.minimum(x, y), 1e-3) * soft


def edge_terms(at: Numbers, normal: Numbers, go: Numbers) -> dict[str, Numbers]:
    """Terms of E edges, from which the depth of t in the sweep is at + (x, y) . normal - t go.

    Args:
        at: (N, E), depth of the middle inside each edge, px.
        normal: (N, E, 2), inward.
        go: (N, E), change of the depth in the sweep.
    """
    columns = {"at": at, "nx": normal[:, :, 0], "ny": normal[:, :, 1], "go": go}
    return {f"{name}{i}": column[:, i] for name, column in columns.items() for i in range(at.shape[1])}


def fraction_between(
    terms: Terms, x: Image, y: Image, *, edges: int, middle: Image | None, length: Image | None
) -> Image:
    """Fraction of a part of a sweep, of this middle and length, between two edges and inside further ones."""
    fractions = []
    for i in range(edges):
        across, down, go = terms[f"nx{i}"], terms[f"ny{i}"], terms[f"go{i}"]
        depth = terms[f"at{i}"] + across * x + down * y
        if middle is not None:
            depth = depth - go * middle
        sweep = None if length is None else np.abs(go) * length
        fractions.append(fraction_inside(depth, sweep, blur_of(across, down, terms["soft"])))
    fraction = np.maximum(fractions[0] + fractions[1] - 1, 0)
    for bevel in fractions[2:]:
        np.minimum(fraction, bevel, out=fraction)
    return fraction


def disc_area(place: Image) -> Image:
    """Area of a disc of radius 1 between its diameter and a line that runs `place` (-1 to 1) beside it."""
    area = place * place
    np.subtract(1, area, out=area)
    np.sqrt(area, out=area)
    area *= place
    area += np.arcsin(place)
    return area
