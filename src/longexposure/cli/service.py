"""`watch` and `serve`: images that are enhanced as they arrive, in a folder or by HTTP."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longexposure.cli.options import (
    BadPixelMasksOption,
    BadPixelsOption,
    Command,
    CompressOption,
    ConfigOption,
    DatasetOption,
    DeviceOption,
    EngineOption,
    GuardOption,
    ModelOption,
    NoiseOption,
    PrecisionOption,
    QuietOption,
    RecursiveOption,
    SidecarOption,
    StrengthOption,
    refuse_target,
)
from longexposure.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longexposure.errors import LongExposureError
    from longexposure.service.hot_folder import Event

ERRORS = {"failed": "error: ", "warning": "warning: ", "waiting": "warning: "}
"""Kinds of events that go to stderr, and how their lines begin."""

UNDONE = ("not done", "left out")
"""Of the counts those that `--once` fails for though no file is to blame."""

QUARANTINED = "in quarantine"

TOKEN = "LONGEXPOSURE_TOKEN"  # noqa: S105 (the name of a variable)
"""The environment's variable with the token of `serve`."""

SHORTEST_TOKEN = 16

app = typer.Typer()


@app.command(cls=Command)
def watch(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder that radiographs arrive in.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the enhanced files.")],
    *,
    config: ConfigOption = None,
    model: ModelOption = "fast",
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: StrengthOption = 1.0,
    noise: NoiseOption = None,
    bad_pixels: BadPixelsOption = None,
    bad_pixel_masks: BadPixelMasksOption = False,
    guard: GuardOption = False,
    recursive: RecursiveOption = False,
    sidecar: SidecarOption = False,
    compress: CompressOption = None,
    dataset: DatasetOption = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0.0, max=3600.0, help="Seconds between two looks at a file; two must find it unchanged."
        ),
    ] = 1.0,
    poll: Annotated[
        bool,
        typer.Option("--poll/--no-poll", help="List the folder again and again, as network shares need it."),
    ] = False,
    once: Annotated[bool, typer.Option("--once/--no-once", help="Do what is there, and end.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry/--no-retry", help="Try again what lies in quarantine.")
    ] = False,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is done; on a local disk. Default: ledger.sqlite in --out."),
    ] = None,
    keep_copies: Annotated[
        bool,
        typer.Option("--keep-copies/--no-keep-copies", help="Copy bad files into the quarantine too."),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE.log", help="Append all that is said, with the time.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Enhance radiographs as they arrive in a folder, each once, until it is told to end."""
    from longexposure.enhance.choices import ModelChoice
    from longexposure.io.defect_maps import read_defect_map
    from longexposure.noise.calibration import read_calibration
    from longexposure.service.hot_folder import HotFolder
    from longexposure.service.watching import watch as watch_folder
    from longexposure.train.signals import Signals, raise_signal

    refuse_target(log, suffixes=(".log",), overwrite=True)
    folder = HotFolder(
        source,
        out,
        recursive=recursive,
        settle_s=settle,
        poll=poll,
        ledger=ledger,
        copies=keep_copies,
        retry=retry,
        strength=strength,
        noise=None if noise is None else read_calibration(noise),
        bad_pixels=None if bad_pixels is None else read_defect_map(bad_pixels),
        masks=bad_pixel_masks,
        guard=guard,
        sidecar=sidecar,
        compress=compress,
        dataset=dataset,
    )
    choice = ModelChoice(model, engine=engine, device=device, precision=precision)
    teller = _Teller(log, quiet=quiet)
    with Signals(hangup=True) as signals:
        counts = watch_folder(folder, choice, tell=teller.tell, stopped=lambda: signals.caught > 0, once=once)
        teller.say(_summary(counts))
        if once:
            raise_signal(signals.caught)
    if once and (undone := [f"{counts[kind]} {kind}" for kind in UNDONE if counts[kind]]):
        teller.complain(f"error: {' and '.join(undone)}; the next start tries again")
        raise typer.Exit(1)
    if once and teller.first_error is not None:
        raise typer.Exit(teller.first_error.exit_code)


@app.command(cls=Command)
def serve(
    *,
    data: Annotated[Path, typer.Option(help="Folder for all that is kept: images, ledger, reports.")],
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this host's need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: a free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"The token that clients must say; default: {TOKEN}, or none."),
    ] = None,
    model: ModelOption = "fast",
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    strength: StrengthOption = 1.0,
    noise: NoiseOption = None,
    bad_pixels: BadPixelsOption = None,
    guard: GuardOption = False,
    compress: CompressOption = None,
    dataset: DatasetOption = None,
    queue: Annotated[
        int, typer.Option(min=1, max=10_000, help="Images that are uploaded, wait or run at one time.")
    ] = 32,
    max_mb: Annotated[float, typer.Option("--max-mb", min=0.001, help="MB of an upload, at most.")] = 256,
    max_mpx: Annotated[
        float, typer.Option("--max-mpx", min=0.001, help="Megapixels that an image may declare, all pages.")
    ] = 64,
    wait: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds a request waits for its image, at most.")
    ] = 300,
    keep_hours: Annotated[
        float | None,
        typer.Option(min=0, help="Delete what ended so many hours ago; default: kept until deleted."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE.log", help="Append all that is said, with the time.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Enhance radiographs that come by HTTP, and show them on a page, until it is told to end."""
    from longexposure.enhance.choices import ModelChoice
    from longexposure.io.defect_maps import read_defect_map
    from longexposure.noise.calibration import read_calibration
    from longexposure.service.http.limits import MEGA, Serving
    from longexposure.service.http.serving import serve as serve_images
    from longexposure.train.signals import Signals

    refuse_target(log, suffixes=(".log",), overwrite=True)
    serving = Serving(
        data,
        host=host,
        port=port,
        token=_token(token_file),
        queue=queue,
        most_bytes=int(max_mb * MEGA),
        most_pixels=int(max_mpx * MEGA),
        wait_s=wait,
        keep_s=None if keep_hours is None else 3600 * keep_hours,
        strength=strength,
        noise=None if noise is None else read_calibration(noise),
        bad_pixels=None if bad_pixels is None else read_defect_map(bad_pixels),
        guard=guard,
        compress=compress,
        dataset=dataset,
    )
    choice = ModelChoice(model, engine=engine, device=device, precision=precision)
    teller = _Teller(log, quiet=quiet)
    with Signals(hangup=True) as signals:
        counts = serve_images(
            serving,
            choice,
            tell=teller.tell,
            stopped=lambda: signals.caught > 0,
            listening=lambda address: teller.say(f"serving {address} with what is kept in {data}"),
        )
        teller.say(_summary(counts))


def _token(path: Path | None) -> str | None:
    """The token that clients must say, from a file or the environment (raises InputError)."""
    from longexposure.errors import InputError
    from longexposure.io.checks import reason_of

    where, text = (TOKEN, os.environ.get(TOKEN)) if path is None else (str(path), None)
    if path is not None:
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise InputError(
                where=where,
                expected="a file with a token",
                found=reason_of(error),
                advice="write one: `python3 -c 'import secrets; print(secrets.token_urlsafe())' > FILE`",
            ) from error
    if text is None:
        return None
    token = text.strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            where=where,
            expected=f"one token of at least {SHORTEST_TOKEN} ASCII letters, without spaces",
            found=f"{len(token)} letters" if len(token) < SHORTEST_TOKEN else "other letters",
            advice="write one: `python3 -c 'import secrets; print(secrets.token_urlsafe())' > FILE`",
        )
    return token


def _summary(counts: Mapping[str, int]) -> str:
    """What became of the files, in one line."""
    parts = [f"{count} {kind}" for kind, count in counts.items() if kind != QUARANTINED]
    line = ", ".join(parts) or "nothing to do"
    if QUARANTINED in counts:
        line += f"; {counts[QUARANTINED]} {QUARANTINED}, which --retry tries again"
    return line


class _Teller:
    """Says what happens, a line each, on the terminal and into a log.

    Args:
        log: file that is appended to; None for none.
        quiet: whether only warnings and errors are said.
    """

    def __init__(self, log: Path | None, *, quiet: bool) -> None:
        self.first_error: LongExposureError | None = None
        self._quiet = quiet
        self._lock = threading.Lock()
        self._log = logging.Logger("longexposure.watch")
        if log is not None:
            from longexposure.service.log_file import LogFile

            self._log.addHandler(LogFile(log, on_trouble=self._tell_trouble))

    def say(self, text: str) -> None:
        """Say what is no warning."""
        self._line(text, to_stderr=False)

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        self._line(text, to_stderr=True)

    def tell(self, event: Event) -> None:
        """Say an event, and keep the first error."""
        if event.error is not None and self.first_error is None:
            self.first_error = event.error
        self._line(ERRORS.get(event.kind, "") + event.text, to_stderr=event.kind in ERRORS)

    def _line(self, text: str, *, to_stderr: bool) -> None:
        from longexposure.format import printable

        with self._lock:
            self._log.info(printable(text))
            if to_stderr or not self._quiet:
                echo(text, err=to_stderr)

    def _tell_trouble(self, text: str) -> None:
        """Say of the log what cannot go into it."""
        echo(f"warning: {text}", err=True)
