"""Attenuation against published values, against xraylib, and against the laws it obeys."""

import json

import numpy as np
import pytest

from longexposure.errors import RecipeError
from longexposure.simulation.physics.materials import (
    MATERIALS,
    Material,
    elements,
    find_material,
    linear_attenuation_per_um,
    mass_attenuation_cm2_g,
    stored_table,
)

ATOMIC_WEIGHT = {
    "H": 1.008, "B": 10.81, "C": 12.011, "O": 15.999, "Na": 22.990, "Mg": 24.305, "Al": 26.982, "Si": 28.085,
    "S": 32.06, "Ca": 40.078, "Br": 79.904, "I": 126.904, "Cs": 132.905,
    "Ba": 137.327, "Ti": 47.867, "Gd": 157.25,
}  # fmt: skip
PUBLISHED = {  # cm2/g at 30, 60, 80, 100 and 160 keV, total with coherent scatter
    "Cu": (10.914, 1.593, 0.763, 0.4585, 0.2026),
    "Sn": (41.22, 6.566, 3.029, 1.677, 0.5251),
    "Si": (1.4365, 0.3206, 0.2228, 0.1835, 0.1405),
}
K_EDGES_KEV = {"Cu": 8.979, "Ag": 25.514, "Sn": 29.200, "Au": 80.725, "Pb": 88.005}


def _edges_kev(material):
    """K and L edges between 5 and 160 keV."""
    xraydb = pytest.importorskip("xraydb", reason="xraydb is not installed")
    edges = [
        edge.energy / 1e3
        for element, _ in MATERIALS[material].composition
        for edge in xraydb.xray_edges(element).values()
    ]
    return [edge for edge in edges if 5 < edge < 160]


def _by_formula(**atoms):
    mass = {element: ATOMIC_WEIGHT[element] * count for element, count in atoms.items()}
    return {element: part / sum(mass.values()) for element, part in mass.items()}


def _mixed(*parts):
    mixture = {}
    for fraction, composition in parts:
        for element, part in composition.items():
            mixture[element] = mixture.get(element, 0) + fraction * part
    return mixture


EPOXY = _by_formula(C=21, H=24, O=4)
SILICA = _by_formula(Si=1, O=2)
GLASS = _mixed(
    (0.54, SILICA),
    (0.21, _by_formula(Ca=1, O=1)),
    (0.14, _by_formula(Al=2, O=3)),
    (0.08, _by_formula(B=2, O=3)),
    (0.02, _by_formula(Mg=1, O=1)),
    (0.01, _by_formula(Na=2, O=1)),
)
COMPOUNDS = {
    "epoxy": EPOXY,
    "EMC": _mixed((0.86, SILICA), (0.14, EPOXY)),
    "FR-4": _mixed((0.6, GLASS), (0.32, EPOXY), (0.08, {"Br": 1.0})),
    "alumina": _by_formula(Al=2, O=3),
    "BaTiO3": _by_formula(Ba=1, Ti=1, O=3),
    "CsI": _by_formula(Cs=1, I=1),
    "Gd2O2S": _by_formula(Gd=2, O=2, S=1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_attenuation_is_the_published_one(name):
    found = mass_attenuation_cm2_g(name, [30, 60, 80, 100, 160])
    np.testing.assert_allclose(found, PUBLISHED[name], rtol=0.002)


@pytest.mark.parametrize(
    ("name", "energy_kev", "published"),
    [("Al", 30, 1.128), ("Al", 60, 0.2778), ("Pb", 60, 5.021), ("Pb", 100, 5.549), ("air", 60, 0.1875)],
)
def test_attenuation_is_that_of_nist(name, energy_kev, published):
    assert mass_attenuation_cm2_g(name, energy_kev) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("name", MATERIALS)
def test_attenuation_agrees_with_xraylib_away_from_edges(name):
    xraylib = pytest.importorskip("xraylib", reason="xraylib is not installed")
    energies = np.geomspace(5.01, 159.9, 150)
    far = [e for e in energies if all(abs(e - edge) > 1 for edge in _edges_kev(name))]
    reference = [
        sum(fraction * xraylib.CS_Total(xraylib.SymbolToAtomicNumber(e), energy) for e, fraction in parts)
        for parts in [MATERIALS[name].composition]
        for energy in far
    ]
    np.testing.assert_allclose(mass_attenuation_cm2_g(name, far), reference, rtol=0.01)


@pytest.mark.parametrize("name", ["Cu", "Ag", "Au", "Pb"])
def test_attenuation_agrees_with_another_calculation_of_the_photoelectric_effect(name):
    xraylib = pytest.importorskip("xraylib", reason="xraylib is not installed")
    number = xraylib.SymbolToAtomicNumber(name)
    far = [e for e in np.geomspace(10, 159, 60) if all(abs(e - edge) > 1 for edge in _edges_kev(name))]
    reference = [xraylib.CS_Total_Kissel(number, energy) for energy in far]
    np.testing.assert_allclose(mass_attenuation_cm2_g(name, far), reference, rtol=0.015)


@pytest.mark.parametrize("name", K_EDGES_KEV)
def test_k_edge_is_a_jump_at_its_energy(name):
    edge = K_EDGES_KEV[name]
    below, at, above = mass_attenuation_cm2_g(name, [edge - 1e-6, edge, edge + 1e-6])
    assert at > 4 * below
    assert at == pytest.approx(above, rel=1e-6)


@pytest.mark.parametrize("name", MATERIALS)
def test_attenuation_falls_with_energy_between_edges(name):
    energies = np.arange(5, 160.01, 0.05)
    value = mass_attenuation_cm2_g(name, energies)
    across = np.zeros(len(energies) - 1, bool)
    for edge in _edges_kev(name):
        across |= (energies[:-1] < edge) & (energies[1:] >= edge)
    assert np.all(np.diff(value)[~across] < 0)


def test_solder_is_the_mass_weighted_sum_of_its_metals():
    energies = np.linspace(5, 160, 700)
    sum_ = sum(
        fraction * mass_attenuation_cm2_g(name, energies)
        for name, fraction in (("Sn", 0.965), ("Ag", 0.030), ("Cu", 0.005))
    )
    np.testing.assert_allclose(mass_attenuation_cm2_g("SAC305", energies), sum_, rtol=1e-12)


@pytest.mark.parametrize("name", COMPOUNDS)
def test_composition_follows_from_formula_and_recipe(name):
    found = dict(MATERIALS[name].composition)
    assert found.keys() == COMPOUNDS[name].keys()
    assert found == pytest.approx(COMPOUNDS[name], abs=5e-5)


@pytest.mark.parametrize("name", MATERIALS)
def test_material_states_its_source_and_adds_up(name):
    material = MATERIALS[name]
    assert material.name == name
    assert material.source
    assert sum(fraction for _, fraction in material.composition) == pytest.approx(1, abs=2e-5)


def test_linear_attenuation_is_mass_attenuation_times_density():
    # Copper at 60 keV: 1.593 cm2/g x 8.96 g/cm3 = 14.27 /cm.
    assert linear_attenuation_per_um("Cu", 60) == pytest.approx(1.593 * 8.96 / 1e4, rel=0.002)


def test_shape_follows_the_energies_and_input_is_not_modified():
    energies = np.array([[30.0, 60.0], [80.0, 100.0]])
    before = energies.copy()
    assert mass_attenuation_cm2_g("Cu", energies).shape == (2, 2)
    assert np.shape(mass_attenuation_cm2_g("Cu", 60)) == ()
    np.testing.assert_array_equal(energies, before)


def test_an_own_alloy_can_be_used():
    bismuth_solder = Material("Sn42Bi58", 8.56, (("Sn", 0.42), ("Bi", 0.58)), "data sheet")
    assert find_material(bismuth_solder) is bismuth_solder
    below, above = mass_attenuation_cm2_g(bismuth_solder, [90.52, 90.53])
    assert above > 2 * below  # the K edge of bismuth


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: find_material("copper"), "SAC305"),
        (lambda: mass_attenuation_cm2_g("Cu", 4.9), "5 to 160 keV"),
        (lambda: mass_attenuation_cm2_g("Cu", [60, 161]), "161"),
        (lambda: mass_attenuation_cm2_g("Cu", np.nan), "nan"),
        (lambda: Material("x", 0.0, (("Cu", 1.0),)), "density"),
        (lambda: Material("x", np.nan, (("Cu", 1.0),)), "density"),
        (lambda: Material("x", 1.0, (("Xx", 1.0),)), "Xx"),
        (lambda: Material("x", 1.0, (("Cu", 0.7),)), "add up to 1"),
        (lambda: Material("x", 1.0, (("Cu", 1.5), ("Sn", -0.5))), "positive"),
        (lambda: Material("x", 1.0, ()), "none"),
    ],
)
def test_nonsense_is_refused_with_advice(call, says):
    with pytest.raises(RecipeError, match=says) as caught:
        call()
    assert caught.value.advice


def test_table_says_where_it_comes_from():
    provenance = json.loads(str(stored_table("materials")["provenance"]))
    assert {"date", "made_by", "sources", "versions"} <= provenance.keys()
    assert "xraydb" in provenance["versions"]
    assert "Elam" in json.dumps(provenance["sources"])
    assert {"Sn", "Pb", "Gd"} <= set(elements())
