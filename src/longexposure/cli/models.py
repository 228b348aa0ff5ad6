"""`models`, `export` and `bench`: which models there are, as files for other engines, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from longexposure.cli.options import Command, JsonOption, OverwriteOption, put_json, refuse_target
from longexposure.cli.terminal import echo, print_facts, print_table, progress
from longexposure.format import numbers

app = typer.Typer()


@app.command(cls=Command)
def models() -> None:
    """List the models: name, what it was trained on, size, licence, scores."""
    from longexposure.models.registry import catalogue

    for entry in catalogue():
        echo(entry.name)
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


@app.command(cls=Command)
def export(
    model: Annotated[str, typer.Argument(help="A name that `longexposure models` lists, a file or a run.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help=".onnx with a .json, or .xml with a .bin.")
    ],
    format: Annotated[  # noqa: A002
        Literal["onnx", "openvino"], typer.Option(help="ONNX, or OpenVINO's own format.")
    ] = "onnx",
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="One copy: a checkpoint in float16 of this name, which the .onnx refers to."
        ),
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model for other engines, after checking that they compute what torch computes."""
    from longexposure.export.exporter import export as export_model

    written = export_model(model, out, format=format, compact=compact, overwrite=overwrite)
    facts = {f"largest difference, {name}": f"{counts:.2g}" for name, counts in written.largest.items()}
    if compact:
        facts["changed by rounding, of the error left"] = f"{written.rounded_by:.2g}"
    for path in written.files:
        echo(str(path))
    print_facts({"weights SHA-256": written.weights_sha256, **facts, "difference in": "counts of 65535"})


@app.command(cls=Command)
def bench(
    *,
    model: Annotated[str, typer.Option(help="A name that `longexposure models` lists, or a file.")] = "fast",
    size: Annotated[int, typer.Option(min=64, max=8192, metavar="PX", help="Side of the image.")] = 1024,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often each is measured.")] = 5,
    json_file: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure every installed engine on this host: speed, and difference from torch."""
    from longexposure.export.benchmark import bench as bench_engines

    refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    with progress("measuring", total=rounds) as shown_progress:
        result = bench_engines(
            model,
            size_px=size,
            rounds=rounds,
            on_round=lambda done: shown_progress.update(done, "round done"),
        )
        for name, reason in result.left_out.items():
            shown_progress.say(f"left out: {name}: {reason}")
    print_table([line.row() for line in result.lines], to_stderr=str(json_file) == "-")
    if json_file is not None:
        put_json(result.as_dict(), json_file, overwrite=overwrite)
