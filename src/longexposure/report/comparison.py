"""The report: one HTML page that compares radiographs in their true grey values, and works alone.

In it are thumbnails of all images and lossless cut-outs of some, within `PAGE_BYTES` whatever their number;
beside it lies a folder from which the same page shows every image whole. Both carry the pixels themselves,
not pictures of them, so that window and level, readout and statistics act on all bits. It asks nothing of
any network.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from typing import Any, BinaryIO, ClassVar

from markupsafe import escape

from longexposure.enhance.files import FileResult
from longexposure.enhance.flags import middle_of
from longexposure.enhance.statistics import pages_of
from longexposure.errors import InputError, LongExposureError, OutputError
from longexposure.format import shown
from longexposure.io import read_radiograph
from longexposure.io.writing import failing_as_output_error, refuse_existing, write_whole
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Pixels, Radiograph, check_pixels
from longexposure.report.coding import packed, png_of
from longexposure.report.cutouts import Album, Picture, picture_of
from longexposure.report.images import ImageFolder
from longexposure.report.pages import TEMPLATES

PAGE_BYTES = 28_000_000
"""What a page may take, whatever is in it: a mail of 30 MB holds it."""

TEXT_BYTES = 6_000_000
"""What the records may take of it; beyond that, histories are left out, and beyond twice that, records."""

PICTURES = 6000
"""Of further images a page shows nothing: what is said of each takes its room."""

LETTERS, PROSE = 400, 1600
"""A longer name or value is cut in its middle, and a longer note, reason or warning."""

CUT_OUT = 4
"""Flags of an image that are cut out, the strongest; all that histories hold are drawn."""

FLAG = ("x", "y", "width", "height", "deviations", "data")
"""What the page is told of a flag."""

STEPS = 40
"""Steps of a history that are shown, the newest; and settings of a step."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One radiograph before and after, with what there is to say about it.

    Attributes:
        name: how the page calls it.
        before: the original, (H, W), uint8, uint16 or float32.
        after: the enhanced one, same shape and dtype.
        reference: a known long exposure, same shape and dtype.
        facts: label to formatted value; each label is a column of the table.
        history: steps of the enhanced image, oldest first (`Step.as_dict`, file hashes).
        note: free text shown with the image.
        state: what became of the file, in a word or two; they are counted above the table.
        warnings: what was warned of.
        stack: name of the stack whose page it is, if it is one.
        page: number of the page, from 1; all pages after the first share the row of the first.
        noise: of the original, which tells the most changed places.
        places: chosen places (x, y) in pixels, to be cut out whatever changed there.
        flags: boxes where what was taken away is not noise, strongest first (`longexposure.enhance.flags`).

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
    state: str = ""
    warnings: Sequence[str] = ()
    stack: str = ""
    page: int = 1
    noise: NoiseProfile | None = None
    places: Sequence[tuple[int, int]] = ()
    flags: Sequence[Mapping[str, Any]] = ()

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

    @property
    def kind(self) -> str:
        """Size and type, as the page says them."""
        return _kind(self.before)

    @property
    def reason(self) -> str:
        """Why there is nothing to see: there is."""
        return ""

    def images(self) -> dict[str, Pixels]:
        """The images by role: before, after and, where there is one, reference."""
        pair = {"before": self.before, "after": self.after}
        return pair if self.reference is None else {**pair, "reference": self.reference}


@dataclass(frozen=True)
class Unseen:
    """A file of which there is nothing to see.

    Attributes:
        name: how the page calls it.
        state: what became of it, in a word: failed, say.
        reason: why.
        facts: label to formatted value, as of a `Comparison`.
    """

    name: str
    state: str
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)
    kind = note = stack = ""
    history: ClassVar[Sequence[Mapping[str, Any]]] = ()
    warnings: ClassVar[Sequence[str]] = ()


def comparisons_of(
    result: FileResult,
    *,
    reference: Pixels | None = None,
    facts: Mapping[str, Any] | None = None,
    places: Sequence[tuple[int, int]] = (),
) -> Iterator[Comparison | Unseen]:
    """The report's view of a file: a comparison a page; what there is to say where it failed.

    The images of a skipped file are read from its files.

    Args:
        result: an enhanced file.
        reference: a known long exposure of a single image.
        facts: further columns of the table; warnings are those of the result.
        places: places (x, y) in pixels to be cut out, on every page that has them.
    """
    row = {**result.as_row(), **(facts or {})}
    name = str(row["file"])
    columns = {key: shown(value) for key, value in row.items() if key not in ("file", "warnings")}
    if result.error is not None:
        yield Unseen(name, "failed", str(result.error))
        return
    try:
        before, after = _radiographs(result)
        pages = [pages_of(each.pixels) for each in (before, after)]
        for number, (original, enhanced) in enumerate(zip(*pages, strict=True), start=1):
            flags = [flag for flag in result.strongest_flags if flag["page"] == number]
            comparison = Comparison(
                name=name + (f", page {number}" if len(pages[0]) > 1 else ""),
                before=original,
                after=enhanced,
                reference=reference,
                facts=columns,
                history=[step.as_dict() for step in after.history] if number == 1 else (),
                state=result.status,
                warnings=result.warnings,
                stack=name if len(pages[0]) > 1 else "",
                page=number,
                noise=_noise_of(after, number) or result.noise,
                places=[*places, *map(middle_of, flags[:CUT_OUT])],
                flags=flags,
            )
            yield comparison
            del comparison, original, enhanced  # else they would live on while the next file is made
    except (LongExposureError, MemoryError, ValueError) as error:
        yield Unseen(name, "not shown", str(error) or "too little memory", columns)


def _radiographs(result: FileResult) -> tuple[Radiograph, Radiograph]:
    if result.before is not None and result.after is not None:
        return result.before, result.after
    if result.output is None:
        raise InputError(
            where=str(result.source),
            expected="an enhanced file to show",
            found="none",
            advice="enhance it again",
        )
    options: dict[str, Any] = {"in_pages": True}
    if result.history:
        options["dataset"] = result.history[-1].settings.get("dataset")
    return read_radiograph(result.source, **options), read_radiograph(result.output, **options)


def _noise_of(after: Radiograph, page: int) -> NoiseProfile | None:
    """What the history of an enhanced radiograph says of a page's noise, if it does."""
    with suppress(LookupError, TypeError, ValueError, LongExposureError):
        return NoiseProfile(**after.history[-1].settings["pages"][page - 1]["noise"])
    return None


def write_report(
    comparisons: Iterable[Comparison | Unseen],
    path: Path,
    *,
    title: str = "longexposure report",
    overwrite: bool = False,
    images: bool = True,
) -> Path:
    """Write the page; comparisons are taken and let go one at a time.

    The page appears under its name only when it is complete. The folder beside it, NAME_files for NAME.html,
    grows with every comparison; tiles of an earlier page of this name go when the new one is there.

    Args:
        comparisons: what the page shows, in its order.
        path: the page.
        title: its heading.
        overwrite: replace the page of an earlier run.
        images: write the folder with the whole images.

    Returns:
        `path`.

    Raises:
        OutputError: the page exists and may not be overwritten, the folder's name is taken, or one of them
            cannot be written. What keeps an image from the folder does not keep it from the page: it is
            raised at the end.
        InputError: from a comparison that is made while they are taken.
    """
    refuse_existing(path, overwrite=overwrite)
    with failing_as_output_error(path):
        os.scandir(
            path.parent
        ).close()  # fails before the work, rather than after it, where there is no folder
    folder = None
    try:
        folder = ImageFolder(path)
    except OutputError:
        if images:
            raise
    report = _Report(title, folder if images else None)
    try:
        for each in comparisons:
            report.take(each)
            del each  # else it would live on while the next one is made
        write_whole(path, report.write, overwrite=overwrite)
    except BaseException:
        if folder:
            folder.undo()
        raise
    if folder:
        folder.tidy()
    if report.failure:
        raise report.failure
    return path


@dataclass
class _Entry:
    """A row of the table and its record: all of it but the pictures is text already."""

    name: str
    state: str
    facts: Mapping[str, str]
    warnings: int
    reason: str
    record: str
    pictures: list[Picture] = field(default_factory=list)


class _Report:
    """The page while it is put together, never larger than what the page may take."""

    def __init__(self, title: str, folder: ImageFolder | None) -> None:
        self.title, self.folder = title, folder
        self.failure: OutputError | None = None
        self.entries: list[_Entry] = []
        self.unlisted = self.unseen = self.nbytes = 0
        self.album = Album()

    def take(self, each: Comparison | Unseen) -> None:
        """Take an image, and its row where it begins one; where no room is left, only count it."""
        begins = isinstance(each, Unseen) or each.page <= 1 or not self.entries
        if begins:
            if self.nbytes > 2 * TEXT_BYTES:
                self.unlisted += 1
                return
            self._begin(each)
        if isinstance(each, Unseen):
            return
        if len(self.album.pictures) == PICTURES:
            self.unseen += 1
            return
        tiles = None
        if self.folder and not self.failure:
            try:
                tiles = self.folder.put(each.images())
            except OutputError as error:
                self.failure = error
        try:
            picture = picture_of(
                each.images(), detail=self.album.detail, noise=each.noise, chosen=each.places
            )
            picture.flags = [tuple(flag[key] for key in FLAG) for flag in each.flags]
        except MemoryError:  # the files after it shall not suffer
            self.unseen += 1
            return
        picture.name, picture.tiles = _cut(each.name, 80) if each.stack else "", tiles
        self.entries[-1].pictures.append(picture)
        self.album.add(picture, PAGE_BYTES - self.nbytes)

    def _begin(self, each: Comparison | Unseen) -> None:
        name, roomy = _cut(each.stack or each.name), self.nbytes < TEXT_BYTES
        warnings, reason, note = each.warnings[:STEPS], _cut(each.reason, PROSE), _cut(each.note, PROSE)
        record = TEMPLATES.get_template("record.html").render(
            number=len(self.entries),
            name=name,
            kind=each.kind,
            reason=f"{each.state}: {reason}" if reason else "",
            warnings=[_cut(text, PROSE) for text in warnings],
            note=note,
            history=[_flat(step) for step in each.history[-STEPS:]] if roomy else [],
            left_out=bool(each.history) and not roomy,
        )
        facts = {_cut(label): _cut(value) for label, value in each.facts.items()}
        self.entries.append(_Entry(name, each.state, facts, len(warnings), reason, record))
        texts = [record, *(str(escape(cell)) for cell in (name, reason, *facts.values()))]
        self.nbytes += 512 + sum(len(text.encode(errors="replace")) + 16 for text in texts)

    def write(self, file: BinaryIO) -> None:
        """Write the page into an open file."""
        room, pictures = PAGE_BYTES - self.nbytes, self._pictures()
        while (taken := sum(map(len, pictures.values()))) > room:
            before = self.album.nbytes
            self.album.fit(int(before * 0.98 * room / taken))
            if self.album.nbytes == before:
                break
            pictures = self._pictures()
        TEMPLATES.get_template("report.html").stream(
            title=self.title,
            entries=self.entries,
            states=Counter(entry.state or "shown" for entry in self.entries),
            warned=sum(entry.warnings > 0 for entry in self.entries),
            unlisted=self.unlisted,
            unseen=self.unseen,
            stated=any(entry.state for entry in self.entries),
            labels=list(dict.fromkeys(label for entry in self.entries for label in entry.facts)),
            folder=self.folder.url if self.folder else "",
            failure=str(self.failure) if self.failure else "",
            records=self._records(pictures),
        ).dump(file, "utf-8", "replace")

    def _pictures(self) -> dict[int, str]:
        """The markup of each picture, by its id."""
        template = TEMPLATES.get_template("picture.html")
        return {
            id(picture): template.render(
                name=picture.name,
                data=_data(picture),
                thumbnails={role: png_of(each) for role, each in picture.thumbnails.items()},
                cutouts=[
                    (number, role, base64.b64encode(packed(pixels)).decode())
                    for number, cutout in enumerate(picture.cutouts)
                    for role, pixels in cutout.images.items()
                ],
            )
            for picture in self.album.pictures
        }

    def _records(self, pictures: Mapping[int, str]) -> Iterator[str]:
        for entry in self.entries:
            yield entry.record
            yield from (pictures[id(picture)] for picture in entry.pictures)
            yield "</article>\n"


def _data(picture: Picture) -> str:
    """What the page's script needs to know of a picture, as JSON."""
    height, width = picture.shape
    data = {
        "width": width,
        "height": height,
        "dtype": picture.dtype.name,
        "window": picture.window,
        "least": min(each.least for each in picture.summaries.values()),
        "most": max(each.most for each in picture.summaries.values()),
        "summaries": picture.summaries,
        "factor": picture.factor,
        "ends": picture.ends,
        "places": picture.places,
        "flags": picture.flags,
        "cutouts": [(each.left, each.top, each.width, each.height) for each in picture.cutouts],
        "tiles": picture.tiles,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _kind(pixels: Pixels) -> str:
    size = " x ".join(str(side) for side in reversed(pixels.shape))
    return f"{size} pixels, {pixels.dtype.name}"


def _cut(text: str, letters: int = LETTERS) -> str:
    """The text, without its middle where it is long."""
    text = str(text)
    return text if len(text) <= letters else f"{text[: letters // 2]} ... {text[-letters // 2 :]}"


def _flat(step: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """The settings of a step as text, those in a mapping under dotted names; deep or long ones in short."""
    short = Repr()
    short.maxdict = short.maxlist = short.maxtuple = 8
    short.maxstring = short.maxother = LETTERS
    flat: list[tuple[str, str]] = []
    for key, value in list(step.items())[:STEPS]:
        if isinstance(value, Mapping) and depth < 3:
            flat += _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            flat.append(
                (_cut(f"{prefix}{key}"), _cut(value if isinstance(value, str) else short.repr(value)))
            )
    return flat
