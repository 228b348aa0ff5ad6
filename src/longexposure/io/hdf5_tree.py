"""The objects of an HDF5 file: found without leaving the file, and copied to another one."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import damaged, wrong_type
from longexposure.radiograph import MOST_CHANNELS

if TYPE_CHECKING:
    import h5py

MOST_OBJECTS = 10_000
_MOST_LINKS = 16


def text_of(value: Any) -> str:
    """The one text in a dataset or attribute, nothing where it is none."""
    import h5py

    if isinstance(value, h5py.Dataset):
        if value.size != 1 or h5py.check_string_dtype(value.dtype) is None:
            return ""
        value = value[()]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def inside(group: Any, name: str) -> bool:
    """Whether a name in a group leads to an object of this file, without a detour."""
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def address_of(one: Any) -> int:
    """Where an object lies, by which its several names are one."""
    import h5py

    return int(h5py.h5o.get_info(one.id).addr)


class Tree:
    """The objects of an opened file, found without leaving it."""

    def __init__(self, h5: h5py.File, where: str) -> None:
        self.h5, self.where = h5, where

    def path_of(self, name: str) -> str:
        """A path without links in it, those of this file followed.

        Raises:
            InputError: nothing is there, or it lies in another file.
        """
        import h5py

        parts, here, links = deque(name.strip("/").split("/")), "/", 0
        while parts:
            part = parts.popleft()
            group = self.h5[here]
            link = group.get(part, getlink=True) if isinstance(group, h5py.Group) and part else None
            if isinstance(link, h5py.SoftLink) and links < _MOST_LINKS:
                links += 1
                target = posixpath.normpath(posixpath.join(here, link.path))
                parts.extendleft(reversed(target.strip("/").split("/")))
                here = "/"
            elif isinstance(link, h5py.ExternalLink):
                raise self._elsewhere(f"{part}, a link to {link.filename}")
            elif isinstance(link, h5py.HardLink):
                here = posixpath.join(here, part)
            else:
                raise self._unnamed(f"no {posixpath.join(here, part)}")
        return here

    def objects(self) -> Iterator[tuple[str, Any]]:
        """Groups and datasets by their path, each once, level by level."""
        import h5py

        waiting, seen = deque([("/", self.h5["/"])]), set[int]()
        while waiting:
            path, one = waiting.popleft()
            if (address := address_of(one)) in seen:
                continue
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise self._unnamed(f"more than {MOST_OBJECTS} objects")
            yield path, one
            if isinstance(one, h5py.Group):
                names = sorted(name for name in one if inside(one, name))
                waiting.extend((posixpath.join(path, name), one[name]) for name in names[:MOST_OBJECTS])

    def default(self) -> str:
        """The path of the images that are shown by default (NeXus: `default`, `signal`), or the only ones."""
        import h5py

        group, path = self.h5["/"], "/"
        for _ in range(_MOST_LINKS):
            word = text_of(group.attrs.get("default")) or text_of(group.attrs.get("signal"))
            if not word or not isinstance(group, h5py.Group):
                break
            path = self.path_of(posixpath.join(path, word))
            if isinstance(self.h5[path], h5py.Dataset):
                return path
            group = self.h5[path]
        images, signals = [], []
        for name, one in self.objects():
            if isinstance(one, h5py.Dataset):
                images += [name] if _can_be_images(one) else []
            elif (word := text_of(one.attrs.get("signal"))) and isinstance(one, h5py.Group):
                signals += [posixpath.join(name, word)] if inside(one, word) else []
        found = [name for name in signals if name in images] or images
        if len(found) == 1:
            return found[0]
        raise self._unnamed(f"{len(found)}: {', '.join(found[:8])}" if found else "none")

    def images(self, name: str) -> Any:
        """The dataset of that path, which must hold images in this file (raises InputError)."""
        import h5py

        data = self.h5[name]
        if not isinstance(data, h5py.Dataset):
            raise self._unnamed(f"{name}, a group")
        if data.is_virtual or data.external:
            raise self._elsewhere(f"{name}, whose values lie in other files")
        if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8 or data.dtype.metadata:
            raise wrong_type(self.where, f"{data.dtype} in {name}")
        if data.ndim < 2 or data.size in (0, None):
            raise damaged(self.where, expected="images (..., H, W)", found=f"{name} of shape {data.shape}")
        if data.ndim > 2 and data.shape[-1] <= MOST_CHANNELS < min(data.shape[-3:-1]):
            raise InputError(
                where=self.where,
                expected="grey values (..., H, W)",
                found=f"{name} of shape {data.shape}, which looks like colours in the last axis",
                advice="save one channel of it",
            )
        return data

    def names_of(self, data: Any) -> tuple[str, list[Any]]:
        """The first path of a dataset, and the groups in which it lies: NXdata and NXdetector, say."""
        import h5py

        address = address_of(data)
        first, homes = data.name, list[Any]()
        for path, one in self.objects():
            if address_of(one) == address:
                first = path
            elif isinstance(one, h5py.Group):
                inner = (one[name] for name in one if inside(one, name))
                homes += [one] if any(address_of(each) == address for each in inner) else []
        return first, homes

    def _unnamed(self, found: str) -> InputError:
        return InputError(
            where=self.where,
            expected="one dataset of images",
            found=found[:300],
            advice="name its path in the file: --dataset /entry/data/data, or dataset= in Python",
        )

    def _elsewhere(self, found: str) -> InputError:
        return InputError(
            where=self.where,
            expected="images in the file itself",
            found=found[:300],
            advice="name the file that holds them; no other file is opened beside the one that is named",
        )


def _can_be_images(data: Any) -> bool:
    return data.dtype.kind in "iuf" and data.ndim >= 2 and min(data.shape[-2:]) > 1 and data.size > 0


def copy_objects(
    source: h5py.File,
    target: h5py.File,
    *,
    dataset: Callable[[Any, str], object],
    left_out: Callable[[str], bool] = lambda path: False,
    notes: list[str],
) -> None:
    """Copy groups, links and attributes level by level; what bears several names gets all of them again.

    Args:
        source: an opened file.
        target: an empty one, open for writing.
        dataset: called with what is no group and with its path; it makes it in the target, or does not.
        left_out: groups that are not copied, by their path.
        notes: takes what cannot be copied, in a few words each.
    """
    import h5py

    places = {address_of(source["/"]): "/"}
    again: list[tuple[str, str]] = []
    waiting = deque([(source["/"], target["/"])])
    while waiting:
        here, there = waiting.popleft()
        copy_attributes(here, there, notes)
        for name in sorted(here):
            path, link = posixpath.join(there.name, name), here.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                    there[name] = link
                continue
            one = here[name]
            if (address := address_of(one)) in places:
                again.append((path, places[address]))
            elif not left_out(path):
                places[address] = path
                if isinstance(one, h5py.Group):
                    waiting.append((one, there.create_group(name)))
                else:
                    dataset(one, path)
    for path, first in again:
        if first in target:
            target[path] = target[first]


def copy_attributes(one: Any, other: Any, notes: list[str]) -> None:
    """Attributes in their types; those that refer to other objects would point nowhere, and are noted."""
    import h5py

    for name in sorted(one.attrs):
        kind = one.attrs.get_id(name).dtype
        if h5py.check_ref_dtype(kind) is not None or (
            kind.hasobject and h5py.check_string_dtype(kind) is None
        ):
            if name not in ("REFERENCE_LIST", "DIMENSION_LIST"):
                notes.append(f"attribute {name} of {one.name}, which refers to other objects")
            continue
        other.attrs.create(name, one.attrs[name], dtype=kind)
