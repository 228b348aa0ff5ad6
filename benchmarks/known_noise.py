"""Pictures whose noise is known: exposures of simulated machines, and what files do to them.

Each scene is exposed twice by one of the machines; the truth is the acquisition's own profile, the one that the
default network is given in its training. From a scene come

- exposures as the machine stores them;
- exposures as a viewer exports them: a window, a gamma, 8 to 12 bits, what lies outside cut off;
- the same behind a logarithm or a curve like that of film, or with black and white exchanged;
- the noise-free scene with noise that is drawn here: white, blurred up to a lag-1 correlation of 0.95, along
  lines up to 0.8, rows and columns up to twenty times the rest, any dependence on signal, down to nearly
  clean, at times exported too; a scene in eight is plain light, some are decimated to have finer texture;
- the noise-free scene with such noise, enlarged, reduced, turned or shifted by parts of a pixel after that;
- the noise-free scene counted in a few quanta, whole numbers;
- the noise-free scene in 20 to 400 grey values, whose rounding is all the noise there is.

Some have hot pixels far off the scale, some have areas filled or a border copied outwards, some are small pieces,
and all are turned any way, so that lines may be columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from longexposure.data.simulated_patches import SimulatedPatchesConfig, draw_training_acquisition
from longexposure.grey import PERCENTILES, measure_grey
from longexposure.noise import NoiseProfile
from longexposure.noise.estimator import ALONG
from longexposure.simulation.detector.video import line_taps
from longexposure.simulation.random_source import NumpyRandom

MACHINES = {"wide": 0.7, "S1": 0.1, "S2": 0.1, "S3": 0.1}
SIZES = (128, 160, 192, 224, 256, 256, 320, 384, 512)
EXPOSURES = 2
PROBED = 12
"""Scenes that show whether the machines still draw what is on the disk."""

PLAIN, FINER, HOT, ENDS_CUT, PIECES = 1 / 8, 0.3, 0.15, 0.2, 0.15
SMALLEST_PX = 40
KINDS = ("white", "screen", "line", "both")
OFTEN, SHARP = (0.5, 0.1, 0.33, 0.07), (0.6, 0, 0.4, 0)
"""Colours of the noise that is drawn here: mostly not blurred, as detectors are; `wide` blurs enough besides."""
EXPORTED, ADDED_EXPORTED, COUNTED, ROUNDED = 0.6, 0.2, 0.25, 0.2
TONED, RESAMPLED, FILLED = 0.4, 0.5, 0.1
CUT_OFF = (0.0, 0.0, 0.005, 0.03, 0.1)
"""Fraction of the pixels beyond either end of a window."""
DEPTHS = (8, 8, 8, 10, 12)
TONES = ("logarithm", "film", "gamma", "line")
CURVED_BY_NOISE = 0.3
"""A logarithm is not steeper than that the noise is this fraction of its argument at the dark end."""
RESAMPLED_PX, SCALES = 256, (0.45, 3.0)

Array = np.ndarray
Random = np.random.Generator
_SIZE, _EXPOSURE = 31, 32


class Drawn(NamedTuple):
    """One scene in one machine.

    Attributes:
        machine: its name.
        shorts: exposures (EXPOSURES, H, W), uint16.
        clean: their expectation, (H, W), float64.
        noise: the true profile of the exposures.
    """

    machine: str
    shorts: Array
    clean: Array
    noise: NoiseProfile


class Picture(NamedTuple):
    """An image (H, W) of any type, its true noise in its grey values, and how it was made.

    `aside` (H, W) is True where a fill is known to be one, so that it does not count for the grey map.
    """

    pixels: Array
    noise: NoiseProfile
    kind: str
    aside: Array | None = None


# Scenes, which are kept on the disk


def draw_images(number: int, *, seed: int, split: str) -> tuple[Array, list[float]]:
    """Exposures and the noise-free scene, (EXPOSURES + 1, H, W) uint16, and what is known of them.

    That is the machine's number, low and step (the noise-free scene is low + step * values), the true profile.
    """
    size = int(np.random.default_rng((seed, _SIZE, number)).choice(SIZES))
    acquisition = draw_training_acquisition(
        SimulatedPatchesConfig(machines=MACHINES, split=split), seed=seed, number=number, size_px=size
    )
    shorts = [acquisition.expose_short(NumpyRandom((seed, _EXPOSURE, number, k))) for k in range(EXPOSURES)]
    clean, noise = acquisition.clean, acquisition.noise
    low, step = float(clean.min()), max(float(np.ptp(clean)) / 65535, 1e-6)
    levels = np.rint((clean - low) / step)
    truth = [noise.level, noise.sigma, noise.slope, noise.corr_x, noise.corr_y]
    machine = list(MACHINES).index(acquisition.parameters.name)
    return np.stack([*shorts, levels]).astype(np.uint16), [machine, low, step, *truth]


def probe(seed: int) -> str:
    """Of what the machines draw today, so that stale scenes are not taken."""
    digest = hashlib.sha256(repr((MACHINES, SIZES, EXPOSURES)).encode())
    for number in range(PROBED):
        digest.update(draw_images(number, seed=seed, split="train")[0].tobytes())
    return digest.hexdigest()[:12]


def keep_images(first: int, *, last: int, seed: int, split: str, folder: Path) -> Path:
    """Scenes first..last - 1 in one file, which is drawn where it is not there yet."""
    file = folder / f"{seed}-{split}-{first:06}-{last:06}.npz"
    if not file.exists():
        rows = [draw_images(number, seed=seed, split=split) for number in range(first, last)]
        temporary = file.with_name(f".{file.name}")
        np.savez(
            temporary,
            pixels=np.concatenate([images.ravel() for images, _ in rows]),
            size=np.array([images.shape[1] for images, _ in rows]),
            about=np.array([about for _, about in rows]),
        )
        temporary.replace(file)
    return file


def kept_images(file: Path) -> Iterator[Drawn]:
    with np.load(file, allow_pickle=False) as stored:
        pixels, sizes, abouts = stored["pixels"], stored["size"], stored["about"]
    start = 0
    for size, about in zip(sizes, abouts, strict=True):
        stop = start + (EXPOSURES + 1) * size * size
        images = pixels[start:stop].reshape(-1, size, size)
        machine, low, step, *truth = about.tolist()
        clean = images[-1] * step + low
        yield Drawn(list(MACHINES)[int(machine)], images[:-1], clean, NoiseProfile(*truth))
        start = stop


# Pictures of a scene


def pictures(drawn: Drawn, random: Random) -> Iterator[Picture]:
    """Four to eight pictures of one scene."""
    taken = [Picture(short, drawn.noise, f"taken by {drawn.machine}") for short in drawn.shorts]
    made = [taken[0]]
    made.append(exported(taken[1], random) if random.random() < EXPORTED else taken[1])
    for _ in range(2):
        noisy = with_added_noise(unit_scene(drawn.clean, random), random)
        made.append(exported(noisy, random) if random.random() < ADDED_EXPORTED else noisy)
    if random.random() < COUNTED:
        made.append(counted(unit_scene(drawn.clean, random), random))
    if random.random() < ROUNDED:
        made.append(rounded(unit_scene(drawn.clean, random), random))
    if random.random() < TONED:
        seen = random.random() < 0.6
        given = taken[1] if seen else with_added_noise(unit_scene(drawn.clean, random), random)
        made.append(toned(given, random))
    if random.random() < RESAMPLED:
        made.append(resampled(unit_scene(drawn.clean, random), random))
    for picture in made:
        spoiled = with_hot_pixels(picture, random) if random.random() < HOT else picture
        if random.random() < FILLED:
            spoiled = with_fills(spoiled, random)
        piece = cut_out(spoiled, random) if random.random() < PIECES else spoiled
        yield turned(piece, random)


def cut_out(picture: Picture, random: Random) -> Picture:
    """A piece of it, of `SMALLEST_PX` to half its height and width."""
    pixels = picture.pixels
    height, width = (
        int(random.integers(SMALLEST_PX, max(side // 2, SMALLEST_PX) + 1)) for side in pixels.shape
    )
    top, left = (
        int(random.integers(whole - part + 1))
        for whole, part in zip(pixels.shape, (height, width), strict=True)
    )
    place = slice(top, top + height), slice(left, left + width)
    aside = None if picture.aside is None else picture.aside[place]
    return picture._replace(pixels=np.ascontiguousarray(pixels[place]), aside=aside)


def transposed(picture: Picture) -> Picture:
    noise = picture.noise
    swapped = replace(noise, corr_x=noise.corr_y, corr_y=noise.corr_x)
    aside = None if picture.aside is None else picture.aside.T
    return picture._replace(pixels=np.ascontiguousarray(picture.pixels.T), noise=swapped, aside=aside)


def turned(picture: Picture, random: Random) -> Picture:
    """One of the eight flips and quarter turns."""
    found = transposed(picture) if random.random() < 0.5 else picture
    down, right = (slice(None, None, int(step)) for step in random.choice((-1, 1), 2))
    aside = None if found.aside is None else found.aside[down, right]
    return found._replace(pixels=np.ascontiguousarray(found.pixels[down, right]), aside=aside)


def with_hot_pixels(picture: Picture, random: Random) -> Picture:
    """Up to three in a thousand, up to a thousand times beyond the scale; float32."""
    pixels = picture.pixels.astype(np.float32)
    count = random.poisson(pixels.size * np.exp(random.uniform(np.log(5e-5), np.log(3e-3))))
    where = tuple(random.integers(0, side, count) for side in pixels.shape)
    low, high = np.percentile(pixels, PERCENTILES)
    pixels[where] = low + (high - low) * np.exp(random.uniform(np.log(1.2), np.log(1000), count))
    return picture._replace(pixels=pixels)


def with_fills(picture: Picture, random: Random) -> Picture:
    """One to three areas of one grey value, or a border copied outwards; now and then known to be none."""
    pixels = picture.pixels.copy()
    filled = np.zeros(pixels.shape, bool)
    low, high = np.percentile(pixels, PERCENTILES)
    ends = (pixels.min(), pixels.max(), np.median(pixels), low + (high - low) * random.uniform(-0.5, 1.5))
    for _ in range(random.integers(1, 4)):
        shape = filled_shape(pixels.shape, random)
        value = ends[random.integers(len(ends))]
        pixels[shape] = np.rint(value) if pixels.dtype.kind == "u" else value
        filled |= shape
    if random.random() < 0.2:
        border = int(random.integers(2, max(min(pixels.shape) // 4, 3)))
        pixels = np.pad(pixels[border:-border, border:-border], border, mode="edge")
    return picture._replace(pixels=pixels, aside=filled if random.random() < 0.5 else None)


def filled_shape(shape: tuple[int, int], random: Random) -> Array:
    """A rectangle, a corner cut off or a few strokes, True (H, W), a fiftieth to a fifth of the image."""
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape).reshape(2, 1, 1)
    kind = random.integers(3)
    if kind == 0:
        height, width = random.uniform(0.1, 0.5, 2)
        top, left = random.uniform(-height / 2, 1 - height / 2), random.uniform(-width / 2, 1 - width / 2)
        return (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    if kind == 1:
        x, y = (1 - x if random.random() < 0.5 else x), (1 - y if random.random() < 0.5 else y)
        return x / random.uniform(0.1, 0.7) + y / random.uniform(0.1, 0.7) < 1
    strokes = np.zeros(shape, bool)
    for _ in range(random.integers(5, 40)):
        top, left = (int(random.integers(side)) for side in shape)
        long, thick = int(random.integers(3, 16)), int(random.integers(1, 4))
        height, width = (long, thick) if random.random() < 0.5 else (thick, long)
        strokes[top : top + height, left : left + width] = True
    return strokes


def exported(picture: Picture, random: Random) -> Picture:
    """As a viewer exports it: a window, a gamma in half of the cases, few bits."""
    gamma = float(np.exp(random.uniform(np.log(0.45), np.log(2)))) if random.random() < 0.5 else 1.0
    return behind_curve(picture, lambda t: t**gamma, random)._replace(kind="exported")


def toned(picture: Picture, random: Random) -> Picture:
    """Behind a curve that viewers and detectors use beside gammas, or inverted, or both."""
    values = picture.pixels.astype(np.float64)
    low, high = np.percentile(values, PERCENTILES)
    kind = random.choice(TONES, p=(0.5, 0.1, 0.25, 0.15))
    curve: Curve = lambda t: t  # noqa: E731
    if kind == "logarithm":
        faint = float(picture.noise.variance(low)) ** 0.5 / max(high - low, 1e-9)
        steep = min(float(np.exp(random.uniform(np.log(2), np.log(300)))), CURVED_BY_NOISE / max(faint, 1e-9))
        curve = lambda t: np.log1p(steep * t) / np.log1p(steep)  # noqa: E731
    elif kind == "film":
        power = random.uniform(1.1, 1.8)
        curve = lambda t: t**power / (t**power + (1 - t) ** power)  # noqa: E731
    elif kind == "gamma":
        gamma = float(np.exp(random.uniform(np.log(0.33), np.log(2.5))))
        curve = lambda t: t**gamma  # noqa: E731
    inverted = kind == "line" or random.random() < 0.3
    shown = behind_curve(picture, (lambda t: 1 - curve(t)) if inverted else curve, random)
    return shown._replace(kind="toned")


Curve = Callable[[Array], Array]


def behind_curve(picture: Picture, curve: Curve, random: Random) -> Picture:
    """A window of it behind a curve from 0..1 to 0..1, in few grey values."""
    values = picture.pixels.astype(np.float64)
    below, above = (random.choice(CUT_OFF) for _ in range(2))
    low, high = np.quantile(values, (below, 1 - above))
    width = max(high - low, 1e-9)
    room = random.uniform(0, 0.5, 2) * (random.random(2) < 0.5) * width
    low, width = low - room[0], width + room.sum()
    steps = 2.0 ** random.choice(DEPTHS) - 1
    image = np.rint(steps * curve(np.clip((values - low) / width, 0, 1))).astype(np.float32)
    grid = np.linspace(0, 1, 4096) ** 2
    noise = developed(picture.noise, image, given=low + width * grid, shown=steps * curve(grid))
    return Picture(image, noise, picture.kind)


def developed(noise: NoiseProfile, image: Array, *, given: Array, shown: Array) -> NoiseProfile:
    """The profile behind a curve and rounding, over the image's contrast.

    Args:
        noise: before it.
        image: behind it.
        given: grey values before the curve, ascending.
        shown: what the curve makes of them, ascending or descending.
    """
    grey = measure_grey(image)
    unit = np.array([*ALONG, 0.3, 0.7])
    at = (unit - grey.offset) / grey.scale
    steep = np.gradient(shown, given)
    order = slice(None) if shown[-1] > shown[0] else slice(None, None, -1)
    before, contrast = (np.interp(at, shown[order], each[order]) for each in (given, steep))
    seen = noise.variance(before) * contrast**2
    variance = seen + 1 / 12
    middle = ALONG.index(0.5)
    kept = seen[middle] / variance[middle]
    return NoiseProfile(
        level=at[middle],
        sigma=variance[middle] ** 0.5,
        slope=(variance[-1] - variance[-2]) / (at[-1] - at[-2]),
        corr_x=noise.corr_x * kept,
        corr_y=noise.corr_y * kept,
        curve=tuple(zip(at[: len(ALONG)].tolist(), np.sqrt(variance[: len(ALONG)]).tolist(), strict=True)),
    )


# The noise-free scene, with noise that is drawn here


def unit_scene(clean: Array, random: Random) -> Array:
    """A scene whose contrast lies between 0 and 1; now and then plain light, or of finer texture."""
    finer = min(clean.shape) >= 256 and random.random() < FINER
    image = clean[::2, ::2] if finer else clean
    low, high = np.percentile(image, PERCENTILES)
    if high <= low or random.random() < PLAIN:
        return plain_light(image.shape, random)
    return (image - low) / (high - low)


def plain_light(shape: tuple[int, ...], random: Random) -> Array:
    """Light that falls off slowly, of any contrast from none to all of the domain."""
    y, x = (np.linspace(-1, 1, side) for side in shape)
    tilt, bow = random.normal(size=2), random.normal(size=2)
    light = tilt[0] * x + bow[0] * x**2 + (tilt[1] * y + bow[1] * y**2)[:, None]
    return random.random() ** 2 * (light - light.min()) / np.ptp(light)


def counted(scene: Array, random: Random) -> Picture:
    """A few to some hundred quanta a pixel, in whole numbers, at times with read noise."""
    bright = np.maximum(scene + random.uniform(0.02, 1.0), 0)
    mean, read = float(np.exp(random.uniform(np.log(4), np.log(400)))), random.choice((0.0, 1.0, 3.0))
    quanta = random.poisson(bright * (mean / bright.mean())) + read * random.standard_normal(scene.shape)
    variance = mean + read**2 + (1 / 12 if read else 0.0)
    noise = NoiseProfile(level=mean, sigma=variance**0.5, slope=1.0)
    return Picture(np.maximum(np.rint(quanta), 0).astype(np.float32), noise, "counted")


def rounded(scene: Array, random: Random) -> Picture:
    """No noise but that of rounding, 1 / 12 in variance."""
    steps = float(np.exp(random.uniform(np.log(20), np.log(400))))
    noise = NoiseProfile(level=0.5 * steps, sigma=12**-0.5)
    return Picture(np.rint(steps * (scene - scene.min())).astype(np.float32), noise, "rounded")


def resampled(scene: Array, random: Random, *, blurred: bool = True) -> Picture:
    """Noise on it, then enlarged, reduced, turned or shifted by parts of a pixel, which keeps sums.

    So noise and scene are resampled each for itself; what became of the noise is measured on it.

    Args:
        scene: contrast between 0 and 1.
        random: what is drawn from.
        blurred: whether some of the noise was blurred before.
    """
    scene = scene[:RESAMPLED_PX, :RESAMPLED_PX]
    sigma = float(np.exp(random.uniform(np.log(0.003), np.log(0.3))))
    fraction = random.uniform(0, 1) * random.choice((0.0, 1.0))
    colour = Colour.drawn(random, blurred=blurred and random.random() < 0.4)._replace(rows=0.0, columns=0.0)
    change = resampling(random)
    field = colour.field(random, scene.shape)
    variance = np.maximum(1 + 2 * fraction * (scene - 0.5), 0.02)
    image = change(scene) + change(sigma * np.sqrt(variance) * field)
    left = change(field)
    left = left[3:-3, 3:-3] - left[3:-3, 3:-3].mean()
    power = float(np.mean(left**2))
    x, y = (
        float(np.mean(one * other)) / power
        for one, other in ((left[:, 1:], left[:, :-1]), (left[1:], left[:-1]))
    )
    spread = sigma * power**0.5
    noise = NoiseProfile(level=0.5, sigma=spread, slope=2 * fraction * spread**2, corr_x=x, corr_y=y)
    if random.random() < 0.5:
        steps = 2.0 ** random.choice((*DEPTHS, 16)) - 1
        image = np.rint(steps * (0.1 + 0.8 * image))
        noise = noise.mapped(scale=0.8 * steps, offset=0.1 * steps)
        noise = replace(noise, sigma=(noise.sigma**2 + 1 / 12) ** 0.5)
    return Picture(image.astype(np.float32), noise, "resampled")


def resampling(random: Random) -> Curve:
    """Enlarging or reducing, turning, or shifting, linear or cubic; what the border lacks is left out."""
    order = int(random.choice((1, 1, 3)))
    kind = random.integers(4)
    if kind == 0:
        degrees = float(random.choice((random.uniform(-45, 45), random.uniform(-5, 5))))

        def turn(image: Array) -> Array:
            reach = int(np.ceil(min(image.shape) * 0.15))
            turned = ndimage.rotate(image, degrees, order=order, reshape=False, mode="reflect")
            return turned[reach:-reach, reach:-reach]

        return turn
    if kind == 1:
        shift = random.uniform(0, 1, 2)
        return lambda image: ndimage.shift(image, shift, order=order, mode="reflect")
    low, high = np.log(SCALES)
    common = (2.0, 2.0, 1.5, 3.0, 0.5)
    scale = (
        float(random.choice(common)) if random.random() < 0.5 else float(np.exp(random.uniform(low, high)))
    )
    scales = (scale, scale) if random.random() < 0.85 else (scale, 1.0)
    whole_px = bool(random.random() < 0.6)
    return lambda image: ndimage.zoom(image, scales, order=order, grid_mode=whole_px, mode="nearest")[
        :384, :384
    ]


def with_added_noise(scene: Array, random: Random, *, blurred: bool = True) -> Picture:
    """Noise of any strength, colour and dependence on signal; at times the ends of the scale are cut.

    Args:
        scene: contrast between 0 and 1.
        random: what is drawn from.
        blurred: whether some of it is blurred as by a screen.
    """
    sigma = float(np.exp(random.uniform(np.log(0.0007), np.log(0.4))))
    fraction = random.uniform(0, 1) * random.choice((0.0, 1.0, -0.3), p=(0.35, 0.55, 0.1))
    colour = Colour.drawn(random, blurred=blurred)
    variance = sigma**2 * np.maximum(1 + 2 * fraction * (scene - 0.5), 0.02)
    image = scene + np.sqrt(variance) * colour.field(random, scene.shape)
    if random.random() < ENDS_CUT:
        low, high = random.uniform(0, 0.15, 2)
        image = np.clip(image, *np.quantile(image, (low, 1 - high)))
    x, y = colour.correlations()
    noise = NoiseProfile(level=0.5, sigma=sigma, slope=2 * fraction * sigma**2, corr_x=x, corr_y=y)
    return Picture(image.astype(np.float32), noise, "noise added")


class Colour(NamedTuple):
    """Filters along both axes; variance of white noise, rows and columns beside that of what they filter."""

    along_x: Array
    along_y: Array
    white: float
    rows: float
    columns: float

    @classmethod
    def drawn(cls, random: Random, *, blurred: bool) -> Colour:
        kind = random.choice(KINDS, p=OFTEN if blurred else SHARP)
        along_x = along_y = np.ones(1)
        if kind in ("screen", "both"):
            along_x = along_y = bell(float(np.exp(random.uniform(np.log(0.3), np.log(2.2)))))
        if kind in ("line", "both"):
            along_x = np.convolve(along_x, line_taps(random.uniform(0.05, 0.8)))
        fractions = [
            float(np.exp(random.uniform(np.log(0.02), np.log(most)))) * (random.random() < often)
            for most, often in ((1, 0.4), (20, 0.15), (20, 0.1))
        ]
        return cls(along_x, along_y, *fractions)

    def field(self, random: Random, shape: tuple[int, int]) -> Array:
        """Noise (H, W) of variance 1."""
        height, width = shape
        noise = random.standard_normal(shape)
        for axis, taps in ((1, self.along_x), (0, self.along_y)):
            noise = ndimage.convolve1d(noise, taps / np.linalg.norm(taps), axis=axis, mode="wrap")
        noise = noise + self.white**0.5 * random.standard_normal(shape)
        noise += self.rows**0.5 * random.standard_normal((height, 1))
        noise += self.columns**0.5 * random.standard_normal((1, width))
        return noise / self._total() ** 0.5

    def correlations(self) -> tuple[float, float]:
        """At lag 1 along x and y."""
        x, y = lag_one(self.along_x), lag_one(self.along_y)
        return (x + self.rows) / self._total(), (y + self.columns) / self._total()

    def _total(self) -> float:
        return 1 + self.white + self.rows + self.columns


def bell(width_px: float) -> Array:
    reach = int(np.ceil(4 * width_px))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / width_px) ** 2)


def lag_one(taps: Array) -> float:
    """Autocorrelation at lag 1 of white noise behind a filter."""
    return float(taps[1:] @ taps[:-1] / (taps @ taps))
