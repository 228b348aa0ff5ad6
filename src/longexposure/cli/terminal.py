"""The terminal: text, tables, facts and progress, safe for terminals, pipes, logs and full disks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

from longexposure.format import DEEPEST, printable, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PIPE_WIDTH = 1 << 16
"""Columns of what goes to a file or a pipe, where no terminal says how many there are."""

GAP = 3
"""Spaces between two columns of a table."""

LEAST_NAME = 16
"""Columns that a name in a table keeps; before less is left of it, others go."""

PART_EVERY_S = 30.0
"""How often a log tells how far one large file is."""


class Steady:
    """A standard stream that never stops who writes to it.

    What its encoding lacks is escaped. What cannot be written any more, to a pipe that nobody reads or a disk
    that is full, is dropped, and `lost` says why.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # a closed stream has its number taken, so that no file that is opened later gets it and its text
        self._stream = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: PTH123, SIM115
        self._own = stream is None
        self.lost: OSError | ValueError | None = None
        with suppress(AttributeError, OSError, ValueError):
            self._stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        if self.lost is None:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        if self._own:
            self._stream.close()

    def _lose(self, error: OSError | ValueError) -> None:
        self.lost = error
        with suppress(
            OSError, ValueError, AttributeError
        ):  # what is left to write must go somewhere at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def steady_streams() -> Iterator[Steady]:
    """Make the standard streams steady; gives stdout."""
    before = sys.stdout, sys.stderr
    steady = Steady(sys.stdout), Steady(sys.stderr)
    sys.stdout, sys.stderr = steady
    try:
        yield steady[0]
    finally:
        sys.stdout, sys.stderr = before
        for stream in steady:
            stream.close()


def echo(text: object = "", *, err: bool = False) -> None:
    """Print lines; what a terminal would obey is shown instead."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:
        stream.write("".join(f"{printable(line)}\n" for line in str(text).split("\n")))
        stream.flush()


class Lines:
    """Progress for a log: a line per item, or per 1 % of many, or every few seconds where that is less."""

    def __init__(self, label: str, *, total: int | None, every_s: float) -> None:
        self._label = label
        self._total = total
        self._every_s = every_s
        self._step = total / 100 if total is not None and total > 100 and not every_s else 0.0
        self._shown_at = self._shown_done = -float("inf")
        self._began = self._part_at = time.monotonic()

    def update(self, done: int, text: str) -> None:
        now = time.monotonic()
        due = now - self._shown_at >= self._every_s and done - self._shown_done >= self._step
        if due or done == self._total:
            self._shown_at = self._part_at = now
            self._shown_done = done
            count = f"{done}/{self._total}" if self._total else str(done)
            self.say(f"{self._label} {count}: {printable(text)}{self._left(done, now)}")

    def part(self, done: float, text: str) -> None:
        """How far the item is that is at work; `done` counts items."""
        now = time.monotonic()
        if now - self._part_at >= PART_EVERY_S:
            self._part_at = now
            self.say(f"{self._label}: {printable(text)}{self._left(done, now)}")

    def _left(self, done: float, now: float) -> str:
        if not self._total or not 0 < done < self._total:
            return ""
        return f", {timedelta(seconds=round((now - self._began) * (self._total - done) / done))} left"

    def say(self, text: str) -> None:
        echo(text, err=True)


class Bar:
    """Progress on a terminal: a bar that goes when it is done; what is said stays above it."""

    def __init__(self, bar: Progress, label: str, *, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=total, text="")

    def update(self, done: int, text: str) -> None:
        self.part(done, text)

    def part(self, done: float, text: str) -> None:
        """How far the item is that is at work; `done` counts items."""
        self._bar.update(self._task, completed=done, text=printable(text))

    def say(self, text: str) -> None:
        self._bar.console.print(printable(text), soft_wrap=True)


class Silence:
    """Progress that is not shown; what must be said is."""

    def update(self, done: int, text: str) -> None:
        """Say nothing."""

    def part(self, done: float, text: str) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        echo(text, err=True)


@contextmanager
def progress(
    label: str, *, total: int | None, every_s: float = 0.0, quiet: bool = False
) -> Iterator[Bar | Lines | Silence]:
    """A bar on a terminal, lines elsewhere, neither where all is to be quiet; on stderr."""
    if quiet:
        yield Silence()
        return
    console = console_for(to_stderr=True)
    if not console.is_terminal:
        yield Lines(label, total=total, every_s=every_s)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(max_width=40, ratio=1)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *((TimeRemainingColumn(elapsed_when_finished=True),) if total else ()),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, ratio=2)),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Bar(bar, label, total=total)


def console_for(*, to_stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=to_stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    to_stderr: bool = False,
    names: Collection[str] = (),
    expendable: Sequence[str] = (),
) -> None:
    """One row a line where the width allows; numbers to the right, with four digits that count.

    Args:
        rows: title and value.
        to_stderr: where to.
        names: columns of names, which are cut in their middle where the terminal is too narrow.
        expendable: columns that are then left out before, the first first.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not rows:
        return
    console = console_for(to_stderr=to_stderr)
    cells = {
        title: [_in_encoding(shown(row.get(title)), console) for row in rows]
        for title in dict.fromkeys(title for row in rows for title in row)
    }
    if names:
        _fit(cells, names, expendable, console)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in cells:
        numeric = any(isinstance(row.get(title), int | float) for row in rows)
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row_cells in zip(*cells.values(), strict=True):
        table.add_row(*row_cells)
    console.print(table)


def _in_encoding(text: str, console: Console) -> str:
    """The text with what the console cannot show escaped, so that its width is known."""
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def _fit(
    cells: dict[str, list[str]], names: Collection[str], expendable: Iterable[str], console: Console
) -> None:
    """Leave columns out and cut names until a row fits into a line."""
    from rich.cells import cell_len

    waiting = [title for title in expendable if title in cells]
    while True:
        widths = {title: max(map(cell_len, [title, *column])) for title, column in cells.items()}
        least = {
            title: min(width, LEAST_NAME) if title in names else width for title, width in widths.items()
        }
        free = console.width - GAP * (len(cells) - 1)
        if sum(least.values()) <= free or not waiting:
            break
        del cells[waiting.pop(0)]
    while sum(widths.values()) > free and widths != least:
        widest = max((title for title in widths if widths[title] > least[title]), key=widths.__getitem__)
        widths[widest] -= 1
    dots = "…" if console.encoding.startswith("utf") else "..."
    for title in set(names) & set(cells):
        cells[title] = [cut(cell, widths[title], dots) for cell in cells[title]]


def cut(text: str, width: int, dots: str = "…") -> str:
    """The text with its middle replaced by dots where it takes more columns than that."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    head, tail = text, text
    while cell_len(head) > (width - len(dots) + 1) // 2:
        head = head[:-1]
    while cell_len(tail) > width - len(dots) - cell_len(head):
        tail = tail[1:]
    return head + dots + tail


def print_facts(facts: Mapping[str, Any], *, indent: str = "") -> None:
    """One fact a line; a mapping inside is indented under its name."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, Mapping) and value and len(indent) < 2 * DEEPEST:
            echo(f"{indent}{shown(name)}")
            print_facts(value, indent=indent + "  ")
        else:
            echo(f"{indent}{shown(name):{width}}  {shown(value)}")
