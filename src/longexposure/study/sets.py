"""Which pairs a study trains on and is tested on: chosen once, named by content, written as manifests."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.config import json_values
from longexposure.data.evaluate import data_ranges
from longexposure.data.pairs import ImagePair, PairedFolder, PairsError, refuse_enhanced
from longexposure.data.splits import draw_groups, partition
from longexposure.errors import InputError
from longexposure.io import read_finite, write_radiograph, write_whole
from longexposure.models.checkpoint import sha256_of
from longexposure.radiograph import Pixels, Radiograph
from longexposure.study.budgets import Budget

TYPES = ("S1", "S2", "S3")
"""The paper's machine types."""
PAPER: dict[str, Any] = tomllib.loads(Path(__file__).with_name("paper.toml").read_text(encoding="utf-8"))
"""What the paper prints: `test_images` of each type, `rows` and `lq` of its Table I."""
FEWEST = {"train": 2, "test": 1}
COLUMNS = ("lq", "hq", "clean", "machine", "split", "object")

Window = tuple[slice, slice]


class Fingerprints:
    """SHA-256 of files, remembered in a JSON beside the results by path, size and time of change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._new = False
        if path.exists():
            try:
                self._known = dict(json_values(path.read_text(encoding="utf-8")))
            except (OSError, TypeError, ValueError):
                self._known = {}

    def of(self, path: Path) -> str:
        """SHA-256 of a file's bytes, in hex."""
        facts = path.stat()
        key, stamp = str(path.resolve()), [facts.st_size, facts.st_mtime_ns]
        known = self._known.get(key)
        if known is None or known[:2] != stamp:
            known = self._known[key] = [*stamp, sha256_of(path)]
            self._new = True
        return str(known[2])

    def pair(self, pair: ImagePair) -> list[str]:
        """Of short exposure, long exposure and clean image, where there is one."""
        return [self.of(path) for path in (pair.lq, pair.hq, pair.clean) if path is not None]

    def save(self) -> None:
        if self._new:
            write_whole(self._path, (json.dumps(self._known) + "\n").encode(), overwrite=True, parents=True)
            self._new = False


@dataclass(frozen=True)
class Selection:
    """Pairs to train on and pairs, none of them of the test, that choose the best weights.

    Attributes:
        name: how tables call it, "S1 + S2 + S3".
        train: pairs to train on.
        val: pairs to validate on.
        val_px: side of the validation pairs' centre crops; None takes them whole.
    """

    name: str
    train: tuple[ImagePair, ...]
    val: tuple[ImagePair, ...]
    val_px: int | None

    def fingerprint(self, files: Fingerprints) -> str:
        """A number that follows from the pixels and their roles, wherever the files lie."""
        content = [
            [role, pair.machine, *files.pair(pair)]
            for role, pairs in (("train", self.train), ("val", self.val))
            for pair in pairs
        ]
        return short_hash([content, self.val_px])

    def manifest(self, folder: Path) -> Path:
        """Write `folder/manifest.csv`, and the crops to validate on beside it."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for split, pairs in (("train", self.train), ("val", self.val)):
            for number, pair in enumerate(pairs):
                files = {"LQ": pair.lq, "HQ": pair.hq, "clean": pair.clean}
                if split == "val" and self.val_px is not None:
                    window = centre(pair.shape, self.val_px)
                    for part, path in files.items():
                        if path is not None:
                            files[part] = crop = folder / "val" / part / f"{number:05}.tif"
                            crop.parent.mkdir(parents=True, exist_ok=True)
                            pixels = np.ascontiguousarray(read_finite(path).pixels[window])
                            write_radiograph(Radiograph(pixels=pixels), crop, overwrite=True)
                places = ["" if path is None else str(path.resolve()) for path in files.values()]
                writer.writerow([*places, pair.machine, split, pair.object])
        path = folder / "manifest.csv"
        write_whole(path, text.getvalue().encode(), overwrite=True, parents=True)
        return path


@dataclass(frozen=True)
class TestSet:
    """Images to score models on.

    Attributes:
        pairs: the test pairs.
        crop_px: side of their centre crops; None takes them whole.
    """

    __test__ = False  # no test class

    pairs: tuple[ImagePair, ...]
    crop_px: int | None

    def fingerprint(self, files: Fingerprints) -> str:
        """A number that follows from the pixels alone."""
        return short_hash([[[pair.machine, *files.pair(pair)] for pair in self.pairs], self.crop_px])

    @cached_property
    def shown(self) -> dict[str, ImagePair]:
        """The first pair of each machine type, which is shown in figures."""
        first: dict[str, ImagePair] = {}
        for pair in self.pairs:
            first.setdefault(pair.machine, pair)
        return first

    @cached_property
    def data_ranges(self) -> dict[str, float]:
        """Grey values from black to white of each pair by its name, see `evaluate.data_ranges`."""
        way_out = "let the files say it: TIFF tag 281 (MaxSampleValue)"
        ranges = data_ranges(self.pairs, way_out=way_out)
        return {pair.name: span for pair, span in zip(self.pairs, ranges, strict=True)}

    def images(self, pair: ImagePair) -> tuple[Pixels, Pixels, Pixels | None]:
        """Short exposure, long exposure and clean image of a pair, cropped."""
        window = centre(pair.shape, self.crop_px)

        def cropped(path: Path) -> Pixels:
            return np.ascontiguousarray(read_finite(path).pixels[window])

        return cropped(pair.lq), cropped(pair.hq), None if pair.clean is None else cropped(pair.clean)


class Stock:
    """The pairs of the three machine types in a folder, in training and test.

    Args:
        path: folder with S1, S2 and S3, or a manifest.
        budget: how many of them to take.

    Raises:
        InputError: a type is missing or has too few pairs, or the pairs cannot be used.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self.budget = path, budget
        try:
            pairs = PairedFolder(path).pairs
        except PairsError as error:
            if error.problems:
                raise
            raise _missing(path, "S1", "train", 0) from error
        refuse_enhanced(pairs)
        parts = partition(pairs)
        self.train = {name: _of(name, parts["train"]) for name in TYPES}
        self.val = {name: _of(name, parts["val"]) for name in TYPES}
        self.test = {name: _of(name, parts["test"]) for name in TYPES}
        for name in TYPES:
            for split, found in (("train", self.train[name]), ("test", self.test[name])):
                if len(found) < FEWEST[split]:
                    raise _missing(path, name, split, len(found))
        self.declared = any("train/" in pair.name for pair in pairs if pair.split == "train")
        self.simulated = any(
            (pair.lq.parent.parent / "truth").is_dir() for pair in pairs if pair.machine in TYPES
        )

    def selection(self, *types: str) -> Selection:
        """Training and validation pairs of some machine types, in the order of their names."""
        train: list[ImagePair] = []
        val: list[ImagePair] = []
        for name in types:
            pairs, held = self.train[name], evenly(self.val[name], self.budget.val_pairs)
            if not held:
                pairs, held = _held_out(pairs, self.budget.val_pairs, path=self.path)
            train += evenly(pairs, self.budget.train_pairs)
            val += held
        return Selection(" + ".join(types), tuple(train), tuple(val), self.budget.val_px)

    def tests(self) -> TestSet:
        """The test images of all types."""
        wanted = self.budget.test_images
        pairs = [pair for name in TYPES for pair in evenly(self.test[name], wanted)]
        return TestSet(tuple(pairs), self.budget.test_px)

    def facts(self) -> dict[str, Any]:
        """What there is and what of it is used."""
        used = self.selection(*TYPES)
        tests = self.tests().pairs
        return {
            "folder": self.path.name,
            "simulated stand-ins": self.simulated,
            "types": {
                name: {
                    "size": " x ".join(map(str, self.test[name][0].shape)) + f" {self.test[name][0].dtype}",
                    "training pairs": len(self.train[name]),
                    "of which used": len(_of(name, used.train)),
                    "to choose weights": len(_of(name, used.val)),
                    "test pairs": len(self.test[name]),
                    "of which used ": len(_of(name, tests)),
                }
                for name in TYPES
            },
        }

    def limits(self) -> list[str]:
        """What no study on these pairs has measured."""
        return [
            "The paper's own data set was not measured: these are stand-ins that longexposure simulated. "
            "Numbers printed in the paper are of other images."
            if self.simulated
            else "Nothing in a folder tells whether these are the images of the paper's own data set.",
            "WHFL is a reconstruction from the paper's words; its authors' definition could not be obtained.",
        ]


def pairs_of_folder(path: Path, *, val_pairs: int) -> Selection:
    """A selection of all pairs below a folder that holds no test images."""
    pairs = PairedFolder(path, clean=True).pairs
    refuse_enhanced(pairs)
    train, val = _held_out(pairs, val_pairs, path=path)
    return Selection(path.name, train, val, None)


def centre(shape: tuple[int, int], side: int | None) -> Window:
    """The window of a centred square, or of the whole image where it is no larger or `side` is None."""
    if side is None:
        return slice(0, shape[0]), slice(0, shape[1])
    starts = [max(length - side, 0) // 2 for length in shape]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def evenly(pairs: Sequence[ImagePair], wanted: int | None) -> tuple[ImagePair, ...]:
    """At most so many of them, evenly spread."""
    if wanted is None or wanted >= len(pairs):
        return tuple(pairs)
    return tuple(pairs[index * len(pairs) // wanted] for index in range(wanted))


def short_hash(value: object) -> str:
    """Sixteen hex digits that follow from a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of(name: str, pairs: Sequence[ImagePair]) -> tuple[ImagePair, ...]:
    return tuple(sorted((pair for pair in pairs if pair.machine == name), key=lambda pair: pair.name))


def _missing(path: Path, name: str, split: str, found: int) -> InputError:
    return InputError(
        where=str(path),
        expected=f"pairs of the types {', '.join(TYPES)}, {FEWEST[split]} or more of {name} for {split}",
        found=f"{found}" if found else "none",
        advice=f"make stand-ins with `longexposure simulate --machine {name} --count small --split {split} "
        f"--out {path}`, for every type and for train and test, or put the paper's set there",
    )


def _held_out(
    pairs: Sequence[ImagePair], wanted: int, *, path: Path
) -> tuple[tuple[ImagePair, ...], tuple[ImagePair, ...]]:
    """Pairs to train on and about so many others, whole objects apart."""
    groups = [pair.object for pair in pairs]
    if len(set(groups)) < 2:
        raise InputError(
            where=str(path),
            expected=f"training pairs of {pairs[0].machine} of two objects or more, to hold one out",
            found=f"{len(pairs)} of one object",
            advice="add pairs of other objects, or declare a split in a manifest",
        )
    fraction = min(wanted, len(pairs) // 2) / len(pairs)
    held = draw_groups(groups, fraction, seed=0)
    return (
        tuple(pair for index, pair in enumerate(pairs) if index not in held),
        evenly([pair for index, pair in enumerate(pairs) if index in held], wanted),
    )
