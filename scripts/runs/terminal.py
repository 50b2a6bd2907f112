"""The terminal: progress bars, tables, and standard streams that never fail."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO, TextIOWrapper
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Report:
    """How far one run is.

    Attributes:
        label: which run.
        done: steps taken, or episodes seen.
        total: how many it will be.
        score: how good it is by now, in a few words; empty before anything is known.
        speed: steps or episodes per second.
        unit: which of the two.
        value: the score as a number, more is better; None before anything is known.
    """

    label: str
    done: int
    total: int
    score: str
    speed: float
    unit: str
    value: float | None

    def numbers(self) -> str:
        """Score and speed in words."""
        return f"{self.score}{'  ' if self.score else ''}{self.speed:7,.0f} {self.unit}/s"


@dataclass
class ProgressDisplay:
    """Shows the latest report of every run; a context manager.

    Args:
        quiet: show nothing.
    """

    quiet: bool = False
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _printed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal and not self.quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            _Numbers(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> ProgressDisplay:
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._bars.stop()

    def show(self, report: Report) -> None:
        """Show a run's progress."""
        if self.quiet:
            return
        done = min(report.done, report.total)
        if self._live:
            if report.label not in self._tasks:
                self._tasks[report.label] = self._bars.add_task(report.label, total=report.total)
            self._bars.update(self._tasks[report.label], completed=done, numbers=report.numbers())
            return
        now = time.monotonic()
        last = self._printed.setdefault(report.label, now)
        if now - last >= SECONDS_BETWEEN_LINES or done == report.total:
            self._printed[report.label] = now
            left = (report.total - done) / report.speed if report.speed else 0.0
            print(
                f"{report.label}  {done / report.total:4.0%}  {report.numbers()}  {left:,.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if self._live:
            self._bars.console.print(text, highlight=False, markup=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)


class _Numbers(ProgressColumn):
    """The report's numbers, in one style."""

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("numbers", ""))


_WIDTH_OF_FILES = 200


def percent(share: float) -> str:
    """Format a share as whole percent, never "-0%"."""
    return f"{round(100 * share)}%"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text, the first column left-aligned, the others right-aligned.

    On a terminal, the table has its width; elsewhere, lines are neither cut nor wrapped.
    """
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_FILES)
    console.print(title, style="bold", soft_wrap=True, markup=False)
    console.print(table)


class Stream(FileIO):
    """A file descriptor that takes all that is written; what the system refuses is lost.

    Attributes:
        error: why something was lost; None where nothing was.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of it, or as much as can be written."""
        left = whole = memoryview(content).cast("B")
        while left:
            try:
                written = super().write(left)
            except OSError as error:
                self.error = error
                break
            if written is None:  # someone else who uses the terminal does not want to wait for it
                select.select([], [self], [])
            else:
                left = left[written:]
        return whole.nbytes


@contextmanager
def lasting_streams() -> Iterator[Stream | None]:
    """Inside, ``print`` never fails: not on a full disk, a broken pipe, a closed stream, or an odd character.

    So a training goes on where nobody can see it. Streams that were put in place of the process's own stay.

    Yields:
        standard output; None where it is not the process's own.
    """
    usual = sys.stdout, sys.stderr
    _fill_gaps()
    output = None
    if usual[0] is sys.__stdout__:
        output = Stream(1, "w", closefd=False)
        sys.stdout = _text(output, usual[0])
    if usual[1] is sys.__stderr__:
        sys.stderr = _text(Stream(2, "w", closefd=False), usual[1])
    held = sys.stdout, sys.stderr
    try:
        yield output
    finally:
        for stream in held:
            stream.flush()
        sys.stdout, sys.stderr = usual


def _fill_gaps() -> None:
    """Let closed standard streams lead nowhere, lest the next file that is opened takes the place of one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _text(stream: Stream, like: TextIO | None) -> TextIO:
    """The stream for text; ``like`` is what Python made of it, None where it was closed."""
    given = like if isinstance(like, TextIOWrapper) else None
    if given is not None:
        given.flush()
    return TextIOWrapper(
        stream,
        encoding=given.encoding if given else "utf-8",
        errors="backslashreplace",
        line_buffering=given.line_buffering if given else False,
        write_through=given.write_through if given else False,
    )
