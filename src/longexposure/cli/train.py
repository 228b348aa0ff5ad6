"""`train`, `adapt` and `study`: trainings, and the paper's experiments made of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from longexposure.cli.options import Command, DeviceOption, DevicesOption, ResumeOption, SetOption
from longexposure.cli.terminal import echo, print_facts, progress

if TYPE_CHECKING:
    from longexposure.train.loop import Progress as TrainingProgress

ExportOption = Annotated[
    bool,
    typer.Option(
        "--export/--no-export", help="Write checkpoint.onnx beside it: enhancing then needs no torch."
    ),
]

app = typer.Typer()
recipes = typer.Typer(
    no_args_is_help=True, help="The recipes of trainings that ship: a list, or one of them."
)
app.add_typer(recipes, name="recipes")


@app.command(cls=Command)
def train(
    recipe: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="What to train, on what, and how.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: log, state, checkpoint.")],
    *,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files for TensorBoard too.")
    ] = False,
    export: ExportOption = True,
) -> None:
    """Train a network from a recipe, one that ships by its name or a file of yours."""
    from longexposure.train.distributed import is_primary_process
    from longexposure.train.loop import train as train_network
    from longexposure.train.recipe import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    work = functools.partial(
        train_network, resolved, out, resume=resume, device=device, devices=devices, tensorboard=tensorboard
    )
    if not is_primary_process():
        work()
        return
    with progress("training", total=resolved.steps, every_s=10.0) as shown_progress:
        first = "goes on" if resume else f"first weights {resolved.start_from or 'random'}"
        shown_progress.say(f"training {resolved.name}: {first}")
        if resolved.preview.every_steps:
            shown_progress.say(f"pictures to look at in {out / 'previews'}")
        checkpoint = work(on_step=lambda at: shown_progress.update(at.step, step_text(at)))
    if export:
        export_beside(checkpoint)
    echo(str(checkpoint))


@app.command(cls=Command)
def adapt(
    shots: Annotated[
        list[Path], typer.Argument(metavar="SHOT", help="Short exposures of one machine, or folders of them.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run, which --model then takes.")],
    *,
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The machine's noise, which `noise machine` measured."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="Time for the training; judging takes a little more.")
    ] = 15.0,
    model: Annotated[str, typer.Option(help="The network to start from: a name or a file.")] = "fast",
    overrides: SetOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    export: ExportOption = True,
) -> None:
    """Adapt a network to a machine by its short exposures alone; it is kept only where it is better."""
    from longexposure.train.adapt import adapt as adapt_network

    with progress("adapting", total=None, every_s=10.0) as shown_progress:
        adapted = adapt_network(
            shots,
            out,
            noise=noise,
            minutes=minutes,
            model=model,
            overrides=overrides or [],
            resume=resume,
            device=device,
            devices=devices,
            # whose PSNR would be that against noisy targets
            on_step=lambda at: shown_progress.update(
                at.step, f"of {at.steps}, {step_text(dataclasses.replace(at, scores={}))}"
            ),
            tell=shown_progress.say,
        )
    if export:
        export_beside(adapted.checkpoint)
    echo(adapted.in_words())
    echo(str(adapted.checkpoint))


def export_beside(checkpoint: Path) -> None:
    """Write the file that engines other than torch compute; where that cannot be, say so and go on."""
    from longexposure.errors import LongExposureError
    from longexposure.export.exporter import export

    try:
        export(checkpoint, checkpoint.with_suffix(".onnx"), overwrite=True)
    except LongExposureError as error:
        echo(f"warning: not exported, so that enhancing with it needs torch: {error}", err=True)


@recipes.command("list", cls=Command)
def list_() -> None:
    """List the recipes: name and what each trains."""
    from longexposure.train.recipes import summaries

    print_facts(summaries())


@recipes.command(cls=Command)
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe that ships.")]) -> None:
    """Print a recipe, to change it and give the file to `train`."""
    from longexposure.train.recipes import shipped_recipe

    typer.echo(shipped_recipe(name).read_text(encoding="utf-8"), nl=False)


def step_text(at: TrainingProgress) -> str:
    left = timedelta(seconds=round(at.seconds_left))
    before, after = at.scores.get("psnr_noisy"), at.scores.get("psnr")
    scores = "" if before is None or after is None else f", PSNR {before:.2f} -> {after:.2f} dB"
    return f"loss {at.loss:.4g}, lr {at.lr:.2e}{scores}, {at.mpx_per_s:.2f} Mpx/s, {left} left"


@app.command(cls=Command)
def study(
    name: Annotated[
        Literal["noise", "table1", "downsampling", "compare", "noise2noise", "one-model", "all"],
        typer.Argument(
            metavar="STUDY", help="noise, table1, downsampling, compare, noise2noise, one-model, all."
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results; what is there is taken up.")
    ],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with pairs of S1, S2 and S3, train and test.")
    ] = None,
    budget: Annotated[
        Literal["quick", "standard", "full"],
        typer.Option(help="About an hour on two cores, about a night, or the paper's schedule on a GPU."),
    ] = "quick",
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Random starts of every training; default: the budget's."),
    ] = None,
    device: DeviceOption = "auto",
    edcnn_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="ResNet-50 weights for the second term of EDCNN's loss; without: MSE alone."
        ),
    ] = None,
) -> None:
    """Run an experiment of the paper, or all of them: trainings, numbers, tables, pictures."""
    from longexposure.study.suite import study as run_study

    done = itertools.count(1)
    with progress("studying", total=None) as shown_progress:
        documents = run_study(
            name,
            out=out,
            data=data,
            budget=budget,
            seeds=seeds,
            device=device,
            edcnn_weights=edcnn_weights,
            tell=lambda text: shown_progress.update(next(done), text),
        )
    for document in documents:
        echo(document["title"])
        for line in document["statements"]:
            echo(f"  {line}")
    echo(str(out / ("index.html" if name == "all" else f"{name}.md")))
