"""Spectra, filters and the scintillator against spekpy's figures, closed forms and orderings.

The figures of spekpy 2.5.4 (tungsten, 20 degrees, model casim, coefficients of NIST) are facts about the
tube behind the named filter: mean energy and photons per cm2. It has tables of attenuation and a sum of its
own; off the even kV interpolation is checked.
"""

import json
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from longexposure.errors import RecipeError
from longexposure.simulation.physics.materials import mass_attenuation_cm2_g, stored_table
from longexposure.simulation.physics.spectrum import (
    OPTICAL_SWANK,
    Filter,
    Scintillator,
    XraySpectrum,
    tube_spectrum,
)


def _plate(material, thickness_mm):
    return Filter(material=material, thickness_mm=thickness_mm)


SPEKPY = [
    (40.0, _plate("Al", 2.0), (27.2098, 2.53226e7)),
    (83.3, _plate("Al", 2.0), (42.2405, 1.95121e8)),
    (100.0, _plate("Al", 2.0), (47.1291, 2.90931e8)),
    (137.5, _plate("Cu", 0.5), (72.2375, 2.28443e8)),
    (160.0, _plate("Cu", 0.5), (77.5481, 3.26933e8)),
]
VOLTAGES = (40, 47, 63, 69, 70, 72, 88, 101, 139, 160)


def _mean_kev(spectrum):
    return float(spectrum.photons @ spectrum.energy_kev / spectrum.photons.sum())


@pytest.mark.parametrize(("tube_kv", "plate", "figures"), SPEKPY)
def test_spectrum_has_the_figures_of_spekpy(tube_kv, plate, figures):
    spectrum = tube_spectrum(tube_kv, (plate,))
    mean, photons = figures
    assert _mean_kev(spectrum) == pytest.approx(mean, rel=0.003)
    assert spectrum.photons.sum() == pytest.approx(photons, rel=0.01)


@pytest.mark.parametrize("tube_kv", [42.5, 66.0, 71.5, 83.3, 117.7, 158.2])
def test_spectrum_between_the_rows_of_the_table_is_that_of_spekpy(tube_kv):
    spekpy = pytest.importorskip("spekpy", reason="spekpy is not installed")
    tube = spekpy.Spek(kvp=tube_kv, th=20, dk=0.5, targ="W", physics="casim").filter("Al", 1.0)
    spectrum = tube_spectrum(tube_kv, (_plate("Al", 1.0),))
    assert spectrum.photons.sum() == pytest.approx(tube.get_flu(), rel=0.015)
    assert _mean_kev(spectrum) == pytest.approx(tube.get_emean(), rel=0.005)


@pytest.mark.parametrize("tube_kv", VOLTAGES)
def test_no_photon_has_more_energy_than_the_electrons(tube_kv):
    spectrum = tube_spectrum(tube_kv)
    assert not spectrum.photons[spectrum.energy_kev > tube_kv + 0.25].any()
    assert spectrum.photons[spectrum.energy_kev < tube_kv - 0.5].all()


def test_continuum_is_smooth_up_to_its_end():
    spectrum = tube_spectrum(69.0)
    photons = spectrum.photons[(spectrum.energy_kev > 14) & (spectrum.energy_kev < 69)]
    assert np.all(np.abs(np.diff(photons, n=2)[40:]) < 0.01 * photons[40])


def test_k_lines_of_tungsten_appear_above_its_edge_only():
    def peak(tube_kv):
        spectrum = tube_spectrum(tube_kv)
        at, beside = (spectrum.photons[np.abs(spectrum.energy_kev - e) < 0.1] for e in (59.25, 61.25))
        return float(at[0] / beside[0])

    assert peak(69.5) < 1.3
    assert peak(100) > 2


def test_photons_increase_with_voltage():
    spectra = [tube_spectrum(kv, (_plate("Al", 1.0),)) for kv in VOLTAGES]
    assert np.all(np.diff([s.photons.sum() for s in spectra]) > 0)


@pytest.mark.parametrize("tube_kv", [40, 90, 160])
def test_mean_energy_increases_with_filter(tube_kv):
    energies = [_mean_kev(tube_spectrum(tube_kv, (_plate("Cu", mm),))) for mm in (0, 0.1, 0.3, 1.0)]
    assert np.all(np.diff(energies) > 0)


def test_filters_commute_and_add():
    one = tube_spectrum(90, (_plate("Al", 1.0), _plate("Cu", 0.2)))
    other = tube_spectrum(
        90,
        (
            _plate("Cu", 0.2),
            _plate("Al", 0.4),
            _plate("Al", 0.6),
        ),
    )
    np.testing.assert_allclose(one.photons, other.photons, rtol=1e-9)


def test_filter_of_no_thickness_changes_nothing():
    spectrum = tube_spectrum(90)
    assert spectrum.filtered(_plate("Pb", 0.0)) == spectrum


def test_scintillator_absorbs_as_beer_and_lambert_say():
    screen = Scintillator(material="Gd2O2S", thickness_um=200, packing=0.5)
    expected = 1 - np.exp(-mass_attenuation_cm2_g("Gd2O2S", 60.0) * 7.44 * 0.01)
    assert screen.absorbed_fraction(60.0) == pytest.approx(expected, rel=1e-9)
    assert screen.signal(np.array([60.0]))[0] == pytest.approx(60 * expected, rel=1e-9)


def test_scintillator_absorbs_more_above_its_k_edges():
    below, above = Scintillator(thickness_um=150).absorbed_fraction([33.0, 36.2])
    assert above > 1.8 * below


def test_swank_factor_is_that_of_the_light_for_one_energy_and_less_for_a_spectrum():
    screen = Scintillator()
    assert screen.swank_factor(XraySpectrum([60.0], [5.0])) == pytest.approx(OPTICAL_SWANK, rel=1e-9)
    thick = Scintillator.model_construct(thickness_um=1e6, optical_swank=1.0)
    two = thick.swank_factor(XraySpectrum([20.0, 60.0], [3.0, 1.0]))
    # Everything is absorbed: M0 = 4, M1 = 120, M2 = 4800.
    assert two == pytest.approx(120**2 / (4 * 4800), rel=1e-4)
    assert 0.6 < screen.swank_factor(tube_spectrum(160, (_plate("Al", 1.0),))) < 0.9 * OPTICAL_SWANK


def test_spectrum_copies_its_input_and_cannot_be_changed():
    energy, photons = np.array([30.0, 60.0]), np.array([1.0, 2.0])
    spectrum = XraySpectrum(energy, photons)
    photons[0] = 9.0
    assert spectrum.photons[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        spectrum.photons[0] = 3.0


def test_equal_spectra_are_equal_across_processes():
    spectrum = tube_spectrum(87.0, (_plate("Al", 0.5),))
    again = pickle.loads(pickle.dumps(spectrum))
    assert again == spectrum
    assert hash(again) == hash(spectrum)
    assert spectrum != tube_spectrum(88.0, (_plate("Al", 0.5),))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tube_spectrum(39.9), "40 to 160 kV"),
        (lambda: tube_spectrum(161), "161"),
        (lambda: tube_spectrum(float("nan")), "nan"),
        (lambda: tube_spectrum(40, (_plate("Pb", 100.0),)), "thinner filter"),
        (lambda: XraySpectrum([60.0], [-1.0]), "0 or more"),
        (lambda: XraySpectrum([60.0], [0.0]), "not all 0"),
        (lambda: XraySpectrum([60.0], [1.0, 2.0]), "equally long"),
        (lambda: XraySpectrum([200.0], [1.0]), "160 keV"),
        (lambda: XraySpectrum([], []), "photons"),
    ],
)
def test_nonsense_is_refused_with_advice(call, says):
    with pytest.raises(RecipeError, match=says) as caught:
        call()
    assert caught.value.advice


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: _plate("Al", -0.1), "thickness_mm"),
        (lambda: _plate("tin foil", 0.1), "one of Be, Al"),
        (lambda: Scintillator(thickness_um=0), "thickness_um"),
        (lambda: Scintillator(packing=1.2), "packing"),
        (lambda: Scintillator(optical_swank=0.0), "optical_swank"),
    ],
)
def test_impossible_plates_and_screens_are_refused(call, says):
    with pytest.raises(ValidationError, match=says):
        call()


def test_table_says_where_it_comes_from():
    provenance = json.loads(str(stored_table("spectra")["provenance"]))
    assert {"date", "made_by", "sources", "versions"} <= provenance.keys()
    assert "spekpy" in provenance["versions"]
