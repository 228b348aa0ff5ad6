"""The noise of a set of pairs: which pairs are analysed, one at a time in memory, and what sorts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from longexposure.data.listing import Listed, list_pairs
from longexposure.data.pairs import enhanced_parts
from longexposure.data.registration import fit_gain
from longexposure.errors import InputError, LongExposureError
from longexposure.grey import evenly_sampled
from longexposure.io import read_finite
from longexposure.noise.pair_statistics import BLOCKS, LEVELS, PairStatistics, SetAnalysis, SignalBins
from longexposure.noise.separation import PairedBlocks, flatter_half_noise, paired_blocks
from longexposure.radiograph import Pixels

PAIRS = 100
"""Pairs of each machine type that are analysed, as many as in the paper's Fig. 2."""
FIRST_PAIRS = 8
"""Pairs that set the bins before all are gathered."""
PATCHES_PX = (128, 64, 32, 16)
LQ_WEIGHT = 0.05
"""Weight of the short exposure in the signal where its noise cannot be measured."""

Numbers = npt.NDArray[np.float64]


def analyse_noise(
    path: Path,
    *,
    pairs: int = PAIRS,
    include: Sequence[str] = ("*",),
    on_pair: Callable[[int, int, str], None] | None = None,
) -> SetAnalysis:
    """Analyse HQ - LQ of every machine type of a set.

    Args:
        path: folder of pairs or manifest, see `longexposure.data.listing.list_pairs`.
        pairs: most pairs of each machine type, evenly spread over their names.
        include: patterns of the pairs to take.
        on_pair: called after each pair with the number done, the number of all, and its name.

    Raises:
        InputError: no pair that can be read, or a manifest that cannot.
    """
    listing = list_pairs(path, include=include)
    left_out = {problem.name: problem.text for problem in listing.problems}
    members: dict[str, list[Listed]] = {}
    for pair in listing.pairs:
        members.setdefault(pair.machine, []).append(pair)
    chosen = {machine: _evenly_spread(members[machine], pairs) for machine in sorted(members)}
    total, done = sum(map(len, chosen.values())), 0
    found = []
    for machine, some in chosen.items():
        statistics = PairStatistics(_signal_bins(_evenly_spread(some, FIRST_PAIRS), left_out))
        for pair in some:
            images = _read(pair, left_out)
            if images is not None:
                statistics.add(*images)
            done += 1
            if on_pair is not None:
                on_pair(done, total, pair.name)
        if statistics.pairs:
            found.append(statistics.result(machine, of_pairs=len(members[machine])))
    if not found:
        some_reasons = "; ".join(list(left_out.values())[:3])
        raise InputError(
            where=str(path),
            expected="pairs of readable images of one size in folders LQ and HQ",
            found=f"none that can be used: {some_reasons}" if some_reasons else "no pairs",
            advice="`longexposure check-pairs` lists everything that is wrong",
        )
    words = ", ".join(f"{noise.pairs} of {noise.of_pairs} pairs of {noise.machine}" for noise in found)
    sampled = f"{words}, evenly spread, all their pixels; variance against signal from {BLOCKS} blocks each"
    return SetAnalysis(str(path), tuple(found), sampled, left_out)


def _evenly_spread(pairs: Sequence[Listed], count: int) -> list[Listed]:
    """At most so many, from the first to the last."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[index] for index in np.linspace(0, len(pairs) - 1, count).round().astype(int)]


def _read(pair: Listed, left_out: dict[str, str]) -> tuple[Pixels, Pixels] | None:
    """Both images of a pair; why they cannot be used goes to `left_out`."""
    if pair.name in left_out:
        return None
    try:
        images = [read_finite(file) for file in (pair.lq, pair.hq)]
    except LongExposureError as error:
        left_out[pair.name] = str(error)
        return None
    if enhanced := enhanced_parts(dict(zip(("LQ", "HQ"), images, strict=True))):
        left_out[pair.name] = f"{pair.name}: enhanced before: {enhanced}"
        return None
    lq, hq = (image.pixels for image in images)
    if lq.ndim != 2 or lq.shape != hq.shape or lq.dtype != hq.dtype:
        left_out[pair.name] = f"{pair.name}: sizes or types differ, or several images in one file"
        return None
    return lq, hq


def _signal_bins(pairs: Sequence[Listed], left_out: dict[str, str]) -> SignalBins:
    """Bins of about equal content, and the weights under which signal and difference share no noise."""
    blocks: list[PairedBlocks] = []
    samples: list[tuple[Numbers, Numbers]] = []
    side, whole = 2 * PATCHES_PX[0], True
    for pair in pairs:
        images = _read(pair, left_out)
        if images is None:
            continue
        lq, hq = (evenly_sampled(image, 1 << 16).astype(np.float64).ravel() for image in images)
        samples.append((lq, hq))
        blocks.append(paired_blocks(*images))
        side = min(side, *images[0].shape)
        whole &= images[0].dtype.kind == "u"
    patch = next((size for size in PATCHES_PX if 2 * size <= side), PATCHES_PX[-1])
    if not samples:
        return SignalBins(np.zeros(0), 0.5, None, 1.0, patch)
    gains = [found.gain for each in blocks if (found := fit_gain(each)) is not None]
    gain, weight = float(np.median(gains)) if gains else None, LQ_WEIGHT
    together = PairedBlocks.concatenated(blocks)
    if gain is not None and gain > 0 and len(together):
        _, *noises = flatter_half_noise(together, gain=gain)
        noise_lq, noise_hq = (max(float(np.median(noise)), 0.0) for noise in noises)
        weight = noise_hq / (noise_lq + noise_hq) if noise_lq + noise_hq > 0 else LQ_WEIGHT
    signal = np.concatenate([weight * lq + (1 - weight) * hq for lq, hq in samples])
    edges = np.unique(np.quantile(signal, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    spread = float(np.concatenate([hq - lq for lq, hq in samples]).std())
    return SignalBins(edges, weight, gain, 1.0 if whole else spread / 256 or 1.0, patch)
