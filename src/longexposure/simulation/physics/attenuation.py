"""Polychromatic Beer-Lambert: from thickness maps to the fraction of the open beam's signal.

T = sum_k w_k exp(-sum_m mu_m(E_k) t_m), where w_k is the fraction of the open-beam signal that the photons of
energy E_k make. Summing over all 300 energies for each pixel is slow, so

- one material: the effective attenuation -ln T / t is tabulated and read along straight lines;
- several: a subset of the energies with weights of their own replaces the sum, as nodes do in Gauss
  quadrature; their weights are fitted and stay positive, so that T falls with every thickness and is 1
  where nothing is in the way.

Both are compared with the full sum when they are made, at places that they were not made from; one that
misses its tolerance gives way to the full sum. They are kept for the next image.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from longexposure.simulation.physics.materials import (
    Material,
    Numbers,
    find_material,
    linear_attenuation_per_um,
)
from longexposure.simulation.physics.spectrum import Response, XraySpectrum
from longexposure.simulation.recipe import refused

LOOKUP_TOLERANCE = 1e-4
"""Largest relative error of T for one material."""
NODES_TOLERANCE = 1e-3
"""Largest relative error of T for several materials where T is above `FAINTEST`."""
FAINTEST = 1e-5
"""Below this T, the error for several materials is NODES_TOLERANCE * FAINTEST at most."""
THIN_TOLERANCE = 2e-3
"""Largest relative error of the first thin layer's attenuation for several materials."""

FEW = 16
"""So few energies are summed as they are."""
MANY = 48
"""With more nodes than this the full sum is taken."""
MOST_ROWS = 1 << 14
"""With more rows of a table than this the full sum is taken."""
_PIXELS_AT_ONCE = 1 << 14

Maps = npt.NDArray[np.floating[Any]]


class Nodes(NamedTuple):
    """Energies that stand for the spectrum: weights (K,), which add up to 1, and mu in 1/um, (K, M)."""

    weights: Numbers
    mu: Numbers


def transmission(
    spectrum: XraySpectrum, thickness_um: Mapping[str | Material, npt.ArrayLike], response: Response
) -> Maps:
    """Signal behind the materials as a fraction of the open beam's, 0..1.

    The tables depend on each material's largest thickness, rounded up to a power of 2, so that images of one
    kind share them: a part of an image may differ from the whole, within the tolerances, where it lacks the
    thickest places.

    Args:
        spectrum: what arrives at the object.
        thickness_um: for each material its thickness along the ray in um, 0 or more, as arrays of one
            shape or numbers.
        response: of the detector, such as `Scintillator()`.

    Returns:
        An array of the maps' shape, float32 where all maps are float32, else float64.

    Raises:
        RecipeError: no or unknown material, negative or non-finite thickness, shapes that do not match,
            or a beam that leaves no signal even without an object.
    """
    materials, maps = _checked(thickness_um)
    present = [i for i, map_ in enumerate(maps) if map_.size and map_.max() > 0]
    if not present or np.count_nonzero(_signal_fractions(spectrum, response)) <= FEW:
        return _summed(full_nodes(spectrum, tuple(materials), response), maps)
    found, maps = tuple(materials[i] for i in present), [maps[i] for i in present]
    bounds = tuple(float(2.0 ** np.ceil(np.log2(max(float(map_.max()), 1e-3)))) for map_ in maps)
    if len(present) > 1:
        return _summed(few_nodes(spectrum, found, response, bounds), maps)
    table = _effective_attenuation(spectrum, found[0], response, bounds[0])
    if table is None:
        return _summed(full_nodes(spectrum, found, response), maps)
    (map_,) = maps
    kind, flat, rows = map_.dtype, np.ravel(map_), len(table) - 1
    start_of, rise_of = -table[:-1].astype(kind), -np.diff(table).astype(kind)
    result = np.empty(map_.size, kind)
    for start in range(0, result.size, _PIXELS_AT_ONCE):
        thickness = flat[start : start + _PIXELS_AT_ONCE]
        place = np.sqrt(thickness * kind.type(1 / bounds[0])) * kind.type(rows)
        row = np.minimum(place.astype(np.int32), rows - 1)
        exponent = thickness * (start_of[row] + (place - row.astype(kind)) * rise_of[row])
        np.exp(exponent, out=result[start : start + _PIXELS_AT_ONCE])
    return result.reshape(map_.shape)


def _checked(thickness_um: Mapping[str | Material, npt.ArrayLike]) -> tuple[list[Material], list[Maps]]:
    """The materials and their maps, of one shape and float type."""
    materials = [find_material(material) for material in thickness_um]
    maps = [np.asarray(map_) for map_ in thickness_um.values()]
    if not maps:
        raise refused(
            "thickness_um", "at least one material", "none", "pass a mapping such as {'Cu': thickness}"
        )
    for material, map_ in zip(materials, maps, strict=True):
        numbers = np.issubdtype(map_.dtype, np.floating) or np.issubdtype(map_.dtype, np.integer)
        low, high = (map_.min(initial=0), map_.max(initial=0)) if numbers else (np.nan, np.nan)
        if not (low >= 0 and high < np.inf):
            raise refused(
                f"thickness_um of {material.name!r}",
                "finite thicknesses of 0 or more",
                f"a range of {low} to {high}" if numbers else f"values of type {map_.dtype}",
                "clip rounding errors with numpy.maximum(thickness, 0), and check the geometry",
            )
    try:
        shape = np.broadcast_shapes(*(map_.shape for map_ in maps))
    except ValueError as error:
        shapes = " and ".join(str(map_.shape) for map_ in maps)
        raise refused(
            "thickness_um", "maps of one shape", shapes, "draw all materials on one grid"
        ) from error
    single = all(map_.dtype == np.float32 for map_ in maps)
    kind = np.float32 if single else np.float64
    return materials, [np.broadcast_to(map_, shape).astype(kind, copy=False) for map_ in maps]


def _signal_fractions(spectrum: XraySpectrum, response: Response) -> Numbers:
    signal = spectrum.photons * response.signal(spectrum.energy_kev)
    total = float(signal.sum())
    if not 0 < total < np.inf:
        raise refused(
            "response",
            "a signal above 0 from the open beam",
            f"{total:g}",
            "check the spectrum and the detector's thickness",
        )
    return signal / total


def full_nodes(spectrum: XraySpectrum, materials: tuple[Material, ...], response: Response) -> Nodes:
    """Every energy that makes a signal."""
    weights = _signal_fractions(spectrum, response)
    used = weights > 0
    energy = spectrum.energy_kev[used]
    mu = np.stack([linear_attenuation_per_um(material, energy) for material in materials], axis=1)
    return Nodes(weights[used], mu)


def _summed(nodes: Nodes, maps: list[Maps]) -> Maps:
    """The sum over the nodes, a few thousand pixels at a time.

    Not as products of matrices, whose last bits depend on the number of threads that BLAS takes.
    """
    kind = maps[0].dtype
    weights, mu = nodes.weights.astype(kind), -nodes.mu.astype(kind)
    flat = [np.ravel(map_) for map_ in maps]
    result = np.zeros(maps[0].size, kind)
    for start in range(0, result.size, _PIXELS_AT_ONCE):
        total = result[start : start + _PIXELS_AT_ONCE]
        first, *others = [map_[start : start + _PIXELS_AT_ONCE] for map_ in flat]
        term, path = np.empty_like(total), np.empty_like(total)
        for weight, (mu_first, *mu_others) in zip(weights, mu, strict=True):
            np.multiply(first, mu_first, out=term)
            for map_, mu_other in zip(others, mu_others, strict=True):
                np.add(term, np.multiply(map_, mu_other, out=path), out=term)
            np.add(total, np.multiply(np.exp(term, out=term), weight, out=term), out=total)
    return result.reshape(maps[0].shape)


@lru_cache(maxsize=64)
def _effective_attenuation(
    spectrum: XraySpectrum, material: Material, response: Response, bound_um: float
) -> Numbers | None:
    """-ln T / t at thicknesses bound * (row / rows)^2, or None if `MOST_ROWS` miss the tolerance.

    The tolerance holds for T and, as a fraction, for -ln T, so that faint contrasts are right too.
    """
    full = full_nodes(spectrum, (material,), response)
    mu = full.mu[:, 0]
    least = mu.min()
    rows = 512
    while rows <= MOST_ROWS:
        # Every second entry lies in the middle between two rows.
        thickness = bound_um * np.linspace(0, 1, 2 * rows + 1) ** 2
        # Without underflow or cancellation.
        lost = np.expm1(-np.outer(thickness, mu - least)) @ full.weights
        thick = np.maximum(thickness, np.finfo(np.float64).tiny)
        fine = np.where(thickness > 0, least - np.log1p(lost) / thick, full.weights @ mu)
        table, between = fine[::2], fine[1::2]
        miss = np.abs(0.5 * (table[1:] + table[:-1]) - between)
        if np.max(miss * np.maximum(thickness[1::2], 1 / between)) < LOOKUP_TOLERANCE / 4:
            return table
        rows *= 2
    return None


@lru_cache(maxsize=64)
def few_nodes(
    spectrum: XraySpectrum, materials: tuple[Material, ...], response: Response, bounds_um: tuple[float, ...]
) -> Nodes:
    """Few nodes for a box of thicknesses; all of them if `MANY` miss the tolerance.

    The node that lessens the residual most joins, then all weights are fitted anew (non-negative
    orthogonal matching pursuit), until fresh samples agree.

    Args:
        spectrum: what arrives at the object.
        materials: M of them.
        response: of the detector.
        bounds_um: largest thickness of each material.
    """
    full = full_nodes(spectrum, materials, response)
    random = np.random.default_rng(0)
    paths, fresh = (_thicknesses(bounds_um, random, count=count) for count in (400, 2000))
    terms = np.exp(-paths @ full.mu.T)
    scale = 1 / np.maximum(terms @ full.weights, FAINTEST)
    first_layer = full.mu.T / (full.weights @ full.mu)[:, None]
    open_beam = np.full((1, len(full.weights)), 1e3)
    matrix = np.concatenate([terms * scale[:, None], first_layer, open_beam])
    aim = matrix @ full.weights
    exact = np.exp(-fresh @ full.mu.T) @ full.weights
    fitted, chosen = np.zeros_like(full.weights), np.zeros(len(full.weights), bool)
    for _ in range(2 * MANY):
        gain = matrix.T @ (aim - matrix @ fitted)
        chosen[np.argmax(np.where(chosen, -np.inf, gain))] = True
        try:
            fitted[chosen] = nnls(matrix[:, chosen], aim, maxiter=1000)[0]
        except RuntimeError:
            break
        chosen = fitted > 0
        few = Nodes(fitted[chosen] / fitted.sum(), full.mu[chosen])
        if len(few.weights) > MANY:
            break
        thin = np.abs(few.weights @ few.mu / (full.weights @ full.mu) - 1).max()
        error = np.abs(np.exp(-fresh @ few.mu.T) @ few.weights - exact) / np.maximum(exact, FAINTEST)
        if thin < THIN_TOLERANCE / 2 and error.max() < NODES_TOLERANCE / 2:
            return few
    return full


def _thicknesses(bounds_um: tuple[float, ...], random: np.random.Generator, *, count: int) -> Numbers:
    """Thicknesses (N, M) in the box, denser towards 0, with its axes, corners and diagonals."""
    size = len(bounds_um)
    inside = random.random((count, size)) ** 3
    corners = np.concatenate([np.eye(size), np.ones((1, size)), np.round(random.random((4 * size, size)))])
    along = np.linspace(0, 1, 40)[:, None, None] ** 3 * corners[None]
    return np.concatenate([inside, along.reshape(-1, size)]) * np.array(bounds_um)
