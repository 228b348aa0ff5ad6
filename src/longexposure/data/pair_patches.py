"""What trainings take of pairs on disk: random patches, and whole images for validation."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from longexposure.data.pairs import LISTED, ImagePair, PairsConfig, PairsError
from longexposure.enhance.bad_pixels import BadPixels, find_bad_pixels
from longexposure.grey import GreyMap, measure_grey
from longexposure.io import read_finite
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.radiograph import Pixels

Sample = dict[str, torch.Tensor]
Unit = npt.NDArray[np.float32]

CACHE_BYTES = 512 * 2**20
"""Pixels in memory that each process keeps for the next patches."""


class PairPatches(torch.utils.data.Dataset[Sample]):
    """Random patches of pairs, turned and mirrored; item i is a function of (pairs, config, seed, i).

    Every pair is visited once before any is visited again. Both images of a pair go to the unit domain by
    the map measured on the whole short exposure, and so does what the network is told of the noise.

    Raises:
        PairsError: images smaller than a patch.
    """

    def __init__(self, pairs: Sequence[ImagePair], config: PairsConfig, *, seed: int) -> None:
        small = [f"{p.name}: {p.shape[0]} x {p.shape[1]} px" for p in pairs if min(p.shape) < config.patch_px]
        if small:
            raise PairsError(
                where=config.path,
                expected=f"images of at least data.patch_px = {config.patch_px} px",
                found=f"{len(small)} smaller: {'; '.join(small[:LISTED])}",
                advice="use smaller patches, or leave these pairs out with data.include",
                problems=small,
            )
        self.pairs, self.config, self.seed = tuple(pairs), config, seed
        self._images = _UnitPairs(self.pairs, target=config.target)
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Sample:
        number, size = self._pair_of(index), self.config.patch_px
        height, width = self.pairs[number].shape
        random = np.random.default_rng((self.seed, 1, index))
        y = int(random.integers(0, height - size + 1))
        x = int(random.integers(0, width - size + 1))
        noisy, target, profile = self._images.patch(number, (slice(y, y + size), slice(x, x + size)))
        transposed, mirrored, flipped = (bool(bit) for bit in random.integers(0, 2, 3))
        if transposed:
            profile = dataclasses.replace(profile, corr_x=profile.corr_y, corr_y=profile.corr_x)
            noisy, target = noisy.T, target.T
        turn = slice(None, None, -1 if flipped else 1), slice(None, None, -1 if mirrored else 1)
        return _sample(noisy[turn], target[turn], profile)

    def _pair_of(self, index: int) -> int:
        sweep, position = divmod(index, len(self.pairs))
        if self._order is None or self._order[0] != sweep:
            self._order = sweep, np.random.default_rng((self.seed, 0, sweep)).permutation(len(self.pairs))
        return int(self._order[1][position])


class PairImages(torch.utils.data.Dataset[Sample]):
    """Whole images of pairs, for validation; sizes may differ from one to the next."""

    def __init__(self, pairs: Sequence[ImagePair], config: PairsConfig) -> None:
        self.pairs = tuple(pairs)
        self._images = _UnitPairs(self.pairs, target=config.target)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.pairs):
            raise IndexError(index)
        height, width = self.pairs[index].shape
        return _sample(*self._images.patch(index, (slice(0, height), slice(0, width))))


class _UnitPairs:
    """Pieces of pairs in the unit domain; the latest pairs stay in memory, in the type they are stored in."""

    def __init__(self, pairs: Sequence[ImagePair], *, target: Literal["hq", "clean"]) -> None:
        self._pairs, self._target = pairs, target
        self._measured: dict[int, tuple[GreyMap, NoiseProfile, BadPixels]] = {}
        self._images: OrderedDict[int, tuple[Pixels, Pixels]] = OrderedDict()
        self._bytes = 0

    def patch(self, index: int, window: tuple[slice, slice]) -> tuple[Unit, Unit, NoiseProfile]:
        """Noisy and target in a window, the faulty pixels replaced as on the enhance path, and the noise."""
        short, better = self._load(index)
        grey, noise, bad = self._measured[index]
        noisy, inside = grey.to_unit(short[window]), bad.within(window)
        noisy[inside.y, inside.x] = grey.to_unit(inside.value)
        return noisy, grey.to_unit(better[window]), noise.mapped(scale=grey.scale, offset=grey.offset)

    def _load(self, index: int) -> tuple[Pixels, Pixels]:
        """Both images of a pair as stored, measured when they are read for the first time."""
        if index not in self._images:
            pair = self._pairs[index]
            short = read_finite(pair.lq).pixels
            if index not in self._measured:
                noise = estimate_noise(short)
                self._measured[index] = measure_grey(short), noise, find_bad_pixels(short, noise)
            better = pair.clean if self._target == "clean" and pair.clean is not None else pair.hq
            self._images[index] = short, read_finite(better).pixels
            self._bytes += sum(image.nbytes for image in self._images[index])
        self._images.move_to_end(index)
        images = self._images[index]
        while self._bytes > CACHE_BYTES:
            _, dropped = self._images.popitem(last=False)
            self._bytes -= sum(image.nbytes for image in dropped)
        return images


def _sample(noisy: Unit, target: Unit, profile: NoiseProfile) -> Sample:
    noise_condition = torch.from_numpy(profile.noise_condition())
    return {
        "noisy": torch.from_numpy(np.array(noisy, dtype=np.float32, order="C"))[None],
        "target": torch.from_numpy(np.array(target, dtype=np.float32, order="C"))[None],
        "noise_condition": noise_condition,
        "sigma": noise_condition[0].clone(),
    }
