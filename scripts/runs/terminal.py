"""The terminal: progress bars, tables, and standard streams that never fail."""

from __future__ import annotations

import os
import select
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO, TextIOWrapper
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from plasticrl.scripts.errors import one_line

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Report:
    """Progress of one run.

    Attributes:
        label: name of the run.
        done: number of steps or episodes done.
        total: total number of steps or episodes.
        score: current score in a few words; empty if it is not known yet.
        speed: steps or episodes per second.
        unit: name of the unit, steps or episodes.
        value: score as a number, higher is better; None if it is not known yet.
    """

    label: str
    done: int
    total: int
    score: str
    speed: float
    unit: str
    value: float | None

    def numbers(self) -> str:
        """Return score and speed as text."""
        return f"{self.score}{'  ' if self.score else ''}{self.speed:7,.0f} {self.unit}/s"


@dataclass
class ProgressDisplay:
    """Context manager that shows the latest report of every run.

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
            TextColumn("{task.fields[numbers]}", markup=False),
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
                self._tasks[report.label] = self._bars.add_task(report.label, total=report.total, numbers="")
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


_WIDTH_OF_FILES, _LONGEST_WARNING = 200, 500  # characters


def percent(share: float) -> str:
    """Format a share as whole percent, never "-0%"."""
    return f"{round(100 * share)}%"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text, the first column left-aligned, the others right-aligned.

    On a terminal, the table fits its width; elsewhere, lines are neither truncated nor wrapped.
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
    """A file descriptor whose writes never fail; output that the system refuses is lost.

    Attributes:
        error: the error that lost output; None if nothing was lost.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write as much of the content as possible; report all of it as written."""
        left = whole = memoryview(content).cast("B")
        while left:
            try:
                written = super().write(left)
            except OSError as error:
                self.error = error
                break
            if written is None:  # another user of the terminal has made it non-blocking
                select.select([], [self], [])
            else:
                left = left[written:]
        return whole.nbytes


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show each warning in the block as one line, without the place in the code that it comes from."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: (
        f"plasticrl: warning: {one_line(message, _LONGEST_WARNING).removeprefix('WARN: ')}\n"  # Gymnasium's
    )
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextmanager
def lasting_streams() -> Iterator[Stream | None]:
    """Prevent ``print`` from failing in the block: on a full disk, a broken pipe, a closed stream, any text.

    A training thus continues even if its output cannot be shown. Streams that replace the process's own, as
    in tests, are left in place.

    Yields:
        Standard output; None if it is not the process's own.
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
    """Redirect closed standard streams to the null device, so that no other file gets their descriptors."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _text(stream: Stream, like: TextIO | None) -> TextIO:
    """Wrap the stream for text with the options of ``like``, Python's own; None if that was closed."""
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
