"""Splits: which pairs train, which are held out, declared or drawn by a seed, whole objects at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from longexposure.data.listing import Split

TEST_FRACTION = {"S1": 0.2, "S2": 0.1, "S3": 0.2}
"""Fraction of the test pairs of each machine type in the paper: 427 of 2135, 200 of 2000, 208 of 1040."""
OTHER_FRACTION = 0.2
"""Fraction of the test pairs of a machine type that the paper does not know."""


class HasSplit(Protocol):
    @property
    def machine(self) -> str: ...
    @property
    def split(self) -> Split | None: ...
    @property
    def object(self) -> str: ...


Splittable = TypeVar("Splittable", bound=HasSplit)


def draw_groups(groups: Sequence[str], fraction: float, *, seed: int) -> set[int]:
    """Indices of about this fraction of the members, whole groups only, at least one group on either side.

    Args:
        groups: the group of each member.
        fraction: 0..1.
        seed: equal seeds and groups give equal draws.

    Raises:
        ValueError: fewer than two groups.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < 2:
        raise ValueError("fewer than two groups cannot be split")
    wanted = max(round(fraction * len(groups)), 1)
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    sizes = [len(found) for found in members.values()]
    drawn: list[int] = []
    have = 0
    for group in order[:-1]:
        if not drawn or abs(have + sizes[group] - wanted) < abs(have - wanted):
            drawn.append(group)
            have += sizes[group]
    found = list(members.values())
    return {index for group in drawn for index in found[group]}


def partition(pairs: Iterable[Splittable], *, seed: int = 0) -> dict[Split, tuple[Splittable, ...]]:
    """Every pair in one split: as declared, or drawn where a machine type declares none.

    Where a machine type declares no split at all, `TEST_FRACTION` of its pairs are drawn for the test by the
    seed, whole objects at a time; undeclared pairs beside declared ones train. A machine type of one
    object cannot be tested and trains.

    Returns:
        "train", "val" and "test" with their pairs, possibly none, in the order given.
    """
    pairs = list(pairs)
    declared = {pair.machine for pair in pairs if pair.split is not None}
    placed: dict[int, Split] = {index: pair.split or "train" for index, pair in enumerate(pairs)}
    for machine in sorted({pair.machine for pair in pairs} - declared):
        own = [index for index, pair in enumerate(pairs) if pair.machine == machine]
        groups = [pairs[index].object for index in own]
        if len(set(groups)) > 1:
            drawn = draw_groups(groups, TEST_FRACTION.get(machine, OTHER_FRACTION), seed=seed)
            placed.update({own[index]: "test" for index in drawn})
    names: tuple[Split, ...] = ("train", "val", "test")
    return {name: tuple(pair for index, pair in enumerate(pairs) if placed[index] == name) for name in names}
