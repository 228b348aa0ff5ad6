"""Transmission against the sum over all energies, written out here, and against closed forms."""

from importlib import resources

import numpy as np
import pytest

from longexposure.errors import RecipeError
from longexposure.simulation.physics.attenuation import FAINTEST, few_nodes, transmission
from longexposure.simulation.physics.materials import MATERIALS, find_material, mass_attenuation_cm2_g
from longexposure.simulation.physics.spectrum import (
    Filter,
    Scintillator,
    XraySpectrum,
    tube_spectrum,
)

SCREEN = Scintillator()
BEAMS = {
    "40 kV": tube_spectrum(40, (Filter(material="Be", thickness_mm=0.2),)),
    "80 kV": tube_spectrum(80),
    "100 kV": tube_spectrum(100, (Filter(material="Al", thickness_mm=0.5),)),
    "160 kV": tube_spectrum(160, (Filter(material="Cu", thickness_mm=0.3),)),
}
BOARDS = {
    "flip chip": {"Cu": 60.0, "SAC305": 120.0},
    "gold and lead": {"Au": 60.0, "Pb": 400.0},
    "board": {"Cu": 210.0, "FR-4": 1600.0, "SAC305": 600.0, "Si": 700.0},
    "all": {"Cu": 210.0, "FR-4": 3200.0, "SAC305": 760.0, "Si": 700.0, "Au": 25.0, "alumina": 900.0},
}


def _written_out(spectrum, maps, response):
    """The sum over every bin, in double precision."""
    signal = spectrum.photons * response.signal(spectrum.energy_kev)
    path = 0.0
    for name, thickness in maps.items():
        per_um = MATERIALS[name].density_g_cm3 * mass_attenuation_cm2_g(name, spectrum.energy_kev) * 1e-4
        path = path + per_um * np.asarray(thickness)[..., None]
    return np.exp(-path) @ (signal / signal.sum())


def _maps(board, seed=3, shape=(13, 17)):
    random = np.random.default_rng(seed)
    maps = {name: largest * random.random(shape) ** 2 for name, largest in board.items()}
    for i, (name, largest) in enumerate(board.items()):
        maps[name][i], maps[name][-1 - i] = 0.0, largest
    return maps


@pytest.mark.parametrize("response", [SCREEN, Scintillator(material="Gd2O2S", thickness_um=200, packing=0.5)])
@pytest.mark.parametrize("name", ["Cu", "SAC305", "FR-4", "Au"])
def test_one_material_is_within_1e_4_of_the_full_sum(name, response):
    for beam in BEAMS.values():
        for largest_um in (3.0, 250.0, 5000.0):
            thickness = np.linspace(0, 1, 61) ** 2 * largest_um
            found = transmission(beam, {name: thickness}, response)
            expected = _written_out(beam, {name: thickness}, response)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-300)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("beam", BEAMS)
def test_several_materials_are_within_1e_3_of_the_full_sum(beam, board):
    maps = _maps(BOARDS[board])
    found = transmission(BEAMS[beam], maps, SCREEN)
    expected = _written_out(BEAMS[beam], maps, SCREEN)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * FAINTEST)


@pytest.mark.parametrize("board", BOARDS)
def test_contrast_of_a_thin_layer_is_right(board):
    for beam in BEAMS.values():
        for name, largest in BOARDS[board].items():
            thin = np.geomspace(1e-5, 1e-3, 9) * largest
            alone = {name: np.append(thin, largest)}
            lost = 1 - _written_out(beam, alone, SCREEN)[:-1]
            np.testing.assert_allclose(1 - transmission(beam, alone, SCREEN)[:-1], lost, rtol=1e-4)
            among = {
                other: np.append(thin if other == name else 0 * thin, most)
                for other, most in BOARDS[board].items()
            }
            np.testing.assert_allclose(1 - transmission(beam, among, SCREEN)[:-1], lost, rtol=5e-3)


@pytest.mark.parametrize("board", BOARDS)
def test_few_nodes_stand_for_the_spectrum(board):
    materials = tuple(map(find_material, BOARDS[board]))
    weights, mu = few_nodes(BEAMS["100 kV"], materials, SCREEN, tuple(BOARDS[board].values()))
    assert 3 < len(weights) <= 36
    assert mu.shape == (len(weights), len(BOARDS[board]))
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_one_energy_is_beer_lambert_exactly():
    thickness = np.linspace(0, 500, 101)
    found = transmission(XraySpectrum([60.0], [1e6]), {"Cu": thickness}, SCREEN)
    mu_per_um = 8.96 * mass_attenuation_cm2_g("Cu", 60.0) * 1e-4
    np.testing.assert_allclose(found, np.exp(-mu_per_um * thickness), rtol=1e-12)


def test_slab_agrees_with_xraylib():
    xraylib = pytest.importorskip("xraylib", reason="xraylib is not installed")
    path = (
        0.05
        * 7.38
        * sum(
            fraction * xraylib.CS_Total(number, 80.0)
            for number, fraction in ((50, 0.965), (47, 0.03), (29, 0.005))
        )
    )
    found = transmission(XraySpectrum([80.0], [1.0]), {"SAC305": 500.0}, SCREEN)
    assert float(found) == pytest.approx(np.exp(-path), rel=0.01)


def test_a_screen_weighs_photons_by_their_energy():
    two = XraySpectrum([30.0, 90.0], [3.0, 1.0])
    mu = 8.96e-4 * mass_attenuation_cm2_g("Cu", two.energy_kev)
    thick = transmission(two, {"Cu": 100.0}, Scintillator.model_construct(thickness_um=1e6))
    assert float(thick) == pytest.approx(0.5 * np.exp(-100 * mu).sum(), rel=1e-6)


@pytest.mark.parametrize("beam", BEAMS)
@pytest.mark.parametrize("name", ["Cu", "SAC305", "Si"])
def test_effective_attenuation_falls_with_thickness(beam, name):
    thickness = np.geomspace(1, 3000, 25)
    effective = -np.log(transmission(BEAMS[beam], {name: thickness}, SCREEN)) / thickness
    assert np.all(np.diff(effective) < 0)


@pytest.mark.parametrize("board", [{"SAC305": 800.0}, BOARDS["board"]])
def test_transmission_is_one_in_air_and_falls_with_every_thickness(board):
    for name in board:
        maps = {other: np.full(200, 0.3 * largest) for other, largest in board.items()}
        maps[name] = np.linspace(0, board[name], 200)
        found = transmission(BEAMS["100 kV"], maps, SCREEN)
        assert np.all(np.diff(found) < 0)
        assert 0 < found.min() < found.max() <= 1
    nothing = {name: np.zeros(5) for name in board}
    np.testing.assert_allclose(transmission(BEAMS["100 kV"], nothing, SCREEN), 1, rtol=1e-12)
    somewhere = {name: np.array([0.0, largest]) for name, largest in board.items()}
    assert transmission(BEAMS["100 kV"], somewhere, SCREEN)[0] == pytest.approx(1, abs=1e-12)


def test_filter_in_the_beam_and_plate_in_the_object_are_the_same():
    beam = BEAMS["100 kV"]
    ratio = transmission(beam, {"Al": 2000.0, "Cu": 80.0}, SCREEN) / transmission(
        beam, {"Al": 2000.0}, SCREEN
    )
    filtered = transmission(beam.filtered(Filter(material="Al", thickness_mm=2.0)), {"Cu": 80.0}, SCREEN)
    assert float(ratio) == pytest.approx(float(filtered), rel=1.5e-3)


def test_material_of_no_thickness_changes_nothing():
    copper = np.linspace(0, 100, 30)
    found = transmission(BEAMS["80 kV"], {"Cu": copper, "Pb": np.zeros(30)}, SCREEN)
    np.testing.assert_array_equal(found, transmission(BEAMS["80 kV"], {"Cu": copper}, SCREEN))


@pytest.mark.parametrize("board", [{"SAC305": 600.0}, BOARDS["flip chip"]])
def test_single_precision_stays_single_and_is_as_accurate(board):
    maps = {name: map_.astype(np.float32) for name, map_ in _maps(board).items()}
    found = transmission(BEAMS["100 kV"], maps, SCREEN)
    assert found.dtype == np.float32
    exact = transmission(BEAMS["100 kV"], {k: v.astype(float) for k, v in maps.items()}, SCREEN)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (3, 5), (2, 3, 4), (300, 200)])
def test_any_shape_is_kept(shape):
    for names in (["Cu"], ["Cu", "Si"]):
        maps = {name: np.full(shape, 10.0) for name in names}
        assert transmission(BEAMS["80 kV"], maps, SCREEN).shape == shape


def test_pixels_do_not_depend_on_their_neighbours():
    maps = _maps(BOARDS["flip chip"], shape=(300, 200))
    whole = transmission(BEAMS["80 kV"], maps, SCREEN)
    part = transmission(BEAMS["80 kV"], {name: map_[250:, 7:] for name, map_ in maps.items()}, SCREEN)
    np.testing.assert_allclose(part, whole[250:, 7:], rtol=1e-12)


def test_no_light_comes_through_a_metre_of_lead():
    found = transmission(BEAMS["40 kV"], {"Pb": np.array([0.0, 1e6])}, SCREEN)
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-12)


def test_input_is_not_modified():
    maps = _maps(BOARDS["flip chip"])
    before = {name: map_.copy() for name, map_ in maps.items()}
    for map_ in maps.values():
        map_.flags.writeable = False
    transmission(BEAMS["80 kV"], maps, SCREEN)
    for name, map_ in maps.items():
        np.testing.assert_array_equal(map_, before[name])


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ({}, "at least one"),
        ({"Kryptonite": 1.0}, "Kryptonite"),
        ({"Cu": np.array([1.0, -1e-9])}, "0 or more"),
        ({"Cu": np.array([1.0, np.nan])}, "nan"),
        ({"Cu": np.array([1.0, np.inf])}, "inf"),
        ({"Cu": np.array(["thick"])}, "type"),
        ({"Cu": np.ones(3), "Si": np.ones(4)}, "one shape"),
    ],
)
def test_nonsense_is_refused_with_advice(maps, says):
    with pytest.raises(RecipeError, match=says) as caught:
        transmission(BEAMS["80 kV"], maps, SCREEN)
    assert caught.value.advice


def test_tables_stay_small():
    folder = resources.files("longexposure.simulation.physics")
    assert sum(len((folder / f"{name}.npz").read_bytes()) for name in ("materials", "spectra")) < 300_000
