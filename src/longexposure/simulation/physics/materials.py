"""What electronics is made of, and how strongly it attenuates X-rays from 5 to 160 keV.

The coefficients lie in materials.npz, which scripts/make_physics_tables.py makes with xraydb from the tables
of Elam, Ravel and Sieber; xraydb is not needed here. Between the rows of an element log-log lines are
drawn; at an absorption edge there are two rows, and the energy of the edge itself counts as above it.
Materials follow the mixture rule: coefficients add in proportion to mass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.simulation.recipe import refused

ENERGY_RANGE_KEV = (5.0, 160.0)

Numbers = npt.NDArray[np.float64]
Composition = tuple[tuple[str, float], ...]


@lru_cache(maxsize=2)
def stored_table(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the file NAME.npz beside this module."""
    file = resources.files("longexposure.simulation.physics") / f"{name}.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        return dict(table)


@lru_cache(maxsize=1)
def elements() -> Mapping[str, tuple[Numbers, Numbers]]:
    """Energies in keV, ascending, an edge twice, and mass attenuation in cm2/g there, of each element."""
    table = stored_table("materials")
    energy, attenuation = (
        table[name].astype(np.float64) for name in ("energy_kev", "mass_attenuation_cm2_g")
    )
    rows = [slice(*ends) for ends in pairwise(table["first_row"])]
    return {str(name): (energy[r], attenuation[r]) for name, r in zip(table["elements"], rows, strict=True)}


@dataclass(frozen=True)
class Material:
    """A homogeneous material; one of `MATERIALS`, or your own.

    Attributes:
        name: as recipes write it.
        density_g_cm3: g/cm3, above 0.
        composition: pairs of element and fraction by mass, which add up to 1 within 0.001.
        source: where density and composition come from.

    Raises:
        RecipeError: an element without a table, a fraction or density that is not positive, another sum.
    """

    name: str
    density_g_cm3: float
    composition: Composition
    source: str = ""

    def __post_init__(self) -> None:
        where = f"material {self.name!r}"
        if not 0 < self.density_g_cm3 < np.inf:
            raise refused(
                f"{where}, density_g_cm3",
                "a density above 0 g/cm3",
                self.density_g_cm3,
                "give the density of the primitive, such as 8.96 for copper",
            )
        for element, _ in self.composition:
            if element not in elements():
                raise refused(
                    f"{where}, composition",
                    f"elements among {' '.join(elements())}",
                    repr(element),
                    "use the chemical symbol, or add the element to scripts/make_physics_tables.py",
                )
        fractions = [fraction for _, fraction in self.composition]
        if not all(fraction > 0 for fraction in fractions) or not abs(sum(fractions) - 1) <= 1e-3:
            raise refused(
                f"{where}, composition",
                "positive fractions by mass that add up to 1",
                ", ".join(f"{element} {fraction:g}" for element, fraction in self.composition) or "none",
                "divide each fraction by their sum",
            )


_NIST = "NIST, X-Ray Mass Attenuation Coefficients, tables 1 and 2"
_SOLDER = "nominal alloy of IPC J-STD-006; density from makers' data sheets"
_PURE = {
    "Be": 1.848,
    "Al": 2.699,
    "Si": 2.330,
    "Cu": 8.960,
    "Ag": 10.50,
    "Sn": 7.310,
    "Au": 19.32,
    "Pb": 11.35,
}
_EPOXY = (("C", 0.740953), ("H", 0.071052), ("O", 0.187995))
_EMC = (("Si", 0.401996), ("O", 0.484324), ("C", 0.103733), ("H", 0.009947))
_FR4 = (
    ("Si", 0.151449), ("O", 0.347605), ("Ca", 0.090052), ("Al", 0.044458), ("B", 0.014907), ("Mg", 0.007237),
    ("Na", 0.004451), ("C", 0.237105), ("H", 0.022737), ("Br", 0.08),
)  # fmt: skip
_E_GLASS = "E-glass SiO2 54, CaO 21, Al2O3 14, B2O3 8, MgO 2, Na2O 1 %"
_AIR = (("C", 0.000124), ("N", 0.755268), ("O", 0.231781), ("Ar", 0.012827))
_GADOX = (("Gd", 0.830784), ("O", 0.084526), ("S", 0.08469))
_TITANATE = (("Ba", 0.588915), ("Ti", 0.205267), ("O", 0.205818))

MATERIALS: Mapping[str, Material] = {
    material.name: material
    for material in (
        *(Material(name, density, ((name, 1.0),), _NIST) for name, density in _PURE.items()),
        Material("SAC305", 7.38, (("Sn", 0.965), ("Ag", 0.03), ("Cu", 0.005)), _SOLDER),
        Material("Sn63Pb37", 8.40, (("Sn", 0.63), ("Pb", 0.37)), _SOLDER),
        Material("epoxy", 1.20, _EPOXY, "diglycidyl ether of bisphenol A, C21H24O4; typical when cured"),
        Material("FR-4", 1.85, _FR4, f"typical: 60 % {_E_GLASS}; 40 % epoxy with a fifth bromine"),
        Material("EMC", 1.95, _EMC, "typical mould compound: 86 % fused silica, 14 % epoxy"),
        Material("Ni", 8.908, (("Ni", 1.0),), _NIST),
        Material("BaTiO3", 6.02, _TITANATE, "dense ceramic"),
        Material("alumina", 3.97, (("Al", 0.529257), ("O", 0.470743)), "NIST; dense Al2O3"),
        Material("CsI", 4.51, (("Cs", 0.511547), ("I", 0.488453)), f"{_NIST}; crystal"),
        Material("Gd2O2S", 7.44, _GADOX, f"{_NIST}; crystal"),
        Material("air", 1.205e-3, _AIR, f"{_NIST}; dry, near sea level"),
    )
}
"""The catalogue: name to material. Fractions of compounds are from atomic weights."""


def find_material(material: str | Material) -> Material:
    """The material of this name in `MATERIALS`; a `Material` is handed back.

    Raises:
        RecipeError: no such name.
    """
    if isinstance(material, Material):
        return material
    if material not in MATERIALS:
        raise refused(
            "material",
            f"one of {', '.join(MATERIALS)}",
            repr(material),
            "write the name as in that list, or pass a Material with density and composition",
        )
    return MATERIALS[material]


def mass_attenuation_cm2_g(material: str | Material, energy_kev: npt.ArrayLike) -> Numbers:
    """Total mass attenuation coefficient mu/rho, coherent scatter included, in cm2/g.

    Args:
        material: a name or a `Material`.
        energy_kev: energies of any shape, 5 to 160 keV.

    Raises:
        RecipeError: unknown material, or an energy out of range.
    """
    energy = check_energy(energy_kev)
    total = np.zeros_like(energy)
    for name, fraction in find_material(material).composition:
        rows, values = elements()[name]
        upper = np.clip(np.searchsorted(rows, energy, side="right"), 1, len(rows) - 1)
        lower = upper - 1
        weight = np.log(energy / rows[lower]) / np.log(rows[upper] / rows[lower])
        total += fraction * np.exp((1 - weight) * np.log(values[lower]) + weight * np.log(values[upper]))
    return total


def linear_attenuation_per_um(material: str | Material, energy_kev: npt.ArrayLike) -> Numbers:
    """Linear attenuation coefficient mu in 1/um; arguments and errors as `mass_attenuation_cm2_g`."""
    found = find_material(material)
    return mass_attenuation_cm2_g(found, energy_kev) * (found.density_g_cm3 * 1e-4)


def check_energy(energy_kev: npt.ArrayLike) -> Numbers:
    """Energies as float64.

    Raises:
        RecipeError: an energy outside 5 to 160 keV, or none that is a number.
    """
    energy = np.asarray(energy_kev, np.float64)
    low, high = ENERGY_RANGE_KEV
    outside = energy[~((energy >= low) & (energy <= high))]
    if outside.size:
        raise refused(
            "energy_kev",
            f"energies of {low:g} to {high:g} keV",
            f"{outside.flat[0]:g}",
            "keep to that range; photons below it do not leave a tube, and no table reaches above",
        )
    return energy
