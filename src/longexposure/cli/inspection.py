"""`assess`: what becomes of defects when a short exposure is enhanced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from longexposure.cli.options import Command, OverwriteOption
from longexposure.cli.terminal import echo, print_table, progress

app = typer.Typer()


@app.command(cls=Command)
def assess(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results; what is there is taken up.")
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(metavar="S1|S2|S3|wide|FILE.toml", help="A machine; repeatable; default: S1."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A name or a file; repeatable; default: the default model.")
    ] = None,
    defect: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="A kind of defect; repeatable; default: the budget's."),
    ] = None,
    budget: Annotated[
        Literal["quick", "standard", "full"],
        typer.Option(help="Three defects, 12 cases each; six, 30 each; all, 60 each."),
    ] = "quick",
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Cases of each kind of defect, at least 8; default: the budget's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds and versions give equal numbers.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a value of the machines.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
    reading_kit: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a page of blinded images for people to read, and its key."),
    ] = None,
    readings: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.json", help="Marks of a reader of that kit, for the table; repeatable."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say what becomes of simulated defects: POD, false finds, what a model's image is worth in exposures."""
    if readings:
        if reading_kit is None:
            raise typer.BadParameter("--readings needs --reading-kit, the folder with the key")
        from longexposure.inspection.reading import read_marks

        print_table(read_marks(reading_kit, readings))
        return
    if (out is None) == (reading_kit is None):
        raise typer.BadParameter("one of --out and --reading-kit is needed")
    from longexposure.inspection.bench import Plan, budget_of, observe_all
    from longexposure.inspection.page import summary, write_results
    from longexposure.inspection.results import assess as assess_seen
    from longexposure.models.registry import DEFAULT

    chosen = budget_of(budget, kinds=defect or (), cases=cases)
    plans = [
        Plan(name, tuple(model or (DEFAULT,)), chosen, seed, tuple(overrides or ()))
        for name in machine or ("S1",)
    ]
    for plan in plans:
        plan.checked()
    if reading_kit is not None:
        if len(plans) > 1:
            raise typer.BadParameter("a reading kit is of one machine")
        from longexposure.inspection.reading import write_kit

        with progress("drawing", total=None, every_s=10.0) as shown_progress:
            kit = write_kit(
                plans[0],
                reading_kit,
                overwrite=overwrite,
                on_case=lambda done, of: shown_progress.update(done, f"of {of} cases"),
            )
        echo(str(kit))
        return
    assert out is not None  # noqa: S101 (one of both is there)
    results = []
    for plan in plans:
        with progress("observing", total=None, every_s=10.0) as shown_progress:
            seen = observe_all(
                plan,
                out,
                workers=workers,
                on_unit=lambda done, of, name: shown_progress.update(done, f"of {of}, {name}"),
            )
        results.append(assess_seen(seen))
    page = write_results(results, out)
    for result in results:
        print_table(summary(result))
        for line in result.headline():
            echo(line)
    echo(str(page))
