"""The report: one self-contained HTML page that compares radiographs in their true grey values.

The page carries the pixels themselves (little-endian, deflated, base64), not pictures of them, so that
window and level, readout and statistics act on all 16 bits. It asks nothing of any network.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Any, BinaryIO

import numpy as np

from longexposure.enhance.files import FileResult
from longexposure.errors import InputError
from longexposure.format import shown
from longexposure.io.writing import failing_as_output_error, refuse_existing, write_whole
from longexposure.radiograph import Pixels, check_pixels

CROP_PX = 2048
"""An image of more than CROP_PX * CROP_PX pixels is embedded as its central crop of this side."""

PAGES = 12
"""Pages of a stack that a report shows."""

_RECORDS = "<!-- records -->"
_SCRIPTS = ("grey.js", "drawing.js", "report.js")


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
        records = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closing it may fail too)
    try:
        for comparison in comparisons:
            with failing_as_output_error(path):
                records.writelines(_record(len(rows), comparison))
            rows.append((comparison.name, dict(comparison.facts)))
            del comparison  # else it would live on while the next one is made
        head, tail = _page(title, rows).split(_RECORDS)

        def page(file: BinaryIO) -> None:
            file.write(head.encode(errors="replace"))
            records.seek(0)
            shutil.copyfileobj(records, file, 1 << 20)
            file.write(tail.encode(errors="replace"))

        write_whole(path, page, overwrite=overwrite)
    finally:
        with suppress(OSError):
            records.close()
    return path


def _page(title: str, rows: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    style = _asset("report.css")
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    return Template(_asset("report.html")).substitute(
        title=escape(title),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        version=metadata.version("longexposure"),
        table=_table(rows),
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
        records=_RECORDS,
    )


def _asset(name: str) -> str:
    return (resources.files("longexposure.report") / "assets" / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    """The source expression that lets a Content-Security-Policy accept exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode(errors="replace")).digest()).decode()


def _table(rows: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    if not rows:
        return "<p>No images.</p>"
    labels = list(dict.fromkeys(label for _, facts in rows for label in facts))
    heads = "".join(f'<th scope="col">{escape(label)}</th>' for label in ["Image", *labels])
    lines = []
    for number, (name, facts) in enumerate(rows):
        cells = "".join(f"<td>{escape(str(facts.get(label, '-')))}</td>" for label in labels)
        link = f'<th scope="row"><a href="#image-{number}">{escape(name) or "(no name)"}</a></th>'
        lines.append(f"<tr>{link}{cells}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _record(number: int, comparison: Comparison) -> Iterator[bytes]:
    """One image's part of the page: its facts in words, then its pixels as text that is not run."""
    height, width = comparison.before.shape
    rows, columns = _shown(height, width)
    numbers = {
        "width": columns.stop - columns.start,
        "height": rows.stop - rows.start,
        "left": columns.start,
        "top": rows.start,
        "dtype": comparison.before.dtype.name,
        **_grey_ranges(comparison),
    }
    attributes = " ".join(f'data-{key}="{value}"' for key, value in numbers.items())
    yield f'<article class="record" id="image-{number}" {attributes}>\n'.encode(errors="replace")
    yield f"<h2>{escape(comparison.name) or '(no name)'}</h2>\n".encode(errors="replace")
    yield f"<p>{_kind(comparison.before)}</p>\n".encode(errors="replace")
    if (numbers["height"], numbers["width"]) != (height, width):
        yield f'<p class="crop">{_crop_text(rows, columns, height, width)}</p>\n'.encode(errors="replace")
    if comparison.note:
        yield f'<p class="note">{escape(comparison.note)}</p>\n'.encode(errors="replace")
    yield _history(comparison.history).encode(errors="replace")
    for role, pixels in comparison.images().items():
        yield f'<script type="application/octet-stream" class="{role}">'.encode(errors="replace")
        yield _encoded(pixels[rows, columns])
        yield b"</script>\n"
    yield b"</article>\n"


def _encoded(pixels: Pixels) -> bytes:
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), 6))


def _shown(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns to embed: all, or the centre of an image that is too large."""
    if height * width <= CROP_PX * CROP_PX:
        return slice(0, height), slice(0, width)
    top, left = max(0, (height - CROP_PX) // 2), max(0, (width - CROP_PX) // 2)
    return slice(top, min(height, top + CROP_PX)), slice(left, min(width, left + CROP_PX))


def _crop_text(rows: slice, columns: slice, height: int, width: int) -> str:
    return (
        f"Central crop, every pixel kept: columns x = {columns.start} to {columns.stop - 1}, "
        f"rows y = {rows.start} to {rows.stop - 1} of an image of {width} x {height} pixels. "
        "The window presets Auto and Full range are those of the whole image."
    )


def _grey_ranges(comparison: Comparison) -> dict[str, float | int]:
    """Window presets from the whole image: 0.5 to 99.5 % of the original, and all values of all."""
    before = _finite(comparison.before)
    low, high = np.percentile(before, (0.5, 99.5)) if before.size else (0.0, 1.0)
    every = [part for part in map(_finite, comparison.images().values()) if part.size]
    least = min((part.min() for part in every), default=0)
    most = max((part.max() for part in every), default=1)
    if comparison.before.dtype.kind == "u":
        whole = (int(np.floor(low)), int(np.ceil(high)), int(least), int(most))
        return dict(zip(("auto-lower", "auto-upper", "least", "most"), whole, strict=True))
    parts = (float(low), float(high), float(least), float(most))
    return dict(zip(("auto-lower", "auto-upper", "least", "most"), parts, strict=True))


def _finite(pixels: Pixels) -> Pixels:
    return pixels if pixels.dtype.kind == "u" else pixels[np.isfinite(pixels)]


def _kind(pixels: Pixels) -> str:
    size = " x ".join(str(side) for side in reversed(pixels.shape))
    return f"{size} pixels, {pixels.dtype.name}"


def _history(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return "<p>No history was handed over.</p>\n"
    items = "\n".join(f"<li><dl>{_settings(step)}</dl></li>" for step in steps)
    return f'<details class="history"><summary>History ({len(steps)})</summary><ol>{items}</ol></details>\n'


def _settings(step: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for key, value in step.items():
        if isinstance(value, Mapping):
            parts.append(_settings(value, f"{prefix}{key}."))
        else:
            parts.append(f"<div><dt>{escape(f'{prefix}{key}')}</dt><dd>{escape(str(value))}</dd></div>")
    return "".join(parts)
