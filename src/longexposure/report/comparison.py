"""The report: one self-contained HTML page that compares radiographs in their true grey values.

The page carries the pixels themselves (little-endian, deflated, base64), not pictures of them, so that
window and level, readout and statistics act on all 16 bits. It asks nothing of any network.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from longexposure.enhance.files import FileResult
from longexposure.errors import InputError
from longexposure.format import shown
from longexposure.io.writing import failing_as_output_error, refuse_existing, write_whole
from longexposure.radiograph import Pixels, check_pixels
from longexposure.report.pages import TEMPLATES

CROP_PX = 2048
"""An image of more than CROP_PX * CROP_PX pixels is embedded as its central crop of this side."""

PAGES = 12
"""Pages of a stack that a report shows."""

PRESETS = ("auto-lower", "auto-upper", "least", "most")
"""Grey values that the page's buttons for the window take."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One radiograph before and after, with what there is to say about it.

    Attributes:
        name: how the table calls it.
        before: the original, (H, W), uint8, uint16 or float32.
        after: the enhanced one, same shape and dtype.
        reference: a known long exposure, same shape and dtype.
        facts: label to formatted value; each label is a column of the table.
        history: steps of the enhanced image, oldest first (`Step.as_dict`, file hashes).
        note: free text shown with the image.

    Raises:
        InputError: not one 2-D image each, or shapes or dtypes differ.
    """

    name: str
    before: Pixels
    after: Pixels
    reference: Pixels | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    note: str = ""

    def __post_init__(self) -> None:
        for role, pixels in self.images().items():
            where = f"{self.name} ({role})"
            check_pixels(pixels, where=where)
            expected = (self.before.shape, self.before.dtype)
            if pixels.ndim != 2 or (pixels.shape, pixels.dtype) != expected:
                raise InputError(
                    where=where,
                    expected=f"one image, shape and type of the original ({_kind(self.before)})",
                    found=_kind(pixels),
                    advice="compare images of one size and type, one page of a stack at a time",
                )

    def images(self) -> dict[str, Pixels]:
        """The images by role: before, after and, where there is one, reference."""
        pair = {"before": self.before, "after": self.after}
        return pair if self.reference is None else {**pair, "reference": self.reference}


def row_of(result: FileResult) -> dict[str, Any]:
    """What the tables of command line and report say of a file."""
    if result.error is not None:
        return {"file": result.source.name, "output": "failed"}
    return {
        "file": result.source.name,
        "size": " x ".join(map(str, result.shape)) + f" {result.dtype}",
        "noise before": result.sigma_before,
        "after": result.sigma_after,
        "bad pixels": result.bad_pixels,
        "s/Mpx": result.seconds / max(result.megapixels, 1e-6),
        "output": result.output.name if result.output else None,
    }


def comparisons_of(
    result: FileResult, *, reference: Pixels | None = None, facts: Mapping[str, Any] | None = None
) -> Iterator[Comparison]:
    """The report's view of a file: a comparison a page, of a long stack the first `PAGES`; none if it failed.

    Args:
        result: an enhanced file, with its pixels.
        reference: a known long exposure of a single image.
        facts: further columns of the table.
    """
    if result.before is None or result.after is None:
        return
    row = {key: value for key, value in {**row_of(result), **(facts or {})}.items() if key != "file"}
    pages = [
        image.pixels if image.pixels.ndim == 3 else image.pixels[None]
        for image in (result.before, result.after)
    ]
    count = len(pages[0])
    for number, (before, after) in enumerate(zip(*pages, strict=True)):
        if number == PAGES:
            break
        yield Comparison(
            name=result.source.name + (f", page {number + 1}" if count > 1 else ""),
            before=before,
            after=after,
            reference=reference,
            facts={key: shown(value) for key, value in row.items()},
            history=[step.as_dict() for step in result.after.history],
            note=f"{count} pages, of which the first {PAGES} are shown" if count > PAGES else "",
        )


def write_report(
    comparisons: Iterable[Comparison],
    path: Path,
    *,
    title: str = "longexposure report",
    overwrite: bool = False,
) -> Path:
    """Write the page; comparisons are taken and let go one at a time.

    The file appears under its name only when it is complete. Beside it, disk space for a second copy
    of the pixels is needed while it is written.

    Returns:
        `path`.

    Raises:
        OutputError: the file exists and may not be overwritten, or cannot be written.
        InputError: from a comparison that is made while they are taken.
    """
    refuse_existing(path, overwrite=overwrite)
    rows: list[tuple[str, Mapping[str, str]]] = []
    with failing_as_output_error(path):
        records = tempfile.TemporaryFile(  # noqa: SIM115 (closing it may fail too)
            "w+", encoding="utf-8", errors="replace", newline="", dir=path.parent
        )
    try:
        record = TEMPLATES.get_template("record.html")
        for comparison in comparisons:
            with failing_as_output_error(path):
                records.writelines(record.generate(_record(len(rows), comparison)))
            rows.append((comparison.name, dict(comparison.facts)))
            del comparison  # else it would live on while the next one is made

        def page(file: BinaryIO) -> None:
            records.seek(0)
            TEMPLATES.get_template("report.html").stream(
                title=title,
                rows=rows,
                labels=list(dict.fromkeys(label for _, facts in rows for label in facts)),
                records=iter(lambda: records.read(1 << 20), ""),
            ).dump(file, "utf-8", "replace")

        write_whole(path, page, overwrite=overwrite)
    finally:
        with suppress(OSError):
            records.close()
    return path


def _record(number: int, comparison: Comparison) -> dict[str, Any]:
    """What the template of one image takes; its pixels are encoded when they are asked for.

    Of a large image the centre is shown, its window presets are those of the whole: 0.5 to 99.5 % of the
    original, and all values of all images.
    """
    images = comparison.images()
    height, width = comparison.before.shape
    rows, columns = slice(0, height), slice(0, width)
    if height * width > CROP_PX * CROP_PX:
        top, left = max(0, (height - CROP_PX) // 2), max(0, (width - CROP_PX) // 2)
        rows, columns = slice(top, min(height, top + CROP_PX)), slice(left, min(width, left + CROP_PX))
    little = comparison.before.dtype.newbyteorder("<")
    integer = comparison.before.dtype.kind == "u"
    finite = {role: pixels if integer else pixels[np.isfinite(pixels)] for role, pixels in images.items()}
    before, there = finite["before"], [part for part in finite.values() if part.size]
    low, high = np.percentile(before, (0.5, 99.5)) if before.size else (0.0, 1.0)
    least, most = (
        min((part.min() for part in there), default=0),
        max((part.max() for part in there), default=1),
    )
    presets = (np.floor(low), np.ceil(high), least, most) if integer else (low, high, least, most)
    return {
        "number": number,
        "name": comparison.name,
        "kind": _kind(comparison.before),
        "width": width,
        "height": height,
        "data": {
            "width": columns.stop - columns.start,
            "height": rows.stop - rows.start,
            "left": columns.start,
            "top": rows.start,
            "dtype": comparison.before.dtype.name,
            **dict(zip(PRESETS, map(int if integer else float, presets), strict=True)),
        },
        "note": comparison.note,
        "history": [list(_flat(step)) for step in comparison.history],
        "images": (
            (role, base64.b64encode(zlib.compress(np.ascontiguousarray(part, little).tobytes(), 6)).decode())
            for role, part in ((role, pixels[rows, columns]) for role, pixels in images.items())
        ),
    }


def _kind(pixels: Pixels) -> str:
    size = " x ".join(str(side) for side in reversed(pixels.shape))
    return f"{size} pixels, {pixels.dtype.name}"


def _flat(step: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The settings of a step, those inside a mapping under dotted names."""
    for key, value in step.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
