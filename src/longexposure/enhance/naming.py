"""Names of enhanced files: those of their sources, and no two the same."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from longexposure.io import writable_suffix


def absolute(path: Path) -> str:
    """Where a path leads to, links as they are named."""
    return os.path.abspath(path)  # noqa: PTH100 (resolve follows them)


def told_apart(folders: Sequence[str]) -> list[PurePath]:
    """The shortest ends of absolute paths by which they differ."""
    parts = [PurePath(folder).parts[1:] for folder in folders]
    ends: list[tuple[str, ...]] = []
    for depth in range(1, max(map(len, parts)) + 1):
        ends = [part[-depth:] for part in parts]
        if len({name_key(PurePath(*end)) for end in ends}) == len(parts):
            break
    return [PurePath(*end) for end in ends]


def without_clashes(below: Sequence[PurePath], sources: Sequence[str]) -> list[PurePath]:
    """Names for enhanced files that no file system takes for one another.

    Args:
        below: where the sources lie below what was named.
        sources: their absolute paths.
    """
    names = [path.with_name(f"{path.stem}{writable_suffix(path.name)}") for path in below]
    for group in _clashing(names):  # from several folders: chip.tif and chip.tif
        parents = list(dict.fromkeys(str(PurePath(sources[index]).parent) for index in group))
        if len(parents) > 1 and len({name_key(below[index]) for index in group}) < len(group):
            ends = dict(zip(parents, told_apart(parents), strict=True))
            for index in group:
                names[index] = ends[str(PurePath(sources[index]).parent)] / names[index].name
    for group in _clashing(names):  # of several formats: chip.xrm and chip.tif
        for index in group:
            if names[index].name != below[index].name:
                names[index] = names[index].with_name(below[index].name + names[index].suffix)
    taken: set[str] = set()
    folders = {name_key(folder) for name in names for folder in name.parents}
    for index in sorted(range(len(names)), key=lambda index: names[index].name != below[index].name):
        name, number = names[index], 1
        while name_key(names[index]) in taken | folders:
            number += 1
            names[index] = name.with_name(f"{name.stem}-{number}{name.suffix}")
        taken.add(name_key(names[index]))
    return names


def _clashing(names: Sequence[PurePath]) -> list[list[int]]:
    """Groups of places in the list with the same name."""
    groups = defaultdict(list)
    for index, name in enumerate(names):
        groups[name_key(name)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def name_key(path: PurePath) -> str:
    """What two files must not share: some file systems see neither case nor how an umlaut is put together."""
    return unicodedata.normalize("NFC", path.as_posix()).casefold()
