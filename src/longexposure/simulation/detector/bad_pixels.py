"""Faults of a panel: pixels that are dead, hot or noisy, broken lines, and what interpolates them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from longexposure.simulation.recipe import RecipeTable, refused

DEAD, HOT, NOISY, LINE = 1, 2, 3, 4
"""Kinds of bad pixels; LINE is a dead one of a broken line."""


class BadPixelConfig(RecipeTable):
    """Bad pixels of one panel, none by default.

    A real one, of PerkinElmer with 2000 x 2000 px (map of the DetectorChecker project), had 212 lone ones, 26
    small groups, 17 broken lines and 8 groups of 6 to 230 px at its edge.

    Attributes:
        single: lone bad pixels, as a fraction of all.
        small: groups of 2 to 4 neighbours, as a fraction of all pixels.
        lines: fraction of the half columns that have a broken data line. Columns are read out at the upper
            and the lower edge; a broken one is dead from the break to the middle of the panel.
        edge_groups: groups of tens to hundreds of pixels per pixel of the panel's rim, where they lie.
        hot: fraction of the faults, lines apart, that are too bright.
        noisy: fraction that are too noisy; the others are dead. hot + noisy is 1 at most.
        hot_level: mean excess of hot pixels as a fraction of the open beam's grey.
        noisy_level: standard deviation of noisy pixels in the reference exposure, as such a fraction.
        interpolated: known bad pixels are replaced from their nearest good neighbours.
        unmapped: fraction of the bad pixels, lines apart, that the panel's map does not know, so that they
            show.
    """

    single: float = Field(default=0.0, ge=0, le=0.1)
    small: float = Field(default=0.0, ge=0, le=0.1)
    lines: float = Field(default=0.0, ge=0, le=0.5)
    edge_groups: float = Field(default=0.0, ge=0, le=0.1)
    hot: float = Field(default=0.4, ge=0, le=1)
    noisy: float = Field(default=0.2, ge=0, le=1)
    hot_level: float = Field(default=0.3, ge=0, le=10)
    noisy_level: float = Field(default=0.05, ge=0, le=10)
    interpolated: bool = False
    unmapped: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _kinds_fit_together(self) -> Self:
        if self.hot + self.noisy > 1:
            found = f"{self.hot:g} + {self.noisy:g}"
            raise refused("panel.bad", "hot + noisy of 1 at most", found, "lower one of them")
        return self

    @property
    def any(self) -> bool:
        """Whether there are bad pixels at all."""
        return max(self.single, self.small, self.lines, self.edge_groups) > 0


def draw_bad_pixels(
    config: BadPixelConfig, shape: tuple[int, ...], random: np.random.Generator
) -> npt.NDArray[np.int8]:
    """Faults of one panel (H, W): 0 for good pixels, else DEAD, HOT, NOISY or LINE."""

    def kind() -> int:
        drawn = random.random()
        return HOT if drawn < config.hot else NOISY if drawn < config.hot + config.noisy else DEAD

    height, width = shape
    kinds = np.zeros(shape, np.int8)
    # Walks over 1 pixel, or over 2 to 4; the more, the rarer.
    for fraction, largest in ((config.single, 1), (config.small, 4)):
        for _ in range(int(random.poisson(fraction * height * width))):
            y, x = int(random.integers(height)), int(random.integers(width))
            fault = kind()
            for _ in range(1 if largest == 1 else int(random.choice((2, 3, 4), p=(0.69, 0.27, 0.04)))):
                kinds[y, x] = fault
                y, x = min(y + int(random.integers(2)), height - 1), min(x + 1, width - 1)
    # Half ellipses of 6 to some hundred pixels at the four edges.
    for _ in range(int(random.poisson(config.edge_groups * 2 * (height + width)))):
        sides = kinds if random.random() < 0.5 else kinds.T
        rows = sides if random.random() < 0.5 else sides[::-1]
        area = float(np.clip(np.exp(random.normal(np.log(15), 1.2)), 6, 400))
        deep = np.sqrt(area / np.pi)
        middle = random.uniform(0, rows.shape[1])
        near = rows[: int(deep) + 1]
        y_of, x_of = np.ogrid[: near.shape[0], : near.shape[1]]
        near[(y_of / deep) ** 2 + ((x_of - middle) / (2 * deep)) ** 2 < 1] = kind()
    for column in np.flatnonzero(random.random(2 * width) < config.lines):
        reach = int(random.integers(1, height // 2 + 1))
        start = height // 2 - (reach if column < width else 0)
        kinds[start : start + reach, column % width] = LINE
    return kinds


def good_neighbours(
    bad: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]:
    """For each of K bad pixels the nearest good ones to the left, right, up and down.

    Returns:
        Flat indices (K,) of the bad pixels, (K, 4) of their neighbours, and weights (K, 4), which fall with
        the distance squared and add up to 1 (to 0 where no neighbour is good).
    """
    at = np.nonzero(bad)
    index = np.ravel_multi_index(at, bad.shape)
    near, weight = [], []
    for axis, stride in ((-1, 1), (-2, bad.shape[-1])):
        length = bad.shape[axis]
        place = np.arange(length) if axis == -1 else np.arange(length)[:, None]
        before = np.maximum.accumulate(np.where(bad, -1, place), axis)[at]
        after = np.flip(np.minimum.accumulate(np.flip(np.where(bad, length, place), axis), axis), axis)[at]
        for found in (before, after):
            good = (found >= 0) & (found < length)
            away = found - at[axis]
            near.append(np.where(good, index + away * stride, index))
            weight.append(np.where(good, 1.0 / np.maximum(np.abs(away), 1) ** 2, 0.0))
    weights = np.stack(weight, -1)
    total = np.maximum(weights.sum(-1, keepdims=True), 1e-20)
    return index, np.stack(near, -1), weights / total
