"""What varies slowly over the field: radiation scattered in the part, and the shading of the open beam."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, radians, sin, tan

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from longexposure.simulation.physics.optics import (
    FWHM_PER_SIGMA,
    GeometryConfig,
    Numbers,
    Shape,
    as_images,
    check_pitch,
    filtered,
    frequencies,
    mirrored,
)
from longexposure.simulation.recipe import RecipeTable, refused

Image = npt.NDArray[np.float32]

CELLS_PER_SIGMA = 4
"""Cells of the coarse grid in a standard deviation of the narrowest scatter."""
BEAM_CELLS = 128
"""Cells along the shorter side of a field on which the open beam of a piece of it is found."""


class ScatterConfig(RecipeTable):
    """Radiation scattered in the part on its way to the detector.

    Its spread is a sum of two Gaussians (one: Boone, Arnold and Seibert, Med. Phys. 13, 1986, 254).

    Attributes:
        ratio: scattered over primary signal where the part is even; 0 for none.
        spread_um: FWHM in the detector of what a thin ray scatters, without the tail.
        tail: fraction of the scatter in the tail, 0 to 1.
        tail_spread: FWHM of the tail over `spread_um`.
    """

    ratio: float = Field(default=0.0, ge=0, le=10)
    spread_um: float = Field(default=20_000.0, gt=0, le=1e6)
    tail: float = Field(default=0.3, ge=0, le=1)
    tail_spread: float = Field(default=3.0, ge=1, le=10)


class ShadingConfig(RecipeTable):
    """How the open beam varies over the detector, without the pixels' own gain.

    Attributes:
        heel: change of the intensity from one border of the field to the other, as a fraction of the mean.
        heel_deg: direction in which it grows, from x towards y.
        falloff: n of the falloff cos^n of the angle between ray and normal, 3 for a flat detector under a
            point source (inverse square, and the area seen aslant); takes the geometry.
        vignetting: fraction lost in the corners.
        vignetting_power: power of the distance from the middle that the loss grows with: 2 for image
            intensifiers, more for a round field with a narrow margin.
        corner: fraction lost in one dark corner.
        corner_deg: direction of that corner from the middle, from x towards y.
        corner_size: how far its shade reaches in, as a fraction of the way from the corner to the middle.
        ring: brightness of a ring about the middle, as a fraction of what is beside it.
        ring_radius: of its crest, as a fraction of the way from the middle to a corner.
        ring_width: FWHM of its profile, as a fraction of the same.
    """

    heel: float = Field(default=0.0, ge=-1, le=1)
    heel_deg: float = Field(default=0.0, ge=-360, le=360)
    falloff: float = Field(default=0.0, ge=0, le=8)
    vignetting: float = Field(default=0.0, ge=0, le=0.95)
    vignetting_power: float = Field(default=2.0, ge=1, le=20)
    corner: float = Field(default=0.0, ge=0, le=0.95)
    corner_deg: float = Field(default=45.0, ge=-360, le=360)
    corner_size: float = Field(default=0.5, gt=0, le=2)
    ring: float = Field(default=0.0, ge=-0.9, le=10)
    ring_radius: float = Field(default=0.4, ge=0, le=1)
    ring_width: float = Field(default=0.25, gt=0, le=2)


def scattered(transmission: Image, scatter: ScatterConfig, *, pitch_um: float) -> Image:
    """Transmission with what the part scatters: (T + ratio * smooth T) / (1 + ratio).

    Scatter follows the primary signal about it. The sum is divided by 1 + ratio, so that an open beam stays
    1, as after a flat field with the same fraction of scatter. The smooth part is made on a coarse grid, with
    mirrored borders.

    Args:
        transmission: (H, W) or (..., H, W); not modified.
        scatter: its amount and spread.
        pitch_um: pixel pitch of the detector.

    Returns:
        A new array of that shape, float32.

    Raises:
        InputError: no image.
        RecipeError: a pitch that is not positive.
    """
    check_pitch(pitch_um)
    image: Image = as_images(transmission)
    if not scatter.ratio:
        return image.copy()
    height, width = image.shape[-2:]
    cell = max(1, int(scatter.spread_um / (FWHM_PER_SIGMA * CELLS_PER_SIGMA * pitch_um)))
    cell = min(cell, max(1, min(height, width) // 8))
    rows, columns = -(-height // cell), -(-width // cell)
    # Means of the cells, the last ones filled up with the mirror image; their own blur stays in.
    whole = mirrored(image, (rows * cell, columns * cell), start=(0, 0))
    coarse = whole.reshape(*whole.shape[:-2], rows, cell, columns, cell).mean((-3, -1))
    smooth = filtered(coarse, _scatter_otf((2 * rows, 2 * columns), scatter, pitch_um, cell))
    for axis, size, last in ((-2, height, rows - 1), (-1, width, columns - 1)):
        place = (np.arange(size) + 0.5) / cell - 0.5
        before = np.floor(place).astype(np.intp)
        weight = (place - before).astype(np.float32)
        low, high = (np.take(smooth, np.clip(n, 0, last), axis=axis) for n in (before, before + 1))
        high -= low
        high *= weight[:, None] if axis == -2 else weight
        high += low
        smooth = high
    smooth *= scatter.ratio / (1 + scatter.ratio)
    smooth += image * (1 / (1 + scatter.ratio))
    return smooth


@lru_cache(maxsize=16)
def _scatter_otf(grid: Shape, scatter: ScatterConfig, pitch_um: float, cell: int) -> Image:
    """MTF of the scattered part alone, a sum of Gaussians, on a grid of cells of so many pixels."""
    frequency = np.hypot(*frequencies(grid)) / cell
    square = (pi * scatter.spread_um / (FWHM_PER_SIGMA * pitch_um) * frequency) ** 2
    near, far = np.exp(-2 * square), np.exp(-2 * scatter.tail_spread**2 * square)
    otf: Image = ((1 - scatter.tail) * near + scatter.tail * far).astype(np.float32)
    return otf


@lru_cache(maxsize=8)
def open_beam(
    shape: Shape, shading: ShadingConfig, *, geometry: GeometryConfig | None = None, pitch_um: float = 0.0
) -> Image:
    """Intensity of the open beam over the field (H, W), mean 1, float32, not to be written to.

    Args:
        shape: H and W of the whole field.
        shading: without any strength the map is 1.
        geometry: for `falloff`; its tilt moves the detector away from the foot of the source.
        pitch_um: pixel pitch of the detector, for `falloff`.

    Raises:
        RecipeError: a falloff without geometry and pitch.
    """
    x = (np.arange(shape[1]) + 0.5 - shape[1] / 2)[None, :]
    y = (np.arange(shape[0]) + 0.5 - shape[0] / 2)[:, None]
    radius = np.hypot(x, y) / (np.hypot(*shape) / 2)
    beam = np.ones(shape)
    if shading.heel:
        beam *= 1 + shading.heel / 2 * _along(x, y, shading.heel_deg)
    if shading.falloff:
        if geometry is None or not 0 < pitch_um < np.inf:
            raise refused(
                "shading.falloff",
                "a geometry and a pixel pitch above 0 um",
                f"{'no geometry' if geometry is None else 'a geometry'} and {pitch_um} um",
                "pass both, or leave falloff out",
            )
        # cos^n of the angle between the ray to each pixel and the detector's normal.
        lean, azimuth = tan(radians(geometry.tilt_deg)), radians(geometry.azimuth_deg)
        pixel = pitch_um / (1e3 * geometry.source_detector_mm)
        tangent = np.hypot(x * pixel + lean * cos(azimuth), y * pixel + lean * sin(azimuth))
        beam *= (1 + tangent**2) ** (-shading.falloff / 2)
    if shading.vignetting:
        beam *= 1 - shading.vignetting * radius**shading.vignetting_power
    if shading.corner:
        near = np.clip(1 - (1 - _along(x, y, shading.corner_deg)) / shading.corner_size, 0, 1)
        beam *= 1 - shading.corner * near**2 * (3 - 2 * near)
    if shading.ring:
        profile = (radius - shading.ring_radius) * (FWHM_PER_SIGMA / shading.ring_width)
        beam *= 1 + shading.ring * np.exp(-0.5 * profile**2)
    result: Image = (beam / beam.mean()).astype(np.float32)
    result.flags.writeable = False
    return result


@lru_cache(maxsize=4)
def open_beam_of_piece(
    shape: Shape,
    whole: Shape,
    shading: ShadingConfig,
    *,
    geometry: GeometryConfig | None = None,
    pitch_um: float = 0.0,
) -> Image:
    """As `open_beam`, over a piece of this shape from the middle of a field; the field's mean is 1.

    It is read from a coarse map of the whole, since the beam varies slowly.
    """
    if shape == whole:
        return open_beam(whole, shading, geometry=geometry, pitch_um=pitch_um)
    cell = max(1, min(whole) // BEAM_CELLS)
    cells = (whole[0] // cell, whole[1] // cell)
    coarse = open_beam(cells, shading, geometry=geometry, pitch_um=pitch_um * cell)
    step = [count / size for count, size in zip(cells, whole, strict=True)]
    first = [
        ((size - side) // 2 + 0.5) * fraction - 0.5
        for size, side, fraction in zip(whole, shape, step, strict=True)
    ]
    beam: Image = ndimage.affine_transform(coarse, step, first, output_shape=shape, order=1, mode="nearest")
    beam.flags.writeable = False
    return beam


def _along(x: Numbers, y: Numbers, degrees: float) -> Numbers:
    """Place along a direction, -1 to 1 from one end of the field to the other."""
    place: Numbers = x * cos(radians(degrees)) + y * sin(radians(degrees))
    place /= np.abs(place).max(initial=1e-9)
    return place
