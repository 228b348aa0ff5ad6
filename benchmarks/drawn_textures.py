"""Textures without any noise, drawn to be hard on a noise estimator: fine structure everywhere, at any angle.

The simulated machines have flat places nearly everywhere and blur what is fine; other images need not. Here are
lattices and gratings from 2.5 px, piled discs and strands, grains, clouds, foam, powder, fibres, sponge, bands of
filtered noise, each over all of the image or a part of it, sharp or blurred, some in uneven light, which shows them where it is bright. What is known of them is that they
are not noise. Their noise is never blurred: an estimator that saw blurred noise on them, or none of them in
uneven light, took the lattice of a real circuit for noise that is blurred and grows with the signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from known_noise import (
    PIECES,
    Picture,
    counted,
    cut_out,
    exported,
    resampled,
    turned,
    with_added_noise,
    with_hot_pixels,
)
from scipy import ndimage

SIZES = (128, 192, 256, 320)
FINEST_PX, COARSEST_PX = 2.5, 40.0
PARTLY, BLURRED, UNDER_LIGHT = 0.5, 0.7, 0.4
FAINTEST, DEEPEST = 0.03, 2.0
"""What a texture takes of the light on it, as an exponent: where there is little light, it is not seen."""
EXPORTED, COUNTED, HOT, RESAMPLED = 0.15, 0.08, 0.1, 0.1

Array = np.ndarray
Random = np.random.Generator


def texture_pictures(random: Random) -> Iterator[Picture]:
    """Two pictures of one texture."""
    scene = texture(int(random.choice(SIZES)), random)
    for _ in range(2):
        few = random.random() < COUNTED
        picture = counted(scene, random) if few else with_added_noise(scene, random, blurred=False)
        if random.random() < RESAMPLED:
            picture = resampled(scene, random, blurred=False)
        elif random.random() < EXPORTED:
            picture = exported(picture, random)
        if random.random() < HOT:
            picture = with_hot_pixels(picture, random)
        if random.random() < PIECES:
            picture = cut_out(picture, random)
        yield turned(picture._replace(kind="texture"), random)


def texture(side: int, random: Random) -> Array:
    """A texture (side, side), float64, most of it between 0 and 1."""
    kinds = (lattice, grating, piled_pieces, grains, clouds, foam, powder, fibres, sponge, bands)
    image = kinds[random.integers(len(kinds))](side, random)
    if random.random() < PARTLY:
        other = kinds[random.integers(len(kinds))](side, random) if random.random() < 0.4 else 0.5
        image = np.where(clouds(side, random, fall=2.5) > random.uniform(0.2, 0.8), image, other)
    if random.random() < BLURRED:
        image = ndimage.gaussian_filter(image, random.uniform(0.3, 1.2))
    if random.random() < UNDER_LIGHT:
        light = np.clip(clouds(side, random, fall=random.uniform(2.5, 4)), 0, None) ** random.uniform(1, 3)
        depth = float(np.exp(random.uniform(np.log(FAINTEST), np.log(DEEPEST))))
        image = (light + random.uniform(0, 0.5)) * np.exp(-depth * unit(image))
    return unit(image)


def unit(image: Array) -> Array:
    low, high = np.percentile(image, (1, 99))
    if high <= low:
        low, high = image.min(), image.max()
    return (image - low) / max(high - low, 1e-9)


def _size_px(random: Random, most: float = COARSEST_PX) -> float:
    return float(np.exp(random.uniform(np.log(FINEST_PX), np.log(most))))


def _turned_axes(side: int, random: Random) -> tuple[Array, Array]:
    """Coordinates along and across, at times bent."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    angle = random.choice((0.0, random.uniform(0, np.pi)))
    if random.random() < 0.3:
        bend = random.uniform(0, 8) * np.sin(2 * np.pi * y / side * random.uniform(0.5, 3))
        x = x + bend
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def lattice(side: int, random: Random) -> Array:
    """Equal cells with a disc, a ring or a square in each, edges of half a pixel to two."""
    along, across = _turned_axes(side, random)
    pitch = _size_px(random)
    pitches = pitch, pitch * random.choice((1.0, random.uniform(0.7, 2.5)))
    cells = [np.floor(axis / each) for axis, each in zip((along, across), pitches, strict=True)]
    shift = random.choice((0.0, 0.5)) * (cells[1] % 2) * pitches[0]
    u = (along + shift) % pitches[0] - pitches[0] / 2
    v = across % pitches[1] - pitches[1] / 2
    round_cell = random.random() < 0.6
    distance = np.hypot(u, v) if round_cell else np.maximum(np.abs(u), np.abs(v))
    radius, edge = random.uniform(0.2, 0.42) * min(pitches), random.uniform(0.5, 2)
    image = np.clip((radius - distance) / edge + 0.5, 0, 1)
    if random.random() < 0.3:
        image -= random.uniform(0.2, 1) * np.clip((radius / 2 - distance) / edge + 0.5, 0, 1)
    levels = random.uniform(0, 1, (64, 64)) if random.random() < 0.3 else np.ones((64, 64))
    return image * levels[cells[1].astype(int) % 64, cells[0].astype(int) % 64]


def grating(side: int, random: Random) -> Array:
    """One to three waves, round or steep."""
    image = np.zeros((side, side))
    for _ in range(random.integers(1, 4)):
        along, across = _turned_axes(side, random)
        wave = np.sin(2 * np.pi * along / _size_px(random) + random.uniform(0, 6.3))
        steep = random.choice((0.0, random.uniform(1, 6)))
        wave = np.tanh(steep * wave) if steep else wave
        image += (
            random.uniform(0.2, 1) * wave * np.cos(across / side * random.choice((0.0, random.uniform(0, 9))))
        )
    return image


def piled_pieces(side: int, random: Random) -> Array:
    """Discs or strands on top of each other, sizes by a power law, as objects hide each other in photographs."""
    image = np.full((side, side), random.uniform())
    stretch = float(np.exp(random.uniform(0, np.log(8)) * (random.random() < 0.6)))
    smallest, largest = random.uniform(1, 4), random.uniform(8, 60)
    count = int(min(stretch * side * side / (smallest * largest), 2500 * stretch**0.5))
    power = random.uniform(1.2, 2.2)
    ends = smallest**-power, largest**-power
    turn, spread = random.uniform(0, np.pi, 2)
    for radius in (ends[0] + random.uniform(size=count) * (ends[1] - ends[0])) ** (-1 / power):
        y, x = random.uniform(-radius, side + radius, 2)
        rows = slice(max(int(y - radius), 0), max(int(y + radius) + 2, 0))
        columns = slice(max(int(x - radius), 0), max(int(x + radius) + 2, 0))
        piece = image[rows, columns]
        if piece.size:
            down, right = np.ogrid[
                rows.start : rows.start + piece.shape[0], columns.start : columns.start + piece.shape[1]
            ]
            angle = turn + spread * random.uniform(-0.5, 0.5)
            along = (down - y) * np.sin(angle) + (right - x) * np.cos(angle)
            across = (down - y) * np.cos(angle) - (right - x) * np.sin(angle)
            half_width = max(radius / stretch, min(radius, 0.7))
            distance = np.hypot(along * (half_width / radius), across)
            cover = np.clip(half_width - distance + 0.5, 0, 1)
            piece += cover * (random.uniform() - piece)
    return image


def grains(side: int, random: Random) -> Array:
    """Cells around random points: of one grey each, or darker towards their borders."""
    mean_px = _size_px(random)
    seeds = random.uniform(size=(side, side)) < 1 / mean_px**2
    seeds[side // 2, side // 2] = True
    distance, nearest = ndimage.distance_transform_edt(~seeds, return_indices=True)
    greys = random.uniform(size=(side, side))[nearest[0], nearest[1]]
    shaded = random.choice((0.0, 1.0, random.uniform(0, 1)))
    return greys * (1 - shaded) + shaded * np.maximum(1 - distance / (1.2 * mean_px), 0)


def clouds(side: int, random: Random, *, fall: float | None = None) -> Array:
    """A random field whose amplitudes fall with a power of the frequency, stretched any way, at times folded."""
    power = random.uniform(1.1, 3) if fall is None else fall
    stretch = np.exp(random.uniform(-1, 1) * (random.random() < 0.4))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None] * stretch, np.fft.rfftfreq(side) / stretch)
    spectrum = np.fft.rfft2(random.standard_normal((side, side))) / np.maximum(frequency, 1 / side) ** power
    image = unit(np.fft.irfft2(spectrum, (side, side)))
    return np.abs(image - 0.5) if fall is None and random.random() < 0.3 else image


def _heaped(
    side: int, random: Random, *, count: int, size_px: float, shape: Callable[[Array, float], Array]
) -> Array:
    """Round bodies that overlap and add up; `shape` is a body's thickness by squared distance and radius."""
    image = np.zeros((side, side))
    for radius in random.exponential(size_px, count) + random.uniform(1, 4):
        y, x = random.uniform(-radius, side + radius, 2)
        reach = radius + 2
        rows, columns = (slice(max(int(at - reach), 0), max(int(at + reach) + 2, 0)) for at in (y, x))
        piece = image[rows, columns]
        if piece.size:
            down = np.arange(rows.start, rows.start + piece.shape[0])[:, None] - y
            right = np.arange(columns.start, columns.start + piece.shape[1]) - x
            piece += shape(down**2 + right**2, radius)
    return image


def foam(side: int, random: Random) -> Array:
    """Bubbles: the thickness of thin shells."""
    wall = random.uniform(0.5, 2)

    def shell(square: Array, radius: float) -> Array:
        outside, inside = (np.sqrt(np.clip(each**2 - square, 0, None)) for each in (radius + wall, radius))
        return outside - inside

    size_px = _size_px(random, 15)
    count = int(min(side * side / size_px**2 * np.exp(random.uniform(-1, 1.2)), 3000))
    return _heaped(side, random, count=count, size_px=size_px, shape=shell)


def powder(side: int, random: Random) -> Array:
    """Balls upon each other, as a powder or a paste shows."""
    size_px = _size_px(random, 10)
    count = int(min(side * side / size_px**2 * np.exp(random.uniform(-1.5, 1.2)), 3000))
    return _heaped(
        side, random, count=count, size_px=size_px, shape=lambda d, r: np.sqrt(np.clip(r**2 - d, 0, None))
    )


def fibres(side: int, random: Random) -> Array:
    """Thin straight strands all over the image, a mat or nearly aligned, which add up."""
    y, x = np.mgrid[:side, :side] - side / 2
    turn, spread = random.uniform(0, np.pi), random.choice((0.15, np.pi))
    width = float(np.exp(random.uniform(np.log(0.5), np.log(3))))
    image = np.zeros((side, side))
    for _ in range(int(min(side / width * random.uniform(0.3, 2), 150))):
        angle = turn + spread * random.uniform(-0.5, 0.5)
        away = x * np.sin(angle) - y * np.cos(angle) - random.uniform(-0.7, 0.7) * side
        image += np.sqrt(np.clip(width**2 - away**2, 0, None))
    return image


def sponge(side: int, random: Random) -> Array:
    """Pores of no certain shape: where a random field of one scale is above a level; one to four layers."""
    image = np.zeros((side, side))
    for _ in range(random.integers(1, 5)):
        field = bands(side, random)
        image += np.clip((field - random.uniform(0.3, 0.7)) * random.uniform(4, 20) + 0.5, 0, 1)
    return image


def bands(side: int, random: Random) -> Array:
    """A random field of about one scale: what lies between two Gaussians of white noise."""
    white = random.standard_normal((side, side))
    fine = float(np.exp(random.uniform(np.log(0.9), np.log(6))))
    image = ndimage.gaussian_filter(white, fine, mode="wrap")
    return unit(image - ndimage.gaussian_filter(white, fine * random.uniform(1.2, 4), mode="wrap"))
