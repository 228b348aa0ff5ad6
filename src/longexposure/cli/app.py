"""The command line as a whole. Each group of commands is one file, which parses, calls and reports.

Nothing heavy is imported before a command runs, so that `--help` answers at once. Results go to stdout,
progress and errors to stderr; every failure is one line there, and the exit codes are those of
`longexposure.errors`.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from longexposure.cli import images, inspection, models, noise, pairs, service, simulation, train
from longexposure.cli.options import Group
from longexposure.cli.terminal import echo

app = typer.Typer(
    name="longexposure",
    cls=Group,
    rich_markup_mode=None,  # which would take as long as all the rest of --help
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (images, service, models, pairs, inspection, train, simulation):
    app.add_typer(group.app)
app.add_typer(noise.app, name="noise")


class Echo(logging.Handler):
    """Log messages on stderr, as all that is said there."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(self.format(record), err=True)


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="longexposure")


def show_version(wanted: bool) -> None:
    if wanted:
        from longexposure import __version__

        echo(f"longexposure {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and log messages; goes before the command.")
    ] = False,
) -> None:
    """Make short X-ray exposures of chips and boards look and measure like long ones."""
    logging.basicConfig(
        handlers=[Echo()], format="%(levelname)s %(name)s: %(message)s" if debug else "%(message)s"
    )
    logging.getLogger("longexposure").setLevel(logging.DEBUG if debug else logging.WARNING)
