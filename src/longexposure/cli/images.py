"""`enhance` and `info`: what is done with a user's images."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longexposure.cli.options import (
    Command,
    DeviceOption,
    EngineOption,
    JsonOption,
    OverwriteOption,
    PrecisionOption,
    ReportImagesOption,
    ReportPlaceOption,
    places_of,
    put_json,
    refuse_target,
)
from longexposure.cli.terminal import print_facts, print_table, progress
from longexposure.errors import LongExposureError
from longexposure.format import json_text

if TYPE_CHECKING:
    from longexposure.enhance.files import FileResult

PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
"""Marks of the grey values that `info` tells."""

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt")
"""Suffixes that `info` takes for checkpoints; all but the first are refused there with advice."""

app = typer.Typer()


@app.command(cls=Command)
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Radiographs or folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the enhanced files.")],
    *,
    model: Annotated[str, typer.Option(help="A name that `longexposure models` lists, or a file.")] = "fast",
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of the change to apply: 0 none, 1 all.")
    ] = 1.0,
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The machine's noise, which `noise machine` measured."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with before/after sliders.")
    ] = None,
    report_images: ReportImagesOption = True,
    report_place: ReportPlaceOption = None,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write histories as JSON beside the images.")
    ] = False,
    compress: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="none, deflate, lzw, zstd, packbits, lzma; default: as the input TIFF."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    json_file: JsonOption = None,
) -> None:
    """Enhance radiographs: noise gone, structures and grey values kept."""
    from longexposure.enhance.enhancer import load_enhancer
    from longexposure.enhance.files import enhance_files
    from longexposure.io import expand_inputs
    from longexposure.noise.calibration import read_calibration

    refuse_target(report, suffixes=(".html", ".htm"), overwrite=overwrite)
    refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    places = places_of(report_place)
    sources = expand_inputs(inputs)
    known = None if noise is None else read_calibration(noise)
    load = functools.partial(load_enhancer, model, engine=engine, device=device, precision=precision)
    stream = enhance_files(
        sources,
        out,
        load,
        noise=known,
        strength=strength,
        overwrite=overwrite,
        sidecar=sidecar,
        compress=compress,
    )
    followed = _Followed(stream, total=len(sources))
    try:
        with _ended_by_signals():
            _consume(followed, report=report, images=report_images, places=places, overwrite=overwrite)
    finally:
        print_table(followed.rows, to_stderr=str(json_file) == "-")
        if json_file is not None and followed.records:
            put_json(followed.records, json_file, overwrite=overwrite)
    if followed.first_error is not None:
        raise typer.Exit(followed.first_error.exit_code)


@app.command(cls=Command)
def info(
    file: Annotated[Path, typer.Argument(help="A radiograph, a checkpoint or a noise calibration (.toml).")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what the tool sees in an image, a checkpoint or a noise calibration."""
    from longexposure.models.checkpoint import read_header, sha256_of
    from longexposure.noise.calibration import read_calibration

    facts: dict[str, Any] = {"file": str(file)}
    if file.suffix.lower() == ".toml":
        calibration = read_calibration(file)
        facts |= calibration.model_dump(mode="json") if as_json else calibration.facts()
    elif file.suffix.lower() in CHECKPOINTS:
        header = read_header(file)
        facts |= {"sha256": sha256_of(file), "bytes": file.stat().st_size, **header.model_dump()}
    else:
        facts |= _image_facts(file)
    if as_json:
        typer.echo(json_text(facts))
    else:
        print_facts(facts)


def _image_facts(path: Path) -> dict[str, Any]:
    """Facts of the file, and of its first page's grey values; warnings are those of the default model."""
    import numpy as np

    from longexposure.enhance.statistics import examine
    from longexposure.io import read_radiograph
    from longexposure.models.checkpoint import read_header
    from longexposure.models.noise_range import conditions_of
    from longexposure.models.registry import DEFAULT, find_weights
    from longexposure.noise.words import in_words

    radiograph = read_radiograph(path)
    page = radiograph.pixels if radiograph.pixels.ndim == 2 else radiograph.pixels[0]
    found = examine(page, where=str(path))
    trained = conditions_of(read_header(find_weights(DEFAULT)), model=DEFAULT)
    source = radiograph.source
    return {
        "format": source.format if source else None,
        "sha256": source.sha256 if source else None,
        "shape": list(radiograph.pixels.shape),
        "dtype": radiograph.dtype,
        "pages": radiograph.pages,
        "domain": radiograph.domain,
        "polarity": radiograph.polarity,
        "pitch_um": radiograph.pitch_um,
        "description": radiograph.description,
        **(radiograph.stored.facts() if radiograph.stored else {}),
        "exposure": dict(radiograph.exposure),
        "history": [step.as_dict() for step in radiograph.history],
        "first page": {
            "in words": in_words(found.noise, found.grey),
            "percentiles": {f"{mark}": float(np.percentile(page, mark)) for mark in PERCENTILES},
            "noise": found.noise.as_dict(),
            "bad pixels": len(found.bad_pixels),
            "grey map": dataclasses.asdict(found.grey),
            "warnings": found.warnings(trained),
        },
    }


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Where the system ends the process, end after what is being written, not in the middle of it."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    fatal = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in fatal:
            signal.signal(number, end)
        yield
    finally:
        for number in fatal:
            signal.signal(number, signal.SIG_DFL)


def _consume(
    stream: Iterable[FileResult],
    *,
    report: Path | None,
    images: bool,
    places: list[tuple[int, int]],
    overwrite: bool,
) -> None:
    """Draw every result through, into the report where one is wanted; pixels are let go one by one."""
    if report is None:
        deque(stream, maxlen=0)
        return
    from longexposure.io import check_writable_folder
    from longexposure.report.comparison import comparisons_of, write_report

    check_writable_folder(report.parent)
    comparisons = itertools.chain.from_iterable(
        comparisons_of(result, facts=_noise_facts(result), places=places) for result in stream
    )
    write_report(comparisons, report, title="Enhanced radiographs", overwrite=overwrite, images=images)


def _noise_facts(result: FileResult) -> dict[str, Any]:
    """Columns of a table: where the noise is known from, and what was warned of."""
    if result.noise is None:
        return {}
    told = {"estimated": "the image", "image": "other images"}.get(result.noise.origin, result.noise.origin)
    return {"noise from": told, **({"warnings": "; ".join(result.warnings)} if result.warnings else {})}


class _Followed:
    """Passes results on once, tells of each on stderr, and keeps what is said of them, not their pixels."""

    def __init__(self, stream: Iterable[FileResult], *, total: int) -> None:
        self._stream = stream
        self._total = total
        self.rows: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.first_error: LongExposureError | None = None

    def __iter__(self) -> Iterator[FileResult]:
        from longexposure.report.comparison import row_of

        with progress("enhancing", total=self._total) as shown_progress:
            for done, result in enumerate(self._stream, start=1):
                if result.error is not None:
                    shown_progress.say(f"error: {result.error}")
                    self.first_error = self.first_error or result.error
                for warning in result.warnings:
                    shown_progress.say(f"warning: {result.source}: {warning}")
                became = "failed" if result.error else f"{result.seconds:.2f} s"
                shown_progress.update(done, f"{result.source.name}, {became}")
                engine = {"engine": result.engine} if result.engine else {}
                self.rows.append(row_of(result) | _noise_facts(result) | engine)
                self.records.append(result.as_dict())
                yield result
