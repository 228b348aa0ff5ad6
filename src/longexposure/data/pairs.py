"""Pairs on disk: short and long exposures of the same scenes, in folders `LQ` and `HQ` side by side."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from longexposure.defects import Defects, find_defects
from longexposure.errors import InputError, LongExposureError
from longexposure.grey import GreyMap, measure_grey
from longexposure.io import read_radiograph
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.radiograph import Pixels

Sample = dict[str, torch.Tensor]
Unit = npt.NDArray[np.float32]

LISTED = 20
"""Problems that the one line of an error names; all of them are in `PairsError.problems`."""
NOT_IMAGES = frozenset((".json", ".txt", ".md", ".csv", ".xml", ".ini", ".db", ".html"))
"""Suffixes of the notes that lie beside images; every other file in an LQ or HQ folder must be an image."""
CACHE_BYTES = 512 * 2**20
"""Pixels in memory that each process keeps for the next patches."""


class PairsConfig(BaseModel):
    """Pairs of short and long exposures in folders.

    Attributes:
        path: folder that holds `LQ` and `HQ`, itself or at any depth (`S1/train/LQ/a.tif`).
        include: patterns of the pairs to take, such as "*/train/*"; a pair is named by its path
            without the LQ folder and the suffix, `S1/train/a`.
        patch_px: side of a training patch.
        held_out: share of the pairs that is kept for validation.
        target: what to train towards: the long exposure, or the clean image in a folder `clean`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pairs"] = "pairs"
    path: str = Field(min_length=1)
    include: tuple[str, ...] = ("*",)
    patch_px: int = Field(default=160, ge=16, le=4096)
    held_out: float = Field(default=0.1, gt=0, lt=1, allow_inf_nan=False)
    target: Literal["hq", "clean"] = "hq"


class PairsError(InputError):
    """A folder of pairs that cannot be used; `problems` holds everything that is wrong with it."""

    def __init__(
        self, *, where: str, expected: str, found: str, advice: str, problems: Sequence[str] = ()
    ) -> None:
        super().__init__(where=where, expected=expected, found=found, advice=advice)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[object, ...]:
        make = functools.partial(
            PairsError, where=self.where, expected=self.expected, found=self.found, advice=self.advice
        )
        return functools.partial(make, problems=self.problems), ()


@dataclass(frozen=True)
class Pair:
    """The files of one scene.

    Attributes:
        name: path below the folder of pairs, without the LQ folder and the suffix.
        lq: short exposure.
        hq: long exposure.
        clean: image without noise, where there is one.
        shape: (H, W) of all of them.
        dtype: grey-value type of all of them.
    """

    name: str
    lq: Path
    hq: Path
    clean: Path | None
    shape: tuple[int, int]
    dtype: str


class PairedFolder:
    """All pairs below a folder, each of them checked: one that exists is sound.

    Files are matched by their path below LQ and HQ; upper and lower case of those two names and the
    suffixes of the files do not matter. Folders `clean` beside them are taken where they exist.

    Args:
        path: see `PairsConfig.path`.
        include: see `PairsConfig.include`.
        clean: whether each pair must have a clean image.

    Raises:
        PairsError: no pairs; a name without its partner; two files of one name; a file that cannot be
            read or holds several images; sizes or types that differ. All problems are reported at once.
    """

    def __init__(self, path: Path, *, include: Sequence[str] = ("*",), clean: bool = False) -> None:
        self.path = Path(path)
        problems: list[str] = []
        found = list(_match(self.path, include, problems))
        if not found and not problems:
            raise PairsError(
                where=str(path),
                expected="folders LQ and HQ with images of equal names",
                found="no folder of that name" if not self.path.is_dir() else "no pairs",
                advice="put short exposures in .../LQ/name and long ones in .../HQ/name",
            )
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            checked = list(pool.map(lambda files: _checked(*files, clean=clean), found))
        self.pairs = tuple(pair for pair, _ in checked if pair is not None)
        problems += [problem for _, some in checked for problem in some]
        if problems:
            listed = "; ".join(problems[:LISTED])
            more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
            raise PairsError(
                where=str(path),
                expected="images that pair up, readable and of equal size",
                found=f"{len(problems)} problem(s): {listed}{more}",
                advice="correct or move these files, nothing was left out silently",
                problems=problems,
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def split(self, held_out: float, *, seed: int) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        """Training and held-out pairs, at least one of each, drawn by the seed, in the order of names.

        Raises:
            PairsError: fewer than two pairs.
        """
        count = len(self.pairs)
        if count < 2:
            raise PairsError(
                where=str(self.path),
                expected="at least two pairs, one to train on and one to hold out",
                found=f"{count}",
                advice="add pairs; cutting one image in two also works",
            )
        held = min(max(round(held_out * count), 1), count - 1)
        chosen = set(np.random.default_rng(seed).permutation(count)[:held].tolist())
        return (
            tuple(pair for index, pair in enumerate(self.pairs) if index not in chosen),
            tuple(pair for index, pair in enumerate(self.pairs) if index in chosen),
        )


class PairPatches(torch.utils.data.Dataset[Sample]):
    """Random patches of pairs, turned and mirrored; item i is a function of (pairs, config, seed, i).

    Every pair is visited once before any is visited again. Both images of a pair go to the unit domain by
    the map measured on the whole short exposure, and so does what the network is told of the noise.

    Raises:
        PairsError: images smaller than a patch.
    """

    def __init__(self, pairs: Sequence[Pair], config: PairsConfig, *, seed: int) -> None:
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
        noisy, target, profile = self._images[self._pair_of(index)]
        random = np.random.default_rng((self.seed, 1, index))
        size = self.config.patch_px
        y = int(random.integers(0, noisy.shape[0] - size + 1))
        x = int(random.integers(0, noisy.shape[1] - size + 1))
        transposed, mirrored, flipped = (bool(bit) for bit in random.integers(0, 2, 3))
        if transposed:
            profile = dataclasses.replace(profile, corr_x=profile.corr_y, corr_y=profile.corr_x)
        noisy, target = (
            _turned(image[y : y + size, x : x + size], transposed, mirrored, flipped)
            for image in (noisy, target)
        )
        return _sample(noisy, target, profile)

    def _pair_of(self, index: int) -> int:
        sweep, position = divmod(index, len(self.pairs))
        if self._order is None or self._order[0] != sweep:
            self._order = sweep, np.random.default_rng((self.seed, 0, sweep)).permutation(len(self.pairs))
        return int(self._order[1][position])


class PairImages(torch.utils.data.Dataset[Sample]):
    """Whole images of pairs, for validation; sizes may differ from one to the next."""

    def __init__(self, pairs: Sequence[Pair], config: PairsConfig) -> None:
        self.pairs = tuple(pairs)
        self._images = _UnitPairs(self.pairs, target=config.target)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.pairs):
            raise IndexError(index)
        return _sample(*self._images[index])


class _UnitPairs:
    """Pairs in the unit domain: noisy, target and noise profile; the latest stay in memory."""

    def __init__(self, pairs: Sequence[Pair], *, target: Literal["hq", "clean"]) -> None:
        self._pairs, self._target = pairs, target
        self._measured: dict[int, tuple[GreyMap, NoiseProfile, Defects]] = {}
        self._images: OrderedDict[int, tuple[Unit, Unit]] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, index: int) -> tuple[Unit, Unit, NoiseProfile]:
        if index not in self._images:
            self._images[index] = self._load(index)
            self._bytes += sum(image.nbytes for image in self._images[index])
        self._images.move_to_end(index)
        noisy, target = self._images[index]
        while self._bytes > CACHE_BYTES:
            _, dropped = self._images.popitem(last=False)
            self._bytes -= sum(image.nbytes for image in dropped)
        grey, noise, _ = self._measured[index]
        return noisy, target, noise.mapped(scale=grey.scale, offset=grey.offset)

    def _load(self, index: int) -> tuple[Unit, Unit]:
        """Both images, the short exposure without its faulty pixels, as the enhance path computes it."""
        pair = self._pairs[index]
        pixels = read_radiograph(pair.lq).pixels
        if index not in self._measured:
            noise = estimate_noise(pixels)
            self._measured[index] = measure_grey(pixels), noise, find_defects(pixels, noise)
        grey, _, defects = self._measured[index]
        noisy = grey.to_unit(pixels)
        noisy[defects.y, defects.x] = grey.to_unit(defects.value)
        better = pair.clean if self._target == "clean" and pair.clean is not None else pair.hq
        return noisy, grey.to_unit(read_radiograph(better).pixels)


def _turned(image: Unit, transposed: bool, mirrored: bool, flipped: bool) -> Unit:
    image = image.T if transposed else image
    image = image[:, ::-1] if mirrored else image
    return image[::-1] if flipped else image


def _sample(noisy: Unit, target: Unit, profile: NoiseProfile) -> Sample:
    condition = torch.from_numpy(profile.condition())
    return {
        "noisy": torch.from_numpy(np.array(noisy, dtype=np.float32, order="C"))[None],
        "target": torch.from_numpy(np.array(target, dtype=np.float32, order="C"))[None],
        "condition": condition,
        "sigma": condition[0].clone(),
    }


def _match(
    root: Path, include: Sequence[str], problems: list[str]
) -> Iterator[tuple[str, Path, Path, Path | None]]:
    """Name, LQ, HQ and clean file of every pair by name; what has no partner goes to the problems."""
    for folder in sorted(_scenes(root)):
        parts = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
        prefix = folder.relative_to(root).as_posix() + "/" if folder != root else ""
        lq, hq, clean = (
            _images_in(parts.get(part), prefix, include, problems) for part in ("lq", "hq", "clean")
        )
        for name in sorted(lq.keys() | hq.keys() | clean.keys()):
            if name in lq and name in hq:
                yield name, lq[name], hq[name], clean.get(name)
                continue
            there = next(files[name] for files in (lq, hq, clean) if name in files)
            missing = "LQ" if name not in lq else "HQ"
            problems.append(f"{there.relative_to(root).as_posix()} has no partner in {missing}")


def _scenes(root: Path) -> Iterator[Path]:
    """Folders that hold a folder LQ or HQ."""
    for folder, children, _ in os.walk(root):
        if any(child.lower() in ("lq", "hq") for child in children):
            yield Path(folder)
            children[:] = [child for child in children if child.lower() not in ("lq", "hq", "clean")]


def _images_in(
    folder: Path | None, prefix: str, include: Sequence[str], problems: list[str]
) -> dict[str, Path]:
    """Images below a folder by the name of their pair."""
    images: dict[str, Path] = {}
    if folder is None:
        return images
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or file.is_dir() or file.suffix.lower() in NOT_IMAGES:
            continue
        name = prefix + relative.with_suffix("").as_posix()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in include):
            continue
        if name in images:
            problems.append(f"{folder.name}/{relative.as_posix()} and {images[name].name} have one name")
        images.setdefault(name, file)
    return images


def _checked(
    name: str, lq: Path, hq: Path, clean_file: Path | None, *, clean: bool
) -> tuple[Pair | None, list[str]]:
    """The pair, or what is wrong with it."""
    problems = [f"{name} has no clean image"] if clean and clean_file is None else []
    seen: dict[str, tuple[tuple[int, ...], str]] = {}
    for part, file in (("LQ", lq), ("HQ", hq), ("clean", clean_file)):
        if file is None:
            continue
        try:
            pixels: Pixels = read_radiograph(file).pixels
        except LongExposureError as error:
            problems.append(str(error))
            continue
        if pixels.ndim != 2:
            problems.append(f"{name}: {part} holds {pixels.shape[0]} images where one is expected")
        unrounded = part == "clean" and pixels.dtype == np.float32 and "LQ" in seen
        seen[part] = pixels.shape, seen["LQ"][1] if unrounded else pixels.dtype.name
    if len(set(seen.values())) > 1:
        facts = ", ".join(f"{part} {_words(*facts)}" for part, facts in seen.items())
        problems.append(f"{name}: sizes or types differ: {facts}")
    if problems:
        return None, problems
    shape, dtype = seen["LQ"]
    return Pair(name=name, lq=lq, hq=hq, clean=clean_file, shape=(shape[0], shape[1]), dtype=dtype), []


def _words(shape: tuple[int, ...], dtype: str) -> str:
    return f"{' x '.join(map(str, shape))} {dtype}"
