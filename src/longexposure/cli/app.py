"""The command line: one function per command, which parses, calls and reports.

Nothing heavy is imported before a command runs, so that `--help` answers at once. Results go to stdout,
progress and errors to stderr; every failure is one line there, and the exit codes are those of
`longexposure.errors`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import itertools
import logging
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from longexposure.cli.terminal import print_facts, print_table, progress
from longexposure.errors import LongExposureError, OutputError
from longexposure.format import json_text, numbers

if TYPE_CHECKING:
    from longexposure.enhance.enhancer import FileResult
    from longexposure.train.loop import Progress as TrainingProgress
    from longexposure.train.recipe import Recipe

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

INTERRUPTION = (
    "interrupted: finished files stay; `train` goes on with --resume, `simulate` with the same command"
)
"""What is said after Ctrl-C."""

PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
"""Marks of the grey values that `info` tells."""

PREVIEWED = 4
"""Pairs on the sheet of `simulate --preview`."""

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt")
"""Suffixes that `info` takes for checkpoints; all but the first are refused there with advice."""

DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]
PrecisionOption = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option(help="Arithmetic; bf16 is faster where the processor has it, f32 is exact."),
]
EngineOption = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    typer.Option(help="What computes; auto: a GPU, else the first of openvino, onnx, torch that is exact."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]


class _Command(TyperCommand):
    """A command whose failures are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            typer.echo(INTERRUPTION, err=True)
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
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of the change to apply: 0 none, 1 all.")
    ] = 1.0,
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The machine's noise, which `longexposure noise` measured."),
    ] = None,
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
    from longexposure.enhance.enhancer import enhance_files, load_enhancer
    from longexposure.io import expand_inputs
    from longexposure.noise.calibration import read_calibration

    _refuse_target(report, suffixes=(".html", ".htm"), overwrite=overwrite)
    _refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    sources = expand_inputs(inputs)
    known = None if noise is None else read_calibration(noise)
    load = functools.partial(load_enhancer, model, engine=engine, device=device, precision=precision)
    stream = enhance_files(
        sources, out, load, noise=known, strength=strength, overwrite=overwrite, sidecar=sidecar
    )
    followed = _Followed(stream, total=len(sources))
    try:
        with _ended_by_signals():
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
    from longexposure.models.registry import catalogue

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
    file: Annotated[Path, typer.Argument(help="A radiograph, a checkpoint or a noise fingerprint (.toml).")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what the tool sees in an image, a checkpoint or a noise fingerprint."""
    if file.suffix.lower() == ".toml":
        facts = _calibration_facts(file, as_json=as_json)
    else:
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
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs, or processes on a CPU, that fraction every step.")
    ] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files for TensorBoard too.")
    ] = False,
) -> None:
    """Train a network from a recipe."""
    from longexposure.train.loop import train as train_network
    from longexposure.train.recipe import load_recipe
    from longexposure.train.team import leads_here

    resolved = load_recipe(recipe, overrides or [])
    work = functools.partial(
        train_network, resolved, out, resume=resume, device=device, devices=devices, tensorboard=tensorboard
    )
    if not leads_here():
        work()
        return
    with progress("training", total=resolved.steps, every_s=10.0) as shown_progress:
        shown_progress.say(_training_start(resolved, out, resume=resume))
        checkpoint = work(on_step=lambda at: shown_progress.update(at.step, _training_line(at)))
    typer.echo(str(checkpoint))


@app.command(cls=_Command)
def simulate(
    *,
    machine: Annotated[
        str | None, typer.Option(metavar="S1|S2|S3|wide|FILE.toml", help="The machine that takes the images.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the sets.")] = None,
    count: Annotated[
        str, typer.Option(metavar="N|small|full", help="Pairs; small and full are the machine's own numbers.")
    ] = "full",
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds and versions give equal bytes.")] = 0,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="The two splits never share a scene.")
    ] = "test",
    defects: Annotated[
        bool, typer.Option("--defects", help="Put defects in, with masks and twins without them.")
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write a sheet of the first four pairs."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a value of the machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; default: one for each core.")] = None,
    show: Annotated[
        str | None, typer.Option(metavar="MACHINE", help="Print the recipe of a machine that ships and stop.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a preview that exists.")] = False,
) -> None:
    """Take pairs of a short and a long exposure with a machine of your choice, the truth beside them."""
    from longexposure.data import simulated_sets as simulating
    from longexposure.simulation.exposure import draw_pair
    from longexposure.simulation.machine import load_machine, recipe_text

    if show is not None:
        typer.echo(recipe_text(show), nl=False)
        return
    if machine is None or (out is None and preview is None):
        raise typer.BadParameter("--machine, and --out or --preview, are needed (or --show)")
    _refuse_target(preview, suffixes=(".png",), overwrite=overwrite)
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
        typer.echo(str(preview))
    if out is None:
        return
    with progress("simulating", total=plan.count) as shown_progress:
        manifest = simulating.write_set(
            plan, workers=workers, on_pair=lambda done, path: shown_progress.update(done, path.stem)
        )
    typer.echo(str(manifest))


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
    from longexposure.data.evaluate import evaluate as evaluate_models
    from longexposure.data.evaluate import write_evaluation

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


@app.command("check-pairs", cls=_Command)
def check_pairs(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pairs, or a manifest.")],
    *,
    exposures: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LQ HQ", help="Seconds of both exposures, as in --exposures 5 90."),
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Pattern of pairs to take; repeatable.")] = None,
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

    _refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
    _refuse_target(manifest, suffixes=(".csv",), overwrite=overwrite)
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
    typer.echo(f"{report.verdict}: {report.sampled}", err=to_stderr)
    if json_file is not None:
        _put_json(report.as_dict(), json_file, overwrite=overwrite)
    if manifest is not None:
        checking.write_manifest(report, manifest, overwrite=overwrite)
    raise typer.Exit(report.exit_code)


@app.command(cls=_Command)
def noise(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT", help="A folder of pairs or a manifest; with --from, images or folders."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the analysis of pairs; with --from, FILE.toml.")
    ],
    *,
    source: Annotated[
        Literal["pairs", "flats", "repeats", "image"],
        typer.Option(
            "--from",
            help="Analyse pairs; or measure a machine from flats, repeats of a part or single images.",
        ),
    ] = "pairs",
    darks: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE|DIR", help="Exposures without X-rays, two or more; repeatable."),
    ] = None,
    machine: Annotated[str | None, typer.Option(metavar="NAME", help="The machine's name.")] = None,
    exposure: Annotated[
        float | None,
        typer.Option(min=1e-9, metavar="SECONDS", help="Of one exposure, where the files do not say."),
    ] = None,
    no_pattern: Annotated[
        bool, typer.Option("--no-pattern", help="Leave out the fixed pattern that flats show.")
    ] = False,
    pairs: Annotated[int, typer.Option(min=1, metavar="N", help="Pairs of each machine type.")] = 100,
    include: Annotated[list[str] | None, typer.Option(help="Pattern of pairs to take; repeatable.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Analyse the noise of pairs by machine type, or measure a machine's noise for `enhance --noise`."""
    if source == "pairs":
        if len(inputs) != 1 or darks or machine or exposure or no_pattern:
            raise typer.BadParameter(
                "pairs are one folder or manifest; other options need --from flats or so"
            )
        _analyse_pairs(inputs[0], out, pairs=pairs, include=include or ("*",), overwrite=overwrite)
        return
    from longexposure.io import expand_inputs
    from longexposure.noise.calibrate import measure_calibration, write_calibration

    if include or (source == "image" and darks):
        raise typer.BadParameter("--include is for pairs, --darks for flats and repeats")
    _refuse_target(out, suffixes=(".toml",), overwrite=overwrite)
    files, dark_files = expand_inputs(inputs), expand_inputs(darks) if darks else []
    done = itertools.count(1)
    with progress("reading", total=len(files) + len(dark_files)) as shown_progress:
        found = measure_calibration(
            files,
            source=source,
            darks=dark_files,
            machine=machine or "",
            exposure_s=exposure,
            pattern=not no_pattern,
            on_file=lambda name: shown_progress.update(next(done), name),
        )
    write_calibration(found, out, overwrite=overwrite)
    print_facts(found.facts())
    typer.echo(str(out))


def _analyse_pairs(data: Path, out: Path, *, pairs: int, include: Sequence[str], overwrite: bool) -> None:
    """Page, table, charts and JSON about the noise between short and long exposures."""
    from longexposure.data.noise_pairs import analyse_noise, meaning, write_analysis

    _refuse_target(out / "noise.html", suffixes=(".html",), overwrite=overwrite)
    with progress("analysing", total=None, every_s=10.0) as shown_progress:
        analysis = analyse_noise(
            data,
            pairs=pairs,
            include=include,
            on_pair=lambda done, of, name: shown_progress.update(done, f"of {of}, {name}"),
        )
        for why in analysis.left_out.values():
            shown_progress.say(f"left out: {why}")
    files = write_analysis(analysis, out, overwrite=overwrite)
    print_table(analysis.rows())
    for found in analysis.machines:
        typer.echo(f"{found.machine}: {' '.join(meaning(found))}")
    typer.echo(str(files[0]))


@app.command(cls=_Command)
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
        typer.echo(document["title"])
        for line in document["statements"]:
            typer.echo(f"  {line}")
    typer.echo(str(out / ("index.html" if name == "all" else f"{name}.md")))


@app.command(cls=_Command)
def export(
    model: Annotated[str, typer.Argument(help="A name that `longexposure models` lists, a file or a run.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help=".onnx, or .xml with a .bin beside it.")
    ],
    format: Annotated[  # noqa: A002
        Literal["onnx", "openvino"], typer.Option(help="ONNX, or OpenVINO's own format.")
    ] = "onnx",
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model for other engines, after checking that they compute what torch computes."""
    from longexposure.export.exporter import export as export_model

    written = export_model(model, out, format=format, overwrite=overwrite)
    facts = {f"largest difference, {name}": f"{counts:.2g}" for name, counts in written.largest.items()}
    for path in written.files:
        typer.echo(str(path))
    print_facts({"weights SHA-256": written.weights_sha256, **facts, "difference in": "counts of 65535"})


@app.command(cls=_Command)
def bench(
    *,
    model: Annotated[str, typer.Option(help="A name that `longexposure models` lists, or a file.")] = "fast",
    size: Annotated[int, typer.Option(min=64, max=8192, metavar="PX", help="Side of the image.")] = 1024,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often each is measured.")] = 5,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help='Write the results as JSON; "-" is stdout.')
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure every installed engine on this machine: speed, and difference from torch."""
    from longexposure.export.benchmark import bench as bench_engines

    _refuse_target(json_file, suffixes=(".json",), overwrite=overwrite)
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
        _put_json(result.as_dict(), json_file, overwrite=overwrite)


def _image_facts(path: Path) -> dict[str, Any]:
    """Facts of the file, and of its first page's grey values; warnings are those of the default model."""
    import numpy as np

    from longexposure.enhance.enhancer import examine
    from longexposure.io import read_radiograph
    from longexposure.models.checkpoint import read_header
    from longexposure.models.noise_range import conditions_of
    from longexposure.models.registry import DEFAULT, find_weights
    from longexposure.noise.words import in_words

    radiograph = read_radiograph(path)
    page = radiograph.pixels if radiograph.pixels.ndim == 2 else radiograph.pixels[0]
    found = examine(page, trained=conditions_of(read_header(find_weights(DEFAULT)), model=DEFAULT))
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
            "in words": in_words(found.noise, found.grey),
            "percentiles": {f"{mark}": float(np.percentile(page, mark)) for mark in PERCENTILES},
            "noise": found.noise.as_dict(),
            "bad pixels": len(found.bad_pixels),
            "grey map": dataclasses.asdict(found.grey),
            "warnings": found.warnings,
        },
    }


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    from longexposure.models.checkpoint import read_header, sha256_of

    header = read_header(path)
    return {"file": str(path), "sha256": sha256_of(path), "bytes": path.stat().st_size, **header.model_dump()}


def _calibration_facts(path: Path, *, as_json: bool) -> dict[str, Any]:
    from longexposure.noise.calibration import read_calibration

    calibration = read_calibration(path)
    if as_json:
        return {"file": str(path), **calibration.model_dump(mode="json")}
    return {"file": str(path), **calibration.facts()}


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


def _consume(stream: Iterable[FileResult], *, report: Path | None, overwrite: bool) -> None:
    """Draw every result through, into the report where one is wanted; pixels are let go one by one."""
    if report is None:
        deque(stream, maxlen=0)
        return
    from longexposure.io import check_writable_folder
    from longexposure.report.comparison import comparisons_of, write_report

    check_writable_folder(report.parent)
    comparisons = itertools.chain.from_iterable(
        comparisons_of(result, facts=_noise_facts(result)) for result in stream
    )
    write_report(comparisons, report, title="Enhanced radiographs", overwrite=overwrite)


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


def _training_start(recipe: Recipe, out: Path, *, resume: bool) -> str:
    first = "goes on" if resume else f"first weights {recipe.start_from or 'random'}"
    previews = f", pictures to look at in {out / 'looks'}" if recipe.preview.every_steps else ""
    return f"training {recipe.name}: {first}{previews}"


def _training_line(at: TrainingProgress) -> str:
    left = timedelta(seconds=round(at.seconds_left))
    before, after = at.scores.get("psnr_noisy"), at.scores.get("psnr")
    scores = "" if before is None or after is None else f", PSNR {before:.2f} -> {after:.2f} dB"
    return f"loss {at.loss:.4g}, lr {at.lr:.2e}{scores}, {at.mpx_per_s:.2f} Mpx/s, {left} left"


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
