"""Patterns under the noise of a machine, of the kinds where networks draw things of their own.

Some patches show something else in place of the part: flat ground and gentle slopes, fine regular lines,
foam, leaves that cover each other, lettering. The noise stays that of the exposure, scaled at each place as
its profile says, so that it has the machine's own colour. Others show what `enhance` puts in the place of
areas and faulty pixels before a network sees them, or the part as a viewer exports it: 8 bits of a logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field, model_validator
from scipy import ndimage

from longexposure.noise import NoiseProfile
from longexposure.simulation.recipe import RecipeTable

Random = np.random.Generator
Pattern = npt.NDArray[np.float32]
Fraction = Annotated[float, Field(ge=0, le=1)]

FADES_PX = 20
"""From the border of a filled area on, noise and detail are gone after so many pixels, as `enhance` fills."""
MOST_GAIN = 4.0
"""Noise is scaled by at most so much, up or down, where a pattern is brighter or darker than the part was."""

GREY_STEPS = 255
"""Of 8 bits."""
STEEPEST = 0.3
"""A logarithm bends by at most so much over the noise at the dark end: more would change the noise's mean."""


class PatternsConfig(RecipeTable):
    """Fractions of the training patches that show a pattern in place of the part; the others show the part.

    Attributes:
        flat: flat ground, gentle slopes and large smooth bodies.
        lines: the part with a field of fine regular lines on it, 0.5 to 3 times as strong as the noise.
        foam: shells of random size that fill the patch, and filtered noise.
        leaves: discs and rectangles that cover each other (Lee, Mumford and Huang, 2001).
        text: the part with lettering burnt in, free of noise.
        filled: the part with an area set aside, in whose place its smooth continuation stands.
        repaired: the part with faulty pixels and lines that were filled from their neighbours.
        logarithm: the part in 8 bits behind a logarithm, whose noise is strongest in the dark.
    """

    flat: Fraction = 0.0
    lines: Fraction = 0.0
    foam: Fraction = 0.0
    leaves: Fraction = 0.0
    text: Fraction = 0.0
    filled: Fraction = 0.0
    repaired: Fraction = 0.0
    logarithm: Fraction = 0.0

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return sum(self.model_dump().values()) > 0

    @model_validator(mode="after")
    def _at_most_all(self) -> PatternsConfig:
        if sum(self.model_dump().values()) > 1:
            raise ValueError("fractions that add up to at most 1")
        return self


def with_pattern(
    noisy: Pattern, target: Pattern, noise: NoiseProfile, random: Random, config: PatternsConfig
) -> tuple[Pattern, Pattern, NoiseProfile]:
    """A patch (H, W), its target and profile, in the unit domain, with a pattern where the dice give one.

    Args:
        noisy: the exposure.
        target: its expectation, whose difference from it is the noise that is kept.
        noise: the true profile.
        random: of all that is drawn.
        config: how often which pattern comes.
    """
    fractions = config.model_dump()
    place = int(np.searchsorted(np.cumsum(list(fractions.values())), random.random(), side="right"))
    if place == len(fractions):
        return noisy, target, noise
    kind = list(fractions)[place]
    if kind == "text":
        drawn, covered = lettering(target, random)
        return np.where(covered, drawn, noisy), np.where(covered, drawn, target), noise
    if kind == "filled":
        smooth, depth = ndimage.gaussian_filter(target, 8), _inside(target.shape, random)
        inside = (depth / FADES_PX).clip(0, 1)
        return noisy + inside * (smooth - noisy), target + inside * (smooth - target), noise
    if kind == "repaired":
        return repaired(noisy, random), target, noise
    if kind == "logarithm":
        return behind_logarithm(noisy, target, noise, random)
    sigma = max(float(noise.variance(target.mean())) ** 0.5, 1e-4)
    pattern = PATTERNS[kind](target, sigma, random).astype(np.float32)
    before, after = noise.variance(target), noise.variance(pattern)
    gain = np.sqrt(np.maximum(after, 1e-12) / np.maximum(before, 1e-12)).clip(1 / MOST_GAIN, MOST_GAIN)
    return (pattern + gain * (noisy - target)).astype(np.float32), pattern, noise


def ground(target: Pattern, sigma: float, random: Random) -> Pattern:
    """Flat, sloping by up to 0.4 sigma a pixel, or with large smooth bodies; at any brightness."""
    height, width = target.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    level = np.full(target.shape, random.uniform(0.02, 0.98), np.float32)
    kind = int(random.integers(3))
    if kind >= 1:
        angle, slope = random.uniform(0, 2 * np.pi), sigma * 0.4 * random.random() ** 2
        level += slope * (np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2))
    if kind == 2:
        for _ in range(int(random.integers(1, 5))):
            reach = random.uniform(15, 80)
            away = (x - random.uniform(0, width)) ** 2 + (y - random.uniform(0, height)) ** 2
            level += sigma * random.uniform(-12, 12) * np.exp(-away / (2 * reach**2))
    return level


def lines(target: Pattern, sigma: float, random: Random) -> Pattern:
    """The part, or ground, with a field of lines of 2.2 to 7 px period; half of them along an axis."""
    base = target if random.random() < 0.5 else ground(target, sigma, random)
    y, x = np.mgrid[: target.shape[0], : target.shape[1]].astype(np.float32)
    angle = random.uniform(0, np.pi) if random.random() < 0.5 else np.pi / 2 * int(random.integers(2))
    period, duty = random.uniform(2.2, 7.0), random.uniform(0.35, 0.65)
    phase = ((np.cos(angle) * x + np.sin(angle) * y) / period + random.random()) % 1.0
    edge = random.uniform(0.3, 1.0) / period
    profile = np.clip((0.5 * duty - np.abs(phase - 0.5)) / edge + 0.5, 0, 1)
    contrast = sigma * 0.5 * 6.0 ** random.random() * random.choice((-1.0, 1.0))
    top, left = (int(random.integers(0, max(side // 2, 1))) for side in target.shape)
    field = np.zeros(target.shape, np.float32)
    field[top : top + int(random.integers(40, 120)), left : left + int(random.integers(40, 120))] = 1
    return base + contrast * field * (profile - profile.mean())


def foam(target: Pattern, sigma: float, random: Random) -> Pattern:
    """Shells of random size, or noise under a random low-pass, some sigma strong."""
    height, width = target.shape
    if random.random() < 0.5:
        texture = ndimage.gaussian_filter(random.standard_normal(target.shape), random.uniform(0.8, 4))
    else:
        texture = np.zeros(target.shape)
        for _ in range(int(height * width / random.uniform(60, 200))):
            radius, wall = random.exponential(random.uniform(4, 12)) + 3, random.uniform(0.7, 2.5)
            row, column = random.uniform(-20, height + 20), random.uniform(-20, width + 20)
            around = slice(max(int(row - radius - 3), 0), int(row + radius + 4))
            across = slice(max(int(column - radius - 3), 0), int(column + radius + 4))
            piece = texture[around, across]
            if piece.size:
                y, x = np.ogrid[
                    around.start : around.start + piece.shape[0], across.start : across.start + piece.shape[1]
                ]
                away = (y - row) ** 2 + (x - column) ** 2
                outer, inner = ((radius + wall) ** 2 - away).clip(0), (radius**2 - away).clip(0)
                piece += np.sqrt(outer) - np.sqrt(inner)
        texture = ndimage.gaussian_filter(texture, random.uniform(0.5, 1.2))
    texture = (texture - texture.mean()) / max(float(texture.std()), 1e-6)
    return random.uniform(0.2, 0.8) + sigma * float(np.exp(random.uniform(-0.7, 2.0))) * texture


def leaves(target: Pattern, sigma: float, random: Random) -> Pattern:
    """Discs and rectangles whose sizes follow an inverse cube, the last on top."""
    height, width = target.shape
    y, x = np.ogrid[:height, :width]
    image = np.full(target.shape, random.uniform(0, 1), np.float32)
    smallest, largest = random.uniform(2, 14), 0.7 * max(height, width)
    spread = random.uniform(0.05, 0.35)
    centre = random.uniform(0.2, 0.8)
    for _ in range(int(random.integers(60, 240))):
        size = (smallest**-2 - random.random() * (smallest**-2 - largest**-2)) ** -0.5
        row, column = random.uniform(0, height), random.uniform(0, width)
        value = random.normal(centre, spread)
        if random.random() < 0.5:
            image[(y - row) ** 2 + (x - column) ** 2 < size**2 / 4] = value
        else:
            high, wide = size * random.uniform(0.2, 1), size * random.uniform(0.2, 1)
            image[
                max(int(row - high / 2), 0) : int(row + high / 2) + 1,
                max(int(column - wide / 2), 0) : int(column + wide / 2) + 1,
            ] = value
    return ndimage.gaussian_filter(image.clip(0, 1), random.uniform(0.4, 1.5))


def lettering(target: Pattern, random: Random) -> tuple[Pattern, npt.NDArray[np.bool_]]:
    """Letters in one grey value, and where they are."""
    height, width = target.shape
    page = Image.new("L", (width, height))
    draw = ImageDraw.Draw(page)
    for _ in range(int(random.integers(1, 6))):
        letters = random.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij0123456789.:i-_/+"), 8)
        font = ImageFont.load_default(size=float(random.uniform(8, 26)))
        place = (float(random.uniform(-10, width - 20)), float(random.uniform(-5, height - 10)))
        draw.text(place, "".join(letters), fill=255, font=font)
    covered = np.asarray(page) > 127
    value = random.choice((float(target.max()), float(target.min()), 0.0, 1.0, 1.2))
    return np.full(target.shape, value, np.float32), covered


def _inside(shape: tuple[int, ...], random: Random) -> Pattern:
    """How deep each pixel (H, W) lies in an area, px: beyond a straight border, or in a rectangle."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if random.random() < 0.5:
        angle, where = random.uniform(0, 2 * np.pi), random.uniform(-0.1, 0.5) * max(shape)
        away = np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2) - where
    else:
        row, column = random.uniform(0, height), random.uniform(0, width)
        high, wide = random.uniform(8, 0.5 * height), random.uniform(8, 0.5 * width)
        away = np.minimum(high / 2 - np.abs(y - row), wide / 2 - np.abs(x - column))
    return away.clip(0).astype(np.float32)


def repaired(noisy: Pattern, random: Random) -> Pattern:
    """The exposure with pixels, clusters and lines filled in from their neighbours."""
    faulty = random.random(noisy.shape) < 10 ** random.uniform(-4, -2)
    if random.random() < 0.3:
        faulty |= ndimage.binary_dilation(random.random(noisy.shape) < 1e-4, np.ones((4, 4)))
    for axis in (0, 1):
        if random.random() < 0.4:
            first, width = int(random.integers(noisy.shape[axis])), int(random.integers(1, 4))
            faulty[(slice(None),) * axis + (slice(first, first + width),)] = True
    known = (~faulty).astype(np.float32)
    weight = ndimage.gaussian_filter(known, 1.0, truncate=3)
    around = ndimage.gaussian_filter(noisy * known, 1.0, truncate=3) / np.maximum(weight, 1e-6)
    return np.where(faulty, around, noisy)


def behind_logarithm(
    noisy: Pattern, target: Pattern, noise: NoiseProfile, random: Random
) -> tuple[Pattern, Pattern, NoiseProfile]:
    """What a viewer exports: log(1 + k t) / log(1 + k), in steps of 8 bits.

    The profile is the line through the noise at 0.3 and 0.7, rounding and all, with the deviation at 0.5.
    """
    faint = float(noise.variance(np.quantile(target, 0.02))) ** 0.5
    steep = min(float(np.exp(random.uniform(np.log(2), np.log(300)))), STEEPEST / max(faint, 1e-3))

    def shown(linear: Pattern) -> Pattern:
        return np.log1p(np.maximum(steep * linear, -0.5)) / np.float32(np.log1p(steep))

    at = np.array([0.3, 0.5, 0.7])
    before = np.expm1(at * np.log1p(steep)) / steep
    contrast = steep / ((1 + steep * before) * np.log1p(steep))
    seen = noise.variance(before) * contrast**2
    variance = seen + 1 / (12 * GREY_STEPS**2)
    kept = float(seen[1] / variance[1])
    profile = replace(
        noise,
        level=0.5,
        sigma=float(variance[1]) ** 0.5,
        slope=float(variance[2] - variance[0]) / 0.4,
        corr_x=noise.corr_x * kept,
        corr_y=noise.corr_y * kept,
        curve=(),
    )
    rounded = (np.rint(GREY_STEPS * shown(noisy)) / GREY_STEPS).astype(np.float32)
    return rounded, shown(target), profile


PATTERNS: dict[str, Callable[[Pattern, float, Random], Pattern]] = {
    "flat": ground,
    "lines": lines,
    "foam": foam,
    "leaves": leaves,
}
"""What makes each pattern of a target, the noise's standard deviation and a stream."""
