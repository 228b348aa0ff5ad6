"""`noise pairs` and `noise machine`: noise between two exposures, and a machine's own, measured once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal

import typer

from longexposure.cli.options import Command, IncludeOption, OverwriteOption, refuse_target
from longexposure.cli.terminal import echo, print_facts, print_table, progress

app = typer.Typer(no_args_is_help=True, help="Measure noise: of pairs of exposures, or of a machine.")


@app.command("pairs", cls=Command)
def pairs_(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pairs, or a manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for page, table, charts and JSON.")],
    *,
    pairs: Annotated[int, typer.Option(min=1, metavar="N", help="Pairs of each machine type.")] = 100,
    include: IncludeOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Analyse the noise between short and long exposures, by machine type."""
    from longexposure.data.noise_pairs import analyse_noise
    from longexposure.report.noise_pairs import meaning, table_rows, write_analysis
    from longexposure.system import require

    require("matplotlib", where="charts")
    refuse_target(out / "noise.html", suffixes=(".html",), overwrite=overwrite)
    with progress("analysing", total=None, every_s=10.0) as shown_progress:
        analysis = analyse_noise(
            data,
            pairs=pairs,
            include=include or ("*",),
            on_pair=lambda done, of, name: shown_progress.update(done, f"of {of}, {name}"),
        )
        for why in analysis.left_out.values():
            shown_progress.say(f"left out: {why}")
    files = write_analysis(analysis, out, overwrite=overwrite)
    print_table(table_rows(analysis))
    for found in analysis.machines:
        echo(f"{found.machine}: {' '.join(meaning(found))}")
    echo(str(files[0]))


@app.command(cls=Command)
def machine(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Images or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.toml", help="Where the noise goes.")],
    *,
    source: Annotated[
        Literal["flats", "repeats", "image"],
        typer.Option("--from", help="What the images are: flats, repeats of a part, or single images."),
    ],
    darks: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE|DIR", help="Exposures without X-rays, two or more; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="The machine's name.")] = "",
    exposure: Annotated[
        float | None,
        typer.Option(min=1e-9, metavar="SECONDS", help="Of one exposure, where the files do not say."),
    ] = None,
    no_pattern: Annotated[
        bool, typer.Option("--no-pattern", help="Leave out the fixed pattern that flats show.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a machine's noise once, for `enhance --noise`."""
    from longexposure.io import expand_inputs
    from longexposure.noise.calibrate import measure_calibration
    from longexposure.noise.calibration import write_calibration

    if source == "image" and darks:
        raise typer.BadParameter("--darks is for flats and repeats")
    refuse_target(out, suffixes=(".toml",), overwrite=overwrite)
    files, dark_files = expand_inputs(inputs), expand_inputs(darks) if darks else []
    done = itertools.count(1)
    with progress("reading", total=len(files) + len(dark_files)) as shown_progress:
        found = measure_calibration(
            files,
            source=source,
            darks=dark_files,
            machine=name,
            exposure_s=exposure,
            pattern=not no_pattern,
            on_file=lambda name: shown_progress.update(next(done), name),
        )
    write_calibration(found, out, overwrite=overwrite)
    print_facts(found.facts())
    echo(str(out))
