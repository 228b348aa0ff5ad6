"""Reading HDF5 and NeXus: one dataset of images, by its path or as the file's own attributes tell.

What lies beside it is kept as a small HDF5 file of its own, from which the writer makes the layout again.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import posixpath
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.checks import check_plausible, damaged, reason_of, wrong_type
from longexposure.io.microscopy import micrometres
from longexposure.io.record import fields_of, radiograph_of
from longexposure.radiograph import MOST_CHANNELS, Pixels, Radiograph, Source, Stored, computable
from longexposure.system import require

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PROCESS, RECORD = "longexposure", "record"
"""Names of our NXprocess group, beside the group of the images, and of the text in it."""

DEFLATE = {"compression": "gzip", "compression_opts": 4, "shuffle": True}

LARGEST_BESIDE = 32 * 2**20
"""Bytes of what is carried over beside the images."""

_MOST_OBJECTS = 10_000
_MOST_LINKS = 16
_FLAGS, _WRITING = 11, 0b101
"""Where a superblock of version 3 has its consistency flags, and those of a writer (HDF5 format, II.A)."""
_SMALL_CHUNK = 64 * 2**20
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3}


@dataclass(frozen=True, eq=False)
class Hdf5Parts:
    """What an HDF5 file has beside its grey values.

    Attributes:
        beside: an HDF5 file with all else, and an empty dataset with the attributes in the images' place.
        name: path of the dataset.
        shape: of the dataset, all axes.
        dtype: of its values, with their byte order.
        chunks: as it is stored, None where it is not in chunks.
        maxshape: how far it may grow.
        filters: of its compression, as h5py names them.
        text: the title of the entry.
        description: of the radiograph that was read.
        pitch_um: as the file says.
        exposure: the same.
        record: ours, nothing where there was none.
    """

    beside: bytes
    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    maxshape: tuple[int | None, ...]
    filters: dict[str, Any]
    text: str = ""
    description: str = ""
    pitch_um: tuple[float, float] | None = None
    exposure: dict[str, Any] = dataclasses.field(default_factory=dict)
    record: str = ""


def is_hdf5(start: bytes) -> bool:
    """Whether a file that starts so is HDF5."""
    return start.startswith(SIGNATURE)


def read_hdf5(file: BinaryIO, source: Source, dataset: str | None = None) -> Radiograph:
    """Read one dataset of images, (H, W) or (..., H, W), a chunk of frames at a time.

    Without a path it is the signal of the default NXdata, of the only NXdata, or the only dataset that can be
    images. Only what lies in the file itself is read. `x_pixel_size`, `y_pixel_size` and `count_time` beside
    it tell pitch and exposure, the title of its entry is the description.

    Raises:
        InputError: damaged, being written, without images, with several where none is named, or with pixels
            in other files, with the way out.
        ResourceError: h5py is not installed.
    """
    require("h5py", extra="hdf5", where=source.path)
    size, notes = file.seek(0, os.SEEK_END), list[str]()
    with _opened(file, source.path) as h5:
        tree = _Tree(h5, source.path)
        data = tree.images(tree.path_of(dataset) if dataset is not None else tree.default())
        name, homes = tree.names_of(data)
        values = _values(data, size=size, where=source.path)
        top = top_of(h5, name)
        text, record = (
            _text(top["title"] if _inside(top, "title") else None),
            record_in(top),
        )
        pitch = next(filter(None, map(_pitch_um, homes)), None)
        exposure = next(filter(None, map(_exposure, homes)), {})
        parts = Hdf5Parts(
            beside=tree.beside(name, notes),
            name=name,
            shape=data.shape,
            dtype=data.dtype.str,
            chunks=data.chunks,
            maxshape=data.maxshape,
            filters=_filters(data),
            text=text,
            pitch_um=pitch,
            exposure=exposure,
            record=record,
        )
    pixels, offset = computable(values, where=source.path)
    told = fields_of(record)
    told = told and {**told, "exposure": {**exposure, **told["exposure"]}}
    radiograph = radiograph_of(
        pixels,
        source,
        text=text,
        told={"exposure": exposure, **told},
        resolution=None,
        pitch_um=pitch,
        rounded=lambda _: None,
    )
    parts = dataclasses.replace(parts, description=radiograph.description)
    leading = parts.shape[:-2]
    axes = {f"axis {axis}": length for axis, length in enumerate(leading)} if len(leading) > 1 else {}
    stored = Stored(
        "hdf5", pixels.shape, values.dtype.name, offset, axes=axes, parts=parts, notes=tuple(notes)
    )
    return dataclasses.replace(radiograph, stored=stored)


def _opened(file: BinaryIO, where: str) -> h5py.File:
    import h5py

    file.seek(0)
    superblock = file.read(_FLAGS + 1)
    if (
        superblock[8:9] == b"\3" and superblock[_FLAGS] & _WRITING
    ):  # not looked at where Python reads the bytes
        raise InputError(
            where=where,
            expected="an HDF5 file that is closed",
            found="one that is being written, or whose writer ended without closing it",
            advice="wait until the program that writes it is done, or run `h5clear -s` on a copy",
        )
    try:
        return h5py.File(file, "r")
    except OSError as error:
        said = reason_of(error)
        if "truncated" in str(error):
            raise InputError(
                where=where,
                expected="an HDF5 file that is whole",
                found="one that is cut off or still being written",
                advice="wait until the program that writes it is done, or copy the file again",
            ) from error
        raise damaged(where, expected="an HDF5 file that can be opened", found=said) from error


def top_of(h5: h5py.File, name: str) -> Any:
    """The group below the root in which a dataset lies, such as an NXentry, or the root itself."""
    first = name.strip("/").split("/")[0]
    return h5[first] if "/" in name.strip("/") else h5


def record_in(top: Any) -> str:
    """Our record, nothing where there is none."""
    import h5py

    for name in top:
        if not name.startswith(PROCESS) or not _inside(top, name):
            continue
        group = top[name]
        if isinstance(group, h5py.Group) and RECORD in group and isinstance(group[RECORD], h5py.Dataset):
            text = _text(group[RECORD])
            if fields_of(text):
                return text
    return ""


def _inside(group: Any, name: str) -> bool:
    """Whether a name in a group leads to an object of this file, without a detour."""
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _text(value: Any) -> str:
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


def _number(group: Any, name: str) -> tuple[float, str]:
    """A number beside the images and its unit, 0 where there is none."""
    import h5py

    data = group.get(name) if _inside(group, name) else None
    if not isinstance(data, h5py.Dataset) or data.size != 1 or data.dtype.kind not in "iuf":
        return 0.0, ""
    number = float(np.asarray(data[()]).reshape(-1)[0])
    return (number if 0 < number < math.inf else 0.0), _text(data.attrs.get("units"))


def _pitch_um(group: Any) -> tuple[float, float] | None:
    sides = []
    for name in ("y_pixel_size", "x_pixel_size"):
        number, unit = _number(group, name)
        sides.append(float(f"{number * (micrometres(unit) or 0.0):.12g}"))
    return (sides[0], sides[1]) if min(sides) > 0 else None


def _exposure(group: Any) -> dict[str, Any]:
    number, unit = _number(group, "count_time")
    seconds = number * _SECONDS.get(unit, 0.0)
    return {"exposure_s": float(f"{seconds:.12g}")} if seconds else {}


def _values(data: Any, *, size: int, where: str) -> Pixels:
    """All images, (H, W) for one, (N, H, W) for more, in native byte order."""
    needed = math.prod(data.shape) * data.dtype.itemsize
    stored = min(data.id.get_storage_size(), size)
    if stored == 0:
        raise InputError(
            where=where,
            expected="images that are written",
            found=f"dataset {data.name} without any, perhaps still to come",
            advice="wait until the program that writes it is done",
        )
    if data.chunks is not None:
        _check_chunks(data, needed=needed, where=where)
    check_plausible(where, needed=needed, stored=stored, packed=bool(_filter_codes(data)))
    shape, chunk = data.shape, (data.chunks or (1,) * data.ndim)
    values = np.empty(shape, data.dtype.newbyteorder("="))
    step = chunk[-3] if len(shape) > 2 else 1
    for place in np.ndindex(shape[:-3]):
        if len(shape) == 2:
            data.read_direct(values)
            break
        for start in range(0, shape[-3], step):
            part = (*place, slice(start, min(start + step, shape[-3])))
            data.read_direct(values, part, part)
    frames = math.prod(shape[:-2])
    return values.reshape(shape[-2:] if frames == 1 else (frames, *shape[-2:]))


def _check_chunks(data: Any, *, needed: int, where: str) -> None:
    """Refuse chunks larger than the images, of which some are missing, or that cannot be unpacked."""
    import h5py

    chunk = math.prod(data.chunks) * data.dtype.itemsize
    if chunk > max(_SMALL_CHUNK // 2, 4 * needed):
        raise damaged(
            where, expected=f"chunks for {needed} bytes of images", found=f"chunks of {chunk} bytes"
        )
    expected = math.prod(-(-length // part) for length, part in zip(data.shape, data.chunks, strict=True))
    found = data.id.get_num_chunks()
    if found < expected:
        raise InputError(
            where=where,
            expected=f"{expected} chunks of images in {data.name}",
            found=f"{found}; the others were never written, or are still to come",
            advice="wait until the program that writes it is done, or cut the dataset to what there is",
        )
    for code, name in _filter_codes(data):
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                where=where,
                expected="a compression that HDF5 has itself",
                found=f"filter {code} ({name or 'without a name'})",
                advice="repack it with `h5repack -f GZIP=4`, or install hdf5plugin and set HDF5_PLUGIN_PATH",
            )


def _filter_codes(data: Any) -> list[tuple[int, str]]:
    plan = data.id.get_create_plist()
    filters = [plan.get_filter(index) for index in range(plan.get_nfilters())]
    return [(int(each[0]), each[3].decode("latin-1")) for each in filters]


def _filters(data: Any) -> dict[str, Any]:
    """How the images are compressed, in h5py's words; deflate where they are not, or in another way."""
    filters = {"shuffle": bool(data.shuffle), "fletcher32": bool(data.fletcher32)}
    if data.compression in ("gzip", "lzf"):
        options = {"compression_opts": data.compression_opts} if data.compression == "gzip" else {}
        return {"compression": data.compression, **options, **filters}
    return {**DEFLATE, "fletcher32": filters["fletcher32"]}


class _Tree:
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
            address = int(h5py.h5o.get_info(one.id).addr)
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise self._unnamed(f"more than {_MOST_OBJECTS} objects")
            yield path, one
            if isinstance(one, h5py.Group):
                names = sorted(name for name in one if _inside(one, name))
                waiting.extend((posixpath.join(path, name), one[name]) for name in names[:_MOST_OBJECTS])

    def default(self) -> str:
        """The path of the images that are shown by default (NeXus: `default`, `signal`), or the only ones."""
        import h5py

        group, path = self.h5["/"], "/"
        for _ in range(_MOST_LINKS):
            word = _text(group.attrs.get("default")) or _text(group.attrs.get("signal"))
            if not word or not isinstance(group, h5py.Group):
                break
            path = self.path_of(posixpath.join(path, word))
            if isinstance(self.h5[path], h5py.Dataset):
                return path
            group = self.h5[path]
        images, signals = [], []
        for name, one in self.objects():
            if isinstance(one, h5py.Dataset) and _can_be_images(one):
                images.append(name)
            elif (
                isinstance(one, h5py.Group)
                and (word := _text(one.attrs.get("signal")))
                and _inside(one, word)
            ):
                signals.append(posixpath.join(name, word))
        found = [name for name in signals if name in images] or images
        if len(found) == 1:
            return found[0]
        raise self._unnamed(f"{len(found)}: {', '.join(found[:8])}" if found else "none")

    def images(self, name: str) -> Any:
        """The dataset of that path, which must hold images in this file."""
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

        address = int(h5py.h5o.get_info(data.id).addr)
        first, homes = data.name, list[Any]()
        for path, one in self.objects():
            if int(h5py.h5o.get_info(one.id).addr) == address:
                first = path
            elif isinstance(one, h5py.Group):
                inner = (one[name] for name in one if _inside(one, name))
                if any(int(h5py.h5o.get_info(each.id).addr) == address for each in inner):
                    homes.append(one)
        return first, homes

    def beside(self, name: str, notes: list[str]) -> bytes:
        """All but the values of the images and our record, as a file; what is too large is noted."""
        import h5py

        kept = io.BytesIO()
        left = LARGEST_BESIDE
        places: dict[int, str] = {}
        process = {
            posixpath.join(top_of(self.h5, name).name, each) for each in _processes(top_of(self.h5, name))
        }
        with h5py.File(kept, "w") as out:
            for path, one in self.objects():
                if any(path == each or path.startswith(each + "/") for each in process):
                    continue
                places[int(h5py.h5o.get_info(one.id).addr)] = path
                if isinstance(one, h5py.Group):
                    group = out.require_group(path)
                    copy_attributes(one, group, notes)
                    _copy_links(one, group, self.where)
                elif path == name:
                    copy_attributes(one, out.create_dataset(path, data=h5py.Empty("u1")), notes)
                elif one.is_virtual or one.external or one.id.get_storage_size() > left:
                    notes.append(f"{path}, which is large or lies in another file")
                else:
                    left -= one.id.get_storage_size()
                    self.h5.copy(one, out, name=path)
            self._again(out, places, process, notes)
        return kept.getvalue()

    def _again(self, out: h5py.File, places: dict[int, str], process: set[str], notes: list[str]) -> None:
        """Objects that bear several names get them again."""
        import h5py

        for path in list(places.values()):
            one = self.h5[path]
            if not isinstance(one, h5py.Group):
                continue
            for name in sorted(each for each in one if _inside(one, each)):
                here = posixpath.join(path, name)
                address = int(h5py.h5o.get_info(one[name].id).addr)
                first = places.get(address)
                if first and first != here and here not in process and first in out and name not in out[path]:
                    out[here] = out[first]

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


def _processes(top: Any) -> list[str]:
    """Names of groups of ours in a group."""
    import h5py

    names = [name for name in top if name.startswith(PROCESS) and _inside(top, name)]
    return [name for name in names if isinstance(top[name], h5py.Group) and RECORD in top[name]]


def _copy_links(one: Any, group: Any, where: str) -> None:
    """Soft and external links as they stand; neither is followed."""
    import h5py

    for name in sorted(one):
        link = one.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            group[name] = h5py.SoftLink(link.path)
        elif isinstance(link, h5py.ExternalLink):
            group[name] = h5py.ExternalLink(link.filename, link.path)


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
