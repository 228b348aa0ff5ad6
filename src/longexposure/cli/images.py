"""`enhance` and `info`: what is done with a user's images."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from longexposure.cli.batch import Batch, is_report, is_results
from longexposure.cli.options import (
    BadPixelMasksOption,
    BadPixelsOption,
    Command,
    CompressOption,
    ConfigOption,
    DatasetOption,
    DeviceOption,
    EngineOption,
    GuardOption,
    JsonOption,
    ModelOption,
    NoiseOption,
    PrecisionOption,
    QuietOption,
    RecursiveOption,
    ReportImagesOption,
    ReportPlaceOption,
    SidecarOption,
    StrengthOption,
    places_of,
    refuse_target,
)
from longexposure.cli.terminal import echo, print_facts, progress
from longexposure.format import json_text

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
    config: ConfigOption = None,
    model: ModelOption = "fast",
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: StrengthOption = 1.0,
    noise: NoiseOption = None,
    bad_pixels: BadPixelsOption = None,
    bad_pixel_masks: BadPixelMasksOption = False,
    guard: GuardOption = False,
    recursive: RecursiveOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Enhance anew what is done, and replace enhanced files.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with before/after sliders.")
    ] = None,
    report_images: ReportImagesOption = True,
    report_place: ReportPlaceOption = None,
    sidecar: SidecarOption = False,
    compress: CompressOption = None,
    dataset: DatasetOption = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would be done with each file, and do nothing.")
    ] = False,
) -> None:
    """Enhance radiographs: noise gone, structures and grey values kept; what is done already is skipped."""
    from longexposure.enhance.choices import ModelChoice
    from longexposure.enhance.jobs import plan_files, settings_of
    from longexposure.io.defect_maps import read_defect_map
    from longexposure.noise.calibration import read_calibration

    refuse_target(report, suffixes=(".html", ".htm"), ours=is_report)
    refuse_target(json_file, suffixes=(".json",), ours=is_results)
    places = places_of(report_place)
    choice = ModelChoice(model, engine=engine, device=device, precision=precision)
    known = None if noise is None else read_calibration(noise)
    faulty = None if bad_pixels is None else read_defect_map(bad_pixels)
    to_stderr = str(json_file) == "-"
    with _ended_by_signals():
        with progress("looking", total=None, quiet=quiet) as shown_progress:
            jobs = plan_files(
                inputs,
                out,
                choice,
                noise=known,
                strength=strength,
                force=force,
                recursive=recursive,
                sidecar=sidecar,
                compress=compress,
                bad_pixels=faulty,
                masks=bad_pixel_masks,
                dataset=dataset,
                guard=guard,
                on_job=lambda done, total, job: shown_progress.part(done, f"of {total}, {job.name}"),
            )
        batch = Batch(jobs, quiet=quiet, to_stderr=to_stderr)
        if dry_run:
            settings_of(
                choice, known, strength=strength, compress=compress, bad_pixels=faulty, guard=guard
            )  # so that a model that is not there is told
            batch.foretell()
        else:
            model_ahead = choice.ahead() if any(job.waits for job in jobs) else choice
            from longexposure.enhance.files import (
                enhance_files,
            )  # slow, so not before the model is on its way

            stream = enhance_files(
                jobs,
                out,
                model_ahead,
                noise=known,
                strength=strength,
                sidecar=sidecar,
                compress=compress,
                bad_pixels=faulty,
                masks=bad_pixel_masks,
                dataset=dataset,
                guard=guard,
                on_progress=batch.at_work,
            )
            try:
                batch.follow(stream, report, images=report_images, places=places)
            finally:
                batch.tell(json_file)
    if batch.errors:
        raise typer.Exit(batch.errors[0].exit_code)


@app.command(cls=Command)
def info(
    file: Annotated[Path, typer.Argument(help="A radiograph, a checkpoint or a noise calibration (.toml).")],
    *,
    dataset: DatasetOption = None,
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
        facts |= _image_facts(file, dataset)
    if as_json:
        echo(json_text(facts))
    else:
        print_facts(facts)


def _image_facts(path: Path, dataset: str | None) -> dict[str, Any]:
    """Facts of the file, and of its first page's grey values; warnings are those of the default model."""
    import numpy as np

    from longexposure.enhance.statistics import ENHANCED_TWICE, examine
    from longexposure.io import read_radiograph
    from longexposure.models.checkpoint import read_header
    from longexposure.models.noise_range import conditions_of
    from longexposure.models.registry import DEFAULT, find_weights
    from longexposure.noise.words import in_words

    radiograph = read_radiograph(path, dataset=dataset, in_pages=True)
    page = radiograph.pixels if radiograph.pixels.ndim == 2 else radiograph.pixels[0]
    found = examine(page, where=str(path))
    left = page[~found.aside.mask.within()] if found.aside.mask.count else page
    trained = conditions_of(read_header(find_weights(DEFAULT)), model=DEFAULT)
    source = radiograph.source
    enhanced = [f"enhanced before ({by}): {ENHANCED_TWICE}"] if (by := radiograph.enhanced_by) else []
    stored_warnings = radiograph.stored.warnings if radiograph.stored else ()
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
            "percentiles": {f"{mark}": float(np.percentile(left, mark)) for mark in PERCENTILES},
            "noise": found.noise.as_dict(),
            "bad pixels": sum(found.bad_pixels.counts.values()),
            "bad pixels by kind": found.bad_pixels.counts,
            "set aside": {
                "in words": found.aside.in_words() or "nothing",
                "fraction": found.aside.mask.fraction,
                "pixels": found.set_aside,
            },
            "grey map": dataclasses.asdict(found.grey),
            "warnings": [*enhanced, *stored_warnings, *found.warnings(trained, radiograph.enhanced_by)],
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
