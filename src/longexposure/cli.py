"""The command line: one function per command, which parses, calls and reports.

Nothing heavy is imported before a command runs, so that `--help` answers at once. Results go to stdout,
progress and errors to stderr; every failure is one line there, and the exit codes are those of
`longexposure.errors`.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import logging
import os
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from longexposure.errors import LongExposureError, OutputError
from longexposure.printing import json_text, numbers, print_facts, print_table, progress

if TYPE_CHECKING:
    from longexposure.enhancing import FileResult
    from longexposure.training import Progress as TrainingProgress

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
"""Marks of the grey values that `info` tells."""

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt")
"""Suffixes that `info` takes for checkpoints; all but the first are refused there with advice."""

DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]
PrecisionOption = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option(help="Arithmetic; bf16 is faster where the processor has it, f32 is exact."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]


class _Command(TyperCommand):
    """A command whose failures are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            typer.echo("interrupted: finished files stay; a training run goes on with --resume", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            raise typer.Exit(_report(error, debug=ctx.find_root().params.get("debug", False))) from error


app = typer.Typer(
    name="longexposure",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="longexposure")


def _show_version(wanted: bool) -> None:
    if wanted:
        from longexposure import __version__

        typer.echo(f"longexposure {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and log messages; goes before the command.")
    ] = False,
) -> None:
    """Make short X-ray exposures of chips and boards look and measure like long ones."""
    if debug:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("longexposure").setLevel(logging.DEBUG)


@app.command(cls=_Command)
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Radiographs or folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the enhanced files.")],
    *,
    model: Annotated[str, typer.Option(help="A name that `longexposure models` lists, or a file.")] = "fast",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of the change to apply: 0 none, 1 all.")
    ] = 1.0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with before/after sliders.")
    ] = None,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write histories as JSON beside the images.")
    ] = False,
    overwrite: OverwriteOption = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help='Write the results as JSON; "-" is stdout.')
    ] = None,
) -> None:
    """Enhance radiographs: noise gone, structures and grey values kept."""
    from longexposure.enhancing import enhance_files, load_enhancer
    from longexposure.io import expand_inputs

    _refuse_target(report, suffixes=(".html", ".htm"), overwrite=overwrite)
    _refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    sources = expand_inputs(inputs)
    enhancer = load_enhancer(model, device=device, precision=precision)
    stream = enhance_files(sources, out, enhancer, strength=strength, overwrite=overwrite, sidecar=sidecar)
    followed = _Followed(stream, total=len(sources))
    try:
        _consume(followed, report=report, overwrite=overwrite)
    finally:
        print_table(followed.rows, to_stderr=str(json_file) == "-")
        if json_file is not None and followed.records:
            _put_json(followed.records, json_file, overwrite=overwrite)
    if followed.first_error is not None:
        raise typer.Exit(followed.first_error.exit_code)


@app.command(cls=_Command)
def models() -> None:
    """List the models: name, what it was trained on, size, licence, scores."""
    from longexposure.models import catalogue

    for entry in catalogue():
        typer.echo(entry.name)
        facts = {
            "kind": entry.kind,
            "summary": entry.summary,
            "trained on": entry.trained_on,
            "parameters": entry.parameters,
            "size": None if entry.size_bytes is None else f"{entry.size_bytes / 1e6:.2f} MB",
            "licence": entry.licence,
            "scores": numbers(entry.scores),
            "ships": entry.shipped,
        }
        print_facts({name: fact for name, fact in facts.items() if fact not in (None, {})}, indent="  ")


@app.command(cls=_Command)
def info(
    file: Annotated[Path, typer.Argument(help="A radiograph or a checkpoint.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what the tool sees in an image or a checkpoint."""
    facts = _checkpoint_facts(file) if file.suffix.lower() in CHECKPOINTS else _image_facts(file)
    if as_json:
        typer.echo(json_text(facts))
    else:
        print_facts(facts)


@app.command(cls=_Command)
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train, on what, and how.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: log, state, checkpoint.")],
    *,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a value of the recipe.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Train a network from a recipe."""
    from longexposure.recipes import load_recipe
    from longexposure.training import train as train_network

    resolved = load_recipe(recipe, overrides or [])
    with progress("training", total=resolved.steps, every_s=10.0) as shown_progress:
        checkpoint = train_network(
            resolved,
            out,
            resume=resume,
            device=device,
            on_step=lambda at: shown_progress.update(at.step, _training_line(at)),
        )
    typer.echo(str(checkpoint))


@app.command(cls=_Command)
def evaluate(
    *,
    data: Annotated[Path, typer.Option(help="Folder of pairs: LQ/name and HQ/name, at any depth.")],
    model: Annotated[list[str], typer.Option(help="A name or a checkpoint file; may be repeated.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.json", help="Where the scores go.")],
    data_range: Annotated[
        float | None,
        typer.Option(help="Full range of the grey values; float files need it."),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Score models on pairs of short and long exposures."""
    from longexposure.evaluating import evaluate as evaluate_models
    from longexposure.evaluating import write_evaluation

    _refuse_target(out, suffixes=(".json",), overwrite=overwrite)
    done = itertools.count(1)
    with progress("scoring", total=None, every_s=10.0) as shown_progress:
        evaluation = evaluate_models(
            data,
            model,
            device=device,
            precision=precision,
            data_range=data_range,
            on_image=lambda score: shown_progress.update(next(done), f"{score.model}, {score.name}"),
        )
    write_evaluation(evaluation, out, overwrite=overwrite)
    print_table(evaluation.summary())


def _image_facts(path: Path) -> dict[str, Any]:
    """Facts of the file, and of the grey values of its first page."""
    import numpy as np

    from longexposure.enhancing import examine
    from longexposure.io import read_radiograph

    radiograph = read_radiograph(path)
    page = radiograph.pixels if radiograph.pixels.ndim == 2 else radiograph.pixels[0]
    found = examine(page)
    source = radiograph.source
    return {
        "file": str(path),
        "format": source.format if source else None,
        "sha256": source.sha256 if source else None,
        "shape": list(radiograph.pixels.shape),
        "dtype": radiograph.pixels.dtype.name,
        "pages": radiograph.pages,
        "domain": radiograph.domain,
        "polarity": radiograph.polarity,
        "pitch_um": radiograph.pitch_um,
        "description": radiograph.description,
        "exposure": dict(radiograph.exposure),
        "history": [step.as_dict() for step in radiograph.history],
        "first page": {
            "percentiles": {f"{mark}": float(np.percentile(page, mark)) for mark in PERCENTILES},
            "noise": found.noise.as_dict(),
            "defect pixels": len(found.defects),
            "grey map": dataclasses.asdict(found.grey),
            "warnings": found.warnings,
        },
    }


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    from longexposure.models.checkpoint import read_header, sha256_of

    header = read_header(path)
    return {"file": str(path), "sha256": sha256_of(path), "bytes": path.stat().st_size, **header.model_dump()}


def _consume(stream: Iterable[FileResult], *, report: Path | None, overwrite: bool) -> None:
    """Draw every result through, into the report where one is wanted; pixels are let go one by one."""
    if report is None:
        deque(stream, maxlen=0)
        return
    from longexposure.io import check_writable_folder
    from longexposure.reporting import comparisons_of, write_report

    check_writable_folder(report.parent)
    comparisons = itertools.chain.from_iterable(map(comparisons_of, stream))
    write_report(comparisons, report, title="Enhanced radiographs", overwrite=overwrite)


class _Followed:
    """Passes results on once, tells of each on stderr, and keeps what is said of them, not their pixels."""

    def __init__(self, stream: Iterable[FileResult], *, total: int) -> None:
        self._stream = stream
        self._total = total
        self.rows: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.first_error: LongExposureError | None = None

    def __iter__(self) -> Iterator[FileResult]:
        from longexposure.reporting import row_of

        with progress("enhancing", total=self._total) as shown_progress:
            for done, result in enumerate(self._stream, start=1):
                if result.error is not None:
                    shown_progress.say(f"error: {result.error}")
                    self.first_error = self.first_error or result.error
                for warning in result.warnings:
                    shown_progress.say(f"warning: {result.source}: {warning}")
                became = "failed" if result.error else f"{result.seconds:.2f} s"
                shown_progress.update(done, f"{result.source.name}, {became}")
                self.rows.append(row_of(result))
                self.records.append(result.as_dict())
                yield result


def _training_line(at: TrainingProgress) -> str:
    left = timedelta(seconds=round(at.seconds_left))
    return f"loss {at.loss:.4g}, lr {at.lr:.2e}, {at.mpx_per_s:.2f} Mpx/s, {left} left"


def _report(error: Exception, *, debug: bool) -> int:
    """Tell of a failure in one line, with the traceback where it is asked for; returns the exit code."""
    if debug:
        traceback.print_exception(error)
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, LongExposureError):
        typer.echo(f"error: {line}", err=True)
        return error.exit_code
    advice = "" if debug else "; run `longexposure --debug ...` for the traceback, and report it"
    typer.echo(f"error: unexpected {type(error).__name__}: {line}{advice}", err=True)
    return 1


def _refuse_target(path: Path | None, *, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a file that may not be written before the work is done, rather than after it.

    The suffix is held to what is written there, so that no option can replace a radiograph or a checkpoint.
    """
    if path is None or str(path) == "-":
        return
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            where=str(path),
            expected=f"a name that ends in {' or '.join(suffixes)}",
            found=repr(path.suffix),
            advice="choose such a name; images and checkpoints are never replaced by reports",
        )
    if os.path.exists(path) and not overwrite:  # noqa: PTH110 (never raises, unlike Path.exists)
        raise OutputError(
            where=str(path),
            expected="a name that is free",
            found="an existing file",
            advice="use --overwrite or another name",
        )


def _put_json(value: object, path: Path, *, overwrite: bool) -> None:
    """JSON into a file, whole or not at all; "-" is stdout."""
    if str(path) == "-":
        typer.echo(json_text(value))
        return
    from longexposure.io import write_whole

    write_whole(path, (json_text(value) + "\n").encode(), overwrite=overwrite, parents=True)
