"""Solder balls against gVirtualXRay, which traces rays through meshes with coefficients of xraylib.

It is no dependency: `pip install gvxr` (2.1 needs X and EGL libraries of the system: libxcb-composite0,
libxcb-ewmh2, libxcb-icccm4, libxcb-keysyms1, libxcb-res0, libxcb-xinerama0). It renders without a screen.
"""

import warnings
from dataclasses import dataclass
from math import cos, radians, sin, tan

import numpy as np
import pytest

from longexposure.simulation.geometry.primitives import Ball
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.attenuation import transmission
from longexposure.simulation.physics.materials import find_material
from longexposure.simulation.physics.spectrum import Filter, XraySpectrum, tube_spectrum

pytestmark = pytest.mark.slow
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    gvxr = pytest.importorskip("gvxrPython3", exc_type=ImportError).gvxr

RADIUS, PLACE, PIXEL, SIZE, FINE = 250.0, (60.0, -90.0, 120.0), 8.0, 100, 4
BEHIND = 2000.0
VIEWS = {
    "parallel": View(SIZE, SIZE, PIXEL),
    "cone": View(SIZE, SIZE, PIXEL, source_um=20000.0),
    "oblique cone": View(SIZE, SIZE, PIXEL, tilt_deg=40.0, azimuth_deg=25.0, source_um=2e5),
}
"""The oblique source is far: `thickness_maps` takes the beam as parallel within a ball, which at a
tilt of 40 degrees and 20 mm moves its outline by 3 um."""


@dataclass(frozen=True)
class EnergyIntegrator:
    """Adds up energy, as gVirtualXRay's ideal detector does."""

    def signal(self, energy_kev):
        return energy_kev


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    gvxr.useLogFile(str(tmp_path_factory.mktemp("gvxr") / "log.txt"))
    try:
        gvxr.createWindow(-1, 0, "EGL")
    except (RuntimeError, SystemError) as error:
        pytest.skip(f"no OpenGL without a screen here: {error}")
    yield
    gvxr.terminate()


def arrange(view, *, fine=1):
    """Source and detector as in the view; the detector lies parallel to z = 0, `BEHIND` below it.

    Seen from the source, its right is -x where its up is -y; its rows run up: `upright` turns the image.
    """
    slope = tan(radians(view.tilt_deg))
    lean = slope * cos(radians(view.azimuth_deg)), slope * sin(radians(view.azimuth_deg))
    far = not np.isfinite(view.source_um)
    high = 1e5 if far else view.source_um
    pitch = view.pixel_um / fine * (1.0 if far else (high + BEHIND) / high)
    gvxr.setSourcePosition(-lean[0] * high, -lean[1] * high, high, "um")
    (gvxr.useParallelBeam if far else gvxr.usePointSource)()
    gvxr.setDetectorPosition(lean[0] * BEHIND, lean[1] * BEHIND, -BEHIND, "um")
    gvxr.setDetectorUpVector(0, -1, 0)
    gvxr.setDetectorRightVector(-1, 0, 0)
    gvxr.setDetectorNumberOfPixels(fine * view.width, fine * view.height)
    gvxr.setDetectorPixelSize(pitch, pitch, "um")


def upright(image):
    return np.array(image, np.float64)[::-1, ::-1]


def place(material):
    """The ball as a mesh of this material."""
    found = find_material(material)
    gvxr.removePolygonMeshesFromXRayRenderer()
    gvxr.removePolygonMeshesFromSceneGraph()
    gvxr.makeSphere("ball", 600, 600, RADIUS, "um")
    gvxr.translateNode("ball", *PLACE, "um")
    gvxr.setMixture("ball", *map(list, zip(*found.composition, strict=True)))
    gvxr.setDensity("ball", found.density_g_cm3, "g/cm3")
    gvxr.addPolygonMeshAsInnerSurface("ball")


def ours(material, view):
    return thickness_maps([Ball(material=material, at=PLACE, radius=RADIUS)], view)


def inside(view, fraction=0.93):
    """Pixels of the shadow's middle, out to this fraction of its radius: away from the steep edge."""
    chord = ours("Sn", view)["Sn"]
    return chord > np.sqrt(1 - fraction**2) * chord.max()


def theirs(spectrum):
    gvxr.resetBeamSpectrum()
    for energy, photons in zip(spectrum.energy_kev, spectrum.photons, strict=True):
        gvxr.addEnergyBinToSpectrum(float(energy), "keV", float(photons))
    return upright(gvxr.computeXRayImage()) / upright(gvxr.getWhiteImage())


def compare(material, spectrum, view):
    arrange(view)
    place(material)
    reference = -np.log(theirs(spectrum))
    found = -np.log(np.asarray(transmission(spectrum, ours(material, view), EnergyIntegrator())))
    middle = np.unravel_index(np.argmax(found), found.shape)
    np.testing.assert_allclose(found[middle], reference[middle], rtol=0.01)
    mask = inside(view)
    assert mask.sum() > 1000
    np.testing.assert_allclose(found[mask], reference[mask], rtol=0.01)


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("name", VIEWS)
def test_chords_are_those_of_a_traced_mesh(name):
    view = VIEWS[name]
    arrange(view, fine=FINE)
    place("Sn")
    theirs(XraySpectrum(np.array([60.0]), np.array([1.0])))
    fine = 1e4 * upright(gvxr.computeLBuffer("ball"))
    reference = fine.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3))
    found, mask = ours("Sn", view)["Sn"], inside(view)
    np.testing.assert_allclose(found[mask], reference[mask], rtol=0.01)
    np.testing.assert_allclose(found, reference, atol=0.03 * 2 * RADIUS)


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("energy_kev", [32.0, 60.0, 110.0])
@pytest.mark.parametrize("material", ["Sn", "SAC305"])
def test_a_ball_in_a_monochromatic_beam(material, energy_kev, name):
    compare(material, XraySpectrum(np.array([energy_kev]), np.array([1.0])), VIEWS[name])


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("material", ["Sn", "SAC305"])
def test_a_ball_in_the_beam_of_a_tube(material, name):
    window, plate = Filter(material="Be", thickness_mm=0.2), Filter(material="Al", thickness_mm=1.0)
    spectrum = tube_spectrum(110, (window, plate))
    used = spectrum.photons > 0
    compare(material, XraySpectrum(spectrum.energy_kev[used], spectrum.photons[used]), VIEWS[name])
