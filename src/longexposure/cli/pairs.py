"""`check-pairs` and `evaluate`: pairs of short and long exposures on disk."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from longexposure.cli.options import (
    Command,
    DeviceOption,
    IncludeOption,
    OverwriteOption,
    PrecisionOption,
    put_json,
    refuse_target,
)
from longexposure.cli.terminal import echo, print_table, progress

app = typer.Typer()


@app.command("check-pairs", cls=Command)
def check_pairs(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pairs, or a manifest.")],
    *,
    exposures: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LQ HQ", help="Seconds of both exposures, as in --exposures 5 90."),
    ] = None,
    include: IncludeOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help='Write everything as JSON; "-" is stdout.')
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write a list of the pairs that may stay.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say whether a set of pairs is fit to train on; ends with 3 when something must be fixed or dropped."""
    from longexposure.data.check import check as checking

    refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    refuse_target(manifest, suffixes=(".csv",), overwrite=overwrite)
    with progress("checking", total=None, every_s=10.0) as shown_progress:
        report = checking.check_pairs(
            data,
            include=include or ("*",),
            exposures_s=exposures,
            on_pair=lambda done, of, name: shown_progress.update(done, f"of {of}, {name}"),
        )
    to_stderr = str(json_file) == "-"
    print_table(report.rows(), to_stderr=to_stderr)
    print_table(report.pair_rows(), to_stderr=to_stderr)
    echo(f"{report.verdict}: {report.sampled}", err=to_stderr)
    if json_file is not None:
        put_json(report.as_dict(), json_file, overwrite=overwrite)
    if manifest is not None:
        checking.write_manifest(report, manifest, overwrite=overwrite)
    raise typer.Exit(report.exit_code)


@app.command(cls=Command)
def evaluate(
    *,
    data: Annotated[Path, typer.Option(help="Folder of pairs: LQ/name and HQ/name, at any depth.")],
    model: Annotated[list[str], typer.Option(help="A name or a checkpoint file; may be repeated.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.json", help="Where the scores go.")],
    data_range: Annotated[
        float | None,
        typer.Option(help="Grey values from black to white, where the files do not tell."),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Score models on pairs of short and long exposures."""
    from longexposure.data.evaluate import evaluate as evaluate_models
    from longexposure.data.evaluate import write_evaluation

    refuse_target(out, suffixes=(".json",), overwrite=overwrite)
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
    for warning in evaluation.warnings:
        echo(f"warning: {warning}", err=True)
    print_table(evaluation.summary())
