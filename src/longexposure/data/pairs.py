"""Pairs on disk: short and long exposures of the same scenes, in folders `LQ` and `HQ` or in a manifest."""

from __future__ import annotations

import functools
import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from longexposure.data.listing import Listed, list_pairs
from longexposure.data.splits import draw_groups
from longexposure.errors import InputError, LongExposureError, as_path
from longexposure.io import read_finite
from longexposure.radiograph import Radiograph

log = logging.getLogger(__name__)

LISTED = 20
"""Problems that the one line of an error names; all of them are in `PairsError.problems`."""


class PairsConfig(BaseModel):
    """Pairs of short and long exposures in folders.

    Attributes:
        path: folder that holds `LQ` and `HQ`, itself or at any depth (`S1/train/LQ/a.tif`), or a manifest.
        include: patterns of the pairs to take, such as "*/train/*"; a pair is named by its path
            without the LQ folder and the suffix, `S1/train/a`.
        patch_px: side of a training patch.
        held_out: fraction of the pairs that is kept for validation, where the set declares none for it.
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


@dataclass(frozen=True, kw_only=True)
class ImagePair(Listed):
    """The files of one scene that was read and found sound.

    Attributes:
        shape: (H, W) of all of them.
        dtype: grey-value type of all of them.
        highest: the largest grey value of the short and the long exposure.
        enhanced: which images were enhanced before, and with what; empty where none says so.
        bits: significant bits of these as the files tell them, the most of them; 0 where none does.
    """

    shape: tuple[int, int]
    dtype: str
    highest: float = 0.0
    bits: int = 0
    enhanced: str = ""


def read_images(name: str, files: Mapping[str, Path | None]) -> tuple[dict[str, Radiograph], list[str]]:
    """The images of a pair and all that is wrong with their files, each problem in words.

    Args:
        name: of the pair.
        files: by "LQ", "HQ" and, if wanted, "clean"; None is left out. A clean image may be float32.
    """
    images: dict[str, Radiograph] = {}
    problems = []
    kinds: dict[str, tuple[tuple[int, ...], str]] = {}
    for part, file in files.items():
        if file is None:
            continue
        try:
            images[part] = read_finite(file)
        except LongExposureError as error:
            problems.append(str(error))
            continue
        pixels = images[part].pixels
        unrounded = part == "clean" and pixels.dtype == np.float32 and "LQ" in kinds
        if pixels.ndim == 2:
            kinds[part] = pixels.shape, kinds["LQ"][1] if unrounded else pixels.dtype.name
        else:
            problems.append(f"{name}: {part} holds {len(pixels)} images where one is expected")
    if len(set(kinds.values())) > 1:
        facts = (f"{part} {' x '.join(map(str, shape))} {dtype}" for part, (shape, dtype) in kinds.items())
        problems.append(f"{name}: sizes or types differ: {', '.join(facts)}")
    return images, problems


def enhanced_parts(images: Mapping[str, Radiograph]) -> str:
    """Which of a pair's images were enhanced before and with what, in words; empty where none was."""
    return "; ".join(f"{part} by {image.enhanced_by}" for part, image in images.items() if image.enhanced_by)


def refuse_enhanced(pairs: Sequence[ImagePair]) -> None:
    """Refuse pairs of which an image was enhanced before: what a network made is no truth and has no noise.

    Raises:
        PairsError: with the number of such pairs and the first of them.
    """
    found = [pair for pair in pairs if pair.enhanced]
    if found:
        raise PairsError(
            where=found[0].name,
            expected="images as the detector gave them",
            found=f"{len(found)} of {len(pairs)} pairs enhanced before ({found[0].enhanced})",
            advice="use the originals, or leave these pairs out",
        )


def told_bits(radiograph: Radiograph) -> int:
    """Significant bits of the grey values as the file tells them, 0 where it does not.

    They stand in the tags of the file, or in the history that `simulate` writes.
    """
    simulated = (step.settings.get("bits") for step in radiograph.history if step.action == "simulate")
    stored = radiograph.stored.bits if radiograph.stored else 0
    return stored or next((bits for bits in simulated if isinstance(bits, int)), 0)


class PairedFolder:
    """All pairs below a folder or of a manifest, each of them checked: one that exists is sound.

    Files are matched by their path below LQ and HQ; upper and lower case of those two names and the
    suffixes of the files do not matter. Folders `clean` beside them are taken where they exist.

    Args:
        path: see `PairsConfig.path`.
        include: see `PairsConfig.include`.
        clean: whether each pair must have a clean image.

    Raises:
        PairsError: no pairs; a name without its partner; two files of one name; a file that cannot be
            read or holds several images; sizes or types that differ; a machine type of several depths; a
            split without images. All problems are reported at once.
        InputError: a manifest that cannot be read.
    """

    def __init__(self, path: Path, *, include: Sequence[str] = ("*",), clean: bool = False) -> None:
        self.path = as_path(path, where="pairs")
        listing = list_pairs(self.path, include=include)
        if not listing.pairs and all(problem.kind == "split" for problem in listing.problems):
            raise PairsError(
                where=str(path),
                expected="folders LQ and HQ with images of equal names",
                found="no pairs" if self.path.exists() else "no folder of that name",
                advice="put short exposures in .../LQ/name and long ones in .../HQ/name",
            )

        def check(pair: Listed) -> ImagePair | list[str]:
            images, problems = read_images(pair.name, {"LQ": pair.lq, "HQ": pair.hq, "clean": pair.clean})
            if clean and pair.clean is None:
                problems.insert(0, f"{pair.name} has no clean image")
            if problems:
                return problems
            height, width = images["LQ"].pixels.shape
            exposures = [images[part] for part in ("LQ", "HQ")]
            return ImagePair(
                **vars(pair),
                shape=(height, width),
                dtype=images["LQ"].pixels.dtype.name,
                highest=max(float(image.pixels.max()) for image in exposures),
                bits=max(map(told_bits, exposures)),
                enhanced=enhanced_parts(images),
            )

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            checked = list(pool.map(check, listing.pairs))
        self.pairs = tuple(pair for pair in checked if isinstance(pair, ImagePair))
        problems = [problem.text for problem in listing.problems]
        problems += [problem for found in checked if isinstance(found, list) for problem in found]
        problems += mixed_depths(self.pairs)
        if problems:
            listed = "; ".join(problems[:LISTED])
            more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
            raise PairsError(
                where=str(path),
                expected="images that pair up, readable and of equal size",
                found=f"{len(problems)} problem(s): {listed}{more}",
                advice="correct or move these files, nothing was left out silently; `longexposure "
                "check-pairs` lists them all and writes a manifest of the sound pairs",
                problems=problems,
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def split(self, held_out: float, *, seed: int) -> tuple[tuple[ImagePair, ...], tuple[ImagePair, ...]]:
        """Training and held-out pairs, at least one of each, in the order of names.

        Pairs declared for the test are set aside where others are declared to train. Those declared for
        validation are held out; where there are none, whole objects are drawn by the seed.

        Raises:
            PairsError: fewer than two pairs, or all of one object.
        """
        pairs = self._without_test()
        held = {index for index, pair in enumerate(pairs) if pair.split == "val"}
        groups = [f"{pair.machine}/{pair.object}" for pair in pairs]
        if not 0 < len(held) < len(pairs):
            if len(set(groups)) < 2:
                raise PairsError(
                    where=str(self.path),
                    expected="at least two pairs, one to train on and one to hold out",
                    found=f"{len(pairs)}, all of one object" if len(pairs) > 1 else f"{len(pairs)}",
                    advice="add pairs of other objects; cutting one image in two also works",
                )
            held = draw_groups(groups, held_out, seed=seed)
        return (
            tuple(pair for index, pair in enumerate(pairs) if index not in held),
            tuple(pair for index, pair in enumerate(pairs) if index in held),
        )

    def _without_test(self) -> tuple[ImagePair, ...]:
        if not any(pair.split == "train" for pair in self.pairs):
            return self.pairs
        kept = tuple(pair for pair in self.pairs if pair.split != "test")
        if len(kept) < len(self.pairs):
            log.info("%d pairs declared for the test are set aside", len(self.pairs) - len(kept))
        return kept


def mixed_depths(pairs: Sequence[ImagePair]) -> list[str]:
    """One line for each machine type whose images have several grey-value types."""
    depths: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        depths[pair.machine][pair.dtype].append(pair.name)
    return [
        f"{machine or 'the set'} mixes depths: "
        + ", ".join(f"{len(names)} {dtype} ({names[0]}, ...)" for dtype, names in sorted(found.items()))
        for machine, found in sorted(depths.items())
        if len(found) > 1
    ]
