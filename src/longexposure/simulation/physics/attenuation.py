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

from longexposure.errors import RecipeError
from longexposure.simulation.physics.materials import Material, find_material, linear_attenuation_per_um
from longexposure.simulation.physics.spectrum import Response, XraySpectrum

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

Numbers = npt.NDArray[np.float64]
Maps = npt.NDArray[np.floating[Any]]


class _Nodes(NamedTuple):
    """Energies that stand for the spectrum: weights (K,), which add up to 1, and mu in 1/um, (K, M)."""

    weights: Numbers
    mu: Numbers


def transmission(
    spectrum: XraySpectrum, thickness_um: Mapping[str | Material, npt.ArrayLike], response: Response
) -> Maps:
    """Signal behind the materials as a fraction of the open beam's, 0..1.

    The tables depend on each material's largest thickness, rounded up to a power of 2: a part of an image
    may differ from the whole, within the tolerances, where it lacks the thickest places.

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
    weights = _signal_fractions(spectrum, response)
    present = [i for i, map_ in enumerate(maps) if map_.size and map_.max() > 0]
    if not present or np.count_nonzero(weights) <= FEW:
        return _summed(_full(spectrum, tuple(materials), response), maps)
    materials, maps = [materials[i] for i in present], [maps[i] for i in present]
    bounds = tuple(_rounded_up(float(map_.max())) for map_ in maps)
    if len(present) == 1:
        lookup = _lookup(spectrum, materials[0], response, bounds[0])
        if lookup is None:
            return _summed(_full(spectrum, tuple(materials), response), maps)
        return _looked_up(lookup, bounds[0], maps[0])
    return _summed(_reduced(spectrum, tuple(materials), response, bounds), maps)


def nodes(
    spectrum: XraySpectrum, largest_um: Mapping[str | Material, float], response: Response
) -> tuple[Numbers, Numbers]:
    """The energies that stand for the spectrum, for a renderer of your own.

    Args:
        spectrum: what arrives at the object.
        largest_um: largest thickness of each material that the nodes are to be true for.
        response: of the detector.

    Returns:
        Weights (K,), which add up to 1, and attenuation coefficients (K, M) in 1/um, in the order of
        the materials: T = weights @ exp(-mu @ t) within `NODES_TOLERANCE`.

    Raises:
        RecipeError: as `transmission`.
    """
    materials, maps = _checked(dict(largest_um))
    bounds = tuple(_rounded_up(float(map_)) for map_ in maps)
    found = _reduced(spectrum, tuple(materials), response, bounds)
    return found.weights.copy(), found.mu.copy()


def _checked(thickness_um: Mapping[str | Material, npt.ArrayLike]) -> tuple[list[Material], list[Maps]]:
    materials = [find_material(material) for material in thickness_um]
    maps = [np.asarray(map_) for map_ in thickness_um.values()]
    if not maps:
        raise RecipeError(
            where="thickness_um",
            expected="at least one material",
            found="none",
            advice="pass a mapping such as {'Cu': thickness}",
        )
    for material, map_ in zip(materials, maps, strict=True):
        numbers = np.issubdtype(map_.dtype, np.floating) or np.issubdtype(map_.dtype, np.integer)
        low, high = (map_.min(initial=0), map_.max(initial=0)) if numbers else (np.nan, np.nan)
        if not (low >= 0 and high < np.inf):
            raise RecipeError(
                where=f"thickness_um of {material.name!r}",
                expected="finite thicknesses of 0 or more",
                found=f"a range of {low} to {high}" if numbers else f"values of type {map_.dtype}",
                advice="clip rounding errors with numpy.maximum(thickness, 0), and check the geometry",
            )
    try:
        shape = np.broadcast_shapes(*(map_.shape for map_ in maps))
    except ValueError as error:
        raise RecipeError(
            where="thickness_um",
            expected="maps of one shape",
            found=" and ".join(str(map_.shape) for map_ in maps),
            advice="draw all materials on one grid",
        ) from error
    single = all(map_.dtype == np.float32 for map_ in maps)
    kind = np.float32 if single else np.float64
    return materials, [np.broadcast_to(map_, shape).astype(kind, copy=False) for map_ in maps]


def _signal_fractions(spectrum: XraySpectrum, response: Response) -> Numbers:
    signal = spectrum.photons * response.signal(spectrum.energy_kev)
    total = float(signal.sum())
    if not 0 < total < np.inf:
        raise RecipeError(
            where="response",
            expected="a signal above 0 from the open beam",
            found=f"{total:g}",
            advice="check the spectrum and the detector's thickness",
        )
    return signal / total


def _rounded_up(thickness_um: float) -> float:
    """The next power of 2, so that images of one kind share their tables."""
    return float(2.0 ** np.ceil(np.log2(max(thickness_um, 1e-3))))


def _full(spectrum: XraySpectrum, materials: tuple[Material, ...], response: Response) -> _Nodes:
    weights = _signal_fractions(spectrum, response)
    used = weights > 0
    energy = spectrum.energy_kev[used]
    mu = np.stack([linear_attenuation_per_um(material, energy) for material in materials], axis=1)
    return _Nodes(weights[used], mu)


def _summed(nodes: _Nodes, maps: list[Maps]) -> Maps:
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


def _effective(nodes: _Nodes, thickness_um: Numbers) -> Numbers:
    """-ln T / t of the first material in 1/um, without underflow or cancellation."""
    mu = nodes.mu[:, 0]
    least = mu.min()
    lost = np.expm1(-np.outer(thickness_um, mu - least)) @ nodes.weights
    thick = np.maximum(thickness_um, np.finfo(np.float64).tiny)
    return np.where(thickness_um > 0, least - np.log1p(lost) / thick, nodes.weights @ mu)


@lru_cache(maxsize=64)
def _lookup(
    spectrum: XraySpectrum, material: Material, response: Response, bound_um: float
) -> Numbers | None:
    """-ln T / t at thicknesses bound * (row / rows)^2, or None if `MOST_ROWS` miss the tolerance.

    The tolerance holds for T and, as a fraction, for -ln T, so that faint contrasts are right too.
    """
    full = _full(spectrum, (material,), response)
    rows = 512
    while rows <= MOST_ROWS:
        # Every second entry lies in the middle between two rows.
        thickness = bound_um * np.linspace(0, 1, 2 * rows + 1) ** 2
        fine = _effective(full, thickness)
        table, between = fine[::2], fine[1::2]
        miss = np.abs(0.5 * (table[1:] + table[:-1]) - between)
        if np.max(miss * np.maximum(thickness[1::2], 1 / between)) < LOOKUP_TOLERANCE / 4:
            return table
        rows *= 2
    return None


def _looked_up(table: Numbers, bound_um: float, map_: Maps) -> Maps:
    kind, flat, rows = map_.dtype, np.ravel(map_), len(table) - 1
    start_of, rise_of = -table[:-1].astype(kind), -np.diff(table).astype(kind)
    result = np.empty(map_.size, kind)
    for start in range(0, result.size, _PIXELS_AT_ONCE):
        thickness = flat[start : start + _PIXELS_AT_ONCE]
        place = np.sqrt(thickness * kind.type(1 / bound_um)) * kind.type(rows)
        row = np.minimum(place.astype(np.int32), rows - 1)
        exponent = thickness * (start_of[row] + (place - row.astype(kind)) * rise_of[row])
        np.exp(exponent, out=result[start : start + _PIXELS_AT_ONCE])
    return result.reshape(map_.shape)


@lru_cache(maxsize=64)
def _reduced(
    spectrum: XraySpectrum, materials: tuple[Material, ...], response: Response, bounds_um: tuple[float, ...]
) -> _Nodes:
    """Few nodes for a box of thicknesses; all of them if `MANY` miss the tolerance.

    The node that lessens the residual most joins, then all weights are fitted anew (non-negative
    orthogonal matching pursuit), until fresh samples agree.
    """
    full = _full(spectrum, materials, response)
    random = np.random.default_rng(0)
    paths, fresh = (_samples(bounds_um, random, count=count) for count in (400, 2000))
    terms = np.exp(-paths @ full.mu.T)
    scale = 1 / np.maximum(terms @ full.weights, FAINTEST)
    first_layer = full.mu.T / (full.weights @ full.mu)[:, None]
    open_beam = np.full((1, len(full.weights)), 1e3)
    matrix = np.concatenate([terms * scale[:, None], first_layer, open_beam])
    aim = matrix @ full.weights
    fitted, chosen = np.zeros_like(full.weights), np.zeros(len(full.weights), bool)
    for _ in range(2 * MANY):
        gain = matrix.T @ (aim - matrix @ fitted)
        chosen[np.argmax(np.where(chosen, -np.inf, gain))] = True
        try:
            fitted[chosen] = nnls(matrix[:, chosen], aim, maxiter=1000)[0]
        except RuntimeError:
            break
        chosen = fitted > 0
        few = _Nodes(fitted[chosen] / fitted.sum(), full.mu[chosen])
        if len(few.weights) > MANY:
            break
        thin = np.abs(few.weights @ few.mu / (full.weights @ full.mu) - 1).max()
        if thin < THIN_TOLERANCE / 2 and _error(few, full, fresh) < NODES_TOLERANCE / 2:
            return few
    return full


def _samples(bounds_um: tuple[float, ...], random: np.random.Generator, *, count: int) -> Numbers:
    """Thicknesses (N, M) in the box, denser towards 0, with its axes, corners and diagonals."""
    size = len(bounds_um)
    inside = random.random((count, size)) ** 3
    corners = np.concatenate([np.eye(size), np.ones((1, size)), np.round(random.random((4 * size, size)))])
    along = np.linspace(0, 1, 40)[:, None, None] ** 3 * corners[None]
    return np.concatenate([inside, along.reshape(-1, size)]) * np.array(bounds_um)


def _error(few: _Nodes, full: _Nodes, paths: Numbers) -> float:
    """Largest error of T, relative to T or to `FAINTEST`."""
    exact = np.exp(-paths @ full.mu.T) @ full.weights
    return float(
        np.max(np.abs(np.exp(-paths @ few.mu.T) @ few.weights - exact) / np.maximum(exact, FAINTEST))
    )
