"""What commands share: options, failures as one line on stderr, targets refused before the work."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from longexposure.errors import LongExposureError, OutputError
from longexposure.format import json_text

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

INTERRUPTION = (
    "interrupted: finished files stay; `train` goes on with --resume, `simulate` with the same command"
)
"""What is said after Ctrl-C."""

DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute: cpu, cuda; auto: CUDA where there is one."),
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


class Command(TyperCommand):
    """A command whose failures are one line on stderr and an exit code of `longexposure.errors`."""

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
            debug = ctx.find_root().params.get("debug", False)
            if debug:
                traceback.print_exception(error)
            line = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, LongExposureError):
                typer.echo(f"error: {line}", err=True)
                raise typer.Exit(error.exit_code) from error
            advice = "" if debug else "; run `longexposure --debug ...` for the traceback, and report it"
            typer.echo(f"error: unexpected {type(error).__name__}: {line}{advice}", err=True)
            raise typer.Exit(1) from error


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


def refuse_target(path: Path | None, *, suffixes: tuple[str, ...], overwrite: bool) -> None:
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
    from longexposure.io.writing import refuse_existing

    refuse_existing(path, overwrite=overwrite)


def put_json(value: object, path: Path, *, overwrite: bool) -> None:
    """JSON into a file, whole or not at all; "-" is stdout."""
    if str(path) == "-":
        typer.echo(json_text(value))
        return
    from longexposure.io import write_whole

    write_whole(path, (json_text(value) + "\n").encode(), overwrite=overwrite, parents=True)
