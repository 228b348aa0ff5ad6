"""What commands share: options, failures as one line on stderr, targets refused before the work."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from longexposure.cli.terminal import echo, steady_streams
from longexposure.errors import LongExposureError, OutputError
from longexposure.format import json_text, printable

UsageError: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]
"""A wrong command line; typer has no name of its own for it in all versions."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

GOES_ON = {
    "adapt": "the run goes on with --resume",
    "assess": "finished cases stay, and the same command goes on",
    "enhance": "finished files stay, and the same command goes on",
    "serve": "what was taken is kept, and the same command goes on",
    "simulate": "finished pairs stay, and the same command goes on",
    "study": "finished trainings and scores stay, and the same command goes on",
    "train": "the run goes on with --resume",
    "watch": "finished files stay, and the same command goes on",
}
"""What is said after Ctrl-C, of each command that can go on; others begin anew."""

DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute: cpu, cuda; auto: CUDA where there is one."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a value of the recipe.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
DevicesOption = Annotated[
    int, typer.Option("--devices", min=1, help="GPUs, or processes on a CPU, that share every step.")
]
PrecisionOption = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option(help="Arithmetic: f32, exact, which auto is; bf16, faster where the processor has it."),
]
EngineOption = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    typer.Option(help="What computes: torch, openvino, onnx; auto: a GPU, else the first that is exact."),
]
IncludeOption = Annotated[list[str] | None, typer.Option(help="Pattern of pairs to take; repeatable.")]
DatasetOption = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Path of the images in HDF5 files; default: its own."),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help='Write the results as JSON; "-" is stdout.')
]
ReportImagesOption = Annotated[
    bool,
    typer.Option(
        "--report-images/--no-report-images",
        help="Beside the page, a folder from which it shows every image whole.",
    ),
]
ReportPlaceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="X,Y", help="A pixel around which the page holds every grey value; repeatable."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        is_eager=True,
        callback=lambda ctx, path: take_settings(ctx, path),
        help="Options from a file; those on the command line win.",
    ),
]
ModelOption = Annotated[str, typer.Option(help="A name that `longexposure models` lists, or a file.")]
StrengthOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="How much of the change to apply: 0 none, 1 all.")
]
NoiseOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="The machine's noise, which `noise machine` measured."),
]
BadPixelsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The detector's faulty pixels: mask (TIFF, PNG), x,y (CSV) or XML."),
]
BadPixelMasksOption = Annotated[
    bool,
    typer.Option(
        "--bad-pixel-masks/--no-bad-pixel-masks", help="Write what was filled as NAME.bad.tif beside."
    ),
]
GuardOption = Annotated[
    bool, typer.Option("--guard/--no-guard", help="Look for places where what was taken away is not noise.")
]
RecursiveOption = Annotated[
    bool, typer.Option("--recursive/--no-recursive", "-r", help="Subfolders too, structure kept.")
]
SidecarOption = Annotated[
    bool, typer.Option("--sidecar/--no-sidecar", help="Write histories as JSON beside the images.")
]
CompressOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="none, deflate, lzw, zstd, packbits, lzma; default: as the input TIFF."
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet/--no-quiet", "-q", help="Say nothing but warnings and errors.")
]


class Group(TyperGroup):
    """The command line, on streams that stop nobody; results that stdout does not take are a failure."""

    def main(self, *args: Any, **settings: Any) -> Any:
        with steady_streams() as stdout:
            try:
                return super().main(*args, **settings)
            except SystemExit as end:
                stdout.flush()
                if stdout.lost is None or end.code:
                    raise
                if not isinstance(stdout.lost, BrokenPipeError):  # who closed a pipe knows
                    reason = getattr(stdout.lost, "strerror", None) or stdout.lost
                    echo(f"error: stdout: expected room for the results, found: {reason}", err=True)
                raise SystemExit(OutputError.exit_code) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:  # of what was typed, or what a shell made of `*`
            error.message = printable(error.message)  # type: ignore[attr-defined]
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands, each with its whole line, which typer would cut."""
        rows = [(name, command.get_short_help_str(1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Command(TyperCommand):
    """A command whose failures are one line on stderr and an exit code of `longexposure.errors`."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _failures_told(debug=parent is not None and bool(parent.params.get("debug"))):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _failures_told(debug=bool(ctx.find_root().params.get("debug"))):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            echo(f"interrupted: {GOES_ON.get(ctx.command.name, 'the same command begins anew')}", err=True)
            raise typer.Exit(INTERRUPTED) from None


def places_of(texts: list[str] | None) -> list[tuple[int, int]]:
    """Columns and rows of pixels, as `--report-place` takes them."""
    places = []
    for text in texts or []:
        x, _, y = text.partition(",")
        if not (x.strip().isdecimal() and y.strip().isdecimal()):
            raise typer.BadParameter(
                f"--report-place takes a pixel's column and row, 310,95 say, not {text!r}"
            )
        places.append((int(x), int(y)))
    return places


@contextmanager
def _failures_told(*, debug: bool) -> Iterator[None]:
    """Turn what fails into one line on stderr and an exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort, UsageError):
        raise
    except Exception as error:
        if debug:
            echo("".join(traceback.format_exception(error)).rstrip(), err=True)
        if isinstance(error, ImportError):
            error = _as_missing(error)
        line = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, LongExposureError):
            echo(f"error: {line}", err=True)
            raise typer.Exit(error.exit_code) from error
        advice = "" if debug else "; run `longexposure --debug ...` for the traceback, and report it"
        echo(f"error: unexpected {type(error).__name__}: {line}{advice}", err=True)
        raise typer.Exit(1) from error


def _as_missing(error: ImportError) -> Exception:
    """Which package of our extras could not be imported, if it was one of these."""
    from longexposure.system import as_missing

    return as_missing(error, where="this command") or error


def refuse_target(
    path: Path | None,
    *,
    suffixes: tuple[str, ...],
    overwrite: bool = False,
    ours: Callable[[Path], bool] | None = None,
) -> None:
    """Refuse a file that may not be written before the work is done, rather than after it.

    The suffix is held to what is written there, so that no option can replace a radiograph or a checkpoint.

    Args:
        path: the file.
        suffixes: what its name may end with.
        overwrite: whether any file may be replaced.
        ours: says whether a file was written by the same command, and may be replaced therefore.
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
    from longexposure.io.writing import refuse_existing

    if ours is not None and path.is_file():
        try:
            overwrite = ours(path)
        except OSError:
            overwrite = False
        if not overwrite:
            raise OutputError(
                where=str(path),
                expected="a file that this command wrote before, or none",
                found="another one",
                advice="choose another name, or move that file away",
            )
    refuse_existing(path, overwrite=overwrite)


def take_settings(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take a file's options for defaults (raises RecipeError where they cannot be)."""
    if path is not None:
        from longexposure.cli.settings import read_settings

        ctx.default_map = {**(ctx.default_map or {}), **read_settings(path)}
    return path


def put_json(value: object, path: Path, *, overwrite: bool) -> None:
    """JSON into a file, whole or not at all; "-" is stdout."""
    put_json_text(json_text(value), path, overwrite=overwrite)


def put_json_text(text: str, path: Path, *, overwrite: bool) -> None:
    """The same for JSON that is text already."""
    if str(path) == "-":
        echo(text)
        return
    from longexposure.io import write_whole

    write_whole(path, (text + "\n").encode(), overwrite=overwrite, parents=True)
