"""`simulate` and `machines`: sets of simulated pairs, and the machines that take them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import typer

from longexposure.cli.options import Command, OverwriteOption, refuse_target
from longexposure.cli.terminal import echo, print_facts, progress

PREVIEWED = 4
"""Pairs on the sheet of `simulate --preview`."""

app = typer.Typer()
machines = typer.Typer(no_args_is_help=True, help="The machines that ship: a list, or the recipe of one.")
app.add_typer(machines, name="machines")


@app.command(cls=Command)
def simulate(
    *,
    machine: Annotated[
        str, typer.Option(metavar="S1|S2|S3|wide|FILE.toml", help="The machine that takes the images.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the sets.")] = None,
    count: Annotated[
        str, typer.Option(metavar="N|small|full", help="Pairs; small and full are the machine's own numbers.")
    ] = "full",
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds and versions give equal bytes.")] = 0,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="The two splits never share a scene.")
    ] = "test",
    defects: Annotated[
        bool, typer.Option("--defects", help="Put defects in, with masks and images without them.")
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write a sheet of the first four pairs."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a value of the machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; default: one for each core.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Take pairs of a short and a long exposure with a machine of your choice, the truth beside them."""
    from longexposure.data import simulated_sets as simulating
    from longexposure.simulation.exposure import draw_pair
    from longexposure.simulation.machine import load_machine

    if out is None and preview is None:
        raise typer.BadParameter("--out or --preview is needed")
    refuse_target(preview, suffixes=(".png",), overwrite=overwrite)
    loaded = load_machine(machine, overrides or [])
    plan = simulating.SetPlan(
        machine=machine,
        split=split,
        count=loaded.count(count, split),
        seed=seed,
        out=out or Path(),
        defects=defects,
        overrides=tuple(overrides or ()),
    )
    if preview is not None:
        pairs = [
            draw_pair(loaded, seed=seed, index=index, split=split, defects=defects)
            for index in range(min(PREVIEWED, plan.count))
        ]
        simulating.preview(pairs, preview, overwrite=overwrite)
        echo(str(preview))
    if out is None:
        return
    with progress("simulating", total=plan.count) as shown_progress:
        manifest = simulating.write_set(
            plan, workers=workers, on_pair=lambda done, path: shown_progress.update(done, path.stem)
        )
    echo(str(manifest))


@machines.command("list", cls=Command)
def list_() -> None:
    """List the machines: name and what each stands for."""
    from longexposure.simulation.machine import machine_names, recipe_text

    print_facts({name: tomllib.loads(recipe_text(name))["summary"] for name in machine_names()})


@machines.command(cls=Command)
def show(
    machine: Annotated[str, typer.Argument(metavar="S1|S2|S3|wide", help="A machine that ships.")],
) -> None:
    """Print the recipe of a machine, to change it and give the file to `simulate --machine`."""
    from longexposure.simulation.machine import recipe_text

    echo(recipe_text(machine).rstrip("\n"))
