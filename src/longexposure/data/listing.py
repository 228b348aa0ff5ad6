"""Which files make up a set of pairs: folders LQ and HQ at any depth, or a manifest; no image is opened here.

Of each pair the names show, as far as they do: the machine type (the folder level above LQ), the split (a
folder called train, test or val) and the object, several images of which must never be torn apart by a split.
"""

from __future__ import annotations

import csv
import difflib
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from longexposure.config import toml_values
from longexposure.errors import InputError, as_path, described

Split = Literal["train", "val", "test"]
Proof = Literal["manifest", "folder", "word", "number", ""]
"""What shows the object: a column, a folder below LQ, a word as in "board3_view07", a bare number."""
Fault = Literal["unpaired", "double", "file", "manifest", "split"]

NOT_IMAGES = frozenset((".json", ".txt", ".md", ".csv", ".toml", ".xml", ".ini", ".db", ".html"))
"""Suffixes of the notes that lie beside images; every other file in an LQ or HQ folder must be an image."""
MANIFESTS = ("manifest.csv", "manifest.toml")
"""A manifest of this name in a folder of pairs stands in for the search of the folder."""
COLUMNS = {
    "lq": "lq",
    "hq": "hq",
    "clean": "clean",
    "machine": "machine",
    "type": "machine",
    "split": "split",
    "object": "object",
    "lq_s": "lq_s",
    "hq_s": "hq_s",
}
"""Columns of a manifest; others are left alone unless they look like one of these misspelt."""
SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
FEWEST_STEMS = 3
"""From so many on, stems before a bare trailing number are taken for objects; fewer may be classes."""

_TAKE = re.compile(
    r"^(?P<stem>.*?[^\W_].*?)[\W_]*(?:(?<![^\W\d_])(?P<word>view|frame|shot|angle|rot|slice|proj|pose|pos)"
    r"[\W_]*)?(?<!\d)\d+$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Listed:
    """The files of one pair and what their names say.

    Attributes:
        name: path below the folder of pairs, without the LQ folder and the suffix; unique in a set.
        lq: short exposure.
        hq: long exposure.
        clean: image without noise, where there is one.
        machine: machine type.
        split: the declared split.
        object: pairs of one machine type and object belong on one side of a split; the name where each
            pair is an object of its own.
        proof: what shows the object; "" where nothing does.
        exposures_s: seconds of both exposures, where a manifest tells them.
    """

    name: str
    lq: Path
    hq: Path
    clean: Path | None = None
    machine: str = ""
    split: Split | None = None
    object: str = ""
    proof: Proof = ""
    exposures_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class Problem:
    """Something wrong with the names of a set."""

    kind: Fault
    name: str
    text: str


@dataclass(frozen=True)
class Listing:
    """All pairs of a set in the order of their names, and all that is wrong with the names."""

    pairs: tuple[Listed, ...]
    problems: tuple[Problem, ...]


def list_pairs(path: Path, *, include: Sequence[str] = ("*",)) -> Listing:
    """Find the pairs below a folder, or those that a manifest names.

    Args:
        path: a folder that holds folders LQ and HQ (any case) itself or at any depth; a folder with
            `manifest.csv` or `manifest.toml`; or a manifest of any name. A manifest has the columns `lq` and
            `hq` (paths relative to it) and, if wanted, `clean`, `machine` (or `type`), `split`, `object`,
            `lq_s` and `hq_s`; in TOML each pair is a table `[[pairs]]`.
        include: patterns of the pairs to take.

    Raises:
        InputError: a manifest that cannot be read or has no columns lq and hq.
    """
    path = as_path(path, where="pairs")
    problems: list[Problem] = []
    manifests = [path] if path.is_file() else [f for name in MANIFESTS if (f := path / name).is_file()]
    if len(manifests) > 1:
        raise InputError(
            where=str(path),
            expected="one manifest",
            found=" and ".join(file.name for file in manifests),
            advice="remove one of them, or name the one to use",
        )
    if manifests:
        found = list(pairs_in_manifest(manifests[0], include, problems))
    else:
        found = list(pairs_in_folders(path, include, problems))
    return Listing(_with_objects(found), tuple(problems))


def take_of(stem: str) -> tuple[str, Proof]:
    """The part of a name before a trailing view number, and what showed it; ("", "") where there is none.

    "board3_view07" gives ("board3", "word"), "board3_07" ("board3", "number"), "00017" ("", "").
    """
    match = _TAKE.match(stem)
    if match is None:
        return "", ""
    return match["stem"].rstrip("_-. "), "word" if match["word"] else "number"


def pairs_in_folders(root: Path, include: Sequence[str], problems: list[Problem]) -> Iterator[Listed]:
    """The pairs of all folders that hold a folder LQ or HQ; what is wrong with names goes to `problems`."""
    scenes = []
    for place, children, _ in os.walk(root):
        if any(child.lower() in ("lq", "hq") for child in children):
            scenes.append(Path(place))
            children[:] = [child for child in children if child.lower() not in ("lq", "hq", "clean")]
    for folder in sorted(scenes):
        relative = folder.relative_to(root)
        prefix = relative.as_posix() + "/" if folder != root else ""
        parts = _parts(folder, prefix, problems)
        lq, hq, clean = (
            _images_in(parts.get(part), prefix, include, problems) for part in ("lq", "hq", "clean")
        )
        if not (lq or hq) and _wanted(f"{prefix}x", include):
            at = relative.as_posix()
            problems.append(Problem("split", at, f"{at}: LQ and HQ hold no images"))
        for name in sorted(lq.keys() | hq.keys() | clean.keys()):
            if name in lq and name in hq:
                machine, split, item = _named_by_folders(root, relative.parts, name.removeprefix(prefix))
                files = lq[name], hq[name], clean.get(name)
                proof: Proof = "folder" if item else ""
                yield Listed(name, *files, machine=machine, split=split, object=item, proof=proof)
                continue
            there = next(images[name] for images in (lq, hq, clean) if name in images)
            missing = "LQ" if name not in lq else "HQ"
            at = there.relative_to(root).as_posix()
            problems.append(Problem("unpaired", name, f"{at} has no partner in {missing}"))


def _parts(folder: Path, prefix: str, problems: list[Problem]) -> dict[str, Path]:
    """The folders LQ, HQ and clean by their names in lower case."""
    parts: dict[str, Path] = {}
    for child in sorted(folder.iterdir()):
        name = child.name.lower()
        if name not in ("lq", "hq", "clean") or not child.is_dir():
            continue
        if name in parts:
            text = f"{prefix}{parts[name].name} and {child.name} are one folder but for upper and lower case"
            problems.append(Problem("double", prefix + child.name, text))
        parts.setdefault(name, child)
    return parts


def _images_in(
    folder: Path | None, prefix: str, include: Sequence[str], problems: list[Problem]
) -> dict[str, Path]:
    """Images below a folder by the name of their pair."""
    images: dict[str, Path] = {}
    if folder is None:
        return images
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or file.suffix.lower() in NOT_IMAGES or file.is_dir():
            continue
        name = prefix + relative.with_suffix("").as_posix()
        if not _wanted(name, include):
            continue
        if name in images:
            text = f"{folder.name}/{relative.as_posix()} and {images[name].name} have one name"
            problems.append(Problem("double", name, text))
        images.setdefault(name, file)
    return images


def _wanted(name: str, include: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in include)


def _named_by_folders(root: Path, above: Sequence[str], below: str) -> tuple[str, Split | None, str]:
    """Machine type, split and object that the folders above and below LQ show.

    The machine type is the nearest folder above LQ that is no split. Where LQ lies in the folder of
    pairs itself, that folder's own place on disk tells both.
    """
    inside = below.split("/")[:-1]
    words = [*above, *inside]
    if not [part for part in above if part.lower() not in SPLITS]:
        outside = [part for part in root.resolve().parts[-2:] if part.strip("/\\")]
        split_last = any(word.lower() in SPLITS for word in outside[-1:])
        words = [*(outside if split_last else outside[-1:]), *words]
    split = next((SPLITS[word.lower()] for word in reversed(words) if word.lower() in SPLITS), None)
    outer = [word for word in words[: len(words) - len(inside)] if word.lower() not in SPLITS]
    inner = [word for word in inside if word.lower() not in SPLITS]
    return outer[-1] if outer else "", split, "/".join(inner)


def pairs_in_manifest(path: Path, include: Sequence[str], problems: list[Problem]) -> Iterator[Listed]:
    """The pairs that a manifest names; what is wrong with its lines goes to `problems`."""
    seen: set[str] = set()
    for number, row in enumerate(_rows(path), start=1):
        known = {COLUMNS[_column(name)]: value for name, value in row.items() if _column(name) in COLUMNS}
        values = {name: str(value).strip() for name, value in known.items() if value not in (None, "")}
        where = f"{path.name}, pair {number}"
        complaints = [f"{where}: {text}" for text in _complaints(values, path.parent)]
        problems += [Problem("manifest", values.get("lq", str(number)), text) for text in complaints]
        if complaints:
            continue
        pair = _entry(values, path.parent)
        if not _wanted(pair.name, include):
            continue
        if pair.name in seen:
            text = f"{where}: a pair named {pair.name} is listed already"
            problems.append(Problem("double", pair.name, text))
            continue
        seen.add(pair.name)
        yield pair


def _rows(path: Path) -> list[Mapping[str, Any]]:
    advice = "write a CSV with a header line, or TOML with one table [[pairs]] for each pair"
    rows: list[Mapping[str, Any]]
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".toml":
            rows = toml_values(text).get("pairs", [])
            if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
                raise ValueError(f"pairs = {described(rows)}")
        else:
            first = text.partition("\n")[0]
            delimiter = max(",;\t", key=first.count)
            rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    except (OSError, ValueError, csv.Error) as error:
        expected = "a manifest, CSV or TOML"
        raise InputError(where=str(path), expected=expected, found=str(error), advice=advice) from error
    columns = {_column(name) for row in rows for name in row}
    if not {"lq", "hq"} <= columns:
        found = ", ".join(sorted(filter(None, columns))) or "no pairs"
        raise InputError(where=str(path), expected="columns lq and hq", found=found, advice=advice)
    for column in sorted(columns - COLUMNS.keys()):
        if near := difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.75):
            raise InputError(
                where=str(path),
                expected=f"columns among {', '.join(COLUMNS)}",
                found=f"{column!r}",
                advice=f"call it {near[0]!r} if that is meant, or a name that is less like it",
            )
    return rows


def _column(name: object) -> str:
    return str(name).strip().lower() if name is not None else ""


def _complaints(values: Mapping[str, str], folder: Path) -> Iterator[str]:
    for part in ("lq", "hq", "clean"):
        if part not in values:
            if part != "clean":
                yield f"no {part} file is named"
        elif not (folder / values[part]).is_file():
            yield f"{part} file {values[part]} does not exist"
    if "split" in values and values["split"].lower() not in SPLITS:
        yield f"split {values['split']!r} is none of {', '.join(SPLITS)}"
    for part in ("lq_s", "hq_s"):
        if part in values and _seconds(values[part]) is None:
            yield f"{part} {values[part]!r} is no number of seconds above 0"


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _entry(values: Mapping[str, str], folder: Path) -> Listed:
    lq = Path(values["lq"])
    kept = [part for part in lq.with_suffix("").parts if part.lower() != "lq" and part not in ("/", "..")]
    above = [part for part in lq.parent.parts if part.lower() != "lq" and part not in ("/", "..")]
    machine, split, _ = _named_by_folders(folder, above, lq.name)
    times = _seconds(values.get("lq_s", "")), _seconds(values.get("hq_s", ""))
    return Listed(
        name="/".join(kept),
        lq=folder / lq,
        hq=folder / values["hq"],
        clean=folder / values["clean"] if "clean" in values else None,
        machine=values.get("machine", machine),
        split=SPLITS[values["split"].lower()] if "split" in values else split,
        object=values.get("object", ""),
        proof="manifest" if "object" in values else "",
        exposures_s=(times[0], times[1]) if times[0] is not None and times[1] is not None else None,
    )


def _with_objects(pairs: Sequence[Listed]) -> tuple[Listed, ...]:
    """The pairs with an object each, shown by names within one machine type, or each its own."""
    stems: dict[str, dict[Proof, set[str]]] = defaultdict(lambda: defaultdict(set))
    takes = [take_of(pair.lq.stem) for pair in pairs]
    for pair, (stem, proof) in zip(pairs, takes, strict=True):
        stems[pair.machine][proof].add(stem)
        stems[pair.machine][pair.proof].add(pair.object)
    done = []
    for pair, (stem, proof) in zip(pairs, takes, strict=True):
        shown = stems[pair.machine]
        if pair.proof == "manifest" or (pair.proof == "folder" and len(shown["folder"]) > 1):
            done.append(pair)
        elif stem and len(shown[proof]) >= (2 if proof == "word" else FEWEST_STEMS):
            done.append(replace(pair, object=stem, proof=proof))
        else:
            done.append(replace(pair, object=pair.name, proof=""))
    return tuple(done)
