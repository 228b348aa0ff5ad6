"""Geometry and blur: what focal spot, movement, screen and a shift between exposures do to an image.

Each blur is a closed form of spatial frequency in cycles/px, the grid that of rfft2. `transfer` multiplies
them to one optical transfer function (OTF); `filtered` applies it with mirrored borders. Everything takes
NumPy arrays and torch tensors, on any device, through one code path.

The image is sampled before it is blurred: what the pixels have folded below Nyquist stays folded. Below
Nyquist the MTF of an edge is the product asked for. The thickness maps are averages over pixels already, so
that the pixels' own aperture is in the image and not in `transfer`, unless `aperture_px` asks for more.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, cos, log, pi, radians, sin, sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.special
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from longexposure.errors import InputError, RecipeError

Array = Any
"""A NumPy array or a torch tensor."""
Otf = npt.NDArray[np.float32] | npt.NDArray[np.complex64]
Shape = tuple[int, int]

FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))
MARGIN_PX = 8
"""Mirrored border beyond the reach of the blur; an OTF that ends at Nyquist rings that far."""
GLARE_REACH = 2.0
"""Decay lengths of the glare within the border: of what crosses an edge, 3 % goes further."""


class GeometryConfig(BaseModel):
    """Where focal spot, part and detector stand, and how the part moves.

    Target, part and detector lie in parallel planes, in oblique views too: there the detector stands to the
    side and is not turned, as `scenes.view.View` has it. So a tilt changes neither magnification nor
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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


class ScreenConfig(BaseModel):
    """How far light spreads in the scintillator, and how much of it wanders far.

    The line spread is a sum of an exponential and a Gaussian, as Yin, Giger and Doi fitted it (Med. Phys. 17,
    1990, 962); its MTF one of a Lorentzian and a Gaussian, here with their half values at one frequency.
    Flat panels with CsI or Gd2O2S follow the Lorentzian alone; lenses and intensifiers come nearer the
    Gaussian. Glare is of Seibert, Nalcioglu and Roeck (Med. Phys. 11, 1984, 172).

    Attributes:
        f50_lp_mm: frequency in the detector where the MTF without glare is one half, in line pairs per mm;
            None for light that does not spread. About 1.2 to 1.6 for 500 um of CsI.
        lorentzian: fraction of the Lorentzian, 0 to 1.
        glare: fraction of the light that makes the long tail. A flat panel with CsI loses 8 to 10 % of its MTF
            so (Lazos and Williamson, Med. Phys. 39, 2012); intensifiers more.
        glare_mm: decay length of that tail.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    f50_lp_mm: float | None = Field(default=None, ge=0.01, le=1000)
    lorentzian: float = Field(default=1.0, ge=0, le=1)
    glare: float = Field(default=0.0, ge=0, lt=1)
    glare_mm: float = Field(default=5.0, gt=0, le=1000)


def frequencies(shape: Shape, *, like: Array = None) -> tuple[Array, Array]:
    """Frequencies in cycles/px along x, (1, W // 2 + 1), and along y, (H, 1), of the grid of rfft2.

    Args:
        shape: H and W of the grid in space.
        like: an array or tensor whose kind, device and float type to take; float64 NumPy if None.
    """
    across = np.fft.rfftfreq(shape[1])[None, :]
    down = np.fft.fftfreq(shape[0])[:, None]
    return (across, down) if like is None else (matching(across, like), matching(down, like))


def focal_spot_mtf(frequency: Array, *, size_px: Array, focal_shape: str = "gaussian") -> Array:
    """MTF of the focal spot: a Gaussian, or for a disc 2 J1(x) / x with x = pi * diameter * frequency.

    Negative values of a disc's are contrast reversed, and true.

    Args:
        frequency: cycles/px in the detector, along any direction.
        size_px: FWHM or diameter of the spot's image in px; a tensor such as (B, 1, 1) for many.
        focal_shape: "gaussian" or "disc".
    """
    if focal_shape == "gaussian":
        return _gaussian(frequency, size_px / FWHM_PER_SIGMA)
    xp = namespace(frequency)
    x = pi * size_px * frequency
    zero = xp.abs(x) < 1e-4
    safe = xp.where(zero, xp.ones_like(x), x)
    return xp.where(zero, xp.ones_like(x), 2 * _bessel_j1(safe) / safe)


def motion_mtf(across: Array, down: Array, *, length_px: Array, direction_deg: float = 0.0) -> Array:
    """MTF of movement at even speed: sinc of the frequency along it times its length in the detector.

    Args:
        across: cycles/px along x.
        down: cycles/px along y.
        length_px: way of the image over the detector in px.
        direction_deg: direction of the way, from x towards y.
    """
    turn = radians(direction_deg)
    return namespace(across).sinc(length_px * (across * cos(turn) + down * sin(turn)))


def screen_mtf(frequency: Array, screen: ScreenConfig, *, pitch_um: float) -> Array:
    """MTF of the scintillator with its glare, as an edge in the detector's plane measures it.

    (1 - glare + glare / sqrt(1 + (2 pi k f)^2)) (a / (1 + (f/f50)^2) + (1 - a) 2^-(f/f50)^2).

    Args:
        frequency: cycles/px, along any direction.
        screen: the scintillator.
        pitch_um: pixel pitch of the detector.
    """
    xp = namespace(frequency)
    mtf = xp.ones_like(frequency)
    per_mm = 1e3 / pitch_um
    if screen.f50_lp_mm is not None:
        square = (frequency * (per_mm / screen.f50_lp_mm)) ** 2
        a = screen.lorentzian
        mtf = a / (1 + square) + (1 - a) * xp.exp(-log(2) * square)
    if screen.glare:
        tail = 1 / xp.sqrt(1 + (frequency * (2 * pi * screen.glare_mm * per_mm)) ** 2)
        mtf = mtf * (1 - screen.glare + screen.glare * tail)
    return mtf


def aperture_mtf(across: Array, down: Array, *, width_px: Array = 1.0) -> Array:
    """MTF of an even square aperture: sinc along x times sinc along y.

    Maps that are averages over pixels carry that of width 1 already.
    """
    xp = namespace(across)
    return xp.sinc(width_px * across) * xp.sinc(width_px * down)


def shift_phase(across: Array, down: Array, *, dx: Array, dy: Array) -> Array:
    """Phase that moves an image by dx px to the right and dy px down; complex.

    At Nyquist, where right and left cannot be told apart, the real part, so that the result is real.
    """
    return _phase(across, dx) * _phase(down, dy)


def transfer(
    shape: Shape,
    *,
    pitch_um: float,
    geometry: GeometryConfig | None = None,
    screen: ScreenConfig | None = None,
    shift_px: tuple[float, float] = (0.0, 0.0),
    aperture_px: float = 0.0,
) -> Otf | None:
    """The product of all transfer functions, for `filtered`.

    Quanta pass the screen after their chance is done: for noise that is coloured as a panel's, ask for the
    geometry's and the screen's OTF one by one.

    Args:
        shape: H and W of the images.
        pitch_um: pixel pitch of the detector.
        geometry: for the blur of focal spot and movement; None for neither.
        screen: for the spread of light; None for none.
        shift_px: movement of the whole image to the right and down.
        aperture_px: side of an aperture beyond the pixels' own, 0 for none.

    Returns:
        (P, Q // 2 + 1), not to be written to: float32, or complex64 with a shift, on a grid of P x Q that
        holds the images and a border of the reach of the blur; None if nothing blurs or moves.

    Raises:
        RecipeError: a pitch or an aperture that cannot be.
    """
    _check(0 < pitch_um < np.inf, "pitch_um", "a pixel pitch above 0 um", pitch_um)
    _check(0 <= aperture_px < np.inf, "aperture_px", "an aperture of 0 px or more", aperture_px)
    _check(all(map(np.isfinite, shift_px)), "shift_px", "two finite numbers", shift_px)
    if geometry is not None and not (geometry.unsharpness_um or geometry.motion_um):
        geometry = None
    if screen is not None and screen.f50_lp_mm is None and not screen.glare:
        screen = None
    if geometry is None and screen is None and not any(shift_px) and not aperture_px:
        return None
    reach = _reach_px(geometry, screen, pitch_um) + max(map(abs, shift_px)) + aperture_px / 2
    grid = padded_shape(shape, reach_px=reach)
    blur = _blur(grid, pitch_um, geometry, screen, aperture_px)
    if not any(shift_px):
        return blur
    across, down = frequencies(grid)
    dx, dy = shift_px
    return _read_only(blur * _phase(across, dx).astype(np.complex64) * _phase(down, dy).astype(np.complex64))


def padded_shape(shape: Shape, *, reach_px: float) -> Shape:
    """Height and even width of a grid of good FFT lengths for images (H, W) and a blur of this reach.

    The border ends where the mirror image of the whole image does.
    """
    height, width = (_good_length(size + 2 * min(ceil(reach_px) + MARGIN_PX, size / 2)) for size in shape)
    return height, width


def filtered(image: Array, otf: Array | None) -> Array:
    """An image through an optical transfer function; the border mirrors it, and nothing wraps round.

    The mean is kept but for what a shift carries over the border. Beside a hard step a bare shift by half a
    pixel rings by 14 % of it, with a screen of f50 at a third of Nyquist by 0.2 %: shift and blur in one
    go, and cut off at 0 afterwards what must not be negative.

    Args:
        image: (H, W) or (..., H, W), array or tensor; not modified.
        otf: of `transfer`, or a product of your own on the grid of `padded_shape`, whose width is even;
            with leading axes one for each image. A NumPy OTF for tensors is copied to their device at each
            call. None changes nothing.

    Returns:
        A new array or tensor of the image's kind and shape, float32.

    Raises:
        InputError: no image, or an OTF whose grid is smaller than the image.
    """
    image = single(image)
    if otf is None:
        return fresh(image)
    height, width = image.shape[-2:]
    grid = (int(otf.shape[-2]), 2 * (int(otf.shape[-1]) - 1))
    if grid[0] < height or grid[1] < width:
        raise InputError(
            where="otf",
            expected=f"a grid of at least {height} x {width} px",
            found=f"{grid[0]} x {grid[1]}",
            advice="make the OTF for the shape of the image, with `transfer` or `padded_shape`",
        )
    if _is_tensor(image) and not _is_tensor(otf):
        otf = matching(otf, image)
    fft = namespace(image).fft if _is_tensor(image) else scipy.fft
    top, left = (grid[0] - height) // 2, (grid[1] - width) // 2
    spectrum = fft.rfft2(mirrored(image, grid, start=(top, left)))
    whole = fft.irfft2(spectrum * otf, s=grid)
    return fresh(whole[..., top : top + height, left : left + width])


def mirrored(image: Array, grid: Shape, *, start: Shape) -> Array:
    """An image (..., H, W) set into a grid at `start`, the rest its mirror images; edge pixels come twice."""
    for axis in (0, 1):
        size = image.shape[axis - 2]
        place = (np.arange(grid[axis]) - start[axis]) % (2 * size)
        place = np.where(place < size, place, 2 * size - 1 - place)
        image = taken(image, place, axis - 2)
    return image


def namespace(array: object) -> Any:
    """The module of a tensor's or an array's functions; torch is not loaded for arrays."""
    if _is_tensor(array):
        import torch

        return torch
    return np


def single(image: Array) -> Array:
    """An image as float32, itself where it is that already.

    Raises:
        InputError: fewer than two axes, or no pixels.
    """
    image = image if _is_tensor(image) else np.asarray(image)
    if len(image.shape) < 2 or 0 in image.shape:
        raise InputError(
            where="image",
            expected="an image (H, W) or a batch (..., H, W)",
            found=f"the shape {tuple(image.shape)}",
            advice="pass at least one pixel",
        )
    return image.to(namespace(image).float32) if _is_tensor(image) else image.astype(np.float32, copy=False)


def fresh(image: Array) -> Array:
    """A new array or tensor of these values, contiguous, float32."""
    if _is_tensor(image):
        torch = namespace(image)
        return image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return np.array(image, np.float32, order="C")


def taken(image: Array, place: npt.NDArray[np.intp], axis: int) -> Array:
    """The rows or columns of these numbers, along one axis."""
    if _is_tensor(image):
        return image.index_select(axis, namespace(image).as_tensor(place, device=image.device))
    return np.take(image, place, axis=axis)


def matching(array: npt.NDArray[Any], like: Array) -> Array:
    """A copy of the kind of another: its namespace, its device and its precision."""
    complex_ = np.iscomplexobj(array)
    if not _is_tensor(like):
        return array.astype(np.result_type(np.asarray(like).dtype, np.complex64 if complex_ else np.float32))
    torch = namespace(like)
    kind = torch.promote_types(like.dtype, torch.complex64) if complex_ else like.dtype
    return torch.tensor(array, dtype=kind, device=like.device)


def _reach_px(geometry: GeometryConfig | None, screen: ScreenConfig | None, pitch_um: float) -> float:
    """How far an edge is spread, but for a per cent or less; of the glare, `GLARE_REACH`."""
    reach = 0.0
    if geometry is not None:
        reach += (4 / FWHM_PER_SIGMA) * geometry.unsharpness_um + geometry.motion_at_detector_um / 2
    if screen is not None and screen.f50_lp_mm is not None:
        reach += 1e3 * 1.3 / screen.f50_lp_mm
    if screen is not None and screen.glare:
        reach += 1e3 * GLARE_REACH * screen.glare_mm
    return reach / pitch_um


@lru_cache(maxsize=16)
def _blur(
    grid: Shape,
    pitch_um: float,
    geometry: GeometryConfig | None,
    screen: ScreenConfig | None,
    aperture_px: float,
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
    if aperture_px:
        product *= aperture_mtf(across, down, width_px=aperture_px)
    return _read_only(product.astype(np.float32))


def _good_length(least: float) -> int:
    """The next even length that FFTs like."""
    length = ceil(least)
    while (good := int(scipy.fft.next_fast_len(length, real=True))) % 2:
        length = good + 1
    return good


def _gaussian(frequency: Array, sigma_px: Array) -> Array:
    return namespace(frequency).exp(-2 * (pi * sigma_px * frequency) ** 2)


def _phase(frequency: Array, distance: Array) -> Array:
    xp = namespace(frequency)
    angle = -2 * pi * frequency * distance
    imaginary = xp.where(xp.abs(frequency) == 0.5, xp.zeros_like(angle), xp.sin(angle))
    return xp.cos(angle) + 1j * imaginary


def _check(holds: bool, where: str, expected: str, found: object) -> None:
    if not holds:
        raise RecipeError(where=where, expected=expected, found=str(found), advice="correct the optics")


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _is_tensor(array: object) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _bessel_j1(x: Array) -> Array:
    return namespace(x).special.bessel_j1(x) if _is_tensor(x) else scipy.special.j1(x)
