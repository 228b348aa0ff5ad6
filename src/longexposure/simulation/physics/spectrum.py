"""The beam: spectra of a tungsten tube, filters, and what a scintillator makes of each photon.

The spectra lie in spectra.npz, which scripts/make_physics_tables.py makes with spekpy; it is not needed
here. They are of a thick reflection target without any filter; name the tube's window and every plate in
the beam as filters, or the softest photons, which no real tube lets out, dominate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from longexposure.errors import RecipeError
from longexposure.simulation.physics.materials import (
    Material,
    air_energy_absorption_cm2_g,
    check_energy,
    find_material,
    linear_attenuation_per_um,
)

TUBE_KV_RANGE = (40.0, 160.0)
OPTICAL_SWANK = 0.92
"""Swank factor of columnar CsI below its K edge, between the 0.91 and 0.93 that Zhao, Ristic and Rowlands
(Med. Phys. 31, 2004, 2594) measured on two kinds of layer; powder screens of Gd2O2S are worse."""

Numbers = npt.NDArray[np.float64]

_UGY_PER_KEV_G = 1.602176634e-7
_TUNGSTEN_K_KEV = 69.525
_LINES_ABOVE_KEV = 40.0
"""Bins of the K lines; the L lines of tungsten lie far below."""


@dataclass(frozen=True)
class Filter:
    """A plate that the whole beam passes.

    Attributes:
        material: a name of the catalogue or a `Material`.
        thickness_mm: mm, 0 or more.
    """

    material: str | Material
    thickness_mm: float

    def __post_init__(self) -> None:
        find_material(self.material)
        check_thickness(self.thickness_mm, where="filter, thickness_mm")


class Response(Protocol):
    """What one photon adds to the detector's signal; hashable."""

    def signal(self, energy_kev: Numbers) -> Numbers:
        """Mean signal of one photon that arrives with this energy, 0 or more, in any unit."""

    def __hash__(self) -> int:
        """Equal responses share their tables."""


@dataclass(frozen=True)
class PhotonCounter:
    """The ideal counter: every photon counts one, whatever its energy."""

    def signal(self, energy_kev: Numbers) -> Numbers:
        return np.ones_like(energy_kev)


@dataclass(frozen=True)
class Scintillator:
    """An energy-integrating scintillator: light in proportion to the energy absorbed.

    A photon that interacts leaves all its energy: K fluorescence and scatter that escape are not taken
    off, which flatters the signal just above the K edges of the screen.

    Attributes:
        material: "CsI", "Gd2O2S" or another.
        thickness_um: thickness of the layer.
        packing: fraction of the layer that is crystal: about 0.75 to 0.85 for columns of CsI, 0.5 for powder.
        optical_swank: Swank factor of the light alone, above 0 to 1.
    """

    material: str | Material = "CsI"
    thickness_um: float = 600.0
    packing: float = 0.8
    optical_swank: float = OPTICAL_SWANK

    def __post_init__(self) -> None:
        find_material(self.material)
        check_thickness(self.thickness_um, where="scintillator, thickness_um", positive=True)
        for name in ("packing", "optical_swank"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise RecipeError(
                    where=f"scintillator, {name}",
                    expected="a number above 0, at most 1",
                    found=str(value),
                    advice=f"leave {name} out for the default {getattr(type(self), name):g}",
                )

    def absorbed_fraction(self, energy_kev: npt.ArrayLike) -> Numbers:
        """Share of the photons that interact in the layer, 0..1."""
        depth = self.thickness_um * self.packing
        return -np.expm1(-linear_attenuation_per_um(self.material, energy_kev) * depth)

    def signal(self, energy_kev: Numbers) -> Numbers:
        """Mean energy that a photon leaves, in keV."""
        return energy_kev * self.absorbed_fraction(energy_kev)

    def swank_factor(self, spectrum: XraySpectrum) -> float:
        """Share of the absorbed quanta's information that survives, 0..1 (Swank, J. Appl. Phys. 44, 1973).

        M1^2 / (M0 M2) of the energies absorbed, times that of the light: the variance of the signal is
        mean^2 / (swank_factor * quanta absorbed).
        """
        absorbed = spectrum.photons * self.absorbed_fraction(spectrum.energy_kev)
        moments = [float(absorbed @ spectrum.energy_kev**n) for n in range(3)]
        return self.optical_swank * moments[1] ** 2 / (moments[0] * moments[2])


@dataclass(frozen=True, eq=False)
class XraySpectrum:
    """How many photons of which energy.

    Attributes:
        energy_kev: middle of each energy bin, (K,), 5 to 160 keV.
        photons: photons in each bin, (K,), 0 or more: per cm2 and mAs at 1 m where `tube_spectrum` made
            it. At d metres and q mAs there are q / d^2 as many.

    Raises:
        RecipeError: energies out of range, negative or no photons, or different lengths.
    """

    energy_kev: Numbers
    photons: Numbers

    def __post_init__(self) -> None:
        energy, photons = check_energy(self.energy_kev).copy(), np.array(self.photons, np.float64)
        if energy.ndim != 1 or energy.shape != photons.shape:
            raise RecipeError(
                where="spectrum",
                expected="as many numbers of photons as energies",
                found=f"shapes {photons.shape} and {energy.shape}",
                advice="pass two equally long lists",
            )
        if not np.all((photons >= 0) & (photons < np.inf)) or not photons.sum() > 0:
            raise RecipeError(
                where="spectrum, photons",
                expected="numbers of photons, 0 or more, not all 0",
                found=f"a sum of {photons.sum():g} and a minimum of {photons.min(initial=np.inf):g}",
                advice="use a thinner filter or a higher tube voltage, and check the list",
            )
        for name, array in (("energy_kev", energy), ("photons", photons)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XraySpectrum) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    @property
    def _bytes(self) -> tuple[bytes, bytes]:
        return self.energy_kev.tobytes(), self.photons.tobytes()

    def mean_energy_kev(self) -> float:
        """Mean energy of the photons in keV."""
        return float(self.photons @ self.energy_kev / self.photons.sum())

    def filtered(self, material: str | Material, thickness_mm: float) -> XraySpectrum:
        """What passes a plate of this material.

        Raises:
            RecipeError: unknown material, negative thickness, or nothing passes.
        """
        plate = Filter(material, thickness_mm)
        mu = linear_attenuation_per_um(plate.material, self.energy_kev)
        return XraySpectrum(self.energy_kev, self.photons * np.exp(-mu * (1e3 * thickness_mm)))

    def air_kerma_ugy(self) -> float:
        """Air kerma in uGy; per mAs at 1 m, in vacuum, where `tube_spectrum` made the spectrum."""
        return float(self.photons @ _kerma_per_photon(self.energy_kev))

    def half_value_layer_mm(self, material: str | Material = "Al") -> float:
        """Thickness in mm that halves the air kerma of the narrow beam."""
        mu = linear_attenuation_per_um(material, self.energy_kev) * 1e3
        kerma = self.photons * _kerma_per_photon(self.energy_kev)
        kerma = kerma / kerma.sum()
        thickest = 1.01 * np.log(2) / mu[kerma > 0].min()
        return float(brentq(lambda t: kerma @ np.exp(-mu * t) - 0.5, 0.0, thickest, xtol=1e-9))


def tube_spectrum(tube_kv: float, filters: Sequence[Filter] = ()) -> XraySpectrum:
    """Photons per cm2 and mAs at 1 m of a tungsten tube, behind filters, in bins of 0.5 keV.

    Between the voltages of the table, 2 kV apart, continuum and lines are each divided by what makes
    them vanish at their own end (Kramers' V - E; Green and Cosslett's (V / V_K - 1)^1.63) and interpolated.

    Args:
        tube_kv: 40 to 160 kV.
        filters: every plate in the beam, the tube's window first; their order does not matter.

    Raises:
        RecipeError: voltage out of range, or filters that let nothing pass.
    """
    low, high = TUBE_KV_RANGE
    if not low <= tube_kv <= high:
        raise RecipeError(
            where="tube_kv",
            expected=f"a voltage of {low:g} to {high:g} kV",
            found=str(tube_kv),
            advice="choose a voltage in that range",
        )
    spectrum = _unfiltered(float(tube_kv))
    for plate in filters:
        spectrum = spectrum.filtered(plate.material, plate.thickness_mm)
    return spectrum


def spectra_provenance() -> dict[str, Any]:
    """Who made the table of spectra, when, with which versions, from which sources."""
    return dict(json.loads(str(_stored()["provenance"])))


def check_thickness(thickness: float, *, where: str, positive: bool = False) -> None:
    """Refuse a thickness that is negative or not finite, or 0 where it must be positive.

    Raises:
        RecipeError: as said.
    """
    if not 0 <= thickness < np.inf or (positive and thickness == 0):
        raise RecipeError(
            where=where,
            expected="a finite thickness " + ("above 0" if positive else "of 0 or more"),
            found=str(thickness),
            advice="give the thickness along the ray as a positive number",
        )


class _Tubes(NamedTuple):
    tube_kv: Numbers
    energy_kev: Numbers
    continuum: Numbers
    lines: Numbers


@lru_cache(maxsize=32)
def _unfiltered(tube_kv: float) -> XraySpectrum:
    tubes = _tubes()
    after = int(np.clip(np.searchsorted(tubes.tube_kv, tube_kv), 1, len(tubes.tube_kv) - 1))
    before = after - 1
    fraction = (tube_kv - tubes.tube_kv[before]) / (tubes.tube_kv[after] - tubes.tube_kv[before])
    width = tubes.energy_kev[1] - tubes.energy_kev[0]
    per_kev = np.zeros_like(tubes.energy_kev)
    for table, shape in ((tubes.continuum, _continuum_shape), (tubes.lines, _line_shape)):
        below, above = (
            _ratio(table[row], shape(tubes.energy_kev, width, tubes.tube_kv[row])) for row in (before, after)
        )
        blend = fraction * np.nan_to_num(above) + (1 - fraction) * _continued(below, above)
        per_kev += blend * shape(tubes.energy_kev, width, tube_kv)
    return XraySpectrum(tubes.energy_kev, per_kev * width)


def _ratio(spectrum: Numbers, shape: Numbers) -> Numbers:
    """What is left of a row without its shape, NaN where the shape is 0."""
    return np.divide(spectrum, shape, out=np.full_like(shape, np.nan), where=shape > 0)


def _continued(below: Numbers, above: Numbers) -> Numbers:
    """The row of the lower voltage, continued beyond its end in the course of the higher one."""
    known = np.isfinite(below)
    last = np.flatnonzero(known)[-1]
    factor = below[last] / above[last] if above[last] > 0 else 1.0
    return np.nan_to_num(np.where(known, below, factor * above))


def _continuum_shape(energy_kev: Numbers, width: float, tube_kv: float) -> Numbers:
    """Mean of V - E over each bin, 0 above V."""
    reach = np.clip(tube_kv - (energy_kev - width / 2), 0, width)
    return reach / width * (tube_kv - (energy_kev - width / 2) - reach / 2)


def _line_shape(energy_kev: Numbers, width: float, tube_kv: float) -> Numbers:
    excess = max(tube_kv / _TUNGSTEN_K_KEV - 1, 0.0) ** 1.63
    return np.where(energy_kev > _LINES_ABOVE_KEV, excess, 1.0)


def _kerma_per_photon(energy_kev: Numbers) -> Numbers:
    """Air kerma in uGy of one photon per cm2."""
    return _UGY_PER_KEV_G * energy_kev * air_energy_absorption_cm2_g(energy_kev)


@lru_cache(maxsize=1)
def _tubes() -> _Tubes:
    table = _stored()
    names = ("tube_kv", "energy_kev", "continuum_per_kev", "lines_per_kev")
    return _Tubes(*(table[name].astype(np.float64) for name in names))


@lru_cache(maxsize=1)
def _stored() -> dict[str, npt.NDArray[Any]]:
    file = resources.files("longexposure.simulation.physics") / "spectra.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        return dict(table)
