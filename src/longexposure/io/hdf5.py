"""Reading HDF5 and NeXus: one dataset of images, by its path or as the file's own attributes tell.

What lies beside it is kept as a small HDF5 file of its own, from which the writer makes the layout again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import os
import posixpath
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.errors import InputError
from longexposure.io.budget import ALWAYS_BYTES
from longexposure.io.checks import MAX_RATIO, check_plausible, damaged, reason_of
from longexposure.io.hdf5_tree import Tree, copy_attributes, copy_objects, inside, text_of
from longexposure.io.microscopy import micrometres
from longexposure.io.record import fields_of, radiograph_of
from longexposure.radiograph import Pages, Pixels, Radiograph, Source, Stored, computable
from longexposure.system import require

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PROCESS, RECORD = "longexposure", "record"
"""Names of our NXprocess group, beside the group of the images, and of the text in it."""

DEFLATE = {"compression": "gzip", "compression_opts": 4, "shuffle": True}

LARGEST_BESIDE = 32 * 2**20
"""Bytes of what is carried over beside the images."""

AT_ONCE = 256 * 2**20
"""Bytes of images that are read or written at a time where chunks reach over many of them."""

_FLAGS, _WRITING = 11, 0b101
"""Where a superblock of version 3 has its consistency flags, and those of a writer (HDF5 format, II.A)."""
_LARGE_CHUNK = 32 * 2**20
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_PACKING = (_DEFLATE, _LZF)
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


def read_hdf5(
    file: BinaryIO, source: Source, dataset: str | None = None, *, in_pages: bool = False
) -> Radiograph:
    """Read one dataset of images, (H, W) or (..., H, W), a chunk of frames at a time.

    Without a path it is the signal of the default NXdata, of the only NXdata, or the only dataset that can be
    images. Only what lies in the file itself is read. `x_pixel_size`, `y_pixel_size` and `count_time` beside
    it tell pitch and exposure, the title of its entry is the description.

    Raises:
        InputError: damaged, being written, without images, with several where none is named, or with pixels
            in other files, with the way out.
        ResourceError: h5py is not installed.
    """
    require("h5py", where=source.path)
    size, notes = file.seek(0, os.SEEK_END), list[str]()
    with contextlib.ExitStack() as stack:
        h5 = stack.enter_context(opened_hdf5(file, source.path))
        tree = Tree(h5, source.path)
        data = tree.images(tree.path_of(dataset) if dataset is not None else tree.default())
        name, homes = tree.names_of(data)
        images, top = _Images(data, size, source.path), top_of(h5, name)
        parts = Hdf5Parts(
            beside=_beside(h5, name, notes),
            name=name,
            shape=data.shape,
            dtype=data.dtype.str,
            chunks=data.chunks,
            maxshape=data.maxshape,
            filters=_kept_filters(data),
            text=text_of(top["title"] if inside(top, "title") else None),
            pitch_um=next(filter(None, map(_pitch_um, homes)), None),
            exposure=next(filter(None, map(_exposure, homes)), {}),
            record=_record_in(top),
        )
        values = images.pages(stack).held_unless(in_pages)
    pixels, offset = computable(values, where=source.path)
    told = fields_of(parts.record)
    told = told and {**told, "exposure": {**parts.exposure, **told["exposure"]}}
    radiograph = radiograph_of(
        pixels,
        source,
        text=parts.text,
        told={"exposure": parts.exposure, **told},
        resolution=None,
        pitch_um=parts.pitch_um,
        rounded=lambda _: None,
    )
    parts = dataclasses.replace(parts, description=radiograph.description)
    leading = parts.shape[:-2]
    axes = {f"axis {axis}": length for axis, length in enumerate(leading)} if len(leading) > 1 else {}
    stored = Stored(
        "hdf5", pixels.shape, values.dtype.name, offset, axes=axes, parts=parts, notes=tuple(notes)
    )
    return dataclasses.replace(radiograph, stored=stored)


def opened_hdf5(file: BinaryIO, where: str) -> h5py.File:
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


def _processes(top: Any) -> list[str]:
    """Names of groups of ours in a group."""
    import h5py

    names = [name for name in top if name.startswith(PROCESS) and inside(top, name)]
    return [name for name in names if isinstance(top[name], h5py.Group) and RECORD in top[name]]


def _record_in(top: Any) -> str:
    """Our record, nothing where there is none."""
    records = (text_of(top[name][RECORD]) for name in _processes(top) if inside(top[name], RECORD))
    return next((text for text in records if fields_of(text)), "")


def _beside(h5: h5py.File, name: str, notes: list[str]) -> bytes:
    """All but the values of the images and our record, as a file; what is too large is noted."""
    import h5py

    content, left = io.BytesIO(), LARGEST_BESIDE
    top = top_of(h5, name)
    ours = {posixpath.join(top.name, each) for each in _processes(top)}
    with h5py.File(content, "w") as out:

        def dataset(one: Any, path: str) -> None:
            nonlocal left
            if path == name:
                copy_attributes(one, out.create_dataset(path, data=h5py.Empty("u1")), notes)
                return
            stored = one.id.get_storage_size() if isinstance(one, h5py.Dataset) else 0
            elsewhere = isinstance(one, h5py.Dataset) and (one.is_virtual or one.external)
            if elsewhere or stored > left:
                notes.append(f"{path}, which is large or lies in another file")
                return
            left -= stored
            h5.copy(one, out, name=path)

        copy_objects(h5, out, dataset=dataset, left_out=ours.__contains__, notes=notes)
    return content.getvalue()


def _number(group: Any, name: str) -> tuple[float, str]:
    """A number beside the images and its unit, 0 where there is none."""
    import h5py

    data = group.get(name) if inside(group, name) else None
    if not isinstance(data, h5py.Dataset) or data.size != 1 or data.dtype.kind not in "iuf":
        return 0.0, ""
    number = float(np.asarray(data[()]).reshape(-1)[0])
    return (number if 0 < number < math.inf else 0.0), text_of(data.attrs.get("units"))


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


def block_length(chunks: tuple[int, ...] | None, image_bytes: int) -> int:
    """How many images are read or written at a time: as many as a chunk reaches over, within `AT_ONCE`."""
    reach = chunks[-3] if chunks and len(chunks) > 2 else 1
    return max(1, min(reach, AT_ONCE // image_bytes))


class _Images:
    """The images of a dataset, of which a block is in memory."""

    def __init__(self, data: Any, size: int, where: str) -> None:
        self.data, self.where, self.filters = data, where, _filters_of(data)
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
            self._check_chunks(needed)
        check_plausible(where, needed=needed, stored=stored, packed=bool(self.filters))
        self._first, self._block = 0, np.empty((0, *data.shape[-2:]), data.dtype.newbyteorder("="))

    def pages(self, opened: contextlib.ExitStack) -> Pages:
        """All of them, in the order of the file, in native byte order; what is opened stays so meanwhile."""
        count = math.prod(self.data.shape[:-2])
        stays = opened.pop_all()
        return Pages((count, *self.data.shape[-2:]), self._block.dtype, self._image, stays.close)

    def _image(self, number: int) -> Pixels:
        if not self._first <= number < self._first + len(self._block):
            self._read(number)
        image: Pixels = self._block[number - self._first]
        return image

    def _read(self, number: int) -> None:
        """Read the block in which an image lies; none goes beyond the last axis before those of an image."""
        shape, chunks = self.data.shape, self.data.chunks
        empty = self._block = self._block[:0].copy()
        leading = shape[:-2] or (1,)
        *place, at = (int(index) for index in np.unravel_index(number, leading))
        step = block_length(chunks, math.prod(shape[-2:]) * empty.itemsize)
        start = at // step * step
        end = min(start + step, leading[-1])
        part = (*place, slice(start, end)) if shape[:-2] else ()
        if chunks is not None and any(code in _PACKING for code, _ in self.filters):
            self._check_packed([range(each, each + 1) for each in place] + [range(start, end)])
        block = np.empty((end - start, *shape[-2:]), empty.dtype)
        self.data.read_direct(block if part else block[0], part)
        self._first, self._block = number - at + start, block

    def _check_chunks(self, needed: int) -> None:
        """Refuse chunks larger than the images, of which some are missing, or that cannot be unpacked."""
        import h5py

        data = self.data
        chunk = math.prod(data.chunks) * data.dtype.itemsize
        if chunk > max(_LARGE_CHUNK, 2 * needed):
            raise damaged(
                self.where, expected=f"chunks for {needed} bytes of images", found=f"chunks of {chunk} bytes"
            )
        expected = math.prod(-(-length // part) for length, part in zip(data.shape, data.chunks, strict=True))
        found = data.id.get_num_chunks()
        if found < expected:
            raise InputError(
                where=self.where,
                expected=f"{expected} chunks of images in {data.name}",
                found=f"{found}; the others were never written, or are still to come",
                advice="wait until the program that writes it is done, or cut the dataset to what there is",
            )
        for code, name in self.filters:
            if not h5py.h5z.filter_avail(code):
                raise self._unusual(f"filter {code} ({name or 'without a name'})")
        packing = [code for code, _ in self.filters if code in _PACKING]
        if packing and (
            len(packing) > 1 or [code for code, _ in self.filters][-1] not in (*packing, _FLETCHER32)
        ):
            raise self._unusual(
                f"filters {', '.join(str(code) for code, _ in self.filters)} one after another"
            )

    def _check_packed(self, leading: list[range]) -> None:
        """Refuse chunks that unpack to more than a chunk, which the library finds out when it has done so."""
        data = self.data
        sides = [*(leading if data.ndim > 2 else []), range(data.shape[-2]), range(data.shape[-1])]
        starts = [
            range(side.start // part * part, side.stop, part)
            for side, part in zip(sides, data.chunks, strict=True)
        ]
        most = math.prod(data.chunks) * data.dtype.itemsize
        for start in itertools.product(*starts):
            info = data.id.get_chunk_info_by_coord(start)
            if info.byte_offset is None or info.size * MAX_RATIO <= ALWAYS_BYTES:
                continue
            skipped, packed = data.id.read_direct_chunk(start)
            used = [code for number, (code, _) in enumerate(self.filters) if not skipped >> number & 1]
            if used[-1:] == [_FLETCHER32]:
                packed = packed[:-4]  # its sum
            for code in used:
                if code in _PACKING and not _fits(packed, code, most):
                    raise damaged(
                        self.where,
                        expected=f"chunks of {most} bytes",
                        found=f"one of {len(packed)} bytes that unpacks to more",
                    )

    def _unusual(self, found: str) -> InputError:
        return InputError(
            where=self.where,
            expected="a compression that HDF5 has itself",
            found=found,
            advice="repack it with `h5repack -f GZIP=4`, or install hdf5plugin and set HDF5_PLUGIN_PATH",
        )


def _fits(packed: bytes, code: int, most: int) -> bool:
    """Whether a chunk unpacks to no more than so many bytes."""
    if code == _LZF:
        import imagecodecs

        try:
            return len(imagecodecs.lzf_decode(packed, out=most)) <= most
        except imagecodecs.LzfError:
            return False
    unpacker, taken = zlib.decompressobj(), 0
    while packed and taken <= most:
        taken += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
    return taken <= most


def _filters_of(data: Any) -> list[tuple[int, str]]:
    """Numbers and names of the filters that chunks went through."""
    plan = data.id.get_create_plist()
    filters = [plan.get_filter(index) for index in range(plan.get_nfilters())]
    return [(int(each[0]), each[3].decode("latin-1")) for each in filters]


def _kept_filters(data: Any) -> dict[str, Any]:
    """How the images are compressed, in h5py's words; deflate where they are not, or in another way."""
    filters = {"shuffle": bool(data.shuffle), "fletcher32": bool(data.fletcher32)}
    if data.compression in ("gzip", "lzf"):
        options = {"compression_opts": data.compression_opts} if data.compression == "gzip" else {}
        return {"compression": data.compression, **options, **filters}
    return {**DEFLATE, "fletcher32": filters["fletcher32"]}
