"""Random draws of builders: numbers, choices, angles, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from longexposure.simulation.geometry.view import View

Random = np.random.Generator
_Choice = TypeVar("_Choice")


def uniform(random: Random, low: float, high: float) -> float:
    """Uniform between two numbers."""
    return float(random.uniform(low, high))


def log_uniform(random: Random, low: float, high: float) -> float:
    """Log-uniform between two positive numbers; the lower one where they are in the wrong order."""
    return float(low * (max(high, low) / low) ** random.random())


def bernoulli(random: Random, fraction: float) -> bool:
    """True for this fraction of the draws."""
    return bool(random.random() < fraction)


def integer(random: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(random.integers(low, high + 1))


def choice(random: Random, choices: Sequence[_Choice]) -> _Choice:
    """One of the choices, all alike."""
    return choices[int(random.integers(len(choices)))]


def part_angle_deg(random: Random) -> float:
    """Along the axes, near them, at 45 degrees, or anything: parts as they come to lie below the source."""
    kind = random.random()
    if kind < 0.35:
        return float(90 * random.integers(4) + 1.5 * random.standard_normal())
    if kind < 0.5:
        return float(45 * random.integers(8))
    return uniform(random, 0.0, 360.0)


def resolved_um(random: Random, view: View, *, um: tuple[float, float], px: tuple[float, float]) -> float:
    """A real size between the two of `um`, log-uniform, of those that look as large as `px` where there are.

    The real range wins: where the view shows none of it at such a size, the nearest end is drawn.
    """
    low, high = (float(np.clip(size * view.pixel_um, *um)) for size in px)
    return log_uniform(random, low, high)
