"""Geometry and blur: what focal spot, movement, screen and a shift between exposures do to an image.

Each blur is a closed form of spatial frequency in cycles/px, the grid that of rfft2. `transfer` multiplies
them to one optical transfer function (OTF); `filtered` applies it, to NumPy arrays or torch tensors on any
device, with mirrored borders.

The image is sampled before it is blurred: what the pixels have folded below Nyquist stays folded. Below
Nyquist the MTF of an edge is the product asked for. The thickness maps are averages over pixels already, so
that the pixels' own aperture is in the image and not in `transfer`.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, cos, log, pi, radians, sin, sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.special
from pydantic import Field, ValidationInfo, field_validator

from longexposure.errors import InputError
from longexposure.simulation.random_source import Array, floats, namespace
from longexposure.simulation.recipe import RecipeTable, refused

Numbers = npt.NDArray[np.floating[Any]]
Otf = npt.NDArray[np.float32] | npt.NDArray[np.complex64]
Shape = tuple[int, int]

FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))
MARGIN_PX = 8
"""Mirrored border beyond the reach of the blur; an OTF that ends at Nyquist rings that far."""
GLARE_REACH = 2.0
"""Decay lengths of the glare within the border: of what crosses an edge, 3 % goes further."""


class GeometryConfig(RecipeTable):
    """Where focal spot, part and detector stand, and how the part moves.

    Target, part and detector lie in parallel planes, in oblique views too: there the detector stands to the
    side and is not turned, as `geometry.view.View` has it. So a tilt changes neither magnification nor
    unsharpness of what lies in the part's plane; it changes the paths through the part, and the falloff of
    the beam over the detector. What lies h above the plane is magnified by detector / (object - h).

    Attributes:
        source_object_mm: height of the focal spot above the part's plane, along the planes' normal.
        source_detector_mm: height of the focal spot above the detector, not below source_object_mm.
        tilt_deg: angle between the central ray and the normal.
        azimuth_deg: direction in the image that the tops of things lean to, from x towards y.
        focal_spot_um: FWHM of a Gaussian spot, diameter of a disc; 0 for a point.
        focal_shape: intensity over the spot: "gaussian", or an even "disc".
        motion_um: way of the part during the exposure, at even speed in its own plane.
        motion_deg: direction of that way in the image, from x towards y.
    """

    source_object_mm: float = Field(gt=0, le=10_000)
    source_detector_mm: float = Field(gt=0, le=10_000)
    tilt_deg: float = Field(default=0.0, ge=0, lt=80)
    azimuth_deg: float = Field(default=0.0, ge=-360, le=360)
    focal_spot_um: float = Field(default=0.0, ge=0, le=10_000)
    focal_shape: Literal["gaussian", "disc"] = "gaussian"
    motion_um: float = Field(default=0.0, ge=0, le=10_000)
    motion_deg: float = Field(default=0.0, ge=-360, le=360)

    @field_validator("source_detector_mm")
    @classmethod
    def _behind_the_part(cls, value: float, info: ValidationInfo) -> float:
        nearer = info.data.get("source_object_mm", 0.0)
        if value < nearer:
            raise ValueError(f"at least source_object_mm = {nearer:g}, for a magnification of 1 or more")
        return value

    @property
    def magnification(self) -> float:
        """Size in the detector over size in the part's plane, 1 or more."""
        return self.source_detector_mm / self.source_object_mm

    @property
    def unsharpness_um(self) -> float:
        """Size of the focal spot's image in the detector: focal_spot_um (magnification - 1)."""
        return self.focal_spot_um * (self.magnification - 1)

    @property
    def motion_at_detector_um(self) -> float:
        """Way of the part's image over the detector: motion_um * magnification."""
        return self.motion_um * self.magnification


class ScreenConfig(RecipeTable):
    """How far light spreads in the scintillator, and how much of it wanders far.

    The line spread is a sum of an exponential and a Gaussian, as Yin, Giger and Doi fitted it (Med. Phys. 17,
    1990, 962); its MTF one of a Lorentzian and a Gaussian, here with their half values at one frequency.
    Flat panels with CsI or Gd2O2S follow the Lorentzian alone; lenses and intensifiers come nearer the
    Gaussian. Glare is of Seibert, Nalcioglu and Roeck (Med. Phys. 11, 1984, 172).

    Attributes:
        f50_lp_mm: frequency in the detector where the MTF without glare is one half, in line pairs per mm;
            None for light that does not spread. About 1.2 to 1.6 for 500 um of CsI.
        lorentzian: fraction of the Lorentzian, 0 to 1.
        glare: fraction of the light that makes the long tail. A flat panel with CsI loses 8 to 10 % of its
            MTF so (Lazos and Williamson, Med. Phys. 39, 2012); intensifiers more.
        glare_mm: decay length of that tail.
    """

    f50_lp_mm: float | None = Field(default=None, ge=0.01, le=1000)
    lorentzian: float = Field(default=1.0, ge=0, le=1)
    glare: float = Field(default=0.0, ge=0, lt=1)
    glare_mm: float = Field(default=5.0, gt=0, le=1000)


def frequencies(shape: Shape) -> tuple[Numbers, Numbers]:
    """Frequencies in cycles/px along x, (1, W // 2 + 1), and along y, (H, 1), of the grid (H, W) of rfft2."""
    return np.fft.rfftfreq(shape[1])[None, :], np.fft.fftfreq(shape[0])[:, None]


def focal_spot_mtf(frequency: Numbers, *, size_px: float, focal_shape: str = "gaussian") -> Numbers:
    """MTF of the focal spot: a Gaussian, or for a disc 2 J1(x) / x with x = pi * diameter * frequency.

    Negative values of a disc's are contrast reversed, and true.

    Args:
        frequency: cycles/px in the detector, along any direction.
        size_px: FWHM or diameter of the spot's image in px.
        focal_shape: "gaussian" or "disc".
    """
    if focal_shape == "gaussian":
        return np.exp(-2 * (pi * (size_px / FWHM_PER_SIGMA) * frequency) ** 2)
    x = pi * size_px * frequency
    zero = np.abs(x) < 1e-4
    safe = np.where(zero, 1.0, x)
    return np.where(zero, 1.0, 2 * scipy.special.j1(safe) / safe)


def motion_mtf(across: Numbers, down: Numbers, *, length_px: float, direction_deg: float = 0.0) -> Numbers:
    """MTF of movement at even speed: sinc of the frequency along it times its length in the detector.

    Args:
        across: cycles/px along x.
        down: cycles/px along y.
        length_px: way of the image over the detector in px.
        direction_deg: direction of the way, from x towards y.
    """
    turn = radians(direction_deg)
    return np.sinc(length_px * (across * cos(turn) + down * sin(turn)))


def screen_mtf(frequency: Numbers, screen: ScreenConfig, *, pitch_um: float) -> Numbers:
    """MTF of the scintillator with its glare, as an edge in the detector's plane measures it.

    (1 - glare + glare / sqrt(1 + (2 pi k f)^2)) (a / (1 + (f/f50)^2) + (1 - a) 2^-(f/f50)^2).

    Args:
        frequency: cycles/px, along any direction.
        screen: the scintillator.
        pitch_um: pixel pitch of the detector.
    """
    mtf = np.ones_like(frequency)
    per_mm = 1e3 / pitch_um
    if screen.f50_lp_mm is not None:
        square = (frequency * (per_mm / screen.f50_lp_mm)) ** 2
        a = screen.lorentzian
        mtf = a / (1 + square) + (1 - a) * np.exp(-log(2) * square)
    if screen.glare:
        tail = 1 / np.sqrt(1 + (frequency * (2 * pi * screen.glare_mm * per_mm)) ** 2)
        mtf = mtf * (1 - screen.glare + screen.glare * tail)
    return mtf


def transfer(
    shape: Shape,
    *,
    pitch_um: float,
    geometry: GeometryConfig | None = None,
    screen: ScreenConfig | None = None,
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> Otf | None:
    """The product of all transfer functions, for `filtered`.

    Quanta are drawn before the screen blurs them: for noise that is coloured as a panel's, ask for the
    geometry's and the screen's OTF one by one.

    Args:
        shape: H and W of the images.
        pitch_um: pixel pitch of the detector.
        geometry: for the blur of focal spot and movement; None for neither.
        screen: for the spread of light; None for none.
        shift_px: movement of the whole image to the right and down.

    Returns:
        (P, Q // 2 + 1), not to be written to: float32, or complex64 with a shift, on a grid of P x Q that
        holds the images and a border of the reach of the blur; None if nothing blurs or moves.

    Raises:
        RecipeError: a pitch or a shift that cannot be.
    """
    check_pitch(pitch_um)
    if not all(map(np.isfinite, shift_px)):
        raise refused("shift_px", "two finite numbers", shift_px)
    # How far an edge is spread, but for a per cent or less; of the glare, `GLARE_REACH`.
    reach_um = 0.0
    if geometry is not None and (geometry.unsharpness_um or geometry.motion_um):
        reach_um += (4 / FWHM_PER_SIGMA) * geometry.unsharpness_um + geometry.motion_at_detector_um / 2
    else:
        geometry = None
    if screen is not None and screen.f50_lp_mm is not None:
        reach_um += 1e3 * 1.3 / screen.f50_lp_mm
    if screen is not None and screen.glare:
        reach_um += 1e3 * GLARE_REACH * screen.glare_mm
    if not reach_um and not any(shift_px):
        return None
    grid = padded_shape(shape, reach_px=reach_um / pitch_um + max(map(abs, shift_px)))
    blur = _blur(grid, pitch_um, geometry, screen)
    if not any(shift_px):
        return blur
    moved: Otf = blur
    for frequency, distance in zip(frequencies(grid), shift_px, strict=True):
        angle = -2 * pi * frequency * distance
        # At Nyquist, where right and left cannot be told apart, the real part keeps the image real.
        phase = np.cos(angle) + 1j * np.where(np.abs(frequency) == 0.5, 0.0, np.sin(angle))
        moved = moved * phase.astype(np.complex64)
    moved.flags.writeable = False
    return moved


@lru_cache(maxsize=16)
def _blur(
    grid: Shape, pitch_um: float, geometry: GeometryConfig | None, screen: ScreenConfig | None
) -> npt.NDArray[np.float32]:
    """What is real in the product, for the grid."""
    across, down = frequencies(grid)
    radial = np.hypot(across, down)
    product = np.ones_like(radial)
    if geometry is not None:
        size, length = (v / pitch_um for v in (geometry.unsharpness_um, geometry.motion_at_detector_um))
        if size:
            product *= focal_spot_mtf(radial, size_px=size, focal_shape=geometry.focal_shape)
        if length:
            product *= motion_mtf(across, down, length_px=length, direction_deg=geometry.motion_deg)
    if screen is not None:
        product *= screen_mtf(radial, screen, pitch_um=pitch_um)
    blur = product.astype(np.float32)
    blur.flags.writeable = False
    return blur


def padded_shape(shape: Shape, *, reach_px: float) -> Shape:
    """Height and width, both even, of a grid of good FFT lengths for images (H, W) and a blur of this reach.

    The border ends where the mirror image of the whole image does.
    """
    least = [size + 2 * min(ceil(reach_px) + MARGIN_PX, size / 2) for size in shape]
    height, width = (2 * int(scipy.fft.next_fast_len(ceil(length / 2), real=True)) for length in least)
    return height, width


def filtered(image: Array, otf: Array | None) -> Array:
    """An image through an optical transfer function; the border mirrors it, and nothing wraps round.

    The mean is kept but for what a shift carries over the border. Beside a hard step a bare shift by half a
    pixel rings by 14 % of it, with a screen of f50 at a third of Nyquist by 0.2 %: shift and blur in one
    go, and cut off at 0 afterwards what must not be negative.

    Args:
        image: (H, W) or (..., H, W), array or tensor; not modified.
        otf: of `transfer`, or a product of your own on the grid of `padded_shape`, whose width is even; of
            the image's kind and on its device. None changes nothing.

    Returns:
        A new array or tensor of the image's kind and shape, float32.

    Raises:
        InputError: no image, or an OTF whose grid is smaller than the image.
    """
    image = as_images(image)
    if otf is not None:
        height, width = image.shape[-2:]
        grid = (int(otf.shape[-2]), 2 * (int(otf.shape[-1]) - 1))
        if grid[0] < height or grid[1] < width:
            raise InputError(
                where="otf",
                expected=f"a grid of at least {height} x {width} px",
                found=f"{grid[0]} x {grid[1]}",
                advice="make the OTF for the shape of the image, with `transfer` or `padded_shape`",
            )
        fft = scipy.fft if isinstance(image, np.ndarray) else namespace(image).fft  # SciPy's has float32
        top, left = (grid[0] - height) // 2, (grid[1] - width) // 2
        whole = fft.irfft2(fft.rfft2(mirrored(image, grid, start=(top, left))) * otf, s=grid)
        image = whole[..., top : top + height, left : left + width]
    if isinstance(image, np.ndarray):
        return np.array(image, np.float32, order="C")
    return floats(image).clone(memory_format=namespace(image).contiguous_format)


def mirrored(image: Array, grid: Shape, *, start: Shape) -> Array:
    """An image (..., H, W) set into a grid at `start`, the rest its mirror images; edge pixels come twice."""
    for axis in (0, 1):
        size = image.shape[axis - 2]
        place = (np.arange(grid[axis]) - start[axis]) % (2 * size)
        place = np.where(place < size, place, 2 * size - 1 - place)
        if isinstance(image, np.ndarray):
            image = np.take(image, place, axis=axis - 2)
        else:
            image = image.index_select(axis - 2, namespace(image).as_tensor(place, device=image.device))
    return image


def as_images(image: Array) -> Array:
    """An image or a batch as float32, itself where it is that already.

    Raises:
        InputError: fewer than two axes, or no pixels.
    """
    if len(image.shape) < 2 or 0 in image.shape:
        raise InputError(
            where="image",
            expected="an image (H, W) or a batch (..., H, W)",
            found=f"the shape {tuple(image.shape)}",
            advice="pass at least one pixel",
        )
    return floats(image)


def check_pitch(pitch_um: float) -> None:
    """Refuse a pixel pitch that is not above 0 um.

    Raises:
        RecipeError: as said.
    """
    if not 0 < pitch_um < np.inf:
        raise refused("pitch_um", "a pixel pitch above 0 um", pitch_um)
