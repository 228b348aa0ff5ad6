"""Writing HDF5: the source's layout and attributes again, or a plain NeXus file (NXdata, NIAC 2014)."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from longexposure.io.hdf5 import AT_ONCE, DEFLATE, PROCESS, RECORD, Hdf5Parts, top_of
from longexposure.io.hdf5_tree import copy_attributes, copy_objects
from longexposure.io.record import fields_of, is_plain, record_json
from longexposure.radiograph import Radiograph
from longexposure.system import require

if TYPE_CHECKING:
    import h5py

NEW = "/entry/data/data"
"""Path of the images in a file whose source is none of HDF5."""

_AXES = ("frame", "y", "x")


def write_hdf5(radiograph: Radiograph, file: BinaryIO, *, compress: str | None = None) -> None:
    """Write the images in type, byte order, axes and chunks of the source's dataset, compressed.

    All else that the source's file held stands where it stood. An image of another origin becomes a NeXus
    file, /entry/data/data. Our record lies in an NXprocess group beside them.

    Args:
        radiograph: what is written.
        file: open for reading and writing, empty.
        compress: "none" for no compression; any other leaves the source's, or deflate.

    Raises:
        OutputError: a history that cannot be written.
        ResourceError: h5py is not installed.
    """
    require("h5py", where="HDF5")
    import h5py

    stored = radiograph.stored if radiograph.stored and radiograph.stored.format == "hdf5" else None
    parts: Hdf5Parts | None = stored.parts if stored else None
    layout = parts or _nexus(radiograph)
    with h5py.File(file, "w") as out, h5py.File(io.BytesIO(layout.beside), "r") as beside:

        def dataset(one: Any, path: str) -> None:
            if path == layout.name:
                copy_attributes(one, _images(radiograph, out, layout, compress=compress), [])
            else:
                beside.copy(one, out, name=path)

        copy_objects(beside, out, dataset=dataset, notes=[])
        record = _record(radiograph, layout)
        if record:
            _process(top_of(out, layout.name), record)


def _images(radiograph: Radiograph, out: h5py.File, parts: Hdf5Parts, *, compress: str | None) -> Any:
    """The dataset of images in its place."""
    shape = radiograph.pixels.shape
    same = radiograph.stored is None or radiograph.stored.shape == shape or parts.shape == shape
    chunks: tuple[int, ...] | None = parts.chunks
    maxshape: tuple[int | None, ...] | None = parts.maxshape
    if same:
        shape = parts.shape
    else:
        chunks = maxshape = None
    if chunks is None:
        chunks = (*(1 for _ in shape[:-2]), *shape[-2:])
        maxshape = None
    dtype = np.dtype(radiograph.dtype)
    if radiograph.stored is not None and dtype == np.dtype(radiograph.stored.dtype):
        dtype = np.dtype(parts.dtype)
    filters = {} if compress == "none" else parts.filters
    data = out.create_dataset(parts.name, shape, dtype, chunks=chunks, maxshape=maxshape, **filters)
    _fill(radiograph, data)
    return data


def _fill(radiograph: Radiograph, data: Any) -> None:
    """The grey values, as many images and rows at a time as chunks have, so that none is packed twice."""
    convert = radiograph.stored.file_values if radiograph.stored else lambda share: share
    images = radiograph.pixels if radiograph.pixels.ndim == 3 else radiograph.pixels[None]
    height, width = data.shape[-2:]
    leading = data.shape[:-2] or (1,)
    step = data.chunks[-3] if len(data.shape) > 2 else 1
    high = data.chunks[-2] * max(1, AT_ONCE // (step * data.chunks[-2] * width * data.dtype.itemsize))
    for place in np.ndindex(leading[:-1]):
        first = int(np.ravel_multi_index((*place, 0), leading))
        for start in range(0, leading[-1], step):
            numbers = range(first + start, first + min(start + step, leading[-1]))
            for top in range(0, height, high):
                rows = slice(top, min(top + high, height))
                part = (*place, slice(start, start + len(numbers))) if data.ndim > 2 else ()
                share = np.stack([convert(images[number][rows]) for number in numbers])
                data[(*part, rows)] = share if part else share[0]


def _nexus(radiograph: Radiograph) -> Hdf5Parts:
    """The parts of a file of one entry with one NXdata, as if it had been read."""
    import h5py

    pixels, pitch, text = radiograph.pixels, radiograph.pitch_um, radiograph.description
    content = io.BytesIO()
    with h5py.File(content, "w") as out:
        out.attrs["default"] = "entry"
        entry = out.create_group("entry")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "data"
        group = entry.create_group("data")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "data"
        group.attrs["axes"] = list(_AXES[-pixels.ndim :])
        group.create_dataset("data", data=h5py.Empty("u1"))
        for name, side in zip(("y_pixel_size", "x_pixel_size"), pitch or (), strict=False):
            group.create_dataset(name, data=side).attrs["units"] = "um"
        titled = bool(text) and is_plain(text) and _is_utf8(text)
        if titled:
            entry.create_dataset("title", data=np.bytes_(text.encode()))
    return Hdf5Parts(
        beside=content.getvalue(),
        name=NEW,
        shape=pixels.shape,
        dtype=radiograph.dtype,
        chunks=(*(1 for _ in pixels.shape[:-2]), *pixels.shape[-2:]),
        maxshape=pixels.shape,
        filters=DEFLATE,
        text=text if titled else "",
        description=text,
        pitch_um=pitch,
    )


def _is_utf8(text: str) -> bool:
    try:
        return text.encode().decode() == text
    except UnicodeError:
        return False


def _record(radiograph: Radiograph, parts: Hdf5Parts) -> str:
    """Our record; nothing where the file's own fields say everything."""
    told = radiograph
    if radiograph.exposure == parts.exposure:
        told = dataclasses.replace(radiograph, exposure={})
    text = parts.text if radiograph.description == parts.description else ""
    record = record_json(
        told, description=text, resolution=None, pitch_um=parts.pitch_um, polarity="black-is-zero"
    )
    if fields_of(record) == fields_of(parts.record):
        return parts.record  # which names what that file was made from, not the file itself
    return record


def _process(top: Any, record: str) -> None:
    """An NXprocess that holds our record."""
    from longexposure import __version__

    name, number = PROCESS, 1
    while name in top:
        number += 1
        name = f"{PROCESS}_{number}"
    group = top.create_group(name)
    group.attrs["NX_class"] = "NXprocess"
    group.create_dataset("program", data=np.bytes_(b"longexposure"))
    group.create_dataset("version", data=np.bytes_(__version__.encode()))
    group.create_dataset(RECORD, data=np.bytes_(record.encode()))
