"""The terminal: tables, facts and progress, safe for terminals, pipes and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from longexposure.format import printable, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PIPE_WIDTH = 240
"""Columns of a table that goes to a file or a pipe, where no terminal says how many there are."""


class Lines:
    """Progress for a log: a line per item, or per 1 % of many, or every few seconds where that is less."""

    def __init__(self, label: str, *, total: int | None, every_s: float) -> None:
        self._label = label
        self._total = total
        self._every_s = every_s
        self._step = total / 100 if total is not None and total > 100 and not every_s else 0.0
        self._shown_at = self._shown_done = -float("inf")

    def update(self, done: int, text: str) -> None:
        now = time.monotonic()
        due = now - self._shown_at >= self._every_s and done - self._shown_done >= self._step
        if due or done == self._total:
            self._shown_at, self._shown_done = now, done
            count = f"{done}/{self._total}" if self._total else str(done)
            self.say(f"{self._label} {count}: {text}")

    def say(self, text: str) -> None:
        typer.echo(printable(text), err=True)


class Bar:
    """Progress on a terminal: a bar that goes when it is done; what is said stays above it."""

    def __init__(self, bar: Progress, label: str, *, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=total, text="")

    def update(self, done: int, text: str) -> None:
        self._bar.update(self._task, completed=done, text=text)

    def say(self, text: str) -> None:
        self._bar.console.print(printable(text), soft_wrap=True)


@contextmanager
def progress(label: str, *, total: int | None, every_s: float = 0.0) -> Iterator[Bar | Lines]:
    """A bar on a terminal, lines elsewhere; both on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console_for(to_stderr=True)
    if not console.is_terminal:
        yield Lines(label, total=total, every_s=every_s)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Bar(bar, label, total=total)


def console_for(*, to_stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=to_stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_table(rows: Sequence[Mapping[str, Any]], *, to_stderr: bool = False) -> None:
    """One row a line; numbers to the right, with four digits that count."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not rows:
        return
    titles = list(dict.fromkeys(title for row in rows for title in row))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        numeric = any(isinstance(row.get(title), int | float) for row in rows)
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(shown(row.get(title)) for title in titles))
    console_for(to_stderr=to_stderr).print(table)


def print_facts(facts: Mapping[str, Any], *, indent: str = "") -> None:
    """One fact a line; a mapping inside is indented under its name."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            typer.echo(f"{indent}{name}")
            print_facts(value, indent=indent + "  ")
        else:
            typer.echo(f"{indent}{name:{width}}  {shown(value)}")
