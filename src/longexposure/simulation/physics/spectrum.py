"""The beam: spectra of a tungsten tube, filters, and what a scintillator makes of each photon.

The spectra lie in spectra.npz, which scripts/make_physics_tables.py makes with spekpy; it is not needed
here. They are of a thick reflection target without any filter; name the tube's window and every plate in
the beam as filters, or the softest photons, which no real tube lets out, dominate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from longexposure.errors import RecipeError
from longexposure.simulation.physics.materials import (
    Numbers,
    check_energy,
    find_material,
    linear_attenuation_per_um,
    stored_table,
)
from longexposure.simulation.recipe import RecipeTable, refused

TUBE_KV_RANGE = (40.0, 160.0)
OPTICAL_SWANK = 0.92
"""Swank factor of columnar CsI below its K edge, between the 0.91 and 0.93 that Zhao, Ristic and Rowlands
(Med. Phys. 31, 2004, 2594) measured on two kinds of layer; powder screens of Gd2O2S are worse."""

_TUNGSTEN_K_KEV = 69.525
_LINES_ABOVE_KEV = 40.0
"""Bins of the K lines; the L lines of tungsten lie far below."""


class Filter(RecipeTable):
    """A plate in the beam.

    Attributes:
        material: a name of the catalogue of materials.
        thickness_mm: mm.
    """

    material: str
    thickness_mm: float = Field(ge=0, le=100)

    @field_validator("material")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            find_material(name)
        except RecipeError as error:
            raise ValueError(error.expected) from error
        return name


class Response(Protocol):
    """What one photon adds to the detector's signal; hashable."""

    def signal(self, energy_kev: Numbers) -> Numbers:
        """Mean signal of one photon that arrives with this energy, 0 or more, in any unit."""

    def __hash__(self) -> int:
        """Equal responses share their tables."""


class Scintillator(RecipeTable):
    """What stops the photons: an energy-integrating scintillator, whose light is in proportion to the energy.

    A photon that interacts leaves all its energy: K fluorescence and scatter that escape are not taken
    off, which flatters the signal just above the K edges of the screen.

    Attributes:
        material: "CsI" or "Gd2O2S".
        thickness_um: of the layer.
        packing: fraction of the layer that is crystal: about 0.75 to 0.85 for columns of CsI, 0.5 for powder.
        optical_swank: Swank factor of the light alone.
    """

    material: Literal["CsI", "Gd2O2S"] = "CsI"
    thickness_um: float = Field(default=600, gt=0, le=5000)
    packing: float = Field(default=0.8, gt=0, le=1)
    optical_swank: float = Field(default=OPTICAL_SWANK, gt=0, le=1)

    def absorbed_fraction(self, energy_kev: npt.ArrayLike) -> Numbers:
        """Fraction of the photons that interact in the layer, 0..1."""
        depth = self.thickness_um * self.packing
        return -np.expm1(-linear_attenuation_per_um(self.material, energy_kev) * depth)

    def signal(self, energy_kev: Numbers) -> Numbers:
        """Mean energy that a photon leaves, in keV."""
        return energy_kev * self.absorbed_fraction(energy_kev)

    def swank_factor(self, spectrum: XraySpectrum) -> float:
        """Fraction of the absorbed quanta's information that survives, 0..1 (Swank, J. Appl. Phys. 44, 1973).

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
            raise refused(
                "spectrum",
                "as many numbers of photons as energies",
                f"shapes {photons.shape} and {energy.shape}",
                "pass two equally long lists",
            )
        if not np.all((photons >= 0) & (photons < np.inf)) or not photons.sum() > 0:
            raise refused(
                "spectrum, photons",
                "numbers of photons, 0 or more, not all 0",
                f"a sum of {photons.sum():g} and a minimum of {photons.min(initial=np.inf):g}",
                "use a thinner filter or a higher tube voltage, and check the list",
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

    def filtered(self, plate: Filter) -> XraySpectrum:
        """What passes a plate.

        Raises:
            RecipeError: nothing passes.
        """
        mu = linear_attenuation_per_um(plate.material, self.energy_kev)
        return XraySpectrum(self.energy_kev, self.photons * np.exp(-mu * (1e3 * plate.thickness_mm)))


@lru_cache(maxsize=256)
def tube_spectrum(tube_kv: float, filters: tuple[Filter, ...] = ()) -> XraySpectrum:
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
        raise refused(
            "tube_kv", f"a voltage of {low:g} to {high:g} kV", tube_kv, "choose a voltage in that range"
        )
    voltages, energy, *tables = (
        stored_table("spectra")[name].astype(np.float64)
        for name in ("tube_kv", "energy_kev", "continuum_per_kev", "lines_per_kev")
    )
    after = int(np.clip(np.searchsorted(voltages, tube_kv), 1, len(voltages) - 1))
    fraction = (tube_kv - voltages[after - 1]) / (voltages[after] - voltages[after - 1])
    width = energy[1] - energy[0]
    per_kev = np.zeros_like(energy)
    for table, shape in zip(tables, (_continuum_shape, _line_shape), strict=True):
        below, above = (
            np.divide(table[row], ends, out=np.full_like(ends, np.nan), where=ends > 0)
            for row in (after - 1, after)
            for ends in [shape(energy, width, voltages[row])]
        )
        # Beyond its end the row of the lower voltage is continued in the course of the higher one.
        known = np.isfinite(below)
        last = np.flatnonzero(known)[-1]
        factor = below[last] / above[last] if above[last] > 0 else 1.0
        continued = np.nan_to_num(np.where(known, below, factor * above))
        blend = fraction * np.nan_to_num(above) + (1 - fraction) * continued
        per_kev += blend * shape(energy, width, tube_kv)
    spectrum = XraySpectrum(energy, per_kev * width)
    for plate in filters:
        spectrum = spectrum.filtered(plate)
    return spectrum


def _continuum_shape(energy_kev: Numbers, width: float, tube_kv: float) -> Numbers:
    """Mean of V - E over each bin, 0 above V."""
    reach = np.clip(tube_kv - (energy_kev - width / 2), 0, width)
    return reach / width * (tube_kv - (energy_kev - width / 2) - reach / 2)


def _line_shape(energy_kev: Numbers, width: float, tube_kv: float) -> Numbers:
    excess = max(tube_kv / _TUNGSTEN_K_KEV - 1, 0.0) ** 1.63
    return np.where(energy_kev > _LINES_ABOVE_KEV, excess, 1.0)
