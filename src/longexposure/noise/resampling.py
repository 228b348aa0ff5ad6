"""Pixels that were repeated or interpolated before us: enlarged, turned or warped images.

Repeated ones are seen exactly (noise/repeats.py). Where an interpolated pixel lies on one of the original
it is as noisy as that; between them it is an average and less so. So the roughness of the image changes with
a period that scale and angle set, everywhere alike (A. C. Gallagher, "Detection of linear and cubic
interpolation in JPEG compressed images", 2005; B. Mahdian and S. Saic, "Blind authentication using periodic
properties of interpolation", 2008). Its spectrum has sharp peaks, and because the original's pixels were
square, each has a second one a quarter turn from it. What a part shows has such peaks where the image's own
spectrum has them too. Shifting and reducing leave nothing that repeats, only noise of another colour, and so
does an interpolation that the noise was added after.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.masks import Mask
from longexposure.noise.profile import NoiseProfile
from longexposure.noise.repeats import find_repeats
from longexposure.radiograph import Pixels

SIDE_PX, LEAST_PX = 384, 64
"""What is looked at: a square in the middle of the image, up to so many pixels a side, and no smaller one."""
LEAST_CORRELATION = 0.1
"""Interpolating is averaging: noise whose neighbours correlate by less was not interpolated."""
STRUCTURE = 0.35
"""Slopes are of the part, not of the noise, where they survive smoothing by more than this fraction."""
SMOOTH_PX, NEAR_PX, AROUND_PX = 2.0, 9, 33
LEAST_FLAT = 0.05
OUTLIER, HIGHEST = 16.0, 4.0
"""Roughness is cut at so many times the median, and then at so many times the mean around it."""
SLOWEST = 0.03
"""Cycles per pixel from which on a period counts."""
OWN_PEAK, PEAK, PEAK_ON_AXIS = 10.0, 25.0, 150.0
"""How far above its surroundings a spectrum must rise: that of the image for structure, that of its roughness
for an interpolation along both axes (geometric mean of both peaks), or along one."""

FASTEST, FEWEST_PERIODS = 0.042, 1.25
"""The colour of the noise is looked at up to so many cycles per pixel, from so many in the square on."""
CLEARLY, DEEP = 250.0, 0.11
"""It must come and go by so many times what chance makes of it (as power), and by this part of its mean.
Noise that was not interpolated reaches 80 and 0.05, interpolated noise 450 and 0.14 at least."""
LEAST_OF_LINE = 0.05
"""A row counts where so much of it is flat."""

INTERPOLATED = "interpolated"

Numbers = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
Marked = npt.NDArray[np.bool_]


def resampling_in_words(pixels: Pixels, noise: NoiseProfile, aside: Mask | None = None) -> str:
    """What was done to the pixels of an image (H, W): "repeated 2 x 2", "interpolated", or nothing, "".

    Args:
        pixels: the image.
        noise: its profile, as measured on it.
        aside: pixels that are no picture of the part.
    """
    repeats = find_repeats(pixels)
    if repeats is not None:
        return f"repeated {repeats.in_words()}"
    return INTERPOLATED if is_interpolated(pixels, noise, aside) else ""


def is_interpolated(pixels: Pixels, noise: NoiseProfile, aside: Mask | None = None) -> bool:
    """Whether an image (H, W) seems to have been enlarged, turned or warped by interpolation.

    Args:
        pixels: the image.
        noise: its profile, as measured on it.
        aside: pixels that are no picture of the part.
    """
    side = min(*pixels.shape, SIDE_PX) // 2 * 2
    if side < LEAST_PX or noise.sigma == 0 or max(noise.corr_x, noise.corr_y) < LEAST_CORRELATION:
        return False
    top, left = ((size - side) // 2 for size in pixels.shape)
    place = slice(top, top + side), slice(left, left + side)
    grey = pixels[place].astype(np.float64)
    image = ((grey - np.median(grey)) / noise.sigma).astype(np.float32)
    allowed = np.ones(image.shape, bool)
    if aside is not None and aside.count:
        allowed = ~aside.within(*place)
        image[~allowed] = 0
    window = np.outer(*[np.hanning(side).astype(np.float32)] * 2)
    flat = _flat(image, allowed)
    if flat.mean() < LEAST_FLAT:
        return False
    if _comes_and_goes(image, flat):
        return True
    rough = _roughness(image, flat, window)
    frequency = np.fft.fftfreq(side)
    counts = np.hypot(frequency[:, None], frequency) > SLOWEST
    counts &= _above_surroundings(np.abs(np.fft.fft2(image * window)) ** 2) < OWN_PEAK
    peaks = np.where(counts, _above_surroundings(rough), 0)
    turned = peaks.T[-np.arange(side) % side]
    along_axis = max(float(peaks[0].max()), float(peaks[:, 0].max()))
    return bool(np.sqrt((peaks * turned).max()) > PEAK) or along_axis > PEAK_ON_AXIS


def _flat(image: Numbers, allowed: Marked) -> Marked:
    """Where an image shows noise more than the part."""
    dx, dy = (np.diff(image, axis=axis, append=0) for axis in (1, 0))
    rise_y, rise_x = np.gradient(ndimage.gaussian_filter(image, SMOOTH_PX, truncate=3))
    flat = rise_x**2 + rise_y**2 < STRUCTURE**2 * ndimage.uniform_filter(dx**2 + dy**2, NEAR_PX)
    flat &= ndimage.minimum_filter(allowed, 5)
    border = np.zeros_like(flat)
    border[3:-3, 3:-3] = True
    return np.asarray(flat & border)


def _comes_and_goes(image: Numbers, flat: Marked) -> bool:
    """Whether the colour of noise along rows goes up and down from row to row, and so do columns alike."""
    side = len(image)
    cycles = np.arange(FEWEST_PERIODS, FASTEST * side, 0.25)
    rows, columns = _waves(image, flat, cycles), _waves(image.T, flat.T, cycles)
    clear = np.sqrt(rows[1] * columns[1])
    best = int(np.argmax(clear))
    return bool(clear[best] > CLEARLY and min(rows[0, best], columns[0, best]) > DEEP)


def _waves(image: Numbers, flat: Marked, cycles: Exact) -> Exact:
    """How the colour of the noise along the rows varies from row to row, for so many cycles over the square.

    The colour is the mean square of first differences over that of pixels two apart. What of its course goes
    with grey value, slopes and roughness of the rows is the part's.

    Returns:
        Amplitude over the mean, and power over that of chance, (2, C); 0 where few rows show noise.
    """
    side = len(image)
    near, far = np.square(image[:, 1:-1] - image[:, :-2]), np.square(image[:, 2:] - image[:, :-2])
    most = OUTLIER * ndimage.uniform_filter(np.minimum(far, OUTLIER * np.median(far)), AROUND_PX)
    some = flat[:, 1:-1] & (far < most) & (near < most)
    count = np.count_nonzero(some, axis=1).astype(np.float64)
    near, far = (np.where(some, each, 0).sum(axis=1, dtype=np.float64) for each in (near, far))
    known = (count >= LEAST_OF_LINE * side) & (far > 0)
    if np.count_nonzero(known) < side / 2:
        return np.zeros((2, len(cycles)))
    weight = np.sqrt(np.where(known, count, 0))
    colour = np.divide(near, far, out=np.zeros_like(near), where=known)
    course = weight * (colour / np.average(colour, weights=weight**2) - 1)
    level = image.mean(axis=1, dtype=np.float64)
    smooth = ndimage.gaussian_filter(image, SMOOTH_PX, truncate=3)
    slopes = np.log(np.square(np.diff(smooth, axis=1)).mean(axis=1, dtype=np.float64) + 1e-6)
    parts = np.stack([np.ones(side), level, level**2, slopes, count, (near + far) / np.maximum(count, 1)])
    parts = (parts / np.maximum(np.abs(parts).max(axis=1, keepdims=True), 1e-9) * weight).T
    basis, size, _ = np.linalg.svd(parts, full_matrices=False)
    basis = basis[:, size > 1e-6 * size[0]]
    turns = 2 * np.pi * np.outer(np.arange(side) / side, cycles)
    waves = np.stack([np.cos(turns), np.sin(turns)]) * weight[:, None]
    waves = waves - basis @ (basis.T @ waves)
    products = np.einsum("inc,jnc->cij", waves, waves) + 1e-9 * weight @ weight * np.eye(2)
    found = np.linalg.solve(products, np.einsum("inc,n->ci", waves, course)[..., None])[..., 0]
    amplitude = np.hypot(*found.T)
    chance = np.square(np.median(np.abs(np.diff(course[known]))) / 0.6745) / 2
    return np.stack([amplitude, np.square(amplitude) * (weight @ weight) / 4 / max(chance, 1e-30)])


def _roughness(image: Numbers, flat: Marked, window: Numbers) -> Numbers:
    """Power spectrum (S, S) of how rough the flat places are, relative to their surroundings.

    First and second differences along both axes, squared.
    """
    dx, dy = (np.diff(image, axis=axis, append=0) for axis in (1, 0))
    known = ndimage.uniform_filter(flat.astype(np.float32), AROUND_PX)
    power = np.zeros(image.shape, np.float32)
    for difference in (dx, dy, np.diff(dx, axis=1, prepend=0), np.diff(dy, axis=0, prepend=0)):
        square = difference**2
        square = np.where(flat, np.minimum(square, OUTLIER * np.median(square[flat])), 0)
        around = ndimage.uniform_filter(square, AROUND_PX)
        even = np.minimum(square * known / np.maximum(around, 1e-12), HIGHEST)
        even -= flat * (even.sum() / np.count_nonzero(flat))
        power += np.abs(np.fft.fft2(even * window)) ** 2
    return power


def _above_surroundings(power: Numbers) -> Numbers:
    """A power spectrum over its mean in the 17 x 17 frequencies around without the middle 5 x 5."""
    outer, inner = (ndimage.uniform_filter(power, size, mode="wrap") * size**2 for size in (17, 5))
    around = (outer - inner) / (17**2 - 5**2)
    return np.asarray(power / np.maximum(around, 1e-9 * float(power.max()) + 1e-30), dtype=np.float32)
